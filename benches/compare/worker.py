"""One database and one data set, in a process of their own: load, settle, measure, ask.

Started by `main.py` with a job in JSON; leaves figures in JSON and answers in files. A process of
its own keeps one database's library from disturbing another's.
"""

from __future__ import annotations

import gc
import json
import signal
import sys
import time
from pathlib import Path

import answers
from data import Data
from databases import TITLES, open_database
from databases.base import Database
from queries import OF_CASE, Query, literals
from say import say

# Larger answers are compared row by row in the first run only, and by their counts in all.
CHECKED_ROWS_MAX = 20_000
# Runs of a query after which the time limit may end it.
RUNS_MIN = 3


def main() -> None:
    """Runs the job whose file is the first argument."""
    job = json.loads(Path(sys.argv[1]).read_text())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    data = Data.load(Path(job["data"]))
    database = open_database(job["database"], job["programs"], Path(job["folder"]))
    try:
        figures = _measure(job, data, database)
    finally:
        database.stop()
    Path(job["figures"]).write_text(json.dumps(figures))


def _measure(job: dict, data: Data, database: Database) -> dict:
    title = TITLES[job["database"]]
    figures: dict = {"version": database.version(), "queries": {}}
    database.prepare(data)
    say(f"{title}: loading {data.rows} rows")
    started = time.perf_counter()
    database.load(data)
    figures["load_seconds"] = time.perf_counter() - started
    figures["rows_per_second"] = data.rows / figures["load_seconds"]
    say(f"{title}: {figures['rows_per_second']:,.0f} rows/s; settling")
    started = time.perf_counter()
    database.settle(data)
    figures["settle_seconds"] = time.perf_counter() - started
    figures["bytes_per_value"] = database.disk_bytes(data) / data.values
    say(f"{title}: {figures['bytes_per_value']:.3f} bytes/value; asking")
    for query in OF_CASE[data.case]:
        if not job["queries"] or query.name in job["queries"]:
            figures["queries"][query.name] = _run_query(job, data, database, query)
    figures["peak_memory"] = database.peak_memory()
    return figures


def _run_query(job: dict, data: Data, database: Database, query: Query) -> dict:
    """Latencies of one query in ms; answers go to files."""
    figures: dict = {"ms": [], "rows": 0, "error": None, "asked": True}
    begun = time.monotonic()
    names = [f"warm-{run}" for run in range(job["warmup"])]
    names += [str(run) for run in range(job["runs"])]
    for name in names:
        drawn = literals(query, data.span, job["seed"], name)
        question = database.question(query, drawn, data)
        if question is None:
            return {**figures, "asked": False}
        late = time.monotonic() - begun > job["query_seconds_max"]
        if late and len(figures["ms"]) >= RUNS_MIN:
            break
        try:
            latency, answer = _timed(database, question)
            if not name.startswith("warm-"):
                figures["ms"].append(latency)
                rows = _rows(database, query, drawn, answer, int(name))
                figures["rows"] = rows if isinstance(rows, int) else len(rows)
                answers.store(Path(job["answers"]) / f"{query.name}-{name}", rows)
        except Exception as error:  # Whatever a client raises is the database's answer.
            words = f"{type(error).__name__}: {error}\nliterals: {drawn}\n{question}"
            return {**figures, "error": words}
    middle = sorted(figures["ms"])[len(figures["ms"]) // 2]
    title = TITLES[job["database"]]
    say(f"{title}: {query.name}: {middle:.2f} ms, {figures['rows']} rows")
    return figures


def _timed(database: Database, question) -> tuple[float, object]:
    gc.disable()
    started = time.perf_counter()
    answer = database.ask(question)
    latency = (time.perf_counter() - started) * 1000
    gc.enable()
    return latency, answer


def _rows(database: Database, query: Query, drawn, answer, run: int) -> list[tuple] | int:
    """Canonical rows, or their number where an answer is large and one was compared already."""
    if run > 0:
        count = database.count(answer)
        if count is not None and count > CHECKED_ROWS_MAX:
            return count
    rows = database.decode(query, drawn, answer).canonical(query)
    return len(rows) if run > 0 and len(rows) > CHECKED_ROWS_MAX else rows


if __name__ == "__main__":
    main()
