//! Subqueries over the catalogue as values, in forms that DataFusion can join to the rows around.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Distinct, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArguments, GroupByExpr, LimitClause, OrderByExpr, OrderByKind,
    Query, Select, SelectItem, SetExpr, VisitMut, VisitorMut,
};

use super::{aggregates, call, is_always_null, tables};
use crate::names::folded;

/// Makes a scalar subquery an aggregate that wants one row: a subquery that refers to the rows
/// around it must be one to DataFusion. With LIMIT 1 it is the first.
pub(super) fn single(query: &mut Query) {
    if is_always_null(query) || query.with.is_some() || query.fetch.is_some() {
        return;
    }
    let limited = match &query.limit_clause {
        None => false,
        Some(LimitClause::LimitOffset {
            limit: Some(Expr::Value(one)),
            offset: None,
            limit_by,
        }) if limit_by.is_empty() && one.value.to_string() == "1" => true,
        Some(_) => return,
    };
    let order = order_of(query);
    let Some((select, value)) = plain(query) else { return };
    if !tables::are_of_catalogue(select) || select.distinct.is_some() {
        return;
    }
    let order = order.map(|mut order| {
        for item in &mut order {
            if let (Expr::Identifier(name), [SelectItem::ExprWithAlias { alias, expr }]) =
                (&item.expr, &select.projection[..])
                && name == alias
            {
                item.expr = expr.clone();
            }
        }
        order
    });
    let name = if limited { "first_value" } else { "__single" };
    let clause = order.filter(|_| limited);
    set_value(select, aggregate(name, value, clause, false));
    query.order_by = None;
    query.limit_clause = None;
}

/// `ARRAY(SELECT x …)` as an aggregate that is empty rather than NULL over no rows.
pub(super) fn array(function: &Function) -> Option<Expr> {
    let FunctionArguments::Subquery(query) = &function.args else { return None };
    array_of_plain(query).or_else(|| {
        let rows = format!("({query}) AS __array_rows (__array_value)");
        let all = format!("__filled((SELECT array_agg(__array_value) FROM {rows}))");
        // It was read before.
        crate::sugar::expression(&all).ok()
    })
}

/// The same of a select that neither groups nor is cut, which may refer to the rows around.
fn array_of_plain(query: &Query) -> Option<Expr> {
    let mut query = Box::new(query.clone());
    if query.with.is_some() || query.fetch.is_some() || query.limit_clause.is_some() {
        return None;
    }
    let order = order_of(&query);
    let (select, value) = plain(&mut query)?;
    let alias = match &select.projection[..] {
        [SelectItem::ExprWithAlias { alias, .. }] => Some(alias.clone()),
        _ => None,
    };
    let distinct = matches!(select.distinct, Some(Distinct::Distinct));
    select.distinct = None;
    // ORDER BY 1, and by its name, means the value itself.
    let order = order.map(|mut order| {
        for item in &mut order {
            let is_value = match &item.expr {
                Expr::Value(n) => n.value.to_string() == "1",
                Expr::Identifier(name) => Some(name) == alias.as_ref(),
                _ => false,
            };
            if is_value {
                item.expr = value.clone();
            }
        }
        order
    });
    set_value(select, aggregate("array_agg", value, order, distinct));
    query.order_by = None;
    Some(call("__filled", Some(Expr::Subquery(query))))
}

/// `ARRAY(SELECT rolname FROM pg_roles WHERE oid = ANY (x) ORDER BY 1)`: names of the roles of a
/// policy, as psql asks for them.
pub(super) fn roles_of(function: &Function) -> Option<Expr> {
    let FunctionArguments::Subquery(query) = &function.args else { return None };
    let mut query = query.clone();
    let (select, value) = plain(&mut query)?;
    let [(_, name)] = &tables::of(select)[..] else { return None };
    if name.trim_matches('"').rsplit("\".\"").next() != Some("pg_roles") {
        return None;
    }
    let Expr::Identifier(column) = &value else { return None };
    let Some(Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. }) = &select.selection
    else {
        return None;
    };
    let is_oid = matches!(left.as_ref(), Expr::Identifier(name) if folded(name) == "oid");
    let roles = match right.as_ref() {
        Expr::Nested(inner) => inner.as_ref(),
        other => other,
    };
    let plain = matches!(roles, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
    (folded(column) == "rolname" && is_oid && plain)
        .then(|| super::sets::call_of("__role_names", vec![roles.clone()]))
}

/// The default of a column as psql and drivers ask for it: the one row of pg_attrdef of a relation's
/// and a column's number, whatever else is said of the rows around.
pub(super) fn default_of(query: &Query) -> Option<Expr> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let [(called, name)] = &tables::of(select)[..] else { return None };
    if name.trim_matches('"').rsplit("\".\"").next() != Some("pg_attrdef") || query.with.is_some() {
        return None;
    }
    let function = only_call(select)?;
    kept(function)?;
    let (mut relation, mut column) = (None, None);
    equal_to(select.selection.as_ref()?, called, &mut relation, &mut column)?;
    Some(super::sets::call_of("__column_default", vec![relation?, column?]))
}

/// The call that a select is of, if it is of one alone.
fn only_call(select: &Select) -> Option<&Function> {
    match &select.projection[..] {
        [
            SelectItem::UnnamedExpr(Expr::Function(function))
            | SelectItem::ExprWithAlias { expr: Expr::Function(function), .. },
        ] => Some(function),
        _ => None,
    }
}

/// What SQLAlchemy asks of the sequence of an identity column, by way of pg_get_serial_sequence.
pub(super) fn identity_of(query: &Query) -> Option<Expr> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let is_it = |name: &str| name.trim_matches('"').rsplit("\".\"").next() == Some("pg_sequence");
    if query.with.is_some() || !tables::of(select).iter().any(|(_, name)| is_it(name)) {
        return None;
    }
    let function = only_call(select)?;
    (called(function)? == "json_build_object").then_some(())?;
    let mut find = Serial(None);
    let _ = select.selection.clone()?.visit(&mut find);
    let (relation, column) = find.0?;
    Some(super::sets::call_of("__identity_options", vec![relation, column]))
}

fn called(function: &Function) -> Option<String> {
    function.name.0.last()?.as_ident().map(folded)
}

/// The arguments of pg_get_serial_sequence, the relation without casts.
struct Serial(Option<(Expr, Expr)>);

impl VisitorMut for Serial {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr
            && called(function).as_deref() == Some("pg_get_serial_sequence")
            && let FunctionArguments::List(list) = &function.args
            && let [
                FunctionArg::Unnamed(FunctionArgExpr::Expr(relation)),
                FunctionArg::Unnamed(FunctionArgExpr::Expr(column)),
            ] = &list.args[..]
        {
            let mut relation = relation;
            while let Expr::Cast { expr: inner, .. } | Expr::Nested(inner) = relation {
                relation = inner;
            }
            self.0 = Some((relation.clone(), column.clone()));
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

/// What the columns of pg_attrdef are asked to equal. Other conditions must not be about it.
fn equal_to(
    condition: &Expr,
    called: &str,
    relation: &mut Option<Expr>,
    column: &mut Option<Expr>,
) -> Option<()> {
    let own = |expr: &Expr| match expr {
        Expr::CompoundIdentifier(parts) => match &parts[..] {
            [.., table, name] if folded(table) == called => Some(folded(name)),
            _ => None,
        },
        _ => None,
    };
    match condition {
        Expr::Nested(inner) => equal_to(inner, called, relation, column),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            equal_to(left, called, relation, column)?;
            equal_to(right, called, relation, column)
        }
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
            let (name, value) = match (own(left), own(right)) {
                (Some(name), None) => (name, right),
                (None, Some(name)) => (name, left),
                _ => return None,
            };
            let place = match name.as_str() {
                "adrelid" => relation,
                "adnum" => column,
                _ => return None,
            };
            place.replace((**value).clone()).is_none().then_some(())
        }
        // Whether there is a default is known without being told.
        Expr::CompoundIdentifier(parts) => (folded(parts.last()?) == "atthasdef").then_some(()),
        _ => None,
    }
}

/// `SELECT pg_partition_ancestors(…) UNION ALL VALUES (…)`: nothing is part of another, so the values
/// are all.
pub(super) fn without_ancestors(query: &Query) -> Option<Vec<Expr>> {
    let SetExpr::SetOperation { left, right, .. } = query.body.as_ref() else { return None };
    let (SetExpr::Select(select), SetExpr::Values(values)) = (left.as_ref(), right.as_ref()) else {
        return None;
    };
    let [SelectItem::UnnamedExpr(Expr::Function(function))] = &select.projection[..] else {
        return None;
    };
    let name = function.name.0.last()?.as_ident().map(folded)?;
    let one = |row: &Vec<Expr>| match &row[..] {
        [value] => Some(value.clone()),
        _ => None,
    };
    let values: Option<Vec<Expr>> = values.rows.iter().map(|row| one(&row.content)).collect();
    values.filter(|_| name == "pg_partition_ancestors")
}

/// `pg_get_expr` of an expression that is kept as its text.
pub(super) fn kept_text(function: &Function) -> Option<Expr> {
    Some(super::sets::cast(kept(function)?, "text"))
}

/// The first argument of `pg_get_expr`, if it is a column that keeps a text.
fn kept(function: &Function) -> Option<Expr> {
    let called = function.name.0.last()?.as_ident().map(folded);
    if called.as_deref() != Some("pg_get_expr") {
        return None;
    }
    let FunctionArguments::List(list) = &function.args else { return None };
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(first)) = list.args.first()? else {
        return None;
    };
    let column = match first {
        Expr::Identifier(name) => folded(name),
        Expr::CompoundIdentifier(parts) => folded(parts.last()?),
        _ => return None,
    };
    matches!(column.as_str(), "adbin" | "conbin" | "polqual").then(|| first.clone())
}

/// A walk from a domain to its base type, as asyncpg asks for it: there are no domains.
pub(super) fn is_of_domains(query: &Query) -> bool {
    let recursive = query.with.as_ref().is_some_and(|with| with.recursive);
    recursive && query.to_string().contains("typbasetype")
}

/// EXISTS over the catalogue as a value: DataFusion knows it as a condition alone.
pub(super) struct ExistsToCount;

impl VisitorMut for ExistsToCount {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Exists { subquery, negated } = expr
            && let Some(counted) = counted(subquery)
        {
            *expr = Expr::Nested(Box::new(Expr::BinaryOp {
                left: Box::new(Expr::Subquery(Box::new(counted))),
                op: if *negated { BinaryOperator::Eq } else { BinaryOperator::Gt },
                right: Box::new(super::number(0)),
            }));
        }
        ControlFlow::Continue(())
    }
}

/// The query with the number of its rows in place of them.
fn counted(query: &Query) -> Option<Query> {
    let mut query = query.clone();
    if query.with.is_some() || query.fetch.is_some() || query.limit_clause.is_some() {
        return None;
    }
    query.order_by = None;
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    if is_grouped(select) || aggregates(select) || select.distinct.is_some() {
        return None;
    }
    if !tables::are_of_catalogue(select) {
        return None;
    }
    let all = FunctionArg::Unnamed(FunctionArgExpr::Wildcard);
    let mut count = call("count", None);
    if let Expr::Function(Function { args: FunctionArguments::List(list), .. }) = &mut count {
        list.args.push(all);
    }
    select.projection = vec![SelectItem::UnnamedExpr(count)];
    Some(query)
}

fn is_grouped(select: &Select) -> bool {
    let grouped = match &select.group_by {
        GroupByExpr::Expressions(exprs, _) => !exprs.is_empty(),
        GroupByExpr::All(_) => true,
    };
    grouped || select.having.is_some()
}

type Order = Vec<OrderByExpr>;

fn order_of(query: &Query) -> Option<Order> {
    match &query.order_by.as_ref()?.kind {
        OrderByKind::Expressions(exprs) => Some(exprs.clone()),
        OrderByKind::All(_) => None,
    }
}

/// The select of a query of one value that neither groups nor aggregates.
fn plain(query: &mut Query) -> Option<(&mut Select, Expr)> {
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    if is_grouped(select) || aggregates(select) {
        return None;
    }
    let value = match select.projection.as_slice() {
        [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }] => expr.clone(),
        _ => return None,
    };
    Some((select, value))
}

/// Puts another value; the column keeps its name.
fn set_value(select: &mut Select, value: Expr) {
    match select.projection.as_mut_slice() {
        [SelectItem::ExprWithAlias { expr, .. }] => *expr = value,
        [item] => *item = SelectItem::UnnamedExpr(value),
        _ => {}
    }
}

fn aggregate(name: &str, value: Expr, order: Option<Order>, distinct: bool) -> Expr {
    let mut made = call(name, None);
    if let Expr::Function(Function { args: FunctionArguments::List(list), .. }) = &mut made {
        list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Expr(value)));
        list.clauses.extend(order.map(FunctionArgumentClause::OrderBy));
        list.duplicate_treatment = distinct.then_some(DuplicateTreatment::Distinct);
    }
    made
}
