//! The life of data, tended from time to time: cuts move on, closed partitions move to the
//! archive, dead objects are deleted.
//!
//! All of it follows from the tables' settings and a time that the caller gives; what changes
//! goes through the log (cuts) or the version log (parts and objects). A store that cannot be
//! reached is asked again the next time.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::{Error, Result};
use crate::types::TableId;
pub use crate::types::now_ns as now;

use super::archive;
use super::command::{Command, Committed};
use super::committer;
use super::core::Core;
use super::record::Prepared;
use super::retain;

/// What tending did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tended {
    /// Tables whose cut was set anew.
    pub cuts: u64,
    /// Parts that moved to the archive.
    pub archived: u64,
    /// Parts that came back because deletes of archived rows had become many.
    pub restored: u64,
    /// Dead objects that were deleted.
    pub collected: u64,
    /// What failed of an object store, the first cause; it is tried again the next time.
    pub failure: Option<String>,
}

/// What tending remembers.
#[derive(Debug, Default)]
pub(crate) struct Tending {
    /// Whether the stores hold nothing that no edit has named.
    swept: bool,
    names: archive::Names,
}

/// Tends every table as of time `now`, ns since 1970.
///
/// # Errors
/// What committing gives. A store that fails is in what was done.
pub(crate) fn tend(core: &Core, now: i64) -> Result<Tended> {
    let mut tending = core.tending.lock();
    core.check_writable()?;
    committer::drop_again(core)?;
    let tables: Vec<TableId> = core.state.load().tables.keys().copied().collect();
    let mut tended = Tended::default();
    for table in &tables {
        tended.cuts += u64::from(retain(core, *table, now)?);
    }
    let mut failure = None;
    for table in tables {
        tended.archived +=
            note(archive::archive_table(core, &mut tending.names, table, now), &mut failure)?;
        tended.restored += note(archive::relieve(core, table, now), &mut failure)?;
    }
    // A failed upload may have left an object behind.
    tending.swept &= failure.is_none();
    if !tending.swept && failure.is_none() {
        note(archive::sweep(core, now).map(|()| 0), &mut failure)?;
        tending.swept = failure.is_none();
    }
    tended.collected = note(archive::collect(core, now), &mut failure)?;
    tended.failure = failure.map(|error| error.to_string());
    Ok(tended)
}

/// What was done, or nothing where a store or an object failed: that is no fault of the database.
fn note(done: Result<u64>, failure: &mut Option<Error>) -> Result<u64> {
    match done {
        Ok(done) => Ok(done),
        Err(error @ (Error::ReadOnly(_) | Error::Closed)) => Err(error),
        Err(error) => {
            failure.get_or_insert(error);
            Ok(0)
        }
    }
}

/// Sets the cut of one table to what its retention asks for; whether that changed anything.
///
/// # Errors
/// As [`tend`].
pub(crate) fn retain_table(core: &Core, table: TableId, now: i64) -> Result<bool> {
    let _guard = core.tending.lock();
    core.check_writable()?;
    retain(core, table, now)
}

fn retain(core: &Core, id: TableId, now: i64) -> Result<bool> {
    let state = core.state.load();
    let Some(cut) = state.tables.get(&id).and_then(|table| retain::due(table, now)) else {
        return Ok(false);
    };
    drop(state);
    let command = Command::Retain { table: id, cut };
    match core.commit(vec![Prepared::Other(command)]).and_then(Committed::all) {
        // Dropped meanwhile.
        Err(Error::NotFound(_)) => Ok(false),
        done => done.map(|_| true),
    }
}

/// Runs until the database closes or turns read-only.
pub(crate) fn run(core: &Arc<Core>) {
    let interval = std::time::Duration::from_secs(core.options.life_interval_seconds);
    while core.wake.wait_life(interval) && core.check_writable().is_ok() {
        match tend(core, now()) {
            Ok(Tended { failure: Some(cause), .. }) => {
                core.counters.archive_failures.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(cause, "the archive has to wait");
            }
            Ok(_) | Err(Error::Closed) => {}
            Err(error) => tracing::error!(%error, "tending the life of data"),
        }
    }
}
