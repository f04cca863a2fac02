//! Samples out of the engine, series by series.

use tsdb::types::{Column, PhysicalType, Quality, Rows, TimeRange, Values};
use tsdb::{ScanRequest, ScanStream};

use super::account::Held;
use super::elements::NONE;
use super::labels::Labels;
use super::select::{Chosen, labels_of, named};
use super::window::Point;
use crate::error::{QueryError, QueryResult};
use crate::run::Stop;

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;

/// Gives the samples of each series, those that are stale markers as such; series come in the order in
/// which they were made, and only those with samples.
pub(super) fn scan(
    chosen: &Chosen,
    times: TimeRange,
    held: &mut Held,
    stop: &Stop,
    each: &mut dyn FnMut(&Labels, &[Point]) -> QueryResult<()>,
) -> QueryResult<()> {
    if times.is_empty() {
        return Ok(());
    }
    let scan = chosen.table.scan(ScanRequest {
        series: Some(chosen.series.clone()),
        times,
        columns: vec![chosen.field],
        bounds: Vec::new(),
        filters: Vec::new(),
        streams: 1,
        batch_rows: BATCH_ROWS,
    })?;
    let mut open = Open { chosen, series: None, points: Vec::new(), held };
    for stream in scan.streams {
        read(stream, stop, &mut open, each)?;
    }
    open.close(each)
}

fn read(
    mut stream: ScanStream,
    stop: &Stop,
    open: &mut Open<'_>,
    each: &mut dyn FnMut(&Labels, &[Point]) -> QueryResult<()>,
) -> QueryResult<()> {
    while let Some(rows) = stream.next_rows()? {
        stop.check()?;
        let numbers: Vec<u32> = rows.series.iter().map(|part| part.series).collect();
        let mut labels = labels_of(&open.chosen.table, &numbers).into_iter();
        for part in &rows.series {
            let labels = labels.next().unwrap_or_default();
            if open.series.as_ref().is_none_or(|(series, _)| *series != part.series) {
                open.close(each)?;
                open.series = Some((part.series, named(&open.chosen.name, labels)));
            }
            open.take(&rows, part.start as usize, part.rows as usize)?;
        }
    }
    Ok(())
}

/// The series that is being read.
struct Open<'a> {
    chosen: &'a Chosen,
    series: Option<(u32, Labels)>,
    points: Vec<Point>,
    held: &'a mut Held,
}

impl Open<'_> {
    fn take(&mut self, rows: &Rows, start: usize, count: usize) -> QueryResult<()> {
        let Some((_, column)) = rows.columns.first() else {
            return Err(QueryError::internal("a scan without its column"));
        };
        self.points.reserve(count);
        let bytes = self.points.capacity() * size_of::<Point>();
        self.held.grow_to(bytes, self.points.len() + count)?;
        for row in start..start + count {
            if let Some(value) = sample(column, row) {
                self.points.push(Point { time: rows.times[row], value });
            }
        }
        Ok(())
    }

    fn close(
        &mut self,
        each: &mut dyn FnMut(&Labels, &[Point]) -> QueryResult<()>,
    ) -> QueryResult<()> {
        if let Some((_, labels)) = self.series.take()
            && !self.points.is_empty()
        {
            each(&labels, &self.points)?;
        }
        self.points.clear();
        Ok(())
    }
}

/// The sample of a cell. A reading that came without a value is a stale marker.
fn sample(column: &Column, row: usize) -> Option<f64> {
    let state = column.state(row);
    if !state.is_value() {
        return (state.is_null() && state.quality() == Quality::Bad).then_some(NONE);
    }
    match &column.values {
        Values::Float(values) => Some(values[row]),
        Values::Int(values) => Some(values[row] as f64),
        Values::Bool(values) => Some(f64::from(u8::from(values[row]))),
        Values::Bytes(_) => {
            debug_assert_eq!(column.values.physical(), PhysicalType::Bytes);
            None
        }
    }
}
