//! Gap filling: buckets without rows between the rows of an aggregation.
//!
//! `GROUP BY time_bucket_gapfill(…), keys` becomes an ordinary aggregation by `time_bucket` under
//! a [`GapFill`], which sorts by keys and time, and adds to each key the buckets it lacks. What
//! `locf`, `interpolate` and `fill_value` wrap is computed under it, filled by it, and read by
//! name above it. HAVING applies to what was aggregated, so its victims are gaps.
//!
//! The grid runs from the bucket of `start` to the last that starts before `finish`: arguments
//! of the call, else the bounds that WHERE gives the time, else first and last bucket of all
//! that was aggregated. Rows outside of it stay as they are.

mod exec;
mod fill;
mod rewrite;

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{IntervalMonthDayNano, TimeUnit};
use datafusion::common::{DFSchema, DFSchemaRef, Result, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::physical_plan::ExecutionPlan;

use crate::functions::Cut;

pub(crate) use rewrite::rewrite;

/// What is filled, by positions of the input's columns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Spec {
    time: usize,
    unit: TimeUnit,
    keys: Vec<usize>,
    width: IntervalMonthDayNano,
    cut: Cut,
    /// Ticks from which buckets are wanted; none: from the first that there is.
    start: Option<i64>,
    /// Ticks before which buckets must start; none: up to the last that there is.
    finish: Option<i64>,
    fills: Vec<(usize, Method)>,
    /// Buckets that may be added.
    rows_max: usize,
}

/// What a column has in buckets that are added; NULL without one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Method {
    /// The value of the bucket before; of a column before the first.
    Locf {
        prev: Option<usize>,
        nulls_missing: bool,
    },
    /// On the line between the known values around; of columns of (time, value) at the edges.
    Linear {
        prev: Option<usize>,
        next: Option<usize>,
    },
    Value(ScalarValue),
}

/// The node of a logical plan.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct GapFill {
    input: LogicalPlan,
    schema: DFSchemaRef,
    spec: Spec,
}

impl GapFill {
    fn new(input: LogicalPlan, spec: Spec) -> Result<GapFill> {
        let given = input.schema();
        let fields = given.iter().enumerate().map(|(at, (qualifier, field))| {
            let certain = at == spec.time || spec.keys.contains(&at);
            let field = match certain {
                true => field.clone(),
                false => Arc::new(field.as_ref().clone().with_nullable(true)),
            };
            (qualifier.cloned(), field)
        });
        let schema = DFSchema::new_with_metadata(fields.collect(), given.metadata().clone())?;
        Ok(GapFill { input, schema: Arc::new(schema), spec })
    }

    /// The operator over that of the input.
    pub(crate) fn operator(&self, input: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = Arc::new(self.schema.as_arrow().clone());
        Ok(Arc::new(exec::GapFillExec::new(input, self.spec.clone(), schema)?))
    }
}

impl PartialOrd for GapFill {
    fn partial_cmp(&self, other: &GapFill) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for GapFill {
    fn name(&self) -> &str {
        "GapFill"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GapFill: width={:?}, keys={}", self.spec.width, self.spec.keys.len())
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<GapFill> {
        let input = inputs.into_iter().next().unwrap_or_else(|| self.input.clone());
        GapFill::new(input, self.spec.clone())
    }

    /// Columns are named by position, so all of them stay.
    fn necessary_children_exprs(&self, _: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![(0..self.input.schema().fields().len()).collect()])
    }
}
