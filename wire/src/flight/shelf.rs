//! Things that are kept for a user between two calls, under keys that nobody can guess.
//!
//! The same answer, none, is given for a key that never was, one that is gone, and one of another
//! user.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use query::{QueryError, QueryResult};
use rustls::crypto::aws_lc_rs;

/// Random bytes.
pub(super) type Key = [u8; 32];

/// A bounded number of things for each user.
pub(super) struct Shelf<T> {
    /// For messages, such as `tickets`.
    what: &'static str,
    of_user_max: usize,
    inner: Mutex<Inner<T>>,
}

struct Inner<T> {
    entries: HashMap<Key, Entry<T>>,
    /// How many each user has.
    counts: HashMap<Arc<str>, usize>,
}

struct Entry<T> {
    owner: Arc<str>,
    value: Arc<T>,
    used: Instant,
}

impl<T> Shelf<T> {
    pub(super) fn new(what: &'static str, of_user_max: usize) -> Shelf<T> {
        let inner = Inner { entries: HashMap::new(), counts: HashMap::new() };
        Shelf { what, of_user_max, inner: Mutex::new(inner) }
    }

    /// Keeps something.
    ///
    /// # Errors
    /// `53400` where the user has as many as are allowed.
    pub(super) fn put(&self, owner: &str, value: T) -> QueryResult<Key> {
        let key = random_key()?;
        let mut inner = self.inner.lock();
        if inner.count(owner) >= self.of_user_max {
            let message = format!("user \"{owner}\" has {} open {}", self.of_user_max, self.what);
            return Err(QueryError::new("53400", message)
                .with_hint("Close what is not needed any more, or raise the server's limit."));
        }
        inner.insert(key, owner, value);
        Ok(key)
    }

    /// As `put`; what the user has not used for longest makes room.
    ///
    /// # Errors
    /// None but a lack of random numbers.
    pub(super) fn put_over(&self, owner: &str, value: T) -> QueryResult<Key> {
        let key = random_key()?;
        let mut inner = self.inner.lock();
        while inner.count(owner) >= self.of_user_max.max(1) {
            let of_owner = inner.entries.iter().filter(|(_, entry)| &*entry.owner == owner);
            let oldest = of_owner.min_by_key(|(_, entry)| entry.used).map(|(key, _)| *key);
            let Some(oldest) = oldest else { break };
            inner.remove(&oldest);
        }
        inner.insert(key, owner, value);
        Ok(key)
    }

    /// Gives something to its owner.
    pub(super) fn get(&self, owner: &str, key: &[u8]) -> Option<Arc<T>> {
        self.find(key, |entry| &*entry.owner == owner)
    }

    /// Gives something to whoever knows its key.
    pub(super) fn get_by_key(&self, key: &[u8]) -> Option<Arc<T>> {
        self.find(key, |_| true)
    }

    fn find(&self, key: &[u8], may: impl Fn(&Entry<T>) -> bool) -> Option<Arc<T>> {
        let key: &Key = key.try_into().ok()?;
        let mut inner = self.inner.lock();
        let entry = inner.entries.get_mut(key).filter(|entry| may(entry))?;
        entry.used = Instant::now();
        Some(entry.value.clone())
    }

    /// The key of the one thing of an owner that fits, if it is one.
    pub(super) fn only(&self, owner: &str, fits: impl Fn(&T) -> bool) -> Option<Key> {
        let inner = self.inner.lock();
        let of_owner = inner.entries.iter().filter(|(_, entry)| &*entry.owner == owner);
        let mut found = of_owner.filter(|(_, entry)| fits(&entry.value));
        let key = *found.next()?.0;
        found.next().is_none().then_some(key)
    }

    /// Gives something to its owner and forgets it.
    pub(super) fn take(&self, owner: &str, key: &[u8]) -> Option<Arc<T>> {
        let key: &Key = key.try_into().ok()?;
        let mut inner = self.inner.lock();
        inner.entries.get(key).filter(|entry| &*entry.owner == owner)?;
        inner.remove(key)
    }

    /// Forgets what is not to be kept, by the thing and the time since it was used; gives it.
    pub(super) fn sweep(&self, keep: impl Fn(&T, Duration) -> bool) -> Vec<Arc<T>> {
        let now = Instant::now();
        let mut inner = self.inner.lock();
        let old = |entry: &Entry<T>| !keep(&entry.value, now.duration_since(entry.used));
        let keys: Vec<Key> =
            inner.entries.iter().filter(|(_, entry)| old(entry)).map(|(key, _)| *key).collect();
        keys.iter().filter_map(|key| inner.remove(key)).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.inner.lock().entries.len()
    }
}

impl<T> Inner<T> {
    fn count(&self, owner: &str) -> usize {
        self.counts.get(owner).copied().unwrap_or(0)
    }

    fn insert(&mut self, key: Key, owner: &str, value: T) {
        let owner: Arc<str> = owner.into();
        *self.counts.entry(owner.clone()).or_default() += 1;
        self.entries.insert(key, Entry { owner, value: Arc::new(value), used: Instant::now() });
    }

    fn remove(&mut self, key: &Key) -> Option<Arc<T>> {
        let entry = self.entries.remove(key)?;
        if let Some(count) = self.counts.get_mut(&entry.owner) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&entry.owner);
            }
        }
        Some(entry.value)
    }
}

fn random_key() -> QueryResult<Key> {
    let mut key = Key::default();
    let filled = aws_lc_rs::default_provider().secure_random.fill(&mut key);
    filled.map_err(|_| QueryError::new("XX000", "the system gives no random numbers"))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_are_for_their_owner_alone() {
        let shelf = Shelf::new("things", 2);
        let key = shelf.put("ann", 1).unwrap();
        assert_eq!(shelf.get("ann", &key).as_deref(), Some(&1));
        assert_eq!(shelf.get("eve", &key), None);
        assert_eq!(shelf.take("eve", &key), None);
        assert_eq!(shelf.get("ann", &key[..31]), None);
        assert_eq!(shelf.get("ann", &[0; 32]), None);
        assert_eq!(shelf.only("ann", |value| *value == 1), Some(key));
        assert_eq!(shelf.only("ann", |value| *value == 2), None);
        assert_eq!(shelf.only("eve", |_| true), None);
        assert_eq!(shelf.take("ann", &key).as_deref(), Some(&1));
        assert_eq!((shelf.get("ann", &key), shelf.len()), (None, 0));
    }

    #[test]
    fn a_user_has_so_many_and_no_more() {
        let shelf = Shelf::new("things", 2);
        let first = shelf.put("ann", 1).unwrap();
        shelf.put("ann", 2).unwrap();
        assert_eq!(shelf.put("ann", 3).unwrap_err().code, "53400");
        shelf.put("eve", 4).unwrap();
        shelf.take("ann", &first).unwrap();
        let third = shelf.put("ann", 3).unwrap();
        assert_eq!(shelf.only("ann", |_| true), None);
        // The second is the one unused for longest.
        shelf.get("ann", &third).unwrap();
        let last = shelf.put_over("ann", 5).unwrap();
        assert_eq!(shelf.len(), 3);
        assert!(shelf.get("ann", &last).is_some() && shelf.get("ann", &third).is_some());
    }

    #[test]
    fn what_is_swept_makes_room() {
        let shelf = Shelf::new("things", 2);
        shelf.put("ann", 1).unwrap();
        shelf.put("ann", 2).unwrap();
        let gone = shelf.sweep(|value, idle| *value == 2 && idle < Duration::from_secs(3600));
        assert_eq!(gone.iter().map(|value| **value).collect::<Vec<_>>(), [1]);
        shelf.put("ann", 3).unwrap();
        assert_eq!(shelf.put("ann", 4).unwrap_err().code, "53400");
    }
}
