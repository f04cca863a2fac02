//! Files that grow at their end: one sealed chunk for each write (FORMAT.md, "Appended").

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::cipher::{SESSION_BYTES, SESSION_TRAILER_BYTES, Secret, Sessions};
use super::seal::SEAL_BYTES;
use super::{TAG_BYTES, damaged, failed_before, unsupported};
use crate::io::File;

/// Length, session and counter before the sealed bytes.
const HEAD_BYTES: usize = 4 + SESSION_BYTES + 8;
/// What a chunk has beside its text: head, tag, crc.
const FRAME_BYTES: usize = HEAD_BYTES + TAG_BYTES + 4;
/// Longest text of a chunk.
const CHUNK_BYTES_MAX: usize = 512 << 20;

/// A file that is written at its end only.
#[derive(Debug)]
pub(super) struct AppendedFile {
    inner: Arc<dyn File>,
    path: String,
    sessions: Sessions,
    chunks: Mutex<Chunks>,
}

#[derive(Debug, Default)]
struct Chunks {
    /// Of each chunk: where its text begins in the content, where it begins in the file.
    starts: Vec<(u64, u64)>,
    /// Length of the content.
    len: u64,
    /// Where the next chunk goes.
    end: u64,
    failed: bool,
}

impl AppendedFile {
    /// A new file, behind a seal that was written.
    pub fn create(inner: Arc<dyn File>, path: &str, secret: Secret) -> AppendedFile {
        let chunks = Chunks { end: SEAL_BYTES as u64, ..Chunks::default() };
        let (path, sessions) = (path.to_owned(), Sessions::new(secret));
        AppendedFile { inner, path, sessions, chunks: Mutex::new(chunks) }
    }

    /// A file with chunks; a torn last one is left out.
    ///
    /// # Errors
    /// `InvalidData` for damage anywhere else.
    pub fn open(inner: Arc<dyn File>, path: &str, secret: Secret) -> io::Result<AppendedFile> {
        let stored = inner.len()?.saturating_sub(SEAL_BYTES as u64);
        let mut body = vec![0; stored as usize];
        inner.read_at(SEAL_BYTES as u64, &mut body)?;
        let file = AppendedFile::create(inner, path, secret);
        let mut chunks = Chunks::default();
        let (mut at, mut text) = (0, Vec::new());
        while at < body.len() {
            let offset = (at + SEAL_BYTES) as u64;
            let Some((chunk, next)) = frame(&body, at) else {
                let follows = (at + 1..body.len()).any(|later| frame(&body, later).is_some());
                if chunks.starts.is_empty() || follows {
                    return Err(damaged(path, format!("the chunk at byte {offset} is damaged")));
                }
                break;
            };
            file.decode(chunk, chunks.len, offset, &mut text)?;
            chunks.starts.push((chunks.len, offset));
            chunks.len += text.len() as u64;
            at = next;
        }
        chunks.end = (at + SEAL_BYTES) as u64;
        *file.chunks.lock() = chunks;
        Ok(file)
    }

    /// Opens a chunk whose crc fits.
    fn decode(&self, chunk: &[u8], start: u64, offset: u64, text: &mut Vec<u8>) -> io::Result<()> {
        let len = chunk.len().saturating_sub(FRAME_BYTES);
        let sealed = chunk.get(HEAD_BYTES..HEAD_BYTES + len + TAG_BYTES).unwrap_or_default();
        // In the order that sessions have it: text, tag, session, counter.
        let mut ordered = Vec::with_capacity(sealed.len() + SESSION_BYTES + 8);
        ordered.extend_from_slice(sealed);
        ordered.extend_from_slice(chunk.get(4..HEAD_BYTES).unwrap_or_default());
        text.clear();
        text.resize(len, 0);
        match self.sessions.open(&additional(start, len), &ordered, text)? {
            true => Ok(()),
            false => Err(damaged(
                &self.path,
                format!("the chunk at byte {offset} adds up, but is not what was sealed there"),
            )),
        }
    }

    fn encode(&self, start: u64, text: &[u8]) -> io::Result<Vec<u8>> {
        let mut sealed = Vec::with_capacity(text.len() + SESSION_TRAILER_BYTES);
        self.sessions.seal(&additional(start, text.len()), text, &mut sealed)?;
        let (text, session) = sealed.split_at(text.len() + TAG_BYTES);
        let mut chunk = Vec::with_capacity(sealed.len() + 8);
        chunk.extend_from_slice(&((text.len() - TAG_BYTES) as u32).to_le_bytes());
        chunk.extend_from_slice(session);
        chunk.extend_from_slice(text);
        chunk.extend_from_slice(&crc32fast::hash(&chunk).to_le_bytes());
        Ok(chunk)
    }

    fn append(&self, chunks: &mut Chunks, text: &[u8]) -> io::Result<()> {
        let chunk = self.encode(chunks.len, text)?;
        // What a crash left torn here may be longer than this chunk.
        if self.inner.len()? > chunks.end {
            self.inner.set_len(chunks.end)?;
        }
        self.inner.write_at(chunks.end, &chunk)?;
        chunks.starts.push((chunks.len, chunks.end));
        chunks.len += text.len() as u64;
        chunks.end += chunk.len() as u64;
        Ok(())
    }
}

fn additional(start: u64, len: usize) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&start.to_le_bytes());
    bytes[8..].copy_from_slice(&(len as u32).to_le_bytes());
    bytes
}

/// The chunk at `at` and where the next one begins, if its checksum holds.
fn frame(body: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let len = u32::from_le_bytes(body.get(at..at + 4)?.try_into().ok()?) as usize;
    if len > CHUNK_BYTES_MAX {
        return None;
    }
    let next = at + len + FRAME_BYTES;
    let chunk = body.get(at..next)?;
    let (summed, crc) = chunk.split_last_chunk::<4>()?;
    (crc32fast::hash(summed) == u32::from_le_bytes(*crc)).then_some((chunk, next))
}

impl File for AppendedFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let chunks = self.chunks.lock();
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > chunks.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let first = chunks.starts.partition_point(|(start, _)| *start <= offset).saturating_sub(1);
        let (mut text, mut filled) = (Vec::new(), 0);
        for (number, (start, stored)) in chunks.starts.iter().enumerate().skip(first) {
            if filled == buf.len() {
                break;
            }
            let end = chunks.starts.get(number + 1).map_or(chunks.end, |(_, stored)| *stored);
            let mut chunk = vec![0; (end - stored) as usize];
            self.inner.read_at(*stored, &mut chunk)?;
            if frame(&chunk, 0).is_none() {
                return Err(damaged(&self.path, format!("the chunk at byte {stored} is damaged")));
            }
            self.decode(&chunk, *start, *stored, &mut text)?;
            let from = (offset + filled as u64).saturating_sub(*start) as usize;
            let some = text.get(from..).unwrap_or_default();
            let count = some.len().min(buf.len() - filled);
            buf[filled..filled + count].copy_from_slice(&some[..count]);
            filled += count;
        }
        match filled == buf.len() {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut chunks = self.chunks.lock();
        if chunks.failed {
            return Err(failed_before(&self.path));
        }
        if offset != chunks.len || data.len() > CHUNK_BYTES_MAX {
            let why = "this sealed file is written at its end, 512 MiB at most at a time";
            return Err(unsupported(&self.path, why));
        }
        if data.is_empty() {
            return Ok(());
        }
        let appended = self.append(&mut chunks, data);
        chunks.failed = appended.is_err();
        appended
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut chunks = self.chunks.lock();
        if chunks.failed {
            return Err(failed_before(&self.path));
        }
        let synced = self.inner.sync_data();
        chunks.failed = synced.is_err();
        synced
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.chunks.lock().len)
    }

    /// Takes whole chunks off the end again, also one that was not written whole; the file can
    /// then be written on.
    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut chunks = self.chunks.lock();
        let kept = chunks.starts.partition_point(|(start, _)| *start < len);
        let (at, end) = chunks.starts.get(kept).copied().unwrap_or((chunks.len, chunks.end));
        if at != len {
            return Err(unsupported(&self.path, "this sealed file is cut between chunks only"));
        }
        let cut = self.inner.set_len(end);
        chunks.failed = cut.is_err();
        if cut.is_ok() {
            // The sessions go on: no counter comes again.
            chunks.starts.truncate(kept);
            (chunks.len, chunks.end) = (len, end);
        }
        cut
    }
}
