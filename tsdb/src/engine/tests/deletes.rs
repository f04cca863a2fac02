//! Deletes against everything that can lie between a row and its delete: flushes, merges, crashes
//! and other threads at every point.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::deletes::Selection;
use crate::io::{MemoryStorage, Storage};
use crate::types::*;
use crate::{Command, Db, Error, NewColumn, NewTable, Options, Outcome};

use super::hook::HookStorage;
use super::model::{Model, check, series_mark};
use super::workload::{numbered, only_known, open};

const MODES: [MergeMode; 3] = [MergeMode::LastNonNull, MergeMode::LastRow, MergeMode::Append];
const T: TableId = 1;

fn plain() -> Options {
    Options { background: false, shards: 2, merge_fan_in: 2, ..Options::default() }
}

fn create(mode: MergeMode) -> Command {
    let column =
        |name: &str, kind, key| NewColumn { name: name.into(), kind, key, not_null: false };
    Command::CreateTable(NewTable {
        name: "t".into(),
        time_name: "time".into(),
        columns: vec![
            column("device", ColumnType::Text, true),
            column("x", ColumnType::Int64, false),
            column("y", ColumnType::Int64, false),
        ],
        options: TableOptions {
            merge: mode,
            partition_ns: 100_000_000_000,
            ..TableOptions::default()
        },
        if_not_exists: false,
    })
}

fn key(device: &str) -> Key {
    Key::new([(1, device.as_bytes())])
}

fn mark(device: &str) -> u32 {
    series_mark(key(device).as_bytes())
}

/// Rows of one device; `column` 2 or 3 has the values.
fn write(device: &str, column: ColumnId, rows: &[(i64, i64)]) -> Command {
    Command::Write(WriteBatch {
        table: T,
        series: vec![SeriesRef::Key(key(device))],
        key_of_row: vec![0; rows.len()],
        times: rows.iter().map(|row| row.0).collect(),
        columns: vec![(column, Column::good(Values::Int(rows.iter().map(|r| r.1).collect())))],
    })
}

fn delete(selections: Vec<Selection>) -> Command {
    Command::Delete { table: T, selections }
}

fn range(device: Option<&str>, min: i64, max: i64) -> Selection {
    let series = device.map(|device| [mark(device)].into_iter().collect());
    Selection::Range { series, times: TimeRange::new(min, max) }
}

fn points(list: &[(&str, i64)]) -> Selection {
    let (series, times) = list.iter().map(|(device, time)| (mark(device), *time)).unzip();
    Selection::Points { series, times }
}

/// A database and its model.
struct Pair {
    db: Arc<Db>,
    storage: MemoryStorage,
    model: Model,
}

impl Pair {
    fn new(mode: MergeMode) -> Pair {
        let storage = MemoryStorage::new();
        let mut pair = Pair { db: open(&storage, plain()), storage, model: Model::default() };
        pair.commit(vec![create(mode)]);
        pair
    }

    fn commit(&mut self, mut commands: Vec<Command>) {
        only_known(&self.db, &mut commands);
        self.db.commit(numbered(&self.db, &commands)).unwrap().all().unwrap();
        self.model.apply(&commands);
    }

    fn check(&self, context: &str) {
        check(&self.db, &self.model, context);
    }

    /// Opens the database again, closed well or as a crash leaves it.
    fn reopen(&mut self, crash: bool) {
        if crash {
            self.storage = self.storage.crash(7);
        } else {
            self.db.close().unwrap();
        }
        self.db = open(&self.storage, plain());
    }

    fn parts(&self) -> usize {
        self.db.snapshot().table_by_id(T).unwrap().parts().len()
    }

    fn has_tombstones(&self) -> bool {
        let table = self.db.snapshot().table_by_id(T).unwrap();
        table.tombstones_overlap(0, 0..=u32::MAX, TimeRange::ALL)
    }
}

/// One step of a script.
fn step(pair: &mut Pair, what: u8, nth: i64) {
    match what {
        // Late, equal and new times.
        0 => pair.commit(vec![
            write("a", 2, &[(1, nth), (5, nth), (5 + nth, nth)]),
            write("b", 3, &[(3, nth), (200_000_000_000, nth)]),
        ]),
        1 => pair.commit(vec![
            delete(vec![range(Some("a"), 4, i64::MAX)]),
            write("a", 3, &[(5, -nth)]),
            write("b", 2, &[(3, 90), (4, 91)]),
            delete(vec![points(&[("b", 3), ("b", 200_000_000_000), ("a", 1)])]),
        ]),
        2 => pair.db.checkpoint().unwrap(),
        3 => pair.db.merge_full(None).unwrap(),
        4 => pair.reopen(nth % 2 == 0),
        _ => pair.commit(vec![delete(vec![range(None, i64::MIN, 4)])]),
    }
}

/// Every script of four steps behind a first write; of five with MILLRACE_ALL set.
fn every_script(mode: MergeMode) {
    let length = if std::env::var_os("MILLRACE_ALL").is_some() { 5 } else { 4 };
    for script in 0..6u32.pow(length) {
        let steps: Vec<u8> = (0..length).map(|at| (script / 6u32.pow(at) % 6) as u8).collect();
        // What flushes, merges or opens twice in a row shows nothing new.
        if steps.windows(2).any(|pair| pair[0] == pair[1] && (2..5).contains(&pair[0])) {
            continue;
        }
        let mut pair = Pair::new(mode);
        step(&mut pair, 0, 1);
        for (nth, what) in (2..).zip(&steps) {
            step(&mut pair, *what, nth);
            pair.check(&format!("{mode:?} {steps:?} step {nth}"));
        }
        pair.reopen(true);
        pair.check(&format!("{mode:?} {steps:?} crashed"));
        pair.db.checkpoint().unwrap();
        pair.db.merge_full(None).unwrap();
        pair.check(&format!("{mode:?} {steps:?} merged"));
        assert!(!pair.has_tombstones(), "{mode:?} {steps:?}");
    }
}

#[test]
fn every_script_keeps_last_non_null_tables_right() {
    every_script(MergeMode::LastNonNull);
}

#[test]
fn every_script_keeps_last_row_tables_right() {
    every_script(MergeMode::LastRow);
}

#[test]
fn every_script_keeps_append_tables_right() {
    every_script(MergeMode::Append);
}

/// Commits a write and a delete in the middle of `work`, at each of its operations on files.
fn at_every_operation(mode: MergeMode, work: impl Fn(&Db) -> crate::Result<()>) {
    for at in 0.. {
        let storage = MemoryStorage::new();
        let hooked = HookStorage::new(Arc::new(storage.clone()));
        let shared: Arc<dyn Storage> = Arc::new(hooked.clone());
        let db = Db::open(shared, plain()).unwrap();
        let mut pair = Pair { db, storage, model: Model::default() };
        pair.commit(vec![create(mode)]);
        let rows: Vec<(i64, i64)> = (0..40).map(|n| (n, n)).collect();
        pair.commit(vec![write("a", 2, &rows), write("b", 2, &rows)]);
        pair.db.checkpoint().unwrap();
        pair.commit(vec![write("a", 3, &rows[10..20]), delete(vec![range(Some("b"), 0, 3)])]);
        pair.db.checkpoint().unwrap();
        pair.commit(vec![write("a", 2, &[(7, 70), (39, 71)]), write("c", 2, &[(1, 1)])]);
        let between = vec![
            write("b", 3, &[(50, 1), (12, 2)]),
            delete(vec![range(Some("a"), 12, 25), points(&[("a", 39), ("b", 39), ("c", 1)])]),
            write("a", 3, &[(13, 5)]),
        ];
        let (db, commands) = (Arc::clone(&pair.db), numbered(&pair.db, &between));
        hooked.set(at, move || {
            db.commit(commands.clone()).unwrap().all().unwrap();
        });
        work(&pair.db).unwrap();
        let struck = hooked.struck();
        if struck {
            pair.model.apply(&between);
        }
        let context = format!("{mode:?}, operation {at}");
        pair.check(&context);
        let image = Pair { storage: pair.storage.crash(at), ..pair };
        drop(image.db);
        let mut pair = Pair { db: open(&image.storage, plain()), ..image };
        pair.check(&format!("{context}, crashed"));
        pair.commit(vec![write("a", 2, &[(14, 3)]), delete(vec![range(Some("c"), 0, 9)])]);
        pair.db.checkpoint().unwrap();
        pair.check(&format!("{context}, flushed"));
        pair.db.merge_full(None).unwrap();
        pair.check(&format!("{context}, merged"));
        assert!(!pair.has_tombstones(), "{context}");
        if !struck {
            assert!(at > 5, "the work has {at} operations");
            break;
        }
    }
}

#[test]
fn a_delete_may_come_at_any_moment_of_a_flush() {
    MODES.iter().for_each(|mode| at_every_operation(*mode, Db::checkpoint));
}

#[test]
fn a_delete_may_come_at_any_moment_of_a_merge() {
    MODES.iter().for_each(|mode| at_every_operation(*mode, |db| db.merge_full(None)));
}

/// A merge that has read a delete, and a flush of it that begins at any moment of that merge: whoever
/// ends last takes the delete out.
#[test]
fn a_delete_is_let_go_of_by_a_flush_beside_a_merge() {
    for at in 0.. {
        let storage = MemoryStorage::new();
        let hooked = HookStorage::new(Arc::new(storage.clone()));
        let shared: Arc<dyn Storage> = Arc::new(hooked.clone());
        let db = Db::open(shared, plain()).unwrap();
        let mut pair = Pair { db, storage, model: Model::default() };
        pair.commit(vec![create(MergeMode::LastRow)]);
        let rows: Vec<(i64, i64)> = (0..40).map(|n| (n, n)).collect();
        for device in ["a", "b"] {
            pair.commit(vec![write(device, 2, &rows)]);
            pair.db.checkpoint().unwrap();
        }
        pair.commit(vec![delete(vec![range(Some("a"), 3, 9)])]);
        let flush = Arc::new(Mutex::new(None));
        let (db, there) = (Arc::clone(&pair.db), Arc::clone(&flush));
        hooked.set(at, move || {
            *there.lock() = Some(std::thread::spawn(move || db.checkpoint()));
            // It may come as far as it can while the merge stands still.
            std::thread::sleep(Duration::from_millis(60));
        });
        pair.db.merge_full(None).unwrap();
        let flushed = flush.lock().take().map(|thread| thread.join().unwrap());
        flushed.unwrap_or(Ok(())).unwrap();
        let struck = hooked.struck();
        pair.db.checkpoint().unwrap();
        pair.check(&format!("operation {at}"));
        assert!(!pair.has_tombstones(), "operation {at}");
        if !struck {
            assert!(at > 5, "the merge has {at} operations");
            break;
        }
    }
}

#[test]
fn a_delete_hides_what_stands_before_it_in_its_commit() {
    for mode in MODES {
        let mut pair = Pair::new(mode);
        pair.commit(vec![write("a", 2, &[(1, 1), (2, 1)]), write("b", 2, &[(1, 1)])]);
        let all = || delete(vec![range(None, i64::MIN, i64::MAX)]);
        pair.commit(vec![write("a", 3, &[(2, 2), (3, 2)]), all(), write("a", 3, &[(1, 3)])]);
        let table = pair.db.snapshot().table_by_id(T).unwrap();
        assert_eq!(table.stats().rows, 1);
        pair.check("head");
        pair.db.checkpoint().unwrap();
        pair.check("part");
        pair.commit(vec![all(), write("b", 2, &[(1, 9)])]);
        pair.check("twice");
        pair.reopen(true);
        pair.check("crashed");
    }
}

#[test]
fn parts_that_are_hidden_whole_go_without_being_written_anew() {
    let mut pair = Pair::new(MergeMode::LastNonNull);
    let rows: Vec<(i64, i64)> = (0..5000).map(|n| (n, n)).collect();
    for device in ["a", "b", "c"] {
        pair.commit(vec![write(device, 2, &rows)]);
        pair.db.checkpoint().unwrap();
    }
    assert_eq!(pair.parts(), 3);
    let stay = pair.db.snapshot().table_by_id(T).unwrap().parts()[2].id;
    pair.commit(vec![delete(vec![range(Some("a"), 0, 9999), range(Some("b"), i64::MIN, 4999)])]);
    pair.check("hidden");
    pair.db.merge_due().unwrap();
    let left = pair.db.snapshot().table_by_id(T).unwrap().parts();
    assert_eq!(left.iter().map(|part| part.id).collect::<Vec<u64>>(), [stay]);
    pair.check("dropped");
    pair.reopen(true);
    pair.check("crashed before the flush position moved");
    pair.db.merge_due().unwrap();
    pair.commit(vec![delete(vec![range(None, i64::MIN, i64::MAX)])]);
    pair.db.checkpoint().unwrap();
    pair.db.merge_due().unwrap();
    assert_eq!((pair.parts(), pair.has_tombstones()), (0, false));
    assert!(pair.storage.list("parts").unwrap().iter().all(|name| !name.ends_with(".part")));
    pair.reopen(false);
    pair.check("empty");
    pair.commit(vec![write("a", 2, &[(1, 1)])]);
    pair.check("written again");
}

/// A delete of rows that are in parts is all that a table has to flush, and it must not keep the
/// log for ever, nor be cut off with it.
#[test]
fn a_delete_alone_is_flushed() {
    for crash in [false, true] {
        let mut pair = Pair::new(MergeMode::LastRow);
        pair.commit(vec![write("a", 2, &[(1, 1), (2, 2)]), write("b", 2, &[(1, 1)])]);
        pair.db.checkpoint().unwrap();
        pair.commit(vec![delete(vec![points(&[("a", 2)])])]);
        pair.db.checkpoint().unwrap();
        assert_eq!(pair.parts(), 1);
        pair.reopen(crash);
        assert!(pair.has_tombstones());
        pair.check("flushed");
        let stats = pair.db.snapshot().table_by_id(T).unwrap().stats();
        assert!(!stats.exact && stats.hidden);
    }
}

/// A series that only deleted rows of the head ever had keeps its number when the log behind it
/// is cut.
#[test]
fn series_without_rows_keep_their_numbers() {
    let storage = MemoryStorage::new();
    let options = Options { log_segment_bytes_max: 4096, ..plain() };
    let db = open(&storage, options.clone());
    let mut pair = Pair { db, storage, model: Model::default() };
    pair.commit(vec![create(MergeMode::LastRow)]);
    pair.commit(vec![write("gone", 2, &[(1, 1)])]);
    pair.commit(vec![delete(vec![range(None, i64::MIN, i64::MAX)])]);
    pair.commit(vec![Command::CreateTable(NewTable {
        name: "other".into(),
        time_name: "time".into(),
        columns: vec![],
        options: TableOptions::default(),
        if_not_exists: false,
    })]);
    for n in 0..300 {
        let mut other = write("x", 2, &[(n, n)]);
        if let Command::Write(batch) = &mut other {
            (batch.table, batch.columns) = (2, Vec::new());
            batch.series = vec![SeriesRef::Key(Key::new([]))];
        }
        pair.commit(vec![other]);
    }
    // Only the other table is flushed: its position must not cut the log behind the first.
    super::super::flush::flush(&pair.db.core, 2).unwrap();
    pair.commit(vec![write("here", 2, &[(1, 5)])]);
    for _ in 0..2 {
        pair.storage = pair.storage.crash(3);
        pair.db = open(&pair.storage, options.clone());
        pair.check("crashed");
        let table = pair.db.snapshot().table_by_id(T).unwrap();
        assert_eq!(table.series().lookup(&key("gone")), Some(0));
        assert_eq!(table.series().lookup(&key("here")), Some(1));
        pair.db.checkpoint().unwrap();
    }
}

#[test]
fn last_rows_are_those_that_are_left() {
    for mode in MODES {
        let mut pair = Pair::new(mode);
        // Far apart, over several partitions, so that looking back takes several windows.
        let far: Vec<(i64, i64)> = (0..50).map(|n| (n * 40_000_000_000, n)).collect();
        pair.commit(vec![write("a", 2, &far), write("b", 2, &far[..3]), write("c", 3, &far)]);
        pair.db.checkpoint().unwrap();
        let old = pair.db.snapshot().table_by_id(T).unwrap();
        let all = old.series().all(old.series_count());
        let end = far[49].0;
        pair.commit(vec![delete(vec![range(Some("a"), 1, i64::MAX), points(&[("c", end)])])]);
        let new = pair.db.snapshot().table_by_id(T).unwrap();
        // A snapshot from before may see either; its times must be times of its rows.
        let seen = old.last_rows(&all, &[2]).unwrap();
        assert_eq!(seen.series.len(), 3);
        let seen = new.last_rows(&all, &[3, 2]).unwrap();
        assert_eq!(seen.times, [0, far[2].0, far[48].0]);
        pair.check("looked up");
        // A late row of a series that was looked up, and of one that is stale.
        pair.commit(vec![delete(vec![points(&[("a", 0), ("c", far[48].0)])])]);
        pair.commit(vec![write("a", 2, &[(-5, 7)]), write("c", 2, &[(3, 3)])]);
        pair.check("late");
        pair.commit(vec![delete(vec![points(&[("a", -5), ("c", far[47].0)])])]);
        pair.commit(vec![write("c", 2, &[(far[46].0, 3)])]);
        pair.db.checkpoint().unwrap();
        pair.check("flushed");
        pair.reopen(true);
        pair.check("crashed");
    }
}

#[test]
fn deletes_over_the_limits_are_refused() {
    let storage = MemoryStorage::new();
    let db = open(&storage, Options { delete_points_max: 3, ..plain() });
    let Outcome::Table(table) = db.execute(create(MergeMode::LastRow)).unwrap() else { panic!() };
    db.execute(write("a", 2, &[(1, 1), (2, 2), (3, 3), (4, 4)])).unwrap();
    let refused = |selections: Vec<Selection>| {
        db.execute(Command::Delete { table, selections }).expect_err("refused")
    };
    let times: Vec<i64> = (0..4).collect();
    let many = Selection::Points { series: vec![0; 4], times: times.clone() };
    let text = refused(vec![many]).to_string();
    assert!(text.contains("at most 3 are taken"), "{text}");
    let uneven = Selection::Points { series: vec![0], times };
    assert!(matches!(refused(vec![uneven]), Error::Invalid(_)));
    let unknown = Selection::Points { series: vec![1], times: vec![1] };
    assert!(matches!(refused(vec![unknown]), Error::NotFound(_)));
    let set = Some([0, 5].into_iter().collect());
    let unknown = Selection::Range { series: set, times: TimeRange::ALL };
    assert!(matches!(refused(vec![unknown]), Error::NotFound(_)));
    let missing = db.execute(Command::Delete { table: 9, selections: vec![] });
    assert!(matches!(missing, Err(Error::NotFound(_))));
    assert_eq!(db.snapshot().table_by_id(table).unwrap().stats().rows, 4);
    // The same row twice is one.
    let twice = Selection::Points { series: vec![0; 4], times: vec![4, 1, 1, 4] };
    db.execute(Command::Delete { table, selections: vec![twice] }).unwrap();
    assert_eq!(db.snapshot().table_by_id(table).unwrap().stats().rows, 2);
    db.execute(Command::Delete { table, selections: vec![] }).unwrap();
    assert!(Options { delete_points_max: 0, ..plain() }.validate().is_err());
    assert!(Options { delete_points_max: (16 << 20) + 1, ..plain() }.validate().is_err());
}

/// Readers and writers around a thread that deletes: a reader sees every pair of rows whole or
/// not at all, as commits are.
#[test]
fn readers_never_see_half_a_delete() {
    let storage = MemoryStorage::new();
    let options = Options { head_bytes_max: 4096, merge_fan_in: 2, ..Options::default() };
    let db = open(&storage, options);
    db.execute(create(MergeMode::LastNonNull)).unwrap();
    db.commit(vec![write("a", 2, &[(1, 1)]), write("b", 2, &[(1, 1)])]).unwrap();
    let times: Vec<(i64, i64)> = (0..50).map(|n| (n, n)).collect();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..300i64 {
                let set = || Some([0u32, 1].into_iter().collect());
                let (min, max) = (round % 50, round % 50 + 20);
                let range = Selection::Range { series: set(), times: TimeRange::new(min, max) };
                db.commit(vec![
                    delete(vec![range]),
                    write("a", 2, &times[(round % 40) as usize..]),
                    write("b", 2, &times[(round % 40) as usize..]),
                ])
                .unwrap()
                .all()
                .unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::Release);
        });
        while !done.load(std::sync::atomic::Ordering::Acquire) {
            let table = db.snapshot().table_by_id(T).unwrap();
            let request = crate::ScanRequest::all(vec![2]);
            let rows = super::model::scan(&table, request).unwrap();
            let (a, b): (Vec<_>, Vec<_>) =
                rows.iter().partition(|row| row.0 == key("a").as_bytes());
            assert_eq!(a.len(), b.len());
            assert!(a.iter().zip(&b).all(|(x, y)| (x.1, &x.2) == (y.1, &y.2)));
            let last = table.last_rows(&table.series().all(2), &[2]).unwrap();
            assert_eq!(last.times.len(), 2);
        }
    });
}
