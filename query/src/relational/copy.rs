//! COPY FROM STDIN into relational tables: all rows are one statement, which is done when the last
//! has come.

use std::sync::Arc;

use arrow::array::timezone::Tz;
use chrono::DateTime;
use tsdb::types::ColumnType;

use super::arrays::parse_zone;
use super::conflict::OnConflict;
use super::def::TableDef;
use super::insert::{Given, Job, complete, no_column, too_many, work};
use super::kind::{Datum, Kind};
use super::writer::{BYTES_MAX, ROWS_MAX};
use crate::copy::cells;
use crate::error::{QueryError, QueryResult};
use crate::insert::rows::Cell;
use crate::rights::security::For;
use crate::session::Session;

/// Days from 1970 to 2000, where Postgres counts from.
const EPOCH_2000_DAYS: i64 = 10_957;
/// µs of them.
const EPOCH_2000_US: i64 = EPOCH_2000_DAYS * 86_400_000_000;

/// Rows on their way into a table.
pub(crate) struct CopyRows {
    pub(crate) def: Arc<TableDef>,
    targets: Vec<usize>,
    tz: Tz,
    utc: bool,
    row: Vec<Option<Datum>>,
    rows: Vec<Given>,
    bytes: usize,
}

impl CopyRows {
    pub(crate) fn new(def: Arc<TableDef>, names: &[String], zone: &str) -> QueryResult<CopyRows> {
        let mut targets: Vec<usize> = Vec::with_capacity(names.len());
        for name in names {
            let place = def.place(name).ok_or_else(|| no_column(&def, name))?;
            if targets.contains(&place) {
                let message = format!("column \"{name}\" specified more than once");
                return Err(QueryError::new("42701", message));
            }
            targets.push(place);
        }
        if names.is_empty() {
            targets = (0..def.columns.len()).collect();
        }
        let (row, rows, bytes) = (Vec::new(), Vec::new(), 0);
        let utc = matches!(zone, "+00:00" | "UTC");
        Ok(CopyRows { tz: parse_zone(zone)?, utc, def, targets, row, rows, bytes })
    }

    /// Columns of each row.
    pub(crate) fn columns(&self) -> usize {
        self.targets.len()
    }

    /// Name of a column.
    pub(crate) fn name(&self, at: usize) -> &str {
        self.targets.get(at).map_or("", |place| self.def.columns[*place].name.as_str())
    }

    /// Whether a column is `bytea`.
    pub(crate) fn is_bytes(&self, at: usize) -> bool {
        self.kind(at).is_ok_and(|kind| kind == Kind::Bytes)
    }

    /// Whether a column is `uuid`.
    pub(crate) fn is_uuid(&self, at: usize) -> bool {
        self.kind(at).is_ok_and(|kind| kind == Kind::Uuid)
    }

    /// Whether a column is `boolean`.
    pub(crate) fn is_bool(&self, at: usize) -> bool {
        self.kind(at).is_ok_and(|kind| kind == Kind::Bool)
    }

    pub(crate) fn count(&self) -> u64 {
        self.rows.len() as u64
    }

    fn kind(&self, at: usize) -> QueryResult<Kind> {
        let place = self.targets.get(at);
        let place = place.ok_or_else(|| QueryError::internal("a row of too many columns"))?;
        Ok(self.def.columns[*place].kind)
    }

    fn push(&mut self, value: Datum) {
        self.bytes += value.bytes();
        self.row.push(Some(value));
    }

    /// Takes a cell in text; `None` is NULL.
    pub(crate) fn text(&mut self, at: usize, cell: Option<&[u8]>) -> QueryResult<()> {
        let kind = self.kind(at)?;
        let value = match (cell, kind.base()) {
            (None, _) => Datum::Null,
            (Some(cell), Some(ColumnType::Text)) => {
                cells::check_text(cell)?;
                kind.of_cell(Cell::Bytes(cell.to_vec()))?
            }
            (Some(cell), Some(base)) => {
                kind.of_cell(cells::scalar(cell, base, &self.tz, self.utc)?.into_cell())?
            }
            (Some(cell), None) => kind.parse(cells::as_text(cell)?, &self.tz)?,
        };
        self.push(value);
        Ok(())
    }

    /// Takes a cell in Postgres' binary form; `None` is NULL.
    pub(crate) fn binary(&mut self, at: usize, cell: Option<&[u8]>) -> QueryResult<()> {
        let kind = self.kind(at)?;
        let value = match (cell, kind) {
            (None, _) => Datum::Null,
            (Some(cell), Kind::Date) => {
                let days = big_endian::<4>(cell)? + EPOCH_2000_DAYS;
                // What cannot be shown cannot be read either.
                let shown = days.checked_mul(86_400).and_then(|s| DateTime::from_timestamp(s, 0));
                Datum::Int(shown.map(|_| days).ok_or_else(|| out_of_range("date"))?)
            }
            (Some(cell), Kind::Uuid) => Datum::Uuid(cell.try_into().map_err(|_| malformed())?),
            (Some(cell), Kind::Timestamp) => {
                let micros = big_endian::<8>(cell)?.checked_add(EPOCH_2000_US);
                let micros = micros.filter(|us| DateTime::from_timestamp_micros(*us).is_some());
                Datum::Int(micros.ok_or_else(|| out_of_range("timestamp"))?)
            }
            (Some(_), Kind::Numeric(..)) => {
                return Err(QueryError::unsupported("numeric in binary COPY FROM")
                    .with_hint("Use the text or CSV format."));
            }
            (Some(cell), kind) => match kind.base() {
                Some(ColumnType::Text) => {
                    cells::check_text(cell)?;
                    kind.of_cell(Cell::Bytes(cell.to_vec()))?
                }
                Some(ColumnType::Bytes) => Datum::Bytes(cell.to_vec()),
                Some(base) => kind.of_cell(cells::binary(cell, base)?.into_cell())?,
                None => return Err(QueryError::internal("a type without a binary form")),
            },
        };
        self.push(value);
        Ok(())
    }

    /// Ends a row.
    pub(crate) fn end_row(&mut self) -> QueryResult<()> {
        self.rows.push(std::mem::take(&mut self.row));
        if self.rows.len() > ROWS_MAX {
            return Err(too_many());
        }
        if self.bytes > BYTES_MAX {
            return Err(QueryError::new(
                "54000",
                "one COPY may write at most 64 MiB to a relational table",
            )
            .with_hint("Copy the rows in several pieces."));
        }
        Ok(())
    }

    /// Writes all rows.
    pub(crate) async fn finish(&mut self, session: &Session) -> QueryResult<u64> {
        let count = self.count();
        let (def, rows) = (self.def.clone(), std::mem::take(&mut self.rows));
        let context = session.context("");
        let mut rows = complete(session, &context, &def, &self.targets, rows).await?;
        super::check_written(session, &def, For::Insert, false, &rows).await?;
        let mut tries = 0;
        loop {
            let context = session.context("");
            let relations = context.relations()?;
            let now = relations.by_number(def.number).filter(|now| now.revision == def.revision);
            let Some(def) = now.cloned() else { return Err(QueryError::conflict()) };
            let snapshot = context.snapshot.clone();
            let (on, called) = (OnConflict::Error, None);
            let job = Job { context, def, rows, on, called, params: Vec::new() };
            let (job, done) = work(session, job).await?;
            rows = job.rows;
            match session.write_rows(snapshot, done.pending).await {
                Err(error) if super::again(session, &error, &mut tries).await => {}
                written => return written.map(|()| count),
            }
        }
    }
}

fn malformed() -> QueryError {
    QueryError::new("22P03", "incorrect binary data format")
}

fn big_endian<const N: usize>(cell: &[u8]) -> QueryResult<i64> {
    let bytes = <[u8; N]>::try_from(cell).map_err(|_| malformed())?;
    let negative = bytes[0] & 0x80 != 0;
    let start = if negative { -1i64 } else { 0 };
    Ok(bytes.iter().fold(start, |value, byte| value << 8 | i64::from(*byte)))
}

fn out_of_range(what: &str) -> QueryError {
    QueryError::new("22008", format!("{what} out of range"))
}
