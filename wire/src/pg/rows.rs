//! Streams rows to the client: one batch at a time, no faster than the socket takes them.

use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use query::QueryError;
use tokio::io::{AsyncRead, AsyncWrite};

use arrow::array::RecordBatch;

use super::connection::Failure;
use super::encode::RowEncoder;
use super::socket::{FLUSH_BYTES, Socket};

/// An open result and how far it was sent. Dropping it ends the query.
pub struct Cursor {
    stream: SendableRecordBatchStream,
    encoder: RowEncoder,
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
        Cursor { stream, encoder, verb, batch: None }
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
        "SELECT" | "FETCH" | "MOVE" => format!("{verb} {rows}"),
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
    loop {
        if rows >= rows_max {
            return Ok(Sent { rows, finished: false });
        }
        let Some((batch, next)) = &mut cursor.batch else {
            match socket.watch(cursor.stream.next()).await? {
                Some(batch) => cursor.batch = Some((batch.map_err(QueryError::from)?, 0)),
                None => return Ok(Sent { rows, finished: true }),
            }
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
