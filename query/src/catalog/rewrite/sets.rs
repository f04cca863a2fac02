//! Arrays in the spelling of Postgres: literals, ANY and ALL over them, and functions that make
//! rows of them.

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Array, BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArguments, Ident, ObjectName, ObjectNamePart, Subscript, Value,
};

use super::{call, literal_text};
use crate::names::folded;

/// An expression as another type.
pub(super) fn cast(expr: Expr, kind: &str) -> Expr {
    let name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new(kind))]);
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(expr),
        data_type: DataType::Custom(name, Vec::new()),
        array: false,
        format: None,
    }
}

/// A call with arguments.
pub(super) fn call_of(name: &str, args: Vec<Expr>) -> Expr {
    let mut made = call(name, None);
    if let Expr::Function(Function { args: FunctionArguments::List(list), .. }) = &mut made {
        let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)));
        list.args.extend(args);
    }
    made
}

/// Arguments of a function that are expressions.
fn arguments(function: &Function) -> Vec<&Expr> {
    let FunctionArguments::List(list) = &function.args else { return Vec::new() };
    let exprs = list.args.iter().filter_map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    exprs.collect()
}

fn is_pairs(name: &ObjectName) -> bool {
    let last = name.0.last().and_then(|part| part.as_ident()).map(folded);
    last.as_deref() == Some("_pg_expandarray")
}

/// Functions that make rows of an array, as an `unnest`.
pub(super) fn of_function(function: &Function) -> Option<Expr> {
    let name = function.name.0.last().and_then(|part| part.as_ident()).map(folded)?;
    let args = arguments(function);
    match (name.as_str(), args.as_slice()) {
        // All arrays here have one dimension.
        ("generate_subscripts", [array, _]) => {
            let places = call("__subscripts", Some((*array).clone()));
            Some(call("unnest", Some(places)))
        }
        // No rows make an empty array.
        ("coalesce", [array, empty]) if literal_text(empty).as_deref() == Some("{}") => {
            Some(call("__filled", Some((*array).clone())))
        }
        // As Superset writes times.
        ("to_timestamp", [time, format]) => {
            let known = ["YYYY-MM-DD HH24:MI:SS.US", "YYYY-MM-DD HH24:MI:SS", "YYYY-MM-DD"];
            let format = literal_text(format)?;
            literal_text(time)?;
            known.contains(&format.as_str()).then(|| cast((*time).clone(), "timestamptz"))
        }
        ("_pg_expandarray", [array]) if is_pairs(&function.name) => {
            let pairs = call("__pg_expandarray", Some((*array).clone()));
            Some(call("unnest", Some(pairs)))
        }
        _ => None,
    }
}

/// `(information_schema._pg_expandarray(x)).n` and `.x`, after the function was put as an `unnest`.
pub(super) fn field_of_pairs(expr: &Expr) -> Option<Expr> {
    let Expr::CompoundFieldAccess { root, access_chain } = expr else { return None };
    let mut root = root.as_ref();
    while let Expr::Nested(inner) = root {
        root = inner;
    }
    let [AccessExpr::Dot(Expr::Identifier(field))] = access_chain.as_slice() else { return None };
    if let Expr::Identifier(_) | Expr::CompoundIdentifier(_) = root {
        // A pair that a subquery made.
        return Some(call_of("get_field", vec![root.clone(), text(folded(field))]));
    }
    let Expr::Function(unnest) = root else { return None };
    let [Expr::Function(pairs)] = arguments(unnest)[..] else { return None };
    let name = pairs.name.0.last().and_then(|part| part.as_ident()).map(folded)?;
    let [array] = arguments(pairs)[..] else { return None };
    if name != "__pg_expandarray" {
        return None;
    }
    match folded(field).as_str() {
        "x" => Some(call("unnest", Some(array.clone()))),
        "n" => Some(call("unnest", Some(call("__places", Some(array.clone()))))),
        _ => None,
    }
}

/// Columns of Postgres' tables that are counted from 0.
const VECTORS: &[&str] = &["indkey", "indcollation", "indclass", "indoption", "proargtypes"];

/// `indkey[n]` counts from 0, all other arrays from 1.
pub(super) fn from_zero(expr: &mut Expr) {
    let Expr::CompoundFieldAccess { root, access_chain } = expr else { return };
    let column = match root.as_ref() {
        Expr::Identifier(column) => folded(column),
        Expr::CompoundIdentifier(parts) => parts.last().map(folded).unwrap_or_default(),
        _ => return,
    };
    if let [AccessExpr::Subscript(Subscript::Index { index })] = access_chain.as_mut_slice()
        && VECTORS.contains(&column.as_str())
    {
        *index = Expr::BinaryOp {
            left: Box::new(Expr::Nested(Box::new(index.clone()))),
            op: BinaryOperator::Plus,
            right: Box::new(super::number(1)),
        };
    }
}

/// Items of an array's text form; `None` where one is NULL or an array itself, or it is none.
pub(super) fn items(text: &str) -> Option<Vec<String>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut items = Vec::new();
    if inner.trim().is_empty() {
        return Some(items);
    }
    let mut chars = inner.chars();
    let (mut item, mut quoted) = (String::new(), false);
    loop {
        match chars.next() {
            Some('"') => {
                quoted = true;
                // Spaces before it are none of the item's.
                item.truncate(item.trim_start().len());
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => item.push(chars.next()?),
                        c => item.push(c),
                    }
                }
            }
            Some('\\') => item.push(chars.next()?),
            Some('{' | '}') => return None,
            Some(c) if quoted && c.is_whitespace() => {}
            Some(c) if c != ',' => item.push(c),
            end => {
                let plain = item.trim();
                if !quoted && (plain.is_empty() || plain.eq_ignore_ascii_case("null")) {
                    return None;
                }
                items.push(if quoted { item } else { plain.to_string() });
                if end.is_none() {
                    return Some(items);
                }
                (item, quoted) = (String::new(), false);
            }
        }
    }
}

/// An array of texts.
pub(super) fn array(items: Vec<String>) -> Expr {
    let elem = items.into_iter().map(text).collect();
    Expr::Array(Array { elem, named: true })
}

/// A literal text.
pub(super) fn text(item: String) -> Expr {
    Expr::Value(Value::SingleQuotedString(item).with_empty_span())
}

/// `x = ANY ('{a,b}')` as `x IN ('a', 'b')`, and `x <> ALL` as NOT IN.
pub(super) fn listed(expr: &mut Expr) {
    let (left, right, negated) = match expr {
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => (left, right, false),
        Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => (left, right, true),
        _ => return,
    };
    let mut right = right.as_ref();
    while let Expr::Nested(inner) = right {
        right = inner;
    }
    let list: Vec<Expr> = match right {
        Expr::Cast { expr: inner, data_type: DataType::Array(_), .. } => match inner.as_ref() {
            Expr::Array(array) => array.elem.clone(),
            _ => return,
        },
        Expr::Array(array) => array.elem.clone(),
        other => match literal_text(other).as_deref().and_then(items) {
            Some(items) => items.into_iter().map(text).collect(),
            None => return,
        },
    };
    let expr_of = left.as_ref().clone();
    *expr = match list.is_empty() {
        // No item is equal, whatever it is compared with.
        true => Expr::Value(Value::Boolean(negated).with_empty_span()),
        false => Expr::InList { expr: Box::new(expr_of), list, negated },
    };
}

#[cfg(test)]
mod tests {
    use super::items;

    #[test]
    fn text_forms_of_arrays() {
        fn check<const N: usize>(text: &str, expect: [&str; N]) {
            assert_eq!(items(text).as_deref(), Some(expect.map(String::from).as_slice()), "{text}");
        }
        check("{}", []);
        check("{1,2}", ["1", "2"]);
        check(r#"{a, "b c" ,"d\"e","",f\,g}"#, ["a", "b c", "d\"e", "", "f,g"]);
        for none in ["", "1,2", "{1", "{a,}", "{NULL}", "{{1}}", "{\"a}"] {
            assert_eq!(items(none), None, "{none}");
        }
    }
}
