//! Values of relational tables as Arrow's arrays, and back.

use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder,
    FixedSizeBinaryArray, FixedSizeBinaryBuilder, Float32Builder, Float64Builder, Int16Builder,
    Int32Builder, Int64Builder, RecordBatch, RecordBatchOptions, StringViewBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use arrow::error::ArrowError;

use super::def::TableDef;
use super::kind::{Datum, Kind};
use super::row::Value;
use crate::error::{QueryError, QueryResult};
use crate::insert::{self, Target};
use crate::plan::uuids;
use crate::table::Source;
use crate::uuid::{UUID_BYTES, UUID_TYPE};

/// Collects the values of one column.
pub(crate) enum Builder {
    Bool(BooleanBuilder),
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Float4(Float32Builder),
    Float8(Float64Builder),
    Decimal(Decimal128Builder),
    Text(StringViewBuilder),
    Bytes(BinaryBuilder),
    Date(Date32Builder),
    Time(TimestampMicrosecondBuilder),
    Uuid(FixedSizeBinaryBuilder),
}

impl Builder {
    pub(crate) fn new(kind: Kind, zone: &str) -> Builder {
        let data_type = kind.arrow(zone);
        match kind {
            Kind::Bool => Builder::Bool(BooleanBuilder::new()),
            Kind::Int2 => Builder::Int2(Int16Builder::new()),
            Kind::Int4 => Builder::Int4(Int32Builder::new()),
            Kind::Int8 => Builder::Int8(Int64Builder::new()),
            Kind::Float4 => Builder::Float4(Float32Builder::new()),
            Kind::Float8 => Builder::Float8(Float64Builder::new()),
            Kind::Numeric(..) => {
                Builder::Decimal(Decimal128Builder::new().with_data_type(data_type))
            }
            Kind::Text | Kind::Varchar(_) | Kind::Char(_) => {
                Builder::Text(StringViewBuilder::new())
            }
            Kind::Bytes => Builder::Bytes(BinaryBuilder::new()),
            Kind::Date => Builder::Date(Date32Builder::new()),
            Kind::Uuid => Builder::Uuid(FixedSizeBinaryBuilder::new(UUID_BYTES as i32)),
            Kind::Timestamp | Kind::Timestamptz => {
                Builder::Time(TimestampMicrosecondBuilder::new().with_data_type(data_type))
            }
        }
    }

    /// Appends a value; `XX001` for one of another type.
    pub(crate) fn push(&mut self, value: Value<'_>) -> QueryResult<()> {
        let damaged = || QueryError::new("XX001", "a row holds a value of another type");
        match (self, value) {
            (Builder::Bool(b), Value::Null) => b.append_null(),
            (Builder::Int2(b), Value::Null) => b.append_null(),
            (Builder::Int4(b), Value::Null) => b.append_null(),
            (Builder::Int8(b), Value::Null) => b.append_null(),
            (Builder::Float4(b), Value::Null) => b.append_null(),
            (Builder::Float8(b), Value::Null) => b.append_null(),
            (Builder::Decimal(b), Value::Null) => b.append_null(),
            (Builder::Text(b), Value::Null) => b.append_null(),
            (Builder::Bytes(b), Value::Null) => b.append_null(),
            (Builder::Date(b), Value::Null) => b.append_null(),
            (Builder::Time(b), Value::Null) => b.append_null(),
            (Builder::Uuid(b), Value::Null) => b.append_null(),
            (Builder::Bool(b), Value::Bool(v)) => b.append_value(v),
            (Builder::Int2(b), Value::Int(v)) => {
                b.append_value(v.try_into().map_err(|_| damaged())?);
            }
            (Builder::Int4(b), Value::Int(v)) => {
                b.append_value(v.try_into().map_err(|_| damaged())?);
            }
            (Builder::Int8(b), Value::Int(v)) => b.append_value(v),
            (Builder::Float4(b), Value::Float(v)) => b.append_value(v as f32),
            (Builder::Float8(b), Value::Float(v)) => b.append_value(v),
            (Builder::Decimal(b), Value::Decimal(v)) => b.append_value(v),
            (Builder::Text(b), Value::Text(v)) => b.append_value(v),
            (Builder::Bytes(b), Value::Bytes(v)) => b.append_value(v),
            (Builder::Date(b), Value::Int(v)) => {
                b.append_value(v.try_into().map_err(|_| damaged())?);
            }
            (Builder::Time(b), Value::Int(v)) => b.append_value(v),
            (Builder::Uuid(b), Value::Uuid(v)) => b.append_value(v)?,
            _ => return Err(damaged()),
        }
        Ok(())
    }

    pub(crate) fn push_datum(&mut self, value: &Datum) -> QueryResult<()> {
        self.push(match value {
            Datum::Null => Value::Null,
            Datum::Bool(v) => Value::Bool(*v),
            Datum::Int(v) => Value::Int(*v),
            Datum::Float(v) => Value::Float(*v),
            Datum::Decimal(v) => Value::Decimal(*v),
            Datum::Text(v) => Value::Text(v),
            Datum::Bytes(v) => Value::Bytes(v),
            Datum::Uuid(v) => Value::Uuid(v),
        })
    }

    pub(crate) fn finish(&mut self) -> ArrayRef {
        match self {
            Builder::Bool(b) => Arc::new(b.finish()),
            Builder::Int2(b) => Arc::new(b.finish()),
            Builder::Int4(b) => Arc::new(b.finish()),
            Builder::Int8(b) => Arc::new(b.finish()),
            Builder::Float4(b) => Arc::new(b.finish()),
            Builder::Float8(b) => Arc::new(b.finish()),
            Builder::Decimal(b) => Arc::new(b.finish()),
            Builder::Text(b) => Arc::new(b.finish()),
            Builder::Bytes(b) => Arc::new(b.finish()),
            Builder::Date(b) => Arc::new(b.finish()),
            Builder::Time(b) => Arc::new(b.finish()),
            Builder::Uuid(b) => Arc::new(b.finish()),
        }
    }
}

/// The columns of a table as Arrow's schema.
pub(crate) fn schema(def: &TableDef, zone: &str) -> SchemaRef {
    let field = |column: &super::def::Column| column.kind.field(&column.name, true, zone);
    Arc::new(Schema::new(def.columns.iter().map(field).collect::<Vec<_>>()))
}

/// Rows as one batch, of the columns in their order.
pub(crate) fn batch<'a>(
    def: &TableDef,
    zone: &str,
    rows: impl ExactSizeIterator<Item = &'a Vec<Datum>>,
) -> QueryResult<RecordBatch> {
    let count = rows.len();
    let mut builders: Vec<Builder> =
        def.columns.iter().map(|column| Builder::new(column.kind, zone)).collect();
    for row in rows {
        for (builder, value) in builders.iter_mut().zip(row) {
            builder.push_datum(value)?;
        }
    }
    let arrays = builders.iter_mut().map(Builder::finish).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    Ok(RecordBatch::try_new_with_options(schema(def, zone), arrays, &options)?)
}

/// The values of an array by the rules of assignment to a column.
pub(crate) fn assign(
    array: &ArrayRef,
    (name, kind): (&str, Kind),
    zone: &str,
) -> QueryResult<Vec<Datum>> {
    if let Some(base) = kind.base() {
        let target =
            Target { name: name.to_string(), source: Source::Time, kind: base, not_null: false };
        let array = insert::assign(array, &target, zone)?;
        return (0..array.len())
            .map(|row| kind.of_cell(insert::cell(&array, row, base)?))
            .collect();
    }
    let from = array.data_type();
    if from.is_null() {
        return Ok(vec![Datum::Null; array.len()]);
    }
    if from.is_string() {
        return texts(array, kind, zone);
    }
    let fits = match kind {
        Kind::Numeric(..) => from.is_numeric(),
        Kind::Uuid => *from == UUID_TYPE,
        _ => matches!(from, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64),
    };
    if !fits {
        let message = format!(
            "column \"{name}\" is of type {kind} but expression is of type {}",
            uuids::shown(from)
        );
        return Err(QueryError::new("42804", message)
            .with_hint("You will need to rewrite or cast the expression."));
    }
    if let (Kind::Uuid, Some(values)) = (kind, array.as_fixed_size_binary_opt()) {
        return uuids(values);
    }
    let to = kind.arrow(zone);
    if let (Kind::Timestamp, DataType::Timestamp(_, Some(_))) = (kind, from) {
        return local_times(array, zone);
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let array = cast_with_options(array, &to, &options).map_err(|error| overflow(error, kind))?;
    // What was computed may have more digits than its type says.
    if let (Kind::Numeric(p, _), Some(found)) = (kind, array.as_primitive_opt::<Decimal128Type>()) {
        found.validate_decimal_precision(p).map_err(|error| overflow(error, kind))?;
    }
    let value = |row: usize| match kind {
        _ if array.is_null(row) => Datum::Null,
        Kind::Numeric(..) => Datum::Decimal(array.as_primitive::<Decimal128Type>().value(row)),
        Kind::Date => Datum::Int(array.as_primitive::<Date32Type>().value(row).into()),
        _ => Datum::Int(array.as_primitive::<TimestampMicrosecondType>().value(row)),
    };
    Ok((0..array.len()).map(value).collect())
}

/// The values of an array of sixteen bytes each.
fn uuids(values: &FixedSizeBinaryArray) -> QueryResult<Vec<Datum>> {
    let one = |value: Option<&[u8]>| {
        let Some(value) = value else { return Ok(Datum::Null) };
        let value = value.try_into().map_err(QueryError::internal)?;
        Ok(Datum::Uuid(value))
    };
    values.iter().map(one).collect()
}

fn overflow(error: ArrowError, kind: Kind) -> QueryError {
    match kind {
        Kind::Numeric(p, s) => super::kind::numeric_overflow(p, s),
        _ => error.into(),
    }
}

fn texts(array: &ArrayRef, kind: Kind, zone: &str) -> QueryResult<Vec<Datum>> {
    let tz = parse_zone(zone)?;
    let array = arrow::compute::cast(array, &DataType::Utf8View)?;
    let texts = array.as_string_view();
    let one = |text: Option<&str>| text.map_or(Ok(Datum::Null), |text| kind.parse(text, &tz));
    texts.iter().map(one).collect()
}

/// Times with a zone as the session's clock shows them.
fn local_times(array: &ArrayRef, zone: &str) -> QueryResult<Vec<Datum>> {
    let tz = parse_zone(zone)?;
    let micros = DataType::Timestamp(TimeUnit::Microsecond, Some(zone.into()));
    let array = arrow::compute::cast(array, &micros)?;
    let times = array.as_primitive::<TimestampMicrosecondType>();
    let one = |micros: Option<i64>| {
        let Some(micros) = micros else { return Ok(Datum::Null) };
        let time = chrono::DateTime::from_timestamp_micros(micros);
        let time = time.ok_or_else(|| QueryError::new("22008", "timestamp out of range"))?;
        Ok(Datum::Int(time.with_timezone(&tz).naive_local().and_utc().timestamp_micros()))
    };
    times.iter().map(one).collect()
}

pub(crate) fn parse_zone(zone: &str) -> QueryResult<Tz> {
    zone.parse().map_err(|error| QueryError::internal(format!("zone {zone}: {error}")))
}
