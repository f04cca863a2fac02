//! `SELECT 1`, `SELECT version()`: constants and what a session knows of itself, without FROM. What
//! pools and drivers ask again and again is answered without planning.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{Expr, Function, SelectItem, UnaryOperator, Value};

use super::literal::{call_parts, plain_args};
use crate::error::QueryResult;
use crate::functions;
use crate::plan::PlanContext;

/// Functions that tell about the session and take nothing.
const TELLING: &[&str] = &[
    "version",
    "current_database",
    "current_catalog",
    "current_schema",
    "current_user",
    "session_user",
    "user",
    "current_role",
    "pg_backend_pid",
    "pg_is_in_recovery",
];

/// One row of constants, recognised.
pub(crate) struct NativeConstants {
    pub(crate) schema: SchemaRef,
    columns: Vec<ArrayRef>,
}

impl NativeConstants {
    /// The row of a list without FROM, where all of it is surely understood.
    pub(super) fn of(list: &[SelectItem], context: &PlanContext) -> Option<NativeConstants> {
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        for (at, item) in list.iter().enumerate() {
            let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item
            else {
                return None;
            };
            let (field, value) = value(expr, context)?;
            columns.push(value.to_array().ok()?);
            fields.push(field.as_ref().clone().with_name(format!("c{at}")));
        }
        Some(NativeConstants { schema: Arc::new(Schema::new(fields)), columns })
    }

    pub(crate) fn batch(&self, schema: &SchemaRef) -> QueryResult<RecordBatch> {
        Ok(RecordBatch::try_new(schema.clone(), self.columns.clone())?)
    }
}

fn value(expr: &Expr, context: &PlanContext) -> Option<(FieldRef, ScalarValue)> {
    if let Expr::Function(function) = expr {
        return call(function, context);
    }
    let value = literal(expr)?;
    Some((Arc::new(Field::new("", value.data_type(), value.is_null())), value))
}

/// A literal under the type that planning gives it.
fn literal(expr: &Expr) -> Option<ScalarValue> {
    let number = |text: &str| match text.parse::<i64>() {
        Ok(whole) => Some(ScalarValue::Int64(Some(whole))),
        // What leaves bigint is left to planning.
        Err(_) if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') => None,
        Err(_) => text.parse().ok().map(|float| ScalarValue::Float64(Some(float))),
    };
    match expr {
        Expr::Nested(inner) => literal(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match expr.as_ref() {
            Expr::Value(value) => match &value.value {
                Value::Number(text, false) => number(&format!("-{text}")),
                _ => None,
            },
            _ => None,
        },
        Expr::Value(value) => match &value.value {
            Value::Number(text, false) => number(text),
            Value::SingleQuotedString(text) => Some(ScalarValue::Utf8(Some(text.clone()))),
            Value::Boolean(truth) => Some(ScalarValue::Boolean(Some(*truth))),
            _ => None,
        },
        _ => None,
    }
}

fn call(function: &Function, context: &PlanContext) -> Option<(FieldRef, ScalarValue)> {
    let (parts, args) = call_parts(function)?;
    let name = match &parts[..] {
        [name] => name,
        [schema, name] if schema == "pg_catalog" => name,
        _ => return None,
    };
    let args = plain_args(args)?.into_iter().map(literal).collect::<Option<Vec<_>>>()?;
    let known = match name.as_str() {
        "current_setting" => matches!(
            &args[..],
            [ScalarValue::Utf8(_)] | [ScalarValue::Utf8(_), ScalarValue::Boolean(_)]
        ),
        name => args.is_empty() && TELLING.contains(&name),
    };
    if !known {
        return None;
    }
    let function = functions::of_session(name, context)?;
    let arg_fields: Vec<FieldRef> =
        args.iter().map(|arg| Arc::new(Field::new("", arg.data_type(), false))).collect();
    let scalars: Vec<Option<&ScalarValue>> = args.iter().map(Some).collect();
    let of = ReturnFieldArgs { arg_fields: &arg_fields, scalar_arguments: &scalars };
    let return_field = function.return_field_from_args(of).ok()?;
    let given = ScalarFunctionArgs {
        args: args.iter().cloned().map(ColumnarValue::Scalar).collect(),
        arg_fields,
        number_rows: 1,
        return_field: return_field.clone(),
        config_options: context.config_options(),
    };
    // What fails is told by the way that plans.
    match function.invoke_with_args(given).ok()? {
        ColumnarValue::Scalar(value) => Some((return_field, value)),
        ColumnarValue::Array(_) => None,
    }
}
