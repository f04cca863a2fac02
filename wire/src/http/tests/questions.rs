//! SQL: forms of question and answer, errors before and in mid-answer, clients that leave.

use std::sync::atomic::Ordering;

use super::*;
use serde_json::json;

async fn ask(house: &Arc<House>, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut all = vec![("authorization", ANN)];
    all.extend_from_slice(headers);
    send(&open(house), post(path, &all, body.to_owned())).await
}

#[tokio::test]
async fn forms_of_the_answer() {
    let house = Arc::new(House::default());
    let answer = ask(&house, "/sql", &[], "rows").await;
    let expected =
        json!({ "columns": [{ "name": "n", "type": "bigint" }], "rows": [[1], [2], [3]] });
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, expected));
    let csv = ask(&house, "/sql?format=csv", &[("accept", "application/json")], "rows").await;
    assert_eq!(csv.text(), "n\r\n1\r\n2\r\n3\r\n");
    let lines = ask(&house, "/sql", &[("accept", "application/x-ndjson, */*")], "rows").await;
    assert_eq!(lines.text(), "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
    let arrow = ask(&house, "/sql?format=arrow", &[], "rows").await;
    let reader = arrow::ipc::reader::StreamReader::try_new(&arrow.body[..], None);
    let rows: usize =
        reader.expect("a stream").map(|batch| batch.expect("a batch").num_rows()).sum();
    assert_eq!(rows, 3);
    let none = ask(&house, "/sql", &[], "no rows").await;
    assert_eq!(none.json()["rows"], json!([]));
    assert_eq!(ask(&house, "/sql?format=xml", &[], "rows").await.status, StatusCode::BAD_REQUEST);
    let image = ask(&house, "/sql", &[("accept", "image/png")], "rows").await;
    assert_eq!(image.status, StatusCode::NOT_ACCEPTABLE);
}

#[tokio::test]
async fn answers_without_rows() {
    let house = Arc::new(House::default());
    assert_eq!(ask(&house, "/sql", &[], "insert").await.json(), json!({ "tag": "INSERT 0 3" }));
    let csv = ask(&house, "/sql?format=csv", &[], "insert").await;
    assert_eq!(csv.text(), "tag\r\nINSERT 0 3\r\n");
    assert_eq!(ask(&house, "/sql", &[], " ").await.json(), json!({ "tag": "" }));
    assert_eq!(house.cancelled.load(Ordering::SeqCst), 0, "what is done is not cancelled");
}

#[tokio::test]
async fn questions_in_json() {
    let house = Arc::new(House::default());
    let body = r#" {"sql": "params", "params": [7, 8]}"#;
    for kind in ["application/json; charset=utf-8", "application/x-www-form-urlencoded"] {
        let answer = ask(&house, "/sql", &[("content-type", kind)], body).await;
        assert_eq!(answer.json()["rows"], json!([[7], [8]]), "{kind}");
    }
    for bad in ["{", "{}", "{\"sql\": 1}", "{\"sql\": \"rows\", \"x\": 1}", "{\"params\": []}"] {
        let answer = ask(&house, "/sql", &[], bad).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{bad}");
        assert_eq!(answer.json()["code"], "invalid", "{bad}");
    }
    let answer = ask(&house, "/sql", &[("content-type", "application/json")], "rows").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let headers = [("authorization", ANN)];
    let answer = send(&open(&house), post("/sql", &headers, vec![0xff, 0xfe])).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let path = "/sql?timezone=Europe/Berlin&statement_timeout=5s";
    ask(&house, path, &[], "rows").await;
    let (user, settings) = house.sessions.lock().pop().expect("a session");
    assert_eq!(user, "ann");
    assert!(settings.contains(&("TimeZone".to_owned(), "Europe/Berlin".to_owned())));
    assert!(settings.contains(&("statement_timeout".to_owned(), "5s".to_owned())));
}

#[tokio::test]
async fn errors_have_code_position_and_status() {
    let house = Arc::new(House::default());
    let answer = ask(&house, "/sql", &[], "nonsense").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let json = answer.json();
    assert_eq!(json["code"], "42601");
    assert_eq!(json["message"], "syntax error");
    assert_eq!((&json["hint"], &json["position"]), (&json!("Mend it."), &json!(8)));
    for (code, status) in [
        ("42501", StatusCode::FORBIDDEN),
        ("42P07", StatusCode::CONFLICT),
        ("25006", StatusCode::SERVICE_UNAVAILABLE),
        ("53200", StatusCode::SERVICE_UNAVAILABLE),
        ("57014", StatusCode::GATEWAY_TIMEOUT),
        ("0A000", StatusCode::NOT_IMPLEMENTED),
        ("XX000", StatusCode::INTERNAL_SERVER_ERROR),
    ] {
        let answer = ask(&house, "/sql", &[], &format!("code {code}")).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (status, Some(code)));
    }
    let early = ask(&house, "/sql?format=csv", &[], "breaks at once").await;
    assert!(!early.status.is_success(), "an error before the first row has a status");
}

#[tokio::test]
async fn an_error_in_mid_answer_cuts_the_body() {
    let house = Arc::new(House::default());
    for format in ["json", "ndjson", "csv", "arrow"] {
        let path = format!("/sql?format={format}");
        let request = post(&path, &[("authorization", ANN)], "breaks later");
        let response = router(open(&house)).oneshot(request).await.expect("routes do not fail");
        assert_eq!(response.status(), StatusCode::OK);
        assert!(response.into_body().collect().await.is_err(), "{format}: the body must break");
    }
}

#[tokio::test]
async fn an_answer_is_made_only_as_fast_as_it_is_read() {
    let house = Arc::new(House::default());
    let request = post("/sql?format=csv", &[("authorization", ANN)], "endless");
    let response = router(open(&house)).oneshot(request).await.expect("routes do not fail");
    let mut body = response.into_body();
    for _ in 0..10 {
        let piece = body.frame().await.expect("more").expect("good").into_data().expect("data");
        assert!(piece.len() < 2 * crate::http::sql::PIECE_BYTES, "{} bytes", piece.len());
    }
    let batches = house.batches.load(Ordering::SeqCst);
    // 1,000 numbers of up to 9 bytes a batch: ten pieces hold some 100 batches.
    assert!((50..300).contains(&batches), "{batches} batches for ten pieces");
    assert_eq!(house.cancelled.load(Ordering::SeqCst), 0);
    drop(body);
    assert_eq!(house.cancelled.load(Ordering::SeqCst), 1, "a client that leaves ends the query");
}

#[tokio::test]
async fn a_client_that_leaves_before_the_first_row_ends_the_query() {
    let house = Arc::new(House::default());
    let state = open(&house);
    let request = post("/sql", &[("authorization", ANN)], "never");
    tokio::select! {
        _ = send(&state, request) => unreachable!("it never ends"),
        () = house.begun(1) => {}
    }
    assert_eq!(house.cancelled.load(Ordering::SeqCst), 1);
}
