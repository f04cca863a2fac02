"""Tests of what every figure leans on: decoding, conversion, comparing, ratios.

`cd benches/compare && python3 -m unittest`; nothing but the standard library is needed.
"""

import io
import struct
import tempfile
import unittest
from pathlib import Path

import data
import report
from answers import Answer, difference, whole_buckets
from clients import http, native, pgwire
from queries import CPU, IOT, Literals, Query, Span, influxql, literals, metricsql, sql

SPAN = Span(scale=100, start=data.START, end=data.START + 12 * 3600)
GROUPED = next(query for query in CPU if query.name == "single-groupby-1-1-1")
NS = 1_000_000_000


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def wire_answer() -> bytes:
    """A time, a text that is NULL, a float and a numeric."""
    columns = [("minute", 1184), ("name", 25), ("v", 701), ("n", 1700)]
    described = struct.pack("!H", len(columns))
    for name, oid in columns:
        described += name.encode() + b"\0" + struct.pack("!IHIhIH", 0, 0, oid, 0, 0, 1)
    numeric = struct.pack("!HhHH3H", 3, 0, 0x4000, 4, 2, 3333, 5000)
    cells = [struct.pack("!q", 60_000_000), None, struct.pack("!d", 1.5), numeric]
    row = struct.pack("!H", len(cells))
    for cell in cells:
        row += struct.pack("!i", -1) if cell is None else struct.pack("!i", len(cell)) + cell
    parts = [message(b"1", b""), message(b"2", b""), message(b"T", described)]
    return b"".join(parts + [message(b"D", row), message(b"C", b"SELECT 1\0"), pgwire.READY])


class Wire(unittest.TestCase):
    """The Postgres wire."""

    def test_rows(self):
        names, rows = pgwire.decode(wire_answer())
        self.assertEqual(names, ["minute", "name", "v", "n"])
        self.assertEqual(rows, [(pgwire.PG_EPOCH_NS + 60 * NS, None, 1.5, -2.33335)])
        self.assertEqual(pgwire.count(wire_answer()), 1)

    def test_every_truncation_is_told(self):
        whole = wire_answer()
        for length in range(len(whole) - len(pgwire.READY)):
            with self.assertRaises(pgwire.WireError, msg=f"{length} bytes"):
                pgwire.decode(whole[:length])

    def test_errors_have_the_server_s_words(self):
        body = b"SERROR\0C42P01\0Mno table\0\0"
        with self.assertRaisesRegex(pgwire.WireError, "42P01 · no table"):
            pgwire.decode(message(b"E", body) + pgwire.READY)


class Native(unittest.TestCase):
    """ClickHouse's blocks."""

    # Two rows: a time, a text out of a dictionary, a number that may be missing.
    BLOCK = (
        b"\x03\x02\x06minute\x08DateTime" + struct.pack("<2I", 60, 120)
        + b"\x04name\x16LowCardinality(String)" + struct.pack("<3Q", 1, 0x600, 2)
        + b"\x00\x01a" + struct.pack("<Q2B", 2, 1, 0)
        + b"\x01v\x11Nullable(Float64)\x00\x01" + struct.pack("<2d", 1.5, 0)
    )

    def test_blocks(self):
        names, rows = native.decode(self.BLOCK * 2)
        self.assertEqual(names, ["minute", "name", "v"])
        self.assertEqual(rows, [(60, "a", 1.5), (120, "", None)] * 2)
        self.assertEqual(Answer(names, rows).with_seconds().rows[0], (60 * NS, "a", 1.5))

    def test_every_truncation_is_told(self):
        for length in range(1, len(self.BLOCK)):
            with self.assertRaises(native.NativeError, msg=f"{length} bytes"):
                native.decode(self.BLOCK[:length])

    def test_what_is_not_known_is_told(self):
        with self.assertRaisesRegex(native.NativeError, "Array"):
            native.decode(b"\x01\x01\x01a\x0dArray(String)\x00")


class Http(unittest.TestCase):
    """Bodies of HTTP answers."""

    def test_chunks(self):
        raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        raw += b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        self.assertEqual(http.body(raw), b"abcde")
        with self.assertRaises(http.HttpError):
            http.body(raw.replace(b"2\r\nde", b"9\r\nde"))

    def test_refusals(self):
        with self.assertRaisesRegex(http.HttpError, "status 400: no"):
            http.body(b"HTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\nno")


class Conversion(unittest.TestCase):
    """Line protocol to CSV."""

    def convert(self, table: str, lines: list[bytes]) -> tuple[list[bytes], int]:
        out = io.BytesIO()
        writer = data._Writer(table, out)
        values = sum(map(writer.write, lines))
        return out.getvalue().splitlines()[1:], values

    def test_missing_tags_and_fields_are_empty(self):
        line = b"diagnostics,name=truck_0,model=H-2 fuel_capacity=150,fuel_state=0.9,status=3i "
        rows, values = self.convert("diagnostics", [line + b"1704067200000000000\n"])
        self.assertEqual(rows, [b"2024-01-01 00:00:00,truck_0,,,H-2,,,150,,0.9,,3"])
        self.assertEqual(values, 3)

    def test_unknown_columns_are_refused(self):
        with self.assertRaises(ValueError):
            self.convert("diagnostics", [b"diagnostics,name=a other=1 1704067200000000000\n"])

    def test_pieces_cover_the_file(self):
        line = b"cpu,hostname=host_0 usage_user=58i,usage_guest_nice=1i 1704067200000000000\n"
        with tempfile.TemporaryDirectory() as folder:
            lines = Path(folder) / "lines"
            lines.write_bytes(line * 25_000)
            made = data.Data("cpu-only", 1, 1, str(lines), csv={"cpu": f"{folder}/csv"})
            data._convert(made)
        self.assertEqual([rows for _, _, rows in made.pieces], [10_000, 10_000, 5_000])
        self.assertEqual(sum(size for _, size, _ in made.pieces), 25_000 * len(line))
        self.assertEqual((made.rows, made.values), (25_000, 50_000))


class Comparing(unittest.TestCase):
    """Canonical rows and their differences."""

    def rows(self, *values: float) -> list[tuple]:
        made = [(value, 60 * NS * at) for at, value in enumerate(values)]
        return Answer(["max_usage_user", "minute"], made[::-1]).canonical(GROUPED)

    def test_order_of_rows_and_columns_does_not_matter(self):
        self.assertEqual(self.rows(1, 2), [(0, 1.0), (60 * NS, 2.0)])

    def test_columns_must_be_there_and_of_their_kind(self):
        for columns, row in [(["minute"], (1,)), (["minute", "max_usage_user"], ("x", 1.0))]:
            with self.assertRaises(ValueError):
                Answer(columns, [row]).canonical(GROUPED)

    def test_missing_texts_are_one(self):
        query = Query("q", "iot", ("name", "driver"), lambda rng, span: Literals())
        left = Answer(["name", "driver"], [("b", None), ("a", "x")]).canonical(query)
        right = Answer(["driver", "name"], [("", "b"), ("x", "a")]).canonical(query)
        self.assertEqual(left, right)

    def test_rounding_agrees_and_more_does_not(self):
        mine = self.rows(1, 2)
        self.assertIsNone(difference(GROUPED, mine, self.rows(1, 2 * (1 + 1e-10))))
        self.assertIn("row 1 of 2 and 2", difference(GROUPED, mine, self.rows(1, 2 * (1 + 1e-8))))
        self.assertIn("only left", difference(GROUPED, mine, self.rows(1)))
        self.assertIn("only right", difference(GROUPED, mine, self.rows(1, 2, 3)))
        self.assertIn("row 0", difference(GROUPED, [(0, None)], [(0, 1.0)]))

    def test_counts_stand_for_large_answers(self):
        self.assertIsNone(difference(GROUPED, 2, self.rows(1, 2)))
        self.assertIn("3 rows against 2", difference(GROUPED, 3, self.rows(1, 2)))

    def test_edges_of_windows(self):
        rows = [(60 * at * NS, 1.0) for at in range(4)]
        self.assertEqual(whole_buckets(GROUPED, Literals(start=30, end=200), rows), rows[1:3])
        self.assertEqual(whole_buckets(GROUPED, Literals(start=0, end=240), rows), rows)


class Asking(unittest.TestCase):
    """Literals and texts."""

    def test_literals_are_the_same_for_all_and_inside_the_data(self):
        for query in CPU + IOT:
            drawn = [literals(query, SPAN, 1, str(run)) for run in range(200)]
            again = [literals(query, SPAN, 1, str(run)) for run in range(200)]
            self.assertEqual(drawn, again)
            for one in drawn:
                self.assertTrue(one.end == 0 or one.end <= SPAN.end, query.name)
                self.assertTrue(one.start == 0 or SPAN.start <= one.start < one.end, query.name)
                self.assertEqual(len(set(one.hosts)), len(one.hosts))
        windows = {literals(GROUPED, SPAN, 1, str(run)).start for run in range(200)}
        self.assertGreater(len(windows), 100)

    def test_every_query_has_its_texts(self):
        dialect, known = sql.Dialect(), {query.name for query in CPU + IOT}
        self.assertEqual(known, set(sql.TEXTS))
        self.assertLess(set(influxql.TEXTS), known)
        self.assertLess(set(metricsql.TEXTS), known)
        for query in CPU + IOT:
            drawn = literals(query, SPAN, 1, "0")
            texts = [sql.text(dialect, query.name, drawn), influxql.text(query.name, drawn, SPAN)]
            for text in filter(None, texts):
                self.assertEqual(text.count("("), text.count(")"), text)
                self.assertEqual(text.count("'") % 2, 0, text)

    def test_buckets_of_metricsql_end_a_millisecond_early(self):
        drawn = Literals(start=90, end=240, metrics=("usage_user",), hosts=("host_1",))
        path = metricsql.path("single-groupby-1-1-1", drawn, SPAN)
        self.assertIn("start=119.999&end=239.999&step=60s", path)


class Table(unittest.TestCase):
    """The report."""

    def figures(self, rate: float, size: float, **ms: float) -> dict:
        queries = {
            name.replace("_", "-"): {"ms": [value], "error": None, "asked": True}
            for name, value in ms.items()
        }
        return {"rows_per_second": rate, "bytes_per_value": size, "queries": queries}

    def test_ratios_are_of_the_best_peer(self):
        figures = {
            "millrace": self.figures(300.0, 0.5, lastpoint=2.0, high_cpu_1=4.0),
            "duckdb": self.figures(100.0, 1.0, lastpoint=16.0, high_cpu_1=8.0),
            "chdb": self.figures(150.0, 2.0, lastpoint=32.0, high_cpu_1=2.0),
        }
        case = {"case": "cpu-only", "title": "t", "figures": figures, "differs": set()}
        lines = {line.split(" | ")[0][2:]: line for line in report.table([case]).splitlines()}
        self.assertTrue(lines["load, rows/s"].endswith("| **300** | 100 | 150 | 2.00 |"))
        self.assertTrue(lines["disk, bytes/value"].endswith("| 2.00 |"))
        self.assertTrue(lines["lastpoint, ms"].endswith("| **2.00** | 16.0 | 32.0 | 8.00 |"))
        self.assertTrue(lines["high-cpu-1, ms"].endswith("| 4.00 | 8.00 | **2.00** | 0.50 |"))
        self.assertTrue(lines["geometric mean of 2 queries"].endswith("| **2.00** |"))

    def test_wrong_answers_have_no_time(self):
        figures = {
            "millrace": self.figures(1.0, 1.0, lastpoint=1.0),
            "duckdb": self.figures(1.0, 1.0, lastpoint=9.0),
        }
        case = {"case": "cpu-only", "title": "t", "figures": figures}
        case["differs"] = {("millrace", "lastpoint")}
        text = report.table([case])
        self.assertIn("| lastpoint, ms | differs | 9.00 | - |", text)


if __name__ == "__main__":
    unittest.main()
