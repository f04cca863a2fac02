//! Parts: immutable files of one table's rows, sorted by (series, time).
//!
//! Rows lie in row groups, each column of a group in a block with its own codec. Groups are cut
//! into zones, short runs of rows with statistics of their own. The index is columnar too and
//! split into index pages of up to 256 groups, so that a question about one series reads only
//! what concerns it. The bytes are described in `FORMAT.md`, section "Parts".
//!
//! What holds:
//! - Every byte of a file is under a crc32 that is kept in its parent: blocks in the index, index
//!   pages in the footer, the footer in the trailer; header and trailer carry their own.
//! - (series, time) never falls from row to row, and a group is never split among parts.
//! - A part is written once. A file without a trailer is not a part.

mod block;
mod blocks;
mod cache;
mod damage;
mod format;
mod group;
mod index;
mod reader;
mod stats_codec;
#[cfg(test)]
pub(crate) mod tests;
mod verify;
mod writer;
mod zones;

use std::ops::RangeInclusive;

use crate::types::{ColumnId, PhysicalType, TableId, TimeRange};

pub use crate::codec::Level;
pub use blocks::Blocks;
pub use cache::CacheBudget;
pub use damage::{BadBlock, Damage};
pub use reader::{GroupKeys, GroupRef, PageStats, Part};
pub use writer::PartWriter;
pub use zones::{ZoneRows, ZoneStats, ZoneValues};

/// Most rows of a row group.
pub const GROUP_ROWS_MAX: usize = 8192;
/// Bytes of values, decoded, at which a row group ends. One row may be larger.
pub const GROUP_BYTES_MAX: usize = 4 << 20;
/// Rows from which a series has row groups of its own.
pub const OWN_SERIES_ROWS_MIN: usize = 1024;
/// Most rows of a zone.
pub const ZONE_ROWS_MAX: usize = 512;
/// Rows from which a zone may end at a calendar hour.
pub const ZONE_HOUR_ROWS_MIN: usize = 60;
/// Longest text or bytes value, bytes.
pub const VALUE_BYTES_MAX: usize = 16 << 20;
/// Bytes of a text's prefix that statistics keep.
pub const TEXT_PREFIX_BYTES: usize = 16;

/// What a part is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartSpec {
    /// Number of the part, unique in the database.
    pub id: u64,
    /// Table of the rows.
    pub table: TableId,
    /// Light at flush, dense at merge.
    pub level: Level,
    /// Log positions whose rows are inside; ages a cell against other parts.
    pub positions: RangeInclusive<u64>,
    /// The partition that holds all rows; `None` when the part may span several.
    pub partition: Option<TimeRange>,
    /// Columns that may be written, each once, in any order.
    pub columns: Vec<(ColumnId, PhysicalType)>,
}

/// What a part is, from its header and footer.
#[derive(Clone, Debug, PartialEq)]
pub struct PartMeta {
    /// Number of the part.
    pub id: u64,
    /// Table of the rows.
    pub table: TableId,
    /// Effort it was written with.
    pub level: Level,
    /// Log positions whose rows are inside.
    pub positions: RangeInclusive<u64>,
    /// The partition that holds all rows, if there is one.
    pub partition: Option<TimeRange>,
    /// Rows.
    pub rows: u64,
    /// Least series number; 0 in a part without rows.
    pub series_min: u32,
    /// Greatest series number; 0 in a part without rows.
    pub series_max: u32,
    /// Distinct series.
    pub series_count: u32,
    /// Times of the rows; empty in a part without rows.
    pub times: TimeRange,
    /// Row groups.
    pub groups: u32,
    /// Length of the file.
    pub bytes: u64,
    /// Bytes of the file that are neither header nor blocks.
    pub index_bytes: u64,
    /// Bytes of the key blocks: times and series.
    pub key_bytes: u64,
    /// Columns in ascending number.
    pub columns: Vec<PartColumn>,
}

/// Totals of one column over a part.
#[derive(Clone, Debug, PartialEq)]
pub struct PartColumn {
    /// Number of the column.
    pub id: ColumnId,
    /// How its values are held in this part.
    pub physical: PhysicalType,
    /// Values of good quality.
    pub good: u64,
    /// Values of another quality.
    pub not_good: u64,
    /// Nulls of any quality. The cells left over are absent.
    pub nulls: u64,
    /// Bytes of the column's blocks.
    pub bytes: u64,
    /// Range of the values.
    pub range: ColumnRange,
}

/// Range of a column's values, of every quality.
#[derive(Clone, Debug, PartialEq)]
pub enum ColumnRange {
    /// There is no value.
    Empty,
    /// Integers; booleans as 0 and 1.
    Int {
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
    },
    /// Floats. Where every value is NaN, `min` is +∞ and `max` is -∞.
    Float {
        /// Least value that is not NaN.
        min: f64,
        /// Greatest value that is not NaN.
        max: f64,
        /// Whether a value is NaN.
        nan: bool,
    },
    /// Text and bytes.
    Bytes(TextRange),
}

/// Range of byte strings by prefixes of at most [`TEXT_PREFIX_BYTES`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextRange {
    /// At most the least value, which starts with it.
    pub min: Vec<u8>,
    /// Start of the greatest value.
    pub max: Vec<u8>,
    /// Whether the greatest value goes on after `max`.
    pub max_cut: bool,
}

impl TextRange {
    /// Whether `value` may be in the range.
    pub fn may_hold(&self, value: &[u8]) -> bool {
        let below_max = value <= &self.max[..] || (self.max_cut && value.starts_with(&self.max));
        &self.min[..] <= value && below_max
    }

    /// The range of one value.
    pub(crate) fn of(value: &[u8]) -> TextRange {
        let prefix = &value[..value.len().min(TEXT_PREFIX_BYTES)];
        TextRange {
            min: prefix.to_vec(),
            max: prefix.to_vec(),
            max_cut: prefix.len() < value.len(),
        }
    }

    /// Widens the range over another.
    pub(crate) fn cover(&mut self, other: &TextRange) {
        if other.min < self.min {
            self.min.clone_from(&other.min);
        }
        match other.max.cmp(&self.max) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => self.max_cut |= other.max_cut,
            std::cmp::Ordering::Greater => {
                self.max.clone_from(&other.max);
                self.max_cut = other.max_cut;
            }
        }
    }
}

impl ColumnRange {
    /// Widens the range over another of the same kind.
    pub(crate) fn cover(&mut self, other: &ColumnRange) {
        match (&mut *self, other) {
            (_, ColumnRange::Empty) => {}
            (ColumnRange::Int { min, max }, ColumnRange::Int { min: a, max: b }) => {
                *min = *a.min(min);
                *max = *b.max(max);
            }
            (
                ColumnRange::Float { min, max, nan },
                ColumnRange::Float { min: a, max: b, nan: n },
            ) => {
                if *a < *min {
                    *min = *a;
                }
                if *b > *max {
                    *max = *b;
                }
                *nan |= n;
            }
            (ColumnRange::Bytes(range), ColumnRange::Bytes(other)) => range.cover(other),
            (_, other) => *self = other.clone(),
        }
    }
}
