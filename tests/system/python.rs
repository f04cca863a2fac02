//! psycopg, as scripts use it. Skipped where no Python has it.

use std::path::PathBuf;
use std::process::Command;

use crate::server::TestServer;

const SCRIPT: &str = r#"
import sys
import psycopg

with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    cursor = connection.execute("SELECT site, temperature, wet, n, time FROM weather ORDER BY site")
    rows = cursor.fetchall()
    assert [row[:4] for row in rows] == [("hall", -1.25, None, 4), ("roof", 21.5, True, 3)], rows
    assert rows[1][4].isoformat() == "2024-01-01T00:00:00+00:00", rows
    one = connection.execute(
        "SELECT count(*) FROM weather WHERE site = %s AND temperature > %s", ("roof", 20.0)
    ).fetchone()
    assert one == (1,), one
    with connection.cursor(binary=True) as binary:
        binary.execute("SELECT temperature, n FROM weather WHERE n = %b", (3,))
        assert binary.fetchall() == [(21.5, 3)]
    try:
        connection.execute("SELECT * FROM nowhere")
        raise SystemExit("no error")
    except psycopg.errors.UndefinedTable:
        pass
    assert connection.execute("SELECT 1").fetchone() == (1,)
print("fine")
"#;

/// A Python that has psycopg: the one named by a variable, the one that `.ci/run` makes, or any.
pub fn python() -> Option<PathBuf> {
    let named = std::env::var_os("MILLRACE_TEST_PYTHON").map(PathBuf::from);
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let made = cache.map(|cache| cache.join("millrace/python/bin/python"));
    [named, made, Some("python3".into())].into_iter().flatten().find(|python| {
        let asked = Command::new(python).args(["-c", "import psycopg"]).output();
        asked.is_ok_and(|output| output.status.success())
    })
}

#[test]
fn psycopg() {
    let Some(python) = python() else {
        println!("skipped: psycopg not found");
        return;
    };
    let server = TestServer::start();
    server.write(
        "weather,site=roof temperature=21.5,wet=true,n=3i 1704067200000000000\n\
         weather,site=hall temperature=-1.25,n=4i 1704067200000000000",
    );
    let pg = server.server.pg;
    let target = format!(
        "host={} port={} user=admin dbname=millrace password='{}'",
        pg.ip(),
        pg.port(),
        server.server.password
    );
    let output = Command::new(python).args(["-c", SCRIPT, &target]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "fine");
}
