//! Repair: damaged files of a folder that no process has open, taken whole from a backup.
//!
//! Files of parts, of last rows, of series and of indexes never change, and no name is used for
//! two of them in one lineage: what a backup of the database's lineage has under a name is the
//! file. Each is checked before it takes the damaged one's place, and the newest backup whose copy
//! is sound gives it. Closed segments of the log come from the archived log in the same way.

use std::io;
use std::sync::Arc;

use crate::engine::formats::refuse_newer;
use crate::engine::open::{Identity, refuse_unfinished};
use crate::engine::place::Places;
use crate::engine::version::{Edit, FoundVersion, PartEntry, Version, VersionLog};
use crate::engine::{Options, files};
use crate::error::{Error, Result};
use crate::io::Storage;
use crate::log::{self, LOG_FOLDER, LogOptions};
use crate::part::Part;
use crate::rows::RowStore;
use crate::series::SeriesIndex;
use crate::tier::Objects;
use crate::tier::file::check_kept;
use crate::types::TableId;

use super::history::lineage_of;
use super::manifest::{self, FileEntry, Manifest};
use super::names::{self, Lineage, LogName};
use super::restore::copy;
use super::{Progress, sum::Summer};

/// What to repair, and from where.
pub struct RepairRequest<'a> {
    /// The store of the backups.
    pub objects: &'a dyn Objects,
    /// The folder as a database is opened in it: where bytes are sealed, unsealed.
    pub storage: Arc<dyn Storage>,
    /// Settings; of them the connector is needed.
    pub options: Options,
    /// Told after each file that was checked.
    pub progress: &'a mut dyn FnMut(&Progress, &str),
}

/// What became of a damaged file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// It was replaced by the copy of this backup.
    Backup(u64),
    /// It was replaced by the segment of the archived log.
    ArchivedLog,
    /// It was made anew out of the archived object.
    Archive,
    /// It is not needed: what it holds is found again, and written anew, when the database works.
    Needless,
    /// It could not be replaced, for this reason.
    Lost(String),
}

/// A damaged file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepairedFile {
    /// The file, or folder of the log.
    pub path: String,
    /// What was wrong with it.
    pub damage: String,
    /// What became of it.
    pub repair: Repair,
}

/// What a repair found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// The damaged files.
    pub files: Vec<RepairedFile>,
    /// Files that were checked, and their bytes.
    pub checked: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Parts that left the quarantine.
    pub released: u64,
}

impl RepairReport {
    /// Whether nothing is damaged any more.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.files.iter().any(|file| matches!(file.repair, Repair::Lost(_)))
    }
}

/// Checks every file of the folder and replaces those that are damaged; see the module.
///
/// # Errors
/// [`Error::NotFound`] if the folder holds no database or the store no backup of it,
/// [`Error::Locked`] while a process has it open, [`Error::Newer`], [`Error::Corrupt`] if identity,
/// version log or row store are damaged, without which nothing else can be judged: restore then.
/// Files that cannot be repaired are no error: the report has them.
pub fn repair(request: RepairRequest<'_>) -> Result<RepairReport> {
    let storage = Arc::clone(&request.storage);
    let _lock = storage.lock().map_err(|e| match e.kind() {
        io::ErrorKind::WouldBlock => Error::Locked(e.to_string()),
        _ => Error::io("locking the data folder", &e),
    })?;
    refuse_unfinished(&*storage)?;
    refuse_newer(&*storage)?;
    let identity = Identity::read(&*storage).map_err(hopeless)?;
    let Some(identity) = identity else {
        return Err(Error::NotFound("the folder holds no database".into()));
    };
    crate::crypto::check(&*storage, Some(identity.encrypted))?;
    let found = FoundVersion::read(&*storage).map_err(hopeless)?;
    let lineage = lineage(&*storage, identity).map_err(hopeless)?;
    let manifests = manifests(request.objects, lineage)?;
    let places = Places::new(Arc::clone(&storage), &request.options);
    let mut work =
        Work { request, storage, places, lineage, manifests, report: RepairReport::default() };
    work.progress_all(&found.version);
    work.log(identity)?;
    let sound = work.files(&found.version)?;
    work.report.released = sound.len() as u64;
    if !sound.is_empty() {
        let mut log = VersionLog::begin(Arc::clone(&work.storage), found)?;
        log.append(&Edit { sound, ..Edit::default() })?;
    }
    Ok(work.report)
}

/// Damage without whose repair nothing else can be judged.
fn hopeless(error: Error) -> Error {
    match error {
        Error::Corrupt(why) => Error::Corrupt(format!(
            "{why}. No backup has this file as it is now, so it cannot be repaired alone: restore \
             the backup and the archived log into a new folder (millrace restore)"
        )),
        other => other,
    }
}

fn lineage(storage: &dyn Storage, identity: Identity) -> Result<Lineage> {
    let rows = RowStore::open_in(storage, files::ROWS, "rows.redb")?;
    let lineage = lineage_of(&rows.snapshot()?);
    rows.close();
    Ok(lineage?.unwrap_or(Lineage(identity.id)))
}

/// The backups of a lineage, the newest first; those that cannot be read are passed over.
fn manifests(objects: &dyn Objects, lineage: Lineage) -> Result<Vec<Manifest>> {
    let numbers = manifest::numbers(objects, lineage)?;
    if numbers.is_empty() {
        return Err(Error::NotFound(format!(
            "the store has no backup of this database (lineage {lineage}); a restored database has \
             one of its own, and needs a backup since it was restored"
        )));
    }
    let mut found = Vec::new();
    for number in numbers.into_iter().rev() {
        match Manifest::read(objects, lineage, number) {
            Ok(manifest) => found.push(manifest),
            Err(error) => tracing::warn!(number, %error, "a backup is passed over"),
        }
    }
    Ok(found)
}

struct Work<'a> {
    request: RepairRequest<'a>,
    storage: Arc<dyn Storage>,
    places: Places,
    lineage: Lineage,
    manifests: Vec<Manifest>,
    report: RepairReport,
}

impl Work<'_> {
    fn progress_all(&mut self, version: &Version) {
        let tables = version.tables.values();
        let (mut files, mut bytes) = (1, 0);
        for table in tables {
            files += table.parts.len() + table.series.len() + usize::from(table.last.is_some());
            let hot = table.parts.values().filter(|part| part.object.is_none());
            bytes += hot.map(|part| part.bytes).sum::<u64>();
            bytes += table.series.iter().map(|(.., bytes)| bytes).sum::<u64>();
        }
        self.report.checked = files as u64;
        self.report.bytes = bytes;
    }

    fn told(&mut self, progress: &mut Progress, path: &str, bytes: u64) {
        progress.files_all = self.report.checked;
        progress.bytes_all = self.report.bytes;
        progress.files += 1;
        progress.bytes += bytes;
        (self.request.progress)(progress, path);
    }

    fn stored(&self) -> Arc<dyn Storage> {
        self.places.stored()
    }

    /// Checks and repairs what a version names; gives the parts that need be in quarantine no more.
    fn files(&mut self, version: &Version) -> Result<Vec<(TableId, u64)>> {
        let mut sound = Vec::new();
        let mut progress = Progress { files: 1, ..Progress::default() };
        for (table, named) in &version.tables {
            let series = SeriesIndex::new(*table);
            for (from, to, bytes) in &named.series {
                let path = files::series(*table, *from, *to);
                let load = |storage: &dyn Storage, path: &str| {
                    let bytes = crate::engine::core::read_all(storage, path)?;
                    series.load(&bytes)?;
                    match series.len() == *to {
                        true => Ok(()),
                        false => Err(Error::Corrupt(format!("{path} ends at another series"))),
                    }
                };
                self.check(&path, load)?;
                self.told(&mut progress, &path, *bytes);
            }
            for entry in named.parts.values() {
                let path = entry.file();
                let whole = match &entry.object {
                    Some(_) => self.check_index(entry)?,
                    None => self.check(&path, |storage, path| is_part(storage, path, entry))?,
                };
                // Whether an archived object is sound is not looked at here.
                if whole && entry.object.is_none() && named.bad.contains_key(&entry.id) {
                    sound.push((*table, entry.id));
                }
                self.told(&mut progress, &path, entry.bytes);
            }
            if let Some(id) = named.last {
                let path = files::last(*table, id);
                let read = |storage: &dyn Storage, path: &str| Part::open(storage, path)?.verify();
                let whole = self.check(&path, read)?;
                if whole && named.bad.contains_key(&id) {
                    sound.push((*table, id));
                }
                self.told(&mut progress, &path, 0);
            }
        }
        Ok(sound)
    }

    /// Checks a file by `read` and replaces it if it is damaged; whether it is sound at the end.
    fn check(
        &mut self,
        path: &str,
        read: impl Fn(&dyn Storage, &str) -> Result<()>,
    ) -> Result<bool> {
        let damage = match read(&*self.storage, path) {
            Ok(()) => return Ok(true),
            Err(Error::Corrupt(why) | Error::Io(why)) => why,
            Err(error) => return Err(error),
        };
        let repair = match self.copy_of_backup(path, &read)? {
            Repair::Lost(_) if path.ends_with(".last") => Repair::Needless,
            repair => repair,
        };
        let whole = !matches!(repair, Repair::Lost(_) | Repair::Needless);
        self.report.files.push(RepairedFile { path: path.to_owned(), damage, repair });
        Ok(whole)
    }

    /// Takes the copy of the newest backup that has a sound one.
    fn copy_of_backup(
        &self,
        path: &str,
        read: &impl Fn(&dyn Storage, &str) -> Result<()>,
    ) -> Result<Repair> {
        let stored = self.stored();
        // The next opening removes it if it stays: nothing names it.
        let fresh = format!("{path}{}", files::UNFINISHED);
        let mut why = "no backup has it".to_owned();
        for manifest in &self.manifests {
            let Some(entry) = manifest.files.iter().find(|entry| entry.path == path) else {
                continue;
            };
            let entry = FileEntry { path: fresh.clone(), ..entry.clone() };
            remove(&*stored, &fresh)?;
            let copied = copy(self.request.objects, &*stored, &entry)
                .and_then(|()| read(&*self.storage, &fresh));
            match copied {
                Ok(()) => {
                    replace(&*stored, &fresh, path)?;
                    return Ok(Repair::Backup(manifest.number));
                }
                Err(error @ Error::Full(_)) => {
                    remove(&*stored, &fresh)?;
                    return Err(error);
                }
                Err(error) => why = format!("the copy of backup {}: {error}", manifest.number),
            }
            remove(&*stored, &fresh)?;
        }
        Ok(Repair::Lost(why))
    }

    /// The index of an archived part: out of the object, which holds the same.
    fn check_index(&mut self, entry: &PartEntry) -> Result<bool> {
        let Some(object) = &entry.object else { return Ok(true) };
        let path = entry.file();
        let io = |e: io::Error| Error::io(format_args!("reading {path}"), &e);
        let kept = self.storage.open(&path).and_then(|file| check_kept(file, object.bytes));
        let Err(error) = kept else { return Ok(true) };
        let damage = io(error).to_string();
        let repair = match self.index_of(entry) {
            Ok(bytes) => {
                let fresh = format!("{path}{}", files::UNFINISHED);
                remove(&*self.storage, &fresh)?;
                let written = self.storage.create(&fresh).and_then(|file| {
                    file.write_at(0, &bytes)?;
                    file.sync_data()
                });
                written.map_err(|e| Error::io(format_args!("writing {path}"), &e))?;
                replace(&*self.storage, &fresh, &path)?;
                Repair::Archive
            }
            Err(_) => {
                let bytes = object.bytes;
                self.copy_of_backup(&path, &move |storage: &dyn Storage, path: &str| {
                    let kept = storage.open(path).and_then(|file| check_kept(file, bytes));
                    kept.map_err(|e| Error::io(format_args!("reading {path}"), &e))
                })?
            }
        };
        let whole = !matches!(repair, Repair::Lost(_));
        self.report.files.push(RepairedFile { path, damage, repair });
        Ok(whole)
    }

    fn index_of(&self, entry: &PartEntry) -> Result<Vec<u8>> {
        let (file, path) = self.places.object_alone(entry)?;
        self.places.index_of(&file, &path)
    }

    /// Closed segments of the log, if the log is damaged, out of the archived log.
    fn log(&mut self, identity: Identity) -> Result<()> {
        let options = LogOptions { database_id: identity.id, ..LogOptions::default() };
        let mut progress = Progress::default();
        self.told(&mut progress, LOG_FOLDER, 0);
        let damage = match log::verify(&*self.storage, &options) {
            Ok(_) => return Ok(()),
            Err(Error::Corrupt(why) | Error::Io(why)) => why,
            Err(error) => return Err(error),
        };
        let listed = self.request.objects.list(&names::logs(self.lineage));
        let listed = listed.map_err(|e| Error::io("listing the archived log", &e))?;
        let mut replaced = false;
        for name in listed.iter().filter_map(|(name, _)| LogName::read(name)) {
            replaced |= self.segment(&name)?;
        }
        let repair = match log::verify(&*self.storage, &options) {
            Ok(_) if replaced => Repair::ArchivedLog,
            _ => Repair::Lost("the archived log has no sound copy of the segment".into()),
        };
        self.report.files.push(RepairedFile { path: LOG_FOLDER.to_owned(), damage, repair });
        Ok(())
    }

    /// Takes an archived segment whose bytes are not those that lie here.
    fn segment(&self, name: &LogName) -> Result<bool> {
        let (Some(sum), path) = (name.sum, log::segment_path(name.first)) else {
            return Ok(false);
        };
        let stored = self.stored();
        let io = |e: io::Error| Error::io(format_args!("reading {path}"), &e);
        if !stored.exists(&path).map_err(io)? {
            return Ok(false);
        }
        let here = crate::engine::core::read_all(&*stored, &path).map(|bytes| {
            let mut summer = Summer::default();
            summer.update(&bytes);
            summer.finish()
        });
        if here.is_ok_and(|here| here == sum) {
            return Ok(false);
        }
        let object = name.object(self.lineage);
        let size = self.request.objects.size(&object);
        let bytes = size.map_err(|e| Error::io(format_args!("reading {object}"), &e))?;
        // The ending of a segment that is being made: recovery passes it over.
        let fresh = format!("{path}.new");
        remove(&*stored, &fresh)?;
        let entry = FileEntry { path: fresh.clone(), object, bytes, sum, tail_mark: 0 };
        match copy(self.request.objects, &*stored, &entry) {
            Ok(()) => replace(&*stored, &fresh, &path).map(|()| true),
            Err(error) => {
                remove(&*stored, &fresh)?;
                tracing::warn!(path, %error, "an archived segment is damaged, too");
                Ok(false)
            }
        }
    }
}

/// Whether a file is the part that the version names.
fn is_part(storage: &dyn Storage, path: &str, entry: &PartEntry) -> Result<()> {
    let part = Part::open(storage, path)?;
    let meta = part.meta();
    if (meta.table, meta.rows, meta.times, meta.bytes)
        != (entry.table, entry.rows, entry.times, entry.bytes)
    {
        return Err(Error::Corrupt(format!("{path} is another part than the version names")));
    }
    part.verify()
}

fn remove(stored: &dyn Storage, path: &str) -> Result<()> {
    let io = |e: io::Error| Error::io(format_args!("removing {path}"), &e);
    if stored.exists(path).map_err(io)? {
        stored.remove(path).map_err(io)?;
    }
    Ok(())
}

/// Gives a durable file the name of another, which goes.
fn replace(stored: &dyn Storage, fresh: &str, path: &str) -> Result<()> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let renamed = stored.rename(fresh, path).and_then(|()| stored.sync_dir(folder));
    renamed.map_err(|e| Error::io(format_args!("replacing {path}"), &e))
}
