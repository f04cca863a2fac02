//! BEGIN, COMMIT, ROLLBACK: writes wait in memory and become one record at COMMIT; reads use one
//! snapshot, taken at the first statement that needs it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tsdb::types::TableId;
use tsdb::{Command, Snapshot};

use super::Session;
use super::cursor::Cursors;
use super::savepoint::Savepoint;
use crate::Outcome;
use crate::engine::Engine;
use crate::error::{QueryError, QueryResult};
use crate::notify::{ACTIONS_MAX, Action, too_many};
use crate::relational::{Pending, View};
use crate::settings::Settings;

/// Bytes of rows that a transaction may hold back: one record of the log must hold them.
const BYTES_MAX: usize = 64 << 20;

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// Outside of a block: each statement is a transaction.
    Idle,
    /// In a block.
    InTransaction,
    /// In a block that an error has ended; only its end is awaited.
    Failed,
}

/// An open block.
pub(super) struct Transaction {
    snapshot: Option<Snapshot>,
    read_only: bool,
    /// Opened for the statements of one text, not by BEGIN.
    implicit: bool,
    /// Set by any error, also by one in the middle of a stream.
    pub(super) failed: Arc<AtomicBool>,
    pub(super) commands: Vec<Command>,
    pub(super) bytes: usize,
    pub(super) written: HashSet<TableId>,
    /// What it has changed of relational tables.
    pub(super) pending: Pending,
    /// Settings at BEGIN, which ROLLBACK brings back.
    saved: Arc<Settings>,
    /// Values before SET LOCAL, which any end brings back.
    pub(super) local: Vec<(String, Option<String>)>,
    pub(super) savepoints: Vec<Savepoint>,
    pub(super) cursors: Cursors,
    /// What LISTEN, UNLISTEN and NOTIFY have asked for.
    pub(super) actions: Vec<Action>,
}

impl Transaction {
    pub(super) fn read_only(&self) -> bool {
        self.read_only
    }

    pub(super) fn new(read_only: bool, saved: Arc<Settings>, implicit: bool) -> Transaction {
        Transaction {
            snapshot: None,
            read_only,
            implicit,
            failed: Arc::new(AtomicBool::new(false)),
            commands: Vec::new(),
            bytes: 0,
            written: HashSet::new(),
            pending: Pending::default(),
            saved,
            local: Vec::new(),
            savepoints: Vec::new(),
            cursors: Cursors::default(),
            actions: Vec::new(),
        }
    }

    pub(super) fn is_implicit(&self) -> bool {
        self.implicit
    }

    /// The commands so far, to be committed before the block ends.
    pub(super) fn take_collected(&mut self) -> (Vec<Command>, Pending) {
        self.bytes = 0;
        self.written.clear();
        self.snapshot = None;
        (std::mem::take(&mut self.commands), std::mem::take(&mut self.pending))
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    pub(super) fn snapshot(&mut self, engine: &Engine) -> Snapshot {
        self.snapshot.get_or_insert_with(|| engine.db().snapshot()).clone()
    }

    pub(super) fn written(&self) -> HashSet<TableId> {
        self.written.clone()
    }

    /// Remembers what a setting was before SET LOCAL.
    pub(super) fn remember(&mut self, name: &str, before: Option<String>) {
        if !self.local.iter().any(|(n, _)| n.eq_ignore_ascii_case(name)) {
            self.local.push((name.to_string(), before));
        }
    }
}

fn block_too_large() -> QueryError {
    QueryError::new("54000", "a transaction may write at most 64 MiB")
        .with_hint("Commit more often, or write outside of a transaction.")
}

impl Session {
    pub(super) fn begin(&self, read_only: bool) -> QueryResult<Outcome> {
        let mut state = self.state.lock();
        if let Some(block) = &mut state.transaction {
            // What came before in the same text belongs to the block that opens now. In a block
            // that is open already, Postgres warns and goes on.
            if std::mem::take(&mut block.implicit) {
                block.read_only |= read_only;
            }
            return Ok(Outcome::Done { tag: "BEGIN".into() });
        }
        let read_only = read_only || state.settings.is_on("default_transaction_read_only");
        state.transaction = Some(Transaction::new(read_only, state.settings.clone(), false));
        Ok(Outcome::Done { tag: "BEGIN".into() })
    }

    pub(super) async fn commit(&self, and_chain: bool) -> QueryResult<Outcome> {
        let block = self.state.lock().transaction.take();
        let Some(mut block) = block else { return Ok(Outcome::Done { tag: "COMMIT".into() }) };
        block.actions.extend(self.client.asked.take());
        if block.has_failed() {
            return self.undo(block, and_chain);
        }
        let read_only = block.read_only;
        if let Err(error) = self.hold(&block.cursors).await {
            self.undo(block, false)?;
            return Err(error);
        }
        self.restore_local(&block);
        let saved = block.saved.clone();
        let committed = match self.engine.channels().check(&self.client.inbox, &block.actions) {
            Ok(()) => self.commit_commands(block.commands, block.pending).await,
            Err(error) => Err(error),
        };
        // What a block has set goes with what it has written.
        committed.inspect_err(|_| self.state.lock().settings = saved)?;
        self.state.lock().held.add(block.cursors.held());
        self.apply_actions(block.actions);
        if and_chain {
            self.begin(read_only)?;
        }
        Ok(Outcome::Done { tag: "COMMIT".into() })
    }

    /// Commits commands that a block has collected, as one record.
    pub(super) async fn commit_commands(
        &self,
        mut commands: Vec<Command>,
        pending: Pending,
    ) -> QueryResult<()> {
        if commands.is_empty() && pending.is_empty() {
            return Ok(());
        }
        let engine = self.engine.clone();
        let committed = if pending.is_empty() {
            self.blocking(move || Ok(engine.db().commit(commands)?)).await?
        } else {
            let gate = self.engine.relational().gate.read().await;
            let relations = engine.relational().of(&engine.db().snapshot())?;
            let pending = self.without_fleeting(pending)?;
            let (rows, conditions) = pending.commands()?;
            commands.extend(rows);
            let submit = move || Ok(engine.db().submit_if(commands, conditions)?);
            let committed = self.blocking(submit).await?.await?;
            drop(gate);
            self.engine.relational().committed(&relations, &pending);
            committed
        };
        for outcome in committed.outcomes {
            if let Err(error) = outcome {
                // Only DDL of others in between can refuse what was checked before.
                return Err(QueryError::new("40001", "could not apply all of the transaction")
                    .with_detail(QueryError::from(error).message));
            }
        }
        Ok(())
    }

    /// Without the rows of temporary tables that go at COMMIT.
    fn without_fleeting(&self, pending: Pending) -> QueryResult<Pending> {
        let snapshot = self.engine.db().snapshot();
        let fleeting: Vec<_> = self
            .relations(&snapshot)?
            .temporary(Some(self.number()))
            .into_iter()
            .filter(|table| table.temporary.is_some_and(|of| of.delete_rows))
            .filter(|table| pending.grown.contains_key(&table.number))
            .collect();
        let mut view = View::new(snapshot.rows().clone(), pending);
        fleeting.iter().for_each(|table| view.clear_table(table));
        Ok(view.pending)
    }

    pub(super) fn rollback(&self, and_chain: bool) -> QueryResult<Outcome> {
        let block = self.state.lock().transaction.take();
        self.client.asked.take();
        match block {
            Some(block) => self.undo(block, and_chain),
            None => Ok(Outcome::Done { tag: "ROLLBACK".into() }),
        }
    }

    fn undo(&self, block: Transaction, and_chain: bool) -> QueryResult<Outcome> {
        self.state.lock().settings = block.saved.clone();
        if and_chain {
            self.begin(block.read_only)?;
        }
        Ok(Outcome::Done { tag: "ROLLBACK".into() })
    }

    fn restore_local(&self, block: &Transaction) {
        let mut state = self.state.lock();
        let settings = Arc::make_mut(&mut state.settings);
        for (name, before) in &block.local {
            // The value was valid before, so it can be set again.
            let _ = match before {
                Some(value) => settings.set(name, value),
                None => settings.reset(name),
            };
        }
    }

    pub(super) fn set_transaction(
        &self,
        read_only: Option<bool>,
        session: bool,
    ) -> QueryResult<Outcome> {
        let mut state = self.state.lock();
        if let Some(read_only) = read_only {
            if session {
                let value = if read_only { "on" } else { "off" };
                Arc::make_mut(&mut state.settings).set("default_transaction_read_only", value)?;
            } else if let Some(block) = &mut state.transaction {
                block.read_only = read_only;
            }
        }
        Ok(Outcome::Done { tag: "SET".into() })
    }

    /// Keeps actions for COMMIT, if a block is open.
    pub(super) fn later(&self, actions: &[Action]) -> QueryResult<bool> {
        let mut state = self.state.lock();
        let Some(block) = &mut state.transaction else { return Ok(false) };
        block.actions.extend(self.client.asked.take());
        if block.actions.len() + actions.len() > ACTIONS_MAX {
            return Err(too_many());
        }
        block.actions.extend_from_slice(actions);
        Ok(true)
    }

    pub(super) fn has_failed(&self) -> bool {
        self.state.lock().transaction.as_ref().is_some_and(Transaction::has_failed)
    }

    /// Makes the open block fail, if there is one, after an error that the session did not see.
    pub fn fail(&self) {
        if let Some(flag) = self.failure_flag() {
            flag.store(true, Ordering::Release);
        }
    }

    /// What a stream sets when it fails after its statement has returned.
    pub(super) fn failure_flag(&self) -> Option<Arc<AtomicBool>> {
        self.state.lock().transaction.as_ref().map(|block| block.failed.clone())
    }

    /// Whether a block is open that BEGIN has opened.
    pub(crate) fn in_block(&self) -> bool {
        self.state.lock().transaction.as_ref().is_some_and(|block| !block.implicit)
    }

    /// Whether a block of either kind is open.
    pub(crate) fn in_any_block(&self) -> bool {
        self.state.lock().transaction.is_some()
    }

    /// Whether the open block of either kind has written to a table.
    pub(crate) fn has_written(&self, table: TableId) -> bool {
        self.state.lock().transaction.as_ref().is_some_and(|block| block.written.contains(&table))
    }

    /// `25006` where nothing may be written.
    pub(crate) fn check_writable(&self, verb: &str) -> QueryResult<()> {
        if self.state.lock().is_read_only() {
            let message = format!("cannot execute {verb} in a read-only transaction");
            return Err(QueryError::new("25006", message));
        }
        Ok(())
    }

    /// Commits changes of relational tables, or keeps them for COMMIT in a block. `snapshot`: what
    /// they were made in.
    ///
    /// # Errors
    /// `40001` where another commit was quicker; nothing has changed then.
    pub(crate) async fn write_rows(&self, snapshot: Snapshot, pending: Pending) -> QueryResult<()> {
        {
            let mut state = self.state.lock();
            if let Some(block) = &mut state.transaction {
                if block.bytes + pending.bytes() > BYTES_MAX {
                    return Err(block_too_large());
                }
                block.snapshot.get_or_insert(snapshot);
                block.pending = pending;
                return Ok(());
            }
        }
        if pending.is_empty() {
            return Ok(());
        }
        self.commit_commands(Vec::new(), pending).await
    }

    /// Commits commands, or keeps them for COMMIT in a block. `bytes` is about what they hold.
    pub(crate) async fn write(
        &self,
        table: TableId,
        commands: Vec<Command>,
        bytes: usize,
    ) -> QueryResult<()> {
        self.write_to(&[table], commands, bytes).await
    }

    /// As [`Session::write`], for several tables.
    pub(crate) async fn write_to(
        &self,
        tables: &[TableId],
        commands: Vec<Command>,
        bytes: usize,
    ) -> QueryResult<()> {
        let kept = {
            let mut state = self.state.lock();
            match &mut state.transaction {
                Some(block) => {
                    if block.bytes + block.pending.bytes() + bytes > BYTES_MAX {
                        return Err(block_too_large());
                    }
                    block.bytes += bytes;
                    block.written.extend(tables);
                    block.commands.extend(commands);
                    None
                }
                None => Some(commands),
            }
        };
        let Some(commands) = kept else { return Ok(()) };
        let engine = self.engine.clone();
        let pending = self.blocking(move || Ok(engine.db().submit(commands)?)).await?;
        for outcome in pending.await?.outcomes {
            outcome?;
        }
        Ok(())
    }
}
