//! Errors in Prometheus' form: `status`, `errorType` and `error` beside the fields that all answers
//! of this door have.

use axum::http::StatusCode;
use query::QueryError;

use crate::http::refusal::Refusal;

/// `errorType` of a status.
fn kind_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNPROCESSABLE_ENTITY => "execution",
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => "unavailable",
        StatusCode::INTERNAL_SERVER_ERROR => "internal",
        StatusCode::NOT_FOUND => "not_found",
        StatusCode::NOT_ACCEPTABLE => "not_acceptable",
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "unauthorized",
        _ => "bad_data",
    }
}

/// With Prometheus' fields.
pub(super) fn told(refusal: Refusal) -> Refusal {
    let kind = kind_of(refusal.status);
    told_as(refusal, kind)
}

fn told_as(refusal: Refusal, kind: &str) -> Refusal {
    refusal.with("status", "error").with("errorType", kind)
}

/// 400 `bad_data` for a parameter.
pub(super) fn bad_parameter(name: &str, why: impl std::fmt::Display) -> Refusal {
    Refusal::invalid(format!("invalid parameter {name:?}: {why}"))
}

/// An error of a query. What cannot be understood is 400, what cannot be evaluated 422, what was ended
/// 503.
pub(super) fn from_query(error: QueryError) -> Refusal {
    let (status, kind) = match error.code {
        "42601" | "0A000" | "54001" => (StatusCode::BAD_REQUEST, "bad_data"),
        "57014" if error.message.contains("timeout") => {
            (StatusCode::SERVICE_UNAVAILABLE, "timeout")
        }
        "57014" => (StatusCode::SERVICE_UNAVAILABLE, "canceled"),
        "53300" | "57P01" | "57P03" => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        code if code.starts_with("XX") || code.starts_with("58") => {
            (StatusCode::INTERNAL_SERVER_ERROR, "internal")
        }
        _ => (StatusCode::UNPROCESSABLE_ENTITY, "execution"),
    };
    let parse = error.code == "42601" && error.message.contains("parse error");
    let mut refusal = Refusal::from_query(error);
    refusal.status = status;
    if kind != "unavailable" {
        refusal.retry_after_seconds = None;
    }
    if parse {
        refusal.message = format!("invalid parameter \"query\": {}", refusal.message);
    }
    told_as(refusal, kind)
}
