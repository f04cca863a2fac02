//! Log-in: tokens and what makes them worthless, Basic and API tokens on each call.

use std::time::Duration;

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{BasicAuth, Empty, HandshakeRequest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use prost::Message;
use tonic::{Code, Request};

use super::harness::*;
use super::transactions::act;
use crate::flight::FlightOptions;
use crate::flight::session_options::{
    CloseSessionResult, GetSessionOptionsResult, SessionOptionValue, SetSessionOptionsRequest,
    SetSessionOptionsResult, Value,
};

async fn with_header(server: &Server, value: &str) -> Client {
    let mut client = server.stranger().await;
    client.set_header("authorization", value);
    client
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{user}:{password}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_needs_a_log_in() {
    let server = Server::start().await;
    let mut stranger = server.stranger().await;
    let error = refused(info(&mut stranger, "SELECT 1").await, "28000");
    assert_eq!(error.code(), Code::Unauthenticated);
    refused(update(&mut stranger, "SELECT 1").await, "28000");
    refused(act(&mut stranger, "CloseSession", Vec::new()).await, "28000");
    let answer = stranger.inner_mut().list_actions(Request::new(Empty {})).await;
    refused(answer.map(drop), "28000");
    for wrong in ["wrong", "", "correct horse "] {
        assert!(stranger.handshake("admin", wrong).await.is_err());
        refused(
            info(&mut with_header(&server, &basic("admin", wrong)).await, "SELECT 1").await,
            "28000",
        );
    }
    for value in ["Bearer mf_AAAA", "Bearer mr_AAAA", "Bearer", "Basic x", "Negotiate abc"] {
        refused(info(&mut with_header(&server, value).await, "SELECT 1").await, "28000");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_are_slowed_down() {
    let server = Server::start().await;
    server.user("ann", "").await;
    let mut ann = server.stranger().await;
    for _ in 0..12 {
        assert!(ann.handshake("ann", "wrong").await.is_err());
    }
    // The right one is not even looked at for a while.
    assert!(ann.handshake("ann", PASSWORD).await.is_err());
    // Others are not slowed down.
    server.admin().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_log_in() {
    let server = Server::start().await;
    server.table().await;
    server.user("ann", "").await;
    let count = "SELECT count(*), current_user FROM m";
    let token = server.users.create_token("ann").unwrap();
    for value in [basic("ann", PASSWORD), format!("Bearer {token}")] {
        let mut client = with_header(&server, &value).await;
        assert_eq!(query(&mut client, count).await.unwrap(), ["3|ann"]);
        // Nothing lasts that a SET could last in.
        refused(update(&mut client, "SET TimeZone = 'UTC'").await, "0A000");
    }
    server.users.drop_tokens("ann").unwrap();
    let mut client = with_header(&server, &format!("Bearer {token}")).await;
    refused(query(&mut client, count).await, "28000");
    // Older clients send a message, get a message, and send it on in a header of their own.
    let mut old = FlightServiceClient::new(server.channel().await);
    let sent = BasicAuth { username: "ann".into(), password: PASSWORD.into() };
    let payload = sent.encode_to_vec().into();
    let sent = HandshakeRequest { protocol_version: 0, payload };
    let answer = old.handshake(futures::stream::iter([sent])).await.unwrap();
    let token = answer.into_inner().message().await.unwrap().unwrap().payload;
    let mut request = Request::new(Empty {});
    let value = tonic::metadata::MetadataValue::from_bytes(&token);
    request.metadata_mut().insert_bin("auth-token-bin", value);
    let mut actions = old.list_actions(request).await.unwrap().into_inner();
    assert!(actions.message().await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_a_user_counts_at_once() {
    let server = Server::start().await;
    let mut admin = server.table().await;
    server.user("ann", "").await;
    let mut ann = server.client("ann").await;
    let insert = "INSERT INTO m (time, device) VALUES ('2026-01-01', 'z')";
    refused(update(&mut ann, insert).await, "42501");
    update(&mut admin, "ALTER USER ann WRITE").await.unwrap();
    assert_eq!(update(&mut ann, insert).await.unwrap(), 1);
    update(&mut admin, "ALTER USER ann PASSWORD 'another horse'").await.unwrap();
    refused(query(&mut ann, "SELECT 1").await, "28000");
    update(&mut admin, &format!("ALTER USER ann PASSWORD '{PASSWORD}'")).await.unwrap();
    refused(query(&mut ann, "SELECT 1").await, "28000");
    let mut ann = server.client("ann").await;
    update(&mut admin, "ALTER USER ann NOLOGIN").await.unwrap();
    refused(query(&mut ann, "SELECT 1").await, "28000");
    update(&mut admin, "ALTER USER ann LOGIN").await.unwrap();
    query(&mut ann, "SELECT 1").await.unwrap();
    update(&mut admin, "DROP USER ann").await.unwrap();
    server.user("ann", "").await;
    refused(query(&mut ann, "SELECT 1").await, "28000");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_grow_old() {
    let server =
        Server::with(FlightOptions { token_life: Duration::ZERO, ..Default::default() }).await;
    let mut admin = server.admin().await;
    refused(query(&mut admin, "SELECT 1").await, "28000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_followed_by_another() {
    // Long enough for this test, and past its half at once.
    let life = Duration::from_secs(24 * 3600);
    let server = Server::with(FlightOptions { token_life: life, ..Default::default() }).await;
    let mut admin = server.admin().await;
    update(&mut admin, "SET TimeZone = 'Asia/Tokyo'").await.unwrap();
    let bearer = |client: &Client| format!("Bearer {}", client.token().unwrap());
    let ask = async |client: &mut Client| {
        let mut request = Request::new(Empty {});
        request.metadata_mut().insert("authorization", bearer(client).parse().unwrap());
        let answer = client.inner_mut().list_actions(request).await.unwrap();
        answer.metadata().get("authorization").map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(ask(&mut admin).await, None);
    server.house.age_logins(life / 2);
    let next = ask(&mut admin).await.expect("another token");
    // The same one again, for clients that do not take it.
    assert_eq!(ask(&mut admin).await.as_ref(), Some(&next));
    assert_eq!(query(&mut admin, "SELECT 1").await.unwrap(), ["1"]);
    let token = next.strip_prefix("Bearer ").unwrap().to_owned();
    assert_ne!(admin.token(), Some(&token));
    admin.set_token(token);
    assert_eq!(query(&mut admin, "SHOW TimeZone").await.unwrap(), ["Asia/Tokyo"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn options_of_a_session() {
    let server = Server::start().await;
    let mut admin = server.admin().await;
    let text = |text: &str| SessionOptionValue { value: Some(Value::Text(text.to_owned())) };
    let set = |options: Vec<(&str, SessionOptionValue)>| SetSessionOptionsRequest {
        session_options: options.into_iter().map(|(name, v)| (name.to_owned(), v)).collect(),
    };
    let asked = set(vec![
        ("timezone", text("Asia/Tokyo")),
        ("catalog", text("millrace")),
        ("schema", text("elsewhere")),
        ("work_hard", text("yes")),
        ("statement_timeout", text("soon")),
    ]);
    let body = act(&mut admin, "SetSessionOptions", asked.encode_to_vec()).await.unwrap().unwrap();
    let result = SetSessionOptionsResult::decode(body).unwrap();
    let mut errors: Vec<_> = result.errors.iter().map(|(n, e)| (n.as_str(), e.value)).collect();
    errors.sort_unstable();
    assert_eq!(errors, [("schema", 2), ("statement_timeout", 2), ("work_hard", 1)]);
    assert_eq!(query(&mut admin, "SHOW TimeZone").await.unwrap(), ["Asia/Tokyo"]);
    let body = act(&mut admin, "GetSessionOptions", Vec::new()).await.unwrap().unwrap();
    let told = GetSessionOptionsResult::decode(body).unwrap().session_options;
    assert_eq!(told.get("timezone"), Some(&text("Asia/Tokyo")));
    assert_eq!(told.get("catalog"), Some(&text("millrace")));
    let reset = set(vec![("timezone", SessionOptionValue { value: None })]);
    act(&mut admin, "SetSessionOptions", reset.encode_to_vec()).await.unwrap();
    assert_eq!(query(&mut admin, "SHOW TimeZone").await.unwrap(), ["UTC"]);
    let body = act(&mut admin, "CloseSession", Vec::new()).await.unwrap().unwrap();
    assert_eq!(CloseSessionResult::decode(body).unwrap().status, 1);
    refused(query(&mut admin, "SELECT 1").await, "28000");
}
