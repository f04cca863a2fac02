//! Many connections on few threads; limits of roles, stopping others and slow statements over the
//! wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Barrier;
use tokio_postgres::error::SqlState;

use crate::server::{TestServer, block_on, first_row};

/// Connections at one time.
const CLIENTS: usize = 200;
/// Rounds of statements of each.
const ROUNDS: usize = 5;
/// Threads that may come for them: of reading, planning, writing, each a fixed number.
const THREADS_MORE_MAX: u64 = 110;

/// Threads of a process.
fn threads(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("Threads:"));
    line.expect("a number of threads").trim().parse().expect("a number")
}

#[test]
fn two_hundred_connections_take_no_thread_each() {
    let server = TestServer::start();
    block_on(
        server
            .one("CREATE TABLE m (time timestamptz, client bigint, n bigint, PRIMARY KEY (time))"),
    );
    let pid = server.server.pid();
    let before = threads(pid);
    let done = AtomicBool::new(false);
    let most = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                most = most.max(threads(pid));
                std::thread::sleep(Duration::from_millis(2));
            }
            most
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let worked = runtime.block_on(async {
            let together = Arc::new(Barrier::new(CLIENTS));
            let mut clients = tokio::task::JoinSet::new();
            for number in 0..CLIENTS {
                // They log in at once, and go on when all are there.
                let (connection, together) = (server.connection(), together.clone());
                clients.spawn(async move {
                    let client = connection.postgres().await.expect("a connection");
                    together.wait().await;
                    work(&client, number).await;
                    together.wait().await;
                    drop(client);
                });
            }
            while let Some(ended) = clients.join_next().await {
                ended?;
            }
            Ok::<_, tokio::task::JoinError>(())
        });
        done.store(true, Ordering::Relaxed);
        worked.expect("every client's work");
        watcher.join().expect("the watcher")
    });
    let rows = block_on(server.one("SELECT count(*), count(DISTINCT client) FROM m"));
    assert_eq!(rows, format!("{}|{CLIENTS}", CLIENTS * ROUNDS));
    assert!(most <= before + THREADS_MORE_MAX, "{before} threads, then {most}");
    eprintln!("{before} threads before, {most} with {CLIENTS} connections");
    server.wait_for("SELECT count(*) < 5 FROM pg_stat_activity", "t");
}

/// What a client does: each kind of statement a few times.
async fn work(client: &tokio_postgres::Client, number: usize) {
    for round in 0..ROUNDS {
        assert_eq!(first_row(client, "SELECT 1").await, "1");
        client.batch_execute(&format!("SET application_name = 'c{number}'")).await.expect("SET");
        let micros = (number * ROUNDS + round) * 1_000;
        let insert = format!(
            "INSERT INTO m VALUES ('2026-01-01'::timestamptz + {micros} * interval '1 microsecond',
             {number}, {round})"
        );
        client.batch_execute(&insert).await.expect("INSERT");
        let own = format!("SELECT count(*) FROM m WHERE client = {number}");
        assert_eq!(first_row(client, &own).await, (round + 1).to_string());
        let planned = format!(
            "SELECT max(a.n) FROM m AS a JOIN m AS b USING (time) WHERE a.client = {number}"
        );
        assert_eq!(first_row(client, &planned).await, round.to_string());
        let prepared = client.prepare("SELECT n FROM m WHERE client = $1 ORDER BY n").await;
        let rows = client.query(&prepared.expect("a statement"), &[&(number as i64)]).await;
        assert_eq!(rows.expect("rows").len(), round + 1);
        assert!(first_row(client, "SELECT count(*) > 0 FROM pg_class").await == "t");
    }
}

#[test]
fn roles_are_limited_over_the_wire() {
    let server = TestServer::start();
    block_on(async {
        let admin = server.sql().await;
        admin
            .batch_execute(
                "CREATE USER ann PASSWORD 'correct horse' READ;
                 ALTER ROLE ann SET statement_timeout = '5s';
                 ALTER ROLE ann SET millrace.max_result_rows = 100;
                 ALTER ROLE ann SET millrace.query_memory = '8MB'",
            )
            .await
            .expect("a role");
        let mut connection = server.connection();
        (connection.user, connection.password) = ("ann".into(), Some("correct horse".into()));
        let ann = connection.postgres().await.expect("a connection");
        assert_eq!(first_row(&ann, "SHOW statement_timeout").await, "5s");
        let code = |error: tokio_postgres::Error| error.code().cloned().expect("an SQLSTATE");
        let fails = async |sql: &str| code(ann.simple_query(sql).await.expect_err(sql));
        let endless = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t)
                       SELECT count(*) FROM t";
        assert_eq!(fails(endless).await, SqlState::QUERY_CANCELED);
        let long = "SELECT * FROM generate_series(1, 101)";
        assert_eq!(fails(long).await, SqlState::CONFIGURATION_LIMIT_EXCEEDED);
        assert_eq!(fails("SET statement_timeout = 0").await, SqlState::INSUFFICIENT_PRIVILEGE);
        assert_eq!(
            fails("ALTER ROLE ann RESET statement_timeout").await,
            SqlState::INSUFFICIENT_PRIVILEGE
        );
        ann.batch_execute("ALTER ROLE ann SET TimeZone = 'Asia/Tokyo'").await.expect("her own");
    });
    // HTTP sessions are the role's, too, and what a request asks for does not widen them.
    let mut http = server.http_as("ann", "correct horse");
    let response = http
        .post("/sql?statement_timeout=0", "text/plain", b"SHOW statement_timeout")
        .expect("an answer");
    assert!(response.text().contains("5s"), "{}", response.text());
    let response = http.post("/sql", "text/plain", b"SHOW timezone").expect("an answer");
    assert!(response.text().contains("Asia/Tokyo"), "{}", response.text());
}

#[test]
fn role_limits_outlive_a_restart() {
    let mut server = TestServer::start();
    let limits = "ALTER ROLE admin SET millrace.max_result_rows = 5";
    block_on(server.one(limits));
    server.server.terminate(Duration::from_secs(60)).expect("an end");
    server.restart();
    assert_eq!(block_on(server.one("SHOW millrace.max_result_rows")), "5");
}

#[test]
fn connections_are_stopped_by_number() {
    let server = TestServer::start();
    block_on(async {
        let (admin, other) = (server.sql().await, server.sql().await);
        let pid = first_row(&other, "SELECT pg_backend_pid()").await;
        let endless = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t)
                       SELECT count(*) FROM t";
        for whole in [false, true] {
            let runs = other.simple_query(endless);
            let stops = async {
                let state = format!(
                    "SELECT count(*) FROM sys.queries WHERE pid = {pid} AND state = 'running'"
                );
                while first_row(&admin, &state).await != "1" {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                let started = Instant::now();
                let verb = if whole { "terminate" } else { "cancel" };
                let asked = format!("SELECT pg_{verb}_backend({pid})");
                assert_eq!(first_row(&admin, &asked).await, "t");
                started
            };
            let (ended, started) = tokio::join!(runs, stops);
            let error = ended.expect_err("it was stopped");
            assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED), "{error:?}");
            eprintln!("told after {:?}", started.elapsed());
        }
        // Told in the midst of a statement, the connection ends behind it.
        let gone = other.simple_query("SELECT 1").await.expect_err("a closed connection");
        assert!(gone.is_closed() || gone.code() == Some(&SqlState::ADMIN_SHUTDOWN), "{gone:?}");
    });
}

#[test]
fn slow_statements_are_logged_without_secrets() {
    let server = TestServer::start();
    block_on(async {
        let admin = server.sql().await;
        admin
            .batch_execute(
                "SET millrace.slow_query_after = '1ms';
                 CREATE USER ann PASSWORD 'do not show this' READ",
            )
            .await
            .expect("a role");
        let slow = "SELECT count(*) FROM generate_series(1, 3000000) AS value WHERE value % 7 = 3";
        first_row(&admin, slow).await;
        let kept = first_row(
            &admin,
            "SELECT rows_returned, plan LIKE '%output_rows%' FROM sys.slow_queries
             WHERE text LIKE '%3000000%'",
        );
        assert_eq!(kept.await, "1|t");
    });
    let log = server.log();
    assert!(log.contains("slow statement") && log.contains("3000000"), "{log}");
    assert!(!log.contains("do not show this"));
}
