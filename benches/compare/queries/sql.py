"""The queries as SQL. A dialect says how a database cuts time, tells absence and finds newest rows;
everything else is one text for all."""

from __future__ import annotations

import datetime

from . import CPU_TAGS, HOUR, METRICS, MINUTE, Literals

DAY = 24 * HOUR
TEN_MINUTES = 10 * MINUTE


class Dialect:
    """Standard SQL with Postgres's words; databases override what they say otherwise."""

    def time(self, seconds: int) -> str:
        """A literal time."""
        moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
        return f"'{moment:%Y-%m-%d %H:%M:%S}+00'"

    def bucket(self, seconds: int, column: str) -> str:
        """Start of the bucket that a time is in."""
        return f"time_bucket('{seconds} seconds', {column})"

    def present(self, tag: str) -> str:
        """Whether a row has a tag."""
        return f"{tag} IS NOT NULL"

    def epoch(self, column: str) -> str:
        """Seconds since 1970."""
        return f"date_part('epoch', {column})"

    def neighbour(self, function: str, column: str, over: str) -> str:
        """`lag` or `lead`: NULL where there is no neighbour."""
        return f"{function}({column}) OVER ({over})"

    def newest(self, table: str, keys: list[str], columns: list[str], where: str) -> str:
        """The newest row of each key: `keys`, then `columns`."""
        listed, of_all = ", ".join(keys), ", ".join(keys + columns)
        return (
            f"SELECT DISTINCT ON ({listed}) {of_all} FROM {table} WHERE {where} "
            f"ORDER BY {listed}, time DESC"
        )

    def lastpoint(self) -> str:
        """The newest row of each host, all columns."""
        return "SELECT DISTINCT ON (hostname) * FROM cpu ORDER BY hostname, time DESC"

    def window(self, drawn: Literals) -> str:
        """The condition for the time range of a run."""
        return f"time >= {self.time(drawn.start)} AND time < {self.time(drawn.end)}"


def text(dialect: Dialect, name: str, drawn: Literals) -> str:
    """The statement for one run of a query."""
    return TEXTS[name](dialect, drawn)


def _hosts(drawn: Literals) -> str:
    if len(drawn.hosts) == 1:
        return f"hostname = '{drawn.hosts[0]}'"
    return "hostname IN ({})".format(", ".join(f"'{host}'" for host in drawn.hosts))


def _aggregates(function: str, drawn: Literals) -> str:
    return ", ".join(f"{function}({m}) AS {function}_{m}" for m in drawn.metrics)


def _maxima(label: str, seconds: int):
    def make(d: Dialect, drawn: Literals) -> str:
        return (
            f"SELECT {d.bucket(seconds, 'time')} AS {label}, {_aggregates('max', drawn)} FROM cpu "
            f"WHERE {_hosts(drawn)} AND {d.window(drawn)} GROUP BY {label} ORDER BY {label}"
        )

    return make


def _double(d: Dialect, drawn: Literals) -> str:
    return (
        f"SELECT {d.bucket(HOUR, 'time')} AS hour, hostname, {_aggregates('avg', drawn)} FROM cpu "
        f"WHERE {d.window(drawn)} GROUP BY hour, hostname ORDER BY hour, hostname"
    )


def _orderby_limit(d: Dialect, drawn: Literals) -> str:
    return (
        f"SELECT {d.bucket(MINUTE, 'time')} AS minute, max(usage_user) AS max_usage_user FROM cpu "
        f"WHERE time < {d.time(drawn.end)} GROUP BY minute ORDER BY minute DESC LIMIT 5"
    )


def _high_cpu(d: Dialect, drawn: Literals) -> str:
    hosts = f" AND {_hosts(drawn)}" if drawn.hosts else ""
    return f"SELECT * FROM cpu WHERE usage_user > 90.0 AND {d.window(drawn)}{hosts}"


def _last_loc(d: Dialect, drawn: Literals) -> str:
    if drawn.truck:
        where = f"name IN ('{drawn.truck}')"
    else:
        where = f"{d.present('name')} AND fleet = '{drawn.fleet}'"
    return d.newest("readings", ["name", "driver"], ["longitude", "latitude"], where)


def _last_diagnostics(columns: list[str], condition: str):
    def make(d: Dialect, drawn: Literals) -> str:
        where = f"{d.present('name')} AND fleet = '{drawn.fleet}'"
        rows = d.newest("diagnostics", ["name", "driver"], columns, where)
        return f"SELECT * FROM ({rows}) AS d WHERE {condition}"

    return make


def _stationary(d: Dialect, drawn: Literals) -> str:
    return (
        f"SELECT name, driver FROM readings WHERE {d.window(drawn)} AND {d.present('name')} "
        f"AND fleet = '{drawn.fleet}' GROUP BY name, driver HAVING avg(velocity) < 1"
    )


def _long_sessions(d: Dialect, drawn: Literals) -> str:
    return (
        f"SELECT name, driver FROM (SELECT {d.bucket(TEN_MINUTES, 'time')} AS ten_minutes, name, "
        f"driver FROM readings WHERE {d.window(drawn)} AND {d.present('name')} "
        f"AND fleet = '{drawn.fleet}' GROUP BY ten_minutes, name, driver "
        f"HAVING avg(velocity) > 1) AS r "
        f"GROUP BY name, driver HAVING count(ten_minutes) > {drawn.periods}"
    )


def _fuel(d: Dialect, _drawn: Literals) -> str:
    return (
        "SELECT fleet, avg(fuel_consumption) AS avg_fuel_consumption, "
        "avg(nominal_fuel_consumption) AS projected_fuel_consumption FROM readings "
        f"WHERE velocity > 1 AND {d.present('fleet')} AND nominal_fuel_consumption IS NOT NULL "
        f"AND {d.present('name')} GROUP BY fleet"
    )


def _driving_duration(d: Dialect, _drawn: Literals) -> str:
    return (
        f"WITH sessions AS (SELECT {d.bucket(TEN_MINUTES, 'time')} AS ten_minutes, fleet, name, "
        "driver FROM readings GROUP BY ten_minutes, fleet, name, driver "
        "HAVING avg(velocity) > 1), "
        f"days AS (SELECT {d.bucket(DAY, 'ten_minutes')} AS day, fleet, name, driver, "
        "count(*) / 6.0 AS hours FROM sessions GROUP BY day, fleet, name, driver) "
        "SELECT fleet, name, driver, avg(hours) AS avg_daily_hours FROM days "
        "GROUP BY fleet, name, driver"
    )


def _driving_session(d: Dialect, _drawn: Literals) -> str:
    over = "PARTITION BY name ORDER BY ten_minutes"
    return (
        f"WITH status AS (SELECT name, {d.bucket(TEN_MINUTES, 'time')} AS ten_minutes, "
        f"avg(velocity) > 5 AS driving FROM readings WHERE {d.present('name')} "
        "GROUP BY name, ten_minutes), "
        "before AS (SELECT name, ten_minutes, driving, "
        f"{d.neighbour('lag', 'driving', over)} AS prev_driving FROM status), "
        "change AS (SELECT name, ten_minutes AS start, "
        f"{d.neighbour('lead', 'ten_minutes', over)} AS stop, driving "
        "FROM before WHERE driving <> prev_driving) "
        f"SELECT name, {d.bucket(DAY, 'start')} AS day, "
        f"avg({d.epoch('stop')} - {d.epoch('start')}) AS duration_seconds "
        "FROM change WHERE driving GROUP BY name, day ORDER BY name, day"
    )


def _avg_load(d: Dialect, _drawn: Literals) -> str:
    return (
        "SELECT fleet, model, load_capacity, avg(avg_load / load_capacity) AS avg_load_percentage "
        "FROM (SELECT fleet, model, name, load_capacity, avg(current_load) AS avg_load "
        f"FROM diagnostics WHERE {d.present('name')} "
        "GROUP BY fleet, model, name, load_capacity) AS d GROUP BY fleet, model, load_capacity"
    )


def _daily_activity(d: Dialect, _drawn: Literals) -> str:
    # 144.0 and not 144: the sum of bigint is numeric in one database and bigint in another.
    return (
        "SELECT fleet, model, day, sum(ten_mins_per_day) / 144.0 AS daily_activity FROM ("
        f"SELECT {d.bucket(DAY, 'time')} AS day, {d.bucket(TEN_MINUTES, 'time')} AS ten_minutes, "
        "fleet, model, name, count(*) AS ten_mins_per_day FROM diagnostics "
        f"WHERE {d.present('name')} GROUP BY day, ten_minutes, fleet, model, name "
        "HAVING avg(status) < 1) AS y GROUP BY fleet, model, day ORDER BY day"
    )


def _breakdowns(d: Dialect, _drawn: Literals) -> str:
    over = "PARTITION BY model, name ORDER BY ten_minutes"
    return (
        f"WITH periods AS (SELECT {d.bucket(TEN_MINUTES, 'time')} AS ten_minutes, model, name, "
        "avg(CASE WHEN status = 0 THEN 1.0 ELSE 0.0 END) < 0.5 AS broken_down "
        f"FROM diagnostics WHERE {d.present('name')} GROUP BY ten_minutes, model, name), "
        "pairs AS (SELECT model, broken_down, "
        f"{d.neighbour('lead', 'broken_down', over)} AS next_broken FROM periods) "
        "SELECT model, count(*) AS breakdowns FROM pairs "
        "WHERE NOT broken_down AND next_broken GROUP BY model"
    )


TEXTS = {
    "single-groupby-1-1-1": _maxima("minute", MINUTE),
    "single-groupby-1-8-1": _maxima("minute", MINUTE),
    "single-groupby-5-8-1": _maxima("minute", MINUTE),
    "cpu-max-all-1": _maxima("hour", HOUR),
    "cpu-max-all-8": _maxima("hour", HOUR),
    "double-groupby-1": _double,
    "double-groupby-5": _double,
    "double-groupby-all": _double,
    "groupby-orderby-limit": _orderby_limit,
    "high-cpu-1": _high_cpu,
    "high-cpu-all": _high_cpu,
    "lastpoint": lambda d, _drawn: d.lastpoint(),
    "last-loc": _last_loc,
    "single-last-loc": _last_loc,
    "low-fuel": _last_diagnostics(["fuel_state"], "fuel_state < 0.1"),
    "high-load": _last_diagnostics(
        ["current_load", "load_capacity"], "current_load / load_capacity > 0.9"
    ),
    "stationary-trucks": _stationary,
    "long-driving-sessions": _long_sessions,
    "long-daily-sessions": _long_sessions,
    "avg-vs-projected-fuel-consumption": _fuel,
    "avg-daily-driving-duration": _driving_duration,
    "avg-daily-driving-session": _driving_session,
    "avg-load": _avg_load,
    "daily-activity": _daily_activity,
    "breakdown-frequency": _breakdowns,
}

CPU_COLUMNS = [*CPU_TAGS, *METRICS]
