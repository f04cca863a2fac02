//! The operator: a merge of two sorted streams that looks at a window of the right one.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter;
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{
    Distribution, EquivalenceProperties, LexOrdering, OrderingRequirements, PhysicalExpr,
};
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, Partitioning,
    PlanProperties,
};
use datafusion::scalar::ScalarValue;
use futures::StreamExt;

use super::{Aggregate, Arg, Window};
use crate::asof::{Reader, Side, order};
use crate::error::QueryError;

/// Rows of windows that are worked through without a pause.
const YIELDS_AFTER: usize = 1 << 20;

pub(super) struct WindowJoinExec {
    sides: [Arc<dyn ExecutionPlan>; 2],
    keys: usize,
    window: Window,
    aggregates: Arc<[Aggregate]>,
    measures: Arc<[Measure]>,
    schema: SchemaRef,
    orders: [LexOrdering; 2],
    properties: Arc<PlanProperties>,
}

/// An aggregate that can be computed.
struct Measure {
    function: AggregateFunctionExpr,
    filter: Option<usize>,
}

impl Measure {
    fn new(aggregate: &Aggregate, schema: &SchemaRef) -> Result<Measure> {
        let arg = |arg: &Arg| -> Arc<dyn PhysicalExpr> {
            match arg {
                Arg::Column(at) => Arc::new(Column::new(schema.field(*at).name(), *at)),
                Arg::Constant(value) => Arc::new(Literal::new(value.clone())),
            }
        };
        let args = aggregate.args.iter().map(arg).collect();
        let function = AggregateExprBuilder::new(aggregate.function.clone(), args)
            .schema(schema.clone())
            .alias(aggregate.field.name())
            .with_distinct(aggregate.distinct)
            .build()?;
        Ok(Measure { function, filter: aggregate.filter })
    }

    /// Over rows of batches.
    fn over(&self, pieces: &[RecordBatch]) -> Result<ScalarValue> {
        let mut accumulator = self.function.create_accumulator()?;
        for piece in pieces {
            let mut values = Vec::new();
            for expr in self.function.expressions() {
                values.push(expr.evaluate(piece)?.into_array(piece.num_rows())?);
            }
            if let Some(at) = self.filter {
                let test = piece.column(at).as_boolean();
                values = values
                    .iter()
                    .map(|array| Ok(filter(array, test)?))
                    .collect::<Result<Vec<ArrayRef>>>()?;
            }
            accumulator.update_batch(&values)?;
        }
        accumulator.evaluate()
    }
}

impl WindowJoinExec {
    pub(super) fn new(
        sides: [Arc<dyn ExecutionPlan>; 2],
        keys: usize,
        window: Window,
        aggregates: Arc<[Aggregate]>,
        schema: SchemaRef,
    ) -> Result<WindowJoinExec> {
        let orders = [order(&sides[0], keys)?, order(&sides[1], keys)?];
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let right = sides[1].schema();
        let measures = aggregates.iter().map(|aggregate| Measure::new(aggregate, &right));
        let measures = measures.collect::<Result<Arc<[Measure]>>>()?;
        let properties = Arc::new(properties);
        Ok(WindowJoinExec { sides, keys, window, aggregates, measures, schema, orders, properties })
    }
}

impl fmt::Debug for WindowJoinExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Verbose, f)
    }
}

impl DisplayAs for WindowJoinExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WindowJoin: keys={}, {}", self.keys, self.window)
    }
}

impl ExecutionPlan for WindowJoinExec {
    fn name(&self) -> &'static str {
        "WindowJoin"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition; 2])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        self.orders.iter().map(|order| Some(OrderingRequirements::from(order.clone()))).collect()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true, false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.sides.iter().collect()
    }

    crate::plan::extension::operator!();

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let sides = children
            .try_into()
            .map_err(|_| QueryError::internal("a WINDOW JOIN has two sides").into_datafusion())?;
        let (aggregates, schema) = (self.aggregates.clone(), self.schema.clone());
        Ok(Arc::new(WindowJoinExec::new(sides, self.keys, self.window, aggregates, schema)?))
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let merge = Merge {
            left: self.sides[0].execute(0, context.clone())?,
            right: Some(self.sides[1].execute(0, context.clone())?),
            reader: Reader::new(&self.sides[0].schema(), self.keys)?,
            window: self.window,
            measures: self.measures.clone(),
            schema: self.schema.clone(),
            held: VecDeque::new(),
            read: 0,
            start: 0,
            end: 0,
            previous: None,
            worked: 0,
            memory: MemoryConsumer::new("WindowJoin").register(context.memory_pool()),
        };
        let stream = futures::stream::try_unfold(merge, |mut merge| async move {
            let batch = merge.next().await?;
            Ok::<_, DataFusionError>(batch.map(|batch| (batch, merge)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), stream)))
    }
}

/// Rows of the right side are counted from 0 in their order.
struct Merge {
    left: SendableRecordBatchStream,
    /// `None` at its end.
    right: Option<SendableRecordBatchStream>,
    reader: Reader,
    window: Window,
    measures: Arc<[Measure]>,
    schema: SchemaRef,
    /// Batches of the right side that are still wanted, each with the number of its first row.
    held: VecDeque<(u64, Side)>,
    /// Rows that were read.
    read: u64,
    /// The first row of the window, and the first behind it. Neither ever goes back, since left rows
    /// ascend.
    start: u64,
    end: u64,
    /// The last row before the window that has a key and a time.
    previous: Option<u64>,
    /// Rows of windows since others had their turn.
    worked: usize,
    memory: MemoryReservation,
}

impl Merge {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some(batch) = self.left.next().await else { return Ok(None) };
        let left = self.reader.read(batch?)?;
        let rows = left.batch.num_rows();
        let mut values: Vec<Vec<ScalarValue>> =
            self.measures.iter().map(|_| Vec::with_capacity(rows)).collect();
        for row in 0..rows {
            let pieces = match left.is_known(row) {
                true => self.window_of(&left, row).await?,
                false => Vec::new(),
            };
            self.worked += pieces.iter().map(RecordBatch::num_rows).sum::<usize>();
            if self.worked > YIELDS_AFTER {
                self.worked = 0;
                // So that it can be cancelled, and others have their turn.
                tokio::task::yield_now().await;
            }
            for (values, measure) in values.iter_mut().zip(self.measures.iter()) {
                values.push(measure.over(&pieces)?);
            }
        }
        let shown = left.batch.num_columns() - self.reader.helpers();
        let mut columns = left.batch.columns()[..shown].to_vec();
        for (at, values) in values.into_iter().enumerate() {
            let kind = self.schema.field(shown + at).data_type();
            let array = match values.is_empty() {
                true => arrow::array::new_empty_array(kind),
                false => ScalarValue::iter_to_array(values)?,
            };
            columns.push(match array.data_type() == kind {
                true => array,
                false => arrow::compute::cast(&array, kind)?,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(Some(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?))
    }

    /// The rows of the window of a left row, in order of time.
    async fn window_of(&mut self, left: &Side, row: usize) -> Result<Vec<RecordBatch>> {
        let tick = left.ticks.value(row);
        let from = tick.saturating_add(self.window.from);
        let to = tick.saturating_add(self.window.to);
        while self.is_there(self.start).await?
            && self.compare(self.start, left, row, from) == Ordering::Less
        {
            if self.is_known(self.start) {
                self.previous = Some(self.start);
            }
            self.start += 1;
        }
        self.end = self.end.max(self.start);
        while self.is_there(self.end).await?
            && self.compare(self.end, left, row, to) != Ordering::Greater
        {
            self.end += 1;
        }
        let mut pieces = Vec::new();
        let at_start =
            self.start < self.end && self.compare(self.start, left, row, from) == Ordering::Equal;
        if self.window.prevailing
            && !at_start
            && let Some(previous) = self.previous
            && self.has_key(previous, left, row)
        {
            pieces.extend(self.piece(previous, previous + 1));
        }
        let mut next = self.start;
        while next < self.end {
            let Some(piece) = self.piece(next, self.end) else { break };
            next += piece.num_rows() as u64;
            pieces.push(piece);
        }
        Ok(pieces)
    }

    /// The batch that a row is in, and its place there.
    fn find(&self, row: u64) -> Option<(&Side, usize)> {
        let at = self.held.partition_point(|(first, _)| *first <= row).checked_sub(1)?;
        let (first, side) = self.held.get(at)?;
        let place = usize::try_from(row - first).ok()?;
        (place < side.batch.num_rows()).then_some((side, place))
    }

    /// Rows from one on, up to another or to the end of their batch.
    fn piece(&self, from: u64, to: u64) -> Option<RecordBatch> {
        let (side, place) = self.find(from)?;
        let count = (side.batch.num_rows() - place).min(usize::try_from(to - from).ok()?);
        Some(side.batch.slice(place, count))
    }

    fn is_known(&self, row: u64) -> bool {
        self.find(row).is_some_and(|(side, place)| side.is_known(place))
    }

    fn has_key(&self, row: u64, left: &Side, at: usize) -> bool {
        self.find(row).is_some_and(|(side, place)| side.key(place) == left.key(at))
    }

    /// Where a row lies from the key of a left row and a time. What has no time comes first.
    fn compare(&self, row: u64, left: &Side, at: usize, tick: i64) -> Ordering {
        let Some((side, place)) = self.find(row) else { return Ordering::Greater };
        side.key(place).cmp(&left.key(at)).then_with(|| match side.is_known(place) {
            true => side.ticks.value(place).cmp(&tick),
            false => Ordering::Less,
        })
    }

    /// Makes sure that a row is there, if there is such a row.
    async fn is_there(&mut self, row: u64) -> Result<bool> {
        while row >= self.read {
            let Some(right) = &mut self.right else { return Ok(false) };
            match right.next().await {
                None => self.right = None,
                Some(batch) => {
                    let side = self.reader.read(batch?)?;
                    let rows = side.batch.num_rows() as u64;
                    self.forget();
                    self.held.push_back((self.read, side));
                    self.read += rows;
                    let batches = self.held.iter();
                    let bytes = batches.map(|(_, side)| side.batch.get_array_memory_size()).sum();
                    self.memory.try_resize(bytes)?;
                }
            }
        }
        Ok(true)
    }

    /// Lets go of batches before all that is wanted.
    fn forget(&mut self) {
        let wanted = self.previous.map_or(self.start, |previous| previous.min(self.start));
        while let Some((first, side)) = self.held.front()
            && first + side.batch.num_rows() as u64 <= wanted
        {
            self.held.pop_front();
        }
    }
}
