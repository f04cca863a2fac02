//! The commit queue: writers put in, one thread takes whole groups out.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex};

use super::command::Promise;
use super::record::Prepared;

/// Payload bytes of one group of commits.
const GROUP_BYTES_MAX: usize = 32 << 20;

/// A commit that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub commands: Vec<Prepared>,
    pub payload: Vec<u8>,
    pub promise: Promise,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<Waiting>,
    bytes: u64,
    closed: bool,
}

/// Commits in the order they came.
#[derive(Debug)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    filled: Condvar,
    emptied: Condvar,
    bytes_max: u64,
}

impl Queue {
    pub fn new(bytes_max: u64) -> Queue {
        Queue {
            inner: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            bytes_max,
        }
    }

    /// Puts a commit in; waits while the queue is full. Gives it back if the queue is closed.
    pub fn push(&self, waiting: Waiting) -> Result<(), Waiting> {
        let bytes = waiting.payload.len() as u64;
        let mut inner = self.inner.lock();
        // One commit always fits into an empty queue, however large.
        while !inner.closed && inner.bytes > 0 && inner.bytes + bytes > self.bytes_max {
            self.emptied.wait(&mut inner);
        }
        if inner.closed {
            return Err(waiting);
        }
        inner.bytes += bytes;
        inner.waiting.push_back(waiting);
        self.filled.notify_one();
        Ok(())
    }

    /// Takes the next group; `None` once the queue is closed and empty.
    pub fn take(&self) -> Option<Vec<Waiting>> {
        let mut inner = self.inner.lock();
        while inner.waiting.is_empty() {
            if inner.closed {
                return None;
            }
            self.filled.wait(&mut inner);
        }
        let mut group = Vec::new();
        let mut bytes = 0;
        while let Some(next) = inner.waiting.front() {
            bytes += next.payload.len();
            if !group.is_empty() && bytes > GROUP_BYTES_MAX {
                break;
            }
            group.extend(inner.waiting.pop_front());
        }
        let taken: u64 = group.iter().map(|w: &Waiting| w.payload.len() as u64).sum();
        inner.bytes -= taken;
        self.emptied.notify_all();
        Some(group)
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.inner.lock().waiting.is_empty()
    }

    pub fn bytes(&self) -> u64 {
        self.inner.lock().bytes
    }

    /// Takes no more; what waits is still given out.
    pub fn close(&self) {
        self.inner.lock().closed = true;
        self.wake();
    }

    /// Wakes everybody to look again.
    pub fn wake(&self) {
        self.filled.notify_all();
        self.emptied.notify_all();
    }
}
