//! Time ranges in nanoseconds since 1970-01-01T00:00:00Z.

/// A closed range of times: both ends belong to it, so that the whole axis can be said without
/// overflow. Empty when `min > max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeRange {
    /// First time of the range, ns.
    pub min: i64,
    /// Last time of the range, ns.
    pub max: i64,
}

impl TimeRange {
    /// Every time there is.
    pub const ALL: TimeRange = TimeRange { min: i64::MIN, max: i64::MAX };
    /// No time at all; the neutral element of [`TimeRange::cover`].
    pub const EMPTY: TimeRange = TimeRange { min: i64::MAX, max: i64::MIN };

    /// The closed range `min..=max`.
    pub const fn new(min: i64, max: i64) -> Self {
        TimeRange { min, max }
    }

    /// Whether no time lies in the range.
    pub const fn is_empty(&self) -> bool {
        self.min > self.max
    }

    /// Whether `time` (ns) lies in the range.
    pub const fn contains(&self, time: i64) -> bool {
        self.min <= time && time <= self.max
    }

    /// Whether every time of `other` lies in this range.
    pub const fn encloses(&self, other: &TimeRange) -> bool {
        other.is_empty() || (self.min <= other.min && other.max <= self.max)
    }

    /// Whether the two ranges share a time.
    pub const fn overlaps(&self, other: &TimeRange) -> bool {
        self.min <= other.max && other.min <= self.max && !self.is_empty() && !other.is_empty()
    }

    /// The times in both ranges.
    pub fn intersect(&self, other: &TimeRange) -> TimeRange {
        TimeRange { min: self.min.max(other.min), max: self.max.min(other.max) }
    }

    /// The smallest range that holds both.
    pub fn cover(&self, other: &TimeRange) -> TimeRange {
        if self.is_empty() {
            return *other;
        }
        if other.is_empty() {
            return *self;
        }
        TimeRange { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}

/// The clock, ns since 1970.
pub fn now_ns() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// A time (ns since 1970) as people read it, UTC, to the second or as exact as it is.
pub fn time_text(ns: i64) -> String {
    if ns == i64::MIN || ns == i64::MAX {
        return if ns < 0 { "-infinity" } else { "infinity" }.to_owned();
    }
    let (seconds, fraction) = (ns.div_euclid(1_000_000_000), ns.rem_euclid(1_000_000_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days of the civil calendar, counted from 0000-03-01 in eras of 400 years.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let part = (5 * of_year + 2) / 153;
    let day = of_year - (153 * part + 2) / 5 + 1;
    let month = if part < 10 { part + 3 } else { part - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if fraction > 0 {
        text.push_str(format!(".{fraction:09}").trim_end_matches('0'));
    }
    text.push('Z');
    text
}

#[cfg(test)]
mod tests {
    use super::time_text;

    #[test]
    fn times_are_written_out() {
        let check = |ns: i64, text: &str| assert_eq!(time_text(ns), text);
        check(0, "1970-01-01T00:00:00Z");
        check(-1, "1969-12-31T23:59:59.999999999Z");
        check(951_782_400_000_000_000, "2000-02-29T00:00:00Z");
        check(1_700_000_000_500_000_000, "2023-11-14T22:13:20.5Z");
        check(4_107_542_400_000_000_000, "2100-03-01T00:00:00Z");
        check(i64::MIN, "-infinity");
    }
}
