//! VALUES of literals and parameters, without planning.

use arrow::array::timezone::Tz;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{self, Expr, SetExpr, UnaryOperator, Value};
use tsdb::types::ColumnType;

use super::rows::{Cell, RowsBuilder};
use crate::bytea::parse_bytea;
use crate::error::{QueryError, QueryResult};
use crate::instant::instant;

/// One cell of VALUES.
pub(crate) enum Literal<'a> {
    Null,
    /// DEFAULT: the cell stays absent.
    Absent,
    Bool(bool),
    Number(&'a str, bool),
    Text(&'a str),
    Param(usize),
}

/// Whether the query is VALUES of nothing but literals and parameters.
pub(crate) fn is_plain(query: &ast::Query) -> bool {
    let bare = query.with.is_none() && query.order_by.is_none() && query.limit_clause.is_none();
    match query.body.as_ref() {
        SetExpr::Values(values) if bare => {
            values.rows.iter().all(|row| row.content.iter().all(|e| literal(e).is_some()))
        }
        _ => false,
    }
}

/// Whether VALUES says DEFAULT.
pub(crate) fn has_default(query: &ast::Query) -> bool {
    match query.body.as_ref() {
        SetExpr::Values(values) => values
            .rows
            .iter()
            .flat_map(|row| &row.content)
            .any(|expr| matches!(literal(expr), Some(Literal::Absent))),
        _ => false,
    }
}

/// Whether the expression is a bare text.
pub(super) fn is_text(expr: &Expr) -> bool {
    matches!(literal(expr), Some(Literal::Text(_)))
}

/// The number of a bare parameter.
pub(crate) fn placeholder(expr: &Expr) -> Option<usize> {
    match literal(expr) {
        Some(Literal::Param(number)) => Some(number),
        _ => None,
    }
}

/// Fills rows from a query that [`is_plain`].
pub(super) fn fill(
    rows: &mut RowsBuilder<'_>,
    query: &ast::Query,
    params: &[ScalarValue],
    zone: &str,
) -> QueryResult<()> {
    let SetExpr::Values(values) = query.body.as_ref() else { return Ok(()) };
    let tz: Tz = zone.parse().map_err(|e| QueryError::internal(format!("zone {zone}: {e}")))?;
    let kinds: Vec<ColumnType> = rows.targets().iter().map(|t| t.kind).collect();
    for row in &values.rows {
        if row.content.len() != kinds.len() {
            return Err(QueryError::new("42601", "VALUES lists must all be the same length"));
        }
        for (at, (expr, kind)) in row.content.iter().zip(&kinds).enumerate() {
            let cell = match literal(expr) {
                Some(Literal::Param(number)) => match params.get(number - 1) {
                    Some(value) => param(value, *kind, &tz)?,
                    None => {
                        let message = format!("there is no parameter ${number}");
                        return Err(QueryError::new("42P02", message));
                    }
                },
                Some(literal) => convert(&literal, *kind, &tz)
                    .map_err(|e| e.with_detail(format!("column {}", rows.targets()[at].name)))?,
                None => return Err(QueryError::internal("VALUES changed while it was read")),
            };
            rows.push_cell(at, cell)?;
        }
        rows.end_row()?;
    }
    Ok(())
}

/// A literal or parameter; `None` for anything else.
pub(crate) fn literal(expr: &Expr) -> Option<Literal<'_>> {
    match expr {
        Expr::Nested(inner) => literal(inner),
        Expr::Identifier(name)
            if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("default") =>
        {
            Some(Literal::Absent)
        }
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match literal(expr)? {
            Literal::Number(n, negative) => Some(Literal::Number(n, !negative)),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => match literal(expr)? {
            number @ Literal::Number(..) => Some(number),
            _ => None,
        },
        Expr::Value(value) => match &value.value {
            Value::Null => Some(Literal::Null),
            Value::Boolean(b) => Some(Literal::Bool(*b)),
            Value::Number(n, _) => Some(Literal::Number(n, false)),
            Value::SingleQuotedString(s) | Value::EscapedStringLiteral(s) => Some(Literal::Text(s)),
            Value::Placeholder(name) => match name.strip_prefix('$')?.parse::<usize>() {
                Ok(number @ 1..=65_535) => Some(Literal::Param(number)),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

/// A literal as a cell of a column, by the rules of assignment.
pub(crate) fn convert(literal: &Literal<'_>, kind: ColumnType, tz: &Tz) -> QueryResult<Cell> {
    let mismatch = |found: &str| {
        let message = format!("column is of type {kind} but expression is of type {found}");
        Err(QueryError::new("42804", message).with_hint("You will need to cast the expression."))
    };
    match literal {
        Literal::Null => Ok(Cell::Null),
        Literal::Absent => Ok(Cell::Absent),
        Literal::Bool(value) => match kind {
            ColumnType::Bool => Ok(Cell::Bool(*value)),
            ColumnType::Text => Ok(Cell::Bytes(value.to_string().into_bytes())),
            _ => mismatch("boolean"),
        },
        Literal::Number(digits, negative) => {
            let signed = if *negative { format!("-{digits}") } else { (*digits).to_string() };
            match kind {
                ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64 => {
                    number_to_int(&signed, kind)
                }
                ColumnType::Float32 | ColumnType::Float64 => float(&signed, kind),
                ColumnType::Text => Ok(Cell::Bytes(signed.into_bytes())),
                _ => mismatch("numeric"),
            }
        }
        Literal::Text(text) => parse(text, kind, tz),
        Literal::Param(_) => Err(QueryError::internal("a parameter without its value")),
    }
}

/// A text as a value of a type, as Postgres reads it.
pub(crate) fn parse(text: &str, kind: ColumnType, tz: &Tz) -> QueryResult<Cell> {
    let trimmed = text.trim();
    match kind {
        ColumnType::Text => Ok(Cell::Bytes(text.as_bytes().to_vec())),
        ColumnType::Bool => match trimmed.to_ascii_lowercase().as_str() {
            "t" | "true" | "y" | "yes" | "on" | "1" => Ok(Cell::Bool(true)),
            "f" | "false" | "n" | "no" | "off" | "0" => Ok(Cell::Bool(false)),
            _ => Err(bad_syntax(kind, text)),
        },
        ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64 => {
            match trimmed.parse::<i128>() {
                Ok(value) => in_range(value, kind, text),
                Err(_) => Err(bad_syntax(kind, text)),
            }
        }
        ColumnType::Float32 | ColumnType::Float64 => float(trimmed, kind),
        ColumnType::Bytes => {
            parse_bytea(text).map(Cell::Bytes).ok_or_else(|| bad_syntax(kind, text))
        }
        ColumnType::Timestamp => match trimmed.to_ascii_lowercase().as_str() {
            "infinity" | "+infinity" | "-infinity" => {
                let message = format!("infinite times are not supported: \"{text}\"");
                Err(QueryError::new("22008", message))
            }
            "epoch" => Ok(Cell::Int(0)),
            _ => time_ns(trimmed, tz).map(Cell::Int),
        },
    }
}

fn bad_syntax(kind: ColumnType, text: &str) -> QueryError {
    QueryError::new("22P02", format!("invalid input syntax for type {kind}: \"{text}\""))
}

fn out_of_range(kind: ColumnType, text: &str) -> QueryError {
    QueryError::new("22003", format!("value \"{text}\" is out of range for type {kind}"))
}

fn in_range(value: i128, kind: ColumnType, text: &str) -> QueryResult<Cell> {
    let (min, max) = match kind {
        ColumnType::Int16 => (i128::from(i16::MIN), i128::from(i16::MAX)),
        ColumnType::Int32 => (i128::from(i32::MIN), i128::from(i32::MAX)),
        _ => (i128::from(i64::MIN), i128::from(i64::MAX)),
    };
    if value < min || value > max {
        return Err(out_of_range(kind, text));
    }
    Ok(Cell::Int(value as i64))
}

/// A numeric literal for an integer column rounds half away from zero.
fn number_to_int(digits: &str, kind: ColumnType) -> QueryResult<Cell> {
    if let Ok(value) = digits.parse::<i128>() {
        return in_range(value, kind, digits);
    }
    match digits.parse::<f64>() {
        Ok(value) if value.abs() < 1e30 => in_range(value.round() as i128, kind, digits),
        Ok(_) => Err(out_of_range(kind, digits)),
        Err(_) => Err(bad_syntax(kind, digits)),
    }
}

fn float(text: &str, kind: ColumnType) -> QueryResult<Cell> {
    let special = text.trim_start_matches(['+', '-']);
    let infinite = ["inf", "infinity"].iter().any(|w| special.eq_ignore_ascii_case(w));
    let value = match kind {
        ColumnType::Float32 => text.parse::<f32>().map(f64::from),
        _ => text.parse::<f64>(),
    };
    match value {
        Ok(value) if value.is_infinite() && !infinite => Err(out_of_range(kind, text)),
        Ok(value) => Ok(Cell::Float(value)),
        Err(_) => Err(bad_syntax(kind, text)),
    }
}

/// A time, ns since 1970; one without a zone is in the session's.
pub(crate) fn time_ns(text: &str, tz: &Tz) -> QueryResult<i64> {
    let bad = || {
        let message = format!("invalid input syntax for type timestamptz: \"{text}\"");
        QueryError::new("22007", message)
    };
    let time = instant(text, tz).ok_or_else(bad)?;
    time.timestamp_nanos_opt()
        .ok_or_else(|| QueryError::new("22008", format!("timestamp out of range: \"{text}\"")))
}

/// A parameter as a cell.
pub(crate) fn param(value: &ScalarValue, kind: ColumnType, tz: &Tz) -> QueryResult<Cell> {
    if value.is_null() {
        return Ok(Cell::Null);
    }
    if let ScalarValue::Utf8(Some(s)) | ScalarValue::Utf8View(Some(s)) = value {
        return parse(s, kind, tz);
    }
    super::rows::scalar_cell(value, kind)
}
