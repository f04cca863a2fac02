//! Storage in memory that knows which bytes would survive a power cut.
//!
//! Each file has its live bytes, as processes see them, and its durable bytes, as of its last
//! sync; changes since then wait in a list. Names likewise: live, durable, and a list of changes.
//! A crash keeps any subset of what waits, in any order, since that is all a disk promises.
//! Folders themselves are durable when made.
//!
//! Lock order: `names` before a file's `content`. A file operation holds `names` shared, a crash
//! holds it alone, so that a crash image shows one moment of all files.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use super::{File, Storage, check_path, folder_of};

/// A disk writes whole sectors, but a longer write may stop between any two of them.
const SECTOR_BYTES: u64 = 512;
/// Keeps a wild offset from asking for the machine's whole memory.
const FILE_BYTES_MAX: u64 = 1 << 36;

/// Storage in memory with crash images, and with an end if it is given one
/// ([`MemoryStorage::set_capacity`]). Clones share the same files.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    names: RwLock<Names>,
    locked: AtomicBool,
    next_id: AtomicU64,
    /// Bytes that all files together may have.
    capacity: AtomicU64,
}

impl Default for Shared {
    fn default() -> Shared {
        Shared {
            names: RwLock::default(),
            locked: AtomicBool::default(),
            next_id: AtomicU64::default(),
            capacity: AtomicU64::new(FILE_BYTES_MAX),
        }
    }
}

#[derive(Debug, Default)]
struct Names {
    live: BTreeMap<String, Arc<Node>>,
    durable: BTreeMap<String, Arc<Node>>,
    pending: Vec<NameChange>,
    folders: BTreeSet<String>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Create { path: String, node: Arc<Node> },
    Remove { path: String },
    Rename { from: String, to: String, node: Arc<Node> },
}

impl NameChange {
    /// The folder whose sync makes this change durable; for a rename that of the new name.
    fn folder(&self) -> &str {
        match self {
            NameChange::Create { path, .. } | NameChange::Remove { path } => folder_of(path),
            NameChange::Rename { to, .. } => folder_of(to),
        }
    }

    fn apply(&self, names: &mut BTreeMap<String, Arc<Node>>) {
        match self {
            NameChange::Create { path, node } => {
                names.insert(path.clone(), Arc::clone(node));
            }
            NameChange::Remove { path } => {
                names.remove(path);
            }
            NameChange::Rename { from, to, node } => {
                names.remove(from);
                names.insert(to.clone(), Arc::clone(node));
            }
        }
    }
}

#[derive(Debug)]
struct Node {
    id: u64,
    /// Bytes of the sectors that were written, to be read without the lock.
    bytes: AtomicU64,
    content: Mutex<Content>,
}

#[derive(Debug, Default)]
struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
    /// Which sectors of the live bytes were written: others are holes, which take no room.
    sectors: Vec<bool>,
}

impl Content {
    fn durable(bytes: Vec<u8>) -> Content {
        let sectors = vec![true; bytes.len().div_ceil(SECTOR_BYTES as usize)];
        Content { live: bytes.clone(), durable: bytes, pending: Vec::new(), sectors }
    }

    fn used(&self) -> u64 {
        self.sectors.iter().filter(|written| **written).count() as u64 * SECTOR_BYTES
    }

    /// How much of a write finds room, bytes, if so many are free; its sectors are taken.
    fn take_sectors(&mut self, offset: u64, len: u64, mut free: u64) -> u64 {
        let mut at = offset;
        while at < offset + len {
            let number = (at / SECTOR_BYTES) as usize;
            if self.sectors.len() <= number {
                self.sectors.resize(number + 1, false);
            }
            if !self.sectors[number] {
                if free < SECTOR_BYTES {
                    return at - offset;
                }
                free -= SECTOR_BYTES;
                self.sectors[number] = true;
            }
            at = (number as u64 + 1) * SECTOR_BYTES;
        }
        len
    }
}

#[derive(Debug)]
enum Change {
    Write { offset: u64, data: Vec<u8> },
    SetLen(u64),
}

impl MemoryStorage {
    /// An empty storage.
    #[must_use]
    pub fn new() -> MemoryStorage {
        MemoryStorage::default()
    }

    /// A new storage as a power cut might leave this one: every write, length and name not yet
    /// synced is kept, dropped, or (a write) torn at sectors, independently. The same seed on the
    /// same history gives the same image. Nobody holds the lock of the new storage.
    #[must_use]
    pub fn crash(&self, seed: u64) -> MemoryStorage {
        let mut dice = Dice::new(seed);
        // Images where all, most, half, little or nothing survives are all worth seeing.
        let keep_percent = [0, 20, 50, 80, 100][dice.below(5) as usize];
        let names = self.shared.names.write();
        let mut kept = names.durable.clone();
        for change in &names.pending {
            if dice.below(100) < keep_percent {
                change.apply(&mut kept);
            }
        }
        image(&names, &kept, |content| torn(content, keep_percent, &mut dice))
    }

    /// A new storage with exactly what was durable: nothing unsynced survives.
    #[must_use]
    pub fn crash_hard(&self) -> MemoryStorage {
        let names = self.shared.names.write();
        image(&names, &names.durable, |content| content.durable.clone())
    }

    /// A new storage with everything as processes see it now, all of it durable.
    #[must_use]
    pub fn copy(&self) -> MemoryStorage {
        let names = self.shared.names.write();
        image(&names, &names.live, |content| content.live.clone())
    }

    /// The live bytes of a file.
    ///
    /// # Errors
    /// `NotFound` if there is no such file.
    pub fn bytes(&self, path: &str) -> io::Result<Vec<u8>> {
        let names = self.shared.names.read();
        let node = names.live.get(path).ok_or_else(|| not_found(path))?;
        Ok(node.content.lock().live.clone())
    }

    /// Forgets that a file's unsynced changes are unsynced, as Linux does after a failed sync: they
    /// are still read, but no later sync makes them durable.
    ///
    /// # Errors
    /// `NotFound` if there is no such file.
    pub fn forget_unsynced(&self, path: &str) -> io::Result<()> {
        let names = self.shared.names.read();
        let node = names.live.get(path).ok_or_else(|| not_found(path))?;
        node.content.lock().pending.clear();
        Ok(())
    }

    /// Ends the storage at so many bytes, as [`MemoryStorage::used_bytes`] counts: what needs more fails with
    /// "no space left", a write after as much of it as fits. `None` is no end. Files that are
    /// longer already stay. Images of a crash have no end.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.shared.capacity.store(bytes.unwrap_or(FILE_BYTES_MAX), Ordering::SeqCst);
    }

    /// Bytes that all files together take of the device, in whole sectors; holes take none.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.shared.names.read().used()
    }

    /// Flips one bit of a file's live and durable bytes, as a medium that rots: number `bit`
    /// modulo the file's length in bits. Nothing happens to an empty file.
    ///
    /// # Errors
    /// `NotFound` if there is no such file.
    pub fn flip(&self, path: &str, bit: u64) -> io::Result<()> {
        let names = self.shared.names.read();
        let node = names.live.get(path).ok_or_else(|| not_found(path))?;
        let mut content = node.content.lock();
        let Content { live, durable, .. } = &mut *content;
        if !live.is_empty() {
            let bit = bit % (live.len() as u64 * 8);
            for bytes in [live, durable] {
                if let Some(byte) = bytes.get_mut((bit / 8) as usize) {
                    *byte ^= 1 << (bit % 8);
                }
            }
        }
        Ok(())
    }

    /// Makes a file hold `bytes`, durable at once: for building damaged files in tests.
    pub fn put(&self, path: &str, bytes: Vec<u8>) {
        let mut names = self.shared.names.write();
        let node = self.shared.node(Content::durable(bytes));
        names.live.insert(path.to_owned(), Arc::clone(&node));
        names.durable.insert(path.to_owned(), node);
    }
}

impl Shared {
    fn node(&self, content: Content) -> Arc<Node> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let bytes = AtomicU64::new(content.used());
        Arc::new(Node { id, bytes, content: Mutex::new(content) })
    }

    /// Bytes that may still be written, with the names held.
    fn free(&self, names: &Names) -> u64 {
        self.capacity.load(Ordering::SeqCst).saturating_sub(names.used())
    }
}

impl Names {
    fn used(&self) -> u64 {
        self.live.values().map(|node| node.bytes.load(Ordering::Relaxed)).sum()
    }
}

fn no_space() -> io::Error {
    io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error())
}

/// A fresh storage holding `kept` with each file's bytes chosen by `survive`.
fn image(
    names: &Names,
    kept: &BTreeMap<String, Arc<Node>>,
    mut survive: impl FnMut(&Content) -> Vec<u8>,
) -> MemoryStorage {
    let shared = Shared::default();
    let mut new_names = Names { folders: names.folders.clone(), ..Names::default() };
    let mut seen: HashMap<u64, Arc<Node>> = HashMap::new();
    for (path, node) in kept {
        let new_node = seen.entry(node.id).or_insert_with(|| {
            let bytes = survive(&node.content.lock());
            shared.node(Content::durable(bytes))
        });
        new_names.live.insert(path.clone(), Arc::clone(new_node));
        new_names.durable.insert(path.clone(), Arc::clone(new_node));
    }
    *shared.names.write() = new_names;
    MemoryStorage { shared: Arc::new(shared) }
}

/// What is left of a file's bytes after a power cut.
fn torn(content: &Content, keep_percent: u64, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = content.durable.clone();
    for change in &content.pending {
        match change {
            Change::SetLen(len) => {
                if dice.below(100) < keep_percent {
                    resize(&mut bytes, *len);
                }
            }
            Change::Write { offset, data } => {
                if dice.below(100) < keep_percent {
                    write(&mut bytes, *offset, data);
                    continue;
                }
                // The length may have grown although the bytes never arrived: zeros are read.
                let end = offset + data.len() as u64;
                if dice.below(3) == 0 && end > bytes.len() as u64 {
                    resize(&mut bytes, end);
                }
                if dice.below(2) == 0 {
                    write_some_sectors(&mut bytes, *offset, data, dice);
                }
            }
        }
    }
    bytes
}

fn write_some_sectors(bytes: &mut Vec<u8>, offset: u64, data: &[u8], dice: &mut Dice) {
    let (mut at, mut rest) = (offset, data);
    while !rest.is_empty() {
        let room = SECTOR_BYTES - at % SECTOR_BYTES;
        let (sector, behind) = rest.split_at(rest.len().min(room as usize));
        if dice.below(2) == 0 {
            write(bytes, at, sector);
        }
        at += sector.len() as u64;
        rest = behind;
    }
}

fn write(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let (start, end) = (offset as usize, offset as usize + data.len());
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[start..end].copy_from_slice(data);
}

fn resize(bytes: &mut Vec<u8>, len: u64) {
    bytes.resize(len as usize, 0);
}

fn not_found(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no file {path}"))
}

impl MemoryStorage {
    fn handle(&self, node: &Arc<Node>) -> Arc<dyn File> {
        Arc::new(MemoryFile { shared: Arc::clone(&self.shared), node: Arc::clone(node) })
    }
}

impl Storage for MemoryStorage {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        check_path(path)?;
        let mut names = self.shared.names.write();
        let folder = folder_of(path);
        if !folder.is_empty() && !names.folders.contains(folder) {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("no folder {folder}")));
        }
        if names.live.contains_key(path) {
            let why = format!("file {path} exists");
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
        }
        if self.shared.free(&names) == 0 {
            return Err(no_space());
        }
        let node = self.shared.node(Content::default());
        names.live.insert(path.to_owned(), Arc::clone(&node));
        names.pending.push(NameChange::Create { path: path.to_owned(), node: Arc::clone(&node) });
        Ok(self.handle(&node))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn File>> {
        check_path(path)?;
        let names = self.shared.names.read();
        let node = names.live.get(path).ok_or_else(|| not_found(path))?;
        Ok(self.handle(node))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        check_path(path)?;
        let mut names = self.shared.names.write();
        names.live.remove(path).ok_or_else(|| not_found(path))?;
        names.pending.push(NameChange::Remove { path: path.to_owned() });
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        check_path(from)?;
        check_path(to)?;
        let mut names = self.shared.names.write();
        let node = names.live.remove(from).ok_or_else(|| not_found(from))?;
        names.live.insert(to.to_owned(), Arc::clone(&node));
        let change = NameChange::Rename { from: from.to_owned(), to: to.to_owned(), node };
        names.pending.push(change);
        Ok(())
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let names = self.shared.names.read();
        let inside = names.live.keys().filter(|path| folder_of(path) == folder);
        let name = |path: &String| path.rsplit('/').next().unwrap_or(path).to_owned();
        Ok(inside.map(name).collect())
    }

    fn create_dir(&self, folder: &str) -> io::Result<()> {
        if folder.is_empty() {
            return Ok(());
        }
        check_path(folder)?;
        let mut names = self.shared.names.write();
        let mut folder = folder;
        while !folder.is_empty() {
            names.folders.insert(folder.to_owned());
            folder = folder_of(folder);
        }
        Ok(())
    }

    fn sync_dir(&self, folder: &str) -> io::Result<()> {
        let mut names = self.shared.names.write();
        if !folder.is_empty() && !names.folders.contains(folder) {
            return Err(not_found(folder));
        }
        let Names { durable, pending, .. } = &mut *names;
        pending.retain(|change| {
            let here = change.folder() == folder;
            if here {
                change.apply(durable);
            }
            !here
        });
        Ok(())
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        check_path(path)?;
        Ok(self.shared.names.read().live.contains_key(path))
    }

    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        if self.shared.locked.swap(true, Ordering::AcqRel) {
            let why = "the storage in memory is locked by another engine";
            return Err(io::Error::new(io::ErrorKind::WouldBlock, why));
        }
        Ok(Box::new(LockGuard { shared: Arc::clone(&self.shared) }))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.shared.free(&self.shared.names.read()))
    }
}

struct LockGuard {
    shared: Arc<Shared>,
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        self.shared.locked.store(false, Ordering::Release);
    }
}

#[derive(Debug)]
struct MemoryFile {
    shared: Arc<Shared>,
    node: Arc<Node>,
}

impl File for MemoryFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let content = self.node.content.lock();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(buf.len());
        let bytes = content.live.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(bytes);
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if offset.saturating_add(data.len() as u64) > FILE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let names = self.shared.names.read();
        let mut content = self.node.content.lock();
        let free = self.shared.free(&names);
        let len = data.len() as u64;
        let fits = content.take_sectors(offset, len, free);
        // Of a write that meets the end of the device, what fits arrives.
        let data = &data[..fits as usize];
        if fits > 0 || len == 0 {
            write(&mut content.live, offset, data);
            content.pending.push(Change::Write { offset, data: data.to_vec() });
        }
        self.node.bytes.store(content.used(), Ordering::Relaxed);
        if fits == len { Ok(()) } else { Err(no_space()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        let _names = self.shared.names.read();
        let mut content = self.node.content.lock();
        let Content { durable, pending, .. } = &mut *content;
        for change in pending.drain(..) {
            match change {
                Change::Write { offset, data } => write(durable, offset, &data),
                Change::SetLen(len) => resize(durable, len),
            }
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.node.content.lock().live.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if len > FILE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let _names = self.shared.names.read();
        let mut content = self.node.content.lock();
        resize(&mut content.live, len);
        content.pending.push(Change::SetLen(len));
        content.sectors.resize(len.div_ceil(SECTOR_BYTES) as usize, false);
        self.node.bytes.store(content.used(), Ordering::Relaxed);
        Ok(())
    }
}

/// A small seeded generator (splitmix64): the same numbers on every machine, forever, so that a
/// failing seed stays a failing seed.
struct Dice {
    state: u64,
}

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice { state: seed }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}
