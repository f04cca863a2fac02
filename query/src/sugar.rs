//! Syntax that becomes ordinary SQL before names are bound.
//!
//! - `SAMPLE BY` and `LATEST ON`, which come as markers (`statement/clauses.rs`);
//! - ASOF JOIN and WINDOW JOIN, as left joins with a marked condition;
//! - PIVOT and UNPIVOT, as derived tables;
//! - named arguments of `time_bucket` and `time_bucket_gapfill`; `approx_percentile(x, p)`;
//!   `mode() WITHIN GROUP (ORDER BY x)`;
//! - casts to `varchar(n)` and `char(n)`;
//! - intervals in all of PostgreSQL's forms;
//! - `generate_series` in a select list; `FETCH FIRST`;
//! - EXISTS and IN over queries in select lists;
//! - calls and operators that PostgreSQL has and DataFusion does not;
//! - names that expressions give columns (`named`).

mod calls;
mod exists;
mod intervals;
mod joins;
mod lengths;
mod named;
mod pivot;
mod postgres;
mod sample;
mod series;
mod sets;
mod similar;
mod windows;

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, Expr, Fetch, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, GroupByExpr, LimitClause, Query, Select, SetExpr, TableFactor, Value,
    VisitMut, VisitorMut, With,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use crate::error::{QueryError, QueryResult};
use crate::names::folded;
use crate::plan::PlanContext;
use crate::statement::clauses::{LATEST, SAMPLE};

pub(crate) use exists::count;
pub(crate) use lengths::{fill, of_length};

/// Rewrites a statement before it is bound.
pub(crate) fn rewrite(statement: &mut ast::Statement, context: &PlanContext) -> QueryResult<()> {
    named::give(statement, context);
    match statement.visit(&mut Rewriter { context, with: Vec::new(), sets: 0 }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Rewriter<'a> {
    context: &'a PlanContext,
    /// What the queries that are open name with WITH, from the outside in.
    with: Vec<Option<With>>,
    /// Comparisons with the rows of queries that were rewritten.
    sets: usize,
}

fn go_on(done: QueryResult<()>) -> ControlFlow<QueryError> {
    match done {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

impl VisitorMut for Rewriter<'_> {
    type Break = QueryError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<QueryError> {
        self.with.push(query.with.clone());
        fetch_as_limit(query);
        let order = matches!(
            query.body.as_ref(),
            SetExpr::Select(select) if query.order_by.is_none() && is_marked(select, SAMPLE)
        );
        go_on(match order {
            true => sample::ordered(query, self.context),
            false => windows::of_query(query, &self.with, self.context),
        })
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<QueryError> {
        self.with.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<QueryError> {
        go_on((|| {
            if is_marked(select, SAMPLE) {
                sample::by(select, self.context)?;
            }
            if is_marked(select, LATEST) {
                sample::latest(select)?;
            }
            windows::of_select(select, &[], &self.with, self.context)?;
            series::as_rows(select);
            joins::rewrite(select)
        })())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<QueryError> {
        go_on(
            calls::name_column(factor)
                .and_then(|()| pivot::rewrite(factor, &self.with, self.context)),
        )
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<QueryError> {
        if let Err(error) = postgres::rewrite(expr) {
            return ControlFlow::Break(error);
        }
        match expr {
            Expr::Function(function) => {
                intervals::of_width(function);
                go_on(calls::rewrite(function))
            }
            Expr::SimilarTo { .. } => go_on(similar::rewrite(expr)),
            Expr::Cast { .. } => {
                intervals::rewrite(expr);
                go_on(lengths::rewrite(expr))
            }
            Expr::Interval(_) => {
                intervals::rewrite(expr);
                ControlFlow::Continue(())
            }
            Expr::AnyOp { .. } | Expr::AllOp { .. } => go_on(sets::rewrite(expr, &mut self.sets)),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// `FETCH FIRST n ROWS ONLY` is `LIMIT n`.
fn fetch_as_limit(query: &mut Query) {
    let Some(Fetch { with_ties: false, percent: false, quantity }) = &query.fetch else { return };
    let one = || Expr::Value(Value::Number("1".into(), false).with_empty_span());
    let rows = quantity.clone().unwrap_or_else(one);
    match &mut query.limit_clause {
        Some(LimitClause::LimitOffset { limit: limit @ None, limit_by, .. })
            if limit_by.is_empty() =>
        {
            *limit = Some(rows);
        }
        none @ None => {
            *none = Some(LimitClause::LimitOffset {
                limit: Some(rows),
                offset: None,
                limit_by: Vec::new(),
            });
        }
        Some(_) => return,
    }
    query.fetch = None;
}

/// The arguments of the marker that a select groups by.
fn marker<'a>(select: &'a Select, name: &str) -> Option<Vec<&'a Expr>> {
    let GroupByExpr::Expressions(groups, _) = &select.group_by else { return None };
    let [Expr::Function(function)] = &groups[..] else { return None };
    if name_of(function)? != name {
        return None;
    }
    plain(function)
}

fn is_marked(select: &Select, name: &str) -> bool {
    marker(select, name).is_some()
}

/// Name of a function without its schema, folded.
fn name_of(function: &Function) -> Option<String> {
    function.name.0.last().and_then(|part| part.as_ident()).map(folded)
}

/// Arguments that are nothing but expressions.
fn plain(function: &Function) -> Option<Vec<&Expr>> {
    let FunctionArguments::List(list) = &function.args else { return None };
    list.args
        .iter()
        .map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
            _ => None,
        })
        .collect()
}

/// A call of a function.
fn call_of(name: &str, args: Vec<Expr>) -> Function {
    let args = args.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect();
    Function {
        name: ast::ObjectName::from(vec![ast::Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    }
}

/// An expression out of text that was put together here.
pub(crate) fn expression(text: &str) -> QueryResult<Expr> {
    let parsed = Parser::new(&PostgreSqlDialect {})
        .try_with_sql(text)
        .and_then(|mut parser| parser.parse_expr());
    parsed.map_err(|error| QueryError::internal(format!("{text}: {error}")))
}

/// A query out of text that was put together here.
fn query(text: &str) -> QueryResult<Box<Query>> {
    let parsed = Parser::new(&PostgreSqlDialect {})
        .try_with_sql(text)
        .and_then(|mut parser| parser.parse_query());
    parsed.map_err(|error| QueryError::internal(format!("{text}: {error}")))
}

#[cfg(test)]
mod tests;
