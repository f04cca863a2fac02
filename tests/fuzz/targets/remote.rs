//! Prometheus' remote write.
#![no_main]

use tsdb::fuzz::memory::{Counting, watched};

#[global_allocator]
static COUNTING: Counting = Counting;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    watched("remote", input.len(), || ingest::fuzz::remote(input));
});
