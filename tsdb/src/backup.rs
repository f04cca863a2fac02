//! Backup and restore: a database copied to an object store while it works, its log archived
//! continuously, and databases made out of both, of now or of any moment since.
//!
//! Invariants
//! - A manifest is written last: what it names is there, whole and checksummed. What no manifest
//!   names may go at any time; what one names never goes before the manifest.
//! - Objects are never changed. A file that is in the store already is not copied again, unless a
//!   full backup asks for it.
//! - Bytes are copied as they lie on the device: a sealed database gives a sealed backup. Files
//!   that a backup makes itself go through the database's storage first.
//! - A restore begins a new lineage: its objects and those of the database it comes from never
//!   mix in a store.
//!
//! Where to start: `take.rs` (a backup), `restore.rs`, `archive.rs` (the log), `prune.rs`
//! (what may go), `manifest.rs` and `names.rs` (FORMAT.md, "Backups").

mod archive;
mod history;
mod manifest;
mod names;
mod prune;
mod repair;
mod restore;
mod schedule;
mod sum;
mod take;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub use archive::ArchiveStatus;
pub(crate) use archive::{Archive, archive_loop};
pub(crate) use history::lineage;
pub use history::{Event, EventKind};
pub use manifest::{FileEntry, Manifest, Reference, list};
pub use names::Lineage;
pub(crate) use names::UNFINISHED_RESTORE;
pub use prune::Pruned;
pub use repair::{Repair, RepairReport, RepairRequest, RepairedFile, repair};
pub use restore::{RestoreReport, RestoreRequest, restore};
pub use schedule::JobStatus;
pub(crate) use schedule::{Jobs, schedule_loop};
pub use sum::Sum;
pub(crate) use take::clear_scratch;

use crate::engine::committer::now_ns;
use crate::engine::core::Core;
use crate::engine::record::Prepared;
use crate::engine::{Command, Db};
use crate::error::{Error, Result};
use crate::rows::RowCommand;
use crate::tier::Objects;

/// How far a backup or restore has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Files done.
    pub files: u64,
    /// Files in all, as far as known.
    pub files_all: u64,
    /// Bytes done.
    pub bytes: u64,
    /// Bytes in all, as far as known.
    pub bytes_all: u64,
    /// Files that had to be copied.
    pub copied_files: u64,
    /// Bytes that had to be copied.
    pub copied_bytes: u64,
}

/// A backup that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupReport {
    /// What it consists of.
    pub manifest: Manifest,
}

impl Db {
    /// Takes a backup into the store at `url` while the database works, and notes it in the
    /// history. A `full` one copies every file; else what the store has is not copied again.
    /// `progress` is called after each file; an error of it ends the backup, of which objects
    /// stay that the next one takes over.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a URL that names no store, [`Error::Io`] from store and files,
    /// [`Error::ReadOnly`] or [`Error::Closed`].
    pub fn backup(
        &self,
        url: &str,
        full: bool,
        mut progress: impl FnMut(&Progress) -> Result<()>,
    ) -> Result<BackupReport> {
        back_up(&self.core, url, full, &mut progress)
    }

    /// Archives the log up to now into the store of [`crate::Options::log_archive`], as the
    /// thread of the archiver does every few seconds.
    ///
    /// # Errors
    /// As [`Db::backup`]; [`Error::Invalid`] if no store is set.
    pub fn archive_log(&self) -> Result<()> {
        let Some(to) = &self.core.options.log_archive else {
            return Err(Error::Invalid("no store is set to archive the log to".into()));
        };
        let objects = connect(&self.core, &to.url)?;
        archive::pass(&self.core, &*objects).inspect_err(|error| self.core.archive.failed(error))
    }

    /// How the archiving of the log goes.
    pub fn archive_status(&self) -> ArchiveStatus {
        self.core.archive.status()
    }

    /// Removes backups of this database from the store at `url` that ended longer than `keep`
    /// ago, but for the newest of them, from which the moments since are restored; then the
    /// objects and log that no backup needs any more.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a manifest is damaged: nothing is removed, since what it names is
    /// not known. Else as [`Db::backup`].
    pub fn prune_backups(&self, url: &str, keep: Duration) -> Result<Pruned> {
        prune_old(&self.core, url, keep)
    }

    /// Takes the backup that the policy wants now, if one is due, as its thread does.
    ///
    /// # Errors
    /// As [`Db::backup`]; [`Error::Invalid`] if there is no policy.
    pub fn back_up_if_due(&self) -> Result<()> {
        match &self.core.options.backup_policy {
            Some(policy) => schedule::step(&self.core, policy),
            None => Err(Error::Invalid("no policy for backups is set".into())),
        }
    }

    /// What works on backups, how far it is and how it went.
    pub fn backup_jobs(&self) -> Vec<JobStatus> {
        let mut jobs = self.core.jobs.list();
        let status = self.archive_status();
        jobs.push(JobStatus {
            name: "archive log",
            url: status.url,
            finished: status.succeeded,
            error: status.error,
            ..JobStatus::default()
        });
        jobs
    }

    /// Backups, drills, prunes and gaps of the past, the oldest first.
    ///
    /// # Errors
    /// What reading the row store gives.
    pub fn backup_events(&self) -> Result<Vec<Event>> {
        history::events(self.snapshot().rows())
    }

    /// Notes an event in the history; a database that takes no writes tells its log instead.
    pub fn note_backup_event(&self, event: &Event) {
        keep_event(&self.core, event);
    }

    /// The life that this database leads: its objects in a store of backups begin with it.
    ///
    /// # Errors
    /// What reading the row store gives.
    pub fn lineage(&self) -> Result<Lineage> {
        history::lineage(&self.core)
    }
}

fn connect(core: &Core, url: &str) -> Result<Arc<dyn Objects>> {
    let connected = core.options.connector.connect(url);
    connected.map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidInput => Error::Invalid(error.to_string()),
        _ => Error::io(format_args!("opening the backup store {url}"), &error),
    })
}

fn back_up(
    core: &Arc<Core>,
    url: &str,
    full: bool,
    progress: &mut dyn FnMut(&Progress) -> Result<()>,
) -> Result<BackupReport> {
    let objects = connect(core, url)?;
    let kind = if full { EventKind::Full } else { EventKind::Incremental };
    let taken = {
        let _backing = core.backing.lock();
        let mut event = Event::new(kind, url, now_ns());
        core.jobs.begun(&event);
        let taken = take::take(core, &*objects, full, &mut |done| {
            core.jobs.progress(done);
            progress(done)
        });
        event.finished = now_ns();
        match &taken {
            Ok(report) => {
                let manifest = &report.manifest;
                event.kind =
                    if manifest.is_full() { EventKind::Full } else { EventKind::Incremental };
                (event.number, event.position) = (manifest.number, manifest.position);
                (event.time, event.bytes) = (manifest.time, manifest.bytes());
                event.files = manifest.files.len() as u64;
                event.moved_files = manifest.copied_files;
                event.moved_bytes = manifest.copied_bytes;
            }
            Err(error) => event.error = error.to_string(),
        }
        core.jobs.ended(&event);
        (taken, event)
    };
    let (taken, event) = taken;
    keep_event(core, &event);
    taken
}

fn prune_old(core: &Core, url: &str, keep: Duration) -> Result<Pruned> {
    let objects = connect(core, url)?;
    let mut event = Event::new(EventKind::Prune, url, now_ns());
    let pruned = {
        let _backing = core.backing.lock();
        core.jobs.begun(&event);
        let pruned = history::lineage(core)
            .and_then(|lineage| prune::prune(&*objects, lineage, now_ns(), keep));
        event.finished = now_ns();
        match &pruned {
            Ok(pruned) => {
                event.files = pruned.backups;
                (event.moved_files, event.moved_bytes) = (pruned.objects, pruned.bytes);
            }
            Err(error) => event.error = error.to_string(),
        }
        core.jobs.ended(&event);
        pruned
    };
    // Nothing to prune is nothing to tell.
    if !matches!(&pruned, Ok(pruned) if *pruned == Pruned::default()) {
        keep_event(core, &event);
    }
    pruned
}

fn keep_event(core: &Core, event: &Event) {
    let noted = note(core, event).and_then(|command| commit_rows(core, command));
    if let Err(error) = noted {
        tracing::warn!(%error, ?event, "could not note what became of a backup");
    }
}

fn note(core: &Core, event: &Event) -> Result<RowCommand> {
    history::note(&core.rows.snapshot()?, event)
}

/// Commits a change of the engine's own rows.
fn commit_rows(core: &Core, command: RowCommand) -> Result<()> {
    core.check_writable()?;
    let commands = vec![Prepared::Other(Command::Rows(command))];
    core.commit(commands).map(|_| ())
}
