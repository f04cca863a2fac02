//! Who is connected and what runs: behind `sys.queries`, `pg_stat_activity`, cancelling by number
//! and the log of slow statements.
//!
//! A [`Client`] belongs to a session, a [`Query`] to one run of one statement, from `execute` to
//! the last row that its reader takes. The statement is entered and left by a [`Live`], in one
//! place (`session/live.rs`). Texts are cut and cleared of passwords when they come in.
//!
//! Locks: `sessions`, `queries`, `slow`, and inside of those a client's `seen`; none is held while
//! another of the first three is taken.

mod redact;
mod slow;
mod work;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use chrono::Utc;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::Identity;
use crate::admission::Priority;
use crate::copy::CopyProgress;
use crate::error::{QueryError, QueryResult};
use crate::memory::Share;
use crate::notify::{Asked, Inbox};
use crate::relational::sequence::Given;
use crate::run::Stop;
use crate::session::CursorInfo;

pub(crate) use redact::shown;
pub(crate) use slow::{Slow, SlowQuery};
pub(crate) use work::{Read, Work};

/// Numbers of connections that no door has numbered begin here; doors count from 1.
const OWN_NUMBERS: u64 = 1 << 30;

/// All of it.
pub(crate) struct Activity {
    next: AtomicU64,
    sessions: Mutex<BTreeMap<u64, Arc<Client>>>,
    queries: Mutex<BTreeMap<u64, Arc<Query>>>,
    slow: Slow,
}

impl Default for Activity {
    fn default() -> Activity {
        Activity {
            next: AtomicU64::new(1),
            sessions: Mutex::default(),
            queries: Mutex::default(),
            slow: Slow::default(),
        }
    }
}

/// A connection.
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) identity: Arc<Identity>,
    pub(crate) since_us: i64,
    process: AtomicI32,
    /// True while somebody wants the running statement to end.
    pub(crate) cancel: watch::Sender<bool>,
    /// True once somebody wants the connection to end.
    ended: watch::Sender<bool>,
    seen: Mutex<Seen>,
    cursors: Mutex<Vec<Weak<CursorInfo>>>,
    /// Notifications that wait for the client.
    pub(crate) inbox: Arc<Inbox>,
    /// What functions of its transaction have notified.
    pub(crate) asked: Asked,
    /// Numbers of sequences that it was given.
    pub(crate) numbers: Given,
}

/// What is seen of a connection from outside.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    pub(crate) application: Arc<str>,
    /// The newest statement, running or not.
    pub(crate) text: Option<Arc<str>>,
    pub(crate) started_us: i64,
    pub(crate) changed_us: i64,
    /// The open transaction block: whether it has failed, and since when it is open.
    pub(crate) block: Option<(Arc<AtomicBool>, i64)>,
}

impl Client {
    /// The number by which clients know the connection.
    pub(crate) fn process(&self) -> i32 {
        self.process.load(Ordering::Relaxed)
    }

    pub(crate) fn set_process(&self, process: i32) {
        self.process.store(process, Ordering::Relaxed);
    }

    /// Wants the connection to end, and what it runs.
    fn end(&self) {
        self.ended.send_replace(true);
        self.cancel.send_replace(true);
    }

    /// Whether the connection is to end.
    pub(crate) fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// Resolves when the connection is to end.
    pub(crate) async fn ended(&self) {
        let mut ended = self.ended.subscribe();
        // The sender is this client's own.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// A cursor is open, until all have let go of it.
    pub(crate) fn show_cursor(&self, cursor: &Arc<CursorInfo>) {
        let mut cursors = self.cursors.lock();
        cursors.retain(|cursor| cursor.strong_count() > 0);
        cursors.push(Arc::downgrade(cursor));
    }

    /// The cursors that are open.
    pub(crate) fn cursors(&self) -> Vec<Arc<CursorInfo>> {
        self.cursors.lock().iter().filter_map(Weak::upgrade).collect()
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().clone()
    }

    /// The name that the program on the other side gives itself.
    pub(crate) fn set_application(&self, name: &str) {
        let mut seen = self.seen.lock();
        if *seen.application != *name {
            seen.application = name.into();
        }
    }

    /// The block that is open after a statement.
    pub(crate) fn set_block(&self, failed: Option<Arc<AtomicBool>>) {
        let mut seen = self.seen.lock();
        seen.block = match (failed, seen.block.take()) {
            (None, _) => None,
            (Some(failed), Some((before, since))) if Arc::ptr_eq(&failed, &before) => {
                Some((failed, since))
            }
            (Some(failed), _) => Some((failed, seen.started_us)),
        };
    }
}

/// How far a statement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Being planned, or done without a plan.
    Planning,
    /// In the queue of heavy statements.
    Queued,
    Running,
}

/// One run of one statement.
pub(crate) struct Query {
    pub(crate) id: u64,
    pub(crate) client: Arc<Client>,
    pub(crate) text: Arc<str>,
    pub(crate) priority: Priority,
    pub(crate) started: Instant,
    pub(crate) started_us: i64,
    /// Memory that its operators hold.
    pub(crate) memory: Share,
    /// What ends it.
    stop: Stop,
    phase: AtomicU8,
    /// µs in the queue, before and, while it waits, since when.
    waited_us: AtomicU64,
    queued: Mutex<Option<Instant>>,
    /// µs that its reader did not ask for more.
    reader_us: AtomicU64,
    rows: AtomicU64,
    expected: AtomicU64,
    work: Mutex<Work>,
    error: Mutex<Option<&'static str>>,
    copy: OnceLock<Arc<CopyProgress>>,
}

impl Query {
    /// What ends the statement, for one more of its parts.
    pub(crate) fn stop(&self) -> Stop {
        self.stop.again()
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Planning,
            1 => Phase::Queued,
            _ => Phase::Running,
        }
    }

    /// It stands in the queue from now on.
    pub(crate) fn queue(&self) {
        *self.queued.lock() = Some(Instant::now());
        self.phase.store(1, Ordering::Relaxed);
    }

    /// It does its work from now on.
    pub(crate) fn run(&self) {
        if let Some(since) = self.queued.lock().take() {
            self.waited_us.fetch_add(since.elapsed().as_micros() as u64, Ordering::Relaxed);
        }
        self.phase.store(2, Ordering::Relaxed);
    }

    /// µs that it has waited in the queue so far.
    pub(crate) fn waited_us(&self) -> u64 {
        let now = self.queued.lock().map_or(0, |since| since.elapsed().as_micros() as u64);
        self.waited_us.load(Ordering::Relaxed) + now
    }

    /// What does the work, to look at its progress.
    pub(crate) fn works(&self, work: Work) {
        *self.work.lock() = work;
    }

    /// What it has read so far.
    pub(crate) fn read(&self) -> Read {
        self.work.lock().read()
    }

    /// Rows that it will read, about.
    pub(crate) fn expect(&self, rows: u64) {
        self.expected.store(rows, Ordering::Relaxed);
    }

    pub(crate) fn expected(&self) -> Option<u64> {
        Some(self.expected.load(Ordering::Relaxed)).filter(|rows| *rows > 0)
    }

    /// Its reader took so many rows.
    pub(crate) fn give(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    /// Rows that its reader took.
    pub(crate) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Its reader let it wait.
    pub(crate) fn waits_for_reader(&self, since: Instant) {
        self.reader_us.fetch_add(since.elapsed().as_micros() as u64, Ordering::Relaxed);
    }

    /// It is a COPY.
    pub(crate) fn copies(&self, progress: &Arc<CopyProgress>) {
        self.copy.get_or_init(|| Arc::clone(progress));
    }

    /// How far it is, if it is a COPY.
    pub(crate) fn copy(&self) -> Option<&Arc<CopyProgress>> {
        self.copy.get()
    }

    /// It has failed.
    pub(crate) fn fail(&self, code: &'static str) {
        self.error.lock().get_or_insert(code);
    }
}

/// A statement that runs; dropped when it is over.
pub(crate) struct Live {
    query: Arc<Query>,
    activity: Arc<Activity>,
    /// From which time on it counts as slow, µs.
    slow_after_us: Option<u64>,
}

impl Live {
    pub(crate) fn query(&self) -> &Arc<Query> {
        &self.query
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let query = &self.query;
        self.activity.queries.lock().remove(&query.id);
        query.client.seen.lock().changed_us = Utc::now().timestamp_micros();
        let work = std::mem::take(&mut *query.work.lock());
        if let Some(after) = self.slow_after_us {
            let took = query.started.elapsed().as_micros() as u64;
            let took = took.saturating_sub(query.reader_us.load(Ordering::Relaxed));
            if took >= after {
                let error = *query.error.lock();
                self.activity.slow.add(SlowQuery::new(query, &work, took, error));
            }
        }
    }
}

/// What a statement starts with.
pub(crate) struct Start<'a> {
    pub(crate) text: &'a str,
    pub(crate) priority: Priority,
    pub(crate) memory: Share,
    pub(crate) stop: Stop,
    pub(crate) slow_after_us: Option<u64>,
}

impl Activity {
    /// A connection begins.
    pub(crate) fn connect(&self, identity: Arc<Identity>) -> Arc<Client> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let process = i32::try_from(OWN_NUMBERS + id % OWN_NUMBERS).unwrap_or(i32::MAX);
        let client = Arc::new(Client {
            id,
            identity,
            since_us: Utc::now().timestamp_micros(),
            process: AtomicI32::new(process),
            cancel: watch::Sender::new(false),
            ended: watch::Sender::new(false),
            seen: Mutex::default(),
            cursors: Mutex::default(),
            inbox: Arc::default(),
            asked: Asked::default(),
            numbers: Given::default(),
        });
        self.sessions.lock().insert(id, Arc::clone(&client));
        client
    }

    /// A connection is over.
    pub(crate) fn disconnect(&self, client: &Client) {
        self.sessions.lock().remove(&client.id);
    }

    /// A statement begins.
    pub(crate) fn start(self: &Arc<Self>, client: &Arc<Client>, start: Start<'_>) -> Live {
        let text: Arc<str> = shown(start.text).into();
        let started_us = Utc::now().timestamp_micros();
        {
            let mut seen = client.seen.lock();
            seen.text = Some(Arc::clone(&text));
            seen.started_us = started_us;
            seen.changed_us = started_us;
        }
        let query = Arc::new(Query {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            client: Arc::clone(client),
            text,
            priority: start.priority,
            started: Instant::now(),
            started_us,
            memory: start.memory,
            stop: start.stop,
            phase: AtomicU8::new(0),
            waited_us: AtomicU64::new(0),
            queued: Mutex::new(None),
            reader_us: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            expected: AtomicU64::new(0),
            work: Mutex::default(),
            error: Mutex::new(None),
            copy: OnceLock::new(),
        });
        self.queries.lock().insert(query.id, Arc::clone(&query));
        let activity = Arc::clone(self);
        Live { query, activity, slow_after_us: start.slow_after_us }
    }

    /// Connections in the order in which they came.
    pub(crate) fn clients(&self) -> Vec<Arc<Client>> {
        self.sessions.lock().values().cloned().collect()
    }

    /// Statements that run, in the order in which they came.
    pub(crate) fn queries(&self) -> Vec<Arc<Query>> {
        self.queries.lock().values().cloned().collect()
    }

    /// The slow ones among those that are over.
    pub(crate) fn slow(&self) -> &Slow {
        &self.slow
    }

    /// Ends what the connection of that number runs, or the connection itself. False where there
    /// is no such connection.
    ///
    /// # Errors
    /// `42501` for connections of others, unless a superuser asks.
    pub(crate) fn stop(&self, by: &Identity, process: i32, whole: bool) -> QueryResult<bool> {
        let found = self.clients().into_iter().find(|client| client.process() == process);
        let Some(client) = found else { return Ok(false) };
        if !by.superuser && client.identity.user != by.user {
            let what = if whole { "terminate connections" } else { "cancel statements" };
            return Err(QueryError::new("42501", format!("permission denied to {what} of others"))
                .with_hint("Only a superuser may."));
        }
        tracing::info!(process, by = by.user, user = client.identity.user, whole, "asked to stop");
        match whole {
            true => client.end(),
            false => {
                client.cancel.send_replace(true);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
