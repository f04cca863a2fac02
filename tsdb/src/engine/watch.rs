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
//! - Who reads what has changed of single series finds all of it there, or in what has changed of all.

mod changes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::deletes::Selection;
use crate::error::{Error, Result};
use crate::rows::{RowChange, RowSnapshot};
use crate::types::{SeriesRef, TableId, TimeRange};

use super::bytes::Reader;
use super::catalog;
use super::command::{Command, Outcome};
use super::disk::Use;
use super::prepare::SortedWrite;
use super::record::Prepared;
use super::state::{Snapshot, State};
use changes::Changes;

/// Space of the row store that holds watches.
pub const WATCH_SPACE: u16 = 2;
/// Watches of a table: each costs every late write.
pub const WATCHES_MAX: usize = 64;
/// Series of one command that are noted apart; of more, the times of all series are noted.
const SERIES_MAX: usize = 64;
/// Without what single series have changed, and with it.
const VERSION_OF_ALL: u8 = 1;
const VERSION: u8 = 2;

const BEGIN: u8 = 0;
const RAISE: u8 = 1;
const SETTLE: u8 = 2;
const END: u8 = 3;
const SETTLE_SERIES: u8 = 4;

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
    before: Changes,
    since: Changes,
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
    /// Takes times out of what had changed of single series before the watch was last raised.
    SettleSeries {
        /// Those series, ascending.
        series: Vec<u32>,
        /// Those times.
        times: TimeRange,
    },
    /// Takes it away.
    End,
}

impl Watch {
    /// Times that may have changed, in disjoint ascending ranges.
    pub fn changed(&self) -> Vec<TimeRange> {
        let mut all = self.changed_of_all();
        all.extend(self.changed_of_some().into_iter().map(|(_, range)| range));
        union(all)
    }

    /// Times that may have changed whatever the series, in disjoint ascending ranges.
    pub fn changed_of_all(&self) -> Vec<TimeRange> {
        let mut all = self.before.of_all().to_vec();
        all.extend_from_slice(self.since.of_all());
        union(all)
    }

    /// Times that may have changed of single series besides, in any order.
    pub fn changed_of_some(&self) -> Vec<(u32, TimeRange)> {
        let mut some = self.before.of_some().to_vec();
        some.extend_from_slice(self.since.of_some());
        some
    }

    /// Notes changed times of all series; whether that changes the watch.
    fn note(&mut self, spans: impl IntoIterator<Item = TimeRange>) -> bool {
        spans.into_iter().fold(false, |changed, span| self.since.note(span) | changed)
    }

    /// Notes changed times of a series; whether that changes the watch.
    fn note_of(&mut self, series: u32, spans: impl IntoIterator<Item = TimeRange>) -> bool {
        spans.into_iter().fold(false, |changed, span| self.since.note_of(series, span) | changed)
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
        self.before.put_all(&mut out);
        self.since.put_all(&mut out);
        self.before.put_some(&mut out);
        self.since.put_some(&mut out);
        out
    }

    fn decode(number: u32, bytes: &[u8]) -> Result<Watch> {
        let mut reader = Reader::new(bytes, "row of a watch");
        let version = reader.u8()?;
        if ![VERSION_OF_ALL, VERSION].contains(&version) {
            return Err(reader.error(format_args!("version {version} is newer than this program")));
        }
        let (grain, until, done) = (reader.i64()?, reader.i64()?, reader.i64()?);
        if grain < 1 {
            return Err(reader.error("a grain without length"));
        }
        let mut before = Changes::read_all(&mut reader)?;
        let mut since = Changes::read_all(&mut reader)?;
        if version == VERSION {
            before.read_some(&mut reader)?;
            since.read_some(&mut reader)?;
        }
        reader.end()?;
        Ok(Watch { number, grain, until, done, before, since })
    }
}

/// Disjoint ascending ranges of what these cover; ranges that touch become one.
fn union(mut ranges: Vec<TimeRange>) -> Vec<TimeRange> {
    ranges.sort_unstable_by_key(|range| range.min);
    let mut out: Vec<TimeRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match out.last_mut() {
            Some(last) if last.max.saturating_add(1) >= range.min => *last = last.cover(&range),
            _ => out.push(range),
        }
    }
    out
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

/// The late rows of a write, of a watch: how they are noted shows when their series have numbers.
enum Late {
    /// Of too many series to note them apart.
    All(Vec<TimeRange>),
    Some(Vec<(SeriesRef, Vec<TimeRange>)>),
}

/// What a write is to note, by number of the watch.
pub(crate) struct LateRows {
    table: TableId,
    of: Vec<(u32, Late)>,
}

/// Watches that a record has changed, to be stored with it.
#[derive(Default)]
pub(crate) struct Noted(BTreeSet<(TableId, u32)>);

impl Noted {
    /// Notes the rows of a write as the record has them, now that it is applied.
    pub fn late(&mut self, state: &mut State, rows: &LateRows) {
        let Some(table) = state.tables.get(&rows.table) else { return };
        let index = Arc::clone(&table.series);
        let number_of = |series: &SeriesRef| match series {
            SeriesRef::Known(number) => Some(*number),
            SeriesRef::Key(key) => index.lookup(key),
        };
        let concerned = |watch: &Watch| rows.of.iter().any(|(number, _)| *number == watch.number);
        self.each(state, rows.table, concerned, |watch| {
            let (own, mut changed) = (watch.number, false);
            for (_, late) in rows.of.iter().filter(|(number, _)| *number == own) {
                match late {
                    Late::All(spans) => changed |= watch.note(spans.iter().copied()),
                    Late::Some(list) => {
                        for (series, spans) in list {
                            let spans = spans.iter().copied();
                            changed |= match number_of(series) {
                                Some(number) => watch.note_of(number, spans),
                                // Every series of a write that was applied has a number.
                                None => watch.note(spans),
                            };
                        }
                    }
                }
            }
            changed
        });
    }

    /// Notes the times that a delete names.
    pub fn delete(&mut self, state: &mut State, table: TableId, selections: &[Selection]) {
        let some = |watch: &Watch| {
            selections.iter().any(|selection| selection.bounds().1.min < watch.until)
        };
        self.each(state, table, some, |watch| {
            selections.iter().fold(false, |changed, of| note_selection(watch, of) | changed)
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
                watch.before.absorb(since);
            }
            (WatchChange::Settle { times, done }, Some(at)) => {
                let watch = &mut watches[at];
                watch.done = watch.done.max(*done);
                watch.before.settle(times);
            }
            (WatchChange::SettleSeries { series, times }, Some(at)) => {
                watches[at].before.settle_of(series, times);
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

/// What a write has to note when it is applied; `None`: nothing, as of almost all of them.
pub(crate) fn late_rows(state: &State, write: &SortedWrite) -> Option<LateRows> {
    let table = state.tables.get(&write.table)?;
    let mut of = Vec::new();
    for watch in table.watches.iter() {
        let late = starts(write).filter(|start| write.times[*start] < watch.until).count();
        if late > 0 {
            of.push((watch.number, late_rows_of(watch, write, late)));
        }
    }
    (!of.is_empty()).then_some(LateRows { table: write.table, of })
}

fn late_rows_of(watch: &Watch, write: &SortedWrite, late: usize) -> Late {
    let apart = late <= SERIES_MAX;
    let (mut grains, mut some) = (BTreeSet::new(), Vec::new());
    let mut start = 0;
    for (series, count) in write.series.iter().zip(&write.counts) {
        let times = &write.times[start..start + *count as usize];
        start += *count as usize;
        let mut last = None;
        for time in times.iter().take_while(|time| **time < watch.until) {
            let grain = watch.grain_of(*time);
            if last != Some(grain) {
                grains.insert(grain);
                last = Some(grain);
            }
        }
        if apart && !grains.is_empty() {
            some.push((series.clone(), watch.spans(&grains)));
            grains.clear();
        }
    }
    match apart {
        true => Late::Some(some),
        false => Late::All(watch.spans(&grains)),
    }
}

/// Notes the times that a selection names; whether that changes the watch.
fn note_selection(watch: &mut Watch, selection: &Selection) -> bool {
    match selection {
        Selection::Range { times, .. } if times.min >= watch.until => false,
        Selection::Range { series, times } => {
            let last = times.max.min(watch.until - 1);
            let span = watch.span(watch.grain_of(times.min), watch.grain_of(last));
            match series {
                Some(set) if set.cardinality() <= SERIES_MAX as u64 => set
                    .iter()
                    .fold(false, |changed, series| watch.note_of(series, [span]) | changed),
                _ => watch.note([span]),
            }
        }
        Selection::Points { series, times } => {
            let mut of: BTreeMap<u32, BTreeSet<i64>> = BTreeMap::new();
            for (series, time) in series.iter().zip(times).filter(|(_, t)| **t < watch.until) {
                of.entry(*series).or_default().insert(watch.grain_of(*time));
            }
            if of.len() > SERIES_MAX {
                let all: BTreeSet<i64> = of.into_values().flatten().collect();
                let spans = watch.spans(&all);
                return watch.note(spans);
            }
            of.into_iter().fold(false, |changed, (series, grains)| {
                let spans = watch.spans(&grains);
                watch.note_of(series, spans) | changed
            })
        }
    }
}

/// Where the rows of each series of a write begin.
fn starts(write: &SortedWrite) -> impl Iterator<Item = usize> {
    let mut start = 0;
    write.counts.iter().filter_map(move |count| {
        let first = (*count > 0).then_some(start).filter(|first| *first < write.times.len());
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
        WatchChange::SettleSeries { times, .. } => (SETTLE_SERIES, vec![times.min, times.max]),
        WatchChange::End => (END, Vec::new()),
    };
    out.push(kind);
    numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
    if let WatchChange::SettleSeries { series, .. } = change {
        out.extend_from_slice(&(series.len() as u32).to_le_bytes());
        series.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
    }
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
        SETTLE_SERIES => {
            let times = TimeRange::new(reader.i64()?, reader.i64()?);
            let count = reader.count(4)?;
            let series = (0..count).map(|_| reader.u32()).collect::<Result<_>>()?;
            WatchChange::SettleSeries { series, times }
        }
        END => WatchChange::End,
        kind => return Err(reader.error(format_args!("no change of a watch is {kind}"))),
    })
}

#[cfg(test)]
mod tests;
