//! `concat` and `concat_ws` write a boolean as it is shown, `t`; a cast to text makes it `true`.

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Case, Expr, ExprSchemable, LogicalPlan, lit};
use datafusion::optimizer::AnalyzerRule;

/// Rewrites the arguments, before type coercion casts them to text.
#[derive(Debug)]
pub(crate) struct JoinedTexts;

impl AnalyzerRule for JoinedTexts {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|node| {
            let mut found = false;
            node.apply_expressions(|expr| {
                found = found || expr.exists(|expr| Ok(joins(expr)))?;
                Ok(TreeNodeRecursion::Continue)
            })?;
            if !found {
                return Ok(Transformed::no(node));
            }
            let mut schema = merge_schema(&node.inputs());
            if let LogicalPlan::TableScan(scan) = &node {
                schema.merge(&scan.projected_schema);
            }
            let names = NamePreserver::new(&node);
            node.map_expressions(|expr| {
                let name = names.save(&expr);
                let expr = expr.transform_up(|expr| Ok(shown(expr, &schema)))?;
                Ok(expr.update_data(|expr| name.restore(expr)))
            })
        })?;
        Ok(rewritten.data)
    }

    fn name(&self) -> &'static str {
        "joined_texts"
    }
}

/// The same for one expression of a statement that is not planned.
pub(crate) fn rewrite(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    Ok(expr.transform_up(|expr| Ok(shown(expr, schema)))?.data)
}

fn joins(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if matches!(call.func.name(), "concat" | "concat_ws"))
}

fn shown(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    // An open parameter has no type yet: the plan is analysed again when it has.
    let is_boolean = |arg: &Expr| arg.get_type(schema).is_ok_and(|kind| kind == DataType::Boolean);
    let ScalarFunction { func, args } = match expr {
        Expr::ScalarFunction(call) if call.args.iter().any(is_boolean) => call,
        other => return Transformed::no(other),
    };
    if !matches!(func.name(), "concat" | "concat_ws") {
        return Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args }));
    }
    let letter = |arg: Expr| {
        let pair = |value: bool, text: &str| (Box::new(lit(value)), Box::new(lit(text)));
        let pairs = vec![pair(true, "t"), pair(false, "f")];
        Expr::Case(Case { expr: Some(Box::new(arg)), when_then_expr: pairs, else_expr: None })
    };
    let args = args.into_iter().map(|arg| if is_boolean(&arg) { letter(arg) } else { arg });
    Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args: args.collect() }))
}
