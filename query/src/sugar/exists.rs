//! EXISTS and IN over a query as values of a select list, where DataFusion knows them as conditions
//! alone: they become numbers of rows, which it knows how to join.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, Query, Select, SelectItem, SetExpr, Statement, VisitMut,
    VisitorMut,
};

use super::{expression, query as query_of};
use crate::error::{QueryError, QueryResult};

/// Name of the column of a query behind IN.
const VALUE: &str = "__in_value";

/// Rewrites what is left of them in all select lists.
pub(crate) fn count(statement: &mut Statement) -> QueryResult<()> {
    match statement.visit(&mut Lists) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Lists;

impl VisitorMut for Lists {
    type Break = QueryError;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<QueryError> {
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                expr.visit(&mut Values { queries: 0 })?;
            }
        }
        ControlFlow::Continue(())
    }
}

/// The values of one item; queries inside of it have lists of their own.
struct Values {
    queries: usize,
}

impl VisitorMut for Values {
    type Break = QueryError;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<QueryError> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<QueryError> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<QueryError> {
        if self.queries > 0 {
            return ControlFlow::Continue(());
        }
        let counted = match expr {
            Expr::Exists { subquery, negated } => exists(subquery, *negated),
            Expr::InSubquery { expr: value, subquery, negated } => {
                within(value, subquery, *negated)
            }
            _ => return ControlFlow::Continue(()),
        };
        match counted {
            Ok(counted) => {
                *expr = counted;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}

/// Whether there is a row.
fn exists(subquery: &Query, negated: bool) -> QueryResult<Expr> {
    let mut counted = subquery.clone();
    let is_plain = subquery.with.is_none()
        && subquery.limit_clause.is_none()
        && subquery.fetch.is_none()
        && matches!(subquery.body.as_ref(), SetExpr::Select(select) if is_plain(select));
    let number = expression("count(*)")?;
    if is_plain && let SetExpr::Select(select) = counted.body.as_mut() {
        select.projection = vec![SelectItem::UnnamedExpr(number)];
        counted.order_by = None;
    } else {
        counted = *query_of(&format!("SELECT count(*) FROM ({subquery}) AS __rows"))?;
    }
    let op = if negated { BinaryOperator::Eq } else { BinaryOperator::Gt };
    let (left, right) = (Box::new(Expr::Subquery(Box::new(counted))), Box::new(expression("0")?));
    Ok(Expr::Nested(Box::new(Expr::BinaryOp { left, op, right })))
}

/// Whether a select gives a row for each that it reads.
fn is_plain(select: &Select) -> bool {
    let grouped = match &select.group_by {
        GroupByExpr::Expressions(exprs, _) => !exprs.is_empty(),
        GroupByExpr::All(_) => true,
    };
    let lists = select.projection.iter().all(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            matches!(expr, Expr::Value(_) | Expr::Identifier(_) | Expr::CompoundIdentifier(_))
        }
        _ => true,
    });
    !grouped && lists && select.having.is_none() && select.distinct.is_none()
}

/// Whether a value is among those of a query: unknown where it is not found and there are unknown
/// ones, or it is unknown itself and there are any.
fn within(value: &Expr, subquery: &Query, negated: bool) -> QueryResult<Expr> {
    let rows = |condition: &str| {
        format!("(SELECT count(*) FROM ({subquery}) AS __in_rows ({VALUE}) {condition})")
    };
    let (found, known) = if negated { ("false", "true") } else { ("true", "false") };
    let found_rows = rows(&format!("WHERE __in_rows.{VALUE} = ({value})"));
    let unknown_rows = rows(&format!("WHERE __in_rows.{VALUE} IS NULL"));
    let all = rows("");
    expression(&format!(
        "CASE WHEN {found_rows} > 0 THEN {found} \
              WHEN ({value}) IS NULL AND {all} > 0 THEN NULL \
              WHEN {unknown_rows} > 0 THEN NULL \
              ELSE {known} END"
    ))
}
