//! Postgres' binary format: a signature, then for each row a count of columns and each value
//! behind its length. Nothing is believed before the bytes are there.

use super::ROW_BYTES_MAX;
use super::target::Sink;
use crate::error::{QueryError, QueryResult};

pub(super) const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Flags that a reader must understand.
const CRITICAL_FLAGS: u32 = 0xffff_0000;

/// Where the reader stands.
#[derive(Default)]
pub(super) struct Reader {
    begun: bool,
    ended: bool,
}

impl Reader {
    /// Reads the header or one row off the front of `input`; the bytes it took, or `None` if its
    /// end is not there.
    pub(super) fn row(&mut self, input: &[u8], sink: &mut Sink) -> QueryResult<Option<usize>> {
        if !self.begun {
            let taken = header(input)?;
            self.begun = taken.is_some();
            return Ok(taken);
        }
        if self.ended {
            return match input.is_empty() {
                true => Ok(None),
                false => Err(malformed("received copy data after EOF marker")),
            };
        }
        let Some(count) = int16(input, 0) else { return Ok(None) };
        if count == -1 {
            self.ended = true;
            return Ok(Some(2));
        }
        let columns = sink.columns();
        if usize::try_from(count).ok() != Some(columns) {
            sink.next_line(1);
            let message = format!("row field count is {count}, expected {columns}");
            return Err(sink.at_line(malformed(message)));
        }
        let Some(end) = row_end(input, columns).map_err(|error| {
            sink.next_line(1);
            sink.at_line(error)
        })?
        else {
            return Ok(None);
        };
        sink.next_line(1);
        let mut at = 2;
        for column in 0..columns {
            let length = int32(input, at).unwrap_or(-1);
            at += 4;
            let value = usize::try_from(length).ok().and_then(|len| input.get(at..at + len));
            at += value.map_or(0, <[u8]>::len);
            sink.binary(column, value)?;
        }
        sink.end_row(columns)?;
        Ok(Some(end))
    }

    /// What is left when no more bytes come. Like Postgres, this does without the trailer.
    pub(super) fn end(&self, rest: &[u8], sink: &Sink) -> QueryResult<()> {
        match (self.begun, rest.is_empty()) {
            (false, _) => Err(malformed("COPY file signature not recognized")),
            (true, true) => Ok(()),
            (true, false) => Err(sink.at_line(malformed("unexpected EOF in COPY data"))),
        }
    }
}

/// Where a row ends, if all of it is there.
fn row_end(input: &[u8], columns: usize) -> QueryResult<Option<usize>> {
    let mut at = 2;
    for _ in 0..columns {
        let Some(length) = int32(input, at) else { return Ok(None) };
        at += 4;
        match usize::try_from(length) {
            Ok(length) if length > ROW_BYTES_MAX => {
                let message = format!("a value of {length} bytes is above {ROW_BYTES_MAX}");
                return Err(QueryError::new("54000", message));
            }
            Ok(length) => at += length,
            Err(_) if length == -1 => {}
            Err(_) => return Err(malformed("invalid field size")),
        }
        if input.len() < at {
            return Ok(None);
        }
    }
    Ok(Some(at))
}

fn header(input: &[u8]) -> QueryResult<Option<usize>> {
    let known = input.len().min(SIGNATURE.len());
    if input[..known] != SIGNATURE[..known] {
        return Err(malformed("COPY file signature not recognized"));
    }
    let (Some(flags), Some(extension)) = (int32(input, 11), int32(input, 15)) else {
        return Ok(None);
    };
    if flags as u32 & CRITICAL_FLAGS != 0 {
        return Err(malformed("unrecognized critical flags in COPY file header"));
    }
    match usize::try_from(extension) {
        Ok(extension) if extension <= ROW_BYTES_MAX => {
            let end = 19 + extension;
            Ok((input.len() >= end).then_some(end))
        }
        _ => Err(malformed("invalid COPY file header (wrong length)")),
    }
}

fn int16(input: &[u8], at: usize) -> Option<i16> {
    Some(i16::from_be_bytes(input.get(at..at + 2)?.try_into().ok()?))
}

fn int32(input: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(input.get(at..at + 4)?.try_into().ok()?))
}

fn malformed(message: impl Into<String>) -> QueryError {
    QueryError::new("22P04", message)
}
