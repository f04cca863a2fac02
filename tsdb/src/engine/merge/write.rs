//! Writing what comes of a merge: parts of ranges of time and of key groups.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::deletes::{Hides, union};
use crate::error::{Error, Result};
use crate::part::{Level, PartSpec, PartWriter};
use crate::scan::{PartHandle, Source};
use crate::series::Bitmap;
use crate::types::{Column, ColumnId, PhysicalType, Rows, SeriesRows, TimeRange};

use crate::engine::core::{Core, each_batch, storage_columns};
use crate::engine::files;
use crate::engine::groups::{Groups, KeyGroup};
use crate::engine::outputs::Outputs;
use crate::engine::plan::{self, Ageing, Histogram, Job};
use crate::engine::state::TableState;
use crate::engine::version::PartEntry;

/// Parts that are written at once: each holds some row groups in memory, and for so many groups
/// more the inputs are read once more.
const WRITERS_MAX: usize = if cfg!(test) { 2 } else { 16 };

/// A part, and what deletes hide of it.
pub(super) type Input = (Arc<PartHandle>, Option<Arc<Hides>>);

/// What a merge has made.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub parts: Vec<PartEntry>,
    /// Key groups that the table does not have yet.
    pub fresh: Vec<(u32, KeyGroup)>,
    /// Key groups of the parts. They are named with them once more: where the table was dropped
    /// meanwhile, its groups are gone, and the version must know those of every part at each moment.
    pub named: Vec<(u32, KeyGroup)>,
    /// Groups that the parts may be of.
    groups: Vec<u32>,
    /// Series of groups; where there is one group, only if they are known.
    pub members: BTreeMap<u32, Arc<Bitmap>>,
}

/// A merge that is under way.
pub(super) struct Writing<'a> {
    core: &'a Core,
    table: &'a TableState,
    inputs: &'a [Input],
    archived: &'a [PartEntry],
    ageing: Option<Ageing>,
    job: &'a Job,
    deletes_applied: u64,
}

/// Outputs of a pass over the inputs: one range, a few groups.
struct Pass {
    range: TimeRange,
    /// Numbers of the groups.
    groups: Vec<u32>,
}

/// An output in the making; it begins with its first row.
struct Output {
    group: u32,
    /// First and last position of the inputs that may have rows of it.
    positions: (u64, u64),
    hot_until: i64,
    /// Number, path and writer.
    writer: Option<(u64, String, PartWriter)>,
}

impl<'a> Writing<'a> {
    /// A merge of these inputs; deletes up to `deletes_applied` are applied.
    pub fn new(
        core: &'a Core,
        table: &'a TableState,
        inputs: &'a [Input],
        archived: &'a [PartEntry],
        ageing: Option<Ageing>,
        job: &'a Job,
        deletes_applied: u64,
    ) -> Writing<'a> {
        Writing { core, table, inputs, archived, ageing, job, deletes_applied }
    }

    /// Writes the merged parts; they are durable on return but not yet named.
    ///
    /// # Errors
    /// What reading or writing gives.
    pub fn run(&self, outputs: &mut Outputs<'_>) -> Result<Made> {
        let mut made = self.split()?;
        let mut groups = self.table.groups.as_ref().clone();
        made.fresh.iter().for_each(|(number, group)| groups.insert(*number, group.clone()));
        for pass in self.passes(&made, &groups)? {
            self.core.check_writable()?;
            let parts = self.write(outputs, &pass, &made, &groups)?;
            made.parts.extend(parts);
        }
        let used: BTreeSet<u32> = made.parts.iter().map(|part| part.group).collect();
        let named =
            used.into_iter().filter_map(|number| Some((number, groups.get(number)?.clone())));
        made.named = named.collect();
        self.core
            .storage
            .sync_dir(files::PARTS)
            .map_err(|e| Error::io("syncing the folder of parts", &e).lasting())?;
        Ok(made)
    }

    /// The groups of the outputs and, where there are several, the series of each.
    ///
    /// Inputs that are all of one group stay in it if it is one of the columns that partition the
    /// table now, or if the job says so.
    fn split(&self) -> Result<Made> {
        let mut made = Made::default();
        let columns = &self.table.schema.options.partition_columns;
        let keeps = |group: &u32| self.job.as_is || !self.table.groups.is_stale(*group, columns);
        if let Some(first) = self.only().filter(keeps) {
            made.groups.push(first);
            let known: Vec<_> = self.inputs.iter().filter_map(|(part, _)| part.members()).collect();
            if known.len() == self.inputs.len() {
                let sets: Vec<&Bitmap> = known.iter().map(|set| &***set).collect();
                made.members.insert(first, Arc::new(Bitmap::fast_or(&sets)));
            }
            return Ok(made);
        }
        if columns.is_empty() {
            made.groups.push(0);
            return Ok(made);
        }
        let ranges = || self.inputs.iter().map(|(part, _)| part.series());
        let from = ranges().map(|range| *range.start()).min().unwrap_or(0);
        let to = ranges().map(|range| *range.end()).max().unwrap_or(0);
        let known = self.table.series.len();
        if to >= known {
            // Its rows would be of no group.
            let why = format!("a part has rows of series {to}; its table has {known} series");
            return Err(Error::Corrupt(why));
        }
        // All series, not those between alone: sets that differ could not be shared by parts.
        let all = self.table.series.all(u32::MAX);
        let most = self.core.options.partition_groups_max as usize;
        let split = self.table.groups.split(&self.table.series, columns, &all, most);
        if split.fresh.iter().any(|(_, group)| group.values.is_none()) {
            tracing::warn!(
                table = self.table.schema.name,
                partition_groups_max = most,
                "keys of the table have more values than it may have partitions of; the others \
                 share them"
            );
        }
        let met = split.members.iter().filter(|(_, set)| set.range_cardinality(from..=to) > 0);
        made.groups = met.map(|(number, _)| *number).collect();
        (made.fresh, made.members) = (split.fresh, split.members);
        Ok(made)
    }

    /// The group of all inputs if they are of one.
    fn only(&self) -> Option<u32> {
        let mut groups = self.inputs.iter().map(|(part, _)| part.entry.group);
        let first = groups.next()?;
        groups.all(|group| group == first).then_some(first)
    }

    /// What each pass writes.
    fn passes(&self, made: &Made, all: &Groups) -> Result<Vec<Pass>> {
        let partition_ns = self.table.schema.options.partition_ns;
        let mut histogram = Histogram::default();
        for (input, _) in self.inputs {
            for group in input.part.groups_for(0..=u32::MAX, TimeRange::ALL)? {
                histogram.add(group.times, u64::from(group.rows), partition_ns);
            }
        }
        let ranges = histogram.ranges(partition_ns, self.ageing);
        let entries: Vec<&PartEntry> = self.inputs.iter().map(|(part, _)| &part.entry).collect();
        let mut by_range: BTreeMap<(i64, i64), Vec<u32>> = BTreeMap::new();
        for group in &made.groups {
            let ranges = match self.only() {
                Some(_) => ranges.clone(),
                None => within(&ranges, &self.spans(*group, all)),
            };
            for range in plan::apart(ranges, &entries, self.archived, *group, all) {
                by_range.entry((range.min, range.max)).or_default().push(*group);
            }
        }
        let pass = |((min, max), groups): ((i64, i64), Vec<u32>)| {
            let range = TimeRange::new(min, max);
            let some = groups.chunks(WRITERS_MAX).map(<[u32]>::to_vec).collect::<Vec<_>>();
            some.into_iter().map(move |groups| Pass { range, groups })
        };
        Ok(by_range.into_iter().flat_map(pass).collect())
    }

    /// The partitions that inputs with rows of a group may have rows in, in ascending ranges. Beyond
    /// them there may be parts of the group that are no inputs.
    fn spans(&self, group: u32, groups: &Groups) -> Vec<TimeRange> {
        let length = self.table.schema.options.partition_ns;
        let aligned = |part: &PartEntry| {
            let (min, max) = (part.span().min, part.span().max);
            let end = max.div_euclid(length).saturating_add(1).saturating_mul(length);
            let start = min.div_euclid(length).saturating_mul(length);
            TimeRange::new(start, end.saturating_sub(1).max(max))
        };
        let parts = self.inputs.iter().map(|(part, _)| &part.entry);
        union(parts.filter(|part| groups.overlap(part.group, group)).map(aligned).collect())
    }

    fn write(
        &self,
        files: &mut Outputs<'_>,
        pass: &Pass,
        made: &Made,
        groups: &Groups,
    ) -> Result<Vec<PartEntry>> {
        let sets: Vec<&Bitmap> = pass
            .groups
            .iter()
            .filter_map(|group| made.members.get(group))
            .map(|set| &**set)
            .collect();
        // Where nothing is split every series is wanted, be it known here or not.
        let set = (made.groups.len() > 1).then(|| Arc::new(Bitmap::fast_or(&sets)));
        let sources: Vec<Source> = self
            .inputs
            .iter()
            .filter(|(part, _)| part.meets(set.as_deref(), pass.range))
            .map(|(part, hides)| Source::Part(Arc::clone(part), hides.clone()))
            .collect();
        if sources.is_empty() {
            return Ok(Vec::new());
        }
        let mut outputs: Vec<Output> =
            pass.groups.iter().map(|group| self.output(*group, pass.range, groups)).collect();
        let of = |series: u32| sets.iter().position(|set| set.contains(series));
        each_batch(&sources, &self.table.schema, set.clone(), pass.range, |rows| {
            if outputs.len() == 1 {
                return self.append(files, pass, &mut outputs[0], &rows);
            }
            for (at, rows) in divide(&rows, of, outputs.len()) {
                self.append(files, pass, &mut outputs[at], &rows)?;
            }
            Ok(())
        })?;
        outputs
            .into_iter()
            .filter_map(|output| self.finish(output, pass.range).transpose())
            .collect()
    }

    /// An output without rows yet. Only inputs with rows of its range and group count: others may be
    /// older than an archived part.
    fn output(&self, group: u32, range: TimeRange, groups: &Groups) -> Output {
        let here = || {
            self.inputs
                .iter()
                .map(|(part, _)| &part.entry)
                .filter(|entry| entry.times.overlaps(&range) && groups.overlap(entry.group, group))
        };
        let positions = (
            here().map(|entry| entry.positions.0).min().unwrap_or(0),
            here().map(|entry| entry.positions.1).max().unwrap_or(0),
        );
        let hot_until = here().map(|entry| entry.hot_until).max().unwrap_or(0);
        Output { group, positions, hot_until, writer: None }
    }

    fn append(
        &self,
        files: &mut Outputs<'_>,
        pass: &Pass,
        output: &mut Output,
        rows: &Rows,
    ) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let writer = match &mut output.writer {
            Some((_, _, writer)) => writer,
            none => {
                let id = self.core.take_part_numbers(1);
                let path = files::part(self.table.schema.id, id);
                let columns: Vec<(ColumnId, PhysicalType)> = storage_columns(&self.table.schema);
                let spec = PartSpec {
                    id,
                    table: self.table.schema.id,
                    level: if self.job.dense { Level::Dense } else { Level::Light },
                    positions: output.positions.0..=output.positions.1,
                    partition: Some(pass.range),
                    columns,
                };
                files.add(path.clone());
                let writer = PartWriter::create(&*self.core.storage, &path, spec)?;
                &mut none.insert((id, path, writer)).2
            }
        };
        writer.append(rows)
    }

    fn finish(&self, output: Output, range: TimeRange) -> Result<Option<PartEntry>> {
        let Some((id, _, writer)) = output.writer else { return Ok(None) };
        let meta = writer.finish()?;
        self.core.counters.merge_bytes.fetch_add(meta.bytes, Ordering::Relaxed);
        Ok(Some(PartEntry {
            id,
            table: self.table.schema.id,
            level: if self.job.dense { 2 } else { 1 },
            positions: output.positions,
            partition: Some(range),
            rows: meta.rows,
            times: meta.times,
            bytes: meta.bytes,
            deletes_applied: self.deletes_applied,
            object: None,
            hot_until: output.hot_until,
            group: output.group,
        }))
    }
}

/// The parts of some ranges that lie in others; both ascend.
fn within(ranges: &[TimeRange], spans: &[TimeRange]) -> Vec<TimeRange> {
    let both = ranges.iter().flat_map(|range| spans.iter().map(|span| range.intersect(span)));
    both.filter(|range| !range.is_empty()).collect()
}

/// Rows by the place that `of` gives their series; those without one are left out.
fn divide(rows: &Rows, of: impl Fn(u32) -> Option<usize>, places: usize) -> Vec<(usize, Rows)> {
    let mut picked: Vec<(Vec<SeriesRows>, Vec<u32>)> = vec![Default::default(); places];
    for run in &rows.series {
        let Some((series, indexes)) = of(run.series).and_then(|at| picked.get_mut(at)) else {
            continue;
        };
        series.push(SeriesRows { start: indexes.len() as u32, ..*run });
        indexes.extend(run.start..run.start + run.rows);
    }
    let gather = |(at, (series, indexes)): (usize, (Vec<SeriesRows>, Vec<u32>))| {
        let column = |(id, column): &(ColumnId, Column)| (*id, column.gather(&indexes));
        let times = indexes.iter().map(|index| rows.times[*index as usize]).collect();
        let columns = rows.columns.iter().map(column).collect();
        (at, Rows { series, times, columns })
    };
    picked
        .into_iter()
        .enumerate()
        .filter(|(_, (series, _))| !series.is_empty())
        .map(gather)
        .collect()
}
