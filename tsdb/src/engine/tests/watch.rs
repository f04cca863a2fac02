//! Watches: every change before their time is noted, also across flushes, starts and crashes, and
//! only what was noted before the last raising is settled.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::engine::watch::{WATCHES_MAX, Watch, WatchChange};
use crate::io::{MemoryStorage, Storage};
use crate::types::{Key, SeriesRef, TableId, TimeRange, WriteBatch};
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

/// A late row of one series says nothing of the others, whether the series is old or new.
#[test]
fn what_single_series_have_changed_is_told_apart() {
    let storage = MemoryStorage::new();
    let db = open(&storage, options());
    let id = table(&db, None);
    change(&db, id, WatchChange::Begin { grain: HOUR }).unwrap();
    change(&db, id, WatchChange::Raise { until: 10 * HOUR }).unwrap();
    write(&db, id, "k0", &[at(20.0)]);
    let keys: Vec<u8> = (0..KEYS).collect();
    // The newest rows make series known, in the order of the record.
    let mut mixed = burst(id, &[5, 1, 3], at(30.0));
    mixed.times[1] = at(2.5);
    db.execute(Command::Write(mixed)).unwrap();
    let hours = |range: TimeRange| (range.min / HOUR, range.max / HOUR);
    let some = |db: &Db| {
        let some = watch(db, id).changed_of_some();
        some.into_iter().map(|(series, range)| (series, hours(range))).collect::<Vec<_>>()
    };
    let of = |key| number(&db, id, key).unwrap();
    assert_eq!(some(&db), [(of(1), (2, 2))]);
    assert!(watch(&db, id).changed_of_all().is_empty());
    // A crash and a replay know the same.
    assert_eq!(watch(&replayed(&storage), id), watch(&db, id));
    // Too many at once are all.
    db.execute(Command::Write(burst(id, &keys, at(4.5)))).unwrap();
    let all: Vec<_> = watch(&db, id).changed_of_all().into_iter().map(hours).collect();
    assert_eq!(all, [(4, 4)]);
    assert_eq!(some(&db), [(of(1), (2, 2))]);
    // Only what was noted before the last raising is settled.
    let settle = |db: &Db| {
        let times = TimeRange::new(at(2.0), at(3.0) - 1);
        let series = vec![number(db, id, 1).unwrap()];
        change(db, id, WatchChange::SettleSeries { series, times }).unwrap();
    };
    settle(&db);
    assert_eq!(some(&db).len(), 1);
    change(&db, id, WatchChange::Raise { until: 0 }).unwrap();
    settle(&db);
    assert!(some(&db).is_empty());
    assert_eq!(watch(&db, id).changed_of_all().len(), 1);
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

/// Keys and times that a watcher has to hear of.
#[derive(Default)]
struct Truth {
    until: i64,
    before: BTreeSet<(u8, i64)>,
    since: BTreeSet<(u8, i64)>,
}

impl Truth {
    fn new() -> Truth {
        Truth { until: i64::MIN, ..Truth::default() }
    }

    fn note(&mut self, key: u8, times: impl IntoIterator<Item = i64>) {
        let late = times.into_iter().filter(|time| *time < self.until);
        self.since.extend(late.map(|time| (key, time)));
    }
}

/// Most keys there are: more than a command notes apart.
const KEYS: u8 = 90;

fn name(key: u8) -> String {
    format!("k{key}")
}

fn number(db: &Db, id: TableId, key: u8) -> Option<u32> {
    let table = db.snapshot().table_by_id(id).unwrap();
    table.series().lookup(&Key::new([(1, name(key).as_bytes())]))
}

/// Rows of several keys at one time.
fn burst(id: TableId, keys: &[u8], time: i64) -> WriteBatch {
    let series = |key: &u8| SeriesRef::Key(Key::new([(1, name(*key).as_bytes())]));
    WriteBatch {
        series: keys.iter().map(series).collect(),
        key_of_row: (0..keys.len() as u32).collect(),
        ..batch(id, "", &vec![time; keys.len()])
    }
}

fn step(db: &Db, id: TableId, random: &mut Random, truth: &mut Truth) {
    let hour = |random: &mut Random| random.below(100) as i64 * HOUR + random.below(3600) as i64;
    let span = |random: &mut Random| {
        let (from, to) = (hour(random), hour(random));
        TimeRange::new(from.min(to), from.max(to))
    };
    let touched = |times: TimeRange| {
        let hours = (0..100).map(|n| n * HOUR).chain([times.min, times.max]);
        hours.filter(move |time| times.contains(*time))
    };
    match random.below(12) {
        0..5 => {
            let times: Vec<i64> = (0..=random.below(4)).map(|_| hour(random)).collect();
            let key = random.below(3) as u8;
            db.commit(vec![Command::Write(batch(id, &name(key), &times))]).unwrap();
            truth.note(key, times);
        }
        5 => {
            let time = hour(random);
            let keys: Vec<u8> = (0..=random.below(u64::from(KEYS)) as u8).collect();
            db.commit(vec![Command::Write(burst(id, &keys, time))]).unwrap();
            keys.iter().for_each(|key| truth.note(*key, [time]));
        }
        6 => {
            let times = span(random);
            let selections = vec![Selection::Range { series: None, times }];
            db.commit(vec![Command::Delete { table: id, selections }]).unwrap();
            (0..KEYS).for_each(|key| truth.note(key, touched(times)));
        }
        7 => {
            let times = span(random);
            let keys = [random.below(3) as u8, random.below(u64::from(KEYS)) as u8];
            let named = keys.into_iter().filter_map(|key| Some((key, number(db, id, key)?)));
            let named: Vec<(u8, u32)> = named.collect();
            let selection = match random.below(2) {
                0 => {
                    let series = Some(named.iter().map(|(_, number)| *number).collect());
                    Selection::Range { series, times }
                }
                _ => Selection::Points {
                    series: named.iter().map(|(_, number)| *number).collect(),
                    times: vec![times.min; named.len()],
                },
            };
            let points = matches!(selection, Selection::Points { .. });
            db.commit(vec![Command::Delete { table: id, selections: vec![selection] }]).unwrap();
            for (key, _) in named {
                let all = touched(times).filter(|time| !points || *time == times.min);
                truth.note(key, all);
            }
        }
        8 | 9 => {
            let until = hour(random);
            change(db, id, WatchChange::Raise { until }).unwrap();
            truth.until = truth.until.max(until);
            truth.before.append(&mut truth.since);
        }
        10 => {
            let times = span(random);
            change(db, id, WatchChange::Settle { times, done: times.max }).unwrap();
            truth.before.retain(|(_, time)| !times.contains(*time));
        }
        _ => settle_series(db, id, (span(random), random.below(3) as u8), truth),
    }
}

/// Settles what is noted of one key by itself; the truth is what is noted of all besides.
fn settle_series(db: &Db, id: TableId, (times, key): (TimeRange, u8), truth: &mut Truth) {
    let Some(series) = number(db, id, key) else { return };
    change(db, id, WatchChange::SettleSeries { series: vec![series], times }).unwrap();
    // What was noted of all series stays, so a model of times alone cannot tell: what is not told
    // any more must have been of this key.
    let told = watch(db, id);
    truth.before.retain(|(of, time)| {
        let settled = *of == key && times.contains(*time);
        !settled || told.changed_of_all().iter().any(|range| range.contains(*time))
    });
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
    let mut truth = Truth::new();
    for at in 0..60 {
        let mut same = Random::new(seed << 8 | at);
        step(&twin, id, &mut same, &mut Truth::new());
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
        let (all, some) = (found.changed_of_all(), found.changed_of_some());
        for (key, time) in truth.before.iter().chain(&truth.since) {
            let series = number(&db, id, *key);
            let alone =
                |(of, range): &(u32, TimeRange)| Some(*of) == series && range.contains(*time);
            let known = all.iter().any(|range| range.contains(*time)) || some.iter().any(alone);
            // A delete names no series that is not there yet.
            let known = known || series.is_none();
            assert!(known, "seed {seed} step {at}: {key} {time} in {all:?} {some:?}");
        }
        assert_eq!(found, watch(&twin, id), "seed {seed} step {at}");
    }
    assert_eq!(watch(&replayed(&twin_storage), id), watch(&db, id), "seed {seed}");
}

#[test]
fn every_change_is_told() {
    seeds(0..40).for_each(run);
}
