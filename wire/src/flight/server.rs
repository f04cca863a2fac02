//! The listener: connections, TLS, limits and the orderly stop. HTTP/2 is driven here, as that of
//! the HTTP door is, for the limits that tonic's own server does not set.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use management::Users;
use query::Engine;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::gate::Gate;
use super::house::House;
use super::options::FlightOptions;
use super::signals;
use crate::stall::StallGuard;

/// After an accept that failed (usually: no file handles left), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Calls of one connection at a time.
const STREAMS_MAX: u32 = 256;
/// Headers of one call, bytes.
const HEADER_BYTES_MAX: u32 = 64 << 10;
/// A silent client is asked whether it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// What a client may send ahead of being read, of one call and of a connection, bytes.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// Housekeeping of what is kept between calls.
const SWEEP: Duration = Duration::from_secs(1);

/// Serves until `shutdown`; then no connection is accepted, running calls get their grace, what
/// still runs after it is cut, and open transactions are rolled back. `tls`: None serves plaintext.
///
/// # Errors
/// If the listener cannot say its own address: it is no listener then.
pub async fn serve(
    listener: TcpListener,
    engine: Arc<Engine>,
    users: Arc<Users>,
    tls: Option<Arc<ServerConfig>>,
    options: FlightOptions,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    tracing::info!(%address, tls = tls.is_some(), "Flight SQL listens");
    let house = Arc::new(House::new(Arc::clone(&engine), users, options));
    let memory = Arc::clone(&house.memory);
    engine.pools().register(move || memory.usage());
    accept_all(listener, house, tls.map(acceptor), shutdown).await;
    Ok(())
}

pub(super) async fn accept_all(
    listener: TcpListener,
    house: Arc<House>,
    tls: Option<TlsAcceptor>,
    shutdown: CancellationToken,
) {
    let door = Arc::new(Door {
        tls,
        places: Arc::new(Semaphore::new(house.options.connections_max.max(1))),
        shutdown: shutdown.clone(),
        cut: CancellationToken::new(),
        house: Arc::clone(&house),
    });
    let tracker = TaskTracker::new();
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            _ = sweep.tick() => {
                house.sweep();
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                tracker.spawn(Arc::clone(&door).welcome(stream, peer));
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a Flight SQL connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    tracker.close();
    if timeout(house.options.grace, tracker.wait()).await.is_err() {
        tracing::warn!(connections = tracker.len(), "Flight SQL connections are cut");
        house.close();
        door.cut.cancel();
        tracker.wait().await;
    }
    house.close();
}

/// gRPC is HTTP/2 and nothing else.
fn acceptor(config: Arc<ServerConfig>) -> TlsAcceptor {
    let mut config = ServerConfig::clone(&config);
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// What every connection needs.
struct Door {
    tls: Option<TlsAcceptor>,
    places: Arc<Semaphore>,
    shutdown: CancellationToken,
    /// Ends what outlives its grace.
    cut: CancellationToken,
    house: Arc<House>,
}

impl Door {
    async fn welcome(self: Arc<Door>, stream: TcpStream, peer: SocketAddr) {
        let Ok(_place) = self.places.clone().try_acquire_owned() else {
            signals::refused();
            return;
        };
        let _open = signals::OpenConnection::new();
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY was refused");
        }
        match &self.tls {
            None => self.converse(stream, peer).await,
            Some(acceptor) => {
                let handshake = acceptor.accept(stream);
                match timeout(self.house.options.handshake_wait, handshake).await {
                    Ok(Ok(stream)) => self.converse(stream, peer).await,
                    Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
                    Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
                }
            }
        }
    }

    async fn converse<T>(&self, stream: T, peer: SocketAddr)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let options = &self.house.options;
        let io = TokioIo::new(StallGuard::new(stream, options.write_stall));
        let gate = Gate::new(Arc::clone(&self.house), Some(peer.ip()));
        let calls = gate.clone();
        let service = service_fn(move |request| calls.clone().answer(request));
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEADER_BYTES_MAX)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .serve_connection(io, service);
        let mut connection = std::pin::pin!(connection);
        let mut stranger = std::pin::pin!(timeout(options.login_wait, gate.known()));
        let (mut stopping, mut known) = (false, false);
        let ended = loop {
            tokio::select! {
                ended = connection.as_mut() => break ended,
                () = self.shutdown.cancelled(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                logged_in = stranger.as_mut(), if !known => {
                    if logged_in.is_err() {
                        tracing::debug!(%peer, "a Flight SQL connection did not log in");
                        return;
                    }
                    known = true;
                }
                () = self.cut.cancelled() => return,
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "a Flight SQL connection ended early");
        }
    }
}
