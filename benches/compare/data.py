"""The data: line protocol from `millrace simulate`, and the same rows as CSV for SQL loaders.

All of it is made before any clock starts. Files are kept in the scratch folder under names that say
what they hold.
"""

from __future__ import annotations

import datetime
import json
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path

from queries import TABLES, TABLES_OF_CASE, Span
from say import say

# First time of simulated data unless told otherwise: 2024-01-01, as `millrace simulate` has it.
START = 1_704_067_200
ROWS_PER_REQUEST = 10_000


@dataclass
class Data:
    """A data set on disk."""

    case: str
    scale: int
    hours: float
    lines: str
    rows: int = 0
    values: int = 0
    pieces: list = field(default_factory=list)
    csv: dict = field(default_factory=dict)

    @property
    def span(self) -> Span:
        """What literals are drawn from."""
        return Span(self.scale, START, START + int(self.hours * 3600))

    def save(self, path: Path) -> None:
        """Writes all but the rows themselves as JSON."""
        path.write_text(json.dumps(asdict(self)))

    @staticmethod
    def load(path: Path) -> Data:
        """Reads what `save` wrote."""
        return Data(**json.loads(path.read_text()))


def make(millrace: str, folder: Path, case: str, scale: int, hours: float, seed: int) -> Path:
    """Makes a data set, or finds it made; the path of its description."""
    stem = f"{case}-{scale}x{hours:g}h-{seed}"
    described = folder / f"{stem}.json"
    if described.exists():
        return described
    say(f"data: {case}, scale {scale}, {hours:g} h, seed {seed}")
    lines = folder / f"{stem}.lp"
    subprocess.run(
        [millrace, "simulate", case, "--scale", str(scale), "--hours", str(hours)]
        + ["--interval", "10", "--seed", str(seed), "--output", str(lines)],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    data = Data(case, scale, hours, str(lines))
    data.csv = {table: str(folder / f"{stem}-{table}.csv") for table in TABLES_OF_CASE[case]}
    _convert(data)
    data.save(described)
    say(f"data: {data.rows} rows, {data.values} values, {lines.stat().st_size >> 20} MiB of lines")
    return described


def _convert(data: Data) -> None:
    """Writes the CSV files, counts, and cuts the lines into requests."""
    outs = {table: open(path, "wb", 1 << 20) for table, path in data.csv.items()}
    writers = {table.encode(): _Writer(table, out) for table, out in outs.items()}
    offset = size = rows = 0
    with open(data.lines, "rb") as source:
        for line in source:
            table = line[: line.index(b",")]
            data.values += writers[table].write(line)
            size += len(line)
            rows += 1
            if rows == ROWS_PER_REQUEST:
                data.pieces.append((offset, size, rows))
                data.rows += rows
                offset, size, rows = offset + size, 0, 0
    if rows:
        data.pieces.append((offset, size, rows))
        data.rows += rows
    for out in outs.values():
        out.close()


class _Writer:
    """Rows of one table: time as UTC text, tags, fields; what is missing is empty."""

    def __init__(self, table: str, out):
        tags, fields = TABLES[table]
        self.tags = [tag.encode() for tag in tags]
        self.fields = [name.encode() for name in fields]
        self.out = out
        self.keys: dict[bytes, bytes] = {}
        self.times: dict[bytes, bytes] = {}
        out.write(b",".join([b"time", *self.tags, *self.fields]) + b"\n")

    def write(self, line: bytes) -> int:
        """Writes one line of line protocol, without escapes as the simulation makes them; the
        number of its values."""
        key, fields, time = line.split(b" ")
        tags = self.keys.get(key)
        if tags is None:
            pairs = dict(pair.split(b"=") for pair in key.split(b",")[1:])
            tags = self.keys[key] = _in_order(self.tags, pairs)
        text = self.times.get(time)
        if text is None:
            text = self.times[time] = _time(int(time))
        # Integers end in `i`, which no name of a field ends in.
        pairs = (fields + b",").replace(b"i,", b",")[:-1].split(b",")
        row = _in_order(self.fields, dict(pair.split(b"=") for pair in pairs))
        self.out.write(b"%s,%s,%s\n" % (text, tags, row))
        return len(pairs)


def _in_order(names: list[bytes], pairs: dict[bytes, bytes]) -> bytes:
    cells = [pairs.pop(name, b"") for name in names]
    if pairs:
        raise ValueError(f"a row has columns that are not known here: {sorted(pairs)}")
    return b",".join(cells)


def _time(ns: int) -> bytes:
    seconds, rest = divmod(ns, 1_000_000_000)
    if rest:
        raise ValueError(f"time {ns} is not a whole second")
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}".encode()
