//! Runs: sorted rows in memory that never change.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::deletes::{Selection, kept, union};
use crate::types::{
    Column, ColumnBuilder, ColumnId, MergeMode, PhysicalType, SeriesRows, TimeRange, Values,
};

/// The columns that runs share: one commit's rows for all shards lie in one `RunData`.
#[derive(Debug, Default)]
pub struct RunData {
    /// Times, ns.
    pub times: Vec<i64>,
    /// Columns in ascending number.
    pub columns: Vec<(ColumnId, Column)>,
}

impl RunData {
    /// The column with this number.
    pub fn column(&self, id: ColumnId) -> Option<&Column> {
        let at = self.columns.binary_search_by_key(&id, |(c, _)| *c).ok()?;
        Some(&self.columns[at].1)
    }

    fn memory(&self) -> usize {
        self.times.capacity() * 8 + self.columns.iter().map(|(_, c)| c.memory()).sum::<usize>()
    }
}

/// Sorted rows of one shard of one table.
#[derive(Debug)]
pub struct Run {
    /// Positions of the commits that the rows come from.
    pub positions: RangeInclusive<u64>,
    /// The rows of each series, ascending by series; `start` counts in `data`.
    pub series: Vec<SeriesRows>,
    /// The columns.
    pub data: Arc<RunData>,
    /// Smallest range that holds all times.
    pub times: TimeRange,
    rows: usize,
    share: usize,
}

impl Run {
    /// A run over some rows of `data`; `series` ascends.
    pub fn new(positions: RangeInclusive<u64>, series: Vec<SeriesRows>, data: Arc<RunData>) -> Run {
        debug_assert!(series.is_sorted_by(|a, b| a.series < b.series));
        let rows: usize = series.iter().map(|s| s.rows as usize).sum();
        let mut times = TimeRange::EMPTY;
        for rows in &series {
            let first = data.times[rows.start as usize];
            let last = data.times[(rows.start + rows.rows - 1) as usize];
            times = times.cover(&TimeRange::new(first, last));
        }
        // Shards share the columns: each counts its part of them.
        let share =
            (data.memory() as u128 * rows as u128 / data.times.len().max(1) as u128) as usize;
        Run { positions, series, data, times, rows, share }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes held in memory.
    pub fn memory(&self) -> usize {
        self.share + self.series.capacity() * 12 + 96
    }

    /// The run without the rows that the selections name; `None` if it has none of them.
    pub fn without(&self, selections: &[Selection]) -> Option<Run> {
        let (first, last) = (self.series.first()?.series, self.series.last()?.series);
        let meeting: Vec<&Selection> =
            selections.iter().filter(|s| s.overlaps(&(first..=last), self.times)).collect();
        if meeting.is_empty() {
            return None;
        }
        let mut series = Vec::with_capacity(self.series.len());
        let mut order: Vec<u32> = Vec::with_capacity(self.rows);
        for rows in &self.series {
            let (start, end) = (rows.start as usize, (rows.start + rows.rows) as usize);
            let range = TimeRange::new(self.data.times[start], self.data.times[end - 1]);
            let mut hidden = Vec::new();
            meeting.iter().for_each(|s| s.hidden(rows.series, range, &mut hidden));
            let before = order.len() as u32;
            for (from, to) in kept(&union(hidden), &self.data.times, start, end) {
                order.extend(from as u32..to as u32);
            }
            let left = order.len() as u32 - before;
            if left > 0 {
                series.push(SeriesRows { series: rows.series, start: before, rows: left });
            }
        }
        if order.len() == self.rows {
            return None;
        }
        let times = order.iter().map(|row| self.data.times[*row as usize]).collect();
        let columns =
            self.data.columns.iter().map(|(id, column)| (*id, column.gather(&order))).collect();
        let data = Arc::new(RunData { times, columns });
        Some(Run::new(self.positions.clone(), series, data))
    }

    /// The rows of a series.
    pub fn find(&self, series: u32) -> Option<SeriesRows> {
        let at = self.series.binary_search_by_key(&series, |s| s.series).ok()?;
        Some(self.series[at])
    }
}

/// Merges two neighbouring runs into one; `newer` wins where cells meet.
pub fn coalesce(older: &Run, newer: &Run, mode: MergeMode) -> Run {
    let mut picks = Picks::default();
    let (mut a, mut b) = (older.series.iter().peekable(), newer.series.iter().peekable());
    loop {
        let series = match (a.peek(), b.peek()) {
            (None, None) => break,
            (Some(x), Some(y)) => x.series.min(y.series),
            (Some(x), None) => x.series,
            (None, Some(y)) => y.series,
        };
        let left = a.next_if(|rows| rows.series == series);
        let right = b.next_if(|rows| rows.series == series);
        picks.merge_series(series, (left, &older.data), (right, &newer.data), mode);
    }
    let data = picks.build(&older.data, &newer.data, mode);
    let positions = *older.positions.start()..=*newer.positions.end();
    Run::new(positions, picks.series, Arc::new(data))
}

/// Where each row of a merged run comes from; `u32::MAX` where one side has no such row.
#[derive(Default)]
struct Picks {
    series: Vec<SeriesRows>,
    times: Vec<i64>,
    older: Vec<u32>,
    newer: Vec<u32>,
}

const NONE: u32 = u32::MAX;

impl Picks {
    fn push(&mut self, time: i64, older: u32, newer: u32) {
        self.times.push(time);
        self.older.push(older);
        self.newer.push(newer);
    }

    fn merge_series(
        &mut self,
        series: u32,
        (left, left_data): (Option<&SeriesRows>, &RunData),
        (right, right_data): (Option<&SeriesRows>, &RunData),
        mode: MergeMode,
    ) {
        let start = self.times.len();
        let bounds = |rows: Option<&SeriesRows>| {
            rows.map_or((0, 0), |rows| (rows.start, rows.start + rows.rows))
        };
        let ((mut i, i_end), (mut j, j_end)) = (bounds(left), bounds(right));
        while i < i_end || j < j_end {
            let x = if i < i_end { Some(left_data.times[i as usize]) } else { None };
            let y = if j < j_end { Some(right_data.times[j as usize]) } else { None };
            match (x, y) {
                (Some(x), Some(y)) if x == y && mode != MergeMode::Append => {
                    self.push(x, i, j);
                    i += 1;
                    j += 1;
                }
                (Some(x), y) if y.is_none_or(|y| x <= y) => {
                    self.push(x, i, NONE);
                    i += 1;
                }
                (_, Some(y)) => {
                    self.push(y, NONE, j);
                    j += 1;
                }
                (_, None) => break,
            }
        }
        let rows = (self.times.len() - start) as u32;
        self.series.push(SeriesRows { series, start: start as u32, rows });
    }

    fn build(&mut self, older: &RunData, newer: &RunData, mode: MergeMode) -> RunData {
        let ids = older.columns.iter().chain(&newer.columns).map(|(id, _)| *id);
        let mut ids: Vec<ColumnId> = ids.collect();
        ids.sort_unstable();
        ids.dedup();
        let columns = ids
            .into_iter()
            .map(|id| (id, self.build_column(older.column(id), newer.column(id), mode)))
            .collect();
        RunData { times: std::mem::take(&mut self.times), columns }
    }

    fn build_column(
        &self,
        older: Option<&Column>,
        newer: Option<&Column>,
        mode: MergeMode,
    ) -> Column {
        let kind = wider(older.map(|c| &c.values), newer.map(|c| &c.values));
        let mut builder = ColumnBuilder::new(kind, self.older.len());
        for (i, j) in self.older.iter().zip(&self.newer) {
            let old = older.filter(|_| *i != NONE).map(|c| c.cell(*i as usize));
            let new = newer.filter(|_| *j != NONE).map(|c| c.cell(*j as usize));
            let whole_row = mode == MergeMode::LastRow && *j != NONE;
            let cell = match new {
                Some(cell) if !cell.0.is_absent() || whole_row => Some(cell),
                _ if whole_row => None,
                other => old.or(other),
            };
            match cell {
                Some((state, value)) => builder.push(state, value),
                None => builder.push_absent(1),
            }
        }
        builder.finish()
    }
}

/// The physical type that holds both: a float where one side was written before its column was
/// widened.
fn wider(a: Option<&Values>, b: Option<&Values>) -> PhysicalType {
    match (a.map(Values::physical), b.map(Values::physical)) {
        (Some(PhysicalType::Int), Some(other)) | (Some(other), _) | (None, Some(other)) => other,
        (None, None) => PhysicalType::Int,
    }
}
