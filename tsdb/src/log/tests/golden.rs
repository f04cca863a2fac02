//! The format, byte for byte: these files must stay readable, and be what is written.

use super::*;
use crate::log::format::SegmentHeader;
use crate::log::segment::{encode_record, encode_vote};

const GOLDEN: &str = include_str!("../golden/segment-v1.hex");

fn golden_bytes() -> Vec<u8> {
    let digits: Vec<u8> = GOLDEN.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn encoded() -> Vec<u8> {
    let salt = *b"saltsalt";
    let header = SegmentHeader {
        flags: 0,
        group: 3,
        database_id: *b"database id 0123",
        first_index: 1,
        created_ns: 1_700_000_000_123_456_789,
        salt,
    };
    let mut out = header.encode().to_vec();
    let mut record = |kind, term, index, durable, parts: &[&[u8]]| {
        let header = RecordHeader::new(3, kind, term, index, durable);
        encode_record(&mut out, salt, None, parts, header).unwrap();
    };
    record(Kind::NoOp, 5, 1, 0, &[]);
    record(Kind::Commands, 5, 2, 1, &[b"a payload", b" in two parts"]);
    record(Kind::Commands, 5, 3, 1, &[&[0xff; 8]]);
    record(Kind::Mark, 0, 3, 3, &[]);
    encode_vote(&mut out, 3, Vote { term: 6, node: 0x0102_0304 }, 3, 3, salt).unwrap();
    out
}

/// To begin a new version, set `MILLRACE_GOLDEN=print` and keep the old file readable.
#[test]
fn encoding_has_not_changed() {
    let row =
        |row: &[u8]| row.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    let hex = encoded().chunks(16).map(row).collect::<Vec<_>>().join("\n");
    if std::env::var_os("MILLRACE_GOLDEN").is_some() {
        println!("{hex}");
    }
    assert_eq!(hex, GOLDEN.trim_end());
}

#[test]
fn golden_files_are_readable() {
    let storage = MemoryStorage::new();
    storage.put("log/00000000000000000001.log", golden_bytes());
    let (log, recovered) = open(&storage, &options(1 << 20)).unwrap();
    assert_eq!((recovered.last_index, recovered.cut), (3, None));
    assert_eq!(recovered.vote, Some(Vote { term: 6, node: 0x0102_0304 }));
    let read: Vec<Record> = log.read_from(1).unwrap().map(|record| record.unwrap()).collect();
    assert_eq!(read[0], Record { index: 1, term: 5, kind: Kind::NoOp, payload: vec![] });
    assert_eq!(read[1].payload, b"a payload in two parts");
    assert_eq!(read[2].payload, [0xff; 8]);
}
