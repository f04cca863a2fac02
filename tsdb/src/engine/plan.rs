//! Planning merges: pure functions from the parts of a table to the next job.
//!
//! A job takes parts that are neighbours in position wherever they overlap in time, so that age
//! stays a matter of position. Flush parts are always merged all together: they are newer than
//! anything merged before. Parts of one partition are merged with all others there. Small parts of
//! old partitions are merged with their neighbours in time, so that a table with few rows a
//! partition does not become thousands of files: of each size, fewer than `fan_in` stay side by side.

use std::collections::BTreeMap;

use crate::types::{TableOptions, TimeRange};

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
}

impl Situation<'_> {
    fn divides(&self, part: &PartEntry) -> bool {
        self.ageing.is_some_and(|ageing| ageing.divides(part))
    }
}

/// Splits parts into those that a merge may take and those that have to stay as they are: parts
/// with bad blocks (`is_bad`), what overlaps one and is not newer, what overlaps such a one and is
/// not newer, and so on. So whatever is merged is newer than everything beside it that it overlaps,
/// as it is with archived parts, and `apart` sees to it that the outputs are.
///
/// A flush part that is older than a merged one counts as merged lightly: it waited for a repair,
/// and the rule that flush parts are newer than all others does not hold for it.
pub(crate) fn free(
    parts: Vec<PartEntry>,
    is_bad: impl Fn(&PartEntry) -> bool,
) -> (Vec<PartEntry>, Vec<PartEntry>) {
    let (mut held, mut free): (Vec<PartEntry>, Vec<PartEntry>) =
        waited(parts).into_iter().partition(is_bad);
    let mut next = 0;
    while next < held.len() {
        let (span, newest) = (held[next].span(), held[next].positions.1);
        let stays =
            |part: &mut PartEntry| part.span().overlaps(&span) && part.positions.0 <= newest;
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
        return Some(Job { inputs: flushed.iter().map(|p| p.id).collect(), dense: false });
    }
    let merged = clusters(situation.parts.iter().filter(|p| p.level > 0));
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
    Some(Job { inputs: run.iter().map(|part| part.id).collect(), dense: true })
}

/// Runs of parts that follow each other in time, each alone in its partitions, closed and with
/// fewer rows than `below`; together no more than a partition is worth. No archived part lies
/// between them.
fn small_runs<'a>(
    merged: &[Vec<&'a PartEntry>],
    situation: &Situation<'_>,
    below: u64,
) -> Vec<Vec<&'a PartEntry>> {
    let closed = |part: &PartEntry| {
        situation.newest > span(part).max.saturating_add(situation.partition_ns / 8)
    };
    let mut runs: Vec<Vec<&PartEntry>> = vec![Vec::new()];
    for cluster in merged {
        let small = match cluster.as_slice() {
            [part] if part.level >= 2 && part.hot_until == 0 => {
                (part.rows < below && closed(part)).then_some(*part)
            }
            _ => None,
        };
        let Some(part) = small else {
            runs.push(Vec::new());
            continue;
        };
        match runs.last_mut() {
            Some(run) if run.is_empty() || goes_with(run, part, situation) => run.push(part),
            _ => runs.push(vec![part]),
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
        && !situation.archived.iter().any(|archived| span(archived).overlaps(&all))
}

/// Writes parts anew for the sake of deletes that hide rows of them.
fn cleaning_job(situation: &Situation<'_>, flushed: &[&PartEntry]) -> Option<Job> {
    let hidden = |part: &&PartEntry| situation.hidden.contains(&part.id);
    if !situation.weighty {
        return None;
    }
    if flushed.iter().any(hidden) {
        return Some(Job { inputs: flushed.iter().map(|p| p.id).collect(), dense: false });
    }
    let clusters = clusters(situation.parts.iter().filter(|p| p.level > 0));
    let cluster = clusters.iter().find(|cluster| cluster.iter().any(hidden))?;
    let dense = cluster.iter().any(|p| p.level >= 2);
    Some(Job { inputs: cluster.iter().map(|p| p.id).collect(), dense })
}

/// The next job of a merge to the end: afterwards every partition is one dense part.
pub(crate) fn next_full(situation: &Situation<'_>) -> Option<Job> {
    let wanting = |cluster: &Vec<&PartEntry>| {
        let first = cluster[0];
        let once_more = situation.hidden.contains(&first.id) || situation.divides(first);
        cluster.len() > 1 || first.level < 2 || once_more
    };
    let clusters = clusters(situation.parts.iter());
    let cluster = clusters.iter().find(|cluster| wanting(cluster))?;
    Some(Job { inputs: cluster.iter().map(|p| p.id).collect(), dense: true })
}

fn cluster_job(cluster: &[&PartEntry], situation: &Situation<'_>) -> Option<Job> {
    let inputs = || cluster.iter().map(|p| p.id).collect();
    let end = cluster.iter().map(|p| span(p).max).max()?;
    let dense: u64 = cluster.iter().filter(|p| p.level >= 2).map(|p| p.rows).sum();
    let light: u64 = cluster.iter().filter(|p| p.level < 2).map(|p| p.rows).sum();
    if cluster.iter().any(|part| part.level >= 2 && situation.divides(part)) {
        return Some(Job { inputs: inputs(), dense: true });
    }
    let closed = situation.newest > end.saturating_add(situation.partition_ns / 8);
    if closed && light > 0 {
        let late = dense > 0 && light < dense / LATE_ROWS_SHARE;
        if !late || cluster.len() > situation.fan_in {
            return Some(Job { inputs: inputs(), dense: true });
        }
        return None;
    }
    (cluster.len() >= situation.fan_in && light > 0)
        .then(|| Job { inputs: inputs(), dense: dense > 0 })
}

fn span(part: &PartEntry) -> TimeRange {
    part.span()
}

/// Groups of parts that overlap in time, directly or through others; in order of time.
fn clusters<'a>(parts: impl Iterator<Item = &'a PartEntry>) -> Vec<Vec<&'a PartEntry>> {
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

/// Cuts the ranges of a merge's outputs so that each is newer than every archived part that it
/// overlaps: an output is as old as the oldest input with rows in it, and an input is newer than
/// the archived parts that it overlaps itself.
pub(crate) fn apart(
    ranges: Vec<TimeRange>,
    inputs: &[&PartEntry],
    archived: &[PartEntry],
) -> Vec<TimeRange> {
    let mut out = Vec::with_capacity(ranges.len());
    for range in ranges {
        let here = inputs.iter().filter(|input| input.times.overlaps(&range));
        let Some(oldest) = here.map(|input| input.positions.0).min() else { continue };
        let meets = || archived.iter().filter(|part| part.span().overlaps(&range));
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
mod tests {
    use super::*;

    fn part(id: u64, level: u8, min: i64, max: i64, rows: u64) -> PartEntry {
        let times = TimeRange::new(min, max);
        let partition = (level > 0).then_some(times);
        let positions = (id, id);
        PartEntry {
            id,
            table: 1,
            level,
            positions,
            partition,
            rows,
            times,
            bytes: 1,
            deletes_applied: id,
            object: None,
            hot_until: 0,
        }
    }

    fn situation(parts: &[PartEntry]) -> Situation<'_> {
        Situation {
            parts,
            archived: &[],
            partition_ns: 80,
            newest: 0,
            fan_in: 3,
            hidden: &[],
            weighty: false,
            ageing: None,
        }
    }

    fn check(parts: &[PartEntry], newest: i64, expect: Option<(&[u64], bool)>) {
        let situation = Situation { newest, ..situation(parts) };
        let found = next(&situation).map(|job| (job.inputs, job.dense));
        assert_eq!(found, expect.map(|(ids, dense)| (ids.to_vec(), dense)));
    }

    #[test]
    fn flush_parts_go_together() {
        let parts = [part(1, 0, 0, 9, 5), part(2, 0, 5, 300, 5), part(3, 0, 1, 2, 5)];
        check(&parts[..2], 300, None);
        check(&parts, 300, Some((&[1, 2, 3], false)));
    }

    #[test]
    fn a_closed_partition_becomes_dense_once() {
        check(&[part(1, 1, 0, 79, 100)], 79, None);
        check(&[part(1, 1, 0, 79, 100)], 90, Some((&[1], true)));
        check(&[part(1, 2, 0, 79, 100)], 90, None);
    }

    #[test]
    fn few_late_rows_wait() {
        let dense = part(1, 2, 0, 79, 1000);
        check(&[dense.clone(), part(2, 1, 0, 79, 10)], 500, None);
        check(&[dense.clone(), part(2, 1, 0, 79, 200)], 500, Some((&[1, 2], true)));
    }

    /// Parts of ten rows in the partitions from `first` on, dense.
    fn tiny(first: u64, count: u64) -> Vec<PartEntry> {
        let one = |n: u64| part(n + 1, 2, n as i64 * 80, n as i64 * 80 + 79, 10);
        (first..first + count).map(one).collect()
    }

    #[test]
    fn small_old_neighbours_become_one_part() {
        check(&tiny(0, 3), 10_000, None);
        check(&tiny(0, 4), 10_000, Some((&[1, 2, 3, 4], true)));
        // The newest one is open still.
        check(&tiny(0, 4), 319, None);
        let between = |middle: PartEntry| [tiny(0, 3), vec![middle], tiny(4, 3)].concat();
        check(&between(part(9, 2, 240, 319, SMALL_ROWS_MAX)), 10_000, None);
        check(&between(part(9, 2, 240, 319, 200)), 10_000, None);
        check(&between(part(9, 2, 240, 319, 20)), 10_000, Some((&[1, 2, 3, 9, 5, 6, 7], true)));
        check(&between(PartEntry { hot_until: 5, ..part(9, 2, 240, 319, 10) }), 10_000, None);
        let parts = [tiny(0, 2), tiny(3, 2)].concat();
        let archived = [part(9, 2, 160, 239, 10)];
        let there = Situation { newest: 10_000, archived: &archived, ..situation(&parts) };
        assert_eq!(next(&there), None);
        assert!(next(&Situation { archived: &[], ..there }).is_some());
        let apart = [tiny(0, 2), tiny(2_000, 2)].concat();
        check(&apart, 1_000_000, None);
    }

    #[test]
    fn the_smallest_are_merged_first() {
        let large = |id, n: i64| part(id, 2, n * 80, n * 80 + 79, 5_000);
        let last = vec![large(91, 5), large(92, 6), large(93, 7)];
        let parts = [vec![large(90, 0)], tiny(1, 4), last.clone()].concat();
        check(&parts, 10_000, Some((&[2, 3, 4, 5], true)));
        let once = [vec![large(90, 0), part(99, 2, 80, 399, 40)], last].concat();
        check(&once, 10_000, Some((&[90, 99, 91, 92, 93], true)));
        check(&once[..4], 10_000, None);
    }

    /// A row a partition for years: the number of parts stays small, and every row is written anew
    /// a few times only.
    #[test]
    fn a_partition_a_day_does_not_become_a_file_a_day() {
        let options = |retention_ns| TableOptions {
            partition_ns: 80,
            retention_ns,
            ..TableOptions::default()
        };
        years_of_few_rows(|_| None);
        years_of_few_rows(|newest| Ageing::new(&options(Some(80 * 400)), newest));
    }

    fn years_of_few_rows(ageing: impl Fn(i64) -> Option<Ageing>) {
        let (mut parts, mut written, days) = (Vec::new(), 0, 3_000u64);
        for day in 0..days {
            parts.extend(tiny(day, 1));
            let newest = (day as i64 + 2) * 80;
            let ageing = ageing(newest);
            while let Some(job) = next(&Situation { newest, ageing, ..situation(&parts) }) {
                let (gone, mut left): (Vec<_>, Vec<_>) =
                    parts.into_iter().partition(|part| job.inputs.contains(&part.id));
                let mut histogram = Histogram::default();
                for part in &gone {
                    histogram.add(part.times, part.rows, 80);
                    written += part.rows;
                }
                let ranges = histogram.ranges(80, ageing);
                let divided =
                    gone.iter().any(|part| ageing.is_some_and(|ageing| ageing.divides(part)));
                assert!(divided || ranges.len() < gone.len(), "a merge makes no progress");
                let rows = gone.iter().map(|part| part.rows).sum::<u64>() / ranges.len() as u64;
                let made = |(at, range): (usize, &TimeRange)| {
                    part(gone[0].id + at as u64 * 100_000, 2, range.min, range.max, rows)
                };
                left.extend(ranges.iter().enumerate().map(made));
                parts = left;
            }
            assert!(parts.len() <= 100, "{} parts on day {day}", parts.len());
        }
        assert!(written <= days * 10 * 10, "{written} rows written for {}", days * 10);
    }

    #[test]
    fn a_full_merge_ends() {
        let parts = [part(1, 2, 0, 79, 10), part(2, 0, 40, 120, 10), part(3, 2, 160, 239, 9)];
        let situation = situation(&parts);
        assert_eq!(next_full(&situation).unwrap().inputs, [1, 2]);
        let situation = Situation { parts: &parts[2..], ..situation };
        assert_eq!(next_full(&situation), None);
        let hidden = Situation { hidden: &[3], ..situation };
        assert_eq!(next_full(&hidden).unwrap().inputs, [3]);
    }

    #[test]
    fn many_deletes_have_their_parts_written_anew() {
        let parts = [part(1, 2, 0, 79, 9), part(2, 2, 80, 159, 9), part(3, 0, 0, 300, 9)];
        let light = Situation { hidden: &[2], newest: 300, ..situation(&parts) };
        assert_eq!(next(&light), None);
        let heavy = Situation { weighty: true, ..light };
        assert_eq!(next(&heavy), Some(Job { inputs: vec![2], dense: true }));
        let flushed = Situation { hidden: &[2, 3], ..heavy };
        assert_eq!(next(&flushed), Some(Job { inputs: vec![3], dense: false }));
        let none = Situation { hidden: &[], ..flushed };
        assert_eq!(next(&none), None);
    }

    #[test]
    fn what_is_not_newer_than_a_bad_part_stays() {
        let check = |parts: &[PartEntry], bad: &[u64], free_ids: &[u64]| {
            let (free, held) = free(parts.to_vec(), |part| bad.contains(&part.id));
            assert_eq!(free.iter().map(|part| part.id).collect::<Vec<_>>(), free_ids);
            assert_eq!(free.len() + held.len(), parts.len());
            free
        };
        let merged = [part(1, 2, 0, 79, 9), part(2, 1, 10, 20, 9), part(4, 1, 30, 40, 9)];
        check(&merged, &[], &[1, 2, 4]);
        check(&merged, &[2], &[4]);
        // What does not overlap has nothing to do with it, nor have newer flush parts.
        let others = [part(3, 2, 100, 150, 9), part(5, 0, 0, 200, 9), part(6, 0, 0, 9, 9)];
        check(&[&merged[..], &others].concat(), &[4], &[2, 3, 5, 6]);
        // A bad flush part keeps what is before it; once those behind it were merged, it waits among
        // the merged ones.
        check(&[&merged[..], &others].concat(), &[5], &[6]);
        let passed = [part(1, 2, 0, 79, 9), part(2, 0, 10, 20, 9), part(3, 1, 5, 60, 9)];
        check(&passed, &[2], &[3]);
        let repaired = check(&passed, &[], &[1, 2, 3]);
        assert_eq!(repaired[1].level, 1);
        let situation = Situation { newest: 300, ..situation(&repaired) };
        assert_eq!(next(&situation).unwrap().inputs, [1, 3, 2]);
    }

    #[test]
    fn outputs_are_newer_than_the_archived_parts_that_they_overlap() {
        let whole = vec![TimeRange::new(0, 399)];
        let (old, late) = (part(2, 2, 200, 399, 9), part(9, 1, 50, 250, 9));
        let inputs = [&old, &late];
        assert_eq!(apart(whole.clone(), &inputs, &[]), whole);
        // Newer than all inputs' oldest: only an older archived part may be covered.
        let below = part(1, 2, 0, 99, 9);
        assert_eq!(apart(whole.clone(), &inputs, std::slice::from_ref(&below)), whole);
        let between = PartEntry { positions: (3, 5), ..below };
        let archived = [between, part(4, 2, 100, 199, 9)];
        let cut = [(0, 99), (100, 199), (200, 399)].map(|(min, max)| TimeRange::new(min, max));
        assert_eq!(apart(whole, &inputs, &archived), cut);
        assert_eq!(apart(vec![TimeRange::new(1000, 2000)], &inputs, &archived), []);
    }

    #[test]
    fn small_partitions_share_a_part() {
        let mut histogram = Histogram::default();
        for day in 0..180 {
            histogram.add(TimeRange::new(day * 10, day * 10 + 9), 100, 10);
        }
        assert_eq!(histogram.ranges(10, None), [TimeRange::new(0, 1799)]);
        histogram.add(TimeRange::new(905, 906), 1 << 20, 10);
        let ranges = histogram.ranges(10, None);
        assert_eq!(ranges.len(), 3);
        assert_eq!(ranges[1], TimeRange::new(900, 909));
        assert!(ranges.windows(2).all(|pair| pair[0].max + 1 == pair[1].min));
    }

    fn ageing(newest: i64) -> Ageing {
        let options = TableOptions {
            partition_ns: 10,
            archive_after_ns: Some(240),
            retention_ns: Some(1000),
            ..TableOptions::default()
        };
        Ageing::new(&options, newest).unwrap()
    }

    #[test]
    fn young_partitions_share_parts_within_blocks() {
        // Blocks of three partitions, eight of which make 240.
        assert_eq!(ageing(1000), Ageing { block_ns: 30, from: 750 });
        assert_eq!(Ageing::new(&TableOptions::default(), 1000), None);
        let mut histogram = Histogram::default();
        let rows =
            |histogram: &mut Histogram, time| histogram.add(TimeRange::new(time, time), 9, 10);
        [5, 700, 752, 771, 785, 990].into_iter().for_each(|time| rows(&mut histogram, time));
        let expected = [(0, 749), (750, 779), (780, 809), (810, 989), (990, 999)];
        let expected = expected.map(|(min, max)| TimeRange::new(min, max));
        assert_eq!(histogram.ranges(10, Some(ageing(1000))), expected);
    }

    #[test]
    fn parts_of_several_ages_are_divided_once() {
        let parts = [part(1, 2, 0, 800, 9), part(2, 2, 801, 999, 9)];
        let old = Situation { newest: 1000, ..situation(&parts) };
        assert_eq!((next(&old), next_full(&old)), (None, None));
        let divided = Situation { ageing: Some(ageing(1000)), ..old };
        let job = Some(Job { inputs: vec![1], dense: true });
        assert_eq!((next(&divided), next_full(&divided)), (job.clone(), job));
        let apart = [part(3, 2, 0, 749, 9), part(4, 2, 750, 800, 9), parts[1].clone()];
        let apart = Situation { parts: &apart, ..divided };
        assert_eq!((next(&apart), next_full(&apart)), (None, None));
    }
}
