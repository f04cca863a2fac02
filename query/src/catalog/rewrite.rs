//! What statements of psql and drivers say that DataFusion does not take.
//!
//! The rules keep the meaning: qualifiers, collations and `OPERATOR(…)` are spelling; casts of
//! names to numbers of objects are looked up; a subquery over a table that never has a row is
//! NULL. What is left goes to DataFusion as it is, and fails there rather than here.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, JoinOperator, ObjectName, ObjectNamePart,
    Query, Select, SelectItem, SetExpr, TableFactor, Value, VisitMut, VisitorMut,
};

use super::functions::relation_oid;
use super::pg::{self, kinds};
use crate::error::{QueryError, QueryResult};
use crate::names::folded;
use crate::plan::PlanContext;

/// Rewrites a statement before it is bound.
pub(crate) fn rewrite(statement: &mut ast::Statement, context: &PlanContext) -> QueryResult<()> {
    match statement.visit(&mut Rewriter { context }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Rewriter<'a> {
    context: &'a PlanContext,
}

/// Types whose values are numbers of objects, with the function that shows them as names.
const REGISTERS: &[(&str, &str)] = &[
    ("regclass", "__regclass"),
    ("regtype", "__regtype"),
    ("regnamespace", "__regnamespace"),
    ("regrole", "__regrole"),
    ("regproc", "__regproc"),
    ("regprocedure", "__regproc"),
];

/// Bare words that are functions in Postgres.
const WORDS: &[&str] =
    &["current_schema", "current_catalog", "current_role", "current_user", "session_user"];

impl VisitorMut for Rewriter<'_> {
    type Break = QueryError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<QueryError> {
        order_distinct(query);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<QueryError> {
        if never_has_rows(select) {
            // No row will ask for these; DataFusion could not plan some of them.
            for item in &mut select.projection {
                if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item
                {
                    let _ = expr.visit(&mut SubqueriesToNull);
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<QueryError> {
        for item in &mut select.projection {
            let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item
            else {
                continue;
            };
            // A number of an object is shown as its name.
            if let Some(function) = shown_by(expr)
                && let Expr::Cast { expr: inner, .. } = expr
            {
                *expr = call(function, Some((**inner).clone()));
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<QueryError> {
        if let TableFactor::Table { name, args: Some(_), .. } = factor {
            unqualify(name);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<QueryError> {
        match expr {
            Expr::Subquery(query) if is_always_null(query) => *expr = null_text(),
            Expr::Function(function) if is_array_of_nothing(function) => {
                *expr = call("__no_texts", None);
            }
            // 'x'::regclass::text is the name of an object that must exist.
            Expr::Cast { expr: inner, data_type, .. } if is_text(data_type) => {
                if let Expr::Cast { expr: name, data_type: kind, .. } = inner.as_ref()
                    && let Some((kind, function)) = register(kind)
                    && let Some(text) = literal_text(name)
                {
                    self.context.mark_fleeting();
                    match self.look_up(kind, &text) {
                        Ok(oid) => *expr = call(function, Some(number(oid))),
                        Err(error) => return ControlFlow::Break(error),
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<QueryError> {
        match expr {
            Expr::Function(function) => unqualify(&mut function.name),
            Expr::Identifier(word) if word.quote_style.is_none() => {
                let name = word.value.to_lowercase();
                if WORDS.contains(&name.as_str()) {
                    *expr = call(&name, None);
                }
            }
            Expr::Collate { expr: inner, .. } => *expr = (**inner).clone(),
            Expr::BinaryOp { op, .. } => {
                if let BinaryOperator::PGCustomBinaryOperator(parts) = op
                    && let Some(known) = parts.last().and_then(|p| operator(p))
                {
                    *op = known;
                }
            }
            Expr::Value(value) => {
                if let Value::EscapedStringLiteral(text) = &value.value {
                    value.value = Value::SingleQuotedString(text.clone());
                }
            }
            Expr::Cast { .. } => return self.cast(expr),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl Rewriter<'_> {
    fn cast(&self, expr: &mut Expr) -> ControlFlow<QueryError> {
        let Expr::Cast { expr: inner, data_type, .. } = expr else {
            return ControlFlow::Continue(());
        };
        if let Some((register, _)) = register(data_type) {
            let Some(text) = literal_text(inner) else { return ControlFlow::Continue(()) };
            self.context.mark_fleeting();
            return match self.look_up(register, &text) {
                Ok(oid) => {
                    *expr = number(oid);
                    ControlFlow::Continue(())
                }
                Err(error) => ControlFlow::Break(error),
            };
        }
        // x::regclass::text
        if is_text(data_type)
            && let Some(function) = shown_by(inner)
            && let Expr::Cast { expr: object, .. } = inner.as_ref()
        {
            *expr = call(function, Some((**object).clone()));
        }
        ControlFlow::Continue(())
    }

    /// Number of the object of that name.
    fn look_up(&self, register: &str, text: &str) -> QueryResult<i64> {
        if let Ok(oid) = text.trim().parse::<i64>() {
            return Ok(oid);
        }
        if text == "-" {
            return Ok(0);
        }
        let image = self.context.image()?;
        let name = text.trim();
        let (found, what) = match register {
            "regclass" => {
                let missing = || QueryError::no_table(name);
                return relation_oid(&image, name).ok_or_else(missing);
            }
            "regtype" => {
                let bare = name.to_lowercase();
                let bare = bare.strip_prefix("pg_catalog.").unwrap_or(&bare);
                let kind = kinds::KINDS.iter().find(|k| k.name == bare || k.sql == bare);
                (kind.map(|k| k.oid), "type")
            }
            "regnamespace" => {
                let oid = match name {
                    "pg_catalog" => Some(pg::NS_CATALOG),
                    "public" => Some(pg::NS_PUBLIC),
                    "information_schema" => Some(pg::NS_INFORMATION),
                    "sys" => Some(pg::NS_SYS),
                    _ => None,
                };
                (oid, "schema")
            }
            "regrole" => {
                let role = image.roles.iter().find(|r| r.name == name);
                (role.map(|r| i64::from(r.oid)), "role")
            }
            _ => {
                let bare = name.rsplit('.').next().unwrap_or(name);
                let bare = bare.split('(').next().unwrap_or(bare);
                let function = kinds::FUNCTIONS.iter().find(|f| f.name == bare);
                (function.map(|f| f.oid), "function")
            }
        };
        let code = match what {
            "schema" => "3F000",
            "function" => "42883",
            _ => "42704",
        };
        found.ok_or_else(|| QueryError::new(code, format!("{what} \"{name}\" does not exist")))
    }
}

/// The register type that a data type is, with its function.
fn register(kind: &DataType) -> Option<(&'static str, &'static str)> {
    let name = match kind {
        DataType::Regclass => "regclass".to_string(),
        DataType::Custom(name, _) => name.0.last()?.as_ident()?.value.to_lowercase(),
        _ => return None,
    };
    REGISTERS.iter().find(|(n, _)| *n == name).copied()
}

/// The function that shows a cast to a register type as a name.
fn shown_by(expr: &Expr) -> Option<&'static str> {
    match expr {
        Expr::Cast { expr, data_type, .. } if literal_text(expr).is_none() => {
            register(data_type).map(|(_, function)| function)
        }
        _ => None,
    }
}

fn is_text(kind: &DataType) -> bool {
    match kind {
        DataType::Text | DataType::Varchar(_) | DataType::CharacterVarying(_) => true,
        DataType::Custom(name, _) => name
            .0
            .last()
            .and_then(|p| p.as_ident())
            .is_some_and(|i| ["text", "name", "varchar"].contains(&i.value.as_str())),
        _ => false,
    }
}

fn literal_text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Nested(inner) => literal_text(inner),
        Expr::Cast { expr, data_type, .. } if is_text(data_type) => literal_text(expr),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => {
                Some(text.clone())
            }
            _ => None,
        },
        _ => None,
    }
}

fn operator(name: &str) -> Option<BinaryOperator> {
    Some(match name {
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "~~*" => BinaryOperator::PGILikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        "!~~*" => BinaryOperator::PGNotILikeMatch,
        "=" => BinaryOperator::Eq,
        "<>" => BinaryOperator::NotEq,
        "<" => BinaryOperator::Lt,
        ">" => BinaryOperator::Gt,
        "<=" => BinaryOperator::LtEq,
        ">=" => BinaryOperator::GtEq,
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        "||" => BinaryOperator::StringConcat,
        _ => return None,
    })
}

/// Puts the keys of DISTINCT ON into the order of ORDER BY: DataFusion wants them so, to Postgres
/// they are a set.
fn order_distinct(query: &mut Query) {
    let order: Vec<String> = match query.order_by.as_ref().map(|o| &o.kind) {
        Some(ast::OrderByKind::Expressions(exprs)) => {
            exprs.iter().map(|e| e.expr.to_string()).collect()
        }
        _ => return,
    };
    if let SetExpr::Select(select) = query.body.as_mut()
        && let Some(ast::Distinct::On(keys)) = &mut select.distinct
    {
        let place = |key: &Expr| {
            let text = key.to_string();
            order.iter().position(|o| *o == text).unwrap_or(usize::MAX)
        };
        keys.sort_by_key(place);
    }
}

/// Drops `pg_catalog.` and `public.` before a function's name.
fn unqualify(name: &mut ObjectName) {
    let system = name.0.first().and_then(|p| p.as_ident()).map(folded);
    if name.0.len() == 2 && system.is_some_and(|s| s == "pg_catalog" || s == "public") {
        name.0.remove(0);
    }
}

fn call(name: &str, arg: Option<Expr>) -> Expr {
    let args = arg.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect();
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

fn number(value: i64) -> Expr {
    Expr::Value(Value::Number(value.to_string(), false).with_empty_span())
}

fn null_text() -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(Expr::Value(Value::Null.with_empty_span())),
        data_type: DataType::Text,
        array: false,
        format: None,
    }
}

/// `ARRAY(SELECT …)` of a query that never has rows, such as of options of TOAST tables.
fn is_array_of_nothing(function: &Function) -> bool {
    let array = function.name.0.last().and_then(|p| p.as_ident()).map(folded);
    match &function.args {
        FunctionArguments::Subquery(query) if array.as_deref() == Some("array") => {
            is_always_null(query) || is_toast_options(query)
        }
        _ => false,
    }
}

/// `SELECT 'toast.' || x FROM …`, as psql's `\d+` asks; no table here has a TOAST table.
fn is_toast_options(query: &Query) -> bool {
    let SetExpr::Select(select) = query.body.as_ref() else { return false };
    let [SelectItem::UnnamedExpr(Expr::BinaryOp { left, op, .. })] = select.projection.as_slice()
    else {
        return false;
    };
    *op == BinaryOperator::StringConcat && literal_text(left).as_deref() == Some("toast.")
}

/// A scalar subquery that never has a row.
fn is_always_null(query: &Query) -> bool {
    match query.body.as_ref() {
        SetExpr::Select(select) => never_has_rows(select) && !aggregates(select),
        _ => false,
    }
}

/// Whether an inner join of the FROM reads a table that never has rows.
fn never_has_rows(select: &Select) -> bool {
    if aggregates(select) {
        return false;
    }
    select.from.iter().any(|from| {
        let outer = from.joins.iter().any(|join| {
            !matches!(
                join.join_operator,
                JoinOperator::Join(_)
                    | JoinOperator::Inner(_)
                    | JoinOperator::CrossJoin(_)
                    | JoinOperator::Left(_)
                    | JoinOperator::LeftOuter(_)
            )
        });
        let inner = from.joins.iter().filter(|join| {
            matches!(
                join.join_operator,
                JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_)
            )
        });
        !outer
            && (is_empty_table(&from.relation)
                || inner.into_iter().any(|j| is_empty_table(&j.relation)))
    })
}

fn is_empty_table(factor: &TableFactor) -> bool {
    let TableFactor::Table { name, args: None, .. } = factor else { return false };
    let parts: Vec<String> = name.0.iter().filter_map(|p| p.as_ident()).map(folded).collect();
    match parts.as_slice() {
        [table] => pg::is_empty(table),
        [schema, table] => schema == "pg_catalog" && pg::is_empty(table),
        _ => false,
    }
}

/// Whether a select without GROUP BY gives one row even over nothing.
fn aggregates(select: &Select) -> bool {
    const AGGREGATES: &[&str] = &[
        "count",
        "sum",
        "min",
        "max",
        "avg",
        "string_agg",
        "array_agg",
        "bool_or",
        "bool_and",
        "every",
        "json_agg",
        "jsonb_agg",
    ];
    struct Find(bool);
    impl VisitorMut for Find {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Expr::Function(function) = expr
                && let Some(name) = function.name.0.last().and_then(|p| p.as_ident())
                && AGGREGATES.contains(&folded(name).as_str())
            {
                self.0 = true;
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        }
    }
    select.projection.iter().any(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            let mut find = Find(false);
            let mut expr = expr.clone();
            // A subquery's own aggregates do not make this select one.
            let _ = expr.visit(&mut SubqueriesToNull);
            let _ = expr.visit(&mut find);
            find.0
        }
        _ => false,
    })
}

/// Puts NULL for every subquery of an expression.
struct SubqueriesToNull;

impl VisitorMut for SubqueriesToNull {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. } => {
                *expr = null_text();
            }
            Expr::Function(function) if matches!(function.args, FunctionArguments::Subquery(_)) => {
                *expr = call("__no_texts", None);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
