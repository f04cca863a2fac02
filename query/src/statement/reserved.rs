//! Words that Postgres reserves and sqlparser would take for names: `SELECT FROM WHERE` reads a
//! table called `where` there, and is a syntax error here.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{self, Visit, Visitor};

use super::position_of;
use crate::error::{QueryError, QueryResult};

/// Postgres 15's reserved words, but for those that are values by themselves (`current_user`,
/// `true`, `default` …).
const RESERVED: &str = "\
    all analyse analyze and any array as asc asymmetric both case cast check collate column \
    constraint create deferrable desc distinct do else end except fetch for foreign from grant \
    group having in initially intersect into lateral leading limit not offset on only or order \
    placing primary references returning select some symmetric table then to trailing union \
    unique using variadic when where window with";
/// Words that may name functions and types, but neither tables nor columns.
const NO_NAMES: &str = "\
    authorization binary collation concurrently cross freeze full ilike inner is isnull join \
    left like natural notnull outer overlaps right similar tablesample verbose";

/// The words of both lists.
pub(crate) fn words() -> impl Iterator<Item = &'static str> {
    RESERVED.split_ascii_whitespace().chain(NO_NAMES.split_ascii_whitespace())
}

/// `42601` where a bare reserved word stands for a table, an alias of one, or a column.
pub(super) fn check(statement: &ast::Statement, sql: &str) -> QueryResult<()> {
    let columns: Vec<&ast::Ident> = match statement {
        ast::Statement::CreateTable(create) => create.columns.iter().map(|c| &c.name).collect(),
        ast::Statement::Insert(insert) => insert.columns.iter().filter_map(first).collect(),
        _ => Vec::new(),
    };
    let found = match columns.into_iter().find(|name| is_bare(name)) {
        Some(name) => Some(name.clone()),
        None => statement.visit(&mut Names).break_value(),
    };
    let Some(name) = found else { return Ok(()) };
    let start = name.span.start;
    let message = format!("syntax error at or near \"{}\"", name.value);
    Err(QueryError::new("42601", message)
        .with_position(position_of(sql, start.line, start.column))
        .with_hint("The word is reserved; write it in double quotes to use it as a name."))
}

/// Finds the first reserved word among the names.
struct Names;

impl Visitor for Names {
    type Break = ast::Ident;

    fn pre_visit_relation(&mut self, name: &ast::ObjectName) -> ControlFlow<ast::Ident> {
        refuse(first(name))
    }

    fn pre_visit_table_factor(&mut self, factor: &ast::TableFactor) -> ControlFlow<ast::Ident> {
        use ast::TableFactor as F;
        let alias = match factor {
            F::Table { alias, .. }
            | F::Derived { alias, .. }
            | F::TableFunction { alias, .. }
            | F::Function { alias, .. }
            | F::UNNEST { alias, .. }
            | F::NestedJoin { alias, .. } => alias.as_ref(),
            _ => None,
        };
        refuse(alias.map(|alias| &alias.name))
    }

    fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<ast::Ident> {
        match expr {
            ast::Expr::Identifier(name) => refuse(Some(name)),
            ast::Expr::CompoundIdentifier(names) => refuse(names.first()),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn first(name: &ast::ObjectName) -> Option<&ast::Ident> {
    name.0.first().and_then(|part| part.as_ident())
}

fn refuse(name: Option<&ast::Ident>) -> ControlFlow<ast::Ident> {
    match name {
        Some(name) if is_bare(name) => ControlFlow::Break(name.clone()),
        _ => ControlFlow::Continue(()),
    }
}

/// Whether a bare word is one that names nothing.
fn is_bare(name: &ast::Ident) -> bool {
    name.quote_style.is_none() && is_reserved(&name.value)
}

/// Whether a name must be quoted.
pub(crate) fn is_reserved(name: &str) -> bool {
    // Few names are as short and as plain as these words: most leave here.
    if name.len() > 13 {
        return false;
    }
    let mut words = RESERVED.split(' ').chain(NO_NAMES.split(' '));
    words.any(|word| name.eq_ignore_ascii_case(word))
}
