//! Small runs of the benchmarks: they check every answer they get, and fail if one is wrong.
//! Nothing is said about speed here: machines that run tests are slow.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::server::program;

/// Runs a benchmark; its figures as JSON.
fn run(name: &str, arguments: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("figures.json");
    let output = Command::new(program())
        .args(["bench", name, "--folder"])
        .arg(folder.path())
        .arg("--json")
        .arg(&json)
        .args(arguments.split_whitespace())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (told, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{told}\n{errors}");
    read(&json)
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("{name} in {value}"))
}

#[test]
fn growth() {
    let figures = run("growth", "--scale 20 --hours 2 --factor 3 --hosts 5 --runs 3");
    let databases = figures.as_array().unwrap();
    let rows: Vec<u64> = databases.iter().map(|database| number(database, "rows")).collect();
    assert_eq!(rows, [20 * 720, 3 * 20 * 720, 3 * 20 * 720]);
    for database in databases {
        let queries = database["queries"].as_array().unwrap();
        assert_eq!(queries.len(), 10);
        for query in queries {
            assert_eq!(number(query, "runs"), 3, "{query}");
        }
    }
}

#[test]
fn mixed() {
    let arguments = "--minutes 3 --minute-seconds 2 --probe-seconds 2 --scale 10 --batch-rows 1000 \
                     --rate-share 0.1 --queries-per-second 10";
    let figures = run("mixed", arguments);
    let minutes = figures["minutes"].as_array().unwrap();
    assert_eq!(minutes.len(), 3);
    let asked: u64 = minutes.iter().map(|minute| number(minute, "queries")).sum();
    assert!(asked > 0 && number(&figures, "rows") > 0, "{figures}");
    assert!(minutes.iter().all(|minute| number(minute, "wrong") == 0), "{figures}");
}

#[test]
fn late() {
    // Small heads make many parts.
    let arguments = "--scale 5 --backlog 3 --days 40 --interval-seconds 1800 --batch-rows 200 \
                     --server-arg=--head-bytes-max=16384";
    let figures = run("late", arguments);
    assert_eq!(number(&figures, "rows"), 8 * 40 * 48);
    assert_eq!(number(&figures, "partitions"), 40);
    assert!(number(&figures, "late") > 1000, "{figures}");
    assert!(number(&figures, "parts_settled") <= 40, "{figures}");
    assert!(number(&figures, "flush_bytes") > 0, "{figures}");
}

#[test]
fn series_on_little_memory() {
    let figures = run("series", "--series 20000 --rounds 3 --memory 256MiB --runs 3");
    assert_eq!(number(&figures, "rows"), 60_000);
    assert_eq!(figures["queries"].as_array().unwrap().len(), 4);
    assert_eq!(number(&figures["queries"][0], "rows"), 1);
}
