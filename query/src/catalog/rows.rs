//! Rows of a catalogue table on their way into a batch.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, BooleanBuilder, Float32Array, Float64Array, Int16Array, Int32Array,
    Int32Builder, Int64Array, ListBuilder, RecordBatch, RecordBatchOptions, StringViewArray,
    StringViewBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::Result;

use super::T;
use crate::PG_TYPE;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum V {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Texts(Vec<String>),
    Ints(Vec<i64>),
}

impl From<&str> for V {
    fn from(v: &str) -> V {
        V::Text(v.to_string())
    }
}

impl From<String> for V {
    fn from(v: String) -> V {
        V::Text(v)
    }
}

impl From<bool> for V {
    fn from(v: bool) -> V {
        V::Bool(v)
    }
}

macro_rules! from_int {
    ($($t:ty),*) => { $(impl From<$t> for V {
        fn from(v: $t) -> V {
            V::Int(i64::try_from(v).unwrap_or(i64::MAX))
        }
    })* };
}
from_int!(i16, i32, i64, u16, u32, u64, usize);

impl From<f64> for V {
    fn from(v: f64) -> V {
        V::Float(v)
    }
}

impl<T: Into<V>> From<Option<T>> for V {
    fn from(v: Option<T>) -> V {
        v.map_or(V::Null, Into::into)
    }
}

/// Rows of one table.
pub(super) struct Rows {
    columns: &'static [(&'static str, T)],
    values: Vec<Vec<V>>,
}

impl Rows {
    pub(super) fn new(columns: &'static [(&'static str, T)]) -> Rows {
        Rows { columns, values: vec![Vec::new(); columns.len()] }
    }

    /// Appends a row of values in the order of the columns.
    pub(super) fn push<const N: usize>(&mut self, row: [V; N]) {
        debug_assert_eq!(N, self.columns.len());
        for (column, value) in self.values.iter_mut().zip(row) {
            column.push(value);
        }
    }

    /// Appends a row in which only the named columns are not NULL.
    pub(super) fn push_named(&mut self, row: Vec<(&str, V)>) {
        for ((name, _), column) in self.columns.iter().zip(&mut self.values) {
            let value = row.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
            column.push(value.unwrap_or(V::Null));
        }
        debug_assert!(
            row.iter().all(|(n, _)| self.columns.iter().any(|(c, _)| c == n)),
            "a column that the table does not have"
        );
    }

    pub(super) fn finish(self, schema: SchemaRef) -> Result<RecordBatch> {
        let count = self.values.first().map_or(0, Vec::len);
        let arrays = self
            .columns
            .iter()
            .zip(&self.values)
            .map(|((_, kind), values)| array(*kind, values))
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        Ok(RecordBatch::try_new_with_options(schema, arrays, &options)?)
    }
}

fn data_type(kind: T) -> DataType {
    match kind {
        T::Bool => DataType::Boolean,
        T::Int2 => DataType::Int16,
        T::Int4 | T::Oid => DataType::Int32,
        T::Int8 => DataType::Int64,
        T::Float4 => DataType::Float32,
        T::Float8 => DataType::Float64,
        T::Text => DataType::Utf8View,
        T::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        T::TextArray => DataType::List(Arc::new(Field::new_list_field(DataType::Utf8View, true))),
        T::IntArray => DataType::List(Arc::new(Field::new_list_field(DataType::Int32, true))),
    }
}

/// Arrow schema of catalogue columns.
pub(super) fn schema(columns: &[(&str, T)]) -> SchemaRef {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, kind)| {
            let field = Field::new(*name, data_type(*kind), true);
            match kind {
                // Drivers ask for the types of columns by number.
                T::Oid => field.with_metadata([(PG_TYPE.to_string(), "oid".to_string())].into()),
                _ => field,
            }
        })
        .collect();
    Arc::new(Schema::new(fields))
}

fn int(value: &V) -> Option<i64> {
    match value {
        V::Int(v) => Some(*v),
        _ => None,
    }
}

fn float(value: &V) -> Option<f64> {
    match value {
        V::Float(v) => Some(*v),
        V::Int(v) => Some(*v as f64),
        _ => None,
    }
}

fn array(kind: T, values: &[V]) -> ArrayRef {
    let narrow = |v: &V| int(v).map(|v| i32::try_from(v).unwrap_or(i32::MAX));
    match kind {
        T::Bool => {
            let mut out = BooleanBuilder::with_capacity(values.len());
            for value in values {
                out.append_option(match value {
                    V::Bool(v) => Some(*v),
                    _ => None,
                });
            }
            let out: BooleanArray = out.finish();
            Arc::new(out)
        }
        T::Int2 => Arc::new(Int16Array::from_iter(
            values.iter().map(|v| int(v).map(|v| i16::try_from(v).unwrap_or(i16::MAX))),
        )),
        T::Int4 | T::Oid => Arc::new(Int32Array::from_iter(values.iter().map(narrow))),
        T::Int8 => Arc::new(Int64Array::from_iter(values.iter().map(int))),
        T::Float4 => {
            Arc::new(Float32Array::from_iter(values.iter().map(|v| float(v).map(|v| v as f32))))
        }
        T::Float8 => Arc::new(Float64Array::from_iter(values.iter().map(float))),
        T::Text => Arc::new(StringViewArray::from_iter(values.iter().map(|v| match v {
            V::Text(v) => Some(v.as_str()),
            _ => None,
        }))),
        T::Time => Arc::new(
            TimestampMicrosecondArray::from_iter(values.iter().map(int)).with_timezone("+00:00"),
        ),
        T::TextArray => {
            let mut out = ListBuilder::new(StringViewBuilder::new());
            for value in values {
                match value {
                    V::Texts(items) => {
                        items.iter().for_each(|i| out.values().append_value(i));
                        out.append(true);
                    }
                    _ => out.append(false),
                }
            }
            Arc::new(out.finish())
        }
        T::IntArray => {
            let mut out = ListBuilder::new(Int32Builder::new());
            for value in values {
                match value {
                    V::Ints(items) => {
                        for item in items {
                            out.values().append_value(i32::try_from(*item).unwrap_or(i32::MAX));
                        }
                        out.append(true);
                    }
                    _ => out.append(false),
                }
            }
            Arc::new(out.finish())
        }
    }
}
