//! SIMILAR TO: the patterns of SQL's standard as regular expressions, which DataFusion takes them for.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Value};

use crate::error::{QueryError, QueryResult};

/// Makes a SIMILAR TO a comparison with a regular expression.
///
/// # Errors
/// `0A000` for a pattern that is no literal, `22025` and `2201B` for one that ends early.
pub(super) fn rewrite(expr: &mut Expr) -> QueryResult<()> {
    let Expr::SimilarTo { negated, expr: left, pattern, escape_char } = expr else {
        return Ok(());
    };
    let text = |expr: &Expr| match expr {
        Expr::Value(value) => value.value.clone().into_string(),
        _ => None,
    };
    let Some(pattern) = text(pattern) else {
        return Err(QueryError::unsupported("SIMILAR TO with a pattern that is no literal"));
    };
    let escape = match escape_char {
        None => Some('\\'),
        Some(value) => value.value.clone().into_string().and_then(|text| text.chars().next()),
    };
    let regex = Value::SingleQuotedString(regex(&pattern, escape)?).with_empty_span();
    let op = match negated {
        true => BinaryOperator::PGRegexNotMatch,
        false => BinaryOperator::PGRegexMatch,
    };
    let right = Box::new(Expr::Value(regex));
    *expr = Expr::Nested(Box::new(Expr::BinaryOp { left: left.clone(), op, right }));
    Ok(())
}

/// The regular expression that takes the whole of what a pattern takes.
fn regex(pattern: &str, escape: Option<char>) -> QueryResult<String> {
    let mut out = String::from("(?s)^(?:");
    let mut chars = pattern.chars();
    let mut in_set = false;
    while let Some(char) = chars.next() {
        match char {
            char if Some(char) == escape => {
                let Some(next) = chars.next() else {
                    let message = "LIKE pattern must not end with escape character";
                    return Err(QueryError::new("22025", message));
                };
                out.push_str(&regex::escape(&next.to_string()));
            }
            '[' if in_set => out.push_str("\\["),
            ']' if in_set => {
                in_set = false;
                out.push(']');
            }
            '\\' => out.push_str("\\\\"),
            char if in_set => out.push(char),
            '[' => {
                in_set = true;
                out.push('[');
            }
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '.' | '^' | '$' => {
                out.push('\\');
                out.push(char);
            }
            char => out.push(char),
        }
    }
    if in_set {
        return Err(QueryError::new(
            "2201B",
            "invalid regular expression: brackets [] not balanced",
        ));
    }
    out.push_str(")$");
    Ok(out)
}
