//! Scalar functions of PostgreSQL that DataFusion lacks and that depend on nothing but their
//! arguments: of times and intervals (`age`, `justify_days`, `make_interval`, …), `to_number`,
//! `width_bucket`, `regexp_split_to_array`, `pg_typeof`. NULL comes of NULL.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Int32Array, IntervalMonthDayNanoArray,
    ListBuilder, StringArray, StringBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Field, FieldRef, Float64Type, Int32Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, IntervalUnit, TimeUnit, TimestampMicrosecondType,
};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Timelike};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use crate::catalog::{sql_name, type_number};
use crate::error::QueryError;
use crate::text::number::OPEN_SCALE;
use crate::text::zone::Zone;

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);
const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);
/// `numeric` without digits.
const NUMERIC: DataType = DataType::Decimal128(38, OPEN_SCALE);
const DAYS_PER_MONTH: i32 = 30;
/// Of an interval in ns, with room.
const MICROS_MAX: f64 = 9e15;
const NANOS_PER_DAY: i64 = 86_400_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Act {
    Age,
    IsFinite,
    JustifyDays,
    JustifyHours,
    JustifyInterval,
    MakeInterval,
    MakeTimestamp,
    SplitByPattern,
    ToNumber,
    TypeOf,
    WidthBucket,
}

const ALL: [(&str, Act); 11] = [
    ("age", Act::Age),
    ("isfinite", Act::IsFinite),
    ("justify_days", Act::JustifyDays),
    ("justify_hours", Act::JustifyHours),
    ("justify_interval", Act::JustifyInterval),
    ("make_interval", Act::MakeInterval),
    ("make_timestamp", Act::MakeTimestamp),
    ("regexp_split_to_array", Act::SplitByPattern),
    ("to_number", Act::ToNumber),
    ("pg_typeof", Act::TypeOf),
    ("width_bucket", Act::WidthBucket),
];

pub(super) fn all() -> impl Iterator<Item = ScalarUDF> {
    ALL.into_iter().map(|(name, act)| {
        let signature = Signature::user_defined(Volatility::Immutable);
        ScalarUDF::from(Plain { name, act, signature })
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Plain {
    name: &'static str,
    act: Act,
    signature: Signature,
}

impl ScalarUDFImpl for Plain {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let (ints, texts) = (|n| vec![DataType::Int32; n], |n| vec![DataType::Utf8; n]);
        let wanted = match (self.act, given) {
            (Act::Age, [a, b]) => {
                let zone = [a, b].into_iter().find_map(|kind| match kind {
                    DataType::Timestamp(_, zone @ Some(_)) => Some(zone.clone()),
                    _ => None,
                });
                vec![DataType::Timestamp(TimeUnit::Microsecond, zone.flatten()); 2]
            }
            (Act::TypeOf, [_]) => given.to_vec(),
            (Act::IsFinite, [kind]) if kind.is_temporal() || kind.is_null() => given.to_vec(),
            (Act::JustifyDays | Act::JustifyHours | Act::JustifyInterval, [_]) => vec![INTERVAL],
            (Act::MakeInterval, [_, _, _, _, _, _, _]) => {
                [ints(6), vec![DataType::Float64]].concat()
            }
            (Act::MakeTimestamp, [_, _, _, _, _, _]) => [ints(5), vec![DataType::Float64]].concat(),
            (Act::SplitByPattern, [_, _] | [_, _, _]) => texts(given.len()),
            (Act::ToNumber, [_, _]) => texts(2),
            (Act::WidthBucket, [_, _, _, _]) => [vec![DataType::Float64; 3], ints(1)].concat(),
            _ => {
                let kinds: Vec<_> = given.iter().map(|kind| self.type_name(kind)).collect();
                let message =
                    format!("function {}({}) does not exist", self.name, kinds.join(", "));
                return Err(QueryError::new("42883", message).into_datafusion());
            }
        };
        Ok(wanted)
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.act {
            Act::Age | Act::JustifyDays | Act::JustifyHours | Act::JustifyInterval => INTERVAL,
            Act::MakeInterval => INTERVAL,
            Act::IsFinite => DataType::Boolean,
            Act::MakeTimestamp => TIMESTAMP,
            Act::SplitByPattern => DataType::new_list(DataType::Utf8, true),
            Act::ToNumber => NUMERIC,
            Act::TypeOf => DataType::Utf8,
            Act::WidthBucket => DataType::Int32,
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let kinds: Vec<DataType> =
            args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(Field::new(self.name, self.return_type(&kinds)?, self.act != Act::TypeOf)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if self.act == Act::TypeOf {
            let [field] = args.arg_fields.as_slice() else {
                return plan_err!("{} takes one argument", self.name);
            };
            let name = sql_name(type_number(field));
            return Ok(ColumnarValue::Scalar(ScalarValue::Utf8(Some(name))));
        }
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let done = self.rows(&arrays, rows)?;
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&done, 0)?),
            false => ColumnarValue::Array(done),
        })
    }
}

impl Plain {
    fn type_name(&self, kind: &DataType) -> String {
        sql_name(type_number(&Field::new(self.name, kind.clone(), true)))
    }

    fn rows(&self, args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        // Of every row that has no NULL.
        let whole = |row: usize| args.iter().all(|arg| arg.is_valid(row));
        let interval = |at: usize| args[at].as_primitive::<IntervalMonthDayNanoType>();
        let int = |at: usize, row: usize| args[at].as_primitive::<Int32Type>().value(row);
        let float = |at: usize, row: usize| args[at].as_primitive::<Float64Type>().value(row);
        let text = |at: usize, row: usize| args[at].as_string::<i32>().value(row);
        macro_rules! each {
            ($into:ty, $of:expr) => {{
                let of = $of;
                let made = (0..rows).map(|row| whole(row).then(|| of(row)).transpose());
                Arc::new(made.collect::<Result<$into>>()?)
            }};
        }
        let justified = |by: fn(IntervalMonthDayNano) -> Option<IntervalMonthDayNano>| {
            let of = |row| by(interval(0).value(row)).ok_or_else(|| out_of_range("interval"));
            let made = (0..rows).map(|row| whole(row).then(|| of(row)).transpose());
            made.collect::<Result<IntervalMonthDayNanoArray>>()
                .map(|made| Arc::new(made) as ArrayRef)
        };
        Ok(match self.act {
            Act::Age => {
                let zone = match args[0].data_type() {
                    DataType::Timestamp(_, Some(name)) => Zone::from_setting(name),
                    _ => None,
                };
                let at = |at: usize, row| {
                    let micros = args[at].as_primitive::<TimestampMicrosecondType>().value(row);
                    local(micros, zone.as_ref()).ok_or_else(|| out_of_range("timestamp"))
                };
                each!(IntervalMonthDayNanoArray, |row| Ok(age(at(0, row)?, at(1, row)?)))
            }
            Act::IsFinite => each!(BooleanArray, |_| Ok(true)),
            Act::JustifyDays => justified(justify_days)?,
            Act::JustifyHours => justified(justify_hours)?,
            Act::JustifyInterval => justified(justify_interval)?,
            Act::MakeInterval => each!(IntervalMonthDayNanoArray, |row| {
                let ints = [0, 1, 2, 3, 4, 5].map(|at| i64::from(int(at, row)));
                make_interval(ints, float(6, row)).ok_or_else(|| out_of_range("interval"))
            }),
            Act::MakeTimestamp => each!(TimestampMicrosecondArray, |row| {
                let ints = [0, 1, 2, 3, 4].map(|at| int(at, row));
                make_timestamp(ints, float(5, row)).ok_or_else(|| {
                    let [year, month, day, ..] = ints;
                    let message = format!(
                        "date or time field value out of range: {year}-{month:02}-{day:02}"
                    );
                    QueryError::new("22008", message).into_datafusion()
                })
            }),
            Act::ToNumber => {
                let made: Decimal128Array = (0..rows)
                    .map(|row| {
                        whole(row).then(|| to_number(text(0, row), text(1, row))).transpose()
                    })
                    .collect::<Result<_>>()?;
                Arc::new(made.with_precision_and_scale(38, OPEN_SCALE)?)
            }
            Act::WidthBucket => each!(Int32Array, |row| {
                width_bucket(float(0, row), float(1, row), float(2, row), int(3, row))
            }),
            Act::SplitByPattern => {
                let mut lists = ListBuilder::new(StringBuilder::new());
                let mut compiled: Option<(String, regex::Regex)> = None;
                for row in 0..rows {
                    if !whole(row) {
                        lists.append_null();
                        continue;
                    }
                    let flags = if args.len() > 2 { text(2, row) } else { "" };
                    let source = pattern(text(1, row), flags)?;
                    if compiled.as_ref().is_none_or(|(known, _)| *known != source) {
                        let made = regex::Regex::new(&source).map_err(|error| {
                            let message = format!("invalid regular expression: {error}");
                            QueryError::new("2201B", message).into_datafusion()
                        })?;
                        compiled = Some((source, made));
                    }
                    if let Some((_, regex)) = &compiled {
                        split(text(0, row), regex, |part| lists.values().append_value(part));
                    }
                    lists.append(true);
                }
                Arc::new(lists.finish())
            }
            Act::TypeOf => Arc::new(StringArray::new_null(rows)),
        })
    }
}

fn out_of_range(what: &str) -> datafusion::error::DataFusionError {
    QueryError::new("22008", format!("{what} out of range")).into_datafusion()
}

/// The clock on the wall.
fn local(micros: i64, zone: Option<&Zone>) -> Option<NaiveDateTime> {
    let offset = zone.map_or(0, |zone| zone.offset_at(micros.div_euclid(1_000_000)));
    let micros = micros.checked_add(i64::from(offset) * 1_000_000)?;
    DateTime::from_timestamp_micros(micros).map(|time| time.naive_utc())
}

fn days_of(year: i32, month: u32) -> i32 {
    let next = match month {
        12 => NaiveDate::from_ymd_opt(year + 1, 1, 1),
        _ => NaiveDate::from_ymd_opt(year, month + 1, 1),
    };
    let first = NaiveDate::from_ymd_opt(year, month, 1);
    next.zip(first).map_or(31, |(next, first)| (next - first).num_days() as i32)
}

/// Years, months, days and time from the second to the first, each less than the next one up:
/// `timestamp_age` of PostgreSQL.
fn age(a: NaiveDateTime, b: NaiveDateTime) -> IntervalMonthDayNano {
    let sign = if a < b { -1 } else { 1 };
    let fields = |time: NaiveDateTime| {
        let nanos = i64::from(time.num_seconds_from_midnight()) * 1_000_000_000
            + i64::from(time.nanosecond());
        (time.year() * 12 + time.month0() as i32, time.day() as i32, nanos)
    };
    let (a_fields, b_fields) = (fields(a), fields(b));
    let mut months = (a_fields.0 - b_fields.0) * sign;
    let mut days = (a_fields.1 - b_fields.1) * sign;
    let mut nanos = (a_fields.2 - b_fields.2) * i64::from(sign);
    if nanos < 0 {
        nanos += NANOS_PER_DAY;
        days -= 1;
    }
    while days < 0 {
        let earlier = if sign < 0 { a } else { b };
        days += days_of(earlier.year(), earlier.month());
        months -= 1;
    }
    IntervalMonthDayNano::new(months * sign, days * sign, nanos * i64::from(sign))
}

fn justify_hours(of: IntervalMonthDayNano) -> Option<IntervalMonthDayNano> {
    let IntervalMonthDayNano { months, days, nanoseconds } = of;
    let mut days = days.checked_add(i32::try_from(nanoseconds / NANOS_PER_DAY).ok()?)?;
    let mut nanoseconds = nanoseconds % NANOS_PER_DAY;
    if days > 0 && nanoseconds < 0 {
        (days, nanoseconds) = (days - 1, nanoseconds + NANOS_PER_DAY);
    } else if days < 0 && nanoseconds > 0 {
        (days, nanoseconds) = (days + 1, nanoseconds - NANOS_PER_DAY);
    }
    Some(IntervalMonthDayNano { months, days, nanoseconds })
}

fn justify_days(of: IntervalMonthDayNano) -> Option<IntervalMonthDayNano> {
    let IntervalMonthDayNano { months, days, nanoseconds } = of;
    let mut months = months.checked_add(days / DAYS_PER_MONTH)?;
    let mut days = days % DAYS_PER_MONTH;
    if months > 0 && days < 0 {
        (months, days) = (months - 1, days + DAYS_PER_MONTH);
    } else if months < 0 && days > 0 {
        (months, days) = (months + 1, days - DAYS_PER_MONTH);
    }
    Some(IntervalMonthDayNano { months, days, nanoseconds })
}

fn justify_interval(of: IntervalMonthDayNano) -> Option<IntervalMonthDayNano> {
    let IntervalMonthDayNano { months, days, nanoseconds } = of;
    let days = i64::from(days) + nanoseconds / NANOS_PER_DAY;
    let mut nanoseconds = nanoseconds % NANOS_PER_DAY;
    let per_month = i64::from(DAYS_PER_MONTH);
    let mut months = i64::from(months) + days / per_month;
    let mut days = days % per_month;
    if months > 0 && (days < 0 || (days == 0 && nanoseconds < 0)) {
        (months, days) = (months - 1, days + per_month);
    } else if months < 0 && (days > 0 || (days == 0 && nanoseconds > 0)) {
        (months, days) = (months + 1, days - per_month);
    }
    if days > 0 && nanoseconds < 0 {
        (days, nanoseconds) = (days - 1, nanoseconds + NANOS_PER_DAY);
    } else if days < 0 && nanoseconds > 0 {
        (days, nanoseconds) = (days + 1, nanoseconds - NANOS_PER_DAY);
    }
    let (months, days) = (i32::try_from(months).ok()?, i32::try_from(days).ok()?);
    Some(IntervalMonthDayNano { months, days, nanoseconds })
}

/// Of years, months, weeks, days, hours, minutes and seconds.
fn make_interval(parts: [i64; 6], seconds: f64) -> Option<IntervalMonthDayNano> {
    let [years, months, weeks, days, hours, minutes] = parts;
    let micros = (seconds * 1e6).round_ties_even();
    if micros.is_nan() || micros.abs() >= MICROS_MAX {
        return None;
    }
    let nanoseconds = (hours * 60 + minutes).checked_mul(60_000_000_000)?;
    Some(IntervalMonthDayNano {
        months: i32::try_from(years * 12 + months).ok()?,
        days: i32::try_from(weeks * 7 + days).ok()?,
        nanoseconds: nanoseconds.checked_add((micros as i64).checked_mul(1_000)?)?,
    })
}

/// µs since 1970 of a year, month, day, hour and minute.
fn make_timestamp(parts: [i32; 5], seconds: f64) -> Option<i64> {
    let [year, month, day, hour, minute] = parts;
    let is_time = (0..24).contains(&hour) && (0..60).contains(&minute);
    if !is_time || !(0.0..=60.0).contains(&seconds) || year == 0 {
        return None;
    }
    // There is no year 0: 1 BC comes before AD 1.
    let year = if year < 0 { year + 1 } else { year };
    let date = NaiveDate::from_ymd_opt(year, u32::try_from(month).ok()?, u32::try_from(day).ok()?)?;
    let start = date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros();
    let clock = i64::from(hour * 60 + minute) * 60_000_000;
    Some(start + clock + (seconds * 1e6).round_ties_even() as i64)
}

/// The place of a value among `count` buckets of one width: 0 before them, `count` + 1 behind.
fn width_bucket(value: f64, low: f64, high: f64, count: i32) -> Result<i32> {
    let refuse = |message: &str| Err(QueryError::new("2201G", message).into_datafusion());
    if count <= 0 {
        return refuse("count must be greater than zero");
    }
    if value.is_nan() || low.is_nan() || high.is_nan() {
        return refuse("operand, lower bound, and upper bound cannot be NaN");
    }
    if low.is_infinite() || high.is_infinite() {
        return refuse("lower and upper bounds must be finite");
    }
    if low == high {
        return refuse("lower bound cannot equal upper bound");
    }
    let (before, behind) =
        if low < high { (value < low, value >= high) } else { (value > low, value <= high) };
    let after_all = || {
        count
            .checked_add(1)
            .ok_or_else(|| QueryError::new("22003", "integer out of range").into_datafusion())
    };
    if before {
        return Ok(0);
    }
    if behind {
        return after_all();
    }
    let place = f64::from(count) * ((value - low) / (high - low));
    Ok((place as i32).min(count - 1) + 1)
}

/// The unscaled number in a text by a template of `to_char`.
fn to_number(text: &str, template: &str) -> Result<i128> {
    let upper = template.to_ascii_uppercase();
    if upper.contains("EEEE") {
        return Err(QueryError::unsupported("to_number with EEEE").into_datafusion());
    }
    let (whole, fraction) = upper.split_once(['.', 'D']).unwrap_or((&upper, ""));
    let digits = |part: &str| part.bytes().filter(|byte| matches!(byte, b'9' | b'0')).count();
    let has_point = upper.contains(['.', 'D']);
    let (whole_max, fraction_max) = (digits(whole), digits(fraction).min(OPEN_SCALE as usize));
    let is_negative = text.contains('-') || (upper.contains("PR") && text.contains('<'));
    let (mut value, mut wholes, mut fractions, mut behind) = (0i128, 0, 0, false);
    for byte in text.bytes() {
        match byte {
            b'.' if has_point && !behind => behind = true,
            b'.' => break,
            b'0'..=b'9' => {
                match behind {
                    false if wholes < whole_max => wholes += 1,
                    true if fractions < fraction_max => fractions += 1,
                    _ => continue,
                }
                let more = value.checked_mul(10).and_then(|v| v.checked_add((byte - b'0').into()));
                value = more.ok_or_else(|| out_of_range("numeric"))?;
            }
            _ => {}
        }
    }
    if wholes + fractions == 0 {
        let shown: String = text.chars().take(100).collect();
        let message = format!("invalid input syntax for type numeric: \"{shown}\"");
        return Err(QueryError::new("22P02", message).into_datafusion());
    }
    let scale = 10i128.pow(OPEN_SCALE as u32 - fractions as u32);
    let value = value.checked_mul(scale).ok_or_else(|| out_of_range("numeric"))?;
    Ok(if is_negative { -value } else { value })
}

/// A regular expression with PostgreSQL's flags.
fn pattern(text: &str, flags: &str) -> Result<String> {
    let mut known = String::new();
    for flag in flags.chars() {
        match flag {
            'i' | 's' | 'x' => known.push(flag),
            'n' | 'm' => known.push('m'),
            'c' => known.retain(|flag| flag != 'i'),
            other => {
                let message = format!("invalid regular expression option: \"{other}\"");
                return Err(QueryError::new("22023", message).into_datafusion());
            }
        }
    }
    Ok(if known.is_empty() { text.to_owned() } else { format!("(?{known}){text}") })
}

/// The parts between matches. Matches of nothing at the ends, and right behind another match, do not
/// split.
fn split(text: &str, by: &regex::Regex, mut part: impl FnMut(&str)) {
    let mut start = 0;
    for found in by.find_iter(text) {
        if found.is_empty() && (found.start() == start || found.end() == text.len()) {
            continue;
        }
        part(&text[start..found.start()]);
        start = found.end();
    }
    part(&text[start..]);
}
