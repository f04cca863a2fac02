//! The row that counts the changes of a kind of rows, and gives them numbers: key `n` of their space.
//!
//! Whoever changes rows of the kind writes it anew and expects it as it was read, so that changes
//! come one after another.

use serde::{Deserialize, Serialize};
use tsdb::Snapshot;
use tsdb::rows::{RowChange, RowExpect};

use crate::error::{QueryError, QueryResult};

/// Its key.
pub(crate) const KEY: &[u8] = b"n";
const VERSION: u32 = 1;

/// The row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Counts {
    v: u32,
    /// Counts changes.
    pub(crate) revision: u64,
    /// The next number.
    pub(crate) next: u32,
}

impl Counts {
    /// What it is behind a change.
    pub(crate) fn behind(revision: u64, next: u32) -> Counts {
        Counts { v: VERSION, revision: revision + 1, next }
    }

    /// Reads it; `damaged` words the error.
    pub(crate) fn decode(
        bytes: &[u8],
        damaged: impl Fn(String) -> QueryError,
    ) -> QueryResult<Counts> {
        let row: Counts = serde_json::from_slice(bytes).map_err(|e| damaged(e.to_string()))?;
        match row.v {
            VERSION => Ok(row),
            other => Err(damaged(format!("version {other}"))),
        }
    }

    /// The change that writes it.
    pub(crate) fn put(&self, space: u16) -> QueryResult<RowChange> {
        Ok(RowChange::Put { space, key: KEY.to_vec(), value: encode(self)? })
    }
}

/// The row of a space as it is; `None` before the first change.
pub(crate) fn read(snapshot: &Snapshot, space: u16) -> QueryResult<Option<Vec<u8>>> {
    Ok(snapshot.rows().get(space, KEY)?)
}

/// That it still is what was read.
pub(crate) fn expect(space: u16, read: Option<&Vec<u8>>) -> RowExpect {
    RowExpect { space, key: KEY.to_vec(), value: read.cloned() }
}

/// A row as it is kept.
pub(crate) fn encode(row: &impl Serialize) -> QueryResult<Vec<u8>> {
    serde_json::to_vec(row).map_err(|error| QueryError::internal(format!("a row: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_back_and_damage_is_told() {
        let damaged = |what: String| QueryError::new("XX001", what);
        let golden = br#"{"v":1,"revision":8,"next":3}"#;
        let RowChange::Put { value, .. } = Counts::behind(7, 3).put(1).unwrap() else { panic!() };
        assert_eq!(value, golden);
        assert_eq!(Counts::decode(golden, damaged).unwrap(), Counts::behind(7, 3));
        for end in 0..golden.len() {
            assert_eq!(Counts::decode(&golden[..end], damaged).unwrap_err().code, "XX001");
        }
        let later = br#"{"v":2,"revision":8,"next":3}"#;
        assert!(Counts::decode(later, damaged).unwrap_err().message.contains("version 2"));
    }
}
