//! Planning merges: pure functions from the parts of a table to the next job.
//!
//! A job takes parts that are neighbours in position wherever they overlap in time, so that age
//! stays a matter of position. Flush parts are always merged all together: they are newer than
//! anything merged before. Parts of one partition are merged with all others there. Small parts of
//! old partitions are merged with their neighbours in time, so that a table with few rows a
//! partition does not become thousands of files: of each size, fewer than `fan_in` stay side by side.
//!
//! Parts overlap if their times do and their key groups: parts of one time and of groups that are
//! apart have nothing to do with each other.

use std::collections::BTreeMap;

use crate::types::{ColumnId, TableOptions, TimeRange};

use super::groups::Groups;
use super::version::PartEntry;

/// Rows that make a partition worth a part of its own.
const PARTITION_ROWS_MIN: u64 = 32_768;
/// Parts of closed partitions below this are small: enough of them side by side become one.
const SMALL_ROWS_MAX: u64 = PARTITION_ROWS_MIN / 4;
/// Partitions from the first to the last of small parts that become one: rows that are to expire or
/// to be archived wait for the last of their part.
const SMALL_SPAN_MAX: i64 = 1024;
/// A closed partition is rewritten once late rows pass this part of it: one in ten.
const LATE_ROWS_SHARE: u64 = 10;
/// Partitions that one row group is counted into, at most.
const SPREAD_MAX: i64 = 4096;

/// Blocks of partitions within one `archive_after` or `retention`, about.
const BLOCKS_OF_LIFE: i64 = 8;

/// How partitions may share parts where a table's rows leave it by their age: those that are of
/// that age all with each other, younger ones within blocks, so that parts come of age one by one
/// and not only when the newest row of the table does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ageing {
    /// Length of a block, ns; a whole number of partitions.
    block_ns: i64,
    /// Where the first block begins, ns; older rows are of age.
    from: i64,
}

impl Ageing {
    /// `newest`: the newest time of any row, ns, which stands for the clock: plans are the same
    /// whenever they are made. `None` where rows stay.
    pub fn new(options: &TableOptions, newest: i64) -> Option<Ageing> {
        let spans = [options.archive_after_ns, options.retention_ns];
        let life = spans.into_iter().flatten().min()?;
        let partition_ns = options.partition_ns.max(1);
        let partitions = (life / BLOCKS_OF_LIFE / partition_ns).max(1);
        let block_ns = partitions.checked_mul(partition_ns)?;
        let blocks = newest.saturating_sub(life).div_euclid(block_ns);
        Some(Ageing { block_ns, from: blocks.saturating_mul(block_ns) })
    }

    /// The end of the block of a time, ns, exclusive.
    fn end_of_block(&self, time: i64) -> i64 {
        if time < self.from {
            return self.from;
        }
        let block = time.div_euclid(self.block_ns);
        block.saturating_add(1).saturating_mul(self.block_ns)
    }

    /// Whether a part has rows of age and others, so that it cannot leave.
    fn divides(&self, part: &PartEntry) -> bool {
        part.times.min < self.from && self.from <= part.times.max
    }
}

/// What to merge next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Job {
    /// Numbers of the parts that go.
    pub inputs: Vec<u64>,
    /// Whether values meet the dense codecs.
    pub dense: bool,
    /// Whether the parts, all of one key group, stay in it whatever partitions the table now.
    pub as_is: bool,
}

/// What the planner knows of a table.
#[derive(Debug)]
pub(crate) struct Situation<'a> {
    /// The parts in the order of positions.
    pub parts: &'a [PartEntry],
    /// Those in the archive, which are no inputs.
    pub archived: &'a [PartEntry],
    /// Length of a partition, ns.
    pub partition_ns: i64,
    /// Newest time of any row, ns: what ends before its partition is closed.
    pub newest: i64,
    /// Flush parts that start a merge.
    pub fan_in: usize,
    /// Numbers of the parts that deletes hide rows of.
    pub hidden: &'a [u64],
    /// Whether there are so many deletes that parts are merged for their sake.
    pub weighty: bool,
    pub ageing: Option<Ageing>,
    /// Key groups of the parts.
    pub groups: &'a Groups,
    /// The key columns that partition the table now.
    pub columns: &'a [ColumnId],
}

impl Situation<'_> {
    /// Clusters of parts that overlap. Those of groups by columns that are not the table's any more
    /// overlap all of their time: where one is merged they all are, and split by the columns of now.
    fn clusters<'b>(&self, parts: impl Iterator<Item = &'b PartEntry>) -> Vec<Vec<&'b PartEntry>> {
        let group = |part: &PartEntry| match self.groups.is_stale(part.group, self.columns) {
            true => 0,
            false => part.group,
        };
        clusters(parts, group, self.groups)
    }

    fn divides(&self, part: &PartEntry) -> bool {
        self.ageing.is_some_and(|ageing| ageing.divides(part))
    }
}

/// Splits parts into those that a merge may take and those that have to stay as they are: parts
/// with bad blocks (`is_bad`), what overlaps one and is not newer, what overlaps such a one and is
/// not newer, and so on. So whatever is merged is newer than everything beside it that it overlaps,
/// as it is with archived parts, and `apart` sees to it that the outputs are.
///
/// Parts of key groups that are apart do not overlap.
///
/// A flush part that is older than a merged one counts as merged lightly: it waited for a repair,
/// and the rule that flush parts are newer than all others does not hold for it.
pub(crate) fn free(
    parts: Vec<PartEntry>,
    groups: &Groups,
    is_bad: impl Fn(&PartEntry) -> bool,
) -> (Vec<PartEntry>, Vec<PartEntry>) {
    let (mut held, mut free): (Vec<PartEntry>, Vec<PartEntry>) =
        waited(parts).into_iter().partition(is_bad);
    let mut next = 0;
    while next < held.len() {
        let (bad, newest) = (held[next].clone(), held[next].positions.1);
        let stays =
            |part: &mut PartEntry| overlap(part, &bad, groups) && part.positions.0 <= newest;
        held.extend(free.extract_if(.., stays));
        next += 1;
    }
    (free, held)
}

/// Flush parts older than a merged one, as if merged lightly.
fn waited(mut parts: Vec<PartEntry>) -> Vec<PartEntry> {
    let merged = parts.iter().filter(|part| part.level > 0);
    let newest = merged.map(|part| part.positions.1).max().unwrap_or(0);
    let waited = |part: &&mut PartEntry| part.level == 0 && part.positions.1 < newest;
    parts.iter_mut().filter(waited).for_each(|part| part.level = 1);
    parts
}

/// The next job that keeps the table in order; `None` if there is nothing to do.
pub(crate) fn next(situation: &Situation<'_>) -> Option<Job> {
    let flushed: Vec<&PartEntry> = situation.parts.iter().filter(|p| p.level == 0).collect();
    if flushed.len() >= situation.fan_in {
        return Some(Job {
            inputs: flushed.iter().map(|p| p.id).collect(),
            dense: false,
            as_is: false,
        });
    }
    let merged = situation.clusters(situation.parts.iter().filter(|p| p.level > 0));
    merged
        .iter()
        .find_map(|cluster| cluster_job(cluster, situation))
        .or_else(|| cleaning_job(situation, &flushed))
        .or_else(|| small_job(&merged, situation))
}

/// Makes one part of small neighbours, as soon as `few` of them are of one size, counted in powers
/// of `few`: what comes of them is of the next size, so that a row is written anew at most once for
/// each. At most two parts come of a job (`Histogram::ranges` closes one at 32,768 rows), which is
/// fewer than go in: it ends.
fn small_job(merged: &[Vec<&PartEntry>], situation: &Situation<'_>) -> Option<Job> {
    let few = situation.fan_in.max(4);
    let sizes = std::iter::successors(Some(SMALL_ROWS_MAX), |rows| Some(rows / few as u64));
    let mut sizes: Vec<u64> = sizes.take_while(|rows| *rows > 0).collect();
    sizes.reverse();
    let ripe = |below: u64| {
        let of_size = move |part: &&&PartEntry| part.rows >= below / few as u64;
        let runs = small_runs(merged, situation, below);
        runs.into_iter().find(|run| run.iter().filter(of_size).count() >= few)
    };
    let run = sizes.into_iter().find_map(ripe)?;
    Some(Job { inputs: run.iter().map(|part| part.id).collect(), dense: true, as_is: true })
}

/// Runs of parts of one key group that follow each other in time, each alone in its partitions,
/// closed and with fewer rows than `below`; together no more than a partition is worth. No other
/// part that overlaps the group lies between them, and no archived one.
fn small_runs<'a>(
    merged: &[Vec<&'a PartEntry>],
    situation: &Situation<'_>,
    below: u64,
) -> Vec<Vec<&'a PartEntry>> {
    let closed = |part: &PartEntry| {
        situation.newest > span(part).max.saturating_add(situation.partition_ns / 8)
    };
    let mut runs: Vec<Vec<&PartEntry>> = Vec::new();
    // Places of the runs that may go on, by group.
    let mut open: BTreeMap<u32, usize> = BTreeMap::new();
    for cluster in merged {
        let small = match cluster.as_slice() {
            [part] if part.level >= 2 && part.hot_until == 0 => {
                (part.rows < below && closed(part)).then_some(*part)
            }
            _ => None,
        };
        let own = small.map(|part| part.group);
        open.retain(|group, _| {
            let meets = |part: &&PartEntry| situation.groups.overlap(part.group, *group);
            own == Some(*group) || !cluster.iter().any(meets)
        });
        let Some(part) = small else { continue };
        match open.get(&part.group).and_then(|at| runs.get_mut(*at)) {
            Some(run) if goes_with(run, part, situation) => run.push(part),
            _ => {
                open.insert(part.group, runs.len());
                runs.push(vec![part]);
            }
        }
    }
    runs
}

/// Whether a part may follow those of a run.
fn goes_with(run: &[&PartEntry], part: &PartEntry, situation: &Situation<'_>) -> bool {
    let rows: u64 = run.iter().map(|part| part.rows).sum();
    let Some(first) = run.first() else { return true };
    let all = TimeRange::new(span(first).min, span(part).max);
    let length = i128::from(all.max) - i128::from(all.min);
    // A merge cuts at the ends of blocks: parts of several would come out as they went in.
    let of_block = |ageing: Ageing| span(part).min < ageing.end_of_block(span(first).min);
    situation.ageing.is_none_or(of_block)
        && rows + part.rows <= PARTITION_ROWS_MIN
        && length <= i128::from(situation.partition_ns) * i128::from(SMALL_SPAN_MAX)
        && !situation.archived.iter().any(|archived| {
            span(archived).overlaps(&all) && situation.groups.overlap(archived.group, part.group)
        })
}

/// Writes parts anew for the sake of deletes that hide rows of them.
fn cleaning_job(situation: &Situation<'_>, flushed: &[&PartEntry]) -> Option<Job> {
    let hidden = |part: &&PartEntry| situation.hidden.contains(&part.id);
    if !situation.weighty {
        return None;
    }
    if flushed.iter().any(hidden) {
        return Some(Job {
            inputs: flushed.iter().map(|p| p.id).collect(),
            dense: false,
            as_is: false,
        });
    }
    let clusters = situation.clusters(situation.parts.iter().filter(|p| p.level > 0));
    let cluster = clusters.iter().find(|cluster| cluster.iter().any(hidden))?;
    let dense = cluster.iter().any(|p| p.level >= 2);
    Some(Job { inputs: cluster.iter().map(|p| p.id).collect(), dense, as_is: false })
}

/// The next job of a merge to the end: afterwards every partition is one dense part, or one for
/// each key group.
pub(crate) fn next_full(situation: &Situation<'_>) -> Option<Job> {
    let wanting = |cluster: &Vec<&PartEntry>| {
        let first = cluster[0];
        let whole = first.group == 0 && !situation.columns.is_empty();
        let once_more = situation.hidden.contains(&first.id) || situation.divides(first) || whole;
        cluster.len() > 1 || first.level < 2 || once_more
    };
    let clusters = situation.clusters(situation.parts.iter());
    let cluster = clusters.iter().find(|cluster| wanting(cluster))?;
    Some(Job { inputs: cluster.iter().map(|p| p.id).collect(), dense: true, as_is: false })
}

fn cluster_job(cluster: &[&PartEntry], situation: &Situation<'_>) -> Option<Job> {
    let inputs = || cluster.iter().map(|p| p.id).collect();
    let end = cluster.iter().map(|p| span(p).max).max()?;
    let dense: u64 = cluster.iter().filter(|p| p.level >= 2).map(|p| p.rows).sum();
    let light: u64 = cluster.iter().filter(|p| p.level < 2).map(|p| p.rows).sum();
    if cluster.iter().any(|part| part.level >= 2 && situation.divides(part)) {
        return Some(Job { inputs: inputs(), dense: true, as_is: false });
    }
    let closed = situation.newest > end.saturating_add(situation.partition_ns / 8);
    if closed && light > 0 {
        let late = dense > 0 && light < dense / LATE_ROWS_SHARE;
        if !late || cluster.len() > situation.fan_in {
            return Some(Job { inputs: inputs(), dense: true, as_is: false });
        }
        return None;
    }
    (cluster.len() >= situation.fan_in && light > 0).then(|| Job {
        inputs: inputs(),
        dense: dense > 0,
        as_is: false,
    })
}

fn span(part: &PartEntry) -> TimeRange {
    part.span()
}

/// Whether two parts may have rows of the same series and partition.
pub(crate) fn overlap(a: &PartEntry, b: &PartEntry, groups: &Groups) -> bool {
    a.span().overlaps(&b.span()) && groups.overlap(a.group, b.group)
}

/// Clusters of parts that overlap in time and key group (`group` of each), directly or through
/// others; in order of time.
fn clusters<'a>(
    parts: impl Iterator<Item = &'a PartEntry>,
    group: impl Fn(&PartEntry) -> u32,
    groups: &Groups,
) -> Vec<Vec<&'a PartEntry>> {
    let mut clusters: Vec<Vec<&PartEntry>> = Vec::new();
    for time in clusters_of_time(parts) {
        if time.iter().all(|part| group(part) == group(time[0])) {
            clusters.push(time);
            continue;
        }
        clusters.extend(clusters_of_groups(time, &group, groups));
    }
    // Of several in one time the earliest first, as that is their order alone.
    clusters.sort_by_key(|cluster| span(cluster[0]).min);
    clusters
}

/// What overlaps in time, by what overlaps in groups as well. Of each group only the part that ends
/// last can meet what begins later, so that a part is held against each group once.
fn clusters_of_groups<'a>(
    parts: Vec<&'a PartEntry>,
    group: &impl Fn(&PartEntry) -> u32,
    groups: &Groups,
) -> Vec<Vec<&'a PartEntry>> {
    // The cluster that each one is part of now, for those that were joined.
    let mut joined: Vec<usize> = Vec::with_capacity(parts.len());
    fn root(joined: &[usize], mut at: usize) -> usize {
        while joined[at] != at {
            at = joined[at];
        }
        at
    }
    // By group: where the part that ends last ends, and one of its cluster.
    let mut open: BTreeMap<u32, (i64, usize)> = BTreeMap::new();
    for (at, part) in parts.iter().enumerate() {
        joined.push(at);
        let (range, own) = (span(part), group(part));
        open.retain(|_, (end, _)| *end >= range.min);
        for (_, (_, other)) in open.iter().filter(|(other, _)| groups.overlap(**other, own)) {
            // The earliest one stands for the cluster.
            let (a, b) = (root(&joined, *other), root(&joined, at));
            joined[a.max(b)] = a.min(b);
        }
        let latest = open.entry(own).or_insert((range.max, at));
        latest.0 = latest.0.max(range.max);
    }
    let mut clusters: BTreeMap<usize, Vec<&PartEntry>> = BTreeMap::new();
    for (at, part) in parts.into_iter().enumerate() {
        clusters.entry(root(&joined, at)).or_default().push(part);
    }
    clusters.into_values().collect()
}

/// Clusters of parts that overlap in time, directly or through others; in order of time.
fn clusters_of_time<'a>(parts: impl Iterator<Item = &'a PartEntry>) -> Vec<Vec<&'a PartEntry>> {
    let mut parts: Vec<&PartEntry> = parts.collect();
    parts.sort_by_key(|part| span(part).min);
    let mut clusters: Vec<Vec<&PartEntry>> = Vec::new();
    let mut end = i64::MIN;
    for part in parts {
        match clusters.last_mut() {
            Some(cluster) if span(part).min <= end => cluster.push(part),
            _ => clusters.push(vec![part]),
        }
        end = end.max(span(part).max);
        if clusters.last().is_some_and(|cluster| cluster.len() == 1) {
            end = span(part).max;
        }
    }
    clusters
}

/// Cuts the ranges of a merge's outputs of key group `group` so that each is newer than every
/// archived part that it overlaps: an output is as old as the oldest input with rows in it, and an input is newer than
/// the archived parts that it overlaps itself.
pub(crate) fn apart(
    ranges: Vec<TimeRange>,
    inputs: &[&PartEntry],
    archived: &[PartEntry],
    group: u32,
    groups: &Groups,
) -> Vec<TimeRange> {
    let of_group = |part: &&PartEntry| groups.overlap(part.group, group);
    let mut out = Vec::with_capacity(ranges.len());
    for range in ranges {
        let inputs = inputs.iter().copied().filter(of_group);
        let here = inputs.filter(|input| input.times.overlaps(&range));
        let Some(oldest) = here.map(|input| input.positions.0).min() else { continue };
        let archived = || archived.iter().filter(of_group);
        let meets = || archived().filter(|part| part.span().overlaps(&range));
        if meets().all(|part| part.positions.1 < oldest) {
            out.push(range);
            continue;
        }
        let ends = meets().flat_map(|part| [part.span().min, part.span().max.saturating_add(1)]);
        let mut cuts: Vec<i64> = ends.filter(|cut| range.min < *cut && *cut <= range.max).collect();
        cuts.sort_unstable();
        cuts.dedup();
        let mut from = range.min;
        for cut in cuts {
            out.push(TimeRange::new(from, cut - 1));
            from = cut;
        }
        out.push(TimeRange::new(from, range.max));
    }
    out
}

/// How many rows lie in each partition, from the times of row groups.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    rows: BTreeMap<i64, u64>,
}

impl Histogram {
    /// Counts a row group, spread evenly over the partitions that it touches.
    pub fn add(&mut self, times: TimeRange, rows: u64, partition_ns: i64) {
        let first = times.min.div_euclid(partition_ns);
        let last = times.max.div_euclid(partition_ns);
        let count = last - first + 1;
        if count > SPREAD_MAX {
            *self.rows.entry(first).or_default() += rows / 2;
            *self.rows.entry(last).or_default() += rows / 2;
            return;
        }
        for partition in first..=last {
            *self.rows.entry(partition).or_default() += rows / count as u64 + 1;
        }
    }

    /// Time ranges of the parts to write: end to end from the first to the last partition, small
    /// neighbours together, so that a backlog over years does not make thousands of files.
    pub fn ranges(&self, partition_ns: i64, ageing: Option<Ageing>) -> Vec<TimeRange> {
        let start = |partition: i64| partition.saturating_mul(partition_ns);
        // The partition where the block of another one ends, exclusive.
        let block_end = |partition: i64| match ageing {
            Some(ageing) => ageing.end_of_block(start(partition)).div_euclid(partition_ns),
            None => i64::MAX,
        };
        // First and last partition, and rows.
        let mut groups: Vec<(i64, i64, u64)> = Vec::new();
        for (partition, rows) in &self.rows {
            match groups.last_mut() {
                Some((first, last, sum))
                    if *sum < PARTITION_ROWS_MIN
                        && *rows < PARTITION_ROWS_MIN
                        && *partition < block_end(*first) =>
                {
                    *last = *partition;
                    *sum += rows;
                }
                _ => groups.push((*partition, *partition, *rows)),
            }
        }
        let mut ranges = Vec::with_capacity(groups.len());
        let mut push = |first: i64, end: i64| {
            ranges.push(TimeRange::new(start(first), start(end).saturating_sub(1)));
        };
        for (at, (first, last, _)) in groups.iter().enumerate() {
            let Some((next, ..)) = groups.get(at + 1) else {
                push(*first, last + 1);
                break;
            };
            // No gaps: rows that a coarse count put elsewhere still find a part.
            let end = block_end(*last).min(*next);
            push(*first, end);
            if end < *next {
                push(end, *next);
            }
        }
        ranges
    }
}

#[cfg(test)]
mod tests;
