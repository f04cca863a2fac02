//! Settings of an engine: one definition each, with default and bounds.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::tier::{Connector, FolderConnector};
use crate::types::TimeRange;

use super::prepare::BATCH_ROWS_MAX;

const MIB: u64 = 1 << 20;

/// Settings of an engine.
#[derive(Clone, Debug)]
pub struct Options {
    /// Shards of a new database, 1 to 64; fixed afterwards. Default: the cores, at most 16.
    pub shards: u16,
    /// A table is flushed when its head holds this much, bytes. Default 128 MiB.
    pub head_bytes_max: u64,
    /// All heads together, bytes; writers wait above it. Default 512 MiB.
    pub heads_bytes_max: u64,
    /// A head with rows older than this is flushed, s. Default 3600.
    pub head_age_seconds_max: u64,
    /// Length of the log that forces flushes, bytes. Default 1 GiB.
    pub log_bytes_max: u64,
    /// One segment of the log, bytes. Default 64 MiB.
    pub log_segment_bytes_max: u64,
    /// Records and rows of commits that are not applied yet, bytes; writers wait above it.
    /// Default 128 MiB.
    pub queue_bytes_max: u64,
    /// Bytes of the disk kept free: below, commits that bring data are refused until there is room
    /// again, while reads, deletes, drops, retention, flushes and backups go on. 0 keeps none.
    /// Default 64 MiB.
    pub disk_reserve_bytes: u64,
    /// Decoded index pages kept, bytes. Default 256 MiB.
    pub cache_bytes_max: u64,
    /// Decoded columns of row groups kept for queries that come again, bytes; 0 for none.
    /// Default 256 MiB.
    pub blocks_bytes_max: u64,
    /// Index and last rows of the series of all tables, bytes; new series are refused above it.
    /// Default 4 GiB.
    pub series_bytes_max: u64,
    /// Earliest and latest time accepted, ns. Default 1900-01-01 to 2200-01-01.
    pub times: TimeRange,
    /// Columns of one table. Default 4,096.
    pub columns_max: u16,
    /// Tables. Default 100,000.
    pub tables_max: u32,
    /// Series of one table. Default 50,000,000.
    pub series_max: u32,
    /// One value in a column, bytes. Default 1 MiB.
    pub value_bytes_max: u32,
    /// Rows that one delete names one by one, up to 16,777,216. Default 4,194,304.
    pub delete_points_max: u32,
    /// Flush parts of a table that start a merge. Default 8.
    pub merge_fan_in: usize,
    /// URL of the object store that closed partitions move to, where a table does not name its own;
    /// none archives nothing. Default none.
    pub archive_url: Option<String>,
    /// Blocks of archived parts kept in memory, bytes. Default 64 MiB.
    pub archive_cache_bytes_max: u64,
    /// How long an object stays that no part needs any more, s. Default 604,800 (a week): snapshots
    /// and backups may still name it.
    pub archive_grace_seconds: u64,
    /// How often retention and archive are looked after, s. Default 60.
    pub life_interval_seconds: u64,
    /// How fast the scrub reads whatever has a checksum, bytes a second; 0 turns it off. Default
    /// 8 MiB.
    pub scrub_bytes_per_second: u64,
    /// The scrub reads each file at most once in this time, s. Default 604,800 (a week).
    pub scrub_interval_seconds: u64,
    /// Whether flush and merge run on a thread of their own (off in some tests).
    pub background: bool,
    /// When backups are taken by themselves, and where to. Default: never.
    pub backup_policy: Option<BackupPolicy>,
    /// Where the log is archived to continuously. Default: nowhere.
    pub log_archive: Option<LogArchive>,
    /// Opens the object stores that archives and backups name by URL. Default: folders only.
    pub connector: Arc<dyn Connector>,
}

/// Backups that are taken by themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupPolicy {
    /// The store.
    pub url: String,
    /// Time between the starts of full backups, which copy everything anew, s. Default a day.
    pub full_seconds: u64,
    /// Time between the starts of backups, s. Default an hour.
    pub incremental_seconds: u64,
    /// How far back every moment can be restored, s; older backups go. 0: none goes. Default 30
    /// days.
    pub keep_seconds: u64,
}

impl Default for BackupPolicy {
    fn default() -> Self {
        BackupPolicy {
            url: String::new(),
            full_seconds: 86_400,
            incremental_seconds: 3_600,
            keep_seconds: 30 * 86_400,
        }
    }
}

/// Continuous archiving of the log, which lets a restore go to any moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogArchive {
    /// The store of the backups.
    pub url: String,
    /// How often the log is archived, s; what a lost machine can lose. Default 60.
    pub seconds: u64,
    /// Log that is kept only since it could not be archived, bytes; beyond, it is cut, and no
    /// restore goes to a moment in it. Default 4 GiB.
    pub held_bytes_max: u64,
}

impl Default for LogArchive {
    fn default() -> Self {
        LogArchive { url: String::new(), seconds: 60, held_bytes_max: 4096 * MIB }
    }
}

impl Default for Options {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Options {
            shards: cores.clamp(1, 16) as u16,
            head_bytes_max: 128 * MIB,
            heads_bytes_max: 512 * MIB,
            head_age_seconds_max: 3600,
            log_bytes_max: 1024 * MIB,
            log_segment_bytes_max: 64 * MIB,
            queue_bytes_max: 128 * MIB,
            disk_reserve_bytes: 64 * MIB,
            cache_bytes_max: 256 * MIB,
            blocks_bytes_max: 256 * MIB,
            series_bytes_max: 4096 * MIB,
            times: TimeRange::new(-2_208_988_800_000_000_000, 7_258_118_400_000_000_000),
            columns_max: 4096,
            tables_max: 100_000,
            series_max: 50_000_000,
            value_bytes_max: 1 << 20,
            delete_points_max: 4 << 20,
            merge_fan_in: 8,
            archive_url: None,
            archive_cache_bytes_max: 64 * MIB,
            archive_grace_seconds: 604_800,
            life_interval_seconds: 60,
            scrub_bytes_per_second: 8 * MIB,
            scrub_interval_seconds: 604_800,
            background: true,
            backup_policy: None,
            log_archive: None,
            connector: Arc::new(FolderConnector),
        }
    }
}

impl Options {
    /// Checks that the settings make sense together.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the setting and its bounds.
    pub fn validate(&self) -> Result<()> {
        let rules = [
            ((1..=64).contains(&self.shards), "shards must be 1 to 64"),
            (self.head_bytes_max >= 1024, "head_bytes_max must be at least 1024"),
            (
                self.heads_bytes_max >= self.head_bytes_max,
                "heads_bytes_max must be at least head_bytes_max",
            ),
            (self.log_segment_bytes_max >= 4096, "log_segment_bytes_max must be at least 4096"),
            (self.queue_bytes_max >= 4096, "queue_bytes_max must be at least 4096"),
            (!self.times.is_empty(), "times must not be empty"),
            // The ends of the axis stand for "none" in places.
            (
                self.times.min > i64::MIN + 1 && self.times.max < i64::MAX - 1,
                "times must leave out the very ends of the axis",
            ),
            (
                (1..=BATCH_ROWS_MAX as u64).contains(&u64::from(self.delete_points_max)),
                "delete_points_max must be 1 to 16777216",
            ),
            (
                (1..=86_400).contains(&self.life_interval_seconds),
                "life_interval_seconds must be 1 to 86400",
            ),
            (self.scrub_interval_seconds >= 1, "scrub_interval_seconds must be at least 1"),
            (
                self.log_archive.as_ref().is_none_or(|to| to.seconds >= 1),
                "the log must be archived at most once a second",
            ),
            (
                self.backup_policy
                    .as_ref()
                    .is_none_or(|p| p.full_seconds >= 1 && p.incremental_seconds >= 1),
                "backups must be at least a second apart",
            ),
            (self.merge_fan_in >= 2, "merge_fan_in must be at least 2"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(Error::Invalid((*rule).to_string())),
            None => self.archive_url.as_ref().map_or(Ok(()), |url| self.check_store(url)),
        }
    }

    /// Whether the connector knows such a URL; nothing is reached.
    ///
    /// # Errors
    /// [`Error::Invalid`] in the connector's words.
    pub(crate) fn check_store(&self, url: &str) -> Result<()> {
        match self.connector.connect(url) {
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
                Err(Error::Invalid(format!("archive: {error}")))
            }
            _ => Ok(()),
        }
    }
}
