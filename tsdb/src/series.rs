//! The index of one table's series: key to number, and key column values to sets of series.
//!
//! Invariants
//! - Series are numbered densely from 0 in order of insertion and never change or go.
//! - A key column's values are numbered ("codes") from 1 in order of first use by a series; 0 says
//!   "missing". A column whose vector of codes is shorter than the number of series is missing in
//!   the rest, so a new key column costs nothing for the series before it.
//! - Two series never have the same codes in all columns.
//! - No key is stored as bytes: its hash and its equality are those of its codes.
//!
//! The lock is held for short spans only: values are copied out before a caller's predicate sees
//! them, and compressing happens outside.

pub(crate) mod bytes;
mod column;
mod file;
mod groups;
mod select;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashTable};
use parking_lot::RwLock;

pub use croaring::Bitmap;
pub(crate) use file::VERSION as FILE_VERSION;
pub use groups::Groups;
pub use select::KeyTest;

use crate::types::{ColumnId, Key, TableId};
use column::KeyColumn;

/// Series that one index can hold: the upper bit of a posting is taken.
pub const SERIES_MAX: u32 = (1 << 31) - 1;

/// The index of one table's series. Readers and the one writer share it.
#[derive(Debug)]
pub struct SeriesIndex {
    table: TableId,
    inner: Arc<RwLock<Inner>>,
}

/// What the lock of an index protects.
#[derive(Debug, Default)]
pub(crate) struct Inner {
    /// Number of series.
    count: u32,
    /// Key columns in ascending id.
    columns: Vec<KeyColumn>,
    /// Every series, by the hash of its codes.
    keys: HashTable<u32>,
    /// CRC-32 of each series' canonical key, from which its shard follows.
    checksums: Vec<u32>,
    hasher: RandomState,
}

impl SeriesIndex {
    /// The empty index of a table.
    pub fn new(table: TableId) -> SeriesIndex {
        SeriesIndex { table, inner: Arc::default() }
    }

    /// The table this index belongs to.
    pub fn table(&self) -> TableId {
        self.table
    }

    /// Number of series.
    pub fn len(&self) -> u32 {
        self.inner.read().count
    }

    /// Whether there is no series.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The series with this key.
    pub fn lookup(&self, key: &Key) -> Option<u32> {
        self.inner.read().find(key)
    }

    /// The series with this key, made if there is none; whether it was made.
    ///
    /// # Panics
    /// When the index holds [`SERIES_MAX`] series: the engine's own limit is to be checked before.
    pub fn get_or_insert(&self, key: &Key) -> (u32, bool) {
        if let Some(series) = self.lookup(key) {
            return (series, false);
        }
        let mut inner = self.inner.write();
        let codes = inner.intern(key);
        match inner.find_codes(&codes) {
            Some(series) => (series, false),
            None => (inner.insert(&codes, crc32fast::hash(key.as_bytes())), true),
        }
    }

    /// The key of a series.
    pub fn key(&self, series: u32) -> Option<Key> {
        let inner = self.inner.read();
        (series < inner.count).then(|| Key::new(inner.pairs(series)))
    }

    /// Shard of a series among `shards`, as [`crate::types::shard_of`] says for its key.
    ///
    /// # Panics
    /// When there is no such series.
    pub fn shard(&self, series: u32, shards: u16) -> u16 {
        let checksum = self.inner.read().checksums[series as usize];
        (checksum % u32::from(shards.max(1))) as u16
    }

    /// The series below `limit`.
    pub fn all(&self, limit: u32) -> Bitmap {
        Bitmap::from_range(0..limit.min(self.len()))
    }

    /// A key column's value for each of `series`: codes from 0 in order of first use, and the
    /// values they stand for; `u32::MAX` where a series has no value or is not there.
    pub fn values_of(&self, column: ColumnId, series: &[u32]) -> (Vec<u32>, Vec<Vec<u8>>) {
        let mut codes = vec![u32::MAX; series.len()];
        let mut dictionary = Vec::new();
        let inner = self.inner.read();
        let Some(column) = inner.column(column) else { return (codes, dictionary) };
        let mut local: HashMap<u32, u32, RandomState> = HashMap::default();
        for (out, &series) in codes.iter_mut().zip(series) {
            let code = column.code(series);
            if code != 0 {
                *out = *local.entry(code).or_insert_with(|| {
                    dictionary.push(column.value(code).to_vec());
                    dictionary.len() as u32 - 1
                });
            }
        }
        (codes, dictionary)
    }

    /// The distinct values of a key column among the series below `limit`, in order of first use.
    pub fn distinct(&self, column: ColumnId, limit: u32) -> Vec<Vec<u8>> {
        let inner = self.inner.read();
        let Some(column) = inner.column(column) else { return Vec::new() };
        (1..=column.used_below(limit)).map(|code| column.value(code).to_vec()).collect()
    }

    /// Bytes of memory held, by the capacity of what is allocated.
    pub fn memory(&self) -> usize {
        let inner = self.inner.read();
        size_of::<Inner>()
            + inner.keys.allocation_size()
            + inner.checksums.capacity() * size_of::<u32>()
            + inner.columns.iter().map(KeyColumn::memory).sum::<usize>()
    }
}

impl Inner {
    fn column(&self, id: ColumnId) -> Option<&KeyColumn> {
        let at = self.columns.binary_search_by_key(&id, |column| column.id).ok()?;
        self.columns.get(at)
    }

    /// Place of a column in `columns`, which it enters if it is new.
    fn column_place(&mut self, id: ColumnId) -> usize {
        match self.columns.binary_search_by_key(&id, |column| column.id) {
            Ok(at) => at,
            Err(at) => {
                self.columns.insert(at, KeyColumn::new(id));
                at
            }
        }
    }

    fn pairs(&self, series: u32) -> impl Iterator<Item = (ColumnId, &[u8])> {
        self.columns.iter().filter_map(move |column| match column.code(series) {
            0 => None,
            code => Some((column.id, column.value(code))),
        })
    }

    fn find(&self, key: &Key) -> Option<u32> {
        let mut codes = vec![0; self.columns.len()];
        for (id, value) in key.pairs() {
            let at = self.columns.binary_search_by_key(&id, |column| column.id).ok()?;
            codes[at] = self.columns[at].code_of(value)?;
        }
        self.find_codes(&codes)
    }

    fn find_codes(&self, codes: &[u32]) -> Option<u32> {
        let hash = hash_codes(&self.hasher, &self.columns, |at, _| codes[at]);
        let same = |series: &u32| {
            self.columns.iter().zip(codes).all(|(column, code)| column.code(*series) == *code)
        };
        self.keys.find(hash, same).copied()
    }

    /// Codes of a key's values, aligned with `columns`; columns and values that are new enter.
    fn intern(&mut self, key: &Key) -> Vec<u32> {
        for (id, _) in key.pairs() {
            self.column_place(id);
        }
        let mut codes = vec![0; self.columns.len()];
        for (id, value) in key.pairs() {
            let at = self.column_place(id);
            codes[at] = self.columns[at].intern(value);
        }
        codes
    }

    /// Adds a series whose codes no other series has.
    fn insert(&mut self, codes: &[u32], checksum: u32) -> u32 {
        let series = self.count;
        assert!(series < SERIES_MAX, "a table holds at most {SERIES_MAX} series");
        for (column, &code) in self.columns.iter_mut().zip(codes) {
            if code != 0 {
                column.set(series, code);
            }
        }
        self.count += 1;
        self.checksums.push(checksum);
        let Inner { columns, keys, hasher, .. } = self;
        let hash = hash_codes(hasher, columns, |at, _| codes[at]);
        keys.insert_unique(hash, series, |&other| {
            hash_codes(hasher, columns, |_, column| column.code(other))
        });
        series
    }

    /// Takes back every series from `count` on, and the values that only they had.
    fn truncate(&mut self, count: u32) {
        self.keys.retain(|series| *series < count);
        self.checksums.truncate(count as usize);
        for column in &mut self.columns {
            column.truncate(count);
        }
        self.count = count;
    }
}

/// Hash of a key by the codes of its columns. Missing columns are left out, so that a hash stays
/// what it is when the table gains key columns.
fn hash_codes(
    hasher: &RandomState,
    columns: &[KeyColumn],
    code: impl Fn(usize, &KeyColumn) -> u32,
) -> u64 {
    let mut state = hasher.build_hasher();
    for (at, column) in columns.iter().enumerate() {
        let code = code(at, column);
        if code != 0 {
            state.write_u64(u64::from(column.id) << 32 | u64::from(code));
        }
    }
    state.finish()
}
