//! Sealing the payloads of log records (FORMAT.md, "Sealed segments"). What the records are and
//! when a segment is begun anew is the log's to know.

use std::fmt;
use std::io;

use parking_lot::RwLockReadGuard;

use super::TAG_BYTES;
use super::cipher::{Cipher, nonce};
use super::keys::{KeyRing, MasterKey};
use super::seal::{self, COPY_BYTES, Kind};
use crate::io::File;

/// Where the seal of a segment stands: in a block of its own, so that writing it anew cannot tear
/// the segment's header.
pub(super) const SEAL_START: usize = COPY_BYTES;
/// Where the records of a sealed segment begin.
pub(crate) const RECORDS_START: u64 = 3 * COPY_BYTES as u64;

/// The key of a segment.
pub(crate) struct RecordKey(Cipher);

/// A key just drawn. While it lives no other master key becomes the current one, so it is dropped
/// when the segment's file is there.
pub(crate) struct FreshRecordKey<'a> {
    pub key: RecordKey,
    /// The seal, to be written behind the zeros behind the segment's header.
    pub seal: Vec<u8>,
    _held: RwLockReadGuard<'a, Vec<MasterKey>>,
}

impl RecordKey {
    /// Draws a key for a segment that is being made.
    ///
    /// # Errors
    /// Of the cryptographic library.
    pub fn fresh(keys: &KeyRing) -> io::Result<FreshRecordKey<'_>> {
        let held = keys.hold();
        let Some(master) = held.first() else {
            return Err(io::Error::other("the key ring is empty"));
        };
        let (secret, seal) = seal::fresh(master, Kind::Log)?;
        let key = RecordKey(Cipher::new(&secret)?);
        Ok(FreshRecordKey { key, seal, _held: held })
    }

    /// Reads the key of a segment.
    ///
    /// # Errors
    /// `InvalidData` for a damaged seal, `PermissionDenied` if its key is missing, and the file's.
    pub fn read(file: &dyn File, path: &str, keys: &KeyRing) -> io::Result<RecordKey> {
        let opened = seal::read(file, SEAL_START as u64, path, keys)?;
        match opened.kind {
            Kind::Log => Ok(RecordKey(Cipher::new(&opened.secret)?)),
            _ => Err(super::damaged(path, "the seal is none of a log segment")),
        }
    }

    /// Seals a payload in place; gives the tag.
    pub fn seal(
        &self,
        index: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> io::Result<[u8; TAG_BYTES]> {
        self.0.seal_in_place(nonce(index), header, payload)
    }

    /// Opens a payload with its tag in place and takes the tag off; whether it is what was sealed.
    #[must_use]
    pub fn open(&self, index: u64, header: &[u8], payload: &mut Vec<u8>) -> bool {
        let opened = self.0.open_in_place(nonce(index), header, payload);
        payload.truncate(payload.len().saturating_sub(TAG_BYTES));
        opened
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordKey")
    }
}
