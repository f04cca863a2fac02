//! BEGIN, COMMIT, ROLLBACK and what holds between them.

use super::harness::*;
use crate::TransactionStatus;

#[test]
fn writes_wait_for_commit() {
    let world = World::with_presses();
    let other = world.engine.session(identity("admin", true), &[]);
    world.run("BEGIN");
    world.run("INSERT INTO press (time, device) VALUES ('2026-03-01', 'a')");
    world.run("INSERT INTO press (time, device) VALUES ('2026-03-01', 'b')");
    assert_eq!(rows(&other, "SELECT count(*) FROM press", &[]), ["6"]);
    let before = world.engine.db().snapshot().position();
    assert_eq!(world.run("COMMIT"), "COMMIT");
    assert_eq!(world.engine.db().snapshot().position(), before + 1);
    assert_eq!(rows(&other, "SELECT count(*) FROM press", &[]), ["8"]);
    world.run("BEGIN; INSERT INTO press (time, device) VALUES ('2026-03-02', 'a')");
    assert_eq!(world.run("ROLLBACK"), "ROLLBACK");
    world.check("SELECT count(*) FROM press", &["8"]);
}

#[test]
fn reads_use_one_snapshot() {
    let world = World::with_presses();
    let other = world.engine.session(identity("admin", true), &[]);
    world.run("BEGIN");
    world.check("SELECT count(*) FROM press", &["6"]);
    run(&other, "INSERT INTO press (time, device) VALUES ('2026-03-01', 'new')");
    world.check("SELECT count(*) FROM press", &["6"]);
    world.check(
        "SELECT DISTINCT ON (device) device FROM press ORDER BY device, time DESC",
        &["p1", "p2", "p3"],
    );
    world.run("COMMIT");
    world.check("SELECT count(*) FROM press", &["7"]);
}

#[test]
fn own_writes_are_not_read_wrongly() {
    let world = World::with_presses();
    world.run("CREATE TABLE other (time timestamptz PRIMARY KEY, v int)");
    world.run("BEGIN");
    world.run("INSERT INTO press (time, device) VALUES ('2026-03-01', 'a')");
    world.check("SELECT count(*) FROM other", &["0"]);
    let error = world.fails("SELECT count(*) FROM other, press");
    assert_eq!(error.code, "0A000");
    assert!(error.hint.is_some());
    assert_eq!(world.session.transaction(), TransactionStatus::Failed);
    world.run("ROLLBACK");
}

#[test]
fn a_failed_block_waits_for_its_end() {
    let world = World::with_presses();
    world.run("BEGIN");
    world.run("INSERT INTO press (time, device) VALUES ('2026-03-01', 'a')");
    assert_eq!(world.session.transaction(), TransactionStatus::InTransaction);
    assert_eq!(world.fails("SELECT nothing").code, "42703");
    assert_eq!(world.session.transaction(), TransactionStatus::Failed);
    assert_eq!(world.fails("SELECT 1").code, "25P02");
    assert_eq!(world.run("COMMIT"), "ROLLBACK");
    assert_eq!(world.session.transaction(), TransactionStatus::Idle);
    world.check("SELECT count(*) FROM press", &["6"]);
}

#[test]
fn an_error_in_mid_stream_fails_the_block() {
    let world = World::with_presses();
    world.run("BEGIN");
    assert_eq!(world.fails("SELECT 1 / (strokes - 3) FROM press").code, "22012");
    assert_eq!(world.session.transaction(), TransactionStatus::Failed);
    world.run("ROLLBACK");
}

#[test]
fn read_only_and_definitions() {
    let world = World::with_presses();
    world.run("BEGIN READ ONLY");
    let insert = "INSERT INTO press (time, device) VALUES ('2026-03-01', 'a')";
    assert_eq!(world.fails(insert).code, "25006");
    world.run("ROLLBACK; BEGIN");
    assert_eq!(world.fails("DROP TABLE press").code, "25001");
    world.run("ROLLBACK");
    world.run("SET default_transaction_read_only = on");
    assert_eq!(world.fails(insert).code, "25006");
    assert_eq!(world.fails("DROP TABLE press").code, "25006");
    world.run("RESET ALL");
    assert_eq!(world.run(insert), "INSERT 0 1");
}

#[test]
fn settings_follow_the_block() {
    let world = World::new();
    world.run("BEGIN; SET application_name = 'x'; ROLLBACK");
    world.check("SHOW application_name", &[""]);
    world.run("BEGIN; SET LOCAL timezone = 'Asia/Tokyo'; SET application_name = 'y'");
    world.check("SHOW timezone", &["Asia/Tokyo"]);
    world.run("COMMIT");
    world.check("SHOW timezone", &["UTC"]);
    world.check("SHOW application_name", &["y"]);
}
