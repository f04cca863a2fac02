//! `sys.queries`, `sys.slow_queries`: what runs, and what took long.
//!
//! Everybody sees that something runs; what it is, only its user and superusers.

use std::sync::atomic::{AtomicU64, Ordering};

use super::rows::{Rows, V};
use super::{Def, Image, T};
use crate::activity::{Phase, Query, SlowQuery, shown};
use crate::error::QueryResult;

pub(super) const DEFS: &[Def] = &[
    Def {
        schema: "sys",
        name: "queries",
        columns: &[
            ("id", T::Int8),
            ("session", T::Int8),
            ("pid", T::Int4),
            ("role", T::Text),
            ("application", T::Text),
            ("state", T::Text),
            ("priority", T::Text),
            ("started", T::Time),
            ("run_ms", T::Float8),
            ("waited_ms", T::Float8),
            ("rows_scanned", T::Int8),
            ("rows_expected", T::Int8),
            ("row_groups_read", T::Int8),
            ("row_groups", T::Int8),
            ("rows_returned", T::Int8),
            ("memory_bytes", T::Int8),
            ("memory_peak_bytes", T::Int8),
            ("spilled_bytes", T::Int8),
            ("text", T::Text),
        ],
        fill: queries,
    },
    Def {
        schema: "sys",
        name: "slow_queries",
        columns: &[
            ("id", T::Int8),
            ("pid", T::Int4),
            ("role", T::Text),
            ("application", T::Text),
            ("priority", T::Text),
            ("started", T::Time),
            ("run_ms", T::Float8),
            ("waited_ms", T::Float8),
            ("rows_scanned", T::Int8),
            ("rows_returned", T::Int8),
            ("memory_peak_bytes", T::Int8),
            ("spilled_bytes", T::Int8),
            ("error", T::Text),
            ("text", T::Text),
            ("plan", T::Text),
        ],
        fill: slow,
    },
    Def {
        schema: "sys",
        name: "cursors",
        columns: &[
            ("session", T::Int8),
            ("pid", T::Int4),
            ("role", T::Text),
            ("name", T::Text),
            ("scrolls", T::Bool),
            ("held", T::Bool),
            ("created", T::Time),
            ("rows_kept", T::Int8),
            ("memory_bytes", T::Int8),
            ("spilled_bytes", T::Int8),
            ("text", T::Text),
        ],
        fill: cursors,
    },
];

/// Whether statements of that user are for whoever asks.
pub(super) fn may_see(image: &Image, user: &str) -> bool {
    image.identity.superuser || image.identity.user == user
}

fn millis(micros: u64) -> V {
    V::Float(micros as f64 / 1e3)
}

fn state(query: &Query) -> &'static str {
    match query.phase() {
        Phase::Planning => "planning",
        Phase::Queued => "queued",
        Phase::Running => "running",
    }
}

fn queries(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    for query in image.live().activity.queries() {
        let client = &query.client;
        let seen = may_see(image, &client.identity.user);
        let read = query.read();
        rows.push([
            query.id.into(),
            client.id.into(),
            client.process().into(),
            client.identity.user.as_str().into(),
            client.seen().application.to_string().into(),
            state(&query).into(),
            query.priority.name().into(),
            V::Int(query.started_us),
            millis(query.started.elapsed().as_micros() as u64),
            millis(query.waited_us()),
            read.rows.into(),
            query.expected().into(),
            read.groups.into(),
            read.groups_all.into(),
            query.rows().into(),
            query.memory.now().into(),
            query.memory.peak().into(),
            read.spilled_bytes.into(),
            if seen { query.text.to_string().into() } else { V::Null },
        ]);
    }
    Ok(())
}

fn cursors(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let number = |of: &AtomicU64| of.load(Ordering::Relaxed);
    for client in image.live().activity.clients() {
        let seen = may_see(image, &client.identity.user);
        for cursor in client.cursors() {
            rows.push([
                client.id.into(),
                client.process().into(),
                client.identity.user.as_str().into(),
                cursor.name.as_str().into(),
                cursor.scrolls.into(),
                cursor.held.into(),
                V::Int(cursor.created_us),
                number(&cursor.rows).into(),
                number(&cursor.memory_bytes).into(),
                number(&cursor.spilled_bytes).into(),
                if seen { shown(&cursor.text).into() } else { V::Null },
            ]);
        }
    }
    Ok(())
}

fn slow(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    for query in image.live().activity.slow().all() {
        if may_see(image, &query.user) {
            push_slow(query, rows);
        }
    }
    Ok(())
}

fn push_slow(query: SlowQuery, rows: &mut Rows) {
    rows.push([
        query.id.into(),
        query.process.into(),
        query.user.into(),
        query.application.into(),
        query.priority.name().into(),
        V::Int(query.started_us),
        millis(query.took_us),
        millis(query.waited_us),
        query.rows_scanned.into(),
        query.rows.into(),
        query.memory_peak.into(),
        query.spilled_bytes.into(),
        query.error.into(),
        query.text.into(),
        if query.plan.is_empty() { V::Null } else { query.plan.into() },
    ]);
}
