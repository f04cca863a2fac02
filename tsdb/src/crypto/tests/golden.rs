//! Sealed files as they were first written: they stay readable. What is written now cannot be the
//! same bytes, since keys are random; the tests beside check that it is read back.
//!
//! A golden file has the offsets and bytes of all pieces of 32 bytes that are not zero, and its
//! length in the last line. To begin a new version, set `MILLRACE_GOLDEN=write` and give the file
//! another name.

use super::*;
use crate::log::{Kind, Log, LogOptions, RecordIn};

const ONCE: &str = "parts/golden.part";
const APPENDED: &str = "version/golden.version";
const REWRITTEN: &str = "rows/golden.redb";
const SEGMENT: &str = "log/00000000000000000001.log";

fn path(name: &str) -> String {
    format!("{}/src/crypto/golden/{name}.hex", env!("CARGO_MANIFEST_DIR"))
}

fn to_text(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (number, piece) in bytes.chunks(32).enumerate() {
        if piece.iter().any(|byte| *byte != 0) {
            let hex: String = piece.iter().map(|byte| format!("{byte:02x}")).collect();
            out.push_str(&format!("{:x} {hex}\n", number * 32));
        }
    }
    out + &format!("{:x}\n", bytes.len())
}

fn from_text(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in text.lines() {
        let (offset, hex) = line.split_once(' ').unwrap_or((line, ""));
        bytes.resize(usize::from_str_radix(offset, 16).unwrap(), 0);
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        bytes.extend((0..hex.len()).step_by(2).map(byte));
    }
    bytes
}

fn options() -> LogOptions {
    LogOptions { database_id: *b"database id 0123", ..LogOptions::default() }
}

fn pages() -> Vec<u8> {
    (0..2 * 4096u32).map(|n| (n % 251) as u8).collect()
}

fn write() -> MemoryStorage {
    let memory = folders();
    let storage: Arc<dyn Storage> = Arc::new(sealed(&memory, 1));
    for (path, pieces) in
        [(ONCE, &[&pages()[..], b"and a piece"][..]), (APPENDED, &[b"one", b"two and"])]
    {
        let file = storage.create(path).unwrap();
        for piece in pieces {
            file.write_at(file.len().unwrap(), piece).unwrap();
        }
        file.sync_data().unwrap();
    }
    let file = storage.create(REWRITTEN).unwrap();
    file.write_at(4096, &pages()[..4096]).unwrap();
    file.sync_data().unwrap();
    let (mut log, _) = Log::open(storage, options()).unwrap();
    let record = |payload| RecordIn { kind: Kind::Commands, term: 5, payload };
    log.append_group(&[record(&[b"a payload", b" in two parts"]), record(&[])]).unwrap();
    memory
}

#[test]
fn golden_files_are_readable() {
    let files = [
        ("once-v1", ONCE),
        ("appended-v1", APPENDED),
        ("rewritten-v1", REWRITTEN),
        ("log-v1", SEGMENT),
    ];
    if std::env::var("MILLRACE_GOLDEN").is_ok_and(|word| word == "write") {
        let memory = write();
        for (name, stored) in files {
            std::fs::write(path(name), to_text(&memory.bytes(stored).unwrap())).unwrap();
        }
    }
    let memory = folders();
    for (name, stored) in files {
        memory.put(stored, from_text(&std::fs::read_to_string(path(name)).unwrap()));
    }
    for memory in [memory, write()] {
        let storage = sealed(&memory, 1);
        assert_eq!(read_all(&storage, ONCE).unwrap(), [&pages()[..], b"and a piece"].concat());
        assert_eq!(read_all(&storage, APPENDED).unwrap(), b"onetwo and");
        assert_eq!(read_all(&storage, REWRITTEN).unwrap(), [&[0; 4096], &pages()[..4096]].concat());
        let (log, recovered) = Log::open(Arc::new(storage), options()).unwrap();
        assert_eq!((recovered.last_index, recovered.cut), (2, None));
        let payloads: Vec<_> = log.read_from(1).unwrap().map(|r| r.unwrap().payload).collect();
        assert_eq!(payloads, [&b"a payload in two parts"[..], b""]);
    }
}
