//! COPY with real clients: rows in and out in every format.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt, TryStreamExt, pin_mut};
use tokio_postgres::Client;
use tokio_postgres::binary_copy::{BinaryCopyInWriter, BinaryCopyOutStream};
use tokio_postgres::types::Type;

use crate::server::{TestServer, block_on, first_row};

const TABLE: &str = "time timestamptz NOT NULL, device text NOT NULL, v double precision,
    n bigint, b boolean, s text, raw bytea, PRIMARY KEY (device, time)";

/// A table with every type, and values that formats must take care with.
async fn fill(client: &Client) {
    client
        .batch_execute(&format!("CREATE TABLE t ({TABLE}); CREATE TABLE u ({TABLE})"))
        .await
        .unwrap();
    client
        .batch_execute(
            r#"INSERT INTO t VALUES
            ('2026-01-01 00:00:00.123456+00', 'a', 1.5, -7, true, 'plain', '\x00ff5c'),
            ('2026-01-02', 'a', NULL, NULL, NULL, NULL, NULL),
            ('2026-01-03', 'a', 'NaN', 9223372036854775807, false, '', ''),
            ('2026-01-04', 'a,b', '-Infinity', 0, NULL, E'tab\there \\ \n, "quoted"', NULL),
            ('2026-01-05', 'ä\N', 1e-300, 0, NULL, '\N', NULL),
            ('2026-01-06', '\.', 0, 0, true, '\.', NULL)"#,
        )
        .await
        .unwrap();
}

async fn copy_in(
    client: &Client,
    sql: &str,
    pieces: Vec<Bytes>,
) -> Result<u64, tokio_postgres::Error> {
    let sink = client.copy_in::<_, Bytes>(sql).await?;
    pin_mut!(sink);
    for piece in pieces {
        sink.send(piece).await?;
    }
    sink.finish().await
}

async fn copy_out(client: &Client, sql: &str) -> Vec<Bytes> {
    client.copy_out(sql).await.unwrap().try_collect().await.unwrap()
}

/// All of a table as one text.
async fn dump(client: &Client, table: &str) -> String {
    let rows =
        copy_out(client, &format!("COPY (SELECT * FROM {table} ORDER BY device, time) TO STDOUT"))
            .await;
    String::from_utf8(rows.concat()).unwrap()
}

#[test]
fn what_goes_out_comes_in_again() {
    let server = TestServer::start();
    block_on(async {
        let client = server.sql().await;
        fill(&client).await;
        let before = dump(&client, "t").await;
        assert_eq!(before.lines().count(), 6);
        let first = "2026-01-01 00:00:00.123456+00\ta\t1.5\t-7\tt\tplain\t\\\\x00ff5c\n";
        assert!(before.contains(first), "{before}");
        for options in [
            "",
            "(FORMAT csv)",
            "(FORMAT csv, HEADER, DELIMITER ';', NULL '~', QUOTE '''', ESCAPE E'\\\\')",
            "(DELIMITER '|', NULL 'nothing', HEADER)",
            "CSV HEADER",
            "(FORMAT binary)",
        ] {
            client.batch_execute(&format!("DROP TABLE u; CREATE TABLE u ({TABLE})")).await.unwrap();
            let rows = copy_out(&client, &format!("COPY t TO STDOUT {options}")).await;
            let count = copy_in(&client, &format!("COPY u FROM STDIN {options}"), rows).await;
            assert_eq!(count.unwrap(), 6, "{options}");
            assert_eq!(dump(&client, "u").await, before, "{options}");
        }
    });
}

#[test]
fn binary_rows_of_a_driver() {
    let server = TestServer::start();
    block_on(async {
        let client = server.sql().await;
        fill(&client).await;
        let types = [Type::TIMESTAMPTZ, Type::TEXT, Type::FLOAT8, Type::INT8, Type::BOOL];
        let sql = "COPY u (time, device, v, n, b) FROM STDIN BINARY";
        let writer = BinaryCopyInWriter::new(client.copy_in(sql).await.unwrap(), &types);
        pin_mut!(writer);
        let base = std::time::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        for n in 0..1_000i64 {
            let time = base + Duration::from_secs(n as u64);
            let v = (n % 3 != 0).then_some(n as f64 / 2.0);
            writer.as_mut().write(&[&time, &"d", &v, &n, &(n % 2 == 0)]).await.unwrap();
        }
        assert_eq!(writer.finish().await.unwrap(), 1_000);
        let sums = "SELECT count(*), sum(n), sum(v), count(v), max(time) FROM u WHERE b";
        assert_eq!(first_row(&client, sums).await, "500|249500|83167|333|2026-01-01 00:16:38+00");
        let sql =
            "COPY (SELECT time, device, v, n, b FROM u ORDER BY time) TO STDOUT (FORMAT binary)";
        let rows = BinaryCopyOutStream::new(client.copy_out(sql).await.unwrap(), &types);
        let rows: Vec<_> = rows.try_collect().await.unwrap();
        assert_eq!(rows.len(), 1_000);
        for (n, row) in rows.iter().enumerate() {
            assert_eq!(row.get::<std::time::SystemTime>(0), base + Duration::from_secs(n as u64));
            assert_eq!(row.get::<Option<f64>>(2), (n % 3 != 0).then_some(n as f64 / 2.0));
            assert_eq!((row.get::<&str>(1), row.get::<i64>(3)), ("d", n as i64));
        }
    });
}

#[test]
fn errors_leave_the_connection_usable() {
    let server = TestServer::start();
    block_on(async {
        let client = server.sql().await;
        fill(&client).await;
        let before = dump(&client, "t").await;
        let sql = "COPY t (time, device, n) FROM STDIN";
        let bad = vec![Bytes::from("2026-02-01\tx\t1\n2026-02-01\tx"), Bytes::from("\tnine\n")];
        let error = copy_in(&client, sql, bad).await.unwrap_err();
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code().code(), "22P02");
        assert_eq!(error.detail(), Some("COPY t, line 2, column n: \"nine\""));
        // A sink that is dropped gives the COPY up.
        {
            let sink = client.copy_in::<_, Bytes>(sql).await.unwrap();
            pin_mut!(sink);
            sink.send(Bytes::from("2026-02-01\tx\t1\n")).await.unwrap();
        }
        assert_eq!(dump(&client, "t").await, before);
        // One whose socket vanishes is given up too.
        let (other, connection) = server.sql_apart().await;
        let sink = other.copy_in::<_, Bytes>(sql).await.unwrap();
        let mut sink = Box::pin(sink);
        sink.send(Bytes::from("2026-02-01\tx\t1\n")).await.unwrap();
        sink.flush().await.unwrap();
        connection.abort();
        let _gone = connection.await;
        assert_eq!(dump(&client, "t").await, before);
        // The time-out counts while it waits for rows.
        client.batch_execute("SET statement_timeout = '300ms'").await.unwrap();
        let sink = client.copy_in::<_, Bytes>(sql).await.unwrap();
        pin_mut!(sink);
        sink.send(Bytes::from("2026-02-01\tx\t1\n")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(600)).await;
        let error = sink.finish().await.unwrap_err();
        assert_eq!(error.as_db_error().unwrap().code().code(), "57014");
        client.batch_execute("RESET statement_timeout").await.unwrap();
        assert_eq!(first_row(&client, "SELECT count(*) FROM t").await, "6");
    });
}

#[test]
fn many_rows_take_little_memory() {
    let server = TestServer::start();
    block_on(async {
        let client = server.sql().await;
        client
            .batch_execute(
                "CREATE TABLE t (time timestamptz, device text, v float8,
                 PRIMARY KEY (device, time))",
            )
            .await
            .unwrap();
        let sink = client.copy_in::<_, Bytes>("COPY t FROM STDIN CSV").await.unwrap();
        pin_mut!(sink);
        let mut piece = String::new();
        for n in 0..1_000_000u64 {
            let (h, m, s) = (n / 3_600 % 24, n / 60 % 60, n % 60);
            let day = n / 86_400 + 1;
            piece.push_str(&format!(
                "2026-01-{day:02} {h:02}:{m:02}:{s:02}+00,host_{},{}.25\n",
                n % 100,
                n
            ));
            if piece.len() > 60_000 {
                sink.send(Bytes::from(std::mem::take(&mut piece))).await.unwrap();
            }
        }
        sink.send(Bytes::from(piece)).await.unwrap();
        assert_eq!(sink.finish().await.unwrap(), 1_000_000);
        assert_eq!(
            first_row(&client, "SELECT count(*), sum(v) FROM t").await,
            "1000000|499999750000"
        );
        let rows = client.copy_out("COPY t TO STDOUT CSV").await.unwrap();
        let lines = rows.fold(0, |sum, row| async move {
            sum + row.unwrap().iter().filter(|b| **b == b'\n').count()
        });
        assert_eq!(lines.await, 1_000_000);
    });
    let peak = server.server.peak_memory().unwrap();
    assert!(peak < 768 << 20, "the server held {} MiB", peak >> 20);
}

#[test]
fn psql_copies_files() {
    if Command::new("psql").arg("--version").output().is_err() {
        eprintln!("psql is not there: skipped");
        return;
    }
    let server = TestServer::start();
    block_on(async { fill(&server.sql().await).await });
    let psql = |text: &str| {
        let mut child = Command::new("psql")
            .args([
                "-X",
                "-q",
                "-v",
                "ON_ERROR_STOP=1",
                "-h",
                "127.0.0.1",
                "-U",
                "admin",
                "-d",
                "millrace",
            ])
            .arg("-p")
            .arg(server.server.pg.port().to_string())
            .env("PGPASSWORD", &server.server.password)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let file = server.folder().join("rows.csv");
    let file = file.to_str().unwrap();
    psql(&format!(
        "\\copy t to '{file}' csv header\n\\copy u from '{file}' with (format csv, header)\n"
    ));
    let compare = "COPY (SELECT * FROM t ORDER BY device, time) TO STDOUT;\n";
    assert_eq!(psql(compare), psql(&compare.replace("FROM t", "FROM u")));
    let inline = "COPY u (time, device, n) FROM STDIN;\n\
        2027-01-01\tx\t1\n2027-01-02\tx\t\\N\n\\.\nSELECT count(*) FROM u;\n";
    assert!(psql(inline).contains(" 8\n"), "{}", psql(inline));
}
