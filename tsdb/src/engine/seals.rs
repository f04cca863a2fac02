//! The master keys of an encrypted database while it is open.

use crate::crypto::{self, MasterKey, SealReport};
use crate::error::{Error, Result};

use super::Db;

impl Db {
    /// Makes `key` the master key: it seals new files at once, and every file there is gets a new
    /// seal (its content stays as it is). Runs on the calling thread while the database works;
    /// [`Db::seals`] shows how far it is. With the current key it finishes what a crash broke off.
    /// The older keys are needed until the report [is complete](SealReport::is_complete), and
    /// longer for copies made before, such as backups.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the database is not encrypted; errors of the storage, after which
    /// every file still opens with one of the keys.
    pub fn rotate_key(&self, key: MasterKey) -> Result<SealReport> {
        self.core.check_writable()?;
        let storage = &self.core.storage;
        let (Some(keys), Some(stored)) = (storage.keys(), storage.stored()) else {
            return Err(Error::Invalid("the database is not encrypted: it has no key".into()));
        };
        keys.make_current(key);
        crypto::rewrap(&*stored, &keys)
    }

    /// The keys that the files are sealed with; none for a database that is not encrypted.
    ///
    /// # Errors
    /// Errors of the storage.
    pub fn seals(&self) -> Result<Option<SealReport>> {
        let storage = &self.core.storage;
        match (storage.keys(), storage.stored()) {
            (Some(keys), Some(stored)) => crypto::survey(&*stored, &keys).map(Some),
            _ => Ok(None),
        }
    }
}
