//! Aggregates against the plain way: scan all rows, test each, add each.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::tests::random::Random;
use crate::io::{MemoryStorage, Storage};
use crate::series::Bitmap;
use crate::types::*;
use crate::{Command, Db, NewColumn, NewTable, Options, Outcome, ScanRequest, Table};

use super::*;
use crate::deletes::Selection;
use crate::scan::{Comparison, FieldTest, Literal};

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3600 * SECOND;
/// Fields of the table: float, integer, boolean, text, and an integer that becomes a float.
const FIELDS: [(ColumnId, ColumnType); 5] = [
    (2, ColumnType::Float64),
    (3, ColumnType::Int64),
    (4, ColumnType::Bool),
    (5, ColumnType::Text),
    (6, ColumnType::Float64),
];

fn create(db: &Db, merge: MergeMode) -> TableId {
    let column =
        |name: &str, kind, key| NewColumn { name: name.into(), kind, key, not_null: false };
    let new = NewTable {
        name: "t".into(),
        time_name: "time".into(),
        columns: vec![
            column("k", ColumnType::Text, true),
            column("f", ColumnType::Float64, false),
            column("n", ColumnType::Int64, false),
            column("b", ColumnType::Bool, false),
            column("s", ColumnType::Text, false),
            column("w", ColumnType::Int64, false),
        ],
        options: TableOptions { merge, partition_ns: 12 * HOUR, ..TableOptions::default() },
        if_not_exists: false,
    };
    match db.execute(Command::CreateTable(new)).unwrap() {
        Outcome::Table(id) => id,
        other => panic!("{other:?}"),
    }
}

fn cell(random: &mut Random, kind: PhysicalType, plain: bool) -> (CellState, Value) {
    let state = match random.below(16) {
        _ if plain => CellState::GOOD,
        0 => CellState::ABSENT,
        1 => CellState::NULL,
        2 => CellState::value(Quality::Bad),
        _ => CellState::GOOD,
    };
    let value = match kind {
        PhysicalType::Int => Value::Int(match random.below(200) {
            0 => i64::MAX - random.below(9) as i64,
            _ => random.below(100) as i64 - 50,
        }),
        PhysicalType::Float => Value::Float(match random.below(200) {
            0 => f64::NAN,
            1 => f64::INFINITY,
            _ => random.below(1000) as f64 / 10.0 - 50.0,
        }),
        PhysicalType::Bool => Value::Bool(random.below(2) == 0),
        PhysicalType::Bytes => Value::Bytes(vec![b'a'; random.below(4) as usize]),
    };
    (state, value)
}

/// A burst of rows of one series: dense, now and then over rows that are there already.
fn burst(random: &mut Random, table: TableId, widened: bool) -> Command {
    let start = random.below(40) as i64 * HOUR / 3;
    let step = [1, 10, 10, 60, 700][random.below(5) as usize] * SECOND;
    let most = if random.below(4) == 0 { 3000 } else { 300 };
    let rows = 1 + random.below(most) as usize;
    let plain = random.below(3) > 0;
    let mut columns = Vec::new();
    for (id, kind) in FIELDS {
        if random.below(6) == 0 {
            continue;
        }
        let kind = if id == 6 && !widened { PhysicalType::Int } else { kind.physical() };
        let mut builder = ColumnBuilder::new(kind, rows);
        for _ in 0..rows {
            let (state, value) = cell(random, kind, plain);
            builder.push(state, value.as_ref());
        }
        columns.push((id, builder.finish()));
    }
    let name = format!("k{}", random.below(5));
    Command::Write(WriteBatch {
        table,
        series: vec![SeriesRef::Key(Key::new([(1, name.as_bytes())]))],
        key_of_row: vec![0; rows],
        times: (0..rows as i64).map(|i| start + i * step + random.below(2) as i64 % step).collect(),
        columns,
    })
}

/// Deletes a span of some series, or rows one by one.
fn delete(random: &mut Random, db: &Db, table: TableId) -> Command {
    let all = db.snapshot().table_by_id(table).unwrap().series_count();
    let from = random.below(14 * 3600) as i64 * SECOND;
    let times = TimeRange::new(from, from + random.below(3 * 3600) as i64 * SECOND);
    let selection = match random.below(3) {
        0 => Selection::Range { series: None, times },
        1 => Selection::Range {
            series: Some((0..all).filter(|_| random.below(2) == 0).collect()),
            times,
        },
        _ => {
            let times: Vec<i64> = (0..200).map(|i| from + i * 10 * SECOND).collect();
            let series = times.iter().map(|_| random.below(u64::from(all.max(1))) as u32).collect();
            Selection::Points { series, times }
        }
    };
    Command::Delete { table, selections: vec![selection] }
}

fn filled(seed: u64, merge: MergeMode) -> Arc<Db> {
    let mut random = Random::new(seed);
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let options = Options { background: false, shards: 3, ..Options::default() };
    let db = Db::open(storage, options).unwrap();
    let table = create(&db, merge);
    let writes = 4 + random.below(16);
    let widened_at = random.below(writes + 4);
    for at in 0..writes {
        if at == widened_at {
            db.execute(Command::WidenColumn { table, column: 6, kind: ColumnType::Float64 })
                .unwrap();
        }
        db.execute(burst(&mut random, table, at >= widened_at)).unwrap();
        if random.below(4) == 0 {
            db.execute(delete(&mut random, &db, table)).unwrap();
        }
        match random.below(8) {
            0 | 1 => db.checkpoint().unwrap(),
            2 => {
                db.checkpoint().unwrap();
                db.merge_full(Some(table)).unwrap();
            }
            _ => {}
        }
    }
    db
}

fn request(random: &mut Random, table: &Table) -> AggregateRequest {
    let all = table.series_count();
    let series = match random.below(3) {
        0 => None,
        _ => Some((0..all).filter(|_| random.below(2) == 0).collect::<Bitmap>()),
    };
    let times = match random.below(3) {
        0 => TimeRange::ALL,
        _ => {
            let from = random.below(15 * 3600) as i64 * SECOND;
            TimeRange::new(from, from + random.below(6 * 3600) as i64 * SECOND)
        }
    };
    let widths = [SECOND, 60 * SECOND, 1800 * SECOND, HOUR, 6 * HOUR, 24 * HOUR];
    let buckets = (random.below(5) > 0).then(|| Buckets {
        width: widths[random.below(6) as usize],
        origin: [0, 17 * SECOND, -HOUR / 2][random.below(3) as usize],
    });
    let set = Arc::new(series.clone().unwrap_or_else(|| table.series().all(all)));
    let groups = match random.below(3) {
        0 => GroupOf::One,
        1 => GroupOf::Each,
        _ => {
            let of = set.iter().map(|series| series % 2 + 7).collect();
            GroupOf::Listed { set, of: Arc::new(of) }
        }
    };
    let sets = [
        Wants::COUNT,
        Wants::SUM,
        Wants::EXTREMES,
        Wants::EDGES,
        Wants::SUM.and(Wants::EXTREMES).and(Wants::EDGES),
    ];
    let mut columns = Vec::new();
    for (column, _) in FIELDS {
        if random.below(2) == 0 {
            columns.push(AggregateColumn { column, wants: sets[random.below(5) as usize] });
        }
    }
    let mut filters = Vec::new();
    while random.below(3) == 0 {
        filters.push(filter(random, table));
    }
    let streams = 1 + random.below(3) as usize;
    let use_zones = random.below(5) > 0;
    let split = [None, None, Some(2), Some(3), Some(6)][random.below(5) as usize];
    let counted = (0..random.below(3)).map(|_| filter(random, table)).collect();
    AggregateRequest {
        series,
        times,
        buckets,
        groups,
        split,
        columns,
        counted,
        filters,
        streams,
        use_zones,
    }
}

fn filter(random: &mut Random, table: &Table) -> FieldFilter {
    let column = [2, 3, 4, 6][random.below(4) as usize];
    let comparison = [
        Comparison::Less,
        Comparison::LessEqual,
        Comparison::Greater,
        Comparison::GreaterEqual,
        Comparison::Equal,
        Comparison::NotEqual,
    ][random.below(6) as usize];
    let number = random.below(100) as i64 - 50;
    let kind = table.schema().column_by_id(column).unwrap().kind.physical();
    let literal = match (kind, random.below(2)) {
        (PhysicalType::Bool, one) => Literal::Bool(one == 1),
        (_, 0) => Literal::Int(number),
        _ => Literal::Float(number as f64 + 0.5 * random.below(2) as f64),
    };
    let test = match random.below(8) {
        0 => FieldTest::Present,
        1 => FieldTest::Missing,
        _ => FieldTest::Compare(comparison, literal),
    };
    FieldFilter { column, test }
}

/// What one value says of SQL's comparison, written without looking at the code under test.
fn holds(test: &FieldTest, state: CellState, value: ValueRef<'_>) -> bool {
    let (comparison, literal) = match test {
        FieldTest::Present => return state.is_value(),
        FieldTest::Missing => return !state.is_value(),
        FieldTest::Compare(comparison, literal) => (comparison, literal),
    };
    if !state.is_value() {
        return false;
    }
    let number = |v: f64| if v.is_nan() { (1, 0.0) } else { (0, v) };
    let left = match value {
        ValueRef::Int(v) => number(v as f64),
        ValueRef::Float(v) => number(v),
        ValueRef::Bool(v) => number(f64::from(u8::from(v))),
        ValueRef::Bytes(_) => panic!("texts are not compared"),
    };
    let right = match literal {
        Literal::Int(v) => number(*v as f64),
        Literal::Float(v) => number(*v),
        Literal::Bool(v) => number(f64::from(u8::from(*v))),
    };
    match comparison {
        Comparison::Less => left < right,
        Comparison::LessEqual => left <= right,
        Comparison::Greater => left > right,
        Comparison::GreaterEqual => left >= right,
        Comparison::Equal => left == right,
        Comparison::NotEqual => left != right,
    }
}

/// What the plain way knows of a slot.
#[derive(Default)]
struct Slot {
    rows: u64,
    passing: Vec<u64>,
    /// Of each column the values with their times, in order of rows.
    values: Vec<Vec<(i64, f64)>>,
}

/// Slots by group, bucket and the text of the value that splits.
type Plain = BTreeMap<(u32, i64, String), Slot>;

/// A value to group by as a text: zeros are one, and so are all NaN.
fn split_text(value: Option<ValueRef<'_>>) -> String {
    match value {
        Some(ValueRef::Int(v)) => v.to_string(),
        Some(ValueRef::Float(0.0)) => "0".into(),
        Some(ValueRef::Float(v)) => v.to_string(),
        _ => "none".into(),
    }
}

fn as_number(value: ValueRef<'_>) -> f64 {
    match value {
        ValueRef::Int(v) => v as f64,
        ValueRef::Float(v) => v,
        _ => 0.0,
    }
}

fn plain(table: &Table, request: &AggregateRequest) -> Plain {
    let columns: Vec<ColumnId> = FIELDS.iter().map(|(id, _)| *id).collect();
    let scan = ScanRequest {
        series: request.series.clone(),
        times: request.times,
        ..ScanRequest::all(columns)
    };
    let mut found = Plain::new();
    for mut stream in table.scan(scan).unwrap().streams {
        while let Some(rows) = stream.next_rows().unwrap() {
            for run in &rows.series {
                for row in run.start as usize..(run.start + run.rows) as usize {
                    let cell = |id| rows.column(id).unwrap().cell(row);
                    let pass = request.filters.iter().all(|f| {
                        let (state, value) = cell(f.column);
                        holds(&f.test, state, value)
                    });
                    if !pass {
                        continue;
                    }
                    let time = rows.times[row];
                    let bucket = request.buckets.map_or(0, |b| {
                        (i128::from(time) - i128::from(b.origin)).div_euclid(b.width.into()) as i64
                    });
                    let split = request.split.map(|id| {
                        let (state, value) = cell(id);
                        split_text(state.is_value().then_some(value))
                    });
                    let key = (request.groups.group(run.series), bucket, split.unwrap_or_default());
                    let slot = found.entry(key).or_insert_with(|| Slot {
                        passing: vec![0; request.counted.len()],
                        values: vec![Vec::new(); request.columns.len()],
                        rows: 0,
                    });
                    slot.rows += 1;
                    for (test, passing) in request.counted.iter().zip(&mut slot.passing) {
                        let (state, value) = cell(test.column);
                        *passing += u64::from(holds(&test.test, state, value));
                    }
                    for (wanted, values) in request.columns.iter().zip(&mut slot.values) {
                        let (state, value) = cell(wanted.column);
                        if state.is_value() {
                            values.push((time, as_number(value)));
                        }
                    }
                }
            }
        }
    }
    found
}

fn close(a: f64, b: f64, scale: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-12 * scale
}

fn same_number(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan())
}

/// Compares the figures of one column in one slot.
fn check_column(
    got: &ColumnAggregates,
    at: usize,
    wants: Wants,
    values: &[(i64, f64)],
    what: &str,
) {
    assert_eq!(got.count()[at], values.len() as u64, "count: {what}");
    let (sum, extremes, first, last) = match got {
        ColumnAggregates::Other { .. } => return,
        ColumnAggregates::Int { of, .. } => (
            of.sum.get(at).map(|v| *v as f64),
            of.extremes.min.get(at).map(|v| (*v as f64, of.extremes.max[at] as f64, false)),
            of.first.get(at).map(|(t, v)| (*t, *v as f64)),
            of.last.get(at).map(|(t, v)| (*t, *v as f64)),
        ),
        ColumnAggregates::Float { of, .. } => (
            of.sum.get(at).copied(),
            of.extremes.min.get(at).map(|v| (*v, of.extremes.max[at], of.extremes.nan[at])),
            of.first.get(at).copied(),
            of.last.get(at).copied(),
        ),
    };
    if wants.has(Wants::SUM) {
        let (plain, scale) = values.iter().fold((0.0, 0.0), |(s, a), (_, v)| (s + v, a + v.abs()));
        assert!(close(sum.unwrap(), plain, scale), "sum {sum:?} {plain}: {what}");
    }
    if values.is_empty() {
        return;
    }
    if wants.has(Wants::EXTREMES) {
        let numbers = values.iter().map(|v| v.1).filter(|v| !v.is_nan());
        let min = numbers.clone().fold(f64::INFINITY, f64::min);
        let max = numbers.clone().fold(f64::NEG_INFINITY, f64::max);
        let nan = values.iter().any(|v| v.1.is_nan());
        assert_eq!(extremes, Some((min, max, nan)), "extremes: {what}");
    }
    if wants.has(Wants::EDGES) {
        // Several series of a group may have values at one time: any of them will do.
        let ((first_time, first), (last_time, last)) = (first.unwrap(), last.unwrap());
        assert_eq!(first_time, values.iter().map(|v| v.0).min().unwrap(), "first: {what}");
        assert_eq!(last_time, values.iter().map(|v| v.0).max().unwrap(), "last: {what}");
        let held = |time, value| values.iter().any(|v| v.0 == time && same_number(v.1, value));
        assert!(held(first_time, first) && held(last_time, last), "edges: {what}");
    }
}

fn check(table: &Table, request: &AggregateRequest, what: &str) -> u64 {
    let expected = plain(table, request);
    let mut found: Option<Aggregates> = None;
    let planned = table.aggregate(request.clone()).unwrap();
    for mut stream in planned.streams {
        while stream.step().unwrap() {}
        let part = stream.take();
        match &mut found {
            None => found = Some(part),
            Some(all) => all.merge(&part),
        }
    }
    let slots = found.as_ref().map_or(0, Aggregates::len);
    assert_eq!(slots, expected.len(), "slots: {what} {request:?}");
    for (at, key) in found.iter().flat_map(|f| f.keys.iter().enumerate()) {
        let found = found.as_ref().unwrap();
        let split = request.split.map(|_| match &found.splits[key.2 as usize] {
            None => split_text(None),
            Some(value) => split_text(Some(value.as_ref())),
        });
        let slot = &expected[&(key.0, key.1, split.unwrap_or_default())];
        let what = format!("{what} slot {key:?} of {request:?}");
        assert_eq!(found.rows[at], slot.rows, "rows: {what}");
        for (got, passing) in found.passing.iter().zip(&slot.passing) {
            assert_eq!(got[at], *passing, "passing: {what}");
        }
        let wanted = request.columns.iter().zip(&slot.values);
        for (got, (wanted, values)) in found.columns.iter().zip(wanted) {
            check_column(got, at, wanted.wants, values, &format!("column {wanted:?} {what}"));
        }
    }
    planned.stats.zones_pruned.load(std::sync::atomic::Ordering::Relaxed)
}

#[test]
fn aggregates_equal_those_of_plain_scans() {
    let mut zones = 0;
    for seed in crate::engine::tests::seeds(0..24) {
        for merge in [MergeMode::LastNonNull, MergeMode::LastRow, MergeMode::Append] {
            let db = filled(seed, merge);
            let snapshot = db.snapshot();
            let table = snapshot.table("t").unwrap();
            let mut random = Random::new(seed ^ 0xabcd);
            for nth in 0..12 {
                let request = request(&mut random, &table);
                zones += check(&table, &request, &format!("seed {seed} {merge:?} request {nth}"));
            }
        }
    }
    assert!(zones > 400, "statistics answered only {zones} zones");
}

/// Rows of a scan as (series, time, cells of the columns).
fn listed(table: &Table, scan: ScanRequest) -> Vec<(u32, i64, Vec<String>)> {
    let mut found = Vec::new();
    for mut stream in table.scan(scan).unwrap().streams {
        while let Some(rows) = stream.next_rows().unwrap() {
            for run in &rows.series {
                for row in run.start as usize..(run.start + run.rows) as usize {
                    let cell = |(_, c): &(ColumnId, Column)| format!("{:?}", c.cell(row));
                    let cells = rows.columns.iter().map(cell).collect();
                    found.push((run.series, rows.times[row], cells));
                }
            }
        }
    }
    found
}

#[test]
fn filtered_scans_give_the_rows_that_pass() {
    for seed in crate::engine::tests::seeds(100..112) {
        for merge in [MergeMode::LastNonNull, MergeMode::LastRow, MergeMode::Append] {
            let db = filled(seed, merge);
            let snapshot = db.snapshot();
            let table = snapshot.table("t").unwrap();
            let mut random = Random::new(seed ^ 0x1234);
            for _ in 0..8 {
                let filters: Vec<_> =
                    (0..1 + random.below(2)).map(|_| filter(&mut random, &table)).collect();
                let columns: Vec<ColumnId> =
                    FIELDS.iter().map(|f| f.0).filter(|_| random.below(2) == 0).collect();
                let times = TimeRange::new(random.below(6 * 3600) as i64 * SECOND, 12 * HOUR);
                let plain =
                    ScanRequest { times, batch_rows: 100, ..ScanRequest::all(columns.clone()) };
                let got = listed(&table, ScanRequest { filters: filters.clone(), ..plain.clone() });
                let tested: Vec<ColumnId> = filters.iter().map(|f| f.column).collect();
                let mut expect = Vec::new();
                let mut all = listed(&table, plain).into_iter();
                let scan = ScanRequest { times, ..ScanRequest::all(tested) };
                for mut stream in table.scan(scan).unwrap().streams {
                    while let Some(rows) = stream.next_rows().unwrap() {
                        for row in 0..rows.len() {
                            let next = all.next().unwrap();
                            let pass = filters.iter().zip(&rows.columns).all(|(f, (_, c))| {
                                let (state, value) = c.cell(row);
                                holds(&f.test, state, value)
                            });
                            expect.extend(pass.then_some(next));
                        }
                    }
                }
                assert_eq!(got, expect, "seed {seed} {merge:?} {filters:?} {columns:?}");
            }
        }
    }
}

#[test]
fn times_that_meet_are_found_and_the_rest_is_alone() {
    let piece = |min, max| {
        let data = Arc::new(crate::head::RunData { times: vec![min, max], columns: Vec::new() });
        let rows = SeriesRows { series: 0, start: 0, rows: 2 };
        let run = Arc::new(crate::head::Run::new(1..=1, vec![rows], data));
        Piece::of_run(&run, rows, 1, TimeRange::ALL).unwrap()
    };
    let pieces = [piece(0, 100), piece(50, 60), piece(100, 200), piece(300, 400), piece(55, 58)];
    let found = meeting(&pieces);
    assert_eq!(found, [TimeRange::new(50, 60), TimeRange::new(100, 100)]);
    assert_eq!(without(pieces[0].span(), &found), [TimeRange::new(0, 49), TimeRange::new(61, 99)]);
    assert_eq!(without(pieces[1].span(), &found), []);
    assert_eq!(without(pieces[2].span(), &found), [TimeRange::new(101, 200)]);
    assert_eq!(without(pieces[3].span(), &found), [TimeRange::new(300, 400)]);
    let far = [piece(i64::MIN, i64::MAX), piece(i64::MAX - 1, i64::MAX)];
    let found = meeting(&far);
    assert_eq!(found, [TimeRange::new(i64::MAX - 1, i64::MAX)]);
    assert_eq!(without(far[0].span(), &found), [TimeRange::new(i64::MIN, i64::MAX - 2)]);
}
