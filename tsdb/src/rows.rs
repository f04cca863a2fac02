//! The row store: management and catalogue rows in one transactional file (redb).
//!
//! Invariants
//! - Rows change only by [`RowStore::apply`] and [`RowStore::apply_many`], which the applier of
//!   the log calls in order of position; the position goes into the same transaction as the rows.
//! - Commits are not synced. What a crash loses, the log from [`RowStore::durable_position`] on
//!   brings back; [`RowStore::checkpoint`] moves that position up.
//! - After a failed write the store is read-only with the cause, until it is opened anew. Want of
//!   room is no exception, so the engine asks for room before it writes here.
//!
//! Lock order: `state`, then the cause. Readers hold no lock after [`RowStore::snapshot`].

mod applier;
mod backend;
mod checked;
mod command;
mod condition;
mod copy;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::Mutex;
use redb::{
    Database, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable, Table, TableDefinition,
    WriteTransaction,
};

pub use applier::Applier;
pub use command::{
    ROW_COMMAND_ITEMS_MAX, ROW_KEY_BYTES_MAX, ROW_VALUE_BYTES_MAX, RowChange, RowCommand, RowExpect,
};
pub(crate) use condition::Seen;
pub use condition::{RowConditions, RowCount};

use crate::error::{Error, Result};
use crate::io::{File, Storage};
use backend::{Backend, Cause, RedbError};

/// Rows: space (big-endian, so that a space lies together) and key to value.
const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");
/// Numbers about the store.
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// In `META`: position in the log of the last command that the rows hold.
const POSITION: &str = "position";
/// In `META`: bits of the commit time, ns, of a commit at or before that position or a little
/// behind it. Later commits get later times, whatever the clock says then.
const COMMIT_TIME: &str = "commit_time";

/// redb's cache. Management rows are few; all of them are warm at this size.
const CACHE_BYTES: usize = 32 << 20;
/// Up to this size each page's checksum is looked at on opening, which takes well under a second.
/// Beyond, a start must not wait for a walk over the file.
const CHECK_BYTES_MAX: u64 = 64 << 20;

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowOutcome {
    /// Its changes are in the store.
    Applied,
    /// Nothing changed: this row is not what the command expects.
    Refused {
        /// Space of the row.
        space: u16,
        /// Key of the row.
        key: Vec<u8>,
    },
}

/// A store of rows in one file.
pub struct RowStore {
    cause: Cause,
    state: Mutex<State>,
}

struct State {
    /// `None` once the store is closed: redb writes to the file when it lets go of it.
    database: Option<Database>,
    /// Position up to which commands are in the store (or were none of its).
    applied: u64,
    /// Position that survives a crash.
    durable: u64,
    /// Newest commit time that was told; `i64::MIN` before the first.
    commit_time: i64,
}

/// The rows at one moment; later changes do not show. Cheap to clone.
#[derive(Clone)]
pub struct RowSnapshot(Arc<SnapshotRows>);

struct SnapshotRows {
    rows: ReadOnlyTable<&'static [u8], &'static [u8]>,
    position: u64,
}

/// Key and value of rows, in order of key.
pub type RowList = Vec<(Vec<u8>, Vec<u8>)>;

impl fmt::Debug for RowStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        let mut out = f.debug_struct("RowStore");
        out.field("applied", &state.applied).field("durable", &state.durable);
        out.finish_non_exhaustive()
    }
}

impl fmt::Debug for RowSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowSnapshot").field("position", &self.0.position).finish_non_exhaustive()
    }
}

impl RowStore {
    /// Opens the store of a folder, made if it is not there. It is made under another name and
    /// renamed when it is whole, so that a crash leaves no half of one.
    ///
    /// # Errors
    /// As [`RowStore::open`].
    pub fn open_in(storage: &dyn Storage, folder: &str, name: &str) -> Result<RowStore> {
        let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        let failed = |error| Error::io(format_args!("row store {path}"), &error);
        if storage.exists(&path).map_err(failed)? {
            return RowStore::open(storage.open(&path).map_err(failed)?);
        }
        let new = format!("{path}.new");
        if storage.exists(&new).map_err(failed)? {
            storage.remove(&new).map_err(failed)?;
        }
        let store = RowStore::open(storage.create(&new).map_err(failed)?)?;
        storage.rename(&new, &path).map_err(failed)?;
        storage.sync_dir(folder).map_err(failed)?;
        Ok(store)
    }

    /// Opens the store in a file; in an empty file it is made, and durable on return. A crash
    /// while it is made leaves a file that does not open: use [`RowStore::open_in`], or make it
    /// under a name of passage.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the file is not a row store or damaged, [`Error::Io`] or
    /// [`Error::Full`] when the file fails.
    pub fn open(file: Arc<dyn File>) -> Result<RowStore> {
        contained(|| RowStore::open_uncontained(file))
    }

    fn open_uncontained(file: Arc<dyn File>) -> Result<RowStore> {
        let doing = "opening the row store";
        let len = file.len().map_err(|error| Error::io(doing, &error))?;
        let cause = Cause::default();
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .set_check_integrity_on_open(len > 0 && len <= CHECK_BYTES_MAX)
            .create_with_backend(Backend::new(file, cause.clone()))
            .map_err(RedbError::from)?;
        let (position, commit_time) = match read_meta(&database)? {
            Some(found) => found,
            None => {
                make_tables(&database)?;
                (0, i64::MIN)
            }
        };
        let database = Some(database);
        let state = State { database, applied: position, durable: position, commit_time };
        let state = Mutex::new(state);
        Ok(RowStore { cause, state })
    }

    /// Lets go of the file: nothing touches it on return. Snapshots may answer
    /// [`Error::Closed`] from now on, the store does.
    pub fn close(&self) {
        let database = self.state.lock().database.take();
        // What could be lost here, the log has.
        let dropped = contained(|| {
            drop(database);
            Ok(())
        });
        if let Err(error) = dropped {
            tracing::error!(%error, "closing the row store");
        }
    }

    /// Applies one command at a position of the log. At or below the applied position nothing
    /// happens and the outcome is `Applied`: the command took effect, or was refused, before.
    ///
    /// # Errors
    /// As [`RowStore::apply_many`].
    pub fn apply(&self, position: u64, command: &RowCommand) -> Result<RowOutcome> {
        let outcomes = self.apply_many(position, &[command])?;
        Ok(outcomes.into_iter().next().unwrap_or(RowOutcome::Applied))
    }

    /// Applies the commands of one record of the log in order, in one transaction. A command that
    /// is refused changes nothing; the others stand. Without commands only the position moves,
    /// which costs nothing: so the store follows the records that are none of its.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a command over the limits, when nothing is applied; [`Error::Io`]
    /// when the file fails, full disks included, and [`Error::ReadOnly`] ever after.
    pub fn apply_many(&self, position: u64, commands: &[&RowCommand]) -> Result<Vec<RowOutcome>> {
        let mut state = self.state.lock();
        self.check_writable()?;
        commands.iter().try_for_each(|command| command.check())?;
        if position <= state.applied {
            return Ok(vec![RowOutcome::Applied; commands.len()]);
        }
        let outcomes = if commands.is_empty() {
            Vec::new()
        } else {
            let database = state.database.as_ref().ok_or(Error::Closed)?;
            self.guarded(|| write(database, position, commands))?
        };
        state.applied = position;
        Ok(outcomes)
    }

    /// Notes when the newest commit was made, ns; the next checkpoint keeps it.
    pub fn note_commit_time(&self, time: i64) {
        let mut state = self.state.lock();
        state.commit_time = state.commit_time.max(time);
    }

    /// The newest commit time that was noted, or kept by an earlier checkpoint, ns; `i64::MIN`
    /// if there is none.
    pub fn commit_time(&self) -> i64 {
        self.state.lock().commit_time
    }

    /// Position up to which the store has followed the log.
    pub fn applied_position(&self) -> u64 {
        self.state.lock().applied
    }

    /// Position up to which the store holds its rows durably: the log after it must be kept.
    pub fn durable_position(&self) -> u64 {
        self.state.lock().durable
    }

    /// Makes everything applied durable and gives the position. Costs two syncs, or nothing when
    /// the position has not moved.
    ///
    /// # Errors
    /// [`Error::Io`] when the file fails, full disks included, and [`Error::ReadOnly`] ever after.
    pub fn checkpoint(&self) -> Result<u64> {
        let mut state = self.state.lock();
        self.check_writable()?;
        if state.durable < state.applied {
            let database = state.database.as_ref().ok_or(Error::Closed)?;
            self.guarded(|| {
                let mut transaction = database.begin_write().map_err(RedbError::from)?;
                transaction.set_durability(Durability::Immediate).map_err(RedbError::from)?;
                // Keeps the map of free pages with the commit, so that opening after a crash
                // does not walk the whole file.
                transaction.set_quick_repair(true);
                put_position(&transaction, state.applied)?;
                put_commit_time(&transaction, state.commit_time)?;
                Ok(transaction.commit().map_err(RedbError::from)?)
            })?;
            state.durable = state.applied;
        }
        Ok(state.durable)
    }

    /// The rows as they are now.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] after a failed write.
    pub fn snapshot(&self) -> Result<RowSnapshot> {
        // The lock holds position and rows together.
        let state = self.state.lock();
        self.check_writable()?;
        let database = state.database.as_ref().ok_or(Error::Closed)?;
        let rows = self.guarded(|| {
            let transaction = database.begin_read().map_err(RedbError::from)?;
            Ok(transaction.open_table(ROWS).map_err(RedbError::from)?)
        })?;
        Ok(RowSnapshot(Arc::new(SnapshotRows { rows, position: state.applied })))
    }

    fn check_writable(&self) -> Result<()> {
        match self.cause.get() {
            None => Ok(()),
            Some(cause) => Err(Error::ReadOnly(cause)),
        }
    }

    /// Runs a piece of work after whose failure nothing may be trusted any more.
    fn guarded<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        contained(work).map_err(Error::lasting).inspect_err(|error| self.cause.note(error))
    }
}

impl RowSnapshot {
    /// Position in the log that the rows stand at.
    pub fn position(&self) -> u64 {
        self.0.position
    }

    /// Value of a row.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Corrupt`] when the file cannot be read.
    pub fn get(&self, space: u16, key: &[u8]) -> Result<Option<Vec<u8>>> {
        contained(|| {
            let value = self.0.rows.get(&row_key(space, key)[..]).map_err(RedbError::from)?;
            Ok(value.map(|value| value.value().to_vec()))
        })
    }

    /// All rows of a space whose keys begin with `prefix`.
    ///
    /// # Errors
    /// As [`RowSnapshot::get`].
    pub fn scan(&self, space: u16, prefix: &[u8]) -> Result<RowList> {
        let from = row_key(space, prefix);
        let end = end_of_prefix(&from);
        self.range(&from, end.as_deref(), usize::MAX)
    }

    /// Up to `limit` rows of a space, from `from_key` (which belongs to them) on.
    ///
    /// # Errors
    /// As [`RowSnapshot::get`].
    pub fn scan_from(&self, space: u16, from_key: &[u8], limit: usize) -> Result<RowList> {
        let end = end_of_prefix(&row_key(space, &[]));
        self.range(&row_key(space, from_key), end.as_deref(), limit)
    }

    /// Hands the rows of a space between two keys to `take`, in order of key or from the end on,
    /// until it says false. Open ends stay in the space.
    ///
    /// # Errors
    /// As [`RowSnapshot::get`].
    pub fn visit(
        &self,
        space: u16,
        (from, to): (Bound<&[u8]>, Bound<&[u8]>),
        backwards: bool,
        mut take: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<()> {
        let first = row_key(space, &[]);
        let last = end_of_prefix(&first);
        let whole = |bound: Bound<&[u8]>| bound.map(|key| row_key(space, key));
        let (from, to) = (whole(from), whole(to));
        let from = match &from {
            Bound::Unbounded => Bound::Included(&first[..]),
            bound => bound.as_ref().map(|key| &key[..]),
        };
        let to = match (&to, &last) {
            (Bound::Unbounded, Some(last)) => Bound::Excluded(&last[..]),
            (bound, _) => bound.as_ref().map(|key| &key[..]),
        };
        if is_empty_range(from, to) {
            return Ok(());
        }
        contained(|| {
            let mut rows = self.0.rows.range::<&[u8]>((from, to)).map_err(RedbError::from)?;
            while let Some(row) = if backwards { rows.next_back() } else { rows.next() } {
                let (key, value) = row.map_err(RedbError::from)?;
                let Some((_, key)) = key.value().split_first_chunk::<2>() else {
                    return Err(Error::Corrupt("row store: a key without a space".to_owned()));
                };
                if !take(key, value.value()) {
                    break;
                }
            }
            Ok(())
        })
    }

    fn range(&self, from: &[u8], end: Option<&[u8]>, limit: usize) -> Result<RowList> {
        contained(|| self.range_uncontained(from, end, limit))
    }

    fn range_uncontained(&self, from: &[u8], end: Option<&[u8]>, limit: usize) -> Result<RowList> {
        let range = (Bound::Included(from), end.map_or(Bound::Unbounded, Bound::Excluded));
        let mut found = Vec::new();
        for row in self.0.rows.range::<&[u8]>(range).map_err(RedbError::from)?.take(limit) {
            let (key, value) = row.map_err(RedbError::from)?;
            let Some((_, key)) = key.value().split_first_chunk::<2>() else {
                return Err(Error::Corrupt("row store: a key without a space".to_owned()));
            };
            found.push((key.to_vec(), value.value().to_vec()));
        }
        Ok(found)
    }
}

/// Whether no key lies between two bounds; a tree would panic of bounds that cross.
fn is_empty_range(from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
    match (from, to) {
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (
            Bound::Included(from) | Bound::Excluded(from),
            Bound::Included(to) | Bound::Excluded(to),
        ) => from >= to,
        _ => false,
    }
}

/// Runs work of redb's. It checks the pages of a file when it opens it, and takes for granted what
/// it reads later: of a page that was read wrong it panics. That is damage, told as such.
fn contained<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(Error::Corrupt("row store: a page was read that cannot be one of its own".to_owned()))
    })
}

fn write(database: &Database, position: u64, commands: &[&RowCommand]) -> Result<Vec<RowOutcome>> {
    let mut transaction = database.begin_write().map_err(RedbError::from)?;
    transaction.set_durability(Durability::None).map_err(RedbError::from)?;
    let mut outcomes = Vec::with_capacity(commands.len());
    {
        let mut rows = transaction.open_table(ROWS).map_err(RedbError::from)?;
        for command in commands {
            outcomes.push(apply_one(&mut rows, command)?);
        }
    }
    put_position(&transaction, position)?;
    transaction.commit().map_err(RedbError::from)?;
    Ok(outcomes)
}

fn apply_one(rows: &mut Table<'_, &[u8], &[u8]>, command: &RowCommand) -> Result<RowOutcome> {
    for expect in &command.expects {
        let key = row_key(expect.space, &expect.key);
        let value = rows.get(&key[..]).map_err(RedbError::from)?;
        if value.as_ref().map(|value| value.value()) != expect.value.as_deref() {
            return Ok(RowOutcome::Refused { space: expect.space, key: expect.key.clone() });
        }
    }
    for change in &command.changes {
        match change {
            RowChange::Put { space, key, value } => {
                rows.insert(&row_key(*space, key)[..], &value[..]).map_err(RedbError::from)?;
            }
            RowChange::Delete { space, key } => {
                rows.remove(&row_key(*space, key)[..]).map_err(RedbError::from)?;
            }
            RowChange::DeletePrefix { space, prefix } => {
                let from = row_key(*space, prefix);
                let end = end_of_prefix(&from);
                let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
                rows.retain_in::<&[u8], _>((Bound::Included(&from[..]), to), |_, _| false)
                    .map_err(RedbError::from)?;
            }
        }
    }
    Ok(RowOutcome::Applied)
}

/// Position and commit time that the file holds; `None` in a file that was just made.
fn read_meta(database: &Database) -> Result<Option<(u64, i64)>> {
    let transaction = database.begin_read().map_err(RedbError::from)?;
    let meta = match transaction.open_table(META) {
        Ok(meta) => meta,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(RedbError::from(error).into()),
    };
    let position = meta.get(POSITION).map_err(RedbError::from)?;
    let time = meta.get(COMMIT_TIME).map_err(RedbError::from)?;
    let time = time.map_or(i64::MIN, |time| time.value() as i64);
    match position {
        Some(position) => Ok(Some((position.value(), time))),
        None => Err(Error::Corrupt("row store: without a position".to_owned())),
    }
}

fn make_tables(database: &Database) -> Result<()> {
    let mut transaction = database.begin_write().map_err(RedbError::from)?;
    transaction.set_quick_repair(true);
    transaction.open_table(ROWS).map_err(RedbError::from)?;
    put_position(&transaction, 0)?;
    Ok(transaction.commit().map_err(RedbError::from)?)
}

fn put_position(transaction: &WriteTransaction, position: u64) -> Result<()> {
    let mut meta = transaction.open_table(META).map_err(RedbError::from)?;
    meta.insert(POSITION, position).map_err(RedbError::from)?;
    Ok(())
}

fn put_commit_time(transaction: &WriteTransaction, time: i64) -> Result<()> {
    let mut meta = transaction.open_table(META).map_err(RedbError::from)?;
    meta.insert(COMMIT_TIME, time as u64).map_err(RedbError::from)?;
    Ok(())
}

pub(crate) fn row_key(space: u16, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(key.len() + 2);
    bytes.extend_from_slice(&space.to_be_bytes());
    bytes.extend_from_slice(key);
    bytes
}

/// The first key after all that begin with `prefix`; `None` if there is no such key.
pub(crate) fn end_of_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}
