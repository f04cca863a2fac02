//! Doors for fuzzers: any bytes in, decoded to the end. They are compiled for tests, where a smoke
//! run mutates the corpus of `tests/fuzz`, and for the fuzzers there, which set `--cfg fuzzing`.
//!
//! What must hold for any input: no panic, no loop without end, and no more memory than
//! [`memory::LIMITS`] allow. A target says whether it took the input for sound, and panics where
//! what was taken is not read back the same.
//!
//! The first byte of an input is its *mode*: with bit 0 every checksum is taken to fit, so that
//! what lies behind checksums meets changed bytes at all.

mod archived;
mod files;
mod journal;
pub mod memory;
mod replay;
#[cfg(test)]
#[path = "../../tests/fuzz/smoke.rs"]
mod smoke;
#[cfg(test)]
mod tests;

use crate::checksum;

/// A door: whether the input was taken for sound.
pub type Target = fn(&[u8]) -> bool;

/// Every target by the name of its corpus.
pub const TARGETS: [(&str, Target); 9] = [
    ("backup", |input| moded(input, archived::backup)),
    ("index", |input| moded(input, archived::index)),
    ("log", |input| moded(input, journal::log)),
    ("part", |input| moded(input, files::part)),
    ("record", |input| moded(input, replay::record)),
    ("rows", |input| moded(input, replay::rows)),
    ("sealed", |input| moded(input, archived::sealed)),
    ("series", |input| moded(input, files::series)),
    ("version", |input| moded(input, journal::version)),
];

/// Runs the target of this name on an input.
///
/// # Panics
/// If there is no such target, or a property does not hold.
pub fn run(name: &str, input: &[u8]) -> bool {
    let target = TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| target);
    let Some(target) = target else { panic!("no target is called {name}") };
    memory::watched(name, input.len(), || target(input))
}

fn moded(input: &[u8], target: fn(&[u8]) -> bool) -> bool {
    let Some((mode, bytes)) = input.split_first() else { return false };
    checksum::pass(mode & 1 == 1, || target(bytes))
}
