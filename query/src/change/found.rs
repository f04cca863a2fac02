//! The rows that a statement is about, and the engine's own view of them.

use std::collections::HashSet;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int64Type, UInt32Type};
use tsdb::series::Bitmap;
use tsdb::types::{Column, ColumnBuilder, ColumnId, PhysicalType, Rows, TimeRange, WriteBatch};
use tsdb::{ScanRequest, Selection, Table};

use super::{BYTES_MAX, too_large};
use crate::error::{QueryError, QueryResult};

/// Tells whether the work may go on.
pub(crate) type Check<'a> = &'a (dyn Fn() -> QueryResult<()> + Sync);

/// Rows by identity.
#[derive(Default)]
pub(super) struct Found {
    pub(super) series: Vec<u32>,
    pub(super) nanos: Vec<i64>,
    /// Place among the rows of one series and time; empty where there is only one.
    pub(super) nth: Vec<u32>,
    /// Where a row may come several times: those that have come.
    seen: Option<HashSet<(u32, i64, u32)>>,
}

impl Found {
    /// Rows that come once, or `joined` with others as often as those match: then the first counts.
    pub(super) fn new(joined: bool) -> Found {
        Found { seen: joined.then(HashSet::new), ..Found::default() }
    }

    /// Takes the identities in; what stands behind them in the batch comes back.
    pub(super) fn take(&mut self, batch: &RecordBatch, nth: bool) -> QueryResult<Vec<ArrayRef>> {
        let batch = match &mut self.seen {
            Some(seen) => first_of_each(batch, nth, seen)?,
            None => batch.clone(),
        };
        let mut columns = batch.columns().iter().cloned();
        let mut next = || columns.next().ok_or_else(|| QueryError::internal("rows without names"));
        let (series, nanos) = (next()?, next()?);
        self.series.extend_from_slice(series.as_primitive::<UInt32Type>().values());
        self.nanos.extend_from_slice(nanos.as_primitive::<Int64Type>().values());
        if nth {
            self.nth.extend_from_slice(next()?.as_primitive::<UInt32Type>().values());
        }
        Ok(columns.collect())
    }

    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    /// The places in time of the rows.
    pub(super) fn points(&self) -> Selection {
        Selection::Points { series: self.series.clone(), times: self.nanos.clone() }
    }

    /// The rows as a set.
    pub(super) fn set(&self) -> HashSet<(u32, i64, u32)> {
        let nth = |at: usize| self.nth.get(at).copied().unwrap_or(0);
        (0..self.len()).map(|at| (self.series[at], self.nanos[at], nth(at))).collect()
    }
}

/// The rows of a batch that were not seen yet.
fn first_of_each(
    batch: &RecordBatch,
    nth: bool,
    seen: &mut HashSet<(u32, i64, u32)>,
) -> QueryResult<RecordBatch> {
    let missing = || QueryError::internal("rows without names");
    let mut columns = batch.columns().iter();
    let series = columns.next().ok_or_else(missing)?.as_primitive::<UInt32Type>().values();
    let nanos = columns.next().ok_or_else(missing)?.as_primitive::<Int64Type>().values();
    let places = match nth {
        true => Some(columns.next().ok_or_else(missing)?.as_primitive::<UInt32Type>().values()),
        false => None,
    };
    let place = |at: usize| places.map_or(0, |places| places[at]);
    let new: BooleanArray = (0..batch.num_rows())
        .map(|at| Some(seen.insert((series[at], nanos[at], place(at)))))
        .collect();
    Ok(filter_record_batch(batch, &new)?)
}

/// Which of these places in time have a row.
pub(crate) fn rows_at(
    table: &Table,
    points: HashSet<(u32, i64)>,
    check: Check<'_>,
) -> QueryResult<HashSet<(u32, i64)>> {
    if points.is_empty() {
        return Ok(points);
    }
    let there = Raw::read(table, points.into_iter(), &[], "INSERT", check)?;
    Ok(there.rows.into_iter().map(|(series, time, _)| (series, time)).collect())
}

/// Rows as the engine holds them: with qualities, and telling null from absent.
pub(super) struct Raw {
    /// Series, time in ns, place among the rows of both.
    pub(super) rows: Vec<(u32, i64, u32)>,
    pub(super) columns: Vec<(ColumnId, Column)>,
}

impl Raw {
    /// All rows at these places in time, in their order, with these fields; `check` is asked at each
    /// batch whether to go on.
    pub(super) fn read(
        table: &Table,
        points: impl Iterator<Item = (u32, i64)>,
        fields: &[(ColumnId, PhysicalType)],
        verb: &str,
        check: Check<'_>,
    ) -> QueryResult<Raw> {
        let wanted: HashSet<(u32, i64)> = points.collect();
        let series: Bitmap = wanted.iter().map(|point| point.0).collect();
        let times = wanted
            .iter()
            .fold(TimeRange::EMPTY, |all, (_, time)| all.cover(&TimeRange::new(*time, *time)));
        let ids: Vec<ColumnId> = fields.iter().map(|(id, _)| *id).collect();
        let request = ScanRequest { series: Some(series), times, ..ScanRequest::all(ids.clone()) };
        let mut cells: Vec<ColumnBuilder> =
            fields.iter().map(|(_, kind)| ColumnBuilder::new(*kind, 0)).collect();
        let mut rows: Vec<(u32, i64, u32)> = Vec::new();
        let mut bytes = 0;
        for stream in &mut table.scan(request)?.streams {
            while let Some(batch) = stream.next_rows()? {
                check()?;
                let share = batch.memory() / batch.len().max(1);
                let before = rows.len();
                pick(&batch, &wanted, &mut rows, &mut cells);
                bytes += share * (rows.len() - before);
                if bytes > BYTES_MAX {
                    return Err(too_large(verb));
                }
            }
        }
        let columns = ids.into_iter().zip(cells).map(|(id, cells)| (id, cells.finish())).collect();
        Ok(Raw { rows, columns })
    }
}

fn pick(
    batch: &Rows,
    wanted: &HashSet<(u32, i64)>,
    rows: &mut Vec<(u32, i64, u32)>,
    cells: &mut [ColumnBuilder],
) {
    for run in &batch.series {
        for row in run.start..run.start + run.rows {
            let (at, time) = (row as usize, batch.times[row as usize]);
            if !wanted.contains(&(run.series, time)) {
                continue;
            }
            let nth = match rows.last() {
                Some((series, t, nth)) if (*series, *t) == (run.series, time) => nth + 1,
                _ => 0,
            };
            rows.push((run.series, time, nth));
            for ((_, column), cells) in batch.columns.iter().zip(cells.iter_mut()) {
                cells.extend_range(column, at, at + 1);
            }
        }
    }
}

/// About what a batch holds.
pub(super) fn batch_bytes(batch: &WriteBatch) -> usize {
    let columns: usize = batch.columns.iter().map(|(_, column)| column.memory()).sum();
    columns + batch.times.len() * 24
}

/// Fields of a table with the types that the engine holds them in.
pub(super) fn fields(table: &Table) -> Vec<(ColumnId, PhysicalType)> {
    table.schema().fields().map(|field| (field.id, field.kind.physical())).collect()
}
