//! The archive: rows are the same wherever they lie, at every crash and whatever the store does.

use std::io;
use std::sync::Arc;

use crate::crypto::tests::shape::{sealed, shaped};
use crate::io::{FaultPlan, FaultyStorage, MemoryStorage, Storage};
use crate::tier::{Connector, MemoryObjects, Objects};
use crate::types::*;
use crate::{Command, Db, Error, Options, PartInfo, Result, ScanRequest, Selection};

use super::life::{HOUR, batch, quarters, settings, table, times, write};
use super::model::{Model, check, check_some};
use super::random::Random;
use super::seeds;
use super::workload::{commit, maintain, small_options};

const URL: &str = "memory://plant/archive";
/// Far behind all rows.
const LATER: i64 = 1 << 61;
/// Between two rows.
const STEP: i64 = 100_000_000;

/// Knows one store.
#[derive(Debug)]
struct Stores(MemoryObjects);

impl Connector for Stores {
    fn connect(&self, url: &str) -> io::Result<Arc<dyn Objects>> {
        match url {
            URL => Ok(Arc::new(self.0.clone())),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("no store {url:?}"))),
        }
    }
}

pub fn with_store(options: Options, store: &MemoryObjects) -> Options {
    Options {
        connector: Arc::new(Stores(store.clone())),
        archive_url: Some(URL.into()),
        archive_grace_seconds: 60,
        // Not all of an object: what is read is fetched again and again.
        archive_cache_bytes_max: 1024,
        ..options
    }
}

fn options(store: &MemoryObjects) -> Options {
    let plain = Options { shards: 2, merge_fan_in: 2, background: false, ..Options::default() };
    with_store(plain, store)
}

fn open(storage: &MemoryStorage, store: &MemoryObjects) -> Arc<Db> {
    Db::open(shaped(Arc::new(storage.clone())), options(store)).unwrap()
}

fn archive_after(db: &Db, id: TableId, age: Option<i64>) {
    let options = TableOptions {
        archive_after_ns: age,
        ..db.snapshot().table_by_id(id).unwrap().schema().options.clone()
    };
    db.execute(Command::SetOptions { table: id, options }).unwrap();
}

/// A table with a part an hour, and one row in a while.
fn hours(db: &Db, count: i64) -> TableId {
    let id = table(db, None);
    // Times and values that do not compress away: blocks reach beyond those of the index.
    let mut random = Random::new(1);
    for hour in 0..count {
        let mut time = |row: i64| match row {
            0 | 32_999 => row * STEP,
            _ => row * STEP + random.below(STEP as u64) as i64,
        };
        let rows: Vec<i64> = (0..33_000).map(|row| hour * HOUR + time(row)).collect();
        write(db, id, "a", &rows);
    }
    archive_after(db, id, Some(2 * HOUR));
    db.checkpoint().unwrap();
    db.merge_full(None).unwrap();
    id
}

fn parts(db: &Db, id: TableId) -> Vec<PartInfo> {
    db.snapshot().table_by_id(id).unwrap().parts()
}

fn archived(db: &Db, id: TableId) -> usize {
    parts(db, id).iter().filter(|part| part.object.is_some()).count()
}

fn objects(store: &MemoryObjects) -> usize {
    store.list("").unwrap().len()
}

fn try_times(db: &Db, id: TableId, range: TimeRange) -> Result<usize> {
    let table = db.snapshot().table_by_id(id).unwrap();
    let request = ScanRequest { times: range, ..ScanRequest::all(vec![2]) };
    let mut rows = 0;
    for stream in &mut table.scan(request)?.streams {
        while let Some(batch) = stream.next_rows()? {
            rows += batch.len();
        }
    }
    Ok(rows)
}

/// The data folder names what the version does and nothing else.
fn check_folder(storage: &MemoryStorage, context: &str) {
    let shared = shaped(Arc::new(storage.clone()));
    let named = crate::engine::version::FoundVersion::read(&*shared).unwrap().version.files();
    for name in storage.list("parts").unwrap() {
        assert!(named.contains(&format!("parts/{name}")), "{context}: {name} is left over");
    }
    let findings = crate::engine::verify(&shared, |_| {}).unwrap();
    assert!(findings.iter().all(|f| f.damage.is_none()), "{context}: {findings:?}");
}

#[test]
fn closed_partitions_move_and_answer() {
    let (storage, store) = (MemoryStorage::new(), MemoryObjects::default());
    let db = open(&storage, &store);
    let id = hours(&db, 6);
    let before = times(&db, id);
    let local = |db: &Db| db.stats().part_bytes - db.stats().archived_bytes;
    let bytes = local(&db);
    // Half past six: hours up to the one that ends at four are two hours and more old.
    let tended = db.tend(6 * HOUR + HOUR / 2).unwrap();
    assert_eq!((tended.archived, tended.failure), (4, None));
    assert_eq!((archived(&db, id), objects(&store)), (4, 4));
    assert!(local(&db) < bytes / 2);
    assert_eq!(storage.list("parts").unwrap().iter().filter(|n| n.ends_with(".index")).count(), 4);
    assert_eq!(times(&db, id), before);
    // Late rows and deletes lie beside, hot.
    write(&db, id, "b", &[HOUR + 1, 5 * HOUR + 1]);
    write(&db, id, "a", &[0]);
    let hour = TimeRange::new(2 * HOUR, 3 * HOUR - 1);
    let selections = vec![Selection::Range { series: None, times: hour }];
    db.execute(Command::Delete { table: id, selections }).unwrap();
    let mut expect: Vec<i64> = before.into_iter().filter(|time| !hour.contains(*time)).collect();
    expect.extend([HOUR + 1, 5 * HOUR + 1]);
    expect.sort_unstable();
    assert_eq!(times(&db, id), expect);
    db.checkpoint().unwrap();
    db.merge_full(None).unwrap();
    assert_eq!(times(&db, id), expect);
    // The hour that was deleted whole is gone; its object is dead, and deleted after the grace.
    assert_eq!((archived(&db, id), objects(&store)), (3, 4));
    let tiers: Vec<_> = db.snapshot().table_by_id(id).unwrap().partitions();
    let tiers: Vec<_> = tiers.iter().map(|partition| partition.tier).collect();
    // The late rows of the first two hours share a part.
    assert_eq!(tiers, ["archive", "hot", "archive", "archive", "hot", "hot"]);
    let soon = crate::now_ns();
    assert_eq!(db.tend(soon).unwrap().collected, 0);
    assert_eq!(db.tend(soon + 120_000_000_000).unwrap().collected, 1);
    db.close().unwrap();
    check_folder(&storage, "closed");
    let db = open(&storage, &store);
    assert_eq!(times(&db, id), expect);
    assert_eq!(db.execute(Command::DropTable { table: id }).unwrap(), crate::Outcome::Done);
    db.tend(LATER).unwrap();
    assert_eq!(objects(&store), 0);
}

#[test]
fn the_index_is_here() {
    let (storage, store) = (MemoryStorage::new(), MemoryObjects::default());
    let db = open(&storage, &store);
    let id = hours(&db, 3);
    assert_eq!(db.tend(LATER).unwrap().archived, 3);
    db.close().unwrap();
    let calls = store.calls();
    let db = open(&storage, &store);
    for part in db.snapshot().table_by_id(id).unwrap().parts() {
        assert!(part.index_bytes > 0 && part.values == 33_000);
    }
    // Rows outside of every zone, and the newest row, need no object.
    assert_eq!(try_times(&db, id, TimeRange::new(LATER, LATER + 1)).unwrap(), 0);
    let series = [0].into_iter().collect();
    let last = db.snapshot().table_by_id(id).unwrap().last_rows(&series, &[2]).unwrap();
    assert_eq!(last.times, [2 * HOUR + 32_999 * STEP]);
    assert_eq!(store.calls(), calls);
    assert_eq!(db.stats().archive_fetched_bytes, 0);
    assert_eq!(try_times(&db, id, TimeRange::ALL).unwrap(), 99_000);
    assert!(db.stats().archive_fetched_bytes > 0);
    assert!(db.stats().archive_cache_bytes <= 1024);
    db.close().unwrap();
    // Without the index, or with a damaged one, the object says it all.
    for name in storage.list("parts").unwrap() {
        if let Some(number) = name.strip_suffix(".index") {
            let path = format!("parts/{name}");
            let mut bytes = storage.bytes(&path).unwrap();
            let at = bytes.len() / if number.ends_with('1') { 2 } else { 100 };
            bytes[at] ^= 1;
            storage.put(&path, bytes);
        }
    }
    let db = open(&storage, &store);
    assert_eq!(try_times(&db, id, TimeRange::ALL).unwrap(), 99_000);
}

#[test]
fn parts_come_back() {
    let (storage, store) = (MemoryStorage::new(), MemoryObjects::default());
    let db = open(&storage, &store);
    let id = hours(&db, 4);
    write(&db, id, "late", &[5, HOUR + 5]);
    db.checkpoint().unwrap();
    db.tend(LATER).unwrap();
    let before = times(&db, id);
    assert_eq!(archived(&db, id), 4);
    // The late part follows into the archive, above the others.
    db.merge_due().unwrap();
    db.merge_full(None).unwrap();
    db.tend(LATER).unwrap();
    assert!(archived(&db, id) > 4, "{:?}", parts(&db, id));
    assert_eq!(times(&db, id), before);
    // The first hour comes back, and what lies above it.
    let first = TimeRange::new(10, 20);
    let above = archived(&db, id) - 4;
    let restored = db.restore(id, first, LATER + HOUR).unwrap();
    assert!(restored > 1 && restored <= 1 + above as u64, "{restored}");
    assert_eq!(times(&db, id), before);
    let left = archived(&db, id);
    assert_eq!(db.tend(LATER).unwrap().archived, 0, "what was brought back stays");
    db.merge_full(None).unwrap();
    assert_eq!(archived(&db, id), left);
    assert_eq!(times(&db, id), before);
    db.close().unwrap();
    check_folder(&storage, "restored");
    let db = open(&storage, &store);
    assert_eq!(times(&db, id), before);
    assert!(db.tend(LATER + 2 * HOUR).unwrap().archived > 0, "and goes when its time is over");
    assert_eq!(db.restore(id, TimeRange::ALL, LATER + 4 * HOUR).unwrap() as usize, {
        assert_eq!(times(&db, id), before);
        parts(&db, id).len()
    });
    db.tend(LATER + 3 * HOUR).unwrap();
    assert_eq!((archived(&db, id), objects(&store)), (0, 0));
    assert_eq!(times(&db, id), before);
    assert!(matches!(db.restore(99, TimeRange::ALL, 0), Err(Error::NotFound(_))));
}

#[test]
fn an_outage_stops_only_what_needs_the_object() {
    let (storage, store) = (MemoryStorage::new(), MemoryObjects::default());
    let db = open(&storage, &store);
    let id = hours(&db, 4);
    archive_after(&db, id, Some(LATER - 3 * HOUR));
    assert_eq!(db.tend(LATER).unwrap().archived, 3);
    // The last row of b is archived, and that above it goes while the store is away.
    write(&db, id, "b", &[30, 3 * HOUR + 30]);
    db.checkpoint().unwrap();
    store.fail_after(Some(0));
    let row = TimeRange::new(3 * HOUR + 30, 3 * HOUR + 30);
    let series = Some([1].into_iter().collect());
    let selections = vec![Selection::Range { series, times: row }];
    db.execute(Command::Delete { table: id, selections }).unwrap();
    assert_eq!(try_times(&db, id, TimeRange::new(3 * HOUR, 4 * HOUR)).unwrap(), 33_000);
    let error = try_times(&db, id, TimeRange::ALL).unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert!(error.to_string().contains(&format!("object {URL}/")), "{error}");
    let error = db.restore(id, TimeRange::ALL, 0).unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    write(&db, id, "c", &[4 * HOUR]);
    db.checkpoint().unwrap();
    db.merge_full(None).unwrap();
    let failure = db.tend(LATER + 3 * HOUR).unwrap().failure.unwrap();
    assert!(failure.contains(URL), "{failure}");
    db.close().unwrap();
    // A start needs no store.
    let db = open(&storage, &store);
    assert_eq!(db.read_only(), None);
    store.fail_after(None);
    let wanted = (0..3).collect();
    let last = db.snapshot().table_by_id(id).unwrap().last_rows(&wanted, &[2]).unwrap();
    assert_eq!(last.times, [3 * HOUR + 32_999 * STEP, 30, 4 * HOUR]);
    assert_eq!(try_times(&db, id, TimeRange::ALL).unwrap(), 4 * 33_000 + 2);
    // A store that nobody knows is refused when it is needed, not before.
    let strange = Options {
        connector: Arc::new(crate::tier::FolderConnector),
        archive_url: None,
        ..options(&store)
    };
    db.close().unwrap();
    let db = Db::open(shaped(Arc::new(storage.clone())), strange).unwrap();
    assert!(try_times(&db, id, TimeRange::ALL).unwrap_err().to_string().contains("folder"));
}

/// Last rows that a flush could not look up are looked up after the next start.
#[test]
fn last_rows_survive_an_outage() {
    let (storage, store) = (MemoryStorage::new(), MemoryObjects::default());
    let db = open(&storage, &store);
    let id = hours(&db, 3);
    db.tend(LATER).unwrap();
    write(&db, id, "a", &[3 * HOUR]);
    db.checkpoint().unwrap();
    store.fail_after(Some(0));
    let times = TimeRange::new(3 * HOUR, 3 * HOUR);
    let selections = vec![Selection::Range { series: None, times }];
    db.execute(Command::Delete { table: id, selections }).unwrap();
    db.checkpoint().unwrap();
    // A late row must not pass for the last one.
    write(&db, id, "a", &[7]);
    db.checkpoint().unwrap();
    assert_eq!(db.read_only(), None);
    db.close().unwrap();
    let db = open(&storage, &store);
    let last = |db: &Db| {
        let table = db.snapshot().table_by_id(id).unwrap();
        table.last_rows(&[0].into_iter().collect(), &[2]).map(|rows| rows.times)
    };
    assert!(matches!(last(&db), Err(Error::Unavailable(_))));
    store.fail_after(None);
    assert_eq!(last(&db).unwrap(), [2 * HOUR + 32_999 * STEP]);
}

#[test]
fn damaged_objects_are_named() {
    let (storage, store) = (MemoryStorage::new(), MemoryObjects::default());
    let db = open(&storage, &store);
    let id = hours(&db, 3);
    db.tend(LATER).unwrap();
    let name = store.list("").unwrap()[0].0.clone();
    let whole = store.get(&name, 0..store.size(&name).unwrap()).unwrap();
    let rest = TimeRange::new(HOUR, 3 * HOUR);
    let mut random = Random::new(5);
    for round in 0..40 {
        store.damage(&name, |bytes| {
            bytes.clone_from(&whole);
            match round {
                0 => bytes.truncate(whole.len() / 2),
                1 => bytes.clear(),
                _ => {
                    let at = random.below(whole.len() as u64) as usize;
                    bytes[at] ^= 1 << random.below(8);
                }
            }
        });
        // The index is not read from the object: damage there harms nobody but who restores it.
        match try_times(&db, id, TimeRange::new(0, HOUR - 1)) {
            Ok(rows) => assert!(rows == 33_000 && round > 1, "round {round}: {rows}"),
            Err(error) => assert!(matches!(error, Error::Corrupt(_)), "{error:?}"),
        }
        assert_eq!(try_times(&db, id, rest).unwrap(), 66_000);
        let restored = db.restore(id, TimeRange::new(0, 0), 0);
        assert!(matches!(restored, Err(Error::Corrupt(_))), "round {round}: {restored:?}");
    }
    store.delete(&name).unwrap();
    let error = try_times(&db, id, TimeRange::ALL).unwrap_err().to_string();
    assert!(error.contains(&name) && error.contains("missing"), "{error}");
    assert_eq!(db.read_only(), None);
    store.put(&name, &mut &whole[..]).unwrap();
    assert_eq!(try_times(&db, id, TimeRange::ALL).unwrap(), 99_000);
    check_folder(&storage, "damaged");
}

/// Archive, late rows, deletes, restore, collection; returns the rows that there must be.
fn script(db: &Db) -> Result<Vec<i64>> {
    let id = 1;
    db.checkpoint()?;
    db.merge_full(None)?;
    db.tend(LATER)?;
    db.commit(vec![Command::Write(batch(id, "late", &[9, 5 * HOUR + 9]))])?.all()?;
    let times = TimeRange::new(HOUR, HOUR + HOUR / 2);
    let selections = vec![Selection::Range { series: None, times }];
    db.commit(vec![Command::Delete { table: id, selections }])?.all()?;
    db.checkpoint()?;
    db.merge_full(None)?;
    db.tend(LATER + 1)?;
    db.restore(id, TimeRange::new(0, 2 * HOUR), LATER + HOUR)?;
    db.merge_full(None)?;
    db.tend(LATER + 2 * HOUR)?;
    db.restore(id, TimeRange::ALL, LATER + 3 * HOUR)?;
    db.tend(LATER + 2 * HOUR)?;
    let mut expect = quarters(0..6);
    expect.retain(|time| !times.contains(*time));
    expect.extend([9, 5 * HOUR + 9]);
    expect.sort_unstable();
    Ok(expect)
}

fn prepared() -> MemoryStorage {
    let (storage, store) = (MemoryStorage::new(), MemoryObjects::default());
    let db = open(&storage, &store);
    let id = table(&db, None);
    for hours in [0..2, 2..4, 4..6] {
        write(&db, id, "a", &quarters(hours));
        db.checkpoint().unwrap();
        db.merge_full(None).unwrap();
    }
    archive_after(&db, id, Some(HOUR));
    db.close().unwrap();
    storage
}

/// After whatever happened: all rows or those of before the script's writes, and in the end
/// neither objects nor files that nothing names.
fn check_after(storage: &MemoryStorage, store: &MemoryObjects, context: &str) {
    let db = open(storage, store);
    let found = times(&db, 1);
    let expect = script(&db).unwrap_or_else(|e| panic!("{context}: {e}"));
    let late = |time: &&i64| **time % (HOUR / 4) == 9;
    let plain: Vec<i64> = quarters(0..6);
    let sound = |time: &&i64| expect.contains(time) || plain.contains(time);
    assert!(found.iter().all(|time| sound(&time)), "{context}: {found:?}");
    assert!([0, 2].contains(&found.iter().filter(late).count()), "{context}: {found:?}");
    let hidden = plain.len() - found.iter().filter(|time| plain.contains(time)).count();
    assert!([0, 3].contains(&hidden), "{context}: {found:?}");
    assert_eq!(times(&db, 1), expect, "{context}");
    db.tend(LATER + 4 * HOUR).unwrap();
    let now = archived(&db, 1);
    db.tend(i64::MAX - 1).unwrap();
    assert_eq!(objects(store), now, "{context}: objects are left over");
    assert_eq!(times(&db, 1), expect, "{context}");
    db.close().unwrap();
    check_folder(storage, context);
}

#[test]
fn crash_images_at_every_operation() {
    let start = prepared();
    let mut at = 0;
    loop {
        let (storage, store) = (start.copy(), MemoryObjects::default());
        let faulty = FaultyStorage::new(Arc::new(storage.clone()));
        faulty.set_plan(FaultPlan::CrashAt(at));
        let shared: Arc<dyn Storage> = shaped(Arc::new(faulty.clone()));
        if let Ok(db) = Db::open(shared, options(&store)) {
            let done = script(&db);
            assert!(done.is_ok() || faulty.struck(), "{done:?}");
        }
        if !faulty.struck() {
            break;
        }
        let crashed = if at % 2 == 0 { storage.crash(at) } else { storage.crash_hard() };
        check_after(&crashed, &store, &format!("crash at {at}"));
        at += 1;
    }
    assert!(at > 200, "{at} operations");
}

#[test]
fn crash_images_at_every_operation_of_sealed_files() {
    sealed(crash_images_at_every_operation);
}

#[test]
fn archived_parts_of_encrypted_databases_answer() {
    sealed(closed_partitions_move_and_answer);
    sealed(the_index_is_here);
    // Objects are as sealed as files: none holds what is the same in every plain part.
    let (plain, store) = (MemoryObjects::default(), MemoryObjects::default());
    for (store, seals) in [(&plain, false), (&store, true)] {
        let archive = || {
            let db = open(&MemoryStorage::new(), store);
            hours(&db, 3);
            assert_eq!(db.tend(LATER).unwrap().archived, 3);
        };
        if seals { sealed(archive) } else { archive() }
    }
    let begins = |store: &MemoryObjects| {
        let (name, _) = store.list("").unwrap().swap_remove(0);
        store.get(&name, 0..8).unwrap()
    };
    assert_ne!(begins(&plain), begins(&store));
}

#[test]
fn stores_that_fail_at_every_call() {
    let start = prepared();
    let mut at = 0;
    loop {
        let (storage, store) = (start.copy(), MemoryObjects::default());
        let db = open(&storage, &store);
        store.fail_after(Some(at));
        let done = script(&db);
        let failed = store.list("").is_err();
        match done {
            Ok(_) => {}
            Err(Error::Unavailable(_)) if failed => {}
            Err(error) => panic!("call {at}: {error:?}"),
        }
        assert_eq!(db.read_only(), None, "call {at}");
        store.fail_after(None);
        db.close().unwrap();
        check_after(&storage, &store, &format!("store failed from call {at} on"));
        if !failed {
            break;
        }
        at += 1;
    }
    assert!(at > 20, "{at} calls");
}

/// Writers, merges, moves there and back, and readers, all at once: no row is ever missing.
#[test]
fn moving_parts_harm_no_reader() {
    use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
    let (storage, store) = (MemoryStorage::new(), MemoryObjects::default());
    // Readers of older states may still want what is dead.
    let archive_grace_seconds = 1_000_000_000;
    let busy = Options { head_bytes_max: 4096, background: true, ..options(&store) };
    let options = Options { archive_grace_seconds, ..busy };
    let db = Db::open(shaped(Arc::new(storage.clone())), options).unwrap();
    let id = table(&db, None);
    archive_after(&db, id, Some(HOUR));
    let (written, over) = (AtomicI64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for hour in 0..60 {
                write(&db, id, "a", &quarters(hour..hour + 1));
                written.store((hour + 1) * 4, Ordering::SeqCst);
                if hour % 3 == 0 {
                    db.checkpoint().unwrap();
                }
            }
            over.store(true, Ordering::SeqCst);
        });
        for worker in 0..2 {
            let (db, over) = (&db, &over);
            scope.spawn(move || {
                let mut random = Random::new(worker);
                while !over.load(Ordering::SeqCst) {
                    match random.below(3) {
                        0 => db.merge_full(None).unwrap(),
                        1 => assert_eq!(db.tend(LATER).unwrap().failure, None),
                        _ => {
                            let from = random.below(60) as i64 * HOUR;
                            let times = TimeRange::new(from, from + 5 * HOUR);
                            db.restore(id, times, 0).unwrap();
                        }
                    }
                }
            });
        }
        while !over.load(Ordering::SeqCst) {
            let least = written.load(Ordering::SeqCst);
            let found = times(&db, id);
            assert!(found.len() as i64 >= least, "{} rows of {least}", found.len());
            assert_eq!(found, quarters(0..found.len() as i64 / 4));
        }
    });
    assert_eq!(db.read_only(), None);
    db.merge_full(None).unwrap();
    db.tend(LATER).unwrap();
    assert_eq!(times(&db, id), quarters(0..60));
    db.tend(i64::MAX - 1).unwrap();
    assert_eq!(objects(&store), archived(&db, id));
    db.close().unwrap();
    drop(db);
    let db = open(&storage, &store);
    assert_eq!(times(&db, id), quarters(0..60));
    db.close().unwrap();
    check_folder(&storage, "after the race");
}

/// A store that takes objects and does not give them back gets one object a part, however often
/// it is tried.
#[test]
fn attempts_do_not_pile_up() {
    let (storage, store) = (prepared(), MemoryObjects::default());
    let db = open(&storage, &store);
    for _ in 0..5 {
        // The upload goes through, what follows does not.
        store.fail_after(Some(1));
        assert!(db.tend(LATER).unwrap().failure.is_some());
        store.fail_after(None);
        assert_eq!((objects(&store), archived(&db, 1)), (1, 0));
    }
    assert_eq!(db.tend(LATER).unwrap().archived, 3);
    assert_eq!(objects(&store), 3);
    // Retention takes archived partitions like others, and their objects after the grace.
    let options = TableOptions { archive_after_ns: Some(HOUR), ..settings(Some(3 * HOUR)) };
    db.execute(Command::SetOptions { table: 1, options }).unwrap();
    db.tend(7 * HOUR).unwrap();
    assert_eq!(times(&db, 1), quarters(4..6));
    db.merge_due().unwrap();
    assert_eq!((archived(&db, 1), objects(&store)), (1, 3));
    db.tend(crate::now_ns() + 120_000_000_000).unwrap();
    assert_eq!(objects(&store), 1);
}

/// Every table of the database archives what it can.
fn archive_all(db: &Db, model: &mut Model, random: &mut Random) {
    for (id, table) in &mut model.tables {
        let options = TableOptions {
            merge: table.mode,
            partition_ns: table.partition_ns,
            partition_columns: table.partition_columns.clone(),
            archive_after_ns: Some(1),
            ..TableOptions::default()
        };
        db.execute(Command::SetOptions { table: *id, options }).unwrap();
        // Without a retention, tending takes the cut away.
        table.cut = None;
    }
    let now = if random.below(3) == 0 { LATER } else { 2_000 * 1_000_000_000 };
    let tended = db.tend(now).unwrap();
    assert_eq!(tended.failure, None);
}

fn run(seed: u64) {
    let mut random = Random::new(seed);
    let (storage, store) = (MemoryStorage::new(), MemoryObjects::default());
    let options = with_store(small_options(&mut random, false), &store);
    let open =
        |storage: &MemoryStorage| Db::open(shaped(Arc::new(storage.clone())), options.clone());
    let mut db = open(&storage).unwrap();
    let mut model = Model::default();
    for step in 0..70 {
        let context = format!("seed {seed} step {step}");
        match random.below(22) {
            0..10 => commit(&db, &mut model, &mut random, 60).unwrap(),
            10..13 => maintain(&db, &mut random).unwrap(),
            13..16 => archive_all(&db, &mut model, &mut random),
            16 => {
                let Some(id) = random.pick_of(model.tables.keys()).copied() else { continue };
                let (a, b) = (random.time(), random.time());
                let until = [0, LATER][random.below(2) as usize];
                db.restore(id, TimeRange::new(a.min(b), a.max(b)), until).unwrap();
            }
            17 => {
                db.close().unwrap();
                db = open(&storage).unwrap();
                check(&db, &model, &context);
            }
            _ => check_some(&db, &model, &mut random, &context).unwrap(),
        }
    }
    check(&db, &model, &format!("seed {seed}, at the end"));
    db.checkpoint().unwrap();
    db.merge_full(None).unwrap();
    archive_all(&db, &mut model, &mut random);
    check(&db, &model, &format!("seed {seed}, archived"));
    for id in model.tables.keys() {
        db.restore(*id, TimeRange::ALL, LATER).unwrap();
        assert_eq!(archived(&db, *id), 0);
    }
    db.merge_full(None).unwrap();
    check(&db, &model, &format!("seed {seed}, restored"));
    db.tend(i64::MAX - 1).unwrap();
    db.close().unwrap();
    check_folder(&storage, &format!("seed {seed}"));
}

#[test]
fn hot_and_archived_rows_are_the_model() {
    seeds(3000..3080).for_each(run);
}

#[test]
fn hot_and_archived_rows_of_encrypted_databases_are_the_model() {
    sealed(|| seeds(1000..1010).for_each(run));
}
