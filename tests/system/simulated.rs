//! Simulated data in, figures out: they equal those computed here from the same lines.

use std::collections::BTreeMap;

use tools::simulate::{CpuOnly, CpuSpec, Iot, IotSpec};

use crate::server::{TestServer, block_on, first_row};

const T: i64 = 1_704_067_200_000_000_000;
const HOUR: i64 = 3_600_000_000_000;

/// Count, minimum, maximum and sum of a field; floats, and exact for integers below 2^53.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Figures {
    count: u64,
    min: f64,
    max: f64,
    sum: f64,
    sum_of_sizes: f64,
}

/// Rows by table, key and time, merged as the database merges them: a later value wins.
type Model = BTreeMap<String, BTreeMap<(String, i64), BTreeMap<String, f64>>>;

/// Reads the simple lines of the generators: no escapes, numbers only.
fn add(model: &mut Model, lines: &str) {
    for line in lines.lines() {
        let mut parts = line.split(' ');
        let (key, fields, time) =
            (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        let (table, tags) = key.split_once(',').unwrap_or((key, ""));
        let rows = model.entry(table.to_owned()).or_default();
        let row = rows.entry((tags.to_owned(), time.parse().unwrap())).or_default();
        for field in fields.split(',') {
            let (name, value) = field.split_once('=').unwrap();
            row.insert(name.to_owned(), value.trim_end_matches('i').parse().unwrap());
        }
    }
}

fn figures(rows: &BTreeMap<(String, i64), BTreeMap<String, f64>>) -> BTreeMap<String, Figures> {
    let mut all: BTreeMap<String, Figures> = BTreeMap::new();
    for (name, value) in rows.values().flatten() {
        let empty = Figures { count: 0, min: f64::MAX, max: f64::MIN, sum: 0.0, sum_of_sizes: 0.0 };
        let figures = all.entry(name.clone()).or_insert(empty);
        figures.count += 1;
        figures.min = figures.min.min(*value);
        figures.max = figures.max.max(*value);
        figures.sum += value;
        figures.sum_of_sizes += value.abs();
    }
    all
}

async fn check(client: &tokio_postgres::Client, model: &Model) {
    for (table, rows) in model {
        let count = first_row(client, &format!("SELECT count(*) FROM {table}")).await;
        assert_eq!(count, rows.len().to_string(), "rows of {table}");
        for (field, expected) in figures(rows) {
            let sql = format!(
                "SELECT count({field}), min({field}), max({field}), sum({field}) FROM {table}"
            );
            let row = first_row(client, &sql).await;
            let cells: Vec<f64> = row.split('|').map(|cell| cell.parse().unwrap()).collect();
            assert_eq!(cells[0] as u64, expected.count, "count of {table}.{field}");
            assert_eq!((cells[1], cells[2]), (expected.min, expected.max), "{table}.{field}");
            // Sums of floats depend on their order within this.
            let off = (cells[3] - expected.sum).abs();
            assert!(off <= expected.sum_of_sizes * 1e-12, "sum of {table}.{field} is off by {off}");
        }
    }
}

/// Checks in memory, after a flush, after a merge and after a restart.
fn check_through_life(mut server: TestServer, model: &Model) {
    block_on(async {
        let client = server.sql().await;
        check(&client, model).await;
        client.batch_execute("CHECKPOINT").await.unwrap();
        check(&client, model).await;
        client.batch_execute("VACUUM FULL").await.unwrap();
        check(&client, model).await;
    });
    let code = server.server.terminate(std::time::Duration::from_secs(60)).unwrap();
    assert_eq!(code, 0);
    server.restart();
    block_on(async { check(&server.sql().await, model).await });
}

#[test]
fn cpu_only() {
    let server = TestServer::start();
    let mut cpu = CpuOnly::new(CpuSpec {
        hosts: 20,
        start_ns: T,
        end_ns: T + HOUR,
        interval_ns: 10_000_000_000,
        seed: 7,
    });
    let (mut model, mut chunk) = (Model::new(), Vec::new());
    while cpu.next_chunk(&mut chunk, 1000) > 0 {
        let lines = String::from_utf8(std::mem::take(&mut chunk)).unwrap();
        add(&mut model, &lines);
        server.write(&lines);
    }
    assert_eq!(model["cpu"].len(), 20 * 360);
    block_on(async {
        let client = server.sql().await;
        // One host's maximum of one hour, computed here too.
        let expected = model["cpu"]
            .iter()
            .filter(|((tags, _), _)| tags.contains("hostname=host_3,"))
            .map(|(_, row)| row["usage_user"] as i64)
            .max();
        let sql = "SELECT max(usage_user) FROM cpu WHERE hostname = 'host_3'";
        assert_eq!(first_row(&client, sql).await, expected.unwrap().to_string());
        let sql = "SELECT count(*) FROM (SELECT DISTINCT ON (hostname) * FROM cpu \
                   ORDER BY hostname, time DESC) AS l";
        assert_eq!(first_row(&client, sql).await, "20");
    });
    check_through_life(server, &model);
}

#[test]
fn iot_with_gaps_and_missing_tags() {
    let server = TestServer::start();
    let mut iot = Iot::new(IotSpec {
        trucks: 10,
        start_ns: T,
        end_ns: T + 3 * HOUR,
        interval_ns: 10_000_000_000,
        seed: 7,
    });
    let (mut model, mut chunk) = (Model::new(), Vec::new());
    while iot.next_chunk(&mut chunk, 1000) > 0 {
        let lines = String::from_utf8(std::mem::take(&mut chunk)).unwrap();
        add(&mut model, &lines);
        server.write(&lines);
    }
    assert!(model.contains_key("readings") && model.contains_key("diagnostics"));
    let nameless = model["readings"].keys().filter(|(tags, _)| !tags.contains("name=")).count();
    let found = block_on(server.one("SELECT count(*) FROM readings WHERE name IS NULL"));
    assert_eq!(found, nameless.to_string());
    check_through_life(server, &model);
}
