//! `SELECT 1`, `SELECT version()`: constants and what a session knows of itself, without FROM. What
//! pools and drivers ask again and again is answered without planning.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Query,
    Select, SelectFlavor, SelectItem, SetExpr, UnaryOperator, Value,
};

use crate::error::QueryResult;
use crate::functions;
use crate::names::folded;
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
    /// The row, where all of it is surely understood.
    pub(super) fn of(query: &Query, context: &PlanContext) -> Option<NativeConstants> {
        let list = list(query)?;
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

/// The list of a SELECT that has nothing else.
fn list(query: &Query) -> Option<&[SelectItem]> {
    let Query {
        with: None,
        body,
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks,
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators,
    } = query
    else {
        return None;
    };
    let SetExpr::Select(select) = &**body else { return None };
    let Select {
        select_token: _,
        optimizer_hints,
        distinct: None | Some(Distinct::All),
        select_modifiers: None,
        top: None,
        top_before_distinct: _,
        projection,
        exclude: None,
        into: None,
        from,
        lateral_views,
        prewhere: None,
        selection: None,
        connect_by,
        group_by: GroupByExpr::Expressions(group_by, modifiers),
        cluster_by,
        distribute_by,
        sort_by,
        having: None,
        named_window,
        qualify: None,
        window_before_qualify: _,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    } = &**select
    else {
        return None;
    };
    let empty = locks.is_empty()
        && pipe_operators.is_empty()
        && optimizer_hints.is_empty()
        && from.is_empty()
        && lateral_views.is_empty()
        && connect_by.is_empty()
        && group_by.is_empty()
        && modifiers.is_empty()
        && cluster_by.is_empty()
        && distribute_by.is_empty()
        && sort_by.is_empty()
        && named_window.is_empty();
    (empty && !projection.is_empty()).then_some(projection)
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
    let parts: Vec<String> =
        name.0.iter().map(|part| part.as_ident().map(folded)).collect::<Option<_>>()?;
    let name = match &parts[..] {
        [name] => name,
        [schema, name] if schema == "pg_catalog" => name,
        _ => return None,
    };
    let args = match args {
        FunctionArguments::None => Vec::new(),
        FunctionArguments::List(list)
            if list.duplicate_treatment.is_none() && list.clauses.is_empty() =>
        {
            let arg = |arg: &FunctionArg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => literal(expr),
                _ => None,
            };
            list.args.iter().map(arg).collect::<Option<Vec<_>>>()?
        }
        _ => return None,
    };
    let known = match name.as_str() {
        "current_setting" => matches!(
            &args[..],
            [ScalarValue::Utf8(_)] | [ScalarValue::Utf8(_), ScalarValue::Boolean(_)]
        ),
        name => args.is_empty() && TELLING.contains(&name),
    };
    if !known || !within_group.is_empty() {
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
