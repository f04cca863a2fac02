//! ALTER TABLE … RESET and RESTORE, and options that take effect at once.

use arrow::array::timezone::Tz;
use tsdb::Command;
use tsdb::types::{TableId, TimeRange};

use super::{apply, options};
use crate::error::{QueryError, QueryResult};
use crate::insert::literal::time_ns;
use crate::session::Session;

/// How long partitions that were brought back stay, where nothing is said, days.
const HOT_DAYS: i64 = 7;

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

/// Brings archived partitions back for a while: `FROM` and `TO` (without it) are times as the
/// session writes them.
pub(super) async fn restore(
    session: &Session,
    name: &str,
    (from, to): &(Option<String>, Option<String>),
    hot_for: Option<&str>,
) -> QueryResult<()> {
    let snapshot = session.engine().db().snapshot();
    let table = snapshot.table(name).ok_or_else(|| QueryError::no_table(name))?.schema().id;
    let settings = session.settings();
    let zone = settings.zone();
    let zone: Tz = zone.parse().map_err(|e| QueryError::internal(format!("zone {zone}: {e}")))?;
    let time = |text: &Option<String>| text.as_ref().map(|t| time_ns(t, &zone)).transpose();
    let (from, to) = (time(from)?, time(to)?);
    let last = to.map_or(i64::MAX, |to| to.saturating_sub(1));
    let times = TimeRange::new(from.unwrap_or(i64::MIN), last);
    if times.is_empty() {
        return Err(QueryError::new("22023", "RESTORE: FROM must be before TO"));
    }
    let hot_for = match hot_for {
        Some(text) => options::span_ns(text, "RESTORE FOR")?,
        None => HOT_DAYS * options::DAY_NS,
    };
    let engine = session.engine().clone();
    let work = move || {
        let until = tsdb::now_ns().saturating_add(hot_for);
        Ok(engine.db().restore(table, times, until).map(|_| ())?)
    };
    session.blocking(work).await
}

/// An object store is reached with the rights of the server, so only who has them names one.
pub(crate) fn may_archive(session: &Session, archive: Option<&str>) -> QueryResult<()> {
    match archive {
        Some(_) if !session.identity().superuser => {
            Err(QueryError::denied("only superusers may set archive"))
        }
        _ => Ok(()),
    }
}

/// Puts a change of a table's retention into effect: a statement that follows meets it.
pub(crate) async fn settle(session: &Session, table: TableId) -> QueryResult<()> {
    let engine = session.engine().clone();
    session.blocking(move || Ok(engine.db().retain(table, tsdb::now_ns())?)).await
}
