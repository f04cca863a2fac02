//! Blocks of objects in memory: bounded, those used last stay.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// A block's bytes.
pub type Bytes = Arc<[u8]>;

/// The cache of all objects of a database.
#[derive(Debug)]
pub struct BlockCache {
    bytes_max: usize,
    files: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By file and block: the bytes, and when they were used last.
    blocks: HashMap<(u64, u32), (Bytes, u64)>,
    order: BTreeMap<u64, (u64, u32)>,
    bytes: usize,
    clock: u64,
    fetched: u64,
}

impl Inner {
    fn remove(&mut self, key: (u64, u32)) {
        if let Some((bytes, used)) = self.blocks.remove(&key) {
            self.bytes -= bytes.len();
            self.order.remove(&used);
        }
    }
}

impl BlockCache {
    /// Holds at most `bytes_max` bytes of blocks.
    pub fn new(bytes_max: u64) -> Arc<BlockCache> {
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        Arc::new(BlockCache { bytes_max, files: AtomicU64::new(0), inner: Mutex::default() })
    }

    /// A number for a file that was never given.
    pub fn next_file(&self) -> u64 {
        self.files.fetch_add(1, Ordering::Relaxed)
    }

    /// A block, if it is held.
    pub fn get(&self, file: u64, block: u32) -> Option<Bytes> {
        let mut inner = self.inner.lock();
        inner.clock += 1;
        let clock = inner.clock;
        let (bytes, used) = inner.blocks.get_mut(&(file, block))?;
        let (bytes, before) = (Arc::clone(bytes), std::mem::replace(used, clock));
        inner.order.remove(&before);
        inner.order.insert(clock, (file, block));
        Some(bytes)
    }

    /// Takes in a block that was fetched; those not used for longest make room.
    pub fn put(&self, file: u64, block: u32, bytes: Bytes) {
        let mut inner = self.inner.lock();
        inner.fetched += bytes.len() as u64;
        inner.remove((file, block));
        inner.clock += 1;
        let clock = inner.clock;
        inner.bytes += bytes.len();
        inner.order.insert(clock, (file, block));
        inner.blocks.insert((file, block), (bytes, clock));
        while inner.bytes > self.bytes_max {
            let Some((_, key)) = inner.order.pop_first() else { break };
            if let Some((bytes, _)) = inner.blocks.remove(&key) {
                inner.bytes -= bytes.len();
            }
        }
    }

    /// Drops all blocks of a file.
    pub fn forget(&self, file: u64) {
        let mut inner = self.inner.lock();
        let keys: Vec<(u64, u32)> =
            inner.blocks.keys().filter(|(owner, _)| *owner == file).copied().collect();
        keys.into_iter().for_each(|key| inner.remove(key));
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.inner.lock().bytes as u64
    }

    /// Bytes fetched so far.
    pub fn fetched(&self) -> u64 {
        self.inner.lock().fetched
    }
}
