//! Line protocol.
#![no_main]

use tsdb::fuzz::memory::{Counting, watched};

#[global_allocator]
static COUNTING: Counting = Counting;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    watched("line", input.len(), || ingest::fuzz::line(input));
});
