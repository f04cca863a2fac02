//! Rows on their way into write batches.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampNanosecondType,
};
use datafusion::scalar::ScalarValue;
use tsdb::Command;
use tsdb::types::{
    CellState, ColumnBuilder, ColumnId, ColumnType, Key, SeriesRef, TableId, TableSchema,
    TimePrecision, ValueRef, WriteBatch,
};

use super::{Target, null_in};
use crate::error::{QueryError, QueryResult};
use crate::plan::uuids;
use crate::table::{Source, arrow_type};
use crate::uuid::UUID_TYPE;

/// Rows a write batch; one INSERT may make several, all in one record.
const BATCH_ROWS_MAX: usize = 65_536;

/// A value on its way into a column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Absent,
    Null,
    Int(i64),
    Float(f64),
    Bool(bool),
    Bytes(Vec<u8>),
}

impl Cell {
    pub(crate) fn value(&self) -> Option<ValueRef<'_>> {
        match self {
            Cell::Absent | Cell::Null => None,
            Cell::Int(v) => Some(ValueRef::Int(*v)),
            Cell::Float(v) => Some(ValueRef::Float(*v)),
            Cell::Bool(v) => Some(ValueRef::Bool(*v)),
            Cell::Bytes(v) => Some(ValueRef::Bytes(v)),
        }
    }
}

/// Collects rows of one table.
pub(crate) struct RowsBuilder<'a> {
    table: &'a TableSchema,
    targets: &'a [Target],
    zone: String,
    micros: bool,
    /// The row under way: time and key values.
    time: Option<i64>,
    key: Vec<(ColumnId, Vec<u8>)>,
    batch: Batch,
    done: Vec<Command>,
    count: u64,
    bytes: usize,
}

#[derive(Default)]
struct Batch {
    series: Vec<SeriesRef>,
    known: HashMap<Key, u32>,
    key_of_row: Vec<u32>,
    times: Vec<i64>,
    columns: Vec<(ColumnId, ColumnBuilder)>,
}

impl Batch {
    fn new(targets: &[Target]) -> Batch {
        let fields = targets.iter().filter_map(|t| match t.source {
            Source::Field(id, kind) => Some((id, ColumnBuilder::new(kind.physical(), 0))),
            _ => None,
        });
        Batch { columns: fields.collect(), ..Batch::default() }
    }

    fn finish(self, table: TableId) -> Command {
        Command::Write(WriteBatch {
            table,
            series: self.series,
            key_of_row: self.key_of_row,
            times: self.times,
            columns: self.columns.into_iter().map(|(id, b)| (id, b.finish())).collect(),
        })
    }
}

impl<'a> RowsBuilder<'a> {
    pub(crate) fn new(
        table: &'a TableSchema,
        targets: &'a [Target],
        zone: &str,
    ) -> QueryResult<RowsBuilder<'a>> {
        Ok(RowsBuilder {
            table,
            targets,
            zone: zone.to_string(),
            micros: table.options.precision == TimePrecision::Micros,
            time: None,
            key: Vec::new(),
            batch: Batch::new(targets),
            done: Vec::new(),
            count: 0,
            bytes: 0,
        })
    }

    pub(super) fn targets(&self) -> &'a [Target] {
        self.targets
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// About what the rows hold.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Puts a cell of the row under way into the column of target `at`.
    pub(super) fn push_cell(&mut self, at: usize, cell: Cell) -> QueryResult<()> {
        let target = &self.targets[at];
        let empty = matches!(cell, Cell::Null | Cell::Absent);
        self.bytes += 8 + if let Cell::Bytes(b) = &cell { b.len() } else { 0 };
        match target.source {
            Source::Time => match cell {
                Cell::Int(ns) if self.micros => self.time = Some(ns.div_euclid(1_000) * 1_000),
                Cell::Int(ns) => self.time = Some(ns),
                _ => return Err(null_in(&target.name, &self.table.name)),
            },
            Source::Key(id, _) => {
                if let Some(value) = cell.value() {
                    self.key.push((id, Key::encode_value(value)));
                }
            }
            Source::Field(id, _) => {
                if empty && target.not_null {
                    return Err(null_in(&target.name, &self.table.name));
                }
                let Some((_, column)) = self.batch.columns.iter_mut().find(|(c, _)| *c == id)
                else {
                    return Err(QueryError::internal("a column went missing"));
                };
                match (cell.value(), &cell) {
                    (Some(value), _) => column.push_good(value),
                    (None, Cell::Null) => column.push(CellState::NULL, ValueRef::Int(0)),
                    (None, _) => column.push_absent(1),
                }
            }
            Source::Quality(_) | Source::Series | Source::Nanos | Source::Nth => {}
        }
        Ok(())
    }

    /// Ends the row under way.
    pub(super) fn end_row(&mut self) -> QueryResult<()> {
        let Some(time) = self.time.take() else {
            return Err(null_in(&self.table.time_name, &self.table.name));
        };
        let key = Key::new(self.key.iter().map(|(id, v)| (*id, v.as_slice())));
        self.key.clear();
        let series = match self.batch.known.get(&key) {
            Some(series) => *series,
            None => {
                let series = self.batch.series.len() as u32;
                self.bytes += key.as_bytes().len() + 16;
                self.batch.series.push(SeriesRef::Key(key.clone()));
                self.batch.known.insert(key, series);
                series
            }
        };
        self.batch.key_of_row.push(series);
        self.batch.times.push(time);
        self.bytes += 12;
        self.count += 1;
        if self.batch.times.len() >= BATCH_ROWS_MAX {
            let full = std::mem::replace(&mut self.batch, Batch::new(self.targets));
            self.done.push(full.finish(self.table.id));
        }
        Ok(())
    }

    /// Appends all rows of a query's batch; columns are those of the targets, in order.
    pub(crate) fn push_batch(&mut self, batch: &RecordBatch) -> QueryResult<()> {
        let mut columns = Vec::with_capacity(self.targets.len());
        for (target, array) in self.targets.iter().zip(batch.columns()) {
            columns.push(assign(array, target, &self.zone)?);
        }
        for row in 0..batch.num_rows() {
            for (at, array) in columns.iter().enumerate() {
                self.push_cell(at, cell(array, row, self.targets[at].kind)?)?;
            }
            self.end_row()?;
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Vec<Command> {
        if !self.batch.times.is_empty() {
            self.done.push(self.batch.finish(self.table.id));
        }
        self.done
    }
}

/// A query's column as one of the target's type, by the rules of assignment.
pub(crate) fn assign(array: &ArrayRef, target: &Target, zone: &str) -> QueryResult<ArrayRef> {
    let from = array.data_type();
    let to = match (target.kind, from) {
        // Nanoseconds pass as they are.
        (ColumnType::Timestamp, DataType::Timestamp(TimeUnit::Nanosecond, _)) => {
            DataType::Timestamp(TimeUnit::Nanosecond, Some(zone.into()))
        }
        _ => arrow_type(target.kind, zone),
    };
    let is_text = from.is_string() || from.is_null();
    let fits = is_text
        || match target.kind {
            ColumnType::Text => true,
            ColumnType::Bool => matches!(from, DataType::Boolean),
            ColumnType::Timestamp => {
                matches!(from, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64)
            }
            ColumnType::Bytes => from.is_binary() && *from != UUID_TYPE,
            _ => from.is_numeric(),
        };
    if !fits {
        let message = format!(
            "column \"{}\" is of type {} but expression is of type {}",
            target.name,
            target.kind,
            uuids::shown(from),
        );
        return Err(QueryError::new("42804", message)
            .with_hint("You will need to rewrite or cast the expression."));
    }
    let array = match (from.is_floating(), target.kind) {
        // Postgres rounds floats for integer columns (to even), Arrow would cut.
        (true, ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64) => round(array)?,
        _ => array.clone(),
    };
    let array = match *from == UUID_TYPE {
        true => crate::functions::uuid::written(&array)?,
        false => array,
    };
    if *array.data_type() == to {
        return Ok(array);
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    Ok(cast_with_options(&array, &to, &options)?)
}

fn round(array: &ArrayRef) -> QueryResult<ArrayRef> {
    let floats = arrow::compute::cast(array, &DataType::Float64)?;
    let floats = floats.as_primitive::<Float64Type>();
    let rounded: arrow::array::Float64Array = floats.unary(f64::round_ties_even);
    Ok(std::sync::Arc::new(rounded))
}

/// One cell of a column that [`assign`] has made.
pub(crate) fn cell(array: &ArrayRef, row: usize, kind: ColumnType) -> QueryResult<Cell> {
    if array.is_null(row) {
        return Ok(Cell::Null);
    }
    Ok(match kind {
        ColumnType::Bool => Cell::Bool(array.as_boolean().value(row)),
        ColumnType::Int16 => Cell::Int(array.as_primitive::<Int16Type>().value(row).into()),
        ColumnType::Int32 => Cell::Int(array.as_primitive::<Int32Type>().value(row).into()),
        ColumnType::Int64 => Cell::Int(array.as_primitive::<Int64Type>().value(row)),
        ColumnType::Float32 => Cell::Float(array.as_primitive::<Float32Type>().value(row).into()),
        ColumnType::Float64 => Cell::Float(array.as_primitive::<Float64Type>().value(row)),
        ColumnType::Text => Cell::Bytes(array.as_string_view().value(row).as_bytes().to_vec()),
        ColumnType::Bytes => Cell::Bytes(array.as_binary::<i32>().value(row).to_vec()),
        ColumnType::Timestamp => match array.data_type() {
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                Cell::Int(array.as_primitive::<TimestampNanosecondType>().value(row))
            }
            _ => {
                let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
                match micros.checked_mul(1_000) {
                    Some(ns) => Cell::Int(ns),
                    None => return Err(QueryError::new("22008", "timestamp out of range")),
                }
            }
        },
    })
}

/// A parameter's value as a cell of a column.
pub(super) fn scalar_cell(value: &ScalarValue, kind: ColumnType) -> QueryResult<Cell> {
    let array = value.to_array()?;
    let target = Target { name: "parameter".into(), source: Source::Time, kind, not_null: false };
    cell(&assign(&array, &target, "+00:00")?, 0, kind)
}
