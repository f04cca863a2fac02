//! Whole conversations over an in-memory stream, against a session that needs no engine. The
//! client's side is pgwire's codec, which shares no code with this door.

pub mod client;
mod copies;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::fake::Fake;
use bytes::Bytes;
use client::{Client, bind, execute, parse, plain};
use pgwire::messages::PgWireFrontendMessage as Front;
use pgwire::messages::extendedquery as ext;
use pgwire::messages::simplequery::Query;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// A client over TCP.
const HERE: Source = Source::Address(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

fn tcp(listener: TcpListener) -> Listeners {
    Listeners { tcp: Some(listener), local: None }
}

/// A door with the fake behind it.
fn door(options: PgOptions, tls: Option<Arc<ServerConfig>>) -> Arc<Shared<Fake>> {
    Arc::new(Shared::new(Arc::new(Fake::default()), tls, options, CancellationToken::new()))
}

fn usual() -> Arc<Shared<Fake>> {
    door(PgOptions::default(), None)
}

/// Opens a conversation; the server's side runs until it closes.
fn dial(shared: &Arc<Shared<Fake>>) -> Client {
    let (near, far) = tokio::io::duplex(16 * 1024);
    tokio::spawn(converse(far, HERE, Arc::clone(shared), false));
    Client::new(near)
}

async fn logged_in(shared: &Arc<Shared<Fake>>) -> Client {
    let mut client = dial(shared);
    client.log_in("ann", "right").await;
    client
}

/// Sends messages and compares the answers up to as many ReadyForQuery as Query and Sync were sent.
async fn check(messages: &[Front], expected: &str) {
    let mut client = logged_in(&usual()).await;
    assert_eq!(client.ask(messages).await, expected);
    // Whatever happened, the connection still serves.
    assert_eq!(client.ask(&[simple("SELECT 1")]).await, "T(n:20) D(0) C(SELECT 1) Z(I)");
}

fn simple(sql: &str) -> Front {
    Front::Query(Query::new(sql.to_owned()))
}

fn sync() -> Front {
    Front::Sync(ext::Sync::new())
}

fn describe(kind: u8, name: &str) -> Front {
    Front::Describe(ext::Describe::new(kind, Some(name.to_owned())))
}

fn close(kind: u8, name: &str) -> Front {
    Front::Close(ext::Close::new(kind, Some(name.to_owned())))
}

#[tokio::test]
async fn simple_queries() {
    check(&[simple("SELECT 2")], "T(n:20) D(0) D(1) C(SELECT 2) Z(I)").await;
    check(&[simple("")], "I Z(I)").await;
    check(&[simple(" ; ;")], "I Z(I)").await;
    check(&[simple("SELECT 0; SELECT 1")], "T(n:20) C(SELECT 0) T(n:20) D(0) C(SELECT 1) Z(I)")
        .await;
    check(&[simple("SELECT 1; FAIL; SELECT 1")], "T(n:20) D(0) C(SELECT 1) E(42P01) Z(I)").await;
    check(&[simple("MIDFAIL")], "T(n:20) D(0) E(22012) Z(I)").await;
    check(&[simple("SYNTAX")], "E(42601) Z(I)").await;
    check(&[simple("SET TimeZone Asia/Tokyo")], "S(TimeZone=Asia/Tokyo) C(SET) Z(I)").await;
    check(&[simple("BEGIN"), simple("COMMIT")], "C(BEGIN) Z(T) C(COMMIT) Z(I)").await;
    check(
        &[simple("BEGIN"), simple("BEGIN"), simple("COMMIT"), simple("ROLLBACK")],
        "C(BEGIN) Z(T) N(25001) C(BEGIN) Z(T) C(COMMIT) Z(I) N(25P01) C(ROLLBACK) Z(I)",
    )
    .await;
    check(
        &[simple("BEGIN"), simple("FAIL"), simple("ROLLBACK")],
        "C(BEGIN) Z(T) E(42P01) Z(E) C(ROLLBACK) Z(I)",
    )
    .await;
}

#[tokio::test]
async fn extended_queries() {
    let one = [
        parse("", "ECHO $1", &[]),
        describe(b'S', ""),
        bind("", "", &[Some(b"7")], &[]),
        describe(b'P', ""),
        execute("", 0),
        sync(),
    ];
    check(&one, "1 t(20) T(x:20) 2 T(x:20) D(7) C(SELECT 1) Z(I)").await;
    let named = [
        parse("s", "ECHO $1", &[23]),
        bind("a", "s", &[Some(b"1")], &[]),
        bind("b", "s", &[None], &[]),
        execute("b", 0),
        execute("a", 0),
        close(b'P', "a"),
        close(b'S', "s"),
        close(b'S', "never was"),
        sync(),
    ];
    let expected = "1 2 2 D(NULL) C(SELECT 1) D(1) C(SELECT 1) 3 3 3 Z(I)";
    check(&named, expected).await;
    let empty = [parse("", "", &[]), bind("", "", &[], &[]), describe(b'P', ""), execute("", 0)];
    check(&[&empty[..], &[sync()]].concat_messages(), "1 2 n I Z(I)").await;
    let no_rows = [parse("", "BEGIN", &[]), bind("", "", &[], &[]), execute("", 0), sync()];
    let mut client = logged_in(&usual()).await;
    assert_eq!(client.ask(&no_rows).await, "1 2 C(BEGIN) Z(T)");
}

/// Joins slices of messages, which cannot be cloned.
trait Concat {
    fn concat_messages(&self) -> Vec<Front>;
}

impl Concat for [&[Front]] {
    fn concat_messages(&self) -> Vec<Front> {
        self.iter().flat_map(|part| part.iter().map(client::copy)).collect()
    }
}

#[tokio::test]
async fn binary_results_and_parameters() {
    let mut client = logged_in(&usual()).await;
    let bound = Front::Bind(ext::Bind::new(
        None,
        None,
        vec![1],
        vec![Some(Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0, 9]))],
        vec![1],
    ));
    client.send(&[parse("", "ECHO $1", &[20]), bound, execute("", 0), sync()]).await;
    assert_eq!(client.answer(1).await, "1 2 D(\\x0000000000000009) C(SELECT 1) Z(I)");
}

#[tokio::test]
async fn results_in_pieces() {
    let mut client = logged_in(&usual()).await;
    let begin = client.ask(&[simple("BEGIN")]).await;
    assert_eq!(begin, "C(BEGIN) Z(T)");
    let first = [parse("", "SELECT 5", &[]), bind("p", "", &[], &[]), execute("p", 2), sync()];
    assert_eq!(client.ask(&first).await, "1 2 D(0) D(1) s Z(T)");
    assert_eq!(client.ask(&[execute("p", 2), sync()]).await, "D(2) D(3) s Z(T)");
    assert_eq!(client.ask(&[execute("p", 0), sync()]).await, "D(4) C(SELECT 1) Z(T)");
    assert_eq!(client.ask(&[execute("p", 0), sync()]).await, "C(SELECT 0) Z(T)");
    // The end of the transaction is the end of its portals.
    assert_eq!(
        client.ask(&[simple("COMMIT"), execute("p", 0), sync()]).await,
        "C(COMMIT) Z(I) E(34000) Z(I)"
    );
}

#[tokio::test]
async fn errors_skip_to_sync() {
    let messages = [
        parse("", "FAIL", &[]),
        bind("", "", &[], &[]),
        execute("", 0),
        simple("SELECT 1"),
        parse("t", "SELECT 1", &[]),
        sync(),
        bind("", "t", &[], &[]),
        sync(),
    ];
    let mut client = logged_in(&usual()).await;
    client.send(&messages).await;
    assert_eq!(client.answer(2).await, "1 2 E(42P01) Z(I) E(26000) Z(I)");
}

#[tokio::test]
async fn wrong_order_and_wrong_names() {
    check(&[execute("", 0), sync()], "E(34000) Z(I)").await;
    check(&[describe(b'S', "x"), sync()], "E(26000) Z(I)").await;
    check(&[describe(b'P', "x"), sync()], "E(34000) Z(I)").await;
    check(&[describe(b'?', "x"), sync()], "E(08P01) Z(I)").await;
    check(&[parse("", "SELECT 1; SELECT 2", &[]), sync()], "E(42601) Z(I)").await;
    check(&[parse("s", "SELECT 1", &[]), parse("s", "SELECT 1", &[]), sync()], "1 E(42P05) Z(I)")
        .await;
    check(&[parse("", "ECHO $1", &[]), bind("", "", &[], &[]), sync()], "1 E(08P01) Z(I)").await;
    check(&[parse("", "ECHO $1", &[3802]), sync()], "E(0A000) Z(I)").await;
    let bad_value = [parse("", "ECHO $1", &[]), bind("", "", &[Some(b"x")], &[]), sync()];
    check(&bad_value, "1 E(22P02) Z(I)").await;
    let bad_format = [parse("", "SELECT 1", &[]), bind("", "", &[], &[0, 0]), sync()];
    check(&bad_format, "1 E(08P01) Z(I)").await;
    let twice = [
        parse("", "BEGIN", &[]),
        bind("", "", &[], &[]),
        execute("", 0),
        execute("", 0),
        sync(),
        simple("ROLLBACK"),
    ];
    check(&twice, "1 2 C(BEGIN) E(55000) Z(E) C(ROLLBACK) Z(I)").await;
    check(&[plain(b'F', b"\0\0\0\x01")], "E(0A000) Z(I)").await;
}

#[tokio::test]
async fn errors_of_the_wire_fail_the_transaction_too() {
    let mut client = logged_in(&usual()).await;
    assert_eq!(client.ask(&[simple("BEGIN")]).await, "C(BEGIN) Z(T)");
    assert_eq!(client.ask(&[execute("none", 0), sync()]).await, "E(34000) Z(E)");
    assert_eq!(client.ask(&[simple("ROLLBACK")]).await, "C(ROLLBACK) Z(I)");
    assert_eq!(
        client.ask(&[simple("BEGIN"), simple("SYNTAX")]).await,
        "C(BEGIN) Z(T) E(42601) Z(E)"
    );
}

#[tokio::test]
async fn settings_changed_unsaid_are_told_and_discard_forgets() {
    let mut client = logged_in(&usual()).await;
    assert_eq!(client.ask(&[simple("RESET")]).await, "C(RESET) S(application_name=reset) Z(I)");
    assert_eq!(client.ask(&[simple("RESET")]).await, "C(RESET) Z(I)");
    assert_eq!(client.ask(&[parse("s", "SELECT 1", &[]), sync()]).await, "1 Z(I)");
    assert_eq!(client.ask(&[simple("DISCARD ALL")]).await, "C(DISCARD ALL) Z(I)");
    assert_eq!(client.ask(&[bind("", "s", &[], &[]), sync()]).await, "E(26000) Z(I)");
}

#[tokio::test]
async fn changed_results_are_not_sent_as_described() {
    let messages = [parse("", "CHANGING", &[]), bind("", "", &[], &[]), execute("", 0), sync()];
    check(&messages, "1 2 E(0A000) Z(I)").await;
}

#[tokio::test]
async fn limits_of_statements_portals_and_texts() {
    let mut options = PgOptions::default();
    options.limits.statements_max = 1;
    options.limits.portals_max = 1;
    options.limits.statement_bytes_max = 20;
    let mut client = logged_in(&door(options, None)).await;
    let statements = [parse("a", "SELECT 1", &[]), parse("b", "SELECT 1", &[]), sync()];
    assert_eq!(client.ask(&statements).await, "1 E(53400) Z(I)");
    let portals = [bind("p", "a", &[], &[]), bind("q", "a", &[], &[]), sync()];
    assert_eq!(client.ask(&portals).await, "2 E(53400) Z(I)");
    assert_eq!(client.ask(&[simple("SELECT 1 ; SELECT 1 ;")]).await, "E(54000) Z(I)");
}

#[tokio::test]
async fn frames_that_cannot_be_read_end_the_connection() {
    let cases: &[(&[u8], &str)] = &[
        (b"?\0\0\0\x04", "E(08P01) closed"),
        (b"Q\0\0\0\x03", "E(08P01) closed"),
        (b"Q\xff\xff\xff\xff", "E(08P01) closed"),
        (b"Q\x7f\xff\xff\xff", "E(08P01) closed"),
        // A small message that says it is large.
        (b"S\0\x10\0\0", "E(08P01) closed"),
        (b"p\0\0\0\x05x", "E(08P01) closed"),
        (b"X\0\0\0\x04", "closed"),
        (b"", "closed"),
        (b"Q\0\0\0\x20SELECT", "closed"),
    ];
    for (bytes, expected) in cases {
        let mut client = logged_in(&usual()).await;
        client.write(bytes).await;
        client.hang_up().await;
        assert_eq!(client.rest().await, *expected, "{bytes:?}");
    }
}

#[tokio::test]
async fn malformed_bodies_are_errors_of_the_statement() {
    let mut client = logged_in(&usual()).await;
    client.write(b"Q\0\0\0\x06ab").await;
    assert_eq!(client.answer(1).await, "E(08P01) Z(I)");
    client.write(b"Q\0\0\0\x06\xff\0").await;
    assert_eq!(client.answer(1).await, "E(22021) Z(I)");
    client.write(b"B\0\0\0\x06\0\0S\0\0\0\x04").await;
    assert_eq!(client.answer(1).await, "E(08P01) Z(I)");
    assert_eq!(client.ask(&[simple("SELECT 0")]).await, "T(n:20) C(SELECT 0) Z(I)");
}

#[tokio::test]
async fn log_in_refuses_all_wrongs_alike() {
    for (user, proof) in [("ann", "wrong"), ("nobody", "right"), ("broken", "right")] {
        let mut client = dial(&usual());
        let refused = client.try_log_in(user, proof).await;
        let expected =
            format!("E(28P01) \"password authentication failed for user \\\"{user}\\\"\" closed");
        assert_eq!(refused, Err(expected));
    }
}

#[tokio::test]
async fn startup_packets_of_every_kind() {
    let startup =
        |body: &[u8]| [&(body.len() as u32 + 8).to_be_bytes()[..], &[0, 3, 0, 0], body].concat();
    let cases: &[(Vec<u8>, &str)] = &[
        (startup(b"user\0ann"), "E(08P01) closed"),
        (startup(b"user\0\0\0"), "E(28000) closed"),
        (startup(b"user\0\xff\0\0"), "E(22021) closed"),
        (startup(b"user\0ann\0\0more"), "E(08P01) closed"),
        (vec![0, 0, 0, 4], "E(08P01) closed"),
        (vec![0xff; 8], "E(08P01) closed"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "E(08P01) closed"),
        (vec![0, 0, 0, 8, 0, 2, 0, 0], "E(0A000) closed"),
        (vec![0, 0, 0, 9, 4, 210, 22, 46, 1], "E(08P01) closed"),
        (vec![0, 0, 0], "closed"),
        // Encryption asked for twice, and bytes slipped in before the answer.
        ([0, 0, 0, 8, 4, 210, 22, 48].repeat(2), "E(08P01) closed"),
        ([&[0, 0, 0, 8, 4, 210, 22, 47][..], b"x"].concat(), "E(08P01) closed"),
    ];
    for (bytes, expected) in cases {
        let mut client = dial(&usual());
        client.write(bytes).await;
        client.hang_up().await;
        assert_eq!(client.rest().await, *expected, "{bytes:?}");
    }
    // Every flipped bit of a sound packet: an answer or a closed connection, never a panic.
    let sound = startup(b"user\0ann\0database\0millrace\0\0");
    for bit in 0..sound.len() * 8 {
        let mut bytes = sound.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let mut client = dial(&usual());
        client.write(&bytes).await;
        client.hang_up().await;
        assert!(client.rest().await.ends_with("closed"), "bit {bit}");
    }
}

#[tokio::test]
async fn full_wrong_database_and_newer_protocol() {
    let (near, far) = tokio::io::duplex(4096);
    tokio::spawn(converse(far, HERE, usual(), true));
    let refused = Client::new(near).try_log_in("ann", "right").await;
    assert_eq!(refused.unwrap_err(), "E(53300) \"sorry, too many clients already\" closed");
    let mut client = dial(&usual());
    client.database = "other";
    let refused = client.try_log_in("ann", "right").await.unwrap_err();
    assert!(refused.starts_with("E(3D000)"), "{refused}");
    let mut client = dial(&usual());
    client.minor = 2;
    let greeting = client.try_log_in("ann", "right").await.unwrap();
    assert!(greeting.starts_with("v(196608)"), "{greeting}");
}

#[tokio::test]
async fn cancel_ends_the_running_statement_of_its_key_alone() {
    let shared = usual();
    let mut client = logged_in(&shared).await;
    let (process, secret) = client.key;
    client.send(&[simple("SLEEP")]).await;
    shared.backend.sleeping.notified().await;
    let request = |process: i32, secret: i32| {
        let mut packet = vec![0, 0, 0, 16, 4, 210, 22, 46];
        packet.extend(process.to_be_bytes());
        packet.extend(secret.to_be_bytes());
        packet
    };
    let mut wrong = dial(&shared);
    wrong.write(&request(process, secret.wrapping_add(1))).await;
    assert_eq!(wrong.rest().await, "closed");
    assert_eq!(shared.backend.cancelled.load(Ordering::SeqCst), 0);
    let mut right = dial(&shared);
    right.write(&request(process, secret)).await;
    assert_eq!(right.rest().await, "closed");
    assert_eq!(client.answer(1).await, "E(57014) Z(I)");
    // The extended protocol is cancelled the same way.
    client.send(&[parse("", "SLEEP", &[]), bind("", "", &[], &[]), execute("", 0), sync()]).await;
    shared.backend.sleeping.notified().await;
    dial(&shared).write(&request(process, secret)).await;
    assert_eq!(client.answer(1).await, "1 2 E(57014) Z(I)");
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_query() {
    let shared = usual();
    let mut client = logged_in(&shared).await;
    client.send(&[simple("HANG")]).await;
    shared.backend.sleeping.notified().await;
    drop(client);
    // Resolves only when the stream of the query was dropped.
    shared.backend.dropped.notified().await;
}

#[tokio::test]
async fn a_slow_client_stops_its_query() {
    let shared = usual();
    let mut client = logged_in(&shared).await;
    client.send(&[simple("SELECT 1000000")]).await;
    // The client reads nothing; the stream is asked for no more than buffers hold.
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    let batches = shared.backend.batches.load(Ordering::SeqCst);
    assert!((1..=20).contains(&batches), "{batches} of 1000 batches made");
    let answer = client.answer(1).await;
    assert!(answer.ends_with("D(999999) C(SELECT 1000000) Z(I)"));
    assert_eq!(shared.backend.batches.load(Ordering::SeqCst), 1000);
}

#[tokio::test]
async fn shutdown_says_goodbye_to_idle_clients() {
    let shared = usual();
    let mut client = logged_in(&shared).await;
    shared.shutdown.cancel();
    assert_eq!(client.rest().await, "E(57P01) closed");
}

#[tokio::test]
async fn shutdown_waits_for_running_statements_then_cancels_them() {
    let options = PgOptions { shutdown_grace: Duration::ZERO, ..PgOptions::default() };
    let shared = door(options, None);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(accept_all(tcp(listener), Arc::clone(&shared)));
    let mut client = Client::new(TcpStream::connect(address).await.unwrap());
    client.log_in("ann", "right").await;
    client.send(&[simple("SLEEP")]).await;
    shared.backend.sleeping.notified().await;
    shared.shutdown.cancel();
    server.await.unwrap();
    assert_eq!(client.rest().await, "E(57014) Z(I) E(57P01) closed");
}

#[tokio::test]
async fn prepared_statements_in_sql() {
    check(
        &[
            simple("PREPARE s ECHO $1"),
            simple("PREPARE s ECHO $1"),
            simple("EXECUTE s SELECT 1"),
            simple("EXECUTE s"),
            simple("DEALLOCATE s"),
            simple("DEALLOCATE s"),
            simple("EXECUTE s"),
        ],
        "C(PREPARE) Z(I) E(42P05) Z(I) T(x:20) D(0) C(SELECT 1) Z(I) E(42601) Z(I) \
         C(DEALLOCATE) Z(I) E(26000) Z(I) E(26000) Z(I)",
    )
    .await;
    // One room of names with the protocol's; the unnamed statement is the protocol's alone.
    let mut client = logged_in(&usual()).await;
    let parsed = [parse("a", "SELECT 1", &[]), parse("", "SELECT 1", &[]), sync()];
    assert_eq!(client.ask(&parsed).await, "1 1 Z(I)");
    assert_eq!(client.ask(&[simple("EXECUTE a")]).await, "T(n:20) D(0) C(SELECT 1) Z(I)");
    let executed = [
        parse("e", "EXECUTE a", &[]),
        bind("", "e", &[], &[]),
        describe(b'P', ""),
        execute("", 0),
        sync(),
    ];
    assert_eq!(client.ask(&executed).await, "1 2 T(n:20) D(0) C(SELECT 1) Z(I)");
    assert_eq!(client.ask(&[simple("DEALLOCATE a")]).await, "C(DEALLOCATE) Z(I)");
    assert_eq!(client.ask(&[bind("", "a", &[], &[]), sync()]).await, "E(26000) Z(I)");
    let again = [parse("a", "SELECT 1", &[]), parse("", "SELECT 1", &[]), sync()];
    assert_eq!(client.ask(&again).await, "1 1 Z(I)");
    assert_eq!(client.ask(&[simple("DEALLOCATE ALL")]).await, "C(DEALLOCATE ALL) Z(I)");
    assert_eq!(client.ask(&[bind("", "a", &[], &[]), sync()]).await, "E(26000) Z(I)");
    assert_eq!(client.ask(&[simple("BEGIN; FAIL")]).await, "C(BEGIN) E(42P01) Z(E)");
    assert_eq!(client.ask(&[simple("DEALLOCATE ALL")]).await, "E(25P02) Z(E)");
}

#[tokio::test]
async fn log_in_is_told_where_the_client_is() {
    let shared = usual();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(accept_all(tcp(listener), Arc::clone(&shared)));
    let mut client = Client::new(TcpStream::connect(address).await.unwrap());
    client.log_in("ann", "right").await;
    assert_eq!(*shared.backend.sources.lock(), [Some(address.ip())]);
}

#[tokio::test]
async fn what_comes_through_the_file_system_needs_no_tls() {
    let options = PgOptions { tls_required: true, ..PgOptions::default() };
    let (server, _) = encryption::settings();
    let shared = door(options, Some(server));
    let folder = tempfile::tempdir().unwrap();
    let local = LocalSocket::bind(folder.path(), 5433).unwrap();
    let path = local.path().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let listeners = Listeners { tcp: Some(listener), local: Some(local.listener().unwrap()) };
    tokio::spawn(accept_all(listeners, Arc::clone(&shared)));
    let mut client = Client::new(UnixStream::connect(&path).await.unwrap());
    client.log_in("ann", "right").await;
    assert_eq!(client.ask(&[simple("SELECT 1")]).await, "T(n:20) D(0) C(SELECT 1) Z(I)");
    assert_eq!(*shared.backend.sources.lock(), [None]);
    // A client that asks all the same is told no, and may go on.
    let mut asks = UnixStream::connect(&path).await.unwrap();
    asks.write_all(&encryption::SSL_REQUEST).await.unwrap();
    assert_eq!(asks.read_u8().await.unwrap(), b'N');
    let mut client = Client::new(asks);
    client.log_in("ann", "right").await;
    // The other door stays as it was.
    let mut remote = TcpStream::connect(address).await.unwrap();
    remote.write_all(&encryption::SSL_REQUEST).await.unwrap();
    assert_eq!(remote.read_u8().await.unwrap(), b'S');
    drop(local);
    assert!(!path.exists());
}

#[tokio::test]
async fn connections_above_the_limit_are_told() {
    let mut options = PgOptions::default();
    options.limits.connections_max = 1;
    let shared = door(options, None);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(accept_all(tcp(listener), Arc::clone(&shared)));
    let mut first = Client::new(TcpStream::connect(address).await.unwrap());
    first.log_in("ann", "right").await;
    let mut second = Client::new(TcpStream::connect(address).await.unwrap());
    let refused = second.try_log_in("ann", "right").await.unwrap_err();
    assert!(refused.starts_with("E(53300)"), "{refused}");
    assert_eq!(first.ask(&[simple("SELECT 0")]).await, "T(n:20) C(SELECT 0) Z(I)");
}

mod encryption;
