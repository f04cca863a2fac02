//! Over real sockets: limits of connections and time, TLS, cut answers, the orderly stop.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::*;
use crate::http::serve;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct Served {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
}

async fn served(house: &Arc<House>, options: HttpOptions) -> Served {
    let state = HttpState::starting(options);
    state.set_backend(house.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve(listener, state, None, stop.clone()));
    Served { address, stop, task }
}

impl Served {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connects")
    }

    /// Sends a text and reads until the server closes.
    async fn exchange(&self, text: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(text.as_bytes()).await.expect("writes");
        rest(&mut stream).await
    }
}

/// What comes until the end, however it ends.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    let _ended = tokio::time::timeout(Duration::from_secs(20), read).await.expect("it ends");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn question(sql: &str) -> String {
    let length = sql.len();
    format!(
        "POST /sql?format=csv HTTP/1.1\r\nhost: x\r\nauthorization: {ANN}\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{sql}"
    )
}

#[tokio::test]
async fn answers_over_a_socket() {
    let house = Arc::new(House::default());
    let served = served(&house, quick()).await;
    let answer = served.exchange(&question("rows")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n0\r\n\r\n"), "a whole answer ends: {answer}");
    let cut = served.exchange(&question("breaks later")).await;
    assert!(cut.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(!cut.ends_with("0\r\n\r\n"), "a cut answer does not end");
    for garbage in ["\0\0\0\0\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n"] {
        let answer = served.exchange(garbage).await;
        assert!(answer.is_empty() || answer.contains(" 400 "), "{answer}");
    }
    assert!(served.exchange(&question("rows")).await.contains("200 OK"), "the server lives on");
}

#[tokio::test]
async fn a_client_that_vanishes_ends_its_query() {
    let house = Arc::new(House::default());
    let served = served(&house, quick()).await;
    for (asked, sql) in ["endless", "never"].into_iter().enumerate() {
        house.cancelled.store(0, Ordering::SeqCst);
        let mut stream = served.connect().await;
        stream.write_all(question(sql).as_bytes()).await.expect("writes");
        house.begun(asked + 1).await;
        drop(stream);
        let until = tokio::time::Instant::now() + Duration::from_secs(20);
        while house.cancelled.load(Ordering::SeqCst) == 0 {
            assert!(tokio::time::Instant::now() < until, "{sql} still runs");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn slow_clients_are_let_go() {
    let house = Arc::new(House::default());
    let short = Duration::from_millis(200);
    let options = HttpOptions { header_wait: short, body_pause: short, ..quick() };
    let options = HttpOptions { write_stall: short, ..options };
    let served = served(&house, options).await;
    // Silent from the start, in the headers, and idle after an answer.
    assert_eq!(served.exchange("").await, "");
    let answer = served.exchange("GET /ping HTTP/1.1\r\nhost:").await;
    assert!(answer.is_empty() || answer.contains(" 408 "), "{answer}");
    let answer = served.exchange("GET /ping HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    // In the body.
    let head = format!(
        "POST /write HTTP/1.1\r\nhost: x\r\nauthorization: {ANN}\r\ncontent-length: 9\r\n\r\ncpu"
    );
    let answer = served.exchange(&head).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    // In reading an endless answer.
    let mut stream = served.connect().await;
    stream.write_all(question("endless").as_bytes()).await.expect("writes");
    let until = tokio::time::Instant::now() + Duration::from_secs(20);
    while house.cancelled.load(Ordering::SeqCst) == 0 {
        assert!(tokio::time::Instant::now() < until, "an unread answer must end");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let house = Arc::new(House::default());
    let served = served(&house, HttpOptions { connections_max: 1, ..quick() }).await;
    let mut first = served.connect().await;
    let ping = b"GET /ping HTTP/1.1\r\nhost: x\r\n\r\n";
    first.write_all(ping).await.expect("writes");
    let mut byte = [0; 1];
    first.read_exact(&mut byte).await.expect("an answer");
    let second = rest(&mut served.connect().await).await;
    assert!(second.starts_with("HTTP/1.1 503"), "{second}");
    drop(first);
    let until = tokio::time::Instant::now() + Duration::from_secs(20);
    while !served.exchange(&question("rows")).await.contains("200 OK") {
        assert!(tokio::time::Instant::now() < until, "the place must become free");
    }
}

#[tokio::test]
async fn a_gigabyte_over_the_socket_is_told_413() {
    let house = Arc::new(House::default());
    let served = served(&house, quick()).await;
    let mut stream = served.connect().await;
    let head = format!(
        "POST /write HTTP/1.1\r\nhost: x\r\nauthorization: {ANN}\r\n\
         transfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("writes");
    let (mut reader, mut writer) = stream.split();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(1 << 16));
    let write = async {
        for _ in 0..16 * 1024 {
            if writer.write_all(chunk.as_bytes()).await.is_err() {
                break;
            }
        }
    };
    let read = async {
        let mut start = [0; 12];
        reader.read_exact(&mut start).await.expect("an answer");
        String::from_utf8_lossy(&start).into_owned()
    };
    let answer = tokio::select! {
        answer = read => answer,
        () = async { write.await; std::future::pending().await } => unreachable!(),
    };
    assert_eq!(answer, "HTTP/1.1 413");
    assert!(house.written.lock().is_empty());
}

#[tokio::test]
async fn stopping_lets_requests_end_and_cuts_the_rest() {
    let house = Arc::new(House::default());
    let grace = Duration::from_millis(300);
    let Served { address, stop, task } = served(&house, HttpOptions { grace, ..quick() }).await;
    let mut idle = TcpStream::connect(address).await.expect("connects");
    let mut endless = TcpStream::connect(address).await.expect("connects");
    endless.write_all(question("never").as_bytes()).await.expect("writes");
    house.begun(1).await;
    stop.cancel();
    assert_eq!(rest(&mut idle).await, "");
    assert_eq!(rest(&mut endless).await, "");
    let ended = tokio::time::timeout(Duration::from_secs(20), task).await;
    ended.expect("it stops").expect("it does not panic").expect("no error");
    assert_eq!(house.cancelled.load(Ordering::SeqCst), 1);
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn tls_and_plain_text_where_tls_is_expected() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a key");
    let certificate = made.cert.der().clone();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.expect("a key"))
        .expect("a configuration");
    let house = Arc::new(House::default());
    let state = HttpState::starting(quick());
    state.set_backend(house);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve(listener, state, Some(Arc::new(config)), stop.clone()));

    let mut plain = TcpStream::connect(address).await.expect("connects");
    plain.write_all(question("rows").as_bytes()).await.expect("writes");
    assert!(!rest(&mut plain).await.contains("HTTP/1.1 200"));

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).expect("a certificate");
    let client = rustls::ClientConfig::builder().with_root_certificates(roots);
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client.with_no_client_auth()));
    let stream = TcpStream::connect(address).await.expect("connects");
    let name = "localhost".try_into().expect("a name");
    let mut stream = connector.connect(name, stream).await.expect("a handshake");
    stream.write_all(question("rows").as_bytes()).await.expect("writes");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("reads");
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
    stop.cancel();
    task.await.expect("it does not panic").expect("no error");
}
