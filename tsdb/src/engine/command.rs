//! Changes, their results, and the commit under way.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::{Condvar, Mutex};

use crate::deletes::Selection;
use crate::error::{Error, Result};
use crate::rows::{RowCommand, RowOutcome};
use crate::types::{ColumnId, ColumnType, TableId, TableOptions, WriteBatch};

use super::watch::WatchChange;

/// A new column of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct NewColumn {
    /// Name, unique in the table and other than the time column's.
    pub name: String,
    /// Type.
    pub kind: ColumnType,
    /// Whether the column belongs to the key.
    pub key: bool,
    /// Whether SQL writers refuse nulls.
    pub not_null: bool,
}

/// A new table.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTable {
    /// Name, unique in the database.
    pub name: String,
    /// Name of the time column.
    pub time_name: String,
    /// Columns other than time, in the order SQL shows them.
    pub columns: Vec<NewColumn>,
    /// Settings.
    pub options: TableOptions,
    /// An existing table of that name is fine: its number comes back, nothing changes.
    pub if_not_exists: bool,
}

/// One change. A commit is a list of them: one record of the log, durable and visible together.
/// They apply in order; one that is refused changes nothing and leaves the others standing.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Rows for one table.
    Write(WriteBatch),
    /// Hides rows that are older than the command: of earlier commits and of earlier commands of
    /// the same one.
    Delete {
        /// Table of the rows.
        table: TableId,
        /// The rows.
        selections: Vec<Selection>,
    },
    /// Sets the table's cut: rows before it are hidden for good as by a delete, and those that
    /// come later are dropped on their way in, until the cut is set anew.
    Retain {
        /// Table to cut.
        table: TableId,
        /// First time that stays, ns; `None` takes every row again.
        cut: Option<i64>,
    },
    /// Makes a table.
    CreateTable(NewTable),
    /// Adds columns. A name that is there with the same role and type, or as a float where an
    /// integer is asked for, is fine and gives its number.
    AddColumns {
        /// Table to widen.
        table: TableId,
        /// Columns wanted.
        columns: Vec<NewColumn>,
    },
    /// Changes the type of a field: only to a type that holds every old value.
    WidenColumn {
        /// Table of the column.
        table: TableId,
        /// Field to widen.
        column: ColumnId,
        /// New type.
        kind: ColumnType,
    },
    /// Drops a field; its number is never used again.
    DropColumn {
        /// Table of the column.
        table: TableId,
        /// Field to drop.
        column: ColumnId,
    },
    /// Renames a table.
    RenameTable {
        /// Table to rename.
        table: TableId,
        /// New name.
        name: String,
    },
    /// Renames a column.
    RenameColumn {
        /// Table of the column.
        table: TableId,
        /// Column to rename; `None` for the time column.
        column: Option<ColumnId>,
        /// New name.
        name: String,
    },
    /// Changes the settings of a table.
    SetOptions {
        /// Table to change.
        table: TableId,
        /// All settings, new.
        options: TableOptions,
    },
    /// Drops a table and all its rows; its number is never used again.
    DropTable {
        /// Table to drop.
        table: TableId,
    },
    /// Changes a watch: who wants to know which times of a table have changed.
    Watch {
        /// Table that is watched.
        table: TableId,
        /// Number of the watch.
        number: u32,
        /// What becomes of it.
        change: WatchChange,
    },
    /// Changes management rows.
    Rows(RowCommand),
}

/// What became of one command.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Rows of the record that the table took: after merging equal (series, time), without those
    /// before its cut.
    Written {
        /// Number of rows.
        rows: u64,
    },
    /// The table made or found.
    Table(TableId),
    /// The columns made or found, in the order asked for.
    Columns(Vec<ColumnId>),
    /// Done, nothing to tell.
    Done,
    /// What the row store did.
    Rows(RowOutcome),
}

/// A finished commit.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Position of the record.
    pub position: u64,
    /// When it was made, ns since 1970: later than every commit before it. A restore to this time
    /// has the commit, one to an earlier time has not.
    pub time: i64,
    /// One result a command.
    pub outcomes: Vec<Result<Outcome>>,
}

impl Committed {
    /// The first refusal, if any command was refused.
    ///
    /// # Errors
    /// That refusal.
    pub fn all(self) -> Result<Vec<Outcome>> {
        self.outcomes.into_iter().collect()
    }
}

#[derive(Debug, Default)]
struct Slot {
    result: Option<Result<Committed>>,
    waker: Option<Waker>,
}

/// A commit under way: block on [`Pending::wait`] or await it. Dropping it undoes nothing.
#[derive(Debug)]
pub struct Pending {
    shared: Arc<(Mutex<Slot>, Condvar)>,
}

/// The committer's end of a [`Pending`]; dropped unanswered it tells "closed".
#[derive(Debug)]
pub(crate) struct Promise {
    shared: Arc<(Mutex<Slot>, Condvar)>,
}

pub(crate) fn promise() -> (Promise, Pending) {
    let shared = Arc::new((Mutex::new(Slot::default()), Condvar::new()));
    (Promise { shared: Arc::clone(&shared) }, Pending { shared })
}

impl Promise {
    pub(crate) fn fulfil(self, result: Result<Committed>) {
        self.set(result);
    }

    fn set(&self, result: Result<Committed>) {
        let (slot, condition) = &*self.shared;
        let mut slot = slot.lock();
        if slot.result.is_some() {
            return;
        }
        slot.result = Some(result);
        condition.notify_all();
        if let Some(waker) = slot.waker.take() {
            waker.wake();
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        // A committer that died must not leave a writer waiting for ever. A fulfilled promise
        // has its result taken or set already; `set` leaves that alone.
        if Arc::strong_count(&self.shared) > 1 {
            self.set(Err(Error::Closed));
        }
    }
}

impl Pending {
    /// Waits until the commit is durable and visible.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] or [`Error::Closed`] if it was not made durable.
    pub fn wait(self) -> Result<Committed> {
        let (slot, condition) = &*self.shared;
        let mut slot = slot.lock();
        loop {
            match &slot.result {
                Some(result) => return result.clone(),
                None => condition.wait(&mut slot),
            }
        }
    }
}

impl Future for Pending {
    type Output = Result<Committed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = self.shared.0.lock();
        match &slot.result {
            Some(result) => Poll::Ready(result.clone()),
            None => {
                slot.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
