//! Temporary views: seen by one session, hiding what lasts, gone with it.

use std::sync::Arc;
use std::time::Duration;

use tsdb::io::MemoryStorage;
use tsdb::{Db, Options};

use super::harness::*;

#[test]
fn a_temporary_view_is_of_one_session() {
    let world = World::with_presses();
    let two = world.session_of("writer");
    assert_eq!(run(&two, "CREATE TEMP VIEW w AS SELECT device FROM press"), "CREATE VIEW");
    assert_eq!(rows(&two, "SELECT count(*) FROM w", &[]), ["6"]);
    assert_eq!(world.fails("SELECT * FROM w").code, "42P01");
    world.run("CREATE VIEW w AS SELECT 1 AS one");
    world.check("SELECT one FROM w", &["1"]);
    assert_eq!(rows(&two, "SELECT count(*) FROM w", &[]), ["6"]);
    let views = "SELECT count(*) FROM pg_class WHERE relname = 'w' AND relpersistence = 't'";
    assert_eq!(rows(&two, views, &[]), ["1"]);
    world.check(views, &["0"]);
    assert_eq!(
        rows(&two, "SELECT pg_get_viewdef('w'::regclass)", &[]),
        [" SELECT device FROM press;"]
    );
    assert_eq!(fails(&two, "CREATE TEMP VIEW w AS SELECT 1 AS a").code, "42P07");
    assert_eq!(fails(&two, "CREATE TEMP TABLE w (a int)").code, "42P07");
    run(&two, "CREATE OR REPLACE TEMP VIEW w AS SELECT device, strokes FROM press");
    assert_eq!(columns(&two, "SELECT * FROM w"), ["device", "strokes"]);
    run(&two, "ALTER VIEW w RENAME TO w2");
    assert_eq!(rows(&two, "SELECT one FROM w", &[]), ["1"]);
    run(&two, "DROP VIEW w2");
    assert_eq!(fails(&two, "DROP VIEW w").code, "42501");
    world.check("SELECT one FROM w", &["1"]);
    let reader = world.engine.session(identity("r", false), &[]);
    assert_eq!(fails(&reader, "CREATE TEMP VIEW x AS SELECT 1 AS a").code, "42501");
    world.run("BEGIN");
    assert_eq!(world.fails("CREATE TEMP VIEW x AS SELECT 1 AS a").code, "25001");
    world.run("ROLLBACK");
}

#[test]
fn it_hides_tables_but_not_in_views() {
    let world = World::with_presses();
    world.run("CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1), (2)");
    world.run("CREATE VIEW v AS SELECT a FROM t");
    // Statements that were planned before are planned anew.
    let prepared = world.session.parse("SELECT * FROM press").unwrap();
    let count = || {
        let outcome = futures::executor::block_on(world.session.execute(&prepared[0], &[]));
        text_of(outcome.unwrap()).len()
    };
    assert_eq!(count(), 6);
    world.run("CREATE TEMP VIEW press AS SELECT 'mine' AS device FROM press LIMIT 1");
    world.run("CREATE TEMP VIEW t AS SELECT a + 10 AS a FROM t");
    assert_eq!(count(), 1);
    world.check("SELECT device FROM press", &["mine"]);
    world.check("SELECT count(*) FROM public.press", &["6"]);
    world.check("SELECT count(*) FROM press", &["1"]);
    world.check("SELECT a FROM t ORDER BY a", &["11", "12"]);
    world.check("SELECT a FROM t WHERE a = 12", &["12"]);
    world.check("SELECT a FROM v ORDER BY a", &["1", "2"]);
    for sql in [
        "INSERT INTO press (time, device) VALUES (now(), 'x')",
        "INSERT INTO t VALUES (3)",
        "UPDATE t SET a = 3",
        "DELETE FROM press",
        "TRUNCATE t",
        "COPY t FROM STDIN",
        "DROP TABLE press",
        "ALTER TABLE t ADD COLUMN b int",
        "CREATE INDEX ON t (a)",
    ] {
        assert_eq!(world.fails(sql).code, "42809", "{sql}");
    }
    let other = world.engine.session(identity("o", true), &[]);
    assert_eq!(rows(&other, "SELECT count(*) FROM press", &[]), ["6"]);
    world.run("DROP VIEW press, t");
    world.check("SELECT count(*) FROM press", &["6"]);
    world.check("SELECT a FROM t ORDER BY a", &["1", "2"]);
}

#[test]
fn views_over_what_is_temporary_become_so() {
    let world = World::with_presses();
    world.run("CREATE TEMP TABLE mine (a int PRIMARY KEY); INSERT INTO mine VALUES (1)");
    world.run("CREATE VIEW v AS SELECT * FROM mine");
    let notices = world.session.take_warnings();
    assert_eq!(notices[0].message, "view \"v\" will be a temporary view");
    assert_eq!(notices[0].code, "00000");
    world.run("CREATE VIEW above AS SELECT a FROM v");
    world.check("SELECT a FROM above", &["1"]);
    let temporary =
        "SELECT relname FROM pg_class WHERE relpersistence = 't' AND relkind = 'v' ORDER BY 1";
    world.check(temporary, &["above", "v"]);
    let error = world.fails("CREATE MATERIALIZED VIEW m AS SELECT a FROM above");
    assert_eq!(error.code, "0A000");
    assert_eq!(error.message, "materialized views must not use temporary tables or views");
    let error = world.fails("DROP TABLE mine");
    assert_eq!(error.code, "2BP01");
    assert_eq!(error.detail.unwrap(), "view v depends on it\nview above depends on it");
    assert_eq!(world.fails("DROP VIEW v").code, "2BP01");
    world.run("DROP TABLE mine CASCADE");
    world.check(temporary, &[]);
}

#[test]
fn names_mean_what_they_meant_when_it_was_made() {
    let world = World::with_presses();
    world.run("CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1)");
    world.run("CREATE VIEW lasting AS SELECT a FROM t");
    world.run("CREATE TEMP VIEW one AS SELECT a FROM t");
    world.run("CREATE TEMP VIEW two AS SELECT a FROM lasting");
    world.run("CREATE TEMP VIEW three AS SELECT device FROM press");
    world.run("CREATE TEMP TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (100)");
    world.run("CREATE TEMP VIEW lasting AS SELECT 200 AS a");
    world.run("CREATE TEMP TABLE press (device text)");
    world.check("SELECT a FROM one", &["1"]);
    world.check("SELECT a FROM two", &["1"]);
    world.check("SELECT count(*) FROM three", &["6"]);
    world.check("SELECT a FROM t", &["100"]);
    world.check("SELECT a FROM lasting", &["200"]);
    world.run("CREATE TEMP VIEW four AS SELECT t.a + l.a AS a FROM t, lasting l");
    world.check("SELECT a FROM four", &["300"]);
    // A lasting table that another session's view reads is not dropped unasked.
    let other = world.engine.session(identity("o", true), &[]);
    assert_eq!(fails(&other, "DROP TABLE press").code, "2BP01");
    run(&other, "DROP TABLE press CASCADE");
    assert_eq!(world.fails("SELECT * FROM three").code, "42P01");
}

#[test]
fn it_goes_with_its_session_and_with_the_process() {
    let storage = Arc::new(MemoryStorage::new());
    let open = || {
        let options = Options { background: false, shards: 2, ..Options::default() };
        World::over(Db::open(storage.clone(), options).unwrap())
    };
    let count = |world: &World| {
        let views = world.engine.views().of(&world.engine.db().snapshot()).unwrap();
        views.list.len()
    };
    {
        let world = open();
        world.run("CREATE TEMP VIEW a AS SELECT 1 AS a");
        world.run("COMMENT ON VIEW a IS 'mine'");
        world.run("DISCARD ALL");
        assert_eq!(count(&world), 0);
        let two = world.session_of("writer");
        run(&two, "CREATE TEMP TABLE t (a int); CREATE TEMP VIEW b AS SELECT a FROM t");
        drop(two);
        for _ in 0..2_000 {
            if count(&world) == 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(count(&world), 0);
        world.run("CREATE TEMP VIEW c AS SELECT 1 AS a");
        world.engine.db().close().unwrap();
    }
    let world = open();
    assert_eq!(count(&world), 0);
}
