//! ASOF JOIN: each row of the left side with the row of the right side of the same keys whose
//! time is nearest before (or after) its own; NULLs where there is none.
//!
//! `sugar` makes a left join of it whose condition carries a marker; here that join becomes an
//! [`AsOf`] node, and its operator merges both sides sorted by keys and time, a batch at a time.
//! Keys and times may be any expressions: they are computed below, as the last columns of each
//! side.

mod exec;
mod rewrite;

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use datafusion::common::{DFSchema, DFSchemaRef, Result};
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::physical_plan::ExecutionPlan;

pub(crate) use exec::{Reader, Side, order};
pub(crate) use rewrite::rewrite;

/// Which rows of the right side match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Match {
    /// At or before the time of the left row; else at or after it.
    before: bool,
    /// Not at the same time.
    strict: bool,
    /// Ticks between the two, at most.
    tolerance: Option<i64>,
}

/// The node of a logical plan.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AsOf {
    left: LogicalPlan,
    right: LogicalPlan,
    /// Each side ends in so many keys and a time.
    keys: usize,
    matching: Match,
    schema: DFSchemaRef,
}

impl AsOf {
    fn new(left: LogicalPlan, right: LogicalPlan, keys: usize, matching: Match) -> Result<AsOf> {
        let shown = |plan: &LogicalPlan| plan.schema().fields().len().saturating_sub(keys + 1);
        let of = |plan: &LogicalPlan, optional: bool| {
            let fields = plan.schema().iter().take(shown(plan)).map(move |(qualifier, field)| {
                let field = match optional {
                    true => Arc::new(field.as_ref().clone().with_nullable(true)),
                    false => field.clone(),
                };
                (qualifier.cloned(), field)
            });
            fields.collect::<Vec<_>>()
        };
        let mut fields = of(&left, false);
        fields.extend(of(&right, true));
        let schema = DFSchema::new_with_metadata(fields, left.schema().metadata().clone())?;
        Ok(AsOf { left, right, keys, matching, schema: Arc::new(schema) })
    }

    /// Columns of the left side that are shown.
    fn left_columns(&self) -> usize {
        self.left.schema().fields().len().saturating_sub(self.keys + 1)
    }

    /// The operator over those of the two sides.
    pub(crate) fn operator(
        &self,
        left: Arc<dyn ExecutionPlan>,
        right: Arc<dyn ExecutionPlan>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = Arc::new(self.schema.as_arrow().clone());
        Ok(Arc::new(exec::AsOfExec::new([left, right], self.keys, self.matching, schema)?))
    }
}

impl PartialOrd for AsOf {
    fn partial_cmp(&self, other: &AsOf) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for AsOf {
    fn name(&self) -> &str {
        "AsOfJoin"
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
        write!(f, "AsOfJoin: keys={}, {}", self.keys, self.matching)
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<AsOf> {
        let mut inputs = inputs.into_iter();
        let left = inputs.next().unwrap_or_else(|| self.left.clone());
        let right = inputs.next().unwrap_or_else(|| self.right.clone());
        AsOf::new(left, right, self.keys, self.matching)
    }

    /// Columns that nobody reads above are not read below; keys and times always are.
    fn necessary_children_exprs(&self, wanted: &[usize]) -> Option<Vec<Vec<usize>>> {
        let columns = self.left_columns();
        let helpers = |plan: &LogicalPlan| {
            let count = plan.schema().fields().len();
            count - (self.keys + 1)..count
        };
        let mut left: Vec<usize> = wanted.iter().copied().filter(|at| *at < columns).collect();
        let beyond = wanted.iter().filter(|at| **at >= columns);
        let mut right: Vec<usize> = beyond.map(|at| at - columns).collect();
        left.extend(helpers(&self.left));
        right.extend(helpers(&self.right));
        Some(vec![left, right])
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.before { "before" } else { "after" };
        let strict = if self.strict { "strictly " } else { "" };
        write!(f, "right {strict}{word} left")?;
        match self.tolerance {
            Some(ticks) => write!(f, ", at most {ticks} ticks"),
            None => Ok(()),
        }
    }
}
