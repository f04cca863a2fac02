//! Aggregations over series.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::{Eval, Gather, Gathered, Grid, Series, Sink};
use crate::error::{QueryError, QueryResult};
use crate::promql::ast::{Aggregate, AggregateOp, Expr};
use crate::promql::elements::{NONE, is_none};
use crate::promql::labels::Labels;
use crate::promql::sums::{Mean, Spread, Sum, quantile};
use crate::promql::text::plain_number;

/// What a group has seen at each step.
enum Cells {
    Sum(Vec<Option<Sum>>),
    Mean(Vec<Mean>),
    Spread(Vec<Spread>),
    /// Least or greatest value.
    Extreme(Vec<f64>, Ordering),
    Count(Vec<f64>),
    Group(Vec<f64>),
}

impl Cells {
    fn new(op: AggregateOp, steps: usize) -> QueryResult<Cells> {
        Ok(match op {
            AggregateOp::Sum => Cells::Sum(vec![None; steps]),
            AggregateOp::Avg => Cells::Mean(vec![Mean::default(); steps]),
            AggregateOp::Stddev | AggregateOp::Stdvar => {
                Cells::Spread(vec![Spread::default(); steps])
            }
            AggregateOp::Min => Cells::Extreme(vec![NONE; steps], Ordering::Less),
            AggregateOp::Max => Cells::Extreme(vec![NONE; steps], Ordering::Greater),
            AggregateOp::Count => Cells::Count(vec![NONE; steps]),
            AggregateOp::Group => Cells::Group(vec![NONE; steps]),
            AggregateOp::Topk
            | AggregateOp::Bottomk
            | AggregateOp::Quantile
            | AggregateOp::CountValues => {
                return Err(QueryError::internal(format!("{op:?} needs all values")));
            }
        })
    }

    /// Bytes of a step, at most.
    const STEP_BYTES: usize = size_of::<Spread>();

    fn add(&mut self, values: &[f64]) {
        let values = values.iter().enumerate().filter(|(_, value)| !is_none(**value));
        for (i, value) in values {
            match self {
                Cells::Sum(cells) => cells[i].get_or_insert_default().add(*value),
                Cells::Mean(cells) => cells[i].add(*value),
                Cells::Spread(cells) => cells[i].add(*value),
                Cells::Extreme(cells, wanted) => {
                    let cell = &mut cells[i];
                    // The marker of nothing is a NaN, which anything replaces.
                    if cell.is_nan() || value.partial_cmp(cell) == Some(*wanted) {
                        *cell = *value;
                    }
                }
                Cells::Count(cells) if is_none(cells[i]) => cells[i] = 1.0,
                Cells::Count(cells) => cells[i] += 1.0,
                Cells::Group(cells) => cells[i] = 1.0,
            }
        }
    }

    fn values(self, op: AggregateOp) -> Vec<f64> {
        match self {
            Cells::Sum(cells) => cells.iter().map(|sum| sum.map_or(NONE, Sum::total)).collect(),
            Cells::Mean(cells) => cells.iter().map(|mean| mean.mean().unwrap_or(NONE)).collect(),
            Cells::Spread(cells) => {
                let root = op == AggregateOp::Stddev;
                let of = |v: f64| if root { v.sqrt() } else { v };
                cells.iter().map(|spread| spread.variance().map_or(NONE, of)).collect()
            }
            Cells::Extreme(cells, _) | Cells::Count(cells) | Cells::Group(cells) => cells,
        }
    }
}

/// Groups with the places of their series.
type Groups = Vec<(Labels, Vec<usize>)>;

impl Aggregate {
    /// Labels of the group of a series.
    fn group(&self, labels: &Labels) -> Labels {
        match self.without {
            true => labels.without(&self.labels),
            false => labels.only(&self.labels),
        }
    }
}

impl Eval<'_> {
    pub(super) fn aggregate(
        &self,
        aggregate: &Aggregate,
        grid: Grid,
        sink: &mut Sink<'_>,
    ) -> QueryResult<()> {
        match (aggregate.op, &aggregate.param) {
            (AggregateOp::Topk | AggregateOp::Bottomk, Some(param)) => {
                self.top(aggregate, param, grid, sink)
            }
            (AggregateOp::Quantile, Some(param)) => self.quantile(aggregate, param, grid, sink),
            (AggregateOp::CountValues, Some(param)) => {
                self.count_values(aggregate, param, grid, sink)
            }
            _ => self.fold(aggregate, grid, sink),
        }
    }

    /// What can be had series by series.
    fn fold(&self, aggregate: &Aggregate, grid: Grid, sink: &mut Sink<'_>) -> QueryResult<()> {
        let mut held = self.account.hold();
        let mut index: HashMap<Labels, usize> = HashMap::new();
        let mut groups: Vec<(Labels, Cells)> = Vec::new();
        self.stream(&aggregate.inner, grid, &mut |series| {
            let labels = aggregate.group(&series.labels);
            let at = match index.get(&labels) {
                Some(at) => *at,
                None => {
                    let bytes = labels.memory() + super::SERIES_BYTES;
                    held.grow(bytes + Cells::STEP_BYTES * grid.count, grid.count)?;
                    index.insert(labels.clone(), groups.len());
                    groups.push((labels, Cells::new(aggregate.op, grid.count)?));
                    groups.len() - 1
                }
            };
            groups[at].1.add(&series.values);
            Ok(())
        })?;
        for (labels, cells) in groups {
            sink(Series { labels, values: cells.values(aggregate.op) })?;
        }
        Ok(())
    }

    /// All series, and for each group the places of its own, groups in order of their first series.
    fn grouped(&self, aggregate: &Aggregate, grid: Grid) -> QueryResult<(Gathered, Groups)> {
        let all = self.vector(&aggregate.inner, grid)?;
        let mut index: HashMap<Labels, usize> = HashMap::new();
        let mut groups = Groups::new();
        for (at, series) in all.series.iter().enumerate() {
            let labels = aggregate.group(&series.labels);
            let group = *index.entry(labels.clone()).or_insert_with(|| {
                groups.push((labels, Vec::new()));
                groups.len() - 1
            });
            groups[group].1.push(at);
        }
        Ok((all, groups))
    }

    /// `topk`, `bottomk`: the series of the greatest or least values of each step.
    fn top(
        &self,
        aggregate: &Aggregate,
        param: &Expr,
        grid: Grid,
        sink: &mut Sink<'_>,
    ) -> QueryResult<()> {
        let counts = self.scalar(param, grid)?;
        if counts.iter().any(|k| k.is_nan()) {
            return Err(QueryError::new("22023", "Parameter value is NaN"));
        }
        if let Some(k) = counts.iter().find(|k| k.abs() >= 9.2e18) {
            let message = format!("Scalar value {k} overflows int64");
            return Err(QueryError::new("22023", message));
        }
        let (mut all, groups) = self.grouped(aggregate, grid)?;
        let least = aggregate.op == AggregateOp::Bottomk;
        // Greater first, NaN last; of equal ones the first.
        let before = |a: f64, b: f64| match (a.is_nan(), b.is_nan()) {
            (false, false) if least => a.total_cmp(&b),
            (false, false) => b.total_cmp(&a),
            (a, b) => a.cmp(&b),
        };
        let mut order: Vec<usize> = Vec::with_capacity(all.series.len());
        for (_, places) in &groups {
            self.stop.check()?;
            let mut ranked = places.clone();
            for (step, k) in counts.iter().enumerate() {
                ranked.clear();
                ranked.extend(places.iter().filter(|at| !is_none(all.series[**at].values[step])));
                ranked.sort_by(|a, b| {
                    before(all.series[*a].values[step], all.series[*b].values[step])
                });
                let kept = (k.max(0.0) as usize).min(ranked.len());
                for at in &ranked[kept..] {
                    all.series[*at].values[step] = NONE;
                }
            }
            // With one step the result is in order.
            order.extend_from_slice(if grid.count == 1 { &ranked } else { places });
        }
        let mut series: Vec<Option<Series>> = all.series.into_iter().map(Some).collect();
        order.into_iter().filter_map(|at| series[at].take()).try_for_each(sink)
    }

    fn quantile(
        &self,
        aggregate: &Aggregate,
        param: &Expr,
        grid: Grid,
        sink: &mut Sink<'_>,
    ) -> QueryResult<()> {
        let q = self.scalar(param, grid)?;
        let (all, groups) = self.grouped(aggregate, grid)?;
        let mut found = Vec::new();
        for (labels, places) in groups {
            self.stop.check()?;
            let mut values = vec![NONE; grid.count];
            for (step, value) in values.iter_mut().enumerate() {
                found.clear();
                found.extend(places.iter().map(|at| all.series[*at].values[step]));
                found.retain(|value| !is_none(*value));
                if !found.is_empty() {
                    *value = quantile(q[step], &mut found);
                }
            }
            sink(Series { labels, values })?;
        }
        Ok(())
    }

    /// How many series have each value, which becomes a label.
    fn count_values(
        &self,
        aggregate: &Aggregate,
        param: &Expr,
        grid: Grid,
        sink: &mut Sink<'_>,
    ) -> QueryResult<()> {
        let label = match param.bare() {
            Expr::Text(label) if !label.is_empty() && !label.contains('\0') => label,
            Expr::Text(label) => {
                let message = format!("invalid label name {label:?}");
                return Err(QueryError::new("22023", message));
            }
            other => return Err(super::wrong_kind(other, crate::promql::ast::Kind::Text)),
        };
        let mut counts = Gather::new(&self.account);
        self.stream(&aggregate.inner, grid, &mut |series| {
            let group = aggregate.group(&series.labels);
            for (step, value) in series.values.iter().enumerate() {
                if is_none(*value) {
                    continue;
                }
                let labels = group.with(label, &plain_number(*value));
                let at = counts.place(labels, grid.count)?;
                let count = &mut counts.series[at].values[step];
                *count = if is_none(*count) { 1.0 } else { *count + 1.0 };
            }
            Ok(())
        })?;
        counts.done().series.into_iter().try_for_each(sink)
    }
}
