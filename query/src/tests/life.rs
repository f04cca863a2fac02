//! The life of data as a DBA drives it: options of tables, and what `sys` tells.

use super::harness::*;

/// A table of which half is older than its retention will be.
fn world() -> World {
    let world = World::new();
    world.run(
        "CREATE TABLE t (device text, time timestamptz, v float8, PRIMARY KEY (device, time))
         WITH (partition_by = '1 day')",
    );
    world.run(
        "INSERT INTO t VALUES ('a', now() - interval '40 days', 1), ('a', now(), 2),
         ('b', now() - interval '400 days', 3)",
    );
    world
}

#[test]
fn retention_takes_effect_with_its_statement() {
    let world = world();
    world.run("ALTER TABLE t SET (retention = '1 year')");
    world.check("SELECT device, v FROM t ORDER BY v", &["a | 1.0", "a | 2.0"]);
    world.check("SELECT retention_seconds, cut < now() FROM sys.tables", &["31536000 | true"]);
    // The newest row of b is gone with the rest.
    world.check("SELECT device, v FROM t ORDER BY time DESC LIMIT 1", &["a | 2.0"]);
    world.run("ALTER TABLE t SET (retention = '30 days')");
    world.check("SELECT count(*), max(v) FROM t", &["1 | 2.0"]);
    // Late rows are dropped, and the tag tells.
    let late = "INSERT INTO t VALUES ('c', now() - interval '35 days', 4), ('c', now(), 5)";
    assert_eq!(world.run(late), "INSERT 0 1");
    world.check("SELECT value FROM sys.stats WHERE name = 'rows_expired'", &["1"]);
    world.run("ALTER TABLE t RESET (retention)");
    world.check("SELECT retention_seconds, cut FROM sys.tables", &["∅ | ∅"]);
    world.check("SELECT count(*) FROM t", &["2"]);
    assert_eq!(world.run(late), "INSERT 0 2");
    world.check("SELECT count(*) FROM t", &["4"]);
}

#[test]
fn options_are_reset() {
    let world = world();
    world.run("ALTER TABLE t SET (retention = '10 years', archive_after = '1 year')");
    world.run("ALTER TABLE IF EXISTS public.t RESET (retention, archive_after, partition_by)");
    world.check(
        "SELECT retention_seconds, archive_after_seconds, partition_seconds FROM sys.tables",
        &["∅ | ∅ | 86400"],
    );
    assert_eq!(world.run("ALTER TABLE IF EXISTS nowhere RESET (retention)"), "ALTER TABLE");
    for (sql, code) in [
        ("ALTER TABLE nowhere RESET (retention)", "42P01"),
        ("ALTER TABLE t RESET (x)", "22023"),
        ("ALTER TABLE t RESET ()", "42601"),
        ("ALTER TABLE t RESET (retention", "42601"),
        ("ALTER TABLE t RESET retention", "42601"),
        ("ALTER TABLE t RESET (retention) now", "42601"),
    ] {
        let error = world.fails(sql);
        assert_eq!(error.code, code, "{sql}: {error:?}");
    }
}
