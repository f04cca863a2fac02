//! Selections: which rows a delete names.
//!
//! In normal form a set is not empty, a range is not empty, and points ascend by (series, time)
//! without repeating one. [`Selection::normal`] makes it; everything else relies on it.

use std::ops::RangeInclusive;

use crate::error::{Error, Result};
use crate::series::Bitmap;
use crate::types::TimeRange;

/// Rows of one table, named without their values.
#[derive(Clone, Debug, PartialEq)]
pub enum Selection {
    /// Every row of some series in a range of times.
    Range {
        /// Numbers of the series; `None` for all.
        series: Option<Bitmap>,
        /// Times, ns.
        times: TimeRange,
    },
    /// Rows one by one, in any order.
    Points {
        /// Numbers of the series, one a row.
        series: Vec<u32>,
        /// Times of the rows, ns; as many as series.
        times: Vec<i64>,
    },
}

impl Selection {
    /// The selection in normal form; `None` if it names nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`] for points whose columns differ in length.
    pub fn normal(self) -> Result<Option<Selection>> {
        match self {
            Selection::Range { series, times } => {
                let none = times.is_empty() || series.as_ref().is_some_and(Bitmap::is_empty);
                Ok((!none).then_some(Selection::Range { series, times }))
            }
            Selection::Points { series, times } => {
                if series.len() != times.len() {
                    return Err(Error::Invalid("columns of a delete differ in length".into()));
                }
                let mut points: Vec<(u32, i64)> = series.into_iter().zip(times).collect();
                points.sort_unstable();
                points.dedup();
                let (series, times): (Vec<u32>, Vec<i64>) = points.into_iter().unzip();
                Ok((!series.is_empty()).then_some(Selection::Points { series, times }))
            }
        }
    }

    /// Least and greatest series, and the smallest range that holds all times.
    pub fn bounds(&self) -> (RangeInclusive<u32>, TimeRange) {
        match self {
            Selection::Range { series: None, times } => (0..=u32::MAX, *times),
            Selection::Range { series: Some(set), times } => {
                (set.minimum().unwrap_or(0)..=set.maximum().unwrap_or(0), *times)
            }
            Selection::Points { series, times } => {
                let first = series.first().copied().unwrap_or(0);
                let last = series.last().copied().unwrap_or(0);
                let min = times.iter().copied().min().unwrap_or(i64::MAX);
                let max = times.iter().copied().max().unwrap_or(i64::MIN);
                (first..=last, TimeRange::new(min, max))
            }
        }
    }

    /// Points named one by one.
    pub fn points(&self) -> usize {
        match self {
            Selection::Range { .. } => 0,
            Selection::Points { series, .. } => series.len(),
        }
    }

    /// Bytes held in memory, about.
    pub fn memory(&self) -> usize {
        match self {
            Selection::Range { series, .. } => {
                let bytes = |set: &Bitmap| set.get_serialized_size_in_bytes::<croaring::Portable>();
                64 + series.as_ref().map_or(0, bytes)
            }
            Selection::Points { series, times } => 64 + series.len() * 4 + times.len() * 8,
        }
    }

    /// Whether a row of these series and times can be named.
    pub fn overlaps(&self, series: &RangeInclusive<u32>, range: TimeRange) -> bool {
        match self {
            Selection::Range { series: set, times } => {
                let some = |set: &Bitmap| set.range_cardinality(series.clone()) > 0;
                times.overlaps(&range) && set.as_ref().is_none_or(some)
            }
            Selection::Points { series: numbers, times } => {
                let from = numbers.partition_point(|number| number < series.start());
                let to = numbers.partition_point(|number| number <= series.end()).max(from);
                if series.start() == series.end() {
                    let first = times[from..to].partition_point(|time| *time < range.min);
                    return times[from..to].get(first).is_some_and(|time| range.contains(*time));
                }
                times[from..to].iter().any(|time| range.contains(*time))
            }
        }
    }

    /// Whether every row of these series and times is named.
    pub fn covers(&self, series: &RangeInclusive<u32>, range: TimeRange) -> bool {
        let Selection::Range { series: set, times } = self else { return false };
        let wanted = u64::from(series.end() - series.start()) + 1;
        times.encloses(&range)
            && set.as_ref().is_none_or(|set| set.range_cardinality(series.clone()) == wanted)
    }

    /// Whether a row of some of these series can be named; of points only the range of series counts.
    pub fn meets(&self, members: &Bitmap) -> bool {
        match self {
            Selection::Range { series, .. } => {
                series.as_ref().is_none_or(|set| set.intersect(members))
            }
            Selection::Points { series, .. } => match (series.first(), series.last()) {
                (Some(first), Some(last)) => members.range_cardinality(*first..=*last) > 0,
                _ => false,
            },
        }
    }

    /// Whether every row of these series and times is named.
    pub fn covers_all(&self, members: &Bitmap, range: TimeRange) -> bool {
        let Selection::Range { series: set, times } = self else { return false };
        times.encloses(&range) && set.as_ref().is_none_or(|set| members.is_subset(set))
    }

    /// Whether a row is named.
    pub fn hides(&self, series: u32, time: i64) -> bool {
        self.overlaps(&(series..=series), TimeRange::new(time, time))
    }

    /// Appends the times inside `range` that are named of a series, in ascending ranges.
    pub fn hidden(&self, series: u32, range: TimeRange, out: &mut Vec<TimeRange>) {
        match self {
            Selection::Range { series: set, times } => {
                let both = times.intersect(&range);
                if !both.is_empty() && set.as_ref().is_none_or(|set| set.contains(series)) {
                    out.push(both);
                }
            }
            Selection::Points { series: numbers, times } => {
                let from = numbers.partition_point(|number| *number < series);
                let to = numbers.partition_point(|number| *number <= series);
                let own = &times[from..to];
                let first = own.partition_point(|time| *time < range.min);
                let inside = own[first..].iter().take_while(|time| **time <= range.max);
                out.extend(inside.map(|time| TimeRange::new(*time, *time)));
            }
        }
    }
}

/// Ranges in ascending order, those that touch made one.
pub fn union(mut ranges: Vec<TimeRange>) -> Vec<TimeRange> {
    ranges.sort_unstable_by_key(|range| range.min);
    let mut out: Vec<TimeRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match out.last_mut() {
            Some(last) if range.min <= last.max.saturating_add(1) => {
                last.max = last.max.max(range.max);
            }
            _ => out.push(range),
        }
    }
    out
}

/// The rows of `start..end` outside the hidden ranges (ascending, apart), as ascending spans.
/// `times` ascends between `start` and `end`.
pub fn kept(hidden: &[TimeRange], times: &[i64], start: usize, end: usize) -> Vec<(usize, usize)> {
    let mut spans = Vec::new();
    let mut at = start;
    for range in hidden {
        let from = at + times[at..end].partition_point(|time| *time < range.min);
        let to = from + times[from..end].partition_point(|time| *time <= range.max);
        // A range between two rows cuts nothing.
        if from == to {
            continue;
        }
        if at < from {
            spans.push((at, from));
        }
        at = to;
    }
    if at < end {
        spans.push((at, end));
    }
    spans
}
