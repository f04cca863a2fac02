//! The whole life of encrypted data in an object store: archived, asked for, backed up, restored,
//! brought back. In a folder, and in S3 where a server of it is at hand.

use std::time::Duration;

use crate::server::{TestServer, block_on};

fn live(store: &str) {
    let scratch = tempfile::tempdir().unwrap();
    let key = scratch.path().join("key");
    std::fs::write(&key, "5a".repeat(32)).unwrap();
    let key = key.to_str().unwrap();
    let archive = format!("--archive-url={store}/archive");
    let arguments = [&archive, "--encryption-key-file", key, "--life-interval-seconds=1"];
    let mut server = TestServer::with(&arguments);
    let setup = "CREATE TABLE press (time timestamptz NOT NULL, device text NOT NULL, \
        strokes bigint, note text, PRIMARY KEY (device, time)) \
        WITH (partition_by = '1 day', archive_after = '30 days')";
    block_on(async { server.sql().await.batch_execute(setup).await }).unwrap();
    // Three days, a row a minute.
    let line = |minute: i64| {
        let time = 1_704_067_200_000_000_000 + minute * 60_000_000_000;
        format!("press,device=whisperer strokes=1i,note=\"murmured\" {time}\n")
    };
    server.write(&(0..4320).map(line).collect::<String>());
    let settle = "INSERT INTO press VALUES (now(), 'whisperer', 1000000, 'today');
        CHECKPOINT; VACUUM FULL";
    for sql in settle.split(';') {
        block_on(async { server.sql().await.batch_execute(sql).await }).unwrap();
    }
    let archived = "SELECT coalesce(sum(rows), 0) FROM sys.partitions WHERE \"table\" = 'press' \
        AND tier = 'archive'";
    server.wait_for(archived, "4320");
    let asked = "SELECT sum(strokes), count(*) FROM press WHERE note <> ''";
    assert_eq!(block_on(server.one(asked)), "1004320|4321");
    // Late rows lie beside the archived ones.
    block_on(
        server.one("INSERT INTO press VALUES ('2024-01-02 00:00:30', 'whisperer', 7, 'late')"),
    );
    let day = "SELECT sum(strokes) FROM press WHERE time >= '2024-01-02' AND time < '2024-01-03'";
    assert_eq!(block_on(server.one(day)), "1447");

    let backup = format!("{store}/backups");
    let output = server.command(&["backup", "--to", &backup]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let folder = scratch.path().join("restored");
    let restore = |with_key: bool| {
        let folder = folder.to_str().unwrap();
        let mut command = server.command(&["restore", "--from", &backup, "--data-dir", folder]);
        if with_key {
            command.args(["--encryption-key-file", key]);
        }
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (fine, why) = restore(false);
    assert!(!fine && why.contains("encrypted"), "{why}");
    let (fine, why) = restore(true);
    assert!(fine, "{why}");
    let says = |sql: &str| {
        let folder = folder.to_str().unwrap();
        let mut command = server.command(&["sql", "--csv", "--data-dir", folder, sql]);
        let output = command.args(["--encryption-key-file", key]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let found = says("SELECT sum(strokes) AS s, count(*) AS c FROM press WHERE note <> ''");
    assert!(found.contains("1004327,4322"), "{found}");

    // The original goes on, and brings a day back.
    assert_eq!(server.server.terminate(Duration::from_secs(60)).unwrap(), 0);
    server.restart();
    assert_eq!(block_on(server.one(day)), "1447");
    block_on(server.one("ALTER TABLE press RESTORE FROM '2024-01-02' TO '2024-01-03'"));
    server.wait_for(archived, "0");
    assert_eq!(block_on(server.one(asked)), "1004327|4322");
}

#[test]
fn in_a_folder() {
    let scratch = tempfile::tempdir().unwrap();
    live(&format!("file://{}/store", scratch.path().display()));
}

/// `MILLRACE_TEST_S3` is the URL of a bucket; the AWS variables say where it is and who asks.
#[test]
fn in_s3() {
    let Ok(bucket) = std::env::var("MILLRACE_TEST_S3") else {
        eprintln!("skipped: MILLRACE_TEST_S3 names no S3 bucket");
        return;
    };
    live(&format!("{bucket}/life-{}", std::process::id()));
}
