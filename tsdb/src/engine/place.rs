//! Where the files of parts lie: in the data folder, or archived in an object store with their
//! index here. The one place where the file of a part is opened.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::crypto::open_sealed;
use crate::error::{Error, Result};
use crate::io::{File, Storage};
use crate::part::{BadBlock, Level, Part, PartMeta};
use crate::scan::PartHandle;
use crate::tier::blocks::BlockCache;
use crate::tier::file::{ObjectFile, TracedFile, keep};
use crate::tier::{Connector, Objects, Source};

use super::memory::Memory;
use super::options::Options;
use super::version::{ObjectRef, PartEntry};

/// The data folder and the object stores.
#[derive(Debug)]
pub(crate) struct Places {
    pub storage: Arc<dyn Storage>,
    connector: Arc<dyn Connector>,
    pub cache: Arc<BlockCache>,
    /// What parts keep decoded is counted there.
    pub memory: Memory,
    stores: Mutex<HashMap<String, Arc<dyn Objects>>>,
}

impl Places {
    pub fn new(storage: Arc<dyn Storage>, options: &Options) -> Places {
        Places {
            storage,
            connector: Arc::clone(&options.connector),
            cache: BlockCache::new(options.archive_cache_bytes_max),
            memory: Memory::new(options),
            stores: Mutex::default(),
        }
    }

    /// The store of a URL.
    ///
    /// # Errors
    /// [`Error::Invalid`] for one that nobody knows, [`Error::Unavailable`] if it cannot be used.
    pub fn store(&self, url: &str) -> Result<Arc<dyn Objects>> {
        let mut stores = self.stores.lock();
        if let Some(store) = stores.get(url) {
            return Ok(Arc::clone(store));
        }
        let store = self.connector.connect(url).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput => Error::Invalid(error.to_string()),
            _ => Error::Unavailable(format!("object store {url}: {error}")),
        })?;
        stores.insert(url.to_owned(), Arc::clone(&store));
        Ok(store)
    }

    /// Opens a part wherever it lies, as the version names it.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Io`] or [`Error::Unavailable`] with the name of file or object.
    pub fn open(&self, entry: PartEntry) -> Result<Arc<PartHandle>> {
        let part = self.open_alone(&entry)?;
        self.memory.adopt(&part);
        Ok(PartHandle::new(entry, part, Arc::clone(&self.storage)))
    }

    /// Opens a part with a cache of its own.
    ///
    /// # Errors
    /// As [`Places::open`].
    pub fn open_alone(&self, entry: &PartEntry) -> Result<Part> {
        let path = entry.file();
        match &entry.object {
            None => Part::open(&*self.storage, &path),
            Some(object) => Part::open_file(self.object(object, &path)?, &path),
        }
    }

    /// The stored bytes of an archived part, past what is kept of it here, and a path for messages.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a part that is not archived, or what opening gives.
    pub fn object_alone(&self, entry: &PartEntry) -> Result<(Arc<dyn File>, String)> {
        let path = entry.file();
        let Some(object) = &entry.object else {
            return Err(Error::Invalid(format!("{path} is not archived")));
        };
        let name = (&*object.store, &*object.name, object.bytes);
        let file =
            ObjectFile::open(self.store(&object.store)?, name, None, Arc::clone(&self.cache));
        let file = file.map_err(|e| Error::io(format_args!("opening {object}"), &e))?;
        Ok((Arc::new(file), path))
    }

    /// An archived part, past what is kept of it here.
    ///
    /// # Errors
    /// As [`Places::object_alone`] and [`Part::open_file`].
    pub fn archived_alone(&self, entry: &PartEntry) -> Result<Part> {
        let (stored, path) = self.object_alone(entry)?;
        let file = self.unsealed(stored, &path);
        Part::open_file(file.map_err(|e| Error::io(format_args!("opening {path}"), &e))?, &path)
    }

    /// Opens a part that was there before the start, with what is known of its bad blocks. One that
    /// is missing or damaged as a whole is open all the same, and who reads it gets the cause.
    ///
    /// # Errors
    /// [`Error::Newer`] for a format that is not known here, [`Error::Unavailable`] for an object
    /// out of reach whose index is not here.
    pub fn attach(&self, entry: PartEntry, bad: &[BadBlock]) -> Result<Arc<PartHandle>> {
        let handle = match self.open(entry.clone()) {
            Ok(handle) => handle,
            Err(Error::Corrupt(cause) | Error::Io(cause)) => {
                let path = entry.file();
                tracing::error!(path, cause, "a part cannot be opened");
                let part = Part::unopened(&path, meta(&entry), Arc::new(Unopened), &cause);
                PartHandle::new(entry, part, Arc::clone(&self.storage))
            }
            Err(error) => return Err(error),
        };
        bad.iter().for_each(|block| handle.part.remember(block));
        Ok(handle)
    }

    /// An object as a file, with what is kept of it at `path`.
    fn object(&self, object: &ObjectRef, path: &str) -> Result<Arc<dyn File>> {
        let store = self.store(&object.store).unwrap_or_else(|error| {
            // Its index may be here: only what needs the object fails.
            tracing::error!(%object, %error, "an archived part is out of reach");
            Arc::new(Unconnected(error.to_string()))
        });
        let name = (&*object.store, &*object.name, object.bytes);
        let open = |kept| ObjectFile::open(Arc::clone(&store), name, kept, Arc::clone(&self.cache));
        let kept = self.storage.open(path).and_then(|file| open(Some(file)));
        let file = kept.or_else(|error| {
            tracing::error!(path, %error, "an index is damaged; the object is read instead");
            open(None)
        });
        let file = file.and_then(|file| self.unsealed(Arc::new(file), path));
        file.map_err(|e| Error::io(format_args!("opening {path}"), &e))
    }

    /// The bytes of a part in a file that has them as they are stored.
    fn unsealed(&self, stored: Arc<dyn File>, path: &str) -> io::Result<Arc<dyn File>> {
        match self.storage.keys() {
            Some(keys) => open_sealed(stored, path, &keys),
            None => Ok(stored),
        }
    }

    /// The storage whose bytes go away as they are.
    pub fn stored(&self) -> Arc<dyn Storage> {
        self.storage.stored().unwrap_or_else(|| Arc::clone(&self.storage))
    }

    /// The index file of a part: the blocks of `file`, its stored bytes, that its index lies in.
    ///
    /// # Errors
    /// What reading gives.
    pub fn index_of(&self, file: &Arc<dyn File>, path: &str) -> Result<Vec<u8>> {
        let traced = Arc::new(TracedFile::new(Arc::clone(file)));
        let unsealed = self.unsealed(traced.clone(), path);
        let unsealed = unsealed.map_err(|e| Error::io(format_args!("opening {path}"), &e))?;
        let part = Part::open_file(unsealed, path)?;
        part.read_index()?;
        let blocks: BTreeSet<u32> = traced.blocks();
        let keep = || keep(&**file, &blocks);
        let read = keep().and_then(|bytes| Ok((keep()? == bytes).then_some(bytes)));
        // What is kept here is summed up as it was read: a bit that flips on the way must not be.
        let same = read.map_err(|e| Error::io(format_args!("reading {path}"), &e))?;
        let why = "reading its index twice gave different bytes: the disk or its memory fails";
        same.ok_or_else(|| Error::Corrupt(format!("{path}: {why}")))
    }
}

/// What the version knows of a part that cannot be opened.
fn meta(entry: &PartEntry) -> PartMeta {
    PartMeta {
        id: entry.id,
        table: entry.table,
        level: if entry.level >= 2 { Level::Dense } else { Level::Light },
        positions: entry.positions.0..=entry.positions.1,
        partition: entry.partition,
        rows: entry.rows,
        series_min: 0,
        series_max: u32::MAX,
        series_count: 0,
        times: entry.times,
        groups: 0,
        bytes: entry.bytes,
        index_bytes: 0,
        key_bytes: 0,
        columns: Vec::new(),
    }
}

/// The file of a part that could not be opened: nobody reads it.
#[derive(Debug)]
struct Unopened;

impl Unopened {
    fn error<T>(&self) -> io::Result<T> {
        Err(io::Error::new(io::ErrorKind::InvalidData, "the file could not be opened"))
    }
}

impl File for Unopened {
    fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
        self.error()
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        self.error()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.error()
    }

    fn len(&self) -> io::Result<u64> {
        self.error()
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        self.error()
    }
}

/// A store that could not be opened.
#[derive(Debug)]
struct Unconnected(String);

impl Unconnected {
    fn error<T>(&self) -> io::Result<T> {
        Err(io::Error::new(io::ErrorKind::NotConnected, self.0.clone()))
    }
}

impl Objects for Unconnected {
    fn put(&self, _: &str, _: &mut dyn Source) -> io::Result<()> {
        self.error()
    }

    fn get(&self, _: &str, _: Range<u64>) -> io::Result<Vec<u8>> {
        self.error()
    }

    fn size(&self, _: &str) -> io::Result<u64> {
        self.error()
    }

    fn list(&self, _: &str) -> io::Result<Vec<(String, u64)>> {
        self.error()
    }

    fn delete(&self, _: &str) -> io::Result<()> {
        self.error()
    }
}
