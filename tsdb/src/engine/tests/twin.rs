//! The replay twin: one sequence of commits, engines that flush and merge at other times, with
//! other head sizes, shards and threads, and engines that replay the log alone: the logical
//! content is the same at every prefix.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::io::{MemoryStorage, Storage};
use crate::{Db, Options};

use super::model::{Model, read};
use super::random::{self, Random};
use super::seeds;
use super::workload::{maintain, numbered, only_known, open, small_options};

/// Hash of every table's schema and rows, and of the management rows.
fn logical_hash(db: &Db) -> u64 {
    let mut hasher = DefaultHasher::new();
    read(&db.snapshot()).unwrap().hash(&mut hasher);
    hasher.finish()
}

/// The database as its log alone makes it.
fn replayed(storage: &MemoryStorage) -> Arc<Db> {
    let copy = storage.copy();
    let fresh = MemoryStorage::new();
    for path in ["database".to_owned()]
        .into_iter()
        .chain(copy.list("log").unwrap().into_iter().map(|name| format!("log/{name}")))
    {
        fresh.put(&path, copy.bytes(&path).unwrap());
    }
    open(&fresh, Options { background: false, ..Options::default() })
}

fn run(seed: u64) {
    let mut random = Random::new(seed ^ 0x7714);
    let a_options = small_options(&mut random, seed.is_multiple_of(2));
    // Never flushes: its log stays whole.
    let b_options = Options { shards: 1, background: false, ..Options::default() };
    let (a_storage, b_storage) = (MemoryStorage::new(), MemoryStorage::new());
    let mut a = open(&a_storage, a_options.clone());
    let b = open(&b_storage, b_options);
    let mut model = Model::default();
    for step in 0..40 {
        let mut commands = random::commit(&mut random, &model, 50);
        only_known(&a, &mut commands);
        let one = a.commit(numbered(&a, &commands)).unwrap();
        let two = b.commit(numbered(&b, &commands)).unwrap();
        let kinds = |done: &crate::Committed| format!("{:?}", done.outcomes);
        assert_eq!((one.position, kinds(&one)), (two.position, kinds(&two)), "seed {seed}");
        model.apply(&commands);
        match random.below(6) {
            0 => maintain(&a, &mut random).unwrap(),
            1 => {
                a.close().unwrap();
                a = open(&a_storage, a_options.clone());
            }
            _ => {}
        }
        let hash = logical_hash(&b);
        assert_eq!(logical_hash(&a), hash, "seed {seed} step {step}: flushing");
        assert_eq!(logical_hash(&replayed(&b_storage)), hash, "seed {seed} step {step}: replay");
    }
}

#[test]
fn timing_does_not_change_content() {
    seeds(0..24).for_each(run);
}
