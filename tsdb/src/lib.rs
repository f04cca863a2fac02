//! Millrace's storage engine: a library with no server and no SQL. `FORMAT.md` describes every
//! byte on disk, `README.md` the rooms of this crate and what holds between them.

pub mod codec;
pub mod engine;
pub mod error;
pub mod io;
pub mod log;
pub mod part;
pub mod rows;
pub mod series;
pub mod types;

pub use engine::{
    Command, Committed, Db, DbStats, FieldBound, NewColumn, NewTable, Options, Outcome, PartInfo,
    Pending, RecoveryReport, Scan, ScanRequest, ScanStats, ScanStream, Snapshot, Table, TableStats,
};
pub use error::{Error, Result};
