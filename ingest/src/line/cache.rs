//! Raw `measurement,tags` bytes to known series numbers, shared by all requests.
//!
//! Invariants: an entry holds for one table number and one version of its schema, so a dropped,
//! renamed or altered table never gets a wrong series; its old entries are merely not found and
//! leave with their generation. A shard holds two generations, each bounded: when the young one
//! is full it becomes the old one and the old one goes.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use parking_lot::RwLock;
use tsdb::PoolUsage;
use tsdb::types::TableId;

const SHARDS: usize = 16;
/// Bytes beside the raw key that an entry takes, roughly.
const ENTRY_BYTES: usize = 64;
/// Default bound of a cache: some 250,000 keys of TSBS's size, in two generations.
pub const CACHE_BYTES_MAX: usize = 64 << 20;

/// The table that an entry speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableVersion {
    /// Number of the table.
    pub table: TableId,
    /// Version of its schema.
    pub version: u32,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    raw: Box<[u8]>,
    of: TableVersion,
    series: u32,
}

#[derive(Debug, Default)]
struct Shard {
    young: HashTable<Entry>,
    old: HashTable<Entry>,
    young_bytes: usize,
    old_bytes: usize,
}

/// The cache.
#[derive(Debug)]
pub struct SeriesCache {
    hasher: RandomState,
    shards: Vec<RwLock<Shard>>,
    generation_bytes_max: usize,
    /// Of all shards.
    bytes: AtomicUsize,
    bytes_peak: AtomicUsize,
}

impl SeriesCache {
    /// An empty cache that holds about `bytes_max` at most.
    pub fn new(bytes_max: usize) -> SeriesCache {
        SeriesCache {
            hasher: RandomState::default(),
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            generation_bytes_max: bytes_max / SHARDS / 2,
            bytes: AtomicUsize::new(0),
            bytes_peak: AtomicUsize::new(0),
        }
    }

    /// Hash that the other calls ask for.
    #[inline]
    pub fn hash(&self, raw: &[u8]) -> u64 {
        self.hasher.hash_one(raw)
    }

    fn shard(&self, hash: u64) -> &RwLock<Shard> {
        // The table uses the low and the highest bits for itself.
        &self.shards[(hash >> 40) as usize % SHARDS]
    }

    /// The series that these bytes named in this version of the table.
    pub fn get(&self, hash: u64, raw: &[u8], of: TableVersion) -> Option<u32> {
        let shard = self.shard(hash).read();
        let same = |entry: &Entry| entry.of == of && *entry.raw == *raw;
        let found = shard.young.find(hash, same).or_else(|| shard.old.find(hash, same));
        found.map(|entry| entry.series)
    }

    /// Remembers a series that readers can see.
    pub fn insert(&self, hash: u64, raw: &[u8], of: TableVersion, series: u32) {
        let bytes = raw.len() + ENTRY_BYTES;
        if bytes > self.generation_bytes_max {
            return;
        }
        let mut shard = self.shard(hash).write();
        if let Some(entry) = shard.young.find_mut(hash, |entry| *entry.raw == *raw) {
            entry.of = of;
            entry.series = series;
            return;
        }
        if shard.young_bytes + bytes > self.generation_bytes_max {
            self.bytes.fetch_sub(shard.old_bytes, Ordering::Relaxed);
            shard.old = std::mem::take(&mut shard.young);
            shard.old_bytes = std::mem::take(&mut shard.young_bytes);
        }
        shard.young_bytes += bytes;
        let held = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.bytes_peak.fetch_max(held, Ordering::Relaxed);
        let entry = Entry { hash, raw: raw.into(), of, series };
        shard.young.insert_unique(hash, entry, |entry| entry.hash);
    }

    /// Bytes held, allowed and ever held.
    pub fn usage(&self) -> PoolUsage {
        PoolUsage {
            name: "line series cache",
            used: self.bytes.load(Ordering::Relaxed) as u64,
            limit: (self.generation_bytes_max * SHARDS * 2) as u64,
            peak: self.bytes_peak.load(Ordering::Relaxed) as u64,
        }
    }

    /// Entries held.
    pub fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.read())
            .map(|shard| shard.young.len() + shard.old.len())
            .sum()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_belongs_to_one_version_of_one_table() {
        let cache = SeriesCache::new(1 << 20);
        let of = TableVersion { table: 3, version: 7 };
        let hash = cache.hash(b"cpu,host=a");
        cache.insert(hash, b"cpu,host=a", of, 42);
        assert_eq!(cache.get(hash, b"cpu,host=a", of), Some(42));
        assert_eq!(cache.get(hash, b"cpu,host=a", TableVersion { table: 4, version: 7 }), None);
        assert_eq!(cache.get(hash, b"cpu,host=a", TableVersion { table: 3, version: 8 }), None);
        assert_eq!(cache.get(hash, b"cpu,host=b", of), None);
        let newer = TableVersion { table: 3, version: 8 };
        cache.insert(hash, b"cpu,host=a", newer, 43);
        assert_eq!(cache.get(hash, b"cpu,host=a", newer), Some(43));
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn old_generations_go() {
        let cache = SeriesCache::new(SHARDS * 2 * 1000);
        let of = TableVersion { table: 1, version: 1 };
        for number in 0..10_000u32 {
            let raw = format!("cpu,host={number}");
            cache.insert(cache.hash(raw.as_bytes()), raw.as_bytes(), of, number);
        }
        assert!(cache.len() <= SHARDS * 2 * 1000 / ENTRY_BYTES, "{}", cache.len());
        assert!(!cache.is_empty());
        let usage = cache.usage();
        assert!(usage.used > 0 && usage.used <= usage.peak && usage.peak <= usage.limit);
        let raw = b"cpu,host=9999";
        assert_eq!(cache.get(cache.hash(raw), raw, of), Some(9999));
    }
}
