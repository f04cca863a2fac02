//! Drivers as programs use them, from `tests/drivers`. Each is skipped where it is missing.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::python::python;
use crate::server::{TestServer, root};

/// A server with some rows.
fn server() -> TestServer {
    filled(TestServer::start())
}

fn filled(server: TestServer) -> TestServer {
    let setup = std::fs::read_to_string(root().join("tests/catalogue/setup.sql")).unwrap();
    crate::server::block_on(async {
        server.sql().await.batch_execute(&setup).await.expect("the setup");
    });
    server
}

fn script(name: &str) -> PathBuf {
    root().join("tests/drivers").join(name)
}

/// Runs a program with host, port, user and password behind its arguments; it must end with `fine`.
fn run(mut command: Command, server: &TestServer) {
    let pg = server.server.pg;
    command.args([pg.ip().to_string(), pg.port().to_string(), "admin".into()]);
    command.arg(&server.server.password);
    ends_fine(command);
}

fn ends_fine(mut command: Command) {
    let output = command.output().unwrap();
    let (out, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{errors}");
    assert_eq!(out.lines().last(), Some("fine"), "{out}\n{errors}");
}

/// A Python that has these modules; says so if there is none.
fn python_with(modules: &str) -> Option<PathBuf> {
    let found = python().filter(|python| {
        let asked = Command::new(python).args(["-c", &format!("import {modules}")]).output();
        asked.is_ok_and(|output| output.status.success())
    });
    if found.is_none() {
        println!("skipped: no Python with {modules}");
    }
    found
}

fn python_script(modules: &str, name: &str) {
    let Some(python) = python_with(modules) else { return };
    let mut command = Command::new(python);
    command.arg(script(name));
    run(command, &server());
}

#[test]
fn sqlalchemy_and_pandas() {
    python_script("psycopg, sqlalchemy, pandas", "sqlalchemy_pandas.py");
}

#[test]
fn column_types() {
    python_script("psycopg, asyncpg, sqlalchemy, pandas", "column_types.py");
}

/// A Python that has ADBC's driver.
fn adbc() -> Option<PathBuf> {
    python_with("adbc_driver_flightsql.dbapi, pyarrow.flight, pandas")
}

/// Runs the script of ADBC on the port of Flight SQL, with `t` behind it for TLS.
fn flight(python: &Path, server: &TestServer, tls: &str) {
    let grpc = server.server.grpc.expect("the door of Flight SQL");
    let mut command = Command::new(python);
    command.arg(script("flight_adbc.py"));
    command.args([grpc.ip().to_string(), format!("{}{tls}", grpc.port()), "admin".into()]);
    let output = command.arg(&server.server.password).output().unwrap();
    let (out, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{errors}");
    assert_eq!(out.lines().last(), Some("fine"), "{out}\n{errors}");
}

#[test]
fn adbc_and_pyarrow() {
    let Some(python) = adbc() else { return };
    let server = server();
    flight(&python, &server, "");
    let metrics = server.http().get("/metrics").expect("metrics").text();
    for name in ["millrace_grpc_requests_total", "millrace_grpc_rows_ingested_total 2"] {
        assert!(metrics.contains(name), "{name} is not in\n{metrics}");
    }
}

#[test]
fn adbc_and_pyarrow_over_tls() {
    let Some(python) = adbc() else { return };
    flight(&python, &filled(TestServer::with(&["--tls", "allow"])), "t");
}

#[test]
fn pyarrow_and_pandas_share_files_with_copy() {
    let Some(python) = python_with("psycopg, pandas, pyarrow") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let server = TestServer::with(&["--copy-folder", path]);
    let mut command = Command::new(python);
    let pg = server.server.pg;
    command.arg(script("parquet_copy.py")).args([pg.ip().to_string(), pg.port().to_string()]);
    command.args(["admin", &server.server.password, path]);
    ends_fine(command);
}

#[test]
fn asyncpg() {
    python_script("asyncpg", "asyncpg_types.py");
}

/// What Debian's libpostgresql-jdbc-java brings, or what a variable names.
fn jdbc() -> Option<PathBuf> {
    let named = std::env::var_os("MILLRACE_TEST_JDBC").map(PathBuf::from);
    let jar = named.unwrap_or_else(|| "/usr/share/java/postgresql.jar".into());
    let compiler = Command::new("javac").arg("-version").output();
    let found = jar.exists() && compiler.is_ok_and(|output| output.status.success());
    if !found {
        println!("skipped: no JDK with pgjdbc ({})", jar.display());
    }
    found.then_some(jar)
}

#[test]
fn pgjdbc() {
    let Some(jar) = jdbc() else { return };
    let mut command = Command::new("java");
    command.args(["-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp"]).arg(jar);
    command.arg(script("Metadata.java"));
    run(command, &server());
}

/// A folder of node modules that has `pg`: the one named by a variable, or that of `.ci/run`.
fn node_modules() -> Option<PathBuf> {
    let named = std::env::var_os("MILLRACE_TEST_NODE").map(PathBuf::from);
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let made = cache.map(|cache| cache.join("millrace/node/node_modules"));
    let found = [named, made].into_iter().flatten().find(|folder| folder.join("pg").exists());
    let node = Command::new("node").arg("--version").output().is_ok();
    if found.is_none() || !node {
        println!("skipped: no node with the module pg");
    }
    found.filter(|_| node)
}

#[test]
fn node_postgres() {
    let Some(modules) = node_modules() else { return };
    let mut command = Command::new("node");
    command.env("NODE_PATH", modules).arg(script("node_pg.js"));
    run(command, &server());
}

#[test]
fn scripts_are_there() {
    for name in [
        "sqlalchemy_pandas.py",
        "asyncpg_types.py",
        "column_types.py",
        "flight_adbc.py",
        "Metadata.java",
        "node_pg.js",
    ] {
        assert!(Path::new(&script(name)).exists(), "{name}");
    }
}
