//! The operator: rows sorted by keys and time come in, a key's rows are held until the next key
//! comes, and go out with the buckets that were missing.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{SortOptions, cast, concat_batches, max, min, partition};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{
    Distribution, EquivalenceProperties, LexOrdering, OrderingRequirements, PhysicalSortExpr,
};
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, Partitioning,
    PlanProperties,
};
use futures::StreamExt;

use super::Spec;
use super::fill::{Grid, fill};
use crate::error::QueryError;
use crate::table::BATCH_ROWS;

pub(super) struct GapFillExec {
    input: Arc<dyn ExecutionPlan>,
    spec: Arc<Spec>,
    schema: SchemaRef,
    order: LexOrdering,
    properties: Arc<PlanProperties>,
}

impl GapFillExec {
    pub(super) fn new(
        input: Arc<dyn ExecutionPlan>,
        spec: Spec,
        schema: SchemaRef,
    ) -> Result<GapFillExec> {
        let options = SortOptions { descending: false, nulls_first: false };
        let sorts = spec.keys.iter().chain([&spec.time]).map(|at| {
            let column = Column::new(schema.field(*at).name(), *at);
            PhysicalSortExpr::new(Arc::new(column), options)
        });
        let Some(order) = LexOrdering::new(sorts) else {
            return Err(QueryError::internal("gap filling without a time").into_datafusion());
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new_with_orderings(schema.clone(), [order.clone()]),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        let properties = Arc::new(properties);
        Ok(GapFillExec { input, spec: Arc::new(spec), schema, order, properties })
    }
}

impl fmt::Debug for GapFillExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Verbose, f)
    }
}

impl DisplayAs for GapFillExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&str> =
            self.spec.keys.iter().map(|at| self.schema.field(*at).name().as_str()).collect();
        write!(f, "GapFill: time={}", self.schema.field(self.spec.time).name())?;
        write!(f, ", keys=[{}], filled={}", keys.join(", "), self.spec.fills.len())
    }
}

impl ExecutionPlan for GapFillExec {
    fn name(&self) -> &'static str {
        "GapFill"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![Some(OrderingRequirements::from(self.order.clone()))]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    crate::plan::extension::operator!();

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.into_iter().next() {
            Some(input) => {
                let made = GapFillExec::new(input, (*self.spec).clone(), self.schema.clone())?;
                Ok(Arc::new(made))
            }
            None => Ok(self),
        }
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let filler = Filler {
            input: self.input.execute(0, context.clone())?,
            held: MemoryConsumer::new("GapFill").register(context.memory_pool()),
            grid: Grid::new(&self.spec)?,
            spec: self.spec.clone(),
            schema: self.schema.clone(),
            waiting: Vec::new(),
            ready: VecDeque::new(),
            any: false,
            done: false,
        };
        let stream = futures::stream::try_unfold(filler, |mut filler| async move {
            let batch = filler.next().await?;
            Ok::<_, DataFusionError>(batch.map(|batch| (batch, filler)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), stream)))
    }
}

struct Filler {
    input: SendableRecordBatchStream,
    held: MemoryReservation,
    spec: Arc<Spec>,
    schema: SchemaRef,
    grid: Grid,
    /// Rows of the key under way.
    waiting: Vec<RecordBatch>,
    ready: VecDeque<RecordBatch>,
    /// Whether any row has come.
    any: bool,
    done: bool,
}

impl Filler {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        if !self.grid.is_known() && !self.done {
            self.measure().await?;
        }
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(Some(batch));
            }
            if self.done {
                return Ok(None);
            }
            match self.input.next().await {
                Some(batch) => self.take(&batch?)?,
                None => {
                    self.done = true;
                    self.flush()?;
                }
            }
        }
    }

    /// Without bounds the grid is that of all rows: they are held to find them.
    async fn measure(&mut self) -> Result<()> {
        let mut batches = Vec::new();
        let (mut low, mut high) = (None::<i64>, None::<i64>);
        while let Some(batch) = self.input.next().await {
            let batch = batch?;
            self.held.try_grow(batch.get_array_memory_size())?;
            let ticks = ticks(&batch, self.spec.time)?;
            let ticks = ticks.as_primitive::<Int64Type>();
            low = [low, min(ticks)].into_iter().flatten().min();
            high = [high, max(ticks)].into_iter().flatten().max();
            batches.push(batch);
        }
        self.grid.spread(low, high);
        for batch in batches {
            self.take(&batch)?;
        }
        self.done = true;
        self.flush()
    }

    /// Cuts a batch where keys change.
    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.any = true;
        let keys: Vec<ArrayRef> =
            self.spec.keys.iter().map(|at| batch.column(*at).clone()).collect();
        if keys.is_empty() {
            return self.wait(batch.clone());
        }
        for (i, range) in partition(&keys)?.ranges().into_iter().enumerate() {
            let part = batch.slice(range.start, range.len());
            if i > 0 || !self.continues(&part)? {
                self.flush()?;
            }
            self.wait(part)?;
        }
        Ok(())
    }

    fn wait(&mut self, part: RecordBatch) -> Result<()> {
        let bytes: usize =
            part.columns().iter().map(|c| c.to_data().get_slice_memory_size().unwrap_or(0)).sum();
        self.held.try_grow(bytes)?;
        self.waiting.push(part);
        Ok(())
    }

    /// Whether the rows have the key of those that wait.
    fn continues(&self, part: &RecordBatch) -> Result<bool> {
        let Some(before) = self.waiting.first() else { return Ok(true) };
        for at in &self.spec.keys {
            let (a, b) = (before.column(*at).slice(0, 1), part.column(*at).slice(0, 1));
            if !not_distinct(&a, &b)?.value(0) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Fills the key under way. Without keys there is one, also where no row has come.
    fn flush(&mut self) -> Result<()> {
        let alone = self.spec.keys.is_empty() && !self.any && self.done;
        if self.waiting.is_empty() && !alone {
            return Ok(());
        }
        let schema = self.waiting.first().map_or_else(|| self.schema.clone(), |b| b.schema());
        let rows = concat_batches(&schema, &self.waiting)?;
        self.waiting.clear();
        let filled = fill(&rows, &self.spec, &mut self.grid, &self.schema, &self.held)?;
        self.held.try_resize(filled.get_array_memory_size())?;
        for from in (0..filled.num_rows()).step_by(BATCH_ROWS) {
            self.ready.push_back(filled.slice(from, BATCH_ROWS.min(filled.num_rows() - from)));
        }
        Ok(())
    }
}

pub(super) fn ticks(batch: &RecordBatch, time: usize) -> Result<ArrayRef> {
    Ok(cast(batch.column(time), &DataType::Int64)?)
}
