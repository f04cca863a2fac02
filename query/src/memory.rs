//! Memory as `sys.memory` shows it: the pool of all queries, and pools that other rooms register.

use std::fmt::{Display, Formatter};
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::error::Result;
use datafusion::execution::memory_pool::{
    FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};
use parking_lot::RwLock;
use tsdb::{DbStats, PoolUsage};

/// Tells what a pool holds.
type Probe = Box<dyn Fn() -> PoolUsage + Send + Sync>;

/// The pools of a process beside those of the storage engine.
#[derive(Default)]
pub struct Pools {
    probes: RwLock<Vec<Probe>>,
}

impl Pools {
    /// Adds a pool; one of the same name takes its place.
    pub fn register(&self, probe: impl Fn() -> PoolUsage + Send + Sync + 'static) {
        let name = probe().name;
        let mut probes = self.probes.write();
        probes.retain(|other| other().name != name);
        probes.push(Box::new(probe));
    }

    /// What each holds now, those of the engine first.
    pub fn usage(&self, stats: &DbStats) -> Vec<PoolUsage> {
        let mut all = stats.pools.clone();
        all.extend(self.probes.read().iter().map(|probe| probe()));
        all
    }
}

/// The pool of all queries: shares memory fairly among operators that can spill, and knows the
/// most that was ever held.
#[derive(Debug)]
pub(crate) struct QueryPool {
    inner: FairSpillPool,
    bytes_max: usize,
    held: AtomicUsize,
    peak: AtomicUsize,
}

impl QueryPool {
    pub(crate) fn new(bytes_max: usize) -> QueryPool {
        QueryPool {
            inner: FairSpillPool::new(bytes_max),
            bytes_max,
            held: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
        }
    }

    pub(crate) fn usage(&self) -> PoolUsage {
        PoolUsage {
            name: "queries",
            used: self.held.load(Ordering::Relaxed) as u64,
            limit: self.bytes_max as u64,
            peak: self.peak.load(Ordering::Relaxed) as u64,
        }
    }

    fn grown(&self, bytes: usize) {
        let held = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(held, Ordering::Relaxed);
    }
}

impl Display for QueryPool {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

impl MemoryPool for QueryPool {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.inner.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.inner.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.inner.grow(reservation, additional);
        self.grown(additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.inner.shrink(reservation, shrink);
        self.held.fetch_sub(shrink, Ordering::Relaxed);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.inner.try_grow(reservation, additional)?;
        self.grown(additional);
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.inner.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.inner.memory_limit()
    }
}

#[cfg(test)]
mod tests {
    //! Tests of counting.
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_pool_of_queries_knows_its_peak() {
        let counted = Arc::new(QueryPool::new(1000));
        let pool: Arc<dyn MemoryPool> = counted.clone();
        let reservation = MemoryConsumer::new("test").register(&pool);
        reservation.try_grow(700).unwrap();
        assert!(reservation.try_grow(700).is_err());
        reservation.shrink(300);
        let usage = counted.usage();
        assert_eq!((usage.used, usage.limit, usage.peak), (400, 1000, 700));
        assert_eq!(pool.reserved(), 400);
        drop(reservation);
        assert_eq!(counted.usage().used, 0);
    }

    #[test]
    fn a_pool_registered_again_is_told_once() {
        let pools = Pools::default();
        for used in [1, 2] {
            pools.register(move || PoolUsage { name: "x", used, limit: 3, peak: 3 });
        }
        let usage = pools.usage(&DbStats::default());
        assert_eq!(usage, [PoolUsage { name: "x", used: 2, limit: 3, peak: 3 }]);
    }
}
