//! What is acknowledged is there for SQL at once, over every way to ask.

use crate::server::{TestServer, block_on, first_row};

const T: i64 = 1_704_067_200_000_000_000;

#[test]
fn a_written_row_is_in_the_next_query() {
    let server = TestServer::start();
    block_on(async {
        let client = server.sql().await;
        for n in 1..=50 {
            server.write(&format!("m,host=a n={n}i,x=0.5 {}", T + n * 1_000_000_000));
            assert_eq!(
                first_row(&client, "SELECT count(*), max(n) FROM m").await,
                format!("{n}|{n}")
            );
        }
    });
}

#[test]
fn good_lines_are_kept_and_bad_ones_told() {
    let server = TestServer::start();
    server.write(&format!("m,host=a n=1i,x=1.5 {T}"));
    let lines = format!(
        "m,host=a n=2i {}\nthis is wrong\nm,host=a n=\"text\" {}\nm,host=a x=3i {}\n",
        T + 1000,
        T + 2000,
        T + 3000
    );
    let response = server.write_response(&lines);
    assert_eq!(response.status, 400, "{}", response.text());
    let answer: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    let told: Vec<u64> =
        answer["lines"].as_array().unwrap().iter().map(|l| l["line"].as_u64().unwrap()).collect();
    assert_eq!(told, [2, 3], "{answer}");
    // The integer for a float column was widened, and the good line before the bad ones kept.
    let row = block_on(server.one("SELECT count(*), max(n), max(x) FROM m"));
    assert_eq!(row, "3|2|3");
}

#[test]
fn versions_precisions_and_compression() {
    let server = TestServer::start();
    let mut http = server.http();
    let body = b"p,k=a v=1 1704067200";
    let response = http.post("/write?db=x&precision=s", "text/plain", body).unwrap();
    assert_eq!(response.status, 204, "{}", response.text());
    let response = http.post(
        "/api/v2/write?org=o&bucket=b&precision=ms",
        "text/plain",
        b"p,k=b v=2 1704067200000",
    );
    assert_eq!(response.unwrap().status, 204);
    let response = http.post("/write?precision=fortnights", "text/plain", b"p,k=c v=3 1");
    assert_eq!(response.unwrap().status, 400);
    let row = block_on(server.one("SELECT count(*), count(DISTINCT time), min(time) FROM p"));
    assert_eq!(row, "2|1|2024-01-01 00:00:00+00");
}

#[test]
fn parameters_and_binary_results() {
    let server = TestServer::start();
    block_on(async {
        let client = server.sql().await;
        client
            .batch_execute(
                "CREATE TABLE press (time timestamptz NOT NULL, device text NOT NULL, \
                 temperature double precision, strokes bigint, running boolean, note text, \
                 PRIMARY KEY (device, time))",
            )
            .await
            .unwrap();
        let insert = "INSERT INTO press (time, device, temperature, strokes, running, note) \
                      VALUES ('2024-01-01 00:00:01+00', $1, $2, $3, $4, $5)";
        let note: Option<&str> = None;
        for (device, temperature) in [("p1", 20.5), ("p2", -3.25)] {
            let rows = client
                .execute(insert, &[&device, &temperature, &7i64, &true, &note])
                .await
                .unwrap();
            assert_eq!(rows, 1);
        }
        // tokio-postgres asks for binary results.
        let statement = client
            .prepare(
                "SELECT time, device, temperature, strokes, running, note FROM press \
                 WHERE device = $1 AND temperature < $2",
            )
            .await
            .unwrap();
        let rows = client.query(&statement, &[&"p2", &0.0f64]).await.unwrap();
        assert_eq!(rows.len(), 1);
        let time: std::time::SystemTime = rows[0].get(0);
        let seconds = time.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(seconds, 1_704_067_201);
        assert_eq!(rows[0].get::<_, &str>(1), "p2");
        assert_eq!(rows[0].get::<_, f64>(2), -3.25);
        assert_eq!(rows[0].get::<_, i64>(3), 7);
        assert!(rows[0].get::<_, bool>(4));
        assert_eq!(rows[0].get::<_, Option<&str>>(5), None);
        // The same statement again, and the same in text.
        assert_eq!(client.query(&statement, &[&"p1", &0.0f64]).await.unwrap().len(), 0);
        let text = first_row(&client, "SELECT * FROM press WHERE device = 'p2'").await;
        assert_eq!(text, "2024-01-01 00:00:01+00|p2|-3.25|7|t|");
    });
}

#[test]
fn portals_hand_out_rows_in_pieces() {
    let server = TestServer::start();
    let lines: String =
        (0..1000).map(|n| format!("m,host=h{} n={n}i {}\n", n % 10, T + n)).collect();
    server.write(&lines);
    block_on(async {
        let mut client = server.sql().await;
        let transaction = client.transaction().await.unwrap();
        let portal = transaction.bind("SELECT n FROM m ORDER BY n", &[]).await.unwrap();
        let mut seen = Vec::new();
        loop {
            let rows = transaction.query_portal(&portal, 300).await.unwrap();
            seen.extend(rows.iter().map(|row| row.get::<_, i64>(0)));
            if rows.len() < 300 {
                break;
            }
        }
        assert_eq!(seen, (0..1000).collect::<Vec<i64>>());
        transaction.commit().await.unwrap();
    });
}

#[test]
fn errors_have_codes_and_leave_the_connection_usable() {
    let server = TestServer::start();
    block_on(async {
        let client = server.sql().await;
        for (sql, code) in [
            ("SELEC 1", "42601"),
            ("SELECT * FROM nowhere", "42P01"),
            ("SELECT nothing FROM sys.tables", "42703"),
            ("SELECT 1; SELECT (", "42601"),
        ] {
            let error = client.simple_query(sql).await.expect_err(sql);
            let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}"));
            assert_eq!(error.code().code(), code, "{sql}: {}", error.message());
            assert_eq!(first_row(&client, "SELECT 1").await, "1");
            client.query(sql, &[]).await.expect_err(sql);
            assert_eq!(
                client.query_one("SELECT 1::bigint", &[]).await.unwrap().get::<_, i64>(0),
                1
            );
        }
    });
}

#[test]
fn sql_over_http() {
    let server = TestServer::start();
    server.write(&format!("m,host=a n=1i,x=1.5 {T}\nm,host=b n=2i,x=2.5 {T}"));
    let mut http = server.http();
    let sql = b"SELECT host, n, x FROM m ORDER BY host";
    let csv = http.post("/sql?format=csv", "text/plain", sql).unwrap();
    // Lines of CSV end as RFC 4180 has it.
    assert_eq!((csv.status, csv.text().as_str()), (200, "host,n,x\r\na,1,1.5\r\nb,2,2.5\r\n"));
    let json = http.post("/sql?format=json", "text/plain", sql).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    assert_eq!(json["rows"], serde_json::json!([["a", 1, 1.5], ["b", 2, 2.5]]));
    let wrong = http.post("/sql", "text/plain", b"SELECT * FROM nowhere").unwrap();
    assert!(wrong.status >= 400 && wrong.text().contains("42P01"), "{}", wrong.text());
    for path in ["/health", "/ready"] {
        assert_eq!(http.get(path).unwrap().status, 200, "{path}");
    }
    let metrics = http.get("/metrics").unwrap();
    assert_eq!(metrics.status, 200);
    assert!(metrics.text().contains("# TYPE"), "{}", metrics.text());
}

/// Deletes and updates by psql's protocol and by a driver's, and a restart behind them.
#[test]
fn what_is_deleted_stays_away() {
    let mut server = TestServer::start();
    let lines: String =
        (0..1000).map(|n| format!("m,host=h{} v={n}i {}\n", n % 5, T + n * 1_000_000)).collect();
    server.write(&lines);
    block_on(async {
        let client = server.sql().await;
        client.batch_execute("CHECKPOINT").await.unwrap();
        let deleted = client.execute("DELETE FROM m WHERE host = $1", &[&"h1"]).await.unwrap();
        assert_eq!(deleted, 200);
        let deleted = client.execute("DELETE FROM m WHERE v % 10 = 0", &[]).await.unwrap();
        assert_eq!(deleted, 100);
        let sql = "UPDATE m SET v = -v WHERE host = 'h2' AND v < $1";
        assert_eq!(client.execute(sql, &[&100i64]).await.unwrap(), 20);
        // A row that comes late is there, though its series was deleted before.
        server.write(&format!("m,host=h1 v=7i {T}"));
    });
    for _ in 0..2 {
        let row = block_on(server.one("SELECT count(*), min(v), max(v) FROM m"));
        assert_eq!(row, "701|-97|999");
        assert_eq!(server.server.terminate(std::time::Duration::from_secs(60)).unwrap(), 0);
        server.restart();
    }
    block_on(async {
        let client = server.sql().await;
        client.batch_execute("TRUNCATE m").await.unwrap();
        assert_eq!(first_row(&client, "SELECT count(*) FROM m").await, "0");
    });
}

#[test]
fn a_text_of_several_statements_is_one_transaction() {
    let server = TestServer::start();
    block_on(async {
        let client = server.sql().await;
        let insert = |v: i64| format!("INSERT INTO t VALUES ('2026-01-01', {v})");
        let table = "CREATE TABLE t (time timestamptz, v bigint, PRIMARY KEY (v, time))";
        client.batch_execute(&format!("{table}; {}", insert(1))).await.unwrap();
        let count = "SELECT count(*) FROM t";
        assert_eq!(first_row(&client, count).await, "1");
        let failing = format!("{}; {}; SELECT nothing", insert(2), insert(3));
        let error = client.batch_execute(&failing).await.unwrap_err();
        assert_eq!(error.as_db_error().unwrap().code().code(), "42703");
        assert_eq!(first_row(&client, count).await, "1");
        assert_eq!(first_row(&client, &format!("{}; {count}", insert(2))).await, "2");
        let there_and_gone = format!("{}; DELETE FROM t WHERE v = 9; {count}", insert(9));
        assert_eq!(first_row(&client, &there_and_gone).await, "2");
        let error = client.batch_execute(&format!("BEGIN; {}; SELECT nothing", insert(3))).await;
        assert_eq!(error.unwrap_err().as_db_error().unwrap().code().code(), "42703");
        let error = client.simple_query(count).await.unwrap_err();
        assert_eq!(error.as_db_error().unwrap().code().code(), "25P02");
        client.batch_execute("ROLLBACK").await.unwrap();
        let savepoints = format!(
            "BEGIN; {}; SAVEPOINT s; {}; ROLLBACK TO s; RELEASE s; COMMIT",
            insert(3),
            insert(4)
        );
        client.batch_execute(&savepoints).await.unwrap();
        assert_eq!(first_row(&client, count).await, "3");
    });
}

#[test]
fn prepared_statements_of_sql_and_of_the_protocol_share_their_names() {
    let server = TestServer::start();
    server.write("m,host=a v=1i 1704067200000000000\nm,host=b v=2i 1704067201000000000");
    block_on(async {
        let client = server.sql().await;
        client.batch_execute("PREPARE p (text) AS SELECT v FROM m WHERE host = $1").await.unwrap();
        assert_eq!(first_row(&client, "EXECUTE p('b')").await, "2");
        assert_eq!(first_row(&client, "EXECUTE p(chr(97))").await, "1");
        assert_eq!(first_row(&client, "EXECUTE p(NULL)").await, "");
        let rows = client.query("EXECUTE p('a')", &[]).await.unwrap();
        assert_eq!(rows[0].get::<_, i64>(0), 1);
        client
            .batch_execute(
                "PREPARE w AS INSERT INTO m (time, host, v) VALUES ($1, $2, $3);
                 EXECUTE w('2024-01-01 00:00:02+00', 'c', 3)",
            )
            .await
            .unwrap();
        assert_eq!(
            first_row(&client, "SELECT sum(v), max(time) FROM m").await,
            "6|2024-01-01 00:00:02+00"
        );
        client.batch_execute("DEALLOCATE p").await.unwrap();
        let error = client.simple_query("EXECUTE p('a')").await.unwrap_err();
        assert_eq!(error.as_db_error().unwrap().code().code(), "26000");
        let statement = client.prepare("SELECT 1").await.unwrap();
        client.query(&statement, &[]).await.unwrap();
        client.batch_execute("DEALLOCATE ALL").await.unwrap();
        let error = client.query(&statement, &[]).await.unwrap_err();
        assert_eq!(error.as_db_error().unwrap().code().code(), "26000");
        client.batch_execute("DISCARD ALL").await.unwrap();
        let error = client.simple_query("SELECT FROM WHERE").await.unwrap_err();
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code().code(), "42601");
        assert_eq!(error.position(), Some(&tokio_postgres::error::ErrorPosition::Original(13)));
    });
}
