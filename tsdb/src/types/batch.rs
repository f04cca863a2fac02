//! Rows in columns: what writers hand in and what scans give back.

use super::column::Column;
use super::key::Key;
use super::schema::{ColumnId, TableId};

/// How a write names a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeriesRef {
    /// A series that the engine has already shown to readers.
    Known(u32),
    /// A key; apply finds its series or makes one.
    Key(Key),
}

/// Rows of one series inside a batch: `start..start + rows`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesRows {
    /// Number of the series (in a [`WriteBatch`]: index into its `series` list).
    pub series: u32,
    /// First row.
    pub start: u32,
    /// Number of rows, at least 1.
    pub rows: u32,
}

/// Rows of one table as a writer hands them in.
///
/// Rows may come in any order; rows of one (series, time) count in the order given, later wins.
/// All columns have as many cells as there are times; `key_of_row[i]` indexes `series`.
#[derive(Clone, Debug, PartialEq)]
pub struct WriteBatch {
    /// Table written to.
    pub table: TableId,
    /// The distinct series of the batch.
    pub series: Vec<SeriesRef>,
    /// For each row its index into `series`.
    pub key_of_row: Vec<u32>,
    /// For each row its time, ns.
    pub times: Vec<i64>,
    /// Field columns, each at most once; a field not listed is absent in every row.
    pub columns: Vec<(ColumnId, Column)>,
}

/// Rows sorted by (series, time), series numbers resolved. In `append` tables equal times stay
/// in the order of writing; otherwise (series, time) is unique.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Rows {
    /// Series in ascending order with their row ranges, without gaps.
    pub series: Vec<SeriesRows>,
    /// Times, ns; ascending inside a series.
    pub times: Vec<i64>,
    /// Columns in the order asked for (scans) or ascending id (storage).
    pub columns: Vec<(ColumnId, Column)>,
}

impl Rows {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// The column with this number.
    pub fn column(&self, id: ColumnId) -> Option<&Column> {
        self.columns.iter().find(|(c, _)| *c == id).map(|(_, column)| column)
    }

    /// Bytes held in memory.
    pub fn memory(&self) -> usize {
        self.series.capacity() * 12
            + self.times.capacity() * 8
            + self.columns.iter().map(|(_, c)| c.memory() + 8).sum::<usize>()
    }
}
