//! Master keys: where they come from is the program's to know, here they have ids and wrap the
//! keys of files.

use std::fmt;
use std::io;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use zeroize::Zeroizing;

use super::cipher::{KEY_BYTES, Secret, derive};
use crate::error::{Error, Result};

const ID_INFO: &[u8] = b"millrace key id 1";

/// The name of a master key: derived from it, so that a key is never taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A master key of 32 bytes. Wiped when dropped; its text form is its id.
#[derive(Clone)]
pub struct MasterKey {
    id: KeyId,
    secret: Secret,
}

impl MasterKey {
    /// A key of these bytes.
    ///
    /// # Errors
    /// [`Error::Io`] of the cryptographic library.
    pub fn new(bytes: &[u8; KEY_BYTES]) -> Result<MasterKey> {
        let mut id = [0; 8];
        derive(&[], bytes, ID_INFO, &mut id).map_err(|e| Error::io("reading a key", &e))?;
        Ok(MasterKey { id: KeyId(id), secret: Zeroizing::new(*bytes) })
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    pub(super) fn secret(&self) -> &[u8; KEY_BYTES] {
        &self.secret
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.id)
    }
}

/// The master keys at hand: the current one seals new files, all of them open old ones.
pub struct KeyRing {
    /// The current one first. Held shared while a file is made, so that once another key is
    /// current, no file that the old one sealed is still to come.
    keys: RwLock<Vec<MasterKey>>,
    /// Held while seals are written anew.
    pub(super) rewrapping: Mutex<()>,
}

impl KeyRing {
    /// A ring whose first key is the current one.
    ///
    /// # Errors
    /// [`Error::Invalid`] without keys, or if one is there twice.
    pub fn new(keys: Vec<MasterKey>) -> Result<Arc<KeyRing>> {
        if keys.is_empty() {
            return Err(Error::Invalid("no key is given".into()));
        }
        for (number, key) in keys.iter().enumerate() {
            if keys[..number].iter().any(|other| other.id == key.id) {
                return Err(Error::Invalid(format!("the key {} is given twice", key.id)));
            }
        }
        Ok(Arc::new(KeyRing { keys: RwLock::new(keys), rewrapping: Mutex::new(()) }))
    }

    /// Reads keys from text: 64 hexadecimal digits a line, the current key first, then those that
    /// older files were sealed with. Empty lines and lines that begin with `#` are passed over.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the line (and never its text).
    pub fn parse(text: &str) -> Result<Arc<KeyRing>> {
        let mut keys = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Some(bytes) = hex(line) else {
                return Err(Error::Invalid(format!(
                    "line {} of the keys is not 64 hexadecimal digits, as `openssl rand -hex 32` \
                     makes them",
                    number + 1
                )));
            };
            keys.push(MasterKey::new(&bytes)?);
        }
        KeyRing::new(keys)
    }

    /// The id of the key that seals new files.
    #[must_use]
    pub fn current(&self) -> KeyId {
        self.keys.read()[0].id
    }

    /// The key that seals new files.
    #[must_use]
    pub fn current_key(&self) -> Option<MasterKey> {
        self.keys.read().first().cloned()
    }

    /// The ids of all keys, the current one first.
    #[must_use]
    pub fn ids(&self) -> Vec<KeyId> {
        self.keys.read().iter().map(|key| key.id).collect()
    }

    /// Makes a key the current one; the others stay to open what they sealed.
    pub fn make_current(&self, key: MasterKey) {
        let mut keys = self.keys.write();
        keys.retain(|other| other.id != key.id);
        keys.insert(0, key);
    }

    /// The keys, held while a file is made with the first of them.
    pub(super) fn hold(&self) -> RwLockReadGuard<'_, Vec<MasterKey>> {
        self.keys.read()
    }

    pub(super) fn find(&self, id: KeyId) -> Option<MasterKey> {
        self.keys.read().iter().find(|key| key.id == id).cloned()
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

fn hex(text: &str) -> Option<Secret> {
    let digits = text.as_bytes();
    let mut bytes = Secret::default();
    if digits.len() != 2 * KEY_BYTES {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()?;
    }
    Some(bytes)
}

/// Says that a file needs a key that is not at hand.
pub(super) fn missing(path: &str, wanted: KeyId, ring: &KeyRing) -> io::Error {
    let given: Vec<String> = ring.ids().iter().map(KeyId::to_string).collect();
    let why = format!(
        "{path} is sealed with key {wanted}, which is not among the keys given ({})",
        given.join(", ")
    );
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}
