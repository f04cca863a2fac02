//! What all sessions share: the database, the query runtime, memory and spill limits, and the
//! functions and rules that planning knows.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::optimizer::{Analyzer, AnalyzerRule};
use datafusion::physical_planner::DefaultPhysicalPlanner;
use tsdb::Db;

use crate::activity::Activity;
use crate::admission::{Admission, QueueFigures};
use crate::catalog::answers::Answers;
use crate::error::{QueryError, QueryResult};
use crate::jobs::{self, Jobs};
use crate::memory::{Pools, QueryPool, Share};
use crate::notify::Channels;
use crate::relational::{self, Relational};
use crate::rights::RightsCache;
use crate::schema::SchemaCache;
use crate::session::Session;
use crate::table::TableCache;
use crate::view::{self, ViewCache};
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
    /// Whether the folder is this engine's alone: what a crash has left in it is removed at the
    /// start. Default no.
    pub spill_folder_owned: bool,
    /// Bytes one query may hold where `millrace.query_memory` says nothing. 0 (default): half of
    /// `memory_bytes_max`.
    pub query_bytes_max: usize,
    /// Heavy statements at a time. 0 (default): as many as threads, at least 4.
    pub heavy_max: usize,
    /// Heavy statements that may wait for their turn; more are refused (53300). Default 100.
    pub waiting_max: usize,
    /// Points of a series that a range query of PromQL may ask for. Default 11,000.
    pub prom_points_max: usize,
    /// Samples that one query of PromQL may hold at a time. Default 50,000,000.
    pub prom_samples_max: usize,
    /// How far back instant vectors look for a sample. Default 5 min.
    pub prom_lookback: Duration,
    /// How long a query of PromQL may take; zero: no limit. Default 2 min.
    pub prom_timeout: Duration,
    /// The one folder whose files COPY reads and writes for superusers. Default: none, and it does not.
    pub copy_folder: Option<PathBuf>,
    /// Worker threads of each of the two runtimes, of small and of heavy statements. Default: cores.
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
            spill_folder_owned: false,
            query_bytes_max: 0,
            heavy_max: 0,
            waiting_max: 100,
            prom_points_max: 11_000,
            prom_samples_max: 50_000_000,
            prom_lookback: Duration::from_secs(300),
            prom_timeout: Duration::from_secs(120),
            copy_folder: None,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            version: env!("CARGO_PKG_VERSION").to_string(),
        }
    }
}

/// How often something that was kept could be used.
#[derive(Debug, Default)]
pub(crate) struct CacheCount {
    hits: AtomicU64,
    misses: AtomicU64,
}

impl CacheCount {
    pub(crate) fn hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn miss(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }

    /// Hits and misses so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }
}

/// What is kept of statements that come again.
#[derive(Debug, Default)]
pub(crate) struct Caches {
    /// Texts, parsed.
    pub(crate) statements: CacheCount,
    /// Plans, bound.
    pub(crate) plans: CacheCount,
    /// Answers about the catalogue.
    pub(crate) answers: Answers,
}

/// Stack of a worker: planning recurses once a link of a chain of ANDs, and statements have up
/// to some thousand links. Only what is touched is ever held in memory.
const STACK_BYTES: usize = 64 << 20;

/// Threads for work that blocks, such as handing rows to a commit queue that is full: what is
/// beyond waits, so that hundreds of connections do not take a thread each.
const BLOCKING_THREADS_MAX: usize = 32;
/// Heavy statements at a time where the machine has fewer threads: they mostly wait for each other
/// anyway, and a single long one must not hold up all others.
const HEAVY_MIN: usize = 4;

/// Shared by all sessions.
pub struct Engine {
    db: Arc<Db>,
    directory: Arc<dyn Directory>,
    options: QueryOptions,
    /// For planning and small statements. `Some` until drop: a runtime must not be dropped where
    /// one runs.
    runtime: Option<tokio::runtime::Runtime>,
    /// For heavy statements, so that the kernel shares the cores between them and the small ones.
    heavy: Option<tokio::runtime::Runtime>,
    admission: Arc<Admission>,
    activity: Arc<Activity>,
    pool: Arc<QueryPool>,
    caches: Arc<Caches>,
    base: SessionState,
    planner: DefaultPhysicalPlanner,
    tables: TableCache,
    views: ViewCache,
    schemas: SchemaCache,
    relational: Relational,
    rights: RightsCache,
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
        let threads = options.threads.max(1);
        let runtime = start_runtime("query", threads)?;
        let heavy = start_runtime("query-heavy", threads)?;
        make_spill_folder(&options)?;
        let disk = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::Directories(vec![options.spill_folder.clone()]))
            .with_max_temp_directory_size(options.spill_bytes_max);
        let pool = Arc::new(QueryPool::new(options.memory_bytes_max));
        let pools = Pools::default();
        pools.register({
            let pool = Arc::clone(&pool);
            move || pool.usage()
        });
        let heavy_max = match options.heavy_max {
            0 => threads.max(HEAVY_MIN),
            given => given,
        };
        let env = RuntimeEnvBuilder::new()
            .with_memory_pool(pool.clone())
            .with_disk_manager_builder(disk)
            .build_arc()?;
        let mut analyzer_rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>> = vec![
            Arc::new(plan::uuids::UuidValues),
            Arc::new(plan::frames::Frames),
            Arc::new(plan::joined::JoinedTexts),
        ];
        analyzer_rules.extend(Analyzer::new().rules);
        let mut base = SessionStateBuilder::new_with_default_features()
            .with_config(plan::config("+00:00", options.threads))
            .with_analyzer_rules(analyzer_rules)
            .with_analyzer_rule(Arc::new(plan::texts::TextValues))
            .with_analyzer_rule(Arc::new(plan::overflow::CheckedIntegers))
            .with_runtime_env(env)
            .build();
        let of_functions: Arc<dyn MemoryPool> = pool.clone();
        functions::register(&mut base, &of_functions)?;
        let rights = RightsCache::open(&db.snapshot())?;
        let engine = Arc::new(Engine {
            db,
            directory,
            admission: Admission::new(heavy_max, options.waiting_max),
            activity: Arc::default(),
            caches: Arc::default(),
            pool,
            options,
            runtime: Some(runtime),
            heavy: Some(heavy),
            base,
            planner: plan::extension::planner(),
            tables: TableCache::default(),
            views: ViewCache::default(),
            schemas: SchemaCache::default(),
            relational: Relational::default(),
            rights,
            jobs: Arc::default(),
            channels: Channels::default(),
            definitions: tokio::sync::Mutex::default(),
            running: Arc::new(AtomicUsize::new(0)),
            pools,
        });
        engine.schemas.open(&engine.db().snapshot());
        relational::drop_leftovers(&engine);
        view::stored::drop_leftovers(&engine);
        Ok(engine)
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

    pub(crate) fn relational(&self) -> &Relational {
        &self.relational
    }

    pub(crate) fn rights(&self) -> &RightsCache {
        &self.rights
    }

    pub(crate) fn views(&self) -> &ViewCache {
        &self.views
    }

    pub(crate) fn schemas(&self) -> &SchemaCache {
        &self.schemas
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

    /// The runtime that queries are planned and small ones run on.
    pub(crate) fn runtime(&self) -> QueryResult<&tokio::runtime::Handle> {
        handle(self.runtime.as_ref())
    }

    /// The runtime that heavy statements run on.
    pub(crate) fn heavy_runtime(&self) -> QueryResult<&tokio::runtime::Handle> {
        handle(self.heavy.as_ref())
    }

    /// The queue of heavy statements.
    pub(crate) fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// Who is connected and what runs.
    pub(crate) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// What is kept of statements that come again.
    pub(crate) fn caches(&self) -> &Arc<Caches> {
        &self.caches
    }

    /// A statement's share of the memory of all.
    pub(crate) fn share(&self, asked: Option<usize>) -> Share {
        let default = match self.options.query_bytes_max {
            0 => self.options.memory_bytes_max / 2,
            given => given,
        };
        Share::new(&self.pool, asked.unwrap_or(default))
    }

    /// Heavy statements that run and that wait.
    pub fn heavy_queries(&self) -> (usize, usize) {
        self.admission.counts()
    }

    /// The queue of heavy statements in numbers.
    pub fn queue(&self) -> QueueFigures {
        self.admission.figures()
    }

    /// Counts a statement as running until the guard is dropped.
    pub(crate) fn enter(&self) -> Counted {
        self.running.fetch_add(1, Ordering::Relaxed);
        Counted(self.running.clone())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for runtime in [self.runtime.take(), self.heavy.take()].into_iter().flatten() {
            runtime.shutdown_background();
        }
    }
}

fn start_runtime(name: &str, threads: usize) -> QueryResult<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name(name)
        .thread_stack_size(STACK_BYTES)
        .enable_time()
        .build()
        .map_err(|e| QueryError::new("58000", format!("starting query threads: {e}")))
}

fn handle(runtime: Option<&tokio::runtime::Runtime>) -> QueryResult<&tokio::runtime::Handle> {
    match runtime {
        Some(runtime) => Ok(runtime.handle()),
        None => Err(QueryError::new("57P01", "the query engine is closing")),
    }
}

/// Begins the names of the folders that spill files lie in.
const SPILL_PREFIX: &str = "datafusion-";

/// Makes the folder, and removes what a crash has left there.
fn make_spill_folder(options: &QueryOptions) -> QueryResult<()> {
    let folder = &options.spill_folder;
    let failed = |what: &str, e: std::io::Error| {
        QueryError::new("58030", format!("{what} the spill folder {}: {e}", folder.display()))
    };
    std::fs::create_dir_all(folder).map_err(|e| failed("making", e))?;
    if !options.spill_folder_owned {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder).map_err(|e| failed("reading", e))? {
        let entry = entry.map_err(|e| failed("reading", e))?;
        if entry.file_name().to_string_lossy().starts_with(SPILL_PREFIX) {
            std::fs::remove_dir_all(entry.path()).map_err(|e| failed("emptying", e))?;
        }
    }
    Ok(())
}

/// A statement that runs.
pub(crate) struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
