//! The façade: [`Db`] opens a folder, takes commits, shows snapshots, and keeps its files in order.
//!
//! Where to start: `core.rs` (what is shared, lock order), `committer.rs` (the write path),
//! `apply.rs` (what a record does), `state.rs` (what a reader sees), `flush.rs` and `merge.rs`
//! (from memory to files), `open.rs` (recovery), `version.rs` (which files there are).

mod apply;
mod archive;
pub(crate) mod bytes;
mod catalog;
pub(crate) mod command;
pub(crate) mod committer;
pub(crate) mod core;
mod delete;
mod disk;
pub(crate) mod files;
pub(crate) mod flush;
pub(crate) mod formats;
pub(crate) mod groups;
pub(crate) mod holds;
mod life;
mod memory;
mod merge;
mod narrow;
mod newest;
pub(crate) mod open;
mod options;
mod outputs;
mod partitions;
pub(crate) mod place;
mod plan;
mod prepare;
mod published;
mod quarantine;
pub(crate) mod queue;
pub(crate) mod record;
mod retain;
mod scrub;
mod seals;
pub(crate) mod state;
mod stats;
#[cfg(test)]
pub(crate) mod tests;
mod verify;
pub(crate) mod version;
mod watch;

pub use command::{Command, Committed, NewColumn, NewTable, Outcome, Pending};
pub use formats::{FileFormat, look as file_formats};
pub use groups::{Groups, KeyGroup};
pub use life::{Tended, now as now_ns};
pub use memory::PoolUsage;
pub use open::Identity;
pub use options::{BackupPolicy, LogArchive, Options};
pub use partitions::PartitionInfo;
pub use prepare::BATCH_ROWS_MAX;
pub use quarantine::{LeftOut, Quarantined};
pub use scrub::ScrubStatus;
pub use state::{Snapshot, Table};
pub use stats::{DbStats, PartInfo, RecoveryReport, TableStats};
pub use verify::{Finding, verify, verify_archive};
pub use version::{Edit, ObjectRef, PartEntry, TableFiles, Version, read_edits};
pub use watch::{WATCHES_MAX, Watch, WatchChange};

/// Decodes the payload of a commit record into its commands' names and sizes, for `inspect`.
///
/// # Errors
/// [`crate::Error::Corrupt`] for a payload that no writer made.
pub fn explain_record(payload: &[u8]) -> Result<Vec<String>> {
    let explain = |command: &Prepared| match command {
        Prepared::Write(write) => format!(
            "write: table {}, {} rows, {} series, {} columns",
            write.table,
            write.times.len(),
            write.series.len(),
            write.columns.len()
        ),
        Prepared::Other(Command::Delete { table, selections }) => {
            let points: usize = selections.iter().map(Selection::points).sum();
            format!("delete: table {table}, {} selections, {points} points", selections.len())
        }
        Prepared::Other(command) => format!("{command:?}"),
    };
    let record = record::decode(payload)?;
    let time = record.time.map(|time| format!("committed at {time} ns"));
    Ok(time.into_iter().chain(record.commands.iter().map(explain)).collect())
}

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use parking_lot::Mutex;

use crate::deletes::Selection;
use crate::error::{Error, Result};
use crate::io::Storage;
use crate::rows::RowConditions;
use crate::types::{TableId, WriteBatch};

use self::core::Core;
use command::promise;
use disk::{FLUSHING, MERGING};
use prepare::prepare;
use queue::Waiting;
use record::Prepared;
use state::TableState;

/// A database. Dropping it closes it.
#[derive(Debug)]
pub struct Db {
    pub(crate) core: Arc<Core>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    recovery: RecoveryReport,
}

impl Db {
    /// Opens a database, or makes one in an empty folder.
    ///
    /// # Errors
    /// [`Error::Locked`] if another process has the folder, [`Error::Corrupt`] with file, offset
    /// and cause if stored bytes are damaged, [`Error::Invalid`] for settings out of bounds.
    pub fn open(storage: Arc<dyn Storage>, options: Options) -> Result<Arc<Db>> {
        open::refuse_unfinished(&*storage)?;
        Db::open_unchecked(storage, options)
    }

    /// [`Db::open`] for the restore that the folder is marked by.
    pub(crate) fn open_unchecked(storage: Arc<dyn Storage>, options: Options) -> Result<Arc<Db>> {
        let (core, recovery) = open::open(storage, options)?;
        let core = Arc::new(core);
        let mut threads = Vec::new();
        let spawn = |name: &str, run: fn(&Arc<Core>)| {
            let core = Arc::clone(&core);
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || run(&core))
                .map_err(|e| Error::io("starting a thread", &e))
        };
        threads.push(spawn("commit", committer::run)?);
        if core.options.background {
            threads.push(spawn("flush", flush_loop)?);
            threads.push(spawn("merge", merge_loop)?);
            threads.push(spawn("life", life::run)?);
            threads.push(spawn("scrub", scrub::run)?);
            if core.options.log_archive.is_some() {
                threads.push(spawn("archive", crate::backup::archive_loop)?);
            }
            if core.options.backup_policy.is_some() {
                threads.push(spawn("backup", crate::backup::schedule_loop)?);
            }
        }
        Ok(Arc::new(Db { core, threads: Mutex::new(threads), recovery }))
    }

    /// The newest state that all can see.
    pub fn snapshot(&self) -> Snapshot {
        self.core.snapshot()
    }

    /// Checks, sorts and encodes on this thread, then queues. Waits while the queue or the heads
    /// are full, so large batches belong on a thread that may block. When the pending commit
    /// resolves it is durable (fdatasync) and in every new snapshot.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::TypeMismatch`] or [`Error::NotFound`] before anything is
    /// queued; [`Error::Full`] where the disk has no room beyond its reserve, nothing has changed
    /// then and it can be tried again; [`Error::ReadOnly`] or [`Error::Closed`].
    pub fn submit(&self, commands: Vec<Command>) -> Result<Pending> {
        self.submit_on(commands, None)
    }

    /// As [`Db::submit`], on conditions: they are looked at before the record is written, and where
    /// one does not hold nothing of the commit is made; the [`Pending`] gives [`Error::Conflict`].
    ///
    /// # Errors
    /// As [`Db::submit`].
    pub fn submit_if(&self, commands: Vec<Command>, conditions: RowConditions) -> Result<Pending> {
        self.submit_on(commands, Some(conditions))
    }

    fn submit_on(
        &self,
        commands: Vec<Command>,
        conditions: Option<RowConditions>,
    ) -> Result<Pending> {
        self.core.check_writable()?;
        if commands.is_empty() {
            return Err(Error::Invalid("a commit without commands".into()));
        }
        let snapshot = self.core.snapshot();
        let mut prepared = Vec::with_capacity(commands.len());
        for command in commands {
            prepared.push(match command {
                Command::Write(batch) => Prepared::Write(self.prepare(batch, &snapshot)?),
                Command::Rows(rows) => {
                    rows.check()?;
                    Prepared::Other(Command::Rows(rows))
                }
                Command::Delete { table, selections } => {
                    let Some(found) = snapshot.state.tables.get(&table) else {
                        return Err(catalog::no_table(table));
                    };
                    let selections = delete::prepare(selections, found, &self.core.options)?;
                    Prepared::Other(Command::Delete { table, selections })
                }
                other => {
                    catalog::check_limits(&other, &snapshot.state, &self.core.options)?;
                    Prepared::Other(other)
                }
            });
        }
        let payload = record::encode(&prepared);
        let most = crate::log::LogOptions::default().record_bytes_max;
        if payload.len() > most as usize {
            return Err(Error::Invalid(format!(
                "a commit of {} bytes; at most {most} are taken: write in smaller batches",
                payload.len()
            )));
        }
        self.core.check_room(
            watch::room(&prepared, &snapshot),
            self.core.queue.bytes() + payload.len() as u64,
        )?;
        self.wait_for_room()?;
        let (promise, pending) = promise();
        let waiting = Waiting::new(prepared, payload, promise).on(conditions);
        self.core.queue.push(waiting).map_err(|_| Error::Closed)?;
        Ok(pending)
    }

    fn prepare(&self, batch: WriteBatch, snapshot: &Snapshot) -> Result<prepare::SortedWrite> {
        let Some(table) = snapshot.state.tables.get(&batch.table) else {
            return Err(catalog::no_table(batch.table));
        };
        let table: &TableState = table;
        let (core, series) = (&self.core, &table.series);
        if u64::from(series.len()) + batch.series.len() as u64 > u64::from(core.options.series_max)
        {
            let new = |s: &crate::types::SeriesRef| match s {
                crate::types::SeriesRef::Known(_) => false,
                crate::types::SeriesRef::Key(key) => series.lookup(key).is_none(),
            };
            let wanted = batch.series.iter().filter(|s| new(s)).count() as u64;
            if u64::from(series.len()) + wanted > u64::from(core.options.series_max) {
                return Err(Error::Full(format!(
                    "table \"{}\" has its most series ({}); drop old ones or raise series_max",
                    table.schema.name, core.options.series_max
                )));
            }
        }
        self.check_series_memory(&batch, table, snapshot)?;
        prepare(batch, &table.schema, series, &core.options, core.shards)
    }

    /// New series are refused where index and last rows take what they may.
    fn check_series_memory(
        &self,
        batch: &WriteBatch,
        table: &TableState,
        snapshot: &Snapshot,
    ) -> Result<()> {
        let (memory, most) = (&self.core.places.memory, self.core.options.series_bytes_max);
        if memory.series_bytes(table) <= most {
            return Ok(());
        }
        let new = |series: &crate::types::SeriesRef| match series {
            crate::types::SeriesRef::Known(_) => false,
            crate::types::SeriesRef::Key(key) => table.series.lookup(key).is_none(),
        };
        // Tables dropped meanwhile may have made room.
        if !batch.series.iter().any(new) || memory.recount_series(&snapshot.state) <= most {
            return Ok(());
        }
        Err(Error::Full(format!(
            "the series of all tables take the {most} bytes of memory that they may, and the write \
             to table \"{}\" brings new ones; drop tables, use fewer keys or raise series_bytes_max \
             (or memory_bytes_max, from which it follows)",
            table.schema.name
        )))
    }

    /// Waits while the heads, with what is queued for them, hold more than they may; the flusher
    /// makes room.
    fn wait_for_room(&self) -> Result<()> {
        let core = &self.core;
        if !core.options.background {
            return Ok(());
        }
        let over = || {
            let queued = core.queue.bytes() / 2;
            core.state.load().head_bytes + queued > core.options.heads_bytes_max
        };
        while over() {
            core.check_writable()?;
            if let Some(why) = core.flush_is_stuck() {
                return Err(Error::Full(format!(
                    "the rows in memory take what they may and cannot be flushed ({why}); try \
                     again when there is room on the disk"
                )));
            }
            core.wake.flush();
            let mut guard = core.room.0.lock();
            core.room.1.wait_for(&mut guard, std::time::Duration::from_millis(50));
        }
        Ok(())
    }

    /// [`Db::submit`] and wait.
    ///
    /// # Errors
    /// As [`Db::submit`]; refusals of single commands are in [`Committed::outcomes`].
    pub fn commit(&self, commands: Vec<Command>) -> Result<Committed> {
        self.submit(commands)?.wait()
    }

    /// Commits one command.
    ///
    /// # Errors
    /// As [`Db::submit`], and the command's refusal.
    pub fn execute(&self, command: Command) -> Result<Outcome> {
        let mut outcomes = self.commit(vec![command])?.outcomes;
        outcomes.pop().unwrap_or(Ok(Outcome::Done))
    }

    /// Flushes every head into parts and checkpoints the row store (`CHECKPOINT`).
    ///
    /// # Errors
    /// [`Error::Full`] without room, when nothing has changed. What writing gives; the database is
    /// then read-only.
    pub fn checkpoint(&self) -> Result<()> {
        self.core.check_writable()?;
        let tables: Vec<TableId> = self.core.state.load().tables.keys().copied().collect();
        let done = committer::drop_again(&self.core)
            .and_then(|()| tables.into_iter().try_for_each(|table| flush::flush(&self.core, table)))
            .and_then(|()| flush::shorten_log(&self.core));
        done.inspect(|()| self.core.note_room(FLUSHING))
            .inspect_err(|error| self.core.fail(FLUSHING, error))
    }

    /// Merges a table, or every table, until each partition is one dense part (`VACUUM FULL`).
    /// Rows of the head stay there: [`Db::checkpoint`] first.
    ///
    /// # Errors
    /// What reading or writing gives.
    pub fn merge_full(&self, table: Option<TableId>) -> Result<()> {
        self.core.check_writable()?;
        let tables: Vec<TableId> = match table {
            Some(table) => vec![table],
            None => self.core.state.load().tables.keys().copied().collect(),
        };
        tables
            .into_iter()
            .try_for_each(|table| merge::merge_full(&self.core, table))
            .inspect_err(|error| self.note_merge_failure(error))
    }

    /// Runs the merges that are due now, as the background does.
    ///
    /// # Errors
    /// What reading or writing gives.
    pub fn merge_due(&self) -> Result<()> {
        while merge::merge_next(&self.core).inspect_err(|e| self.note_merge_failure(e))? {}
        Ok(())
    }

    /// Brings archived parts with rows in `times` back into the data folder, where they stay until
    /// `hot_until` at least, ns since 1970. Returns how many parts came back.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the table, [`Error::Full`] without room for them,
    /// [`Error::Unavailable`] or [`Error::Corrupt`] with the object's name; parts that came back
    /// before stay back.
    pub fn restore(
        &self,
        table: TableId,
        times: crate::types::TimeRange,
        hot_until: i64,
    ) -> Result<u64> {
        archive::restore_table(&self.core, table, times, hot_until)
    }

    /// Looks after retention and archive as of time `now`, ns since 1970, as the background does
    /// from time to time.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] or [`Error::Closed`].
    pub fn tend(&self, now: i64) -> Result<Tended> {
        life::tend(&self.core, now)
    }

    /// Puts a change of a table's retention into effect at once, as of time `now`, ns since 1970.
    ///
    /// # Errors
    /// As [`Db::tend`].
    pub fn retain(&self, table: TableId, now: i64) -> Result<()> {
        life::retain_table(&self.core, table, now).map(|_| ())
    }

    fn note_merge_failure(&self, error: &Error) {
        note_merge_failure(&self.core, error);
    }

    /// Sizes and counters.
    pub fn stats(&self) -> DbStats {
        let core = &self.core;
        let state = core.state.load();
        let mut stats = DbStats {
            visible_position: state.position,
            queue_bytes: core.queue.bytes(),
            commits: core.counters.commits.load(Ordering::Relaxed),
            syncs: core.counters.syncs.load(Ordering::Relaxed),
            rows_expired: core.counters.rows_expired.load(Ordering::Relaxed),
            rows_written: core.counters.rows.load(Ordering::Relaxed),
            flushes: core.counters.flushes.load(Ordering::Relaxed),
            merges: core.counters.merges.load(Ordering::Relaxed),
            flush_bytes: core.counters.flush_bytes.load(Ordering::Relaxed),
            merge_bytes: core.counters.merge_bytes.load(Ordering::Relaxed),
            last_bytes: core.counters.last_bytes.load(Ordering::Relaxed),
            pools: core.places.memory.pools(&state, &core.queue, &core.options),
            ..DbStats::default()
        };
        (stats.disk_free_bytes, stats.disk_reserve_bytes) = core.room();
        if let Some(log) = core.log.lock().as_ref() {
            stats.durable_position = log.durable_index();
            stats.log_bytes = log.bytes();
            stats.log_segments = log.segments().len() as u64;
        }
        let stored = core.storage.stored().unwrap_or_else(|| Arc::clone(&core.storage));
        if let Ok(file) = stored.open(files::ROW_STORE) {
            stats.row_store_bytes = file.len().unwrap_or(0);
        }
        stats.archive_failures = core.counters.archive_failures.load(Ordering::Relaxed);
        stats.archive_fetched_bytes = core.places.cache.fetched();
        stats.archive_cache_bytes = core.places.cache.bytes();
        stats.archive_dead_objects = core.version.lock().version.dead.len() as u64;
        stats.quarantined_blocks = self.quarantined().len() as u64;
        {
            let scrub = core.scrubbing.status.lock();
            (stats.scrub_bytes, stats.scrub_files) = (scrub.bytes_ever, scrub.files_ever);
            stats.scrub_found = scrub.found_ever;
        }
        let archive = core.archive.status();
        stats.log_archive_position = archive.position;
        stats.log_archive_held_bytes = archive.held_bytes;
        stats.log_archive_failing_seconds = archive.failing_seconds();
        stats.log_archive_given_up = archive.given_up;
        for table in state.tables.values() {
            stats.head_bytes += table.head.memory();
            stats.head_rows += table.head.rows();
            stats.series += u64::from(table.series_count);
            stats.series_bytes += table.series_bytes;
            for part in table.parts.iter() {
                stats.parts += 1;
                stats.part_bytes += part.entry.bytes;
                stats.part_rows += part.entry.rows;
                if part.entry.object.is_some() {
                    stats.archived_bytes += part.entry.bytes;
                }
                stats.cache_bytes += part.part.cached_bytes() as u64;
            }
        }
        stats
    }

    /// Why writes of data are refused for want of room on the disk, if they are. They are taken
    /// again by themselves when there is room.
    pub fn full(&self) -> Option<String> {
        self.core.full()
    }

    /// Why all writes are refused until the next start, if they are.
    pub fn read_only(&self) -> Option<String> {
        self.core.failure()
    }

    /// Settings the database was opened with.
    pub fn options(&self) -> &Options {
        &self.core.options
    }

    /// What opening found and did.
    pub fn recovery(&self) -> &RecoveryReport {
        &self.recovery
    }

    /// Takes no more writes, finishes those queued, marks the log's end as durable, stops the
    /// threads. Rows of the head stay in the log. A second call does nothing.
    ///
    /// # Errors
    /// What the last sync gives.
    pub fn close(&self) -> Result<()> {
        let core = &self.core;
        core.stopping.store(true, Ordering::Release);
        core.queue.close();
        core.wake.flush();
        core.wake.merge();
        core.wake.end_life();
        core.room.1.notify_all();
        core.archive.wake();
        core.jobs.wake();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                core.fail("closing", &Error::Io("a thread of the engine panicked".into()));
            }
        }
        // What a caller's thread still tends, copies, flushes or merges ends before the folder is
        // let go of.
        let _tending = core.tending.lock();
        let _backing = core.backing.lock();
        let _flushing = core.flushing.lock();
        let _merging = core.merging.lock();
        if core.failure().is_none() && core.log.lock().is_some() {
            // Else the next start would have to find them again.
            let _ = quarantine::record_closing(core);
        }
        let Some(log) = core.log.lock().take() else { return Ok(()) };
        let closed = match core.failure() {
            Some(_) => Ok(()),
            // The log brings back what a row store without room does not hold.
            None if !core.has_room_for_rows() => log.close(),
            None => core.rows.checkpoint().and_then(|_| log.close()),
        };
        core.rows.close();
        core.lock.lock().take();
        closed
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "closing the database");
        }
    }
}

fn note_merge_failure(core: &Core, error: &Error) {
    // A damaged input leaves the parts as they are; anything else may have left the disk in
    // doubt. What has failed once files were named has made the database read-only already.
    match error {
        Error::Closed => {}
        Error::Full(_) => core.note_full(MERGING, error),
        Error::Corrupt(_) | Error::ReadOnly(_) | Error::Unavailable(_) => {
            tracing::error!(%error, "a merge was given up");
        }
        _ => core.fail("merging", error),
    }
}

fn flush_loop(core: &Arc<Core>) {
    let age_max = std::time::Duration::from_secs(core.options.head_age_seconds_max.max(1));
    let mut aged = std::time::Instant::now();
    while core.check_writable().is_ok() {
        core.wake.wait_flush();
        // Also looks how much room there is, so that the server's log tells when that changes.
        let _ = core.full();
        if committer::drop_again(core).is_err() {
            // Told already, and read-only.
            return;
        }
        loop {
            let mut due = flush::due(core);
            if due.is_empty() && aged.elapsed() >= age_max {
                due = core.state.load().tables.keys().copied().collect();
                aged = std::time::Instant::now();
            }
            let Some(table) = due.first() else {
                // A head that was flushed before the disk was found full is not flushed again.
                core.note_room(FLUSHING);
                break;
            };
            let all = if due.len() > 1 { &due[..] } else { std::slice::from_ref(table) };
            for table in all {
                match flush::flush(core, *table) {
                    Ok(()) => core.note_room(FLUSHING),
                    Err(error @ Error::Full(_)) => {
                        core.note_full(FLUSHING, &error);
                        pause(core);
                        break;
                    }
                    Err(error) => {
                        core.fail(FLUSHING, &error);
                        return;
                    }
                }
            }
            if core.check_writable().is_err() {
                return;
            }
        }
    }
}

/// A second, or until the database closes: what was written in vain is not written again at once.
fn pause(core: &Core) {
    for _ in 0..20 {
        if core.check_writable().is_err() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

fn merge_loop(core: &Arc<Core>) {
    while core.check_writable().is_ok() {
        core.wake.wait_merge();
        loop {
            if core.check_writable().is_err() {
                return;
            }
            match merge::merge_next(core) {
                Ok(true) => core.note_room(MERGING),
                Ok(false) => break,
                Err(error) => {
                    note_merge_failure(core, &error);
                    // Not at once again: the cause is on disk and will not go away by itself.
                    break;
                }
            }
        }
    }
}
