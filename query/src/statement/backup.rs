//! The grammar of BACKUP:
//! `BACKUP [FULL] TO 'url'`, and what `millrace drill` tells the server:
//! `BACKUP DRILLED FROM 'url' WITH 'name=value …' [FAILED 'why']`.

use super::Kind;
use super::words::Words;
use crate::error::QueryResult;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Backup {
    /// A backup is taken.
    Take {
        /// The store.
        url: String,
        /// Whether everything is copied anew.
        full: bool,
    },
    /// A drill elsewhere is noted.
    Drilled {
        /// The store.
        url: String,
        /// Figures, `name=value` separated by blanks.
        figures: String,
        /// Why it failed, if it did.
        failed: Option<String>,
    },
}

pub(super) fn parse(words: &mut Words<'_>) -> QueryResult<Kind> {
    words.take("BACKUP");
    if words.take("DRILLED") {
        if !words.take("FROM") {
            return Err(words.unexpected());
        }
        let url = words.text()?;
        if !words.take("WITH") {
            return Err(words.unexpected());
        }
        let figures = words.text()?;
        let failed = if words.take("FAILED") { Some(words.text()?) } else { None };
        return Ok(Kind::Backup(Backup::Drilled { url, figures, failed }));
    }
    let full = words.take("FULL");
    if !words.take("TO") {
        return Err(words.unexpected());
    }
    Ok(Kind::Backup(Backup::Take { url: words.text()?, full }))
}
