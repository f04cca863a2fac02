//! Pieces: rows of one series in one source, cut to the times asked for.

use std::sync::{Arc, OnceLock};

use crate::deletes::{Hides, kept};
use crate::error::Result;
use crate::head::{Run, RunData};
use crate::part::{GroupKeys, GroupRef, Part, ZoneRows, ZoneStats, ZoneValues};
use crate::types::{Column, ColumnId, PhysicalType, SeriesRows, TimeRange, Value};

use super::filter::{FieldFilter, Verdict};
use super::source::PartHandle;
use super::{FieldBound, ScanStats};

/// A row group, decoded as far as it was needed.
#[derive(Debug)]
pub(super) struct Group {
    handle: Arc<PartHandle>,
    group: GroupRef,
    keys: OnceLock<GroupKeys>,
    columns: OnceLock<Vec<Option<Column>>>,
    /// Columns that filters look at, in the order of the filters.
    tested: OnceLock<Vec<(ColumnId, Option<Column>)>>,
    /// Rows that bounds rule out, by zone.
    skips: OnceLock<Vec<(ZoneRows, bool)>>,
}

impl Group {
    pub fn new(handle: &Arc<PartHandle>, group: GroupRef) -> Arc<Group> {
        Arc::new(Group {
            handle: Arc::clone(handle),
            group,
            keys: OnceLock::new(),
            columns: OnceLock::new(),
            tested: OnceLock::new(),
            skips: OnceLock::new(),
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

    /// Series and times.
    pub fn keys(&self) -> Result<&GroupKeys> {
        if let Some(keys) = self.keys.get() {
            return Ok(keys);
        }
        let keys = self.handle.part.read_keys(&self.group)?;
        Ok(self.keys.get_or_init(|| keys))
    }

    /// The columns of a stream, in its order. One group serves one stream only.
    pub fn columns(
        &self,
        columns: &[(ColumnId, PhysicalType)],
        stats: &ScanStats,
    ) -> Result<&[Option<Column>]> {
        if let Some(columns) = self.columns.get() {
            return Ok(columns);
        }
        if !columns.is_empty() {
            ScanStats::add(&stats.groups_read, 1);
        }
        let held = self.tested.get().map_or(&[][..], Vec::as_slice);
        let find = |id: ColumnId| held.iter().find(|(tested, _)| *tested == id);
        let rest: Vec<_> = columns.iter().filter(|(id, _)| find(*id).is_none()).copied().collect();
        let mut decoded = self.handle.part.read_columns(&self.group, &rest)?.into_iter();
        let all = columns.iter().map(|(id, _)| match find(*id) {
            Some((_, column)) => column.clone(),
            None => decoded.next().flatten(),
        });
        let all = all.collect();
        Ok(self.columns.get_or_init(|| all))
    }

    /// The columns that a stream's filters look at, in the order of the filters.
    pub fn tested(
        &self,
        columns: &[(ColumnId, PhysicalType)],
        filters: &[(usize, FieldFilter)],
        stats: &ScanStats,
    ) -> Result<&[(ColumnId, Option<Column>)]> {
        if let Some(tested) = self.tested.get() {
            return Ok(tested);
        }
        ScanStats::add(&stats.groups_tested, 1);
        let wanted: Vec<_> = filters.iter().map(|(at, _)| columns[*at]).collect();
        let decoded = self.handle.part.read_columns(&self.group, &wanted)?;
        let named = wanted.iter().map(|(id, _)| *id).zip(decoded).collect();
        Ok(self.tested.get_or_init(|| named))
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

/// Where the rows of a piece lie.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Run(Arc<RunData>),
    Group(Arc<Group>),
}

impl Place {
    pub fn times(&self) -> Result<&[i64]> {
        match self {
            Place::Run(data) => Ok(&data.times),
            Place::Group(group) => Ok(&group.keys()?.times),
        }
    }
}

/// Rows `start..end` of a place.
pub(super) type Span = (usize, usize);

/// Rows of one series in one source.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub place: Place,
    /// Last position of the source.
    pub age: u64,
    /// Place among pieces of one age, from old to new: one commit may write a series twice, and
    /// one part may hold it in several groups.
    pub order: u32,
    /// No row is earlier.
    pub earliest: i64,
    /// No row is later.
    pub latest: i64,
    /// What deletes hide of the source.
    pub hides: Option<Arc<Hides>>,
    /// Rows before they are cut to the times; `None` for a whole group not read yet.
    rows: Option<SeriesRows>,
}

impl Piece {
    pub fn of_run(run: &Arc<Run>, rows: SeriesRows, age: u64, times: TimeRange) -> Option<Piece> {
        let first = run.data.times[rows.start as usize];
        let last = run.data.times[(rows.start + rows.rows - 1) as usize];
        let meets = TimeRange::new(first, last).overlaps(&times);
        let place = Place::Run(Arc::clone(&run.data));
        let (earliest, latest) = (first.max(times.min), last.min(times.max));
        meets.then_some(Piece {
            place,
            age,
            order: 0,
            earliest,
            latest,
            hides: None,
            rows: Some(rows),
        })
    }

    pub fn of_shared(group: &Arc<Group>, nth: usize, age: u64, times: TimeRange) -> Option<Piece> {
        let keys = group.keys.get()?;
        let rows = *keys.series.get(nth)?;
        let first = keys.times[rows.start as usize];
        let last = keys.times[(rows.start + rows.rows - 1) as usize];
        let meets = TimeRange::new(first, last).overlaps(&times);
        let place = Place::Group(Arc::clone(group));
        let (earliest, latest) = (first.max(times.min), last.min(times.max));
        meets.then_some(Piece {
            place,
            age,
            order: 0,
            earliest,
            latest,
            hides: None,
            rows: Some(rows),
        })
    }

    pub fn of_own(group: &Arc<Group>, age: u64, times: TimeRange) -> Option<Piece> {
        let span = group.group.times.intersect(&times);
        let (earliest, latest) = (span.min, span.max);
        let meets = group.group.times.overlaps(&times);
        let place = Place::Group(Arc::clone(group));
        meets.then_some(Piece { place, age, order: 0, earliest, latest, hides: None, rows: None })
    }

    /// Times that its rows may have.
    pub fn span(&self) -> TimeRange {
        TimeRange::new(self.earliest, self.latest)
    }

    /// Whether the times asked for cut nothing of the rows: they lie within its span.
    pub fn is_whole(&self) -> bool {
        match &self.place {
            Place::Group(group) => {
                TimeRange::new(self.earliest, self.latest).encloses(&group.found().times)
            }
            Place::Run(_) => false,
        }
    }

    /// First row and the row behind the last, before they are cut to the times; `rows`: of the
    /// whole group.
    pub fn bounds(&self, rows: u32) -> (usize, usize) {
        match self.rows {
            Some(rows) => (rows.start as usize, (rows.start + rows.rows) as usize),
            None => (0, rows as usize),
        }
    }

    /// Rows `start..end` of the place that lie in `times`; may be empty.
    pub fn cut(&self, times: TimeRange) -> Result<(usize, usize)> {
        let all = self.place.times()?;
        let (start, end) = match self.rows {
            Some(rows) => (rows.start as usize, (rows.start + rows.rows) as usize),
            None => (0, all.len()),
        };
        let own = &all[start..end];
        let from = own.partition_point(|time| *time < times.min);
        let to = own.partition_point(|time| *time <= times.max);
        Ok((start + from, start + to.max(from)))
    }

    /// As [`Piece::cut`], without the rows of `series` that deletes hide: the first span, and the
    /// others from the last one on.
    pub fn spans(&self, series: u32, times: TimeRange) -> Result<Option<(Span, Vec<Span>)>> {
        let (start, end) = self.cut(times)?;
        let Some(hides) = self.hides.as_ref().filter(|_| start < end) else {
            return Ok((start < end).then_some(((start, end), Vec::new())));
        };
        let all = self.place.times()?;
        let hidden = hides.hidden(series, TimeRange::new(all[start], all[end - 1]));
        let mut rest = kept(&hidden, all, start, end);
        rest.reverse();
        Ok(rest.pop().map(|first| (first, rest)))
    }
}
