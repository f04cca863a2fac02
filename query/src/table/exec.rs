//! The leaf of plans: reads the streams of one scan.
//!
//! A stream is polled on the query runtime itself, not handed to a blocking thread: it is bound
//! by the processor, its reads are of cached or local blocks, a hop costs more than most batches,
//! and that runtime serves nothing but queries. It yields after each batch by Tokio's budget.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ColumnStatistics, Result, ScalarValue, Statistics};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, ReplaceChildrenOptions, SchedulingType,
};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, Count, ExecutionPlanMetricsSet, Metric, MetricValue, MetricsSet,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use parking_lot::Mutex;
use tsdb::types::TimeRange;
use tsdb::{ScanRequest, ScanStats, ScanStream, Table};

use super::arrays::{BatchBuilder, micros};
use super::{SeriesTable, Source, predicate};
use crate::error::QueryError;

/// Reads one table. It is described by its table, position, columns and predicate alone, so that
/// another node could make the same scan; the streams are only made ahead.
#[derive(Clone)]
pub(crate) struct SeriesScanExec {
    provider: SeriesTable,
    table: Table,
    request: ScanRequest,
    projection: Vec<usize>,
    schema: SchemaRef,
    limit: Option<usize>,
    /// Made at planning, since that tells how many there are; taken by the first run.
    streams: Arc<Mutex<Vec<Option<ScanStream>>>>,
    stats: Arc<ScanStats>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl SeriesScanExec {
    pub(crate) fn new(
        provider: &SeriesTable,
        table: Table,
        request: ScanRequest,
        projection: Vec<usize>,
        limit: Option<usize>,
    ) -> Result<SeriesScanExec> {
        let schema = Arc::new(provider.schema.project(&projection)?);
        let scan =
            table.scan(request.clone()).map_err(|e| QueryError::from(e).into_datafusion())?;
        let partitions = scan.streams.len().max(1);
        let mut equivalences = EquivalenceProperties::new(schema.clone());
        let one = request.series.as_ref().map_or(table.series_count().into(), |s| s.cardinality());
        let time = projection.iter().position(|i| provider.sources[*i] == Source::Time);
        if let (0 | 1, Some(at)) = (one, time) {
            // Rows come by series, then time: ordered by time where there is one series.
            let time = Arc::new(Column::new(schema.field(at).name(), at));
            equivalences.add_ordering([PhysicalSortExpr::new_default(time).asc()]);
        }
        let properties = PlanProperties::new(
            equivalences,
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        Ok(SeriesScanExec {
            provider: provider.clone(),
            table,
            request,
            projection,
            schema,
            limit,
            streams: Arc::new(Mutex::new(scan.streams.into_iter().map(Some).collect())),
            stats: scan.stats,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }

    /// Hands over all batches of the first partition, read on this thread.
    pub(crate) fn read_at_once(
        &self,
        mut take: impl FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let builder = BatchBuilder::new(&self.provider, &self.projection, self.schema.clone());
        let index = self.table.series().clone();
        let mut left = self.limit.unwrap_or(usize::MAX);
        let Some(mut stream) = self.stream(0)? else { return Ok(()) };
        while left > 0 {
            let found = stream.next_batch().map_err(|e| QueryError::from(e).into_datafusion())?;
            let Some(found) = found else { break };
            let batch = builder.build(found, &index)?;
            let batch = batch.slice(0, batch.num_rows().min(left));
            left -= batch.num_rows();
            take(batch)?;
        }
        Ok(())
    }

    /// The stream of a partition: the one made at planning, or for a second run a new one.
    fn stream(&self, partition: usize) -> Result<Option<ScanStream>> {
        {
            let mut streams = self.streams.lock();
            match streams.get_mut(partition) {
                // A scan without streams still has one (empty) partition.
                None => return Ok(None),
                Some(slot) => {
                    if let Some(stream) = slot.take() {
                        return Ok(Some(stream));
                    }
                }
            }
        }
        let scan = self
            .table
            .scan(self.request.clone())
            .map_err(|e| QueryError::from(e).into_datafusion())?;
        Ok(scan.streams.into_iter().nth(partition))
    }

    fn time_column(&self) -> Option<usize> {
        self.projection.iter().position(|i| self.provider.sources[*i] == Source::Time)
    }

    fn whole(&self) -> bool {
        self.request.series.is_none()
            && self.request.times == TimeRange::ALL
            && self.request.filters.is_empty()
    }
}

impl fmt::Debug for SeriesScanExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Verbose, f)
    }
}

/// A time for EXPLAIN: µs as SQL would show it in UTC.
pub(crate) struct ShownTime(pub(crate) i64);

impl fmt::Display for ShownTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            i64::MIN => f.write_str("-infinity"),
            i64::MAX => f.write_str("infinity"),
            ns => match chrono::DateTime::from_timestamp_micros(micros(ns)) {
                Some(time) => write!(f, "{}", time.format("%Y-%m-%d %H:%M:%S%.fZ")),
                None => write!(f, "{ns} ns"),
            },
        }
    }
}

impl DisplayAs for SeriesScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SeriesScan: table={}", self.provider.table.name)?;
        let of = self.table.series_count();
        match &self.request.series {
            Some(series) => write!(f, ", series={} of {of}", series.cardinality())?,
            None => write!(f, ", series=all {of}")?,
        }
        if self.request.times != TimeRange::ALL {
            match self.request.times.is_empty() {
                true => write!(f, ", time=none")?,
                false => {
                    let TimeRange { min, max } = self.request.times;
                    write!(f, ", time={} to {}", ShownTime(min), ShownTime(max))?;
                }
            }
        }
        let names: Vec<&str> = self.schema.fields().iter().map(|c| c.name().as_str()).collect();
        write!(f, ", columns=[{}]", names.join(", "))?;
        if !self.request.bounds.is_empty() {
            let bounded: Vec<&str> = self
                .request
                .bounds
                .iter()
                .filter_map(|b| self.provider.table.column_by_id(b.column))
                .map(|c| c.name.as_str())
                .collect();
            write!(f, ", pruned by=[{}]", bounded.join(", "))?;
        }
        let pair = |all: &AtomicU64, pruned: &AtomicU64| {
            let (all, pruned) = (all.load(Ordering::Relaxed), pruned.load(Ordering::Relaxed));
            format!("{} of {all}", all.saturating_sub(pruned))
        };
        let s = &self.stats;
        write!(
            f,
            ", partitions={}, parts={}, row groups={}, streams={}",
            pair(&s.partitions, &s.partitions_pruned),
            pair(&s.parts, &s.parts_pruned),
            pair(&s.groups, &s.groups_pruned),
            self.streams.lock().len()
        )?;
        if !self.request.filters.is_empty() {
            let tested: Vec<&str> = self
                .request
                .filters
                .iter()
                .filter_map(|f| self.provider.table.column_by_id(f.column))
                .map(|c| c.name.as_str())
                .collect();
            write!(f, ", tests of=[{}]", tested.join(", "))?;
        }
        if let Some(limit) = self.limit {
            write!(f, ", fetch={limit}")?;
        }
        Ok(())
    }
}

impl ExecutionPlan for SeriesScanExec {
    fn name(&self) -> &'static str {
        "SeriesScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    crate::table::leaf!();

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let mut stream = self.stream(partition)?;
        let builder = BatchBuilder::new(&self.provider, &self.projection, self.schema.clone());
        let index = self.table.series().clone();
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let mut left = self.limit.unwrap_or(usize::MAX);
        let batches = futures::stream::poll_fn(move |_| {
            let Some(source) = stream.as_mut() else { return Poll::Ready(None) };
            if left == 0 {
                stream = None;
                return Poll::Ready(None);
            }
            let timer = metrics.elapsed_compute().timer();
            let next = match source.next_batch() {
                Ok(Some(found)) => builder.build(found, &index),
                Ok(None) => {
                    stream = None;
                    return Poll::Ready(None);
                }
                Err(error) => Err(QueryError::from(error).into_datafusion()),
            };
            timer.done();
            Poll::Ready(Some(match next {
                Ok(batch) => {
                    let batch = batch.slice(0, batch.num_rows().min(left));
                    left -= batch.num_rows();
                    metrics.record_output(batch.num_rows());
                    Ok(batch)
                }
                Err(error) => {
                    stream = None;
                    Err(error)
                }
            }))
        });
        let stream = RecordBatchStreamAdapter::new(self.schema.clone(), batches);
        Ok(make_cooperative(Box::pin(stream)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        let mut set = self.metrics.clone_inner();
        let s = &self.stats;
        let counters = [
            ("partitions", &s.partitions),
            ("partitions_pruned", &s.partitions_pruned),
            ("parts", &s.parts),
            ("parts_pruned", &s.parts_pruned),
            ("row_groups", &s.groups),
            ("row_groups_pruned", &s.groups_pruned),
            ("row_groups_tested", &s.groups_tested),
            ("row_groups_read", &s.groups_read),
            ("zones", &s.zones),
            ("zones_pruned", &s.zones_pruned),
            ("head_runs", &s.head_runs),
            ("rows_read", &s.rows),
        ];
        for (name, value) in counters {
            let count = Count::new();
            count.add(value.load(Ordering::Relaxed) as usize);
            let value = MetricValue::Count { name: name.into(), count };
            set.push(Arc::new(Metric::new(value, None)));
        }
        Some(set)
    }

    #[allow(deprecated, reason = "the successor calls this one for leaves")]
    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        let mut columns = vec![ColumnStatistics::new_unknown(); self.schema.fields().len()];
        let stats = self.table.stats();
        if let Some(at) = self.time_column()
            && self.whole()
            && self.limit.is_none()
            && !stats.times.is_empty()
        {
            // The range is that of the rows, whether or not some of them merge.
            let zone = match self.schema.field(at).data_type() {
                DataType::Timestamp(_, zone) => zone.clone(),
                _ => None,
            };
            let time = |ns| ScalarValue::TimestampMicrosecond(Some(micros(ns)), zone.clone());
            let exact = partition.is_none() && self.request.bounds.is_empty() && !stats.hidden;
            let known = |value| match exact {
                true => Precision::Exact(value),
                false => Precision::Inexact(value),
            };
            columns[at].min_value = known(time(stats.times.min));
            columns[at].max_value = known(time(stats.times.max));
            columns[at].null_count = Precision::Exact(0);
        }
        let all = stats.rows as usize;
        let rows = if self.whole() && self.request.bounds.is_empty() && stats.exact {
            Precision::Exact(all)
        } else {
            let of = u64::from(self.table.series_count()).max(1);
            let series = self.request.series.as_ref().map_or(of, |s| s.cardinality());
            let times = &self.request.times;
            let share = predicate::time_share(times, &stats.times).unwrap_or(0.0);
            Precision::Inexact((all as f64 * share * series as f64 / of as f64) as usize)
        };
        let parts = self.properties.partitioning.partition_count();
        let rows = match partition {
            Some(_) if parts > 1 => rows.to_inexact().map(|r| r / parts),
            _ => rows,
        };
        let rows = match (self.limit, rows) {
            (Some(limit), Precision::Exact(rows)) if parts == 1 || partition.is_none() => {
                // Each partition stops by itself, so all together may give more.
                match parts {
                    1 => Precision::Exact(rows.min(limit)),
                    _ => Precision::Inexact(rows.min(limit)),
                }
            }
            (Some(limit), rows) => rows.to_inexact().map(|r| r.min(limit)),
            (None, rows) => rows,
        };
        Ok(Arc::new(Statistics {
            num_rows: rows,
            total_byte_size: Precision::Absent,
            column_statistics: columns,
        }))
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        Some(Arc::new(SeriesScanExec { limit, ..self.clone() }))
    }

    fn fetch(&self) -> Option<usize> {
        self.limit
    }
}
