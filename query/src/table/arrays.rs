//! Rows of the engine as Arrow batches.
//!
//! Numbers of 64 bits are not copied, whether they were made for the batch or are held decoded. A key
//! column is the few distinct values of the batch and one 16-byte view a row; no text is copied a row.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Float32Array, Float64Array, Int16Array, Int32Array,
    Int64Array, RecordBatch, RecordBatchOptions, StringArray, StringViewArray,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::take;
use arrow::datatypes::{ArrowNativeType, DataType, SchemaRef, ToByteSlice};
use bytes::Bytes;
use datafusion::common::Result;
use parking_lot::Mutex;
use tsdb::series::SeriesIndex;
use tsdb::types::{
    BytesColumn, CellState, Column, ColumnType, Key, Quality, SeriesRows, Value, Values,
};
use tsdb::{Batch, Cells};

use super::{SeriesTable, Source};
use crate::error::QueryError;

/// Names of the qualities, in the order of their numbers.
static QUALITIES: LazyLock<StringViewArray> = LazyLock::new(|| {
    let all = [Quality::Good, Quality::Uncertain, Quality::Bad];
    StringViewArray::from_iter_values(all.iter().map(|q| q.name()))
});

/// Turns rows of one table into batches of a projection of its columns.
pub(super) struct BatchBuilder {
    sources: Vec<Source>,
    types: Vec<DataType>,
    schema: SchemaRef,
    zone: String,
    /// Series, time and place of the last row, to count rows of one time on.
    last: Mutex<Option<(u32, i64, u32)>>,
}

fn corrupt(what: impl std::fmt::Display) -> datafusion::error::DataFusionError {
    QueryError::new("XX001", format!("corrupt data: {what}")).into_datafusion()
}

/// ns to the µs that SQL shows.
pub(crate) fn micros(ns: i64) -> i64 {
    ns.div_euclid(1_000)
}

impl BatchBuilder {
    pub(super) fn new(table: &SeriesTable, projection: &[usize], schema: SchemaRef) -> Self {
        let sources = projection.iter().map(|i| table.sources[*i]).collect();
        let types = schema.fields().iter().map(|f| f.data_type().clone()).collect();
        let zone = match table.schema.field(0).data_type() {
            DataType::Timestamp(_, Some(zone)) => zone.to_string(),
            _ => "+00:00".to_string(),
        };
        BatchBuilder { sources, types, schema, zone, last: Mutex::new(None) }
    }

    /// One batch of all rows.
    pub(super) fn build(&self, batch: Batch, index: &SeriesIndex) -> Result<RecordBatch> {
        let count = batch.len();
        let Batch { series, times, mut columns } = batch;
        let numbers: Vec<u32> = series.iter().map(|s| s.series).collect();
        let mut identity = self.identity(&series, &times);
        let mut times = Some(times);
        let mut time_array: Option<ArrayRef> = None;
        let mut arrays = Vec::with_capacity(self.sources.len());
        for (at, source) in self.sources.iter().enumerate() {
            let array = match *source {
                Source::Time => {
                    if let Some(times) = times.take() {
                        time_array = Some(time_column(times, &self.zone));
                    }
                    time_array.clone().ok_or_else(|| corrupt("no times"))?
                }
                Source::Key(id, kind) => {
                    let (codes, values) = index.values_of(id, &numbers);
                    let values = key_values(kind, &values, &self.zone, false)?;
                    spread(&values, &codes, &series, count)?
                }
                Source::Field(id, kind) => {
                    let slot = columns.iter().position(|(c, _)| *c == id);
                    let slot = slot.ok_or_else(|| corrupt("a scan left a column out"))?;
                    // The quality column of the same field still needs the states.
                    let nothing = || Cells::Own(Column::good(Values::defaults(kind.physical(), 0)));
                    let cells = match self.wants_again(at, id) {
                        true => columns[slot].1.clone(),
                        false => std::mem::replace(&mut columns[slot].1, nothing()),
                    };
                    field(cells, kind, &self.types[at])?
                }
                Source::Series | Source::Nanos | Source::Nth => {
                    identity.pop_front().ok_or_else(|| corrupt("an identity is missing"))?
                }
                Source::Quality(id) => {
                    let cells = columns.iter().find(|(c, _)| *c == id).map(|(_, c)| c);
                    qualities(cells.ok_or_else(|| corrupt("a scan left a column out"))?)?
                }
            };
            arrays.push(array);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)?)
    }

    /// The columns of identity that are wanted, in their order.
    fn identity(&self, series: &[SeriesRows], times: &[i64]) -> VecDeque<ArrayRef> {
        let each = |run: &SeriesRows| std::iter::repeat_n(run.series, run.rows as usize);
        let column = |source: &Source| -> Option<ArrayRef> {
            Some(match source {
                Source::Series => {
                    Arc::new(UInt32Array::from_iter_values(series.iter().flat_map(each)))
                }
                Source::Nanos => Arc::new(Int64Array::from(times.to_vec())),
                Source::Nth => {
                    let mut last = self.last.lock();
                    let places = series.iter().flat_map(each).zip(times).map(|(series, time)| {
                        let place = match *last {
                            Some((s, t, place)) if (s, t) == (series, *time) => place + 1,
                            _ => 0,
                        };
                        *last = Some((series, *time, place));
                        place
                    });
                    Arc::new(UInt32Array::from_iter_values(places))
                }
                _ => return None,
            })
        };
        self.sources.iter().filter_map(column).collect()
    }

    fn wants_again(&self, at: usize, id: u16) -> bool {
        self.sources[at + 1..].iter().any(|s| match s {
            Source::Field(other, _) | Source::Quality(other) => *other == id,
            _ => false,
        })
    }
}

pub(crate) fn time_column(times: Vec<i64>, zone: &str) -> ArrayRef {
    let micros: Vec<i64> = times.into_iter().map(micros).collect();
    Arc::new(TimestampMicrosecondArray::from(micros).with_timezone(zone))
}

/// Distinct values of a key column as an array, with a NULL behind them where asked.
pub(crate) fn key_values(
    kind: ColumnType,
    values: &[Vec<u8>],
    zone: &str,
    null: bool,
) -> Result<ArrayRef> {
    if kind == ColumnType::Text {
        let mut texts = Vec::with_capacity(values.len() + 1);
        for value in values {
            texts.push(Some(std::str::from_utf8(value).map_err(corrupt)?));
        }
        texts.extend(null.then_some(None));
        return Ok(Arc::new(StringViewArray::from_iter(texts)));
    }
    if kind == ColumnType::Bytes {
        let all = values.iter().map(|v| Some(v.as_slice())).chain(null.then_some(None));
        return Ok(Arc::new(BinaryArray::from_iter(all)));
    }
    let mut decoded = Vec::with_capacity(values.len() + 1);
    for value in values {
        let value = Key::decode_value(kind, value).ok_or_else(|| corrupt("a key's value"))?;
        decoded.push(Some(value));
    }
    decoded.extend(null.then_some(None));
    let int = |v: &Option<Value>| match v {
        Some(Value::Int(v)) => Some(*v),
        _ => None,
    };
    let float = |v: &Option<Value>| match v {
        Some(Value::Float(v)) => Some(*v),
        _ => None,
    };
    Ok(match kind {
        ColumnType::Int16 => {
            Arc::new(Int16Array::from_iter(decoded.iter().map(|v| int(v).map(|v| v as i16))))
        }
        ColumnType::Int32 => {
            Arc::new(Int32Array::from_iter(decoded.iter().map(|v| int(v).map(|v| v as i32))))
        }
        ColumnType::Int64 => Arc::new(Int64Array::from_iter(decoded.iter().map(int))),
        ColumnType::Timestamp => {
            let micros = decoded.iter().map(|v| int(v).map(micros));
            Arc::new(TimestampMicrosecondArray::from_iter(micros).with_timezone(zone))
        }
        ColumnType::Float32 => {
            Arc::new(Float32Array::from_iter(decoded.iter().map(|v| float(v).map(|v| v as f32))))
        }
        ColumnType::Float64 => Arc::new(Float64Array::from_iter(decoded.iter().map(float))),
        ColumnType::Bool => Arc::new(BooleanArray::from_iter(decoded.iter().map(|v| match v {
            Some(Value::Bool(v)) => Some(*v),
            _ => None,
        }))),
        ColumnType::Text | ColumnType::Bytes => return Err(corrupt("a key's type")),
    })
}

/// One value a row out of one value a series; `u32::MAX` is NULL.
fn spread(
    values: &ArrayRef,
    codes: &[u32],
    series: &[SeriesRows],
    count: usize,
) -> Result<ArrayRef> {
    let missing = codes.contains(&u32::MAX);
    let mut picks = Vec::with_capacity(count);
    for (code, run) in codes.iter().zip(series) {
        // A NULL still needs an index; the validity below hides it.
        let pick = if *code == u32::MAX { 0 } else { *code };
        picks.resize(picks.len() + run.rows as usize, pick);
    }
    if values.is_empty() {
        return Ok(arrow::array::new_null_array(values.data_type(), count));
    }
    let nulls = missing.then(|| {
        let mut valid = Vec::with_capacity(count);
        for (code, run) in codes.iter().zip(series) {
            valid.resize(valid.len() + run.rows as usize, *code != u32::MAX);
        }
        NullBuffer::from(valid)
    });
    let picks = UInt32Array::try_new(ScalarBuffer::from(picks), nulls)?;
    Ok(take(values, &picks, None)?)
}

/// A field with NULL where its cell holds no value. What is held in 64 bits there as here is not
/// copied.
fn field(cells: Cells, kind: ColumnType, target: &DataType) -> Result<ArrayRef> {
    let nulls = cells.states().and_then(|states| {
        let valid = BooleanBuffer::collect_bool(states.len(), |i| CellState(states[i]).is_value());
        let nulls = NullBuffer::new(valid);
        (nulls.null_count() > 0).then_some(nulls)
    });
    let (values, rows) = cells.values();
    Ok(match (values, kind) {
        (Values::Int(_), ColumnType::Int64) => Arc::new(Int64Array::try_new(words(cells), nulls)?),
        (Values::Int(v), ColumnType::Int32) => {
            let v: Vec<i32> = v[rows].iter().map(|v| *v as i32).collect();
            Arc::new(Int32Array::try_new(ScalarBuffer::from(v), nulls)?)
        }
        (Values::Int(v), ColumnType::Int16) => {
            let v: Vec<i16> = v[rows].iter().map(|v| *v as i16).collect();
            Arc::new(Int16Array::try_new(ScalarBuffer::from(v), nulls)?)
        }
        (Values::Int(v), ColumnType::Timestamp) => {
            let v: Vec<i64> = v[rows].iter().copied().map(micros).collect();
            let array = TimestampMicrosecondArray::try_new(ScalarBuffer::from(v), nulls)?;
            Arc::new(array.with_data_type(target.clone()))
        }
        (Values::Float(_), ColumnType::Float64) => {
            Arc::new(Float64Array::try_new(words(cells), nulls)?)
        }
        (Values::Float(v), ColumnType::Float32) => {
            let v: Vec<f32> = v[rows].iter().map(|v| *v as f32).collect();
            Arc::new(Float32Array::try_new(ScalarBuffer::from(v), nulls)?)
        }
        (Values::Bool(v), ColumnType::Bool) => {
            let bits = BooleanBuffer::collect_bool(rows.len(), |i| v[rows.start + i]);
            Arc::new(BooleanArray::new(bits, nulls))
        }
        (Values::Bytes(_), ColumnType::Text) => texts(own_bytes(cells), nulls)?,
        (Values::Bytes(_), ColumnType::Bytes) => {
            let (offsets, data) = bytes(own_bytes(cells))?;
            Arc::new(BinaryArray::try_new(offsets, data, nulls)?)
        }
        // A column that was widened keeps older integers as integers until they are merged.
        (Values::Int(_), ColumnType::Float64 | ColumnType::Float32) => {
            let Column { values, states } = cells.into_column();
            let values = values.widen_to(kind.physical());
            return field(Cells::Own(Column { values, states }), kind, target);
        }
        (values, kind) => {
            return Err(corrupt(format!("{:?} in a column of type {kind}", values.physical())));
        }
    })
}

/// Values of 64 bits as they are; those that are held stay where they are.
fn words<T: ArrowNativeType>(cells: Cells) -> ScalarBuffer<T> {
    struct Held(Arc<Column>, Range<usize>);
    impl AsRef<[u8]> for Held {
        fn as_ref(&self) -> &[u8] {
            match &self.0.values {
                Values::Int(v) => v[self.1.clone()].to_byte_slice(),
                Values::Float(v) => v[self.1.clone()].to_byte_slice(),
                Values::Bool(_) | Values::Bytes(_) => &[],
            }
        }
    }
    let count = cells.len();
    let buffer = match cells {
        Cells::Own(Column { values: Values::Int(v), .. }) => Buffer::from_vec(v),
        Cells::Own(Column { values: Values::Float(v), .. }) => Buffer::from_vec(v),
        Cells::Own(_) => Buffer::default(),
        Cells::Held(column, rows) => Buffer::from(Bytes::from_owner(Held(column, rows))),
    };
    ScalarBuffer::new(buffer, 0, count)
}

fn own_bytes(cells: Cells) -> BytesColumn {
    match cells.into_column().values {
        Values::Bytes(column) => column,
        Values::Int(_) | Values::Float(_) | Values::Bool(_) => BytesColumn::default(),
    }
}

fn texts(column: BytesColumn, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    let (offsets, data) = bytes(column)?;
    let array = StringArray::try_new(offsets, data, nulls).map_err(corrupt)?;
    Ok(Arc::new(StringViewArray::from(&array)))
}

fn bytes(column: BytesColumn) -> Result<(OffsetBuffer<i32>, Buffer)> {
    if i32::try_from(column.data.len()).is_err() {
        return Err(corrupt("more than 2 GiB of text in one batch"));
    }
    let offsets: Vec<i32> = column.offsets.iter().map(|o| *o as i32).collect();
    Ok((OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(column.data)))
}

/// Quality of each cell by name; NULL for absent cells.
fn qualities(cells: &Cells) -> Result<ArrayRef> {
    let count = cells.len();
    let picks: UInt32Array = match cells.states() {
        None => UInt32Array::from(vec![0; count]),
        Some(states) => states
            .iter()
            .map(|s| {
                let state = CellState(*s);
                (!state.is_absent()).then(|| state.quality() as u32)
            })
            .collect(),
    };
    Ok(take(&*QUALITIES, &picks, None)?)
}
