//! The rows of a moment as one file, and a row store made of it (FORMAT.md, "Backups").
//!
//! The redb file itself is never copied: its pages change while it is read.

use std::sync::Arc;

use super::backend::RedbError;
use super::command::{ROW_KEY_BYTES_MAX, ROW_VALUE_BYTES_MAX};
use super::{ROWS, RowSnapshot, RowStore, put_commit_time, put_position};
use crate::checksum;
use crate::error::{Error, Result};
use crate::io::{File, Storage};
use crate::series::bytes::{Reader, put_varint};

/// The last byte is the version of the format.
const MAGIC: &[u8; 8] = b"MRROWS\x00\x01";
/// Position and commit time behind the magic, and their checksum.
const HEADER_BYTES: usize = 8 + 16 + 4;
/// Bytes of rows from which on a chunk ends.
const CHUNK_BYTES: usize = if cfg!(test) { 64 } else { 1 << 20 };
/// No chunk is longer: it ends with the row that takes it over [`CHUNK_BYTES`].
const CHUNK_BYTES_MAX: usize = CHUNK_BYTES + ROW_VALUE_BYTES_MAX + ROW_KEY_BYTES_MAX + 32;

impl RowSnapshot {
    /// Writes all rows into an empty file, synced on return. `commit_time` (ns) is kept with
    /// them.
    ///
    /// # Errors
    /// What reading the store or writing the file gives.
    pub fn copy_to(&self, file: &Arc<dyn File>, commit_time: i64) -> Result<()> {
        let io = |e: std::io::Error| Error::io("copying the row store", &e);
        let mut header = MAGIC.to_vec();
        header.extend_from_slice(&self.position().to_le_bytes());
        header.extend_from_slice(&commit_time.to_le_bytes());
        header.extend_from_slice(&crc32fast::hash(&header).to_le_bytes());
        file.write_at(0, &header).map_err(io)?;
        let mut at = header.len() as u64;
        let mut chunk = Vec::new();
        let mut put = |chunk: &mut Vec<u8>| -> Result<()> {
            let bytes = frame(chunk);
            file.write_at(at, &bytes).map_err(io)?;
            at += bytes.len() as u64;
            chunk.clear();
            Ok(())
        };
        for row in self.0.rows.range::<&[u8]>(..).map_err(RedbError::from)? {
            let (key, value) = row.map_err(RedbError::from)?;
            for bytes in [key.value(), value.value()] {
                put_varint(&mut chunk, bytes.len() as u64);
                chunk.extend_from_slice(bytes);
            }
            if chunk.len() >= CHUNK_BYTES {
                put(&mut chunk)?;
            }
        }
        if !chunk.is_empty() {
            put(&mut chunk)?;
        }
        put(&mut chunk)?;
        file.sync_data().map_err(io)
    }
}

impl RowStore {
    /// Makes the store of a folder out of what [`RowSnapshot::copy_to`] wrote; there must be none.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the copy is damaged, [`Error::Exists`] if there is a store, and what
    /// the files give.
    pub fn restore_in(
        storage: &dyn Storage,
        folder: &str,
        name: &str,
        copy: &Arc<dyn File>,
    ) -> Result<()> {
        let path = format!("{folder}/{name}");
        if storage.exists(&path).map_err(|e| Error::io(&path, &e))? {
            return Err(Error::Exists(format!("there is a row store already: {path}")));
        }
        let store = RowStore::open_in(storage, folder, name)?;
        let filled = fill(&store, copy);
        store.close();
        filled
    }
}

fn fill(store: &RowStore, copy: &Arc<dyn File>) -> Result<()> {
    let io = |e: std::io::Error| Error::io("reading the copy of the row store", &e);
    let wrong = |why: &str| Error::Corrupt(format!("copy of the row store: {why}"));
    let len = copy.len().map_err(io)?;
    let mut header = [0; HEADER_BYTES];
    if len < HEADER_BYTES as u64 {
        return Err(wrong("it is too short"));
    }
    copy.read_at(0, &mut header).map_err(io)?;
    let (position, time) = decode_header(&header).ok_or_else(|| wrong("its head is damaged"))?;
    let guard = store.state.lock();
    let database = guard.database.as_ref().ok_or(Error::Closed)?;
    let mut transaction = database.begin_write().map_err(RedbError::from)?;
    transaction.set_quick_repair(true);
    {
        let mut rows = transaction.open_table(ROWS).map_err(RedbError::from)?;
        let mut at = HEADER_BYTES as u64;
        loop {
            let chunk = read_chunk(copy, at, len)?;
            at += chunk.len() as u64 + 8;
            if chunk.is_empty() {
                break;
            }
            let mut reader = Reader::new("copy of the row store", &chunk);
            while reader.left() > 0 {
                let bytes = reader.varint(ROW_KEY_BYTES_MAX as u64 + 2)? as usize;
                let key = reader.take(bytes)?;
                let bytes = reader.varint(ROW_VALUE_BYTES_MAX as u64)? as usize;
                rows.insert(key, reader.take(bytes)?).map_err(RedbError::from)?;
            }
        }
        if at != len {
            return Err(wrong("there are bytes behind its end"));
        }
    }
    put_position(&transaction, position)?;
    put_commit_time(&transaction, time)?;
    Ok(transaction.commit().map_err(RedbError::from)?)
}

fn decode_header(header: &[u8; HEADER_BYTES]) -> Option<(u64, i64)> {
    let (body, stored) = header.split_last_chunk::<4>()?;
    if !checksum::fits(crc32fast::hash(body), u32::from_le_bytes(*stored)) {
        return None;
    }
    let (position, time) = body.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*position), i64::from_le_bytes(time.try_into().ok()?)))
}

/// Length, rows, checksum of both. A chunk without rows ends the file.
fn frame(chunk: &[u8]) -> Vec<u8> {
    let mut out = (chunk.len() as u32).to_le_bytes().to_vec();
    out.extend_from_slice(chunk);
    out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
    out
}

fn read_chunk(copy: &Arc<dyn File>, at: u64, len: u64) -> Result<Vec<u8>> {
    let io = |e: std::io::Error| Error::io("reading the copy of the row store", &e);
    let damaged = || Error::corrupt("copy of the row store", at, "a chunk is damaged");
    let mut head = [0; 4];
    if at.saturating_add(8) > len {
        return Err(damaged());
    }
    copy.read_at(at, &mut head).map_err(io)?;
    let bytes = u32::from_le_bytes(head) as usize;
    if bytes > CHUNK_BYTES_MAX || at + 8 + bytes as u64 > len {
        return Err(damaged());
    }
    let mut chunk = vec![0; bytes + 8];
    copy.read_at(at, &mut chunk).map_err(io)?;
    let Some((body, stored)) = chunk.split_last_chunk::<4>() else { return Err(damaged()) };
    if !checksum::fits(crc32fast::hash(body), u32::from_le_bytes(*stored)) {
        return Err(damaged());
    }
    Ok(body.get(4..).ok_or_else(damaged)?.to_vec())
}
