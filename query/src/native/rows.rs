//! Rows of one table as they are: `SELECT columns FROM table WHERE … [ORDER BY time] [LIMIT n]`.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{SortOptions, concat_batches, sort_to_indices, take_record_batch};
use arrow::datatypes::SchemaRef;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use tsdb::types::TimeRange;
use tsdb::{ScanRequest, Table};

use super::size;
use super::syntax::Scope;
use super::where_clause::Selection;
use crate::error::{QueryError, QueryResult};
use crate::plan::PlanContext;
use crate::plan::origins::{self, Origin};
use crate::table::{BATCH_ROWS, SeriesScanExec, SeriesTable, Source};

/// Rows of an ordered answer that are gathered here; more are left to the operators that spill.
const ORDERED_ROWS_MAX: usize = 10_000;

/// Rows held at most while the first ones are looked for.
const HELD_ROWS_MAX: usize = 10 * ORDERED_ROWS_MAX;

/// Rows by time alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeOrder {
    /// Ascending.
    OldestFirst,
    /// Descending.
    NewestFirst,
}

/// A selection of rows, recognised.
pub(crate) struct NativeRows {
    provider: SeriesTable,
    table: Table,
    selection: Selection,
    projection: Vec<usize>,
    order: Option<TimeOrder>,
    limit: Option<usize>,
    pub(crate) schema: SchemaRef,
    task: Arc<TaskContext>,
}

impl NativeRows {
    /// The selection, where it can be given without sorting more than a few rows.
    pub(super) fn new(
        scope: &Scope<'_>,
        selection: Selection,
        projection: Vec<usize>,
        order: Option<TimeOrder>,
        limit: Option<usize>,
        offset: usize,
        context: &PlanContext,
    ) -> Option<NativeRows> {
        let sorts = order.is_some();
        if offset > 0 || projection.is_empty() || (sorts && limit? > ORDERED_ROWS_MAX) {
            return None;
        }
        // Rows are sorted by a column of the answer.
        if sorts && !projection.iter().any(|at| scope.provider.sources[*at] == Source::Time) {
            return None;
        }
        let schema = Arc::new(scope.provider.schema.project(&projection).ok()?);
        Some(NativeRows {
            provider: scope.provider.clone(),
            table: scope.table.clone(),
            selection,
            projection,
            order,
            limit,
            schema,
            task: context.task(),
        })
    }

    /// What the columns of the answer are.
    pub(super) fn origins(&self) -> Vec<Option<Origin>> {
        let origin = |at: &usize| origins::of_source(&self.provider, self.provider.sources[*at]);
        self.projection.iter().map(origin).collect()
    }

    /// What operators see while they run.
    pub(crate) fn task(&self) -> Arc<TaskContext> {
        self.task.clone()
    }

    /// Whether the answer is there before another thread would have taken over.
    pub(crate) fn is_small(&self) -> bool {
        let (series, times) = (self.selection.series.as_ref(), &self.selection.times);
        size::is_small(&self.table, series, times, self.projection.len())
    }

    /// Whether the answer is there soon.
    pub(crate) fn is_short(&self) -> bool {
        let (series, times) = (self.selection.series.as_ref(), &self.selection.times);
        let columns = self.projection.len();
        self.limit.is_some() || size::is_short(&self.table, series, times, columns)
    }

    /// The selection in one line.
    pub(crate) fn described(&self) -> String {
        let columns: Vec<&str> = self.schema.fields().iter().map(|f| f.name().as_str()).collect();
        let limit = self.limit.map_or(String::new(), |limit| format!(", fetch={limit}"));
        let (table, columns) = (&self.table.schema().name, columns.join(", "));
        format!("TopRows: table={table}, columns=[{columns}]{limit}")
    }

    fn scan(&self, times: TimeRange, streams: usize) -> QueryResult<SeriesScanExec> {
        let request = ScanRequest {
            series: self.selection.series.clone(),
            times,
            columns: self.provider.fields(&self.projection),
            bounds: Vec::new(),
            filters: self.selection.filters.clone(),
            streams,
            batch_rows: BATCH_ROWS,
        };
        let limit = if self.order.is_some() { None } else { self.limit };
        let (table, projection) = (self.table.clone(), self.projection.clone());
        Ok(SeriesScanExec::new(&self.provider, table, request, projection, limit)?)
    }

    /// Reads all on this thread.
    pub(crate) fn read_at_once(&self) -> QueryResult<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        self.scan(self.selection.times, 1)?.read_at_once(|batch| {
            batches.push(batch);
            Ok(())
        })?;
        match (self.order, self.limit) {
            (Some(order), Some(limit)) => Ok(vec![self.first(&batches, order, limit)?]),
            _ => Ok(batches),
        }
    }

    /// The first rows of batches in the order wanted.
    fn first(
        &self,
        batches: &[RecordBatch],
        order: TimeOrder,
        limit: usize,
    ) -> QueryResult<RecordBatch> {
        let all = concat_batches(&self.schema, batches)?;
        let time = self.projection.iter().position(|at| self.provider.sources[*at] == Source::Time);
        let time = time.ok_or_else(|| QueryError::internal("an order by time without it"))?;
        let descending = order == TimeOrder::NewestFirst;
        let options = SortOptions { descending, nulls_first: false };
        let picks = sort_to_indices(all.column(time), Some(options), Some(limit))?;
        Ok(take_record_batch(&all, &picks)?)
    }

    /// The operator that gives the rows as a stream.
    pub(crate) fn plan(&self, streams: usize) -> QueryResult<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(self.scan(self.selection.times, streams)?))
    }

    /// Reads spans from the wanted end of time, each longer than the one before, until there are
    /// rows enough; `check` is asked at each batch whether to go on. Blocks.
    pub(crate) fn read_top(
        &self,
        order: TimeOrder,
        limit: usize,
        check: impl Fn() -> QueryResult<()>,
    ) -> QueryResult<RecordBatch> {
        let stats = self.table.stats();
        let mut left = self.selection.times.intersect(&stats.times);
        let span = (stats.times.max as f64 - stats.times.min as f64).max(1.0);
        // As if every row counted: filters make it grow.
        let mut length = (span * limit as f64 / (stats.rows as f64).max(1.0) * 2.0).max(1e9);
        let (mut batches, mut rows, mut held) = (Vec::new(), 0, 0);
        while !left.is_empty() && rows < limit {
            let step = length.min(9e18) as i64;
            let cut = match order {
                TimeOrder::NewestFirst => {
                    TimeRange::new(left.min.max(left.max.saturating_sub(step)), left.max)
                }
                TimeOrder::OldestFirst => {
                    TimeRange::new(left.min, left.max.min(left.min.saturating_add(step)))
                }
            };
            self.scan(cut, 1)?.read_at_once(|batch| {
                check().map_err(QueryError::into_datafusion)?;
                rows += batch.num_rows();
                held += batch.num_rows();
                batches.push(batch);
                // A span may hold far more rows than are wanted.
                if held > HELD_ROWS_MAX {
                    let first = self.first(&batches, order, limit);
                    batches = vec![first.map_err(QueryError::into_datafusion)?];
                    held = batches[0].num_rows();
                }
                Ok(())
            })?;
            left = match order {
                TimeOrder::NewestFirst if cut.min > left.min => {
                    TimeRange::new(left.min, cut.min - 1)
                }
                TimeOrder::OldestFirst if cut.max < left.max => {
                    TimeRange::new(cut.max + 1, left.max)
                }
                _ => TimeRange::EMPTY,
            };
            length *= 8.0;
        }
        self.first(&batches, order, limit)
    }

    /// Order and limit, where rows are wanted by time.
    pub(crate) fn top(&self) -> Option<(TimeOrder, usize)> {
        Some((self.order?, self.limit?))
    }
}
