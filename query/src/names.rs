//! Names of result columns as Postgres gives them: `count`, not `count(*)`.
//!
//! DataFusion names columns after whole expressions and wants those names unique; Postgres names
//! them after the function, the column or `?column?`, as often as it likes. So repeated
//! expressions get a private alias before planning, and results are renamed behind it.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArguments, Ident, Query, Select, SelectItem, SetExpr, Statement, VisitMut,
    VisitorMut,
};

/// Names that a query gives its columns, from the left and from the right of any wildcard.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Names {
    left: Vec<String>,
    right: Vec<String>,
    /// Whether a wildcard stands between the two.
    open: bool,
}

impl Names {
    /// The names of a statement's result.
    pub(crate) fn of(statement: &Statement) -> Names {
        match statement {
            Statement::Query(query) => of_query(query),
            _ => Names { open: true, ..Names::default() },
        }
    }

    /// The schema with these names where the count of columns agrees.
    pub(crate) fn rename(&self, schema: &SchemaRef) -> SchemaRef {
        let count = schema.fields().len();
        let given = self.left.len() + self.right.len();
        if given > count || (given < count && !self.open) || given == 0 {
            return schema.clone();
        }
        let renamed: Vec<Field> = schema
            .fields()
            .iter()
            .enumerate()
            .map(|(i, field)| {
                let name = if i < self.left.len() {
                    Some(&self.left[i])
                } else {
                    (count - i <= self.right.len())
                        .then(|| &self.right[self.right.len() + i - count])
                };
                match name {
                    Some(name) => field.as_ref().clone().with_name(name),
                    None => field.as_ref().clone(),
                }
            })
            .collect();
        Arc::new(Schema::new_with_metadata(renamed, schema.metadata().clone()))
    }
}

fn of_query(query: &Query) -> Names {
    let mut body = query.body.as_ref();
    loop {
        body = match body {
            SetExpr::Select(select) => return of_select(select),
            SetExpr::Query(inner) => return of_query(inner),
            SetExpr::SetOperation { left, .. } => left,
            _ => return Names { open: true, ..Names::default() },
        };
    }
}

fn of_select(select: &Select) -> Names {
    let mut names = Names::default();
    for item in &select.projection {
        let name = match item {
            SelectItem::ExprWithAlias { alias, .. } => folded(alias),
            SelectItem::UnnamedExpr(expr) => of_expr(expr),
            _ => {
                names.left.append(&mut names.right);
                if !names.open {
                    names.open = true;
                } else {
                    // Names between two wildcards cannot be placed.
                    names.left.truncate(before_wildcard(select));
                }
                continue;
            }
        };
        if names.open { names.right.push(name) } else { names.left.push(name) }
    }
    if names.open {
        names.left.truncate(before_wildcard(select));
    }
    names
}

fn before_wildcard(select: &Select) -> usize {
    let plain = |item: &&SelectItem| {
        matches!(item, SelectItem::ExprWithAlias { .. } | SelectItem::UnnamedExpr(_))
    };
    select.projection.iter().take_while(plain).count()
}

/// An identifier as Postgres folds it.
pub(crate) fn folded(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

/// The name that an item of a list gives its column.
pub(crate) fn of_item(item: &SelectItem) -> String {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => folded(alias),
        SelectItem::UnnamedExpr(expr) => of_expr(expr),
        _ => unnamed(),
    }
}

fn of_expr(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(ident) => folded(ident),
        Expr::CompoundIdentifier(parts) => parts.last().map_or_else(unnamed, folded),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => of_expr(inner),
        Expr::Cast { expr: inner, data_type, .. } => {
            let name = of_expr(inner);
            if name == unnamed() { cast_name(&data_type.to_string()) } else { name }
        }
        Expr::Function(function) => match function.name.0.last().and_then(|p| p.as_ident()) {
            Some(ident) => {
                let name = folded(ident);
                match (name.as_str(), &function.args) {
                    // As a bare word it is a type name in Postgres.
                    ("current_date", FunctionArguments::None) => "current_date".into(),
                    _ => name,
                }
            }
            None => unnamed(),
        },
        Expr::Case { else_result, .. } => match else_result.as_deref() {
            Some(inner) if of_expr(inner) != unnamed() => of_expr(inner),
            _ => "case".into(),
        },
        Expr::Exists { .. } => "exists".into(),
        Expr::Subquery(query) => {
            let names = of_query(query);
            names.left.into_iter().next().unwrap_or_else(unnamed)
        }
        Expr::Extract { .. } => "extract".into(),
        Expr::Array(_) => "array".into(),
        Expr::Position { .. } => "position".into(),
        Expr::Substring { .. } => "substring".into(),
        Expr::Trim { .. } => "btrim".into(),
        Expr::Ceil { .. } => "ceil".into(),
        Expr::Floor { .. } => "floor".into(),
        Expr::Overlay { .. } => "overlay".into(),
        Expr::Interval(_) => "interval".into(),
        Expr::TypedString(typed) => cast_name(&typed.data_type.to_string()),
        _ => unnamed(),
    }
}

fn unnamed() -> String {
    "?column?".into()
}

/// A cast of something nameless is named after its type.
fn cast_name(kind: &str) -> String {
    let lower = kind.to_lowercase();
    let base = lower.split('(').next().unwrap_or("").trim();
    match base {
        "int" | "integer" | "int4" => "int4",
        "bigint" | "int8" => "int8",
        "smallint" | "int2" => "int2",
        "real" | "float4" => "float4",
        "double precision" | "float8" => "float8",
        "boolean" | "bool" => "bool",
        "timestamp with time zone" | "timestamptz" => "timestamptz",
        "timestamp without time zone" | "timestamp" => "timestamp",
        "character varying" | "varchar" => "varchar",
        "decimal" | "numeric" => "numeric",
        other => return other.to_string(),
    }
    .to_string()
}

/// Gives repeated unnamed expressions, and repeated aliases, names of their own, so that
/// DataFusion takes them; [`Names`] puts the right ones back.
pub(crate) fn disambiguate(statement: &mut Statement) {
    if let Statement::Query(query) = statement {
        disambiguate_query(query);
    }
}

fn disambiguate_query(query: &mut Query) {
    let mut body = query.body.as_mut();
    loop {
        body = match body {
            SetExpr::Select(select) => return disambiguate_select(select),
            SetExpr::Query(inner) => return disambiguate_query(inner),
            SetExpr::SetOperation { left, .. } => left.as_mut(),
            _ => return,
        };
    }
}

fn disambiguate_select(select: &mut Select) {
    if select.projection.len() < 2 {
        return;
    }
    let mut seen = HashSet::new();
    for (i, item) in select.projection.iter_mut().enumerate() {
        let name = match item {
            SelectItem::UnnamedExpr(expr) => without_casts(expr),
            SelectItem::ExprWithAlias { alias, .. } => folded(alias),
            _ => continue,
        };
        if seen.insert(name) {
            continue;
        }
        let alias = Ident::with_quote('"', format!("?column {}?", i + 1));
        match item {
            SelectItem::UnnamedExpr(expr) => {
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
            SelectItem::ExprWithAlias { alias: old, .. } => *old = alias,
            _ => {}
        }
    }
}

/// The text that DataFusion names an expression after: casts do not show in it.
fn without_casts(expr: &Expr) -> String {
    struct Strip;
    impl VisitorMut for Strip {
        type Break = ();
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Expr::Cast { expr: inner, .. } | Expr::Nested(inner) = expr {
                *expr = (**inner).clone();
            }
            ControlFlow::Continue(())
        }
    }
    let mut bare = expr.clone();
    let _ = bare.visit(&mut Strip);
    bare.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::{Kind, parse};
    use arrow::datatypes::DataType;

    fn check(sql: &str, columns: usize, expect: &[&str]) {
        let statements = parse(sql).unwrap();
        let Kind::Query(statement) = statements[0].kind() else { panic!("{sql}") };
        let fields: Vec<Field> =
            (0..columns).map(|i| Field::new(format!("c{i}"), DataType::Null, true)).collect();
        let renamed = Names::of(statement).rename(&Arc::new(Schema::new(fields)));
        let names: Vec<&str> = renamed.fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!(names, expect, "{sql}");
    }

    #[test]
    fn names_are_those_of_postgres() {
        check(
            "select count(*), count(*), Max(a.B), x, 1, 'a'::text, \"Y\", 1+1",
            8,
            &["count", "count", "max", "x", "?column?", "text", "Y", "?column?"],
        );
        check("select *, count(*)", 4, &["c0", "c1", "c2", "count"]);
        check("select a, *, b c", 5, &["a", "c1", "c2", "c3", "c"]);
        check("select a, t.*, b, u.*, d", 7, &["a", "c1", "c2", "c3", "c4", "c5", "d"]);
        check(
            "select case when true then 1 else x end, (select y), x::int, now()",
            4,
            &["x", "y", "x", "now"],
        );
        check("select a from t union select b from u", 1, &["a"]);
        check("values (1)", 1, &["c0"]);
    }
}
