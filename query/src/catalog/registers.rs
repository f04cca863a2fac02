//! `regclass` and its kin in a bound plan.
//!
//! Their values are numbers, so that they compare and join as such. A cast to text shows the
//! name, a cast of a text looks it up, and what is left in a result is shown as names at the very
//! end. Casts of arrays to text get the form of Postgres here too.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{Cast, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, Case, Distinct, Expr, ExprSchemable, LogicalPlan, Operator, Projection,
};
use datafusion::scalar::ScalarValue;

use super::functions::names::Register;
use crate::error::{QueryError, QueryResult};
use crate::functions;
use crate::plan::PlanContext;

/// Puts look-ups for casts from and to names.
pub(crate) fn resolve(plan: LogicalPlan, context: &PlanContext) -> QueryResult<LogicalPlan> {
    // Both terms of a recursion must keep the types that they have.
    let recursive = plan.exists(|node| Ok(matches!(node, LogicalPlan::RecursiveQuery(_))))?;
    let done = plan.transform_up_with_subqueries(|node| {
        let mut schema = merge_schema(&node.inputs());
        if let LogicalPlan::TableScan(scan) = &node {
            schema.merge(&scan.projected_schema);
        }
        let names = NamePreserver::new(&node);
        let values =
            context.reads_catalogue() && !recursive && matches!(node, LogicalPlan::Projection(_));
        let mapped = node.map_expressions(|expr| {
            let name = names.save(&expr);
            let done = expr.transform_up(|expr| cast(expr, &schema, context))?;
            let narrow = |expr| if values { narrowed(expr) } else { expr };
            Ok(done.update_data(|expr| name.restore(narrow(expr))))
        })?;
        // What is below may have other types now.
        match mapped.data {
            LogicalPlan::TableScan(_) | LogicalPlan::Values(_) => Ok(mapped),
            _ => mapped.map_data(|node| node.recompute_schema()),
        }
    })?;
    Ok(done.data)
}

/// Whole numbers as `integer`, which they are in Postgres where DataFusion takes them for `bigint`.
fn narrowed(expr: Expr) -> Expr {
    let boxed = |expr: Box<Expr>| Box::new(narrowed(*expr));
    match expr {
        Expr::Literal(ScalarValue::Int64(Some(value)), metadata) => match i32::try_from(value) {
            Ok(value) => Expr::Literal(ScalarValue::Int32(Some(value)), metadata),
            Err(_) => Expr::Literal(ScalarValue::Int64(Some(value)), metadata),
        },
        Expr::Alias(mut alias) => {
            alias.expr = boxed(alias.expr);
            Expr::Alias(alias)
        }
        Expr::Case(case) => Expr::Case(Case {
            expr: case.expr,
            when_then_expr: case
                .when_then_expr
                .into_iter()
                .map(|(when, then)| (when, boxed(then)))
                .collect(),
            else_expr: case.else_expr.map(boxed),
        }),
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply) =>
        {
            Expr::BinaryExpr(BinaryExpr::new(boxed(left), op, boxed(right)))
        }
        other => other,
    }
}

/// A bound query as its result is given: numbers of objects looked up, and shown as names.
pub(crate) fn given(plan: LogicalPlan, context: &PlanContext) -> QueryResult<LogicalPlan> {
    let plan = match context.is_of_catalogue() {
        true => resolve(plan, context)?,
        false => plan,
    };
    show(plan, context)
}

/// Shows a result as Postgres does: numbers of objects as names, columns under the types of
/// Postgres, counts of rows as `bigint`.
fn show(plan: LogicalPlan, context: &PlanContext) -> QueryResult<LogicalPlan> {
    let fields: Vec<_> = plan.schema().iter().map(|(q, f)| (q.cloned(), f.clone())).collect();
    let mut exprs = Vec::with_capacity(fields.len());
    let mut changed = false;
    for (at, (qualifier, field)) in fields.into_iter().enumerate() {
        let column = Expr::from((qualifier.as_ref(), &field));
        let again = |expr: Expr| expr.alias_qualified(qualifier.clone(), field.name());
        let known = field.metadata().get(crate::PG_TYPE);
        let numbered = context.numbered.get(at).copied().unwrap_or(false);
        let expr = if let Some(register) = register_of(&field).filter(|_| !numbered) {
            Some(again(call(&format!("__{}", register.name()), column.clone(), context)?))
        } else if *field.data_type() == DataType::UInt64 && !context.changes {
            // row_number() and its kin.
            let kind = Arc::new(Field::new("", DataType::Int64, true));
            Some(again(Expr::Cast(Cast::new_from_field(Box::new(column.clone()), kind))))
        } else if (is_text(field.data_type()) || matches!(field.data_type(), DataType::List(_)))
            && context.reads_catalogue()
            && let Some(shown) = shown_as(&plan, at)
            && (known.map_or("text", String::as_str) != shown || is_union(&plan))
        {
            let metadata = BTreeMap::from([(crate::PG_TYPE.to_string(), shown)]);
            let metadata = Some(FieldMetadata::new(metadata));
            let name = field.name().clone();
            Some(column.clone().alias_qualified_with_metadata(qualifier.clone(), name, metadata))
        } else {
            None
        };
        changed |= expr.is_some();
        exprs.push(expr.unwrap_or(column));
    }
    match changed {
        true => Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?)),
        false => Ok(plan),
    }
}

/// Whether a result is that of a UNION: the names of its types may come from any of its queries.
fn is_union(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Union(_) => true,
        LogicalPlan::Sort(sort) => is_union(&sort.input),
        LogicalPlan::Limit(limit) => is_union(&limit.input),
        LogicalPlan::Distinct(Distinct::All(input)) => is_union(input),
        _ => false,
    }
}

/// The type that Postgres gives a column of texts, where a plan tells: that of the first query of a
/// UNION, and that of all branches of a CASE.
fn shown_as(plan: &LogicalPlan, at: usize) -> Option<String> {
    match plan {
        LogicalPlan::Union(union) => shown_as(union.inputs.first()?, at),
        LogicalPlan::Sort(sort) => shown_as(&sort.input, at),
        LogicalPlan::Limit(limit) => shown_as(&limit.input, at),
        LogicalPlan::Filter(filter) => shown_as(&filter.input, at),
        LogicalPlan::SubqueryAlias(alias) => shown_as(&alias.input, at),
        LogicalPlan::Distinct(Distinct::All(input)) => shown_as(input, at),
        LogicalPlan::RecursiveQuery(query) => shown_as(&query.static_term, at),
        LogicalPlan::Projection(projection) => {
            branches(projection.expr.get(at)?, &projection.input)
        }
        LogicalPlan::Aggregate(aggregate) => {
            let mut exprs = aggregate.group_expr.iter().chain(&aggregate.aggr_expr);
            branches(exprs.nth(at)?, &aggregate.input)
        }
        _ => plan.schema().field(at).metadata().get(crate::PG_TYPE).cloned(),
    }
}

fn branches(expr: &Expr, input: &LogicalPlan) -> Option<String> {
    match expr {
        Expr::Alias(alias) => branches(&alias.expr, input),
        Expr::Column(column) => shown_as(input, input.schema().maybe_index_of_column(column)?),
        Expr::Case(case) => {
            let then = case.when_then_expr.iter().map(|(_, then)| then.as_ref());
            alike(then.chain(case.else_expr.as_deref()), input)
        }
        Expr::ScalarSubquery(query) => shown_as(&query.subquery, 0),
        // The wire knows `name[]` and `oid[]`.
        Expr::AggregateFunction(call) if call.func.name() == "array_agg" => {
            let item = branches(call.params.args.first()?, input)?;
            matches!(item.as_str(), "name" | "oid").then(|| format!("{item}[]"))
        }
        Expr::AggregateFunction(call)
            if ["__single", "first_value"].contains(&call.func.name()) =>
        {
            branches(call.params.args.first()?, input)
        }
        Expr::ScalarFunction(call) if ["nullif", "__filled"].contains(&call.func.name()) => {
            branches(call.args.first()?, input)
        }
        Expr::ScalarFunction(call) if call.func.name() == "coalesce" => {
            alike(call.args.iter(), input)
        }
        other => {
            let field = other.to_field(input.schema()).ok()?.1;
            field.metadata().get(crate::PG_TYPE).cloned()
        }
    }
}

/// The type that all that are not NULL are shown as.
fn alike<'a>(exprs: impl Iterator<Item = &'a Expr>, input: &LogicalPlan) -> Option<String> {
    let mut shown = exprs.filter(|expr| !is_null(expr)).map(|expr| branches(expr, input));
    let first = shown.next()??;
    shown.all(|other| other.as_ref() == Some(&first)).then_some(first)
}

fn is_null(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(value, _) if value.is_null())
}

/// The kind of names that numbers of a field are shown as.
fn register_of(field: &Field) -> Option<Register> {
    let whole = field.data_type().is_integer();
    let name = field.metadata().get(crate::PG_TYPE)?;
    Register::of_name(name).filter(|_| whole)
}

fn call(name: &str, arg: Expr, context: &PlanContext) -> Result<Expr> {
    let missing = || QueryError::internal(format!("no function {name}")).into_datafusion();
    let function = functions::of_session(name, context).ok_or_else(missing)?;
    context.mark_told();
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![arg])))
}

fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8)
}

/// One expression whose parts are done.
fn cast(expr: Expr, schema: &DFSchema, context: &PlanContext) -> Result<Transformed<Expr>> {
    match expr {
        Expr::Cast(Cast { expr, field }) => {
            let Ok((_, source)) = expr.to_field(schema) else {
                return Ok(Transformed::no(again(expr, field)));
            };
            let inner = || expr.as_ref().clone();
            if let Some(register) = register_of(&field)
                && is_text(source.data_type())
            {
                let name = format!("__to_{}", register.name());
                return Ok(Transformed::yes(call(&name, inner(), context)?));
            }
            if is_text(field.data_type()) {
                if let Some(register) = register_of(&source) {
                    let name = format!("__{}", register.name());
                    let shown = call(&name, inner(), context)?;
                    // As a text, not as a name of that kind.
                    let cast = Cast::new_from_field(Box::new(shown), field.clone());
                    return Ok(Transformed::yes(Expr::Cast(cast)));
                }
                if matches!(source.data_type(), DataType::List(_)) {
                    let shown = source.metadata().get(crate::PG_TYPE);
                    let vector = shown.is_some_and(|name| name.ends_with("vector"));
                    let name = if vector { "__vector_text" } else { "__array_text" };
                    return Ok(Transformed::yes(call(name, inner(), context)?));
                }
            }
            Ok(Transformed::no(again(expr, field)))
        }
        Expr::BinaryExpr(binary) => binary_expr(binary, schema, context),
        other => Ok(Transformed::no(other)),
    }
}

fn again(expr: Box<Expr>, field: FieldRef) -> Expr {
    Expr::Cast(Cast::new_from_field(expr, field))
}

fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// `name || object` is about names, `object = 'name'` about numbers.
fn binary_expr(
    binary: BinaryExpr,
    schema: &DFSchema,
    context: &PlanContext,
) -> Result<Transformed<Expr>> {
    let register = |side: &Expr| {
        let field = side.to_field(schema).ok()?.1;
        register_of(&field)
    };
    let (left, right) = (register(&binary.left), register(&binary.right));
    if left.is_none() && right.is_none() {
        return Ok(Transformed::no(Expr::BinaryExpr(binary)));
    }
    let BinaryExpr { left: a, op, right: b } = binary;
    let side = |side: Box<Expr>, own: Option<Register>, other: Option<Register>| match (own, other)
    {
        (Some(register), _) if op == Operator::StringConcat => {
            call(&format!("__{}", register.name()), *side, context)
        }
        (None, Some(register)) if is_comparison(op) => match *side {
            Expr::Literal(
                ScalarValue::Utf8(Some(ref text)) | ScalarValue::Utf8View(Some(ref text)),
                _,
            ) => {
                let image = context.image().map_err(QueryError::into_datafusion)?;
                let oid = register.look_up(&image, text).map_err(QueryError::into_datafusion)?;
                Ok(Expr::Literal(ScalarValue::Int64(Some(oid)), None))
            }
            other => Ok(other),
        },
        _ => Ok(*side),
    };
    let (a, b) = (side(a, left, right)?, side(b, right, left)?);
    Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(Box::new(a), op, Box::new(b)))))
}
