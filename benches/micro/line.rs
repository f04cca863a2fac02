//! Line protocol into a database in memory: parsing, the log, and the head.

use std::sync::Arc;

use criterion::{Criterion, Throughput};
use ingest::{LineLimits, LineWriter, Precision};
use tsdb::io::MemoryStorage;
use tsdb::{Db, Options};

const ROWS: usize = 1000;

/// Rows as an agent sends them: ten tags, ten integers.
fn body(round: i64) -> Vec<u8> {
    let mut body = String::new();
    for row in 0..ROWS as i64 {
        let host = row % 100;
        body.push_str(&format!(
            "cpu,hostname=host_{host},region=eu-west-1,datacenter=eu-west-1b,rack={}",
            host % 7
        ));
        body.push_str(",os=Ubuntu16.10,arch=x64,team=SF,service=3,service_version=1,service_environment=test ");
        let fields: Vec<String> =
            (0..10).map(|field| format!("usage_{field}={}i", (row + field) % 101)).collect();
        let time = 1_704_067_200_000_000_000 + (round * ROWS as i64 + row) * 1_000_000;
        body.push_str(&format!("{} {time}\n", fields.join(",")));
    }
    body.into_bytes()
}

/// Measures writing of a thousand rows.
pub fn benches(criterion: &mut Criterion) {
    let options = Options { shards: 2, ..Options::default() };
    let db = Db::open(Arc::new(MemoryStorage::new()), options).expect("a database in memory");
    let writer = LineWriter::new(db.clone(), LineLimits::default());
    let bodies: Vec<Vec<u8>> = (0..8).map(body).collect();
    let mut group = criterion.benchmark_group("line");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.sample_size(20);
    group.bench_function("write 1000 rows", |bencher| {
        let mut next = bodies.iter().cycle();
        bencher.iter(|| {
            let body = next.next().expect("a cycle has no end");
            writer.write(body, Precision::Nanos, 0).expect("good lines").rows
        });
    });
    group.finish();
    db.close().expect("a database in memory closes");
}
