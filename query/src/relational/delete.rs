//! DELETE from relational tables, and what statements that change their rows are described as.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast;
use futures::StreamExt;

use super::def::TableDef;
use super::insert::{INLINE_ROWS_MAX, too_many};
use super::point;
use super::returning::Returning;
use super::update::{sets, table_of};
use super::view::Pending;
use super::writer::{ROWS_MAX, Row, Table, Writer};
use crate::change::{By, syntax};
use crate::error::{QueryError, QueryResult};
use crate::insert::{placeholder, table_name};
use crate::names::{Names, folded};
use crate::plan::PlanContext;
use crate::rights::{self, Known, Object, acl::Mode};
use crate::session::{Change, Session, Tree};
use crate::statement::{Kind, Statement};
use crate::{Description, Outcome};

/// Parameters and columns of an UPDATE or DELETE, if it is of a relational table.
pub(crate) async fn describe_change(
    session: &Session,
    statement: &Statement,
    given: &[Option<DataType>],
) -> QueryResult<Option<Description>> {
    let (target, list) = match statement.kind() {
        Kind::Update(update) => (&update.table, &update.returning),
        Kind::Delete(delete) => (syntax::delete_target(delete)?, &delete.returning),
        _ => return Ok(None),
    };
    let name = table_name(syntax::plain_table(target)?.0)?;
    let context = session.context(statement.text());
    let Some(def) = context.relations()?.find(&name).cloned() else { return Ok(None) };
    let mut types = given.to_vec();
    if let Kind::Update(update) = statement.kind() {
        for (place, value) in sets(&def, update)? {
            if let Some(number) = value.and_then(placeholder) {
                if types.len() < number {
                    types.resize(number, None);
                }
                let kind = def.columns[place].kind;
                types[number - 1].get_or_insert_with(|| kind.arrow(context.settings.zone()));
            }
        }
    }
    let called = folded(&syntax::called(target)?);
    let fields = match Returning::new(&def, &called, list.as_deref())? {
        Some(returning) => Some(returning.schema(&context, &def, &types)?),
        None => None,
    };
    let tree = Tree::of_change(statement, By::Key);
    let described = session.describe_query(tree, Names::default(), &types).await?;
    Ok(Some(Description { fields, ..described }))
}

/// Runs DELETE.
pub(crate) async fn delete(
    session: &Session,
    statement: &Statement,
    delete: &ast::Delete,
    name: &str,
    params: &[ScalarValue],
) -> QueryResult<Outcome> {
    super::settled(session, name, || once(session, statement, delete, name, params)).await
}

async fn once(
    session: &Session,
    statement: &Statement,
    delete: &ast::Delete,
    name: &str,
    params: &[ScalarValue],
) -> QueryResult<Outcome> {
    let context = session.context(statement.text());
    let def = table_of(&context, name)?;
    super::check_rights(session, &def, "DELETE", Mode::DELETE, &[])?;
    let returning = delete.returning.as_deref();
    rights::check_returned(session, returning, || Known::of_relation(&def))?;
    let called = folded(&syntax::called(syntax::delete_target(delete)?)?);
    let quick = match &delete.selection {
        Some(selection)
            if syntax::using(delete).is_empty()
                && context.reads_plainly(Object::Relational(def.number), &def.name)
                && context.settings.is_on("millrace.use_native") =>
        {
            point::point(&def, &called, selection, params)
        }
        _ => None,
    };
    let (context, keys) = match quick {
        Some(key) => (context, vec![key]),
        None => {
            let tree = Tree::of_change(statement, By::Key);
            let (snapshot, change) = session.find_rows(tree, params).await?;
            (context.at(snapshot), collect(session, change).await?)
        }
    };
    let def = table_of(&context, name)?;
    let returning = Returning::new(&def, &called, delete.returning.as_deref())?;
    let job = Job { context, def, keys };
    let (job, rows, pending) = if job.keys.len() <= INLINE_ROWS_MAX {
        let (rows, pending) = job.run()?;
        (job, rows, pending)
    } else {
        let work = async move {
            let (rows, pending) = job.run()?;
            Ok((job, rows, pending))
        };
        session.on_workers(work).await?
    };
    let outcome = match &returning {
        Some(of) => Some(of.outcome(&job.context, &job.def, &rows, params, "DELETE")?),
        None => None,
    };
    if !rows.is_empty() {
        session.write_rows(job.context.snapshot.clone(), pending).await?;
    }
    Ok(outcome.unwrap_or_else(|| Outcome::Done { tag: format!("DELETE {}", rows.len()) }))
}

/// The keys that a plan has found, each once.
async fn collect(session: &Session, change: Change) -> QueryResult<Vec<Vec<u8>>> {
    let Change::Rows(mut stream) = change else {
        return Err(QueryError::internal("a DELETE of ranges in a relational table"));
    };
    let (mut out, mut seen) = (Vec::new(), HashSet::new());
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        session.stop().check()?;
        let keys = batch.columns().first().ok_or_else(|| QueryError::internal("no keys"))?;
        for key in keys.as_binary::<i32>().iter().flatten() {
            if seen.insert(key.to_vec()) {
                out.push(key.to_vec());
            }
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
    keys: Vec<Vec<u8>>,
}

impl Job {
    /// The rows as they were.
    fn run(&self) -> QueryResult<(Vec<Row>, Pending)> {
        let table = Table::new(&self.def)?;
        let mut writer = Writer::new(&self.context, self.context.rows_view())?;
        let mut rows = Vec::with_capacity(self.keys.len());
        for key in &self.keys {
            if let Some(row) = writer.get(&table, key)? {
                writer.delete(&table, key)?;
                rows.push(row);
            }
        }
        Ok((rows, writer.finish()?.pending))
    }
}
