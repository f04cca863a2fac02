//! What all sessions share: the database, the query runtime, memory and spill limits, and the
//! functions and rules that planning knows.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::physical_planner::DefaultPhysicalPlanner;
use tsdb::Db;

use crate::error::{QueryError, QueryResult};
use crate::jobs::{self, Jobs};
use crate::memory::{Pools, QueryPool};
use crate::notify::Channels;
use crate::session::Session;
use crate::table::TableCache;
use crate::view::ViewCache;
use crate::{Directory, Identity, functions, plan};

/// Limits and places of the query side.
#[derive(Clone, Debug)]
pub struct QueryOptions {
    /// Bytes all queries together may hold. Default 1 GiB.
    pub memory_bytes_max: usize,
    /// Bytes of spill files. Default 4 GiB.
    pub spill_bytes_max: u64,
    /// Folder for spill files (made when needed).
    pub spill_folder: PathBuf,
    /// Worker threads. Default: cores.
    pub threads: usize,
    /// What SHOW server_version says after "15.0": e.g. Millrace version.
    pub version: String,
}

impl Default for QueryOptions {
    fn default() -> Self {
        QueryOptions {
            memory_bytes_max: 1 << 30,
            spill_bytes_max: 4 << 30,
            spill_folder: std::env::temp_dir().join("millrace-spill"),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            version: env!("CARGO_PKG_VERSION").to_string(),
        }
    }
}

/// Stack of a worker: planning recurses once a link of a chain of ANDs, and statements have up
/// to some thousand links. Only what is touched is ever held in memory.
const STACK_BYTES: usize = 64 << 20;

/// Shared by all sessions.
pub struct Engine {
    db: Arc<Db>,
    directory: Arc<dyn Directory>,
    options: QueryOptions,
    /// `Some` until drop: a runtime must not be dropped where one runs.
    runtime: Option<tokio::runtime::Runtime>,
    base: SessionState,
    planner: DefaultPhysicalPlanner,
    tables: TableCache,
    views: ViewCache,
    jobs: Arc<Jobs>,
    channels: Channels,
    /// Held by a statement that defines, from looking to committing.
    definitions: tokio::sync::Mutex<()>,
    running: Arc<AtomicUsize>,
    pools: Pools,
}

impl Engine {
    /// Starts the query runtime over an open database.
    ///
    /// # Errors
    /// If threads cannot be started or the spill folder cannot be used.
    pub fn new(
        db: Arc<Db>,
        directory: Arc<dyn Directory>,
        options: QueryOptions,
    ) -> QueryResult<Arc<Engine>> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(options.threads.max(1))
            .thread_name("query")
            .thread_stack_size(STACK_BYTES)
            .enable_time()
            .build()
            .map_err(|e| QueryError::new("58000", format!("starting query threads: {e}")))?;
        std::fs::create_dir_all(&options.spill_folder).map_err(|e| {
            let folder = options.spill_folder.display();
            QueryError::new("58030", format!("making the spill folder {folder}: {e}"))
        })?;
        let disk = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::Directories(vec![options.spill_folder.clone()]))
            .with_max_temp_directory_size(options.spill_bytes_max);
        let pool = Arc::new(QueryPool::new(options.memory_bytes_max));
        let pools = Pools::default();
        pools.register({
            let pool = Arc::clone(&pool);
            move || pool.usage()
        });
        let env = RuntimeEnvBuilder::new()
            .with_memory_pool(pool)
            .with_disk_manager_builder(disk)
            .build_arc()?;
        let mut base = SessionStateBuilder::new_with_default_features()
            .with_config(plan::config("+00:00", options.threads))
            .with_analyzer_rule(Arc::new(plan::times::TextTimes))
            .with_runtime_env(env)
            .build();
        functions::register(&mut base)?;
        Ok(Arc::new(Engine {
            db,
            directory,
            options,
            runtime: Some(runtime),
            base,
            planner: plan::extension::planner(),
            tables: TableCache::default(),
            views: ViewCache::default(),
            jobs: Arc::default(),
            channels: Channels::default(),
            definitions: tokio::sync::Mutex::default(),
            running: Arc::new(AtomicUsize::new(0)),
            pools,
        }))
    }

    /// The database below.
    pub fn db(&self) -> &Arc<Db> {
        &self.db
    }

    /// One per connection. `settings`: start-up parameters such as TimeZone, application_name,
    /// statement_timeout; those that are unknown or malformed are left out, as the wire protocol
    /// has no place to refuse them one by one.
    pub fn session(self: &Arc<Self>, identity: Identity, settings: &[(String, String)]) -> Session {
        Session::new(self.clone(), identity, settings)
    }

    /// Pools of memory beside those of the storage engine; doors register theirs.
    pub fn pools(&self) -> &Pools {
        &self.pools
    }

    /// Statements that run now.
    pub fn queries_running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    pub(crate) fn directory(&self) -> &Arc<dyn Directory> {
        &self.directory
    }

    pub(crate) fn options(&self) -> &QueryOptions {
        &self.options
    }

    pub(crate) fn base(&self) -> &SessionState {
        &self.base
    }

    pub(crate) fn planner(&self) -> &DefaultPhysicalPlanner {
        &self.planner
    }

    pub(crate) fn tables(&self) -> &TableCache {
        &self.tables
    }

    pub(crate) fn views(&self) -> &ViewCache {
        &self.views
    }

    pub(crate) fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    pub(crate) fn jobs_handle(&self) -> Arc<Jobs> {
        self.jobs.clone()
    }

    /// Begins to look after the jobs of the database (`sys.jobs`), until the engine is dropped. A
    /// process that serves does so once.
    ///
    /// # Errors
    /// If the engine is closing.
    pub fn start_jobs(self: &Arc<Self>) -> QueryResult<()> {
        self.runtime()?.spawn(jobs::run(Arc::downgrade(self)));
        Ok(())
    }

    pub(crate) fn channels(&self) -> &Channels {
        &self.channels
    }

    pub(crate) fn definitions(&self) -> &tokio::sync::Mutex<()> {
        &self.definitions
    }

    /// The runtime that queries are planned and run on.
    pub(crate) fn runtime(&self) -> QueryResult<&tokio::runtime::Handle> {
        match &self.runtime {
            Some(runtime) => Ok(runtime.handle()),
            None => Err(QueryError::new("57P01", "the query engine is closing")),
        }
    }

    /// Counts a statement as running until the guard is dropped.
    pub(crate) fn enter(&self) -> Running {
        self.running.fetch_add(1, Ordering::Relaxed);
        Running(self.running.clone())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A statement that runs.
pub(crate) struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
