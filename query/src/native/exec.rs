//! A native aggregation as an operator of DataFusion.
//!
//! Where each series is a group of its own, a stream gives a group's rows as soon as the series is
//! read, so that memory does not grow with their number. Else streams run side by side and what
//! they give is merged.

use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::metrics::{Count, Metric, MetricValue, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use tsdb::scan::aggregate::{AggregateRequest, AggregateStream, Aggregates};
use tsdb::series::Bitmap;
use tsdb::{ScanStats, Table};

use super::explain::{COUNTERS, described, read};
use super::spec::{AggregateSpec, Keys};
use super::{run, size};
use crate::error::{QueryError, QueryResult};
use crate::table::BATCH_ROWS;

/// What is the same for all partitions of one operator.
#[derive(Debug)]
struct Inner {
    spec: AggregateSpec,
    table: Table,
    request: AggregateRequest,
    keys: Keys,
    /// Columns of the result among groups and measures.
    projection: Vec<usize>,
    schema: SchemaRef,
}

/// Aggregates one table.
pub(crate) struct AggregateExec {
    inner: Arc<Inner>,
    /// Made at planning, since that tells how many there are; taken by the first run.
    streams: Mutex<Vec<Option<AggregateStream>>>,
    stats: Mutex<Vec<Arc<ScanStats>>>,
    properties: Arc<PlanProperties>,
}

impl AggregateExec {
    pub(super) fn new(
        spec: AggregateSpec,
        table: Table,
        series: Option<Bitmap>,
        (projection, schema): (Vec<usize>, SchemaRef),
        streams: usize,
        zones: bool,
    ) -> QueryResult<AggregateExec> {
        let (request, keys) = spec.request(&table, series, streams, zones)?;
        let planned = table.aggregate(request.clone())?;
        let partitions = match keys {
            Keys::Each => planned.streams.len().max(1),
            _ => 1,
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(AggregateExec {
            inner: Arc::new(Inner { spec, table, request, keys, projection, schema }),
            streams: Mutex::new(planned.streams.into_iter().map(Some).collect()),
            stats: Mutex::new(vec![planned.stats]),
            properties: Arc::new(properties),
        })
    }

    /// Rows that it reads, about; where statistics answer, fewer.
    pub(crate) fn rows_about(&self) -> f64 {
        let spec = &self.inner.spec;
        size::rows(&self.inner.table, self.inner.request.series.as_ref(), &spec.times)
    }

    /// The streams of a partition: those made at planning, or for a second run new ones.
    fn take(&self, partition: usize) -> QueryResult<Vec<AggregateStream>> {
        let each = matches!(self.inner.keys, Keys::Each);
        let mut held = self.streams.lock();
        let pick = |at: usize| !each || at == partition;
        let count = held.iter().enumerate().filter(|(at, _)| pick(*at)).count();
        let taken: Vec<AggregateStream> = held
            .iter_mut()
            .enumerate()
            .filter(|(at, _)| pick(*at))
            .filter_map(|(_, slot)| slot.take())
            .collect();
        if taken.len() == count {
            return Ok(taken);
        }
        let planned = self.inner.table.aggregate(self.inner.request.clone())?;
        self.stats.lock().push(planned.stats);
        let picked = planned.streams.into_iter().enumerate().filter(|(at, _)| pick(*at));
        Ok(picked.map(|(_, stream)| stream).collect())
    }
}

impl Inner {
    /// Slots as batches.
    fn batches(&self, found: Aggregates) -> impl Iterator<Item = Result<RecordBatch>> {
        let starts = (0..found.len()).step_by(BATCH_ROWS).collect::<Vec<_>>();
        starts.into_iter().map(move |from| {
            let to = (from + BATCH_ROWS).min(found.len());
            self.batch(&found, from, to).map_err(QueryError::into_datafusion)
        })
    }

    fn batch(&self, found: &Aggregates, from: usize, to: usize) -> QueryResult<RecordBatch> {
        let picks: Vec<u32> = (from as u32..to as u32).collect();
        let mut arrays = Vec::with_capacity(self.projection.len());
        for at in &self.projection {
            arrays.push(self.spec.array(*at, found, &self.keys, &self.table, &picks)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(picks.len()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)?)
    }

    /// Groups as the stream finishes them.
    fn each(
        self: Arc<Self>,
        stream: Option<AggregateStream>,
        pool: &Arc<dyn MemoryPool>,
    ) -> impl futures::Stream<Item = Result<RecordBatch>> + Send + use<> {
        let held = run::reservation(pool);
        futures::stream::try_unfold((self, stream, held), |(inner, stream, held)| async move {
            let Some(mut stream) = stream else { return Ok(None) };
            let mut more = true;
            while more && (stream.slots() < BATCH_ROWS || stream.is_midway()) {
                more = run::steps(&mut stream, &held).map_err(QueryError::into_datafusion)?;
                tokio::task::yield_now().await;
            }
            let found = stream.take();
            let batches: Vec<Result<RecordBatch>> = inner.batches(found).collect();
            let next = more.then_some(stream);
            Ok::<_, DataFusionError>(Some((futures::stream::iter(batches), (inner, next, held))))
        })
        .try_flatten()
    }

    /// All groups, merged.
    async fn all(
        self: Arc<Self>,
        streams: Vec<AggregateStream>,
        pool: Arc<dyn MemoryPool>,
    ) -> QueryResult<Vec<Result<RecordBatch>>> {
        let found = run::beside(streams, &pool).await?;
        let mut found = match found {
            Some(found) => found,
            None => self.spec.nothing(&self.table)?,
        };
        if found.is_empty() && self.spec.is_one_row() {
            found.add_empty();
        }
        Ok(self.batches(found).collect())
    }
}

impl fmt::Debug for AggregateExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Verbose, f)
    }
}

impl DisplayAs for AggregateExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let series = self.inner.request.series.as_ref();
        f.write_str(&described(&self.inner.spec, &self.inner.table, series))
    }
}

impl ExecutionPlan for AggregateExec {
    fn name(&self) -> &'static str {
        "Aggregate"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    crate::table::leaf!();

    fn execute(
        &self,
        partition: usize,
        task: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let mut streams = self.take(partition).map_err(QueryError::into_datafusion)?;
        let (inner, pool) = (self.inner.clone(), task.memory_pool().clone());
        let schema = inner.schema.clone();
        if matches!(inner.keys, Keys::Each) {
            let batches = inner.each(streams.pop(), &pool);
            return Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)));
        }
        let work = async move {
            let batches = inner.all(streams, pool).await.map_err(QueryError::into_datafusion)?;
            Ok::<_, DataFusionError>(futures::stream::iter(batches))
        };
        let batches = futures::stream::once(work).try_flatten().boxed();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        let mut set = MetricsSet::new();
        let told = self.stats.lock();
        for (name, counter) in COUNTERS {
            let count = Count::new();
            count.add(read(&told, counter) as usize);
            let value = MetricValue::Count { name: name.into(), count };
            set.push(Arc::new(Metric::new(value, None)));
        }
        Some(set)
    }
}
