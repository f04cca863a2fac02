//! Writes the corpus of `tests/fuzz` with the real encoders:
//! `cargo test -p tsdb write_the_corpus -- --ignored`. Random numbers in files (salts, ids, keys)
//! make every run a little different, so it is run when a format changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::archived::{SEALED, keys};
use super::super::journal::log_options;
use super::super::replay::{options, template};
use super::smoke::folder;
use crate::crypto::SealedStorage;
use crate::engine::open::Identity;
use crate::engine::tests::model::Model;
use crate::engine::tests::random::{self, Random};
use crate::engine::tests::workload::{numbered, only_known, open, small_options};
use crate::io::{File, MemoryStorage, Storage};
use crate::log::{Kind, Log, LogOptions, RecordIn, Vote};
use crate::part::Level;
use crate::part::tests::damage;
use crate::rows::{RowChange, RowCommand, RowExpect, RowStore};
use crate::series::SeriesIndex;
use crate::tier::file::keep;
use crate::types::{
    BytesColumn, Column, ColumnType, Key, SeriesRef, TableOptions, TimeRange, Values, WriteBatch,
};
use crate::{Command, NewColumn, Selection, WatchChange};

/// Seeds begin in the mode that passes checksums, so that mutations come behind them.
const PASSING: u8 = 1;
/// A seed is for reading; what is longer teaches a fuzzer nothing more.
const SEED_BYTES_MAX: usize = 12 << 10;

fn put(target: &str, name: &str, pieces: &[&[u8]]) {
    let bytes = [&[PASSING], pieces.concat().as_slice()].concat();
    assert!(bytes.len() <= SEED_BYTES_MAX, "{target}/{name}: {} bytes", bytes.len());
    std::fs::create_dir_all(folder(target)).unwrap();
    std::fs::write(folder(target).join(name), bytes).unwrap();
}

fn read(storage: &dyn Storage, path: &str) -> Vec<u8> {
    let file = storage.open(path).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(0, &mut bytes).unwrap();
    bytes
}

#[test]
#[ignore = "writes into the source tree"]
fn write_the_corpus() {
    database();
    records();
    journal();
    series();
    rows();
    parts();
    index();
    sealed();
}

/// Version logs, records and copies out of a small database with all kinds of commands.
fn database() {
    let storage = MemoryStorage::new();
    let options = small_options(&mut Random::new(3), false);
    let db = open(&storage, options);
    let mut random = Random::new(11);
    let mut model = Model::default();
    for step in 0..12 {
        let mut commands = random::commit(&mut random, &model, 12);
        only_known(&db, &mut commands);
        db.commit(numbered(&db, &commands)).unwrap();
        model.apply(&commands);
        if step % 4 == 3 {
            db.checkpoint().unwrap();
        }
    }
    db.close().unwrap();
    for name in storage.list("version").unwrap() {
        put("version", "of-a-database", &[&read(&storage, &format!("version/{name}"))]);
    }
    let rows = RowStore::open_in(&storage, "rows", "rows.redb").unwrap();
    let copy = storage.create("copy").unwrap();
    rows.snapshot().unwrap().copy_to(&copy, 17).unwrap();
    rows.close();
    put("backup", "copy-of-rows", &[&[1], &read(&storage, "copy")]);
    for version in ["edit-v1", "edit-v2", "edit-v3"] {
        let format = version.as_bytes()[6] - b'0';
        let edit = golden(&format!("engine/golden/{version}.hex"));
        let length = (edit.len() as u32).to_le_bytes();
        let sum = crc32fast::hash(&[&length[..], &edit].concat()).to_le_bytes();
        put("version", version, &[b"MRVERS\x00", &[format], &length, &edit, &sum]);
    }
    put("backup", "manifest", &[&[0], &golden("backup/golden/manifest-v1.hex")]);
}

fn golden(path: &str) -> Vec<u8> {
    let path = format!("{}/src/{path}", env!("CARGO_MANIFEST_DIR"));
    let text: String = std::fs::read_to_string(&path).unwrap().split_whitespace().collect();
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

/// Commits as the log of the template has them, and golden ones.
fn records() {
    let storage = template();
    let db = open(&storage, options());
    let mut texts = BytesColumn::default();
    ["on", "", "off"].into_iter().for_each(|text| texts.push(text.as_bytes()));
    let batch = WriteBatch {
        table: 1,
        series: vec![SeriesRef::Known(0), SeriesRef::Key(Key::new([(1, b"c".as_slice())]))],
        key_of_row: vec![0, 0, 1],
        times: vec![1_000_000_000, 1_000_002_000, 5_000_000_000],
        columns: vec![
            (2, Column::good(Values::Float(vec![21.5, -3.25, f64::NAN]))),
            (3, Column { values: Values::Int(vec![7, 0, 300]), states: Some(vec![2, 0, 6]) }),
            (4, Column::good(Values::Bool(vec![true, false, true]))),
            (5, Column { values: Values::Bytes(texts), states: Some(vec![2, 9, 10]) }),
        ],
    };
    let range = Selection::Range { series: None, times: TimeRange::new(0, 1_000_000_000) };
    let set =
        Selection::Range { series: Some([0, 1].into_iter().collect()), times: TimeRange::ALL };
    let points =
        Selection::Points { series: vec![0, 1], times: vec![1_000_002_000, 5_000_000_000] };
    let note =
        NewColumn { name: "kind".into(), kind: ColumnType::Text, key: true, not_null: false };
    let settings = TableOptions {
        retention_ns: Some(3_600_000_000_000),
        archive: Some("file:///a".into()),
        partition_columns: vec![1],
        ..TableOptions::default()
    };
    let row = RowChange::Put { space: 300, key: b"k".to_vec(), value: b"v".to_vec() };
    let commits = [
        ("write", vec![Command::Write(batch)]),
        ("delete", vec![Command::Delete { table: 1, selections: vec![range, set, points] }]),
        (
            "change",
            vec![
                Command::AddColumns { table: 1, columns: vec![note] },
                Command::WidenColumn { table: 1, column: 3, kind: ColumnType::Float64 },
                Command::RenameColumn { table: 1, column: Some(4), name: "off".into() },
                Command::SetOptions { table: 1, options: settings },
                Command::Rows(RowCommand { expects: Vec::new(), changes: vec![row] }),
                Command::Retain { table: 1, cut: Some(2_000_000_000) },
                Command::Watch { table: 1, number: 7, change: WatchChange::Begin { grain: 60 } },
                Command::RenameTable { table: 1, name: "saw".into() },
                Command::DropColumn { table: 1, column: 5 },
            ],
        ),
        ("drop", vec![Command::DropTable { table: 1 }]),
    ];
    let names: Vec<&str> = commits.iter().map(|(name, _)| *name).collect();
    let mut last = 0;
    for (_, commands) in commits {
        last = db.commit(commands).unwrap().position;
    }
    let identity = Identity::read(&storage).unwrap().unwrap();
    let options = LogOptions { database_id: identity.id, ..LogOptions::default() };
    db.close().unwrap();
    let (log, _) = Log::open(Arc::new(storage.clone()), options).unwrap();
    let records = log.read_from(last + 1 - names.len() as u64).unwrap();
    for (name, record) in names.iter().zip(records) {
        put("record", name, &[&record.unwrap().payload]);
    }
}

/// A log of two segments with a vote, and one with a torn tail.
fn journal() {
    let storage = MemoryStorage::new();
    let small = LogOptions { segment_bytes_max: 600, ..log_options() };
    let (mut log, _) = Log::open(Arc::new(storage.clone()), small).unwrap();
    let payloads: [&[u8]; 5] = [b"a payload", b"", &[0xff; 200], &[0; 64], b"the last"];
    for payload in payloads {
        let kind = if payload.is_empty() { Kind::NoOp } else { Kind::Commands };
        log.append_group(&[RecordIn { kind, term: 5, payload: &[payload] }]).unwrap();
        log.write_mark().unwrap();
    }
    log.save_vote(Vote { term: 6, node: 9 }).unwrap();
    drop(log);
    let names = storage.list("log").unwrap();
    assert_eq!(names.len(), 2);
    let [first, second] = [0, 1].map(|at: usize| read(&storage, &format!("log/{}", names[at])));
    let length = (first.len() as u32).to_le_bytes();
    put("log", "two-segments", &[&length, &first, &second]);
    put("log", "one-segment", &[&length, &first]);
    put("log", "zeros-behind", &[&(first.len() as u32 + 64).to_le_bytes(), &first, &[0; 64]]);
    put("log", "golden", &[&u32::MAX.to_le_bytes(), &golden("log/golden/segment-v1.hex")]);
}

fn series() {
    for (name, count) in [("few", 5u32), ("many", 300)] {
        let index = SeriesIndex::new(7);
        for at in 0..count {
            let (host, rack) = (format!("host_{at}"), format!("rack {}", at / 40));
            let pairs = [(1, host.as_bytes()), (3, rack.as_bytes()), (9, b"oslo".as_slice())];
            index.get_or_insert(&Key::new(pairs.into_iter().take(1 + at as usize % 3)));
        }
        put("series", name, &[&index.encode_range(0, index.len())]);
    }
    let index = SeriesIndex::new(7);
    index.get_or_insert(&Key::new([]));
    put("series", "empty-key", &[&index.encode_range(0, 1)]);
}

fn rows() {
    let command = RowCommand {
        expects: vec![
            RowExpect { space: 300, key: b"k".to_vec(), value: None },
            RowExpect { space: 301, key: b"".to_vec(), value: Some(b"old".to_vec()) },
        ],
        changes: vec![
            RowChange::Put { space: 300, key: b"k".to_vec(), value: vec![7; 200] },
            RowChange::Delete { space: 256, key: b"gone".to_vec() },
        ],
    };
    let mut bytes = Vec::new();
    command.encode(&mut bytes);
    put("rows", "some", &[&bytes]);
    bytes.clear();
    RowCommand::default().encode(&mut bytes);
    put("rows", "none", &[&bytes]);
}

fn parts() {
    for level in [Level::Light, Level::Dense] {
        put("part", &format!("small-{level:?}").to_lowercase(), &[&damage::small_part(level)]);
    }
    let pages = format!("{}/src/part/golden/v1-pages.part", env!("CARGO_MANIFEST_DIR"));
    put("part", "pages", &[&std::fs::read(pages).unwrap()]);
}

fn index() {
    let storage = MemoryStorage::new();
    storage.put("object", (0..2000u32).map(|at| (at % 251) as u8).collect());
    let object = storage.open("object").unwrap();
    let blocks: BTreeSet<u32> = [0, 3, 7].into();
    put("index", "three-blocks", &[&keep(&*object, &blocks).unwrap()]);
    put("index", "no-block", &[&keep(&*object, &[0].into()).unwrap()]);
}

fn sealed() {
    for (kind, path) in SEALED.iter().enumerate() {
        let memory = MemoryStorage::new();
        for folder in ["parts", "version", "rows"] {
            memory.create_dir(folder).unwrap();
        }
        let storage = SealedStorage::new(Arc::new(memory.clone()), keys()).with_page_shift(9);
        let file: Arc<dyn File> = storage.create(path).unwrap();
        let pieces: &[usize] = if kind == 2 { &[4096] } else { &[700, 300] };
        let mut at = 0;
        for len in pieces {
            file.write_at(at, &vec![*len as u8; *len]).unwrap();
            at += *len as u64;
        }
        file.sync_data().unwrap();
        drop(file);
        let stored = read(&memory, path);
        // The journal of a file that is rewritten is long.
        if stored.len() < SEED_BYTES_MAX {
            put("sealed", path.rsplit('/').next().unwrap(), &[&[kind as u8], &stored]);
        }
    }
}
