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
    AccessExpr, Expr, FunctionArguments, Ident, Query, Select, SelectItem, SetExpr, Statement,
    TrimWhereField, TypedString, Value, VisitMut, VisitorMut,
};

use crate::sugar;

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
        let is_private = |field: &Arc<Field>| shown(field.name()) != field.name();
        let fits = given <= count && (given == count || self.open) && given > 0;
        if !fits && !schema.fields().iter().any(is_private) {
            return schema.clone();
        }
        let renamed: Vec<Field> = schema
            .fields()
            .iter()
            .enumerate()
            .map(|(i, field)| {
                let name = if !fits {
                    None
                } else if i < self.left.len() {
                    Some(&self.left[i])
                } else {
                    (count - i <= self.right.len())
                        .then(|| &self.right[self.right.len() + i - count])
                };
                field.as_ref().clone().with_name(name.map_or(shown(field.name()), |name| name))
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

pub(crate) fn of_expr(expr: &Expr) -> String {
    figure(expr).map_or_else(unnamed, |figured| figured.name)
}

/// A name that an expression gives its column.
struct Figured {
    name: String,
    /// A cast does not put the name of its type in place of this one.
    strong: bool,
}

fn strong(name: impl Into<String>) -> Option<Figured> {
    Some(Figured { name: name.into(), strong: true })
}

fn weak(name: impl Into<String>) -> Option<Figured> {
    Some(Figured { name: name.into(), strong: false })
}

fn figure(expr: &Expr) -> Option<Figured> {
    match expr {
        Expr::Identifier(ident) => strong(folded(ident)),
        Expr::CompoundIdentifier(parts) => strong(folded(parts.last()?)),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => figure(inner),
        Expr::Cast { expr: inner, data_type, .. } => match figure(inner) {
            Some(figured) if figured.strong => Some(figured),
            _ => weak(cast_name(&data_type.to_string())),
        },
        Expr::CompoundFieldAccess { root, access_chain } => {
            let field = access_chain.iter().rev().find_map(|access| match access {
                AccessExpr::Dot(Expr::Identifier(field)) => Some(folded(field)),
                _ => None,
            });
            field.map_or_else(|| figure(root), strong)
        }
        Expr::Function(function) => {
            let name = folded(function.name.0.last()?.as_ident()?);
            match (name.as_str(), &function.args) {
                // As a bare word it is a type name in Postgres.
                ("current_date", FunctionArguments::None) => strong("current_date"),
                _ => strong(name),
            }
        }
        Expr::Case { else_result, .. } => match else_result.as_deref().and_then(figure) {
            Some(figured) if figured.strong => Some(figured),
            _ => weak("case"),
        },
        Expr::Exists { negated: false, .. } => strong("exists"),
        Expr::Subquery(query) => {
            let name = of_query(query).left.into_iter().next()?;
            (name != unnamed()).then_some(Figured { name, strong: true })
        }
        Expr::Extract { .. } => strong("extract"),
        Expr::AtTimeZone { .. } => strong("timezone"),
        Expr::Array(_) => strong("array"),
        Expr::Position { .. } => strong("position"),
        Expr::Substring { shorthand, .. } => {
            strong(if *shorthand { "substr" } else { "substring" })
        }
        Expr::Trim { trim_where, .. } => strong(match trim_where {
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        }),
        Expr::Ceil { .. } => strong("ceil"),
        Expr::Floor { .. } => strong("floor"),
        Expr::Overlay { .. } => strong("overlay"),
        Expr::Interval(_) => weak("interval"),
        Expr::TypedString(typed) => weak(cast_name(&typed.data_type.to_string())),
        _ => None,
    }
}

fn unnamed() -> String {
    "?column?".into()
}

/// A cast of something nameless is named after its type.
fn cast_name(kind: &str) -> String {
    let lower = kind.to_lowercase();
    if lower == "\"char\"" {
        return "char".into();
    }
    let base = lower.split(['(', '[']).next().unwrap_or("").trim();
    // The last part of a name with a schema.
    let base = base.rsplit('.').next().unwrap_or(base).trim_matches('"');
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
        "char" | "character" => "bpchar",
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
    // A wildcard may bring any column again. ORDER BY behind DISTINCT wants the names as they are.
    let wildcard = |item: &SelectItem| {
        matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..))
    };
    let open = select.distinct.is_none() && select.projection.iter().any(wildcard);
    let mut seen = HashSet::new();
    for (i, item) in select.projection.iter_mut().enumerate() {
        let bare = matches!(
            item,
            SelectItem::UnnamedExpr(Expr::Identifier(_) | Expr::CompoundIdentifier(_))
        );
        let name = match item {
            SelectItem::UnnamedExpr(expr) => without_casts(expr),
            SelectItem::ExprWithAlias { alias, .. } => folded(alias),
            _ => continue,
        };
        if seen.insert(name) && !(open && bare) {
            continue;
        }
        let alias = private(shown(&of_item(item)), i);
        match item {
            SelectItem::UnnamedExpr(expr) => {
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
            SelectItem::ExprWithAlias { alias: old, .. } => *old = alias,
            _ => {}
        }
    }
}

/// A name that no statement writes, for a column that DataFusion must be able to tell from others.
pub(crate) fn private(name: &str, at: usize) -> Ident {
    Ident::with_quote('"', format!("{name} ?{}?", at + 1))
}

/// The name that users see of a column, which may have a [`private`] one.
pub(crate) fn shown(name: &str) -> &str {
    let numbered = name.strip_suffix('?').and_then(|rest| rest.rsplit_once(" ?"));
    match numbered {
        Some((name, at)) if !at.is_empty() && at.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => name,
    }
}

/// The text that DataFusion names an expression after: casts do not show in it.
pub(crate) fn without_casts(expr: &Expr) -> String {
    struct Strip;
    impl VisitorMut for Strip {
        type Break = ();
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Expr::Cast { expr: inner, .. }
            | Expr::Nested(inner)
            | Expr::AtTimeZone { timestamp: inner, .. } = expr
            {
                *expr = (**inner).clone();
            } else if let Some(text) = sugar::of_length(expr) {
                *expr = text;
            } else if let Expr::TypedString(TypedString { value, .. }) = expr {
                *expr = Expr::Value(value.clone());
            } else if let Expr::Subquery(_) = expr {
                // All of them have one name.
                *expr = Expr::Identifier(Ident::new("(<subquery>)"));
            } else if let Expr::Substring { special, shorthand, .. } = expr {
                // Both spellings are one function.
                (*special, *shorthand) = (false, false);
            } else if let Expr::Value(value) = expr
                && let Value::Number(digits, _) = &mut value.value
                && let Ok(number) = digits.parse::<f64>()
            {
                // `1.50` is called as `1.5`.
                *digits = number.to_string();
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
        check(
            "select 'x'::pg_catalog.regclass::pg_catalog.oid, case when true then 1 end::text, \
             a.b[1], (f(a)).n, '{}'::text[], x::name",
            6,
            &["oid", "text", "b", "n", "text", "x"],
        );
    }
}
