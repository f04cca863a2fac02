//! The door with a played house behind it: by request, and over real sockets.

mod fake;
mod guard;
mod prom;
mod questions;
mod sockets;
mod writes;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt;

use super::{HttpOptions, HttpState, router};
use fake::House;

/// `ann:secret`, who may write.
const ANN: &str = "Basic YW5uOnNlY3JldA==";
/// `eve:secret`, who may not.
const EVE: &str = "Basic ZXZlOnNlY3JldA==";

struct Answer {
    status: StatusCode,
    headers: axum::http::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON answer")
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a text answer")
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a text header"))
    }
}

fn quick() -> HttpOptions {
    HttpOptions {
        body_bytes_max: 1 << 20,
        memory_bytes_max: 3 << 20,
        queue_wait: std::time::Duration::from_millis(50),
        ..HttpOptions::default()
    }
}

fn open(house: &Arc<House>) -> HttpState {
    let state = HttpState::starting(quick());
    state.set_backend(house.clone());
    state
}

async fn send(state: &HttpState, request: Request<Body>) -> Answer {
    let response = router(state.clone()).oneshot(request).await.expect("routes do not fail");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes().to_vec();
    Answer { status: parts.status, headers: parts.headers, body }
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).expect("a request")
}

/// A POST with the headers given as pairs.
fn post(path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).expect("a request")
}
