//! Micro-benchmarks. Run as a test (`cargo test`), each of them runs once.

mod codec;
mod line;
mod log;

criterion::criterion_group!(all, codec::benches, line::benches, log::benches);
criterion::criterion_main!(all);
