//! Batches that a client puts: a message is read, decoded and done with before the next is read.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::decode::{DecodedPayload, FlightDataDecoder};
use arrow_flight::error::FlightError;
use arrow_flight::{FlightData, FlightDescriptor};
use futures::{FutureExt, StreamExt};
use prost::Message;
use query::QueryError;
use tonic::{Status, Streaming};

use super::body::Held;
use super::house::House;
use super::params::Bound;
use super::{refusal, signals};

/// Bytes in front of each message of gRPC.
const PREFIX_BYTES: usize = 5;

/// What came: a schema, or rows.
enum Item {
    Schema,
    Batch(RecordBatch),
}

/// The messages of a DoPut.
pub(super) struct Incoming {
    decoder: FlightDataDecoder,
    schema: Option<SchemaRef>,
    held: Arc<Held>,
    /// Memory of the batch that was given last.
    given: usize,
    wait_max: Duration,
}

impl Incoming {
    /// Reads the first message, which says what the call is about.
    ///
    /// # Errors
    /// If there is none, or it has no descriptor.
    pub(super) async fn open(
        mut stream: Streaming<FlightData>,
        held: Arc<Held>,
        wait_max: Duration,
    ) -> Result<(FlightDescriptor, Incoming), Status> {
        let first = tokio::time::timeout(wait_max, stream.message()).await;
        let first = first.map_err(|_| silent())??;
        let Some(mut first) = first else {
            return Err(refusal::malformed("the upload", "it holds no message"));
        };
        let Some(descriptor) = first.flight_descriptor.take() else {
            return Err(refusal::malformed("the upload", "its first message has no descriptor"));
        };
        let kept = Arc::clone(&held);
        let messages = futures::stream::once(async move { Ok(first) }).chain(stream);
        let messages = messages.filter_map(move |message| {
            // Messages without a header say nothing of rows: the descriptor, notes, keep-alive.
            let message = match message {
                Ok(message) if message.data_header.is_empty() => {
                    kept.release(message.encoded_len() + PREFIX_BYTES);
                    None
                }
                Ok(message) if is_packed(&message.data_header) => {
                    let message = "compressed Arrow messages are not taken";
                    let refused = QueryError::new("0A000", message)
                        .with_hint("Send record batches without IPC compression.");
                    Some(Err(FlightError::from(refusal::status(refused))))
                }
                Ok(message) => Some(Ok(message)),
                Err(status) => Some(Err(FlightError::from(status))),
            };
            std::future::ready(message)
        });
        let decoder = FlightDataDecoder::new(messages);
        Ok((descriptor, Incoming { decoder, schema: None, held, given: 0, wait_max }))
    }

    /// The schema of the rows that will come; `None` if nothing comes.
    pub(super) async fn schema(&mut self) -> Result<Option<SchemaRef>, Status> {
        if self.schema.is_none() {
            match self.item().await? {
                None | Some(Item::Schema) => {}
                Some(Item::Batch(_)) => {
                    return Err(refusal::malformed("the upload", "rows come before their schema"));
                }
            }
        }
        Ok(self.schema.clone())
    }

    /// The next rows.
    pub(super) async fn batch(&mut self) -> Result<Option<RecordBatch>, Status> {
        loop {
            match self.item().await? {
                None => return Ok(None),
                Some(Item::Batch(batch)) => return Ok(Some(batch)),
                Some(Item::Schema) => {}
            }
        }
    }

    async fn item(&mut self) -> Result<Option<Item>, Status> {
        self.held.release(std::mem::take(&mut self.given));
        // Arrow's decoder checks the frame of a message but panics on some offsets that lead
        // out of it.
        let next = AssertUnwindSafe(self.decoder.next()).catch_unwind();
        let Ok(next) = tokio::time::timeout(self.wait_max, next).await else {
            signals::stalled();
            return Err(silent());
        };
        let Ok(next) = next else {
            return Err(refusal::malformed("an Arrow message", "its parts lie outside of it"));
        };
        let Some(next) = next else { return Ok(None) };
        let next = next.map_err(|error| match error {
            FlightError::Tonic(status) => *status,
            error => refusal::malformed("an Arrow message", error),
        })?;
        self.given = next.inner.encoded_len() + PREFIX_BYTES;
        match next.payload {
            DecodedPayload::Schema(_) if self.schema.is_some() => {
                Err(refusal::malformed("the upload", "a second schema comes"))
            }
            DecodedPayload::Schema(schema) => {
                self.schema = Some(schema);
                Ok(Some(Item::Schema))
            }
            DecodedPayload::RecordBatch(batch) => Ok(Some(Item::Batch(batch))),
            DecodedPayload::None => Ok(Some(Item::Batch(RecordBatch::new_empty(
                self.schema.clone().unwrap_or_else(|| Arc::new(arrow::datatypes::Schema::empty())),
            )))),
        }
    }

    /// All rows that come, as parameters; `None` if they have no columns, which is how clients say
    /// that there are none.
    pub(super) async fn parameters(&mut self, house: &House) -> Result<Option<Bound>, Status> {
        let mut batches = Vec::new();
        let mut memory = house.keep(0)?;
        while let Some(batch) = self.batch().await? {
            if batch.num_columns() == 0 || batch.num_rows() == 0 {
                continue;
            }
            memory.merge(house.keep(batch.get_array_memory_size())?);
            batches.push(batch);
        }
        if batches.is_empty() {
            return Ok(None);
        }
        Bound::new(batches, Some(memory)).map(Some).map_err(refusal::status)
    }
}

/// Whether the buffers of a message are compressed: what they hold unpacked is not known, and
/// Arrow's decoder sets no limit to it.
fn is_packed(header: &[u8]) -> bool {
    let Ok(message) = arrow::ipc::root_as_message(header) else { return false };
    let batch = match message.header_as_dictionary_batch() {
        Some(dictionary) => dictionary.data(),
        None => message.header_as_record_batch(),
    };
    batch.is_some_and(|batch| batch.compression().is_some())
}

fn silent() -> Status {
    let message = "nothing came for too long: canceling statement due to timeout";
    refusal::status(QueryError::new("57014", message))
}
