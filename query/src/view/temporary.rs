//! Temporary views: of one session, hidden from others, gone when it ends.
//!
//! A temporary view hides what lasts under its name, from the statements of its session but not
//! from views. What it reads itself is what its names meant when it was made: of temporary things it
//! keeps the numbers, all else lasts. What a process leaves behind goes at the next start.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::logical_expr::TableSource;
use datafusion::sql::sqlparser::ast::ObjectName;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tsdb::{Command, Snapshot};

use super::{Open, Scope, View, ViewCache, Views, define};
use crate::comment::{self, Relation};
use crate::engine::Engine;
use crate::error::{QueryError, QueryResult};
use crate::insert::table_name;
use crate::plan::PlanContext;
use crate::session::Session;
use crate::{relational, rights};

/// Temporary views of a session.
const VIEWS_MAX: usize = 100;
/// Sessions whose sight is kept; above it all are dropped and made anew.
const SEEN_MAX: usize = 1_000;

/// What a temporary view is besides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Temporary {
    /// Number of its session, never used again.
    pub(crate) session: u64,
    /// Numbers of the temporary views that it names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    views: Vec<u32>,
}

/// What is temporary of what a view under definition names.
#[derive(Debug, Default)]
pub(super) struct Used {
    pub(super) any: bool,
    views: Vec<u32>,
}

impl Used {
    /// What the view is then, if it is temporary: as it was asked for, or since it must be.
    pub(super) fn of_view(self, asked: bool, session: u64) -> Option<Temporary> {
        (asked || self.any).then_some(Temporary { session, views: self.views })
    }
}

/// Views as sessions see them, where there are temporary ones.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Whether this process has made a temporary view.
    any: AtomicBool,
    kept: Mutex<HashMap<u64, Arc<Views>>>,
}

impl ViewCache {
    /// The views of a snapshot that a session sees: those of all, and its own temporary ones.
    ///
    /// # Errors
    /// `XX001` for rows that cannot be read.
    pub(crate) fn seen(&self, snapshot: &Snapshot, session: u64) -> QueryResult<Arc<Views>> {
        let all = self.of(snapshot)?;
        if !all.with_temporary {
            return Ok(all);
        }
        let mut kept = self.seen.kept.lock();
        if let Some(found) = kept.get(&session)
            && found.meta == all.meta
        {
            return Ok(found.clone());
        }
        if kept.len() >= SEEN_MAX {
            kept.clear();
        }
        let made = Arc::new(all.seen_by(session));
        kept.insert(session, made.clone());
        Ok(made)
    }

    /// One is made.
    pub(crate) fn note_temporary(&self) {
        self.seen.any.store(true, Ordering::Relaxed);
    }

    /// Whether there may be temporary views of sessions that are alive.
    pub(crate) fn any_temporary(&self) -> bool {
        self.seen.any.load(Ordering::Relaxed)
    }
}

impl Views {
    pub(super) fn new(
        revision: u64,
        next: u32,
        meta: Option<Vec<u8>>,
        list: Vec<Arc<View>>,
    ) -> Views {
        let with_temporary = list.iter().any(|view| view.temporary.is_some());
        Views { revision, meta, next, list, with_temporary }
    }

    fn seen_by(&self, session: u64) -> Views {
        let seen =
            |view: &&Arc<View>| view.temporary.as_ref().is_none_or(|of| of.session == session);
        let list = self.list.iter().filter(seen).cloned().collect();
        Views::new(self.revision, self.next, self.meta.clone(), list)
    }

    /// The session's own temporary view of that name.
    pub(crate) fn find_temporary(&self, name: &str) -> Option<&Arc<View>> {
        if !self.with_temporary {
            return None;
        }
        self.list.iter().find(|view| view.temporary.is_some() && view.name == name)
    }
}

impl Scope {
    /// Whether a temporary view is what is meant where its name is met; a definition takes note.
    fn sees_view(&self, number: u32) -> bool {
        match self.open.lock().last() {
            None => true,
            // A policy means the same for all sessions.
            Some(Open { policy: Some(_), .. }) => false,
            Some(Open { view: None, .. }) => {
                let mut used = self.temporary.lock();
                used.any = true;
                if !used.views.contains(&number) {
                    used.views.push(number);
                }
                true
            }
            Some(Open { view: Some(outer), .. }) => {
                outer.temporary.as_ref().is_some_and(|of| of.views.contains(&number))
            }
        }
    }

    /// The same of a temporary table.
    pub(crate) fn sees_temporary_table(&self, number: u32) -> bool {
        match self.open.lock().last() {
            None => true,
            Some(Open { policy: Some(_), .. }) => false,
            Some(Open { view: None, .. }) => {
                self.temporary.lock().any = true;
                true
            }
            Some(Open { view: Some(outer), .. }) => {
                outer.temporary.is_some() && outer.relations.iter().any(|of| of.table == number)
            }
        }
    }
}

impl PlanContext {
    /// The temporary view of that name, bound; `None` if there is none.
    pub(crate) fn temporary_view(&self, name: &str) -> QueryResult<Option<Arc<dyn TableSource>>> {
        if !self.engine.views().any_temporary() {
            return Ok(None);
        }
        let views = self.views()?;
        match views.find_temporary(name).filter(|view| self.scope.sees_view(view.number)) {
            Some(view) => self.bind_named(&views, view),
            None => Ok(None),
        }
    }

    /// Whether a temporary view hides what else has the name.
    pub(crate) fn is_hidden(&self, name: &str) -> bool {
        self.engine.views().any_temporary()
            && self.views().is_ok_and(|views| views.find_temporary(name).is_some())
    }

    /// Revision of the views, if a plan that is bound now depends on it: since it reads one, or since
    /// a temporary one may come to hide a table.
    pub(crate) fn views_used(&self) -> Option<u64> {
        let any = self.engine.views().any_temporary();
        let now = || self.engine.views().of(&self.snapshot).ok().map(|views| views.revision);
        self.scope.used().or_else(|| any.then(now).flatten())
    }
}

/// `42809` where a temporary view hides the table that a statement is about.
pub(crate) fn refuse_hidden(session: &Session, name: &str) -> QueryResult<()> {
    if session.engine().views().any_temporary() && session.views()?.find_temporary(name).is_some() {
        let message = format!("\"{name}\" is a view: a temporary one hides what else has the name");
        return Err(QueryError::new("42809", message).with_hint("DROP VIEW to see it again."));
    }
    Ok(())
}

/// Rights to make one.
pub(super) fn may_make(session: &Session) -> QueryResult<()> {
    relational::may_make_temporary(session, "CREATE TEMPORARY VIEW")
}

/// `54000` for a session with too many.
pub(super) fn check_count(views: &Views) -> QueryResult<()> {
    let own = views.list.iter().filter(|view| view.temporary.is_some()).count();
    if own < VIEWS_MAX {
        return Ok(());
    }
    let message = format!("a session may have {VIEWS_MAX} temporary views");
    Err(QueryError::new("54000", message))
}

/// Rights to drop views: one's own temporary ones as to make them.
pub(super) fn may_drop(session: &Session, names: &[ObjectName], verb: &str) -> QueryResult<()> {
    let views = session.views()?;
    let own = |name: &ObjectName| {
        table_name(name).is_ok_and(|name| views.find_temporary(&name).is_some())
    };
    match names.iter().all(own) {
        true => relational::may_make_temporary(session, verb),
        false => {
            names.iter().try_for_each(|name| rights::may_alter(session, verb, &table_name(name)?))
        }
    }
}

/// Rights to rename a view.
pub(super) fn may_rename(session: &Session, name: &str, verb: &str) -> QueryResult<()> {
    match session.views()?.find_temporary(name) {
        Some(_) => relational::may_make_temporary(session, verb),
        None => rights::may_alter(session, verb, name),
    }
}

/// The commands that drop the temporary views of a session; `None`: of all.
pub(crate) fn drop_of_sessions(
    engine: &Engine,
    snapshot: &Snapshot,
    session: Option<u64>,
) -> QueryResult<Vec<Command>> {
    let views = engine.views().of(snapshot)?;
    let of = |view: &&Arc<View>| {
        let of = view.temporary.as_ref();
        of.is_some_and(|of| session.is_none_or(|session| of.session == session))
    };
    let gone: Vec<Arc<View>> = views.list.iter().filter(of).cloned().collect();
    let relations: Vec<Relation> = gone.iter().map(|view| Relation::View(view.number)).collect();
    let mut commands = define::drop_commands(snapshot, &views, &gone)?;
    commands.extend(comment::forget(snapshot, &relations, &[])?);
    Ok(commands)
}
