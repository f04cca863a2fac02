//! Full disks: data is refused before the disk ends, what makes room goes on, and writes are taken
//! again by themselves. Where the disk ends all the same, nothing is lost and nothing invented.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::crypto::tests::shape::{sealed, shaped};
use crate::io::{MemoryStorage, Storage};
use crate::types::*;
use crate::{Command, Db, Error, Options, Selection};

use super::life::{HOUR, batch, create, new_table, table, times, write};
use super::model::{Model, check, read};
use super::random::{self, Random};
use super::seeds;
use super::workload::{maintain, numbered, only_known, open, small_options};

const RESERVE: u64 = 512 << 10;

fn options(background: bool) -> Options {
    Options {
        shards: 2,
        merge_fan_in: 2,
        head_bytes_max: 64 << 10,
        heads_bytes_max: 256 << 10,
        log_bytes_max: 1 << 30,
        log_segment_bytes_max: 8 << 10,
        disk_reserve_bytes: RESERVE,
        background,
        ..Options::default()
    }
}

fn rows(hour: i64) -> Vec<i64> {
    (0..400).map(|row| hour * HOUR + row * 1_000_003 + row % 7).collect()
}

fn try_write(db: &Db, id: TableId, hour: i64) -> crate::Result<()> {
    db.execute(Command::Write(batch(id, "a", &rows(hour)))).map(|_| ())
}

/// Writes hour after hour until the database has no more room; returns how many it took.
fn fill(db: &Db, id: TableId) -> i64 {
    for hour in 0..10_000 {
        if let Err(error) = try_write(db, id, hour) {
            let Error::Full(why) = &error else { panic!("{error}") };
            for said in ["bytes free", "disk_reserve_bytes", "drop tables"] {
                assert!(why.contains(said), "{why}");
            }
            return hour;
        }
        // As the thread does it that looks after heads.
        if hour % 20 == 19 {
            db.checkpoint().unwrap();
        }
    }
    panic!("there was always room");
}

fn a_disk_fills_up_and_is_emptied() {
    let storage = MemoryStorage::new();
    let db = open(&storage, options(false));
    let (id, other) = (table(&db, None), create(&db, new_table("other", None)));
    write(&db, other, "b", &rows(0));
    storage.set_capacity(Some(storage.used_bytes() + RESERVE + (1536 << 10)));
    assert_eq!(db.full(), None);
    let hours = fill(&db, id);
    assert!(hours > 5, "{hours}");
    let free = storage.free_bytes().unwrap();
    assert!(free > RESERVE / 2, "refused before the reserve is used up: {free}");
    assert!(db.full().unwrap().contains("disk_reserve_bytes"));
    assert_eq!(db.read_only(), None);
    let stats = db.stats();
    assert_eq!((stats.disk_free_bytes, stats.disk_reserve_bytes), (free, RESERVE));
    // Tables and columns are data too; reads, deletes and drops go on.
    let third = Command::CreateTable(new_table("third", None));
    assert!(matches!(db.execute(third), Err(Error::Full(_))));
    assert_eq!(times(&db, id).len(), 400 * hours as usize);
    let range = TimeRange::new(0, HOUR - 1);
    let selections = vec![Selection::Range { series: None, times: range }];
    db.execute(Command::Delete { table: other, selections }).unwrap();
    assert_eq!(times(&db, other).len(), 0);
    // What is flushed is shorter than its log, which goes.
    let before = storage.free_bytes().unwrap();
    db.checkpoint().unwrap();
    db.checkpoint().unwrap();
    let after = storage.free_bytes().unwrap();
    assert!(after + RESERVE / 4 > before, "{after} of {before}");
    // Somebody else takes the rest, and the reserve with it.
    storage.set_capacity(Some(storage.used_bytes() + RESERVE / 4));
    assert!(matches!(try_write(&db, id, 1), Err(Error::Full(_))));
    let rows = crate::rows::RowCommand::default();
    assert!(matches!(db.execute(Command::Rows(rows)), Err(Error::Full(_))));
    db.execute(Command::DropTable { table: id }).unwrap();
    assert!(storage.free_bytes().unwrap() > RESERVE / 2, "files of the table are gone");
    // Nobody has to do anything for this.
    storage.set_capacity(Some(storage.used_bytes() + 2 * RESERVE));
    assert_eq!(db.full(), None);
    try_write(&db, other, 1).unwrap();
    db.close().unwrap();
    storage.set_capacity(None);
    let db = open(&storage, options(false));
    assert_eq!(times(&db, other).len(), 400);
    assert_eq!(db.snapshot().tables().len(), 1);
}

#[test]
fn data_is_refused_before_the_disk_ends_and_taken_when_there_is_room() {
    a_disk_fills_up_and_is_emptied();
    sealed(a_disk_fills_up_and_is_emptied);
}

#[test]
fn retention_makes_room_and_writes_go_on() {
    let storage = MemoryStorage::new();
    let db = open(&storage, options(false));
    let id = table(&db, Some(4 * HOUR));
    storage.set_capacity(Some(storage.used_bytes() + RESERVE + (300 << 10)));
    let mut hour = 0;
    let mut stopped = 0;
    for _ in 0..600 {
        match try_write(&db, id, hour) {
            Ok(()) => hour += 1,
            Err(Error::Full(_)) => {
                stopped += 1;
                db.tend(hour * HOUR).unwrap();
                db.checkpoint().unwrap();
                db.merge_due().unwrap_or_else(|error| assert!(matches!(error, Error::Full(_))));
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(stopped > 3 && hour > 60, "{stopped} {hour}");
}

#[test]
fn a_merge_leaves_the_reserve_alone() {
    let storage = MemoryStorage::new();
    let db = open(&storage, options(false));
    let id = table(&db, None);
    for hour in 0..4 {
        try_write(&db, id, hour).unwrap();
        db.checkpoint().unwrap();
    }
    let before = (times(&db, id), storage.list("parts").unwrap());
    let bytes = db.stats().part_bytes;
    storage.set_capacity(Some(storage.used_bytes() + RESERVE + bytes / 8));
    assert!(matches!(db.merge_full(None), Err(Error::Full(_))));
    assert_eq!((times(&db, id), storage.list("parts").unwrap()), before);
    assert_eq!((db.read_only(), db.full()), (None, None));
    storage.set_capacity(None);
    db.merge_full(None).unwrap();
    try_write(&db, id, 5).unwrap();
    assert_eq!(times(&db, id).len(), before.0.len() + 400);
}

/// Waits for something that threads bring about.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(120), "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn threads_make_what_room_they_can_and_writers_are_told() {
    let storage = MemoryStorage::new();
    // The reserve is off: the disk ends where it ends.
    let settings = Options { disk_reserve_bytes: 0, ..options(true) };
    let db = open(&storage, settings.clone());
    let id = table(&db, None);
    storage.set_capacity(Some(storage.used_bytes() + (600 << 10)));
    let (mut taken, mut perhaps) = (0, 0);
    let why = loop {
        match try_write(&db, id, taken) {
            Ok(()) => taken += 1,
            Err(Error::Full(why)) => break why,
            // The row store is what cannot take it: the log may have the rows, told to nobody.
            Err(Error::ReadOnly(why) | Error::Io(why)) => {
                perhaps = 1;
                break why;
            }
            Err(error) => panic!("{error}"),
        }
        assert!(taken < 10_000);
    };
    assert!(!why.is_empty());
    count(&db, id, taken, perhaps);
    storage.set_capacity(None);
    // A thread may have met the end in the row store meanwhile.
    until("writes are taken again", || match try_write(&db, id, taken + perhaps) {
        Ok(()) => {
            taken += 1;
            true
        }
        Err(Error::Full(_)) => false,
        Err(error) => {
            assert!(db.read_only().is_some(), "{error}");
            perhaps += 1;
            true
        }
    });
    until("nothing is short", || db.full().is_none() || db.read_only().is_some());
    let _ = db.close();
    let db = open(&storage, settings);
    count(&db, id, taken, perhaps);
}

/// The hours that were taken are there, perhaps some that nobody was told of, and no others.
fn count(db: &Db, id: TableId, taken: i64, perhaps: i64) {
    let found = times(db, id).len() as i64;
    let expected = 400 * taken..=400 * (taken + perhaps);
    assert!(found % 400 == 0 && expected.contains(&found), "{found} of {expected:?}");
}

/// Random work on a device whose end comes and goes.
fn run(seed: u64, reserve: u64) {
    let mut random = Random::new(seed ^ 0xf011);
    let settings = Options { disk_reserve_bytes: reserve, ..small_options(&mut random, false) };
    let storage = MemoryStorage::new();
    let mut db = open(&storage, settings.clone());
    let mut model = Model::default();
    let mut refused = 0;
    for step in 0..120 {
        let context = format!("seed {seed}, step {step}");
        if random.below(6) == 0 {
            let room = random.below(3 * reserve.max(8 << 10));
            storage.set_capacity((random.below(3) > 0).then(|| storage.used_bytes() + room));
        }
        let mut maybe = Vec::new();
        let done = match random.below(5) {
            0 => maintain(&db, &mut random),
            _ => {
                let mut commands = random::commit(&mut random, &model, 30);
                only_known(&db, &mut commands);
                let done = db.commit(numbered(&db, &commands)).map(|_| {
                    model.apply(&commands);
                });
                maybe = commands;
                done
            }
        };
        match done {
            Ok(()) => {}
            Err(Error::Full(_)) => {
                refused += 1;
                assert_eq!(db.read_only(), None, "{context}");
            }
            // Without a reserve the row store may meet the end: the next start brings it back.
            Err(error) => {
                assert!(reserve == 0 && db.read_only().is_some(), "{context}: {error}");
                let _ = db.close();
                drop(db);
                storage.set_capacity(None);
                db = open(&storage, settings.clone());
                // The log may have had room where the row store had none.
                let mut found = read(&db.snapshot()).unwrap();
                found.next_table = model.next_table;
                if found != model {
                    model.apply(&maybe);
                }
                check(&db, &model, &context);
            }
        }
        if random.below(20) == 0 {
            let image = storage.crash(random.next());
            check(&open(&image, settings.clone()), &model, &context);
        }
    }
    storage.set_capacity(None);
    check(&db, &model, &format!("seed {seed}, {refused} times refused"));
    db.execute(Command::Rows(Default::default())).unwrap();
    db.checkpoint().unwrap();
    db.merge_full(None).unwrap();
    let named: Vec<String> = {
        let version = db.core.version.lock();
        version.version.files().into_iter().collect()
    };
    for name in storage.list("parts").unwrap() {
        assert!(named.contains(&format!("parts/{name}")), "seed {seed}: {name} is left over");
    }
    db.close().unwrap();
    check(&open(&storage, settings), &model, &format!("seed {seed}, opened again"));
}

#[test]
fn work_goes_on_beside_an_end_that_comes_and_goes() {
    seeds(0..40).for_each(|seed| run(seed, RESERVE));
}

#[test]
fn work_goes_on_without_a_reserve() {
    seeds(100..140).for_each(|seed| run(seed, 0));
}

#[test]
fn work_on_sealed_files_goes_on() {
    sealed(|| {
        seeds(200..215).for_each(|seed| run(seed, RESERVE));
        seeds(215..230).for_each(|seed| run(seed, 0));
    });
}

#[test]
fn shaped_storage_says_what_is_free() {
    sealed(|| {
        let storage = MemoryStorage::new();
        storage.set_capacity(Some(1000));
        assert_eq!(shaped(Arc::new(storage)).free_bytes().unwrap(), 1000);
    });
}
