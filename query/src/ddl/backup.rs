//! BACKUP: backups of the running database, for superusers.

use tsdb::backup::{Event, EventKind, Progress};

use crate::Outcome;
use crate::error::{QueryError, QueryResult};
use crate::session::{Session, in_block};
use crate::statement::backup::Backup;

/// Runs it.
pub(super) async fn run(session: &Session, backup: &Backup) -> QueryResult<Outcome> {
    if !session.identity().superuser {
        return Err(QueryError::denied("only superusers may take backups"));
    }
    if session.in_block() {
        return Err(in_block("BACKUP"));
    }
    let engine = session.engine().clone();
    match backup.clone() {
        Backup::Take { url, full } => {
            let mut stop = session.stop();
            let looked = stop.clone();
            // The backup ends when it is next asked; its client need not wait for that.
            let work = session.blocking(move || {
                let asked = |_: &Progress| match looked.check() {
                    Ok(()) => Ok(()),
                    Err(error) => Err(tsdb::Error::Unavailable(error.message)),
                };
                Ok(engine.db().backup(&url, full, asked)?)
            });
            stop.guard(work).await?;
        }
        Backup::Drilled { url, figures, failed } => {
            let event = drilled(&url, &figures, failed.as_deref())?;
            session
                .blocking(move || {
                    engine.db().note_backup_event(&event);
                    Ok(())
                })
                .await?;
        }
    }
    Ok(Outcome::Done { tag: "BACKUP".to_string() })
}

/// The event that a drill tells: `name=number` separated by blanks.
fn drilled(url: &str, figures: &str, failed: Option<&str>) -> QueryResult<Event> {
    let wrong = |what: &str| {
        let message = format!("\"{what}\" is no figure of a drill");
        QueryError::new("22023", message)
    };
    let mut event = Event::new(EventKind::Drill, url, 0);
    event.error = failed.unwrap_or_default().to_string();
    for figure in figures.split_whitespace() {
        let Some((name, value)) = figure.split_once('=') else { return Err(wrong(figure)) };
        let whole = || value.parse::<u64>().map_err(|_| wrong(figure));
        let time = || value.parse::<i64>().map_err(|_| wrong(figure));
        let seconds = || match value.parse::<f64>() {
            Ok(seconds) if seconds.is_finite() => Ok(seconds),
            _ => Err(wrong(figure)),
        };
        match name {
            "started" => event.started = time()?,
            "finished" => event.finished = time()?,
            "time" => event.time = time()?,
            "number" => event.number = whole()?,
            "position" => event.position = whole()?,
            "files" => event.files = whole()?,
            "bytes" => event.bytes = whole()?,
            "rto" => event.rto_seconds = seconds()?,
            "rpo" => event.rpo_seconds = seconds()?,
            _ => return Err(wrong(figure)),
        }
    }
    event.finished = event.finished.max(event.started);
    Ok(event)
}
