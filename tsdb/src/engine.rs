//! STUB of the engine's façade: signatures are the contract, bodies come from the engine's builder.
#![allow(unused_variables)]
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::error::Result;
use crate::io::Storage;
use crate::series::{Bitmap, SeriesIndex};
use crate::rows::{RowCommand, RowOutcome, RowSnapshot};
use crate::types::*;

/// Settings of an engine.
#[derive(Clone, Debug)]
pub struct Options {
    /// Shards of a new database (1-64); fixed afterwards. Default: number of cores, at most 16.
    pub shards: u16,
    /// A table is flushed when its head holds this much; bytes. Default 128 MiB.
    pub head_bytes_max: u64,
    /// All heads together; writers wait above it. Default 512 MiB.
    pub heads_bytes_max: u64,
    /// A head older than this is flushed, s. Default 3600.
    pub head_age_seconds_max: u64,
    /// Log length that forces flushes, bytes. Default 1 GiB.
    pub log_bytes_max: u64,
    /// One segment of the log, bytes. Default 64 MiB.
    pub log_segment_bytes_max: u64,
    /// Writes waiting for commit, bytes. Default 128 MiB.
    pub queue_bytes_max: u64,
    /// Decoded blocks kept, bytes. Default 256 MiB.
    pub cache_bytes_max: u64,
    /// Earliest and latest time accepted; others are refused. Default 1970-01-01 .. 2200-01-01 (ns).
    pub times: TimeRange,
    /// Columns of one table. Default 4096.
    pub columns_max: u16,
    /// Tables. Default 100_000.
    pub tables_max: u32,
    /// Series of one table. Default 50_000_000.
    pub series_max: u32,
    /// Bytes of one value in a column. Default 1 MiB.
    pub value_bytes_max: u32,
    /// Whether flush and merge run on threads of their own (off in some tests).
    pub background: bool,
}
impl Default for Options { fn default() -> Self { unimplemented!() } }

/// A new column of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct NewColumn { pub name: String, pub kind: ColumnType, pub key: bool, pub not_null: bool }

/// A new table.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTable {
    pub name: String,
    pub time_name: String,
    pub columns: Vec<NewColumn>,
    pub options: TableOptions,
    /// An existing table of that name is fine (its id comes back, nothing changes).
    pub if_not_exists: bool,
}

/// One change. A commit is a list of them: one record of the log, durable and visible together.
/// Commands of a commit apply in order; one that is refused changes nothing and leaves the others standing.
#[derive(Clone, Debug)]
pub enum Command {
    Write(WriteBatch),
    CreateTable(NewTable),
    /// Adds columns; a name that exists with the same type and role is fine and gives its id. A field that exists as
    /// an integer and comes as a float stays what it is (an error TypeMismatch); an integer for a float column is fine.
    AddColumns { table: TableId, columns: Vec<NewColumn> },
    /// Changes the type of a field: only Int16->Int32->Int64->Float64, Float32->Float64.
    WidenColumn { table: TableId, column: ColumnId, kind: ColumnType },
    DropColumn { table: TableId, column: ColumnId },
    RenameTable { table: TableId, name: String },
    RenameColumn { table: TableId, column: Option<ColumnId> /* None: the time column */, name: String },
    SetOptions { table: TableId, options: TableOptions },
    DropTable { table: TableId },
    Rows(RowCommand),
}

/// What became of one command.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome { Written { rows: u64 }, Table(TableId), Columns(Vec<ColumnId>), Done, Rows(RowOutcome) }

/// A finished commit.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Position of the record.
    pub position: u64,
    /// One result a command.
    pub outcomes: Vec<Result<Outcome>>,
}

/// A commit under way: block on [`Pending::wait`] or await it. Dropping it does not undo the commit.
pub struct Pending { _p: () }
impl Pending { pub fn wait(self) -> Result<Committed> { unimplemented!() } }
impl Future for Pending {
    type Output = Result<Committed>;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> { unimplemented!() }
}

/// The database.
pub struct Db { _p: () }
impl Db {
    /// Opens or creates. Err(Locked) if another process has the folder.
    pub fn open(storage: Arc<dyn Storage>, options: Options) -> Result<Arc<Db>> { unimplemented!() }
    /// The newest state that all can see. Cheap.
    pub fn snapshot(&self) -> Snapshot { unimplemented!() }
    /// Checks, sorts and encodes on the caller's thread, then queues; waits while the queue is full (so call it from
    /// a thread that may block when batches are large). Err(Invalid/TypeMismatch/NotFound) before anything is queued.
    /// When the Pending resolves, the commit is durable (fdatasync) and visible to new snapshots.
    pub fn submit(&self, commands: Vec<Command>) -> Result<Pending> { unimplemented!() }
    /// submit + wait.
    pub fn commit(&self, commands: Vec<Command>) -> Result<Committed> { self.submit(commands)?.wait() }
    /// One command, its outcome.
    pub fn execute(&self, command: Command) -> Result<Outcome> { unimplemented!() }
    /// Flushes every head into parts (CHECKPOINT).
    pub fn checkpoint(&self) -> Result<()> { unimplemented!() }
    /// Merges the table to the end: one dense part a partition (VACUUM FULL). None: every table.
    pub fn merge_full(&self, table: Option<TableId>) -> Result<()> { unimplemented!() }
    /// Sizes and counters.
    pub fn stats(&self) -> DbStats { unimplemented!() }
    /// Why writes are refused, if they are.
    pub fn read_only(&self) -> Option<String> { unimplemented!() }
    /// Stops taking writes, finishes queued ones, writes a durable mark, stops threads. Idempotent.
    pub fn close(&self) -> Result<()> { unimplemented!() }
    /// What recovery found and did at open.
    pub fn recovery(&self) -> &RecoveryReport { unimplemented!() }
    pub fn options(&self) -> &Options { unimplemented!() }
}

#[derive(Clone, Debug, Default)]
pub struct RecoveryReport { pub records_replayed: u64, pub bytes_cut: u64, pub seconds: f64, pub first_open: bool }

#[derive(Clone, Debug, Default)]
pub struct DbStats {
    pub visible_position: u64, pub durable_position: u64,
    pub log_bytes: u64, pub log_segments: u64, pub row_store_bytes: u64,
    pub head_bytes: u64, pub head_rows: u64,
    pub parts: u64, pub part_bytes: u64, pub part_rows: u64, pub series: u64, pub series_bytes: u64,
    pub commits: u64, pub syncs: u64, pub rows_written: u64, pub flushes: u64, pub merges: u64,
    pub queue_bytes: u64, pub cache_bytes: u64,
}

/// What a reader sees: version, head, row store and position taken together. Clone is cheap.
#[derive(Clone)]
pub struct Snapshot { _p: () }
impl Snapshot {
    pub fn position(&self) -> u64 { unimplemented!() }
    /// Changes whenever any table's schema changes: key for plan caches.
    pub fn schema_version(&self) -> u64 { unimplemented!() }
    /// All tables in order of name.
    pub fn tables(&self) -> Vec<Arc<TableSchema>> { unimplemented!() }
    pub fn table(&self, name: &str) -> Option<Table> { unimplemented!() }
    pub fn table_by_id(&self, id: TableId) -> Option<Table> { unimplemented!() }
    /// Management rows. Spaces 0-15 belong to the engine (catalogue), 16-255 to query (views, comments), 256.. to management.
    pub fn rows(&self) -> &RowSnapshot { unimplemented!() }
}

/// One table in a snapshot.
#[derive(Clone)]
pub struct Table { _p: () }
impl Table {
    pub fn schema(&self) -> &Arc<TableSchema> { unimplemented!() }
    pub fn series(&self) -> &Arc<SeriesIndex> { unimplemented!() }
    /// Series numbers below this one belong to the snapshot: pass it as `limit` to the index.
    pub fn series_count(&self) -> u32 { unimplemented!() }
    /// Prepares a scan: picks parts, row groups and head runs; nothing is decoded yet.
    pub fn scan(&self, request: ScanRequest) -> Result<Scan> { unimplemented!() }
    /// Newest row of each series in `series` that has one, from the last-value cache; ascending series.
    /// `columns` in the order asked for.
    pub fn last_rows(&self, series: &Bitmap, columns: &[ColumnId]) -> Result<Rows> { unimplemented!() }
    pub fn stats(&self) -> TableStats { unimplemented!() }
    pub fn parts(&self) -> Vec<PartInfo> { unimplemented!() }
}

#[derive(Clone, Debug)]
pub struct TableStats {
    /// Rows; exact only if `exact`: no two sources overlap (else an upper bound).
    pub rows: u64, pub exact: bool, pub times: TimeRange,
    pub head_rows: u64, pub head_bytes: u64, pub part_bytes: u64, pub series_bytes: u64,
}
#[derive(Clone, Debug)]
pub struct PartInfo {
    pub id: u64, pub table: TableId, pub level: String, pub path: String, pub bytes: u64, pub rows: u64, pub series: u32,
    pub times: TimeRange, pub position_min: u64, pub position_max: u64, pub partition: Option<TimeRange>,
}

/// A range that a field must lie in, to prune row groups and zones by statistics. Never exact: filter the rows still.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldBound { pub column: ColumnId, pub min: Option<Value>, pub max: Option<Value> }

#[derive(Clone, Debug)]
pub struct ScanRequest {
    /// Series to read; None: all.
    pub series: Option<Bitmap>,
    /// Exact.
    pub times: TimeRange,
    /// Fields to decode, in this order; may be empty (only series and time).
    pub columns: Vec<ColumnId>,
    pub bounds: Vec<FieldBound>,
    /// How many streams at most; they cover disjoint ascending series ranges.
    pub streams: usize,
    /// Rows a batch at most (about). Default 8192.
    pub batch_rows: usize,
}
impl ScanRequest { pub fn all(columns: Vec<ColumnId>) -> Self { unimplemented!() } }

pub struct Scan { pub streams: Vec<ScanStream>, pub stats: Arc<ScanStats> }
/// Batches in ascending (series, time), merged and de-duplicated. CPU-bound, blocking reads.
pub struct ScanStream { _p: () }
impl ScanStream {
    pub fn next_rows(&mut self) -> Result<Option<Rows>> { unimplemented!() }
}
/// What a scan read and pruned; counters grow while it runs.
#[derive(Debug, Default)]
pub struct ScanStats {
    pub partitions: std::sync::atomic::AtomicU64, pub partitions_pruned: std::sync::atomic::AtomicU64,
    pub parts: std::sync::atomic::AtomicU64, pub parts_pruned: std::sync::atomic::AtomicU64,
    pub groups: std::sync::atomic::AtomicU64, pub groups_pruned: std::sync::atomic::AtomicU64,
    pub zones: std::sync::atomic::AtomicU64, pub zones_pruned: std::sync::atomic::AtomicU64,
    pub head_runs: std::sync::atomic::AtomicU64, pub rows: std::sync::atomic::AtomicU64,
    pub blocks_read: std::sync::atomic::AtomicU64, pub bytes_read: std::sync::atomic::AtomicU64,
}
