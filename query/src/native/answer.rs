//! Running a recognised statement.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, SchemaRef};
use datafusion::execution::memory_pool::MemoryPool;
use parking_lot::Mutex;
use tsdb::scan::aggregate::{AggregateRequest, AggregateStream, Aggregates};
use tsdb::series::Bitmap;
use tsdb::types::{TimeRange, ValueRef};
use tsdb::{Comparison, ScanStats, Table};

use super::order::{Order, sorted};
use super::spec::{AggregateSpec, GroupBy, Keys};
use super::{run, size};
use crate::error::{QueryError, QueryResult};

/// A condition of HAVING: a measure against a number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Having {
    /// Place among groups and measures.
    pub(crate) column: usize,
    pub(crate) comparison: Comparison,
    pub(crate) number: f64,
}

/// `SELECT … FROM table WHERE … GROUP BY … ORDER BY … LIMIT …`, recognised.
#[derive(Debug)]
pub(crate) struct NativeAggregate {
    pub(crate) spec: AggregateSpec,
    pub(crate) table: Table,
    pub(crate) series: Option<Bitmap>,
    /// The columns of the result, among groups and measures.
    pub(crate) output: Vec<usize>,
    pub(crate) order: Vec<Order>,
    /// Conditions that all must hold.
    pub(crate) having: Vec<Having>,
    pub(crate) limit: Option<usize>,
    pub(crate) offset: usize,
    pub(crate) schema: SchemaRef,
    /// What each reading read, for EXPLAIN ANALYZE.
    pub(crate) told: Mutex<Vec<Arc<ScanStats>>>,
}

impl NativeAggregate {
    /// Whether the answer is there before another thread would have taken over.
    pub(crate) fn is_small(&self) -> bool {
        let (series, times) = (self.series.as_ref(), &self.spec.times);
        self.top_rows().is_none() && size::is_small(&self.table, series, times, self.columns())
    }

    /// Whether the answer is there soon.
    pub(crate) fn is_short(&self) -> bool {
        let (series, times) = (self.series.as_ref(), &self.spec.times);
        self.top_rows().is_some() || size::is_short(&self.table, series, times, self.columns())
    }

    /// Rows that it reads, about.
    pub(crate) fn rows_about(&self) -> u64 {
        size::rows(&self.table, self.series.as_ref(), &self.spec.times) as u64
    }

    fn columns(&self) -> usize {
        (self.spec.measures.len() + self.spec.filters.len()).max(1)
    }

    /// Whether reading may stop early, at an end of time.
    pub(crate) fn reads_top(&self) -> bool {
        self.top_rows().is_some()
    }

    /// Rows wanted of an answer in order of time, where reading may stop early.
    fn top_rows(&self) -> Option<usize> {
        if !self.having.is_empty() {
            return None;
        }
        let first = self.order.first()?;
        let bucket = matches!(self.spec.groups.get(first.column), Some(GroupBy::Bucket(_)));
        // Several buckets are ordered by the first alone only if it is the finest.
        let one = self.spec.groups.iter().filter(|g| matches!(g, GroupBy::Bucket(_))).count() == 1;
        (bucket && one).then_some(self.limit?.saturating_add(self.offset))
    }

    /// What is asked of the engine, in so many streams, and how its groups are to be read.
    fn request(&self, streams: usize, zones: bool) -> QueryResult<(AggregateRequest, Keys)> {
        self.spec.request(&self.table, self.series.clone(), streams, zones)
    }

    /// Plans a reading and notes what it will have read.
    fn streams(&self, request: AggregateRequest) -> QueryResult<Vec<AggregateStream>> {
        let planned = self.table.aggregate(request)?;
        self.told.lock().push(planned.stats);
        Ok(planned.streams)
    }

    /// Answers on this thread.
    pub(crate) fn answer_at_once(
        &self,
        pool: &Arc<dyn MemoryPool>,
        zones: bool,
    ) -> QueryResult<RecordBatch> {
        let (request, keys) = self.request(1, zones)?;
        let found = run::at_once(self.streams(request)?, pool)?;
        self.batch(found, &keys)
    }

    /// Answers with streams side by side, on the runtime that this is called on.
    pub(crate) async fn answer(
        &self,
        pool: &Arc<dyn MemoryPool>,
        zones: bool,
        threads: usize,
    ) -> QueryResult<RecordBatch> {
        let (request, keys) = self.request(threads, zones)?;
        let found = match self.top_rows() {
            Some(rows) => self.read_top(request, pool, rows).await?,
            None => run::beside(self.streams(request)?, pool).await?,
        };
        self.batch(found, &keys)
    }

    /// Reads spans of whole buckets from the wanted end of time, each longer than the one before,
    /// until there are rows enough.
    async fn read_top(
        &self,
        request: AggregateRequest,
        pool: &Arc<dyn MemoryPool>,
        rows: usize,
    ) -> QueryResult<Option<Aggregates>> {
        let buckets = request.buckets;
        let buckets =
            buckets.ok_or_else(|| QueryError::internal("an order by time without one"))?;
        let newest_first = self.order.first().is_some_and(|o| o.descending);
        let mut left = self.spec.times.intersect(&self.table.stats().times);
        let mut all: Option<Aggregates> = None;
        let mut count = (rows as i64).clamp(1, 1 << 40);
        while !left.is_empty() && all.as_ref().map_or(0, Aggregates::len) < rows {
            let span = if newest_first {
                let first = buckets.index(left.max).saturating_sub(count);
                TimeRange::new(left.min.max(buckets.start(first)), left.max)
            } else {
                let end = buckets.index(left.min).saturating_add(count);
                TimeRange::new(left.min, left.max.min(buckets.start(end).saturating_sub(1)))
            };
            let request = AggregateRequest { times: span, ..request.clone() };
            if let Some(found) = run::beside(self.streams(request)?, pool).await? {
                run::gather(&mut all, found);
            }
            left = match newest_first {
                true if span.min > left.min => TimeRange::new(left.min, span.min - 1),
                false if span.max < left.max => TimeRange::new(span.max + 1, left.max),
                _ => TimeRange::EMPTY,
            };
            count = count.saturating_mul(4).min(1 << 40);
        }
        Ok(all)
    }

    fn batch(&self, found: Option<Aggregates>, keys: &Keys) -> QueryResult<RecordBatch> {
        let mut found = match found {
            Some(found) => found,
            // A table without series has no stream; its columns still have their types.
            None if !self.spec.is_one_row() => {
                return Ok(RecordBatch::new_empty(self.schema.clone()));
            }
            None => self.spec.nothing(&self.table)?,
        };
        if found.is_empty() && self.spec.is_one_row() {
            found.add_empty();
        }
        let mut picks = sorted(&self.spec, &self.order, &found, keys, &self.table)?;
        for having in &self.having {
            let array = self.spec.array(having.column, &found, keys, &self.table, &picks)?;
            let array = cast(&array, &DataType::Float64)?;
            let values = array.as_primitive::<Float64Type>();
            let number = ValueRef::Float(having.number);
            let holds = |at: usize| {
                // A NULL is neither above nor below.
                values.is_valid(at)
                    && having.comparison.between(ValueRef::Float(values.value(at)), number)
            };
            picks = (0..picks.len()).filter(|at| holds(*at)).map(|at| picks[at]).collect();
        }
        let from = self.offset.min(picks.len());
        picks.drain(..from);
        picks.truncate(self.limit.unwrap_or(usize::MAX));
        let mut arrays = Vec::with_capacity(self.output.len());
        for at in &self.output {
            arrays.push(self.spec.array(*at, &found, keys, &self.table, &picks)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(picks.len()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)?)
    }
}
