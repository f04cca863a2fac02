//! Damaged files: every prefix and every flipped bit of the files of a small database. Opening or
//! reading gives an error, or the truth; never a panic, never a wrong value.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::io::{MemoryStorage, Storage};
use crate::types::TimeRange;
use crate::{Command, Db, Options, Selection};

use super::model::{Model, read};
use super::random::{self, Random};
use super::workload::{numbered, only_known, open, small_options};
use crate::crypto::tests::shape::{is_sealed, sealed, shaped};

/// About so many bits of a file are flipped, unless all are asked for.
const BITS_MAX: usize = 700;

fn options() -> Options {
    let options = small_options(&mut Random::new(3), false);
    Options { shards: 2, log_segment_bytes_max: 64 << 10, ..options }
}

/// A small closed database with parts, rows that only the log has, and its model after every
/// position.
fn small() -> (MemoryStorage, Vec<Model>) {
    let storage = MemoryStorage::new();
    let db = open(&storage, options());
    let mut random = Random::new(11);
    let mut models = vec![Model::default()];
    while models.len() < 9 {
        let before = models[models.len() - 1].clone();
        let mut commands = random::commit(&mut random, &before, 12);
        if models.len() == 5 {
            // Of rows that the first checkpoint has put into a part.
            commands = vec![delete_something(&models[3])];
        }
        only_known(&db, &mut commands);
        db.commit(numbered(&db, &commands)).unwrap();
        let mut model = before;
        model.apply(&commands);
        models.push(model);
        if models.len() == 4 || models.len() == 6 {
            db.checkpoint().unwrap();
        }
    }
    assert!(!models[8].tables.is_empty());
    let snapshot = db.snapshot();
    let hidden = |schema: &std::sync::Arc<crate::types::TableSchema>| {
        snapshot.table_by_id(schema.id).unwrap().stats().hidden
    };
    assert!(snapshot.tables().iter().any(hidden), "no tombstone in the version");
    db.close().unwrap();
    (storage, models)
}

/// A delete of the model that leaves the oldest row of the fullest table.
fn delete_something(model: &Model) -> Command {
    let (id, table) = model.tables.iter().max_by_key(|(_, table)| table.rows.len()).unwrap();
    let oldest = table.rows.keys().map(|(_, time)| *time).min().unwrap();
    let times = TimeRange::new(oldest + 1, i64::MAX);
    Command::Delete { table: *id, selections: vec![Selection::Range { series: None, times }] }
}

fn files(storage: &MemoryStorage) -> Vec<String> {
    let mut files = vec!["database".to_owned()];
    for folder in ["log", "parts", "series", "version"] {
        let names = storage.list(folder).unwrap();
        files.extend(names.into_iter().map(|name| format!("{folder}/{name}")));
    }
    files
}

/// What a database with one file changed says: an error, or its content and position.
fn outcome(storage: &MemoryStorage, path: &str, bytes: Vec<u8>) -> Option<(u64, Model)> {
    let damaged = storage.copy();
    damaged.put(path, bytes);
    let shared = shaped(Arc::new(damaged));
    let found = catch_unwind(AssertUnwindSafe(|| -> crate::Result<(u64, Model)> {
        let db = Db::open(shared, options())?;
        let snapshot = db.snapshot();
        Ok((snapshot.position(), read(&snapshot)?))
    }));
    found.unwrap_or_else(|_| panic!("{path}: a panic")).ok()
}

fn check_file(path: &str, storage: &MemoryStorage, models: &[Model]) -> (usize, usize) {
    let bytes = storage.bytes(path).unwrap();
    let truth = &models[models.len() - 1];
    let (mut told, mut true_all_the_same) = (0, 0);
    let mut judge = |found: Option<(u64, Model)>, what: String| match found {
        None => told += 1,
        Some((position, mut model)) => {
            model.next_table = truth.next_table;
            assert!(position as usize == models.len() - 1 && model == *truth, "{path}, {what}");
            true_all_the_same += 1;
        }
    };
    // The decoders' own tests meet every bit of logs, parts and series files; so do these with
    // MILLRACE_ALL set.
    let all = std::env::var_os("MILLRACE_ALL").is_some();
    // What is sealed behaves alike everywhere, and the seals have tests of their own.
    let bits = if is_sealed() { BITS_MAX / 3 } else { BITS_MAX };
    let step = if all { 1 } else { (bytes.len() * 8 / bits) | 1 };
    for cut in (0..bytes.len()).step_by(step) {
        judge(outcome(storage, path, bytes[..cut].to_vec()), format!("cut to {cut}"));
    }
    for bit in (0..bytes.len() * 8).step_by(step) {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        judge(outcome(storage, path, bad), format!("bit {bit} flipped"));
    }
    (told, true_all_the_same)
}

fn check_files(wanted: impl Fn(&str) -> bool) {
    let (storage, models) = small();
    let files = files(&storage);
    let mut seen = 0;
    for path in files.iter().filter(|path| wanted(path)) {
        let started = std::time::Instant::now();
        let (told, same) = check_file(path, &storage, &models);
        let len = storage.bytes(path).unwrap().len();
        println!("{path}: {len} bytes, {told} errors, {same} unharmed, {:?}", started.elapsed());
        seen += 1;
    }
    assert!(seen > 0, "{files:?}");
}

#[test]
fn a_damaged_identity_or_version_is_told() {
    check_files(|path| path == "database" || path.starts_with("version/"));
}

#[test]
fn a_damaged_log_is_told() {
    check_files(|path| path.starts_with("log/"));
}

#[test]
fn a_damaged_part_is_told() {
    check_files(|path| path.ends_with(".part"));
}

#[test]
fn damaged_last_rows_and_series_are_told() {
    check_files(|path| path.ends_with(".last") || path.starts_with("series/"));
}

/// A version log that lost its last edits, a log whose beginning the version does not know, files
/// that are gone: nothing of it opens as if rows had never been written.
#[test]
fn missing_files_are_told() {
    let storage = MemoryStorage::new();
    let options = Options { log_segment_bytes_max: 4096, ..options() };
    let db = open(&storage, options.clone());
    let mut random = Random::new(5);
    let mut model = Model::default();
    let mut early = None;
    for _ in 0..60 {
        super::workload::commit(&db, &mut model, &mut random, 60).unwrap();
        early.get_or_insert_with(|| storage.copy());
        db.checkpoint().unwrap();
    }
    assert!(db.stats().log_segments < 5, "the log was never cut");
    db.close().unwrap();
    let refused = |damaged: MemoryStorage, what: &str| {
        let shared = shaped(Arc::new(damaged.clone()));
        let before: Vec<String> = damaged.list("parts").unwrap();
        assert!(Db::open(shared, options.clone()).is_err(), "{what}");
        assert_eq!(damaged.list("parts").unwrap(), before, "{what}: parts were removed");
    };
    for folder in ["version", "rows", "log"] {
        let damaged = storage.copy();
        for name in storage.list(folder).unwrap() {
            damaged.remove(&format!("{folder}/{name}")).unwrap();
        }
        refused(damaged, folder);
    }
    let damaged = storage.copy();
    damaged.remove("database").unwrap();
    refused(damaged, "identity");
    let early = early.unwrap();
    for folder in ["version", "rows"] {
        let damaged = storage.copy();
        for name in storage.list(folder).unwrap() {
            damaged.remove(&format!("{folder}/{name}")).unwrap();
        }
        for name in early.list(folder).unwrap() {
            let path = format!("{folder}/{name}");
            damaged.put(&path, early.bytes(&path).unwrap());
        }
        refused(damaged, &format!("an old {folder}"));
    }
    super::model::check(&open(&storage, options), &model, "whole");
}

/// Catches a panic, which is not reported; those of other tests are.
fn quietly<T>(work: impl FnOnce() -> T) -> std::thread::Result<T> {
    thread_local! {
        static QUIET: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                report(panic);
            }
        }));
    });
    QUIET.set(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(false);
    done
}

/// The row store's file belongs to redb, which checks its pages when it opens a small file. A
/// panic of redb counts as an error here, a wrong value never does.
#[test]
fn a_damaged_row_store_gives_no_wrong_value() {
    let (storage, models) = small();
    let path = "rows/rows.redb";
    let bytes = storage.bytes(path).unwrap();
    let mut random = Random::new(8);
    let (mut told, mut same, mut panics) = (0, 0, 0);
    for round in 0..400 {
        let mut bad = bytes.clone();
        // Half of them in the first pages, where everything begins.
        let end = if round % 2 == 0 { 16 << 10 } else { bad.len() as u64 };
        let bit = random.below(end * 8) as usize;
        bad[bit / 8] ^= 1 << (bit % 8);
        let damaged = storage.copy();
        damaged.put(path, bad);
        let shared = shaped(Arc::new(damaged));
        let found = quietly(|| {
            let db = Db::open(shared, options())?;
            read(&db.snapshot())
        });
        match found {
            Err(_) => panics += 1,
            Ok(Err(_)) => told += 1,
            Ok(Ok(mut model)) => {
                model.next_table = models[8].next_table;
                assert!(model == models[8], "bit {bit}: a wrong value");
                same += 1;
            }
        }
    }
    println!("row store: {told} errors, {same} unharmed, {panics} panics of redb");
}

#[test]
fn damaged_sealed_files_are_told() {
    sealed(|| check_files(|_| true));
}

#[test]
fn missing_sealed_files_are_told() {
    sealed(missing_files_are_told);
}

#[test]
fn a_damaged_sealed_row_store_gives_no_wrong_value() {
    sealed(a_damaged_row_store_gives_no_wrong_value);
}
