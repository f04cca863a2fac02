//! psql and its backslash commands. Skipped where psql is missing.

use std::process::Command;

use crate::server::TestServer;

/// Whether psql is there; says so if not.
fn psql_found() -> bool {
    let found = Command::new("psql").arg("--version").output().is_ok();
    if !found {
        println!("skipped: psql not found");
    }
    found
}

/// Output of a command; it must succeed.
fn psql(server: &TestServer, settings: &str, command: &str) -> String {
    let output = psql_output(server, settings, command);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{command}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn psql_output(server: &TestServer, settings: &str, command: &str) -> std::process::Output {
    let pg = server.server.pg;
    let target =
        format!("host={} port={} user=admin dbname=millrace {settings}", pg.ip(), pg.port());
    let mut psql = Command::new("psql");
    psql.args(["-X", "-v", "ON_ERROR_STOP=1", "-d", &target, "-c", command]);
    psql.env("PGPASSWORD", &server.server.password).output().unwrap()
}

fn check(output: &str, words: &[&str]) {
    for word in words {
        assert!(output.contains(word), "`{word}` is not in\n{output}");
    }
}

#[test]
fn backslash_commands() {
    if !psql_found() {
        return;
    }
    let server = TestServer::start();
    server.write("weather,site=roof,sensor=a temperature=21.5,wet=true,n=3i 1704067200000000000");
    let plain = |command: &str| psql(&server, "sslmode=prefer", command);
    let create = "CREATE TABLE press (time timestamptz NOT NULL, device text NOT NULL, \
                  temperature double precision, PRIMARY KEY (device, time))";
    check(&plain(create), &["CREATE TABLE"]);
    for command in ["\\d", "\\dt"] {
        check(&plain(command), &["weather", "press", "table", "public"]);
    }
    check(
        &plain("\\d weather"),
        &[
            "Table \"public.weather\"",
            "time",
            "timestamp with time zone",
            "site",
            "text",
            "temperature",
            "double precision",
            "wet",
            "boolean",
            "bigint",
            "not null",
        ],
    );
    check(&plain("\\d press"), &["PRIMARY KEY", "(device, "]);
    check(&plain("\\l"), &["millrace", "UTF8"]);
    check(&plain("\\du"), &["admin", "Superuser"]);
    check(&plain("\\dn"), &["public"]);
}

#[test]
fn statements() {
    if !psql_found() {
        return;
    }
    let server = TestServer::start();
    let plain = |command: &str| psql(&server, "sslmode=prefer", command);
    server.write("weather,site=roof temperature=21.5 1704067200000000000");
    check(&plain("SELECT * FROM weather"), &["2024-01-01 00:00:00+00", "roof", "21.5", "(1 row)"]);
    check(&plain("SET TimeZone = 'Europe/Berlin'; SELECT time FROM weather"), &["01:00:00+01"]);
    let wrong = psql_output(&server, "", "SELECT * FROM nowhere");
    assert!(!wrong.status.success());
    check(&String::from_utf8_lossy(&wrong.stderr), &["ERROR", "nowhere"]);
    check(&plain("EXPLAIN ANALYZE SELECT avg(temperature) FROM weather"), &["weather"]);
}

#[test]
fn encrypted() {
    if !psql_found() {
        return;
    }
    let server = TestServer::with(&["--tls=require"]);
    let output = psql(&server, "sslmode=require", "\\conninfo");
    check(&output, &["SSL connection", "TLSv1.3"]);
    let refused = psql_output(&server, "sslmode=disable", "SELECT 1");
    assert!(!refused.status.success());
    check(&String::from_utf8_lossy(&refused.stderr), &["FATAL", "TLS"]);
}
