//! The Storage trait: all input and output of the engine goes through it.

use std::io;
use std::sync::Arc;

mod faulty;
mod memory;
mod real;
#[cfg(test)]
mod tests;

pub use faulty::{FaultKind, FaultPlan, FaultyStorage};
pub use memory::MemoryStorage;
pub use real::RealStorage;

/// A folder tree that the engine lives in. Paths are relative, `/`-separated, without `..`.
///
/// A created, renamed or removed name is durable only after [`Storage::sync_dir`] of its folder;
/// written bytes only after [`File::sync_data`]. Errors carry the operating system's cause.
pub trait Storage: Send + Sync + std::fmt::Debug {
    /// Creates a file that must not exist yet, open for reading and writing.
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &str) -> io::Result<Arc<dyn File>>;
    /// Removes a file.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Renames a file over any file of the new name, atomically.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Names (not paths) of the files in a folder, sorted; a missing folder is empty.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
    /// Makes a folder and its parents; fine if it is there.
    fn create_dir(&self, folder: &str) -> io::Result<()>;
    /// Makes the names in a folder durable. `""` is the root.
    fn sync_dir(&self, folder: &str) -> io::Result<()>;
    /// Whether a file is there.
    fn exists(&self, path: &str) -> io::Result<bool>;
    /// Takes the lock of the whole tree until the guard is dropped or the process dies; an error
    /// of kind `WouldBlock` if another holds it.
    fn lock(&self) -> io::Result<Box<dyn std::any::Any + Send + Sync>>;
    /// Bytes free on the device, as far as known.
    fn free_bytes(&self) -> io::Result<u64>;
    /// The storage whose bytes are as on the device, where this one seals them: what is copied
    /// away (archive, backup) is copied from there. `None`: this one.
    fn stored(&self) -> Option<Arc<dyn Storage>> {
        None
    }
    /// The keys that files are sealed with, if they are. The log seals its records by itself.
    fn keys(&self) -> Option<Arc<crate::crypto::KeyRing>> {
        None
    }
}

/// An open file.
pub trait File: Send + Sync + std::fmt::Debug {
    /// Fills `buf` from `offset`; `UnexpectedEof` if the file ends before.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;
    /// Writes all of `data` at `offset`, growing the file (a gap reads as zeros).
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Makes written bytes and the length durable (`fdatasync`).
    fn sync_data(&self) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or grows the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
}

/// Refuses paths that could leave the tree or name one file in two ways.
fn check_path(path: &str) -> io::Result<()> {
    let bad = |part: &str| part.is_empty() || part == "." || part == "..";
    if path.split('/').any(bad) || path.contains(['\\', '\0']) {
        let why = format!("not a path inside the storage: {path:?}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    Ok(())
}

/// The folder a path lies in; `""` is the root.
fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}
