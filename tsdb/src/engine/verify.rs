//! Verify: reads every byte that has a checksum, and changes nothing. Objects of archived parts are
//! read only where that is asked for.

use crate::error::{Error, Result};
use crate::io::Storage;
use crate::log::{self, LogOptions};
use crate::part::Part;
use crate::series::SeriesIndex;
use crate::tier::file::check_kept;

use super::core::read_all;
use super::files;
use super::open::Identity;
use super::version::{Version, read_edits};

/// What was read, and what is wrong with it.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The file, or folder of the log.
    pub path: String,
    /// Bytes read.
    pub bytes: u64,
    /// What is wrong, if anything is.
    pub damage: Option<String>,
}

/// Reads every checksum of a database that no process has open. `progress` is called with each
/// finding as it is made; all findings come back.
///
/// # Errors
/// [`Error::NotFound`] if the folder holds no database, [`Error::Invalid`] without the key of an
/// encrypted one. Damage is a finding, not an error.
pub fn verify(
    storage: &std::sync::Arc<dyn Storage>,
    mut progress: impl FnMut(&Finding),
) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut note = |path: &str, bytes: u64, result: Result<()>| {
        let damage = result.err().map(|error| error.to_string());
        let finding = Finding { path: path.to_owned(), bytes, damage };
        progress(&finding);
        findings.push(finding);
    };
    let identity = match Identity::read(&**storage) {
        Ok(Some(identity)) => identity,
        Ok(None) => return Err(Error::NotFound("the folder holds no database".into())),
        Err(error) => {
            note(files::IDENTITY, 0, Err(error));
            return Ok(findings);
        }
    };
    crate::crypto::check(&**storage, Some(identity.encrypted))?;
    note(files::IDENTITY, 40, Ok(()));
    let options = LogOptions { database_id: identity.id, ..LogOptions::default() };
    let log = log::verify(&**storage, &options);
    let bytes = log.as_ref().map_or(0, |found| found.segments.iter().map(|s| s.bytes).sum());
    note(files::LOG, bytes, log.map(|_| ()));
    let (path, version) = newest_version(storage);
    match version {
        Err(error) => note(&path, 0, Err(error)),
        Ok(version) => {
            note(&path, len(&**storage, &path), Ok(()));
            verify_files(&**storage, &version, &mut note);
        }
    }
    if identity.encrypted {
        let rows = verify_rows(&**storage);
        note(files::ROW_STORE, len(&**storage, files::ROW_STORE), rows);
    }
    Ok(findings)
}

/// Reads the objects that archived parts lie in, out of their stores. `progress` is called with
/// each finding as it is made and the bytes of all objects. One that cannot be reached is a
/// finding, too.
///
/// # Errors
/// As [`verify`], and [`Error::Corrupt`] for a damaged version log.
pub fn verify_archive(
    storage: &std::sync::Arc<dyn Storage>,
    options: &super::Options,
    mut progress: impl FnMut(&Finding, u64),
) -> Result<Vec<Finding>> {
    let Some(identity) = Identity::read(&**storage)? else {
        return Err(Error::NotFound("the folder holds no database".into()));
    };
    crate::crypto::check(&**storage, Some(identity.encrypted))?;
    let places = super::place::Places::new(std::sync::Arc::clone(storage), options);
    let version = newest_version(storage).1?;
    let bytes_all = version.objects().map(|object| object.bytes).sum();
    let mut findings = Vec::new();
    for entry in version.tables.values().flat_map(|named| named.parts.values()) {
        let Some(object) = &entry.object else { continue };
        let read = places.archived_alone(entry).and_then(|part| part.verify());
        let damage = read.err().map(|error| error.to_string());
        let finding = Finding { path: object.to_string(), bytes: object.bytes, damage };
        progress(&finding, bytes_all);
        findings.push(finding);
    }
    Ok(findings)
}

fn newest_version(storage: &std::sync::Arc<dyn Storage>) -> (String, Result<Version>) {
    let read = || -> Result<(String, Version)> {
        let names =
            storage.list(files::VERSIONS).map_err(|e| Error::io("listing version logs", &e))?;
        let newest = names.iter().filter_map(|name| files::version_number(name)).max();
        let Some(newest) = newest else {
            return Err(Error::Corrupt("there is no version log".into()));
        };
        let path = files::version(newest);
        let file = storage.open(&path).map_err(|e| Error::io(&path, &e))?;
        let mut version = Version::default();
        for edit in read_edits(&file, &path)? {
            version.apply(&edit);
        }
        Ok((path, version))
    };
    match read() {
        Ok((path, version)) => (path, Ok(version)),
        Err(error) => (files::VERSIONS.to_owned(), Err(error)),
    }
}

fn verify_files(
    storage: &dyn Storage,
    version: &Version,
    note: &mut impl FnMut(&str, u64, Result<()>),
) {
    for (table, named) in &version.tables {
        let series = SeriesIndex::new(*table);
        for (from, to, bytes) in &named.series {
            let path = files::series(*table, *from, *to);
            let result = read_all(storage, &path).and_then(|bytes| series.load(&bytes));
            note(&path, *bytes, result);
        }
        // Of archived parts, what is kept of them here; their objects are not asked for.
        for entry in named.parts.values() {
            let Some(object) = &entry.object else { continue };
            let path = entry.file();
            let result = storage
                .open(&path)
                .and_then(|file| check_kept(file, object.bytes))
                .map_err(|e| Error::io(format_args!("reading {path}"), &e));
            note(&path, len(storage, &path), result);
        }
        let parts = named.parts.values().filter(|entry| entry.object.is_none());
        let parts = parts.map(super::version::PartEntry::file);
        for path in parts.chain(named.last.map(|id| files::last(*table, id))) {
            let result = Part::open(storage, &path).and_then(|part| part.verify());
            note(&path, len(storage, &path), result);
        }
    }
}

/// Opens every sealed page of the row store. Those of a plain one are the row store's to check.
fn verify_rows(storage: &dyn Storage) -> Result<()> {
    let io = |e: std::io::Error| Error::io(format_args!("reading {}", files::ROW_STORE), &e);
    let file = storage.open(files::ROW_STORE).map_err(io)?;
    let (len, mut at, mut piece) = (file.len().map_err(io)?, 0, Vec::new());
    while at < len {
        piece.resize((len - at).min(1 << 20) as usize, 0);
        file.read_at(at, &mut piece).map_err(io)?;
        at += piece.len() as u64;
    }
    Ok(())
}

fn len(storage: &dyn Storage, path: &str) -> u64 {
    storage.open(path).and_then(|file| file.len()).unwrap_or(0)
}
