//! Tests of explaining the files of a small database, sound and damaged.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tsdb::types::{Column, ColumnType, Key, SeriesRef, TableOptions, Values, WriteBatch};
use tsdb::{Command, Db, NewColumn, NewTable, Options, Outcome};

use super::*;

/// Makes a database with a part, a log and a version file.
fn database(folder: &Path, keys: Option<&Arc<KeyRing>>) {
    let storage = Arc::new(RealStorage::new(folder.to_path_buf()).unwrap());
    let storage = crate::keys::sealed(storage, keys.cloned());
    let db =
        Db::open(storage, Options { shards: 1, background: false, ..Options::default() }).unwrap();
    let column =
        |name: &str, kind, key| NewColumn { name: name.into(), kind, key, not_null: false };
    let table = NewTable {
        name: "m".into(),
        time_name: "time".into(),
        columns: vec![
            column("host", ColumnType::Text, true),
            column("v", ColumnType::Int64, false),
        ],
        options: TableOptions::default(),
        if_not_exists: false,
    };
    let Outcome::Table(table) = db.execute(Command::CreateTable(table)).unwrap() else {
        panic!("a table was made");
    };
    let columns = db.snapshot().table("m").unwrap().schema().columns.clone();
    let batch = WriteBatch {
        table,
        series: vec![SeriesRef::Key(Key::new([(columns[0].id, &b"a"[..])]))],
        key_of_row: vec![0; 100],
        times: (0..100).map(|n| 1_704_067_200_000_000_000 + n * 1_000_000_000).collect(),
        columns: vec![(columns[1].id, Column::good(Values::Int((0..100).collect())))],
    };
    db.execute(Command::Write(batch)).unwrap();
    db.checkpoint().unwrap();
    db.close().unwrap();
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.extension().is_some_and(|found| found == ending)).collect()
}

#[test]
fn sound_files_are_explained_and_damage_is_found() {
    let folder = tempfile::tempdir().unwrap();
    database(folder.path(), None);
    for (room, ending) in [("parts", "part"), ("log", "log"), ("version", "version")] {
        let found = files(&folder.path().join(room), ending);
        assert!(!found.is_empty(), "there is no {ending}");
        for path in found {
            assert!(explain(&path, 10, None).unwrap(), "{} is sound", path.display());
            // A byte of the first tenth is covered by a checksum in each of them.
            let mut bytes = std::fs::read(&path).unwrap();
            let at = bytes.len() / 20;
            bytes[at] ^= 0x10;
            std::fs::write(&path, &bytes).unwrap();
            assert!(!explain(&path, 10, None).unwrap(), "{} is damaged", path.display());
        }
    }
    assert!(explain(&folder.path().join("database"), 10, None).is_err());
    assert!(explain(&folder.path().join("missing.part"), 10, None).is_err());
}

#[test]
fn verify_names_the_damaged_file() {
    let folder = tempfile::tempdir().unwrap();
    database(folder.path(), None);
    let args = crate::verify::VerifyArgs {
        data_dir: folder.path().to_path_buf(),
        all: true,
        archive: false,
        keys: KeyArgs::default(),
    };
    crate::verify::run(&args).unwrap();
    let path = files(&folder.path().join("parts"), "part").remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert!(crate::verify::run(&args).unwrap_err().to_string().contains("damaged"));
}

fn keys(digits: &str) -> Arc<KeyRing> {
    KeyRing::parse(&digits.repeat(32)).unwrap()
}

#[test]
fn sealed_files_are_explained_with_their_key() {
    let folder = tempfile::tempdir().unwrap();
    let (key, other) = (keys("11"), keys("22"));
    database(folder.path(), Some(&key));
    for (room, ending) in [("parts", "part"), ("log", "log"), ("version", "version")] {
        for path in files(&folder.path().join(room), ending) {
            let name = path.display();
            assert!(explain(&path, 10, Some(&key)).unwrap(), "{name} is sound");
            // Headers of a log can be read without a key, and nothing else.
            let without = explain(&path, 10, None);
            assert_eq!(without.is_ok(), ending == "log", "{name}: {without:?}");
            // A wrong key is named as such, not taken for damage of a log.
            let wrong = explain(&path, 10, Some(&other));
            assert!(!matches!(wrong, Ok(true)) || ending == "log", "{name}: {wrong:?}");
            let mut bytes = std::fs::read(&path).unwrap();
            if bytes.len() > 12288 || ending != "log" {
                let at = if ending == "log" { 12288 + 50 } else { 8192 + 60 };
                bytes[at] ^= 0x10;
                std::fs::write(&path, &bytes).unwrap();
                assert!(!matches!(explain(&path, 10, Some(&key)), Ok(true)), "{name} is damaged");
            }
        }
    }
}
