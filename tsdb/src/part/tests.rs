//! Parts against a naive model, their statistics, their size and their damage.

pub(crate) mod damage;
mod figures;
mod golden;
mod memory;
mod model;
mod size;

use std::sync::Arc;

use memory::TestStorage;

use super::*;
use crate::error::Result;
use crate::types::{Column, ColumnId, PhysicalType, Rows, SeriesRows, Values};

const HOUR: i64 = 3_600_000_000_000;

fn spec(level: Level, columns: &[(ColumnId, PhysicalType)]) -> PartSpec {
    PartSpec {
        id: 42,
        table: 7,
        level,
        positions: 5..=9,
        partition: None,
        columns: columns.to_vec(),
    }
}

/// Writes rows in calls of the given sizes and opens the part.
fn write(storage: &TestStorage, spec: PartSpec, calls: &[Rows]) -> Result<Part> {
    let mut writer = PartWriter::create(storage, "p", spec)?;
    for rows in calls {
        writer.append(rows)?;
    }
    let meta = writer.finish()?;
    let part = Part::open(storage, "p")?;
    assert_eq!(part.meta(), &meta);
    Ok(part)
}

fn groups(part: &Part) -> Vec<GroupRef> {
    part.groups_for(0..=u32::MAX, TimeRange::ALL).expect("groups")
}

/// `counts[s]` rows of series `s`, every `step` ns, one integer column.
fn regular(counts: &[u32], step: i64) -> Rows {
    let mut rows = Rows::default();
    let mut values = Vec::new();
    for (series, count) in counts.iter().enumerate().filter(|(_, c)| **c > 0) {
        let start = rows.times.len() as u32;
        rows.series.push(SeriesRows { series: series as u32, start, rows: *count });
        for i in 0..i64::from(*count) {
            rows.times.push(i * step);
            values.push((i * 7 + series as i64) % 101);
        }
    }
    rows.columns.push((3, Column::good(Values::Int(values))));
    rows
}

fn group_rows(counts: &[u32]) -> Vec<(u32, u32, u32)> {
    let storage = TestStorage::default();
    let spec = spec(Level::Light, &[(3, PhysicalType::Int)]);
    let part = write(&storage, spec, &[regular(counts, HOUR / 360)]).expect("writes");
    part.verify().expect("verifies");
    groups(&part).iter().map(|g| (g.series_first, g.series_last, g.rows)).collect()
}

#[test]
fn busy_series_have_groups_of_their_own() {
    assert_eq!(group_rows(&[10, 20, 30]), [(0, 2, 60)]);
    assert_eq!(group_rows(&[10, 4320, 30, 5]), [(0, 0, 10), (1, 1, 4320), (2, 3, 35)]);
    assert_eq!(group_rows(&[8640]), [(0, 0, 4320), (0, 0, 4320)]);
    assert_eq!(group_rows(&[20_000]), [(0, 0, 8192), (0, 0, 5904), (0, 0, 5904)]);
    assert_eq!(group_rows(&[1000; 10]), [(0, 7, 8000), (8, 9, 2000)]);
}

#[test]
fn zones_follow_calendar_hours() {
    let zones = |count: u32, step: i64, offset: i64| -> Vec<u32> {
        let times: Vec<i64> = (0..i64::from(count)).map(|i| offset + i * step).collect();
        let series = [SeriesRows { series: 1, start: 0, rows: count }];
        let zones = zones::cut(&series, &times);
        assert!(zones.iter().all(|z| z.single_series && z.rows as usize <= ZONE_ROWS_MAX));
        assert_eq!(zones.iter().map(|z| z.rows).sum::<u32>(), count);
        zones.iter().map(|z| z.rows).collect()
    };
    // 10 s: each hour a zone, also a short first one.
    assert_eq!(zones(1080, HOUR / 360, 0), [360, 360, 360]);
    assert_eq!(zones(380, HOUR / 360, HOUR - HOUR / 18), [20, 360]);
    // 1 s: an hour is too long and is cut evenly.
    assert_eq!(zones(7200, HOUR / 3600, 0), [450; 16]);
    // 2 minutes: two hours make a zone; before 1970 too.
    assert_eq!(zones(120, HOUR / 30, 0), [60, 60]);
    assert_eq!(zones(120, HOUR / 30, -2 * HOUR), [60, 60]);
    // A row a day for years: zones are kept from getting small.
    assert!(zones(1800, 24 * HOUR, 0).iter().all(|rows| *rows == 60));
}

#[test]
fn small_series_share_zones_and_say_so() {
    let rows = regular(&[5, 100, 5, 7], HOUR / 360);
    let zones = zones::cut(&rows.series, &rows.times);
    let seen: Vec<_> = zones.iter().map(|z| (z.rows, z.single_series)).collect();
    assert_eq!(seen, [(5, true), (100, true), (12, false)]);
    let rows = regular(&[40; 30], HOUR / 360);
    let zones = zones::cut(&rows.series, &rows.times);
    assert!(zones.iter().all(|z| z.rows <= 512 && !z.single_series));
    assert_eq!(zones.len(), 3);
}

#[test]
fn only_needed_index_is_read_and_it_can_be_dropped() {
    let storage = TestStorage::default();
    let columns: Vec<_> = (1..=4).map(|id| (id, PhysicalType::Int)).collect();
    let mut writer =
        PartWriter::create(&storage, "p", spec(Level::Light, &columns)).expect("creates");
    for series in 0..600u32 {
        let mut rows = regular(&[1024], HOUR / 360);
        rows.series[0].series = series;
        writer.append(&rows).expect("appends");
    }
    writer.finish().expect("finishes");
    let part = Part::open(&storage, "p").expect("opens");
    assert_eq!(part.group_count(), 600);
    let found = part.groups_for(300..=300, TimeRange::ALL).expect("finds");
    assert_eq!(found.iter().map(|g| (g.index, g.series_first)).collect::<Vec<_>>(), [(300, 300)]);
    let one_page = part.cached_bytes();
    assert!(part.zone_stats(&found[0], 3).expect("reads").is_some());
    assert_eq!(part.zone_stats(&found[0], 2).expect("reads"), None);
    assert_eq!(part.read_column(&found[0], 2, PhysicalType::Int).expect("reads"), None);
    assert_eq!(part.read_column(&found[0], 99, PhysicalType::Int).expect("reads"), None);
    assert!(part.read_column(&found[0], 3, PhysicalType::Bool).is_err());
    assert!(part.cached_bytes() > one_page && one_page > 0);
    part.trim(0);
    assert_eq!(part.cached_bytes(), 0);
    assert!(part.groups_for(0..=9, TimeRange::new(-9, -1)).expect("finds").is_empty());
    assert_eq!(part.cached_bytes(), 0);
    assert_eq!(groups(&part).len(), 600);
    part.verify().expect("verifies");
}

#[test]
fn neighbouring_columns_take_one_read() {
    let storage = TestStorage::default();
    let columns: Vec<_> = (1..=5).map(|id| (id, PhysicalType::Int)).collect();
    let mut rows = regular(&[2000], HOUR / 360);
    let column = rows.columns.remove(0).1;
    rows.columns = (1..=5).map(|id| (id, column.clone())).collect();
    let part = write(&storage, spec(Level::Dense, &columns), &[rows]).expect("writes");
    let group = groups(&part)[0];
    part.read_columns(&group, &columns).expect("fills the index cache");
    let before = storage.reads();
    let got = part.read_columns(&group, &columns).expect("reads");
    assert_eq!(storage.reads() - before, 1);
    assert!(got.iter().all(|c| c.as_deref() == Some(&column)));
}

#[test]
fn rows_that_do_not_fit_are_refused_whole() {
    let storage = TestStorage::default();
    let spec = spec(Level::Light, &[(3, PhysicalType::Int)]);
    let mut writer = PartWriter::create(&storage, "p", spec).expect("creates");
    let good = regular(&[0, 10], 1);
    let bad = |change: &dyn Fn(&mut Rows)| {
        let mut rows = regular(&[0, 0, 10], 1);
        change(&mut rows);
        rows
    };
    writer.append(&good).expect("appends");
    let cases = [
        regular(&[10], 1),
        good.clone(),
        bad(&|r| r.times.swap(3, 4)),
        bad(&|r| r.series[0].rows = 9),
        bad(&|r| r.series[0].start = 1),
        bad(&|r| r.columns[0].0 = 4),
        bad(&|r| r.columns[0].1 = Column::good(Values::Bool(vec![true; 10]))),
        bad(&|r| r.columns[0].1 = Column::good(Values::Int(vec![1; 9]))),
        bad(&|r| r.columns[0].1.states = Some(vec![3; 10])),
        bad(&|r| r.columns.push(r.columns[0].clone())),
    ];
    for (number, case) in cases.iter().enumerate() {
        assert!(writer.append(case).is_err(), "case {number}");
    }
    writer.append(&bad(&|_| {})).expect("goes on");
    assert_eq!(writer.finish().expect("finishes").rows, 20);
}

#[test]
fn an_unfinished_file_does_not_open() {
    let storage = TestStorage::default();
    let spec = spec(Level::Light, &[(3, PhysicalType::Int)]);
    let mut writer = PartWriter::create(&storage, "p", spec).expect("creates");
    writer.append(&regular(&[200_000], 1)).expect("appends");
    drop(writer);
    assert!(Part::open(&storage, "p").is_err());
}

#[test]
fn a_part_without_rows_is_a_part() {
    let storage = TestStorage::default();
    let part = write(&storage, spec(Level::Dense, &[(3, PhysicalType::Int)]), &[]).expect("writes");
    assert_eq!((part.meta().rows, part.group_count()), (0, 0));
    assert!(part.meta().times.is_empty() && groups(&part).is_empty());
    part.verify().expect("verifies");
}

#[test]
fn huge_values_end_groups_early() {
    let storage = TestStorage::default();
    let mut rows = regular(&[12], 1);
    let mut texts = crate::types::BytesColumn::default();
    (0..12u8).for_each(|i| texts.push(&vec![i; 1 << 20]));
    let column = Column::good(Values::Bytes(texts));
    rows.columns = vec![(3, column.clone())];
    let spec = spec(Level::Dense, &[(3, PhysicalType::Bytes)]);
    let part = write(&storage, spec, &[rows]).expect("writes");
    let groups = groups(&part);
    assert!(groups.len() >= 3 && groups.iter().all(|g| g.rows <= 4));
    let mut row = 0;
    for group in &groups {
        let got =
            part.read_column(group, 3, PhysicalType::Bytes).expect("reads").expect("is there");
        for i in 0..got.len() {
            assert_eq!(got.values.get(i), column.values.get(row));
            row += 1;
        }
        let range = part.text_range(group, 3).expect("reads").expect("is there");
        assert!(range.max_cut && range.may_hold(&[range.max[0]; 1 << 20]));
        assert!(!range.may_hold(&[99; 20]));
    }
    part.verify().expect("verifies");
}

#[test]
fn integers_widen_into_float_columns() {
    let storage = TestStorage::default();
    let rows = regular(&[50], 1);
    let expected = rows.columns[0].1.values.clone().widen_to(PhysicalType::Float);
    let part =
        write(&storage, spec(Level::Dense, &[(3, PhysicalType::Int)]), std::slice::from_ref(&rows))
            .expect("writes");
    let group = groups(&part)[0];
    let read = |part: &Part| {
        part.read_column(&group, 3, PhysicalType::Float)
            .expect("reads")
            .expect("is there")
            .values
            .clone()
    };
    assert_eq!(read(&part), expected);
    let storage = TestStorage::default();
    let part =
        write(&storage, spec(Level::Dense, &[(3, PhysicalType::Float)]), &[rows]).expect("writes");
    assert_eq!(read(&part), expected);
}

#[test]
fn parts_are_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>(_: &T) {}
    let storage = TestStorage::default();
    let spec = spec(Level::Light, &[(3, PhysicalType::Int)]);
    let part = Arc::new(write(&storage, spec, &[regular(&[5000], 1)]).expect("writes"));
    shared(&part);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| part.verify().expect("verifies"));
        }
    });
}
