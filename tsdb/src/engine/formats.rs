//! Formats of the files of a folder: newer ones are refused before anything is touched, and of
//! older ones it is told what becomes of them (FORMAT.md, the table of versions).
//!
//! Only the few bytes that say the version are looked at here; damage is judged by who reads the
//! file, so whatever does not add up is passed over.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::io::{File, Storage};

use super::files;
use super::version;

/// The format of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFormat {
    /// The file.
    pub path: String,
    /// What it is.
    pub what: &'static str,
    /// The version of its format.
    pub version: u32,
    /// The newest version that is known here.
    pub newest: u32,
}

impl FileFormat {
    /// What opening the database makes of the file, in words; `None` where it stays as it is and
    /// is of the newest format.
    pub fn upgrade(&self) -> Option<String> {
        let (what, version, newest) = (self.what, self.version, self.newest);
        if version > newest {
            return Some(format!(
                "{what} of format {version}: newer than any known here ({newest}); opening is \
                 refused, use a newer millrace"
            ));
        }
        (version < newest).then(|| {
            format!(
                "{what} of format {version}: opening reads it, writes its content anew in format \
                 {newest} and removes it; an older millrace cannot open the folder from then on"
            )
        })
    }
}

/// The newest format of each kind of file. The identity has format 1 or 2 by whether the database
/// is encrypted: neither is older.
const IDENTITY: u32 = 2;
const LOG: u32 = 1;
const VERSION: u32 = version::FORMAT as u32;
const PART: u32 = 1;
const SERIES: u32 = crate::series::FILE_VERSION as u32;
const INDEX: u32 = 1;
const SEAL: u32 = 1;
/// Of redb's files.
const ROWS: u32 = 3;

/// Refuses a folder with a file of a format that is not known here; nothing is changed.
///
/// # Errors
/// [`Error::Newer`] naming file and version, errors of the storage.
pub(crate) fn refuse_newer(storage: &dyn Storage) -> Result<()> {
    match look(storage)?.into_iter().find(|found| found.version > found.newest) {
        Some(found) => Err(Error::newer(&found.path, found.what, found.version, found.newest)),
        None => Ok(()),
    }
}

/// The formats of all files of a folder whose version can be told.
///
/// # Errors
/// Errors of the storage in listing folders.
pub fn look(storage: &dyn Storage) -> Result<Vec<FileFormat>> {
    let mut found = Vec::new();
    let stored = storage.stored();
    let mut note = |path: &str, what, newest, version: Option<u32>| {
        let found_format = |version| FileFormat { path: path.to_owned(), what, version, newest };
        found.extend(version.map(found_format));
    };
    let identity = identity(storage);
    note(files::IDENTITY, "identity", identity.unwrap_or(IDENTITY).min(IDENTITY), identity);
    let folders = [
        (files::VERSIONS, 0),
        (files::LOG, 4096),
        (files::ROWS, 0),
        (files::PARTS, 0),
        (files::SERIES, 0),
    ];
    for (folder, seal_at) in folders {
        let io = |e: std::io::Error| Error::io(format_args!("listing folder {folder}"), &e);
        let mut names = storage.list(folder).map_err(io)?;
        names.sort_unstable();
        if folder == files::VERSIONS {
            // Older logs were left by a crash and are not read.
            names.retain(|name| files::version_number(name).is_some());
            names = names.pop().into_iter().collect();
        }
        for name in names {
            let path = format!("{folder}/{name}");
            if let Some(stored) = &stored {
                note(&path, "sealed file", SEAL, seal(&**stored, &path, seal_at));
            }
            let Ok(file) = storage.open(&path) else { continue };
            match folder {
                files::VERSIONS => note(&path, "version log", VERSION, version_log(&file)),
                files::LOG => note(&path, "log segment", LOG, segment(&file)),
                files::ROWS => note(&path, "row store", ROWS, row_store(&file)),
                files::SERIES => note(&path, "series file", SERIES, series(&file)),
                _ if name.ends_with(".index") => note(&path, "index file", INDEX, index(&file)),
                _ => note(&path, "part", PART, part(&file)),
            }
        }
    }
    Ok(found)
}

/// The first bytes of a file; `None` if it is shorter or cannot be read.
fn start<const N: usize>(file: &Arc<dyn File>) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    file.read_at(0, &mut bytes).ok()?;
    Some(bytes)
}

/// Whether the last four of these bytes are the crc of those before.
fn is_summed(bytes: &[u8]) -> bool {
    bytes
        .split_last_chunk::<4>()
        .is_some_and(|(body, crc)| crc32fast::hash(body) == u32::from_le_bytes(*crc))
}

/// The number behind a magic of seven bytes.
fn behind(bytes: &[u8], magic: &[u8; 7]) -> Option<u32> {
    bytes.strip_prefix(magic)?.first().map(|version| u32::from(*version))
}

fn identity(storage: &dyn Storage) -> Option<u32> {
    let file = storage.open(files::IDENTITY).ok()?;
    let mut bytes = vec![0; usize::try_from(file.len().ok()?.min(4096)).ok()?];
    file.read_at(0, &mut bytes).ok()?;
    is_summed(&bytes).then(|| behind(&bytes, b"MRBASE\x00")).flatten()
}

fn version_log(file: &Arc<dyn File>) -> Option<u32> {
    let bytes = start::<12>(file)?;
    let version = behind(&bytes, b"MRVERS\x00")?;
    // The byte has no checksum: a newer one counts where the first edit adds up.
    let len = u64::from(u32::from_le_bytes(*bytes.last_chunk()?));
    if version > VERSION {
        let end = len.checked_add(8).filter(|len| *len + 8 <= file.len().unwrap_or(0))?;
        let mut frame = vec![0; usize::try_from(end).ok()?];
        file.read_at(8, &mut frame).ok()?;
        is_summed(&frame).then_some(())?;
    }
    Some(version)
}

fn segment(file: &Arc<dyn File>) -> Option<u32> {
    let bytes = start::<64>(file)?;
    is_summed(&bytes).then_some(())?;
    let newest = behind(&bytes, b"MRLOG\x00\x00")?;
    let [version, flags] = [8, 10].map(|at| u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    // A flag that is not known is as good as a newer version.
    let unknown = if flags > 1 { LOG + 1 } else { 0 };
    Some(newest.max(u32::from(version)).max(unknown))
}

fn row_store(file: &Arc<dyn File>) -> Option<u32> {
    let bytes = start::<320>(file)?;
    bytes.starts_with(b"redb\x1A\x0A\xA9\x0D\x0A").then_some(())?;
    // One in each of two slots, which redb sums up by itself.
    let (one, other) = (u32::from(bytes[64]), u32::from(bytes[192]));
    (one == other).then_some(one)
}

fn part(file: &Arc<dyn File>) -> Option<u32> {
    let bytes = start::<64>(file)?;
    (is_summed(&bytes) && bytes.starts_with(b"MRPART\r\n")).then_some(())?;
    Some(u32::from(u16::from_le_bytes([bytes[8], bytes[9]])))
}

fn series(file: &Arc<dyn File>) -> Option<u32> {
    let bytes = start::<6>(file)?;
    bytes.starts_with(b"MLSR").then_some(())?;
    let version = u32::from(u16::from_le_bytes([bytes[4], bytes[5]]));
    if version > SERIES {
        // The checksum is that of the whole file.
        let mut bytes = vec![0; usize::try_from(file.len().ok()?).ok()?];
        file.read_at(0, &mut bytes).ok()?;
        is_summed(&bytes).then_some(())?;
    }
    Some(version)
}

fn index(file: &Arc<dyn File>) -> Option<u32> {
    let bytes = start::<24>(file)?;
    let version = behind(&bytes, b"MRINDX\x00")?;
    if version > INDEX {
        let count = u64::from(u32::from_le_bytes(*bytes.last_chunk()?));
        let len = count * 8 + 28;
        (len <= file.len().ok()?).then_some(())?;
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        file.read_at(0, &mut bytes).ok()?;
        is_summed(&bytes).then_some(())?;
    }
    Some(version)
}

fn seal(stored: &dyn Storage, path: &str, at: u64) -> Option<u32> {
    let file = stored.open(path).ok()?;
    let version = |at: u64| {
        let mut bytes = [0; 108];
        file.read_at(at, &mut bytes).ok()?;
        is_summed(&bytes).then(|| behind(&bytes, b"MRSEALD")).flatten()
    };
    // Two copies; either may be torn.
    version(at).into_iter().chain(version(at + 4096)).max()
}
