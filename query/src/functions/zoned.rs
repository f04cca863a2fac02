//! `timezone(zone, time)`, which `time AT TIME ZONE zone` is, and `to_timestamp(text, template)`: made
//! for the statement that names them, since what they give is in the session's time zone.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::to_char::Template;
use crate::error::{QueryError, QueryResult};
use crate::text::zone::{Zone, offset_from_text};

/// The name that `to_timestamp` of a text and a template goes by.
pub(crate) const READ: &str = "__to_timestamp";
pub(crate) const AT_ZONE: &str = "timezone";

const LOCAL: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// The function of that name, for a session in that time zone.
pub(super) fn of_name(name: &str, zone: &str) -> Option<Arc<ScalarUDF>> {
    let act = match name {
        READ => Act::Read,
        AT_ZONE => Act::AtZone,
        _ => return None,
    };
    let signature = Signature::user_defined(Volatility::Immutable);
    Some(Arc::new(ScalarUDF::from(Zoned { act, zone: zone.into(), signature })))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Act {
    AtZone,
    Read,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Zoned {
    act: Act,
    /// Of the session.
    zone: Arc<str>,
    signature: Signature,
}

impl Zoned {
    fn zoned(&self) -> DataType {
        DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::clone(&self.zone)))
    }

    fn session(&self) -> Result<Zone> {
        zone_of(&self.zone, false).map_err(QueryError::into_datafusion)
    }
}

impl ScalarUDFImpl for Zoned {
    fn name(&self) -> &str {
        match self.act {
            Act::AtZone => AT_ZONE,
            Act::Read => READ,
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let time = match (self.act, given) {
            (Act::Read, [_, _]) => return Ok(vec![DataType::Utf8; 2]),
            (Act::AtZone, [DataType::Interval(_), _]) => {
                let error = QueryError::unsupported("AT TIME ZONE with an interval");
                return Err(error.with_hint("Name the zone.").into_datafusion());
            }
            (Act::AtZone, [_, DataType::Timestamp(_, zone)]) => {
                DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
            }
            // A day is its midnight, and a text a time, in the session's zone.
            (Act::AtZone, [_, kind])
                if kind.is_string() || kind.is_null() || kind.is_temporal() =>
            {
                self.zoned()
            }
            _ => {
                let message = format!("{} takes a zone and a time", self.name());
                return Err(QueryError::new("42883", message).into_datafusion());
            }
        };
        Ok(vec![DataType::Utf8, time])
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        Ok(match (self.act, args) {
            (Act::AtZone, [_, DataType::Timestamp(_, Some(_))]) => LOCAL,
            _ => self.zoned(),
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let kinds: Vec<DataType> =
            args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(Field::new(self.name(), self.return_type(&kinds)?, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let [first, second] = &arrays[..] else {
            let message = format!("{} takes two arguments", self.name());
            return Err(QueryError::new("42883", message).into_datafusion());
        };
        let done = match self.act {
            Act::AtZone => at_zone(first, second),
            Act::Read => read(first, second, &self.session()?),
        };
        let mut done = done.map_err(QueryError::into_datafusion)?;
        if let DataType::Timestamp(_, Some(zone)) = args.return_field.data_type() {
            done = done.with_timezone(Arc::clone(zone));
        }
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&done, 0)?),
            false => ColumnarValue::Array(Arc::new(done)),
        })
    }
}

fn out_of_range() -> QueryError {
    QueryError::new("22008", "timestamp out of range")
}

/// The zone of that name. Offsets count to the west where PostgreSQL reads them as POSIX does:
/// `+08` and `UTC+8` are eight hours behind UTC.
fn zone_of(name: &str, is_posix: bool) -> QueryResult<Zone> {
    let digits = name.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let behind = || {
        let abbreviation = name.len() - digits.len();
        let is_posix = is_posix && (abbreviation == 0 || abbreviation >= 3);
        let seconds = is_posix.then(|| offset_from_text(digits)).flatten()?;
        let turned = if seconds > 0 { '-' } else { '+' };
        let seconds = seconds.unsigned_abs();
        Zone::from_setting(&format!("{turned}{:02}:{:02}", seconds / 3600, seconds / 60 % 60))
    };
    behind().or_else(|| Zone::from_setting(name)).ok_or_else(|| {
        let shown: String = name.chars().take(100).collect();
        QueryError::new("22023", format!("time zone \"{shown}\" not recognized"))
    })
}

/// What clocks show at the times, and the times when clocks show so.
fn at_zone(zones: &ArrayRef, times: &ArrayRef) -> QueryResult<TimestampMicrosecondArray> {
    let to_local = matches!(times.data_type(), DataType::Timestamp(_, Some(_)));
    let (zones, times) =
        (zones.as_string::<i32>(), times.as_primitive::<TimestampMicrosecondType>());
    // One zone is mostly that of the row before.
    let mut known: Option<(&str, Zone)> = None;
    let made = (0..times.len()).map(|row| {
        if zones.is_null(row) || times.is_null(row) {
            return Ok(None);
        }
        let (name, micros) = (zones.value(row), times.value(row));
        if known.as_ref().is_none_or(|(before, _)| *before != name) {
            known = Some((name, zone_of(name, true)?));
        }
        let Some((_, zone)) = &known else { return Ok(None) };
        let seconds = micros.div_euclid(1_000_000);
        let offset = match to_local {
            true => i64::from(zone.offset_at(seconds)),
            false => -i64::from(zone.offset_of_local(seconds)),
        };
        micros.checked_add(offset * 1_000_000).map(Some).ok_or_else(out_of_range)
    });
    made.collect()
}

fn read(
    texts: &ArrayRef,
    templates: &ArrayRef,
    session: &Zone,
) -> QueryResult<TimestampMicrosecondArray> {
    let (texts, templates) = (texts.as_string::<i32>(), templates.as_string::<i32>());
    let mut known: Option<(&str, Template)> = None;
    let made = (0..texts.len()).map(|row| {
        if texts.is_null(row) || templates.is_null(row) {
            return Ok(None);
        }
        let text = templates.value(row);
        if known.as_ref().is_none_or(|(before, _)| *before != text) {
            known = Some((text, Template::parse(text)));
        }
        let Some((_, template)) = &known else { return Ok(None) };
        let read = template.read(texts.value(row))?;
        let local = read.local.and_utc();
        let offset = read.offset.unwrap_or_else(|| session.offset_of_local(local.timestamp()));
        let micros = local.timestamp_micros().checked_sub(i64::from(offset) * 1_000_000);
        micros.map(Some).ok_or_else(out_of_range)
    });
    made.collect()
}
