//! Failing disks: after a write or sync has failed the database is read-only and says why, reads
//! still answer, and opening it again brings back what was acknowledged. Want of room is told, and
//! costs no more than what it was told of.

use std::sync::Arc;

use crate::io::{FaultKind, FaultPlan, FaultyStorage, MemoryStorage};
use crate::{Command, Db, Error};

use super::model::{Model, check, check_rows, read};
use super::random::{self, Random};
use super::seeds;
use super::workload::{maintain, numbered, only_known, open, small_options};
use crate::crypto::tests::shape::{sealed, shaped};

fn is_failure(error: &Error) -> bool {
    matches!(error, Error::Io(_) | Error::ReadOnly(_))
}

/// Whether it was want of room, after which work goes on.
fn is_full(error: &Error, faulty: &FaultyStorage, context: &str) -> bool {
    let full = matches!(error, Error::Full(_));
    assert!(!full || faulty.struck(), "{context}: {error}");
    full
}

fn run(seed: u64, background: bool) {
    let mut random = Random::new(seed ^ 0xfa17);
    let options = small_options(&mut random, background);
    let storage = MemoryStorage::new();
    let faulty = FaultyStorage::new(Arc::new(storage.clone()));
    let shared = shaped(Arc::new(faulty.clone()));
    let mut model = Model::default();
    let mut maybe: Option<Vec<Command>> = None;
    let db = Db::open(shared, options.clone()).unwrap();
    let error = [FaultKind::Io, FaultKind::NoSpace][random.below(2) as usize];
    let at = faulty.operations() + random.below(500);
    faulty.set_plan(match random.below(4) {
        0 => FaultPlan::FailOnce { at, error },
        3 => FaultPlan::FailBetween { at, until: at + random.below(200), error },
        1 => FaultPlan::FailFrom { at, error },
        _ => FaultPlan::ShortWrite { at, error },
    });
    for _ in 0..80 {
        if random.below(4) == 0 {
            if let Err(error) = maintain(&db, &mut random) {
                if is_full(&error, &faulty, &format!("seed {seed}")) {
                    continue;
                }
                assert!(is_failure(&error), "seed {seed}: {error}");
                assert!(faulty.struck() && db.read_only().is_some(), "seed {seed}: {error}");
                break;
            }
            continue;
        }
        let mut commands = random::commit(&mut random, &model, 30);
        only_known(&db, &mut commands);
        match db.commit(numbered(&db, &commands)) {
            Ok(_) => {
                model.apply(&commands);
            }
            // Nothing has changed, now or after the next start.
            Err(error) if is_full(&error, &faulty, &format!("seed {seed}")) => {}
            Err(error) => {
                assert!(is_failure(&error), "seed {seed}: {error}");
                assert!(faulty.struck(), "seed {seed}: {error}");
                maybe = Some(commands);
                break;
            }
        }
    }
    // Reads go on whatever has failed.
    // What failed after it was logged may show, whole.
    let mut live = model.clone();
    let mut found = read(&db.snapshot()).unwrap();
    found.next_table = model.next_table;
    if found != model
        && let Some(commands) = &maybe
    {
        live.apply(commands);
    }
    // Last rows may already know of a commit that is durable and whose apply has failed.
    check_rows(&db, &live, &format!("seed {seed}, failed")).unwrap();
    if maybe.is_some() {
        let cause = db.read_only().expect("read-only with a cause");
        assert!(!cause.is_empty());
        let refused = db.commit(vec![Command::DropTable { table: 1 }]).unwrap_err();
        assert!(matches!(refused, Error::ReadOnly(_)), "seed {seed}: {refused}");
        assert!(matches!(db.checkpoint(), Err(Error::ReadOnly(_))));
    }
    let _ = db.close();
    drop(db);
    let image = if random.below(2) == 0 { storage.copy() } else { storage.crash(seed) };
    let db = open(&image, options);
    let mut found = read(&db.snapshot()).unwrap();
    found.next_table = model.next_table;
    if found != model
        && let Some(commands) = maybe
    {
        model.apply(&commands);
    }
    check(&db, &model, &format!("seed {seed}, opened again"));
    db.execute(Command::Rows(Default::default())).unwrap();
    db.close().unwrap();
}

#[test]
fn failing_writes_are_told_and_lose_nothing() {
    seeds(0..80).for_each(|seed| run(seed, false));
}

#[test]
fn failing_writes_of_threads_are_told_and_lose_nothing() {
    seeds(500..530).for_each(|seed| run(seed, true));
}

#[test]
fn failing_writes_of_sealed_files_are_told_and_lose_nothing() {
    sealed(|| {
        seeds(600..640).for_each(|seed| run(seed, false));
        seeds(640..655).for_each(|seed| run(seed, true));
    });
}
