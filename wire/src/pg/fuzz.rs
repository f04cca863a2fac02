//! The door for fuzzers of the Postgres protocol, compiled for tests and fuzzers only
//! (`tests/fuzz`): a whole conversation from start-up on, against a session without an engine.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::fake::Fake;
use super::{PgOptions, Shared, Source, converse};

#[cfg(test)]
#[path = "../../../tests/fuzz/smoke.rs"]
mod smoke;

/// Of what the server writes so much is taken; then the client is gone.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// In the first byte of an input: the client has logged in before what follows.
const LOGGED_IN: u8 = 1;
/// In the first byte: the bytes come in pieces, of a length that the upper bits give.
const PIECES: u8 = 2;

/// A client that sends what it was given and then says no more.
struct Script {
    bytes: Vec<u8>,
    at: usize,
    piece: usize,
    answer: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Script {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let script = self.get_mut();
        let some = script.piece.min(buffer.remaining()).min(script.bytes.len() - script.at);
        buffer.put_slice(&script.bytes[script.at..script.at + some]);
        script.at += some;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut answer = self.answer.lock();
        if answer.len() >= ANSWER_BYTES_MAX {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        answer.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

thread_local! {
    static RUNTIME: Runtime =
        Builder::new_current_thread().enable_time().build().expect("a runtime");
}

/// Holds a conversation: the first byte says how the client behaves, the rest is what it sends.
/// Whether the server was ready for a statement and no error was told.
///
/// # Panics
/// If the answer is not made of whole messages.
pub fn postgres(input: &[u8]) -> bool {
    let Some((mode, sent)) = input.split_first() else { return false };
    let mut bytes = Vec::new();
    if mode & LOGGED_IN != 0 {
        bytes = log_in();
    }
    bytes.extend_from_slice(sent);
    let piece = if mode & PIECES != 0 { usize::from(mode >> 2) + 1 } else { usize::MAX };
    let answer = Arc::new(Mutex::new(Vec::new()));
    let script = Script { bytes, at: 0, piece, answer: Arc::clone(&answer) };
    let backend = Arc::new(Fake::default());
    let shared = Shared::new(backend, None, PgOptions::default(), CancellationToken::new());
    RUNTIME
        .with(|runtime| runtime.block_on(converse(script, Source::Local, Arc::new(shared), false)));
    let answer = answer.lock();
    let kinds = kinds(&answer);
    kinds.contains(&b'Z') && !kinds.contains(&b'E')
}

/// Start-up packet and proofs of a user that the fake knows.
fn log_in() -> Vec<u8> {
    let mut bytes = startup(0x0003_0000, b"user\0ann\0database\0millrace\0\0");
    bytes.extend(message(b'p', b"SCRAM-SHA-256\0\0\0\0\x05hello"));
    bytes.extend(message(b'p', b"right"));
    bytes
}

fn startup(code: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as u32 + 8).to_be_bytes().to_vec();
    bytes.extend(code.to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend((body.len() as u32 + 4).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Kinds of the messages of an answer. One that was cut at its limit may end anywhere.
fn kinds(answer: &[u8]) -> Vec<u8> {
    let (mut kinds, mut at) = (Vec::new(), 0);
    while let Some(kind) = answer.get(at) {
        // The answer to a request for encryption is a byte without a frame.
        if *kind == b'N' && answer.get(at + 1).is_none_or(|next| *next != 0) {
            at += 1;
            continue;
        }
        let length = answer.get(at + 1..at + 5).and_then(|bytes| bytes.try_into().ok());
        let end = length.map(|length| at + 1 + u32::from_be_bytes(length) as usize);
        let Some(end) = end.filter(|end| *end <= answer.len() && *end > at + 4) else {
            assert!(answer.len() >= ANSWER_BYTES_MAX, "a message of the answer is not whole");
            break;
        };
        kinds.push(*kind);
        at = end;
    }
    kinds
}

#[cfg(test)]
mod tests {
    //! The smoke run and the corpus.
    use super::super::tests::client::{bind, bytes_of, execute, parse};
    use super::*;
    use pgwire::messages::PgWireFrontendMessage as Front;
    use pgwire::messages::copy::{CopyData, CopyDone, CopyFail};
    use pgwire::messages::extendedquery as ext;
    use pgwire::messages::simplequery::Query;
    use pgwire::messages::terminate::Terminate;

    #[test]
    fn conversations() {
        smoke::check("postgres", postgres);
    }

    /// `cargo test -p wire write_the_corpus -- --ignored`; the client's side is pgwire's codec.
    #[test]
    #[ignore = "writes into the source tree"]
    fn write_the_corpus() {
        let query = |sql: &str| Front::Query(Query::new(sql.to_owned()));
        let sync = || Front::Sync(ext::Sync::new());
        let describe = |kind| Front::Describe(ext::Describe::new(kind, Some("s".to_owned())));
        let close = |kind| Front::Close(ext::Close::new(kind, Some("s".to_owned())));
        put("simple", LOGGED_IN, vec![query("SELECT 2; SET TimeZone Asia/Tokyo"), query("")]);
        put(
            "blocks",
            LOGGED_IN | PIECES | 6 << 2,
            vec![query("BEGIN"), query("PREPARE p ECHO $1"), query("COMMIT"), query("RESET x")],
        );
        for (name, kind, value) in [
            ("int", 23, &b"7"[..]),
            ("float", 701, b"-1.5e3"),
            ("text", 25, b"warm"),
            ("time", 1184, b"2026-01-02 03:04:05.5+01"),
            ("bool", 16, b"t"),
            ("numeric", 1700, b"12.50"),
            ("bytes", 17, b"\\x0aff"),
            ("array", 1016, b"{1,2,NULL}"),
        ] {
            let messages = vec![
                parse("s", "ECHO $1", &[kind]),
                describe(b'S'),
                bind("s", "s", &[Some(value)], &[1]),
                describe(b'P'),
                execute("s", 1),
                close(b'P'),
                close(b'S'),
                sync(),
            ];
            put(&format!("extended-{name}"), LOGGED_IN, messages);
        }
        let copy = vec![
            query("COPYIN"),
            Front::CopyData(CopyData::new(bytes::Bytes::from_static(b"1\t2\n3\t\\N\n"))),
            Front::CopyDone(CopyDone::new()),
            query("COPYOUT binary"),
            Front::Terminate(Terminate::new()),
        ];
        put("copy", LOGGED_IN, copy);
        let fail = vec![query("COPYIN"), Front::CopyFail(CopyFail::new("no more".to_owned()))];
        put("bad-copy-fails", LOGGED_IN, fail);
        put("bad-skips-to-sync", LOGGED_IN, vec![execute("none", 0), describe(b'S'), sync()]);
        let asks = [startup(80_877_104, b""), startup(80_877_103, b"")].concat();
        write("from-the-start", 0, &log_in());
        write("asks-for-tls", PIECES | 7 << 2, &[asks, log_in()].concat());
        write("bad-cancels", 0, &startup(80_877_102, &[0, 0, 0, 1, 0, 0, 0, 2]));
        let newer =
            b"user\0ann\0options\0-c a=b --c-d=e\\ f\0_pq_.x\0y\0client_encoding\0utf-8\0\0";
        write("bad-newer", 0, &startup(0x0003_0002, newer));
    }

    fn put(name: &str, mode: u8, messages: Vec<Front>) {
        let bytes: Vec<u8> = messages.iter().flat_map(bytes_of).collect();
        write(name, mode, &bytes);
    }

    fn write(name: &str, mode: u8, bytes: &[u8]) {
        let folder = smoke::folder("postgres");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), [&[mode], bytes].concat()).unwrap();
    }
}
