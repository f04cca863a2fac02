//! Making segments: prepared under a name of its own, then put in place.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::format::{
    ALIGN_BYTES, Kind, RECORD_HEADER_BYTES, RecordHeader, SEALED, SegmentHeader, segment_path,
    unfinished_path,
};
use super::{LOG_FOLDER, LogOptions, SegmentInfo, Vote};
use crate::crypto::{RECORDS_START, RecordKey, TAG_BYTES};
use crate::io::{File, Storage};
use crate::{Error, Result};

/// The segment that is written to.
#[derive(Debug)]
pub(super) struct Active {
    pub file: Arc<dyn File>,
    pub path: String,
    pub first_index: u64,
    pub salt: [u8; 8],
    /// What payloads are sealed with, in an encrypted database.
    pub key: Option<RecordKey>,
    pub bytes: u64,
}

impl Active {
    /// Bytes of records.
    pub fn record_bytes(&self) -> u64 {
        // What a segment has before its records does not count towards its limit.
        self.bytes - if self.key.is_some() { RECORDS_START } else { 0 }
    }

    /// What sealing adds to a payload, bytes.
    pub fn tag_bytes(&self) -> u64 {
        if self.key.is_some() { TAG_BYTES as u64 } else { 0 }
    }

    pub fn info(&self, last_index: u64) -> SegmentInfo {
        SegmentInfo {
            path: self.path.clone(),
            first_index: self.first_index,
            last_index,
            bytes: self.bytes,
        }
    }
}

/// A segment whose bytes are durable but whose name is not a segment's yet.
#[derive(Debug)]
pub(super) struct Prepared {
    unfinished_path: String,
    active: Active,
}

impl Prepared {
    /// Writes and syncs a segment without records, save the vote.
    pub fn make(
        storage: &dyn Storage,
        options: &LogOptions,
        first_index: u64,
        vote: Option<Vote>,
    ) -> Result<Prepared> {
        let (created_ns, salt) = (now_ns(), fresh_salt());
        let unfinished_path = unfinished_path(first_index, salt);
        let doing = || format!("cannot make the log segment {unfinished_path}");
        let keys = storage.keys();
        let fresh = keys.as_deref().map(RecordKey::fresh).transpose();
        let fresh = fresh.map_err(|e| Error::io(doing(), &e))?;
        let header = SegmentHeader {
            flags: if fresh.is_some() { SEALED } else { 0 },
            group: options.group,
            database_id: options.database_id,
            first_index,
            created_ns,
            salt,
        };
        let mut bytes = header.encode().to_vec();
        if let Some(fresh) = &fresh {
            bytes.resize(RECORDS_START as usize - fresh.seal.len(), 0);
            bytes.extend_from_slice(&fresh.seal);
        }
        if let Some(vote) = vote {
            let before = first_index - 1;
            encode_vote(&mut bytes, options.group, vote, before, before, salt)?;
        }
        let file = storage.create(&unfinished_path).map_err(|e| Error::io(doing(), &e))?;
        let written = file.write_at(0, &bytes).and_then(|()| file.sync_data());
        if let Err(error) = written {
            // It has no name yet; if it stays, recovery removes it.
            let _ = storage.remove(&unfinished_path);
            return Err(Error::io(doing(), &error));
        }
        let path = segment_path(first_index);
        let (key, bytes) = (fresh.map(|fresh| fresh.key), bytes.len() as u64);
        let active = Active { file, path, first_index, salt, key, bytes };
        Ok(Prepared { unfinished_path, active })
    }

    /// Gives the segment its name, over any segment of the same name.
    pub fn install(self, storage: &dyn Storage) -> Result<Active> {
        let Prepared { unfinished_path, active } = self;
        storage
            .rename(&unfinished_path, &active.path)
            .map_err(|e| Error::io(format!("cannot put {} in place", active.path), &e))?;
        sync_folder(storage)?;
        Ok(active)
    }
}

/// Makes the names of the log's folder durable.
pub(super) fn sync_folder(storage: &dyn Storage) -> Result<()> {
    storage.sync_dir(LOG_FOLDER).map_err(|e| Error::io("cannot sync the folder of the log", &e))
}

/// Removes a file of the log, durably: removals never overtake each other.
pub(super) fn remove(storage: &dyn Storage, path: &str) -> Result<()> {
    storage.remove(path).map_err(|e| Error::io(format!("cannot remove {path}"), &e))?;
    sync_folder(storage)
}

/// Appends one record made of the parts of a payload; sealed if there is a key and its kind is.
/// The caller has checked the length.
pub(super) fn encode_record(
    out: &mut Vec<u8>,
    salt: [u8; 8],
    key: Option<&RecordKey>,
    parts: &[&[u8]],
    mut header: RecordHeader,
) -> Result<()> {
    let start = out.len();
    // The header is summed up over the payload, so its place is kept and filled afterwards.
    out.resize(start + RECORD_HEADER_BYTES as usize, 0);
    let payload_start = out.len();
    for part in parts {
        out.extend_from_slice(part);
    }
    header.payload_bytes =
        u32::try_from(out.len() - payload_start).expect("the caller limits payloads");
    if let Some(key) = key.filter(|_| header.is_sealable()) {
        header.payload_bytes += TAG_BYTES as u32;
        let sealed = key.seal(header.index, &header.bound(), &mut out[payload_start..]);
        out.extend_from_slice(&sealed.map_err(|e| Error::io("sealing a record", &e))?);
    }
    header.payload_crc = crc32fast::hash(&out[payload_start..]);
    out[start..payload_start].copy_from_slice(&header.encode(salt));
    let payload_bytes = out.len() - payload_start;
    out.resize(payload_start + payload_bytes.next_multiple_of(ALIGN_BYTES as usize), 0);
    Ok(())
}

/// Appends a record of a vote.
pub(super) fn encode_vote(
    out: &mut Vec<u8>,
    group: u32,
    vote: Vote,
    index: u64,
    durable: u64,
    salt: [u8; 8],
) -> Result<()> {
    let node = vote.node.to_le_bytes();
    let header = RecordHeader::new(group, Kind::Vote, vote.term, index, durable);
    encode_record(out, salt, None, &[&node], header)
}

/// Reads a vote out of its record.
pub(super) fn decode_vote(term: u64, payload: &[u8]) -> std::result::Result<Vote, String> {
    match <[u8; 8]>::try_from(payload) {
        Ok(node) => Ok(Vote { term, node: u64::from_le_bytes(node) }),
        Err(_) => Err(format!("a vote of {} bytes, not 8", payload.len())),
    }
}

fn now_ns() -> i64 {
    // For people only; a clock outside the years that fit writes 0.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or_default()
}

/// Random bytes, from the keys the standard library draws from the operating system.
fn fresh_salt() -> [u8; 8] {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_i64(now_ns());
    hasher.write_u32(std::process::id());
    hasher.finish().to_le_bytes()
}
