//! A file in memory that keeps live and durable bytes apart, crashes and fails on demand.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use crate::io::{File, Storage};

const PAGE: usize = 4096;

/// Small reproducible random numbers (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

#[derive(Debug, Default)]
pub struct Disk(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Every content that a page has had since the last sync, oldest first.
    pages: BTreeMap<usize, Vec<Vec<u8>>>,
    /// Every length since the last sync.
    lens: Vec<usize>,
    /// Writes, growths and syncs until the crash is taken.
    crash_in: Option<(u64, u64)>,
    crash: Option<(Vec<u8>, u64, u64)>,
    /// Writes, growths and syncs until all of them fail.
    fail_in: Option<u64>,
    failed: bool,
    kind: Option<io::ErrorKind>,
    /// A bit of this byte is wrong in the next read that has it.
    slip: Option<u64>,
    /// Position of the last checkpoint that came back, and of the last that was begun.
    done: u64,
    begun: u64,
}

impl Disk {
    pub fn new(bytes: Vec<u8>) -> Arc<Disk> {
        let state = State { live: bytes.clone(), durable: bytes, ..State::default() };
        Arc::new(Disk(Mutex::new(state)))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub fn live(&self) -> Vec<u8> {
        self.state().live.clone()
    }

    pub fn durable(&self) -> Vec<u8> {
        self.state().durable.clone()
    }

    /// Takes the image of a crash after so many writes, growths and syncs.
    pub fn crash_after(&self, operations: u64, seed: u64) {
        self.state().crash_in = Some((operations, seed));
    }

    /// Bytes after the crash (now, if it has not come), and the checkpoints known then.
    pub fn crash_image(&self, seed: u64) -> (Vec<u8>, u64, u64) {
        let mut state = self.state();
        match state.crash.take() {
            Some(crash) => crash,
            None => state.take_crash(seed),
        }
    }

    /// Lets every write, growth and sync fail after so many.
    pub fn fail_after(&self, operations: u64) {
        self.state().fail_in = Some(operations);
    }

    pub fn fail_with(&self, kind: io::ErrorKind) {
        self.state().kind = Some(kind);
    }

    /// Changes a bit of a byte for good, if it is there.
    pub fn flip(&self, at: u64) {
        if let Some(byte) = self.state().live.get_mut(at as usize) {
            *byte ^= 1;
        }
    }

    /// Gives a bit of a byte wrong once.
    pub fn slip(&self, at: u64) {
        self.state().slip = Some(at);
    }

    pub fn has_failed(&self) -> bool {
        self.state().failed
    }

    pub fn note_checkpoint(&self, position: u64) {
        self.state().begun = position;
    }

    pub fn note_checkpoint_done(&self, position: u64) {
        self.state().done = position;
    }

    pub fn checkpoints(&self) -> (u64, u64) {
        let state = self.state();
        (state.done, state.begun)
    }
}

impl State {
    /// One more operation that changes the file: whether it may happen.
    fn count(&mut self) -> io::Result<()> {
        if let Some((left, seed)) = self.crash_in {
            self.crash_in = left.checked_sub(1).map(|left| (left, seed));
            if left == 0 {
                self.crash = Some(self.take_crash(seed));
            }
        }
        match &mut self.fail_in {
            Some(0) => {
                self.failed = true;
                Err(io::Error::new(self.kind.unwrap_or(io::ErrorKind::Other), "drawer stuck"))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The durable bytes, with each page written since as any of its contents, and any length.
    fn take_crash(&mut self, seed: u64) -> (Vec<u8>, u64, u64) {
        let mut random = Random::new(seed ^ 0x5eed);
        let mut image = self.durable.clone();
        let lens = self.lens.len() as u64 + 1;
        if let Some(len) = self.lens.get(random.below(lens) as usize) {
            image.resize(*len, 0);
        }
        for (page, contents) in &self.pages {
            let from = page * PAGE;
            let drawn = random.below(contents.len() as u64 + 1) as usize;
            let (Some(content), true) = (contents.get(drawn), from < image.len()) else { continue };
            let to = image.len().min(from + PAGE);
            let len = (to - from).min(content.len());
            image[from..from + len].copy_from_slice(&content[..len]);
        }
        (image, self.done, self.begun)
    }

    fn note_pages(&mut self, from: usize, to: usize) {
        for page in from / PAGE..to.div_ceil(PAGE) {
            let end = self.live.len().min((page + 1) * PAGE);
            let content = self.live[page * PAGE..end].to_vec();
            self.pages.entry(page).or_default().push(content);
        }
    }
}

impl File for Disk {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let mut state = self.state();
        let from = offset as usize;
        let bytes = state.live.get(from..from + buf.len());
        buf.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        let slipped = state.slip.and_then(|at| buf.get_mut(at.checked_sub(offset)? as usize));
        if let Some(byte) = slipped {
            *byte ^= 1;
            state.slip = None;
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        state.count()?;
        let (from, to) = (offset as usize, offset as usize + data.len());
        if state.live.len() < to {
            state.live.resize(to, 0);
            state.lens.push(to);
        }
        state.live[from..to].copy_from_slice(data);
        state.note_pages(from, to);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state();
        state.count()?;
        state.durable = state.live.clone();
        state.pages.clear();
        state.lens.clear();
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.state().live.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state();
        state.count()?;
        state.live.resize(len as usize, 0);
        state.lens.push(len as usize);
        Ok(())
    }
}

/// A flat folder of such files.
#[derive(Debug, Default)]
pub struct Folder(Mutex<BTreeMap<String, Arc<Disk>>>);

impl Storage for Folder {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let disk = Disk::new(Vec::new());
        match self.0.lock().unwrap().insert(path.to_owned(), disk.clone()) {
            None => Ok(disk),
            Some(_) => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let disk = self.0.lock().unwrap().get(path).cloned();
        disk.map(|disk| disk as Arc<dyn File>).ok_or(io::ErrorKind::NotFound.into())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.0.lock().unwrap().remove(path).map(|_| ()).ok_or(io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.0.lock().unwrap();
        let disk = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), disk);
        Ok(())
    }

    fn list(&self, _folder: &str) -> io::Result<Vec<String>> {
        Ok(self.0.lock().unwrap().keys().cloned().collect())
    }

    fn create_dir(&self, _folder: &str) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _folder: &str) -> io::Result<()> {
        Ok(())
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        Ok(self.0.lock().unwrap().contains_key(path))
    }

    fn lock(&self) -> io::Result<Box<dyn std::any::Any + Send + Sync>> {
        Ok(Box::new(()))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}
