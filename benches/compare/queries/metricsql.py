"""The queries for VictoriaMetrics, where MetricsQL can ask the same question; None where it cannot.

It cannot filter rows by a value and return them whole (high-cpu), and its newest rows are newest
values of each series apart (the questions of `iot`). Time falls into steps whose ends are given,
so buckets are asked for at their last millisecond; buckets at the edges of a window take in rows
outside of it, and are left out where answers are compared.
"""

from __future__ import annotations

from urllib.parse import urlencode

from . import HOUR, METRICS, MINUTE, Literals, Span

# A bucket [t, t + width) is the range (t - 1 ms, t + width - 1 ms] of MetricsQL.
EDGE = 0.001


def path(name: str, drawn: Literals, span: Span) -> str | None:
    """The path of a GET for one run of a query."""
    make = TEXTS.get(name)
    return make(drawn, span) if make else None


def _series(drawn: Literals) -> str:
    names = "|".join(drawn.metrics)
    one = len(drawn.metrics) == 1
    matchers = [f'__name__="cpu_{names}"' if one else f'__name__=~"cpu_({names})"']
    if drawn.hosts:
        matchers.append('hostname=~"{}"'.format("|".join(drawn.hosts)))
    return "{{{}}}".format(",".join(matchers))


def _range(query: str, drawn: Literals, width: int) -> str:
    first = drawn.start // width * width + width
    last = (drawn.end - 1) // width * width + width
    asked = {
        "query": query,
        "start": f"{first - EDGE:.3f}",
        "end": f"{last - EDGE:.3f}",
        "step": f"{width}s",
        "nocache": "1",
    }
    return "/api/v1/query_range?" + urlencode(asked)


def _maxima(width: int):
    def make(drawn: Literals, _span: Span) -> str:
        query = f"max(max_over_time({_series(drawn)}[{width}s])) by (__name__)"
        return _range(query, drawn, width)

    return make


def _double(drawn: Literals, _span: Span) -> str:
    query = f"avg(avg_over_time({_series(drawn)}[3600s])) by (__name__, hostname)"
    return _range(query, drawn, HOUR)


def _lastpoint(_drawn: Literals, span: Span) -> str:
    window = f"[{span.end - span.start}s]"
    series = '{{__name__=~"cpu_({})"}}'.format("|".join(METRICS))
    query = f"union(last_over_time({series}{window}), tlast_over_time(cpu_usage_user{window}))"
    asked = {"query": query, "time": str(span.end), "nocache": "1"}
    return "/api/v1/query?" + urlencode(asked)


TEXTS = {
    "single-groupby-1-1-1": _maxima(MINUTE),
    "single-groupby-1-8-1": _maxima(MINUTE),
    "single-groupby-5-8-1": _maxima(MINUTE),
    "cpu-max-all-1": _maxima(HOUR),
    "cpu-max-all-8": _maxima(HOUR),
    "double-groupby-1": _double,
    "double-groupby-5": _double,
    "double-groupby-all": _double,
    "lastpoint": _lastpoint,
}
