//! Putting a [`GapFill`] over aggregations that group by `time_bucket_gapfill`.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Expr, Extension, Filter, LogicalPlan, Operator, Projection,
};

use arrow::datatypes::DataType;

use super::{GapFill, Method, Spec};
use crate::error::{QueryError, QueryResult};
use crate::functions::{Cut, Mark, interval_of, per_second, text_of, ticks_of, time_bucket};
use crate::plan::PlanContext;
use crate::table::last;

/// Rewrites a plan that the analyzer has seen.
pub(crate) fn rewrite(plan: LogicalPlan, context: &PlanContext) -> QueryResult<LogicalPlan> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Aggregate(aggregate) = node {
            found |= aggregate.group_expr.iter().any(|e| bucket_call(e).is_some());
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    if !found {
        return Ok(plan);
    }
    Ok(plan.transform_up_with_subqueries(|node| step(node, context))?.data)
}

fn step(node: LogicalPlan, context: &PlanContext) -> Result<Transformed<LogicalPlan>> {
    let made = match node {
        LogicalPlan::Aggregate(aggregate) => {
            let at = aggregate.group_expr.iter().position(|e| bucket_call(e).is_some());
            match at {
                Some(at) => over_aggregate(aggregate, at, context)?,
                None => return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate))),
            }
        }
        LogicalPlan::Filter(filter) => match gap_fill(&filter.input) {
            // HAVING: what it drops is a gap.
            Some(fill) => {
                let input = Arc::new(fill.input.clone());
                let kept = Filter::try_new(filter.predicate.clone(), input)?;
                node_of(GapFill::new(LogicalPlan::Filter(kept), fill.spec.clone())?)
            }
            None => LogicalPlan::Filter(filter).recompute_schema()?,
        },
        LogicalPlan::Projection(projection) => match gap_fill(&projection.input) {
            Some(fill) => over_fill(&projection, fill, context)?,
            None => LogicalPlan::Projection(projection).recompute_schema()?,
        },
        other => other.recompute_schema()?,
    };
    Ok(Transformed::yes(made))
}

fn node_of(fill: GapFill) -> LogicalPlan {
    LogicalPlan::Extension(Extension { node: Arc::new(fill) })
}

fn gap_fill(plan: &LogicalPlan) -> Option<&GapFill> {
    match plan {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref::<GapFill>(),
        _ => None,
    }
}

fn marked(expr: &Expr) -> Option<(Mark, &[Expr])> {
    match expr {
        Expr::ScalarFunction(ScalarFunction { func, args }) => {
            Mark::named(func.name()).map(|mark| (mark, &args[..]))
        }
        _ => None,
    }
}

fn bucket_call(expr: &Expr) -> Option<&[Expr]> {
    match marked(expr) {
        Some((Mark::Bucket, args)) => Some(args),
        _ => None,
    }
}

/// The aggregation by `time_bucket`, under names as they were, under the node.
fn over_aggregate(aggregate: Aggregate, at: usize, context: &PlanContext) -> Result<LogicalPlan> {
    let failed = QueryError::into_datafusion;
    let others: Vec<usize> = (0..aggregate.group_expr.len()).filter(|i| *i != at).collect();
    let second = others.iter().any(|i| bucket_call(&aggregate.group_expr[*i]).is_some());
    let sets = aggregate.group_expr.iter().any(|e| matches!(e, Expr::GroupingSet(_)));
    if second || sets {
        let what = "time_bucket_gapfill twice or beside grouping sets";
        return Err(failed(QueryError::unsupported(what)));
    }
    let Some([width, time, start, finish, zone, origin, offset]) =
        bucket_call(&aggregate.group_expr[at])
    else {
        return Err(failed(QueryError::internal("a gap filling bucket lost its arguments")));
    };
    let schema = aggregate.input.schema();
    let literal = |expr: &Expr, what: &str| -> Result<ScalarValue> {
        match context.simplify(expr.clone(), schema)? {
            Expr::Literal(value, _) => Ok(value),
            _ => {
                let message = format!("{what} of time_bucket_gapfill must be constant");
                Err(failed(QueryError::new("22023", message)))
            }
        }
    };
    use datafusion::logical_expr::ExprSchemable;
    let DataType::Timestamp(unit, _) = time.get_type(schema)? else {
        return Err(failed(QueryError::internal("a gap filling bucket without a time")));
    };
    let ticks = |value: &ScalarValue| -> Result<Option<i64>> {
        match value.is_null() {
            true => Ok(None),
            false => ticks_of(value, per_second(unit)).map(Some).map_err(failed),
        }
    };
    let width = literal(width, "the width")?;
    let zone = literal(zone, "the time zone")?;
    let cut = Cut {
        zone: text_of(&zone).map(str::to_string),
        origin: ticks(&literal(origin, "the origin")?)?,
        offset: interval_of(&literal(offset, "the offset")?).map_err(failed)?,
    };
    let Some(interval) = interval_of(&width).map_err(failed)? else {
        return Err(failed(QueryError::new("22023", "a bucket must have a width")));
    };
    let (mut start, mut finish) =
        (ticks(&literal(start, "the start")?)?, ticks(&literal(finish, "the finish")?)?);
    if start.is_none() || finish.is_none() {
        let (low, high) = bounds(&aggregate.input, time, per_second(unit), context)?;
        start = start.or(low);
        finish = finish.or(high);
    }
    let spec = Spec {
        time: at,
        unit,
        keys: others,
        width: interval,
        cut: cut.clone(),
        start,
        finish,
        fills: Vec::new(),
        rows_max: context.settings.gapfill_rows_max(),
    };
    // Refuses widths and zones that make no sense before anything runs.
    spec.buckets().map_err(failed)?;
    let mut groups = aggregate.group_expr.clone();
    groups[at] = plain_bucket(&width, time.clone(), &cut, unit);
    let names = aggregate.schema.clone();
    let inner = Aggregate::try_new(aggregate.input, groups, aggregate.aggr_expr)?;
    let inner = last::named_as(LogicalPlan::Aggregate(inner), &names)?
        .ok_or_else(|| failed(QueryError::internal("an aggregation changed its columns")))?;
    Ok(node_of(GapFill::new(inner, spec)?))
}

/// The call of `time_bucket` that cuts the same.
fn plain_bucket(
    width: &ScalarValue,
    time: Expr,
    cut: &Cut,
    unit: arrow::datatypes::TimeUnit,
) -> Expr {
    use arrow::datatypes::TimeUnit as U;
    let mut args = vec![Expr::Literal(width.clone(), None), time];
    if let Some(zone) = &cut.zone {
        args.push(Expr::Literal(ScalarValue::Utf8View(Some(zone.clone())), None));
    }
    if let Some(origin) = cut.origin {
        let utc = Some("+00:00".into());
        let origin = match unit {
            U::Nanosecond => ScalarValue::TimestampNanosecond(Some(origin), utc),
            _ => ScalarValue::TimestampMicrosecond(Some(origin), utc),
        };
        args.push(Expr::Literal(origin, None));
    }
    if let Some(offset) = cut.offset {
        args.push(Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(offset)), None));
    }
    Expr::ScalarFunction(ScalarFunction { func: time_bucket(), args })
}

/// Bounds that filters give the time, as ticks: first wanted, first no longer wanted.
fn bounds(
    input: &LogicalPlan,
    time: &Expr,
    per_second: i64,
    context: &PlanContext,
) -> Result<(Option<i64>, Option<i64>)> {
    let Expr::Column(time) = time else { return Ok((None, None)) };
    let (mut low, mut high) = (None::<i64>, None::<i64>);
    let (mut node, mut aliased) = (input, false);
    loop {
        node = match node {
            LogicalPlan::Filter(filter) => {
                for part in split_conjunction(&filter.predicate) {
                    let part = context.simplify(part.clone(), filter.input.schema())?;
                    for part in split_conjunction(&part) {
                        let Some((op, value)) = compared(part, time, aliased) else { continue };
                        let Ok(tick) = ticks_of(&value, per_second) else { continue };
                        match op {
                            Operator::GtEq => low = low.max(Some(tick)),
                            Operator::Gt => low = low.max(tick.checked_add(1)),
                            Operator::Lt => high = Some(high.map_or(tick, |h| h.min(tick))),
                            Operator::LtEq => {
                                let next = tick.saturating_add(1);
                                high = Some(high.map_or(next, |h| h.min(next)));
                            }
                            _ => {}
                        }
                    }
                }
                &filter.input
            }
            LogicalPlan::SubqueryAlias(alias) => {
                aliased = true;
                &alias.input
            }
            _ => return Ok((low, high)),
        };
    }
}

/// `column op value`, either way round.
fn compared(expr: &Expr, time: &Column, aliased: bool) -> Option<(Operator, ScalarValue)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return None };
    let (column, op, value) = match (left.as_ref(), right.as_ref()) {
        (Expr::Column(column), Expr::Literal(value, _)) => (column, *op, value),
        (Expr::Literal(value, _), Expr::Column(column)) => (column, op.swap()?, value),
        _ => return None,
    };
    let same = match aliased {
        true => column.name == time.name,
        false => column == time,
    };
    same.then(|| (op, value.clone()))
}

/// What fills is computed under the node and read by name above it.
fn over_fill(
    projection: &Projection,
    fill: &GapFill,
    context: &PlanContext,
) -> Result<LogicalPlan> {
    let given = fill.input.schema();
    let columns = given.fields().len();
    let mut below: Vec<Expr> = given.columns().into_iter().map(Expr::Column).collect();
    let mut spec = fill.spec.clone();
    let mut seen: Vec<(Expr, Column)> = Vec::new();
    let plan = LogicalPlan::Projection(projection.clone());
    let preserver = NamePreserver::new(&plan);
    let mut above = Vec::with_capacity(projection.expr.len());
    for expr in &projection.expr {
        let name = preserver.save(expr);
        let read = expr.clone().transform_down(|expr| {
            let Some((mark, args)) = marked(&expr) else { return Ok(Transformed::no(expr)) };
            if let Some((_, column)) = seen.iter().find(|(known, _)| *known == expr) {
                return Ok(Transformed::new(
                    Expr::Column(column.clone()),
                    true,
                    TreeNodeRecursion::Jump,
                ));
            }
            let mut helper = |expr: &Expr| {
                let at = below.len();
                below.push(expr.clone().alias(format!("__fill {at}")));
                at
            };
            let Some(value) = args.first() else { return Ok(Transformed::no(expr)) };
            let at = helper(value);
            let method = method(mark, &args[1..], &mut helper, given, context)?;
            spec.fills.push((at, method));
            let column = Column::new_unqualified(format!("__fill {at}"));
            seen.push((expr.clone(), column.clone()));
            Ok(Transformed::new(Expr::Column(column), true, TreeNodeRecursion::Jump))
        })?;
        above.push(name.restore(read.data));
    }
    if below.len() == columns {
        return LogicalPlan::Projection(projection.clone()).recompute_schema();
    }
    let below = Projection::try_new(below, Arc::new(fill.input.clone()))?;
    let node = node_of(GapFill::new(LogicalPlan::Projection(below), spec)?);
    Ok(LogicalPlan::Projection(Projection::try_new(above, Arc::new(node))?))
}

fn method(
    mark: Mark,
    args: &[Expr],
    helper: &mut impl FnMut(&Expr) -> usize,
    schema: &datafusion::common::DFSchemaRef,
    context: &PlanContext,
) -> Result<Method> {
    let failed = QueryError::into_datafusion;
    let literal = |expr: &Expr, what: &str| match context.simplify(expr.clone(), schema)? {
        Expr::Literal(value, _) => Ok(value),
        _ => Err(failed(QueryError::new("22023", format!("{what} must be constant")))),
    };
    let mut optional = |expr: Option<&Expr>| match expr {
        None => None,
        Some(Expr::Literal(value, _)) if value.is_null() => None,
        Some(Expr::Cast(cast)) if matches!(cast.expr.as_ref(), Expr::Literal(v, _) if v.is_null()) => {
            None
        }
        Some(expr) => Some(helper(expr)),
    };
    Ok(match mark {
        Mark::Locf => {
            let nulls_missing = match args.get(1) {
                Some(flag) => {
                    literal(flag, "treat_null_as_missing")? == ScalarValue::Boolean(Some(true))
                }
                None => false,
            };
            Method::Locf { prev: optional(args.first()), nulls_missing }
        }
        Mark::Interpolate => {
            Method::Linear { prev: optional(args.first()), next: optional(args.get(1)) }
        }
        Mark::Value => match args.first() {
            Some(value) => Method::Value(literal(value, "the value of gaps")?),
            None => return Err(failed(QueryError::internal("fill_value without a value"))),
        },
        Mark::Bucket | Mark::AsOf | Mark::WindowJoin => {
            let message = format!("{} where it has no meaning", mark.name());
            return Err(failed(QueryError::new("42803", message)));
        }
    })
}
