//! `sys.job_history`, `sys.continuous_aggregates`, and the refreshes in `sys.jobs`: what is stored,
//! when, and how it went.

use super::rows::{Rows, V};
use super::sys::micros;
use super::{Def, Image, T};
use crate::error::QueryResult;
use crate::jobs::{Run, history};
use crate::view::Materialized;
use crate::view::materialized::{State, state, store_name};

pub(super) const HISTORY: Def = Def {
    schema: "sys",
    name: "job_history",
    columns: &[
        ("job", T::Text),
        ("name", T::Text),
        ("start", T::Time),
        ("seconds", T::Float8),
        ("result", T::Text),
        ("error", T::Text),
        ("ranges", T::Int8),
        ("rows", T::Int8),
    ],
    fill: job_history,
};

pub(super) const AGGREGATES: Def = Def {
    schema: "sys",
    name: "continuous_aggregates",
    columns: &[
        ("name", T::Text),
        ("table", T::Text),
        ("over", T::Text),
        ("stored_in", T::Text),
        ("stored_until", T::Time),
        ("kept_before", T::Time),
        ("changed_ranges", T::Int8),
        ("refresh_every_seconds", T::Float8),
        ("refresh_lag_seconds", T::Float8),
    ],
    fill: aggregates,
};

const REFRESH: &str = "refresh";

fn seconds(ns: i64) -> V {
    V::Float(ns as f64 / 1e9)
}

fn result(run: &Run) -> &'static str {
    match (&run.error, run.seconds) {
        (Some(_), _) => "failed",
        (None, Some(_)) => "success",
        (None, None) => "running",
    }
}

/// Rows of `sys.jobs`, one an aggregate.
pub(super) fn refreshes(image: &Image, rows: &mut Rows) {
    for view in &image.views.list {
        let Some(Materialized { refresh_every_ns: every, .. }) = view.materialized else {
            continue;
        };
        let job = image.live().jobs.of(view.number);
        let last = job.runs.back();
        let finished = last.and_then(|run| {
            let took = run.seconds.map(|seconds| (seconds * 1e9) as i64)?;
            Some(micros(run.started.saturating_add(took)))
        });
        rows.push([
            REFRESH.into(),
            V::Null,
            last.is_some_and(|run| run.seconds.is_none()).into(),
            V::Null,
            V::Null,
            V::Null,
            V::Null,
            last.map_or(V::Null, |run| micros(run.started)),
            finished.unwrap_or(V::Null),
            last.and_then(|run| run.error.as_deref()).map_or(V::Null, V::from),
            every.and_then(|every| job.next(every)).map_or(V::Null, micros),
            job.count.into(),
            job.failures.into(),
            view.name.as_str().into(),
            every.map_or(V::Null, seconds),
        ]);
    }
}

fn job_history(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    for view in image.views.list.iter().filter(|view| view.materialized.is_some()) {
        let runs = image.live().jobs.of(view.number).runs;
        let since = runs.front().map_or(i64::MAX, |run| run.started);
        // Of earlier processes, and those that this one has no room for.
        let earlier = history::of(&image.live().snapshot, view.number)?;
        let earlier = earlier.into_iter().filter(|run| run.started < since);
        for run in earlier.chain(runs) {
            rows.push([
                REFRESH.into(),
                view.name.as_str().into(),
                micros(run.started),
                run.seconds.map_or(V::Null, V::Float),
                result(&run).into(),
                run.error.as_deref().map_or(V::Null, V::from),
                run.refreshed.ranges.into(),
                run.refreshed.rows.into(),
            ]);
        }
    }
    Ok(())
}

fn aggregates(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    for view in &image.views.list {
        let Some(materialized) = &view.materialized else { continue };
        let State { done, kept, changed } = state(&image.live().snapshot, &image.views, view)?;
        let table = image.live().snapshot.table_by_id(materialized.root);
        let over = materialized
            .over
            .and_then(|number| image.views.list.iter().find(|view| view.number == number));
        let at = |micros: Option<i64>| micros.map_or(V::Null, V::Int);
        rows.push([
            view.name.as_str().into(),
            table.map_or(V::Null, |table| table.schema().name.as_str().into()),
            over.map_or(V::Null, |view| view.name.as_str().into()),
            store_name(view.number).into(),
            at(done),
            at(kept),
            changed.into(),
            materialized.refresh_every_ns.map_or(V::Null, seconds),
            seconds(materialized.refresh_lag_ns),
        ]);
    }
    Ok(())
}
