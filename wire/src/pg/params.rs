//! Parameters of Bind to values: decoded as the Postgres type the client knows, in text or binary,
//! then cast to the Arrow type the statement wants.

mod binary;
mod text;
pub mod time;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::scalar::ScalarValue;
use query::{QueryError, QueryResult};

use super::backend::error;
use super::encode::Format;
use super::types::{self, oid};
use query::text::zone::Zone;

/// Decodes one parameter; None is null.
///
/// # Errors
/// 22P02 and 22P03 for malformed values, 22003 and 22008 for values out of range, 22007 for
/// malformed times, 22021 for text that is not UTF-8, 0A000 for types that cannot be taken.
pub fn decode(
    value: Option<&[u8]>,
    format: Format,
    oid: u32,
    target: &DataType,
    zone: &Zone,
) -> QueryResult<ScalarValue> {
    // A parameter of no type that anything depends on is text.
    let target = if *target == DataType::Null { &DataType::Utf8 } else { target };
    let Some(value) = value else {
        return ScalarValue::try_new_null(target).map_err(|_| unsupported(oid));
    };
    let natural = match (types::element_of(oid), format) {
        (Some(element), Format::Text) => text::array(utf8(value)?, element, zone)?,
        (None, Format::Text) => text::scalar(utf8(value)?, oid, zone)?,
        (Some(element), Format::Binary) => binary::array(value, element)?,
        (None, Format::Binary) => binary::scalar(value, oid)?,
    };
    cast(natural, oid, target)
}

fn cast(natural: ScalarValue, oid: u32, target: &DataType) -> QueryResult<ScalarValue> {
    if natural.data_type() == *target {
        return Ok(natural);
    }
    // What a text means to a uuid, and the other way round, Arrow does not know.
    match (&natural, target) {
        (ScalarValue::Utf8(Some(text)), target) if *target == query::UUID_TYPE => {
            return text::scalar(text, oid::UUID, &Zone::Utc);
        }
        (ScalarValue::FixedSizeBinary(_, Some(value)), target) if target.is_string() => {
            let text = ScalarValue::Utf8(Some(query::uuid_text(value)));
            return text.cast_to(target).map_err(|_| unsupported(oid));
        }
        _ => {}
    }
    let infinite = matches!(
        natural,
        ScalarValue::TimestampMicrosecond(Some(i64::MAX | i64::MIN), _)
            if matches!(target, DataType::Timestamp(TimeUnit::Nanosecond, _))
    );
    if infinite {
        return saturated(&natural, target);
    }
    natural.cast_to(target).map_err(|_| {
        let words = format!("value out of range: {} as {target}", types::name_of(oid));
        error("22003", words)
    })
}

/// Infinity in nanoseconds is their last instant, as bounds that do not fit saturate.
fn saturated(natural: &ScalarValue, target: &DataType) -> QueryResult<ScalarValue> {
    match (natural, target) {
        (ScalarValue::TimestampMicrosecond(Some(value), _), DataType::Timestamp(_, zone)) => {
            Ok(ScalarValue::TimestampNanosecond(Some(*value), zone.clone()))
        }
        _ => Err(error("22008", "timestamp out of range".to_owned())),
    }
}

fn unsupported(oid: u32) -> QueryError {
    let words = format!("parameters of type {} are not supported", types::name_of(oid));
    error("0A000", words)
}

fn utf8(value: &[u8]) -> QueryResult<&str> {
    match std::str::from_utf8(value) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(error("22021", "invalid byte sequence for encoding \"UTF8\"".to_owned())),
    }
}

/// A decimal, as its unscaled value and its digits after the point.
fn decimal(unscaled: i128, scale: i8) -> QueryResult<ScalarValue> {
    let digits = unscaled.unsigned_abs().checked_ilog10().map_or(1, |log| log + 1);
    let precision = digits.max(u32::from(scale.unsigned_abs()));
    match u8::try_from(precision) {
        Ok(precision @ 1..=38) => Ok(ScalarValue::Decimal128(Some(unscaled), precision, scale)),
        _ => Err(error("22003", "numeric with more than 38 digits".to_owned())),
    }
}

/// A list of decoded items. Decimals, whose type depends on their digits, become the type of
/// numeric parameters.
fn list(items: Vec<ScalarValue>, element: u32) -> QueryResult<ScalarValue> {
    let item_type = types::arrow_of(element).ok_or_else(|| unsupported(element))?;
    let items = items
        .into_iter()
        .map(|item| cast(item, element, &item_type))
        .collect::<QueryResult<Vec<_>>>()?;
    Ok(ScalarValue::List(ScalarValue::new_list_nullable(&items, &item_type)))
}

fn null_of(element: u32) -> QueryResult<ScalarValue> {
    let item_type = types::arrow_of(element).ok_or_else(|| unsupported(element))?;
    ScalarValue::try_new_null(&item_type).map_err(|_| unsupported(element))
}

fn uuid(value: [u8; 16]) -> ScalarValue {
    ScalarValue::FixedSizeBinary(16, Some(value.to_vec()))
}

/// The zone mark of timestamps with time zone.
fn utc() -> Option<std::sync::Arc<str>> {
    Some("+00:00".into())
}

fn timestamp_of(oid: u32, micros: i64) -> ScalarValue {
    let zone = if oid == oid::TIMESTAMPTZ { utc() } else { None };
    ScalarValue::TimestampMicrosecond(Some(micros), zone)
}

#[cfg(test)]
mod tests;
