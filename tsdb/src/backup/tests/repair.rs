//! Repairs: whatever bits are flipped in a folder, what a backup has comes back, and what it has
//! not is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::backup::{Repair, RepairReport, RepairRequest, repair};
use crate::crypto::tests::shape::{sealed, shaped};
use crate::engine::tests::model::{Model, check};
use crate::engine::tests::random::Random;
use crate::engine::tests::seeds;
use crate::engine::tests::workload::{commit, open};
use crate::io::{MemoryStorage, Storage};
use crate::tier::{MemoryObjects, Objects};
use crate::{Error, Options, Result};

use super::{URL, options};

fn mend(storage: &MemoryStorage, store: &MemoryObjects, options: &Options) -> Result<RepairReport> {
    repair(RepairRequest {
        objects: store,
        storage: shaped(Arc::new(storage.clone())),
        options: options.clone(),
        progress: &mut |progress, path| {
            assert!(progress.files <= progress.files_all && !path.is_empty());
        },
    })
}

/// A closed database with a backup of all of its parts, and its model.
fn backed_up(random: &mut Random, store: &MemoryObjects) -> (MemoryStorage, Options, Model) {
    let options = options(random, false, store);
    let storage = MemoryStorage::new();
    let db = open(&storage, options.clone());
    let mut model = Model::default();
    for _ in 0..12 {
        commit(&db, &mut model, random, 80).unwrap();
        match random.below(3) {
            0 => db.merge_due().unwrap(),
            _ => db.checkpoint().unwrap(),
        }
    }
    db.checkpoint().unwrap();
    db.backup(URL, false, |_| Ok(())).unwrap();
    // Behind the backup, and only in the log.
    for _ in 0..3 {
        commit(&db, &mut model, random, 40).unwrap();
    }
    db.close().unwrap();
    (storage, options, model)
}

fn files(storage: &MemoryStorage) -> Vec<String> {
    let of = |folder: &'static str| {
        let names = storage.list(folder).unwrap();
        names.into_iter().map(move |name| format!("{folder}/{name}"))
    };
    ["parts", "series"].into_iter().flat_map(of).collect()
}

fn flip(storage: &MemoryStorage, path: &str, random: &mut Random) {
    let mut bytes = storage.bytes(path).unwrap();
    let bit = random.below(bytes.len() as u64 * 8) as usize;
    bytes[bit / 8] ^= 1 << (bit % 8);
    storage.put(path, bytes);
}

fn run(seed: u64) {
    let mut random = Random::new(seed);
    let store = MemoryObjects::default();
    let (storage, options, model) = backed_up(&mut random, &store);
    let mut damaged = BTreeMap::new();
    for _ in 0..4 {
        let Some(path) = random.pick_of(files(&storage).into_iter()) else { break };
        damaged.entry(path.clone()).or_insert_with(|| storage.bytes(&path).unwrap());
        match random.below(8) {
            0 => storage.remove(&path).unwrap(),
            _ => flip(&storage, &path, &mut random),
        }
    }
    let context = format!("seed {seed}, {:?}", damaged.keys());
    // Where it can be opened, the quarantine comes into the version log.
    if let Ok(db) = crate::Db::open(shaped(Arc::new(storage.clone())), options.clone()) {
        db.scrub(0).unwrap();
        db.close().unwrap();
    }
    let report = mend(&storage, &store, &options).unwrap();
    for file in &report.files {
        let fine = match &file.repair {
            Repair::Backup(1) => storage.bytes(&file.path).unwrap() == damaged[&file.path],
            Repair::Needless => file.path.ends_with(".last"),
            _ => false,
        };
        assert!(fine, "{context}: {file:?}");
    }
    assert!(report.is_whole(), "{context}: {report:?}");
    let again = mend(&storage, &store, &options).unwrap();
    assert!(again.files.iter().all(|file| file.repair == Repair::Needless), "{context}: {again:?}");
    let db = open(&storage, options.clone());
    let bad: Vec<_> =
        db.quarantined().into_iter().filter(|bad| !bad.path.ends_with(".last")).collect();
    assert_eq!(bad, [], "{context}");
    check(&db, &model, &context);
    db.checkpoint().unwrap();
    assert_eq!(db.quarantined(), [], "{context}");
    db.merge_full(None).unwrap();
    check(&db, &model, &context);
}

#[test]
fn damaged_files_come_back_from_a_backup() {
    seeds(0..25).for_each(run);
}

#[test]
fn damaged_sealed_files_come_back_from_a_backup() {
    sealed(|| seeds(100..108).for_each(run));
}

/// A part that no backup has: told, and all else is repaired.
#[test]
fn what_no_backup_has_is_told() {
    let mut random = Random::new(5);
    let store = MemoryObjects::default();
    let (storage, options, mut model) = backed_up(&mut random, &store);
    let before = files(&storage);
    let db = open(&storage, options.clone());
    commit(&db, &mut model, &mut random, 80).unwrap();
    db.checkpoint().unwrap();
    db.close().unwrap();
    let fresh = |path: &String| !before.contains(path) && path.ends_with(".part");
    let fresh = files(&storage).into_iter().find(fresh).unwrap();
    let bytes = storage.bytes(&fresh).unwrap();
    flip(&storage, &fresh, &mut random);
    let report = mend(&storage, &store, &options).unwrap();
    assert!(!report.is_whole());
    let [lost] = &report.files[..] else { panic!("{report:?}") };
    assert_eq!((&lost.path, &lost.repair), (&fresh, &Repair::Lost("no backup has it".into())));
    storage.put(&fresh, bytes);
    assert_eq!(mend(&storage, &store, &options).unwrap().files, []);
    check(&open(&storage, options), &model, "sound again");
}

/// A damaged copy is not taken; the one of an older backup is.
#[test]
fn damaged_copies_are_not_taken() {
    let mut random = Random::new(6);
    let store = MemoryObjects::default();
    let (storage, options, _) = backed_up(&mut random, &store);
    let db = open(&storage, options.clone());
    db.backup(URL, true, |_| Ok(())).unwrap();
    db.close().unwrap();
    let path = files(&storage).into_iter().find(|path| path.ends_with(".part")).unwrap();
    flip(&storage, &path, &mut random);
    let copies: Vec<String> = store
        .list("")
        .unwrap()
        .into_iter()
        .map(|(name, _)| name)
        .filter(|n| n.contains(&path))
        .collect();
    assert_eq!(copies.len(), 2, "{copies:?}");
    assert!(store.damage(copies.iter().max().unwrap(), |bytes| bytes[90] ^= 4));
    let report = mend(&storage, &store, &options).unwrap();
    assert_eq!(report.files[0].repair, Repair::Backup(1), "{report:?}");
    flip(&storage, &path, &mut random);
    assert!(store.damage(copies.iter().min().unwrap(), |bytes| bytes[90] ^= 4));
    let report = mend(&storage, &store, &options).unwrap();
    assert!(matches!(&report.files[0].repair, Repair::Lost(why) if why.contains("backup 1")));
    let left = storage.list("parts").unwrap();
    assert!(left.iter().all(|name| !name.ends_with(".tmp")), "{left:?}");
}

/// What a repair cannot do without, and who else must not be there.
#[test]
fn repairs_are_refused() {
    let mut random = Random::new(7);
    let store = MemoryObjects::default();
    let (storage, options, _) = backed_up(&mut random, &store);
    let none = mend(&MemoryStorage::new(), &store, &options).unwrap_err();
    assert!(matches!(none, Error::NotFound(_)), "{none}");
    let empty = mend(&storage, &MemoryObjects::default(), &options).unwrap_err();
    assert!(matches!(&empty, Error::NotFound(why) if why.contains("no backup")), "{empty}");
    let name = storage.list("version").unwrap().pop().unwrap();
    let damaged = storage.copy();
    let mut bytes = damaged.bytes(&format!("version/{name}")).unwrap();
    bytes[20] ^= 1;
    damaged.put(&format!("version/{name}"), bytes);
    let hopeless = mend(&damaged, &store, &options).unwrap_err();
    assert!(hopeless.to_string().contains("millrace restore"), "{hopeless}");
    let db = open(&storage, options.clone());
    let open_elsewhere = mend(&storage, &store, &options).unwrap_err();
    assert!(matches!(open_elsewhere, Error::Locked(_)), "{open_elsewhere}");
    drop(db);
}
