//! Adding rows: of a piece that is alone, or merged ones.

use std::ops::Range;

use crate::error::Result;
use crate::types::{Column, PhysicalType, TimeRange, ValueRef};

use super::super::piece::{Piece, Place};
use super::AggregateStream;

/// Consecutive rows of one slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub slot: u32,
    pub start: u32,
    pub end: u32,
}

impl AggregateStream {
    /// Adds the rows of a piece in `range`, which no other piece has.
    pub(super) fn direct(&mut self, piece: &Piece, range: TimeRange, group: u32) -> Result<()> {
        match &piece.place {
            Place::Run(data) => {
                let (start, end) = piece.cut(range)?;
                if start == end {
                    return Ok(());
                }
                let shared = self.shared.clone();
                let columns: Vec<_> =
                    shared.columns.iter().map(|(id, _)| data.column(*id)).collect();
                self.add(group, Some(&data.times[start..end]), &columns, (start, end));
                Ok(())
            }
            Place::Group(_) if self.zones_help(piece) => self.zoned(piece, range, group),
            Place::Group(_) => {
                let (start, end) = piece.cut(range)?;
                self.decoded(piece, start..end, &(start..end), group)
            }
        }
    }

    /// Adds rows of a piece in a part; what is not decoded yet is decoded for all of `reach`, in
    /// which they lie.
    pub(super) fn decoded(
        &mut self,
        piece: &Piece,
        rows: Range<usize>,
        reach: &Range<usize>,
        group: u32,
    ) -> Result<()> {
        let Place::Group(place) = &piece.place else { return Ok(()) };
        if rows.is_empty() {
            return Ok(());
        }
        let shared = self.shared.clone();
        // Times take as long to decode as a column: only where they matter.
        let times = match shared.needs_times() {
            true => {
                let (from, to) = (rows.start - reach.start, rows.end - reach.start);
                Some(&place.times(reach.clone())?[from..to])
            }
            false => None,
        };
        let mut keep = None;
        if !shared.filters.is_empty() {
            // The columns that filters look at are decoded alone first.
            let tested = place.tested(reach, &shared.columns, &shared.filters, &self.stats)?;
            let mut mask = vec![true; rows.len()];
            let first = tested.at(&rows).start;
            for ((_, filter), (_, column)) in shared.filters.iter().zip(tested.held()) {
                filter.test.apply(column.as_deref(), first, &mut mask);
            }
            if !mask.contains(&true) {
                return Ok(());
            }
            keep = Some(mask);
        }
        let chosen = !shared.filters.is_empty();
        let window = place.columns(reach, &shared.columns, chosen, &self.stats)?;
        let columns: Vec<_> = window.held().iter().map(Option::as_deref).collect();
        let at = window.at(&rows);
        self.add_kept(group, times, &columns, (at.start, at.end), keep.as_deref());
        Ok(())
    }

    /// Adds rows `start..end` of the columns; row `start + i` has `times[i]`. Times may be left out
    /// where [`super::Shared::needs_times`] says so.
    pub(super) fn add(
        &mut self,
        group: u32,
        times: Option<&[i64]>,
        columns: &[Option<&Column>],
        (start, end): (usize, usize),
    ) {
        let shared = self.shared.clone();
        if shared.filters.is_empty() {
            return self.add_kept(group, times, columns, (start, end), None);
        }
        let mut keep = vec![true; end - start];
        for (at, filter) in &shared.filters {
            filter.test.apply(columns[*at], start, &mut keep);
        }
        self.add_kept(group, times, columns, (start, end), Some(&keep));
    }

    /// Adds the rows that are kept; all without a mask.
    fn add_kept(
        &mut self,
        group: u32,
        times: Option<&[i64]>,
        columns: &[Option<&Column>],
        (start, end): (usize, usize),
        keep: Option<&[bool]>,
    ) {
        let mut segments = std::mem::take(&mut self.segments);
        segments.clear();
        let times = times.unwrap_or_default();
        match keep {
            None => self.segment(group, times, columns, start, 0..end - start, &mut segments),
            Some(keep) => {
                let mut row = 0;
                for run in keep.chunk_by(|a, b| a == b) {
                    let rows = row..row + run.len();
                    row = rows.end;
                    if run[0] {
                        self.segment(group, times, columns, start, rows, &mut segments);
                    }
                }
            }
        }
        for segment in &segments {
            self.table.rows[segment.slot as usize] += u64::from(segment.end - segment.start);
        }
        for (nth, column) in columns[..self.shared.wants.len()].iter().enumerate() {
            if let Some(column) = column {
                self.table.add(nth, column, start, times, &segments);
            }
        }
        let shared = self.shared.clone();
        for (nth, (at, filter)) in shared.counted.iter().enumerate() {
            let mut pass = vec![true; end - start];
            filter.test.apply(columns[*at], start, &mut pass);
            for segment in &segments {
                let rows = &pass[segment.start as usize..segment.end as usize];
                let count = rows.iter().filter(|pass| **pass).count() as u64;
                self.table.passing[nth][segment.slot as usize] += count;
            }
        }
        self.segments = segments;
    }

    /// Cuts rows into segments of one bucket and one value of the column that splits.
    fn segment(
        &mut self,
        group: u32,
        times: &[i64],
        columns: &[Option<&Column>],
        start: usize,
        rows: std::ops::Range<usize>,
        segments: &mut Vec<Segment>,
    ) {
        let mut at = rows.start;
        while at < rows.end {
            let (bucket, end) = match self.shared.buckets {
                None => (0, rows.end),
                Some(buckets) => {
                    let bucket = buckets.index(times[at]);
                    (bucket, at + run_until(&times[at..rows.end], buckets.last(bucket)))
                }
            };
            while at < end {
                let (split, to) = match self.shared.split {
                    None => (0, end),
                    Some(column) => self.split_run(columns[column], start, at, end),
                };
                let slot = self.table.slot(group, bucket, split);
                segments.push(Segment { slot, start: at as u32, end: to as u32 });
                at = to;
            }
        }
    }

    /// The value that row `at` is grouped by, and the end of the rows that have it too.
    fn split_run(
        &mut self,
        column: Option<&Column>,
        start: usize,
        at: usize,
        end: usize,
    ) -> (u32, usize) {
        let Some(column) = column else { return (self.split_of(None), end) };
        let value = |row: usize| {
            let (state, value) = column.cell(start + row);
            state.is_value().then_some(value)
        };
        let first = value(at);
        // NaN differs from itself, which only makes runs shorter.
        let same = (at + 1..end).take_while(|row| value(*row) == first).count();
        (self.split_of(first), at + 1 + same)
    }

    /// The number of a value to group by. Integers from before the column was widened are floats.
    pub(super) fn split_of(&mut self, value: Option<ValueRef<'_>>) -> u32 {
        let kind = self.shared.split.map(|at| self.shared.columns[at].1);
        match (value, kind) {
            (Some(ValueRef::Int(v)), Some(PhysicalType::Float)) => {
                self.table.split(Some(ValueRef::Float(v as f64)))
            }
            (value, _) => self.table.split(value),
        }
    }
}

/// How many of ascending times are at most `last`; at least one is. Gallops: buckets are short
/// beside what is left, or hold all of it.
fn run_until(times: &[i64], last: i64) -> usize {
    if times[times.len() - 1] <= last {
        return times.len();
    }
    let mut step = 1;
    while step < times.len() && times[step] <= last {
        step *= 2;
    }
    let (from, to) = (step / 2, step.min(times.len()));
    from + times[from..to].partition_point(|time| *time <= last)
}
