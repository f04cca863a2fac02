//! Appending to the log in memory: what a commit costs beside the disk.

use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput};
use tsdb::io::MemoryStorage;
use tsdb::log::{Kind, Log, LogOptions, RecordIn};

/// Bytes after which the log of a benchmark begins anew, so that memory stays bounded.
const BYTES_MAX: u64 = 64 << 20;

/// Measures appending of small and large records.
pub fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("log");
    for bytes in [256usize, 65_536] {
        let payload = vec![7u8; bytes];
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::new("append", bytes), |bencher| {
            let mut log = fresh();
            bencher.iter(|| {
                if log.bytes() > BYTES_MAX {
                    log = fresh();
                }
                let record = RecordIn { kind: Kind::Commands, term: 0, payload: &[&payload] };
                log.append_group(&[record]).expect("memory takes it")
            });
        });
    }
    group.finish();
}

fn fresh() -> Log {
    let storage = Arc::new(MemoryStorage::new());
    Log::open(storage, LogOptions::default()).expect("a new log").0
}
