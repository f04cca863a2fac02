//! An object as a file that is read by range: some blocks of it are kept in a local file for good
//! (an archived part's index), others pass through a bounded cache, the rest is fetched.
//!
//! Nothing here checks what the object holds: who reads a part checks every block by the part's
//! own checksums. Kept blocks have a checksum of their own; one that does not add up is fetched
//! like any other.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Objects;
use super::blocks::{BlockCache, Bytes};
use crate::checksum;
use crate::io::File;

/// Bytes of a block. Tests see many.
pub const BLOCK_BYTES: u32 = if cfg!(test) { 256 } else { 16 << 10 };
/// Sizes that readers take; nothing is allocated by any other.
const BLOCK_BYTES_KNOWN: std::ops::RangeInclusive<u32> = 256..=1 << 20;
const MAGIC: &[u8; 8] = b"MRINDX\x00\x01";
const LEAD_BYTES: usize = 24;
const ENTRY_BYTES: usize = 8;

/// The store of an object could not be asked: whether the object is sound is not known.
#[derive(Debug)]
pub struct Unreachable(String);

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreachable {}

/// An object to be read as a file.
#[derive(Debug)]
pub struct ObjectFile {
    objects: Arc<dyn Objects>,
    name: String,
    /// Store and name, for messages.
    full_name: String,
    len: u64,
    block_bytes: u32,
    kept: Option<Kept>,
    cache: Arc<BlockCache>,
    /// Of the file in the cache.
    number: u64,
}

/// Blocks kept in a local file (FORMAT.md, "Index files").
#[derive(Debug)]
struct Kept {
    file: Arc<dyn File>,
    /// Number and checksum of each block, ascending.
    blocks: Vec<(u32, u32)>,
    start: u64,
}

impl ObjectFile {
    /// The object `name` of `len` bytes; `kept` is the file that [`keep`] wrote, if it is there.
    ///
    /// # Errors
    /// `InvalidData` if `kept` is damaged or of another object.
    pub fn open(
        objects: Arc<dyn Objects>,
        (store, name, len): (&str, &str, u64),
        kept: Option<Arc<dyn File>>,
        cache: Arc<BlockCache>,
    ) -> io::Result<ObjectFile> {
        let number = cache.next_file();
        let full_name = format!("{}/{name}", store.trim_end_matches('/'));
        let name = name.to_owned();
        let (block_bytes, kept) = match kept {
            None => (BLOCK_BYTES, None),
            Some(file) => {
                let (block_bytes, kept) = Kept::read(file, len)?;
                (block_bytes, Some(kept))
            }
        };
        Ok(ObjectFile { objects, name, full_name, len, block_bytes, kept, cache, number })
    }

    fn block_len(&self, block: u32) -> usize {
        block_len(self.len, self.block_bytes, block)
    }

    /// A block out of the local file or the cache.
    fn near(&self, block: u32) -> Option<Bytes> {
        if let Some(kept) = &self.kept
            && let Some(bytes) = kept.block(block, self.block_bytes, self.block_len(block))
        {
            return Some(bytes);
        }
        self.cache.get(self.number, block)
    }

    /// Fetches blocks that follow each other, in one request.
    fn fetch(&self, blocks: RangeInclusive<u32>) -> io::Result<Vec<Bytes>> {
        let step = u64::from(self.block_bytes);
        let from = u64::from(*blocks.start()) * step;
        let to = ((u64::from(*blocks.end()) + 1) * step).min(self.len);
        let bytes = self.objects.get(&self.name, from..to).map_err(|error| self.failed(&error))?;
        if bytes.len() as u64 != to - from {
            let why = format!("object {} gave {} bytes", self.full_name, bytes.len());
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        let pieces: Vec<Bytes> = bytes.chunks(self.block_bytes as usize).map(Bytes::from).collect();
        for (block, bytes) in blocks.zip(&pieces) {
            self.cache.put(self.number, block, Arc::clone(bytes));
        }
        Ok(pieces)
    }

    /// A failed request as an error that says which object, and whether it is the object's fault.
    fn failed(&self, error: &io::Error) -> io::Error {
        let name = &self.full_name;
        match error.kind() {
            io::ErrorKind::NotFound => {
                io::Error::new(io::ErrorKind::InvalidData, format!("object {name} is missing"))
            }
            io::ErrorKind::UnexpectedEof => {
                let why = format!("object {name} is shorter than the {} bytes written", self.len);
                io::Error::new(io::ErrorKind::InvalidData, why)
            }
            _ => io::Error::other(Unreachable(format!("object {name} cannot be read: {error}"))),
        }
    }
}

impl Drop for ObjectFile {
    fn drop(&mut self) {
        self.cache.forget(self.number);
    }
}

impl File for ObjectFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        if buf.is_empty() {
            return Ok(());
        }
        let end = offset.checked_add(buf.len() as u64).filter(|end| *end <= self.len);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let step = u64::from(self.block_bytes);
        let (first, last) = ((offset / step) as u32, ((end - 1) / step) as u32);
        let mut copy = |block: u32, bytes: &[u8]| {
            let start = u64::from(block) * step;
            let from = offset.max(start);
            let to = end.min(start + bytes.len() as u64);
            let piece = &bytes[(from - start) as usize..(to - start) as usize];
            buf[(from - offset) as usize..(to - offset) as usize].copy_from_slice(piece);
        };
        let mut missing: Option<u32> = None;
        for block in first..=last {
            let Some(bytes) = self.near(block) else {
                missing.get_or_insert(block);
                continue;
            };
            if let Some(from) = missing.take() {
                let fetched = self.fetch(from..=block - 1)?;
                (from..).zip(&fetched).for_each(|(block, bytes)| copy(block, bytes));
            }
            copy(block, &bytes);
        }
        if let Some(from) = missing {
            let fetched = self.fetch(from..=last)?;
            (from..).zip(&fetched).for_each(|(block, bytes)| copy(block, bytes));
        }
        Ok(())
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "objects are never changed"))
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.len)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "objects are never changed"))
    }
}

fn block_len(len: u64, block_bytes: u32, block: u32) -> usize {
    let start = u64::from(block) * u64::from(block_bytes);
    len.saturating_sub(start).min(u64::from(block_bytes)) as usize
}

impl Kept {
    fn read(file: Arc<dyn File>, object_len: u64) -> io::Result<(u32, Kept)> {
        let damaged = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
        let mut lead = [0; LEAD_BYTES];
        file.read_at(0, &mut lead)?;
        let (magic, rest) = lead.split_at(MAGIC.len());
        let word = |at: usize| rest.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        let word = |at: usize| word(at).map_or(0, u32::from_le_bytes);
        let len = u64::from(word(0)) | u64::from(word(4)) << 32;
        let (block_bytes, count) = (word(8), word(12) as usize);
        if magic != MAGIC {
            return Err(damaged("not an index file of a format known here"));
        }
        if !BLOCK_BYTES_KNOWN.contains(&block_bytes) {
            return Err(damaged("blocks of a size that no writer takes"));
        }
        let most = len.div_ceil(u64::from(block_bytes));
        if len != object_len || count as u64 > most {
            return Err(damaged("the index of another object"));
        }
        if (LEAD_BYTES + count * ENTRY_BYTES + 4) as u64 > file.len()? {
            return Err(damaged("the index file is cut"));
        }
        let mut table = vec![0; count * ENTRY_BYTES + 4];
        file.read_at(LEAD_BYTES as u64, &mut table)?;
        let (table, stored) = table.split_at(count * ENTRY_BYTES);
        let word = |bytes: &[u8]| bytes.try_into().map_or(0, u32::from_le_bytes);
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&lead);
        hasher.update(table);
        if !checksum::fits(hasher.finalize(), word(stored)) {
            return Err(damaged("the index file's checksum differs"));
        }
        let entries = table.chunks_exact(ENTRY_BYTES);
        let blocks: Vec<(u32, u32)> =
            entries.map(|entry| (word(&entry[..4]), word(&entry[4..]))).collect();
        let ascend = blocks.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if !ascend || blocks.last().is_some_and(|(last, _)| u64::from(*last) >= most) {
            return Err(damaged("blocks of the index file are out of order"));
        }
        let start = (LEAD_BYTES + count * ENTRY_BYTES + 4) as u64;
        Ok((block_bytes, Kept { file, blocks, start }))
    }

    /// A block, if it is kept and sound.
    fn block(&self, block: u32, block_bytes: u32, len: usize) -> Option<Bytes> {
        let at = self.blocks.binary_search_by_key(&block, |(number, _)| *number).ok()?;
        let mut bytes = vec![0; len];
        // Blocks before the last of the object are full.
        let offset = self.start + at as u64 * u64::from(block_bytes);
        self.file.read_at(offset, &mut bytes).ok()?;
        checksum::fits(crc32fast::hash(&bytes), self.blocks[at].1).then(|| Bytes::from(bytes))
    }
}

/// The bytes of an index file that keeps some blocks of `object`.
///
/// # Errors
/// What reading `object` gives.
pub fn keep(object: &dyn File, blocks: &BTreeSet<u32>) -> io::Result<Vec<u8>> {
    let len = object.len()?;
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&BLOCK_BYTES.to_le_bytes());
    out.extend_from_slice(&(blocks.len() as u32).to_le_bytes());
    let mut data = Vec::new();
    for block in blocks {
        let mut bytes = vec![0; block_len(len, BLOCK_BYTES, *block)];
        object.read_at(u64::from(*block) * u64::from(BLOCK_BYTES), &mut bytes)?;
        out.extend_from_slice(&block.to_le_bytes());
        out.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        data.extend_from_slice(&bytes);
    }
    out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
    out.extend_from_slice(&data);
    Ok(out)
}

/// Checks every byte of an index file for an object of `len` bytes.
///
/// # Errors
/// `InvalidData` for damage.
pub fn check_kept(file: Arc<dyn File>, len: u64) -> io::Result<()> {
    let (block_bytes, kept) = Kept::read(file, len)?;
    for (block, _) in &kept.blocks {
        if kept.block(*block, block_bytes, block_len(len, block_bytes, *block)).is_none() {
            let why = format!("block {block} of the index file is damaged");
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
    }
    Ok(())
}

/// A file that notes which blocks of it are read.
#[derive(Debug)]
pub struct TracedFile {
    below: Arc<dyn File>,
    blocks: Mutex<BTreeSet<u32>>,
}

impl TracedFile {
    /// Reads `below`.
    pub fn new(below: Arc<dyn File>) -> TracedFile {
        TracedFile { below, blocks: Mutex::default() }
    }

    /// The blocks read so far.
    pub fn blocks(&self) -> BTreeSet<u32> {
        self.blocks.lock().clone()
    }
}

impl File for TracedFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.below.read_at(offset, buf)?;
        if !buf.is_empty() {
            let step = u64::from(BLOCK_BYTES);
            let last = (offset + buf.len() as u64 - 1) / step;
            self.blocks.lock().extend((offset / step) as u32..=last as u32);
        }
        Ok(())
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "a file that is only read"))
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.below.len()
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "a file that is only read"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::random::Random;
    use crate::io::{MemoryStorage, Storage};
    use crate::tier::MemoryObjects;

    fn kept_file(bytes: &[u8]) -> Arc<dyn File> {
        let storage = MemoryStorage::new();
        storage.create_dir("x").unwrap();
        storage.put("x/kept", bytes.to_vec());
        storage.open("x/kept").unwrap()
    }

    fn object(len: usize) -> (Vec<u8>, Arc<dyn File>, MemoryObjects) {
        let bytes: Vec<u8> = (0..len).map(|at| (at * 7 % 251) as u8).collect();
        let store = MemoryObjects::default();
        store.put("o", &mut &bytes[..]).unwrap();
        (bytes.clone(), kept_file(&bytes), store)
    }

    fn opened(
        store: &MemoryObjects,
        len: usize,
        kept: Option<&[u8]>,
        cache: u64,
    ) -> io::Result<ObjectFile> {
        let kept = kept.map(kept_file);
        let objects = Arc::new(store.clone());
        ObjectFile::open(objects, ("memory://x", "o", len as u64), kept, BlockCache::new(cache))
    }

    #[test]
    fn ranges_are_those_of_the_object() {
        let mut random = Random::new(11);
        for len in [1, 255, 256, 257, 3000] {
            let (bytes, file, store) = object(len);
            let count = len.div_ceil(BLOCK_BYTES as usize) as u64;
            let blocks = (0..count as u32).filter(|_| random.below(3) == 0).collect();
            let kept = keep(&*file, &blocks).unwrap();
            check_kept(kept_file(&kept), len as u64).unwrap();
            for cache in [0, 600, 1 << 20] {
                let file = opened(&store, len, Some(&kept), cache).unwrap();
                for _ in 0..200 {
                    let from = random.below(len as u64 + 1) as usize;
                    let to = from + random.below((len - from) as u64 + 1) as usize;
                    let mut buf = vec![0; to - from];
                    file.read_at(from as u64, &mut buf).unwrap();
                    assert_eq!(buf, bytes[from..to]);
                    assert!(file.cache.bytes() <= cache);
                }
                assert!(file.read_at(len as u64, &mut [0]).is_err());
                assert!(file.read_at(u64::MAX, &mut [0, 0]).is_err());
                assert!(file.write_at(0, b"x").is_err() && file.set_len(0).is_err());
            }
        }
    }

    #[test]
    fn kept_and_cached_blocks_need_no_store() {
        let (bytes, file, store) = object(2000);
        let kept = keep(&*file, &[0, 1, 7].into_iter().collect()).unwrap();
        let file = opened(&store, 2000, Some(&kept), 1 << 20).unwrap();
        let mut buf = [0; 300];
        let calls = store.calls();
        file.read_at(100, &mut buf).unwrap();
        file.read_at(1800, &mut buf[..200]).unwrap();
        assert_eq!(store.calls(), calls);
        // Blocks 2 to 5 in one request, and none when they are read again.
        let mut most = vec![0; 1100];
        file.read_at(300, &mut most).unwrap();
        file.read_at(600, &mut most[300..600]).unwrap();
        assert_eq!((store.calls(), &most[..]), (calls + 1, &bytes[300..1400]));
        store.fail_after(Some(0));
        let error = file.read_at(1600, &mut buf[..10]).unwrap_err();
        assert!(error.get_ref().is_some_and(|inner| inner.is::<Unreachable>()), "{error}");
        store.fail_after(None);
        store.delete("o").unwrap();
        let error = file.read_at(1600, &mut buf[..10]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains("memory://x/o is missing"), "{error}");
    }

    #[test]
    fn damaged_index_files_give_no_wrong_byte() {
        let (bytes, file, store) = object(1500);
        let kept = keep(&*file, &[0, 2, 5].into_iter().collect()).unwrap();
        let golden = (kept.len(), crc32fast::hash(&kept));
        assert_eq!(golden, (24 + 3 * 8 + 4 + 256 + 256 + 220, GOLDEN_CRC), "the format changed");
        let cuts = (0..kept.len()).map(|len| kept[..len].to_vec());
        let flips = (0..kept.len() * 8).map(|bit| {
            let mut bad = kept.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            bad
        });
        for bad in cuts.chain(flips) {
            assert!(check_kept(kept_file(&bad), 1500).is_err());
            let Ok(file) = opened(&store, 1500, Some(&bad), 4096) else { continue };
            let mut buf = vec![0; 1500];
            file.read_at(0, &mut buf).unwrap();
            assert_eq!(buf, bytes);
        }
        assert!(opened(&store, 1499, Some(&kept), 0).is_err(), "of another object");
    }

    const GOLDEN_CRC: u32 = 3_297_141_986;
}
