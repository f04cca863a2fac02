//! Series to groups by the values of some key columns.

use std::fmt;
use std::sync::Arc;

use croaring::Bitmap;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::RwLock;

use super::{Inner, SeriesIndex};
use crate::types::ColumnId;

/// Series by the values of some key columns. Groups are numbered from 0 in order of their first
/// series.
#[derive(Clone)]
pub struct Groups {
    /// Group of each series of the bitmap, in its ascending order.
    pub of: Vec<u32>,
    /// Number of groups.
    pub count: u32,
    /// First series of each group; its values are the group's.
    firsts: Vec<u32>,
    columns: Vec<ColumnId>,
    inner: Arc<RwLock<Inner>>,
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Groups")
            .field("of", &self.of)
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

impl Groups {
    /// Value of a group in the `column`th of the columns grouped by; `None` if it is missing
    /// (or if there is no such group or column).
    pub fn value(&self, group: u32, column: usize) -> Option<Vec<u8>> {
        let series = *self.firsts.get(group as usize)?;
        let inner = self.inner.read();
        let column = inner.column(*self.columns.get(column)?)?;
        match column.code(series) {
            0 => None,
            code => Some(column.value(code).to_vec()),
        }
    }

    /// Values of all groups in the `column`th of the columns grouped by: codes from 0 in order
    /// of first use and what they stand for; `u32::MAX` where the value is missing.
    pub fn values(&self, index: &SeriesIndex, column: usize) -> (Vec<u32>, Vec<Vec<u8>>) {
        match self.columns.get(column) {
            Some(column) => index.values_of(*column, &self.firsts),
            None => (vec![u32::MAX; self.firsts.len()], Vec::new()),
        }
    }
}

impl SeriesIndex {
    /// Groups the series of a bitmap by the values of some key columns, a missing value being a
    /// value of its own. Without columns there is one group, or none if there is no series.
    pub fn groups(&self, columns: &[ColumnId], series: &Bitmap) -> Groups {
        let series = series.to_vec();
        let mut of = vec![0; series.len()];
        let mut firsts: Vec<u32> = series.first().copied().into_iter().collect();
        for column in columns {
            // Once every series is alone, no further column can split a group.
            if firsts.len() == series.len() {
                break;
            }
            let codes = self.codes_of(*column, &series);
            firsts = split(&mut of, &codes, &series);
        }
        Groups {
            of,
            count: firsts.len() as u32,
            firsts,
            columns: columns.to_vec(),
            inner: self.inner.clone(),
        }
    }

    fn codes_of(&self, column: ColumnId, series: &[u32]) -> Vec<u32> {
        let inner = self.inner.read();
        match inner.column(column) {
            Some(column) => series.iter().map(|series| column.code(*series)).collect(),
            None => vec![0; series.len()],
        }
    }
}

/// Splits groups by the codes of one more column and returns the first series of each new group.
/// New groups are numbered in order of their first series.
fn split(of: &mut [u32], codes: &[u32], series: &[u32]) -> Vec<u32> {
    let mut firsts = Vec::new();
    let mut groups: HashMap<(u32, u32), u32, RandomState> = HashMap::default();
    for ((group, code), series) in of.iter_mut().zip(codes).zip(series) {
        *group = *groups.entry((*group, *code)).or_insert_with(|| {
            firsts.push(*series);
            firsts.len() as u32 - 1
        });
    }
    firsts
}
