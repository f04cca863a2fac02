//! A folder's seals: whether the keys at hand open them, which keys they are of, and another
//! master key for all of them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::keys::{KeyId, KeyRing};
use super::seal;
use super::storage::SEALED_FOLDERS;
use crate::error::{Error, Result};
use crate::io::Storage;

/// How many files a master key has sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// The key.
    pub id: KeyId,
    /// Whether it seals new files.
    pub current: bool,
    /// Files whose seal names it.
    pub files: u64,
}

/// The seals of a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SealReport {
    /// The keys at hand and those that files name, the current one first.
    pub keys: Vec<KeyUse>,
    /// Files whose seal no key of it can be read from: damaged, or left half made by a crash.
    pub unreadable: u64,
    /// Seals that were written anew.
    pub rewrapped: u64,
}

impl SealReport {
    /// Whether nothing needs another key than the current one.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.keys.iter().all(|key| key.current || key.files == 0)
    }
}

/// Checks keys against a folder before anything of it is opened. `encrypted` is what the
/// database's identity says, none for a new one.
///
/// # Errors
/// [`Error::Invalid`] for a key that is missing, wrong, or given for a folder that is not
/// encrypted; errors of the storage.
pub(crate) fn check(storage: &dyn Storage, encrypted: Option<bool>) -> Result<()> {
    let keys = storage.keys();
    let (stored, keys) = match (encrypted, storage.stored(), keys) {
        (Some(true), Some(stored), Some(keys)) => (stored, keys),
        (Some(true), _, _) => {
            return Err(Error::Invalid(
                "the database is encrypted and no key is given: give the key that it was made \
                 with (settings encryption_key_file, encryption_key_command or encryption_key)"
                    .into(),
            ));
        }
        (Some(false), _, Some(_)) => {
            return Err(Error::Invalid(
                "a key is given, but the database is not encrypted, which is chosen when it is \
                 made: leave the key out, or copy its tables into a new database that has the key"
                    .into(),
            ));
        }
        (Some(false), _, None) | (None, _, _) => return Ok(()),
    };
    let ring = keys.ids();
    for (path, at) in sealed_files(&*stored)? {
        let Some(ids) = ids(&*stored, &path, at)? else { continue };
        let mut named = ids.iter().flatten();
        // One that is damaged or half made is judged by who reads it.
        let Some(first) = named.clone().next() else { continue };
        if !named.any(|id| ring.contains(id)) {
            let given: Vec<String> = ring.iter().map(KeyId::to_string).collect();
            return Err(Error::Invalid(format!(
                "{path} is sealed with key {first}, which is not among the keys given ({}): give \
                 the key that the database was sealed with, behind the new one if it is being \
                 replaced",
                given.join(", ")
            )));
        }
    }
    Ok(())
}

/// Counts the seals of a folder by key.
///
/// # Errors
/// Errors of the storage.
pub(crate) fn survey(stored: &dyn Storage, keys: &KeyRing) -> Result<SealReport> {
    let mut report = SealReport::default();
    let mut files: BTreeMap<KeyId, u64> = BTreeMap::new();
    for (path, at) in sealed_files(stored)? {
        let Some(ids) = ids(stored, &path, at)? else { continue };
        let mut named: Vec<KeyId> = ids.into_iter().flatten().collect();
        named.dedup();
        report.unreadable += u64::from(named.is_empty());
        // A file between two keys counts for both.
        named.into_iter().for_each(|id| *files.entry(id).or_default() += 1);
    }
    let ring = keys.ids();
    for (number, id) in ring.iter().enumerate() {
        let files = files.remove(id).unwrap_or(0);
        report.keys.push(KeyUse { id: *id, current: number == 0, files });
    }
    let unknown = files.into_iter().map(|(id, files)| KeyUse { id, current: false, files });
    report.keys.extend(unknown);
    Ok(report)
}

/// Gives every file of a folder to the current master key. Files that are made meanwhile are the
/// current key's already; the folder may be in use. Broken off at any point, some files are one
/// key's and some the other's, and it can be run again.
///
/// # Errors
/// Errors of the storage, [`Error::Io`] where a key is missing.
pub(crate) fn rewrap(stored: &dyn Storage, keys: &Arc<KeyRing>) -> Result<SealReport> {
    let _alone = keys.rewrapping.lock();
    let mut rewrapped = 0;
    // A file that gets its name while the folders are listed may be missed, and is there the next
    // time.
    for _ in 0..10 {
        let mut changed = 0;
        for (path, at) in sealed_files(stored)? {
            let done = match stored.open(&path) {
                Ok(file) => seal::rewrap(&*file, at, &path, keys),
                Err(error) => Err(error),
            };
            match done {
                Ok(done) => changed += u64::from(done),
                // Merged away or renamed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // Half made, or damaged: whoever reads it says so, and the survey counts it.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    tracing::warn!(path, %error, "cannot seal with another key");
                }
                Err(error) => {
                    return Err(Error::io(format_args!("sealing {path} with another key"), &error));
                }
            }
        }
        rewrapped += changed;
        if changed == 0 {
            break;
        }
    }
    Ok(SealReport { rewrapped, ..survey(stored, keys)? })
}

/// Paths of files with a seal, and where it stands.
fn sealed_files(stored: &dyn Storage) -> Result<Vec<(String, u64)>> {
    let mut files = Vec::new();
    for (folder, at) in SEALED_FOLDERS {
        let io = |e: io::Error| Error::io(format_args!("listing folder {folder}"), &e);
        let names = stored.list(folder).map_err(io)?;
        files.extend(names.into_iter().map(|name| (format!("{folder}/{name}"), at)));
    }
    Ok(files)
}

/// The key ids of a file's seal; none if the file is gone, empty ones if it is too short.
fn ids(stored: &dyn Storage, path: &str, at: u64) -> Result<Option<[Option<KeyId>; 2]>> {
    match stored.open(path).and_then(|file| seal::ids(&*file, at, path)) {
        Ok(ids) => Ok(Some(ids)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Some([None, None])),
        Err(error) => Err(Error::io(format_args!("reading the seal of {path}"), &error)),
    }
}
