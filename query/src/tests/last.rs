//! Newest rows: the cache and the plain path must agree.

use super::harness::*;

/// Runs with and without the cache; whether the cache was used must be as expected.
fn check(world: &World, sql: &str, cached: bool) {
    let with = rows(&world.session, sql, &[]);
    let plan = rows(&world.session, &format!("EXPLAIN {sql}"), &[]).join("\n");
    assert_eq!(plan.contains("LastRows"), cached, "{sql}\n{plan}");
    let told = described(&world.session, sql);
    world.run("SET millrace.use_native = off");
    assert_eq!(with, rows(&world.session, sql, &[]), "planned: {sql}");
    assert_eq!(told, described(&world.session, sql), "planned: {sql}");
    world.run("RESET millrace.use_native");
    world.run("SET millrace.use_last_cache = off");
    let without = rows(&world.session, sql, &[]);
    let plan = rows(&world.session, &format!("EXPLAIN {sql}"), &[]).join("\n");
    assert!(!plan.contains("LastRows"), "{plan}");
    world.run("RESET millrace.use_last_cache");
    assert_eq!(with, without, "{sql}");
}

#[test]
fn newest_rows_by_cache_and_by_scan() {
    let world = World::with_presses();
    for _ in 0..3 {
        for (sql, cached) in [
            ("SELECT DISTINCT ON (device) * FROM press ORDER BY device, time DESC", true),
            (
                "SELECT DISTINCT ON (device, site) time, strokes, device FROM press
              ORDER BY site, device DESC, time DESC",
                true,
            ),
            (
                "SELECT DISTINCT ON (site) site, time, strokes + 1 AS s FROM press
              ORDER BY site, time DESC",
                true,
            ),
            (
                "SELECT DISTINCT ON (p.device) p.device, p.temperature FROM press p
              WHERE p.device <> 'p2' AND p.site IS NOT NULL ORDER BY p.device, p.time DESC",
                true,
            ),
            (
                "SELECT DISTINCT ON (device) device, note FROM press
              WHERE time > '2026-01-01 00:02:00+00' ORDER BY device, time DESC",
                true,
            ),
            (
                "SELECT DISTINCT ON (device) device, note FROM press
              WHERE time >= '2030-01-01' ORDER BY device, time DESC",
                true,
            ),
            (
                "SELECT DISTINCT ON (device) device, strokes FROM press
              ORDER BY device DESC, time DESC LIMIT 2",
                true,
            ),
            // Not the newest, or not by keys, or cut by what the cache does not know.
            ("SELECT DISTINCT ON (device) device, strokes FROM press ORDER BY device, time", false),
            (
                "SELECT DISTINCT ON (device) device, strokes FROM press
              WHERE strokes < 3 ORDER BY device, time DESC",
                false,
            ),
            (
                "SELECT DISTINCT ON (device) device, strokes FROM press
              WHERE time < '2026-01-01 00:01:00+00' ORDER BY device, time DESC",
                false,
            ),
            (
                "SELECT DISTINCT ON (running) running, strokes FROM press
              ORDER BY running, time DESC, strokes",
                false,
            ),
            (
                "SELECT DISTINCT ON (device) device, strokes FROM press
              ORDER BY device, time DESC, strokes",
                false,
            ),
        ] {
            check(&world, sql, cached);
        }
        world.run("CHECKPOINT");
        world.run(
            "INSERT INTO press (time, device, site, strokes) VALUES
            ('2026-01-01 00:00:15+00', 'p1', 'north', 400),
            (timestamptz '2026-01-02' + interval '1 minute' * 3, 'p1', 'south', 500)",
        );
    }
}

#[test]
fn answers_are_right_not_only_equal() {
    let world = World::with_presses();
    world.check(
        "SELECT DISTINCT ON (device) device, time, strokes, note FROM press
        ORDER BY device, time DESC",
        &[
            "p1 | 2026-01-01T00:02:00Z | 3 | c",
            "p2 | 2026-01-01T01:00:30Z | 11 | e",
            "p3 | 2026-01-01T00:00:00Z | 100 | f",
        ],
    );
    world.check(
        "SELECT count(*) FROM (SELECT DISTINCT ON (site) * FROM press
        ORDER BY site, time DESC) t",
        &["2"],
    );
}
