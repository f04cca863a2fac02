//! One client's byte stream: framed messages in, buffered bytes out, plain or under TLS.
//!
//! Memory is bounded in both directions: a message is read as its bytes arrive, never by the length
//! it claims; output is written to the socket before more than one row passes the flush mark.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use query::QueryError;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::backend::error;
use super::message;
use super::out::{self, Severity};
use super::signals;
use crate::budget::{Budget, UNIT_BYTES};

/// Output held back before the socket must take it.
pub const FLUSH_BYTES: usize = 64 * 1024;
/// Input read ahead while a statement runs, to notice a client that left.
const READ_AHEAD_BYTES_MAX: usize = 64 * 1024;
const READ_BYTES: usize = 8 * 1024;
/// Bodies of messages that do not carry statements or values.
const SMALL_BODY_BYTES_MAX: usize = 64 * 1024;
/// Bodies above this take their share of the budget for large messages.
pub const LARGE_BODY_BYTES: usize = 64 * 1024;
/// Buffers above this are given back after use.
const KEPT_BYTES_MAX: usize = 256 * 1024;

/// Why a connection ends.
#[derive(Debug)]
pub enum End {
    /// The client said goodbye.
    Terminated,
    /// The socket closed or failed; nothing can be told any more.
    Gone(io::Error),
    /// The client must be told why, then the connection closes.
    Fatal(QueryError),
}

impl From<io::Error> for End {
    fn from(source: io::Error) -> End {
        End::Gone(source)
    }
}

pub fn fatal(code: &'static str, message: impl Into<String>) -> End {
    End::Fatal(error(code, message.into()))
}

/// The transport: plain until the client asks for TLS.
#[derive(Debug)]
pub enum Transport<S> {
    Plain(S),
    Tls(Box<TlsStream<S>>),
    /// In between, and after a failed handshake.
    Closed,
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Transport<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Transport::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
            Transport::Closed => Poll::Ready(Ok(())),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Transport<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
            Transport::Closed => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(context),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(context),
            Transport::Closed => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::Closed => Poll::Ready(Ok(())),
        }
    }
}

/// A message's kind and body, and its share of the budget while it is worked on.
pub struct Frame {
    pub kind: u8,
    pub body: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

/// Limits on what is read, and the budget that large messages of all connections share.
#[derive(Clone, Debug)]
pub struct ReadLimits {
    pub body_bytes_max: usize,
    pub large_bytes: Option<Arc<Budget>>,
}

/// See the head of this file.
pub struct Socket<S> {
    transport: Transport<S>,
    input: BytesMut,
    /// Bytes for the client; append here, then [`Socket::flush`] or [`Socket::flush_if_full`].
    pub out: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    pub fn new(stream: S) -> Socket<S> {
        Socket { transport: Transport::Plain(stream), input: BytesMut::new(), out: Vec::new() }
    }

    pub fn is_tls(&self) -> bool {
        matches!(self.transport, Transport::Tls(_))
    }

    /// Whether bytes wait that were not asked for yet.
    pub fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// Turns the plain stream into TLS, as the server.
    pub async fn start_tls(&mut self, acceptor: &TlsAcceptor) -> Result<(), End> {
        let Transport::Plain(stream) = std::mem::replace(&mut self.transport, Transport::Closed)
        else {
            return Err(fatal("08P01", "TLS within TLS"));
        };
        let stream = acceptor.accept(stream).await?;
        self.transport = Transport::Tls(Box::new(stream));
        Ok(())
    }

    /// Reads until `count` bytes of input are there.
    async fn fill(&mut self, count: usize) -> Result<(), End> {
        while self.input.len() < count {
            self.input.reserve(READ_BYTES);
            let read = self.transport.read_buf(&mut self.input).await?;
            signals::received(read);
            if read == 0 {
                return Err(End::Gone(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        Ok(())
    }

    fn peek_u32(&self, at: usize) -> u32 {
        let bytes = self.input.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        u32::from_be_bytes(bytes.unwrap_or_default())
    }

    /// Reads a start-up packet, which has no kind; returns its code and what follows it.
    pub async fn startup_packet(&mut self, bytes_max: usize) -> Result<(u32, Bytes), End> {
        self.fill(4).await?;
        let length = self.peek_u32(0) as usize;
        if length < 8 || length > bytes_max {
            return Err(fatal("08P01", "invalid length of startup packet"));
        }
        self.fill(length).await?;
        let code = self.peek_u32(4);
        let packet = self.input.split_to(length).freeze();
        Ok((code, packet.slice(8..)))
    }

    /// Waits until the head of a message is there. May be dropped and called again.
    pub async fn head(&mut self) -> Result<(), End> {
        self.fill(5).await
    }

    /// Reads one message.
    ///
    /// # Errors
    /// Unknown kinds and impossible lengths are fatal, since what follows cannot be framed.
    pub async fn frame(&mut self, limits: &ReadLimits) -> Result<Frame, End> {
        self.head().await?;
        let kind = self.input.first().copied().unwrap_or_default();
        if !message::is_known(kind) {
            return Err(fatal("08P01", format!("invalid frontend message type {kind}")));
        }
        let length = self.peek_u32(1) as usize;
        if length < 4 || length > i32::MAX as usize {
            return Err(fatal("08P01", "invalid message length"));
        }
        let body_length = length - 4;
        let max = match message::may_be_large(kind) {
            true => limits.body_bytes_max,
            false => limits.body_bytes_max.min(SMALL_BODY_BYTES_MAX),
        };
        if body_length > max {
            let words = format!("a message of {body_length} bytes is above the limit of {max}");
            return Err(fatal("08P01", words));
        }
        let share = match &limits.large_bytes {
            Some(budget) if body_length > LARGE_BODY_BYTES => {
                let units = u32::try_from(body_length / UNIT_BYTES).unwrap_or(u32::MAX);
                let share = budget.acquire(units).await;
                Some(share.map_err(|_| fatal("57P01", "the server is closing"))?)
            }
            _ => None,
        };
        self.fill(length + 1).await?;
        let mut packet = self.input.split_to(length + 1).freeze();
        if self.input.is_empty() && packet.len() > KEPT_BYTES_MAX {
            // The body owns the large buffer now; the next message starts a small one.
            self.input = BytesMut::new();
        }
        let body = packet.split_off(5);
        Ok(Frame { kind, body, _share: share })
    }

    /// Runs `work` while listening for the client to leave, so that nothing is computed for nobody.
    /// What the client sends meanwhile is kept, up to a bound.
    pub async fn watch<F: Future>(&mut self, work: F) -> Result<F::Output, End> {
        tokio::pin!(work);
        loop {
            let room = self.input.len() < READ_AHEAD_BYTES_MAX;
            if room {
                self.input.reserve(READ_BYTES);
            }
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                read = self.transport.read_buf(&mut self.input), if room => {
                    let read = read?;
                    signals::received(read);
                    if read == 0 {
                        return Err(End::Gone(io::ErrorKind::UnexpectedEof.into()));
                    }
                }
            }
        }
    }

    pub fn is_full(&self) -> bool {
        self.out.len() >= FLUSH_BYTES
    }

    /// Writes everything out and waits for the socket to take it: the back-pressure of the client.
    pub async fn flush(&mut self) -> Result<(), End> {
        if !self.out.is_empty() {
            self.transport.write_all(&self.out).await?;
            signals::sent(self.out.len());
            self.out.clear();
            self.out.shrink_to(KEPT_BYTES_MAX);
        }
        self.transport.flush().await?;
        Ok(())
    }

    /// Writes everything out and then `bytes`, and waits for the socket to take them.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), End> {
        self.flush().await?;
        self.transport.write_all(bytes).await?;
        signals::sent(bytes.len());
        Ok(())
    }

    pub async fn flush_if_full(&mut self) -> Result<(), End> {
        if self.is_full() { self.flush().await } else { Ok(()) }
    }

    /// Tells the client why the connection ends, as far as it still listens, and closes.
    pub async fn close(&mut self, end: &End) {
        if let End::Fatal(error) = end {
            signals::failed(error);
            tracing::debug!(code = error.code, message = %error.message, "closing a connection");
            out::report(&mut self.out, Severity::Fatal, error);
        }
        if !matches!(end, End::Gone(_)) && self.flush().await.is_err() {
            return;
        }
        // The peer may be gone already; there is nobody left to tell.
        let _ = self.transport.shutdown().await;
    }
}
