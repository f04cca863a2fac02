//! Values of types that DataFusion and PostgreSQL see differently: what they are, how they show.

use super::harness::*;

/// Statements of one value each, with it.
fn check_values(world: &World, values: &[(&str, &str)]) {
    for (sql, expect) in values {
        world.check(&format!("SELECT {sql}"), &[expect]);
    }
}

/// Expressions that are refused, with the code.
fn check_refused(world: &World, refused: &[(&str, &str)]) {
    for (sql, code) in refused {
        assert_eq!(world.fails(&format!("SELECT {sql}")).code, *code, "{sql}");
    }
}

#[test]
fn windows_are_ordered_by_uuids_and_bytes() {
    let world = World::new();
    world.run("CREATE TABLE t (id int PRIMARY KEY, u uuid, b bytea)");
    world.run(
        "INSERT INTO t VALUES (1, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\\x01'),
         (2, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\\x02'), (3, NULL, '\\x02')",
    );
    world.check(
        "SELECT id, sum(id) OVER (ORDER BY u), rank() OVER (ORDER BY b) FROM t ORDER BY id",
        &["1 | 3 | 1", "2 | 3 | 2", "3 | 6 | 2"],
    );
    let refused = "sum(id) OVER (ORDER BY u RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t";
    check_refused(&world, &[(refused, "0A000")]);
    check_values(
        &world,
        &[("max(n) FROM (SELECT rank() OVER (ORDER BY u) AS n FROM t) AS r", "3")],
    );
}

#[test]
fn casts_to_lengths_cut() {
    let world = World::new();
    check_values(
        &world,
        &[
            ("'abc'::varchar(2), CAST('größe' AS character varying(3))", "ab | grö"),
            ("12345::varchar(2), true::char(2), NULL::varchar(2)", "12 | tr | ∅"),
            ("'abcd'::char(3), 'a'::char(3), 'abc'::char", "abc | a   | a"),
            (
                "'a'::char(3) || 'x', length('a '::char(3)), 'a'::char(2) = 'a'::char(3)",
                "ax | 1 | true",
            ),
            (
                "s.x, s.y FROM (SELECT x::varchar(1), t.x::char(2) AS y FROM (VALUES ('abc')) AS t(x)) AS s",
                "a | ab",
            ),
            ("x::varchar(1), x::varchar(2) FROM (VALUES ('abc')) AS t(x)", "a | ab"),
        ],
    );
    check_refused(&world, &[("'a'::varchar(0)", "22023"), ("'a'::char(99999999)", "22023")]);
    let called = columns(
        &world.session,
        "SELECT 'a'::char(2), 'a'::varchar(2), x::char(2) FROM (VALUES ('a')) AS t(x)",
    );
    assert_eq!(called, ["bpchar", "varchar", "x"]);
    // What is kept has no blanks at its end, as values of char(n) have none.
    world.run("CREATE TABLE kept AS SELECT 'a'::char(3) AS c");
    check_values(&world, &[("c || '.' FROM kept", "a.")]);
}

#[test]
fn joined_booleans_are_letters() {
    let world = World::with_presses();
    check_values(
        &world,
        &[
            (
                "concat(true, 1, false), concat_ws('-', true, NULL::boolean), true || 'x'",
                "t1f | t | truex",
            ),
            ("concat(true::text, 1 = 2)", "truef"),
            ("concat(running, '.') FROM press WHERE device = 'p3'", "."),
            ("concat(running, '.') FROM press WHERE note = 'c'", "f."),
        ],
    );
    world.run("CREATE TABLE flags (b boolean PRIMARY KEY, s text DEFAULT concat(true), CHECK (concat(b) <> 'f'))");
    world.run("INSERT INTO flags (b) VALUES (true)");
    assert_eq!(world.fails("INSERT INTO flags (b) VALUES (false)").code, "23514");
    check_values(&world, &[("s FROM flags", "t")]);
}

#[test]
fn uuids_are_chosen_beside_literals() {
    let world = World::new();
    world.run("CREATE TABLE t (id int PRIMARY KEY, u uuid, s text)");
    world.run("INSERT INTO t VALUES (1, NULL, 'x')");
    let (low, high) =
        ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
    check_values(
        &world,
        &[
            (
                &format!("coalesce(u, '{low}')::text, coalesce('{high}', u)::text FROM t"),
                &format!("{low} | {high}"),
            ),
            (
                &format!(
                    "greatest('{low}'::uuid, '{high}')::text, least('{low}'::uuid, '{high}')::text"
                ),
                &format!("{high} | {low}"),
            ),
        ],
    );
    check_refused(
        &world,
        &[
            ("coalesce(u, 'nonsense') FROM t", "22P02"),
            ("coalesce(u, s) FROM t", "42804"),
            ("coalesce(u, 1) FROM t", "42804"),
        ],
    );
}

#[test]
fn series_are_called_as_in_postgres() {
    let world = World::new();
    check_values(
        &world,
        &[
            ("sum(generate_series) FROM generate_series(1, 3)", "6"),
            ("sum(generate_series.generate_series) FROM generate_series(1, 3)", "6"),
            ("sum(g) FROM generate_series(1, 3) g", "6"),
            ("sum(g.n) FROM generate_series(1, 3) g(n)", "6"),
            ("sum(generate_series + g) FROM generate_series(1, 2), generate_series(1, 2) g", "12"),
        ],
    );
    check_refused(&world, &[("value FROM generate_series(1, 3)", "42703")]);
}
