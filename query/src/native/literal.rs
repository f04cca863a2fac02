//! Literals of a syntax tree: times, widths of buckets, numbers, texts. `None` is "not surely
//! understood", never a guess.

use std::str::FromStr;

use arrow::array::timezone::Tz;
use arrow::datatypes::IntervalMonthDayNano;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Interval, TimezoneInfo, UnaryOperator, Value,
};
use tsdb::Literal;

use crate::instant::instant;
use crate::names::folded;
use crate::text::interval::any_interval;

/// What literals may depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    pub(super) params: &'a [ScalarValue],
    /// Time zone of the session.
    pub(super) zone: &'a str,
    /// `now()` of the statement, ns.
    pub(super) now: i64,
}

/// Name of a function, without a schema, and its plain arguments; `None` for anything more.
pub(super) fn call(function: &Function) -> Option<(String, &[FunctionArg])> {
    let (parts, args) = call_parts(function)?;
    let [name]: [String; 1] = parts.try_into().ok()?;
    Some((name, args))
}

/// The parts of a function's name, and its plain arguments; `None` for anything more.
pub(super) fn call_parts(function: &Function) -> Option<(Vec<String>, &[FunctionArg])> {
    let Function {
        name,
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args,
        filter: None,
        null_treatment: None,
        over: None,
        within_group,
    } = function
    else {
        return None;
    };
    if !within_group.is_empty() {
        return None;
    }
    let parts = name.0.iter().map(|part| part.as_ident().map(folded)).collect::<Option<_>>()?;
    match args {
        FunctionArguments::None => Some((parts, &[])),
        FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses,
        }) if clauses.is_empty() => Some((parts, args)),
        _ => None,
    }
}

/// The expressions that a function is called with; `None` if one is named or a wildcard.
pub(super) fn plain_args(args: &[FunctionArg]) -> Option<Vec<&Expr>> {
    let plain = |arg| match arg {
        &FunctionArg::Unnamed(FunctionArgExpr::Expr(ref expr)) => Some(expr),
        _ => None,
    };
    args.iter().map(plain).collect()
}

/// Whether a name of a zone is UTC, where days are 24 hours.
pub(crate) fn is_utc(zone: &str) -> bool {
    matches!(zone, "+00:00" | "UTC" | "Etc/UTC" | "GMT" | "Z")
}

impl Reader<'_> {
    fn param(&self, name: &str) -> Option<&ScalarValue> {
        let n: usize = name.strip_prefix('$')?.parse().ok()?;
        self.params.get(n.checked_sub(1)?)
    }

    /// A text.
    pub(super) fn text(&self, expr: &Expr) -> Option<String> {
        match expr {
            Expr::Nested(inner) => self.text(inner),
            Expr::Value(value) => match &value.value {
                Value::SingleQuotedString(text) => Some(text.clone()),
                Value::Placeholder(name) => match self.param(name)? {
                    ScalarValue::Utf8(v) | ScalarValue::LargeUtf8(v) | ScalarValue::Utf8View(v) => {
                        v.clone()
                    }
                    _ => None,
                },
                _ => None,
            },
            Expr::Cast { kind, expr, data_type, array: false, format: None } => {
                let text = matches!(data_type, DataType::Text);
                if text && is_cast(kind) { self.text(expr) } else { None }
            }
            _ => None,
        }
    }

    /// A number or boolean.
    pub(super) fn number(&self, expr: &Expr) -> Option<Literal> {
        match expr {
            Expr::Nested(inner) => self.number(inner),
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match self.number(expr)? {
                Literal::Int(v) => Some(Literal::Int(v.checked_neg()?)),
                Literal::Float(v) => Some(Literal::Float(-v)),
                Literal::Bool(_) => None,
            },
            Expr::Value(value) => match &value.value {
                Value::Number(text, false) => match i64::from_str(text) {
                    Ok(v) => Some(Literal::Int(v)),
                    Err(_) => {
                        let v = f64::from_str(text).ok()?;
                        // Integers above 64 bits are another type in SQL.
                        (v.is_finite() && text.contains(['.', 'e', 'E']))
                            .then_some(Literal::Float(v))
                    }
                },
                Value::Boolean(v) => Some(Literal::Bool(*v)),
                Value::Placeholder(name) => match self.param(name)? {
                    ScalarValue::Int16(Some(v)) => Some(Literal::Int(i64::from(*v))),
                    ScalarValue::Int32(Some(v)) => Some(Literal::Int(i64::from(*v))),
                    ScalarValue::Int64(Some(v)) => Some(Literal::Int(*v)),
                    ScalarValue::Float64(Some(v)) if v.is_finite() => Some(Literal::Float(*v)),
                    ScalarValue::Boolean(Some(v)) => Some(Literal::Bool(*v)),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        }
    }

    /// A count of rows.
    pub(super) fn count(&self, expr: &Expr) -> Option<usize> {
        match self.number(expr)? {
            Literal::Int(v) => usize::try_from(v).ok(),
            _ => None,
        }
    }

    /// A time as a literal of timestamptz, ns: texts are cut to µs as their cast does.
    pub(super) fn time(&self, expr: &Expr) -> Option<i128> {
        match expr {
            Expr::Nested(inner) => self.time(inner),
            Expr::Value(value) => match &value.value {
                Value::SingleQuotedString(text) => self.parse_time(text),
                Value::Placeholder(name) => match self.param(name)? {
                    ScalarValue::TimestampMicrosecond(Some(v), Some(_)) => {
                        Some(i128::from(*v) * 1_000)
                    }
                    ScalarValue::TimestampNanosecond(Some(v), Some(_)) => Some(i128::from(*v)),
                    ScalarValue::Utf8(Some(v))
                    | ScalarValue::LargeUtf8(Some(v))
                    | ScalarValue::Utf8View(Some(v)) => self.parse_time(v),
                    _ => None,
                },
                _ => None,
            },
            Expr::TypedString(typed) if is_timestamptz(&typed.data_type) => {
                match &typed.value.value {
                    Value::SingleQuotedString(text) => self.parse_time(text),
                    _ => None,
                }
            }
            Expr::Cast { kind, expr, data_type, array: false, format: None }
                if is_cast(kind) && is_timestamptz(data_type) =>
            {
                self.parse_time(&self.text(expr)?)
            }
            Expr::Function(function) => {
                let (name, args) = call(function)?;
                let now = matches!(&name[..], "now" | "current_timestamp");
                (now && args.is_empty()).then_some(i128::from(self.now))
            }
            Expr::BinaryOp { left, op, right } => {
                let shift = i128::from(self.width(right)?);
                match op {
                    BinaryOperator::Minus => Some(self.time(left)? - shift),
                    BinaryOperator::Plus => Some(self.time(left)? + shift),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn parse_time(&self, text: &str) -> Option<i128> {
        let zone = Tz::from_str(self.zone).ok()?;
        let time = instant(text, &zone)?;
        Some(i128::from(time.timestamp_micros()) * 1_000)
    }

    /// An interval that is a fixed number of ns: no months, and days where they have 24 hours.
    pub(super) fn width(&self, expr: &Expr) -> Option<i64> {
        let interval = self.interval(expr)?;
        if interval.days != 0 && !is_utc(self.zone) {
            return None;
        }
        nanoseconds(interval)
    }

    fn interval(&self, expr: &Expr) -> Option<IntervalMonthDayNano> {
        match expr {
            Expr::Nested(inner) => self.interval(inner),
            Expr::Interval(Interval {
                value,
                leading_field: None,
                leading_precision: None,
                last_field: None,
                fractional_seconds_precision: None,
            }) => any_interval(&self.text(value)?),
            Expr::Cast { kind, expr, data_type, array: false, format: None } => {
                let interval = data_type.to_string().eq_ignore_ascii_case("interval");
                if interval && is_cast(kind) { any_interval(&self.text(expr)?) } else { None }
            }
            _ => None,
        }
    }

    /// The width of a bucket: an interval, or a text that is one.
    pub(super) fn bucket_width(&self, expr: &Expr) -> Option<i64> {
        let interval = match self.text(expr) {
            Some(text) => any_interval(&text)?,
            None => self.interval(expr)?,
        };
        fixed_width(interval)
    }
}

/// An interval without months, ns, where days have 24 hours.
fn nanoseconds(interval: IntervalMonthDayNano) -> Option<i64> {
    let IntervalMonthDayNano { months: 0, days, nanoseconds } = interval else { return None };
    i64::from(days).checked_mul(86_400_000_000_000)?.checked_add(nanoseconds)
}

/// The width of a bucket, ns. Buckets are cut in UTC, whatever the session's zone is; SQL's times
/// are µs, and a width that is no number of them would cut otherwise.
pub(crate) fn fixed_width(interval: IntervalMonthDayNano) -> Option<i64> {
    nanoseconds(interval).filter(|width| *width > 0 && width % 1_000 == 0)
}

fn is_cast(kind: &CastKind) -> bool {
    matches!(kind, CastKind::Cast | CastKind::DoubleColon)
}

fn is_timestamptz(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp(None, zone) => {
            matches!(zone, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz)
        }
        DataType::TimestampNtz(_) => false,
        _ => false,
    }
}
