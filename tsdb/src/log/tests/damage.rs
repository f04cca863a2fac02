//! Every prefix, every flipped bit, and segments that are missing, strange or swapped.

use super::*;
use crate::io::Storage;

const LAST: &str = "log/00000000000000000005.log";
const FIRST: &str = "log/00000000000000000001.log";

/// Two segments: records 1-4 and 5-7, the last a group of its own.
fn small_log(with_mark: bool) -> (MemoryStorage, Vec<Vec<u8>>) {
    let storage = MemoryStorage::new();
    let (mut log, _) = open(&storage, &options(480)).unwrap();
    let model: Vec<Vec<u8>> =
        [0, 1, 8, 29, 61, 3, 21].iter().map(|len| (0..*len as u8).rev().collect()).collect();
    append(&mut log, &[&model[0], &model[1]]).unwrap();
    log.write_mark().unwrap();
    append(&mut log, &[&model[2]]).unwrap();
    append(&mut log, &[&model[3]]).unwrap();
    append(&mut log, &[&model[4], &model[5]]).unwrap();
    append(&mut log, &[&model[6]]).unwrap();
    if with_mark {
        log.write_mark().unwrap();
    }
    assert_eq!(storage.list("log").unwrap().len(), 2);
    assert_eq!(log.segments()[1].path, LAST);
    (storage, model)
}

/// Offset of the record with a position `index`, or of the file's end.
fn offset_of(storage: &MemoryStorage, path: &str, index: u64) -> u64 {
    let inspection = inspect_segment(&*shaped(Arc::new(storage.clone())), path).unwrap();
    let bytes = inspection.bytes;
    let mut records = inspection.map(|inspected| inspected.unwrap());
    let found = records.find(|inspected| {
        let header = inspected.header.unwrap();
        header.kind.takes_position() && header.index == index
    });
    found.map_or(bytes, |inspected| inspected.offset)
}

/// The inspector must see the damage too, cover the whole file, and end.
fn check_inspection(storage: &MemoryStorage, path: &str, name: &str) {
    let inspection = inspect_segment(&*shaped(Arc::new(storage.clone())), path).unwrap();
    let bytes = inspection.bytes;
    let mut damaged = inspection.verdict != Verdict::Good;
    let mut at = inspection.header.records_start().min(bytes);
    for inspected in inspection {
        let inspected = inspected.unwrap();
        assert_eq!(inspected.offset, at, "{name}");
        assert!(inspected.bytes > 0, "{name}");
        at += inspected.bytes;
        damaged |= inspected.verdict != Verdict::Good;
    }
    assert_eq!(at, bytes, "{name}");
    assert!(damaged, "{name}: the inspector saw nothing");
}

/// Where records begin.
fn records_start() -> u64 {
    if is_sealed() { crate::crypto::RECORDS_START } else { SEGMENT_HEADER_BYTES }
}

/// Stored length of a payload with its zeros behind.
fn payload_bytes(len: u64) -> u64 {
    let tag = if is_sealed() { crate::crypto::TAG_BYTES as u64 } else { 0 };
    (len + tag).next_multiple_of(8)
}

/// A sealed segment cut before its records: nothing but a seal that is gone, which no crash
/// leaves, or a header that is gone, which one that is being made has.
fn check_cut_head(whole: &MemoryStorage, path: &str, bytes: &[u8]) {
    let storage = whole.copy();
    storage.put(path, bytes.to_vec());
    match open(&storage, &options(480)) {
        Err(Error::Corrupt(why)) => assert!(why.contains(path), "{why}"),
        Err(error) => panic!("{error}"),
        Ok((log, recovered)) => {
            let len = bytes.len() as u64;
            assert!(len < 64 || len == records_start(), "{len} bytes were taken");
            assert_eq!(recovered.last_index, 4);
            assert_eq!(log.last_index(), 4);
        }
    }
}

#[test]
pub fn every_flipped_bit() {
    for with_mark in [false, true] {
        let (whole, model) = small_log(with_mark);
        let last_record = offset_of(&whole, LAST, 7);
        let record_end = last_record + RECORD_HEADER_BYTES + payload_bytes(21);
        for path in [FIRST, LAST] {
            let bytes = whole.bytes(path).unwrap();
            // Bits of a seal, which is there twice, are flipped in the tests of `crypto`.
            let seal = 64 * 8..records_start() as usize * 8;
            for bit in (0..bytes.len() * 8).filter(|bit| !seal.contains(bit)) {
                let storage = whole.copy();
                let mut damaged = bytes.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                storage.put(path, damaged);
                let name = format!("bit {bit} of {path}, mark {with_mark}");
                check_inspection(&storage, path, &name);
                let at = (bit / 8) as u64;
                let in_last = path == LAST && (last_record..record_end).contains(&at);
                let in_mark = path == LAST && at >= record_end;
                match open(&storage, &options(480)) {
                    Err(Error::Corrupt(why)) => {
                        assert!(why.contains(path), "{name}: {why}");
                        assert!(!in_mark && (with_mark || !in_last), "{name}: {why}");
                    }
                    Err(error) => panic!("{name}: {error}"),
                    Ok((log, recovered)) => {
                        let left = if in_last { 6 } else { 7 };
                        assert!(in_mark || (in_last && !with_mark), "{name} was not noticed");
                        let cut = recovered.cut.expect("the cut is reported");
                        assert_eq!(cut.segment, LAST);
                        assert_eq!(cut.offset, if in_last { last_record } else { record_end });
                        assert_eq!(payloads(&log, 1), model[..left], "{name}");
                    }
                }
            }
        }
    }
}

#[test]
pub fn every_prefix() {
    let (whole, model) = small_log(true);
    for path in [FIRST, LAST] {
        let bytes = whole.bytes(path).unwrap();
        let starts: Vec<u64> = (5..=7).map(|index| offset_of(&whole, LAST, index)).collect();
        for len in 0..bytes.len() {
            if is_sealed() && path == LAST && len as u64 <= records_start() {
                check_cut_head(&whole, path, &bytes[..len]);
                continue;
            }
            let storage = whole.copy();
            storage.put(path, bytes[..len].to_vec());
            let opened = open(&storage, &options(480));
            if path == FIRST {
                // The segment behind tells that something is missing, wherever the cut is.
                assert!(matches!(opened, Err(Error::Corrupt(_))), "{len} bytes of {path}");
                continue;
            }
            let (log, recovered) = opened.unwrap();
            let ends = [starts[1], starts[2], starts[2] + RECORD_HEADER_BYTES + payload_bytes(21)];
            let left = 4 + ends.iter().filter(|end| **end <= len as u64).count();
            assert_eq!(payloads(&log, 1), model[..left], "{len} bytes of {path}");
            assert_eq!(recovered.replaced.is_some(), len < 64);
            let boundary = len as u64 == records_start() || ends.contains(&(len as u64));
            let has_records = len as u64 > records_start();
            assert_eq!(recovered.cut.is_some(), has_records && !boundary, "{len} bytes");
            let (log, again) = open(&storage, &options(480)).unwrap();
            assert_eq!((again.cut, again.replaced), (None, None));
            assert_eq!(payloads(&log, 1), model[..left]);
        }
    }
}

#[test]
pub fn zero_tails_are_cut() {
    let (whole, model) = small_log(true);
    let bytes = whole.bytes(LAST).unwrap();
    for zeros in (1..130).chain([4096, 300_000, 600_001]) {
        let storage = whole.copy();
        let mut longer = bytes.clone();
        longer.resize(bytes.len() + zeros, 0);
        storage.put(LAST, longer);
        assert_eq!(
            verify(&*shaped(Arc::new(storage.clone())), &options(480)).unwrap().cut.unwrap().bytes,
            zeros as u64
        );
        let (log, recovered) = open(&storage, &options(480)).unwrap();
        assert_eq!(recovered.cut.unwrap().bytes, zeros as u64);
        assert_eq!(payloads(&log, 1), model);
        assert_eq!(storage.bytes(LAST).unwrap(), bytes);
    }
}

/// Damage far in front of its proof, across the windows in which the tail is searched.
#[test]
fn proof_is_found_at_any_distance() {
    for filler in [262_000, 262_040, 262_048, 262_096, 262_144, 600_000] {
        let storage = MemoryStorage::new();
        let (mut log, _) = open(&storage, &options(1 << 30)).unwrap();
        append(&mut log, &[b"first"]).unwrap();
        let record = RecordIn { kind: Kind::Commands, term: 0, payload: &[&vec![1; filler]] };
        log.append_group(&[record]).unwrap();
        log.write_mark().unwrap();
        drop(log);
        let mut bytes = storage.bytes(FIRST).unwrap();
        bytes[64 + 56 + 20] ^= 1;
        storage.put(FIRST, bytes);
        let before = storage.bytes(FIRST).unwrap();
        let Err(Error::Corrupt(why)) = open(&storage, &options(1 << 30)) else { panic!() };
        assert!(why.contains("at byte 120") && why.contains("index 2"), "{why}");
        assert_eq!(storage.bytes(FIRST).unwrap(), before, "nothing is changed");
        assert_eq!(storage.list("log").unwrap().len(), 1);
    }
}

/// A payload that holds a copy of a log must not pass for the log when its record is torn.
#[test]
fn payloads_are_not_records() {
    let (other, _) = small_log(true);
    let storage = MemoryStorage::new();
    let (mut log, _) = open(&storage, &options(1 << 20)).unwrap();
    append(&mut log, &[&other.bytes(FIRST).unwrap()]).unwrap();
    drop(log);
    let mut bytes = storage.bytes(FIRST).unwrap();
    bytes[70] ^= 1;
    storage.put(FIRST, bytes);
    let (log, recovered) = open(&storage, &options(1 << 20)).unwrap();
    assert_eq!((log.last_index(), recovered.cut.unwrap().offset), (0, 64));
}

#[test]
fn strange_folders_are_errors() {
    let check = |name: &str, spoil: &dyn Fn(&MemoryStorage)| {
        let (storage, _) = small_log(true);
        let (mut log, _) = open(&storage, &options(480)).unwrap();
        append(&mut log, &[b"in a third segment"]).unwrap();
        drop(log);
        spoil(&storage);
        let verified = verify(&storage, &options(480));
        assert!(matches!(verified, Err(Error::Corrupt(_))), "{name}: {verified:?}");
        assert!(matches!(open(&storage, &options(480)), Err(Error::Corrupt(_))), "{name}");
    };
    let third = "log/00000000000000000008.log";
    check("missing middle", &|storage| storage.remove(LAST).unwrap());
    check("swapped", &|storage| storage.put(LAST, storage.bytes(FIRST).unwrap()));
    check("blank middle", &|storage| storage.put(LAST, vec![0; 64]));
    check("blank behind a gap", &|storage| {
        storage.put("log/00000000000000000020.log", vec![0; 64]);
    });
    check("wrong name", &|storage| storage.put("log/5.log", vec![]));
    check("header alone zero", &|storage| {
        let mut bytes = storage.bytes(third).unwrap();
        bytes[..64].fill(0);
        storage.put(third, bytes);
    });
    check("copy under another name", &|storage| {
        storage.put("log/00000000000000000009.log", storage.bytes(third).unwrap());
    });
    let (storage, _) = small_log(true);
    let other_group = LogOptions { group: 4, ..options(480) };
    let other_database = LogOptions { database_id: [1; 16], ..options(480) };
    for options in [other_group, other_database] {
        assert!(matches!(open(&storage, &options), Err(Error::Corrupt(_))));
    }
    storage.put("log/notes.txt", b"not ours".to_vec());
    open(&storage, &options(480)).unwrap();
}

/// Sound checksums over fields that no log writes: an error even at the very end.
#[test]
fn rule_breakers_are_never_cut() {
    let (whole, _) = small_log(false);
    let salt = inspect_segment(&whole, LAST).unwrap().header.salt;
    let good = RecordHeader {
        group: 3,
        kind: Kind::NoOp,
        schema_version: 0,
        term: 0,
        index: 8,
        durable: 7,
        payload_bytes: 0,
        payload_crc: 0,
    };
    let mark = RecordHeader { kind: Kind::Mark, index: 7, ..good };
    let vote = RecordHeader { kind: Kind::Vote, ..mark };
    let open_with = |header: RecordHeader| {
        let storage = whole.copy();
        let mut bytes = storage.bytes(LAST).unwrap();
        bytes.extend_from_slice(&header.encode(salt));
        storage.put(LAST, bytes);
        open(&storage, &options(480)).map(|(log, _)| log.last_index())
    };
    assert_eq!(open_with(good).unwrap(), 8);
    assert_eq!(open_with(mark).unwrap(), 7);
    for bad in [
        RecordHeader { group: 4, ..good },
        RecordHeader { index: 9, ..good },
        RecordHeader { index: 7, ..good },
        RecordHeader { durable: 8, ..good },
        RecordHeader { schema_version: 1, ..good },
        RecordHeader { index: 8, ..mark },
        RecordHeader { durable: 8, ..mark },
        vote,
    ] {
        assert!(matches!(open_with(bad), Err(Error::Corrupt(_))), "{bad:?}");
    }
}
