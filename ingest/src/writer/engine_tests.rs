//! The same requests into the real engine and the naive one must leave the same rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use tsdb::io::MemoryStorage;
use tsdb::types::ValueRef;
use tsdb::{Db, Options, ScanRequest};

use super::memory::MemoryStore;
use super::{LineLimits, LineWriter};
use crate::line::Precision;

fn open(storage: &Arc<MemoryStorage>) -> Arc<Db> {
    let options = Options { background: false, ..Options::default() };
    Db::open(storage.clone(), options).expect("the engine opens")
}

/// Rows in the words of [`MemoryStore::rows`].
fn rows(db: &Db) -> Vec<String> {
    let snapshot = db.snapshot();
    let mut out = Vec::new();
    for schema in snapshot.tables() {
        let table = snapshot.table(&schema.name).expect("a listed table is there");
        let fields: Vec<_> = schema.fields().collect();
        let scan = table.scan(ScanRequest::all(fields.iter().map(|f| f.id).collect()));
        for mut stream in scan.expect("the scan starts").streams {
            while let Some(batch) = stream.next_rows().expect("the scan goes on") {
                for part in &batch.series {
                    let key = table.series().key(part.series).expect("a series has a key");
                    let tags: Vec<String> = key
                        .pairs()
                        .map(|(id, value)| {
                            let name = &schema.column_by_id(id).expect("a key column").name;
                            format!("{name}={}", String::from_utf8_lossy(value))
                        })
                        .collect();
                    for row in part.start as usize..(part.start + part.rows) as usize {
                        let mut cells = BTreeMap::new();
                        for (field, (_, column)) in fields.iter().zip(&batch.columns) {
                            let (state, value) = column.cell(row);
                            if !state.is_value() {
                                continue;
                            }
                            let name = &field.name;
                            let text = match value {
                                ValueRef::Int(v) => format!("{name}={v}i"),
                                ValueRef::Float(v) => format!("{name}={v:?}"),
                                ValueRef::Bool(v) => format!("{name}={v}"),
                                ValueRef::Bytes(v) => {
                                    format!("{name}={:?}", String::from_utf8_lossy(v))
                                }
                            };
                            cells.insert(name, text);
                        }
                        let cells = cells.into_values().collect::<Vec<_>>().join(",");
                        let tags = tags.join(",");
                        let time = batch.times[row];
                        out.push(format!("{}{{{tags}}} {cells} @{time}", schema.name));
                    }
                }
            }
        }
    }
    out.sort();
    out
}

/// Requests that meet every way of growing: tables, tags, fields, wider types, sparse rows, rows
/// out of order and written twice, refused lines.
fn requests() -> Vec<String> {
    let mut requests = vec![
        "cpu,host=a user=1i,load=0.5 10\nmem,host=a free=7i 3\ncpu,host=b up=t 5".to_string(),
        "cpu,host=a,rack=3 user=2i,temp=1.5 11\ncpu,host=a user=9i 10\ncpu user=5i 4".to_string(),
        "cpu,host=b note=\"ü \\\"x\\\"\" 5\ncpu,host=b up=f,note=\"later\" 5\nbad".to_string(),
        "cpu,host=c user=1.5 9\ncpu,host=c load=2i 9\ncpu,host=c up=1i 9".to_string(),
        "new x=1i 1\nnew x=2.5 2\nnew x=3i 3".to_string(),
        (0..500).map(|n| format!("wide,t={} f{}={n}i {}\n", n % 5, n % 60, n * 7 % 100)).collect(),
    ];
    let mut seed = 7u64;
    for _ in 0..30 {
        let mut request = String::new();
        for _ in 0..40 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let [a, b, c, d] = [seed >> 33 & 3, seed >> 36 & 7, seed >> 40 & 31, seed >> 50 & 255];
            request.push_str(&match d % 5 {
                0 => format!("m{a},k={b} x={d}i,y={c}.25 {c}\n"),
                1 => format!("m{a},k={b},l={} y={d} {c}\n", c % 3),
                2 => format!("m{a},l={b} s=\"{d}\",x={d}i {c}\n"),
                3 => format!("m{a},k={b} x={d}.5,z=t {c}\n"),
                _ => format!("m{a},n{}=1 v{}={d}i,z=f {c}\n", d % 3, d % 11),
            });
        }
        requests.push(request);
    }
    requests
}

#[test]
fn the_real_engine_agrees_with_the_naive_one() {
    let storage = Arc::new(MemoryStorage::new());
    let db = open(&storage);
    let naive = MemoryStore::with_tables_max(100);
    let real_writer = LineWriter::new(db.clone(), LineLimits::default());
    let naive_writer = LineWriter::with_store(naive.clone(), LineLimits::default());
    for (number, request) in requests().iter().enumerate() {
        let real = real_writer.write(request.as_bytes(), Precision::Nanos, 77).expect("written");
        let told = naive_writer.write(request.as_bytes(), Precision::Nanos, 77).expect("written");
        assert_eq!(real.rows, told.rows, "request {number}");
        assert_eq!(real.refused, told.refused, "request {number}");
        let (real, expect) = (rows(&db), naive.rows());
        let other = real.iter().zip(&expect).find(|(a, b)| a != b);
        assert_eq!((other, real.len()), (None, expect.len()), "after request {number}");
        if number == 12 {
            db.checkpoint().expect("the heads become parts");
        }
    }
    assert!(naive.rows().len() > 300);
    drop(real_writer);
    drop(db);
    // What was acknowledged is there after a power cut that loses everything not synced.
    let after = open(&Arc::new(storage.crash_hard()));
    assert_eq!(rows(&after), naive.rows());
}

#[test]
fn many_writers_of_new_tables_and_columns_lose_nothing() {
    let db = open(&Arc::new(MemoryStorage::new()));
    let writer = LineWriter::new(db.clone(), LineLimits::default());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let writer = &writer;
            scope.spawn(move || {
                for round in 0..20 {
                    // The types agree; who makes table, tag and field first is open.
                    let request = format!(
                        "t{},who={thread},r{}=x f{}={round}i,g=1.5 {round}\n",
                        round % 3,
                        round % 4,
                        round % 5
                    );
                    let report = writer.write(request.as_bytes(), Precision::Nanos, 0);
                    let report = report.expect("the request is written");
                    assert_eq!((report.rows, report.refused_count), (1, 0));
                }
            });
        }
    });
    assert_eq!(rows(&db).len(), 80);
}
