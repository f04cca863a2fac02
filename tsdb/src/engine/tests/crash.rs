//! Crash images: the power goes at a random operation of a random workload, also inside flush,
//! merge, the version log, the row store's checkpoint and recovery itself. What was acknowledged
//! is there, nothing is invented, commits are whole.

use std::sync::Arc;

use crate::io::{FaultPlan, FaultyStorage, MemoryStorage};
use crate::{Command, Db, Options};

use super::model::{Model, check, check_some, try_check};
use super::random::{self, Random};
use super::seeds;
use super::workload::{commit, maintain, only_known, open, small_options, with_numbers};
use crate::crypto::tests::shape::{sealed, shaped};

/// What a crash may leave: the model of what was acknowledged, and commits that may have happened,
/// in their order.
#[derive(Default)]
struct Expected {
    acknowledged: Model,
    position: u64,
    maybe: Vec<Vec<Command>>,
}

impl Expected {
    /// Takes in what the database turned out to hold, and checks it.
    fn settle(&mut self, db: &Db, context: &str) -> crate::Result<()> {
        let found = db.snapshot().position();
        let ahead = found.checked_sub(self.position);
        let ahead = ahead.unwrap_or_else(|| panic!("{context}: {found} < {}", self.position));
        assert!(ahead <= self.maybe.len() as u64, "{context}: invented commits");
        for commands in self.maybe.drain(..).take(ahead as usize) {
            self.acknowledged.apply(&commands);
        }
        self.maybe.clear();
        self.position = found;
        try_check(db, &self.acknowledged, context)
    }

    /// Commits up to three at once; false once the database takes no more.
    fn commit(&mut self, db: &Db, random: &mut Random) -> bool {
        let mut ahead = self.acknowledged.clone();
        let mut pending = Vec::new();
        for _ in 0..1 + random.below(3) {
            let mut commands = random::commit(random, &ahead, 30);
            only_known(db, &mut commands);
            let Ok(one) = db.submit(with_numbers(db, &commands, random)) else { break };
            ahead.apply(&commands);
            pending.push((commands, one));
        }
        let mut failed = pending.is_empty();
        for (commands, one) in pending {
            match one.wait() {
                Ok(done) if !failed => {
                    assert_eq!(done.position, self.position + 1);
                    self.position = done.position;
                    self.acknowledged.apply(&commands);
                }
                Ok(_) => panic!("acknowledged behind one that failed"),
                Err(_) => {
                    failed = true;
                    self.maybe.push(commands);
                }
            }
        }
        !failed
    }
}

/// Works until the power goes or the work is done.
fn live(storage: &FaultyStorage, options: Options, expected: &mut Expected, random: &mut Random) {
    let shared = shaped(Arc::new(storage.clone()));
    let db = match Db::open(shared, options) {
        Ok(db) => db,
        Err(_) if storage.struck() => return,
        Err(error) => panic!("opening failed without a fault: {error}"),
    };
    // Threads may meet the fault while this one reads.
    if let Err(error) = expected.settle(&db, "opened") {
        assert!(storage.struck(), "{error}");
    }
    for _ in 0..60 {
        let going = match random.below(10) {
            0..6 => expected.commit(&db, random),
            6..9 => maintain(&db, random).is_ok(),
            _ => {
                let checked = check_some(&db, &expected.acknowledged, random, "alive");
                assert!(checked.is_ok() || storage.struck(), "{checked:?}");
                checked.is_ok()
            }
        };
        if !going {
            assert!(storage.struck(), "{:?}", db.read_only());
            break;
        }
    }
    if random.below(3) == 0 {
        let closed = db.close();
        assert!(closed.is_ok() || storage.struck());
    }
    // Dropping closes; with the power gone that reaches nothing.
    if !storage.struck() && random.below(2) == 0 {
        let operations = storage.operations();
        storage.set_plan(FaultPlan::CrashAt(operations));
    }
}

fn run(seed: u64, background: bool) {
    println!("background: {background}");
    let mut random = Random::new(seed);
    let options = small_options(&mut random, background);
    let mut storage = MemoryStorage::new();
    let mut expected = Expected::default();
    for _ in 0..2 + random.below(3) {
        let faulty = FaultyStorage::new(Arc::new(storage.clone()));
        let at = match random.below(4) {
            0 => random.below(60),
            1 => 30 + random.below(200),
            _ => 40 + random.below(1200),
        };
        faulty.set_plan(FaultPlan::CrashAt(at));
        live(&faulty, options.clone(), &mut expected, &mut random);
        storage = match random.below(8) {
            0 => storage.crash_hard(),
            1 => storage.copy(),
            _ => storage.crash(random.next()),
        };
    }
    let context = format!("seed {seed}");
    let db = open(&storage, options.clone());
    expected.settle(&db, &context).unwrap();
    for _ in 0..4 {
        commit(&db, &mut expected.acknowledged, &mut random, 30).unwrap();
    }
    maintain(&db, &mut random).unwrap();
    db.close().unwrap();
    let db = open(&storage, options);
    check(&db, &expected.acknowledged, &context);
    db.close().unwrap();
    let shared = shaped(Arc::new(storage));
    let findings = crate::engine::verify(&shared, |_| {}).unwrap();
    assert!(findings.iter().all(|f| f.damage.is_none()), "{context}: {findings:?}");
}

macro_rules! crashes {
    ($($name:ident: $range:expr, $background:expr;)*) => {$(
        #[test]
        fn $name() {
            seeds($range).for_each(|seed| run(seed, $background));
        }
    )*};
}

crashes! {
    crash_images_000_to_074: 0..75, false;
    crash_images_075_to_149: 75..150, false;
    crash_images_150_to_224: 150..225, false;
    crash_images_225_to_299: 225..300, false;
    crash_images_with_threads_300_to_349: 300..350, true;
}

#[test]
fn sealed_crash_images_400_to_459() {
    sealed(|| seeds(400..460).for_each(|seed| run(seed, false)));
}

#[test]
fn sealed_crash_images_with_threads_460_to_479() {
    sealed(|| seeds(460..480).for_each(|seed| run(seed, true)));
}
