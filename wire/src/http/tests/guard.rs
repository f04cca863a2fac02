//! Who is let in, and what answers without log-in.

use super::*;
use base64::Engine as _;

fn with(path: &str, authorization: &str) -> Request<Body> {
    post(path, &[("authorization", authorization)], "rows")
}

#[tokio::test]
async fn every_road_but_four_asks_for_log_in() {
    let state = open(&Arc::new(House::default()));
    for path in ["/", "/ping", "/health", "/ready"] {
        let status = send(&state, get(path)).await.status;
        assert!(status.is_success(), "{path}: {status}");
    }
    let mut refusals = Vec::new();
    let basic = |text: &str| {
        let text = base64::engine::general_purpose::STANDARD.encode(text);
        format!("Basic {text}")
    };
    for request in [
        get("/metrics"),
        post("/write", &[], "cpu v=1"),
        post("/api/v2/write", &[], "cpu v=1"),
        post("/write?u=ann&p=wrong", &[], "cpu v=1"),
        post("/write?u=ann", &[], "cpu v=1"),
        post("/sql?u=ann&p=secret", &[], "rows"),
        post("/sql", &[], "rows"),
        with("/sql", &basic("ann:wrong")),
        with("/sql", &basic("nobody:secret")),
        with("/sql", &basic("ann")),
        with("/sql", "Bearer mr_bob"),
        with("/sql", "Bearer ann:secret"),
        with("/sql", "Token ann:wrong"),
        with("/sql", "Basic \u{e9}"),
    ] {
        let path = request.uri().to_string();
        let answer = send(&state, request).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        assert!(answer.header("www-authenticate").starts_with("Basic "), "{path}");
        refusals.push(answer.body);
    }
    refusals.dedup();
    assert_eq!(refusals.len(), 1, "the same words whatever was wrong");
}

#[tokio::test]
async fn all_forms_of_log_in() {
    let state = open(&Arc::new(House::default()));
    for authorization in [ANN, "Bearer mr_ann", "Token mr_ann", "Token ann:secret"] {
        let answer = send(&state, with("/sql", authorization)).await;
        assert_eq!(answer.status, StatusCode::OK, "{authorization}");
    }
    let answer = send(&state, post("/write?u=ann&p=secret", &[], "cpu v=1")).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn pages_of_other_sites_cannot_use_a_remembered_log_in() {
    let state = open(&Arc::new(House::default()));
    let ask = |origin: &'static str, fetch: &'static str| {
        let headers = [
            ("authorization", ANN),
            ("host", "db.local:8080"),
            ("origin", origin),
            ("sec-fetch-site", fetch),
        ];
        post("/sql", &headers, "rows")
    };
    for (origin, fetch, status) in [
        ("http://db.local:8080", "same-origin", StatusCode::OK),
        ("https://evil.example", "cross-site", StatusCode::FORBIDDEN),
        ("http://db.local:8081", "same-site", StatusCode::FORBIDDEN),
        ("null", "none", StatusCode::FORBIDDEN),
        ("http://db.local:8080", "cross-site", StatusCode::FORBIDDEN),
    ] {
        let answer = send(&state, ask(origin, fetch)).await;
        assert_eq!(answer.status, status, "{origin} {fetch}");
    }
}

#[tokio::test]
async fn readiness_tells_its_cause() {
    let house = Arc::new(House::default());
    let state = HttpState::starting(quick());
    let cause = |answer: &Answer| answer.json()["message"].as_str().unwrap_or("").to_owned();
    let starting = send(&state, get("/ready")).await;
    assert_eq!(starting.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(cause(&starting).contains("recovering"));
    assert_eq!(send(&state, get("/health")).await.status, StatusCode::OK);
    let write = || post("/write", &[("authorization", ANN)], "cpu v=1");
    assert_eq!(send(&state, write()).await.status, StatusCode::SERVICE_UNAVAILABLE);
    state.set_backend(house.clone());
    assert_eq!(send(&state, get("/ready")).await.status, StatusCode::OK);
    assert_eq!(send(&state, write()).await.status, StatusCode::NO_CONTENT);
    *house.read_only.lock() = Some("disk broke".to_owned());
    let broken = send(&state, get("/ready")).await;
    assert_eq!(broken.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(cause(&broken).contains("disk broke"));
    *house.read_only.lock() = None;
    *house.full.lock() = Some("7 bytes free".to_owned());
    let full = send(&state, get("/ready")).await;
    assert_eq!(full.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(cause(&full), "no room: 7 bytes free");
    assert_eq!(send(&state, get("/health")).await.status, StatusCode::OK);
    *house.full.lock() = None;
    // What only needs looking after turns no balancer away.
    *house.alarm.lock() = Some("the log could not be archived".to_owned());
    let alarmed = send(&state, get("/ready")).await;
    assert_eq!(alarmed.status, StatusCode::OK);
    assert_eq!(alarmed.json()["alarm"], "the log could not be archived");
    *house.alarm.lock() = None;
    state.closing();
    assert!(cause(&send(&state, get("/ready")).await).contains("closing"));
}

#[tokio::test]
async fn small_pages() {
    let state = open(&Arc::new(House::default()));
    let ping = send(&state, get("/ping")).await;
    assert_eq!(ping.status, StatusCode::NO_CONTENT);
    assert!(!ping.header("x-influxdb-version").is_empty());
    let head = Request::head("/ping").body(Body::empty()).expect("a request");
    assert_eq!(send(&state, head).await.status, StatusCode::NO_CONTENT);
    let home = send(&state, get("/")).await;
    assert!(home.text().contains("/sql") && home.header("content-type").starts_with("text/html"));
    let influx = send(&state, post("/query?q=SHOW%20DATABASES", &[], "")).await;
    assert_eq!(influx.status, StatusCode::NOT_FOUND);
    assert!(influx.json()["error"].as_str().expect("a text").contains("/sql"));
    assert_eq!(send(&state, get("/nothing")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(send(&state, get("/write")).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn metrics_ask_for_log_in_unless_open() {
    let house = Arc::new(House::default());
    let request = Request::get("/metrics").header("authorization", ANN);
    let answer = send(&open(&house), request.body(Body::empty()).expect("a request")).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.text().contains("\nmillrace_rows_written_total 42\n"), "{}", answer.text());
    let open = HttpState::starting(HttpOptions { metrics_open: true, ..quick() });
    open.set_backend(house);
    assert_eq!(send(&open, get("/metrics")).await.status, StatusCode::OK);
}
