//! Memory as `sys.memory` shows it: the pool of all queries, each query's share of it, and pools
//! that other rooms register.

use std::fmt::{Display, Formatter};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{
    MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation, human_readable_size,
};
use datafusion::execution::runtime_env::RuntimeEnv;
use parking_lot::{Mutex, RwLock};
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

/// Part of a pool, one byte in so many, that operators which can spill leave to the others. What
/// was spilled is merged by operators that cannot, and these would find nothing where a sort took
/// all there was before the next one had begun.
const LEFT_BY_SPILLERS: usize = 8;

/// Memory that operators which can spill share evenly, as in DataFusion's `FairSpillPool`, but for
/// the part that is always there for those that cannot. One that held much when another began is
/// over its part until it asks for more and is made to spill: for so long the pool is, too.
#[derive(Debug)]
struct FairPool {
    bytes_max: usize,
    spillable_max: usize,
    state: Mutex<FairState>,
}

#[derive(Debug, Default)]
struct FairState {
    spillers: usize,
    spillable: usize,
    unspillable: usize,
}

impl FairPool {
    fn new(bytes_max: usize) -> FairPool {
        let spillable_max = bytes_max - bytes_max / LEFT_BY_SPILLERS;
        FairPool { bytes_max, spillable_max, state: Mutex::default() }
    }

    fn register(&self, consumer: &MemoryConsumer) {
        if consumer.can_spill() {
            self.state.lock().spillers += 1;
        }
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        if consumer.can_spill() {
            self.state.lock().spillers -= 1;
        }
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        *self.state.lock().part_of(reservation) += additional;
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        *self.state.lock().part_of(reservation) -= shrink;
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let mut state = self.state.lock();
        let left = self.bytes_max.saturating_sub(state.unspillable);
        let available = if reservation.consumer().can_spill() {
            let each = left.min(self.spillable_max) / state.spillers.max(1);
            each.saturating_sub(reservation.size())
        } else {
            left.saturating_sub(state.spillable.min(self.spillable_max))
        };
        if additional > available {
            return Err(DataFusionError::ResourcesExhausted(format!(
                "{} holds {} and asks for {} more, where it may have {} of the {}",
                reservation.consumer().name(),
                human_readable_size(reservation.size()),
                human_readable_size(additional),
                human_readable_size(available),
                human_readable_size(self.bytes_max),
            )));
        }
        *state.part_of(reservation) += additional;
        Ok(())
    }

    fn reserved(&self) -> usize {
        let state = self.state.lock();
        state.spillable + state.unspillable
    }
}

impl FairState {
    fn part_of(&mut self, reservation: &MemoryReservation) -> &mut usize {
        match reservation.consumer().can_spill() {
            true => &mut self.spillable,
            false => &mut self.unspillable,
        }
    }
}

impl Display for FairPool {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "fair({})", human_readable_size(self.bytes_max))
    }
}

/// The pool of all queries: shares memory fairly among operators that can spill, and knows the
/// most that was ever held.
#[derive(Debug)]
pub(crate) struct QueryPool {
    inner: FairPool,
    bytes_max: usize,
    held: AtomicUsize,
    peak: AtomicUsize,
}

impl QueryPool {
    pub(crate) fn new(bytes_max: usize) -> QueryPool {
        QueryPool {
            inner: FairPool::new(bytes_max),
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
        "queries"
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
        MemoryLimit::Finite(self.bytes_max)
    }
}

/// Begins the words of an error that one statement's limit gives.
pub(crate) const OWN_LIMIT: &str = "over millrace.query_memory: ";

/// What one statement holds.
#[derive(Debug, Default)]
struct Held {
    now: AtomicUsize,
    peak: AtomicUsize,
}

/// One statement's share of the pool: at most so many bytes of it.
pub(crate) struct Share {
    bytes_max: usize,
    all: Arc<QueryPool>,
    held: Arc<Held>,
    /// Made for the first operator that wants memory.
    pool: OnceLock<Arc<dyn MemoryPool>>,
    env: OnceLock<Arc<RuntimeEnv>>,
}

impl Share {
    pub(crate) fn new(all: &Arc<QueryPool>, bytes_max: usize) -> Share {
        Share {
            bytes_max: bytes_max.min(all.bytes_max),
            all: Arc::clone(all),
            held: Arc::default(),
            pool: OnceLock::new(),
            env: OnceLock::new(),
        }
    }

    /// Bytes that its operators hold.
    pub(crate) fn now(&self) -> usize {
        self.held.now.load(Ordering::Relaxed)
    }

    /// The most that they ever held.
    pub(crate) fn peak(&self) -> usize {
        self.held.peak.load(Ordering::Relaxed)
    }

    /// Where its operators take memory from.
    pub(crate) fn pool(&self) -> &Arc<dyn MemoryPool> {
        self.pool.get_or_init(|| {
            Arc::new(SharePool {
                own: FairPool::new(self.bytes_max),
                bytes_max: self.bytes_max,
                all: Arc::clone(&self.all),
                held: Arc::clone(&self.held),
            })
        })
    }

    /// What its operators see of the house: that of all queries, with this pool.
    pub(crate) fn env(&self, all: &RuntimeEnv) -> &Arc<RuntimeEnv> {
        self.env.get_or_init(|| {
            let memory_pool = Arc::clone(self.pool());
            Arc::new(RuntimeEnv { memory_pool, ..all.clone() })
        })
    }
}

/// Takes memory from the statement's share and from the pool of all. Both divide what they have
/// fairly among operators that can spill.
#[derive(Debug)]
struct SharePool {
    own: FairPool,
    bytes_max: usize,
    all: Arc<QueryPool>,
    held: Arc<Held>,
}

impl SharePool {
    fn grown(&self, bytes: usize) {
        let now = self.held.now.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.held.peak.fetch_max(now, Ordering::Relaxed);
    }
}

impl Display for SharePool {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        self.own.fmt(f)
    }
}

impl MemoryPool for SharePool {
    fn name(&self) -> &str {
        "statement"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.own.register(consumer);
        self.all.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.own.unregister(consumer);
        self.all.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.own.grow(reservation, additional);
        self.all.grow(reservation, additional);
        self.grown(additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.own.shrink(reservation, shrink);
        self.all.shrink(reservation, shrink);
        self.held.now.fetch_sub(shrink, Ordering::Relaxed);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        if let Err(error) = self.own.try_grow(reservation, additional) {
            // Where both are of one size it is the memory of all that is short.
            return Err(match error {
                DataFusionError::ResourcesExhausted(words)
                    if self.bytes_max < self.all.bytes_max =>
                {
                    DataFusionError::ResourcesExhausted(format!("{OWN_LIMIT}{words}"))
                }
                other => other,
            });
        }
        if let Err(error) = self.all.try_grow(reservation, additional) {
            self.own.shrink(reservation, additional);
            return Err(error);
        }
        self.grown(additional);
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.own.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes_max)
    }
}

#[cfg(test)]
mod tests {
    //! Tests of counting.
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
    fn a_share_ends_before_the_pool_of_all() {
        let all = Arc::new(QueryPool::new(1000));
        let (small, large) = (Share::new(&all, 300), Share::new(&all, 5000));
        let take = |share: &Share| MemoryConsumer::new("test").register(share.pool());
        let (first, second) = (take(&small), take(&large));
        first.try_grow(200).unwrap();
        let error = first.try_grow(200).unwrap_err().to_string();
        assert!(error.contains(OWN_LIMIT), "{error}");
        second.try_grow(700).unwrap();
        let error = second.try_grow(200).unwrap_err().to_string();
        assert!(!error.contains(OWN_LIMIT), "{error}");
        assert_eq!((small.now(), large.now(), all.usage().used), (200, 700, 900));
        second.shrink(600);
        second.try_grow(300).unwrap();
        drop(first);
        assert_eq!((small.now(), small.peak(), large.now(), large.peak()), (0, 200, 400, 700));
        drop(second);
        assert_eq!(all.usage().used, 0);
    }

    #[test]
    fn operators_that_spill_divide_a_share() {
        let all = Arc::new(QueryPool::new(1000));
        let share = Share::new(&all, 400);
        let take = || MemoryConsumer::new("test").with_can_spill(true).register(share.pool());
        let (first, second) = (take(), take());
        first.try_grow(175).unwrap();
        assert!(first.try_grow(1).is_err());
        second.try_grow(175).unwrap();
        drop((first, second));
        let alone = take();
        alone.try_grow(350).unwrap();
    }

    #[test]
    fn operators_that_spill_leave_some_to_the_others() {
        let all = Arc::new(QueryPool::new(1000));
        let share = Share::new(&all, 400);
        let sort = || MemoryConsumer::new("sort").with_can_spill(true).register(share.pool());
        let merge = MemoryConsumer::new("merge").register(share.pool());
        let first = sort();
        first.try_grow(350).unwrap();
        let error = first.try_grow(1).unwrap_err().to_string();
        assert!(error.contains(OWN_LIMIT) && error.contains("sort holds 350.0 B"), "{error}");
        merge.try_grow(30).unwrap();
        // One that begins when another has taken all can begin, and what merges has its part.
        let second = sort();
        second.try_grow(175).unwrap();
        assert!(second.try_grow(1).is_err());
        merge.try_grow(20).unwrap();
        assert!(merge.try_grow(1).is_err());
        // Who is over its part spills before it has more.
        assert!(first.try_grow(1).is_err());
        first.free();
        first.try_grow(175).unwrap();
        assert!(first.try_grow(1).is_err());
        // Others may have all that those have not taken, which leaves those less.
        drop(second);
        first.free();
        merge.try_grow(350).unwrap();
        assert!(first.try_grow(1).is_err());
        merge.shrink(100);
        first.try_grow(100).unwrap();
        assert!(first.try_grow(1).is_err());
        drop((first, merge));
        assert_eq!((share.now(), all.usage().used), (0, 0));
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
