//! Putting a [`WindowJoin`] where an aggregation stands on a join that carries the marker.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::{AggregateFunction, ScalarFunction};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    Aggregate as Grouping, BinaryExpr, Expr, ExprSchemable, Extension, Filter, Join, LogicalPlan,
    Operator, Projection,
};
use datafusion::scalar::ScalarValue;

use super::{Aggregate, Arg, Window, WindowJoin};
use crate::error::{QueryError, QueryResult};
use crate::functions::{Mark, interval_of, per_second, span_ticks};
use crate::plan::PlanContext;

/// Rewrites a plan that the analyzer has seen.
pub(crate) fn rewrite(plan: LogicalPlan, context: &PlanContext) -> QueryResult<LogicalPlan> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Join(join) = node {
            found |= mark_of(join).is_some();
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    if !found {
        return Ok(plan);
    }
    let done = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Aggregate(grouping) if is_over_mark(&grouping.input) => {
            made(&grouping, context).map(Transformed::yes)
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(done.data)
}

/// What lies below filters.
fn below(plan: &LogicalPlan) -> &LogicalPlan {
    match plan {
        LogicalPlan::Filter(filter) => below(&filter.input),
        other => other,
    }
}

fn is_over_mark(plan: &LogicalPlan) -> bool {
    matches!(below(plan), LogicalPlan::Join(join) if mark_of(join).is_some())
}

fn parts(join: &Join) -> Vec<&Expr> {
    join.filter.as_ref().map(split_conjunction).unwrap_or_default()
}

fn mark(expr: &Expr) -> Option<&[Expr]> {
    match expr {
        Expr::ScalarFunction(ScalarFunction { func, args })
            if func.name() == Mark::WindowJoin.name() =>
        {
            Some(args)
        }
        _ => None,
    }
}

fn mark_of(join: &Join) -> Option<&[Expr]> {
    parts(join).into_iter().find_map(mark)
}

/// Whether an expression reads columns of a side, and only of it.
fn is_of(expr: &Expr, schema: &DFSchema) -> bool {
    let columns = expr.column_refs();
    !columns.is_empty() && columns.into_iter().all(|column| schema.has_column(column))
}

fn bad(code: &'static str, message: impl Into<String>) -> DataFusionError {
    QueryError::new(code, message.into())
        .with_hint(
            "SELECT a.time, avg(b.x) FROM a WINDOW JOIN b ON a.key = b.key \
             RANGE BETWEEN 1 minute PRECEDING AND 1 minute FOLLOWING",
        )
        .into_datafusion()
}

/// One WINDOW JOIN: its right side, its keys as pairs, and what its marker says.
struct Step<'a> {
    right: &'a Arc<LogicalPlan>,
    keys: Vec<(Expr, Expr)>,
    args: &'a [Expr],
}

/// The joins below an aggregation from the inside out, the conditions of WHERE, and the left side.
fn taken_apart(plan: &LogicalPlan) -> Result<(LogicalPlan, Vec<Step<'_>>, Vec<Expr>)> {
    let (mut node, mut steps, mut conditions) = (plan, Vec::new(), Vec::new());
    loop {
        if let LogicalPlan::Filter(filter) = node {
            conditions.extend(split_conjunction(&filter.predicate).into_iter().cloned());
            node = &filter.input;
        } else if let LogicalPlan::Join(join) = node
            && let Some(args) = mark_of(join)
        {
            steps.push(Step { right: &join.right, keys: keys(join)?, args });
            node = &join.left;
        } else {
            steps.reverse();
            return Ok((node.clone(), steps, conditions));
        }
    }
}

fn keys(join: &Join) -> Result<Vec<(Expr, Expr)>> {
    let (left, right) = (join.left.schema(), join.right.schema());
    let mut keys = join.on.clone();
    for part in parts(join) {
        match part {
            part if mark(part).is_some() => {}
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
            _ => {
                let message = "ON of a WINDOW JOIN says that keys are equal and nothing else";
                return Err(bad("42601", message));
            }
        }
    }
    Ok(keys)
}

fn made(grouping: &Grouping, context: &PlanContext) -> Result<LogicalPlan> {
    let (left, steps, conditions) = taken_apart(&grouping.input)?;
    let schema = left.schema().clone();
    if let Some(other) =
        conditions.iter().find(|test| !is_of(test, &schema) && !test.column_refs().is_empty())
    {
        let message = format!("WHERE of a WINDOW JOIN is about its left table, not {other}");
        return Err(bad("0A000", message));
    }
    let mut node = match conjunction(conditions) {
        Some(test) => LogicalPlan::Filter(Filter::try_new(test, Arc::new(left))?),
        None => left,
    };
    let groups: Vec<&Expr> = grouping.group_expr.iter().collect();
    if let Some(other) = groups.iter().find(|group| !is_of(group, &schema)) {
        let message = format!("{other} must be an aggregate: it is of the right side");
        return Err(bad("42803", message));
    }
    let mut of_step: Vec<Vec<(usize, &AggregateFunction)>> =
        steps.iter().map(|_| Vec::new()).collect();
    for (at, expr) in grouping.aggr_expr.iter().enumerate() {
        let (step, call) = step_of(expr, &steps)?;
        of_step[step].push((at, call));
    }
    for (step, calls) in steps.iter().zip(&of_step) {
        node = joined(node, &schema, step, calls, context)?;
    }
    // Under the names of the aggregation.
    let fields = grouping.schema.iter();
    let mut exprs = Vec::with_capacity(grouping.schema.fields().len());
    for (at, (qualifier, field)) in fields.enumerate() {
        let expr = match groups.get(at) {
            Some(group) => (*group).clone(),
            None => Expr::Column(internal(at - groups.len()).into()),
        };
        exprs.push(expr.alias_qualified(qualifier.cloned(), field.name()));
    }
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(node))?))
}

/// Name of an aggregate's result on its way up.
fn internal(at: usize) -> String {
    format!("__window aggregate {at}")
}

/// The join that an aggregate is about.
fn step_of<'a>(expr: &'a Expr, steps: &[Step<'_>]) -> Result<(usize, &'a AggregateFunction)> {
    let call = match expr {
        Expr::Alias(alias) => return step_of(&alias.expr, steps),
        Expr::AggregateFunction(call) => call,
        _ => return Err(bad("0A000", format!("{expr} in a WINDOW JOIN"))),
    };
    if !call.params.order_by.is_empty() {
        return Err(bad("0A000", "an aggregate with ORDER BY in a WINDOW JOIN"));
    }
    let columns = expr.column_refs();
    if columns.is_empty() {
        return match steps.len() {
            1 => Ok((0, call)),
            _ => Err(bad("42702", format!("{expr} may be of any of the WINDOW JOINs"))),
        };
    }
    let of = |step: &Step<'_>| columns.iter().all(|column| step.right.schema().has_column(column));
    match steps.iter().position(of) {
        Some(at) => Ok((at, call)),
        None => {
            let message =
                format!("an aggregate over other than the right side of a WINDOW JOIN: {expr}");
            Err(bad("0A000", message))
        }
    }
}

fn joined(
    left: LogicalPlan,
    left_schema: &DFSchema,
    step: &Step<'_>,
    calls: &[(usize, &AggregateFunction)],
    context: &PlanContext,
) -> Result<LogicalPlan> {
    let right_schema = step.right.schema();
    if let Some((key, _)) = step.keys.iter().find(|(key, _)| !is_of(key, left_schema)) {
        let message = format!("ON of a WINDOW JOIN compares keys of the first table, not {key}");
        return Err(bad("0A000", message));
    }
    let (window, times, unit) = window(step, left_schema, context)?;
    let mut columns: Vec<Expr> = Vec::new();
    let mut column = |expr: &Expr| match columns.iter().position(|known| known == expr) {
        Some(at) => at,
        None => {
            columns.push(expr.clone());
            columns.len() - 1
        }
    };
    let mut aggregates = Vec::with_capacity(calls.len());
    for (at, call) in calls {
        let params = &call.params;
        let arg = |expr: &Expr| match context.simplify(expr.clone(), right_schema)? {
            Expr::Literal(value, _) => Ok::<_, DataFusionError>(Err(value)),
            other => Ok(Ok(other)),
        };
        let mut args = Vec::with_capacity(params.args.len());
        for expr in &params.args {
            args.push(match arg(expr)? {
                Ok(expr) => Arg::Column(column(&expr)),
                Err(value) => Arg::Constant(value),
            });
        }
        let filter = params.filter.as_ref().map(|filter| column(filter.as_ref()));
        let kind = Expr::AggregateFunction((*call).clone()).get_type(right_schema)?;
        let field = Arc::new(Field::new(internal(*at), kind, true));
        let (function, distinct) = (call.func.clone(), params.distinct);
        aggregates.push(Aggregate { function, args, distinct, filter, field });
    }
    let kind = DataType::Timestamp(unit, Some("+00:00".into()));
    let side = |plan: Arc<LogicalPlan>, mut exprs: Vec<Expr>, keys: Vec<&Expr>, time: &Expr| {
        for (i, key) in keys.into_iter().enumerate() {
            exprs.push(key.clone().alias(format!("__window key {i}")));
        }
        exprs.push(time.clone().cast_to(&kind, plan.schema())?.alias("__window time"));
        Ok::<_, DataFusionError>(LogicalPlan::Projection(Projection::try_new(exprs, plan)?))
    };
    let shown = left.schema().columns().into_iter().map(Expr::Column).collect();
    let keys = step.keys.iter().map(|(key, _)| key).collect();
    let left = side(Arc::new(left), shown, keys, &times.0)?;
    let args = columns.iter().enumerate();
    let args = args.map(|(i, expr)| expr.clone().alias(format!("__window value {i}"))).collect();
    let keys = step.keys.iter().map(|(_, key)| key).collect();
    let right = side(step.right.clone(), args, keys, &times.1)?;
    let node = WindowJoin::new(left, right, step.keys.len(), window, aggregates)?;
    Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
}

/// The span, the times of both sides, and the unit in which they are compared.
fn window(
    step: &Step<'_>,
    left: &DFSchema,
    context: &PlanContext,
) -> Result<(Window, (Expr, Expr), TimeUnit)> {
    let [from, from_before, to, to_before, prevailing, time, other] = step.args else {
        return Err(bad("42601", "a WINDOW JOIN lost its RANGE"));
    };
    if !is_of(time, left) || !is_of(other, step.right.schema()) {
        return Err(bad("42601", "a WINDOW JOIN is over the times of its tables"));
    }
    let unit = |expr: &Expr, schema: &DFSchema| match expr.get_type(schema)? {
        DataType::Timestamp(unit, _) => Ok::<_, DataFusionError>(unit),
        _ => Err(bad("42601", "a WINDOW JOIN is over the times of its tables")),
    };
    let unit = match (unit(time, left)?, unit(other, step.right.schema())?) {
        (a, b) if a == b => a,
        _ => TimeUnit::Nanosecond,
    };
    let constant = |expr: &Expr| match context.simplify(expr.clone(), &Arc::new(left.clone()))? {
        Expr::Literal(value, _) => Ok::<_, DataFusionError>(value),
        _ => Err(bad("22023", "the RANGE of a WINDOW JOIN is constant")),
    };
    let truth = |expr: &Expr| Ok::<_, DataFusionError>(constant(expr)? == ScalarValue::from(true));
    let failed = QueryError::into_datafusion;
    let ticks = |span: &Expr, before: &Expr| {
        let span = interval_of(&constant(span)?).map_err(failed)?;
        let span = span.ok_or_else(|| bad("22023", "the RANGE of a WINDOW JOIN is no interval"))?;
        let ticks = span_ticks(span, per_second(unit)).map_err(failed)?;
        if ticks < 0 {
            return Err(bad(
                "22013",
                "a span of RANGE is not below zero: say PRECEDING or FOLLOWING",
            ));
        }
        Ok(if truth(before)? { -ticks } else { ticks })
    };
    let (from, to) = (ticks(from, from_before)?, ticks(to, to_before)?);
    if from > to {
        return Err(bad("22013", "the RANGE of a WINDOW JOIN ends before it begins"));
    }
    let window = Window { from, to, prevailing: truth(prevailing)? };
    Ok((window, (time.clone(), other.clone()), unit))
}
