//! Continuous aggregates: views over one table, or over another of their kind, that group by
//! buckets of time, whose answers lie in a table of their own and are kept up with little work.
//! README.md, section "Continuous aggregates", is the contract.
//!
//! - `check`: what such a view may be. `define`: the statements about it.
//! - `ladder`: which rows a bucket is made of. `standing`: what of the stored answers holds.
//!   `groups`: which of its groups have changed.
//! - `answer`: aggregations over the table itself, out of the stored answers.
//! - `read`: the stored answers that hold, and the rest out of the table. `refresh`: storing.

mod answer;
mod check;
pub(crate) mod define;
mod groups;
mod ladder;
mod options;
mod read;
pub(crate) mod refresh;
mod standing;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tsdb::Snapshot;
use tsdb::types::{OWNED_TABLE_PREFIX, TableId};

use super::{View, Views};
use crate::error::{QueryError, QueryResult};
pub(crate) use answer::{may_help, rewrite};
use ladder::{BucketSpec, Ladder};

/// What makes a view a continuous aggregate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Materialized {
    /// Table whose rows it is made of in the end.
    pub(crate) root: TableId,
    /// Number of the aggregate that it reads; `None`: it reads the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) over: Option<u32>,
    /// Place of the bucket among its columns.
    bucket: usize,
    /// Places of the keys.
    keys: Vec<usize>,
    cut: BucketSpec,
    /// How often it is refreshed, ns; `None`: only when it is told to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refresh_every_ns: Option<i64>,
    /// Buckets are stored when they are this long over, ns.
    pub(crate) refresh_lag_ns: i64,
}

/// Name of the table that holds the answers of a view.
pub(crate) fn store_name(number: u32) -> String {
    format!("{OWNED_TABLE_PREFIX}{number}")
}

/// The table that holds the answers of a view.
///
/// # Errors
/// `XX001` if it is not there.
pub(crate) fn store(snapshot: &Snapshot, view: &View) -> QueryResult<tsdb::Table> {
    let found = snapshot.table(&store_name(view.number));
    found.ok_or_else(|| {
        QueryError::new("XX001", format!("the stored rows of \"{}\" are missing", view.name))
            .with_hint("DROP MATERIALIZED VIEW, then create it again.")
    })
}

/// A view with what it is made over, that next to the table first.
fn chain<'a>(
    views: &'a Views,
    view: &'a Arc<View>,
) -> QueryResult<Vec<(&'a Arc<View>, &'a Materialized)>> {
    let mut chain = Vec::new();
    let mut next = Some(view);
    while let Some(view) = next {
        let (Some(materialized), true) = (&view.materialized, chain.len() < super::DEPTH_MAX)
        else {
            return Err(QueryError::internal("a continuous aggregate over what is none"));
        };
        chain.push((view, materialized));
        next = match materialized.over {
            None => None,
            Some(number) => match views.list.iter().find(|view| view.number == number) {
                Some(view) => Some(view),
                None => return Err(QueryError::internal("an aggregate over one that is gone")),
            },
        };
    }
    chain.reverse();
    Ok(chain)
}

/// What the catalogue shows of an aggregate; times are µs.
pub(crate) struct State {
    /// Buckets before this start are stored.
    pub(crate) done: Option<i64>,
    /// Buckets before this start are kept as they were stored.
    pub(crate) kept: Option<i64>,
    /// Stored ranges that have changed since.
    pub(crate) changed: usize,
}

pub(crate) fn state(snapshot: &Snapshot, views: &Views, view: &Arc<View>) -> QueryResult<State> {
    let standing = standing::Standing::of(snapshot, views, view)?;
    let changed = standing.changed(usize::MAX)?.len();
    Ok(State { done: standing.done, kept: standing.frozen, changed })
}

fn ladder(chain: &[(&Arc<View>, &Materialized)]) -> QueryResult<Ladder> {
    let steps = chain.iter().map(|(_, materialized)| materialized.cut.buckets());
    Ok(Ladder::new(steps.collect::<QueryResult<_>>()?))
}
