//! The log: records with positions, durable before anything else knows of them.
//!
//! `FORMAT.md`, section "Log", says what the bytes are and what recovery does with bad ones.
//! What holds here:
//! - A position is given once and in order. `first_index - 1 <= durable_index <= last_index`.
//! - A segment is made only when every byte of the one before it is durable; thus a later segment
//!   proves all earlier ones, and only the last one can have a torn tail.
//! - After a failed write or sync nothing is written any more: what the disk holds is unknown
//!   until recovery has read it again. Want of room is another matter: the segment is cut back to
//!   the last record that was taken, that is made durable, and a fresh segment follows.
//! - Bytes read never panic, and nothing is allocated by a length before it is checked against
//!   the file.
//!
//! Where to start: [`Log`] appends (`append.rs`) and shortens (`shorten.rs`), `recover.rs` opens,
//! [`Cursor`] reads, [`Inspection`] explains a single file.

use std::sync::Arc;

mod append;
mod format;
mod inspect;
mod read;
mod recover;
mod scan;
mod segment;
mod shorten;
#[cfg(test)]
mod tests;

pub use append::Log;
pub(crate) use format::segment_path;
pub use format::{Kind, RECORD_HEADER_BYTES, RecordHeader, SEGMENT_HEADER_BYTES, SegmentHeader};
pub use inspect::{Inspected, Inspection, Verdict, inspect_segment};
pub use read::{Cursor, Record};
pub use recover::verify;

use crate::io::Storage;

/// The folder of the segments.
pub const LOG_FOLDER: &str = "log";

/// Settings of a log.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The consensus group whose log this is; 0 on a single machine.
    pub group: u32,
    /// A segment that would grow past this many bytes is closed first. Default 64 MiB. One group of
    /// records is never split, so a segment can be longer.
    pub segment_bytes_max: u64,
    /// Longest payload of a record, bytes. Default 256 MiB. Longer ones are refused when written,
    /// not when read.
    pub record_bytes_max: u32,
    /// The database the log belongs to.
    pub database_id: [u8; 16],
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions {
            group: 0,
            segment_bytes_max: 64 << 20,
            record_bytes_max: 256 << 20,
            database_id: [0; 16],
        }
    }
}

/// A record to append.
#[derive(Clone, Copy, Debug)]
pub struct RecordIn<'a> {
    /// [`Kind::Commands`] or [`Kind::NoOp`].
    pub kind: Kind,
    /// The term of the leader; 0 on a single machine.
    pub term: u64,
    /// The payload in parts, written end to end.
    pub payload: &'a [&'a [u8]],
}

/// A vote given in an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// The term voted in.
    pub term: u64,
    /// The node voted for.
    pub node: u64,
}

/// A segment of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Path in the storage.
    pub path: String,
    /// The first position it holds or will hold.
    pub first_index: u64,
    /// The last position it holds; `first_index - 1` if none.
    pub last_index: u64,
    /// Length, bytes.
    pub bytes: u64,
}

/// What recovery found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The first position in the log; 1 for a new log.
    pub first_index: u64,
    /// The last position; `first_index - 1` if there is none.
    pub last_index: u64,
    /// The torn tail that was cut, if there was one.
    pub cut: Option<Cut>,
    /// A last segment that a crash left half made, if there was one; it was replaced.
    pub replaced: Option<String>,
    /// The segments that hold records.
    pub segments: Vec<SegmentInfo>,
    /// The last vote, if one was ever saved.
    pub vote: Option<Vote>,
}

/// A torn tail that was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Path of the segment.
    pub segment: String,
    /// Where the tail began: the new length of the file.
    pub offset: u64,
    /// Bytes cut.
    pub bytes: u64,
    /// What was wrong with the record there.
    pub why: String,
}

impl Log {
    /// Opens the log of a storage, or begins one: recovers, cuts a torn tail, begins a fresh
    /// segment.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] if anything that was durable is not as it was written; the files
    /// are left as they are. [`crate::Error::Io`] and [`crate::Error::Full`] from the storage.
    pub fn open(storage: Arc<dyn Storage>, options: LogOptions) -> crate::Result<(Log, Recovered)> {
        recover::open(storage, options)
    }

    /// Makes a log without records whose first position will be `first_index`, in a storage that
    /// has none; to be opened afterwards.
    ///
    /// # Errors
    /// [`crate::Error::Io`] and [`crate::Error::Full`] from the storage.
    pub fn begin(
        storage: &dyn Storage,
        options: &LogOptions,
        first_index: u64,
    ) -> crate::Result<()> {
        let doing = "making the folder of the log";
        storage.create_dir(LOG_FOLDER).map_err(|e| crate::Error::io(doing, &e))?;
        let prepared = segment::Prepared::make(storage, options, first_index, None)?;
        prepared.install(storage).map(|_| ())
    }
}
