//! Settings of the Flight SQL door.

use std::time::Duration;

/// Settings of the Flight SQL door. Limits "of a user" count all of the user's connections.
#[derive(Clone, Debug)]
pub struct FlightOptions {
    /// One gRPC message that comes in, bytes. Default 64 MiB.
    pub message_bytes_max: usize,
    /// Memory for messages that come in, kept statements and their parameters, bytes. Calls wait
    /// above it. Default 256 MiB; less than three of the largest messages counts as that much.
    pub memory_bytes_max: usize,
    /// Bytes of a statement's text, whose syntax tree is many times as large. Default 16 MiB.
    pub statement_bytes_max: usize,
    /// Open connections; more are closed at once. Default 500.
    pub connections_max: usize,
    /// Log-ins checked at a time. Default 32.
    pub logins_max: usize,
    /// How long a call waits for memory, for a log-in or for its transaction. Default 10 s.
    pub queue_wait: Duration,
    /// TLS handshake. Default 10 s.
    pub handshake_wait: Duration,
    /// From the first byte of a connection to its first call that logs in. Default 30 s.
    pub login_wait: Duration,
    /// How long a connection may take nothing of what is written to it. Default 60 s.
    pub write_stall: Duration,
    /// How long a result may stay unread, and an upload silent, before it is ended. Default 300 s.
    pub unread_wait: Duration,
    /// Life of a token of a log-in. Default 12 h; after half of it calls are given another.
    pub token_life: Duration,
    /// Tokens of a user; the one unused for longest makes room. Default 1,000.
    pub tokens_max: usize,
    /// Life of a ticket. Default 300 s; `RenewFlightEndpoint` begins it anew.
    pub ticket_life: Duration,
    /// Tickets of a user. Default 1,000.
    pub tickets_max: usize,
    /// Prepared statements of a user. Default 1,000.
    pub statements_max: usize,
    /// Prepared statements unused for as long are forgotten. Default 1 h.
    pub statement_idle: Duration,
    /// Open transactions of a user. Default 100.
    pub transactions_max: usize,
    /// Transactions unused for as long are rolled back; `idle_in_transaction_session_timeout` where
    /// that is shorter. Default 300 s.
    pub transaction_idle: Duration,
    /// Time for running calls once the server stops. Default 10 s.
    pub grace: Duration,
    /// What `GetSqlInfo` calls the server's version.
    pub version: String,
}

impl Default for FlightOptions {
    fn default() -> FlightOptions {
        FlightOptions {
            message_bytes_max: 64 << 20,
            memory_bytes_max: 256 << 20,
            statement_bytes_max: 16 << 20,
            connections_max: 500,
            logins_max: 32,
            queue_wait: Duration::from_secs(10),
            handshake_wait: Duration::from_secs(10),
            login_wait: Duration::from_secs(30),
            write_stall: Duration::from_secs(60),
            unread_wait: Duration::from_secs(300),
            token_life: Duration::from_secs(12 * 3600),
            tokens_max: 1000,
            ticket_life: Duration::from_secs(300),
            tickets_max: 1000,
            statements_max: 1000,
            statement_idle: Duration::from_secs(3600),
            transactions_max: 100,
            transaction_idle: Duration::from_secs(300),
            grace: Duration::from_secs(10),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}
