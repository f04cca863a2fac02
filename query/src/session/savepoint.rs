//! SAVEPOINT, RELEASE, ROLLBACK TO: marks in the list of what a block has collected.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tsdb::types::TableId;

use super::Session;
use super::transaction::Transaction;
use crate::Outcome;
use crate::error::{QueryError, QueryResult};
use crate::relational::Pending;
use crate::settings::Settings;

/// Savepoints of one block; each holds a set of tables.
const SAVEPOINTS_MAX: usize = 1_000;

/// What a block was when the savepoint was made.
pub(super) struct Savepoint {
    name: String,
    commands: usize,
    bytes: usize,
    written: HashSet<TableId>,
    settings: Arc<Settings>,
    local: usize,
    cursors: u64,
    actions: usize,
    pending: Pending,
}

impl Session {
    pub(super) fn savepoint(&self, name: &str) -> QueryResult<Outcome> {
        let mut state = self.state.lock();
        let settings = state.settings.clone();
        let block = explicit(&mut state.transaction, "SAVEPOINT")?;
        block.actions.extend(self.client.asked.take());
        if block.savepoints.len() >= SAVEPOINTS_MAX {
            let message = format!("a transaction may hold {SAVEPOINTS_MAX} savepoints");
            return Err(QueryError::new("54000", message));
        }
        block.savepoints.push(Savepoint {
            name: name.to_string(),
            commands: block.commands.len(),
            bytes: block.bytes,
            written: block.written.clone(),
            settings,
            local: block.local.len(),
            cursors: block.cursors.mark(),
            actions: block.actions.len(),
            pending: block.pending.clone(),
        });
        Ok(Outcome::Done { tag: "SAVEPOINT".into() })
    }

    /// Forgets the savepoint and those after it; what was written stays.
    pub(super) fn release(&self, name: &str) -> QueryResult<Outcome> {
        let mut state = self.state.lock();
        let block = explicit(&mut state.transaction, "RELEASE SAVEPOINT")?;
        let at = find(block, name)?;
        block.savepoints.truncate(at);
        Ok(Outcome::Done { tag: "RELEASE".into() })
    }

    /// Takes back what came after the savepoint, errors too. The savepoint stays.
    pub(super) fn rollback_to(&self, name: &str) -> QueryResult<Outcome> {
        let mut state = self.state.lock();
        let block = explicit(&mut state.transaction, "ROLLBACK TO SAVEPOINT")?;
        let at = find(block, name)?;
        block.savepoints.truncate(at + 1);
        let Some(mark) = block.savepoints.last() else {
            return Err(QueryError::internal("a savepoint went missing"));
        };
        block.commands.truncate(mark.commands);
        block.cursors.back_to(mark.cursors);
        self.client.asked.take();
        block.actions.truncate(mark.actions);
        block.bytes = mark.bytes;
        block.pending = mark.pending.clone();
        block.written = mark.written.clone();
        block.local.truncate(mark.local);
        let settings = mark.settings.clone();
        // A stream from before may still fail, and does not concern the block any more.
        block.failed = Arc::new(AtomicBool::new(false));
        state.settings = settings;
        Ok(Outcome::Done { tag: "ROLLBACK".into() })
    }
}

fn explicit<'a>(
    block: &'a mut Option<Transaction>,
    what: &str,
) -> QueryResult<&'a mut Transaction> {
    match block {
        Some(block) if !block.is_implicit() => Ok(block),
        _ => {
            let message = format!("{what} can only be used in transaction blocks");
            Err(QueryError::new("25P01", message))
        }
    }
}

fn find(block: &Transaction, name: &str) -> QueryResult<usize> {
    let found = block.savepoints.iter().rposition(|mark| mark.name == name);
    found.ok_or_else(|| QueryError::new("3B001", format!("savepoint \"{name}\" does not exist")))
}
