//! Adding rows: of a piece that is alone, or merged ones.

use crate::error::Result;
use crate::types::{Column, TimeRange};

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
                self.add(group, &data.times[start..end], &columns, start, end - start)
            }
            Place::Group(_) if self.zones_help(piece) => self.zoned(piece, range, group),
            Place::Group(_) => {
                let (start, end) = piece.cut(range)?;
                self.decoded(piece, start, end, group)
            }
        }
    }

    /// Adds rows `start..end` of a piece in a part, decoding what is needed.
    pub(super) fn decoded(
        &mut self,
        piece: &Piece,
        start: usize,
        end: usize,
        group: u32,
    ) -> Result<()> {
        let Place::Group(place) = &piece.place else { return Ok(()) };
        if start >= end {
            return Ok(());
        }
        let shared = self.shared.clone();
        let times = &place.keys()?.times[start..end];
        if !shared.filters.is_empty() && !self.some_pass(piece, start, end)? {
            return Ok(());
        }
        let columns = place.columns(&shared.columns, &self.stats)?;
        let columns: Vec<_> = columns.iter().map(Option::as_ref).collect();
        self.add(group, times, &columns, start, end - start)
    }

    /// Whether a row passes the filters, by decoding only the columns that they look at.
    fn some_pass(&self, piece: &Piece, start: usize, end: usize) -> Result<bool> {
        let Place::Group(place) = &piece.place else { return Ok(true) };
        let shared = &self.shared;
        if place.has_columns() || shared.filters.len() >= shared.columns.len() {
            return Ok(true);
        }
        let columns = place.tested(&shared.columns, &shared.filters, &self.stats)?;
        let mut keep = vec![true; end - start];
        for ((_, filter), column) in shared.filters.iter().zip(columns) {
            filter.test.apply(column.as_ref(), start, &mut keep);
        }
        Ok(keep.contains(&true))
    }

    /// Adds `count` rows; row `i` has `times[i]` and is row `start + i` of the columns.
    pub(super) fn add(
        &mut self,
        group: u32,
        times: &[i64],
        columns: &[Option<&Column>],
        start: usize,
        count: usize,
    ) -> Result<()> {
        if self.shared.filters.is_empty() {
            self.add_all(group, times, columns, start);
            return Ok(());
        }
        let mut keep = vec![true; count];
        let shared = self.shared.clone();
        for (at, filter) in &shared.filters {
            filter.test.apply(columns[*at], start, &mut keep);
        }
        let picks: Vec<u32> = (0..count).filter(|i| keep[*i]).map(|i| (start + i) as u32).collect();
        if picks.len() == count {
            self.add_all(group, times, columns, start);
        } else if !picks.is_empty() {
            let times: Vec<i64> = picks.iter().map(|i| times[*i as usize - start]).collect();
            let wanted = &columns[..shared.wants.len()];
            let gathered: Vec<Option<Column>> =
                wanted.iter().map(|column| column.map(|c| c.gather(&picks))).collect();
            let gathered: Vec<_> = gathered.iter().map(Option::as_ref).collect();
            self.add_all(group, &times, &gathered, 0);
        }
        Ok(())
    }

    fn add_all(&mut self, group: u32, times: &[i64], columns: &[Option<&Column>], start: usize) {
        let mut segments = std::mem::take(&mut self.segments);
        segments.clear();
        match self.shared.buckets {
            None => {
                let slot = self.table.slot(group, 0);
                segments.push(Segment { slot, start: 0, end: times.len() as u32 });
            }
            Some(buckets) => {
                let mut at = 0;
                while at < times.len() {
                    let bucket = buckets.index(times[at]);
                    let end = at + run_until(&times[at..], buckets.last(bucket));
                    let slot = self.table.slot(group, bucket);
                    segments.push(Segment { slot, start: at as u32, end: end as u32 });
                    at = end;
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
        self.segments = segments;
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
