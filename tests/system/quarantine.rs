//! Bad blocks with a real server: a part is damaged on disk, psycopg sees the error, the
//! quarantine and the rest of the table, and `millrace repair` brings everything back.

use std::path::Path;
use std::time::Duration;

use crate::python::{python, run};
use crate::server::{TestServer, alone, block_on, check};

const T: i64 = 1_704_067_200_000_000_000;

const SCRIPT: &str = r#"
import sys
import psycopg

with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    notices = []
    connection.add_notice_handler(lambda notice: notices.append(notice.sqlstate))
    try:
        connection.execute("SELECT host, n FROM m ORDER BY n").fetchall()
        raise SystemExit("no error")
    except psycopg.errors.DataCorrupted as error:
        assert "parts/" in str(error), error
    bad = connection.execute('SELECT "table", path, cause IS NOT NULL FROM sys.quarantine').fetchall()
    assert bad and all(row[0] == "m" and row[2] for row in bad), bad
    assert connection.execute("SELECT count(n) FROM fine").fetchone() == (2,)
    assert not notices, notices
    connection.execute("SET millrace.skip_quarantined = on")
    rows = connection.execute("SELECT host, n FROM m ORDER BY n").fetchall()
    assert len(rows) < 200, rows
    assert notices == ["01000"], notices
print("fine")
"#;

/// Flips a bit of the first block of a part.
fn damage(folder: &Path, path: &str) {
    let path = folder.join(path);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[70] ^= 0x40;
    std::fs::write(&path, bytes).unwrap();
}

#[test]
fn a_damaged_part_is_told_and_repaired() {
    let scratch = tempfile::tempdir().unwrap();
    let store = format!("file://{}/store", scratch.path().display());
    let mut server = TestServer::start();
    let lines: Vec<String> =
        (0..200).map(|i| format!("m,host=h{} n={}i {}", i % 3, i * i, T + i)).collect();
    server.write(&lines.join("\n"));
    server.write(&format!("fine n=1i {T}\nfine n=2i {}", T + 1));
    block_on(server.one("CHECKPOINT"));
    check(&server.command(&["backup", "--to", &store]).output().unwrap(), 0, "backup 1", "");
    let path = block_on(server.one("SELECT path FROM sys.parts WHERE \"table\" = 'm'"));
    let folder = server.folder().join("data");
    assert_eq!(server.server.terminate(Duration::from_secs(60)).unwrap(), 0);
    damage(&folder, &path);
    server.restart();
    match python() {
        None => println!("skipped: psycopg not found"),
        Some(python) => run(&python, &server, SCRIPT),
    }
    assert_eq!(server.server.terminate(Duration::from_secs(60)).unwrap(), 0);
    let shown = folder.to_str().unwrap();
    check(&alone(&["verify", "--data-dir", shown]), 1, "DAMAGED", "");
    let repair = ["repair", "--data-dir", shown, "--from", &store];
    check(&alone(&repair), 0, "all repaired", "");
    check(&alone(&repair), 0, "all as it was written", "");
    check(&alone(&["verify", "--data-dir", shown]), 0, "all as it was written", "");
    server.restart();
    assert_eq!(block_on(server.one("SELECT count(n) FROM m")), "200");
    assert_eq!(block_on(server.one("SELECT count(*) FROM sys.quarantine")), "0");
}
