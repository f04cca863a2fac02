//! Backups by policy: a thread that takes full and incremental ones when they are due and prunes
//! behind them. What is due follows from the history, so a restart changes nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::engine::BackupPolicy;
use crate::engine::committer::now_ns;
use crate::engine::core::Core;
use crate::error::{Error, Result};

use super::history::{self, Event, EventKind};
use super::{Progress, back_up, prune_old};

/// How often the clock is looked at.
const TICK: Duration = Duration::from_secs(1);
/// After a failure the next try comes this much later, unless it is due later anyway.
const RETRY_NS: i64 = 60_000_000_000;
const SECOND_NS: i64 = 1_000_000_000;

/// A job of the engine, as `sys.jobs` shows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobStatus {
    /// What it does.
    pub name: &'static str,
    /// The store it works on.
    pub url: String,
    /// Whether it is at it.
    pub running: bool,
    /// How far it is, while it runs.
    pub progress: Progress,
    /// When it was last begun and ended, ns since 1970; 0 if never since the start.
    pub started: i64,
    /// When it was last ended.
    pub finished: i64,
    /// Why the last run failed; empty if it did not.
    pub error: String,
    /// When it is due next, ns since 1970; 0 if it runs only when told to.
    pub due: i64,
    /// Runs since the start.
    pub runs: u64,
    /// Those that failed.
    pub failures: u64,
}

/// The jobs of backups. A leaf in the order of locks.
#[derive(Debug)]
pub(crate) struct Jobs {
    backup: Mutex<JobStatus>,
    prune: Mutex<JobStatus>,
    sleep: Mutex<()>,
    woken: Condvar,
}

impl Default for Jobs {
    fn default() -> Self {
        let job = |name| Mutex::new(JobStatus { name, ..JobStatus::default() });
        Jobs {
            backup: job("backup"),
            prune: job("prune"),
            sleep: Mutex::default(),
            woken: Condvar::new(),
        }
    }
}

impl Jobs {
    /// Ends a wait of the scheduler.
    pub fn wake(&self) {
        let _sleep = self.sleep.lock();
        self.woken.notify_all();
    }

    pub fn progress(&self, progress: &Progress) {
        self.backup.lock().progress = *progress;
    }

    pub fn list(&self) -> Vec<JobStatus> {
        vec![self.backup.lock().clone(), self.prune.lock().clone()]
    }

    fn job(&self, kind: EventKind) -> &Mutex<JobStatus> {
        if kind == EventKind::Prune { &self.prune } else { &self.backup }
    }

    pub fn begun(&self, event: &Event) {
        let mut job = self.job(event.kind).lock();
        (job.running, job.started, job.progress) = (true, event.started, Progress::default());
        job.url.clone_from(&event.url);
    }

    pub fn ended(&self, event: &Event) {
        let mut job = self.job(event.kind).lock();
        (job.running, job.finished) = (false, event.finished);
        job.error.clone_from(&event.error);
        job.runs += 1;
        job.failures += u64::from(!event.succeeded());
    }
}

/// What the policy wants next, and when, ns since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub at: i64,
    pub full: bool,
}

/// What comes next after these events.
pub(super) fn next(policy: &BackupPolicy, events: &[Event]) -> Due {
    let ours = |event: &&Event| {
        event.url == policy.url && matches!(event.kind, EventKind::Full | EventKind::Incremental)
    };
    let newest = |full_only: bool| {
        let fits = |event: &&Event| {
            ours(event) && event.succeeded() && (!full_only || event.kind == EventKind::Full)
        };
        events.iter().filter(fits).map(|event| event.started).max()
    };
    let after = |last: Option<i64>, seconds: u64| match last {
        None => 0,
        Some(last) => last.saturating_add((seconds as i64).saturating_mul(SECOND_NS)),
    };
    let full = after(newest(true), policy.full_seconds);
    let some = after(newest(false), policy.incremental_seconds);
    let failed = events.iter().rfind(ours).filter(|event| !event.succeeded());
    let retry = failed.map_or(0, |event| event.finished.saturating_add(RETRY_NS));
    // One that is both is the full one.
    Due { at: full.min(some).max(retry), full: full <= some.max(retry) }
}

/// Takes backups when they are due until the database closes.
pub(crate) fn schedule_loop(core: &Arc<Core>) {
    let Some(policy) = core.options.backup_policy.clone() else { return };
    core.jobs.backup.lock().url.clone_from(&policy.url);
    while !core.stopping.load(Ordering::Acquire) {
        if let Err(error) = step(core, &policy)
            && !matches!(error, Error::Closed)
        {
            tracing::error!(%error, url = policy.url, "a backup that was due failed");
        }
        let mut sleep = core.jobs.sleep.lock();
        if !core.stopping.load(Ordering::Acquire) {
            core.jobs.woken.wait_for(&mut sleep, TICK);
        }
    }
}

/// Takes the backup that is due, if one is, and prunes behind it.
pub(super) fn step(core: &Arc<Core>, policy: &BackupPolicy) -> Result<()> {
    if core.check_writable().is_err() {
        return Ok(());
    }
    let due = next(policy, &history::events(&core.rows.snapshot()?)?);
    core.jobs.backup.lock().due = due.at;
    if now_ns() < due.at {
        return Ok(());
    }
    back_up(core, &policy.url, due.full, &mut |_| Ok(()))?;
    if policy.keep_seconds > 0 {
        prune_old(core, &policy.url, Duration::from_secs(policy.keep_seconds))?;
    }
    let due = next(policy, &history::events(&core.rows.snapshot()?)?);
    core.jobs.backup.lock().due = due.at;
    Ok(())
}
