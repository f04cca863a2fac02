//! Operators of the nodes that are ours.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::Result;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

/// What every operator of ours with children says in the same words: it has no expressions that
/// others may look at, and works its properties out again when it gets new children.
macro_rules! operator {
    () => {
        fn apply_expressions(
            &self,
            _: &mut dyn FnMut(
                &Arc<dyn datafusion::physical_expr::PhysicalExpr>,
            ) -> Result<datafusion::common::tree_node::TreeNodeRecursion>,
        ) -> Result<datafusion::common::tree_node::TreeNodeRecursion> {
            Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
        }

        fn with_new_children(
            self: Arc<Self>,
            children: Vec<Arc<dyn ExecutionPlan>>,
        ) -> Result<Arc<dyn ExecutionPlan>> {
            use datafusion::physical_plan::execution_plan::ChildrenPropertiesMode::Recompute;
            use datafusion::physical_plan::execution_plan::ReplaceChildrenOptions;
            self.replace_children(children, ReplaceChildrenOptions::new(Recompute))
        }
    };
}
pub(crate) use operator;

use crate::asof::AsOf;
use crate::gapfill::GapFill;
use crate::rights::Barrier;
use crate::window_join::WindowJoin;

/// DataFusion's planner, which asks here for nodes that are ours.
pub(crate) fn planner() -> DefaultPhysicalPlanner {
    DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(Ours)])
}

struct Ours;

#[async_trait]
impl ExtensionPlanner for Ours {
    async fn plan_extension(
        &self,
        _: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        _: &dyn Session,
        _: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if let (Some(fill), [input]) = (node.as_any().downcast_ref::<GapFill>(), inputs) {
            return fill.operator(input.clone()).map(Some);
        }
        if let (Some(join), [left, right]) = (node.as_any().downcast_ref::<AsOf>(), inputs) {
            return join.operator(left.clone(), right.clone()).map(Some);
        }
        if let (Some(join), [left, right]) = (node.as_any().downcast_ref::<WindowJoin>(), inputs) {
            return join.operator(left.clone(), right.clone()).map(Some);
        }
        if let (Some(barrier), [input]) = (node.as_any().downcast_ref::<Barrier>(), inputs) {
            return Ok(Some(barrier.operator(input.clone())));
        }
        Ok(None)
    }
}
