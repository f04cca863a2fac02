//! The rows that a statement sees: a snapshot of the row store, and over it what its transaction
//! has changed so far.
//!
//! Invariants
//! - Whatever was looked at and decides over the commit is a condition of it: the value of each
//!   row that is changed, rows that must stay there, prefixes whose rows must stay as many, and
//!   the revision of each definition. So of two transactions that meet the first to commit wins.
//! - Rows under a cleared prefix are not looked at in the snapshot, and have no conditions.

use std::ops::Bound;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet, Vector};
use tsdb::Command;
use tsdb::rows::{
    ROW_COMMAND_ITEMS_MAX, RowChange, RowCommand, RowConditions, RowCount, RowExpect, RowSnapshot,
};

use super::def::{SPACE_INDEX, SPACE_ROWS, SPACE_TABLES, TableDef};
use crate::error::{QueryError, QueryResult};

/// What a row costs besides its bytes while it waits.
const ROW_OVERHEAD: usize = 64;

type Bytes = Arc<[u8]>;
/// Space and key, as one: the space first, big-endian.
type Whole = Vec<u8>;

fn whole(space: u16, key: &[u8]) -> Whole {
    [&space.to_be_bytes()[..], key].concat()
}

fn split(whole: &[u8]) -> (u16, &[u8]) {
    match whole.split_first_chunk::<2>() {
        Some((space, key)) => (u16::from_be_bytes(*space), key),
        None => (0, whole),
    }
}

/// The first key behind all that begin so.
pub(crate) fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// What a transaction has changed of relational tables. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Pending {
    rows: OrdMap<Whole, Option<Bytes>>,
    cleared: Vector<Whole>,
    expects: OrdMap<Whole, Option<Bytes>>,
    present: OrdSet<Whole>,
    counts: OrdMap<Whole, u64>,
    bytes: usize,
    /// By how many rows the tables have grown.
    pub(crate) grown: OrdMap<u32, i64>,
}

impl Pending {
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.cleared.is_empty()
    }

    /// About what it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn is_cleared(&self, whole: &[u8]) -> bool {
        self.cleared.iter().any(|prefix| whole.starts_with(prefix))
    }

    /// The record's command, and the conditions of the commit.
    ///
    /// # Errors
    /// `54000` for too many rows.
    pub(crate) fn commands(&self) -> QueryResult<(Vec<Command>, RowConditions)> {
        let mut changes = Vec::with_capacity(self.rows.len() + self.cleared.len());
        for prefix in &self.cleared {
            let (space, prefix) = split(prefix);
            changes.push(RowChange::DeletePrefix { space, prefix: prefix.to_vec() });
        }
        for (whole, value) in &self.rows {
            let (space, key) = split(whole);
            changes.push(match value {
                Some(value) => RowChange::Put { space, key: key.to_vec(), value: value.to_vec() },
                None => RowChange::Delete { space, key: key.to_vec() },
            });
        }
        if changes.len() > ROW_COMMAND_ITEMS_MAX {
            return Err(QueryError::new(
                "54000",
                format!(
                    "a transaction may change {ROW_COMMAND_ITEMS_MAX} rows and index entries of \
                 relational tables"
                ),
            )
            .with_hint("Commit more often."));
        }
        let expects = self.expects.iter().map(|(whole, value)| {
            let (space, key) = split(whole);
            RowExpect { space, key: key.to_vec(), value: value.as_ref().map(|v| v.to_vec()) }
        });
        let present = self.present.iter().map(|whole| {
            let (space, key) = split(whole);
            (space, key.to_vec())
        });
        let counts = self.counts.iter().map(|(whole, count)| {
            let (space, prefix) = split(whole);
            RowCount { space, prefix: prefix.to_vec(), count: *count }
        });
        let conditions = RowConditions {
            expects: expects.collect(),
            present: present.collect(),
            counts: counts.collect(),
        };
        let command = RowCommand { expects: Vec::new(), changes };
        Ok((vec![Command::Rows(command)], conditions))
    }
}

/// See the head of this file.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) base: RowSnapshot,
    pub(crate) pending: Pending,
}

impl View {
    pub(crate) fn new(base: RowSnapshot, pending: Pending) -> View {
        View { base, pending }
    }

    pub(crate) fn get(&self, space: u16, key: &[u8]) -> QueryResult<Option<Vec<u8>>> {
        if self.pending.is_empty() {
            return Ok(self.base.get(space, key)?);
        }
        let whole = whole(space, key);
        match self.pending.rows.get(&whole) {
            Some(value) => Ok(value.as_ref().map(|value| value.to_vec())),
            None if self.pending.is_cleared(&whole) => Ok(None),
            None => Ok(self.base.get(space, key)?),
        }
    }

    pub(crate) fn has(&self, space: u16, key: &[u8]) -> QueryResult<bool> {
        Ok(self.get(space, key)?.is_some())
    }

    /// Hands over the rows between two keys, in order or backwards, until `take` says false. The
    /// keys lie in one prefix.
    pub(crate) fn visit(
        &self,
        space: u16,
        (from, to): (Bound<&[u8]>, Bound<&[u8]>),
        backwards: bool,
        mut take: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> QueryResult<()> {
        let (low, high) = (from.map(|key| whole(space, key)), to.map(|key| whole(space, key)));
        let pending = &self.pending;
        if pending.is_empty() {
            return Ok(self.base.visit(space, (from, to), backwards, take)?);
        }
        let low = match low {
            Bound::Unbounded => Bound::Included(whole(space, &[])),
            other => other,
        };
        let high = match high {
            Bound::Unbounded => {
                behind(&space.to_be_bytes()).map_or(Bound::Unbounded, Bound::Excluded)
            }
            other => other,
        };
        let crossed = match (&low, &high) {
            (Bound::Included(low), Bound::Included(high)) => low > high,
            (
                Bound::Included(low) | Bound::Excluded(low),
                Bound::Included(high) | Bound::Excluded(high),
            ) => low >= high,
            _ => false,
        };
        if crossed {
            return Ok(());
        }
        let all_cleared = match &low {
            Bound::Included(key) | Bound::Excluded(key) => pending.is_cleared(key),
            Bound::Unbounded => false,
        };
        let mut over: Vec<(&Whole, &Option<Bytes>)> = pending.rows.range((low, high)).collect();
        if backwards {
            over.reverse();
        }
        let mut over = over.into_iter().peekable();
        let mut goes_on = true;
        let before = |a: &[u8], b: &[u8]| if backwards { a > b } else { a < b };
        let merge = |key: &[u8], value: &[u8]| {
            let full = whole(space, key);
            while goes_on && let Some((at, changed)) = over.next_if(|(at, _)| before(at, &full)) {
                if let Some(changed) = changed {
                    goes_on = take(&at[2..], changed);
                }
            }
            if !goes_on {
                return false;
            }
            match over.next_if(|(at, _)| **at == full) {
                Some((_, Some(changed))) => goes_on = take(key, changed),
                Some((_, None)) => {}
                None if pending.is_cleared(&full) => {}
                None => goes_on = take(key, value),
            }
            goes_on
        };
        if !all_cleared {
            self.base.visit(space, (from, to), backwards, merge)?;
        }
        while goes_on && let Some((at, changed)) = over.next() {
            if let Some(changed) = changed {
                goes_on = take(&at[2..], changed);
            }
        }
        Ok(())
    }

    /// Hands over all rows that begin so.
    pub(crate) fn visit_prefix(
        &self,
        space: u16,
        prefix: &[u8],
        take: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> QueryResult<()> {
        let end = behind(prefix);
        let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        self.visit(space, (Bound::Included(prefix), to), false, take)
    }

    /// Whether the snapshot itself decides over a row: then the commit depends on it.
    fn depends(&self, whole: &[u8]) -> bool {
        !self.pending.rows.contains_key(whole) && !self.pending.is_cleared(whole)
    }

    fn note(&mut self, whole: &Whole) -> QueryResult<()> {
        if self.depends(whole) && !self.pending.expects.contains_key(whole) {
            let (space, key) = split(whole);
            let value = self.base.get(space, key)?;
            self.pending.bytes += whole.len() + value.as_ref().map_or(0, Vec::len) + ROW_OVERHEAD;
            self.pending.expects.insert(whole.clone(), value.map(Into::into));
        }
        Ok(())
    }

    pub(crate) fn put(&mut self, space: u16, key: &[u8], value: Vec<u8>) -> QueryResult<()> {
        let whole = whole(space, key);
        self.note(&whole)?;
        self.pending.bytes += whole.len() + value.len() + ROW_OVERHEAD;
        self.pending.rows.insert(whole, Some(value.into()));
        Ok(())
    }

    pub(crate) fn delete(&mut self, space: u16, key: &[u8]) -> QueryResult<()> {
        let whole = whole(space, key);
        self.note(&whole)?;
        self.pending.bytes += whole.len() + ROW_OVERHEAD;
        self.pending.rows.insert(whole, None);
        Ok(())
    }

    /// Forgets all rows that begin so.
    pub(crate) fn clear(&mut self, space: u16, prefix: &[u8]) {
        let prefix = whole(space, prefix);
        let end = behind(&prefix).map_or(Bound::Unbounded, Bound::Excluded);
        let gone: Vec<Whole> = self
            .pending
            .rows
            .range((Bound::Included(prefix.clone()), end))
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            self.pending.rows.remove(&key);
        }
        if !self.pending.is_cleared(&prefix) {
            self.pending.bytes += prefix.len() + ROW_OVERHEAD;
            self.pending.cleared.push_back(prefix);
        }
    }

    /// Forgets all rows of a table and their entries.
    pub(crate) fn clear_table(&mut self, table: &TableDef) {
        self.clear(SPACE_ROWS, &table.prefix());
        for index in &table.indexes {
            self.clear(SPACE_INDEX, &index.number.to_be_bytes());
        }
    }

    /// The commit depends on the row's being there; it is there now.
    pub(crate) fn must_stay(&mut self, space: u16, key: &[u8]) {
        let whole = whole(space, key);
        if self.depends(&whole) && self.pending.present.insert(whole.clone()).is_none() {
            self.pending.bytes += whole.len() + ROW_OVERHEAD;
        }
    }

    /// The commit depends on there being no other rows that begin so than there are now.
    pub(crate) fn must_not_grow(&mut self, space: u16, prefix: &[u8]) -> QueryResult<()> {
        let full = whole(space, prefix);
        if self.pending.is_cleared(&full) || self.pending.counts.contains_key(&full) {
            return Ok(());
        }
        let (mut count, end) = (0, behind(prefix));
        let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        self.base.visit(space, (Bound::Included(prefix), to), false, |_, _| {
            count += 1;
            true
        })?;
        self.pending.bytes += full.len() + ROW_OVERHEAD;
        self.pending.counts.insert(full, count);
        Ok(())
    }

    /// The commit depends on the definition of a table.
    pub(crate) fn relies_on(&mut self, table: &TableDef) {
        let (key, value) = table.revision_row();
        self.pending.expects.insert(whole(SPACE_TABLES, &key), Some(value.into()));
    }

    /// Notes that a table has grown by some rows.
    pub(crate) fn grow(&mut self, table: u32, rows: i64) {
        let before = self.pending.grown.get(&table).copied().unwrap_or(0);
        self.pending.grown.insert(table, before + rows);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tsdb::io::MemoryStorage;
    use tsdb::rows::RowStore;

    use super::*;
    use crate::tests::harness::Random;

    const SPACE: u16 = 19;

    type Model = BTreeMap<Vec<u8>, Vec<u8>>;

    fn key(random: &mut Random) -> Vec<u8> {
        vec![random.below(3) as u8, random.below(6) as u8, random.below(3) as u8]
    }

    fn bound(random: &mut Random, prefix: u8) -> Bound<Vec<u8>> {
        let key = vec![prefix, random.below(7) as u8, random.below(3) as u8];
        if random.below(2) == 0 { Bound::Included(key) } else { Bound::Excluded(key) }
    }

    fn range(random: &mut Random) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
        let prefix = random.below(3) as u8;
        match random.below(3) {
            0 => (Bound::Included(vec![prefix]), Bound::Excluded(vec![prefix + 1])),
            1 => (bound(random, prefix), Bound::Excluded(vec![prefix + 1])),
            _ => (bound(random, prefix), bound(random, prefix)),
        }
    }

    fn check(view: &View, model: &Model, random: &mut Random) {
        let (from, to) = range(random);
        let within = |key: &Vec<u8>| {
            (match &from {
                Bound::Included(from) => key >= from,
                Bound::Excluded(from) => key > from,
                Bound::Unbounded => true,
            }) && match &to {
                Bound::Included(to) => key <= to,
                Bound::Excluded(to) => key < to,
                Bound::Unbounded => true,
            }
        };
        let mut expected: Vec<(Vec<u8>, Vec<u8>)> = model
            .iter()
            .filter(|(key, _)| within(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let backwards = random.below(2) == 0;
        if backwards {
            expected.reverse();
        }
        let most = 1 + random.below(12) as usize;
        expected.truncate(most);
        let mut found = Vec::new();
        let bounds = (from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice));
        view.visit(SPACE, bounds, backwards, |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            found.len() < most
        })
        .unwrap();
        assert_eq!(found, expected, "{from:?} {to:?}");
        let one = key(random);
        assert_eq!(view.get(SPACE, &one).unwrap().as_ref(), model.get(&one));
    }

    #[test]
    fn pending_rows_lie_over_the_snapshot() {
        for seed in 0..200 {
            let mut random = Random(seed);
            let store = RowStore::open_in(&MemoryStorage::new(), "", "rows").unwrap();
            let mut model = Model::new();
            let mut changes = Vec::new();
            for _ in 0..random.below(40) {
                let (key, value) = (key(&mut random), vec![random.below(9) as u8]);
                model.insert(key.clone(), value.clone());
                changes.push(RowChange::Put { space: SPACE, key, value });
            }
            store.apply(1, &RowCommand { expects: Vec::new(), changes }).unwrap();
            let before = model.clone();
            let mut view = View::new(store.snapshot().unwrap(), Pending::default());
            for _ in 0..random.below(40) {
                let key = key(&mut random);
                match random.below(12) {
                    0 => {
                        view.clear(SPACE, &key[..1]);
                        model.retain(|other, _| other[0] != key[0]);
                    }
                    1..5 => {
                        view.delete(SPACE, &key).unwrap();
                        model.remove(&key);
                    }
                    _ => {
                        let value = vec![100 + random.below(9) as u8];
                        view.put(SPACE, &key, value.clone()).unwrap();
                        model.insert(key, value);
                    }
                }
                check(&view, &model, &mut random);
            }
            // What is committed is what was seen, on conditions that hold for the snapshot.
            let (commands, conditions) = view.pending.commands().unwrap();
            for expect in &conditions.expects {
                assert_eq!(before.get(&expect.key), expect.value.as_ref(), "seed {seed}");
            }
            for command in commands {
                let Command::Rows(command) = command else { panic!() };
                store.apply(2, &command).unwrap();
            }
            let rows: Model =
                store.snapshot().unwrap().scan(SPACE, &[]).unwrap().into_iter().collect();
            assert_eq!(rows, model, "seed {seed}");
        }
    }
}
