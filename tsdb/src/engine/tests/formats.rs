//! Formats of files: folders in older ones open, newer ones are refused and nothing of the folder
//! changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::crypto::tests::shape::{is_sealed, sealed, shaped};
use crate::engine::formats::look;
use crate::engine::version::Version;
use crate::io::{MemoryStorage, Storage};
use crate::{Db, Error, Options};

use super::model::{Model, check};
use super::random::Random;
use super::workload::{commit, open, small_options};

fn folder() -> (MemoryStorage, Options, Model) {
    // Formats before 3 know of no cuts.
    let cuts = |model: &Model| model.tables.values().any(|table| table.cut.is_some());
    let mut made = (21..).map(folder_of).filter(|(.., model)| !cuts(model));
    made.find(|(.., model)| model.tables.len() > 1).unwrap()
}

fn folder_of(seed: u64) -> (MemoryStorage, Options, Model) {
    let mut random = Random::new(seed);
    let options = small_options(&mut random, false);
    let storage = MemoryStorage::new();
    let db = open(&storage, options.clone());
    let mut model = Model::default();
    for step in 0..12 {
        commit(&db, &mut model, &mut random, 60).unwrap();
        if step % 3 == 1 {
            db.checkpoint().unwrap();
        }
    }
    // What older formats cannot say is not there.
    db.merge_full(None).unwrap();
    db.close().unwrap();
    (storage, options, model)
}

fn all(storage: &MemoryStorage) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for folder in ["", "log", "parts", "rows", "series", "version"] {
        for name in storage.list(folder).unwrap() {
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            files.insert(path.clone(), storage.bytes(&path).unwrap());
        }
    }
    files
}

fn sum(bytes: &mut [u8]) {
    let (body, crc) = bytes.split_last_chunk_mut::<4>().unwrap();
    *crc = crc32fast::hash(body).to_le_bytes();
}

/// The bytes of a file as a newer version might have written them.
fn newer(path: &str, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if is_sealed() && path != "database" {
        let at = if path.starts_with("log/") { 4096 } else { 0 };
        for at in [at, at + 4096] {
            bytes[at + 7] = 2;
            sum(&mut bytes[at..at + 108]);
        }
        return bytes;
    }
    match path.split('/').next().unwrap() {
        "database" => {
            bytes[7] = 3;
            sum(&mut bytes);
        }
        "version" => bytes[7] = 5,
        "log" => {
            bytes[8] = 2;
            sum(&mut bytes[..64]);
        }
        "rows" => [bytes[64], bytes[192]] = [4, 4],
        "series" => {
            bytes[4] = 2;
            sum(&mut bytes);
        }
        _ => {
            bytes[8] = 2;
            sum(&mut bytes[..64]);
        }
    }
    bytes
}

#[test]
fn newer_files_are_refused_and_nothing_changes() {
    let (storage, options, model) = folder();
    let files = all(&storage);
    let mut kinds = std::collections::BTreeSet::new();
    for (path, bytes) in &files {
        let changed = storage.copy();
        changed.put(path, newer(path, bytes));
        let before = all(&changed);
        let error = Db::open(shaped(Arc::new(changed.clone())), options.clone()).unwrap_err();
        let Error::Newer(why) = &error else { panic!("{path}: {error}") };
        assert!(why.contains(path.as_str()) && why.contains("use a newer millrace"), "{why}");
        assert!(all(&changed) == before, "{path}: the folder was changed");
        kinds.insert(path.rsplit(['/', '.']).next().unwrap().to_owned());
    }
    let wanted = ["database", "last", "log", "part", "redb", "series", "version"];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), wanted);
    check(&open(&storage, options), &model, "as it was");
}

#[test]
fn newer_sealed_files_are_refused_and_nothing_changes() {
    sealed(newer_files_are_refused_and_nothing_changes);
}

/// The newest version log of a folder as an older format has it.
fn older(storage: &MemoryStorage, format: u8) -> (String, Vec<u8>) {
    let name = storage.list("version").unwrap().into_iter().max().unwrap();
    let path = format!("version/{name}");
    let version = Version::from_snapshot(&storage.bytes(&path).unwrap(), &path).unwrap();
    (path, version.snapshot_of_format(format))
}

#[test]
fn folders_of_older_formats_open() {
    let (storage, options, model) = folder();
    for format in [1, 2, 3] {
        let old = storage.copy();
        let (path, bytes) = older(&old, format);
        assert_eq!(bytes[7], format);
        old.put(&path, bytes);
        let upgrades: Vec<_> =
            look(&old).unwrap().into_iter().filter(|found| found.upgrade().is_some()).collect();
        let [upgrade] = &upgrades[..] else { panic!("{upgrades:?}") };
        assert_eq!((&*upgrade.path, upgrade.version), (&*path, u32::from(format)));
        let db = open(&old, options.clone());
        check(&db, &model, &format!("version log of format {format}"));
        db.close().unwrap();
        assert!(look(&old).unwrap().iter().all(|found| found.upgrade().is_none()));
        check(&open(&old, options.clone()), &model, &format!("format {format}, opened again"));
    }
}
