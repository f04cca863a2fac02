//! A row group as a stream reads it: what is needed of it, decoded once.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use crate::error::Result;
use crate::part::{GroupKeys, GroupRef, Part, ZoneRows, ZoneStats, ZoneValues};
use crate::types::{Column, ColumnBuilder, ColumnId, PhysicalType, TimeRange, Value};

use super::filter::{FieldFilter, Verdict};
use super::source::PartHandle;
use super::window::{Window, Windows};
use super::{FieldBound, ScanStats};

/// Columns that filters look at, in the order of the filters; `None` where all cells are absent.
type Tested = Vec<(ColumnId, Option<Arc<Column>>)>;

/// Columns of a stream, in its order; `None` where all cells are absent.
type Held = Vec<Option<Arc<Column>>>;

/// A row group, decoded as far as it was needed. Rows are counted from its start throughout.
#[derive(Debug)]
pub(super) struct Group {
    handle: Arc<PartHandle>,
    group: GroupRef,
    /// Times that the stream asks for.
    asked: TimeRange,
    /// Rows that may lie in these.
    scope: OnceLock<Range<usize>>,
    /// Series and all times, of groups of several series.
    keys: OnceLock<GroupKeys>,
    /// Times, of groups of one series.
    times: Windows<Vec<i64>>,
    columns: Windows<Held>,
    tested: Windows<Tested>,
    /// Rows that bounds rule out, by zone.
    skips: OnceLock<Vec<(ZoneRows, bool)>>,
    /// Rows of the scope that these leave.
    left: OnceLock<Range<usize>>,
}

impl Group {
    /// A group of which only rows in `asked` will be wanted.
    pub fn new(handle: &Arc<PartHandle>, group: GroupRef, asked: TimeRange) -> Arc<Group> {
        Arc::new(Group {
            handle: Arc::clone(handle),
            group,
            asked,
            scope: OnceLock::new(),
            keys: OnceLock::new(),
            times: Windows::new(),
            columns: Windows::new(),
            tested: Windows::new(),
            skips: OnceLock::new(),
            left: OnceLock::new(),
        })
    }

    /// The group's entry in the directory of its part.
    pub fn found(&self) -> &GroupRef {
        &self.group
    }

    /// The part that holds it.
    pub fn part(&self) -> &Part {
        &self.handle.part
    }

    /// Rows that may lie in the times asked for, as far as zones tell. All that is asked of the
    /// group lies in it. Where series share a group, each may have such rows: it is all.
    pub fn scope(&self) -> Result<Range<usize>> {
        if let Some(scope) = self.scope.get() {
            return Ok(scope.clone());
        }
        let rows = self.handle.part.rows_in(&self.group, &self.asked)?;
        let scope = rows.start as usize..rows.end as usize;
        Ok(self.scope.get_or_init(|| scope).clone())
    }

    /// Series and all times.
    pub fn keys(&self) -> Result<&GroupKeys> {
        if let Some(keys) = self.keys.get() {
            return Ok(keys);
        }
        let keys = self.handle.part.read_keys(&self.group)?;
        Ok(self.keys.get_or_init(|| keys))
    }

    /// Series and times if they were asked for before.
    pub fn known_keys(&self) -> Option<&GroupKeys> {
        self.keys.get()
    }

    /// Times of some rows of the scope.
    pub fn times(&self, rows: Range<usize>) -> Result<&[i64]> {
        if !self.group.own_series {
            return Ok(&self.keys()?.times[rows]);
        }
        let window = match self.times.find(&rows) {
            Some(window) => window,
            None => self.times.get(&rows, &self.scope()?, |rows| {
                self.handle.part.read_times_range(&self.group, numbers(rows))
            })?,
        };
        Ok(&window.held()[window.at(&rows)])
    }

    /// What is decoded for `rows`: of a group that series share all, since others will follow. And
    /// the most that is: all rows where the scope is half of them, since whole columns are kept.
    fn widened(&self, rows: &Range<usize>) -> Result<(Range<usize>, Range<usize>)> {
        let (scope, all) = (self.scope()?, self.group.rows as usize);
        let scope = if scope.len() * 2 >= all { 0..all } else { scope };
        let rows = if self.group.own_series { rows.clone() } else { scope.clone() };
        Ok((rows, scope))
    }

    /// The columns of a stream, in its order, with `rows` of the scope and perhaps more; `chosen`:
    /// whether bounds or filters chose these. One group serves one stream only.
    pub fn columns(
        &self,
        rows: &Range<usize>,
        columns: &[(ColumnId, PhysicalType)],
        chosen: bool,
        stats: &ScanStats,
    ) -> Result<&Window<Held>> {
        if let Some(window) = self.columns.find(rows) {
            return Ok(window);
        }
        if !columns.is_empty() && self.columns.is_empty() {
            ScanStats::add(&stats.groups_read, 1);
        }
        let chosen = if chosen { rows.len() } else { 0 };
        if let Some(held) = self.handle.part.held_columns(&self.group, columns, chosen)? {
            return Ok(self.columns.whole(self.group.rows as usize, held));
        }
        let (rows, scope) = self.widened(rows)?;
        self.columns.get(&rows, &scope, |rows| {
            let window = self.tested.find(rows);
            let held = window.map_or(&[][..], |window| window.held().as_slice());
            let find = |id: ColumnId| held.iter().find(|(tested, _)| *tested == id);
            let rest: Vec<_> =
                columns.iter().filter(|(id, _)| find(*id).is_none()).copied().collect();
            if !rest.is_empty() {
                ScanStats::add(&stats.rows_decoded, rows.len() as u64);
            }
            let part = &self.handle.part;
            let mut decoded =
                part.read_columns_range(&self.group, &rest, numbers(rows))?.into_iter();
            let all = columns.iter().map(|(id, _)| match (find(*id), window) {
                (Some((_, column)), Some(window)) => {
                    column.as_ref().map(|column| slice(column, window.at(rows)))
                }
                _ => decoded.next().flatten(),
            });
            Ok(all.collect())
        })
    }

    /// The columns if they were decoded before with `rows`.
    pub fn held(&self, rows: &Range<usize>) -> Option<&Window<Held>> {
        self.columns.find(rows)
    }

    /// The columns that a stream's filters look at, in the order of the filters, with `rows` of the
    /// scope and perhaps more.
    pub fn tested(
        &self,
        rows: &Range<usize>,
        columns: &[(ColumnId, PhysicalType)],
        filters: &[(usize, FieldFilter)],
        stats: &ScanStats,
    ) -> Result<&Window<Tested>> {
        if let Some(window) = self.tested.find(rows) {
            return Ok(window);
        }
        if self.tested.is_empty() {
            ScanStats::add(&stats.groups_tested, 1);
        }
        let wanted: Vec<_> = filters.iter().map(|(at, _)| columns[*at]).collect();
        let named = |held: Held| wanted.iter().map(|(id, _)| *id).zip(held).collect();
        if let Some(held) = self.handle.part.held_columns(&self.group, &wanted, rows.len())? {
            return Ok(self.tested.whole(self.group.rows as usize, named(held)));
        }
        let (rows, scope) = self.widened(rows)?;
        self.tested.get(&rows, &scope, |rows| {
            ScanStats::add(&stats.rows_decoded, rows.len() as u64);
            let part = &self.handle.part;
            let decoded = part.read_columns_range(&self.group, &wanted, numbers(rows))?;
            Ok(named(decoded))
        })
    }

    /// Rows of the scope from the first to the last zone that bounds and filters leave: those of
    /// the one stream that the group serves.
    pub fn left(
        &self,
        bounds: &[FieldBound],
        filters: &[(usize, FieldFilter)],
        stats: &ScanStats,
    ) -> Result<Range<usize>> {
        if let Some(left) = self.left.get() {
            return Ok(left.clone());
        }
        let mut left = self.scope()?;
        if !(bounds.is_empty() && filters.is_empty()) {
            let scope = left.clone();
            let zones = self.zones(bounds, filters, stats)?;
            let rows = |zone: &ZoneRows| {
                let (from, to) = (zone.start as usize, (zone.start + zone.rows) as usize);
                from.max(scope.start)..to.min(scope.end)
            };
            let kept = zones.iter().filter(|(_, skip)| !skip).map(|(zone, _)| rows(zone));
            let mut kept = kept.filter(|rows| !rows.is_empty());
            let first = kept.next().unwrap_or(scope.start..scope.start);
            left = first.start..kept.next_back().map_or(first.end, |last| last.end);
        }
        Ok(self.left.get_or_init(|| left).clone())
    }

    /// The zones, each with whether bounds or filters rule it out.
    pub fn zones(
        &self,
        bounds: &[FieldBound],
        filters: &[(usize, FieldFilter)],
        stats: &ScanStats,
    ) -> Result<&[(ZoneRows, bool)]> {
        if let Some(skips) = self.skips.get() {
            return Ok(skips);
        }
        let part = &self.handle.part;
        let mut zones: Vec<(ZoneRows, bool)> =
            part.zones(&self.group)?.into_iter().map(|zone| (zone, false)).collect();
        for bound in bounds {
            match part.zone_stats(&self.group, bound.column)? {
                // No value of the column in the group: nothing can lie in the bounds.
                None => zones.iter_mut().for_each(|(_, skip)| *skip = true),
                Some(found) => {
                    for ((_, skip), stats) in zones.iter_mut().zip(&found) {
                        *skip |= rules_out(bound, stats);
                    }
                }
            }
        }
        for (_, filter) in filters {
            let found = part.zone_stats(&self.group, filter.column)?;
            for (nth, (zone, skip)) in zones.iter_mut().enumerate() {
                let of_zone = found.as_ref().and_then(|found| found.get(nth));
                *skip |= filter.test.verdict(of_zone, zone.rows) == Verdict::None;
            }
        }
        let pruned = zones.iter().filter(|(_, skip)| *skip).count();
        ScanStats::add(&stats.zones, zones.len() as u64);
        ScanStats::add(&stats.zones_pruned, pruned as u64);
        if pruned == zones.len() {
            ScanStats::add(&stats.groups_pruned, 1);
        }
        Ok(self.skips.get_or_init(|| zones))
    }
}

/// Rows as the part counts them.
fn numbers(rows: &Range<usize>) -> Range<u32> {
    rows.start as u32..rows.end as u32
}

/// Some cells of a column.
fn slice(column: &Arc<Column>, rows: Range<usize>) -> Arc<Column> {
    if rows == (0..column.len()) {
        return Arc::clone(column);
    }
    let mut builder = ColumnBuilder::new(column.values.physical(), rows.len());
    builder.extend_range(column, rows.start, rows.end);
    Arc::new(builder.finish())
}

/// Whether no value of a zone lies in the bounds.
fn rules_out(bound: &FieldBound, stats: &ZoneStats) -> bool {
    let (below, above) = (bound.min.as_ref(), bound.max.as_ref());
    match &stats.values {
        ZoneValues::None => stats.good + stats.not_good == 0,
        ZoneValues::Int { min, max, .. } => {
            below.is_some_and(|b| less_int(*max, b)) || above.is_some_and(|a| greater_int(*min, a))
        }
        // A NaN makes the sum one: SQL sorts NaN above all numbers, statistics leave it out.
        ZoneValues::Float { min, max, sum, .. } => {
            !sum.is_nan()
                && (below.is_some_and(|b| number(b).is_some_and(|b| *max < b))
                    || above.is_some_and(|a| number(a).is_some_and(|a| *min > a)))
        }
    }
}

fn less_int(value: i64, bound: &Value) -> bool {
    match bound {
        Value::Int(bound) => value < *bound,
        // Integers beyond 2^53 round when they become floats: leave those alone.
        Value::Float(bound) => value.unsigned_abs() < 1 << 53 && (value as f64) < *bound,
        _ => false,
    }
}

fn greater_int(value: i64, bound: &Value) -> bool {
    match bound {
        Value::Int(bound) => value > *bound,
        Value::Float(bound) => value.unsigned_abs() < 1 << 53 && (value as f64) > *bound,
        _ => false,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Float(v) => Some(*v),
        Value::Int(v) if v.unsigned_abs() < 1 << 53 => Some(*v as f64),
        _ => None,
    }
}
