//! What the Flight SQL door counts. Every metric name of this door is in this file.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

/// An open connection; counts down when dropped.
#[derive(Debug)]
pub(super) struct OpenConnection(());

impl OpenConnection {
    pub(super) fn new() -> OpenConnection {
        counter!("millrace_grpc_connections_total").increment(1);
        gauge!("millrace_grpc_connections").increment(1.0);
        OpenConnection(())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        gauge!("millrace_grpc_connections").decrement(1.0);
    }
}

/// A connection above the limit.
pub(super) fn refused() {
    counter!("millrace_grpc_connections_refused_total").increment(1);
}

pub(super) fn login_failed() {
    counter!("millrace_grpc_login_failures_total").increment(1);
}

/// A call was answered, or its stream began; by method, and gRPC code where that is known by then.
pub(super) fn answered(method: &'static str, code: &str, took: Duration) {
    let labels = [("method", method.to_owned()), ("code", code.to_owned())];
    counter!("millrace_grpc_requests_total", &labels).increment(1);
    histogram!("millrace_grpc_request_seconds", "method" => method).record(took);
}

/// An error was told, by class of SQLSTATE.
pub(super) fn failed(code: &'static str) {
    let class = code.get(..2).unwrap_or("XX");
    counter!("millrace_grpc_errors_total", "class" => class).increment(1);
}

/// Rows went out.
pub(super) fn rows_sent(rows: usize) {
    counter!("millrace_grpc_rows_sent_total").increment(rows as u64);
}

/// Rows were ingested and are durable, or wait for COMMIT.
pub(super) fn rows_ingested(rows: i64) {
    counter!("millrace_grpc_rows_ingested_total").increment(u64::try_from(rows).unwrap_or(0));
}

pub(super) fn received(bytes: usize) {
    counter!("millrace_grpc_received_bytes_total").increment(bytes as u64);
}

/// A result or an upload was ended since nobody read or sent on.
pub(super) fn stalled() {
    counter!("millrace_grpc_stalled_total").increment(1);
}

/// What is kept between calls.
pub(super) fn kept(tokens: usize, tickets: usize, statements: usize, transactions: usize) {
    gauge!("millrace_grpc_tokens").set(tokens as f64);
    gauge!("millrace_grpc_tickets").set(tickets as f64);
    gauge!("millrace_grpc_prepared_statements").set(statements as f64);
    gauge!("millrace_grpc_transactions").set(transactions as f64);
}
