//! How far a COPY is, for `pg_stat_progress_copy`.

use std::sync::atomic::{AtomicU64, Ordering};

/// How far a COPY is.
#[derive(Debug, Default)]
pub struct CopyProgress {
    /// Whether rows come in.
    pub(crate) inward: bool,
    /// Whether a file of the server is read or written.
    pub(crate) file: bool,
    /// `pg_class.oid` of the table or view; 0 for a query.
    pub(crate) relation: i64,
    /// Length of the file that is read; 0 where it is not known.
    pub(crate) bytes_total: u64,
    pub(super) bytes: AtomicU64,
    pub(super) rows: AtomicU64,
}

impl CopyProgress {
    /// So many more bytes were read or written.
    pub fn moved(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many rows were read or written in all.
    pub fn reached(&self, rows: u64) {
        self.rows.store(rows, Ordering::Relaxed);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }
}
