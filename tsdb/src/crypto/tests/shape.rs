//! Lets tests written for plain storage run on sealed storage too.

use std::cell::Cell;
use std::sync::Arc;

use crate::crypto::{KeyRing, MasterKey, SealedStorage};
use crate::io::Storage;

thread_local! {
    static SEALED: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread's tests seal.
pub fn is_sealed() -> bool {
    SEALED.get()
}

/// Runs a test with [`shaped`] sealing.
pub fn sealed(run: impl FnOnce()) {
    SEALED.set(true);
    run();
    SEALED.set(false);
}

/// A key of tests.
pub fn key(number: u8) -> MasterKey {
    MasterKey::new(&[number; 32]).unwrap()
}

/// A ring of one key.
pub fn keys(number: u8) -> Arc<KeyRing> {
    KeyRing::new(vec![key(number)]).unwrap()
}

/// The storage, sealed if this thread's tests are.
pub fn shaped(storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
    match is_sealed() {
        true => Arc::new(SealedStorage::new(storage, keys(1))),
        false => storage,
    }
}
