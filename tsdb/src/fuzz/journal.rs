//! The log and the version log.

use std::sync::Arc;

use crate::engine::version::Version;
use crate::io::{MemoryStorage, Storage};
use crate::log::{self, Log, LogOptions};

/// The database of the corpus' segments.
pub const DATABASE: [u8; 16] = *b"database id 0123";
/// Their consensus group.
pub const GROUP: u32 = 3;

/// Options of the corpus' logs.
pub fn log_options() -> LogOptions {
    LogOptions { group: GROUP, database_id: DATABASE, ..LogOptions::default() }
}

/// A log of up to two segments: a `u32` says how many bytes the first has, the rest is the second.
/// Verifies it, opens it, reads every record, and opens it once more: what was taken stays.
pub fn log(bytes: &[u8]) -> bool {
    let Some((first_bytes, rest)) = bytes.split_first_chunk::<4>() else { return false };
    let first_bytes = u32::from_le_bytes(*first_bytes) as usize;
    let (first, second) = rest.split_at(first_bytes.min(rest.len()));
    let storage = MemoryStorage::new();
    for segment in [first, second].into_iter().filter(|segment| !segment.is_empty()) {
        storage.put(&log::segment_path(begins_at(segment)), segment.to_vec());
    }
    for name in storage.list(log::LOG_FOLDER).unwrap_or_default() {
        // What people are shown of a damaged file.
        let _ = log::inspect_segment(&storage, &format!("{}/{name}", log::LOG_FOLDER));
    }
    let verified = log::verify(&storage, &log_options());
    let opened = Log::open(Arc::new(storage.clone()), log_options());
    let (log, recovered) = match (verified, opened) {
        (Ok(verified), Ok((log, recovered))) => {
            assert_eq!(verified, recovered, "verifying sees another log than opening");
            (log, recovered)
        }
        (Err(_), Err(_)) => return false,
        (verified, opened) => {
            panic!("verifying says {:?}, opening {:?}", verified.err(), opened.err())
        }
    };
    let mut due = recovered.first_index;
    for record in log.read_from(recovered.first_index).expect("an opened log is read") {
        match record {
            Ok(record) => {
                assert_eq!(record.index, due, "positions are not consecutive");
                due += 1;
            }
            Err(error) => panic!("recovery took what cannot be read: {error}"),
        }
    }
    assert_eq!(due, recovered.last_index + 1, "records are missing");
    drop(log);
    let (_, again) = Log::open(Arc::new(storage), log_options()).expect("opens again");
    assert_eq!(
        (again.first_index, again.last_index, again.vote, again.cut),
        (recovered.first_index, recovered.last_index, recovered.vote, None),
        "the log is another one when it is opened again"
    );
    true
}

/// The position that a segment's header tells; 1 where there is none or it is 0.
fn begins_at(segment: &[u8]) -> u64 {
    let told = segment.get(32..40).and_then(|bytes| bytes.try_into().ok());
    told.map_or(1, u64::from_le_bytes).max(1)
}

/// A version log, all edits taken in; the version must come out of its own snapshot again.
pub fn version(bytes: &[u8]) -> bool {
    let Ok(version) = Version::from_snapshot(bytes, "v") else { return false };
    let again = Version::from_snapshot(&version.snapshot_bytes(), "again").expect("is read again");
    assert_eq!(again, version, "a snapshot gives another version");
    version.files().iter().for_each(|name| assert!(name.is_ascii(), "a name of a file: {name}"));
    true
}
