"""DuckDB, in this process: one file, read from CSV, sorted by series and time."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

import duckdb

from answers import Answer
from data import Data
from queries import INTEGERS, TABLES, TABLES_OF_CASE, Literals, Query, sql

from .base import Database

KEYS = {"cpu": "hostname", "readings": "name", "diagnostics": "name"}


# The quickest way out of DuckDB: Python's own objects where an answer has few cells, Arrow where it
# may have many.
FEW = ("single-", "cpu-max-", "groupby-orderby-", "stationary-", "long-", "avg-vs-", "breakdown-")
WIDTHS = {60: "minute", 3600: "hour", 86_400: "day"}
EPOCH = datetime.datetime(1970, 1, 1)


@dataclass(frozen=True)
class Question:
    """A statement, and whether its answer is small."""

    text: str
    few: bool

    def __str__(self) -> str:
        return self.text


class Dialect(sql.Dialect):
    """Times are `TIMESTAMP` in UTC, which DuckDB cuts and compares without a time-zone library."""

    def time(self, seconds: int) -> str:
        return "TIMESTAMP " + super().time(seconds).replace("+00", "")

    def bucket(self, seconds: int, column: str) -> str:
        # `date_trunc` takes two thirds of the time, where there is a word for the width.
        if seconds in WIDTHS:
            return f"date_trunc('{WIDTHS[seconds]}', {column})"
        return f"time_bucket(INTERVAL '{seconds} seconds', {column})"

    def epoch(self, column: str) -> str:
        return f"epoch({column})"

    def newest(self, table: str, keys: list[str], columns: list[str], where: str) -> str:
        # Several times quicker here than DISTINCT ON.
        listed, of_all = ", ".join(keys), ", ".join(keys + columns)
        return (
            f"SELECT {of_all} FROM {table} WHERE rowid IN ("
            f"SELECT arg_max(rowid, time) FROM {table} WHERE {where} GROUP BY {listed})"
        )

    def lastpoint(self) -> str:
        # Quicker still; a host has one row of a time.
        return (
            "SELECT cpu.* FROM cpu JOIN (SELECT hostname, max(time) AS time FROM cpu "
            "GROUP BY hostname) AS newest USING (hostname, time)"
        )


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

    def question(self, query: Query, drawn: Literals, data: Data) -> Question:
        text = sql.text(self.dialect, query.name, drawn)
        return Question(text, few=query.name.startswith(FEW))

    def ask(self, question: Question) -> object:
        if question.few:
            cursor = self.connection.execute(question.text)
            return cursor.description, cursor.fetchall()
        return self.connection.sql(question.text).to_arrow_table()

    def count(self, answer) -> int | None:
        return len(answer[1]) if isinstance(answer, tuple) else answer.num_rows

    def decode(self, query: Query, drawn: Literals, answer) -> Answer:
        if not isinstance(answer, tuple):
            return Answer.of_arrow(answer)
        description, rows = answer
        names = [column[0] for column in description]
        return Answer.of_rows(names, [tuple(map(_plain, row)) for row in rows])

    def stop(self) -> None:
        self.connection.close()


def _plain(value):
    """Times as ns since 1970, all else as it is."""
    if isinstance(value, datetime.datetime):
        return (value - EPOCH) // datetime.timedelta(microseconds=1) * 1000
    return value


def _types(table: str) -> dict[str, str]:
    tags, fields = TABLES[table]
    types = {"time": "TIMESTAMP", **dict.fromkeys(tags, "VARCHAR")}
    return types | {name: "BIGINT" if name in INTEGERS else "DOUBLE" for name in fields}
