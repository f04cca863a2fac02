//! Calls and operators of PostgreSQL that are said in other words: `mod(a, b)` as `a % b`,
//! `percentile_disc` as an element of a sorted list, `|/ x` as `sqrt(x)`.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DataType, DateTimeField, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, Ident, ObjectName, TimezoneInfo, TypedString, UnaryOperator,
};

use super::calls::literal;
use super::{call_of, calls, expression, name_of, plain};
use crate::error::{QueryError, QueryResult};
use crate::functions::{AT_ZONE, READ};

/// Names of the arguments of `make_interval`, in order.
const PARTS: [&str; 7] = ["years", "months", "weeks", "days", "hours", "mins", "secs"];

/// Units of `date_trunc` that no clock is set by, in the singular.
const SHORT: [&str; 5] = ["hour", "minute", "second", "millisecond", "microsecond"];

/// Says such an expression in other words.
///
/// # Errors
/// `42883` for an argument that `make_interval` does not have.
pub(super) fn rewrite(expr: &mut Expr) -> QueryResult<()> {
    let said = match expr {
        Expr::Function(function) if function.over.is_none() => of_call(function)?,
        Expr::AtTimeZone { timestamp, time_zone } => {
            let args = vec![(**time_zone).clone(), (**timestamp).clone()];
            Some(Expr::Function(call_of(AT_ZONE, args)))
        }
        Expr::BinaryOp { left, op: BinaryOperator::PGOverlap, right } => {
            let args = vec![(**left).clone(), (**right).clone()];
            Some(Expr::Function(call_of("array_has_any", args)))
        }
        Expr::Extract { field, expr: of, .. } => {
            if *field != DateTimeField::Decade {
                return Ok(());
            }
            Some(expression(&format!("floor(extract(year FROM {of}) / 10.0)"))?)
        }
        Expr::UnaryOp { op, expr: of } => {
            let name = match op {
                UnaryOperator::PGSquareRoot => "sqrt",
                UnaryOperator::PGCubeRoot => "cbrt",
                UnaryOperator::PGAbs => "abs",
                _ => return Ok(()),
            };
            Some(Expr::Function(call_of(name, vec![(**of).clone()])))
        }
        _ => None,
    };
    if let Some(said) = said {
        *expr = said;
    }
    Ok(())
}

fn of_call(function: &Function) -> QueryResult<Option<Expr>> {
    let Some(name) = name_of(function) else { return Ok(None) };
    let args = || plain(function).unwrap_or_default();
    let said = match name.as_str() {
        "mod" => match args()[..] {
            [a, b] => format!("(({a}) % ({b}))"),
            _ => return Ok(None),
        },
        "div" => match args()[..] {
            [a, b] => format!("((({a}) - (({a}) % ({b}))) / ({b}))"),
            _ => return Ok(None),
        },
        "date_trunc" => match args()[..] {
            [unit, time, zone] => {
                let time = format!("CAST({time} AS timestamptz)");
                let local = format!("({time} AT TIME ZONE ({zone}))");
                let is_short = literal(unit).is_some_and(|unit| {
                    SHORT.contains(&unit.to_ascii_lowercase().trim_end_matches('s'))
                });
                match is_short {
                    // Hours that clocks show twice stay apart.
                    true => format!("({time} - ({local} - date_trunc({unit}, {local})))"),
                    false => format!("(date_trunc({unit}, {local}) AT TIME ZONE ({zone}))"),
                }
            }
            _ => return Ok(None),
        },
        "current_timestamp" | "localtimestamp" if !args().is_empty() => {
            let kind = if name == "localtimestamp" { "timestamp" } else { "timestamptz" };
            match args()[0].to_string().as_str() {
                "0" => format!("CAST(date_trunc('second', now() + interval '500 ms') AS {kind})"),
                "6" => format!("CAST(now() AS {kind})"),
                _ => return Ok(None),
            }
        }
        "localtimestamp" => "CAST(now() AS timestamp)".to_owned(),
        "localtime" => "CAST(now() AS time)".to_owned(),
        // Templates of C's strftime are DataFusion's.
        "to_timestamp" | "to_date" => match args()[..] {
            [text, template] if !literal(template).is_some_and(|text| text.contains('%')) => {
                match name.as_str() {
                    "to_date" => format!("CAST({READ}({text}, {template}) AS date)"),
                    _ => format!("{READ}({text}, {template})"),
                }
            }
            _ => return Ok(None),
        },
        "age" => match args()[..] {
            // Up to the midnight before.
            [time] => format!("age(CAST(current_date AS timestamptz), {time})"),
            _ => return Ok(None),
        },
        "num_nulls" | "num_nonnulls" if !args().is_empty() => {
            let is = if name == "num_nulls" { "IS NULL" } else { "IS NOT NULL" };
            let each = args().into_iter().map(|arg| format!("CAST(({arg}) {is} AS int)"));
            format!("({})", each.collect::<Vec<_>>().join(" + "))
        }
        "make_timestamptz" => match args()[..] {
            [y, mo, d, h, mi, s] => {
                format!("CAST(make_timestamp({y}, {mo}, {d}, {h}, {mi}, {s}) AS timestamptz)")
            }
            [y, mo, d, h, mi, s, zone] => {
                format!("(make_timestamp({y}, {mo}, {d}, {h}, {mi}, {s}) AT TIME ZONE ({zone}))")
            }
            _ => return Ok(None),
        },
        // All that are equal, where DataFusion's functions of these names take the first.
        "array_remove" | "array_replace" => {
            let mut all = function.clone();
            all.name = ObjectName::from(vec![Ident::new(format!("{name}_all"))]);
            return Ok(Some(Expr::Function(all)));
        }
        "make_interval" => return make_interval(function),
        "percentile_disc" => match percentile_disc(function, &args())? {
            Some(said) => said,
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    expression(&said).map(Some)
}

/// All seven arguments, in order.
fn make_interval(function: &Function) -> QueryResult<Option<Expr>> {
    let Some((places, names)) = calls::arguments(function) else { return Ok(None) };
    if places.len() == PARTS.len() && names.is_empty() {
        return Ok(None);
    }
    let zero = || expression("0");
    let mut slots: [Option<Expr>; PARTS.len()] = Default::default();
    if places.len() > slots.len() {
        return Err(QueryError::new("42883", "make_interval takes at most seven arguments"));
    }
    for (slot, expr) in slots.iter_mut().zip(places) {
        *slot = Some(expr);
    }
    for (name, expr) in names {
        let Some(at) = PARTS.iter().position(|part| *part == name) else {
            return Err(calls::unknown("make_interval", &name));
        };
        if slots[at].replace(expr).is_some() {
            let message = format!("argument \"{name}\" is given twice");
            return Err(QueryError::new("42601", message));
        }
    }
    let args = slots.into_iter().map(|slot| slot.map_or_else(zero, Ok));
    Ok(Some(Expr::Function(call_of("make_interval", args.collect::<QueryResult<_>>()?))))
}

/// The first value that so large a share of all is not behind.
fn percentile_disc(function: &Function, args: &[&Expr]) -> QueryResult<Option<String>> {
    let ([share], [order]) = (args, &function.within_group[..]) else { return Ok(None) };
    let known = share.to_string().parse::<f64>().ok();
    if let Some(known) = known.filter(|known| !(0.0..=1.0).contains(known)) {
        let message = format!("percentile value {known} is not between 0 and 1");
        return Err(QueryError::new("22003", message));
    }
    let filter = match &function.filter {
        Some(filter) => format!(" FILTER (WHERE {filter})"),
        None => String::new(),
    };
    let way = if order.options.asc == Some(false) { "DESC" } else { "ASC" };
    let value = &order.expr;
    let share = format!("CAST({share} AS double precision)");
    Ok(Some(format!(
        "CASE WHEN {share} IS NOT NULL THEN \
         array_element(array_agg({value} ORDER BY {value} {way} NULLS LAST){filter}, \
         greatest(1, CAST(ceil({share} * count({value}){filter}) AS bigint))) END"
    )))
}

/// Has a series of times know what its texts are: PostgreSQL takes them for times and intervals
/// where another argument is a time.
pub(super) fn of_series(args: &mut FunctionArguments) -> QueryResult<()> {
    let FunctionArguments::List(list) = args else { return Ok(()) };
    series(&mut list.args)
}

/// The same for the arguments alone.
pub(super) fn series(args: &mut [FunctionArg]) -> QueryResult<()> {
    let mut exprs: Vec<&mut Expr> = args
        .iter_mut()
        .filter_map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
            _ => None,
        })
        .collect();
    let [start, stop, step] = &mut exprs[..] else { return Ok(()) };
    let kinds = [time_of(start), time_of(stop)];
    let Some(known) = kinds.iter().flatten().max() else { return Ok(()) };
    // Days count as moments there.
    let kind = if *known == Time::Local { "timestamp" } else { "timestamptz" };
    for (bound, of) in [start, stop].into_iter().zip(kinds) {
        if is_text(bound) || of == Some(Time::Day) {
            **bound = expression(&format!("CAST({bound} AS {kind})"))?;
        }
    }
    if is_text(step) {
        **step = expression(&format!("CAST({step} AS interval)"))?;
    }
    Ok(())
}

fn is_text(expr: &Expr) -> bool {
    literal(expr).is_some()
}

/// What kind of time an expression surely is. Moments with a zone come before those without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Time {
    Day,
    Local,
    Zoned,
}

fn time_of(expr: &Expr) -> Option<Time> {
    match expr {
        Expr::Nested(inner) => time_of(inner),
        Expr::Cast { data_type, .. } | Expr::TypedString(TypedString { data_type, .. }) => {
            match data_type {
                DataType::Date => Some(Time::Day),
                DataType::Timestamp(_, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => {
                    Some(Time::Zoned)
                }
                DataType::Timestamp(..) => Some(Time::Local),
                _ => None,
            }
        }
        Expr::BinaryOp { left, op: BinaryOperator::Plus | BinaryOperator::Minus, right } => {
            match (time_of(left), time_of(right)) {
                (Some(of), None) | (None, Some(of)) => Some(of),
                _ => None,
            }
        }
        Expr::Function(function) => {
            match (name_of(function)?.as_str(), &plain(function).unwrap_or_default()[..]) {
                ("now" | "current_timestamp" | "to_timestamp", _) => Some(Time::Zoned),
                ("current_date" | "make_date", _) => Some(Time::Day),
                ("date_trunc" | "time_bucket" | "date_bin", [_, of, ..]) => match time_of(of)? {
                    // A day is cut as a moment.
                    Time::Day => Some(Time::Zoned),
                    other => Some(other),
                },
                _ => None,
            }
        }
        _ => None,
    }
}
