//! LIKE … ESCAPE: DataFusion knows the backslash alone.

use datafusion::sql::sqlparser::ast::{Expr, Value, ValueWithSpan};

/// Writes a pattern with backslashes for its own escape character.
pub(super) fn with_backslash(expr: &mut Expr) {
    let (Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. }) = expr
    else {
        return;
    };
    let Some(escape) = escape_char.as_ref().and_then(text_of).map(str::to_string) else { return };
    let literal = match pattern.as_ref() {
        Expr::Value(value) => text_of(value).map(|text| plain(text, &escape)),
        _ => None,
    };
    **pattern = match literal {
        Some(literal) => super::sets::text(literal),
        None => {
            super::sets::call_of("__escaped", vec![(**pattern).clone(), super::sets::text(escape)])
        }
    };
    *escape_char = None;
}

/// A pattern with backslashes for another escape character.
pub(in crate::catalog) fn plain(text: &str, escape: &str) -> String {
    let mut chars = text.chars();
    let mut done = String::with_capacity(text.len());
    while let Some(c) = chars.next() {
        if escape.starts_with(c) {
            // What follows stands for itself.
            if let Some(next) = chars.next() {
                if matches!(next, '%' | '_' | '\\') {
                    done.push('\\');
                }
                done.push(next);
            }
            continue;
        }
        if c == '\\' {
            done.push('\\');
        }
        done.push(c);
    }
    done
}

fn text_of(value: &ValueWithSpan) -> Option<&str> {
    match &value.value {
        Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => Some(text),
        _ => None,
    }
}
