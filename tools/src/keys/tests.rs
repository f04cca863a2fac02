//! Where keys come from, and that nothing tells of them.

use tsdb::io::{MemoryStorage, RealStorage};
use tsdb::{Command, NewTable, Options};

use super::*;

const ONE: &str = "11";
const TWO: &str = "22";

fn text(pair: &str) -> String {
    pair.repeat(32)
}

#[test]
fn keys_come_from_text_file_and_command() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    std::fs::write(&path, format!("{}\n{}\n", text(ONE), text(TWO))).unwrap();
    let command = format!("cat '{}'", path.display());
    let sources = [
        KeySource::Text(format!("{},{}", text(ONE), text(TWO))),
        KeySource::File(path),
        KeySource::Command(command),
    ];
    let rings: Vec<_> = sources.iter().map(|source| source.read().unwrap().ids()).collect();
    assert_eq!(rings[0].len(), 2);
    assert!(rings.iter().all(|ids| *ids == rings[0]));
}

#[test]
fn sources_that_do_not_work_are_told_without_the_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    std::fs::write(&path, format!("{}x\n", text(ONE))).unwrap();
    let secret = text(ONE);
    let cases = [
        (KeySource::File(folder.path().join("none")), "the key file"),
        (KeySource::File(path), "line 1 of the keys"),
        (KeySource::Text(secret[2..].into()), "`encryption_key`: line 1"),
        (KeySource::Command(format!("echo {secret}; exit 3")), "exit status: 3"),
        (KeySource::Command("true".into()), "no key is given"),
        (KeySource::Command(format!("yes {secret} | head -c 100000")), "too long"),
    ];
    for (source, words) in cases {
        let error = source.read().unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert!(!error.contains(&secret[2..]), "{error}");
    }
    let both = KeySource::of(Some("a".into()), Some("b".into()), None);
    assert!(both.is_err_and(|error| error.to_string().contains("exclude each other")));
}

/// A new first line of the file becomes the key of every file; what is no key changes nothing.
#[test]
fn a_new_key_in_the_file_takes_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    std::fs::write(&path, text(ONE)).unwrap();
    let source = KeySource::File(path.clone());
    let storage: Arc<dyn Storage> = Arc::new(RealStorage::new(folder.path().join("data")).unwrap());
    let ring = source.read().unwrap();
    let db = Db::open(sealed(Arc::clone(&storage), Some(ring)), Options::default()).unwrap();
    let table = NewTable {
        name: "t".into(),
        time_name: "time".into(),
        columns: Vec::new(),
        options: tsdb::types::TableOptions::default(),
        if_not_exists: false,
    };
    db.execute(Command::CreateTable(table)).unwrap();
    assert!(look(&db, &source, false).unwrap(), "nothing to do");
    std::fs::write(&path, "half a k").unwrap();
    look(&db, &source, true).unwrap_err();
    let seals = db.seals().unwrap().unwrap();
    assert!(seals.keys.len() == 1 && seals.is_complete());
    std::fs::write(&path, format!("{}\n{}\n", text(TWO), text(ONE))).unwrap();
    assert!(look(&db, &source, true).unwrap());
    let seals = db.seals().unwrap().unwrap();
    let files: Vec<u64> = seals.keys.iter().map(|key| key.files).collect();
    assert!(files[0] > 2 && files[1] == 0, "{seals:?}");
    db.close().unwrap();
    let two = KeySource::Text(text(TWO)).read().unwrap();
    Db::open(sealed(storage, Some(two)), Options::default()).unwrap().close().unwrap();
}

#[test]
fn a_plain_folder_has_no_key_to_follow() {
    let db = Db::open(Arc::new(MemoryStorage::new()), Options::default()).unwrap();
    assert!(look(&db, &KeySource::Text(text(ONE)), false).unwrap());
}
