//! `POST /sql`: statements in, rows out as JSON, NDJSON, CSV or an Arrow stream, in bounded memory.

mod params;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use async_trait::async_trait;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use query::{Outcome, QueryError, QueryResult, Session, TransactionStatus};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{self, Packing, Reservation};
use super::encode::{Encoder, Format};
use super::login;
use super::refusal::Refusal;
use super::state::{HttpState, SqlSession};
use super::text_of;

/// A piece of an answer is sent when it has this many bytes.
pub(super) const PIECE_BYTES: usize = 64 << 10;
/// Statements of one text.
const STATEMENTS_MAX: usize = 1000;

pub(super) async fn sql(State(state): State<HttpState>, request: Request) -> Response {
    match answer(&state, request).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

async fn answer(state: &HttpState, request: Request) -> Result<Response, Refusal> {
    let params = Query::<HashMap<String, String>>::try_from_uri(request.uri())
        .map_err(|error| Refusal::invalid(format!("bad parameters: {error}")))?
        .0;
    let shown = login::from_headers(request.headers());
    let identity = login::log_in(state, shown, login::source(&request)).await?;
    let format = format(params.get("format"), request.headers())?;
    let settings = settings(&params);

    let limit = state.options().sql_bytes_max;
    let mut memory = Reservation::new(state);
    let packing = Packing::of(request.headers())?;
    let (parts, body) = request.into_parts();
    let sent = body::read(state, &parts.headers, body, limit, &mut memory).await?;
    let (text, memory) = unpack(packing, sent, limit, memory).await?;
    let asked = Asked::decode(&parts.headers, text)?;

    let session = state.backend()?.session(identity, &settings);
    let mut guard = CancelOnDrop(Some(session.clone()));
    let outcome = session.run(&asked.sql, &asked.params).await.map_err(Refusal::from_query)?;
    drop(memory);
    match outcome {
        Outcome::Rows { stream, .. } => {
            // The guard goes with the rows: a client that leaves ends the query.
            let rows = Rows::new(stream, format, guard);
            rows.respond().await
        }
        Outcome::Done { tag } | Outcome::Set { tag, .. } => {
            guard.0 = None;
            done(&tag, format)
        }
        Outcome::CopyIn { .. } | Outcome::CopyOut { .. } => {
            let text = "COPY is not supported over HTTP";
            let hint =
                "Write with POST /write, read with format=csv, or COPY over the Postgres wire.";
            Err(Refusal::from_query(error("0A000", text.to_owned()).with_hint(hint)))
        }
        Outcome::Empty => {
            guard.0 = None;
            done("", format)
        }
    }
}

/// Unpacks on a thread that may be busy for a while.
async fn unpack(
    packing: Packing,
    sent: Vec<u8>,
    limit: usize,
    mut memory: Reservation,
) -> Result<(Vec<u8>, Reservation), Refusal> {
    if packing == Packing::Plain {
        return Ok((sent, memory));
    }
    let work = tokio::task::spawn_blocking(move || {
        body::gunzip(&sent, limit, &mut memory).map(|text| (text, memory))
    });
    work.await.map_err(|error| Refusal::internal("unpacking", error))?
}

/// What the body asks for.
struct Asked {
    sql: String,
    params: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedJson {
    sql: String,
    #[serde(default)]
    params: Vec<Value>,
}

impl Asked {
    /// JSON where the type says so, or nothing is said and it begins so; else the text itself:
    /// curl's `-d` calls any text a form.
    fn decode(headers: &HeaderMap, body: Vec<u8>) -> Result<Asked, Refusal> {
        let kind = text_of(headers, "content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let begins = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
        if kind.eq_ignore_ascii_case("application/json") || begins {
            let asked: AskedJson = serde_json::from_slice(&body).map_err(|error| {
                let form = r#"{"sql": "SELECT …", "params": [ … ]}"#;
                Refusal::invalid(format!("the body is not JSON of the form {form}: {error}"))
            })?;
            return Ok(Asked { sql: asked.sql, params: asked.params });
        }
        let sql =
            String::from_utf8(body).map_err(|_| Refusal::invalid("the SQL text is not UTF-8"))?;
        Ok(Asked { sql, params: Vec::new() })
    }
}

/// `?format=` counts before Accept; JSON where neither says anything.
fn format(param: Option<&String>, headers: &HeaderMap) -> Result<Format, Refusal> {
    if let Some(name) = param {
        return Format::from_name(name).ok_or_else(|| {
            let known = "json, ndjson, csv and arrow are";
            Refusal::invalid(format!("format {name:?} is not known; {known}"))
        });
    }
    let Some(accept) = text_of(headers, "accept") else { return Ok(Format::Json) };
    let known = accept.split(',').find_map(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        Format::from_media_type(&kind.to_ascii_lowercase())
    });
    known.ok_or_else(|| {
        let text = "none of the accepted types can be made; application/json, \
                    application/x-ndjson, text/csv and application/vnd.apache.arrow.stream can";
        Refusal::new(StatusCode::NOT_ACCEPTABLE, "not acceptable", text)
    })
}

/// Settings of the session that a request may make.
fn settings(params: &HashMap<String, String>) -> Vec<(String, String)> {
    [("timezone", "TimeZone"), ("statement_timeout", "statement_timeout")]
        .into_iter()
        .filter_map(|(param, name)| Some((name.to_owned(), params.get(param)?.clone())))
        .chain([("application_name".to_owned(), "http".to_owned())])
        .collect()
}

/// An answer without rows: the tag, as an object or as one column.
fn done(tag: &str, format: Format) -> Result<Response, Refusal> {
    if matches!(format, Format::Json | Format::Ndjson) {
        return Ok(Json(json!({ "tag": tag })).into_response());
    }
    let schema = Arc::new(Schema::new(vec![Field::new("tag", DataType::Utf8, false)]));
    let column: ArrayRef = Arc::new(StringArray::from(vec![tag]));
    let encode = || -> Result<Vec<u8>, arrow::error::ArrowError> {
        let batch = RecordBatch::try_new(schema.clone(), vec![column])?;
        let mut encoder = Encoder::new(format, schema.clone())?;
        let mut out = Vec::new();
        encoder.begin(&mut out)?;
        encoder.rows(&batch, 0, usize::MAX, &mut out)?;
        encoder.end(&mut out)?;
        Ok(out)
    };
    let bytes = encode().map_err(|error| Refusal::internal("encoding the answer", error))?;
    Ok(([(header::CONTENT_TYPE, format.media_type())], bytes).into_response())
}

/// Cancels the session's statement when the request is given up.
struct CancelOnDrop(Option<Arc<dyn SqlSession>>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(session) = &self.0 {
            session.cancel();
        }
    }
}

/// Rows on their way to the client: one batch and one piece of the answer are held at a time.
struct Rows {
    stream: SendableRecordBatchStream,
    format: Format,
    batch: Option<(RecordBatch, usize)>,
    guard: CancelOnDrop,
}

impl Rows {
    fn new(stream: SendableRecordBatchStream, format: Format, guard: CancelOnDrop) -> Rows {
        Rows { stream, format, batch: None, guard }
    }

    /// Waits for the first batch, so that most errors still have a status of their own.
    async fn respond(mut self) -> Result<Response, Refusal> {
        if let Some(first) = self.stream.next().await {
            let batch = first.map_err(|error| Refusal::from_query(error.into()))?;
            self.batch = Some((batch, 0));
        }
        let internal = |error| Refusal::internal("encoding rows", error);
        let mut encoder = Encoder::new(self.format, self.stream.schema()).map_err(internal)?;
        let mut head = Vec::new();
        encoder.begin(&mut head).map_err(internal)?;
        let kind = self.format.media_type();
        let pieces = futures::stream::unfold(Some((self, encoder, head)), |state| async move {
            let (mut rows, mut encoder, mut out) = state?;
            match rows.piece(&mut encoder, &mut out).await {
                Ok(more) => {
                    let piece = Bytes::from(std::mem::take(&mut out));
                    Some((Ok(piece), more.then_some((rows, encoder, out))))
                }
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(([(header::CONTENT_TYPE, kind)], Body::from_stream(pieces)).into_response())
    }

    /// Fills one piece; false: it was the last. An error cuts the answer off, which the client
    /// sees as a body that does not end.
    async fn piece(&mut self, encoder: &mut Encoder, out: &mut Vec<u8>) -> Result<bool, CutOff> {
        loop {
            if let Some((batch, next)) = &mut self.batch {
                *next = encoder.rows(batch, *next, PIECE_BYTES, out).map_err(cut_off)?;
                if *next >= batch.num_rows() {
                    self.batch = None;
                }
            } else {
                match self.stream.next().await {
                    Some(batch) => self.batch = Some((batch.map_err(cut_off)?, 0)),
                    None => {
                        encoder.end(out).map_err(cut_off)?;
                        self.guard.0 = None;
                        return Ok(false);
                    }
                }
            }
            if out.len() >= PIECE_BYTES {
                return Ok(true);
            }
        }
    }
}

/// The answer cannot go on; the cause is in the log.
#[derive(Debug, thiserror::Error)]
#[error("the query failed in mid-answer")]
struct CutOff;

fn cut_off(cause: impl std::fmt::Display) -> CutOff {
    metrics::counter!("millrace_http_answers_cut_total").increment(1);
    tracing::warn!(%cause, "a query failed in mid-answer; the connection is cut");
    CutOff
}

/// A real session.
pub(super) struct EngineSession(pub Session);

#[async_trait]
impl SqlSession for EngineSession {
    async fn run(&self, sql: &str, params: &[Value]) -> QueryResult<Outcome> {
        let session = &self.0;
        let mut statements = session.parse(sql)?;
        statements.retain(|statement| !statement.is_empty());
        if statements.len() > STATEMENTS_MAX {
            return Err(error("54000", format!("more than {STATEMENTS_MAX} statements")));
        }
        if statements.len() > 1 && !params.is_empty() {
            return Err(error("42601", "parameters go with one statement only".to_owned()));
        }
        let mut last = Outcome::Empty;
        for statement in &statements {
            let params = if params.is_empty() {
                Vec::new()
            } else {
                let described = session.describe(statement, &[]).await?;
                params::scalars(params, &described.params)?
            };
            // Rows of statements before the last are not asked for.
            last = session.execute(statement, &params).await?;
        }
        if session.transaction() != TransactionStatus::Idle {
            let text = "the request ends inside a transaction, which is rolled back";
            return Err(error("25P01", text.to_owned()));
        }
        Ok(last)
    }

    fn cancel(&self) {
        self.0.cancel();
    }
}

fn error(code: &'static str, message: String) -> QueryError {
    QueryError { code, message, detail: None, hint: None, position: None }
}
