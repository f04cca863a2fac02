"""The queries of the Time Series Benchmark Suite, their literals, and their texts in each language.

`CPU` and `IOT` name them in the order of the table. What a query asks is decided by its literals
(`draw`), drawn once for each run; the texts in `sql`, `influxql` and `metricsql` put the same
question to each database.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

HOUR = 3600
MINUTE = 60

METRICS = [
    "usage_user",
    "usage_system",
    "usage_idle",
    "usage_nice",
    "usage_iowait",
    "usage_irq",
    "usage_softirq",
    "usage_steal",
    "usage_guest",
    "usage_guest_nice",
]
CPU_TAGS = [
    "hostname",
    "region",
    "datacenter",
    "rack",
    "os",
    "arch",
    "team",
    "service",
    "service_version",
    "service_environment",
]
IOT_TAGS = ["name", "fleet", "driver", "model", "device_version"]
FLEETS = ["East", "West", "North", "South"]
TRUCK_FIELDS = ["load_capacity", "fuel_capacity", "nominal_fuel_consumption"]
READINGS = TRUCK_FIELDS + [
    "latitude",
    "longitude",
    "elevation",
    "velocity",
    "heading",
    "grade",
    "fuel_consumption",
]
DIAGNOSTICS = TRUCK_FIELDS + ["fuel_state", "current_load", "status"]

# Table: its tags and fields. All numbers are floats but those of `cpu` and `status`.
TABLES = {
    "cpu": (CPU_TAGS, METRICS),
    "readings": (IOT_TAGS, READINGS),
    "diagnostics": (IOT_TAGS, DIAGNOSTICS),
}
TABLES_OF_CASE = {"cpu-only": ["cpu"], "iot": ["readings", "diagnostics"]}
INTEGERS = {*METRICS, "status"}

# What a result column holds follows from its name; all others are numbers.
TIMES = {"time", "minute", "hour", "day"}
TEXTS = {*CPU_TAGS, *IOT_TAGS}


@dataclass(frozen=True)
class Span:
    """The data that is there: literals are drawn from it."""

    scale: int
    start: int
    end: int


@dataclass(frozen=True)
class Literals:
    """What one run of a query asks for. Times in s since 1970, `end` not included."""

    start: int = 0
    end: int = 0
    hosts: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    truck: str = ""
    fleet: str = ""
    periods: int = 0

    def __str__(self) -> str:
        filled = {name: value for name, value in vars(self).items() if value}
        return ", ".join(f"{name}={value}" for name, value in filled.items()) or "none"


@dataclass(frozen=True)
class Query:
    """A question: its columns, how its literals are drawn, the width of its buckets in s."""

    name: str
    case: str
    columns: tuple[str, ...]
    draw: Callable[[random.Random, Span], Literals]
    bucket: int = 0


def literals(query: Query, span: Span, seed: int, run: str) -> Literals:
    """The literals of one run: the same for the same seed, whoever is asked."""
    return query.draw(random.Random(f"{seed}/{query.name}/{run}"), span)


def _window(rng: random.Random, span: Span, length: int) -> dict:
    room = span.end - span.start - length
    if room <= 0:
        return {"start": span.start, "end": span.end}
    start = span.start + rng.randint(0, room)
    return {"start": start, "end": start + length}


def _hosts(rng: random.Random, span: Span, count: int) -> dict:
    drawn = rng.sample(range(span.scale), min(count, span.scale))
    return {"hosts": tuple(f"host_{host}" for host in drawn)}


def _grouped(name: str, function: str, metrics: int, hosts: int, hours: int, bucket: int) -> Query:
    """Aggregates of `metrics` by time; `hosts` 0: all of them, and by host too."""
    chosen = tuple(METRICS[:metrics])

    def draw(rng: random.Random, span: Span) -> Literals:
        some = _hosts(rng, span, hosts) if hosts else {}
        return Literals(metrics=chosen, **some, **_window(rng, span, hours * HOUR))

    keys = ("minute",) if bucket == MINUTE else ("hour",)
    keys += () if hosts else ("hostname",)
    columns = keys + tuple(f"{function}_{metric}" for metric in chosen)
    return Query(name, "cpu-only", columns, draw, bucket)


_ALL_COLUMNS = ("time", *CPU_TAGS, *METRICS)

CPU = [
    _grouped("single-groupby-1-1-1", "max", 1, 1, 1, MINUTE),
    _grouped("single-groupby-1-8-1", "max", 1, 8, 1, MINUTE),
    _grouped("single-groupby-5-8-1", "max", 5, 8, 1, MINUTE),
    _grouped("cpu-max-all-1", "max", 10, 1, 8, HOUR),
    _grouped("cpu-max-all-8", "max", 10, 8, 8, HOUR),
    _grouped("double-groupby-1", "avg", 1, 0, 12, HOUR),
    _grouped("double-groupby-5", "avg", 5, 0, 12, HOUR),
    _grouped("double-groupby-all", "avg", 10, 0, 12, HOUR),
    Query(
        "groupby-orderby-limit",
        "cpu-only",
        ("minute", "max_usage_user"),
        lambda rng, span: Literals(end=_window(rng, span, HOUR)["end"]),
        MINUTE,
    ),
    Query(
        "high-cpu-1",
        "cpu-only",
        _ALL_COLUMNS,
        lambda rng, span: Literals(**_hosts(rng, span, 1), **_window(rng, span, 12 * HOUR)),
    ),
    Query(
        "high-cpu-all",
        "cpu-only",
        _ALL_COLUMNS,
        lambda rng, span: Literals(**_window(rng, span, 12 * HOUR)),
    ),
    Query("lastpoint", "cpu-only", _ALL_COLUMNS, lambda rng, span: Literals()),
]


def _iot(name: str, columns: str, fleet=False, truck=False, length=0, periods=0) -> Query:
    def draw(rng: random.Random, span: Span) -> Literals:
        drawn = _window(rng, span, length) if length else {}
        if fleet:
            drawn["fleet"] = rng.choice(FLEETS)
        if truck:
            drawn["truck"] = f"truck_{rng.randrange(span.scale)}"
        return Literals(periods=periods, **drawn)

    return Query(name, "iot", tuple(columns.split()), draw)


# Of the 24 periods of ten minutes in four hours, five minutes an hour are rest: 22 are driven at
# most; of the 144 of a day, 35 minutes an hour are: 60.
IOT = [
    _iot("last-loc", "name driver longitude latitude", fleet=True),
    _iot("single-last-loc", "name driver longitude latitude", truck=True),
    _iot("low-fuel", "name driver fuel_state", fleet=True),
    _iot("high-load", "name driver current_load load_capacity", fleet=True),
    _iot("stationary-trucks", "name driver", fleet=True, length=10 * MINUTE),
    _iot("long-driving-sessions", "name driver", fleet=True, length=4 * HOUR, periods=22),
    _iot("long-daily-sessions", "name driver", fleet=True, length=24 * HOUR, periods=60),
    _iot(
        "avg-vs-projected-fuel-consumption",
        "fleet avg_fuel_consumption projected_fuel_consumption",
    ),
    _iot("avg-daily-driving-duration", "fleet name driver avg_daily_hours"),
    _iot("avg-daily-driving-session", "name day duration_seconds"),
    _iot("avg-load", "fleet model load_capacity avg_load_percentage"),
    _iot("daily-activity", "fleet model day daily_activity"),
    _iot("breakdown-frequency", "model breakdowns"),
]

OF_CASE = {"cpu-only": CPU, "iot": IOT}
