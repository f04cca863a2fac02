//! Casts to `varchar(n)` and `char(n)`, which cut the text; DataFusion ignores the length.

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, Ident, ObjectName, Query, SelectItem, SetExpr, Value,
};

use super::{call_of, name_of, plain};
use crate::error::QueryResult;
use crate::functions::Length;
use crate::relational::kind::Kind;

/// Puts a function that cuts into such a cast.
///
/// # Errors
/// `22023` for a length that is none.
pub(super) fn rewrite(expr: &mut Expr) -> QueryResult<()> {
    let Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr: inner, data_type, .. } =
        expr
    else {
        return Ok(());
    };
    let Some(of) = length(data_type)? else { return Ok(()) };
    let plain = match of {
        Kind::Char(_) => DataType::Custom(ObjectName::from(vec![Ident::new("bpchar")]), vec![]),
        _ => DataType::Varchar(None),
    };
    let (act, length) = match of {
        Kind::Char(n) => (Length::CutBlank, n),
        Kind::Varchar(n) => (Length::Cut, n),
        _ => return Ok(()),
    };
    *data_type = plain;
    let text = Expr::Cast {
        kind: CastKind::Cast,
        expr: inner.clone(),
        data_type: DataType::Varchar(None),
        array: false,
        format: None,
    };
    **inner = with_length(act, text, length);
    Ok(())
}

/// Fills what a query gives as `char(n)` with blanks, as it is shown. Inside of a query, where it is
/// compared and joined to other texts, these do not count and are not there.
pub(crate) fn fill(query: &mut Query) -> QueryResult<()> {
    let SetExpr::Select(select) = query.body.as_mut() else { return Ok(()) };
    if select.distinct.is_some() {
        return Ok(());
    }
    for item in &mut select.projection {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else {
            continue;
        };
        if let Expr::Cast { data_type, kind: CastKind::Cast | CastKind::DoubleColon, .. } = expr
            && let Some(Kind::Char(length)) = self::length(data_type)?
        {
            *expr = with_length(Length::Fill, expr.clone(), length);
        }
    }
    Ok(())
}

/// The type, where it is one with a length.
fn length(data_type: &DataType) -> QueryResult<Option<Kind>> {
    let has_length = matches!(
        data_type,
        DataType::Varchar(Some(_))
            | DataType::CharacterVarying(Some(_))
            | DataType::CharVarying(Some(_))
            | DataType::Char(_)
            | DataType::Character(_)
    );
    if has_length { Kind::of_sql(data_type).map(Some) } else { Ok(None) }
}

fn with_length(act: Length, text: Expr, length: u32) -> Expr {
    let length = Expr::Value(Value::Number(length.to_string(), false).with_empty_span());
    Expr::Function(call_of(act.name(), vec![text, length]))
}

/// The text that such a function is called with, which names the column.
pub(crate) fn of_length(expr: &Expr) -> Option<Expr> {
    let Expr::Function(function) = expr else { return None };
    let name = name_of(function)?;
    let of_length = Length::ALL.iter().any(|length| length.name() == name);
    of_length.then(|| plain(function)?.first().map(|text| (*text).clone())).flatten()
}
