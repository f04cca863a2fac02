//! Blocks of a part that could not be read: where they are and whose rows they held.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::error::Error;
use crate::types::{ColumnId, TimeRange, time_text};

/// Bad blocks that are told apart in one part; with more of them all of it counts as bad.
pub const BAD_BLOCKS_MAX: usize = 256;

/// A block that could not be read, and the rows that need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadBlock {
    /// Row group; `None` for a page of the index or the whole file.
    pub group: Option<u32>,
    /// The one column that is concerned; `None` for keys and times, and so every column.
    pub column: Option<ColumnId>,
    /// Where it begins in the file.
    pub offset: u64,
    /// Its length, bytes.
    pub len: u64,
    /// First and last series whose rows need it.
    pub series: (u32, u32),
    /// Least and greatest time of rows that need it, ns.
    pub times: TimeRange,
    /// What was wrong.
    pub cause: String,
    /// When it was found, ns since 1970.
    pub since: i64,
}

impl BadBlock {
    /// The whole file.
    pub fn file(times: TimeRange, bytes: u64, cause: String, since: i64) -> BadBlock {
        let series = (0, u32::MAX);
        let (group, column) = (None, None);
        BadBlock { group, column, offset: 0, len: bytes, series, times, cause, since }
    }

    /// Whether it is the same piece of the file.
    pub fn same_place(&self, other: &BadBlock) -> bool {
        (self.group, self.column, self.offset) == (other.group, other.column, other.offset)
    }

    /// Whether the whole file is meant.
    pub fn is_file(&self) -> bool {
        self.group.is_none() && self.column.is_none() && self.series == (0, u32::MAX)
    }

    /// Whether readers of these columns need it.
    pub fn concerns(&self, columns: &[ColumnId]) -> bool {
        self.column.is_none_or(|column| columns.contains(&column))
    }
}

impl fmt::Display for BadBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.group, self.column) {
            (Some(group), Some(column)) => write!(f, "column {column} of row group {group}")?,
            (Some(group), None) => write!(f, "keys and times of row group {group}")?,
            (None, Some(column)) => write!(f, "index of column {column}")?,
            (None, None) if self.is_file() => write!(f, "the whole file")?,
            (None, None) => write!(f, "index page")?,
        }
        write!(f, ", bytes {} to {}", self.offset, self.offset.saturating_add(self.len))?;
        if !self.is_file() {
            write!(f, ", series {} to {}", self.series.0, self.series.1)?;
        }
        let (from, to) = (time_text(self.times.min), time_text(self.times.max));
        write!(f, ", times {from} to {to}: {}", self.cause)
    }
}

/// The bad blocks of an open part. Where one is found, it stays until the part is read anew.
#[derive(Debug, Default)]
pub struct Damage {
    any: AtomicBool,
    /// Each with whether the version log has it.
    blocks: Mutex<Vec<(BadBlock, bool)>>,
}

impl Damage {
    /// Whether a bad block was found.
    pub fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Takes a block in; what is known already stays as it is.
    pub fn note(&self, block: BadBlock, recorded: bool, whole: impl FnOnce() -> BadBlock) {
        let mut blocks = self.blocks.lock();
        if let Some((_, known)) = blocks.iter_mut().find(|(known, _)| known.same_place(&block)) {
            *known |= recorded;
            return;
        }
        if blocks.iter().any(|(known, _)| known.is_file()) {
            return;
        }
        if blocks.len() >= BAD_BLOCKS_MAX {
            let cause = format!("{BAD_BLOCKS_MAX} blocks and more are bad, such as: {block}");
            blocks.push((BadBlock { cause, ..whole() }, false));
        } else {
            blocks.push((block, recorded));
        }
        self.any.store(true, Ordering::Release);
    }

    /// The blocks, each with whether the version log has it.
    pub fn list(&self) -> Vec<(BadBlock, bool)> {
        if self.any() { self.blocks.lock().clone() } else { Vec::new() }
    }

    /// The version log has these.
    pub fn recorded(&self, done: &[BadBlock]) {
        let mut blocks = self.blocks.lock();
        for (block, recorded) in blocks.iter_mut() {
            *recorded |= done.iter().any(|done| done.same_place(block));
        }
    }

    /// Every block was read and is sound.
    pub fn clear(&self) {
        let mut blocks = self.blocks.lock();
        blocks.clear();
        self.any.store(false, Ordering::Release);
    }
}

/// What was wrong with a block, if an error says that the block is; not whether its store can be
/// reached.
pub fn cause(error: &Error) -> Option<&str> {
    match error {
        Error::Corrupt(why) | Error::Io(why) => Some(why),
        _ => None,
    }
}
