//! Speed and size of part files on synthetic plant data, one core, in memory.
//!
//! `cargo run --release -p tsdb --example part_speed [series] [rows=4320] [set …]`; times are
//! those that the thread spent on a core, so that a busy machine disturbs them little.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tsdb::Result;
use tsdb::codec::Level;
use tsdb::io::{File, Storage};
use tsdb::part::{GroupRef, Part, PartSpec, PartWriter};
use tsdb::types::{Column, ColumnId, PhysicalType, Rows, SeriesRows, TimeRange, Values};

/// Rows of a series unless told otherwise: 12 h at 10 s.
const ROWS: usize = 4320;
/// Rows of an hour at 10 s.
const HOUR_ROWS: u32 = 360;
const COLUMNS: ColumnId = 10;
/// Series that are generated; more repeat them under other numbers.
const DISTINCT: usize = 20;

/// Files in memory, as cheap as can be.
#[derive(Debug, Default)]
struct Memory(Mutex<BTreeMap<String, Arc<MemoryFile>>>);

#[derive(Debug, Default)]
struct MemoryFile(Mutex<Vec<u8>>);

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Storage for Memory {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let file = Arc::new(MemoryFile::default());
        lock(&self.0).insert(path.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn File>> {
        match lock(&self.0).get(path) {
            Some(file) => Ok(Arc::clone(file) as Arc<dyn File>),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        lock(&self.0).remove(path);
        Ok(())
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn list(&self, _: &str) -> io::Result<Vec<String>> {
        Ok(lock(&self.0).keys().cloned().collect())
    }

    fn create_dir(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        Ok(lock(&self.0).contains_key(path))
    }

    fn lock(&self) -> io::Result<Box<dyn std::any::Any + Send + Sync>> {
        Ok(Box::new(()))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

impl File for MemoryFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let from = offset as usize;
        match lock(&self.0).get(from..from + buf.len()) {
            Some(bytes) => buf.copy_from_slice(bytes),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut bytes = lock(&self.0);
        bytes.truncate(offset as usize);
        bytes.extend_from_slice(data);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.0).len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        lock(&self.0).resize(len as usize, 0);
        Ok(())
    }
}

/// Nanoseconds that this thread ran.
fn busy_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or_default()
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let from = busy_ns();
    let out = work();
    (out, (busy_ns() - from) as f64 / 1e9)
}

struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        ((self.0 >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Standard normal (Box and Muller).
    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Set {
    /// Whole numbers walking in 0 to 100 by normal steps.
    Ints,
    /// Gauges with 2 decimals that move a little.
    Gauges,
    /// Readings with 5 decimals.
    Fine,
    /// Readings without a short decimal form.
    Full,
    /// Whole numbers with a tenth of the cells absent, one in a hundred suspect.
    Gaps,
}

fn values(set: Set, random: &mut Random, count: usize, out: &mut Values) {
    let mut at = 50.0f64;
    for _ in 0..count {
        let step = random.normal();
        match (set, &mut *out) {
            (Set::Ints | Set::Gaps, Values::Int(v)) => {
                at = (at + step).round().clamp(0.0, 100.0);
                v.push(at as i64);
            }
            (Set::Gauges, Values::Float(v)) => {
                at = (at + 0.05 * step).clamp(0.0, 100.0);
                v.push((at * 100.0).round() / 100.0);
            }
            (Set::Fine, Values::Float(v)) => {
                at = (at + 0.01 * step).clamp(0.0, 100.0);
                v.push((at * 1e5).round() / 1e5);
            }
            (Set::Full, Values::Float(v)) => {
                at += 0.01 * step;
                v.push(at);
            }
            _ => {}
        }
    }
}

fn data(set: Set, count: usize) -> Rows {
    let mut random = Random(7);
    let mut rows = Rows::default();
    let start = 1_451_606_400_000_000_000i64;
    for series in 0..DISTINCT {
        let run = SeriesRows {
            series: series as u32,
            start: (series * count) as u32,
            rows: count as u32,
        };
        rows.series.push(run);
        rows.times.extend((0..count as i64).map(|i| start + i * 10_000_000_000));
    }
    let kind = kind(set);
    for id in 1..=COLUMNS {
        let mut column = Values::with_capacity(kind, DISTINCT * count);
        for _ in 0..DISTINCT {
            values(set, &mut random, count, &mut column);
        }
        let states = (set == Set::Gaps).then(|| {
            let state = |n: f64| {
                if n < 0.1 {
                    0u8
                } else if n < 0.11 {
                    6
                } else {
                    2
                }
            };
            (0..DISTINCT * count).map(|_| state(random.uniform())).collect::<Vec<_>>()
        });
        if let (Some(states), Values::Int(v)) = (&states, &mut column) {
            v.iter_mut().zip(states).filter(|(_, s)| **s == 0).for_each(|(v, _)| *v = 0);
        }
        rows.columns.push((id, Column { values: column, states }));
    }
    rows
}

fn kind(set: Set) -> PhysicalType {
    match set {
        Set::Ints | Set::Gaps => PhysicalType::Int,
        _ => PhysicalType::Float,
    }
}

fn write(storage: &Memory, rows: &mut Rows, series: usize, level: Level, set: Set) -> Result<f64> {
    let columns = (1..=COLUMNS).map(|id| (id, kind(set))).collect();
    let spec = PartSpec { id: 1, table: 1, level, positions: 1..=2, partition: None, columns };
    let mut writer = PartWriter::create(storage, "part", spec)?;
    let mut busy = 0.0;
    for from in (0..series).step_by(DISTINCT) {
        for (index, run) in rows.series.iter_mut().enumerate() {
            run.series = (from + index) as u32;
        }
        let (done, seconds) = timed(|| writer.append(rows));
        done?;
        busy += seconds;
    }
    let (meta, seconds) = timed(|| writer.finish());
    meta?;
    Ok(busy + seconds)
}

/// Seconds to read an hour of all columns of all groups: the one in the middle, and the mean over
/// all hours of the groups.
fn hours(
    part: &Part,
    groups: &[GroupRef],
    wanted: &[(ColumnId, PhysicalType)],
    rounds: usize,
) -> Result<(f64, f64)> {
    let read = |group: &GroupRef, from: u32| {
        let rows = from..group.rows.min(from + HOUR_ROWS);
        part.read_columns_range(group, wanted, rows).map(drop)
    };
    let (done, middle) = timed(|| {
        let mut all = (0..rounds).flat_map(|_| groups);
        all.try_for_each(|group| read(group, group.rows.saturating_sub(HOUR_ROWS) / 2))
    });
    done?;
    let hours = |group: &GroupRef| (group.rows / HOUR_ROWS).max(1);
    let count: u32 = groups.iter().map(hours).sum();
    let (done, every) = timed(|| {
        let mut all = (0..rounds).flat_map(|_| groups);
        all.try_for_each(|g| (0..hours(g)).try_for_each(|hour| read(g, hour * HOUR_ROWS)))
    });
    done?;
    Ok((middle, every / f64::from(count) * groups.len() as f64))
}

fn run(set: Set, level: Level, series: usize, rows: &mut Rows) -> Result<()> {
    let storage = Memory::default();
    let series = series.next_multiple_of(DISTINCT);
    let encode = write(&storage, rows, series, level, set)?;
    let part = Part::open(&storage, "part")?;
    let meta = part.meta();
    let count = (meta.rows * u64::from(COLUMNS)) as f64;
    let blocks = f64::from(meta.groups) * f64::from(COLUMNS + 1);
    let column_bytes: u64 = meta.columns.iter().map(|c| c.bytes).sum();
    let groups = part.groups_for(0..=u32::MAX, TimeRange::ALL)?;
    let wanted: Vec<_> = (1..=COLUMNS).map(|id| (id, kind(set))).collect();
    let rounds = (2_000 / series).clamp(1, 100);
    let (done, columns) = timed(|| {
        let mut all = (0..rounds).flat_map(|_| &groups);
        all.try_for_each(|group| part.read_columns(group, &wanted).map(drop))
    });
    done?;
    let (done, keys) = timed(|| {
        let mut all = (0..rounds * 10).flat_map(|_| &groups);
        all.try_for_each(|group| part.read_keys(group).map(drop))
    });
    done?;
    let (middle, mean) = hours(&part, &groups, &wanted, rounds)?;
    let hours = (u64::from(COLUMNS) * groups.len() as u64 * rounds as u64) as f64;
    let whole = columns / hours * 1e6;
    let (columns, keys) = (columns / rounds as f64, keys / (rounds * 10) as f64);
    let stats = || -> Result<usize> {
        let mut zones = 0;
        for group in &groups {
            zones += part.zone_stats(group, 3)?.map_or(0, |s| s.len());
        }
        Ok(zones)
    };
    part.trim(0);
    let start = Instant::now();
    let zones = stats()?;
    let cold = start.elapsed().as_secs_f64();
    let start = Instant::now();
    for _ in 0..20 {
        stats()?;
    }
    let warm = start.elapsed().as_secs_f64() / 20.0;
    println!(
        "{set:?} {level:?}: encode {:.1} M values/s ({:.2} M rows/s), decode {:.0} M values/s, \
         keys {:.0} M rows/s; {:.4} B/value of file, blocks {:.4}, index {:.1} B/block, \
         keys {:.1} B/group; a block {whole:.2} µs, an hour of it {:.2} µs in the middle, {:.2} µs \
         over all hours; stats of {} zones: cold {:.2} ms, warm {:.3} ms; cache {} kB",
        count / encode / 1e6,
        meta.rows as f64 / encode / 1e6,
        count / columns / 1e6,
        meta.rows as f64 / keys / 1e6,
        meta.bytes as f64 / count,
        column_bytes as f64 / count,
        meta.index_bytes as f64 / blocks,
        meta.key_bytes as f64 / f64::from(meta.groups),
        middle / hours * 1e6,
        mean / hours * 1e6,
        zones,
        cold * 1e3,
        warm * 1e3,
        part.cached_bytes() >> 10,
    );
    Ok(())
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let count = arguments.iter().find_map(|a| a.strip_prefix("rows=")?.parse().ok());
    let count: usize = count.unwrap_or(ROWS);
    let arguments: Vec<_> = arguments.into_iter().filter(|a| !a.starts_with("rows=")).collect();
    let series = arguments.first().and_then(|n| n.parse().ok()).unwrap_or(1000);
    for set in [Set::Ints, Set::Gauges, Set::Fine, Set::Full, Set::Gaps] {
        let name = format!("{set:?}").to_lowercase();
        let asked = |level: Level| {
            let level = format!("{level:?}").to_lowercase();
            let whole = [name.clone(), level.clone(), format!("{name}-{level}")];
            arguments.len() < 2 || arguments[1..].iter().any(|a| whole.contains(a))
        };
        let mut rows = data(set, count);
        for level in [Level::Light, Level::Dense] {
            if asked(level) {
                run(set, level, series, &mut rows)?;
            }
        }
    }
    Ok(())
}
