//! pgbench of Postgres: its tables, its simple select and its TPC-B. Skipped where it is missing.

use std::process::Command;

use crate::server::{TestServer, block_on};

/// Runs pgbench; what it says on both streams.
fn pgbench(server: &TestServer, arguments: &[&str]) -> String {
    let pg = server.server.pg;
    let mut command = Command::new("pgbench");
    command.args(["-h", &pg.ip().to_string(), "-p", &pg.port().to_string(), "-U", "admin"]);
    command.args(arguments).arg("millrace").env("PGPASSWORD", &server.server.password);
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "pgbench {arguments:?}: {text}");
    text
}

fn number(server: &TestServer, sql: &str) -> i64 {
    block_on(async { server.sql().await.query_one(sql, &[]).await.unwrap().get(0) })
}

#[test]
fn its_tables_and_scripts_run() {
    if Command::new("pgbench").arg("--version").output().is_err() {
        println!("skipped: pgbench not found");
        return;
    }
    let server = TestServer::start();
    // Twice: the second drops what the first has made.
    for _ in 0..2 {
        pgbench(&server, &["-i", "-s", "1", "-q"]);
    }
    assert_eq!(number(&server, "SELECT count(*) FROM pgbench_accounts"), 100_000);
    for mode in ["simple", "extended", "prepared"] {
        let said = pgbench(&server, &["-S", "-t", "200", "-c", "4", "-j", "2", "-M", mode]);
        assert!(said.contains("number of transactions actually processed: 800/800"), "{said}");
        assert!(said.contains("number of failed transactions: 0 (0.000%)"), "{said}");
    }
    // Transactions that meet at a branch are run again.
    let said = pgbench(&server, &["-t", "15", "-c", "3", "-M", "prepared", "--max-tries", "10000"]);
    assert!(said.contains("number of transactions actually processed: 45/45"), "{said}");
    assert_eq!(number(&server, "SELECT count(*) FROM pgbench_history"), 45);
    let delta = number(&server, "SELECT sum(delta)::bigint FROM pgbench_history");
    for (table, column) in [("accounts", "a"), ("branches", "b"), ("tellers", "t")] {
        let sql = format!("SELECT sum({column}balance)::bigint FROM pgbench_{table}");
        assert_eq!(number(&server, &sql), delta, "{table}");
    }
}
