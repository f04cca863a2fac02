//! Bound plans, kept with their statement: a prepared statement is looked up and typed once a
//! schema version, session settings and parameter types.

use std::sync::{Arc, OnceLock};

use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan, ScalarUDF, Volatility};

use super::PlanContext;
use super::origins::{self, Origin};
use crate::Identity;
use crate::catalog;
use crate::catalog::answers::Stamp;
use crate::functions::Lookup;
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
    identity: Arc<Identity>,
    /// What the catalogue told while it was bound, of which functions in it tell more.
    pub(crate) told: Option<Stamp>,
    /// Whether functions in it hold the catalogue, with the snapshot that it was read of: memory and
    /// files of that stay for as long as the plan does.
    holds_catalogue: bool,
    pub(crate) plan: LogicalPlan,
    /// Whether optimising it gives the same whenever that is done.
    pub(crate) is_fixed: bool,
    /// Whether its rows are those of the catalogue alone, and the same while that does not change.
    pub(crate) is_steady: bool,
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
            identity: context.identity.clone(),
            told: context.told(),
            origins: origins::of_plan(&plan),
            is_fixed: context.may_keep()
                && params.is_empty()
                && is_of_catalogue(&plan, |_| false).unwrap_or(false),
            is_steady: (context.reads_catalogue() || context.told().is_some())
                && !context.is_moving()
                && is_of_catalogue(&plan, Lookup::is_one).unwrap_or(false),
            holds_catalogue: context.told().is_some() && has_lookup(&plan).unwrap_or(true),
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
            && Arc::ptr_eq(&self.identity, &context.identity)
            && self.told.as_ref().is_none_or(|told| context.stamp().is_some_and(|now| *told == now))
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
/// or chance decides: other tables are planned by what they hold. `steady`: functions that do
/// not, though they are not immutable.
fn is_of_catalogue(plan: &LogicalPlan, steady: impl Fn(&ScalarUDF) -> bool) -> Result<bool> {
    let mut fixed = true;
    plan.apply_with_subqueries(|node| {
        fixed &= match node {
            LogicalPlan::TableScan(scan) => catalog::is_system(scan),
            LogicalPlan::Extension(_) => false,
            _ => true,
        };
        if !fixed {
            return Ok(TreeNodeRecursion::Stop);
        }
        node.apply_expressions(|expr| {
            let moving = expr.exists(|expr| {
                Ok(matches!(expr, Expr::ScalarFunction(function)
                    if function.func.signature().volatility != Volatility::Immutable
                        && !steady(&function.func)))
            });
            fixed &= !moving?;
            Ok(if fixed { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
        })
    })?;
    Ok(fixed)
}

fn has_lookup(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            found |= expr.exists(|expr| {
                Ok(matches!(expr, Expr::ScalarFunction(function)
                    if function.func.inner().downcast_ref::<Lookup>().is_some()))
            })?;
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(found)
}

impl Bound {
    #[cfg(test)]
    pub(crate) fn holds_catalogue(&self) -> bool {
        self.holds_catalogue
    }

    /// Whether it may serve the same statement again.
    pub(crate) fn may_be_kept(&self, context: &PlanContext) -> bool {
        context.may_keep() || self.told.is_some()
    }
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

/// Lets go of plans that must not stay until the statement runs again: they are kept from its
/// description to its run at most.
pub(crate) fn let_go(statement: &Statement) {
    statement.bound().lock().retain(|kept| !kept.holds_catalogue);
}

pub(crate) fn keep(statement: &Statement, bound: Arc<Bound>) {
    let mut kept = statement.bound().lock();
    if kept.len() >= KEPT_MAX {
        kept.remove(0);
    }
    kept.push(bound);
}
