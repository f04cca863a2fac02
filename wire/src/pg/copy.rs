//! COPY over the wire: rows in from CopyData messages, rows out as such.
//!
//! On the way in one message at a time is read and handed to the session, which waits while the log
//! is behind: that is the client's back-pressure. What a message holds need not be whole rows. On
//! the way out a row is a message, and the next batch is made once the socket took this one.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use memchr::memchr;
use query::{
    CopyFile, CopyFormat, CopyHeader, CopyOptions, CopyProgress, Outcome, QueryError, QueryResult,
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::backend::{Backend, BackendSession, error};
use super::connection::{Connection, Failure};
use super::encode::RowEncoder;
use super::message::{self, Message};
use super::out;
use super::socket::{End, FLUSH_BYTES};
use query::text::zone::Zone;

/// Signature, flags and length of the extension of the binary format.
const BINARY_HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

impl<S, B> Connection<'_, S, B>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    B: Backend,
{
    /// Moves the rows of a COPY in either direction; the tag, or `None` for other outcomes.
    pub(super) async fn copy(
        &mut self,
        outcome: Outcome,
    ) -> Result<Result<String, Outcome>, Failure> {
        match outcome {
            Outcome::CopyIn { format, columns } => Ok(Ok(self.copy_in(format, columns).await?)),
            Outcome::CopyOut { schema, stream, options, file: None, progress } => {
                let rows = self.copy_out(schema, stream, &options, &progress).await?;
                Ok(Ok(format!("COPY {rows}")))
            }
            Outcome::CopyOut { schema, stream, options, file: Some(file), progress } => {
                let rows = self.copy_to_file(schema, stream, &options, file, &progress).await?;
                Ok(Ok(format!("COPY {rows}")))
            }
            other => Ok(Err(other)),
        }
    }

    async fn copy_in(&mut self, format: CopyFormat, columns: usize) -> Result<String, Failure> {
        respond(&mut self.socket.out, b'G', format, columns);
        self.socket.flush().await?;
        let limits = self.read_limits();
        loop {
            // Reading a frame may be dropped and begun again: its bytes stay with the socket.
            let frame = tokio::select! {
                biased;
                error = self.session.copy_stopped() => return Err(error.into()),
                frame = self.socket.frame(&limits) => frame?,
            };
            let kind = frame.kind;
            match message::decode(kind, frame.body.clone()) {
                Ok(Message::CopyData(bytes)) => self.session.copy_data(&bytes).await?,
                Ok(Message::CopyDone) => return Ok(self.session.copy_done().await?),
                Ok(Message::CopyFail(why)) => return Err(self.session.copy_fail(&why).into()),
                // Sent ahead by clients that did not wait to see that this is a COPY.
                Ok(Message::Flush | Message::Sync) => {}
                Ok(Message::Terminate) => {
                    self.session.copy_fail("the client left");
                    return Err(End::Terminated.into());
                }
                Ok(_) => {
                    self.session.copy_fail("another message");
                    let kind = char::from(kind);
                    let words =
                        format!("unexpected message type \"{kind}\" during COPY from stdin");
                    return Err(error("08P01", words).into());
                }
                Err(malformed) => {
                    self.session.copy_fail("a malformed message");
                    let (code, words) = malformed.error(kind);
                    return Err(error(code, words).into());
                }
            }
        }
    }

    async fn copy_out(
        &mut self,
        schema: SchemaRef,
        mut stream: SendableRecordBatchStream,
        options: &CopyOptions,
        progress: &CopyProgress,
    ) -> Result<u64, Failure> {
        let mut rows = RowsOut::new(&schema, options, self.zone(), put_message)?;
        respond(&mut self.socket.out, b'H', options.format, schema.fields().len());
        let begun = self.socket.out.len();
        rows.begin(&schema, &mut self.socket.out);
        progress.moved((self.socket.out.len() - begun) as u64);
        while let Some(batch) = self.socket.watch(stream.next()).await? {
            let batch = batch.map_err(QueryError::from)?;
            let mut next = 0;
            while next < batch.num_rows() {
                let before = self.socket.out.len();
                next += rows.put(&batch, next, &mut self.socket.out)?;
                progress.moved((self.socket.out.len() - before) as u64);
                progress.reached(rows.count);
                self.socket.flush_if_full().await?;
            }
        }
        rows.end(&mut self.socket.out);
        out::message(&mut self.socket.out, b'c', |_| {});
        Ok(rows.count)
    }

    /// Writes the rows into a file of the server instead, in pieces of what the socket would take.
    async fn copy_to_file(
        &mut self,
        schema: SchemaRef,
        mut stream: SendableRecordBatchStream,
        options: &CopyOptions,
        file: CopyFile,
        progress: &CopyProgress,
    ) -> Result<u64, Failure> {
        let mut rows = RowsOut::new(&schema, options, self.zone(), put_plain)?;
        let mut piece = Vec::new();
        rows.begin(&schema, &mut piece);
        while let Some(batch) = self.socket.watch(stream.next()).await? {
            let batch = batch.map_err(QueryError::from)?;
            let mut next = 0;
            while next < batch.num_rows() {
                next += rows.put(&batch, next, &mut piece)?;
                if piece.len() >= FLUSH_BYTES {
                    progress.moved(piece.len() as u64);
                    progress.reached(rows.count);
                    piece = self.socket.watch(file.write(piece)).await??;
                }
            }
        }
        rows.end(&mut piece);
        progress.moved(piece.len() as u64);
        progress.reached(rows.count);
        file.write(piece).await?;
        file.finish().await?;
        Ok(rows.count)
    }
}

/// How the bytes of a row are put behind those before.
type Frame = fn(&mut Vec<u8>, &mut dyn FnMut(&mut Vec<u8>));

/// As a CopyData message.
fn put_message(out: &mut Vec<u8>, put: &mut dyn FnMut(&mut Vec<u8>)) {
    out::message(out, b'd', put);
}

fn put_plain(out: &mut Vec<u8>, put: &mut dyn FnMut(&mut Vec<u8>)) {
    put(out);
}

/// Rows on their way out.
struct RowsOut<'a> {
    encoder: RowEncoder,
    options: &'a CopyOptions,
    frame: Frame,
    /// What goes before the first row: as Postgres has it, and drivers expect it, in one message.
    header: &'static [u8],
    scratch: Vec<u8>,
    count: u64,
}

impl<'a> RowsOut<'a> {
    fn new(
        schema: &SchemaRef,
        options: &'a CopyOptions,
        zone: Zone,
        frame: Frame,
    ) -> QueryResult<RowsOut<'a>> {
        let binary = options.format == CopyFormat::Binary;
        let encoder = RowEncoder::new(schema, if binary { &[1] } else { &[] }, zone)?;
        let header: &[u8] = if binary { BINARY_HEADER } else { &[] };
        Ok(RowsOut { encoder, options, frame, header, scratch: Vec::new(), count: 0 })
    }

    /// The names of the columns, where they are wanted.
    fn begin(&self, schema: &SchemaRef, out: &mut Vec<u8>) {
        if self.options.format != CopyFormat::Binary && self.options.header != CopyHeader::No {
            let names = schema.fields().iter().map(|field| Some(field.name().as_bytes()));
            let alone = schema.fields().len() == 1;
            put_line(out, names, self.options, alone, self.frame);
        }
    }

    /// Rows of a batch from one on; how many.
    fn put(&mut self, batch: &RecordBatch, from: usize, out: &mut Vec<u8>) -> QueryResult<usize> {
        self.scratch.clear();
        let written =
            self.encoder.encode(batch, from, usize::MAX, FLUSH_BYTES, &mut self.scratch)?;
        self.count += written as u64;
        put_rows(out, &self.scratch, self.options, &mut self.header, self.frame);
        Ok(written)
    }

    fn end(&self, out: &mut Vec<u8>) {
        if self.options.format == CopyFormat::Binary {
            (self.frame)(out, &mut |out| {
                out.extend_from_slice(self.header);
                out.extend_from_slice(&[0xff, 0xff]);
            });
        }
    }
}

/// CopyInResponse or CopyOutResponse.
fn respond(out: &mut Vec<u8>, kind: u8, format: CopyFormat, columns: usize) {
    let code = u16::from(format == CopyFormat::Binary);
    out::message(out, kind, |out| {
        out.push(code as u8);
        out::put_u16(out, columns as u16);
        for _ in 0..columns {
            out::put_u16(out, code);
        }
    });
}

/// Turns DataRow messages into rows of COPY. `header` goes before the first, and is used up.
fn put_rows(
    out: &mut Vec<u8>,
    mut rows: &[u8],
    options: &CopyOptions,
    header: &mut &[u8],
    frame: Frame,
) {
    // The bytes were written by the encoder: kind, length, count, and cells behind their lengths.
    while let Some((head, rest)) = rows.split_first_chunk::<5>() {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let Some((body, next)) = rest.split_at_checked(length.saturating_sub(4)) else { return };
        rows = next;
        if options.format == CopyFormat::Binary {
            frame(out, &mut |out| {
                out.extend_from_slice(std::mem::take(header));
                out.extend_from_slice(body);
            });
        } else {
            let Some((count, cells)) = body.split_first_chunk::<2>() else { return };
            let alone = u16::from_be_bytes(*count) == 1;
            put_line(out, Cells(cells), options, alone, frame);
        }
    }
}

/// The cells of a DataRow; `None` is NULL.
struct Cells<'a>(&'a [u8]);

impl<'a> Iterator for Cells<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Option<&'a [u8]>> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        match usize::try_from(i32::from_be_bytes(*length)) {
            Ok(length) => {
                let (cell, rest) = rest.split_at_checked(length)?;
                self.0 = rest;
                Some(Some(cell))
            }
            Err(_) => {
                self.0 = rest;
                Some(None)
            }
        }
    }
}

/// A row as a line of text or CSV. `alone`: it has one column.
fn put_line<'a>(
    out: &mut Vec<u8>,
    cells: impl Iterator<Item = Option<&'a [u8]>>,
    options: &CopyOptions,
    alone: bool,
    frame: Frame,
) {
    let mut cells = cells.enumerate();
    frame(out, &mut |out| {
        for (at, cell) in cells.by_ref() {
            if at > 0 {
                out.push(options.delimiter);
            }
            match cell {
                None => out.extend_from_slice(options.null.as_bytes()),
                Some(cell) if options.format == CopyFormat::Csv => {
                    put_csv(out, cell, options, alone);
                }
                Some(cell) => put_text(out, cell, options.delimiter),
            }
        }
        out.push(b'\n');
    });
}

fn put_text(out: &mut Vec<u8>, cell: &[u8], delimiter: u8) {
    let special = |byte: u8| byte < 0x20 || byte == b'\\' || byte == delimiter;
    if !cell.iter().copied().any(special) {
        out.extend_from_slice(cell);
        return;
    }
    for byte in cell.iter().copied() {
        let letter = match byte {
            8 => b'b',
            12 => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            11 => b'v',
            b'\\' => b'\\',
            other if other == delimiter => other,
            other => {
                out.push(other);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', letter]);
    }
}

fn put_csv(out: &mut Vec<u8>, cell: &[u8], options: &CopyOptions, alone: bool) {
    let special = |byte: u8| {
        matches!(byte, b'\n' | b'\r') || byte == options.delimiter || byte == options.quote
    };
    let quoted = cell == options.null.as_bytes()
        || (alone && cell == b"\\.")
        || cell.iter().copied().any(special);
    if !quoted {
        out.extend_from_slice(cell);
        return;
    }
    out.push(options.quote);
    let escaped = |byte: u8| byte == options.quote || byte == options.escape;
    if memchr(options.quote, cell).is_none() && memchr(options.escape, cell).is_none() {
        out.extend_from_slice(cell);
    } else {
        for byte in cell.iter().copied() {
            if escaped(byte) {
                out.push(options.escape);
            }
            out.push(byte);
        }
    }
    out.push(options.quote);
}

#[cfg(test)]
mod tests;
