//! Makes every operator of a plan end soon after its statement must.
//!
//! DataFusion's leaves and exchanges yield to the runtime now and then, but operators that make
//! many rows out of few do not: a cross join under an aggregate turns two batches of its input
//! into billions of rows and is polled for minutes without once answering "pending". So a
//! [`StopExec`] goes above every operator that may work long between two batches of its input. It
//! looks whether the statement must end before it asks for the next batch, and it takes part in
//! Tokio's budget, so that other statements have their turn.
//!
//! Join conditions that nothing meets give no batch at which to look, so they are wrapped too, in
//! a [`StopExpr`] that looks at every evaluation.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::common::{Result, Statistics};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::execution_plan::{
    CardinalityEffect, EmissionType, ReplaceChildrenOptions, SchedulingType,
    replace_children_if_necessary,
};
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder,
};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use futures::{Stream, StreamExt};

use super::Stop;

/// The plan with guards where it needs them. The operator at the top needs none: whoever drives
/// the plan looks after each of its batches.
pub(crate) fn guard(plan: Arc<dyn ExecutionPlan>, stop: &Stop) -> Result<Arc<dyn ExecutionPlan>> {
    let children = plan
        .children()
        .into_iter()
        .map(|child| {
            let busy = is_busy(child.as_ref());
            let child = guard(child.clone(), stop)?;
            Ok(match busy {
                true => Arc::new(StopExec { input: child, stop: stop.clone() }) as _,
                false => child,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let plan = match children.is_empty() {
        true => plan,
        false => replace_children_if_necessary(plan, children)?,
    };
    guard_condition(plan, stop)
}

/// Whether the operator may give many batches for few of its input, or work long for one.
fn is_busy(plan: &dyn ExecutionPlan) -> bool {
    let shrinks = || {
        matches!(
            plan.cardinality_effect(),
            CardinalityEffect::Equal | CardinalityEffect::LowerEqual
        )
    };
    match plan.children().len() {
        // Leaves have guards of their own kind already.
        0 => false,
        1 if plan.properties().scheduling_type == SchedulingType::Cooperative => false,
        1 => plan.pipeline_behavior() != EmissionType::Incremental || !shrinks(),
        _ => true,
    }
}

fn guard_condition(plan: Arc<dyn ExecutionPlan>, stop: &Stop) -> Result<Arc<dyn ExecutionPlan>> {
    let wrap = |filter: &JoinFilter| {
        let expression =
            Arc::new(StopExpr { inner: filter.expression().clone(), stop: stop.clone() });
        let columns = filter.column_indices().to_vec();
        Some(JoinFilter::new(expression, columns, filter.schema().clone()))
    };
    if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>()
        && let Some(filter) = join.filter()
    {
        let builder = NestedLoopJoinExecBuilder::from(join).with_filter(wrap(filter));
        return Ok(Arc::new(builder.build()?));
    }
    if let Some(join) = plan.downcast_ref::<HashJoinExec>()
        && let Some(filter) = join.filter()
    {
        return join.builder().with_filter(wrap(filter)).build_exec();
    }
    Ok(plan)
}

/// Passes batches on until the statement must end.
struct StopExec {
    input: Arc<dyn ExecutionPlan>,
    stop: Stop,
}

impl fmt::Debug for StopExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StopExec").field("input", &self.input).finish_non_exhaustive()
    }
}

impl DisplayAs for StopExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StopExec")
    }
}

impl ExecutionPlan for StopExec {
    fn name(&self) -> &'static str {
        "StopExec"
    }

    /// Those of the input, shared, so that operators above need not work theirs out again.
    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
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
            Some(input) => Ok(Arc::new(StopExec { input, stop: self.stop.clone() })),
            None => Ok(self),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let input = make_cooperative(self.input.execute(partition, context)?);
        Ok(Box::pin(StopStream { input, stop: self.stop.clone() }))
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(
        &self,
        input: &[Arc<Statistics>],
        _: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        match input.first() {
            Some(statistics) => Ok(statistics.clone()),
            None => Ok(Arc::new(Statistics::new_unknown(&self.schema()))),
        }
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}

struct StopStream {
    input: SendableRecordBatchStream,
    stop: Stop,
}

impl Stream for StopStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.stop.check() {
            Ok(()) => self.input.poll_next_unpin(cx),
            Err(error) => Poll::Ready(Some(Err(error.into_datafusion()))),
        }
    }
}

impl RecordBatchStream for StopStream {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}

/// A join's condition that fails once the statement must end.
struct StopExpr {
    inner: Arc<dyn PhysicalExpr>,
    stop: Stop,
}

impl fmt::Debug for StopExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl fmt::Display for StopExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

impl PartialEq for StopExpr {
    fn eq(&self, other: &StopExpr) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for StopExpr {}

impl Hash for StopExpr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl PhysicalExpr for StopExpr {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.inner.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.inner.nullable(schema)
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.inner.return_field(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        self.stop.check().map_err(|error| error.into_datafusion())?;
        self.inner.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        match children.into_iter().next() {
            Some(inner) => Ok(Arc::new(StopExpr { inner, stop: self.stop.clone() })),
            None => Ok(self),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}
