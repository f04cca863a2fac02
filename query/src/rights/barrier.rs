//! What keeps a statement's own conditions from seeing rows that a policy or a view hides.
//!
//! DataFusion moves conditions below others and evaluates them in any order. One that cannot fail
//! and does nothing else than answer may be evaluated over hidden rows: nobody learns of it. One
//! that could fail (a division, a cast), or act (`pg_notify`), would tell. Where a statement has
//! such a one, a [`Barrier`] stands above each table with policies, and above each view that is read
//! by one who may not read everything: no condition over the columns that such ones use passes it,
//! others do, such as those of time.
//!
//! Columns are told apart by their names alone: what a name is called in a query around, what it
//! equals in a join, and what it is computed from, counts as the same.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchemaRef, Result, Statistics};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Expr, ExprSchemable, Extension, LogicalPlan, Operator, SubqueryAlias,
    UserDefinedLogicalNodeCore,
};
use datafusion::physical_plan::execution_plan::{CardinalityEffect, ReplaceChildrenOptions};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};

use super::is_policy;
use crate::plan::origins;

/// Puts barriers into an analysed plan, where it needs them. `views`: above views, too.
pub(crate) fn place(plan: LogicalPlan, views: bool) -> Result<LogicalPlan> {
    let mut told = Told::default();
    told.look(&plan, false)?;
    if !told.all && told.names.is_empty() {
        return Ok(plan);
    }
    told.settle();
    let placed = plan.transform_down_with_subqueries(|node| match node {
        LogicalPlan::SubqueryAlias(alias) => told.over(alias, views),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(placed.data)
}

/// The columns by which a statement could be told of rows that it does not see.
#[derive(Default)]
struct Told {
    names: HashSet<String>,
    /// Any column may be one.
    all: bool,
    /// Names that stand for each other.
    links: Vec<Vec<String>>,
}

impl Told {
    /// Looks at all conditions outside of policies. `under`: whether conditions above may come down
    /// to here.
    fn look(&mut self, plan: &LogicalPlan, under: bool) -> Result<()> {
        if let LogicalPlan::SubqueryAlias(alias) = plan
            && is_policy(alias.alias.table()).is_some()
        {
            return Ok(());
        }
        let mut queries = Vec::new();
        plan.apply_subqueries(|query| {
            queries.push(query.clone());
            Ok(TreeNodeRecursion::Continue)
        })?;
        // A query in an expression becomes part of a join.
        queries.iter().try_for_each(|query| self.look(query, true))?;
        let inputs = plan.inputs();
        let below = match plan {
            LogicalPlan::Filter(filter) => {
                self.condition(&filter.predicate, &inputs);
                true
            }
            LogicalPlan::Join(join) => {
                for (left, right) in &join.on {
                    self.condition(left, &inputs);
                    self.condition(right, &inputs);
                    self.links.push(names_of([left, right]));
                }
                if let Some(filter) = &join.filter {
                    self.condition(filter, &inputs);
                }
                true
            }
            LogicalPlan::Aggregate(Aggregate { group_expr, .. }) => {
                self.computed(group_expr, &inputs, under);
                under
            }
            LogicalPlan::Projection(_) | LogicalPlan::Window(_) => {
                self.computed(&plan.expressions(), &inputs, under);
                under
            }
            LogicalPlan::Union(_) => {
                for (at, field) in plan.schema().fields().iter().enumerate() {
                    let of = |input: &&LogicalPlan| input.schema().fields().get(at).cloned();
                    let inner = inputs.iter().filter_map(of).map(|field| field.name().clone());
                    self.links.push(inner.chain([field.name().clone()]).collect());
                }
                under
            }
            LogicalPlan::Sort(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Distinct(_)
            | LogicalPlan::Subquery(_)
            | LogicalPlan::SubqueryAlias(_) => under,
            LogicalPlan::TableScan(_) | LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => {
                return Ok(());
            }
            // Whatever it is, it may call columns as it likes.
            _ => {
                self.all |= !plan.expressions().iter().all(|expr| is_quiet(expr, &inputs));
                true
            }
        };
        inputs.into_iter().try_for_each(|input| self.look(input, below))
    }

    /// The alias with a barrier under it, if it stands for rows that are hidden from some.
    fn over(&self, alias: SubqueryAlias, views: bool) -> Result<Transformed<LogicalPlan>> {
        let policy = is_policy(alias.alias.table()).is_some();
        let view = views && origins::view_of_alias(alias.alias.table()).is_some();
        let fields = alias.input.schema().fields().iter().map(|field| field.name());
        let kept: BTreeSet<String> =
            fields.filter(|name| self.all || self.names.contains(*name)).cloned().collect();
        // What is below policies is their own.
        let next = if policy { TreeNodeRecursion::Jump } else { TreeNodeRecursion::Continue };
        if !(policy || view) || kept.is_empty() {
            return Ok(Transformed::new(LogicalPlan::SubqueryAlias(alias), false, next));
        }
        let input = Barrier { input: alias.input.as_ref().clone(), kept };
        let input = LogicalPlan::Extension(Extension { node: Arc::new(input) });
        let alias = SubqueryAlias::try_new(Arc::new(input), alias.alias)?;
        Ok(Transformed::new(LogicalPlan::SubqueryAlias(alias), true, next))
    }

    fn condition(&mut self, expr: &Expr, inputs: &[&LogicalPlan]) {
        if let Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) = expr
        {
            self.condition(left, inputs);
            self.condition(right, inputs);
            return;
        }
        let names = names_of([expr]);
        if !is_quiet(expr, inputs) {
            self.all |= names.is_empty();
            self.names.extend(names);
        } else if let Expr::BinaryExpr(BinaryExpr { op: Operator::Eq, .. }) = expr {
            self.links.push(names);
        }
    }

    /// What conditions on computed columns become further down.
    fn computed(&mut self, exprs: &[Expr], inputs: &[&LogicalPlan], under: bool) {
        for expr in exprs.iter().filter(|_| under) {
            let mut names = names_of([expr]);
            if !is_quiet(expr, inputs) {
                self.all |= names.is_empty();
                self.names.extend(names.iter().cloned());
            }
            names.push(expr.qualified_name().1);
            self.links.push(names);
        }
    }

    /// Takes in what stands for one of the names.
    fn settle(&mut self) {
        loop {
            let before = self.names.len();
            for link in &self.links {
                if link.iter().any(|name| self.names.contains(name)) {
                    self.names.extend(link.iter().cloned());
                }
            }
            if self.names.len() == before {
                return;
            }
        }
    }
}

/// Names of the columns in expressions, with those of queries around.
fn names_of<'a>(exprs: impl IntoIterator<Item = &'a Expr>) -> Vec<String> {
    let mut names = Vec::new();
    for expr in exprs {
        // The walk ends only at the end.
        let _ = expr.apply(|part| {
            if let Expr::Column(column) | Expr::OuterReferenceColumn(_, column) = part {
                names.push(column.name.clone());
            }
            Ok(TreeNodeRecursion::Continue)
        });
    }
    names
}

/// Functions that answer for every value and do nothing else.
const QUIET: [&str; 12] = [
    "lower",
    "upper",
    "coalesce",
    "nullif",
    "character_length",
    "length",
    "starts_with",
    "btrim",
    "time_bucket",
    "date_bin",
    "date_trunc",
    "date_part",
];

/// Whether an expression answers for every row and does nothing else.
fn is_quiet(expr: &Expr, inputs: &[&LogicalPlan]) -> bool {
    let all = |list: &[Expr]| list.iter().all(|expr| is_quiet(expr, inputs));
    // What is the same for all rows says nothing of them.
    let plain = |expr: &Expr| matches!(expr, Expr::Literal(..) | Expr::Placeholder(_));
    match expr {
        expr if plain(expr) => true,
        Expr::Column(_)
        | Expr::OuterReferenceColumn(..)
        | Expr::Exists(_)
        | Expr::ScalarSubquery(_) => true,
        Expr::Alias(alias) => is_quiet(&alias.expr, inputs),
        Expr::Not(inner)
        | Expr::IsNull(inner)
        | Expr::IsNotNull(inner)
        | Expr::IsTrue(inner)
        | Expr::IsFalse(inner)
        | Expr::IsUnknown(inner)
        | Expr::IsNotTrue(inner)
        | Expr::IsNotFalse(inner)
        | Expr::IsNotUnknown(inner) => is_quiet(inner, inputs),
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if compares(*op) || (computes(*op) && is_float(expr, inputs)) =>
        {
            is_quiet(left, inputs) && is_quiet(right, inputs)
        }
        Expr::Between(between) => {
            is_quiet(&between.expr, inputs)
                && is_quiet(&between.low, inputs)
                && is_quiet(&between.high, inputs)
        }
        Expr::InList(list) => is_quiet(&list.expr, inputs) && all(&list.list),
        Expr::InSubquery(within) => is_quiet(&within.expr, inputs),
        Expr::Like(like) => is_quiet(&like.expr, inputs) && plain(&like.pattern),
        Expr::Case(case) => {
            let mut parts = case
                .expr
                .iter()
                .chain(&case.else_expr)
                .chain(case.when_then_expr.iter().flat_map(|(when, then)| [when, then]));
            parts.all(|part| is_quiet(part, inputs))
        }
        Expr::Cast(cast) => {
            is_quiet(&cast.expr, inputs) && widens(&cast.expr, cast.field.data_type(), inputs)
        }
        Expr::ScalarFunction(call) if QUIET.contains(&call.name()) => all(&call.args),
        other => has_no_rows(other),
    }
}

fn compares(op: Operator) -> bool {
    matches!(
        op,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::And
            | Operator::Or
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}

fn computes(op: Operator) -> bool {
    matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide)
}

/// Whether an expression gives floats, which have an answer for everything.
fn is_float(expr: &Expr, inputs: &[&LogicalPlan]) -> bool {
    let kind = inputs.iter().find_map(|input| expr.get_type(input.schema().as_ref()).ok());
    matches!(kind, Some(DataType::Float32 | DataType::Float64))
}

/// Whether an expression is about no row: then it is evaluated once, whatever rows there are.
fn has_no_rows(expr: &Expr) -> bool {
    let mut free = true;
    let looked = expr.apply(|part| {
        free &= match part {
            Expr::Literal(..) | Expr::Placeholder(_) | Expr::Cast(_) | Expr::Negative(_) => true,
            // Whether there are rows at all would be told by an error of these.
            Expr::BinaryExpr(binary) => !matches!(binary.op, Operator::Divide | Operator::Modulo),
            Expr::ScalarFunction(call) => {
                use datafusion::logical_expr::Volatility;
                call.func.signature().volatility != Volatility::Volatile
            }
            _ => false,
        };
        Ok(if free { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    free && looked.is_ok()
}

/// Whether a cast has an answer for every value.
fn widens(expr: &Expr, to: &DataType, inputs: &[&LogicalPlan]) -> bool {
    if has_no_rows(expr) {
        return true;
    }
    let kind = inputs.iter().find_map(|input| expr.get_type(input.schema().as_ref()).ok());
    let Some(from) = kind else { return false };
    let text =
        |kind: &DataType| matches!(kind, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8);
    match (&from, to) {
        (from, to) if from == to || (text(from) && text(to)) => true,
        (from, DataType::Float64) => from.is_integer() || *from == DataType::Float32,
        (from, DataType::Int64) => {
            matches!(from, DataType::Int8 | DataType::Int16 | DataType::Int32)
        }
        (from, DataType::Int32) => matches!(from, DataType::Int8 | DataType::Int16),
        // What is beyond the times of ns has no place in tables of series.
        (DataType::Timestamp(..), DataType::Timestamp(..)) => true,
        _ => false,
    }
}

/// The node of a logical plan that no condition over some columns passes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Barrier {
    input: LogicalPlan,
    kept: BTreeSet<String>,
}

impl Barrier {
    /// The operator over that of the input.
    pub(crate) fn operator(&self, input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        Arc::new(BarrierExec { input })
    }
}

impl PartialOrd for Barrier {
    fn partial_cmp(&self, other: &Barrier) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for Barrier {
    fn name(&self) -> &str {
        "Barrier"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Barrier")
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.kept.iter().cloned().collect()
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Barrier> {
        let input = inputs.into_iter().next().unwrap_or_else(|| self.input.clone());
        Ok(Barrier { input, kept: self.kept.clone() })
    }

    fn necessary_children_exprs(&self, columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![columns.to_vec()])
    }
}

/// Passes batches on. Filters of operators above it stay there.
struct BarrierExec {
    input: Arc<dyn ExecutionPlan>,
}

impl fmt::Debug for BarrierExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BarrierExec").field("input", &self.input).finish()
    }
}

impl DisplayAs for BarrierExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Barrier")
    }
}

impl ExecutionPlan for BarrierExec {
    fn name(&self) -> &'static str {
        "BarrierExec"
    }

    /// Those of the input, shared.
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
            Some(input) => Ok(Arc::new(BarrierExec { input })),
            None => Ok(self),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        self.input.execute(partition, context)
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
