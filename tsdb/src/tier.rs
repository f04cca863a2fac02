//! Object stores: where archived parts and backups live.
//!
//! An object is written whole, never changed, read by range, and deleted. What a name holds is
//! decided by its user (`archive`, `backup`); this room knows bytes and names only. Calls block,
//! so they belong on threads that may.

use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::sync::Arc;

pub(crate) mod blocks;
mod conformance;
pub(crate) mod file;
mod folder;
mod memory;
#[cfg(test)]
mod tests;

pub use conformance::check_conformance;
pub use folder::FolderObjects;
pub use memory::MemoryObjects;

/// An object store, or the part of it below a prefix. Names are relative, `/`-separated, without
/// empty parts, `.` or `..`.
///
/// Errors carry the store's cause; `NotFound` means that the store answered and has no such
/// object, any other kind that it is not known whether it has.
pub trait Objects: Send + Sync + Debug {
    /// Writes an object whole: it is durable and readable when this returns, and no reader ever
    /// meets a part of it. An object of the same name is replaced.
    fn put(&self, name: &str, data: &mut dyn Source) -> io::Result<()>;
    /// Reads bytes of an object; `UnexpectedEof` if it ends before.
    fn get(&self, name: &str, range: Range<u64>) -> io::Result<Vec<u8>>;
    /// Length of an object, bytes; `NotFound` if there is none.
    fn size(&self, name: &str) -> io::Result<u64>;
    /// Names and lengths (bytes) of the objects whose names begin with `prefix`, sorted by name.
    fn list(&self, prefix: &str) -> io::Result<Vec<(String, u64)>>;
    /// Deletes an object; fine if there is none.
    fn delete(&self, name: &str) -> io::Result<()>;
}

/// Bytes to be put, of known length, given in order.
pub trait Source {
    /// Length, bytes.
    fn len(&self) -> u64;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Fills `buf` from `offset`. May be asked again for what it gave before (a store that tries
    /// again).
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<()>;
}

impl Source for &[u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(self.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// A stored file as bytes to be put.
impl Source for Arc<dyn crate::io::File> {
    fn len(&self) -> u64 {
        // A file that cannot tell its length fails at the first read.
        crate::io::File::len(self.as_ref()).unwrap_or(u64::MAX)
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        crate::io::File::read_at(self.as_ref(), offset, buf)
    }
}

/// Opens object stores by URL.
pub trait Connector: Send + Sync + Debug {
    /// The store, or the part of it, that `url` names. Whether it can be reached shows at the
    /// first call.
    ///
    /// # Errors
    /// `InvalidInput` for a URL that names no store this connector knows, in words that say what
    /// it knows.
    fn connect(&self, url: &str) -> io::Result<Arc<dyn Objects>>;
}

/// Knows `file:///folder` only.
#[derive(Debug, Default)]
pub struct FolderConnector;

impl Connector for FolderConnector {
    fn connect(&self, url: &str) -> io::Result<Arc<dyn Objects>> {
        match url.strip_prefix("file://") {
            Some(path) if path.starts_with('/') => Ok(Arc::new(FolderObjects::new(path.into()))),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{url:?} is not the URL of a folder, such as file:///srv/archive"),
            )),
        }
    }
}

/// Refuses names that could leave the store or name one object in two ways.
///
/// # Errors
/// `InvalidInput`.
pub fn check_name(name: &str) -> io::Result<()> {
    let bad = |part: &str| part.is_empty() || part == "." || part == "..";
    if name.split('/').any(bad) || name.contains(['\\', '\0']) {
        let why = format!("not a name of an object: {name:?}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    Ok(())
}

/// Length of a range.
///
/// # Errors
/// `InvalidInput` for one that ends before it begins.
pub fn span(range: &Range<u64>) -> io::Result<usize> {
    range
        .end
        .checked_sub(range.start)
        .and_then(|len| usize::try_from(len).ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a range that ends early"))
}
