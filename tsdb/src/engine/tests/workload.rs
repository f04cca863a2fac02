//! Random work on a database, side by side with the model.

use std::collections::HashMap;
use std::sync::Arc;

use crate::crypto::tests::shape::{sealed, shaped};
use crate::engine::plan::overlap;
use crate::io::MemoryStorage;
use crate::types::{SeriesRef, TimeRange};
use crate::{Command, Db, Error, Options, Result, Selection};

use super::model::{Model, check, check_some, series_mark};
use super::random::{self, Random};
use super::seeds;

/// Small limits, so that little work meets every path.
pub fn small_options(random: &mut Random, background: bool) -> Options {
    Options {
        shards: 1 + random.below(3) as u16,
        head_bytes_max: 1024 << random.below(4),
        heads_bytes_max: 16 << 10,
        log_bytes_max: 64 << 10,
        log_segment_bytes_max: 4096,
        merge_fan_in: 2,
        partition_groups_max: [1, 3, 256][random.below(3) as usize],
        background,
        // Cuts are the workload's own; the life of data would take them back as of the real time.
        life_interval_seconds: 86_400,
        ..Options::default()
    }
}

/// Takes series out of deletes that the database has not seen, as no writer can name them.
pub fn only_known(db: &Db, commands: &mut [Command]) {
    translate(db, commands, |mark, known| known.contains_key(&mark).then_some(mark));
}

/// The deletes with the numbers that the database gave its series; see [`only_known`].
pub fn numbered(db: &Db, commands: &[Command]) -> Vec<Command> {
    let mut commands = commands.to_vec();
    translate(db, &mut commands, |mark, known| known.get(&mark).copied());
    commands
}

fn translate(
    db: &Db,
    commands: &mut [Command],
    of: impl Fn(u32, &HashMap<u32, u32>) -> Option<u32>,
) {
    let snapshot = db.snapshot();
    for command in commands {
        let Command::Delete { table, selections } = command else { continue };
        let mut known = HashMap::new();
        if let Some(table) = snapshot.table_by_id(*table) {
            for number in 0..table.series().len() {
                let key = table.series().key(number).unwrap();
                known.insert(series_mark(key.as_bytes()), number);
            }
        }
        for selection in selections {
            match selection {
                Selection::Range { series: None, .. } => {}
                Selection::Range { series: Some(set), .. } => {
                    *set = set.iter().filter_map(|mark| of(mark, &known)).collect();
                }
                Selection::Points { series, times } => {
                    let points = series.iter().zip(&*times);
                    (*series, *times) =
                        points.filter_map(|(mark, time)| Some((of(*mark, &known)?, *time))).unzip();
                }
            }
        }
    }
}

/// Replaces keys that are known by their numbers, here and there.
pub fn with_numbers(db: &Db, commands: &[Command], random: &mut Random) -> Vec<Command> {
    let snapshot = db.snapshot();
    let mut commands = numbered(db, commands);
    for command in &mut commands {
        let Command::Write(batch) = command else { continue };
        let Some(table) = snapshot.table_by_id(batch.table) else { continue };
        for series in &mut batch.series {
            if let SeriesRef::Key(key) = series
                && let Some(number) = table.series().lookup(key)
                && random.below(2) == 0
            {
                *series = SeriesRef::Known(number);
            }
        }
    }
    commands
}

/// Commits, and checks that the database takes and refuses what the model does.
pub fn commit(db: &Db, model: &mut Model, random: &mut Random, rows_max: u64) -> Result<()> {
    let mut commands = random::commit(random, model, rows_max);
    only_known(db, &mut commands);
    let committed = db.commit(with_numbers(db, &commands, random))?;
    let taken = model.apply(&commands);
    let found: Vec<bool> = committed.outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(found, taken, "{commands:?} {:?}", committed.outcomes);
    Ok(())
}

/// Maintenance by hand.
pub fn maintain(db: &Db, random: &mut Random) -> Result<()> {
    match random.below(4) {
        0 | 1 => db.checkpoint(),
        2 => db.merge_due(),
        _ => db.merge_full(None),
    }
}

pub fn open(storage: &MemoryStorage, options: Options) -> Arc<Db> {
    let storage = shaped(Arc::new(storage.clone()));
    Db::open(storage, options).unwrap()
}

fn run(seed: u64, steps: u64, rows_max: u64, background: bool) {
    let mut random = Random::new(seed);
    let storage = MemoryStorage::new();
    let options = small_options(&mut random, background);
    let mut db = open(&storage, options.clone());
    let mut model = Model::default();
    for step in 0..steps {
        let context = format!("seed {seed} step {step}");
        match random.below(20) {
            0..12 => commit(&db, &mut model, &mut random, rows_max).unwrap(),
            12..15 => maintain(&db, &mut random).unwrap(),
            15 => {
                db.close().unwrap();
                assert!(matches!(db.submit(vec![]), Err(Error::Closed)));
                // Other settings must make no difference.
                let shards = 1 + random.below(5) as u16;
                let head_bytes_max = 1024 << random.below(4);
                db = open(&storage, Options { shards, head_bytes_max, ..options.clone() });
                check(&db, &model, &context);
            }
            _ => check_some(&db, &model, &mut random, &context).unwrap(),
        }
    }
    check(&db, &model, &format!("seed {seed}, at the end"));
    db.checkpoint().unwrap();
    db.merge_full(None).unwrap();
    check(&db, &model, &format!("seed {seed}, merged"));
    for table in db.snapshot().tables() {
        let whole = db.snapshot().table_by_id(table.id).unwrap();
        let none = !whole.tombstones_overlap(0, 0..=u32::MAX, TimeRange::ALL);
        assert!(none, "seed {seed}: tombstones after a full merge");
        let stats = whole.stats();
        assert!(stats.exact && !stats.hidden, "seed {seed}: {stats:?}");
        let rows: usize = model.tables[&table.id].rows.values().map(Vec::len).sum();
        assert_eq!(stats.rows as usize, rows, "seed {seed}");
        let whole = db.snapshot().table_by_id(table.id).unwrap();
        let state = whole.table_state();
        for part in state.parts.iter().map(|part| &part.entry) {
            let alone = state.parts.iter().all(|other| {
                other.entry.id == part.id || !overlap(&other.entry, part, &state.groups)
            });
            assert!(alone && part.partition.is_some(), "seed {seed}: {part:?}");
            let split = part.group != 0 || table.options.partition_columns.is_empty();
            assert!(split, "seed {seed}: {part:?} is not split by keys");
        }
    }
    db.close().unwrap();
    let shared = shaped(Arc::new(storage.clone()));
    let findings = crate::engine::verify(&shared, |_| {}).unwrap();
    assert!(findings.iter().all(|f| f.damage.is_none()), "seed {seed}: {findings:?}");
    check(&open(&storage, options), &model, &format!("seed {seed}, opened again"));
}

#[test]
fn a_database_is_its_model() {
    seeds(0..60).for_each(|seed| run(seed, 60, 60, false));
}

#[test]
fn a_database_is_its_model_with_larger_batches() {
    seeds(1000..1015).for_each(|seed| run(seed, 60, 200, false));
}

#[test]
fn a_database_is_its_model_while_threads_tidy_it() {
    seeds(2000..2030).for_each(|seed| run(seed, 60, 60, true));
}

#[test]
fn a_sealed_database_is_its_model() {
    sealed(|| {
        seeds(3000..3020).for_each(|seed| run(seed, 60, 60, false));
        seeds(3020..3030).for_each(|seed| run(seed, 60, 60, true));
    });
}
