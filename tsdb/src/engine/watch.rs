//! Watches: which times of a table have changed since somebody made something out of it (FORMAT.md,
//! "Watches").
//!
//! Invariants
//! - A watch is changed by apply alone, as the record and the watch before say, and its row goes
//!   into the row store in the transaction of that record: so it is as durable as the rows that it
//!   tells of, is seen with them, and is replayed with them from the row store's own position,
//!   whatever of the table is in parts by then.
//! - Times that were noted since the last raising are not settled: what is settled was noted before
//!   the snapshot that the settler looked at. So what is noted already needs no second note, and
//!   late rows that keep coming cost one small row between two raisings.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::deletes::Selection;
use crate::error::{Error, Result};
use crate::rows::{RowChange, RowSnapshot};
use crate::types::{TableId, TimeRange};

use super::bytes::Reader;
use super::catalog;
use super::command::{Command, Outcome};
use super::disk::Use;
use super::prepare::SortedWrite;
use super::record::Prepared;
use super::state::{Snapshot, State};

/// Space of the row store that holds watches.
pub const WATCH_SPACE: u16 = 2;
/// Watches of a table: each costs every late write.
pub const WATCHES_MAX: usize = 64;
/// Ranges of a set; beyond, near ones become one.
const RANGES_MAX: usize = 128;
const VERSION: u8 = 1;

const BEGIN: u8 = 0;
const RAISE: u8 = 1;
const SETTLE: u8 = 2;
const END: u8 = 3;

/// A watch over one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Number, unique in its table.
    pub number: u32,
    /// Changed times are noted by whole grains of this length, ns.
    pub grain: i64,
    /// First time that is not watched, ns.
    pub until: i64,
    /// How far the watcher is, ns; it means what he wants.
    pub done: i64,
    before: Ranges,
    since: Ranges,
}

/// A change of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchChange {
    /// Makes it.
    Begin {
        /// See [`Watch::grain`].
        grain: i64,
    },
    /// Watches up to a later time, and lets what has changed so far be settled.
    Raise {
        /// See [`Watch::until`]; never lowered.
        until: i64,
    },
    /// Takes times out of what had changed before the watch was last raised.
    Settle {
        /// Those times.
        times: TimeRange,
        /// See [`Watch::done`]; never lowered.
        done: i64,
    },
    /// Takes it away.
    End,
}

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
            if !own.overlaps(times) {
                left.push(*own);
                continue;
            }
            if own.min < times.min {
                left.push(TimeRange::new(own.min, times.min - 1));
            }
            if own.max > times.max {
                left.push(TimeRange::new(times.max + 1, own.max));
            }
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

impl Watch {
    /// Times that may have changed, in disjoint ascending ranges.
    pub fn changed(&self) -> Vec<TimeRange> {
        let mut all = self.before.0.clone();
        all.extend(&self.since.0);
        all.sort_unstable_by_key(|range| range.min);
        let mut out: Vec<TimeRange> = Vec::with_capacity(all.len());
        for range in all {
            match out.last_mut() {
                Some(last) if last.max.saturating_add(1) >= range.min => *last = last.cover(&range),
                _ => out.push(range),
            }
        }
        out
    }

    /// Notes changed times; whether that changes the watch.
    fn note(&mut self, spans: impl IntoIterator<Item = TimeRange>) -> bool {
        let mut changed = false;
        for span in spans {
            if !span.is_empty() && !self.since.covers(&span) {
                self.since.insert(span);
                changed = true;
            }
        }
        changed
    }

    fn grain_of(&self, time: i64) -> i64 {
        time.div_euclid(self.grain)
    }

    /// The times before `until` of the grains from one to another.
    fn span(&self, first: i64, last: i64) -> TimeRange {
        let end = last.saturating_add(1).saturating_mul(self.grain).saturating_sub(1);
        let start = first.saturating_mul(self.grain);
        TimeRange::new(start, end.max(start).min(self.until.saturating_sub(1)))
    }

    /// The spans of some grains.
    fn spans(&self, grains: &BTreeSet<i64>) -> Vec<TimeRange> {
        let mut spans = Vec::new();
        let mut run: Option<(i64, i64)> = None;
        for grain in grains {
            run = match run {
                Some((first, last)) if last + 1 == *grain => Some((first, *grain)),
                other => {
                    spans.extend(other.map(|(first, last)| self.span(first, last)));
                    Some((*grain, *grain))
                }
            };
        }
        spans.extend(run.map(|(first, last)| self.span(first, last)));
        spans
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        for number in [self.grain, self.until, self.done] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        self.before.put(&mut out);
        self.since.put(&mut out);
        out
    }

    fn decode(number: u32, bytes: &[u8]) -> Result<Watch> {
        let mut reader = Reader::new(bytes, "row of a watch");
        let version = reader.u8()?;
        if version != VERSION {
            return Err(reader.error(format_args!("version {version} is newer than this program")));
        }
        let (grain, until, done) = (reader.i64()?, reader.i64()?, reader.i64()?);
        if grain < 1 {
            return Err(reader.error("a grain without length"));
        }
        let before = Ranges::read(&mut reader)?;
        let since = Ranges::read(&mut reader)?;
        reader.end()?;
        Ok(Watch { number, grain, until, done, before, since })
    }
}

fn key(table: TableId, number: u32) -> Vec<u8> {
    [table.to_be_bytes(), number.to_be_bytes()].concat()
}

/// What a commit takes room for: a delete that a watch notes changes a row of the row store, which
/// must not meet a full disk.
pub(super) fn room(commands: &[Prepared], snapshot: &Snapshot) -> Use {
    let noted = |command: &Prepared| match command {
        Prepared::Other(Command::Delete { table, .. }) => {
            snapshot.state.tables.get(table).is_some_and(|table| !table.watches.is_empty())
        }
        _ => false,
    };
    match Use::of(commands) {
        Use::Relief if commands.iter().any(noted) => Use::Catalogue,
        other => other,
    }
}

/// Reads all watches out of the row store.
///
/// # Errors
/// [`Error::Corrupt`] if a row does not decode.
pub(crate) fn load(rows: &RowSnapshot) -> Result<Vec<(TableId, Watch)>> {
    let mut watches = Vec::new();
    for (key, value) in rows.scan(WATCH_SPACE, &[])? {
        let mut reader = Reader::new(&key, "key of a watch");
        let table = reader.u32()?.swap_bytes();
        let number = reader.u32()?.swap_bytes();
        reader.end()?;
        watches.push((table, Watch::decode(number, &value)?));
    }
    Ok(watches)
}

/// Watches that a record has changed, to be stored with it.
#[derive(Default)]
pub(crate) struct Noted(BTreeSet<(TableId, u32)>);

impl Noted {
    /// Notes the rows of a write, as the record has them.
    pub fn write(&mut self, state: &mut State, write: &SortedWrite) {
        let first = |watch: &Watch| write_starts(write).any(|time| time < watch.until);
        self.each(state, write.table, first, |watch| {
            let mut grains = BTreeSet::new();
            let mut start = 0;
            for count in &write.counts {
                let times = &write.times[start..start + *count as usize];
                let mut last = None;
                for time in times.iter().take_while(|time| **time < watch.until) {
                    let grain = watch.grain_of(*time);
                    if last != Some(grain) {
                        grains.insert(grain);
                        last = Some(grain);
                    }
                }
                start += *count as usize;
            }
            let spans = watch.spans(&grains);
            watch.note(spans)
        });
    }

    /// Notes the times that a delete names.
    pub fn delete(&mut self, state: &mut State, table: TableId, selections: &[Selection]) {
        let some = |watch: &Watch| {
            selections.iter().any(|selection| selection.bounds().1.min < watch.until)
        };
        self.each(state, table, some, |watch| {
            let mut grains = BTreeSet::new();
            let mut spans = Vec::new();
            for selection in selections {
                match selection {
                    Selection::Range { times, .. } if times.min < watch.until => {
                        let last = times.max.min(watch.until - 1);
                        spans.push(watch.span(watch.grain_of(times.min), watch.grain_of(last)));
                    }
                    Selection::Range { .. } => {}
                    Selection::Points { times, .. } => {
                        let times = times.iter().filter(|time| **time < watch.until);
                        grains.extend(times.map(|time| watch.grain_of(*time)));
                    }
                }
            }
            spans.extend(watch.spans(&grains));
            watch.note(spans)
        });
    }

    fn each(
        &mut self,
        state: &mut State,
        id: TableId,
        concerned: impl Fn(&Watch) -> bool,
        mut note: impl FnMut(&mut Watch) -> bool,
    ) {
        let Some(table) = state.tables.get(&id) else { return };
        if !table.watches.iter().any(concerned) {
            return;
        }
        let mut watches = Vec::clone(&table.watches);
        let mut changed = false;
        for watch in &mut watches {
            if note(watch) {
                self.0.insert((id, watch.number));
                changed = true;
            }
        }
        if changed && let Some(table) = state.tables.get_mut(&id) {
            Arc::make_mut(table).watches = Arc::new(watches);
        }
    }

    /// Applies the command.
    ///
    /// # Errors
    /// Refusals: [`Error::NotFound`], [`Error::Exists`], [`Error::Invalid`].
    pub fn change(
        &mut self,
        state: &mut State,
        id: TableId,
        number: u32,
        change: &WatchChange,
        rows: &mut Vec<RowChange>,
    ) -> Result<Outcome> {
        let Some(table) = state.tables.get_mut(&id) else { return Err(catalog::no_table(id)) };
        let mut watches = Vec::clone(&table.watches);
        let at = watches.iter().position(|watch| watch.number == number);
        match (change, at) {
            (WatchChange::Begin { .. }, Some(_)) => {
                return Err(Error::Exists(format!("table {id} has a watch {number} already")));
            }
            (WatchChange::Begin { grain }, None) => {
                if *grain < 1 || watches.len() >= WATCHES_MAX {
                    return Err(Error::Invalid(format!(
                        "table \"{}\" may have {WATCHES_MAX} watches, each of a grain of at \
                         least 1 ns",
                        table.schema.name
                    )));
                }
                let (before, since) = Default::default();
                let (until, done) = (i64::MIN, i64::MIN);
                watches.push(Watch { number, grain: *grain, until, done, before, since });
            }
            (_, None) => {
                return Err(Error::NotFound(format!("table {id} has no watch {number}")));
            }
            (WatchChange::Raise { until }, Some(at)) => {
                let watch = &mut watches[at];
                watch.until = watch.until.max(*until);
                let since = std::mem::take(&mut watch.since);
                since.0.into_iter().for_each(|range| watch.before.insert(range));
            }
            (WatchChange::Settle { times, done }, Some(at)) => {
                let watch = &mut watches[at];
                watch.done = watch.done.max(*done);
                watch.before.remove(times);
            }
            (WatchChange::End, Some(at)) => {
                watches.remove(at);
                self.0.remove(&(id, number));
                rows.push(RowChange::Delete { space: WATCH_SPACE, key: key(id, number) });
            }
        }
        if *change != WatchChange::End {
            self.0.insert((id, number));
        }
        Arc::make_mut(table).watches = Arc::new(watches);
        Ok(Outcome::Done)
    }

    /// The rows of the watches that were changed, as they are now.
    pub fn rows(self, state: &State) -> Vec<RowChange> {
        let row = |(id, number): (TableId, u32)| {
            let watches = &state.tables.get(&id)?.watches;
            let watch = watches.iter().find(|watch| watch.number == number)?;
            Some(RowChange::Put { space: WATCH_SPACE, key: key(id, number), value: watch.encode() })
        };
        self.0.into_iter().filter_map(row).collect()
    }
}

/// The first time of each series of a write.
fn write_starts(write: &SortedWrite) -> impl Iterator<Item = i64> {
    let mut start = 0;
    write.counts.iter().filter_map(move |count| {
        let first = (*count > 0).then(|| write.times.get(start).copied()).flatten();
        start += *count as usize;
        first
    })
}

/// The rows of the watches of a table that is dropped.
pub(crate) fn drop_rows(table: TableId, watches: &[Watch]) -> impl Iterator<Item = RowChange> {
    watches
        .iter()
        .map(move |watch| RowChange::Delete { space: WATCH_SPACE, key: key(table, watch.number) })
}

/// Appends a change and its fields.
pub(crate) fn put_change(out: &mut Vec<u8>, change: &WatchChange) {
    let (kind, numbers) = match change {
        WatchChange::Begin { grain } => (BEGIN, vec![*grain]),
        WatchChange::Raise { until } => (RAISE, vec![*until]),
        WatchChange::Settle { times, done } => (SETTLE, vec![times.min, times.max, *done]),
        WatchChange::End => (END, Vec::new()),
    };
    out.push(kind);
    numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
}

/// Reads what [`put_change`] wrote.
pub(crate) fn change(reader: &mut Reader<'_>) -> Result<WatchChange> {
    Ok(match reader.u8()? {
        BEGIN => WatchChange::Begin { grain: reader.i64()? },
        RAISE => WatchChange::Raise { until: reader.i64()? },
        SETTLE => {
            let times = TimeRange::new(reader.i64()?, reader.i64()?);
            WatchChange::Settle { times, done: reader.i64()? }
        }
        END => WatchChange::End,
        kind => return Err(reader.error(format_args!("no change of a watch is {kind}"))),
    })
}
