//! Flush: from head runs to a part, and the log cut behind it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::deletes::Tombstone;
use crate::error::{Error, Result};
use crate::head::{LastRows, RunData};
use crate::log::Log;
use crate::part::{Level, PartSpec, PartWriter};
use crate::scan::Source;
use crate::series::Bitmap;
use crate::types::{Rows, TableId, TimeRange};

use super::core::{Core, doubt, each_batch, load_last, sort_parts, storage_columns};
use super::files;
use super::outputs::Outputs;
use super::state::{State, TableState};
use super::version::{Edit, PartEntry};

/// Deletes of a table that force a flush: all of them stay in memory until then.
const DELETES_MANY: usize = if cfg!(test) { 12 } else { 1024 };

/// Whether some table should be flushed, after one with a head of `head_bytes` was written to.
pub(crate) fn is_due(core: &Core, head_bytes: u64) -> bool {
    let options = &core.options;
    head_bytes >= options.head_bytes_max
        || core.state.load().head_bytes >= options.heads_bytes_max / 2
        || is_log_long(core)
}

/// Whether a table with so many tombstones above its flush position should be flushed.
pub(crate) fn is_due_for_deletes(tombstones: usize) -> bool {
    tombstones >= DELETES_MANY
}

/// The tables to flush now, the most urgent first.
pub(crate) fn due(core: &Core) -> Vec<TableId> {
    let state = core.state.load();
    let options = &core.options;
    let heads: Vec<(TableId, u64, u64)> = state
        .tables
        .iter()
        .filter_map(|(id, table)| Some((*id, table.head.memory(), table.pending?.0)))
        .collect();
    let mut due: Vec<TableId> = heads
        .iter()
        .filter(|(_, bytes, _)| *bytes >= options.head_bytes_max)
        .map(|(id, ..)| *id)
        .collect();
    if due.is_empty() {
        let many = |table: &TableState| is_due_for_deletes(table.tombstones_pending());
        due.extend(state.tables.iter().find(|(_, table)| many(table)).map(|(id, _)| *id));
    }
    if due.is_empty() && state.head_bytes >= options.heads_bytes_max / 2 {
        due.extend(heads.iter().max_by_key(|(_, bytes, _)| *bytes).map(|(id, ..)| *id));
    }
    if due.is_empty() && is_log_long(core) {
        // What holds the oldest records keeps the log long.
        due.extend(heads.iter().min_by_key(|(_, _, oldest)| *oldest).map(|(id, ..)| *id));
    }
    due
}

/// Whether the log is so long that flushing should make it shorter: what a backup or the archiver
/// holds would stay.
fn is_log_long(core: &Core) -> bool {
    let most = match core.is_short_of_room() {
        // Flushed, most of it can go.
        true => core.options.log_bytes_max.min(core.options.log_segment_bytes_max),
        false => core.options.log_bytes_max,
    };
    let bytes_from = |index| core.log.lock().as_ref().map_or(0, |log| log.bytes_from(index));
    if bytes_from(0) < most {
        return false;
    }
    if core.holds.log_first().min(core.archive.log_first()) == u64::MAX {
        return true;
    }
    let state = core.state.load();
    let pending = state.tables.values().filter_map(|table| Some(table.pending?.0)).min();
    pending.is_some_and(|pending| bytes_from(pending) >= most)
}

/// Flushes the table's head up to now and cuts the log. Nothing happens where nothing was
/// written or deleted since the last flush.
///
/// # Errors
/// [`Error::Full`] without room: nothing has changed, and it can be tried again. What writing
/// gives; the database must then turn read-only.
pub(crate) fn flush(core: &Core, id: TableId) -> Result<()> {
    let _guard = core.flushing.lock();
    core.check_writable()?;
    let Some((table, position)) = freeze(core, id) else { return Ok(()) };
    // The part's number and, behind it, that of its last-row part.
    let part_id = core.take_part_numbers(2);
    let mut outputs = Outputs::new(core);
    let mut last = LastRows::default();
    let mut left_out = false;
    // What was deleted since the last flush: the old last rows do not know of it.
    let fresh: Vec<Arc<Tombstone>> =
        table.tombstones.iter().filter(|t| t.position > table.flushed).cloned().collect();
    let (old_last, cut) = {
        let version = core.version.lock();
        let files = version.version.tables.get(&id);
        (files.and_then(|files| files.last), files.and_then(|files| files.cut))
    };
    if let Some(old) = old_last
        && let Err(error) = load_last(&core.storage, &table.schema, old, &mut last)
    {
        // A table dropped meanwhile has taken the file with it.
        if !core.state.load().tables.contains_key(&id) {
            return Ok(());
        }
        if !matches!(error, Error::Corrupt(_) | Error::Io(_)) {
            return Err(error);
        }
        // Writers must not wait for it: what it lacks is looked up when somebody asks.
        tracing::warn!(%error, "the old last rows are damaged");
        left_out = true;
    }
    if left_out || table.doubts_last() {
        doubt(&mut last, table.series_stored, &table.parts);
    }
    fresh.iter().for_each(|tombstone| last.delete(&tombstone.selections, tombstone.position));
    outputs.add(files::part(id, part_id));
    let entry = write_part(core, &table, position, part_id, &mut last)?;
    last.leave_doubted();
    if let Some((stale, bound)) = last.stale(&Bitmap::from_range(0..table.series_count)) {
        match table.newest_rows(&stale, bound) {
            Ok(rows) => last.fill(&stale, &rows, u64::MAX),
            // Left out, they are in doubt from the next start on; writers must not wait for it.
            Err(error @ (Error::Unavailable(_) | Error::Corrupt(_))) => {
                tracing::warn!(%error, "last rows of some series are left to be looked up");
                left_out = true;
            }
            Err(error) => return Err(error),
        }
    }
    let last_id = part_id + 1;
    outputs.add(files::last(id, last_id));
    write_last(core, &table, last_id, position, &last)?;
    if table.series_stored < table.series_count {
        outputs.add(files::series(id, table.series_stored, table.series_count));
    }
    let series = write_series(core, &table)?;
    sync_folders(core)?;
    let edit = Edit {
        add: entry.iter().cloned().collect(),
        flushed: vec![(id, position)],
        last: vec![(id, last_id)],
        series: series.into_iter().map(|(from, to, bytes)| (id, from, to, bytes)).collect(),
        scarred: (left_out && !table.scarred).then_some(id).into_iter().collect(),
        cuts: (cut != table.cut).then_some((id, table.cut)).into_iter().collect(),
        ..Edit::default()
    };
    install(core, outputs, id, position, entry, edit, &fresh)?;
    core.counters.flushes.fetch_add(1, Ordering::Relaxed);
    core.room.1.notify_all();
    core.wake.merge();
    cut_log(core)
}

/// Writes the rows of the head as a part; none where nothing is left to write.
fn write_part(
    core: &Core,
    table: &TableState,
    position: u64,
    part_id: u64,
    last: &mut LastRows,
) -> Result<Option<PartEntry>> {
    let runs = table.head.until(position);
    if runs.is_empty() {
        return Ok(None);
    }
    let id = table.schema.id;
    let sources: Vec<Source> = runs.iter().map(|run| Source::Run(Arc::clone(run), None)).collect();
    let oldest = runs.iter().map(|run| *run.positions.start()).min().unwrap_or(position);
    let spec = PartSpec {
        id: part_id,
        table: id,
        level: Level::Light,
        positions: oldest..=position,
        partition: None,
        columns: storage_columns(&table.schema),
    };
    let mut writer = PartWriter::create(&*core.storage, &files::part(id, part_id), spec)?;
    let mode = table.schema.options.merge;
    each_batch(&sources, &table.schema, None, TimeRange::ALL, |rows| {
        writer.append(&rows)?;
        let Rows { series, times, columns } = rows;
        last.update(&series, &RunData { times, columns }, mode, position);
        Ok(())
    })?;
    let meta = writer.finish()?;
    core.counters.flush_bytes.fetch_add(meta.bytes, Ordering::Relaxed);
    Ok(Some(PartEntry {
        id: part_id,
        table: id,
        level: 0,
        positions: (oldest, position),
        partition: None,
        rows: meta.rows,
        times: meta.times,
        bytes: meta.bytes,
        // The head was rid of what these deletes hide.
        deletes_applied: position,
        object: None,
        hot_until: 0,
        group: 0,
    }))
}

/// Marks everything up to the newest position as being flushed.
fn freeze(core: &Core, id: TableId) -> Option<(TableState, u64)> {
    core.publish(|state: &mut State| {
        let position = state.position;
        let table = state.tables.get_mut(&id)?;
        table.pending?;
        Arc::make_mut(table).frozen = position;
        Some((TableState::clone(table), position))
    })
}

/// Writes the last rows of all series as a part of their own.
fn write_last(
    core: &Core,
    table: &TableState,
    id: u64,
    position: u64,
    last: &LastRows,
) -> Result<()> {
    let columns = storage_columns(&table.schema);
    let spec = PartSpec {
        id,
        table: table.schema.id,
        level: Level::Light,
        positions: 0..=position,
        partition: None,
        columns: columns.clone(),
    };
    let path = files::last(table.schema.id, id);
    let mut writer = PartWriter::create(&*core.storage, &path, spec)?;
    let all = Bitmap::from_range(0..table.series_count);
    let mut series = all.iter().peekable();
    while series.peek().is_some() {
        let rows = last.rows(series.by_ref().take(65_536), &columns);
        if !rows.is_empty() {
            writer.append(&rows)?;
        }
    }
    let meta = writer.finish()?;
    core.counters.last_bytes.fetch_add(meta.bytes, Ordering::Relaxed);
    Ok(())
}

/// Writes the series that no file holds yet.
fn write_series(core: &Core, table: &TableState) -> Result<Option<(u32, u32, u64)>> {
    let (from, to) = (table.series_stored, table.series_count);
    if from == to {
        return Ok(None);
    }
    let path = files::series(table.schema.id, from, to);
    let io = |e: std::io::Error| Error::io(format_args!("writing {path}"), &e);
    let bytes = table.series.encode_range(from, to);
    if core.storage.exists(&path).map_err(io)? {
        core.storage.remove(&path).map_err(io)?;
    }
    let file = core.storage.create(&path).map_err(io)?;
    file.write_at(0, &bytes).map_err(io)?;
    file.sync_data().map_err(io)?;
    Ok(Some((from, to, bytes.len() as u64)))
}

fn sync_folders(core: &Core) -> Result<()> {
    for folder in [files::PARTS, files::SERIES] {
        core.storage
            .sync_dir(folder)
            .map_err(|e| Error::io(format_args!("syncing folder {folder}"), &e).lasting())?;
    }
    Ok(())
}

fn install(
    core: &Core,
    outputs: Outputs<'_>,
    id: TableId,
    position: u64,
    entry: Option<PartEntry>,
    mut edit: Edit,
    fresh: &[Arc<Tombstone>],
) -> Result<()> {
    let mut handles = Vec::new();
    if let Some(entry) = entry {
        handles.push(core.places.open(entry)?);
    }
    let clearing = core.clearing.lock();
    // Deletes come into the version with the flush position, if parts still need them. A merge
    // meanwhile leaves fewer parts that do.
    let unneeded = match core.state.load().tables.get(&id) {
        Some(table) => table.unneeded(position, table.parts.iter()),
        None => Vec::new(),
    };
    let needed = |tombstone: &&Arc<Tombstone>| !unneeded.contains(&tombstone.position);
    edit.hide.extend(fresh.iter().filter(needed).map(|t| (id, Arc::clone(t))));
    let is_fresh = |position: &u64| fresh.iter().any(|t| t.position == *position);
    edit.clear.extend(unneeded.iter().filter(|p| !is_fresh(p)).map(|p| (id, *p)));
    outputs.name(&edit)?;
    let there = core.publish(|state| {
        let Some(table) = state.tables.get_mut(&id) else { return false };
        let table = Arc::make_mut(table);
        let before = table.head.memory();
        table.head = table.head.without(position);
        state.head_bytes -= before - table.head.memory();
        table.flushed = position;
        table.scarred |= !edit.scarred.is_empty();
        table.bad_last = None;
        // What came behind it is not known one by one, only that it came.
        table.pending = match table.pending {
            Some((_, newest)) if newest > position => Some((position + 1, newest)),
            _ => None,
        };
        table.clear(&unneeded);
        let mut parts = Vec::clone(&table.parts);
        parts.extend(handles);
        sort_parts(&mut parts);
        table.parts = Arc::new(parts);
        for (_, _, to, bytes) in &edit.series {
            table.series_stored = *to;
            table.series_bytes += bytes;
        }
        true
    });
    drop(clearing);
    if !there {
        // Dropped while it was flushed: the edit has brought files of it back.
        super::committer::drop_files(core, &[id])?;
    }
    Ok(())
}

/// Checkpoints the row store and removes the log that nothing needs any more.
///
/// # Errors
/// As [`flush`].
pub(crate) fn shorten_log(core: &Core) -> Result<()> {
    let _guard = core.flushing.lock();
    core.check_writable()?;
    // Whoever asks for it, an archiver too: a row store that has failed takes nothing any more.
    cut_log(core).inspect_err(|error| core.fail("cutting the log", error))
}

/// Removes the log behind what parts and row store hold.
fn cut_log(core: &Core) -> Result<()> {
    let (applied, oldest) = {
        let state = core.state.load();
        let oldest = state.tables.values().filter_map(|table| Some(table.pending?.0)).min();
        (state.position, oldest)
    };
    let durable = match core.has_room_for_rows() {
        true => core.rows.checkpoint()?,
        false => core.rows.durable_position(),
    };
    let before = oldest.unwrap_or(applied + 1).min(durable + 1).min(core.holds.log_first());
    let before = match core.log.lock().as_ref() {
        Some(log) => core.archive.bound(&log.segments(), before),
        None => return Ok(()),
    };
    // The segment that is written to always stays.
    let goes = |log: &Log| {
        let segments = log.segments();
        segments.len() > 1 && segments[0].last_index < before
    };
    if !core.log.lock().as_ref().is_some_and(goes) {
        return Ok(());
    }
    // First the version says so: one that does not know of the cut has lost edits.
    core.edit(&Edit { log_first: before, ..Edit::default() })?;
    let mut log = core.log.lock();
    let Some(log) = log.as_mut() else { return Ok(()) };
    log.purge_before(before)?;
    Ok(())
}
