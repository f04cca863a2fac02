//! Statements that are cancelled, timed out or left end, and so does the work behind them.

use std::time::{Duration, Instant};

use futures::executor::block_on;

use super::harness::*;
use crate::Outcome;

const CROSS: &str = "SELECT sum(a.v * b.v * c.v) FROM m AS a CROSS JOIN m AS b CROSS JOIN m AS c";
const NEVER: &str = "SELECT count(*) FROM m AS a, m AS b, m AS c WHERE a.v + b.v + c.v < 0";
const SKEWED: &str = "SELECT count(*) FROM m AS a JOIN m AS b ON a.v % 1 = b.v % 1
    JOIN m AS c ON c.v % 1 = b.v % 1 AND a.v + b.v + c.v < 0";

fn world() -> World {
    let world = World::new();
    world.run("CREATE TABLE m (time timestamptz PRIMARY KEY, v bigint)");
    world.run(
        "INSERT INTO m SELECT '2026-01-01'::timestamptz + value * interval '1 second', value
         FROM generate_series(1, 10000) AS value",
    );
    world
}

/// Waits until nothing runs. The statements here would take hours.
fn wait_until_idle(world: &World) {
    let started = Instant::now();
    while world.engine.queries_running() > 0 {
        assert!(started.elapsed() < Duration::from_secs(120), "statements still run");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_time_out_ends_every_operator() {
    let world = world();
    world.run("SET statement_timeout = '100ms'");
    for sql in [CROSS, NEVER, SKEWED] {
        assert_eq!(world.fails(sql).code, "57014", "{sql}");
        assert_eq!(world.fails(&format!("EXPLAIN ANALYZE {sql}")).code, "57014", "{sql}");
        wait_until_idle(&world);
    }
    world.run("SET statement_timeout = 0");
    world.check("SELECT count(*) FROM m", &["10000"]);
}

#[test]
fn a_cancel_ends_every_operator() {
    let world = world();
    for sql in [CROSS, NEVER, SKEWED] {
        std::thread::scope(|scope| {
            let runner = scope.spawn(|| world.fails(sql).code);
            while !runner.is_finished() {
                world.session.cancel();
                std::thread::sleep(Duration::from_millis(20));
            }
            assert_eq!(runner.join().unwrap(), "57014", "{sql}");
        });
        wait_until_idle(&world);
    }
}

#[test]
fn a_reader_that_leaves_ends_every_operator() {
    let world = world();
    for sql in [CROSS, NEVER, SKEWED] {
        let statements = world.session.parse(sql).unwrap();
        let outcome = block_on(world.session.execute(&statements[0], &[])).unwrap();
        assert!(matches!(outcome, Outcome::Rows { .. }));
        assert_eq!(world.engine.queries_running(), 1);
        drop(outcome);
        wait_until_idle(&world);
    }
}

#[test]
fn a_stopped_statement_fails_its_block() {
    let world = world();
    world.run("BEGIN; SET LOCAL statement_timeout = '100ms'");
    assert_eq!(world.fails(CROSS).code, "57014");
    assert_eq!(world.fails("SELECT 1").code, "25P02");
    world.run("ROLLBACK");
    wait_until_idle(&world);
}

#[test]
fn guards_change_no_answer() {
    let world = World::with_presses();
    for (sql, expect) in [
        ("SELECT count(*) FROM press AS a CROSS JOIN press AS b CROSS JOIN press AS c", "216"),
        ("SELECT count(*) FROM press AS a, press AS b WHERE a.strokes < b.strokes", "15"),
        (
            "SELECT count(*) FROM press AS a LEFT JOIN press AS b
             ON a.device = b.device AND a.strokes < b.strokes",
            "7",
        ),
        (
            "SELECT max(r) FROM (SELECT row_number() OVER (PARTITION BY a.device ORDER BY b.time)
             AS r FROM press AS a CROSS JOIN press AS b) AS t",
            "18",
        ),
        (
            "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT t.n + 1 FROM t CROSS JOIN
             (SELECT 1 AS one) AS o WHERE t.n < 9) SELECT sum(n) FROM t",
            "45",
        ),
    ] {
        world.check(sql, &[expect]);
    }
}
