//! What encryption at rest costs: the same work on a plain and a sealed folder, in turns.
//!
//! `cargo run --release -p tsdb --example sealed_speed [folder] [rounds=3] [page shifts …]`. Times
//! are what all threads of the process spent on cores, so that a busy machine disturbs them
//! little, and beside them what the clock on the wall says.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tsdb::crypto::{KeyRing, MasterKey, SealedStorage};
use tsdb::io::{RealStorage, Storage};
use tsdb::types::{
    Column, ColumnType, Key, SeriesRef, TableId, TableOptions, TimeRange, Values, WriteBatch,
};
use tsdb::{Command, Db, NewColumn, NewTable, Options, Outcome, Result, ScanRequest};

const HOSTS: usize = 400;
const FIELDS: u16 = 10;
/// Rows of a host: 12 h at 10 s.
const STEPS: usize = 4320;
/// Steps of a batch: 9,600 rows.
const BATCH_STEPS: usize = 24;
const STEP_NS: i64 = 10_000_000_000;
/// Lookups of one field; of all of them a fifth.
const LOOKUPS: u64 = 60_000;

/// Seconds on cores and on the wall.
#[derive(Clone, Copy)]
struct Spent {
    cores: f64,
    wall: f64,
}

struct Clock {
    cores: f64,
    wall: Instant,
}

impl Clock {
    fn start() -> Clock {
        Clock { cores: core_seconds(), wall: Instant::now() }
    }

    fn spent(&self) -> Spent {
        let wall = self.wall.elapsed().as_secs_f64();
        Spent { cores: core_seconds() - self.cores, wall }
    }
}

/// User and system time of the process so far, from the kernel's ticks of 10 ms.
fn core_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / 100.0
}

/// Small reproducible random numbers (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

fn create(db: &Db) -> Result<TableId> {
    let column = |name: String, kind, key| NewColumn { name, kind, key, not_null: false };
    let mut columns = vec![column("host".into(), ColumnType::Text, true)];
    columns.extend((0..FIELDS).map(|n| column(format!("field_{n}"), ColumnType::Float64, false)));
    let table = NewTable {
        name: "cpu".into(),
        time_name: "time".into(),
        columns,
        options: TableOptions::default(),
        if_not_exists: false,
    };
    match db.execute(Command::CreateTable(table))? {
        Outcome::Table(id) => Ok(id),
        other => panic!("{other:?}"),
    }
}

/// All batches: walks of whole percents, as TSBS makes them.
fn batches(table: TableId) -> Vec<WriteBatch> {
    let mut dice = Dice(1);
    let mut levels = vec![50.0f64; HOSTS * usize::from(FIELDS)];
    let mut batches = Vec::new();
    for first in (0..STEPS).step_by(BATCH_STEPS) {
        let steps = first..first + BATCH_STEPS;
        let mut fields = vec![Vec::new(); usize::from(FIELDS)];
        let (mut key_of_row, mut times) = (Vec::new(), Vec::new());
        for host in 0..HOSTS {
            for step in steps.clone() {
                key_of_row.push(host as u32);
                times.push(step as i64 * STEP_NS);
                for (number, field) in fields.iter_mut().enumerate() {
                    let level = &mut levels[host * usize::from(FIELDS) + number];
                    *level = (*level + dice.below(3) as f64 - 1.0).clamp(0.0, 100.0);
                    field.push(*level);
                }
            }
        }
        let key = |host: usize| SeriesRef::Key(Key::new([(1, format!("host_{host}").as_bytes())]));
        let column = |(number, values)| (2 + number as u16, Column::good(Values::Float(values)));
        batches.push(WriteBatch {
            table,
            series: (0..HOSTS).map(key).collect(),
            key_of_row,
            times,
            columns: fields.into_iter().enumerate().map(column).collect(),
        });
    }
    batches
}

fn count(db: &Db, request: ScanRequest) -> Result<usize> {
    let snapshot = db.snapshot();
    let table = snapshot.table("cpu").ok_or(tsdb::Error::Closed)?;
    let mut rows = 0;
    for stream in &mut table.scan(request)?.streams {
        while let Some(batch) = stream.next_rows()? {
            rows += batch.times.len();
        }
    }
    Ok(rows)
}

/// Random hours of one host, a few columns.
fn lookups(db: &Db, columns: u16) -> Result<()> {
    let mut dice = Dice(2);
    for _ in 0..if columns == 1 { LOOKUPS } else { LOOKUPS / 5 } {
        let host = dice.below(HOSTS as u64) as u32;
        let start = dice.below(STEPS as u64 - 360) as i64 * STEP_NS;
        let request = ScanRequest {
            series: Some([host].into_iter().collect()),
            times: TimeRange::new(start, start + 360 * STEP_NS - 1),
            ..ScanRequest::all((2..2 + columns).collect())
        };
        assert_eq!(count(db, request)?, 360);
    }
    Ok(())
}

const WORK: [&str; 6] = [
    "ingest, durable",
    "flush and merge",
    "an hour of 1 host, 1 field",
    "an hour of 1 host, 10 fields",
    "all rows, 10 fields",
    "open",
];

fn run(folder: &Path, keys: Option<(&Arc<KeyRing>, u8)>) -> Result<(Vec<Spent>, u64)> {
    let io = |e: std::io::Error| tsdb::Error::io("making the folder", &e);
    let plain: Arc<dyn Storage> = Arc::new(RealStorage::new(folder.to_path_buf()).map_err(io)?);
    let storage = match keys {
        Some((keys, shift)) => {
            let sealed = SealedStorage::new(plain, Arc::clone(keys)).with_page_shift(shift);
            Arc::new(sealed) as Arc<dyn Storage>
        }
        None => plain,
    };
    let options = Options { background: false, heads_bytes_max: 1 << 30, ..Options::default() };
    let db = Db::open(Arc::clone(&storage), options.clone())?;
    let batches = batches(create(&db)?);
    let mut spent = Vec::new();
    let clock = Clock::start();
    for batch in batches {
        db.execute(Command::Write(batch))?;
    }
    spent.push(clock.spent());
    let clock = Clock::start();
    db.checkpoint()?;
    db.merge_full(None)?;
    spent.push(clock.spent());
    let bytes = db.stats().part_bytes;
    for columns in [1, FIELDS] {
        let clock = Clock::start();
        lookups(&db, columns)?;
        spent.push(clock.spent());
    }
    let clock = Clock::start();
    for _ in 0..5 {
        let rows = count(&db, ScanRequest::all((2..2 + FIELDS).collect()))?;
        assert_eq!(rows, HOSTS * STEPS);
    }
    spent.push(clock.spent());
    db.close()?;
    drop(db);
    let clock = Clock::start();
    for _ in 0..20 {
        Db::open(Arc::clone(&storage), options.clone())?.close()?;
    }
    spent.push(clock.spent());
    Ok((spent, bytes))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| "/tmp/sealed-speed".into());
    let rounds = arguments.next().map_or(Ok(3), |text| text.parse::<usize>())?;
    let mut shifts: Vec<u8> =
        arguments.map(|text| text.parse()).collect::<std::result::Result<_, _>>()?;
    if shifts.is_empty() {
        shifts.push(12);
    }
    let keys = KeyRing::new(vec![MasterKey::new(&[7; 32])?])?;
    let mut forms = vec![None];
    forms.extend(shifts.iter().copied().map(Some));
    // Plain once more, to tell what the order does.
    forms.push(None);
    let mut all = vec![Vec::new(); forms.len()];
    for round in 0..=rounds {
        for (form, spent) in forms.iter().zip(&mut all) {
            let path = Path::new(&folder).join("data");
            let _gone = std::fs::remove_dir_all(&path);
            let (one, _) = run(&path, form.map(|shift| (&keys, shift)))?;
            // The first round warms everything up.
            if round > 0 {
                spent.push(one);
            }
        }
    }
    println!(
        "{} rows of {FIELDS} fields, medians of {rounds} rounds, s on cores (wall)",
        HOSTS * STEPS
    );
    for (number, work) in WORK.iter().enumerate() {
        let of = |form: usize, pick: fn(&Spent) -> f64| {
            median(all[form].iter().map(|one: &Vec<Spent>| pick(&one[number])).collect())
        };
        let both = |form: usize| (of(form, |s| s.cores), of(form, |s| s.wall));
        let (plain, again) = (both(0), both(shifts.len() + 1));
        print!("{work:<30} plain {:.2} ({:.2})", plain.0, plain.1);
        print!(", again {:.2} ({:.2})", again.0, again.1);
        for (form, shift) in shifts.iter().enumerate() {
            let sealed = both(form + 1);
            let more = 100.0 * (2.0 * sealed.0 / (plain.0 + again.0) - 1.0);
            print!("; {} B pages {:.2} ({:.2}) {more:+.1} %", 1 << shift, sealed.0, sealed.1);
        }
        println!();
    }
    let _gone = std::fs::remove_dir_all(Path::new(&folder).join("data"));
    Ok(())
}
