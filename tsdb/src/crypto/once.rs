//! Files written once from beginning to end: sealed pages that count themselves, the last of them
//! marked (FORMAT.md, "Written once").

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::cipher::{Cipher, Secret, nonce};
use super::seal::SEAL_BYTES;
use super::{TAG_BYTES, damaged, failed_before, unsupported};
use crate::io::File;

/// Sealed bytes read or written at a time.
const BATCH_BYTES: usize = 1 << 20;
/// Length of a file that is still being written.
const UNFINISHED: u64 = u64::MAX;

thread_local! {
    /// Sealed bytes on their way in, and a page of which only a piece is wanted.
    static SCRATCH: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

/// A file that is written once. The first sync ends it.
#[derive(Debug)]
pub(super) struct OnceFile {
    inner: Arc<dyn File>,
    path: String,
    cipher: Cipher,
    page: usize,
    /// Length of the content, or [`UNFINISHED`].
    len: AtomicU64,
    writing: Mutex<Writing>,
}

#[derive(Debug, Default)]
struct Writing {
    /// Pages on disk.
    pages: u64,
    /// What comes behind them; a full page stays until it is known not to be the last.
    tail: Vec<u8>,
    scratch: Vec<u8>,
    failed: bool,
}

impl OnceFile {
    /// A new file, behind a seal that was written.
    pub fn create(
        inner: Arc<dyn File>,
        path: &str,
        secret: &Secret,
        page_shift: u8,
    ) -> io::Result<OnceFile> {
        let writing = Mutex::new(Writing::default());
        let (cipher, page) = (Cipher::new(secret)?, 1 << page_shift);
        let (path, len) = (path.to_owned(), AtomicU64::new(UNFINISHED));
        Ok(OnceFile { inner, path, cipher, page, len, writing })
    }

    /// A finished file.
    pub fn open(
        inner: Arc<dyn File>,
        path: &str,
        secret: &Secret,
        page_shift: u8,
    ) -> io::Result<OnceFile> {
        let stored = inner.len()?;
        let file = OnceFile::create(inner, path, secret, page_shift)?;
        let full = (file.page + TAG_BYTES) as u64;
        let body = stored.saturating_sub(SEAL_BYTES as u64);
        let last = body.checked_sub(1).map_or(0, |body| body / full);
        let len = body.checked_sub((last + 1) * TAG_BYTES as u64);
        // The last page holds at least its tag; an empty one is the only one.
        let Some(len) = len.filter(|len| *len > last * file.page as u64 || last + len == 0) else {
            return Err(damaged(path, format!("{stored} bytes, cut inside a page")));
        };
        file.len.store(len, Ordering::Release);
        Ok(file)
    }

    fn offset(&self, page: u64) -> u64 {
        SEAL_BYTES as u64 + page * (self.page + TAG_BYTES) as u64
    }

    fn seal(&self, page: u64, is_last: bool, plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let start = out.len();
        out.resize(start + plain.len() + TAG_BYTES, 0);
        self.cipher.seal(nonce(page), &additional(page, is_last), plain, &mut out[start..])
    }

    /// Fills `buf` from pages on disk. `last` is the number of the last page, if the file has one.
    fn read_pages(&self, offset: u64, buf: &mut [u8], last: Option<(u64, u64)>) -> io::Result<()> {
        // Taken, not borrowed: what lies below may be a sealed file too (an archived part's index).
        let (mut sealed, mut piece) = SCRATCH.take();
        let (mut at, mut rest) = (offset, buf);
        let mut read = Ok(());
        while !rest.is_empty() && read.is_ok() {
            read = self.read_batch(at, rest, last, &mut sealed, &mut piece).map(|done| {
                at += done as u64;
                rest = std::mem::take(&mut rest).get_mut(done..).unwrap_or_default();
            });
        }
        SCRATCH.set((sealed, piece));
        read
    }

    /// Reads and opens some pages at once; gives how many bytes of `buf` are filled.
    fn read_batch(
        &self,
        offset: u64,
        buf: &mut [u8],
        last: Option<(u64, u64)>,
        sealed: &mut Vec<u8>,
        piece: &mut Vec<u8>,
    ) -> io::Result<usize> {
        let page_bytes = self.page as u64;
        let first = offset / page_bytes;
        let wanted = (offset + buf.len() as u64).div_ceil(page_bytes) - first;
        let pages = wanted.min((BATCH_BYTES / self.page).max(1) as u64);
        let mut stored = pages * (page_bytes + TAG_BYTES as u64);
        if let Some((number, bytes)) = last
            && first + pages > number
        {
            stored -= page_bytes - bytes;
        }
        sealed.resize(stored as usize, 0);
        self.inner.read_at(self.offset(first), sealed)?;
        let mut filled = 0;
        for (number, text) in (first..).zip(sealed.chunks(self.page + TAG_BYTES)) {
            let is_last = last.is_some_and(|(last, _)| last == number);
            let start = (offset + filled as u64 - number * page_bytes) as usize;
            let len = text.len() - TAG_BYTES;
            let count = (len - start).min(buf.len() - filled);
            let out = &mut buf[filled..filled + count];
            let open = |out: &mut [u8]| {
                self.cipher.open(nonce(number), &additional(number, is_last), text, out)
            };
            let sound = if count == len {
                open(out)
            } else {
                piece.resize(len, 0);
                let sound = open(piece);
                out.copy_from_slice(&piece[start..start + count]);
                sound
            };
            if !sound {
                let why = format!("page {number} at byte {} is damaged", self.offset(number));
                return Err(damaged(&self.path, why));
            }
            filled += count;
        }
        Ok(filled)
    }

    /// Reads back what is still being written.
    fn read_unfinished(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let writing = self.writing.lock();
        let stored = writing.pages * self.page as u64;
        let end = offset.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > stored + writing.tail.len() as u64) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let before = stored.saturating_sub(offset).min(buf.len() as u64) as usize;
        let (sealed, tail) = buf.split_at_mut(before);
        if !sealed.is_empty() {
            self.read_pages(offset, sealed, None)?;
        }
        let start = (offset + before as u64 - stored) as usize;
        match writing.tail.get(start..start + tail.len()) {
            Some(bytes) => tail.copy_from_slice(bytes),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        Ok(())
    }

    fn write(&self, writing: &mut Writing, mut data: &[u8]) -> io::Result<()> {
        let Writing { pages, tail, scratch, .. } = writing;
        while !data.is_empty() {
            scratch.clear();
            let first = *pages;
            while !data.is_empty() && scratch.len() < BATCH_BYTES {
                if tail.is_empty() && data.len() > self.page {
                    // Whole pages are sealed from where they are.
                    let (page, rest) = data.split_at(self.page);
                    self.seal(*pages, false, page, scratch)?;
                    *pages += 1;
                    data = rest;
                    continue;
                }
                if tail.len() == self.page {
                    self.seal(*pages, false, tail, scratch)?;
                    *pages += 1;
                    tail.clear();
                    continue;
                }
                let (some, rest) = data.split_at(data.len().min(self.page - tail.len()));
                tail.extend_from_slice(some);
                data = rest;
            }
            if !scratch.is_empty() {
                self.inner.write_at(self.offset(first), scratch)?;
            }
        }
        Ok(())
    }

    fn finish(&self, writing: &mut Writing) -> io::Result<u64> {
        let Writing { pages, tail, scratch, .. } = writing;
        scratch.clear();
        self.seal(*pages, true, tail, scratch)?;
        self.inner.write_at(self.offset(*pages), scratch)?;
        self.inner.sync_data()?;
        Ok(*pages * self.page as u64 + tail.len() as u64)
    }
}

fn additional(page: u64, is_last: bool) -> [u8; 9] {
    let mut bytes = [0; 9];
    bytes[..8].copy_from_slice(&page.to_le_bytes());
    bytes[8] = u8::from(is_last);
    bytes
}

impl File for OnceFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let len = self.len.load(Ordering::Acquire);
        if len == UNFINISHED {
            return self.read_unfinished(offset, buf);
        }
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let number = len.saturating_sub(1) / self.page as u64;
        let last = (number, len - number * self.page as u64);
        if len == 0 {
            // The only page of an empty file is looked at all the same: it may be what is left.
            let mut tag = [0; TAG_BYTES];
            self.inner.read_at(self.offset(0), &mut tag)?;
            return match self.cipher.open(nonce(0), &additional(0, true), &tag, &mut []) {
                true => Ok(()),
                false => Err(damaged(&self.path, "page 0 is damaged")),
            };
        }
        self.read_pages(offset, buf, Some(last))
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut writing = self.writing.lock();
        if self.len.load(Ordering::Acquire) != UNFINISHED {
            return Err(unsupported(&self.path, "this sealed file is written once and finished"));
        }
        if writing.failed {
            return Err(failed_before(&self.path));
        }
        if offset != writing.pages * self.page as u64 + writing.tail.len() as u64 {
            return Err(unsupported(&self.path, "this sealed file is written in order only"));
        }
        let written = self.write(&mut writing, data);
        writing.failed = written.is_err();
        written
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut writing = self.writing.lock();
        if self.len.load(Ordering::Acquire) != UNFINISHED {
            return self.inner.sync_data();
        }
        if writing.failed {
            return Err(failed_before(&self.path));
        }
        match self.finish(&mut writing) {
            Ok(len) => {
                *writing = Writing::default();
                self.len.store(len, Ordering::Release);
                Ok(())
            }
            Err(error) => {
                writing.failed = true;
                Err(error)
            }
        }
    }

    fn len(&self) -> io::Result<u64> {
        // Taken before the length is looked at, so that a finish in between is seen.
        let writing = self.writing.lock();
        Ok(match self.len.load(Ordering::Acquire) {
            UNFINISHED => writing.pages * self.page as u64 + writing.tail.len() as u64,
            len => len,
        })
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(unsupported(&self.path, "this sealed file is written once and keeps its length"))
    }
}
