//! Messages that are cut, flipped or made up: each gets an answer, and the server stays.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, Any, CommandGetSqlInfo, CommandGetTables,
    CommandPreparedStatementQuery, CommandStatementIngest, CommandStatementQuery, ProstMessageExt,
};
use arrow_flight::{Action, FlightData, FlightDescriptor, Ticket};
use bytes::Bytes;
use futures::TryStreamExt;
use prost::Message;
use tonic::{Code, IntoRequest, Request};

use super::harness::*;

/// Codes that answer what a client sent; another would be a fault of the server.
fn check(code: Code, what: &str) {
    let fine = [
        Code::Ok,
        Code::InvalidArgument,
        Code::NotFound,
        Code::Unimplemented,
        Code::AlreadyExists,
        Code::Unknown,
        Code::OutOfRange,
        Code::FailedPrecondition,
    ];
    assert!(fine.contains(&code), "{what}: {code:?}");
}

fn logged_in<T>(client: &Client, message: impl IntoRequest<T>) -> Request<T> {
    let mut request = message.into_request();
    let bearer = format!("Bearer {}", client.token().unwrap()).parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    request
}

/// Every prefix, and every byte with one bit flipped.
fn spoiled(bytes: &[u8]) -> Vec<Vec<u8>> {
    let cut = (0..bytes.len()).map(|end| bytes[..end].to_vec());
    let flipped = (0..bytes.len()).map(|at| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1 << (at % 8);
        bytes
    });
    cut.chain(flipped).collect()
}

fn code<T>(answer: Result<T, tonic::Status>) -> Code {
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_and_tickets() {
    let server = Server::start().await;
    let mut admin = server.table().await;
    let query = CommandStatementQuery { query: "SELECT n FROM m".into(), transaction_id: None };
    let tables = CommandGetTables { include_schema: false, ..Default::default() };
    let handle = Bytes::from_static(b"no such handle");
    let prepared = CommandPreparedStatementQuery { prepared_statement_handle: handle };
    let infos = CommandGetSqlInfo { info: vec![0, 1, 2] };
    let real = info(&mut admin, "SELECT n FROM m").await.unwrap();
    let ticket = real.endpoint[0].ticket.clone().unwrap().ticket.to_vec();
    let commands = [
        query.as_any().encode_to_vec(),
        tables.as_any().encode_to_vec(),
        prepared.as_any().encode_to_vec(),
        infos.as_any().encode_to_vec(),
        ticket,
    ];
    for bytes in commands.iter().flat_map(|bytes| spoiled(bytes)) {
        let what = format!("{bytes:?}");
        let descriptor = FlightDescriptor::new_cmd(bytes.clone());
        let request = logged_in(&admin, descriptor.clone());
        check(code(admin.inner_mut().get_flight_info(request).await), &what);
        let request = logged_in(&admin, descriptor);
        check(code(admin.inner_mut().get_schema(request).await), &what);
        let request = logged_in(&admin, Ticket::new(bytes));
        check(code(admin.inner_mut().do_get(request).await), &what);
    }
    let rows = super::harness::query(&mut admin, "SELECT count(*) FROM m").await.unwrap();
    assert_eq!(rows, ["3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn actions() {
    let server = Server::start().await;
    let mut admin = server.table().await;
    let prepare =
        ActionCreatePreparedStatementRequest { query: "SELECT 1".into(), transaction_id: None };
    let bytes = prepare.as_any().encode_to_vec();
    let names = [
        "CreatePreparedStatement",
        "ClosePreparedStatement",
        "BeginTransaction",
        "EndTransaction",
        "BeginSavepoint",
        "EndSavepoint",
        "CancelQuery",
        "CancelFlightInfo",
        "RenewFlightEndpoint",
        "SetSessionOptions",
        "CreatePreparedSubstraitPlan",
        "",
        "Nonsense",
    ];
    for name in names {
        for body in spoiled(&bytes) {
            let what = format!("{name} {body:?}");
            let request = logged_in(&admin, Action { r#type: name.into(), body: body.into() });
            check(code(admin.inner_mut().do_action(request).await), &what);
        }
    }
    query(&mut admin, "SELECT 1").await.unwrap();
}

async fn messages() -> Vec<FlightData> {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("time", Arc::new(TimestampMicrosecondArray::from(vec![1, 2, 3]))),
        ("device", Arc::new(StringArray::from(vec!["x", "y", "a longer name of a device"]))),
        ("n", Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]))),
    ];
    let command = CommandStatementIngest { table: "m".into(), ..Default::default() };
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let rows = futures::stream::iter([Ok(batch(columns))]);
    let encoder = FlightDataEncoderBuilder::new().with_flight_descriptor(Some(descriptor));
    encoder.build(rows).try_collect().await.unwrap()
}

async fn put(client: &mut Client, messages: Vec<FlightData>) -> Result<(), tonic::Status> {
    let mut request = Request::new(futures::stream::iter(messages));
    let bearer = format!("Bearer {}", client.token().unwrap()).parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    let mut answers = client.inner_mut().do_put(request).await?.into_inner();
    while answers.message().await?.is_some() {}
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads() {
    let server = Server::start().await;
    let mut admin = server.table().await;
    let whole = messages().await;
    assert_eq!(whole.len(), 2);
    // In the schema, and in the frame and the body of the rows.
    for header in spoiled(&whole[0].data_header) {
        let first = FlightData { data_header: header.into(), ..whole[0].clone() };
        let what = format!("schema {:?}", first.data_header);
        check(code(put(&mut admin, vec![first, whole[1].clone()]).await), &what);
    }
    for header in spoiled(&whole[1].data_header) {
        let second = FlightData { data_header: header.into(), ..whole[1].clone() };
        let what = format!("rows {:?}", second.data_header);
        check(code(put(&mut admin, vec![whole[0].clone(), second]).await), &what);
    }
    for body in spoiled(&whole[1].data_body) {
        let second = FlightData { data_body: body.into(), ..whole[1].clone() };
        let what = format!("body {:?}", second.data_body);
        check(code(put(&mut admin, vec![whole[0].clone(), second]).await), &what);
    }
    // In their order.
    let without = FlightData { flight_descriptor: None, ..whole[0].clone() };
    let orders = [
        vec![],
        vec![without],
        vec![whole[0].clone(), whole[0].clone()],
        vec![FlightData {
            flight_descriptor: whole[0].flight_descriptor.clone(),
            ..whole[1].clone()
        }],
        vec![FlightData { data_header: Bytes::new(), ..whole[0].clone() }],
    ];
    for messages in orders {
        let answer = put(&mut admin, messages).await;
        refused(answer, "08P01");
    }
    server.until("the end", |house| house.running.len() == 0).await;
    server.until_free().await;
    put(&mut admin, whole).await.unwrap();
    let rows = query(&mut admin, "SELECT count(*) > 0 FROM m WHERE device = 'x'").await.unwrap();
    assert_eq!(rows, ["true"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_any_of_anything() {
    let server = Server::start().await;
    let mut admin = server.admin().await;
    let any = Any { type_url: "x".repeat(100_000), value: vec![255; 1000].into() };
    let request = logged_in(&admin, FlightDescriptor::new_cmd(any.encode_to_vec()));
    let error = admin.inner_mut().get_flight_info(request).await.unwrap_err();
    assert!(error.message().len() < 500);
    refused(Err::<(), _>(error), "0A000");
}
