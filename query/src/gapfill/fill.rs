//! The rows of one key and the buckets between them.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch,
    RecordBatchOptions, Scalar, UInt32Array,
};
use arrow::compute::{cast, kernels::zip::zip, take};
use arrow::datatypes::{DataType, Float64Type, Int64Type, SchemaRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::memory_pool::MemoryReservation;

use super::exec::ticks;
use super::{Method, Spec};
use crate::error::{QueryError, QueryResult};
use crate::functions::{Buckets, per_second};

impl Spec {
    pub(super) fn buckets(&self) -> QueryResult<Buckets> {
        Buckets::new(self.width, &self.cut, per_second(self.unit))
    }
}

/// Rows between two looks at memory.
const ROWS_AT_A_TIME: usize = 65_536;

/// The buckets that every key has.
pub(super) struct Grid {
    buckets: Buckets,
    /// First bucket, and the tick before which the last starts.
    range: Option<(i64, i64)>,
    start: Option<i64>,
    finish: Option<i64>,
    /// Buckets that may still be added.
    left: usize,
    rows_max: usize,
}

impl Grid {
    pub(super) fn new(spec: &Spec) -> Result<Grid> {
        let buckets = spec.buckets().map_err(QueryError::into_datafusion)?;
        let start = spec.start.map(|at| buckets.floor(at)).transpose();
        let start = start.map_err(QueryError::into_datafusion)?;
        Ok(Grid {
            buckets,
            range: start.zip(spec.finish),
            start,
            finish: spec.finish,
            left: spec.rows_max,
            rows_max: spec.rows_max,
        })
    }

    /// Whether the bounds are known before the rows.
    pub(super) fn is_known(&self) -> bool {
        self.range.is_some()
    }

    /// Takes what is not known from the first and last bucket that there is.
    pub(super) fn spread(&mut self, first: Option<i64>, last: Option<i64>) {
        let start = self.start.or(first);
        let finish = self.finish.or(last.map(|last| last.saturating_add(1)));
        self.range = start.zip(finish);
    }

    /// Times with the row of each, if there is one: rows ascend, those without a time come last.
    fn lay(
        &mut self,
        times: &Int64Array,
        columns: usize,
        held: &MemoryReservation,
    ) -> QueryResult<Vec<(Option<i64>, Option<u32>)>> {
        let (mut at, finish) = self.range.unwrap_or((0, 0));
        let mut out = Vec::with_capacity(times.len());
        let mut rows = (0..times.len()).peekable();
        while at < finish {
            if (out.len() + 1).is_multiple_of(ROWS_AT_A_TIME) {
                // A place, a pick and a value of each column; the caller sets it right later.
                held.try_grow(ROWS_AT_A_TIME * (32 + columns * 8))?;
            }
            let row = rows.peek().copied().filter(|row| times.is_valid(*row));
            match row.map(|row| (row, times.value(row))) {
                Some((row, time)) if time <= at => {
                    out.push((Some(time), Some(row as u32)));
                    rows.next();
                    if time < at {
                        continue;
                    }
                }
                _ => {
                    self.left = self.left.checked_sub(1).ok_or_else(|| self.too_many())?;
                    out.push((Some(at), None));
                }
            }
            at = self.buckets.next(at)?;
        }
        for row in rows {
            out.push((times.is_valid(row).then(|| times.value(row)), Some(row as u32)));
        }
        Ok(out)
    }

    fn too_many(&self) -> QueryError {
        let message = format!("filling gaps would add more than {} rows", self.rows_max);
        QueryError::new("54000", message).with_hint(
            "Narrow the time range, widen the buckets, or SET millrace.gapfill_rows_max.",
        )
    }
}

/// One key's rows with the buckets that were missing.
pub(super) fn fill(
    rows: &RecordBatch,
    spec: &Spec,
    grid: &mut Grid,
    schema: &SchemaRef,
    held: &MemoryReservation,
) -> Result<RecordBatch> {
    let times = ticks(rows, spec.time)?;
    let laid = grid.lay(times.as_primitive::<Int64Type>(), rows.num_columns(), held);
    let laid = laid.map_err(QueryError::into_datafusion)?;
    let picks: UInt32Array = laid.iter().map(|(_, row)| *row).collect();
    let first = UInt32Array::from(vec![0; if rows.num_rows() == 0 { 0 } else { laid.len() }]);
    let mut columns = Vec::with_capacity(rows.num_columns());
    for (at, column) in rows.columns().iter().enumerate() {
        let method = spec.fills.iter().find(|(filled, _)| *filled == at).map(|(_, m)| m);
        columns.push(match method {
            _ if at == spec.time => {
                let times: Int64Array = laid.iter().map(|(time, _)| *time).collect();
                cast(&(Arc::new(times) as ArrayRef), column.data_type())?
            }
            _ if spec.keys.contains(&at) => take(column, &first, None)?,
            None => take(column, &picks, None)?,
            Some(Method::Value(value)) => {
                let gaps: BooleanArray = laid.iter().map(|(_, row)| Some(row.is_none())).collect();
                let value = Scalar::new(value.cast_to(column.data_type())?.to_array()?);
                zip(&gaps, &value, &take(column, &picks, None)?)?
            }
            Some(Method::Locf { prev, nulls_missing }) => {
                let prev = prev.map(|at| rows.column(at));
                carry(column, prev, &laid, *nulls_missing)?
            }
            Some(Method::Linear { prev, next }) => {
                let edge = |at: &Option<usize>| at.map(|at| edge(rows.column(at), spec));
                let (prev, next) = (edge(prev).transpose()?, edge(next).transpose()?);
                Arc::new(interpolate(column, prev.flatten(), next.flatten(), &laid)?)
            }
        });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(laid.len()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

type Laid = [(Option<i64>, Option<u32>)];

/// Last observation carried forward.
fn carry(
    column: &ArrayRef,
    prev: Option<&ArrayRef>,
    laid: &Laid,
    nulls_missing: bool,
) -> Result<ArrayRef> {
    let mut last: Option<u32> = None;
    let (mut picks, mut before) = (Vec::with_capacity(laid.len()), Vec::with_capacity(laid.len()));
    for (_, row) in laid {
        let known = row.filter(|row| !nulls_missing || column.is_valid(*row as usize));
        last = known.or(last);
        before.push(Some(last.is_none()));
        picks.push(last);
    }
    let taken = take(column, &UInt32Array::from(picks), None)?;
    match prev {
        Some(prev) if !prev.is_empty() => {
            let value = Scalar::new(prev.slice(0, 1));
            Ok(zip(&BooleanArray::from(before), &value, &taken)?)
        }
        _ => Ok(taken),
    }
}

/// The point before or behind the grid.
fn edge(column: &ArrayRef, spec: &Spec) -> Result<Option<(i64, f64)>> {
    if column.is_empty() || column.is_null(0) {
        return Ok(None);
    }
    let Some(pair) = column.as_struct_opt() else { return Ok(None) };
    let (time, value) = (pair.column(0).slice(0, 1), pair.column(1).slice(0, 1));
    let value = cast(&value, &DataType::Float64)?;
    if time.is_null(0) || value.is_null(0) {
        return Ok(None);
    }
    let time = ScalarValue::try_from_array(&time, 0)?;
    let tick = crate::functions::ticks_of(&time, per_second(spec.unit));
    let tick = tick.map_err(QueryError::into_datafusion)?;
    Ok(Some((tick, value.as_primitive::<Float64Type>().value(0))))
}

/// Values on the lines between known ones.
fn interpolate(
    column: &ArrayRef,
    prev: Option<(i64, f64)>,
    next: Option<(i64, f64)>,
    laid: &Laid,
) -> Result<Float64Array> {
    let values = cast(column, &DataType::Float64)?;
    let values = values.as_primitive::<Float64Type>();
    let known = |row: &Option<u32>| {
        row.filter(|row| values.is_valid(*row as usize)).map(|row| values.value(row as usize))
    };
    // The next known point of each place, from the end.
    let mut after = vec![None; laid.len()];
    let mut point = next;
    for (i, (time, row)) in laid.iter().enumerate().rev() {
        after[i] = point;
        if let (Some(time), Some(value)) = (time, known(row)) {
            point = Some((*time, value));
        }
    }
    let mut before = prev;
    let mut out = Vec::with_capacity(laid.len());
    for ((time, row), after) in laid.iter().zip(after) {
        let value = known(row);
        if let (Some(time), Some(value)) = (time, value) {
            before = Some((*time, value));
        }
        out.push(value.or_else(|| {
            let ((t0, v0), (t1, v1), t) = (before?, after?, (*time)?);
            let share = (t - t0) as f64 / (t1 - t0) as f64;
            (t1 > t0).then_some(v0 + (v1 - v0) * share)
        }));
    }
    Ok(Float64Array::from(out))
}
