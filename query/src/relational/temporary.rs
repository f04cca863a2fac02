//! Temporary tables: relational tables of one session, hidden from others, gone when it ends.
//!
//! Their rows lie where those of other tables do, and are logged like them. What a process has left
//! behind by its end goes at the next start.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::OnCommit;
use tsdb::Command;

use super::alter::drop_tables;
use super::def::{Redefine, TableDef, Temporary};
use crate::engine::Engine;
use crate::error::{QueryError, QueryResult};
use crate::session::{Session, in_block};
use crate::view;

/// Temporary tables of a session.
const TABLES_MAX: usize = 100;

/// Whether the session may make and drop what is temporary.
pub(crate) fn may_make_temporary(session: &Session, what: &str) -> QueryResult<()> {
    let identity = session.identity();
    if !identity.superuser && !identity.can_define && !identity.can_write {
        return Err(QueryError::denied(what));
    }
    if session.in_block() {
        return Err(in_block(what));
    }
    session.check_writable(what)
}

/// The session's own temporary table of that name.
pub(crate) fn temporary_table(session: &Session, name: &str) -> QueryResult<Option<Arc<TableDef>>> {
    Ok(super::find(session, name)?.filter(|table| table.temporary.is_some()))
}

/// What a CREATE TEMPORARY TABLE makes, if the session may make one.
pub(super) fn read(session: &Session, on_commit: Option<&OnCommit>) -> QueryResult<Temporary> {
    may_make_temporary(session, "CREATE TEMPORARY TABLE")?;
    let delete_rows = match on_commit {
        None | Some(OnCommit::PreserveRows) => false,
        Some(OnCommit::DeleteRows) => true,
        Some(OnCommit::Drop) => return Err(QueryError::unsupported("ON COMMIT DROP")),
    };
    let own = session.relations(&session.snapshot())?.temporary(Some(session.number()));
    if own.len() >= TABLES_MAX {
        let message = format!("a session may have {TABLES_MAX} temporary tables");
        return Err(QueryError::new("54000", message));
    }
    session.note_temporary();
    Ok(Temporary { session: session.number(), delete_rows })
}

/// Whether the session has a temporary table or view of that name; others it may hide.
pub(super) fn is_taken(session: &Session, name: &str) -> QueryResult<bool> {
    let table = temporary_table(session, name)?.is_some();
    let own = table || session.views()?.find_temporary(name).is_some();
    Ok(own || super::returning::is_system(name))
}

/// Drops the temporary tables and views of a session.
pub(crate) async fn drop_of_session(engine: &Arc<Engine>, session: u64) -> QueryResult<()> {
    let _guard = engine.definitions().lock().await;
    let _gate = engine.relational().gate.write().await;
    let owner = engine.clone();
    let work = move || drop_now(&owner, Some(session));
    match engine.runtime()?.spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(QueryError::internal(format!("dropping temporary tables: {error}"))),
    }
}

/// The same behind a session that has ended.
pub(crate) fn drop_all(engine: &Arc<Engine>, session: u64) {
    let engine = engine.clone();
    let Ok(runtime) = engine.runtime().cloned() else { return };
    runtime.spawn(async move {
        // What stays behind goes at the next start.
        if let Err(error) = drop_of_session(&engine, session).await {
            tracing::warn!(%error, "temporary tables of a session stay until the next start");
        }
    });
}

/// Drops what sessions of earlier processes have left behind.
pub(crate) fn drop_leftovers(engine: &Engine) {
    if let Err(error) = drop_now(engine, None) {
        tracing::warn!(%error, "temporary tables of an earlier process stay");
    }
}

fn drop_now(engine: &Engine, session: Option<u64>) -> QueryResult<()> {
    let snapshot = engine.db().snapshot();
    let mut commands = view::drop_of_sessions(engine, &snapshot, session)?;
    let relations = engine.relational().of(&snapshot)?;
    let gone = relations.temporary(session);
    if !gone.is_empty() {
        let mut redefine = Redefine::new(&relations);
        drop_tables(&mut redefine, &gone, true)?;
        commands.push(Command::Rows(redefine.command()?));
    }
    if !commands.is_empty() {
        engine.db().commit(commands)?.all()?;
    }
    Ok(())
}
