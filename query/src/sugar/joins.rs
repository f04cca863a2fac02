//! ASOF JOIN as a left join whose condition carries a marker, which planning finds again.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, JoinConstraint, JoinOperator, Select, TableFactor, TableWithJoins,
};

use super::expression;
use crate::error::{QueryError, QueryResult};

pub(super) fn rewrite(select: &mut Select) -> QueryResult<()> {
    select.from.iter_mut().try_for_each(table)
}

fn table(from: &mut TableWithJoins) -> QueryResult<()> {
    factor(&mut from.relation)?;
    for join in &mut from.joins {
        factor(&mut join.relation)?;
        if let JoinOperator::AsOf { match_condition, constraint } = &join.join_operator {
            let matched = matched(match_condition)?;
            let on = match constraint {
                JoinConstraint::On(on) => expression(&format!("({on}) AND {matched}"))?,
                JoinConstraint::None => matched,
                _ => {
                    return Err(QueryError::unsupported("ASOF JOIN with USING or NATURAL")
                        .with_hint("Use ON a.key = b.key."));
                }
            };
            join.join_operator = JoinOperator::LeftOuter(JoinConstraint::On(on));
        }
    }
    Ok(())
}

fn factor(factor: &mut TableFactor) -> QueryResult<()> {
    match factor {
        TableFactor::NestedJoin { table_with_joins, .. } => table(table_with_joins),
        _ => Ok(()),
    }
}

fn bad() -> QueryError {
    QueryError::new("42601", "MATCH_CONDITION compares a time of each table").with_hint(
        "MATCH_CONDITION (a.time >= b.time [AND a.time - b.time <= INTERVAL '1 min']), or with \
         >, <, <=",
    )
}

/// The marker of `a.time >= b.time [AND a.time - b.time <= tolerance]`.
fn matched(condition: &Expr) -> QueryResult<Expr> {
    let (compared, tolerance) = match strip(condition) {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            (strip(left), Some(strip(right)))
        }
        other => (other, None),
    };
    let Expr::BinaryOp { left, op, right } = compared else { return Err(bad()) };
    let word = match op {
        BinaryOperator::GtEq => ">=",
        BinaryOperator::Gt => ">",
        BinaryOperator::LtEq => "<=",
        BinaryOperator::Lt => "<",
        _ => return Err(bad()),
    };
    let tolerance = match tolerance {
        None => "NULL".to_string(),
        Some(Expr::BinaryOp { left: span, op: BinaryOperator::LtEq, right: most }) => {
            let later = matches!(op, BinaryOperator::GtEq | BinaryOperator::Gt);
            let (to, from) = if later { (left, right) } else { (right, left) };
            match strip(span) {
                Expr::BinaryOp { left: a, op: BinaryOperator::Minus, right: b }
                    if a.to_string() == to.to_string() && b.to_string() == from.to_string() =>
                {
                    format!("CAST({most} AS interval)")
                }
                _ => return Err(bad()),
            }
        }
        Some(_) => return Err(bad()),
    };
    expression(&format!("__asof({left}, '{word}', {right}, {tolerance})"))
}

fn strip(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => strip(inner),
        other => other,
    }
}
