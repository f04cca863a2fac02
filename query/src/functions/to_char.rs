//! `to_char(value, template)`: a time or a number as a text, by the templates of PostgreSQL ("Data
//! Type Formatting Functions" of its manual). DataFusion's function of this name reads templates
//! of C's strftime, and would give what a template of PostgreSQL says back as it is.

mod number;
mod template;

use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal128Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};
use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::OffsetName;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use self::number::{Digits, NumberTemplate};
use self::template::Moment;
pub(super) use self::template::Template;
use super::time_bucket::time_type;
use crate::error::{QueryError, QueryResult};

/// Digits of a float that mean anything.
const FLOAT_DIGITS: usize = 15;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ToChar {
    signature: Signature,
}

impl ToChar {
    pub(super) fn new() -> ToChar {
        ToChar { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

/// The type that a value is written from.
fn source(value: &DataType) -> Option<DataType> {
    Some(match value {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => DataType::Float64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => DataType::Decimal128(38, *scale),
        kind if kind.is_integer() => DataType::Int64,
        kind => match time_type(Some(kind))? {
            DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone),
            _ => return None,
        },
    })
}

impl ScalarUDFImpl for ToChar {
    fn name(&self) -> &str {
        "to_char"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [DataType::Interval(_) | DataType::Duration(_), _] => {
                Err(QueryError::unsupported("to_char of an interval").into_datafusion())
            }
            [value, template] if template.is_string() || template.is_null() => {
                match source(value) {
                    Some(value) => Ok(vec![value, DataType::Utf8]),
                    None => no_function(types),
                }
            }
            _ => no_function(types),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [values, templates] = &args.args[..] else { return no_function(&[]) };
        let one =
            matches!((values, templates), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
        let rows = if one { 1 } else { args.number_rows };
        let values = values.to_array(rows)?;
        let texts = match values.data_type() {
            DataType::Timestamp(_, zone) => {
                let clock = Clock::of(zone.as_deref())?;
                let times = values.as_primitive::<TimestampMicrosecondType>();
                texts(
                    &values,
                    templates,
                    |text| Ok(Template::parse(text)),
                    |template, row| Ok(template.write(&clock.at(times.value(row))?)),
                )
            }
            _ => {
                let written = |template: &NumberTemplate, row| {
                    Ok(template.write(&digits(&values, row, template)))
                };
                texts(&values, templates, NumberTemplate::parse, written)
            }
        };
        let texts = texts.map_err(QueryError::into_datafusion)?;
        match one {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&texts, 0)?)),
            false => Ok(ColumnarValue::Array(texts)),
        }
    }
}

/// Each row by its template; NULL where one of them is.
fn texts<T>(
    values: &ArrayRef,
    templates: &ColumnarValue,
    parse: impl Fn(&str) -> QueryResult<T>,
    write: impl Fn(&T, usize) -> QueryResult<String>,
) -> QueryResult<ArrayRef> {
    let mut out = StringBuilder::new();
    let mut one = |row: usize, template: Option<&T>| {
        let text = template.filter(|_| values.is_valid(row)).map(|t| write(t, row)).transpose()?;
        out.append_option(text);
        Ok::<_, QueryError>(())
    };
    if let ColumnarValue::Scalar(text) = templates {
        let template = super::text_of(text).map(&parse).transpose()?;
        (0..values.len()).try_for_each(|row| one(row, template.as_ref()))?;
        return Ok(Arc::new(out.finish()));
    }
    let templates = cast(&templates.to_array(values.len())?, &DataType::Utf8)?;
    // One text is mostly that of the row before.
    let mut known: Option<(&str, T)> = None;
    for (row, text) in templates.as_string::<i32>().iter().enumerate() {
        if let Some(text) = text
            && known.as_ref().is_none_or(|(before, _)| *before != text)
        {
            known = Some((text, parse(text)?));
        }
        one(row, text.and(known.as_ref()).map(|(_, template)| template))?;
    }
    Ok(Arc::new(out.finish()))
}

/// Clocks of a zone.
struct Clock {
    tz: Tz,
    /// The zone where it has a name, and with it abbreviations.
    named: Option<chrono_tz::Tz>,
    /// Whether times have a zone at all.
    zoned: bool,
}

impl Clock {
    fn of(zone: Option<&str>) -> Result<Clock> {
        let name = zone.unwrap_or("+00:00");
        Ok(Clock { tz: name.parse()?, named: name.parse().ok(), zoned: zone.is_some() })
    }

    /// What they show at an instant (µs).
    fn at(&self, micros: i64) -> QueryResult<Moment> {
        let far = || QueryError::new("22008", "timestamp out of range");
        let utc = DateTime::from_timestamp_micros(micros).ok_or_else(far)?.naive_utc();
        let offset = self.tz.offset_from_utc_datetime(&utc).fix();
        let local = utc.checked_add_offset(offset).ok_or_else(far)?;
        let named = self.named.map(|zone| zone.offset_from_utc_datetime(&utc));
        let zone = match named.as_ref().and_then(OffsetName::abbreviation) {
            _ if !self.zoned => String::new(),
            Some(name) => name.to_string(),
            None if offset.local_minus_utc() == 0 => "UTC".to_string(),
            None => {
                let digits = offset.to_string();
                digits.strip_suffix(":00").map(ToString::to_string).unwrap_or(digits)
            }
        };
        Ok(Moment { local, offset: offset.local_minus_utc(), zone })
    }
}

/// The digits of a number that a template has places for.
fn digits(values: &ArrayRef, row: usize, template: &NumberTemplate) -> Digits {
    let (fraction, shift) = (template.fraction(), template.shift());
    match values.data_type() {
        DataType::Int64 => {
            let value = i128::from(values.as_primitive::<Int64Type>().value(row));
            decimal(value, 0, fraction, shift)
        }
        DataType::Decimal128(_, scale) => {
            let value = values.as_primitive::<Decimal128Type>().value(row);
            decimal(value, i32::from(*scale), fraction, shift)
        }
        _ => {
            let value = values.as_primitive::<Float64Type>().value(row);
            float(value * 10f64.powi(shift.cast_signed()), fraction)
        }
    }
}

/// `value` / 10^`scale` × 10^`shift`, rounded away from zero at half of the last place.
fn decimal(value: i128, scale: i32, fraction: usize, shift: u32) -> Digits {
    let mut text = value.unsigned_abs().to_string();
    // Places of `text` behind its point.
    let behind = i64::from(scale) - i64::from(shift);
    let wanted = i64::try_from(fraction).unwrap_or(i64::MAX);
    if behind > wanted {
        let cut = usize::try_from(behind - wanted).unwrap_or(usize::MAX);
        let padded = format!("{text:0>width$}", width = cut.saturating_add(1));
        let (kept, dropped) = padded.split_at(padded.len() - cut);
        let up = dropped.as_bytes().first().is_some_and(|digit| *digit >= b'5');
        // What is kept of 128 bits fits them.
        let kept: u128 = kept.parse().unwrap_or_default();
        text = (kept + u128::from(up)).to_string();
    } else {
        let more = usize::try_from(wanted - behind).unwrap_or_default();
        text.push_str(&"0".repeat(more));
    }
    let negative = value < 0 && text.bytes().any(|digit| digit != b'0');
    let width = fraction + 1;
    let mut text = format!("{:0>width$}", text.trim_start_matches('0'));
    if fraction > 0 {
        text.insert(text.len() - fraction, '.');
    }
    Digits { negative, text }
}

/// As PostgreSQL does it: no more digits than a float has.
fn float(value: f64, fraction: usize) -> Digits {
    if !value.is_finite() {
        let text = if value.is_nan() { "NaN" } else { "Infinity" };
        return Digits { negative: value < 0.0, text: text.to_string() };
    }
    let whole = format!("{:.0}", value.abs()).len();
    let fraction = fraction.min(FLOAT_DIGITS.saturating_sub(whole));
    let text = format!("{:.fraction$}", value.abs());
    Digits { negative: value.is_sign_negative(), text }
}

fn no_function<T>(types: &[DataType]) -> Result<T> {
    let shown: Vec<String> = types.iter().map(ToString::to_string).collect();
    let message = format!("function to_char({}) does not exist", shown.join(", "));
    let hint = "to_char(time timestamptz, template text) or to_char(number, template text), for \
                instance to_char(time, 'YYYY-MM-DD HH24:MI:SS')";
    Err(QueryError::new("42883", message).with_hint(hint).into_datafusion())
}

#[cfg(test)]
mod tests {
    //! Numbers as digits.
    use super::*;

    #[test]
    fn decimals_round_away_from_zero() {
        for (value, scale, fraction, shift, expected) in [
            (12_345, 2, 1, 0, "123.5"),
            (-12_345, 2, 1, 0, "-123.5"),
            (12_344, 2, 1, 0, "123.4"),
            (5, 1, 0, 0, "1"),
            (4, 1, 0, 0, "0"),
            (-4, 1, 0, 0, "0"),
            (1, 3, 2, 0, "0.00"),
            (7, 0, 2, 0, "7.00"),
            (0, 0, 0, 0, "0"),
            (0, 5, 2, 0, "0.00"),
            (125, 1, 0, 3, "12500"),
            (125, -2, 1, 0, "12500.0"),
            (i128::MAX, 0, 0, 0, "170141183460469231731687303715884105727"),
            (1, 38, 2, 0, "0.00"),
        ] {
            let Digits { negative, text } = decimal(value, scale, fraction, shift);
            let got = format!("{}{text}", if negative { "-" } else { "" });
            assert_eq!(got, expected, "{value} {scale} {fraction} {shift}");
        }
    }

    #[test]
    fn floats_have_fifteen_digits() {
        for (value, fraction, expected) in [
            (0.1, 2, "0.10"),
            (1.0 / 3.0, 20, "0.33333333333333"),
            (123_456_789_012.345_6, 6, "123456789012.346"),
            (1e16, 3, "10000000000000000"),
            (0.125, 2, "0.12"),
        ] {
            assert_eq!(float(value, fraction).text, expected, "{value}");
        }
    }
}
