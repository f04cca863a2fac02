//! Functions of the samples of a window of one series. Pure: no engine, no labels.

#[cfg(test)]
mod tests;

use super::sums::{Mean, Spread, Sum, quantile};
use super::text::ns_to_seconds;
use crate::error::{QueryError, QueryResult};

/// A sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// ns since 1970.
    pub time: i64,
    /// Its value.
    pub value: f64,
}

/// Where a window lies: behind `start`, up to and with `end`, ns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// The time of evaluation.
    pub(crate) now: i64,
}

/// A function of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Window {
    Rate,
    Increase,
    Delta,
    Irate,
    Idelta,
    Deriv,
    Predict,
    Changes,
    Resets,
    Smooth,
    Avg,
    Min,
    Max,
    Sum,
    Count,
    Quantile,
    Stddev,
    Stdvar,
    First,
    Last,
    Present,
    Mad,
    TimeOfFirst,
    TimeOfLast,
    TimeOfMin,
    TimeOfMax,
}

impl Window {
    /// Whether the series keeps its name.
    pub(crate) fn keeps_name(self) -> bool {
        matches!(self, Window::First | Window::Last)
    }

    /// Whether the result depends on when it is asked for, although the window stands still.
    pub(crate) fn knows_now(self) -> bool {
        self == Window::Predict
    }

    /// What it gives of a window's samples, which are at least one and rise in time; `args` are its
    /// numbers. `None`: no value.
    ///
    /// # Errors
    /// `22023` for numbers that it cannot take.
    pub(crate) fn apply(
        self,
        points: &[Point],
        span: Span,
        args: &[f64],
    ) -> QueryResult<Option<f64>> {
        let (Some(first), Some(last)) = (points.first(), points.last()) else { return Ok(None) };
        let values = points.iter().map(|point| point.value);
        let arg = |n: usize| args.get(n).copied().unwrap_or(f64::NAN);
        Ok(match self {
            Window::Rate => extrapolated(points, span, true).map(|sum| sum.1),
            Window::Increase => extrapolated(points, span, true).map(|sum| sum.0),
            Window::Delta => extrapolated(points, span, false).map(|sum| sum.0),
            Window::Irate => instant(points, true),
            Window::Idelta => instant(points, false),
            Window::Deriv => regression(points, first.time).map(|line| line.0),
            Window::Predict => regression(points, span.now).map(|(slope, at)| slope * arg(0) + at),
            Window::Changes => Some(pairs(points, |a, b| a != b && !(a.is_nan() && b.is_nan()))),
            Window::Resets => Some(pairs(points, |a, b| b < a)),
            Window::Smooth => smooth(points, arg(0), arg(1))?,
            Window::Avg => {
                let mut mean = Mean::default();
                values.for_each(|value| mean.add(value));
                mean.mean()
            }
            Window::Min => Some(points[extreme(points, |new, old| new < old)].value),
            Window::Max => Some(points[extreme(points, |new, old| new > old)].value),
            Window::Sum => {
                let mut sum = Sum::default();
                values.for_each(|value| sum.add(value));
                Some(sum.total())
            }
            Window::Count => Some(points.len() as f64),
            Window::Quantile => Some(quantile(arg(0), &mut values.collect::<Vec<_>>())),
            Window::Stddev => variance(points).map(f64::sqrt),
            Window::Stdvar => variance(points),
            Window::First => Some(first.value),
            Window::Last => Some(last.value),
            Window::Present => Some(1.0),
            Window::Mad => {
                let median = quantile(0.5, &mut values.clone().collect::<Vec<_>>());
                let mut apart: Vec<f64> = values.map(|value| (value - median).abs()).collect();
                Some(quantile(0.5, &mut apart))
            }
            Window::TimeOfFirst => Some(ns_to_seconds(first.time)),
            Window::TimeOfLast => Some(ns_to_seconds(last.time)),
            Window::TimeOfMin => Some(time_of(points, extreme(points, |new, old| new <= old))),
            Window::TimeOfMax => Some(time_of(points, extreme(points, |new, old| new >= old))),
        })
    }
}

fn seconds(from: i64, to: i64) -> f64 {
    to.saturating_sub(from) as f64 / 1e9
}

fn time_of(points: &[Point], at: usize) -> f64 {
    ns_to_seconds(points[at].time)
}

/// What a window has grown by, extrapolated to its ends, and that by the second. Where the samples end
/// further from an end than they are apart (by a tenth more), the series is taken to begin or end
/// half-way between; a counter never begins below zero.
fn extrapolated(points: &[Point], span: Span, counter: bool) -> Option<(f64, f64)> {
    let [first, .., last] = points else { return None };
    let mut grown = last.value - first.value;
    if counter {
        for pair in points.windows(2) {
            if pair[1].value < pair[0].value {
                grown += pair[0].value;
            }
        }
    }
    let sampled = seconds(first.time, last.time);
    if sampled == 0.0 {
        return None;
    }
    let apart = sampled / (points.len() - 1) as f64;
    let near = apart * 1.1;
    let mut to_start = seconds(span.start, first.time);
    if to_start >= near {
        to_start = apart / 2.0;
    }
    if counter && grown > 0.0 && first.value >= 0.0 {
        let to_zero = sampled * (first.value / grown);
        if to_zero < to_start {
            to_start = to_zero;
        }
    }
    let mut to_end = seconds(last.time, span.end);
    if to_end >= near {
        to_end = apart / 2.0;
    }
    let factor = (sampled + to_start + to_end) / sampled;
    Some((grown * factor, grown * (factor / seconds(span.start, span.end))))
}

/// Growth between the last two samples; by the second for counters.
fn instant(points: &[Point], counter: bool) -> Option<f64> {
    let [.., before, last] = points else { return None };
    if before.time == last.time {
        return None;
    }
    let reset = counter && last.value < before.value;
    let grown = if reset { last.value } else { last.value - before.value };
    Some(if counter { grown / seconds(before.time, last.time) } else { grown })
}

/// Slope by the second of the least squares' line, and its value at `at`.
fn regression(points: &[Point], at: i64) -> Option<(f64, f64)> {
    if points.len() < 2 {
        return None;
    }
    let initial = points[0].value;
    if points.iter().all(|point| point.value == initial) {
        return Some(match initial.is_infinite() {
            true => (f64::NAN, f64::NAN),
            false => (0.0, initial),
        });
    }
    let (mut x, mut y, mut xy, mut xx) =
        (Sum::default(), Sum::default(), Sum::default(), Sum::default());
    for point in points {
        let time = seconds(at, point.time);
        x.add(time);
        y.add(point.value);
        xy.add(time * point.value);
        xx.add(time * time);
    }
    let count = points.len() as f64;
    let (x, y) = (x.total(), y.total());
    let slope = (xy.total() - x * y / count) / (xx.total() - x * x / count);
    Some((slope, y / count - slope * x / count))
}

/// How many neighbours are so.
fn pairs(points: &[Point], count: impl Fn(f64, f64) -> bool) -> f64 {
    points.windows(2).filter(|pair| count(pair[0].value, pair[1].value)).count() as f64
}

/// The place of the value that no later one replaces; anything replaces NaN.
fn extreme(points: &[Point], replaces: impl Fn(f64, f64) -> bool) -> usize {
    let mut found = 0;
    for (at, point) in points.iter().enumerate().skip(1) {
        let old = points[found].value;
        if replaces(point.value, old) || old.is_nan() {
            found = at;
        }
    }
    found
}

fn variance(points: &[Point]) -> Option<f64> {
    let mut spread = Spread::default();
    points.iter().for_each(|point| spread.add(point.value));
    spread.variance()
}

/// Double exponential smoothing: of level and trend.
fn smooth(points: &[Point], level: f64, trend: f64) -> QueryResult<Option<f64>> {
    for (name, factor) in [("smoothing", level), ("trend", trend)] {
        if !(factor > 0.0 && factor < 1.0) {
            let message = format!("invalid {name} factor. Expected: 0 < f < 1, got: {factor}");
            return Err(QueryError::new("22023", message));
        }
    }
    let [first, second, ..] = points else { return Ok(None) };
    let (mut before, mut now) = (0.0, first.value);
    let mut slope = second.value - first.value;
    for (n, point) in points.iter().enumerate().skip(1) {
        if n > 1 {
            slope = trend * (now - before) + (1.0 - trend) * slope;
        }
        let next = level * point.value + (1.0 - level) * (now + slope);
        (before, now) = (now, next);
    }
    Ok(Some(now))
}
