//! WITH CHECK: rows on their way into a table are put before its policies as a table of their own.
//!
//! How many of them `SELECT … WHERE (policies)` gives is how many may be written, so a condition
//! means the same here as where rows are read. It is asked of roles that policies hold for and that
//! have no WRITE.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::datatypes::Schema;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{LogicalPlanBuilder, lit};
use datafusion::physical_plan::execute_stream;
use futures::StreamExt;
use tsdb::Command;
use tsdb::types::{Key, SeriesRef, TableSchema, WriteBatch};

use super::policy::{NEW, columns_of};
use super::security::{Asked, For};
use super::{Known, Object, Rights, Role, plan};
use crate::error::{QueryError, QueryResult};
use crate::plan::PlanContext;
use crate::session::Session;
use crate::table::arrays::{key_values, time_column};
use crate::table::{Extra, SeriesTable, Source};

/// The rights and the role, where policies decide which rows a session may write.
fn asked(session: &Session, object: Object) -> QueryResult<Option<(Arc<Rights>, Role)>> {
    let (engine, identity) = (session.engine(), session.identity());
    if !engine.rights().policed() || identity.superuser || identity.can_write {
        return Ok(None);
    }
    let (rights, role) = (engine.rights().now(engine)?, Role::from(identity));
    Ok(rights.is_secured(&role, object).then_some((rights, role)))
}

/// `0A000` for what is not done to tables whose policies hold.
pub(crate) fn refuse_secured(session: &Session, object: Object, what: &str) -> QueryResult<()> {
    match asked(session, object)? {
        None => Ok(()),
        Some(_) => Err(QueryError::unsupported(format!(
            "{what} where policies of the table hold for the role"
        ))),
    }
}

/// What is asked of the rows that a command writes. Those that it returns, or has found, must be
/// seen, too.
fn questions(command: For, returned: bool) -> Vec<Asked> {
    let mut out = vec![Asked::Written(command)];
    if returned || command == For::Update {
        out.push(Asked::Seen(For::Select));
    }
    out
}

/// `42501` in Postgres' words.
pub(super) fn violates(table: &str) -> QueryError {
    let message = format!("new row violates row-level security policy for table \"{table}\"");
    QueryError::new("42501", message)
}

/// `42501` unless the policies of a table let its session write all of these rows.
pub(crate) async fn check_written(
    session: &Session,
    (command, returned): (For, bool),
    known: impl FnOnce() -> Known,
    object: Object,
    rows: impl FnOnce() -> QueryResult<RecordBatch>,
) -> QueryResult<()> {
    let Some((rights, role)) = asked(session, object)? else { return Ok(()) };
    let (known, rows, questions) = (known(), rows()?, questions(command, returned));
    let count = rows.num_rows();
    if count == 0 {
        return Ok(());
    }
    let name = known.name.clone();
    let context = session.context("");
    let asking = async move { context.passing(&known, &rights, &role, &questions, rows).await };
    match session.stop().guard(session.on_workers(asking)).await? {
        passing if passing == count => Ok(()),
        _ => Err(violates(&name)),
    }
}

/// As [`check_written`], for rows of a time-series table. A row that is there already merges with
/// one that is written, so policies must be about what tells rows apart: then they say the same of
/// both.
pub(crate) async fn check_series(
    session: &Session,
    table: &Arc<TableSchema>,
    returned: bool,
    commands: &[Command],
) -> QueryResult<()> {
    let object = Object::Table(table.id);
    let Some((rights, role)) = asked(session, object)? else { return Ok(()) };
    let is = |of: u32| rights.is(&role, of);
    if let Some(security) = rights.security(object) {
        let clause = security.clause(&is, &questions(For::Insert, returned));
        refuse_fields(table, &clause.parts)?;
    }
    for command in commands {
        let Command::Write(batch) = command else { continue };
        let zone = session.settings().zone().to_string();
        let known = || Known::of_table(table);
        let rows = || identities(table, batch, &zone);
        check_written(session, (For::Insert, returned), known, object, rows).await?;
    }
    Ok(())
}

/// `42501` where an expression names a field of a time-series table.
pub(super) fn refuse_fields(table: &TableSchema, parts: &[&str]) -> QueryResult<()> {
    for part in parts {
        let used = columns_of(part)?;
        if let Some(field) = table.fields().find(|field| used.contains(&field.name)) {
            let detail = format!("Column \"{}\" is part of a policy.", field.name);
            return Err(violates(&table.name).with_detail(detail).with_hint(
                "Rows of a time-series table may be written where its policies use the key and \
                 the time alone; others take the attribute WRITE, or the table's owner.",
            ));
        }
    }
    Ok(())
}

/// The columns of a table that tell rows apart, as policies see them.
fn identities(table: &TableSchema, batch: &WriteBatch, zone: &str) -> QueryResult<RecordBatch> {
    let whole = SeriesTable::new(Arc::new(table.clone()), zone, Extra::default());
    let keys = batch.series.iter().map(|series| match series {
        SeriesRef::Key(key) => Ok(key),
        SeriesRef::Known(_) => Err(QueryError::internal("rows without their keys")),
    });
    let keys: Vec<&Key> = keys.collect::<QueryResult<_>>()?;
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, source) in whole.schema.fields().iter().zip(whole.sources.iter()) {
        columns.push(match source {
            Source::Time => time_column(batch.times.clone(), zone),
            Source::Key(column, kind) => {
                let values: Vec<&[u8]> = keys.iter().filter_map(|key| key.get(*column)).collect();
                // A key without a value has the NULL behind all values.
                let (mut next, none) = (0u32, u32::try_from(values.len()).unwrap_or(u32::MAX));
                let place = |key: &&Key| match key.get(*column) {
                    Some(_) => {
                        next += 1;
                        next - 1
                    }
                    None => none,
                };
                let places: Vec<u32> = keys.iter().map(place).collect();
                let of_row = |row: &u32| {
                    let place = places.get(usize::try_from(*row).unwrap_or(usize::MAX));
                    place.copied().ok_or_else(|| QueryError::internal("a row without its key"))
                };
                let rows = batch.key_of_row.iter().map(of_row);
                let rows = UInt32Array::from(rows.collect::<QueryResult<Vec<u32>>>()?);
                let owned: Vec<Vec<u8>> = values.into_iter().map(<[u8]>::to_vec).collect();
                arrow::compute::take(&key_values(*kind, &owned, zone, true)?, &rows, None)?
            }
            _ => continue,
        });
        fields.push(field.clone());
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.times.len()));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
}

impl PlanContext {
    /// How many of these rows the policies let pass.
    async fn passing(
        mut self,
        known: &Known,
        rights: &Rights,
        role: &Role,
        questions: &[Asked],
        rows: RecordBatch,
    ) -> QueryResult<usize> {
        let Some(security) = rights.security(known.object) else { return Ok(rows.num_rows()) };
        let is = |of: u32| rights.is(role, of);
        let clause = security.clause(&is, questions);
        self.new_rows = Some(Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]])?));
        let bound = self.bind_under(known.object, NEW, &known.name, &clause.text)?;
        self.check_reads(known.object, &known.name, &bound, &clause.reads)?;
        plan::check_as_owner(&self, &bound, known.object)?;
        self.refuse_own_writes(&bound)?;
        let one = LogicalPlanBuilder::from(bound).project(vec![lit(1i64)])?.build()?;
        let optimized = self.optimize(one, &[])?;
        let physical = self.physical(&optimized).await?;
        let mut stream = execute_stream(physical, self.task())?;
        let mut count = 0;
        while let Some(batch) = stream.next().await {
            count += batch?.num_rows();
        }
        Ok(count)
    }
}
