//! Rows: INSERT, SELECT, UPDATE, DELETE, ON CONFLICT, RETURNING, COPY.

use datafusion::scalar::ScalarValue;
use futures::executor::block_on;

use crate::tests::harness::*;

fn world() -> World {
    let world = World::new();
    world.run(
        "CREATE TABLE plants (id int PRIMARY KEY, name text NOT NULL UNIQUE, opened date);
         CREATE TABLE parts (id serial PRIMARY KEY, plant int REFERENCES plants, code char(4),
           price numeric(10,2) DEFAULT 1.5 CHECK (price >= 0), note varchar(5), made timestamptz DEFAULT now())",
    );
    world.run("INSERT INTO plants VALUES (1, 'north', '2020-02-29'), (2, 'south', NULL)");
    world
}

#[test]
fn rows_come_back_as_they_went_in() {
    let world = world();
    assert_eq!(
        world.run(
            "INSERT INTO parts (plant, code, price) VALUES (1, 'ab', 2.345), (2, 'cd  ', DEFAULT)"
        ),
        "INSERT 0 2"
    );
    world.check(
        "SELECT id, plant, code, price, note, made > now() - interval '1 hour' FROM parts ORDER BY id",
        &["1 | 1 | ab | 2.35 | ∅ | true", "2 | 2 | cd | 1.50 | ∅ | true"],
    );
    world.check("SELECT opened FROM plants WHERE id = 1", &["2020-02-29"]);
    world.check("SELECT count(*) FROM parts WHERE code = 'ab'", &["1"]);
    world.check(
        "SELECT p.name, sum(q.price) FROM plants p JOIN parts q ON q.plant = p.id GROUP BY 1 ORDER BY 1",
        &["north | 2.35", "south | 1.50"],
    );
    world.run("INSERT INTO parts (plant, price) SELECT id, id * 10 FROM plants");
    world.check(
        "SELECT id, price FROM parts WHERE price >= 10 ORDER BY id",
        &["3 | 10.00", "4 | 20.00"],
    );
    assert_eq!(world.run("INSERT INTO parts DEFAULT VALUES"), "INSERT 0 1");
    world.check("SELECT id, price FROM parts WHERE plant IS NULL", &["5 | 1.50"]);
}

#[test]
fn keys_are_looked_up() {
    let world = World::new();
    world
        .run("CREATE TABLE t (a int, b text, c bigint, PRIMARY KEY (a, b)); CREATE INDEX ON t (c)");
    world.run(
        "INSERT INTO t SELECT n / 10, 'k' || (n % 10), n * 2 FROM generate_series(0, 199) AS s(n)",
    );
    for (sql, plan) in [
        ("SELECT * FROM t WHERE a = 3 AND b = 'k4'", "key ranges=1"),
        ("SELECT * FROM t WHERE a IN (3, 5, 5) AND b >= 'k8'", "key ranges=2"),
        ("SELECT * FROM t WHERE a BETWEEN 3 AND 4 ORDER BY a, b", "key ranges=1"),
        ("SELECT * FROM t WHERE c = 70", "index=t_c_idx, ranges=1"),
        ("SELECT * FROM t WHERE c > 100 AND c < 120", "index=t_c_idx, ranges=1"),
        ("SELECT * FROM t WHERE a = 3 OR a = 9", "key ranges=2"),
        ("SELECT * FROM t WHERE a > 17", "key ranges=1"),
    ] {
        let lines = rows(&world.session, &format!("EXPLAIN {sql}"), &[]).join("\n");
        assert!(lines.contains(plan), "{sql}\n{lines}");
        let mut found = rows(&world.session, sql, &[]);
        // The same without looking anything up.
        let slow =
            sql.replace(" a ", " a + 0 ").replace(" c ", " c + 0 ").replace(" b ", " b || '' ");
        let slow = slow.replace("ORDER BY a + 0 ", "ORDER BY a ").replace("ORDER BY a, b", "");
        let mut expected = rows(&world.session, &slow, &[]);
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{sql}");
        assert!(!found.is_empty(), "{sql}");
    }
    world.check("SELECT c FROM t WHERE b = 'k4' AND a = 3", &["68"]);
    world.check("SELECT c FROM t WHERE a = 3 AND b = 'nobody'", &[]);
    let params = [ScalarValue::Int32(Some(3)), ScalarValue::Utf8View(Some("k4".into()))];
    assert_eq!(
        rows(&world.session, "SELECT t.c, b FROM t WHERE a = $1 AND b = $2", &params),
        ["68 | k4"]
    );
}

/// The look-up of one key and the plan that DataFusion makes mean the same.
#[test]
fn native_look_ups_equal_plans() {
    let world = World::new();
    world.run("CREATE TABLE t (a bigint PRIMARY KEY, b text, c boolean)");
    world.run("INSERT INTO t SELECT n, 'v' || n, n % 2 = 0 FROM generate_series(-20, 20) AS s(n)");
    let mut random = Random(7);
    for _ in 0..200 {
        let a = random.below(60) as i64 - 30;
        let list = random.one(&["*", "b", "c, a", "x.b AS y, b", "a + 1"]);
        let condition = match random.below(4) {
            0 => format!("a = {a}"),
            1 => format!("{a} = x.a"),
            2 => format!("(a = {a}) AND a = {a}"),
            _ => format!("a = '{a}'"),
        };
        let sql = format!("SELECT {list} FROM t AS x WHERE {condition}");
        world.run("SET millrace.use_native = on");
        let native = rows(&world.session, &sql, &[]);
        world.run("SET millrace.use_native = off");
        assert_eq!(native, rows(&world.session, &sql, &[]), "{sql}");
    }
}

#[test]
fn updates_and_deletes() {
    let world = world();
    world.run("INSERT INTO parts (plant, price) VALUES (1, 1), (1, 2), (2, 3)");
    assert_eq!(world.run("UPDATE parts SET price = price + 1 WHERE id = 2"), "UPDATE 1");
    assert_eq!(
        world.run("UPDATE parts SET price = price * 2, note = 'x' || id WHERE plant = 1"),
        "UPDATE 2"
    );
    world.check(
        "SELECT id, price, note FROM parts ORDER BY id",
        &["1 | 2.00 | x1", "2 | 6.00 | x2", "3 | 3.00 | ∅"],
    );
    world.run("UPDATE parts SET price = DEFAULT, note = NULL WHERE id = 1");
    world.check("SELECT price, note FROM parts WHERE id = 1", &["1.50 | ∅"]);
    // Keys may swap and move on.
    world.run("UPDATE parts SET id = id + 1");
    world.check("SELECT id FROM parts ORDER BY id", &["2", "3", "4"]);
    world.run("UPDATE plants SET name = CASE id WHEN 1 THEN 'south' ELSE 'north' END");
    world.check("SELECT id, name FROM plants WHERE name = 'south'", &["1 | south"]);
    assert_eq!(
        world.run("UPDATE parts SET note = p.name FROM plants p WHERE p.id = parts.plant AND p.name = 'south'"),
        "UPDATE 2"
    );
    assert_eq!(world.run("DELETE FROM parts WHERE id = 2"), "DELETE 1");
    assert_eq!(world.run("DELETE FROM parts WHERE id = 2"), "DELETE 0");
    assert_eq!(
        world.run("DELETE FROM parts USING plants p WHERE p.id = plant AND p.name = 'north'"),
        "DELETE 1"
    );
    assert_eq!(world.run("DELETE FROM parts"), "DELETE 1");
    world.check("SELECT count(*) FROM parts", &["0"]);
    assert_eq!(world.run("UPDATE parts SET price = 1 WHERE id = 7"), "UPDATE 0");
}

#[test]
fn returning_gives_any_expression() {
    let world = world();
    world.check(
        "INSERT INTO parts (plant) VALUES (1), (2) RETURNING id, price * 2 AS twice, parts.plant",
        &["1 | 3.00 | 1", "2 | 3.00 | 2"],
    );
    world.check(
        "UPDATE parts SET price = price + 1 WHERE id = 1 RETURNING price, price > 2",
        &["2.50 | true"],
    );
    world
        .check("UPDATE parts AS p SET note = 'n' RETURNING p.id, upper(note)", &["1 | N", "2 | N"]);
    world.check("DELETE FROM parts WHERE id = 2 RETURNING id, note", &["2 | n"]);
    assert_eq!(
        columns(&world.session, "DELETE FROM plants RETURNING *, 1 + 1"),
        ["id", "name", "opened", "?column?"]
    );
    assert_eq!(world.fails("DELETE FROM parts RETURNING (SELECT 1)").code, "0A000");
    assert_eq!(world.fails("DELETE FROM parts RETURNING nobody").code, "42703");
    assert_eq!(world.fails("DELETE FROM parts RETURNING count(*)").code, "42803");
    world.check("SELECT count(*) FROM parts", &["1"]);
}

#[test]
fn on_conflict_in_full() {
    let world = world();
    assert_eq!(
        world.run(
            "INSERT INTO plants VALUES (1, 'x'), (3, 'west'), (3, 'twice') ON CONFLICT DO NOTHING"
        ),
        "INSERT 0 1"
    );
    assert_eq!(
        world.run("INSERT INTO plants VALUES (9, 'north') ON CONFLICT (name) DO NOTHING"),
        "INSERT 0 0"
    );
    assert_eq!(
        world.fails("INSERT INTO plants VALUES (1, 'new') ON CONFLICT (name) DO NOTHING").code,
        "23505"
    );
    world.check(
        "INSERT INTO plants AS p VALUES (1, 'n'), (4, 'east') ON CONFLICT (id) DO UPDATE
           SET name = p.name || '+' || excluded.name, opened = '2021-01-01' WHERE p.id < 3 RETURNING id, name",
        &["1 | north+n", "4 | east"],
    );
    world.check(
        "INSERT INTO plants VALUES (4, 'e2') ON CONFLICT ON CONSTRAINT plants_pkey DO UPDATE SET name = 'no' WHERE plants.id = 0 RETURNING *",
        &[],
    );
    assert_eq!(
        world.fails("INSERT INTO plants VALUES (4, 'a'), (4, 'b') ON CONFLICT (id) DO UPDATE SET name = excluded.name").code,
        "21000"
    );
    assert_eq!(
        world.fails("INSERT INTO plants VALUES (4, 'a') ON CONFLICT (opened) DO NOTHING").code,
        "42P10"
    );
    assert_eq!(
        world.fails("INSERT INTO plants VALUES (4, 'a') ON CONFLICT DO UPDATE SET name = 'x'").code,
        "42601"
    );
    world.check(
        "SELECT id, name FROM plants ORDER BY id",
        &["1 | north+n", "2 | south", "3 | west", "4 | east"],
    );
}

#[test]
fn constraints_are_kept() {
    let world = world();
    for (sql, code, detail) in [
        ("INSERT INTO plants VALUES (1, 'again')", "23505", "Key (id)=(1) already exists."),
        ("INSERT INTO plants VALUES (7, 'north')", "23505", "Key (name)=(north) already exists."),
        ("INSERT INTO plants VALUES (7)", "23502", "Failing row contains (7, null, null)."),
        ("INSERT INTO plants VALUES (NULL, 'x')", "23502", "Failing row contains (null, x, null)."),
        (
            "INSERT INTO parts (plant) VALUES (9)",
            "23503",
            "Key (plant)=(9) is not present in table \"plants\".",
        ),
        ("UPDATE plants SET id = 1 WHERE id = 2", "23505", "Key (id)=(1) already exists."),
    ] {
        let error = world.fails(sql);
        assert_eq!((error.code, error.detail.as_deref()), (code, Some(detail)), "{sql}");
    }
    assert_eq!(world.fails("INSERT INTO parts (price) VALUES (-1)").code, "23514");
    assert_eq!(world.fails("INSERT INTO parts (note) VALUES ('abcdef')").code, "22001");
    assert_eq!(world.fails("INSERT INTO parts (price) VALUES (123456789)").code, "22003");
    assert_eq!(world.fails("INSERT INTO parts (price) VALUES ('x')").code, "22P02");
    assert_eq!(world.fails("INSERT INTO parts (plant) VALUES (true)").code, "42804");
    world.run("INSERT INTO parts (plant, price) VALUES (1, NULL)");
    let error = world.fails("DELETE FROM plants WHERE id = 1");
    assert_eq!(error.code, "23503");
    assert_eq!(
        error.detail.as_deref(),
        Some("Key (id)=(1) is still referenced from table \"parts\".")
    );
    assert_eq!(world.fails("UPDATE plants SET id = 5 WHERE id = 1").code, "23503");
    world.run("UPDATE plants SET name = 'free' WHERE id = 1; DELETE FROM plants WHERE id = 2");
    world.check("SELECT count(*) FROM plants", &["1"]);
}

#[test]
fn foreign_keys_take_rows_along() {
    let world = World::new();
    world.run(
        "CREATE TABLE a (id int PRIMARY KEY, up int REFERENCES a ON DELETE CASCADE);
         CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a ON DELETE CASCADE ON UPDATE CASCADE);
         CREATE TABLE c (id int PRIMARY KEY, b int REFERENCES b ON DELETE SET NULL, a int REFERENCES a (id) ON DELETE RESTRICT)",
    );
    world.run("INSERT INTO a VALUES (1, NULL), (2, 1), (3, 2), (4, 4)");
    world.run(
        "INSERT INTO b VALUES (1, 1), (2, 3), (3, 4); INSERT INTO c VALUES (1, 1, 4), (2, 2, NULL)",
    );
    assert_eq!(world.fails("DELETE FROM a WHERE id = 4").code, "23503");
    assert_eq!(world.run("DELETE FROM a WHERE id = 1"), "DELETE 1");
    world.check("SELECT id FROM a", &["4"]);
    world.check("SELECT id, a FROM b", &["3 | 4"]);
    world.check("SELECT id, b FROM c ORDER BY id", &["1 | ∅", "2 | ∅"]);
    world.run("UPDATE c SET a = NULL; UPDATE a SET up = NULL; UPDATE a SET id = 40");
    world.check("SELECT a FROM b", &["40"]);
}

#[test]
fn copy_goes_in_and_out() {
    let world = world();
    let copy = |sql: &str, data: &str| {
        let statements = world.session.parse(sql).unwrap();
        block_on(world.session.execute(&statements[0], &[])).unwrap();
        block_on(world.session.copy_data(data.as_bytes()))
            .and_then(|()| block_on(world.session.copy_done()))
    };
    assert_eq!(
        copy(
            "COPY parts (plant, code, price, note) FROM STDIN",
            "1\tab\t1.5\t\\N\n2\t\\N\t\\N\ta\\tb\n"
        )
        .unwrap(),
        "COPY 2"
    );
    world.check(
        "SELECT id, plant, code, price, note FROM parts ORDER BY id",
        &["1 | 1 | ab | 1.50 | ∅", "2 | 2 | ∅ | ∅ | a\tb"],
    );
    let error = copy(
        "COPY plants FROM STDIN (FORMAT csv, HEADER)",
        "id,name,opened\n5,five,2020-01-01\n6,six,soon\n",
    )
    .unwrap_err();
    assert_eq!(error.code, "22007");
    assert_eq!(error.detail.as_deref(), Some("COPY plants, line 3, column opened: \"soon\""));
    assert_eq!(
        copy("COPY plants FROM STDIN", "5\tfive\t\\N\n1\tagain\t\\N\n").unwrap_err().code,
        "23505"
    );
    // Nothing of a COPY that fails is there.
    world.check("SELECT count(*) FROM plants", &["2"]);
    assert_eq!(copy("COPY plants FROM STDIN", "5\tfive\n").unwrap_err().code, "22P04");
}

#[test]
fn truncate_empties() {
    let world = world();
    world.run("INSERT INTO parts (plant) VALUES (1), (2)");
    assert_eq!(world.fails("TRUNCATE plants").code, "0A000");
    world.run("TRUNCATE plants, parts");
    world.check("SELECT count(*) FROM plants", &["0"]);
    world.check("SELECT count(*) FROM parts", &["0"]);
    world.run("INSERT INTO plants VALUES (1, 'north'); INSERT INTO parts (plant) VALUES (1)");
    world.check("SELECT id FROM parts", &["3"]);
    world.run("TRUNCATE plants RESTART IDENTITY CASCADE; INSERT INTO parts DEFAULT VALUES");
    world.check("SELECT id FROM parts", &["1"]);
}

#[test]
fn tables_without_a_key_take_equal_rows() {
    let world = World::new();
    world.run("CREATE TABLE log (note text, at timestamp)");
    world.run("INSERT INTO log VALUES ('a', '2026-01-01 10:00:00'), ('a', '2026-01-01 10:00:00'), (NULL, NULL)");
    world.check(
        "SELECT * FROM log",
        &["a | 2026-01-01T10:00:00", "a | 2026-01-01T10:00:00", "∅ | ∅"],
    );
    assert_eq!(world.run("UPDATE log SET note = 'b' WHERE note = 'a'"), "UPDATE 2");
    assert_eq!(world.run("DELETE FROM log WHERE note IS NULL"), "DELETE 1");
    world.run("SET timezone = 'Europe/Berlin'; INSERT INTO log VALUES ('c', '2026-07-01 10:00:00+00'::timestamptz)");
    world.check("SELECT at FROM log WHERE note = 'c'", &["2026-07-01T12:00:00"]);
}

#[test]
fn rows_that_take_over_keys_which_others_follow_are_refused() {
    let world = World::new();
    world.run("CREATE TABLE p (id int PRIMARY KEY)");
    world.run("CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p ON UPDATE CASCADE)");
    world.run("INSERT INTO p VALUES (1), (2)");
    world.run("INSERT INTO c VALUES (1, 1), (2, 2)");
    assert_eq!(world.fails("UPDATE p SET id = 3 - id").code, "0A000");
    world.check("SELECT id, p FROM c ORDER BY id", &["1 | 1", "2 | 2"]);
    world.run("UPDATE p SET id = id + 10");
    world.check("SELECT id, p FROM c ORDER BY id", &["1 | 11", "2 | 12"]);
}
