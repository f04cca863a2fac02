//! Bound plans, kept with their statement: a prepared statement is looked up and typed once a
//! schema version, session settings and parameter types.

use std::sync::{Arc, OnceLock};

use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};

use super::PlanContext;
use super::origins::{self, Origin};
use crate::catalog;
use crate::settings::Settings;
use crate::statement::Statement;

/// A plan whose names and types are resolved; parameters are still open.
pub(crate) struct Bound {
    schema_version: u64,
    settings: Arc<Settings>,
    given: Vec<Option<DataType>>,
    /// Revision of the views, if it depends on it.
    views: Option<u64>,
    /// Revision of the relational tables.
    relations: u64,
    /// Revision of the rights, where policies are put into plans.
    rights: u64,
    numbered: Arc<[bool]>,
    pub(crate) plan: LogicalPlan,
    /// Whether optimising it gives the same whenever that is done.
    pub(crate) is_fixed: bool,
    /// What came of that.
    pub(crate) optimized: OnceLock<LogicalPlan>,
    /// What the columns of its result are.
    pub(crate) origins: Vec<Option<Origin>>,
    /// Types of all parameters.
    pub(crate) params: Vec<DataType>,
}

impl Bound {
    pub(crate) fn new(
        context: &PlanContext,
        given: &[Option<DataType>],
        plan: LogicalPlan,
        params: Vec<DataType>,
    ) -> Bound {
        Bound {
            schema_version: context.snapshot.schema_version(),
            settings: context.settings.clone(),
            given: given.to_vec(),
            views: context.views_used(),
            relations: context.relations().map_or(0, |relations| relations.revision),
            rights: context.rights_revision(),
            numbered: context.numbered.clone(),
            origins: origins::of_plan(&plan),
            is_fixed: context.may_keep() && params.is_empty() && is_fixed(&plan).unwrap_or(false),
            optimized: OnceLock::new(),
            plan,
            params,
        }
    }

    fn fits(&self, context: &PlanContext, given: &[Option<DataType>]) -> bool {
        // Settings are shared until one changes, so the same pointer means the same session and
        // the same values.
        self.schema_version == context.snapshot.schema_version()
            && Arc::ptr_eq(&self.settings, &context.settings)
            && self.given == given
            && context.relations().is_ok_and(|now| now.revision == self.relations)
            && self.rights == context.rights_revision()
            && self.numbered == context.numbered
            && match self.views {
                None => !context.engine.views().any_temporary(),
                Some(used) => {
                    let now = context.engine.views().of(&context.snapshot);
                    now.is_ok_and(|now| now.revision == used)
                }
            }
    }
}

/// Whether a plan is about the catalogue and constants alone, and about nothing that the time
/// or chance decides: other tables are planned by what they hold.
fn is_fixed(plan: &LogicalPlan) -> Result<bool> {
    let mut fixed = true;
    plan.apply_with_subqueries(|node| {
        fixed &= match node {
            LogicalPlan::TableScan(scan) => catalog::is_system(scan),
            LogicalPlan::Extension(_) => false,
            _ => true,
        };
        node.apply_expressions(|expr| {
            let moving = expr.exists(|expr| {
                Ok(matches!(expr, Expr::ScalarFunction(function)
                    if function.func.signature().volatility != Volatility::Immutable))
            });
            fixed &= !moving?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(fixed)
}

impl std::fmt::Debug for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bound").field("params", &self.params).finish_non_exhaustive()
    }
}

/// The plan kept with the statement, if it still holds.
pub(crate) fn find(
    statement: &Statement,
    context: &PlanContext,
    given: &[Option<DataType>],
) -> Option<Arc<Bound>> {
    let kept = statement.bound().lock();
    kept.iter().find(|bound| bound.fits(context, given)).cloned()
}

/// Plans kept a statement: one for Describe, one for Execute.
const KEPT_MAX: usize = 2;

pub(crate) fn keep(statement: &Statement, bound: Arc<Bound>) {
    let mut kept = statement.bound().lock();
    if kept.len() >= KEPT_MAX {
        kept.remove(0);
    }
    kept.push(bound);
}
