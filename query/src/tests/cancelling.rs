//! Statements made to be hard to stop, each stopped in the midst of its work.
//!
//! The times that are asserted are generous: each statement would take hours. `--no-capture` shows
//! what it really took.

use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::executor::block_on;

use super::harness::*;
use crate::activity::Phase;
use crate::{Outcome, QueryError, QueryOptions, Session};

/// How long a stopped statement may take to tell so, on the slowest of machines.
const TOLD_WITHIN: Duration = Duration::from_secs(10);
/// How long the work behind it may go on.
const DONE_WITHIN: Duration = Duration::from_secs(120);

const ENDLESS: &[&str] = &[
    // Joins: with and without matches, alone and under others.
    "SELECT sum(a.v * b.v * c.v) FROM m AS a CROSS JOIN m AS b CROSS JOIN m AS c",
    "SELECT count(*) FROM m AS a, m AS b, m AS c WHERE a.v + b.v + c.v < 0",
    "SELECT count(*) FROM m AS a LEFT JOIN m AS b ON a.v + b.v < 0 LEFT JOIN m AS c ON a.v + c.v < 0
     LEFT JOIN m AS d ON a.v + d.v > 0 LEFT JOIN m AS e ON a.v + e.v > 0",
    "SELECT a.v, (SELECT count(*) FROM m AS b, m AS c, m AS d WHERE b.v + c.v + d.v > 5) FROM m AS a",
    // Aggregates: of few and of many groups, of distinct values.
    "SELECT a.v % 7, avg(b.v), stddev(c.v) FROM m AS a, m AS b, m AS c GROUP BY 1",
    "SELECT a.v * 1000003 + b.v, count(*) FROM m AS a, m AS b, m AS c GROUP BY 1 ORDER BY 2 LIMIT 1",
    "SELECT count(DISTINCT a.v % 100) FROM m AS a, m AS b, m AS c",
    "SELECT approx_percentile(a.v + b.v, 0.5) FROM m AS a, m AS b, m AS c",
    // Sorts and windows.
    "SELECT a.v FROM m AS a, m AS b, m AS c ORDER BY a.v * b.v - c.v, b.v LIMIT 5 OFFSET 20000",
    "SELECT a.v - b.v AS d FROM m AS a, m AS b, m AS c ORDER BY d, a.v, c.v",
    "SELECT max(r) FROM (SELECT row_number() OVER (PARTITION BY a.v % 3 ORDER BY b.v) AS r
     FROM m AS a, m AS b, m AS c) AS t",
    "SELECT max(s) FROM (SELECT sum(b.v) OVER (ORDER BY b.v ROWS 100 PRECEDING) AS s
     FROM m AS a, m AS b, m AS c) AS t",
    // Time: gaps, nearest rows, changes.
    "SELECT count(*) FROM (SELECT time_bucket_gapfill('1 hour', a.time, '2026-01-01', '2026-02-01')
     AS b, locf(avg(b.v)) FROM m AS a, m AS b, m AS c GROUP BY 1) AS t",
    "SELECT count(*) FROM (SELECT a.time, a.v FROM m AS a, m AS b, m AS c) AS t
     ASOF JOIN m MATCH_CONDITION (t.time >= m.time) ON t.v = m.v",
    "SELECT count(*) FROM (SELECT DISTINCT ON (a.v) a.v, b.v AS w FROM m AS a, m AS b, m AS c
     ORDER BY a.v, b.v DESC) AS t",
    // Sets, recursion, series.
    "SELECT a.v FROM m AS a, m AS b, m AS c EXCEPT SELECT v FROM m",
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
    "SELECT count(*) FROM generate_series(1, 10000000000000) AS value WHERE value % 2 = 3",
    // Expressions.
    "SELECT count(*) FROM m AS a, m AS b, m AS c WHERE (a.v::text || b.v::text) ~ '^(1|11)+2$'",
    "SELECT sum(length(repeat(a.v::text, 20))) FROM m AS a, m AS b, m AS c",
    // Others that read.
    "EXPLAIN ANALYZE SELECT sum(a.v * b.v) FROM m AS a CROSS JOIN m AS b CROSS JOIN m AS c",
    "DELETE FROM m USING m AS b, m AS c WHERE m.v + b.v + c.v < 0",
    "UPDATE m SET v = 1 FROM m AS b, m AS c WHERE m.v + b.v + c.v < 0",
    "INSERT INTO m SELECT now(), a.v FROM m AS a, m AS b, m AS c WHERE a.v + b.v + c.v < 0",
    "DELETE FROM m USING m AS b, m AS c WHERE m.v + b.v + c.v < 0 RETURNING m.v",
    "COPY (SELECT a.v FROM m AS a, m AS b, m AS c WHERE a.v + b.v + c.v < 0) TO STDOUT",
];

fn world() -> World {
    // Little memory, so that operators begin to spill while the test looks.
    let world = World::limited(QueryOptions {
        memory_bytes_max: 64 << 20,
        query_bytes_max: 64 << 20,
        ..QueryOptions::default()
    });
    world.run("CREATE TABLE m (time timestamptz PRIMARY KEY, v bigint)");
    world.run(
        "INSERT INTO m SELECT '2026-01-01'::timestamptz + value * interval '1 second', value
         FROM generate_series(1, 10000) AS value",
    );
    world
}

/// Runs a statement to its end, whatever it gives.
fn run_out(session: &Session, sql: &str) -> Result<(), QueryError> {
    let statement = session.parse(sql)?.remove(0);
    match block_on(session.execute(&statement, &[]))? {
        Outcome::Rows { mut stream, .. } | Outcome::CopyOut { mut stream, .. } => {
            while let Some(batch) = block_on(stream.next()) {
                batch?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < DONE_WITHIN, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until something runs in earnest.
fn wait_until_it_runs(world: &World) {
    let runs = || world.engine.activity().queries().iter().any(|q| q.phase() == Phase::Running);
    wait_until("nothing runs", runs);
    std::thread::sleep(Duration::from_millis(50));
}

#[test]
fn hostile_statements_are_cancelled() {
    let world = world();
    for sql in ENDLESS {
        let (error, told) = std::thread::scope(|scope| {
            let runner = scope.spawn(|| {
                let ended = run_out(&world.session, sql);
                (ended, Instant::now())
            });
            wait_until_it_runs(&world);
            let asked = Instant::now();
            world.session.cancel();
            let (ended, at) = runner.join().unwrap();
            (ended.expect_err(sql), at.duration_since(asked))
        });
        assert_eq!(error.code, "57014", "{sql}: {error:?}");
        assert!(told < TOLD_WITHIN, "{sql}: {told:?}");
        let asked = Instant::now();
        wait_until(sql, || world.engine.queries_running() == 0);
        let head: String = sql.split_whitespace().collect::<Vec<_>>().join(" ");
        eprintln!("told after {told:?}, over after {:?}: {head:.90}", asked.elapsed());
        assert!(world.engine.activity().queries().is_empty(), "{sql}");
        assert_eq!(world.engine.heavy_queries(), (0, 0), "{sql}");
    }
    world.check("SELECT count(*), sum(v) FROM m", &["10000 | 50005000"]);
    let used = world.engine.pools().usage(&world.engine.db().stats());
    let queries = used.iter().find(|pool| pool.name == "queries").unwrap();
    assert_eq!(queries.used, 0, "memory came back");
}

#[test]
fn hostile_statements_run_into_their_time() {
    let world = world();
    world.run("SET statement_timeout = '100ms'");
    for sql in ENDLESS {
        let started = Instant::now();
        let error = run_out(&world.session, sql).expect_err(sql);
        assert_eq!(error.code, "57014", "{sql}: {error:?}");
        assert!(error.message.contains("statement timeout"), "{error:?}");
        assert!(started.elapsed() < TOLD_WITHIN, "{sql}");
    }
    wait_until("work goes on", || world.engine.queries_running() == 0);
}

#[test]
fn a_fetch_is_cancelled_and_its_cursor_ends_with_the_block() {
    let world = world();
    world.run("BEGIN");
    world.run(
        "DECLARE c CURSOR FOR SELECT a.v FROM m AS a, m AS b, m AS c WHERE a.v + b.v + c.v < 0",
    );
    std::thread::scope(|scope| {
        let runner = scope.spawn(|| run_out(&world.session, "FETCH 5 FROM c"));
        while !runner.is_finished() {
            world.session.cancel();
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(runner.join().unwrap().unwrap_err().code, "57014");
    });
    world.run("ROLLBACK");
    wait_until("the cursor's query goes on", || world.engine.queries_running() == 0);
}

#[test]
fn rows_that_are_there_already_stop_too() {
    let world = world();
    // A native answer is made before its first row is asked for.
    let sql = "SELECT time_bucket('1 second', time), count(*) FROM m GROUP BY 1";
    let statement = world.session.parse(sql).unwrap().remove(0);
    let Outcome::Rows { mut stream, .. } =
        block_on(world.session.execute(&statement, &[])).unwrap()
    else {
        panic!("no rows");
    };
    block_on(stream.next()).unwrap().unwrap();
    world.session.cancel();
    let error = QueryError::from(block_on(stream.next()).unwrap().unwrap_err());
    assert_eq!(error.code, "57014");
    assert!(block_on(stream.next()).is_none());
    world.run("SELECT 1");
}

#[test]
fn copy_in_is_cancelled() {
    let world = world();
    let statement = world.session.parse("COPY m FROM STDIN").unwrap().remove(0);
    let outcome = block_on(world.session.execute(&statement, &[])).unwrap();
    assert!(matches!(outcome, Outcome::CopyIn { .. }));
    block_on(world.session.copy_data(b"2026-02-01 00:00:00Z\t1\n")).unwrap();
    assert_eq!(world.engine.activity().queries().len(), 1);
    world.session.cancel();
    let error = block_on(world.session.copy_data(b"2026-02-01 00:00:01Z\t1\n")).unwrap_err();
    assert_eq!(error.code, "57014");
    assert!(world.engine.activity().queries().is_empty());
    world.check("SELECT count(*) FROM m", &["10000"]);
}
