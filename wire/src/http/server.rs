//! The listener: connections, TLS, limits and the orderly stop.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::login::Peer;
use super::state::HttpState;
use super::{metrics as counters, router};
use crate::stall::StallGuard;

/// After an accept that failed (usually: no file handles left), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Requests of one HTTP/2 connection at a time.
const STREAMS_MAX: u32 = 64;
/// Headers of one request, bytes.
const HEADER_BYTES_MAX: u32 = 64 << 10;
/// HTTP/2 asks a silent client whether it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Housekeeping of the metrics.
const UPKEEP: Duration = Duration::from_secs(5);
/// What one connection too many is told.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\
    content-length: 0\r\nconnection: close\r\n\r\n";

/// Serves until `shutdown`; then no connection is accepted, running requests get their grace, and
/// what still runs after it is cut. `tls`: None serves plain HTTP.
///
/// # Errors
/// If the listener cannot say its own address: it is no listener then.
pub async fn serve(
    listener: TcpListener,
    state: HttpState,
    tls: Option<Arc<ServerConfig>>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    counters::install();
    let address = listener.local_addr()?;
    tracing::info!(%address, tls = tls.is_some(), "HTTP listens");
    let door = Arc::new(Door {
        router: router(state.clone()),
        tls: tls.map(acceptor),
        places: Arc::new(Semaphore::new(state.options().connections_max.max(1))),
        shutdown: shutdown.clone(),
        cut: CancellationToken::new(),
        state: state.clone(),
    });
    let tracker = TaskTracker::new();
    let mut upkeep = tokio::time::interval(UPKEEP);
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            _ = upkeep.tick() => {
                counters::upkeep();
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                tracker.spawn(door.clone().welcome(stream, peer));
            }
            Err(error) if is_of_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    state.closing();
    drop(listener);
    tracker.close();
    if timeout(state.options().grace, tracker.wait()).await.is_err() {
        tracing::warn!(connections = tracker.len(), "HTTP connections are cut after their grace");
        door.cut.cancel();
        tracker.wait().await;
    }
    Ok(())
}

/// HTTP/2 where the client speaks it.
fn acceptor(config: Arc<ServerConfig>) -> TlsAcceptor {
    let mut config = ServerConfig::clone(&config);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// The client was gone before it was let in; the listener is well.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// What every connection needs.
struct Door {
    router: Router,
    tls: Option<TlsAcceptor>,
    places: Arc<Semaphore>,
    shutdown: CancellationToken,
    /// Ends what outlives its grace.
    cut: CancellationToken,
    state: HttpState,
}

impl Door {
    async fn welcome(self: Arc<Door>, mut stream: TcpStream, peer: SocketAddr) {
        let Ok(_place) = self.places.clone().try_acquire_owned() else {
            metrics::counter!("millrace_http_connections_refused_total").increment(1);
            if self.tls.is_none() {
                // The connection is closed either way.
                let _ = timeout(ACCEPT_PAUSE, stream.write_all(FULL)).await;
            }
            return;
        };
        let open = metrics::gauge!("millrace_http_connections");
        open.increment(1.0);
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY was refused");
        }
        match &self.tls {
            None => self.http1(stream, peer).await,
            Some(acceptor) => {
                let handshake = acceptor.accept(stream);
                match timeout(self.state.options().handshake_wait, handshake).await {
                    Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
                        self.http2(stream, peer).await;
                    }
                    Ok(Ok(stream)) => self.http1(stream, peer).await,
                    Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
                    Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
                }
            }
        }
        open.decrement(1.0);
    }

    async fn http1<T>(&self, stream: T, peer: SocketAddr)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let options = self.state.options();
        let io = TokioIo::new(StallGuard::new(stream, options.write_stall));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(options.header_wait)
            .serve_connection(io, service_fn(|request| self.answer(peer, request)));
        let mut connection = std::pin::pin!(connection);
        let mut stopping = false;
        let ended = loop {
            tokio::select! {
                ended = connection.as_mut() => break ended,
                () = self.shutdown.cancelled(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = self.cut.cancelled() => return,
            }
        };
        told(peer, ended);
    }

    async fn http2<T>(&self, stream: T, peer: SocketAddr)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let options = self.state.options();
        let io = TokioIo::new(StallGuard::new(stream, options.write_stall));
        let router = self.router.clone();
        // HTTP/2 runs each request as a task of its own, which borrows nothing.
        let service = service_fn(move |request| route(router.clone(), peer, request));
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEADER_BYTES_MAX)
            .serve_connection(io, service);
        let mut connection = std::pin::pin!(connection);
        let mut stopping = false;
        let ended = loop {
            tokio::select! {
                ended = connection.as_mut() => break ended,
                () = self.shutdown.cancelled(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = self.cut.cancelled() => return,
            }
        };
        told(peer, ended);
    }

    async fn answer(
        &self,
        peer: SocketAddr,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Infallible> {
        route(self.router.clone(), peer, request).await
    }
}

async fn route(
    router: Router,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Peer(peer));
    router.oneshot(request).await
}

/// Clients that leave are everyday; the log shows them only when asked.
fn told(peer: SocketAddr, ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "an HTTP connection ended early");
    }
}
