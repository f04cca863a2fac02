//! Dates and times in text: ISO forms, as every client library sends them.

use query::{QueryError, QueryResult};

use super::super::backend::error;
use query::text::time::{MICROS_PER_DAY, MICROS_PER_SECOND, days_from_civil};
use query::text::zone::{Zone, offset_from_text};

fn invalid(text: &str, what: &str) -> QueryError {
    let shown: String = text.chars().take(100).collect();
    error("22007", format!("invalid input syntax for type {what}: \"{shown}\""))
}

fn out_of_range(text: &str) -> QueryError {
    let shown: String = text.chars().take(100).collect();
    error("22008", format!("date/time field value out of range: \"{shown}\""))
}

/// Days from 1970-01-01; infinities are the ends of the type.
pub fn date(text: &str) -> QueryResult<i32> {
    match special(text) {
        Some(Special::Infinity) => return Ok(i32::MAX),
        Some(Special::MinusInfinity) => return Ok(i32::MIN),
        Some(Special::Epoch) => return Ok(0),
        None => {}
    }
    let parts = Parts::read(text).ok_or_else(|| invalid(text, "date"))?;
    i32::try_from(parts.days().ok_or_else(|| out_of_range(text))?).map_err(|_| out_of_range(text))
}

/// Microseconds from midnight.
pub fn time_of_day(text: &str) -> QueryResult<i64> {
    let micros = clock(text).ok_or_else(|| invalid(text, "time"))?;
    if micros > MICROS_PER_DAY { Err(out_of_range(text)) } else { Ok(micros) }
}

/// Microseconds from 1970-01-01; an offset in the text is passed over, as Postgres does.
pub fn timestamp(text: &str) -> QueryResult<i64> {
    if let Some(special) = special(text) {
        return Ok(special.micros());
    }
    let parts = Parts::read(text).ok_or_else(|| invalid(text, "timestamp"))?;
    parts.local_micros().ok_or_else(|| out_of_range(text))
}

/// Microseconds from 1970-01-01 UTC; a text without offset is local to `zone`.
pub fn timestamptz(text: &str, zone: &Zone) -> QueryResult<i64> {
    const WHAT: &str = "timestamp with time zone";
    if let Some(special) = special(text) {
        return Ok(special.micros());
    }
    let parts = Parts::read(text).ok_or_else(|| invalid(text, WHAT))?;
    let local = parts.local_micros().ok_or_else(|| out_of_range(text))?;
    let local_seconds = local.div_euclid(MICROS_PER_SECOND);
    let offset_seconds = match parts.zone {
        "" => zone.offset_of_local(local_seconds),
        "Z" | "z" => 0,
        named => match offset_from_text(named) {
            Some(offset_seconds) => offset_seconds,
            None => Zone::from_setting(named)
                .ok_or_else(|| error("22023", format!("time zone \"{named}\" not recognized")))?
                .offset_of_local(local_seconds),
        },
    };
    let shift = i64::from(offset_seconds) * MICROS_PER_SECOND;
    local.checked_sub(shift).ok_or_else(|| out_of_range(text))
}

enum Special {
    Infinity,
    MinusInfinity,
    Epoch,
}

impl Special {
    fn micros(&self) -> i64 {
        match self {
            Special::Infinity => i64::MAX,
            Special::MinusInfinity => i64::MIN,
            Special::Epoch => 0,
        }
    }
}

fn special(text: &str) -> Option<Special> {
    match text.to_ascii_lowercase().as_str() {
        "infinity" | "+infinity" => Some(Special::Infinity),
        "-infinity" => Some(Special::MinusInfinity),
        "epoch" => Some(Special::Epoch),
        _ => None,
    }
}

/// A date, with time of day and zone where the text has them.
struct Parts<'a> {
    year: i64,
    month: u32,
    day: u32,
    micros_of_day: i64,
    /// As written; empty where there is none.
    zone: &'a str,
}

impl<'a> Parts<'a> {
    fn read(text: &'a str) -> Option<Parts<'a>> {
        let (text, before_christ) = match text.strip_suffix(" BC") {
            Some(rest) => (rest.trim_ascii_end(), true),
            None => (text, false),
        };
        let date_end = text.find(['T', 't', ' ']).unwrap_or(text.len());
        let (date, rest) = text.split_at(date_end);
        let mut fields = date.split('-');
        let (year, month, day) = (fields.next()?, fields.next()?, fields.next()?);
        if fields.next().is_some() || year.len() < 4 {
            return None;
        }
        let year = digits(year, 7)?;
        let rest = rest.get(1..).unwrap_or_default().trim_ascii();
        let clock_end = rest.find(|one: char| !(one.is_ascii_digit() || matches!(one, ':' | '.')));
        let (time, zone) = rest.split_at(clock_end.unwrap_or(rest.len()));
        Some(Parts {
            year: if before_christ { 1 - year } else { year },
            month: u32::try_from(digits(month, 2)?).ok()?,
            day: u32::try_from(digits(day, 2)?).ok()?,
            micros_of_day: if time.is_empty() { 0 } else { clock(time)? },
            zone: zone.trim_ascii(),
        })
    }

    /// None where the calendar has no such day.
    fn days(&self) -> Option<i64> {
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        let last = match self.month {
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            1..=12 => 31,
            _ => return None,
        };
        let exists = (1..=last).contains(&self.day);
        exists.then(|| days_from_civil(self.year, self.month, self.day))
    }

    fn local_micros(&self) -> Option<i64> {
        if self.micros_of_day > MICROS_PER_DAY {
            return None;
        }
        self.days()?.checked_mul(MICROS_PER_DAY)?.checked_add(self.micros_of_day)
    }
}

fn digits(text: &str, count_max: usize) -> Option<i64> {
    let fits = (1..=count_max).contains(&text.len());
    let all = text.bytes().all(|byte| byte.is_ascii_digit());
    if fits && all { text.parse().ok() } else { None }
}

/// `04:05`, `04:05:06`, `04:05:06.789` in microseconds, digits beyond them rounded; hours may pass
/// 24, which is for the caller to allow.
pub fn clock(text: &str) -> Option<i64> {
    let mut fields = text.split(':');
    let hours = digits(fields.next()?, 9)?;
    let minutes = digits(fields.next()?, 2)?;
    let (seconds, micros) = match fields.next() {
        None => (0, 0),
        Some(text) => {
            let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
            (digits(whole, 2)?, fraction_micros(fraction)?)
        }
    };
    if fields.next().is_some() || minutes > 59 || seconds > 60 {
        return None;
    }
    Some((hours * 3600 + minutes * 60 + seconds) * MICROS_PER_SECOND + micros)
}

fn fraction_micros(fraction: &str) -> Option<i64> {
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let micros = (0..6).fold(0i64, |sum, at| {
        let digit = fraction.as_bytes().get(at).map_or(0, |byte| byte - b'0');
        sum * 10 + i64::from(digit)
    });
    let round_up = fraction.as_bytes().get(6).is_some_and(|byte| *byte >= b'5');
    Some(micros + i64::from(round_up))
}
