//! The manifest: what a backup consists of. FORMAT.md, "Backups".

use crate::checksum;
use crate::engine::bytes::{Reader, put_bytes};
use crate::error::{Error, Result};
use crate::tier::Objects;

use super::names::{self, Lineage};
use super::sum::Sum;

/// The last byte is the version of the format.
const MAGIC: &[u8; 8] = b"MRBACK\x00\x01";
/// A manifest of over four million files would pass this.
const BYTES_MAX: u64 = 1 << 30;

/// What became of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Path in the data folder.
    pub path: String,
    /// Name of the object that holds its bytes.
    pub object: String,
    /// Length, bytes.
    pub bytes: u64,
    /// Checksums of all bytes.
    pub sum: Sum,
    /// Mark of the last bytes: with path and length it tells, without reading the whole file,
    /// whether a file is the one that was copied. Parts and series files end in checksums that
    /// cover all of them.
    pub tail_mark: u64,
}

/// A part that a backup does not hold but relies on: it lies on an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// URL of the object store.
    pub url: String,
    /// Name of the object there.
    pub name: String,
    /// Length, bytes.
    pub bytes: u64,
}

/// What a backup consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The life of the database that it is of.
    pub lineage: Lineage,
    /// Number of the backup in its lineage, from 1.
    pub number: u64,
    /// Number of the full backup whose files it shares; its own if it is full.
    pub generation: u64,
    /// Random number of the database.
    pub database_id: [u8; 16],
    /// When it was begun and ended, ns since 1970.
    pub started: i64,
    /// When its last object was written, ns since 1970.
    pub finished: i64,
    /// First position of the log that it needs.
    pub log_first: u64,
    /// It has every commit up to here.
    pub position: u64,
    /// When the commit at `position` was made, ns; `i64::MIN` if nobody knows.
    pub time: i64,
    /// Bytes of objects that were copied for it, and their number.
    pub copied_bytes: u64,
    /// Objects that were copied for it.
    pub copied_files: u64,
    /// Its files, sorted by path.
    pub files: Vec<FileEntry>,
    /// Objects on archives that it relies on.
    pub references: Vec<Reference>,
}

impl Manifest {
    /// Whether it copied all of its files.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.generation == self.number
    }

    /// Length of all files, bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&self.lineage.0);
        out.extend_from_slice(&self.database_id);
        for number in [self.number, self.generation, self.log_first, self.position] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for time in [self.started, self.finished, self.time] {
            out.extend_from_slice(&time.to_le_bytes());
        }
        out.extend_from_slice(&self.copied_bytes.to_le_bytes());
        out.extend_from_slice(&self.copied_files.to_le_bytes());
        out.extend_from_slice(&(self.files.len() as u32).to_le_bytes());
        for file in &self.files {
            put_bytes(&mut out, file.path.as_bytes());
            put_bytes(&mut out, file.object.as_bytes());
            out.extend_from_slice(&file.bytes.to_le_bytes());
            out.extend_from_slice(&file.sum.crc.to_le_bytes());
            out.extend_from_slice(&file.sum.mark.to_le_bytes());
            out.extend_from_slice(&file.tail_mark.to_le_bytes());
        }
        out.extend_from_slice(&(self.references.len() as u32).to_le_bytes());
        for reference in &self.references {
            put_bytes(&mut out, reference.url.as_bytes());
            put_bytes(&mut out, reference.name.as_bytes());
            out.extend_from_slice(&reference.bytes.to_le_bytes());
        }
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Manifest> {
        let wrong = |why: &str| Err(Error::Corrupt(format!("manifest: {why}")));
        let Some((body, stored)) = bytes.split_last_chunk::<4>() else {
            return wrong("it is too short");
        };
        if !checksum::fits(crc32fast::hash(body), u32::from_le_bytes(*stored)) {
            return wrong("its checksum does not fit");
        }
        if let Some([version, ..]) = body.strip_prefix(&MAGIC[..7])
            && *version > MAGIC[7]
        {
            let newest = u32::from(MAGIC[7]);
            return Err(Error::newer("the object", "manifest", u32::from(*version), newest));
        }
        let Some(body) = body.strip_prefix(MAGIC) else {
            return wrong("not a manifest of a version known here");
        };
        let mut reader = Reader::new(body, "manifest");
        let lineage = Lineage(id(&mut reader)?);
        let database_id = id(&mut reader)?;
        let mut manifest = Manifest {
            lineage,
            database_id,
            number: reader.u64()?,
            generation: reader.u64()?,
            log_first: reader.u64()?,
            position: reader.u64()?,
            started: reader.i64()?,
            finished: reader.i64()?,
            time: reader.i64()?,
            copied_bytes: reader.u64()?,
            copied_files: reader.u64()?,
            files: Vec::new(),
            references: Vec::new(),
        };
        for _ in 0..reader.count(36)? {
            let file = FileEntry {
                path: reader.text()?,
                object: reader.text()?,
                bytes: reader.u64()?,
                sum: Sum { crc: reader.u32()?, mark: reader.u64()? },
                tail_mark: reader.u64()?,
            };
            if manifest.files.last().is_some_and(|last| last.path >= file.path) {
                return wrong("its files are not in order");
            }
            manifest.files.push(file);
        }
        for _ in 0..reader.count(16)? {
            let (url, name, bytes) = (reader.text()?, reader.text()?, reader.u64()?);
            manifest.references.push(Reference { url, name, bytes });
        }
        reader.end()?;
        Ok(manifest)
    }

    /// Reads a manifest out of a store.
    ///
    /// # Errors
    /// [`Error::Corrupt`] naming the object if it is damaged, [`Error::Io`] from the store.
    pub fn read(objects: &dyn Objects, lineage: Lineage, number: u64) -> Result<Manifest> {
        let name = names::manifest(lineage, number);
        let doing = |error: std::io::Error| Error::io(format_args!("reading {name}"), &error);
        let bytes = objects.size(&name).map_err(doing)?;
        if bytes > BYTES_MAX {
            return Err(Error::Corrupt(format!("{name}: {bytes} bytes are no manifest")));
        }
        let body = objects.get(&name, 0..bytes).map_err(doing)?;
        let manifest = match Manifest::decode(&body) {
            Ok(manifest) => manifest,
            Err(Error::Corrupt(why)) => return Err(Error::Corrupt(format!("{name}: {why}"))),
            Err(Error::Newer(why)) => return Err(Error::Newer(format!("{name}: {why}"))),
            Err(error) => return Err(error),
        };
        if (manifest.lineage, manifest.number) != (lineage, number) {
            return Err(Error::Corrupt(format!("{name}: it is the manifest of another backup")));
        }
        Ok(manifest)
    }
}

fn id(reader: &mut Reader<'_>) -> Result<[u8; 16]> {
    let bytes = reader.take(16)?;
    bytes.try_into().map_err(|_| reader.error("short read"))
}

/// Lineages of a store and the numbers of their backups, in order.
///
/// # Errors
/// [`Error::Io`] from the store.
pub fn list(objects: &dyn Objects) -> Result<std::collections::BTreeMap<Lineage, Vec<u64>>> {
    let listed = objects.list("").map_err(|e| Error::io("listing the backups", &e))?;
    let mut found = std::collections::BTreeMap::<Lineage, Vec<u64>>::new();
    for (lineage, number) in listed.iter().filter_map(|(name, _)| names::manifest_number(name)) {
        found.entry(lineage).or_default().push(number);
    }
    found.values_mut().for_each(|numbers| numbers.sort_unstable());
    Ok(found)
}

/// Numbers of the backups of one lineage, in order.
///
/// # Errors
/// [`Error::Io`] from the store.
pub fn numbers(objects: &dyn Objects, lineage: Lineage) -> Result<Vec<u64>> {
    let prefix = names::manifests(lineage);
    let listed = objects.list(&prefix).map_err(|e| Error::io("listing the backups", &e))?;
    let of = |(name, _): &(String, u64)| Some(names::manifest_number(name)?.1);
    let mut numbers: Vec<u64> = listed.iter().filter_map(of).collect();
    numbers.sort_unstable();
    Ok(numbers)
}
