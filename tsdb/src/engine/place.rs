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
use crate::part::Part;
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
        let path = entry.file();
        let part = match &entry.object {
            None => Part::open(&*self.storage, &path)?,
            Some(object) => Part::open_file(self.object(object, &path)?, &path)?,
        };
        self.memory.adopt(&part);
        Ok(PartHandle::new(entry, part, Arc::clone(&self.storage)))
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
