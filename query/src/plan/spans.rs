//! Intervals as PostgreSQL compares them and takes them apart: a month is 30 days and a day 24 hours
//! long, where Arrow compares months, then days, then the rest, so that 25 hours are less than a day;
//! and what lies between two times has days, where Arrow counts hours without end.

use std::sync::{Arc, LazyLock};

use arrow::array::types::{DurationMicrosecondType, IntervalMonthDayNanoType};
use arrow::array::{ArrayRef, AsArray, Decimal128Array, IntervalMonthDayNanoArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, IntervalMonthDayNano, IntervalUnit, TimeUnit};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::{
    Between, BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, ScalarUDF,
};

use super::unary::{call, function};
use crate::text::time::Interval;

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);
/// ns; months of all that fit.
const SPAN: DataType = DataType::Decimal128(38, 0);
const DAYS_PER_MONTH: i128 = 30;
const NANOS_PER_DAY: i128 = 86_400_000_000_000;

/// Functions that give intervals.
const GIVE_INTERVALS: [&str; 7] = [
    "age",
    "interval_of",
    "interval_times",
    "justify_days",
    "justify_hours",
    "justify_interval",
    "make_interval",
];

static SPAN_OF: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| function("interval_span", Some(SPAN), spans));
static WITH_DAYS: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| function("interval_with_days", Some(INTERVAL), with_days));

/// Whether a node reads columns that are intervals.
pub(super) fn are_read(node: &LogicalPlan) -> bool {
    let is_one = |field: &FieldRef| *field.data_type() == INTERVAL;
    node.inputs().iter().any(|input| input.schema().fields().iter().any(is_one))
}

/// Whether an expression may be one of those: a comparison with what is surely an interval, or may be
/// one where columns are (`read`), or a field of a time or an interval.
pub(super) fn concerns(expr: &Expr, read: bool) -> bool {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            compares(*op) && (read || is_interval(left) || is_interval(right))
        }
        Expr::Between(Between { expr, low, high, .. }) => {
            read || [expr, low, high].into_iter().any(|part| is_interval(part))
        }
        Expr::InList(InList { expr, list, .. }) => {
            read || is_interval(expr) || list.iter().any(is_interval)
        }
        Expr::ScalarFunction(function) => is_part(function),
        _ => false,
    }
}

fn compares(op: Operator) -> bool {
    use Operator::*;
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

fn is_part(function: &ScalarFunction) -> bool {
    function.func.name() == "date_part" && function.args.len() == 2
}

fn is_interval(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(value, _) => value.data_type() == INTERVAL,
        Expr::Cast(cast) => *cast.field.data_type() == INTERVAL,
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus | Operator::Minus, right }) => {
            is_interval(left) && is_interval(right)
        }
        Expr::ScalarFunction(function) => GIVE_INTERVALS.contains(&function.func.name()),
        _ => false,
    }
}

/// The expression with PostgreSQL's value.
pub(super) fn as_postgres(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let is = |expr: &Expr, kinds: fn(&DataType) -> bool| {
        expr.get_type(schema).is_ok_and(|kind| kinds(&kind))
    };
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if is(&left, |kind| *kind == INTERVAL) && is(&right, |kind| *kind == INTERVAL) =>
        {
            let [left, right] = [left, right].map(|side| Box::new(call(&SPAN_OF, *side)));
            Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right }))
        }
        Expr::Between(Between { expr, negated, low, high })
            if [&expr, &low, &high].into_iter().all(|part| is(part, |kind| *kind == INTERVAL)) =>
        {
            let [expr, low, high] = [expr, low, high].map(|part| Box::new(call(&SPAN_OF, *part)));
            Transformed::yes(Expr::Between(Between { expr, negated, low, high }))
        }
        Expr::InList(InList { expr, list, negated })
            if std::iter::once(&*expr)
                .chain(&list)
                .all(|part| is(part, |kind| *kind == INTERVAL)) =>
        {
            let expr = Box::new(call(&SPAN_OF, *expr));
            let list = list.into_iter().map(|part| call(&SPAN_OF, part)).collect();
            Transformed::yes(Expr::InList(InList { expr, list, negated }))
        }
        Expr::ScalarFunction(mut function)
            if is_part(&function)
                && !is_epoch(&function.args[0])
                && is(&function.args[1], |kind| matches!(kind, DataType::Duration(_))) =>
        {
            if let Some(span) = function.args.pop() {
                function.args.push(call(&WITH_DAYS, span));
            }
            Transformed::yes(Expr::ScalarFunction(function))
        }
        other => Transformed::no(other),
    }
}

/// What rows are sorted by, in PostgreSQL's order.
pub(super) fn sorted(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr.get_type(schema) {
        Ok(INTERVAL) => Transformed::yes(call(&SPAN_OF, expr)),
        _ => Transformed::no(expr),
    }
}

fn is_epoch(part: &Expr) -> bool {
    let Expr::Literal(part, _) = part else { return false };
    part.try_as_str().flatten().is_some_and(|part| part.eq_ignore_ascii_case("epoch"))
}

/// How long a time is, ns: `interval_cmp_value` of PostgreSQL.
fn span(of: IntervalMonthDayNano) -> i128 {
    let days = i128::from(of.months) * DAYS_PER_MONTH + i128::from(of.days);
    days * NANOS_PER_DAY + i128::from(of.nanoseconds)
}

fn spans(array: &ArrayRef) -> Result<ArrayRef> {
    let intervals = array.as_primitive::<IntervalMonthDayNanoType>();
    let spans: Decimal128Array = intervals.iter().map(|of| of.map(span)).collect();
    Ok(Arc::new(spans.with_precision_and_scale(38, 0)?))
}

fn with_days(array: &ArrayRef) -> Result<ArrayRef> {
    let micros = cast(array, &DataType::Duration(TimeUnit::Microsecond))?;
    let micros = micros.as_primitive::<DurationMicrosecondType>();
    let made = micros.iter().map(|micros| {
        micros.map(|micros| {
            let Interval { months, days, micros } = Interval::of_micros(micros);
            IntervalMonthDayNano { months, days, nanoseconds: micros * 1_000 }
        })
    });
    Ok(Arc::new(made.collect::<IntervalMonthDayNanoArray>()))
}
