//! `POST /write` and `POST /api/v2/write`: line protocol. 204 only after the log is durable.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ingest::{Precision, Report};
use query::Identity;
use serde_json::json;
use tokio::time::timeout;

use super::body::{self, Packing, Reservation};
use super::login;
use super::refusal::Refusal;
use super::state::HttpState;

pub(super) async fn write(State(state): State<HttpState>, request: Request) -> Response {
    match accept(&state, request).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn accept(state: &HttpState, request: Request) -> Result<(), Refusal> {
    let params = Query::<HashMap<String, String>>::try_from_uri(request.uri())
        .map_err(|error| Refusal::invalid(format!("bad parameters: {error}")))?;
    let get = |name: &str| params.get(name);
    let shown =
        login::from_params(get("u"), get("p")).or_else(|| login::from_headers(request.headers()));
    let source = login::source(&request);
    let identity = login::log_in(state, shown, source).await?;
    if !identity.can_write && !may_write(state, &identity).await? {
        let text = format!("user \"{}\" may not write", identity.user);
        return Err(Refusal::forbidden(text));
    }
    let precision = precision(get("precision").map(String::as_str))?;
    let packing = Packing::of(request.headers())?;

    let limit = state.options().body_bytes_max;
    let mut memory = Reservation::new(state);
    let (parts, body) = request.into_parts();
    let sent = body::read(state, &parts.headers, body, limit, &mut memory).await?;
    metrics::counter!("millrace_http_write_bytes_total").increment(sent.len() as u64);
    let report = write_lines(state, identity, sent, (packing, precision), memory).await?;
    metrics::counter!("millrace_http_rows_written_total").increment(report.rows);
    if report.refused_count == 0 {
        return Ok(());
    }
    metrics::counter!("millrace_http_lines_refused_total").increment(report.refused_count);
    Err(partial(&report))
}

/// Whether one without the attribute WRITE may write to some table; may block.
pub(super) async fn may_write(state: &HttpState, identity: &Identity) -> Result<bool, Refusal> {
    let (backend, by) = (state.backend()?.clone(), identity.clone());
    let asked = tokio::task::spawn_blocking(move || backend.may_write(&by));
    asked.await.map_err(|error| Refusal::internal("looking up rights", error))
}

/// Unpacks, parses and commits on a thread that may block. The permits go with the thread: a
/// client that leaves does not free memory that is still in use.
async fn write_lines(
    state: &HttpState,
    by: Identity,
    sent: Vec<u8>,
    (packing, precision): (Packing, Precision),
    mut memory: Reservation,
) -> Result<Report, Refusal> {
    let backend = state.backend()?.clone();
    let limit = state.options().body_bytes_max;
    let wait = timeout(state.options().queue_wait, state.writers().clone().acquire_owned());
    let Ok(Ok(writer)) = wait.await else {
        return Err(Refusal::busy("too many writes at once"));
    };
    let now_ns = now_ns();
    let work = tokio::task::spawn_blocking(move || {
        let _writer = writer;
        let lines = match packing {
            Packing::Plain => sent,
            Packing::Gzip => body::gunzip(&sent, limit, &mut memory)?,
        };
        let report = backend.write_lines(&by, &lines, precision, now_ns);
        drop(lines);
        drop(memory);
        report.map_err(|error| Refusal::from_engine("writing", error))
    });
    work.await.map_err(|error| Refusal::internal("writing", error))?
}

/// InfluxDB's names; nanoseconds where nothing is said.
fn precision(name: Option<&str>) -> Result<Precision, Refusal> {
    match name {
        None | Some("") => Ok(Precision::Nanos),
        Some(name) => Precision::from_name(name).ok_or_else(|| {
            let known = "ns, n, us, u, ms, s, m and h are";
            Refusal::invalid(format!("precision {name:?} is not known; {known}"))
        }),
    }
}

/// 400 that lists the refused lines; the good ones are written.
fn partial(report: &Report) -> Refusal {
    let (refused, written) = (report.refused_count, report.rows);
    let mut message = format!("partial write: {refused} lines refused, {written} rows written");
    if let Some(first) = report.refused.first() {
        message = format!("{message}; line {}: {}", first.line, first.reason);
    }
    let lines = report.refused.iter();
    let lines: Vec<_> = lines.map(|r| json!({ "line": r.line, "reason": r.reason })).collect();
    Refusal::invalid(message).with("lines", lines).with("refused", refused).with("written", written)
}

fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
