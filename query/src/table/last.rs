//! `SELECT DISTINCT ON (keys) … ORDER BY keys, time DESC` from the last-value cache.
//!
//! The newest row of each group of series is the newest of their newest rows, so nothing is
//! scanned. It holds where no filter looks at fields and none cuts the newest times away; a lower
//! bound of time is fine, since a newest row below it leaves no other row above it.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::expr::Sort as SortExpr;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    Distinct, DistinctOn, Expr, LogicalPlan, LogicalPlanBuilder, TableScan, TableType,
};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use tsdb::Table;
use tsdb::series::Bitmap;
use tsdb::types::{ColumnId, Rows, SeriesRows, TableId, TimeRange};

use super::arrays::BatchBuilder;
use super::predicate::{self, Meaning};
use super::{BATCH_ROWS, SeriesTable, Source, context, in_snapshot};
use crate::error::{QueryError, QueryResult};
use crate::plan::PlanContext;

/// Puts the last-value cache where a plan asks for newest rows.
pub(crate) fn rewrite(plan: LogicalPlan, context: &PlanContext) -> QueryResult<LogicalPlan> {
    Ok(plan
        .transform_down_with_subqueries(|node| match &node {
            LogicalPlan::Distinct(Distinct::On(distinct)) => match newest(distinct, context)? {
                Some(plan) => Ok(Transformed::new(plan, true, TreeNodeRecursion::Jump)),
                None => Ok(Transformed::no(node)),
            },
            _ => Ok(Transformed::no(node)),
        })?
        .data)
}

/// The scan below filters and an alias: (filters, alias, scan).
pub(crate) fn leaf(plan: &LogicalPlan) -> Option<(Vec<Expr>, Option<String>, &TableScan)> {
    let mut filters = Vec::new();
    let mut alias = None;
    let mut node = plan;
    loop {
        node = match node {
            LogicalPlan::Filter(filter) => {
                filters.extend(split_conjunction(&filter.predicate).into_iter().cloned());
                &filter.input
            }
            LogicalPlan::SubqueryAlias(inner) if alias.is_none() => {
                alias = Some(inner.alias.table().to_string());
                &inner.input
            }
            LogicalPlan::TableScan(scan) if scan.filters.is_empty() && scan.fetch.is_none() => {
                return Some((filters, alias, scan));
            }
            _ => return None,
        };
    }
}

/// A column by its name where the expression is nothing but one.
fn column_name(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Column(column) => Some(&column.name),
        _ => None,
    }
}

/// The plan that answers from the cache, where that is the same.
fn newest(distinct: &DistinctOn, context: &PlanContext) -> Result<Option<LogicalPlan>> {
    let Some((filters, alias, scan)) = leaf(&distinct.input) else { return Ok(None) };
    let provider = source_as_provider(&scan.source)?;
    let Some(table) = provider.downcast_ref::<SeriesTable>() else { return Ok(None) };
    if scan.projection.is_some() {
        return Ok(None);
    }
    let mut on = Vec::new();
    for expr in &distinct.on_expr {
        match column_name(expr).and_then(|name| table.source(name)) {
            Some(Source::Key(id, _)) => on.push(id),
            _ => return Ok(None),
        }
    }
    let Some(order) = &distinct.sort_expr else { return Ok(None) };
    if !newest_first(order, table, &on) {
        return Ok(None);
    }
    let mut keys = Vec::new();
    let mut since = TimeRange::ALL;
    for filter in filters {
        // The optimiser has not run yet: a time is still a cast of its text.
        let filter = context.simplify(filter, distinct.input.schema())?;
        match predicate::analyze(&filter, table) {
            Meaning::Keys(_) => keys.push(filter),
            Meaning::Times(range) if range.max == i64::MAX => since = since.intersect(&range),
            _ => return Ok(None),
        }
    }
    let newest = NewestRows { table: table.clone(), on, keys, since };
    let source = provider_as_source(Arc::new(newest));
    let mut plan = LogicalPlanBuilder::scan(scan.table_name.clone(), source, None)?;
    if let Some(alias) = alias {
        plan = plan.alias(alias)?;
    }
    // Only the order of the keys is left to do: each group has one row.
    let order: Vec<SortExpr> = order[..distinct.on_expr.len()].to_vec();
    let plan = plan.sort(order)?.project(distinct.select_expr.clone())?.build()?;
    named_as(plan, &distinct.schema)
}

/// The plan with the names of another schema; `None` if it has other columns.
pub(crate) fn named_as(plan: LogicalPlan, schema: &DFSchema) -> Result<Option<LogicalPlan>> {
    let same = plan.schema().fields().len() == schema.fields().len()
        && plan
            .schema()
            .iter()
            .zip(schema.iter())
            .all(|((q, f), (p, g))| q == p && f.name() == g.name());
    if same {
        return Ok(Some(plan));
    }
    let renamed: Vec<Expr> = plan
        .schema()
        .iter()
        .zip(schema.iter())
        .map(|(new, (qualifier, field))| {
            Expr::Column(Column::from(new)).alias_qualified(qualifier.cloned(), field.name())
        })
        .collect();
    if renamed.len() != schema.fields().len() {
        return Ok(None);
    }
    Ok(Some(LogicalPlanBuilder::from(plan).project(renamed)?.build()?))
}

/// Whether the order is the keys, in any order and direction, then the newest first.
fn newest_first(order: &[SortExpr], table: &SeriesTable, on: &[ColumnId]) -> bool {
    let Some((last, keys)) = order.split_last() else { return false };
    let source = |sort: &SortExpr| column_name(&sort.expr).and_then(|name| table.source(name));
    if last.asc || source(last) != Some(Source::Time) || keys.len() != on.len() {
        return false;
    }
    let mut seen = Vec::new();
    for sort in keys {
        match source(sort) {
            Some(Source::Key(id, _)) if on.contains(&id) && !seen.contains(&id) => seen.push(id),
            _ => return false,
        }
    }
    true
}

/// A table of the newest rows of another.
#[derive(Debug)]
pub(super) struct NewestRows {
    table: SeriesTable,
    on: Vec<ColumnId>,
    keys: Vec<Expr>,
    since: TimeRange,
}

impl NewestRows {
    pub(super) fn table_id(&self) -> TableId {
        self.table.table.id
    }
}

#[async_trait]
impl TableProvider for NewestRows {
    fn schema(&self) -> SchemaRef {
        self.table.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let table = in_snapshot(&context(state)?.snapshot, &self.table.table)?;
        let selection = predicate::select(&self.keys, &self.table, &table, state)?;
        let series = match selection.series {
            Some(series) => series,
            None => table.series().all(table.series_count()),
        };
        let all = || (0..self.table.schema.fields().len()).collect();
        let projection: Vec<usize> = projection.cloned().unwrap_or_else(all);
        let schema = Arc::new(self.table.schema.project(&projection)?);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let (provider, on, since) = (self.table.clone(), self.on.clone(), self.since);
        let last = LastRows { provider, table, series, on, since, projection, schema };
        Ok(Arc::new(LastRowsExec { last, properties: Arc::new(properties) }))
    }
}

/// A reading of the last-value cache.
#[derive(Clone)]
pub(crate) struct LastRows {
    pub(crate) provider: SeriesTable,
    pub(crate) table: Table,
    pub(crate) series: Bitmap,
    /// Keys of which each group has its newest row.
    pub(crate) on: Vec<ColumnId>,
    /// Groups whose newest row is not in here have none.
    pub(crate) since: TimeRange,
    /// Columns wanted, among those of the table.
    pub(crate) projection: Vec<usize>,
    pub(crate) schema: SchemaRef,
}

impl LastRows {
    /// Newest row of each group, as rows of ascending series.
    fn rows(&self) -> tsdb::Result<Rows> {
        let columns = self.provider.fields(&self.projection);
        let times = self.table.last_rows(&self.series, &[])?;
        let groups = self.table.series().groups(&self.on, &self.series);
        let mut best: Vec<Option<(i64, u32)>> = vec![None; groups.count as usize];
        let mut members = self.series.iter().zip(&groups.of);
        for run in &times.series {
            // Both ascend, so the group of a row is found by walking along.
            let Some((_, group)) = members.find(|(series, _)| *series == run.series) else { break };
            let Some(time) = times.times.get(run.start as usize) else { break };
            let Some(slot) = best.get_mut(*group as usize) else { break };
            if slot.is_none_or(|(newest, _)| *time > newest) {
                *slot = Some((*time, run.series));
            }
        }
        let winners: Bitmap = best
            .into_iter()
            .flatten()
            .filter(|(time, _)| self.since.contains(*time))
            .map(|(_, series)| series)
            .collect();
        self.table.last_rows(&winners, &columns)
    }

    /// The rows in batches, by ascending series.
    pub(crate) fn read(
        &self,
    ) -> QueryResult<impl Iterator<Item = Result<RecordBatch>> + Send + use<>> {
        let rows = self.rows()?;
        let builder = BatchBuilder::new(&self.provider, &self.projection, self.schema.clone());
        let index = self.table.series().clone();
        let starts: Vec<usize> = (0..rows.len()).step_by(BATCH_ROWS).collect();
        Ok(starts.into_iter().map(move |from| {
            let to = (from + BATCH_ROWS).min(rows.len());
            builder.build(part(&rows, from, to).into(), &index)
        }))
    }
}

/// Reads the last-value cache.
struct LastRowsExec {
    last: LastRows,
    properties: Arc<PlanProperties>,
}

/// A part of rows that each belong to a series of their own.
fn part(rows: &Rows, from: usize, to: usize) -> Rows {
    let picks: Vec<u32> = (from as u32..to as u32).collect();
    let runs = rows.series[from..to].iter().enumerate();
    Rows {
        series: runs
            .map(|(i, run)| SeriesRows { series: run.series, start: i as u32, rows: 1 })
            .collect(),
        times: rows.times[from..to].to_vec(),
        columns: rows.columns.iter().map(|(id, c)| (*id, c.gather(&picks))).collect(),
    }
}

impl fmt::Debug for LastRowsExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Verbose, f)
    }
}

impl DisplayAs for LastRowsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = &self.last;
        let names: Vec<&str> = last.schema.fields().iter().map(|c| c.name().as_str()).collect();
        write!(
            f,
            "LastRows: table={}, series={} of {}, groups by {} keys, columns=[{}]",
            last.provider.table.name,
            last.series.cardinality(),
            last.table.series_count(),
            last.on.len(),
            names.join(", ")
        )
    }
}

impl ExecutionPlan for LastRowsExec {
    fn name(&self) -> &'static str {
        "LastRows"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    crate::table::leaf!();

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let batches = self.last.read().map_err(QueryError::into_datafusion)?;
        let batches = futures::stream::iter(batches);
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.last.schema.clone(), batches)))
    }
}
