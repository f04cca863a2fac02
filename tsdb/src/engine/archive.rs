//! The archive: closed parts move to an object store and come back, dead objects are deleted.
//!
//! Order of things. Away: upload, read back and compare, index file here, edit, then the local
//! file goes with its last reader. Back: room on the disk, download, verify, edit. An object dies
//! by the edit that takes its part out; it is deleted once it has been dead for the grace, and
//! only then an edit forgets it. Objects that a crash left unnamed are made dead by an edit first.
//!
//! A hot part that overlaps an archived one in time is newer than it: only such parts are moved,
//! newest parts come back first, and merges keep to it (`plan::apart`).

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

use crate::backup::lineage;
use crate::error::{Error, Result};
use crate::io::File;
use crate::scan::PartHandle;
use crate::tier::Objects;
use crate::types::{TableId, TimeRange};

use super::core::{Core, sort_parts};
use super::files;
use super::groups::{Groups, KeyGroup};
use super::life::now;
use super::outputs::Outputs;
use super::plan;
use super::scrub;
use super::state::TableState;
use super::version::{Edit, ObjectRef, PartEntry};

/// Bytes copied or compared at once.
const COPY_BYTES: usize = 1 << 20;
/// Tombstones that only archived parts need, from which on such a part comes back to be merged.
const TOMBSTONES_MANY: usize = if cfg!(test) { 8 } else { 1024 };
/// How long it stays for that, ns.
const RELIEF_NS: i64 = 3_600_000_000_000;

/// Names of objects of parts whose upload has failed, by part.
pub(crate) type Names = HashMap<u64, String>;

/// The store that a table's parts move to; `None` if it archives nothing.
fn store_of(core: &Core, table: &TableState) -> Option<String> {
    let options = &table.schema.options;
    options.archive_after_ns?;
    options.archive.clone().or_else(|| core.options.archive_url.clone())
}

/// The parts that may move now, oldest first.
pub(crate) fn due(
    parts: &[Arc<PartHandle>],
    groups: &Groups,
    before: i64,
    now: i64,
) -> Vec<Arc<PartHandle>> {
    let ripe = |part: &&Arc<PartHandle>| {
        let entry = &part.entry;
        let old = entry.level >= 2 && entry.span().max < before && entry.hot_until <= now;
        let under = |other: &Arc<PartHandle>| {
            let overlaps = plan::overlap(&other.entry, entry, groups);
            other.entry.id != entry.id
                && other.entry.object.is_none()
                && overlaps
                && other.entry.positions.0 <= entry.positions.1
        };
        entry.object.is_none() && old && !part.is_bad() && !parts.iter().any(under)
    };
    let mut due: Vec<Arc<PartHandle>> = parts.iter().filter(ripe).cloned().collect();
    due.sort_by_key(|part| part.entry.span().min);
    due
}

/// Moves what is due of a table; returns how many parts moved. A failure of the store ends it
/// until the next time.
///
/// # Errors
/// [`Error::Unavailable`] and others of the store or a damaged part: nothing has changed then.
pub(crate) fn archive_table(core: &Core, names: &mut Names, id: TableId, now: i64) -> Result<u64> {
    let mut moved = 0;
    loop {
        core.check_writable()?;
        let state = core.state.load();
        let Some(table) = state.tables.get(&id) else { return Ok(moved) };
        let Some(url) = store_of(core, table) else { return Ok(moved) };
        let age = table.schema.options.archive_after_ns.unwrap_or(i64::MAX);
        let due = due(&table.parts, &table.groups, now.saturating_sub(age), now);
        let Some(part) = due.into_iter().next() else { return Ok(moved) };
        drop(state);
        // What leaves is sound: the copy here goes, and with it what could repair the object.
        scrub::check(core, &part, &mut |_| true)?;
        if part.is_bad() {
            continue;
        }
        let object = upload(core, names, &url, &part.entry)?;
        let installed = install_archived(core, &part, object)?;
        names.remove(&part.entry.id);
        moved += u64::from(installed);
    }
}

/// Copies a part's stored bytes to the store and compares what comes back.
fn upload(core: &Core, names: &mut Names, url: &str, entry: &PartEntry) -> Result<ObjectRef> {
    let store = core.places.store(url)?;
    let path = files::part(entry.table, entry.id);
    let local = |e: io::Error| Error::io(format_args!("reading {path}"), &e);
    let mut file = core.places.stored().open(&path).map_err(local)?;
    let bytes = file.len().map_err(local)?;
    let object = free_name(core, names, url, entry, bytes)?;
    let failed = |e: io::Error| Error::Unavailable(format!("object {object} cannot be made: {e}"));
    store.put(&object.name, &mut file).map_err(failed)?;
    let size = store.size(&object.name).map_err(failed)?;
    if size != bytes || !is_same(&*store, &object, &file).map_err(failed)? {
        let why = format!("object {object} is not what was written to it");
        return Err(Error::Unavailable(why));
    }
    Ok(object)
}

/// Objects of this database begin so; others are not deleted. A database that was restored has a
/// lineage of its own: what it came from may be at work still, with the same number and objects.
fn prefix(core: &Core) -> Result<String> {
    Ok(format!("{}/archive/", lineage(core)?))
}

/// An object that the version does not know, alive or dead: the one of the last attempt if there
/// was one, so that a store that takes objects but does not give them back is not filled.
fn free_name(
    core: &Core,
    names: &mut Names,
    url: &str,
    entry: &PartEntry,
    bytes: u64,
) -> Result<ObjectRef> {
    let prefix = prefix(core)?;
    loop {
        let name = names.entry(entry.id).or_insert_with(|| {
            let serial = core.take_part_numbers(1);
            format!("{prefix}{:08}-{:016}-{serial:016}.part", entry.table, entry.id)
        });
        let object = ObjectRef { store: url.to_owned(), name: name.clone(), bytes };
        let taken = {
            let version = &core.version.lock().version;
            version.dead.contains_key(&object) || version.objects().any(|other| *other == object)
        };
        if !taken {
            return Ok(object);
        }
        names.remove(&entry.id);
    }
}

fn is_same(store: &dyn Objects, object: &ObjectRef, file: &Arc<dyn File>) -> io::Result<bool> {
    let mut offset = 0;
    let mut buf = vec![0; COPY_BYTES.min(usize::try_from(object.bytes).unwrap_or(COPY_BYTES))];
    while offset < object.bytes {
        let len = (object.bytes - offset).min(buf.len() as u64);
        let piece = &mut buf[..len as usize];
        file.read_at(offset, piece)?;
        if store.get(&object.name, offset..offset + len)? != piece {
            return Ok(false);
        }
        offset += len;
    }
    Ok(true)
}

/// Puts the object in the place of the file; false if the part has gone meanwhile, and with it the
/// need for the object.
fn install_archived(core: &Core, part: &Arc<PartHandle>, object: ObjectRef) -> Result<bool> {
    let _guard = core.merging.lock();
    core.check_writable()?;
    let entry = PartEntry { object: Some(object.clone()), ..part.entry.clone() };
    let (table, id) = (entry.table, entry.id);
    if !is_there(core, &part.entry) {
        let edit = Edit { dead: vec![(object, now())], ..Edit::default() };
        core.edit(&edit)?;
        return Ok(false);
    }
    let mut outputs = Outputs::new(core);
    outputs.add(entry.file());
    write_index(core, &entry)?;
    let handle = core.places.open(entry.clone())?;
    handle.know(part.members());
    let groups = groups_of(core, &entry);
    let edit = Edit { remove: vec![(table, id)], add: vec![entry], groups, ..Edit::default() };
    outputs.name(&edit)?;
    swap(core, id, handle)?;
    part.retire();
    Ok(true)
}

/// The key group of a part, to be named with it: a drop of its table may come in between and take
/// the table's groups along.
fn groups_of(core: &Core, entry: &PartEntry) -> Vec<(TableId, u32, KeyGroup)> {
    let state = core.state.load();
    let group = state.tables.get(&entry.table).and_then(|table| table.groups.get(entry.group));
    group.into_iter().map(|group| (entry.table, entry.group, group.clone())).collect()
}

/// Whether the part is still the one that the newest state has.
fn is_there(core: &Core, entry: &PartEntry) -> bool {
    let state = core.state.load();
    let table = state.tables.get(&entry.table);
    table.is_some_and(|table| table.parts.iter().any(|part| part.entry == *entry))
}

/// Writes the index of a part that is about to be archived.
fn write_index(core: &Core, entry: &PartEntry) -> Result<()> {
    let path = entry.file();
    let io = |e: io::Error| Error::io(format_args!("writing {path}"), &e);
    let part = files::part(entry.table, entry.id);
    let stored = core.places.stored().open(&part).map_err(io)?;
    let bytes = core.places.index_of(&stored, &part)?;
    if core.storage.exists(&path).map_err(io)? {
        core.storage.remove(&path).map_err(io)?;
    }
    let written = core.storage.create(&path).and_then(|file| {
        file.write_at(0, &bytes)?;
        file.sync_data()?;
        core.storage.sync_dir(files::PARTS)
    });
    written.map_err(io)
}

/// Publishes a handle in the place of part `old` of its table.
fn swap(core: &Core, old: u64, handle: Arc<PartHandle>) -> Result<()> {
    let id = handle.entry.table;
    let there = core.publish(|state| {
        let Some(table) = state.tables.get_mut(&id) else { return false };
        let table = Arc::make_mut(table);
        let mut parts = Vec::clone(&table.parts);
        parts.retain(|part| part.entry.id != old);
        parts.push(handle);
        sort_parts(&mut parts);
        table.parts = Arc::new(parts);
        true
    });
    if !there {
        // Dropped meanwhile: the edit has brought files of it back.
        super::committer::drop_files(core, &[id])?;
    }
    Ok(())
}

/// Brings archived parts with rows in `times` back.
///
/// # Errors
/// See [`crate::Db::restore`].
pub(crate) fn restore_table(
    core: &Core,
    id: TableId,
    times: TimeRange,
    hot_until: i64,
) -> Result<u64> {
    let _guard = core.tending.lock();
    let state = core.state.load();
    let Some(table) = state.tables.get(&id) else { return Err(super::catalog::no_table(id)) };
    let wanted: Vec<u64> = archived(table)
        .filter(|part| part.entry.times.overlaps(&times))
        .map(|part| part.entry.id)
        .collect();
    restore(core, table, wanted, hot_until)
}

fn archived(table: &TableState) -> impl Iterator<Item = &Arc<PartHandle>> {
    table.parts.iter().filter(|part| part.entry.object.is_some())
}

/// Brings parts back, and those above them, the newest first.
fn restore(core: &Core, table: &TableState, wanted: Vec<u64>, hot_until: i64) -> Result<u64> {
    let mut all: Vec<&Arc<PartHandle>> = archived(table).collect();
    all.sort_by_key(|part| part.entry.positions);
    let mut chosen: Vec<&Arc<PartHandle>> = Vec::new();
    for part in all {
        // A part that stays in the archive above one that comes back would be older than it.
        let above =
            |below: &&Arc<PartHandle>| plan::overlap(&below.entry, &part.entry, &table.groups);
        if wanted.contains(&part.entry.id) || chosen.iter().any(above) {
            chosen.push(part);
        }
    }
    let mut restored = 0;
    for part in chosen.into_iter().rev() {
        core.check_writable()?;
        restored += u64::from(restore_part(core, part, hot_until)?);
    }
    core.wake.merge();
    Ok(restored)
}

fn restore_part(core: &Core, part: &PartHandle, hot_until: i64) -> Result<bool> {
    let entry = &part.entry;
    let Some(object) = &entry.object else { return Ok(false) };
    let (free, reserve) = core.room();
    if free < object.bytes.saturating_add(reserve) {
        return Err(Error::Full(format!(
            "object {object} has {} bytes, the disk {free}, of which {reserve} stay free",
            object.bytes
        )));
    }
    // A new number: readers of the part as it was archived from may still hold its old file.
    let id = core.take_part_numbers(1);
    let path = files::part(entry.table, id);
    let restored = PartEntry { id, object: None, hot_until, ..entry.clone() };
    let mut outputs = Outputs::new(core);
    outputs.add(path.clone());
    download(core, object, &path)?;
    let handle = core.places.open(restored.clone())?;
    handle.know(part.members());
    handle.part.verify()?;
    let _guard = core.merging.lock();
    core.check_writable()?;
    if !is_there(core, entry) {
        return Ok(false);
    }
    let remove = vec![(entry.table, entry.id)];
    let groups = groups_of(core, &restored);
    let edit = Edit { remove, add: vec![restored], groups, time: now(), ..Edit::default() };
    outputs.name(&edit)?;
    swap(core, entry.id, handle)?;
    Ok(true)
}

/// Writes an object's bytes to a file, durable on return.
fn download(core: &Core, object: &ObjectRef, path: &str) -> Result<()> {
    let store = core.places.store(&object.store)?;
    let storage = core.places.stored();
    let io = |e: io::Error| Error::io(format_args!("writing {path}"), &e);
    let gone = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => {
            Error::Corrupt(format!("object {object} is missing or too short"))
        }
        _ => Error::Unavailable(format!("object {object} cannot be read: {e}")),
    };
    if storage.exists(path).map_err(io)? {
        storage.remove(path).map_err(io)?;
    }
    let file = storage.create(path).map_err(io)?;
    let mut offset = 0;
    while offset < object.bytes {
        let end = (offset + COPY_BYTES as u64).min(object.bytes);
        let bytes = store.get(&object.name, offset..end).map_err(gone)?;
        file.write_at(offset, &bytes).map_err(io)?;
        offset = end;
    }
    file.sync_data().map_err(io)?;
    storage.sync_dir(files::PARTS).map_err(io)
}

/// Brings a part back, to be merged, where deletes of archived rows have become many.
///
/// # Errors
/// As [`restore_table`].
pub(crate) fn relieve(core: &Core, id: TableId, now: i64) -> Result<u64> {
    let state = core.state.load();
    let Some(table) = state.tables.get(&id) else { return Ok(0) };
    let hot = table.parts.iter().filter(|part| part.entry.object.is_none());
    if table.unneeded(table.flushed, hot).len() < TOMBSTONES_MANY {
        return Ok(0);
    }
    let hidden = archived(table).find(|part| table.hides(part).is_some());
    let wanted: Vec<u64> = hidden.map(|part| part.entry.id).into_iter().collect();
    restore(core, table, wanted, now.saturating_add(RELIEF_NS))
}

/// Makes objects dead that no edit has named: what a crash or a failed upload left.
///
/// # Errors
/// What the stores and the version log give.
pub(crate) fn sweep(core: &Core, now: i64) -> Result<()> {
    let (known, mut urls): (BTreeSet<ObjectRef>, BTreeSet<String>) = {
        let version = &core.version.lock().version;
        let known: BTreeSet<ObjectRef> =
            version.objects().chain(version.dead.keys()).cloned().collect();
        let urls = known.iter().map(|object| object.store.clone()).collect();
        (known, urls)
    };
    let prefix = prefix(core)?;
    let state = core.state.load();
    urls.extend(state.tables.values().filter_map(|table| store_of(core, table)));
    let mut dead = Vec::new();
    for url in urls {
        let failed = |e| Error::Unavailable(format!("object store {url} cannot be listed: {e}"));
        let found = core.places.store(&url)?.list(&prefix).map_err(failed)?;
        for (name, bytes) in found {
            let known = known.iter().any(|object| object.store == url && object.name == name);
            if !known {
                dead.push((ObjectRef { store: url.clone(), name, bytes }, now));
            }
        }
    }
    if dead.is_empty() {
        return Ok(());
    }
    core.edit(&Edit { dead, ..Edit::default() })
}

/// Deletes objects that have been dead for the grace; returns how many.
///
/// # Errors
/// What the stores and the version log give.
pub(crate) fn collect(core: &Core, now: i64) -> Result<u64> {
    // A backup names objects, it does not copy them.
    let kept = core.options.backup_policy.as_ref().map_or(0, |policy| policy.keep_seconds);
    let grace = core.options.archive_grace_seconds.max(kept);
    let grace = i64::try_from(grace).unwrap_or(i64::MAX);
    let prefix = prefix(core)?;
    let before = now.saturating_sub(grace.saturating_mul(1_000_000_000));
    let dead: Vec<ObjectRef> = {
        let version = &core.version.lock().version;
        let old = version.dead.iter().filter(|(_, since)| **since <= before);
        old.map(|(object, _)| object.clone()).collect()
    };
    let mut collected = Vec::new();
    let mut failure = None;
    for object in dead {
        // Those of another database, from which this one was copied, are not ours to delete.
        if object.name.starts_with(&prefix) {
            let deleted = core.places.store(&object.store).and_then(|store| {
                let failed =
                    |e| Error::Unavailable(format!("object {object} cannot be deleted: {e}"));
                store.delete(&object.name).map_err(failed)
            });
            if let Err(error) = deleted {
                failure.get_or_insert(error);
                continue;
            }
        }
        collected.push(object);
    }
    let count = collected.len() as u64;
    if count > 0 {
        core.edit(&Edit { collected, ..Edit::default() })?;
    }
    failure.map_or(Ok(count), Err)
}
