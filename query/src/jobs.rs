//! Work in the background: continuous aggregates are refreshed as often as they ask for.
//!
//! The runner looks every second for jobs that are due and runs one after the other. What it
//! remembers of runs is for `sys.jobs` and `sys.job_history`; those that have stored something or
//! have failed outlive the process (`history`). What is to be done says the database.

pub(crate) mod history;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::engine::Engine;
use crate::error::{QueryError, QueryResult};
use crate::view::materialized::refresh::{self, Refreshed, Turn};

/// How often the runner looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Runs that are remembered of a job.
const RUNS_MAX: usize = 100;
/// After a failure a job waits this long at least, ns.
const RETRY_NS: i64 = 10_000_000_000;

/// One run of a job.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Run {
    /// ns since 1970.
    pub(crate) started: i64,
    /// `None` while it runs.
    pub(crate) seconds: Option<f64>,
    pub(crate) error: Option<String>,
    pub(crate) refreshed: Refreshed,
}

/// What is known of a job.
#[derive(Clone, Debug, Default)]
pub(crate) struct Job {
    /// The newest runs, the newest last.
    pub(crate) runs: VecDeque<Run>,
    pub(crate) count: u64,
    pub(crate) failures: u64,
    /// When the runner last ran it, ns since 1970, and whether that failed.
    last: Option<(i64, bool)>,
}

impl Job {
    /// When it is due, ns since 1970, if it is to run every so many ns; `None`: at once.
    pub(crate) fn next(&self, every: i64) -> Option<i64> {
        let (last, failed) = self.last?;
        Some(last.saturating_add(if failed { every.max(RETRY_NS) } else { every }))
    }
}

/// The jobs of a process, by the number of their view.
#[derive(Default)]
pub(crate) struct Jobs {
    known: Mutex<BTreeMap<u32, Job>>,
    /// One refresh of a view at a time.
    running: Mutex<BTreeMap<u32, Arc<tokio::sync::Mutex<()>>>>,
    pub(crate) wake: Notify,
}

impl Jobs {
    /// Makes the runner look now.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// What is known of the job of a view.
    pub(crate) fn of(&self, view: u32) -> Job {
        self.known.lock().get(&view).cloned().unwrap_or_default()
    }

    /// Waits until no refresh of the view runs, and keeps others from beginning one.
    pub(crate) async fn turn(&self, view: u32) -> Turn {
        let lock = self.running.lock().entry(view).or_default().clone();
        Arc::new(lock.lock_owned().await)
    }

    /// Refreshes a view as of time `now`, ns since 1970, and remembers it.
    pub(crate) async fn refresh(
        &self,
        engine: &Arc<Engine>,
        view: u32,
        now: i64,
    ) -> QueryResult<Refreshed> {
        let turn = self.turn(view).await;
        let started = Instant::now();
        let running = Running { jobs: self, view, started, done: false };
        running.begin();
        let result = refresh::refresh(engine, view, now, &turn).await;
        running.end(&result);
        self.keep(engine, view).await;
        result
    }

    /// Keeps the newest run, if it has done anything. That it cannot be kept is no failure of its own.
    async fn keep(&self, engine: &Arc<Engine>, view: u32) {
        let Some(run) = self.of(view).runs.pop_back() else { return };
        if run.error.is_none() && run.refreshed.ranges == 0 {
            return;
        }
        if let Err(error) = history::keep(engine, view, &run).await {
            tracing::warn!(view, %error, "a run of a job is not kept");
        }
    }

    fn note(&self, view: u32, change: impl FnOnce(&mut Job)) {
        change(self.known.lock().entry(view).or_default());
    }

    /// Runs what is due at time `now`, ns since 1970.
    pub(crate) async fn run_due(&self, engine: &Arc<Engine>, now: i64) -> QueryResult<()> {
        let views = engine.views().of(&engine.db().snapshot())?;
        let is_there = |number: &u32| views.list.iter().any(|view| view.number == *number);
        self.known.lock().retain(|number, _| is_there(number));
        self.running.lock().retain(|number, _| is_there(number));
        for view in &views.list {
            let Some(materialized) = &view.materialized else { continue };
            let Some(every) = materialized.refresh_every_ns else { continue };
            if self.of(view.number).next(every).is_some_and(|next| next > now) {
                continue;
            }
            let result = self.refresh(engine, view.number, now).await;
            if let Err(error) = &result
                && error.code != "42P01"
            {
                let view = &view.name;
                tracing::warn!(view, %error, "refreshing a continuous aggregate failed");
            }
            self.note(view.number, |job| job.last = Some((now, result.is_err())));
        }
        Ok(())
    }
}

/// A run under way; one that is dropped was cancelled.
struct Running<'a> {
    jobs: &'a Jobs,
    view: u32,
    started: Instant,
    done: bool,
}

impl Running<'_> {
    fn begin(&self) {
        let run = Run {
            started: tsdb::now_ns(),
            seconds: None,
            error: None,
            refreshed: Refreshed::default(),
        };
        self.jobs.note(self.view, |job| {
            if job.runs.len() >= RUNS_MAX {
                job.runs.pop_front();
            }
            job.runs.push_back(run);
            job.count += 1;
        });
    }

    fn end(mut self, result: &QueryResult<Refreshed>) {
        self.finish(result.as_ref().map(|refreshed| *refreshed).map_err(QueryError::to_string));
    }

    fn finish(&mut self, result: Result<Refreshed, String>) {
        self.done = true;
        let seconds = self.started.elapsed().as_secs_f64();
        self.jobs.note(self.view, |job| {
            job.failures += u64::from(result.is_err());
            let Some(run) = job.runs.back_mut() else { return };
            run.seconds = Some(seconds);
            match result {
                Ok(refreshed) => run.refreshed = refreshed,
                Err(error) => run.error = Some(error),
            }
        });
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.finish(Err(QueryError::cancelled().to_string()));
        }
    }
}

/// Looks after jobs until the engine is dropped.
pub(crate) async fn run(engine: Weak<Engine>) {
    loop {
        let Some(alive) = engine.upgrade() else { return };
        if let Err(error) = alive.jobs().run_due(&alive, tsdb::now_ns()).await {
            tracing::warn!(%error, "looking for jobs failed");
        }
        // The engine may go while nothing is done.
        let woken = alive.jobs_handle();
        drop(alive);
        tokio::select! {
            () = woken.wake.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}
