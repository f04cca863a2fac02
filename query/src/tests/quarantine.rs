//! Bad blocks by SQL: the error that names one, the setting that leaves its rows out and warns,
//! `sys.quarantine`.

use std::sync::Arc;

use tsdb::io::{MemoryStorage, Storage};
use tsdb::{Db, Options};

use super::harness::*;

fn open(storage: &MemoryStorage) -> World {
    let options = Options { background: false, shards: 2, ..Options::default() };
    World::over(Db::open(Arc::new(storage.clone()), options).unwrap())
}

/// Two days in a part each; of the first day, the block of column `n` is bad.
fn damaged() -> (MemoryStorage, World) {
    let storage = MemoryStorage::new();
    let world = open(&storage);
    world.run(
        "CREATE TABLE press (time timestamptz NOT NULL, device text NOT NULL, n bigint, note text,
         PRIMARY KEY (device, time))",
    );
    for day in ["2026-01-01", "2026-01-02"] {
        let rows: Vec<String> = (0..24)
            .map(|hour| {
                let number = hour * hour * 7919 % 100_003;
                format!("('{day} {hour:02}:00:00+00', 'p{}', {number}, 'x')", hour % 2)
            })
            .collect();
        world.run(&format!("INSERT INTO press (time, device, n, note) VALUES {}", rows.join(", ")));
        world.run("CHECKPOINT");
    }
    world.engine.db().close().unwrap();
    drop(world);
    let mut parts = storage.list("parts").unwrap();
    parts.retain(|name| name.ends_with(".part"));
    parts.sort_unstable();
    assert_eq!(parts.len(), 2);
    let path = format!("parts/{}", parts[0]);
    let sound = storage.bytes(&path).unwrap();
    // Whichever byte makes a query of `n` fail and one of `note` not is one of its block.
    for at in 64..sound.len() {
        let mut bad = sound.clone();
        bad[at] ^= 0x10;
        // Bad blocks of other tries would stay in quarantine.
        let storage = storage.copy();
        storage.put(&path, bad);
        let world = open(&storage);
        let notes = try_rows(&world.session, "SELECT time, note FROM press", &[]);
        let numbers = try_rows(&world.session, "SELECT n FROM press", &[]);
        if notes.is_ok() && numbers.is_err() {
            world.engine.db().close().unwrap();
            drop(world);
            return (storage.clone(), open(&storage));
        }
    }
    panic!("no byte of the part is one of the block");
}

#[test]
fn a_bad_block_is_named_and_can_be_left_out() {
    let (_storage, world) = damaged();
    let error = world.fails("SELECT n FROM press");
    assert_eq!(error.code, "XX001");
    for word in ["parts/", "column", "row group", "2026-01-01T00:00:00Z"] {
        assert!(error.message.contains(word), "{word} is not in {error}");
    }
    assert!(error.hint.unwrap().contains("millrace.skip_quarantined"));
    world.check(
        "SELECT \"table\", \"column\", first_time, last_time, cause, state FROM sys.quarantine",
        &["press | n | 2026-01-01T00:00:00Z | 2026-01-01T23:00:00Z | the crc differs | recorded"],
    );
    // Neither the column's other part nor other columns have to do with it.
    world.check("SELECT count(n) FROM press WHERE time >= '2026-01-02'", &["24"]);
    world.check("SELECT count(note) FROM press WHERE note = 'x'", &["48"]);
    assert_eq!(world.session.take_warnings(), []);

    world.run("SET millrace.skip_quarantined = on");
    for native in ["on", "off"] {
        world.run(&format!("SET millrace.use_native = {native}"));
        world.check(
            "SELECT count(*), min(time) FROM (SELECT n, time FROM press WHERE n >= 0) AS t",
            &["24 | 2026-01-02T00:00:00Z"],
        );
        let [warning] = &world.session.take_warnings()[..] else { panic!() };
        assert_eq!(warning.code, "01000");
        assert!(warning.detail.as_ref().unwrap().contains("column"), "{warning:?}");
        world.check("SELECT count(note) FROM press WHERE note = 'x'", &["48"]);
        assert_eq!(world.session.take_warnings(), []);
    }
    // What changes rows must find all of them.
    assert_eq!(world.fails("DELETE FROM press WHERE n >= 0").code, "XX001");
    assert_eq!(world.fails("UPDATE press SET note = 'y' WHERE n >= 0").code, "XX001");
    world.run("RESET millrace.skip_quarantined");
    assert_eq!(world.fails("SELECT n FROM press").code, "XX001");
}
