//! The planner on tables of parts.

use super::*;
use crate::engine::KeyGroup;

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
        group: 0,
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
        groups: &NO_GROUPS,
        columns: &[],
    }
}

static NO_GROUPS: Groups = Groups::new();

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
    let options =
        |retention_ns| TableOptions { partition_ns: 80, retention_ns, ..TableOptions::default() };
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
            let divided = gone.iter().any(|part| ageing.is_some_and(|ageing| ageing.divides(part)));
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
    assert_eq!(next(&heavy), Some(Job { inputs: vec![2], dense: true, as_is: false }));
    let flushed = Situation { hidden: &[2, 3], ..heavy };
    assert_eq!(next(&flushed), Some(Job { inputs: vec![3], dense: false, as_is: false }));
    let none = Situation { hidden: &[], ..flushed };
    assert_eq!(next(&none), None);
}

#[test]
fn what_is_not_newer_than_a_bad_part_stays() {
    let check = |parts: &[PartEntry], bad: &[u64], free_ids: &[u64]| {
        let (free, held) = free(parts.to_vec(), &NO_GROUPS, |part| bad.contains(&part.id));
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
    let apart = |ranges, inputs: &[&PartEntry], archived: &[PartEntry]| {
        apart(ranges, inputs, archived, 0, &NO_GROUPS)
    };
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
    let rows = |histogram: &mut Histogram, time| histogram.add(TimeRange::new(time, time), 9, 10);
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
    let job = Some(Job { inputs: vec![1], dense: true, as_is: false });
    assert_eq!((next(&divided), next_full(&divided)), (job.clone(), job));
    let apart = [part(3, 2, 0, 749, 9), part(4, 2, 750, 800, 9), parts[1].clone()];
    let apart = Situation { parts: &apart, ..divided };
    assert_eq!((next(&apart), next_full(&apart)), (None, None));
}

/// Three groups that are apart, and a part in one of them.
fn three() -> Groups {
    let mut groups = Groups::new();
    for (number, value) in (1..).zip(["a", "b", "c"]) {
        let values = Some(vec![value.as_bytes().to_vec()]);
        groups.insert(number, KeyGroup { columns: vec![1], values });
    }
    groups
}

fn of(group: u32, part: PartEntry) -> PartEntry {
    PartEntry { group, ..part }
}

#[test]
fn groups_are_merged_each_for_itself() {
    let groups = three();
    let check = |parts: &[PartEntry], newest, expect: Option<(&[u64], bool)>| {
        let there = Situation { groups: &groups, columns: &[1], newest, ..situation(parts) };
        let found = next(&there).map(|job| (job.inputs, job.dense));
        assert_eq!(found, expect.map(|(ids, dense)| (ids.to_vec(), dense)));
    };
    let light = |id, group| of(group, part(id, 1, 0, 79, 10));
    let parts = [light(1, 1), light(2, 2), light(3, 1), light(4, 2), light(5, 3)];
    check(&parts, 79, None);
    let third = [&parts[..], &[light(6, 2)]].concat();
    check(&third, 79, Some((&[2, 4, 6], false)));
    // One of any group is of them all.
    let whole = [&parts[..], &[light(6, 0)]].concat();
    check(&whole, 79, Some((&[1, 2, 3, 4, 5, 6], false)));
    let dense = |id, group| of(group, part(id, 2, 0, 79, 10));
    check(&[dense(1, 1), dense(2, 2), dense(3, 3)], 500, None);
    check(&[dense(1, 1), dense(2, 2), light(3, 2)], 500, Some((&[2, 3], true)));
}

#[test]
fn small_neighbours_are_of_one_group() {
    let groups = three();
    fn there<'a>(parts: &'a [PartEntry], groups: &'a Groups) -> Situation<'a> {
        Situation { groups, columns: &[1], newest: 10_000, ..situation(parts) }
    }
    let job = |parts: &[PartEntry]| next(&there(parts, &groups)).map(|job| job.inputs);
    let of_groups = |n: u64, group| of(group, tiny(n, 1).remove(0));
    let mixed: Vec<PartEntry> = (0..7).map(|n| of_groups(n, 1 + n as u32 % 2)).collect();
    assert_eq!(job(&mixed), Some(vec![1, 3, 5, 7]));
    // A large one of another group between them is in nobody's way, one of any group is.
    let large = |group| of(group, part(90, 2, 240, 319, SMALL_ROWS_MAX));
    let around: Vec<PartEntry> = [0, 2, 4, 6].map(|n| of_groups(n, 1)).to_vec();
    let with = |group| [&around[..], &[large(group)]].concat();
    assert_eq!(job(&with(2)), Some(vec![1, 3, 5, 7]));
    assert_eq!((job(&with(1)), job(&with(0))), (None, None));
    let archived = |group| {
        let archived = [large(group)];
        next(&Situation { archived: &archived, ..there(&around, &groups) }).is_some()
    };
    assert_eq!([archived(0), archived(1), archived(2)], [false, false, true]);
}

#[test]
fn a_full_merge_splits_by_the_columns_of_now() {
    let groups = three();
    let job = |parts: &[PartEntry], columns: &[ColumnId]| {
        let there = Situation { groups: &groups, columns, ..situation(parts) };
        next_full(&there).map(|job| job.inputs)
    };
    let dense = |id, group| of(group, part(id, 2, 0, 79, 10));
    let split = [dense(1, 1), dense(2, 2)];
    assert_eq!(job(&split, &[1]), None);
    assert_eq!(job(&split, &[]), Some(vec![1, 2]));
    assert_eq!(job(&split, &[7]), Some(vec![1, 2]));
    assert_eq!(job(&[dense(1, 0)], &[1]), Some(vec![1]));
    assert_eq!(job(&[dense(1, 0)], &[]), None);
}

#[test]
fn what_is_kept_back_or_archived_is_of_its_group() {
    let groups = three();
    let parts = [(1, 1), (2, 2), (3, 1), (4, 0)].map(|(id, g)| of(g, part(id, 1, 0, 79, 9)));
    let left = |bad: u64| {
        let (free, _) = free(parts.to_vec(), &groups, |part| part.id == bad);
        free.iter().map(|part| part.id).collect::<Vec<_>>()
    };
    assert_eq!((left(3), left(2), left(4)), (vec![2, 4], vec![1, 3, 4], vec![]));
    let whole = vec![TimeRange::new(0, 399)];
    let (old, late) = (of(1, part(2, 2, 200, 399, 9)), of(0, part(9, 1, 50, 250, 9)));
    let cut = |group, of_archived| {
        let archived = [of(of_archived, part(4, 2, 100, 199, 9))];
        apart(whole.clone(), &[&old, &late], &archived, group, &groups).len()
    };
    // An output of a group that the old part is not of is as new as the late one.
    assert_eq!([cut(1, 1), cut(1, 0), cut(1, 2), cut(2, 2), cut(2, 0)], [3, 3, 1, 1, 1]);
}

proptest::proptest! {
    /// Clusters against the plainest way of finding them.
    #[test]
    fn clusters_are_what_hangs_together(
        parts in proptest::collection::vec((0i64..60, 0i64..20, 0u32..6), 0..24),
    ) {
        let mut groups = three();
        groups.insert(4, KeyGroup { columns: vec![1], values: None });
        groups.insert(5, KeyGroup { columns: vec![2], values: Some(vec![vec![1]]) });
        let made = |(at, (min, len, group)): (usize, &(i64, i64, u32))| {
            of(*group, part(at as u64, 1, *min, min + len, 1))
        };
        let parts: Vec<PartEntry> = parts.iter().enumerate().map(made).collect();
        let mut twin: Vec<Vec<u64>> = Vec::new();
        for part in &parts {
            let meets = |cluster: &mut Vec<u64>| {
                cluster.iter().any(|id| overlap(&parts[*id as usize], part, &groups))
            };
            let mut joined: Vec<u64> = twin.extract_if(.., meets).flatten().collect();
            joined.push(part.id);
            twin.push(joined);
        }
        twin.iter_mut().for_each(|cluster| cluster.sort_unstable());
        twin.sort();
        let found = clusters(parts.iter(), |part| part.group, &groups);
        let starts: Vec<i64> = found.iter().map(|cluster| span(cluster[0]).min).collect();
        proptest::prop_assert!(starts.is_sorted());
        let ids = |cluster: &Vec<&PartEntry>| {
            let mut ids: Vec<u64> = cluster.iter().map(|part| part.id).collect();
            ids.sort_unstable();
            ids
        };
        let mut found: Vec<Vec<u64>> = found.iter().map(ids).collect();
        found.sort();
        proptest::prop_assert_eq!(found, twin);
    }
}
