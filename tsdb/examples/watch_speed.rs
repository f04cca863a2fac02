//! What a watch costs those who write: `cargo run --release -p tsdb --example watch_speed`.
//!
//! The same batches into tables without and with a watch, newest rows and late ones, on a disk in
//! memory, so that nothing but the engine's own work counts.

use std::sync::Arc;
use std::time::Instant;

use tsdb::io::MemoryStorage;
use tsdb::types::{Column, ColumnType, Key, SeriesRef, TableId, TableOptions, Values, WriteBatch};
use tsdb::{Command, Db, NewColumn, NewTable, Options, Outcome, WatchChange};

const SERIES: i64 = 100;
const ROWS: i64 = 1_000;
const SECOND: i64 = 1_000_000_000;

fn table(db: &Db) -> TableId {
    let column =
        |name: &str, kind, key| NewColumn { name: name.into(), kind, key, not_null: false };
    let new = NewTable {
        name: "m".into(),
        time_name: "time".into(),
        columns: vec![column("k", ColumnType::Text, true), column("v", ColumnType::Float64, false)],
        options: TableOptions::default(),
        if_not_exists: false,
    };
    match db.execute(Command::CreateTable(new)) {
        Ok(Outcome::Table(id)) => id,
        other => panic!("{other:?}"),
    }
}

fn batch(table: TableId, nth: i64) -> WriteBatch {
    let key = |series: i64| SeriesRef::Key(Key::new([(1, format!("k{series}").as_bytes())]));
    let times: Vec<i64> = (0..ROWS).map(|row| (nth * ROWS + row) / SERIES * SECOND).collect();
    WriteBatch {
        table,
        series: (0..SERIES).map(key).collect(),
        key_of_row: (0..ROWS).map(|row| (row % SERIES) as u32).collect(),
        times,
        columns: vec![(2, Column::good(Values::Float((0..ROWS).map(|v| v as f64).collect())))],
    }
}

/// Seconds for the batches; `watched` says until when, in hours.
fn run(watched: Option<i64>, batches: i64) -> f64 {
    let storage = Arc::new(MemoryStorage::new());
    let options = Options { background: false, ..Options::default() };
    let db = Db::open(storage, options).expect("a database");
    let id = table(&db);
    if let Some(hours) = watched {
        let hour = 3_600 * SECOND;
        for change in
            [WatchChange::Begin { grain: hour }, WatchChange::Raise { until: hours * hour }]
        {
            db.execute(Command::Watch { table: id, number: 1, change }).expect("a watch");
        }
    }
    let batches: Vec<WriteBatch> = (0..batches).map(|nth| batch(id, nth)).collect();
    let started = Instant::now();
    for batch in batches {
        db.execute(Command::Write(batch)).expect("a write");
    }
    started.elapsed().as_secs_f64()
}

fn main() {
    let batches = 1_000;
    for round in 0..3 {
        let plain = run(None, batches);
        let newest = run(Some(0), batches);
        let late = run(Some(1_000_000), batches);
        println!(
            "round {round}: {batches} commits of {ROWS} rows: {plain:.2} s; watched, newest rows \
             {:.3} of it, all rows late {:.3}",
            newest / plain,
            late / plain
        );
    }
}
