//! Memory: pools stay under their limits, writers wait or are told, and all is counted.

use std::sync::Arc;

use crate::io::{MemoryStorage, Storage};
use crate::types::*;
use crate::{Command, Db, Error, NewColumn, NewTable, Options, Outcome, PoolUsage, ScanRequest};

fn open(options: Options) -> Arc<Db> {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    Db::open(storage, options).unwrap()
}

fn create(db: &Db, name: &str) -> TableId {
    let column =
        |name: &str, kind, key| NewColumn { name: name.into(), kind, key, not_null: false };
    let new = NewTable {
        name: name.into(),
        time_name: "time".into(),
        columns: vec![
            column("device", ColumnType::Text, true),
            column("strokes", ColumnType::Int64, false),
        ],
        options: TableOptions::default(),
        if_not_exists: false,
    };
    match db.execute(Command::CreateTable(new)).unwrap() {
        Outcome::Table(id) => id,
        other => panic!("{other:?}"),
    }
}

/// One row for each device, all at one time.
fn batch(table: TableId, devices: std::ops::Range<u32>, time: i64) -> Command {
    let key = |device: u32| SeriesRef::Key(Key::new([(1, format!("device-{device}").as_bytes())]));
    let rows = devices.len();
    Command::Write(WriteBatch {
        table,
        series: devices.clone().map(key).collect(),
        key_of_row: (0..rows as u32).collect(),
        times: vec![time; rows],
        columns: vec![(2, Column::good(Values::Int(devices.map(i64::from).collect())))],
    })
}

fn pool(db: &Db, name: &str) -> PoolUsage {
    let pools = db.stats().pools;
    *pools.iter().find(|pool| pool.name == name).unwrap_or_else(|| panic!("{pools:?}"))
}

#[test]
fn new_series_are_refused_where_memory_ends_and_known_ones_go_on() {
    let options = Options { series_bytes_max: 400_000, background: false, ..Options::default() };
    let db = open(options);
    let (table, other) = (create(&db, "press"), create(&db, "other"));
    db.execute(batch(other, 0..300, 0)).unwrap();
    let mut devices = 0;
    let error = loop {
        match db.execute(batch(table, devices..devices + 100, 0)) {
            Ok(_) => devices += 100,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Full(_)), "{error}");
    let words = error.to_string();
    assert!(words.contains("press") && words.contains("series_bytes_max"), "{words}");
    let used = pool(&db, "series");
    assert_eq!(used.limit, 400_000);
    // As exact as the measuring: a batch, and a 32nd of the series, may pass.
    assert!((380_000..520_000).contains(&used.peak), "{used:?}");
    assert!(devices >= 500, "{devices}");
    // Known series are written on, and nothing of the refused write is there.
    db.execute(batch(table, 0..devices, 1)).unwrap();
    assert_eq!(db.snapshot().table("press").unwrap().series().len(), devices);
    // Dropping a table makes room again.
    db.execute(Command::DropTable { table }).unwrap();
    let again = create(&db, "again");
    db.execute(batch(again, 0..100, 0)).unwrap();
    assert!(pool(&db, "series").used < 200_000);
}

#[test]
fn heads_stay_under_their_limit_while_many_write() {
    let options = Options {
        head_bytes_max: 64 << 10,
        heads_bytes_max: 256 << 10,
        queue_bytes_max: 64 << 10,
        shards: 2,
        ..Options::default()
    };
    let db = open(options);
    let tables: Vec<TableId> = (0..6).map(|n| create(&db, &format!("t{n}"))).collect();
    std::thread::scope(|scope| {
        for table in &tables {
            let db = &db;
            scope.spawn(move || {
                for time in 0..200 {
                    db.execute(batch(*table, 0..100, time)).unwrap();
                }
            });
        }
    });
    let (heads, queue) = (pool(&db, "heads"), pool(&db, "commit queue"));
    // Six writers pass the gate together at most, each with a batch of some 4 KiB.
    assert!(heads.peak <= heads.limit + (64 << 10), "{heads:?}");
    assert!(heads.peak > 0 && heads.used <= heads.peak, "{heads:?}");
    assert!(queue.peak <= queue.limit && queue.peak > 0, "{queue:?}");
    assert_eq!(queue.used, 0, "everything was applied");
    for (at, _) in tables.iter().enumerate() {
        let table = db.snapshot().table(&format!("t{at}")).unwrap();
        let mut scan = table.scan(ScanRequest::all(vec![2])).unwrap();
        let mut rows = 0;
        for stream in &mut scan.streams {
            while let Some(batch) = stream.next_rows().unwrap() {
                rows += batch.times.len();
            }
        }
        assert_eq!(rows, 20_000);
    }
}

#[test]
fn the_queue_counts_records_and_rows() {
    let db = open(Options { background: false, ..Options::default() });
    let table = create(&db, "press");
    db.execute(batch(table, 0..1000, 0)).unwrap();
    // Keys and values are in the record, and once more in the rows.
    assert!(pool(&db, "commit queue").peak > 2 * 1000 * 16, "{:?}", pool(&db, "commit queue"));
}

#[test]
fn decoded_indexes_stay_under_their_limit() {
    let small = Options { cache_bytes_max: 2_000, background: false, ..Options::default() };
    let db = open(small);
    let table = create(&db, "press");
    for time in 0..20 {
        db.execute(batch(table, 0..200, time)).unwrap();
        db.checkpoint().unwrap();
        let mut scan =
            db.snapshot().table("press").unwrap().scan(ScanRequest::all(vec![2])).unwrap();
        for stream in &mut scan.streams {
            while stream.next_rows().unwrap().is_some() {}
        }
        let held = pool(&db, "part indexes");
        assert!(held.used <= 2_000, "{held:?}");
        assert_eq!(held.used, db.stats().cache_bytes);
    }
    assert!(pool(&db, "part indexes").peak > 0);
}
