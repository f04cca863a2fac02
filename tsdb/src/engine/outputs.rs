//! Files that flush and merge are writing: no version names them until the edit, and where that
//! does not come to pass they go again, so that a disk that is full is not left fuller.

use crate::error::{Error, Result};

use super::core::Core;
use super::version::Edit;

/// Paths of files that no version names yet. Dropped, it removes them.
#[derive(Debug)]
pub(crate) struct Outputs<'a> {
    core: &'a Core,
    paths: Vec<String>,
}

impl<'a> Outputs<'a> {
    pub fn new(core: &'a Core) -> Outputs<'a> {
        Outputs { core, paths: Vec::new() }
    }

    /// A file that is about to be made.
    pub fn add(&mut self, path: String) {
        self.paths.push(path);
    }

    /// A file that was removed again.
    pub fn forget(&mut self, path: &str) {
        self.paths.retain(|other| other != path);
    }

    /// Makes the edit durable that names the files. They stay unless it is sure that no start will
    /// ever find it.
    ///
    /// # Errors
    /// As [`Core::edit`].
    pub fn name(mut self, edit: &Edit) -> Result<()> {
        let named = self.core.edit(edit);
        if !matches!(named, Err(Error::Full(_))) {
            self.paths.clear();
        }
        named
    }
}

impl Drop for Outputs<'_> {
    fn drop(&mut self) {
        for path in &self.paths {
            // If it stays, the next open removes it: the cause of giving up is what counts.
            if let Err(error) = self.core.storage.remove(path)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(path, %error, "could not remove what was not finished");
            }
        }
    }
}
