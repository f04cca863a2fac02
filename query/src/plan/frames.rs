//! Frames of window functions ordered by what DataFusion has no ranges of: uuid and bytea.
//!
//! The frame of `OVER (ORDER BY x)` that says nothing is a RANGE up to the current row, its peers
//! included. Between bounds without an offset that is the same as GROUPS, which takes any type.

use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, WindowFrame, WindowFrameBound, WindowFrameUnits,
};
use datafusion::optimizer::AnalyzerRule;

use super::uuids::shown;
use crate::error::QueryError;

/// Rewrites the frames, before type coercion, which refuses them.
#[derive(Debug)]
pub(crate) struct Frames;

impl AnalyzerRule for Frames {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|node| {
            if !matches!(node, LogicalPlan::Window(_)) {
                return Ok(Transformed::no(node));
            }
            let schema = merge_schema(&node.inputs());
            let names = NamePreserver::new(&node);
            node.map_expressions(|expr| {
                let name = names.save(&expr);
                let expr = expr.transform_up(|expr| {
                    let Expr::WindowFunction(mut call) = expr else {
                        return Ok(Transformed::no(expr));
                    };
                    let first = call.params.order_by.first();
                    // An open parameter has no type yet: the plan is analysed again when it has.
                    let kind = first.and_then(|sort| sort.expr.get_type(&schema).ok());
                    let groups = match kind {
                        Some(kind) => in_groups(&call.params.window_frame, &kind)?,
                        None => None,
                    };
                    Ok(match groups {
                        Some(frame) => {
                            call.params.window_frame = frame;
                            Transformed::yes(Expr::WindowFunction(call))
                        }
                        None => Transformed::no(Expr::WindowFunction(call)),
                    })
                })?;
                Ok(expr.update_data(|expr| name.restore(expr)))
            })
        })?;
        Ok(rewritten.data)
    }

    fn name(&self) -> &'static str {
        "frames"
    }
}

/// The frame that a RANGE over values of this type becomes, where it has to become one.
fn in_groups(frame: &WindowFrame, kind: &DataType) -> Result<Option<WindowFrame>> {
    let concerns = matches!(kind, DataType::FixedSizeBinary(_) | DataType::Binary);
    if frame.units != WindowFrameUnits::Range || !concerns {
        return Ok(None);
    }
    let is_free = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::CurrentRow => true,
        WindowFrameBound::Preceding(value) | WindowFrameBound::Following(value) => value.is_null(),
    };
    if !is_free(&frame.start_bound) || !is_free(&frame.end_bound) {
        let kind = shown(kind);
        let message = format!(
            "RANGE with offset PRECEDING/FOLLOWING is not supported for column type {kind}"
        );
        return Err(QueryError::new("0A000", message).into_datafusion());
    }
    let (start, end) = (frame.start_bound.clone(), frame.end_bound.clone());
    Ok(Some(WindowFrame::new_bounds(WindowFrameUnits::Groups, start, end)))
}
