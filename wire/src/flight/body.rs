//! What comes in is held in promised memory: each piece of a body takes its share of one budget
//! before it is handed on, and what is done with gives it back.
//!
//! A body that waits for memory is not read, which the client feels as HTTP/2's flow control. Bodies
//! that wait for each other end after `queue_wait`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use parking_lot::Mutex;
use query::QueryError;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tonic::Status;

use super::{refusal, signals};
use crate::budget::{Budget, UNIT_BYTES};

/// A message stands in memory as it came, and once more as the arrays made of it.
const COPIES: usize = 2;

/// Memory of one call.
pub(super) struct Held {
    budget: Arc<Budget>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    bytes: usize,
    permit: Option<OwnedSemaphorePermit>,
}

impl Held {
    pub(super) fn new(budget: Arc<Budget>) -> Held {
        Held { budget, inner: Mutex::default() }
    }

    /// Units missing for `more` bytes.
    fn missing(&self, more: usize) -> u32 {
        let inner = self.inner.lock();
        let have = inner.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let units = ((inner.bytes + more) * COPIES).div_ceil(UNIT_BYTES);
        u32::try_from(units.saturating_sub(have)).unwrap_or(u32::MAX)
    }

    fn add(&self, more: usize, permit: Option<OwnedSemaphorePermit>) {
        let mut inner = self.inner.lock();
        inner.bytes += more;
        match (&mut inner.permit, permit) {
            (Some(held), Some(permit)) => held.merge(permit),
            (none @ None, permit) => *none = permit,
            (Some(_), None) => {}
        }
    }

    /// Gives the memory of so many bytes back.
    pub(super) fn release(&self, bytes: usize) {
        let mut inner = self.inner.lock();
        inner.bytes = inner.bytes.saturating_sub(bytes);
        let keep = (inner.bytes * COPIES).div_ceil(UNIT_BYTES);
        if let Some(permit) = &mut inner.permit {
            let over = permit.num_permits().saturating_sub(keep);
            drop(permit.split(over));
        }
    }
}

type Waiting = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, Status>> + Send>>;

/// A body whose bytes are counted.
pub(super) struct Metered {
    inner: Incoming,
    held: Arc<Held>,
    wait_max: Duration,
    /// A piece whose memory is not there yet.
    waiting: Option<(Frame<Bytes>, usize, Waiting)>,
}

impl Metered {
    pub(super) fn new(inner: Incoming, held: Arc<Held>, wait_max: Duration) -> Metered {
        Metered { inner, held, wait_max, waiting: None }
    }

    fn begin_waiting(&mut self, frame: Frame<Bytes>, bytes: usize, units: u32) {
        let (budget, wait_max) = (Arc::clone(&self.held.budget), self.wait_max);
        let wait = async move {
            // What will never be there is not waited for.
            let could_be = u64::from(units) * UNIT_BYTES as u64 <= budget.usage().limit;
            let acquired = match could_be {
                true => timeout(wait_max, budget.acquire(units)).await.ok(),
                false => None,
            };
            match acquired {
                Some(Ok(permit)) => Ok(permit),
                _ => {
                    let error = QueryError::new("53200", "too many large messages at once");
                    Err(refusal::status(error.with_hint("Setting grpc_memory_bytes_max.")))
                }
            }
        };
        self.waiting = Some((frame, bytes, Box::pin(wait)));
    }
}

type Item = Option<Result<Frame<Bytes>, Box<dyn std::error::Error + Send + Sync>>>;

impl Body for Metered {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Item> {
        let this = &mut *self;
        loop {
            if let Some((_, _, wait)) = &mut this.waiting {
                let permit = ready!(wait.as_mut().poll(cx));
                let Some((frame, bytes, _)) = this.waiting.take() else { return Poll::Ready(None) };
                return Poll::Ready(Some(match permit {
                    Ok(permit) => {
                        this.held.add(bytes, Some(permit));
                        Ok(frame)
                    }
                    Err(status) => Err(status.into()),
                }));
            }
            let frame = match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => return Poll::Ready(None),
            };
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            signals::received(bytes);
            let units = this.held.missing(bytes);
            if units == 0 {
                this.held.add(bytes, None);
                return Poll::Ready(Some(Ok(frame)));
            }
            match this.held.budget.try_acquire(units) {
                Ok(permit) => {
                    this.held.add(bytes, Some(permit));
                    return Poll::Ready(Some(Ok(frame)));
                }
                Err(_) => this.begin_waiting(frame, bytes, units),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.waiting {
            Some(_) => SizeHint::default(),
            None => self.inner.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_released_is_there_again() {
        let budget = Arc::new(Budget::new("test", 64 * UNIT_BYTES));
        let held = Held::new(Arc::clone(&budget));
        let take = |bytes| {
            let units = held.missing(bytes);
            let permit = (units > 0).then(|| budget.try_acquire(units).unwrap());
            held.add(bytes, permit);
        };
        // Many small pieces cost no more than their sum.
        (0..100).for_each(|_| take(100));
        assert_eq!(budget.available(), 64 - (2 * 10_000_usize).div_ceil(UNIT_BYTES));
        held.release(9_900);
        assert_eq!(budget.available(), 63);
        take(10_000);
        held.release(1 << 30);
        assert_eq!(budget.available(), 64);
        take(1);
        drop(held);
        assert_eq!(budget.available(), 64);
    }
}
