//! The simulation: seeded random work on a whole engine (writes, late rows, deletes, DDL,
//! management rows, flush, merge, retention, archive and back, backups, archived log, other
//! keys), on a disk and object stores that fail in seeded ways, through several lives that end in
//! a crash or not. The model says what must be there: nothing acknowledged is lost, nothing
//! refused or never asked for appears, and every moment that a backup promises comes back.
//!
//! One seed is one world: `MILLRACE_SEED=17 cargo test -p tsdb simulation_0` runs it alone,
//! `MILLRACE_SEEDS=10000` runs so many in all. Worlds with threads (one of eight) are not the same
//! each time, all others are.

mod decay;
mod faults;
mod past;

use std::io;
use std::sync::{Arc, OnceLock};

use crate::crypto::tests::shape::key;
use crate::crypto::{KeyRing, SealedStorage};
use crate::io::{FaultyStorage, MemoryStorage, Storage};
use crate::tier::{Connector, MemoryObjects, Objects};
use crate::types::*;
use crate::{Command, Db, Error, Options, Result};

use super::model::{Model, check_some, read, try_check};
use super::random::{self, Random};
use super::seeds;
use super::workload::{maintain, numbered, only_known, small_options, with_numbers};
use faults::Trouble;
use past::Past;

const ARCHIVE: &str = "memory://plant/archive";
const BACKUPS: &str = "memory://plant/backups";
const SECOND: i64 = 1_000_000_000;
/// Far behind all rows.
const LATER: i64 = 1 << 61;

/// Knows the two stores of a world.
#[derive(Clone, Debug, Default)]
struct Stores {
    archive: MemoryObjects,
    backups: MemoryObjects,
}

impl Connector for Stores {
    fn connect(&self, url: &str) -> io::Result<Arc<dyn Objects>> {
        match url {
            ARCHIVE => Ok(Arc::new(self.archive.clone())),
            BACKUPS => Ok(Arc::new(self.backups.clone())),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("no store {url:?}"))),
        }
    }
}

/// What a world's database is sealed with: the number of the current key, or nothing.
#[derive(Clone, Copy)]
struct Seals(Option<u8>);

impl Seals {
    fn shape(self, storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
        match self.0 {
            // A change of keys may have been broken off anywhere.
            Some(current) => {
                let ring = KeyRing::new(vec![key(current), key(3 - current)]).unwrap();
                Arc::new(SealedStorage::new(storage, ring))
            }
            None => storage,
        }
    }
}

/// A world: one database, its disk and stores, and what it must hold.
struct World {
    seed: u64,
    random: Random,
    options: Options,
    seals: Seals,
    disk: MemoryStorage,
    stores: Stores,
    /// What was acknowledged.
    model: Model,
    /// Commits that failed without a word whether they happened, in their order.
    maybe: Vec<Vec<Command>>,
    past: Past,
    /// Times that the world was told "no room" and went on.
    full: u64,
    lives: u64,
}

/// Whether a life goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    Goes,
    Over,
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random::new(seed ^ 0x51b0_1a7e);
        let stores = Stores::default();
        let background = seed % 8 == 7;
        let options = Options {
            disk_reserve_bytes: [0, 256 << 10, 512 << 10][random.below(3) as usize],
            connector: Arc::new(stores.clone()),
            archive_url: Some(ARCHIVE.into()),
            archive_cache_bytes_max: 4096,
            log_archive: Some(crate::engine::LogArchive {
                url: BACKUPS.into(),
                seconds: 3600,
                ..Default::default()
            }),
            life_interval_seconds: 3600,
            ..small_options(&mut random, background)
        };
        World {
            seed,
            seals: Seals((random.below(4) == 0).then_some(1)),
            random,
            options,
            disk: MemoryStorage::new(),
            stores,
            model: Model::default(),
            maybe: Vec::new(),
            past: Past::default(),
            full: 0,
            lives: 0,
        }
    }

    fn context(&self) -> String {
        format!("seed {} life {}", self.seed, self.lives)
    }

    fn open(&self, storage: Arc<dyn Storage>) -> Result<Arc<Db>> {
        Db::open(self.seals.shape(storage), self.options.clone())
    }

    /// Finds out which of the doubtful commits happened: those up to one of them, and no other.
    fn settle(&mut self, db: &Db) -> Result<()> {
        let mut found = read(&db.snapshot())?;
        // The number of the next table tells a table made and dropped from none.
        found.next_table = db.snapshot().state.next_table - 1;
        let before = self.past.newest();
        let mut doubted = false;
        let mut maybe = std::mem::take(&mut self.maybe).into_iter();
        loop {
            if found == self.model {
                break;
            }
            let context = self.context();
            let Some(commands) = maybe.next() else {
                try_check(db, &self.model, &format!("{context}, no doubtful commit is left"))?;
                panic!("{context}: differs, and then does not");
            };
            self.model.apply(&commands);
            doubted = true;
        }
        let now = db.snapshot().time().unwrap_or(i64::MIN);
        if doubted {
            self.past.doubt(before, now);
            self.past.note(now, &self.model);
        }
        Ok(())
    }

    /// One commit, or a few at once.
    fn commit(&mut self, db: &Db, trouble: &Trouble) -> Life {
        let count = if self.random.below(5) == 0 { 3 } else { 1 };
        let mut ahead = self.model.clone();
        let mut pending = Vec::new();
        let mut life = Life::Goes;
        for _ in 0..count {
            let mut commands = random::commit(&mut self.random, &ahead, 30);
            only_known(db, &mut commands);
            match db.submit(with_numbers(db, &commands, &mut self.random)) {
                Ok(one) => {
                    ahead.apply(&commands);
                    pending.push((commands, one));
                }
                // What those before it make is not there yet.
                Err(_) if !pending.is_empty() => break,
                Err(error) => life = self.judge(db, trouble, &error),
            }
        }
        let alone = pending.len() == 1;
        for (commands, one) in pending {
            match one.wait() {
                Ok(done) => {
                    let context = self.context();
                    let doubts = self.maybe.len();
                    assert_eq!(doubts, 0, "{context}: acknowledged behind one that failed");
                    let taken = self.model.apply(&commands);
                    let found: Vec<bool> = done.outcomes.iter().map(Result::is_ok).collect();
                    assert!(!alone || found == taken, "{context}: {:?}", done.outcomes);
                    self.past.note(done.time, &self.model);
                }
                Err(error) => {
                    if self.judge(db, trouble, &error) == Life::Over {
                        life = Life::Over;
                    }
                    // What found no room has not happened, whatever becomes of the database.
                    if !matches!(error, Error::Full(_)) {
                        trace(|| format!("    perhaps {commands:?}"));
                        life = Life::Over;
                        self.maybe.push(commands);
                    }
                }
            }
        }
        life
    }

    /// A command of the world itself.
    fn execute(&mut self, db: &Db, trouble: &Trouble, command: Command) -> Life {
        let commands = vec![command];
        match db.commit(numbered(db, &commands)) {
            Ok(done) => {
                self.model.apply(&commands);
                self.past.note(done.time, &self.model);
                Life::Goes
            }
            Err(error) => {
                let life = self.judge(db, trouble, &error);
                if matches!(error, Error::Full(_)) {
                    return life;
                }
                self.maybe.push(commands);
                Life::Over
            }
        }
    }

    /// Gives a table an age at which its parts move, and perhaps one at which they go.
    fn set_life(&mut self, db: &Db, trouble: &Trouble) -> Life {
        let Some((id, table)) = self.random.pick_of(self.model.tables.iter()) else {
            return Life::Goes;
        };
        let retention = [None, None, Some(1_500 * SECOND)][self.random.below(3) as usize];
        let options = TableOptions {
            merge: table.mode,
            partition_ns: table.partition_ns,
            partition_columns: table.partition_columns.clone(),
            archive_after_ns: Some(1),
            retention_ns: retention,
            ..TableOptions::default()
        };
        let command = Command::SetOptions { table: *id, options };
        self.execute(db, trouble, command)
    }

    /// Retention and archive; cuts are commits like others.
    fn tend(&mut self, db: &Db, trouble: &Trouble) -> Life {
        let now = [LATER, 2_000 * SECOND, 3_000 * SECOND][self.random.below(3) as usize];
        self.past.collected |= now == LATER;
        let mut cuts: Vec<Vec<Command>> = Vec::new();
        let mut tables = db.snapshot().tables();
        tables.sort_by_key(|schema| schema.id);
        for schema in tables {
            let options = &schema.options;
            let cut = options
                .retention_ns
                .map(|age| (now - age).div_euclid(options.partition_ns) * options.partition_ns);
            let held = self.model.tables.get(&schema.id).map(|table| table.cut);
            if held.is_some_and(|held| held != cut) {
                cuts.push(vec![Command::Retain { table: schema.id, cut }]);
            }
        }
        let before = self.past.newest();
        match db.tend(now) {
            Ok(tended) => {
                let context = self.context();
                assert_eq!(tended.cuts, cuts.len() as u64, "{context}");
                if let Some(why) = tended.failure {
                    assert!(trouble.excuses_archive(), "{context}: {why}");
                }
                cuts.iter().for_each(|commands| drop(self.model.apply(commands)));
                if !cuts.is_empty() {
                    let now = db.snapshot().time().unwrap();
                    self.past.doubt(before, now);
                    self.past.note(now, &self.model);
                }
                Life::Goes
            }
            Err(error) => {
                let life = self.judge(db, trouble, &error);
                // Those before the one that failed are there.
                self.maybe.extend(cuts);
                if life == Life::Goes {
                    let settled = self.settle(db);
                    return self.answer(db, trouble, settled);
                }
                life
            }
        }
    }

    /// What an operation came to that changes no rows.
    fn answer<T>(&mut self, db: &Db, trouble: &Trouble, done: Result<T>) -> Life {
        match done {
            Ok(_) => Life::Goes,
            Err(error) => self.judge(db, trouble, &error),
        }
    }

    /// Whether the trouble there is excuses an error, and whether the database can go on.
    fn judge(&mut self, db: &Db, trouble: &Trouble, error: &Error) -> Life {
        let context = self.context();
        trouble.judge(db, error).unwrap_or_else(|| panic!("{context}: {trouble:?}: {error}"));
        if let Error::Full(_) = error {
            self.full += 1;
        }
        trace(|| format!("    {error}"));
        // One thread may be told of a failure before another has told it.
        let told = matches!(error, Error::ReadOnly(_));
        let over = told || db.read_only().is_some() || trouble.is_power_cut();
        if over { Life::Over } else { Life::Goes }
    }

    fn step(&mut self, db: &Arc<Db>, trouble: &mut Trouble) -> Life {
        if !self.maybe.is_empty() {
            // What happened could not be read; the next start asks again.
            return Life::Over;
        }
        let what = self.random.below(40);
        trace(|| format!("step {what} after position {}", db.snapshot().position()));
        match what {
            0..18 => self.commit(db, trouble),
            18..24 => {
                let done = maintain(db, &mut self.random);
                self.answer(db, trouble, done)
            }
            24 | 25 => self.set_life(db, trouble),
            26 | 27 => self.tend(db, trouble),
            28 => {
                let Some(id) = self.random.pick_of(self.model.tables.keys()).copied() else {
                    return Life::Goes;
                };
                let (a, b) = (self.random.time(), self.random.time());
                let until = [0, LATER][self.random.below(2) as usize];
                let done = db.restore(id, TimeRange::new(a.min(b), a.max(b)), until);
                self.answer(db, trouble, done)
            }
            29 | 30 => {
                let full = self.random.below(4) == 0;
                let done = db.backup(BACKUPS, full, |_| Ok(()));
                if let Ok(report) = &done {
                    self.past.backed_up(report.manifest.time);
                }
                self.answer(db, trouble, done)
            }
            31 | 32 => {
                let done = db.archive_log();
                self.answer(db, trouble, done)
            }
            33 => {
                let Some(current) = self.seals.0 else { return Life::Goes };
                let next = if self.random.below(2) == 0 { current } else { 3 - current };
                // From now on files may have either.
                self.seals = Seals(Some(next));
                let done = db.rotate_key(key(next));
                self.answer(db, trouble, done)
            }
            34..36 => {
                trouble.change(&mut self.random, &self.disk, &self.stores, &self.options);
                Life::Goes
            }
            36 if trouble.stores_answer() => {
                self.restore_a_moment();
                Life::Goes
            }
            _ => {
                let context = self.context();
                let mut random = Random::new(self.random.next());
                let done = check_some(db, &self.model, &mut random, &context);
                self.answer(db, trouble, done)
            }
        }
    }

    /// From one start to the next.
    fn live(&mut self) {
        self.lives += 1;
        let faulty = FaultyStorage::new(Arc::new(self.disk.clone()));
        faulty.set_slow(self.options.background);
        let mut trouble = Trouble::new(&faulty);
        if self.random.below(3) == 0 {
            trouble.plan(&mut self.random);
        }
        let db = match self.open(Arc::new(faulty.clone())) {
            Ok(db) => db,
            Err(error) => {
                let context = self.context();
                assert!(faulty.struck(), "{context}: opening: {error}");
                return self.image();
            }
        };
        let settled = self.settle(&db);
        let mut life = self.answer(&db, &trouble, settled);
        if self.random.below(2) == 0 {
            trouble.plan(&mut self.random);
        }
        for _ in 0..40 {
            if life == Life::Over {
                break;
            }
            life = self.step(&db, &mut trouble);
        }
        if life == Life::Over && trouble.reads_answer() {
            // Reads go on whatever has failed.
            let before = (self.maybe.clone(), self.model.clone(), self.past.clone());
            self.settle(&db).unwrap();
            // The next start may still find less: what failed to be synced.
            (self.maybe, self.model, self.past) = before;
        }
        self.die(db, &mut trouble, life);
    }

    /// Closes the database, or lets the power go.
    fn die(&mut self, db: Arc<Db>, trouble: &mut Trouble, life: Life) {
        let context = self.context();
        if life == Life::Goes && self.random.below(3) > 0 {
            trouble.end(&self.disk, &self.stores);
            if let Err(error) = db.close() {
                assert!(trouble.excuses_close(), "{context}: closing: {error}");
            } else if self.random.below(3) == 0 && !trouble.excuses_close() {
                // A log that ends without a mark, for want of room, does not tell a last record
                // that rots from one that was never whole (FORMAT.md, "What counts as corruption").
                drop(db);
                self.disk = self.disk.copy();
                return self.decay();
            }
        } else {
            trouble.cut_power();
        }
        drop(db);
        trouble.end(&self.disk, &self.stores);
        self.image();
    }

    /// What the next life finds on the disk.
    fn image(&mut self) {
        self.disk.set_capacity(None);
        self.disk = match self.random.below(8) {
            0 => self.disk.crash_hard(),
            1 => self.disk.copy(),
            _ => self.disk.crash(self.random.next()),
        };
    }

    /// After all lives: everything is there, and goes everywhere it can go.
    fn end(&mut self) {
        self.lives += 1;
        let context = self.context();
        let db = self.open(Arc::new(self.disk.clone())).unwrap();
        self.settle(&db).unwrap();
        try_check(&db, &self.model, &context).unwrap();
        let faulty = FaultyStorage::new(Arc::new(self.disk.clone()));
        let calm = Trouble::new(&faulty);
        for _ in 0..4 {
            assert!(self.commit(&db, &calm) == Life::Goes);
        }
        db.checkpoint().unwrap();
        db.merge_full(None).unwrap();
        assert!(self.tend(&db, &calm) == Life::Goes);
        let report = db.backup(BACKUPS, false, |_| Ok(())).unwrap();
        self.past.backed_up(report.manifest.time);
        try_check(&db, &self.model, &format!("{context}, archived")).unwrap();
        self.restore_a_moment();
        for id in self.model.tables.keys() {
            db.restore(*id, TimeRange::ALL, 0).unwrap();
        }
        db.merge_full(None).unwrap();
        try_check(&db, &self.model, &format!("{context}, back")).unwrap();
        db.close().unwrap();
        drop(db);
        self.check_folder(&context);
    }

    /// The data folder names what the version does and nothing else, and all of it is sound.
    fn check_folder(&self, context: &str) {
        let shared = self.seals.shape(Arc::new(self.disk.clone()));
        let named = crate::engine::version::FoundVersion::read(&*shared).unwrap().version.files();
        for name in self.disk.list("parts").unwrap() {
            assert!(named.contains(&format!("parts/{name}")), "{context}: {name} is left over");
        }
        let findings = crate::engine::verify(&shared, |_| {}).unwrap();
        assert!(findings.iter().all(|f| f.damage.is_none()), "{context}: {findings:?}");
    }
}

/// Tells what happens in a world that runs alone.
fn trace(text: impl FnOnce() -> String) {
    static ALONE: OnceLock<bool> = OnceLock::new();
    if *ALONE.get_or_init(|| std::env::var_os("MILLRACE_SEED").is_some()) {
        println!("{}", text());
    }
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..2 + world.random.below(3) {
        world.live();
    }
    world.end();
}

/// A quarter of all seeds.
fn quarter(number: u64) {
    let all = std::env::var("MILLRACE_SEEDS").ok();
    let all: u64 = all.map_or(300, |all| all.parse().expect("MILLRACE_SEEDS is a number"));
    seeds(number * all / 4..(number + 1) * all / 4).for_each(run);
}

#[test]
fn simulation_0() {
    quarter(0);
}

#[test]
fn simulation_1() {
    quarter(1);
}

#[test]
fn simulation_2() {
    quarter(2);
}

#[test]
fn simulation_3() {
    quarter(3);
}
