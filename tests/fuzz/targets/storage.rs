//! The targets of the storage engine; `FUZZ_TARGET` names the one to run.
#![no_main]

use std::sync::LazyLock;

use tsdb::fuzz::memory::Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

static TARGET: LazyLock<String> = LazyLock::new(|| {
    std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target of tsdb::fuzz")
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    tsdb::fuzz::run(&TARGET, input);
});
