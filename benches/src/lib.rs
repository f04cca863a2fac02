//! Criterion micro-benchmarks; they live in `micro/`.
