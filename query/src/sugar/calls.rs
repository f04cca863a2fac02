//! Calls in forms that planning does not take.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    ObjectNamePart, TableAlias, TableAliasColumnDef, TableFactor, Value, VisitMut, VisitorMut,
};

use super::{expression, name_of, plain, postgres};
use crate::error::{QueryError, QueryResult};
use crate::functions::{Mark, zone_of};
use crate::names::folded;

/// The function that gives rows and has one column.
const SERIES: &str = "generate_series";

/// Gives the column of a function in FROM that has one the name of the function's alias, or of the
/// function, as in Postgres: `SELECT g FROM generate_series(1, 3) AS g`.
pub(super) fn name_column(factor: &mut TableFactor) -> QueryResult<()> {
    let alias = match factor {
        TableFactor::Table { name, args: Some(given), alias, with_ordinality: false, .. } => {
            let called = name.0.last().and_then(ObjectNamePart::as_ident).map(folded);
            if called.as_deref() != Some(SERIES) {
                return Ok(());
            }
            postgres::series(&mut given.args)?;
            Some(alias.get_or_insert_with(|| TableAlias {
                explicit: true,
                name: Ident::new(SERIES),
                columns: Vec::new(),
                at: None,
            }))
        }
        TableFactor::UNNEST {
            alias,
            array_exprs,
            with_offset: false,
            with_ordinality: false,
            ..
        } if array_exprs.len() == 1 => alias.as_mut(),
        _ => None,
    };
    if let Some(alias) = alias.filter(|alias| alias.columns.is_empty()) {
        alias.columns.push(TableAliasColumnDef { name: alias.name.clone(), data_type: None });
    }
    Ok(())
}

pub(super) fn rewrite(function: &mut Function) -> QueryResult<()> {
    match name_of(function).as_deref() {
        Some(SERIES) => postgres::of_series(&mut function.args),
        Some("time_bucket") => bucket(function),
        Some("time_bucket_gapfill" | "bucket_gapfill") => gapfill(function),
        Some("locf") => locf(function),
        Some("interpolate") => pairs(function),
        Some("approx_percentile") => percentile(function),
        Some("mode") => mode(function),
        _ => Ok(()),
    }
}

/// Positional and named arguments.
pub(super) type Arguments = (Vec<Expr>, Vec<(String, Expr)>);

pub(super) fn arguments(function: &Function) -> Option<Arguments> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let (mut places, mut names) = (Vec::new(), Vec::new());
    for arg in &list.args {
        match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::BinaryOp {
                left,
                op: BinaryOperator::Assignment,
                right,
            })) => match &**left {
                Expr::Identifier(name) => names.push((folded(name), (**right).clone())),
                _ => return None,
            },
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => places.push(expr.clone()),
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => {
                names.push((folded(name), expr.clone()));
            }
            FunctionArg::ExprNamed {
                name: Expr::Identifier(name),
                arg: FunctionArgExpr::Expr(expr),
                ..
            } => names.push((folded(name), expr.clone())),
            _ => return None,
        }
    }
    Some((places, names))
}

fn set(function: &mut Function, args: Vec<Expr>) {
    if let FunctionArguments::List(list) = &mut function.args {
        list.args = args
            .into_iter()
            .map(|expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)))
            .collect();
    }
}

pub(super) fn unknown(function: &str, name: &str) -> QueryError {
    QueryError::new("42883", format!("{function} has no argument \"{name}\""))
}

/// Types tell what an argument is, so a name is only needed to type a text.
fn bucket(function: &mut Function) -> QueryResult<()> {
    let Some((mut places, names)) = arguments(function) else { return Ok(()) };
    if names.is_empty() {
        return Ok(());
    }
    for (name, expr) in names {
        places.push(match name.as_str() {
            "timezone" | "time_zone" => expr,
            "origin" => expression(&format!("CAST({expr} AS timestamptz)"))?,
            "offset" => expression(&format!("CAST({expr} AS interval)"))?,
            "width" | "bucket_width" if places.is_empty() => expr,
            "time" | "ts" if places.len() == 1 => expr,
            other => return Err(unknown("time_bucket", other)),
        });
    }
    set(function, places);
    Ok(())
}

/// In the order (width, time, start, finish, zone, origin, offset), NULL for what is not given.
fn gapfill(function: &mut Function) -> QueryResult<()> {
    let Some((places, names)) = arguments(function) else { return Ok(()) };
    let mut slots: [Option<Expr>; 7] = Default::default();
    // TimescaleDB puts the zone before the bounds.
    let zoned = places.get(2).and_then(literal).is_some_and(|text| is_zone(&text));
    let order: &[usize] = if zoned { &[0, 1, 4, 2, 3, 5, 6] } else { &[0, 1, 2, 3, 4, 5, 6] };
    if places.len() > order.len() {
        let message = "time_bucket_gapfill takes at most seven arguments";
        return Err(QueryError::new("42883", message));
    }
    for (slot, expr) in order.iter().zip(places) {
        slots[*slot] = Some(expr);
    }
    for (name, expr) in names {
        let slot = match name.as_str() {
            "width" | "bucket_width" => 0,
            "time" | "ts" => 1,
            "start" => 2,
            "finish" => 3,
            "timezone" | "time_zone" => 4,
            "origin" => 5,
            "offset" => 6,
            other => return Err(unknown("time_bucket_gapfill", other)),
        };
        if slots[slot].replace(expr).is_some() {
            let message = format!("argument \"{name}\" is given twice");
            return Err(QueryError::new("42601", message));
        }
    }
    let null = || Expr::Value(Value::Null.with_empty_span());
    set(function, slots.into_iter().map(|slot| slot.unwrap_or_else(null)).collect());
    if let Some(part) = function.name.0.last_mut() {
        *part = ObjectNamePart::Identifier(Mark::Bucket.name().into());
    }
    Ok(())
}

pub(super) fn literal(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    }
}

fn is_zone(text: &str) -> bool {
    let utc = zone_of("+00:00");
    zone_of(text).is_ok() && utc.is_ok_and(|utc| crate::instant::instant(text, &utc).is_none())
}

fn locf(function: &mut Function) -> QueryResult<()> {
    let Some((mut places, names)) = arguments(function) else { return Ok(()) };
    for (name, expr) in names {
        match name.as_str() {
            "prev" if places.len() == 1 => places.push(expr),
            "treat_null_as_missing" if (1..=2).contains(&places.len()) => {
                places.resize(2, Expr::Value(Value::Null.with_empty_span()));
                places.push(expr);
            }
            other => return Err(unknown("locf", other)),
        }
    }
    set(function, places);
    Ok(())
}

/// `(time, value)` as a call, which takes any expressions.
fn pairs(function: &mut Function) -> QueryResult<()> {
    struct Pairs;
    impl VisitorMut for Pairs {
        type Break = QueryError;
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<QueryError> {
            if let Expr::Tuple(items) = expr
                && let [time, value] = &items[..]
            {
                match expression(&format!("struct({time}, {value})")) {
                    Ok(call) => *expr = call,
                    Err(error) => return ControlFlow::Break(error),
                }
            }
            ControlFlow::Continue(())
        }
    }
    match function.args.visit(&mut Pairs) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// DataFusion's t-digest, in double precision whatever the argument is.
fn percentile(function: &mut Function) -> QueryResult<()> {
    let args = plain(function).unwrap_or_default();
    let [value, share] = &args[..] else {
        return Err(QueryError::new("42883", "approx_percentile takes a value and a share")
            .with_hint("approx_percentile(value, share), share between 0 and 1"));
    };
    let text = format!(
        "approx_percentile_cont({share}) WITHIN GROUP (ORDER BY CAST({value} AS double precision))"
    );
    replace(function, expression(&text)?);
    Ok(())
}

/// Takes name, arguments and order of another call; FILTER and OVER stay.
fn replace(function: &mut Function, by: Expr) {
    if let Expr::Function(by) = by {
        let Function { name, args, within_group, .. } = by;
        (function.name, function.args, function.within_group) = (name, args, within_group);
    }
}

/// `mode() WITHIN GROUP (ORDER BY x [DESC])` as `mode(x)`: of values that are as frequent the
/// first in that order.
fn mode(function: &mut Function) -> QueryResult<()> {
    let [order] = &function.within_group[..] else { return Ok(()) };
    let name = match order.options.asc {
        Some(false) => "__mode_desc",
        _ => "mode",
    };
    let by = expression(&format!("{name}({})", order.expr))?;
    replace(function, by);
    Ok(())
}
