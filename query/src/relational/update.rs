//! UPDATE of relational tables.

use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{self, Expr};
use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use futures::StreamExt;

use super::arrays;
use super::conflict::check_generated;
use super::def::TableDef;
use super::expr;
use super::insert::{INLINE_ROWS_MAX, defaults, no_column, too_large, too_many};
use super::kind::Datum;
use super::point;
use super::returning::Returning;
use super::view::Pending;
use super::writer::{BYTES_MAX, MEMORY_MAX, ROWS_MAX, Row, Table, Writer, memory};
use crate::Outcome;
use crate::change::{By, syntax};
use crate::error::{QueryError, QueryResult};
use crate::names::folded;
use crate::plan::PlanContext;
use crate::rights::security::For;
use crate::rights::{self, Known, Object, acl::Mode};
use crate::session::{Change, Session, Tree};
use crate::statement::Statement;

/// A row that changes: its key, and a value for each column that is set.
type Found = (Vec<u8>, Vec<Datum>);

/// Places of the columns that are set, with their values; `None` is DEFAULT.
pub(super) fn sets<'a>(
    def: &TableDef,
    update: &'a ast::Update,
) -> QueryResult<Vec<(usize, Option<&'a Expr>)>> {
    let mut out: Vec<(usize, Option<&Expr>)> = Vec::new();
    for (name, value) in syntax::assignments(update)? {
        let place = def.place(&name).ok_or_else(|| no_column(def, &name))?;
        if out.iter().any(|(at, _)| *at == place) {
            let message = format!("multiple assignments to same column \"{name}\"");
            return Err(QueryError::new("42601", message));
        }
        check_generated(def, place, value)?;
        out.push((place, (!super::conflict::is_default(value)).then_some(value)));
    }
    Ok(out)
}

/// Runs it.
pub(crate) async fn update(
    session: &Session,
    statement: &Statement,
    update: &ast::Update,
    name: &str,
    params: &[ScalarValue],
) -> QueryResult<Outcome> {
    super::settled(session, name, || once(session, statement, update, name, params)).await
}

async fn once(
    session: &Session,
    statement: &Statement,
    update: &ast::Update,
    name: &str,
    params: &[ScalarValue],
) -> QueryResult<Outcome> {
    let context = session.context(statement.text());
    let def = table_of(&context, name)?;
    let sets_of = sets(&def, update)?;
    let names: Vec<&str> =
        sets_of.iter().map(|(place, _)| def.columns[*place].name.as_str()).collect();
    super::check_rights(session, &def, "UPDATE", Mode::UPDATE, &names)?;
    let returning = update.returning.as_deref();
    rights::check_returned(session, returning, || Known::of_relation(&def))?;
    let called = folded(&syntax::called(&update.table)?);
    let (context, found) = match quick(&context, &def, update, &called, params)? {
        Some(found) => (context, found),
        None => {
            let tree = Tree::of_change(statement, By::Key);
            let (snapshot, change) = session.find_rows(tree, params).await?;
            let context = context.at(snapshot);
            let def = table_of(&context, name)?;
            let found = collect(session, &context, &def, update, change).await?;
            (context, found)
        }
    };
    let def = table_of(&context, name)?;
    let returning = Returning::new(&def, &called, update.returning.as_deref())?;
    let job = Job {
        places: sets(&def, update)?.iter().map(|(at, _)| *at).collect(),
        context,
        def,
        found,
    };
    let (job, rows, pending) = if job.found.len() <= INLINE_ROWS_MAX {
        let (rows, pending) = job.run()?;
        (job, rows, pending)
    } else {
        let work = async move {
            let (rows, pending) = job.run()?;
            Ok((job, rows, pending))
        };
        session.on_workers(work).await?
    };
    super::check_written(session, &job.def, For::Update, false, &rows).await?;
    let outcome = match &returning {
        Some(of) => Some(of.outcome(&job.context, &job.def, &rows, params, "UPDATE")?),
        None => None,
    };
    if !rows.is_empty() {
        session.write_rows(job.context.snapshot.clone(), pending).await?;
    }
    Ok(outcome.unwrap_or_else(|| Outcome::Done { tag: format!("UPDATE {}", rows.len()) }))
}

pub(super) fn table_of(context: &PlanContext, name: &str) -> QueryResult<Arc<TableDef>> {
    let relations = context.relations()?;
    relations.find(name).cloned().ok_or_else(|| QueryError::no_table(name))
}

/// The one row of a plain `UPDATE … WHERE key = value`, without a plan.
fn quick(
    context: &PlanContext,
    def: &Arc<TableDef>,
    update: &ast::Update,
    called: &str,
    params: &[ScalarValue],
) -> QueryResult<Option<Vec<Found>>> {
    let Some(selection) = &update.selection else { return Ok(None) };
    if !syntax::from(update).is_empty()
        || !context.settings.is_on("millrace.use_native")
        || !context.reads_plainly(Object::Relational(def.number), &def.name)
    {
        return Ok(None);
    }
    let Some(key) = point::point(def, called, selection, params) else { return Ok(None) };
    let sets = sets(def, update)?;
    let exprs: Vec<Expr> = sets.iter().filter_map(|(_, value)| value.cloned()).collect();
    if exprs.iter().any(|expr| expr::refuse_subqueries(expr, "SET").is_err()) {
        return Ok(None);
    }
    let table = Table::new(def)?;
    let writer = Writer::new(context, context.rows_view())?;
    let Some(row) = writer.get(&table, &key)? else { return Ok(Some(Vec::new())) };
    let batch = arrays::batch(def, context.settings.zone(), std::iter::once(&row))?;
    let names = expr::Names::of(called, &batch.schema())?;
    let arrays = expr::bind(context, &exprs, &names, params)?.run(&batch)?;
    let values = values(context, def, &sets, &arrays, 1)?;
    let values = values.into_iter().filter_map(|column| column.into_iter().next()).collect();
    Ok(Some(vec![(key, values)]))
}

/// Values of the columns that are set, column by column.
fn values(
    context: &PlanContext,
    def: &TableDef,
    sets: &[(usize, Option<&Expr>)],
    arrays: &[ArrayRef],
    count: usize,
) -> QueryResult<Vec<Vec<Datum>>> {
    let mut arrays = arrays.iter();
    let one = |(place, value): &(usize, Option<&Expr>)| {
        let column = &def.columns[*place];
        match value {
            None => defaults(context, column, count),
            Some(_) => {
                let array = arrays.next().ok_or_else(|| QueryError::internal("a SET"))?;
                arrays::assign(array, (&column.name, column.kind), context.settings.zone())
            }
        }
    };
    sets.iter().map(one).collect()
}

/// The rows that a plan has found, each once.
async fn collect(
    session: &Session,
    context: &PlanContext,
    def: &TableDef,
    update: &ast::Update,
    change: Change,
) -> QueryResult<Vec<Found>> {
    let Change::Rows(mut stream) = change else {
        return Err(QueryError::internal("an UPDATE without values"));
    };
    let sets = sets(def, update)?;
    let (mut out, mut seen, mut bytes) = (Vec::new(), HashSet::new(), 0);
    while let Some(batch) = stream.next().await {
        let batch: RecordBatch = batch?;
        session.stop().check()?;
        let mut columns = batch.columns().iter();
        let keys = columns.next().ok_or_else(|| QueryError::internal("rows without keys"))?;
        let keys = keys.as_binary::<i32>();
        // DEFAULT is selected as NULL, so that there is a column for each.
        let arrays: Vec<ArrayRef> = columns
            .zip(&sets)
            .filter(|(_, (_, value))| value.is_some())
            .map(|(array, _)| array.clone())
            .collect();
        let mut values = values(context, def, &sets, &arrays, batch.num_rows())?;
        for row in 0..batch.num_rows() {
            let key = keys.value(row);
            if !seen.insert(key.to_vec()) {
                continue;
            }
            let row: Vec<Datum> = values
                .iter_mut()
                .map(|column| std::mem::replace(&mut column[row], Datum::Null))
                .collect();
            bytes += key.len() * 2 + row.iter().map(Datum::bytes).sum::<usize>();
            out.push((key.to_vec(), row));
        }
        if bytes > BYTES_MAX {
            return Err(too_large());
        }
        if out.len() > ROWS_MAX {
            return Err(too_many());
        }
    }
    Ok(out)
}

struct Job {
    context: PlanContext,
    def: Arc<TableDef>,
    places: Vec<usize>,
    found: Vec<Found>,
}

impl Job {
    /// The rows as they are now.
    fn run(&self) -> QueryResult<(Vec<Row>, Pending)> {
        let table = Table::new(&self.def)?;
        let mut writer = Writer::new(&self.context, self.context.rows_view())?;
        let mut changes = Vec::with_capacity(self.found.len());
        let mut bytes = 0;
        for (key, values) in &self.found {
            let gone = || QueryError::internal("a row that was found is gone");
            let before = writer.get(&table, key)?.ok_or_else(gone)?;
            let mut after = before.clone();
            for (place, value) in self.places.iter().zip(values) {
                after[*place] = value.clone();
            }
            bytes += memory(&after);
            if bytes > MEMORY_MAX {
                return Err(too_large());
            }
            changes.push((key.clone(), before, after));
        }
        let rows: Vec<Row> = changes.iter().map(|(_, _, after)| after.clone()).collect();
        let refs: Vec<&Row> = rows.iter().collect();
        writer.check(&self.def, &refs)?;
        writer.update(&table, changes)?;
        Ok((rows, writer.finish()?.pending))
    }
}
