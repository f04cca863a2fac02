//! Writing, reading back, flushing, merging, opening again.

use std::sync::Arc;

use crate::io::{MemoryStorage, Storage};
use crate::types::*;
use crate::{Command, Db, NewColumn, NewTable, Options, Outcome, ScanRequest};

fn options() -> Options {
    Options { background: false, shards: 2, ..Options::default() }
}

fn column(name: &str, kind: ColumnType, key: bool) -> NewColumn {
    NewColumn { name: name.into(), kind, key, not_null: false }
}

fn create(db: &Db) -> TableId {
    let new = NewTable {
        name: "press".into(),
        time_name: "time".into(),
        columns: vec![
            column("device", ColumnType::Text, true),
            column("heat", ColumnType::Float64, false),
            column("strokes", ColumnType::Int64, false),
        ],
        options: TableOptions { partition_ns: 1_000_000_000_000, ..TableOptions::default() },
        if_not_exists: false,
    };
    match db.execute(Command::CreateTable(new)).unwrap() {
        Outcome::Table(id) => id,
        other => panic!("{other:?}"),
    }
}

fn batch(table: TableId, devices: &[&str], rows: &[(u32, i64, i64)]) -> WriteBatch {
    let key = |d: &&str| SeriesRef::Key(Key::new([(1, d.as_bytes())]));
    WriteBatch {
        table,
        series: devices.iter().map(key).collect(),
        key_of_row: rows.iter().map(|r| r.0).collect(),
        times: rows.iter().map(|r| r.1).collect(),
        columns: vec![(3, Column::good(Values::Int(rows.iter().map(|r| r.2).collect())))],
    }
}

fn dump(db: &Db) -> Vec<(String, i64, Option<i64>)> {
    let snapshot = db.snapshot();
    let table = snapshot.table("press").unwrap();
    let mut scan = table.scan(ScanRequest { streams: 3, ..ScanRequest::all(vec![3]) }).unwrap();
    let mut out = Vec::new();
    for stream in &mut scan.streams {
        while let Some(rows) = stream.next_rows().unwrap() {
            for series in &rows.series {
                let key = table.series().key(series.series).unwrap();
                let device = String::from_utf8(key.get(1).unwrap().to_vec()).unwrap();
                for row in series.start..series.start + series.rows {
                    let (state, value) = rows.columns[0].1.cell(row as usize);
                    let value = match value {
                        ValueRef::Int(v) if state.is_value() => Some(v),
                        _ => None,
                    };
                    out.push((device.clone(), rows.times[row as usize], value));
                }
            }
        }
    }
    out.sort();
    out
}

fn rows(list: &[(&str, i64, i64)]) -> Vec<(String, i64, Option<i64>)> {
    list.iter().map(|(d, t, v)| (d.to_string(), *t, Some(*v))).collect()
}

#[test]
fn rows_stay_through_flush_merge_and_open() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let db = Db::open(Arc::clone(&storage), options()).unwrap();
    let table = create(&db);
    let first = batch(table, &["b", "a"], &[(0, 20, 1), (1, 10, 2), (0, 10, 3), (0, 20, 4)]);
    db.execute(Command::Write(first)).unwrap();
    let expect = rows(&[("a", 10, 2), ("b", 10, 3), ("b", 20, 4)]);
    assert_eq!(dump(&db), expect);
    db.checkpoint().unwrap();
    assert_eq!(dump(&db), expect);
    db.execute(Command::Write(batch(table, &["b", "c"], &[(0, 10, 5), (1, 1, 6)]))).unwrap();
    let expect = rows(&[("a", 10, 2), ("b", 10, 5), ("b", 20, 4), ("c", 1, 6)]);
    assert_eq!(dump(&db), expect);
    db.close().unwrap();
    let db = Db::open(Arc::clone(&storage), options()).unwrap();
    assert_eq!(dump(&db), expect);
    db.checkpoint().unwrap();
    assert_eq!(db.snapshot().table("press").unwrap().parts().len(), 2);
    db.merge_full(None).unwrap();
    assert_eq!(db.snapshot().table("press").unwrap().parts().len(), 1);
    assert_eq!(dump(&db), expect);
    db.close().unwrap();
    let db = Db::open(Arc::clone(&storage), options()).unwrap();
    assert_eq!(dump(&db), expect);
    let snapshot = db.snapshot();
    let press = snapshot.table("press").unwrap();
    let last = press.last_rows(&press.series().all(press.series_count()), &[3]).unwrap();
    assert_eq!(last.times.len(), 3);
    db.close().unwrap();
    let findings = crate::engine::verify(&storage, |_| {}).unwrap();
    assert!(findings.iter().all(|f| f.damage.is_none()), "{findings:?}");
    assert!(findings.len() >= 5);
}

#[test]
fn a_dropped_table_is_gone_with_its_files() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let db = Db::open(Arc::clone(&storage), options()).unwrap();
    let table = create(&db);
    db.execute(Command::Write(batch(table, &["a"], &[(0, 1, 1)]))).unwrap();
    db.checkpoint().unwrap();
    assert!(!storage.list("parts").unwrap().is_empty());
    db.execute(Command::DropTable { table }).unwrap();
    assert!(storage.list("parts").unwrap().is_empty());
    let late = db.execute(Command::Write(batch(table, &["a"], &[(0, 1, 1)])));
    assert!(late.is_err());
    assert_ne!(create(&db), table);
    db.close().unwrap();
    let db = Db::open(storage, options()).unwrap();
    assert_eq!(dump(&db), []);
}

/// The time of the newest commit outlives the record that says it, also where that was only
/// replayed: no later commit may get a time that was given before.
#[test]
fn times_of_replayed_commits_are_kept() {
    let storage = MemoryStorage::new();
    let options = Options { background: false, ..Options::default() };
    let db = Db::open(Arc::new(storage.clone()), options.clone()).unwrap();
    let id = super::life::table(&db, None);
    super::life::write(&db, id, "a", &[1, 2, 3]);
    let time = db.snapshot().time();
    assert!(time.is_some());
    let storage = storage.crash_hard();
    let db = Db::open(Arc::new(storage.clone()), options.clone()).unwrap();
    assert_eq!(db.snapshot().time(), time, "replayed");
    db.checkpoint().unwrap();
    assert_eq!(db.core.log.lock().as_ref().unwrap().first_index(), 3, "the records are gone");
    db.close().unwrap();
    drop(db);
    let db = Db::open(Arc::new(storage), options).unwrap();
    assert_eq!(db.snapshot().time(), time, "kept");
}
