//! Rows that a query gives, as those of a table without a key, for commits that follow one another.

use std::sync::Arc;

use arrow::array::RecordBatch;
use tsdb::rows::RowChange;

use super::arrays;
use super::def::{SPACE_ROWS, TableDef};
use super::writer::{Row, Table, row_key};
use crate::error::{QueryError, QueryResult};

/// Rows, and about how many bytes, of one commit.
const ROWS_FULL: usize = 100_000;
const BYTES_FULL: usize = 16 << 20;

/// Rows that wait to be committed.
pub(crate) struct Filler {
    table: Table,
    zone: String,
    count: u64,
    changes: Vec<RowChange>,
    bytes: usize,
}

impl Filler {
    /// Of a table in a session of a zone.
    pub(crate) fn new(def: &Arc<TableDef>, zone: &str) -> QueryResult<Filler> {
        let (table, zone) = (Table::new(def)?, zone.to_string());
        Ok(Filler { table, zone, count: 0, changes: Vec::new(), bytes: 0 })
    }

    /// Takes rows in, whose values are assigned to the columns in their order.
    pub(crate) fn push(&mut self, batch: &RecordBatch) -> QueryResult<()> {
        let columns = &self.table.def.columns;
        if batch.num_columns() != columns.len() {
            return Err(QueryError::internal("rows of another width"));
        }
        let mut rows: Vec<Row> = Vec::new();
        rows.resize_with(batch.num_rows(), || Vec::with_capacity(columns.len()));
        for (array, column) in batch.columns().iter().zip(columns) {
            let values = arrays::assign(array, (&column.name, column.kind), &self.zone)?;
            for (row, value) in rows.iter_mut().zip(values) {
                row.push(value);
            }
        }
        for row in &rows {
            self.count += 1;
            let key = row_key(&self.table.def, &self.count.to_be_bytes());
            let value = self.table.encode(row)?;
            self.bytes += key.len() + value.len();
            self.changes.push(RowChange::Put { space: SPACE_ROWS, key, value });
        }
        Ok(())
    }

    /// Whether what waits is enough for a commit.
    pub(crate) fn is_full(&self) -> bool {
        self.changes.len() >= ROWS_FULL || self.bytes >= BYTES_FULL
    }

    /// What waits.
    pub(crate) fn take(&mut self) -> Vec<RowChange> {
        self.bytes = 0;
        std::mem::take(&mut self.changes)
    }

    /// Rows taken in so far.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}
