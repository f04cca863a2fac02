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
    // Those of other sessions too.
    let views = session.engine().views().of(&session.snapshot())?;
    let mut candidates = mentioning(&views, names);
    candidates.retain(|view| !hidden.contains(&Hidden::View(view.number)));
    let mut out = Vec::new();
    while let Some(first) = candidates.first() {
        // A temporary view sees what its session does.
        let of = first.temporary.as_ref().map_or(session.number(), |of| of.session);
        let (now, later): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|view| {
            view.temporary.as_ref().map_or(session.number(), |of| of.session) == of
        });
        candidates = later;
        // Without stored rows: those of another snapshot would look like another meaning.
        let plain = session.context("").of_session(of).hiding(Vec::new());
        let without = session.context("").of_session(of).hiding(hidden.clone());
        let depending = async move {
            let depends = |view: &Arc<View>| {
                // One that is broken already is nothing that this would break.
                shape(&plain, view).is_some_and(|now| shape(&without, view) != Some(now))
            };
            Ok(now.into_iter().filter(depends).collect::<Vec<_>>())
        };
        out.extend(session.on_workers(depending).await?);
    }
    // In the order in which they were made.
    out.sort_by_key(|view| view.number);
    Ok(out)
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
