//! From DELETE and UPDATE to the SELECT of the rows that they are about.

use datafusion::sql::sqlparser::ast::{self, Expr, Ident, SelectItem, TableFactor};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::unsure;
use crate::error::{QueryError, QueryResult};
use crate::insert::table_name;
use crate::names::folded;
use crate::plan::names::ROWS;
use crate::relational::KEY;
use crate::table::IDENTITY;

/// What tells the rows of a table apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum By {
    /// Series and time.
    Time,
    /// Those, and the place among rows of both.
    Place,
    /// The key of a relational table.
    Key,
}

/// Name and alias of a table that stands alone.
pub(crate) fn plain_table(
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
pub(crate) fn delete_target(delete: &ast::Delete) -> QueryResult<&ast::TableWithJoins> {
    let (ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from)) =
        &delete.from;
    let plain = delete.tables.is_empty()
        && delete.order_by.is_empty()
        && delete.limit.is_none()
        && delete.output.is_none();
    match from.as_slice() {
        [table] if plain => Ok(table),
        _ => Err(QueryError::unsupported("this form of DELETE")),
    }
}

/// The tables that a DELETE looks into besides.
pub(crate) fn using(delete: &ast::Delete) -> &[ast::TableWithJoins] {
    delete.using.as_deref().unwrap_or_default()
}

/// The tables that an UPDATE looks into besides.
pub(crate) fn from(update: &ast::Update) -> &[ast::TableWithJoins] {
    match &update.from {
        Some(ast::UpdateTableFromKind::AfterSet(from)) => from,
        _ => &[],
    }
}

/// The rows of a DELETE with what it returns of them.
pub(crate) fn delete_query(
    delete: &ast::Delete,
    by: By,
    returned: &[SelectItem],
) -> QueryResult<ast::Query> {
    let target = delete_target(delete)?;
    query(target, using(delete), delete.selection.as_ref(), by, &[], returned)
}

/// The name that the table of a statement goes by.
pub(crate) fn called(from: &ast::TableWithJoins) -> QueryResult<Ident> {
    let (name, alias) = plain_table(from)?;
    Ok(match alias {
        Some(alias) => alias.name.clone(),
        None => Ident::with_quote('"', table_name(name)?),
    })
}

/// One assignment of an UPDATE: the column's name and its new value.
pub(crate) fn assignments(update: &ast::Update) -> QueryResult<Vec<(String, &Expr)>> {
    if matches!(update.from, Some(ast::UpdateTableFromKind::BeforeSet(_))) {
        return Err(QueryError::unsupported("UPDATE … FROM before SET"));
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
        match &assignment.target {
            ast::AssignmentTarget::ColumnName(name) => {
                out.push((column_name(name)?, &assignment.value));
            }
            ast::AssignmentTarget::Tuple(names) => {
                let values = row(&assignment.value)?;
                if values.len() != names.len() {
                    let message = "number of columns does not match number of values";
                    return Err(QueryError::new("42601", message));
                }
                for (name, value) in names.iter().zip(values) {
                    out.push((column_name(name)?, value));
                }
            }
        }
    }
    Ok(out)
}

fn column_name(name: &ast::ObjectName) -> QueryResult<String> {
    let name = match name.0.as_slice() {
        [part] => part.as_ident().map(folded),
        _ => None,
    };
    name.ok_or_else(|| QueryError::new("42601", "a column in SET stands without its table"))
}

/// The values of `(a, b) = (x, y)`.
fn row(value: &Expr) -> QueryResult<Vec<&Expr>> {
    match value {
        Expr::Tuple(values) => Ok(values.iter().collect()),
        Expr::Nested(value) if !matches!(**value, Expr::Subquery(_)) => Ok(vec![value]),
        Expr::Subquery(_) => Err(QueryError::unsupported("UPDATE … SET (…) = (SELECT …)")
            .with_hint("Take the values from a table in FROM, or assign one column a subquery.")),
        _ => Err(QueryError::new(
            "42601",
            "source for a multiple-column UPDATE item must be a row of values",
        )),
    }
}

/// The rows of an UPDATE, each with the new values.
pub(crate) fn update_query(
    update: &ast::Update,
    by: By,
    returned: &[SelectItem],
) -> QueryResult<ast::Query> {
    let values: Vec<Expr> =
        assignments(update)?.into_iter().map(|(_, value)| value_of(value)).collect();
    query(&update.table, from(update), update.selection.as_ref(), by, &values, returned)
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
    others: &[ast::TableWithJoins],
    selection: Option<&Expr>,
    by: By,
    values: &[Expr],
    returned: &[SelectItem],
) -> QueryResult<ast::Query> {
    if let Some(condition) = selection {
        unsure::check(condition)?;
    }
    values.iter().try_for_each(unsure::check_value)?;
    for join in others.iter().flat_map(|from| &from.joins) {
        if let Some(condition) = on(&join.join_operator) {
            unsure::check_value(condition)?;
        }
    }
    let table = table_name(plain_table(from)?.0)?;
    let called = called(from)?;
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
    let wanted: Vec<&str> = match by {
        By::Time => IDENTITY[..2].iter().map(|(column, ..)| *column).collect(),
        By::Place => IDENTITY.iter().map(|(column, ..)| *column).collect(),
        By::Key => vec![KEY],
    };
    select.projection = wanted
        .into_iter()
        .map(|column| Expr::CompoundIdentifier(vec![called.clone(), quoted(column)]))
        .map(SelectItem::UnnamedExpr)
        .collect();
    select.projection.extend(values.iter().enumerate().map(|(at, value)| {
        SelectItem::ExprWithAlias { expr: value.clone(), alias: quoted(&format!("\u{1}set{at}")) }
    }));
    select.projection.extend(returned.iter().cloned());
    select.from.extend(others.iter().cloned());
    select.selection = selection.cloned();
    Ok(query)
}

/// The condition of a join.
fn on(operator: &ast::JoinOperator) -> Option<&Expr> {
    use ast::JoinOperator as J;
    match operator {
        J::Join(by)
        | J::Inner(by)
        | J::Left(by)
        | J::LeftOuter(by)
        | J::Right(by)
        | J::RightOuter(by)
        | J::FullOuter(by) => match by {
            ast::JoinConstraint::On(condition) => Some(condition),
            _ => None,
        },
        _ => None,
    }
}
