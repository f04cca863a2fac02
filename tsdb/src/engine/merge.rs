//! Merge: several parts become one for each partition.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::deletes::Hides;
use crate::error::{Error, Result};
use crate::part::{Level, PartSpec, PartWriter};
use crate::scan::{PartHandle, Source};
use crate::types::{PhysicalType, TableId, TableSchema, TimeRange};

use super::core::{Core, each_batch, sort_parts, storage_columns};
use super::outputs::Outputs;
use super::plan::{self, Ageing, Histogram, Job, Situation};
use super::state::TableState;
use super::version::{Edit, PartEntry};

/// Runs the next merge of any table; false if there was nothing to do.
///
/// # Errors
/// What reading or writing gives.
pub(crate) fn merge_next(core: &Core) -> Result<bool> {
    let tables: Vec<TableId> = core.state.load().tables.keys().copied().collect();
    let mut full = None;
    for table in tables {
        match merge_table(core, table, plan::next) {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            // Smaller merges, and parts that go without one, must not wait for it.
            Err(error @ Error::Full(_)) => full = Some(error),
            Err(error) => return Err(error),
        }
    }
    full.map_or(Ok(false), Err)
}

/// Merges a table until every partition is one dense part.
///
/// # Errors
/// What reading or writing gives.
pub(crate) fn merge_full(core: &Core, table: TableId) -> Result<()> {
    while merge_table(core, table, plan::next_full)? {
        core.check_writable()?;
    }
    Ok(())
}

fn merge_table(
    core: &Core,
    id: TableId,
    plan: impl Fn(&Situation<'_>) -> Option<Job>,
) -> Result<bool> {
    let _guard = core.merging.lock();
    core.check_writable()?;
    let state = core.state.load_full();
    let Some(table) = state.tables.get(&id) else { return Ok(false) };
    if drop_covered(core, table)? {
        return Ok(true);
    }
    let newest = table.parts.iter().map(|p| p.entry.times.max).max().unwrap_or(i64::MIN);
    // What is archived stays as it is.
    let all = table.parts.iter().map(|part| part.entry.clone());
    let (mut archived, entries): (Vec<PartEntry>, Vec<PartEntry>) =
        all.partition(|entry| entry.object.is_some());
    let bad: Vec<u64> = table.parts.iter().filter(|p| p.is_bad()).map(|p| p.entry.id).collect();
    let (entries, held) = plan::free(entries, |entry| bad.contains(&entry.id));
    archived.extend(held);
    let partition_ns = table.schema.options.partition_ns;
    let fan_in = core.options.merge_fan_in;
    let hides = |part: &&Arc<PartHandle>| table.hides(part).is_some();
    let hidden: Vec<u64> = table.parts.iter().filter(hides).map(|p| p.entry.id).collect();
    let weighty = is_weighty(table);
    let ageing = Ageing::new(&table.schema.options, newest);
    let situation = Situation {
        parts: &entries,
        archived: &archived,
        partition_ns,
        newest,
        fan_in,
        hidden: &hidden,
        weighty,
        ageing,
    };
    let Some(job) = plan(&situation) else { return Ok(false) };
    let inputs: Vec<Input> = table
        .parts
        .iter()
        .filter(|part| job.inputs.contains(&part.entry.id))
        .map(|part| (Arc::clone(part), table.hides(part)))
        .collect();
    core.check_room_to_merge(inputs.iter().map(|(part, _)| part.entry.bytes).sum())?;
    let schema = Arc::clone(&table.schema);
    // Every delete up to here is applied to the outputs.
    let position = state.position;
    drop(state);
    let mut files = Outputs::new(core);
    let outputs =
        write(core, &mut files, &schema, &inputs, &archived, ageing, job.dense, position)?;
    let gone: Vec<Arc<PartHandle>> = inputs.into_iter().map(|(part, _)| part).collect();
    install(core, files, id, &gone, outputs)?;
    core.counters.merges.fetch_add(1, Ordering::Relaxed);
    Ok(true)
}

/// A part, and what deletes hide of it.
type Input = (Arc<PartHandle>, Option<Arc<Hides>>);

/// Tombstones of a table, and bytes of them, from which on parts are merged for their sake.
const TOMBSTONES_MANY: usize = if cfg!(test) { 6 } else { 256 };
const TOMBSTONE_BYTES_MANY: usize = 4 << 20;

fn is_weighty(table: &TableState) -> bool {
    // Those that only archived parts need are no business of a merge.
    let here = table.parts.iter().filter(|part| part.entry.object.is_none());
    let archived = table.unneeded(u64::MAX, here);
    let ours = || table.tombstones.iter().filter(|t| !archived.contains(&t.position));
    let bytes: usize = ours().map(|tombstone| tombstone.memory()).sum();
    ours().count() >= TOMBSTONES_MANY || bytes >= TOMBSTONE_BYTES_MANY
}

/// Takes the parts out that deletes hide whole; nothing has to be written anew.
fn drop_covered(core: &Core, table: &TableState) -> Result<bool> {
    let covered = |part: &&Arc<PartHandle>| {
        let all = |hides: &Arc<Hides>| hides.covers(&part.series(), part.entry.times);
        table.hides(part).as_ref().is_some_and(all)
    };
    let gone: Vec<Arc<PartHandle>> = table.parts.iter().filter(covered).cloned().collect();
    if gone.is_empty() {
        return Ok(false);
    }
    install(core, Outputs::new(core), table.schema.id, &gone, Vec::new())?;
    Ok(true)
}

/// Writes the merged parts; they are durable on return but not yet named.
fn write(
    core: &Core,
    files: &mut Outputs<'_>,
    schema: &TableSchema,
    inputs: &[Input],
    archived: &[PartEntry],
    ageing: Option<Ageing>,
    dense: bool,
    deletes_applied: u64,
) -> Result<Vec<PartEntry>> {
    let partition_ns = schema.options.partition_ns;
    let mut histogram = Histogram::default();
    for (input, _) in inputs {
        for group in input.part.groups_for(0..=u32::MAX, TimeRange::ALL)? {
            histogram.add(group.times, u64::from(group.rows), partition_ns);
        }
    }
    let entries: Vec<&PartEntry> = inputs.iter().map(|(part, _)| &part.entry).collect();
    let ranges = plan::apart(histogram.ranges(partition_ns, ageing), &entries, archived);
    let mut outputs = Vec::new();
    for range in ranges {
        core.check_writable()?;
        let sources: Vec<Source> = inputs
            .iter()
            .filter(|(part, _)| part.meets(None, range))
            .map(|(part, hides)| Source::Part(Arc::clone(part), hides.clone()))
            .collect();
        // Only those of parts with rows here: others may be older than an archived part.
        let here = || entries.iter().filter(|entry| entry.times.overlaps(&range));
        let positions = here().map(|p| p.positions.0).min().unwrap_or(0)
            ..=here().map(|p| p.positions.1).max().unwrap_or(0);
        let hot_until = here().map(|p| p.hot_until).max().unwrap_or(0);
        let output = write_range(core, files, schema, &sources, range, &positions, dense)?;
        outputs.extend(output.map(|entry| PartEntry { deletes_applied, hot_until, ..entry }));
    }
    core.storage
        .sync_dir(super::files::PARTS)
        .map_err(|e| Error::io("syncing the folder of parts", &e).lasting())?;
    Ok(outputs)
}

fn write_range(
    core: &Core,
    files: &mut Outputs<'_>,
    schema: &TableSchema,
    sources: &[Source],
    range: TimeRange,
    positions: &RangeInclusive<u64>,
    dense: bool,
) -> Result<Option<PartEntry>> {
    if sources.is_empty() {
        return Ok(None);
    }
    let id = core.take_part_numbers(1);
    let path = super::files::part(schema.id, id);
    let columns: Vec<(u16, PhysicalType)> = storage_columns(schema);
    let spec = PartSpec {
        id,
        table: schema.id,
        level: if dense { Level::Dense } else { Level::Light },
        positions: positions.clone(),
        partition: Some(range),
        columns,
    };
    files.add(path.clone());
    let mut writer = PartWriter::create(&*core.storage, &path, spec)?;
    each_batch(sources, schema, range, |rows| writer.append(&rows))?;
    let meta = writer.finish()?;
    core.counters.merge_bytes.fetch_add(meta.bytes, Ordering::Relaxed);
    if meta.rows == 0 {
        core.storage.remove(&path).map_err(|e| Error::io(format_args!("removing {path}"), &e))?;
        files.forget(&path);
        return Ok(None);
    }
    Ok(Some(PartEntry {
        id,
        table: schema.id,
        level: if dense { 2 } else { 1 },
        positions: (*positions.start(), *positions.end()),
        partition: Some(range),
        rows: meta.rows,
        times: meta.times,
        bytes: meta.bytes,
        deletes_applied: *positions.end(),
        object: None,
        hot_until: 0,
    }))
}

fn install(
    core: &Core,
    files: Outputs<'_>,
    id: TableId,
    inputs: &[Arc<PartHandle>],
    outputs: Vec<PartEntry>,
) -> Result<()> {
    let mut handles = Vec::with_capacity(outputs.len());
    for entry in &outputs {
        handles.push(core.places.open(entry.clone())?);
    }
    let gone: Vec<u64> = inputs.iter().map(|part| part.entry.id).collect();
    let remove = gone.iter().map(|part| (id, *part)).collect();
    // Tombstones that only the inputs needed go with them. A flush meanwhile adds parts that
    // none of them concerns.
    let unneeded = match core.state.load().tables.get(&id) {
        Some(table) => {
            let stay = |part: &&Arc<PartHandle>| !gone.contains(&part.entry.id);
            table.unneeded(table.flushed, table.parts.iter().filter(stay).chain(&handles))
        }
        None => Vec::new(),
    };
    let clear = unneeded.iter().map(|position| (id, *position)).collect();
    files.name(&Edit { add: outputs, remove, clear, ..Edit::default() })?;
    let there = core.publish(|state| {
        let Some(table) = state.tables.get_mut(&id) else { return false };
        let table = Arc::make_mut(table);
        let mut parts = Vec::clone(&table.parts);
        parts.retain(|part| !gone.contains(&part.entry.id));
        parts.extend(handles);
        sort_parts(&mut parts);
        table.parts = Arc::new(parts);
        table.clear(&unneeded);
        true
    });
    inputs.iter().for_each(|part| part.retire());
    if !there {
        super::committer::drop_files(core, &[id])?;
    }
    Ok(())
}
