//! A value that is replaced as a whole while others read it.

use std::sync::Arc;

use parking_lot::RwLock;

/// The newest value. Readers hold what they were given for as long as they need it; the lock is held
/// for the copy of a pointer alone.
#[derive(Debug)]
pub(crate) struct Published<T>(RwLock<Arc<T>>);

impl<T> Published<T> {
    pub fn new(value: T) -> Published<T> {
        Published(RwLock::new(Arc::new(value)))
    }

    /// The newest value.
    pub fn load(&self) -> Arc<T> {
        Arc::clone(&self.0.read())
    }

    /// Puts another in its place.
    pub fn store(&self, value: T) {
        let value = Arc::new(value);
        let old = std::mem::replace(&mut *self.0.write(), value);
        // Whatever goes with it takes its time outside of the lock.
        drop(old);
    }
}
