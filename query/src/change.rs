//! DELETE, UPDATE and TRUNCATE.
//!
//! A statement that changes rows is planned as the SELECT of the rows that it is about, so that
//! its WHERE means what it means elsewhere. Where that plan is nothing but a scan of whole ranges,
//! the ranges are deleted without being read row by row; otherwise the rows found are deleted or
//! written again one by one. Everything a statement changes is one record of the log.

mod delete;
mod found;
pub(crate) mod syntax;
mod unsure;
mod update;

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast;
use tsdb::types::{MergeMode, TableId, TableSchema, TimeRange};
use tsdb::{Command, Selection};

use crate::error::{QueryError, QueryResult};
use crate::insert::table_name;
use crate::names::{Names, folded};
use crate::relational;
use crate::returning::{Returning, Verb};
use crate::rights::{self, Known, acl::Mode};
use crate::session::{Session, Tree};
use crate::statement::{Kind, Statement};
use crate::view::{not_a_table, refuse_hidden};
use crate::{Description, Outcome};

pub(crate) use found::{Check, rows_at};
pub(crate) use syntax::{By, delete_query, update_query};
pub(crate) use unsure::check as check_condition;

/// What is said of views.
const CHANGED: &str = "its rows are changed in the tables that it reads";

/// Rows of one statement: they must fit one record of the log.
const BYTES_MAX: usize = 128 << 20;

/// Types of the parameters.
pub(crate) async fn describe(
    session: &Session,
    statement: &Statement,
    given: &[Option<DataType>],
) -> QueryResult<Description> {
    if let Some(described) = relational::describe_change(session, statement, given).await? {
        return Ok(described);
    }
    let mut given = given.to_vec();
    let table = match statement.kind() {
        Kind::Update(update) => {
            let table = target(session, &update.table)?;
            let zone = session.settings().zone().to_string();
            update::note_params(update, &table, &zone, &mut given)?;
            table
        }
        Kind::Delete(delete) => target(session, syntax::delete_target(delete)?)?,
        _ => return Err(QueryError::internal("a statement that changes nothing")),
    };
    // The plan is kept with the statement: it must be the one that runs.
    let returning = returning(session, statement, &table)?;
    let selected = returning.as_ref().map(Returning::selected).unwrap_or_default();
    let tree = Tree::of_change(statement, by(&table)).returning(selected);
    let described = session.describe_query(tree, Names::default(), &given).await?;
    let fields = match (&returning, &described.fields) {
        (Some(returning), Some(fields)) => Some(returning.schema(fields.fields())?),
        _ => None,
    };
    Ok(Description { fields, ..described })
}

/// What the statement returns of its rows.
fn returning(
    session: &Session,
    statement: &Statement,
    table: &TableSchema,
) -> QueryResult<Option<Returning>> {
    let (list, from, targets, kind) = match statement.kind() {
        Kind::Update(update) => {
            let targets = update::targets(update, table)?;
            let joined = !syntax::from(update).is_empty();
            (&update.returning, &update.table, targets, (Verb::Update, joined))
        }
        Kind::Delete(delete) => {
            let joined = !syntax::using(delete).is_empty();
            let target = syntax::delete_target(delete)?;
            (&delete.returning, target, Vec::new(), (Verb::Delete, joined))
        }
        _ => return Err(QueryError::internal("a statement that changes nothing")),
    };
    let Some(list) = list else { return Ok(None) };
    let called = folded(&syntax::called(from)?);
    Returning::new(session, list, (table, &called), &targets, kind).map(Some)
}

/// Runs DELETE.
pub(crate) async fn delete(
    session: &Session,
    statement: &Statement,
    delete: &ast::Delete,
    params: &[ScalarValue],
) -> QueryResult<Outcome> {
    let name = table_name(syntax::plain_table(syntax::delete_target(delete)?)?.0)?;
    refuse_hidden(session, &name)?;
    if relational::find(session, &name)?.is_some() {
        return relational::delete(session, statement, delete, &name, params).await;
    }
    let table = table_of(session, &name)?;
    check_rights(session, &table, "DELETE", Mode::DELETE, &[])?;
    let list = delete.returning.as_deref();
    rights::check_returned(session, list, || Known::of_table(&table))?;
    let returning = returning(session, statement, &table)?;
    let joined = !syntax::using(delete).is_empty();
    delete::run(session, statement, &table, params, (returning, joined)).await
}

/// Runs UPDATE.
pub(crate) async fn update(
    session: &Session,
    statement: &Statement,
    update: &ast::Update,
    params: &[ScalarValue],
) -> QueryResult<Outcome> {
    let name = table_name(syntax::plain_table(&update.table)?.0)?;
    refuse_hidden(session, &name)?;
    if relational::find(session, &name)?.is_some() {
        return relational::update(session, statement, update, &name, params).await;
    }
    let table = table_of(session, &name)?;
    let targets = update::targets(update, &table)?;
    let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
    check_rights(session, &table, "UPDATE", Mode::UPDATE, &names)?;
    let list = update.returning.as_deref();
    rights::check_returned(session, list, || Known::of_table(&table))?;
    let returning = returning(session, statement, &table)?;
    update::run(session, statement, update, &table, params, returning).await
}

/// Runs TRUNCATE: the rows of whole tables go, uncounted.
pub(crate) async fn truncate(session: &Session, truncate: &ast::Truncate) -> QueryResult<Outcome> {
    if truncate.partitions.is_some() || truncate.on_cluster.is_some() || truncate.if_exists {
        return Err(QueryError::unsupported("this form of TRUNCATE"));
    }
    let mut tables = Vec::with_capacity(truncate.table_names.len());
    let mut relations = Vec::new();
    for name in &truncate.table_names {
        refuse_hidden(session, &table_name(&name.name)?)?;
        if let Some(relation) = relational::find(session, &table_name(&name.name)?)? {
            relations.push(relation.name.clone());
            continue;
        }
        let table = table_of(session, &table_name(&name.name)?)?;
        check_rights(session, &table, "TRUNCATE TABLE", Mode::TRUNCATE, &[])?;
        tables.push(table.id);
    }
    let all = |table: &TableId| Command::Delete {
        table: *table,
        selections: vec![Selection::Range { series: None, times: TimeRange::ALL }],
    };
    let commands = tables.iter().map(all).collect();
    if !relations.is_empty() {
        if !tables.is_empty() && !session.in_any_block() {
            let what = "TRUNCATE of relational and time-series tables in one statement";
            return Err(QueryError::unsupported(what).with_hint("Truncate them in a transaction."));
        }
        relational::truncate(session, truncate, &relations).await?;
    }
    if !tables.is_empty() {
        session.write_to(&tables, commands, 64 * tables.len()).await?;
    }
    Ok(Outcome::Done { tag: "TRUNCATE TABLE".into() })
}

/// What tells the rows of a table apart.
fn by(table: &TableSchema) -> By {
    if is_append(table) { By::Place } else { By::Time }
}

/// Rows of an append table may share series and time.
fn is_append(table: &TableSchema) -> bool {
    table.options.merge == MergeMode::Append
}

/// The table that a statement changes.
fn target(session: &Session, from: &ast::TableWithJoins) -> QueryResult<Arc<TableSchema>> {
    table_of(session, &table_name(syntax::plain_table(from)?.0)?)
}

fn table_of(session: &Session, name: &str) -> QueryResult<Arc<TableSchema>> {
    let snapshot = session.engine().db().snapshot();
    let table = snapshot.table(name).ok_or_else(|| not_a_table(session, name, CHANGED))?;
    Ok(table.schema().clone())
}

fn check_rights(
    session: &Session,
    table: &TableSchema,
    verb: &str,
    mode: Mode,
    columns: &[&str],
) -> QueryResult<()> {
    rights::check_change(session, mode, columns, || Known::of_table(table))?;
    session.check_writable(verb)
}

/// `54000` where a statement names too many rows one by one.
fn check_count(session: &Session, rows: usize, verb: &str) -> QueryResult<()> {
    let most = session.engine().db().options().delete_points_max as usize;
    if rows <= most {
        return Ok(());
    }
    Err(QueryError::new("54000", format!("one {verb} may change at most {most} rows")).with_hint(
        "Change them in several steps, for example by ranges of time. A DELETE by time and key \
         columns alone has no such limit.",
    ))
}

fn too_large(verb: &str) -> QueryError {
    QueryError::new("54000", format!("one {verb} may write at most 128 MiB"))
        .with_hint("Change the rows in several steps, for example by ranges of time.")
}
