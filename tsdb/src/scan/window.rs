//! Stretches of a row group that were decoded. Callers go on counting rows from the start of the
//! group; only [`Window::at`] knows where they lie in what is held.

use std::ops::Range;
use std::sync::OnceLock;

use crate::error::Result;

/// What fewer rows than this cost is mostly not the rows: they are decoded together.
const NARROW_ROWS_MIN: usize = 1024;

/// Consecutive rows of a group, decoded.
#[derive(Debug)]
pub(super) struct Window<T> {
    rows: Range<usize>,
    held: T,
}

impl<T> Window<T> {
    /// What is held; its row 0 is the first of the window.
    pub fn held(&self) -> &T {
        &self.held
    }

    /// Where rows of the group lie in what is held.
    ///
    /// # Panics
    /// If the window does not have them all.
    pub fn at(&self, rows: &Range<usize>) -> Range<usize> {
        assert!(self.has(rows), "rows {rows:?} of a window of {:?}", self.rows);
        rows.start - self.rows.start..rows.end - self.rows.start
    }

    fn has(&self, rows: &Range<usize>) -> bool {
        self.rows.start <= rows.start && rows.start <= rows.end && rows.end <= self.rows.end
    }
}

/// Windows over a group: two narrow ones (a range of times has two ends), then one over all rows
/// that may ever be asked for, so that no row is decoded more than a few times. And one over the
/// whole group, where it was decoded before and kept.
#[derive(Debug)]
pub(super) struct Windows<T> {
    narrow: [OnceLock<Window<T>>; 2],
    wide: OnceLock<Window<T>>,
    whole: OnceLock<Window<T>>,
}

impl<T> Windows<T> {
    pub fn new() -> Windows<T> {
        Windows {
            narrow: [OnceLock::new(), OnceLock::new()],
            wide: OnceLock::new(),
            whole: OnceLock::new(),
        }
    }

    /// Whether nothing was decoded yet.
    pub fn is_empty(&self) -> bool {
        self.slots().next().is_none()
    }

    /// A window that has these rows, if there is one.
    pub fn find(&self, rows: &Range<usize>) -> Option<&Window<T>> {
        self.slots().find(|window| window.has(rows))
    }

    fn slots(&self) -> impl Iterator<Item = &Window<T>> {
        let all = self.narrow.iter().chain([&self.wide, &self.whole]);
        all.filter_map(OnceLock::get)
    }

    /// The window over all `rows` rows of the group, held by somebody else already.
    pub fn whole(&self, rows: usize, held: T) -> &Window<T> {
        self.whole.get_or_init(|| Window { rows: 0..rows, held })
    }

    /// A window that has `rows`, which lie in `scope`: one that is there, or `rows` decoded, or all
    /// of `scope`, which does not change between calls.
    pub fn get(
        &self,
        rows: &Range<usize>,
        scope: &Range<usize>,
        decode: impl FnOnce(&Range<usize>) -> Result<T>,
    ) -> Result<&Window<T>> {
        assert!(scope.start <= rows.start && rows.end <= scope.end, "{rows:?} out of {scope:?}");
        if let Some(window) = self.find(rows) {
            return Ok(window);
        }
        let few = scope.len() > NARROW_ROWS_MIN && rows.len() <= scope.len() / 2;
        let free = self.narrow.iter().find(|slot| few && slot.get().is_none());
        let (slot, rows) = free.map_or((&self.wide, scope), |slot| (slot, rows));
        let held = decode(rows)?;
        Ok(slot.get_or_init(|| Window { rows: rows.clone(), held }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_where_they_were_decoded() {
        let windows: Windows<Vec<usize>> = Windows::new();
        let scope = 100..4100;
        let mut decoded = Vec::new();
        let asked = [100..200, 120..180, 4000..4100, 150..4050, 2000..2001, 100..100];
        for rows in asked {
            let window = windows.get(&rows, &scope, |rows| {
                decoded.push(rows.clone());
                Ok(rows.clone().collect())
            });
            let window = window.expect("decodes");
            assert_eq!(window.held()[window.at(&rows)], rows.collect::<Vec<_>>());
        }
        assert_eq!(decoded, [100..200, 4000..4100, 100..4100]);
    }

    #[test]
    #[should_panic(expected = "of a window of")]
    fn rows_outside_are_a_mistake() {
        Window { rows: 5..9, held: () }.at(&(4..6));
    }
}
