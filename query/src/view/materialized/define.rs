//! CREATE, ALTER and DROP MATERIALIZED VIEW.

use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{self, CreateTableOptions};
use tsdb::types::{ColumnId, ColumnType, TableId};
use tsdb::{Command, NewColumn, NewTable, Snapshot, WATCHES_MAX, WatchChange};

use super::super::define::{self as views_define, VIEWS_MAX, check_name, exists, is_taken};
use super::super::rows::{self, Change};
use super::super::{Scope, View};
use super::options::Options;
use super::{Materialized, check, store, store_name};
use crate::ddl::life::{may_archive, settle};
use crate::ddl::{apply, done};
use crate::error::{QueryError, QueryResult};
use crate::insert::table_name;
use crate::plan::PlanContext;
use crate::session::Session;
use crate::statement::Statement;
use crate::statement::materialized::Alter;
use crate::table::arrow_type;
use crate::{Outcome, catalog, rights};

const CREATE: &str = "CREATE MATERIALIZED VIEW";
const ALTER: &str = "ALTER MATERIALIZED VIEW";

/// Runs CREATE MATERIALIZED VIEW.
pub(crate) async fn create(
    session: &Session,
    statement: &Statement,
    create: &ast::CreateView,
) -> QueryResult<Outcome> {
    rights::may_create(session, CREATE, &table_name(&create.name)?)?;
    let given = check_form(statement, create)?;
    let name = table_name(&create.name)?;
    check_name(&name)?;
    let engine = session.engine().clone();
    let _guard = engine.definitions().lock().await;
    let views = session.views()?;
    let snapshot = session.snapshot();
    match (is_taken(session, &name)?, create.if_not_exists) {
        (true, true) => return done(CREATE),
        (true, false) => return Err(exists(&name)),
        _ => {}
    }
    if views.list.len() >= VIEWS_MAX {
        let message = format!("a database may have {VIEWS_MAX} views");
        return Err(QueryError::new("54000", message));
    }
    let context = session.context("").in_scope(Scope::defining(None)).in_utc()?;
    let (asked, number) = (create.clone(), views.next);
    let making = async move { make(&context, &asked, &given, number, name) };
    let (view, new, grain) = session.on_workers(making).await?;
    may_archive(session, new.options.archive.as_deref())?;
    let root = root_of(&view)?;
    let watches = snapshot.table_by_id(root).map_or(0, |table| table.watch_count());
    if watches >= WATCHES_MAX {
        let message = format!("a table may have {WATCHES_MAX} continuous aggregates");
        return Err(QueryError::new("54000", message));
    }
    let begin = Command::Watch { table: root, number, change: WatchChange::Begin { grain } };
    let command = rows::command(&views, number + 1, &[Change::Put(&view)])?;
    command.check()?;
    let commands = vec![Command::CreateTable(new), begin, Command::Rows(command)];
    apply(session, commands).await?;
    rights::own(session, &view.name).await?;
    engine.jobs().wake();
    done(CREATE)
}

/// Whether a CREATE MATERIALIZED VIEW asks for a continuous aggregate.
pub(in crate::view) fn is_continuous(create: &ast::CreateView) -> bool {
    match &create.options {
        CreateTableOptions::With(options) => {
            options.iter().any(|option| option.to_string().contains("continuous"))
        }
        _ => false,
    }
}

fn root_of(view: &View) -> QueryResult<TableId> {
    match &view.materialized {
        Some(materialized) => Ok(materialized.root),
        None => Err(QueryError::internal("a continuous aggregate that is none")),
    }
}

/// Refuses other forms; what `WITH (…)` says.
fn check_form(statement: &Statement, create: &ast::CreateView) -> QueryResult<Vec<ast::SqlOption>> {
    let options = match &create.options {
        CreateTableOptions::None => Vec::new(),
        CreateTableOptions::With(options) => options.clone(),
        _ => return Err(QueryError::unsupported("this form of CREATE MATERIALIZED VIEW")),
    };
    if !views_define::is_plain(create) || create.or_replace || create.temporary {
        return Err(QueryError::unsupported("this form of CREATE MATERIALIZED VIEW"));
    }
    if statement.is_deep() {
        return Err(QueryError::new("54001", "the query of the view is nested too deeply"));
    }
    Ok(options)
}

/// What a query reads: its time, its keys with their types, and what it is made of in the end.
struct Input {
    time: String,
    keys: Vec<(String, ColumnType)>,
    root: TableId,
    over: Option<u32>,
}

fn input(context: &PlanContext, name: &ast::ObjectName) -> QueryResult<Input> {
    let name = table_name(name)?;
    let views = context.views()?;
    if context.relations()?.find_lasting(&name).is_some() {
        let what = "a continuous aggregate over a relational table";
        return Err(
            QueryError::unsupported(what).with_hint("Its rows have no time to be kept up by.")
        );
    }
    let (table, root, over) = match context.snapshot.table(&name) {
        Some(table) => {
            let root = table.schema().id;
            (table, root, None)
        }
        None => {
            let view = views.find(&name).ok_or_else(|| QueryError::no_table(&name))?;
            let Some(materialized) = &view.materialized else {
                let what = "a continuous aggregate over a view";
                return Err(QueryError::unsupported(what)
                    .with_hint("It may read a table, or another continuous aggregate."));
            };
            (store(&context.snapshot, view)?, materialized.root, Some(view.number))
        }
    };
    let schema = table.schema();
    let keys = schema.keys().map(|key| (key.name.clone(), key.kind)).collect();
    Ok(Input { time: schema.time_name.clone(), keys, root, over })
}

/// The view that is asked for, the table of its stored rows, and the grain of its watch. `context`
/// is in UTC.
fn make(
    context: &PlanContext,
    create: &ast::CreateView,
    given: &[ast::SqlOption],
    number: u32,
    name: String,
) -> QueryResult<(View, NewTable, i64)> {
    let none = |name: &str| Err(QueryError::no_column(name, ""));
    let of = input(context, check::relation(&create.query)?)?;
    let mut view = views_define::make(context, create, number, name)?;
    let plan = context.bind_query(&view.query, &view.text)?;
    rights::check_plan(context, &plan)?;
    if context.is_secured() {
        let message = "its table has row-level security that holds for you";
        return Err(QueryError::new("42501", message)
            .with_hint("Rows are stored for all readers: let the owner of the table create it."));
    }
    let keys: Vec<String> = of.keys.iter().map(|(name, _)| name.clone()).collect();
    let shape = check::shape(&plan, context, &of.time, &keys)?;
    // What only comes out when it is planned comes out now.
    context.optimize(plan.clone(), &[])?;
    let columns = columns(context, &plan, &mut view, &shape, &of)?;
    let numbered: Vec<(ColumnId, &str)> =
        (1..).zip(&columns).filter(|(_, c)| c.key).map(|(id, c)| (id, c.name.as_str())).collect();
    let number_of = |wanted: &str| match numbered.iter().find(|(_, name)| *name == wanted) {
        Some((id, _)) => Ok(*id),
        None => none(wanted),
    };
    let length = shape.cut.length_ns();
    let (_, options) = Options::new(length).create(given, &number_of)?;
    let new = NewTable {
        name: store_name(number),
        time_name: view.columns[shape.bucket].name.clone(),
        columns,
        options: options.store,
        if_not_exists: false,
    };
    view.materialized = Some(Materialized {
        root: of.root,
        over: of.over,
        bucket: shape.bucket,
        keys: shape.keys,
        cut: shape.cut,
        refresh_every_ns: options.every_ns,
        refresh_lag_ns: options.lag_ns,
    });
    Ok((view, new, length.clamp(GRAIN_MIN_NS, GRAIN_MAX_NS)))
}

/// Changed times are noted by buckets, but neither by ns nor by years.
const GRAIN_MIN_NS: i64 = 1_000_000_000;
const GRAIN_MAX_NS: i64 = 7 * 86_400_000_000_000;

/// Columns of the table of stored rows, without its time. The view's get the types that are stored.
fn columns(
    context: &PlanContext,
    plan: &LogicalPlan,
    view: &mut View,
    shape: &check::Shape,
    of: &Input,
) -> QueryResult<Vec<NewColumn>> {
    let schema = context.result_schema(plan)?;
    let mut out = Vec::with_capacity(view.columns.len());
    for (at, (column, field)) in view.columns.iter_mut().zip(schema.fields()).enumerate() {
        if at == shape.bucket {
            continue;
        }
        let key = shape.keys.contains(&at);
        let Some(kind) = check::stored_type(field.data_type()) else {
            let what = format!("storing column \"{}\" of type {}", column.name, field.data_type());
            return Err(QueryError::unsupported(what)
                .with_hint("Cast it, for example to double precision or text."));
        };
        if key && !of.keys.iter().any(|(_, own)| *own == kind) {
            return Err(QueryError::internal("a key of another type"));
        }
        let stored = Field::new(&column.name, arrow_type(kind, "+00:00"), true);
        column.kind = catalog::type_number(&stored);
        out.push(NewColumn { name: column.name.clone(), kind, key, not_null: false });
    }
    Ok(out)
}

/// Runs ALTER MATERIALIZED VIEW … SET or RESET.
pub(crate) async fn alter(session: &Session, alter: &Alter) -> QueryResult<Outcome> {
    rights::may_alter(session, ALTER, &alter.name)?;
    let engine = session.engine().clone();
    let _guard = engine.definitions().lock().await;
    let views = session.views()?;
    let Some(view) = views.find(&alter.name) else {
        return match alter.if_exists {
            true => done(ALTER),
            false => Err(not_there(&alter.name)),
        };
    };
    if view.stored.is_some() {
        let what = "SET and RESET of a materialized view that is no continuous aggregate";
        return Err(QueryError::unsupported(what)
            .with_hint("Options are of CREATE MATERIALIZED VIEW … WITH (continuous, …)."));
    }
    let Some(materialized) = &view.materialized else { return Err(no_aggregate(&view.name)) };
    let snapshot = session.snapshot();
    let store = store(&snapshot, view)?;
    let schema = store.schema();
    let number_of = |wanted: &str| match schema.column(wanted).filter(|column| column.key) {
        Some(column) => Ok(column.id),
        None => Err(QueryError::no_column(wanted, &view.name)),
    };
    let mut options = Options {
        every_ns: materialized.refresh_every_ns,
        lag_ns: materialized.refresh_lag_ns,
        store: schema.options.clone(),
    };
    for (name, value) in &alter.options {
        options.set(name, value.as_deref(), &number_of)?;
    }
    if options.store.archive != schema.options.archive {
        may_archive(session, options.store.archive.as_deref())?;
    }
    let changed = Materialized {
        refresh_every_ns: options.every_ns,
        refresh_lag_ns: options.lag_ns,
        ..materialized.clone()
    };
    let changed = View { materialized: Some(changed), ..View::clone(view) };
    let command = rows::command(&views, views.next, &[Change::Put(&changed)])?;
    command.check()?;
    let mut commands = vec![Command::Rows(command)];
    let sets = options.store != schema.options;
    if sets {
        commands.push(Command::SetOptions { table: schema.id, options: options.store });
    }
    apply(session, commands).await?;
    if sets {
        settle(session, schema.id).await?;
    }
    engine.jobs().wake();
    done(ALTER)
}

/// The commands that drop what views have stored.
pub(in crate::view) fn drop_stores(snapshot: &Snapshot, gone: &[Arc<View>]) -> Vec<Command> {
    let mut commands = Vec::new();
    for view in gone {
        let Some(materialized) = &view.materialized else { continue };
        let root = snapshot.table_by_id(materialized.root);
        if root.is_some_and(|root| root.watch(view.number).is_some()) {
            let (table, number) = (materialized.root, view.number);
            commands.push(Command::Watch { table, number, change: WatchChange::End });
        }
        if let Some(store) = snapshot.table(&store_name(view.number)) {
            commands.push(Command::DropTable { table: store.schema().id });
        }
    }
    commands
}

pub(super) fn not_there(name: &str) -> QueryError {
    QueryError::new("42P01", format!("materialized view \"{name}\" does not exist"))
}

pub(super) fn no_aggregate(name: &str) -> QueryError {
    QueryError::new("42809", format!("\"{name}\" is not a materialized view"))
}
