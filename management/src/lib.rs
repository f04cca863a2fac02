//! Who may do what: users, their secrets, log-in and tokens, kept as rows of the row store.
//!
//! Start at [`Users`]. `README.md` of this crate describes the rows byte by byte and the rules
//! that hold between them.

mod directory;
mod gate;
mod options;
mod rows;
mod scram;
mod secret;
mod store;
mod throttle;
mod users;
mod verified;

pub use options::UsersOptions;
pub use scram::ScramExchange;
pub use store::RowStore;
pub use users::{Standing, Users};

use query::QueryError;

/// Why a log-in failed. The client is told the same words for each; the reason is for the log
/// and never holds a secret.
#[derive(Clone, Debug)]
pub struct LoginFailed {
    /// What happened, for the operator.
    pub reason_for_log: String,
}

impl LoginFailed {
    fn new(reason: impl Into<String>) -> LoginFailed {
        LoginFailed { reason_for_log: reason.into() }
    }
}

impl std::fmt::Display for LoginFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason_for_log)
    }
}

impl std::error::Error for LoginFailed {}

/// An error with its SQLSTATE and nothing else.
fn refuse(code: &'static str, message: impl Into<String>) -> QueryError {
    QueryError { code, message: message.into(), detail: None, hint: None, position: None }
}

/// What a client of SQL is told of an error of the engine.
fn from_engine(error: tsdb::Error) -> QueryError {
    let code = match &error {
        tsdb::Error::Invalid(_) => "22023",
        tsdb::Error::NotFound(_) => "42704",
        tsdb::Error::Exists(_) => "42710",
        tsdb::Error::TypeMismatch(_) => "42804",
        tsdb::Error::Conflict { .. } => "40001",
        tsdb::Error::Corrupt(_) => "XX001",
        tsdb::Error::Full(_) => "53100",
        tsdb::Error::ReadOnly(_) => "25006",
        tsdb::Error::Newer(_) => "58P01",
        tsdb::Error::Closed => "57P01",
        tsdb::Error::Locked(_) => "55006",
        tsdb::Error::Io(_) | tsdb::Error::Unavailable(_) => "58030",
    };
    refuse(code, error.to_string())
}
