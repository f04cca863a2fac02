//! Retention: what goes, what is refused, and that a cut can be taken back.

use std::sync::Arc;

use crate::io::MemoryStorage;
use crate::types::*;
use crate::{Command, Db, NewColumn, NewTable, Options, Outcome, ScanRequest};

const SECOND: i64 = 1_000_000_000;
pub const HOUR: i64 = 3_600 * SECOND;

fn options() -> Options {
    Options { shards: 2, merge_fan_in: 2, background: false, ..Options::default() }
}

fn open(storage: &MemoryStorage) -> Arc<Db> {
    Db::open(Arc::new(storage.clone()), options()).unwrap()
}

pub fn settings(retention_ns: Option<i64>) -> TableOptions {
    TableOptions { partition_ns: HOUR, retention_ns, ..TableOptions::default() }
}

/// A table with one field and one series a key.
pub fn table(db: &Db, retention_ns: Option<i64>) -> TableId {
    create(db, new_table("press", retention_ns))
}

pub fn new_table(name: &str, retention_ns: Option<i64>) -> NewTable {
    let column =
        |name: &str, kind, key| NewColumn { name: name.into(), kind, key, not_null: false };
    NewTable {
        name: name.into(),
        time_name: "time".into(),
        columns: vec![column("k", ColumnType::Text, true), column("v", ColumnType::Int64, false)],
        options: settings(retention_ns),
        if_not_exists: false,
    }
}

pub fn create(db: &Db, new: NewTable) -> TableId {
    match db.execute(Command::CreateTable(new)).unwrap() {
        Outcome::Table(id) => id,
        other => panic!("{other:?}"),
    }
}

pub fn batch(id: TableId, key: &str, times: &[i64]) -> WriteBatch {
    let values = Values::Int(times.to_vec());
    WriteBatch {
        table: id,
        series: vec![SeriesRef::Key(Key::new([(1, key.as_bytes())]))],
        key_of_row: vec![0; times.len()],
        times: times.to_vec(),
        columns: vec![(2, Column::good(values))],
    }
}

pub fn write(db: &Db, id: TableId, key: &str, times: &[i64]) -> u64 {
    match db.execute(Command::Write(batch(id, key, times))).unwrap() {
        Outcome::Written { rows } => rows,
        other => panic!("{other:?}"),
    }
}

/// The times of all rows in ascending order.
pub fn times(db: &Db, id: TableId) -> Vec<i64> {
    let table = db.snapshot().table_by_id(id).unwrap();
    let mut scan = table.scan(ScanRequest::all(vec![2])).unwrap();
    let mut times = Vec::new();
    for stream in &mut scan.streams {
        while let Some(rows) = stream.next_rows().unwrap() {
            times.extend(rows.times);
        }
    }
    times.sort_unstable();
    times
}

/// One row every quarter of an hour.
pub fn quarters(hours: std::ops::Range<i64>) -> Vec<i64> {
    (hours.start * 4..hours.end * 4).map(|quarter| quarter * HOUR / 4).collect()
}

#[test]
fn whole_partitions_go() {
    let storage = MemoryStorage::new();
    let db = open(&storage);
    let id = table(&db, Some(3 * HOUR));
    for hour in 0..10 {
        // Enough rows that each hour gets a part of its own.
        let start = hour * HOUR;
        let rows: Vec<i64> = (0..40_000).map(|row| start + row * HOUR / 40_000).collect();
        write(&db, id, "a", &rows);
    }
    db.checkpoint().unwrap();
    db.merge_full(None).unwrap();
    let parts = |db: &Db| db.snapshot().table_by_id(id).unwrap().parts();
    assert_eq!(parts(&db).len(), 10);
    let before: Vec<u64> = parts(&db).iter().map(|part| part.id).collect();
    // Half past eight: three hours before is half past five, so five o'clock stays whole.
    assert_eq!(db.tend(8 * HOUR + HOUR / 2).unwrap().cuts, 1);
    assert_eq!(db.tend(8 * HOUR + HOUR / 2).unwrap().cuts, 0);
    assert_eq!(db.snapshot().table_by_id(id).unwrap().cut(), Some(5 * HOUR));
    assert_eq!(times(&db, id).first(), Some(&(5 * HOUR)));
    db.merge_due().unwrap();
    let after: Vec<u64> = parts(&db).iter().map(|part| part.id).collect();
    assert_eq!(after, before[5..], "parts were written anew, or stayed");
    db.checkpoint().unwrap();
    let table = db.snapshot().table_by_id(id).unwrap();
    assert!(!table.tombstones_overlap(0, 0..=u32::MAX, TimeRange::ALL));
    db.close().unwrap();
    assert_eq!(times(&open(&storage), id).first(), Some(&(5 * HOUR)));
}

#[test]
fn late_rows_are_dropped_and_counted() {
    let storage = MemoryStorage::new();
    let db = open(&storage);
    let id = table(&db, Some(2 * HOUR));
    write(&db, id, "a", &quarters(0..8));
    db.tend(6 * HOUR).unwrap();
    assert_eq!(times(&db, id), quarters(4..8));
    assert_eq!(write(&db, id, "b", &[HOUR, 5 * HOUR, 3 * HOUR]), 1);
    assert_eq!(write(&db, id, "c", &[HOUR]), 0);
    assert_eq!(db.stats().rows_expired, 3);
    let mut expect = quarters(4..8);
    expect.push(5 * HOUR);
    expect.sort_unstable();
    assert_eq!(times(&db, id), expect);
    // Keys of rows that were dropped have their numbers, here and after a crash.
    let series = |db: &Db| db.snapshot().table_by_id(id).unwrap().series_count();
    assert_eq!(series(&db), 3);
    let crashed = storage.crash_hard();
    let again = open(&crashed);
    assert_eq!((times(&again, id), series(&again)), (expect.clone(), 3));
    again.checkpoint().unwrap();
    drop(again);
    let again = open(&crashed.crash_hard());
    assert_eq!(times(&again, id), expect);
    assert_eq!(write(&again, id, "a", &[HOUR]), 0, "the cut was lost with the log");
}

#[test]
fn a_longer_retention_takes_late_rows_again() {
    let storage = MemoryStorage::new();
    let db = open(&storage);
    let id = table(&db, Some(2 * HOUR));
    write(&db, id, "a", &quarters(0..8));
    db.checkpoint().unwrap();
    db.tend(6 * HOUR).unwrap();
    for (retention, cut) in [(Some(4 * HOUR), Some(2 * HOUR)), (None, None)] {
        let options = settings(retention);
        db.execute(Command::SetOptions { table: id, options }).unwrap();
        db.retain(id, 6 * HOUR).unwrap();
        assert_eq!(db.snapshot().table_by_id(id).unwrap().cut(), cut);
        assert_eq!(times(&db, id).first(), Some(&(4 * HOUR)), "what is gone stays gone");
    }
    assert_eq!(write(&db, id, "a", &[HOUR, 4 * HOUR]), 2);
    assert_eq!(times(&db, id).first(), Some(&HOUR));
    let again = open(&storage.crash_hard());
    assert_eq!(times(&again, id), times(&db, id));
    again.checkpoint().unwrap();
    again.merge_full(None).unwrap();
    assert_eq!(times(&again, id), times(&db, id));
}

#[test]
fn cuts_that_follow_each_other_leave_one_tombstone() {
    let storage = MemoryStorage::new();
    let db = open(&storage);
    let id = table(&db, Some(2 * HOUR));
    // Few rows: one part spans all of it, and no cut takes it whole.
    write(&db, id, "a", &quarters(0..12));
    db.checkpoint().unwrap();
    let tombstones = || {
        let edits = crate::engine::version::FoundVersion::read(&storage).unwrap();
        edits.version.tables[&id].tombstones.len()
    };
    for hour in 3..11 {
        db.tend(hour * HOUR).unwrap();
        db.checkpoint().unwrap();
        assert_eq!(times(&db, id).first(), Some(&((hour - 2) * HOUR)));
        assert_eq!(tombstones(), 1);
    }
    db.merge_full(None).unwrap();
    assert_eq!(times(&db, id), quarters(8..12));
    assert_eq!(tombstones(), 0);
}
