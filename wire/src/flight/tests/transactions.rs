//! Transactions and savepoints.

use std::time::Duration;

use arrow_flight::Action;
use arrow_flight::sql::{
    ActionBeginSavepointRequest, ActionBeginSavepointResult, ActionEndSavepointRequest, Any,
    EndTransaction, ProstMessageExt,
};
use bytes::Bytes;
use prost::Message;
use tonic::Code;

use super::harness::*;
use crate::flight::FlightOptions;

const INSERT: &str = "INSERT INTO m (time, device, n) VALUES ('2026-03-01', 'c', 9)";
const COUNT: &str = "SELECT count(*) FROM m";

async fn update_in(client: &mut Client, sql: &str, id: &Bytes) -> Answer<i64> {
    client.execute_update(sql.to_owned(), Some(id.clone())).await.map_err(status)
}

/// The client forgets to look at the answer; it comes with the next read of the stream.
async fn end(client: &mut Client, id: &Bytes, how: EndTransaction) -> Answer<()> {
    let asked = arrow_flight::sql::ActionEndTransactionRequest {
        transaction_id: id.clone(),
        action: how as i32,
    };
    act(client, "EndTransaction", asked.as_any().encode_to_vec()).await.map(drop)
}

pub async fn act(client: &mut Client, name: &str, body: Vec<u8>) -> Answer<Option<Bytes>> {
    let action = Action { r#type: name.to_owned(), body: body.into() };
    let mut answers = client.do_action(action).await.map_err(status)?;
    Ok(answers.message().await?.map(|result| result.body))
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_become_visible_at_commit() {
    let server = Server::start().await;
    let mut admin = server.table().await;
    let id = admin.begin_transaction().await.unwrap();
    assert_eq!(update_in(&mut admin, INSERT, &id).await.unwrap(), 1);
    assert_eq!(query(&mut admin, COUNT).await.unwrap(), ["3"]);
    end(&mut admin, &id, EndTransaction::Commit).await.unwrap();
    assert_eq!(query(&mut admin, COUNT).await.unwrap(), ["4"]);
    refused(end(&mut admin, &id, EndTransaction::Commit).await, "26000");
    refused(update_in(&mut admin, INSERT, &id).await, "26000");

    let id = admin.begin_transaction().await.unwrap();
    // One snapshot for all of its reads.
    assert_eq!(query_in(&mut admin, COUNT, Some(id.clone())).await.unwrap(), ["4"]);
    update(&mut admin, "DELETE FROM m WHERE device = 'c'").await.unwrap();
    assert_eq!(query_in(&mut admin, COUNT, Some(id.clone())).await.unwrap(), ["4"]);
    update_in(&mut admin, INSERT, &id).await.unwrap();
    end(&mut admin, &id, EndTransaction::Rollback).await.unwrap();
    assert_eq!(query(&mut admin, COUNT).await.unwrap(), ["3"]);
    assert_eq!(server.house.transactions.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_makes_it_fail_until_its_end() {
    let server = Server::start().await;
    let mut admin = server.table().await;
    let id = admin.begin_transaction().await.unwrap();
    update_in(&mut admin, INSERT, &id).await.unwrap();
    refused(update_in(&mut admin, "INSERT INTO nowhere VALUES (1)", &id).await, "42P01");
    let error = refused(update_in(&mut admin, INSERT, &id).await, "25P02");
    assert_eq!(error.code(), Code::Aborted);
    refused(end(&mut admin, &id, EndTransaction::Commit).await, "25P02");
    assert_eq!(query(&mut admin, COUNT).await.unwrap(), ["3"]);
    let id = admin.begin_transaction().await.unwrap();
    refused(
        update_in(
            &mut admin,
            "CREATE TABLE z (time timestamptz, k text, PRIMARY KEY (k, time))",
            &id,
        )
        .await,
        "25001",
    );
    refused(update_in(&mut admin, "COMMIT", &id).await, "0A000");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_prepared_goes_on_in_the_next_transaction() {
    let server = Server::start().await;
    let (mut admin, mut other) = (server.table().await, server.admin().await);
    let id = admin.begin_transaction().await.unwrap();
    let mut prepared = admin.prepare(INSERT.to_owned(), Some(id.clone())).await.unwrap();
    assert_eq!(prepared.execute_update().await.unwrap(), 1);
    end(&mut admin, &id, EndTransaction::Rollback).await.unwrap();
    // Never outside of any, nor in that of another log-in.
    refused(prepared.execute_update().await.map_err(status), "26000");
    let foreign = other.begin_transaction().await.unwrap();
    refused(prepared.execute_update().await.map_err(status), "26000");
    let id = admin.begin_transaction().await.unwrap();
    assert_eq!(prepared.execute_update().await.unwrap(), 1);
    assert_eq!(query(&mut admin, COUNT).await.unwrap(), ["3"]);
    // Which of two would be meant?
    let second = admin.begin_transaction().await.unwrap();
    refused(prepared.execute_update().await.map_err(status), "26000");
    end(&mut admin, &second, EndTransaction::Rollback).await.unwrap();
    end(&mut admin, &id, EndTransaction::Commit).await.unwrap();
    assert_eq!(query(&mut admin, COUNT).await.unwrap(), ["4"]);
    end(&mut other, &foreign, EndTransaction::Rollback).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_waits_for_the_one_before() {
    let options = FlightOptions { queue_wait: Duration::from_millis(20), ..Default::default() };
    let server = Server::with(options).await;
    let mut admin = server.table().await;
    let id = admin.begin_transaction().await.unwrap();
    let sql = "SELECT value FROM generate_series(1, 100000000000) AS value";
    let told = admin.execute(sql.to_owned(), Some(id.clone())).await.unwrap();
    let stream = admin.do_get(told.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    refused(update_in(&mut admin, INSERT, &id).await, "55006");
    drop(stream);
    server.until("the end of the query", |house| house.running.len() == 0).await;
    assert_eq!(update_in(&mut admin, INSERT, &id).await.unwrap(), 1);
    end(&mut admin, &id, EndTransaction::Commit).await.unwrap();
    assert_eq!(query(&mut admin, COUNT).await.unwrap(), ["4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn savepoints_take_back_a_part() {
    let server = Server::start().await;
    let mut admin = server.table().await;
    let id = admin.begin_transaction().await.unwrap();
    update_in(&mut admin, INSERT, &id).await.unwrap();
    let asked = ActionBeginSavepointRequest { transaction_id: id.clone(), name: "s'; --".into() };
    let body = act(&mut admin, "BeginSavepoint", asked.as_any().encode_to_vec()).await.unwrap();
    let any = Any::decode(body.unwrap()).unwrap();
    let savepoint: ActionBeginSavepointResult = any.unpack().unwrap().unwrap();
    update_in(&mut admin, &INSERT.replace("'c'", "'d'"), &id).await.unwrap();
    let end_savepoint =
        |action| ActionEndSavepointRequest { savepoint_id: savepoint.savepoint_id.clone(), action };
    for action in [2, 1] {
        let body = end_savepoint(action).as_any().encode_to_vec();
        act(&mut admin, "EndSavepoint", body).await.unwrap();
    }
    let body = end_savepoint(1).as_any().encode_to_vec();
    refused(act(&mut admin, "EndSavepoint", body).await, "26000");
    end(&mut admin, &id, EndTransaction::Commit).await.unwrap();
    let devices = "SELECT DISTINCT device FROM m ORDER BY device";
    assert_eq!(query(&mut admin, devices).await.unwrap(), ["a", "b", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_alone_is_rolled_back() {
    let options = FlightOptions { transaction_idle: Duration::ZERO, ..Default::default() };
    let server = Server::with(options).await;
    let mut admin = server.table().await;
    let id = admin.begin_transaction().await.unwrap();
    server.until("the end", |house| house.transactions.len() == 0).await;
    refused(update_in(&mut admin, INSERT, &id).await, "26000");
    assert_eq!(query(&mut admin, COUNT).await.unwrap(), ["3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_rolls_back_and_ends_what_runs() {
    let options = FlightOptions { grace: Duration::from_millis(20), ..Default::default() };
    let mut server = Server::with(options).await;
    let mut admin = server.table().await;
    let id = admin.begin_transaction().await.unwrap();
    update_in(&mut admin, INSERT, &id).await.unwrap();
    let told = info(&mut admin, "SELECT value FROM generate_series(1, 100000000000) AS value")
        .await
        .unwrap();
    let stream = admin.do_get(told.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    server.stop.cancel();
    server.served.take().unwrap().await.unwrap();
    assert_eq!((server.house.transactions.len(), server.house.tickets.len()), (0, 0));
    server.until("the end", |house| house.running.len() == 0).await;
    assert!(info(&mut admin, "SELECT 1").await.is_err());
    drop(stream);
}
