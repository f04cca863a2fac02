//! The storage that seals: each file in the way that its folder is written.

use std::any::Any;
use std::io;
use std::sync::Arc;

use super::appended::AppendedFile;
use super::damaged;
use super::keys::KeyRing;
use super::once::OnceFile;
use super::records::SEAL_START;
use super::rewritten::RewrittenFile;
use super::seal::{self, Kind};
use crate::io::{File, Storage};

/// Pages of files written once: 4 KiB. A column block of a row group is a few KiB, and all of a
/// page is opened for any byte of it; a tag costs 0.4 % of it.
const PAGE_SHIFT: u8 = 12;
/// Room of the row store's journal: 1 MiB, so that a checkpoint seldom needs a second round.
const JOURNAL_PAGES: u16 = if cfg!(test) { 12 } else { 252 };

/// Folders whose files carry a seal, and where in the file it stands.
pub(super) const SEALED_FOLDERS: [(&str, u64); 5] =
    [("version", 0), ("rows", 0), ("log", SEAL_START as u64), ("parts", 0), ("series", 0)];

/// Who a database is must be known without a key.
const IDENTITY: [&str; 2] = ["database", "database.tmp"];

/// Storage whose files are sealed on the storage below. Files of the log pass through: their
/// records are sealed by the log itself, with the keys that [`Storage::keys`] gives.
#[derive(Debug)]
pub struct SealedStorage {
    inner: Arc<dyn Storage>,
    keys: Arc<KeyRing>,
    page_shift: u8,
}

impl SealedStorage {
    /// Seals files on `inner`. Whether the folder is an encrypted one is checked where a database
    /// is opened.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>, keys: Arc<KeyRing>) -> SealedStorage {
        SealedStorage { inner, keys, page_shift: PAGE_SHIFT }
    }

    /// The same with pages of 2ⁿ bytes (`page_shift` 9 to 20) in files written once from now on.
    /// Default 12.
    #[must_use]
    pub fn with_page_shift(self, page_shift: u8) -> SealedStorage {
        SealedStorage { page_shift: page_shift.clamp(9, 20), ..self }
    }
}

/// How a file of this path is written; none for one that is not sealed here.
fn kind_of(path: &str, page_shift: u8) -> Option<Kind> {
    match path.split_once('/') {
        None if IDENTITY.contains(&path) => None,
        Some(("log", _)) => None,
        // A segment looked at by itself.
        None if path.ends_with(".log") => None,
        Some(("version", _)) => Some(Kind::Appended),
        Some(("rows", _)) => Some(Kind::Rewritten { journal_pages: JOURNAL_PAGES }),
        _ => Some(Kind::Once { page_shift }),
    }
}

/// Whether a stored file is a sealed one. Segments of the log say it in their own header.
///
/// # Errors
/// The file's own.
pub fn is_sealed(stored: &dyn File) -> io::Result<bool> {
    seal::begins(stored)
}

/// Opens a sealed file that was copied as it is stored, for instance a part from an archive.
///
/// # Errors
/// `InvalidData` for a damaged one, `PermissionDenied` if its key is not in the ring, and the
/// file's own.
pub fn open_sealed(stored: Arc<dyn File>, path: &str, keys: &KeyRing) -> io::Result<Arc<dyn File>> {
    let opened = seal::read(&*stored, 0, path, keys)?;
    Ok(match opened.kind {
        Kind::Once { page_shift } => {
            Arc::new(OnceFile::open(stored, path, &opened.secret, page_shift)?)
        }
        Kind::Appended => Arc::new(AppendedFile::open(stored, path, opened.secret)?),
        Kind::Rewritten { journal_pages } => {
            Arc::new(RewrittenFile::open(stored, path, opened.secret, journal_pages)?)
        }
        Kind::Log => return Err(damaged(path, "the seal is one of a log segment")),
    })
}

impl Storage for SealedStorage {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let Some(kind) = kind_of(path, self.page_shift) else { return self.inner.create(path) };
        let held = self.keys.hold();
        let Some(master) = held.first() else {
            return Err(io::Error::other("the key ring is empty"));
        };
        let (secret, bytes) = seal::fresh(master, kind)?;
        let file = self.inner.create(path)?;
        file.write_at(0, &bytes)?;
        drop(held);
        Ok(match kind {
            Kind::Once { page_shift } => {
                Arc::new(OnceFile::create(file, path, &secret, page_shift)?)
            }
            Kind::Rewritten { journal_pages } => {
                Arc::new(RewrittenFile::create(file, path, secret, journal_pages)?)
            }
            Kind::Appended | Kind::Log => Arc::new(AppendedFile::create(file, path, secret)),
        })
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let file = self.inner.open(path)?;
        match kind_of(path, self.page_shift) {
            None => Ok(file),
            Some(_) => open_sealed(file, path, &self.keys),
        }
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.inner.list(folder)
    }

    fn create_dir(&self, folder: &str) -> io::Result<()> {
        self.inner.create_dir(folder)
    }

    fn sync_dir(&self, folder: &str) -> io::Result<()> {
        self.inner.sync_dir(folder)
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        self.inner.exists(path)
    }

    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        self.inner.lock()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.inner.free_bytes()
    }

    fn stored(&self) -> Option<Arc<dyn Storage>> {
        Some(Arc::clone(&self.inner))
    }

    fn keys(&self) -> Option<Arc<KeyRing>> {
        Some(Arc::clone(&self.keys))
    }
}
