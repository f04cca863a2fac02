//! `POST /api/v1/read`: remote read of samples, whole or as streamed chunks.

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ingest::remote::proto::{
    Field, Fields, Malformed, put_bytes, put_double, put_int, take_varint,
};
use query::QueryResult;
use query::promql::{Labels, MatchOp, Matcher, Point, PromRead, PromReadSeries, RegexBudget};
use tokio::sync::mpsc;
use tsdb::types::TimeRange;

use super::CancelOnDrop;
use super::chunks::{FRAME_BYTES, Frames};
use super::refusal::{from_query, told};
use crate::http::body::{self, Reservation};
use crate::http::login;
use crate::http::refusal::Refusal;
use crate::http::state::HttpState;
use crate::http::text_of;

/// Queries of one request.
const QUERIES_MAX: usize = 1000;

pub(super) async fn read(State(state): State<HttpState>, request: Request) -> Response {
    run(&state, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn run(state: &HttpState, request: Request) -> Result<Response, Refusal> {
    let shown = login::from_headers(request.headers());
    let identity = login::log_in(state, shown, login::source(&request)).await.map_err(told)?;
    check_headers(request.headers()).map_err(told)?;
    let limit = state.options().sql_bytes_max;
    let mut memory = Reservation::new(state);
    let (parts, body) = request.into_parts();
    let sent = body::read(state, &parts.headers, body, limit, &mut memory).await.map_err(told)?;
    let body = body::unsnap(&sent, limit, &mut memory).map_err(told)?;
    let asked = Asked::decode(&body).map_err(told)?;
    drop((sent, body));
    let queries = asked.queries.len();
    let session = state.backend().map_err(told)?.prom(identity);
    let guard = CancelOnDrop(Some(session.clone()));
    let series = session.read(asked.queries).await.map_err(from_query)?;
    match asked.chunks {
        true => streamed(series, guard).await,
        false => whole(state, series, queries, memory, guard).await,
    }
}

fn check_headers(headers: &HeaderMap) -> Result<(), Refusal> {
    let coding = text_of(headers, header::CONTENT_ENCODING.as_str()).unwrap_or("snappy").trim();
    if coding.eq_ignore_ascii_case("snappy") {
        return Ok(());
    }
    let text = format!("Content-Encoding {coding:?} is not known; snappy is");
    Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported media type", text))
}

/// A `ReadRequest` (prompb/remote.proto).
struct Asked {
    queries: Vec<PromRead>,
    /// Whether the answer is to be chunks rather than samples.
    chunks: bool,
}

impl Asked {
    fn decode(bytes: &[u8]) -> Result<Asked, Refusal> {
        let malformed = |Malformed| Refusal::invalid("the body is not a ReadRequest");
        let (mut queries, mut accepted) = (Vec::new(), Vec::new());
        let mut budget = RegexBudget::default();
        for found in Fields::new(bytes) {
            match found.map_err(malformed)? {
                (1, Field::Bytes(query)) if queries.len() < QUERIES_MAX => {
                    queries.push(query_of(query, &mut budget)?);
                }
                (1, Field::Bytes(_)) => {
                    return Err(Refusal::invalid(format!("more than {QUERIES_MAX} queries")));
                }
                (2, Field::Varint(kind)) => accepted.push(kind),
                (2, Field::Bytes(mut packed)) => {
                    while !packed.is_empty() {
                        accepted.push(take_varint(&mut packed).map_err(malformed)?);
                    }
                }
                _ => {}
            }
        }
        // 0: SAMPLES, which is meant where nothing is said, 1: STREAMED_XOR_CHUNKS. The first that is
        // known counts.
        let chunks = accepted.iter().find(|kind| **kind <= 1) == Some(&1);
        Ok(Asked { queries, chunks })
    }
}

fn query_of(bytes: &[u8], budget: &mut RegexBudget) -> Result<PromRead, Refusal> {
    let malformed = |Malformed| Refusal::invalid("the body is not a ReadRequest");
    let (mut start, mut end, mut matchers) = (0i64, 0i64, Vec::new());
    for found in Fields::new(bytes) {
        match found.map_err(malformed)? {
            (1, Field::Varint(ms)) => start = ms as i64,
            (2, Field::Varint(ms)) => end = ms as i64,
            (3, Field::Bytes(matcher)) => matchers.push(matcher_of(matcher, budget)?),
            _ => {}
        }
    }
    let ns = |ms: i64| ms.saturating_mul(1_000_000);
    // A sample within the last ms counts as of that ms.
    let times = TimeRange::new(ns(start), ns(end).saturating_add(999_999));
    Ok(PromRead { matchers, times })
}

fn matcher_of(bytes: &[u8], budget: &mut RegexBudget) -> Result<Matcher, Refusal> {
    let malformed = |Malformed| Refusal::invalid("the body is not a ReadRequest");
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| malformed(Malformed));
    let (mut op, mut name, mut value) = (MatchOp::Equal, "", "");
    for found in Fields::new(bytes) {
        match found.map_err(malformed)? {
            (1, Field::Varint(0)) => op = MatchOp::Equal,
            (1, Field::Varint(1)) => op = MatchOp::NotEqual,
            (1, Field::Varint(2)) => op = MatchOp::Matches,
            (1, Field::Varint(3)) => op = MatchOp::NotMatches,
            (1, _) => return Err(Refusal::invalid("a matcher of an unknown type")),
            (2, Field::Bytes(bytes)) => name = text(bytes)?,
            (3, Field::Bytes(bytes)) => value = text(bytes)?,
            _ => {}
        }
    }
    Matcher::new(name, op, value, budget).map_err(|error| Refusal::invalid(error.message))
}

/// Labels as fields of the number `field` of a message.
pub(super) fn put_labels(field: u32, labels: &Labels, out: &mut Vec<u8>) {
    let mut label = Vec::new();
    for (name, value) in labels.iter() {
        label.clear();
        put_bytes(1, name.as_bytes(), &mut label);
        put_bytes(2, value.as_bytes(), &mut label);
        put_bytes(field, &label, out);
    }
}

/// Samples with times in ms; of several in one ms the last.
pub(super) fn in_ms(points: &[Point]) -> impl Iterator<Item = (i64, f64)> + '_ {
    let ms = |at: usize| points.get(at).map(|point| point.time.div_euclid(1_000_000));
    (0..points.len()).filter_map(move |at| {
        let time = ms(at)?;
        (ms(at + 1) != Some(time)).then_some((time, points[at].value))
    })
}

/// A `ReadResponse` of samples: one block of snappy, so all of it is made first.
async fn whole(
    state: &HttpState,
    mut series: mpsc::Receiver<QueryResult<PromReadSeries>>,
    queries: usize,
    mut memory: Reservation,
    mut guard: CancelOnDrop,
) -> Result<Response, Refusal> {
    let limit = state.options().body_bytes_max;
    let mut results: Vec<Vec<u8>> = vec![Vec::new(); queries];
    let mut bytes = 0;
    let (mut one, mut sample) = (Vec::new(), Vec::new());
    while let Some(found) = series.recv().await {
        let PromReadSeries { question, labels, points } = found.map_err(from_query)?;
        one.clear();
        put_labels(1, &labels, &mut one);
        for (time, value) in in_ms(&points) {
            sample.clear();
            put_double(1, value, &mut sample);
            put_int(2, time, &mut sample);
            put_bytes(2, &sample, &mut one);
        }
        let Some(result) = results.get_mut(question) else { continue };
        put_bytes(1, &one, result);
        bytes += one.len();
        if bytes > limit {
            let text = format!(
                "the answer is larger than {limit} bytes: ask for less, or for STREAMED_XOR_CHUNKS"
            );
            return Err(told(Refusal::invalid(text)));
        }
        // The results, the message and its packed form.
        memory.grow_to(3 * bytes).await.map_err(told)?;
    }
    guard.0 = None;
    let packed = tokio::task::spawn_blocking(move || {
        let mut message = Vec::with_capacity(bytes + 16 * results.len());
        for result in results {
            put_bytes(1, &result, &mut message);
        }
        snap::raw::Encoder::new().compress_vec(&message)
    });
    let packed = packed.await.map_err(|error| told(Refusal::internal("packing", error)))?;
    let packed = packed.map_err(|error| told(Refusal::internal("packing", error)))?;
    let headers =
        [(header::CONTENT_TYPE, "application/x-protobuf"), (header::CONTENT_ENCODING, "snappy")];
    // The memory is held until the answer is sent.
    let piece = futures::stream::once(async move {
        let _memory = memory;
        Ok::<_, std::convert::Infallible>(Bytes::from(packed))
    });
    Ok((headers, Body::from_stream(piece)).into_response())
}

/// Frames of `ChunkedReadResponse`, made as they are read.
async fn streamed(
    mut series: mpsc::Receiver<QueryResult<PromReadSeries>>,
    guard: CancelOnDrop,
) -> Result<Response, Refusal> {
    // What goes wrong at once still has a status of its own.
    let first = series.recv().await.transpose().map_err(from_query)?;
    let state = Some((series, first, Frames::default(), guard));
    let pieces = futures::stream::unfold(state, |state| async move {
        let (mut series, mut next, mut frames, mut guard) = state?;
        loop {
            let Some(found) = next.take() else {
                guard.0 = None;
                let last = frames.finish();
                return (!last.is_empty()).then_some((Ok(Bytes::from(last)), None));
            };
            frames.add(&found);
            next = match series.recv().await.transpose() {
                Ok(next) => next,
                Err(error) => {
                    tracing::warn!(%error, "a remote read failed in mid-answer; it is cut");
                    return Some((Err(error), None));
                }
            };
            if frames.len() >= FRAME_BYTES {
                let piece = Bytes::from(frames.take());
                return Some((Ok(piece), Some((series, next, frames, guard))));
            }
        }
    });
    let kind = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
    Ok(([(header::CONTENT_TYPE, kind)], Body::from_stream(pieces)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_one_ms_the_last_sample_counts() {
        let points: Vec<Point> = [(0, 1.0), (999_999, 2.0), (1_000_000, 3.0), (-1, 4.0)]
            .map(|(time, value)| Point { time, value })
            .to_vec();
        let found: Vec<(i64, f64)> = in_ms(&points).collect();
        assert_eq!(found, [(0, 2.0), (1, 3.0), (-1, 4.0)]);
    }

    #[test]
    fn requests_are_read_and_damage_is_refused() {
        let (mut matcher, mut query, mut body) = (Vec::new(), Vec::new(), Vec::new());
        put_int(1, 2, &mut matcher);
        put_bytes(2, b"__name__", &mut matcher);
        put_bytes(3, b"up|down", &mut matcher);
        put_int(1, 1000, &mut query);
        put_int(2, 2000, &mut query);
        put_bytes(3, &matcher, &mut query);
        put_bytes(1, &query, &mut body);
        put_bytes(2, &[1, 0], &mut body);
        let Ok(asked) = Asked::decode(&body) else { panic!("no request") };
        assert!(asked.chunks);
        assert_eq!(asked.queries[0].times, TimeRange::new(1_000_000_000, 2_000_999_999));
        assert_eq!(asked.queries[0].matchers[0].op, MatchOp::Matches);
        for end in 1..body.len() {
            // A prefix that ends with a field is a request, too.
            let _ = Asked::decode(&body[..end]);
        }
        for bit in 0..body.len() * 8 {
            let mut flipped = body.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let _ = Asked::decode(&flipped);
        }
        assert!(Asked::decode(&body[..body.len() - 1]).is_err());
        let mut bad = Vec::new();
        put_bytes(
            1,
            &{
                let mut query = Vec::new();
                put_bytes(3, &[8, 9], &mut query);
                query
            },
            &mut bad,
        );
        assert!(Asked::decode(&bad).is_err(), "an unknown type of matcher");
    }
}
