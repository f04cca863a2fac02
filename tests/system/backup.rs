//! Backup, restore and drill by the commands, with a real server and a folder as store.

use crate::server::{TestServer, alone, block_on, check};

const T: i64 = 1_704_067_200_000_000_000;

/// What a folder without a server answers.
fn folder_says(folder: &str, sql: &str, answer: &str) {
    check(&alone(&["sql", "--csv", "--data-dir", folder, sql]), 0, answer, "");
}

#[test]
fn a_server_is_backed_up_and_restored_to_moments() {
    let scratch = tempfile::tempdir().unwrap();
    let store = format!("file://{}/store", scratch.path().display());
    let path = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    let seconds = ["--log-archive-seconds=1", "--backup-incremental-seconds=3600"];
    let server = TestServer::with(&[&format!("--backup-url={store}"), seconds[0], seconds[1]]);
    // The policy takes the first one by itself.
    server.wait_for("SELECT count(*) FROM sys.backups WHERE kind = 'full' AND succeeded", "1");
    server.write(&format!("m,host=a n=1i {T}\nm,host=b n=2i {T}"));
    block_on(server.one("CREATE TABLE plants (id serial PRIMARY KEY, name text UNIQUE)"));
    let output = server.command(&["backup", "--to", &store]).output().unwrap();
    check(&output, 0, "backup 2 (incremental)", "");
    block_on(server.one("INSERT INTO plants (name) VALUES ('north')"));
    server.write(&format!("m,host=c n=30i {T}"));
    // Acknowledged before the moment, or begun behind it.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let moment = tools::import::time::format_ns(now.as_nanos() as i64);
    block_on(server.one("DELETE FROM m WHERE host = 'a'"));
    block_on(server.one("INSERT INTO plants (name) VALUES ('south')"));
    server.write(&format!("m,host=d n=400i {T}"));
    let sql = "SELECT archived_position >= visible_position FROM sys.log";
    server.wait_for(sql, "t");

    let folder = path("newest");
    let restore = ["restore", "--from", &store, "--data-dir", &folder];
    check(&alone(&restore), 0, "restored backup 2", "");
    check(&alone(&["verify", "--data-dir", &folder]), 0, "all as it was written", "");
    folder_says(&folder, "SELECT sum(n) AS s, count(*) AS c FROM m", "s,c\n432,3");
    folder_says(&folder, "SELECT id, name FROM plants ORDER BY id", "id,name\n1,north\n2,south");
    check(&alone(&restore), 1, "", "is not empty");

    let folder = path("before");
    let restore = ["restore", "--from", &store, "--data-dir", &folder, "--to", &moment];
    check(&alone(&restore), 0, "restored backup 2", "");
    check(&alone(&["verify", "--data-dir", &folder]), 0, "all as it was written", "");
    folder_says(&folder, "SELECT sum(n) AS s, count(*) AS c FROM m", "s,c\n33,3");
    folder_says(&folder, "SELECT id, name FROM plants WHERE name > 'a'", "id,name\n1,north");

    let output = server.command(&["drill", "--from", &store]).output().unwrap();
    check(&output, 0, "RTO", "");
    check(&output, 0, "noted in sys.backups", "");
    let sql =
        "SELECT rto_seconds > 0, rpo_seconds, succeeded FROM sys.backups WHERE kind = 'drill'";
    server.wait_for(sql, "t|0|t");

    let early = ["restore", "--from", &store, "--data-dir", &path("early"), "--backup=2", "--to"];
    let early: Vec<&str> = early.into_iter().chain(["2020-01-01T00:00:00Z"]).collect();
    check(&alone(&early), 1, "", "later than that moment");
    let wrong = [&early[..early.len() - 1], &["yesterday"]].concat();
    check(&alone(&wrong), 2, "", "is no moment");
    let nothing = ["restore", "--from", "file:///nowhere/at/all", "--data-dir", &path("none")];
    check(&alone(&nothing), 1, "", "the store has no backup");
    let output = server.command(&["backup", "--to", "ftp://x"]).output().unwrap();
    check(&output, 1, "", "there are file, s3, az, gs");
    check(&server.command(&["drill", "--from", "file:///nowhere"]).output().unwrap(), 1, "", "no");
    let sql = "SELECT count(*) FROM sys.backups WHERE kind = 'drill' AND NOT succeeded";
    server.wait_for(sql, "1");
    block_on(server.one("CREATE USER reader WITH PASSWORD 'secret-enough-1'"));
    let refused = server
        .command(&["sql", "--user", "reader", &format!("BACKUP TO '{store}'")])
        .env("MILLRACE_PASSWORD", "secret-enough-1")
        .output()
        .unwrap();
    check(&refused, 1, "", "only superusers");
}

#[test]
fn a_damaged_store_is_found_by_restore_and_drill() {
    let scratch = tempfile::tempdir().unwrap();
    let store = format!("file://{}/store", scratch.path().display());
    let server = TestServer::start();
    server.write(&format!("m,host=a n=1i {T}"));
    block_on(server.one("CHECKPOINT"));
    check(&server.command(&["backup", "--to", &store]).output().unwrap(), 0, "(full)", "");
    let part = find(&scratch.path().join("store"), ".part.");
    let mut bytes = std::fs::read(&part).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&part, bytes).unwrap();
    let name = part.file_name().unwrap().to_str().unwrap().to_owned();
    let folder = scratch.path().join("restored");
    let restore = ["restore", "--from", &store, "--data-dir", folder.to_str().unwrap()];
    check(&alone(&restore), 1, "", &name);
    // The folder says what it is, and what to do.
    let output = alone(&["sql", "--data-dir", folder.to_str().unwrap(), "SELECT 1"]);
    check(&output, 1, "", "millrace restore");
    check(&server.command(&["drill", "--from", &store]).output().unwrap(), 1, "", &name);
    let sql = "SELECT error LIKE '%checksum%' FROM sys.backups WHERE kind = 'drill'";
    server.wait_for(sql, "t");
    // A full backup is whole again, and the interrupted restore is begun anew.
    let full = ["backup", "--full", "--to", &store];
    check(&server.command(&full).output().unwrap(), 0, "backup 2 (full)", "");
    check(&alone(&restore), 0, "restored backup 2", "");
    check(&alone(&["verify", "--data-dir", folder.to_str().unwrap()]), 0, "all as it", "");
}

/// A file below a folder whose name has this in it.
fn find(folder: &std::path::Path, part: &str) -> std::path::PathBuf {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_str().unwrap().contains(part) {
                return path;
            }
        }
    }
    panic!("no file with {part} in its name")
}
