//! Intervals in the forms of PostgreSQL that planning does not read: with a clock, as years and
//! months, ISO 8601, or without a unit.

use arrow::compute::kernels::cast_utils::parse_interval_month_day_nano;
use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Interval,
    Value,
};

use super::name_of;
use crate::text::interval::nanos;

/// Functions whose first argument is an interval where it is a text.
const OF_WIDTHS: [&str; 4] = ["time_bucket", "time_bucket_gapfill", "bucket_gapfill", "date_bin"];

/// Writes the text of a literal or a cast in words that planning reads.
pub(super) fn rewrite(expr: &mut Expr) {
    match expr {
        Expr::Interval(Interval {
            value,
            leading_field: None,
            leading_precision: None,
            last_field: None,
            fractional_seconds_precision: None,
        }) => in_words(value),
        Expr::Cast {
            kind: CastKind::Cast | CastKind::DoubleColon,
            expr,
            data_type: DataType::Interval { fields: None, precision: None },
            array: false,
            format: None,
        } => in_words(expr),
        _ => {}
    }
}

/// Writes the width that a bucket is given as a text so.
pub(super) fn of_width(function: &mut Function) {
    if !name_of(function).is_some_and(|name| OF_WIDTHS.contains(&name.as_str())) {
        return;
    }
    let FunctionArguments::List(list) = &mut function.args else { return };
    if let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(width))) = list.args.first_mut() {
        in_words(width);
    }
}

fn in_words(literal: &mut Expr) {
    match literal {
        Expr::Nested(inner) => in_words(inner),
        Expr::Value(value) => {
            if let Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) =
                &mut value.value
                && let Some(read) = nanos(text)
                && parse_interval_month_day_nano(text).ok() != Some(read)
            {
                let (months, days, nanos) = (read.months, read.days, read.nanoseconds);
                *text = format!("{months} months {days} days {nanos} nanoseconds");
            }
        }
        _ => {}
    }
}
