//! Errors with what Postgres clients expect of one: SQLSTATE, message, detail, hint, position.
//!
//! This is the one place where errors of the engine and of DataFusion become SQLSTATEs. `XX000`
//! is kept for faults of the program itself: whoever sees it has found a bug.

use std::fmt;

use arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;

use crate::memory::OWN_LIMIT;

/// An error with what Postgres clients expect of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryError {
    /// SQLSTATE, five characters.
    pub code: &'static str,
    /// One sentence without a full stop.
    pub message: String,
    /// What more is known.
    pub detail: Option<String>,
    /// What can be done about it.
    pub hint: Option<String>,
    /// Character of the statement's text where it went wrong, counted from 1.
    pub position: Option<u32>,
}

/// Result of a call of this crate.
pub type QueryResult<T> = Result<T, QueryError>;

impl QueryError {
    /// An error with a code and a message.
    pub fn new(code: &'static str, message: impl Into<String>) -> QueryError {
        QueryError { code, message: message.into(), detail: None, hint: None, position: None }
    }

    /// Adds a hint.
    pub fn with_hint(mut self, hint: impl Into<String>) -> QueryError {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a detail.
    pub fn with_detail(mut self, detail: impl Into<String>) -> QueryError {
        self.detail = Some(detail.into());
        self
    }

    /// Adds a position, counted from 1.
    pub fn with_position(mut self, position: Option<u32>) -> QueryError {
        self.position = position;
        self
    }

    /// `0A000`: a thing that is not there (yet).
    pub fn unsupported(what: impl fmt::Display) -> QueryError {
        QueryError::new("0A000", format!("{what} is not supported"))
    }

    /// `42P01`.
    pub fn no_table(name: &str) -> QueryError {
        QueryError::new("42P01", format!("relation \"{name}\" does not exist"))
    }

    /// `42703`.
    pub fn no_column(name: &str, table: &str) -> QueryError {
        let message = format!("column \"{name}\" of relation \"{table}\" does not exist");
        QueryError::new("42703", message)
    }

    /// `42501`.
    pub fn denied(what: impl fmt::Display) -> QueryError {
        QueryError::new("42501", format!("permission denied: {what}"))
    }

    /// `XX000`: a fault of the program.
    pub fn internal(what: impl fmt::Display) -> QueryError {
        QueryError::new("XX000", what.to_string())
    }

    /// `57014` because somebody asked.
    pub fn cancelled() -> QueryError {
        QueryError::new("57014", "canceling statement due to user request")
    }

    /// `57014` because of `statement_timeout`.
    pub fn timed_out() -> QueryError {
        QueryError::new("57014", "canceling statement due to statement timeout")
    }

    /// As an error that DataFusion carries through and [`QueryError::from`] takes out again.
    pub fn into_datafusion(self) -> DataFusionError {
        DataFusionError::External(Box::new(self))
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for QueryError {}

impl QueryError {
    /// `40001`: another transaction has committed what this one relied on.
    pub(crate) fn conflict() -> QueryError {
        QueryError::new("40001", "could not serialize access due to concurrent update")
            .with_hint("Run the transaction again.")
    }
}

impl From<tsdb::Error> for QueryError {
    fn from(error: tsdb::Error) -> QueryError {
        use tsdb::Error as E;
        let message = error.to_string();
        match error {
            E::Invalid(_) => QueryError::new("22023", message),
            E::NotFound(_) => QueryError::new("42P01", message),
            E::Exists(_) => QueryError::new("42P07", message),
            E::TypeMismatch(_) => QueryError::new("42804", message),
            E::Conflict { .. } => QueryError::conflict(),
            E::Corrupt(_) => QueryError::new("XX001", message).with_hint(
                "If sys.quarantine names it, the rest of the table answers: \
                 SET millrace.skip_quarantined = on leaves its rows out, and \
                 `millrace repair --from URL` brings them back from a backup.",
            ),
            E::Newer(_) => QueryError::new("58P01", message),
            E::Full(_) => QueryError::new("53100", message)
                .with_hint("Free disk space or wait until the queue has been written."),
            E::ReadOnly(_) => QueryError::new("25006", message),
            E::Closed => QueryError::new("57P01", message),
            E::Locked(_) => QueryError::new("55006", message),
            E::Unavailable(_) => QueryError::new("58030", message)
                .with_hint("Rows that are not archived answer; try again when the store does."),
            E::Io(_) => QueryError::new("58030", message),
        }
    }
}

impl From<ArrowError> for QueryError {
    fn from(error: ArrowError) -> QueryError {
        match error {
            ArrowError::ExternalError(inner) => match inner.downcast::<DataFusionError>() {
                Ok(inner) => QueryError::from(*inner),
                Err(inner) => match inner.downcast::<QueryError>() {
                    Ok(inner) => *inner,
                    Err(inner) => QueryError::internal(inner),
                },
            },
            ArrowError::CastError(message) => cast_error(message),
            ArrowError::ParseError(message) => cast_error(message),
            ArrowError::DivideByZero => QueryError::new("22012", "division by zero"),
            ArrowError::ArithmeticOverflow(message) => QueryError::new("22003", message),
            ArrowError::OffsetOverflowError(_) => {
                QueryError::new("54000", "a text result is larger than 2 GiB")
            }
            ArrowError::NotYetImplemented(message) => QueryError::new("0A000", message),
            ArrowError::InvalidArgumentError(message) => {
                QueryError::new(code_of_text(&message).unwrap_or("22023"), message)
            }
            ArrowError::ComputeError(message) => {
                QueryError::new(code_of_text(&message).unwrap_or("22000"), message)
            }
            ArrowError::MemoryError(message) => QueryError::new("53200", message),
            ArrowError::IoError(message, _) => io_error(message),
            other => QueryError::internal(other),
        }
    }
}

/// Tells what a cast could not do: text that is no number or no time, or a number out of range.
fn cast_error(message: String) -> QueryError {
    let lower = message.to_lowercase();
    let code = if lower.contains("overflow") || lower.contains("can't cast value") {
        "22003"
    } else if lower.contains("timestamp") || lower.contains("date") || lower.contains("time") {
        if lower.contains("out of range") { "22008" } else { "22007" }
    } else {
        "22P02"
    };
    QueryError::new(code, message)
}

/// Codes of messages that come without a kind of their own.
fn code_of_text(message: &str) -> Option<&'static str> {
    let lower = message.to_lowercase();
    let table: &[(&str, &'static str)] = &[
        ("divide by zero", "22012"),
        ("division by zero", "22012"),
        ("overflow", "22003"),
        ("out of range", "22003"),
        ("invalid function", "42883"),
        ("no function matches", "42883"),
        ("failed to coerce arguments", "42883"),
        ("function signature", "42883"),
        ("coerc", "42804"),
        ("cannot be cast", "42846"),
        ("unsupported cast", "42846"),
        ("cannot cast", "42846"),
        ("cannot infer common", "42883"),
        ("could not be resolved from available columns", "42803"),
        ("must appear in the group by", "42803"),
        ("group by", "42803"),
        ("ambiguous", "42702"),
        ("duplicate", "42701"),
        ("column count", "42601"),
        ("placeholder", "42P02"),
        ("regular expression", "2201B"),
        ("regex parse error", "2201B"),
        ("scalar subquery", "21000"),
        ("interval", "22007"),
        ("timestamp", "22007"),
        ("recursion limit", "54001"),
    ];
    table.iter().find(|(text, _)| lower.contains(text)).map(|(_, code)| *code)
}

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> QueryError {
        match error {
            DataFusionError::External(inner) => match inner.downcast::<QueryError>() {
                Ok(inner) => *inner,
                Err(inner) => match inner.downcast::<DataFusionError>() {
                    Ok(inner) => QueryError::from(*inner),
                    Err(inner) => QueryError::internal(inner),
                },
            },
            DataFusionError::ArrowError(inner, _) => QueryError::from(*inner),
            DataFusionError::IoError(inner) => io_error(inner.to_string()),
            DataFusionError::SQL(inner, _) => {
                crate::statement::parser_error(&inner.to_string(), "")
            }
            DataFusionError::NotImplemented(message) => QueryError::new("0A000", tidy(&message)),
            DataFusionError::Plan(message) => no_function(&message).unwrap_or_else(|| {
                QueryError::new(code_of_text(&message).unwrap_or("42601"), tidy(&message))
            }),
            DataFusionError::Configuration(message) => QueryError::new("22023", message),
            DataFusionError::SchemaError(inner, _) => schema_error(&inner),
            DataFusionError::Execution(message) => {
                QueryError::new(code_of_text(&message).unwrap_or("22000"), tidy(&message))
            }
            DataFusionError::ExecutionJoin(inner) => {
                QueryError::internal(format!("a query task ended early: {inner}"))
            }
            DataFusionError::ResourcesExhausted(message) => exhausted(&message),
            DataFusionError::Context(_, inner) => QueryError::from(*inner),
            DataFusionError::Diagnostic(diagnostic, inner) => {
                let mut out = QueryError::from(*inner);
                if let (None, Some(span)) = (out.position, diagnostic.span) {
                    // Line and column, packed; the session turns them into a position.
                    out.detail = out.detail.or_else(|| {
                        Some(format!("{SPAN_MARK}{}:{}", span.start.line, span.start.column))
                    });
                }
                out
            }
            DataFusionError::Collection(mut inner) if !inner.is_empty() => {
                QueryError::from(inner.swap_remove(0))
            }
            DataFusionError::Shared(inner) => shared(&inner),
            // DataFusion evaluates VALUES before it runs any subquery.
            DataFusionError::Internal(message) if message.contains("before the subquery") => {
                QueryError::unsupported("a subquery in VALUES")
                    .with_hint("Use SELECT … UNION ALL SELECT ….")
            }
            other => QueryError::internal(other.strip_backtrace()),
        }
    }
}

/// Marks a detail that is only a place in the text; see [`place`].
const SPAN_MARK: &str = "\u{1}at ";

/// Turns a place (line and column) that planning left behind into a position in `sql`.
pub(crate) fn place(mut error: QueryError, sql: &str) -> QueryError {
    let Some(rest) = error.detail.as_deref().and_then(|d| d.strip_prefix(SPAN_MARK)) else {
        return error;
    };
    let mut numbers = rest.split(':').map(|n| n.parse::<u64>().unwrap_or(0));
    let (line, column) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    error.position = crate::statement::position_of(sql, line, column);
    error.detail = None;
    error
}

/// An error that several readers share: the same code and words, taken from a reference.
fn shared(error: &DataFusionError) -> QueryError {
    match error {
        DataFusionError::External(inner) => match inner.downcast_ref::<QueryError>() {
            Some(inner) => inner.clone(),
            None => QueryError::internal(inner),
        },
        DataFusionError::Context(_, inner) => shared(inner),
        DataFusionError::Shared(inner) => shared(inner),
        DataFusionError::ArrowError(inner, _) => match inner.as_ref() {
            ArrowError::CastError(m) | ArrowError::ParseError(m) => cast_error(m.clone()),
            ArrowError::DivideByZero => QueryError::new("22012", "division by zero"),
            ArrowError::ArithmeticOverflow(m) => QueryError::new("22003", m.clone()),
            ArrowError::ExternalError(inner) => match inner.downcast_ref::<QueryError>() {
                Some(inner) => inner.clone(),
                None => match inner.downcast_ref::<DataFusionError>() {
                    Some(inner) => shared(inner),
                    None => QueryError::internal(inner),
                },
            },
            other => QueryError::internal(other),
        },
        DataFusionError::ResourcesExhausted(message) => exhausted(message),
        DataFusionError::IoError(inner) => io_error(inner.to_string()),
        DataFusionError::Execution(m) => {
            QueryError::new(code_of_text(m).unwrap_or("22000"), tidy(m))
        }
        other => QueryError::internal(other.strip_backtrace()),
    }
}

/// `53200`: over the memory of all queries, or over that of this one.
fn exhausted(message: &str) -> QueryError {
    if let Some(error) = spill_full(message) {
        return error;
    }
    match message.split_once(OWN_LIMIT) {
        None => QueryError::new("53200", "out of memory for queries").with_detail(tidy(message)),
        Some((_, message)) => QueryError::new("53200", "the statement is over its limit of memory")
            .with_detail(tidy(message))
            .with_hint("Setting millrace.query_memory, which a role may limit."),
    }
}

/// `58030`, or `53100` where operators have spilled as much as they may.
fn io_error(message: String) -> QueryError {
    spill_full(&message).unwrap_or_else(|| QueryError::new("58030", message))
}

fn spill_full(message: &str) -> Option<QueryError> {
    message.contains("exceeded the allowable limit of").then(|| {
        QueryError::new("53100", "queries have spilled as much to disk as they may")
            .with_hint("Setting spill_bytes_max of the server; sys.queries shows who spills.")
    })
}

fn schema_error(error: &SchemaError) -> QueryError {
    match error {
        SchemaError::AmbiguousReference { field } => {
            let message = format!("column reference \"{}\" is ambiguous", field.name);
            QueryError::new("42702", message)
        }
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => {
            QueryError::new("42701", format!("column \"{name}\" specified more than once"))
        }
        SchemaError::FieldNotFound { field, valid_fields } => {
            let message = match &field.relation {
                Some(relation) => format!("column {relation}.{} does not exist", field.name),
                None => format!("column \"{}\" does not exist", field.name),
            };
            let near = valid_fields.iter().find(|f| f.name.eq_ignore_ascii_case(&field.name));
            let out = QueryError::new("42703", message);
            match near {
                Some(f) => out.with_hint(format!("Perhaps you meant \"{}\".", f.name)),
                None => out,
            }
        }
    }
}

/// What a function of ours said of its arguments' types, out of the words around it.
fn no_function(message: &str) -> Option<QueryError> {
    const END: &str = " does not exist";
    let (_, said) = message.split_once("External error: 42883: ")?;
    let end = said.find(END)? + END.len();
    Some(QueryError::new("42883", &said[..end]))
}

/// The first line of a message, without what only developers of DataFusion can use.
fn tidy(message: &str) -> String {
    let end = message.find("\n\nbacktrace:").unwrap_or(message.len());
    message[..end].trim().trim_end_matches('.').to_string()
}
