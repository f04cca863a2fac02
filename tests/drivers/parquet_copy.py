"""pyarrow and pandas: files that COPY writes on the server, and files of theirs that it reads."""

import datetime
import os
import sys

import pandas
import psycopg
import pyarrow
import pyarrow.parquet

host, port, user, password, folder = sys.argv[1:]
utc = datetime.timezone.utc
path = lambda name: os.path.join(folder, name)

with psycopg.connect(
    host=host, port=port, user=user, password=password, dbname="millrace", autocommit=True
) as connection:
    run = connection.execute
    columns = (
        "(time timestamptz NOT NULL, device text, b boolean, i smallint, j integer, n bigint, "
        "f real, d double precision, s text, at timestamptz, raw bytea, PRIMARY KEY (device, time))"
    )
    run(f"CREATE TABLE a {columns}")
    run(f"CREATE TABLE b {columns}")
    run(
        "INSERT INTO a VALUES "
        "('2026-01-01 00:00:00.000001+00', 'p', true, 1, 2, 3, 1.5, 2.5, 'ä', '2000-01-01', '\\x00ff'), "
        "('2026-01-02', 'p', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), "
        "('2026-01-03', 'q', false, -1, -2, -3, -0.5, 'inf', '', '1969-12-31', '')"
    )
    rows = lambda table: run(f"SELECT * FROM {table} ORDER BY time").fetchall()

    # What the server writes.
    for how in ("zstd", "snappy", "none"):
        run(f"COPY a TO 'a.parquet' WITH (FORMAT parquet, COMPRESSION {how})")
        table = pyarrow.parquet.read_table(path("a.parquet"))
        assert [tuple(row.values()) for row in table.to_pylist()] == rows("a"), table.to_pylist()
        assert table.schema.field("time").type == pyarrow.timestamp("us", tz="UTC") or \
            str(table.schema.field("time").type) == "timestamp[us, tz=+00:00]", table.schema
    frame = pandas.read_parquet(path("a.parquet"))
    assert list(frame["device"]) == ["p", "p", "q"] and frame["n"][0] == 3, frame
    assert os.stat(path("a.parquet")).st_mode & 0o777 == 0o600

    # What others write: other widths, zones, units, dictionaries, packings, row groups.
    run("COPY b FROM 'a.parquet' (FORMAT parquet)")
    assert rows("b") == rows("a")
    table = pyarrow.table({
        "device": pyarrow.array(["x", "y", "x"]).dictionary_encode(),
        "time": pyarrow.array([1, 2, 3], pyarrow.timestamp("ms", tz="Europe/Berlin")),
        "n": pyarrow.array([1, None, 3], pyarrow.int8()),
        "d": pyarrow.array([0.5, None, 1.5], pyarrow.float32()),
        "s": pyarrow.array(["a", None, "c"], pyarrow.large_string()),
        "at": pyarrow.array([datetime.date(2026, 1, 1)] * 3),
        "raw": pyarrow.array([b"\0", None, b"x"], pyarrow.large_binary()),
    })
    expected = [
        (datetime.datetime.fromtimestamp(n / 1000, utc), device, number, number and number / 2, text)
        for n, device, number, text in [(1, "x", 1, "a"), (2, "y", None, None), (3, "x", 3, "c")]
    ]
    for options in (
        {}, {"compression": "zstd"}, {"compression": "none", "use_dictionary": False},
        {"row_group_size": 1}, {"version": "1.0"}, {"data_page_version": "2.0"},
    ):
        pyarrow.parquet.write_table(table, path("b.parquet"), **options)
        run("TRUNCATE b")
        assert run("COPY b FROM 'b.parquet' (FORMAT parquet)").rowcount == 3
        got = run("SELECT time, device, n, d, s FROM b ORDER BY time").fetchall()
        assert got == expected, (options, got)
    pyarrow.parquet.write_table(table, path("b.parquet"), compression="gzip")
    try:
        run("COPY b FROM 'b.parquet' (FORMAT parquet)")
        raise SystemExit("no error")
    except psycopg.errors.FeatureNotSupported as error:
        assert "gzip" in str(error).lower(), error
    frame = pandas.DataFrame({
        "time": pandas.date_range("2026-02-01", periods=1000, freq="s", tz="UTC"),
        "device": pandas.Categorical(["a", "b"] * 500),
        "n": range(1000),
    })
    frame.to_parquet(path("frame.parquet"))
    run("TRUNCATE b")
    run("COPY b FROM 'frame.parquet' (FORMAT parquet)")
    assert run("SELECT count(*), sum(n), count(DISTINCT device) FROM b").fetchone() == (1000, 499500, 2)

    # Text, CSV and binary on the server are what the client would get.
    for form in ("text", "csv, HEADER", "binary"):
        run(f"COPY a TO 'a.out' (FORMAT {form})")
        with connection.cursor().copy(f"COPY a TO STDOUT (FORMAT {form})") as copy:
            sent = b"".join(copy)
        with open(path("a.out"), "rb") as file:
            assert file.read() == sent, form
        run("TRUNCATE b")
        assert run(f"COPY b FROM '{path('a.out')}' (FORMAT {form})").rowcount == 3
        assert rows("b") == rows("a"), form
    assert sorted(os.listdir(folder)) == ["a.out", "a.parquet", "b.parquet", "frame.parquet"]
    try:
        run("COPY a TO '/tmp/elsewhere.csv'")
        raise SystemExit("no error")
    except psycopg.errors.InsufficientPrivilege:
        pass
    # An error in mid-way leaves what was there.
    try:
        run("COPY (SELECT 1 / (value - 90000) FROM generate_series(1, 100000) AS value) TO 'a.out'")
        raise SystemExit("no error")
    except psycopg.errors.DivisionByZero:
        pass
    with open(path("a.out"), "rb") as file:
        assert file.read() == sent
    assert run("SELECT count(*) FROM pg_stat_progress_copy").fetchone() == (0,)
print("fine")
