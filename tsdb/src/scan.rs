//! Scans: sorted, merged rows out of parts and head runs.
//!
//! A scan is planned against a snapshot's sources and split into streams over disjoint ranges of
//! series. In a stream, each source (a part or a run) gives its series in ascending order; the
//! pieces of one series are merged by time, slice by slice where only one source has rows and
//! row by row where several meet (newer positions win). Row groups are decoded when their first
//! row is needed, so that a group outside bounds or time is never read.

pub mod aggregate;
mod batch;
mod filter;
mod group;
mod piece;
mod source;
mod stream;
#[cfg(test)]
mod tests;
mod walks;
mod window;

pub use batch::{Batch, Cells};
pub use filter::{Comparison, FieldFilter, FieldTest, Literal};
pub use source::{PartHandle, Source};
pub use stream::{ScanStream, StreamSpec};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::series::Bitmap;
use crate::types::{ColumnId, TimeRange, Value};

/// A range that a field must lie in (ends included), to skip row groups and zones by their
/// statistics. Never exact: rows outside may still come.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldBound {
    /// The field.
    pub column: ColumnId,
    /// Least value that can matter.
    pub min: Option<Value>,
    /// Greatest value that can matter.
    pub max: Option<Value>,
}

/// What to read.
#[derive(Clone, Debug)]
pub struct ScanRequest {
    /// Series to read; `None` for all.
    pub series: Option<Bitmap>,
    /// Times to read; exact.
    pub times: TimeRange,
    /// Fields to decode, in the order wanted; may be empty (series and times only).
    pub columns: Vec<ColumnId>,
    /// What may be skipped.
    pub bounds: Vec<FieldBound>,
    /// Tests that rows must pass, exact; columns that no tested row needs are not decoded.
    pub filters: Vec<FieldFilter>,
    /// Streams at most; they cover disjoint, ascending ranges of series.
    pub streams: usize,
    /// Rows of a batch, about.
    pub batch_rows: usize,
}

impl ScanRequest {
    /// Everything of these columns in one stream of batches of 8,192 rows.
    pub fn all(columns: Vec<ColumnId>) -> Self {
        ScanRequest {
            series: None,
            times: TimeRange::ALL,
            columns,
            bounds: Vec::new(),
            filters: Vec::new(),
            streams: 1,
            batch_rows: 8192,
        }
    }
}

/// A planned scan.
#[derive(Debug)]
pub struct Scan {
    /// The streams, in ascending order of their series.
    pub streams: Vec<ScanStream>,
    /// What is read and skipped; grows while the streams run.
    pub stats: Arc<ScanStats>,
}

/// What a scan read and skipped.
#[derive(Debug, Default)]
pub struct ScanStats {
    /// Partitions with rows in the table's parts.
    pub partitions: AtomicU64,
    /// Of these, skipped by time.
    pub partitions_pruned: AtomicU64,
    /// Parts of the table.
    pub parts: AtomicU64,
    /// Of these, skipped by time or series.
    pub parts_pruned: AtomicU64,
    /// Row groups in the parts that were not skipped.
    pub groups: AtomicU64,
    /// Of these, skipped by series, time or bounds.
    pub groups_pruned: AtomicU64,
    /// Zones of the groups that were looked into for bounds.
    pub zones: AtomicU64,
    /// Of these, skipped by bounds.
    pub zones_pruned: AtomicU64,
    /// Head runs read.
    pub head_runs: AtomicU64,
    /// Rows given.
    pub rows: AtomicU64,
    /// Row groups whose columns were decoded.
    pub groups_read: AtomicU64,
    /// Row groups of which the columns that filters look at were decoded, perhaps alone.
    pub groups_tested: AtomicU64,
    /// Rows of these that were decoded, of some columns or all.
    pub rows_decoded: AtomicU64,
}

impl ScanStats {
    pub(crate) fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }
}
