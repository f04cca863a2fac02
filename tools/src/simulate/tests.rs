//! Shapes and ranges as in the files that TSBS itself makes.

use std::collections::{BTreeMap, BTreeSet};

use super::random::Random;
use super::*;

const START: i64 = 1_704_067_200_000_000_000;
const SECOND: i64 = 1_000_000_000;

fn cpu(hosts: u32, seconds: i64, seed: u64) -> CpuOnly {
    let end_ns = START + seconds * SECOND;
    CpuOnly::new(CpuSpec { hosts, start_ns: START, end_ns, interval_ns: 10 * SECOND, seed })
}

fn iot(trucks: u32, seconds: i64, seed: u64) -> Iot {
    let end_ns = START + seconds * SECOND;
    Iot::new(IotSpec { trucks, start_ns: START, end_ns, interval_ns: 10 * SECOND, seed })
}

fn all(mut next: impl FnMut(&mut Vec<u8>, usize) -> usize, rows_max: usize) -> (String, usize) {
    let (mut out, mut rows) = (Vec::new(), 0);
    loop {
        match next(&mut out, rows_max) {
            0 => return (String::from_utf8(out).unwrap(), rows),
            more => rows += more,
        }
    }
}

type Pairs<'a> = Vec<(&'a str, &'a str)>;

/// Measurement, tags, fields and time of a line; none of the names or values has escapes.
fn read(line: &str) -> (&str, Pairs<'_>, Pairs<'_>, i64) {
    let parts: Vec<&str> = line.split(' ').collect();
    assert_eq!(parts.len(), 3, "{line}");
    let pair = |text| str::split_once(text, '=').unwrap();
    let (table, tags) = parts[0].split_once(',').unwrap();
    let tags = tags.split(',').map(pair).collect();
    let fields = parts[1].split(',').map(pair).collect();
    (table, tags, fields, parts[2].parse().unwrap())
}

#[test]
fn normal_deviates_are_normal() {
    let mut random = Random::new(5);
    let values: Vec<f64> = (0..200_000).map(|_| random.normal()).collect();
    let share = |from: f64, to: f64| {
        let inside = values.iter().filter(|v| (from..to).contains(*v)).count();
        inside as f64 / values.len() as f64
    };
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance = values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64;
    assert!(mean.abs() < 0.01, "{mean}");
    assert!((variance - 1.0).abs() < 0.02, "{variance}");
    for (from, to, expect) in [
        (-0.5, 0.5, 0.38292),
        (0.5, 1.5, 0.24173),
        (-2.0, -1.0, 0.13591),
        (2.0, 9.0, 0.02275),
        (3.442619855899, 9.0, 0.000288),
        (-9.0, -3.0, 0.00135),
    ] {
        let found = share(from, to);
        let allowed = 6.0 * (expect / values.len() as f64).sqrt();
        assert!((found - expect).abs() < allowed, "{from} to {to}: {found}, not {expect}");
    }
}

#[test]
fn cpu_lines_look_like_those_of_tsbs() {
    let mut generator = cpu(50, 600, 1);
    assert_eq!(generator.rows_left(), 3000);
    let (text, rows) = all(|out, max| generator.next_chunk(out, max), 700);
    assert_eq!((rows, generator.rows_left()), (3000, 0));
    let mut before: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let mut steps: BTreeMap<i64, u32> = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let (table, tags, fields, time) = read(line);
        assert_eq!(table, "cpu");
        assert_eq!(tags.iter().map(|t| t.0).collect::<Vec<_>>(), CPU_TAGS);
        assert_eq!(fields.iter().map(|f| f.0).collect::<Vec<_>>(), CPU_FIELDS);
        assert_eq!(tags[0].1, format!("host_{}", number % 50));
        assert_eq!(time, START + (number / 50) as i64 * 10 * SECOND);
        assert!(tags[2].1.starts_with(tags[1].1), "a datacenter lies in its region");
        assert!(tags[3].1.parse::<u32>().unwrap() < 100);
        assert!(tags[7].1.parse::<u32>().unwrap() < 20);
        let values: Vec<i64> =
            fields.iter().map(|f| f.1.strip_suffix('i').unwrap().parse().unwrap()).collect();
        assert!(values.iter().all(|v| (0..=100).contains(v)));
        if let Some(old) = before.insert(line.split(' ').next().unwrap().into(), values.clone()) {
            for (old, new) in old.iter().zip(&values) {
                *steps.entry(new - old).or_default() += 1;
            }
        }
    }
    assert_eq!(before.len(), 50);
    // Shares of the steps in TSBS's own file: 0.376 for none, 0.238 for one up.
    let total: u32 = steps.values().sum();
    let share = |step| f64::from(steps[&step]) / f64::from(total);
    assert!((share(0) - 0.376).abs() < 0.02, "{}", share(0));
    assert!((share(1) - 0.238).abs() < 0.02 && (share(-1) - 0.238).abs() < 0.02);
}

#[test]
fn a_seed_is_a_data_set_however_it_is_cut() {
    let text = |seed, rows_max| {
        let mut generator = cpu(7, 130, seed);
        all(|out, max| generator.next_chunk(out, max), rows_max).0
    };
    assert_eq!(text(3, 1), text(3, 1000));
    assert_ne!(text(3, 10), text(4, 10));
    let text = |seed, rows_max| {
        let mut generator = iot(7, 500, seed);
        all(|out, max| generator.next_chunk(out, max), rows_max).0
    };
    assert_eq!(text(3, 1), text(3, 1000));
    assert_ne!(text(3, 10), text(4, 10));
}

#[test]
fn csv_holds_the_same_rows() {
    let (mut lines, mut csv) = (cpu(5, 60, 9), cpu(5, 60, 9));
    let (lines, _) = all(|out, max| lines.next_chunk(out, max), 8);
    let (csv, _) = all(|out, max| csv.next_chunk_csv(out, max), 7);
    let header: Vec<&str> = CPU_CSV_HEADER.trim_end().split(',').collect();
    assert_eq!(header[0], "time");
    assert_eq!(header[1..11], CPU_TAGS);
    assert_eq!(header[11..], CPU_FIELDS);
    assert_eq!(lines.lines().count(), csv.lines().count());
    for (number, (line, row)) in lines.lines().zip(csv.lines()).enumerate() {
        let (_, tags, fields, _) = read(line);
        let mut expect = format!("2024-01-01T00:00:{}0Z", number / 5);
        tags.iter().for_each(|tag| expect.push_str(&format!(",{}", tag.1)));
        fields.iter().for_each(|f| expect.push_str(&format!(",{}", f.1.trim_end_matches('i'))));
        assert_eq!(row, expect);
    }
}

#[test]
fn empty_ranges_have_no_rows() {
    assert_eq!(cpu(5, 0, 1).next_chunk(&mut Vec::new(), 10), 0);
    assert_eq!(cpu(5, -10, 1).next_chunk(&mut Vec::new(), 10), 0);
    assert_eq!(cpu(0, 100, 1).next_chunk(&mut Vec::new(), 10), 0);
    assert_eq!(cpu(3, 11, 1).next_chunk(&mut Vec::new(), 10), 6);
    assert_eq!(iot(0, 100, 1).next_chunk(&mut Vec::new(), 10), 0);
}

/// Number of rows, and of those: without a tag, without a changing field, out of order.
fn iot_shares(text: &str) -> (BTreeMap<&str, usize>, usize, usize, usize) {
    let mut tables: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut tagless, mut fieldless, mut late, mut newest) = (0, 0, 0, 0);
    let mut seen = BTreeSet::new();
    for line in text.lines() {
        let (table, tags, fields, time) = read(line);
        *tables.entry(table).or_default() += 1;
        let names: &[&str] =
            if table == "readings" { &READINGS_FIELDS } else { &DIAGNOSTICS_FIELDS };
        // What is there is there in order.
        let places = |given: &[(&str, &str)], all: &[&str]| -> Vec<usize> {
            given.iter().map(|(n, _)| all.iter().position(|a| a == n).unwrap()).collect()
        };
        let (tag_places, field_places) = (places(&tags, &IOT_TAGS), places(&fields, names));
        assert!(tag_places.is_sorted() && field_places.is_sorted());
        tagless += usize::from(tags.len() < IOT_TAGS.len());
        fieldless +=
            usize::from(field_places.iter().filter(|p| **p >= 3).count() < names.len() - 3);
        late += usize::from(time < newest);
        newest = newest.max(time);
        for (name, value) in fields {
            let whole = name == "status";
            assert_eq!(value.ends_with('i'), whole);
            let value: f64 = value.trim_end_matches('i').parse().unwrap();
            let (min, max) = match name {
                "load_capacity" => (1500.0, 5000.0),
                "fuel_capacity" => (150.0, 300.0),
                "nominal_fuel_consumption" => (12.0, 19.0),
                "latitude" => (-90.0, 90.0),
                "longitude" => (-180.0, 180.0),
                "elevation" | "current_load" => (0.0, 5000.0),
                "heading" => (0.0, 360.0),
                "fuel_consumption" => (0.0, 50.0),
                "fuel_state" => (0.0, 1.0),
                "status" => (0.0, 5.0),
                _ => (0.0, 100.0),
            };
            assert!((min..=max).contains(&value), "{name}={value}");
        }
        if tags.len() == IOT_TAGS.len() {
            assert!(seen.insert((table, tags[0].1, time)), "a row comes once: {line}");
        }
    }
    (tables, tagless, fieldless, late)
}

#[test]
fn iot_lines_look_like_those_of_tsbs() {
    let mut generator = iot(60, 3600, 2);
    let (text, rows) = all(|out, max| generator.next_chunk(out, max), 999);
    let made = 60.0 * 360.0 * 2.0;
    let (tables, tagless, fieldless, late) = iot_shares(&text);
    let near = |found: f64, expect: f64, by: f64| assert!((found - expect).abs() < by, "{found}");
    // Shares of TSBS's own file of 100 trucks and 6 h: 388,650 of 432,000 rows, half of them
    // each table; a tag gone in 0.55 %, a changing field in 9.2 %, 1.6 % behind a later row.
    near(rows as f64 / made, 0.8997, 0.01);
    near(tables["readings"] as f64 / rows as f64, 0.5, 0.01);
    near(tagless as f64 / rows as f64, 0.0055, 0.002);
    near(fieldless as f64 / rows as f64, 0.092, 0.012);
    assert!(late > 0 && late < rows / 10, "{late}");
    let first = text.lines().next().unwrap();
    assert!(first.starts_with("readings,"), "{first}");
}
