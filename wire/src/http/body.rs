//! Bodies read into memory that was reserved before: never beyond the limit of one body, never
//! beyond the memory of all, never for ever.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use flate2::read::MultiGzDecoder;
use futures::StreamExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout, timeout_at};

use super::refusal::Refusal;
use super::state::HttpState;
use super::text_of;
use crate::budget::{Budget, UNIT_BYTES};

/// First piece of memory of a body, bytes.
const FIRST_BYTES: usize = 256 << 10;
/// Read of a refused body after its refusal, so that the client comes to read the answer.
const DRAIN_BYTES_MAX: usize = 64 << 20;
/// Time for that.
const DRAIN_WAIT: Duration = Duration::from_secs(5);

/// Memory promised to one request; given back on drop.
pub(super) struct Reservation {
    budget: Arc<Budget>,
    permit: Option<OwnedSemaphorePermit>,
    until: Instant,
}

impl Reservation {
    pub fn new(state: &HttpState) -> Reservation {
        let until = Instant::now() + state.options().queue_wait;
        Reservation { budget: state.memory().clone(), permit: None, until }
    }

    /// Permits missing for `bytes` in all.
    fn missing(&self, bytes: usize) -> u32 {
        let held = self.permit.as_ref().map_or(0, |permit| permit.num_permits());
        let missing = bytes.div_ceil(UNIT_BYTES).saturating_sub(held);
        u32::try_from(missing).unwrap_or(u32::MAX)
    }

    fn add(&mut self, permit: OwnedSemaphorePermit) {
        match &mut self.permit {
            Some(held) => held.merge(permit),
            None => self.permit = Some(permit),
        }
    }

    /// Waits until `bytes` in all are promised; 429 when that takes too long. Bodies that wait for
    /// each other end so, too.
    pub async fn grow_to(&mut self, bytes: usize) -> Result<(), Refusal> {
        let missing = self.missing(bytes);
        if missing == 0 {
            return Ok(());
        }
        // A request that already waited may still take what is free.
        if let Ok(permit) = self.budget.try_acquire(missing) {
            self.add(permit);
            return Ok(());
        }
        let wait = timeout_at(self.until, self.budget.acquire(missing));
        let Ok(Ok(permit)) = wait.await else { return Err(no_memory()) };
        self.add(permit);
        Ok(())
    }

    /// As `grow_to` without waiting, for threads.
    fn try_grow_to(&mut self, bytes: usize) -> Result<(), Refusal> {
        let missing = self.missing(bytes);
        if missing > 0 {
            let permit = self.budget.try_acquire(missing);
            self.add(permit.map_err(|_| no_memory())?);
        }
        Ok(())
    }
}

fn no_memory() -> Refusal {
    Refusal::busy("too many large requests at once")
}

/// How the body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
}

impl Packing {
    /// 415 for a packing that is not known.
    pub fn of(headers: &HeaderMap) -> Result<Packing, Refusal> {
        let Some(name) = headers.get(header::CONTENT_ENCODING) else { return Ok(Packing::Plain) };
        match name.to_str().unwrap_or("?").trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Packing::Plain),
            "gzip" | "x-gzip" => Ok(Packing::Gzip),
            other => {
                let text = format!("Content-Encoding {other:?} is not known; gzip is");
                let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
                Err(Refusal::new(status, "unsupported media type", text))
            }
        }
    }
}

/// Reads a body of at most `limit` bytes as it was sent.
pub(super) async fn read(
    state: &HttpState,
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    memory: &mut Reservation,
) -> Result<Vec<u8>, Refusal> {
    let length = text_of(headers, "content-length").and_then(|text| text.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit as u64) {
        // Not a byte was read: a client that asked "Expect: 100-continue" sends none.
        tokio::spawn(drain(body.into_data_stream()));
        return Err(Refusal::too_large(limit));
    }
    let mut stream = body.into_data_stream();
    let result = collect(state, length, &mut stream, limit, memory).await;
    if result.is_err() {
        tokio::spawn(drain(stream));
    }
    result
}

async fn collect(
    state: &HttpState,
    length: Option<u64>,
    stream: &mut BodyDataStream,
    limit: usize,
    memory: &mut Reservation,
) -> Result<Vec<u8>, Refusal> {
    let options = state.options();
    let end = Instant::now() + options.body_wait;
    let hint = length.and_then(|length| usize::try_from(length).ok()).unwrap_or(limit);
    let mut bytes = Vec::new();
    loop {
        let pause = (Instant::now() + options.body_pause).min(end);
        let Ok(next) = timeout_at(pause, stream.next()).await else {
            let text = "the body took too long";
            return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "request timeout", text));
        };
        let piece: Bytes = match next {
            None => return Ok(bytes),
            Some(Ok(piece)) => piece,
            Some(Err(error)) => return Err(Refusal::invalid(format!("the body broke: {error}"))),
        };
        let total = bytes.len() + piece.len();
        if total > limit {
            return Err(Refusal::too_large(limit));
        }
        if total > bytes.capacity() {
            let size = next_size(total, bytes.capacity(), hint.min(limit));
            memory.grow_to(size).await?;
            bytes.reserve_exact(size - bytes.len());
        }
        bytes.extend_from_slice(&piece);
    }
}

/// Doubles, so that memory is held only for bytes that came, up to what is expected.
fn next_size(needed: usize, capacity: usize, expected: usize) -> usize {
    (2 * capacity).max(FIRST_BYTES).min(expected).max(needed)
}

/// Reads on for a while and forgets what it reads.
async fn drain(mut stream: BodyDataStream) {
    let mut left = DRAIN_BYTES_MAX;
    let reading = async {
        while let Some(Ok(piece)) = stream.next().await {
            match left.checked_sub(piece.len()) {
                Some(rest) => left = rest,
                None => break,
            }
        }
    };
    // Either way the rest goes unread.
    let _ = timeout(DRAIN_WAIT, reading).await;
}

/// Unpacks one block of snappy to at most `limit` bytes; what it says of its length is checked before
/// anything is made. Blocks: it is CPU work.
pub(super) fn unsnap(
    packed: &[u8],
    limit: usize,
    memory: &mut Reservation,
) -> Result<Vec<u8>, Refusal> {
    let damaged =
        |error: snap::Error| Refusal::invalid(format!("the snappy body is damaged: {error}"));
    let length = snap::raw::decompress_len(packed).map_err(damaged)?;
    if length > limit {
        return Err(Refusal::too_large(limit));
    }
    memory.try_grow_to(packed.len() + length)?;
    snap::raw::Decoder::new().decompress_vec(packed).map_err(damaged)
}

/// Unpacks gzip to at most `limit` bytes. Blocks: it is CPU work.
pub(super) fn gunzip(
    packed: &[u8],
    limit: usize,
    memory: &mut Reservation,
) -> Result<Vec<u8>, Refusal> {
    let mut decoder = MultiGzDecoder::new(packed);
    let mut piece = vec![0; 64 << 10];
    let mut bytes = Vec::new();
    loop {
        let count = decoder
            .read(&mut piece)
            .map_err(|error| Refusal::invalid(format!("the gzip body is damaged: {error}")))?;
        if count == 0 {
            return Ok(bytes);
        }
        let total = bytes.len() + count;
        if total > limit {
            return Err(Refusal::too_large(limit));
        }
        if total > bytes.capacity() {
            let size = next_size(total, bytes.capacity(), limit);
            memory.try_grow_to(packed.len() + size)?;
            bytes.reserve_exact(size - bytes.len());
        }
        bytes.extend_from_slice(&piece[..count]);
    }
}
