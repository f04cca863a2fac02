//! What running a plan may cost, about: statements that cost little pass the queue of heavy ones.
//!
//! Counted are the rows of the leaves and those that operators make out of them. A leaf or an
//! operator of which nothing is known makes a plan heavy. Wrong guesses cost fairness, nothing else.

use datafusion::common::stats::Precision;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::{CrossJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::statistics::StatisticsArgs;

use crate::native::AggregateExec;

/// Rows that are read or made by a plan that passes the queue.
const LIGHT_READ_MAX: f64 = 100_000.0;
const LIGHT_MADE_MAX: f64 = 1_000_000.0;
/// Rows that are read or made by a plan that ends soon, within a second or so.
const SHORT_READ_MAX: f64 = 5_000_000.0;
const SHORT_MADE_MAX: f64 = 50_000_000.0;

/// See the head of this file.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weight {
    /// Rows of the leaves.
    read: f64,
    /// Rows that any operator gives, all together.
    made: f64,
    /// Rows that the operator at the top gives, and those that it gives where every row of a join's
    /// one side meets every row of its other.
    given: f64,
    worst: f64,
    unknown: bool,
}

impl Weight {
    pub(crate) fn of(plan: &dyn ExecutionPlan) -> Weight {
        let children = plan.children();
        if children.is_empty() {
            return Weight::of_leaf(plan);
        }
        let inputs: Vec<Weight> =
            children.into_iter().map(|child| Weight::of(child.as_ref())).collect();
        let product = plan.downcast_ref::<CrossJoinExec>().is_some()
            || plan.downcast_ref::<NestedLoopJoinExec>().is_some();
        let given = match product {
            true => inputs.iter().map(|input| input.given).product(),
            false => inputs.iter().map(|input| input.given).sum(),
        };
        // What is asked of a recursive query is known at its end.
        let unknown = plan.name().contains("Recursive");
        let sum = |of: fn(&Weight) -> f64| inputs.iter().map(of).sum::<f64>();
        Weight {
            read: sum(|input| input.read),
            made: sum(|input| input.made) + given,
            given,
            worst: inputs.iter().map(|input| input.worst.max(1.0)).product(),
            unknown: unknown || inputs.iter().any(|input| input.unknown),
        }
    }

    fn of_leaf(plan: &dyn ExecutionPlan) -> Weight {
        let rows = match (plan.downcast_ref::<AggregateExec>(), plan.name()) {
            (Some(aggregate), _) => Some(aggregate.rows_about()),
            // One row a group at most, from memory.
            (None, "LastRows") => Some(0.0),
            (None, "EmptyExec") => Some(0.0),
            (None, "PlaceholderRowExec") => Some(1.0),
            _ => rows_of(plan),
        };
        let (rows, unknown) = (rows.unwrap_or(0.0), rows.is_none());
        Weight { read: rows, made: rows, given: rows, worst: rows, unknown }
    }

    /// Rows of the leaves.
    pub(crate) fn rows_read(&self) -> u64 {
        self.read as u64
    }

    /// Whether it passes the queue.
    pub(crate) fn is_light(&self) -> bool {
        !self.unknown && self.read <= LIGHT_READ_MAX && self.made <= LIGHT_MADE_MAX
    }

    /// Whether it is surely done in a moment, whatever its joins find.
    pub(crate) fn is_sure(&self) -> bool {
        self.is_light() && self.worst <= LIGHT_MADE_MAX
    }

    /// Whether it ends soon.
    pub(crate) fn is_short(&self) -> bool {
        !self.unknown && self.read <= SHORT_READ_MAX && self.made <= SHORT_MADE_MAX
    }
}

/// Rows of a leaf by its statistics.
fn rows_of(plan: &dyn ExecutionPlan) -> Option<f64> {
    let statistics = plan.statistics_from_inputs(&[], &StatisticsArgs::new()).ok()?;
    match statistics.num_rows {
        Precision::Exact(rows) | Precision::Inexact(rows) => Some(rows as f64),
        Precision::Absent => None,
    }
}
