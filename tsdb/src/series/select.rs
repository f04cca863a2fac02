//! Sets of series by a test of one key column.

use std::fmt;

use croaring::Bitmap;

use super::SeriesIndex;
use crate::types::ColumnId;

/// Values copied out at a time for a caller's predicate, so that it never runs under the lock.
const VALUES_AT_A_TIME: u32 = 1024;
/// A test that passes more than one in so many values walks the codes instead of the postings.
const SCAN_SHARE: usize = 4;
/// Below so many passing values their postings are joined in any case.
const SCAN_VALUES_MIN: usize = 64;

/// Whether a value (`None`: a missing one) passes.
pub type ValueTest = Box<dyn Fn(Option<&[u8]>) -> bool + Send + Sync>;

/// A test of one key column, on the bytes that keys hold (see [`crate::types::Key`]).
pub enum KeyTest {
    /// The value is this; no value equals the empty one, which is [`KeyTest::Missing`].
    Equals(Vec<u8>),
    /// The value is one of these.
    In(Vec<Vec<u8>>),
    /// The series has no value.
    Missing,
    /// The series has a value.
    Present,
    /// The value passes: called once for each distinct value, and once with `None` for series
    /// without one. Must be a pure function.
    Matches(ValueTest),
}

impl fmt::Debug for KeyTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyTest::Equals(value) => f.debug_tuple("Equals").field(value).finish(),
            KeyTest::In(values) => f.debug_tuple("In").field(values).finish(),
            KeyTest::Missing => f.write_str("Missing"),
            KeyTest::Present => f.write_str("Present"),
            KeyTest::Matches(_) => f.write_str("Matches(…)"),
        }
    }
}

impl SeriesIndex {
    /// The series below `limit` whose value in a key column passes. A column that no series has
    /// is missing in all.
    pub fn select(&self, column: ColumnId, test: &KeyTest, limit: u32) -> Bitmap {
        let limit = limit.min(self.len());
        let mut found = match test {
            KeyTest::Equals(value) => self.with_values(column, std::slice::from_ref(value)),
            KeyTest::In(values) => self.with_values(column, values),
            KeyTest::Missing => self.missing(column, limit),
            KeyTest::Present => self.present(column, limit),
            KeyTest::Matches(passes) => self.matching(column, passes, limit),
        };
        found.remove_range(limit..);
        found
    }

    fn with_values(&self, column: ColumnId, values: &[Vec<u8>]) -> Bitmap {
        let inner = self.inner.read();
        let Some(column) = inner.column(column) else { return Bitmap::new() };
        let mut codes: Vec<u32> = values
            .iter()
            .filter(|value| !value.is_empty())
            .filter_map(|value| column.code_of(value))
            .collect();
        codes.sort_unstable();
        codes.dedup();
        column.union(&codes)
    }

    fn present(&self, column: ColumnId, limit: u32) -> Bitmap {
        let inner = self.inner.read();
        inner.column(column).map_or_else(Bitmap::new, |column| column.present(limit))
    }

    fn missing(&self, column: ColumnId, limit: u32) -> Bitmap {
        Bitmap::from_range(0..limit).andnot(&self.present(column, limit))
    }

    fn matching(&self, column: ColumnId, passes: &ValueTest, limit: u32) -> Bitmap {
        let used = self.inner.read().column(column).map_or(0, |column| column.used_below(limit));
        let mut codes = Vec::new();
        let mut from = 1;
        while from <= used {
            let to = used.min(from + VALUES_AT_A_TIME - 1);
            let values = self.values_between(column, from, to);
            codes.extend((from..=to).zip(&values).filter(|(_, v)| passes(Some(v))).map(|(c, _)| c));
            from = to + 1;
        }
        let mut found = self.with_codes(column, &codes, used, limit);
        if passes(None) {
            found.or_inplace(&self.missing(column, limit));
        }
        found
    }

    fn values_between(&self, column: ColumnId, from: u32, to: u32) -> Vec<Vec<u8>> {
        let inner = self.inner.read();
        let Some(column) = inner.column(column) else { return Vec::new() };
        (from..=to).map(|code| column.value(code).to_vec()).collect()
    }

    /// The series below `limit` with one of these ascending codes out of `used`; above `limit`
    /// there may be more.
    fn with_codes(&self, column: ColumnId, codes: &[u32], used: u32, limit: u32) -> Bitmap {
        let inner = self.inner.read();
        let Some(column) = inner.column(column) else { return Bitmap::new() };
        if codes.len() == used as usize {
            return column.present(limit);
        }
        if codes.len() < SCAN_VALUES_MIN || codes.len() < used as usize / SCAN_SHARE {
            return column.union(codes);
        }
        let mut wanted = vec![false; used as usize + 1];
        for code in codes {
            wanted[*code as usize] = true;
        }
        column.scan(limit, |code| wanted.get(code as usize).is_some_and(|wanted| *wanted))
    }
}
