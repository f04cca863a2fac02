//! The committer: one thread that writes groups of commits, syncs once, applies, publishes and
//! answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::{Error, Result};
use crate::log::{Kind, RecordIn};
use crate::rows::Seen;
use crate::types::TableSchema;

use super::apply::{Context, Effects, apply};
use super::command::{Command, Committed};
use super::core::{Core, attach};
use super::disk::LOGGING;
use super::queue::Waiting;
use super::record::{self, Prepared};
use super::state::{State, TableState};
use super::version::Edit;

/// Runs until the queue is closed and empty.
pub(crate) fn run(core: &Arc<Core>) {
    let _alarm = Alarm(core);
    while let Some(group) = core.queue.take() {
        commit(core, group);
    }
}

/// If the committer panics, writers must not wait for ever: they are told, and no more come in.
struct Alarm<'a>(&'a Core);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("committing", &Error::Io("the committing thread panicked".into()));
            self.0.queue.close();
            while self.0.queue.take().is_some() {}
        }
    }
}

/// Commits one group and answers its writers.
pub(crate) fn commit(core: &Core, mut group: Vec<Waiting>) {
    if let Some(cause) = core.failure() {
        for waiting in group {
            waiting.promise.fulfil(Err(Error::ReadOnly(cause.clone())));
        }
        return;
    }
    decide(core, &mut group);
    if group.is_empty() {
        core.queue.applied();
        return;
    }
    let first_time = stamp(core, &mut group);
    let first = match write(core, &group) {
        Ok(first) => first,
        Err(error) => {
            let error = refused(core, error);
            for waiting in group {
                waiting.promise.fulfil(Err(error.clone()));
            }
            return;
        }
    };
    let mut effects = Effects::default();
    let (results, promises) = apply_group(core, group, first, first_time, &mut effects);
    core.queue.applied();
    core.places.memory.note_heads(core.state.load().head_bytes);
    core.room.1.notify_all();
    let ended = results.and_then(|committed| settle(core, &effects).map(|()| committed));
    match ended {
        Ok(committed) => {
            for (promise, committed) in promises.into_iter().zip(committed) {
                promise.fulfil(Ok(committed));
            }
        }
        Err(error) => {
            // The records are durable; what is missing is their effect in memory. The next start
            // applies them.
            core.fail("applying the log", &error);
            for promise in promises {
                promise.fulfil(Err(error.clone()));
            }
        }
    }
    if core.queue.is_empty() {
        mark(core);
    }
}

/// Takes the commits out of the group whose conditions do not hold, and tells their writers. What
/// is left holds in its order: only this thread changes rows.
fn decide(core: &Core, group: &mut Vec<Waiting>) {
    if group.iter().all(|waiting| waiting.conditions.is_none()) {
        return;
    }
    let mut seen = Seen::new(core.state.load().rows.clone());
    let (count, mut held) = (group.len(), Vec::with_capacity(group.len()));
    for (at, mut waiting) in group.drain(..).enumerate() {
        let checked = waiting.conditions.take().map_or(Ok(()), |of| seen.check(&of));
        match checked {
            Err(error) => waiting.promise.fulfil(Err(error)),
            Ok(()) => {
                for command in &waiting.commands {
                    // A command that will be refused changes nothing.
                    if let Prepared::Other(Command::Rows(rows)) = command
                        && at + 1 < count
                        && seen.holds(&rows.expects)
                    {
                        seen.change(&rows.changes);
                    }
                }
                held.push(waiting);
            }
        }
    }
    *group = held;
}

/// What writers are told whose group is not in the log.
fn refused(core: &Core, error: Error) -> Error {
    let Error::Full(why) = error else {
        core.fail(LOGGING, &error);
        return error;
    };
    let why = format!(
        "{why}: the write was refused and nothing changed. Delete other files, drop tables or \
         shorten retention; writes are taken again by themselves"
    );
    let error = Error::Full(why);
    core.note_full(LOGGING, &error);
    error
}

/// Gives each commit its time, 1 ns apart: the clock's, but never one that was given before, so
/// that a time names one state. Returns the first. Only this thread commits.
fn stamp(core: &Core, group: &mut [Waiting]) -> i64 {
    let first = now_ns().max(core.state.load().time.saturating_add(1));
    for (time, waiting) in (first..).zip(group) {
        record::set_time(&mut waiting.payload, time);
    }
    first
}

/// Nanoseconds since 1970; 0 for a clock outside of the years that fit.
pub(crate) fn now_ns() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.ok().and_then(|since| i64::try_from(since.as_nanos()).ok()).unwrap_or(0)
}

/// Writes and syncs the group; returns its first position.
fn write(core: &Core, group: &[Waiting]) -> Result<u64> {
    let parts: Vec<[&[u8]; 1]> = group.iter().map(|w| [w.payload.as_slice()]).collect();
    let records: Vec<RecordIn<'_>> =
        parts.iter().map(|p| RecordIn { kind: Kind::Commands, term: 0, payload: p }).collect();
    let mut log = core.log.lock();
    let log = log.as_mut().ok_or(Error::Closed)?;
    let positions = log.append_group(&records)?;
    core.note_room(LOGGING);
    core.counters.syncs.fetch_add(1, Ordering::Relaxed);
    core.counters.commits.fetch_add(group.len() as u64, Ordering::Relaxed);
    Ok(*positions.start())
}

type Promises = Vec<super::command::Promise>;

fn apply_group(
    core: &Core,
    group: Vec<Waiting>,
    first: u64,
    first_time: i64,
    effects: &mut Effects,
) -> (Result<Vec<Committed>>, Promises) {
    let attach = |schema: TableSchema| -> Result<TableState> {
        attach(&core.places, core.shards, schema, None)
    };
    let context =
        Context { shards: core.shards, rows: &core.rows, attach: &attach, catalog_position: 0 };
    let _guard = core.publishing.lock();
    let mut state = State::clone(&core.state.load());
    let mut committed = Vec::with_capacity(group.len());
    let mut promises = Vec::with_capacity(group.len());
    let mut failed = None;
    for ((position, time), waiting) in (first..).zip(first_time..).zip(group) {
        promises.push(waiting.promise);
        if failed.is_some() {
            continue;
        }
        match apply(&context, &mut state, effects, position, waiting.commands) {
            Ok(outcomes) => {
                state.time = time;
                committed.push(Committed { position, time, outcomes });
            }
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) => (Err(error), promises),
        None => {
            core.rows.note_commit_time(state.time);
            core.state.store(state);
            (Ok(committed), promises)
        }
    }
}

/// Does what applied records ask for outside the state, and wakes the flusher.
fn settle(core: &Core, effects: &Effects) -> Result<()> {
    core.counters.rows.fetch_add(effects.rows, Ordering::Relaxed);
    core.counters.rows_expired.fetch_add(effects.expired, Ordering::Relaxed);
    if !effects.dropped.is_empty() {
        drop_files(core, &effects.dropped)?;
    }
    if effects.tombstones > 0 {
        // Parts that are hidden whole can go.
        core.wake.merge();
    }
    if super::flush::is_due_for_deletes(effects.tombstones)
        || effects.rows > 0 && super::flush::is_due(core, effects.head_bytes)
    {
        core.wake.flush();
    }
    Ok(())
}

/// Takes the files of dropped tables out of the version, or notes them for later where there is
/// no room for that.
///
/// # Errors
/// What row store and version log give; the database is read-only then.
pub(crate) fn drop_files(core: &Core, tables: &[u32]) -> Result<()> {
    if !core.has_room_for_rows() {
        core.undropped.lock().extend_from_slice(tables);
        return Ok(());
    }
    // A catalogue that still has the table must find its files: the log before them may be cut.
    let edit = Edit { drop: tables.to_vec(), ..Edit::default() };
    let gone = match core.rows.checkpoint().and_then(|_| core.append(&edit)) {
        Err(Error::Full(_)) => {
            core.undropped.lock().extend_from_slice(tables);
            return Ok(());
        }
        Err(error) => {
            core.fail("dropping tables", &error);
            return Err(error);
        }
        Ok(gone) => gone,
    };
    // Readers of older snapshots hold the files open; their names may go.
    gone.iter().for_each(|path| core.remove(path));
    Ok(())
}

/// Tries again what [`drop_files`] had no room for.
pub(crate) fn drop_again(core: &Core) -> Result<()> {
    let tables = std::mem::take(&mut *core.undropped.lock());
    if tables.is_empty() { Ok(()) } else { drop_files(core, &tables) }
}

/// Protects the last commit against being taken for a torn tail.
fn mark(core: &Core) {
    let mut log = core.log.lock();
    if let Some(log) = log.as_mut()
        && let Err(error) = log.write_mark()
    {
        core.fail(LOGGING, &error);
    }
}
