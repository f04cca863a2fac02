//! One setting for the memory of the server: shared out, shown, kept.

use std::collections::BTreeMap;
use std::process::Command;

use crate::server::{TestServer, block_on, program};

const T: i64 = 1_704_067_200_000_000_000;

async fn pools(client: &tokio_postgres::Client) -> BTreeMap<String, (i64, i64, i64)> {
    let sql = "SELECT pool, used, \"limit\", peak FROM sys.memory";
    let rows = client.query(sql, &[]).await.unwrap();
    rows.iter().map(|r| (r.get(0), (r.get(1), r.get(2), r.get(3)))).collect()
}

#[test]
fn pools_are_shown_and_kept_on_little_memory() {
    let server = TestServer::with(&["--memory-bytes-max=192MiB"]);
    // Some 12 MB of rows through a queue of 2.5 MiB and heads of 19 MiB.
    std::thread::scope(|scope| {
        for writer in 0..3 {
            let server = &server;
            scope.spawn(move || {
                for request in 0..20 {
                    let lines: String = (0..2000)
                        .map(|row| {
                            let time = T + (request * 2000 + row) * 1_000_000;
                            format!("m,writer=w{writer},host=h{} a={row}i,b=1.5 {time}\n", row % 50)
                        })
                        .collect();
                    server.write(&lines);
                }
            });
        }
    });
    block_on(async {
        let client = server.sql().await;
        let rows: i64 = client.query_one("SELECT count(*) FROM m", &[]).await.unwrap().get(0);
        assert_eq!(rows, 3 * 20 * 2000);
        client.batch_execute("CHECKPOINT").await.unwrap();
        let sql = "SELECT host, max(b) FROM m GROUP BY host ORDER BY max(a), host";
        assert_eq!(client.query(sql, &[]).await.unwrap().len(), 50);
        let pools = pools(&client).await;
        let names: Vec<&str> = pools.keys().map(String::as_str).collect();
        let expected = [
            "commit queue",
            "decoded columns",
            "flight messages",
            "heads",
            "http bodies",
            "line series cache",
            "part indexes",
            "postgres messages",
            "process",
            "queries",
            "series",
        ];
        assert_eq!(names, expected);
        let limits = pools.iter().filter(|(name, _)| *name != "process").map(|(_, pool)| pool.1);
        assert!(limits.sum::<i64>() <= 96 << 20, "{pools:?}");
        assert_eq!(pools["process"].1, 192 << 20);
        for (name, (used, limit, peak)) in &pools {
            assert!(used <= peak && *limit > 0, "{name}: {pools:?}");
        }
        for name in ["commit queue", "heads", "http bodies", "line series cache", "series"] {
            let (_, limit, peak) = pools[name];
            assert!(0 < peak && peak <= limit, "{name}: {pools:?}");
        }
    });
    let metrics = server.http().get("/metrics").unwrap().text();
    for line in [
        "millrace_memory_limit_bytes{pool=\"process\"} 201326592",
        "millrace_memory_peak_bytes{pool=\"heads\"} ",
        "# TYPE millrace_memory_bytes gauge",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[test]
fn limits_beyond_the_memory_are_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let start = |arguments: &[&str]| {
        let output = Command::new(program())
            .args(["serve", "--listen-pg=127.0.0.1:0", "--listen-http=127.0.0.1:0"])
            .args(["--listen-grpc=off", "--data-dir"])
            .arg(&data)
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let words = start(&["--memory-bytes-max=256MiB", "--query-memory-bytes-max=1GiB"]);
    assert!(words.contains("`memory_bytes_max` is 256 MiB") && words.contains("needs"), "{words}");
    let words = start(&["--memory-bytes-max=1MiB"]);
    assert!(words.contains("at least 201326592"), "{words}");
    let words = start(&["--http-memory-bytes-max=1MiB", "--body-bytes-max=1MiB"]);
    assert!(words.contains("3 times `body_bytes_max"), "{words}");
    assert!(!data.exists(), "nothing was made");
}
