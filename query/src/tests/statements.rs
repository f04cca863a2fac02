//! Definitions, INSERT, settings, rights, limits.

use std::time::Duration;

use datafusion::scalar::ScalarValue;
use futures::executor::block_on;

use super::harness::*;
use crate::Outcome;

#[test]
fn creates_alters_and_drops() {
    let world = World::new();
    assert_eq!(
        world.run(
            "CREATE TABLE t (\"Time\" timestamptz, a text, b bigint, v float8, w real, x int2,
             y int4, z bytea, k boolean, PRIMARY KEY (a, b, \"Time\"))
             WITH (partition_by = '1 hour', retention = '2 years', merge = 'last_row')"
        ),
        "CREATE TABLE"
    );
    assert_eq!(
        world.run("CREATE TABLE IF NOT EXISTS t (time timestamptz PRIMARY KEY)"),
        "CREATE TABLE"
    );
    world.check(
        "SELECT partition_seconds, retention_seconds, merge FROM sys.tables",
        &["3600 | 63072000 | last_row"],
    );
    assert_eq!(
        columns(&world.session, "SELECT * FROM t"),
        ["Time", "a", "b", "v", "w", "x", "y", "z", "k"]
    );
    world.run("ALTER TABLE t ADD COLUMN n text, ADD COLUMN IF NOT EXISTS v float8");
    world.run("ALTER TABLE t RENAME COLUMN v TO value");
    world.run("ALTER TABLE t RENAME COLUMN \"Time\" TO ts");
    world.run("ALTER TABLE t ADD COLUMN line text PRIMARY KEY");
    world.run("ALTER TABLE t ALTER COLUMN x TYPE bigint");
    world.run("ALTER TABLE t SET (retention = '1 year')");
    world.run("ALTER TABLE t RENAME TO u");
    world
        .run("INSERT INTO u (ts, a, b, line, value, x) VALUES ('2026-01-01', 'q', 7, 'l', 1.5, 5)");
    world.check("SELECT a, b, line, value, x, n FROM u", &["q | 7 | l | 1.5 | 5 | ∅"]);
    world.check("SELECT a FROM u WHERE b = 7 AND line = 'l'", &["q"]);
    world.check("SELECT a FROM u WHERE b > 6 AND b < 8", &["q"]);
    assert_eq!(world.run("DROP TABLE u"), "DROP TABLE");
}

#[test]
fn definitions_are_refused_with_reason() {
    let world = World::with_presses();
    for (sql, code) in [
        ("CREATE TABLE press (time timestamptz PRIMARY KEY)", "42P07"),
        ("CREATE TABLE t (a timestamptz, b timestamptz, PRIMARY KEY (a, b))", "42P16"),
        ("CREATE TABLE t (a timestamptz, PRIMARY KEY (a, b))", "42703"),
        ("CREATE TABLE t (a timestamptz, a int, PRIMARY KEY (a))", "42701"),
        ("CREATE TABLE t (a serial, time timestamptz PRIMARY KEY)", "0A000"),
        ("CREATE TABLE t (a varchar(10), time timestamptz PRIMARY KEY)", "0A000"),
        ("CREATE TABLE t (a numeric, time timestamptz PRIMARY KEY)", "0A000"),
        ("CREATE TABLE t (a what, time timestamptz PRIMARY KEY)", "42704"),
        ("CREATE TABLE t (a int UNIQUE, time timestamptz PRIMARY KEY)", "0A000"),
        ("CREATE TABLE t (a int DEFAULT 1, time timestamptz PRIMARY KEY)", "0A000"),
        ("CREATE TABLE t (time timestamptz PRIMARY KEY) WITH (x = '1')", "22023"),
        ("CREATE TABLE t (time timestamptz PRIMARY KEY) WITH (retention = 'soon')", "22007"),
        ("ALTER TABLE nowhere ADD COLUMN a int", "42P01"),
        ("ALTER TABLE press ADD COLUMN strokes bigint", "42701"),
        ("ALTER TABLE press DROP COLUMN nothing", "42703"),
        ("ALTER TABLE press DROP COLUMN device", "0A000"),
        ("ALTER TABLE press DROP COLUMN time", "0A000"),
        ("ALTER TABLE press RENAME COLUMN strokes TO note", "42701"),
        ("ALTER TABLE press ADD CONSTRAINT c CHECK (strokes > 0)", "0A000"),
        ("DROP TABLE nowhere", "42P01"),
    ] {
        let error = world.fails(sql);
        assert_eq!(error.code, code, "{sql}: {error:?}");
    }
    assert_eq!(world.run("DROP TABLE IF EXISTS nowhere, press"), "DROP TABLE");
    assert_eq!(world.fails("SELECT * FROM press").code, "42P01");
}

#[test]
fn inserts_take_what_assignment_takes() {
    let world = World::new();
    world.run(
        "CREATE TABLE t (time timestamptz, k text, i smallint, f real, b boolean,
        s text NOT NULL, y bytea, at timestamptz, PRIMARY KEY (k, time))",
    );
    assert_eq!(
        world.run(
            "INSERT INTO t VALUES
            ('2026-01-01 01:00:00+01', 'a', '7', 1, 'yes', 5, '\\x00ff', '2026-01-02'),
            ('2026-01-01T00:00:00.123456789Z', NULL, 2.5, '-inf', false, '', '', NULL),
            ('2026-01-01', DEFAULT, -3, NULL, NULL, 'x', NULL, 'epoch')"
        ),
        "INSERT 0 3"
    );
    world.check(
        "SELECT time, k, i, f, b, s, encode(y, 'hex'), at FROM t ORDER BY i",
        &[
            "2026-01-01T00:00:00Z | ∅ | -3 | ∅ | ∅ | x | ∅ | 1970-01-01T00:00:00Z",
            "2026-01-01T00:00:00.123456Z | ∅ | 3 | -inf | false |  |  | ∅",
            "2026-01-01T00:00:00Z | a | 7 | 1.0 | true | 5 | 00ff | 2026-01-02T00:00:00Z",
        ],
    );
    // Expressions are planned; columns may come in any order.
    assert_eq!(
        world.run(
            "INSERT INTO t (s, time, k, f) VALUES
            (upper('q'), timestamptz '2026-01-05' + interval '1 hour', 'e', 1.0 / 4)"
        ),
        "INSERT 0 1"
    );
    world.check("SELECT s, time, f FROM t WHERE k = 'e'", &["Q | 2026-01-05T01:00:00Z | 0.25"]);
    assert_eq!(
        world.run(
            "INSERT INTO t (time, k, s, i) SELECT time + interval '1 day', k, s, i * 2 FROM t
            WHERE k IS NOT NULL"
        ),
        "INSERT 0 2"
    );
    world.check("SELECT i FROM t WHERE k = 'a' ORDER BY time", &["7", "14"]);
}

#[test]
fn inserts_are_refused_with_reason() {
    let world = World::with_presses();
    world.run("CREATE TABLE s (time timestamptz PRIMARY KEY, i smallint, n text NOT NULL)");
    for (sql, code) in [
        ("INSERT INTO nowhere VALUES (1)", "42P01"),
        ("INSERT INTO press (nothing) VALUES (1)", "42703"),
        ("INSERT INTO press (time, time) VALUES (1, 2)", "42701"),
        ("INSERT INTO press (device) VALUES ('p1')", "23502"),
        ("INSERT INTO press (time, device) VALUES (NULL, 'p1')", "23502"),
        ("INSERT INTO press (time, device) VALUES ('2026-01-01')", "42601"),
        ("INSERT INTO press (time) VALUES ('2026-01-01', 'p1')", "42601"),
        ("INSERT INTO press (time, device) VALUES ('2026-01-01', 'a'), ('2026-01-02')", "42601"),
        ("INSERT INTO press (time, strokes) VALUES ('2026-01-01', 'many')", "22P02"),
        ("INSERT INTO press (time, strokes) VALUES ('yesterday noon', 1)", "22007"),
        ("INSERT INTO press (time, strokes) VALUES ('infinity', 1)", "22008"),
        ("INSERT INTO press (time, strokes) VALUES (5, 1)", "42804"),
        ("INSERT INTO press (time, running) VALUES ('2026-01-01', 1)", "42804"),
        ("INSERT INTO press (time, strokes) VALUES ('2026-01-01', 99999999999999999999)", "22003"),
        ("INSERT INTO press (time, strokes) SELECT time, running FROM press", "42804"),
        ("INSERT INTO press (time, temperature) VALUES ('2026-01-01', 1e999)", "22003"),
        ("INSERT INTO s (time, i, n) VALUES ('2026-01-01', 40000, 'x')", "22003"),
        ("INSERT INTO s (time, i) VALUES ('2026-01-01', 4)", "23502"),
        ("INSERT INTO s (time, n) VALUES ('2026-01-01', NULL)", "23502"),
        ("INSERT INTO s VALUES ('9999-01-01', 1, 'x')", "22008"),
    ] {
        let error = world.fails(sql);
        assert_eq!(error.code, code, "{sql}: {error:?}");
    }
    world.check("SELECT count(*) FROM press", &["6"]);
    world.check("SELECT count(*) FROM s", &["0"]);
}

#[test]
fn inserts_with_parameters() {
    let world = World::with_presses();
    let sql = "INSERT INTO press (time, device, site, strokes) VALUES ($1, $2, $3, $4), ($1, 'c', $3, -1)";
    let statement = &world.session.parse(sql).unwrap()[0];
    let described = block_on(world.session.describe(statement, &[])).unwrap();
    assert_eq!(described.params.len(), 4);
    assert_eq!(described.params[3].to_string(), "Int64");
    assert!(described.fields.is_none());
    let params = [
        ScalarValue::TimestampMicrosecond(Some(1_800_000_000_000_000), Some("+00:00".into())),
        ScalarValue::Utf8(Some("zz".into())),
        ScalarValue::Utf8(None),
        ScalarValue::Int64(Some(77)),
    ];
    let done = block_on(world.session.execute(statement, &params)).unwrap();
    assert!(matches!(done, Outcome::Done { tag } if tag == "INSERT 0 2"));
    world.check(
        "SELECT device, site, strokes FROM press WHERE time > '2027-01-01' ORDER BY 1",
        &["c | ∅ | -1", "zz | ∅ | 77"],
    );
}

#[test]
fn large_inserts_are_one_commit() {
    let world = World::new();
    world.run("CREATE TABLE t (time timestamptz, k text, v bigint, PRIMARY KEY (k, time))");
    let before = world.engine.db().snapshot().position();
    assert_eq!(
        world.run(
            "INSERT INTO t SELECT '2026-01-01'::timestamptz + value * interval '1 second',
            'k' || (value % 7)::text, value FROM generate_series(1, 150000) AS value"
        ),
        "INSERT 0 150000"
    );
    assert_eq!(world.engine.db().snapshot().position(), before + 1);
    world.check("SELECT count(*), sum(v), count(DISTINCT k) FROM t", &["150000 | 11250075000 | 7"]);
    world.run("CHECKPOINT");
    world.check(
        "SELECT k, count(*), last(v, time) FROM t GROUP BY k ORDER BY k LIMIT 2",
        &["k0 | 21428 | 149996", "k1 | 21429 | 149997"],
    );
}

#[test]
fn settings_are_kept_shown_and_reported() {
    let world = World::new();
    world.check("SHOW server_version", &["15.0 (Millrace 0.1.0)"]);
    let set = &world.session.parse("SET application_name = 'x'").unwrap()[0];
    let told = block_on(world.session.execute(set, &[])).unwrap();
    assert!(
        matches!(told, Outcome::Set { name, value, .. } if name == "application_name" && value == "x")
    );
    world.check("SHOW application_name", &["x"]);
    world.check("SELECT current_setting('Application_Name')", &["x"]);
    assert_eq!(world.fails("SHOW no_such").code, "42704");
    assert_eq!(world.fails("SET no_such = 1").code, "42704");
    assert_eq!(columns(&world.session, "SHOW timezone"), ["TimeZone"]);
    assert!(rows(&world.session, "SHOW ALL", &[]).len() > 20);
    assert!(
        world
            .session
            .reported()
            .iter()
            .any(|(n, v)| n == "standard_conforming_strings" && v == "on")
    );
    world.check("SELECT set_config('application_name', 'z', false)", &["z"]);
    world.check("SHOW application_name", &["z"]);
    world.check(
        "SELECT current_user, current_database(), current_schema(), current_schema",
        &["admin | millrace | public | public"],
    );
    assert!(
        rows(&world.session, "SELECT version()", &[])[0].starts_with("PostgreSQL 15.0 (Millrace")
    );
}

#[test]
fn rights_are_kept() {
    let world = World::with_presses();
    let reader = world.engine.session(identity("eve", false), &[]);
    assert_eq!(run(&reader, "SELECT * FROM press"), "SELECT 6");
    for sql in [
        "INSERT INTO press (time, device) VALUES ('2026-01-01', 'x')",
        "CREATE TABLE t (time timestamptz PRIMARY KEY)",
        "ALTER TABLE press ADD COLUMN x int",
        "DROP TABLE press",
        "CHECKPOINT",
        "VACUUM FULL",
        "CREATE USER mallory",
        "ALTER USER admin NOSUPERUSER",
        "DROP USER admin",
    ] {
        assert_eq!(fails(&reader, sql).code, "42501", "{sql}");
    }
    assert_eq!(world.run("CREATE USER eve PASSWORD 'long enough' WRITE"), "CREATE ROLE");
    assert_eq!(world.fails("CREATE USER eve").code, "42710");
    assert_eq!(run(&reader, "ALTER USER eve PASSWORD 'another one'"), "ALTER ROLE");
    assert_eq!(world.run("DROP USER IF EXISTS nobody, eve"), "DROP ROLE");
}

#[test]
fn statements_end_when_asked_and_in_time() {
    let world = World::new();
    let endless = "SELECT count(*) FROM generate_series(1, 100000000000) a";
    world.run("SET statement_timeout = '50ms'");
    let error = world.fails(endless);
    assert_eq!(error.code, "57014");
    assert!(error.message.contains("timeout"), "{error:?}");
    world.run("SET statement_timeout = 0");
    let error = std::thread::scope(|scope| {
        let running = scope.spawn(|| world.fails(endless));
        while world.engine.queries_running() == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(20));
        world.session.cancel();
        running.join().unwrap()
    });
    assert_eq!((error.code, error.message.contains("user request")), ("57014", true));
    // Whoever cancelled does not wait for the operators to notice.
    while world.engine.queries_running() > 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    // A reader that leaves ends its query.
    let statement =
        &world.session.parse("SELECT * FROM generate_series(1, 100000000000)").unwrap()[0];
    let outcome = block_on(world.session.execute(statement, &[])).unwrap();
    assert_eq!(world.engine.queries_running(), 1);
    drop(outcome);
    while world.engine.queries_running() > 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
}
