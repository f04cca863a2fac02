//! The Postgres front door: protocol 3.0 over TCP, plain or under TLS, and over a socket in the file
//! system.
//!
//! One task a connection: `startup → log-in → ready → messages`. Results are encoded straight from
//! Arrow batches into one buffer, which the socket must take before the next batch is asked for, so
//! that memory stays bounded and a slow client slows its own query and nothing else.
//!
//! Invariants:
//! - No byte from the wire is indexed or sized by before it was checked (`message`, `socket`).
//! - Passwords never arrive here: SCRAM proofs do, and neither they nor SASL messages are logged.
//! - A connection ends in one place (`converse`), which drops its streams and so its query.

mod backend;
mod cancel;
mod connection;
mod copy;
mod encode;
mod extended;
#[cfg(any(test, fuzzing))]
mod fake;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod local;
mod message;
mod out;
mod params;
mod prepared;
mod rows;
mod signals;
mod socket;
mod startup;
mod types;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use management::Users;
use query::Engine;
use rustls::ServerConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use backend::{Backend, Server};
use cancel::Cancels;
use connection::Connection;
use socket::{End, Socket, fatal};

use crate::budget::{Budget, UNIT_BYTES};

pub use local::LocalSocket;

/// How the door behaves.
#[derive(Clone, Debug)]
pub struct PgOptions {
    /// Name of the one database. Default `millrace`.
    pub database: String,
    /// Refuse log-ins over plaintext with 28000, but through the file system. Default off.
    pub tls_required: bool,
    /// How long running statements may go on once the server stops. Default 10 s.
    pub shutdown_grace: Duration,
    pub limits: PgLimits,
}

impl Default for PgOptions {
    fn default() -> Self {
        PgOptions {
            database: "millrace".to_owned(),
            tls_required: false,
            shutdown_grace: Duration::from_secs(10),
            limits: PgLimits::default(),
        }
    }
}

/// Limits on what clients may take.
#[derive(Clone, Debug)]
pub struct PgLimits {
    /// Connections at one time; one more gets 53300. Default 500.
    pub connections_max: usize,
    /// Bytes of a packet before log-in. Default 10 KiB, as in Postgres.
    pub startup_bytes_max: usize,
    /// Bytes of a message after log-in. Default 256 MiB.
    pub message_bytes_max: usize,
    /// Bytes of messages above 64 KiB that all connections together hold; further ones wait unread.
    /// Default 512 MiB; never less than one largest message.
    pub messages_large_bytes_max: usize,
    /// Bytes of a statement's text, whose syntax tree is many times as large. Default 16 MiB.
    pub statement_bytes_max: usize,
    /// Seconds from the first byte to the end of log-in. Default 30.
    pub login_seconds_max: u64,
    /// Seconds a connection may wait for its next message; None (default): for ever.
    pub idle_seconds_max: Option<u64>,
    /// Prepared statements of a connection. Default 10,000.
    pub statements_max: usize,
    /// Open portals of a connection. Default 1,000.
    pub portals_max: usize,
}

impl Default for PgLimits {
    fn default() -> Self {
        PgLimits {
            connections_max: 500,
            startup_bytes_max: 10 * 1024,
            message_bytes_max: 256 << 20,
            messages_large_bytes_max: 512 << 20,
            statement_bytes_max: 16 << 20,
            login_seconds_max: 30,
            idle_seconds_max: None,
            statements_max: 10_000,
            portals_max: 1_000,
        }
    }
}

/// What all connections share.
struct Shared<B> {
    backend: Arc<B>,
    options: PgOptions,
    tls: Option<TlsAcceptor>,
    cancels: Arc<Cancels>,
    /// Budget of large messages.
    large_bytes: Arc<Budget>,
    shutdown: CancellationToken,
}

impl<B: Backend> Shared<B> {
    fn new(
        backend: Arc<B>,
        tls: Option<Arc<ServerConfig>>,
        options: PgOptions,
        shutdown: CancellationToken,
    ) -> Shared<B> {
        let limits = &options.limits;
        let large = limits.messages_large_bytes_max.max(limits.message_bytes_max + UNIT_BYTES);
        let acceptor = tls.map(|config| {
            let mut config = ServerConfig::clone(&config);
            // The name by which newer clients ask for this protocol.
            config.alpn_protocols = vec![b"postgresql".to_vec()];
            TlsAcceptor::from(Arc::new(config))
        });
        Shared {
            backend,
            tls: acceptor,
            cancels: Arc::default(),
            large_bytes: Arc::new(Budget::new("postgres messages", large)),
            shutdown,
            options,
        }
    }
}

/// Where clients come in; one of them at least.
#[derive(Debug, Default)]
pub struct PgListeners {
    pub tcp: Option<TcpListener>,
    pub local: Option<LocalSocket>,
}

/// Serves the Postgres protocol on `listeners` until `shutdown`, then says goodbye to idle clients,
/// lets running statements finish within the grace period, and returns.
///
/// `tls`: None answers requests for TLS with no.
///
/// # Errors
/// `InvalidInput` where TLS is required and no certificate is there; a local socket that cannot
/// be used.
pub async fn serve(
    listeners: PgListeners,
    engine: Arc<Engine>,
    users: Arc<Users>,
    tls: Option<Arc<ServerConfig>>,
    options: PgOptions,
    shutdown: CancellationToken,
) -> io::Result<()> {
    if options.tls_required && tls.is_none() {
        let words = "TLS is required on the Postgres port but no certificate is given";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, words));
    }
    let pools = Arc::clone(&engine);
    let shared = Shared::new(Arc::new(Server { engine, users }), tls, options, shutdown);
    let large_bytes = Arc::clone(&shared.large_bytes);
    pools.pools().register(move || large_bytes.usage());
    let local = listeners.local.as_ref().map(LocalSocket::listener).transpose()?;
    accept_all(Listeners { tcp: listeners.tcp, local }, Arc::new(shared)).await;
    Ok(())
}

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Address(IpAddr),
    /// On this machine, through the file system.
    Local,
}

impl Source {
    /// By which failed log-ins are slowed down.
    fn address(self) -> Option<IpAddr> {
        match self {
            Source::Address(address) => Some(address),
            Source::Local => None,
        }
    }
}

enum Accepted {
    Tcp(TcpStream, IpAddr),
    Local(UnixStream),
}

struct Listeners {
    tcp: Option<TcpListener>,
    local: Option<UnixListener>,
}

impl Listeners {
    async fn accept(&self) -> io::Result<Accepted> {
        let tcp = async {
            match &self.tcp {
                Some(tcp) => {
                    let (stream, peer) = tcp.accept().await?;
                    Ok(Accepted::Tcp(stream, peer.ip()))
                }
                None => std::future::pending().await,
            }
        };
        let local = async {
            match &self.local {
                Some(local) => Ok(Accepted::Local(local.accept().await?.0)),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = tcp => accepted,
            accepted = local => accepted,
        }
    }
}

/// Connections above the limit that may be told so at one time; further ones are closed unheard.
const REFUSALS_MAX: usize = 64;
/// After the grace period: time for cancelled statements to tell their clients.
const CANCEL_GRACE: Duration = Duration::from_secs(2);
/// Pause after a failed accept, which mostly means that file handles ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Time for the last words of a connection.
const CLOSE_GRACE: Duration = Duration::from_secs(5);

async fn accept_all<B: Backend>(listeners: Listeners, shared: Arc<Shared<B>>) {
    let slots = Arc::new(Semaphore::new(shared.options.limits.connections_max));
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    let (tasks, kill) = (TaskTracker::new(), CancellationToken::new());
    loop {
        let accepted = tokio::select! {
            () = shared.shutdown.cancelled() => break,
            accepted = listeners.accept() => accepted,
        };
        let client = match accepted {
            Ok(client) => client,
            Err(source) => {
                tracing::warn!(%source, "accepting a Postgres connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (slot, full) = match Arc::clone(&slots).try_acquire_owned() {
            Ok(slot) => (slot, false),
            Err(_) => match Arc::clone(&refusals).try_acquire_owned() {
                Ok(refusal) => (refusal, true),
                Err(_) => {
                    signals::refused("53300");
                    continue;
                }
            },
        };
        let (shared, kill) = (Arc::clone(&shared), kill.clone());
        tasks.spawn(async move {
            let talk = async {
                match client {
                    Accepted::Tcp(stream, address) => {
                        prepare(&stream);
                        converse(stream, Source::Address(address), shared, full).await;
                    }
                    Accepted::Local(stream) => {
                        local::prepare(&stream);
                        converse(stream, Source::Local, shared, full).await;
                    }
                }
            };
            tokio::select! {
                () = talk => {}
                () = kill.cancelled() => {}
            }
            drop(slot);
        });
    }
    drop(listeners);
    tasks.close();
    if timeout(shared.options.shutdown_grace, tasks.wait()).await.is_ok() {
        return;
    }
    shared.cancels.cancel_all();
    if timeout(CANCEL_GRACE, tasks.wait()).await.is_err() {
        tracing::warn!(connections = tasks.len(), "closing Postgres connections still busy");
        kill.cancel();
        tasks.wait().await;
    }
}

/// Small answers leave at once, and peers that vanished without a word are found out.
fn prepare(stream: &TcpStream) {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15))
        .with_retries(4);
    let set =
        stream.set_nodelay(true).and_then(|()| SockRef::from(stream).set_tcp_keepalive(&keepalive));
    if let Err(source) = set {
        tracing::debug!(%source, "setting options of a Postgres socket failed");
    }
}

/// One connection from its first byte to its last.
async fn converse<S, B>(stream: S, source: Source, shared: Arc<Shared<B>>, full: bool)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    B: Backend,
{
    let _open = signals::OpenConnection::new();
    let mut socket = Socket::new(stream);
    let login_max = Duration::from_secs(shared.options.limits.login_seconds_max);
    let log_in = timeout(login_max, startup::log_in(&mut socket, &shared, full, source));
    let logged_in = tokio::select! {
        done = log_in => match done {
            Ok(done) => done,
            Err(_) => Err(fatal("57014", "canceling authentication due to timeout")),
        },
        () = shared.shutdown.cancelled() => Err(stopping()),
    };
    let end = match logged_in {
        Ok(Some(logged_in)) => match Connection::open(&mut socket, &shared, logged_in) {
            Ok(connection) => connection.run().await,
            Err(end) => end,
        },
        Ok(None) => End::Terminated,
        Err(end) => {
            if let End::Fatal(error) = &end
                && error.code != "28P01"
            {
                signals::refused(error.code);
            }
            end
        }
    };
    if let End::Gone(source) = &end {
        tracing::debug!(%source, "a Postgres client left");
    }
    if timeout(CLOSE_GRACE, socket.close(&end)).await.is_err() {
        tracing::debug!("a Postgres client did not take its last message");
    }
}

fn stopping() -> End {
    fatal("57P01", "terminating connection due to administrator command")
}

#[cfg(test)]
mod tests;
