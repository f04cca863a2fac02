//! Threads that get in each other's way, and commits that once broke something.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::io::{MemoryStorage, Storage};
use crate::types::*;
use crate::{Command, Db, Error, NewColumn, NewTable, Options, Outcome, ScanRequest};

use super::model::{Model, check, scan};
use super::workload::open;

fn column(name: &str, kind: ColumnType, key: bool) -> NewColumn {
    NewColumn { name: name.into(), kind, key, not_null: false }
}

fn table(name: &str, merge: MergeMode) -> NewTable {
    NewTable {
        name: name.into(),
        time_name: "time".into(),
        columns: vec![
            column("device", ColumnType::Text, true),
            column("x", ColumnType::Int64, false),
        ],
        options: TableOptions { merge, ..TableOptions::default() },
        if_not_exists: true,
    }
}

fn create(db: &Db, name: &str, merge: MergeMode) -> TableId {
    match db.execute(Command::CreateTable(table(name, merge))).unwrap() {
        Outcome::Table(id) => id,
        other => panic!("{other:?}"),
    }
}

fn write(table: TableId, key: &str, rows: &[(i64, i64)]) -> Command {
    Command::Write(WriteBatch {
        table,
        series: vec![SeriesRef::Key(Key::new([(1, key.as_bytes())]))],
        key_of_row: vec![0; rows.len()],
        times: rows.iter().map(|row| row.0).collect(),
        columns: vec![(2, Column::good(Values::Int(rows.iter().map(|row| row.1).collect())))],
    })
}

fn plain() -> Options {
    Options { background: false, shards: 2, ..Options::default() }
}

#[test]
fn a_transaction_that_writes_a_series_twice_keeps_the_later_write() {
    for mode in [MergeMode::LastNonNull, MergeMode::LastRow, MergeMode::Append] {
        let storage = MemoryStorage::new();
        let db = open(&storage, plain());
        let id = create(&db, "t", mode);
        let mut model = Model::default();
        model.apply(&[Command::CreateTable(table("t", mode))]);
        let many: Vec<(i64, i64)> = (10..200).map(|time| (time, 1)).collect();
        let commands = vec![write(id, "a", &many), write(id, "a", &[(5, 2), (15, 2)])];
        db.commit(commands.clone()).unwrap().all().unwrap();
        model.apply(&commands);
        check(&db, &model, "head");
        db.checkpoint().unwrap();
        check(&db, &model, "part");
    }
}

#[test]
fn equal_times_of_an_append_table_keep_their_order_over_groups() {
    let storage = MemoryStorage::new();
    let db = open(&storage, plain());
    let id = create(&db, "t", MergeMode::Append);
    let mut model = Model::default();
    model.apply(&[Command::CreateTable(table("t", MergeMode::Append))]);
    for (from, value) in [(0i64, 0i64), (-3, 50_000), (1, 90_000)] {
        let rows: Vec<(i64, i64)> = (0..20_000).map(|n| (from + n / 9_000, value + n)).collect();
        let commands = vec![write(id, "a", &rows)];
        db.commit(commands.clone()).unwrap();
        model.apply(&commands);
        db.checkpoint().unwrap();
        check(&db, &model, "flushed");
    }
    db.merge_full(None).unwrap();
    check(&db, &model, "merged");
}

#[test]
fn what_cannot_be_read_back_is_refused_before_it_is_logged() {
    let storage = MemoryStorage::new();
    let db = open(&storage, Options { columns_max: 4, tables_max: 2, ..plain() });
    let id = create(&db, "t", MergeMode::LastRow);
    let twice = SeriesRef::Key(Key::new([(1, &b"a"[..]), (1, &b"b"[..])]));
    let unknown = SeriesRef::Key(Key::new([(9, &b"a"[..])]));
    let field = SeriesRef::Key(Key::new([(2, &b"a"[..])]));
    for series in [twice, unknown, field] {
        let Command::Write(mut batch) = write(id, "a", &[(1, 1)]) else { unreachable!() };
        batch.series = vec![series];
        let error = db.commit(vec![Command::Write(batch)]).unwrap_err();
        assert!(matches!(error, Error::Invalid(_) | Error::NotFound(_)), "{error}");
    }
    // Settings without sense are a refusal, and stay one when the log is read.
    let options = TableOptions { partition_ns: 0, ..TableOptions::default() };
    let options = TableOptions { merge: MergeMode::LastRow, ..options };
    let refused = db.execute(Command::SetOptions { table: id, options: options.clone() });
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    let bad = NewTable { options, ..table("bad", MergeMode::LastRow) };
    assert!(matches!(db.execute(Command::CreateTable(bad)), Err(Error::Invalid(_))));
    let columns: Vec<NewColumn> =
        (0..3).map(|n| column(&format!("y{n}"), ColumnType::Bool, false)).collect();
    let wide = Command::AddColumns { table: id, columns: columns.clone() };
    assert!(matches!(db.execute(wide), Err(Error::Invalid(_))));
    db.execute(Command::AddColumns { table: id, columns: columns[..2].to_vec() }).unwrap();
    create(&db, "u", MergeMode::LastRow);
    assert!(db.execute(Command::CreateTable(table("v", MergeMode::LastRow))).is_err());
    assert_eq!(create(&db, "u", MergeMode::LastRow), 2);
    drop(db);
    // Lower limits must not undo what was acknowledged under higher ones.
    let db = open(&storage, Options { columns_max: 1, tables_max: 1, ..plain() });
    let snapshot = db.snapshot();
    assert_eq!(snapshot.tables().len(), 2);
    assert_eq!(snapshot.table("t").unwrap().schema().columns.len(), 4);
}

#[test]
fn a_commit_too_long_for_the_log_is_refused_alone() {
    let storage = MemoryStorage::new();
    let db = open(&storage, Options { value_bytes_max: 1 << 30, ..plain() });
    let mut new = table("t", MergeMode::LastRow);
    new.columns.push(column("note", ColumnType::Text, false));
    db.execute(Command::CreateTable(new)).unwrap();
    let mut notes = BytesColumn::default();
    notes.push(&vec![b'x'; (256 << 20) + 1]);
    let Command::Write(mut batch) = write(1, "a", &[(1, 1)]) else { unreachable!() };
    batch.columns = vec![(3, Column::good(Values::Bytes(notes)))];
    assert!(matches!(db.commit(vec![Command::Write(batch)]), Err(Error::Invalid(_))));
    assert_eq!(db.read_only(), None);
    db.execute(write(1, "a", &[(1, 1)])).unwrap();
}

#[test]
fn a_negative_zero_survives_the_log() {
    let storage = MemoryStorage::new();
    let db = open(&storage, plain());
    let mut new = table("t", MergeMode::LastRow);
    new.columns.push(column("y", ColumnType::Float64, false));
    db.execute(Command::CreateTable(new)).unwrap();
    let Command::Write(mut batch) = write(1, "a", &[(1, 1)]) else { unreachable!() };
    batch.columns = vec![(3, Column::good(Values::Float(vec![-0.0])))];
    db.commit(vec![Command::Write(batch)]).unwrap();
    drop(db);
    let db = open(&storage, plain());
    let table = db.snapshot().table("t").unwrap();
    let rows = scan(&table, ScanRequest::all(vec![3])).unwrap();
    let bits = super::model::Bits::Float((-0.0f64).to_bits());
    assert_eq!(rows[0].2[&3], (CellState::GOOD.0, Some(bits)));
}

/// Tables are written, flushed, merged, scanned and dropped at once; none of it may fail.
#[test]
fn dropping_tables_under_flush_and_merge_harms_nobody() {
    let storage = MemoryStorage::new();
    let options = Options {
        head_bytes_max: 2048,
        heads_bytes_max: 64 << 10,
        log_segment_bytes_max: 4096,
        merge_fan_in: 2,
        ..Options::default()
    };
    let db = open(&storage, options.clone());
    let keep = create(&db, "keep", MergeMode::Append);
    let (stop, kept) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    db.checkpoint().unwrap();
                    db.merge_full(None).unwrap();
                }
            });
        }
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let before = kept.load(Ordering::SeqCst);
                let snapshot = db.snapshot();
                for schema in snapshot.tables() {
                    let table = snapshot.table_by_id(schema.id).unwrap();
                    let rows = scan(&table, ScanRequest::all(vec![2])).unwrap();
                    assert!(schema.id != keep || rows.len() as u64 >= before);
                }
            }
        });
        for round in 0..60i64 {
            let id = create(&db, "gone", MergeMode::LastRow);
            for step in 0..5 {
                let rows: Vec<(i64, i64)> = (0..40).map(|n| (n, round + step)).collect();
                db.commit(vec![write(id, "a", &rows), write(keep, "b", &rows)]).unwrap();
                kept.fetch_add(40, Ordering::SeqCst);
            }
            db.execute(Command::DropTable { table: id }).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(db.read_only(), None);
    db.close().unwrap();
    drop(db);
    let db = open(&storage, options);
    let snapshot = db.snapshot();
    assert_eq!(snapshot.tables().len(), 1);
    let rows = scan(&snapshot.table("keep").unwrap(), ScanRequest::all(vec![2])).unwrap();
    assert_eq!(rows.len() as u64, kept.load(Ordering::SeqCst));
    assert!(storage.list("parts").unwrap().iter().all(|name| name.starts_with("00000001-")));
}

/// Writers against a close: each commit is either acknowledged and there, or not there.
#[test]
fn closing_under_writers_loses_nothing() {
    for round in 0..10 {
        let storage = MemoryStorage::new();
        let options = Options {
            queue_bytes_max: 4096,
            head_bytes_max: 2048,
            heads_bytes_max: 8192,
            log_segment_bytes_max: 4096,
            ..Options::default()
        };
        let db = open(&storage, options.clone());
        let id = create(&db, "t", MergeMode::Append);
        let done = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for writer in 0..3 {
                let (db, done) = (&db, &done);
                scope.spawn(move || {
                    for n in 0.. {
                        let rows: Vec<(i64, i64)> = (0..20).map(|m| (n * 20 + m, writer)).collect();
                        match db.commit(vec![write(id, &format!("w{writer}"), &rows)]) {
                            Ok(_) => done.fetch_add(20, Ordering::SeqCst),
                            Err(Error::Closed) => return,
                            Err(error) => panic!("{error}"),
                        };
                    }
                });
            }
            scope.spawn(|| while db.checkpoint().is_ok() {});
            while done.load(Ordering::SeqCst) < 200 * (round + 1) {
                std::thread::yield_now();
            }
            db.close().unwrap();
        });
        // The old handle is still there: it must not touch the files any more.
        let again = open(&storage, options);
        let rows = scan(&again.snapshot().table("t").unwrap(), ScanRequest::all(vec![])).unwrap();
        assert_eq!(rows.len() as u64, done.load(Ordering::SeqCst));
        drop(db);
        again.execute(write(id, "x", &[(1, 1)])).unwrap();
    }
}

#[test]
fn a_second_opener_is_refused() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let db = Db::open(Arc::clone(&storage), plain()).unwrap();
    assert!(matches!(Db::open(Arc::clone(&storage), plain()), Err(Error::Locked(_))));
    db.close().unwrap();
    Db::open(storage, plain()).unwrap();
}
