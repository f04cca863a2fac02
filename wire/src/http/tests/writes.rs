//! Line protocol: parameters, packing, limits, refusals.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use flate2::{Compression, write::GzEncoder};
use futures::StreamExt as _;
use ingest::Precision;
use serde_json::json;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("a Vec takes all");
    encoder.finish().expect("a Vec takes all")
}

async fn write(house: &Arc<House>, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut all = vec![("authorization", ANN)];
    all.extend_from_slice(headers);
    send(&open(house), post(path, &all, body.to_vec())).await
}

#[tokio::test]
async fn good_lines_are_204_and_reach_the_writer_as_sent() {
    let house = Arc::new(House::default());
    for (path, precision) in [
        ("/write", Precision::Nanos),
        ("/write?db=x&rp=autogen&precision=n&consistency=all", Precision::Nanos),
        ("/write?precision=h", Precision::Hours),
        ("/api/v2/write?org=o&bucket=b&precision=us", Precision::Micros),
        ("/api/v2/write?precision=s", Precision::Seconds),
    ] {
        let answer = write(&house, path, &[], b"cpu v=1 1\n").await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{path}");
        assert!(answer.body.is_empty());
        let (body, got) = house.written.lock().pop().expect("written");
        assert_eq!((body.as_slice(), got), (&b"cpu v=1 1\n"[..], precision), "{path}");
    }
}

#[tokio::test]
async fn refused_lines_are_listed() {
    let house = Arc::new(House::default());
    let answer = write(&house, "/write", &[], b"cpu v=1\nbad\ncpu v=2\n\nbad again\n").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let json = answer.json();
    assert_eq!(json["code"], "invalid");
    assert_eq!(json["error"], json["message"]);
    assert_eq!((&json["refused"], &json["written"]), (&json!(2), &json!(2)));
    let lines = json!([
        { "line": 2, "reason": "it is bad" },
        { "line": 5, "reason": "it is bad" },
    ]);
    assert_eq!(json["lines"], lines);
}

#[tokio::test]
async fn bad_requests_write_nothing() {
    let house = Arc::new(House::default());
    let answer = write(&house, "/write?precision=days", &[], b"cpu v=1").await;
    assert_eq!(
        (answer.status, answer.json()["code"].as_str()),
        (StatusCode::BAD_REQUEST, Some("invalid"),)
    );
    let packed = [("content-encoding", "br")];
    let answer = write(&house, "/write", &packed, b"cpu v=1").await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let request = post("/write", &[("authorization", EVE)], "cpu v=1");
    let answer = send(&open(&house), request).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(house.written.lock().is_empty());
}

#[tokio::test]
async fn gzip_and_its_damage() {
    let house = Arc::new(House::default());
    let packed = gzip(b"cpu v=1 1\n");
    let headers = [("content-encoding", "gzip")];
    let answer = write(&house, "/write", &headers, &packed).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    // Two members one after the other are one body.
    let twice = [packed.clone(), packed.clone()].concat();
    let answer = write(&house, "/write", &headers, &twice).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    let written = std::mem::take(&mut *house.written.lock());
    assert_eq!(written[0].0, b"cpu v=1 1\n");
    assert_eq!(written[1].0, b"cpu v=1 1\ncpu v=1 1\n");
    for end in 0..packed.len() {
        let answer = write(&house, "/write", &headers, &packed[..end]).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "prefix of {end} bytes");
    }
    assert!(house.written.lock().is_empty());
}

#[tokio::test]
async fn a_gzip_bomb_is_413() {
    let house = Arc::new(House::default());
    let bomb = gzip(&vec![b'x'; 64 << 20]);
    assert!(bomb.len() < 1 << 20, "small as sent: {} bytes", bomb.len());
    let answer = write(&house, "/write", &[("content-encoding", "gzip")], &bomb).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(house.written.lock().is_empty());
}

#[tokio::test]
async fn a_gigabyte_line_is_refused_at_the_limit() {
    let house = Arc::new(House::default());
    let state = open(&house);
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let piece = axum::body::Bytes::from(vec![b'x'; 64 << 10]);
    let pieces = futures::stream::iter(0..16 * 1024).map(move |_| {
        counter.fetch_add(piece.len(), Ordering::SeqCst);
        Ok::<_, std::io::Error>(piece.clone())
    });
    let request = post("/write", &[("authorization", ANN)], Body::from_stream(pieces));
    let answer = send(&state, request).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer.json()["code"], "request too large");
    assert!(house.written.lock().is_empty());
    // What is read on after the refusal is bounded and not kept.
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert!(sent.load(Ordering::SeqCst) <= (66 << 20), "{sent:?} bytes read");
    let whole = (quick().memory_bytes_max) / 1024;
    assert_eq!(state.memory().available(), whole, "all memory is given back");
}

#[tokio::test]
async fn a_length_over_the_limit_is_refused_unread() {
    let house = Arc::new(House::default());
    let polled = Arc::new(AtomicUsize::new(0));
    let counter = polled.clone();
    let never = futures::stream::poll_fn(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        std::task::Poll::<Option<Result<axum::body::Bytes, std::io::Error>>>::Pending
    });
    let headers = [("authorization", ANN), ("content-length", "1073741824")];
    let answer = send(&open(&house), post("/write", &headers, Body::from_stream(never))).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn the_engine_in_need_is_503_with_a_time_to_wait() {
    let house = Arc::new(House::default());
    for (error, status) in [
        (tsdb::Error::ReadOnly("disk broke".to_owned()), StatusCode::SERVICE_UNAVAILABLE),
        (tsdb::Error::Full("disk full".to_owned()), StatusCode::SERVICE_UNAVAILABLE),
        (tsdb::Error::Closed, StatusCode::SERVICE_UNAVAILABLE),
        (tsdb::Error::Invalid("too long".to_owned()), StatusCode::BAD_REQUEST),
        (tsdb::Error::Io("EIO at /srv".to_owned()), StatusCode::INTERNAL_SERVER_ERROR),
    ] {
        *house.write_error.lock() = Some(error.clone());
        let answer = write(&house, "/write", &[], b"cpu v=1").await;
        assert_eq!(answer.status, status, "{error}");
        let unavailable = status == StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(answer.headers.contains_key("retry-after"), unavailable, "{error}");
        assert!(!answer.text().contains("/srv"), "inner causes stay in the log");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_is_429() {
    let house = Arc::new(House::default());
    let options = HttpOptions { writers_max: 1, ..quick() };
    let state = HttpState::starting(options);
    state.set_backend(house.clone());
    *house.held.lock() = true;
    let request = || post("/write", &[("authorization", ANN)], "cpu v=1");
    let first = tokio::spawn({
        let state = state.clone();
        async move { send(&state, request()).await }
    });
    while house.entered.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let second = send(&state, request()).await;
    assert_eq!(second.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(second.header("retry-after"), "1");
    house.release();
    assert_eq!(first.await.expect("runs").status, StatusCode::NO_CONTENT);
    assert_eq!(send(&state, request()).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_share_bounded_memory() {
    let house = Arc::new(House::default());
    let state = open(&house);
    *house.held.lock() = true;
    let body = || vec![b'#'; 1 << 20];
    let mut running = Vec::new();
    for _ in 0..3 {
        let state = state.clone();
        let request = post("/write", &[("authorization", ANN)], body());
        running.push(tokio::spawn(async move { send(&state, request).await }));
    }
    while house.entered.load(Ordering::SeqCst) < 3 {
        tokio::task::yield_now().await;
    }
    let request = post("/write", &[("authorization", ANN)], body());
    assert_eq!(send(&state, request).await.status, StatusCode::TOO_MANY_REQUESTS);
    house.release();
    for write in running {
        assert_eq!(write.await.expect("runs").status, StatusCode::NO_CONTENT);
    }
}
