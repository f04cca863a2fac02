//! BACKUP, and what `sys` shows of it.

use super::harness::*;

#[test]
fn backups_are_taken_and_shown() {
    let store = std::env::temp_dir().join(format!("millrace-query-backup-{}", std::process::id()));
    let url = format!("file://{}", store.display());
    let world = World::new();
    world.run("CREATE TABLE t (time timestamptz, a text, PRIMARY KEY (a, time))");
    assert_eq!(world.run(&format!("BACKUP TO '{url}'")), "BACKUP");
    assert_eq!(world.run(&format!("BACKUP TO '{url}'")), "BACKUP");
    assert_eq!(world.run(&format!("BACKUP FULL TO '{url}'")), "BACKUP");
    world.check(
        "SELECT number, kind, succeeded, copied_files < files, position > 0, error, rto_seconds
         FROM sys.backups ORDER BY number",
        &[
            "1 | full | true | false | true | ∅ | ∅",
            "2 | incremental | true | true | true | ∅ | ∅",
            "3 | full | true | false | true | ∅ | ∅",
        ],
    );
    world.check(
        "SELECT name, running, runs, failures, url IS NULL FROM sys.jobs",
        &[
            "backup | false | 3 | 0 | false",
            "prune | false | 0 | 0 | true",
            "archive log | false | 0 | 0 | true",
        ],
    );
    world.check("SELECT commit_time > '2024-01-01', archived_position FROM sys.log", &["true | ∅"]);
    std::fs::remove_dir_all(&store).unwrap();
}

#[test]
fn drills_are_noted() {
    let world = World::new();
    let figures = "started=1000000000 finished=3000000000 rto=1.5 rpo=60 number=3 position=9";
    world.run(&format!("BACKUP DRILLED FROM 'file:///b' WITH '{figures}'"));
    world.run("BACKUP DRILLED FROM 'file:///b' WITH 'started=5000000000 rto=2' FAILED 'no store'");
    world.check(
        "SELECT kind, number, seconds, succeeded, error, rto_seconds, rpo_seconds FROM sys.backups",
        &[
            "drill | 3 | 2.0 | true | ∅ | 1.5 | 60.0",
            "drill | ∅ | 0.0 | false | no store | 2.0 | 0.0",
        ],
    );
    for wrong in ["rto", "rto=x", "rto=NaN", "size=4", "number=-1"] {
        let sql = format!("BACKUP DRILLED FROM 'x' WITH '{wrong}'");
        assert_eq!(world.fails(&sql).code, "22023", "{wrong}");
    }
}

#[test]
fn backups_are_refused() {
    let world = World::new();
    assert_eq!(world.fails("BACKUP TO 'ftp://x'").code, "22023");
    world.check("SELECT count(*) FROM sys.backups", &["0"]);
    let other = world.engine.session(identity("bob", false), &[]);
    assert_eq!(fails(&other, "BACKUP TO 'file:///b'").code, "42501");
    world.run("BEGIN");
    assert_eq!(world.fails("BACKUP TO 'file:///b'").code, "25001");
    world.run("ROLLBACK");
}
