"""Answers in one form, whoever gave them, and what tells two apart."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from queries import TEXTS, TIMES, Literals, Query

RELATIVE_MAX = 1e-9
# For numbers that are zero on one side, by rounding.
ABSOLUTE_MAX = 1e-12
NS = 1_000_000_000


@dataclass
class Answer:
    """Rows as a database gave them: times in ns since 1970, texts, numbers, None."""

    columns: list[str]
    rows: list[tuple]

    @staticmethod
    def of_rows(columns: list[str], rows: list[tuple]) -> Answer:
        """Rows that are decoded already."""
        return Answer(columns, rows)

    @staticmethod
    def of_dicts(columns: Iterable[str], rows: Iterable[dict]) -> Answer:
        """Rows by name; other names are left out, missing ones are None."""
        names = list(columns)
        return Answer(names, [tuple(row.get(name) for name in names) for row in rows])

    @staticmethod
    def of_arrow(table) -> Answer:
        """An Arrow table."""
        import pyarrow

        columns = []
        for column in table.columns:
            if pyarrow.types.is_timestamp(column.type):
                column = column.cast(pyarrow.timestamp("ns")).cast(pyarrow.int64())
                columns.append(column.to_pylist())
            else:
                columns.append(column.to_pylist())
        return Answer(table.column_names, list(zip(*columns)))

    def with_seconds(self) -> Answer:
        """The same with columns of time that hold s turned into ns."""
        times = [name in TIMES for name in self.columns]

        def turned(row: tuple) -> tuple:
            return tuple(
                value * NS if is_time and value is not None else value
                for is_time, value in zip(times, row)
            )

        return Answer(self.columns, [turned(row) for row in self.rows])

    def canonical(self, query: Query) -> list[tuple]:
        """Rows with the query's columns in order, sorted by times and texts, then by numbers.

        Raises `ValueError` if a column is missing or of the wrong kind.
        """
        missing = [name for name in query.columns if name not in self.columns]
        if missing or len(self.columns) != len(query.columns):
            raise ValueError(f"columns {self.columns} are not {list(query.columns)}")
        places = [self.columns.index(name) for name in query.columns]
        kinds = [_kind(name) for name in query.columns]
        pairs = list(zip(kinds, places))
        rows = [tuple(kind(row[place]) for kind, place in pairs) for row in self.rows]
        keys = [at for at, kind in enumerate(kinds) if kind is not _number]
        rest = [at for at, kind in enumerate(kinds) if kind is _number]

        order = (*keys, *rest)
        rows.sort(key=lambda row: [(row[at] is not None, row[at] or 0) for at in order])
        return rows


def _time(value) -> int | None:
    if value is not None and not isinstance(value, int):
        raise ValueError(f"{value!r} is no time")
    return value


def _text(value) -> str | None:
    """A missing tag is NULL in one database and an empty text in another."""
    if isinstance(value, bytes):
        value = value.decode()
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    return value or None


def _number(value) -> float | None:
    if isinstance(value, str):
        raise ValueError(f"{value!r} is no number")
    return None if value is None else float(value)


def _kind(name: str):
    if name in TIMES:
        return _time
    return _text if name in TEXTS else _number


def store(path: Path, rows: list[tuple] | int) -> None:
    """Keeps a canonical answer, or only the number of its rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        pickle.dump(rows, file, pickle.HIGHEST_PROTOCOL)


def fetch(path: Path) -> list[tuple] | int:
    """Reads what `store` wrote."""
    with open(path, "rb") as file:
        return pickle.load(file)


def whole_buckets(query: Query, drawn: Literals, rows: list[tuple]) -> list[tuple]:
    """Rows of buckets that lie wholly in the window of a run."""
    if not query.bucket:
        return rows
    first, end = drawn.start * NS, (drawn.end - query.bucket) * NS
    return [row for row in rows if first <= row[0] <= end]


def difference(query: Query, mine: list[tuple] | int, other: list[tuple] | int) -> str | None:
    """What tells two canonical answers apart, in words; None: they agree."""
    if isinstance(mine, int) or isinstance(other, int):
        counts = [rows if isinstance(rows, int) else len(rows) for rows in (mine, other)]
        return None if counts[0] == counts[1] else f"{counts[0]} rows against {counts[1]}"
    for number, (left, right) in enumerate(zip(mine, other)):
        if left != right and not all(map(_same, left, right)):
            return (
                f"row {number} of {len(mine)} and {len(other)}, columns {query.columns}:\n"
                f"    {left}\n    {right}"
            )
    if len(mine) == len(other):
        return None
    longer, side = (mine, "only left") if len(mine) > len(other) else (other, "only right")
    row = longer[min(len(mine), len(other))]
    return f"{len(mine)} rows against {len(other)}, {side}:\n    {row}"


def _same(left, right) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        if math.isnan(left) or math.isnan(right):
            return math.isnan(left) and math.isnan(right)
        return math.isclose(left, right, rel_tol=RELATIVE_MAX, abs_tol=ABSOLUTE_MAX)
    return left == right
