//! What a watch knows to have changed: ranges of times of all series, and of some.
//!
//! Invariants
//! - Ranges of all series are disjoint, ascend and do not touch, [`RANGES_MAX`] at most; beyond,
//!   the two with the smallest gap become one.
//! - Ranges of single series ascend by (series, time) and are disjoint within a series,
//!   [`SERIES_RANGES_MAX`] at most; beyond, all of them become ranges of all series. None lies
//!   within a range of all series when it is noted.
//! - Whatever is noted stays told until it is settled; what is told may be more.

use crate::error::Result;
use crate::types::TimeRange;

use super::super::bytes::Reader;

/// Ranges of all series; beyond, near ones become one.
const RANGES_MAX: usize = 128;
/// Ranges of single series, of all of them together; beyond, they become ranges of all series.
const SERIES_RANGES_MAX: usize = 256;

/// Disjoint ranges in ascending order that do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ranges(Vec<TimeRange>);

impl Ranges {
    fn covers(&self, range: &TimeRange) -> bool {
        let at = self.0.partition_point(|own| own.max < range.min);
        self.0.get(at).is_some_and(|own| own.encloses(range))
    }

    fn insert(&mut self, mut range: TimeRange) {
        let from = self.0.partition_point(|own| own.max.saturating_add(1) < range.min);
        let to = self.0.partition_point(|own| own.min <= range.max.saturating_add(1));
        for own in &self.0[from..to.max(from)] {
            range = range.cover(own);
        }
        self.0.splice(from..to.max(from), [range]);
        if self.0.len() > RANGES_MAX {
            self.join_nearest();
        }
    }

    /// Makes one of the two ranges with the smallest gap.
    fn join_nearest(&mut self) {
        let gap = |at: &usize| self.0[at + 1].min.abs_diff(self.0[*at].max);
        if let Some(at) = (0..self.0.len() - 1).min_by_key(gap) {
            self.0[at] = self.0[at].cover(&self.0[at + 1]);
            self.0.remove(at + 1);
        }
    }

    fn remove(&mut self, times: &TimeRange) {
        let mut left = Vec::with_capacity(self.0.len() + 1);
        for own in &self.0 {
            left.extend(without(own, times));
        }
        self.0 = left;
        while self.0.len() > RANGES_MAX {
            self.join_nearest();
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.0.len() as u32).to_le_bytes());
        for range in &self.0 {
            out.extend_from_slice(&range.min.to_le_bytes());
            out.extend_from_slice(&range.max.to_le_bytes());
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Ranges> {
        let count = reader.count(16)?;
        let mut ranges: Vec<TimeRange> = Vec::with_capacity(count);
        for _ in 0..count {
            let range = TimeRange::new(reader.i64()?, reader.i64()?);
            let follows = ranges.last().is_none_or(|last| last.max < range.min);
            if range.is_empty() || !follows {
                return Err(reader.error("ranges do not ascend"));
            }
            ranges.push(range);
        }
        Ok(Ranges(ranges))
    }
}

/// What is left of a range when times are taken out of it.
fn without(range: &TimeRange, times: &TimeRange) -> impl Iterator<Item = TimeRange> + use<> {
    let (range, times) = (*range, *times);
    let whole = (!range.overlaps(&times)).then_some(range);
    let meets = whole.is_none();
    let before = (meets && range.min < times.min).then(|| TimeRange::new(range.min, times.min - 1));
    let after = (meets && range.max > times.max).then(|| TimeRange::new(times.max + 1, range.max));
    [whole, before, after].into_iter().flatten()
}

/// Times that have changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    all: Ranges,
    /// Of single series.
    some: Vec<(u32, TimeRange)>,
}

impl Changes {
    /// Notes times of all series; whether they were not known.
    pub(super) fn note(&mut self, range: TimeRange) -> bool {
        if range.is_empty() || self.all.covers(&range) {
            return false;
        }
        self.all.insert(range);
        let all = &self.all;
        self.some.retain(|(_, own)| !all.covers(own));
        true
    }

    /// Notes times of a series; whether they were not known.
    pub(super) fn note_of(&mut self, series: u32, mut range: TimeRange) -> bool {
        if range.is_empty() || self.all.covers(&range) {
            return false;
        }
        let from = self.some.partition_point(|(of, own)| {
            *of < series || (*of == series && own.max.saturating_add(1) < range.min)
        });
        let to = self.some.partition_point(|(of, own)| {
            *of < series || (*of == series && own.min <= range.max.saturating_add(1))
        });
        let to = to.max(from);
        if self.some[from..to].iter().any(|(_, own)| own.encloses(&range)) {
            return false;
        }
        for (_, own) in &self.some[from..to] {
            range = range.cover(own);
        }
        self.some.splice(from..to, [(series, range)]);
        self.bound();
        true
    }

    /// Notes what another has noted.
    pub(super) fn absorb(&mut self, other: Changes) {
        for range in other.all.0 {
            self.note(range);
        }
        for (series, range) in other.some {
            self.note_of(series, range);
        }
    }

    /// Takes times of all series out.
    pub(super) fn settle(&mut self, times: &TimeRange) {
        self.all.remove(times);
        self.settle_where(times, |_| true);
    }

    /// Takes times out of what was noted of these series by themselves.
    pub(super) fn settle_of(&mut self, series: &[u32], times: &TimeRange) {
        self.settle_where(times, |of| series.contains(&of));
    }

    fn settle_where(&mut self, times: &TimeRange, settled: impl Fn(u32) -> bool) {
        let mut left = Vec::with_capacity(self.some.len() + 1);
        for (series, own) in &self.some {
            match settled(*series) {
                true => left.extend(without(own, times).map(|range| (*series, range))),
                false => left.push((*series, *own)),
            }
        }
        self.some = left;
        self.bound();
    }

    /// Makes ranges of all series of those of single ones where these are too many.
    fn bound(&mut self) {
        if self.some.len() > SERIES_RANGES_MAX {
            for (_, range) in std::mem::take(&mut self.some) {
                self.all.insert(range);
            }
        }
    }

    pub(super) fn of_all(&self) -> &[TimeRange] {
        &self.all.0
    }

    pub(super) fn of_some(&self) -> &[(u32, TimeRange)] {
        &self.some
    }

    pub(super) fn put_all(&self, out: &mut Vec<u8>) {
        self.all.put(out);
    }

    pub(super) fn put_some(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.some.len() as u32).to_le_bytes());
        for (series, range) in &self.some {
            out.extend_from_slice(&series.to_le_bytes());
            out.extend_from_slice(&range.min.to_le_bytes());
            out.extend_from_slice(&range.max.to_le_bytes());
        }
    }

    pub(super) fn read_all(reader: &mut Reader<'_>) -> Result<Changes> {
        Ok(Changes { all: Ranges::read(reader)?, some: Vec::new() })
    }

    /// Reads what [`Changes::put_some`] wrote into what [`Changes::read_all`] has read.
    pub(super) fn read_some(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        let count = reader.count(20)?;
        self.some = Vec::with_capacity(count);
        for _ in 0..count {
            let series = reader.u32()?;
            let range = TimeRange::new(reader.i64()?, reader.i64()?);
            let follows = self.some.last().is_none_or(|(before, last)| {
                *before < series || (*before == series && last.max < range.min)
            });
            if range.is_empty() || !follows {
                return Err(reader.error("ranges of series do not ascend"));
            }
            self.some.push((series, range));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(min: i64, max: i64) -> TimeRange {
        TimeRange::new(min, max)
    }

    #[test]
    fn series_are_noted_apart() {
        let mut changes = Changes::default();
        assert!(changes.note_of(7, range(10, 19)));
        assert!(!changes.note_of(7, range(12, 19)));
        assert!(changes.note_of(7, range(20, 29)));
        assert!(changes.note_of(7, range(40, 49)));
        assert!(changes.note_of(3, range(0, 9)));
        let some = [(3, range(0, 9)), (7, range(10, 29)), (7, range(40, 49))];
        assert_eq!(changes.of_some(), some);
        changes.settle_of(&[7], &range(15, 44));
        let some = [(3, range(0, 9)), (7, range(10, 14)), (7, range(45, 49))];
        assert_eq!(changes.of_some(), some);
        // What is known of all is not known again.
        assert!(changes.note(range(0, 20)));
        assert_eq!(changes.of_some(), [(7, range(45, 49))]);
        assert!(!changes.note_of(8, range(5, 6)));
        changes.settle(&range(0, 46));
        assert_eq!((changes.of_all(), changes.of_some()), (&[][..], &[(7, range(47, 49))][..]));
    }

    #[test]
    fn too_many_are_of_all_series() {
        let mut changes = Changes::default();
        for series in 0..SERIES_RANGES_MAX as u32 {
            changes.note_of(series, range(100, 199));
        }
        assert_eq!((changes.of_all().len(), changes.of_some().len()), (0, SERIES_RANGES_MAX));
        changes.note_of(1_000, range(500, 599));
        assert_eq!(changes.of_all(), [range(100, 199), range(500, 599)]);
        assert!(changes.of_some().is_empty());
    }
}
