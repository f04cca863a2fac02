//! What ends a command: words for the person who typed it, and an exit code.

use std::fmt;

/// Result of a command.
pub type Result<T> = std::result::Result<T, Failure>;

/// Why a command ends early.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Exit code: 1 for what went wrong, 2 for a wrong command line or settings.
    pub code: u8,
    message: String,
}

impl Failure {
    /// Something went wrong.
    pub fn new(message: impl Into<String>) -> Failure {
        Failure { code: 1, message: message.into() }
    }

    /// The command line or settings are wrong.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure { code: 2, message: message.into() }
    }

    /// Puts what was being done before the cause.
    pub fn doing(doing: impl fmt::Display, cause: impl fmt::Display) -> Failure {
        Failure::new(format!("{doing}: {cause}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<tsdb::Error> for Failure {
    fn from(error: tsdb::Error) -> Failure {
        Failure::new(error.to_string())
    }
}

impl From<query::QueryError> for Failure {
    fn from(error: query::QueryError) -> Failure {
        let mut message = format!("{} [{}]", error.message, error.code);
        for (word, text) in [("detail", &error.detail), ("hint", &error.hint)] {
            if let Some(text) = text {
                message.push_str(&format!("\n{word}: {text}"));
            }
        }
        Failure::new(message)
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Failure {
        let Some(db) = error.as_db_error() else {
            return match std::error::Error::source(&error) {
                Some(cause) => Failure::new(format!("{error}: {cause}")),
                None => Failure::new(error.to_string()),
            };
        };
        let mut message = format!("{}: {} [{}]", db.severity(), db.message(), db.code().code());
        for (word, text) in [("detail", db.detail()), ("hint", db.hint())] {
            if let Some(text) = text {
                message.push_str(&format!("\n{word}: {text}"));
            }
        }
        Failure::new(message)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::new(error.to_string())
    }
}
