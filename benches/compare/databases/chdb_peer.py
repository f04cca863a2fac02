"""ClickHouse as chDB, in this process: MergeTree tables with codecs chosen for time series."""

from __future__ import annotations

from pathlib import Path

import pyarrow
from chdb.session import Session

from answers import Answer
from data import Data
from queries import INTEGERS, TABLES, TABLES_OF_CASE, Literals, Query, sql

from .base import Database

KEYS = {"cpu": "hostname", "readings": "name", "diagnostics": "name"}
WINDOW = "ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING"


class Dialect(sql.Dialect):
    """Missing tags are empty texts: nullable keys would cost ClickHouse time in every query."""

    def time(self, seconds: int) -> str:
        return super().time(seconds).replace("+00", "")

    def bucket(self, seconds: int, column: str) -> str:
        return f"toStartOfInterval({column}, INTERVAL {seconds} SECOND)"

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
        return self.session.query(text, "Arrow")

    def count(self, answer) -> int | None:
        return pyarrow.ipc.open_file(pyarrow.BufferReader(answer.bytes())).read_all().num_rows

    def decode(self, query: Query, drawn: Literals, answer) -> Answer:
        reader = pyarrow.ipc.open_file(pyarrow.BufferReader(answer.bytes()))
        return Answer.of_arrow(reader.read_all())

    def stop(self) -> None:
        self.session.close()


def _types(table: str) -> dict[str, str]:
    tags, fields = TABLES[table]
    types = {"time": "DateTime('UTC') CODEC(DoubleDelta, ZSTD(1))"}
    types |= dict.fromkeys(tags, "LowCardinality(String)")
    for name in fields:
        if table == "cpu":
            types[name] = "Int64 CODEC(T64, ZSTD(1))"
        elif name in INTEGERS:
            types[name] = "Nullable(Int64) CODEC(T64, ZSTD(1))"
        else:
            types[name] = "Nullable(Float64) CODEC(Gorilla, ZSTD(1))"
    return types
