//! Queries over a table that are answered out of its continuous aggregates, and those that are not.

use super::super::harness::*;
use super::world;

const HOURLY: &str = "CREATE MATERIALIZED VIEW hourly
    WITH (continuous, refresh_every = 'none') AS
    SELECT time_bucket('1 hour', time) AS hour, device AS d, count(*) AS n, sum(i) AS total,
    min(v) AS low, max(i) AS top, avg(v) AS mean, max(note) AS word, bool_or(b) AS any_b,
    max(time) AS newest
    FROM t GROUP BY 1, 2";

/// Three days of rows of three devices, stored up to the last hours.
fn filled() -> World {
    let (_, world) = world();
    let rows: Vec<String> = (0..3 * 24 * 6)
        .map(|n| {
            let (day, hour, minute) = (1 + n / 144, n / 6 % 24, n % 6 * 10);
            let device = ["a", "b", "c"][n % 3];
            format!(
                "('{device}', '2026-01-0{day} {hour:02}:{minute:02}:00+00', {n}, {n}.5, {}, 'n{n}')",
                n % 7 == 0
            )
        })
        .collect();
    world.run(&format!("INSERT INTO t (device, time, i, v, b, note) VALUES {}", rows.join(", ")));
    world.run(HOURLY);
    world.run("REFRESH MATERIALIZED VIEW hourly");
    world.run("INSERT INTO t (device, time, i) VALUES ('a', '2026-01-04 00:10:00+00', 1)");
    world.run("INSERT INTO t (device, time, i) VALUES ('b', '2026-01-02 05:10:30+00', 1)");
    world.run("SET millrace.aggregate_rows_min = 0");
    world
}

/// The line of EXPLAIN that tells of the aggregate; the answers are the same either way.
fn answered(world: &World, sql: &str) -> Option<String> {
    let sorted = || {
        let mut found = rows(&world.session, sql, &[]);
        found.sort();
        found
    };
    let with = sorted();
    let types = world.types(sql, &[]);
    let plan = rows(&world.session, &format!("EXPLAIN {sql}"), &[]);
    world.run("SET millrace.use_aggregates = off");
    assert_eq!(with, sorted(), "{sql}\n{}", plan.join("\n"));
    assert_eq!(types, world.types(sql, &[]), "{sql}");
    world.run("RESET millrace.use_aggregates");
    plan.into_iter().find(|line| line.starts_with("Continuous Aggregate: "))
}

#[test]
fn answers_out_of_what_is_stored() {
    let world = filled();
    let all = "Continuous Aggregate: hourly, time=2026-01-01 00:00:00Z to 2026-01-04 00:00:00Z";
    for sql in [
        // Groups that are stored.
        "SELECT time_bucket('1 hour', time), device, avg(v), max(note) FROM t GROUP BY 1, 2",
        "SELECT device, date_trunc('hour', time) h, count(*) FROM t GROUP BY 1, 2 ORDER BY 2, 1",
        "SELECT time_bucket('1 hour', time) h, device, max(time) FROM t WHERE device <> 'b'
         GROUP BY 1, 2",
        // Rolled up.
        "SELECT time_bucket('1 day', time) d, count(*), sum(i), min(v), max(i) FROM t GROUP BY 1",
        "SELECT time_bucket('6 hours', time) d, device, bool_or(b) FROM t GROUP BY 1, 2",
        "SELECT time_bucket('1 hour', time), sum(i) FROM t WHERE 1 = 1 AND device = 'a' GROUP BY 1",
        "SELECT date_trunc('day', time) d, max(note), max(time) FROM t GROUP BY d HAVING count(*) > 3",
        "SELECT max(n) FROM (SELECT time_bucket('1 day', time) d, count(*) n FROM t GROUP BY 1) x",
        "WITH x AS (SELECT time_bucket('1 day', time) d, device, count(*) n FROM t GROUP BY 1, 2)
         SELECT x.d, y.n FROM x JOIN x y ON x.d = y.d AND x.device = y.device",
        "SELECT time_bucket('1 day', time, 'Asia/Kolkata', INTERVAL '5 hours 30 min') d, count(*)
         FROM t GROUP BY 1",
    ] {
        let found = answered(&world, sql);
        let told = found.as_deref().is_some_and(|line| line.starts_with(all));
        let zoned = sql.contains("Kolkata") && found.is_some();
        assert!(told || zoned, "{sql}: {found:?}");
    }
    // Ends within buckets, and days that have changed, come out of the table.
    let sql = "SELECT time_bucket('1 day', time) d, device, count(*), sum(i) FROM t
               WHERE time >= '2026-01-01 10:30:00+00' AND time < '2026-01-03 23:00:00+00'
               GROUP BY 1, 2";
    // The second day has changed, the first and the third are not whole.
    assert_eq!(answered(&world, sql), None);
    let sql = sql.replace("1 day", "1 hour");
    let found = answered(&world, &sql).unwrap();
    assert!(found.ends_with("time=2026-01-01 11:00:00Z to 2026-01-03 23:00:00Z"), "{found}");
    world.run("REFRESH MATERIALIZED VIEW hourly");
    let sql = sql.replace("1 hour", "12 hours");
    let found = answered(&world, &sql).unwrap();
    assert!(found.ends_with("time=2026-01-01 12:00:00Z to 2026-01-03 12:00:00Z"), "{found}");
    // Clocks of the session: days of another zone are no days of UTC.
    world.run("SET TimeZone = 'Asia/Kolkata'");
    let sql = "SELECT time_bucket('1 day', time), count(*), max(time) FROM t GROUP BY 1";
    assert!(answered(&world, sql).is_some());
    assert_eq!(answered(&world, &sql.replace("time_bucket('1 day'", "date_trunc('day'")), None);
}

#[test]
fn what_would_not_be_the_same_is_left_to_the_table() {
    let world = filled();
    for sql in [
        // Floats do not add up in another order, means do not roll up.
        "SELECT time_bucket('1 day', time), avg(v) FROM t GROUP BY 1",
        "SELECT time_bucket('1 hour', time), avg(v) FROM t GROUP BY 1",
        // What is not stored.
        "SELECT time_bucket('1 hour', time), device, sum(v) FROM t GROUP BY 1, 2",
        "SELECT time_bucket('1 hour', time), device, count(i) FROM t GROUP BY 1, 2",
        "SELECT time_bucket('1 hour', time), count(DISTINCT i) FROM t GROUP BY 1",
        "SELECT time_bucket('1 hour', time), count(*) FILTER (WHERE i > 3) FROM t GROUP BY 1",
        // Finer, shifted, and without buckets.
        "SELECT time_bucket('30 min', time), count(*) FROM t GROUP BY 1",
        "SELECT time_bucket('90 min', time), count(*) FROM t GROUP BY 1",
        "SELECT time_bucket('1 hour', time, INTERVAL '10 min'), count(*) FROM t GROUP BY 1",
        "SELECT device, count(*) FROM t GROUP BY 1",
        // Other keys, other rows.
        "SELECT time_bucket('1 hour', time), site, count(*) FROM t GROUP BY 1, 2",
        "SELECT time_bucket('1 hour', time), count(*) FROM t WHERE i > 3 GROUP BY 1",
        "SELECT time_bucket('1 hour', time), count(*) FROM t WHERE site IS NULL GROUP BY 1",
        "SELECT time_bucket('1 hour', time), count(*) FROM t WHERE time > '2026-01-04' GROUP BY 1",
    ] {
        assert_eq!(answered(&world, sql), None, "{sql}");
    }
    let sql = "SELECT time_bucket('1 hour', time), count(*) FROM t GROUP BY 1";
    assert!(answered(&world, sql).is_some());
    // Where little is spared.
    world.run("RESET millrace.aggregate_rows_min");
    assert_eq!(answered(&world, sql), None);
    world.run("SET millrace.aggregate_rows_min = 0");
    for setting in ["use_materialized = off", "skip_quarantined = on"] {
        world.run(&format!("SET millrace.{setting}"));
        assert_eq!(answered(&world, sql), None, "{setting}");
        world.run("RESET ALL; SET millrace.aggregate_rows_min = 0");
    }
    // Retention here or there.
    world.run("ALTER MATERIALIZED VIEW hourly SET (retention = '1 day')");
    answered(&world, sql);
    world.run("DROP MATERIALIZED VIEW hourly");
    assert_eq!(answered(&world, sql), None);
}

/// The aggregate's own conditions must be asked for; HAVING leaves groups out that are asked for.
#[test]
fn conditions_of_the_aggregate_are_those_of_the_query() {
    let (_, world) = world();
    world.run(
        "INSERT INTO t (device, time, i) SELECT 'd' || n % 3, '2026-01-01 00:00:00+00'::timestamptz
         + n * INTERVAL '10 min', n FROM generate_series(0, 200) AS x(n)",
    );
    world.run(
        "CREATE MATERIALIZED VIEW some WITH (continuous, refresh_every = 'none') AS
         SELECT time_bucket('1 hour', time) AS hour, device, count(*) AS n FROM t
         WHERE i > 3 AND device <> 'd2' GROUP BY 1, 2",
    );
    world.run("REFRESH MATERIALIZED VIEW some; SET millrace.aggregate_rows_min = 0");
    let sql = |filter: &str| {
        format!("SELECT time_bucket('2 hours', time), count(*) FROM t WHERE {filter} GROUP BY 1")
    };
    for (filter, wanted) in [
        ("device <> 'd2' AND i > 3", true),
        ("i > 3 AND device <> 'd2' AND device = 'd0'", true),
        ("i > 3", false),
        ("i > 4 AND device <> 'd2'", false),
        ("i > 3 AND device <> 'd2' AND v IS NULL", false),
        ("i > 3 OR device <> 'd2'", false),
    ] {
        assert_eq!(answered(&world, &sql(filter)).is_some(), wanted, "{filter}");
    }
    world.run("DROP MATERIALIZED VIEW some");
    world.run(
        "CREATE MATERIALIZED VIEW some WITH (continuous, refresh_every = 'none') AS
         SELECT time_bucket('1 hour', time) AS hour, device, count(*) AS n FROM t
         GROUP BY 1, 2 HAVING count(*) > 2",
    );
    world.run("REFRESH MATERIALIZED VIEW some");
    assert_eq!(answered(&world, &sql("true")), None);
}

#[test]
fn blocks_and_prepared_statements_are_answered_in_their_snapshot() {
    let world = filled();
    let sql = "SELECT time_bucket('1 day', time), count(*) FROM t GROUP BY 1 ORDER BY 1";
    let prepared = world.session.parse(sql).unwrap();
    let count = || {
        let outcome = futures::executor::block_on(world.session.execute(&prepared[0], &[]));
        text_of(outcome.unwrap()).join(" ")
    };
    let first = count();
    let other = world.engine.session(identity("admin", true), &[]);
    run(&other, "SET millrace.aggregate_rows_min = 0; BEGIN");
    assert_eq!(rows(&other, sql, &[]).join(" "), first);
    world.run("INSERT INTO t (device, time) VALUES ('a', '2026-01-01 00:00:01+00')");
    assert_ne!(count(), first);
    world.run("REFRESH MATERIALIZED VIEW hourly");
    assert_ne!(count(), first);
    assert_eq!(rows(&other, sql, &[]).join(" "), first);
    run(&other, "INSERT INTO t (device, time) VALUES ('a', '2026-01-01 00:00:02+00')");
    assert_eq!(fails(&other, sql).code, "0A000");
    run(&other, "ROLLBACK");
    assert_eq!(rows(&other, sql, &[]).join(" "), count());
}

/// What answering out of an aggregate saves:
/// `cargo test --release -p query aggregates_speed -- --ignored --nocapture`.
#[test]
#[ignore = "prints how long things take"]
fn aggregates_speed() {
    let (_, world) = world();
    for day in 1..=4 {
        world.run(&format!(
            "INSERT INTO t (device, time, i, v)
             SELECT 'd' || d, '2026-01-0{day} 00:00:00+00'::timestamptz + n * INTERVAL '10 s', n, n
             FROM generate_series(1, 100) AS x(d), generate_series(0, 8639) AS y(n)"
        ));
    }
    world.run("CHECKPOINT; VACUUM FULL t");
    world.run(HOURLY);
    world.run("REFRESH MATERIALIZED VIEW hourly");
    for sql in [
        "SELECT time_bucket('1 hour', time), device, avg(v), max(i) FROM t GROUP BY 1, 2",
        "SELECT time_bucket('1 day', time), device, count(*), max(i) FROM t GROUP BY 1, 2",
        "SELECT time_bucket('1 hour', time), sum(i), min(v) FROM t GROUP BY 1",
        "SELECT time_bucket('1 day', time), sum(i) FROM t WHERE device = 'd7' GROUP BY 1",
    ] {
        let took = |uses: &str| {
            world.run(&format!("SET millrace.use_aggregates = {uses}"));
            let once = |_| {
                let started = std::time::Instant::now();
                world.run(sql);
                started.elapsed().as_secs_f64() * 1e3
            };
            (0..7).map(once).fold(f64::INFINITY, f64::min)
        };
        let (off, on) = (took("off"), took("on"));
        let plan = rows(&world.session, &format!("EXPLAIN {sql}"), &[]).join("\n");
        let by = if plan.contains("Continuous Aggregate: ") { "aggregate" } else { "table" };
        println!("{:.1} times: {off:.2} ms, {on:.2} ms by the {by}: {sql}", off / on);
    }
}
