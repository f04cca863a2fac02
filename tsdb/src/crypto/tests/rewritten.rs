//! The pages of the row store: as a plain file, and after crashes.

use std::collections::BTreeMap;

use super::*;
use crate::io::{FaultPlan, FaultyStorage};

const ROWS: &str = "rows/rows.redb";
const PAGE: u64 = 4096;

type Page = Vec<u8>;

/// What each page may hold after a crash: its content at the last sync, or anything since.
#[derive(Clone, Default)]
struct Model {
    live: Vec<Page>,
    /// Of the last sync, then of each write since.
    maybe: BTreeMap<u64, Vec<Page>>,
    lens: Vec<u64>,
}

impl Model {
    fn note(&mut self, page: u64) {
        let content = self.live[page as usize].clone();
        self.maybe.entry(page).or_default().push(content);
    }

    fn resize(&mut self, pages: u64) {
        let old = self.live.len() as u64;
        self.live.resize(pages as usize, vec![0; PAGE as usize]);
        (old..pages).for_each(|page| self.note(page));
        self.lens.push(pages);
    }

    fn synced(&mut self) {
        self.maybe.clear();
        self.lens = vec![self.live.len() as u64];
        (0..self.live.len() as u64).for_each(|page| self.note(page));
    }

    fn settle(&mut self, file: &dyn File, name: &str) {
        let pages = file.len().unwrap() / PAGE;
        assert!(self.lens.contains(&pages), "{name}: {pages} of {:?}", self.lens);
        self.live.resize(pages as usize, Vec::new());
        for page in 0..pages {
            let mut found = vec![0; PAGE as usize];
            let read = file.read_at(page * PAGE, &mut found);
            read.unwrap_or_else(|error| panic!("{name}: {error}"));
            let zeros = found.iter().all(|byte| *byte == 0);
            let versions = &self.maybe[&page];
            // A file that shrank and grew since the last sync may show either.
            assert!(versions.contains(&found) || (zeros && self.lens.len() > 1), "{name}: {page}");
            self.live[page as usize] = found;
        }
        self.synced();
    }
}

/// Random work; an error is the planned one.
fn work(file: &dyn File, model: &mut Model, random: &mut Random, steps: u64) -> io::Result<()> {
    for _ in 0..steps {
        match random.below(12) {
            0 => {
                file.sync_data()?;
                model.synced();
            }
            1 => {
                let pages = random.below(60);
                model.resize(pages);
                file.set_len(pages * PAGE)?;
            }
            2..4 => {
                let len = random.below(model.live.len() as u64 * PAGE + 1);
                let from = random.below(model.live.len() as u64 * PAGE - len + 1);
                let mut found = vec![0; len as usize];
                file.read_at(from, &mut found)?;
                let live: Vec<u8> = model.live.concat();
                assert_eq!(found, live[from as usize..(from + len) as usize]);
            }
            _ => {
                let page = random.below(50);
                let (from, len) = match random.below(3) {
                    0 => (random.below(PAGE), 1 + random.below(300)),
                    _ => (0, PAGE * (1 + random.below(3))),
                };
                let data = bytes(random, len);
                let end = (page * PAGE + from + len).div_ceil(PAGE);
                if end > model.live.len() as u64 {
                    model.resize(end);
                }
                for (at, byte) in (page * PAGE + from..).zip(&data) {
                    model.live[(at / PAGE) as usize][(at % PAGE) as usize] = *byte;
                }
                (page..end).for_each(|page| model.note(page));
                file.write_at(page * PAGE + from, &data)?;
            }
        }
    }
    Ok(())
}

fn crash(seed: u64) {
    let mut random = Random::new(seed);
    let mut memory = folders();
    let mut model = Model::default();
    // Made and durable before the first crash, as the row store is under a name of passage.
    let file = sealed(&memory, 1).create(ROWS).unwrap();
    file.sync_data().unwrap();
    memory.sync_dir("rows").unwrap();
    model.synced();
    drop(file);
    for round in 0..5 {
        let faulty = FaultyStorage::new(Arc::new(memory.clone()));
        let storage = SealedStorage::new(Arc::new(faulty.clone()), keys(1));
        let file = storage.open(ROWS).unwrap();
        model.settle(&*file, &format!("seed {seed}, round {round}"));
        faulty.set_plan(FaultPlan::CrashAt(faulty.operations() + random.below(60)));
        let worked = work(&*file, &mut model, &mut random, 80);
        assert!(worked.is_ok() || faulty.struck(), "{worked:?}");
        if worked.is_err() {
            assert!(file.write_at(0, &[0; 4096]).is_err() && file.sync_data().is_err());
        }
        memory = match random.below(6) {
            0 => memory.crash_hard(),
            1 => memory.copy(),
            _ => memory.crash(random.below(1 << 40)),
        };
    }
    let file = sealed(&memory, 1).open(ROWS).unwrap();
    model.settle(&*file, &format!("seed {seed}, end"));
}

#[test]
fn torn_pages_survive_crashes() {
    crate::engine::tests::seeds(0..150).for_each(crash);
}

/// After a failed sync the kernel may take pages for clean that never reached the disk; the
/// journal must bring them back whatever is done next.
#[test]
fn what_a_failed_sync_left_comes_from_the_journal() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let memory = folders();
        let faulty = FaultyStorage::new(Arc::new(memory.clone()));
        let storage = SealedStorage::new(Arc::new(faulty.clone()), keys(1));
        let file = storage.create(ROWS).unwrap();
        memory.sync_dir("rows").unwrap();
        file.write_at(0, &bytes(&mut random, 5 * PAGE)).unwrap();
        file.sync_data().unwrap();
        let second = bytes(&mut random, 5 * PAGE);
        file.write_at(0, &second).unwrap();
        // The journal's write and sync, pages in place, and their sync, which fails.
        faulty.set_plan(FaultPlan::FailOnce {
            at: faulty.operations() + 3,
            error: crate::io::FaultKind::Io,
        });
        file.sync_data().unwrap_err();
        memory.forget_unsynced(ROWS).unwrap();
        let file = sealed(&memory, 1).open(ROWS).unwrap();
        let mut found = vec![0; 5 * PAGE as usize];
        file.read_at(0, &mut found).unwrap();
        assert_eq!(found, second);
        // Another round writes over the journal, and may be torn.
        let faulty = FaultyStorage::new(Arc::new(memory.clone()));
        let storage = SealedStorage::new(Arc::new(faulty.clone()), keys(1));
        let file = storage.open(ROWS).unwrap();
        file.write_at(9 * PAGE, &bytes(&mut random, PAGE)).unwrap();
        faulty.set_plan(FaultPlan::CrashAt(faulty.operations() + random.below(6)));
        let _maybe = file.sync_data();
        let image = memory.crash(seed);
        let file = sealed(&image, 1).open(ROWS).unwrap();
        file.read_at(0, &mut found).unwrap();
        assert_eq!(found, second, "seed {seed}");
    }
}

#[test]
fn damage_of_rewritten_files_is_found() {
    let mut random = Random::new(5);
    let memory = folders();
    let storage = sealed(&memory, 1);
    let file = storage.create(ROWS).unwrap();
    let model = bytes(&mut random, 20 * PAGE);
    file.write_at(0, &model).unwrap();
    file.sync_data().unwrap();
    let stored = memory.bytes(ROWS).unwrap();
    let pages = stored.len() - 20 * (4096 + 40);
    for bit in (pages * 8..stored.len() * 8).step_by(211) {
        let image = folders();
        let mut bad = stored.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        image.put(ROWS, bad);
        match read_all(&sealed(&image, 1), ROWS) {
            // The journal still has the page.
            Ok(found) => assert!(found == model, "bit {bit}"),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}"),
        }
    }
    for len in (seal::SEAL_BYTES + 1..stored.len()).step_by(509) {
        let image = folders();
        image.put(ROWS, stored[..len].to_vec());
        let found = read_all(&sealed(&image, 1), ROWS);
        match found {
            Ok(found) => assert_eq!((len - pages) % 4136, 0, "{len}: {}", found.len()),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}"),
        }
    }
}
