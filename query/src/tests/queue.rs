//! Limits of statements and roles, the queue of heavy statements, and what is seen of it all.

use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::executor::block_on;

use super::harness::*;
use crate::{Outcome, QueryOptions, RoleChange};

const ENDLESS: &str = "SELECT sum(a.v * b.v * c.v) FROM m AS a CROSS JOIN m AS b CROSS JOIN m AS c";

fn world(options: QueryOptions) -> World {
    let world = World::limited(options);
    world.run("CREATE TABLE m (time timestamptz PRIMARY KEY, v bigint)");
    world.run(
        "INSERT INTO m SELECT '2026-01-01'::timestamptz + value * interval '1 second', value
         FROM generate_series(1, 10000) AS value",
    );
    world
}

/// Ends what a session runs, so that a test that fails does not wait for it.
struct EndsOnPanic<'a>(&'a crate::Session);

impl Drop for EndsOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.cancel();
        }
    }
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(120), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn heavy_statements_wait_and_small_ones_do_not() {
    let world = world(QueryOptions { heavy_max: 1, waiting_max: 1, ..QueryOptions::default() });
    let (first, second, third) =
        (world.session_of("ann"), world.session_of("bob"), world.session_of("ann"));
    for (session, pid) in [(&first, 101), (&second, 102)] {
        session.set_process(pid);
    }
    std::thread::scope(|scope| {
        let _ends = (EndsOnPanic(&first), EndsOnPanic(&second));
        let runs = scope.spawn(|| fails(&first, ENDLESS).code);
        wait_until("the first runs", || world.engine.heavy_queries().0 == 1);
        let waits = scope.spawn(|| fails(&second, ENDLESS).code);
        wait_until("the second waits", || world.engine.heavy_queries().1 == 1);
        let refused = fails(&third, ENDLESS);
        assert_eq!(refused.code, "53300", "{refused:?}");
        let figures = world.engine.queue();
        assert_eq!((figures.places, figures.running, figures.waiting), (1, 1, 1));
        assert_eq!((figures.queued, figures.refused, figures.timed_out), (1, 1, 0));

        // Everything small goes its way.
        assert_eq!(run(&third, "SELECT 1"), "SELECT 1");
        assert_eq!(run(&third, "SELECT v FROM m WHERE v = 5"), "SELECT 1");
        assert_eq!(run(&third, "SELECT count(*) FROM m"), "SELECT 1");
        assert_eq!(run(&third, "SELECT relname FROM pg_class WHERE relname = 'm'"), "SELECT 1");
        assert_eq!(run(&third, "INSERT INTO m VALUES (now(), 1)"), "INSERT 0 1");

        std::thread::sleep(Duration::from_millis(100));
        world.check(
            "SELECT pid, role, state, priority, rows_expected, memory_bytes >= 0, waited_ms >= 100
             FROM sys.queries WHERE role <> 'admin' ORDER BY pid",
            &[
                "101 | ann | running | normal | 30000 | true | false",
                "102 | bob | queued | normal | 30000 | true | true",
            ],
        );
        world.check(
            "SELECT pid, state, wait_event, query LIKE 'SELECT sum%' FROM pg_stat_activity
             WHERE usename <> 'admin' AND pid < 1000 ORDER BY pid",
            &["101 | active | ∅ | true", "102 | active | Queue | true"],
        );
        // Texts of others are hidden.
        assert_eq!(
            rows(&third, "SELECT role, text IS NULL FROM sys.queries ORDER BY id", &[])[1],
            "bob | true"
        );
        assert_eq!(
            rows(&third, "SELECT query FROM pg_stat_activity WHERE pid = 102", &[]),
            ["<insufficient privilege>"]
        );

        assert_eq!(fails(&third, "SELECT pg_cancel_backend(102)").code, "42501");
        assert_eq!(fails(&third, "SELECT pg_terminate_backend(102)").code, "42501");
        world.check("SELECT pg_cancel_backend(999)", &["false"]);
        world.check("SELECT pg_cancel_backend(102)", &["true"]);
        assert_eq!(waits.join().unwrap(), "57014");
        wait_until("the queue is empty", || world.engine.heavy_queries() == (1, 0));
        assert_eq!(rows(&third, "SELECT pg_cancel_backend(101)", &[]), ["true"]);
        assert_eq!(runs.join().unwrap(), "57014");
    });
    wait_until("all is over", || world.engine.heavy_queries() == (0, 0));
    world.check("SELECT count(*) FROM sys.queries", &["1"]);
}

#[test]
fn waiting_has_an_end() {
    let world = world(QueryOptions { heavy_max: 1, ..QueryOptions::default() });
    let (first, second) = (world.session_of("ann"), world.session_of("bob"));
    std::thread::scope(|scope| {
        let _ends = EndsOnPanic(&first);
        let runs = scope.spawn(|| fails(&first, ENDLESS).code);
        wait_until("the first runs", || world.engine.heavy_queries().0 == 1);
        run(&second, "SET millrace.queue_timeout = '50ms'");
        let error = fails(&second, ENDLESS);
        assert_eq!(error.code, "57014");
        assert!(error.message.contains("queue timeout"), "{error:?}");
        run(&second, "SET millrace.queue_timeout = 0; SET statement_timeout = '50ms'");
        let error = fails(&second, ENDLESS);
        assert!(error.message.contains("statement timeout"), "{error:?}");
        while !runs.is_finished() {
            first.cancel();
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(runs.join().unwrap(), "57014");
    });
}

#[test]
fn priorities_decide_who_is_next() {
    let world = world(QueryOptions { heavy_max: 1, ..QueryOptions::default() });
    let heavy = "SELECT count(*) FROM m AS a, m AS b WHERE a.v < b.v";
    let (first, low, high) = (
        world.session_of("ann"),
        world.session_of("bob"),
        world.engine.session(identity("admin", true), &[]),
    );
    run(&low, "SET millrace.priority = low");
    run(&high, "SET millrace.priority = high");
    let ended = parking_lot::Mutex::new(Vec::new());
    let work = |name: &'static str, session: &crate::Session| {
        run(session, heavy);
        ended.lock().push(name);
    };
    std::thread::scope(|scope| {
        let _ends = EndsOnPanic(&first);
        let runs = scope.spawn(|| fails(&first, ENDLESS).code);
        wait_until("the first runs", || world.engine.heavy_queries().0 == 1);
        scope.spawn(|| work("low", &low));
        wait_until("one waits", || world.engine.heavy_queries().1 == 1);
        scope.spawn(|| work("high", &high));
        wait_until("two wait", || world.engine.heavy_queries().1 == 2);
        while !runs.is_finished() {
            first.cancel();
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    assert_eq!(*ended.lock(), ["high", "low"]);
}

#[test]
fn a_slow_reader_lends_its_place() {
    let world = world(QueryOptions { heavy_max: 1, ..QueryOptions::default() });
    let (slow, other) = (world.session_of("ann"), world.session_of("bob"));
    let many = slow.parse("SELECT a.v FROM m AS a CROSS JOIN m AS b").unwrap().remove(0);
    let Outcome::Rows { mut stream, .. } = block_on(slow.execute(&many, &[])).unwrap() else {
        panic!("no rows");
    };
    block_on(stream.next()).unwrap().unwrap();
    assert_eq!(run(&other, "SELECT count(*) FROM m AS a, m AS b WHERE a.v < b.v"), "SELECT 1");
    // And takes it back.
    for _ in 0..10 {
        block_on(stream.next()).unwrap().unwrap();
    }
    drop(stream);
    wait_until("all is over", || world.engine.heavy_queries() == (0, 0));
}

#[test]
fn results_are_limited() {
    let world = world(QueryOptions::default());
    world.run("SET millrace.max_result_rows = 100");
    assert_eq!(world.run("SELECT v FROM m LIMIT 100"), "SELECT 100");
    for sql in [
        "SELECT v FROM m LIMIT 101",
        "SELECT * FROM m",
        "SELECT v, count(*) FROM m GROUP BY v",
        "SELECT a.v FROM m AS a, m AS b",
    ] {
        let error = world.fails(sql);
        assert_eq!(error.code, "53400", "{sql}: {error:?}");
    }
    // What only passes through is not a result.
    world.check("SELECT count(*) FROM (SELECT v FROM m) AS t", &["10000"]);
    assert_eq!(world.run("UPDATE m SET v = v + 1"), "UPDATE 10000");
    world.run("BEGIN; DECLARE c CURSOR FOR SELECT v FROM m; FETCH 60 FROM c");
    assert_eq!(world.fails("FETCH 10000 FROM c").code, "53400");
    assert_eq!(world.fails("SELECT 1").code, "25P02");
    world.run("ROLLBACK");
    let copy = world.session.parse("COPY m TO STDOUT").unwrap().remove(0);
    let Outcome::CopyOut { stream, .. } = block_on(world.session.execute(&copy, &[])).unwrap()
    else {
        panic!("no rows");
    };
    let batches = block_on(stream.collect::<Vec<_>>());
    assert!(batches.last().unwrap().is_err());
    world.run("RESET millrace.max_result_rows");
    assert_eq!(world.run("SELECT * FROM m"), "SELECT 10000");
}

#[test]
fn memory_of_a_statement_is_limited() {
    let world = world(QueryOptions { spill_bytes_max: 0, ..QueryOptions::default() });
    let hungry = "SELECT value, count(*) FROM generate_series(1, 1000000) AS value GROUP BY value
                  ORDER BY 2, 1 LIMIT 1 OFFSET 100000";
    world.run("SET millrace.query_memory = '4MB'");
    let error = world.fails(hungry);
    assert_eq!(error.code, "53200", "{error:?}");
    assert!(error.hint.unwrap().contains("millrace.query_memory"));
    let native = "SELECT time_bucket('1 second', time), avg(v) FROM m GROUP BY 1";
    world.run("SET millrace.query_memory = '64kB'");
    assert_eq!(world.fails(native).code, "53200");
    world.run("RESET millrace.query_memory");
    assert_eq!(world.run(hungry), "SELECT 1");
    assert_eq!(world.run(native), "SELECT 10000");
}

#[test]
fn what_spills_is_limited_and_goes_away() {
    let folder = tempfile::tempdir().unwrap();
    let left_behind = folder.path().join("datafusion-left");
    std::fs::create_dir(&left_behind).unwrap();
    std::fs::write(left_behind.join("file"), "x").unwrap();
    let world = world(QueryOptions {
        memory_bytes_max: 16 << 20,
        query_bytes_max: 16 << 20,
        spill_bytes_max: 32 << 20,
        spill_folder: folder.path().to_path_buf(),
        spill_folder_owned: true,
        ..QueryOptions::default()
    });
    assert!(!left_behind.exists(), "what a crash has left");
    let bytes = || -> u64 {
        let files = |path: &std::path::Path| -> Vec<std::path::PathBuf> {
            std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect()
        };
        let inner = files(folder.path()).into_iter().flat_map(|f| files(&f));
        inner.filter_map(|f| Some(f.metadata().ok()?.len())).sum()
    };
    let sorts = |rows: u64| {
        format!(
            "SELECT repeat(value::text, 10) FROM generate_series(1, {rows}) AS value
             ORDER BY value % 1000, value"
        )
    };
    let error = world.fails(&sorts(3_000_000));
    assert_eq!(error.code, "53100", "{error:?}");
    wait_until("files are left", || bytes() == 0);
    // One that spills less than that runs, and is seen to spill.
    world.run("SET millrace.slow_query_after = '1ms'");
    world.run("SET millrace.query_memory = '8MB'");
    world.run(&sorts(120_000));
    world.check(
        "SELECT spilled_bytes > 0, plan LIKE '%SortExec%', memory_peak_bytes > 0, error
         FROM sys.slow_queries WHERE text LIKE '%120000%'",
        &["true | true | true | ∅"],
    );
    wait_until("files are left", || bytes() == 0);
}

#[test]
fn roles_have_settings_and_limits() {
    let world = world(QueryOptions::default());
    world.run("CREATE ROLE ann LOGIN; CREATE ROLE bob LOGIN");
    world.run("ALTER ROLE ann SET statement_timeout = '5s'");
    world.run("ALTER ROLE ann SET millrace.max_result_rows TO 10");
    world.run("ALTER USER ann SET timezone = 'Asia/Tokyo'");
    world.check(
        "SELECT rolname, rolconfig FROM pg_roles WHERE rolconfig IS NOT NULL",
        &["ann | [statement_timeout=5s, millrace.max_result_rows=10, TimeZone=Asia/Tokyo]"],
    );
    world.check("SELECT count(*) FROM pg_db_role_setting", &["1"]);
    let ann = world.session_of("ann");
    assert_eq!(ann.setting("TimeZone").as_deref(), Some("Asia/Tokyo"));
    assert_eq!(fails(&ann, ENDLESS).code, "57014");
    assert_eq!(fails(&ann, "SELECT v FROM m").code, "53400");
    assert_eq!(fails(&ann, "SET statement_timeout = 0").code, "42501");
    run(&ann, "BEGIN");
    assert_eq!(fails(&ann, "SET LOCAL millrace.max_result_rows = 11").code, "42501");
    run(&ann, "ROLLBACK");
    assert_eq!(fails(&ann, "SELECT set_config('statement_timeout', '10s', false)").code, "42501");
    run(&ann, "SET statement_timeout = '50ms'; RESET ALL; SET TimeZone = 'UTC'");
    assert_eq!(ann.setting("statement_timeout").as_deref(), Some("5s"));
    // Others have none of it.
    let bob = world.session_of("bob");
    assert_eq!(run(&bob, "SELECT v FROM m"), "SELECT 10000");

    for (sql, code) in [
        ("ALTER ROLE ann SET no_such = 1", "42704"),
        ("ALTER ROLE ann SET statement_timeout = 'soon'", "22023"),
        ("ALTER ROLE ann SET server_version = '16'", "55P02"),
        ("ALTER ROLE nobody SET statement_timeout = 1", "42704"),
        ("ALTER ROLE ann SET LOCAL statement_timeout = 1", "42601"),
        ("ALTER ROLE ann SET", "42601"),
        ("ALTER ROLE ann IN DATABASE millrace SET statement_timeout = 1", "0A000"),
        ("ALTER ROLE ALL SET statement_timeout = 1", "0A000"),
        ("BEGIN; ALTER ROLE ann SET statement_timeout = 1", "25001"),
    ] {
        assert_eq!(world.fails(sql).code, code, "{sql}");
        world.run("ROLLBACK");
    }
    world.run("ALTER ROLE ann RESET timezone; ALTER ROLE ann SET statement_timeout TO DEFAULT");
    assert_eq!(world.session_of("ann").setting("statement_timeout").as_deref(), Some("0"));
    world.run("ALTER ROLE ann RESET ALL");
    world.check("SELECT count(*) FROM pg_roles WHERE rolconfig IS NOT NULL", &["0"]);
    let directory = world.engine.directory();
    let change = RoleChange::Reset("TimeZone".into());
    assert_eq!(directory.configure(&identity("x", true), "x", change).unwrap_err().code, "42704");
}

#[test]
fn connections_and_their_blocks_are_seen() {
    let world = world(QueryOptions::default());
    let ann = world.session_of("ann");
    ann.set_process(77);
    run(&ann, "SET application_name = 'report'");
    let state = "SELECT application_name, state, query, xact_start IS NOT NULL, wait_event
                 FROM pg_stat_activity WHERE pid = 77";
    world.check(state, &["report | idle | SET application_name = 'report' | false | ClientRead"]);
    run(&ann, "BEGIN");
    world.check(state, &["report | idle in transaction | BEGIN | true | ClientRead"]);
    fails(&ann, "SELECT no_such");
    world.check(
        state,
        &["report | idle in transaction (aborted) | SELECT no_such | true | ClientRead"],
    );
    run(&ann, "ROLLBACK");
    world.check(state, &["report | idle | ROLLBACK | false | ClientRead"]);
    assert_eq!(rows(&ann, "SELECT pg_backend_pid()", &[]), ["77"]);
    world.run("SET application_name = 'me'");
    world.check(
        "SELECT state, query LIKE '%''me''%' FROM pg_stat_activity
        WHERE pid = pg_backend_pid()",
        &["active | true"],
    );

    // EXPLAIN does not do it, and nobody asks twice.
    world.run("EXPLAIN SELECT pg_terminate_backend(77)");
    run(&ann, "SELECT 1");
    world.check("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = 77", &["true"]);
    assert_eq!(fails(&ann, "SELECT 1").code, "57P01");
    block_on(ann.terminated());
    drop(ann);
    world.check("SELECT count(*) FROM pg_stat_activity WHERE pid = 77", &["0"]);
}

#[test]
fn slow_statements_are_kept_with_their_plans() {
    let world = world(QueryOptions::default());
    world.run("SET millrace.slow_query_after = '1ms'");
    let sql = "SELECT count(*) FROM m AS a, m AS b WHERE a.v + b.v < 0";
    world.run(sql);
    world.run("ALTER ROLE admin PASSWORD 'do not show this'");
    world.run("SET statement_timeout = '30ms'");
    world.fails(ENDLESS);
    world.run("SET statement_timeout = 0; SET millrace.slow_query_after = 0");
    world.check(
        "SELECT error, rows_returned, plan LIKE '%NestedLoopJoinExec%metrics=%'
         FROM sys.slow_queries WHERE text LIKE '%a.v + b.v < 0'",
        &["∅ | 1 | true"],
    );
    world.check(
        "SELECT error, run_ms > 0 FROM sys.slow_queries WHERE text LIKE '%CROSS JOIN%'",
        &["57014 | true"],
    );
    world.check("SELECT count(*) FROM sys.slow_queries WHERE text LIKE '%not show%'", &["0"]);
    let ann = world.session_of("ann");
    assert_eq!(rows(&ann, "SELECT count(*) FROM sys.slow_queries", &[]), ["0"]);
    assert_eq!(fails(&ann, "SET millrace.slow_query_after = '1h'").code, "42501");
}

#[test]
fn known_statements_are_not_planned_anew() {
    let world = world(QueryOptions::default());
    let figure = |name: &str| -> u64 {
        let sql = format!("SELECT value FROM sys.stats WHERE name = '{name}'");
        rows(&world.session, &sql, &[])[0].parse().unwrap()
    };
    let own = world.session_of("ann");
    // Texts that come again.
    for sql in [
        "SELECT 1",
        "SELECT v FROM m WHERE v = 7",
        "SELECT max(v) FROM m",
        "SELECT count(*) FROM m AS a JOIN m AS b USING (time) WHERE a.v < 5",
        "SELECT relname FROM pg_class WHERE relname = 'm'",
    ] {
        let before = figure("statement_cache_hits");
        let first = rows(&own, sql, &[]);
        assert_eq!(figure("statement_cache_hits"), before + 1, "the figures' own: {sql}");
        for _ in 0..3 {
            assert_eq!(rows(&own, sql, &[]), first, "{sql}");
        }
        assert_eq!(figure("statement_cache_hits"), before + 1 + 3 + 1, "{sql}");
    }
    // Statements that were prepared, of every kind that is planned.
    own.set_process(5);
    run(&own, "BEGIN");
    for sql in [
        "SELECT count(*) FROM m AS a JOIN m AS b USING (time)",
        "EXPLAIN SELECT count(*) FROM m AS a JOIN m AS b USING (time)",
        "EXPLAIN ANALYZE SELECT count(*) FROM m AS a JOIN m AS b USING (time)",
        "COPY (SELECT a.v FROM m AS a JOIN m AS b USING (time)) TO STDOUT",
        "DELETE FROM m WHERE v = -1",
        "UPDATE m SET v = 0 WHERE v = -1",
        "INSERT INTO m SELECT a.time, 1 FROM m AS a JOIN m AS b USING (time) WHERE a.v < 0",
    ] {
        let statement = own.parse(sql).unwrap().remove(0);
        let again = || {
            if let Outcome::Rows { stream, .. } | Outcome::CopyOut { stream, .. } =
                block_on(own.execute(&statement, &[])).unwrap()
            {
                block_on(stream.collect::<Vec<_>>());
            }
        };
        again();
        let before = world.engine.caches().plans.counts();
        again();
        let after = world.engine.caches().plans.counts();
        assert_eq!(after, (before.0 + 1, before.1), "{sql}");
        run(&own, "ROLLBACK");
        run(&own, "BEGIN");
    }
    run(&own, "ROLLBACK");
    // Another schema or setting: planned anew, and right.
    assert_eq!(rows(&own, "SELECT * FROM m WHERE v = 3", &[]).len(), 1);
    world.run("ALTER TABLE m ADD COLUMN w bigint");
    let line = &rows(&own, "SELECT * FROM m WHERE v = 3", &[])[0];
    assert_eq!(line.matches('|').count(), 2, "{line}");
    run(&own, "SET TimeZone = 'Asia/Tokyo'");
    let line = &rows(&own, "SELECT * FROM m WHERE v = 3", &[])[0];
    assert!(line.contains("+09:00"), "{line}");
}

#[test]
fn small_answers_stay_right_with_one_pass_of_rules() {
    let world = World::with_presses();
    for (sql, expect) in [
        ("SELECT 1 + 2 AS a WHERE false", &[][..]),
        ("SELECT count(*) FROM (VALUES (1), (2), (NULL)) AS t(a) WHERE a > 1", &["1"]),
        ("SELECT relname FROM pg_class WHERE relname IN ('press', 'nothing') LIMIT 3", &["press"]),
        ("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'pub%' ORDER BY 1", &["public"]),
        ("SELECT max(x) FROM (SELECT count(*) AS x FROM pg_class WHERE false) AS t", &["0"]),
        (
            "SELECT (SELECT count(*) FROM press), name FROM sys.tables WHERE name = 'press'",
            &["6 | press"],
        ),
    ] {
        world.check(sql, expect);
    }
}

#[test]
fn newest_rows_of_many_series_wait_for_their_turn() {
    let world = world(QueryOptions { heavy_max: 1, ..QueryOptions::default() });
    world.run("CREATE TABLE many (time timestamptz, k text, v bigint, PRIMARY KEY (k, time))");
    world.run("INSERT INTO many (time, k, v) SELECT now(), 'k' || value, value FROM generate_series(1, 2500) AS value");
    let newest = "SELECT DISTINCT ON (k) k, time, v FROM many ORDER BY k, time DESC";
    let few =
        "SELECT DISTINCT ON (k) k, time, v FROM many WHERE k IN ('k1', 'k2') ORDER BY k, time DESC";
    let (first, second) = (world.session_of("ann"), world.session_of("bob"));
    std::thread::scope(|scope| {
        let _ends = (EndsOnPanic(&first), EndsOnPanic(&second));
        let runs = scope.spawn(|| fails(&first, ENDLESS).code);
        wait_until("the first runs", || world.engine.heavy_queries().0 == 1);
        let waits = scope.spawn(|| run(&second, newest));
        wait_until("the newest rows wait", || world.engine.heavy_queries().1 == 1);
        assert_eq!(world.run(few), "SELECT 2");
        first.cancel();
        assert_eq!(runs.join().unwrap(), "57014");
        assert_eq!(waits.join().unwrap(), "SELECT 2500");
    });
    let figures = world.engine.queue();
    assert_eq!((figures.running, figures.waiting, figures.queued), (0, 0, 1));
    assert!(figures.waited_us > 0);
    world.run("SET millrace.queue_timeout = '20ms'");
    std::thread::scope(|scope| {
        let _ends = EndsOnPanic(&first);
        let runs = scope.spawn(|| fails(&first, ENDLESS).code);
        wait_until("the first runs", || world.engine.heavy_queries().0 == 1);
        assert_eq!(world.fails(newest).code, "57014");
        first.cancel();
        runs.join().unwrap();
    });
    assert_eq!(world.engine.queue().timed_out, 1);
}
