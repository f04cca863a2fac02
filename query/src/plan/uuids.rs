//! `uuid` in expressions, whose Arrow type (sixteen bytes of fixed size) DataFusion compares and
//! sorts, but neither reads from texts nor writes as such, and takes for bytes elsewhere.
//!
//! Before type coercion: a literal beside a uuid is read as one, casts from and to text become
//! functions, and what PostgreSQL has no operator or function for is refused.

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Between, BinaryExpr, Case, Cast, Expr, ExprSchemable, LogicalPlan, Operator, TryCast,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::error::{QueryError, QueryResult};
use crate::functions::uuid::{READ, WRITE};
use crate::uuid::{UUID_TYPE, invalid, parse_uuid};

/// Functions that take values of any type as they are, and give one of them.
const CHOOSING: [&str; 4] = ["coalesce", "nullif", "greatest", "least"];
/// Functions that take values of any type.
const ANY: [&str; 6] =
    ["make_array", "array_length", "cardinality", "arrow_typeof", "text_of_uuid", "uuid_of_text"];
/// Functions that make one text of values of any type.
const JOINING: [&str; 2] = ["concat", "concat_ws"];

/// Plans operators whose types DataFusion wants to know before anything is rewritten.
#[derive(Debug)]
pub(crate) struct UuidPlanner;

impl ExprPlanner for UuidPlanner {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        use BinaryOperator as B;
        let kind = |expr: &Expr| expr.get_type(schema).ok();
        let is_uuid = |expr: &Expr| kind(expr).is_some_and(|kind| kind == UUID_TYPE);
        let compares =
            matches!(expr.op, B::Eq | B::NotEq | B::Lt | B::LtEq | B::Gt | B::GtEq | B::Spaceship);
        if !(is_uuid(&expr.left) || is_uuid(&expr.right)) {
            return Ok(PlannerResult::Original(expr));
        }
        if compares {
            // Where the planner asks for the type at once, a literal has to be one of these by then.
            let op = match expr.op {
                B::Eq => Operator::Eq,
                B::NotEq => Operator::NotEq,
                B::Lt => Operator::Lt,
                B::LtEq => Operator::LtEq,
                B::Gt => Operator::Gt,
                B::GtEq => Operator::GtEq,
                _ => return Ok(PlannerResult::Original(expr)),
            };
            let is_literal = |expr: &Expr| matches!(expr, Expr::Literal(value, _) if value.data_type().is_string());
            if !(is_literal(&expr.left) || is_literal(&expr.right)) {
                return Ok(PlannerResult::Original(expr));
            }
            let planned = binary(expr.left, op, expr.right, &kind);
            return Ok(PlannerResult::Planned(planned.map_err(out)?.data));
        }
        if expr.op != B::StringConcat {
            let (left, right) = (named(&expr.left, &kind), named(&expr.right, &kind));
            return Err(out(no_operator(&left, &expr.op.to_string(), &right)));
        }
        let planned = binary(expr.left, Operator::StringConcat, expr.right, &kind);
        Ok(PlannerResult::Planned(planned.map_err(out)?.data))
    }
}

/// Rewrites the expressions.
#[derive(Debug)]
pub(crate) struct UuidValues;

impl AnalyzerRule for UuidValues {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        if !has_any(&plan)? {
            return Ok(plan);
        }
        let rewritten = plan.transform_up_with_subqueries(|node| {
            let mut schema = merge_schema(&node.inputs());
            if let LogicalPlan::TableScan(scan) = &node {
                schema.merge(&scan.projected_schema);
            }
            let names = NamePreserver::new(&node);
            let mapped = node.map_expressions(|expr| {
                let name = names.save(&expr);
                let expr = expr.transform_up(|expr| one(expr, &schema).map_err(out))?;
                Ok(expr.update_data(|expr| name.restore(expr)))
            })?;
            // Types of what is above follow.
            match mapped.data {
                LogicalPlan::TableScan(_) | LogicalPlan::Values(_) => Ok(mapped),
                _ => mapped.map_data(LogicalPlan::recompute_schema),
            }
        })?;
        Ok(rewritten.data)
    }

    fn name(&self) -> &'static str {
        "uuid_values"
    }
}

/// The same for one expression of a statement that is not planned.
pub(crate) fn rewrite(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    Ok(expr.transform_up(|expr| one(expr, schema).map_err(out))?.data)
}

fn out(error: QueryError) -> datafusion::error::DataFusionError {
    error.into_datafusion()
}

/// Whether a plan has to do with uuid: most have not.
fn has_any(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        let of_fields = || node.schema().fields().iter().any(|f| holds(f.data_type()));
        found = found || of_fields() || {
            let mut cast = false;
            node.apply_expressions(|expr| {
                cast = cast || expr.exists(|expr| Ok(makes(expr)))?;
                Ok(TreeNodeRecursion::Continue)
            })?;
            cast
        };
        Ok(match found {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    })?;
    Ok(found)
}

fn holds(kind: &DataType) -> bool {
    match kind {
        DataType::List(item) => item.data_type() == &UUID_TYPE,
        kind => kind == &UUID_TYPE,
    }
}

/// Whether an expression makes a uuid of something else.
fn makes(expr: &Expr) -> bool {
    match expr {
        Expr::Cast(Cast { field, .. }) | Expr::TryCast(TryCast { field, .. }) => {
            holds(field.data_type())
        }
        Expr::Literal(value, _) => holds(&value.data_type()),
        Expr::ScalarFunction(call) => call.func.name() == "gen_random_uuid",
        _ => false,
    }
}

/// One expression whose parts are done.
fn one(expr: Expr, schema: &DFSchema) -> QueryResult<Transformed<Expr>> {
    // An open parameter has no type yet: the plan is analysed again when it has.
    let kind = |expr: &Expr| expr.get_type(schema).ok();
    let is_uuid = |expr: &Expr| kind(expr).is_some_and(|kind| kind == UUID_TYPE);
    Ok(match expr {
        Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field })
            if is_uuid(&expr) || field.data_type() == &UUID_TYPE =>
        {
            let Some(from) = kind(&expr) else {
                return Ok(Transformed::no(Expr::Cast(Cast::new_from_field(expr, field))));
            };
            cast(*expr, &from, field.data_type())?
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_uuid(&left) || is_uuid(&right) => {
            binary(*left, op, *right, &kind)?
        }
        Expr::InList(InList { expr, list, negated }) if is_uuid(&expr) => {
            let mut items = Vec::with_capacity(list.len());
            for item in list {
                items.push(beside(item, "=", true, &kind)?);
            }
            Transformed::yes(Expr::InList(InList { expr, list: items, negated }))
        }
        Expr::Between(Between { expr, negated, low, high }) if is_uuid(&expr) => {
            let low = Box::new(beside(*low, ">=", true, &kind)?);
            let high = Box::new(beside(*high, "<=", true, &kind)?);
            Transformed::yes(Expr::Between(Between { expr, negated, low, high }))
        }
        Expr::Case(case) => chosen_case(case, &is_uuid)?,
        Expr::Like(like) if is_uuid(&like.expr) => {
            return Err(no_operator("uuid", "~~", "unknown"));
        }
        Expr::SimilarTo(like) if is_uuid(&like.expr) => {
            return Err(no_operator("uuid", "~", "unknown"));
        }
        Expr::ScalarFunction(call) if call.args.iter().any(is_uuid) => function(call, &kind)?,
        other => Transformed::no(other),
    })
}

fn cast(expr: Expr, from: &DataType, to: &DataType) -> QueryResult<Transformed<Expr>> {
    let call = |function: &std::sync::Arc<datafusion::logical_expr::ScalarUDF>, arg| {
        Expr::ScalarFunction(ScalarFunction { func: function.clone(), args: vec![arg] })
    };
    if from == to {
        return Ok(Transformed::yes(expr));
    }
    if from.is_null() || matches!(&expr, Expr::Literal(value, _) if value.is_null()) {
        return Ok(Transformed::yes(Expr::Literal(null_of(to)?, None)));
    }
    if from.is_string() {
        return Ok(Transformed::yes(match text_of(&expr) {
            Some(text) => literal(text)?,
            None => call(&READ, expr),
        }));
    }
    if to.is_string() {
        return Ok(Transformed::yes(call(&WRITE, expr)));
    }
    let (from, to) = (shown(from), shown(to));
    Err(QueryError::new("42846", format!("cannot cast type {from} to {to}")))
}

fn null_of(kind: &DataType) -> QueryResult<ScalarValue> {
    ScalarValue::try_new_null(kind).map_err(QueryError::from)
}

/// The text of a literal that has no type but that of what it stands beside.
fn text_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(
            ScalarValue::Utf8(Some(text))
            | ScalarValue::Utf8View(Some(text))
            | ScalarValue::LargeUtf8(Some(text)),
            _,
        ) => Some(text),
        _ => None,
    }
}

fn literal(text: &str) -> QueryResult<Expr> {
    let value = parse_uuid(text).ok_or_else(|| invalid(text))?;
    let value = ScalarValue::FixedSizeBinary(value.len() as i32, Some(value.to_vec()));
    Ok(Expr::Literal(value, None))
}

/// What stands beside a uuid, as one.
fn beside(
    expr: Expr,
    operator: &str,
    right: bool,
    kind: &impl Fn(&Expr) -> Option<DataType>,
) -> QueryResult<Expr> {
    if let Some(text) = text_of(&expr) {
        return literal(text);
    }
    match kind(&expr) {
        None => Ok(expr),
        Some(kind) if kind.is_null() || kind == UUID_TYPE => Ok(expr),
        Some(other) => {
            let other = shown(&other);
            let (left, right) = if right { ("uuid", other) } else { (other, "uuid") };
            Err(no_operator(left, operator, right))
        }
    }
}

fn no_operator(left: &str, operator: &str, right: &str) -> QueryError {
    let message = format!("operator does not exist: {left} {operator} {right}");
    QueryError::new("42883", message).with_hint(
        "No operator matches the given name and argument types. You might need to add explicit \
         type casts.",
    )
}

fn binary(
    left: Expr,
    op: Operator,
    right: Expr,
    kind: &impl Fn(&Expr) -> Option<DataType>,
) -> QueryResult<Transformed<Expr>> {
    use Operator::{
        Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq, StringConcat,
    };
    let (left, right) = match op {
        Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom => {
            let operator = match op {
                IsDistinctFrom | IsNotDistinctFrom => "=".to_owned(),
                NotEq => "<>".to_owned(),
                op => op.to_string(),
            };
            (beside(left, &operator, false, kind)?, beside(right, &operator, true, kind)?)
        }
        StringConcat => {
            let as_text = |expr: Expr| match kind(&expr) {
                Some(of) if of == UUID_TYPE => cast(expr, &of, &DataType::Utf8View).map(|t| t.data),
                _ => Ok(expr),
            };
            let is_text = |expr: &Expr| kind(expr).is_none_or(|of| of.is_string() || of.is_null());
            if !is_text(&left) && !is_text(&right) {
                return Err(no_operator(&named(&left, kind), "||", &named(&right, kind)));
            }
            (as_text(left)?, as_text(right)?)
        }
        _ => {
            let (left, right) = (named(&left, kind), named(&right, kind));
            return Err(no_operator(&left, &op.to_string(), &right));
        }
    };
    Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))))
}

fn named(expr: &Expr, kind: &impl Fn(&Expr) -> Option<DataType>) -> String {
    kind(expr).map_or("unknown", |kind| shown(&kind)).to_owned()
}

/// A CASE of uuids: texts among its results are read.
fn chosen_case(case: Case, is_uuid: &impl Fn(&Expr) -> bool) -> QueryResult<Transformed<Expr>> {
    let results = case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr);
    let of_uuid = results.into_iter().any(|then| is_uuid(then));
    let by_uuid = case.expr.as_ref().is_some_and(|expr| is_uuid(expr));
    if !of_uuid && !by_uuid {
        return Ok(Transformed::no(Expr::Case(case)));
    }
    let read = |expr: Box<Expr>, wanted: bool| -> QueryResult<Box<Expr>> {
        Ok(match text_of(&expr) {
            Some(text) if wanted => Box::new(literal(text)?),
            _ => expr,
        })
    };
    let mut pairs = Vec::with_capacity(case.when_then_expr.len());
    for (when, then) in case.when_then_expr {
        pairs.push((read(when, by_uuid)?, read(then, of_uuid)?));
    }
    let otherwise = case.else_expr.map(|expr| read(expr, of_uuid)).transpose()?;
    Ok(Transformed::yes(Expr::Case(Case {
        expr: case.expr,
        when_then_expr: pairs,
        else_expr: otherwise,
    })))
}

/// A call with a uuid among its arguments.
fn function(
    call: ScalarFunction,
    kind: &impl Fn(&Expr) -> Option<DataType>,
) -> QueryResult<Transformed<Expr>> {
    let is_uuid = |expr: &Expr| kind(expr).is_some_and(|kind| kind == UUID_TYPE);
    let ScalarFunction { func, args } = call;
    let name = func.name();
    let other = args.iter().find(|arg| {
        let fits = |kind: DataType| kind == UUID_TYPE || kind.is_null();
        text_of(arg).is_none() && !kind(arg).is_none_or(fits)
    });
    if let Some(other) = other.filter(|_| CHOOSING.contains(&name)) {
        let other = named(other, kind);
        return Err(match name {
            "nullif" => no_operator("uuid", "=", &other),
            name => {
                let first = args.first().is_some_and(is_uuid);
                let (left, right) = if first { ("uuid", &*other) } else { (&*other, "uuid") };
                let name = name.to_uppercase();
                let message = format!("{name} types {left} and {right} cannot be matched");
                QueryError::new("42804", message)
            }
        });
    }
    let mut done = Vec::with_capacity(args.len());
    for arg in args {
        done.push(if CHOOSING.contains(&name) {
            match text_of(&arg) {
                Some(text) => literal(text)?,
                None => arg,
            }
        } else if JOINING.contains(&name) && is_uuid(&arg) {
            cast(arg, &UUID_TYPE, &DataType::Utf8View)?.data
        } else if JOINING.contains(&name)
            || ANY.contains(&name)
            || name.starts_with("array_")
            || name.starts_with("__")
        {
            arg
        } else {
            let message = format!("function {name}(uuid) does not exist");
            return Err(QueryError::new("42883", message).with_hint(
                "No function matches the given name and argument types. You might need to add \
                 explicit type casts.",
            ));
        });
    }
    Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args: done })))
}

/// The name of a type in PostgreSQL.
pub(crate) fn shown(kind: &DataType) -> &'static str {
    match kind {
        DataType::FixedSizeBinary(_) => "uuid",
        DataType::Null => "unknown",
        DataType::Boolean => "boolean",
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => "smallint",
        DataType::Int32 | DataType::UInt16 => "integer",
        DataType::Int64 | DataType::UInt32 => "bigint",
        DataType::Float16 | DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytea",
        DataType::Date32 => "date",
        DataType::Timestamp(_, None) => "timestamp without time zone",
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone",
        DataType::Interval(_) | DataType::Duration(_) => "interval",
        DataType::List(_) => "anyarray",
        kind if kind.is_numeric() => "numeric",
        _ => "text",
    }
}
