//! Statements that define: tables, roles, BACKUP, CHECKPOINT, VACUUM.

mod backup;
mod define;
mod life;
mod options;

use tsdb::{Command, Outcome as Applied};

use crate::error::{QueryError, QueryResult};
use crate::insert::table_name;
use crate::session::{Session, in_block};
use crate::statement::{Kind, Statement};
use crate::{Directory, NewRole, Outcome};

/// Runs it.
pub(crate) async fn run(session: &Session, statement: &Statement) -> QueryResult<Outcome> {
    match statement.kind() {
        Kind::CreateTable(create) => {
            may_define(session, "CREATE TABLE")?;
            let table = define::new_table(create)?;
            life::may_archive(session, table.options.archive.as_deref())?;
            apply(session, vec![Command::CreateTable(table)]).await?;
            done("CREATE TABLE")
        }
        Kind::AlterTable(alter) => {
            may_define(session, "ALTER TABLE")?;
            let name = table_name(&alter.name)?;
            let snapshot = session.engine().db().snapshot();
            let Some(table) = snapshot.table(&name) else {
                return match alter.if_exists {
                    true => done("ALTER TABLE"),
                    false => Err(QueryError::no_table(&name)),
                };
            };
            let commands = define::alterations(alter, table.schema())?;
            for command in &commands {
                if let Command::SetOptions { options, .. } = command
                    && options.archive != table.schema().options.archive
                {
                    life::may_archive(session, options.archive.as_deref())?;
                }
            }
            let sets = commands.iter().any(|c| matches!(c, Command::SetOptions { .. }));
            apply(session, commands).await?;
            if sets {
                life::settle(session, table.schema().id).await?;
            }
            done("ALTER TABLE")
        }
        Kind::ResetOptions { table, if_exists, names } => {
            may_define(session, "ALTER TABLE")?;
            life::reset(session, table, *if_exists, names).await?;
            done("ALTER TABLE")
        }
        Kind::Restore { table, times, hot_for } => {
            may_define(session, "ALTER TABLE")?;
            life::restore(session, table, times, hot_for.as_deref()).await?;
            done("ALTER TABLE")
        }
        Kind::DropTable { names, if_exists } => {
            may_define(session, "DROP TABLE")?;
            let snapshot = session.engine().db().snapshot();
            let mut commands = Vec::new();
            for name in names {
                let name = table_name(name)?;
                match snapshot.table(&name) {
                    Some(table) => {
                        commands.push(Command::DropTable { table: table.schema().id });
                    }
                    None if *if_exists => {}
                    None => {
                        let message = format!("table \"{name}\" does not exist");
                        return Err(QueryError::new("42P01", message));
                    }
                }
            }
            apply(session, commands).await?;
            done("DROP TABLE")
        }
        Kind::Checkpoint => {
            may_define(session, "CHECKPOINT")?;
            let engine = session.engine().clone();
            session.blocking(move || Ok(engine.db().checkpoint()?)).await?;
            done("CHECKPOINT")
        }
        Kind::Backup(asked) => backup::run(session, asked).await,
        Kind::Vacuum { full, table } => vacuum(session, *full, table.as_deref()).await,
        Kind::CreateRole { .. } | Kind::AlterRole { .. } | Kind::DropRole { .. } => {
            role(session, statement.kind()).await
        }
        other => Err(QueryError::internal(format!("no way to run {other:?}"))),
    }
}

fn done(tag: &str) -> QueryResult<Outcome> {
    Ok(Outcome::Done { tag: tag.to_string() })
}

/// Rights, and that no transaction block is open: definitions are commits of their own.
fn may_define(session: &Session, what: &str) -> QueryResult<()> {
    let identity = session.identity();
    if !identity.superuser && !identity.can_define {
        return Err(QueryError::denied(what));
    }
    if session.in_block() {
        return Err(in_block(what));
    }
    session.check_writable(what)
}

/// Commits the commands; the first that is refused is the error.
async fn apply(session: &Session, commands: Vec<Command>) -> QueryResult<()> {
    if commands.is_empty() {
        return Ok(());
    }
    let engine = session.engine().clone();
    let adds = commands.iter().any(|c| matches!(c, Command::AddColumns { .. }));
    let committed = session.blocking(move || Ok(engine.db().commit(commands)?)).await;
    let column = |error: QueryError| match (adds, error.code) {
        (true, "42P07") => QueryError { code: "42701", ..error },
        (true, "42P01") => QueryError { code: "42703", ..error },
        _ => error,
    };
    for outcome in committed.map_err(column)?.outcomes {
        let _applied: Applied = outcome.map_err(QueryError::from).map_err(column)?;
    }
    Ok(())
}

async fn vacuum(session: &Session, full: bool, table: Option<&str>) -> QueryResult<Outcome> {
    may_define(session, "VACUUM")?;
    let id = match table {
        Some(name) => {
            let snapshot = session.engine().db().snapshot();
            let table = snapshot.table(name).ok_or_else(|| QueryError::no_table(name))?;
            Some(table.schema().id)
        }
        None => None,
    };
    // Merging goes on in the background by itself; only FULL has something to wait for.
    if full {
        let engine = session.engine().clone();
        let work = move || {
            // Rows of the head would stay where they are.
            engine.db().checkpoint()?;
            Ok(engine.db().merge_full(id)?)
        };
        session.blocking(work).await?;
    }
    done("VACUUM")
}

async fn role(session: &Session, kind: &Kind) -> QueryResult<Outcome> {
    if session.in_block() {
        return Err(in_block("changing users"));
    }
    let by = session.identity().clone();
    let directory = session.engine().directory().clone();
    let own_password = |role: &NewRole| {
        role.name == by.user
            && role.password.is_some()
            && role.superuser.is_none()
            && role.can_login.is_none()
            && role.can_write.is_none()
            && role.can_define.is_none()
    };
    match kind {
        Kind::AlterRole { role, .. } if own_password(role) => {}
        _ if by.superuser => {}
        _ => return Err(QueryError::denied("only superusers may change users")),
    }
    let tag = match kind {
        Kind::CreateRole { role, if_not_exists, .. } => {
            let (role, if_not_exists) = (role.clone(), *if_not_exists);
            let work = move || {
                let exists = directory.roles()?.iter().any(|r| r.name == role.name);
                if exists && if_not_exists {
                    return Ok(());
                }
                directory.create(&by, role)
            };
            session.blocking(work).await?;
            "CREATE ROLE"
        }
        Kind::AlterRole { role, .. } => {
            let role = role.clone();
            session.blocking(move || directory.alter(&by, role)).await?;
            "ALTER ROLE"
        }
        Kind::DropRole { names, if_exists, .. } => {
            let (names, if_exists) = (names.clone(), *if_exists);
            let work = move || {
                for name in &names {
                    Directory::drop(directory.as_ref(), &by, name, if_exists)?;
                }
                Ok(())
            };
            session.blocking(work).await?;
            "DROP ROLE"
        }
        other => return Err(QueryError::internal(format!("not about roles: {other:?}"))),
    };
    done(tag)
}
