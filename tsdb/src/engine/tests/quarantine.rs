//! The quarantine: bits flipped in the blocks of databases of several parts. Every read equals the
//! model or says which block is bad; without the quarantined rows it equals the model without the
//! rows of the blocks named. Merges and flushes go on around them, a restart knows them, and sound
//! bytes bring everything back.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::crypto::tests::shape::{sealed, shaped};
use crate::io::{FaultKind, FaultPlan, FaultyStorage, MemoryStorage, Storage};
use crate::scan::ScanRequest;
use crate::types::{Key, TimeRange};
use crate::{Db, Error, LeftOut, Options, Quarantined};

use super::model::{Model, Row, check, check_some, read, scan};
use super::random::Random;
use super::seeds;
use super::workload::{commit, maintain, open, small_options};

/// Rows by table, as the model has them.
type Found = BTreeMap<u32, BTreeMap<(Vec<u8>, i64), Vec<Row>>>;

/// A closed database with several parts, and its model.
fn several_parts(random: &mut Random, options: &Options) -> (MemoryStorage, Model) {
    let storage = MemoryStorage::new();
    let db = open(&storage, options.clone());
    let mut model = Model::default();
    for step in 0..24 {
        commit(&db, &mut model, random, 150).unwrap();
        match random.below(4) {
            0 if step > 4 => db.merge_due().unwrap(),
            1 => {}
            _ => db.checkpoint().unwrap(),
        }
    }
    db.checkpoint().unwrap();
    db.close().unwrap();
    (storage, model)
}

fn parts(storage: &MemoryStorage) -> Vec<String> {
    let names = storage.list("parts").unwrap();
    names.into_iter().map(|name| format!("parts/{name}")).collect()
}

/// Flips bits of some files of parts; gives them as they were.
fn damage(storage: &MemoryStorage, random: &mut Random) -> BTreeMap<String, Vec<u8>> {
    let parts = parts(storage);
    let mut sound = BTreeMap::new();
    for _ in 0..1 + random.below(3) {
        let Some(path) = random.pick_of(parts.iter()) else { break };
        let bytes = storage.bytes(path).unwrap();
        sound.entry(path.clone()).or_insert_with(|| bytes.clone());
        let mut bad = bytes;
        if random.below(12) == 0 {
            bad.truncate(random.below(bad.len() as u64) as usize);
        } else {
            let bit = random.below(bad.len() as u64 * 8) as usize;
            bad[bit / 8] ^= 1 << (bit % 8);
        }
        storage.put(path, bad);
    }
    sound
}

/// A failed read says that a block is bad, which, and that is in quarantine then.
fn told(db: &Db, error: &Error, context: &str) {
    let Error::Corrupt(why) = error else { panic!("{context}: {error}") };
    let named = |bad: &Quarantined| why.contains(&bad.path) && why.contains(&bad.block.cause);
    assert!(db.quarantined().iter().any(named), "{context}: {why} is not in quarantine");
}

/// Reads the database without what is bad until no further block turns out bad.
fn read_around(db: &Db, context: &str) -> Found {
    loop {
        let before = db.quarantined().len();
        match read_without(db) {
            Ok(found) => return found,
            Err(error) => told(db, &error, context),
        }
        assert!(db.quarantined().len() > before, "{context}: a known block fails the reader");
    }
}

fn read_without(db: &Db) -> crate::Result<Found> {
    let snapshot = db.snapshot();
    let mut all = Found::new();
    for schema in snapshot.tables() {
        let table = snapshot.table_by_id(schema.id).unwrap();
        let table = table.without_quarantined(Arc::new(LeftOut::default()));
        let fields: Vec<_> = schema.fields().map(|field| field.id).collect();
        let request = ScanRequest { streams: 2, ..ScanRequest::all(fields) };
        let found = all.entry(schema.id).or_default();
        for (key, time, row) in scan(&table, request)? {
            found.entry((key, time)).or_default().push(row);
        }
    }
    Ok(all)
}

/// Compares rows with those of the model that lie in no bad block.
fn check_around(db: &Db, model: &Model, context: &str) {
    let found = read_around(db, context);
    let bad = db.quarantined();
    let snapshot = db.snapshot();
    for (id, expect) in &model.tables {
        let table = snapshot.table_by_id(*id).unwrap();
        let lost = |key: &[u8], time: i64| {
            let number = table.series().lookup(&Key::from_bytes(key).unwrap()).unwrap();
            // Columns that were dropped since are read by nobody.
            let ours = bad.iter().filter(|bad| bad.table == *id && bad.path.ends_with(".part"));
            ours.filter(|bad| bad.block.concerns(&expect.fields())).any(|bad| {
                let (first, last) = bad.block.series;
                bad.block.times.contains(time) && first <= number && number <= last
            })
        };
        let mut rows = expect.rows.clone();
        rows.retain(|(key, time), _| !lost(key, *time));
        assert_eq!(found[id], rows, "{context}: table {id} around {bad:?}");
    }
}

/// Reads everything and something; each is true or tells.
fn check_or_told(db: &Db, model: &Model, random: &mut Random, context: &str) {
    match read(&db.snapshot()) {
        Ok(mut found) => {
            found.next_table = model.next_table;
            assert_eq!(found, *model, "{context}");
        }
        Err(error) => told(db, &error, context),
    }
    for _ in 0..4 {
        if let Err(error) = check_some(db, model, random, context) {
            told(db, &error, context);
        }
    }
}

/// The bad blocks by their places, without what a restart may tell otherwise.
fn places(db: &Db) -> Vec<String> {
    let place = |bad: &Quarantined| format!("{} {} {}", bad.table, bad.part, bad.block);
    let mut places: Vec<_> = db.quarantined().iter().map(place).collect();
    places.sort_unstable();
    places
}

fn run(seed: u64) -> usize {
    let mut random = Random::new(seed);
    let options = small_options(&mut random, false);
    let (storage, mut model) = several_parts(&mut random, &options);
    let sound = damage(&storage, &mut random);
    let context = |what: &str| format!("seed {seed}, {what}, {:?}", sound.keys());
    let db = open(&storage, options.clone());
    check_or_told(&db, &model, &mut random, &context("as it was opened"));
    check_around(&db, &model, &context("as it was opened"));
    db.scrub(0).unwrap();
    let found = db.quarantined().len();
    check_around(&db, &model, &context("scrubbed"));
    for step in 0..10 {
        let context = context(&format!("step {step}"));
        commit(&db, &mut model, &mut random, 60).unwrap();
        match maintain(&db, &mut random) {
            Ok(()) => {}
            Err(error) => told(&db, &error, &context),
        }
        assert_eq!(db.read_only(), None, "{context}");
        check_or_told(&db, &model, &mut random, &context);
        check_around(&db, &model, &context);
    }
    let before = places(&db);
    db.close().unwrap();
    let db = open(&storage, options.clone());
    assert_eq!(places(&db), before, "{}", context("opened again"));
    assert!(db.quarantined().iter().all(|bad| bad.recorded), "{:?}", db.quarantined());
    read_without(&db).unwrap_or_else(|e| panic!("{}: {e}", context("opened again")));
    check_around(&db, &model, &context("opened again"));
    db.close().unwrap();
    // What is still there gets its bytes back.
    for (path, bytes) in &sound {
        if storage.exists(path).unwrap() {
            storage.put(path, bytes.clone());
        }
    }
    let db = open(&storage, options.clone());
    assert!(db.scrub(0).unwrap());
    assert_eq!(db.quarantined(), [], "{}", context("repaired"));
    check(&db, &model, &context("repaired"));
    db.checkpoint().unwrap();
    db.merge_full(None).unwrap();
    check(&db, &model, &context("repaired and merged"));
    db.close().unwrap();
    check(&open(&storage, options), &model, &context("repaired, merged, opened"));
    found
}

#[test]
fn bad_blocks_are_told_and_read_around() {
    let found: usize = seeds(0..40).map(run).sum();
    assert!(found > 0 || std::env::var_os("MILLRACE_SEED").is_some(), "no bit hit a block");
}

#[test]
fn bad_blocks_of_sealed_parts_are_told_and_read_around() {
    sealed(|| assert!(seeds(100..112).map(run).sum::<usize>() > 0));
}

/// A device that fails to read: told, and all is well when it reads again.
#[test]
fn a_failing_device_is_told() {
    let mut random = Random::new(7);
    let options = Options { cache_bytes_max: 0, ..small_options(&mut random, false) };
    let (memory, model) = several_parts(&mut random, &options);
    let faulty = Arc::new(FaultyStorage::new(Arc::new(memory)));
    let db = Db::open(shaped(faulty.clone()), Options { blocks_bytes_max: 0, ..options }).unwrap();
    faulty.set_plan(FaultPlan::FailReadsFrom { at: faulty.reads(), error: FaultKind::Io });
    let error = read(&db.snapshot()).unwrap_err();
    told(&db, &error, "no read succeeds");
    assert!(error.to_string().contains("cannot be read"), "{error}");
    assert_eq!(db.read_only(), None);
    faulty.set_plan(FaultPlan::None);
    check(&db, &model, "reads succeed");
    assert!(db.scrub(0).unwrap());
    assert_eq!(db.quarantined(), []);
}

/// A part whose file is gone: the table answers for what lies elsewhere.
#[test]
fn a_missing_part_is_told() {
    let mut random = Random::new(9);
    let options = small_options(&mut random, false);
    let (storage, model) = several_parts(&mut random, &options);
    let path = parts(&storage).into_iter().find(|path| path.ends_with(".part")).unwrap();
    let bytes = storage.bytes(&path).unwrap();
    storage.remove(&path).unwrap();
    let db = open(&storage, options.clone());
    let bad = db.quarantined();
    assert_eq!(bad.len(), 1);
    assert!(bad[0].block.is_file() && bad[0].path == path, "{bad:?}");
    let table = db.snapshot().table_by_id(bad[0].table).unwrap();
    let aside = TimeRange::new(i64::MIN, bad[0].block.times.min - 1);
    scan(&table, ScanRequest { times: aside, ..ScanRequest::all(vec![]) }).unwrap();
    check_or_told(&db, &model, &mut random, "missing");
    check_around(&db, &model, "missing");
    db.close().unwrap();
    storage.put(&path, bytes);
    let db = open(&storage, options);
    db.scrub(0).unwrap();
    assert_eq!(db.quarantined(), []);
    check(&db, &model, "back again");
}
