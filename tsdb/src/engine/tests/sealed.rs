//! Encrypted databases: nothing can be read without the key, keys are checked before anything is
//! touched, and another key takes over while the database works.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::crypto::tests::shape::{key, keys};
use crate::crypto::{KeyRing, SealedStorage};
use crate::io::{FaultPlan, FaultyStorage, MemoryStorage, Storage};
use crate::rows::{RowChange, RowCommand};
use crate::types::*;
use crate::{Command, Db, Error, NewColumn, NewTable, Options, Outcome, Selection};

use super::model::{Model, check, try_check};
use super::random::Random;
use super::seeds;
use super::workload::{commit, maintain, small_options};

fn open(memory: &MemoryStorage, ring: &Arc<KeyRing>, options: &Options) -> crate::Result<Arc<Db>> {
    let storage = SealedStorage::new(Arc::new(memory.clone()), Arc::clone(ring));
    Db::open(Arc::new(storage), options.clone())
}

fn files(memory: &MemoryStorage) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for folder in ["", "log", "parts", "rows", "series", "version"] {
        for name in memory.list(folder).unwrap() {
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            let bytes = memory.bytes(&path).unwrap();
            files.insert(path, bytes);
        }
    }
    files
}

/// Texts that stand in the database in every way that a text can.
const SECRETS: [&str; 6] =
    ["secret-table", "secret-column", "secret-device", "secret-note", "secret-row", "secret-key"];
/// The bits of a number that no other file would have.
const NUMBER: f64 = 81_726.354_453_627;

fn keep_secrets(db: &Db) {
    let column =
        |name: &str, kind, key| NewColumn { name: name.into(), kind, key, not_null: false };
    let table = NewTable {
        name: SECRETS[0].into(),
        time_name: "time".into(),
        columns: vec![
            column("device", ColumnType::Text, true),
            column(SECRETS[1], ColumnType::Float64, false),
            column("note", ColumnType::Text, false),
        ],
        options: TableOptions::default(),
        if_not_exists: false,
    };
    let Outcome::Table(table) = db.execute(Command::CreateTable(table)).unwrap() else { panic!() };
    let write = |time: i64| {
        let mut notes = BytesColumn::default();
        (0..2).for_each(|_| notes.push(SECRETS[3].as_bytes()));
        Command::Write(WriteBatch {
            table,
            series: vec![SeriesRef::Key(Key::new([(1, SECRETS[2].as_bytes())]))],
            key_of_row: vec![0, 0],
            times: vec![time, time + 1],
            columns: vec![
                (2, Column::good(Values::Float(vec![NUMBER, 0.1]))),
                (3, Column::good(Values::Bytes(notes))),
            ],
        })
    };
    let (key, value) = (SECRETS[5].as_bytes().to_vec(), SECRETS[4].as_bytes().to_vec());
    let rows = RowCommand {
        expects: Vec::new(),
        changes: vec![RowChange::Put { space: 300, key, value }],
    };
    db.execute(Command::Rows(rows)).unwrap();
    for round in 0..3 {
        db.execute(write(1_000 * round)).unwrap();
        db.checkpoint().unwrap();
    }
    db.merge_full(None).unwrap();
    let times = TimeRange::new(0, 500);
    let selections = vec![Selection::Range { series: None, times }];
    db.execute(Command::Delete { table, selections }).unwrap();
    db.checkpoint().unwrap();
    db.execute(write(9_000)).unwrap();
}

/// Which secrets stand in the raw bytes of any file.
fn readable(memory: &MemoryStorage) -> Vec<String> {
    let files = files(memory);
    assert!(files.len() >= 6, "{:?}", files.keys());
    let found = |needle: &[u8]| {
        files.values().any(|bytes| bytes.windows(needle.len()).any(|window| window == needle))
    };
    let texts = SECRETS.iter().filter(|text| found(text.as_bytes())).map(|text| (*text).to_owned());
    let number = found(&NUMBER.to_le_bytes()).then(|| "the number".to_owned());
    texts.chain(number).collect()
}

#[test]
fn no_plaintext_is_on_the_disk() {
    let options = Options { background: false, ..Options::default() };
    // What is looked for is found where nothing is sealed.
    let plain = MemoryStorage::new();
    let db = Db::open(Arc::new(plain.clone()), options.clone()).unwrap();
    keep_secrets(&db);
    assert_eq!(readable(&plain).len(), SECRETS.len() + 1);
    let sealed = MemoryStorage::new();
    let db = open(&sealed, &keys(1), &options).unwrap();
    keep_secrets(&db);
    assert_eq!(readable(&sealed), [""; 0]);
    db.close().unwrap();
    let db = open(&sealed, &keys(1), &options).unwrap();
    assert_eq!(readable(&sealed), [""; 0], "opened again");
    db.close().unwrap();
    // Not even the keys of the test, which are bytes of one value.
    let repeated = |bytes: &Vec<u8>| bytes.windows(32).any(|window| window == [1; 32]);
    assert!(!files(&sealed).values().any(repeated));
}

#[test]
fn keys_that_do_not_fit_are_refused_and_change_nothing() {
    let options = Options { background: false, ..Options::default() };
    let (plain, sealed) = (MemoryStorage::new(), MemoryStorage::new());
    let db = Db::open(Arc::new(plain.clone()), options.clone()).unwrap();
    keep_secrets(&db);
    db.close().unwrap();
    let db = open(&sealed, &keys(1), &options).unwrap();
    keep_secrets(&db);
    db.close().unwrap();
    let (plain, sealed) = (plain.copy(), sealed.copy());
    let (own, other) = (key(1).id().to_string(), key(2).id().to_string());
    let wrapped = |memory: &MemoryStorage, number| -> Arc<dyn Storage> {
        Arc::new(SealedStorage::new(Arc::new(memory.clone()), keys(number)))
    };
    let cases: [(&MemoryStorage, Arc<dyn Storage>, Vec<&str>); 3] = [
        (&sealed, Arc::new(sealed.clone()), vec!["is encrypted and no key is given"]),
        (&sealed, wrapped(&sealed, 2), vec![&own, &other, "not among the keys given"]),
        (&plain, wrapped(&plain, 1), vec!["a key is given", "not encrypted"]),
    ];
    for (memory, storage, words) in cases {
        let before = files(memory);
        let opened = Db::open(Arc::clone(&storage), options.clone()).unwrap_err();
        let verified = crate::engine::verify(&storage, |_| {}).unwrap_err();
        for error in [opened, verified] {
            let Error::Invalid(why) = error else { panic!("{error:?}") };
            assert!(words.iter().all(|word| why.contains(word)), "{why}");
        }
        assert!(files(memory) == before, "{words:?}: something was changed");
    }
    open(&sealed, &keys(1), &options).unwrap().close().unwrap();
    let db = Db::open(Arc::new(plain), options).unwrap();
    assert!(matches!(db.rotate_key(key(2)), Err(Error::Invalid(_))));
    assert_eq!(db.seals().unwrap(), None);
}

/// Work, another key in the middle of it, a crash anywhere: both keys open what is left; when the
/// change of keys has come to its end, the new one alone does.
fn rotate(seed: u64, background: bool) {
    let mut random = Random::new(seed);
    let options = small_options(&mut random, background);
    let mut memory = MemoryStorage::new();
    let mut model = Model::default();
    let ring = keys(1);
    let db = open(&memory, &ring, &options).unwrap();
    for _ in 0..20 {
        commit(&db, &mut model, &mut random, 30).unwrap();
        maintain(&db, &mut random).unwrap();
    }
    db.close().unwrap();
    memory = memory.copy();
    let both = || KeyRing::new(vec![key(2), key(1)]).unwrap();
    for round in 0..3 {
        let context = format!("seed {seed} round {round}");
        let faulty = FaultyStorage::new(Arc::new(memory.clone()));
        // The folder may be anywhere between the keys: the old one need not be current.
        let ring = if round == 0 { keys(1) } else { both() };
        let storage = SealedStorage::new(Arc::new(faulty.clone()), ring);
        let db = Db::open(Arc::new(storage), options.clone()).unwrap();
        try_check(&db, &model, &context).unwrap();
        commit(&db, &mut model, &mut random, 30).unwrap();
        faulty.set_plan(FaultPlan::CrashAt(faulty.operations() + random.below(80)));
        let rotated = db.rotate_key(key(2));
        assert!(rotated.is_ok() || faulty.struck(), "{context}: {rotated:?}");
        drop(db);
        memory = memory.crash(random.next());
    }
    let db = open(&memory, &both(), &options).unwrap();
    check(&db, &model, &format!("seed {seed}, both keys"));
    let writer = std::thread::scope(|scope| {
        let rotated = scope.spawn(|| db.rotate_key(key(2)));
        for _ in 0..10 {
            commit(&db, &mut model, &mut random, 30).unwrap();
            maintain(&db, &mut random).unwrap();
        }
        rotated.join().unwrap()
    });
    assert!(writer.unwrap().is_complete(), "seed {seed}");
    let seals = db.seals().unwrap().unwrap();
    assert!(seals.is_complete() && seals.keys[0].id == key(2).id(), "seed {seed}: {seals:?}");
    db.close().unwrap();
    let db = open(&memory, &keys(2), &options).unwrap();
    check(&db, &model, &format!("seed {seed}, the new key"));
    db.close().unwrap();
}

#[test]
fn another_key_takes_over_under_crashes() {
    seeds(700..740).for_each(|seed| rotate(seed, false));
}

#[test]
fn another_key_takes_over_while_threads_work() {
    seeds(740..755).for_each(|seed| rotate(seed, true));
}

/// A merge names its outputs by an edit, and the edit may begin a new version log whose file is
/// read once: what it reads wrong there is no damage of an input that a merge may pass over.
#[test]
fn a_merge_whose_edit_is_read_wrong_leaves_version_and_state_alike() {
    let options = Options { background: false, ..Options::default() };
    let (mut struck, mut told) = (0, 0);
    for flushes in 2..12 {
        for read in 0.. {
            let faulty = FaultyStorage::new(Arc::new(MemoryStorage::new()));
            let sealed = SealedStorage::new(Arc::new(faulty.clone()), keys(1));
            let db = Db::open(Arc::new(sealed), options.clone()).unwrap();
            let table = filled(&db, flushes);
            faulty.set_plan(FaultPlan::FlipOnRead { at: faulty.reads() + read, bit: 77 });
            let merged = db.merge_full(None);
            if !faulty.struck() {
                merged.unwrap();
                break;
            }
            struck += 1;
            told += u32::from(db.read_only().is_some());
            let (version, state) = (db.core.version.lock(), db.core.state.load());
            let named: Vec<u64> =
                version.version.tables.get(&table).unwrap().parts.keys().copied().collect();
            let mut used: Vec<u64> =
                state.tables[&table].parts.iter().map(|part| part.entry.id).collect();
            used.sort_unstable();
            let alike = named == used || db.read_only().is_some();
            assert!(alike, "{flushes} flushes, read {read}: {named:?}, {used:?}: {merged:?}");
        }
    }
    assert!(struck > 20 && told > 0, "{struck} reads, {told} of them in edits");
}

/// A table with as many parts of a row each.
fn filled(db: &Db, parts: i64) -> TableId {
    let value =
        NewColumn { name: "value".into(), kind: ColumnType::Int64, key: false, not_null: false };
    let table = NewTable {
        name: "filled".into(),
        time_name: "time".into(),
        columns: vec![value],
        options: TableOptions::default(),
        if_not_exists: false,
    };
    let Outcome::Table(table) = db.execute(Command::CreateTable(table)).unwrap() else { panic!() };
    for time in 0..parts {
        let batch = WriteBatch {
            table,
            series: vec![SeriesRef::Key(Key::new([]))],
            key_of_row: vec![0],
            times: vec![time],
            columns: vec![(1, Column::good(Values::Int(vec![time])))],
        };
        db.execute(Command::Write(batch)).unwrap();
        db.checkpoint().unwrap();
    }
    table
}
