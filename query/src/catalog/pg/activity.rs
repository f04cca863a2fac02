//! pg_stat_activity: the connections and what they are at.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::DATABASE_OID;
use crate::activity::{Client, Phase, Query, Seen};
use crate::catalog::Image;
use crate::catalog::queries::may_see;
use crate::catalog::rows::{Form, Rows, V};
use crate::error::QueryResult;
use crate::plan::names::DATABASE;

const COLUMNS: [&str; 16] = [
    "datid",
    "datname",
    "pid",
    "usesysid",
    "usename",
    "application_name",
    "backend_start",
    "xact_start",
    "query_start",
    "state_change",
    "wait_event_type",
    "wait_event",
    "state",
    "query_id",
    "query",
    "backend_type",
];

/// The connections.
pub(super) fn fill(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    // The newest statement of each connection: cursors and results read slowly stay beside it.
    let running: HashMap<u64, Arc<Query>> =
        image.live().activity.queries().into_iter().map(|query| (query.client.id, query)).collect();
    let mut form = rows.of(COLUMNS);
    for client in image.live().activity.clients() {
        push(image, &client, running.get(&client.id), &mut form);
    }
    Ok(())
}

fn push(image: &Image, client: &Client, query: Option<&Arc<Query>>, form: &mut Form<'_, 16>) {
    let user = client.identity.user.as_str();
    let role = image.roles.iter().find(|role| role.name == user);
    let seen = client.seen();
    let shown = may_see(image, user);
    let hidden = |value: V| if shown { value } else { V::Null };
    let time = |us: i64| if us > 0 { V::Int(us) } else { V::Null };
    let (wait_type, wait) = waits(query);
    let text = match (&seen.text, shown) {
        (_, false) => "<insufficient privilege>".into(),
        (None, true) => "".into(),
        (Some(text), true) => text.to_string().into(),
    };
    let block = seen.block.as_ref().map(|(_, since)| *since);
    let since = block.or(query.map(|query| query.started_us));
    form.push([
        DATABASE_OID.into(),
        DATABASE.into(),
        client.process().into(),
        role.map(|role| role.oid).into(),
        user.into(),
        seen.application.to_string().into(),
        hidden(V::Int(client.since_us)),
        hidden(since.map_or(V::Null, V::Int)),
        hidden(time(seen.started_us)),
        hidden(time(seen.changed_us)),
        hidden(wait_type.into()),
        hidden(wait.into()),
        hidden(state(query, &seen).into()),
        hidden(query.map(|query| query.id).into()),
        text,
        "client backend".into(),
    ]);
}

fn state(query: Option<&Arc<Query>>, seen: &Seen) -> &'static str {
    match (query, &seen.block) {
        (Some(_), _) => "active",
        (None, Some((failed, _))) if failed.load(Ordering::Acquire) => {
            "idle in transaction (aborted)"
        }
        (None, Some(_)) => "idle in transaction",
        (None, None) => "idle",
    }
}

/// What a connection waits for: its turn in the queue, its client, or nothing.
fn waits(query: Option<&Arc<Query>>) -> (Option<&'static str>, Option<&'static str>) {
    match query.map(|query| query.phase()) {
        Some(Phase::Queued) => (Some("Queue"), Some("Queue")),
        Some(_) => (None, None),
        None => (Some("Client"), Some("ClientRead")),
    }
}

/// The COPYs that run.
pub(super) fn copies(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of([
        "pid",
        "datid",
        "datname",
        "relid",
        "command",
        "type",
        "bytes_processed",
        "bytes_total",
        "tuples_processed",
        "tuples_excluded",
    ]);
    for query in image.live().activity.queries() {
        let Some(copy) = query.copy() else { continue };
        let shown = may_see(image, &query.client.identity.user);
        let hidden = |value: V| if shown { value } else { V::Null };
        form.push([
            query.client.process().into(),
            DATABASE_OID.into(),
            DATABASE.into(),
            hidden(copy.relation.into()),
            hidden(if copy.inward { "COPY FROM" } else { "COPY TO" }.into()),
            hidden(if copy.file { "FILE" } else { "PIPE" }.into()),
            hidden(copy.bytes().into()),
            hidden(copy.bytes_total.into()),
            hidden(copy.rows().into()),
            hidden(V::Int(0)),
        ]);
    }
    Ok(())
}
