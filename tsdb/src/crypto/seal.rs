//! The seal at the head of a file: its key, wrapped by a master key, twice.

use std::io;

use super::cipher::{Cipher, KEY_BYTES, Secret, derive, nonce, random};
use super::keys::{KeyId, KeyRing, MasterKey, missing};
use super::{TAG_BYTES, damaged, take};
use crate::io::File;

/// Length of one copy: two lie in different blocks of a disk, so that writing one tears one.
pub(super) const COPY_BYTES: usize = 4096;
/// Length of a seal.
pub(super) const SEAL_BYTES: usize = 2 * COPY_BYTES;

const MAGIC: [u8; 8] = *b"MRSEALD\x01";
const WRAP_INFO: &[u8] = b"millrace wrap 1";
/// Bytes that the wrapping authenticates.
const BOUND: usize = 24;
const SUMMED: usize = 104;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Once, from beginning to end, in pages of 2ⁿ bytes.
    Once { page_shift: u8 },
    /// At its end only.
    Appended,
    /// Anywhere, in pages of 4 KiB that a journal of so many pages covers.
    Rewritten { journal_pages: u16 },
    /// By the log.
    Log,
}

impl Kind {
    /// Kind, page shift and journal as the seal has them.
    fn encode(self) -> [u8; 8] {
        let (code, shift, journal) = match self {
            Kind::Once { page_shift } => (1, page_shift, 0),
            Kind::Appended => (2, 0, 0),
            Kind::Rewritten { journal_pages } => (3, 12, journal_pages),
            Kind::Log => (4, 0, 0),
        };
        let [low, high] = journal.to_le_bytes();
        [code, shift, low, high, 0, 0, 0, 0]
    }

    fn decode(bytes: [u8; 8]) -> Option<Kind> {
        let kind = match bytes[0] {
            1 => Kind::Once { page_shift: bytes[1] },
            2 => Kind::Appended,
            3 => Kind::Rewritten { journal_pages: u16::from_le_bytes([bytes[2], bytes[3]]) },
            4 => Kind::Log,
            _ => return None,
        };
        let sound = match kind {
            Kind::Once { page_shift } => (9..=20).contains(&page_shift),
            Kind::Rewritten { journal_pages } => (1..=4096).contains(&journal_pages),
            Kind::Appended | Kind::Log => true,
        };
        (sound && kind.encode() == bytes).then_some(kind)
    }
}

/// A seal as read, opened.
pub(super) struct Opened {
    pub kind: Kind,
    pub secret: Secret,
    /// The copy that the key was taken from, 0 or 1.
    copy: usize,
    /// Key ids of the copies, none for a damaged one.
    pub ids: [Option<KeyId>; 2],
}

/// Draws a file key and gives it with the seal that wraps it.
pub(super) fn fresh(master: &MasterKey, kind: Kind) -> io::Result<(Secret, Vec<u8>)> {
    let secret = Secret::new(random()?);
    let mut bytes = encode_copy(master, kind, &secret)?;
    bytes.extend_from_slice(&encode_copy(master, kind, &secret)?);
    Ok((secret, bytes))
}

/// One copy: a fresh salt makes a key that wraps once.
fn encode_copy(master: &MasterKey, kind: Kind, secret: &Secret) -> io::Result<Vec<u8>> {
    let salt: [u8; 32] = random()?;
    let mut out = Vec::with_capacity(COPY_BYTES);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&kind.encode());
    out.extend_from_slice(&master.id().0);
    out.extend_from_slice(&salt);
    let mut wrapped = [0; KEY_BYTES + TAG_BYTES];
    let cipher = wrapping(master, &salt)?;
    cipher.seal(nonce(0), &out[..BOUND], &secret[..], &mut wrapped)?;
    out.extend_from_slice(&wrapped);
    out.extend_from_slice(&crc32fast::hash(&out[..SUMMED]).to_le_bytes());
    out.resize(COPY_BYTES, 0);
    Ok(out)
}

fn wrapping(master: &MasterKey, salt: &[u8]) -> io::Result<Cipher> {
    let mut key = Secret::default();
    derive(salt, master.secret(), WRAP_INFO, &mut *key)?;
    Cipher::new(&key)
}

/// The id that a copy names and its kind, if it adds up.
fn decode_copy(bytes: &[u8]) -> Option<(Kind, KeyId)> {
    let crc = u32::from_le_bytes(take(bytes, SUMMED));
    let summed = bytes.get(..SUMMED)?;
    let zeros = bytes.get(SUMMED + 4..COPY_BYTES)?.iter().all(|byte| *byte == 0);
    if take::<8>(bytes, 0) != MAGIC || crc32fast::hash(summed) != crc || !zeros {
        return None;
    }
    Some((Kind::decode(take(bytes, 8))?, KeyId(take(bytes, 16))))
}

/// Whether a file begins with a seal, sound or not.
pub(super) fn begins(file: &dyn File) -> io::Result<bool> {
    let mut magic = [0; MAGIC.len()];
    if file.len()? < SEAL_BYTES as u64 {
        return Ok(false);
    }
    file.read_at(0, &mut magic)?;
    Ok(magic == MAGIC)
}

/// Reads the seal at byte `at` of a file.
///
/// # Errors
/// `InvalidData` for one that is damaged or not there, `PermissionDenied` where the key is
/// missing, and the file's own.
pub(super) fn read(file: &dyn File, at: u64, path: &str, ring: &KeyRing) -> io::Result<Opened> {
    let bytes = bytes(file, at, path)?;
    let copies = bytes.chunks_exact(COPY_BYTES);
    let decoded: Vec<_> = copies.clone().map(decode_copy).collect();
    let mut ids = [None; 2];
    for (id, copy) in ids.iter_mut().zip(&decoded) {
        *id = copy.map(|(_, id)| id);
    }
    let mut known = false;
    for (copy, (bytes, sound)) in copies.zip(&decoded).enumerate() {
        let Some((kind, id)) = sound else { continue };
        let Some(master) = ring.find(*id) else { continue };
        known = true;
        let cipher = wrapping(&master, &take::<32>(bytes, BOUND))?;
        let mut secret = Secret::default();
        let bound: [u8; BOUND] = take(bytes, 0);
        let wrapped: [u8; KEY_BYTES + TAG_BYTES] = take(bytes, 56);
        if cipher.open(nonce(0), &bound, &wrapped, &mut secret[..]) {
            return Ok(Opened { kind: *kind, secret, copy, ids });
        }
    }
    match ids.iter().flatten().next() {
        Some(id) if !known => Err(missing(path, *id, ring)),
        _ => Err(damaged(path, "the seal is damaged")),
    }
}

fn bytes(file: &dyn File, at: u64, path: &str) -> io::Result<Vec<u8>> {
    let len = file.len()?;
    if len < at.saturating_add(SEAL_BYTES as u64) {
        return Err(damaged(path, format!("{len} bytes, too short for a sealed file")));
    }
    let mut bytes = vec![0; SEAL_BYTES];
    file.read_at(at, &mut bytes)?;
    Ok(bytes)
}

/// Key ids of the copies of a seal, none for a damaged one; nothing is opened.
pub(super) fn ids(file: &dyn File, at: u64, path: &str) -> io::Result<[Option<KeyId>; 2]> {
    let bytes = bytes(file, at, path)?;
    let mut ids = [None; 2];
    for (id, copy) in ids.iter_mut().zip(bytes.chunks_exact(COPY_BYTES)) {
        *id = decode_copy(copy).map(|(_, id)| id);
    }
    Ok(ids)
}

/// Wraps a file's key anew by the current master key: one copy, a sync, then the other, so that
/// one of them is whole at any moment. Nothing happens if both are the current key's.
///
/// # Errors
/// As [`read`], and of writing.
pub(super) fn rewrap(file: &dyn File, at: u64, path: &str, ring: &KeyRing) -> io::Result<bool> {
    let opened = read(file, at, path, ring)?;
    let held = ring.hold();
    let Some(master) = held.first() else { return Ok(false) };
    if opened.ids == [Some(master.id()); 2] {
        return Ok(false);
    }
    for copy in [1 - opened.copy, opened.copy] {
        let bytes = encode_copy(master, opened.kind, &opened.secret)?;
        file.write_at(at + (copy * COPY_BYTES) as u64, &bytes)?;
        file.sync_data()?;
    }
    Ok(true)
}
