//! Errors as gRPC answers: one table from SQLSTATE to code. The SQLSTATE stands at the front of the
//! message, as the other doors show it, and in the metadata `sqlstate`.

use query::QueryError;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::{Code, Status};

use super::signals;

/// An error of SQL.
pub(super) fn status(error: QueryError) -> Status {
    signals::failed(error.code);
    let mut message = error.to_string();
    for (what, text) in [("Detail", &error.detail), ("Hint", &error.hint)] {
        if let Some(text) = text {
            message.push_str(&format!("\n{what}: {text}"));
        }
    }
    let mut metadata = MetadataMap::new();
    metadata.insert("sqlstate", MetadataValue::from_static(error.code));
    if let Some(position) = error.position {
        message.push_str(&format!("\nPosition: {position}"));
        metadata.insert("position", MetadataValue::<Ascii>::from(u64::from(position)));
    }
    Status::with_metadata(code_of(error.code, &error.message), message, metadata)
}

/// The gRPC code of a SQLSTATE. One state has two: statements end by request or by time-out.
fn code_of(sqlstate: &str, message: &str) -> Code {
    match sqlstate {
        "57014" if message.contains("timeout") => Code::DeadlineExceeded,
        "57014" => Code::Cancelled,
        "42501" => Code::PermissionDenied,
        "42P01" | "42704" | "3F000" | "26000" | "34000" => Code::NotFound,
        "42P07" | "42701" | "42710" | "23505" => Code::AlreadyExists,
        "40001" | "25P02" => Code::Aborted,
        "58030" => Code::Unavailable,
        "XX001" => Code::DataLoss,
        "0A000" => Code::Unimplemented,
        _ => match sqlstate.get(..2).unwrap_or_default() {
            "28" => Code::Unauthenticated,
            "53" => Code::ResourceExhausted,
            "57" => Code::Unavailable,
            "25" | "55" => Code::FailedPrecondition,
            "58" | "XX" => Code::Internal,
            _ => Code::InvalidArgument,
        },
    }
}

/// A message of the protocol that is not as it should be.
pub(super) fn malformed(what: &str, cause: impl std::fmt::Display) -> Status {
    status(QueryError::new("08P01", format!("{what} cannot be read: {cause}")))
}

/// The same words whatever was wrong with the log-in.
pub(super) fn unauthenticated() -> Status {
    let text = "log-in needed: the user, password or token is missing, wrong or too old";
    status(QueryError::new("28000", text))
}

/// The same words for what never was, what is over and what is another user's.
pub(super) fn unknown(what: &str) -> Status {
    let text = format!("the {what} is unknown, has expired or belongs to another user");
    let mut status = status(QueryError::new("26000", text));
    status.metadata_mut().insert("sqlstate", MetadataValue::from_static("26000"));
    status
}

/// A part of the protocol that is not there.
pub(super) fn unsupported(what: &str, hint: &str) -> Status {
    let error = QueryError::new("0A000", format!("{what} is not supported"));
    status(if hint.is_empty() { error } else { error.with_hint(hint) })
}

/// An error that is not the client's; its cause is logged here and not told.
pub(super) fn internal(doing: &str, cause: impl std::fmt::Display) -> Status {
    tracing::error!(doing, %cause, "internal error");
    let text = format!("internal error while {doing}; the server's log has the cause");
    status(QueryError::new("XX000", text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_states() {
        let check = |state: &'static str, message: &str, code: Code| {
            let status = status(QueryError::new(state, message).with_hint("Mend it."));
            assert_eq!(status.code(), code, "{state}");
            assert_eq!(status.metadata().get("sqlstate").unwrap(), state);
            assert_eq!(status.message(), format!("{state}: {message}\nHint: Mend it."));
        };
        check("42P01", "relation \"x\" does not exist", Code::NotFound);
        check("42601", "syntax error", Code::InvalidArgument);
        check("42501", "permission denied", Code::PermissionDenied);
        check("42P07", "relation exists", Code::AlreadyExists);
        check("57014", "canceling statement due to user request", Code::Cancelled);
        check("57014", "canceling statement due to statement timeout", Code::DeadlineExceeded);
        check("57P01", "terminating", Code::Unavailable);
        check("53200", "out of memory", Code::ResourceExhausted);
        check("54001", "too deep", Code::InvalidArgument);
        check("25P02", "aborted", Code::Aborted);
        check("25006", "read-only", Code::FailedPrecondition);
        check("22P02", "no number", Code::InvalidArgument);
        check("23502", "null", Code::InvalidArgument);
        check("28000", "who", Code::Unauthenticated);
        check("0A000", "not there", Code::Unimplemented);
        check("58030", "store away", Code::Unavailable);
        check("XX000", "a bug", Code::Internal);
        check("XX001", "damaged", Code::DataLoss);
    }

    #[test]
    fn places_are_told() {
        let status = status(QueryError::new("42601", "syntax error").with_position(Some(7)));
        assert_eq!(status.message(), "42601: syntax error\nPosition: 7");
        assert_eq!(status.metadata().get("position").unwrap(), "7");
    }
}
