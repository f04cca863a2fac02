//! Prometheus' doors: parameters, answers and errors in its forms, remote write and read.

use std::sync::atomic::Ordering;

use super::*;
use ingest::remote::proto::{Field, Fields, put_bytes, put_int, take_varint};
use serde_json::json;

fn ask(path: &str) -> Request<Body> {
    let request = Request::get(path).header("authorization", ANN);
    request.body(Body::empty()).expect("a request")
}

async fn answer(path: &str) -> Answer {
    send(&open(&Arc::new(House::default())), ask(path)).await
}

#[tokio::test]
async fn answers_have_prometheus_form() {
    for (path, data) in [
        (
            "/api/v1/query?query=scalar&time=1.5",
            json!({ "resultType": "scalar", "result": [1.5, "0.5"] }),
        ),
        (
            "/prometheus/api/v1/query?query=text&time=2",
            json!({ "resultType": "string", "result": [2, "a\"b"] }),
        ),
        (
            "/api/v1/query?query=vector&time=2015-07-01T20:10:51.781Z",
            json!({ "resultType": "vector", "result": [
                { "metric": { "__name__": "m", "k": "a\n" }, "value": [1435781451.781, "NaN"] },
                { "metric": { "__name__": "m", "k": "b" }, "value": [1435781451.781, "+Inf"] },
            ] }),
        ),
        ("/api/v1/query?query=nothing", json!({ "resultType": "vector", "result": [] })),
        (
            "/api/v1/query_range?query=matrix&start=1&end=3&step=1m",
            json!({ "resultType": "matrix", "result": [
                { "metric": { "__name__": "m", "k": "a" }, "values": [[1, "1"], [3, "1e+21"]] },
                { "metric": { "__name__": "m", "k": "b" }, "values": [] },
            ] }),
        ),
        ("/api/v1/label/job/values?match[]=up&match[]=a{b=\"c\"}", json!(["job", "2"])),
        ("/api/v1/label/U__a_2e_b/values", json!(["a.b", "0"])),
        ("/api/v1/series?match[]=up", json!([{ "__name__": "m", "k": "v" }])),
        ("/api/v1/query_exemplars?query=up&start=1&end=2", json!([])),
        ("/api/v1/rules", json!({ "groups": [] })),
        ("/api/v1/alerts", json!({ "alerts": [] })),
        (
            "/api/v1/metadata?metric=up",
            json!({ "up": [{ "type": "gauge", "help": "whether it is up", "unit": "" }] }),
        ),
        ("/api/v1/metadata?metric=down", json!({})),
    ] {
        let answer = answer(&path.replace('"', "%22")).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.json(), json!({ "status": "success", "data": data }), "{path}");
    }
    let info = answer("/api/v1/status/buildinfo").await.json();
    assert_eq!(info["data"]["application"], "Millrace");
    let cut = answer("/api/v1/labels?limit=2").await.json();
    assert_eq!(cut["data"], json!(["__name__", "k"]));
    assert_eq!(cut["warnings"], json!(["results truncated due to limit"]));
}

#[tokio::test]
async fn large_answers_leave_in_pieces() {
    let answer = answer("/api/v1/query_range?query=large&start=0&end=1&step=1").await;
    let json = answer.json();
    for n in 0..2 {
        let values = json["data"]["result"][n]["values"].as_array().expect("values");
        assert_eq!((values.len(), &values[19_999]), (20_000, &json!([19.999, "0.5"])));
    }
}

#[tokio::test]
async fn parameters_come_by_address_and_form() {
    let house = Arc::new(House::default());
    let state = open(&house);
    let values = |answer: &Answer| {
        let values = answer.json()["data"]["result"][0]["values"].clone();
        let values = values.as_array().expect("values").clone();
        values.iter().map(|v| v[1].as_str().unwrap_or("").to_owned()).collect::<Vec<_>>()
    };
    let query = "query=echo&start=10&end=20.5&step=15s&lookback_delta=1m&timeout=2s";
    let expected = ["10000000000", "20500000000", "15000000000", "60000000000", "2"];
    let by_get = send(&state, ask(&format!("/api/v1/query_range?{query}"))).await;
    assert_eq!(values(&by_get), expected);
    let form = ("content-type", "application/x-www-form-urlencoded");
    let headers = [("authorization", ANN), form];
    let by_form = send(&state, post("/api/v1/query_range", &headers, query)).await;
    assert_eq!(values(&by_form), expected);
    // What the form says counts before the address.
    let both = post("/api/v1/query_range?step=1&end=99", &headers, query);
    assert_eq!(values(&send(&state, both).await), expected);
    for (path, words) in [
        ("/api/v1/query_range?query=echo&end=1&step=1", "invalid parameter \"start\""),
        ("/api/v1/query_range?query=echo&start=x&end=1&step=1", "cannot parse \"x\""),
        ("/api/v1/query_range?query=echo&start=0&end=1", "invalid parameter \"step\""),
        ("/api/v1/query_range?query=echo&start=0&end=1&step=soon", "valid duration"),
        ("/api/v1/query?query=echo&time=NaN", "valid timestamp"),
        ("/api/v1/query?query=echo&timeout=-5", "invalid parameter \"timeout\""),
        ("/api/v1/query?query=echo&limit=-1", "limit must be non-negative"),
        ("/api/v1/series", "no match[] parameter provided"),
        ("/api/v1/series?match[]=up[5m]", "invalid parameter \"match[]\""),
        ("/api/v1/labels?start=5&end=1", "must not be before"),
    ] {
        let answer = send(&state, ask(path)).await;
        let json = answer.json();
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        assert_eq!((&json["status"], &json["errorType"]), (&json!("error"), &json!("bad_data")));
        assert!(json["error"].as_str().expect("words").contains(words), "{path}: {json}");
    }
    let headers = [("authorization", ANN), ("content-type", "application/json")];
    let answer = send(&state, post("/api/v1/query", &headers, "{\"query\":\"up\"}")).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn errors_have_prometheus_types() {
    for (code, status, kind) in [
        ("42601", StatusCode::BAD_REQUEST, "bad_data"),
        ("0A000", StatusCode::BAD_REQUEST, "bad_data"),
        ("54000", StatusCode::UNPROCESSABLE_ENTITY, "execution"),
        ("53200", StatusCode::UNPROCESSABLE_ENTITY, "execution"),
        ("53300", StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        ("57014", StatusCode::SERVICE_UNAVAILABLE, "canceled"),
        ("timeout", StatusCode::SERVICE_UNAVAILABLE, "timeout"),
        ("XX000", StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    ] {
        let answer = answer(&format!("/api/v1/query?query=code%20{code}")).await;
        assert_eq!((answer.status, &answer.json()["errorType"]), (status, &json!(kind)), "{code}");
        assert_eq!(answer.json()["status"], "error");
    }
    let parse = answer("/api/v1/query?query=code%2042601").await.json();
    assert_eq!(parse["error"], "invalid parameter \"query\": 1:2: parse error: played");
}

#[tokio::test]
async fn every_road_asks_for_log_in() {
    let state = open(&Arc::new(House::default()));
    for base in ["", "/prometheus"] {
        for path in [
            "/query?query=scalar",
            "/query_range",
            "/query_exemplars",
            "/series",
            "/labels",
            "/label/a/values",
            "/metadata",
            "/rules",
            "/alerts",
            "/status/buildinfo",
        ] {
            let answer = send(&state, get(&format!("{base}/api/v1{path}"))).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
            assert_eq!(answer.json()["errorType"], "unauthorized");
            assert!(answer.header("www-authenticate").starts_with("Basic "));
        }
        for path in ["/write", "/read", "/query", "/labels"] {
            let answer = send(&state, post(&format!("{base}/api/v1{path}"), &[], "x")).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_query() {
    let house = Arc::new(House::default());
    let state = open(&house);
    tokio::select! {
        _ = send(&state, ask("/api/v1/query?query=never")) => unreachable!("it never ends"),
        () = house.begun(1) => {}
    }
    assert_eq!(house.cancelled.load(Ordering::SeqCst), 1);
    send(&state, ask("/api/v1/query?query=scalar")).await;
    assert_eq!(house.cancelled.load(Ordering::SeqCst), 1, "a query that is done is not ended");
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).expect("packs")
}

const WRITE: [(&str, &str); 3] = [
    ("authorization", ANN),
    ("content-encoding", "snappy"),
    ("content-type", "application/x-protobuf"),
];

#[tokio::test]
async fn remote_write_unpacks_and_commits() {
    let house = Arc::new(House::default());
    let state = open(&house);
    for path in ["/api/v1/write", "/prometheus/api/v1/write"] {
        let answer = send(&state, post(path, &WRITE, packed(b"good"))).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text());
        assert_eq!(house.written.lock().pop().expect("written").0, b"good");
    }
    let answer = send(&state, post("/api/v1/write", &WRITE, packed(b"good\nbad"))).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let json = answer.json();
    assert_eq!((&json["refused"], &json["written"]), (&json!(1), &json!(1)));
    assert_eq!(json["samples"], json!([{ "sample": 2, "reason": "it is bad" }]));
    house.written.lock().clear();
    let eve = [("authorization", EVE), WRITE[1], WRITE[2]];
    let answer = send(&state, post("/api/v1/write", &eve, packed(b"good"))).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(house.written.lock().is_empty());
}

#[tokio::test]
async fn other_forms_of_remote_write_are_415() {
    let house = Arc::new(House::default());
    let state = open(&house);
    for (coding, kind, words) in [
        ("snappy", "application/x-protobuf;proto=io.prometheus.write.v2.Request", "send 1.0"),
        ("snappy", "application/json", "application/x-protobuf is"),
        ("zstd", "application/x-protobuf", "snappy is"),
        ("gzip", "application/x-protobuf", "snappy is"),
    ] {
        let headers =
            [("authorization", ANN), ("content-encoding", coding), ("content-type", kind)];
        let answer = send(&state, post("/api/v1/write", &headers, packed(b"good"))).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
        assert!(answer.text().contains(words), "{}", answer.text());
    }
    assert!(house.written.lock().is_empty());
    let kind = "application/x-protobuf; proto=prometheus.WriteRequest";
    let headers = [("authorization", ANN), ("content-encoding", "snappy"), ("content-type", kind)];
    let answer = send(&state, post("/api/v1/write", &headers, packed(b"good"))).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn damaged_snappy_is_400_and_bombs_are_413() {
    let house = Arc::new(House::default());
    let state = open(&house);
    let whole = packed(&b"good good good good good good".repeat(20));
    for end in 0..whole.len() {
        let answer = send(&state, post("/api/v1/write", &WRITE, whole[..end].to_vec())).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "prefix of {end} bytes");
    }
    let bomb = packed(&vec![b'x'; 64 << 20]);
    // Even where the client says little, what is unpacked counts.
    let small = bomb[..bomb.len().min(1 << 19)].to_vec();
    for body in [small, vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0x00]] {
        let answer = send(&state, post("/api/v1/write", &WRITE, body)).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    }
    assert!(house.written.lock().is_empty());
    let whole = (quick().memory_bytes_max) / 1024;
    assert_eq!(state.memory().available(), whole, "all memory is given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_has_to_wait_is_503() {
    let house = Arc::new(House::default());
    let state = HttpState::starting(HttpOptions { writers_max: 1, ..quick() });
    state.set_backend(house.clone());
    *house.held.lock() = true;
    let request = || post("/api/v1/write", &WRITE, packed(b"good"));
    let first = tokio::spawn({
        let (state, request) = (state.clone(), request());
        async move { send(&state, request).await }
    });
    while house.entered.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let second = send(&state, request()).await;
    // Prometheus drops what is answered 429.
    assert_eq!(second.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(second.header("retry-after"), "1");
    house.release();
    assert_eq!(first.await.expect("runs").status, StatusCode::NO_CONTENT);
    *house.write_error.lock() = Some(tsdb::Error::Full("disk full".to_owned()));
    assert_eq!(send(&state, request()).await.status, StatusCode::SERVICE_UNAVAILABLE);
}

/// A `ReadRequest` of queries that end at these ms.
fn read_request(ends: &[i64], accepted: &[u8]) -> Vec<u8> {
    let (mut body, mut matcher) = (Vec::new(), Vec::new());
    put_bytes(2, b"__name__", &mut matcher);
    put_bytes(3, b"m", &mut matcher);
    for end in ends {
        let mut query = Vec::new();
        put_int(2, *end, &mut query);
        put_bytes(3, &matcher, &mut query);
        put_bytes(1, &query, &mut body);
    }
    put_bytes(2, accepted, &mut body);
    packed(&body)
}

async fn read(ends: &[i64], accepted: &[u8]) -> Answer {
    let body = read_request(ends, accepted);
    send(&open(&Arc::new(House::default())), post("/api/v1/read", &WRITE, body)).await
}

fn messages(bytes: &[u8], number: u32) -> Vec<Vec<u8>> {
    let fields = Fields::new(bytes).map(|field| field.expect("a message"));
    let wanted = fields.filter_map(|field| match field {
        (n, Field::Bytes(bytes)) if n == number => Some(bytes.to_vec()),
        _ => None,
    });
    wanted.collect()
}

#[tokio::test]
async fn remote_read_gives_samples() {
    let answer = read(&[1000, 2000], &[]).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-encoding"), "snappy");
    let body = snap::raw::Decoder::new().decompress_vec(&answer.body).expect("snappy");
    let results = messages(&body, 1);
    assert_eq!(results.len(), 2);
    let series = messages(&results[1], 1);
    assert_eq!(messages(&series[0], 1).len(), 2, "labels");
    let samples = messages(&series[0], 2);
    assert_eq!(samples.len(), 250);
    let fields: Vec<_> = Fields::new(&samples[2]).map(|field| field.expect("a field")).collect();
    assert_eq!(fields, [(1, Field::Fixed64(0.75f64.to_bits())), (2, Field::Varint(45_000))]);
}

#[tokio::test]
async fn remote_read_streams_chunks() {
    let answer = read(&[1000, 2000], &[1, 0]).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.header("content-type").starts_with("application/x-streamed-protobuf"));
    let mut rest = &answer.body[..];
    let mut seen = Vec::new();
    while !rest.is_empty() {
        let length = take_varint(&mut rest).expect("a length") as usize;
        let (frame, behind) = rest[4..].split_at(length);
        rest = behind;
        let series = messages(frame, 1);
        let chunks = messages(&series[0], 2);
        // 250 samples: 120, 120 and 10.
        assert_eq!(chunks.len(), 3);
        let data = messages(&chunks[2], 4);
        assert_eq!(u16::from_be_bytes([data[0][0], data[0][1]]), 10);
        let index = Fields::new(frame).find_map(|field| match field.expect("a field") {
            (2, Field::Varint(index)) => Some(index),
            _ => None,
        });
        seen.push(index);
    }
    assert_eq!(seen, [Some(0), Some(1)]);
}

#[tokio::test]
async fn remote_reads_that_fail_say_so() {
    assert_eq!(read(&[0], &[1]).await.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(read(&[0], &[0]).await.status, StatusCode::INTERNAL_SERVER_ERROR);
    let state = open(&Arc::new(House::default()));
    let answer = send(&state, post("/api/v1/read", &WRITE, "no snappy")).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let answer = send(&state, post("/api/v1/read", &WRITE, packed(b"\x0b"))).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}
