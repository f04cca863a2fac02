//! Rows of a COPY that come as Arrow columns.

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, StringViewArray};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampNanosecondType,
};
use tsdb::types::{ColumnType, ValueRef};

use super::sink::SeriesSink;
use crate::error::{QueryError, QueryResult};
use crate::insert::{self, Target};

/// A column of the type that its target takes.
pub(super) struct Column {
    nulls: Option<NullBuffer>,
    values: Values,
}

enum Values {
    Bool(BooleanArray),
    Int16(ScalarBuffer<i16>),
    Int32(ScalarBuffer<i32>),
    Int64(ScalarBuffer<i64>),
    Float32(ScalarBuffer<f32>),
    Float64(ScalarBuffer<f64>),
    Text(StringViewArray),
    Bytes(BinaryArray),
    /// Times, µs and ns since 1970.
    Micros(ScalarBuffer<i64>),
    Nanos(ScalarBuffer<i64>),
}

impl Column {
    /// Assigns a column to a target. `zone`: that of times without one.
    pub(super) fn new(array: &ArrayRef, target: &Target, zone: &str) -> QueryResult<Column> {
        let array = insert::assign(&crate::write_out(array)?, target, zone)?;
        let values = match target.kind {
            ColumnType::Bool => Values::Bool(array.as_boolean().clone()),
            ColumnType::Int16 => Values::Int16(array.as_primitive::<Int16Type>().values().clone()),
            ColumnType::Int32 => Values::Int32(array.as_primitive::<Int32Type>().values().clone()),
            ColumnType::Int64 => Values::Int64(array.as_primitive::<Int64Type>().values().clone()),
            ColumnType::Float32 => {
                Values::Float32(array.as_primitive::<Float32Type>().values().clone())
            }
            ColumnType::Float64 => {
                Values::Float64(array.as_primitive::<Float64Type>().values().clone())
            }
            ColumnType::Text => Values::Text(array.as_string_view().clone()),
            ColumnType::Bytes => Values::Bytes(array.as_binary::<i32>().clone()),
            ColumnType::Timestamp => match array.data_type() {
                DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                    Values::Nanos(array.as_primitive::<TimestampNanosecondType>().values().clone())
                }
                _ => Values::Micros(
                    array.as_primitive::<TimestampMicrosecondType>().values().clone(),
                ),
            },
        };
        Ok(Column { nulls: array.nulls().cloned(), values })
    }

    /// The cell of a row; `None` is NULL.
    pub(super) fn cell(&self, row: usize) -> QueryResult<Option<ValueRef<'_>>> {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return Ok(None);
        }
        Ok(Some(match &self.values {
            Values::Bool(values) => ValueRef::Bool(values.value(row)),
            Values::Int16(values) => ValueRef::Int(values[row].into()),
            Values::Int32(values) => ValueRef::Int(values[row].into()),
            Values::Int64(values) => ValueRef::Int(values[row]),
            Values::Float32(values) => ValueRef::Float(values[row].into()),
            Values::Float64(values) => ValueRef::Float(values[row]),
            Values::Text(values) => {
                let text = values.value(row).as_bytes();
                if memchr::memchr(0, text).is_some() {
                    let message = "invalid byte sequence for encoding \"UTF8\": 0x00";
                    return Err(QueryError::new("22021", message));
                }
                ValueRef::Bytes(text)
            }
            Values::Bytes(values) => ValueRef::Bytes(values.value(row)),
            Values::Nanos(values) => ValueRef::Int(values[row]),
            Values::Micros(values) => match values[row].checked_mul(1_000) {
                Some(ns) => ValueRef::Int(ns),
                None => return Err(QueryError::new("22008", "timestamp out of range")),
            },
        }))
    }
}

impl SeriesSink {
    /// The columns of rows as the targets take them.
    pub(super) fn assign(&mut self, columns: &[ArrayRef]) -> QueryResult<Vec<Column>> {
        let mut assigned = Vec::with_capacity(columns.len());
        for (at, array) in columns.iter().enumerate() {
            let new = |array: &ArrayRef| Column::new(array, &self.targets()[at], self.zone());
            match new(array) {
                Ok(column) => assigned.push(column),
                Err(error) => {
                    // The first row that has it.
                    let failing = |row: &usize| new(&array.slice(*row, 1)).is_err();
                    let row = (0..array.len()).find(failing).unwrap_or(0);
                    self.next_line(row as u64 + 1);
                    return Err(self.at_column(error, at));
                }
            }
        }
        Ok(assigned)
    }

    /// Takes rows from number `from` up to `until`, or until the batch under way is full; the
    /// number of the next.
    pub(super) fn rows(
        &mut self,
        columns: &[Column],
        from: usize,
        until: usize,
    ) -> QueryResult<usize> {
        let mut row = from;
        while row < until && !self.is_full() {
            self.next_line(1);
            for (at, column) in columns.iter().enumerate() {
                let cell = column.cell(row).map_err(|error| self.at_column(error, at))?;
                self.value(at, cell)?;
            }
            self.end_row(columns.len())?;
            row += 1;
        }
        Ok(row)
    }
}

#[cfg(test)]
mod tests;
