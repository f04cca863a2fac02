//! Golden bytes: what FORMAT.md freezes. A failing test here is a change of the format.

use std::sync::Arc;

use crate::deletes::{Selection, Tombstone};
use crate::engine::KeyGroup;
use crate::engine::catalog;
use crate::engine::command::{Command, NewColumn, NewTable};
use crate::engine::open::Identity;
use crate::engine::prepare::SortedWrite;
use crate::engine::record::{self, Prepared};
use crate::engine::version::{Edit, FoundVersion, ObjectRef, PartEntry, Version, VersionLog};
use crate::engine::watch::WatchChange;
use crate::io::{MemoryStorage, Storage};
use crate::part::BadBlock;
use crate::rows::{RowChange, RowCommand, RowExpect};
use crate::types::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares with `engine/golden/NAME.hex`.
fn check(bytes: &[u8], name: &str) {
    let path = format!("{}/src/engine/golden/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    let lines: Vec<String> = bytes.chunks(32).map(hex).collect();
    assert_eq!(lines.join("\n"), golden.trim_end(), "{path}");
}

/// The bytes of `engine/golden/NAME.hex`.
pub(crate) fn golden(name: &str) -> Vec<u8> {
    let path = format!("{}/src/engine/golden/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    let text: String = std::fs::read_to_string(&path).unwrap().split_whitespace().collect();
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

fn settings() -> TableOptions {
    TableOptions {
        merge: MergeMode::LastRow,
        partition_ns: 3_600_000_000_000,
        precision: TimePrecision::Nanos,
        retention_ns: Some(7),
        archive_after_ns: None,
        archive: None,
        partition_columns: vec![],
    }
}

fn columns() -> Vec<NewColumn> {
    let column =
        |name: &str, kind, key, not_null| NewColumn { name: name.into(), kind, key, not_null };
    vec![
        column("host", ColumnType::Text, true, true),
        column("heat", ColumnType::Float64, false, false),
    ]
}

fn new_table() -> NewTable {
    NewTable {
        name: "press".into(),
        time_name: "time".into(),
        columns: columns(),
        options: settings(),
        if_not_exists: true,
    }
}

fn sorted_write() -> SortedWrite {
    let mut texts = BytesColumn::default();
    texts.push(b"on");
    texts.push(b"");
    texts.push(b"off");
    SortedWrite {
        table: 3,
        series: vec![SeriesRef::Known(5), SeriesRef::Key(Key::new([(1, &b"h1"[..])]))],
        counts: vec![2, 1],
        times: vec![1_000_000_000, 1_000_002_000, 5_000_000_000],
        columns: vec![
            (2, Column::good(Values::Float(vec![21.5, -3.25, 0.0]))),
            (4, Column { values: Values::Int(vec![7, 0, 300]), states: Some(vec![2, 0, 6]) }),
            (5, Column { values: Values::Bool(vec![true, false, true]), states: None }),
            (6, Column { values: Values::Bytes(texts), states: Some(vec![2, 9, 10]) }),
            (7, Column::good(Values::Float(vec![f64::NAN, 1e300, -0.0]))),
        ],
    }
}

fn commands() -> Vec<Prepared> {
    let rows = RowCommand {
        expects: vec![RowExpect { space: 300, key: b"k".to_vec(), value: None }],
        changes: vec![
            RowChange::Put { space: 300, key: b"k".to_vec(), value: b"v".to_vec() },
            RowChange::Delete { space: 20, key: b"old".to_vec() },
        ],
    };
    let others = [
        Command::CreateTable(new_table()),
        Command::AddColumns { table: 3, columns: columns() },
        Command::WidenColumn { table: 3, column: 4, kind: ColumnType::Float64 },
        Command::DropColumn { table: 3, column: 4 },
        Command::RenameTable { table: 3, name: "saw".into() },
        Command::RenameColumn { table: 3, column: Some(2), name: "warmth".into() },
        Command::RenameColumn { table: 3, column: None, name: "at".into() },
        Command::SetOptions { table: 3, options: settings() },
        Command::DropTable { table: 3 },
        Command::Rows(rows),
    ];
    std::iter::once(Prepared::Write(sorted_write()))
        .chain(others.into_iter().map(Prepared::Other))
        .collect()
}

fn selections() -> Vec<Selection> {
    let set = [2, 3, 4, 9, 70_000].into_iter().collect();
    vec![
        Selection::Range { series: None, times: TimeRange::ALL },
        Selection::Range { series: Some(set), times: TimeRange::new(-5, 1_000_000_000) },
        Selection::Points { series: vec![1, 1, 300], times: vec![1_000, 2_000, -9_000_000] },
    ]
}

fn object(name: &str) -> ObjectRef {
    ObjectRef { store: "s3://plant/archive".into(), name: name.into(), bytes: 512 }
}

fn bad_block(column: Option<ColumnId>, group: Option<u32>) -> BadBlock {
    BadBlock {
        group,
        column,
        offset: 700,
        len: 55,
        series: (2, 900),
        times: TimeRange::new(-7, 1_000_000_000),
        cause: "the crc differs".into(),
        since: 1_700_000_000_000_000_000,
    }
}

/// What format 3 could say of [`edit`].
fn edit_of_format_3() -> Edit {
    let mut edit = Edit { bad: vec![], sound: vec![], scarred: vec![], groups: vec![], ..edit() };
    edit.add.iter_mut().for_each(|part| part.group = 0);
    edit
}

/// What format 2 could say of [`edit`].
fn edit_of_format_2() -> Edit {
    let mut edit = edit_of_format_3();
    edit.add.retain(|part| part.object.is_none());
    Edit { cuts: vec![], dead: vec![], collected: vec![], time: 0, ..edit }
}

fn key_group(columns: &[ColumnId], values: Option<&[&str]>) -> KeyGroup {
    let bytes = |values: &[&str]| values.iter().map(|value| value.as_bytes().to_vec()).collect();
    KeyGroup { columns: columns.to_vec(), values: values.map(bytes) }
}

fn edit() -> Edit {
    let part = PartEntry {
        id: 9,
        table: 3,
        level: 2,
        positions: (1, 40),
        partition: Some(TimeRange::new(0, 99)),
        rows: 1000,
        times: TimeRange::new(5, 50),
        bytes: 4096,
        deletes_applied: 44,
        object: None,
        hot_until: 0,
        group: 0,
    };
    let flushed = PartEntry { id: 10, level: 0, partition: None, ..part.clone() };
    let archived =
        PartEntry { id: 8, object: Some(object("8.part")), hot_until: 6, group: 2, ..part.clone() };
    Edit {
        add: vec![part, flushed, archived],
        remove: vec![(3, 7)],
        flushed: vec![(3, 40)],
        series: vec![(3, 0, 12, 345)],
        last: vec![(3, 11)],
        drop: vec![2],
        hide: vec![(3, Arc::new(Tombstone::new(39, selections())))],
        clear: vec![(3, 21)],
        cuts: vec![(3, Some(-5)), (4, None)],
        dead: vec![(object("5.part"), 77)],
        collected: vec![object("4.part")],
        sound: vec![(3, 8)],
        bad: vec![(3, 9, bad_block(Some(2), Some(1))), (3, 10, bad_block(None, None))],
        scarred: vec![3],
        groups: vec![(3, 1, key_group(&[1, 4], Some(&["a", ""]))), (3, 2, key_group(&[1], None))],
        time: 1_700_000_000_000_000_000,
        next_part: 12,
        log_first: 38,
    }
}

#[test]
fn commit_records() {
    let mut bytes = record::encode(&commands());
    record::set_time(&mut bytes, 1_700_000_000_123_456_789);
    check(&bytes, "record-v0-time");
    assert_eq!(record::time_of(&bytes).unwrap(), Some(1_700_000_000_123_456_789));
    // NaN is not equal to itself: the bytes are.
    let back = record::decode(&bytes).unwrap();
    assert_eq!(back.time, Some(1_700_000_000_123_456_789));
    let mut again = record::encode(&back.commands);
    record::set_time(&mut again, 1_700_000_000_123_456_789);
    assert_eq!(again, bytes);
    assert_eq!(back.commands[1..], commands()[1..]);
    for cut in 0..bytes.len() {
        assert!(record::decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        // The log's checksum guards the payload; here nothing may panic or grow without bounds.
        let _ = record::decode(&bad);
    }
}

/// Records of before commits had times: the same without the first command.
#[test]
fn commit_records_without_times() {
    for name in ["record-v0", "record-v0-delete"] {
        let bytes = golden(name);
        assert_eq!(record::time_of(&bytes).unwrap(), None);
        let back = record::decode(&bytes).unwrap();
        assert_eq!(back.time, None);
        let timed = record::encode(&back.commands);
        assert_eq!(timed[17..], bytes[4..], "{name}");
    }
    // The time is the first command or none at all.
    let mut twice = record::encode(&[]);
    twice[0] = 2;
    twice.extend_from_within(4..);
    assert!(record::decode(&twice).is_err());
}

/// Deletes came into the payload of commits later; the other commands kept their bytes.
#[test]
fn delete_commands() {
    let commands = vec![Prepared::Other(Command::Delete { table: 3, selections: selections() }); 2];
    let mut bytes = record::encode(&commands);
    bytes.drain(4..17);
    bytes[0] -= 1;
    check(&bytes, "record-v0-delete");
    assert_eq!(record::decode(&bytes).unwrap().commands, commands);
    for cut in 0..bytes.len() {
        assert!(record::decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        // What is taken is in normal form, or apply would go wrong.
        let decoded = record::decode(&bad).map(|record| record.commands).unwrap_or_default();
        for command in decoded {
            let Prepared::Other(Command::Delete { selections, .. }) = command else { continue };
            for selection in selections {
                assert_eq!(selection.clone().normal().unwrap(), Some(selection));
            }
        }
    }
}

/// Settings with an archive of the table's own; without one they kept their bytes.
#[test]
fn settings_with_an_archive() {
    let archive = Some("s3://plant/archive".to_owned());
    let options = TableOptions { archive, archive_after_ns: Some(9), ..settings() };
    let set = Prepared::Other(Command::SetOptions { table: 3, options: options.clone() });
    let create = Prepared::Other(Command::CreateTable(NewTable { options, ..new_table() }));
    let commands = vec![set, create];
    let mut bytes = record::encode(&commands);
    bytes.drain(4..17);
    bytes[0] -= 1;
    check(&bytes, "record-v0-archive");
    assert_eq!(record::decode(&bytes).unwrap().commands, commands);
    for cut in 0..bytes.len() {
        assert!(record::decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
}

/// Settings with key columns that partition the table, alone and with an archive.
#[test]
fn settings_with_partition_columns() {
    let alone = TableOptions { partition_columns: vec![1, 4], ..settings() };
    let archive = Some("s3://plant/archive".to_owned());
    let both = TableOptions { archive, ..alone.clone() };
    let set = |options| Prepared::Other(Command::SetOptions { table: 3, options });
    let commands = vec![set(alone), set(both)];
    let mut bytes = record::encode(&commands);
    bytes.drain(4..17);
    bytes[0] -= 1;
    check(&bytes, "record-v0-split");
    assert_eq!(record::decode(&bytes).unwrap().commands, commands);
    for cut in 0..bytes.len() {
        assert!(record::decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
}

/// A version log whose parts are of a group that the table does not have is damaged.
#[test]
fn parts_of_unknown_groups_are_damage() {
    let mut version = Version { next_part: 1, ..Version::default() };
    version.apply(&Edit { drop: vec![], ..edit() });
    let read = |version: &Version| Version::from_snapshot(&version.snapshot_bytes(), "v");
    assert_eq!(read(&version).unwrap(), version);
    version.tables.get_mut(&3).unwrap().parts.get_mut(&9).unwrap().group = 7;
    let error = read(&version).unwrap_err().to_string();
    assert!(error.contains("part 9 is of key group 7, which table 3 does not have"), "{error}");
}

/// The command of retention came later; the others kept their bytes.
#[test]
fn retain_commands() {
    let retain = |cut| Prepared::Other(Command::Retain { table: 3, cut });
    let commands = vec![retain(Some(-1_000)), retain(None)];
    let mut bytes = record::encode(&commands);
    bytes.drain(4..17);
    bytes[0] -= 1;
    check(&bytes, "record-v0-retain");
    assert_eq!(record::decode(&bytes).unwrap().commands, commands);
    for cut in 0..bytes.len() {
        assert!(record::decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
}

/// Changes of watches came later too.
#[test]
fn watch_commands() {
    let change = |change| Prepared::Other(Command::Watch { table: 3, number: 7, change });
    let commands = vec![
        change(WatchChange::Begin { grain: 1_000 }),
        change(WatchChange::Raise { until: -5 }),
        change(WatchChange::Settle { times: TimeRange::new(-9, 2), done: 3 }),
        change(WatchChange::End),
    ];
    let mut bytes = record::encode(&commands);
    bytes.drain(4..17);
    bytes[0] -= 1;
    check(&bytes, "record-v0-watch");
    assert_eq!(record::decode(&bytes).unwrap().commands, commands);
    for cut in 0..bytes.len() {
        assert!(record::decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
}

/// Settling what single series have changed came later still.
#[test]
fn watch_commands_of_series() {
    let change = WatchChange::SettleSeries { series: vec![1, 300], times: TimeRange::new(-9, 2) };
    let commands = vec![Prepared::Other(Command::Watch { table: 3, number: 7, change })];
    let mut bytes = record::encode(&commands);
    bytes.drain(4..17);
    bytes[0] -= 1;
    check(&bytes, "record-v0-watch-series");
    assert_eq!(record::decode(&bytes).unwrap().commands, commands);
    for cut in 0..bytes.len() {
        assert!(record::decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn version_edits() {
    let bytes = edit().encode();
    check(&bytes, "edit-v4");
    assert_eq!(Edit::decode(&bytes, 4).unwrap(), edit());
    for cut in 0..bytes.len() {
        assert!(Edit::decode(&bytes[..cut], 4).is_err(), "cut at {cut}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let _ = Edit::decode(&bad, 4);
    }
}

/// The format before there was a quarantine.
#[test]
fn version_edits_of_format_3() {
    let bytes = golden("edit-v3");
    assert_eq!(Edit::decode(&bytes, 3).unwrap(), edit_of_format_3());
    assert_eq!(edit().encode_as(3), bytes);
    for cut in 0..bytes.len() {
        assert!(Edit::decode(&bytes[..cut], 3).is_err(), "cut at {cut}");
    }
}

/// The format before there were archives and cuts.
#[test]
fn version_edits_of_format_2() {
    let bytes = golden("edit-v2");
    assert_eq!(Edit::decode(&bytes, 2).unwrap(), edit_of_format_2());
    assert_eq!(edit_of_format_2().encode_as(2), bytes);
    for cut in 0..bytes.len() {
        assert!(Edit::decode(&bytes[..cut], 2).is_err(), "cut at {cut}");
    }
}

/// The format before there were deletes: parts had none applied but those before them.
#[test]
fn version_edits_of_format_1() {
    let bytes = golden("edit-v1");
    let mut expect = Edit { hide: Vec::new(), clear: Vec::new(), ..edit_of_format_2() };
    expect.add.iter_mut().for_each(|part| part.deletes_applied = part.positions.1);
    assert_eq!(Edit::decode(&bytes, 1).unwrap(), expect);
    assert_eq!(edit_of_format_2().encode_as(1), bytes);
    for cut in 0..bytes.len() {
        assert!(Edit::decode(&bytes[..cut], 1).is_err(), "cut at {cut}");
    }
}

/// A version log of format 1, as version 0.1.0 left it: it is read, and the next one is written
/// in the newest format.
#[test]
fn version_logs_of_format_1() {
    let mut file = b"MRVERS\x00\x01".to_vec();
    let start = file.len();
    file.extend_from_slice(&0u32.to_le_bytes());
    file.extend_from_slice(&golden("edit-v1"));
    let len = (file.len() - start - 4) as u32;
    file[start..start + 4].copy_from_slice(&len.to_le_bytes());
    file.extend_from_slice(&crc32fast::hash(&file[start..]).to_le_bytes());
    let storage = MemoryStorage::new();
    storage.create_dir("version").unwrap();
    storage.put("version/0000000000000004.version", file.clone());
    let found = FoundVersion::read(&storage).unwrap();
    let version = found.version.clone();
    assert_eq!(version.tables[&3].parts[&9].deletes_applied, 40);
    VersionLog::begin(Arc::new(storage.clone()), found).unwrap();
    let next = storage.bytes("version/0000000000000005.version").unwrap();
    assert_eq!(&next[..8], b"MRVERS\x00\x04");
    assert_eq!(FoundVersion::read(&storage).unwrap().version, version);
    for format in [0, 5] {
        file[7] = format;
        storage.put("version/0000000000000006.version", file.clone());
        assert!(FoundVersion::read(&storage).is_err(), "format {format}");
    }
}

#[test]
fn identities() {
    let identity = Identity { id: *b"0123456789abcdef", shards: 8, encrypted: false };
    let bytes = identity.encode();
    check(&bytes, "identity-v1");
    assert_eq!(Identity::decode(&bytes), Some(identity));
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Identity::decode(&bad), None);
    }
}

#[test]
fn catalogue_rows() {
    let schema = catalog::create(&new_table(), 7).unwrap();
    let RowChange::Put { space, key, value } = catalog::table_row(&schema) else { panic!() };
    assert_eq!((space, hex(&key)), (0, "7400000007".to_owned()));
    check(&value, "table-row-v1");
    let RowChange::Put { space, key, value } = catalog::next_table_row(8) else { panic!() };
    assert_eq!((space, &key[..], hex(&value)), (0, &b"n"[..], "08000000".to_owned()));
}
