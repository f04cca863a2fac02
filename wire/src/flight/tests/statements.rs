//! Queries, updates, prepared statements, settings.

use std::sync::Arc;

use arrow::array::{Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Schema, TimeUnit};
use arrow_flight::sql::client::PreparedStatement;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt};
use arrow_flight::{FlightDescriptor, SchemaResult};
use futures::StreamExt;
use prost::Message;
use tonic::transport::Channel;
use tonic::{Code, IntoRequest};

use super::harness::*;

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_with_the_types_that_were_told() {
    let server = Server::start().await;
    let mut admin = server.table().await;
    let sql = "SELECT time, device, x, n, on_line, note, array_agg(note) OVER () AS notes FROM m \
               ORDER BY device, time";
    let told = info(&mut admin, sql).await.unwrap();
    let schema = told.clone().try_decode_schema().unwrap();
    let kind = |name: &str| schema.field_with_name(name).unwrap().data_type().clone();
    assert_eq!(kind("time"), DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())));
    let kinds = ["device", "x", "n", "on_line", "note"].map(kind);
    use DataType::{Boolean, Float64, Int64, Utf8};
    assert_eq!(kinds, [Utf8, Float64, Int64, Boolean, Utf8]);
    assert!(matches!(kind("notes"), DataType::List(item) if item.data_type() == &Utf8));
    let ticket = told.endpoint[0].ticket.clone().unwrap();
    let mut stream = admin.do_get(ticket.clone()).await.unwrap();
    let first = stream.next().await.unwrap().unwrap();
    assert_eq!(stream.schema().unwrap().as_ref(), &schema);
    assert_eq!(first.schema().as_ref(), &schema);
    // Whatever planning knows, a client is told the same before and with the rows.
    let sum = info(&mut admin, "SELECT count(*), sum(n) FROM m WHERE device = 'a'").await.unwrap();
    let counted = sum.clone().try_decode_schema().unwrap();
    let mut counts = admin.do_get(sum.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    assert_eq!(counts.next().await.unwrap().unwrap().schema().as_ref(), &counted);
    // Reading changes nothing: the ticket is good for another time.
    let rows = rows_of(&mut admin, told).await.unwrap();
    assert_eq!(rows.len(), 3);
    assert!(rows[0].starts_with("2026-01-01T00:00:00Z|a|1.5|1|true|first|"), "{rows:?}");
    // GetSchema tells the same and runs nothing.
    let command = CommandStatementQuery { query: sql.to_owned(), transaction_id: None };
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let mut request = descriptor.into_request();
    let bearer = format!("Bearer {}", admin.token().unwrap()).parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    let answer: SchemaResult = admin.inner_mut().get_schema(request).await.unwrap().into_inner();
    assert_eq!(Schema::try_from(&answer).unwrap(), schema);
}

#[tokio::test(flavor = "multi_thread")]
async fn results_of_no_rows_have_their_schema() {
    let server = Server::start().await;
    let mut admin = server.table().await;
    let told = info(&mut admin, "SELECT device, x FROM m WHERE false").await.unwrap();
    let ticket = told.endpoint[0].ticket.clone().unwrap();
    let mut stream = admin.do_get(ticket).await.unwrap();
    assert!(stream.next().await.is_none());
    assert_eq!(stream.schema().unwrap().fields().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_results_come_whole() {
    let server = Server::start().await;
    let mut admin = server.admin().await;
    let sql = "SELECT value, value * 2 AS twice FROM generate_series(1, 300000) AS value";
    let told = info(&mut admin, sql).await.unwrap();
    let batches = read(&mut admin, told.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    let sum = |column: usize| -> i64 {
        let columns = batches.iter().map(|batch| batch.column(column).clone());
        columns
            .map(|c| c.as_any().downcast_ref::<Int64Array>().unwrap().iter().flatten().sum::<i64>())
            .sum()
    };
    assert_eq!((sum(0), sum(1)), (300_000 * 300_001 / 2, 300_000 * 300_001));
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_without_rows_run_once() {
    let server = Server::start().await;
    let mut admin = server.table().await;
    let insert = "INSERT INTO m (time, device, n) VALUES ('2026-01-02', 'c', 9)";
    let told = info(&mut admin, insert).await.unwrap();
    assert_eq!((told.total_records, told.endpoint.len()), (1, 0));
    assert!(told.try_decode_schema().unwrap().fields().is_empty());
    assert_eq!(query(&mut admin, "SELECT count(*) FROM m").await.unwrap(), ["4"]);
    // With rows it runs when these are read, and once.
    let told =
        info(&mut admin, "UPDATE m SET n = n + 1 WHERE device = 'c' RETURNING n").await.unwrap();
    assert!(told.endpoint[0].expiration_time.is_none());
    assert_eq!(query(&mut admin, "SELECT n FROM m WHERE device = 'c'").await.unwrap(), ["9"]);
    assert_eq!(rows_of(&mut admin, told.clone()).await.unwrap(), ["10"]);
    let again = refused(rows_of(&mut admin, told).await, "26000");
    assert_eq!(again.code(), Code::NotFound);
    assert_eq!(query(&mut admin, "SELECT n FROM m WHERE device = 'c'").await.unwrap(), ["10"]);
    let returning = "DELETE FROM m WHERE device = 'c' RETURNING device";
    assert_eq!(update(&mut admin, returning).await.unwrap(), 1);
    assert_eq!(
        update(&mut admin, "CREATE TABLE z (time timestamptz, k text, PRIMARY KEY (k, time))")
            .await
            .unwrap(),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_codes_states_and_places() {
    let server = Server::start().await;
    let mut admin = server.table().await;
    let error = refused(query(&mut admin, "SELECT * FROM nowhere").await, "42P01");
    assert_eq!(error.code(), Code::NotFound);
    let error = refused(query(&mut admin, "SELECT x FROM m WERE n = 1").await, "42601");
    assert_eq!(error.code(), Code::InvalidArgument);
    let error = refused(query(&mut admin, "SELECT nothing FROM m").await, "42703");
    assert!(
        error.message().starts_with("42703: ") && error.message().contains("Position: 8"),
        "{error}"
    );
    // In mid-stream, behind rows that went out.
    let late = "SELECT 1 / (200000 - value) FROM generate_series(1, 200000) AS value";
    refused(query(&mut admin, late).await, "22012");
    server.until("its end", |house| house.running.len() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_this_door_does_not_do_is_said() {
    let server = Server::start().await;
    let mut admin = server.table().await;
    for sql in [
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "LISTEN x",
        "PREPARE p AS SELECT 1",
        "COPY m FROM STDIN",
        "COPY m TO STDOUT",
    ] {
        let error = refused(query(&mut admin, sql).await, "0A000");
        assert_eq!(error.code(), Code::Unimplemented, "{sql}");
        refused(update(&mut admin, sql).await, "0A000");
    }
    refused(query(&mut admin, "SELECT 1; SELECT 2").await, "42601");
    refused(query(&mut admin, " -- nothing\n;").await, "42601");
    refused(update(&mut admin, "SELECT 1").await, "0A000");
    let path = FlightDescriptor::new_path(vec!["m".into()]);
    let mut request = path.into_request();
    let bearer = format!("Bearer {}", admin.token().unwrap()).parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    let answer = admin.inner_mut().get_flight_info(request).await.map(drop);
    refused(answer, "0A000");
}

async fn prepare(client: &mut Client, sql: &str) -> PreparedStatement<Channel> {
    client.prepare(sql.to_owned(), None).await.map_err(status).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_take_parameters() {
    let server = Server::start().await;
    let mut admin = server.table().await;
    let sql = "SELECT device, n FROM m WHERE device = ? AND n >= ? ORDER BY n";
    let mut prepared = prepare(&mut admin, sql).await;
    assert_eq!(prepared.dataset_schema().unwrap().fields().len(), 2);
    let parameters = prepared.parameter_schema().unwrap();
    let kinds: Vec<_> = parameters.fields().iter().map(|f| f.data_type().clone()).collect();
    assert_eq!(kinds, [DataType::Utf8, DataType::Int64]);
    refused(prepared.execute().await.map_err(status), "08P01");
    let bind = |device: &str, n: f64| {
        let device = StringArray::from(vec![device]);
        batch(vec![("1", Arc::new(device) as _), ("2", Arc::new(Float64Array::from(vec![n])) as _)])
    };
    prepared.set_parameters(bind("a", 1.0)).unwrap();
    let told = prepared.execute().await.unwrap();
    assert_eq!(rows_of(&mut admin, told).await.unwrap(), ["a|1", "a|2"]);
    prepared.set_parameters(bind("a", 1.5)).unwrap();
    refused(prepared.execute().await.map_err(status), "22P02");
    // Several rows of parameters: one result after the other.
    let devices = StringArray::from(vec!["b", "nobody", "a"]);
    let numbers = Int64Array::from(vec![0, 0, 2]);
    let rows = batch(vec![("1", Arc::new(devices) as _), ("2", Arc::new(numbers) as _)]);
    prepared.set_parameters(rows).unwrap();
    let told = prepared.execute().await.unwrap();
    assert_eq!(rows_of(&mut admin, told).await.unwrap(), ["b|3", "a|2"]);
    prepared.close().await.unwrap();
    assert_eq!(server.house.statements.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_of_one_update_commit_together() {
    let server = Server::start().await;
    let mut admin = server.table().await;
    let sql = "INSERT INTO m (time, device, n) VALUES ('2026-02-01', $1, $2)";
    let mut prepared = prepare(&mut admin, sql).await;
    assert!(prepared.dataset_schema().unwrap().fields().is_empty());
    let rows = |numbers: Vec<&str>| {
        let devices = (0..numbers.len()).map(|n| format!("d{n}")).collect::<Vec<_>>();
        let devices = Arc::new(StringArray::from(devices));
        batch(vec![("1", devices as _), ("2", Arc::new(StringArray::from(numbers)) as _)])
    };
    prepared.set_parameters(rows(vec!["1", "2", "three"])).unwrap();
    refused(prepared.execute_update().await.map_err(status), "22P02");
    assert_eq!(query(&mut admin, "SELECT count(*) FROM m").await.unwrap(), ["3"]);
    prepared.set_parameters(rows(vec!["1", "2", "3"])).unwrap();
    assert_eq!(prepared.execute_update().await.unwrap(), 3);
    assert_eq!(
        query(&mut admin, "SELECT count(*), sum(n) FROM m WHERE device LIKE 'd_'").await.unwrap(),
        ["3|6"]
    );
    // As a query it is the same: drivers do not always know.
    let told = prepared.execute().await.unwrap();
    assert_eq!((told.total_records, told.endpoint.len()), (3, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_last_as_long_as_the_log_in() {
    let server = Server::start().await;
    let (mut admin, mut other) = (server.table().await, server.admin().await);
    update(&mut admin, "SET TimeZone = 'Asia/Tokyo'").await.unwrap();
    assert_eq!(query(&mut admin, "SHOW TimeZone").await.unwrap(), ["Asia/Tokyo"]);
    let told = info(&mut admin, "SELECT time FROM m").await.unwrap();
    let schema = told.try_decode_schema().unwrap();
    let zone = DataType::Timestamp(TimeUnit::Microsecond, Some("Asia/Tokyo".into()));
    assert_eq!(schema.field(0).data_type(), &zone);
    assert_eq!(query(&mut other, "SHOW TimeZone").await.unwrap(), ["UTC"]);
    refused(update(&mut admin, "SET TimeZone = 'Nowhere/At All'").await, "22023");
    assert_eq!(query(&mut admin, "SHOW TimeZone").await.unwrap(), ["Asia/Tokyo"]);
    update(&mut admin, "RESET ALL").await.unwrap();
    assert_eq!(query(&mut admin, "SHOW TimeZone").await.unwrap(), ["UTC"]);
    update(&mut admin, "SET statement_timeout = '1ms'").await.unwrap();
    let long = "SELECT count(*) FROM generate_series(1, 100000000000)";
    let error = refused(query(&mut admin, long).await, "57014");
    assert_eq!(error.code(), Code::DeadlineExceeded);
}
