//! The rows that users live in, seen through a small trait so that the rules of this crate can
//! be tested without a database folder.

use std::sync::Arc;

use tsdb::rows::{RowCommand, RowOutcome};
use tsdb::{Command, Db, Outcome};

/// Reads and changes rows. A change is durable when [`RowStore::apply`] returns.
pub trait RowStore: Send + Sync {
    /// The newest value of a row.
    fn get(&self, space: u16, key: &[u8]) -> tsdb::Result<Option<Vec<u8>>>;
    /// All rows of a space in order of key.
    fn scan(&self, space: u16) -> tsdb::Result<Vec<(Vec<u8>, Vec<u8>)>>;
    /// All changes, or none if an expectation does not hold.
    fn apply(&self, command: RowCommand) -> tsdb::Result<RowOutcome>;
}

impl RowStore for Arc<Db> {
    fn get(&self, space: u16, key: &[u8]) -> tsdb::Result<Option<Vec<u8>>> {
        self.snapshot().rows().get(space, key)
    }

    fn scan(&self, space: u16) -> tsdb::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.snapshot().rows().scan(space, &[])
    }

    fn apply(&self, command: RowCommand) -> tsdb::Result<RowOutcome> {
        match self.execute(Command::Rows(command))? {
            Outcome::Rows(outcome) => Ok(outcome),
            other => Err(tsdb::Error::Invalid(format!("a row command gave {other:?}"))),
        }
    }
}

#[cfg(test)]
pub(crate) mod memory {
    //! Rows in a map, with the same compare-and-set rule.
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tsdb::rows::{RowChange, RowCommand, RowOutcome};

    use super::RowStore;

    type Map = BTreeMap<(u16, Vec<u8>), Vec<u8>>;
    type Hook = Box<dyn FnOnce() + Send>;

    #[derive(Clone, Default)]
    pub struct MemoryRows {
        pub map: Arc<Mutex<Map>>,
        /// Called before each change is applied: lets a test slip another change in between.
        pub before: Arc<Mutex<Option<Hook>>>,
    }

    impl RowStore for MemoryRows {
        fn get(&self, space: u16, key: &[u8]) -> tsdb::Result<Option<Vec<u8>>> {
            Ok(self.map.lock().get(&(space, key.to_vec())).cloned())
        }

        fn scan(&self, space: u16) -> tsdb::Result<Vec<(Vec<u8>, Vec<u8>)>> {
            let map = self.map.lock();
            let rows = map.iter().filter(|((s, _), _)| *s == space);
            Ok(rows.map(|((_, k), v)| (k.clone(), v.clone())).collect())
        }

        fn apply(&self, command: RowCommand) -> tsdb::Result<RowOutcome> {
            let before = self.before.lock().take();
            if let Some(before) = before {
                before();
            }
            let mut map = self.map.lock();
            for expect in &command.expects {
                if map.get(&(expect.space, expect.key.clone())) != expect.value.as_ref() {
                    let (space, key) = (expect.space, expect.key.clone());
                    return Ok(RowOutcome::Refused { space, key });
                }
            }
            for change in command.changes {
                match change {
                    RowChange::Put { space, key, value } => map.insert((space, key), value),
                    RowChange::Delete { space, key } => map.remove(&(space, key)),
                    RowChange::DeletePrefix { space, prefix } => {
                        map.retain(|(of, key), _| *of != space || !key.starts_with(&prefix));
                        None
                    }
                };
            }
            Ok(RowOutcome::Applied)
        }
    }
}
