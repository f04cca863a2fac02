//! Clients that mean harm or are broken: each is refused clearly, the server lives on, and its
//! memory stays bounded.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use futures::{StreamExt, pin_mut};

use crate::server::{TestServer, block_on, first_row};

const T: i64 = 1_704_067_200_000_000_000;
/// Far below what the clients here send, far above what an idle server needs.
const MEMORY_MAX: u64 = 768 << 20;

/// The server answers, and never held more than it may.
fn check_alive(server: &TestServer) {
    assert_eq!(block_on(server.one("SELECT 1")), "1");
    server.write(&format!("alive v=1 {T}"));
    let peak = server.server.peak_memory().unwrap();
    assert!(peak < MEMORY_MAX, "the server held {} MiB", peak >> 20);
}

fn authorization(server: &TestServer) -> String {
    let secret = format!("admin:{}", server.server.password);
    let secret = base64::engine::general_purpose::STANDARD.encode(secret);
    format!("Authorization: Basic {secret}\r\n")
}

/// Sends a body of `bytes` times `a` and gives the status of the answer.
fn send_endless(server: &TestServer, head: &str, bytes: u64, chunked: bool) -> String {
    let mut stream = TcpStream::connect(server.server.http).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let login = authorization(server);
    write!(stream, "POST /write HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{login}{head}\r\n")
        .unwrap();
    let block = vec![b'a'; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        let sent = if chunked {
            stream
                .write_all(b"100000\r\n")
                .and_then(|()| stream.write_all(&block))
                .and_then(|()| stream.write_all(b"\r\n"))
        } else {
            stream.write_all(&block)
        };
        // The server has seen enough: its answer is waiting.
        if sent.is_err() {
            break;
        }
        left = left.saturating_sub(block.len() as u64);
    }
    let mut answer = Vec::new();
    // After a refusal the connection may be reset; what was read before that counts.
    let _reset = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).lines().next().unwrap_or("").to_owned()
}

#[test]
fn a_line_of_a_gigabyte() {
    let server = TestServer::start();
    let gigabyte = 1u64 << 30;
    let known = format!("Content-Length: {gigabyte}\r\n");
    let answer = send_endless(&server, &known, gigabyte, false);
    // A reset may overtake the answer; then there is none, but never a success.
    assert!(answer.is_empty() || answer.contains(" 413"), "{answer}");
    let answer = send_endless(&server, "Transfer-Encoding: chunked\r\n", gigabyte, true);
    assert!(answer.is_empty() || answer.contains(" 413"), "{answer}");
    check_alive(&server);
}

#[test]
fn a_line_of_a_gigabyte_over_tcp() {
    let server = TestServer::with(&["--listen-line=127.0.0.1:0"]);
    let address = server.server.line.expect("a door for lines");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    writeln!(stream, "auth admin:{}", server.server.password).unwrap();
    let mut answer = [0; 3];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"ok\n");
    let block = vec![b'a'; 1 << 20];
    for _ in 0..1024 {
        if stream.write_all(&block).is_err() {
            break;
        }
    }
    let _closed = stream.write_all(b"\n");
    let mut answer = [0; 5];
    // A reset may overtake the answer.
    if stream.read_exact(&mut answer).is_ok() {
        assert_eq!(&answer, b"error");
    }
    check_alive(&server);
}

#[test]
fn a_message_of_a_gigabyte() {
    let server = TestServer::start();
    // A start-up packet that says it is 1 GB long, and one that is nonsense.
    for head in [(1i32 << 30).to_be_bytes(), (-1i32).to_be_bytes(), 3i32.to_be_bytes()] {
        let mut stream = TcpStream::connect(server.server.pg).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let block = vec![0u8; 1 << 20];
        let mut sent = stream.write_all(&head);
        for _ in 0..64 {
            sent = sent.and_then(|()| stream.write_all(&block));
        }
        let mut answer = Vec::new();
        let _reset = stream.read_to_end(&mut answer);
    }
    check_alive(&server);
}

#[test]
fn a_million_columns() {
    let server = TestServer::start();
    let mut line = String::from("wide,k=a ");
    for column in 0..1_000_000 {
        line.push_str(&format!("f{column}=1,"));
    }
    line.pop();
    let response = server.write_response(&format!("{line} {T}\n"));
    assert_eq!(response.status, 400, "{}", &response.text()[..200.min(response.body.len())]);
    check_alive(&server);
    // The same in lines of a hundred: what the limit allows is kept, the rest refused.
    let mut lines = String::new();
    for at in 0..10_000 {
        let fields: Vec<String> = (0..100).map(|f| format!("f{}=1", at * 100 + f)).collect();
        lines.push_str(&format!("wide,k=a {} {}\n", fields.join(","), T + at));
    }
    let response = server.write_response(&lines);
    assert_eq!(response.status, 400);
    let count: u64 = block_on(server.one("SELECT count(*) FROM wide")).parse().unwrap();
    assert!((1..=41).contains(&count), "{count} rows");
    check_alive(&server);
}

#[test]
fn malformed_sql() {
    let server = TestServer::start();
    server.write(&format!("m,host=a v=1 {T}"));
    block_on(async {
        let client = server.sql().await;
        let deep = format!("SELECT {}1{}", "(".repeat(20_000), ")".repeat(20_000));
        let long = format!("SELECT {} FROM m", vec!["v"; 200_000].join(" + "));
        let quoted = "SELECT 'never closed".to_owned();
        let nul = "SELECT \u{1}\u{2}\u{7f}".to_owned();
        for sql in [deep, long, quoted, nul, "((((".into(), "SELECT * FROM m WHERE".into()] {
            // Whatever comes of it, it is an answer, and the connection or a new one works.
            let _answer = client.simple_query(&sql).await;
            let other = server.sql().await;
            assert_eq!(first_row(&other, "SELECT count(*) FROM m").await, "1");
        }
    });
    check_alive(&server);
}

#[test]
fn clients_that_vanish_in_mid_result() {
    let server = TestServer::start();
    for hour in 0..10 {
        let lines: String = (0..10_000)
            .map(|n| format!("m,host=h{} v={n}i {}\n", n % 7, T + (hour * 10_000 + n) * 1_000_000))
            .collect();
        server.write(&lines);
    }
    block_on(async {
        for _ in 0..4 {
            let (client, connection) = server.sql_apart().await;
            // A hundred billion rows, were they all made.
            let stream = client
                .simple_query_raw("SELECT a.v, b.v, a.host, b.time FROM m AS a CROSS JOIN m AS b")
                .await
                .unwrap();
            pin_mut!(stream);
            for _ in 0..10 {
                stream.next().await.unwrap().unwrap();
            }
            // A dropped client would still read to the end: the socket must go.
            connection.abort();
        }
        wait_until_idle(&server).await;
    });
    check_alive(&server);
}

/// Waits until the server uses no processor any more: the queries of vanished clients have ended.
async fn wait_until_idle(server: &TestServer) {
    for _ in 0..60 {
        let before = processor_ticks(server.server.pid());
        tokio::time::sleep(Duration::from_secs(1)).await;
        // Of a hundred ticks a second, background work may take some.
        if processor_ticks(server.server.pid()) - before < 20 {
            return;
        }
    }
    panic!("queries of clients that are gone still run");
}

/// User and system time of a process, 1/100 s.
fn processor_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name in parentheses may hold blanks; times are fields 14 and 15, 12 and 13 after it.
    let rest = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Statements that would run for minutes and that no batch of rows, or no leaf, would interrupt.
const ENDLESS: [(&str, &str); 6] = [
    ("cross join", "SELECT sum(a.v * b.v * c.v) FROM m AS a CROSS JOIN m AS b CROSS JOIN m AS c"),
    ("nested loop", "SELECT count(*) FROM m AS a, m AS b, m AS c WHERE a.v + b.v + c.v < 0"),
    (
        "hash join of one value",
        "SELECT count(*) FROM m AS a JOIN m AS b ON a.v % 1 = b.v % 1
         JOIN m AS c ON c.v % 1 = b.v % 1 AND a.v + b.v + c.v < 0",
    ),
    (
        "sort",
        "SELECT value FROM generate_series(1, 1000000000) AS value ORDER BY value % 1000003 OFFSET 9",
    ),
    (
        "aggregate",
        "SELECT count(*) FROM (SELECT value % 100000 AS g, sum(value), max(value)
         FROM generate_series(1, 10000000000) AS value GROUP BY 1) AS t",
    ),
    (
        "window",
        "SELECT max(r) FROM (SELECT sum(a.v) OVER (PARTITION BY b.v ORDER BY a.v
         ROWS BETWEEN 1000 PRECEDING AND CURRENT ROW) AS r FROM m AS a CROSS JOIN m AS b) AS t",
    ),
];

#[test]
fn cancelled_statements_end() {
    let server = TestServer::start();
    let lines: String = (0..10_000).map(|n| format!("m v={n}i {}\n", T + n * 1_000_000)).collect();
    server.write(&lines);
    block_on(async {
        let client = server.sql().await;
        let token = client.cancel_token();
        for (what, sql) in ENDLESS {
            let query = client.simple_query(sql);
            // A request that comes before the statement has begun ends nothing, so it is repeated.
            let cancel = async {
                loop {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    token.cancel_query(tokio_postgres::NoTls).await.unwrap();
                }
            };
            let query = tokio::select! { done = query => done, () = cancel => unreachable!() };
            let error = query.expect_err(what);
            assert_eq!(error.as_db_error().expect(what).code().code(), "57014", "{what}");
            client.simple_query("SET statement_timeout = '300ms'").await.unwrap();
            let error = client.simple_query(sql).await.expect_err(what);
            assert_eq!(error.as_db_error().expect(what).code().code(), "57014", "{what}");
            client.simple_query("RESET statement_timeout").await.unwrap();
            assert_eq!(first_row(&client, "SELECT 1").await, "1");
            wait_until_idle(&server).await;
        }
    });
    check_alive(&server);
}
