//! What must stay although the database needs it no more, since it is being copied away: files
//! during a backup, and the log that is not archived yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::core::Core;

/// Who holds what. A leaf in the order of locks.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    /// The first position of the log that each holder needs.
    log: BTreeMap<u64, u64>,
    /// Files whose names go when nobody holds files any more.
    waiting: Vec<String>,
}

impl Holds {
    /// The first position that some holder needs; `u64::MAX` without any.
    pub fn log_first(&self) -> u64 {
        self.inner.lock().log.values().min().copied().unwrap_or(u64::MAX)
    }

    /// Notes the removal of a file for later; false if it can go at once.
    fn defer(&self, path: &str) -> bool {
        let mut inner = self.inner.lock();
        let held = !inner.log.is_empty();
        if held {
            inner.waiting.push(path.to_owned());
        }
        held
    }
}

/// Keeps files and log until it is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    core: Arc<Core>,
    number: u64,
}

impl Hold {
    /// Holds all files and the whole log from now on.
    pub fn new(core: &Arc<Core>) -> Hold {
        let mut inner = core.holds.inner.lock();
        inner.next += 1;
        let number = inner.next;
        inner.log.insert(number, 0);
        Hold { core: Arc::clone(core), number }
    }

    /// The log before `first` is not needed any more; the files are.
    pub fn release_log(&self, first: u64) {
        self.core.holds.inner.lock().log.insert(self.number, first);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let waiting = {
            let mut inner = self.core.holds.inner.lock();
            inner.log.remove(&self.number);
            let last = inner.log.is_empty();
            if last { std::mem::take(&mut inner.waiting) } else { Vec::new() }
        };
        for path in waiting {
            self.core.remove_now(&path);
        }
    }
}

impl Core {
    /// Removes a file that no version names, at once or when it is not held any more.
    pub fn remove(&self, path: &str) {
        if !self.holds.defer(path) {
            self.remove_now(path);
        }
    }

    fn remove_now(&self, path: &str) {
        // Not named any more: if it stays, the next open removes it.
        if let Err(error) = self.storage.remove(path) {
            tracing::warn!(path, %error, "could not remove an old file");
        }
    }
}
