//! Statements of calls: read, looked at, run.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use query::{Description, Effect, Outcome, QueryError, QueryResult, Session, Statement};
use tonic::Status;

use super::house::House;
use super::login::Caller;
use super::params::{Bound, Typed};
use super::question::numbered;
use super::refusal;
use super::running::{Call, Place};

const KEEPS_NOTHING: &str =
    "Log in by Handshake, as drivers do with user and password, or begin a transaction.";

impl House {
    /// Reads the one statement of a text.
    pub(super) fn read(&self, place: &Place, sql: &str) -> Result<Statement, Status> {
        let read = self.check_text(sql).and_then(|()| one(&place.session, sql));
        read.map_err(|error| place.refuse(error))
    }

    /// Whether a statement may run over this door.
    pub(super) fn check_effect(
        caller: &Caller,
        in_block: bool,
        statement: &Statement,
    ) -> Result<(), Status> {
        match statement.effect() {
            Effect::Reads | Effect::Changes => Ok(()),
            Effect::Transaction => Err(refusal::unsupported(
                "BEGIN, COMMIT or ROLLBACK as a statement of Flight SQL",
                "Use the actions BeginTransaction and EndTransaction; drivers do so without \
                 autocommit.",
            )),
            Effect::Session => Err(refusal::unsupported(
                "a statement about the session in Flight SQL",
                "The Postgres wire has sessions that last.",
            )),
            Effect::Setting(_) if in_block || caller.login.is_some() => Ok(()),
            Effect::Setting(_) => {
                Err(refusal::unsupported("SET without a log-in that lasts", KEEPS_NOTHING))
            }
        }
    }
}

fn one(session: &Session, sql: &str) -> QueryResult<Statement> {
    let mut statements = session.parse(&numbered(sql))?;
    statements.retain(|statement| !statement.is_empty());
    match statements.len() {
        0 => Err(QueryError::new("42601", "the text holds no statement")),
        1 => Ok(statements.remove(0)),
        _ => Err(QueryError::new("42601", "a text may hold one statement only")
            .with_hint("Send them one by one, in a transaction if they belong together.")),
    }
}

/// What a statement takes and gives, with the types of bound parameters where it leaves them open.
pub(super) async fn describe(
    session: &Session,
    statement: &Statement,
    bound: &Bound,
) -> QueryResult<Description> {
    let described = session.describe(statement, &[]).await;
    let types = bound.types();
    match &described {
        Ok(found) if !found.params.contains(&DataType::Null) => described,
        // A type that cannot be known without them is no error yet.
        Err(error) if types.is_empty() || !is_open(error) => described,
        _ if types.is_empty() => described,
        _ => session.describe(statement, &types).await,
    }
}

fn is_open(error: &QueryError) -> bool {
    matches!(error.code, "42P02" | "42P18" | "42883" | "42804")
}

/// Runs a statement that gives no rows, or whose rows nobody wants, once for each row of parameters;
/// how many rows it changed. The runs of one call commit together.
pub(super) async fn change(
    caller: &Caller,
    call: &mut Call,
    statement: &Statement,
    params: &Typed,
) -> QueryResult<i64> {
    let together = params.rows() > 1 && !call.in_block();
    if together {
        call.session().begin_implicit();
    }
    let changed = change_all(call, statement, params).await;
    let changed = match (together, changed) {
        (false, changed) => changed,
        (true, Ok(count)) => call.session().end_implicit().await.map(|()| count),
        (true, Err(error)) => {
            call.session().abort_implicit();
            Err(error)
        }
    };
    call.finish();
    let changed = changed?;
    if !call.in_block() {
        keep_setting(caller, call.session(), statement)?;
    }
    Ok(changed)
}

async fn change_all(call: &Call, statement: &Statement, params: &Typed) -> QueryResult<i64> {
    let mut changed = 0;
    for row in 0..params.rows() {
        call.check()?;
        let outcome = call.session().execute(statement, &params.row(row)?).await?;
        changed += match outcome {
            Outcome::Done { tag } | Outcome::Set { tag, .. } => count_of(&tag),
            Outcome::Rows { stream, .. } => drain(stream).await?,
            Outcome::Empty => 0,
            copy @ (Outcome::CopyIn { .. } | Outcome::CopyOut { .. }) => {
                return Err(no_copy(call.session(), copy));
            }
        };
    }
    Ok(changed)
}

async fn drain(mut stream: SendableRecordBatchStream) -> QueryResult<i64> {
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        rows += batch?.num_rows();
    }
    Ok(i64::try_from(rows).unwrap_or(i64::MAX))
}

/// Starts a statement that gives rows.
pub(super) async fn rows(
    call: &Call,
    statement: &Statement,
    params: &Typed,
    row: usize,
) -> QueryResult<SendableRecordBatchStream> {
    match call.session().execute(statement, &params.row(row)?).await? {
        Outcome::Rows { stream, .. } => {
            call.check()?;
            Ok(stream)
        }
        copy @ (Outcome::CopyIn { .. } | Outcome::CopyOut { .. }) => {
            Err(no_copy(call.session(), copy))
        }
        _ => Err(QueryError::new("XX000", "a statement that was to give rows gave none")),
    }
}

fn no_copy(session: &Session, copy: Outcome) -> QueryError {
    if matches!(copy, Outcome::CopyIn { .. }) {
        // What is told instead says more.
        let _error = session.copy_fail("not over this door");
    }
    QueryError::new("0A000", "COPY is not supported over Flight SQL")
        .with_hint("Ingest rows (CommandStatementIngest), and read them by SELECT.")
}

/// What SET has changed lasts as long as the log-in.
fn keep_setting(caller: &Caller, session: &Session, statement: &Statement) -> QueryResult<()> {
    let (Effect::Setting(name), Some(login)) = (statement.effect(), &caller.login) else {
        return Ok(());
    };
    match name {
        Some(name) => login.set(&name, session.setting(&name)),
        None => {
            login.reset();
            Ok(())
        }
    }
}

/// Rows that a statement changed, off its tag: `INSERT 0 3`, `UPDATE 3`; others change none.
fn count_of(tag: &str) -> i64 {
    let count = tag.rsplit_once(' ').and_then(|(_, count)| count.parse().ok());
    count.unwrap_or(0)
}

/// A call's statement with all that running it needs.
pub(super) struct Work {
    pub statement: Statement,
    /// The transaction that it was given to.
    pub transaction: Option<bytes::Bytes>,
    pub bound: Arc<Bound>,
}

#[cfg(test)]
mod tests {
    use super::count_of;

    #[test]
    fn counts_stand_at_the_end_of_tags() {
        assert_eq!(count_of("INSERT 0 3"), 3);
        assert_eq!(count_of("DELETE 12"), 12);
        assert_eq!(count_of("CREATE TABLE"), 0);
        assert_eq!(count_of("SET"), 0);
    }
}
