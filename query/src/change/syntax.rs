//! From DELETE and UPDATE to the SELECT of the rows that they are about.

use datafusion::sql::sqlparser::ast::{self, Expr, Ident, SelectItem, TableFactor};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::unsure;
use crate::error::{QueryError, QueryResult};
use crate::insert::table_name;
use crate::names::folded;
use crate::plan::names::ROWS;
use crate::table::IDENTITY;

/// Name and alias of a table that stands alone.
pub(super) fn plain_table(
    from: &ast::TableWithJoins,
) -> QueryResult<(&ast::ObjectName, Option<&ast::TableAlias>)> {
    match &from.relation {
        TableFactor::Table { name, alias, args: None, sample: None, .. }
            if from.joins.is_empty()
                && alias.as_ref().is_none_or(|alias| alias.columns.is_empty()) =>
        {
            Ok((name, alias.as_ref()))
        }
        _ => Err(QueryError::unsupported("changing anything but a plain table")),
    }
}

/// The one table of a DELETE.
pub(super) fn delete_target(delete: &ast::Delete) -> QueryResult<&ast::TableWithJoins> {
    let (ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from)) =
        &delete.from;
    if delete.using.is_some() {
        return Err(QueryError::unsupported("DELETE … USING")
            .with_hint("Name the rows by a subquery: WHERE … IN (SELECT …) or EXISTS (…)."));
    }
    if delete.returning.is_some() {
        return Err(QueryError::unsupported("DELETE … RETURNING"));
    }
    let plain = delete.tables.is_empty()
        && delete.order_by.is_empty()
        && delete.limit.is_none()
        && delete.output.is_none();
    match from.as_slice() {
        [table] if plain => Ok(table),
        _ => Err(QueryError::unsupported("this form of DELETE")),
    }
}

/// The rows of a DELETE; `nth` asks for their place among rows of one series and time, too.
pub(crate) fn delete_query(delete: &ast::Delete, nth: bool) -> QueryResult<ast::Query> {
    query(delete_target(delete)?, delete.selection.as_ref(), nth, &[])
}

/// One assignment of an UPDATE: the column's name and its new value.
pub(super) fn assignments(update: &ast::Update) -> QueryResult<Vec<(String, &Expr)>> {
    if update.from.is_some() {
        return Err(QueryError::unsupported("UPDATE … FROM")
            .with_hint("Take the values from subqueries: SET x = (SELECT …)."));
    }
    if update.returning.is_some() {
        return Err(QueryError::unsupported("UPDATE … RETURNING"));
    }
    if update.or.is_some()
        || update.output.is_some()
        || update.limit.is_some()
        || !update.order_by.is_empty()
    {
        return Err(QueryError::unsupported("this form of UPDATE"));
    }
    let mut out = Vec::with_capacity(update.assignments.len());
    for assignment in &update.assignments {
        let ast::AssignmentTarget::ColumnName(name) = &assignment.target else {
            return Err(QueryError::unsupported("UPDATE … SET (…) = (…)")
                .with_hint("Assign the columns one by one: SET a = …, b = …."));
        };
        let name = match name.0.as_slice() {
            [part] => part.as_ident().map(folded),
            _ => None,
        };
        let Some(name) = name else {
            return Err(QueryError::new("42601", "a column in SET stands without its table"));
        };
        out.push((name, &assignment.value));
    }
    Ok(out)
}

/// The rows of an UPDATE, each with the new values.
pub(crate) fn update_query(update: &ast::Update, nth: bool) -> QueryResult<ast::Query> {
    let values: Vec<Expr> =
        assignments(update)?.into_iter().map(|(_, value)| value_of(value)).collect();
    query(&update.table, update.selection.as_ref(), nth, &values)
}

/// The new value; `DEFAULT` is NULL, as no column has another.
fn value_of(expr: &Expr) -> Expr {
    match expr {
        Expr::Identifier(ident)
            if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default") =>
        {
            Expr::Value(ast::Value::Null.with_empty_span())
        }
        other => other.clone(),
    }
}

fn query(
    from: &ast::TableWithJoins,
    selection: Option<&Expr>,
    nth: bool,
    values: &[Expr],
) -> QueryResult<ast::Query> {
    if let Some(condition) = selection {
        unsure::check(condition)?;
    }
    values.iter().try_for_each(unsure::check_value)?;
    let (name, alias) = plain_table(from)?;
    let table = table_name(name)?;
    let called = match alias {
        Some(alias) => alias.name.clone(),
        None => Ident::with_quote('"', &table),
    };
    let template = Parser::new(&PostgreSqlDialect {})
        .try_with_sql("SELECT FROM a AS b")
        .and_then(|mut parser| parser.parse_query());
    let bad = || QueryError::internal("the form of a change");
    let mut query = *template.map_err(|_| bad())?;
    let ast::SetExpr::Select(select) = query.body.as_mut() else { return Err(bad()) };
    let [source] = select.from.as_mut_slice() else { return Err(bad()) };
    let TableFactor::Table { name, alias: Some(alias), .. } = &mut source.relation else {
        return Err(bad());
    };
    let quoted = |text: &str| Ident::with_quote('"', text);
    *name = ast::ObjectName::from(vec![quoted(ROWS), quoted(&table)]);
    alias.name = called.clone();
    let wanted = if nth { &IDENTITY[..] } else { &IDENTITY[..2] };
    select.projection = wanted
        .iter()
        .map(|(column, ..)| Expr::CompoundIdentifier(vec![called.clone(), quoted(column)]))
        .map(SelectItem::UnnamedExpr)
        .collect();
    select.projection.extend(values.iter().enumerate().map(|(at, value)| {
        SelectItem::ExprWithAlias { expr: value.clone(), alias: quoted(&format!("\u{1}set{at}")) }
    }));
    select.selection = selection.cloned();
    Ok(query)
}
