//! PIVOT as grouping with an aggregate for each value, UNPIVOT as lists of names and values side
//! by side.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, Expr, ExprWithAlias, Function, FunctionArguments, Ident, NullInclusion, ObjectName,
    PivotValueSource, TableAlias, TableFactor, Value, Visit, Visitor, With,
};

use super::query;
use crate::catalog;
use crate::error::{QueryError, QueryResult};
use crate::names::{folded, of_item};
use crate::plan::PlanContext;

/// Columns that PIVOT makes: each is an aggregate.
const COLUMNS_MAX: usize = 1_600;

/// A derived table in place of a PIVOT or UNPIVOT. `with`: what its table may name besides, from the
/// outside in.
pub(super) fn rewrite(
    factor: &mut TableFactor,
    with: &[Option<With>],
    context: &PlanContext,
) -> QueryResult<()> {
    let made = match factor {
        TableFactor::Pivot {
            table,
            aggregate_functions,
            value_column,
            value_source,
            default_on_null,
            alias,
        } => {
            let columns = columns(table, with, context)?;
            let default = default_on_null.as_ref();
            let select =
                pivot(&columns, (aggregate_functions, default), value_column, value_source)?;
            derived(&format!("{select} FROM {table}"), &columns, value_column, aggregate_functions)
                .map(|text| (text, alias.clone()))?
        }
        TableFactor::Unpivot { table, value, name, columns: list, null_inclusion, alias } => {
            let columns = columns(table, with, context)?;
            (unpivot(&columns, table, value, name, list, null_inclusion.as_ref())?, alias.clone())
        }
        _ => return Ok(()),
    };
    let (text, alias) = made;
    let alias = alias.unwrap_or_else(|| TableAlias {
        explicit: true,
        name: Ident::new("pivoted"),
        columns: Vec::new(),
        at: None,
    });
    *factor = TableFactor::Derived {
        lateral: false,
        subquery: query(&text)?,
        alias: Some(alias),
        sample: None,
    };
    Ok(())
}

fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

/// Names of the columns of a table of a FROM.
pub(super) fn columns(
    table: &TableFactor,
    with: &[Option<With>],
    context: &PlanContext,
) -> QueryResult<Vec<String>> {
    let with = with.iter().rev().flatten().find_map(|with| named(with, table));
    let with = with.map_or_else(String::new, |with| format!("{with} "));
    let mut statement = ast::Statement::Query(query(&format!("{with}SELECT * FROM {table}"))?);
    super::rewrite(&mut statement, context)?;
    catalog::rewrite(&mut statement, context)?;
    let plan = context.bind(statement, &[])?;
    Ok(plan.schema().fields().iter().map(|field| field.name().clone()).collect())
}

/// As much of a WITH as a table names: its queries up to the last of them. A later one may be that
/// which the table stands in.
fn named(with: &With, table: &TableFactor) -> Option<With> {
    struct Relations(HashSet<String>);
    impl Visitor for Relations {
        type Break = ();
        fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
            if let [part] = &name.0[..] {
                self.0.extend(part.as_ident().map(folded));
            }
            ControlFlow::Continue(())
        }
    }
    let mut relations = Relations(HashSet::new());
    let _ = table.visit(&mut relations);
    let is_named = |cte: &ast::Cte| relations.0.contains(&folded(&cte.alias.name));
    let last = with.cte_tables.iter().rposition(is_named)?;
    let mut with = with.clone();
    with.cte_tables.truncate(last + 1);
    Some(with)
}

/// The GROUP BY of a pivot, behind its SELECT and FROM.
fn derived(
    text: &str,
    columns: &[String],
    value_column: &[Expr],
    aggregates: &[ExprWithAlias],
) -> QueryResult<String> {
    let groups = groups(columns, value_column, aggregates)?;
    Ok(match groups.is_empty() {
        true => text.to_string(),
        false => {
            let names: Vec<String> = groups.iter().map(|name| quoted(name).to_string()).collect();
            format!("{text} GROUP BY {}", names.join(", "))
        }
    })
}

/// Columns that neither an aggregate nor FOR reads: what the result is grouped by.
fn groups(
    columns: &[String],
    value_column: &[Expr],
    aggregates: &[ExprWithAlias],
) -> QueryResult<Vec<String>> {
    let mut read = Read(HashSet::new());
    let all = value_column.iter().chain(aggregates.iter().map(|aggregate| &aggregate.expr));
    for expr in all {
        let _ = expr.visit(&mut read);
    }
    if let Some(missing) = read.0.iter().find(|name| !columns.contains(name)) {
        return Err(QueryError::new("42703", format!("column \"{missing}\" does not exist")));
    }
    Ok(columns.iter().filter(|name| !read.0.contains(*name)).cloned().collect())
}

/// Names of columns in expressions.
struct Read(HashSet<String>);

impl Visitor for Read {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(name) => {
                self.0.insert(folded(name));
            }
            Expr::CompoundIdentifier(parts) => {
                self.0.extend(parts.last().map(folded));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// `SELECT groups, aggregate FILTER (WHERE column = value) AS "value", …`.
fn pivot(
    columns: &[String],
    (aggregates, default): (&[ExprWithAlias], Option<&Expr>),
    value_column: &[Expr],
    source: &PivotValueSource,
) -> QueryResult<String> {
    let PivotValueSource::List(values) = source else {
        return Err(QueryError::unsupported("PIVOT over values that a query finds").with_hint(
            "Columns must be known before rows are read: list the values, IN ('a', 'b').",
        ));
    };
    if values.len().saturating_mul(aggregates.len()) > COLUMNS_MAX {
        let message = format!("a PIVOT may make {COLUMNS_MAX} columns");
        return Err(QueryError::new("54011", message));
    }
    let groups = groups(columns, value_column, aggregates)?;
    let mut list: Vec<String> = groups.iter().map(|name| quoted(name).to_string()).collect();
    for value in values {
        let test = test(value_column, &value.expr)?;
        for aggregate in aggregates {
            let Expr::Function(function) = &aggregate.expr else {
                return Err(QueryError::new("42601", "PIVOT takes aggregates of columns"));
            };
            let call = filtered(function, &test)?;
            let call = match default {
                Some(default) => format!("coalesce({call}, {default})"),
                None => call.to_string(),
            };
            let name = column_name(value, aggregate, aggregates.len());
            list.push(format!("{call} AS {}", quoted(&name)));
        }
    }
    Ok(format!("SELECT {}", list.join(", ")))
}

/// The condition that a row is of a value.
fn test(columns: &[Expr], value: &Expr) -> QueryResult<String> {
    let values = match (value, columns.len()) {
        (Expr::Tuple(values), count) if values.len() == count => values.iter().collect(),
        (Expr::Nested(inner), 1) => vec![inner.as_ref()],
        (value, 1) => vec![value],
        _ => {
            let message = "PIVOT lists as many values as FOR has columns";
            return Err(
                QueryError::new("42601", message).with_hint("FOR (a, b) IN ((1, 2), (3, 4))")
            );
        }
    };
    let one = |(column, value): (&Expr, &Expr)| match value {
        Expr::Value(v) if v.value == Value::Null => format!("{column} IS NULL"),
        value => format!("{column} = {value}"),
    };
    let tests: Vec<String> = columns.iter().zip(values).map(one).collect();
    Ok(tests.join(" AND "))
}

fn filtered(function: &Function, test: &str) -> QueryResult<Function> {
    let test = super::expression(test)?;
    let mut function = function.clone();
    if matches!(function.args, FunctionArguments::None) || function.over.is_some() {
        return Err(QueryError::new("42601", "PIVOT takes aggregates of columns"));
    }
    let test = match function.filter.take() {
        Some(before) => super::expression(&format!("({before}) AND {test}"))?,
        None => test,
    };
    function.filter = Some(Box::new(test));
    Ok(function)
}

/// The alias of the value, or the value; behind it the aggregate, where there are several or it has an
/// alias.
fn column_name(value: &ExprWithAlias, aggregate: &ExprWithAlias, count: usize) -> String {
    let value = match &value.alias {
        Some(alias) => folded(alias),
        None => plain(&value.expr),
    };
    match (&aggregate.alias, count) {
        (Some(alias), _) => format!("{value}_{}", folded(alias)),
        (None, 1) => value,
        (None, _) => {
            let name = of_item(&ast::SelectItem::UnnamedExpr(aggregate.expr.clone()));
            format!("{value}_{name}")
        }
    }
}

/// A value as a name: the text of a literal.
fn plain(expr: &Expr) -> String {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => text.clone(),
            other => other.to_string().to_lowercase(),
        },
        Expr::Nested(inner) => plain(inner),
        Expr::Tuple(values) => values.iter().map(plain).collect::<Vec<_>>().join("_"),
        other => other.to_string(),
    }
}

/// The query of an UNPIVOT: one row of each row and column.
fn unpivot(
    columns: &[String],
    table: &TableFactor,
    value: &Expr,
    name: &Ident,
    list: &[ExprWithAlias],
    nulls: Option<&NullInclusion>,
) -> QueryResult<String> {
    let Expr::Identifier(value) = value else {
        return Err(QueryError::unsupported("UNPIVOT into several columns"));
    };
    let (mut names, mut values, mut read) = (Vec::new(), Vec::new(), HashSet::new());
    for column in list {
        let of = match &column.expr {
            Expr::Identifier(of) => folded(of),
            Expr::CompoundIdentifier(parts) => parts.last().map(folded).unwrap_or_default(),
            _ => return Err(QueryError::new("42601", "UNPIVOT lists columns")),
        };
        if !columns.contains(&of) {
            return Err(QueryError::new("42703", format!("column \"{of}\" does not exist")));
        }
        let shown = column.alias.as_ref().map_or_else(|| of.clone(), |alias| alias.value.clone());
        names.push(Value::SingleQuotedString(shown).to_string());
        values.push(quoted(&of).to_string());
        read.insert(of);
    }
    let (name, value) = (quoted(&folded(name)), quoted(&folded(value)));
    let mut kept: Vec<String> = columns
        .iter()
        .filter(|column| !read.contains(*column))
        .map(|column| quoted(column).to_string())
        .collect();
    let mut select = kept.clone();
    select.push(format!("unnest(ARRAY[{}]) AS {name}", names.join(", ")));
    select.push(format!("unnest(ARRAY[{}]) AS {value}", values.join(", ")));
    let text = format!("SELECT {} FROM {table}", select.join(", "));
    if nulls == Some(&NullInclusion::IncludeNulls) {
        return Ok(text);
    }
    kept.extend([name.to_string(), value.to_string()]);
    Ok(format!("SELECT {} FROM ({text}) AS unpivoted WHERE {value} IS NOT NULL", kept.join(", ")))
}
