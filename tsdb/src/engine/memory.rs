//! What an engine holds in memory, pool by pool, each under a limit of its own: rows of the heads
//! and the commit queue (writers wait), decoded indexes and columns (the least used go), series (new ones are
//! refused).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::part::{Blocks, CacheBudget, Part};
use crate::types::{SeriesRef, TableId};

use super::options::Options;
use super::prepare::SortedWrite;
use super::queue::Queue;
use super::state::{State, TableState};

/// One pool of memory: what it holds, may hold and ever held, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolUsage {
    /// Name of the pool, as `sys.memory` shows it.
    pub name: &'static str,
    /// Bytes held.
    pub used: u64,
    /// Bytes that may be held; some pools pass it by what is in flight at the moment.
    pub limit: u64,
    /// Most bytes held since the start.
    pub peak: u64,
}

/// What [`super::core::Core`] keeps about memory.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Decoded indexes of all parts.
    pub cache: Arc<CacheBudget>,
    /// Decoded columns of all parts.
    blocks: Arc<Blocks>,
    heads_peak: AtomicU64,
    series: Mutex<SeriesMemory>,
}

#[derive(Debug, Default)]
struct SeriesMemory {
    tables: HashMap<TableId, Measured>,
    bytes: u64,
    peak: u64,
}

/// Index and last rows of a table, as they were when they were last looked at.
#[derive(Clone, Copy, Debug)]
struct Measured {
    series: u32,
    bytes: u64,
    at: Instant,
}

/// Walking the index of a million series takes milliseconds: it is done again after so long, or
/// when a 32nd (and 256) of the series are new. Last values may grow without new series.
const MEASURED_FOR: Duration = Duration::from_secs(10);

impl Measured {
    fn of(table: &TableState) -> Measured {
        // A flush holds the last rows a second time.
        let bytes = table.series.memory() + 2 * table.last.read().memory();
        Measured { series: table.series.len(), bytes: bytes as u64, at: Instant::now() }
    }

    fn holds(&self, table: &TableState) -> bool {
        let most = self.series.saturating_add(self.series / 32).saturating_add(256);
        table.series.len() <= most && self.at.elapsed() < MEASURED_FOR
    }
}

impl Memory {
    pub fn new(options: &Options) -> Memory {
        let size = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
        Memory {
            cache: Arc::new(CacheBudget::new(size(options.cache_bytes_max))),
            blocks: Arc::new(Blocks::new(size(options.blocks_bytes_max))),
            heads_peak: AtomicU64::new(0),
            series: Mutex::default(),
        }
    }

    /// Counts what a part keeps decoded from now on.
    pub fn adopt(&self, part: &Part) {
        part.charge_to(&self.cache);
        part.keep_in(&self.blocks);
    }

    /// Notes what the heads hold after a group of commits.
    pub fn note_heads(&self, bytes: u64) {
        self.heads_peak.fetch_max(bytes, Ordering::Relaxed);
    }

    /// Bytes that the series of all tables take, `table` among them: index, and last rows twice.
    /// They may be as old as a 32nd of a table's series.
    pub fn series_bytes(&self, table: &TableState) -> u64 {
        let mut all = self.series.lock();
        let known = all.tables.get(&table.schema.id).copied();
        if !known.is_some_and(|known| known.holds(table)) {
            let now = Measured::of(table);
            all.bytes = all.bytes - known.map_or(0, |known| known.bytes) + now.bytes;
            all.peak = all.peak.max(all.bytes);
            all.tables.insert(table.schema.id, now);
        }
        all.bytes
    }

    /// As [`Memory::series_bytes`] for all tables of a state, those dropped left out.
    pub fn recount_series(&self, state: &State) -> u64 {
        let mut all = self.series.lock();
        let of = |(id, table): (&TableId, &Arc<TableState>)| {
            let known = all.tables.get(id).copied().filter(|known| known.holds(table));
            (*id, known.unwrap_or_else(|| Measured::of(table)))
        };
        let tables: HashMap<TableId, Measured> = state.tables.iter().map(of).collect();
        all.bytes = tables.values().map(|table| table.bytes).sum();
        all.peak = all.peak.max(all.bytes);
        all.tables = tables;
        all.bytes
    }

    /// All pools.
    pub fn pools(&self, state: &State, queue: &Queue, options: &Options) -> Vec<PoolUsage> {
        let series = self.recount_series(state);
        let series_peak = self.series.lock().peak;
        let heads_peak = self.heads_peak.load(Ordering::Relaxed).max(state.head_bytes);
        let pool = |name, used, limit, peak| PoolUsage { name, used, limit, peak };
        let (held, peak) = (self.cache.held() as u64, self.cache.peak() as u64);
        vec![
            pool("heads", state.head_bytes, options.heads_bytes_max, heads_peak),
            pool("commit queue", queue.bytes(), options.queue_bytes_max, queue.bytes_peak()),
            pool("part indexes", held, options.cache_bytes_max, peak),
            pool(
                "decoded columns",
                self.blocks.held() as u64,
                options.blocks_bytes_max,
                self.blocks.peak() as u64,
            ),
            pool("series", series, options.series_bytes_max, series_peak),
        ]
    }
}

/// Bytes that the rows of a checked write hold.
pub(crate) fn write_bytes(write: &SortedWrite) -> usize {
    let key = |series: &SeriesRef| match series {
        SeriesRef::Known(_) => 0,
        SeriesRef::Key(key) => key.as_bytes().len(),
    };
    write.series.capacity() * size_of::<SeriesRef>()
        + write.series.iter().map(key).sum::<usize>()
        + write.counts.capacity() * 4
        + write.times.capacity() * 8
        + write.columns.iter().map(|(_, column)| column.memory()).sum::<usize>()
}
