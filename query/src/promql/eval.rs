//! Evaluation: an expression over steps of time, series by series where it can be.
//!
//! A vector is given to a sink one series at a time ([`Eval::stream`]), so that an aggregation over a
//! million series holds its groups and one series. What needs all series at once gathers them. A series
//! has one value a step; [`NONE`] says that there is none.

mod aggregate;
mod binary;
mod calls;
mod windows;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tsdb::Snapshot;
use tsdb::types::TimeRange;

use super::account::{Account, Held};
use super::ast::{At, Binary, Call, Expr, Kind, Selector, When};
use super::elements::{NONE, is_none, operate};
use super::functions::Body;
use super::labels::{Labels, METRIC_NAME};
use super::matcher::MatchOp;
use super::scan::scan;
use super::select::{Chosen, choose};
use super::text::ns_to_seconds;
use super::window::Point;
use crate::error::{QueryError, QueryResult};
use crate::run::Stop;

/// Bytes of a series beside its labels and values.
const SERIES_BYTES: usize = 160;

/// Steps of time, ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// The first step.
    pub start: i64,
    /// From one to the next; of one step any.
    pub step: i64,
    /// How many there are, at least 1.
    pub count: usize,
}

impl Grid {
    /// Time of a step.
    pub fn time(&self, at: usize) -> i64 {
        self.start.saturating_add(self.step.saturating_mul(at as i64))
    }

    /// Time of the last step.
    pub fn end(&self) -> i64 {
        self.time(self.count.saturating_sub(1))
    }
}

/// A series with a value at each step.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) labels: Labels,
    pub(super) values: Vec<f64>,
}

impl Series {
    fn is_empty(&self) -> bool {
        self.values.iter().all(|value| is_none(*value))
    }
}

/// Takes series one by one.
pub(super) type Sink<'s> = dyn FnMut(Series) -> QueryResult<()> + 's;

/// Series, no two with the same labels, and what they hold.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) series: Vec<Series>,
    pub(super) held: Held,
}

/// What evaluating needs to know.
pub(super) struct Eval<'a> {
    pub(super) snapshot: &'a Snapshot,
    /// What `start()` and `end()` mean: the ends that were asked for, whether or not a step falls on them.
    pub(super) ends: (i64, i64),
    pub(super) lookback_ns: i64,
    pub(super) account: Arc<Account>,
    pub(super) stop: &'a Stop,
}

/// When a selector is read at each step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moments {
    fixed: Option<i64>,
    offset_ns: i64,
    grid: Grid,
}

impl Moments {
    fn at(&self, step: usize) -> i64 {
        self.fixed.unwrap_or(self.grid.time(step)).saturating_sub(self.offset_ns)
    }

    fn first(&self) -> i64 {
        self.at(0)
    }

    fn last(&self) -> i64 {
        self.at(self.grid.count - 1)
    }
}

/// `21000`
fn same_labels(labels: &Labels) -> QueryError {
    let message = "vector cannot contain metrics with the same labelset";
    QueryError::new("21000", message).with_detail(format!("Series {labels} is there twice."))
}

/// Gathers series; two with the same labels become one where their values do not meet.
pub(super) struct Gather {
    index: HashMap<Labels, usize>,
    series: Vec<Series>,
    held: Held,
}

impl Gather {
    fn new(account: &Arc<Account>) -> Gather {
        Gather { index: HashMap::new(), series: Vec::new(), held: account.hold() }
    }

    /// Place of the series with these labels, made if there is none.
    fn place(&mut self, labels: Labels, steps: usize) -> QueryResult<usize> {
        if let Some(at) = self.index.get(&labels) {
            return Ok(*at);
        }
        self.add(Series { labels, values: vec![NONE; steps] })?;
        Ok(self.series.len() - 1)
    }

    fn add(&mut self, series: Series) -> QueryResult<()> {
        if let Some(at) = self.index.get(&series.labels) {
            let first = &mut self.series[*at].values;
            for (old, new) in first.iter_mut().zip(&series.values) {
                match (is_none(*old), is_none(*new)) {
                    (_, true) => {}
                    (true, false) => *old = *new,
                    (false, false) => return Err(same_labels(&series.labels)),
                }
            }
            return Ok(());
        }
        let bytes = series.labels.memory() + SERIES_BYTES + 8 * series.values.len();
        self.held.grow(bytes, series.values.len())?;
        self.index.insert(series.labels.clone(), self.series.len());
        self.series.push(series);
        Ok(())
    }

    fn done(self) -> Gathered {
        Gathered { series: self.series, held: self.held }
    }
}

impl Eval<'_> {
    pub(super) fn moments(&self, when: &When, grid: Grid) -> Moments {
        let fixed = when.at.map(|at| match at {
            At::Time(ns) => ns,
            At::Start => self.ends.0,
            At::End => self.ends.1,
        });
        Moments { fixed, offset_ns: when.offset_ns, grid }
    }

    /// A scalar's value at each step.
    pub(super) fn scalar(&self, expr: &Expr, grid: Grid) -> QueryResult<Vec<f64>> {
        match expr {
            Expr::Number(value) => Ok(vec![*value; grid.count]),
            Expr::Paren(inner) => self.scalar(inner, grid),
            Expr::Negate(inner) => {
                let mut values = self.scalar(inner, grid)?;
                values.iter_mut().for_each(|value| *value = -*value);
                Ok(values)
            }
            Expr::Binary(binary) => {
                let (left, right) =
                    (self.scalar(&binary.left, grid)?, self.scalar(&binary.right, grid)?);
                let pairs = left.iter().zip(&right);
                Ok(pairs.map(|(a, b)| operate(binary.op, *a, *b)).collect())
            }
            Expr::Call(call) => self.scalar_call(call, grid),
            _ => Err(wrong_kind(expr, Kind::Scalar)),
        }
    }

    fn scalar_call(&self, call: &Call, grid: Grid) -> QueryResult<Vec<f64>> {
        match (call.function.body, call.args.first()) {
            (Body::Pi, _) => Ok(vec![std::f64::consts::PI; grid.count]),
            (Body::Time, _) => Ok((0..grid.count).map(|i| ns_to_seconds(grid.time(i))).collect()),
            (Body::Scalar, Some(inner)) => {
                let mut values = vec![NONE; grid.count];
                let mut several = vec![false; grid.count];
                self.stream(inner, grid, &mut |series| {
                    for (i, value) in series.values.iter().enumerate() {
                        if !is_none(*value) {
                            several[i] |= !is_none(values[i]);
                            values[i] = *value;
                        }
                    }
                    Ok(())
                })?;
                let one = |(value, several): (f64, bool)| match several || is_none(value) {
                    true => f64::NAN,
                    false => value,
                };
                Ok(values.into_iter().zip(several).map(one).collect())
            }
            _ => Err(QueryError::internal(format!("{} is no scalar", call.function.name))),
        }
    }

    /// A vector, all of it.
    pub(super) fn vector(&self, expr: &Expr, grid: Grid) -> QueryResult<Gathered> {
        let mut all = Gather::new(&self.account);
        self.stream(expr, grid, &mut |series| all.add(series))?;
        Ok(all.done())
    }

    /// A vector, series by series; none without a value, and no two with the same labels where
    /// [`is_distinct`] says so.
    pub(super) fn stream(&self, expr: &Expr, grid: Grid, sink: &mut Sink<'_>) -> QueryResult<()> {
        self.stop.check()?;
        let mut sink = |series: Series| match series.is_empty() {
            true => Ok(()),
            false => sink(series),
        };
        match expr {
            Expr::Vector(selector) => self.instant(selector, grid, false, &mut sink),
            Expr::Paren(inner) => self.stream(inner, grid, &mut sink),
            Expr::Negate(inner) => self.mapped(inner, grid, true, &|_, value| -value, &mut sink),
            Expr::Call(call) => self.call(call, grid, &mut sink),
            Expr::Aggregate(aggregate) => self.aggregate(aggregate, grid, &mut sink),
            Expr::Binary(binary) => match (binary.left.kind(), binary.right.kind()) {
                (Kind::Scalar, _) => self.with_scalar(binary, grid, true, &mut sink),
                (_, Kind::Scalar) => self.with_scalar(binary, grid, false, &mut sink),
                _ => self.between(binary, grid, &mut sink),
            },
            _ => Err(wrong_kind(expr, Kind::Vector)),
        }
    }

    /// Each value by itself; [`NONE`] takes it out.
    fn mapped(
        &self,
        inner: &Expr,
        grid: Grid,
        nameless: bool,
        f: &dyn Fn(usize, f64) -> f64,
        sink: &mut Sink<'_>,
    ) -> QueryResult<()> {
        let map = |mut series: Series| {
            for (i, value) in series.values.iter_mut().enumerate() {
                if !is_none(*value) {
                    *value = f(i, *value);
                }
            }
            if nameless {
                series.labels = series.labels.nameless();
            }
            series
        };
        if !nameless || is_distinct(inner) {
            return self.stream(inner, grid, &mut |series| sink(map(series)));
        }
        // Series that only their names told apart may meet now.
        let mut all = Gather::new(&self.account);
        self.stream(inner, grid, &mut |series| all.add(map(series)))?;
        all.done().series.into_iter().try_for_each(sink)
    }

    fn with_scalar(
        &self,
        binary: &Binary,
        grid: Grid,
        scalar_left: bool,
        sink: &mut Sink<'_>,
    ) -> QueryResult<()> {
        let (scalar, vector) = match scalar_left {
            true => (&binary.left, &binary.right),
            false => (&binary.right, &binary.left),
        };
        let scalars = self.scalar(scalar, grid)?;
        let op = binary.op;
        let operate = |i: usize, value: f64| match scalar_left {
            true => operate(op, scalars[i], value),
            false => operate(op, value, scalars[i]),
        };
        if op.is_comparison() && !binary.bool {
            let keep = |i, value| if operate(i, value) == 1.0 { value } else { NONE };
            return self.mapped(vector, grid, false, &keep, sink);
        }
        self.mapped(vector, grid, true, &operate, sink)
    }

    /// What a selector means; names that several tables make are looked at for series that are the
    /// same.
    pub(super) fn chosen(&self, selector: &Selector) -> (Vec<Chosen>, Option<HashSet<Labels>>) {
        let chosen = choose(self.snapshot, &selector.matchers);
        let twice = chosen.windows(2).any(|pair| pair[0].name == pair[1].name);
        (chosen, twice.then(HashSet::new))
    }

    /// The newest sample of each series at each step, not older than the look-back; `stamps`: its time
    /// instead of its value.
    fn instant(
        &self,
        selector: &Selector,
        grid: Grid,
        stamps: bool,
        sink: &mut Sink<'_>,
    ) -> QueryResult<()> {
        let moments = self.moments(&selector.when, grid);
        let first = moments.first().saturating_sub(self.lookback_ns).saturating_add(1);
        let times = TimeRange::new(first, moments.last());
        let (chosen, mut seen) = self.chosen(selector);
        for chosen in chosen {
            let mut held = self.account.hold();
            scan(&chosen, times, &mut held, self.stop, &mut |labels, points| {
                check_seen(&mut seen, labels)?;
                let mut values = self.newest(points, &moments, grid.count, stamps);
                if moments.fixed.is_some() {
                    let value = values[0];
                    values.fill(value);
                }
                sink(Series { labels: labels.clone(), values })
            })?;
        }
        Ok(())
    }

    fn newest(&self, points: &[Point], moments: &Moments, steps: usize, stamps: bool) -> Vec<f64> {
        let mut values = vec![NONE; steps];
        let mut behind = 0;
        let wanted = if moments.fixed.is_some() { 1 } else { steps };
        for (i, value) in values.iter_mut().enumerate().take(wanted) {
            let now = moments.at(i);
            while points.get(behind).is_some_and(|point| point.time <= now) {
                behind += 1;
            }
            let Some(point) = behind.checked_sub(1).map(|at| points[at]) else { continue };
            if point.time > now.saturating_sub(self.lookback_ns) && !is_none(point.value) {
                *value = if stamps { ns_to_seconds(point.time) } else { point.value };
            }
        }
        values
    }
}

/// An error for a series that was there before.
fn check_seen(seen: &mut Option<HashSet<Labels>>, labels: &Labels) -> QueryResult<()> {
    match seen {
        Some(seen) => match seen.insert(labels.clone()) {
            true => Ok(()),
            false => Err(same_labels(labels)),
        },
        None => Ok(()),
    }
}

/// Whether no two series of a vector are the same but for their names.
fn is_distinct(expr: &Expr) -> bool {
    match expr.bare() {
        Expr::Vector(selector) | Expr::Matrix(selector, _) => {
            let exact =
                |m: &super::matcher::Matcher| m.name == METRIC_NAME && m.op == MatchOp::Equal;
            selector.matchers.iter().any(exact)
        }
        Expr::Subquery(subquery) => is_distinct(&subquery.inner),
        Expr::Call(call) => {
            let body = call.function.body;
            !matches!(body, Body::LabelReplace | Body::LabelJoin)
                && call.args.iter().all(is_distinct)
        }
        Expr::Aggregate(aggregate) => {
            aggregate.without || !aggregate.labels.iter().any(|label| label == METRIC_NAME)
        }
        Expr::Binary(binary) => {
            !binary.op.is_set() && is_distinct(&binary.left) && is_distinct(&binary.right)
        }
        Expr::Negate(inner) => is_distinct(inner),
        Expr::Number(_) | Expr::Text(_) | Expr::Paren(_) => true,
    }
}

fn wrong_kind(expr: &Expr, wanted: Kind) -> QueryError {
    QueryError::internal(format!("a {} where a {} is due", expr.kind().name(), wanted.name()))
}
