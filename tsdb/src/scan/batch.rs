//! Batches as a stream gives them to readers that need no copy of what is held decoded.

use std::ops::Range;
use std::sync::Arc;

use crate::types::{CellState, Column, ColumnBuilder, ColumnId, Rows, SeriesRows, Values};

/// Cells of one column of a batch.
#[derive(Clone, Debug)]
pub enum Cells {
    /// Made for this batch.
    Own(Column),
    /// Some of a column that is held decoded, perhaps for others too.
    Held(Arc<Column>, Range<usize>),
}

impl Cells {
    /// Number of cells.
    pub fn len(&self) -> usize {
        match self {
            Cells::Own(column) => column.len(),
            Cells::Held(_, rows) => rows.len(),
        }
    }

    /// Whether there is no cell.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Values among which the cells lie, and where.
    pub fn values(&self) -> (&Values, Range<usize>) {
        match self {
            Cells::Own(column) => (&column.values, 0..column.len()),
            Cells::Held(column, rows) => (&column.values, rows.clone()),
        }
    }

    /// State bytes of the cells ([`CellState`]); `None` when every cell is a good value, though not
    /// always then.
    pub fn states(&self) -> Option<&[u8]> {
        match self {
            Cells::Own(column) => column.states.as_deref(),
            Cells::Held(column, rows) => Some(&column.states.as_ref()?[rows.clone()]),
        }
    }

    /// State of the cell at `index`.
    pub fn state(&self, index: usize) -> CellState {
        self.states().map_or(CellState::GOOD, |states| CellState(states[index]))
    }

    /// The cells as a column of their own.
    pub fn into_column(self) -> Column {
        match self {
            Cells::Own(column) => column,
            Cells::Held(column, rows) => {
                let mut builder = ColumnBuilder::new(column.values.physical(), rows.len());
                builder.extend_range(&column, rows.start, rows.end);
                builder.finish()
            }
        }
    }
}

/// As [`Rows`], but for cells that may be held by others.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Series in ascending order with their row ranges, without gaps.
    pub series: Vec<SeriesRows>,
    /// Times, ns; ascending inside a series.
    pub times: Vec<i64>,
    /// Columns in the order asked for.
    pub columns: Vec<(ColumnId, Cells)>,
}

impl Batch {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }
}

impl From<Rows> for Batch {
    fn from(rows: Rows) -> Batch {
        let Rows { series, times, columns } = rows;
        let columns = columns.into_iter().map(|(id, column)| (id, Cells::Own(column))).collect();
        Batch { series, times, columns }
    }
}

impl From<Batch> for Rows {
    fn from(batch: Batch) -> Rows {
        let Batch { series, times, columns } = batch;
        let columns = columns.into_iter().map(|(id, cells)| (id, cells.into_column())).collect();
        Rows { series, times, columns }
    }
}
