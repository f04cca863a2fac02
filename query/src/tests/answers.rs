//! Answers about the catalogue that are given again are those that a statement would give anew.

use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use futures::executor::block_on;
use proptest::prelude::*;

use super::harness::*;
use crate::{Outcome, Session};

/// What drivers and tools ask, and what depends on rows, sessions and time.
const PROBES: &[&str] = &[
    "SELECT c.oid, c.relname, c.relkind, n.nspname FROM pg_class c
     JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1",
    "SELECT relname, reltuples FROM pg_class WHERE relname IN ('press', 'part') ORDER BY 1",
    "SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute
     WHERE attrelid = 'press'::regclass AND attnum > 0 ORDER BY attnum",
    "SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns
     WHERE table_schema NOT IN ('pg_catalog', 'sys', 'information_schema')
     ORDER BY 1, 2, ordinal_position",
    "SELECT relname FROM pg_class WHERE relname LIKE 'p%' AND pg_table_is_visible(oid) ORDER BY 1",
    "SELECT objoid, objsubid, description FROM pg_description ORDER BY 1, 2, 3",
    "SELECT relname, obj_description(oid, 'pg_class') FROM pg_class
     WHERE relname IN ('press', 'part') ORDER BY 1",
    "SELECT rolname, rolsuper, rolcanlogin FROM pg_roles ORDER BY 1",
    "SELECT relname, pg_get_userbyid(relowner), relacl FROM pg_class
     WHERE relname IN ('press', 'part', 'hot') ORDER BY 1",
    "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public' ORDER BY 1",
    "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint ORDER BY 1",
    "SELECT adrelid::regclass, pg_get_expr(adbin, adrelid) FROM pg_attrdef ORDER BY 1",
    "SELECT name, setting FROM pg_settings WHERE name IN ('TimeZone', 'search_path') ORDER BY 1",
    "SELECT count(*) FROM pg_class WHERE relname = current_setting('application_name')",
    "SELECT nspname, has_schema_privilege(nspname, 'usage') FROM pg_namespace ORDER BY 1",
    "SELECT relname, has_table_privilege(oid, 'select') FROM pg_class
     WHERE relname IN ('press', 'part', 'hot') ORDER BY 1",
    "SELECT sequencename, last_value FROM pg_sequences ORDER BY 1",
    "SELECT name, rows FROM sys.tables ORDER BY 1",
    "SELECT relname, n_live_tup FROM pg_stat_user_tables ORDER BY 1",
    "SELECT policyname, cmd, qual FROM pg_policies ORDER BY 1",
    "SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relname = 'press'",
    "SELECT pid = pg_backend_pid() FROM pg_stat_activity WHERE pid = pg_backend_pid()",
    "SELECT count(*), pg_backend_pid() FROM pg_am GROUP BY 2",
    "SELECT amname, txid_current() FROM pg_am ORDER BY 1",
    "SELECT p.device, c.relname FROM press p JOIN pg_class c ON c.relname = 'press' ORDER BY 1",
    "SELECT current_user, current_schema(), amname FROM pg_am ORDER BY 3",
    "SELECT 'press'::regclass::oid",
    "SELECT to_regclass('part')::oid, has_table_privilege('press', 'select')",
    "SELECT last_value, 'counter'::regclass::text FROM counter",
    "SELECT hour, n, 'hourly'::regclass::text FROM hourly ORDER BY 1, 2",
    "SELECT hour, n, pg_table_is_visible('hourly'::regclass) FROM hourly ORDER BY 1, 2",
    "SELECT device, to_regclass('press')::oid FROM press ORDER BY 1",
];

/// What changes what they tell.
const CHANGES: &[&str] = &[
    "CREATE TABLE part (id int PRIMARY KEY, name text DEFAULT 'x', weight int CHECK (weight > 0))",
    "DROP TABLE part CASCADE",
    "ALTER TABLE part ADD COLUMN colour text",
    "ALTER TABLE part ALTER COLUMN name SET DEFAULT 'y'",
    "INSERT INTO part (id) VALUES (1)",
    "DELETE FROM part",
    "INSERT INTO press (time, device, site) VALUES ('2026-01-01 00:10:00+00', 'p4', 'south')",
    "DELETE FROM press WHERE time = '2026-01-01 00:10:00+00'",
    "REFRESH MATERIALIZED VIEW hourly",
    "ALTER TABLE press ADD COLUMN pressure double precision",
    "ALTER TABLE press DROP COLUMN pressure",
    "INSERT INTO press (time, device, site) VALUES ('2026-02-01 00:00:00+00', 'p9', 'south')",
    "COMMENT ON TABLE press IS 'a press'",
    "COMMENT ON TABLE press IS 'another'",
    "COMMENT ON TABLE press IS NULL",
    "COMMENT ON COLUMN press.note IS 'a note'",
    "CREATE VIEW hot AS SELECT * FROM press WHERE temperature > 30",
    "CREATE OR REPLACE VIEW hot AS SELECT * FROM press WHERE temperature > 40",
    "DROP VIEW hot",
    "CREATE SCHEMA plant",
    "CREATE TABLE plant.part (id int PRIMARY KEY)",
    "DROP SCHEMA plant CASCADE",
    "SET search_path = plant, public",
    "SET search_path = public",
    "SET timezone = 'Asia/Shanghai'",
    "SET timezone = 'UTC'",
    "SET application_name = 'press'",
    "RESET application_name",
    "CREATE ROLE ann",
    "DROP ROLE ann",
    "GRANT SELECT ON press TO bob",
    "REVOKE SELECT ON press FROM bob",
    "CREATE POLICY north ON press FOR SELECT TO bob USING (site = 'north')",
    "DROP POLICY north ON press",
    "ALTER TABLE press OWNER TO bob",
    "ALTER TABLE press OWNER TO admin",
    "SELECT nextval('counter')",
    "CREATE TEMPORARY TABLE part (id int)",
    "CREATE TEMPORARY VIEW hot AS SELECT 1 AS one",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "CHECKPOINT",
];

/// The statement under a text that was never seen.
fn fresh(probe: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let nth = NEXT.fetch_add(1, Ordering::Relaxed);
    probe.replacen("SELECT", &format!("SELECT /* {nth} */"), 1)
}

fn told(session: &Session, sql: &str) -> Result<Vec<String>, String> {
    try_rows(session, sql, &[]).map_err(|error| error.code.to_string())
}

/// Twice, so that the second may be what was kept, and anew.
fn check(session: &Session, probe: &str, what: &str) {
    for _ in 0..2 {
        // A block that has failed tells of that alone.
        let leave = |failed: bool| failed.then(|| run(session, "ROLLBACK"));
        leave(told(session, "SELECT 1").is_err());
        let kept = told(session, probe);
        leave(kept.is_err());
        let anew = told(session, &fresh(probe));
        assert_eq!(kept, anew, "{probe}\n{what}");
    }
}

fn world() -> World {
    let world = World::with_presses();
    world.run("CREATE ROLE bob LOGIN; CREATE SEQUENCE counter");
    world.run(
        "CREATE MATERIALIZED VIEW hourly WITH (continuous, refresh_every = 'none') AS
         SELECT time_bucket('1 hour', time) AS hour, count(*) AS n FROM press GROUP BY 1",
    );
    world.run("REFRESH MATERIALIZED VIEW hourly");
    world
}

#[test]
fn answers_are_given_again_to_every_session() {
    let world = world();
    let kept = || world.engine.caches().answers.kept();
    assert_eq!(kept(), 0);
    let probe = PROBES[0];
    let first = rows(&world.session, probe, &[]);
    assert_eq!(kept(), 1);
    let hits = world.engine.caches().plans.counts();
    let other = world.session_as("admin");
    assert_eq!(rows(&other, probe, &[]), first);
    assert_eq!((kept(), world.engine.caches().plans.counts()), (1, hits), "it was planned");
    // Another value is another answer.
    let by_name = "SELECT relkind FROM pg_class WHERE relname = $1";
    let of = |name: &str| rows(&other, by_name, &[ScalarValue::from(name)]);
    assert_eq!(of("press"), ["r"]);
    assert_eq!(of("pg_class"), ["r"]);
    assert!(of("nothing").is_empty());
    assert_eq!(of("press"), ["r"]);
    assert_eq!(kept(), 4);
}

#[test]
fn what_moves_is_not_kept() {
    let world = world();
    let moving = [
        "SELECT relname, reltuples FROM pg_class WHERE relname = 'press'",
        "SELECT * FROM pg_class WHERE relname = 'press'",
        "SELECT name, rows FROM sys.tables",
        "SELECT count(*), pg_backend_pid() FROM pg_am GROUP BY 2",
        "SELECT amname, now() FROM pg_am",
        "SELECT amname, random() FROM pg_am",
        "SELECT amname, nextval('counter') FROM pg_am",
        "SELECT datname, pg_database_size(datname) FROM pg_database",
        "SELECT c.relname FROM pg_class c, press",
        "SELECT c.relname FROM pg_class c, generate_series(1, 2)",
        "SELECT last_value FROM pg_sequences",
        "SELECT 1",
    ];
    for sql in moving {
        rows(&world.session, sql, &[]);
        assert_eq!(world.engine.caches().answers.kept(), 0, "{sql}");
    }
}

#[test]
fn rows_behind_a_policy_stay_hidden_from_what_runs_again() {
    let world = world();
    world.run("CREATE ROLE carol LOGIN READ");
    world.run("ALTER TABLE press ENABLE ROW LEVEL SECURITY");
    world.run("CREATE POLICY south ON press FOR SELECT TO carol USING (site = 'south')");
    let carol = world.session_as("carol");
    // Rows of other sites would divide by zero.
    let probe = "SELECT device FROM press
                 WHERE 1 / (strokes - 10) < 5 AND to_regclass('press') IS NOT NULL";
    let statement = carol.parse(probe).unwrap().remove(0);
    for _ in 0..3 {
        block_on(carol.describe(&statement, &[])).unwrap();
        assert_eq!(told(&carol, probe), Ok(Vec::new()));
    }
    // Nor are they counted.
    let explained = "EXPLAIN ANALYZE SELECT * FROM press WHERE to_regclass('press') IS NOT NULL";
    let statement = carol.parse(explained).unwrap().remove(0);
    let shown = |described: bool| {
        if described {
            block_on(carol.describe(&statement, &[])).unwrap();
        }
        rows(&carol, explained, &[]).join("\n")
    };
    for described in [false, true, true] {
        let plan = shown(described);
        assert!(!plan.contains("rows_scanned") && !plan.contains("output_rows"), "{plan}");
    }
}

#[test]
fn what_is_kept_holds_no_snapshot() {
    let world = world();
    let of_roles = "SELECT relname, pg_get_userbyid(relowner) FROM pg_class WHERE relname = $1";
    let of_table = "SELECT device FROM press WHERE 'press'::regclass::oid > $1";
    for (sql, value) in
        [(of_roles, ScalarValue::from("press")), (of_table, ScalarValue::from(1i64))]
    {
        let statement = world.session.parse(sql).unwrap().remove(0);
        for _ in 0..3 {
            block_on(world.session.describe(&statement, &[])).unwrap();
            let outcome =
                block_on(world.session.execute(&statement, std::slice::from_ref(&value))).unwrap();
            let Outcome::Rows { mut stream, .. } = outcome else { panic!("no rows") };
            while let Some(batch) = block_on(stream.next()) {
                batch.unwrap();
            }
        }
        let holds = statement.bound().lock().iter().any(|bound| bound.holds_catalogue());
        assert!(!holds, "{sql}");
    }
}

#[test]
fn much_is_not_kept() {
    let world = world();
    world.run(&format!("SET my.own = '{}'", "x".repeat(20_000)));
    rows(&world.session, "SELECT amname FROM pg_am", &[]);
    assert_eq!(world.engine.caches().answers.kept(), 0);
    world.run("RESET my.own");
    rows(&world.session, "SELECT amname FROM pg_am", &[]);
    assert_eq!(world.engine.caches().answers.kept(), 1);
}

#[test]
fn no_more_is_kept_than_there_is_room_for() {
    let world = world();
    for n in 0..600 {
        let sql = format!("SELECT {n}, amname FROM pg_am ORDER BY 2");
        let expect = ["btree", "heap", "millrace"].map(|name| format!("{n} | {name}"));
        assert_eq!(rows(&world.session, &sql, &[]), expect);
    }
    assert_eq!(world.engine.caches().answers.kept(), 256);
    let before = world.engine.caches().answers.kept();
    rows(&world.session, "SELECT * FROM pg_proc p, pg_am ORDER BY p.oid", &[]);
    assert_eq!(world.engine.caches().answers.kept(), before);
}

#[test]
fn each_change_is_seen() {
    let world = world();
    let other = world.session_as("bob");
    for change in CHANGES {
        // What cannot be done now changes nothing.
        let done = try_run(&world.session, change).map_err(|error| error.code);
        for probe in PROBES {
            let what = format!("{change}: {done:?}");
            check(&world.session, probe, &what);
            check(&other, probe, &what);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn changes_in_any_order_are_seen(
        steps in prop::collection::vec((0..CHANGES.len(), 0usize..3, 0..PROBES.len()), 1..40),
    ) {
        let world = world();
        let sessions = [world.session_as("admin"), world.session_as("bob"), world.session_as("admin")];
        let mut done = Vec::new();
        for (change, by, probe) in steps {
            let result = try_run(&sessions[by], CHANGES[change]).map_err(|error| error.code);
            done.push(format!("{by}: {}: {result:?}", CHANGES[change]));
            for session in &sessions {
                check(session, PROBES[probe], &done.join("\n"));
            }
        }
    }
}
