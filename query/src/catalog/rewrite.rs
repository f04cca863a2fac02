//! What statements of psql and drivers say that DataFusion does not take.
//!
//! The rules keep the meaning: qualifiers, collations and `OPERATOR(…)` are spelling; casts of
//! names to numbers of objects are looked up; a subquery over a table that never has a row is
//! NULL. What is left goes to DataFusion as it is, and fails there rather than here.

mod escape;
mod nested;
mod sets;
mod tables;

pub(super) use escape::plain as plain_pattern;

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, JoinOperator, ObjectName, ObjectNamePart,
    Query, Select, SelectItem, SetExpr, TableFactor, Value, VisitMut, VisitorMut,
};

use super::functions::names::{Register, relation_oid};
use super::pg;
use crate::error::{QueryError, QueryResult};
use crate::names::folded;
use crate::plan::PlanContext;

/// Rewrites a statement before it is bound.
pub(crate) fn rewrite(statement: &mut ast::Statement, context: &PlanContext) -> QueryResult<()> {
    match statement.visit(&mut Rewriter { context, scopes: Vec::new() }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Rewriter<'a> {
    context: &'a PlanContext,
    /// Tables of the selects around: what they are called there, and their names.
    scopes: Vec<Vec<(String, String)>>,
}

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
        self.scopes.push(tables::of(select));
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                let _ = expr.visit(&mut nested::ExistsToCount);
            }
        }
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

    fn post_visit_select(&mut self, _: &mut Select) -> ControlFlow<QueryError> {
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<QueryError> {
        if let TableFactor::Table { name, args, alias, .. } = factor
            && args.is_some()
        {
            unqualify(name);
            if tables::is_function(name) {
                // Its rows are a table, whatever it is asked.
                *args = None;
                // The one column of a function is called as the function is.
                if let Some(alias) = alias
                    && alias.columns.is_empty()
                    && tables::is_column(name)
                {
                    let name = alias.name.clone();
                    alias.columns = vec![ast::TableAliasColumnDef { name, data_type: None }];
                }
                name.0.insert(
                    0,
                    ObjectNamePart::Identifier(Ident::with_quote('"', super::FUNCTIONS)),
                );
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<QueryError> {
        match expr {
            Expr::Subquery(query) if is_always_null(query) || nested::is_of_domains(query) => {
                *expr = null_text();
            }
            Expr::Subquery(query) => {
                if let Some(done) = nested::default_of(query).or_else(|| nested::identity_of(query))
                {
                    *expr = done;
                }
            }
            Expr::InSubquery { expr: inner, subquery, negated } => {
                let list = match self.context.is_search_path(subquery) {
                    true => Some(self.context.searched().into_iter().map(sets::text).collect()),
                    false => nested::without_ancestors(subquery),
                };
                if let Some(list) = list {
                    *expr = Expr::InList { expr: inner.clone(), list, negated: *negated };
                }
            }
            Expr::Function(function) if is_called(function, "pg_listening_channels") => {
                let channels = call("__listening_channels", None);
                *expr = call("unnest", Some(channels));
            }
            Expr::Function(function) if is_array_of_nothing(function) => {
                *expr = call("__no_texts", None);
            }
            Expr::Function(function) if is_array(function) => {
                if let Some(done) = nested::roles_of(function).or_else(|| nested::array(function)) {
                    *expr = done;
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<QueryError> {
        match expr {
            Expr::Function(function) => {
                unqualify(&mut function.name);
                if let Some(done) =
                    sets::of_function(function).or_else(|| nested::kept_text(function))
                {
                    *expr = done;
                }
            }
            Expr::CompoundFieldAccess { .. } => {
                sets::from_zero(expr);
                if let Some(done) = sets::field_of_pairs(expr) {
                    *expr = done;
                }
            }
            Expr::Subquery(query) => nested::single(query),
            Expr::AnyOp { .. } | Expr::AllOp { .. } => sets::listed(expr),
            Expr::Like { escape_char: Some(_), .. } | Expr::ILike { escape_char: Some(_), .. } => {
                escape::with_backslash(expr);
            }
            Expr::CompoundIdentifier(parts) => {
                if let [table, column] = parts.as_slice()
                    && folded(column) == "tableoid"
                {
                    let table = folded(table);
                    return self.table_number(expr, Some(&table));
                }
            }
            Expr::Identifier(word) if word.value.eq_ignore_ascii_case("tableoid") => {
                return self.table_number(expr, None);
            }
            Expr::Identifier(word) if word.quote_style.is_none() => {
                let name = word.value.to_lowercase();
                if WORDS.contains(&name.as_str()) {
                    *expr = call(&name, None);
                }
            }
            Expr::Collate { expr: inner, .. } => *expr = (**inner).clone(),
            Expr::BinaryOp { left, op: BinaryOperator::Eq | BinaryOperator::NotEq, right }
                if literal_text(right).as_deref() == Some("{0}") =>
            {
                // The roles of a policy that is for all.
                let text = vec![(**left).clone(), sets::text(",".into())];
                **left = sets::call_of("array_to_string", text);
                **right = sets::text("0".into());
            }
            Expr::BinaryOp { left, op: BinaryOperator::Eq | BinaryOperator::NotEq, right }
                if is_truth(left) && truth(right).is_some() =>
            {
                let truth = truth(right).unwrap_or_default();
                **right = Expr::Value(Value::Boolean(truth).with_empty_span());
            }
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
    /// `'x'::regclass` is the number of what is called so now.
    fn cast(&self, expr: &mut Expr) -> ControlFlow<QueryError> {
        let Expr::Cast { expr: inner, data_type, .. } = expr else {
            return ControlFlow::Continue(());
        };
        if let Some(register) = register(data_type) {
            self.context.mark_told();
            let Some(text) = literal_text(inner) else { return ControlFlow::Continue(()) };
            let found = self.context.image().and_then(|image| register.look_up(&image, &text));
            return match found {
                Ok(oid) => {
                    **inner = number(oid);
                    ControlFlow::Continue(())
                }
                Err(error) => ControlFlow::Break(error),
            };
        }
        if let DataType::Array(_) = data_type
            && let Some(items) = literal_text(inner).as_deref().and_then(sets::items)
        {
            **inner = sets::array(items);
        }
        ControlFlow::Continue(())
    }

    /// Puts the number of a table for its `tableoid`.
    fn table_number(&self, expr: &mut Expr, table: Option<&str>) -> ControlFlow<QueryError> {
        let found = match table {
            Some(table) => self.scopes.iter().rev().flatten().find(|(alias, _)| alias == table),
            None => self.scopes.last().and_then(|scope| match scope.as_slice() {
                [one] => Some(one),
                _ => None,
            }),
        };
        let Some((_, name)) = found else { return ControlFlow::Continue(()) };
        match self.context.image() {
            Ok(image) => {
                if let Some(oid) = relation_oid(&image, name) {
                    self.context.mark_told();
                    *expr = sets::cast(number(oid), "oid");
                }
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl PlanContext {
    /// Whether a query gives the schemas of `search_path`, split in SQL as Grafana does it.
    fn is_search_path(&self, query: &Query) -> bool {
        let SetExpr::Select(select) = query.body.as_ref() else { return false };
        let whole = query.to_string();
        select.from.len() == 2
            && whole.contains("string_to_array(current_setting('search_path'), ',')")
            && whole.contains("generate_series(")
    }

    /// The schemas of `search_path`.
    fn searched(&self) -> Vec<String> {
        let path = self.settings.get("search_path").unwrap_or_default();
        let own = |part: &str| match part.trim() {
            "\"$user\"" => self.identity.user.clone(),
            part => part.to_string(),
        };
        path.split(',').map(own).collect()
    }
}

/// The kind of names that a data type is of.
fn register(kind: &DataType) -> Option<Register> {
    match kind {
        DataType::Regclass => Some(Register::Class),
        DataType::Custom(name, _) => {
            Register::of_name(&name.0.last()?.as_ident()?.value.to_lowercase())
        }
        _ => None,
    }
}

/// Whether a name is that of a boolean column of the catalogue.
fn is_truth(expr: &Expr) -> bool {
    let name = match expr {
        Expr::Identifier(name) => folded(name),
        Expr::CompoundIdentifier(parts) => parts.last().map(folded).unwrap_or_default(),
        _ => return false,
    };
    let prefixes = ["ind", "rel", "att", "con", "rol", "dat", "typ", "pro"];
    prefixes.iter().any(|prefix| name.starts_with(prefix)) && super::has_truth(&name)
}

/// A boolean as ODBC writes it: `'t'`.
fn truth(expr: &Expr) -> Option<bool> {
    match literal_text(expr)?.as_str() {
        "t" | "true" => Some(true),
        "f" | "false" => Some(false),
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

/// `ARRAY(SELECT …)`.
fn is_array(function: &Function) -> bool {
    let array = function.name.0.last().and_then(|p| p.as_ident()).map(folded);
    matches!(function.args, FunctionArguments::Subquery(_)) && array.as_deref() == Some("array")
}

/// Whether it is a call of that function without arguments.
fn is_called(function: &Function, name: &str) -> bool {
    let called = function.name.0.last().and_then(|p| p.as_ident()).map(folded);
    let none = match &function.args {
        FunctionArguments::List(list) => list.args.is_empty(),
        _ => false,
    };
    none && called.as_deref() == Some(name)
}

/// `ARRAY(SELECT …)` of a query that never has rows, such as of options of TOAST tables.
fn is_array_of_nothing(function: &Function) -> bool {
    match &function.args {
        FunctionArguments::Subquery(query) if is_array(function) => {
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
