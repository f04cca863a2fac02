//! Tombstones: deletes that older parts have still to be read through.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::series::Bitmap;
use crate::types::TimeRange;

use super::selection::{Selection, union};

/// What the deletes of one commit hide of the parts before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Tombstone {
    /// Position of the commit.
    pub position: u64,
    /// What is hidden, in normal form.
    pub selections: Vec<Selection>,
    series: RangeInclusive<u32>,
    times: TimeRange,
}

impl Tombstone {
    /// A tombstone of selections in normal form.
    pub fn new(position: u64, selections: Vec<Selection>) -> Tombstone {
        let (mut first, mut last) = (u32::MAX, 0);
        let mut times = TimeRange::EMPTY;
        for selection in &selections {
            let (series, range) = selection.bounds();
            first = first.min(*series.start());
            last = last.max(*series.end());
            times = times.cover(&range);
        }
        Tombstone { position, selections, series: first..=last, times }
    }

    /// The tombstone with more selections of the same commit.
    pub fn and(&self, more: &[Selection]) -> Tombstone {
        let selections = self.selections.iter().chain(more).cloned().collect();
        Tombstone::new(self.position, selections)
    }

    fn may_meet(&self, series: &RangeInclusive<u32>, times: TimeRange) -> bool {
        self.series.start() <= series.end()
            && series.start() <= self.series.end()
            && self.times.overlaps(&times)
    }

    /// Whether a row of these series and times can be hidden.
    pub fn overlaps(&self, series: &RangeInclusive<u32>, times: TimeRange) -> bool {
        self.may_meet(series, times) && self.selections.iter().any(|s| s.overlaps(series, times))
    }

    /// Whether a row of these times can be hidden, of series of a range that are in `members` too.
    pub fn meets(
        &self,
        series: &RangeInclusive<u32>,
        times: TimeRange,
        members: Option<&Bitmap>,
    ) -> bool {
        let meets = |s: &Selection| {
            s.overlaps(series, times) && members.is_none_or(|members| s.meets(members))
        };
        self.may_meet(series, times) && self.selections.iter().any(meets)
    }

    /// Whether one selection hides every row of these series and times.
    pub fn covers(&self, series: &RangeInclusive<u32>, times: TimeRange) -> bool {
        self.may_meet(series, times) && self.selections.iter().any(|s| s.covers(series, times))
    }

    /// The last time hidden, if all rows up to there are hidden and no others.
    pub fn cut(&self) -> Option<i64> {
        match &self.selections[..] {
            [Selection::Range { series: None, times }] if times.min == i64::MIN => Some(times.max),
            _ => None,
        }
    }

    /// Bytes held in memory, about.
    pub fn memory(&self) -> usize {
        self.selections.iter().map(Selection::memory).sum()
    }
}

/// The tombstones that one part is read through; there is at least one.
#[derive(Debug)]
pub struct Hides {
    tombstones: Vec<Arc<Tombstone>>,
}

impl Hides {
    /// Those of `tombstones` behind position `applied` that overlap a part's series and times;
    /// `members` are the series of its key group, if they are known.
    pub fn of(
        tombstones: &[Arc<Tombstone>],
        applied: u64,
        series: RangeInclusive<u32>,
        times: TimeRange,
        members: Option<&Bitmap>,
    ) -> Option<Arc<Hides>> {
        let found: Vec<Arc<Tombstone>> = tombstones
            .iter()
            .filter(|tombstone| {
                tombstone.position > applied && tombstone.meets(&series, times, members)
            })
            .cloned()
            .collect();
        (!found.is_empty()).then(|| Arc::new(Hides { tombstones: found }))
    }

    /// Whether every row of these series and times is hidden.
    pub fn covers(&self, series: &RangeInclusive<u32>, times: TimeRange) -> bool {
        self.tombstones.iter().any(|tombstone| tombstone.covers(series, times))
    }

    /// Whether every row of these series and times is hidden.
    pub fn covers_all(&self, members: &Bitmap, times: TimeRange) -> bool {
        let all = |s: &Selection| s.covers_all(members, times);
        self.tombstones.iter().any(|tombstone| tombstone.selections.iter().any(all))
    }

    /// The hidden times of a series inside `times`: ascending ranges that do not touch.
    pub fn hidden(&self, series: u32, times: TimeRange) -> Vec<TimeRange> {
        let mut out = Vec::new();
        let own = series..=series;
        for tombstone in self.tombstones.iter().filter(|t| t.may_meet(&own, times)) {
            tombstone.selections.iter().for_each(|s| s.hidden(series, times, &mut out));
        }
        union(out)
    }
}
