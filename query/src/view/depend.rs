//! Which views depend on a table, a column or a view: those that cannot be bound without it, or
//! that come to mean something else.

use std::sync::Arc;

use tsdb::types::{ColumnId, TableId};

use super::{View, Views};
use crate::error::QueryResult;
use crate::plan::PlanContext;
use crate::session::Session;

/// A thing that is treated as if it were not there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Hidden {
    Table(TableId),
    /// A column; `None` is the time.
    Column(TableId, Option<ColumnId>),
    View(u32),
    /// A relational table.
    Relation(u32),
    /// A column of one.
    RelationColumn(u32, u32),
}

/// The views that depend on what is hidden, those among them that are dropped too left out.
/// `names`: what the hidden things are called.
pub(crate) async fn dependents(
    session: &Session,
    hidden: Vec<Hidden>,
    names: Vec<String>,
) -> QueryResult<Vec<Arc<View>>> {
    let views = session.views()?;
    let candidates = mentioning(&views, names);
    if candidates.is_empty() {
        return Ok(Vec::new());
    }
    // Without stored rows: those of another snapshot would look like another meaning.
    let plain = session.context("").hiding(Vec::new());
    let without = session.context("").hiding(hidden.clone());
    session
        .on_workers(async move {
            let depends = |view: &Arc<View>| {
                if hidden.contains(&Hidden::View(view.number)) {
                    return false;
                }
                // One that is broken already is nothing that this would break.
                shape(&plain, view).is_some_and(|now| shape(&without, view) != Some(now))
            };
            Ok(candidates.into_iter().filter(depends).collect())
        })
        .await
}

/// What a view reads, if it can be bound.
fn shape(context: &PlanContext, view: &Arc<View>) -> Option<String> {
    let plan = context.bind_open(view).ok()?;
    Some(plan.display_indent().to_string())
}

/// Views whose text holds one of these names, or the name of such a view.
fn mentioning(views: &Views, names: Vec<String>) -> Vec<Arc<View>> {
    let fold = |text: &str| text.replace('"', "").to_lowercase();
    let mut names: Vec<String> = names.iter().map(|name| fold(name)).collect();
    let mut left: Vec<(&Arc<View>, String)> =
        views.list.iter().map(|view| (view, fold(&view.text))).collect();
    let mut found = Vec::new();
    loop {
        let (hit, missed): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|(_, text)| names.iter().any(|name| text.contains(name)));
        if hit.is_empty() {
            return found;
        }
        names = hit.iter().map(|(view, _)| fold(&view.name)).collect();
        found.extend(hit.into_iter().map(|(view, _)| view.clone()));
        left = missed;
    }
}
