//! Part files of every format version stay readable.

use super::damage::{contents, small_part, small_rows};
use super::*;

const LIGHT: &[u8] = include_bytes!("../golden/v1-light.part");
const DENSE: &[u8] = include_bytes!("../golden/v1-dense.part");
/// With blocks of codec 11, pages of pco.
const PAGES: &[u8] = include_bytes!("../golden/v1-pages.part");

/// A series of more values than a page has: readings as integers and floats, times that jitter.
fn long_rows() -> Rows {
    let mut seed = 5u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as i64
    };
    let (mut at, mut rows) = (50i64, Rows::default());
    let (mut ints, mut floats) = (Vec::new(), Vec::new());
    for i in 0..3200i64 {
        rows.times.push(i * HOUR / 360 + random() % 8 * (random() % 8));
        at = (at + random() % 5 * (random() % 3) - 2).clamp(0, 100);
        ints.push(at);
        floats.push((at as f64).sqrt());
    }
    rows.series.push(SeriesRows { series: 3, start: 0, rows: 3200 });
    rows.columns.push((1, Column::good(Values::Int(ints))));
    rows.columns.push((2, Column::good(Values::Float(floats))));
    rows
}

fn long_part() -> Vec<u8> {
    let storage = TestStorage::default();
    let columns = [(1, PhysicalType::Int), (2, PhysicalType::Float)];
    write(&storage, spec(Level::Dense, &columns), &[long_rows()]).expect("writes");
    storage.bytes("p")
}

#[test]
fn pages_read_as_they_were_written() {
    let storage = TestStorage::default();
    storage.set("p", PAGES.to_vec());
    let part = Part::open(&storage, "p").expect("opens");
    part.verify().expect("verifies");
    let (group, rows) = (groups(&part)[0], long_rows());
    assert_eq!(part.read_keys(&group).expect("reads").times, rows.times);
    assert_eq!(part.read_times_range(&group, 2000..2100).expect("reads"), rows.times[2000..2100]);
    for (id, column) in &rows.columns {
        let wanted = [(*id, column.values.physical())];
        let whole = part.read_columns(&group, &wanted).expect("reads");
        assert_eq!(whole[0].as_deref(), Some(column));
        let some = part.read_columns_range(&group, &wanted, 2000..2100).expect("reads");
        let mut expected = Values::with_capacity(wanted[0].1, 100);
        expected.extend_range(&column.values, 2000, 2100);
        assert_eq!(some[0].as_ref().map(|column| &column.values), Some(&expected));
    }
    // What the file is for: each column has one page, no states, and values in codec 11.
    let lead = part.lead(0).expect("reads");
    let start = part.entry(&lead, 0).expect("a group").offset;
    for index in 0..rows.columns.len() {
        let block = part.blocks(0, &lead, index).expect("reads")[0];
        let from = start as usize + block.offset as usize;
        assert_eq!(PAGES[from..from + 3], [1, 0, crate::codec::number::PCO_PAGES]);
    }
}

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
        assert_eq!(Some(expected), got.as_deref());
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
    std::fs::write(format!("{folder}/v1-pages.part"), long_part()).expect("writes");
}
