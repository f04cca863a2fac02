//! PromQL.
#![no_main]

use tsdb::fuzz::memory::{Counting, watched};

#[global_allocator]
static COUNTING: Counting = Counting;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    // As deep as the threads that queries are read on.
    let input = input.to_vec();
    let large = std::thread::Builder::new().stack_size(64 << 20);
    let run = large.spawn(move || watched("promql", input.len(), || query::fuzz::promql(&input)));
    run.expect("a thread").join().expect("no panic");
});
