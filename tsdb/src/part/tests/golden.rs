//! Part files of every format version stay readable.

use super::damage::{contents, small_part, small_rows};
use super::*;

const LIGHT: &[u8] = include_bytes!("../golden/v1-light.part");
const DENSE: &[u8] = include_bytes!("../golden/v1-dense.part");

fn check(bytes: &[u8], level: Level) {
    let (meta, groups) = contents(bytes.to_vec()).expect("reads");
    assert_eq!((meta.id, meta.table, meta.level), (42, 7, level));
    assert_eq!(meta.positions, 5..=9);
    assert_eq!(meta.partition, Some(TimeRange::new(0, 24 * HOUR)));
    assert_eq!((meta.rows, meta.series_min, meta.series_max, meta.series_count), (95, 3, 8, 3));
    let rows = small_rows();
    assert_eq!(groups.len(), 1);
    let (_, keys, columns, ..) = &groups[0];
    assert_eq!(keys.series, rows.series);
    assert_eq!(keys.times, rows.times);
    for ((_, expected), got) in rows.columns.iter().zip(columns) {
        assert_eq!(Some(expected), got.as_ref());
    }
    let storage = TestStorage::default();
    storage.set("p", bytes.to_vec());
    Part::open(&storage, "p").expect("opens").verify().expect("verifies");
}

#[test]
fn version_1_reads_as_it_was_written() {
    check(LIGHT, Level::Light);
    check(DENSE, Level::Dense);
}

/// A light part has none of zstd's or pco's choices in it: the bytes themselves are frozen.
#[test]
fn version_1_light_is_written_byte_for_byte() {
    assert!(small_part(Level::Light) == LIGHT, "the encoding of parts changed");
}

/// Makes the golden files anew; only for a new format version, under a new name.
#[test]
#[ignore = "writes golden files"]
fn write_golden_files() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/part/golden");
    for (name, level) in [("v1-light", Level::Light), ("v1-dense", Level::Dense)] {
        std::fs::write(format!("{folder}/{name}.part"), small_part(level)).expect("writes");
    }
}
