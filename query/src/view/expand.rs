//! Writes out every `*` over a table, so that a view keeps its columns when the table gets more.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, JoinConstraint, JoinOperator, ObjectName, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, TableAlias, TableFactor, TableWithJoins, VisitMut,
    VisitorMut, WildcardAdditionalOptions,
};

use crate::error::{QueryError, QueryResult};
use crate::names::folded;

/// Columns of the table or view of a name; `None` if there is none.
pub(super) type Columns<'a> = &'a dyn Fn(&ObjectName) -> QueryResult<Option<Vec<String>>>;

/// Writes out the wildcards of a query.
pub(super) fn expand(query: &mut Query, columns: Columns<'_>) -> QueryResult<()> {
    let mut names = CteNames(HashSet::new());
    let _ = query.visit(&mut names);
    match query.visit(&mut Expander { columns, ctes: names.0 }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct CteNames(HashSet<String>);

impl VisitorMut for CteNames {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        self.0.extend(tables.map(|cte| folded(&cte.alias.name)));
        ControlFlow::Continue(())
    }
}

struct Expander<'a> {
    columns: Columns<'a>,
    ctes: HashSet<String>,
}

impl VisitorMut for Expander<'_> {
    type Break = QueryError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<QueryError> {
        match query.body.as_ref() {
            SetExpr::Table(_) => {
                let error = QueryError::unsupported("TABLE in a view")
                    .with_hint("Write SELECT * FROM …, which is kept with its columns of now.");
                ControlFlow::Break(error)
            }
            _ => ControlFlow::Continue(()),
        }
    }

    // Behind the subqueries: a table that is wrapped here is not met again.
    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<QueryError> {
        match self.select(select) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Expander<'_> {
    fn select(&self, select: &mut Select) -> QueryResult<()> {
        let wild = select.projection.iter().any(is_wildcard);
        let joins = || select.from.iter().flat_map(|from| &from.joins);
        // Which columns these join by depends on all columns of both sides.
        let natural = joins().any(|join| is_natural(&join.join_operator));
        if !wild && !natural {
            return Ok(());
        }
        if let [TableWithJoins { relation, joins }] = &select.from[..]
            && joins.is_empty()
            && let Some(names) = self.columns_of(relation)?
            && let Some(list) = written_out(&select.projection, relation, &names)
        {
            select.projection = list;
            return Ok(());
        }
        for from in &mut select.from {
            self.wrap_all(from)?;
        }
        Ok(())
    }

    fn wrap_all(&self, from: &mut TableWithJoins) -> QueryResult<()> {
        self.wrap(&mut from.relation)?;
        for join in &mut from.joins {
            self.wrap(&mut join.relation)?;
        }
        Ok(())
    }

    /// `t` becomes `(SELECT a, b, … FROM t) AS t`.
    fn wrap(&self, factor: &mut TableFactor) -> QueryResult<()> {
        if let TableFactor::NestedJoin { table_with_joins, .. } = factor {
            return self.wrap_all(table_with_joins);
        }
        let Some(names) = self.columns_of(factor)? else { return Ok(()) };
        let TableFactor::Table { name, alias, .. } = factor else { return Ok(()) };
        let list: Vec<String> = names.iter().map(|name| quoted(name).to_string()).collect();
        let text = format!("SELECT {} FROM {name}", list.join(", "));
        let subquery = Box::new(super::rows::parse(&text)?);
        let last = name.0.last().and_then(|part| part.as_ident()).cloned();
        let own = last.ok_or_else(|| QueryError::new("42601", format!("bad name {name}")))?;
        let alias = alias.take().unwrap_or(TableAlias {
            explicit: true,
            name: own,
            columns: Vec::new(),
            at: None,
        });
        *factor =
            TableFactor::Derived { lateral: false, subquery, alias: Some(alias), sample: None };
        Ok(())
    }

    /// Columns of a plain table or view; `None` for whatever has its columns by itself.
    fn columns_of(&self, factor: &TableFactor) -> QueryResult<Option<Vec<String>>> {
        let TableFactor::Table { name, args: None, .. } = factor else { return Ok(None) };
        let columns = (self.columns)(name)?;
        let cte = match &name.0[..] {
            [part] => part.as_ident().is_some_and(|name| self.ctes.contains(&folded(name))),
            _ => false,
        };
        match (cte, columns) {
            (true, Some(_)) => Err(QueryError::unsupported(format!(
                "a view with * and a WITH query that is called like the table {name}"
            ))
            .with_hint("Give the WITH query another name, or list the columns.")),
            (true, None) => Ok(None),
            // A name that is not there is told when the view is bound.
            (false, columns) => Ok(columns),
        }
    }
}

fn is_wildcard(item: &SelectItem) -> bool {
    matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..))
}

fn is_natural(operator: &JoinOperator) -> bool {
    use JoinOperator as J;
    match operator {
        J::Join(by)
        | J::Inner(by)
        | J::Left(by)
        | J::LeftOuter(by)
        | J::Right(by)
        | J::RightOuter(by)
        | J::FullOuter(by) => matches!(by, JoinConstraint::Natural),
        _ => false,
    }
}

/// The list of a SELECT over one table with its columns in place of plain wildcards; `None` where
/// one says more than all columns.
fn written_out(
    list: &[SelectItem],
    relation: &TableFactor,
    names: &[String],
) -> Option<Vec<SelectItem>> {
    let TableFactor::Table { name, alias, .. } = relation else { return None };
    if alias.as_ref().is_some_and(|alias| !alias.columns.is_empty()) {
        return None;
    }
    let own = match alias {
        Some(alias) => folded(&alias.name),
        None => folded(name.0.last()?.as_ident()?),
    };
    let plain = WildcardAdditionalOptions::default();
    let mut out = Vec::with_capacity(names.len());
    for item in list {
        let all = match item {
            SelectItem::Wildcard(options) => options == &plain,
            SelectItem::QualifiedWildcard(kind, options) => {
                let SelectItemQualifiedWildcardKind::ObjectName(of) = kind else { return None };
                let [of] = &of.0[..] else { return None };
                options == &plain && folded(of.as_ident()?) == own
            }
            other => {
                out.push(other.clone());
                continue;
            }
        };
        if !all {
            return None;
        }
        out.extend(names.iter().map(|n| SelectItem::UnnamedExpr(Expr::Identifier(quoted(n)))));
    }
    Some(out)
}

/// An identifier that reads back as this name.
fn quoted(name: &str) -> Ident {
    let plain = name
        .bytes()
        .enumerate()
        .all(|(i, b)| b.is_ascii_lowercase() || b == b'_' || (i > 0 && b.is_ascii_digit()));
    match plain && !name.is_empty() && !crate::statement::is_reserved(name) {
        true => Ident::new(name),
        false => Ident::with_quote('"', name),
    }
}
