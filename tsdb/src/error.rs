//! Errors of the engine, by what can be done about them.

use std::fmt;
use std::io;

/// Result of an engine call.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, sorted by what the caller can do.
#[derive(Clone, Debug)]
pub enum Error {
    /// The request breaks a rule or limit; nothing changed. Mend the request.
    Invalid(String),
    /// What the request names does not exist.
    NotFound(String),
    /// What the request makes exists already.
    Exists(String),
    /// A value's type does not fit its column.
    TypeMismatch(String),
    /// A condition of the commit does not hold: this row has changed meanwhile, or rows of this
    /// prefix. Nothing changed; look again and decide anew.
    Conflict {
        /// Space of the row.
        space: u16,
        /// Its key, or the prefix.
        key: Vec<u8>,
    },
    /// Stored bytes are not what was written: says file, offset and why. Restore or repair.
    Corrupt(String),
    /// A file of a format that a newer version of the program has written: says which. Use that one.
    Newer(String),
    /// No room on the disk or over a memory limit: nothing changed, so it can be tried again when
    /// there is.
    Full(String),
    /// The engine is read-only, with the cause.
    ReadOnly(String),
    /// The engine is closing or closed.
    Closed,
    /// Another process holds the folder.
    Locked(String),
    /// An object store cannot be reached: says which object; try again when it can.
    Unavailable(String),
    /// The operating system refused: says what was tried.
    Io(String),
}

impl Error {
    /// An I/O error with what was being done. "No space left" becomes [`Error::Full`].
    pub fn io(doing: impl fmt::Display, error: &io::Error) -> Error {
        if error.get_ref().is_some_and(|inner| inner.is::<crate::tier::file::Unreachable>()) {
            return Error::Unavailable(format!("{doing}: {error}"));
        }
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Error::Full(format!("{doing}: {error}"))
            }
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                Error::Corrupt(format!("{doing}: {error}"))
            }
            _ => Error::Io(format!("{doing}: {error}")),
        }
    }

    /// A file whose format is newer than any that is known here.
    pub fn newer(file: impl fmt::Display, what: &str, version: u32, newest: u32) -> Error {
        Error::Newer(format!(
            "{file} is a {what} of format {version}; this program knows formats up to {newest}: use \
             a newer millrace"
        ))
    }

    /// The error where more than "nothing changed" has to be said: no room in the middle of
    /// something that cannot be taken back is a failure like any other.
    #[must_use]
    pub(crate) fn lasting(self) -> Error {
        match self {
            Error::Full(why) => Error::Io(why),
            other => other,
        }
    }

    /// A corruption found at `offset` of `file`.
    pub fn corrupt(file: impl fmt::Display, offset: u64, why: impl fmt::Display) -> Error {
        Error::Corrupt(format!("{file} at byte {offset}: {why}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Invalid(why)
            | Error::NotFound(why)
            | Error::Exists(why)
            | Error::TypeMismatch(why)
            | Error::Unavailable(why) => f.write_str(why),
            Error::Conflict { space, .. } => {
                write!(f, "rows of space {space} were changed by another commit")
            }
            Error::Corrupt(why) => write!(f, "corrupt data: {why}"),
            Error::Newer(why) => write!(f, "written by a newer version: {why}"),
            Error::Full(why) => write!(f, "no room: {why}"),
            Error::ReadOnly(why) => write!(f, "the database is read-only: {why}"),
            Error::Closed => f.write_str("the database is closing"),
            Error::Locked(why) => f.write_str(why),
            Error::Io(why) => write!(f, "input/output error: {why}"),
        }
    }
}

impl std::error::Error for Error {}
