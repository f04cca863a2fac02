//! What archives, backups and encryption add: index files, manifests and copies of the row store,
//! sealed files.

use std::io;
use std::sync::Arc;

use crate::backup::Manifest;
use crate::crypto::{KeyRing, MasterKey, SealedStorage};
use crate::io::{File, MemoryStorage, Storage};
use crate::rows::RowStore;
use crate::tier::blocks::BlockCache;
use crate::tier::file::{ObjectFile, check_kept};
use crate::tier::{MemoryObjects, Objects};

/// An index file, for an object of as many bytes as it says. Damage is `InvalidData`, a short file
/// `UnexpectedEof`; blocks that are sound are read without the object, which is not there.
pub fn index(bytes: &[u8]) -> bool {
    let Some(len) = bytes.get(8..16).and_then(|len| len.try_into().ok()) else { return false };
    // Archived parts are far below; the engine knows their length from its version.
    let len = u64::from_le_bytes(len).min(1 << 40);
    let storage = MemoryStorage::new();
    storage.put("i", bytes.to_vec());
    let Ok(file) = storage.open("i") else { return false };
    let checked = check_kept(Arc::clone(&file), len);
    let objects: Arc<dyn Objects> = Arc::new(MemoryObjects::default());
    let cache = BlockCache::new(1 << 20);
    let opened = ObjectFile::open(objects, ("memory:", "object", len), Some(file), cache);
    let object = match (&checked, opened) {
        (_, Ok(object)) => object,
        (Err(_), Err(_)) => return false,
        (Ok(()), Err(error)) => panic!("a sound index file does not open: {error}"),
    };
    let mut found = 0;
    for offset in (0..len.min(1 << 16)).step_by(250) {
        let mut buffer = vec![0; 10.min(len - offset) as usize];
        found += u32::from(object.read_at(offset, &mut buffer).is_ok());
    }
    checked.is_ok() && found > 0
}

/// A manifest (bit 0 of the first byte clear) or a copy of the row store.
pub fn backup(bytes: &[u8]) -> bool {
    match bytes.split_first() {
        Some((what, bytes)) if what & 1 == 0 => manifest(bytes),
        Some((_, bytes)) => copy_of_rows(bytes),
        None => false,
    }
}

fn manifest(bytes: &[u8]) -> bool {
    let Ok(manifest) = Manifest::decode(bytes) else { return false };
    let again = Manifest::decode(&manifest.encode()).expect("what is written is read");
    assert_eq!(again, manifest, "a manifest changed");
    true
}

fn copy_of_rows(bytes: &[u8]) -> bool {
    let storage = MemoryStorage::new();
    storage.put("copy", bytes.to_vec());
    storage.create_dir("rows").expect("a folder");
    let Ok(copy) = storage.open("copy") else { return false };
    RowStore::restore_in(&storage, "rows", "rows.redb", &copy).is_ok()
}

/// Master key of the corpus.
pub fn keys() -> Arc<KeyRing> {
    let key = MasterKey::new(&[7; 32]).expect("a key");
    KeyRing::new(vec![key]).expect("a ring")
}

/// The paths under which files of each kind lie.
pub const SEALED: [&str; 3] = ["parts/p.part", "version/v.version", "rows/r.redb"];

/// A sealed file; the first byte says which kind its name asks for. All of it is read, and by
/// pieces.
pub fn sealed(bytes: &[u8]) -> bool {
    let Some((what, bytes)) = bytes.split_first() else { return false };
    let path = SEALED[usize::from(*what) % SEALED.len()];
    let memory = MemoryStorage::new();
    memory.put(path, bytes.to_vec());
    let storage = SealedStorage::new(Arc::new(memory), keys());
    let Ok(file) = storage.open(path) else { return false };
    read_all(&*file, bytes.len()).is_ok()
}

fn read_all(file: &dyn File, stored: usize) -> io::Result<()> {
    let len = file.len()?;
    assert!(len <= stored as u64, "{len} bytes out of {stored}");
    let mut bytes = vec![0; len as usize];
    file.read_at(0, &mut bytes)?;
    for offset in (0..len).step_by(1000) {
        let mut some = vec![0; 100.min(len - offset) as usize];
        file.read_at(offset, &mut some)?;
        assert_eq!(some[..], bytes[offset as usize..][..some.len()], "a piece differs");
    }
    Ok(())
}
