//! Cells of a COPY on their way into the columns of a write batch.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::timezone::Tz;
use tsdb::Command;
use tsdb::types::{
    CellState, ColumnBuilder, ColumnId, ColumnType, Key, SeriesRef, TableId, TableSchema,
    TimePrecision, ValueRef, WriteBatch,
};

use super::cells::{self, Scalar};
use super::shown;
use crate::error::{QueryError, QueryResult};
use crate::insert::{Target, null_in};
use crate::table::Source;

/// Rows of a batch.
const ROWS_MAX: usize = 100_000;
/// Bytes of a batch: one record of the log, and two of them are held at a time.
const BYTES_MAX: usize = 16 << 20;

/// Collects rows of one table.
pub(super) struct SeriesSink {
    table: Arc<TableSchema>,
    targets: Vec<Target>,
    slots: Vec<Slot>,
    zone: String,
    tz: Tz,
    /// Whether times without an offset are in UTC.
    utc: bool,
    micros: bool,
    time: Option<i64>,
    /// Values of the key columns of the row under way, in ascending id.
    key: Vec<(ColumnId, Vec<u8>)>,
    /// The key in its canonical form, and the series it was in the row before.
    key_bytes: Vec<u8>,
    last: Option<(Vec<u8>, u32)>,
    batch: Batch,
    bytes: usize,
    rows: u64,
    line: u64,
}

/// Where the cells of a column go.
#[derive(Clone, Copy)]
enum Slot {
    Time,
    /// Into the key, at this place of its list.
    Key(usize, ColumnType),
    /// Into this column of the batch.
    Field(usize, ColumnType, bool),
}

#[derive(Default)]
struct Batch {
    series: Vec<SeriesRef>,
    known: HashMap<Box<[u8]>, u32>,
    key_of_row: Vec<u32>,
    times: Vec<i64>,
    columns: Vec<(ColumnId, ColumnBuilder)>,
}

/// A batch on its way out.
pub(super) struct Full {
    pub table: TableId,
    pub command: Command,
    pub bytes: usize,
}

impl SeriesSink {
    pub(super) fn new(
        table: Arc<TableSchema>,
        targets: Vec<Target>,
        zone: &str,
    ) -> QueryResult<SeriesSink> {
        let tz = zone.parse().map_err(|e| QueryError::internal(format!("zone {zone}: {e}")))?;
        let mut ids: Vec<ColumnId> = targets
            .iter()
            .filter_map(|target| match target.source {
                Source::Key(id, _) => Some(id),
                _ => None,
            })
            .collect();
        ids.sort_unstable();
        let mut fields = 0;
        let slots = targets.iter().map(|target| match target.source {
            Source::Key(id, kind) => {
                Slot::Key(ids.iter().position(|other| *other == id).unwrap_or(0), kind)
            }
            Source::Field(_, kind) => {
                fields += 1;
                Slot::Field(fields - 1, kind, target.not_null)
            }
            _ => Slot::Time,
        });
        let slots = slots.collect();
        let mut sink = SeriesSink {
            micros: table.options.precision == TimePrecision::Micros,
            utc: matches!(zone, "+00:00" | "UTC"),
            table,
            targets,
            slots,
            zone: zone.to_owned(),
            tz,
            time: None,
            key: ids.into_iter().map(|id| (id, Vec::new())).collect(),
            key_bytes: Vec::new(),
            last: None,
            batch: Batch::default(),
            bytes: 0,
            rows: 0,
            line: 0,
        };
        sink.batch = sink.new_batch();
        Ok(sink)
    }

    fn new_batch(&self) -> Batch {
        let fields = self.targets.iter().filter_map(|target| match target.source {
            Source::Field(id, kind) => Some((id, ColumnBuilder::new(kind.physical(), 0))),
            _ => None,
        });
        Batch { columns: fields.collect(), ..Batch::default() }
    }

    /// Columns of each row.
    pub(super) fn columns(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Zone of times without one.
    pub(super) fn zone(&self) -> &str {
        &self.zone
    }

    /// Rows since the COPY began.
    pub(super) fn rows_in_all(&self) -> u64 {
        self.rows
    }

    pub(super) fn is_full(&self) -> bool {
        self.batch.times.len() >= ROWS_MAX || self.bytes >= BYTES_MAX
    }

    /// Goes on by lines of the input (rows, in the binary format), for errors.
    pub(super) fn next_line(&mut self, lines: u64) {
        self.line += lines;
    }

    pub(super) fn table(&self) -> &Arc<TableSchema> {
        &self.table
    }

    /// The batch under way, if it holds rows.
    pub(super) fn take(&mut self) -> Option<Full> {
        if self.batch.times.is_empty() {
            return None;
        }
        let empty = self.new_batch();
        let batch = std::mem::replace(&mut self.batch, empty);
        self.last = None;
        let columns = batch.columns.into_iter().map(|(id, builder)| (id, builder.finish()));
        let command = Command::Write(WriteBatch {
            table: self.table.id,
            series: batch.series,
            key_of_row: batch.key_of_row,
            times: batch.times,
            columns: columns.collect(),
        });
        let bytes = std::mem::take(&mut self.bytes);
        Some(Full { table: self.table.id, command, bytes })
    }

    /// Takes a cell in text; `None` is NULL.
    pub(super) fn text(&mut self, at: usize, cell: Option<&[u8]>) -> QueryResult<()> {
        let Some(slot) = self.slots.get(at).copied() else {
            let error = QueryError::new("22P04", "extra data after last expected column");
            return Err(self.at_line(error));
        };
        let done = match (slot, cell) {
            (_, None) => self.null(at, slot),
            (Slot::Time, Some(cell)) => {
                cells::time(cell, &self.tz, self.utc).map(|ns| self.put_time(ns))
            }
            (Slot::Key(_, ColumnType::Text) | Slot::Field(_, ColumnType::Text, _), Some(cell)) => {
                cells::check_text(cell).and_then(|()| self.put(slot, ValueRef::Bytes(cell)))
            }
            (Slot::Key(_, kind) | Slot::Field(_, kind, _), Some(cell)) => {
                cells::scalar(cell, kind, &self.tz, self.utc)
                    .and_then(|value| self.put(slot, value.as_ref()))
            }
        };
        done.map_err(|error| self.at_cell(error, at, cell))
    }

    /// Takes a cell in Postgres' binary form; `None` is NULL.
    pub(super) fn binary(&mut self, at: usize, cell: Option<&[u8]>) -> QueryResult<()> {
        let Some(slot) = self.slots.get(at).copied() else {
            return Err(QueryError::internal("a binary row of too many columns"));
        };
        let done = match (slot, cell) {
            (_, None) => self.null(at, slot),
            (Slot::Time, Some(cell)) => match cells::binary(cell, ColumnType::Timestamp) {
                Ok(Scalar::Int(ns)) => {
                    self.put_time(ns);
                    Ok(())
                }
                Ok(_) => Err(QueryError::internal("a time that is no number")),
                Err(error) => Err(error),
            },
            (Slot::Key(_, ColumnType::Text) | Slot::Field(_, ColumnType::Text, _), Some(cell)) => {
                cells::check_text(cell).and_then(|()| self.put(slot, ValueRef::Bytes(cell)))
            }
            (
                Slot::Key(_, ColumnType::Bytes) | Slot::Field(_, ColumnType::Bytes, _),
                Some(cell),
            ) => self.put(slot, ValueRef::Bytes(cell)),
            (Slot::Key(_, kind) | Slot::Field(_, kind, _), Some(cell)) => {
                cells::binary(cell, kind).and_then(|value| self.put(slot, value.as_ref()))
            }
        };
        done.map_err(|error| self.at_column(error, at))
    }

    /// Takes a cell that is a value already; `None` is NULL.
    pub(super) fn value(&mut self, at: usize, cell: Option<ValueRef<'_>>) -> QueryResult<()> {
        let Some(slot) = self.slots.get(at).copied() else {
            return Err(QueryError::internal("a row of too many columns"));
        };
        let done = match (slot, cell) {
            (_, None) => self.null(at, slot),
            (Slot::Time, Some(ValueRef::Int(ns))) => {
                self.put_time(ns);
                Ok(())
            }
            (_, Some(value)) => self.put(slot, value),
        };
        done.map_err(|error| self.at_column(error, at))
    }

    fn put_time(&mut self, ns: i64) {
        self.time = Some(if self.micros { ns.div_euclid(1_000) * 1_000 } else { ns });
    }

    fn null(&mut self, at: usize, slot: Slot) -> QueryResult<()> {
        let name = || self.targets.get(at).map_or("", |target| target.name.as_str());
        match slot {
            Slot::Time | Slot::Field(_, _, true) => Err(null_in(name(), &self.table.name)),
            // A missing key value is left out.
            Slot::Key(..) => Ok(()),
            Slot::Field(column, ..) => {
                self.bytes += 8;
                self.column(column)?.push(CellState::NULL, ValueRef::Int(0));
                Ok(())
            }
        }
    }

    fn put(&mut self, slot: Slot, value: ValueRef<'_>) -> QueryResult<()> {
        match slot {
            Slot::Time => Err(QueryError::internal("a time among the values")),
            Slot::Key(place, _) => {
                let Some((_, bytes)) = self.key.get_mut(place) else {
                    return Err(QueryError::internal("a key column went missing"));
                };
                match value {
                    ValueRef::Int(v) => bytes.extend_from_slice(&v.to_le_bytes()),
                    ValueRef::Float(v) => bytes.extend_from_slice(&v.to_bits().to_le_bytes()),
                    ValueRef::Bool(v) => bytes.push(u8::from(v)),
                    ValueRef::Bytes(v) => bytes.extend_from_slice(v),
                }
                Ok(())
            }
            Slot::Field(column, ..) => {
                self.bytes += 8 + if let ValueRef::Bytes(v) = value { v.len() } else { 0 };
                self.column(column)?.push_good(value);
                Ok(())
            }
        }
    }

    fn column(&mut self, at: usize) -> QueryResult<&mut ColumnBuilder> {
        match self.batch.columns.get_mut(at) {
            Some((_, column)) => Ok(column),
            None => Err(QueryError::internal("a column went missing")),
        }
    }

    /// Ends a row of `count` cells.
    pub(super) fn end_row(&mut self, count: usize) -> QueryResult<()> {
        if let Some(missing) = self.targets.get(count) {
            let message = format!("missing data for column \"{}\"", missing.name);
            return Err(self.at_line(QueryError::new("22P04", message)));
        }
        let Some(time) = self.time.take() else {
            return Err(self.at_line(null_in(&self.table.time_name, &self.table.name)));
        };
        // The canonical form of a key: see `Key`.
        self.key_bytes.clear();
        for (id, value) in &mut self.key {
            if !value.is_empty() {
                self.key_bytes.extend_from_slice(&id.to_le_bytes());
                self.key_bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
                self.key_bytes.extend_from_slice(value);
                value.clear();
            }
        }
        let series = self.series()?;
        self.batch.key_of_row.push(series);
        self.batch.times.push(time);
        self.bytes += 12;
        self.rows += 1;
        Ok(())
    }

    /// Number of the row's key in the batch.
    fn series(&mut self) -> QueryResult<u32> {
        if let Some((bytes, series)) = &self.last
            && *bytes == self.key_bytes
        {
            return Ok(*series);
        }
        let series = match self.batch.known.get(self.key_bytes.as_slice()) {
            Some(series) => *series,
            None => {
                let Some(key) = Key::from_bytes(&self.key_bytes) else {
                    return Err(QueryError::internal("a key that is not canonical"));
                };
                let series = self.batch.series.len() as u32;
                self.bytes += 2 * self.key_bytes.len() + 32;
                self.batch.series.push(SeriesRef::Key(key));
                self.batch.known.insert(self.key_bytes.as_slice().into(), series);
                series
            }
        };
        let (bytes, last) = self.last.get_or_insert_with(Default::default);
        bytes.clone_from(&self.key_bytes);
        *last = series;
        Ok(series)
    }

    /// Compares the names of a header line with the columns.
    pub(super) fn check_header<'a>(
        &self,
        names: impl Iterator<Item = &'a [u8]>,
    ) -> QueryResult<()> {
        let names: Vec<&[u8]> = names.collect();
        let same = names.len() == self.targets.len()
            && self.targets.iter().zip(&names).all(|(t, name)| t.name.as_bytes() == *name);
        if same {
            return Ok(());
        }
        let expected: Vec<&str> = self.targets.iter().map(|t| t.name.as_str()).collect();
        let message = "the names of the header line are not those of the columns";
        let error = QueryError::new("22P04", message)
            .with_hint(format!("The columns are {}.", expected.join(", ")));
        Err(self.at_line(error))
    }

    /// The error with the line it is in.
    pub(super) fn at_line(&self, error: QueryError) -> QueryError {
        let place = format!("COPY {}, line {}", self.table.name, self.line);
        self.placed(error, place)
    }

    pub(super) fn at_column(&self, error: QueryError, at: usize) -> QueryError {
        let name = self.targets.get(at).map_or("", |target| target.name.as_str());
        self.placed(error, format!("COPY {}, line {}, column {name}", self.table.name, self.line))
    }

    fn at_cell(&self, error: QueryError, at: usize, cell: Option<&[u8]>) -> QueryError {
        let mut error = self.at_column(error, at);
        if let (Some(cell), Some(detail)) = (cell, &mut error.detail) {
            detail.push_str(&format!(": \"{}\"", shown(cell)));
        }
        error
    }

    fn placed(&self, error: QueryError, place: String) -> QueryError {
        match error.detail {
            Some(_) => error,
            None => error.with_detail(place),
        }
    }
}
