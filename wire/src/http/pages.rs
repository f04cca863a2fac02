//! Small answers: what this is, whether it lives, whether it is ready, and what it is not.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde_json::json;

use super::refusal::Refusal;
use super::state::HttpState;

/// InfluxDB's header, which its clients look at.
const VERSION_HEADER: HeaderName = HeaderName::from_static("x-influxdb-version");

pub(super) async fn home(State(state): State<HttpState>) -> Response {
    let page = HOME.replace("{version}", &state.options().version);
    let policy = "default-src 'none'; style-src 'unsafe-inline'";
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(page)).into_response()
}

const HOME: &str = r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Millrace</title>
<style>body{font:16px/1.5 sans-serif;max-width:44em;margin:3em auto;padding:0 1em}
code,pre{background:#f3f3f3}pre{padding:.6em;overflow:auto}</style></head><body>
<h1>Millrace {version}</h1>
<p>A time-series database. This is its HTTP door; every request below logs in.</p>
<h2>Write line protocol</h2>
<pre>curl -u admin -i 'http://HOST:PORT/write?precision=s' \
  --data-binary 'weather,site=north temp=21.5'</pre>
<h2>Ask SQL</h2>
<pre>curl -u admin 'http://HOST:PORT/sql?format=csv' --data-binary 'SELECT * FROM weather'</pre>
<p><code>format</code> is <code>json</code>, <code>ndjson</code>, <code>csv</code> or
<code>arrow</code>. With parameters:
<code>{"sql": "SELECT … WHERE site = $1", "params": ["north"]}</code>.</p>
<h2>Prometheus</h2>
<p>Remote write goes to <code>/api/v1/write</code>; PromQL is answered at
<code>/api/v1/query</code> and <code>/api/v1/query_range</code>. In Grafana, add a Prometheus
data source with the URL of this page and Basic auth.</p>
<h2>Look after it</h2>
<p><a href="/health">/health</a> · <a href="/ready">/ready</a> ·
<a href="/metrics">/metrics</a></p>
<p>Postgres clients such as psql connect to the Postgres port.</p>
</body></html>
"#;

pub(super) async fn ping(State(state): State<HttpState>) -> Response {
    let version = state.options().version.clone();
    (StatusCode::NO_CONTENT, [(VERSION_HEADER, version)]).into_response()
}

/// The process answers.
pub(super) async fn health() -> Response {
    Json(json!({ "status": "pass" })).into_response()
}

/// The database takes queries and writes.
pub(super) async fn ready(State(state): State<HttpState>) -> Response {
    match state.not_ready() {
        None => match state.alarm() {
            None => Json(json!({ "status": "ready" })).into_response(),
            Some(alarm) => Json(json!({ "status": "ready", "alarm": alarm })).into_response(),
        },
        Some(cause) => Refusal::unavailable(cause).with("status", "not ready").into_response(),
    }
}

pub(super) async fn no_influxql() -> Response {
    let text = "InfluxQL and Flux are not spoken here; POST SQL to /sql";
    Refusal::new(StatusCode::NOT_FOUND, "not found", text).into_response()
}

pub(super) async fn not_found(request: Request) -> Response {
    let path: String = request.uri().path().chars().take(100).collect();
    let text = format!("nothing is at {path:?}; see /");
    Refusal::new(StatusCode::NOT_FOUND, "not found", text).into_response()
}
