//! Decoded index sections, kept while they are used.

use std::collections::HashMap;
use std::sync::Arc;

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
        let mut inner = self.inner.lock();
        inner.clock += 1;
        inner.bytes += decoded.memory();
        let clock = inner.clock;
        if let Some((old, _)) = inner.entries.insert((page, key), (decoded, clock)) {
            inner.bytes -= old.memory();
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
    }
}
