//! Materialised views that are no continuous aggregates: filled, refreshed, dropped, and what is
//! left when that does not come to its end.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::executor::block_on;
use tsdb::io::MemoryStorage;
use tsdb::{Db, Options};

use super::harness::*;
use crate::Outcome;
use crate::relational::def::SPACE_ROWS;

fn world() -> World {
    let world = World::new();
    world.run("CREATE TABLE t (a int PRIMARY KEY, b text, n numeric(8,2), d date)");
    world.run(
        "INSERT INTO t VALUES (1, 'x', 1.50, '2026-01-01'), (2, 'y', NULL, NULL), (3, NULL, -7, NULL)",
    );
    world
}

#[test]
fn it_shows_what_its_query_gave_last() {
    let world = world();
    assert_eq!(world.run("CREATE MATERIALIZED VIEW m AS SELECT a, b, n, d FROM t"), "SELECT 3");
    let all = "SELECT * FROM m ORDER BY a";
    let before = ["1 | x | 1.50 | 2026-01-01", "2 | y | ∅ | ∅", "3 | ∅ | -7.00 | ∅"];
    world.check(all, &before);
    world.run("DELETE FROM t WHERE a = 1");
    world.run("INSERT INTO t VALUES (4, 'z', 0, NULL)");
    world.check(all, &before);
    let other = world.engine.session(identity("o", true), &[]);
    run(&other, "BEGIN");
    assert_eq!(rows(&other, "SELECT count(*) FROM m", &[]), ["3"]);
    assert_eq!(world.run("REFRESH MATERIALIZED VIEW m"), "REFRESH MATERIALIZED VIEW");
    world.check("SELECT a FROM m ORDER BY a", &["2", "3", "4"]);
    // A block keeps what it has seen.
    assert_eq!(rows(&other, "SELECT min(a) FROM m", &[]), ["1"]);
    run(&other, "COMMIT");
    assert_eq!(rows(&other, "SELECT min(a) FROM m", &[]), ["2"]);
    world.check(
        "SELECT m.a, t.b FROM m JOIN t USING (a) WHERE m.a > 2 ORDER BY 1",
        &["3 | ∅", "4 | z"],
    );
    world.check("SELECT a FROM m WHERE a = (SELECT max(a) FROM public.m)", &["4"]);
    world.run("CREATE VIEW above AS SELECT max(a) AS highest FROM m");
    world.check("SELECT highest FROM above", &["4"]);
    // A statement that was bound before reads what is there now.
    let prepared = world.session.parse("SELECT count(*) FROM m").unwrap();
    let count = || text_of(block_on(world.session.execute(&prepared[0], &[])).unwrap());
    assert_eq!(count(), ["3"]);
    world.run("DELETE FROM t");
    world.run("REFRESH MATERIALIZED VIEW CONCURRENTLY m");
    assert_eq!(count(), ["0"]);
}

#[test]
fn one_that_was_not_filled_cannot_be_read() {
    let world = world();
    let made = world.run("CREATE MATERIALIZED VIEW m (x, y) AS SELECT a, b FROM t WITH NO DATA");
    assert_eq!(made, "CREATE MATERIALIZED VIEW");
    let populated = "SELECT ispopulated FROM pg_matviews WHERE matviewname = 'm'";
    world.check(populated, &["false"]);
    for sql in ["SELECT * FROM m", "CREATE MATERIALIZED VIEW k AS SELECT x FROM m"] {
        let error = world.fails(sql);
        assert_eq!(error.code, "55000", "{sql}");
        assert_eq!(error.message, "materialized view \"m\" has not been populated");
        assert!(error.hint.unwrap().contains("REFRESH MATERIALIZED VIEW"));
    }
    // Nothing is left of the one that could not be filled.
    world.run("CREATE MATERIALIZED VIEW k AS SELECT x FROM m WITH NO DATA");
    world.run("CREATE VIEW v AS SELECT x FROM m");
    assert_eq!(world.fails("SELECT * FROM v").code, "55000");
    assert_eq!(world.fails("REFRESH MATERIALIZED VIEW CONCURRENTLY m").code, "0A000");
    assert_eq!(world.fails("REFRESH MATERIALIZED VIEW CONCURRENTLY m WITH NO DATA").code, "42601");
    world.run("REFRESH MATERIALIZED VIEW m WITH DATA");
    world.check("SELECT x, y FROM m ORDER BY 1", &["1 | x", "2 | y", "3 | ∅"]);
    world.run("REFRESH MATERIALIZED VIEW k");
    world.check("SELECT x FROM v ORDER BY 1", &["1", "2", "3"]);
    world.run("REFRESH MATERIALIZED VIEW m WITH NO DATA");
    world.check(populated, &["false"]);
    assert_eq!(world.fails("SELECT * FROM m").code, "55000");
    world.check("SELECT x FROM k ORDER BY 1", &["1", "2", "3"]);
    world.check(
        "SELECT relname, relkind, relispopulated, relpersistence FROM pg_class
         WHERE relname IN ('k', 'm') ORDER BY 1",
        &["k | m | true | p", "m | m | false | p"],
    );
}

#[test]
fn what_cannot_be_is_refused() {
    let world = world();
    world.run("CREATE MATERIALIZED VIEW m AS SELECT a, b FROM t");
    world.run("CREATE VIEW v AS SELECT 1 AS a");
    for (sql, code) in [
        ("CREATE MATERIALIZED VIEW m AS SELECT 1 AS a", "42P07"),
        ("CREATE MATERIALIZED VIEW t AS SELECT 1 AS a", "42P07"),
        ("CREATE MATERIALIZED VIEW x WITH (foo = 1) AS SELECT 1 AS a", "22023"),
        ("CREATE MATERIALIZED VIEW x AS SELECT a, a FROM t", "42701"),
        ("CREATE MATERIALIZED VIEW x AS SELECT ARRAY[a] AS a FROM t", "0A000"),
        ("CREATE MATERIALIZED VIEW x AS SELECT $1::int AS a", "42P02"),
        ("CREATE MATERIALIZED VIEW x AS SELECT 1 / (a - 1) AS a FROM t", "22012"),
        ("CREATE VIEW m AS SELECT 1 AS a", "42P07"),
        ("CREATE OR REPLACE VIEW m AS SELECT 1 AS a", "42809"),
        ("CREATE TABLE m (a int)", "42P07"),
        ("CREATE INDEX ON m (a)", "42809"),
        ("INSERT INTO m VALUES (1)", "42809"),
        ("UPDATE m SET a = 1", "42809"),
        ("DELETE FROM m", "42809"),
        ("TRUNCATE m", "42809"),
        ("COPY m FROM STDIN", "42809"),
        ("DROP VIEW m", "42809"),
        ("DROP TABLE m", "42809"),
        ("DROP MATERIALIZED VIEW v", "42809"),
        ("DROP MATERIALIZED VIEW nothing", "42P01"),
        ("REFRESH MATERIALIZED VIEW v", "42809"),
        ("REFRESH MATERIALIZED VIEW nothing", "42P01"),
        ("ALTER MATERIALIZED VIEW m SET (retention = '1 day')", "0A000"),
        ("ALTER MATERIALIZED VIEW v RENAME TO w", "42809"),
        ("ALTER MATERIALIZED VIEW m RENAME TO t", "42P07"),
    ] {
        let error = world.fails(sql);
        assert_eq!(error.code, code, "{sql}: {error:?}");
    }
    let made = world.run("CREATE MATERIALIZED VIEW IF NOT EXISTS m AS SELECT 1 AS a");
    assert_eq!(made, "CREATE MATERIALIZED VIEW");
    let reader = world.engine.session(identity("r", false), &[]);
    assert_eq!(fails(&reader, "CREATE MATERIALIZED VIEW x AS SELECT 1 AS a").code, "42501");
    assert_eq!(fails(&reader, "REFRESH MATERIALIZED VIEW m").code, "42501");
    assert_eq!(run(&reader, "SELECT * FROM m"), "SELECT 3");
    world.run("BEGIN");
    assert_eq!(world.fails("REFRESH MATERIALIZED VIEW m").code, "25001");
    world.run("ROLLBACK");
    world.run("CREATE MATERIALIZED VIEW x WITH (fillfactor = 70) AS SELECT 1 AS a");
}

#[test]
fn what_it_reads_stays() {
    let world = World::with_presses();
    world.run("CREATE TABLE t (a int PRIMARY KEY, b text)");
    world.run("CREATE MATERIALIZED VIEW m AS SELECT a FROM t");
    world.run("CREATE VIEW v AS SELECT a FROM m");
    world.run("CREATE MATERIALIZED VIEW p AS SELECT device, strokes FROM press");
    for (sql, detail) in [
        ("DROP TABLE t", "materialized view m depends on it\nview v depends on it"),
        ("DROP MATERIALIZED VIEW m", "view v depends on it"),
        ("ALTER TABLE t DROP COLUMN a", "materialized view m"),
        ("ALTER TABLE press DROP COLUMN strokes", "materialized view p"),
    ] {
        let error = world.fails(sql);
        assert_eq!(error.code, "2BP01", "{sql}: {error:?}");
        assert!(error.detail.clone().unwrap().contains(detail), "{sql}: {error:?}");
    }
    for sql in ["ALTER TABLE t RENAME TO u", "ALTER MATERIALIZED VIEW m RENAME TO n"] {
        assert_eq!(world.fails(sql).code, "0A000", "{sql}");
    }
    world.run("ALTER TABLE t DROP COLUMN b");
    world.run("DROP VIEW v");
    world.run("COMMENT ON MATERIALIZED VIEW m IS 'kept'");
    world.run("ALTER MATERIALIZED VIEW m RENAME TO n");
    world.check("SELECT obj_description('n'::regclass)", &["kept"]);
    world.run("INSERT INTO t VALUES (5)");
    world.run("REFRESH MATERIALIZED VIEW n");
    world.check("SELECT a FROM n", &["5"]);
    world.run("DROP TABLE t, press CASCADE");
    world.check("SELECT count(*) FROM pg_matviews", &["0"]);
    assert_eq!(kept(&world), 0);
}

/// Rows in the space of rows of relational tables.
fn kept(world: &World) -> usize {
    world.engine.db().snapshot().rows().scan(SPACE_ROWS, &[]).unwrap().len()
}

/// Numbers that are being filled.
fn filling(world: &World) -> usize {
    world.engine.db().snapshot().rows().scan(27, &[]).unwrap().len()
}

#[test]
fn rows_come_in_several_commits_and_go_with_the_view() {
    let world = World::new();
    // More rows than one statement may insert, and than one commit takes.
    let made = "CREATE MATERIALIZED VIEW m AS SELECT i, i * 2 AS twice FROM generate_series(1, 250000) AS s(i)";
    assert_eq!(world.run(made), "SELECT 250000");
    world.check("SELECT count(*), min(i), max(twice) FROM m", &["250000 | 1 | 500000"]);
    assert_eq!((kept(&world), filling(&world)), (250_000, 0));
    world.run("REFRESH MATERIALIZED VIEW m");
    assert_eq!((kept(&world), filling(&world)), (250_000, 0));
    world.run("REFRESH MATERIALIZED VIEW m WITH NO DATA");
    assert_eq!((kept(&world), filling(&world)), (0, 0));
    world.run("REFRESH MATERIALIZED VIEW m; DROP MATERIALIZED VIEW m");
    assert_eq!((kept(&world), filling(&world)), (0, 0));
}

/// Waits until what a failed refresh has left is gone.
fn settled(world: &World) {
    for _ in 0..2_000 {
        if filling(world) == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("rows of a refresh that failed stay");
}

#[test]
fn a_refresh_that_fails_changes_nothing() {
    let world = world();
    world.run("CREATE MATERIALIZED VIEW m AS SELECT 6 / a AS q FROM t");
    world.run("CREATE MATERIALIZED VIEW l AS SELECT i, 1 / (x - i) AS q FROM (SELECT a AS x FROM t WHERE a > 100) t, generate_series(1, 150000) AS s(i)");
    world.run("INSERT INTO t VALUES (0, NULL, NULL, NULL), (140000, NULL, NULL, NULL)");
    let before = kept(&world);
    assert_eq!(world.fails("REFRESH MATERIALIZED VIEW m").code, "22012");
    // Here commits were made by then.
    assert_eq!(world.fails("REFRESH MATERIALIZED VIEW l").code, "22012");
    settled(&world);
    assert_eq!(kept(&world), before);
    world.check("SELECT q FROM m ORDER BY 1", &["2", "3", "6"]);
    world.check("SELECT count(*) FROM l", &["0"]);
    // A statement that is left in the middle.
    let statement = world.session.parse("REFRESH MATERIALIZED VIEW l").unwrap();
    let refresh = world.session.execute(&statement[0], &[]);
    let late = async {
        tokio::select! {
            biased;
            _ = refresh => {}
            () = futures::future::ready(()) => {}
        }
    };
    block_on(late);
    settled(&world);
    assert_eq!(kept(&world), before);
}

#[test]
fn it_outlives_the_process_and_half_of_it_does_not() {
    let storage = Arc::new(MemoryStorage::new());
    let open = || {
        let options = Options { background: false, shards: 2, ..Options::default() };
        World::over(Db::open(storage.clone(), options).unwrap())
    };
    {
        let world = open();
        world.run("CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1), (2)");
        world.run("CREATE MATERIALIZED VIEW m AS SELECT a FROM t");
        world.run("CREATE MATERIALIZED VIEW later AS SELECT a FROM t WITH NO DATA");
        world.run("DELETE FROM t");
        // As if the process had ended in the middle of a refresh.
        let put = |space, key: Vec<u8>, value: &[u8]| tsdb::rows::RowChange::Put {
            space,
            key,
            value: value.to_vec(),
        };
        let half = tsdb::rows::RowCommand {
            expects: Vec::new(),
            changes: vec![
                put(27, 99u32.to_be_bytes().to_vec(), br#"{"v":1}"#),
                put(SPACE_ROWS, (99u32 | 1 << 31).to_be_bytes().to_vec(), b"row"),
            ],
        };
        world.engine.db().commit(vec![tsdb::Command::Rows(half)]).unwrap().all().unwrap();
        world.engine.db().close().unwrap();
    }
    let world = open();
    assert_eq!((kept(&world), filling(&world)), (2, 0));
    world.check("SELECT a FROM m ORDER BY 1", &["1", "2"]);
    assert_eq!(world.fails("SELECT * FROM later").code, "55000");
    world.run("REFRESH MATERIALIZED VIEW m");
    world.check("SELECT count(*) FROM m", &["0"]);
}

#[test]
fn readers_see_one_filling_or_the_other() {
    let world = World::new();
    world.run("CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (0)");
    world.run("CREATE MATERIALIZED VIEW m AS SELECT a, i FROM t, generate_series(1, 3000) AS s(i)");
    let reader = world.engine.session(identity("r", false), &[]);
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            for _ in 0..60 {
                let seen = rows(&reader, "SELECT count(*), max(a) - min(a) FROM m", &[]);
                assert_eq!(seen, ["3000 | 0"]);
            }
        });
        for n in 1..8 {
            world.run(&format!("UPDATE t SET a = {n}; REFRESH MATERIALIZED VIEW m"));
        }
        reading.join().unwrap();
    });
    world.check("SELECT DISTINCT a FROM m", &["7"]);
    // A result that is being read is not changed either.
    let statement = reader.parse("SELECT a FROM m").unwrap();
    let Outcome::Rows { stream, .. } = block_on(reader.execute(&statement[0], &[])).unwrap() else {
        panic!("no rows")
    };
    world.run("DROP MATERIALIZED VIEW m");
    let batches = block_on(stream.collect::<Vec<_>>());
    assert_eq!(batches.into_iter().map(|b| b.unwrap().num_rows()).sum::<usize>(), 3_000);
}
