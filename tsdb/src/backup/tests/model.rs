//! Backups at random points of random work, and restores to random moments, against the model.

use super::*;
use crate::Error;
use crate::crypto::tests::shape::sealed;
use crate::engine::tests::seeds;
use crate::engine::tests::workload::{commit, maintain, open};

/// What the database was, from a time on.
struct Moments(Vec<(i64, Model)>);

impl Moments {
    fn note(&mut self, db: &Db, model: &Model) {
        if let Some(time) = db.snapshot().time() {
            self.0.push((time, model.clone()));
        }
    }

    /// The model at a time; before the first commit, which a backup may have been taken of, it is
    /// empty.
    fn at(&self, time: i64) -> Model {
        let next = self.0.partition_point(|(from, _)| *from <= time);
        next.checked_sub(1).map_or_else(Model::default, |last| self.0[last].1.clone())
    }
}

fn run(seed: u64, moments: u64, background: bool) {
    let mut random = Random::new(seed);
    let storage = MemoryStorage::new();
    let store = MemoryObjects::default();
    let options = archiving(options(&mut random, background, &store));
    let mut db = open(&storage, options.clone());
    let mut model = Model::default();
    let mut past = Moments(Vec::new());
    let mut first = None;
    for _ in 0..50 {
        match random.below(20) {
            0..11 => {
                commit(&db, &mut model, &mut random, 40).unwrap();
                past.note(&db, &model);
            }
            11..14 => maintain(&db, &mut random).unwrap(),
            14..17 => db.archive_log().unwrap(),
            17 => {
                db.close().unwrap();
                db = open(&storage, options.clone());
            }
            _ => {
                let full = random.below(4) == 0;
                // Whatever happens between two files of a backup, it is of one moment.
                let db = Arc::clone(&db);
                let report = db.backup(URL, full, |progress| {
                    assert!(progress.files <= progress.files_all, "{progress:?}");
                    match random.below(4) {
                        0 => commit(&db, &mut model, &mut random, 20)?,
                        1 => maintain(&db, &mut random)?,
                        _ => return Ok(()),
                    }
                    past.note(&db, &model);
                    Ok(())
                });
                let report = report.unwrap();
                assert!(!full || report.manifest.is_full());
                first = first.or(Some(report.manifest.time));
            }
        }
    }
    let context = format!("seed {seed}");
    if first.is_none() {
        first = Some(back_up(&db, false).unwrap().manifest.time);
        past.note(&db, &model);
    }
    db.archive_log().unwrap();
    assert_eq!(db.archive_status().position, db.snapshot().position(), "{context}");
    let mut copies = store_copy(&store);
    let (_, report) = restored(&copies, None, None, &model, &format!("{context}, the newest"));
    assert_eq!(report.missing, None, "{context}");
    let first = first.unwrap();
    for _ in 0..moments {
        let (time, _) = &past.0[random.below(past.0.len() as u64) as usize];
        let to = time + random.below(3) as i64 - 1;
        let number = match random.below(3) {
            0 => None,
            _ => Some(1 + random.below(4)),
        };
        let context = format!("{context}, number {number:?}, to {to} from {first}");
        if to < first {
            let none = restore_into(Arc::new(MemoryStorage::new()), &copies, None, Some(to));
            assert!(matches!(none, Err(Error::NotFound(_))), "{context}: {none:?}");
            continue;
        }
        let fits = |number: &u64| {
            let lineage = db.lineage().unwrap();
            super::super::manifest::Manifest::read(&copies, lineage, *number)
                .is_ok_and(|manifest| manifest.time <= to)
        };
        let number = number.filter(fits);
        let (_, report) = restored(&copies, number, Some(to), &past.at(to), &context);
        assert!(report.time <= to, "{context}: {}", report.time);
    }
    // A restored database lives on, and its backups stay apart in the same store.
    let (twin, _) = restored(&copies, None, None, &model, &context);
    let twin_options = Options { connector: Arc::new(MemoryConnector(store.clone())), ..options };
    let twin = open(&twin, Options { log_archive: None, ..twin_options });
    let mut twin_model = model.clone();
    for _ in 0..5 {
        commit(&twin, &mut twin_model, &mut random, 30).unwrap();
        commit(&db, &mut model, &mut random, 30).unwrap();
    }
    assert_ne!(twin.lineage().unwrap(), db.lineage().unwrap());
    assert_eq!(back_up(&twin, false).unwrap().manifest.number, 1);
    back_up(&db, false).unwrap();
    let several = restore_into(Arc::new(MemoryStorage::new()), &store, None, None);
    assert!(matches!(several, Err(Error::Invalid(_))), "{several:?}");
    copies = store_copy(&store);
    for (of, model) in [(&twin, &twin_model), (&db, &model)] {
        let other = if Arc::ptr_eq(of, &twin) { &db } else { &twin };
        only(&copies, other.lineage().unwrap().to_string(), |copies| {
            restored(copies, None, None, model, &context);
        });
    }
}

/// The store without the objects of one lineage.
fn only(store: &MemoryObjects, without: String, run: impl FnOnce(&MemoryObjects)) {
    let copy = store_copy(store);
    for (name, _) in copy.list(&without).unwrap() {
        copy.delete(&name).unwrap();
    }
    run(&copy);
}

/// A store of the same objects.
pub fn store_copy(store: &MemoryObjects) -> MemoryObjects {
    let copy = MemoryObjects::default();
    for (name, bytes) in store.list("").unwrap() {
        let object = store.get(&name, 0..bytes).unwrap();
        copy.put(&name, &mut object.as_slice()).unwrap();
    }
    copy
}

#[test]
fn every_moment_can_be_restored() {
    seeds(0..12).for_each(|seed| run(seed, 5, false));
}

#[test]
fn every_moment_can_be_restored_while_threads_tidy() {
    seeds(100..106).for_each(|seed| run(seed, 4, true));
}

#[test]
fn every_moment_of_an_encrypted_database_can_be_restored() {
    sealed(|| seeds(200..206).for_each(|seed| run(seed, 4, false)));
}
