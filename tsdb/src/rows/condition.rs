//! Conditions of a commit: what rows must be when its record is written. FORMAT.md, "Row
//! commands", says what is in the log: conditions are not, since they were met.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::{RowChange, RowExpect, RowSnapshot, end_of_prefix, row_key};
use crate::error::{Error, Result};

/// What must hold for a whole commit. The committer looks at it before the record is written, in
/// the rows as the commit before has left them: a commit whose conditions do not hold is not made
/// at all, whatever else it would have changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowConditions {
    /// Rows that must be so, or not be there.
    pub expects: Vec<RowExpect>,
    /// Rows that must be there, whatever they hold: space and key.
    pub present: Vec<(u16, Vec<u8>)>,
    /// Rows that must be as many.
    pub counts: Vec<RowCount>,
}

/// How many rows begin with a prefix.
#[derive(Clone, Debug, PartialEq)]
pub struct RowCount {
    /// Space of the rows.
    pub space: u16,
    /// What their keys begin with.
    pub prefix: Vec<u8>,
    /// How many there must be.
    pub count: u64,
}

/// The rows as the commits so far will have left them: a snapshot, and what commits of the same
/// group change.
pub(crate) struct Seen {
    rows: RowSnapshot,
    changed: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    cleared: Vec<Vec<u8>>,
}

impl Seen {
    pub(crate) fn new(rows: RowSnapshot) -> Seen {
        Seen { rows, changed: BTreeMap::new(), cleared: Vec::new() }
    }

    /// Takes in what a commit changes.
    pub(crate) fn change(&mut self, changes: &[RowChange]) {
        for change in changes {
            match change {
                RowChange::Put { space, key, value } => {
                    self.changed.insert(row_key(*space, key), Some(value.clone()));
                }
                RowChange::Delete { space, key } => {
                    self.changed.insert(row_key(*space, key), None);
                }
                RowChange::DeletePrefix { space, prefix } => {
                    let prefix = row_key(*space, prefix);
                    self.changed.retain(|key, _| !key.starts_with(&prefix));
                    self.cleared.push(prefix);
                }
            }
        }
    }

    fn is_cleared(&self, key: &[u8]) -> bool {
        self.cleared.iter().any(|prefix| key.starts_with(prefix))
    }

    fn get(&self, space: u16, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let whole = row_key(space, key);
        match self.changed.get(&whole) {
            Some(value) => Ok(value.clone()),
            None if self.is_cleared(&whole) => Ok(None),
            None => self.rows.get(space, key),
        }
    }

    /// Whether there are as many rows: no more than one beyond is looked at.
    fn is_count(&self, wanted: &RowCount) -> Result<bool> {
        let prefix = row_key(wanted.space, &wanted.prefix);
        let end = end_of_prefix(&prefix);
        let to = end.map_or(Bound::Unbounded, Bound::Excluded);
        let changed: BTreeMap<&[u8], bool> = self
            .changed
            .range::<Vec<u8>, _>((Bound::Included(prefix.clone()), to))
            .map(|(key, value)| (&key[2..], value.is_some()))
            .collect();
        let mut count = changed.values().filter(|there| **there).count() as u64;
        if !self.is_cleared(&prefix) {
            let end = end_of_prefix(&wanted.prefix);
            let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let range = (Bound::Included(&wanted.prefix[..]), to);
            self.rows.visit(wanted.space, range, false, |key, _| {
                count += u64::from(!changed.contains_key(key));
                count <= wanted.count
            })?;
        }
        Ok(count == wanted.count)
    }

    /// Whether a command with these preconditions would be applied. Where rows cannot be read the
    /// record's own application fails too.
    pub(crate) fn holds(&self, expects: &[RowExpect]) -> bool {
        let same = |expect: &RowExpect| {
            self.get(expect.space, &expect.key).is_ok_and(|value| value == expect.value)
        };
        expects.iter().all(same)
    }

    /// The first condition that does not hold.
    ///
    /// # Errors
    /// [`Error::Conflict`] for one that does not; what reading rows gives.
    pub(crate) fn check(&self, conditions: &RowConditions) -> Result<()> {
        let conflict = |space: u16, key: &[u8]| Err(Error::Conflict { space, key: key.to_vec() });
        for expect in &conditions.expects {
            if self.get(expect.space, &expect.key)? != expect.value {
                return conflict(expect.space, &expect.key);
            }
        }
        for (space, key) in &conditions.present {
            if self.get(*space, key)?.is_none() {
                return conflict(*space, key);
            }
        }
        for count in &conditions.counts {
            if !self.is_count(count)? {
                return conflict(count.space, &count.prefix);
            }
        }
        Ok(())
    }
}
