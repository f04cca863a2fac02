//! A late row changes the groups of its own series, and no others.

use futures::executor::block_on;

use super::super::harness::*;
use super::world;

/// Refreshes the first view; ranges and rows that were stored.
fn refresh(world: &World) -> (u64, u64) {
    let jobs = world.engine.jobs();
    let now = 1_767_312_000_000_000_000;
    let refreshed = block_on(jobs.refresh(&world.engine, 0, now)).unwrap();
    (refreshed.ranges, refreshed.rows)
}

/// 50 devices with a row in each of four hours.
fn filled(keys: &str, groups: &str) -> World {
    let (_, world) = world();
    let rows: Vec<String> = (0..200)
        .map(|n| {
            let (device, hour) = (n % 50, n / 50);
            let site = if device % 2 == 0 { "'s'" } else { "NULL" };
            format!("('d{device}', {site}, '2026-01-01 0{hour}:10:00+00', {n})")
        })
        .collect();
    world.run(&format!("INSERT INTO t (device, site, time, i) VALUES {}", rows.join(", ")));
    world.run(&format!(
        "CREATE MATERIALIZED VIEW hourly WITH (continuous, refresh_every = 'none') AS
         SELECT time_bucket('1 hour', time) AS hour, {keys}, count(*) AS n, sum(i) AS total
         FROM t GROUP BY 1, {groups}"
    ));
    assert_eq!(refresh(&world).0, 1);
    world
}

/// What is read is what the query gives.
fn look(world: &World, keys: &str, groups: &str) {
    let sorted = |sql: &str| {
        let mut found = rows(&world.session, sql, &[]);
        found.sort();
        found
    };
    world.run("SET millrace.use_aggregates = off");
    let plain = format!(
        "SELECT time_bucket('1 hour', time) AS hour, {keys}, count(*), sum(i) FROM t GROUP BY 1, {groups}"
    );
    assert_eq!(sorted("SELECT * FROM hourly"), sorted(&plain));
}

#[test]
fn late_rows_of_a_device_store_its_own_groups() {
    let world = filled("device AS d", "2");
    world.run("INSERT INTO t (device, time, i) VALUES ('d7', '2026-01-01 01:20:00+00', 1)");
    look(&world, "device AS d", "2");
    assert_eq!(refresh(&world), (1, 1));
    look(&world, "device AS d", "2");
    // A new device, and one whose group goes.
    world.run("INSERT INTO t (device, time, i) VALUES ('new', '2026-01-01 02:20:00+00', 1)");
    let first = "time >= '2026-01-01 00:00:00+00' AND time < '2026-01-01 01:00:00+00'";
    world.run(&format!("DELETE FROM t WHERE device = 'd8' AND {first}"));
    look(&world, "device AS d", "2");
    assert_eq!(refresh(&world), (2, 1));
    look(&world, "device AS d", "2");
    world.check("SELECT count(*) FROM _materialized_0", &["200"]);
    world.run("UPDATE t SET i = 5 WHERE device = 'd9'");
    look(&world, "device AS d", "2");
    assert_eq!(refresh(&world), (1, 4));
    look(&world, "device AS d", "2");
    // What is of all series computes all.
    world.run(&format!("DELETE FROM t WHERE {first}"));
    look(&world, "device AS d", "2");
    assert_eq!(refresh(&world), (1, 0));
    look(&world, "device AS d", "2");
    world.check("SELECT max(changed_ranges) FROM sys.continuous_aggregates", &["0"]);
}

#[test]
fn groups_of_several_series_are_whole() {
    let world = filled("site", "2");
    // Of a device without a site: the group of all that have none.
    world.run("INSERT INTO t (device, time, i) VALUES ('d7', '2026-01-01 01:20:00+00', 1)");
    look(&world, "site", "2");
    assert_eq!(refresh(&world), (1, 1));
    look(&world, "site", "2");
    world.check(
        "SELECT n, total FROM hourly WHERE site IS NULL AND hour = '2026-01-01 01:00:00+00'",
        &["26 | 1876"],
    );
    let world = filled("site, device", "2, 3");
    world.run(
        "INSERT INTO t (device, site, time, i) VALUES ('d2', 's', '2026-01-01 01:20:00+00', 1),
         ('d3', NULL, '2026-01-01 03:20:00+00', 1), ('d2', 't', '2026-01-01 00:20:00+00', 1)",
    );
    look(&world, "site, device", "2, 3");
    assert_eq!(refresh(&world), (3, 3));
    look(&world, "site, device", "2, 3");
    world.check("SELECT count(*) FROM _materialized_0", &["201"]);
}

/// Late rows of more devices than are told apart are rows of all.
#[test]
fn rows_of_very_many_devices_store_all() {
    let world = filled("device", "2");
    let rows: Vec<String> =
        (0..70).map(|n| format!("('x{n}', '2026-01-01 02:30:00+00', {n})")).collect();
    world.run(&format!("INSERT INTO t (device, time, i) VALUES {}", rows.join(", ")));
    look(&world, "device", "2");
    assert_eq!(refresh(&world), (1, 120));
    look(&world, "device", "2");
}
