//! SAMPLE BY and LATEST ON as grouping and DISTINCT ON.

use std::ops::ControlFlow;

use datafusion::logical_expr::planner::ContextProvider;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, GroupByExpr, Ident, Query, Select, SelectItem, SetExpr, TableFactor, Value,
    Visit, Visitor,
};

use super::{expression, marker, name_of, query};
use crate::error::{QueryError, QueryResult};
use crate::names::folded;
use crate::plan::PlanContext;
use crate::statement::clauses::{LATEST, SAMPLE};

/// What fills the gaps of one column.
enum Fill {
    Null,
    Prev,
    Linear,
    Value(Box<Expr>),
}

/// The bucket of the marker, and how columns are filled; none: gaps stay gaps.
struct Sample {
    bucket: Expr,
    /// Name of the column that is cut.
    time: String,
    fills: Vec<Fill>,
}

/// Without an order of its own the result is in that of time, then keys.
pub(super) fn ordered(outer: &mut Query, context: &PlanContext) -> QueryResult<()> {
    let SetExpr::Select(select) = outer.body.as_ref() else { return Ok(()) };
    let sample = read(select, context)?;
    let mut by = vec![sample.bucket.to_string()];
    by.extend(keys(select, &sample.time, context)?.iter().map(ToString::to_string));
    outer.order_by = query(&format!("SELECT 1 ORDER BY {}", by.join(", ")))?.order_by;
    Ok(())
}

/// `SAMPLE BY` becomes GROUP BY of the bucket and of all columns without an aggregate.
pub(super) fn by(select: &mut Select, context: &PlanContext) -> QueryResult<()> {
    let sample = read(select, context)?;
    let mut groups = vec![sample.bucket.clone()];
    groups.extend(keys(select, &sample.time, context)?);
    let mut nth = 0;
    for item in &mut select.projection {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else {
            continue;
        };
        if is_column(expr, &sample.time) {
            let alias = match &*item {
                SelectItem::ExprWithAlias { alias, .. } => alias.clone(),
                _ => Ident::with_quote('"', sample.time.clone()),
            };
            *item = SelectItem::ExprWithAlias { expr: sample.bucket.clone(), alias };
        } else if aggregates(expr, context) && !sample.fills.is_empty() {
            let fill = match sample.fills.len() {
                1 => &sample.fills[0],
                _ => sample.fills.get(nth).ok_or_else(wrong_count)?,
            };
            nth += 1;
            match fill {
                Fill::Null => {}
                Fill::Prev => *expr = expression(&format!("locf({expr})"))?,
                Fill::Linear => *expr = expression(&format!("interpolate({expr})"))?,
                Fill::Value(value) => *expr = expression(&format!("fill_value({expr}, {value})"))?,
            }
        }
    }
    if sample.fills.len() > 1 && nth != sample.fills.len() {
        return Err(wrong_count());
    }
    select.group_by = GroupByExpr::Expressions(groups, Vec::new());
    Ok(())
}

fn wrong_count() -> QueryError {
    QueryError::new("42601", "FILL has another number of values than there are aggregates")
        .with_hint("One value fills all of them.")
}

fn read(select: &Select, context: &PlanContext) -> QueryResult<Sample> {
    let lost = || QueryError::internal("SAMPLE BY lost its arguments");
    let args = marker(select, SAMPLE).ok_or_else(lost)?;
    let [width, from, to, zone, offset, fills @ ..] = &args[..] else { return Err(lost()) };
    let null = |expr: &Expr| matches!(expr, Expr::Value(v) if v.value == Value::Null);
    let time = time_of(select, context);
    let quoted = Ident::with_quote('"', time.clone());
    let column = match select.from.first().map(|from| &from.relation) {
        Some(relation) => match alias_of(relation) {
            Some(alias) => format!("{alias}.{quoted}"),
            None => quoted.to_string(),
        },
        None => return Err(QueryError::new("42601", "SAMPLE BY needs a FROM")),
    };
    let mut methods = Vec::with_capacity(fills.len());
    let mut none = fills.is_empty();
    for fill in fills {
        let word = match fill {
            Expr::Value(value) => match &value.value {
                Value::SingleQuotedString(word) => word.as_str(),
                _ => "",
            },
            _ => "",
        };
        methods.push(match word {
            "NONE" if fills.len() == 1 => {
                none = true;
                break;
            }
            "NONE" => {
                return Err(QueryError::unsupported("FILL(NONE) beside other values"));
            }
            "NULL" => Fill::Null,
            "PREV" => Fill::Prev,
            "LINEAR" => Fill::Linear,
            _ => Fill::Value(Box::new((*fill).clone())),
        });
    }
    let cast = |expr: &Expr, kind: &str| match null(expr) {
        true => "NULL".to_string(),
        false => format!("CAST({expr} AS {kind})"),
    };
    if none && !(null(from) && null(to)) {
        return Err(QueryError::new("42601", "SAMPLE BY … FROM … TO needs FILL")
            .with_hint("Bounds of rows go into WHERE."));
    }
    let width = format!("CAST({width} AS interval)");
    let bucket = match none {
        true => {
            let mut text = format!("time_bucket({width}, {column}");
            if !null(zone) {
                text += &format!(", {zone}");
            }
            if !null(offset) {
                text += &format!(", CAST({offset} AS interval)");
            }
            text + ")"
        }
        false => format!(
            "time_bucket_gapfill({width}, {column}, {}, {}, {zone}, NULL, {})",
            cast(from, "timestamptz"),
            cast(to, "timestamptz"),
            cast(offset, "interval"),
        ),
    };
    let fills = if none { Vec::new() } else { methods };
    Ok(Sample { bucket: expression(&bucket)?, time, fills })
}

pub(super) fn alias_of(relation: &TableFactor) -> Option<Ident> {
    match relation {
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. } => Some(alias.name.clone()),
        TableFactor::Table { name, .. } => name.0.last().and_then(|p| p.as_ident()).cloned(),
        _ => None,
    }
}

/// The time of the first table; `time` where it is no table.
fn time_of(select: &Select, context: &PlanContext) -> String {
    let first = select.from.first().map(|from| &from.relation);
    first.map_or_else(|| "time".into(), |first| time_of_relation(first, context))
}

/// The time of a table; `time` of what is none.
pub(super) fn time_of_relation(relation: &TableFactor, context: &PlanContext) -> String {
    let name = match relation {
        TableFactor::Table { name, args: None, .. } => {
            name.0.last().and_then(|p| p.as_ident()).map(folded)
        }
        _ => None,
    };
    let table = name.and_then(|name| context.snapshot.table(&name));
    table.map_or_else(|| "time".into(), |table| table.schema().time_name.to_string())
}

/// Columns beside the time that have no aggregate.
fn keys(select: &Select, time: &str, context: &PlanContext) -> QueryResult<Vec<Expr>> {
    let mut keys = Vec::new();
    for item in &select.projection {
        match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                let constant = matches!(expr, Expr::Value(_));
                if !constant && !is_column(expr, time) && !aggregates(expr, context) {
                    keys.push(expr.clone());
                }
            }
            _ => {
                return Err(QueryError::new("42601", "SAMPLE BY with * in the SELECT list")
                    .with_hint("Name the keys, and aggregates of the fields."));
            }
        }
    }
    Ok(keys)
}

fn is_column(expr: &Expr, name: &str) -> bool {
    match expr {
        Expr::Identifier(ident) => folded(ident) == name,
        Expr::CompoundIdentifier(parts) => parts.last().is_some_and(|p| folded(p) == name),
        _ => false,
    }
}

/// Whether a call is that of an aggregate.
pub(super) fn is_aggregate(function: &Function, context: &PlanContext) -> bool {
    let name = name_of(function).unwrap_or_default();
    let known = || name == "approx_percentile" || context.get_aggregate_meta(&name).is_some();
    function.over.is_none() && known()
}

/// Whether an expression has an aggregate in it, beside those of subqueries and windows.
fn aggregates(expr: &Expr, context: &PlanContext) -> bool {
    struct Find<'a>(&'a PlanContext, usize);
    impl Visitor for Find<'_> {
        type Break = ();
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.1 += 1;
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.1 -= 1;
            ControlFlow::Continue(())
        }
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Function(function) if self.1 == 0 && is_aggregate(function, self.0) => {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    expr.visit(&mut Find(context, 0)).is_break()
}

/// `LATEST ON` becomes DISTINCT ON over the filtered table, inside of a derived table.
pub(super) fn latest(select: &mut Select) -> QueryResult<()> {
    let lost = || QueryError::internal("LATEST ON lost its arguments");
    let args = marker(select, LATEST).ok_or_else(lost)?;
    let [time, keys @ ..] = &args[..] else { return Err(lost()) };
    let [from] = &select.from[..] else {
        return Err(QueryError::unsupported("LATEST ON over several tables"));
    };
    if !from.joins.is_empty() {
        return Err(QueryError::unsupported("LATEST ON over a join")
            .with_hint("Put the table with its LATEST ON into a subquery."));
    }
    let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    let keys = keys.join(", ");
    let alias = alias_of(&from.relation).ok_or_else(|| {
        QueryError::new("42601", "LATEST ON needs a table or a subquery with an alias")
    })?;
    let filter = match &select.selection {
        Some(filter) => format!("WHERE {filter}"),
        None => String::new(),
    };
    let text = format!(
        "SELECT * FROM (SELECT DISTINCT ON ({keys}) * FROM {} {filter} \
         ORDER BY {keys}, {time} DESC) AS {alias}",
        from.relation
    );
    let SetExpr::Select(made) = *query(&text)?.body else { return Err(lost()) };
    select.from = made.from;
    select.selection = None;
    select.group_by = GroupByExpr::Expressions(Vec::new(), Vec::new());
    Ok(())
}
