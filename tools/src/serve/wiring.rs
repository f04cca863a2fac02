//! From settings to the options of each crate.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ingest::LineLimits;
use ingest::tcp::TcpOptions;
use query::QueryOptions;
use wire::flight::FlightOptions;
use wire::http::HttpOptions;
use wire::pg::PgOptions;
use wire::tls::{CertificateSource, TlsMode};

use crate::failure::{Failure, Result};
use crate::settings::Settings;

/// Limits of line protocol.
pub fn line_limits(settings: &Settings) -> LineLimits {
    LineLimits {
        line_bytes_max: settings.number("line_bytes_max") as usize,
        cache_bytes_max: settings.number("line_cache_bytes_max") as usize,
        ..LineLimits::default()
    }
}

/// Options of queries; spill files lie in the data folder.
pub fn query_options(settings: &Settings, folder: &Path) -> QueryOptions {
    let mut options = QueryOptions {
        memory_bytes_max: settings.number("query_memory_bytes_max") as usize,
        spill_bytes_max: settings.number("spill_bytes_max"),
        spill_folder: folder.join("spill"),
        spill_folder_owned: true,
        copy_folder: settings.path("copy_folder"),
        query_bytes_max: settings.number("query_bytes_max") as usize,
        heavy_max: settings.number("queries_heavy_max") as usize,
        waiting_max: settings.number("queries_waiting_max") as usize,
        prom_points_max: settings.number("prom_points_max") as usize,
        prom_samples_max: settings.number("prom_samples_max") as usize,
        prom_lookback: Duration::from_secs(settings.number("prom_lookback_seconds")),
        prom_timeout: Duration::from_secs(settings.number("prom_timeout_seconds")),
        version: format!("Millrace {}", env!("CARGO_PKG_VERSION")),
        ..QueryOptions::default()
    };
    if settings.number("query_threads") > 0 {
        options.threads = settings.number("query_threads") as usize;
    }
    options
}

/// Options of the Postgres wire.
pub fn pg_options(settings: &Settings) -> PgOptions {
    let mut options = PgOptions {
        tls_required: settings.text("tls") == "require",
        shutdown_grace: Duration::from_secs(settings.number("stop_seconds_max")),
        ..PgOptions::default()
    };
    options.limits.connections_max = settings.number("connections_max") as usize;
    options.limits.messages_large_bytes_max = settings.number("messages_bytes_max") as usize;
    options.limits.message_bytes_max = settings.number("message_bytes_max") as usize;
    // The syntax tree of a statement is many times as large as its text.
    let statement_max = options.limits.messages_large_bytes_max / 4;
    options.limits.statement_bytes_max = options.limits.statement_bytes_max.min(statement_max);
    options
}

/// Options of Flight SQL.
pub fn flight_options(settings: &Settings) -> FlightOptions {
    let seconds = |name| Duration::from_secs(settings.number(name));
    let count = |name| settings.number(name) as usize;
    let memory = count("grpc_memory_bytes_max");
    FlightOptions {
        message_bytes_max: count("grpc_message_bytes_max"),
        memory_bytes_max: memory,
        // The syntax tree of a statement is many times as large as its text.
        statement_bytes_max: (memory / 16).min(16 << 20),
        connections_max: count("connections_max"),
        unread_wait: seconds("grpc_unread_seconds"),
        token_life: seconds("grpc_token_seconds"),
        tokens_max: count("grpc_tokens_max"),
        ticket_life: seconds("grpc_ticket_seconds"),
        tickets_max: count("grpc_tickets_max"),
        statements_max: count("grpc_statements_max"),
        statement_idle: seconds("grpc_statement_idle_seconds"),
        transactions_max: count("grpc_transactions_max"),
        transaction_idle: seconds("grpc_transaction_idle_seconds"),
        grace: seconds("stop_seconds_max"),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..FlightOptions::default()
    }
}

/// Options of line protocol over TCP.
pub fn tcp_options(settings: &Settings) -> TcpOptions {
    TcpOptions { anonymous_on_loopback: settings.switch("line_anonymous"), ..TcpOptions::default() }
}

/// Certificate and key for every door; `None` where TLS is off.
pub fn tls(settings: &Settings, folder: &Path) -> Result<Option<Arc<rustls::ServerConfig>>> {
    let mode: TlsMode = settings.text("tls").parse().map_err(Failure::usage)?;
    let source = match (settings.path("tls_certificate"), settings.path("tls_key")) {
        (Some(certificate), Some(key)) => CertificateSource::Files { certificate, key },
        _ => CertificateSource::SelfSigned { folder: folder.to_path_buf() },
    };
    wire::tls::server_config(mode, &source).map_err(|error| Failure::doing("TLS", error))
}

/// Options of the HTTP door.
pub fn http_options(settings: &Settings) -> HttpOptions {
    HttpOptions {
        body_bytes_max: settings.number("body_bytes_max") as usize,
        memory_bytes_max: settings.number("http_memory_bytes_max") as usize,
        sql_bytes_max: (settings.number("body_bytes_max") as usize).min(16 << 20),
        connections_max: settings.number("connections_max") as usize,
        grace: Duration::from_secs(settings.number("stop_seconds_max")),
        metrics_open: settings.switch("metrics_open"),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..HttpOptions::default()
    }
}
