//! CREATE VIEW, DROP VIEW, ALTER VIEW … RENAME, and what views refuse of other definitions.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::sql::sqlparser::ast::{self, CreateTableOptions, ObjectName};
use tsdb::{Command, Snapshot};

use super::depend::{Hidden, dependents};
use super::rows::{self, Change};
use super::{Scope, View, ViewColumn, Views, expand, materialized, stored, temporary};
use crate::Outcome;
use crate::comment::{self, Relation};
use crate::ddl::{apply, done};
use crate::error::{QueryError, QueryResult};
use crate::insert::table_name;
use crate::jobs::history;
use crate::names::{Names, folded};
use crate::plan::PlanContext;
use crate::session::Session;
use crate::statement::Statement;
use crate::{catalog, relational, rights, sugar};

/// Views of a database: all of them are held in memory.
pub(super) const VIEWS_MAX: usize = 10_000;
/// Bytes of a view's text.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// Bytes of a name, as of tables.
const NAME_BYTES_MAX: usize = 255;

/// Runs CREATE VIEW.
pub(crate) async fn create(
    session: &Session,
    statement: &Statement,
    create: &ast::CreateView,
) -> QueryResult<Outcome> {
    if create.materialized {
        return match materialized::define::is_continuous(create) {
            true => materialized::define::create(session, statement, create).await,
            false => stored::create(session, statement, create).await,
        };
    }
    match create.temporary {
        true => temporary::may_make(session)?,
        false => rights::may_create(session, "CREATE VIEW", &table_name(&create.name)?)?,
    }
    check_form(statement, create)?;
    let name = table_name(&create.name)?;
    check_name(&name)?;
    let engine = session.engine().clone();
    let _guard = engine.definitions().lock().await;
    let views = session.views()?;
    let mut place =
        Place { name: &name, temporary: create.temporary, or_replace: create.or_replace };
    let mut old = place.replaced(session, &views)?;
    if old.is_none() && views.list.len() >= VIEWS_MAX {
        let message = format!("a database may have {VIEWS_MAX} views");
        return Err(QueryError::new("54000", message));
    }
    let number_of = |old: &Option<Arc<View>>| old.as_ref().map(|old| old.number);
    let context = session.context("").in_scope(Scope::defining(number_of(&old)));
    let (asked, number) = (create.clone(), number_of(&old).unwrap_or(views.next));
    let called = name.clone();
    let making = async move { make(&context, &asked, number, called) };
    let mut made = session.on_workers(making).await?;
    if made.temporary.is_some() && !create.temporary {
        // What it reads makes it temporary: it is another view than the lasting one of its name.
        temporary::may_make(session)?;
        place.temporary = true;
        old = place.replaced(session, &views)?;
        made.number = number_of(&old).unwrap_or(views.next);
        session.notice(format!("view \"{name}\" will be a temporary view"));
    }
    if made.temporary.is_some() {
        session.note_temporary();
        engine.views().note_temporary();
    }
    if let Some(old) = &old {
        check_replacement(old, &made)?;
        // It would read in the name of another.
        rights::check_owner(session, &old.name)?;
    }
    let next = views.next.max(made.number + 1);
    commit(session, &views, next, &[Change::Put(&made)]).await?;
    // A temporary one belongs to its session, whatever else has its name.
    if old.is_none() && made.temporary.is_none() {
        rights::own(session, &made.name).await?;
    }
    done("CREATE VIEW")
}

/// Where a CREATE VIEW puts its view.
struct Place<'a> {
    name: &'a str,
    temporary: bool,
    or_replace: bool,
}

impl Place<'_> {
    /// The view that is there already.
    ///
    /// # Errors
    /// `42P07` and `42809` where the name is taken.
    fn replaced(&self, session: &Session, views: &Views) -> QueryResult<Option<Arc<View>>> {
        let name = self.name;
        let (old, taken) = match self.temporary {
            true => {
                temporary::check_count(views)?;
                let table = relational::temporary_table(session, name)?.is_some();
                (views.find_temporary(name), table || catalog::table(None, name).is_some())
            }
            false => (views.find_lasting(name), is_table(session, name)?),
        };
        match (old, taken, self.or_replace) {
            (None, false, _) => Ok(None),
            (Some(old), _, true) if old.is_materialized() => {
                Err(QueryError::new("42809", format!("\"{}\" is not a view", old.name))
                    .with_hint("DROP MATERIALIZED VIEW, then CREATE VIEW."))
            }
            (Some(old), false, true) => Ok(Some(old.clone())),
            (_, true, true) => Err(QueryError::new("42809", format!("\"{name}\" is not a view"))),
            _ => Err(exists(name)),
        }
    }
}

/// Whether something that lasts and is no view has the name.
fn is_table(session: &Session, name: &str) -> QueryResult<bool> {
    let snapshot = session.snapshot();
    Ok(snapshot.table(name).is_some()
        || session.engine().relational().lasting(&snapshot)?.is_taken(name)
        || catalog::table(None, name).is_some())
}

/// Whether something that lasts has the name.
pub(super) fn is_taken(session: &Session, name: &str) -> QueryResult<bool> {
    Ok(session.views()?.find_lasting(name).is_some() || is_table(session, name)?)
}

/// Whether a CREATE of any view has nothing that other databases alone know.
pub(super) fn is_plain(create: &ast::CreateView) -> bool {
    !create.or_alter
        && !create.secure
        && !create.copy_grants
        && !create.name_before_not_exists
        && create.cluster_by.is_empty()
        && create.comment.is_none()
        && create.to.is_none()
        && create.params.is_none()
        && create.columns.iter().all(|c| c.data_type.is_none() && c.options.is_none())
}

fn check_form(statement: &Statement, create: &ast::CreateView) -> QueryResult<()> {
    let plain = is_plain(create)
        && !create.if_not_exists
        && !create.with_no_schema_binding
        && create.options == CreateTableOptions::None;
    if !plain {
        return Err(QueryError::unsupported("this form of CREATE VIEW")
            .with_hint("CREATE [OR REPLACE] [TEMP] VIEW name [(column, …)] AS SELECT …"));
    }
    if statement.is_deep() {
        return Err(QueryError::new("54001", "the query of the view is nested too deeply"));
    }
    Ok(())
}

pub(super) fn check_name(name: &str) -> QueryResult<()> {
    match name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        true => Err(QueryError::new("42602", format!("bad name of a view: {name:?}"))
            .with_hint("A name has 1 to 255 bytes and no control characters.")),
        false => Ok(()),
    }
}

pub(super) fn exists(name: &str) -> QueryError {
    QueryError::new("42P07", format!("relation \"{name}\" already exists"))
}

/// The view that a CREATE VIEW asks for, bound once to see that it can be.
pub(super) fn make(
    context: &PlanContext,
    create: &ast::CreateView,
    number: u32,
    name: String,
) -> QueryResult<View> {
    if crate::session::has_params(&create.query) {
        return Err(QueryError::new("42P02", "there are no parameters in the query of a view"));
    }
    // What is kept is ordinary SQL, without clauses of our own.
    let mut plain = ast::Statement::Query(create.query.clone());
    sugar::rewrite(&mut plain, context)?;
    let ast::Statement::Query(mut query) = plain else {
        return Err(QueryError::internal("a query that is none"));
    };
    expand::expand(&mut query, &|name: &ObjectName| columns_of(context, name))?;
    let text = query.to_string();
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("the query of a view may have {TEXT_BYTES_MAX} bytes");
        return Err(QueryError::new("54000", message));
    }
    // What is kept is the text: it must say the same.
    let query = *query;
    if rows::parse(&text).ok().as_ref() != Some(&query) {
        return Err(QueryError::unsupported("a view of this query")
            .with_detail(format!("It does not read back from its text: {text}")));
    }
    let plan = context.bind_query(&query, &text)?;
    let schema = context.result_schema(&plan)?;
    let shown = Names::of(&ast::Statement::Query(create.query.clone())).rename(&schema);
    let columns = columns(&shown, create)?;
    let tables = std::mem::take(&mut *context.scope.tables.lock());
    let relations = std::mem::take(&mut *context.scope.relations.lock());
    let used = std::mem::take(&mut *context.scope.temporary.lock());
    if create.materialized && used.any {
        let message = "materialized views must not use temporary tables or views";
        return Err(QueryError::new("0A000", message));
    }
    let temporary = used.of_view(create.temporary, context.session());
    let (materialized, stored) = (None, None);
    let view = View {
        number,
        name,
        columns,
        tables,
        relations,
        text,
        query,
        materialized,
        stored,
        temporary,
    };
    context.bind_view(&view)?;
    Ok(view)
}

fn columns(schema: &SchemaRef, create: &ast::CreateView) -> QueryResult<Vec<ViewColumn>> {
    if create.columns.len() > schema.fields().len() {
        let message = "CREATE VIEW specifies more column names than columns";
        return Err(QueryError::new("42601", message));
    }
    let mut out: Vec<ViewColumn> = Vec::with_capacity(schema.fields().len());
    for (at, field) in schema.fields().iter().enumerate() {
        let given = create.columns.get(at).map(|column| folded(&column.name));
        let name = given.unwrap_or_else(|| field.name().clone());
        if out.iter().any(|column| column.name == name) {
            let message = format!("column \"{name}\" specified more than once");
            return Err(QueryError::new("42701", message));
        }
        out.push(ViewColumn { name, kind: catalog::type_number(field) });
    }
    match out.is_empty() {
        true => Err(QueryError::new("42P16", "a view must have at least one column")),
        false => Ok(out),
    }
}

/// Columns of a table, view or table of the catalogue.
fn columns_of(context: &PlanContext, name: &ObjectName) -> QueryResult<Option<Vec<String>>> {
    let mut parts = name.0.iter().rev().filter_map(|part| part.as_ident()).map(folded);
    let (table, schema) = (parts.next().unwrap_or_default(), parts.next());
    if let Some(system) = catalog::table(schema.as_deref(), &table) {
        return Ok(Some(system.schema().fields().iter().map(|f| f.name().clone()).collect()));
    }
    let Ok(table) = table_name(name) else { return Ok(None) };
    let views = context.views()?;
    let names = |view: &Arc<View>| view.columns.iter().map(|c| c.name.clone()).collect();
    if let Some(view) = views.find_temporary(&table) {
        return Ok(Some(names(view)));
    }
    if let Some(found) = context.relations()?.find(&table) {
        return Ok(Some(found.columns.iter().map(|column| column.name.clone()).collect()));
    }
    if let Some(found) = context.snapshot.table(&table) {
        let names = found.schema().columns.iter().map(|column| column.name.clone());
        return Ok(Some([found.schema().time_name.clone()].into_iter().chain(names).collect()));
    }
    Ok(views.find_lasting(&table).map(names))
}

/// OR REPLACE keeps the columns that are there, as Postgres has it.
fn check_replacement(old: &View, new: &View) -> QueryResult<()> {
    for (at, column) in old.columns.iter().enumerate() {
        let message = match new.columns.get(at) {
            None => "cannot drop columns from view".to_string(),
            Some(now) if now.name != column.name => {
                format!("cannot change name of view column \"{}\" to \"{}\"", column.name, now.name)
            }
            Some(now) if now.kind != column.kind => {
                format!("cannot change data type of view column \"{}\"", column.name)
            }
            Some(_) => continue,
        };
        return Err(QueryError::new("42P16", message).with_hint("DROP VIEW, then CREATE VIEW."));
    }
    Ok(())
}

/// Runs DROP VIEW.
pub(crate) async fn drop(
    session: &Session,
    names: &[ObjectName],
    if_exists: bool,
    cascade: bool,
    materialized: bool,
) -> QueryResult<Outcome> {
    let (verb, thing) = match materialized {
        true => ("DROP MATERIALIZED VIEW", "materialized view"),
        false => ("DROP VIEW", "view"),
    };
    temporary::may_drop(session, names, verb)?;
    let engine = session.engine().clone();
    let _guard = engine.definitions().lock().await;
    let views = session.views()?;
    let mut gone: Vec<Arc<View>> = Vec::new();
    for name in names {
        let name = table_name(name)?;
        let hidden = relational::temporary_table(session, &name)?.is_some();
        match views.find(&name).filter(|_| !hidden) {
            Some(view) if view.is_materialized() == materialized => gone.push(view.clone()),
            Some(_) => {
                let other = if materialized { "DROP VIEW" } else { "DROP MATERIALIZED VIEW" };
                return Err(QueryError::new("42809", format!("\"{name}\" is not a {thing}"))
                    .with_hint(format!("Use {other}.")));
            }
            None if session.snapshot().table(&name).is_some()
                || crate::relational::find(session, &name)?.is_some() =>
            {
                return Err(QueryError::new("42809", format!("\"{name}\" is not a {thing}"))
                    .with_hint("Use DROP TABLE to remove a table."));
            }
            None if if_exists => {}
            None => {
                let message = format!("{thing} \"{name}\" does not exist");
                return Err(QueryError::new("42P01", message));
            }
        }
    }
    let hidden = gone.iter().map(|view| Hidden::View(view.number)).collect();
    let called = gone.iter().map(|view| view.name.clone()).collect();
    let what = gone.first().map(|view| format!("{thing} {}", view.name)).unwrap_or_default();
    gone.extend(cascading(session, hidden, called, &what, cascade).await?);
    if !gone.is_empty() {
        let relations: Vec<Relation> =
            gone.iter().map(|view| Relation::View(view.number)).collect();
        let comments = comment::forget(&session.snapshot(), &relations, &[])?;
        let mut commands = drop_commands(&session.snapshot(), &views, &gone)?;
        commands.extend(comments);
        apply(session, commands).await?;
    }
    done(verb)
}

/// The views that go with what is dropped.
///
/// # Errors
/// `2BP01` if there are some and no CASCADE says that they may go.
pub(crate) async fn cascading(
    session: &Session,
    hidden: Vec<Hidden>,
    names: Vec<String>,
    what: &str,
    cascade: bool,
) -> QueryResult<Vec<Arc<View>>> {
    let found = dependents(session, hidden, names).await?;
    if cascade || found.is_empty() {
        return Ok(found);
    }
    let message = format!("cannot drop {what} because other objects depend on it");
    let line = |view: &Arc<View>| format!("{} {} depends on it", view.kind(), view.name);
    let lines: Vec<String> = found.iter().map(line).collect();
    Err(QueryError::new("2BP01", message)
        .with_detail(lines.join("\n"))
        .with_hint("Use DROP ... CASCADE to drop the dependent objects too."))
}

/// `0A000` where views use what is to be renamed or to get another type.
pub(crate) async fn refuse_if_used(
    session: &Session,
    hidden: Hidden,
    name: &str,
    what: &str,
) -> QueryResult<()> {
    let found = dependents(session, vec![hidden], vec![name.to_string()]).await?;
    let Some(view) = found.first() else { return Ok(()) };
    Err(QueryError::unsupported(what)
        .with_detail(format!("view {} depends on \"{name}\"", view.name))
        .with_hint("Drop the view, and create it again afterwards."))
}

/// Runs ALTER VIEW … RENAME TO.
pub(crate) async fn rename(
    session: &Session,
    name: &str,
    to: &str,
    if_exists: bool,
    materialized: bool,
) -> QueryResult<Outcome> {
    let verb = if materialized { "ALTER MATERIALIZED VIEW" } else { "ALTER VIEW" };
    temporary::may_rename(session, name, verb)?;
    check_name(to)?;
    let engine = session.engine().clone();
    let _guard = engine.definitions().lock().await;
    let views = session.views()?;
    let Some(view) = views.find(name) else {
        let table = session.snapshot().table(name).is_some()
            || crate::relational::find(session, name)?.is_some();
        return match (if_exists, table) {
            (_, true) => Err(QueryError::new("42809", format!("\"{name}\" is not a view"))),
            (true, false) => done(verb),
            (false, false) => Err(QueryError::no_table(name)),
        };
    };
    // As in Postgres ALTER VIEW renames either kind.
    if materialized && !view.is_materialized() {
        let message = format!("\"{name}\" is not a materialized view");
        return Err(QueryError::new("42809", message));
    }
    let taken = match view.temporary {
        Some(_) => {
            views.find_temporary(to).is_some()
                || relational::temporary_table(session, to)?.is_some()
                || catalog::table(None, to).is_some()
        }
        None => is_taken(session, to)?,
    };
    if taken {
        return Err(exists(to));
    }
    let hidden = Hidden::View(view.number);
    refuse_if_used(session, hidden, name, "renaming a view that other views use").await?;
    let renamed = View { name: to.to_string(), ..View::clone(view) };
    commit(session, &views, views.next, &[Change::Put(&renamed)]).await?;
    done(verb)
}

/// The commands that drop these views, to go with others: before those that drop their tables.
pub(crate) fn drop_commands(
    snapshot: &Snapshot,
    views: &Views,
    gone: &[Arc<View>],
) -> QueryResult<Vec<Command>> {
    if gone.is_empty() {
        return Ok(Vec::new());
    }
    let mut commands = materialized::define::drop_stores(snapshot, gone);
    commands.extend(stored::drop_rows(gone));
    let changes: Vec<Change<'_>> = gone.iter().map(|view| Change::Drop(view)).collect();
    commands.push(Command::Rows(rows::command(views, views.next, &changes)?));
    commands.extend(history::forget(snapshot, gone.iter().map(|view| view.number))?);
    Ok(commands)
}

async fn commit(
    session: &Session,
    views: &Views,
    next: u32,
    changes: &[Change<'_>],
) -> QueryResult<()> {
    let command = rows::command(views, next, changes)?;
    command.check()?;
    apply(session, vec![Command::Rows(command)]).await
}
