//! Dates, times and intervals as Postgres writes them (`DateStyle` ISO, `IntervalStyle` postgres),
//! by arithmetic alone: no date library runs per cell.

use super::digits::put_pair;
use super::number::put_integer;
use super::zone::ZoneCursor;

pub const MICROS_PER_SECOND: i64 = 1_000_000;
pub const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// Days from 1970-01-01 to 2000-01-01, where Postgres counts from.
pub const POSTGRES_EPOCH_DAYS: i32 = 10_957;
pub const POSTGRES_EPOCH_MICROS: i64 = POSTGRES_EPOCH_DAYS as i64 * MICROS_PER_DAY;

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
/// The year counts 0 for 1 BC. (Days are shifted so that a 400-year era begins on 1 March.)
pub fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_shifted + 2) / 5 + 1) as u32;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Days from 1970-01-01 to a date; the inverse of [`civil_from_days`].
pub fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month = i64::from(month);
    let month_shifted = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_shifted + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[inline]
fn put_two(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&[b'0' + (value / 10 % 10) as u8, b'0' + (value % 10) as u8]);
}

/// `2024-03-09`; whether the year is before Christ is left to the caller to append.
fn put_day(out: &mut Vec<u8>, days: i64) -> bool {
    let (year, month, day) = civil_from_days(days);
    let (shown, before_christ) = if year > 0 { (year, false) } else { (1 - year, true) };
    if shown < 10_000 {
        put_two(out, (shown / 100) as u32);
        put_two(out, (shown % 100) as u32);
    } else {
        put_integer(out, shown);
    }
    out.push(b'-');
    put_two(out, month);
    out.push(b'-');
    put_two(out, day);
    before_christ
}

/// `04:05:06.789`, fraction without trailing zeros; `micros` of one day.
pub fn put_time_of_day(out: &mut Vec<u8>, micros: i64) {
    let seconds = micros / MICROS_PER_SECOND;
    put_two(out, (seconds / 3600) as u32);
    out.push(b':');
    put_two(out, (seconds / 60 % 60) as u32);
    out.push(b':');
    put_two(out, (seconds % 60) as u32);
    put_fraction(out, (micros % MICROS_PER_SECOND) as u32);
}

#[inline]
fn put_fraction(out: &mut Vec<u8>, mut micros: u32) {
    if micros == 0 {
        return;
    }
    let mut digits = [0u8; 6];
    for place in digits.iter_mut().rev() {
        *place = b'0' + (micros % 10) as u8;
        micros /= 10;
    }
    let kept = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
    out.push(b'.');
    out.extend_from_slice(&digits[..kept]);
}

pub fn put_date(out: &mut Vec<u8>, days: i32) {
    match days {
        i32::MAX => out.extend_from_slice(b"infinity"),
        i32::MIN => out.extend_from_slice(b"-infinity"),
        _ => {
            if put_day(out, i64::from(days)) {
                out.extend_from_slice(b" BC");
            }
        }
    }
}

fn put_infinite(out: &mut Vec<u8>, micros: i64) -> bool {
    match micros {
        i64::MAX => out.extend_from_slice(b"infinity"),
        i64::MIN => out.extend_from_slice(b"-infinity"),
        _ => return false,
    }
    true
}

/// A timestamp without time zone; `micros` from 1970-01-01.
pub fn put_timestamp(out: &mut Vec<u8>, micros: i64) {
    if put_infinite(out, micros) {
        return;
    }
    let before_christ = put_day(out, micros.div_euclid(MICROS_PER_DAY));
    out.push(b' ');
    put_time_of_day(out, micros.rem_euclid(MICROS_PER_DAY));
    if before_christ {
        out.extend_from_slice(b" BC");
    }
}

/// A timestamp with time zone, shown in the session's zone with its offset.
pub fn put_timestamptz(out: &mut Vec<u8>, micros: i64, zone: &ZoneCursor<'_>) {
    if put_infinite(out, micros) {
        return;
    }
    let offset_seconds = zone.offset_at(micros.div_euclid(MICROS_PER_SECOND));
    let local = micros.saturating_add(i64::from(offset_seconds) * MICROS_PER_SECOND);
    let before_christ = put_day(out, local.div_euclid(MICROS_PER_DAY));
    out.push(b' ');
    put_time_of_day(out, local.rem_euclid(MICROS_PER_DAY));
    put_offset(out, offset_seconds);
    if before_christ {
        out.extend_from_slice(b" BC");
    }
}

fn put_offset(out: &mut Vec<u8>, seconds: i32) {
    out.push(if seconds < 0 { b'-' } else { b'+' });
    let seconds = seconds.unsigned_abs();
    put_two(out, seconds / 3600);
    if !seconds.is_multiple_of(3600) {
        out.push(b':');
        put_two(out, seconds / 60 % 60);
    }
    if !seconds.is_multiple_of(60) {
        out.push(b':');
        put_two(out, seconds % 60);
    }
}

/// Bytes of `2024-03-09 `.
const DAY_BYTES: usize = 11;
const LAST_PLAIN_DAY: i64 = 2_932_896;
const FIRST_PLAIN_DAY: i64 = -719_162;

/// Writes timestamps into buffers of fixed width, with a memory of the last hour, day and offset,
/// since results come sorted by time. Prints what [`put_timestamp`] and [`put_timestamptz`] print.
#[derive(Clone, Debug)]
pub struct DayCursor {
    hour: Hour,
    day: i64,
    text: [u8; DAY_BYTES],
    offset: i32,
    offset_text: [u8; OFFSET_BYTES],
    offset_bytes: usize,
}

/// An hour, and how its instants are written but for minutes, seconds and what is behind them.
#[derive(Clone, Debug)]
struct Hour {
    /// Its first instant, µs from 1970-01-01.
    start: i64,
    /// How long it is: as an hour, or 0 before there is one.
    micros: i64,
    /// An instant at a whole second.
    text: [u8; HOUR_BYTES],
    bytes: usize,
}

/// Bytes of a timestamp of four digits of a year at a whole second, at most, and a few more.
const HOUR_BYTES: usize = 32;
const MICROS_PER_HOUR: i64 = 3_600 * MICROS_PER_SECOND;
/// Bytes of the offset of a zone, at most.
const OFFSET_BYTES: usize = 9;
/// Where minutes, seconds and what is behind them stand in a timestamp.
const MINUTES_AT: usize = DAY_BYTES + 3;
const SECONDS_AT: usize = DAY_BYTES + 6;
const FRACTION_AT: usize = DAY_BYTES + 8;

impl Default for DayCursor {
    fn default() -> DayCursor {
        let mut cursor = DayCursor {
            hour: Hour { start: 0, micros: 0, text: [0; HOUR_BYTES], bytes: 0 },
            day: i64::MIN,
            text: [0; DAY_BYTES],
            offset: 0,
            offset_text: [0; OFFSET_BYTES],
            offset_bytes: 0,
        };
        cursor.remember_offset(0);
        cursor
    }
}

impl DayCursor {
    /// Puts a timestamp, in µs from 1970-01-01, at `at`, in a zone with its offset or without one,
    /// and returns where it ends; 45 bytes at most.
    #[inline]
    pub fn put<const WIDTH: usize>(
        &mut self,
        out: &mut [u8; WIDTH],
        at: usize,
        micros: i64,
        zone: Option<&ZoneCursor<'_>>,
    ) -> usize {
        let of_hour = micros.wrapping_sub(self.hour.start);
        if !(0..self.hour.micros).contains(&of_hour) {
            return self.put_of_day(out, at, micros, zone);
        }
        let seconds = (of_hour / MICROS_PER_SECOND) as usize;
        let fraction = of_hour - seconds as i64 * MICROS_PER_SECOND;
        out[at..at + HOUR_BYTES].copy_from_slice(&self.hour.text);
        put_pair(out, at + MINUTES_AT, seconds / 60);
        put_pair(out, at + SECONDS_AT, seconds % 60);
        if fraction == 0 {
            return at + self.hour.bytes;
        }
        let end = put_part(out, at + FRACTION_AT, fraction);
        out[end..end + OFFSET_BYTES]
            .copy_from_slice(&self.hour.text[FRACTION_AT..FRACTION_AT + OFFSET_BYTES]);
        end + self.hour.bytes - FRACTION_AT
    }

    /// [`DayCursor::put`] without looking at the hour, which is remembered.
    fn put_of_day<const WIDTH: usize>(
        &mut self,
        out: &mut [u8; WIDTH],
        at: usize,
        micros: i64,
        zone: Option<&ZoneCursor<'_>>,
    ) -> usize {
        let offset = match zone {
            Some(zone) => zone.offset_at(micros.div_euclid(MICROS_PER_SECOND)),
            None => 0,
        };
        let local = micros.saturating_add(i64::from(offset) * MICROS_PER_SECOND);
        let day = local.div_euclid(MICROS_PER_DAY);
        // Four digits of a year, and neither infinity.
        if !(FIRST_PLAIN_DAY..=LAST_PLAIN_DAY).contains(&day) {
            return put_any(out, at, micros, zone);
        }
        if day != self.day {
            self.remember_day(day);
        }
        out[at..at + DAY_BYTES].copy_from_slice(&self.text);
        let of_day = local - day * MICROS_PER_DAY;
        let seconds = (of_day / MICROS_PER_SECOND) as usize;
        let clock = at + DAY_BYTES;
        put_pair(out, clock, seconds / 3600);
        out[clock + 2] = b':';
        put_pair(out, clock + 3, seconds / 60 % 60);
        out[clock + 5] = b':';
        put_pair(out, clock + 6, seconds % 60);
        let mut end = at + FRACTION_AT;
        let fraction = of_day - seconds as i64 * MICROS_PER_SECOND;
        if fraction != 0 {
            end = put_part(out, end, fraction);
        }
        if zone.is_some() {
            if offset != self.offset {
                self.remember_offset(offset);
            }
            out[end..end + OFFSET_BYTES].copy_from_slice(&self.offset_text);
            end += self.offset_bytes;
        }
        let start = micros - of_day % MICROS_PER_HOUR;
        if zone.is_none_or(|zone| zone.is_steady(start.div_euclid(MICROS_PER_SECOND))) {
            self.remember_hour(start, seconds / 3600, zone.is_some());
        }
        end
    }

    /// Remembers an hour of the day and offset that are remembered.
    fn remember_hour(&mut self, start: i64, hour: usize, zoned: bool) {
        let Hour { text, bytes, .. } = &mut self.hour;
        text[..DAY_BYTES].copy_from_slice(&self.text);
        put_pair(text, DAY_BYTES, hour);
        text[DAY_BYTES + 2] = b':';
        text[SECONDS_AT - 1] = b':';
        text[FRACTION_AT..FRACTION_AT + OFFSET_BYTES].copy_from_slice(&self.offset_text);
        *bytes = FRACTION_AT + if zoned { self.offset_bytes } else { 0 };
        (self.hour.start, self.hour.micros) = (start, MICROS_PER_HOUR);
    }

    #[cold]
    fn remember_day(&mut self, day: i64) {
        let mut text = Vec::with_capacity(16);
        put_day(&mut text, day);
        text.push(b' ');
        self.text.copy_from_slice(&text);
        self.day = day;
    }

    #[cold]
    fn remember_offset(&mut self, offset: i32) {
        let mut text = Vec::with_capacity(16);
        put_offset(&mut text, offset);
        self.offset_text[..text.len()].copy_from_slice(&text);
        self.offset_bytes = text.len();
        self.offset = offset;
    }
}

/// Puts the fraction of a second, in µs and not 0, without its last zeros; returns where it ends.
#[inline]
fn put_part<const WIDTH: usize>(out: &mut [u8; WIDTH], at: usize, micros: i64) -> usize {
    out[at] = b'.';
    put_pair(out, at + 1, (micros / 10_000) as usize);
    put_pair(out, at + 3, (micros / 100 % 100) as usize);
    put_pair(out, at + 5, (micros % 100) as usize);
    let mut end = at + 7;
    while out[end - 1] == b'0' {
        end -= 1;
    }
    end
}

#[cold]
fn put_any<const WIDTH: usize>(
    out: &mut [u8; WIDTH],
    at: usize,
    micros: i64,
    zone: Option<&ZoneCursor<'_>>,
) -> usize {
    let mut text = Vec::with_capacity(48);
    match zone {
        Some(zone) => put_timestamptz(&mut text, micros, zone),
        None => put_timestamp(&mut text, micros),
    }
    out[at..at + text.len()].copy_from_slice(&text);
    at + text.len()
}

/// An interval: whole months, whole days, and microseconds, each with a sign of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    pub months: i32,
    pub days: i32,
    pub micros: i64,
}

impl Interval {
    /// What lies between two times: days of 24 hours, and the rest.
    #[must_use]
    pub fn of_micros(micros: i64) -> Interval {
        let days = i32::try_from(micros / MICROS_PER_DAY).expect("64 bits hold fewer days of µs");
        Interval { months: 0, days, micros: micros % MICROS_PER_DAY }
    }
}

/// `1 year 2 mons -3 days +04:05:06`: a unit after a negative one shows its plus sign.
pub fn put_interval(out: &mut Vec<u8>, interval: Interval) {
    let (mut empty, mut negative_before) = (true, false);
    let units =
        [(interval.months / 12, "year"), (interval.months % 12, "mon"), (interval.days, "day")];
    for (value, unit) in units {
        if value == 0 {
            continue;
        }
        if !empty {
            out.push(b' ');
        }
        if negative_before && value > 0 {
            out.push(b'+');
        }
        put_integer(out, value);
        out.push(b' ');
        out.extend_from_slice(unit.as_bytes());
        if value != 1 {
            out.push(b's');
        }
        negative_before = value < 0;
        empty = false;
    }
    if empty || interval.micros != 0 {
        if !empty {
            out.push(b' ');
        }
        match (interval.micros < 0, negative_before) {
            (true, _) => out.push(b'-'),
            (false, true) => out.push(b'+'),
            (false, false) => {}
        }
        put_long_time(out, interval.micros.unsigned_abs());
    }
}

/// Like a time of day whose hours may pass 24 and 99.
fn put_long_time(out: &mut Vec<u8>, micros: u64) {
    let seconds = micros / MICROS_PER_SECOND as u64;
    let hours = seconds / 3600;
    if hours < 10 {
        out.push(b'0');
    }
    put_integer(out, hours);
    out.push(b':');
    put_two(out, (seconds / 60 % 60) as u32);
    out.push(b':');
    put_two(out, (seconds % 60) as u32);
    put_fraction(out, (micros % MICROS_PER_SECOND as u64) as u32);
}
