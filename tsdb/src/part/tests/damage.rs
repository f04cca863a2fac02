//! Every prefix and every flipped bit of a small part.

use super::*;
use crate::types::{CellState, ColumnBuilder, Quality, ValueRef};

const COLUMNS: [(ColumnId, PhysicalType); 4] = [
    (1, PhysicalType::Int),
    (2, PhysicalType::Float),
    (4, PhysicalType::Bool),
    (9, PhysicalType::Bytes),
];

/// A small table with all types, qualities and two kinds of zones.
pub fn small_rows() -> Rows {
    let mut rows = Rows::default();
    let mut builders = COLUMNS.map(|(_, kind)| ColumnBuilder::new(kind, 0));
    for (series, count) in [(3u32, 20u32), (4, 70), (8, 5)] {
        let start = rows.times.len() as u32;
        rows.series.push(SeriesRows { series, start, rows: count });
        for i in 0..i64::from(count) {
            rows.times.push(HOUR / 2 + i * HOUR / 40);
            let state = match i % 11 {
                0 => CellState::NULL,
                1 => CellState::value(Quality::Uncertain),
                2 => CellState::ABSENT,
                _ => CellState::GOOD,
            };
            let text = format!("note {}", i % 4);
            builders[0].push(CellState::GOOD, ValueRef::Int(i * i % 97));
            builders[1].push(state, ValueRef::Float(i as f64 / 4.0));
            builders[2].push(CellState::GOOD, ValueRef::Bool(i % 9 == 0));
            builders[3].push(state, ValueRef::Bytes(text.as_bytes()));
        }
    }
    let finished = builders.into_iter().map(ColumnBuilder::finish);
    rows.columns = COLUMNS.iter().map(|(id, _)| *id).zip(finished).collect();
    rows
}

pub fn small_part(level: Level) -> Vec<u8> {
    let storage = TestStorage::default();
    let spec = PartSpec { partition: Some(TimeRange::new(0, 24 * HOUR)), ..spec(level, &COLUMNS) };
    write(&storage, spec, &[small_rows()]).expect("writes");
    storage.bytes("p")
}

/// Everything that a part says.
type Contents =
    (PartMeta, Vec<(GroupRef, GroupKeys, Vec<Option<Arc<Column>>>, Vec<ZoneRows>, String)>);

pub fn contents(bytes: Vec<u8>) -> Result<Contents> {
    let storage = TestStorage::default();
    storage.set("p", bytes);
    let part = Part::open(&storage, "p")?;
    let mut out = Vec::new();
    for group in part.groups_for(0..=u32::MAX, TimeRange::ALL)? {
        let mut stats = String::new();
        for (id, _) in COLUMNS {
            let text = part.text_range(&group, id)?;
            stats += &format!("{:?} {text:?}", part.zone_stats(&group, id)?);
        }
        let columns = part.read_columns(&group, &COLUMNS)?;
        out.push((group, part.read_keys(&group)?, columns, part.zones(&group)?, stats));
    }
    Ok((part.meta().clone(), out))
}

#[test]
fn every_prefix_is_an_error() {
    for level in [Level::Light, Level::Dense] {
        let whole = small_part(level);
        for len in 0..whole.len() {
            let error = contents(whole[..len].to_vec()).expect_err("a prefix is no part");
            assert!(matches!(error, crate::Error::Corrupt(_)), "{len}: {error}");
        }
        let longer = [&whole[..], &[0]].concat();
        assert!(contents(longer).is_err());
    }
}

#[test]
fn every_flipped_bit_is_an_error() {
    for level in [Level::Light, Level::Dense] {
        let mut bytes = small_part(level);
        contents(bytes.clone()).expect("is whole");
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let error = contents(bytes.clone()).expect_err("a flipped bit is seen");
            assert!(matches!(error, crate::Error::Corrupt(_)), "bit {bit}: {error}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

/// Damage that every crc agrees with, as a faulty writer would make it: never a panic.
#[test]
fn damage_under_valid_crcs_never_panics() {
    let rows = small_rows();
    let mut page = index::PageDraft::new(1);
    let zones = zones::cut(&rows.series, &rows.times);
    page.groups.push(index::GroupEntry {
        series_first: 3,
        series_last: 8,
        times: TimeRange::new(0, 5),
        rows: rows.len() as u32,
        offset: 64,
        keys_len: 10,
        keys_crc: 11,
        zone_start: 0,
        zones: zones.len() as u32,
    });
    page.zones = zones;
    let (bytes, lead) = page.encode(&[PhysicalType::Int], Level::Dense);
    let mut lead = bytes[..lead].to_vec();
    index::decode_lead(&lead, 1, 1).expect("is whole");
    for bit in 0..lead.len() * 8 {
        lead[bit / 8] ^= 1 << (bit % 8);
        if let Ok(decoded) = index::decode_lead(&lead, 1, 1) {
            assert_eq!(decoded.groups[0].zones as usize, decoded.zones.len());
        }
        lead[bit / 8] ^= 1 << (bit % 8);
    }
    let (values, states) = (&rows.columns[1].1.values, rows.columns[1].1.states.as_deref());
    let mut block = Vec::new();
    let values = crate::codec::ValuesRef::all(values);
    block::encode_column(values, states, Level::Dense, &mut block);
    for bit in 0..block.len() * 8 {
        block[bit / 8] ^= 1 << (bit % 8);
        for range in [0..rows.len(), 30..50] {
            let got =
                block::decode_column_range(&block, rows.len(), range.clone(), PhysicalType::Float);
            assert!(got.is_err() || got.is_ok_and(|column| column.len() == range.len()));
        }
        block[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn damaged_times_never_panic() {
    let jitter = (0..4000i64).map(|i| i * 10_000_000 + i * i % 97);
    let regular = (0..300i64).map(|i| i * 10_000_000);
    for (times, level) in [
        (jitter.clone().take(300).collect::<Vec<_>>(), Level::Light),
        (jitter.collect(), Level::Dense),
        (regular.collect(), Level::Light),
    ] {
        let rows = times.len();
        let mut block = Vec::new();
        block::encode_keys(&[(7, rows as u32)], &times, level, &mut block);
        for range in [0..rows, 100..200, rows - 1..rows] {
            let got = block::decode_times_range(&block, rows, 7, range.clone());
            assert_eq!(got.expect("decodes"), times[range]);
        }
        assert!(block::decode_times_range(&block, rows, 8, 0..1).is_err());
        let survive = |block: &[u8]| {
            for range in [100..200, rows - 1..rows] {
                let got = block::decode_times_range(block, rows, 7, range.clone());
                assert!(got.is_err() || got.is_ok_and(|times| times.len() == range.len()));
            }
        };
        (0..block.len()).for_each(|len| survive(&block[..len]));
        for bit in 0..block.len() * 8 {
            block[bit / 8] ^= 1 << (bit % 8);
            survive(&block);
            block[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn blocks_of_several_pages_are_read() {
    let rows = small_rows();
    let column = &rows.columns[1].1;
    let (mut pages, mut table) = (Vec::new(), vec![2u8]);
    for (start, end) in [(0, 40), (40, rows.len())] {
        if start > 0 {
            table.extend_from_slice(&(start as u32).to_le_bytes());
            table.extend_from_slice(&(pages.len() as u32).to_le_bytes());
        }
        let values = crate::codec::ValuesRef::slice(&column.values, start, end);
        let states = column.states.as_ref().map(|s| &s[start..end]);
        let mut page = Vec::new();
        block::encode_column(values, states, Level::Light, &mut page);
        pages.extend_from_slice(&page[1..]);
    }
    let block = [table, pages].concat();
    let got = |range: std::ops::Range<usize>| {
        block::decode_column_range(&block, rows.len(), range, PhysicalType::Float)
    };
    assert_eq!(&got(0..rows.len()).expect("decodes"), column);
    for range in [0..40, 40..95, 30..50, 39..40, 40..41, 7..7] {
        let got = got(range.clone()).expect("decodes");
        assert_eq!(got.len(), range.len());
        for row in range.clone() {
            assert_eq!(got.cell(row - range.start), column.cell(row), "{range:?}");
        }
    }
}

#[test]
fn verify_finds_statistics_that_differ() {
    let storage = TestStorage::default();
    let mut bytes = small_part(Level::Light);
    // Another column of the same shape with valid crcs: only verify can know.
    let trailer: [u8; format::TRAILER_BYTES] =
        bytes[bytes.len() - format::TRAILER_BYTES..].try_into().expect("a trailer");
    let trailer = format::Trailer::decode(&trailer).expect("a trailer");
    let header: [u8; format::HEADER_BYTES] =
        bytes[..format::HEADER_BYTES].try_into().expect("a header");
    let header = format::Header::decode(&header).expect("a header");
    let from = trailer.footer_offset as usize;
    let old = &bytes[from..from + trailer.footer_len as usize];
    let mut footer = format::Footer::decode(old, &header).expect("a footer");
    footer.columns[0].good -= 1;
    let new = footer.encode(&header);
    bytes.truncate(from);
    bytes.extend_from_slice(&new);
    let trailer = format::Trailer {
        footer_len: new.len() as u32,
        footer_crc: crc32fast::hash(&new),
        ..trailer
    };
    bytes.extend_from_slice(&trailer.encode());
    storage.set("p", bytes);
    let part = Part::open(&storage, "p").expect("opens");
    let error = part.verify().expect_err("totals differ");
    assert!(error.to_string().contains("totals"), "{error}");
}
