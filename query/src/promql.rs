//! PromQL: Prometheus' language over the tables. `../PROMQL.md` says what a metric is and what there is.
//!
//! `parse` makes a checked expression of a text, `select` finds tables and series, `scan` reads them
//! one by one, `eval` runs over steps of time; `window`, `elements`, `sums` and `histogram` are the
//! arithmetic, without engine or labels. `session/prom.rs` runs it all under the limits of statements.
//!
//! Invariants: a vector has no two series with the same labels at one step; a stale marker never
//! leaves as a value; what an evaluation holds is in its `account`.

mod account;
mod ast;
pub(crate) mod browse;
mod elements;
mod eval;
mod functions;
mod histogram;
mod labels;
mod lex;
mod matcher;
mod parse;
mod scan;
mod select;
mod sums;
mod text;
mod window;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use datafusion::execution::memory_pool::MemoryPool;
use tokio::sync::mpsc;
use tsdb::Snapshot;
use tsdb::types::TimeRange;

use account::{Account, Held};
use ast::{AggregateOp, Expr, Kind};
use eval::{Eval, Series};
use functions::Body;

use crate::activity::Live;
use crate::error::{QueryError, QueryResult};
use crate::native::rows_about;
use crate::run::Stop;

pub use browse::{Found, PromBrowse};
pub use elements::STALE_BITS;
pub use eval::Grid;
pub use labels::{Labels, METRIC_NAME};
pub use matcher::{MatchOp, Matcher, RegexBudget};
pub use parse::parse_selector;
pub use select::{VALUE_FIELD, column_of_label};
pub use text::{number, parse_span, seconds_to_ns, timestamp};
pub use window::Point;

/// A query.
#[derive(Clone, Debug)]
pub struct PromQuery {
    /// The expression.
    pub text: String,
    /// First time it is evaluated at, ns.
    pub start: i64,
    /// Last time, ns.
    pub end: i64,
    /// From one time to the next, ns; `None` for an instant query, at `end`.
    pub step: Option<i64>,
    /// How far an instant vector looks back, ns; `None`: as set.
    pub lookback: Option<i64>,
    /// How long it may take; no longer than is set.
    pub timeout: Option<Duration>,
    /// Series at most; 0: all.
    pub limit: usize,
}

/// A series of an answer.
#[derive(Debug)]
pub struct PromSeries {
    /// Its labels.
    pub labels: Labels,
    points: Points,
}

#[derive(Debug)]
enum Points {
    Steps(Grid, Vec<f64>),
    Raw(Vec<Point>),
}

impl PromSeries {
    /// A series of these samples.
    pub fn new(labels: Labels, points: Vec<Point>) -> PromSeries {
        PromSeries { labels, points: Points::Raw(points) }
    }

    /// Places of samples, some of them empty.
    pub fn places(&self) -> usize {
        match &self.points {
            Points::Steps(_, values) => values.len(),
            Points::Raw(points) => points.len(),
        }
    }

    /// The sample at a place, if there is one.
    pub fn point(&self, at: usize) -> Option<Point> {
        match &self.points {
            Points::Raw(points) => points.get(at).copied(),
            Points::Steps(grid, values) => {
                let value = values.get(at).filter(|value| !elements::is_none(**value))?;
                Some(Point { time: grid.time(at), value: *value })
            }
        }
    }

    /// Samples in ascending time.
    pub fn points(&self) -> impl Iterator<Item = Point> + '_ {
        (0..self.places()).filter_map(|at| self.point(at))
    }
}

/// What an expression gave.
#[derive(Debug)]
pub enum PromValue {
    /// A number.
    Scalar(Point),
    /// A text, at a time in ns.
    Text(i64, String),
    /// Series with one sample each.
    Vector(Vec<PromSeries>),
    /// Series with samples.
    Matrix(Vec<PromSeries>),
}

/// An answer; while it lives the query counts as running and holds its memory.
pub struct PromAnswer {
    /// What the expression gave.
    pub value: PromValue,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// Given back when the answer is dropped.
    _held: Held,
    /// The query is over when the answer is dropped.
    pub(crate) live: Option<Live>,
}

impl PromAnswer {
    /// An answer that no engine gave, for tests of doors.
    #[doc(hidden)]
    pub fn played(value: PromValue) -> PromAnswer {
        let pool: Arc<dyn MemoryPool> =
            Arc::new(datafusion::execution::memory_pool::UnboundedMemoryPool::default());
        let held = Account::new(&pool, 0).hold();
        PromAnswer { value, warnings: Vec::new(), _held: held, live: None }
    }
}

/// Reads a query and forgets it, for fuzzers.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_query(text: &str) -> QueryResult<()> {
    parse::parse(text).map(drop)
}

/// A query with what it reads.
pub(crate) struct Prepared {
    expr: Expr,
    query: PromQuery,
    grid: Grid,
    lookback_ns: i64,
    snapshot: Snapshot,
}

/// Limits of the house.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PromLimits {
    pub(crate) points_max: usize,
    pub(crate) samples_max: usize,
    pub(crate) lookback_ns: i64,
}

/// Checks a query before anything is read.
///
/// # Errors
/// `42601` for what is no PromQL, `0A000` for what is not there, `54001` for what is too large.
pub(crate) fn prepare(
    query: PromQuery,
    snapshot: Snapshot,
    limits: &PromLimits,
) -> QueryResult<Prepared> {
    let bad = |message: String| QueryError::new("42601", message);
    let grid = match query.step {
        None => Grid { start: query.end, step: 1, count: 1 },
        Some(step) => {
            if query.end < query.start {
                return Err(bad("end timestamp must not be before start time".into()));
            }
            if step <= 0 {
                return Err(bad(
                    "zero or negative query resolution step widths are not accepted. Try a \
                     positive integer"
                        .into(),
                ));
            }
            let count = (i128::from(query.end) - i128::from(query.start)) / i128::from(step) + 1;
            let points_max = limits.points_max;
            if count > points_max as i128 {
                return Err(bad(format!(
                    "exceeded maximum resolution of {points_max} points per timeseries. Try \
                     decreasing the query resolution (?step=XX)"
                )));
            }
            Grid { start: query.start, step, count: count as usize }
        }
    };
    let expr = parse::parse(&query.text)?;
    let kind = expr.kind();
    if query.step.is_some() && !matches!(kind, Kind::Scalar | Kind::Vector) {
        let kind = kind.name();
        return Err(bad(format!(
            "invalid expression type {kind:?} for range query, must be Scalar or instant Vector"
        )));
    }
    let lookback_ns = match query.lookback {
        Some(ns) if ns <= 0 => {
            return Err(bad("the look-back must be longer than nothing".into()));
        }
        Some(ns) => ns,
        None => limits.lookback_ns,
    };
    Ok(Prepared { expr, query, grid, lookback_ns, snapshot })
}

impl Prepared {
    /// Rows that will be read, about.
    pub(crate) fn rows_about(&self) -> u64 {
        let mut rows = 0.0;
        self.weigh(&self.expr, 0, &mut rows);
        rows as u64
    }

    /// Adds the rows of all selectors; `around_ns`: how much longer than the steps the time is.
    fn weigh(&self, expr: &Expr, around_ns: i64, rows: &mut f64) {
        let mut add = |selector: &ast::Selector, range_ns: i64| {
            let back = range_ns.saturating_add(around_ns);
            let (start, end) = (self.grid.start, self.grid.end());
            let shift = selector.when.offset_ns;
            let start = start.saturating_sub(back).saturating_sub(shift);
            let times = TimeRange::new(start, end.saturating_sub(shift));
            for chosen in select::choose(&self.snapshot, &selector.matchers) {
                *rows += rows_about(&chosen.table, Some(&chosen.series), &times);
            }
        };
        match expr {
            Expr::Number(_) | Expr::Text(_) => {}
            Expr::Vector(selector) => add(selector, self.lookback_ns),
            Expr::Matrix(selector, range_ns) => add(selector, *range_ns),
            Expr::Subquery(subquery) => {
                let around = around_ns.saturating_add(subquery.range_ns);
                self.weigh(&subquery.inner, around, rows);
            }
            Expr::Call(call) => call.args.iter().for_each(|arg| self.weigh(arg, around_ns, rows)),
            Expr::Aggregate(aggregate) => self.weigh(&aggregate.inner, around_ns, rows),
            Expr::Binary(binary) => {
                self.weigh(&binary.left, around_ns, rows);
                self.weigh(&binary.right, around_ns, rows);
            }
            Expr::Negate(inner) | Expr::Paren(inner) => self.weigh(inner, around_ns, rows),
        }
    }

    /// `42501` for a metric by its name that who asks may not read.
    pub(crate) fn check_sight(&self, whole: Option<&Snapshot>) -> QueryResult<()> {
        let mut selectors = Vec::new();
        selectors_of(&self.expr, &mut selectors);
        let mut selectors = selectors.into_iter();
        selectors.try_for_each(|of| check_sight(&of.matchers, &self.snapshot, whole))
    }

    /// Evaluates on this thread.
    ///
    /// # Errors
    /// What evaluation says; `57014` when it is to stop.
    pub(crate) fn run(
        &self,
        pool: &Arc<dyn MemoryPool>,
        limits: &PromLimits,
        stop: &Stop,
    ) -> QueryResult<PromAnswer> {
        let account = Account::new(pool, limits.samples_max);
        let eval = Eval {
            snapshot: &self.snapshot,
            ends: (self.grid.start, self.query.end),
            lookback_ns: self.lookback_ns,
            account,
            stop,
        };
        let (value, held) = self.value(&eval)?;
        let mut answer = PromAnswer { value, warnings: Vec::new(), _held: held, live: None };
        self.cut(&mut answer);
        Ok(answer)
    }

    fn value(&self, eval: &Eval<'_>) -> QueryResult<(PromValue, Held)> {
        let (grid, range) = (self.grid, self.query.step.is_some());
        let mut held = eval.account.hold();
        Ok(match self.expr.kind() {
            Kind::Text => match self.expr.bare() {
                Expr::Text(text) => (PromValue::Text(grid.start, text.clone()), held),
                _ => return Err(QueryError::internal("a text that is none")),
            },
            Kind::Scalar => {
                let values = eval.scalar(&self.expr, grid)?;
                held.grow(8 * values.len(), values.len())?;
                match range {
                    false => {
                        let point = Point { time: grid.start, value: values[0] };
                        (PromValue::Scalar(point), held)
                    }
                    true => {
                        let points = Points::Steps(grid, values);
                        let series = PromSeries { labels: Labels::default(), points };
                        (PromValue::Matrix(vec![series]), held)
                    }
                }
            }
            Kind::Matrix => {
                let mut all = Vec::new();
                eval.points(&self.expr, grid, &mut |labels, points| {
                    held.grow(labels.memory() + size_of_val(points), points.len())?;
                    let points = Points::Raw(points.to_vec());
                    all.push(PromSeries { labels: labels.clone(), points });
                    Ok(())
                })?;
                all.sort_by(|a, b| a.labels.cmp(&b.labels));
                (PromValue::Matrix(all), held)
            }
            Kind::Vector => {
                let gathered = eval.vector(&self.expr, grid)?;
                let (mut all, held) = (gathered.series, gathered.held);
                if range || !is_ordered(&self.expr) {
                    all.sort_by(|a, b| a.labels.cmp(&b.labels));
                }
                let series = |Series { labels, values }| PromSeries {
                    labels,
                    points: Points::Steps(grid, values),
                };
                let all = all.into_iter().map(series).collect();
                (if range { PromValue::Matrix(all) } else { PromValue::Vector(all) }, held)
            }
        })
    }

    fn cut(&self, answer: &mut PromAnswer) {
        let limit = self.query.limit;
        if let PromValue::Vector(all) | PromValue::Matrix(all) = &mut answer.value
            && limit > 0
            && all.len() > limit
        {
            all.truncate(limit);
            answer.warnings.push("results truncated due to limit".to_owned());
        }
    }
}

/// Whether the order of the series means something.
fn is_ordered(expr: &Expr) -> bool {
    match expr.bare() {
        Expr::Call(call) => {
            matches!(call.function.body, Body::Sort { .. } | Body::SortByLabel { .. })
        }
        Expr::Aggregate(aggregate) => {
            matches!(aggregate.op, AggregateOp::Topk | AggregateOp::Bottomk)
        }
        _ => false,
    }
}

/// What remote read asks for.
#[derive(Clone, Debug)]
pub struct PromRead {
    /// The series.
    pub matchers: Vec<Matcher>,
    /// First and last time, ns.
    pub times: TimeRange,
}

/// A series that remote read found: the place of its question, labels, samples with the stale markers.
#[derive(Debug)]
pub struct PromReadSeries {
    /// Place of the question.
    pub question: usize,
    /// Its labels.
    pub labels: Labels,
    /// Its samples in ascending time.
    pub points: Vec<Point>,
}

fn selectors_of<'e>(expr: &'e Expr, out: &mut Vec<&'e ast::Selector>) {
    match expr {
        Expr::Number(_) | Expr::Text(_) => {}
        Expr::Vector(selector) | Expr::Matrix(selector, _) => out.push(selector),
        Expr::Subquery(subquery) => selectors_of(&subquery.inner, out),
        Expr::Call(call) => call.args.iter().for_each(|arg| selectors_of(arg, out)),
        Expr::Aggregate(aggregate) => {
            selectors_of(&aggregate.inner, out);
            aggregate.param.iter().for_each(|param| selectors_of(param, out));
        }
        Expr::Binary(binary) => {
            selectors_of(&binary.left, out);
            selectors_of(&binary.right, out);
        }
        Expr::Negate(inner) | Expr::Paren(inner) => selectors_of(inner, out),
    }
}

/// `42501` where matchers name a metric that is there, but not in the tables that may be read. Other
/// matchers leave out what may not be read.
pub(crate) fn check_sight(
    matchers: &[Matcher],
    seen: &Snapshot,
    whole: Option<&Snapshot>,
) -> QueryResult<()> {
    let Some(whole) = whole else { return Ok(()) };
    let named: Vec<Matcher> = matchers
        .iter()
        .filter(|m| m.name == labels::METRIC_NAME && m.op == MatchOp::Equal)
        .cloned()
        .collect();
    let Some(name) = named.first() else { return Ok(()) };
    let there = |snapshot| !select::choose(snapshot, &named).is_empty();
    match there(whole) && !there(seen) {
        true => {
            let message = format!("permission denied for metric {}", name.value);
            Err(QueryError::new("42501", message))
        }
        false => Ok(()),
    }
}

/// Series that remote read reads at a time: their samples wait until their turn by labels.
const READ_SERIES: usize = 64;

/// Reads samples as they are, series by series in the order of their labels, into a channel; ends early
/// when nobody listens.
pub(crate) fn read(
    asked: &[PromRead],
    snapshot: &Snapshot,
    pool: &Arc<dyn MemoryPool>,
    limits: &PromLimits,
    stop: &Stop,
    to: &mpsc::Sender<QueryResult<PromReadSeries>>,
) -> QueryResult<()> {
    let account = Account::new(pool, limits.samples_max);
    for (question, PromRead { matchers, times }) in asked.iter().enumerate() {
        let chosen = select::choose(snapshot, matchers);
        let mut held = account.hold();
        let order = in_order(&chosen, &mut held, stop)?;
        for part in order.chunks(READ_SERIES) {
            let mut held = account.hold();
            for (labels, points) in read_part(&chosen, part, *times, &mut held, stop)? {
                if to.blocking_send(Ok(PromReadSeries { question, labels, points })).is_err() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// All series by their labels, each with the place of its metric and its number.
fn in_order(
    chosen: &[select::Chosen],
    held: &mut Held,
    stop: &Stop,
) -> QueryResult<Vec<(Labels, usize, u32)>> {
    let mut order = Vec::new();
    for (at, metric) in chosen.iter().enumerate() {
        let numbers: Vec<u32> = metric.series.iter().collect();
        for part in numbers.chunks(4096) {
            stop.check()?;
            for (labels, number) in select::labels_of(&metric.table, part).into_iter().zip(part) {
                let labels = select::named(&metric.name, labels);
                held.grow(labels.memory() + 64, 0)?;
                order.push((labels, at, *number));
            }
        }
    }
    order.sort();
    Ok(order)
}

/// Samples of some series, in their order; those without samples are left out.
fn read_part(
    chosen: &[select::Chosen],
    part: &[(Labels, usize, u32)],
    times: TimeRange,
    held: &mut Held,
    stop: &Stop,
) -> QueryResult<Vec<(Labels, Vec<Point>)>> {
    let mut found: HashMap<Labels, Vec<Point>> = HashMap::new();
    let mut metrics: Vec<usize> = part.iter().map(|(_, at, _)| *at).collect();
    metrics.sort_unstable();
    metrics.dedup();
    for at in metrics {
        let wanted = part.iter().filter(|(_, other, _)| *other == at).map(|(_, _, n)| *n);
        let metric = select::Chosen { series: wanted.collect(), ..chosen[at].clone() };
        let mut kept = 0;
        scan::scan(&metric, times, held, stop, &mut |labels, points| {
            kept += points.len();
            found.entry(labels.clone()).or_default().extend_from_slice(points);
            Ok(())
        })?;
        held.grow(kept * size_of::<Point>(), kept)?;
    }
    let take = |(labels, ..): &(Labels, usize, u32)| found.remove_entry(labels);
    Ok(part.iter().filter_map(take).collect())
}
