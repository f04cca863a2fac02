//! Scans and aggregates over full row groups, window by window, against the rows that went in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::aggregate::{
    AggregateColumn, AggregateRequest, Buckets, ColumnAggregates, GroupOf, Wants,
};
use super::{Comparison, FieldFilter, FieldTest, Literal, ScanRequest};
use crate::deletes::Selection;
use crate::engine::tests::random::Random;
use crate::io::{MemoryStorage, Storage};
use crate::types::*;
use crate::{Command, Db, NewColumn, NewTable, Options, Outcome, Table};

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3600 * SECOND;
/// Rows of a long series: groups of 8,192 and of less.
const LONG: usize = 20_000;
/// Series: regular, with jitter, and short ones that share groups.
const SERIES: [(&str, usize, i64); 5] =
    [("a", LONG, 0), ("b", LONG, 9), ("c", 500, 0), ("d", 700, 9), ("e", 30, 0)];

/// An integer, a decimal and a float with gaps: what a row holds.
type Cells = (i64, f64, Option<f64>);
/// Series, time and cells.
type Row = ((u32, i64), Cells);
type Model = BTreeMap<(u32, i64), Cells>;

fn create(db: &Db) -> TableId {
    let column =
        |name: &str, kind, key| NewColumn { name: name.into(), kind, key, not_null: false };
    let new = NewTable {
        name: "t".into(),
        time_name: "time".into(),
        columns: vec![
            column("k", ColumnType::Text, true),
            column("n", ColumnType::Int64, false),
            column("d", ColumnType::Float64, false),
            column("g", ColumnType::Float64, false),
        ],
        options: TableOptions { partition_ns: 10_000 * HOUR, ..TableOptions::default() },
        if_not_exists: false,
    };
    match db.execute(Command::CreateTable(new)).unwrap() {
        Outcome::Table(id) => id,
        other => panic!("{other:?}"),
    }
}

fn write(db: &Db, table: TableId, series: u32, rows: &[(i64, Cells)], model: &mut Model) {
    let mut columns = [
        ColumnBuilder::new(PhysicalType::Int, 0),
        ColumnBuilder::new(PhysicalType::Float, 0),
        ColumnBuilder::new(PhysicalType::Float, 0),
    ];
    for (time, (n, d, g)) in rows {
        columns[0].push(CellState::GOOD, ValueRef::Int(*n));
        columns[1].push(CellState::GOOD, ValueRef::Float(*d));
        let state = if g.is_some() { CellState::GOOD } else { CellState::NULL };
        columns[2].push(state, ValueRef::Float(g.unwrap_or_default()));
        model.insert((series, *time), (*n, *d, *g));
    }
    let name = SERIES[series as usize].0;
    let batch = WriteBatch {
        table,
        series: vec![SeriesRef::Key(Key::new([(1, name.as_bytes())]))],
        key_of_row: vec![0; rows.len()],
        times: rows.iter().map(|(time, _)| *time).collect(),
        columns: (2..).zip(columns.map(ColumnBuilder::finish)).collect(),
    };
    db.execute(Command::Write(batch)).unwrap();
}

/// A table of full groups, and its rows.
fn filled(random: &mut Random) -> (Arc<Db>, TableId, Model) {
    filled_with(random, Options::default())
}

fn filled_with(random: &mut Random, options: Options) -> (Arc<Db>, TableId, Model) {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let options = Options { background: false, shards: 1, ..options };
    let db = Db::open(storage, options).unwrap();
    let table = create(&db);
    let mut model = Model::new();
    for (series, (_, count, jitter)) in (0..).zip(SERIES) {
        let mut at = 50i64;
        let rows = (0..count as i64).map(|i| {
            let time = i * 10 * SECOND + random.below(jitter as u64 + 1) as i64 * 7919;
            at = (at + random.below(7) as i64 - 3).clamp(0, 100);
            let gap = (random.below(9) > 0).then_some(at as f64 / 4.0);
            (time, (at, at as f64 / 100.0 + i as f64, gap))
        });
        let rows: Vec<_> = rows.collect();
        rows.chunks(5000).for_each(|rows| write(&db, table, series, rows, &mut model));
    }
    (db, table, model)
}

fn times(random: &mut Random) -> TimeRange {
    let all = LONG as u64 * 10;
    let from = random.below(all) as i64 * SECOND + random.below(3) as i64 - 1;
    let span = [1, 300, 3600, 3600, 20_000, 90_000][random.below(6) as usize];
    TimeRange::new(from, from + random.below(span + 1) as i64 * SECOND)
}

fn filters(random: &mut Random) -> Vec<FieldFilter> {
    let bound = random.below(100) as i64;
    let (column, comparison) = match random.below(6) {
        0 => (2, Comparison::Less),
        1 => (2, Comparison::Equal),
        2 => (3, Comparison::Greater),
        3 => return vec![FieldFilter { column: 4, test: FieldTest::Missing }],
        _ => return Vec::new(),
    };
    let bound = if column == 3 { bound * LONG as i64 / 100 } else { bound };
    vec![FieldFilter { column, test: FieldTest::Compare(comparison, Literal::Int(bound)) }]
}

fn passes(filters: &[FieldFilter], (n, d, g): &Cells) -> bool {
    filters.iter().all(|filter| match &filter.test {
        FieldTest::Compare(Comparison::Less, Literal::Int(bound)) => n < bound,
        FieldTest::Compare(Comparison::Equal, Literal::Int(bound)) => n == bound,
        FieldTest::Compare(Comparison::Greater, Literal::Int(bound)) => *d > *bound as f64,
        FieldTest::Missing => g.is_none(),
        other => panic!("{other:?}"),
    })
}

fn expected(
    model: &Model,
    series: Option<u32>,
    times: TimeRange,
    filters: &[FieldFilter],
) -> Vec<Row> {
    let wanted = |(key, cells): &(&(u32, i64), &Cells)| {
        series.is_none_or(|series| key.0 == series)
            && (times.min..=times.max).contains(&key.1)
            && passes(filters, cells)
    };
    model.iter().filter(wanted).map(|(key, cells)| (*key, *cells)).collect()
}

/// A row with the states of its cells.
type Whole = (u32, i64, Vec<(CellState, String)>);

/// Batches as one.
fn one(batches: &[Rows]) -> Vec<Whole> {
    let of = |rows: &Rows| {
        let mut found = Vec::new();
        for run in &rows.series {
            for row in run.start as usize..(run.start + run.rows) as usize {
                let cells = rows.columns.iter().map(|(_, column)| {
                    let (state, value) = column.cell(row);
                    (state, format!("{value:?}"))
                });
                found.push((run.series, rows.times[row], cells.collect()));
            }
        }
        assert_eq!(found.len(), rows.len());
        found
    };
    batches.iter().flat_map(of).collect()
}

fn scanned(table: &Table, request: ScanRequest) -> (Vec<Row>, u64) {
    let mut found = Vec::new();
    let scan = table.scan(request.clone()).unwrap();
    let shared = table.scan(request).unwrap().streams;
    for (mut stream, mut shared) in scan.streams.into_iter().zip(shared) {
        let (mut copied, mut batches) = (Vec::new(), Vec::new());
        while let Some(rows) = stream.next_rows().unwrap() {
            copied.push(rows);
        }
        while let Some(batch) = shared.next_batch().unwrap() {
            batches.push(batch.into());
        }
        assert_eq!(one(&batches), one(&copied));
        for rows in copied {
            for run in &rows.series {
                for row in run.start as usize..(run.start + run.rows) as usize {
                    let float = |at: usize| match rows.columns[at].1.cell(row) {
                        (state, ValueRef::Float(v)) => state.is_value().then_some(v),
                        other => panic!("{other:?}"),
                    };
                    let (_, ValueRef::Int(n)) = rows.columns[0].1.cell(row) else { panic!() };
                    found.push(((run.series, rows.times[row]), (n, float(1).unwrap(), float(2))));
                }
            }
        }
    }
    (found, scan.stats.rows_decoded.load(Ordering::Relaxed))
}

/// Rows, sum of the integers and the values that are not gaps, by hour.
type Hours = BTreeMap<i64, (u64, i64, u64)>;

fn aggregated(
    table: &Table,
    series: Option<u32>,
    times: TimeRange,
    filters: &[FieldFilter],
    use_zones: bool,
) -> (Hours, u64) {
    let planned = table.aggregate(AggregateRequest {
        series: series.map(|series| [series].into_iter().collect()),
        times,
        buckets: Some(Buckets { width: HOUR, origin: 0 }),
        groups: GroupOf::One,
        split: None,
        columns: vec![
            AggregateColumn { column: 2, wants: Wants::SUM },
            AggregateColumn { column: 4, wants: Wants::COUNT },
        ],
        counted: Vec::new(),
        filters: filters.to_vec(),
        streams: 1,
        use_zones,
    });
    let planned = planned.unwrap();
    let mut hours = Hours::new();
    for mut stream in planned.streams {
        while stream.step().unwrap() {}
        let found = stream.take();
        for (at, key) in found.keys.iter().enumerate() {
            let ColumnAggregates::Int { of, .. } = &found.columns[0] else { panic!() };
            let sum = i64::try_from(of.sum[at]).unwrap();
            hours.insert(key.1, (found.rows[at], sum, found.columns[1].count()[at]));
        }
    }
    (hours, planned.stats.rows_decoded.load(Ordering::Relaxed))
}

fn check(table: &Table, model: &Model, random: &mut Random, what: &str) {
    let (times, filters) = (times(random), filters(random));
    let series = [None, Some(0), Some(1), Some(3)][random.below(4) as usize];
    let what = format!("{what} {times:?} {filters:?} series {series:?}");
    let expected = expected(model, series, times, &filters);
    let request = ScanRequest {
        series: series.map(|series| [series].into_iter().collect()),
        times,
        filters: filters.clone(),
        batch_rows: [7, 100, 8192][random.below(3) as usize],
        ..ScanRequest::all(vec![2, 3, 4])
    };
    assert!(scanned(table, request).0 == expected, "rows: {what}");
    let mut hours = Hours::new();
    for ((_, time), (n, _, g)) in &expected {
        let hour = hours.entry(time.div_euclid(HOUR)).or_default();
        *hour = (hour.0 + 1, hour.1 + n, hour.2 + u64::from(g.is_some()));
    }
    for use_zones in [true, false] {
        let found = aggregated(table, series, times, &filters, use_zones).0;
        assert_eq!(found, hours, "hours, zones {use_zones}: {what}");
    }
}

#[test]
fn windows_of_full_groups_give_their_rows() {
    for seed in crate::engine::tests::seeds(0..4) {
        let mut random = Random::new(seed);
        let (db, table, mut model) = filled(&mut random);
        db.checkpoint().unwrap();
        if seed % 2 == 0 {
            db.merge_full(Some(table)).unwrap();
        }
        let mut look = |model: &Model, what: &str| {
            let snapshot = db.snapshot();
            for nth in 0..40 {
                let what = format!("seed {seed} {what} request {nth}");
                check(&snapshot.table("t").unwrap(), model, &mut random, &what);
            }
        };
        look(&model, "alone");
        // Rows over those of the part, newer ones between them, and holes.
        let over: Vec<_> = (3000..3050i64).map(|i| (i * 10 * SECOND, (7, 0.5, None))).collect();
        write(&db, table, 0, &over, &mut model);
        let between: Vec<_> =
            (900..1000i64).map(|i| (i * 100 * SECOND + 1, (8, 1.5, Some(2.0)))).collect();
        write(&db, table, 1, &between, &mut model);
        db.checkpoint().unwrap();
        look(&model, "under a newer part");
        for from in [HOUR, 9 * HOUR + 5, 9 * HOUR + HOUR / 2, 30 * HOUR] {
            let times = TimeRange::new(from, from + HOUR / 4);
            let selections = vec![Selection::Range { series: None, times }];
            db.execute(Command::Delete { table, selections }).unwrap();
            model.retain(|(_, time), _| !(times.min..=times.max).contains(time));
        }
        look(&model, "with holes");
    }
}

/// An hour out of a full group costs an hour, wherever it lies.
#[test]
fn a_window_decodes_its_zones_alone() {
    let mut random = Random::new(1);
    // What is asked for often would be decoded whole and kept.
    let options = Options { blocks_bytes_max: 0, ..Options::default() };
    let (db, table, _) = filled_with(&mut random, options);
    db.checkpoint().unwrap();
    db.merge_full(Some(table)).unwrap();
    let snapshot = db.snapshot();
    let table = snapshot.table("t").unwrap();
    for series in [0, 1] {
        for (from, zones) in [(3, 1), (10, 1), (21, 1), (10, 2)] {
            let from = from * HOUR + (zones - 1) * HOUR / 2;
            let times = TimeRange::new(from, from + HOUR - 1);
            let request = ScanRequest {
                series: Some([series].into_iter().collect()),
                times,
                ..ScanRequest::all(vec![2, 3, 4])
            };
            let (rows, decoded) = scanned(&table, request);
            assert_eq!(rows.len(), 360);
            assert_eq!(decoded, 360 * zones as u64, "series {series} from {from}");
            let (hours, decoded) = aggregated(&table, Some(series), times, &[], false);
            assert_eq!(hours.len(), zones as usize);
            assert!(decoded <= 360 * zones as u64, "{decoded} rows");
        }
        // The ends of a long range are decoded, what lies between comes from statistics.
        let times = TimeRange::new(HOUR / 2, 20 * HOUR + HOUR / 2);
        let (hours, decoded) = aggregated(&table, Some(series), times, &[], true);
        assert_eq!(hours.len(), 21);
        assert!(decoded <= 720, "{decoded} rows");
    }
}
