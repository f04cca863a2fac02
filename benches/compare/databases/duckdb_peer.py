"""DuckDB, in this process: one file, read from CSV, sorted by series and time."""

from __future__ import annotations

from pathlib import Path

import duckdb

from answers import Answer
from data import Data
from queries import INTEGERS, TABLES, TABLES_OF_CASE, Literals, Query, sql

from .base import Database

KEYS = {"cpu": "hostname", "readings": "name", "diagnostics": "name"}


class Dialect(sql.Dialect):
    """Times are `TIMESTAMP` in UTC, which DuckDB cuts and compares without a time-zone library."""

    def time(self, seconds: int) -> str:
        return "TIMESTAMP " + super().time(seconds).replace("+00", "")

    def bucket(self, seconds: int, column: str) -> str:
        return f"time_bucket(INTERVAL '{seconds} seconds', {column})"

    def epoch(self, column: str) -> str:
        return f"epoch({column})"


class Peer(Database):
    """One connection."""

    def __init__(self, programs: dict, folder: Path):
        super().__init__(programs, folder)
        self.file = folder / "data.duckdb"
        self.connection = duckdb.connect()
        # The newest storage version has the newest codecs.
        self.connection.execute(f"ATTACH '{self.file}' AS data (STORAGE_VERSION 'latest')")
        self.connection.execute("USE data")
        self.dialect = Dialect()

    def version(self) -> str:
        return duckdb.__version__

    def prepare(self, data: Data) -> None:
        for table in TABLES_OF_CASE[data.case]:
            columns = ", ".join(f"{name} {kind}" for name, kind in _types(table).items())
            self.connection.execute(f"CREATE TABLE {table} ({columns})")

    def load(self, data: Data) -> None:
        for table, path in data.csv.items():
            columns = ", ".join(f"'{name}': '{kind}'" for name, kind in _types(table).items())
            self.connection.execute(
                f"INSERT INTO {table} SELECT * FROM read_csv('{path}', header = true, "
                f"columns = {{{columns}}}) ORDER BY {KEYS[table]}, time"
            )
        self.connection.execute("CHECKPOINT")

    def settle(self, data: Data) -> None:
        self.connection.execute("CHECKPOINT")

    def disk_bytes(self, data: Data) -> int:
        return self.file.stat().st_size

    def question(self, query: Query, drawn: Literals, data: Data) -> str | None:
        return sql.text(self.dialect, query.name, drawn)

    def ask(self, text: str) -> object:
        # Arrow is the form that DuckDB hands over quickest: no Python object for each cell.
        return self.connection.sql(text).to_arrow_table()

    def count(self, answer) -> int | None:
        return answer.num_rows

    def decode(self, query: Query, drawn: Literals, answer) -> Answer:
        return Answer.of_arrow(answer)

    def stop(self) -> None:
        self.connection.close()


def _types(table: str) -> dict[str, str]:
    tags, fields = TABLES[table]
    types = {"time": "TIMESTAMP", **dict.fromkeys(tags, "VARCHAR")}
    return types | {name: "BIGINT" if name in INTEGERS else "DOUBLE" for name in fields}
