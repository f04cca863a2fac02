//! Errors as HTTP answers: one JSON form for all, `{"error", "code", "message", …}`. `code` is
//! InfluxDB's word for errors of requests and the SQLSTATE for errors of SQL.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use query::QueryError;
use serde_json::{Map, Value, json};

/// Seconds after which a client may try again when the server is only busy.
const RETRY_BUSY_SECONDS: u32 = 1;
/// The same when the server cannot take writes.
const RETRY_UNAVAILABLE_SECONDS: u32 = 5;

/// A request that is not answered as asked.
#[derive(Debug)]
pub(super) struct Refusal {
    pub status: StatusCode,
    pub code: String,
    pub message: String,
    /// Further fields of the answer.
    pub more: Map<String, Value>,
    pub retry_after_seconds: Option<u32>,
}

impl Refusal {
    pub fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Refusal {
        let (code, message) = (code.to_owned(), message.into());
        Refusal { status, code, message, more: Map::new(), retry_after_seconds: None }
    }

    pub fn invalid(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, "invalid", message)
    }

    /// The same words whatever was wrong with the log-in.
    pub fn unauthorized() -> Refusal {
        let text = "log-in needed: the user, password or token is missing or wrong";
        Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", text)
    }

    pub fn forbidden(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    pub fn too_large(limit_bytes: usize) -> Refusal {
        let text = format!("the body is larger than the limit of {limit_bytes} bytes");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "request too large", text)
    }

    pub fn busy(message: impl Into<String>) -> Refusal {
        let code = "too many requests";
        let mut refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, code, message);
        refusal.retry_after_seconds = Some(RETRY_BUSY_SECONDS);
        refusal
    }

    pub fn unavailable(message: impl Into<String>) -> Refusal {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let mut refusal = Refusal::new(status, "unavailable", message);
        refusal.retry_after_seconds = Some(RETRY_UNAVAILABLE_SECONDS);
        refusal
    }

    /// An error that is not the client's; its cause is logged here and not told.
    pub fn internal(doing: &str, cause: impl std::fmt::Display) -> Refusal {
        tracing::error!(doing, %cause, "internal error");
        let text = format!("internal error while {doing}; the server's log has the cause");
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error", text)
    }

    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Refusal {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// An error of the engine met by a write.
    pub fn from_engine(doing: &str, error: tsdb::Error) -> Refusal {
        use tsdb::Error as E;
        match error {
            E::Invalid(_) | E::NotFound(_) | E::Exists(_) | E::TypeMismatch(_) => {
                Refusal::invalid(error.to_string())
            }
            E::Full(_) | E::ReadOnly(_) | E::Closed | E::Locked(_) | E::Unavailable(_) => {
                Refusal::unavailable(error.to_string())
            }
            E::Conflict { .. } | E::Corrupt(_) | E::Newer(_) | E::Io(_) => {
                Refusal::internal(doing, error)
            }
        }
    }

    /// An error of SQL.
    pub fn from_query(error: QueryError) -> Refusal {
        let status = status_of(error.code);
        let mut refusal = Refusal::new(status, error.code, error.message);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            refusal.retry_after_seconds = Some(RETRY_UNAVAILABLE_SECONDS);
        }
        let more = [("detail", error.detail), ("hint", error.hint)];
        for (name, text) in more {
            if let Some(text) = text {
                refusal = refusal.with(name, text);
            }
        }
        match error.position {
            Some(position) => refusal.with("position", position),
            None => refusal,
        }
    }
}

/// The HTTP status of a SQLSTATE.
fn status_of(code: &str) -> StatusCode {
    match code {
        "42501" => StatusCode::FORBIDDEN,
        "40001" | "42P07" | "42701" | "42710" | "23505" => StatusCode::CONFLICT,
        "25006" | "57P01" | "57P03" => StatusCode::SERVICE_UNAVAILABLE,
        "57014" => StatusCode::GATEWAY_TIMEOUT,
        "0A000" => StatusCode::NOT_IMPLEMENTED,
        _ if code.starts_with("53") => StatusCode::SERVICE_UNAVAILABLE,
        _ if code.starts_with("XX") || code.starts_with("58") => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Refusal { status, code, message, more, retry_after_seconds } = self;
        let mut body = json!({ "error": message, "code": code, "message": message });
        if let Value::Object(fields) = &mut body {
            fields.extend(more);
        }
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"Millrace\", charset=\"UTF-8\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
