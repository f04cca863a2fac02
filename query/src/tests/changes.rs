//! DELETE, UPDATE and TRUNCATE: what they change, what they count, what they refuse.

use datafusion::scalar::ScalarValue;
use futures::executor::block_on;
use tsdb::types::TimeRange;

use super::harness::*;
use crate::Outcome;

const ALL: &str = "SELECT device, strokes FROM press ORDER BY device, strokes";

fn has_tombstones(world: &World, table: &str) -> bool {
    let table = world.engine.db().snapshot().table(table).unwrap();
    table.tombstones_overlap(0, 0..=u32::MAX, TimeRange::ALL)
}

#[test]
fn deletes_by_time_and_key() {
    let world = World::with_presses();
    world.run("CHECKPOINT");
    for (sql, tag) in [
        ("DELETE FROM press WHERE false", "DELETE 0"),
        ("DELETE FROM press WHERE device = 'nobody'", "DELETE 0"),
        ("DELETE FROM press WHERE time > '2027-01-01'", "DELETE 0"),
        ("DELETE FROM press WHERE NULL", "DELETE 0"),
    ] {
        let before = world.engine.db().snapshot().position();
        assert_eq!(world.run(sql), tag, "{sql}");
        assert_eq!(world.engine.db().snapshot().position(), before, "{sql}: a record of nothing");
    }
    let sql = "DELETE FROM press AS p WHERE p.device = 'p1' AND p.time >= '2026-01-01 00:01:00+00'";
    assert_eq!(world.run(sql), "DELETE 2");
    world.check(ALL, &["p1 | 1", "p2 | 10", "p2 | 11", "p3 | 100"]);
    assert_eq!(world.run("DELETE FROM public.press WHERE site IS NULL"), "DELETE 1");
    assert_eq!(world.run("DELETE FROM press WHERE \"press\".device LIKE 'p2%'"), "DELETE 2");
    world.check(ALL, &["p1 | 1"]);
    world.check("SELECT count(*), max(time) FROM press", &["1 | 2026-01-01T00:00:00Z"]);
    assert_eq!(world.run("DELETE FROM press"), "DELETE 1");
    world.check(ALL, &[]);
    assert_eq!(world.run("DELETE FROM press"), "DELETE 0");
    world.run("INSERT INTO press (time, device, strokes) VALUES ('2026-01-01', 'p1', 5)");
    world.check(ALL, &["p1 | 5"]);
    world.run("CHECKPOINT; VACUUM FULL");
    world.check(ALL, &["p1 | 5"]);
    assert!(!has_tombstones(&world, "press"));
}

#[test]
fn deletes_by_anything_else() {
    let world = World::with_presses();
    world.run("CREATE TABLE bad (time timestamptz PRIMARY KEY, name text)");
    world.run("INSERT INTO bad VALUES ('2026-01-01', 'p3'), ('2026-01-02', NULL)");
    world.run("CHECKPOINT");
    assert_eq!(world.run("DELETE FROM press WHERE strokes = 2"), "DELETE 1");
    world.check(ALL, &["p1 | 1", "p1 | 3", "p2 | 10", "p2 | 11", "p3 | 100"]);
    let sql = "DELETE FROM press WHERE device NOT IN (SELECT name FROM bad)";
    assert_eq!(world.run(sql), "DELETE 0", "NULL in the list");
    assert_eq!(world.run("DELETE FROM press WHERE device IN (SELECT name FROM bad)"), "DELETE 1");
    let sql = "DELETE FROM press p WHERE EXISTS (SELECT 1 FROM press o
               WHERE o.device = p.device AND o.strokes > p.strokes)";
    assert_eq!(world.run(sql), "DELETE 2");
    world.check(ALL, &["p1 | 3", "p2 | 11"]);
    let sql = "DELETE FROM press WHERE time = (SELECT max(time) FROM press)";
    assert_eq!(world.run(sql), "DELETE 1");
    assert_eq!(
        world.run("DELETE FROM press WHERE EXISTS (SELECT 1 FROM bad WHERE false)"),
        "DELETE 0"
    );
    assert_eq!(world.run("DELETE FROM press WHERE temperature IS NULL OR note = 'c'"), "DELETE 1");
    world.check(ALL, &[]);
}

/// Unknown is not false: what DataFusion would mix up is refused, and what is taken is right.
#[test]
fn conditions_that_may_be_unknown() {
    let world = World::with_presses();
    world.run("CREATE TABLE names (time timestamptz PRIMARY KEY, name text)");
    world.run("INSERT INTO names VALUES ('2026-01-01', 'north')");
    let inside = "site IN (SELECT name FROM names)";
    for condition in [
        format!("NOT (strokes < 1000 AND {inside})"),
        format!("NOT ({inside} OR strokes > 1000)"),
        format!("({inside}) IS NULL"),
        format!("({inside}) = false"),
        format!("strokes > 1000 OR NOT {inside}"),
        "strokes > 1000 OR site NOT IN (SELECT name FROM names)".into(),
        format!("CASE WHEN {inside} THEN false ELSE true END"),
        "NOT site = ANY (SELECT name FROM names)".into(),
        "strokes = 0 OR site <> ALL (SELECT name FROM names)".into(),
    ] {
        let error = world.fails(&format!("DELETE FROM press WHERE {condition}"));
        assert_eq!(error.code, "0A000", "{condition}: {error:?}");
    }
    assert_eq!(world.fails(&format!("UPDATE press SET running = {inside}")).code, "0A000");
    world.check("SELECT count(*) FROM press", &["6"]);
    // The site of p3 is NULL: it is neither in nor not in.
    for (condition, count) in [
        ("site NOT IN (SELECT name FROM names)", 0),
        ("NOT (site IN (SELECT name FROM names))", 0),
        ("NOT (NOT (site IS NULL)) AND site NOT IN (SELECT name FROM names)", 0),
        ("(site IN (SELECT name FROM names) OR strokes = 100) AND strokes > 10", 2),
        ("strokes > 2 AND site IN (SELECT name FROM names)", 2),
        ("NOT EXISTS (SELECT 1 FROM names WHERE name = press.site)", 0),
        ("strokes = 1 AND device IN (SELECT 'p1' WHERE NOT (1 IN (SELECT 2)))", 1),
    ] {
        let tag = format!("DELETE {count}");
        assert_eq!(world.run(&format!("DELETE FROM press WHERE {condition}")), tag, "{condition}");
    }
}

#[test]
fn changes_with_parameters() {
    let world = World::with_presses();
    let run = |sql: &str, params: &[ScalarValue]| {
        let statement = &world.session.parse(sql).unwrap()[0];
        let described = block_on(world.session.describe(statement, &[])).unwrap();
        assert!(described.fields.is_none());
        assert_eq!(described.params.len(), params.len(), "{sql}");
        let again = block_on(world.session.execute(statement, params)).unwrap();
        let Outcome::Done { tag } = again else { panic!() };
        tag
    };
    let text = |text: &str| ScalarValue::Utf8View(Some(text.into()));
    let sql = "UPDATE press SET strokes = $1, note = $2 WHERE device = $3 AND strokes < $4";
    let params = [
        ScalarValue::Int64(Some(-1)),
        ScalarValue::Utf8View(None),
        text("p1"),
        ScalarValue::Int64(Some(3)),
    ];
    assert_eq!(run(sql, &params), "UPDATE 2");
    assert_eq!(run("DELETE FROM press WHERE device = $1", &[text("p2")]), "DELETE 2");
    assert_eq!(run("DELETE FROM press WHERE note = $1", &[text("f")]), "DELETE 1");
    world.check(
        "SELECT device, strokes, note FROM press ORDER BY time",
        &["p1 | -1 | ∅", "p1 | -1 | ∅", "p1 | 3 | c"],
    );
}

#[test]
fn updates_of_fields() {
    for merge in ["last_non_null", "last_row", "append"] {
        let world = World::new();
        world.run(&format!(
            "CREATE TABLE t (time timestamptz NOT NULL, k text, i int, x double precision,
             n text NOT NULL, PRIMARY KEY (k, time)) WITH (merge = '{merge}')"
        ));
        world.run(
            "INSERT INTO t VALUES ('2026-01-01', 'a', 1, 1.5, 'n'), ('2026-01-02', 'a', 2, 2.5, 'n'),
             ('2026-01-01', 'b', 3, 3.5, 'n')",
        );
        world.run("CHECKPOINT");
        let all = "SELECT k, i, x, n FROM t ORDER BY k, time";
        assert_eq!(world.run("UPDATE t SET i = i * 10, n = n || '!' WHERE k = 'a'"), "UPDATE 2");
        world.check(all, &["a | 10 | 1.5 | n!", "a | 20 | 2.5 | n!", "b | 3 | 3.5 | n"]);
        assert_eq!(world.run("UPDATE t AS u SET x = NULL, i = DEFAULT WHERE u.x > 2"), "UPDATE 2");
        world.check(all, &["a | 10 | 1.5 | n!", "a | ∅ | ∅ | n!", "b | ∅ | ∅ | n"]);
        let sql = "UPDATE t SET i = (SELECT count(*) FROM t), x = '7.25' WHERE i IS NULL";
        assert_eq!(world.run(sql), "UPDATE 2", "{merge}");
        world.check(all, &["a | 10 | 1.5 | n!", "a | 3 | 7.25 | n!", "b | 3 | 7.25 | n"]);
        // Both sides see the row as it was.
        assert_eq!(world.run("UPDATE t SET i = x, x = i WHERE k = 'b'"), "UPDATE 1");
        world.check(all, &["a | 10 | 1.5 | n!", "a | 3 | 7.25 | n!", "b | 7 | 3.0 | n"]);
        assert_eq!(world.run("UPDATE t SET i = 0 WHERE false"), "UPDATE 0");
        world.run("CHECKPOINT; VACUUM FULL");
        world.check(all, &["a | 10 | 1.5 | n!", "a | 3 | 7.25 | n!", "b | 7 | 3.0 | n"]);
        world.check("SELECT count(*) FROM t", &["3"]);
        for (sql, code) in [
            ("UPDATE t SET n = NULL", "23502"),
            ("UPDATE t SET i = 'many'", "22P02"),
            ("UPDATE t SET i = 3000000000", "22003"),
            ("UPDATE t SET i = true", "42804"),
            ("UPDATE t SET nothing = 1", "42703"),
            ("UPDATE t SET i = 1, i = 2", "42601"),
            ("UPDATE t SET i = nothing", "42703"),
            ("UPDATE nothing SET i = 1", "42P01"),
            ("UPDATE t SET time = NULL", "23502"),
            ("UPDATE pg_class SET relname = 'x'", "42P01"),
            ("DELETE FROM nothing", "42P01"),
            ("DELETE FROM t WHERE nothing = 1", "42703"),
            ("DELETE FROM t, t u", "0A000"),
            ("DELETE FROM \"\u{1}rows\".t", "42602"),
            ("SELECT * FROM \"\u{1}rows\".t", "42602"),
            ("TRUNCATE nothing", "42P01"),
        ] {
            let error = world.fails(sql);
            assert_eq!(error.code, code, "{sql}: {error:?}");
        }
        world.check(all, &["a | 10 | 1.5 | n!", "a | 3 | 7.25 | n!", "b | 7 | 3.0 | n"]);
    }
}

#[test]
fn updates_of_time_and_keys_move_rows() {
    for merge in ["last_non_null", "last_row", "append"] {
        let world = World::new();
        world.run(&format!(
            "CREATE TABLE t (time timestamptz NOT NULL, k text, j int, x double precision,
             PRIMARY KEY (k, j, time)) WITH (merge = '{merge}')"
        ));
        world.run(
            "INSERT INTO t VALUES ('2026-01-01 00:00:00+00', 'a', 1, 1), ('2026-01-01 00:01:00+00', 'a', 1, 2),
             ('2026-01-01 00:02:00+00', 'a', 1, NULL), ('2026-01-01 00:00:00+00', 'b', NULL, 4)",
        );
        world.run("CHECKPOINT");
        let all = "SELECT k, j, extract(minute FROM time)::int, x FROM t ORDER BY k, j, time, x";
        // Each row takes the place of the next one.
        let sql = "UPDATE t SET time = time + INTERVAL '1 minute' WHERE k = 'a'";
        assert_eq!(world.run(sql), "UPDATE 3", "{merge}");
        let moved = ["a | 1 | 1 | 1.0", "a | 1 | 2 | 2.0", "a | 1 | 3 | ∅", "b | ∅ | 0 | 4.0"];
        world.check(all, &moved);
        assert_eq!(world.run("UPDATE t SET k = 'c', j = j + 1, x = -x WHERE x = 2"), "UPDATE 1");
        world.check(
            all,
            &["a | 1 | 1 | 1.0", "a | 1 | 3 | ∅", "b | ∅ | 0 | 4.0", "c | 2 | 2 | -2.0"],
        );
        assert_eq!(world.run("UPDATE t SET k = NULL WHERE k = 'b'"), "UPDATE 1");
        world.check("SELECT count(*) FROM t WHERE k IS NULL AND j IS NULL", &["1"]);
        let clashes = [
            "UPDATE t SET time = '2026-01-01'",
            "UPDATE t SET time = '2026-01-01 00:01:00+00' WHERE x IS NULL",
        ];
        for sql in clashes {
            if merge == "append" {
                continue;
            }
            assert_eq!(world.fails(sql).code, "23505", "{sql}");
        }
        world.run("CHECKPOINT; VACUUM FULL");
        world.check(
            all,
            &["a | 1 | 1 | 1.0", "a | 1 | 3 | ∅", "c | 2 | 2 | -2.0", "∅ | ∅ | 0 | 4.0"],
        );
    }
}

#[test]
fn rows_of_an_append_table_that_share_their_time_are_told_apart() {
    let world = World::new();
    world.run(
        "CREATE TABLE t (time timestamptz NOT NULL, k text, x int, note text, PRIMARY KEY (k, time))
         WITH (merge = 'append')",
    );
    for round in 0..3 {
        world.run(&format!(
            "INSERT INTO t (time, k, x, note) VALUES ('2026-01-01', 'a', {round}, 'r{round}'),
             ('2026-01-01', 'a', {round}, NULL), ('2026-01-02', 'a', {round}, 'z')"
        ));
        if round != 1 {
            world.run("CHECKPOINT");
        }
    }
    assert_eq!(world.run("DELETE FROM t WHERE x = 1 AND note IS NULL"), "DELETE 1");
    assert_eq!(world.run("UPDATE t SET note = 'new' WHERE x = 2 AND note = 'r2'"), "UPDATE 1");
    let all = "SELECT x, note FROM t WHERE time < '2026-01-02' ORDER BY x, note";
    let left = ["0 | r0", "0 | ∅", "1 | r1", "2 | new", "2 | ∅"];
    world.check(all, &left);
    world.run("CHECKPOINT; VACUUM FULL");
    world.check(all, &left);
    assert_eq!(world.run("DELETE FROM t WHERE x >= 1"), "DELETE 5");
    world.check("SELECT count(*) FROM t", &["3"]);
}

#[test]
fn truncate_empties_tables() {
    let world = World::with_presses();
    world.run("CREATE TABLE other (time timestamptz PRIMARY KEY, v int)");
    world.run("INSERT INTO other VALUES ('2026-01-01', 1)");
    world.run("CHECKPOINT");
    let before = world.engine.db().snapshot().position();
    assert_eq!(world.run("TRUNCATE TABLE press, other"), "TRUNCATE TABLE");
    assert_eq!(world.engine.db().snapshot().position(), before + 1);
    world.check("SELECT (SELECT count(*) FROM press) + (SELECT count(*) FROM other)", &["0"]);
    // Not a row was read or written anew: the parts just go.
    world.engine.db().merge_due().unwrap();
    assert!(world.engine.db().snapshot().table("press").unwrap().parts().is_empty());
    world.run("INSERT INTO press (time, device, strokes) VALUES ('2026-01-01', 'p1', 5)");
    world.check(ALL, &["p1 | 5"]);
    assert_eq!(world.run("TRUNCATE press RESTART IDENTITY CASCADE"), "TRUNCATE TABLE");
    world.check(ALL, &[]);
}

#[test]
fn changes_in_a_block_wait_for_commit() {
    let world = World::with_presses();
    let other = world.engine.session(identity("admin", true), &[]);
    world.run("BEGIN");
    assert_eq!(world.run("DELETE FROM press WHERE device = 'p1'"), "DELETE 3");
    assert_eq!(rows(&other, "SELECT count(*) FROM press", &[]), ["6"]);
    // The block cannot see what it has changed: it says so.
    assert_eq!(world.fails("DELETE FROM press WHERE device = 'p2'").code, "0A000");
    world.run("ROLLBACK");
    world.check("SELECT count(*) FROM press", &["6"]);
    let before = world.engine.db().snapshot().position();
    world.run("BEGIN");
    world.run("TRUNCATE press");
    world.run("INSERT INTO press (time, device, strokes) VALUES ('2026-01-01', 'p9', 9)");
    assert_eq!(world.fails("UPDATE press SET strokes = 1").code, "0A000");
    world.run("ROLLBACK");
    world.run("BEGIN");
    world.run("INSERT INTO press (time, device, strokes) VALUES ('2026-01-01', 'gone', 9)");
    world.run("TRUNCATE press");
    world.run("INSERT INTO press (time, device, strokes) VALUES ('2026-01-01', 'p9', 9)");
    world.run("COMMIT");
    assert_eq!(world.engine.db().snapshot().position(), before + 1);
    world.check(ALL, &["p9 | 9"]);
    world.run("BEGIN READ ONLY");
    assert_eq!(world.fails("DELETE FROM press").code, "25006");
    world.run("ROLLBACK");
}

#[test]
fn changes_need_the_right_to_write() {
    let world = World::with_presses();
    let reader = world.engine.session(identity("reader", false), &[]);
    for sql in ["DELETE FROM press", "UPDATE press SET strokes = 1", "TRUNCATE press"] {
        assert_eq!(fails(&reader, sql).code, "42501", "{sql}");
    }
    world.check("SELECT count(*), sum(strokes) FROM press", &["6 | 127"]);
}

#[test]
fn rows_are_deleted_by_quality() {
    use tsdb::Command;
    use tsdb::types::{CellState, Column, Key, SeriesRef, Values, WriteBatch};
    let world = World::new();
    for merge in ["last_non_null", "last_row", "append"] {
        let name = format!("q_{merge}");
        world.run(&format!(
            "CREATE TABLE {name} (time timestamptz NOT NULL, k text, x bigint, y bigint,
             PRIMARY KEY (k, time)) WITH (merge = '{merge}')"
        ));
        let table = world.engine.db().snapshot().table(&name).unwrap().schema().clone();
        let [k, x, y] = ["k", "x", "y"].map(|column| table.column(column).unwrap().id);
        let states = |list: [CellState; 3]| Some(list.map(|state| state.0).to_vec());
        let bad = CellState::value(tsdb::types::Quality::Bad);
        let good = CellState::GOOD;
        let batch = WriteBatch {
            table: table.id,
            series: vec![SeriesRef::Key(Key::new([(k, &b"a"[..])]))],
            key_of_row: vec![0; 3],
            times: (0..3).map(|n| n * 60_000_000_000).collect(),
            columns: vec![
                (
                    x,
                    Column { values: Values::Int(vec![1, 2, 3]), states: states([good, bad, bad]) },
                ),
                (
                    y,
                    Column {
                        values: Values::Int(vec![4, 5, 6]),
                        states: states([bad, good, good]),
                    },
                ),
            ],
        };
        world.engine.db().execute(Command::Write(batch)).unwrap();
        let sql = format!("UPDATE {name} SET y = y + 10 WHERE x = 3");
        assert_eq!(world.run(&sql), "UPDATE 1");
        // What was not assigned keeps its quality; what was is good.
        world.check(
            &format!("SELECT x, x__quality, y, y__quality FROM {name} ORDER BY x"),
            &["1 | good | 4 | bad", "2 | bad | 5 | good", "3 | bad | 16 | good"],
        );
        let sql = format!("DELETE FROM {name} WHERE x__quality = 'bad' AND y < 10");
        assert_eq!(world.run(&sql), "DELETE 1");
        world.check(&format!("SELECT x FROM {name} ORDER BY x"), &["1", "3"]);
    }
}

/// A count of rows out of statistics must not count deleted ones, nor a maximum remember them.
#[test]
fn statistics_forget_deleted_rows() {
    let world = World::with_presses();
    world.run("CHECKPOINT; VACUUM FULL");
    let newest = "SELECT count(*), min(time), max(time) FROM press";
    world.check(newest, &["6 | 2026-01-01T00:00:00Z | 2026-01-01T01:00:30Z"]);
    world.run("DELETE FROM press WHERE strokes = 11");
    world.check(newest, &["5 | 2026-01-01T00:00:00Z | 2026-01-01T00:02:00Z"]);
    world.check(
        "SELECT DISTINCT ON (device) device, strokes FROM press ORDER BY device, time DESC",
        &["p1 | 3", "p2 | 10", "p3 | 100"],
    );
    world.run("CHECKPOINT; VACUUM FULL");
    world.check(newest, &["5 | 2026-01-01T00:00:00Z | 2026-01-01T00:02:00Z"]);
}
