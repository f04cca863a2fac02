//! Parameters in text format, read as Postgres reads literals.

use datafusion::scalar::ScalarValue;
use query::{QueryError, QueryResult, parse_bytea, parse_uuid};

use super::super::backend::error;
use super::super::types::{name_of, oid};
use super::time;
use query::text::zone::Zone;

fn invalid(text: &str, oid: u32) -> QueryError {
    // A value may be megabytes long; its beginning tells enough.
    let shown: String = text.chars().take(100).collect();
    error("22P02", format!("invalid input syntax for type {}: \"{shown}\"", name_of(oid)))
}

/// A single value.
pub fn scalar(text: &str, oid: u32, zone: &Zone) -> QueryResult<ScalarValue> {
    let trimmed = text.trim_matches(|letter: char| letter.is_ascii_whitespace());
    Ok(match oid {
        oid::BOOL => {
            ScalarValue::Boolean(Some(boolean(trimmed).ok_or_else(|| invalid(text, oid))?))
        }
        oid::INT2 => ScalarValue::Int16(Some(integer(trimmed, oid)?)),
        oid::INT4 => ScalarValue::Int32(Some(integer(trimmed, oid)?)),
        oid::INT8 | oid::OID => ScalarValue::Int64(Some(integer(trimmed, oid)?)),
        oid::FLOAT4 => {
            let value: f32 = trimmed.parse().map_err(|_| invalid(text, oid))?;
            in_range(value.is_infinite(), trimmed, oid)?;
            ScalarValue::Float32(Some(value))
        }
        oid::FLOAT8 => {
            let value: f64 = trimmed.parse().map_err(|_| invalid(text, oid))?;
            in_range(value.is_infinite(), trimmed, oid)?;
            ScalarValue::Float64(Some(value))
        }
        oid::NUMERIC => numeric(trimmed).ok_or_else(|| invalid(text, oid))??,
        oid::BYTEA => {
            ScalarValue::Binary(Some(parse_bytea(text).ok_or_else(|| invalid(text, oid))?))
        }
        oid::DATE => ScalarValue::Date32(Some(time::date(trimmed)?)),
        oid::TIME => ScalarValue::Time64Microsecond(Some(time::time_of_day(trimmed)?)),
        oid::TIMESTAMP => super::timestamp_of(oid, time::timestamp(trimmed)?),
        oid::TIMESTAMPTZ => super::timestamp_of(oid, time::timestamptz(trimmed, zone)?),
        oid::INTERVAL => interval(trimmed)?,
        oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::CHAR | oid::JSON => {
            ScalarValue::Utf8(Some(text.to_owned()))
        }
        oid::UUID => super::uuid(parse_uuid(text).ok_or_else(|| invalid(text, oid))?),
        _ => return Err(super::unsupported(oid)),
    })
}

/// Any unambiguous beginning of true, false, yes, no, on, off, and 1 and 0.
fn boolean(text: &str) -> Option<bool> {
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "" | "o" => None,
        "1" | "on" => Some(true),
        "0" | "off" | "of" => Some(false),
        word if "true".starts_with(word) || "yes".starts_with(word) => Some(true),
        word if "false".starts_with(word) || "no".starts_with(word) => Some(false),
        _ => None,
    }
}

fn integer<T: std::str::FromStr<Err = std::num::ParseIntError>>(
    text: &str,
    oid: u32,
) -> QueryResult<T> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    text.parse().map_err(|source: std::num::ParseIntError| match source.kind() {
        NegOverflow | PosOverflow => {
            let shown: String = text.chars().take(100).collect();
            error("22003", format!("value \"{shown}\" is out of range for type {}", name_of(oid)))
        }
        _ => invalid(text, oid),
    })
}

/// Only what says infinity may become infinity.
fn in_range(infinite: bool, text: &str, oid: u32) -> QueryResult<()> {
    if infinite && text.bytes().any(|byte| byte.is_ascii_digit()) {
        let shown: String = text.chars().take(100).collect();
        return Err(error(
            "22003",
            format!("\"{shown}\" is out of range for type {}", name_of(oid)),
        ));
    }
    Ok(())
}

/// Digits with a point and an exponent; None where it is no number.
fn numeric(text: &str) -> Option<QueryResult<ScalarValue>> {
    if text.eq_ignore_ascii_case("nan") {
        return Some(Ok(ScalarValue::Float64(Some(f64::NAN))));
    }
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, digits) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if digits().next().is_none() || !digits().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let too_large = || Some(Err(error("22003", "numeric with more than 38 digits".to_owned())));
    let mut unscaled = 0i128;
    for digit in digits() {
        let next = unscaled.checked_mul(10).and_then(|sum| sum.checked_add((digit - b'0').into()));
        let Some(next) = next else {
            return too_large();
        };
        unscaled = next;
    }
    let mut scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
    if scale < 0 {
        let factor = 10i128.checked_pow(scale.unsigned_abs());
        let Some(widened) = factor.and_then(|factor| unscaled.checked_mul(factor)) else {
            return too_large();
        };
        (unscaled, scale) = (widened, 0);
    }
    let Some(scale) = i8::try_from(scale).ok().filter(|scale| *scale <= 38) else {
        return too_large();
    };
    Some(super::decimal(if negative { -unscaled } else { unscaled }, scale))
}

fn interval(text: &str) -> QueryResult<ScalarValue> {
    Ok(ScalarValue::IntervalMonthDayNano(Some(query::text::interval::required(text)?)))
}

/// `{1,NULL,"a b"}`, of one dimension.
pub fn array(text: &str, element: u32, zone: &Zone) -> QueryResult<ScalarValue> {
    let items = array_items(text.trim_ascii()).ok_or_else(|| {
        let shown: String = text.chars().take(100).collect();
        error("22P02", format!("malformed array literal: \"{shown}\""))
    })?;
    let decoded = items.into_iter().map(|item| match item {
        Some(item) => scalar(&item, element, zone),
        None => super::null_of(element),
    });
    super::list(decoded.collect::<QueryResult<Vec<_>>>()?, element)
}

fn array_items(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    let mut items = Vec::new();
    if inner.trim_ascii().is_empty() {
        return Some(items);
    }
    let mut letters = inner.chars().peekable();
    loop {
        while letters.next_if(char::is_ascii_whitespace).is_some() {}
        let mut item = String::new();
        if letters.next_if_eq(&'"').is_some() {
            loop {
                match letters.next()? {
                    '"' => break,
                    '\\' => item.push(letters.next()?),
                    other => item.push(other),
                }
            }
            while letters.next_if(char::is_ascii_whitespace).is_some() {}
            items.push(Some(item));
        } else {
            while let Some(letter) = letters.next_if(|letter| *letter != ',') {
                match letter {
                    '\\' => item.push(letters.next()?),
                    '{' | '}' | '"' => return None,
                    other => item.push(other),
                }
            }
            let item = item.trim_ascii_end();
            match item {
                "" => return None,
                null if null.eq_ignore_ascii_case("null") => items.push(None),
                item => items.push(Some(item.to_owned())),
            }
        }
        match letters.next() {
            Some(',') => {}
            Some(_) => return None,
            None => return Some(items),
        }
    }
}
