//! Around each call: who calls, the memory of its body, what is counted.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use arrow_flight::flight_service_server::FlightServiceServer;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{Request, Response};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tower::Service as _;

use super::body::{Held, Metered};
use super::house::House;
use super::login::{Visitor, shown, text};
use super::service::Service;
use super::{refusal, signals};

/// Before the names of all methods.
const SERVICE: &str = "/arrow.flight.protocol.FlightService/";
const METHODS: [&str; 10] = [
    "Handshake",
    "ListFlights",
    "GetFlightInfo",
    "PollFlightInfo",
    "GetSchema",
    "DoGet",
    "DoPut",
    "DoExchange",
    "DoAction",
    "ListActions",
];

/// What the calls of one connection share.
#[derive(Clone)]
pub(super) struct Gate {
    house: Arc<House>,
    server: FlightServiceServer<Service>,
    source: Option<IpAddr>,
    /// Cancelled by the first call that logs in.
    known: CancellationToken,
}

impl Gate {
    pub(super) fn new(house: Arc<House>, source: Option<IpAddr>) -> Gate {
        let service = Service { house: Arc::clone(&house) };
        let limit = house.options.message_bytes_max;
        let server = FlightServiceServer::new(service).max_decoding_message_size(limit);
        Gate { house, server, source, known: CancellationToken::new() }
    }

    /// Resolves when somebody has logged in.
    pub(super) async fn known(&self) {
        self.known.cancelled().await;
    }

    pub(super) async fn answer(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Infallible> {
        let started = Instant::now();
        let method = method(request.uri().path());
        let response = match self.enter(method, request).await {
            Ok(response) => response,
            Err(status) => status.into_http(),
        };
        let code = response.headers().get("grpc-status").and_then(|code| code.to_str().ok());
        signals::answered(method, code.unwrap_or("0"), started.elapsed());
        Ok(response)
    }

    async fn enter(
        mut self,
        method: &'static str,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Status> {
        let (mut parts, body) = request.into_parts();
        let shown = shown(&parts.headers).map(Arc::new);
        let visitor = Visitor { shown, source: self.source };
        let mut next = None;
        if method == "Handshake" {
            parts.extensions.insert(visitor);
        } else {
            let (caller, token) = self.house.log_in(visitor).await?;
            self.known.cancel();
            parts.extensions.insert(caller);
            next = token;
        }
        let held = Arc::new(Held::new(Arc::clone(&self.house.memory)));
        parts.extensions.insert(Arc::clone(&held));
        let body = Metered::new(body, held, self.house.options.queue_wait);
        let Ok(mut response) = self.server.call(Request::from_parts(parts, body)).await;
        if let Some(token) = next {
            let value = HeaderValue::try_from(format!("Bearer {}", text(&token)));
            let mut value = value.map_err(|error| refusal::internal("writing a token", error))?;
            value.set_sensitive(true);
            response.headers_mut().insert(AUTHORIZATION, value);
        }
        Ok(response)
    }
}

/// One of a fixed list, so that strange paths do not make series.
fn method(path: &str) -> &'static str {
    let name = path.strip_prefix(SERVICE).unwrap_or_default();
    METHODS.into_iter().find(|method| *method == name).unwrap_or("other")
}
