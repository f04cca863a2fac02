//! From rows of a table to buckets of an aggregate, over the aggregates in between, and back.
//!
//! Times are µs since 1970 here, as SQL shows them. Each step keeps the order of times, so a range
//! of buckets is always made of one range of rows.

use arrow::datatypes::IntervalMonthDayNano;
use serde::{Deserialize, Serialize};

use crate::error::QueryResult;
use crate::functions::{Buckets, Cut, MONDAY};

const PER_SECOND: i64 = 1_000_000;

/// How an aggregate cuts time, as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BucketSpec {
    /// Months, days and ns.
    width: (i32, i32, i64),
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    /// Start of some bucket, µs since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<i64>,
    /// Months, days and ns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    offset: Option<(i32, i32, i64)>,
}

impl BucketSpec {
    pub(super) fn new(width: IntervalMonthDayNano, cut: &Cut) -> BucketSpec {
        let parts = |i: IntervalMonthDayNano| (i.months, i.days, i.nanoseconds);
        BucketSpec {
            width: parts(width),
            zone: cut.zone.clone(),
            origin: cut.origin,
            offset: cut.offset.map(parts),
        }
    }

    /// Buckets of a width with the start of some bucket, ns.
    pub(super) fn plain(width: i64, origin: i64) -> BucketSpec {
        let origin = Some(origin.div_euclid(1_000));
        BucketSpec { width: (0, 0, width), zone: None, origin, offset: None }
    }

    /// Width and start of some bucket, µs; `None` where not all have one width.
    fn fixed(&self) -> Option<(i64, i64)> {
        let span = |(months, days, ns): (i32, i32, i64)| {
            let days = i64::from(days).checked_mul(86_400 * PER_SECOND)?;
            (months == 0 && ns % 1_000 == 0).then(|| days.checked_add(ns / 1_000)).flatten()
        };
        let width = span(self.width).filter(|width| *width > 0 && self.zone.is_none())?;
        let origin = self.origin.unwrap_or(MONDAY * PER_SECOND);
        let offset = self.offset.map_or(Some(0), span)?;
        Some((width, origin.checked_add(offset)?))
    }

    /// Whether both cut time alike.
    pub(super) fn is_same(&self, other: &BucketSpec) -> bool {
        match (self.fixed(), other.fixed()) {
            (Some((width, _)), Some((other_width, _))) => {
                width == other_width && self.divides(other)
            }
            _ => self == other,
        }
    }

    /// Whether each bucket of `other` is made of whole ones of this, by their widths alone.
    pub(super) fn divides(&self, other: &BucketSpec) -> bool {
        let (Some((width, origin)), Some((wider, start))) = (self.fixed(), other.fixed()) else {
            return false;
        };
        let shift = i128::from(start) - i128::from(origin);
        wider % width == 0 && shift % i128::from(width) == 0
    }

    pub(super) fn buckets(&self) -> QueryResult<Buckets> {
        let interval = |(months, days, ns)| IntervalMonthDayNano::new(months, days, ns);
        let cut =
            Cut { zone: self.zone.clone(), origin: self.origin, offset: self.offset.map(interval) };
        Buckets::new(interval(self.width), &cut, PER_SECOND)
    }

    /// About the length of a bucket, ns.
    pub(super) fn length_ns(&self) -> i64 {
        let (months, days, ns) = self.width;
        let days = i64::from(months) * 30 + i64::from(days);
        days.saturating_mul(86_400_000_000_000).saturating_add(ns).max(1)
    }
}

/// The steps from the rows of a table to an aggregate, that next to the rows first.
pub(super) struct Ladder(Vec<Buckets>);

impl Ladder {
    pub(super) fn new(steps: Vec<Buckets>) -> Ladder {
        debug_assert!(!steps.is_empty());
        Ladder(steps)
    }

    /// Start of the bucket that a row belongs to.
    pub(super) fn bucket(&self, time: i64) -> QueryResult<i64> {
        self.bucket_from(0, time)
    }

    /// The same of what step `step` is made of.
    fn bucket_from(&self, step: usize, time: i64) -> QueryResult<i64> {
        self.0[step..].iter().try_fold(time, |time, step| step.floor(time))
    }

    /// Start of the bucket after the one that starts at `start`.
    pub(super) fn next(&self, start: i64) -> QueryResult<i64> {
        match self.0.last() {
            Some(last) => last.next(start),
            None => Ok(start),
        }
    }

    /// Start of the first bucket at or after a time.
    pub(super) fn ceil(&self, time: i64) -> QueryResult<i64> {
        match self.0.last() {
            Some(last) => ceil(last, time),
            None => Ok(time),
        }
    }

    /// The first time of rows that belong to the bucket that starts at `start`, or a later one.
    pub(super) fn rows_from(&self, start: i64) -> QueryResult<i64> {
        self.inputs_from(0, start)
    }

    fn inputs_from(&self, step: usize, start: i64) -> QueryResult<i64> {
        let between = self.0[step..].split_last().map_or(&[][..], |(_, between)| between);
        between.iter().rev().try_fold(start, |time, step| ceil(step, time))
    }

    /// Start of the first bucket that loses nothing when what is before `time` of the input of
    /// step `step` is gone.
    pub(super) fn whole_from(&self, step: usize, time: i64) -> QueryResult<i64> {
        let bucket = self.bucket_from(step, time)?;
        match self.inputs_from(step, bucket)? >= time {
            true => Ok(bucket),
            false => self.next(bucket),
        }
    }

    /// The start `count` buckets after `start`, at most `end`; at least one after it.
    pub(super) fn advance(&self, start: i64, count: u64, end: i64) -> QueryResult<i64> {
        let mut at = self.next(start)?;
        let width = at.saturating_sub(start);
        if self.0.last().is_some_and(Buckets::is_plain) {
            let more = i64::try_from(count.saturating_sub(1)).unwrap_or(i64::MAX);
            at = at.saturating_add(width.saturating_mul(more));
        } else {
            for _ in 1..count {
                if at >= end {
                    break;
                }
                at = self.next(at)?;
            }
        }
        Ok(at.min(end))
    }
}

/// Start of the first bucket at or after a time.
pub(super) fn ceil(buckets: &Buckets, time: i64) -> QueryResult<i64> {
    let start = buckets.floor(time)?;
    if start == time { Ok(start) } else { buckets.next(start) }
}

/// ns as µs, down.
pub(super) fn micros(ns: i64) -> i64 {
    ns.div_euclid(1_000)
}

/// ns as µs, up.
pub(super) fn micros_up(ns: i64) -> i64 {
    ns.div_euclid(1_000) + i64::from(ns.rem_euclid(1_000) > 0)
}

/// µs as ns; what does not fit is the end of the axis.
pub(super) fn nanos(micros: i64) -> i64 {
    micros.saturating_mul(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(width: (i32, i32, i64), zone: Option<&str>) -> BucketSpec {
        BucketSpec { width, zone: zone.map(str::to_string), origin: None, offset: None }
    }

    const MINUTE: i64 = 60_000_000_000;

    /// Every question against a walk over all times.
    #[test]
    fn ladders_are_what_walking_gives() {
        let ladders = [
            vec![spec((0, 0, 60 * MINUTE), None)],
            vec![spec((0, 0, 60 * MINUTE), None), spec((0, 1, 0), None)],
            // These do not nest.
            vec![spec((0, 0, 45 * MINUTE), None), spec((0, 0, 60 * MINUTE), None)],
            vec![spec((0, 0, 60 * MINUTE), None), spec((0, 1, 0), Some("Asia/Kolkata"))],
            vec![
                spec((0, 0, 7 * MINUTE), None),
                spec((0, 0, 100 * MINUTE), None),
                spec((0, 0, 390 * MINUTE), None),
            ],
        ];
        // Around the end of summer time in Kolkata's absence: any day does.
        let (from, step, count) = (1_700_000_000_000_000i64, 150_000_000i64, 1_400);
        let times: Vec<i64> =
            (0..count).map(|n| (from + n * step) / 1_000_000 * 1_000_000).collect();
        for specs in ladders {
            let ladder = Ladder::new(specs.iter().map(|s| s.buckets().unwrap()).collect());
            for at in (0..times.len()).step_by(37) {
                let start = ladder.bucket(times[at]).unwrap();
                let next = ladder.next(start).unwrap();
                let rows = ladder.rows_from(start).unwrap();
                assert!(ladder.bucket(rows).unwrap() >= start);
                assert!(ladder.bucket(rows - 1).unwrap() < start, "{specs:?}");
                for time in &times {
                    let of = ladder.bucket(*time).unwrap();
                    assert_eq!(of >= start, *time >= rows, "{specs:?} {time} {start}");
                    assert!(of <= start || of >= next);
                }
                let whole = ladder.whole_from(0, times[at]).unwrap();
                assert!(ladder.rows_from(whole).unwrap() >= times[at]);
                assert!(whole == start || whole == next);
                assert_eq!(ladder.advance(start, 1, i64::MAX).unwrap(), next);
                let third = ladder.next(ladder.next(next).unwrap()).unwrap();
                assert_eq!(ladder.advance(start, 3, i64::MAX).unwrap(), third);
                assert_eq!(ladder.advance(start, 9, next).unwrap(), next);
                assert_eq!(ladder.ceil(start).unwrap(), start);
                assert_eq!(ladder.ceil(start + 1).unwrap(), next);
            }
        }
    }

    #[test]
    fn buckets_of_fixed_widths_are_compared() {
        let hour = 3_600_000_000_000;
        let hours = |n: i64| spec((0, 0, n * 60 * MINUTE), None);
        let day = spec((0, 1, 0), None);
        assert!(day.is_same(&hours(24)) && day.is_same(&BucketSpec::plain(24 * hour, 0)));
        assert!(hours(1).divides(&day) && hours(6).divides(&day) && day.divides(&day));
        assert!(!hours(7).divides(&day) && !day.divides(&hours(1)) && !hours(1).is_same(&day));
        // Of the same width, but shifted; shifted by a whole finer one.
        let shifted = BucketSpec::plain(24 * hour, 5 * hour);
        assert!(
            !day.is_same(&shifted) && hours(1).divides(&shifted) && !hours(2).divides(&shifted)
        );
        let zoned = spec((0, 1, 0), Some("Asia/Kolkata"));
        assert!(zoned.is_same(&zoned) && !zoned.is_same(&day) && !hours(1).divides(&zoned));
        assert!(!spec((1, 0, 0), None).divides(&spec((1, 0, 0), None)));
    }

    #[test]
    fn units_do_not_lose_times() {
        assert_eq!((micros(-1), micros_up(-1), micros_up(1), micros_up(2_000)), (-1, 0, 1, 2));
        assert_eq!((nanos(i64::MAX), nanos(i64::MIN), nanos(-3)), (i64::MAX, i64::MIN, -3_000));
    }
}
