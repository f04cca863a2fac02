//! One key column of a series index: its dictionary, the code of each series, and for each code
//! the series that have it.

use std::hash::BuildHasher;

use croaring::{Bitmap, Portable};
use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::types::ColumnId;

/// A posting with this bit set is the place of a [`Set`]; without it, the one series.
const SET_BIT: u32 = 1 << 31;
/// Posting of a value that no series has yet; lives only inside an insertion.
const NO_SERIES: u32 = u32::MAX;
/// Above so many series a set becomes a bitmap; below, a bitmap's own overhead is the larger part.
const FEW_MAX: usize = 32;
/// Runs of at least this length enter a bitmap as a range.
const RUN_MIN: u32 = 32;

/// One key column.
#[derive(Debug)]
pub(super) struct KeyColumn {
    /// Number of the column in its table.
    pub id: ColumnId,
    /// The values end to end, in order of their codes.
    arena: Vec<u8>,
    /// End of each value in the arena.
    ends: Vec<u64>,
    /// Every code, by the hash of its value.
    lookup: HashTable<u32>,
    /// Code of each series; a series past the end is missing.
    codes: Vec<u32>,
    /// Series of each code: one number, or `SET_BIT` and a place in `sets`.
    postings: Vec<u32>,
    sets: Vec<Set>,
    /// Number of series with a value.
    present: u32,
    hasher: RandomState,
}

/// Two or more series, ascending.
#[derive(Debug)]
enum Set {
    Few(Vec<u32>),
    Many(Bitmap),
}

impl KeyColumn {
    pub fn new(id: ColumnId) -> KeyColumn {
        KeyColumn {
            id,
            arena: Vec::new(),
            ends: Vec::new(),
            lookup: HashTable::new(),
            codes: Vec::new(),
            postings: Vec::new(),
            sets: Vec::new(),
            present: 0,
            hasher: RandomState::default(),
        }
    }

    /// Number of values, which is also the highest code.
    pub fn values(&self) -> u32 {
        self.ends.len() as u32
    }

    /// The value of a code in `1..=values()`.
    pub fn value(&self, code: u32) -> &[u8] {
        value_at(&self.arena, &self.ends, code)
    }

    /// The code of a value.
    pub fn code_of(&self, value: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(value);
        self.lookup.find(hash, |&code| self.value(code) == value).copied()
    }

    /// The code of a value, which enters the dictionary if it is new.
    pub fn intern(&mut self, value: &[u8]) -> u32 {
        debug_assert!(!value.is_empty(), "an empty value is a missing one");
        if let Some(code) = self.code_of(value) {
            return code;
        }
        self.arena.extend_from_slice(value);
        self.ends.push(self.arena.len() as u64);
        self.postings.push(NO_SERIES);
        let code = self.values();
        let KeyColumn { arena, ends, lookup, hasher, .. } = self;
        lookup.insert_unique(hasher.hash_one(value), code, |&other| {
            hasher.hash_one(value_at(arena, ends, other))
        });
        code
    }

    /// Code of a series; 0 when it has no value or is not there.
    pub fn code(&self, series: u32) -> u32 {
        self.codes.get(series as usize).copied().unwrap_or(0)
    }

    /// Gives a series, higher than any that has a value, the value of a code.
    pub fn set(&mut self, series: u32, code: u32) {
        debug_assert!(self.codes.len() <= series as usize, "series come in ascending order");
        self.codes.resize(series as usize, 0);
        self.codes.push(code);
        self.present += 1;
        let posting = &mut self.postings[code as usize - 1];
        if *posting == NO_SERIES {
            *posting = series;
        } else if *posting & SET_BIT == 0 {
            self.sets.push(Set::Few(vec![*posting, series]));
            *posting = SET_BIT | (self.sets.len() as u32 - 1);
        } else {
            self.sets[(*posting ^ SET_BIT) as usize].push(series);
        }
    }

    /// Number of codes that some series below `limit` has. As codes are given in order of first
    /// use, these are the codes from 1 to the number returned.
    pub fn used_below(&self, limit: u32) -> u32 {
        self.postings.partition_point(|posting| self.first(*posting) < limit) as u32
    }

    fn first(&self, posting: u32) -> u32 {
        if posting & SET_BIT == 0 {
            return posting;
        }
        match self.sets.get((posting ^ SET_BIT) as usize) {
            Some(Set::Few(series)) => series.first().copied().unwrap_or(NO_SERIES),
            Some(Set::Many(series)) => series.minimum().unwrap_or(NO_SERIES),
            None => NO_SERIES,
        }
    }

    /// The series that have one of these codes, by their postings.
    pub fn union(&self, codes: &[u32]) -> Bitmap {
        let mut all = Bitmap::new();
        let mut singles = Vec::new();
        for code in codes {
            let posting = self.postings[*code as usize - 1];
            if posting & SET_BIT == 0 {
                singles.push(posting);
                continue;
            }
            match &self.sets[(posting ^ SET_BIT) as usize] {
                Set::Few(series) => singles.extend_from_slice(series),
                Set::Many(series) => all.or_inplace(series),
            }
        }
        singles.sort_unstable();
        all.add_many(&singles);
        all
    }

    /// The series below `limit` whose code passes, by a walk over all codes. The twin of
    /// [`KeyColumn::union`] for tests that most values pass. Series past the last one with a
    /// value are not looked at, so `test(0)` must be false.
    pub fn scan(&self, limit: u32, test: impl Fn(u32) -> bool) -> Bitmap {
        let mut found = Bitmap::new();
        let mut singles = Vec::new();
        let mut run = 0;
        let end = self.codes.len().min(limit as usize) as u32;
        for series in 0..=end {
            if series < end && test(self.codes[series as usize]) {
                run += 1;
                continue;
            }
            if run >= RUN_MIN {
                found.add_range(series - run..series);
            } else {
                singles.extend(series - run..series);
            }
            run = 0;
        }
        found.add_many(&singles);
        found.run_optimize();
        found
    }

    /// The series below `limit` with a value.
    pub fn present(&self, limit: u32) -> Bitmap {
        if self.present as usize == self.codes.len() {
            return Bitmap::from_range(0..limit.min(self.present));
        }
        self.scan(limit, |code| code != 0)
    }

    /// Takes back the series from `count` on and the values that only they had.
    pub fn truncate(&mut self, count: u32) {
        let values = self.used_below(count) as usize;
        self.lookup.retain(|code| *code as usize <= values);
        self.ends.truncate(values);
        self.arena.truncate(self.ends.last().map_or(0, |end| *end as usize));
        self.postings.truncate(values);
        for posting in &self.postings {
            if posting & SET_BIT != 0 {
                self.sets[(posting ^ SET_BIT) as usize].truncate(count);
            }
        }
        // Sets are never looked up by their order, so those of values taken back only need to be
        // emptied, not moved.
        let kept: std::collections::HashSet<u32> =
            self.postings.iter().filter(|p| *p & SET_BIT != 0).map(|p| p ^ SET_BIT).collect();
        for (at, set) in self.sets.iter_mut().enumerate() {
            if !kept.contains(&(at as u32)) {
                *set = Set::Few(Vec::new());
            }
        }
        self.codes.truncate(count as usize);
        let last = self.codes.iter().rposition(|code| *code != 0);
        self.codes.truncate(last.map_or(0, |at| at + 1));
        self.present = self.codes.iter().filter(|code| **code != 0).count() as u32;
    }

    /// Makes the bitmaps small after a load.
    pub fn optimize(&mut self) {
        for set in &mut self.sets {
            if let Set::Many(series) = set {
                series.run_optimize();
                series.shrink_to_fit();
            }
        }
    }

    pub fn memory(&self) -> usize {
        size_of::<KeyColumn>()
            + self.arena.capacity()
            + self.ends.capacity() * size_of::<u64>()
            + self.lookup.allocation_size()
            + self.codes.capacity() * size_of::<u32>()
            + self.postings.capacity() * size_of::<u32>()
            + self.sets.capacity() * size_of::<Set>()
            + self.sets.iter().map(Set::memory).sum::<usize>()
    }
}

impl Set {
    fn push(&mut self, series: u32) {
        match self {
            Set::Few(all) if all.len() < FEW_MAX => all.push(series),
            Set::Few(all) => {
                all.push(series);
                *self = Set::Many(Bitmap::of(all));
            }
            Set::Many(all) => all.add(series),
        }
    }

    fn truncate(&mut self, count: u32) {
        match self {
            Set::Few(all) => all.retain(|series| *series < count),
            Set::Many(all) => all.remove_range(count..),
        }
    }

    /// Bytes on the heap; for a bitmap its portable form, which is close.
    fn memory(&self) -> usize {
        match self {
            Set::Few(all) => all.capacity() * size_of::<u32>(),
            Set::Many(all) => all.get_serialized_size_in_bytes::<Portable>(),
        }
    }
}

fn value_at<'a>(arena: &'a [u8], ends: &[u64], code: u32) -> &'a [u8] {
    let at = code as usize - 1;
    let start = if at == 0 { 0 } else { ends[at - 1] };
    &arena[start as usize..ends[at] as usize]
}
