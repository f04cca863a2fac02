//! Operators of the nodes that are ours.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::Result;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

use crate::asof::AsOf;
use crate::gapfill::GapFill;

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
        Ok(None)
    }
}
