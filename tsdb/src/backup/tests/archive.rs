//! The archiver: gaps, limits, stores that cannot be reached, folders that are older than they
//! should be.

use super::model::store_copy;
use super::*;
use crate::Error;
use crate::backup::EventKind;
use crate::engine::tests::workload::{commit, open};

/// A database of some commits, with its log archived up to a limit of held bytes.
fn begin(
    store: &MemoryObjects,
    held_bytes_max: u64,
) -> (MemoryStorage, Options, Arc<Db>, Model, Random) {
    let mut random = Random::new(77);
    let options = options(&mut random, false, store);
    let log_archive = Some(LogArchive { url: URL.into(), seconds: 3600, held_bytes_max });
    let options = Options { log_archive, ..options };
    let storage = MemoryStorage::new();
    let db = open(&storage, options.clone());
    let mut model = Model::default();
    work(&db, &mut model, &mut random, 10);
    (storage, options, db, model, random)
}

fn work(db: &Db, model: &mut Model, random: &mut Random, commits: u64) {
    for _ in 0..commits {
        commit(db, model, random, 30).unwrap();
    }
}

#[test]
fn the_log_is_kept_until_it_is_archived() {
    let store = MemoryObjects::default();
    let (_, _, db, mut model, mut random) = begin(&store, 1 << 30);
    back_up(&db, false).unwrap();
    store.fail_after(Some(0));
    for _ in 0..10 {
        work(&db, &mut model, &mut random, 5);
        db.checkpoint().unwrap();
        assert!(db.archive_log().is_err());
    }
    let status = db.archive_status();
    assert!(status.failing_since > 0 && status.held_bytes > 8000, "{status:?}");
    assert!(status.error.contains("cannot be reached"), "{status:?}");
    store.fail_after(None);
    let before = db.stats().log_bytes;
    db.archive_log().unwrap();
    let status = db.archive_status();
    assert_eq!((status.failing_since, status.given_up), (0, 0));
    assert!(db.stats().log_bytes < before / 2, "{before} {:?}", db.stats());
    assert!(status.segments > 0 && status.bytes > 8000);
    restored(&store, None, None, &model, "after all of it");
}

#[test]
fn an_archiver_that_is_stuck_gives_up_and_says_so() {
    let store = MemoryObjects::default();
    let (_, _, db, mut model, mut random) = begin(&store, 20_000);
    back_up(&db, false).unwrap();
    db.archive_log().unwrap();
    let whole = (db.snapshot().time().unwrap(), model.clone());
    store.fail_after(Some(0));
    let mut longest = 0;
    let mut in_gap = 0;
    for round in 0..40 {
        work(&db, &mut model, &mut random, 5);
        if round == 5 {
            in_gap = db.snapshot().time().unwrap();
        }
        db.checkpoint().unwrap();
        longest = longest.max(db.stats().log_bytes);
        assert!(db.archive_log().is_err());
    }
    // The limit, one segment that is written and one record beyond it.
    assert!(longest < 20_000 + 2 * 4096 + 16_000, "{longest}");
    let status = db.archive_status();
    assert!(status.given_up > 0, "{status:?}");
    let gaps = |db: &Db| {
        let events = db.backup_events().unwrap();
        events.into_iter().filter(|e| e.kind == EventKind::Gap).collect::<Vec<_>>()
    };
    assert!(!gaps(&db).is_empty() && gaps(&db)[0].error.contains("given up"));
    store.fail_after(None);
    db.archive_log().unwrap();
    let names = store.list("").unwrap();
    assert!(names.iter().any(|(name, _)| name.ends_with(".gap")), "{names:?}");
    // Moments before the gap are there, those in it are not, and the newest state says why.
    restored(&store, None, Some(whole.0), &whole.1, "before the gap");
    let lost = restore_into(Arc::new(MemoryStorage::new()), &store, None, Some(in_gap));
    assert!(matches!(&lost, Err(Error::Invalid(why)) if why.contains("given up")), "{lost:?}");
    let (_, report) = restored(&store, None, None, &whole.1, "up to the gap");
    assert!(report.missing.unwrap().contains("given up"));
    // The next backup mends it.
    back_up(&db, false).unwrap();
    work(&db, &mut model, &mut random, 5);
    db.archive_log().unwrap();
    let (_, report) = restored(&store, None, None, &model, "behind the gap");
    assert_eq!(report.missing, None);
}

#[test]
fn a_store_that_fails_at_any_call_of_the_archiver_loses_nothing() {
    let store = MemoryObjects::default();
    let (_, _, db, mut model, mut random) = begin(&store, 1 << 30);
    back_up(&db, false).unwrap();
    let mut failed = 0;
    for calls in 0..6 {
        work(&db, &mut model, &mut random, 4);
        for _ in 0..3 {
            store.fail_after(Some(calls));
            failed += u64::from(db.archive_log().is_err());
        }
        db.checkpoint().unwrap();
    }
    assert!(failed > 3, "{failed}");
    store.fail_after(None);
    db.archive_log().unwrap();
    assert_eq!(db.archive_status().given_up, 0);
    restored(&store, None, None, &model, "after failures");
}

#[test]
fn log_that_was_cut_while_nobody_archived_it_is_a_gap() {
    let store = MemoryObjects::default();
    let (storage, options, db, mut model, mut random) = begin(&store, 1 << 30);
    back_up(&db, false).unwrap();
    db.archive_log().unwrap();
    db.close().unwrap();
    let db = open(&storage, Options { log_archive: None, ..options.clone() });
    for _ in 0..10 {
        work(&db, &mut model, &mut random, 5);
        db.checkpoint().unwrap();
    }
    db.close().unwrap();
    let db = open(&storage, options);
    db.archive_log().unwrap();
    assert!(db.archive_status().given_up > 0);
    assert!(db.backup_events().unwrap().iter().any(|e| e.kind == EventKind::Gap));
    let (_, report) = {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        (Arc::clone(&storage), restore_into(storage, &store, None, None).unwrap())
    };
    assert!(report.missing.unwrap().contains("given up"));
}

#[test]
fn an_older_copy_of_the_folder_does_not_archive_over_the_newer_log() {
    let store = MemoryObjects::default();
    let (storage, options, db, mut model, mut random) = begin(&store, 1 << 30);
    db.close().unwrap();
    let older = storage.copy();
    let db = open(&storage, options.clone());
    work(&db, &mut model, &mut random, 5);
    db.archive_log().unwrap();
    back_up(&db, false).unwrap();
    db.close().unwrap();
    let before = store.list("").unwrap();
    let db = open(&older, options);
    let refused = db.archive_log();
    assert!(matches!(&refused, Err(Error::Invalid(why)) if why.contains("older copy")));
    for full in [false, true] {
        let refused = back_up(&db, full).map(|_| ());
        assert!(matches!(&refused, Err(Error::Invalid(why)) if why.contains("older copy")));
    }
    assert_eq!(store.list("").unwrap(), before);
}

#[test]
fn the_thread_archives_by_itself_and_a_restart_goes_on() {
    let store = MemoryObjects::default();
    let mut random = Random::new(9);
    let log_archive = LogArchive { url: URL.into(), seconds: 1, ..LogArchive::default() };
    let options = Options { log_archive: Some(log_archive), ..options(&mut random, true, &store) };
    let storage = MemoryStorage::new();
    let mut db = open(&storage, options.clone());
    let mut model = Model::default();
    for round in 0..3 {
        work(&db, &mut model, &mut random, 4);
        let position = db.snapshot().position();
        let started = std::time::Instant::now();
        while db.archive_status().position < position {
            assert!(started.elapsed().as_secs() < 120, "{:?}", db.archive_status());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        if round == 0 {
            back_up(&db, false).unwrap();
        }
        db.close().unwrap();
        db = open(&storage, options.clone());
    }
    assert_eq!(db.archive_status().given_up, 0);
    restored(&store, None, None, &model, "archived by the thread");
}

#[test]
fn old_backups_go_and_every_moment_since_stays() {
    let store = MemoryObjects::default();
    let (_, _, db, mut model, mut random) = begin(&store, 1 << 30);
    let mut moments = Vec::new();
    for round in 0..6 {
        work(&db, &mut model, &mut random, 6);
        db.checkpoint().unwrap();
        db.merge_due().unwrap();
        let report = back_up(&db, round % 2 == 0).unwrap();
        moments.push((report.manifest.time, report.manifest.finished, model.clone()));
        work(&db, &mut model, &mut random, 3);
        db.archive_log().unwrap();
    }
    let keep = |from: usize| {
        let now = crate::engine::committer::now_ns();
        std::time::Duration::from_nanos((now - moments[from].1) as u64)
    };
    // Nothing is old.
    let none = db.prune_backups(URL, std::time::Duration::from_secs(3600)).unwrap();
    assert_eq!(none.backups, 0);
    let none = db.prune_backups(URL, std::time::Duration::from_secs(3600)).unwrap();
    assert_eq!(none, crate::backup::Pruned::default());
    // The horizon lies behind the fourth backup: it stays, as the base of what follows it.
    let pruned = db.prune_backups(URL, keep(3)).unwrap();
    assert!((2..=3).contains(&pruned.backups) && pruned.objects > 0, "{pruned:?}");
    for (time, _, model) in &moments[3..] {
        restored(&store, None, Some(*time), model, "behind the horizon");
    }
    restored(&store, None, None, &model, "the newest");
    let gone = restore_into(Arc::new(MemoryStorage::new()), &store, None, Some(moments[0].0));
    assert!(matches!(gone, Err(Error::NotFound(_))), "{gone:?}");
    // What is left is all named.
    let left = db.prune_backups(URL, keep(3)).unwrap();
    assert!(left.objects == 0, "{left:?}");
    // A damaged manifest protects everything.
    let copy = store_copy(&store);
    let manifests = |store: &MemoryObjects| {
        let names = store.list("").unwrap().into_iter().map(|(name, _)| name);
        names.filter(|name| name.ends_with(".manifest")).collect::<Vec<_>>()
    };
    assert!(store.damage(&manifests(&store)[0], |bytes| bytes[9] ^= 1));
    let before = store.list("").unwrap();
    let refused = db.prune_backups(URL, std::time::Duration::ZERO);
    assert!(matches!(&refused, Err(Error::Corrupt(why)) if why.contains(".manifest")));
    assert_eq!(store.list("").unwrap(), before);
    // Whatever call of a prune fails, every backup that is left is whole.
    for calls in 0.. {
        let store = store_copy(&copy);
        let lineage = db.lineage().unwrap();
        store.fail_after(Some(calls));
        let now = crate::engine::committer::now_ns();
        let pruned = super::super::prune::prune(&store, lineage, now, std::time::Duration::ZERO);
        store.fail_after(None);
        restored(&store, None, None, &model, &format!("call {calls} failed"));
        if pruned.is_ok() {
            assert_eq!(manifests(&store).len(), 1);
            break;
        }
    }
    let events = db.backup_events().unwrap();
    assert!(events.len() <= super::super::history::EVENTS_MAX);
    assert!(events.iter().any(|e| e.kind == EventKind::Prune && !e.succeeded()));
}
