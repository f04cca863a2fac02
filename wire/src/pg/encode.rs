//! Rows to bytes: DataRow messages straight from Arrow arrays, text or binary by column.
//!
//! A chunk of rows is looked at a column at a time and put together row by row (`slots`); a row's
//! length is known when it is. Nothing here allocates per cell but lists and decimals.

mod cell;
mod slots;

use std::ops::Range;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema};
use query::{QueryError, QueryResult};

use super::backend::error;
use super::out;
use super::types::{is_register, is_text_only, name_of, oid_of_field, size_of};
use query::text::zone::Zone;
use slots::Filler;

/// Bytes one row may take on the wire; clients refuse larger messages.
const ROW_BYTES_MAX: usize = if cfg!(test) { 8 << 20 } else { 0x3fff_ffff };
/// Kind, length and number of columns of a DataRow, bytes.
const ROW_HEADER: usize = 7;
/// Rows for which it is settled at once how their columns are written.
const WINDOW_ROWS: usize = 1024;
/// Rows that are written before it is known how long they are.
const FIRST_ROWS: usize = 16;

/// How a value travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Binary,
}

impl Format {
    /// Reads a format code of Bind.
    pub fn from_code(code: i16) -> QueryResult<Format> {
        match code {
            0 => Ok(Format::Text),
            1 => Ok(Format::Binary),
            _ => Err(error("08P01", format!("unsupported format code: {code}"))),
        }
    }

    fn code(self) -> i16 {
        match self {
            Format::Text => 0,
            Format::Binary => 1,
        }
    }
}

/// The format of each of `count` values, where a message gave none (all text), one (for all) or one
/// for each.
pub fn formats(codes: &[i16], count: usize, what: &str) -> QueryResult<Vec<Format>> {
    match codes {
        [] => Ok(vec![Format::Text; count]),
        [one] => Ok(vec![Format::from_code(*one)?; count]),
        all if all.len() == count => all.iter().map(|code| Format::from_code(*code)).collect(),
        all => Err(error(
            "08P01",
            format!("bind message has {} {what} formats but {count} {what}s", all.len()),
        )),
    }
}

#[derive(Clone, Debug)]
struct Column {
    name: String,
    oid: u32,
    format: Format,
    /// Table or view and number of the column that it is; zeros for none.
    origin: (u32, u16),
}

impl Column {
    fn wants_number(&self) -> bool {
        self.format == Format::Binary && is_register(self.oid)
    }

    fn text_only(&self) -> QueryError {
        let message = format!("column \"{}\" of type {} in binary", self.name, name_of(self.oid));
        QueryError::unsupported(message).with_hint("Ask for it as text.")
    }
}

/// Table or view and number of the column that a field says it is.
fn origin_of(field: &Field) -> (u32, u16) {
    let told = field.metadata().get(query::PG_ORIGIN).and_then(|told| told.split_once('.'));
    let parsed = told.and_then(|(table, column)| Some((table.parse().ok()?, column.parse().ok()?)));
    parsed.unwrap_or_default()
}

/// Bytes in memory that serves again: what is left of others lies behind them, and has not to be
/// cleared before more is written.
#[derive(Debug, Default)]
pub struct Buffer {
    memory: Vec<u8>,
    used: usize,
}

impl Buffer {
    pub fn len(&self) -> usize {
        self.used
    }

    pub fn as_slice(&self) -> &[u8] {
        self.memory.get(..self.used).unwrap_or_default()
    }

    pub fn clear(&mut self) {
        self.used = 0;
    }

    /// All of the memory, with room for so many bytes more.
    fn room(&mut self, bytes: usize) -> &mut [u8] {
        let all = self.used + bytes;
        if self.memory.len() < all {
            self.memory.resize(all, 0);
        }
        &mut self.memory
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(memory: Vec<u8>) -> Buffer {
        Buffer { used: memory.len(), memory }
    }
}

impl From<Buffer> for Vec<u8> {
    fn from(buffer: Buffer) -> Vec<u8> {
        let Buffer { mut memory, used } = buffer;
        memory.truncate(used);
        memory
    }
}

/// Writes the rows of one result.
#[derive(Clone, Debug)]
pub struct RowEncoder {
    columns: Vec<Column>,
    zone: Zone,
}

impl RowEncoder {
    /// `codes`: result formats as Bind gave them; none means text.
    ///
    /// # Errors
    /// More columns than a message can count (54011), codes that do not fit them (08P01), names of
    /// objects and the like in binary (0A000).
    pub fn new(schema: &Schema, codes: &[i16], zone: Zone) -> QueryResult<RowEncoder> {
        let encoder = RowEncoder::described(schema, codes, zone)?;
        for (column, field) in encoder.columns.iter().zip(schema.fields()) {
            if column.wants_number() && !field.data_type().is_integer() {
                return Err(column.text_only());
            }
        }
        Ok(encoder)
    }

    /// As [`RowEncoder::new`], of a result that is described but not there yet: names of objects
    /// that are wanted in binary will come as numbers.
    ///
    /// # Errors
    /// Those of [`RowEncoder::new`].
    pub fn described(schema: &Schema, codes: &[i16], zone: Zone) -> QueryResult<RowEncoder> {
        let formats = formats(codes, schema.fields().len(), "result column")?;
        if u16::try_from(formats.len()).is_err() {
            return Err(error("54011", "a result may have at most 65535 columns".to_owned()));
        }
        let columns = schema.fields().iter().zip(formats).map(|(field, format)| {
            let (name, oid, origin) = (field.name().clone(), oid_of_field(field), origin_of(field));
            let column = Column { name, oid, format, origin };
            match format == Format::Binary && is_text_only(oid) {
                true => Err(column.text_only()),
                false => Ok(column),
            }
        });
        Ok(RowEncoder { columns: columns.collect::<QueryResult<_>>()?, zone })
    }

    /// Which columns are to come as numbers of objects, not as their names.
    pub fn numbered(&self) -> Vec<bool> {
        self.columns.iter().map(Column::wants_number).collect()
    }

    /// Appends RowDescription.
    pub fn describe(&self, out: &mut Vec<u8>) {
        out::message(out, b'T', |out| {
            out::put_u16(out, self.columns.len() as u16);
            for column in &self.columns {
                out::put_text(out, &column.name);
                out::put_u32(out, column.origin.0);
                out::put_u16(out, column.origin.1);
                out::put_u32(out, column.oid);
                out.extend_from_slice(&size_of(column.oid).to_be_bytes());
                out.extend_from_slice(&(-1i32).to_be_bytes());
                out.extend_from_slice(&column.format.code().to_be_bytes());
            }
        });
    }

    /// The types of the columns, to compare a result with what was described.
    pub fn oids(&self) -> impl Iterator<Item = u32> + '_ {
        self.columns.iter().map(|column| column.oid)
    }

    /// Appends rows of `batch` from row `start` on, at most `rows_max`, until `out` holds
    /// `bytes_full` bytes. Returns the number of rows written, at least one unless none was left.
    ///
    /// # Errors
    /// A batch that is not of the result's shape (XX000); a row above 1 GiB (54000), of which then
    /// nothing remains in `out`.
    pub fn encode(
        &self,
        batch: &RecordBatch,
        start: usize,
        rows_max: usize,
        bytes_full: usize,
        out: &mut Vec<u8>,
    ) -> QueryResult<usize> {
        let mut buffer = Buffer::from(std::mem::take(out));
        let written = self.encode_to(batch, start, rows_max, bytes_full, &mut buffer);
        *out = buffer.into();
        written
    }

    /// As [`RowEncoder::encode`], into memory that is used again.
    ///
    /// # Errors
    /// Those of [`RowEncoder::encode`].
    pub fn encode_to(
        &self,
        batch: &RecordBatch,
        start: usize,
        rows_max: usize,
        bytes_full: usize,
        out: &mut Buffer,
    ) -> QueryResult<usize> {
        if batch.num_columns() != self.columns.len() {
            return Err(self.misshapen(batch));
        }
        let end = batch.num_rows().min(start.saturating_add(rows_max));
        let mut row = start;
        // Of the first rows it is seen how long rows are, so that few are written in vain.
        let mut ahead = FIRST_ROWS;
        while row < end {
            let window = row..end.min(row + WINDOW_ROWS);
            let mut fillers = self.fillers(batch.columns(), &window)?;
            while row < window.end {
                let before = out.len();
                let rows = ahead.min(window.end - row);
                let written = self.put_chunk(&mut fillers, row, rows, bytes_full, out)?;
                row += written;
                if out.len() >= bytes_full {
                    return Ok(row - start);
                }
                let row_bytes = ((out.len() - before) / written.max(1)).max(1);
                ahead = ((bytes_full - out.len()) / row_bytes + 1).min(slots::ROWS);
            }
        }
        Ok(row.saturating_sub(start))
    }

    /// What writes some rows of the columns, in their order.
    fn fillers<'a>(
        &'a self,
        arrays: &'a [ArrayRef],
        rows: &Range<usize>,
    ) -> QueryResult<Vec<Filler<'a>>> {
        let mut fillers = Vec::with_capacity(arrays.len());
        let mut at = 0;
        while let Some((column, array)) = self.columns.get(at).zip(arrays.get(at)) {
            let left = self.columns[at..].iter().zip(&arrays[at..]);
            let left = left.map(|(column, array)| (array.as_ref(), column.oid, column.format));
            let many = slots::text_runs(&arrays[at..], rows)
                .or_else(|| slots::fixed(left.clone()))
                .or_else(|| slots::small(left, rows));
            if let Some((filler, columns)) = many {
                fillers.push(filler);
                at += columns;
                continue;
            }
            let (oid, format) = (column.oid, column.format);
            fillers.push(slots::filler(array.as_ref(), oid, format, &self.zone, rows)?);
            at += 1;
        }
        Ok(fillers)
    }

    /// Writes at most `rows` rows from `start` on, at least one, until `out` holds `bytes_full` bytes.
    fn put_chunk(
        &self,
        fillers: &mut [Filler<'_>],
        start: usize,
        rows: usize,
        bytes_full: usize,
        out: &mut Buffer,
    ) -> QueryResult<usize> {
        let mut rows = rows;
        for filler in fillers.iter_mut() {
            filler.fill(start, rows);
            // Columns after one that ended early end with it.
            rows = filler.cells.rows(rows);
        }
        let (mut bytes_max, mut free_bytes) = (ROW_HEADER, 0);
        for filler in fillers.iter() {
            bytes_max += filler.cells.bytes_max();
            free_bytes += filler.cells.free_bytes();
        }
        let mut head = [b'D', 0, 0, 0, 0, 0, 0];
        head[5..].copy_from_slice(&(self.columns.len() as u16).to_be_bytes());
        let (mut at, mut written) = (out.used, 0);
        let bytes = out.room(rows * bytes_max + free_bytes + slots::SLACK);
        while written < rows && (at < bytes_full || written == 0) {
            let start = at;
            at += ROW_HEADER;
            for filler in fillers.iter_mut() {
                at = filler.cells.copy(written, bytes, at);
            }
            let size = at - start;
            if size - 1 > ROW_BYTES_MAX {
                if written == 0 {
                    let why = format!("a row of {size} bytes is too large to send");
                    return Err(error("54000", why));
                }
                at = start;
                break;
            }
            head[1..5].copy_from_slice(&((size - 1) as u32).to_be_bytes());
            bytes[start..start + ROW_HEADER].copy_from_slice(&head);
            written += 1;
        }
        out.used = at;
        Ok(written)
    }

    fn misshapen(&self, batch: &RecordBatch) -> QueryError {
        let (found, expected) = (batch.num_columns(), self.columns.len());
        error("XX000", format!("a batch of {found} columns in a result of {expected}"))
    }
}

#[cfg(test)]
mod tests;
