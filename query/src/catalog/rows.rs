//! Rows of a catalogue table on their way into a batch.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, BooleanBuilder, Float32Array, Float64Array, Int16Array, Int16Builder,
    Int32Array, Int32Builder, Int64Array, IntervalMonthDayNanoArray, ListBuilder, RecordBatch,
    RecordBatchOptions, StringViewArray, StringViewBuilder, TimestampMicrosecondArray,
    new_null_array,
};
use arrow::datatypes::{
    DataType, Field, FieldRef, IntervalMonthDayNano, IntervalUnit, Schema, SchemaRef, TimeUnit,
};
use datafusion::common::Result;

use super::T;
use super::pg::namespace;
use crate::PG_TYPE;
use crate::schema::Schemas;

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

/// Columns that say schemas, by name or number, and those with the names of what lies in them.
const NAMES: [(&str, &[&str]); 9] = [
    ("relnamespace", &["relname"]),
    ("typnamespace", &["typname"]),
    ("connamespace", &["conname"]),
    (
        "schemaname",
        &[
            "tablename",
            "viewname",
            "matviewname",
            "indexname",
            "relname",
            "indexrelname",
            "sequencename",
        ],
    ),
    ("table_schema", &["table_name"]),
    ("view_schema", &["view_name"]),
    ("sequence_schema", &["sequence_name"]),
    ("constraint_schema", &["constraint_name"]),
    ("unique_constraint_schema", &["unique_constraint_name"]),
];
/// Columns with SQL in which names may be.
const TEXTS: [&str; 9] = [
    "indexdef",
    "definition",
    "view_definition",
    "column_default",
    "adbin",
    "qual",
    "with_check",
    "polqual",
    "polwithcheck",
];

/// Rows of one table.
pub(super) struct Rows {
    columns: Vec<(&'static str, T)>,
    /// What a column holds that a row says nothing about.
    rest: Vec<V>,
    values: Vec<Vec<V>>,
}

impl Rows {
    pub(super) fn new(schema: &str, columns: &[(&'static str, T)]) -> Rows {
        // Columns of Postgres' own tables are rarely NULL: what is not there is zero.
        let zero = schema == "pg_catalog";
        let rest = columns.iter().map(|(_, kind)| if zero { nothing(*kind) } else { V::Null });
        Rows {
            columns: columns.to_vec(),
            rest: rest.collect(),
            values: vec![Vec::new(); columns.len()],
        }
    }

    /// Appends a row of values in the order of the columns.
    pub(super) fn push<const N: usize>(&mut self, row: [V; N]) {
        debug_assert_eq!(N, self.columns.len());
        for (column, value) in self.values.iter_mut().zip(row) {
            column.push(value);
        }
    }

    /// Rows that have these columns; the others are NULL, or zero in `pg_catalog`.
    pub(super) fn of<const N: usize>(&mut self, names: [&str; N]) -> Form<'_, N> {
        let mut rest: Vec<Option<V>> = self.rest.iter().cloned().map(Some).collect();
        let at = names.map(|name| {
            let at = self.columns.iter().position(|(column, _)| *column == name);
            debug_assert!(at.is_some(), "there is no column {name}");
            if let Some(slot) = at.and_then(|at| rest.get_mut(at)) {
                *slot = None;
            }
            at
        });
        Form { rows: self, at, rest }
    }

    /// Puts schemas in the place of the marks of flat names, in tables that users see.
    pub(super) fn place(&mut self, schemas: &Schemas, of: &str) {
        if schemas.list.is_empty() {
            return;
        }
        let at = |wanted: &str| self.columns.iter().position(|(name, _)| *name == wanted);
        let named: Vec<(usize, Vec<usize>)> = NAMES
            .iter()
            .filter_map(|(space, names)| {
                let names = names.iter().filter_map(|name| at(name)).collect();
                Some((at(space)?, names))
            })
            .collect();
        let texts: Vec<usize> = TEXTS.iter().filter_map(|name| at(name)).collect();
        let count = self.values.first().map_or(0, Vec::len);
        for row in 0..count {
            for (space, names) in &named {
                for name in names {
                    let V::Text(text) = &self.values[*name][row] else { continue };
                    let (Some(schema), bare) = schemas.place(text) else { continue };
                    let (shown, bare) = match self.values[*space][row] {
                        V::Int(_) => (V::Int(namespace(schema.number)), V::from(bare)),
                        _ => (V::from(schema.name.as_str()), V::from(bare)),
                    };
                    self.values[*space][row] = shown;
                    self.values[*name][row] = bare;
                }
            }
            for at in &texts {
                if let V::Text(text) = &self.values[*at][row] {
                    self.values[*at][row] = schemas.sql(text).into();
                }
            }
            if of == "sys" {
                for column in &mut self.values {
                    if let V::Text(text) = &column[row] {
                        column[row] = schemas.listed(text).into();
                    }
                }
            }
        }
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

/// Rows that have some of the columns.
pub(super) struct Form<'a, const N: usize> {
    rows: &'a mut Rows,
    at: [Option<usize>; N],
    /// What the other columns hold.
    rest: Vec<Option<V>>,
}

impl<const N: usize> Form<'_, N> {
    pub(super) fn push(&mut self, row: [V; N]) {
        for (column, value) in self.rows.values.iter_mut().zip(&self.rest) {
            column.extend(value.clone());
        }
        for (at, value) in self.at.iter().zip(row) {
            if let Some(column) = at.and_then(|at| self.rows.values.get_mut(at)) {
                column.push(value);
            }
        }
    }
}

/// Zero of a type, where Postgres' own tables are not NULL.
fn nothing(kind: T) -> V {
    match kind {
        T::Bool => V::Bool(false),
        T::Int2 | T::Int4 | T::Int8 | T::Oid | T::Number(_) => V::Int(0),
        T::Float4 | T::Float8 => V::Float(0.0),
        T::Like("char") => V::Text(String::new()),
        T::Vector(_) => V::Ints(Vec::new()),
        _ => V::Null,
    }
}

fn item(kind: DataType, name: Option<&str>) -> FieldRef {
    let field = Field::new_list_field(kind, true);
    Arc::new(match name {
        Some(name) => named(field, name),
        None => field,
    })
}

/// A field that is shown as another type than its own.
pub(crate) fn named(field: Field, name: &str) -> Field {
    field.with_metadata([(PG_TYPE.to_string(), name.to_string())].into())
}

fn data_type(kind: T) -> DataType {
    match kind {
        T::Bool => DataType::Boolean,
        T::Int2 => DataType::Int16,
        T::Int4 | T::Oid | T::Number(_) => DataType::Int32,
        T::Int8 => DataType::Int64,
        T::Float4 => DataType::Float32,
        T::Float8 => DataType::Float64,
        T::Numeric => DataType::Decimal128(38, 0),
        T::Text | T::Like(_) => DataType::Utf8View,
        T::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        T::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
        T::Bytes => DataType::Binary,
        T::TextArray => DataType::List(item(DataType::Utf8View, None)),
        T::IntArray => DataType::List(item(DataType::Int32, None)),
        T::Vector("int2vector") => DataType::List(item(DataType::Int16, None)),
        T::Vector(_) => DataType::List(item(DataType::Int32, Some("oid"))),
        T::Array("bool") => DataType::List(item(DataType::Boolean, None)),
        T::Array("int2") => DataType::List(item(DataType::Int16, None)),
        T::Array("float4") => DataType::List(item(DataType::Float32, None)),
        T::Array("float8") => DataType::List(item(DataType::Float64, None)),
        T::Array("oid") => DataType::List(item(DataType::Int32, Some("oid"))),
        T::Array(name) => DataType::List(item(DataType::Utf8View, Some(name))),
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
                T::Oid => named(field, "oid"),
                T::Like(shown) | T::Number(shown) | T::Vector(shown) => named(field, shown),
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
    if values.iter().all(|value| *value == V::Null) {
        return new_null_array(&data_type(kind), values.len());
    }
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
        T::Int4 | T::Oid | T::Number(_) => {
            Arc::new(Int32Array::from_iter(values.iter().map(narrow)))
        }
        T::Int8 => Arc::new(Int64Array::from_iter(values.iter().map(int))),
        T::Float4 => {
            Arc::new(Float32Array::from_iter(values.iter().map(|v| float(v).map(|v| v as f32))))
        }
        T::Float8 => Arc::new(Float64Array::from_iter(values.iter().map(float))),
        T::Text | T::Like(_) => {
            Arc::new(StringViewArray::from_iter(values.iter().map(|v| match v {
                V::Text(v) => Some(v.as_str()),
                _ => None,
            })))
        }
        T::Time => Arc::new(
            TimestampMicrosecondArray::from_iter(values.iter().map(int)).with_timezone("+00:00"),
        ),
        T::TextArray => texts(values, None),
        T::IntArray => ints(values, None),
        T::Vector("int2vector") => smalls(values),
        T::Vector(_) | T::Array("oid") => ints(values, Some("oid")),
        T::Array("int2") => smalls(values),
        // No table of ours has such values but NULL.
        // A number is seconds.
        T::Interval => Arc::new(IntervalMonthDayNanoArray::from_iter(values.iter().map(|value| {
            let seconds = int(value)?;
            Some(IntervalMonthDayNano::new(0, 0, seconds.saturating_mul(1_000_000_000)))
        }))),
        T::Numeric | T::Bytes | T::Array("bool" | "float4" | "float8") => {
            debug_assert!(false, "values of a column that has none");
            new_null_array(&data_type(kind), values.len())
        }
        T::Array(name) => texts(values, Some(name)),
    }
}

fn texts(values: &[V], name: Option<&str>) -> ArrayRef {
    let field = item(DataType::Utf8View, name);
    let mut out = ListBuilder::new(StringViewBuilder::new()).with_field(field);
    for value in values {
        if let V::Texts(items) = value {
            items.iter().for_each(|item| out.values().append_value(item));
        }
        out.append(matches!(value, V::Texts(_)));
    }
    Arc::new(out.finish())
}

fn ints(values: &[V], name: Option<&str>) -> ArrayRef {
    let mut out = ListBuilder::new(Int32Builder::new()).with_field(item(DataType::Int32, name));
    for value in values {
        for item in listed(value) {
            out.values().append_value(i32::try_from(*item).unwrap_or(i32::MAX));
        }
        out.append(matches!(value, V::Ints(_)));
    }
    Arc::new(out.finish())
}

fn smalls(values: &[V]) -> ArrayRef {
    let mut out = ListBuilder::new(Int16Builder::new());
    for value in values {
        for item in listed(value) {
            out.values().append_value(i16::try_from(*item).unwrap_or(i16::MAX));
        }
        out.append(matches!(value, V::Ints(_)));
    }
    Arc::new(out.finish())
}

fn listed(value: &V) -> &[i64] {
    match value {
        V::Ints(items) => items,
        _ => &[],
    }
}
