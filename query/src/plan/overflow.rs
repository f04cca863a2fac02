//! Sums, differences and products of integers that do not fit their type are errors, as in
//! PostgreSQL. DataFusion's operators wrap, and would give wrong numbers without a word.
//!
//! Behind type coercion, where both sides have the type of the result, such an operator becomes a
//! function that looks. Casts (`casts`) and comparisons of intervals (`spans`) get PostgreSQL's values
//! there, too.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Datum};
use arrow::compute::kernels::numeric::{add, mul, neg, sub};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, exec_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr_common::datum::apply;

use super::{casts, spans};
use crate::error::QueryError;

/// Rewrites the operators and casts.
#[derive(Debug)]
pub(crate) struct CheckedIntegers;

impl AnalyzerRule for CheckedIntegers {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|node| {
            let read = spans::are_read(&node);
            let sorts = read && matches!(node, LogicalPlan::Sort(_));
            if !sorts && !computes(&node, read)? {
                return Ok(Transformed::no(node));
            }
            let mut schema = merge_schema(&node.inputs());
            if let LogicalPlan::TableScan(scan) = &node {
                schema.merge(&scan.projected_schema);
            }
            let names = NamePreserver::new(&node);
            node.map_expressions(|expr| {
                let name = names.save(&expr);
                let expr = expr.transform_up(|expr| Ok(checked(expr, &schema, read)))?;
                if sorts {
                    return expr.transform_data(|expr| Ok(spans::sorted(expr, &schema)));
                }
                Ok(expr.update_data(|expr| name.restore(expr)))
            })
        })?;
        Ok(rewritten.data)
    }

    fn name(&self) -> &'static str {
        "checked_integers"
    }
}

/// The same for one expression that has its types, of a statement that is not planned.
pub(crate) fn check(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    Ok(expr.transform_up(|expr| Ok(checked(expr, schema, true)))?.data)
}

/// Whether there is anything to rewrite: most nodes have nothing, and need no schema then.
fn computes(node: &LogicalPlan, read: bool) -> Result<bool> {
    let mut found = false;
    node.apply_expressions(|expr| {
        let concerns = |expr: &Expr| {
            operation(expr).is_some()
                || matches!(expr, Expr::Cast(cast) if casts::concerns(cast))
                || spans::concerns(expr, read)
        };
        found = found || expr.exists(|expr| Ok(concerns(expr)))?;
        Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// The function that an operator becomes.
fn operation(expr: &Expr) -> Option<&'static Arc<ScalarUDF>> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { op: Operator::Plus, .. }) => Some(&ADD),
        Expr::BinaryExpr(BinaryExpr { op: Operator::Minus, .. }) => Some(&SUBTRACT),
        Expr::BinaryExpr(BinaryExpr { op: Operator::Multiply, .. }) => Some(&MULTIPLY),
        Expr::Negative(_) => Some(&NEGATE),
        _ => None,
    }
}

fn checked(expr: Expr, schema: &DFSchema, read: bool) -> Transformed<Expr> {
    let expr = match expr {
        Expr::Cast(cast) => return casts::as_postgres(cast, schema),
        other if spans::concerns(&other, read) => return spans::as_postgres(other, schema),
        other => other,
    };
    let Some(function) = operation(&expr) else { return Transformed::no(expr) };
    // An open parameter has no type yet: the plan is analysed again when it has.
    let whole = |expr: &Expr| expr.get_type(schema).ok().filter(DataType::is_signed_integer);
    let args = match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (whole(&left), whole(&right)) {
            (Some(of), Some(other)) if of == other => vec![*left, *right],
            _ => return Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
        },
        Expr::Negative(inner) if whole(&inner).is_some() => vec![*inner],
        other => return Transformed::no(other),
    };
    Transformed::yes(Expr::ScalarFunction(ScalarFunction { func: Arc::clone(function), args }))
}

static ADD: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf("integer_add", Some("+"), 2));
static SUBTRACT: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf("integer_subtract", Some("-"), 2));
static MULTIPLY: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf("integer_multiply", Some("*"), 2));
static NEGATE: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf("integer_negate", None, 1));

fn udf(name: &'static str, operator: Option<&'static str>, args: usize) -> Arc<ScalarUDF> {
    let signature = Signature::any(args, Volatility::Immutable);
    Arc::new(ScalarUDF::from(Checked { name, operator, signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    name: &'static str,
    /// The operator between two arguments; before one it is a minus.
    operator: Option<&'static str>,
    signature: Signature,
}

impl Checked {
    fn compute(&self, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
        match self.operator {
            Some("+") => add(left, right),
            Some("-") => sub(left, right),
            _ => mul(left, right),
        }
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        match args.first() {
            Some(kind) => Ok(kind.clone()),
            None => exec_err!("{} takes arguments", self.name),
        }
    }

    /// As it was written.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(match (args, self.operator) {
            ([left, right], Some(operator)) => {
                let (left, right) = (left.schema_name(), right.schema_name());
                format!("({left} {operator} {right})")
            }
            (args, _) => match args.first() {
                Some(arg) => format!("(- {})", arg.schema_name()),
                None => self.name.to_owned(),
            },
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let computed = match args.args.as_slice() {
            [left, right] => apply(left, right, |left, right| self.compute(left, right)),
            [one] => apply(one, one, |one, _| neg(one.get().0)),
            _ => exec_err!("{} takes one or two arguments", self.name),
        };
        let kind = match args.return_field.data_type() {
            DataType::Int16 => "smallint",
            DataType::Int32 => "integer",
            _ => "bigint",
        };
        computed.map_err(|error| match error.find_root() {
            datafusion::error::DataFusionError::ArrowError(inner, _)
                if matches!(**inner, ArrowError::ArithmeticOverflow(_)) =>
            {
                QueryError::new("22003", format!("{kind} out of range")).into_datafusion()
            }
            _ => error,
        })
    }
}
