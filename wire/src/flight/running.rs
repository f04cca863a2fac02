//! The statements that run for calls: whom a ticket's cancel ends, and who reads no more.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use query::{QueryError, Session};
use tokio::sync::OwnedMutexGuard;
use tonic::Status;

use super::shelf::Key;
use super::transaction::Transaction;
use super::{refusal, signals};

/// All of them.
#[derive(Default)]
pub(super) struct Running {
    next: AtomicU64,
    calls: Arc<Mutex<HashMap<u64, Entry>>>,
}

struct Entry {
    ticket: Option<Key>,
    session: Arc<Session>,
    /// A cancel that comes before the statement has begun must not be lost.
    cancelled: Arc<AtomicBool>,
    /// Since when the client has not asked for more; `None` while the server works.
    idle: Option<Instant>,
}

impl Entry {
    fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        self.session.cancel();
    }
}

/// Where a statement runs: in a session of its own, or in the turn of a transaction.
pub(super) struct Place {
    pub session: Arc<Session>,
    pub block: Option<Turn>,
}

impl Place {
    /// An error as the answer. Any error makes a transaction fail, also one that its session did
    /// not see.
    pub(super) fn refuse(&self, error: QueryError) -> Status {
        if self.block.is_some() {
            self.session.fail();
        }
        refusal::status(error)
    }
}

/// A transaction runs one statement at a time.
pub(super) struct Turn {
    pub transaction: Arc<Transaction>,
    pub _guard: OwnedMutexGuard<()>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.transaction.touch();
    }
}

/// A statement of a call. Dropped before its end, as when the client leaves, it ends the statement.
pub(super) struct Call {
    number: u64,
    calls: Arc<Mutex<HashMap<u64, Entry>>>,
    cancelled: Arc<AtomicBool>,
    finished: bool,
    /// Whether a COPY is under way, which must not be half done in a transaction.
    copying: bool,
    /// Goes last: the next statement of a transaction begins then.
    place: Place,
}

impl Running {
    pub(super) fn enter(&self, place: Place, ticket: Option<Key>) -> Call {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (session, cancelled) = (Arc::clone(&place.session), Arc::<AtomicBool>::default());
        let entry = Entry { ticket, session, cancelled: Arc::clone(&cancelled), idle: None };
        self.calls.lock().insert(number, entry);
        let calls = Arc::clone(&self.calls);
        Call { number, calls, cancelled, finished: false, copying: false, place }
    }

    /// Ends what runs for a ticket; how many statements that were.
    pub(super) fn cancel(&self, ticket: &Key) -> usize {
        let calls = self.calls.lock();
        let of_ticket = calls.values().filter(|entry| entry.ticket.as_ref() == Some(ticket));
        of_ticket.map(Entry::cancel).count()
    }

    /// Ends what nobody reads any more.
    pub(super) fn end_unread(&self, wait_max: Duration) {
        for entry in self.calls.lock().values_mut() {
            if entry.idle.is_some_and(|since| since.elapsed() >= wait_max) {
                entry.idle = None;
                signals::stalled();
                entry.cancel();
            }
        }
    }

    pub(super) fn end_all(&self) {
        self.calls.lock().values().for_each(Entry::cancel);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.calls.lock().len()
    }

    /// How many wait for their client.
    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        self.calls.lock().values().filter(|entry| entry.idle.is_some()).count()
    }
}

impl Call {
    pub(super) fn session(&self) -> &Session {
        &self.place.session
    }

    pub(super) fn in_block(&self) -> bool {
        self.place.block.is_some()
    }

    /// Asked once the statement has begun: from then on its session hears of a cancel by itself.
    ///
    /// # Errors
    /// `57014` where it was cancelled before.
    pub(super) fn check(&self) -> Result<(), QueryError> {
        match self.cancelled.load(Ordering::SeqCst) {
            false => Ok(()),
            true => Err(QueryError::new("57014", "canceling statement due to user request")),
        }
    }

    /// As [`Place::refuse`].
    pub(super) fn refuse(&self, error: QueryError) -> Status {
        self.place.refuse(error)
    }

    /// Another run of the statement begins.
    pub(super) fn begin(&mut self) {
        self.finished = false;
    }

    /// The statement is over, well or not, or will end with its rows.
    pub(super) fn finish(&mut self) {
        self.finished = true;
        self.copying = false;
    }

    pub(super) fn copies(&mut self) {
        self.copying = true;
    }

    /// The client asks for more.
    pub(super) fn asked(&self) {
        self.note(None);
    }

    /// The client has got something.
    pub(super) fn gave(&self) {
        self.note(Some(Instant::now()));
    }

    fn note(&self, idle: Option<Instant>) {
        if let Some(entry) = self.calls.lock().get_mut(&self.number) {
            entry.idle = idle;
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.calls.lock().remove(&self.number);
        if self.copying {
            // Nobody is there to be told; in a transaction block it makes the block fail.
            let _error = self.place.session.copy_fail("the client left");
        }
        if !self.finished {
            self.place.session.cancel();
        }
    }
}
