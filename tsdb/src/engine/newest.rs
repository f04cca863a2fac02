//! The newest row of series, looked up in a state: what the last-row cache no longer knows after
//! a delete.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::scan::{ScanRequest, ScanStats, Source};
use crate::series::Bitmap;
use crate::types::{Column, ColumnBuilder, ColumnId, PhysicalType, Rows, SeriesRows, TimeRange};

use super::core::storage_columns;
use super::quarantine::LeftOut;
use super::state::TableState;

/// The first window is this part of a partition; each further one is `WINDOW_GROWTH` times wider.
const WINDOW_SHARE: i64 = 64;
const WINDOW_GROWTH: i64 = 4;

impl TableState {
    /// The newest rows of series out of the cache, which learns what it does not know.
    ///
    /// # Errors
    /// [`crate::Error::NotFound`] for a column that the table does not have, and what reading
    /// parts gives.
    pub fn last_rows(
        &self,
        series: &Bitmap,
        columns: &[ColumnId],
        left_out: Option<&LeftOut>,
    ) -> Result<Rows> {
        let wanted = self.physical(columns)?;
        let mut stale = {
            let last = self.last.read();
            match last.stale(series) {
                None => return Ok(last.rows(series.iter(), &wanted)),
                Some(stale) if left_out.is_some() => {
                    // What is found past bad blocks is an answer, not what the cache may learn.
                    let known = last.rows(series.iter(), &wanted);
                    drop(last);
                    let found = self.newest_of(&stale.0, stale.1, left_out)?;
                    return Ok(join(known, pick(&found, &stale.0, &wanted)));
                }
                Some(stale) => stale,
            }
        };
        let mut looked_up = Bitmap::new();
        let mut found = self.newest_rows(&looked_up, i64::MIN)?;
        loop {
            found = join(found, self.newest_rows(&stale.0, stale.1)?);
            looked_up.or_inplace(&stale.0);
            let mut last = self.last.write();
            last.fill(&looked_up, &found, self.applied);
            let known = last.rows(series.iter(), &wanted);
            let Some((left, bound)) = last.stale(series) else { return Ok(known) };
            // Commits that this state does not know have changed these: it answers for itself.
            let more = left.andnot(&looked_up);
            if more.is_empty() {
                return Ok(join(known, pick(&found, &left, &wanted)));
            }
            stale = (more, bound);
        }
    }

    /// The newest row of each of `wanted` that has one, with all fields in ascending number. No
    /// row of them is later than `upto`. Goes back in time window by window, so that a series
    /// pays for rows near its newest one only.
    ///
    /// # Errors
    /// What reading parts gives.
    pub fn newest_rows(&self, wanted: &Bitmap, upto: i64) -> Result<Rows> {
        self.newest_of(wanted, upto, None)
    }

    fn newest_of(&self, wanted: &Bitmap, upto: i64, left_out: Option<&LeftOut>) -> Result<Rows> {
        let columns = storage_columns(&self.schema);
        let mut left = wanted.clone();
        left.remove_range(self.series_count..);
        let mut found = Found::new(&columns);
        let mut upto = upto;
        let mut length = (self.schema.options.partition_ns / WINDOW_SHARE).max(1);
        while !left.is_empty() {
            let Some((least, most)) = self.reach(&left, upto) else { break };
            let from = most.saturating_sub(length - 1);
            let from = if from <= least { i64::MIN } else { from };
            let request = ScanRequest {
                series: Some(left.clone()),
                times: TimeRange::new(from, most),
                ..ScanRequest::all(columns.iter().map(|(id, _)| *id).collect())
            };
            for stream in &mut self.scan(request, left_out)?.streams {
                while let Some(rows) = stream.next_rows()? {
                    found.take(&rows);
                }
            }
            left.andnot_inplace(&found.series());
            if from == i64::MIN {
                break;
            }
            upto = from - 1;
            length = length.saturating_mul(WINDOW_GROWTH);
        }
        Ok(found.finish())
    }

    /// Least and greatest time up to `upto` that rows of the series can have.
    fn reach(&self, series: &Bitmap, upto: i64) -> Option<(i64, i64)> {
        let request = ScanRequest {
            series: Some(series.clone()),
            times: TimeRange::new(i64::MIN, upto),
            ..ScanRequest::all(Vec::new())
        };
        let mut reach = TimeRange::EMPTY;
        let stats = ScanStats::default();
        for source in self.sources(request.series.as_ref(), request.times, None, &stats) {
            let times = match &source {
                Source::Run(run, _) => run.times,
                Source::Part(part, _) => part.entry.times,
            };
            reach = reach.cover(&times.intersect(&request.times));
        }
        (!reach.is_empty()).then_some((reach.min, reach.max))
    }
}

/// The newest rows so far.
struct Found {
    columns: Vec<(ColumnId, PhysicalType)>,
    times: Vec<i64>,
    cells: Vec<ColumnBuilder>,
    /// Place of each series' row among the cells.
    rows: BTreeMap<u32, u32>,
}

impl Found {
    fn new(columns: &[(ColumnId, PhysicalType)]) -> Found {
        let cells = columns.iter().map(|(_, kind)| ColumnBuilder::new(*kind, 0)).collect();
        Found { columns: columns.to_vec(), times: Vec::new(), cells, rows: BTreeMap::new() }
    }

    /// Takes the last row of each series of a batch; of one series, later batches are newer.
    fn take(&mut self, rows: &Rows) {
        for series in &rows.series {
            let last = (series.start + series.rows - 1) as usize;
            self.rows.insert(series.series, self.times.len() as u32);
            self.times.push(rows.times[last]);
            for ((_, column), cells) in rows.columns.iter().zip(&mut self.cells) {
                cells.extend_range(column, last, last + 1);
            }
        }
    }

    fn series(&self) -> Bitmap {
        self.rows.keys().copied().collect()
    }

    fn finish(self) -> Rows {
        let order: Vec<u32> = self.rows.values().copied().collect();
        let one =
            |(at, series): (usize, &u32)| SeriesRows { series: *series, start: at as u32, rows: 1 };
        let columns = self.columns.into_iter().zip(self.cells);
        Rows {
            series: self.rows.keys().enumerate().map(one).collect(),
            times: order.iter().map(|row| self.times[*row as usize]).collect(),
            columns: columns.map(|((id, _), cells)| (id, cells.finish().gather(&order))).collect(),
        }
    }
}

/// Of rows that are one a series, those of `wanted`, with these columns.
pub(crate) fn pick(rows: &Rows, wanted: &Bitmap, columns: &[(ColumnId, PhysicalType)]) -> Rows {
    let kept: Vec<SeriesRows> =
        rows.series.iter().filter(|rows| wanted.contains(rows.series)).copied().collect();
    let places: Vec<u32> = kept.iter().map(|rows| rows.start).collect();
    let series = (0u32..).zip(&kept).map(|(start, rows)| SeriesRows { start, ..*rows }).collect();
    let of = |(id, kind): &(ColumnId, PhysicalType)| match rows.column(*id) {
        Some(column) => (*id, column.gather(&places)),
        None => (*id, Column::absent(*kind, places.len())),
    };
    Rows {
        series,
        times: places.iter().map(|at| rows.times[*at as usize]).collect(),
        columns: columns.iter().map(of).collect(),
    }
}

/// Two lists of one row a series each, no series in both, as one list. The columns are the same.
pub(crate) fn join(a: Rows, b: Rows) -> Rows {
    let mut order: Vec<(u32, u32)> = (0u32..)
        .zip(a.series.iter().chain(&b.series))
        .map(|(at, rows)| (rows.series, at))
        .collect();
    order.sort_unstable();
    let places: Vec<u32> = order.iter().map(|(_, at)| *at).collect();
    let both = |one: &Column, other: &Column| {
        let mut cells = ColumnBuilder::new(one.values.physical(), one.len() + other.len());
        cells.extend_range(one, 0, one.len());
        cells.extend_range(other, 0, other.len());
        cells.finish().gather(&places)
    };
    let times: Vec<i64> = a.times.iter().chain(&b.times).copied().collect();
    let one = |(at, (series, _)): (usize, &(u32, u32))| SeriesRows {
        series: *series,
        start: at as u32,
        rows: 1,
    };
    Rows {
        series: order.iter().enumerate().map(one).collect(),
        times: places.iter().map(|at| times[*at as usize]).collect(),
        columns: a
            .columns
            .iter()
            .zip(&b.columns)
            .map(|((id, one), (_, other))| (*id, both(one, other)))
            .collect(),
    }
}
