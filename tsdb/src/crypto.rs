//! Encryption at rest (FORMAT.md, "Encryption"): master keys, sealed files, and the storage that
//! seals what the engine writes.
//!
//! What holds here:
//! - Every file has a key of its own, and no (key, nonce) pair is ever used for two texts: files
//!   written once count pages, files written on draw a session for each writer and count in it,
//!   log segments have each index once. Test builds assert it for every text sealed.
//! - After a failed write a handle seals nothing more: what the disk holds is unknown.
//! - Bytes read never panic, and nothing is allocated by a length that the file does not bear out.
//! - Keys are wiped when dropped and have no text form but their ids; no error tells of them.
//!
//! Where to start: [`KeyRing`] holds the master keys, [`SealedStorage`] wraps a storage. `seal.rs`
//! is the head of every sealed file; `once.rs`, `appended.rs` and `rewritten.rs` are the three ways
//! a file is written, `records.rs` is the log's. `folder.rs` checks a folder before it is opened
//! and gives its files to another master key.

mod appended;
mod cipher;
mod folder;
mod keys;
mod once;
mod records;
mod rewritten;
mod seal;
mod storage;
#[cfg(test)]
pub(crate) mod tests;

pub use folder::{KeyUse, SealReport};
pub use keys::{KeyId, KeyRing, MasterKey};
pub use storage::{SealedStorage, is_sealed, open_sealed};

pub(crate) use folder::{check, rewrap, survey};
pub(crate) use records::{RECORDS_START, RecordKey};

use std::io;

/// Length of what the cipher adds to a text, bytes.
pub(crate) const TAG_BYTES: usize = 16;

/// Sealed bytes are not what was written.
fn damaged(path: &str, why: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{path}: {why}"))
}

/// A file of this kind is not used so.
fn unsupported(path: &str, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("{path}: {why}"))
}

/// A write failed before: what the disk holds is unknown until the file is opened again.
fn failed_before(path: &str) -> io::Error {
    io::Error::other(format!("{path}: a write to this sealed file has failed before"))
}

/// `N` bytes from `at`, zeros where there are none.
fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    if let Some(found) = bytes.get(at..at.saturating_add(N)) {
        out.copy_from_slice(found);
    }
    out
}
