//! Millrace's storage engine: a library with no server and no SQL. `FORMAT.md` describes every
//! byte on disk, `README.md` the rooms of this crate and what holds between them.

pub mod backup;
mod checksum;
pub mod codec;
pub mod crypto;
pub mod deletes;
pub mod engine;
pub mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod head;
pub mod io;
pub mod log;
pub mod part;
pub mod rows;
pub mod scan;
pub mod series;
pub mod tier;
pub mod types;

pub use deletes::Selection;
pub use engine::{
    Command, Committed, Db, DbStats, KeyGroup, LeftOut, NewColumn, NewTable, Options, Outcome,
    PartInfo, PartitionInfo, Pending, PoolUsage, Quarantined, RecoveryReport, ScrubStatus,
    Snapshot, Table, TableStats, Tended, WATCHES_MAX, Watch, WatchChange, now_ns,
};
pub use error::{Error, Result};
pub use scan::{
    Batch, Cells, Comparison, FieldBound, FieldFilter, FieldTest, Literal, Scan, ScanRequest,
    ScanStats, ScanStream,
};
