//! `sys.backups` and `sys.jobs`: what became of backups, and what works on them.

use super::jobs::refreshes;
use super::rows::{Rows, V};
use super::sys::micros;
use super::{Def, Image, T};
use crate::error::QueryResult;

pub(super) const DEFS: &[Def] = &[
    Def {
        schema: "sys",
        name: "backups",
        columns: &[
            ("kind", T::Text),
            ("url", T::Text),
            ("number", T::Int8),
            ("started", T::Time),
            ("finished", T::Time),
            ("seconds", T::Float8),
            ("succeeded", T::Bool),
            ("error", T::Text),
            ("position", T::Int8),
            ("time", T::Time),
            ("files", T::Int8),
            ("bytes", T::Int8),
            ("copied_files", T::Int8),
            ("copied_bytes", T::Int8),
            ("rto_seconds", T::Float8),
            ("rpo_seconds", T::Float8),
        ],
        fill: backups,
    },
    Def {
        schema: "sys",
        name: "jobs",
        columns: &[
            ("name", T::Text),
            ("url", T::Text),
            ("running", T::Bool),
            ("files", T::Int8),
            ("files_all", T::Int8),
            ("bytes", T::Int8),
            ("bytes_all", T::Int8),
            ("started", T::Time),
            ("finished", T::Time),
            ("error", T::Text),
            ("due", T::Time),
            ("runs", T::Int8),
            ("failures", T::Int8),
            ("relation", T::Text),
            ("every_seconds", T::Float8),
        ],
        fill: jobs,
    },
];

/// A text, or nothing where it is empty.
fn text(text: &str) -> V {
    if text.is_empty() { V::Null } else { text.into() }
}

/// A time, or nothing where there is none.
fn time(ns: i64) -> V {
    if ns == 0 { V::Null } else { micros(ns) }
}

/// A number, or nothing where there is none.
fn number(number: u64) -> V {
    if number == 0 { V::Null } else { number.into() }
}

fn backups(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    for event in image.live().db.backup_events()? {
        let drill = event.kind == tsdb::backup::EventKind::Drill;
        let figure = |seconds: f64| if drill { V::Float(seconds) } else { V::Null };
        rows.push([
            event.kind.name().into(),
            event.url.as_str().into(),
            number(event.number),
            time(event.started),
            time(event.finished),
            V::Float(event.finished.saturating_sub(event.started) as f64 / 1e9),
            event.succeeded().into(),
            text(&event.error),
            number(event.position),
            time(event.time),
            event.files.into(),
            event.bytes.into(),
            event.moved_files.into(),
            event.moved_bytes.into(),
            figure(event.rto_seconds),
            figure(event.rpo_seconds),
        ]);
    }
    Ok(())
}

fn jobs(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    for job in image.live().db.backup_jobs() {
        rows.push([
            job.name.into(),
            text(&job.url),
            job.running.into(),
            job.progress.files.into(),
            job.progress.files_all.into(),
            job.progress.bytes.into(),
            job.progress.bytes_all.into(),
            time(job.started),
            time(job.finished),
            text(&job.error),
            time(job.due),
            job.runs.into(),
            job.failures.into(),
            V::Null,
            V::Null,
        ]);
    }
    refreshes(image, rows);
    Ok(())
}
