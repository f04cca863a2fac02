//! WINDOW JOIN as an aggregation over a left join: the marker in its condition learns the times of
//! both tables, and what is wanted of the left one becomes GROUP BY.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident,
    JoinConstraint, JoinOperator, OrderByKind, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, TableFactor, Visit, Visitor, With,
};

use super::sample::{alias_of, is_aggregate, time_of_relation};
use super::{expression, name_of, pivot};
use crate::error::{QueryError, QueryResult};
use crate::names::folded;
use crate::plan::PlanContext;
use crate::statement::clauses::WINDOW;

/// Arguments of a marker that does not know its times yet.
const ARGUMENTS: usize = 5;

/// What an ORDER BY reads is part of the groups, too.
pub(super) fn of_query(
    query: &mut Query,
    with: &[Option<With>],
    context: &PlanContext,
) -> QueryResult<()> {
    let Query { body, order_by, .. } = query;
    let SetExpr::Select(select) = body.as_mut() else { return Ok(()) };
    let order: Vec<&Expr> = match order_by.as_ref().map(|order| &order.kind) {
        Some(OrderByKind::Expressions(list)) => list.iter().map(|by| &by.expr).collect(),
        _ => Vec::new(),
    };
    of_select(select, &order, with, context)
}

/// Rewrites a SELECT whose FROM has such joins, once.
pub(super) fn of_select(
    select: &mut Select,
    order: &[&Expr],
    with: &[Option<With>],
    context: &PlanContext,
) -> QueryResult<()> {
    let mut first = None;
    for from in &mut select.from {
        let left = from.relation.clone();
        for join in &mut from.joins {
            let (JoinOperator::Left(JoinConstraint::On(on))
            | JoinOperator::LeftOuter(JoinConstraint::On(on))) = &mut join.join_operator
            else {
                continue;
            };
            let Some(marker) = marker(on) else { continue };
            let FunctionArguments::List(list) = &mut marker.args else { continue };
            if list.args.len() != ARGUMENTS {
                continue;
            }
            for side in [&left, &join.relation] {
                let alias = alias_of(side).ok_or_else(|| {
                    QueryError::new(
                        "42601",
                        "a WINDOW JOIN is of tables, or subqueries with an alias",
                    )
                })?;
                let time = Ident::with_quote('"', time_of_relation(side, context));
                let time = expression(&format!("{alias}.{time}"))?;
                list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Expr(time)));
            }
            first.get_or_insert(left.clone());
        }
    }
    match first {
        Some(left) => group(select, &left, order, with, context),
        None => Ok(()),
    }
}

/// The marker at the end of a condition.
fn marker(on: &mut Expr) -> Option<&mut Function> {
    match on {
        Expr::BinaryOp { right, .. } => marker(right),
        Expr::Function(function) if name_of(function).as_deref() == Some(WINDOW) => Some(function),
        _ => None,
    }
}

fn group(
    select: &mut Select,
    left: &TableFactor,
    order: &[&Expr],
    with: &[Option<With>],
    context: &PlanContext,
) -> QueryResult<()> {
    let plain = matches!(&select.group_by, GroupByExpr::Expressions(by, more) if by.is_empty() && more.is_empty());
    if !plain {
        return Err(QueryError::unsupported("GROUP BY beside WINDOW JOIN")
            .with_hint("Group the result of a subquery with the WINDOW JOIN."));
    }
    let mut list = Vec::with_capacity(select.projection.len());
    for item in std::mem::take(&mut select.projection) {
        match item {
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                let alias = alias_of(left).map(|alias| folded(&alias));
                let of_left = name.0.last().and_then(|part| part.as_ident()).map(folded) == alias;
                if !of_left {
                    return Err(wildcard());
                }
                for column in pivot::columns(left, with, context)? {
                    let text = format!("{name}.{}", Ident::with_quote('"', column));
                    list.push(SelectItem::UnnamedExpr(expression(&text)?));
                }
            }
            SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => return Err(wildcard()),
            other => list.push(other),
        }
    }
    select.projection = list;
    let named = |item: &SelectItem| match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
        _ => None,
    };
    let aliases: Vec<String> = select.projection.iter().filter_map(named).collect();
    let mut outside = Outside { context, inside: 0, found: Vec::new() };
    for item in &select.projection {
        let _ = item.visit(&mut outside);
    }
    // A name of the list goes before a column of that name.
    let is_alias =
        |expr: &&&Expr| matches!(expr, Expr::Identifier(name) if aliases.contains(&folded(name)));
    for expr in order.iter().filter(|expr| !is_alias(expr)) {
        let _ = expr.visit(&mut outside);
    }
    if let Some(having) = &select.having {
        let _ = having.visit(&mut outside);
    }
    select.group_by = GroupByExpr::Expressions(outside.found, Vec::new());
    Ok(())
}

fn wildcard() -> QueryError {
    QueryError::new("42601", "WINDOW JOIN with * of the right table in the SELECT list").with_hint(
        "Name columns of the left table, or all of them as a.*, and aggregates of the right.",
    )
}

/// Columns that stand outside of aggregates and subqueries.
struct Outside<'a> {
    context: &'a PlanContext,
    inside: usize,
    found: Vec<Expr>,
}

impl Outside<'_> {
    fn closes(&self, expr: &Expr) -> bool {
        matches!(expr, Expr::Function(function) if is_aggregate(function, self.context))
    }
}

impl Visitor for Outside<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.inside += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.inside -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if self.closes(expr) {
            self.inside += 1;
        }
        let column = matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
        if column && self.inside == 0 && !self.found.contains(expr) {
            self.found.push(expr.clone());
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if self.closes(expr) {
            self.inside -= 1;
        }
        ControlFlow::Continue(())
    }
}
