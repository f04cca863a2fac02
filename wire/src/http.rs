//! HTTP: line protocol in, SQL in and rows out, Prometheus' doors, health and metrics.
//!
//! Every request but `/`, `/ping`, `/health` and `/ready` logs in. What a client can make the
//! server hold in memory is bounded before it is read.

mod body;
pub(crate) mod encode;
pub(crate) mod login;
mod metrics;
mod options;
mod pages;
mod prom;
mod refusal;
mod server;
mod sql;
mod state;
mod write;

#[cfg(test)]
mod tests;

pub use metrics::install as install_metrics;
pub use options::HttpOptions;
pub use server::serve;
pub use state::HttpState;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};

use refusal::Refusal;

/// All routes.
fn router(state: HttpState) -> Router {
    let router = Router::new()
        .route("/", get(pages::home))
        .route("/ping", get(pages::ping))
        .route("/health", get(pages::health))
        .route("/ready", get(pages::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/write", post(write::write))
        .route("/api/v2/write", post(write::write))
        .route("/sql", post(sql::sql))
        .route("/query", any(pages::no_influxql))
        .route("/api/v2/query", any(pages::no_influxql));
    prom::roads(router)
        .fallback(pages::not_found)
        .layer(middleware::from_fn(around))
        .with_state(state)
}

/// What goes around every request: the cross-site check, counters, headers of safety.
async fn around(request: Request, next: Next) -> Response {
    let started = std::time::Instant::now();
    let route = metrics::route_name(request.uri().path());
    let mut response = if is_cross_site(&request) {
        Refusal::forbidden("requests from pages of other sites are refused").into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    metrics::request_done(route, response.status(), started.elapsed());
    response
}

/// A browser that remembers a Basic log-in sends it along with whatever a strange page posts; such
/// a page cannot hide its origin. Programs send neither header.
fn is_cross_site(request: &Request) -> bool {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return false;
    }
    let headers = request.headers();
    if text_of(headers, "sec-fetch-site").is_some_and(|site| site == "cross-site") {
        return true;
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let host = request.uri().authority().map(|a| a.as_str());
    let host = host.or_else(|| text_of(headers, "host"));
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    match (origin, host) {
        (Some((_, origin)), Some(host)) => !origin.eq_ignore_ascii_case(host),
        _ => true,
    }
}

/// A header as text; None if it is absent or not text.
fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
