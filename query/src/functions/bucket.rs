//! Which bucket a time falls into, and which bucket comes next: fixed widths, months, time zones.
//!
//! Times are ticks since 1970 (µs or ns, as the column has them). Without a zone buckets are cut
//! in UTC. In a zone they are cut on its clock:
//! - widths above an hour start where the clock first shows a multiple of the width; where the
//!   clock skips that reading the bucket starts at the jump. A day may have 23 or 25 hours;
//! - widths up to an hour keep the offset of their own time, so the two hours that a clock shows
//!   twice are two buckets, as in Postgres' `date_trunc`; a change of the clock starts a bucket.
//!
//! Both keep the order of times: a later time is never in an earlier bucket.

use std::str::FromStr;

use arrow::array::timezone::Tz;
use arrow::datatypes::{IntervalMonthDayNano, TimeUnit};
use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveDateTime, Offset, TimeZone};
use datafusion::common::ScalarValue;

use crate::error::{QueryError, QueryResult};

/// 2000-01-03T00:00:00Z, a Monday, s.
pub(crate) const MONDAY: i64 = 946_857_600;
/// 2000-01-01T00:00:00Z, s.
pub(crate) const NEW_YEAR: i64 = 946_684_800;
const HOUR_SECONDS: i64 = 3_600;
const DAY_SECONDS: i64 = 86_400;

/// Ticks of a second; `None` for units that are not kept.
pub(crate) fn ticks_per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Width {
    Months(u32),
    Ticks(i64),
}

/// How time is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buckets {
    width: Width,
    zone: Option<Tz>,
    /// Start of some bucket: ticks since 1970 on the clock that is cut (UTC without a zone).
    origin: i64,
    per_second: i64,
}

/// What a call says beside width and time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Cut {
    /// IANA name or `+hh:mm`.
    pub(crate) zone: Option<String>,
    /// Start of some bucket, ticks since 1970.
    pub(crate) origin: Option<i64>,
    /// Shifts all starts.
    pub(crate) offset: Option<IntervalMonthDayNano>,
}

impl Buckets {
    /// Buckets of a width.
    ///
    /// # Errors
    /// `22023` for a width that is not positive, mixes months with less, or is no whole number of
    /// ticks; for an unknown zone; for an offset of months with a width of days or less.
    pub(crate) fn new(
        width: IntervalMonthDayNano,
        cut: &Cut,
        per_second: i64,
    ) -> QueryResult<Buckets> {
        let bad = |message: String| QueryError::new("22023", message);
        let zone = match &cut.zone {
            Some(name) => Some(zone(name)?),
            None => None,
        };
        let width = match (width.months, width.days, width.nanoseconds) {
            (0, ..) => {
                let ticks = span_ticks(width, per_second)?;
                if ticks <= 0 {
                    return Err(bad("a bucket must be wider than zero".into()));
                }
                Width::Ticks(ticks)
            }
            (months @ 1.., 0, 0) => Width::Months(months.unsigned_abs()),
            (_, 0, 0) => return Err(bad("a bucket must be wider than zero".into())),
            _ => {
                let message = "a bucket is either of months or of days and less, not of both";
                return Err(bad(message.into()));
            }
        };
        let seconds = if matches!(width, Width::Months(_)) { NEW_YEAR } else { MONDAY };
        let mut buckets = Buckets { width, zone, origin: seconds * per_second, per_second };
        if let Some(origin) = cut.origin {
            buckets.origin = buckets.clock(origin)?;
        }
        if let Some(offset) = cut.offset {
            buckets.origin = match (offset.months, width) {
                (0, _) => add(buckets.origin, span_ticks(offset, per_second)?)?,
                (months, Width::Months(_)) => {
                    let moved = add_months(buckets.origin, i64::from(months), per_second)?;
                    let rest = IntervalMonthDayNano { months: 0, ..offset };
                    add(moved, span_ticks(rest, per_second)?)?
                }
                _ => {
                    return Err(bad("an offset of months needs a bucket of months".into()));
                }
            };
        }
        Ok(buckets)
    }

    /// Whether [`Buckets::floor`] is a few instructions.
    pub(crate) fn is_plain(&self) -> bool {
        self.zone.is_none() && matches!(self.width, Width::Ticks(_))
    }

    /// Start of the bucket that holds a time.
    ///
    /// # Errors
    /// `22008` where the calendar ends.
    pub(crate) fn floor(&self, time: i64) -> QueryResult<i64> {
        let Some(zone) = self.zone else { return self.floor_clock(time) };
        let offset = self.offset(zone, time)?;
        let shown = add(time, offset)?;
        let floor = self.floor_clock(shown)?;
        match self.width {
            Width::Ticks(width) if width <= HOUR_SECONDS * self.per_second => {
                let start = add(floor, -offset)?;
                match self.offset(zone, start)? == offset {
                    true => Ok(start),
                    // The clock has changed since.
                    false => self.first(start, time, |at| Ok(self.offset(zone, at)? == offset)),
                }
            }
            _ => {
                let start = self.resolve(zone, floor)?;
                // A reading shown for the second time: the bucket may have begun within the first.
                let earlier = self.showings(zone, shown)?.0;
                if earlier < time && self.offset(zone, earlier)? != offset {
                    let changed =
                        self.first(earlier, time, |at| Ok(self.offset(zone, at)? == offset))?;
                    let before = self.clock(changed - 1)?;
                    let before = self.resolve(zone, self.floor_clock(before)?)?;
                    return Ok(start.max(before));
                }
                Ok(start)
            }
        }
    }

    /// Start of the bucket after the one that starts at `start`.
    ///
    /// # Errors
    /// As [`Buckets::floor`].
    pub(crate) fn next(&self, start: i64) -> QueryResult<i64> {
        let day = DAY_SECONDS * self.per_second;
        let guess = match (self.width, self.zone) {
            (Width::Ticks(width), None) => return add(start, width),
            (Width::Months(months), None) => {
                let k = self.months_since_origin(start)?;
                return self.month_start(k + i64::from(months));
            }
            (Width::Ticks(width), Some(_)) if width <= HOUR_SECONDS * self.per_second => {
                add(start, width)?
            }
            (Width::Ticks(width), Some(zone)) => {
                let shown = add(self.floor_clock(self.clock(start)?)?, width)?;
                self.resolve(zone, shown)?
            }
            (Width::Months(months), Some(zone)) => {
                let k = self.months_since_origin(self.clock(start)?)?;
                self.resolve(zone, self.month_start(k + i64::from(months))?)?
            }
        };
        if guess > start && self.floor(guess)? == guess && self.floor(guess - 1)? == start {
            return Ok(guess);
        }
        // Beside a change of the clock: starts keep the order of times, so they can be searched.
        let mut beyond = add(guess.max(start), day)?;
        while self.floor(beyond)? <= start {
            beyond = add(beyond, 2 * day)?;
        }
        self.first(start, beyond, |at| Ok(self.floor(at)? > start))
    }

    /// The bucket that starts on the clock, without a zone.
    fn floor_clock(&self, shown: i64) -> QueryResult<i64> {
        match self.width {
            Width::Ticks(width) => {
                let since = i128::from(shown) - i128::from(self.origin);
                let since = match i64::try_from(since) {
                    Ok(since) => i128::from(since.rem_euclid(width)),
                    Err(_) => since.rem_euclid(i128::from(width)),
                };
                i64::try_from(i128::from(shown) - since).map_err(|_| out_of_range())
            }
            Width::Months(_) => self.month_start(self.months_since_origin(shown)?),
        }
    }

    /// Months from the origin to the start of the bucket that holds a reading of the clock.
    fn months_since_origin(&self, shown: i64) -> QueryResult<i64> {
        let Width::Months(width) = self.width else { return Ok(0) };
        let (from, to) = (self.naive(self.origin)?, self.naive(shown)?);
        let months = |at: NaiveDateTime| i64::from(at.year()) * 12 + i64::from(at.month0());
        let width = i64::from(width);
        let k = (months(to) - months(from)).div_euclid(width) * width;
        Ok(if self.month_start(k)? > shown { k - width } else { k })
    }

    fn month_start(&self, months: i64) -> QueryResult<i64> {
        add_months(self.origin, months, self.per_second)
    }

    /// What the clock shows at a time.
    fn clock(&self, time: i64) -> QueryResult<i64> {
        match self.zone {
            Some(zone) => add(time, self.offset(zone, time)?),
            None => Ok(time),
        }
    }

    /// Offset of the clock from UTC, ticks.
    fn offset(&self, zone: Tz, time: i64) -> QueryResult<i64> {
        let seconds = zone.offset_from_utc_datetime(&self.naive(time)?).fix().local_minus_utc();
        Ok(i64::from(seconds) * self.per_second)
    }

    /// When the clock first shows a reading; the jump over it where it never does.
    fn resolve(&self, zone: Tz, shown: i64) -> QueryResult<i64> {
        let (first, exact) = self.showings(zone, shown)?;
        if exact {
            return Ok(first);
        }
        let day = DAY_SECONDS * self.per_second;
        let (low, high) = (add(first, -2 * day)?, add(first, 2 * day)?);
        self.first(low, high, |at| Ok(self.clock(at)? >= shown))
    }

    /// The first time that the clock shows a reading; false: it is skipped, and the time is one
    /// near the jump.
    fn showings(&self, zone: Tz, shown: i64) -> QueryResult<(i64, bool)> {
        let naive = self.naive(shown)?;
        let of = |seconds: i32| add(shown, -i64::from(seconds) * self.per_second);
        Ok(match zone.offset_from_local_datetime(&naive) {
            chrono::LocalResult::Single(one) => (of(one.fix().local_minus_utc())?, true),
            chrono::LocalResult::Ambiguous(a, b) => {
                let (a, b) = (a.fix().local_minus_utc(), b.fix().local_minus_utc());
                (of(a.max(b))?, true)
            }
            chrono::LocalResult::None => (shown, false),
        })
    }

    /// The first tick in (low, high] that passes a test which passes from there on.
    fn first(
        &self,
        mut low: i64,
        mut high: i64,
        test: impl Fn(i64) -> QueryResult<bool>,
    ) -> QueryResult<i64> {
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if test(middle)? { high = middle } else { low = middle }
        }
        Ok(high)
    }

    fn naive(&self, ticks: i64) -> QueryResult<NaiveDateTime> {
        naive(ticks, self.per_second)
    }
}

fn naive(ticks: i64, per_second: i64) -> QueryResult<NaiveDateTime> {
    let seconds = ticks.div_euclid(per_second);
    let nanos = ticks.rem_euclid(per_second) * (1_000_000_000 / per_second);
    DateTime::from_timestamp(seconds, u32::try_from(nanos).unwrap_or(0))
        .map(|at| at.naive_utc())
        .ok_or_else(out_of_range)
}

fn out_of_range() -> QueryError {
    QueryError::new("22008", "timestamp out of range")
}

fn add(a: i64, b: i64) -> QueryResult<i64> {
    a.checked_add(b).ok_or_else(out_of_range)
}

/// The day of the month is kept where the month has it, else its last day.
fn add_months(ticks: i64, months: i64, per_second: i64) -> QueryResult<i64> {
    let at = naive(ticks, per_second)?;
    let count = u32::try_from(months.unsigned_abs()).map_err(|_| out_of_range())?;
    let date: Option<NaiveDate> = match months < 0 {
        true => at.date().checked_sub_months(Months::new(count)),
        false => at.date().checked_add_months(Months::new(count)),
    };
    let days = (date.ok_or_else(out_of_range)? - at.date()).num_days();
    let moved = days.checked_mul(DAY_SECONDS * per_second).ok_or_else(out_of_range)?;
    add(ticks, moved)
}

/// Days and less of an interval in ticks.
pub(crate) fn span_ticks(span: IntervalMonthDayNano, per_second: i64) -> QueryResult<i64> {
    let bad = |message: &str| QueryError::new("22023", message);
    if span.months != 0 {
        return Err(bad("months have no fixed length").with_hint("Use days."));
    }
    let per_tick = 1_000_000_000 / per_second;
    let nanos = i128::from(span.days) * i128::from(DAY_SECONDS) * 1_000_000_000
        + i128::from(span.nanoseconds);
    if nanos % i128::from(per_tick) != 0 {
        return Err(bad("an interval finer than the times that it cuts"));
    }
    i64::try_from(nanos / i128::from(per_tick)).map_err(|_| bad("interval out of range"))
}

/// A zone by its name or offset.
///
/// # Errors
/// `22023` if there is none.
pub(crate) fn zone(name: &str) -> QueryResult<Tz> {
    Tz::from_str(name).map_err(|_| {
        QueryError::new("22023", format!("time zone \"{name}\" not recognized"))
            .with_hint("Names are those of the IANA data base, such as Europe/Berlin.")
    })
}

/// An interval scalar in its widest form; `None` for NULL.
///
/// # Errors
/// `42804` for anything else.
pub(crate) fn interval(value: &ScalarValue) -> QueryResult<Option<IntervalMonthDayNano>> {
    Ok(match value {
        ScalarValue::Null => None,
        ScalarValue::IntervalMonthDayNano(v) => *v,
        ScalarValue::IntervalYearMonth(v) => v.map(|m| IntervalMonthDayNano::new(m, 0, 0)),
        ScalarValue::IntervalDayTime(v) => {
            v.map(|v| IntervalMonthDayNano::new(0, v.days, i64::from(v.milliseconds) * 1_000_000))
        }
        other => {
            let message = format!("{} is no interval", other.data_type());
            return Err(QueryError::new("42804", message));
        }
    })
}

#[cfg(test)]
mod tests;
