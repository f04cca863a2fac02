//! Names of columns that other parts of a statement use: ORDER BY and GROUP BY those of their own
//! list, outer queries those of derived tables and of WITH. PostgreSQL calls `count(*)` there `count`
//! and `x::int` `x`; DataFusion knows the whole expressions alone, without their casts.
//!
//! Inside, such a column gets a name that no statement writes (`crate::names::private`), since ORDER BY
//! means the columns of the tables wherever it computes; outside it is named by the columns of the
//! table's alias.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Ident, OrderByKind, Query, Select, SelectItem, SetExpr, Statement,
    TableAlias, TableAliasColumnDef, TableFactor, Visit, VisitMut, Visitor, VisitorMut, With,
};

use super::pivot;
use crate::names::{folded, of_expr, of_item, private, shown, without_casts};
use crate::plan::PlanContext;

/// Gives such columns their names, and has ORDER BY mean them.
pub(super) fn give(statement: &mut Statement, context: &PlanContext) {
    let mut used = Used::default();
    let _ = Visit::visit(statement, &mut used);
    let mut giver = Giver { used: used.0, with: Vec::new(), context };
    let _ = VisitMut::visit(statement, &mut giver);
}

/// The last parts of all names of columns in a statement.
#[derive(Default)]
struct Used(HashSet<String>);

impl Visitor for Used {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(name) => {
                self.0.insert(folded(name));
            }
            Expr::CompoundIdentifier(parts) => self.0.extend(parts.last().map(folded)),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

struct Giver<'a> {
    used: HashSet<String>,
    /// What the queries that are open name with WITH, from the outside in.
    with: Vec<Option<With>>,
    context: &'a PlanContext,
}

impl VisitorMut for Giver<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.with.push(query.with.clone());
        if let Some(with) = &mut query.with {
            for cte in &mut with.cte_tables {
                // What is recursive calls its own columns while it is bound.
                let alias = (!with.recursive).then_some(&mut cte.alias);
                self.name_list(&mut cte.query, alias);
            }
        }
        // Before ORDER BY gives columns names that nobody else knows.
        if let Some(select) = first_select(&mut query.body) {
            group(select);
        }
        order(query);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.with.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Derived { subquery, alias, .. } = factor {
            self.name_list(subquery, alias.as_mut());
        }
        ControlFlow::Continue(())
    }
}

impl Giver<'_> {
    /// Names the columns of a query that is read as a table.
    fn name_list(&self, query: &mut Query, alias: Option<&mut TableAlias>) {
        let Some(select) = first_select(&mut query.body) else { return };
        let is_partly =
            alias.as_ref().is_some_and(|a| (1..select.projection.len()).contains(&a.columns.len()));
        if !is_partly
            && !select.projection.iter().any(|item| is_unnamed(item) && !is_wildcard(item))
        {
            return;
        }
        let is_open = select.projection.iter().any(is_wildcard);
        match alias {
            Some(alias) if !is_open => name_outside(select, alias),
            _ => self.name_inside(select, is_open),
        }
    }

    /// Where the names cannot be said outside.
    fn name_inside(&self, select: &mut Select, is_open: bool) {
        let mut taken: HashSet<String> =
            select.projection.iter().filter(|item| !is_unnamed(item)).map(of_item).collect();
        // What a wildcard brings is looked up if anybody asks for a name that it may bring.
        let mut brought: Option<Option<HashSet<String>>> = None;
        for at in 0..select.projection.len() {
            let SelectItem::UnnamedExpr(expr) = &select.projection[at] else { continue };
            if is_column(expr) {
                continue;
            }
            let (expr, name) = (expr.clone(), of_expr(expr));
            let is_free = !is_open
                || self.used.contains(&name)
                    && brought
                        .get_or_insert_with(|| self.columns(select))
                        .as_ref()
                        .is_some_and(|brought| !brought.contains(&name));
            let alias = match is_free && taken.insert(name.clone()) {
                true => Ident::with_quote('"', name),
                false => private(&name, at),
            };
            select.projection[at] = SelectItem::ExprWithAlias { expr, alias };
        }
    }

    /// Names of the columns of all tables that a select reads, as far as they can be known.
    fn columns(&self, select: &Select) -> Option<HashSet<String>> {
        let mut columns = HashSet::new();
        for table in &select.from {
            let joined = table.joins.iter().map(|join| &join.relation);
            for factor in std::iter::once(&table.relation).chain(joined) {
                columns.extend(pivot::columns(factor, &self.with, self.context).ok()?);
            }
        }
        Some(columns)
    }
}

/// Names columns by the alias of their table, and privately inside.
fn name_outside(select: &mut Select, alias: &mut TableAlias) {
    let names: Vec<String> = select.projection.iter().map(of_item).collect();
    for (at, item) in select.projection.iter_mut().enumerate() {
        if let SelectItem::UnnamedExpr(expr) = item
            && !is_column(expr)
        {
            *item =
                SelectItem::ExprWithAlias { expr: expr.clone(), alias: private(&names[at], at) };
        }
    }
    // Columns that the alias does not name keep their names.
    let mut taken: HashSet<String> =
        alias.columns.iter().map(|column| folded(&column.name)).collect();
    for (at, name) in names.iter().enumerate().skip(alias.columns.len()) {
        let name = match taken.insert(name.clone()) {
            true => Ident::with_quote('"', name),
            false => private(name, at),
        };
        alias.columns.push(TableAliasColumnDef { name, data_type: None });
    }
}

/// The select that names the columns of a query.
fn first_select(body: &mut SetExpr) -> Option<&mut Select> {
    match body {
        SetExpr::Select(select) => Some(select),
        SetExpr::Query(inner) => first_select(&mut inner.body),
        SetExpr::SetOperation { left, .. } => first_select(left),
        _ => None,
    }
}

/// Terms of ORDER BY that are the name of an expression of the list, and those that DISTINCT wants
/// to find in it, become a name that DataFusion knows.
fn order(query: &mut Query) {
    let Some(order_by) = &mut query.order_by else { return };
    let OrderByKind::Expressions(terms) = &mut order_by.kind else { return };
    let is_alone = matches!(query.body.as_ref(), SetExpr::Select(_));
    let Some(select) = first_select(&mut query.body) else { return };
    if matches!(select.distinct, Some(Distinct::On(_))) {
        return;
    }
    let is_distinct = select.distinct.is_some();
    let mut wanted = vec![false; select.projection.len()];
    for term in terms {
        let found = match &term.expr {
            Expr::Identifier(name) => named(select, &folded(name)),
            listed if is_alone && is_distinct => in_list(select, listed),
            _ => None,
        };
        if let Some(at) = found {
            term.expr = Expr::Identifier(match &select.projection[at] {
                SelectItem::ExprWithAlias { alias, .. } => alias.clone(),
                item => {
                    wanted[at] = true;
                    private(&of_item(item), at)
                }
            });
        }
    }
    for (at, item) in select.projection.iter_mut().enumerate() {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        // Without its casts it may be called as what ORDER BY brings along.
        let hides_cast = is_alone && !is_column(expr) && without_casts(expr) != expr.to_string();
        if wanted[at] || hides_cast {
            let alias = private(&of_expr(expr), at);
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
    }
}

/// Where an expression that is no column stands in the list.
fn in_list(select: &Select, wanted: &Expr) -> Option<usize> {
    select.projection.iter().position(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            expr == wanted && !is_column(expr)
        }
        _ => false,
    })
}

/// The first expression of that name, where no column and no alias has it. A wildcard may bring one.
fn named(select: &Select, name: &str) -> Option<usize> {
    let mut found = None;
    let is_open = select.projection.iter().any(is_wildcard);
    for (at, item) in select.projection.iter().enumerate() {
        match item {
            SelectItem::UnnamedExpr(expr) if is_open && column_in_cast(expr).is_some() => {}
            SelectItem::UnnamedExpr(expr) if of_item(item) == name => {
                if is_column(expr) {
                    return None;
                }
                found = found.or(Some(at));
            }
            // Also one that was named for an outer query.
            SelectItem::ExprWithAlias { alias, .. }
                if shown(&alias.value) == name && alias.value != name =>
            {
                found = found.or(Some(at));
            }
            SelectItem::ExprWithAlias { alias, .. } if folded(alias) == name => return None,
            _ => {}
        }
    }
    found
}

/// Expressions that GROUP BY calls by their names. Columns of the tables go first there.
fn group(select: &mut Select) {
    let GroupByExpr::Expressions(groups, _) = &select.group_by else { return };
    for group in groups {
        let Expr::Identifier(name) = group else { continue };
        let name = folded(name);
        let Some(at) = named(select, &name) else { continue };
        let item = &mut select.projection[at];
        if let SelectItem::UnnamedExpr(expr) = item
            && column_in_cast(expr).is_none()
        {
            let alias = Ident::with_quote('"', name);
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
    }
}

fn is_wildcard(item: &SelectItem) -> bool {
    matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..))
}

/// Whether the item has no name of its own: it is no column and has no alias.
fn is_unnamed(item: &SelectItem) -> bool {
    match item {
        SelectItem::UnnamedExpr(expr) => !is_column(expr),
        SelectItem::ExprWithAlias { .. } => false,
        _ => true,
    }
}

fn is_column(expr: &Expr) -> bool {
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => true,
        Expr::Nested(inner) => is_column(inner),
        _ => false,
    }
}

/// The column that an expression is nothing but casts of.
fn column_in_cast(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::Cast { expr, .. } | Expr::Nested(expr) => column_in_cast(expr),
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => Some(expr),
        _ => None,
    }
}
