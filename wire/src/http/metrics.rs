//! `/metrics` in Prometheus' text form: counters of the process and the state of the engine.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use query::QueueFigures;
use tsdb::{DbStats, PoolUsage};

use super::login;
use super::state::HttpState;

/// Bounds of the time histograms, s.
const SECONDS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Makes counters count; the first call in a process does it, `serve` calls it too. Without it,
/// or where another recorder was installed before, `/metrics` shows the engine's state alone.
pub fn install() {
    HANDLE.get_or_init(|| {
        let builder = PrometheusBuilder::new().set_buckets(&SECONDS);
        match builder.and_then(PrometheusBuilder::install_recorder) {
            Ok(handle) => Some(handle),
            Err(error) => {
                tracing::warn!(%error, "metrics are recorded elsewhere");
                None
            }
        }
    });
}

/// Keeps the recorder's memory bounded; call it every few seconds.
pub(super) fn upkeep() {
    if let Some(Some(handle)) = HANDLE.get() {
        handle.run_upkeep();
    }
}

pub(super) async fn metrics(State(state): State<HttpState>, request: Request) -> Response {
    if !state.options().metrics_open {
        let shown = login::from_headers(request.headers());
        if let Err(refusal) = login::log_in(&state, shown, login::source(&request)).await {
            return refusal.into_response();
        }
    }
    let mut text = match HANDLE.get() {
        Some(Some(handle)) => handle.render(),
        _ => String::new(),
    };
    match state.backend() {
        Err(refusal) => return refusal.into_response(),
        Ok(backend) => {
            let stats = backend.stats();
            engine(&stats, &mut text);
            memory(&backend.pools(&stats), &mut text);
            gauge("queries_running", backend.queries_running() as u64, &mut text);
            queue(&backend.queue(), &mut text);
            gauge("read_only", u64::from(backend.read_only().is_some()), &mut text);
            gauge("disk_full", u64::from(backend.full().is_some()), &mut text);
        }
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// One of a fixed list, so that strange paths do not make series.
pub(super) fn route_name(path: &str) -> &'static str {
    const ROUTES: [&str; 10] = [
        "/",
        "/ping",
        "/health",
        "/ready",
        "/metrics",
        "/write",
        "/api/v2/write",
        "/sql",
        "/query",
        "/api/v2/query",
    ];
    let known = ROUTES.into_iter().find(|route| *route == path);
    known.or_else(|| super::prom::route_name(path)).unwrap_or("other")
}

pub(super) fn request_done(route: &'static str, status: StatusCode, took: Duration) {
    let status = status.as_u16().to_string();
    let labels = [("route", route.to_owned()), ("status", status)];
    metrics::counter!("millrace_http_requests_total", &labels).increment(1);
    metrics::histogram!("millrace_http_request_seconds", "route" => route).record(took);
}

fn gauge(name: &str, value: u64, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "# TYPE millrace_{name} gauge\nmillrace_{name} {value}");
}

/// Pools of memory as one metric each of use, limit and peak.
fn memory(pools: &[PoolUsage], out: &mut String) {
    type Figure = fn(&PoolUsage) -> u64;
    let figures: [(&str, Figure); 3] = [
        ("memory_bytes", |pool| pool.used),
        ("memory_limit_bytes", |pool| pool.limit),
        ("memory_peak_bytes", |pool| pool.peak),
    ];
    for (name, figure) in figures {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "# TYPE millrace_{name} gauge");
        for pool in pools {
            let _ = writeln!(out, "millrace_{name}{{pool=\"{}\"}} {}", pool.name, figure(pool));
        }
    }
}

/// The queue of heavy statements.
fn queue(figures: &QueueFigures, out: &mut String) {
    gauge("heavy_queries_places", figures.places, out);
    gauge("heavy_queries_running", figures.running, out);
    gauge("heavy_queries_waiting", figures.waiting, out);
    counter("heavy_queries_queued", figures.queued, out);
    counter("heavy_queries_refused", figures.refused, out);
    counter("heavy_queries_timed_out", figures.timed_out, out);
    let seconds = figures.waited_us as f64 / 1e6;
    let name = "millrace_heavy_queries_waited_seconds_total";
    // Writing to a String cannot fail.
    let _ = writeln!(out, "# TYPE {name} counter\n{name} {seconds}");
}

fn counter(name: &str, value: u64, out: &mut String) {
    let _ = writeln!(out, "# TYPE millrace_{name}_total counter\nmillrace_{name}_total {value}");
}

fn engine(stats: &DbStats, out: &mut String) {
    let gauges = [
        ("visible_position", stats.visible_position),
        ("durable_position", stats.durable_position),
        ("log_bytes", stats.log_bytes),
        ("log_segments", stats.log_segments),
        ("disk_free_bytes", stats.disk_free_bytes),
        ("disk_reserve_bytes", stats.disk_reserve_bytes),
        ("row_store_bytes", stats.row_store_bytes),
        ("head_bytes", stats.head_bytes),
        ("head_rows", stats.head_rows),
        ("parts", stats.parts),
        ("part_bytes", stats.part_bytes),
        ("part_rows", stats.part_rows),
        ("series", stats.series),
        ("series_bytes", stats.series_bytes),
        ("queue_bytes", stats.queue_bytes),
        ("cache_bytes", stats.cache_bytes),
        ("log_archive_position", stats.log_archive_position),
        ("log_archive_held_bytes", stats.log_archive_held_bytes),
        ("log_archive_failing_seconds", stats.log_archive_failing_seconds),
        ("quarantined_blocks", stats.quarantined_blocks),
    ];
    let counters = [
        ("commits", stats.commits),
        ("syncs", stats.syncs),
        ("rows_written", stats.rows_written),
        ("flushes", stats.flushes),
        ("merges", stats.merges),
        ("flush_bytes", stats.flush_bytes),
        ("merge_bytes", stats.merge_bytes),
        ("last_bytes", stats.last_bytes),
        ("log_archive_given_up", stats.log_archive_given_up),
        ("scrub_bytes", stats.scrub_bytes),
        ("scrub_files", stats.scrub_files),
        ("scrub_found", stats.scrub_found),
    ];
    gauges.iter().for_each(|(name, value)| gauge(name, *value, out));
    counters.iter().for_each(|(name, value)| counter(name, *value, out));
}
