"""ClickHouse as chDB, in this process: MergeTree tables with codecs chosen for time series."""

from __future__ import annotations

from pathlib import Path

from chdb.session import Session

from answers import Answer
from clients import native
from data import Data
from queries import INTEGERS, TABLES, TABLES_OF_CASE, Literals, Query, sql

from .base import Database

KEYS = {"cpu": "hostname", "readings": "name", "diagnostics": "name"}
# Quicker than `toStartOfInterval`, which takes any width.
BUCKETS = {
    60: "toStartOfMinute",
    600: "toStartOfTenMinutes",
    3600: "toStartOfHour",
    86_400: "toStartOfDay",
}
WINDOW = "ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING"


class Dialect(sql.Dialect):
    """Missing tags are empty texts: nullable keys would cost ClickHouse time in every query."""

    def time(self, seconds: int) -> str:
        return super().time(seconds).replace("+00", "")

    def bucket(self, seconds: int, column: str) -> str:
        return f"{BUCKETS[seconds]}({column})"

    def present(self, tag: str) -> str:
        return f"{tag} != ''"

    def epoch(self, column: str) -> str:
        return f"toUnixTimestamp({column})"

    def neighbour(self, function: str, column: str, over: str) -> str:
        return f"{function}InFrame(toNullable({column})) OVER ({over} {WINDOW})"

    def newest(self, table: str, keys: list[str], columns: list[str], where: str) -> str:
        listed = ", ".join(keys)
        of_all = ", ".join(keys + columns)
        return (
            f"SELECT {of_all} FROM {table} WHERE {where} "
            f"ORDER BY {listed}, time DESC LIMIT 1 BY {listed}"
        )

    def lastpoint(self) -> str:
        return "SELECT * FROM cpu ORDER BY hostname, time DESC LIMIT 1 BY hostname"


class Peer(Database):
    """One session."""

    def __init__(self, programs: dict, folder: Path):
        super().__init__(programs, folder)
        self.session = Session(str(folder / "data"))
        self.session.query("CREATE DATABASE IF NOT EXISTS compare ENGINE = Atomic")
        self.session.query("USE compare")
        self.dialect = Dialect()

    def version(self) -> str:
        return str(self.session.query("SELECT version()", "TSVRaw")).strip()

    def prepare(self, data: Data) -> None:
        for table in TABLES_OF_CASE[data.case]:
            columns = ", ".join(f"{name} {kind}" for name, kind in _types(table).items())
            self.session.query(
                f"CREATE TABLE {table} ({columns}) ENGINE = MergeTree "
                f"ORDER BY ({KEYS[table]}, time)"
            )

    def load(self, data: Data) -> None:
        for table, path in data.csv.items():
            names = _types(table)
            plain = ", ".join(f"{name} {kind.split(' CODEC')[0]}" for name, kind in names.items())
            plain = plain.replace("'", "''")
            self.session.query(
                f"INSERT INTO {table} SELECT * FROM file('{path}', CSVWithNames, '{plain}')"
            )

    def settle(self, data: Data) -> None:
        for table in data.csv:
            self.session.query(f"OPTIMIZE TABLE {table} FINAL")

    def disk_bytes(self, data: Data) -> int:
        answer = self.session.query(
            "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = 'compare'",
            "TSVRaw",
        )
        return int(str(answer))

    def question(self, query: Query, drawn: Literals, data: Data) -> str | None:
        return sql.text(self.dialect, query.name, drawn)

    def ask(self, text: str) -> object:
        # The answer's bytes are in this process; `decode` reads them in place.
        return self.session.query(text, "Native")

    def count(self, answer) -> int | None:
        # By its name rows that were read, but it counts those of the answer.
        return answer.rows_read()

    def decode(self, query: Query, drawn: Literals, answer) -> Answer:
        data = answer.bytes()
        if not data:
            # An answer without rows has no block, so that its columns are not told.
            return Answer.of_rows(list(query.columns), [])
        return Answer.of_rows(*native.decode(data)).with_seconds()

    def stop(self) -> None:
        self.session.close()


def _types(table: str) -> dict[str, str]:
    """Codecs are those that came out smallest on this data among the ones that are not beta."""
    tags, fields = TABLES[table]
    types = {"time": "DateTime('UTC') CODEC(DoubleDelta, ZSTD(1))"}
    types |= dict.fromkeys(tags, "LowCardinality(String)")
    for name in fields:
        kind = "Int64" if name in INTEGERS else "Float64"
        # Only `cpu` has every field in every row.
        kind = kind if table == "cpu" else f"Nullable({kind})"
        if name in INTEGERS:
            codec = "T64, ZSTD(1)"
        elif name in ("latitude", "longitude"):
            codec = "Delta, ZSTD(1)"
        else:
            codec = "ZSTD(1)"
        types[name] = f"{kind} CODEC({codec})"
    return types
