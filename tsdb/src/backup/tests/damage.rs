//! Damaged stores: what a restore needs is found damaged and named, whatever it is.

use std::collections::BTreeSet;

use super::model::store_copy;
use super::*;
use crate::Error;
use crate::backup::manifest::Manifest;
use crate::engine::tests::workload::{commit, open};

/// A store with a backup of every kind of file, and log behind it.
fn store() -> MemoryObjects {
    let has = |store: &MemoryObjects, end: &str| {
        store.list("").unwrap().iter().any(|(name, _)| name.contains(end))
    };
    let mut stores = (0..).map(store_of);
    stores.find(|store| [".part.", ".last.", ".series."].iter().all(|end| has(store, end))).unwrap()
}

fn store_of(seed: u64) -> MemoryObjects {
    let store = MemoryObjects::default();
    let mut random = Random::new(seed);
    let options = archiving(options(&mut random, false, &store));
    let db = open(&MemoryStorage::new(), options);
    let mut model = Model::default();
    for round in 0..3 {
        for _ in 0..8 {
            commit(&db, &mut model, &mut random, 20).unwrap();
        }
        match round {
            0 => db.checkpoint().unwrap(),
            1 => drop(back_up(&db, false).unwrap()),
            _ => db.archive_log().unwrap(),
        }
    }
    store
}

fn kind(name: &str) -> &str {
    let path = name.split_once('/').unwrap().1;
    let path = path.strip_prefix("objects/0000000000000001/").unwrap_or(path);
    match path.split_once('/') {
        Some(("parts", name)) => name.split('.').nth(1).unwrap(),
        Some((folder @ "backup", name)) => {
            assert_eq!(folder, "backup");
            name.split('.').next().unwrap()
        }
        Some((folder, _)) => folder,
        None => path.split('.').next().unwrap(),
    }
}

#[test]
fn every_damaged_object_is_found_and_named() {
    let store = store();
    let mut kinds = BTreeSet::new();
    restore_into(Arc::new(MemoryStorage::new()), &store, None, None).unwrap();
    for (name, bytes) in store.list("").unwrap() {
        kinds.insert(kind(&name).to_owned());
        for damage in 0..4u64 {
            let copy = store_copy(&store);
            let done = match damage {
                0 => copy.damage(&name, |object| object[bytes as usize / 2] ^= 1),
                1 => copy.damage(&name, |object| object.truncate(object.len() - 1)),
                2 => copy.damage(&name, |object| object.push(0)),
                // Behind a backup nobody knows what log there was: it ends earlier then, or has
                // a hole that is told.
                _ if kind(&name) == "log" => continue,
                _ if kind(&name) == "backups" => continue,
                _ => copy.delete(&name).is_ok(),
            };
            assert!(done);
            let found = restore_into(Arc::new(MemoryStorage::new()), &copy, None, None);
            match found {
                Err(Error::Corrupt(why)) => assert!(why.contains(&name), "{name}: {why}"),
                other => panic!("{name}, damage {damage}: {other:?}"),
            }
        }
    }
    let expect = ["backups", "database", "last", "log", "part", "rows", "series", "version"];
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), expect);
}

#[test]
fn a_hole_in_the_archived_log_is_told() {
    let store = store();
    let logs: Vec<String> =
        store.list("").unwrap().into_iter().map(|l| l.0).filter(|l| kind(l) == "log").collect();
    // The segment right behind the backup.
    store.delete(&logs[logs.len() - 2]).unwrap();
    let report = restore_into(Arc::new(MemoryStorage::new()), &store, None, None);
    match report {
        Ok(report) => assert!(report.missing.unwrap().contains("is not in the store")),
        Err(Error::Corrupt(why)) => assert!(why.contains("missing"), "{why}"),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn manifests_that_are_cut_or_flipped_are_refused() {
    let store = store();
    let names = store.list("").unwrap();
    let (name, bytes) = names.iter().find(|(name, _)| name.ends_with(".manifest")).unwrap();
    let whole = store.get(name, 0..*bytes).unwrap();
    Manifest::decode(&whole).unwrap();
    for cut in 0..whole.len() {
        assert!(matches!(Manifest::decode(&whole[..cut]), Err(Error::Corrupt(_))), "cut at {cut}");
    }
    for bit in 0..whole.len() * 8 {
        let mut bad = whole.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(Manifest::decode(&bad), Err(Error::Corrupt(_))), "bit {bit}");
        // A checksum that fits must not be all that keeps nonsense out.
        let end = bad.len() - 4;
        let sum = crc32fast::hash(&bad[..end]).to_le_bytes();
        bad[end..].copy_from_slice(&sum);
        drop(Manifest::decode(&bad));
    }
    // The manifest of another backup under this name.
    let (folder, _) = name.rsplit_once('/').unwrap();
    let other = format!("{folder}/{:016}.manifest", 9);
    store.put(&other, &mut whole.as_slice()).unwrap();
    let found = restore_into(Arc::new(MemoryStorage::new()), &store, None, None);
    assert!(matches!(&found, Err(Error::Corrupt(why)) if why.contains(&other)), "{found:?}");
}

#[test]
fn a_damaged_manifest_makes_the_next_backup_a_full_one() {
    let store = MemoryObjects::default();
    let mut random = Random::new(2);
    let db = open(&MemoryStorage::new(), options(&mut random, false, &store));
    let mut model = Model::default();
    for _ in 0..10 {
        commit(&db, &mut model, &mut random, 20).unwrap();
    }
    db.checkpoint().unwrap();
    let first = back_up(&db, false).unwrap().manifest;
    assert!(first.is_full());
    let second = back_up(&db, false).unwrap().manifest;
    assert!(!second.is_full() && second.copied_files < first.copied_files, "{second:?}");
    let name = super::super::names::manifest(second.lineage, 2);
    assert!(store.damage(&name, |bytes| bytes[20] ^= 4));
    let third = back_up(&db, false).unwrap().manifest;
    assert!(third.is_full());
    restored(&store, None, None, &model, "behind a damaged manifest");
    assert!(back_up(&db, true).unwrap().manifest.is_full());
}
