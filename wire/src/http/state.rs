//! What the handlers share: the house behind the door, as a small trait that tests can play, and
//! the semaphores that bound memory and threads.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use ingest::{Described, LineWriter, Precision, Report};
use management::{LoginFailed, Users};
use query::{Engine, Identity, Outcome, QueryResult, QueueFigures};
use serde_json::Value;
use tokio::sync::Semaphore;
use tsdb::{Db, DbStats, PoolUsage};

use crate::budget::Budget;

use super::options::HttpOptions;
use super::prom::{self, PromSession};
use super::refusal::Refusal;
use super::sql;

/// The house behind the door.
pub(super) trait Backend: Send + Sync + 'static {
    /// Blocks.
    fn log_in(
        &self,
        user: &str,
        password: &str,
        source: Option<IpAddr>,
    ) -> Result<Identity, LoginFailed>;
    /// Blocks.
    fn log_in_by_token(&self, token: &str) -> Result<Identity, LoginFailed>;
    /// Blocks until the lines are durable.
    fn write_lines(
        &self,
        by: &Identity,
        body: &[u8],
        precision: Precision,
        now_ns: i64,
    ) -> tsdb::Result<Report>;
    /// Blocks until the samples of a `WriteRequest` of remote write are durable.
    fn write_series(&self, by: &Identity, body: &[u8]) -> tsdb::Result<Report>;
    /// Whether somebody may write anything at all.
    fn may_write(&self, by: &Identity) -> bool;
    /// What senders say about their metrics.
    fn metadata(&self, metric: Option<&str>, limit: usize) -> Vec<(String, Described)>;
    fn session(&self, identity: Identity, settings: &[(String, String)]) -> Arc<dyn SqlSession>;
    /// A session of PromQL.
    fn prom(&self, identity: Identity) -> Arc<dyn PromSession>;
    fn read_only(&self) -> Option<String>;
    /// Why writes are refused until there is room on the disk, if they are.
    fn full(&self) -> Option<String>;
    /// What somebody should look after although everything is served.
    fn alarm(&self) -> Option<String>;
    fn stats(&self) -> DbStats;
    fn queries_running(&self) -> usize;
    /// The queue of heavy statements.
    fn queue(&self) -> QueueFigures;
    /// Pools of memory, those of `stats` among them.
    fn pools(&self, stats: &DbStats) -> Vec<PoolUsage>;
}

/// A session of SQL for one request.
#[async_trait]
pub(super) trait SqlSession: Send + Sync {
    /// Runs the statements of a text; the outcome of the last.
    async fn run(&self, sql: &str, params: &[Value]) -> QueryResult<Outcome>;
    /// Ends what runs.
    fn cancel(&self);
}

/// Shared by all requests; clones are cheap.
#[derive(Clone)]
pub struct HttpState {
    inner: Arc<Inner>,
}

struct Inner {
    options: HttpOptions,
    backend: OnceLock<Arc<dyn Backend>>,
    closing: AtomicBool,
    memory: Arc<Budget>,
    writers: Arc<Semaphore>,
    logins: Arc<Semaphore>,
}

impl HttpState {
    /// An open database.
    pub fn new(
        engine: Arc<Engine>,
        users: Arc<Users>,
        lines: Arc<LineWriter>,
        db: Arc<Db>,
        options: HttpOptions,
    ) -> HttpState {
        let state = HttpState::starting(options);
        state.opened(engine, users, lines, db);
        state
    }

    /// A database that still recovers: `/health` answers, the rest says 503 until
    /// [`HttpState::opened`].
    pub fn starting(options: HttpOptions) -> HttpState {
        let memory = options.memory_bytes_max.max(3 * options.body_bytes_max);
        HttpState {
            inner: Arc::new(Inner {
                memory: Arc::new(Budget::new("http bodies", memory)),
                writers: Arc::new(Semaphore::new(options.writers_max.max(1))),
                logins: Arc::new(Semaphore::new(options.logins_max.max(1))),
                backend: OnceLock::new(),
                closing: AtomicBool::new(false),
                options,
            }),
        }
    }

    /// The database is open; a second call changes nothing.
    pub fn opened(
        &self,
        engine: Arc<Engine>,
        users: Arc<Users>,
        lines: Arc<LineWriter>,
        db: Arc<Db>,
    ) {
        let memory = self.inner.memory.clone();
        engine.pools().register(move || memory.usage());
        self.set_backend(Arc::new(House { engine, users, lines, db }));
    }

    pub(super) fn set_backend(&self, backend: Arc<dyn Backend>) {
        if self.inner.backend.set(backend).is_err() {
            tracing::warn!("the HTTP door was opened twice");
        }
    }

    /// From now on `/ready` says 503, so that balancers look elsewhere.
    pub fn closing(&self) {
        self.inner.closing.store(true, Ordering::Relaxed);
    }

    pub(super) fn options(&self) -> &HttpOptions {
        &self.inner.options
    }

    /// The house, or 503 while it is not open.
    pub(super) fn backend(&self) -> Result<&Arc<dyn Backend>, Refusal> {
        let recovering = || Refusal::unavailable("the database is recovering");
        self.inner.backend.get().ok_or_else(recovering)
    }

    /// Why the server is not ready, if it is not.
    pub(super) fn not_ready(&self) -> Option<String> {
        if self.inner.closing.load(Ordering::Relaxed) {
            return Some("the database is closing".to_owned());
        }
        match self.inner.backend.get() {
            None => Some("the database is recovering".to_owned()),
            Some(backend) => {
                let read_only = backend.read_only();
                read_only
                    .map(|cause| format!("the database is read-only: {cause}"))
                    .or_else(|| backend.full().map(|cause| format!("no room: {cause}")))
            }
        }
    }

    /// What somebody should look after although the server is ready.
    pub(super) fn alarm(&self) -> Option<String> {
        self.inner.backend.get()?.alarm()
    }

    pub(super) fn memory(&self) -> &Arc<Budget> {
        &self.inner.memory
    }

    pub(super) fn writers(&self) -> &Arc<Semaphore> {
        &self.inner.writers
    }

    pub(super) fn logins(&self) -> &Arc<Semaphore> {
        &self.inner.logins
    }
}

/// The real house.
struct House {
    engine: Arc<Engine>,
    users: Arc<Users>,
    lines: Arc<LineWriter>,
    db: Arc<Db>,
}

impl Backend for House {
    fn log_in(
        &self,
        user: &str,
        password: &str,
        source: Option<IpAddr>,
    ) -> Result<Identity, LoginFailed> {
        self.users.verify_from(user, password, source)
    }

    fn log_in_by_token(&self, token: &str) -> Result<Identity, LoginFailed> {
        self.users.verify_token(token)
    }

    fn write_lines(
        &self,
        by: &Identity,
        body: &[u8],
        precision: Precision,
        now_ns: i64,
    ) -> tsdb::Result<Report> {
        let refuses = |table: &str, defines| self.engine.refuses_insert(by, table, defines);
        let gate: Option<ingest::Gate<'_>> = if by.can_write { None } else { Some(&refuses) };
        self.lines.write_through(gate, body, precision, now_ns)
    }

    fn may_write(&self, by: &Identity) -> bool {
        self.engine.may_insert_somewhere(by).unwrap_or(false)
    }

    fn session(&self, identity: Identity, settings: &[(String, String)]) -> Arc<dyn SqlSession> {
        Arc::new(sql::EngineSession(self.engine.session(identity, settings)))
    }

    fn write_series(&self, by: &Identity, body: &[u8]) -> tsdb::Result<Report> {
        let refuses = |table: &str, defines| self.engine.refuses_insert(by, table, defines);
        let gate: Option<ingest::Gate<'_>> = if by.can_write { None } else { Some(&refuses) };
        self.lines.write_series_through(gate, body)
    }

    fn metadata(&self, metric: Option<&str>, limit: usize) -> Vec<(String, Described)> {
        self.lines.metadata().list(metric, limit)
    }

    fn prom(&self, identity: Identity) -> Arc<dyn PromSession> {
        let settings = [("application_name".to_owned(), "prometheus".to_owned())];
        Arc::new(prom::EngineSession(self.engine.session(identity, &settings)))
    }

    fn read_only(&self) -> Option<String> {
        self.db.read_only()
    }

    fn full(&self) -> Option<String> {
        self.db.full()
    }

    fn alarm(&self) -> Option<String> {
        self.db.archive_status().alarm()
    }

    fn stats(&self) -> DbStats {
        self.db.stats()
    }

    fn queries_running(&self) -> usize {
        self.engine.queries_running()
    }

    fn queue(&self) -> QueueFigures {
        self.engine.queue()
    }

    fn pools(&self, stats: &DbStats) -> Vec<PoolUsage> {
        self.engine.pools().usage(stats)
    }
}
