//! Ranges of samples: of selectors and of subqueries, and functions over them.

use std::collections::HashSet;

use tsdb::types::TimeRange;

use super::{Eval, Gather, Grid, Moments, Series, Sink, check_seen, is_distinct, wrong_kind};
use crate::error::QueryResult;
use crate::promql::ast::{Call, Expr, Kind, Subquery, When};
use crate::promql::elements::{NONE, is_none};
use crate::promql::labels::Labels;
use crate::promql::scan::scan;
use crate::promql::window::{Point, Span, Window};

/// Step of a subquery that names none, ns.
const SUBQUERY_STEP_NS: i64 = 60_000_000_000;
/// Steps between two looks at whether to stop.
const STEPS_AT_A_TIME: usize = 1024;

/// Takes the samples of one series.
pub(super) type PointSink<'s> = dyn FnMut(&Labels, &[Point]) -> QueryResult<()> + 's;

/// A window that moves over samples in time.
#[derive(Clone, Copy, Debug)]
struct Frame {
    moments: Moments,
    range_ns: i64,
}

impl Frame {
    fn span(&self, step: usize) -> Span {
        let end = self.moments.at(step);
        let start = end.saturating_sub(self.range_ns);
        Span { start, end, now: self.moments.grid.time(step) }
    }

    fn times(&self) -> TimeRange {
        let first = self.moments.first().saturating_sub(self.range_ns).saturating_add(1);
        TimeRange::new(first, self.moments.last())
    }
}

/// The places of a window's samples, moved on step by step.
#[derive(Default)]
struct Place {
    from: usize,
    to: usize,
}

impl Place {
    fn move_to<'p>(&mut self, points: &'p [Point], span: Span) -> &'p [Point] {
        while points.get(self.to).is_some_and(|point| point.time <= span.end) {
            self.to += 1;
        }
        while self.from < self.to && points[self.from].time <= span.start {
            self.from += 1;
        }
        &points[self.from..self.to]
    }
}

impl Eval<'_> {
    fn frame(&self, expr: &Expr, grid: Grid) -> QueryResult<Frame> {
        let (when, range_ns): (&When, i64) = match expr.bare() {
            Expr::Matrix(selector, range_ns) => (&selector.when, *range_ns),
            Expr::Subquery(subquery) => (&subquery.when, subquery.range_ns),
            other => return Err(wrong_kind(other, Kind::Matrix)),
        };
        Ok(Frame { moments: self.moments(when, grid), range_ns })
    }

    /// Samples of each series in all windows of a range vector, stale markers left out.
    pub(in crate::promql) fn points(
        &self,
        expr: &Expr,
        grid: Grid,
        each: &mut PointSink<'_>,
    ) -> QueryResult<()> {
        let frame = self.frame(expr, grid)?;
        match expr.bare() {
            Expr::Matrix(selector, _) => {
                let (chosen, mut seen) = self.chosen(selector);
                let mut kept: Vec<Point> = Vec::new();
                for chosen in chosen {
                    let mut held = self.account.hold();
                    scan(&chosen, frame.times(), &mut held, self.stop, &mut |labels, points| {
                        check_seen(&mut seen, labels)?;
                        if !points.iter().any(|point| is_none(point.value)) {
                            return each(labels, points);
                        }
                        kept.clear();
                        kept.extend(points.iter().filter(|point| !is_none(point.value)));
                        match kept.is_empty() {
                            true => Ok(()),
                            false => each(labels, &kept),
                        }
                    })?;
                }
                Ok(())
            }
            Expr::Subquery(subquery) => self.inner_points(subquery, &frame, each),
            other => Err(wrong_kind(other, Kind::Matrix)),
        }
    }

    /// The inner expression at whole multiples of the step that lie in the windows.
    fn inner_points(
        &self,
        subquery: &Subquery,
        frame: &Frame,
        each: &mut PointSink<'_>,
    ) -> QueryResult<()> {
        let step = subquery.step_ns.unwrap_or(SUBQUERY_STEP_NS);
        let TimeRange { min, max } = frame.times();
        let start = min.div_euclid(step).saturating_mul(step);
        let start = if start < min { start.saturating_add(step) } else { start };
        if start > max {
            return Ok(());
        }
        let count = (i128::from(max) - i128::from(start)) / i128::from(step) + 1;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        self.account.check_samples(count)?;
        let grid = Grid { start, step, count };
        let mut points: Vec<Point> = Vec::new();
        let mut give = |series: Series| {
            points.clear();
            let values = series.values.iter().enumerate().filter(|(_, value)| !is_none(**value));
            points.extend(values.map(|(i, value)| Point { time: grid.time(i), value: *value }));
            each(&series.labels, &points)
        };
        self.stream(&subquery.inner, grid, &mut give)
    }

    /// A function over windows.
    pub(super) fn over(
        &self,
        window: Window,
        call: &Call,
        grid: Grid,
        sink: &mut Sink<'_>,
    ) -> QueryResult<()> {
        let mut range = None;
        let mut numbers = Vec::new();
        for arg in &call.args {
            match arg.kind() {
                Kind::Matrix => range = Some(arg),
                _ => numbers.push(self.scalar(arg, grid)?),
            }
        }
        let Some(range) = range else {
            return Err(wrong_kind(&Expr::Call(Box::new(call.clone())), Kind::Matrix));
        };
        let frame = self.frame(range, grid)?;
        let nameless = !window.keeps_name();
        let work = |labels: &Labels, points: &[Point], sink: &mut Sink<'_>| {
            let values = self.slide(window, points, &frame, &numbers)?;
            let labels = if nameless { labels.nameless() } else { labels.clone() };
            let series = Series { labels, values };
            if series.is_empty() { Ok(()) } else { sink(series) }
        };
        if !nameless || is_distinct(range) {
            return self.points(range, grid, &mut |labels, points| work(labels, points, sink));
        }
        let mut all = Gather::new(&self.account);
        let mut named = HashSet::new();
        self.points(range, grid, &mut |labels, points| {
            // Windows of two series never become one, even where they do not meet.
            if !named.insert(labels.nameless()) {
                return Err(super::same_labels(&labels.nameless()));
            }
            work(labels, points, &mut |series| all.add(series))
        })?;
        all.done().series.into_iter().try_for_each(sink)
    }

    /// The function at each step over the samples of one series.
    fn slide(
        &self,
        window: Window,
        points: &[Point],
        frame: &Frame,
        numbers: &[Vec<f64>],
    ) -> QueryResult<Vec<f64>> {
        let steps = frame.moments.grid.count;
        let mut values = vec![NONE; steps];
        let mut place = Place::default();
        let mut args = vec![f64::NAN; numbers.len()];
        for step in 0..steps {
            if step % STEPS_AT_A_TIME == STEPS_AT_A_TIME - 1 {
                self.stop.check()?;
            }
            let same =
                args.iter().zip(numbers).all(|(arg, all)| arg.to_bits() == all[step].to_bits());
            let stands = step > 0 && frame.moments.fixed.is_some();
            if stands && same && !window.knows_now() {
                values[step] = values[step - 1];
                continue;
            }
            args.iter_mut().zip(numbers).for_each(|(arg, all)| *arg = all[step]);
            let span = frame.span(step);
            let inside = place.move_to(points, span);
            values[step] = window.apply(inside, span, &args)?.unwrap_or(NONE);
        }
        Ok(values)
    }

    /// Marks the steps whose windows hold samples.
    pub(super) fn mark_windows(
        &self,
        range: &Expr,
        grid: Grid,
        there: &mut [bool],
    ) -> QueryResult<()> {
        let frame = self.frame(range, grid)?;
        self.points(range, grid, &mut |_, points| {
            let mut place = Place::default();
            for (step, there) in there.iter_mut().enumerate() {
                *there |= !place.move_to(points, frame.span(step)).is_empty();
            }
            Ok(())
        })
    }
}
