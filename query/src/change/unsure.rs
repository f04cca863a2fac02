//! `IN (SELECT …)` where unknown and false make a difference.
//!
//! DataFusion makes a join of it that says false where SQL says unknown (a NULL on the left, or
//! among the right). As a condition that has to be true both are alike; under NOT, and as a
//! value, they are not, and rows would be changed that the statement does not name.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Query, UnaryOperator, Visit, Visitor};

use crate::error::{QueryError, QueryResult};

/// Where in a condition an expression stands.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// One of the conditions that all have to be true: a NOT IN is right here, too.
    Whole,
    /// Under OR.
    Part,
}

/// `0A000` for a condition that would not be taken as SQL means it.
pub(crate) fn check(condition: &Expr) -> QueryResult<()> {
    if is_sure(condition, Place::Whole) { Ok(()) } else { Err(refusal()) }
}

/// As [`check`], for a value.
pub(super) fn check_value(value: &Expr) -> QueryResult<()> {
    if has_in(value) { Err(refusal()) } else { Ok(()) }
}

fn refusal() -> QueryError {
    QueryError::unsupported("IN (SELECT …) under NOT, beside OR or as a value, in a change")
        .with_hint("Use EXISTS (SELECT …), or make it a condition of its own joined by AND.")
}

fn is_sure(expr: &Expr, place: Place) -> bool {
    match expr {
        Expr::Nested(inner) => is_sure(inner, place),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            is_sure(left, place) && is_sure(right, place)
        }
        Expr::BinaryOp { left, op: BinaryOperator::Or, right } => {
            is_sure(left, Place::Part) && is_sure(right, Place::Part)
        }
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => match bare(expr) {
            Expr::InSubquery { expr, negated, .. } => {
                (*negated || place == Place::Whole) && !has_in(expr)
            }
            other => !has_in(other),
        },
        Expr::InSubquery { expr, negated, .. } => {
            (!negated || place == Place::Whole) && !has_in(expr)
        }
        Expr::AnyOp { left, right, .. } if matches!(**right, Expr::Subquery(_)) => !has_in(left),
        other => !has_in(other),
    }
}

fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => bare(inner),
        other => other,
    }
}

/// Whether the expression itself, not a query inside of it, compares with the rows of a query.
fn has_in(expr: &Expr) -> bool {
    struct Finder(usize);
    impl Visitor for Finder {
        type Break = ();
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.0 += 1;
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.0 -= 1;
            ControlFlow::Continue(())
        }
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            let compares = match expr {
                Expr::InSubquery { .. } => true,
                Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } => {
                    matches!(**right, Expr::Subquery(_))
                }
                _ => false,
            };
            if compares && self.0 == 0 {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        }
    }
    expr.visit(&mut Finder(0)).is_break()
}
