"""The command of the side-by-side benchmark: gets the databases, makes data, measures each in a
process of its own, compares their answers, prints one table."""

from __future__ import annotations

import argparse
import datetime
import json
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import answers
import data
import install
import report
from databases import EDGES_ARE_WHOLE, NAMES, REFERENCES, TITLES
from queries import OF_CASE, Query, Span, literals
from say import say

HERE = Path(__file__).resolve().parent
EXAMPLES = """\
examples:
  benches/compare/run                              1,000 hosts x 12 h and 300 trucks x 24 h
  benches/compare/run --small                      everything, tiny: does it all work?
  benches/compare/run --only millrace,duckdb --case cpu-only
  benches/compare/run --scale 100 --hours 12 --trucks 50 --iot-hours 24
  benches/compare/run --case cpu-only --queries lastpoint,high-cpu-all --runs 50

The table goes to standard output and to benches/compare/results/DATE-NAME.md. The exit code is 1 if
answers differ or a query fails, 2 for a wrong command line."""

LIMIT_HELP = "a query ends after so long, but not before its third run; default: 120"


def main() -> int:
    """Runs the command; its exit code."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    programs, python, missing = _get(arguments)
    names = [name for name in arguments.only if name not in missing]
    for name, why in missing.items():
        say(f"{TITLES[name]} is left out: {why}")
    if not names:
        say("no database is left to measure")
        return 1
    scratch = Path(tempfile.mkdtemp(prefix="millrace-compare-", dir=arguments.scratch))
    # Servers may run as another user, who must get to their folders below.
    scratch.chmod(0o711)
    cases, notes = [], []
    try:
        for case in arguments.cases:
            cases.append(_run_case(arguments, case, names, programs, python, scratch, notes))
    finally:
        if arguments.keep:
            say(f"kept: {scratch}")
        else:
            shutil.rmtree(scratch)
    _write(arguments, cases, missing, notes)
    failed = any(case["failed"] for case in cases)
    say("answers differ or queries failed: see above" if failed else "nothing failed")
    return 1 if failed else 0


def _get(arguments) -> tuple[dict, str, dict]:
    """Programs by database, Python of the venv, and why databases are missing."""
    python, missing = install.venv(arguments.only)
    programs, more = install.programs(arguments.only)
    # Even without being measured, it makes the data.
    programs["millrace"] = install.millrace(arguments.millrace)
    return programs, python, missing | more


def _run_case(arguments, case, names, programs, python, scratch, notes) -> dict:
    scale, hours = arguments.cases[case]
    described = data.make(programs["millrace"], scratch, case, scale, hours, arguments.seed)
    rows = data.Data.load(described).rows
    what = "hosts" if case == "cpu-only" else "trucks"
    result = {
        "case": case,
        "title": f"{case}: {scale:,} {what} × {hours:g} h, {rows:,} rows",
        "figures": {},
        "differs": set(),
        "failed": False,
        "compared": 0,
    }
    for name in names:
        folder = scratch / f"{case}-{name}"
        folder.mkdir()
        job = {
            "database": name,
            "data": str(described),
            "programs": programs,
            "folder": str(folder),
            "figures": str(scratch / f"{case}-{name}.figures"),
            "answers": str(scratch / "answers" / case / name),
            "queries": arguments.queries,
            "runs": arguments.runs,
            "warmup": arguments.warmup,
            "seed": arguments.seed,
            "query_seconds_max": arguments.query_seconds_max,
        }
        figures = _work(python, job, scratch)
        if not arguments.keep:
            shutil.rmtree(folder)
        if figures is None:
            notes.append(f"{TITLES[name]} failed as a whole on {case}; see its words above")
            result["failed"] = True
            continue
        result["figures"][name] = figures
    _check(arguments, result, data.Data.load(described).span, scratch / "answers" / case)
    return result


def _work(python: str, job: dict, scratch: Path) -> dict | None:
    """Runs a worker; its figures, or None if it failed."""
    file = scratch / "job.json"
    file.write_text(json.dumps(job))
    child = subprocess.Popen([python, str(HERE / "worker.py"), str(file)])
    try:
        code = child.wait()
    except BaseException:
        # It stops its server when told to.
        child.terminate()
        child.wait()
        raise
    if code != 0:
        say(f"{TITLES[job['database']]} FAILED: its worker ended with {code}")
        return None
    return json.loads(Path(job["figures"]).read_text())


def _check(arguments, result: dict, span: Span, folder: Path) -> None:
    """Compares the answers of all databases that answered."""
    for query in OF_CASE[result["case"]]:
        answered = []
        for name in result["figures"]:
            asked = result["figures"][name]["queries"].get(query.name)
            if asked and asked["error"]:
                result["failed"] = True
                say(f"{TITLES[name]} FAILED at {query.name}: {asked['error']}")
            elif asked and asked["asked"]:
                answered.append(name)
        reference = next((name for name in REFERENCES if name in answered), None)
        for name in answered:
            if reference is None or name == reference:
                continue
            result["compared"] += 1
            words = _difference(arguments, query, span, [folder / reference, folder / name])
            if words:
                result["failed"] = True
                result["differs"].add((name, query.name))
                say(f"ANSWERS DIFFER: {TITLES[reference]} left, {TITLES[name]} right\n{words}")


def _difference(arguments, query: Query, span: Span, folders: list[Path]) -> str | None:
    """What tells the answers in two folders apart, in words: the first run where something does."""
    for run in range(arguments.runs):
        files = [folder / f"{query.name}-{run}" for folder in folders]
        if not all(file.exists() for file in files):
            # The time limit ended one of them before the other.
            break
        drawn = literals(query, span, arguments.seed, str(run))
        rows = [answers.fetch(file) for file in files]
        if folders[1].name in EDGES_ARE_WHOLE and all(isinstance(some, list) for some in rows):
            rows = [answers.whole_buckets(query, drawn, some) for some in rows]
        words = answers.difference(query, *rows)
        if words:
            return f"  {query.name}, run {run}, literals: {drawn}\n  {words}"
    return None


def _write(arguments, cases: list, missing: dict, notes: list) -> None:
    given = " ".join(shlex.quote(word) for word in sys.argv[1:])
    command = f"benches/compare/run {given}".strip()
    if "debug" in Path(install.millrace(arguments.millrace)).parts:
        notes.append("**Millrace was a debug build: its figures say nothing of its speed**")
    if arguments.small:
        notes.append("**A tiny scale, to see that everything works: no figures to go by**")
    compared = sum(case["compared"] for case in cases)
    differ = sum(len(case["differs"]) for case in cases)
    notes.append(f"Answers compared, queries x databases: {compared}, of which differ: {differ}")
    today = datetime.date.today().isoformat()
    text = report.table(cases) + "\n"
    text += report.foot(arguments, command, cases, missing, notes)
    print(text)
    results = Path(arguments.results)
    results.mkdir(parents=True, exist_ok=True)
    file = results / f"{today}-{arguments.name}.md"
    file.write_text(f"# Side by side, {today}\n\n{text}")
    say(f"written: {file}")


def _arguments():
    parser = argparse.ArgumentParser(
        prog="benches/compare/run",
        description="Measures Millrace beside DuckDB, ClickHouse (chDB), VictoriaMetrics, InfluxDB "
        "and PostgreSQL: the same rows, the same questions, answers compared, one table.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--only", metavar="NAMES", help=f"databases, of {','.join(NAMES)}; default: all")
    add("--case", choices=["cpu-only", "iot", "both"], default="both", help="data; default: both")
    add("--queries", metavar="NAMES", help="queries, by their names in the table; default: all")
    add("--scale", type=_count, metavar="N", help="hosts of cpu-only; default: 1000")
    add("--hours", type=float, metavar="H", help="hours of cpu-only; default: 12")
    add("--trucks", type=_count, metavar="N", help="trucks of iot; default: 300")
    add("--iot-hours", type=float, metavar="H", help="hours of iot; default: 24")
    add("--runs", type=_count, metavar="N", help="measured runs of a query; default: 20")
    add("--warmup", type=int, default=2, metavar="N", help="runs before them; default: 2")
    add("--query-seconds-max", type=float, default=120, metavar="S", help=LIMIT_HELP)
    add("--seed", type=int, default=123, help="seed of data and literals; default: 123")
    add("--millrace", metavar="PATH", help="program; default: the release build, made if missing")
    add("--name", help="name of the results file; default: from the scale")
    add("--results", default=str(HERE / "results"), metavar="DIR", help="where results go")
    add("--scratch", metavar="DIR", help="where data folders go; default: the temporary folder")
    add("--keep", action="store_true", help="keep data folders, logs and answers")
    add("--small", action="store_true", help="10 hosts x 2 h, 10 trucks x 26 h, 3 runs")
    arguments = parser.parse_args()
    tiny = arguments.small
    arguments.only = _chosen(parser, "--only", arguments.only, NAMES) or NAMES
    known = [query.name for queries in OF_CASE.values() for query in queries]
    arguments.queries = _chosen(parser, "--queries", arguments.queries, known)
    arguments.runs = arguments.runs or (3 if tiny else 20)
    hosts, hours, trucks, iot_hours = (10, 2, 10, 26) if tiny else (1000, 12, 300, 24)
    scales = {
        "cpu-only": (arguments.scale or hosts, arguments.hours or hours),
        "iot": (arguments.trucks or trucks, arguments.iot_hours or iot_hours),
    }
    arguments.cases = {
        case: scale for case, scale in scales.items() if arguments.case in (case, "both")
    }
    parts = [f"{case}-{scale}x{hours:g}h" for case, (scale, hours) in arguments.cases.items()]
    arguments.name = arguments.name or "-".join(parts)
    return arguments


def _chosen(parser, option: str, text: str | None, known: list[str]) -> list[str]:
    """Names of a list with commas, in the order of `known`."""
    given = [name.strip() for name in (text or "").split(",") if name.strip()]
    for name in given:
        if name not in known:
            parser.error(f"{option}: {name!r} is none of {', '.join(known)}")
    return [name for name in known if name in given]


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("it must be 1 or more")
    return value


if __name__ == "__main__":
    sys.exit(main())
