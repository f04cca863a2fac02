//! Parameters in binary format. Lengths are exact: a value with bytes missing or left is refused.

use arrow::datatypes::IntervalMonthDayNano;
use datafusion::scalar::ScalarValue;
use query::{QueryError, QueryResult};

use super::super::backend::error;
use super::super::types::{name_of, oid};
use query::text::time::{POSTGRES_EPOCH_DAYS, POSTGRES_EPOCH_MICROS};

/// Items one array parameter may have.
const ARRAY_ITEMS_MAX: usize = 1 << 20;

fn malformed(oid: u32) -> QueryError {
    error("22P03", format!("incorrect binary data format for {}", name_of(oid)))
}

fn exact<const N: usize>(value: &[u8], oid: u32) -> QueryResult<[u8; N]> {
    value.try_into().map_err(|_| malformed(oid))
}

/// A single value.
pub fn scalar(value: &[u8], oid: u32) -> QueryResult<ScalarValue> {
    Ok(match oid {
        oid::BOOL => ScalarValue::Boolean(Some(exact::<1>(value, oid)? != [0])),
        oid::INT2 => ScalarValue::Int16(Some(i16::from_be_bytes(exact(value, oid)?))),
        oid::INT4 => ScalarValue::Int32(Some(i32::from_be_bytes(exact(value, oid)?))),
        oid::INT8 => ScalarValue::Int64(Some(i64::from_be_bytes(exact(value, oid)?))),
        oid::OID => ScalarValue::Int64(Some(i64::from(u32::from_be_bytes(exact(value, oid)?)))),
        oid::FLOAT4 => ScalarValue::Float32(Some(f32::from_be_bytes(exact(value, oid)?))),
        oid::FLOAT8 => ScalarValue::Float64(Some(f64::from_be_bytes(exact(value, oid)?))),
        oid::BYTEA => ScalarValue::Binary(Some(value.to_vec())),
        oid::DATE => {
            let days = i32::from_be_bytes(exact(value, oid)?);
            let shifted = match days {
                i32::MAX | i32::MIN => Some(days),
                _ => days.checked_add(POSTGRES_EPOCH_DAYS),
            };
            let out_of_range = || error("22008", "date out of range".to_owned());
            ScalarValue::Date32(Some(shifted.ok_or_else(out_of_range)?))
        }
        oid::TIME => ScalarValue::Time64Microsecond(Some(i64::from_be_bytes(exact(value, oid)?))),
        oid::TIMESTAMP | oid::TIMESTAMPTZ => {
            let micros = i64::from_be_bytes(exact(value, oid)?);
            let shifted = match micros {
                i64::MAX | i64::MIN => Some(micros),
                _ => micros.checked_add(POSTGRES_EPOCH_MICROS),
            };
            let out_of_range = || error("22008", "timestamp out of range".to_owned());
            super::timestamp_of(oid, shifted.ok_or_else(out_of_range)?)
        }
        oid::INTERVAL => interval(&exact(value, oid)?)?,
        oid::NUMERIC => numeric(value)?,
        oid::UUID => super::uuid(exact(value, oid)?),
        oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::CHAR | oid::JSON => {
            ScalarValue::Utf8(Some(super::utf8(value)?.to_owned()))
        }
        _ => return Err(super::unsupported(oid)),
    })
}

fn interval(value: &[u8; 16]) -> QueryResult<ScalarValue> {
    let [micros @ .., d0, d1, d2, d3, m0, m1, m2, m3] = value;
    let nanoseconds = i64::from_be_bytes(*micros).checked_mul(1_000);
    let days = i32::from_be_bytes([*d0, *d1, *d2, *d3]);
    let months = i32::from_be_bytes([*m0, *m1, *m2, *m3]);
    let Some(nanoseconds) = nanoseconds else {
        return Err(error("22008", "interval out of range".to_owned()));
    };
    let value = IntervalMonthDayNano { months, days, nanoseconds };
    Ok(ScalarValue::IntervalMonthDayNano(Some(value)))
}

/// Digits in base 10,000 with weight, sign and scale.
fn numeric(value: &[u8]) -> QueryResult<ScalarValue> {
    let bad = || malformed(oid::NUMERIC);
    let too_large = || error("22003", "numeric with more than 38 digits".to_owned());
    let mut words = value.chunks(2).map(|pair| pair.try_into().map(u16::from_be_bytes));
    let mut word = || words.next().and_then(Result::ok).ok_or_else(bad);
    let (count, weight, sign, scale) = (word()?, word()? as i16, word()?, word()?);
    match sign {
        0 | 0x4000 => {}
        0xc000 => return Ok(ScalarValue::Float64(Some(f64::NAN))),
        0xd000 => return Ok(ScalarValue::Float64(Some(f64::INFINITY))),
        0xf000 => return Ok(ScalarValue::Float64(Some(f64::NEG_INFINITY))),
        _ => return Err(bad()),
    }
    if value.len() != 8 + 2 * usize::from(count) {
        return Err(bad());
    }
    let scale = i8::try_from(scale).ok().filter(|scale| *scale <= 38).ok_or_else(too_large)?;
    let mut unscaled = 0i128;
    // Exponent of ten of the group in hand, counted from the last digit that is kept.
    let mut exponent = i32::from(weight) * 4 + i32::from(scale);
    for _ in 0..count {
        let group = word()?;
        if group > 9_999 {
            return Err(bad());
        }
        let group = i128::from(group);
        let part = match u32::try_from(exponent) {
            Ok(_) if group == 0 => 0,
            Ok(exponent) => {
                let factor = 10i128.checked_pow(exponent).ok_or_else(too_large)?;
                group.checked_mul(factor).ok_or_else(too_large)?
            }
            // Digits below the scale are not sent by sound clients; they are cut, as by a cast.
            Err(_) if exponent > -4 => group / 10i128.pow(exponent.unsigned_abs()),
            Err(_) => 0,
        };
        unscaled = unscaled.checked_add(part).ok_or_else(too_large)?;
        exponent -= 4;
    }
    super::decimal(if sign == 0x4000 { -unscaled } else { unscaled }, scale)
}

/// A one-dimensional array.
pub fn array(value: &[u8], element: u32) -> QueryResult<ScalarValue> {
    let bad = || error("22P03", "incorrect binary data format for array".to_owned());
    let mut rest = value;
    let mut take = |count: usize| -> QueryResult<&[u8]> {
        let (head, tail) = rest.split_at_checked(count).ok_or_else(bad)?;
        rest = tail;
        Ok(head)
    };
    let word = |bytes: &[u8]| -> QueryResult<i32> {
        Ok(i32::from_be_bytes(bytes.try_into().map_err(|_| bad())?))
    };
    let dimensions = word(take(4)?)?;
    word(take(4)?)?;
    if word(take(4)?)? as u32 != element {
        return Err(error("42804", "wrong element type of an array parameter".to_owned()));
    }
    let count = match dimensions {
        0 => 0,
        1 => {
            let count = usize::try_from(word(take(4)?)?).map_err(|_| bad())?;
            word(take(4)?)?;
            count
        }
        _ => {
            let words = "arrays of more than one dimension are not supported".to_owned();
            return Err(error("0A000", words));
        }
    };
    // Each item takes at least its length, so the count cannot promise more than is there.
    if count > ARRAY_ITEMS_MAX || count > value.len() / 4 {
        return Err(bad());
    }
    let mut items = Vec::with_capacity(count);
    for _ in 0..count {
        items.push(match word(take(4)?)? {
            -1 => super::null_of(element)?,
            length => scalar(take(usize::try_from(length).map_err(|_| bad())?)?, element)?,
        });
    }
    if !rest.is_empty() {
        return Err(bad());
    }
    super::list(items, element)
}
