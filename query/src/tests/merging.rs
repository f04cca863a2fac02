//! MERGE into relational tables.

use super::harness::*;

fn world() -> World {
    let world = World::with_presses();
    world.run("CREATE TABLE stock (id int PRIMARY KEY, n int NOT NULL DEFAULT 7, note text)");
    world.run("INSERT INTO stock VALUES (1, 10, 'one'), (2, 20, 'two'), (3, 30, 'three')");
    world.run("CREATE TABLE moves (id int, d int)");
    world.run("INSERT INTO moves VALUES (1, 5), (2, -20), (9, 4), (8, 0)");
    world
}

const ALL: &str = "SELECT * FROM stock ORDER BY id";

#[test]
fn each_row_does_what_the_first_true_when_says() {
    let world = world();
    let sql = "MERGE INTO stock AS s USING moves m ON s.id = m.id
        WHEN MATCHED AND s.n + m.d <= 0 THEN DELETE
        WHEN MATCHED THEN UPDATE SET n = s.n + m.d, note = note || '!'
        WHEN NOT MATCHED AND m.d = 0 THEN DO NOTHING
        WHEN NOT MATCHED THEN INSERT (id, n) VALUES (m.id, m.d)";
    assert_eq!(world.run(sql), "MERGE 3");
    world.check(ALL, &["1 | 15 | one!", "3 | 30 | three", "9 | 4 | ∅"]);
    // Values of other WHENs are not worked out.
    let sql = "MERGE INTO stock USING (VALUES (1, 0), (3, 2)) AS v (id, d) ON stock.id = v.id
        WHEN MATCHED AND d > 0 THEN UPDATE SET n = 30 / d
        WHEN MATCHED THEN DO NOTHING";
    assert_eq!(world.run(sql), "MERGE 1");
    world.check(ALL, &["1 | 15 | one!", "3 | 15 | three", "9 | 4 | ∅"]);
    let sql = "MERGE INTO stock s USING press p ON s.id = p.strokes
        WHEN NOT MATCHED THEN INSERT VALUES (p.strokes, DEFAULT, p.device)
        WHEN MATCHED THEN UPDATE SET n = DEFAULT";
    assert_eq!(world.run(sql), "MERGE 6");
    world.check("SELECT count(*), sum(n) FROM stock WHERE n = 7", &["6 | 42"]);
    let none = "MERGE INTO stock s USING moves m ON s.id = m.id AND false
        WHEN MATCHED THEN DELETE";
    assert_eq!(world.run(none), "MERGE 0");
}

#[test]
fn keys_move_and_blocks_take_back() {
    let world = world();
    let sql = "MERGE INTO stock s USING (VALUES (1, 2), (2, 0)) AS v (id, t) ON s.id = v.id
        WHEN MATCHED AND t = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET id = t";
    world.run("BEGIN");
    assert_eq!(world.run(sql), "MERGE 2");
    world.check(ALL, &["2 | 10 | one", "3 | 30 | three"]);
    world.run("ROLLBACK");
    world.check("SELECT count(*) FROM stock", &["3"]);
    assert_eq!(world.run(sql), "MERGE 2");
    world.check(ALL, &["2 | 10 | one", "3 | 30 | three"]);
    let described = described_params(&world);
    assert_eq!(described, 1);
}

fn described_params(world: &World) -> usize {
    let sql = "MERGE INTO stock s USING moves m ON s.id = m.id AND m.d > $1
        WHEN MATCHED THEN DELETE";
    let statements = world.session.parse(sql).unwrap();
    let described = world.session.describe(&statements[0], &[]);
    let described = futures::executor::block_on(described).unwrap();
    assert!(described.fields.is_none());
    described.params.len()
}

#[test]
fn what_cannot_be_is_refused() {
    let world = world();
    world.run("CREATE VIEW v AS SELECT * FROM stock");
    let of = |rest: &str| format!("MERGE INTO stock s USING moves m ON s.id = m.id {rest}");
    for (sql, code) in [
        (
            "MERGE INTO stock s USING (VALUES (1), (1)) AS v (id) ON s.id = v.id WHEN MATCHED THEN DELETE".into(),
            "21000",
        ),
        (of("WHEN MATCHED THEN DELETE WHEN MATCHED THEN DO NOTHING"), "42601"),
        (of("WHEN NOT MATCHED THEN INSERT (id, n) VALUES (1)"), "42601"),
        (of("WHEN NOT MATCHED THEN INSERT (id, nothing) VALUES (1, 2)"), "42703"),
        (of("WHEN NOT MATCHED THEN INSERT (id) VALUES (1)"), "23505"),
        (of("WHEN MATCHED THEN UPDATE SET n = NULL"), "23502"),
        (of("WHEN MATCHED THEN UPDATE SET nothing = 1"), "42703"),
        (of("WHEN MATCHED AND EXISTS (SELECT 1) THEN DELETE"), "0A000"),
        (of("WHEN MATCHED THEN DELETE RETURNING *"), "0A000"),
        (
            "MERGE INTO press p USING moves m ON p.strokes = m.d WHEN MATCHED THEN DELETE".into(),
            "0A000",
        ),
        ("MERGE INTO v USING moves m ON v.id = m.id WHEN MATCHED THEN DELETE".into(), "42809"),
        ("MERGE INTO nothing n USING moves m ON n.id = m.id WHEN MATCHED THEN DELETE".into(), "42P01"),
        ("MERGE INTO stock s USING nothing m ON s.id = m.id WHEN MATCHED THEN DELETE".into(), "42P01"),
    ] {
        let error = world.fails(&sql);
        assert_eq!(error.code, code, "{sql}: {error:?}");
    }
    world.check("SELECT count(*), sum(n) FROM stock", &["3 | 60"]);
    let reader = world.engine.session(identity("r", false), &[]);
    assert_eq!(fails(&reader, &of("WHEN MATCHED THEN DELETE")).code, "42501");
    world.run("CREATE SCHEMA a; CREATE TABLE a.stock (id int PRIMARY KEY, n int)");
    let sql = "MERGE INTO a.stock USING stock AS other ON a.stock.id = other.id
        WHEN NOT MATCHED THEN INSERT VALUES (other.id, other.n)";
    assert_eq!(world.run(sql), "MERGE 3");
    world.check("SELECT sum(n) FROM a.stock", &["60"]);
}
