//! The version: which files make up the database, as an edit log with snapshots
//! (FORMAT.md, "Version log").
//!
//! Invariants: an edit is durable before its effect is published; files that an edit names are
//! durable before the edit; files that no version names are removed at open.

mod edits;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::checksum;
use crate::deletes::Tombstone;
use crate::error::{Error, Result};
use crate::io::{File, Storage};
use crate::part::BadBlock;
use crate::types::{TableId, TimeRange};

use super::bytes::put_bytes;
use super::files;

/// The last byte is the version of the format.
const MAGIC: &[u8; 7] = b"MRVERS\x00";
/// The version that is written; readers take it and those before.
pub(crate) const FORMAT: u8 = 4;
/// Tests see many snapshots.
const EDITS_BYTES_MAX: u64 = if cfg!(test) { 1 << 10 } else { 4 << 20 };
const EDIT_BYTES_MAX: usize = 256 << 20;

/// A part as the version knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct PartEntry {
    /// Number of the part, unique in the database.
    pub id: u64,
    /// Its table.
    pub table: TableId,
    /// 0: flushed; 1: merged lightly; 2: merged densely.
    pub level: u8,
    /// First and last position of the commits in it.
    pub positions: (u64, u64),
    /// Time span that the part is confined to; none for flush parts.
    pub partition: Option<TimeRange>,
    /// Rows.
    pub rows: u64,
    /// Smallest range that holds all times.
    pub times: TimeRange,
    /// Length of the file.
    pub bytes: u64,
    /// Deletes up to this position hide nothing of it any more: its rows were written without
    /// theirs. Not below its last position.
    pub deletes_applied: u64,
    /// Where the part lies once it is archived; its own file holds only the index then.
    pub object: Option<ObjectRef>,
    /// The part was brought back from the archive and stays here until then, ns since 1970.
    pub hot_until: i64,
}

/// An object of an object store: everything that is needed to read it again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// URL of the store.
    pub store: String,
    /// Name in the store.
    pub name: String,
    /// Length, bytes.
    pub bytes: u64,
}

impl std::fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.store.trim_end_matches('/'), self.name)
    }
}

/// The files of one table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableFiles {
    /// Commits up to this position are in parts.
    pub flushed: u64,
    /// Series files: `(from, to, bytes)`, end to end from 0.
    pub series: Vec<(u32, u32, u64)>,
    /// Parts by number.
    pub parts: BTreeMap<u64, PartEntry>,
    /// Number of the last-row part of position `flushed`, if there is one.
    pub last: Option<u64>,
    /// Deletes up to `flushed` that hide rows of parts, by position.
    pub tombstones: BTreeMap<u64, Arc<Tombstone>>,
    /// Rows before this time are refused, as of `flushed` (retention).
    pub cut: Option<i64>,
    /// Blocks that could not be read, by number of the part or last-row part.
    pub bad: BTreeMap<u64, Vec<BadBlock>>,
    /// Last rows may have been left out for want of bad blocks: a series without one has to be
    /// looked up.
    pub scarred: bool,
}

/// One step of the edit log. All lists of an edit take effect together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Edit {
    /// Parts that come.
    pub add: Vec<PartEntry>,
    /// Parts that go: `(table, id)`.
    pub remove: Vec<(TableId, u64)>,
    /// New flush positions.
    pub flushed: Vec<(TableId, u64)>,
    /// New series files: `(table, from, to, bytes)`.
    pub series: Vec<(TableId, u32, u32, u64)>,
    /// New last-row parts.
    pub last: Vec<(TableId, u64)>,
    /// Tables that go with all their files.
    pub drop: Vec<TableId>,
    /// Deletes that begin to hide rows of a table's parts.
    pub hide: Vec<(TableId, Arc<Tombstone>)>,
    /// Positions of deletes that no part of their table needs any more.
    pub clear: Vec<(TableId, u64)>,
    /// New cuts, as of the flush position.
    pub cuts: Vec<(TableId, Option<i64>)>,
    /// Objects that no part needs any more, and since when, ns since 1970. Those of parts that go
    /// die by themselves, at `time`.
    pub dead: Vec<(ObjectRef, i64)>,
    /// Dead objects that were deleted.
    pub collected: Vec<ObjectRef>,
    /// Blocks of parts and last-row parts that could not be read: `(table, part, block)`.
    pub bad: Vec<(TableId, u64, BadBlock)>,
    /// Parts and last-row parts that are sound again: `(table, part)`.
    pub sound: Vec<(TableId, u64)>,
    /// Tables whose last rows may lack some.
    pub scarred: Vec<TableId>,
    /// When the edit was made, ns since 1970; the death of the objects of parts that go.
    pub time: i64,
    /// Part numbers below this one were used; 0 says nothing.
    pub next_part: u64,
    /// The log may begin at this position, and not behind it; 0 says nothing.
    pub log_first: u64,
}

/// All files of a database.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Version {
    /// Files by table.
    pub tables: BTreeMap<TableId, TableFiles>,
    /// First part number that was never used.
    pub next_part: u64,
    /// The log may begin at this position, and not behind it: parts and row store have the rest.
    pub log_first: u64,
    /// Objects that no part needs any more, not deleted yet, and since when, ns since 1970.
    pub dead: BTreeMap<ObjectRef, i64>,
}

impl Version {
    /// Takes an edit in; returns the files that are no longer named.
    pub fn apply(&mut self, edit: &Edit) -> Vec<String> {
        let mut gone = Vec::new();
        self.next_part = self.next_part.max(edit.next_part);
        self.log_first = self.log_first.max(edit.log_first);
        let mut dying: Vec<ObjectRef> = Vec::new();
        for (table, id) in &edit.remove {
            let Some(files) = self.tables.get_mut(table) else { continue };
            files.bad.remove(id);
            if let Some(part) = files.parts.remove(id) {
                gone.push(part.file());
                dying.extend(part.object);
            }
        }
        for part in &edit.add {
            self.next_part = self.next_part.max(part.id.saturating_add(1));
            self.tables.entry(part.table).or_default().parts.insert(part.id, part.clone());
        }
        for (table, position) in &edit.flushed {
            self.tables.entry(*table).or_default().flushed = *position;
        }
        for (table, from, to, bytes) in &edit.series {
            self.tables.entry(*table).or_default().series.push((*from, *to, *bytes));
        }
        for (table, id) in &edit.last {
            self.next_part = self.next_part.max(id.saturating_add(1));
            let files = self.tables.entry(*table).or_default();
            if let Some(old) = files.last.replace(*id) {
                files.bad.remove(&old);
                gone.push(files::last(*table, old));
            }
        }
        for (table, tombstone) in &edit.hide {
            let tombstones = &mut self.tables.entry(*table).or_default().tombstones;
            tombstones.insert(tombstone.position, Arc::clone(tombstone));
        }
        for (table, position) in &edit.clear {
            self.tables.entry(*table).or_default().tombstones.remove(position);
        }
        for (table, cut) in &edit.cuts {
            self.tables.entry(*table).or_default().cut = *cut;
        }
        self.quarantine(edit);
        for table in &edit.drop {
            if let Some(files) = self.tables.remove(table) {
                gone.extend(names(*table, &files));
                dying.extend(files.parts.into_values().filter_map(|part| part.object));
            }
        }
        self.dead.extend(dying.into_iter().map(|object| (object, edit.time)));
        self.dead.extend(edit.dead.iter().cloned());
        for object in &edit.collected {
            self.dead.remove(object);
        }
        gone
    }

    /// Takes in what an edit says of bad blocks. What has gone meanwhile is passed over.
    fn quarantine(&mut self, edit: &Edit) {
        for (table, id) in &edit.sound {
            if let Some(files) = self.tables.get_mut(table) {
                files.bad.remove(id);
            }
        }
        for (table, id, block) in &edit.bad {
            let Some(files) = self.tables.get_mut(table) else { continue };
            if !files.parts.contains_key(id) && files.last != Some(*id) {
                continue;
            }
            let blocks = files.bad.entry(*id).or_default();
            if !blocks.iter().any(|known| known.same_place(block)) {
                blocks.push(block.clone());
            }
        }
        for table in &edit.scarred {
            if let Some(files) = self.tables.get_mut(table) {
                files.scarred = true;
            }
        }
    }

    /// The objects that parts lie in.
    pub fn objects(&self) -> impl Iterator<Item = &ObjectRef> {
        let parts = self.tables.values().flat_map(|files| files.parts.values());
        parts.filter_map(|part| part.object.as_ref())
    }

    /// Names of all files.
    pub fn files(&self) -> Vec<String> {
        self.tables.iter().flat_map(|(table, files)| names(*table, files)).collect()
    }

    /// A version log of this version alone.
    pub(crate) fn snapshot_bytes(&self) -> Vec<u8> {
        self.snapshot_of(FORMAT)
    }

    /// The same in an older format, as far as that can say it.
    #[cfg(test)]
    pub(crate) fn snapshot_of_format(&self, format: u8) -> Vec<u8> {
        self.snapshot_of(format)
    }

    fn snapshot_of(&self, format: u8) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(format);
        bytes.extend_from_slice(&frame(&self.as_edit().encode_as(format)));
        bytes
    }

    /// The version that a whole version log comes to.
    ///
    /// # Errors
    /// [`Error::Corrupt`] naming the file.
    pub(crate) fn from_snapshot(bytes: &[u8], name: &str) -> Result<Version> {
        let mut version = Version { next_part: 1, ..Version::default() };
        for edit in decode_edits(bytes, name)? {
            version.apply(&edit);
        }
        Ok(version)
    }

    /// Writes the first version log of a folder.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Full`].
    pub(crate) fn install(&self, storage: &dyn Storage) -> Result<()> {
        let io = |e: std::io::Error| Error::io("making the folder of version logs", &e);
        storage.create_dir(files::VERSIONS).map_err(io)?;
        write_snapshot(storage, 1, self).map(|_| ())
    }

    /// The whole version as one edit.
    fn as_edit(&self) -> Edit {
        let (next_part, log_first) = (self.next_part, self.log_first);
        let mut edit = Edit { next_part, log_first, ..Edit::default() };
        for (table, files) in &self.tables {
            edit.add.extend(files.parts.values().cloned());
            edit.flushed.push((*table, files.flushed));
            edit.series.extend(files.series.iter().map(|(f, t, b)| (*table, *f, *t, *b)));
            edit.last.extend(files.last.map(|id| (*table, id)));
            edit.hide.extend(files.tombstones.values().map(|t| (*table, Arc::clone(t))));
            edit.cuts.extend(files.cut.map(|cut| (*table, Some(cut))));
            for (id, blocks) in &files.bad {
                edit.bad.extend(blocks.iter().map(|block| (*table, *id, block.clone())));
            }
            edit.scarred.extend(files.scarred.then_some(*table));
        }
        edit.dead.extend(self.dead.iter().map(|(object, since)| (object.clone(), *since)));
        edit
    }
}

fn names(table: TableId, files: &TableFiles) -> Vec<String> {
    let mut names: Vec<String> = files.parts.values().map(PartEntry::file).collect();
    names.extend(files.series.iter().map(|(from, to, _)| files::series(table, *from, *to)));
    names.extend(files.last.map(|id| files::last(table, id)));
    names
}

impl PartEntry {
    /// Path of the local file: the part, or the index of one that is archived.
    pub fn file(&self) -> String {
        match self.object {
            None => files::part(self.table, self.id),
            Some(_) => files::index(self.table, self.id),
        }
    }

    /// The time that the part is confined to, or else that of its rows.
    pub fn span(&self) -> TimeRange {
        self.partition.unwrap_or(self.times)
    }
}

/// The open edit log.
#[derive(Debug)]
pub struct VersionLog {
    storage: Arc<dyn Storage>,
    file: Arc<dyn File>,
    number: u64,
    end: u64,
    /// Length at which the next snapshot is written.
    end_max: u64,
    failed: bool,
    /// The version that the log says.
    pub version: Version,
}

/// The version as a folder has it, and the numbers of the version logs there.
#[derive(Debug, Default)]
pub struct FoundVersion {
    /// The version of the newest log; empty without one.
    pub version: Version,
    numbers: Vec<u64>,
}

impl FoundVersion {
    /// Reads the newest version log and changes nothing.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if an edit is damaged and others follow it.
    pub fn read(storage: &dyn Storage) -> Result<FoundVersion> {
        let io = |e: std::io::Error| Error::io("opening the version log", &e);
        let names = storage.list(files::VERSIONS).map_err(io)?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|n| files::version_number(n)).collect();
        numbers.sort_unstable();
        let mut version = Version { next_part: 1, ..Version::default() };
        if let Some(newest) = numbers.last() {
            let file = storage.open(&files::version(*newest)).map_err(io)?;
            for edit in read_edits(&file, &files::version(*newest))? {
                version.apply(&edit);
            }
        }
        Ok(FoundVersion { version, numbers })
    }
}

impl VersionLog {
    /// Begins a new version log with a snapshot of what was found: the tail that a crash may have
    /// torn is never appended to. Then the old logs go.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Full`].
    pub fn begin(storage: Arc<dyn Storage>, found: FoundVersion) -> Result<VersionLog> {
        let io = |e: std::io::Error| Error::io("beginning a version log", &e);
        let FoundVersion { version, numbers } = found;
        storage.create_dir(files::VERSIONS).map_err(io)?;
        for name in storage.list(files::VERSIONS).map_err(io)? {
            if name.ends_with(files::UNFINISHED) {
                storage.remove(&format!("{}/{name}", files::VERSIONS)).map_err(io)?;
            }
        }
        let number = numbers.last().copied().unwrap_or(0) + 1;
        let (file, end) = write_snapshot(&*storage, number, &version)?;
        for old in numbers {
            storage.remove(&files::version(old)).map_err(io)?;
        }
        let end_max = end_max(end);
        Ok(VersionLog { storage, file, number, end, end_max, failed: false, version })
    }

    /// Makes an edit durable and takes it in. Returns the files that are no longer named; they
    /// may be removed once no reader holds them.
    ///
    /// # Errors
    /// [`Error::Full`] without room: the edit is not on disk and can be tried again.
    /// [`Error::Io`]; whether the edit is on disk is then unknown, and every later one is refused
    /// with [`Error::ReadOnly`].
    pub fn append(&mut self, edit: &Edit) -> Result<Vec<String>> {
        if self.failed {
            return Err(Error::ReadOnly("the version log has failed before".into()));
        }
        let dies = |part: &PartEntry| part.object.is_some();
        let removed = edit.remove.iter().filter_map(|(table, id)| {
            self.version.tables.get(table).and_then(|files| files.parts.get(id))
        });
        let dropped = edit.drop.iter().filter_map(|table| self.version.tables.get(table));
        let kills = removed.chain(dropped.flat_map(|files| files.parts.values())).any(dies);
        let done = match kills && edit.time == 0 {
            true => self.write(&Edit { time: super::life::now(), ..edit.clone() }),
            false => self.write(edit),
        };
        self.failed = matches!(&done, Err(error) if !matches!(error, Error::Full(_)));
        done
    }

    fn write(&mut self, edit: &Edit) -> Result<Vec<String>> {
        let bytes = frame(&edit.encode());
        let written = self.file.write_at(self.end, &bytes).and_then(|()| self.file.sync_data());
        match written.map_err(|e| Error::io("writing the version log", &e)) {
            Err(full @ Error::Full(_)) => return Err(self.take_back(full)),
            written => written?,
        }
        self.end += bytes.len() as u64;
        let gone = self.version.apply(edit);
        if self.end > self.end_max {
            match self.snapshot() {
                // The edits stand where they are; the snapshot has time.
                Err(Error::Full(_)) => self.end_max = self.end + EDITS_BYTES_MAX / 4,
                done => done?,
            }
        }
        Ok(gone)
    }

    /// Cuts off what there was no room for, durably: no later start may find it. Gives what to
    /// answer.
    fn take_back(&self, full: Error) -> Error {
        match self.file.set_len(self.end).and_then(|()| self.file.sync_data()) {
            Ok(()) => full,
            Err(error) => {
                Error::Io(format!("{full}, and the edit could not be taken back: {error}"))
            }
        }
    }

    /// Goes over to a new file that begins with the version as it is.
    ///
    /// # Errors
    /// [`Error::Full`] without room, when nothing has changed; [`Error::Io`].
    fn snapshot(&mut self) -> Result<()> {
        let (file, end) = write_snapshot(&*self.storage, self.number + 1, &self.version)?;
        let old = files::version(self.number);
        (self.file, self.end, self.number) = (file, end, self.number + 1);
        self.end_max = end_max(end);
        let removed = self.storage.remove(&old);
        removed.map_err(|e| Error::io("removing the old version log", &e).lasting())
    }
}

/// How long a log may grow behind a snapshot: a large version must not be written anew each time.
fn end_max(snapshot_bytes: u64) -> u64 {
    EDITS_BYTES_MAX.max(2 * snapshot_bytes)
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 8);
    put_bytes(&mut out, payload);
    out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
    out
}

fn write_snapshot(
    storage: &dyn Storage,
    number: u64,
    version: &Version,
) -> Result<(Arc<dyn File>, u64)> {
    let io = |e: std::io::Error| Error::io("writing a version snapshot", &e);
    let name = files::version(number);
    let unfinished = format!("{name}{}", files::UNFINISHED);
    let bytes = version.snapshot_bytes();
    let written = storage.create(&unfinished).and_then(|file| {
        file.write_at(0, &bytes)?;
        file.sync_data()
    });
    if let Err(error) = written {
        // It names nothing yet, and must not stand in the way of the next one.
        let _ = storage.remove(&unfinished);
        return Err(io(error));
    }
    // From here on the newest file may be this one: it is, or nobody knows.
    let io = |e: std::io::Error| io(e).lasting();
    storage.rename(&unfinished, &name).map_err(io)?;
    storage.sync_dir(files::VERSIONS).map_err(io)?;
    let file = storage.open(&name).map_err(io)?;
    Ok((file, bytes.len() as u64))
}

/// Reads all edits of a version log; the first is the snapshot. A damaged last edit that no edit
/// follows was never durable and is left out.
///
/// # Errors
/// [`Error::Corrupt`] for damage anywhere else.
pub fn read_edits(file: &Arc<dyn File>, name: &str) -> Result<Vec<Edit>> {
    let len = file.len().map_err(|e| Error::io(format_args!("reading {name}"), &e))?;
    let mut bytes = vec![0; len as usize];
    file.read_at(0, &mut bytes).map_err(|e| Error::io(format_args!("reading {name}"), &e))?;
    decode_edits(&bytes, name)
}

fn decode_edits(bytes: &[u8], name: &str) -> Result<Vec<Edit>> {
    let (format, body) = match bytes.strip_prefix(MAGIC.as_slice()) {
        Some([format @ 1..=FORMAT, body @ ..]) => (*format, body),
        _ => return Err(Error::corrupt(name, 0, "not a version log of a format known here")),
    };
    let start = MAGIC.len() + 1;
    let mut edits = Vec::new();
    let mut at = 0;
    while at < body.len() {
        let Some((payload, next)) = read_frame(body, at) else {
            let follows = (at + 1..body.len()).any(|later| read_frame(body, later).is_some());
            if edits.is_empty() || follows {
                let offset = (at + start) as u64;
                return Err(Error::corrupt(name, offset, "an edit is damaged"));
            }
            break;
        };
        edits.push(Edit::decode(payload, format)?);
        at = next;
    }
    if edits.is_empty() {
        return Err(Error::corrupt(name, start as u64, "the snapshot is missing"));
    }
    Ok(edits)
}

/// The payload of the frame at `at` and where the next one starts, if its checksum holds.
fn read_frame(body: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let len = body.get(at..at + 4)?;
    let len = u32::from_le_bytes(len.try_into().ok()?) as usize;
    if len > EDIT_BYTES_MAX {
        return None;
    }
    let framed = body.get(at..at + 4 + len)?;
    let stored = body.get(at + 4 + len..at + 8 + len)?;
    let stored = u32::from_le_bytes(stored.try_into().ok()?);
    checksum::fits(crc32fast::hash(framed), stored).then_some((&framed[4..], at + 8 + len))
}
