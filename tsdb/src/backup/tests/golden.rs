//! Golden bytes: what FORMAT.md freezes. A failing test here is a change of the format.

use super::*;
use crate::backup::history::{self, Event, EventKind};
use crate::backup::manifest::{FileEntry, Manifest, Reference};
use crate::backup::names::Lineage;
use crate::backup::sum::Sum;
use crate::rows::{RowChange, RowCommand, RowStore};

/// Compares with `backup/golden/NAME.hex`.
fn golden(bytes: &[u8], name: &str) {
    let path = format!("{}/src/backup/golden/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let lines: Vec<String> = bytes.chunks(32).map(hex).collect();
    assert_eq!(lines.join("\n"), golden.trim_end(), "{path}");
}

fn manifest() -> Manifest {
    let file = |path: &str, bytes| FileEntry {
        path: path.to_owned(),
        object: format!("l/objects/0000000000000002/{path}.0000002a000000000000002b"),
        bytes,
        sum: Sum { crc: 42, mark: 43 },
        tail_mark: 44,
    };
    Manifest {
        lineage: Lineage(*b"0123456789abcdef"),
        number: 3,
        generation: 2,
        database_id: *b"fedcba9876543210",
        started: 1_700_000_000_000_000_000,
        finished: 1_700_000_001_000_000_000,
        log_first: 7,
        position: 9,
        time: 1_699_999_999_000_000_000,
        copied_bytes: 100,
        copied_files: 1,
        files: vec![file("database", 40), file("parts/00000001-0000000000000009.part", 1000)],
        references: vec![Reference {
            url: "s3://plant/archive".into(),
            name: "00000001-0000000000000004.part".into(),
            bytes: 77,
        }],
    }
}

#[test]
fn manifests() {
    let bytes = manifest().encode();
    golden(&bytes, "manifest-v1");
    assert_eq!(Manifest::decode(&bytes).unwrap(), manifest());
    let mut newer = bytes[..bytes.len() - 4].to_vec();
    newer[7] = 2;
    newer.extend_from_slice(&crc32fast::hash(&newer).to_le_bytes());
    let error = Manifest::decode(&newer).unwrap_err();
    assert!(matches!(&error, crate::Error::Newer(why) if why.contains("use a newer millrace")));
}

#[test]
fn events() {
    let mut event = Event::new(EventKind::Drill, "file:///srv/backup", 5);
    (event.finished, event.time, event.number, event.position) = (6, 4, 3, 2);
    (event.files, event.bytes, event.moved_files, event.moved_bytes) = (10, 11, 12, 13);
    (event.rto_seconds, event.rpo_seconds) = (1.5, 60.25);
    event.error = "no".into();
    let bytes = event.encode();
    golden(&bytes, "event-v1");
    assert_eq!(Event::decode(&bytes).unwrap(), event);
    for cut in 0..bytes.len() {
        assert!(Event::decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        drop(Event::decode(&bad));
    }
}

#[test]
fn lineages() {
    let (lineage, parent) = (Lineage(*b"0123456789abcdef"), Lineage([7; 16]));
    let command = history::begin_lineage(lineage, parent, 9);
    let [RowChange::Put { space, key, value }] = &command.changes[..] else { panic!() };
    assert_eq!((*space, &key[..]), (1, &b"lineage"[..]));
    golden(value, "lineage-v1");
}

/// Rows of several chunks, and their copy.
fn copied() -> (RowStore, Vec<u8>) {
    let storage = MemoryStorage::new();
    storage.create_dir("rows").unwrap();
    let store = RowStore::open_in(&storage, "rows", "rows.redb").unwrap();
    let changes = (0..5u8).map(|n| RowChange::Put {
        space: 300 + u16::from(n % 2),
        key: vec![n; 3],
        value: vec![n; 20 * usize::from(n)],
    });
    store.apply(4, &RowCommand { expects: Vec::new(), changes: changes.collect() }).unwrap();
    let file = storage.create("rows/copy").unwrap();
    store.snapshot().unwrap().copy_to(&file, 1_700_000_000_000_000_000).unwrap();
    (store, storage.bytes("rows/copy").unwrap())
}

fn filled(bytes: &[u8]) -> Result<RowStore> {
    let storage = MemoryStorage::new();
    storage.create_dir("rows").unwrap();
    storage.put("copy", bytes.to_vec());
    let copy = storage.open("copy").unwrap();
    RowStore::restore_in(&storage, "rows", "rows.redb", &copy)?;
    RowStore::open_in(&storage, "rows", "rows.redb")
}

#[test]
fn copies_of_the_row_store() {
    let (store, bytes) = copied();
    golden(&bytes, "rows-v1");
    let again = filled(&bytes).unwrap();
    assert_eq!((again.applied_position(), again.durable_position()), (4, 4));
    assert_eq!(again.commit_time(), 1_700_000_000_000_000_000);
    for space in [300, 301] {
        let rows = |store: &RowStore| store.snapshot().unwrap().scan(space, b"").unwrap();
        assert_eq!(rows(&again), rows(&store));
        assert!(!rows(&again).is_empty());
    }
    for cut in 0..bytes.len() {
        assert!(filled(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(filled(&bad).is_err(), "bit {bit}");
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(filled(&longer).is_err());
}
