//! What is kept between calls: tickets, handles, limits, cancel, clients that leave.

use std::time::Duration;

use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionClosePreparedStatementRequest, CommandPreparedStatementQuery,
    ProstMessageExt,
};
use arrow_flight::{
    CancelFlightInfoRequest, FlightData, FlightDescriptor, FlightEndpoint,
    RenewFlightEndpointRequest,
};
use futures::StreamExt;
use prost::Message;
use tonic::{Code, IntoRequest};

use super::harness::*;
use super::transactions::act;
use crate::flight::FlightOptions;

const ENDLESS: &str = "SELECT value FROM generate_series(1, 100000000000) AS value";
const LONG: &str = "SELECT sum(value) FROM generate_series(1, 100000000000) AS value";

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_for_their_user_alone() {
    let server = Server::start().await;
    let mut admin = server.table().await;
    server.user("eve", "SUPERUSER").await;
    let mut eve = server.client("eve").await;
    let told = info(&mut admin, "SELECT n FROM m").await.unwrap();
    refused(rows_of(&mut eve, told.clone()).await, "26000");
    let cancel = CancelFlightInfoRequest::new(told.clone()).encode_to_vec();
    refused(act(&mut eve, "CancelFlightInfo", cancel).await, "26000");
    let endpoint = told.endpoint[0].clone();
    let renew = RenewFlightEndpointRequest::new(endpoint).encode_to_vec();
    refused(act(&mut eve, "RenewFlightEndpoint", renew).await, "26000");
    let id = admin.begin_transaction().await.unwrap();
    refused(query_in(&mut eve, "SELECT 1", Some(id.clone())).await, "26000");
    refused(eve.execute_update("DELETE FROM m".into(), Some(id)).await.map_err(status), "26000");
    let asked = arrow_flight::sql::ActionCreatePreparedStatementRequest {
        query: "SELECT n FROM m".into(),
        transaction_id: None,
    };
    let body = act(&mut admin, "CreatePreparedStatement", asked.as_any().encode_to_vec()).await;
    let any = arrow_flight::sql::Any::decode(body.unwrap().unwrap()).unwrap();
    let made: arrow_flight::sql::ActionCreatePreparedStatementResult =
        any.unpack().unwrap().unwrap();
    let prepared_statement_handle = made.prepared_statement_handle;
    let close = ActionClosePreparedStatementRequest {
        prepared_statement_handle: prepared_statement_handle.clone(),
    };
    refused(act(&mut eve, "ClosePreparedStatement", close.as_any().encode_to_vec()).await, "26000");
    let run = CommandPreparedStatementQuery { prepared_statement_handle };
    let descriptor = FlightDescriptor::new_cmd(run.as_any().encode_to_vec());
    let data = FlightData { flight_descriptor: Some(descriptor), ..Default::default() };
    let bound = eve.do_put(futures::stream::iter([data])).await.map_err(status);
    refused(bound.map(drop), "26000");
    assert_eq!(rows_of(&mut admin, told).await.unwrap(), ["1", "2", "3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_expire() {
    let options = FlightOptions { ticket_life: Duration::ZERO, ..Default::default() };
    let server = Server::with(options).await;
    let mut admin = server.table().await;
    let told = info(&mut admin, "SELECT n FROM m").await.unwrap();
    assert!(told.endpoint[0].expiration_time.is_some());
    let error = refused(rows_of(&mut admin, told.clone()).await, "26000");
    assert_eq!(error.code(), Code::NotFound);
    let renew = RenewFlightEndpointRequest::new(told.endpoint[0].clone()).encode_to_vec();
    refused(act(&mut admin, "RenewFlightEndpoint", renew).await, "26000");
    server.until("the sweep", |house| house.tickets.len() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_can_be_renewed() {
    let server = Server::start().await;
    let mut admin = server.table().await;
    let told = info(&mut admin, "SELECT n FROM m").await.unwrap();
    let first = told.endpoint[0].clone();
    let renew = RenewFlightEndpointRequest::new(first.clone()).encode_to_vec();
    let body = act(&mut admin, "RenewFlightEndpoint", renew).await.unwrap().unwrap();
    let renewed = FlightEndpoint::decode(body).unwrap();
    let seconds = |endpoint: &FlightEndpoint| endpoint.expiration_time.unwrap();
    let (before, after) = (seconds(&first), seconds(&renewed));
    assert!((after.seconds, after.nanos) > (before.seconds, before.nanos));
    assert_eq!(renewed.ticket, first.ticket);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_ends_what_runs() {
    let server = Server::start().await;
    let mut admin = server.admin().await;
    for old in [false, true] {
        let told = info(&mut admin, LONG).await.unwrap();
        let mut reader = admin.clone();
        let ticket = told.endpoint[0].ticket.clone().unwrap();
        let reading = tokio::spawn(async move { read(&mut reader, ticket).await });
        server.until("the query", |house| house.running.len() == 1).await;
        let (name, body) = match old {
            false => {
                ("CancelFlightInfo", CancelFlightInfoRequest::new(told.clone()).encode_to_vec())
            }
            true => {
                let info = told.encode_to_vec().into();
                ("CancelQuery", ActionCancelQueryRequest { info }.as_any().encode_to_vec())
            }
        };
        act(&mut admin, name, body.clone()).await.unwrap();
        let error = refused(reading.await.unwrap(), "57014");
        assert_eq!(error.code(), Code::Cancelled);
        // The ticket is gone with it.
        refused(rows_of(&mut admin, told).await, "26000");
        refused(act(&mut admin, name, body).await, "26000");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_ends_its_query() {
    let server = Server::start().await;
    let mut admin = server.admin().await;
    // In the middle of rows.
    let told = info(&mut admin, ENDLESS).await.unwrap();
    let mut stream = admin.do_get(told.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    stream.next().await.unwrap().unwrap();
    assert_eq!(server.house.running.len(), 1);
    drop(stream);
    server.until("its end", |house| house.running.len() == 0).await;
    server.until("its work", |house| house.engine.queries_running() == 0).await;
    // Before the first of them.
    let told = info(&mut admin, LONG).await.unwrap();
    let mut reader = admin.clone();
    let ticket = told.endpoint[0].ticket.clone().unwrap();
    let reading = tokio::spawn(async move { read(&mut reader, ticket).await });
    server.until("the query", |house| house.running.len() == 1).await;
    reading.abort();
    server.until("its end", |house| house.running.len() == 0).await;
    server.until("its work", |house| house.engine.queries_running() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_made_as_they_are_taken_and_end_unread() {
    let server = Server::start().await;
    let mut admin = server.admin().await;
    let told = info(&mut admin, ENDLESS).await.unwrap();
    let mut stream = admin.do_get(told.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    stream.next().await.unwrap().unwrap();
    // The socket is full and nobody asks for more; then the query is ended.
    server.until("idleness", |house| house.running.idle() == 1).await;
    server.house.running.end_unread(Duration::ZERO);
    let error = loop {
        match stream.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break status(error),
            None => panic!("an endless query ended"),
        }
    };
    refused(Err::<(), _>(error), "57014");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_a_user() {
    let options = FlightOptions {
        tickets_max: 2,
        statements_max: 2,
        transactions_max: 2,
        statement_bytes_max: 1_000,
        ..Default::default()
    };
    let server = Server::with(options).await;
    let mut admin = server.table().await;
    for _ in 0..2 {
        info(&mut admin, "SELECT 1").await.unwrap();
        admin.prepare("SELECT 1".into(), None).await.unwrap();
        admin.begin_transaction().await.unwrap();
    }
    let error = refused(info(&mut admin, "SELECT 1").await, "53400");
    assert_eq!(error.code(), Code::ResourceExhausted);
    refused(admin.prepare("SELECT 1".into(), None).await.map(drop).map_err(status), "53400");
    refused(admin.begin_transaction().await.map_err(status), "53400");
    // Others are not harmed.
    server.user("ann", "").await;
    let mut ann = server.client("ann").await;
    info(&mut ann, "SELECT 1").await.unwrap();
    refused(info(&mut ann, &format!("SELECT '{}'", "x".repeat(1_000))).await, "54000");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_above_the_limit_are_refused() {
    let options = FlightOptions {
        message_bytes_max: 40_000,
        memory_bytes_max: 120_000,
        ..Default::default()
    };
    let server = Server::with(options).await;
    let mut admin = server.table().await;
    let long = format!("SELECT '{}'", "x".repeat(60_000));
    let descriptor = {
        let query = long.clone();
        let command = arrow_flight::sql::CommandStatementQuery { query, transaction_id: None };
        FlightDescriptor::new_cmd(command.as_any().encode_to_vec())
    };
    let mut request = descriptor.into_request();
    let bearer = format!("Bearer {}", admin.token().unwrap()).parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    let error = admin.inner_mut().get_flight_info(request).await.unwrap_err();
    assert_eq!(error.code(), Code::OutOfRange, "{error}");
    // A statement below the limit, whose tree there is no memory for.
    let wide = format!("SELECT '{}'", "x".repeat(30_000));
    let error = refused(info(&mut admin, &wide).await, "53200");
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert_eq!(query(&mut admin, "SELECT count(*) FROM m").await.unwrap(), ["3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_above_the_limit_are_closed() {
    let server = Server::with(FlightOptions { connections_max: 1, ..Default::default() }).await;
    let mut admin = server.admin().await;
    let second = server.stranger().await.handshake("admin", PASSWORD).await;
    assert!(second.is_err());
    assert_eq!(query(&mut admin, "SELECT 1").await.unwrap(), ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_without_a_log_in_are_closed() {
    let options = FlightOptions { login_wait: Duration::from_millis(10), ..Default::default() };
    let server = Server::with(options).await;
    use tokio::io::AsyncReadExt as _;
    let channel = server.channel().await;
    drop(channel);
    let mut socket = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    let mut rest = Vec::new();
    // Ends when the server closes it; a reset is an end as well.
    let _end = socket.read_to_end(&mut rest).await;
}
