//! Views: made, read, kept, refused, and what depends on them.

use std::sync::Arc;

use datafusion::scalar::ScalarValue;
use futures::executor::block_on;
use tsdb::io::MemoryStorage;
use tsdb::{Db, Options};

use super::harness::*;

#[test]
fn a_view_is_read_like_its_query() {
    let world = World::with_presses();
    let made = "CREATE VIEW warm AS SELECT device, temperature AS t, time FROM press
                WHERE temperature > 21";
    assert_eq!(world.run(made), "CREATE VIEW");
    world.check(
        "SELECT device, t FROM warm WHERE device <> 'p3' ORDER BY t",
        &["p1 | 21.5", "p1 | 22.5", "p2 | 30.0"],
    );
    world.check("SELECT w.device FROM public.warm w WHERE t > 39", &["p3"]);
    world.check("SELECT count(*), max(t) FROM warm", &["4 | 40.0"]);
    assert_eq!(columns(&world.session, "SELECT * FROM warm"), ["device", "t", "time"]);
    // Over a view, with names and with a CTE that is called like the table below.
    world.run("CREATE VIEW hottest (dev, \"Top\") AS SELECT device, max(t) FROM warm GROUP BY 1");
    world.check(
        "WITH press AS (SELECT 1 AS one) SELECT dev, \"Top\", one FROM hottest, press ORDER BY 2",
        &["p1 | 22.5 | 1", "p2 | 30.0 | 1", "p3 | 40.0 | 1"],
    );
    assert_eq!(
        rows(
            &world.session,
            "SELECT dev FROM hottest WHERE \"Top\" > $1",
            &[ScalarValue::from(35.0)]
        ),
        ["p3"]
    );
    world.check("SELECT device FROM warm w WHERE t = (SELECT max(\"Top\") FROM hottest)", &["p3"]);
}

#[test]
fn the_engines_own_streams_answer_over_views() {
    let world = World::with_presses();
    world.run("CREATE VIEW bare AS SELECT * FROM press");
    let sql = "SELECT device, avg(temperature) FROM bare GROUP BY device";
    assert!(
        rows(&world.session, &format!("EXPLAIN {sql}"), &[])
            .join("\n")
            .contains("Aggregate: table=")
    );
    let mut native = rows(&world.session, sql, &[]);
    world.run("SET millrace.use_native = off");
    let mut plain = rows(&world.session, sql, &[]);
    native.sort();
    plain.sort();
    assert_eq!(native, plain);
}

#[test]
fn clauses_of_time_may_stand_in_a_view() {
    let world = World::with_presses();
    world.run(
        "CREATE VIEW hourly AS SELECT time, device, max(strokes) AS most FROM press SAMPLE BY 1h",
    );
    world.check(
        "SELECT device, most FROM hourly ORDER BY most",
        &["p1 | 3", "p2 | 10", "p2 | 11", "p3 | 100"],
    );
}

#[test]
fn a_view_keeps_its_columns() {
    let world = World::with_presses();
    world.run(
        "CREATE TABLE other (time timestamptz, device text, x bigint, PRIMARY KEY (device, time))",
    );
    world.run("INSERT INTO other (time, device, x) VALUES ('2026-01-01', 'p1', 7)");
    world.run("CREATE VIEW every AS SELECT * FROM other");
    world.run(
        "CREATE VIEW paired AS SELECT o.*, p.note FROM other o JOIN press p USING (device, time)",
    );
    world.run("CREATE VIEW joined AS SELECT * FROM other NATURAL JOIN press");
    world.run("CREATE VIEW united AS SELECT x FROM (SELECT * FROM other) o UNION ALL SELECT 1");
    world.run("CREATE VIEW bare AS SELECT x, running FROM other o, press p WHERE o.time = p.time AND o.device = p.device");
    world.run("CREATE VIEW outside AS SELECT device FROM press WHERE EXISTS (SELECT 1 FROM other WHERE strokes = x - 6)");
    let shown = || {
        let all = |name: &str| columns(&world.session, &format!("SELECT * FROM {name}"));
        ["every", "paired", "joined", "united"].map(all)
    };
    let before = shown();
    assert_eq!(before[0], ["time", "device", "x"]);
    assert_eq!(before[1], ["time", "device", "x", "note"]);
    // `note` would be another column to join by.
    world.run("ALTER TABLE other ADD COLUMN note text");
    // A column of the other table, and one of the query outside, are still what is meant.
    world.run("ALTER TABLE other ADD COLUMN running boolean, ADD COLUMN strokes bigint");
    world.check("SELECT x, running FROM bare", &["7 | true"]);
    world.check("SELECT device FROM outside", &["p1"]);
    world.run("ALTER TABLE other RENAME COLUMN strokes TO temperature");
    world.check("SELECT max(x) FROM every", &["7"]);
    world.run("INSERT INTO other (time, device, note) VALUES ('2026-01-01', 'p1', 'b')");
    assert_eq!(shown(), before);
    world.check("SELECT x, note FROM paired", &["7 | a"]);
    world.check("SELECT x FROM joined", &["7"]);
    world.check("SELECT x FROM united ORDER BY 1", &["1", "7"]);
    // The qualities of the fields are columns only where the view's own text asks for them.
    world.run("CREATE VIEW good AS SELECT device, x__quality AS q FROM other");
    world.check("SELECT q FROM good", &["good"]);
    world.check(
        "SELECT q, 'x__quality' FROM every JOIN good USING (device)",
        &["good | x__quality"],
    );
}

#[test]
fn replaces_renames_and_drops() {
    let world = World::with_presses();
    world.run("CREATE VIEW v AS SELECT device, temperature FROM press");
    assert_eq!(world.fails("CREATE VIEW v AS SELECT 1 AS a").code, "42P07");
    for sql in [
        "SELECT device FROM press",
        "SELECT device, temperature AS t FROM press",
        "SELECT device, strokes AS temperature FROM press",
    ] {
        let error = world.fails(&format!("CREATE OR REPLACE VIEW v AS {sql}"));
        assert_eq!(error.code, "42P16", "{sql}: {error}");
    }
    let statements =
        world.session.parse("SELECT count(*) AS n, max(temperature) AS m FROM v").unwrap();
    let ask = || {
        let outcome = block_on(world.session.execute(&statements[0], &[])).unwrap();
        text_of(outcome)
    };
    assert_eq!(ask(), ["6 | 40.0"]);
    world.run("CREATE OR REPLACE VIEW v AS SELECT device, temperature, 1 AS one FROM press WHERE device = 'p1'");
    // The plan that was kept with the statement is not used again.
    assert_eq!(ask(), ["3 | 22.5"]);
    assert_eq!(world.run("ALTER VIEW v RENAME TO w"), "ALTER VIEW");
    assert_eq!(world.fails("SELECT * FROM v").code, "42P01");
    assert_eq!(world.fails("ALTER VIEW v RENAME TO x").code, "42P01");
    assert_eq!(world.run("ALTER VIEW IF EXISTS v RENAME TO x"), "ALTER VIEW");
    assert_eq!(world.fails("ALTER VIEW w RENAME TO press").code, "42P07");
    assert_eq!(world.run("DROP VIEW w"), "DROP VIEW");
    assert_eq!(world.fails("DROP VIEW w").code, "42P01");
    assert_eq!(world.run("DROP VIEW IF EXISTS w"), "DROP VIEW");
}

#[test]
fn what_cannot_be_is_refused() {
    let world = World::with_presses();
    world.run("CREATE VIEW v AS SELECT device, time FROM press");
    for (sql, code) in [
        ("CREATE VIEW x AS SELECT nothing FROM press", "42703"),
        ("CREATE VIEW x AS SELECT * FROM nothing", "42P01"),
        ("CREATE VIEW x AS SELECT $1::int AS a", "42P02"),
        ("CREATE VIEW x AS SELECT 1 AS a, 2 AS a", "42701"),
        ("CREATE VIEW x (a, b) AS SELECT 1 AS a", "42601"),
        ("CREATE VIEW press AS SELECT 1 AS a", "42P07"),
        ("CREATE OR REPLACE VIEW press AS SELECT 1 AS a", "42809"),
        ("CREATE VIEW pg_class AS SELECT 1 AS a", "42P07"),
        ("CREATE OR REPLACE MATERIALIZED VIEW x AS SELECT 1 AS a", "0A000"),
        ("CREATE OR REPLACE VIEW v AS SELECT device, time FROM v", "42P17"),
        ("CREATE TABLE v (time timestamptz PRIMARY KEY)", "42P07"),
        ("ALTER TABLE press RENAME TO v", "42P07"),
        ("ALTER TABLE v ADD COLUMN x bigint", "42809"),
        ("DROP TABLE v", "42809"),
        ("DROP VIEW press", "42809"),
        ("INSERT INTO v (device, time) VALUES ('a', '2026-01-01')", "42809"),
        ("DELETE FROM v", "42809"),
        ("UPDATE v SET device = 'x'", "42809"),
        ("COPY v FROM STDIN", "42809"),
    ] {
        let error = world.fails(sql);
        assert_eq!(error.code, code, "{sql}: {error:?}");
    }
    assert_eq!(
        world.run("CREATE TABLE IF NOT EXISTS v (time timestamptz PRIMARY KEY)"),
        "CREATE TABLE"
    );
    world.check("SELECT count(*) FROM pg_views", &["1"]);
    world.run("BEGIN");
    assert_eq!(world.fails("CREATE VIEW x AS SELECT 1 AS a").code, "25001");
    world.run("ROLLBACK");
    let reader = world.engine.session(identity("r", false), &[]);
    assert_eq!(fails(&reader, "CREATE VIEW x AS SELECT 1 AS a").code, "42501");
    assert_eq!(fails(&reader, "DROP VIEW v").code, "42501");
    assert_eq!(run(&reader, "SELECT * FROM v"), "SELECT 6");
}

#[test]
fn what_views_use_stays() {
    let world = World::with_presses();
    world.run("CREATE TABLE other (time timestamptz, device text, note text, x bigint, PRIMARY KEY (device, time))");
    world.run(
        "CREATE VIEW notes AS SELECT p.device, p.note FROM press p, other o WHERE o.x = p.strokes",
    );
    world.run("CREATE VIEW longer AS SELECT note FROM notes");
    world.run("CREATE VIEW alone AS SELECT 'press' AS note");
    for sql in [
        "DROP TABLE press",
        "DROP TABLE other RESTRICT",
        "ALTER TABLE press DROP COLUMN note",
        "ALTER TABLE other DROP COLUMN x",
        "DROP VIEW notes",
    ] {
        let error = world.fails(sql);
        assert_eq!(error.code, "2BP01", "{sql}: {error}");
        assert!(
            error.detail.clone().unwrap().contains("view notes") || sql.contains("VIEW"),
            "{error:?}"
        );
    }
    for sql in [
        "ALTER TABLE press RENAME TO presses",
        "ALTER TABLE press RENAME COLUMN note TO remark",
        "ALTER TABLE other RENAME COLUMN x TO y",
        "ALTER VIEW notes RENAME TO n",
    ] {
        assert_eq!(world.fails(sql).code, "0A000", "{sql}");
    }
    // Columns of the same name elsewhere, and those that no view names, are free.
    world.run("ALTER TABLE other DROP COLUMN note");
    world.run("ALTER TABLE press DROP COLUMN running");
    world.run("ALTER TABLE press RENAME COLUMN site TO plant");
    world.check("SELECT viewname FROM pg_views ORDER BY 1", &["alone", "longer", "notes"]);
    world.run("ALTER TABLE other DROP COLUMN x CASCADE");
    world.check("SELECT viewname FROM pg_views ORDER BY 1", &["alone"]);
    world.run("CREATE VIEW a AS SELECT device FROM press");
    world.run("CREATE VIEW b AS SELECT device FROM a");
    world.run("DROP VIEW a CASCADE");
    world.run("CREATE VIEW a AS SELECT device FROM press");
    assert_eq!(world.run("DROP TABLE press, other CASCADE"), "DROP TABLE");
    world.check("SELECT viewname FROM pg_views", &["alone"]);
}

#[test]
fn a_dropped_column_does_not_change_what_a_view_means() {
    let world = World::with_presses();
    world.run(
        "CREATE TABLE inner_t (time timestamptz, k text, strokes bigint, PRIMARY KEY (k, time))",
    );
    // Without `inner_t.strokes` the subquery would compare the outer column with itself.
    world.run("CREATE VIEW v AS SELECT device FROM press WHERE EXISTS (SELECT 1 FROM inner_t WHERE strokes = 1)");
    assert_eq!(world.fails("ALTER TABLE inner_t DROP COLUMN strokes").code, "2BP01");
}

#[test]
fn the_catalogue_shows_views() {
    let world = World::with_presses();
    world.run("CREATE VIEW v AS SELECT *, strokes + 1 AS next, ARRAY[note] AS notes FROM press WHERE note <> 'x'");
    world.check(
        "SELECT relname, relkind, relnatts, relhasindex FROM pg_class WHERE relname = 'v'",
        &["v | v | 9 | false"],
    );
    world.check(
        "SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
         WHERE a.attrelid = 'v'::regclass AND a.attnum > 5 ORDER BY a.attnum",
        &["running | boolean", "note | text", "next | bigint", "notes | text[]"],
    );
    world.check(
        "SELECT table_name, table_type, is_insertable_into FROM information_schema.tables
         WHERE table_schema = 'public' ORDER BY 1",
        &["press | BASE TABLE | YES", "v | VIEW | NO"],
    );
    let text = "SELECT time, device, site, temperature, strokes, running, note, strokes + 1 AS next, \
                ARRAY[note] AS notes FROM press WHERE note <> 'x'";
    let shown = format!(" {text};");
    world.check("SELECT definition FROM pg_views", &[&shown]);
    world.check("SELECT view_definition FROM information_schema.views", &[&shown]);
    world.check("SELECT pg_get_viewdef('v'::regclass, true)", &[&shown]);
    world.check("SELECT pg_get_viewdef(c.oid) FROM pg_class c WHERE relname = 'v'", &[&shown]);
    world.check("SELECT pg_get_viewdef('press'::regclass)", &["∅"]);
    world.check("SELECT to_regclass('v')::int = 'v'::regclass::int", &["true"]);
    world.check("SELECT c.oid::regclass::text FROM pg_class c WHERE relname = 'v'", &["v"]);
    world.check("SELECT column_name FROM information_schema.columns WHERE table_name = 'v' AND ordinal_position = 8", &["next"]);
    world.check("SELECT typname, typtype FROM pg_type WHERE typname = 'v'", &["v | c"]);
}

#[test]
fn views_outlive_the_process() {
    let storage = Arc::new(MemoryStorage::new());
    let open = || {
        let options = Options { background: false, shards: 2, ..Options::default() };
        World::over(Db::open(storage.clone(), options).unwrap())
    };
    let before = {
        let world = open();
        world.run("CREATE TABLE t (time timestamptz, k text, x bigint, PRIMARY KEY (k, time))");
        world.run("INSERT INTO t (time, k, x) VALUES ('2026-01-01', 'a', 1)");
        world.run("CREATE VIEW gone AS SELECT 1 AS a");
        world.run("CREATE VIEW v AS SELECT k, x FROM t");
        world.run("DROP VIEW gone");
        let oid = rows(&world.session, "SELECT 'v'::regclass::int", &[]);
        world.engine.db().close().unwrap();
        oid
    };
    let world = open();
    world.check("SELECT * FROM v", &["a | 1"]);
    assert_eq!(rows(&world.session, "SELECT 'v'::regclass::int", &[]), before);
    // Numbers are not used again.
    world.run("DROP VIEW v");
    world.run("CREATE VIEW v AS SELECT k, x FROM t");
    assert_ne!(rows(&world.session, "SELECT 'v'::regclass::int", &[]), before);
}

#[test]
fn blocks_see_the_views_of_their_snapshot() {
    let world = World::with_presses();
    world.run("CREATE VIEW v AS SELECT device FROM press WHERE device = 'p1'");
    let other = world.engine.session(identity("o", true), &[]);
    world.run("BEGIN");
    world.check("SELECT count(*) FROM v", &["3"]);
    run(&other, "CREATE OR REPLACE VIEW v AS SELECT device FROM press");
    world.check("SELECT count(*) FROM v", &["3"]);
    // Rows that wait for COMMIT are not read through a view either.
    world.run("INSERT INTO press (time, device) VALUES ('2026-02-01', 'p1')");
    assert_eq!(world.fails("SELECT count(*) FROM v").code, "0A000");
    world.run("ROLLBACK");
    world.check("SELECT count(*) FROM v", &["6"]);
    // The statements of one text read what those before have written, through views too.
    world.session.begin_implicit();
    world.run("INSERT INTO press (time, device) VALUES ('2026-02-01', 'p1')");
    world.check("SELECT count(*) FROM v", &["7"]);
    block_on(world.session.end_implicit()).unwrap();
}

#[test]
fn nesting_has_an_end() {
    let world = World::new();
    world.run("CREATE VIEW v0 AS SELECT 1 AS a");
    for n in 1..32 {
        world.run(&format!("CREATE VIEW v{n} AS SELECT a FROM v{}", n - 1));
    }
    world.check("SELECT a FROM v31", &["1"]);
    assert_eq!(world.fails("CREATE VIEW v32 AS SELECT a FROM v31").code, "54001");
}
