//! Line protocol over TCP.
//!
//! A connection logs in with its first line, `auth <user>:<password>`, answered by `ok`; then
//! lines follow, timestamps in ns. Lines are gathered for 20 ms or 1 MiB and written as one
//! record. Only refusals are answered, as `error line N: reason`; when the sender closes its
//! side, everything is written first and `ok rows=… refused=…` says so. What is not yet
//! durable when a connection breaks may be lost, so a sender that must know uses HTTP or closes
//! its side and reads the last line.
//!
//! Invariants: one write of a connection is under way at a time, and reading stops while the
//! buffer is full, so that a slow disk reaches the sender; no line makes the buffer grow beyond
//! the longest line allowed plus one read.

mod connection;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use management::{LoginFailed, Users};
use query::Identity;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::LineWriter;

/// Settings of the server.
#[derive(Clone, Debug)]
pub struct TcpOptions {
    /// Connections at a time. Default 1024.
    pub connections_max: usize,
    /// Whether senders on the same machine may leave out the log-in. Default false.
    pub anonymous_on_loopback: bool,
    /// Lines gathered for one record, bytes. Default 1 MiB.
    pub batch_bytes_max: usize,
    /// How long a line waits for others. Default 20 ms.
    pub batch_wait: Duration,
    /// How long a connection may take to log in, or to take in an answer. Default 10 s.
    pub answer_wait: Duration,
}

impl Default for TcpOptions {
    fn default() -> Self {
        TcpOptions {
            connections_max: 1024,
            anonymous_on_loopback: false,
            batch_bytes_max: 1 << 20,
            batch_wait: Duration::from_millis(20),
            answer_wait: Duration::from_secs(10),
        }
    }
}

/// Who may send.
pub trait Login: Send + Sync + 'static {
    /// Checks a password. Slow by design: called on a blocking thread.
    fn verify(&self, user: &str, password: &str) -> Result<Identity, LoginFailed>;
}

impl Login for Users {
    fn verify(&self, user: &str, password: &str) -> Result<Identity, LoginFailed> {
        Users::verify(self, user, password)
    }
}

/// Takes connections until `shutdown` turns true (or its sender goes), then lets each write what
/// it has and returns.
pub async fn serve(
    listener: TcpListener,
    writer: Arc<LineWriter>,
    login: Arc<dyn Login>,
    options: TcpOptions,
    mut shutdown: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stopped(&mut shutdown) => break,
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let (mut stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Mostly "too many open files": the others go on, this one is tried again.
                tracing::warn!(%error, "cannot take a line protocol connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if connections.len() >= options.connections_max {
            let answer = b"error: too many connections\n";
            if let Err(error) = stream.try_write(answer) {
                tracing::debug!(%peer, %error, "a surplus connection was not told");
            }
            drop(stream.shutdown().await);
            continue;
        }
        let parts = connection::Parts {
            writer: writer.clone(),
            login: login.clone(),
            options: options.clone(),
            shutdown: shutdown.clone(),
        };
        connections.spawn(async move {
            if let Err(error) = connection::run(stream, peer, parts).await {
                tracing::debug!(%peer, %error, "a line protocol connection broke");
            }
        });
    }
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// Waits for the signal; a sender that is gone counts as one.
async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    if shutdown.wait_for(|stop| *stop).await.is_err() {
        tracing::debug!("the shutdown signal has no sender any more");
    }
}
