//! Sugar and the SQL that it stands for.

use crate::tests::harness::World;

#[test]
fn sample_by_needs_its_parts() {
    let world = World::with_presses();
    for (sql, code) in [
        ("SELECT time, avg(temperature) FROM press SAMPLE BY", "42601"),
        ("SELECT time, avg(temperature) FROM press SAMPLE BY 1q", "42601"),
        ("SELECT * FROM press SAMPLE BY 1h", "42601"),
        ("SELECT avg(temperature) FROM press SAMPLE BY 1h FILL(1, 2)", "42601"),
        ("SELECT avg(temperature) FROM press SAMPLE BY 1h FILL(", "42601"),
        ("SELECT avg(temperature) FROM press SAMPLE BY 1h ALIGN TO FIRST OBSERVATION", "0A000"),
        ("SELECT avg(temperature) FROM press SAMPLE BY 1h FROM '2026-01-01'", "42601"),
        (
            "SELECT avg(temperature) FROM press SAMPLE BY 1h ALIGN TO CALENDAR WITH OFFSET 'x'",
            "22023",
        ),
        (
            "SELECT * FROM press a JOIN press b ON a.time = b.time LATEST ON a.time PARTITION BY \
          a.device",
            "0A000",
        ),
        (
            "SELECT * FROM press a ASOF JOIN press b MATCH_CONDITION (a.time = b.time) \
          ON a.device = b.device",
            "42601",
        ),
        ("SELECT approx_percentile(temperature) FROM press", "42883"),
    ] {
        assert_eq!(world.fails(sql).code, code, "{sql}");
    }
    // Words that are no clauses.
    world.check("SELECT latest.strokes FROM press latest ORDER BY 1 LIMIT 1", &["1"]);
}

#[test]
fn pivot_makes_columns_of_values() {
    let world = World::with_presses();
    let from = "FROM (SELECT site, device, strokes FROM press) AS t";
    world.check(
        &format!("SELECT * {from} PIVOT (sum(strokes) FOR device IN ('p1', 'p2' AS second, 'none')) AS p ORDER BY site"),
        &["north | 6 | 21 | ∅", "∅ | ∅ | ∅ | ∅"],
    );
    let names = |sql: &str| crate::tests::harness::columns(&world.session, sql);
    assert_eq!(
        names(&format!(
            "SELECT * {from} PIVOT (sum(strokes), count(*) AS n FOR device IN ('p1', 'p2' AS b))"
        )),
        ["site", "p1_sum", "p1_n", "b_sum", "b_n"]
    );
    world.check(
        &format!("SELECT p1_sum, b_n {from} PIVOT (sum(strokes), count(*) AS n FOR device IN ('p1', 'p2' AS b)) AS p WHERE site = 'north'"),
        &["6 | 2"],
    );
    world.check(
        &format!("SELECT p1, x {from} PIVOT (sum(strokes) FOR device IN ('p1', 'nobody' AS x) DEFAULT ON NULL (0)) AS p ORDER BY site"),
        &["6 | 0", "0 | 0"],
    );
    // Two columns at once, no groups, NULL as a value, a WITH, and one in the other.
    world.check(
        "SELECT * FROM (SELECT device, running, strokes FROM press) AS t PIVOT (max(strokes) FOR (device, running) IN (('p1', true) AS up, ('p1', false) AS down, ('p3', NULL) AS unknown)) AS p",
        &["2 | 3 | 100"],
    );
    world.check(
        "WITH t AS (SELECT site, device, strokes FROM press), u AS (SELECT * FROM t PIVOT (sum(strokes) FOR device IN ('p1' AS a, 'p2' AS b))) \
         SELECT * FROM u UNPIVOT (total FOR device IN (a, b AS 'B')) ORDER BY device",
        &["north | B | 21", "north | a | 6"],
    );
    world.run("CREATE VIEW wide AS SELECT * FROM (SELECT site, device, strokes FROM press) AS t PIVOT (sum(strokes) FOR device IN ('p1' AS a)) AS p");
    world.check("SELECT a FROM wide WHERE site = 'north'", &["6"]);
    for (sql, code) in [
        (
            "SELECT * FROM press PIVOT (sum(strokes) FOR device IN (SELECT device FROM press)) AS p",
            "0A000",
        ),
        ("SELECT * FROM press PIVOT (sum(strokes) FOR device IN (ANY)) AS p", "0A000"),
        ("SELECT * FROM press PIVOT (sum(nothing) FOR device IN ('a')) AS p", "42703"),
        ("SELECT * FROM press PIVOT (sum(strokes) FOR nothing IN ('a')) AS p", "42703"),
        ("SELECT * FROM press PIVOT (sum(strokes) FOR (device, site) IN ('a')) AS p", "42601"),
        ("SELECT * FROM nowhere PIVOT (sum(strokes) FOR device IN ('a')) AS p", "42P01"),
        ("SELECT * FROM press UNPIVOT (v FOR n IN (nothing)) AS p", "42703"),
        ("SELECT * FROM press UNPIVOT ((a, b) FOR n IN (strokes)) AS p", "0A000"),
    ] {
        assert_eq!(world.fails(sql).code, code, "{sql}");
    }
}

#[test]
fn unpivot_makes_rows_of_columns() {
    let world = World::with_presses();
    let from = "FROM (SELECT device, temperature, strokes FROM press WHERE device = 'p2') AS t";
    world.check(
        &format!("SELECT * {from} UNPIVOT (value FOR field IN (temperature, strokes AS 'n')) AS u ORDER BY field, value"),
        &["p2 | n | 10.0", "p2 | n | 11.0", "p2 | temperature | 30.0"],
    );
    world.check(
        &format!("SELECT field, value {from} UNPIVOT INCLUDE NULLS (value FOR field IN (temperature)) AS u ORDER BY value"),
        &["temperature | 30.0", "temperature | ∅"],
    );
}

#[test]
fn pivots_are_groups_with_filters() {
    let world = World::new();
    world.run("CREATE TABLE p (time timestamptz, k text, g text, x bigint, PRIMARY KEY (k, time))");
    let mut random = crate::tests::harness::Random(3);
    let rows: Vec<String> = (0..300)
        .map(|n| {
            let (k, g) = (random.below(4), random.below(3));
            let x = if random.below(5) == 0 {
                "NULL".to_string()
            } else {
                random.below(100).to_string()
            };
            let g = if g == 0 { "NULL".to_string() } else { format!("'g{g}'") };
            format!("(to_timestamp({n}), 'k{k}', {g}, {x})")
        })
        .collect();
    world.run(&format!("INSERT INTO p VALUES {}", rows.join(", ")));
    let shown = |sql: &str| crate::tests::harness::rows(&world.session, sql, &[]);
    for aggregate in ["sum(x)", "count(*)", "count(x)", "min(x)", "max(x)", "avg(x)"] {
        let x = if aggregate == "count(*)" { "" } else { ", x" };
        let pivot = shown(&format!(
            "SELECT * FROM (SELECT g, k{x} FROM p) AS t PIVOT ({aggregate} FOR k IN ('k0', 'k1', 'k9')) AS q ORDER BY g"
        ));
        let twin: Vec<String> = ["k0", "k1", "k9"]
            .iter()
            .map(|k| format!("{aggregate} FILTER (WHERE k = '{k}')"))
            .collect();
        let twin = shown(&format!("SELECT g, {} FROM p GROUP BY g ORDER BY g", twin.join(", ")));
        assert_eq!(pivot, twin, "{aggregate}");
    }
    let rows =
        shown("SELECT * FROM p UNPIVOT INCLUDE NULLS (v FOR c IN (k, g)) AS u ORDER BY time, c");
    let twin = shown(
        "SELECT time, x, c, v FROM (SELECT time, x, 'k' AS c, k AS v FROM p UNION ALL SELECT time, x, 'g', g FROM p) AS u ORDER BY time, c",
    );
    assert_eq!(rows, twin);
}
