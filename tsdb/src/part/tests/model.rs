//! Whole parts against the rows that went in.

use proptest::prelude::*;

use super::*;
use crate::types::{CellState, ColumnBuilder, ValueRef};

/// A cell as the model keeps it.
type Cell = (u8, Option<u64>, Vec<u8>);

/// What makes a random table.
#[derive(Clone, Debug)]
struct Plan {
    kinds: Vec<PhysicalType>,
    series: Vec<(u32, u32)>,
    step: i64,
    calls: usize,
    seed: u64,
    level: Level,
}

fn plan() -> impl Strategy<Value = Plan> {
    let kind = (1u8..=4).prop_map(|n| PhysicalType::from_number(n).expect("a type"));
    let series = proptest::collection::vec((1u32..5, prop_oneof![1u32..90, 900u32..1300]), 1..8);
    (
        proptest::collection::vec(kind, 1..5),
        series,
        prop_oneof![Just(0i64), Just(1), Just(HOUR / 360), Just(HOUR / 7)],
        1usize..5,
        any::<u64>(),
        prop_oneof![Just(Level::Light), Just(Level::Dense)],
    )
        .prop_map(|(kinds, series, step, calls, seed, level)| Plan {
            kinds,
            series,
            step,
            calls,
            seed,
            level,
        })
}

struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) % below
    }
}

fn push_cell(random: &mut Random, kind: PhysicalType, style: u64, builder: &mut ColumnBuilder) {
    let state = match (style, random.next(20)) {
        (0, _) => 2,
        (1, _) => 0,
        (_, n @ 0..=6) => [0, 1, 2, 5, 6, 9, 10][n as usize],
        _ => 2,
    };
    let n = random.next(1000);
    let text = format!("a rather long text of number {}", n % 17);
    let value = match kind {
        PhysicalType::Int => ValueRef::Int(match n {
            0..=2 => i64::MIN + n as i64,
            3..=5 => i64::MAX - n as i64,
            n => n as i64 % 100,
        }),
        PhysicalType::Float => ValueRef::Float(match n {
            0..=2 if style == 2 => f64::NAN,
            3..=5 if style == 2 => -0.0,
            n => n as f64 / 100.0,
        }),
        PhysicalType::Bool => ValueRef::Bool(n.is_multiple_of(7)),
        PhysicalType::Bytes => ValueRef::Bytes(&text.as_bytes()[..text.len() - n as usize % 20]),
    };
    builder.push(CellState(state), value);
}

/// The rows of a plan in as many calls as it says.
fn rows_of(plan: &Plan) -> Vec<Rows> {
    let mut random = Random(plan.seed);
    // 0: all good, 1: all absent, 2: mixed, 3: missing from the calls.
    let styles: Vec<u64> = plan.kinds.iter().map(|_| random.next(4)).collect();
    let mut all = Vec::new();
    let (mut series, mut start_time) = (0, -3 * HOUR);
    for (gap, count) in &plan.series {
        series += gap;
        for i in 0..i64::from(*count) {
            all.push((series, start_time + i * plan.step + random.next(2) as i64));
        }
        start_time += HOUR / 5;
    }
    // Jitter may turn two neighbours around where steps are small.
    all.sort_unstable();
    let size = all.len().div_ceil(plan.calls);
    let mut calls = Vec::new();
    for piece in all.chunks(size) {
        let mut rows = Rows::default();
        for run in piece.chunk_by(|a, b| a.0 == b.0) {
            let start = rows.times.len() as u32;
            rows.series.push(SeriesRows { series: run[0].0, start, rows: run.len() as u32 });
            rows.times.extend(run.iter().map(|(_, time)| time));
        }
        for (index, kind) in plan.kinds.iter().enumerate().filter(|(i, _)| styles[*i] != 3) {
            let mut builder = ColumnBuilder::new(*kind, 0);
            for _ in piece {
                push_cell(&mut random, *kind, styles[index], &mut builder);
            }
            rows.columns.push((index as ColumnId * 3, builder.finish()));
        }
        calls.push(rows);
    }
    calls
}

fn cell(column: Option<&Column>, row: usize) -> Cell {
    let Some(column) = column else {
        return (0, None, Vec::new());
    };
    let (state, value) = column.cell(row);
    if !state.is_value() {
        let default = match value {
            ValueRef::Int(v) => v == 0,
            ValueRef::Float(v) => v.to_bits() == 0,
            ValueRef::Bool(v) => !v,
            ValueRef::Bytes(v) => v.is_empty(),
        };
        assert!(default, "a cell without a value holds {value:?}");
        return (state.0, None, Vec::new());
    }
    match value {
        ValueRef::Int(v) => (state.0, Some(v as u64), Vec::new()),
        ValueRef::Float(v) => (state.0, Some(v.to_bits()), Vec::new()),
        ValueRef::Bool(v) => (state.0, Some(u64::from(v)), Vec::new()),
        ValueRef::Bytes(v) => (state.0, None, v.to_vec()),
    }
}

/// Series, time and cells, row by row.
fn flatten(
    series: &[SeriesRows],
    times: &[i64],
    columns: &[Option<&Column>],
    out: &mut Vec<(u32, i64, Vec<Cell>)>,
) {
    for run in series {
        for (at, time) in times[run.start as usize..][..run.rows as usize].iter().enumerate() {
            let row = run.start as usize + at;
            let cells = columns.iter().map(|c| cell(*c, row)).collect();
            out.push((run.series, *time, cells));
        }
    }
}

/// Every row of a part: decoded, then decoded again and kept, then as it was kept.
fn read_back(part: &Part, columns: &[(ColumnId, PhysicalType)]) -> Vec<(u32, i64, Vec<Cell>)> {
    let decoded = read_rows(part, columns);
    let blocks = Arc::new(Blocks::new(1 << 30));
    part.keep_in(&blocks);
    assert_eq!(read_rows(part, columns), decoded);
    let held = blocks.held();
    assert_eq!(read_rows(part, columns), decoded);
    assert_eq!(blocks.held(), held);
    for group in groups(part) {
        let kept = part.held_columns(&group, columns, 0).expect("reads").expect("all are held");
        for (kept, read) in kept.iter().zip(part.read_columns(&group, columns).expect("reads")) {
            assert_eq!(kept.as_ref().map(Arc::as_ptr), read.as_ref().map(Arc::as_ptr));
        }
    }
    decoded
}

fn read_rows(part: &Part, columns: &[(ColumnId, PhysicalType)]) -> Vec<(u32, i64, Vec<Cell>)> {
    let mut out = Vec::new();
    for group in groups(part) {
        let keys = part.read_keys(&group).expect("keys");
        let got = part.read_columns(&group, columns).expect("columns");
        let refs: Vec<_> = got.iter().map(Option::as_deref).collect();
        flatten(&keys.series, &keys.times, &refs, &mut out);
        check_ranges(part, &group, columns, &keys, &refs);
        for (index, (id, kind)) in columns.iter().enumerate() {
            check_stats(part, &group, *id, *kind, refs[index]);
        }
    }
    out
}

/// Rows of a group read apart equal those of the whole.
fn check_ranges(
    part: &Part,
    group: &GroupRef,
    columns: &[(ColumnId, PhysicalType)],
    keys: &GroupKeys,
    whole: &[Option<&Column>],
) {
    let mut random = Random(u64::from(group.rows));
    for _ in 0..6 {
        let from = random.next(u64::from(group.rows) + 1) as u32;
        let to = from + random.next(u64::from(group.rows - from) + 1) as u32;
        let got = part.read_columns_range(group, columns, from..to).expect("columns");
        for (got, whole) in got.iter().zip(whole) {
            assert_eq!(got.is_some(), whole.is_some());
            assert!(got.as_ref().is_none_or(|column| column.len() == (to - from) as usize));
            for row in from..to {
                let part = cell(got.as_deref(), (row - from) as usize);
                assert_eq!(part, cell(*whole, row as usize), "row {row} of {from}..{to}");
            }
        }
        let times = part.read_times_range(group, from..to);
        if group.own_series {
            assert_eq!(times.expect("times"), keys.times[from as usize..to as usize]);
        } else {
            assert!(times.is_err());
        }
    }
    let beyond = 0..group.rows + 1;
    assert!(part.read_columns_range(group, columns, beyond.clone()).is_err());
    assert!(part.read_times_range(group, beyond).is_err());
}

/// Statistics against a recomputation that shares no code with the writer's.
fn check_stats(
    part: &Part,
    group: &GroupRef,
    id: ColumnId,
    kind: PhysicalType,
    column: Option<&Column>,
) {
    let stats = part.zone_stats(group, id).expect("statistics");
    let zones = part.zones(group).expect("zones");
    assert_eq!(zones.len(), group.zones as usize);
    assert_eq!(stats.is_some(), column.is_some());
    let (Some(stats), Some(column)) = (stats, column) else {
        return;
    };
    assert_eq!(stats.len(), zones.len());
    for (zone, stats) in zones.iter().zip(stats) {
        let rows = zone.start as usize..(zone.start + zone.rows) as usize;
        let of = |states: &[u8]| {
            rows.clone().filter(|r| states.contains(&column.state(*r).0)).count() as u32
        };
        assert_eq!(
            (stats.good, stats.not_good, stats.nulls),
            (of(&[2]), of(&[6, 10]), of(&[1, 5, 9]))
        );
        let present: Vec<_> = rows.filter(|r| column.state(*r).is_value()).collect();
        match stats.values {
            ZoneValues::None => assert!(present.is_empty() || kind == PhysicalType::Bytes),
            ZoneValues::Int { min, max, sum, first, last } => {
                let values: Vec<i64> = present
                    .iter()
                    .map(|r| match column.values.get(*r) {
                        ValueRef::Int(v) => v,
                        ValueRef::Bool(v) => i64::from(v),
                        other => panic!("{other:?}"),
                    })
                    .collect();
                let total: i128 = values.iter().map(|v| i128::from(*v)).sum();
                assert_eq!((Some(&min), Some(&max)), (values.iter().min(), values.iter().max()));
                assert_eq!((Some(&first), Some(&last)), (values.first(), values.last()));
                assert_eq!(sum.map(i128::from), i64::try_from(total).ok().map(i128::from));
            }
            ZoneValues::Float { min, max, sum, first, last, nan } => {
                let values: Vec<f64> = present
                    .iter()
                    .map(|r| match column.values.get(*r) {
                        ValueRef::Float(v) => v,
                        other => panic!("{other:?}"),
                    })
                    .collect();
                let least = values.iter().copied().fold(f64::INFINITY, f64::min);
                let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let total = values.iter().fold(0.0, |a, b| a + b);
                assert!(min == least && max == greatest);
                assert!(sum == total || (sum.is_nan() && total.is_nan()));
                assert_eq!(Some(first.to_bits()), values.first().map(|v| v.to_bits()));
                assert_eq!(Some(last.to_bits()), values.last().map(|v| v.to_bits()));
                assert_eq!(nan, values.iter().any(|v| v.is_nan()));
            }
        }
    }
}

fn check_plan(plan: &Plan) {
    let columns: Vec<_> =
        plan.kinds.iter().enumerate().map(|(i, kind)| (i as ColumnId * 3, *kind)).collect();
    let calls = rows_of(plan);
    let storage = TestStorage::default();
    let part = write(&storage, spec(plan.level, &columns), &calls).expect("writes");
    let mut expected = Vec::new();
    for rows in &calls {
        let refs: Vec<_> = columns.iter().map(|(id, _)| rows.column(*id)).collect();
        flatten(&rows.series, &rows.times, &refs, &mut expected);
    }
    assert!(read_back(&part, &columns) == expected, "other rows came back: {plan:?}");
    part.verify().expect("verifies");
    let meta = part.meta();
    assert_eq!(meta.rows, expected.len() as u64);
    assert_eq!(meta.times.min, expected.iter().map(|r| r.1).min().expect("rows"));
    assert_eq!(meta.times.max, expected.iter().map(|r| r.1).max().expect("rows"));
    assert_eq!(meta.series_count as usize, expected.chunk_by(|a, b| a.0 == b.0).count());
    check_pruning(&part, &expected);
}

/// A range of series and times finds every group that holds such a row.
fn check_pruning(part: &Part, expected: &[(u32, i64, Vec<Cell>)]) {
    for row in expected.iter().step_by(97) {
        let found = part.groups_for(row.0..=row.0, TimeRange::new(row.1, row.1)).expect("finds");
        let holds = found.iter().any(|group| {
            let keys = part.read_keys(group).expect("keys");
            keys.series.iter().any(|run| {
                let times = &keys.times[run.start as usize..(run.start + run.rows) as usize];
                run.series == row.0 && times.contains(&row.1)
            })
        });
        assert!(holds, "series {} at {} is not found", row.0, row.1);
    }
}

/// Blocks with pages inside: a series that fills its groups, in every type and style.
#[test]
fn full_groups_come_back() {
    for (seed, level) in (0..8).zip([Level::Dense, Level::Light].into_iter().cycle()) {
        let step = [HOUR / 360, HOUR / 7, 0, 1][seed as usize / 2];
        let kinds = (1..=4).chain(1..=4).chain(1..=4);
        let kinds = kinds.map(|n| PhysicalType::from_number(n).expect("a type")).collect();
        check_plan(&Plan { kinds, series: vec![(1, 9000), (1, 40)], step, calls: 2, seed, level });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn random_parts_come_back(plan in plan()) {
        check_plan(&plan);
    }
}
