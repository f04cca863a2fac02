//! `POST /api/v1/write`: remote write 1.0. 204 only after the log is durable.
//!
//! A sender drops what is answered 4xx and sends again what is answered 5xx. Prometheus drops at 429,
//! too, unless it is told otherwise: what only has to wait is 503 here.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ingest::Report;
use query::Identity;
use tokio::time::timeout;

use super::refusal::told;
use crate::http::body::{self, Reservation};
use crate::http::login;
use crate::http::refusal::Refusal;
use crate::http::state::HttpState;
use crate::http::text_of;
use crate::http::write::may_write;

pub(super) async fn write(State(state): State<HttpState>, request: Request) -> Response {
    match accept(&state, request).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(mut refusal) => {
            if refusal.status == StatusCode::TOO_MANY_REQUESTS {
                refusal.status = StatusCode::SERVICE_UNAVAILABLE;
            }
            told(refusal).into_response()
        }
    }
}

async fn accept(state: &HttpState, request: Request) -> Result<(), Refusal> {
    let shown = login::from_headers(request.headers());
    let identity = login::log_in(state, shown, login::source(&request)).await?;
    if !identity.can_write && !may_write(state, &identity).await? {
        return Err(Refusal::forbidden(format!("user \"{}\" may not write", identity.user)));
    }
    check_headers(request.headers())?;
    let limit = state.options().body_bytes_max;
    let mut memory = Reservation::new(state);
    let (parts, body) = request.into_parts();
    let sent = body::read(state, &parts.headers, body, limit, &mut memory).await?;
    metrics::counter!("millrace_http_write_bytes_total").increment(sent.len() as u64);
    let report = write_series(state, identity, sent, memory).await?;
    metrics::counter!("millrace_http_rows_written_total").increment(report.rows);
    if report.refused_count == 0 {
        return Ok(());
    }
    metrics::counter!("millrace_http_lines_refused_total").increment(report.refused_count);
    Err(partial(&report))
}

/// 415 for anything but snappy and `prometheus.WriteRequest`; what is not said is taken to be these.
fn check_headers(headers: &HeaderMap) -> Result<(), Refusal> {
    let unknown = |text: String| {
        Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported media type", text))
    };
    let coding = text_of(headers, header::CONTENT_ENCODING.as_str()).unwrap_or("snappy").trim();
    if !coding.eq_ignore_ascii_case("snappy") {
        return unknown(format!("Content-Encoding {coding:?} is not known; snappy is"));
    }
    let Some(kind) = text_of(headers, header::CONTENT_TYPE.as_str()) else { return Ok(()) };
    let mut parts = kind.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    let proto = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("proto").then(|| value.trim().trim_matches('"'))
    });
    if proto.is_some_and(|proto| proto.starts_with("io.prometheus.write.v2.")) {
        return unknown(
            "remote write 2.0 is not spoken here; send 1.0: protobuf_message: \
             \"prometheus.WriteRequest\""
                .to_owned(),
        );
    }
    let known = media.eq_ignore_ascii_case("application/x-protobuf")
        && proto.is_none_or(|proto| proto == "prometheus.WriteRequest");
    match known {
        true => Ok(()),
        false => unknown(format!("Content-Type {kind:?} is not known; application/x-protobuf is")),
    }
}

/// Unpacks, parses and commits on a thread that may block; permits go with the thread.
async fn write_series(
    state: &HttpState,
    by: Identity,
    sent: Vec<u8>,
    mut memory: Reservation,
) -> Result<Report, Refusal> {
    let backend = state.backend()?.clone();
    let limit = state.options().body_bytes_max;
    let wait = timeout(state.options().queue_wait, state.writers().clone().acquire_owned());
    let Ok(Ok(writer)) = wait.await else {
        return Err(Refusal::busy("too many writes at once"));
    };
    let work = tokio::task::spawn_blocking(move || {
        let _writer = writer;
        let body = body::unsnap(&sent, limit, &mut memory)?;
        drop(sent);
        let report = backend.write_series(&by, &body);
        drop(body);
        drop(memory);
        report.map_err(|error| Refusal::from_engine("writing", error))
    });
    work.await.map_err(|error| Refusal::internal("writing", error))?
}

/// 400 that says what is refused; the rest is written.
fn partial(report: &Report) -> Refusal {
    let (refused, written) = (report.refused_count, report.rows);
    let mut message = format!("partial write: {refused} samples refused, {written} written");
    if let Some(first) = report.refused.first() {
        message = format!("{message}; sample {}: {}", first.line, first.reason);
    }
    let samples = report.refused.iter();
    let samples: Vec<_> =
        samples.map(|r| serde_json::json!({ "sample": r.line, "reason": r.reason })).collect();
    Refusal::invalid(message)
        .with("samples", samples)
        .with("refused", refused)
        .with("written", written)
}
