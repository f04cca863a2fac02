//! Transactions over relational tables, alone and with time series.

use std::sync::Arc;

use tsdb::io::MemoryStorage;
use tsdb::{Db, Options};

use crate::Session;
use crate::tests::harness::*;

fn world() -> World {
    let world = World::new();
    world.run("CREATE TABLE t (id int PRIMARY KEY, x int, u int UNIQUE); INSERT INTO t VALUES (1, 10, 1), (2, 20, 2)");
    world
}

fn other(world: &World) -> Session {
    world.engine.session(identity("admin", true), &[])
}

#[test]
fn a_block_reads_its_own_rows_and_others_do_not() {
    let world = world();
    let two = other(&world);
    world.run("BEGIN; INSERT INTO t VALUES (3, 30, 3); UPDATE t SET x = x + 1 WHERE id = 1; DELETE FROM t WHERE id = 2");
    world.check("SELECT id, x FROM t ORDER BY id", &["1 | 11", "3 | 30"]);
    world.check("SELECT x FROM t WHERE u = 3", &["30"]);
    world.check("SELECT x FROM t WHERE id = 1", &["11"]);
    assert_eq!(rows(&two, "SELECT id, x FROM t ORDER BY id", &[]), ["1 | 10", "2 | 20"]);
    world.run("UPDATE t SET x = x * 2");
    world.check("SELECT sum(x), count(*) FROM t", &["82 | 2"]);
    world.run("COMMIT");
    assert_eq!(rows(&two, "SELECT id, x FROM t ORDER BY id", &[]), ["1 | 22", "3 | 60"]);
    world.run("BEGIN; DELETE FROM t; ROLLBACK");
    world.check("SELECT count(*) FROM t", &["2"]);
}

#[test]
fn savepoints_take_rows_back() {
    let world = world();
    world.run("BEGIN; INSERT INTO t VALUES (3, 30, 3); SAVEPOINT a; UPDATE t SET x = 0; INSERT INTO t VALUES (4, 4, 4)");
    assert_eq!(world.fails("INSERT INTO t VALUES (4, 4, 5)").code, "23505");
    assert_eq!(world.fails("SELECT 1").code, "25P02");
    world.run("ROLLBACK TO a");
    world.check("SELECT id, x FROM t ORDER BY id", &["1 | 10", "2 | 20", "3 | 30"]);
    world.run("INSERT INTO t VALUES (4, 40, 4); RELEASE a; COMMIT");
    world.check("SELECT id, x FROM t ORDER BY id", &["1 | 10", "2 | 20", "3 | 30", "4 | 40"]);
}

#[test]
fn a_block_keeps_its_snapshot_and_the_first_committer_wins() {
    let world = world();
    let two = other(&world);
    for (one, other_does, conflicts) in [
        ("UPDATE t SET x = x + 1 WHERE id = 1", "UPDATE t SET x = 100 WHERE id = 1", true),
        ("UPDATE t SET x = x + 1 WHERE id = 1", "UPDATE t SET x = 100 WHERE id = 2", false),
        ("INSERT INTO t VALUES (9, 9, 9)", "INSERT INTO t VALUES (9, 8, 8)", true),
        ("INSERT INTO t VALUES (9, 9, 9)", "INSERT INTO t VALUES (8, 8, 9)", true),
        ("DELETE FROM t WHERE id = 1", "UPDATE t SET x = 5 WHERE id = 1", true),
        ("UPDATE t SET x = 7 WHERE id = 1", "TRUNCATE t", true),
        ("UPDATE t SET x = 7 WHERE id = 1", "ALTER TABLE t ADD COLUMN y int", true),
        ("INSERT INTO t VALUES (9, 9, 9)", "CREATE INDEX t_x ON t (x)", true),
        ("INSERT INTO t VALUES (9, 9, 9)", "CREATE TABLE unrelated (a int)", false),
    ] {
        run(
            &two,
            "DROP TABLE IF EXISTS t, unrelated; CREATE TABLE t (id int PRIMARY KEY, x int, u int UNIQUE)",
        );
        run(&two, "INSERT INTO t VALUES (1, 10, 1), (2, 20, 2)");
        world.run(&format!("BEGIN; SELECT * FROM t; {one}"));
        run(&two, other_does);
        match conflicts {
            true => assert_eq!(world.fails("COMMIT").code, "40001", "{one} beside {other_does}"),
            false => assert_eq!(world.run("COMMIT"), "COMMIT", "{one} beside {other_does}"),
        }
        world.check("SELECT 1", &["1"]);
    }
}

#[test]
fn parents_and_children_meet() {
    let world = World::new();
    let two = other(&world);
    world.run("CREATE TABLE p (id int PRIMARY KEY, n int); CREATE TABLE c (p int REFERENCES p ON DELETE CASCADE)");
    world.run("INSERT INTO p VALUES (1, 1), (2, 2)");
    // The parent goes while a child comes.
    world.run("BEGIN; INSERT INTO c VALUES (1)");
    run(&two, "DELETE FROM p WHERE id = 1");
    assert_eq!(world.fails("COMMIT").code, "40001");
    // The child comes while the parent goes.
    world.run("BEGIN; DELETE FROM p WHERE id = 2");
    run(&two, "INSERT INTO c VALUES (2)");
    assert_eq!(world.fails("COMMIT").code, "40001");
    // What is not the key may change beside it.
    world.run("BEGIN; INSERT INTO c VALUES (2)");
    run(&two, "UPDATE p SET n = n + 1 WHERE id = 2");
    assert_eq!(world.run("COMMIT"), "COMMIT");
    world.check("SELECT count(*) FROM c", &["2"]);
    // Children that the block itself takes along are no others.
    world.run("BEGIN; INSERT INTO c VALUES (2); DELETE FROM c WHERE p = 2; INSERT INTO c VALUES (2); DELETE FROM p WHERE id = 2; COMMIT");
    world.check("SELECT count(*) FROM c", &["0"]);
}

#[test]
fn rows_and_time_series_commit_together_or_not_at_all() {
    let world = world();
    let two = other(&world);
    world.run(
        "CREATE TABLE s (time timestamptz, device text, v bigint, PRIMARY KEY (device, time))",
    );
    world.run("BEGIN; INSERT INTO s VALUES ('2026-01-01', 'a', 1); UPDATE t SET x = 1 WHERE id = 1; COMMIT");
    world.check("SELECT count(*) FROM s", &["1"]);
    world
        .run("BEGIN; UPDATE t SET x = 2 WHERE id = 1; INSERT INTO s VALUES ('2026-01-02', 'a', 2)");
    run(&two, "UPDATE t SET x = 3 WHERE id = 1");
    assert_eq!(world.fails("COMMIT").code, "40001");
    world.check("SELECT count(*) FROM s", &["1"]);
    world.check("SELECT x FROM t WHERE id = 1", &["3"]);
}

#[test]
fn statements_of_one_text_share_a_block() {
    let world = world();
    world.session.begin_implicit();
    world.run("INSERT INTO t VALUES (5, 5, 5); UPDATE t SET x = x + 1 WHERE id = 5");
    world.check("SELECT x FROM t WHERE id = 5", &["6"]);
    futures::executor::block_on(world.session.end_implicit()).unwrap();
    world.check("SELECT x FROM t WHERE id = 5", &["6"]);
}

#[test]
fn truncate_in_a_block() {
    let world = world();
    let two = other(&world);
    world.run("BEGIN; TRUNCATE t; INSERT INTO t VALUES (1, 99, 1)");
    world.check("SELECT id, x FROM t", &["1 | 99"]);
    world.check("SELECT x FROM t WHERE id = 2", &[]);
    // Rows that others have added meanwhile go, too.
    run(&two, "INSERT INTO t VALUES (7, 7, 7)");
    world.run("COMMIT");
    world.check("SELECT id, x FROM t", &["1 | 99"]);
    world.run("BEGIN; TRUNCATE t; ROLLBACK");
    world.check("SELECT count(*) FROM t", &["1"]);
}

#[test]
fn statements_alone_are_run_again() {
    let world = world();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let session = other(&world);
                for _ in 0..25 {
                    run(&session, "UPDATE t SET x = x + 1 WHERE id = 1");
                    run(
                        &session,
                        "INSERT INTO t VALUES (3, 1, 3) ON CONFLICT (id) DO UPDATE SET x = t.x + 1",
                    );
                }
            });
        }
    });
    world.check("SELECT id, x FROM t ORDER BY id", &["1 | 110", "2 | 20", "3 | 100"]);
}

#[test]
fn what_is_committed_is_there_after_a_start() {
    let storage = Arc::new(MemoryStorage::new());
    let options = || Options { background: false, shards: 2, ..Options::default() };
    {
        let world = World::over(Db::open(storage.clone(), options()).unwrap());
        world.run("CREATE TABLE t (id serial PRIMARY KEY, x int UNIQUE); INSERT INTO t (x) VALUES (1), (2)");
        world.run("CREATE TABLE log (note text); INSERT INTO log VALUES ('a'), ('b')");
        world.run("BEGIN; DELETE FROM t WHERE id = 1; INSERT INTO t (x) VALUES (3); COMMIT");
        world.engine.db().close().unwrap();
    }
    let world = World::over(Db::open(storage, options()).unwrap());
    world.check("SELECT id, x FROM t ORDER BY id", &["2 | 2", "3 | 3"]);
    assert_eq!(world.fails("INSERT INTO t (x) VALUES (3)").code, "23505");
    world.run("INSERT INTO t (x) VALUES (4); INSERT INTO log VALUES ('c')");
    // Numbers go on behind all that may have been given out.
    world.check("SELECT id > 3 FROM t WHERE x = 4", &["true"]);
    world.check("SELECT note FROM log", &["a", "b", "c"]);
}
