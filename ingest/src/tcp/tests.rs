//! The TCP server over a real socket on loopback, with a naive engine behind it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use management::LoginFailed;
use query::Identity;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Login, TcpOptions, serve};
use crate::writer::memory::MemoryStore;
use crate::{LineLimits, LineWriter};

struct Passwords;

impl Login for Passwords {
    fn verify(&self, user: &str, password: &str) -> Result<Identity, LoginFailed> {
        if password != "secret:with colon" {
            return Err(LoginFailed { reason_for_log: "wrong password".into() });
        }
        Ok(Identity {
            user: user.into(),
            oid: 1,
            superuser: false,
            can_read: true,
            can_write: user == "writer",
            can_define: false,
            settings: query::RoleSettings::default(),
        })
    }
}

struct Server {
    store: Arc<MemoryStore>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<std::io::Result<()>>,
}

async fn start(options: TcpOptions) -> Server {
    let store = MemoryStore::new();
    let limits = LineLimits { line_bytes_max: 1000, ..LineLimits::default() };
    let writer = LineWriter::with_store(store.clone(), limits);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(serve(listener, writer, Arc::new(Passwords), options, stopped));
    Server { store, address, stop, task }
}

fn open() -> TcpOptions {
    TcpOptions { anonymous_on_loopback: true, ..TcpOptions::default() }
}

/// Sends all, closes the sending side and gives everything answered.
async fn talk(server: &Server, text: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(text).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    // A server that turned us away may reset the connection after its answer.
    while let Ok(1..) = stream.read_buf(&mut answer).await {}
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn log_in_then_lines() {
    let server = start(TcpOptions::default()).await;
    let answer = talk(&server, b"auth writer:secret:with colon\r\nm x=1i 1\nm x=2i 2").await;
    assert_eq!(answer, "ok\nok rows=2 refused=0\n");
    assert_eq!(server.store.rows(), ["m{} x=1i @1", "m{} x=2i @2"]);
    let refused = "error: log-in failed\n";
    assert_eq!(talk(&server, b"auth writer:wrong\nm x=1i 3\n").await, refused);
    let refused = "error: this user may not write\n";
    assert_eq!(talk(&server, b"auth reader:secret:with colon\nm x=1i 3\n").await, refused);
    let refused = "error: the first line must be: auth <user>:<password>\n";
    assert_eq!(talk(&server, b"m x=1i 3\n").await, refused);
    assert_eq!(talk(&server, b"").await, refused);
    assert_eq!(talk(&server, b"auth nobody\n").await, refused);
    assert_eq!(talk(&server, &vec![b'x'; 5000]).await, refused);
    assert_eq!(server.store.rows().len(), 2);
}

#[tokio::test]
async fn refusals_are_told_with_the_line_of_the_connection() {
    let server = start(open()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"m x=1i 1\nbad\n").await.unwrap();
    let mut answer = vec![0; "error line 2: a line without fields\n".len()];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"error line 2: a line without fields\n");
    stream.write_all(b"m y=\"1\n2\" 2\nm x=no 3\n").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.starts_with("error line 5: \"no\" is no value"), "{rest}");
    assert!(rest.ends_with("ok rows=2 refused=2\n"), "{rest}");
    assert_eq!(server.store.rows(), ["m{} x=1i @1", "m{} y=\"1\\n2\" @2"]);
}

#[tokio::test]
async fn a_line_that_is_too_long_is_skipped_without_being_kept() {
    let options = TcpOptions { batch_bytes_max: 500, ..open() };
    let server = start(options).await;
    let mut text = b"m x=1i 1\n".to_vec();
    text.extend(vec![b'x'; 3_000_000]);
    text.extend(b"\nm x=3i 3\nm x=\"open\nm x=5i 5\n");
    let answer = talk(&server, &text).await;
    assert_eq!(
        answer,
        "error line 2: the line is longer than 1000 bytes\n\
         error line 4: a text value without closing quote\n\
         ok rows=3 refused=2\n"
    );
}

#[tokio::test]
async fn many_lines_in_small_batches_all_arrive() {
    let options = TcpOptions { batch_bytes_max: 300, ..open() };
    let server = start(options).await;
    let text: String = (0..20_000).map(|n| format!("m,t={} x={n}i {n}\n", n % 10)).collect();
    assert_eq!(talk(&server, text.as_bytes()).await, "ok rows=20000 refused=0\n");
    assert_eq!(server.store.rows().len(), 20_000);
    assert!(server.store.commits().len() > 3);
}

#[tokio::test]
async fn stopping_writes_complete_lines_and_ends() {
    let options = TcpOptions { batch_wait: Duration::from_secs(3600), ..open() };
    let Server { store, address, stop, task } = start(options).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"m x=1i 1\nm x=2").await.unwrap();
    // The server has read the bytes once it answers an overlong line sent behind them; here it
    // is enough that it stops reading only after what is already in the socket was offered.
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.send(true).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "ok rows=1 refused=0\n");
    task.await.unwrap().unwrap();
    assert_eq!(store.rows(), ["m{} x=1i @1"]);
}

#[tokio::test]
async fn surplus_connections_are_turned_away() {
    let options = TcpOptions { connections_max: 1, ..open() };
    let server = start(options).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(b"m x=1i 1\nbad\n").await.unwrap();
    first.read_u8().await.unwrap();
    assert_eq!(talk(&server, b"").await, "error: too many connections\n");
    drop(first);
}
