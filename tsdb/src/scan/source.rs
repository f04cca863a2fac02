//! Sources of a scan: parts and head runs, each a walk over series in ascending order.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::deletes::Hides;
use crate::engine::version::PartEntry;
use crate::error::Result;
use crate::head::Run;
use crate::io::Storage;
use crate::part::{GroupRef, Part};
use crate::series::Bitmap;
use crate::types::TimeRange;

use super::ScanStats;
use super::group::Group;
use super::piece::Piece;

/// An open part that a version names. Once a merge or drop has taken it out of the version, the
/// file goes when the last reader does.
#[derive(Debug)]
pub struct PartHandle {
    /// What the version says about it.
    pub entry: PartEntry,
    /// The open file.
    pub part: Part,
    storage: Arc<dyn Storage>,
    obsolete: AtomicBool,
}

impl PartHandle {
    /// Wraps an open part.
    pub fn new(entry: PartEntry, part: Part, storage: Arc<dyn Storage>) -> Arc<PartHandle> {
        Arc::new(PartHandle { entry, part, storage, obsolete: AtomicBool::new(false) })
    }

    /// Marks the file for removal after the last reader.
    pub fn retire(&self) {
        self.obsolete.store(true, Ordering::Release);
    }

    /// Least and greatest series with rows in the part.
    pub fn series(&self) -> RangeInclusive<u32> {
        let meta = self.part.meta();
        meta.series_min..=meta.series_max
    }

    /// Whether the part can hold rows of these series and times.
    pub fn meets(&self, series: Option<&Bitmap>, times: TimeRange) -> bool {
        let meta = self.part.meta();
        let some = |set: &Bitmap| set.range_cardinality(meta.series_min..=meta.series_max) > 0;
        meta.rows > 0 && meta.times.overlaps(&times) && series.is_none_or(some)
    }
}

impl Drop for PartHandle {
    fn drop(&mut self) {
        // The index of an archived part went with the edit.
        if self.obsolete.load(Ordering::Acquire)
            && self.entry.object.is_none()
            && let Err(error) = self.storage.remove(self.part.path())
        {
            // The version does not name the file: the next open removes it.
            tracing::warn!(path = self.part.path(), %error, "could not remove an old part");
        }
    }
}

/// Something that has sorted rows.
#[derive(Clone, Debug)]
pub enum Source {
    /// A run of a head, and what is left out of it.
    Run(Arc<Run>, Option<Arc<Hides>>),
    /// A part, and what deletes hide of it.
    Part(Arc<PartHandle>, Option<Arc<Hides>>),
}

impl Source {
    /// Last position of its rows: the greater, the newer.
    pub fn age(&self) -> u64 {
        match self {
            Source::Run(run, _) => *run.positions.end(),
            Source::Part(part, _) => part.entry.positions.1,
        }
    }
}

/// The walk over one source.
#[derive(Debug)]
pub(super) enum Walk {
    Run { run: Arc<Run>, hides: Option<Arc<Hides>>, at: usize, age: u64 },
    Part(PartWalk),
}

#[derive(Debug)]
pub(super) struct PartWalk {
    handle: Arc<PartHandle>,
    hides: Option<Arc<Hides>>,
    groups: Vec<GroupRef>,
    at: usize,
    /// The shared group at `at`, and the next of its series.
    current: Option<(Arc<Group>, usize)>,
}

/// Which series a stream reads: a range, and a set inside it.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    pub first: u32,
    pub last: u32,
    pub set: Option<Arc<Bitmap>>,
    pub times: TimeRange,
}

impl Filter {
    pub fn takes(&self, series: u32) -> bool {
        self.first <= series
            && series <= self.last
            && self.set.as_ref().is_none_or(|set| set.contains(series))
    }

    fn takes_some(&self, first: u32, last: u32) -> bool {
        let (first, last) = (first.max(self.first), last.min(self.last));
        let some = |set: &Arc<Bitmap>| {
            if first == last {
                set.contains(first)
            } else {
                set.range_cardinality(first..=last) > 0
            }
        };
        first <= last && self.set.as_ref().is_none_or(some)
    }
}

/// Few series in a wide part are looked up one by one.
const LOOKUPS_MAX: u64 = 32;

impl Walk {
    pub fn new(source: &Source, filter: &Filter, stats: &ScanStats) -> Result<Option<Walk>> {
        match source {
            Source::Run(run, hides) => {
                if !run.times.overlaps(&filter.times) {
                    return Ok(None);
                }
                ScanStats::add(&stats.head_runs, 1);
                let at = run.series.partition_point(|rows| rows.series < filter.first);
                let (run, hides) = (Arc::clone(run), hides.clone());
                Ok(Some(Walk::Run { run, hides, at, age: source.age() }))
            }
            Source::Part(handle, hides) => {
                let groups = groups(handle, filter, hides.as_deref(), stats)?;
                let (handle, hides) = (Arc::clone(handle), hides.clone());
                let walk = PartWalk { handle, hides, groups, at: 0, current: None };
                Ok((!walk.groups.is_empty()).then_some(Walk::Part(walk)))
            }
        }
    }

    /// The next series that the filter takes.
    pub fn peek(&mut self, filter: &Filter) -> Result<Option<u32>> {
        match self {
            Walk::Run { run, at, .. } => {
                if let Some(set) = &filter.set
                    && let Some(rows) = run.series.get(*at)
                    && !set.contains(rows.series)
                {
                    // Jump to the next wanted series instead of trying each.
                    let next = set.iter_after(rows.series);
                    *at += run.series[*at..].partition_point(|rows| rows.series < next);
                }
                while let Some(rows) = run.series.get(*at) {
                    if rows.series > filter.last {
                        break;
                    }
                    if filter.takes(rows.series) {
                        return Ok(Some(rows.series));
                    }
                    *at += 1;
                }
                *at = run.series.len();
                Ok(None)
            }
            Walk::Part(walk) => walk.peek(filter),
        }
    }

    /// Appends the pieces of `series`, which [`Walk::peek`] gave, and goes on to the next one.
    pub fn take(&mut self, series: u32, filter: &Filter, out: &mut Vec<Piece>) -> Result<()> {
        match self {
            Walk::Run { run, hides, at, age } => {
                let rows = run.series[*at];
                *at += 1;
                let piece = Piece::of_run(run, rows, *age, filter.times);
                out.extend(piece.map(|piece| piece.hidden_by(hides.as_ref())));
                Ok(())
            }
            Walk::Part(walk) => {
                while walk.peek(filter)? == Some(series) {
                    walk.take(filter, out);
                }
                Ok(())
            }
        }
    }
}

/// The row groups of a part that a filter may want, in order, without those that are hidden whole.
fn groups(
    handle: &PartHandle,
    filter: &Filter,
    hides: Option<&Hides>,
    stats: &ScanStats,
) -> Result<Vec<GroupRef>> {
    let part = &handle.part;
    let (first, last) = (filter.first, filter.last);
    let mut hidden = BTreeSet::new();
    let mut find = |series: RangeInclusive<u32>| {
        part.groups_beside(series, filter.times, |series, times, group| {
            let all = hides.is_some_and(|hides| hides.covers(&series, times));
            hidden.extend(group.filter(|_| all));
            all
        })
    };
    let mut groups: Vec<GroupRef> = Vec::new();
    match &filter.set {
        Some(set) if set.range_cardinality(first..=last) <= LOOKUPS_MAX => {
            let mut iter = set.iter();
            iter.reset_at_or_after(first);
            for series in iter.take_while(|series| *series <= last) {
                groups.extend(find(series..=series)?);
            }
            groups.sort_by_key(|group| group.index);
            groups.dedup_by_key(|group| group.index);
        }
        _ => {
            groups = find(first..=last)?;
            groups.retain(|group| filter.takes_some(group.series_first, group.series_last));
        }
    }
    ScanStats::add(&stats.groups_pruned, hidden.len() as u64);
    Ok(groups)
}

impl PartWalk {
    fn peek(&mut self, filter: &Filter) -> Result<Option<u32>> {
        loop {
            if let Some((group, next)) = &mut self.current {
                let series = &group.keys()?.series;
                while series.get(*next).is_some_and(|rows| !filter.takes(rows.series)) {
                    *next += 1;
                }
                if let Some(rows) = series.get(*next) {
                    return Ok(Some(rows.series));
                }
                self.current = None;
                self.at += 1;
                continue;
            }
            let Some(found) = self.groups.get(self.at) else { return Ok(None) };
            if found.own_series {
                return Ok(Some(found.series_first));
            }
            self.current = Some((Group::new(&self.handle, *found, filter.times), 0));
        }
    }

    /// Takes the piece that `peek` stands at.
    fn take(&mut self, filter: &Filter, out: &mut Vec<Piece>) {
        let age = self.handle.entry.positions.1;
        let first = out.len();
        match &mut self.current {
            Some((group, next)) => {
                out.extend(Piece::of_shared(group, *next, age, filter.times));
                *next += 1;
            }
            None => {
                let group = Group::new(&self.handle, self.groups[self.at], filter.times);
                out.extend(Piece::of_own(&group, age, filter.times));
                self.at += 1;
            }
        }
        if let Some(hides) = &self.hides {
            out[first..].iter_mut().for_each(|piece| piece.hides = Some(Arc::clone(hides)));
        }
    }
}

/// The least member of a set at or after a number; `u32::MAX` past its end.
trait IterAfter {
    fn iter_after(&self, from: u32) -> u32;
}

impl IterAfter for Bitmap {
    fn iter_after(&self, from: u32) -> u32 {
        let mut iter = self.iter();
        iter.reset_at_or_after(from);
        iter.next().unwrap_or(u32::MAX)
    }
}
