//! What an evaluation holds: memory out of the statement's share, and samples under a limit of their
//! own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};

use crate::error::{QueryError, QueryResult};

/// Kept by all that one evaluation holds.
#[derive(Debug)]
pub(super) struct Account {
    memory: MemoryReservation,
    samples: AtomicUsize,
    samples_max: usize,
}

/// Something held; given back when dropped.
#[derive(Debug)]
pub struct Held {
    account: Arc<Account>,
    bytes: usize,
    samples: usize,
}

impl Account {
    pub(super) fn new(pool: &Arc<dyn MemoryPool>, samples_max: usize) -> Arc<Account> {
        let memory = MemoryConsumer::new("promql").register(pool);
        Arc::new(Account { memory, samples: AtomicUsize::new(0), samples_max })
    }

    /// Nothing yet.
    pub(super) fn hold(self: &Arc<Self>) -> Held {
        Held { account: Arc::clone(self), bytes: 0, samples: 0 }
    }

    /// An error where so many more samples are over the limit.
    pub(super) fn check_samples(&self, more: usize) -> QueryResult<()> {
        if self.samples.load(Ordering::Relaxed).saturating_add(more) <= self.samples_max {
            return Ok(());
        }
        let message = format!(
            "query processing would load too many samples into memory in query execution, more than {}",
            self.samples_max
        );
        Err(QueryError::new("54000", message)
            .with_hint("Ask for fewer series or a shorter range. Setting prom_samples_max."))
    }
}

impl Held {
    /// Holds more.
    ///
    /// # Errors
    /// `53200` where the memory is spent, `54000` where it is too many samples.
    pub(super) fn grow(&mut self, bytes: usize, samples: usize) -> QueryResult<()> {
        self.account.check_samples(samples)?;
        self.account.memory.try_grow(bytes)?;
        self.account.samples.fetch_add(samples, Ordering::Relaxed);
        self.bytes += bytes;
        self.samples += samples;
        Ok(())
    }

    /// Holds at least so much.
    pub(super) fn grow_to(&mut self, bytes: usize, samples: usize) -> QueryResult<()> {
        let (bytes, samples) =
            (bytes.saturating_sub(self.bytes), samples.saturating_sub(self.samples));
        if bytes + samples > 0 { self.grow(bytes, samples) } else { Ok(()) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.account.memory.shrink(self.bytes);
        self.account.samples.fetch_sub(self.samples, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    #[test]
    fn what_is_dropped_is_given_back() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1000));
        let account = Account::new(&pool, 10);
        let mut first = account.hold();
        first.grow(600, 5).expect("room");
        first.grow_to(700, 4).expect("room");
        let mut second = account.hold();
        assert_eq!(second.grow(400, 1).expect_err("no memory").code, "53200");
        assert_eq!(second.grow(1, 6).expect_err("too many").code, "54000");
        drop(first);
        second.grow(1000, 10).expect("all of it");
        drop(second);
        assert_eq!(pool.reserved(), 0);
    }
}
