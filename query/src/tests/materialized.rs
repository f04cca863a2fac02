//! Continuous aggregates: made, read, refreshed, refused, dropped; that they answer as the plain
//! query does is for `histories` to try hard.

mod answers;
mod groups;
mod histories;

use std::sync::Arc;

use futures::executor::block_on;
use tsdb::io::MemoryStorage;
use tsdb::{Db, Options};

use super::harness::*;

const HOURLY: &str = "CREATE MATERIALIZED VIEW hourly WITH (continuous, refresh_every = 'none') AS
    SELECT device, time_bucket('1 hour', time) AS hour, count(*) AS n, sum(i) AS total,
    max(v) AS top FROM t GROUP BY 1, 2";

fn options() -> Options {
    Options { background: false, shards: 2, ..Options::default() }
}

fn world() -> (MemoryStorage, World) {
    let storage = MemoryStorage::new();
    let world = World::over(Db::open(Arc::new(storage.clone()), options()).unwrap());
    world.run(
        "CREATE TABLE t (time timestamptz, device text, site text, v float8, i bigint, b boolean,
         note text, PRIMARY KEY (device, site, time)) WITH (partition_by = '1 day')",
    );
    (storage, world)
}

fn insert(world: &World, rows: &[(&str, &str, i64)]) {
    let values: Vec<String> = rows
        .iter()
        .map(|(device, time, i)| format!("('{device}', '2026-01-01 {time}:00+00', {i}, {i})"))
        .collect();
    world.run(&format!("INSERT INTO t (device, time, i, v) VALUES {}", values.join(", ")));
}

const ALL: &str = "SELECT device, hour, n, total, top FROM hourly ORDER BY hour, device";

/// How many stored ranges have changed, and until when rows are stored.
fn standing(world: &World, name: &str) -> String {
    let sql = format!(
        "SELECT stored_until, changed_ranges FROM sys.continuous_aggregates WHERE name = '{name}'"
    );
    rows(&world.session, &sql, &[]).join("; ")
}

#[test]
fn answers_are_those_of_the_query_at_any_time() {
    let (_, world) = world();
    insert(&world, &[("a", "00:10", 1), ("b", "00:20", 2), ("a", "03:10", 3)]);
    assert_eq!(world.run(HOURLY), "CREATE MATERIALIZED VIEW");
    let first = [
        "a | 2026-01-01T00:00:00Z | 1 | 1 | 1.0",
        "b | 2026-01-01T00:00:00Z | 1 | 2 | 2.0",
        "a | 2026-01-01T03:00:00Z | 1 | 3 | 3.0",
    ];
    world.check(ALL, &first);
    assert_eq!(standing(&world, "hourly"), "∅ | 0");
    assert_eq!(world.run("REFRESH MATERIALIZED VIEW hourly"), "REFRESH MATERIALIZED VIEW");
    world.check(ALL, &first);
    assert_eq!(standing(&world, "hourly"), "2026-01-01T04:00:00Z | 0");
    world.check("SELECT count(*) FROM _materialized_0", &["3"]);
    // Late, corrected, deleted, and new.
    insert(&world, &[("c", "01:00", 7), ("b", "00:20", 5), ("a", "09:00", 9)]);
    world.run(
        "DELETE FROM t WHERE time > '2026-01-01 03:00:00+00' AND time < '2026-01-01 04:00:00+00'",
    );
    let second = [
        "a | 2026-01-01T00:00:00Z | 1 | 1 | 1.0",
        "b | 2026-01-01T00:00:00Z | 1 | 5 | 5.0",
        "c | 2026-01-01T01:00:00Z | 1 | 7 | 7.0",
        "a | 2026-01-01T09:00:00Z | 1 | 9 | 9.0",
    ];
    world.check(ALL, &second);
    assert_eq!(standing(&world, "hourly"), "2026-01-01T04:00:00Z | 2");
    world.check("SELECT count(*) FROM _materialized_0", &["3"]);
    world.run("REFRESH MATERIALIZED VIEW hourly");
    world.check(ALL, &second);
    assert_eq!(standing(&world, "hourly"), "2026-01-01T10:00:00Z | 0");
    world.check("SELECT count(*) FROM _materialized_0", &["4"]);
    // Whole groups and whole tables go.
    world.run("UPDATE t SET i = 6 WHERE device = 'c'");
    world.run("DELETE FROM t WHERE device = 'b'");
    world.check("SELECT device, total FROM hourly WHERE device IN ('b', 'c')", &["c | 6"]);
    world.run("REFRESH MATERIALIZED VIEW hourly");
    world.check("SELECT count(*), sum(total) FROM hourly", &["3 | 16"]);
    world.run("TRUNCATE t");
    world.check(ALL, &[]);
    world.run("REFRESH MATERIALIZED VIEW hourly");
    world.check(ALL, &[]);
    world.check("SELECT count(*) FROM _materialized_0", &["0"]);
}

#[test]
fn stored_rows_are_what_is_read() {
    let (_, world) = world();
    insert(&world, &[("a", "00:10", 1), ("a", "01:10", 2), ("a", "02:10", 3)]);
    world.run(HOURLY);
    world.run("REFRESH MATERIALIZED VIEW hourly");
    let plan = rows(&world.session, "EXPLAIN SELECT * FROM hourly", &[]).join("\n");
    assert!(plan.contains("_materialized_0"), "{plan}");
    world.run("SET millrace.use_materialized = off");
    let plan = rows(&world.session, "EXPLAIN SELECT * FROM hourly", &[]).join("\n");
    assert!(!plan.contains("_materialized_0"), "{plan}");
    world.run("RESET millrace.use_materialized");
    // Zones, joins, aggregates over them, prepared statements that run again.
    world.run("SET TimeZone = 'Asia/Kolkata'");
    world.check(
        "SELECT hour, h.n, t.i FROM hourly h JOIN t ON t.time = h.hour + interval '10 minutes'
         WHERE hour >= '2026-01-01 01:00:00+00' ORDER BY 1",
        &["2026-01-01T06:30:00+05:30 | 1 | 2", "2026-01-01T07:30:00+05:30 | 1 | 3"],
    );
    world.run("RESET TimeZone");
    let again = world.session.parse("SELECT sum(total) FROM hourly").unwrap();
    let sum = || text_of(block_on(world.session.execute(&again[0], &[])).unwrap());
    assert_eq!(sum(), ["6"]);
    insert(&world, &[("z", "00:30", 10)]);
    assert_eq!(sum(), ["16"]);
    world.run("REFRESH MATERIALIZED VIEW hourly");
    assert_eq!(sum(), ["16"]);
    // A block sees its snapshot, whatever is refreshed meanwhile.
    let other = world.engine.session(identity("admin", true), &[]);
    run(&other, "BEGIN");
    assert_eq!(rows(&other, "SELECT sum(total) FROM hourly", &[]), ["16"]);
    insert(&world, &[("z", "00:40", 100)]);
    world.run("REFRESH MATERIALIZED VIEW hourly");
    assert_eq!(rows(&other, "SELECT sum(total) FROM hourly", &[]), ["16"]);
    run(&other, "INSERT INTO t (device, time, i) VALUES ('q', '2026-01-01 00:00:00+00', 1)");
    assert_eq!(fails(&other, "SELECT * FROM hourly").code, "0A000");
    run(&other, "ROLLBACK");
    assert_eq!(rows(&other, "SELECT sum(total) FROM hourly", &[]), ["116"]);
}

#[test]
fn one_over_another() {
    let (_, world) = world();
    insert(&world, &[("a", "00:10", 1), ("a", "01:10", 2), ("b", "13:10", 3)]);
    world.run(HOURLY);
    world.run(
        "CREATE MATERIALIZED VIEW IF NOT EXISTS daily WITH (continuous = true) AS
         SELECT time_bucket('1 day', hour) AS day, device, sum(total) AS total, sum(n) AS n
         FROM hourly GROUP BY day, device WITH NO DATA",
    );
    let daily = "SELECT day, device, total, n FROM daily ORDER BY 1, 2";
    let first = ["2026-01-01T00:00:00Z | a | 3 | 2", "2026-01-01T00:00:00Z | b | 3 | 1"];
    world.check(daily, &first);
    for (view, until) in [("daily", "2026-01-02T00:00:00Z"), ("hourly", "2026-01-01T14:00:00Z")] {
        world.run(&format!("REFRESH MATERIALIZED VIEW {view}"));
        world.check(daily, &first);
        assert_eq!(standing(&world, view), format!("{until} | 0"));
    }
    insert(&world, &[("b", "02:00", 4)]);
    let second = ["2026-01-01T00:00:00Z | a | 3 | 2", "2026-01-01T00:00:00Z | b | 7 | 2"];
    world.check(daily, &second);
    assert_eq!(standing(&world, "daily"), "2026-01-02T00:00:00Z | 1");
    for view in ["hourly", "daily"] {
        world.run(&format!("REFRESH MATERIALIZED VIEW {view}"));
        world.check(daily, &second);
    }
    // Neither goes without the other.
    let error = world.fails("DROP MATERIALIZED VIEW hourly");
    assert_eq!(
        (error.code, error.detail.as_deref()),
        ("2BP01", Some("materialized view daily depends on it"))
    );
    assert_eq!(world.fails("DROP TABLE t").code, "2BP01");
    assert_eq!(world.fails("ALTER TABLE t DROP COLUMN i").code, "2BP01");
    assert_eq!(world.fails("ALTER TABLE t RENAME TO u").code, "0A000");
    assert_eq!(world.run("DROP TABLE t CASCADE"), "DROP TABLE");
    world.check("SELECT count(*) FROM sys.tables", &["0"]);
    world.check("SELECT count(*) FROM sys.jobs WHERE name = 'refresh'", &["0"]);
    assert_eq!(world.fails("SELECT * FROM daily").code, "42P01");
}

#[test]
fn retention_of_the_table_keeps_what_is_stored() {
    let (storage, mut world) = world();
    world.run(
        "INSERT INTO t (device, time, i, v) VALUES ('a', now() - interval '100 days', 1, 1),
         ('a', now() - interval '5 days', 2, 2), ('a', now() - interval '4 hours', 4, 4)",
    );
    world.run(HOURLY);
    world.run("REFRESH MATERIALIZED VIEW hourly");
    world.run("ALTER TABLE t SET (retention = '30 days')");
    world.check("SELECT sum(i) FROM t", &["6"]);
    world.check("SELECT sum(total) FROM hourly", &["7"]);
    world.run("DELETE FROM t");
    world.check("SELECT sum(total) FROM hourly", &["1"]);
    for _ in 0..2 {
        world.run("REFRESH MATERIALIZED VIEW hourly");
        world.check("SELECT sum(total) FROM hourly", &["1"]);
        world.check("SELECT changed_ranges FROM sys.continuous_aggregates", &["0"]);
        world.engine.db().close().unwrap();
        world = World::over(Db::open(Arc::new(storage.clone()), options()).unwrap());
    }
    // Its own retention takes both what is stored and what is not.
    world.run("INSERT INTO t (device, time, i) VALUES ('a', now() - interval '20 days', 8)");
    world.check("SELECT sum(total) FROM hourly", &["9"]);
    let alter =
        "ALTER MATERIALIZED VIEW hourly SET (retention = '10 days', partition_by = '1 day')";
    assert_eq!(world.run(alter), "ALTER MATERIALIZED VIEW");
    world.check("SELECT sum(total) FROM hourly", &["∅"]);
    world.run("REFRESH MATERIALIZED VIEW hourly");
    world.check("SELECT sum(total) FROM hourly", &["∅"]);
    world.run("ALTER MATERIALIZED VIEW IF EXISTS nowhere RESET (retention)");
}

#[test]
fn what_cannot_be_kept_up_is_refused() {
    let (_, world) = world();
    world.run("CREATE VIEW plain AS SELECT * FROM t");
    world.run(HOURLY);
    let of =
        |select: &str| format!("CREATE MATERIALIZED VIEW x WITH (continuous) AS SELECT {select}");
    let bucket = "time_bucket('1 hour', time) AS h";
    for (select, code) in [
        (format!("{bucket}, avg(v) FROM t GROUP BY h ORDER BY h"), "0A000"),
        (format!("{bucket}, avg(v) FROM t GROUP BY h LIMIT 3"), "0A000"),
        (format!("DISTINCT {bucket}, avg(v) FROM t GROUP BY h"), "0A000"),
        (format!("{bucket}, avg(v) FROM (SELECT * FROM t) t GROUP BY h"), "0A000"),
        (format!("{bucket}, avg(v) FROM t, t AS u GROUP BY h"), "0A000"),
        (format!("{bucket}, avg(v) FROM plain GROUP BY h"), "0A000"),
        (format!("{bucket}, avg(v) FROM nowhere GROUP BY h"), "42P01"),
        (format!("{bucket}, avg(v) FROM t WHERE time > now() GROUP BY h"), "0A000"),
        (format!("{bucket}, max(current_user) FROM t GROUP BY h"), "0A000"),
        (format!("{bucket}, avg(random()) FROM t GROUP BY h"), "0A000"),
        (format!("{bucket}, avg(v), device FROM t GROUP BY h"), "42803"),
        (format!("{bucket}, avg(v), b AS c FROM t GROUP BY 1, b"), "0A000"),
        (format!("{bucket}, avg(v), sum(count(*)) OVER () FROM t GROUP BY 1"), "0A000"),
        (format!("{bucket} FROM t WHERE i IN (SELECT 1) GROUP BY 1"), "0A000"),
        ("avg(v) FROM t GROUP BY time_bucket('1 hour', time)".into(), "0A000"),
        ("device, avg(v) FROM t GROUP BY 1".into(), "0A000"),
        ("date_trunc('hour', time) AS h, avg(v) FROM t GROUP BY 1".into(), "0A000"),
        ("time_bucket('1 hour', time + interval '1 min') AS h FROM t GROUP BY 1".into(), "0A000"),
        ("time_bucket('1 hour', time) AS h, array_agg(i) AS x FROM t GROUP BY 1".into(), "0A000"),
        ("time_bucket('0 hours', time) AS h, sum(i) FROM t GROUP BY 1".into(), "22023"),
        ("count(*) FROM t".into(), "0A000"),
    ] {
        let error = world.fails(&of(&select));
        assert_eq!(error.code, code, "{select}: {error:?}");
    }
    let good = format!("{bucket}, count(*) FROM t GROUP BY 1");
    for (sql, code) in [
        (
            format!(
                "CREATE MATERIALIZED VIEW x WITH (continuous, merge = 'append') AS SELECT {good}"
            ),
            "22023",
        ),
        (
            format!(
                "CREATE MATERIALIZED VIEW x WITH (continuous, refresh_lag = 'soon') AS SELECT {good}"
            ),
            "22007",
        ),
        (format!("CREATE MATERIALIZED VIEW hourly WITH (continuous) AS SELECT {good}"), "42P07"),
        (format!("CREATE MATERIALIZED VIEW t WITH (continuous) AS SELECT {good}"), "42P07"),
        (
            format!("CREATE MATERIALIZED VIEW _materialized_9 WITH (continuous) AS SELECT {good}"),
            "42939",
        ),
        ("CREATE OR REPLACE VIEW hourly AS SELECT 1 AS a".into(), "42809"),
        (
            "CREATE TABLE _materialized_3 (time timestamptz, d text, PRIMARY KEY (d, time))".into(),
            "42939",
        ),
        ("INSERT INTO hourly (device, hour) VALUES ('a', now())".into(), "42809"),
        ("DELETE FROM hourly".into(), "42809"),
        ("INSERT INTO _materialized_1 (device, hour) VALUES ('a', now())".into(), "42939"),
        ("DELETE FROM _materialized_1".into(), "42939"),
        ("DROP TABLE _materialized_1".into(), "42939"),
        ("COPY _materialized_1 FROM STDIN".into(), "42939"),
        ("DROP VIEW hourly".into(), "42809"),
        ("DROP MATERIALIZED VIEW plain".into(), "42809"),
        ("DROP MATERIALIZED VIEW t".into(), "42809"),
        ("DROP MATERIALIZED VIEW nowhere".into(), "42P01"),
        ("REFRESH MATERIALIZED VIEW plain".into(), "42809"),
        ("REFRESH MATERIALIZED VIEW nowhere".into(), "42P01"),
        ("REFRESH hourly".into(), "42601"),
        ("ALTER MATERIALIZED VIEW hourly SET (x = 'y')".into(), "22023"),
        ("ALTER MATERIALIZED VIEW plain SET (retention = '1 day')".into(), "42809"),
        ("ALTER MATERIALIZED VIEW nowhere RESET (retention)".into(), "42P01"),
        ("ALTER MATERIALIZED VIEW hourly ADD COLUMN x int".into(), "42601"),
    ] {
        let error = world.fails(&sql);
        assert_eq!(error.code, code, "{sql}: {error:?}");
    }
    world.run("BEGIN");
    assert_eq!(world.fails("REFRESH MATERIALIZED VIEW hourly").code, "25001");
    world.run("ROLLBACK");
    let reader = world.engine.session(identity("reader", false), &[]);
    for sql in [HOURLY, "REFRESH MATERIALIZED VIEW hourly", "DROP MATERIALIZED VIEW hourly"] {
        assert_eq!(fails(&reader, sql).code, "42501", "{sql}");
    }
    // Nothing of it was made.
    world.check("SELECT count(*) FROM sys.tables", &["2"]);
    world.check("SELECT name FROM sys.continuous_aggregates", &["hourly"]);
}

/// Line protocol widens columns without asking.
#[test]
fn another_type_of_a_column_is_told() {
    let (_, world) = world();
    insert(&world, &[("a", "00:10", 1)]);
    world.run(HOURLY);
    world.run("REFRESH MATERIALIZED VIEW hourly");
    let table = world.engine.db().snapshot().table("t").unwrap().schema().clone();
    let (column, kind) = (table.column("i").unwrap().id, tsdb::types::ColumnType::Float64);
    let widen = tsdb::Command::WidenColumn { table: table.id, column, kind };
    world.engine.db().execute(widen).unwrap();
    for sql in [ALL, "REFRESH MATERIALIZED VIEW hourly"] {
        insert(&world, &[("a", "00:20", 1)]);
        let error = world.fails(sql);
        assert_eq!(error.code, "42P16", "{sql}: {error:?}");
        assert!(error.message.contains("total"), "{error:?}");
    }
    world.run("DROP MATERIALIZED VIEW hourly");
    world.run(HOURLY);
    world.check("SELECT total FROM hourly", &["2.0"]);
}

#[test]
fn the_catalogue_shows_them() {
    let (_, world) = world();
    world.run(HOURLY);
    world.run("COMMENT ON MATERIALIZED VIEW hourly IS 'by the hour'");
    world.check(
        "SELECT relname, relkind FROM pg_class WHERE relnamespace = 2200 AND relkind <> 'i'
         ORDER BY 1",
        &["hourly | m", "t | r"],
    );
    world.check(
        "SELECT matviewname, ispopulated, definition = pg_get_viewdef('hourly'::regclass)
         FROM pg_matviews",
        &["hourly | true | true"],
    );
    world.check("SELECT count(*) FROM pg_views WHERE schemaname = 'public'", &["0"]);
    world.check(
        "SELECT attname, atttypid FROM pg_attribute WHERE attrelid = 'hourly'::regclass
         ORDER BY attnum",
        &["device | 25", "hour | 1184", "n | 20", "total | 20", "top | 701"],
    );
    world.check("SELECT obj_description('hourly'::regclass, 'pg_class')", &["by the hour"]);
    world.check(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'",
        &["t"],
    );
    world.run("ALTER MATERIALIZED VIEW hourly RENAME TO by_hour");
    world.check(
        "SELECT name, \"table\", \"over\", stored_in, refresh_every_seconds, refresh_lag_seconds
         FROM sys.continuous_aggregates",
        &["by_hour | t | ∅ | _materialized_0 | ∅ | 0.0"],
    );
    world.check("SELECT count(*) FROM by_hour", &["0"]);
    world.run("DROP MATERIALIZED VIEW by_hour");
    world.check("SELECT name FROM sys.tables", &["t"]);
    world.run("DROP TABLE t");
}

#[test]
fn jobs_refresh_by_themselves_and_tell() {
    let (_, world) = world();
    insert(&world, &[("a", "00:10", 1)]);
    world.run(HOURLY);
    let due = |now| block_on(world.engine.jobs().run_due(&world.engine, now)).unwrap();
    let jobs = "SELECT relation, every_seconds, running, error, runs, failures, due FROM sys.jobs
                WHERE name = 'refresh'";
    let minute = 60_000_000_000;
    due(1_800_000_000 * 1_000_000_000);
    world.check(jobs, &["hourly | ∅ | false | ∅ | 0 | 0 | ∅"]);
    world.run("ALTER MATERIALIZED VIEW hourly SET (refresh_every = '10 min')");
    for (after, runs, next) in
        [(0, 1, "08:10"), (9, 1, "08:10"), (10, 2, "08:20"), (35, 3, "08:45")]
    {
        due(1_800_000_000 * 1_000_000_000 + after * minute);
        let line = format!("hourly | 600.0 | false | ∅ | {runs} | 0 | 2027-01-15T{next}:00Z");
        world.check(jobs, &[&line]);
    }
    world.check(
        "SELECT name, result, error, ranges, rows FROM sys.job_history ORDER BY start",
        &[
            "hourly | success | ∅ | 1 | 1",
            "hourly | success | ∅ | 0 | 0",
            "hourly | success | ∅ | 0 | 0",
        ],
    );
    // Another interval counts at once.
    let due = |minutes| due(1_800_000_000 * 1_000_000_000 + minutes * minute);
    for (every, at, runs) in [("1 min", 36, 4), ("2 hours", 60, 4), ("2 hours", 156, 5)] {
        world.run(&format!("ALTER MATERIALIZED VIEW hourly SET (refresh_every = '{every}')"));
        due(at);
        world.check("SELECT runs FROM sys.jobs WHERE name = 'refresh'", &[&runs.to_string()]);
    }
    // What fails is told and tried again.
    let most = i64::MAX;
    insert(&world, &[("a", "00:10", most), ("a", "00:20", most)]);
    world.run("ALTER MATERIALIZED VIEW hourly RESET (refresh_every)");
    due(200);
    world.check(
        "SELECT error LIKE '%bigint%', runs, failures FROM sys.jobs WHERE name = 'refresh'",
        &["true | 6 | 1"],
    );
    world.run("DELETE FROM t WHERE time >= '2026-01-01 00:20:00+00'");
    due(201);
    world.check(
        "SELECT error, runs, failures FROM sys.jobs WHERE relation = 'hourly'",
        &["∅ | 7 | 1"],
    );
    world.check("SELECT total FROM hourly", &[&most.to_string()]);
}

/// Writers and refreshes at the same time: in every snapshot the answer is that of the query.
#[test]
fn refreshes_among_writers() {
    let (_, world) = world();
    world.run(HOURLY);
    let engine = world.engine.clone();
    let writer = std::thread::spawn(move || {
        let session = engine.session(identity("writer", true), &[]);
        for nth in 0..200u64 {
            let (hour, minute) = (nth * 7 % 23, nth * 13 % 60);
            let device = ["a", "b", "c"][nth as usize % 3];
            let time = format!("'2026-01-01 {hour:02}:{minute:02}:00+00'");
            match nth % 5 {
                4 => run(
                    &session,
                    &format!("DELETE FROM t WHERE device = '{device}' AND time > {time}"),
                ),
                3 => run(&session, &format!("UPDATE t SET i = i + 1 WHERE time < {time}")),
                _ => run(
                    &session,
                    &format!("INSERT INTO t (device, time, i) VALUES ('{device}', {time}, {nth})"),
                ),
            };
        }
    });
    let plain =
        "SELECT device, time_bucket('1 hour', time) AS hour, count(*) AS n, sum(i) AS total,
                 max(v) AS top FROM t GROUP BY 1, 2 ORDER BY hour, device";
    let same = || {
        world.run("BEGIN");
        assert_eq!(rows(&world.session, ALL, &[]), rows(&world.session, plain, &[]));
        world.run("ROLLBACK");
    };
    while !writer.is_finished() {
        world.run("REFRESH MATERIALIZED VIEW hourly");
        same();
    }
    writer.join().unwrap();
    same();
    world.run("REFRESH MATERIALIZED VIEW hourly");
    world.run("REFRESH MATERIALIZED VIEW hourly");
    same();
    world.check("SELECT changed_ranges FROM sys.continuous_aggregates", &["0"]);
}

/// A refresh that is given up is nothing that a later one could trip over.
#[test]
fn a_refresh_may_be_cancelled() {
    let (_, world) = world();
    insert(&world, &[("a", "00:10", 1), ("a", "05:10", 2)]);
    world.run(HOURLY);
    let views = world.session.views().unwrap();
    let number = views.find("hourly").unwrap().number;
    let now = 1_800_000_000 * 1_000_000_000;
    for polls in 0..12 {
        insert(&world, &[("b", "00:20", polls)]);
        let jobs = world.engine.jobs();
        let mut refresh = Box::pin(jobs.refresh(&world.engine, number, now));
        for _ in 0..polls {
            let waker = futures::task::noop_waker();
            let mut context = std::task::Context::from_waker(&waker);
            if refresh.as_mut().poll(&mut context).is_ready() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        drop(refresh);
        let sum = format!("{}", 3 + polls);
        world.check("SELECT sum(total) FROM hourly", &[&sum]);
    }
    world.run("REFRESH MATERIALIZED VIEW hourly");
    world.run("REFRESH MATERIALIZED VIEW hourly");
    world.check("SELECT sum(total) FROM hourly", &["14"]);
    assert_eq!(standing(&world, "hourly"), "2026-01-01T06:00:00Z | 0");
    world.check(
        "SELECT failures > 0, running FROM sys.jobs WHERE name = 'refresh'",
        &["true | false"],
    );
}

/// As the server does it: the runner finds out by itself.
#[test]
fn the_runner_runs() {
    let (_, world) = world();
    world.engine.start_jobs().unwrap();
    insert(&world, &[("a", "00:10", 1)]);
    world.run(&HOURLY.replace("'none'", "'1 sec'"));
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while standing(&world, "hourly") != "2026-01-01T01:00:00Z | 0" {
        assert!(std::time::Instant::now() < until, "{}", standing(&world, "hourly"));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn the_history_of_runs_survives_a_restart() {
    let (storage, world) = world();
    world.run(HOURLY);
    let history =
        "SELECT name, result, error IS NULL, ranges > 0, rows FROM sys.job_history ORDER BY start";
    let refresh = "REFRESH MATERIALIZED VIEW hourly";
    insert(&world, &[("a", "00:10", 1)]);
    world.run(refresh);
    world.run(refresh);
    insert(&world, &[("b", "00:10", i64::MAX), ("b", "00:20", i64::MAX)]);
    assert_eq!(world.fails(refresh).code, "22003");
    world.check(
        history,
        &[
            "hourly | success | true | true | 1",
            "hourly | success | true | false | 0",
            "hourly | failed | false | false | 0",
        ],
    );
    let again = |world: World| {
        world.engine.db().close().unwrap();
        drop(world);
        World::over(Db::open(Arc::new(storage.clone()), options()).unwrap())
    };
    // Runs that have done nothing are forgotten.
    let kept = ["hourly | success | true | true | 1", "hourly | failed | false | false | 0"];
    let world = again(world);
    world.check(history, &kept);
    world.run("DELETE FROM t WHERE device = 'b'");
    world.run(refresh);
    let newest = [
        "hourly | success | true | true | 1",
        "hourly | failed | false | false | 0",
        // The groups of the other device stay as they are.
        "hourly | success | true | true | 0",
    ];
    world.check(history, &newest);
    for n in 0..110 {
        insert(&world, &[("a", "00:10", n)]);
        world.run(refresh);
    }
    let world = again(world);
    world.check("SELECT count(*), count(error) FROM sys.job_history", &["100 | 0"]);
    world.run("DROP MATERIALIZED VIEW hourly");
    world.check("SELECT count(*) FROM sys.job_history", &["0"]);
    assert!(world.engine.db().snapshot().rows().scan(18, &[]).unwrap().is_empty());
}
