//! Watches: every change before their time is noted, also across flushes, starts and crashes, and
//! only what was noted before the last raising is settled.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::engine::watch::{WATCHES_MAX, Watch, WatchChange};
use crate::io::{MemoryStorage, Storage};
use crate::types::{TableId, TimeRange};
use crate::{Command, Db, Error, Options, Result, Selection};

use super::life::{HOUR, batch, table, write};
use super::random::Random;
use super::seeds;
use super::workload::{maintain, open};

const NUMBER: u32 = 7;

fn options() -> Options {
    Options { shards: 2, merge_fan_in: 2, background: false, ..Options::default() }
}

fn change(db: &Db, id: TableId, change: WatchChange) -> Result<()> {
    db.execute(Command::Watch { table: id, number: NUMBER, change }).map(|_| ())
}

fn watch(db: &Db, id: TableId) -> Watch {
    db.snapshot().table_by_id(id).unwrap().watch(NUMBER).unwrap().clone()
}

fn changed(db: &Db, id: TableId) -> Vec<(i64, i64)> {
    watch(db, id).changed().iter().map(|range| (range.min / HOUR, range.max / HOUR)).collect()
}

fn at(hours: f64) -> i64 {
    (hours * HOUR as f64) as i64
}

#[test]
fn what_is_late_is_noted_until_it_is_settled() {
    let storage = MemoryStorage::new();
    let mut db = open(&storage, options());
    let id = table(&db, None);
    let missing = change(&db, id, WatchChange::Raise { until: 0 });
    assert!(matches!(missing, Err(Error::NotFound(_))), "{missing:?}");
    change(&db, id, WatchChange::Begin { grain: HOUR }).unwrap();
    let twice = change(&db, id, WatchChange::Begin { grain: HOUR });
    assert!(matches!(twice, Err(Error::Exists(_))), "{twice:?}");
    write(&db, id, "a", &[at(1.5), at(2.5)]);
    assert!(changed(&db, id).is_empty());

    change(&db, id, WatchChange::Raise { until: 10 * HOUR }).unwrap();
    write(&db, id, "a", &[at(1.5), at(3.5), at(9.5), at(10.0)]);
    write(&db, id, "b", &[at(2.5), at(11.5)]);
    assert_eq!(changed(&db, id), [(1, 3), (9, 9)]);
    let times = TimeRange::new(at(6.5), i64::MAX);
    let range = Selection::Range { series: None, times };
    let points = Selection::Points { series: vec![0, 1], times: vec![at(5.1), at(30.0)] };
    let selections = vec![range, points];
    db.execute(Command::Delete { table: id, selections }).unwrap();
    assert_eq!(changed(&db, id), [(1, 3), (5, 9)]);

    // Nothing of it was noted before the last raising.
    let all = |done| WatchChange::Settle { times: TimeRange::ALL, done };
    change(&db, id, all(4)).unwrap();
    assert_eq!((changed(&db, id), watch(&db, id).done), (vec![(1, 3), (5, 9)], 4));
    change(&db, id, WatchChange::Raise { until: 0 }).unwrap();
    write(&db, id, "a", &[at(3.1)]);
    let some = WatchChange::Settle { times: TimeRange::new(at(2.0), at(7.0) - 1), done: 2 };
    change(&db, id, some).unwrap();
    assert_eq!(changed(&db, id), [(1, 1), (3, 3), (7, 9)]);
    assert_eq!((watch(&db, id).done, watch(&db, id).until), (4, 10 * HOUR));

    for flush in [false, true] {
        let before = watch(&db, id);
        if flush {
            db.checkpoint().unwrap();
        }
        db.close().unwrap();
        db = open(&storage, options());
        assert_eq!(watch(&db, id), before);
    }
    change(&db, id, WatchChange::End).unwrap();
    assert!(db.snapshot().table_by_id(id).unwrap().watch(NUMBER).is_none());
    for number in 0..WATCHES_MAX as u32 {
        let change = WatchChange::Begin { grain: 1 };
        let number = 100 + number;
        db.execute(Command::Watch { table: id, number, change }).unwrap();
    }
    let more = change(&db, id, WatchChange::Begin { grain: 1 });
    assert!(matches!(more, Err(Error::Invalid(_))), "{more:?}");
    db.execute(Command::DropTable { table: id }).unwrap();
    db.checkpoint().unwrap();
    db.close().unwrap();
    let db = open(&storage, options());
    assert!(db.snapshot().rows().scan(2, &[]).unwrap().is_empty());
}

/// The database as its log alone makes it.
fn replayed(storage: &MemoryStorage) -> Arc<Db> {
    let copy = storage.copy();
    let fresh = MemoryStorage::new();
    let logs = copy.list("log").unwrap().into_iter().map(|name| format!("log/{name}"));
    for path in ["database".to_owned()].into_iter().chain(logs) {
        fresh.put(&path, copy.bytes(&path).unwrap());
    }
    open(&fresh, options())
}

/// Times that a watcher has to hear of.
#[derive(Default)]
struct Truth {
    until: i64,
    before: BTreeSet<i64>,
    since: BTreeSet<i64>,
}

fn step(db: &Db, id: TableId, random: &mut Random, truth: &mut Truth) {
    let hour = |random: &mut Random| random.below(100) as i64 * HOUR + random.below(3600) as i64;
    match random.below(10) {
        0..5 => {
            let times: Vec<i64> = (0..=random.below(4)).map(|_| hour(random)).collect();
            let key = ["a", "b", "c"][random.below(3) as usize];
            db.commit(vec![Command::Write(batch(id, key, &times))]).unwrap();
            truth.since.extend(times.iter().filter(|time| **time < truth.until));
        }
        5 => {
            let (from, to) = (hour(random), hour(random));
            let times = TimeRange::new(from.min(to), from.max(to));
            let selections = vec![Selection::Range { series: None, times }];
            db.commit(vec![Command::Delete { table: id, selections }]).unwrap();
            let hours = (0..100).map(|n| n * HOUR).chain([times.min, times.max]);
            let gone = hours.filter(|time| times.contains(*time) && *time < truth.until);
            truth.since.extend(gone);
        }
        6 | 7 => {
            let until = hour(random);
            change(db, id, WatchChange::Raise { until }).unwrap();
            truth.until = truth.until.max(until);
            truth.before.append(&mut truth.since);
        }
        _ => {
            let (from, to) = (hour(random), hour(random));
            let times = TimeRange::new(from.min(to), from.max(to));
            change(db, id, WatchChange::Settle { times, done: to }).unwrap();
            truth.before.retain(|time| !times.contains(*time));
        }
    }
}

fn run(seed: u64) {
    let mut random = Random::new(seed ^ 0x0a7c);
    let small = Options { log_segment_bytes_max: 4096, ..options() };
    let (storage, twin_storage) = (MemoryStorage::new(), MemoryStorage::new());
    let mut db = open(&storage, small.clone());
    // Never flushes: its log stays whole.
    let twin = open(&twin_storage, options());
    let id = table(&db, None);
    assert_eq!(table(&twin, None), id);
    let grain = [1, 1_000, HOUR, 7 * HOUR][random.below(4) as usize];
    for db in [&db, &twin] {
        change(db, id, WatchChange::Begin { grain }).unwrap();
    }
    let mut truth = Truth { until: i64::MIN, ..Truth::default() };
    for at in 0..60 {
        let mut same = Random::new(seed << 8 | at);
        step(&twin, id, &mut same, &mut Truth { until: i64::MIN, ..Truth::default() });
        step(&db, id, &mut Random::new(seed << 8 | at), &mut truth);
        match random.below(8) {
            0 => maintain(&db, &mut random).unwrap(),
            1 => {
                db.close().unwrap();
                db = open(&storage, small.clone());
            }
            2 => {
                // What was synced is all that a crash leaves.
                let crashed = storage.crash_hard();
                assert_eq!(watch(&open(&crashed, small.clone()), id), watch(&db, id));
            }
            _ => {}
        }
        let found = watch(&db, id);
        let told = found.changed();
        for time in truth.before.iter().chain(&truth.since) {
            let known = told.iter().any(|range| range.contains(*time));
            assert!(known, "seed {seed} step {at}: {time} in {told:?}");
        }
        assert_eq!(found, watch(&twin, id), "seed {seed} step {at}");
    }
    assert_eq!(watch(&replayed(&twin_storage), id), watch(&db, id), "seed {seed}");
}

#[test]
fn every_change_is_told() {
    seeds(0..40).for_each(run);
}
