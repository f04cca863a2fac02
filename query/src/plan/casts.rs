//! Casts whose values are not what PostgreSQL makes of them: Arrow writes times and doubles as other
//! programs do, and cuts fractions off where whole numbers are rounded.

use std::sync::{Arc, LazyLock};

use arrow::array::types::{
    Decimal128Type, DurationMicrosecondType, Float32Type, Float64Type, IntervalMonthDayNanoType,
    TimestampMicrosecondType,
};
use arrow::array::{Array, ArrayRef, AsArray, IntervalMonthDayNanoArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, exec_err};
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, ScalarUDF};

use super::unary::{call, function};
use crate::error::QueryError;
use crate::text::interval::required;
use crate::text::number::{has_open_scale, put_float4, put_float8, put_open_decimal};
use crate::text::put_bytea;
use crate::text::time::{Interval, put_interval, put_timestamp, put_timestamptz};
use crate::text::zone::{Zone, ZoneCursor};

/// Digits of the widest decimal.
const DECIMAL_DIGITS: u8 = 38;

/// Whether a cast may have another value in PostgreSQL: most are to wider numbers, and do not.
pub(super) fn concerns(cast: &Cast) -> bool {
    let to = cast.field.data_type();
    to.is_string() || to.is_integer() || *to == INTERVAL
}

/// The cast by way of a function that gives PostgreSQL's value, where Arrow's is another.
pub(super) fn as_postgres(cast: Cast, schema: &DFSchema) -> Transformed<Expr> {
    let Ok(from) = cast.expr.get_type(schema) else { return Transformed::no(Expr::Cast(cast)) };
    let to = cast.field.data_type();
    let way: fn(Expr) -> Expr = match (&from, to) {
        (from, to) if to.is_string() && is_shown(from) => |value| call(&TEXT_OF, value),
        (DataType::Float32 | DataType::Float64, to) if to.is_integer() => match &*cast.expr {
            // Analysed before.
            Expr::ScalarFunction(function) if function.func.name() == ROUND => {
                return Transformed::no(Expr::Cast(cast));
            }
            _ => |value| call(&ROUNDED, value),
        },
        (DataType::Decimal128(_, scale), to) if *scale > 0 && to.is_integer() => |value| {
            // Arrow rounds halves away from zero between scales.
            Expr::Cast(Cast::new(Box::new(value), DataType::Decimal128(DECIMAL_DIGITS, 0)))
        },
        (from, &INTERVAL) if from.is_string() => match &*cast.expr {
            Expr::ScalarFunction(function) if function.func.name() == READ => {
                return Transformed::no(Expr::Cast(cast));
            }
            _ => |value| call(&READ_INTERVAL, value),
        },
        _ => return Transformed::no(Expr::Cast(cast)),
    };
    let Cast { expr, field } = cast;
    Transformed::yes(Expr::Cast(Cast { expr: Box::new(way(*expr)), field }))
}

/// Types that [`TEXT_OF`] writes.
fn is_shown(kind: &DataType) -> bool {
    matches!(
        kind,
        DataType::Timestamp(..)
            | DataType::Float32
            | DataType::Float64
            | DataType::Binary
            | DataType::Interval(IntervalUnit::MonthDayNano)
            | DataType::Duration(_)
    ) || matches!(kind, DataType::Decimal128(precision, scale) if has_open_scale(*precision, *scale))
}

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);
const READ: &str = "interval_of";
static READ_INTERVAL: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| function(READ, Some(INTERVAL), intervals));
const ROUND: &str = "round_half_even";
static ROUNDED: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| function(ROUND, None, rounded));
static TEXT_OF: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| function("text_of", Some(DataType::Utf8View), texts));

fn intervals(array: &ArrayRef) -> Result<ArrayRef> {
    let texts = cast(array, &DataType::Utf8View)?;
    let read = texts.as_string_view().iter().map(|text| {
        let Some(text) = text else { return Ok(None) };
        required(text).map(Some).map_err(QueryError::into_datafusion)
    });
    let values: IntervalMonthDayNanoArray = read.collect::<Result<_>>()?;
    Ok(Arc::new(values))
}

fn rounded(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Float32 => Arc::new(
            array.as_primitive::<Float32Type>().unary::<_, Float32Type>(f32::round_ties_even),
        ),
        DataType::Float64 => Arc::new(
            array.as_primitive::<Float64Type>().unary::<_, Float64Type>(f64::round_ties_even),
        ),
        other => return exec_err!("{ROUND} of {other}"),
    })
}

fn texts(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>();
            written(array, |row, out| put_float4(out, values.value(row)))
        }
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>();
            written(array, |row, out| put_float8(out, values.value(row)))
        }
        DataType::Binary => {
            let values = array.as_binary::<i32>();
            written(array, |row, out| put_bytea(out, values.value(row)))
        }
        DataType::Duration(_) => {
            let micros = cast(array, &DataType::Duration(TimeUnit::Microsecond))?;
            let values = micros.as_primitive::<DurationMicrosecondType>();
            written(array, |row, out| put_interval(out, Interval::of_micros(values.value(row))))
        }
        DataType::Decimal128(_, scale) => {
            let values = array.as_primitive::<Decimal128Type>();
            written(array, |row, out| {
                put_open_decimal(out, &values.value(row).to_string(), *scale);
            })
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let values = array.as_primitive::<IntervalMonthDayNanoType>();
            written(array, |row, out| {
                let value = values.value(row);
                let micros = value.nanoseconds / 1_000;
                put_interval(out, Interval { months: value.months, days: value.days, micros });
            })
        }
        DataType::Timestamp(_, name) => {
            let micros = cast(array, &DataType::Timestamp(TimeUnit::Microsecond, name.clone()))?;
            let values = micros.as_primitive::<TimestampMicrosecondType>();
            match name {
                None => written(array, |row, out| put_timestamp(out, values.value(row))),
                Some(name) => {
                    let Some(zone) = Zone::from_setting(name) else {
                        return exec_err!("no time zone \"{name}\"");
                    };
                    let cursor = ZoneCursor::new(&zone);
                    written(array, |row, out| put_timestamptz(out, values.value(row), &cursor))
                }
            }
        }
        other => return exec_err!("text_of {other}"),
    })
}

/// The texts that `write` appends for the values that are not NULL.
fn written(array: &ArrayRef, write: impl Fn(usize, &mut Vec<u8>)) -> ArrayRef {
    let mut texts = StringViewBuilder::with_capacity(array.len());
    let mut text = Vec::new();
    for row in 0..array.len() {
        if array.is_null(row) {
            texts.append_null();
            continue;
        }
        text.clear();
        write(row, &mut text);
        texts.append_value(String::from_utf8_lossy(&text));
    }
    Arc::new(texts.finish())
}
