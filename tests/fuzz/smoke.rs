//! A smoke run without a fuzzer: the corpus of a target, and seeded mutations of it. The tests of
//! each crate that has targets take this file in by its path.

use std::panic::{RefUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Mutations of each target; `MILLRACE_FUZZ_RUNS` asks for another number.
const RUNS: u64 = 4_000;

/// Numbers that decoders trip over.
const EDGES: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
];

/// Runs a target on its corpus, which it must take for sound (but for what is called `bad-…`), and
/// on mutations of it, some of which it must not.
pub fn check(target: &str, run: impl Fn(&[u8]) -> bool + RefUnwindSafe) {
    let seeds = corpus(target);
    assert!(!seeds.is_empty(), "{target} has no corpus");
    for (name, bytes) in &seeds {
        assert_eq!(run(bytes), !name.starts_with("bad-"), "{target}: {name}, as it lies there");
    }
    let asked = std::env::var("MILLRACE_FUZZ_RUNS");
    let runs = asked.map_or(RUNS, |runs| runs.parse().expect("a number of runs"));
    let mut refused = 0;
    for number in 0..runs {
        let mut dice = Dice(number);
        let seed = &seeds[dice.below(seeds.len())].1;
        let other = &seeds[dice.below(seeds.len())].1;
        let input = mutate(seed, other, &mut dice);
        let taken = catch_unwind(|| run(&input)).unwrap_or_else(|_| {
            let file = std::env::temp_dir().join(format!("millrace-fuzz-{target}-{number}"));
            std::fs::write(&file, &input).expect("the input is kept");
            panic!("{target}: mutation {number} fails; it is kept as {}", file.display())
        });
        refused += u64::from(!taken);
    }
    assert!(refused > 0, "{target} takes anything");
}

/// The corpus of a target: names and bytes.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let files = std::fs::read_dir(folder(target)).expect("a folder of seeds");
    let mut seeds: Vec<_> = files
        .map(|entry| entry.expect("a seed").path())
        .map(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (name, std::fs::read(path).expect("a seed"))
        })
        .collect();
    seeds.sort();
    seeds
}

/// Folder of a target's corpus; every crate lies beside `tests`.
pub fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(target)
}

/// Splitmix64: the same numbers for ever.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// A few changes at random places: bits, bytes, numbers, cuts, pieces moved, pieces of `other`.
fn mutate(seed: &[u8], other: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=dice.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = dice.below(bytes.len());
        let width = [1, 2, 4, 8][dice.below(4)].min(bytes.len() - at);
        match dice.below(9) {
            0 | 1 => bytes[at] ^= 1 << dice.below(8),
            2 | 3 => bytes[at] = dice.next() as u8,
            4 | 5 => {
                let edge = EDGES[dice.below(EDGES.len())].to_le_bytes();
                bytes[at..at + width].copy_from_slice(&edge[..width]);
            }
            6 => bytes.truncate(at),
            7 => {
                let len = dice.below(64).min(bytes.len() - at);
                let piece = bytes[at..at + len].to_vec();
                let to = dice.below(bytes.len());
                bytes.splice(to..to, piece);
            }
            _ => {
                let from = dice.below(other.len() + 1);
                let len = dice.below(64).min(other.len() - from);
                bytes.splice(at..at, other[from..from + len].iter().copied());
            }
        }
    }
    bytes
}
