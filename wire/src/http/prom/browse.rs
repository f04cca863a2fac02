//! What query builders ask: labels, their values, series, metadata, what this is.

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use query::promql::{PromBrowse, RegexBudget, parse_selector};
use serde_json::{Map, Value, json};
use tsdb::types::TimeRange;

use super::CancelOnDrop;
use super::answer::success;
use super::params::Asked;
use super::refusal::{bad_parameter, from_query, told};
use crate::http::refusal::Refusal;
use crate::http::state::HttpState;

/// The version of Prometheus whose API this is: clients choose by it what they ask.
const API_VERSION: &str = "3.0.0";
/// Metrics that `/metadata` lists where nothing is said.
const METADATA_MAX: usize = 100_000;

fn answered(result: Result<Response, Refusal>) -> Response {
    result.unwrap_or_else(IntoResponse::into_response)
}

/// What a request for labels or series asks.
fn browse(asked: &Asked) -> Result<PromBrowse, Refusal> {
    let (mut selectors, mut budget) = (Vec::new(), RegexBudget::default());
    for text in asked.all("match[]") {
        let selector = parse_selector(text, &mut budget);
        selectors.push(selector.map_err(|error| bad_parameter("match[]", error.message))?);
    }
    let start = asked.time("start")?.unwrap_or(i64::MIN);
    let end = asked.time("end")?.unwrap_or(i64::MAX);
    if end < start {
        return Err(bad_parameter("end", "end timestamp must not be before start time"));
    }
    // Times are told in ms.
    let end = end.saturating_add(999_999);
    Ok(PromBrowse { selectors, times: TimeRange::new(start, end), limit: asked.limit("limit")? })
}

pub(super) async fn labels(State(state): State<HttpState>, request: Request) -> Response {
    let run = async {
        let asked = Asked::take(&state, request).await.map_err(told)?;
        let wanted = browse(&asked).map_err(told)?;
        let session = state.backend().map_err(told)?.prom(asked.identity);
        let mut guard = CancelOnDrop(Some(session.clone()));
        let found = session.labels(wanted).await.map_err(from_query)?;
        guard.0 = None;
        Ok(success(json!(found.all), found.cut))
    };
    answered(run.await)
}

pub(super) async fn label_values(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    let run = async {
        let asked = Asked::take(&state, request).await.map_err(told)?;
        let wanted = browse(&asked).map_err(told)?;
        let session = state.backend().map_err(told)?.prom(asked.identity);
        let mut guard = CancelOnDrop(Some(session.clone()));
        let found = session.label_values(unescaped(&name), wanted).await.map_err(from_query)?;
        guard.0 = None;
        Ok(success(json!(found.all), found.cut))
    };
    answered(run.await)
}

/// A name in a path may be written `U__…`, with `_2e_` for characters that names did not have before.
fn unescaped(name: &str) -> String {
    let Some(rest) = name.strip_prefix("U__") else { return name.to_owned() };
    let mut text = String::new();
    let mut rest = rest;
    while let Some(at) = rest.find('_') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('_') {
            text.push('_');
            rest = after;
            continue;
        }
        let code = rest.split_once('_').and_then(|(code, after)| {
            Some((char::from_u32(u32::from_str_radix(code, 16).ok()?)?, after))
        });
        let Some((c, after)) = code else { return name.to_owned() };
        text.push(c);
        rest = after;
    }
    text + rest
}

pub(super) async fn series(State(state): State<HttpState>, request: Request) -> Response {
    let run = async {
        let asked = Asked::take(&state, request).await.map_err(told)?;
        let wanted = browse(&asked).map_err(told)?;
        if wanted.selectors.is_empty() {
            let text = "no match[] parameter provided";
            return Err(told(Refusal::invalid(text)));
        }
        let session = state.backend().map_err(told)?.prom(asked.identity);
        let mut guard = CancelOnDrop(Some(session.clone()));
        let found = session.series(wanted).await.map_err(from_query)?;
        guard.0 = None;
        let all: Vec<Value> = found
            .all
            .iter()
            .map(|labels| {
                let pairs = labels.iter();
                Value::Object(pairs.map(|(name, value)| (name.to_owned(), json!(value))).collect())
            })
            .collect();
        Ok(success(Value::Array(all), found.cut))
    };
    answered(run.await)
}

pub(super) async fn metadata(State(state): State<HttpState>, request: Request) -> Response {
    let run = async {
        let asked = Asked::take(&state, request).await?;
        let limit = match asked.limit("limit")? {
            0 => METADATA_MAX,
            limit => limit.min(METADATA_MAX),
        };
        let found = state.backend()?.metadata(asked.get("metric"), limit);
        let all: Map<String, Value> = found
            .into_iter()
            .map(|(name, of)| {
                (name, json!([{ "type": of.kind, "help": of.help, "unit": of.unit }]))
            })
            .collect();
        Ok(success(Value::Object(all), false))
    };
    answered(run.await.map_err(told))
}

/// No exemplars are kept.
pub(super) async fn exemplars(State(state): State<HttpState>, request: Request) -> Response {
    fixed(&state, request, json!([])).await
}

/// No rules are evaluated.
pub(super) async fn rules(State(state): State<HttpState>, request: Request) -> Response {
    fixed(&state, request, json!({ "groups": [] })).await
}

/// No alerts of rules are there.
pub(super) async fn alerts(State(state): State<HttpState>, request: Request) -> Response {
    fixed(&state, request, json!({ "alerts": [] })).await
}

pub(super) async fn build_info(State(state): State<HttpState>, request: Request) -> Response {
    let version = state.options().version.clone();
    let info = json!({
        "version": API_VERSION,
        "application": "Millrace",
        "revision": version,
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    });
    fixed(&state, request, info).await
}

/// The same answer for all who may ask.
async fn fixed(state: &HttpState, request: Request, data: Value) -> Response {
    let run = async {
        Asked::take(state, request).await?;
        Ok(success(data, false))
    };
    answered(run.await.map_err(told))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_paths() {
        assert_eq!(unescaped("__name__"), "__name__");
        assert_eq!(unescaped("U__a_2e_b__c"), "a.b_c");
        assert_eq!(unescaped("U__plain"), "plain");
        assert_eq!(unescaped("U__bad_zz_"), "U__bad_zz_");
        assert_eq!(unescaped("U__bad_2e"), "U__bad_2e");
    }
}
