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
