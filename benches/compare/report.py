"""The table: one row for each figure, one column for each database, as Markdown."""

from __future__ import annotations

import math
import os
import platform
from pathlib import Path
from statistics import median

from databases import TITLES
from queries import OF_CASE

# Millrace's time divides the best peer's: above 1, Millrace is quicker.
RATIO = "best peer / Millrace"


def table(cases: list[dict]) -> str:
    """The whole report's table. A case: `case`, `title`, `figures` by database, `differs`: pairs
    of database and query whose answers did not agree."""
    names = [name for name in TITLES if any(name in case["figures"] for case in cases)]
    lines = [_line(["", *(TITLES[name] for name in names), RATIO])]
    lines.append(_line(["---"] + ["--:"] * (len(names) + 1)))
    for case in cases:
        lines += _case(case, names)
    return "\n".join(lines) + "\n"


def _case(case: dict, names: list[str]) -> list[str]:
    figures = case["figures"]
    lines = [_line([f"**{case['title']}**"] + [""] * (len(names) + 1))]

    def row(label: str, values: dict[str, float | None], form, larger=False, note=None) -> None:
        best = _best(values, larger)
        cells = []
        for name in names:
            value = values.get(name)
            text = (note or {}).get(name) or ("-" if value is None else form(value))
            cells.append(f"**{text}**" if name == best else text)
        lines.append(_line([label, *cells, _ratio_text(_ratio(values, larger))]))

    def of_all(key: str) -> dict:
        return {name: one[key] for name, one in figures.items()}

    row("load, rows/s", of_all("rows_per_second"), lambda value: f"{value:,.0f}", larger=True)
    row("disk, bytes/value", of_all("bytes_per_value"), lambda value: f"{value:.3f}")
    ratios = []
    for query in OF_CASE[case["case"]]:
        values, notes = {}, {}
        for name, one in figures.items():
            asked = one["queries"].get(query.name)
            if asked is None:
                continue
            if asked["error"]:
                notes[name] = "failed"
            elif (name, query.name) in case["differs"]:
                notes[name] = "differs"
            elif asked["ms"]:
                values[name] = median(asked["ms"])
        if not any(query.name in one["queries"] for one in figures.values()):
            continue
        row(f"{query.name}, ms", values, _ms, note=notes)
        ratios.append(_ratio(values, larger=False))
    known = [ratio for ratio in ratios if ratio]
    if known:
        mean = math.exp(sum(map(math.log, known)) / len(known))
        label = f"geometric mean of {len(known)} queries"
        lines.append(_line([label] + [""] * len(names) + [f"**{mean:.2f}**"]))
    return lines


def _best(values: dict[str, float | None], larger: bool) -> str | None:
    known = {name: value for name, value in values.items() if value}
    if len(known) < 2:
        return None
    return (max if larger else min)(known, key=known.__getitem__)


def _ratio(values: dict[str, float | None], larger: bool) -> float | None:
    """How many times better Millrace is than the best of the others."""
    mine = values.get("millrace")
    peers = [value for name, value in values.items() if name != "millrace" and value]
    if not mine or not peers:
        return None
    return mine / max(peers) if larger else min(peers) / mine


def _ratio_text(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"


def _ms(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def foot(arguments, command: str, cases: list[dict], missing: dict[str, str], notes: list) -> str:
    """What the figures were measured on, with and of."""
    lines = [f"- Machine: {machine()}", f"- Command: `{command}`"]
    versions = {}
    for case in cases:
        versions |= {name: one["version"] for name, one in case["figures"].items()}
    told = ", ".join(f"{TITLES[name]} {version}" for name, version in versions.items())
    lines.append(f"- Versions: {told}; Python {platform.python_version()} asks")
    lines.append(
        f"- Medians of {arguments.runs} runs after {arguments.warmup} to warm up, seed "
        f"{arguments.seed}; a query ends early after {arguments.query_seconds_max} s"
    )
    for case in cases:
        memory = [
            f"{TITLES[name]} {one['peak_memory'] >> 20} MiB"
            for name, one in case["figures"].items()
            if one["peak_memory"]
        ]
        if memory:
            lines.append(f"- Peak memory of servers, {case['case']}: {', '.join(memory)}")
    lines += [f"- Left out: {TITLES[name]}: {why}" for name, why in missing.items()]
    lines += [f"- {note}" for note in notes]
    return "\n".join(lines) + "\n"


def machine() -> str:
    """CPU, cores, memory and kernel in words."""
    model = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    cores = len(os.sched_getaffinity(0))
    return f"{model}, {cores} cores, {memory:.0f} GiB, Linux {platform.release()}"
