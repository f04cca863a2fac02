//! What the Postgres door counts. Every metric name of this door is in this file.

use std::time::Duration;

use metrics::{counter, gauge, histogram};
use query::QueryError;

/// A logged-in or logging-in connection; counts down when dropped.
#[derive(Debug)]
pub struct OpenConnection(());

impl OpenConnection {
    pub fn new() -> OpenConnection {
        counter!("millrace_pg_connections_total").increment(1);
        gauge!("millrace_pg_connections").increment(1.0);
        OpenConnection(())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        gauge!("millrace_pg_connections").decrement(1.0);
    }
}

/// A connection turned away before it could ask anything, by SQLSTATE.
pub fn refused(code: &'static str) {
    counter!("millrace_pg_refused_total", "code" => code).increment(1);
}

/// A statement ran, well or not; the time until its last row was handed to the socket.
pub fn statement(took: Duration) {
    counter!("millrace_pg_queries_total").increment(1);
    histogram!("millrace_pg_query_seconds").record(took.as_secs_f64());
}

/// An error was sent, by class of SQLSTATE.
pub fn failed(error: &QueryError) {
    let class = error.code.get(..2).unwrap_or("XX");
    counter!("millrace_pg_errors_total", "class" => class).increment(1);
}

pub fn received(bytes: usize) {
    counter!("millrace_pg_received_bytes_total").increment(bytes as u64);
}

pub fn sent(bytes: usize) {
    counter!("millrace_pg_sent_bytes_total").increment(bytes as u64);
}
