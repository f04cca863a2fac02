//! The operator: a merge of two sorted streams.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions, new_null_array,
};
use arrow::compute::{SortOptions, cast, interleave};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use arrow::row::{Row, RowConverter, Rows, SortField};
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

use super::Match;
use crate::error::QueryError;

const ORDER: SortOptions = SortOptions { descending: false, nulls_first: true };

pub(super) struct AsOfExec {
    sides: [Arc<dyn ExecutionPlan>; 2],
    keys: usize,
    matching: Match,
    schema: SchemaRef,
    orders: [LexOrdering; 2],
    properties: Arc<PlanProperties>,
}

/// The order of keys and time, the last columns of a side.
pub(crate) fn order(side: &Arc<dyn ExecutionPlan>, keys: usize) -> Result<LexOrdering> {
    let schema = side.schema();
    let count = schema.fields().len();
    let sorts = (count.saturating_sub(keys + 1)..count).map(|at| {
        let column = Column::new(schema.field(at).name(), at);
        PhysicalSortExpr::new(Arc::new(column), ORDER)
    });
    LexOrdering::new(sorts)
        .ok_or_else(|| QueryError::internal("a join in time without times").into_datafusion())
}

impl AsOfExec {
    pub(super) fn new(
        sides: [Arc<dyn ExecutionPlan>; 2],
        keys: usize,
        matching: Match,
        schema: SchemaRef,
    ) -> Result<AsOfExec> {
        let orders = [order(&sides[0], keys)?, order(&sides[1], keys)?];
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let properties = Arc::new(properties);
        Ok(AsOfExec { sides, keys, matching, schema, orders, properties })
    }
}

impl fmt::Debug for AsOfExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Verbose, f)
    }
}

impl DisplayAs for AsOfExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AsOfJoin: keys={}, {}", self.keys, self.matching)
    }
}

impl ExecutionPlan for AsOfExec {
    fn name(&self) -> &'static str {
        "AsOfJoin"
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
            .map_err(|_| QueryError::internal("an ASOF JOIN has two sides").into_datafusion())?;
        Ok(Arc::new(AsOfExec::new(sides, self.keys, self.matching, self.schema.clone())?))
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let merge = Merge {
            left: self.sides[0].execute(0, context.clone())?,
            right: self.sides[1].execute(0, context.clone())?,
            reader: Reader::new(&self.sides[0].schema(), self.keys)?,
            matching: self.matching,
            schema: self.schema.clone(),
            held: Vec::new(),
            next: Some((0, 0)),
            candidate: None,
            memory: MemoryConsumer::new("AsOfJoin").register(context.memory_pool()),
            right_schema: self.sides[1].schema(),
        };
        let stream = futures::stream::try_unfold(merge, |mut merge| async move {
            let batch = merge.next().await?;
            Ok::<_, DataFusionError>(batch.map(|batch| (batch, merge)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), stream)))
    }
}

/// A batch with its keys and times at hand.
pub(crate) struct Side {
    pub(crate) batch: RecordBatch,
    keys: Option<Rows>,
    /// Rows with a NULL among their keys match nothing.
    nulls: Vec<ArrayRef>,
    pub(crate) ticks: Int64Array,
}

impl Side {
    pub(crate) fn key(&self, row: usize) -> Option<Row<'_>> {
        self.keys.as_ref().map(|keys| keys.row(row))
    }

    /// Whether a row can match at all.
    pub(crate) fn is_known(&self, row: usize) -> bool {
        self.ticks.is_valid(row) && self.nulls.iter().all(|key| key.is_valid(row))
    }
}

/// Finds keys and times in the last columns of batches.
pub(crate) struct Reader {
    keys: RowConverter,
    count: usize,
}

impl Reader {
    /// For sides like the one of that schema, which end in so many keys and a time.
    pub(crate) fn new(schema: &SchemaRef, keys: usize) -> Result<Reader> {
        let first = schema.fields().len().saturating_sub(keys + 1);
        let kinds = (first..first + keys)
            .map(|at| SortField::new_with_options(schema.field(at).data_type().clone(), ORDER));
        Ok(Reader { keys: RowConverter::new(kinds.collect())?, count: keys })
    }

    /// Keys and the time.
    pub(crate) fn helpers(&self) -> usize {
        self.count + 1
    }

    pub(crate) fn read(&self, batch: RecordBatch) -> Result<Side> {
        let first = batch.num_columns() - (self.count + 1);
        let keys: Vec<ArrayRef> = batch.columns()[first..first + self.count].to_vec();
        let ticks = cast(batch.column(first + self.count), &DataType::Int64)?;
        let ticks = ticks.as_primitive::<Int64Type>().clone();
        let rows = match keys.is_empty() {
            true => None,
            false => Some(self.keys.convert_columns(&keys)?),
        };
        let nulls = keys.into_iter().filter(|key| key.null_count() > 0).collect();
        Ok(Side { batch, keys: rows, nulls, ticks })
    }
}

/// A row of the right side: number of its batch and place in it.
type Place = (usize, usize);

struct Merge {
    left: SendableRecordBatchStream,
    right: SendableRecordBatchStream,
    right_schema: SchemaRef,
    reader: Reader,
    matching: Match,
    schema: SchemaRef,
    /// Batches of the right side that are still wanted; the last is the one being read.
    held: Vec<Side>,
    /// The first row not passed yet; `None` at the end of the right side.
    next: Option<Place>,
    /// The last row passed that can match.
    candidate: Option<Place>,
    memory: MemoryReservation,
}

impl Merge {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some(batch) = self.left.next().await else { return Ok(None) };
        let left = self.reader.read(batch?)?;
        let mut matches = Vec::with_capacity(left.batch.num_rows());
        for row in 0..left.batch.num_rows() {
            let found = match left.is_known(row) {
                true => self.find(&left, row, &mut matches).await?,
                false => None,
            };
            matches.push(found);
        }
        let joined = self.join(&left, &matches)?;
        self.forget(&mut [])?;
        Ok(Some(joined))
    }

    /// The match of one left row; left rows ascend, so that nothing is looked at twice.
    async fn find(
        &mut self,
        left: &Side,
        row: usize,
        matches: &mut [Option<Place>],
    ) -> Result<Option<Place>> {
        let tick = left.ticks.value(row);
        while self.ready(matches).await? {
            let Some((batch, at)) = self.next else { break };
            let side = &self.held[batch];
            let passes = match side.key(at).cmp(&left.key(row)) {
                _ if !side.is_known(at) => true,
                Ordering::Less => true,
                Ordering::Greater => false,
                Ordering::Equal => {
                    let than = side.ticks.value(at).cmp(&tick);
                    // What lies before is passed; so are equals that match, or that must not.
                    than.is_lt() || (than.is_eq() && self.matching.before != self.matching.strict)
                }
            };
            if !passes {
                break;
            }
            if side.is_known(at) {
                self.candidate = Some((batch, at));
            }
            self.next = Some((batch, at + 1));
        }
        let place = match self.matching.before {
            true => self.candidate,
            false => self.next.filter(|(batch, _)| *batch < self.held.len()),
        };
        Ok(place.filter(|(batch, at)| {
            let side = &self.held[*batch];
            let near = self
                .matching
                .tolerance
                .is_none_or(|most| side.ticks.value(*at).abs_diff(tick) <= most.unsigned_abs());
            near && side.is_known(*at) && side.key(*at) == left.key(row)
        }))
    }

    /// Makes sure that the next row is there; false at the end.
    async fn ready(&mut self, matches: &mut [Option<Place>]) -> Result<bool> {
        loop {
            let Some((batch, at)) = self.next else { return Ok(false) };
            if self.held.get(batch).is_some_and(|side| at < side.batch.num_rows()) {
                return Ok(true);
            }
            match self.right.next().await {
                Some(batch) => {
                    let side = self.reader.read(batch?)?;
                    self.next = None;
                    self.forget(matches)?;
                    self.held.push(side);
                    self.next = Some((self.held.len() - 1, 0));
                }
                None => self.next = None,
            }
        }
    }

    /// Lets go of batches that neither matches nor what comes need.
    fn forget(&mut self, matches: &mut [Option<Place>]) -> Result<()> {
        let mut wanted = vec![false; self.held.len()];
        let places = matches.iter().flatten().chain(&self.candidate).chain(&self.next);
        for (batch, _) in places {
            if let Some(wanted) = wanted.get_mut(*batch) {
                *wanted = true;
            }
        }
        let mut moved = Vec::with_capacity(wanted.len());
        let mut count = 0;
        for wanted in &wanted {
            moved.push(count);
            count += usize::from(*wanted);
        }
        let mut at = 0;
        self.held.retain(|_| {
            at += 1;
            wanted[at - 1]
        });
        let places = matches.iter_mut().flatten().chain(&mut self.candidate).chain(&mut self.next);
        for (batch, _) in places {
            // The place behind the last batch stays behind it.
            *batch = moved.get(*batch).copied().unwrap_or(count);
        }
        let bytes: usize = self.held.iter().map(|s| s.batch.get_array_memory_size()).sum();
        self.memory.try_resize(bytes)
    }

    /// The left rows beside their matches.
    fn join(&self, left: &Side, matches: &[Option<Place>]) -> Result<RecordBatch> {
        let shown = |count: usize| count - (self.reader.count + 1);
        let left_columns = shown(left.batch.num_columns());
        let mut columns = left.batch.columns()[..left_columns].to_vec();
        let picks: Vec<Place> = matches
            .iter()
            .map(|place| place.map_or((0, 0), |(batch, at)| (batch + 1, at)))
            .collect();
        for at in 0..shown(self.right_schema.fields().len()) {
            let none = new_null_array(self.right_schema.field(at).data_type(), 1);
            let mut arrays: Vec<&dyn Array> = vec![&none];
            arrays.extend(self.held.iter().map(|side| side.batch.column(at).as_ref()));
            columns.push(interleave(&arrays, &picks)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(matches.len()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }
}
