//! Requests made by prost, an independent codec, into the naive engine and the real one.

use std::sync::Arc;

use proptest::prelude::*;
use prost::Message;
use tsdb::io::MemoryStorage;
use tsdb::types::{ColumnType, Quality, TableOptions, ValueRef};
use tsdb::{Command, Db, Error, NewColumn, NewTable, Options, ScanRequest};

use super::*;
use crate::writer::memory::MemoryStore;
use crate::{LineLimits, LineWriter, Report};

/// prometheus/prompb, as prost sees it.
#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<MetricMetadata>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    exemplars: Vec<Exemplar>,
    #[prost(bytes = "vec", repeated, tag = "4")]
    histograms: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Exemplar {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(double, tag = "2")]
    value: f64,
}

#[derive(Clone, PartialEq, Message)]
struct MetricMetadata {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "4")]
    help: String,
    #[prost(string, tag = "5")]
    unit: String,
}

/// A series of `name,label=value,…` with samples of (ms, value).
fn series(text: &str, samples: &[(i64, f64)]) -> TimeSeries {
    let mut labels = Vec::new();
    for (n, part) in text.split(',').enumerate() {
        let (name, value) = part.split_once('=').unwrap_or((METRIC_NAME, part));
        if n > 0 || !value.is_empty() {
            labels.push(Label { name: name.into(), value: value.into() });
        }
    }
    let sample = |(timestamp, value): &(i64, f64)| Sample { value: *value, timestamp: *timestamp };
    let samples = samples.iter().map(sample).collect();
    TimeSeries { labels, samples, ..TimeSeries::default() }
}

fn request(timeseries: Vec<TimeSeries>) -> Vec<u8> {
    WriteRequest { timeseries, metadata: Vec::new() }.encode_to_vec()
}

fn new() -> (Arc<MemoryStore>, Arc<LineWriter>) {
    let store = MemoryStore::new();
    (store.clone(), LineWriter::with_store(store, LineLimits::default()))
}

fn write(writer: &LineWriter, timeseries: Vec<TimeSeries>) -> Report {
    writer.write_series(&request(timeseries)).expect("the request is written")
}

#[test]
fn series_become_rows() {
    let (store, writer) = new();
    let report = write(
        &writer,
        vec![
            series("up,instance=a,job=x", &[(1000, 1.0), (2000, 0.0)]),
            series("up,job=x,instance=b,empty=", &[(1000, 1.0)]),
            series("node_load1,time=t,value=v,_time=u", &[(5, 0.25)]),
            series("idle", &[]),
        ],
    );
    assert_eq!((report.rows, report.refused_count), (4, 0));
    assert_eq!(
        store.rows(),
        [
            "node_load1{__time=u,_time=t,_value=v} value=0.25 @5000000",
            "up{instance=a,job=x} value=0.0 @2000000000",
            "up{instance=a,job=x} value=1.0 @1000000000",
            "up{instance=b,job=x} value=1.0 @1000000000",
        ]
        .map(str::to_owned)
        .into_iter()
        .collect::<Vec<_>>()
    );
    // A record of definitions and one of rows; a series without samples makes no table.
    assert_eq!(store.commits(), [2, 2]);
    let schema = store.schema("up").expect("a table");
    assert_eq!(schema.column("value").map(|c| (c.kind, c.key)), Some((ColumnType::Float64, false)));
    assert!(store.schema("idle").is_none());
    // A new label widens the key; of a time written twice the later counts.
    write(&writer, vec![series("up,zone=z", &[(1, 5.0), (1, 6.0)])]);
    assert!(store.rows().contains(&"up{zone=z} value=6.0 @1000000".to_owned()));
}

#[test]
fn what_cannot_be_taken_is_refused_and_the_rest_written() {
    let (store, writer) = new();
    store.other(vec![Command::CreateTable(NewTable {
        name: "note".into(),
        time_name: "time".into(),
        columns: ["value", "place"]
            .map(|name| NewColumn {
                name: name.into(),
                kind: ColumnType::Text,
                key: false,
                not_null: false,
            })
            .to_vec(),
        options: TableOptions::default(),
        if_not_exists: true,
    })]);
    write(&writer, vec![series("first", &[(1, 1.0)])]);
    let mut histogram = series("h", &[]);
    histogram.histograms.push(vec![1, 2, 3]);
    let report = write(
        &writer,
        vec![
            series(",a=b", &[(1, 1.0)]),
            series("good", &[(1, 1.0), (-1, 2.0), (i64::MAX, 3.0), (2, 4.0)]),
            series("twice,a=b,a=c", &[(1, 1.0)]),
            series("_materialized_7", &[(1, 1.0)]),
            series("note", &[(1, 1.0)]),
            series("note,place=x", &[(1, 1.0)]),
            histogram,
            series(&"x".repeat(256), &[(1, 1.0)]),
            series("last", &[(9, 9.0)]),
        ],
    );
    assert_eq!(report.rows, 3);
    let told: Vec<(u64, &str)> =
        report.refused.iter().map(|refused| (refused.line, refused.reason.as_str())).collect();
    let numbers: Vec<u64> = told.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [1, 3, 4, 6, 7, 8, 9, 10, 11], "{told:?}");
    for (at, words) in [
        (0, "a series without __name__"),
        (1, "the time -1 ms lies outside"),
        (3, "label \"a\" is there twice"),
        (4, "reserved"),
        (5, "field \"value\" is text, the value is double precision"),
        (6, "\"place\" is a field of \"note\", not a tag"),
        (7, "native histograms"),
        (8, "longer than 255 bytes"),
    ] {
        assert!(told[at].1.contains(words), "{:?}", told[at]);
    }
    assert_eq!(store.rows().len(), 4);
}

#[test]
fn races_with_other_writers_are_settled() {
    let (store, writer) = new();
    // Another writer makes the table between the look and the commit.
    store.other(vec![Command::CreateTable(NewTable {
        name: "up".into(),
        time_name: "time".into(),
        columns: vec![NewColumn {
            name: "value".into(),
            kind: ColumnType::Int64,
            key: false,
            not_null: false,
        }],
        options: TableOptions::default(),
        if_not_exists: true,
    })]);
    let report = write(&writer, vec![series("up,job=x", &[(1, 1.0)]), series("b", &[(1, 2.0)])]);
    assert_eq!((report.rows, report.refused_count), (1, 1), "{report:?}");
    assert_eq!(store.rows(), ["b{} value=2.0 @1000000"]);
    store.fail(Error::Full("disk".into()));
    let error = writer.write_series(&request(vec![series("b", &[(2, 2.0)])])).expect_err("full");
    assert!(matches!(error, Error::Full(_)));
}

#[test]
fn a_table_too_many_costs_its_series_only() {
    let (_, writer) = new();
    let all = ["a", "b", "c", "d", "e", "f"].map(|name| series(name, &[(1, 1.0)]));
    let report = write(&writer, all.to_vec());
    assert_eq!((report.rows, report.refused_count), (5, 1));
    assert!(report.refused[0].reason.contains("tables"), "{report:?}");
}

#[test]
fn stale_markers_and_nans_are_kept_to_the_bit() {
    let storage = Arc::new(MemoryStorage::new());
    let open = || {
        let options = Options { background: false, ..Options::default() };
        Db::open(storage.clone(), options).expect("the engine opens")
    };
    let stale = f64::from_bits(STALE_BITS);
    let nan = f64::from_bits(0x7ff8_0000_0000_0001);
    let db = open();
    let writer = LineWriter::new(db.clone(), LineLimits::default());
    write(&writer, vec![series("m,a=b", &[(1, 1.0), (2, stale), (3, nan), (4, 5e-324)])]);
    write(&writer, vec![series("m,a=c", &[(1, stale)])]);
    db.close().expect("closed");
    drop((db, writer));
    let db = open();
    let table = db.snapshot().table("m").expect("the table");
    let value = table.schema().column("value").expect("a field").id;
    let mut cells = Vec::new();
    for mut stream in table.scan(ScanRequest::all(vec![value])).expect("a scan").streams {
        while let Some(rows) = stream.next_rows().expect("rows") {
            for row in 0..rows.len() {
                let (state, value) = rows.columns[0].1.cell(row);
                cells.push(match value {
                    _ if state.is_null() => {
                        assert_eq!(state.quality(), Quality::Bad);
                        STALE_BITS
                    }
                    ValueRef::Float(value) => value.to_bits(),
                    other => panic!("{other:?}"),
                });
            }
        }
    }
    assert_eq!(cells, [1f64.to_bits(), STALE_BITS, nan.to_bits(), 5e-324f64.to_bits(), STALE_BITS]);
}

/// Samples that a request holds for prost, by series with good labels.
fn twin(body: &[u8]) -> Option<u64> {
    let request = WriteRequest::decode(body).ok()?;
    let count = |series: &TimeSeries| (series.samples.len() + series.histograms.len()) as u64;
    Some(request.timeseries.iter().map(count).sum())
}

fn check(body: &[u8]) {
    let (store, writer) = new();
    match (writer.write_series(body), twin(body)) {
        (Ok(report), Some(samples)) => {
            assert_eq!(report.rows + report.refused_count, samples, "{body:?}");
        }
        (Ok(_), None) => panic!("prost does not take {body:?}"),
        (Err(Error::Invalid(_)), _) => assert!(store.rows().is_empty()),
        (Err(other), _) => panic!("{other}"),
    }
}

#[test]
fn every_truncation_and_flip_is_read_as_prost_does_or_refused() {
    let mut one = series("up,instance=a", &[(1000, 1.0), (2000, f64::NAN)]);
    one.exemplars.push(Exemplar { labels: series("trace,id=7", &[]).labels, value: 1.0 });
    let metadata =
        vec![MetricMetadata { kind: 1, name: "up".into(), help: "é".into(), unit: String::new() }];
    let timeseries = vec![one, series("b", &[(1, 1.0)])];
    let body = WriteRequest { timeseries, metadata }.encode_to_vec();
    check(&body);
    for end in 0..body.len() {
        check(&body[..end]);
    }
    for bit in 0..body.len() * 8 {
        let mut flipped = body.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // prost reads exemplars and metadata more strictly than who passes over them.
        let (_, writer) = new();
        if let Ok(report) = writer.write_series(&flipped)
            && let Some(samples) = twin(&flipped)
        {
            assert_eq!(report.rows + report.refused_count, samples, "{flipped:?}");
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_read(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let (_, writer) = new();
        if let Ok(report) = writer.write_series(&body) && let Some(samples) = twin(&body) {
            prop_assert_eq!(report.rows + report.refused_count, samples);
        }
    }

    #[test]
    fn requests_are_read_as_prost_wrote_them(
        all in prop::collection::vec(
            ("[a-e]", prop::collection::vec(("[a-c]", "[xy]?"), 0..4),
             prop::collection::vec((0i64..10_000, any::<f64>()), 0..5)),
            0..8),
    ) {
        let mut good = 0;
        let mut bad = 0;
        let timeseries = all.iter().map(|(name, labels, samples)| {
            let mut names: Vec<&str> =
                labels.iter().filter(|(_, v)| !v.is_empty()).map(|(n, _)| n.as_str()).collect();
            names.sort_unstable();
            let twice = names.windows(2).any(|pair| pair[0] == pair[1]);
            *(if twice { &mut bad } else { &mut good }) += samples.len() as u64;
            let mut one = series(name, samples);
            one.labels.extend(labels.iter().map(|(name, value)| {
                Label { name: name.clone(), value: value.clone() }
            }));
            one
        }).collect();
        let (_, writer) = new();
        let report = write(&writer, timeseries);
        prop_assert_eq!((report.rows, report.refused_count), (good, bad));
    }
}
