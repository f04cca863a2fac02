//! Streams rows to the client: one batch at a time, no faster than the socket takes them. Of a long
//! result that is read to its end, pieces are encoded beside each other while the socket takes the
//! ones before.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use futures::future::Either;
use futures::{Stream, StreamExt};
use parking_lot::Mutex;
use query::{QueryError, QueryResult};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;

use super::backend::error;
use super::connection::Failure;
use super::encode::{Buffer, RowEncoder};
use super::socket::{FLUSH_BYTES, Socket};

/// Rows that are encoded at once, ahead of the socket.
const PIECE_ROWS: usize = 1024;
/// A piece of longer rows ends early, bytes.
const PIECE_BYTES: usize = 256 << 10;
/// Pieces in work or waiting for the socket.
const PIECES_AHEAD: usize = 4;

/// An open result and how far it was sent. Dropping it ends the query.
pub struct Cursor {
    /// What is not in hand yet; `None` at the end.
    stream: Option<SendableRecordBatchStream>,
    encoder: Arc<RowEncoder>,
    verb: &'static str,
    /// The batch in hand and its next row.
    batch: Option<(RecordBatch, usize)>,
}

/// What one call of [`send`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    pub rows: u64,
    /// False where the limit of rows was reached first.
    pub finished: bool,
}

impl Cursor {
    pub fn new(
        stream: SendableRecordBatchStream,
        encoder: RowEncoder,
        verb: &'static str,
    ) -> Cursor {
        Cursor { stream: Some(stream), encoder: Arc::new(encoder), verb, batch: None }
    }

    /// CommandComplete's words; only queries count their rows.
    pub fn tag(&self, rows: u64) -> String {
        tag(self.verb, rows)
    }

    pub fn verb(&self) -> &'static str {
        self.verb
    }
}

/// See [`Cursor::tag`].
pub fn tag(verb: &str, rows: u64) -> String {
    match verb {
        "SELECT" | "FETCH" | "MOVE" | "UPDATE" | "DELETE" => format!("{verb} {rows}"),
        "INSERT" => format!("INSERT 0 {rows}"),
        _ => verb.to_owned(),
    }
}

/// Sends rows until the result or `rows_max` ends. Like Postgres, a result that ends just at the
/// limit is not yet known to be finished.
pub async fn send<S>(
    socket: &mut Socket<S>,
    cursor: &mut Cursor,
    rows_max: u64,
) -> Result<Sent, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut rows = 0u64;
    let mut batches = 0;
    loop {
        if rows >= rows_max {
            return Ok(Sent { rows, finished: false });
        }
        let Some((batch, next)) = &mut cursor.batch else {
            // Short results are not worth a task.
            if rows_max == u64::MAX && batches > 0 {
                rows += send_rest(socket, cursor).await?;
                return Ok(Sent { rows, finished: true });
            }
            let Some(stream) = &mut cursor.stream else {
                return Ok(Sent { rows, finished: true });
            };
            match socket.watch(stream.next()).await? {
                Some(batch) => cursor.batch = Some((batch.map_err(QueryError::from)?, 0)),
                None => cursor.stream = None,
            }
            batches += 1;
            continue;
        };
        let left = usize::try_from(rows_max - rows).unwrap_or(usize::MAX);
        let written = cursor.encoder.encode(batch, *next, left, FLUSH_BYTES, &mut socket.out)?;
        rows += written as u64;
        *next += written;
        if *next >= batch.num_rows() {
            cursor.batch = None;
        }
        socket.flush_if_full().await?;
    }
}

/// Sends what the stream still has, to its end; returns the rows.
async fn send_rest<S>(socket: &mut Socket<S>, cursor: &mut Cursor) -> Result<u64, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let Some(stream) = cursor.stream.take() else { return Ok(0) };
    let buffers = Arc::new(Buffers::default());
    let mut pieces = std::pin::pin!(encode_ahead(stream, &cursor.encoder, &buffers));
    let mut rows = 0;
    while let Some(piece) = socket.watch(pieces.next()).await? {
        let mut piece = piece?;
        rows += piece.rows.len() as u64;
        socket.send(piece.bytes.as_slice()).await?;
        piece.rows.start += piece.written;
        while !piece.rows.is_empty() {
            let (start, left) = (piece.rows.start, piece.rows.len());
            let out = &mut socket.out;
            piece.rows.start +=
                cursor.encoder.encode(&piece.batch, start, left, FLUSH_BYTES, out)?;
            socket.flush_if_full().await?;
        }
        buffers.give(piece.bytes);
    }
    Ok(rows)
}

/// Buffers that were sent, for the pieces to come: fresh memory would have to be cleared by the
/// kernel, and grown while it is filled.
#[derive(Debug, Default)]
struct Buffers(Mutex<Vec<Buffer>>);

impl Buffers {
    fn take(&self) -> Buffer {
        self.0.lock().pop().unwrap_or_default()
    }

    fn give(&self, mut buffer: Buffer) {
        buffer.clear();
        let mut held = self.0.lock();
        if held.len() < PIECES_AHEAD {
            held.push(buffer);
        }
    }
}

/// Rows of a batch, the first of them encoded.
struct Piece {
    batch: RecordBatch,
    rows: std::ops::Range<usize>,
    bytes: Buffer,
    /// Rows in `bytes`: fewer than `rows` where they are long.
    written: usize,
}

/// Pieces in their order, encoded by tasks of their own.
fn encode_ahead(
    stream: SendableRecordBatchStream,
    encoder: &Arc<RowEncoder>,
    buffers: &Arc<Buffers>,
) -> impl Stream<Item = QueryResult<Piece>> + Send {
    let cuts = stream.flat_map(|batch| match batch {
        Ok(batch) => Either::Left(futures::stream::iter(cut(batch).map(Ok))),
        Err(failed) => Either::Right(futures::stream::iter([Err(QueryError::from(failed))])),
    });
    let (encoder, buffers) = (Arc::clone(encoder), Arc::clone(buffers));
    let tasks = cuts.map(move |piece| {
        let (encoder, buffers) = (Arc::clone(&encoder), Arc::clone(&buffers));
        let task = piece.map(|piece| {
            AbortOnDropHandle::new(tokio::spawn(async move { piece.encode(&encoder, &buffers) }))
        });
        async move {
            let done = task?.await;
            done.map_err(|_| error("XX000", "encoding of the result failed".to_owned()))?
        }
    });
    tasks.buffered(PIECES_AHEAD)
}

fn cut(batch: RecordBatch) -> impl Iterator<Item = Piece> + Send {
    let end = batch.num_rows();
    (0..end).step_by(PIECE_ROWS).map(move |start| Piece {
        batch: batch.clone(),
        rows: start..end.min(start + PIECE_ROWS),
        bytes: Buffer::default(),
        written: 0,
    })
}

impl Piece {
    fn encode(mut self, encoder: &RowEncoder, buffers: &Buffers) -> QueryResult<Piece> {
        self.bytes = buffers.take();
        let (start, rows) = (self.rows.start, self.rows.len());
        while self.written < rows && self.bytes.len() < PIECE_BYTES {
            let (from, left) = (start + self.written, rows - self.written);
            self.written +=
                encoder.encode_to(&self.batch, from, left, PIECE_BYTES, &mut self.bytes)?;
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    //! A result read to its end is, byte for byte, the one that was read in portions.
    use arrow::array::{ArrayRef, Int64Array, StringViewArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::error::DataFusionError;
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt;

    use super::*;
    use query::text::zone::Zone;

    fn schema() -> Arc<Schema> {
        let fields = vec![
            Field::new("n", DataType::Int64, false),
            Field::new("text", DataType::Utf8View, false),
        ];
        Arc::new(Schema::new(fields))
    }

    /// Batches of as many rows as asked; every `long`th row is a text of 3,000 bytes.
    fn batches(rows: &[usize], long: usize) -> Vec<RecordBatch> {
        let mut first = 0;
        let batch = |rows: &usize| {
            let numbers = first..first + *rows;
            first = numbers.end;
            let texts = numbers.clone().map(|n| "x".repeat(if n % long == 0 { 3_000 } else { 5 }));
            let texts: ArrayRef = Arc::new(StringViewArray::from_iter_values(texts));
            let numbers = numbers.map(|n| n as i64);
            let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers));
            RecordBatch::try_new(schema(), vec![numbers, texts]).unwrap()
        };
        rows.iter().map(batch).collect()
    }

    /// What a client gets, in portions of `rows_max`, and whether the result failed in the end.
    fn sent(batches: &[RecordBatch], fails: bool, rows_max: u64) -> (u64, Vec<u8>, bool) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
        runtime.unwrap().block_on(async {
            let (near, mut far) = tokio::io::duplex(10_000);
            let reader = tokio::spawn(async move {
                let mut bytes = Vec::new();
                far.read_to_end(&mut bytes).await.unwrap();
                bytes
            });
            let failure = fails.then(|| Err(DataFusionError::Execution("on purpose".into())));
            let items: Vec<_> = batches.iter().cloned().map(Ok).chain(failure).collect();
            let stream = futures::stream::iter(items);
            let stream = Box::pin(RecordBatchStreamAdapter::new(schema(), stream));
            let encoder = RowEncoder::new(&schema(), &[], Zone::default()).unwrap();
            let mut cursor = Cursor::new(stream, encoder, "SELECT");
            let mut socket = Socket::new(near);
            let (mut rows, mut failed) = (0, false);
            loop {
                match send(&mut socket, &mut cursor, rows_max).await {
                    Ok(sent) => {
                        rows += sent.rows;
                        if sent.finished {
                            break;
                        }
                    }
                    Err(_) => {
                        failed = true;
                        break;
                    }
                }
            }
            socket.flush().await.unwrap();
            drop(socket);
            (rows, reader.await.unwrap(), failed)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn ahead_is_the_same_as_in_portions(
            rows in prop::collection::vec(0usize..5_000, 0..6),
            long in 1usize..50,
            fails: bool,
            portion in 1u64..9_000,
        ) {
            let batches = batches(&rows, long);
            let (ahead_rows, ahead, ahead_failed) = sent(&batches, fails, u64::MAX);
            let (portion_rows, portions, portions_failed) = sent(&batches, fails, portion);
            prop_assert_eq!(ahead_failed, fails);
            prop_assert_eq!(portions_failed, fails);
            prop_assert!(ahead == portions, "{} and {} bytes", ahead.len(), portions.len());
            if !fails {
                prop_assert_eq!(ahead_rows, rows.iter().sum::<usize>() as u64);
                prop_assert_eq!(portion_rows, ahead_rows);
            }
        }
    }
}
