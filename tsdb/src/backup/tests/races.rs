//! Backups while other threads write, flush, merge and drop.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::engine::tests::seeds;
use crate::engine::tests::workload::{commit, maintain, open};

fn run(seed: u64) {
    let store = MemoryObjects::default();
    let mut random = Random::new(seed);
    let options = options(&mut random, true, &store);
    let db = open(&MemoryStorage::new(), options);
    let done = AtomicBool::new(false);
    let (models, reports) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut random = Random::new(seed + 1);
            let mut model = Model::default();
            let mut models = vec![(0, model.clone())];
            while !done.load(Ordering::Relaxed) || models.len() < 40 {
                commit(&db, &mut model, &mut random, 20).unwrap();
                // Events of backups take positions too, and leave the model as it is.
                models.push((db.snapshot().position(), model.clone()));
            }
            models
        });
        scope.spawn(|| {
            let mut random = Random::new(seed + 2);
            while !done.load(Ordering::Relaxed) {
                maintain(&db, &mut random).unwrap();
            }
        });
        let reports: Vec<BackupReport> =
            (0..6).map(|round| back_up(&db, round == 3).unwrap()).collect();
        done.store(true, Ordering::Relaxed);
        (writer.join().unwrap(), reports)
    });
    for report in reports {
        let manifest = report.manifest;
        let context = format!("seed {seed}, backup {}", manifest.number);
        let number = Some(manifest.number);
        let storage = MemoryStorage::new();
        let shared: Arc<dyn Storage> = Arc::new(storage.clone());
        // Its own log only: the store has what later backups needed too.
        let found = restore_into(shared, &store, number, Some(manifest.time)).unwrap();
        assert_eq!(found.position, manifest.position, "{context}");
        let db = open(&storage, Options { background: false, ..Options::default() });
        // A position that was read a moment late names the model before or after it.
        let next = models.partition_point(|(position, _)| *position < found.position);
        let near = &models[next.saturating_sub(1)..models.len().min(next + 2)];
        let mut read = crate::engine::tests::model::read(&db.snapshot()).unwrap();
        let fits = near.iter().any(|(_, model)| {
            read.next_table = model.next_table;
            read == *model
        });
        assert!(fits, "{context}, position {}", found.position);
    }
}

#[test]
fn backups_among_writers_are_of_one_moment() {
    seeds(0..8).for_each(run);
}
