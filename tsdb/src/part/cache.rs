//! Decoded index sections, kept while they are used. The caches of all parts share one budget:
//! the one that brings it over its limit trims them all.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;

use super::index::{BlockEntry, ColumnStats, Lead};

/// Which section of a page: its lead, or blocks or statistics of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SectionKey {
    Lead,
    Blocks(u16),
    Stats(u16),
}

/// A decoded section.
#[derive(Clone, Debug)]
pub enum Decoded {
    Lead(Arc<Lead>),
    Blocks(Arc<Vec<BlockEntry>>),
    Stats(Arc<ColumnStats>),
}

impl Decoded {
    /// Memory held, bytes.
    fn memory(&self) -> usize {
        match self {
            Decoded::Lead(lead) => {
                size_of_val(&lead.groups[..])
                    + size_of_val(&lead.zones[..])
                    + size_of_val(&lead.sections[..])
            }
            Decoded::Blocks(blocks) => size_of_val(&blocks[..]),
            // Text prefixes are on the heap.
            Decoded::Stats(stats) => {
                size_of_val(&stats.zones[..])
                    + size_of_val(&stats.starts[..])
                    + stats.texts.len() * 96
            }
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<(u32, SectionKey), (Decoded, u64)>,
    bytes: usize,
    clock: u64,
}

/// Sections by page; the lock is held for look-ups only, never while reading.
#[derive(Debug, Default)]
pub struct Cache {
    inner: Mutex<Inner>,
    /// Set once and under the lock of `inner`, so that every byte is counted once.
    budget: OnceLock<Arc<CacheBudget>>,
}

impl Cache {
    pub fn get(&self, page: u32, key: SectionKey) -> Option<Decoded> {
        let mut inner = self.inner.lock();
        inner.clock += 1;
        let clock = inner.clock;
        inner.entries.get_mut(&(page, key)).map(|(decoded, used)| {
            *used = clock;
            decoded.clone()
        })
    }

    pub fn put(&self, page: u32, key: SectionKey, decoded: Decoded) {
        let budget = {
            let mut inner = self.inner.lock();
            inner.clock += 1;
            let (clock, before) = (inner.clock, inner.bytes);
            inner.bytes += decoded.memory();
            if let Some((old, _)) = inner.entries.insert((page, key), (decoded, clock)) {
                inner.bytes -= old.memory();
            }
            let budget = self.budget.get();
            if let Some(budget) = budget {
                budget.changed(before, inner.bytes);
            }
            budget
        };
        if let Some(budget) = budget {
            budget.trim();
        }
    }

    pub fn bytes(&self) -> usize {
        self.inner.lock().bytes
    }

    /// Drops what was not used for longest until at most `bytes_max` are held.
    pub fn trim(&self, bytes_max: usize) {
        let mut inner = self.inner.lock();
        if inner.bytes <= bytes_max {
            return;
        }
        let before = inner.bytes;
        let mut order: Vec<_> =
            inner.entries.iter().map(|(key, (_, used))| (*used, *key)).collect();
        order.sort_unstable_by_key(|(used, _)| *used);
        for (_, key) in order {
            if inner.bytes <= bytes_max {
                break;
            }
            if let Some((old, _)) = inner.entries.remove(&key) {
                inner.bytes -= old.memory();
            }
        }
        if let Some(budget) = self.budget.get() {
            budget.changed(before, inner.bytes);
        }
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        if let Some(budget) = self.budget.get() {
            budget.changed(self.inner.get_mut().bytes, 0);
        }
    }
}

/// What the caches of all parts of a database may hold together.
///
/// Lock order: `caches`, then one cache at a time. A cache takes no lock of the budget while it
/// holds its own.
#[derive(Debug)]
pub struct CacheBudget {
    bytes_max: usize,
    held: AtomicUsize,
    peak: AtomicUsize,
    caches: Mutex<Vec<Weak<Cache>>>,
}

impl CacheBudget {
    /// A budget of `bytes_max`.
    pub fn new(bytes_max: usize) -> CacheBudget {
        CacheBudget {
            bytes_max,
            held: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            caches: Mutex::default(),
        }
    }

    /// Bytes held now.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Most bytes ever held. A section is counted before what it displaces is dropped.
    pub fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// Counts a cache from now on; a second call changes nothing.
    pub(super) fn join(self: &Arc<CacheBudget>, cache: &Arc<Cache>) {
        {
            let inner = cache.inner.lock();
            if cache.budget.set(Arc::clone(self)).is_err() {
                return;
            }
            self.changed(0, inner.bytes);
        }
        self.caches.lock().push(Arc::downgrade(cache));
        self.trim();
    }

    fn changed(&self, before: usize, after: usize) {
        if after <= before {
            self.held.fetch_sub(before - after, Ordering::Relaxed);
            return;
        }
        let held = self.held.fetch_add(after - before, Ordering::Relaxed) + after - before;
        self.peak.fetch_max(held, Ordering::Relaxed);
    }

    /// Where more is held than may be, takes an eighth more than that away, from every cache in
    /// proportion: those in use fill again, the others fade.
    fn trim(&self) {
        if self.held() <= self.bytes_max {
            return;
        }
        // Who finds another thread at it leaves it the work.
        let Some(mut caches) = self.caches.try_lock() else { return };
        let held = self.held().max(1) as u128;
        let target = (self.bytes_max - self.bytes_max / 8) as u128;
        caches.retain(|cache| {
            let Some(cache) = cache.upgrade() else { return false };
            let keep = cache.bytes() as u128 * target / held;
            cache.trim(keep as usize);
            true
        });
    }
}

#[cfg(test)]
mod tests {
    //! Tests of the shared budget.
    use super::*;

    fn blocks(count: usize) -> Decoded {
        Decoded::Blocks(Arc::new(vec![BlockEntry::default(); count]))
    }

    #[test]
    fn caches_together_stay_under_their_limit() {
        let entry = blocks(100).memory();
        let budget = Arc::new(CacheBudget::new(10 * entry));
        let caches: Vec<Arc<Cache>> = (0..4).map(|_| Arc::default()).collect();
        // What was there before counts too.
        caches[0].put(0, SectionKey::Lead, blocks(100));
        caches.iter().for_each(|cache| budget.join(cache));
        budget.join(&caches[0]);
        assert_eq!(budget.held(), entry);
        for page in 0..100 {
            let cache = &caches[page as usize % 3];
            cache.put(page, SectionKey::Blocks(1), blocks(100));
            assert!(budget.held() <= 10 * entry, "{} of {}", budget.held(), 10 * entry);
            let sum: usize = caches.iter().map(|cache| cache.bytes()).sum();
            assert_eq!(budget.held(), sum);
        }
        assert!(budget.held() > 0);
        assert_eq!(budget.peak(), 11 * entry);
        // The same section again takes no more.
        let before = budget.held();
        caches[0].put(99, SectionKey::Blocks(1), blocks(100));
        assert_eq!(budget.held(), before);
        drop(caches);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn a_budget_of_nothing_keeps_nothing() {
        let budget = Arc::new(CacheBudget::new(0));
        let cache: Arc<Cache> = Arc::default();
        budget.join(&cache);
        cache.put(1, SectionKey::Lead, blocks(3));
        assert_eq!((cache.bytes(), budget.held()), (0, 0));
        assert!(cache.get(1, SectionKey::Lead).is_none());
    }

    #[test]
    fn threads_count_every_byte_once() {
        let budget = Arc::new(CacheBudget::new(50_000));
        let caches: Vec<Arc<Cache>> = (0..4).map(|_| Arc::default()).collect();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (budget, caches) = (&budget, &caches);
                scope.spawn(move || {
                    for page in 0..2_000u32 {
                        let cache = &caches[(page as usize + thread) % 4];
                        cache.put(page % 97, SectionKey::Blocks(thread as u16), blocks(7));
                        budget.join(cache);
                    }
                });
            }
        });
        let sum: usize = caches.iter().map(|cache| cache.bytes()).sum();
        assert_eq!(budget.held(), sum);
        budget.trim();
        assert!(budget.held() <= 50_000);
    }
}
