//! `/api/v1/query` and `/api/v1/query_range`.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use query::promql::PromQuery;
use tsdb::now_ns;

use super::CancelOnDrop;
use super::answer;
use super::params::Asked;
use super::refusal::{bad_parameter, from_query, told};
use crate::http::refusal::Refusal;
use crate::http::state::HttpState;

pub(super) async fn instant(State(state): State<HttpState>, request: Request) -> Response {
    answered(&state, request, false).await
}

pub(super) async fn range(State(state): State<HttpState>, request: Request) -> Response {
    answered(&state, request, true).await
}

async fn answered(state: &HttpState, request: Request, range: bool) -> Response {
    match run(state, request, range).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

async fn run(state: &HttpState, request: Request, range: bool) -> Result<Response, Refusal> {
    let asked = Asked::take(state, request).await.map_err(told)?;
    let query = query(&asked, range).map_err(told)?;
    let session = state.backend().map_err(told)?.prom(asked.identity);
    let guard = CancelOnDrop(Some(session.clone()));
    let answer = session.query(query).await.map_err(from_query)?;
    Ok(answer::respond(answer, guard))
}

fn query(asked: &Asked, range: bool) -> Result<PromQuery, Refusal> {
    let text = asked.get("query").unwrap_or_default().to_owned();
    let (start, end, step) = match range {
        false => {
            let time = asked.time("time")?.unwrap_or_else(now_ns);
            (time, time, None)
        }
        true => {
            let (start, end) = (asked.needed_time("start")?, asked.needed_time("end")?);
            let step = asked.span("step")?;
            let missing = || bad_parameter("step", "cannot parse \"\" to a valid duration");
            (start, end, Some(step.ok_or_else(missing)?))
        }
    };
    let timeout = match asked.span("timeout")? {
        Some(ns) => Some(Duration::from_nanos(
            u64::try_from(ns).map_err(|_| bad_parameter("timeout", "it must not be negative"))?,
        )),
        None => None,
    };
    let lookback = asked.span("lookback_delta")?;
    Ok(PromQuery { text, start, end, step, lookback, timeout, limit: asked.limit("limit")? })
}
