//! Merge: several parts become one for each partition, and for each key group where a table is
//! partitioned by key columns too.

mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::{Error, Result};
use crate::scan::PartHandle;
use crate::series::Bitmap;
use crate::types::TableId;

use super::core::{Core, sort_parts};
use super::outputs::Outputs;
use super::plan::{self, Ageing, Job, Situation};
use super::state::TableState;
use super::version::{Edit, PartEntry};
use write::{Input, Made, Writing};

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
    let state = core.state.load();
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
    let (entries, held) = plan::free(entries, &table.groups, |entry| bad.contains(&entry.id));
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
        groups: &table.groups,
        columns: &table.schema.options.partition_columns,
    };
    let Some(job) = plan(&situation) else { return Ok(false) };
    let inputs: Vec<Input> = table
        .parts
        .iter()
        .filter(|part| job.inputs.contains(&part.entry.id))
        .map(|part| (Arc::clone(part), table.hides(part)))
        .collect();
    core.check_room_to_merge(inputs.iter().map(|(part, _)| part.entry.bytes).sum())?;
    let table = Arc::clone(table);
    // Every delete up to here is applied to the outputs.
    let position = state.position;
    drop(state);
    let mut files = Outputs::new(core);
    let writing = Writing::new(core, &table, &inputs, &archived, ageing, &job, position);
    let made = writing.run(&mut files)?;
    let gone: Vec<Arc<PartHandle>> = inputs.into_iter().map(|(part, _)| part).collect();
    install(core, files, id, &gone, made)?;
    core.counters.merges.fetch_add(1, Ordering::Relaxed);
    Ok(true)
}

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
    let covered =
        |part: &&Arc<PartHandle>| table.hides(part).is_some_and(|hides| part.is_hidden_by(&hides));
    let gone: Vec<Arc<PartHandle>> = table.parts.iter().filter(covered).cloned().collect();
    if gone.is_empty() {
        return Ok(false);
    }
    install(core, Outputs::new(core), table.schema.id, &gone, Made::default())?;
    Ok(true)
}

/// The series of the outputs' groups, as parts of the table know them already if that is all of them:
/// of many parts of a group each would else have a set of its own.
fn shared(core: &Core, id: TableId, made: &Made) -> BTreeMap<u32, Arc<Bitmap>> {
    let mut sets = made.members.clone();
    let state = core.state.load();
    let Some(table) = state.tables.get(&id).filter(|_| !sets.is_empty()) else { return sets };
    // The newest are most likely to know all.
    let mut seen = BTreeSet::new();
    for part in table.parts.iter().rev() {
        let (Some(set), Some(known)) = (sets.get_mut(&part.entry.group), part.members()) else {
            continue;
        };
        if seen.insert(part.entry.group) && set.is_subset(known) {
            *set = Arc::clone(known);
        }
    }
    sets
}

fn install(
    core: &Core,
    files: Outputs<'_>,
    id: TableId,
    inputs: &[Arc<PartHandle>],
    made: Made,
) -> Result<()> {
    let members = shared(core, id, &made);
    let mut handles = Vec::with_capacity(made.parts.len());
    for entry in &made.parts {
        let handle = core.places.open(entry.clone())?;
        handle.know(members.get(&entry.group));
        handles.push(handle);
    }
    let gone: Vec<u64> = inputs.iter().map(|part| part.entry.id).collect();
    let remove = gone.iter().map(|part| (id, *part)).collect();
    let clearing = core.clearing.lock();
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
    let groups = made.fresh.iter().chain(&made.named);
    let groups = groups.map(|(number, group)| (id, *number, group.clone())).collect();
    files.name(&Edit { add: made.parts, remove, clear, groups, ..Edit::default() })?;
    let there = core.publish(|state| {
        let Some(table) = state.tables.get_mut(&id) else { return false };
        let table = Arc::make_mut(table);
        let mut parts = Vec::clone(&table.parts);
        parts.retain(|part| !gone.contains(&part.entry.id));
        parts.extend(handles);
        sort_parts(&mut parts);
        table.parts = Arc::new(parts);
        for (number, group) in made.fresh {
            Arc::make_mut(&mut table.groups).insert(number, group);
        }
        table.clear(&unneeded);
        true
    });
    drop(clearing);
    inputs.iter().for_each(|part| part.retire());
    if !there {
        super::committer::drop_files(core, &[id])?;
    }
    Ok(())
}
