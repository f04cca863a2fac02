//! Files written anywhere, again and again: sealed pages behind a journal, since a sealed page that
//! is torn is lost whole (FORMAT.md, "Rewritten").
//!
//! Invariants
//! - Pages written wait in memory. A sync brings them to the file in rounds: journal, sync, in
//!   place, sync. So what lies in place is always whole or in a journal that is.
//! - A journal is written over only when its pages are durable in place; those that a crash kept
//!   from it (`recovered`) go there before the first round.
//! - `set_len` works at once: pages behind a new end are gone, a gap reads as zeros.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::RwLock;

use super::cipher::{SESSION_TRAILER_BYTES, Secret, Sessions};
use super::seal::SEAL_BYTES;
use super::{damaged, failed_before, take, unsupported};
use crate::io::File;

/// Content of a page.
pub(super) const PAGE_BYTES: usize = 4096;
const SEALED_BYTES: usize = PAGE_BYTES + SESSION_TRAILER_BYTES;
const ENTRY_BYTES: usize = 8 + SEALED_BYTES;
const JOURNAL_MAGIC: [u8; 8] = *b"MRJRNL\0\x01";
const JOURNAL_HEAD_BYTES: usize = 40;
/// Pages read at a time.
const READ_PAGES: usize = 64;

/// A page as it stands on disk.
type Sealed = Vec<u8>;

/// A file written in pages, with a journal.
#[derive(Debug)]
pub(super) struct RewrittenFile {
    inner: Arc<dyn File>,
    path: String,
    sessions: Sessions,
    journal_pages: usize,
    /// Where page 0 lies.
    start: u64,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Content of pages that are not in the file yet.
    dirty: BTreeMap<u64, Box<[u8; PAGE_BYTES]>>,
    /// Pages of the journal that was found, which may not be durable in place.
    recovered: BTreeMap<u64, Sealed>,
    /// Sequence of the last journal.
    sequence: u64,
    /// Pages of the content.
    pages: u64,
    failed: bool,
}

impl RewrittenFile {
    /// A new file, behind a seal that was written.
    pub fn create(
        inner: Arc<dyn File>,
        path: &str,
        secret: Secret,
        journal_pages: u16,
    ) -> io::Result<RewrittenFile> {
        // The journal's place is there before anything is in it, so that no write makes the file
        // longer.
        inner.set_len((SEAL_BYTES + journal_bytes(usize::from(journal_pages))) as u64)?;
        RewrittenFile::open(inner, path, secret, journal_pages)
    }

    /// A file that is there. Nothing is changed.
    pub fn open(
        inner: Arc<dyn File>,
        path: &str,
        secret: Secret,
        journal_pages: u16,
    ) -> io::Result<RewrittenFile> {
        let journal_pages = usize::from(journal_pages);
        let start = (SEAL_BYTES + journal_bytes(journal_pages)) as u64;
        let (path, sessions) = (path.to_owned(), Sessions::new(secret));
        let state = RwLock::default();
        let file = RewrittenFile { inner, path, sessions, journal_pages, start, state };
        let stored = file.inner.len()?;
        let body =
            stored.checked_sub(start).filter(|body| body.is_multiple_of(SEALED_BYTES as u64));
        let Some(body) = body else {
            let why = format!("{stored} bytes, cut inside the journal or a page");
            return Err(damaged(&file.path, why));
        };
        let mut state = State { pages: body / SEALED_BYTES as u64, ..State::default() };
        file.recover(&mut state)?;
        *file.state.write() = state;
        Ok(file)
    }

    fn offset(&self, page: u64) -> u64 {
        self.start + page * SEALED_BYTES as u64
    }

    /// Takes what a journal that adds up says. All of it, also what seems to stand in place: after
    /// a failed sync or a killed process that may be so in the page cache alone.
    fn recover(&self, state: &mut State) -> io::Result<()> {
        let mut journal = vec![0; self.start as usize - SEAL_BYTES];
        self.inner.read_at(SEAL_BYTES as u64, &mut journal)?;
        let Some((sequence, entries)) = decode_journal(&journal) else { return Ok(()) };
        state.sequence = sequence;
        for entry in entries.chunks_exact(ENTRY_BYTES) {
            let page = u64::from_le_bytes(take(entry, 0));
            // What lies behind the end went before the journal was made, or was never relied on.
            if page < state.pages {
                state.recovered.insert(page, entry.get(8..).unwrap_or_default().to_vec());
            }
        }
        Ok(())
    }

    fn open_page(&self, page: u64, sealed: &[u8], out: &mut [u8]) -> io::Result<()> {
        if sealed.iter().all(|byte| *byte == 0) {
            out.fill(0);
            return Ok(());
        }
        match self.sessions.open(&page.to_le_bytes(), sealed, out)? {
            true => Ok(()),
            false => {
                let why = format!("page {page} at byte {} is damaged", self.offset(page));
                Err(damaged(&self.path, why))
            }
        }
    }

    /// Fills whole pages from `first` on.
    fn read_pages(&self, state: &State, first: u64, out: &mut [u8]) -> io::Result<()> {
        let pages = out.len() / PAGE_BYTES;
        let mut sealed = vec![0; pages.min(READ_PAGES) * SEALED_BYTES];
        for (batch, out) in out.chunks_mut(READ_PAGES * PAGE_BYTES).enumerate() {
            let first = first + (batch * READ_PAGES) as u64;
            let count = out.len() / PAGE_BYTES;
            let held = (first..first + count as u64)
                .all(|page| state.dirty.contains_key(&page) || state.recovered.contains_key(&page));
            let sealed = sealed.get_mut(..count * SEALED_BYTES).unwrap_or_default();
            if !held {
                self.inner.read_at(self.offset(first), sealed)?;
            }
            let texts = sealed.chunks(SEALED_BYTES);
            for ((page, text), out) in (first..).zip(texts).zip(out.chunks_mut(PAGE_BYTES)) {
                if let Some(content) = state.dirty.get(&page) {
                    out.copy_from_slice(&content[..]);
                } else {
                    let text = state.recovered.get(&page).map_or(text, Vec::as_slice);
                    self.open_page(page, text, out)?;
                }
            }
        }
        Ok(())
    }

    /// The page in memory, to be changed; read first unless all of it is written over.
    fn dirty<'a>(
        &self,
        state: &'a mut State,
        page: u64,
        whole: bool,
    ) -> io::Result<&'a mut [u8; PAGE_BYTES]> {
        if !state.dirty.contains_key(&page) {
            let mut content = Box::new([0; PAGE_BYTES]);
            if !whole {
                self.read_pages(state, page, &mut content[..])?;
            }
            state.dirty.insert(page, content);
        }
        match state.dirty.get_mut(&page) {
            Some(content) => Ok(content),
            None => Err(io::Error::other("a page is missing from memory")),
        }
    }

    fn resize(&self, state: &mut State, pages: u64) -> io::Result<()> {
        if pages < state.pages {
            // A page that goes must not come back from the journal when the file grows again.
            self.settle(state)?;
            self.journal(state, &[])?;
        }
        self.inner.set_len(self.offset(pages))?;
        state.pages = pages;
        state.dirty.split_off(&pages);
        state.recovered.split_off(&pages);
        Ok(())
    }

    /// Makes what the journal said durable in place, so that it may be written over.
    fn settle(&self, state: &mut State) -> io::Result<()> {
        if state.recovered.is_empty() {
            return Ok(());
        }
        for (page, sealed) in &state.recovered {
            self.inner.write_at(self.offset(*page), sealed)?;
        }
        self.inner.sync_data()?;
        state.recovered.clear();
        Ok(())
    }

    /// Brings everything that waits to the file, durably.
    fn flush(&self, state: &mut State) -> io::Result<()> {
        self.settle(state)?;
        if state.dirty.is_empty() {
            // The length may have changed.
            return self.inner.sync_data();
        }
        let pages: Vec<u64> = state.dirty.keys().copied().collect();
        for round in pages.chunks(self.journal_pages) {
            self.round(state, round)?;
        }
        state.dirty.clear();
        Ok(())
    }

    /// One journal's worth of pages: to the journal, then in place.
    fn round(&self, state: &mut State, pages: &[u64]) -> io::Result<()> {
        let journal = self.journal(state, pages)?;
        let entries = journal.get(JOURNAL_HEAD_BYTES..).unwrap_or_default();
        let mut run = Vec::new();
        let mut due = None;
        for (page, entry) in pages.iter().zip(entries.chunks_exact(ENTRY_BYTES)) {
            if due != Some(*page) && !run.is_empty() {
                self.write_run(due, &run)?;
                run.clear();
            }
            run.extend_from_slice(entry.get(8..).unwrap_or_default());
            due = Some(page + 1);
        }
        self.write_run(due, &run)?;
        self.inner.sync_data()
    }

    /// Seals pages and makes them durable in the journal; gives its bytes.
    fn journal(&self, state: &mut State, pages: &[u64]) -> io::Result<Vec<u8>> {
        let mut journal = vec![0; JOURNAL_HEAD_BYTES];
        journal.reserve(pages.len() * ENTRY_BYTES);
        for page in pages {
            let Some(content) = state.dirty.get(page) else { continue };
            journal.extend_from_slice(&page.to_le_bytes());
            self.sessions.seal(&page.to_le_bytes(), &content[..], &mut journal)?;
        }
        state.sequence += 1;
        journal[..8].copy_from_slice(&JOURNAL_MAGIC);
        journal[8..16].copy_from_slice(&state.sequence.to_le_bytes());
        journal[16..20].copy_from_slice(&(pages.len() as u32).to_le_bytes());
        let crc = journal_crc(&journal);
        journal[24..28].copy_from_slice(&crc.to_le_bytes());
        self.inner.write_at(SEAL_BYTES as u64, &journal)?;
        self.inner.sync_data()?;
        Ok(journal)
    }

    /// Writes pages that lie side by side and end before page `end`.
    fn write_run(&self, end: Option<u64>, run: &[u8]) -> io::Result<()> {
        let count = (run.len() / SEALED_BYTES) as u64;
        match end {
            Some(end) => self.inner.write_at(self.offset(end - count), run),
            None => Ok(()),
        }
    }

    /// Runs a change after whose failure nothing is written any more.
    fn guarded(&self, work: impl FnOnce(&mut State) -> io::Result<()>) -> io::Result<()> {
        let mut state = self.state.write();
        if state.failed {
            return Err(failed_before(&self.path));
        }
        let done = work(&mut state);
        state.failed = done.is_err();
        done
    }
}

/// Length of a journal with room for so many pages.
fn journal_bytes(pages: usize) -> usize {
    (JOURNAL_HEAD_BYTES + pages * ENTRY_BYTES).next_multiple_of(4096)
}

/// Of sequence, number of pages and all entries.
fn journal_crc(journal: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(journal.get(8..20).unwrap_or_default());
    sum.update(journal.get(JOURNAL_HEAD_BYTES..).unwrap_or_default());
    sum.finalize()
}

/// Sequence and entries of a journal, if it adds up.
fn decode_journal(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let pages = u32::from_le_bytes(take(bytes, 16)) as usize;
    let len = pages.checked_mul(ENTRY_BYTES)?.checked_add(JOURNAL_HEAD_BYTES)?;
    let journal = bytes.get(..len)?;
    let sound = take::<8>(journal, 0) == JOURNAL_MAGIC
        && take::<4>(journal, 20) == [0; 4]
        && take::<12>(journal, 28) == [0; 12]
        && u32::from_le_bytes(take(journal, 24)) == journal_crc(journal);
    let entries = journal.get(JOURNAL_HEAD_BYTES..)?;
    sound.then_some((u64::from_le_bytes(take(journal, 8)), entries))
}

impl File for RewrittenFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let state = self.state.read();
        let len = state.pages * PAGE_BYTES as u64;
        let end = offset.checked_add(buf.len() as u64);
        let Some(end) = end.filter(|end| *end <= len) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let (first, last) = (offset / PAGE_BYTES as u64, end.div_ceil(PAGE_BYTES as u64));
        let start = (offset - first * PAGE_BYTES as u64) as usize;
        if start == 0 && buf.len().is_multiple_of(PAGE_BYTES) {
            return self.read_pages(&state, first, buf);
        }
        let mut pages = vec![0; (last - first) as usize * PAGE_BYTES];
        self.read_pages(&state, first, &mut pages)?;
        match pages.get(start..start + buf.len()) {
            Some(bytes) => buf.copy_from_slice(bytes),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.guarded(|state| {
            let end = offset.saturating_add(data.len() as u64).div_ceil(PAGE_BYTES as u64);
            if end > state.pages && !data.is_empty() {
                self.resize(state, end)?;
            }
            let (mut at, mut rest) = (offset, data);
            while !rest.is_empty() {
                let page = at / PAGE_BYTES as u64;
                let from = (at % PAGE_BYTES as u64) as usize;
                let (some, behind) = rest.split_at(rest.len().min(PAGE_BYTES - from));
                let content = self.dirty(state, page, some.len() == PAGE_BYTES)?;
                content[from..from + some.len()].copy_from_slice(some);
                (at, rest) = (at + some.len() as u64, behind);
            }
            // Memory has a limit; what is early on disk is what any disk may do.
            if state.dirty.len() >= 4 * self.journal_pages { self.flush(state) } else { Ok(()) }
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.guarded(|state| self.flush(state))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.state.read().pages * PAGE_BYTES as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if !len.is_multiple_of(PAGE_BYTES as u64) {
            return Err(unsupported(&self.path, "this sealed file consists of pages of 4 KiB"));
        }
        self.guarded(|state| self.resize(state, len / PAGE_BYTES as u64))
    }
}
