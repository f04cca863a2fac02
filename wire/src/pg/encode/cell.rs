//! A writer for the cells of one column, chosen by Arrow type, Postgres type and format.

use std::fmt::Write;

use arrow::array::*;
use arrow::datatypes::*;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use query::{QueryError, QueryResult};

use super::super::backend::error;
use super::super::types::{self, is_register, oid};
use super::Format;
use query::text::number::{
    has_open_scale, put_decimal, put_float4, put_float8, put_integer, put_numeric_binary,
    put_open_decimal,
};
use query::text::put_bytea;
use query::text::time::{self, Interval, MICROS_PER_DAY, MICROS_PER_SECOND};
use query::text::zone::{Zone, ZoneCursor};

/// Appends the value of a row that is not null, without its length.
pub type Writer<'a> = Box<dyn Fn(usize, &mut Vec<u8>) + 'a>;

fn typed<T: Array + 'static>(array: &dyn Array) -> QueryResult<&T> {
    array
        .as_any()
        .downcast_ref::<T>()
        .ok_or_else(|| error("XX000", format!("an array that is no {}", array.data_type())))
}

fn primitive<T: ArrowPrimitiveType>(array: &dyn Array) -> QueryResult<&PrimitiveArray<T>> {
    typed(array)
}

/// Chooses the writer of a column.
///
/// # Errors
/// XX000 when the array does not have the type it says.
pub fn writer<'a>(
    array: &'a dyn Array,
    pg_type: u32,
    format: Format,
    zone: &'a Zone,
) -> QueryResult<Writer<'a>> {
    match array.data_type() {
        DataType::Boolean => booleans(typed(array)?, format),
        DataType::Int8 => integers::<Int8Type>(array, pg_type, format),
        DataType::Int16 => integers::<Int16Type>(array, pg_type, format),
        DataType::Int32 => integers::<Int32Type>(array, pg_type, format),
        DataType::Int64 => integers::<Int64Type>(array, pg_type, format),
        DataType::UInt8 => integers::<UInt8Type>(array, pg_type, format),
        DataType::UInt16 => integers::<UInt16Type>(array, pg_type, format),
        DataType::UInt32 => integers::<UInt32Type>(array, pg_type, format),
        DataType::UInt64 => integers::<UInt64Type>(array, pg_type, format),
        DataType::Float16 => {
            let values = primitive::<Float16Type>(array)?;
            Ok(float4(move |row| values.value(row).to_f32(), format))
        }
        DataType::Float32 => {
            let values = primitive::<Float32Type>(array)?;
            Ok(float4(move |row| values.value(row), format))
        }
        DataType::Float64 => floats8(primitive(array)?, format),
        DataType::Utf8 => Ok(text(typed::<StringArray>(array)?)),
        DataType::LargeUtf8 => Ok(text(typed::<LargeStringArray>(array)?)),
        DataType::Utf8View => Ok(text(typed::<StringViewArray>(array)?)),
        DataType::Binary => Ok(bytes(typed::<BinaryArray>(array)?, format)),
        DataType::LargeBinary => Ok(bytes(typed::<LargeBinaryArray>(array)?, format)),
        DataType::BinaryView => Ok(bytes(typed::<BinaryViewArray>(array)?, format)),
        uuid if *uuid == query::UUID_TYPE && format == Format::Text => {
            let values = typed::<FixedSizeBinaryArray>(array)?;
            Ok(Box::new(move |row, out| query::put_uuid(out, values.value(row))))
        }
        DataType::FixedSizeBinary(_) => Ok(bytes(typed::<FixedSizeBinaryArray>(array)?, format)),
        DataType::Decimal32(_, scale) => {
            decimals::<Decimal32Type>(array, *scale, put_decimal, format)
        }
        DataType::Decimal64(_, scale) => {
            decimals::<Decimal64Type>(array, *scale, put_decimal, format)
        }
        DataType::Decimal128(precision, scale) => {
            let put =
                if has_open_scale(*precision, *scale) { put_open_decimal } else { put_decimal };
            decimals::<Decimal128Type>(array, *scale, put, format)
        }
        DataType::Decimal256(_, scale) => {
            decimals::<Decimal256Type>(array, *scale, put_decimal, format)
        }
        DataType::Dictionary(..) => dictionary(array, pg_type, format, zone),
        // Every row of such a column is null; the writer is never called.
        DataType::Null => Ok(Box::new(|_, _| {})),
        DataType::List(_) => lists::<i32>(array, pg_type, format, zone),
        DataType::LargeList(_) => lists::<i64>(array, pg_type, format, zone),
        DataType::FixedSizeList(..) => fixed_lists(array, pg_type, format, zone),
        _ => times(array, format, zone),
    }
}

fn booleans(values: &BooleanArray, format: Format) -> QueryResult<Writer<'_>> {
    Ok(match format {
        Format::Text => {
            Box::new(move |row, out| out.push(if values.value(row) { b't' } else { b'f' }))
        }
        Format::Binary => Box::new(move |row, out| out.push(u8::from(values.value(row)))),
    })
}

/// Whole numbers. The Postgres type, not the array's, decides the width in binary.
fn integers<'a, T>(array: &'a dyn Array, pg_type: u32, format: Format) -> QueryResult<Writer<'a>>
where
    T: ArrowPrimitiveType,
    T::Native: itoa::Integer + Into<i128> + Copy,
{
    let values = primitive::<T>(array)?;
    if format == Format::Text {
        return Ok(Box::new(move |row, out| put_integer(out, values.value(row))));
    }
    let pg_type = if is_register(pg_type) { oid::OID } else { pg_type };
    let wide = move |row: usize| -> i128 { values.value(row).into() };
    Ok(match pg_type {
        oid::INT2 => {
            Box::new(move |row, out| out.extend_from_slice(&(wide(row) as i16).to_be_bytes()))
        }
        oid::INT4 | oid::OID | oid::XID | oid::CID => {
            Box::new(move |row, out| out.extend_from_slice(&(wide(row) as i32).to_be_bytes()))
        }
        oid::INT8 => {
            Box::new(move |row, out| out.extend_from_slice(&(wide(row) as i64).to_be_bytes()))
        }
        _ => Box::new(move |row, out| {
            put_numeric_binary(out, itoa::Buffer::new().format(wide(row)).as_bytes());
        }),
    })
}

fn float4<'a>(value: impl Fn(usize) -> f32 + 'a, format: Format) -> Writer<'a> {
    match format {
        Format::Text => Box::new(move |row, out| put_float4(out, value(row))),
        Format::Binary => {
            Box::new(move |row, out| out.extend_from_slice(&value(row).to_be_bytes()))
        }
    }
}

fn floats8(values: &Float64Array, format: Format) -> QueryResult<Writer<'_>> {
    Ok(match format {
        Format::Text => Box::new(move |row, out| put_float8(out, values.value(row))),
        Format::Binary => {
            Box::new(move |row, out| out.extend_from_slice(&values.value(row).to_be_bytes()))
        }
    })
}

fn text<'a, T>(values: &'a T) -> Writer<'a>
where
    &'a T: ArrayAccessor<Item = &'a str> + 'a,
{
    Box::new(move |row, out| out.extend_from_slice(values.value(row).as_bytes()))
}

fn bytes<'a, T>(values: &'a T, format: Format) -> Writer<'a>
where
    &'a T: ArrayAccessor<Item = &'a [u8]> + 'a,
{
    match format {
        Format::Text => Box::new(move |row, out| put_bytea(out, values.value(row))),
        Format::Binary => Box::new(move |row, out| out.extend_from_slice(values.value(row))),
    }
}

fn decimals<'a, T>(
    array: &'a dyn Array,
    scale: i8,
    put: fn(&mut Vec<u8>, &str, i8),
    format: Format,
) -> QueryResult<Writer<'a>>
where
    T: DecimalType,
    T::Native: std::fmt::Display,
{
    let values = primitive::<T>(array)?;
    Ok(match format {
        Format::Text => Box::new(move |row, out| put(out, &values.value(row).to_string(), scale)),
        Format::Binary => Box::new(move |row, out| {
            let mut written = Vec::with_capacity(48);
            put(&mut written, &values.value(row).to_string(), scale);
            put_numeric_binary(out, &written);
        }),
    })
}

fn dictionary<'a>(
    array: &'a dyn Array,
    pg_type: u32,
    format: Format,
    zone: &'a Zone,
) -> QueryResult<Writer<'a>> {
    macro_rules! by_key {
        ($($key:ident),*) => {
            $(if let Some(found) = array.as_any().downcast_ref::<DictionaryArray<$key>>() {
                let write = writer(found.values().as_ref(), pg_type, format, zone)?;
                let keys = found.keys();
                return Ok(Box::new(move |row, out| write(keys.value(row) as usize, out)));
            })*
        };
    }
    by_key!(
        Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type
    );
    Err(error("XX000", format!("unknown dictionary {}", array.data_type())))
}

/// Dates, times, intervals, and last the types that Postgres has no name for.
fn times<'a>(array: &'a dyn Array, format: Format, zone: &'a Zone) -> QueryResult<Writer<'a>> {
    let micros: Box<dyn Fn(usize) -> i64 + 'a> = match array.data_type() {
        DataType::Timestamp(unit, time_zone) => {
            let micros = timestamps(array, unit)?;
            return Ok(match time_zone {
                Some(_) => timestamptz(micros, format, zone),
                None => timestamp(micros, format),
            });
        }
        DataType::Date64 => {
            let values = primitive::<Date64Type>(array)?;
            let micros = move |row: usize| saturating(values.value(row), 1_000);
            return Ok(timestamp(Box::new(micros), format));
        }
        DataType::Date32 => return Ok(dates(primitive(array)?, format)),
        DataType::Interval(_) | DataType::Duration(_) => {
            return Ok(intervals(interval_of(array)?, format));
        }
        DataType::Time32(TimeUnit::Second) => {
            let values = primitive::<Time32SecondType>(array)?;
            Box::new(move |row| i64::from(values.value(row)) * MICROS_PER_SECOND)
        }
        DataType::Time32(_) => {
            let values = primitive::<Time32MillisecondType>(array)?;
            Box::new(move |row| i64::from(values.value(row)) * 1_000)
        }
        DataType::Time64(TimeUnit::Nanosecond) => {
            let values = primitive::<Time64NanosecondType>(array)?;
            Box::new(move |row| values.value(row).div_euclid(1_000))
        }
        DataType::Time64(_) => {
            let values = primitive::<Time64MicrosecondType>(array)?;
            Box::new(move |row| values.value(row))
        }
        _ => return displayed(array),
    };
    Ok(match format {
        // A reading outside one day has no time of day; it is shown within the day.
        Format::Text => Box::new(move |row, out| {
            time::put_time_of_day(out, micros(row).rem_euclid(MICROS_PER_DAY));
        }),
        Format::Binary => {
            Box::new(move |row, out| out.extend_from_slice(&micros(row).to_be_bytes()))
        }
    })
}

fn saturating(value: i64, factor: i64) -> i64 {
    value.saturating_mul(factor)
}

/// Microseconds from 1970-01-01. Nanoseconds round down; what does not fit becomes infinity.
fn timestamps<'a>(
    array: &'a dyn Array,
    unit: &TimeUnit,
) -> QueryResult<Box<dyn Fn(usize) -> i64 + 'a>> {
    Ok(match unit {
        TimeUnit::Second => {
            let values = primitive::<TimestampSecondType>(array)?;
            Box::new(move |row| saturating(values.value(row), MICROS_PER_SECOND))
        }
        TimeUnit::Millisecond => {
            let values = primitive::<TimestampMillisecondType>(array)?;
            Box::new(move |row| saturating(values.value(row), 1_000))
        }
        TimeUnit::Microsecond => {
            let values = primitive::<TimestampMicrosecondType>(array)?;
            Box::new(move |row| values.value(row))
        }
        TimeUnit::Nanosecond => {
            let values = primitive::<TimestampNanosecondType>(array)?;
            Box::new(move |row| values.value(row).div_euclid(1_000))
        }
    })
}

fn timestamptz<'a>(
    micros: Box<dyn Fn(usize) -> i64 + 'a>,
    format: Format,
    zone: &'a Zone,
) -> Writer<'a> {
    let cursor = ZoneCursor::new(zone);
    match format {
        Format::Text => Box::new(move |row, out| time::put_timestamptz(out, micros(row), &cursor)),
        Format::Binary => binary_timestamp(micros),
    }
}

fn timestamp<'a>(micros: Box<dyn Fn(usize) -> i64 + 'a>, format: Format) -> Writer<'a> {
    match format {
        Format::Text => Box::new(move |row, out| time::put_timestamp(out, micros(row))),
        Format::Binary => binary_timestamp(micros),
    }
}

fn binary_timestamp<'a>(micros: Box<dyn Fn(usize) -> i64 + 'a>) -> Writer<'a> {
    Box::new(move |row, out| {
        let shifted = match micros(row) {
            infinite @ (i64::MAX | i64::MIN) => infinite,
            finite => finite.saturating_sub(time::POSTGRES_EPOCH_MICROS),
        };
        out.extend_from_slice(&shifted.to_be_bytes());
    })
}

fn dates(values: &Date32Array, format: Format) -> Writer<'_> {
    match format {
        Format::Text => Box::new(move |row, out| time::put_date(out, values.value(row))),
        Format::Binary => Box::new(move |row, out| {
            let shifted = match values.value(row) {
                infinite @ (i32::MAX | i32::MIN) => infinite,
                finite => finite.saturating_sub(time::POSTGRES_EPOCH_DAYS),
            };
            out.extend_from_slice(&shifted.to_be_bytes());
        }),
    }
}

fn interval_of<'a>(array: &'a dyn Array) -> QueryResult<Box<dyn Fn(usize) -> Interval + 'a>> {
    let of_micros = Interval::of_micros;
    Ok(match array.data_type() {
        DataType::Interval(IntervalUnit::YearMonth) => {
            let values = primitive::<IntervalYearMonthType>(array)?;
            Box::new(move |row| Interval { months: values.value(row), days: 0, micros: 0 })
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            let values = primitive::<IntervalDayTimeType>(array)?;
            Box::new(move |row| {
                let value = values.value(row);
                let micros = i64::from(value.milliseconds) * 1_000;
                Interval { months: 0, days: value.days, micros }
            })
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let values = primitive::<IntervalMonthDayNanoType>(array)?;
            Box::new(move |row| {
                let value = values.value(row);
                // Towards zero, so that a negative interval keeps the size of its positive twin.
                let micros = value.nanoseconds / 1_000;
                Interval { months: value.months, days: value.days, micros }
            })
        }
        DataType::Duration(TimeUnit::Second) => {
            let values = primitive::<DurationSecondType>(array)?;
            Box::new(move |row| of_micros(saturating(values.value(row), MICROS_PER_SECOND)))
        }
        DataType::Duration(TimeUnit::Millisecond) => {
            let values = primitive::<DurationMillisecondType>(array)?;
            Box::new(move |row| of_micros(saturating(values.value(row), 1_000)))
        }
        DataType::Duration(TimeUnit::Microsecond) => {
            let values = primitive::<DurationMicrosecondType>(array)?;
            Box::new(move |row| of_micros(values.value(row)))
        }
        _ => {
            let values = primitive::<DurationNanosecondType>(array)?;
            Box::new(move |row| of_micros(values.value(row) / 1_000))
        }
    })
}

fn intervals<'a>(value: Box<dyn Fn(usize) -> Interval + 'a>, format: Format) -> Writer<'a> {
    match format {
        Format::Text => Box::new(move |row, out| time::put_interval(out, value(row))),
        Format::Binary => Box::new(move |row, out| {
            let interval = value(row);
            out.extend_from_slice(&interval.micros.to_be_bytes());
            out.extend_from_slice(&interval.days.to_be_bytes());
            out.extend_from_slice(&interval.months.to_be_bytes());
        }),
    }
}

/// Types without a Postgres twin (structs, maps, unions), as text in both formats.
fn displayed<'a>(array: &'a dyn Array) -> QueryResult<Writer<'a>> {
    static OPTIONS: FormatOptions<'static> = FormatOptions::new();
    let of_arrow = |source: ArrowError| -> QueryError {
        error("0A000", format!("values of type {} cannot be shown: {source}", array.data_type()))
    };
    let formatter = ArrayFormatter::try_new(array, &OPTIONS).map_err(of_arrow)?;
    Ok(Box::new(move |row, out| {
        let mut shown = String::new();
        // Writing to a String fails only where the value itself does; then its text says so.
        if write!(shown, "{}", formatter.value(row)).is_err() {
            shown.push_str("(value cannot be shown)");
        }
        out.extend_from_slice(shown.as_bytes());
    }))
}

fn lists<'a, O: OffsetSizeTrait>(
    array: &'a dyn Array,
    pg_type: u32,
    format: Format,
    zone: &'a Zone,
) -> QueryResult<Writer<'a>> {
    let Some(element) = types::element_of(pg_type) else {
        return displayed(array);
    };
    let shape = Shape::of(pg_type, element);
    let lists = typed::<GenericListArray<O>>(array)?;
    let offsets = lists.value_offsets();
    let range = move |row: usize| {
        let bound = |at: usize| offsets.get(at).map_or(0, |offset| offset.as_usize());
        bound(row)..bound(row + 1)
    };
    list_writer(lists.values().as_ref(), range, shape, format, zone)
}

fn fixed_lists<'a>(
    array: &'a dyn Array,
    pg_type: u32,
    format: Format,
    zone: &'a Zone,
) -> QueryResult<Writer<'a>> {
    let Some(element) = types::element_of(pg_type) else {
        return displayed(array);
    };
    let shape = Shape::of(pg_type, element);
    let lists = typed::<FixedSizeListArray>(array)?;
    let size = usize::try_from(lists.value_length()).unwrap_or(0);
    let range = move |row: usize| row * size..(row + 1) * size;
    list_writer(lists.values().as_ref(), range, shape, format, zone)
}

/// How the arrays of a type look.
#[derive(Clone, Copy)]
struct Shape {
    element: u32,
    /// `1 2`, counted from 0, rather than `{1,2}`, counted from 1.
    vector: bool,
}

impl Shape {
    fn of(pg_type: u32, element: u32) -> Shape {
        Shape { element, vector: matches!(pg_type, oid::INT2VECTOR | oid::OIDVECTOR) }
    }
}

fn list_writer<'a>(
    values: &'a dyn Array,
    range: impl Fn(usize) -> std::ops::Range<usize> + 'a,
    Shape { element, vector }: Shape,
    format: Format,
    zone: &'a Zone,
) -> QueryResult<Writer<'a>> {
    let write = writer(values, element, format, zone)?;
    let nulls = values.logical_nulls();
    let is_null = move |at: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(at));
    Ok(match format {
        Format::Text if vector => Box::new(move |row, out| {
            for (place, at) in range(row).enumerate() {
                if place > 0 {
                    out.push(b' ');
                }
                write(at, out);
            }
        }),
        Format::Text => Box::new(move |row, out| {
            out.push(b'{');
            let mut item = Vec::new();
            for (place, at) in range(row).enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                if is_null(at) {
                    out.extend_from_slice(b"NULL");
                    continue;
                }
                item.clear();
                write(at, &mut item);
                put_array_item(out, &item);
            }
            out.push(b'}');
        }),
        Format::Binary => Box::new(move |row, out| {
            let range = range(row);
            let any_null = range.clone().any(&is_null);
            let dimensions = i32::from(vector || !range.is_empty());
            out.extend_from_slice(&dimensions.to_be_bytes());
            out.extend_from_slice(&i32::from(any_null).to_be_bytes());
            out.extend_from_slice(&element.to_be_bytes());
            // A vector has its one dimension even without an element.
            if range.is_empty() && !vector {
                return;
            }
            out.extend_from_slice(&(range.len() as i32).to_be_bytes());
            out.extend_from_slice(&i32::from(!vector).to_be_bytes());
            for at in range {
                let length_at = out.len();
                out.extend_from_slice(&(-1i32).to_be_bytes());
                if !is_null(at) {
                    write(at, out);
                    let length = (out.len() - length_at - 4) as u32;
                    out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
                }
            }
        }),
    })
}

/// Quotes an item of `{a,"b c"}` where it could be taken for something else.
fn put_array_item(out: &mut Vec<u8>, item: &[u8]) {
    let special = |byte: &u8| {
        matches!(byte, b'{' | b'}' | b',' | b'"' | b'\\')
            || byte.is_ascii_whitespace()
            || *byte == 11
    };
    if !item.is_empty() && !item.eq_ignore_ascii_case(b"null") && !item.iter().any(special) {
        out.extend_from_slice(item);
        return;
    }
    out.push(b'"');
    for byte in item {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
}
