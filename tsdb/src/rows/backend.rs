//! redb's storage over a [`File`] of ours, and redb's errors as ours.

use std::fmt;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use redb::{CommitError, DatabaseError, SetDurabilityError, StorageBackend, StorageError};
use redb::{TableError, TransactionError};

use super::checked::Checked;
use crate::error::Error;
use crate::io::File;

/// The first failure of the file under a row store, as text. redb itself only says "previous I/O
/// error" after it.
#[derive(Clone, Debug, Default)]
pub(super) struct Cause(Arc<Mutex<Option<String>>>);

impl Cause {
    /// The first failure, if there was one.
    pub fn get(&self) -> Option<String> {
        self.0.lock().clone()
    }

    /// Notes a failure; only the first counts.
    pub fn note(&self, failure: impl fmt::Display) {
        self.0.lock().get_or_insert_with(|| failure.to_string());
    }
}

/// One file as redb sees it.
#[derive(Debug)]
pub(super) struct Backend {
    file: Checked,
    cause: Cause,
}

impl Backend {
    pub fn new(file: Arc<dyn File>, cause: Cause) -> Backend {
        Backend { file: Checked::new(file), cause }
    }

    fn noted<T>(&self, doing: &str, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| self.cause.note(format_args!("{doing} the row store: {error}")))
    }
}

/// Locking is left out: the lock of the whole folder is the engine's.
impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.noted("measuring", self.file.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.noted("reading", self.file.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.noted("growing", self.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.noted("syncing", self.file.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.noted("writing", self.file.write(offset, data))
    }
}

/// redb's errors in one type, so that `?` works.
#[derive(Debug)]
pub(super) struct RedbError(Error);

impl From<RedbError> for Error {
    fn from(error: RedbError) -> Error {
        error.0
    }
}

impl From<StorageError> for RedbError {
    fn from(error: StorageError) -> RedbError {
        RedbError(match error {
            StorageError::Io(error) => Error::io("row store", &error),
            StorageError::Corrupted(why) => Error::Corrupt(format!("row store: {why}")),
            StorageError::ValueTooLarge(len) => {
                Error::Invalid(format!("a row of {len} bytes is too large"))
            }
            StorageError::DatabaseClosed => Error::Closed,
            // PreviousIo and a poisoned lock: the cause was told when it happened.
            other => Error::ReadOnly(format!("row store: {other}")),
        })
    }
}

impl From<TableError> for RedbError {
    fn from(error: TableError) -> RedbError {
        match error {
            TableError::Storage(error) => error.into(),
            other => RedbError(Error::Corrupt(format!("row store: {other}"))),
        }
    }
}

impl From<TransactionError> for RedbError {
    fn from(error: TransactionError) -> RedbError {
        match error {
            TransactionError::Storage(error) => error.into(),
            other => RedbError(Error::ReadOnly(format!("row store: {other}"))),
        }
    }
}

impl From<CommitError> for RedbError {
    fn from(error: CommitError) -> RedbError {
        match error {
            CommitError::Storage(error) => error.into(),
            other => RedbError(Error::ReadOnly(format!("row store: {other}"))),
        }
    }
}

impl From<SetDurabilityError> for RedbError {
    fn from(error: SetDurabilityError) -> RedbError {
        RedbError(Error::Io(format!("row store: {error}")))
    }
}

impl From<DatabaseError> for RedbError {
    fn from(error: DatabaseError) -> RedbError {
        match error {
            DatabaseError::Storage(error) => error.into(),
            DatabaseError::UpgradeRequired(version) => RedbError(Error::Corrupt(format!(
                "row store: file format {version} is older than this program reads"
            ))),
            other => RedbError(Error::Io(format!("row store: {other}"))),
        }
    }
}
