//! The commit queue: writers put in, one thread takes whole groups out.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex};

use super::command::Promise;
use super::memory::write_bytes;
use super::record::Prepared;
use crate::rows::RowConditions;

/// Payload bytes of one group of commits.
const GROUP_BYTES_MAX: usize = 32 << 20;

/// A commit that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub commands: Vec<Prepared>,
    pub payload: Vec<u8>,
    pub promise: Promise,
    /// What must hold for it.
    pub conditions: Option<Box<RowConditions>>,
    /// What it holds until it is applied: its record and its rows.
    bytes: u64,
}

impl Waiting {
    pub fn new(commands: Vec<Prepared>, payload: Vec<u8>, promise: Promise) -> Waiting {
        let of = |command: &Prepared| match command {
            Prepared::Write(write) => write_bytes(write),
            Prepared::Other(_) => 0,
        };
        let rows: usize = commands.iter().map(of).sum();
        // Other commands are about as large as their bytes in the record.
        let others = commands.iter().any(|command| matches!(command, Prepared::Other(_)));
        let others = if others { payload.len() } else { 0 };
        let bytes = (payload.capacity() + rows + others) as u64;
        Waiting { commands, payload, promise, conditions: None, bytes }
    }

    /// With what must hold for it.
    pub fn on(self, conditions: Option<RowConditions>) -> Waiting {
        let bytes = conditions.as_ref().map_or(0, |of| {
            let expects = of.expects.iter();
            let expects = expects.map(|e| e.key.len() + e.value.as_ref().map_or(0, Vec::len) + 64);
            expects.sum::<usize>() + of.present.len() * 64 + of.counts.len() * 64
        });
        let conditions = conditions.map(Box::new);
        Waiting { conditions, bytes: self.bytes + bytes as u64, ..self }
    }
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<Waiting>,
    /// Of all that wait and of the group that is being committed.
    bytes: u64,
    bytes_peak: u64,
    /// Of that group.
    taken: u64,
    closed: bool,
}

impl Inner {
    fn give_back(&mut self) {
        self.bytes -= std::mem::take(&mut self.taken);
    }
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
        let bytes = waiting.bytes;
        let mut inner = self.inner.lock();
        // One commit always fits into an empty queue, however large.
        while !inner.closed && inner.bytes > 0 && inner.bytes + bytes > self.bytes_max {
            self.emptied.wait(&mut inner);
        }
        if inner.closed {
            return Err(waiting);
        }
        inner.bytes += bytes;
        inner.bytes_peak = inner.bytes_peak.max(inner.bytes);
        inner.waiting.push_back(waiting);
        self.filled.notify_one();
        Ok(())
    }

    /// Takes the next group; `None` once the queue is closed and empty. The group counts until
    /// [`Queue::applied`] is called, or the next one is taken.
    pub fn take(&self) -> Option<Vec<Waiting>> {
        let mut inner = self.inner.lock();
        // A group that was given up must not keep others out.
        inner.give_back();
        self.emptied.notify_all();
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
        inner.taken = group.iter().map(|w: &Waiting| w.bytes).sum();
        Some(group)
    }

    /// The group taken last is in the heads, or given up.
    pub fn applied(&self) {
        self.inner.lock().give_back();
        self.emptied.notify_all();
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.inner.lock().waiting.is_empty()
    }

    /// Bytes of records and rows of commits that are not applied yet.
    pub fn bytes(&self) -> u64 {
        self.inner.lock().bytes
    }

    /// Most of them since the start.
    pub fn bytes_peak(&self) -> u64 {
        self.inner.lock().bytes_peak
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
