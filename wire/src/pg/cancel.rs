//! Which connection a CancelRequest means: process number and secret to the session it ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use parking_lot::Mutex;

type Stop = Arc<dyn Fn() + Send + Sync>;

/// The connections that can be cancelled.
#[derive(Default)]
pub struct Cancels {
    next_process: AtomicI32,
    /// Protects the map alone; never held while a session is told.
    sessions: Mutex<HashMap<i32, (i32, Stop)>>,
}

impl Cancels {
    /// Enters a connection; the returned key leaves the list when dropped.
    pub fn enter(self: &Arc<Self>, secret: i32, stop: Stop) -> CancelKey {
        let mut sessions = self.sessions.lock();
        let process = loop {
            // Process numbers are positive, as clients expect of them, and are not reused in use.
            let process = self.next_process.fetch_add(1, Ordering::Relaxed) & i32::MAX;
            if process != 0 && !sessions.contains_key(&process) {
                break process;
            }
        };
        sessions.insert(process, (secret, stop));
        CancelKey { process, secret, list: Arc::clone(self) }
    }

    /// Ends what the connection runs, if the secret is right. Says whether it was.
    pub fn cancel(&self, process: i32, secret: i32) -> bool {
        let found = self.sessions.lock().get(&process).cloned();
        match found {
            Some((known, stop)) if known == secret => {
                stop();
                true
            }
            _ => false,
        }
    }

    /// Ends what every connection runs.
    pub fn cancel_all(&self) {
        let all: Vec<Stop> = self.sessions.lock().values().map(|(_, stop)| stop.clone()).collect();
        for stop in all {
            stop();
        }
    }
}

/// A connection's place in the list.
pub struct CancelKey {
    pub process: i32,
    pub secret: i32,
    list: Arc<Cancels>,
}

impl Drop for CancelKey {
    fn drop(&mut self) {
        self.list.sessions.lock().remove(&self.process);
    }
}
