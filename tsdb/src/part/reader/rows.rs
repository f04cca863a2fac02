//! Reading rows of a part: keys and columns of a group, all of them or a range.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::{GroupKeys, GroupRef, Part, check};
use crate::error::{Error, Result};
use crate::part::block::{decode_column_range, decode_keys, decode_times_range};
use crate::part::blocks::BlockKey;
use crate::part::damage::cause;
use crate::part::index::{BlockEntry, GroupEntry};
use crate::types::{Column, ColumnId, PhysicalType};

/// Blocks that lie no further apart are read together.
const READ_GAP_BYTES: u64 = 16 << 10;
/// Most bytes of one read over several blocks.
const READ_BYTES_MAX: u64 = 8 << 20;

/// Share of a group's rows, one in so many, from which on all of them may be decoded.
const SHARE_MANY: usize = 8;

impl Part {
    /// Series and times of a group.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if block or index are damaged, else errors of the storage.
    pub fn read_keys(&self, group: &GroupRef) -> Result<GroupKeys> {
        let (number, at_page) = self.locate(group)?;
        let lead = self.lead(number)?;
        let entry = self.entry(&lead, at_page)?;
        let read = self.read_checked(entry.offset, entry.keys_len, entry.keys_crc);
        let keys = read.and_then(|block| {
            let (series, times) = decode_keys(&block, entry.rows as usize)?;
            let ends = (series.first().map(|r| r.series), series.last().map(|r| r.series));
            if ends != (Some(entry.series_first), Some(entry.series_last)) {
                return Err(Error::Corrupt("series of another group".into()));
            }
            Ok(GroupKeys { series, times })
        });
        self.guard_keys(group, entry, keys)
    }

    fn guard_keys<T>(&self, group: &GroupRef, entry: &GroupEntry, read: Result<T>) -> Result<T> {
        let place = (entry.offset, entry.keys_len);
        self.guard(read, |cause| self.group_block(group, None, place, cause))
    }

    /// Times (ns) of rows `rows` of a group, whose rows are all of one series.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the group has no such rows or several series; [`Error::Corrupt`] if
    /// block or index are damaged, else errors of the storage. Damage of rows outside may go
    /// unseen only where the block's crc does not see it.
    pub fn read_times_range(&self, group: &GroupRef, rows: Range<u32>) -> Result<Vec<i64>> {
        let (number, at_page) = self.locate(group)?;
        let lead = self.lead(number)?;
        let entry = self.entry(&lead, at_page)?;
        let rows = self.check_rows(entry, rows)?;
        if entry.series_first != entry.series_last {
            return Err(Error::Invalid(format!("{}: a group of several series", self.path)));
        }
        let read = self.read_checked(entry.offset, entry.keys_len, entry.keys_crc);
        let times = read.and_then(|block| {
            decode_times_range(&block, entry.rows as usize, entry.series_first, rows)
        });
        self.guard_keys(group, entry, times)
    }

    fn check_rows(&self, entry: &GroupEntry, rows: Range<u32>) -> Result<Range<usize>> {
        if rows.start > rows.end || rows.end > entry.rows {
            let all = entry.rows;
            return Err(Error::Invalid(format!("{}: rows {rows:?} of {all}", self.path)));
        }
        Ok(rows.start as usize..rows.end as usize)
    }

    /// One column of a group; `None` if the part does not have it or every cell is absent.
    /// Integers widen if `expected` is float.
    ///
    /// # Errors
    /// [`Error::TypeMismatch`] if the part holds another type; [`Error::Corrupt`] if block or
    /// index are damaged, else errors of the storage.
    pub fn read_column(
        &self,
        group: &GroupRef,
        column: ColumnId,
        expected: PhysicalType,
    ) -> Result<Option<Arc<Column>>> {
        Ok(self.read_columns(group, &[(column, expected)])?.pop().flatten())
    }

    /// Several columns of a group, as [`Part::read_column`], with neighbouring blocks read at
    /// once.
    pub fn read_columns(
        &self,
        group: &GroupRef,
        columns: &[(ColumnId, PhysicalType)],
    ) -> Result<Vec<Option<Arc<Column>>>> {
        self.read_columns_range(group, columns, 0..group.rows)
    }

    /// Several columns of a group, as [`Part::read_columns`], if all of them are held decoded, or if
    /// they are asked for so often that they should be. `chosen`: how many rows are wanted now, where
    /// values choose them; 0 where time does.
    ///
    /// # Errors
    /// Those of the index, and of reading what is not held.
    pub fn held_columns(
        &self,
        group: &GroupRef,
        columns: &[(ColumnId, PhysicalType)],
        chosen: usize,
    ) -> Result<Option<Vec<Option<Arc<Column>>>>> {
        let Some(blocks) = self.blocks.get().filter(|_| !columns.is_empty()) else {
            return Ok(None);
        };
        let (number, at_page) = self.locate(group)?;
        let lead = self.lead(number)?;
        let mut held = Vec::with_capacity(columns.len());
        for (column, kind) in columns {
            let stored = match self.column_index(*column) {
                Some(index) => self.block(number, &lead, index, at_page)?.len > 0,
                None => false,
            };
            let key = self.block_key(group, *column, *kind);
            match if stored { blocks.get(&key) } else { None } {
                None if stored => {
                    // What texts take is not known before; else a value takes eight bytes and a state.
                    let bytes = group.rows as usize * 9;
                    let fits = |(column, kind): &(ColumnId, PhysicalType)| {
                        let key = self.block_key(group, *column, *kind);
                        *kind != PhysicalType::Bytes && blocks.has_room(&key, bytes)
                    };
                    // For a few rows all others are too dear, and counters are shared by many keys.
                    // Where time chooses, the rows of the next question are others.
                    let many = chosen * SHARE_MANY >= group.rows as usize;
                    let whole = many && blocks.is_asked_often(&key) && columns.iter().all(fits);
                    return match whole {
                        true => self.read_columns(group, columns).map(Some),
                        false => Ok(None),
                    };
                }
                found => held.push(found),
            }
        }
        Ok(Some(held))
    }

    fn block_key(&self, group: &GroupRef, column: ColumnId, kind: PhysicalType) -> BlockKey {
        BlockKey { part: self.number, group: group.index, column, kind }
    }

    /// Rows `rows` of several columns of a group, as [`Part::read_columns`]: cell 0 is that of the
    /// first of these rows. Little else is decoded; a column of which the group has a block is
    /// given even if these cells of it are all absent.
    ///
    /// # Errors
    /// Also [`Error::Invalid`] if the group has no such rows.
    pub fn read_columns_range(
        &self,
        group: &GroupRef,
        columns: &[(ColumnId, PhysicalType)],
        rows: Range<u32>,
    ) -> Result<Vec<Option<Arc<Column>>>> {
        let (number, at_page) = self.locate(group)?;
        let lead = self.lead(number)?;
        let entry = self.entry(&lead, at_page)?;
        let rows = self.check_rows(entry, rows)?;
        // Only whole columns are kept: what is a part of what would be hard to tell and dear to hold.
        let blocks = self.blocks.get().filter(|_| rows.len() == entry.rows as usize);
        let mut out: Vec<Option<Arc<Column>>> = vec![None; columns.len()];
        let mut wanted = Vec::new();
        for (slot, (id, expected)) in columns.iter().enumerate() {
            let Some(index) = self.column_index(*id) else {
                continue;
            };
            let kind = self.footer.columns[index].physical;
            if kind != *expected && (kind, *expected) != (PhysicalType::Int, PhysicalType::Float) {
                return Err(Error::TypeMismatch(format!(
                    "column {id} is {kind:?} in {}, not {expected:?}",
                    self.path
                )));
            }
            let block = self.block(number, &lead, index, at_page)?;
            if block.len > 0 {
                let key = self.block_key(group, *id, *expected);
                out[slot] = blocks.and_then(|blocks| blocks.get(&key));
            }
            if block.len > 0 && out[slot].is_none() {
                wanted.push((entry.offset.saturating_add(u64::from(block.offset)), block, slot));
            }
        }
        wanted.sort_unstable_by_key(|(offset, ..)| *offset);
        for run in runs(&wanted) {
            // Where a read over several blocks fails, each is read alone: one of them is bad.
            let read = match self.read_run(run) {
                Ok(read) => read,
                Err(error) if cause(&error).is_none() => return Err(error),
                Err(_) => None,
            };
            for (offset, block, slot) in run {
                let (id, expected) = columns[*slot];
                let bytes = match &read {
                    Some((from, bytes)) => {
                        let start = (offset - from) as usize;
                        let bytes = &bytes[start..start + block.len as usize];
                        check(bytes, block.crc).map(|()| Cow::Borrowed(bytes))
                    }
                    None => self.read_checked(*offset, block.len, block.crc).map(Cow::Owned),
                };
                let kind = self.column_index(id).map(|i| self.footer.columns[i].physical);
                let kind = kind.unwrap_or(expected);
                let all = entry.rows as usize;
                let column =
                    bytes.and_then(|bytes| decode_column_range(&bytes, all, rows.clone(), kind));
                let place = (*offset, block.len);
                let column =
                    self.guard(column, |cause| self.group_block(group, Some(id), place, cause))?;
                let values = column.values.widen_to(expected);
                let column = Arc::new(Column { values, ..column });
                if let Some(blocks) = blocks {
                    blocks.put(self.block_key(group, id, expected), &column);
                }
                out[*slot] = Some(column);
            }
        }
        Ok(out)
    }

    /// Reads the bytes that a run of blocks spans; `None` for no block.
    fn read_run(&self, run: &[(u64, BlockEntry, usize)]) -> Result<Option<(u64, Vec<u8>)>> {
        let Some((from, ..)) = run.first() else {
            return Ok(None);
        };
        let end = run.iter().map(|(offset, block, _)| offset.saturating_add(u64::from(block.len)));
        let end = end.max().unwrap_or(*from);
        Ok(Some((*from, self.read(*from, end - from)?)))
    }
}

/// Splits blocks, ascending, into runs that are read at once.
fn runs(wanted: &[(u64, BlockEntry, usize)]) -> Vec<&[(u64, BlockEntry, usize)]> {
    let mut out = Vec::new();
    let mut start = 0;
    for index in 1..=wanted.len() {
        let (from, before) = (wanted[start].0, &wanted[index - 1]);
        let end = before.0.saturating_add(u64::from(before.1.len));
        let joins = wanted.get(index).is_some_and(|(offset, block, _)| {
            offset.saturating_sub(end) <= READ_GAP_BYTES
                && offset.saturating_add(u64::from(block.len)) - from <= READ_BYTES_MAX
        });
        if !joins {
            out.push(&wanted[start..index]);
            start = index;
        }
    }
    out
}
