//! Decoded columns of row groups, kept while they are asked for more often than others.
//!
//! Dashboards ask for the same hours again and again; decoding them costs more than all else that
//! is done with them. What stays is decided as in TinyLFU (Einziger, Friedman, Manes, 2017): a
//! newcomer takes the place of another only if it was asked for more often of late. So one pass
//! over years of data displaces nothing, and of a set too large for the cache a part stays, where
//! dropping the oldest would keep none of it.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::types::{Column, ColumnId, PhysicalType};

/// Parts of the cache, each with a lock of its own.
const SHARDS: usize = 16;
/// Counters of a shard; keys of one hash share theirs.
const COUNTERS: usize = 8192;
/// Where a counter stops.
const COUNT_MAX: u8 = 15;
/// Counts after which all are halved, so that what was asked for long ago fades.
const COUNTS_MAX: usize = 8 * COUNTERS;
/// Entries that one newcomer may pass over because they were used since they were looked at last.
const PASSES_MAX: usize = 8;

/// Times a column must have been asked for of late to be decoded whole where some of its rows are
/// wanted.
const ASKED_OFTEN: u8 = 4;

/// Names a column of a row group of an open part, as a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockKey {
    /// Number of the open part: not its file, which may go and come again.
    pub part: u64,
    /// Group in the part.
    pub group: u32,
    /// Column.
    pub column: ColumnId,
    /// The type asked for, as integers may be read as floats.
    pub kind: PhysicalType,
}

/// Decoded columns, up to a number of bytes.
#[derive(Debug)]
pub struct Blocks {
    shards: Vec<Mutex<Shard>>,
    hasher: foldhash::fast::FixedState,
    shard_bytes_max: usize,
    held: AtomicUsize,
    peak: AtomicUsize,
}

#[derive(Debug)]
struct Shard {
    entries: HashMap<BlockKey, Entry>,
    /// Every entry once, the next to be looked at in front; keys without an entry are passed over.
    order: VecDeque<BlockKey>,
    bytes: usize,
    counters: Vec<u8>,
    counts: usize,
}

#[derive(Debug)]
struct Entry {
    column: Arc<Column>,
    bytes: usize,
    used: bool,
}

/// What an entry takes beside its column.
const ENTRY_BYTES: usize = size_of::<Entry>() + 2 * size_of::<BlockKey>();

impl Blocks {
    /// A cache of at most `bytes_max`; 0 keeps nothing.
    #[must_use]
    pub fn new(bytes_max: usize) -> Blocks {
        let shard = || Shard {
            entries: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            counters: vec![0; if bytes_max == 0 { 0 } else { COUNTERS }],
            counts: 0,
        };
        Blocks {
            shards: (0..SHARDS).map(|_| Mutex::new(shard())).collect(),
            hasher: foldhash::fast::FixedState::default(),
            shard_bytes_max: bytes_max / SHARDS,
            held: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
        }
    }

    /// Whether anything is kept at all.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.shard_bytes_max == 0
    }

    /// Bytes held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Most bytes ever held.
    #[must_use]
    pub fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    fn place(&self, key: &BlockKey) -> (&Mutex<Shard>, usize) {
        let hash = self.hasher.hash_one(key);
        // The lower bits choose the shard, others the counter.
        let shard = &self.shards[hash as usize % SHARDS];
        (shard, (hash >> 32) as usize % COUNTERS)
    }

    /// A column, if it is held. Asking counts whether it is or not.
    pub fn get(&self, key: &BlockKey) -> Option<Arc<Column>> {
        if self.is_off() {
            return None;
        }
        let (shard, counter) = self.place(key);
        let mut shard = shard.lock();
        shard.count(counter);
        shard.entries.get_mut(key).map(|entry| {
            entry.used = true;
            Arc::clone(&entry.column)
        })
    }

    /// Whether a column that is not held is asked for so often that all of it should be decoded and
    /// kept, though few of its rows are wanted.
    pub fn is_asked_often(&self, key: &BlockKey) -> bool {
        let (shard, counter) = self.place(key);
        shard.lock().counters.get(counter).is_some_and(|count| *count >= ASKED_OFTEN)
    }

    /// Whether a column is held, or would be if it were offered with values of so many bytes,
    /// without another going for it.
    pub fn has_room(&self, key: &BlockKey, bytes: usize) -> bool {
        let bytes = bytes + ENTRY_BYTES;
        let shard = self.place(key).0.lock();
        let fits = bytes <= self.shard_bytes_max / 8 && shard.bytes + bytes <= self.shard_bytes_max;
        fits || shard.entries.contains_key(key)
    }

    /// Offers a column that was decoded.
    pub fn put(&self, key: BlockKey, column: &Arc<Column>) {
        let bytes = column.memory() + ENTRY_BYTES;
        if bytes > self.shard_bytes_max / 8 {
            return;
        }
        let (shard, counter) = self.place(&key);
        let mut shard = shard.lock();
        if shard.entries.contains_key(&key) {
            return;
        }
        let before = shard.bytes;
        let newcomer = shard.counters[counter];
        let mut passes = 0;
        while shard.bytes + bytes > self.shard_bytes_max {
            let Some(oldest) = shard.order.pop_front() else { break };
            let Some(entry) = shard.entries.get_mut(&oldest) else { continue };
            if std::mem::take(&mut entry.used) && passes < PASSES_MAX {
                passes += 1;
                shard.order.push_back(oldest);
                continue;
            }
            if shard.counters[self.place(&oldest).1] >= newcomer {
                shard.order.push_back(oldest);
                self.changed(before, shard.bytes);
                return;
            }
            shard.remove(&oldest);
        }
        shard.bytes += bytes;
        shard.order.push_back(key);
        shard.entries.insert(key, Entry { column: Arc::clone(column), bytes, used: false });
        self.changed(before, shard.bytes);
    }

    /// Drops all columns of a part: it is read no more.
    pub fn forget(&self, part: u64) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            let before = shard.bytes;
            let gone: Vec<_> =
                shard.entries.keys().filter(|key| key.part == part).copied().collect();
            if gone.is_empty() {
                continue;
            }
            gone.iter().for_each(|key| shard.remove(key));
            shard.order.retain(|key| key.part != part);
            self.changed(before, shard.bytes);
        }
    }

    fn changed(&self, before: usize, after: usize) {
        if after <= before {
            self.held.fetch_sub(before - after, Ordering::Relaxed);
            return;
        }
        let held = self.held.fetch_add(after - before, Ordering::Relaxed) + after - before;
        self.peak.fetch_max(held, Ordering::Relaxed);
    }
}

impl Shard {
    fn count(&mut self, counter: usize) {
        let count = &mut self.counters[counter];
        if *count < COUNT_MAX {
            *count += 1;
            self.counts += 1;
        }
        if self.counts >= COUNTS_MAX {
            self.counters.iter_mut().for_each(|count| *count /= 2);
            self.counts /= 2;
        }
    }

    fn remove(&mut self, key: &BlockKey) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    //! Tests of what stays.
    use super::*;
    use crate::types::Values;

    fn key(part: u64, group: u32) -> BlockKey {
        BlockKey { part, group, column: 1, kind: PhysicalType::Int }
    }

    fn column(rows: usize) -> Arc<Column> {
        Arc::new(Column::good(Values::Int(vec![7; rows])))
    }

    fn sum(blocks: &Blocks) -> usize {
        blocks.shards.iter().map(|shard| shard.lock().bytes).sum()
    }

    /// Asks for a column and decodes it if it is not there; whether it was.
    fn ask(blocks: &Blocks, key: BlockKey) -> bool {
        let found = blocks.get(&key).is_some();
        if !found {
            blocks.put(key, &column(100));
        }
        found
    }

    #[test]
    fn what_is_asked_for_again_is_there() {
        let blocks = Blocks::new(1 << 20);
        assert!(!ask(&blocks, key(1, 1)));
        assert!(ask(&blocks, key(1, 1)));
        assert!(!ask(&blocks, BlockKey { kind: PhysicalType::Float, ..key(1, 1) }));
        assert!(!ask(&blocks, BlockKey { column: 2, ..key(1, 1) }));
        assert!(!ask(&blocks, key(2, 1)));
        assert_eq!((blocks.held(), blocks.peak()), (sum(&blocks), sum(&blocks)));
    }

    #[test]
    fn a_pass_over_much_displaces_nothing() {
        let blocks = Blocks::new(1 << 20);
        for _ in 0..4 {
            (0..200).for_each(|group| {
                ask(&blocks, key(1, group));
            });
        }
        (0..50_000).for_each(|group| {
            ask(&blocks, key(2, group));
            assert!(blocks.held() <= 1 << 20);
        });
        let left = (0..200).filter(|group| ask(&blocks, key(1, *group))).count();
        assert!(left > 190, "{left} of 200 are left");
    }

    #[test]
    fn of_too_large_a_set_a_part_stays() {
        let blocks = Blocks::new(1 << 20);
        let mut found = 0;
        for _ in 0..5 {
            found = (0..3_000).filter(|group| ask(&blocks, key(1, *group))).count();
        }
        assert!(found > 500, "{found} of about 1,000 that fit");
        // What is asked for now takes the place of what was asked for before.
        for _ in 0..20 {
            found = (0..500).filter(|group| ask(&blocks, key(2, *group))).count();
        }
        assert!(found > 450, "{found} of 500");
    }

    #[test]
    fn what_is_asked_for_often_is_told_and_whether_there_is_room() {
        let blocks = Blocks::new(1 << 20);
        for nth in 0..ASKED_OFTEN {
            assert!(!blocks.is_asked_often(&key(1, 1)), "asked {nth} times");
            assert!(blocks.get(&key(1, 1)).is_none());
        }
        assert!(blocks.is_asked_often(&key(1, 1)));
        assert!(!blocks.is_asked_often(&key(1, 2)), "another");
        assert!(!Blocks::new(0).is_asked_often(&key(1, 1)));
        // What there is room for is kept, and of what there is none for nothing.
        for group in 0..2000 {
            let (key, column) = (key(1, group), column(500));
            let (room, before) = (blocks.has_room(&key, column.memory()), sum(&blocks));
            blocks.put(key, &column);
            assert_eq!(room, sum(&blocks) > before, "group {group}");
            assert_eq!(room, blocks.has_room(&key, column.memory()), "group {group}");
        }
        assert!(!blocks.has_room(&key(2, 0), (1 << 20) / SHARDS / 8), "too large for a shard");
        assert!(!Blocks::new(0).has_room(&key(1, 1), 0));
    }

    #[test]
    fn a_part_is_forgotten_whole() {
        let blocks = Blocks::new(1 << 20);
        (0..100).for_each(|group| {
            ask(&blocks, key(u64::from(group) % 2, group));
        });
        blocks.forget(0);
        assert!(
            (0..100)
                .all(|group| ask(&blocks, key(u64::from(group) % 2, group)) == (group % 2 == 1))
        );
        blocks.forget(0);
        blocks.forget(1);
        assert_eq!((blocks.held(), sum(&blocks)), (0, 0));
        assert!(blocks.shards.iter().all(|shard| shard.lock().order.is_empty()));
    }

    #[test]
    fn a_cache_of_nothing_keeps_nothing() {
        let blocks = Blocks::new(0);
        assert!(!ask(&blocks, key(1, 1)) && !ask(&blocks, key(1, 1)));
        assert_eq!(blocks.held(), 0);
        // Nor does one in which a column would be most of it.
        let blocks = Blocks::new(SHARDS * 1000);
        assert!(!ask(&blocks, key(1, 1)) && !ask(&blocks, key(1, 1)));
    }
}
