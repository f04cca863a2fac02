//! Settings of the HTTP door.

use std::time::Duration;

/// Settings of the HTTP door.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// A body of line protocol, bytes, as sent and as decompressed. Default 64 MiB.
    pub body_bytes_max: usize,
    /// A body of SQL, bytes. Default 16 MiB.
    pub sql_bytes_max: usize,
    /// All bodies in memory together, bytes; requests wait above it. Default 256 MiB; less than
    /// three times the largest body (it stands there packed and unpacked) counts as that much.
    pub memory_bytes_max: usize,
    /// Bodies parsed and committed at a time. Default twice the cores, at least 4.
    pub writers_max: usize,
    /// Log-ins checked at a time. Default 32.
    pub logins_max: usize,
    /// How long a request waits for memory or a writer before 429. Default 10 s.
    pub queue_wait: Duration,
    /// How long a client may take over the headers, and a connection may idle. Default 60 s.
    pub header_wait: Duration,
    /// Longest pause inside a body. Default 30 s.
    pub body_pause: Duration,
    /// A whole body. Default 300 s.
    pub body_wait: Duration,
    /// How long a client may leave an answer unread before the connection is cut. Default 60 s.
    pub write_stall: Duration,
    /// TLS handshake. Default 10 s.
    pub handshake_wait: Duration,
    /// Open connections; more are told 503. Default 1,000.
    pub connections_max: usize,
    /// Time for running requests once the server stops. Default 10 s.
    pub grace: Duration,
    /// Whether `/metrics` answers without log-in. Default false.
    pub metrics_open: bool,
    /// What `/ping` and `/` call themselves.
    pub version: String,
}

impl Default for HttpOptions {
    fn default() -> HttpOptions {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        HttpOptions {
            body_bytes_max: 64 << 20,
            sql_bytes_max: 16 << 20,
            memory_bytes_max: 256 << 20,
            writers_max: (2 * cores).max(4),
            logins_max: 32,
            queue_wait: Duration::from_secs(10),
            header_wait: Duration::from_secs(60),
            body_pause: Duration::from_secs(30),
            body_wait: Duration::from_secs(300),
            write_stall: Duration::from_secs(60),
            handshake_wait: Duration::from_secs(10),
            connections_max: 1000,
            grace: Duration::from_secs(10),
            metrics_open: false,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}
