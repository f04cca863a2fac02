//! From an accepted socket to a session: TLS, start-up packet, SCRAM log-in.

use std::sync::Arc;

use bytes::Bytes;
use management::LoginFailed;
use query::Identity;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;

use super::backend::{Backend, Exchange};
use super::message::{self, Malformed, Message};
use super::out;
use super::signals;
use super::socket::{End, ReadLimits, Socket, fatal};
use super::{Shared, Source};

const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;
const MECHANISM: &str = "SCRAM-SHA-256";

const AUTH_OK: u32 = 0;
const AUTH_SASL: u32 = 10;
const AUTH_SASL_CONTINUE: u32 = 11;
const AUTH_SASL_FINAL: u32 = 12;

/// Who logged in, and what the start-up packet asked for.
#[derive(Debug)]
pub struct LoggedIn {
    pub identity: Identity,
    pub settings: Vec<(String, String)>,
}

/// What a start-up packet says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wishes {
    user: String,
    database: Option<String>,
    settings: Vec<(String, String)>,
    /// `_pq_.…` options, none of which this server knows.
    unknown_options: Vec<String>,
}

/// Goes through start-up and log-in. None: it was a CancelRequest, already handled. `source`: where
/// the client is, by which failed log-ins are slowed down.
pub async fn log_in<S, B>(
    socket: &mut Socket<S>,
    shared: &Shared<B>,
    full: bool,
    source: Source,
) -> Result<Option<LoggedIn>, End>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Backend,
{
    let Some((version, body)) = negotiate(socket, shared, source).await? else {
        return Ok(None);
    };
    let settings = message::decode_startup(body).map_err(malformed_startup)?;
    let wishes = wishes(settings)?;
    if shared.options.tls_required && !socket.is_tls() && source != Source::Local {
        return Err(fatal("28000", "connection requires TLS"));
    }
    if full {
        return Err(fatal("53300", "sorry, too many clients already"));
    }
    if version & 0xffff > 0 || !wishes.unknown_options.is_empty() {
        out::negotiate_version(&mut socket.out, &wishes.unknown_options);
    }
    let identity = authenticate(socket, shared, &wishes.user, source).await?;
    let database = wishes.database.unwrap_or_else(|| shared.options.database.clone());
    if database != shared.options.database {
        let mut end = fatal("3D000", format!("database \"{database}\" does not exist"));
        if let End::Fatal(error) = &mut end {
            error.hint = Some(format!("The database is called {}.", shared.options.database));
        }
        return Err(end);
    }
    out::authentication(&mut socket.out, AUTH_OK, &[]);
    Ok(Some(LoggedIn { identity, settings: wishes.settings }))
}

/// Answers requests for encryption and cancellation until the real start-up packet comes.
async fn negotiate<S, B>(
    socket: &mut Socket<S>,
    shared: &Shared<B>,
    source: Source,
) -> Result<Option<(u32, Bytes)>, End>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Backend,
{
    let (mut asked_tls, mut asked_gss) = (false, false);
    loop {
        let bytes_max = shared.options.limits.startup_bytes_max;
        let (code, body) = socket.startup_packet(bytes_max).await?;
        match code {
            SSL_REQUEST if !asked_tls => {
                asked_tls = true;
                // Bytes sent in the clear before the handshake could be somebody else's.
                if socket.has_input() {
                    return Err(fatal("08P01", "received unencrypted data after SSL request"));
                }
                // What does not leave the kernel needs none; PostgreSQL answers so too.
                match shared.tls.as_ref().filter(|_| source != Source::Local) {
                    Some(acceptor) => {
                        socket.out.push(b'S');
                        socket.flush().await?;
                        socket.start_tls(acceptor).await?;
                    }
                    None => {
                        socket.out.push(b'N');
                        socket.flush().await?;
                    }
                }
            }
            GSS_REQUEST if !asked_gss => {
                asked_gss = true;
                if socket.has_input() {
                    return Err(fatal("08P01", "received unencrypted data after GSS request"));
                }
                socket.out.push(b'N');
                socket.flush().await?;
            }
            CANCEL_REQUEST => {
                let [process, secret] = cancel_key(&body)?;
                if !shared.cancels.cancel(process, secret) {
                    tracing::debug!(process, "cancel request for no connection");
                }
                return Ok(None);
            }
            version if version >> 16 == 3 => return Ok(Some((version, body))),
            other => {
                let (major, minor) = (other >> 16, other & 0xffff);
                let words = format!(
                    "unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.0"
                );
                return Err(fatal("0A000", words));
            }
        }
    }
}

fn cancel_key(body: &[u8]) -> Result<[i32; 2], End> {
    let word = |at: usize| -> Option<i32> {
        Some(i32::from_be_bytes(body.get(at..at + 4)?.try_into().ok()?))
    };
    match (word(0), word(4), body.len()) {
        (Some(process), Some(secret), 8) => Ok([process, secret]),
        _ => Err(fatal("08P01", "invalid length of cancel request")),
    }
}

fn malformed_startup(malformed: Malformed) -> End {
    match malformed {
        Malformed::NotUtf8 => fatal("22021", "invalid byte sequence for encoding \"UTF8\""),
        _ => fatal("08P01", "invalid startup packet layout: expected terminator as last byte"),
    }
}

fn wishes(settings: Vec<(String, String)>) -> Result<Wishes, End> {
    let mut wishes = Wishes::default();
    for (name, value) in settings {
        match name.as_str() {
            "user" => wishes.user = value,
            "database" => wishes.database = Some(value).filter(|name| !name.is_empty()),
            "options" => wishes.settings.extend(command_line(&value)?),
            "replication" => {
                if !matches!(value.as_str(), "false" | "off" | "no" | "0") {
                    return Err(fatal("0A000", "replication connections are not supported"));
                }
            }
            "client_encoding" => check_encoding(&value)?,
            _ if name.starts_with("_pq_.") => wishes.unknown_options.push(name),
            _ => wishes.settings.push((name, value)),
        }
    }
    if wishes.user.is_empty() {
        return Err(fatal("28000", "no PostgreSQL user name specified in startup packet"));
    }
    Ok(wishes)
}

/// Texts travel as UTF-8; a client that asks for another encoding would misread them.
fn check_encoding(value: &str) -> Result<(), End> {
    let plain: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
    match plain.to_ascii_lowercase().as_str() {
        "utf8" | "unicode" | "sqlascii" => Ok(()),
        _ => Err(fatal("0A000", format!("client encoding \"{value}\" is not supported: use UTF8"))),
    }
}

/// Settings in the `options` parameter: `-c name=value` and `--name=value`, blanks escaped by `\`.
fn command_line(text: &str) -> Result<Vec<(String, String)>, End> {
    let mut settings = Vec::new();
    let mut words = split_words(text).into_iter();
    while let Some(word) = words.next() {
        let setting = if word == "-c" {
            words.next()
        } else if let Some(rest) = word.strip_prefix("--") {
            Some(rest.to_owned())
        } else {
            word.strip_prefix("-c").map(str::to_owned)
        };
        let split = setting.as_deref().and_then(|setting| setting.split_once('='));
        let Some((name, value)) = split else {
            return Err(fatal("42601", format!("invalid command-line argument: {word}")));
        };
        settings.push((name.trim().replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

fn split_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut open) = (String::new(), false);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => {
                open = true;
                word.extend(letters.next());
            }
            blank if blank.is_ascii_whitespace() => {
                if open {
                    words.push(std::mem::take(&mut word));
                }
                open = false;
            }
            other => {
                open = true;
                word.push(other);
            }
        }
    }
    if open {
        words.push(word);
    }
    words
}

/// SCRAM-SHA-256, the only mechanism offered. The secret part runs on a blocking thread, since it
/// reads the users from disk.
async fn authenticate<S, B>(
    socket: &mut Socket<S>,
    shared: &Shared<B>,
    user: &str,
    source: Source,
) -> Result<Identity, End>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Backend,
{
    out::authentication(&mut socket.out, AUTH_SASL, format!("{MECHANISM}\0\0").as_bytes());
    socket.flush().await?;
    let body = sasl_answer(socket, shared).await?;
    let (mechanism, first) = message::decode_sasl_first(body).map_err(malformed_sasl)?;
    if mechanism != MECHANISM {
        let words = "client selected an invalid SASL authentication mechanism";
        return Err(fatal("08P01", words));
    }
    let first = match first {
        Some(first) => first,
        // A client may wait to be asked for its first message (RFC 4422).
        None => {
            out::authentication(&mut socket.out, AUTH_SASL_CONTINUE, &[]);
            socket.flush().await?;
            sasl_answer(socket, shared).await?
        }
    };
    let (backend, name) = (Arc::clone(&shared.backend), user.to_owned());
    let started = blocking(move || {
        let mut exchange = backend.exchange(&name, source.address());
        let answer = exchange.first(&first);
        (exchange, answer)
    });
    let (mut exchange, answer): (Box<dyn Exchange>, _) = started.await?;
    let challenge = answer.map_err(|failed| refuse(user, &failed))?;
    out::authentication(&mut socket.out, AUTH_SASL_CONTINUE, &challenge);
    socket.flush().await?;
    let last = sasl_answer(socket, shared).await?;
    let outcome = blocking(move || exchange.last(&last)).await?;
    let (proof, identity) = outcome.map_err(|failed| refuse(user, &failed))?;
    out::authentication(&mut socket.out, AUTH_SASL_FINAL, &proof);
    Ok(identity)
}

/// Steps of log-ins that may be on threads at one time; hundreds of clients that come at once wait
/// for each other instead of taking a thread each.
static ON_THREADS: Semaphore = Semaphore::const_new(16);

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, End> {
    // The semaphore is never closed.
    let _turn = ON_THREADS.acquire().await;
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| fatal("XX000", "log-in failed within the server"))
}

async fn sasl_answer<S, B>(socket: &mut Socket<S>, shared: &Shared<B>) -> Result<Bytes, End>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Backend,
{
    let body_bytes_max = shared.options.limits.startup_bytes_max;
    let frame = socket.frame(&ReadLimits { body_bytes_max, large_bytes: None }).await?;
    match message::decode(frame.kind, frame.body) {
        Ok(Message::Password(body)) => Ok(body),
        Ok(Message::Terminate) => Err(End::Terminated),
        _ => {
            let kind = char::from(frame.kind);
            Err(fatal("08P01", format!("expected SASL response, got message type \"{kind}\"")))
        }
    }
}

fn malformed_sasl(_: Malformed) -> End {
    fatal("08P01", "malformed SASL response")
}

/// One answer for a wrong password, an unknown user and anything else that went wrong.
fn refuse(user: &str, failed: &LoginFailed) -> End {
    tracing::warn!(user, reason = %failed.reason_for_log, "Postgres log-in refused");
    signals::refused("28P01");
    fatal("28P01", format!("password authentication failed for user \"{user}\""))
}

#[cfg(test)]
mod tests;
