//! Runs of jobs that outlive the process: rows of the row store, one for each of the newest runs that
//! have stored something or have failed. README.md, section "Continuous aggregates", is the text.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tsdb::rows::{RowChange, RowCommand};
use tsdb::{Command, Snapshot};

use super::{RUNS_MAX, Run};
use crate::engine::Engine;
use crate::error::{QueryError, QueryResult};
use crate::view::materialized::refresh::Refreshed;

/// Space of the row store.
const SPACE_RUNS: u16 = 22;
/// The newest version of a row.
const VERSION: u32 = 1;
/// Bytes of an error's words.
const ERROR_BYTES_MAX: usize = 2048;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    v: u32,
    seconds: f64,
    error: Option<String>,
    ranges: u64,
    rows: u64,
}

/// Number of the view and start of the run, ns since 1970, both big-endian, so that runs are in order.
fn key(view: u32, started: i64) -> Vec<u8> {
    [&view.to_be_bytes()[..], &started.to_be_bytes()].concat()
}

fn damaged(what: impl std::fmt::Display) -> QueryError {
    QueryError::new("XX001", format!("a row of the history of jobs cannot be read: {what}"))
}

fn run_of(key: &[u8], value: &[u8]) -> QueryResult<Run> {
    let started = match key.get(4..).map(<[u8; 8]>::try_from) {
        Some(Ok(bytes)) => i64::from_be_bytes(bytes),
        _ => return Err(damaged("its key")),
    };
    let row: Row = serde_json::from_slice(value).map_err(damaged)?;
    if row.v != VERSION {
        return Err(damaged(format!("version {}", row.v)));
    }
    let refreshed = Refreshed { ranges: row.ranges, rows: row.rows };
    Ok(Run { started, seconds: Some(row.seconds), error: row.error, refreshed })
}

/// The runs of a view's job that are kept, the oldest first.
pub(crate) fn of(snapshot: &Snapshot, view: u32) -> QueryResult<Vec<Run>> {
    let rows = snapshot.rows().scan(SPACE_RUNS, &view.to_be_bytes())?;
    rows.iter().map(|(key, value)| run_of(key, value)).collect()
}

/// Keeps a run that has ended, and lets go of the oldest beyond as many as are kept.
pub(super) async fn keep(engine: &Arc<Engine>, view: u32, run: &Run) -> QueryResult<()> {
    let Some(seconds) = run.seconds else { return Ok(()) };
    let cut = |text: &String| match text.char_indices().find(|(at, _)| *at >= ERROR_BYTES_MAX) {
        Some((at, _)) => text[..at].to_string(),
        None => text.clone(),
    };
    let error = run.error.as_ref().map(cut);
    let (ranges, rows) = (run.refreshed.ranges, run.refreshed.rows);
    let row = Row { v: VERSION, seconds, error, ranges, rows };
    let value = serde_json::to_vec(&row)
        .map_err(|error| QueryError::internal(format!("a row: {error}")))?;
    // So that nothing is kept of a view that is being dropped.
    let _guard = engine.definitions().lock().await;
    let snapshot = engine.db().snapshot();
    let views = engine.views().of(&snapshot)?;
    if !views.list.iter().any(|known| known.number == view) {
        return Ok(());
    }
    let kept = snapshot.rows().scan(SPACE_RUNS, &view.to_be_bytes())?;
    let gone = kept.len().saturating_sub(RUNS_MAX - 1);
    let mut changes: Vec<RowChange> = kept
        .into_iter()
        .take(gone)
        .map(|(key, _)| RowChange::Delete { space: SPACE_RUNS, key })
        .collect();
    changes.push(RowChange::Put { space: SPACE_RUNS, key: key(view, run.started), value });
    let command = Command::Rows(RowCommand { expects: Vec::new(), changes });
    let db = engine.db().clone();
    let committed = engine.runtime()?.spawn_blocking(move || db.commit(vec![command])).await;
    let committed =
        committed.map_err(|error| QueryError::internal(format!("keeping a run: {error}")))??;
    committed.all()?;
    Ok(())
}

/// The command that forgets the runs of views that are dropped, to go with others.
pub(crate) fn forget(
    snapshot: &Snapshot,
    views: impl Iterator<Item = u32>,
) -> QueryResult<Option<Command>> {
    let mut changes = Vec::new();
    for view in views {
        let rows = snapshot.rows().scan(SPACE_RUNS, &view.to_be_bytes())?;
        changes
            .extend(rows.into_iter().map(|(key, _)| RowChange::Delete { space: SPACE_RUNS, key }));
    }
    let command = RowCommand { expects: Vec::new(), changes };
    Ok((!command.changes.is_empty()).then_some(Command::Rows(command)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_read_back_and_damage_is_told() {
        let value = br#"{"v":1,"seconds":0.5,"error":"no","ranges":2,"rows":3}"#;
        let key = key(7, 1_800_000_000_000_000_000);
        let run = run_of(&key, value).unwrap();
        assert_eq!((run.started, run.seconds), (1_800_000_000_000_000_000, Some(0.5)));
        assert_eq!((run.error.as_deref(), run.refreshed.rows), (Some("no"), 3));
        for end in 0..value.len() {
            assert_eq!(run_of(&key, &value[..end]).unwrap_err().code, "XX001");
        }
        for at in 0..value.len() {
            let mut flipped = value.to_vec();
            flipped[at] ^= 1;
            // It may be another run; it must not panic.
            let _ = run_of(&key, &flipped);
        }
        for end in 0..key.len() {
            assert_eq!(run_of(&key[..end], value).unwrap_err().code, "XX001");
        }
        assert_eq!(
            run_of(&key, &br#"{"v":2,"seconds":0,"error":null,"ranges":0,"rows":0}"#[..])
                .unwrap_err()
                .code,
            "XX001"
        );
    }
}
