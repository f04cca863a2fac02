//! One cell as JSON or CSV. Times are RFC 3339 in UTC; numbers are exact; floats are the shortest
//! text that reads back the same, and the three that JSON lacks are texts.

use std::io::Write as _;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, FixedSizeBinaryArray, Float32Array,
    Float64Array, PrimitiveArray, UInt64Array,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::*;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use query::text::number::{has_open_scale, put_open_decimal};
use query::text::time::civil_from_days;

use super::fraction_digits;

const SECONDS_A_DAY: i64 = 86_400;

/// A column made ready for writing cells.
pub(super) struct Column<'a> {
    nulls: Option<NullBuffer>,
    cells: Cells<'a>,
}

type Get<'a, T> = Box<dyn Fn(usize) -> T + 'a>;

enum Cells<'a> {
    Null,
    Bool(&'a BooleanArray),
    Int(Get<'a, i64>),
    UInt64(&'a UInt64Array),
    Float32(&'a Float32Array),
    Float64(&'a Float64Array),
    Text(Get<'a, &'a str>),
    Bytes(Get<'a, &'a [u8]>),
    /// Ticks since 1970 in a unit; with time zone.
    Time {
        ticks: Get<'a, i64>,
        unit: TimeUnit,
        zoned: bool,
    },
    Uuid(&'a FixedSizeBinaryArray),
    /// Unscaled, with the most digits that are behind the point.
    OpenDecimal(&'a Decimal128Array, i8),
    /// Days since 1970.
    Date(Get<'a, i64>),
    List(Get<'a, ArrayRef>),
    Dictionary {
        keys: Vec<usize>,
        values: Box<Column<'a>>,
    },
    /// A number that prints itself.
    Number(ArrayFormatter<'a>),
    /// Whatever else, as text.
    Other(ArrayFormatter<'a>),
}

impl<'a> Column<'a> {
    pub fn new(array: &'a dyn Array) -> Result<Column<'a>, ArrowError> {
        Ok(Column { nulls: array.logical_nulls(), cells: Cells::new(array)? })
    }

    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
            || matches!(self.cells, Cells::Null)
    }

    pub fn json(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        if self.is_null(row) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        match &self.cells {
            Cells::Text(get) => json_text(get(row), out),
            Cells::Other(format) => json_text(&format.value(row).try_to_string()?, out),
            Cells::Bytes(get) => {
                // The one backslash of the plain form, written as JSON does.
                out.extend_from_slice(b"\"\\\\x");
                hexadecimal(get(row), out)?;
                out.push(b'"');
            }
            Cells::Time { .. } | Cells::Date(_) | Cells::Uuid(_) => {
                out.push(b'"');
                self.plain(row, out)?;
                out.push(b'"');
            }
            Cells::Float32(values) if !values.value(row).is_finite() => {
                json_text(not_finite(f64::from(values.value(row))), out);
            }
            Cells::Float64(values) if !values.value(row).is_finite() => {
                json_text(not_finite(values.value(row)), out);
            }
            Cells::Dictionary { keys, values } => values.json(keys[row], out)?,
            _ => self.plain(row, out)?,
        }
        Ok(())
    }

    pub fn csv(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        if self.is_null(row) {
            return Ok(());
        }
        match &self.cells {
            Cells::Text(get) => csv_text(get(row), out),
            Cells::Other(format) => csv_text(&format.value(row).try_to_string()?, out),
            Cells::Dictionary { keys, values } => values.csv(keys[row], out)?,
            Cells::List(_) => {
                let mut text = Vec::new();
                self.plain(row, &mut text)?;
                csv_text(&String::from_utf8_lossy(&text), out);
            }
            _ => self.plain(row, out)?,
        }
        Ok(())
    }

    /// The forms that JSON and CSV share. Writing to a `Vec` cannot fail.
    fn plain(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        match &self.cells {
            Cells::Bool(values) => {
                let text: &[u8] = if values.value(row) { b"true" } else { b"false" };
                out.extend_from_slice(text);
            }
            Cells::Int(get) => write!(out, "{}", get(row))?,
            Cells::UInt64(values) => write!(out, "{}", values.value(row))?,
            Cells::Float32(values) => float32(values.value(row), out)?,
            Cells::Float64(values) => float64(values.value(row), out)?,
            Cells::Bytes(get) => {
                out.extend_from_slice(b"\\x");
                hexadecimal(get(row), out)?;
            }
            Cells::Time { ticks, unit, zoned } => time(ticks(row), unit, *zoned, out)?,
            Cells::Uuid(values) => query::put_uuid(out, values.value(row)),
            Cells::OpenDecimal(values, scale) => {
                put_open_decimal(out, itoa::Buffer::new().format(values.value(row)), *scale);
            }
            Cells::Date(get) => date(get(row), out)?,
            Cells::List(get) => {
                let items = get(row);
                let column = Column::new(items.as_ref())?;
                out.push(b'[');
                for item in 0..items.len() {
                    if item > 0 {
                        out.push(b',');
                    }
                    column.json(item, out)?;
                }
                out.push(b']');
            }
            Cells::Number(format) => write!(out, "{}", format.value(row).try_to_string()?)?,
            Cells::Null | Cells::Text(_) | Cells::Other(_) | Cells::Dictionary { .. } => {}
        }
        Ok(())
    }
}

impl<'a> Cells<'a> {
    fn new(array: &'a dyn Array) -> Result<Cells<'a>, ArrowError> {
        Ok(match array.data_type() {
            DataType::Null => Cells::Null,
            DataType::Boolean => Cells::Bool(array.as_boolean()),
            DataType::Int8 => int::<Int8Type>(array),
            DataType::Int16 => int::<Int16Type>(array),
            DataType::Int32 => int::<Int32Type>(array),
            DataType::Int64 => int::<Int64Type>(array),
            DataType::UInt8 => int::<UInt8Type>(array),
            DataType::UInt16 => int::<UInt16Type>(array),
            DataType::UInt32 => int::<UInt32Type>(array),
            DataType::UInt64 => Cells::UInt64(array.as_primitive()),
            DataType::Float32 => Cells::Float32(array.as_primitive()),
            DataType::Float64 => Cells::Float64(array.as_primitive()),
            DataType::Utf8 => {
                let values = array.as_string::<i32>();
                Cells::Text(Box::new(move |row| values.value(row)))
            }
            DataType::LargeUtf8 => {
                let values = array.as_string::<i64>();
                Cells::Text(Box::new(move |row| values.value(row)))
            }
            DataType::Utf8View => {
                let values = array.as_string_view();
                Cells::Text(Box::new(move |row| values.value(row)))
            }
            DataType::Binary => {
                let values = array.as_binary::<i32>();
                Cells::Bytes(Box::new(move |row| values.value(row)))
            }
            DataType::LargeBinary => {
                let values = array.as_binary::<i64>();
                Cells::Bytes(Box::new(move |row| values.value(row)))
            }
            DataType::BinaryView => {
                let values = array.as_binary_view();
                Cells::Bytes(Box::new(move |row| values.value(row)))
            }
            DataType::Timestamp(unit, zone) => timestamps(array, *unit, zone.is_some()),
            uuid if *uuid == query::UUID_TYPE => Cells::Uuid(array.as_fixed_size_binary()),
            DataType::Date32 => {
                let days = array.as_primitive::<Date32Type>();
                Cells::Date(Box::new(move |row| i64::from(days.value(row))))
            }
            DataType::List(_) => {
                let lists = array.as_list::<i32>();
                Cells::List(Box::new(move |row| lists.value(row)))
            }
            DataType::LargeList(_) => {
                let lists = array.as_list::<i64>();
                Cells::List(Box::new(move |row| lists.value(row)))
            }
            DataType::Dictionary(..) => dictionary(array)?,
            DataType::Decimal128(precision, scale) if has_open_scale(*precision, *scale) => {
                Cells::OpenDecimal(array.as_primitive(), *scale)
            }
            DataType::Decimal128(..) | DataType::Decimal256(..) | DataType::Float16 => {
                Cells::Number(formatter(array)?)
            }
            _ => Cells::Other(formatter(array)?),
        })
    }
}

fn int<'a, T>(array: &'a dyn Array) -> Cells<'a>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i64>,
{
    let values: &'a PrimitiveArray<T> = array.as_primitive();
    Cells::Int(Box::new(move |row| values.value(row).into()))
}

fn timestamps<'a>(array: &'a dyn Array, unit: TimeUnit, zoned: bool) -> Cells<'a> {
    fn ticks<'a, T: ArrowPrimitiveType<Native = i64>>(array: &'a dyn Array) -> Get<'a, i64> {
        let values: &'a PrimitiveArray<T> = array.as_primitive();
        Box::new(move |row| values.value(row))
    }
    let ticks = match unit {
        TimeUnit::Second => ticks::<TimestampSecondType>(array),
        TimeUnit::Millisecond => ticks::<TimestampMillisecondType>(array),
        TimeUnit::Microsecond => ticks::<TimestampMicrosecondType>(array),
        TimeUnit::Nanosecond => ticks::<TimestampNanosecondType>(array),
    };
    Cells::Time { ticks, unit, zoned }
}

fn dictionary<'a>(array: &'a dyn Array) -> Result<Cells<'a>, ArrowError> {
    let dictionary = array.as_any_dictionary();
    if dictionary.values().is_empty() {
        // No value that a row could point to: all rows are null.
        return Ok(Cells::Null);
    }
    let values = Box::new(Column::new(dictionary.values().as_ref())?);
    Ok(Cells::Dictionary { keys: dictionary.normalized_keys(), values })
}

fn formatter<'a>(array: &'a dyn Array) -> Result<ArrayFormatter<'a>, ArrowError> {
    static OPTIONS: FormatOptions<'static> = FormatOptions::new();
    ArrayFormatter::try_new(array, &OPTIONS)
}

/// A text in JSON's quotes.
pub(in crate::http) fn json_text(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a text always encodes into a Vec");
}

/// A text in CSV, quoted where it must be; the empty text too, to tell it from NULL.
pub(super) fn csv_text(text: &str, out: &mut Vec<u8>) {
    let special = |byte: u8| matches!(byte, b',' | b'"' | b'\r' | b'\n');
    let edge = text.starts_with(' ') || text.ends_with(' ');
    if !text.is_empty() && !edge && !text.bytes().any(special) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    for byte in text.bytes() {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

fn hexadecimal(bytes: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
    bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}

fn not_finite(value: f64) -> &'static str {
    match value {
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        _ => "NaN",
    }
}

fn float64(value: f64, out: &mut Vec<u8>) -> std::io::Result<()> {
    match value.abs() {
        _ if !value.is_finite() => out.write_all(not_finite(value).as_bytes()),
        size if size != 0.0 && !(1e-5..1e16).contains(&size) => write!(out, "{value:e}"),
        _ => write!(out, "{value}"),
    }
}

fn float32(value: f32, out: &mut Vec<u8>) -> std::io::Result<()> {
    match value.abs() {
        _ if !value.is_finite() => out.write_all(not_finite(f64::from(value)).as_bytes()),
        size if size != 0.0 && !(1e-5..1e7).contains(&size) => write!(out, "{value:e}"),
        _ => write!(out, "{value}"),
    }
}

/// `2026-01-31T23:59:59.5Z`: as many digits of the fraction as it has, `Z` with a time zone.
fn time(ticks: i64, unit: &TimeUnit, zoned: bool, out: &mut Vec<u8>) -> std::io::Result<()> {
    let digits = fraction_digits(unit);
    let ticks_a_second = 10_i64.pow(digits as u32);
    let seconds = ticks.div_euclid(ticks_a_second);
    let fraction = ticks.rem_euclid(ticks_a_second);
    date(seconds.div_euclid(SECONDS_A_DAY), out)?;
    let second = seconds.rem_euclid(SECONDS_A_DAY);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    write!(out, "T{hour:02}:{minute:02}:{second:02}")?;
    if fraction != 0 {
        write!(out, ".{fraction:0digits$}")?;
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
    if zoned {
        out.push(b'Z');
    }
    Ok(())
}

/// Days since 1970 in the proleptic Gregorian calendar. Years outside of 0 to 9999 have a sign and
/// six digits, as ISO 8601 extends.
fn date(days: i64, out: &mut Vec<u8>) -> std::io::Result<()> {
    let (year, month, day) = civil_from_days(days);
    if (0..=9999).contains(&year) {
        write!(out, "{year:04}-{month:02}-{day:02}")
    } else {
        write!(out, "{year:+07}-{month:02}-{day:02}")
    }
}
