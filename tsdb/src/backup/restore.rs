//! Restore: an empty folder becomes a database as a backup and the archived log have it, of now
//! or of a moment.
//!
//! While it works the folder has a mark that keeps everybody from opening it; a restore that was
//! interrupted is begun anew by running it again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::crypto;
use crate::engine::files;
use crate::engine::open::{Identity, random_id};
use crate::engine::{Command, Db, Options, record};
use crate::error::{Error, Result};
use crate::io::Storage;
use crate::log::{Kind, LOG_FOLDER, Log, LogOptions};
use crate::rows::RowStore;
use crate::tier::{Connector, Objects};

use super::manifest::{self, FileEntry, Manifest};
use super::names::{self, Lineage, LogName, UNFINISHED_RESTORE};
use super::sum::Summer;
use super::take::read_version;
use super::{Progress, history};

/// Bytes read at a time.
const PIECE_BYTES: u64 = 4 << 20;
/// Folders of a database; all that a restore that starts anew empties.
const FOLDERS: &[&str] =
    &["", files::PARTS, files::SERIES, files::VERSIONS, files::LOG, files::ROWS, names::SCRATCH];

/// What to restore, and where to.
pub struct RestoreRequest<'a> {
    /// The store of the backups.
    pub objects: &'a dyn Objects,
    /// The empty folder, its bytes as they lie on the device.
    pub stored: Arc<dyn Storage>,
    /// Makes the storage that a database is opened in out of that folder, once the files of the
    /// root folder are there: where bytes are sealed, this is who unseals them.
    pub unseal: &'a dyn Fn(Arc<dyn Storage>) -> Result<Arc<dyn Storage>>,
    /// The database, if the store has backups of several.
    pub lineage: Option<Lineage>,
    /// The backup to begin with. Default: the newest that is not later than `to`.
    pub number: Option<u64>,
    /// The moment, ns since 1970: commits up to it are there, later ones are not. Default: every
    /// commit that the store has.
    pub to: Option<i64>,
    /// Settings for replaying the log.
    pub options: Options,
    /// Told after each file.
    pub progress: &'a mut dyn FnMut(&Progress),
}

/// What a restore did.
#[derive(Clone, Debug, PartialEq)]
pub struct RestoreReport {
    /// The backup that it began with.
    pub manifest: Manifest,
    /// The new lineage that the database leads.
    pub lineage: Lineage,
    /// Position of the newest commit restored.
    pub position: u64,
    /// When that commit was made, ns; `i64::MIN` if nobody knows.
    pub time: i64,
    /// Segments of the archived log that were replayed behind the backup.
    pub segments: u64,
    /// Files and bytes copied out of the store.
    pub files: u64,
    /// Bytes copied.
    pub bytes: u64,
    /// How long it took, s.
    pub seconds: f64,
    /// What is missing behind the newest commit, if the store says that something is.
    pub missing: Option<String>,
}

/// Restores a database into an empty folder.
///
/// # Errors
/// [`Error::NotFound`] if the store has no such backup, [`Error::Exists`] if the folder is not
/// empty, [`Error::Corrupt`] naming the object that is damaged or missing, [`Error::Invalid`] for
/// a moment that cannot be restored, [`Error::Io`] and [`Error::Full`] from store and folder.
pub fn restore(request: RestoreRequest<'_>) -> Result<RestoreReport> {
    let stored = Arc::clone(&request.stored);
    let mut begun = false;
    let done = run(request, &mut begun);
    if begun && matches!(done, Err(Error::Full(_))) {
        // A full disk must not be left fuller; what cannot be removed now goes the next time.
        if let Err(error) = clear(&*stored, true) {
            tracing::warn!(%error, "could not remove what a restore had copied");
        }
    }
    done
}

fn run(request: RestoreRequest<'_>, begun: &mut bool) -> Result<RestoreReport> {
    let started = Instant::now();
    let lineage = choose_lineage(request.objects, request.lineage)?;
    let manifest = choose_backup(&request, lineage)?;
    prepare_folder(&*request.stored, manifest.bytes())?;
    *begun = true;
    let mut work = Work {
        chain: Chain::find(request.objects, lineage, manifest.position)?,
        progress: Progress {
            files_all: manifest.files.len() as u64,
            bytes_all: manifest.bytes(),
            ..Progress::default()
        },
        segments: 0,
        manifest,
        request,
    };
    let storage = work.copy_files()?;
    work.make_files(&*storage)?;
    let ended = work.replay(&storage)?;
    finish(&*work.request.stored)?;
    Ok(RestoreReport {
        manifest: work.manifest,
        lineage: ended.lineage,
        position: ended.position,
        time: ended.time,
        segments: work.segments,
        files: work.progress.files,
        bytes: work.progress.bytes,
        seconds: started.elapsed().as_secs_f64(),
        missing: ended.missing,
    })
}

fn choose_lineage(objects: &dyn Objects, wanted: Option<Lineage>) -> Result<Lineage> {
    let found = manifest::list(objects)?;
    let names = || found.keys().map(Lineage::to_string).collect::<Vec<_>>().join(", ");
    match (wanted, found.len()) {
        (_, 0) => Err(Error::NotFound("the store has no backup".into())),
        (Some(wanted), _) if found.contains_key(&wanted) => Ok(wanted),
        (Some(wanted), _) => Err(Error::NotFound(format!(
            "the store has no backup of database {wanted}; it has some of {}",
            names()
        ))),
        (None, 1) => Ok(found.into_keys().next().unwrap_or(Lineage([0; 16]))),
        (None, _) => Err(Error::Invalid(format!(
            "the store has backups of several databases; say which: {}",
            names()
        ))),
    }
}

fn choose_backup(request: &RestoreRequest<'_>, lineage: Lineage) -> Result<Manifest> {
    let objects = request.objects;
    let fits = |manifest: &Manifest| request.to.is_none_or(|to| manifest.time <= to);
    if let Some(number) = request.number {
        let manifest = match Manifest::read(objects, lineage, number) {
            Err(Error::Io(_)) if !manifest::numbers(objects, lineage)?.contains(&number) => {
                return Err(Error::NotFound(format!("there is no backup {number}")));
            }
            read => read?,
        };
        return match fits(&manifest) {
            true => Ok(manifest),
            false => Err(Error::Invalid(format!("backup {number} is later than that moment"))),
        };
    }
    for number in manifest::numbers(objects, lineage)?.into_iter().rev() {
        let manifest = Manifest::read(objects, lineage, number)?;
        if fits(&manifest) {
            return Ok(manifest);
        }
    }
    Err(Error::NotFound("every backup of the store is later than that moment".into()))
}

/// Refuses a folder that holds anything, save what an interrupted restore left: that goes.
fn prepare_folder(stored: &dyn Storage, bytes: u64) -> Result<()> {
    let io = |e: std::io::Error| Error::io("preparing the folder", &e);
    stored.create_dir("").map_err(io)?;
    let lock = stored.lock().map_err(|e| match e.kind() {
        std::io::ErrorKind::WouldBlock => Error::Locked(e.to_string()),
        _ => Error::io("locking the folder", &e),
    })?;
    let again = stored.exists(UNFINISHED_RESTORE).map_err(io)?;
    clear(stored, again)?;
    let free = stored.free_bytes().map_err(io)?;
    if free < bytes {
        return Err(Error::Full(format!("the backup has {bytes} bytes, {free} are free")));
    }
    if !again {
        let mark = stored.create(UNFINISHED_RESTORE).map_err(io)?;
        mark.sync_data().map_err(io)?;
        stored.sync_dir("").map_err(io)?;
    }
    drop(lock);
    Ok(())
}

/// Removes what a restore has left, save its mark; refuses a folder that is not its own.
fn clear(stored: &dyn Storage, ours: bool) -> Result<()> {
    let io = |e: std::io::Error| Error::io("preparing the folder", &e);
    for folder in FOLDERS {
        for name in stored.list(folder).map_err(io)? {
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            if !ours {
                return Err(Error::Exists(format!(
                    "the folder is not empty ({path} is there): restore into an empty one"
                )));
            }
            if path != UNFINISHED_RESTORE {
                stored.remove(&path).map_err(io)?;
            }
        }
    }
    Ok(())
}

fn finish(stored: &dyn Storage) -> Result<()> {
    let io = |e: std::io::Error| Error::io("finishing the restore", &e);
    stored.sync_dir("").map_err(io)?;
    stored.remove(UNFINISHED_RESTORE).map_err(io)?;
    stored.sync_dir("").map_err(io)
}

/// The log behind a backup, as the store has it.
struct Chain {
    /// Segments by first position.
    segments: BTreeMap<u64, LogName>,
    gaps: Vec<LogName>,
    /// The next position.
    due: u64,
    lineage: Lineage,
}

impl Chain {
    fn find(objects: &dyn Objects, lineage: Lineage, position: u64) -> Result<Chain> {
        let listed = objects.list(&names::logs(lineage));
        let listed = listed.map_err(|e| Error::io("listing the archived log", &e))?;
        let (mut segments, mut gaps) = (BTreeMap::new(), Vec::new());
        for name in listed.iter().filter_map(|(name, _)| LogName::read(name)) {
            match name.sum {
                Some(_) => drop(segments.insert(name.first, name)),
                None => gaps.push(name),
            }
        }
        Ok(Chain { segments, gaps, due: position + 1, lineage })
    }

    /// The next segment; none where the log ends or misses something.
    fn next(&mut self) -> Option<LogName> {
        let segment = self.segments.get(&self.due)?.clone();
        self.due = segment.last + 1;
        Some(segment)
    }

    /// What is missing from the position due on, if something is.
    fn missing(&self) -> Option<String> {
        let due = self.due;
        if let Some(gap) = self.gaps.iter().find(|gap| gap.first <= due && due <= gap.last) {
            let (first, last) = (gap.first, gap.last);
            return Some(format!(
                "the log of positions {first} to {last} was given up, since it could not be \
                 archived in time"
            ));
        }
        let (next, _) = self.segments.range(due..).next()?;
        Some(format!("the log of positions {due} to {} is not in the store", next - 1))
    }
}

struct Work<'a> {
    manifest: Manifest,
    request: RestoreRequest<'a>,
    chain: Chain,
    progress: Progress,
    segments: u64,
}

/// Where replaying ended.
struct Ended {
    lineage: Lineage,
    position: u64,
    time: i64,
    missing: Option<String>,
}

impl Work<'_> {
    /// Copies the files of the backup; gives the storage to open them in.
    fn copy_files(&mut self) -> Result<Arc<dyn Storage>> {
        check_references(&*self.request.options.connector, &self.manifest)?;
        let stored = Arc::clone(&self.request.stored);
        let entries = self.manifest.files.clone();
        let (root, others): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| !entry.path.contains('/'));
        for entry in &root {
            self.copy(&*stored, entry)?;
        }
        let storage = (self.request.unseal)(Arc::clone(&stored))?;
        let Some(identity) = Identity::read(&*storage)? else {
            return Err(Error::Corrupt("the backup has no identity of its database".into()));
        };
        crypto::check(&*storage, Some(identity.encrypted))?;
        for folder in FOLDERS.iter().filter(|folder| !folder.is_empty()) {
            let made = stored.create_dir(folder);
            made.map_err(|e| Error::io(format_args!("making folder {folder}"), &e))?;
        }
        for entry in &others {
            self.copy(&*stored, entry)?;
        }
        for folder in FOLDERS {
            let synced = stored.sync_dir(folder);
            synced.map_err(|e| Error::io(format_args!("syncing folder {folder:?}"), &e))?;
        }
        Ok(storage)
    }

    fn copy(&mut self, stored: &dyn Storage, entry: &FileEntry) -> Result<()> {
        copy(self.request.objects, stored, entry)?;
        self.progress.files += 1;
        self.progress.bytes += entry.bytes;
        (self.request.progress)(&self.progress);
        Ok(())
    }

    /// Makes the files that are not copied but made of what the backup has.
    fn make_files(&self, storage: &dyn Storage) -> Result<()> {
        read_version(storage)?.install(storage)?;
        let copy = storage.open(names::ROWS_COPY);
        let copy = copy.map_err(|e| Error::io("opening the copy of the row store", &e))?;
        RowStore::restore_in(storage, files::ROWS, "rows.redb", &copy)?;
        // Without a record the log must still know which position comes next.
        if !self.manifest.files.iter().any(|entry| entry.path.starts_with(LOG_FOLDER)) {
            Log::begin(storage, &self.log_options(), self.manifest.position + 1)?;
        }
        Ok(())
    }

    fn log_options(&self) -> LogOptions {
        LogOptions { database_id: self.manifest.database_id, ..LogOptions::default() }
    }

    /// Replays the log a piece at a time, so that memory holds no more than an engine does.
    fn replay(&mut self, storage: &Arc<dyn Storage>) -> Result<Ended> {
        let to = self.request.to;
        let mut options = self.request.options.clone();
        (options.background, options.log_archive, options.backup_policy) = (false, None, None);
        let mut from = self.manifest.position + 1;
        loop {
            let more = self.copy_log(options.log_bytes_max)?;
            let cut = match to {
                Some(to) => cut_after(storage, self.log_options(), from, to)?,
                None => false,
            };
            from = self.chain.due;
            let db = Db::open_unchecked(Arc::clone(storage), options.clone())?;
            if db.lineage()? != self.manifest.lineage {
                return Err(Error::Corrupt(
                    "the backup is of another database than it says".into(),
                ));
            }
            if cut || !more {
                // Where the newest commit is of the moment itself, nothing behind it matters.
                let newest = db.snapshot().time().unwrap_or(i64::MIN);
                let reached = to.is_some_and(|to| newest == to);
                let missing = if cut || reached { None } else { self.missing()? };
                if let (Some(missing), Some(_)) = (&missing, to) {
                    return Err(Error::Invalid(format!(
                        "that moment cannot be restored: {missing}. Take a moment before or \
                         after it, or none to restore backup {} and the log behind it",
                        self.manifest.number
                    )));
                }
                return end(&db, &self.manifest, missing);
            }
            db.checkpoint()?;
            db.close()?;
        }
    }

    /// Copies archived segments until they have about `bytes_max`; false at the end of them.
    fn copy_log(&mut self, bytes_max: u64) -> Result<bool> {
        let mut bytes = 0;
        while bytes < bytes_max {
            let Some(name) = self.chain.next() else { return Ok(false) };
            let object = name.object(self.chain.lineage);
            let size = self.request.objects.size(&object);
            let size = size.map_err(|e| Error::io(format_args!("reading {object}"), &e))?;
            let path = crate::log::segment_path(name.first);
            let stored = Arc::clone(&self.request.stored);
            // The empty segment that the last replay began.
            let io = |e: std::io::Error| Error::io(format_args!("replacing {path}"), &e);
            if stored.exists(&path).map_err(io)? {
                stored.remove(&path).map_err(io)?;
            }
            let Some(sum) = name.sum else { return Ok(false) };
            let entry = FileEntry { path: path.clone(), object, bytes: size, sum, tail_mark: 0 };
            self.progress.files_all += 1;
            self.progress.bytes_all += size;
            self.copy(&*stored, &entry)?;
            stored.sync_dir(LOG_FOLDER).map_err(io)?;
            self.segments += 1;
            bytes += size;
        }
        Ok(true)
    }

    /// What is missing behind the log that was found.
    fn missing(&self) -> Result<Option<String>> {
        if let Some(missing) = self.chain.missing() {
            return Ok(Some(missing));
        }
        let newest = manifest::numbers(self.request.objects, self.chain.lineage)?.pop();
        match newest.filter(|newest| *newest > self.manifest.number) {
            None => Ok(None),
            Some(newest) => {
                let newest = Manifest::read(self.request.objects, self.chain.lineage, newest)?;
                let due = self.chain.due;
                Ok((newest.position >= due).then(|| {
                    format!("the log from position {due} to the next backup is not in the store")
                }))
            }
        }
    }
}

/// Begins the new lineage and closes the database.
fn end(db: &Db, manifest: &Manifest, missing: Option<String>) -> Result<Ended> {
    let snapshot = db.snapshot();
    let (position, time) = (snapshot.position(), snapshot.time().unwrap_or(i64::MIN));
    let lineage = Lineage(random_id());
    let command = history::begin_lineage(lineage, manifest.lineage, position);
    db.execute(Command::Rows(command))?;
    db.checkpoint()?;
    db.close()?;
    Ok(Ended { lineage, position, time, missing })
}

/// Cuts the log before the first commit that is later than `to`; true if there was one. Commits
/// before position `from` are not later.
fn cut_after(storage: &Arc<dyn Storage>, options: LogOptions, from: u64, to: i64) -> Result<bool> {
    let (mut log, _) = Log::open(Arc::clone(storage), options)?;
    let from = from.max(log.first_index());
    let mut cut = None;
    for record in log.read_from(from)? {
        let record = record?;
        let late = match record.kind {
            Kind::Commands => record::time_of(&record.payload)?.is_some_and(|time| time > to),
            _ => false,
        };
        if late {
            cut = Some(record.index - 1);
            break;
        }
    }
    if let Some(last) = cut {
        log.truncate_after(last)?;
    }
    log.close()?;
    Ok(cut.is_some())
}

/// Copies one object into a file and checks every byte of it.
pub(super) fn copy(objects: &dyn Objects, stored: &dyn Storage, entry: &FileEntry) -> Result<()> {
    let (path, object) = (&entry.path, &entry.object);
    let damaged = |why: &str| {
        Err(Error::Corrupt(format!(
            "object {object} of the backup ({path} of the database): {why}"
        )))
    };
    let reading = |e: std::io::Error| Error::io(format_args!("reading object {object}"), &e);
    let writing = |e: std::io::Error| Error::io(format_args!("writing {path}"), &e);
    match objects.size(object) {
        Ok(bytes) if bytes == entry.bytes => {}
        Ok(bytes) => {
            return damaged(&format!("it has {bytes} bytes instead of {}", entry.bytes));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return damaged("it is missing");
        }
        Err(error) => return Err(reading(error)),
    }
    let file = stored.create(path).map_err(writing)?;
    let mut sum = Summer::default();
    let mut at = 0;
    while at < entry.bytes {
        let end = (at + PIECE_BYTES).min(entry.bytes);
        let piece = objects.get(object, at..end).map_err(reading)?;
        sum.update(&piece);
        file.write_at(at, &piece).map_err(writing)?;
        at = end;
    }
    if sum.finish() != entry.sum {
        return damaged("its checksum does not fit");
    }
    file.sync_data().map_err(writing)
}

/// Objects on archives that a backup relies on must be there.
fn check_references(connector: &dyn Connector, manifest: &Manifest) -> Result<()> {
    for reference in &manifest.references {
        let (url, name) = (&reference.url, &reference.name);
        let doing =
            |e: std::io::Error| Error::io(format_args!("looking for archived {name} in {url}"), &e);
        let size = connector.connect(url).and_then(|objects| objects.size(name));
        if size.map_err(doing)? != reference.bytes {
            return Err(Error::Corrupt(format!(
                "archived {name} in {url} has not the {} bytes that the backup relies on",
                reference.bytes
            )));
        }
    }
    Ok(())
}
