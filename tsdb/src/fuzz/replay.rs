//! What the log holds: commit records and row commands, decoded and replayed.

use std::cell::RefCell;
use std::sync::Arc;

use crate::engine::open::{self, Identity};
use crate::engine::record;
use crate::io::MemoryStorage;
use crate::log::{Kind, Log, LogOptions, RecordIn};
use crate::rows::RowCommand;
use crate::types::{Column, ColumnType, Key, SeriesRef, TableOptions, Values, WriteBatch};
use crate::{Command, Db, Error, NewColumn, NewTable, Options};

/// A row command; one that is taken is written again the same.
pub fn rows(bytes: &[u8]) -> bool {
    let Ok(command) = RowCommand::decode(bytes) else { return false };
    let mut out = Vec::new();
    command.encode(&mut out);
    assert_eq!(out, bytes, "a row command has two forms");
    true
}

/// The payload of a commit record. One that decodes is encoded and decoded again the same, and
/// replayed behind a small database: that is refused as corruption, or it opens, twice alike.
pub fn record(bytes: &[u8]) -> bool {
    let _ = record::time_of(bytes);
    let Ok(decoded) = record::decode(bytes) else { return false };
    let mut encoded = record::encode(&decoded.commands);
    record::set_time(&mut encoded, decoded.time.unwrap_or(0));
    let again = record::decode(&encoded).expect("what is written is read");
    let mut twice = record::encode(&again.commands);
    record::set_time(&mut twice, decoded.time.unwrap_or(0));
    // Compared as bytes: NaN differs from itself.
    assert!(twice == encoded, "a record has two meanings");
    let storage = template();
    append(&storage, bytes);
    let first = opened(&storage);
    assert_eq!(first, opened(&storage), "replay is another one the second time");
    first.is_some()
}

/// Number, name and series of a table.
type Shown = (u32, String, u32);

/// Position and tables that the database comes to; `None` if it is refused.
fn opened(storage: &MemoryStorage) -> Option<(u64, Vec<Shown>)> {
    match open::open(Arc::new(storage.clone()), options()) {
        Ok((core, _)) => {
            let state = core.state.load();
            let tables = state.tables.values();
            let shown = tables
                .map(|table| (table.schema.id, table.schema.name.clone(), table.series.len()))
                .collect();
            Some((state.position, shown))
        }
        Err(Error::Corrupt(_)) => None,
        Err(error) => panic!("a record makes the database unusable: {error}"),
    }
}

pub fn options() -> Options {
    Options { shards: 2, background: false, ..Options::default() }
}

/// Puts a record behind the log of a closed database.
fn append(storage: &MemoryStorage, payload: &[u8]) {
    let identity = Identity::read(storage).ok().flatten().expect("an identity");
    let options = LogOptions { database_id: identity.id, ..LogOptions::default() };
    let (mut log, _) = Log::open(Arc::new(storage.clone()), options).expect("a log");
    let record = RecordIn { kind: Kind::Commands, term: 0, payload: &[payload] };
    log.append_group(&[record]).expect("appended");
}

thread_local! {
    static TEMPLATE: RefCell<Option<MemoryStorage>> = const { RefCell::new(None) };
}

/// A copy of a closed database with a table of each kind of column and some rows.
pub fn template() -> MemoryStorage {
    TEMPLATE.with_borrow_mut(|template| template.get_or_insert_with(make_template).copy())
}

fn make_template() -> MemoryStorage {
    let storage = MemoryStorage::new();
    let db = Db::open(Arc::new(storage.clone()), options()).expect("opens");
    let column =
        |name: &str, kind, key| NewColumn { name: name.into(), kind, key, not_null: false };
    let columns = vec![
        column("host", ColumnType::Text, true),
        column("heat", ColumnType::Float64, false),
        column("count", ColumnType::Int64, false),
        column("on", ColumnType::Bool, false),
        column("note", ColumnType::Text, false),
    ];
    let table = NewTable {
        name: "press".into(),
        time_name: "time".into(),
        columns,
        options: TableOptions::default(),
        if_not_exists: false,
    };
    db.commit(vec![Command::CreateTable(table)]).expect("a table");
    let batch = WriteBatch {
        table: 1,
        series: [b"a", b"b"].map(|host| SeriesRef::Key(Key::new([(1, &host[..])]))).to_vec(),
        key_of_row: vec![0, 1, 1],
        times: vec![1_000_000_000, 1_000_002_000, 5_000_000_000],
        columns: vec![(2, Column::good(Values::Float(vec![21.5, -3.25, 0.0])))],
    };
    db.commit(vec![Command::Write(batch)]).expect("rows");
    db.close().expect("closes");
    storage
}
