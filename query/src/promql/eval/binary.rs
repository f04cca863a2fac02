//! Operators between two vectors: which series meet, and what comes of them.

use std::collections::HashMap;

use super::{Eval, Gather, Gathered, Grid, Series, Sink};
use crate::error::{QueryError, QueryResult};
use crate::promql::ast::{Binary, BinaryOp, Matching, Side};
use crate::promql::elements::{NONE, is_none, operate};
use crate::promql::labels::Labels;

impl Matching {
    /// The labels by which series meet.
    fn key(&self, labels: &Labels) -> Labels {
        match self.on {
            true => labels.only(&self.labels),
            false => labels.without(&self.labels),
        }
    }

    /// Places of series by their keys.
    fn groups(&self, series: &[Series]) -> HashMap<Labels, Vec<usize>> {
        let mut groups: HashMap<Labels, Vec<usize>> = HashMap::new();
        for (at, series) in series.iter().enumerate() {
            groups.entry(self.key(&series.labels)).or_default().push(at);
        }
        groups
    }
}

impl Eval<'_> {
    pub(super) fn between(
        &self,
        binary: &Binary,
        grid: Grid,
        sink: &mut Sink<'_>,
    ) -> QueryResult<()> {
        if binary.op.is_set() {
            return self.sets(binary, grid, sink);
        }
        let left = self.vector(&binary.left, grid)?;
        let right = self.vector(&binary.right, grid)?;
        let swapped = binary.matching.group == Some(Side::Right);
        let (many, one) = if swapped { (&right, &left) } else { (&left, &right) };
        let ones = self.ones(binary, one, grid, if swapped { "left" } else { "right" })?;
        let mut out = Gather::new(&self.account);
        // Steps at which a key of one-to-one matching has met already.
        let mut met: HashMap<Labels, Vec<bool>> = HashMap::new();
        for series in &many.series {
            self.stop.check()?;
            let key = binary.matching.key(&series.labels);
            let Some(partners) = ones.get(&key) else { continue };
            let mut met = match binary.matching.group {
                None => Some(met.entry(key.clone()).or_insert_with(|| vec![false; grid.count])),
                Some(_) => None,
            };
            let mut places: HashMap<usize, usize> = HashMap::new();
            for (step, value) in series.values.iter().enumerate() {
                let partner = partners[step] as usize;
                if is_none(*value) || partner == NOBODY as usize {
                    continue;
                }
                let other = one.series[partner].values[step];
                let (a, b) = if swapped { (other, *value) } else { (*value, other) };
                let Some(result) = result(binary, a, b) else { continue };
                if let Some(met) = &mut met
                    && std::mem::replace(&mut met[step], true)
                {
                    return Err(QueryError::new(
                        "21000",
                        "multiple matches for labels: many-to-one matching must be explicit \
                         (group_left/group_right)",
                    ));
                }
                let at = match places.get(&partner) {
                    Some(at) => *at,
                    None => {
                        let labels = labels(binary, &series.labels, &one.series[partner].labels);
                        let at = out.place(labels, grid.count)?;
                        places.insert(partner, at);
                        at
                    }
                };
                let cell = &mut out.series[at].values[step];
                if !is_none(*cell) {
                    return Err(QueryError::new(
                        "21000",
                        "multiple matches for labels: grouping labels must ensure unique matches",
                    ));
                }
                *cell = result;
            }
        }
        out.done().series.into_iter().try_for_each(sink)
    }

    /// For each key the series of the one side that is there at each step.
    fn ones(
        &self,
        binary: &Binary,
        one: &Gathered,
        grid: Grid,
        side: &str,
    ) -> QueryResult<HashMap<Labels, Vec<u32>>> {
        let mut ones: HashMap<Labels, Vec<u32>> = HashMap::new();
        for (at, series) in one.series.iter().enumerate() {
            let key = binary.matching.key(&series.labels);
            let partners = ones.entry(key.clone()).or_insert_with(|| vec![NOBODY; grid.count]);
            for (step, value) in series.values.iter().enumerate() {
                if is_none(*value) {
                    continue;
                }
                let before = std::mem::replace(&mut partners[step], at as u32);
                if before != NOBODY {
                    let (first, second) = (&one.series[before as usize].labels, &series.labels);
                    return Err(QueryError::new(
                        "21000",
                        format!(
                            "found duplicate series for the match group {key} on the {side} \
                             hand-side of the operation: [{second}, {first}];many-to-many \
                             matching not allowed: matching labels must be unique on one side"
                        ),
                    ));
                }
            }
        }
        Ok(ones)
    }

    fn sets(&self, binary: &Binary, grid: Grid, sink: &mut Sink<'_>) -> QueryResult<()> {
        let left = self.vector(&binary.left, grid)?;
        let right = self.vector(&binary.right, grid)?;
        let there = |series: &[Series]| {
            let groups = binary.matching.groups(series);
            let mark = |places: Vec<usize>| {
                let any = |step| places.iter().any(|at| !is_none(series[*at].values[step]));
                (0..grid.count).map(any).collect::<Vec<bool>>()
            };
            groups.into_iter().map(|(key, places)| (key, mark(places))).collect::<HashMap<_, _>>()
        };
        // Values of a series where the other side has its key, or has not.
        let keep = |series: &mut Series, others: &HashMap<Labels, Vec<bool>>, wanted: bool| {
            let others = others.get(&binary.matching.key(&series.labels));
            for (step, value) in series.values.iter_mut().enumerate() {
                if others.is_some_and(|others| others[step]) != wanted {
                    *value = NONE;
                }
            }
        };
        if binary.op != BinaryOp::Or {
            let others = there(&right.series);
            for mut series in left.series {
                keep(&mut series, &others, binary.op == BinaryOp::And);
                sink(series)?;
            }
            return Ok(());
        }
        let others = there(&left.series);
        let mut all = Gather::new(&self.account);
        left.series.into_iter().try_for_each(|series| all.add(series))?;
        for mut series in right.series {
            keep(&mut series, &others, false);
            if !series.is_empty() {
                all.add(series)?;
            }
        }
        all.done().series.into_iter().try_for_each(sink)
    }
}

/// No partner at a step.
const NOBODY: u32 = u32::MAX;

/// What comes of two values; `None` where a comparison filters it out.
fn result(binary: &Binary, a: f64, b: f64) -> Option<f64> {
    let result = operate(binary.op, a, b);
    match binary.op.is_comparison() && !binary.bool {
        true => (result == 1.0).then_some(a),
        false => Some(result),
    }
}

/// Labels of what comes of two series.
fn labels(binary: &Binary, many: &Labels, one: &Labels) -> Labels {
    let matching = &binary.matching;
    let nameless = !binary.op.is_comparison() || binary.bool;
    let labels = if nameless { many.nameless() } else { many.clone() };
    match (matching.group, matching.on) {
        (None, true) => labels.only(&matching.labels),
        (None, false) => labels.minus(&matching.labels),
        (Some(_), _) => {
            matching.include.iter().fold(labels, |labels, name| labels.with(name, one.get(name)))
        }
    }
}
