//! Tests of the engine as a whole. A failing seed is run alone by `MILLRACE_SEED=n`.

mod archive;
mod basics;
mod conditions;
mod crash;
mod damage;
mod deletes;
mod faults;
mod formats;
mod full;
pub(crate) mod golden;
mod groups;
pub(crate) mod hook;
mod life;
mod memory;
pub(crate) mod model;
mod quarantine;
mod races;
pub(crate) mod random;
mod sealed;
mod simulation;
mod twin;
mod watch;
pub(crate) mod workload;

/// The seeds to run: a range, or the one that the environment names.
pub(crate) fn seeds(range: std::ops::Range<u64>) -> impl Iterator<Item = u64> {
    let only: Option<u64> = std::env::var("MILLRACE_SEED").ok().and_then(|seed| seed.parse().ok());
    let rounds = if only.is_some() { 20 } else { 1 };
    let range = only.map_or(range, |seed| seed..seed + 1);
    // Threads make rounds of one seed differ a little.
    range
        .flat_map(move |seed| std::iter::repeat_n(seed, rounds))
        .inspect(|seed| println!("MILLRACE_SEED={seed}"))
}
