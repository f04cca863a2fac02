//! Commits on conditions: all of the commit or nothing, whatever else is in its group.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::Error;
use crate::io::MemoryStorage;
use crate::rows::{RowChange, RowCommand, RowConditions, RowCount, RowExpect};
use crate::types::*;
use crate::{Command, Db, NewColumn, NewTable, Options, Outcome, ScanRequest};

const SPACE: u16 = 40;

fn open() -> Arc<Db> {
    let options = Options { background: false, shards: 2, ..Options::default() };
    Db::open(Arc::new(MemoryStorage::new()), options).unwrap()
}

fn put(key: &str, value: &str) -> RowChange {
    RowChange::Put { space: SPACE, key: key.into(), value: value.into() }
}

fn rows(changes: Vec<RowChange>) -> Command {
    Command::Rows(RowCommand { expects: Vec::new(), changes })
}

fn expects(key: &str, value: Option<&str>) -> RowConditions {
    let expect = RowExpect { space: SPACE, key: key.into(), value: value.map(Into::into) };
    RowConditions { expects: vec![expect], ..RowConditions::default() }
}

fn contents(db: &Db) -> BTreeMap<String, String> {
    let rows = db.snapshot().rows().scan(SPACE, &[]).unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    rows.into_iter().map(|(key, value)| (text(key), text(value))).collect()
}

fn try_commit(db: &Db, changes: Vec<RowChange>, conditions: RowConditions) -> bool {
    match db.submit_if(vec![rows(changes)], conditions).unwrap().wait() {
        Ok(committed) => {
            assert!(committed.all().is_ok());
            true
        }
        Err(Error::Conflict { space, .. }) => {
            assert_eq!(space, SPACE);
            false
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn each_condition_decides() {
    let db = open();
    assert!(try_commit(&db, vec![put("a", "1")], expects("a", None)));
    assert!(!try_commit(&db, vec![put("a", "2")], expects("a", None)));
    assert!(!try_commit(&db, vec![put("a", "2")], expects("a", Some("0"))));
    let position = db.snapshot().position();
    assert!(!try_commit(&db, vec![put("a", "2")], expects("b", Some(""))));
    assert_eq!(db.snapshot().position(), position, "what is refused is not in the log");
    let present = |key: &str| RowConditions {
        present: vec![(SPACE, key.into())],
        ..RowConditions::default()
    };
    assert!(try_commit(&db, vec![put("b", "")], present("a")));
    assert!(!try_commit(&db, vec![put("b", "x")], present("c")));
    let count = |prefix: &str, count: u64| RowConditions {
        counts: vec![RowCount { space: SPACE, prefix: prefix.into(), count }],
        ..RowConditions::default()
    };
    assert!(try_commit(&db, vec![put("ab", "")], count("a", 1)));
    assert!(!try_commit(&db, vec![put("ac", "")], count("a", 1)));
    assert!(!try_commit(&db, vec![put("ac", "")], count("a", 3)));
    assert!(try_commit(&db, vec![put("ac", "")], count("z", 0)));
    let prefix = RowChange::DeletePrefix { space: SPACE, prefix: b"a".to_vec() };
    assert!(try_commit(&db, vec![prefix, put("ad", "")], count("a", 3)));
    assert_eq!(contents(&db).keys().collect::<Vec<_>>(), ["ad", "b"]);
}

#[test]
fn rows_of_tables_wait_for_the_conditions_too() {
    let db = open();
    let new = NewTable {
        name: "t".into(),
        time_name: "time".into(),
        columns: vec![NewColumn {
            name: "v".into(),
            kind: ColumnType::Int64,
            key: false,
            not_null: false,
        }],
        options: TableOptions::default(),
        if_not_exists: false,
    };
    let Outcome::Table(table) = db.execute(Command::CreateTable(new)).unwrap() else { panic!() };
    let write = |time: i64| {
        Command::Write(WriteBatch {
            table,
            series: vec![SeriesRef::Key(Key::new([]))],
            key_of_row: vec![0],
            times: vec![time],
            columns: vec![(1, Column::good(Values::Int(vec![1])))],
        })
    };
    let commit = |time: i64, conditions: RowConditions| {
        let commands = vec![rows(vec![put("k", &time.to_string())]), write(time)];
        db.submit_if(commands, conditions).unwrap().wait().is_ok()
    };
    assert!(commit(1, expects("k", None)));
    assert!(!commit(2, expects("k", None)));
    assert!(commit(3, expects("k", Some("1"))));
    let mut scan = db.snapshot().table("t").unwrap().scan(ScanRequest::all(vec![1])).unwrap();
    let mut times = Vec::new();
    for stream in &mut scan.streams {
        while let Some(batch) = stream.next_rows().unwrap() {
            times.extend(batch.times);
        }
    }
    assert_eq!(times, [1, 3]);
}

/// Many threads raise one number and take names: groups hold commits that decide over each other.
#[test]
fn groups_decide_in_their_order() {
    let db = open();
    db.execute(rows(vec![put("n", "0")])).unwrap();
    let raised: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let db = &db;
                scope.spawn(move || {
                    let mut raised = 0;
                    for round in 0..40 {
                        let now = contents(db)["n"].clone();
                        let next = (now.parse::<u64>().unwrap() + 1).to_string();
                        let mut conditions = expects("n", Some(&now));
                        // As many names as numbers were taken, in the same moment.
                        conditions.counts.push(RowCount {
                            space: SPACE,
                            prefix: b"name".to_vec(),
                            count: now.parse().unwrap(),
                        });
                        let name = format!("name {thread} {round}");
                        raised += usize::from(try_commit(
                            db,
                            vec![put("n", &next), put(&name, "")],
                            conditions,
                        ));
                    }
                    raised
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(raised > 0);
    let contents = contents(&db);
    assert_eq!(contents["n"], raised.to_string());
    assert_eq!(contents.len(), raised + 1);
}
