//! ALTER TABLE … RESET, and options that take effect at once.

use tsdb::Command;
use tsdb::types::TableId;

use super::{apply, options};
use crate::error::{QueryError, QueryResult};
use crate::session::Session;

/// Puts options of a table back to their defaults.
pub(super) async fn reset(
    session: &Session,
    name: &str,
    if_exists: bool,
    names: &[String],
) -> QueryResult<()> {
    let snapshot = session.engine().db().snapshot();
    let Some(table) = snapshot.table(name) else {
        return if if_exists { Ok(()) } else { Err(QueryError::no_table(name)) };
    };
    let schema = table.schema();
    let options = options::reset(names, schema.options.clone())?;
    apply(session, vec![Command::SetOptions { table: schema.id, options }]).await?;
    settle(session, schema.id).await
}

/// Puts a change of a table's retention into effect: a statement that follows meets it.
pub(super) async fn settle(session: &Session, table: TableId) -> QueryResult<()> {
    let engine = session.engine().clone();
    session.blocking(move || Ok(engine.db().retain(table, tsdb::now_ns())?)).await
}
