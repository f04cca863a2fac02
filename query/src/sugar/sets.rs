//! Comparisons with the rows of a query by ANY, SOME and ALL.
//!
//! DataFusion makes them EXISTS with the comparison as a condition, and takes both sides for one
//! column where they have the same name: `id > ANY (SELECT id FROM the_same_table)` would compare a
//! row with itself. So equality becomes IN, and the column of other queries gets a name of its own.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, Query, SelectItem, SetExpr, TableFactor,
};

use crate::error::{QueryError, QueryResult};

/// Begins the names of columns.
const NAME: &str = "__set_";

/// Rewrites a comparison; `serial` counts those of a statement.
pub(super) fn rewrite(expr: &mut Expr, serial: &mut usize) -> QueryResult<()> {
    let (left, right, negated) = match expr {
        Expr::AnyOp { left, compare_op, right, .. } => {
            (left, right, (*compare_op == BinaryOperator::Eq).then_some(false))
        }
        Expr::AllOp { left, compare_op, right } => {
            (left, right, (*compare_op == BinaryOperator::NotEq).then_some(true))
        }
        _ => return Ok(()),
    };
    let Expr::Subquery(subquery) = right.as_mut() else { return Ok(()) };
    if let Some(negated) = negated {
        let (left, subquery) = (left.clone(), subquery.clone());
        *expr = Expr::InSubquery { expr: left, subquery, negated };
        return Ok(());
    }
    *serial += 1;
    let name = Ident::with_quote('"', format!("{NAME}{serial}"));
    if let SetExpr::Select(select) = subquery.body.as_mut()
        && let [item @ (SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. })] =
            &mut select.projection[..]
    {
        if let SelectItem::UnnamedExpr(value) = item {
            *item = SelectItem::ExprWithAlias { expr: value.clone(), alias: name };
        }
        return Ok(());
    }
    **subquery = under(subquery, &name)?;
    Ok(())
}

/// The rows of a query as a table of another.
fn under(query: &Query, name: &Ident) -> QueryResult<Query> {
    let mut whole = super::query(&format!("SELECT * FROM (SELECT 1) AS {name}"))?;
    let inner = match whole.body.as_mut() {
        SetExpr::Select(select) => select.from.first_mut().map(|from| &mut from.relation),
        _ => None,
    };
    match inner {
        Some(TableFactor::Derived { subquery, .. }) => **subquery = query.clone(),
        _ => return Err(QueryError::internal("a query that was put together is another")),
    }
    Ok(*whole)
}
