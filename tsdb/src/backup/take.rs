//! Taking a backup of an open database.
//!
//! What is taken together: a version, the rows of the row store at or after it, and the log from
//! where the version needs it up to a position at or after both. Opening the three replays that
//! log, as after a crash, and so comes to that position. Commits, flushes and merges go on; files
//! and log are held (`engine/holds.rs`) until they are copied.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::engine::committer::now_ns;
use crate::engine::core::{Core, read_all};
use crate::engine::files;
use crate::engine::holds::Hold;
use crate::engine::open::Identity;
use crate::engine::record;
use crate::engine::state::State;
use crate::engine::version::{ObjectRef, Version};
use crate::error::{Error, Result};
use crate::io::{File, Storage};
use crate::log::{Kind, Log, SegmentInfo};
use crate::tier::{Objects, Source};

use super::manifest::{self, FileEntry, Manifest, Reference};
use super::names::{self, Lineage, LogName};
use super::sum::{Sum, Summer};
use super::{BackupReport, Progress, history};

/// Bytes read at a time.
const PIECE_BYTES: usize = 1 << 20;
/// Bytes at the end of a file that [`FileEntry::tail_mark`] covers.
const TAIL_BYTES: u64 = 4096;

/// Takes a backup. One at a time; the caller holds `backing`.
pub(super) fn take(
    core: &Arc<Core>,
    objects: &dyn Objects,
    full: bool,
    progress: &mut dyn FnMut(&Progress) -> Result<()>,
) -> Result<BackupReport> {
    core.check_writable()?;
    let started = now_ns();
    let lineage = history::lineage(core)?;
    let before = Before::find(core, objects, lineage, full)?;
    let hold = Hold::new(core);
    let scratch = Scratch::begin(core)?;
    let taken = Taken::take(core)?;
    let mut copier = Copier {
        core,
        stored: core.storage.stored().unwrap_or_else(|| Arc::clone(&core.storage)),
        objects,
        lineage,
        before: &before,
        progress,
        done: Progress::default(),
        files: Vec::new(),
    };
    let paths = paths(&taken.version);
    copier.measure(&paths, &taken.segments)?;
    for segment in &taken.segments {
        copier.segment(segment)?;
    }
    hold.release_log(u64::MAX);
    for path in &paths {
        copier.file(path)?;
    }
    let (done, mut files) = (copier.done, copier.files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let manifest = Manifest {
        lineage,
        number: before.number,
        generation: before.generation,
        database_id: taken.database_id,
        started,
        finished: now_ns(),
        log_first: taken.log_first,
        position: taken.position,
        time: taken.time,
        copied_bytes: done.copied_bytes,
        copied_files: done.copied_files,
        files,
        references: references(&taken.version),
    };
    // Last of all: what it names is there.
    let name = names::manifest(lineage, manifest.number);
    objects
        .put(&name, &mut manifest.encode().as_slice())
        .map_err(|e| Error::io(format_args!("writing {name}"), &e))?;
    drop((scratch, hold));
    Ok(BackupReport { manifest })
}

/// Archived parts that a version relies on without a file in the folder. The archive tier names
/// them in the version; each is given here by the URL of its store and its name there, and a
/// restore checks that it is there.
fn references(version: &Version) -> Vec<Reference> {
    let named = |object: &ObjectRef| Reference {
        url: object.store.clone(),
        name: object.name.clone(),
        bytes: object.bytes,
    };
    version.objects().map(named).collect()
}

/// What the store has of this lineage.
struct Before {
    number: u64,
    generation: u64,
    /// Files of the newest backup of the generation, by path.
    files: HashMap<String, FileEntry>,
    /// Lengths of objects by name.
    objects: HashMap<String, u64>,
}

impl Before {
    fn find(core: &Core, objects: &dyn Objects, lineage: Lineage, full: bool) -> Result<Before> {
        let numbers = manifest::numbers(objects, lineage)?;
        let number = numbers.last().map_or(1, |last| last + 1);
        let newest = match numbers.last() {
            Some(newest) => match Manifest::read(objects, lineage, *newest) {
                Ok(manifest) => Some(manifest),
                Err(error @ Error::Corrupt(_)) => {
                    // Nothing is taken from it: the new backup copies everything.
                    tracing::error!(%error, "a full backup is made, since the last is damaged");
                    None
                }
                Err(error) => return Err(error),
            },
            None => None,
        };
        let reached = core.state.load().position;
        if let Some(newest) = newest.as_ref().filter(|newest| newest.position > reached) {
            return Err(Error::Invalid(format!(
                "the store has a backup of this database up to position {}, but the database ends \
                 at {reached}: the folder is an older copy. Restore it by `millrace restore`, or \
                 back it up to another URL",
                newest.position
            )));
        }
        let newest = newest.filter(|_| !full);
        let generation = newest.as_ref().map_or(number, |manifest| manifest.generation);
        let mut found = HashMap::new();
        for prefix in [names::objects(lineage), names::logs(lineage)] {
            let listed = objects.list(&prefix);
            found.extend(listed.map_err(|e| Error::io("listing the backup's objects", &e))?);
        }
        let files = newest.into_iter().flat_map(|manifest| manifest.files);
        let files = files.map(|file| (file.path.clone(), file)).collect();
        Ok(Before { number, generation, files, objects: found })
    }

    fn has(&self, object: &str, bytes: u64) -> bool {
        self.objects.get(object) == Some(&bytes)
    }
}

/// Files that the backup makes itself, removed when it ends.
struct Scratch<'a>(&'a Core);

impl Scratch<'_> {
    fn begin(core: &Core) -> Result<Scratch<'_>> {
        core.storage
            .create_dir(names::SCRATCH)
            .map_err(|e| Error::io("making the folder of backups", &e))?;
        clear_scratch(&*core.storage)?;
        Ok(Scratch(core))
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        if let Err(error) = clear_scratch(&*self.0.storage) {
            // The next backup or open tries again.
            tracing::warn!(%error, "could not remove the files of a backup");
        }
    }
}

/// Removes what a backup or its crash left in the folder of files made for it.
pub(crate) fn clear_scratch(storage: &dyn Storage) -> Result<()> {
    let io = |e: std::io::Error| Error::io("clearing the folder of backups", &e);
    for name in storage.list(names::SCRATCH).map_err(io)? {
        storage.remove(&format!("{}/{name}", names::SCRATCH)).map_err(io)?;
    }
    Ok(())
}

/// A version, rows and log that belong together.
struct Taken {
    version: Version,
    /// Keeps the files of its parts.
    _state: Arc<State>,
    database_id: [u8; 16],
    log_first: u64,
    position: u64,
    time: i64,
    segments: Vec<SegmentInfo>,
}

impl Taken {
    /// Takes them; version and rows lie in files made for it on return.
    fn take(core: &Core) -> Result<Taken> {
        let (mut version, state) = together(core)?;
        // What the version lacks: pending commits, and all that came after the state.
        let pending = state.tables.values().filter_map(|table| Some(table.pending?.0)).min();
        let log_first = pending.unwrap_or(u64::MAX).min(state.position + 1);
        write_rows(core)?;
        let (position, segments) = close_log(core, log_first)?;
        let time = match position {
            0 => i64::MIN,
            position => time_of(core, position)?,
        };
        version.log_first = version.log_first.max(log_first);
        write_version(core, &version)?;
        let database_id = match Identity::read(&*core.storage)? {
            Some(identity) => identity.id,
            None => return Err(Error::Corrupt("the identity of the database is gone".into())),
        };
        Ok(Taken { version, _state: state, database_id, log_first, position, time, segments })
    }
}

/// The newest version and a state with all of its parts. The state keeps the files of parts that
/// a merge takes out; the hold keeps all others.
fn together(core: &Core) -> Result<(Version, Arc<State>)> {
    let begun = std::time::Instant::now();
    loop {
        core.check_writable()?;
        let lacking = {
            let log = core.version.lock();
            let state = core.state.load();
            match lacking(&log.version, &state) {
                None => return Ok((log.version.clone(), state)),
                Some(lacking) => lacking,
            }
        };
        if begun.elapsed() > TOGETHER_MAX {
            let (table, part) = lacking;
            return Err(Error::Corrupt(format!(
                "part {part} of table {table} is in the version log and not in use: start the \
                 server anew, and back up then"
            )));
        }
        // Between an edit and its state there is a moment.
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// Longer than any moment between an edit and its state.
const TOGETHER_MAX: std::time::Duration = std::time::Duration::from_secs(30);

/// A part, behind its table, that the version has and the state has not.
fn lacking(version: &Version, state: &State) -> Option<(u32, u64)> {
    version.tables.iter().find_map(|(id, files)| {
        // A table that the state has no more is being dropped, and its files are held.
        let table = state.tables.get(id)?;
        let there = |id: &u64| table.parts.iter().any(|part| part.entry.id == *id);
        files.parts.keys().find(|part| !there(part)).map(|part| (*id, *part))
    })
}

fn write_rows(core: &Core) -> Result<()> {
    let snapshot = core.rows.snapshot()?;
    let file = core.storage.create(names::ROWS_COPY);
    let file = file.map_err(|e| Error::io("making the copy of the row store", &e))?;
    snapshot.copy_to(&file, core.rows.commit_time())
}

fn write_version(core: &Core, version: &Version) -> Result<()> {
    let io = |e: std::io::Error| Error::io("making the copy of the version", &e);
    let file = core.storage.create(names::VERSION_COPY).map_err(io)?;
    file.write_at(0, &version.snapshot_bytes()).map_err(io)?;
    file.sync_data().map_err(io)
}

/// Closes the segment being written; gives the last position, and the segments from the one with
/// `first` on.
pub(super) fn close_log(core: &Core, first: u64) -> Result<(u64, Vec<SegmentInfo>)> {
    let mut guard = core.log.lock();
    let log = guard.as_mut().ok_or(Error::Closed)?;
    let closed = log.close_segment();
    let position = log.last_index();
    let mut segments = log.segments();
    drop(guard);
    if let Err(error) = closed {
        core.fail("closing a segment of the log", &error);
        return Err(error);
    }
    segments.pop();
    segments.retain(|segment| segment.last_index >= first);
    Ok((position, segments))
}

/// When the commit at `position` was made; of the newest one if the log has it no more.
pub(super) fn time_of(core: &Core, position: u64) -> Result<i64> {
    let cursor = {
        let guard = core.log.lock();
        let log: &Log = guard.as_ref().ok_or(Error::Closed)?;
        if position < log.first_index() { None } else { Some(log.read_from(position)?) }
    };
    let newest = || core.state.load().time.max(core.rows.commit_time());
    match cursor.and_then(|mut cursor| cursor.next()).transpose()? {
        Some(found) if found.kind == Kind::Commands => {
            Ok(record::time_of(&found.payload)?.unwrap_or(i64::MIN))
        }
        _ => Ok(newest()),
    }
}

/// Paths of all files of a backup but the log.
fn paths(version: &Version) -> Vec<String> {
    let mut paths: Vec<String> = files::ROOT.iter().map(|path| (*path).to_owned()).collect();
    paths.extend([names::VERSION_COPY.to_owned(), names::ROWS_COPY.to_owned()]);
    paths.extend(version.files());
    paths
}

/// Copies files into the store.
struct Copier<'a> {
    core: &'a Core,
    /// Where the bytes are as they lie on the device: a sealed file stays sealed.
    stored: Arc<dyn Storage>,
    objects: &'a dyn Objects,
    lineage: Lineage,
    before: &'a Before,
    progress: &'a mut dyn FnMut(&Progress) -> Result<()>,
    done: Progress,
    files: Vec<FileEntry>,
}

impl Copier<'_> {
    /// Sums up what there is to do.
    fn measure(&mut self, paths: &[String], segments: &[SegmentInfo]) -> Result<()> {
        let named = paths.iter().chain(segments.iter().map(|segment| &segment.path));
        for path in named {
            let file = self.open(path)?;
            self.done.files_all += 1;
            self.done.bytes_all += length(path, &file)?;
        }
        Ok(())
    }

    fn open(&self, path: &str) -> Result<Arc<dyn File>> {
        self.stored.open(path).map_err(|e| Error::io(format_args!("opening {path}"), &e))
    }

    fn file(&mut self, path: &str) -> Result<()> {
        let file = self.open(path)?;
        let bytes = length(path, &file)?;
        let tail = tail_mark(&file, bytes).map_err(|e| Error::io(path, &e))?;
        let before = self.before.files.get(path);
        let same = before.filter(|entry| (entry.bytes, entry.tail_mark) == (bytes, tail));
        let entry = match same {
            Some(entry) if self.before.has(&entry.object, bytes) => entry.clone(),
            _ => {
                let sum = self.sum(path, &file, bytes)?;
                let object = names::object(self.lineage, self.before.generation, path, sum);
                self.put(path, &object, &file, bytes, sum)?;
                FileEntry { path: path.to_owned(), object, bytes, sum, tail_mark: tail }
            }
        };
        self.files.push(entry);
        self.step(bytes)
    }

    /// Segments have one name whoever copies them: a backup or the archiver.
    fn segment(&mut self, segment: &SegmentInfo) -> Result<()> {
        let path = &segment.path;
        let file = self.open(path)?;
        let bytes = length(path, &file)?;
        let tail_mark = tail_mark(&file, bytes).map_err(|e| Error::io(path, &e))?;
        let sum = self.sum(path, &file, bytes)?;
        let name = LogName { first: segment.first_index, last: segment.last_index, sum: Some(sum) };
        let object = name.object(self.lineage);
        self.put(path, &object, &file, bytes, sum)?;
        self.files.push(FileEntry { path: path.clone(), object, bytes, sum, tail_mark });
        self.step(bytes)
    }

    fn put(
        &mut self,
        path: &str,
        object: &str,
        file: &Arc<dyn File>,
        bytes: u64,
        sum: Sum,
    ) -> Result<()> {
        if self.before.has(object, bytes) {
            return Ok(());
        }
        put_file(self.core, self.objects, path, object, file, sum)?;
        self.done.copied_files += 1;
        self.done.copied_bytes += bytes;
        Ok(())
    }

    fn sum(&mut self, path: &str, file: &Arc<dyn File>, bytes: u64) -> Result<Sum> {
        sum_of(self.core, file, bytes).map_err(|e| Error::io(format_args!("reading {path}"), &e))
    }

    fn step(&mut self, bytes: u64) -> Result<()> {
        self.done.files += 1;
        self.done.bytes += bytes;
        self.core.check_writable()?;
        (self.progress)(&self.done)
    }
}

/// Puts a stored file into a store, if it still has the checksums that the object is named by.
pub(super) fn put_file(
    core: &Core,
    objects: &dyn Objects,
    path: &str,
    object: &str,
    file: &Arc<dyn File>,
    sum: Sum,
) -> Result<()> {
    let summer = Summer::default();
    let mut source = Checked { core, file: Arc::clone(file), sum, summer, next: 0 };
    let doing = |e: std::io::Error| Error::io(format_args!("copying {path} to {object}"), &e);
    objects.put(object, &mut source).map_err(doing)
}

/// A file that ends in an error once the database closes, since a slow store must not hold that
/// up, and where it ends with other checksums than it had: an object that a flipped bit was copied
/// into would be taken for the file by every later backup.
struct Checked<'a> {
    core: &'a Core,
    file: Arc<dyn File>,
    sum: Sum,
    summer: Summer,
    /// What comes next to be summed up; a store that asks again got it before.
    next: u64,
}

impl Source for Checked<'_> {
    fn len(&self) -> u64 {
        Source::len(&self.file)
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        check_open(self.core)?;
        Source::read_at(&mut self.file, offset, buf)?;
        if offset != self.next || buf.is_empty() {
            return Ok(());
        }
        self.summer.update(buf);
        self.next += buf.len() as u64;
        if self.next == Source::len(&self.file) && self.summer.clone().finish() != self.sum {
            let why = "reading it twice gave different bytes: the disk or its memory fails";
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, why));
        }
        Ok(())
    }
}

fn check_open(core: &Core) -> std::io::Result<()> {
    match core.stopping.load(Ordering::Acquire) {
        true => Err(std::io::Error::other("the database is closing")),
        false => Ok(()),
    }
}

/// Checksums of a file.
pub(super) fn sum_of(core: &Core, file: &Arc<dyn File>, bytes: u64) -> std::io::Result<Sum> {
    let mut sum = Summer::default();
    let mut buf = vec![0; PIECE_BYTES.min(usize::try_from(bytes).unwrap_or(PIECE_BYTES))];
    let mut at = 0;
    while at < bytes {
        check_open(core)?;
        let some = (bytes - at).min(PIECE_BYTES as u64) as usize;
        let Some(piece) = buf.get_mut(..some) else { break };
        File::read_at(file.as_ref(), at, piece)?;
        sum.update(piece);
        at += some as u64;
    }
    Ok(sum.finish())
}

fn length(path: &str, file: &Arc<dyn File>) -> Result<u64> {
    File::len(file.as_ref()).map_err(|e| Error::io(format_args!("measuring {path}"), &e))
}

fn tail_mark(file: &Arc<dyn File>, bytes: u64) -> std::io::Result<u64> {
    let some = bytes.min(TAIL_BYTES);
    let mut tail = vec![0; some as usize];
    File::read_at(file.as_ref(), bytes - some, &mut tail)?;
    Ok(Sum::of(&tail).mark)
}

/// The version that a backup took.
pub(super) fn read_version(storage: &dyn Storage) -> Result<Version> {
    Version::from_snapshot(&read_all(storage, names::VERSION_COPY)?, names::VERSION_COPY)
}
