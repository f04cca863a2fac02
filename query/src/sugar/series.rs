//! Functions that give rows in a select list: `generate_series`, `regexp_split_to_table` and
//! `string_to_table`. In DataFusion they are functions that give lists.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, Query, Select, SelectItem, VisitMut, VisitorMut,
};

use super::{call_of, name_of};

const UNNEST: &str = "unnest";

/// The function that gives as a list what one of that name gives as rows.
fn as_list(name: &str) -> Option<&'static str> {
    match name {
        "generate_series" => Some("generate_series"),
        "regexp_split_to_table" => Some("regexp_split_to_array"),
        "string_to_table" => Some("string_to_array"),
        _ => None,
    }
}

/// Has such calls give rows.
pub(super) fn as_rows(select: &mut Select) {
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
            let _ = expr.visit(&mut Rows { inside: 0 });
        }
    }
}

struct Rows {
    /// Calls that take lists, and queries, that are open.
    inside: usize,
}

impl VisitorMut for Rows {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.inside += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.inside -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if takes_lists(expr) {
            self.inside += 1;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if takes_lists(expr) {
            self.inside -= 1;
        }
        if self.inside == 0
            && let Expr::Function(function) = expr
            && let Some(list) = name_of(function).as_deref().and_then(as_list)
        {
            let mut series = function.clone();
            series.name = ObjectName::from(vec![Ident::new(list)]);
            *function = call_of(UNNEST, vec![Expr::Function(series)]);
        }
        ControlFlow::Continue(())
    }
}

fn takes_lists(expr: &Expr) -> bool {
    let name = match expr {
        Expr::Function(function) => name_of(function),
        Expr::AnyOp { .. } | Expr::AllOp { .. } | Expr::CompoundFieldAccess { .. } => return true,
        _ => None,
    };
    name.is_some_and(|name| {
        let is_one = ["unnest", "cardinality", "flatten", "make_array"].contains(&name.as_str());
        is_one || name.starts_with("array_") || name.starts_with("list_")
    })
}
