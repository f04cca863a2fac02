//! A whole conversation over the Postgres wire.
#![no_main]

use tsdb::fuzz::memory::{Counting, watched};

#[global_allocator]
static COUNTING: Counting = Counting;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    watched("postgres", input.len(), || wire::fuzz::postgres(input));
});
