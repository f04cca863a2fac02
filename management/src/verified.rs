//! Passwords that were right a moment ago, so that not every HTTP request pays for argon2id.
//!
//! An entry holds a keyed hash under a key that only this process knows, never the password. It
//! names the user's oid and revision: any change of the user makes it worthless at once.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use parking_lot::Mutex;

use crate::secret::random;

struct Entry {
    oid: u32,
    revision: u64,
    tag: hmac::Tag,
    until: Instant,
}

pub(crate) struct Verified {
    key: hmac::Key,
    map: Mutex<HashMap<String, Entry>>,
    keep: Duration,
    entries_max: usize,
}

/// Which state of a user a password was right for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub oid: u32,
    pub revision: u64,
}

impl Verified {
    pub fn new(keep: Duration, entries_max: usize) -> Verified {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &random::<32>());
        Verified { key, map: Mutex::new(HashMap::new()), keep, entries_max }
    }

    /// Whether this very password was right for this very state of the user.
    pub fn holds(&self, user: &str, stamp: Stamp, password: &str, now: Instant) -> bool {
        let message = message(user, password);
        let map = self.map.lock();
        let Some(entry) = map.get(user) else {
            return false;
        };
        let same = Stamp { oid: entry.oid, revision: entry.revision } == stamp && now < entry.until;
        // `verify` compares in constant time.
        hmac::verify(&self.key, &message, entry.tag.as_ref()).is_ok() && same
    }

    pub fn put(&self, user: &str, stamp: Stamp, password: &str, now: Instant) {
        if self.keep.is_zero() {
            return;
        }
        let tag = hmac::sign(&self.key, &message(user, password));
        let mut map = self.map.lock();
        if !map.contains_key(user) && map.len() >= self.entries_max {
            map.retain(|_, entry| now < entry.until);
            if map.len() >= self.entries_max {
                map.clear();
            }
        }
        let Stamp { oid, revision } = stamp;
        map.insert(user.to_owned(), Entry { oid, revision, tag, until: now + self.keep });
    }
}

/// The length keeps "ab" + "c" apart from "a" + "bc".
fn message(user: &str, password: &str) -> Vec<u8> {
    let mut bytes = (user.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(user.as_bytes());
    bytes.extend_from_slice(password.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { oid: 10, revision: 1 };

    #[test]
    fn holds_only_for_the_same_user_state_password_and_time() {
        let keep = Duration::from_secs(60);
        let verified = Verified::new(keep, 10);
        let now = Instant::now();
        verified.put("ann", STAMP, "correct horse", now);
        assert!(verified.holds("ann", STAMP, "correct horse", now));
        assert!(!verified.holds("ann", STAMP, "correct hors", now));
        assert!(!verified.holds("an", STAMP, "ncorrect horse", now));
        assert!(!verified.holds("ann", Stamp { revision: 2, ..STAMP }, "correct horse", now));
        assert!(!verified.holds("ann", Stamp { oid: 11, ..STAMP }, "correct horse", now));
        assert!(!verified.holds("ann", STAMP, "correct horse", now + keep));
    }

    #[test]
    fn bounded_and_off_at_zero() {
        let now = Instant::now();
        let verified = Verified::new(Duration::from_secs(60), 10);
        for n in 0..100 {
            verified.put(&format!("u{n}"), STAMP, "p", now);
        }
        assert!(verified.map.lock().len() <= 10);
        let off = Verified::new(Duration::ZERO, 10);
        off.put("ann", STAMP, "p", now);
        assert!(!off.holds("ann", STAMP, "p", now));
    }
}
