//! Statements that define: tables, roles, BACKUP, CHECKPOINT, VACUUM.

mod backup;
mod define;
pub(crate) mod life;
pub(crate) mod options;

use datafusion::sql::sqlparser::ast::{AlterTable, AlterTableOperation, DropBehavior, ObjectName};
use futures::future::BoxFuture;
use std::sync::Arc;
use tsdb::rows::RowOutcome;
use tsdb::types::{ColumnId, TableSchema};
use tsdb::{Command, Committed, Outcome as Applied};

use crate::comment::{self, Relation};
use crate::error::{QueryError, QueryResult};
use crate::insert::table_name;
use crate::relational::def::{Redefine, TableDef};
use crate::rights::{Object, refuse_in_policy};
use crate::schema;
use crate::session::{Session, in_block};
use crate::settings::{self, Settings};
use crate::statement::{Kind, Statement};
use crate::view::{self, Hidden, not_a_table, refuse_hidden};
use crate::{Directory, Identity, NewRole, Outcome, RoleChange};
use crate::{relational, rights};

/// Runs a statement that another one stands for.
pub(crate) fn run_inner<'a>(
    session: &'a Session,
    statement: &'a Statement,
) -> BoxFuture<'a, QueryResult<Outcome>> {
    Box::pin(run(session, statement))
}

/// Runs it.
pub(crate) async fn run(session: &Session, statement: &Statement) -> QueryResult<Outcome> {
    match statement.kind() {
        Kind::CreateTable(create) => {
            if relational::is_relational(create) {
                return relational::create(session, create).await;
            }
            rights::may_create(session, "CREATE TABLE", &table_name(&create.name)?)?;
            let table = define::new_table(create)?;
            life::may_archive(session, table.options.archive.as_deref())?;
            let engine = session.engine().clone();
            let _guard = engine.definitions().lock().await;
            if relational::find(session, &table.name)?.is_some() {
                return match table.if_not_exists {
                    true => done("CREATE TABLE"),
                    false => Err(QueryError::new(
                        "42P07",
                        format!("relation \"{}\" already exists", table.name),
                    )),
                };
            }
            if session.views()?.find_lasting(&table.name).is_some() {
                return match table.if_not_exists {
                    true => done("CREATE TABLE"),
                    false => Err(view_exists(&table.name)),
                };
            }
            let name = table.name.clone();
            let is_new = engine.db().snapshot().table(&name).is_none();
            apply(session, vec![Command::CreateTable(table)]).await?;
            if is_new {
                rights::own(session, &name).await?;
            }
            done("CREATE TABLE")
        }
        Kind::CreateAs(create) => relational::create_as(session, create).await,
        Kind::AlterTable(alter) => {
            let name = table_name(&alter.name)?;
            rights::may_alter(session, "ALTER TABLE", &name)?;
            refuse_hidden(session, &name)?;
            let engine = session.engine().clone();
            let _guard = engine.definitions().lock().await;
            let snapshot = engine.db().snapshot();
            if let Some(def) = session.relations(&snapshot)?.find(&name) {
                return relational::alter(session, alter, def).await;
            }
            let Some(table) = snapshot.table(&name) else {
                let error = not_a_table(session, &name, "use ALTER VIEW");
                return match alter.if_exists && error.code == "42P01" {
                    true => done("ALTER TABLE"),
                    false => Err(error),
                };
            };
            let mut commands = define::alterations(alter, table.schema())?;
            commands.extend(views_of_alteration(session, alter, table.schema(), &commands).await?);
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
            rights::may_alter(session, "ALTER TABLE", table)?;
            life::reset(session, table, *if_exists, names).await?;
            done("ALTER TABLE")
        }
        Kind::Restore { table, times, hot_for } => {
            rights::may_alter(session, "ALTER TABLE", table)?;
            life::restore(session, table, times, hot_for.as_deref()).await?;
            done("ALTER TABLE")
        }
        Kind::DropTable { names, if_exists, cascade } => {
            drop_tables(session, names, *if_exists, *cascade).await
        }
        Kind::CreateIndex(create) => relational::create_index(session, create).await,
        Kind::DropIndex { names, if_exists } => {
            relational::drop_index(session, names, *if_exists).await
        }
        Kind::Comment(comment) => comment::run(session, comment).await,
        Kind::OfSchema(of) => schema::define::run(session, of).await,
        Kind::OfSequence(of) => relational::sequence::define::run(session, of).await,
        Kind::CreateView(create) => view::define::create(session, statement, create).await,
        Kind::DropView { names, if_exists, cascade, materialized } => {
            view::define::drop(session, names, *if_exists, *cascade, *materialized).await
        }
        Kind::RenameView { name, to, if_exists, materialized } => {
            view::define::rename(session, name, to, *if_exists, *materialized).await
        }
        Kind::AlterMaterialized(alter) => view::materialized::define::alter(session, alter).await,
        Kind::Refresh(asked) => view::materialized::refresh::run(session, statement, asked).await,
        Kind::Checkpoint => {
            may_define(session, "CHECKPOINT")?;
            let engine = session.engine().clone();
            session.stoppable(move || Ok(engine.db().checkpoint()?)).await?;
            done("CHECKPOINT")
        }
        Kind::Backup(asked) => backup::run(session, asked).await,
        Kind::Vacuum { full, table } => vacuum(session, *full, table.as_deref()).await,
        Kind::CreateRole { .. } | Kind::AlterRole { .. } | Kind::DropRole { .. } => {
            role(session, statement.kind()).await
        }
        Kind::ConfigureRole { role, change } => configure_role(session, role, change).await,
        Kind::Rights(of) => rights::run(session, of).await,
        other => Err(QueryError::internal(format!("no way to run {other:?}"))),
    }
}

pub(crate) fn done(tag: &str) -> QueryResult<Outcome> {
    Ok(Outcome::Done { tag: tag.to_string() })
}

/// The attribute DEFINE, and that no transaction block is open.
pub(crate) fn may_define(session: &Session, what: &str) -> QueryResult<()> {
    let identity = session.identity();
    if !identity.superuser && !identity.can_define {
        return Err(QueryError::denied(what));
    }
    definable(session, what)
}

/// That no transaction block is open: definitions are commits of their own.
pub(crate) fn definable(session: &Session, what: &str) -> QueryResult<()> {
    if session.in_block() {
        return Err(in_block(what));
    }
    session.check_writable(what)
}

/// Commits the commands; the first that is refused is the error.
pub(crate) async fn apply(session: &Session, commands: Vec<Command>) -> QueryResult<()> {
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
        if let Applied::Rows(RowOutcome::Refused { .. }) =
            outcome.map_err(QueryError::from).map_err(column)?
        {
            let message = "definitions were changed by another session meanwhile";
            return Err(QueryError::new("40001", message).with_hint("Run the statement again."));
        }
    }
    Ok(())
}

/// The error of the first command that was refused.
pub(crate) fn all_made(committed: Committed) -> QueryResult<()> {
    for outcome in committed.outcomes {
        if let Applied::Rows(RowOutcome::Refused { .. }) = outcome? {
            let message = "definitions were changed by another session meanwhile";
            return Err(QueryError::new("40001", message).with_hint("Run the statement again."));
        }
    }
    Ok(())
}

fn view_exists(name: &str) -> QueryError {
    QueryError::new("42P07", format!("relation \"{name}\" already exists"))
        .with_detail(format!("\"{name}\" is a view."))
}

async fn drop_tables(
    session: &Session,
    names: &[ObjectName],
    if_exists: bool,
    cascade: bool,
) -> QueryResult<Outcome> {
    for name in names {
        rights::may_alter(session, "DROP TABLE", &table_name(name)?)?;
    }
    let engine = session.engine().clone();
    let _guard = engine.definitions().lock().await;
    // What refers to what must not change meanwhile.
    let _gate = engine.relational().gate.write().await;
    let snapshot = engine.db().snapshot();
    let (mut commands, mut hidden, mut called) = (Vec::new(), Vec::new(), Vec::new());
    let relations = session.relations(&snapshot)?;
    let mut dropped: Vec<Arc<TableDef>> = Vec::new();
    for name in names {
        let name = table_name(name)?;
        refuse_hidden(session, &name)?;
        if let Some(def) = relations.find(&name) {
            if !dropped.iter().any(|other| other.number == def.number) {
                dropped.push(def.clone());
                hidden.push(Hidden::Relation(def.number));
                called.push(name);
            }
            continue;
        }
        let Some(table) = snapshot.table(&name) else {
            let error = not_a_table(session, &name, "use DROP VIEW");
            match error.code {
                "42P01" if if_exists => continue,
                "42P01" => {
                    let message = format!("table \"{name}\" does not exist");
                    return Err(QueryError::new("42P01", message));
                }
                _ => return Err(error),
            }
        };
        commands.push(Command::DropTable { table: table.schema().id });
        hidden.push(Hidden::Table(table.schema().id));
        called.push(name);
    }
    let mut redefine = Redefine::new(&relations);
    let told = relational::drop_tables(&mut redefine, &dropped, cascade)?;
    let what = format!("table {}", called.join(", "));
    let gone = view::define::cascading(session, hidden, called, &what, cascade).await?;
    let tables = commands.iter().filter_map(|command| match command {
        Command::DropTable { table } => Some(Relation::Table(*table)),
        _ => None,
    });
    let views = gone.iter().map(|view| Relation::View(view.number));
    let relational = dropped.iter().map(|def| Relation::Relational(def.number));
    let known: Vec<Relation> = tables.chain(views).chain(relational).collect();
    let mut all = view::define::drop_commands(&snapshot, &*session.views()?, &gone)?;
    all.append(&mut commands);
    all.extend(comment::forget(&snapshot, &known, &[])?);
    if !dropped.is_empty() {
        all.push(Command::Rows(redefine.command()?));
    }
    apply(session, all).await?;
    session.notice_cascades(&told);
    done("DROP TABLE")
}

/// What an ALTER TABLE means for views: a rename or another type of what they use is refused,
/// those that use a dropped column go with it if CASCADE says so.
async fn views_of_alteration(
    session: &Session,
    alter: &AlterTable,
    table: &TableSchema,
    commands: &[Command],
) -> QueryResult<Vec<Command>> {
    let name_of = |column: Option<ColumnId>| match column {
        None => table.time_name.clone(),
        Some(id) => {
            table.columns.iter().find(|c| c.id == id).map(|c| c.name.clone()).unwrap_or_default()
        }
    };
    let cascade = alter.operations.iter().any(|operation| {
        let cascade = Some(DropBehavior::Cascade);
        matches!(operation, AlterTableOperation::DropColumn { drop_behavior, .. }
            if *drop_behavior == cascade)
    });
    let (mut hidden, mut called) = (Vec::new(), Vec::new());
    for command in commands {
        let (column, what) = match command {
            Command::DropColumn { column, .. } => {
                refuse_in_policy(session, Object::Table(table.id), &name_of(Some(*column)))?;
                hidden.push(Hidden::Column(table.id, Some(*column)));
                called.push(name_of(Some(*column)));
                continue;
            }
            Command::RenameColumn { column, .. } => {
                refuse_in_policy(session, Object::Table(table.id), &name_of(*column))?;
                (*column, "renaming a column that a view uses")
            }
            Command::WidenColumn { column, .. } => {
                (Some(*column), "changing the type of a column that a view uses")
            }
            Command::RenameTable { name, .. } => {
                if relational::find(session, name)?.is_some() {
                    let message = format!("relation \"{name}\" already exists");
                    return Err(QueryError::new("42P07", message));
                }
                if session.views()?.find_lasting(name).is_some() {
                    return Err(view_exists(name));
                }
                let what = "renaming a table that a view uses";
                let hidden = Hidden::Table(table.id);
                view::define::refuse_if_used(session, hidden, &table.name, what).await?;
                continue;
            }
            _ => continue,
        };
        let hidden = Hidden::Column(table.id, column);
        view::define::refuse_if_used(session, hidden, &name_of(column), what).await?;
    }
    if hidden.is_empty() {
        return Ok(Vec::new());
    }
    let columns: Vec<(u32, ColumnId)> = commands
        .iter()
        .filter_map(|command| match command {
            Command::DropColumn { table, column } => Some((*table, *column)),
            _ => None,
        })
        .collect();
    let what = format!("column {} of table {}", called.join(", "), table.name);
    let gone = view::define::cascading(session, hidden, called, &what, cascade).await?;
    let relations: Vec<Relation> = gone.iter().map(|view| Relation::View(view.number)).collect();
    let comments = comment::forget(&session.snapshot(), &relations, &columns)?;
    let views = view::define::drop_commands(&session.snapshot(), &*session.views()?, &gone)?;
    Ok(views.into_iter().chain(comments).collect())
}

async fn vacuum(session: &Session, full: bool, table: Option<&str>) -> QueryResult<Outcome> {
    may_define(session, "VACUUM")?;
    let id = match table {
        Some(name) => {
            let snapshot = session.engine().db().snapshot();
            if relational::find(session, name)?.is_some() {
                // Rows of the row store leave nothing behind that would have to be cleared away.
                return done("VACUUM");
            }
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
        session.stoppable(work).await?;
    }
    done("VACUUM")
}

/// What a role's sessions begin with; the directory knows who may change it.
async fn configure_role(
    session: &Session,
    role: &str,
    change: &RoleChange,
) -> QueryResult<Outcome> {
    if session.in_block() {
        return Err(in_block("changing users"));
    }
    let name_of = |name: &str| Settings::canonical(name).ok_or_else(|| settings::unknown(name));
    let change = match change {
        RoleChange::Set { name, value } => {
            let (name, value) = Settings::checked(name, value)?;
            RoleChange::Set { name: name.to_string(), value }
        }
        RoleChange::Reset(name) => RoleChange::Reset(name_of(name)?.to_string()),
        RoleChange::ResetAll => RoleChange::ResetAll,
    };
    let (by, role) = (session.identity().clone(), role.to_string());
    let directory = session.engine().directory().clone();
    session.blocking(move || directory.configure(&by, &role, change)).await?;
    done("ALTER ROLE")
}

/// Drops a role with what was granted to it.
///
/// # Errors
/// `2BP01` while it owns tables or views: what a view may read depends on its owner.
async fn drop_role(
    session: &Session,
    directory: &Arc<dyn Directory>,
    by: &Identity,
    name: &str,
    if_exists: bool,
) -> QueryResult<()> {
    let roles = directory.roles()?;
    let oid = roles.iter().find(|role| role.name == name).map(|role| role.oid);
    let owned = oid.map(|oid| rights::owned_by(session, oid)).transpose()?.unwrap_or_default();
    if !owned.is_empty() {
        let message =
            format!("role \"{name}\" cannot be dropped because some objects depend on it");
        return Err(QueryError::new("2BP01", message)
            .with_detail(owned.join("\n"))
            .with_hint("ALTER TABLE … OWNER TO and ALTER SCHEMA … OWNER TO give them to others."));
    }
    let (directory, by, name) = (directory.clone(), by.clone(), name.to_string());
    session.blocking(move || Directory::drop(directory.as_ref(), &by, &name, if_exists)).await?;
    match oid {
        Some(oid) => rights::scrub(session, oid).await,
        None => Ok(()),
    }
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
            && role.can_read.is_none()
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
            if role.superuser == Some(true) {
                rights::refuse_members(session, &role.name)?;
            }
            let role = role.clone();
            session.blocking(move || directory.alter(&by, role)).await?;
            "ALTER ROLE"
        }
        Kind::DropRole { names, if_exists, .. } => {
            for name in names {
                drop_role(session, &directory, &by, name, *if_exists).await?;
            }
            "DROP ROLE"
        }
        other => return Err(QueryError::internal(format!("not about roles: {other:?}"))),
    };
    done(tag)
}
