//! Prometheus' doors: remote write and read, queries and what query builders ask, under `/api/v1` and
//! `/prometheus/api/v1`. What a metric is and what of PromQL there is: `query/PROMQL.md`.
//!
//! Answers and errors are Prometheus' JSON, `{"status", "data"}` or `{"status", "errorType", "error"}`,
//! <https://prometheus.io/docs/prometheus/latest/querying/api/>.

mod answer;
mod ask;
mod browse;
mod chunks;
mod params;
mod read;
mod refusal;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::routing::{get, post};
use query::promql::{Found, Labels, PromAnswer, PromBrowse, PromQuery, PromRead, PromReadSeries};
use query::{QueryResult, Session};
use tokio::sync::mpsc;

use super::state::HttpState;

/// Where a Prometheus is looked for: at the root, and under a base path of its own.
const BASES: [&str; 2] = ["", "/prometheus"];

/// Adds the roads.
pub(super) fn roads(mut router: Router<HttpState>) -> Router<HttpState> {
    for base in BASES {
        let at = |path: &str| format!("{base}/api/v1{path}");
        router = router
            .route(&at("/write"), post(write::write))
            .route(&at("/read"), post(read::read))
            .route(&at("/query"), get(ask::instant).post(ask::instant))
            .route(&at("/query_range"), get(ask::range).post(ask::range))
            .route(&at("/query_exemplars"), get(browse::exemplars).post(browse::exemplars))
            .route(&at("/series"), get(browse::series).post(browse::series))
            .route(&at("/labels"), get(browse::labels).post(browse::labels))
            .route(&at("/label/{name}/values"), get(browse::label_values))
            .route(&at("/metadata"), get(browse::metadata))
            .route(&at("/rules"), get(browse::rules))
            .route(&at("/alerts"), get(browse::alerts))
            .route(&at("/status/buildinfo"), get(browse::build_info));
    }
    router
}

/// The name of a road for metrics; `None` for what is none of these.
pub(super) fn route_name(path: &str) -> Option<&'static str> {
    const ROADS: [&str; 11] = [
        "/write",
        "/read",
        "/query",
        "/query_range",
        "/query_exemplars",
        "/series",
        "/labels",
        "/metadata",
        "/rules",
        "/alerts",
        "/status/buildinfo",
    ];
    let path = path.strip_prefix("/prometheus").unwrap_or(path).strip_prefix("/api/v1")?;
    if path.starts_with("/label/") && path.ends_with("/values") {
        return Some("prometheus /label/values");
    }
    let at = ROADS.iter().position(|road| *road == path)?;
    Some(
        [
            "prometheus /write",
            "prometheus /read",
            "prometheus /query",
            "prometheus /query_range",
            "prometheus /query_exemplars",
            "prometheus /series",
            "prometheus /labels",
            "prometheus /metadata",
            "prometheus /rules",
            "prometheus /alerts",
            "prometheus /status/buildinfo",
        ][at],
    )
}

/// A session of PromQL for one request.
#[async_trait]
pub(in crate::http) trait PromSession: Send + Sync {
    /// Evaluates.
    async fn query(&self, asked: PromQuery) -> QueryResult<PromAnswer>;
    /// Names of labels.
    async fn labels(&self, asked: PromBrowse) -> QueryResult<Found<String>>;
    /// Values of a label.
    async fn label_values(&self, label: String, asked: PromBrowse) -> QueryResult<Found<String>>;
    /// Series.
    async fn series(&self, asked: PromBrowse) -> QueryResult<Found<Labels>>;
    /// Samples as they are.
    async fn read(
        &self,
        asked: Vec<PromRead>,
    ) -> QueryResult<mpsc::Receiver<QueryResult<PromReadSeries>>>;
    /// Ends what runs.
    fn cancel(&self);
}

/// A real session.
pub(in crate::http) struct EngineSession(pub Session);

#[async_trait]
impl PromSession for EngineSession {
    async fn query(&self, asked: PromQuery) -> QueryResult<PromAnswer> {
        self.0.prom_query(asked).await
    }

    async fn labels(&self, asked: PromBrowse) -> QueryResult<Found<String>> {
        self.0.prom_labels(asked).await
    }

    async fn label_values(&self, label: String, asked: PromBrowse) -> QueryResult<Found<String>> {
        self.0.prom_label_values(label, asked).await
    }

    async fn series(&self, asked: PromBrowse) -> QueryResult<Found<Labels>> {
        self.0.prom_series(asked).await
    }

    async fn read(
        &self,
        asked: Vec<PromRead>,
    ) -> QueryResult<mpsc::Receiver<QueryResult<PromReadSeries>>> {
        self.0.prom_read(asked).await
    }

    fn cancel(&self) {
        self.0.cancel();
    }
}

/// Ends what the session runs when the request is given up.
struct CancelOnDrop(Option<Arc<dyn PromSession>>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(session) = &self.0 {
            session.cancel();
        }
    }
}
