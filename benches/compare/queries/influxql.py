"""The queries as InfluxQL, where it can ask the same question; None where it cannot.

What it cannot: look at neighbouring rows of a window (avg-daily-driving-session,
breakdown-frequency), group by a field (avg-load), count rows whose fields are missing
(daily-activity), or tell that the newest row lacks a field (low-fuel, high-load).
"""

from __future__ import annotations

from . import Literals, Span

NS = 1_000_000_000
# `name` is a word of InfluxQL.
_NAMED = "\"name\" != ''"
_BY_TRUCK = 'GROUP BY "name", driver'


def text(name: str, drawn: Literals, span: Span) -> str | None:
    """The statement for one run of a query."""
    make = TEXTS.get(name)
    return make(drawn, span) if make else None


def _window(drawn: Literals) -> str:
    return f"time >= {drawn.start * NS} AND time < {drawn.end * NS}"


def _hosts(drawn: Literals) -> str:
    return "({})".format(" OR ".join(f"hostname = '{host}'" for host in drawn.hosts))


def _aggregates(function: str, label: str, drawn: Literals) -> str:
    return ", ".join(f"{function}({m}) AS {label}_{m}" for m in drawn.metrics)


def _maxima(width: str):
    return lambda drawn, _span: (
        f"SELECT {_aggregates('max', 'max', drawn)} FROM cpu WHERE {_hosts(drawn)} "
        f"AND {_window(drawn)} GROUP BY time({width}) fill(none)"
    )


def _double(drawn: Literals, _span: Span) -> str:
    return (
        f"SELECT {_aggregates('mean', 'avg', drawn)} FROM cpu WHERE {_window(drawn)} "
        "GROUP BY time(1h), hostname fill(none)"
    )


def _orderby_limit(drawn: Literals, _span: Span) -> str:
    return (
        f"SELECT max(usage_user) AS max_usage_user FROM cpu WHERE time < {drawn.end * NS} "
        "GROUP BY time(1m) ORDER BY time DESC LIMIT 5"
    )


def _high_cpu(drawn: Literals, _span: Span) -> str:
    hosts = f" AND {_hosts(drawn)}" if drawn.hosts else ""
    return f"SELECT * FROM cpu WHERE usage_user > 90.0 AND {_window(drawn)}{hosts}"


def _last_loc(drawn: Literals, _span: Span) -> str:
    where = f"{_NAMED} AND fleet = '{drawn.fleet}'"
    if drawn.truck:
        where = f"\"name\" = '{drawn.truck}'"
    return (
        f"SELECT longitude, latitude FROM readings WHERE {where} "
        f"{_BY_TRUCK} ORDER BY time DESC LIMIT 1"
    )


def _stationary(drawn: Literals, _span: Span) -> str:
    return (
        "SELECT v FROM (SELECT mean(velocity) AS v FROM readings WHERE "
        f"{_window(drawn)} AND {_NAMED} AND fleet = '{drawn.fleet}' {_BY_TRUCK}) "
        f"WHERE v < 1 {_BY_TRUCK}"
    )


def _long_sessions(drawn: Literals, _span: Span) -> str:
    return (
        "SELECT n FROM (SELECT count(v) AS n FROM (SELECT mean(velocity) AS v FROM readings WHERE "
        f"{_window(drawn)} AND {_NAMED} AND fleet = '{drawn.fleet}' "
        f'GROUP BY time(10m), "name", driver fill(none)) WHERE v > 1 {_BY_TRUCK}) '
        f"WHERE n > {drawn.periods} {_BY_TRUCK}"
    )


def _fuel(_drawn: Literals, _span: Span) -> str:
    # All consumptions are above zero, so that this says "is there".
    return (
        "SELECT mean(fuel_consumption) AS avg_fuel_consumption, "
        "mean(nominal_fuel_consumption) AS projected_fuel_consumption FROM readings "
        f"WHERE velocity > 1 AND nominal_fuel_consumption > 0 AND fleet != '' AND {_NAMED} "
        "GROUP BY fleet"
    )


def _driving_duration(_drawn: Literals, span: Span) -> str:
    # Grouping by time wants a range; this one holds all rows.
    window = f"time >= {span.start * NS} AND time < {span.end * NS}"
    return (
        "SELECT mean(hours) AS avg_daily_hours FROM (SELECT count(v) / 6.0 AS hours FROM ("
        f"SELECT mean(velocity) AS v FROM readings WHERE {window} "
        'GROUP BY time(10m), fleet, "name", driver fill(none)) '
        f'WHERE v > 1 AND {window} GROUP BY time(1d), fleet, "name", driver fill(none)) '
        f'WHERE hours > 0 AND {window} GROUP BY fleet, "name", driver'
    )


TEXTS = {
    "single-groupby-1-1-1": _maxima("1m"),
    "single-groupby-1-8-1": _maxima("1m"),
    "single-groupby-5-8-1": _maxima("1m"),
    "cpu-max-all-1": _maxima("1h"),
    "cpu-max-all-8": _maxima("1h"),
    "double-groupby-1": _double,
    "double-groupby-5": _double,
    "double-groupby-all": _double,
    "groupby-orderby-limit": _orderby_limit,
    "high-cpu-1": _high_cpu,
    "high-cpu-all": _high_cpu,
    "lastpoint": lambda _drawn, _span: (
        "SELECT * FROM cpu GROUP BY hostname ORDER BY time DESC LIMIT 1"
    ),
    "last-loc": _last_loc,
    "single-last-loc": _last_loc,
    "stationary-trucks": _stationary,
    "long-driving-sessions": _long_sessions,
    "long-daily-sessions": _long_sessions,
    "avg-vs-projected-fuel-consumption": _fuel,
    "avg-daily-driving-duration": _driving_duration,
}
