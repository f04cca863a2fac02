//! RETURNING, ON CONFLICT, DELETE … USING, UPDATE … FROM, SET (…) = (…).

use datafusion::scalar::ScalarValue;
use futures::executor::block_on;

use super::harness::*;

/// A world with `press`, and `other` with the values to put in.
fn two() -> World {
    let world = World::with_presses();
    world.run("CREATE TABLE other (time timestamptz, device text, x bigint, note text, PRIMARY KEY (device, time))");
    world.run(
        "INSERT INTO other (time, device, x, note) VALUES
         ('2026-01-01 00:00:00+00', 'p1', 7, 'seven'), ('2026-01-01 00:05:00+00', 'p1', 8, 'eight'),
         ('2026-01-01 00:00:30+00', 'p2', 9, 'nine')",
    );
    world
}

fn sorted(world: &World, sql: &str) -> Vec<String> {
    let mut rows = rows(&world.session, sql, &[]);
    rows.sort();
    rows
}

#[test]
fn delete_returns_the_rows_that_go() {
    let world = World::with_presses();
    assert_eq!(
        sorted(
            &world,
            "DELETE FROM press p WHERE device = 'p1' AND strokes < 3 RETURNING p.strokes, temperature * 2 AS twice, note"
        ),
        ["1 | 41.0 | a", "2 | 43.0 | ∅"]
    );
    assert_eq!(
        columns(&world.session, "DELETE FROM press RETURNING *, strokes + 1"),
        ["time", "device", "site", "temperature", "strokes", "running", "note", "?column?"]
    );
    assert_eq!(world.run("DELETE FROM press WHERE device = 'p2' RETURNING device"), "DELETE 2");
    world.check("SELECT count(*) FROM press", &["2"]);
    assert_eq!(world.run("DELETE FROM press WHERE device = 'nobody' RETURNING *"), "DELETE 0");
    // Whole ranges are deleted row by row where they are returned.
    assert_eq!(sorted(&world, "DELETE FROM press RETURNING device").len(), 2);
    world.check("SELECT count(*) FROM press", &["0"]);
}

#[test]
fn update_returns_what_is_stored() {
    let world = World::with_presses();
    assert_eq!(
        sorted(
            &world,
            "UPDATE press SET strokes = temperature WHERE device = 'p1' RETURNING strokes, press.note, temperature + 1"
        ),
        ["20 | a | 21.5", "22 | c | 23.5", "22 | ∅ | 22.5"]
    );
    assert_eq!(
        sorted(
            &world,
            "UPDATE press SET site = '', note = DEFAULT WHERE device = 'p2' RETURNING site, note, device"
        ),
        ["∅ | ∅ | p2", "∅ | ∅ | p2"]
    );
    world.check("SELECT count(*) FROM press WHERE device = 'p2' AND site IS NULL", &["2"]);
    assert_eq!(world.run("UPDATE press SET strokes = 1 RETURNING strokes"), "UPDATE 6");
    for (sql, code) in [
        ("UPDATE press SET strokes = 1 RETURNING strokes + 1", "0A000"),
        ("UPDATE press SET strokes = 1 RETURNING (SELECT 1)", "0A000"),
        ("UPDATE press SET strokes = 1 RETURNING nothing", "42703"),
        ("DELETE FROM press RETURNING count(*)", "42803"),
        ("DELETE FROM press RETURNING row_number() OVER ()", "42803"),
        ("INSERT INTO press (time, device) VALUES ('2026-01-01', 'p9') RETURNING note", "0A000"),
        (
            "INSERT INTO press (time, device) VALUES ('2026-01-01', 'p9') RETURNING device || 'x'",
            "0A000",
        ),
        ("INSERT INTO press (time, device) VALUES ('2026-01-01', 'p9') RETURNING nothing", "42703"),
        (
            "INSERT INTO press (time, device, note) VALUES ('2026-01-01', 'p9', DEFAULT) RETURNING note",
            "0A000",
        ),
    ] {
        assert_eq!(world.fails(sql).code, code, "{sql}");
    }
    world.check("SELECT count(*), min(strokes), max(strokes) FROM press", &["6 | 1 | 1"]);
}

#[test]
fn insert_returns_what_is_stored() {
    let world = World::with_presses();
    let sql = "INSERT INTO press AS p (time, device, site, strokes) VALUES
               ('2026-03-01 00:00:00+00', 'a', '', 7.6), ('2026-03-01 00:00:01+00', 'b', 'x', NULL)
               RETURNING p.device, site AS place, strokes, time";
    assert_eq!(columns(&world.session, sql), ["device", "place", "strokes", "time"]);
    let returned = rows(&world.session, sql, &[]);
    assert_eq!(returned, ["a | ∅ | 8 | 2026-03-01T00:00:00Z", "b | x | ∅ | 2026-03-01T00:00:01Z"]);
    world.check(
        "SELECT device, site, strokes, time FROM press WHERE time >= '2026-03-01' ORDER BY time",
        &returned.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    assert_eq!(world.run("INSERT INTO press (time, device) SELECT time, 'copy' FROM press WHERE device = 'p1' RETURNING time"), "INSERT 3");
    let statements = world.session.parse("INSERT INTO press (time, device, strokes) VALUES ($1, $2, $3) RETURNING strokes, device").unwrap();
    let described = block_on(world.session.describe(&statements[0], &[])).unwrap();
    assert_eq!((described.params.len(), described.fields.unwrap().fields().len()), (3, 2));
    let time =
        ScalarValue::TimestampMicrosecond(Some(1_800_000_000_000_000), Some("+00:00".into()));
    let params = [time, ScalarValue::from("z"), ScalarValue::from(5i64)];
    assert_eq!(
        text_of(block_on(world.session.execute(&statements[0], &params)).unwrap()),
        ["5 | z"]
    );
    // In tables whose rows stand for themselves what is not filled is empty.
    world.run("CREATE TABLE log (time timestamptz, k text, a bigint, b text, PRIMARY KEY (k, time)) WITH (merge = 'append')");
    world.check(
        "INSERT INTO log (time, k, a) VALUES ('2026-01-01 00:00:00+00', 'k', 1) RETURNING *",
        &["2026-01-01T00:00:00Z | k | 1 | ∅"],
    );
    // Rows wait for COMMIT, what they return does not.
    world.run("BEGIN");
    world.check("INSERT INTO log (time, k, a) VALUES ('2026-01-01', 'k', 2) RETURNING a", &["2"]);
    world.run("ROLLBACK");
    world.check("SELECT a FROM log", &["1"]);
}

#[test]
fn rows_are_changed_beside_other_tables() {
    let world = two();
    assert_eq!(world.run("UPDATE press p SET (strokes, note) = (o.x, o.note) FROM other o WHERE p.device = o.device AND p.time = o.time"), "UPDATE 2");
    world.check(
        "SELECT strokes, note FROM press WHERE note IN ('seven', 'eight', 'nine') ORDER BY 1",
        &["7 | seven", "9 | nine"],
    );
    // A row that several match is changed once.
    assert_eq!(
        world.run("UPDATE press SET note = 'once' FROM other o WHERE press.device = o.device"),
        "UPDATE 5"
    );
    world.check("SELECT count(*) FROM press WHERE note = 'once'", &["5"]);
    assert_eq!(
        sorted(
            &world,
            "UPDATE press p SET strokes = 0 FROM other o JOIN other q ON q.time = o.time WHERE p.device = o.device AND o.x = 9 RETURNING p.device, o.note, strokes"
        ),
        ["p2 | nine | 0", "p2 | nine | 0"]
    );
    assert_eq!(
        sorted(&world, "DELETE FROM press USING other o, other q WHERE press.device = o.device AND o.x = 9 RETURNING press.*, o.x").len(),
        2
    );
    assert_eq!(
        world.run("DELETE FROM press p USING other WHERE p.device = other.device"),
        "DELETE 3"
    );
    world.check("SELECT device FROM press", &["p3"]);
    for (sql, code) in [
        ("DELETE FROM press USING other RETURNING *", "0A000"),
        ("DELETE FROM press USING nowhere", "42P01"),
        ("UPDATE press SET (strokes, note) = (SELECT x, note FROM other)", "0A000"),
        ("UPDATE press SET (strokes, note) = (1, 'a', 2)", "42601"),
        ("UPDATE press SET (strokes, strokes) = (1, 2)", "42601"),
        (
            "UPDATE press SET note = o.note FROM other o WHERE NOT press.device IN (SELECT device FROM other)  OR true",
            "0A000",
        ),
    ] {
        assert_eq!(world.fails(sql).code, code, "{sql}");
    }
    // In tables with several rows of one time each counts by itself.
    world.run("CREATE TABLE log (time timestamptz, k text, a bigint, PRIMARY KEY (k, time)) WITH (merge = 'append')");
    world.run("INSERT INTO log (time, k, a) VALUES ('2026-01-01', 'k', 1), ('2026-01-01', 'k', 2), ('2026-01-01', 'k', 3)");
    assert_eq!(
        world.run("DELETE FROM log USING other o WHERE log.a < 3 AND o.device = 'p1'"),
        "DELETE 2"
    );
    world.check("SELECT a FROM log", &["3"]);
}

#[test]
fn conflicts_leave_or_overwrite() {
    let world = two();
    let insert = "INSERT INTO other (time, device, x, note) VALUES
        ('2026-01-01 00:00:00+00', 'p1', 70, NULL), ('2026-01-02', 'new', 1, 'n'), ('2026-01-02', 'new', 2, 'm')";
    for target in ["", "(device, time)", "(time, \"device\")", "ON CONSTRAINT other_pkey"] {
        world.run("BEGIN");
        assert_eq!(world.run(&format!("{insert} ON CONFLICT {target} DO NOTHING")), "INSERT 0 1");
        world.run("ROLLBACK");
    }
    world.check(&format!("{insert} ON CONFLICT DO NOTHING RETURNING device, x"), &["new | 1"]);
    assert_eq!(world.run(&format!("{insert} ON CONFLICT DO NOTHING")), "INSERT 0 0");
    world.check(
        "SELECT device, x, note FROM other WHERE device = 'new' OR x = 7 ORDER BY 1",
        &["new | 1 | n", "p1 | 7 | seven"],
    );
    // A series that got no row is none.
    world.run("DELETE FROM other WHERE device = 'new'");
    let over = "ON CONFLICT (device, time) DO UPDATE SET x = excluded.x, note = EXCLUDED.note, time = excluded.time";
    assert_eq!(world.run(&format!("INSERT INTO other (time, device, x, note) VALUES ('2026-01-01 00:00:00+00', 'p1', 70, NULL), ('2026-01-02', 'new', 1, 'n') {over}")), "INSERT 0 2");
    world.check(
        "SELECT device, x, note FROM other WHERE x IN (70, 1) ORDER BY 1",
        &["new | 1 | n", "p1 | 70 | ∅"],
    );
    assert_eq!(world.fails(&format!("{insert} {over}")).code, "21000");
    for (sql, code) in [
        ("ON CONFLICT (device) DO NOTHING", "42P10"),
        ("ON CONFLICT ON CONSTRAINT x DO NOTHING", "42704"),
        ("ON CONFLICT DO UPDATE SET x = excluded.x", "42601"),
        ("ON CONFLICT (device, time) DO UPDATE SET x = excluded.x", "0A000"),
        ("ON CONFLICT (device, time) DO UPDATE SET x = other.x + 1, note = excluded.note", "0A000"),
        (
            "ON CONFLICT (device, time) DO UPDATE SET x = excluded.x, note = excluded.note WHERE other.x > 1",
            "0A000",
        ),
        ("ON CONFLICT (device, time) DO UPDATE SET nothing = excluded.x", "42703"),
    ] {
        let sql = format!(
            "INSERT INTO other (time, device, x, note) VALUES ('2026-01-03', 'q', 1, 'n') {sql}"
        );
        assert_eq!(world.fails(&sql).code, code, "{sql}");
    }
    world.check("SELECT count(*) FROM other WHERE device = 'q'", &["0"]);
    world.run("BEGIN");
    world.run("INSERT INTO other (time, device, x) VALUES ('2026-01-04', 'q', 1)");
    assert_eq!(world.fails("INSERT INTO other (time, device, x) VALUES ('2026-01-04', 'q', 2) ON CONFLICT DO NOTHING").code, "0A000");
    world.run("ROLLBACK");
    world.run("CREATE TABLE whole (time timestamptz, k text, a bigint, b text, PRIMARY KEY (k, time)) WITH (merge = 'last_row')");
    world.run("CREATE TABLE log (time timestamptz, k text, a bigint, PRIMARY KEY (k, time)) WITH (merge = 'append')");
    for (sql, code) in [
        (
            "INSERT INTO whole (time, k, a) VALUES ('2026-01-01', 'k', 1) ON CONFLICT (k, time) DO UPDATE SET a = excluded.a",
            "0A000",
        ),
        (
            "INSERT INTO log (time, k, a) VALUES ('2026-01-01', 'k', 1) ON CONFLICT (k, time) DO NOTHING",
            "42P10",
        ),
    ] {
        assert_eq!(world.fails(sql).code, code, "{sql}");
    }
    let all = "INSERT INTO whole (time, k, a, b) VALUES ('2026-01-01', 'k', 1, 'b') ON CONFLICT (k, time) DO UPDATE SET a = excluded.a, b = excluded.b";
    assert_eq!(world.run(all), "INSERT 0 1");
    assert_eq!(
        world.run(
            "INSERT INTO log (time, k, a) VALUES ('2026-01-01', 'k', 1) ON CONFLICT DO NOTHING"
        ),
        "INSERT 0 1"
    );
}

#[test]
fn leaving_conflicts_is_what_looking_first_would_do() {
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(40));
    let steps =
        prop::collection::vec(prop::collection::vec((0u8..3, 0u8..6, 0i64..100), 1..6), 1..8);
    runner
        .run(&steps, |steps| {
            let world = World::new();
            world.run("CREATE TABLE t (time timestamptz, k text, x bigint, PRIMARY KEY (k, time))");
            let mut model: BTreeMap<(u8, u8), i64> = BTreeMap::new();
            for step in steps {
                let mut new = 0;
                for (k, second, x) in &step {
                    model.entry((*k, *second)).or_insert_with(|| {
                        new += 1;
                        *x
                    });
                }
                let values: Vec<String> = step
                    .iter()
                    .map(|(k, second, x)| format!("('2026-01-01 00:00:0{second}+00', '{k}', {x})"))
                    .collect();
                let sql = format!(
                    "INSERT INTO t (time, k, x) VALUES {} ON CONFLICT DO NOTHING",
                    values.join(", ")
                );
                prop_assert_eq!(world.run(&sql), format!("INSERT 0 {new}"));
            }
            let there = rows(
                &world.session,
                "SELECT k, extract(second FROM time)::int, x FROM t ORDER BY k, time",
                &[],
            );
            let expect: Vec<String> =
                model.iter().map(|((k, s), x)| format!("{k} | {s} | {x}")).collect();
            prop_assert_eq!(there, expect);
            Ok(())
        })
        .unwrap();
}
