//! EXPLAIN and EXPLAIN ANALYZE: the operators as lines of one text column.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt;

use crate::error::QueryResult;

/// Column of all explanations.
pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("QUERY PLAN", DataType::Utf8, false)]))
}

/// The plan as it would run, and what else is to be told of it.
pub(crate) fn plan(
    plan: &dyn ExecutionPlan,
    verbose: bool,
    told: Vec<String>,
) -> QueryResult<RecordBatch> {
    let text = DisplayableExecutionPlan::new(plan).indent(verbose).to_string();
    lines(text.lines().map(str::to_string).chain(told).collect())
}

/// Runs the plan, then tells what each operator did, and what else is to be told.
pub(crate) async fn analyze(
    plan: Arc<dyn ExecutionPlan>,
    task: Arc<TaskContext>,
    verbose: bool,
    told: Vec<String>,
    planning_ms: f64,
) -> QueryResult<RecordBatch> {
    let started = Instant::now();
    let mut stream = execute_stream(plan.clone(), task)?;
    let mut rows = 0usize;
    while let Some(batch) = stream.next().await {
        rows += batch?.num_rows();
    }
    drop(stream);
    let took = started.elapsed().as_secs_f64() * 1e3;
    let text = DisplayableExecutionPlan::with_metrics(plan.as_ref()).indent(verbose).to_string();
    let mut all: Vec<String> = text.lines().map(str::to_string).collect();
    all.extend(told);
    all.push(format!("Rows: {rows}"));
    all.push(format!("Planning Time: {planning_ms:.3} ms"));
    all.push(format!("Execution Time: {took:.3} ms"));
    lines(all)
}

/// Lines as the batch of an explanation.
pub(crate) fn lines(lines: Vec<String>) -> QueryResult<RecordBatch> {
    Ok(RecordBatch::try_new(schema(), vec![Arc::new(StringArray::from(lines))])?)
}
