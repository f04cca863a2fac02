//! The life of data as a DBA drives it: options of tables, and what `sys` tells.

use std::sync::Arc;

use tsdb::io::MemoryStorage;
use tsdb::{Db, Options};

use super::harness::*;

/// A table of which half is older than its retention will be.
fn world() -> World {
    let world = World::new();
    world.run(
        "CREATE TABLE t (device text, time timestamptz, v float8, PRIMARY KEY (device, time))
         WITH (partition_by = '1 day')",
    );
    world.run(
        "INSERT INTO t (device, time, v) VALUES ('a', now() - interval '40 days', 1),
         ('a', now(), 2),
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
    // Late rows are dropped and counted; they fail nobody.
    let late = "INSERT INTO t (device, time, v)
                VALUES ('c', now() - interval '35 days', 4), ('c', now(), 5)";
    assert_eq!(world.run(late), "INSERT 0 2");
    world.check("SELECT count(*) FROM t", &["2"]);
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

/// A database with a store for its archive, and what lies there.
fn archiving() -> (World, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let archive_url = Some(format!("file://{}", folder.path().display()));
    let options = Options { background: false, shards: 2, archive_url, ..Options::default() };
    let world = World::over(Db::open(Arc::new(MemoryStorage::new()), options).unwrap());
    world.run(
        "CREATE TABLE t (device text, time timestamptz, v float8, PRIMARY KEY (device, time))
         WITH (partition_by = '1 day', archive_after = '30 days')",
    );
    world.run(
        "INSERT INTO t (device, time, v) VALUES ('a', '2020-01-01', 1), ('b', '2020-01-01', 2)",
    );
    world.run("VACUUM FULL t");
    world.run("INSERT INTO t (device, time, v) VALUES ('a', now(), 3)");
    world.run("VACUUM FULL t");
    (world, folder)
}

fn objects(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let databases = std::fs::read_dir(folder).unwrap();
    let databases = databases.map(|entry| entry.unwrap().path().join("archive"));
    let files = databases.flat_map(|database| std::fs::read_dir(database).unwrap());
    files.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn archived_partitions_answer_and_come_back() {
    let (world, folder) = archiving();
    world.check("SELECT count(*) FROM sys.partitions WHERE tier = 'hot'", &["2"]);
    let tended = world.engine.db().tend(tsdb::now_ns()).unwrap();
    assert_eq!((tended.archived, tended.failure), (1, None));
    assert_eq!(objects(folder.path()).len(), 1);
    let rows = ["a | 1.0", "b | 2.0", "a | 3.0"];
    world.check("SELECT device, v FROM t ORDER BY v", &rows);
    world.check("SELECT sum(v), count(*) FROM t WHERE time < '2021-01-01'", &["3.0 | 2"]);
    world.check(
        "SELECT count(*) FROM sys.partitions WHERE tier = 'archive' AND hot_bytes = 0",
        &["1"],
    );
    world.check(
        "SELECT tier, object LIKE 'file://%.part' FROM sys.parts ORDER BY tier",
        &["archive | true", "hot | ∅"],
    );
    // A late row and a delete, hot beside it.
    world.run("INSERT INTO t (device, time, v) VALUES ('c', '2020-01-01 01:00:00', 4)");
    world.run("DELETE FROM t WHERE device = 'b'");
    let rows = ["a | 1.0", "a | 3.0", "c | 4.0"];
    world.check("SELECT device, v FROM t ORDER BY v", &rows);
    world.run("ALTER TABLE t RESTORE FROM '2020-01-01' TO '2020-01-02' FOR '1 day'");
    world.check(
        "SELECT tier, state, archived_bytes FROM sys.partitions WHERE state = 'restored'",
        &["hot | restored | 0"],
    );
    world.check("SELECT device, v FROM t ORDER BY v", &rows);
    assert_eq!(world.engine.db().tend(tsdb::now_ns()).unwrap().archived, 0);
    for (sql, code) in [
        ("ALTER TABLE nowhere RESTORE", "42P01"),
        ("ALTER TABLE t RESTORE FROM 'soon'", "22007"),
        ("ALTER TABLE t RESTORE FROM '2021-01-01' TO '2020-01-01'", "22023"),
        ("ALTER TABLE t RESTORE FOR 'long'", "22007"),
        ("ALTER TABLE t RESTORE NOW", "42601"),
        ("ALTER TABLE t SET (archive = 's3://bucket/x')", "22023"),
    ] {
        let error = world.fails(sql);
        assert_eq!(error.code, code, "{sql}: {error:?}");
    }
}

#[test]
fn a_missing_object_is_named() {
    let (world, folder) = archiving();
    // Rows enough that they reach beyond the blocks kept with the index.
    let row = |at: u64| {
        let noise = at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let noise = (noise ^ noise >> 31).wrapping_mul(0x94d0_49bb_1331_11eb) >> 11;
        format!("('a', '2020-01-01 {:02}:{:02}:{:02}', {noise})", at / 3600, at / 60 % 60, at % 60)
    };
    let rows: Vec<String> = (1..=20_000).map(row).collect();
    world.run(&format!("INSERT INTO t (device, time, v) VALUES {}", rows.join(", ")));
    world.run("VACUUM FULL t");
    assert_eq!(world.engine.db().tend(tsdb::now_ns()).unwrap().archived, 1);
    let object = objects(folder.path()).remove(0);
    std::fs::remove_file(&object).unwrap();
    // What the index says needs no object.
    world.check("SELECT count(*) FROM t WHERE time < '2021-01-01'", &["20002"]);
    world.check("SELECT v FROM t WHERE time > '2021-01-01'", &["3.0"]);
    let error = world.fails("SELECT device, v FROM t");
    let name = object.file_name().unwrap().to_str().unwrap();
    assert!(error.code == "XX001" && error.message.contains(name), "{error:?}");
}

/// Sites in partitions of their own: what is told of them, and how one goes.
#[test]
fn tables_are_partitioned_by_key() {
    let world = World::new();
    world.run(
        "CREATE TABLE t (site text, \"Line\" bigint, time timestamptz, v float8,
         PRIMARY KEY (site, \"Line\", time)) WITH (partition_by = '1 day, SITE, \"Line\"')",
    );
    world.check(
        "SELECT partition_seconds, partition_columns FROM sys.tables",
        &["86400 | site, Line"],
    );
    world.check(
        "SELECT reloptions[1] FROM pg_class WHERE relname = 't'",
        &["partition_by=86400 seconds, site, \"Line\""],
    );
    world.run(
        "INSERT INTO t (site, \"Line\", time, v) VALUES ('a', 1, '2020-01-01', 1),
         ('a', 1, '2020-01-01 01:00:00', 2), ('b', -7, '2020-01-01', 3), ('b', NULL, '2020-01-01', 4),
         ('c', 1, '2020-01-01', 5), ('d', 1, '2020-01-01', 6)",
    );
    world.run("CHECKPOINT");
    world.check("SELECT keys, parts, rows FROM sys.partitions", &["∅ | 1 | 6"]);
    world.run("VACUUM FULL t");
    let of_b = ["site=b, Line=-7", "site=b, Line=NULL"];
    let others = ["site=a, Line=1", "site=c, Line=1", "site=d, Line=1"];
    let keys = [&others[..1], &of_b, &others[1..]].concat();
    world.check("SELECT keys FROM sys.parts ORDER BY keys", &keys);
    world.check(
        "SELECT keys, rows FROM sys.partitions ORDER BY rows DESC, keys LIMIT 2",
        &["site=a, Line=1 | 2", "site=b, Line=-7 | 1"],
    );
    world.check("SELECT sum(v), count(*) FROM t WHERE site = 'b'", &["7.0 | 2"]);
    world.run("DELETE FROM t WHERE site = 'b'");
    world.engine.db().merge_due().unwrap();
    world.check("SELECT keys FROM sys.parts ORDER BY keys", &others);
    world.check("SELECT v FROM t ORDER BY v", &["1.0", "2.0", "5.0", "6.0"]);
    world.run("ALTER TABLE t SET (partition_by = '1 hour, site')");
    world.check("SELECT partition_seconds, partition_columns FROM sys.tables", &["3600 | site"]);
    world.run("VACUUM FULL t");
    let keys = ["site=a", "site=c", "site=d"];
    world.check("SELECT DISTINCT keys FROM sys.partitions ORDER BY keys", &keys);
    world.run("ALTER TABLE t SET (partition_by = '1 day')");
    world.check("SELECT partition_columns FROM sys.tables", &["∅"]);
    world.run("ALTER TABLE t SET (partition_by = '1 day, site')");
    world.run("ALTER TABLE t RESET (partition_by)");
    world.check("SELECT partition_columns FROM sys.tables", &["∅"]);
    world.check("SELECT v FROM t ORDER BY v", &["1.0", "2.0", "5.0", "6.0"]);
}

#[test]
fn keys_beyond_the_most_are_shown_as_others() {
    let options = Options { background: false, partition_groups_max: 2, ..Options::default() };
    let world = World::over(Db::open(Arc::new(MemoryStorage::new()), options).unwrap());
    world.run(
        "CREATE TABLE t (site text, time timestamptz, v float8, PRIMARY KEY (site, time))
         WITH (partition_by = '1 day, site')",
    );
    world.run(
        "INSERT INTO t (site, time, v) VALUES ('a', now(), 1), ('b', now(), 2), ('c', now(), 3),
         ('d', now(), 4)",
    );
    world.run("VACUUM FULL t");
    world.check("SELECT rows FROM sys.partitions WHERE keys = 'site: others'", &["2"]);
    world.check("SELECT count(*) FROM sys.partitions WHERE keys LIKE 'site=%'", &["2"]);
    world.check("SELECT site, v FROM t ORDER BY v", &["a | 1.0", "b | 2.0", "c | 3.0", "d | 4.0"]);
}

#[test]
fn what_cannot_partition_is_refused() {
    let world = world();
    for (by, code) in [
        ("1 day, nowhere", "42703"),
        ("1 day, v", "22023"),
        ("1 day, time", "22023"),
        ("1 day, device, Device", "42701"),
        ("1 day,", "22023"),
        ("device", "22007"),
        ("1 day, a, b, c, d, e", "22023"),
    ] {
        let error = world.fails(&format!("ALTER TABLE t SET (partition_by = '{by}')"));
        assert_eq!(error.code, code, "{by}: {error:?}");
        let error = world.fails(&format!(
            "CREATE TABLE u (device text, time timestamptz, v float8, PRIMARY KEY (device, time))
             WITH (partition_by = '{by}')"
        ));
        assert_eq!(error.code, code, "{by}: {error:?}");
    }
    world.check("SELECT name, partition_columns FROM sys.tables", &["t | ∅"]);
}
