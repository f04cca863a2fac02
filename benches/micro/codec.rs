//! Columns of one row group to bytes and back, at both levels.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use tsdb::codec::{Level, decode_floats, decode_ints, encode_floats, encode_ints};

const ROWS: usize = 8192;

/// A small generator of its own, so that figures compare from run to run.
fn noise(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// A random walk between 0 and 100, as a CPU gauge is.
fn walk() -> Vec<i64> {
    let (mut state, mut value) = (1, 50i64);
    (0..ROWS)
        .map(|_| {
            value = (value + noise(&mut state) as i64 % 5 - 2).clamp(0, 100);
            value
        })
        .collect()
}

/// Times at ten seconds with some jitter.
fn times() -> Vec<i64> {
    let mut state = 2;
    (0..ROWS as i64)
        .map(|row| {
            1_704_067_200_000_000_000 + row * 10_000_000_000 + noise(&mut state) as i64 % 1_000_000
        })
        .collect()
}

/// Temperatures with two decimals.
fn decimals() -> Vec<f64> {
    walk().iter().map(|value| (*value as f64 * 37.0).round() / 100.0).collect()
}

/// Measures encoding and decoding of columns.
pub fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Bytes(ROWS as u64 * 8));
    for level in [Level::Light, Level::Dense] {
        for (name, values) in [("gauge", walk()), ("times", times())] {
            let id = |what| BenchmarkId::new(what, format!("{name}/{level:?}"));
            let mut encoded = Vec::new();
            encode_ints(&values, level, &mut encoded);
            group.bench_function(id("encode"), |bencher| {
                let mut out = Vec::new();
                bencher.iter(|| {
                    out.clear();
                    encode_ints(black_box(&values), level, &mut out);
                });
            });
            group.bench_function(id("decode"), |bencher| {
                bencher.iter(|| decode_ints(black_box(&encoded), ROWS).expect("it was encoded"));
            });
        }
        let values = decimals();
        let mut encoded = Vec::new();
        encode_floats(&values, level, &mut encoded);
        group.bench_function(
            BenchmarkId::new("encode", format!("decimals/{level:?}")),
            |bencher| {
                let mut out = Vec::new();
                bencher.iter(|| {
                    out.clear();
                    encode_floats(black_box(&values), level, &mut out);
                });
            },
        );
        group.bench_function(
            BenchmarkId::new("decode", format!("decimals/{level:?}")),
            |bencher| {
                bencher.iter(|| decode_floats(black_box(&encoded), ROWS).expect("it was encoded"));
            },
        );
    }
    group.finish();
}
