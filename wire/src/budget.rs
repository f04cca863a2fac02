//! Memory that requests of a door share: a semaphore, and the most that was ever taken of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tsdb::PoolUsage;

/// Bytes of a permit: permits are counted in u32.
pub const UNIT_BYTES: usize = 1024;

/// A budget of bytes.
#[derive(Debug)]
pub struct Budget {
    name: &'static str,
    semaphore: Arc<Semaphore>,
    units: usize,
    peak: AtomicU64,
}

impl Budget {
    /// A budget of `bytes`, rounded down to whole units.
    pub fn new(name: &'static str, bytes: usize) -> Budget {
        let units = (bytes / UNIT_BYTES).min(u32::MAX as usize).min(Semaphore::MAX_PERMITS);
        Budget { name, semaphore: Arc::new(Semaphore::new(units)), units, peak: AtomicU64::new(0) }
    }

    /// Waits for `units`.
    ///
    /// # Errors
    /// When the semaphore is closed, which nobody does.
    pub async fn acquire(&self, units: u32) -> Result<OwnedSemaphorePermit, AcquireError> {
        let permit = Arc::clone(&self.semaphore).acquire_many_owned(units).await?;
        self.note();
        Ok(permit)
    }

    /// Takes `units` if they are there.
    ///
    /// # Errors
    /// When they are not.
    pub fn try_acquire(&self, units: u32) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        let permit = Arc::clone(&self.semaphore).try_acquire_many_owned(units)?;
        self.note();
        Ok(permit)
    }

    /// Units that are free.
    #[cfg(test)]
    pub fn available(&self) -> usize {
        self.semaphore.available_permits()
    }

    /// What is taken, and ever was.
    pub fn usage(&self) -> PoolUsage {
        PoolUsage {
            name: self.name,
            used: self.used(),
            limit: (self.units * UNIT_BYTES) as u64,
            peak: self.peak.load(Ordering::Relaxed),
        }
    }

    fn used(&self) -> u64 {
        ((self.units - self.semaphore.available_permits().min(self.units)) * UNIT_BYTES) as u64
    }

    fn note(&self) {
        self.peak.fetch_max(self.used(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    //! Tests of counting.
    use super::*;

    #[test]
    fn what_is_taken_is_told() {
        let budget = Budget::new("test", 10 * UNIT_BYTES + 7);
        let first = budget.try_acquire(6).unwrap();
        assert!(budget.try_acquire(5).is_err());
        drop(first);
        let _second = budget.try_acquire(2).unwrap();
        let usage = budget.usage();
        assert_eq!((usage.used, usage.limit, usage.peak), (2048, 10240, 6144));
        assert_eq!(budget.available(), 8);
    }
}
