//! Backups by policy.

use super::*;
use crate::backup::history::{Event, EventKind};
use crate::backup::schedule::{Due, next};
use crate::engine::BackupPolicy;
use crate::engine::tests::workload::{commit, open};

const SECOND: i64 = 1_000_000_000;

fn policy() -> BackupPolicy {
    BackupPolicy { url: URL.into(), full_seconds: 100, incremental_seconds: 10, keep_seconds: 0 }
}

/// An event that began at a second and took one.
fn event(kind: EventKind, second: i64, error: &str) -> Event {
    let mut event = Event::new(kind, URL, second * SECOND);
    (event.finished, event.error) = ((second + 1) * SECOND, error.into());
    event
}

#[test]
fn what_is_due_follows_from_the_history() {
    use EventKind::{Drill, Full, Incremental};
    let check = |events: &[Event], at: i64, full: bool| {
        let due = next(&policy(), events);
        assert_eq!(due, Due { at: at * SECOND, full }, "{events:?}");
    };
    check(&[], 0, true);
    check(&[event(Drill, 5, "")], 0, true);
    check(&[event(Full, 1000, "")], 1010, false);
    check(&[event(Full, 1000, ""), event(Incremental, 1010, "")], 1020, false);
    // Both are due: the full one.
    check(&[event(Full, 1000, ""), event(Incremental, 1090, "")], 1100, true);
    check(&[event(Full, 1000, ""), event(Incremental, 1095, "")], 1100, true);
    // A failure waits a minute, and what is due then is what was.
    check(&[event(Full, 1000, "no")], 1061, true);
    check(&[event(Full, 1000, ""), event(Incremental, 1010, "no")], 1071, false);
    check(&[event(Full, 1000, ""), event(Full, 1100, "no")], 1161, true);
    // Another store is another history.
    let other = Event { url: "file:///other".into(), ..event(Full, 1000, "") };
    check(&[other], 0, true);
}

#[test]
fn the_thread_takes_backups_and_prunes_them() {
    let store = MemoryObjects::default();
    let mut random = Random::new(3);
    let policy =
        BackupPolicy { full_seconds: 2, incremental_seconds: 1, keep_seconds: 1, ..policy() };
    let options = Options { backup_policy: Some(policy), ..options(&mut random, true, &store) };
    let storage = MemoryStorage::new();
    let db = open(&storage, options.clone());
    let mut model = Model::default();
    let started = std::time::Instant::now();
    loop {
        commit(&db, &mut model, &mut random, 20).unwrap();
        let jobs = db.backup_jobs();
        assert_eq!(
            jobs.iter().map(|job| job.name).collect::<Vec<_>>(),
            ["backup", "prune", "archive log"]
        );
        let done = jobs[0].runs >= 3 && jobs[1].runs >= 3 && jobs[0].due > 0;
        if done && db.backup_events().unwrap().iter().any(|e| e.kind == EventKind::Prune) {
            break;
        }
        assert!(started.elapsed().as_secs() < 120, "{jobs:?}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(db.backup_jobs()[0].failures == 0, "{:?}", db.backup_jobs());
    db.close().unwrap();
    let db = open(&storage, Options { backup_policy: None, ..options });
    assert!(db.back_up_if_due().is_err());
    back_up(&db, false).unwrap();
    restored(&store, None, None, &model, "after all of them");
}
