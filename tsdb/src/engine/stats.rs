//! Figures that the engine tells of itself.

use super::memory::PoolUsage;
use crate::scan::PartHandle;
use crate::types::{TableId, TimeRange};

/// Sizes and counters of a database.
#[derive(Clone, Debug, Default)]
pub struct DbStats {
    /// Every commit up to here is visible.
    pub visible_position: u64,
    /// Every commit up to here is on disk.
    pub durable_position: u64,
    /// Bytes of the log.
    pub log_bytes: u64,
    /// Segments of the log.
    pub log_segments: u64,
    /// Bytes free on the disk of the data folder.
    pub disk_free_bytes: u64,
    /// Bytes of it that are kept for what makes room.
    pub disk_reserve_bytes: u64,
    /// Bytes of the row store.
    pub row_store_bytes: u64,
    /// Bytes of all heads, in memory.
    pub head_bytes: u64,
    /// Rows of all heads.
    pub head_rows: u64,
    /// Parts.
    pub parts: u64,
    /// Bytes of parts.
    pub part_bytes: u64,
    /// Rows of parts; overlapping ones count twice.
    pub part_rows: u64,
    /// Series of all tables.
    pub series: u64,
    /// Bytes of series files.
    pub series_bytes: u64,
    /// Commits since the start.
    pub commits: u64,
    /// Syncs of the log since the start.
    pub syncs: u64,
    /// Rows committed since the start.
    pub rows_written: u64,
    /// Rows dropped on their way in since the start: they were before their table's cut.
    pub rows_expired: u64,
    /// Flushes since the start.
    pub flushes: u64,
    /// Merges since the start.
    pub merges: u64,
    /// Bytes of parts that flushes wrote since the start.
    pub flush_bytes: u64,
    /// Bytes of parts that merges wrote since the start.
    pub merge_bytes: u64,
    /// Bytes of last rows that flushes wrote since the start.
    pub last_bytes: u64,
    /// Bytes of records and rows that are not applied yet.
    pub queue_bytes: u64,
    /// Times that an object store failed the background since the start.
    pub archive_failures: u64,
    /// Bytes of parts that are archived.
    pub archived_bytes: u64,
    /// Bytes fetched from archives since the start.
    pub archive_fetched_bytes: u64,
    /// Bytes of archived parts held in memory.
    pub archive_cache_bytes: u64,
    /// Objects that no part needs any more and that are not deleted yet.
    pub archive_dead_objects: u64,
    /// Bad blocks in quarantine.
    pub quarantined_blocks: u64,
    /// Bytes that the scrub has read since the start.
    pub scrub_bytes: u64,
    /// Files that it has read to their end since the start.
    pub scrub_files: u64,
    /// Bad blocks and files that it has found since the start.
    pub scrub_found: u64,
    /// Decoded part indexes held, bytes.
    pub cache_bytes: u64,
    /// What is held in memory under which limit.
    pub pools: Vec<PoolUsage>,
    /// Every commit up to here is in the archive of the log; 0 without one.
    pub log_archive_position: u64,
    /// Log that is kept for its archive alone, bytes.
    pub log_archive_held_bytes: u64,
    /// For how long the log could not be archived, s.
    pub log_archive_failing_seconds: u64,
    /// Positions that were cut off the log before they were archived, since the start.
    pub log_archive_given_up: u64,
}

/// Rows and bytes of one table.
#[derive(Clone, Debug)]
pub struct TableStats {
    /// Rows: an upper bound unless `exact`.
    pub rows: u64,
    /// Whether no (series, time) can lie in two sources, and no delete hides rows of parts.
    pub exact: bool,
    /// Whether deletes may hide rows of parts: `times` may then be too wide.
    pub hidden: bool,
    /// Smallest range that holds all times.
    pub times: TimeRange,
    /// Rows of the head.
    pub head_rows: u64,
    /// Bytes of the head, in memory.
    pub head_bytes: u64,
    /// Bytes of parts.
    pub part_bytes: u64,
    /// Bytes of series files.
    pub series_bytes: u64,
}

/// One part, as `sys.parts` shows it.
#[derive(Clone, Debug)]
pub struct PartInfo {
    /// Number of the part.
    pub id: u64,
    /// Its table.
    pub table: TableId,
    /// `flushed`, `light` or `dense`.
    pub level: String,
    /// Path under the data folder.
    pub path: String,
    /// Length of the file.
    pub bytes: u64,
    /// Bytes that are index, not data.
    pub index_bytes: u64,
    /// Rows.
    pub rows: u64,
    /// Distinct series.
    pub series: u32,
    /// Values of all fields, nulls and absent cells left out.
    pub values: u64,
    /// Smallest range that holds all times.
    pub times: TimeRange,
    /// First position of its commits.
    pub position_min: u64,
    /// Last position of its commits.
    pub position_max: u64,
    /// Time span that the part is confined to.
    pub partition: Option<TimeRange>,
    /// Store and name of the object that an archived part lies in.
    pub object: Option<String>,
    /// A part brought back from the archive stays here until then, ns since 1970; else 0.
    pub hot_until: i64,
}

impl PartInfo {
    pub(crate) fn of(handle: &PartHandle) -> PartInfo {
        let (entry, meta) = (&handle.entry, handle.part.meta());
        let level = match entry.level {
            0 => "flushed",
            1 => "light",
            _ => "dense",
        };
        PartInfo {
            id: entry.id,
            table: entry.table,
            level: level.to_owned(),
            path: handle.part.path().to_owned(),
            bytes: meta.bytes,
            index_bytes: meta.index_bytes,
            rows: entry.rows,
            series: meta.series_count,
            values: meta.columns.iter().map(|c| c.good + c.not_good).sum(),
            times: entry.times,
            position_min: entry.positions.0,
            position_max: entry.positions.1,
            partition: entry.partition,
            object: entry.object.as_ref().map(ToString::to_string),
            hot_until: entry.hot_until,
        }
    }
}

/// What opening a database found and did.
#[derive(Clone, Debug, Default)]
pub struct RecoveryReport {
    /// Records of the log that were applied again.
    pub records_replayed: u64,
    /// Bytes of a torn tail that were cut off the log.
    pub bytes_cut: u64,
    /// Files that no version named and that were removed.
    pub files_removed: u64,
    /// Time it took, s.
    pub seconds: f64,
    /// Whether the database was made just now.
    pub first_open: bool,
}
