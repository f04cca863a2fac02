//! Putting an [`AsOf`] where a join's condition carries the marker.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, Extension, Filter, Join, LogicalPlan, Operator, Projection,
};

use super::{AsOf, Match};
use crate::error::{QueryError, QueryResult};
use crate::functions::{Mark, interval_of, per_second, span_ticks, text_of};
use crate::plan::PlanContext;

/// Rewrites a plan that the analyzer has seen.
pub(crate) fn rewrite(plan: LogicalPlan, context: &PlanContext) -> QueryResult<LogicalPlan> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Join(join) = node {
            found |= parts(join).iter().any(|part| mark(part).is_some());
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    if !found {
        return Ok(plan);
    }
    Ok(plan.transform_up_with_subqueries(|node| step(node, context))?.data)
}

fn step(node: LogicalPlan, context: &PlanContext) -> Result<Transformed<LogicalPlan>> {
    Ok(match node {
        LogicalPlan::Join(join) if parts(&join).iter().any(|part| mark(part).is_some()) => {
            Transformed::yes(node_of(made(&join, context)?))
        }
        LogicalPlan::Filter(filter) => filtered(filter)?,
        other => Transformed::no(other),
    })
}

fn node_of(node: AsOf) -> LogicalPlan {
    LogicalPlan::Extension(Extension { node: Arc::new(node) })
}

fn parts(join: &Join) -> Vec<&Expr> {
    join.filter.as_ref().map(split_conjunction).unwrap_or_default()
}

fn mark(expr: &Expr) -> Option<&[Expr]> {
    match expr {
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == Mark::AsOf.name() => {
            Some(args)
        }
        _ => None,
    }
}

/// Whether an expression reads columns of a side, and only of it.
fn is_of(expr: &Expr, schema: &DFSchema) -> bool {
    let columns = expr.column_refs();
    !columns.is_empty() && columns.into_iter().all(|column| schema.has_column(column))
}

fn bad(message: &str) -> datafusion::error::DataFusionError {
    QueryError::new("42601", message)
        .with_hint("ASOF JOIN b MATCH_CONDITION (a.time >= b.time) ON a.key = b.key")
        .into_datafusion()
}

fn made(join: &Join, context: &PlanContext) -> Result<AsOf> {
    let (left, right) = (join.left.schema(), join.right.schema());
    let (mut keys, mut times) = (join.on.clone(), None);
    for part in parts(join) {
        if let Some([a, word, b, tolerance]) = mark(part) {
            if times.is_some() {
                return Err(bad("an ASOF JOIN has one MATCH_CONDITION"));
            }
            times = Some((a.clone(), word.clone(), b.clone(), tolerance.clone()));
            continue;
        }
        match part {
            Expr::BinaryExpr(BinaryExpr { left: a, op: Operator::Eq, right: b })
                if is_of(a, left) && is_of(b, right) =>
            {
                keys.push((a.as_ref().clone(), b.as_ref().clone()));
            }
            Expr::BinaryExpr(BinaryExpr { left: a, op: Operator::Eq, right: b })
                if is_of(a, right) && is_of(b, left) =>
            {
                keys.push((b.as_ref().clone(), a.as_ref().clone()));
            }
            _ => return Err(bad("ON of an ASOF JOIN says that keys are equal and nothing else")),
        }
    }
    let Some((a, word, b, tolerance)) = times else {
        return Err(bad("an ASOF JOIN has a MATCH_CONDITION"));
    };
    let word = match context.simplify(word, left)? {
        Expr::Literal(word, _) => text_of(&word).unwrap_or_default().to_string(),
        _ => String::new(),
    };
    let (before, strict) = (word.starts_with('>'), !word.ends_with('='));
    let (time, other, before) = match (is_of(&a, left) && is_of(&b, right), is_of(&b, left)) {
        (true, _) => (a, b, before),
        (false, true) if is_of(&a, right) => (b, a, !before),
        _ => return Err(bad("MATCH_CONDITION compares a time of each table")),
    };
    let unit = |expr: &Expr, schema: &DFSchema| match expr.get_type(schema)? {
        DataType::Timestamp(unit, _) => Ok::<_, datafusion::error::DataFusionError>(unit),
        _ => Err(bad("MATCH_CONDITION compares a time of each table")),
    };
    let unit = match (unit(&time, left)?, unit(&other, right)?) {
        (a, b) if a == b => a,
        _ => TimeUnit::Nanosecond,
    };
    let failed = QueryError::into_datafusion;
    let tolerance = match context.simplify(tolerance, left)? {
        Expr::Literal(value, _) => match interval_of(&value).map_err(failed)? {
            Some(span) => match span_ticks(span, per_second(unit)).map_err(failed)? {
                ticks if ticks >= 0 => Some(ticks),
                _ => return Err(failed(QueryError::new("22023", "the tolerance is below zero"))),
            },
            None => None,
        },
        _ => return Err(failed(QueryError::new("22023", "the tolerance must be constant"))),
    };
    let matching = Match { before, strict, tolerance };
    let side = |plan: &Arc<LogicalPlan>, keys: Vec<&Expr>, time: Expr| -> Result<LogicalPlan> {
        let mut exprs: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
        for (i, key) in keys.into_iter().enumerate() {
            exprs.push(key.clone().alias(format!("__asof key {i}")));
        }
        let kind = DataType::Timestamp(unit, Some("+00:00".into()));
        exprs.push(time.cast_to(&kind, plan.schema())?.alias("__asof time"));
        Ok(LogicalPlan::Projection(Projection::try_new(exprs, plan.clone())?))
    };
    let left = side(&join.left, keys.iter().map(|(key, _)| key).collect(), time)?;
    let right = side(&join.right, keys.iter().map(|(_, key)| key).collect(), other)?;
    AsOf::new(left, right, keys.len(), matching)
}

/// All left rows stay, so what asks only for them is asked below.
fn filtered(filter: Filter) -> Result<Transformed<LogicalPlan>> {
    let asof = match filter.input.as_ref() {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref::<AsOf>(),
        _ => None,
    };
    let Some(asof) = asof else { return Ok(Transformed::no(LogicalPlan::Filter(filter))) };
    let LogicalPlan::Projection(left) = &asof.left else {
        return Ok(Transformed::no(LogicalPlan::Filter(filter)));
    };
    let schema = left.input.schema();
    let plain = |expr: &Expr| {
        let inner = expr.exists(|e| {
            Ok(matches!(
                e,
                Expr::ScalarSubquery(_)
                    | Expr::InSubquery(_)
                    | Expr::Exists(_)
                    | Expr::OuterReferenceColumn(..)
            ))
        });
        is_of(expr, schema) && inner.is_ok_and(|inner| !inner) && !expr.is_volatile()
    };
    let all = split_conjunction(&filter.predicate);
    let (below, above): (Vec<&Expr>, Vec<&Expr>) = all.into_iter().partition(|e| plain(e));
    let Some(below) = conjunction(below.into_iter().cloned()) else {
        return Ok(Transformed::no(LogicalPlan::Filter(filter)));
    };
    let input = LogicalPlan::Filter(Filter::try_new(below, left.input.clone())?);
    let left = Projection::try_new(left.expr.clone(), Arc::new(input))?;
    let node = node_of(AsOf::new(
        LogicalPlan::Projection(left),
        asof.right.clone(),
        asof.keys,
        asof.matching,
    )?);
    Ok(Transformed::yes(match conjunction(above.into_iter().cloned()) {
        Some(above) => LogicalPlan::Filter(Filter::try_new(above, Arc::new(node))?),
        None => node,
    }))
}
