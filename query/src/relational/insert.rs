//! INSERT into relational tables.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Schema};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast;
use futures::StreamExt;

use super::arrays::{self, parse_zone};
use super::conflict::{self, OnConflict};
use super::def::{Column, TableDef, damaged};
use super::expr;
use super::kind::{Datum, Kind};
use super::returning::Returning;
use super::sequence::Sequences;
use super::view::Pending;
use super::writer::{BYTES_MAX, MEMORY_MAX, ROWS_MAX, Row, Table, Writer};
use crate::error::{QueryError, QueryResult};
use crate::insert::literal::{self, Literal};
use crate::insert::{check_count, width};
use crate::names::{Names, folded};
use crate::plan::PlanContext;
use crate::rights::security::For;
use crate::rights::{self, Known, acl::Mode};
use crate::schema;
use crate::session::{Session, Tree};
use crate::statement::Statement;
use crate::{Description, Outcome};

/// Rows up to which a statement is done on the thread that asks.
pub(super) const INLINE_ROWS_MAX: usize = 100;

/// A row as an INSERT gives it; `None` asks for the default.
pub(super) type Given = Vec<Option<Datum>>;

/// The columns that an INSERT fills, by their places.
fn targets(def: &TableDef, insert: &ast::Insert) -> QueryResult<Vec<usize>> {
    let width = insert.source.as_ref().and_then(|query| width(query));
    if insert.columns.is_empty() {
        let all: Vec<usize> = (0..def.columns.len()).collect();
        return Ok(match width {
            // Fewer values than columns fill the first ones.
            Some(width) if width < all.len() => all[..width].to_vec(),
            _ => all,
        });
    }
    let mut out = Vec::with_capacity(insert.columns.len());
    for name in &insert.columns {
        let name = name.0.last().and_then(|p| p.as_ident()).map(folded).unwrap_or_default();
        let place = def.place(&name).ok_or_else(|| no_column(def, &name))?;
        if out.contains(&place) {
            let message = format!("column \"{name}\" specified more than once");
            return Err(QueryError::new("42701", message));
        }
        out.push(place);
    }
    Ok(out)
}

pub(super) fn no_column(def: &TableDef, name: &str) -> QueryError {
    QueryError::no_column(name, &def.name)
}

fn check_form(insert: &ast::Insert) -> QueryResult<()> {
    if insert.overwrite || insert.replace_into || insert.or.is_some() || insert.ignore {
        return Err(QueryError::unsupported("this form of INSERT"));
    }
    Ok(())
}

fn called(def: &TableDef, insert: &ast::Insert) -> String {
    let alias = insert.table_alias.as_ref().map(|alias| folded(&alias.alias));
    alias.unwrap_or_else(|| schema::bare(&def.name).to_string())
}

/// Parameter types: what the client declared, else that of the column a parameter goes into.
fn param_types(
    def: &TableDef,
    insert: &ast::Insert,
    targets: &[usize],
    given: &[Option<DataType>],
    zone: &str,
) -> Vec<Option<DataType>> {
    let mut types = given.to_vec();
    let mut note = |expr: &ast::Expr, at: usize| {
        if let Some(number) = literal::placeholder(expr)
            && let Some(column) = targets.get(at).and_then(|at| def.columns.get(*at))
        {
            if types.len() < number {
                types.resize(number, None);
            }
            types[number - 1].get_or_insert_with(|| column.kind.arrow(zone));
        }
    };
    match insert.source.as_ref().map(|query| query.body.as_ref()) {
        Some(ast::SetExpr::Values(values)) => {
            for row in &values.rows {
                row.content.iter().enumerate().for_each(|(i, expr)| note(expr, i));
            }
        }
        Some(ast::SetExpr::Select(select)) => {
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

/// Types of the parameters, and what comes back.
pub(crate) async fn describe(
    session: &Session,
    insert: &ast::Insert,
    name: &str,
    statement: &Statement,
    given: &[Option<DataType>],
) -> QueryResult<Description> {
    check_form(insert)?;
    let context = session.context(statement.text());
    let relations = context.relations()?;
    let def = relations.find(name).ok_or_else(|| QueryError::no_table(name))?;
    let targets = targets(def, insert)?;
    let zone = context.settings.zone();
    let types = param_types(def, insert, &targets, given, zone);
    let returning = Returning::new(def, &called(def, insert), insert.returning.as_deref())?;
    let fields = match &returning {
        Some(returning) => Some(returning.schema(&context, def, &types)?),
        None => None,
    };
    let plain = insert.source.as_ref().is_none_or(|query| literal::is_plain(query));
    if plain {
        let params = types.into_iter().map(|t| t.unwrap_or(DataType::Utf8View)).collect();
        return Ok(Description { params, fields });
    }
    let kinds = targets.iter().map(|at| def.columns[*at].kind.sql_type()).collect();
    let tree = Tree::of_insert(statement, kinds);
    let described = session.describe_query(tree, Names::default(), &types).await?;
    Ok(Description { fields, ..described })
}

/// Runs it.
pub(crate) async fn insert(
    session: &Session,
    statement: &Statement,
    insert: &ast::Insert,
    name: &str,
    params: &[ScalarValue],
) -> QueryResult<Outcome> {
    check_form(insert)?;
    super::settled(session, name, || once(session, statement, insert, name, params)).await
}

async fn once(
    session: &Session,
    statement: &Statement,
    insert: &ast::Insert,
    name: &str,
    params: &[ScalarValue],
) -> QueryResult<Outcome> {
    let context = session.context(statement.text());
    let relations = context.relations()?;
    let def = relations.find(name).ok_or_else(|| QueryError::no_table(name))?.clone();
    let targets = targets(&def, insert)?;
    check_insert(session, &def, insert, &targets)?;
    let given = match &insert.source {
        None => vec![vec![None; targets.len()]],
        Some(query) if literal::is_plain(query) => {
            literals(&def, &targets, query, params, context.settings.zone())?
        }
        Some(query) if literal::has_default(query) => {
            return Err(QueryError::unsupported("DEFAULT beside expressions in VALUES")
                .with_hint("Leave the column out, or write the rows one by one."));
        }
        Some(_) => planned(session, statement, &def, &targets, params).await?,
    };
    let on = conflict::read(insert, &def)?;
    let returning = Returning::new(&def, &called(&def, insert), insert.returning.as_deref())?;
    let rows = complete(session, &context, &def, &targets, given).await?;
    super::check_written(session, &def, For::Insert, returning.is_some(), &rows).await?;
    let job = Job {
        context,
        def,
        rows,
        on,
        called: insert.table_alias.as_ref().map(|alias| folded(&alias.alias)),
        params: params.to_vec(),
    };
    let snapshot = job.context.snapshot.clone();
    let (job, done) = work(session, job).await?;
    let Done { count, rows, pending } = done;
    let outcome = match &returning {
        Some(returning) => {
            Some(returning.outcome(&job.context, &job.def, &rows, &job.params, "INSERT")?)
        }
        None => None,
    };
    session.write_rows(snapshot, pending).await?;
    Ok(outcome.unwrap_or_else(|| Outcome::Done { tag: format!("INSERT 0 {count}") }))
}

/// `42501` for what the session may not do.
fn check_insert(
    session: &Session,
    def: &TableDef,
    insert: &ast::Insert,
    targets: &[usize],
) -> QueryResult<()> {
    let names: Vec<&str> = targets.iter().map(|at| def.columns[*at].name.as_str()).collect();
    super::check_rights(session, def, "INSERT", Mode::INSERT, &names)?;
    rights::check_returned(session, insert.returning.as_deref(), || Known::of_relation(def))?;
    rights::check_conflict(session, insert, || Known::of_relation(def))
}

/// An INSERT whose rows are known.
pub(super) struct Job {
    pub(super) context: PlanContext,
    pub(super) def: Arc<TableDef>,
    pub(super) rows: Vec<Row>,
    pub(super) on: OnConflict,
    pub(super) called: Option<String>,
    pub(super) params: Vec<ScalarValue>,
}

/// What came of it.
pub(super) struct Done {
    pub(super) count: u64,
    /// The rows that are there now, in their order.
    pub(super) rows: Vec<Row>,
    pub(super) pending: Pending,
}

/// Does the work here where it is little, else on the query runtime.
pub(super) async fn work(session: &Session, job: Job) -> QueryResult<(Job, Done)> {
    if job.rows.len() <= INLINE_ROWS_MAX {
        let done = job.run()?;
        return Ok((job, done));
    }
    let work = async move {
        let done = job.run()?;
        Ok((job, done))
    };
    session.on_workers(work).await
}

impl Job {
    fn run(&self) -> QueryResult<Done> {
        let table = Table::new(&self.def)?;
        let mut writer = Writer::new(&self.context, self.context.rows_view())?;
        let refs: Vec<&Row> = self.rows.iter().collect();
        writer.check(&self.def, &refs)?;
        let rows = match &self.on {
            OnConflict::Error => {
                for row in &self.rows {
                    writer.insert(&table, row.clone())?;
                }
                self.rows.clone()
            }
            OnConflict::Nothing(arbiter) => {
                let mut rows = Vec::new();
                for row in &self.rows {
                    if writer.taken(&table, row, *arbiter)?.is_none() {
                        writer.insert(&table, row.clone())?;
                        rows.push(row.clone());
                    }
                }
                rows
            }
            OnConflict::Update(update) => {
                let called = self.called.as_deref().unwrap_or(schema::bare(&self.def.name));
                update.run(
                    &self.context,
                    &mut writer,
                    &table,
                    (called, &self.rows),
                    &self.params,
                )?
            }
        };
        let view = writer.finish()?;
        Ok(Done { count: rows.len() as u64, rows, pending: view.pending })
    }
}

/// The rows of VALUES of nothing but literals and parameters.
fn literals(
    def: &TableDef,
    targets: &[usize],
    query: &ast::Query,
    params: &[ScalarValue],
    zone: &str,
) -> QueryResult<Vec<Given>> {
    let ast::SetExpr::Values(values) = query.body.as_ref() else {
        return Err(QueryError::internal("VALUES changed while it was read"));
    };
    if values.rows.len() > ROWS_MAX {
        return Err(too_many());
    }
    let mut out = Vec::with_capacity(values.rows.len());
    let mut bytes = 0;
    for (number, row) in values.rows.iter().enumerate() {
        if number == 0 {
            check_count(row.content.len(), targets.len())?;
        }
        if row.content.len() != targets.len() {
            return Err(QueryError::new("42601", "VALUES lists must all be the same length"));
        }
        let mut cells = Vec::with_capacity(targets.len());
        for (expr, at) in row.content.iter().zip(targets) {
            let cell = cell(expr, &def.columns[*at], params, zone)?;
            bytes += cell.as_ref().map_or(0, Datum::bytes);
            cells.push(cell);
        }
        if bytes > BYTES_MAX {
            return Err(too_large());
        }
        out.push(cells);
    }
    Ok(out)
}

/// The value of a literal for a column; `None` for DEFAULT.
fn cell(
    expr: &ast::Expr,
    column: &Column,
    params: &[ScalarValue],
    zone: &str,
) -> QueryResult<Option<Datum>> {
    let literal = literal::literal(expr)
        .ok_or_else(|| QueryError::internal("VALUES changed while it was read"))?;
    Ok(match literal {
        Literal::Absent => None,
        Literal::Param(number) => match params.get(number - 1) {
            Some(value) => Some(scalar(value, column, zone)?),
            None => {
                let message = format!("there is no parameter ${number}");
                return Err(QueryError::new("42P02", message));
            }
        },
        literal => Some(value_of(&literal, column.kind, zone)?),
    })
}

/// A literal as a value of a type, by the rules of assignment.
pub(super) fn value_of(literal: &Literal<'_>, kind: Kind, zone: &str) -> QueryResult<Datum> {
    let tz = parse_zone(zone)?;
    match (literal, kind.base()) {
        (Literal::Null, _) => Ok(Datum::Null),
        (Literal::Text(text), None) => kind.parse(text, &tz),
        (Literal::Number(digits, negative), None) if matches!(kind, Kind::Numeric(..)) => {
            let sign = if *negative { "-" } else { "" };
            kind.parse(&format!("{sign}{digits}"), &tz)
        }
        (literal, Some(base)) => kind.of_cell(literal::convert(literal, base, &tz)?),
        (Literal::Bool(_), None) => Err(mismatch(kind, "boolean")),
        _ => Err(mismatch(kind, "numeric")),
    }
}

fn mismatch(kind: Kind, found: &str) -> QueryError {
    let message = format!("column is of type {kind} but expression is of type {found}");
    QueryError::new("42804", message).with_hint("You will need to cast the expression.")
}

/// A parameter's value for a column.
pub(super) fn scalar(value: &ScalarValue, column: &Column, zone: &str) -> QueryResult<Datum> {
    if value.is_null() {
        return Ok(Datum::Null);
    }
    if let ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) = value {
        return column.kind.parse(text, &parse_zone(zone)?);
    }
    let values = arrays::assign(&value.to_array()?, (&column.name, column.kind), zone)?;
    values.into_iter().next().ok_or_else(|| QueryError::internal("a parameter without a value"))
}

/// The rows of a query.
async fn planned(
    session: &Session,
    statement: &Statement,
    def: &TableDef,
    targets: &[usize],
    params: &[ScalarValue],
) -> QueryResult<Vec<Given>> {
    let kinds = targets.iter().map(|at| def.columns[*at].kind.sql_type()).collect();
    let tree = Tree::of_insert(statement, kinds);
    let (schema, mut stream) = session.start(tree, params, Names::default()).await?;
    check_count(schema.fields().len(), targets.len())?;
    let zone = session.settings().zone().to_string();
    let (mut out, mut bytes): (Vec<Given>, usize) = (Vec::new(), 0);
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        let mut rows: Vec<Given> =
            (0..batch.num_rows()).map(|_| Vec::with_capacity(targets.len())).collect();
        for (array, at) in batch.columns().iter().zip(targets) {
            let column = &def.columns[*at];
            let values = arrays::assign(array, (&column.name, column.kind), &zone)?;
            for (row, value) in rows.iter_mut().zip(values) {
                bytes += value.bytes();
                row.push(Some(value));
            }
        }
        out.append(&mut rows);
        if bytes > BYTES_MAX {
            return Err(too_large());
        }
        if out.len() > ROWS_MAX {
            return Err(too_many());
        }
    }
    Ok(out)
}

pub(super) fn too_large() -> QueryError {
    let message = "one statement may write at most 64 MiB to relational tables, which may take \
                   128 MiB with all columns";
    QueryError::new("54000", message).with_hint("Write several smaller ones.")
}

pub(super) fn too_many() -> QueryError {
    let message = format!("a statement may change {ROWS_MAX} rows of relational tables");
    QueryError::new("54000", message).with_hint("Do it in several steps.")
}

/// Rows with their defaults: numbers of sequences, and expressions that are worked out for each.
pub(super) async fn complete(
    session: &Session,
    context: &PlanContext,
    def: &TableDef,
    targets: &[usize],
    given: Vec<Given>,
) -> QueryResult<Vec<Row>> {
    // Few values become whole rows here.
    let row_bytes = def.columns.len() * (size_of::<Datum>() + size_of::<usize>());
    if given.len().saturating_mul(row_bytes) > MEMORY_MAX {
        return Err(too_large());
    }
    let mut rows: Vec<Row> = vec![vec![Datum::Null; def.columns.len()]; given.len()];
    // Which rows want the default of which column.
    let mut wanted: Vec<Vec<usize>> = vec![Vec::new(); def.columns.len()];
    for (place, wanted) in wanted.iter_mut().enumerate() {
        if !targets.contains(&place) {
            wanted.extend(0..rows.len());
        }
    }
    for (number, cells) in given.into_iter().enumerate() {
        for (at, cell) in targets.iter().zip(cells) {
            match cell {
                Some(value) => rows[number][*at] = value,
                None => wanted[*at].push(number),
            }
        }
    }
    for (place, (column, wanted)) in def.columns.iter().zip(&wanted).enumerate() {
        let always = column.sequence.as_ref().is_some_and(|s| s.identity == Some(true));
        if always && wanted.len() < rows.len() {
            let message =
                format!("cannot insert a non-DEFAULT value into column \"{}\"", column.name);
            return Err(QueryError::new("428C9", message).with_detail(format!(
                "Column \"{}\" is an identity column defined as GENERATED ALWAYS.",
                column.name
            )));
        }
        if wanted.is_empty() {
            continue;
        }
        if let Some(sequence) = &column.sequence {
            let found = context.relations()?.sequence(sequence.number).cloned();
            let found = found.ok_or_else(|| damaged(format!("no sequence {}", sequence.number)))?;
            let numbers = Sequences::take_for(session, found, wanted.len()).await?;
            for (number, row) in numbers.into_iter().zip(wanted) {
                rows[*row][place] = Datum::Int(number);
            }
        } else {
            let values = defaults(context, column, wanted.len())?;
            for (value, row) in values.into_iter().zip(wanted) {
                rows[*row][place] = value;
            }
        }
    }
    Ok(rows)
}

/// A column's default, so many times.
pub(super) fn defaults(
    context: &PlanContext,
    column: &Column,
    count: usize,
) -> QueryResult<Vec<Datum>> {
    let Some(text) = &column.default else { return Ok(vec![Datum::Null; count]) };
    let zone = context.settings.zone();
    let parsed = expr::parse(text)?;
    if let Some(literal) = literal::literal(&parsed)
        && !matches!(literal, Literal::Param(_) | Literal::Absent)
    {
        return Ok(vec![value_of(&literal, column.kind, zone)?; count]);
    }
    let bound = expr::bind(context, &[parsed], &expr::Names::none(), &[])?;
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    let schema = Arc::new(Schema::empty());
    let batch = RecordBatch::try_new_with_options(schema, Vec::new(), &options)?;
    let arrays = bound.run(&batch)?;
    let array = arrays.first().ok_or_else(|| QueryError::internal("a default without a value"))?;
    arrays::assign(array, (&column.name, column.kind), zone)
}
