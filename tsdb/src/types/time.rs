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
