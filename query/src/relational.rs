//! Relational tables: rows without a time key, for reference data, as rows of the row store.
//! README.md, "Relational tables", is the text: what they are, how they lie, what transactions
//! promise.

mod access;
mod alter;
pub(crate) mod arrays;
mod conflict;
mod copy;
mod create_as;
pub(crate) mod def;
mod define;
mod delete;
mod expr;
mod fill;
mod index;
mod insert;
mod key;
pub(crate) mod kind;
mod merge;
mod point;
pub(crate) mod provider;
mod rebuild;
mod returning;
mod row;
pub(crate) mod sequence;
mod temporary;
mod truncate;
mod update;
mod view;
mod writer;

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tsdb::Snapshot;
use tsdb::rows::RowSnapshot;

use crate::error::{QueryError, QueryResult};
use crate::rights::security::For;
use crate::rights::{self, Known, Object, acl::Mode};
use crate::session::Session;
use def::{RelationCache, Relations, SPACE_ROWS, TableDef};
use sequence::Sequences;

pub(crate) use alter::{alter, drop_tables};
pub(crate) use copy::CopyRows;
pub(crate) use create_as::{CreateAs, create_as, kind_of};
pub(crate) use define::{create, is_relational, is_storage_setting};
pub(crate) use delete::{delete, describe_change};
pub(crate) use fill::Filler;
pub(crate) use index::{create_index, drop_index};
pub(crate) use insert::{describe as describe_insert, insert};
pub(crate) use merge::{merge, merge_query};
pub(crate) use point::{PointRows, recognise};
pub(crate) use provider::{KEY, RelationTable};
pub(crate) use temporary::{
    drop_all, drop_leftovers, drop_of_session, may_make_temporary, temporary_table,
};
pub(crate) use truncate::truncate;
pub(crate) use update::update;
pub(crate) use view::{Pending, View};

/// Rows that are counted to know about how many a table has; beyond, it is large.
const COUNTED_MAX: u64 = 100_000;

/// Tables that a database may have: all definitions are held in memory.
pub(crate) const TABLES_MAX: usize = 10_000;
/// Sequences that a database may have, those of columns among them.
pub(crate) const SEQUENCES_MAX: usize = 100_000;
/// Columns of a table, as in Postgres.
pub(crate) const COLUMNS_MAX: usize = 1_600;
/// Indexes, checks and foreign keys of a table.
pub(crate) const CONSTRAINTS_MAX: usize = 256;
/// Columns of a key or index, as in Postgres.
pub(crate) const KEY_COLUMNS_MAX: usize = 32;

/// What all sessions share of relational tables.
#[derive(Default)]
pub(crate) struct Relational {
    cache: RelationCache,
    /// Definitions that look at rows hold it for writing, commits of rows for reading: what a new
    /// constraint was found to hold for is what it is made for.
    pub(crate) gate: tokio::sync::RwLock<()>,
    /// Next hidden row number by storage.
    next_rows: Mutex<HashMap<u32, u64>>,
    pub(crate) sequences: Sequences,
    /// About how many rows a storage has.
    rows: Mutex<HashMap<u32, i64>>,
    /// The next session's number; 0 before the first.
    sessions: AtomicU64,
}

impl Relational {
    /// The relational tables of a snapshot that a session sees: those of all, and its own temporary
    /// ones.
    pub(crate) fn seen(&self, snapshot: &Snapshot, session: u64) -> QueryResult<Arc<Relations>> {
        self.cache.seen(snapshot, session)
    }

    /// Those that are of all sessions.
    pub(crate) fn lasting(&self, snapshot: &Snapshot) -> QueryResult<Arc<Relations>> {
        self.cache.seen(snapshot, 0)
    }

    /// The number of a new session: not that of any before, in other processes neither.
    pub(crate) fn next_session(&self) -> u64 {
        let started = tsdb::now_ns().max(1) as u64;
        let _ = self.sessions.compare_exchange(0, started, Ordering::Relaxed, Ordering::Relaxed);
        self.sessions.fetch_add(1, Ordering::Relaxed)
    }

    /// All relational tables of a snapshot.
    pub(crate) fn of(&self, snapshot: &Snapshot) -> QueryResult<Arc<Relations>> {
        self.cache.of(snapshot)
    }

    /// The key of a new row of a table without a primary key: a number never used before in it.
    pub(crate) fn row_number(&self, def: &TableDef, rows: &RowSnapshot) -> QueryResult<Vec<u8>> {
        let mut next = self.next_rows.lock();
        let number = match next.get(&def.storage) {
            Some(number) => *number,
            None => last_number(def, rows)?.wrapping_add(1),
        };
        next.insert(def.storage, number.wrapping_add(1));
        Ok(number.to_be_bytes().to_vec())
    }

    /// About how many rows a table has.
    pub(crate) fn rows_about(&self, def: &TableDef, view: &View) -> u64 {
        if let Some(rows) = self.rows.lock().get(&def.storage) {
            return u64::try_from(*rows).unwrap_or(0);
        }
        let mut count = 0u64;
        let counted = view.visit_prefix(SPACE_ROWS, &def.prefix(), |_, _| {
            count += 1;
            count < COUNTED_MAX
        });
        if counted.is_err() {
            return 0;
        }
        // A table that large is read in parts and by many; how large does not matter.
        let about = if count < COUNTED_MAX { count } else { count * 10 };
        self.rows.lock().insert(def.storage, about as i64);
        about
    }

    /// Notes what a commit has changed.
    pub(crate) fn committed(&self, relations: &Relations, pending: &Pending) {
        let mut rows = self.rows.lock();
        for (table, grown) in &pending.grown {
            if let Some(def) = relations.by_number(*table)
                && let Some(count) = rows.get_mut(&def.storage)
            {
                *count = (*count + grown).max(0);
            }
        }
    }

    /// Forgets what is known of a table whose rows have got other keys.
    pub(crate) fn renumber(&self, storage: u32) {
        self.next_rows.lock().remove(&storage);
        self.forget(storage);
    }

    /// Forgets what is known of a table's rows, as after TRUNCATE.
    pub(crate) fn forget(&self, storage: u32) {
        self.rows.lock().remove(&storage);
    }
}

/// The last number of a table's rows; 0 where there are none.
fn last_number(def: &TableDef, rows: &RowSnapshot) -> QueryResult<u64> {
    let mut last = 0;
    let prefix = def.prefix();
    let end = view::behind(&prefix);
    let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    rows.visit(SPACE_ROWS, (Bound::Included(&prefix), to), true, |key, _| {
        let number = key.get(4..).and_then(|key| key.first_chunk::<8>());
        last = number.map_or(0, |number| u64::from_be_bytes(*number));
        false
    })?;
    Ok(last)
}

/// `42501` and `25006` as for every change of rows; `columns`: those that get values.
pub(crate) fn check_rights(
    session: &Session,
    def: &TableDef,
    verb: &str,
    mode: Mode,
    columns: &[&str],
) -> QueryResult<()> {
    rights::check_change(session, mode, columns, || Known::of_relation(def))?;
    session.check_writable(verb)
}

/// `42501` unless the policies of a table let its session write these rows. `returned`: they come
/// back.
pub(crate) async fn check_written(
    session: &Session,
    def: &TableDef,
    command: For,
    returned: bool,
    rows: &[writer::Row],
) -> QueryResult<()> {
    let object = Object::Relational(def.number);
    let settings = session.settings();
    let batch = || arrays::batch(def, settings.zone(), rows.iter());
    let known = || Known::of_relation(def);
    rights::check_written(session, (command, returned), known, object, batch).await
}

/// The table of a name in the snapshot that the statement sees.
pub(crate) fn find(session: &Session, name: &str) -> QueryResult<Option<Arc<TableDef>>> {
    let snapshot = session.snapshot();
    Ok(session.relations(&snapshot)?.find(name).cloned())
}

/// Whether an error is one that another transaction's commit has caused, and that running the
/// statement again may settle.
pub(crate) fn is_conflict(error: &QueryError) -> bool {
    error.code == "40001"
}

/// Times that a statement alone is run again where others commit in between.
const RETRIES_MAX: u32 = 100;

/// Runs a statement that changes a table until it has ended or failed by itself: see [`again`].
/// Errors tell no values to who may not read them.
pub(crate) async fn settled<T, F>(
    session: &Session,
    name: &str,
    once: impl Fn() -> F,
) -> QueryResult<T>
where
    F: Future<Output = QueryResult<T>>,
{
    let mut tries = 0;
    loop {
        match once().await {
            Err(error) if again(session, &error, &mut tries).await => {}
            Err(error) => return Err(rights::without_values(session, name, error)),
            done => return done,
        }
    }
}

/// Whether to run a statement again after an error: it stands alone, and others were quicker.
/// Waits a little, more each time, so that one of many comes through.
pub(crate) async fn again(session: &Session, error: &QueryError, tries: &mut u32) -> bool {
    if !is_conflict(error) || session.in_any_block() || *tries >= RETRIES_MAX {
        return false;
    }
    *tries += 1;
    if session.stop().check().is_err() {
        return false;
    }
    let wait = std::time::Duration::from_micros(u64::from(*tries) * 200);
    if let Ok(runtime) = session.engine().runtime() {
        // Whoever calls may have no clock.
        let _ = runtime.spawn(async move { tokio::time::sleep(wait).await }).await;
    }
    true
}

#[cfg(test)]
mod tests;
