//! INSERT: rows out of VALUES or a query become one record of the log.
//!
//! A column that is not named stays absent; NULL is an explicit null, which overwrites. In keys
//! NULL and '' are the missing value. VALUES of literals and parameters are read straight off the
//! syntax tree; everything else is planned as a query.

mod conflict;
pub(crate) mod literal;
pub(crate) mod rows;

use arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast;
use futures::StreamExt;
use std::sync::Arc;
use tsdb::Command;
use tsdb::types::{ColumnType, OWNED_TABLE_PREFIX, TableSchema};

use crate::error::{QueryError, QueryResult};
use crate::names::{Names, folded};
use crate::plan::names::{DATABASE, SCHEMA};
use crate::returning::{Returned, Returning, Verb};
use crate::rights::{self, Known, acl::Mode};
use crate::session::{Session, Tree};
use crate::statement::Statement;
use crate::table::{Source, arrow_type};
use crate::{Description, Outcome, relational, schema, view};
use conflict::OnConflict;
pub(crate) use literal::placeholder;
use rows::RowsBuilder;
pub(crate) use rows::{Cell, assign, cell};

/// Bytes of rows in one INSERT: they must fit one record of the log.
const BYTES_MAX: usize = 128 << 20;

/// A column that an INSERT fills.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) source: Source,
    pub(crate) kind: ColumnType,
    pub(crate) not_null: bool,
}

/// What an INSERT is about.
struct Plan<'a> {
    table: Arc<TableSchema>,
    targets: Vec<Target>,
    query: &'a ast::Query,
}

impl Plan<'_> {
    /// `42501` for what the session may not do.
    fn check_rights(&self, session: &Session, insert: &ast::Insert) -> QueryResult<()> {
        let names: Vec<&str> = self.targets.iter().map(|target| target.name.as_str()).collect();
        let known = || Known::of_table(&self.table);
        rights::check_change(session, Mode::INSERT, &names, known)?;
        rights::check_returned(session, insert.returning.as_deref(), known)?;
        rights::check_conflict(session, insert, known)
    }

    fn returning(&self, session: &Session, insert: &ast::Insert) -> QueryResult<Option<Returning>> {
        let Some(list) = &insert.returning else { return Ok(None) };
        let called = insert.table_alias.as_ref().map(|alias| folded(&alias.alias));
        let called = called.as_deref().unwrap_or(schema::bare(&self.table.name));
        let (table, kind) = ((&*self.table, called), (Verb::Insert, false));
        Returning::new(session, list, table, &self.targets, kind).map(Some)
    }
}

/// Types of the parameters.
pub(crate) async fn describe(
    session: &Session,
    insert: &ast::Insert,
    statement: &Statement,
    given: &[Option<DataType>],
) -> QueryResult<Description> {
    if let Some(name) = relation(session, insert)? {
        return relational::describe_insert(session, insert, &name, statement, given).await;
    }
    let plan = resolve(session, insert)?;
    let zone = session.settings().zone().to_string();
    let types = param_types(&plan, given, &zone);
    let fields = match plan.returning(session, insert)? {
        Some(returning) => Some(returning.schema(&[])?),
        None => None,
    };
    if literal::is_plain(plan.query) {
        let params = types.into_iter().map(|t| t.unwrap_or(DataType::Utf8View)).collect();
        return Ok(Description { params, fields });
    }
    let tree = Tree::of_insert(statement, plan.targets.iter().map(|t| sql_type(t.kind)).collect());
    let described = session.describe_query(tree, Names::default(), &types).await?;
    Ok(Description { fields, ..described })
}

/// Runs it.
pub(crate) async fn run(
    session: &Session,
    statement: &Statement,
    insert: &ast::Insert,
    params: &[ScalarValue],
) -> QueryResult<Outcome> {
    if let Some(name) = relation(session, insert)? {
        return relational::insert(session, statement, insert, &name, params).await;
    }
    let plan = resolve(session, insert)?;
    plan.check_rights(session, insert)?;
    session.check_writable("INSERT")?;
    let zone = session.settings().zone().to_string();
    let on = conflict::read(insert, &plan.table, &plan.targets)?;
    let returning = plan.returning(session, insert)?;
    let result = match &returning {
        Some(returning) => Some(returning.schema(&[])?),
        None => None,
    };
    let mut returned = Returned::default();
    let mut rows = RowsBuilder::new(&plan.table, &plan.targets, &zone)?;
    if literal::is_plain(plan.query) && returning.is_none() {
        literal::fill(&mut rows, plan.query, params, &zone)?;
    } else {
        if returning.is_some() && literal::has_default(plan.query) {
            return Err(QueryError::unsupported("DEFAULT in an INSERT with RETURNING")
                .with_hint("Leave the column out."));
        }
        let tree =
            Tree::of_insert(statement, plan.targets.iter().map(|t| sql_type(t.kind)).collect());
        let (schema, mut stream) = session.start(tree, params, Names::default()).await?;
        check_count(schema.fields().len(), plan.targets.len())?;
        while let Some(batch) = stream.next().await {
            let batch = batch?;
            rows.push_batch(&batch)?;
            if let (Some(returning), Some(result)) = (&returning, &result) {
                let given = batch.columns();
                returned.push(returning.batch(result, given, &[], batch.num_rows())?)?;
            }
            if rows.bytes() > BYTES_MAX {
                return Err(too_large());
            }
        }
    }
    if rows.bytes() > BYTES_MAX {
        return Err(too_large());
    }
    let (mut count, bytes) = (rows.count(), rows.bytes());
    let mut commands = rows.finish();
    rights::check_series(session, &plan.table, returning.is_some(), &commands).await?;
    match on {
        OnConflict::Merge => {}
        OnConflict::Overwrite => conflict::check_once(&commands)?,
        OnConflict::DoNothing => {
            let mask;
            (commands, mask) = new_rows(session, &plan.table, commands).await?;
            count = mask.iter().filter(|new| **new).count() as u64;
            returned.retain(&mask)?;
        }
    }
    if count > 0 {
        session.write(plan.table.id, commands, bytes).await?;
    }
    match result {
        Some(result) => Ok(returned.outcome(result, "INSERT")),
        None => Ok(Outcome::Done { tag: format!("INSERT 0 {count}") }),
    }
}

/// The name of the relational table that an INSERT fills, if it is one.
fn relation(session: &Session, insert: &ast::Insert) -> QueryResult<Option<String>> {
    let ast::TableObject::TableName(name) = &insert.table else { return Ok(None) };
    let name = table_name(name)?;
    view::refuse_hidden(session, &name)?;
    Ok(relational::find(session, &name)?.map(|_| name))
}

/// The rows that are not there yet.
async fn new_rows(
    session: &Session,
    table: &TableSchema,
    commands: Vec<Command>,
) -> QueryResult<(Vec<Command>, Vec<bool>)> {
    if session.has_written(table.id) {
        let what = "ON CONFLICT DO NOTHING after writing to the same table in the same transaction";
        return Err(QueryError::unsupported(what).with_hint("COMMIT first."));
    }
    // As UPDATE does in a block: the rows of its snapshot.
    let snapshot = session.snapshot();
    let found = snapshot.table_by_id(table.id).ok_or_else(|| QueryError::no_table(&table.name))?;
    let mut stop = session.stop();
    let looked = stop.clone();
    let work = move || conflict::new_rows(&found, &commands, &|| looked.check());
    stop.guard(session.blocking(work)).await
}

/// The query with literals of VALUES cast to the columns they go into, so that rows may mix
/// literals with expressions.
pub(crate) fn typed(query: &ast::Query, kinds: &[ast::DataType]) -> ast::Query {
    let mut query = query.clone();
    if let ast::SetExpr::Values(values) = query.body.as_mut() {
        for row in &mut values.rows {
            for (expr, kind) in row.content.iter_mut().zip(kinds) {
                if literal::is_text(expr) {
                    *expr = ast::Expr::Cast {
                        kind: ast::CastKind::DoubleColon,
                        expr: Box::new(expr.clone()),
                        data_type: kind.clone(),
                        array: false,
                        format: None,
                    };
                }
            }
        }
    }
    query
}

pub(crate) fn sql_type(kind: ColumnType) -> ast::DataType {
    match kind {
        ColumnType::Bool => ast::DataType::Boolean,
        ColumnType::Int16 => ast::DataType::SmallInt(None),
        ColumnType::Int32 => ast::DataType::Integer(None),
        ColumnType::Int64 => ast::DataType::BigInt(None),
        ColumnType::Float32 => ast::DataType::Real,
        ColumnType::Float64 => ast::DataType::DoublePrecision,
        ColumnType::Text => ast::DataType::Text,
        ColumnType::Bytes => ast::DataType::Bytea,
        ColumnType::Timestamp => ast::DataType::Timestamp(None, ast::TimezoneInfo::WithTimeZone),
    }
}

fn too_large() -> QueryError {
    QueryError::new("54000", "one INSERT may write at most 128 MiB")
        .with_hint("Write several smaller ones, or load files with `millrace import`.")
}

/// The plain name of a table, whatever it is qualified with.
pub(crate) fn table_name(name: &ast::ObjectName) -> QueryResult<String> {
    let mut parts = Vec::new();
    for part in &name.0 {
        match part.as_ident() {
            Some(ident) => parts.push(folded(ident)),
            None => return Err(QueryError::new("42601", format!("bad table name {name}"))),
        }
    }
    let shown = parts.join(".");
    let table = parts.pop().unwrap_or_default();
    if table.starts_with(OWNED_TABLE_PREFIX) {
        return Err(owned(&table));
    }
    if parts.pop().is_some_and(|schema| schema != SCHEMA) {
        return Err(QueryError::no_table(&shown));
    }
    match parts.pop() {
        Some(database) if database != DATABASE => {
            let message = format!("cross-database references are not implemented: \"{shown}\"");
            Err(QueryError::new("0A000", message))
        }
        _ => Ok(table),
    }
}

/// `42939`: a name of tables that hold what others have stored.
pub(crate) fn owned(name: &str) -> QueryError {
    let message = format!("\"{name}\": names that begin with {OWNED_TABLE_PREFIX} are reserved");
    QueryError::new("42939", message)
        .with_hint("Such a table holds the rows of a materialized view; change that view.")
}

fn resolve<'a>(session: &Session, insert: &'a ast::Insert) -> QueryResult<Plan<'a>> {
    let refuse = |what: &str| Err(QueryError::unsupported(what));
    if insert.overwrite || insert.replace_into || insert.or.is_some() || insert.ignore {
        return refuse("this form of INSERT");
    }
    let ast::TableObject::TableName(name) = &insert.table else {
        return refuse("INSERT into a function");
    };
    let Some(query) = &insert.source else { return refuse("INSERT … DEFAULT VALUES") };
    let name = table_name(name)?;
    let snapshot = session.engine().db().snapshot();
    let table = snapshot.table(&name).ok_or_else(|| {
        view::not_a_table(session, &name, "rows are inserted into the tables that it reads")
    })?;
    let table = table.schema().clone();
    let all = targets_of(&table);
    let targets = match insert.columns.is_empty() {
        true => match width(query) {
            // Fewer values than columns fill the first ones.
            Some(width) if width < all.len() => all[..width].to_vec(),
            _ => all,
        },
        false => named(&insert.columns, all, &table.name)?,
    };
    let plan = Plan { table, targets, query };
    if let Some(width) = width(query) {
        check_count(width, plan.targets.len())?;
    }
    check_required(&plan)?;
    Ok(plan)
}

/// Whether a row has as many values as there are columns to fill.
pub(crate) fn check_count(width: usize, targets: usize) -> QueryResult<()> {
    let message = match width.cmp(&targets) {
        std::cmp::Ordering::Equal => return Ok(()),
        std::cmp::Ordering::Greater => "INSERT has more expressions than target columns",
        std::cmp::Ordering::Less => "INSERT has more target columns than expressions",
    };
    Err(QueryError::new("42601", message))
}

/// Columns that must be there.
fn check_required(plan: &Plan<'_>) -> QueryResult<()> {
    if !plan.targets.iter().any(|t| t.source == Source::Time) {
        return Err(null_in(&plan.table.time_name, &plan.table.name));
    }
    let is_named = |name: &str| plan.targets.iter().any(|t| t.name == name);
    match plan.table.fields().find(|f| f.not_null && !is_named(&f.name)) {
        Some(field) => Err(null_in(&field.name, &plan.table.name)),
        None => Ok(()),
    }
}

/// Columns that a COPY fills: those named, or all.
pub(crate) fn targets(table: &TableSchema, names: &[String]) -> QueryResult<Vec<Target>> {
    let all = targets_of(table);
    if names.is_empty() {
        return Ok(all);
    }
    let mut out: Vec<Target> = Vec::with_capacity(names.len());
    for name in names {
        let target = all.iter().find(|t| t.name == *name);
        let target = target.ok_or_else(|| QueryError::no_column(name, &table.name))?;
        if out.iter().any(|t| t.name == *name) {
            let message = format!("column \"{name}\" specified more than once");
            return Err(QueryError::new("42701", message));
        }
        out.push(target.clone());
    }
    let is_named = |name: &str| out.iter().any(|t| t.name == name);
    match all.iter().find(|t| t.not_null && !is_named(&t.name)) {
        Some(missing) => Err(null_in(&missing.name, &table.name)),
        None => Ok(out),
    }
}

/// `23502`.
pub(crate) fn null_in(column: &str, table: &str) -> QueryError {
    let message = format!(
        "null value in column \"{column}\" of relation \"{table}\" violates not-null constraint"
    );
    QueryError::new("23502", message)
}

/// All columns in the order of SQL.
pub(crate) fn targets_of(table: &TableSchema) -> Vec<Target> {
    let mut out = vec![Target {
        name: table.time_name.clone(),
        source: Source::Time,
        kind: ColumnType::Timestamp,
        not_null: true,
    }];
    out.extend(table.columns.iter().map(|c| Target {
        name: c.name.clone(),
        source: match c.key {
            true => Source::Key(c.id, c.kind),
            false => Source::Field(c.id, c.kind),
        },
        kind: c.kind,
        not_null: c.not_null,
    }));
    out
}

fn named(columns: &[ast::ObjectName], all: Vec<Target>, table: &str) -> QueryResult<Vec<Target>> {
    let mut out: Vec<Target> = Vec::with_capacity(columns.len());
    for column in columns {
        let name = column.0.last().and_then(|p| p.as_ident()).map(folded).unwrap_or_default();
        let target = all.iter().find(|t| t.name == name);
        let target = target.ok_or_else(|| QueryError::no_column(&name, table))?;
        if out.iter().any(|t| t.name == name) {
            let message = format!("column \"{name}\" specified more than once");
            return Err(QueryError::new("42701", message));
        }
        out.push(target.clone());
    }
    Ok(out)
}

/// Number of expressions in the rows of VALUES or in the list of a SELECT; `None` where only a plan
/// tells, as for `*`.
pub(crate) fn width(query: &ast::Query) -> Option<usize> {
    match query.body.as_ref() {
        ast::SetExpr::Values(values) => values.rows.first().map(|row| row.content.len()),
        ast::SetExpr::Select(select) => {
            let is_one = |item: &ast::SelectItem| {
                matches!(
                    item,
                    ast::SelectItem::UnnamedExpr(_) | ast::SelectItem::ExprWithAlias { .. }
                )
            };
            select.projection.iter().all(is_one).then_some(select.projection.len())
        }
        _ => None,
    }
}

/// Parameter types: what the client declared, else the type of the column that a parameter goes
/// straight into.
fn param_types(plan: &Plan<'_>, given: &[Option<DataType>], zone: &str) -> Vec<Option<DataType>> {
    let mut types = given.to_vec();
    let mut note = |expr: &ast::Expr, at: usize| {
        if let Some(number) = literal::placeholder(expr)
            && let Some(target) = plan.targets.get(at)
        {
            if types.len() < number {
                types.resize(number, None);
            }
            let slot = &mut types[number - 1];
            if slot.is_none() {
                *slot = Some(arrow_type(target.kind, zone));
            }
        }
    };
    match plan.query.body.as_ref() {
        ast::SetExpr::Values(values) => {
            for row in &values.rows {
                row.content.iter().enumerate().for_each(|(i, expr)| note(expr, i));
            }
        }
        ast::SetExpr::Select(select) => {
            for (i, item) in select.projection.iter().enumerate() {
                if let ast::SelectItem::UnnamedExpr(expr) = item {
                    note(expr, i);
                }
            }
        }
        _ => {}
    }
    types
}
