//! Backups and restores that are cut off: by a crash, a failing disk, a store that is gone.

use super::model::store_copy;
use super::*;
use crate::Error;
use crate::engine::tests::model::{read, try_check};
use crate::engine::tests::workload::{commit, maintain, open};
use crate::io::{FaultKind, FaultPlan, FaultyStorage};

/// Folder, settings, what the backup has and when that was, what the database has.
type Begun = (MemoryStorage, Options, (i64, Model), Model, Random);

/// A database with parts, tombstones and rows in the log, and a backup of an earlier moment.
fn begin(seed: u64, store: &MemoryObjects) -> Begun {
    let mut random = Random::new(seed);
    let options = options(&mut random, false, store);
    let storage = MemoryStorage::new();
    let db = open(&storage, options.clone());
    let mut model = Model::default();
    let mut work = |model: &mut Model| {
        for _ in 0..12 {
            commit(&db, model, &mut random, 20).unwrap();
            if random.below(4) == 0 {
                maintain(&db, &mut random).unwrap();
            }
        }
    };
    work(&mut model);
    let time = back_up(&db, false).unwrap().manifest.time;
    let earlier = (time, model.clone());
    work(&mut model);
    db.close().unwrap();
    (storage, options, earlier, model, random)
}

#[test]
fn a_store_that_fails_at_any_call_costs_no_more_than_the_backup() {
    let store = MemoryObjects::default();
    let (storage, options, earlier, model, _) = begin(1, &store);
    let mut failed = 0;
    for calls in 0.. {
        let own = store_copy(&store);
        let connector = Arc::new(MemoryConnector(own.clone()));
        let db = open(&storage.copy(), Options { connector, ..options.clone() });
        own.fail_after(Some(calls));
        let taken = back_up(&db, false);
        own.fail_after(None);
        let context = format!("call {calls}");
        check(&db, &model, &context);
        assert_eq!(db.read_only(), None, "{context}");
        let events = db.backup_events().unwrap();
        assert_eq!(events.last().unwrap().succeeded(), taken.is_ok(), "{context}");
        match taken {
            Ok(_) => break,
            Err(error) => {
                assert!(matches!(error, Error::Io(_)), "{context}: {error}");
                assert!(events.last().unwrap().error.contains("cannot be reached"), "{context}");
            }
        }
        failed += 1;
        // Log of the backup that failed may be there already, and belongs to newer moments.
        restored(&own, None, Some(earlier.0), &earlier.1, &context);
        let report = back_up(&db, false).unwrap();
        assert_eq!(report.manifest.number, 2, "{context}");
        restored(&own, None, None, &model, &context);
    }
    assert!(failed > 8, "{failed}");
}

#[test]
fn a_crash_at_any_point_of_a_backup_harms_neither_database_nor_store() {
    let store = MemoryObjects::default();
    let (storage, options, earlier, model, mut random) = begin(2, &store);
    let mut crashed = 0;
    for at in 0.. {
        let own = store_copy(&store);
        let connector = Arc::new(MemoryConnector(own.clone()));
        let options = Options { connector, ..options.clone() };
        let folder = storage.copy();
        let faulty = FaultyStorage::new(Arc::new(folder.clone()));
        let db = Db::open(Arc::new(faulty.clone()), options.clone()).unwrap();
        faulty.set_plan(FaultPlan::CrashAt(faulty.operations() + at));
        let taken = back_up(&db, at % 2 == 1);
        let struck = faulty.struck();
        drop(db);
        let context = format!("operation {at}");
        let db = open(&folder.crash(random.next()), options);
        check(&db, &model, &context);
        match &taken {
            Ok(_) => restored(&own, None, None, &model, &context),
            Err(_) => restored(&own, None, Some(earlier.0), &earlier.1, &context),
        };
        back_up(&db, false).unwrap();
        restored(&own, None, None, &model, &context);
        if !struck {
            assert!(taken.is_ok(), "{context}: {taken:?}");
            break;
        }
        crashed += 1;
    }
    assert!(crashed > 8, "{crashed}");
}

#[test]
fn a_disk_that_fails_during_a_backup_gives_an_error_and_no_wrong_backup() {
    let store = MemoryObjects::default();
    let (storage, options, earlier, model, _) = begin(3, &store);
    for reads in [false, true] {
        for at in 0.. {
            let own = store_copy(&store);
            let connector = Arc::new(MemoryConnector(own.clone()));
            let faulty = FaultyStorage::new(Arc::new(storage.copy()));
            let options = Options { connector, ..options.clone() };
            let db = Db::open(Arc::new(faulty.clone()), options).unwrap();
            let error = FaultKind::Io;
            faulty.set_plan(match reads {
                true => FaultPlan::FailReadsFrom { at: faulty.reads() + at, error },
                false => FaultPlan::FailOnce { at: faulty.operations() + at, error },
            });
            let taken = back_up(&db, false);
            let struck = faulty.struck();
            faulty.set_plan(FaultPlan::None);
            let context = format!("reads {reads}, at {at}");
            assert_eq!(read(&db.snapshot()).unwrap().rows, model.rows, "{context}");
            match &taken {
                Ok(_) => restored(&own, None, None, &model, &context),
                Err(_) => restored(&own, None, Some(earlier.0), &earlier.1, &context),
            };
            if !struck {
                assert!(taken.is_ok(), "{context}: {taken:?}");
                break;
            }
        }
    }
}

/// The log that an archiver lets go of is cut with what a cut takes: a checkpoint of the row store,
/// an edit. Where one of them fails the database is read-only and says so.
#[test]
fn a_disk_that_fails_while_the_archived_log_is_cut_is_told() {
    let store = MemoryObjects::default();
    let (storage, options, _, model, _) = begin(9, &store);
    let mut told = 0;
    for at in 0.. {
        let own = store_copy(&store);
        let connector = Arc::new(MemoryConnector(own.clone()));
        let faulty = FaultyStorage::new(Arc::new(storage.copy()));
        let options = archiving(Options { connector, ..options.clone() });
        let db = Db::open(Arc::new(faulty.clone()), options).unwrap();
        own.fail_after(Some(0));
        db.execute(crate::Command::Rows(Default::default())).unwrap();
        db.archive_log().unwrap_err();
        db.checkpoint().unwrap();
        own.fail_after(None);
        let at = faulty.operations() + at;
        faulty.set_plan(FaultPlan::FailOnce { at, error: FaultKind::Io });
        let passed = db.archive_log();
        let context = format!("operation {at}");
        check(&db, &model, &context);
        assert_eq!(passed.is_err(), faulty.struck(), "{context}: {passed:?}");
        assert_eq!(db.read_only().is_some(), faulty.struck(), "{context}: {passed:?}");
        told += u64::from(passed.is_err());
        if !faulty.struck() {
            break;
        }
    }
    assert!(told > 4, "{told}");
}

/// A bit that flips on its way from the disk gives an error or a sound backup, and the next one
/// takes nothing of it over.
#[test]
fn a_bit_that_flips_while_it_is_copied_is_in_no_backup() {
    let store = MemoryObjects::default();
    let (storage, options, _, model, mut random) = begin(8, &store);
    let mut told = 0;
    for at in 0.. {
        let own = store_copy(&store);
        let connector = Arc::new(MemoryConnector(own.clone()));
        let faulty = FaultyStorage::new(Arc::new(storage.copy()));
        let options = Options { connector, ..options.clone() };
        let db = Db::open(Arc::new(faulty.clone()), options).unwrap();
        let at = faulty.reads() + at;
        faulty.set_plan(FaultPlan::FlipOnRead { at, bit: random.next() });
        let taken = back_up(&db, true);
        let struck = faulty.struck();
        faulty.set_plan(FaultPlan::None);
        let context = format!("read {at}");
        match &taken {
            Ok(_) => drop(restored(&own, None, None, &model, &context)),
            Err(error) => assert!(matches!(error, Error::Corrupt(_)), "{context}: {error}"),
        }
        told += u64::from(taken.is_err());
        back_up(&db, false).unwrap();
        restored(&own, None, None, &model, &context);
        if !struck {
            break;
        }
    }
    assert!(told > 8, "{told}");
}

#[test]
fn a_restore_that_is_cut_off_starts_again() {
    let store = MemoryObjects::default();
    let (_, _, _, _, mut random) = begin(4, &store);
    let model = {
        let (storage, ..) = restored_first(&store);
        read(&open(&storage, options(&mut random, false, &store)).snapshot()).unwrap()
    };
    let mut crashed = 0;
    // Every third operation: recovery and checkpoint make hundreds of them.
    for at in (0..).step_by(3) {
        let folder = MemoryStorage::new();
        let faulty = FaultyStorage::new(Arc::new(folder.clone()));
        faulty.set_plan(FaultPlan::CrashAt(at));
        let cut_off = restore_into(Arc::new(faulty.clone()), &store, None, None);
        let context = format!("operation {at}");
        let folder = folder.crash(random.next());
        if cut_off.is_err() {
            let opened = Db::open(Arc::new(folder.copy()), Options::default());
            match opened {
                Err(Error::Invalid(why)) => assert!(why.contains("millrace restore"), "{context}"),
                // The mark came or went with the crash: then the folder is new, or whole.
                Ok(db) => {
                    let fresh = db.snapshot().tables().is_empty();
                    assert!(fresh || try_check(&db, &model, &context).is_ok(), "{context}");
                    continue;
                }
                Err(error) => panic!("{context}: {error}"),
            }
            let again = restore_into(Arc::new(folder.clone()), &store, None, None);
            again.unwrap_or_else(|error| panic!("{context}: {error}"));
        }
        let db = open(&folder, options(&mut random, false, &store));
        let mut found = read(&db.snapshot()).unwrap();
        found.next_table = model.next_table;
        assert!(found == model, "{context}");
        if !faulty.struck() {
            cut_off.unwrap();
            break;
        }
        crashed += 1;
    }
    assert!(crashed > 20, "{crashed}");
}

fn restored_first(store: &MemoryObjects) -> (MemoryStorage, RestoreReport) {
    let storage = MemoryStorage::new();
    let report = restore_into(Arc::new(storage.clone()), store, None, None).unwrap();
    (storage, report)
}

#[test]
fn a_store_that_fails_at_any_call_of_a_restore_leaves_one_that_can_be_run_again() {
    let store = MemoryObjects::default();
    let (..) = begin(5, &store);
    let folder = MemoryStorage::new();
    let mut failed = 0;
    for calls in 0.. {
        store.fail_after(Some(calls));
        let shared: Arc<dyn Storage> = Arc::new(folder.clone());
        match restore_into(shared, &store, None, None) {
            Ok(_) => break,
            Err(Error::Io(why)) => assert!(why.contains("cannot be reached"), "{why}"),
            Err(error) => panic!("call {calls}: {error}"),
        }
        failed += 1;
        store.fail_after(None);
    }
    assert!(failed > 8, "{failed}");
    open(&folder, Options { background: false, ..Options::default() });
}

#[test]
fn only_an_empty_folder_takes_a_restore() {
    let store = MemoryObjects::default();
    let (storage, ..) = begin(6, &store);
    let before = storage.copy();
    let refused = restore_into(Arc::new(storage.clone()), &store, None, None);
    assert!(matches!(&refused, Err(Error::Exists(why)) if why.contains("not empty")));
    assert_eq!(storage.list("parts").unwrap(), before.list("parts").unwrap());
    let lost = MemoryStorage::new();
    let nothing = restore_into(Arc::new(lost.clone()), &MemoryObjects::default(), None, None);
    assert!(matches!(nothing, Err(Error::NotFound(_))), "{nothing:?}");
    let nothing = restore_into(Arc::new(lost.clone()), &store, Some(9), None);
    assert!(matches!(nothing, Err(Error::NotFound(_))), "{nothing:?}");
    assert_eq!(lost.list("").unwrap(), Vec::<String>::new());
}
