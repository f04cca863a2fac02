//! Texts that are cast to times and bytes, in all forms that PostgreSQL reads.
//!
//! DataFusion's cast takes RFC 3339 and little beside: no `2026-10-25 10:30`. Behind type coercion,
//! where `time >= '…'` has become a cast too, such a text becomes one that the cast takes; one that
//! is no time stays, and the cast says so. To bytes it casts a text's own, `\x61` too.

use arrow::array::timezone::Tz;
use arrow::compute::kernels::cast_utils::string_to_datetime;
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Cast, Expr, LogicalPlan, TryCast};
use datafusion::optimizer::AnalyzerRule;
use datafusion::scalar::ScalarValue;

use crate::bytea::parse_bytea;
use crate::error::QueryError;
use crate::instant::instant;

/// Rewrites the texts.
#[derive(Debug)]
pub(crate) struct TextValues;

impl AnalyzerRule for TextValues {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|node| {
            let names = NamePreserver::new(&node);
            node.map_expressions(|expr| {
                let name = names.save(&expr);
                let expr = expr.transform_up(plain)?;
                Ok(expr.update_data(|expr| name.restore(expr)))
            })
        })?;
        Ok(rewritten.data)
    }

    fn name(&self) -> &'static str {
        "text_values"
    }
}

/// A cast of a text to a time with the text in the form that the cast takes, of one to bytes the
/// bytes.
fn plain(mut expr: Expr) -> Result<Transformed<Expr>> {
    let (Expr::Cast(Cast { expr: inner, field }) | Expr::TryCast(TryCast { expr: inner, field })) =
        &mut expr
    else {
        return Ok(Transformed::no(expr));
    };
    let Expr::Literal(value, _) = &mut **inner else { return Ok(Transformed::no(expr)) };
    let (ScalarValue::Utf8(Some(text))
    | ScalarValue::LargeUtf8(Some(text))
    | ScalarValue::Utf8View(Some(text))) = value
    else {
        return Ok(Transformed::no(expr));
    };
    match field.data_type() {
        DataType::Timestamp(_, zone) => {
            let Some(found) = canonical(text, zone.as_deref()) else {
                return Ok(Transformed::no(expr));
            };
            *text = found;
        }
        DataType::Binary => {
            let Some(bytes) = parse_bytea(text) else {
                let shown: String = text.chars().take(100).collect();
                let message = format!("invalid input syntax for type bytea: \"{shown}\"");
                return Err(QueryError::new("22P02", message).into_datafusion());
            };
            *value = ScalarValue::Binary(Some(bytes));
        }
        _ => return Ok(Transformed::no(expr)),
    }
    Ok(Transformed::yes(expr))
}

/// The same time as the cast takes it; `None` where it takes the text as it is, or nobody does.
fn canonical(text: &str, zone: Option<&str>) -> Option<String> {
    let session: Tz = zone.unwrap_or("+00:00").parse().ok()?;
    if string_to_datetime(&session, text).is_ok() {
        return None;
    }
    let utc = instant(text, &session)?.naive_utc();
    let behind = if zone.is_some() { "+00:00" } else { "" };
    Some(format!("{}{behind}", utc.format("%Y-%m-%dT%H:%M:%S%.9f")))
}
