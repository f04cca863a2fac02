//! WINDOW JOIN: each row of the left side with aggregates of the rows of the right side that have its
//! keys and lie within a span of time around it.
//!
//! `sugar` makes a left join of it whose condition carries a marker, grouped by what the statement
//! wants of the left side. Here that aggregation becomes a [`WindowJoin`] node, whose operator merges
//! both sides sorted by keys and time and holds of the right side the rows of one window.

mod exec;
mod rewrite;

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::common::{DFSchema, DFSchemaRef, Result};
use datafusion::logical_expr::{AggregateUDF, Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::scalar::ScalarValue;

pub(crate) use rewrite::rewrite;

/// The times that belong to a left row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Window {
    /// Ticks from the left row's time to the first and to the last time, both included.
    from: i64,
    to: i64,
    /// The last row before the first time belongs to it, where none lies at the first time.
    prevailing: bool,
}

/// What an aggregate takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Arg {
    /// A column of the right side.
    Column(usize),
    Constant(ScalarValue),
}

/// An aggregate over the rows of a window.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Aggregate {
    function: Arc<AggregateUDF>,
    args: Vec<Arg>,
    distinct: bool,
    /// A column of the right side that says which rows count.
    filter: Option<usize>,
    /// Its result.
    field: FieldRef,
}

/// The node of a logical plan.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct WindowJoin {
    left: LogicalPlan,
    right: LogicalPlan,
    /// Each side ends in so many keys and a time.
    keys: usize,
    window: Window,
    aggregates: Vec<Aggregate>,
    schema: DFSchemaRef,
}

impl WindowJoin {
    fn new(
        left: LogicalPlan,
        right: LogicalPlan,
        keys: usize,
        window: Window,
        aggregates: Vec<Aggregate>,
    ) -> Result<WindowJoin> {
        let shown = left.schema().fields().len().saturating_sub(keys + 1);
        let mut fields: Vec<_> = left
            .schema()
            .iter()
            .take(shown)
            .map(|(qualifier, field)| (qualifier.cloned(), field.clone()))
            .collect();
        fields.extend(aggregates.iter().map(|aggregate| (None, aggregate.field.clone())));
        let schema = DFSchema::new_with_metadata(fields, left.schema().metadata().clone())?;
        Ok(WindowJoin { left, right, keys, window, aggregates, schema: Arc::new(schema) })
    }

    /// The operator over those of the two sides.
    pub(crate) fn operator(
        &self,
        left: Arc<dyn ExecutionPlan>,
        right: Arc<dyn ExecutionPlan>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = Arc::new(self.schema.as_arrow().clone());
        let aggregates = self.aggregates.clone().into();
        let made =
            exec::WindowJoinExec::new([left, right], self.keys, self.window, aggregates, schema);
        Ok(Arc::new(made?))
    }
}

impl PartialOrd for WindowJoin {
    fn partial_cmp(&self, other: &WindowJoin) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for WindowJoin {
    fn name(&self) -> &str {
        "WindowJoin"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WindowJoin: keys={}, {}", self.keys, self.window)
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<WindowJoin> {
        let mut inputs = inputs.into_iter();
        let left = inputs.next().unwrap_or_else(|| self.left.clone());
        let right = inputs.next().unwrap_or_else(|| self.right.clone());
        WindowJoin::new(left, right, self.keys, self.window, self.aggregates.clone())
    }

    /// Columns of the left side that nobody reads above are not read below; keys, times and what
    /// aggregates take always are.
    fn necessary_children_exprs(&self, wanted: &[usize]) -> Option<Vec<Vec<usize>>> {
        let count = self.left.schema().fields().len();
        let shown = count.saturating_sub(self.keys + 1);
        let mut left: Vec<usize> = wanted.iter().copied().filter(|at| *at < shown).collect();
        left.extend(shown..count);
        Some(vec![left, (0..self.right.schema().fields().len()).collect()])
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prevailing = if self.prevailing { ", with what prevails" } else { "" };
        write!(f, "ticks {} to {}{prevailing}", self.from, self.to)
    }
}
