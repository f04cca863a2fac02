//! Power cuts and failing storage at every operation, against a `Vec` as the model.

use super::*;
use crate::io::{FaultKind, FaultPlan, FaultyStorage, Storage};

/// What the log must hold. `records[i]` has position `i + 1`; purging only moves `first`.
#[derive(Clone, Debug, Default)]
struct Model {
    records: Vec<Vec<u8>>,
    /// Positions up to here must survive.
    durable: usize,
    /// The greatest index purging has been tried before.
    purge: u64,
    vote: Option<Vote>,
    /// A vote that may or may not have been saved.
    tried: Option<Vote>,
}

impl Model {
    /// Checks an opened log, and takes over what was left open.
    fn check(&mut self, log: &Log, recovered: &Recovered, name: &str) {
        let (first, last) = (recovered.first_index, recovered.last_index as usize);
        assert!(first <= self.purge.max(1), "{name}: purged too much");
        assert!(last >= self.durable, "{name}: {last} left of {} durable", self.durable);
        assert!(last <= self.records.len(), "{name}: {last} invented");
        assert!(log.first_index() == first && log.last_index() as usize == last, "{name}");
        let expect = &self.records[first as usize - 1..last];
        assert_eq!(payloads(log, first), expect, "{name}");
        assert!(
            recovered.vote == self.vote || recovered.vote == self.tried,
            "{name}: vote {:?}, not {:?} or {:?}",
            recovered.vote,
            self.vote,
            self.tried
        );
        self.records.truncate(last);
        self.durable = last;
        (self.vote, self.tried) = (recovered.vote, recovered.vote);
    }

    fn payload(&self, dice: &mut Dice) -> Vec<u8> {
        let len = [0, 3, 40, 200, 700, 2000][dice.below(6) as usize] + dice.below(9);
        (0..len).map(|_| dice.below(256) as u8).collect()
    }

    /// Runs one random operation; the model says what is promised at each moment of it.
    fn operate(&mut self, log: &mut Log, dice: &mut Dice) -> Result<()> {
        match dice.below(20) {
            0..=8 => {
                self.write(log, dice)?;
                log.sync()?;
                self.durable = self.records.len();
            }
            9..=11 => self.write(log, dice)?,
            12 | 13 => {
                log.sync()?;
                self.durable = self.records.len();
            }
            14 | 15 => log.write_mark()?,
            16 => {
                let term = self.vote.map_or(0, |vote| vote.term) + 1;
                let vote = Vote { term, node: dice.below(9) };
                self.tried = Some(vote);
                log.save_vote(vote)?;
                self.vote = self.tried;
                self.durable = self.records.len();
            }
            17 => {
                let index = dice.below(self.records.len() as u64 + 1);
                self.purge = self.purge.max(index);
                log.purge_before(index)?;
            }
            18 => {
                let first = log.first_index() - 1;
                let index = first + dice.below(self.records.len() as u64 + 1 - first);
                self.durable = self.durable.min(index as usize);
                log.truncate_after(index)?;
                self.records.truncate(index as usize);
                // Truncation makes what it keeps durable, unless there was nothing to do.
                self.durable = log.durable_index() as usize;
            }
            _ => {
                let read = payloads(log, log.first_index());
                let range = log.first_index() as usize - 1..log.durable_index() as usize;
                assert_eq!(read, self.records[range]);
            }
        }
        Ok(())
    }

    fn write(&mut self, log: &mut Log, dice: &mut Dice) -> Result<()> {
        let group: Vec<Vec<u8>> = (0..=dice.below(4)).map(|_| self.payload(dice)).collect();
        let parts: Vec<[&[u8]; 2]> =
            group.iter().map(|payload| payload.split_at(payload.len() / 2).into()).collect();
        let records: Vec<RecordIn<'_>> = parts
            .iter()
            .map(|payload| RecordIn { kind: Kind::Commands, term: 1, payload })
            .collect();
        let first = self.records.len() as u64 + 1;
        // From here on a crash may leave them, though nobody was told so.
        self.records.extend(group.iter().cloned());
        let range = log.write_group(&records)?;
        assert_eq!(range, first..=self.records.len() as u64);
        Ok(())
    }
}

/// Numbers for the operations; any good generator would do.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        ((self.0 >> 33) * bound) >> 31
    }
}

/// Runs until the storage fails or the work is done.
fn run(storage: &FaultyStorage, model: &mut Model, dice: &mut Dice, name: &str) -> Result<()> {
    let (mut log, recovered) = Log::open(shaped(Arc::new(storage.clone())), options(3000))?;
    model.check(&log, &recovered, name);
    for _ in 0..dice.below(60) {
        model.operate(&mut log, dice)?;
    }
    if dice.below(2) == 0 {
        log.close()?;
        model.durable = model.records.len();
    }
    Ok(())
}

fn crash_seed(seed: u64) {
    let mut dice = Dice(seed ^ 0x5eed_5eed);
    let mut memory = MemoryStorage::new();
    let mut model = Model::default();
    for round in 0..4 {
        let name = format!("seed {seed}, round {round}");
        let faulty = FaultyStorage::new(Arc::new(memory.clone()));
        faulty.set_plan(FaultPlan::CrashAt(dice.below(90)));
        let ran = run(&faulty, &mut model, &mut dice, &name);
        if let Err(error) = &ran {
            assert!(faulty.struck(), "{name}: {error}");
        }
        let image_seed = dice.below(1 << 30);
        memory = if image_seed.is_multiple_of(8) {
            memory.crash_hard()
        } else {
            memory.crash(image_seed)
        };
    }
    let (log, recovered) = open(&memory, &options(3000)).unwrap();
    model.check(&log, &recovered, &format!("seed {seed}, end"));
}

#[test]
pub fn crash_images() {
    (0..300).for_each(crash_seed);
}

/// Operations that touch every part of the log, with errors passed up.
fn script(storage: Arc<dyn Storage>, model: &mut Model) -> Result<()> {
    for round in 0..2u8 {
        let (mut log, recovered) = Log::open(Arc::clone(&storage), options(300))?;
        model.check(&log, &recovered, "script");
        for number in 0..6u8 {
            let payload = vec![round * 16 + number; 60];
            model.records.push(payload.clone());
            append(&mut log, &[&payload])?;
            model.durable = model.records.len();
            log.write_mark()?;
        }
        model.tried = Some(Vote { term: u64::from(round) + 1, node: 7 });
        log.save_vote(Vote { term: u64::from(round) + 1, node: 7 })?;
        model.vote = model.tried;
        model.purge = 3;
        log.purge_before(3)?;
        let index = model.records.len() - 2;
        model.durable = index;
        log.truncate_after(index as u64)?;
        model.records.truncate(index);
        log.close()?;
    }
    Ok(())
}

/// Each operation fails once in each way, and the machine goes on; then each is the last one
/// before a power cut, seen in several images.
#[test]
pub fn errors_by_countdown() {
    let clean = FaultyStorage::new(Arc::new(MemoryStorage::new()));
    script(shaped(Arc::new(clean.clone())), &mut Model::default()).unwrap();
    let operations = clean.operations();
    assert!(operations > 60);
    for at in 0..operations {
        let plans = [
            FaultPlan::FailOnce { at, error: FaultKind::Io },
            FaultPlan::FailOnce { at, error: FaultKind::NoSpace },
            FaultPlan::FailFrom { at, error: FaultKind::Io },
            FaultPlan::ShortWrite { at, error: FaultKind::NoSpace },
            FaultPlan::CrashAt(at),
        ];
        for plan in plans {
            let memory = MemoryStorage::new();
            let faulty = FaultyStorage::new(Arc::new(memory.clone()));
            faulty.set_plan(plan);
            let mut model = Model::default();
            let ran = script(shaped(Arc::new(faulty.clone())), &mut model);
            // A short write that falls on another operation fails that one whole.
            assert!(faulty.struck());
            // A last mark that finds no room is done without.
            let full = matches!(
                plan,
                FaultPlan::FailOnce { error: FaultKind::NoSpace, .. }
                    | FaultPlan::ShortWrite { .. }
            );
            assert!(
                matches!(ran, Err(Error::Io(_) | Error::Full(_))) || (full && ran.is_ok()),
                "{plan:?} went unnoticed or unnamed: {ran:?}"
            );
            let images = (0..6).map(|seed| memory.crash(seed * 977 + at));
            for image in images.chain([memory.copy(), memory.crash_hard()]) {
                let mut model = model.clone();
                let (mut log, recovered) = open(&image, &options(300)).unwrap();
                model.check(&log, &recovered, &format!("{plan:?}"));
                append(&mut log, &[b"on"]).unwrap();
            }
        }
    }
}

/// Reads that fail while opening are errors, and nothing is cut for them.
#[test]
fn reads_that_fail_cut_nothing() {
    let memory = MemoryStorage::new();
    script(Arc::new(memory.clone()), &mut Model::default()).unwrap();
    let before = |storage: &MemoryStorage| -> Vec<(String, Vec<u8>)> {
        let paths = storage.list("log").unwrap().into_iter().map(|name| format!("log/{name}"));
        paths.map(|path| (path.clone(), storage.bytes(&path).unwrap())).collect()
    };
    for at in 0.. {
        let copy = memory.copy();
        let faulty = FaultyStorage::new(Arc::new(copy.clone()));
        faulty.set_plan(FaultPlan::FailReadsFrom { at, error: FaultKind::Io });
        match Log::open(shaped(Arc::new(faulty.clone())), options(300)) {
            Err(error) => assert!(matches!(error, Error::Io(_)), "{error}"),
            Ok(_) => {
                assert!(!faulty.struck());
                break;
            }
        }
        assert_eq!(before(&copy), before(&memory), "read {at}");
    }
}
