//! Bulk ingest.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{
    ArrayRef, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, TimeUnit};
use arrow_flight::sql::{
    CommandStatementIngest, EndTransaction, TableDefinitionOptions, TableExistsOption,
    TableNotExistOption,
};
use bytes::Bytes;
use futures::StreamExt;
use tonic::Code;

use super::harness::*;

fn into(table: &str) -> CommandStatementIngest {
    CommandStatementIngest { table: table.to_owned(), ..Default::default() }
}

fn define(none: TableNotExistOption, some: TableExistsOption) -> Option<TableDefinitionOptions> {
    Some(TableDefinitionOptions { if_not_exist: none as i32, if_exists: some as i32 })
}

async fn put(
    client: &mut Client,
    command: CommandStatementIngest,
    batches: Vec<RecordBatch>,
) -> Answer<i64> {
    let rows = futures::stream::iter(batches.into_iter().map(Ok));
    client.execute_ingest(command, rows).await.map_err(status)
}

/// Rows `from..from + count`, a second each, of ten devices.
fn rows(from: i64, count: i64) -> RecordBatch {
    let numbers = || from..from + count;
    let times = numbers().map(|n| 1_700_000_000_000_000 + n * 1_000_000);
    let times = TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC");
    let devices = StringArray::from_iter_values(numbers().map(|n| format!("d{}", n % 10)));
    let floats = Float64Array::from_iter(numbers().map(|n| (n % 3 > 0).then_some(n as f64 / 2.0)));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("device", Arc::new(devices)),
        ("time", Arc::new(times)),
        ("x", Arc::new(floats)),
        ("n", Arc::new(Int64Array::from_iter_values(numbers()))),
    ];
    batch(columns)
}

const SUMS: &str = "SELECT count(*), count(x), sum(n), sum(x), count(DISTINCT device) FROM m \
                    WHERE device LIKE 'd%'";

#[tokio::test(flavor = "multi_thread")]
async fn batches_become_rows() {
    let server = Server::start().await;
    let mut admin = server.table().await;
    let batches = vec![rows(0, 70_000), rows(70_000, 0), rows(70_000, 80_000)];
    assert_eq!(put(&mut admin, into("m"), batches).await.unwrap(), 150_000);
    let sum: i64 = (0..150_000).sum();
    let halves: f64 = (0..150_000).filter(|n| n % 3 > 0).map(|n| f64::from(n) / 2.0).sum();
    let expected = format!("150000|100000|{sum}|{halves:?}|10");
    assert_eq!(query(&mut admin, SUMS).await.unwrap(), [expected]);
    assert_eq!(server.house.running.len(), 0);
    // What is in memory was given back.
    server.until_free().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_assigned_as_by_insert() {
    let server = Server::start().await;
    let mut admin = server.table().await;
    // ns, no zone, another order, smaller numbers, dictionaries, texts for numbers, nulls.
    let times =
        TimestampNanosecondArray::from(vec![1_700_000_000_000_000_999, 1_700_000_001_000_000_000]);
    let keys = Int32Array::from(vec![0, 0]);
    let dictionary: DictionaryArray<Int32Type> =
        DictionaryArray::try_new(keys, Arc::new(StringArray::from(vec!["dz"]))).unwrap();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("x", Arc::new(StringArray::from(vec![Some("1.5"), None]))),
        ("n", Arc::new(Int32Array::from(vec![7, 8]))),
        ("device", Arc::new(dictionary)),
        ("time", Arc::new(times)),
    ];
    assert_eq!(put(&mut admin, into("m"), vec![batch(columns)]).await.unwrap(), 2);
    let sql = "SELECT time, x, n, note FROM m WHERE device = 'dz' ORDER BY time";
    let expected = ["2023-11-14T22:13:20Z|1.5|7|", "2023-11-14T22:13:21Z||8|"];
    assert_eq!(query(&mut admin, sql).await.unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_with_its_place() {
    let server = Server::start().await;
    let mut admin = server.table().await;
    let without = |name: &str| {
        let rows = rows(0, 3);
        let keep = (0..rows.num_columns()).filter(|at| rows.schema().field(*at).name() != name);
        rows.project(&keep.collect::<Vec<_>>()).unwrap()
    };
    let error = refused(put(&mut admin, into("nowhere"), vec![rows(0, 3)]).await, "42P01");
    assert_eq!(error.code(), Code::NotFound);
    refused(put(&mut admin, into("m"), vec![without("time")]).await, "23502");
    let more =
        batch(vec![("time", rows(0, 3).column(1).clone()), ("y", rows(0, 3).column(3).clone())]);
    refused(put(&mut admin, into("m"), vec![more]).await, "42703");
    let words: ArrayRef = Arc::new(StringArray::from(vec!["1", "two"]));
    let time = rows(0, 2).column(1).clone();
    let error = put(&mut admin, into("m"), vec![batch(vec![("time", time), ("n", words)])]).await;
    refused(error, "22P02");
    let nul: ArrayRef = Arc::new(StringArray::from(vec!["fine", "not\0so"]));
    let error = put(
        &mut admin,
        into("m"),
        vec![batch(vec![("time", rows(0, 2).column(1).clone()), ("note", nul)])],
    );
    let error = refused(error.await, "22021");
    assert!(error.message().contains("COPY m, line 2, column note"), "{error}");
    let elsewhere = CommandStatementIngest { schema: Some("sys".into()), ..into("m") };
    refused(put(&mut admin, elsewhere, vec![rows(0, 3)]).await, "3F000");
    let temporary = CommandStatementIngest { temporary: true, ..into("m") };
    refused(put(&mut admin, temporary, vec![rows(0, 3)]).await, "0A000");
    server.user("reader", "").await;
    let mut reader = server.client("reader").await;
    let error = refused(put(&mut reader, into("m"), vec![rows(0, 3)]).await, "42501");
    assert_eq!(error.code(), Code::PermissionDenied);
    assert_eq!(query(&mut admin, SUMS).await.unwrap(), ["0|0|||0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_made_where_time_and_key_can_be_told() {
    let server = Server::start().await;
    let mut admin = server.admin().await;
    use TableExistsOption as Some_;
    use TableNotExistOption as None_;
    let rows = rows(0, 5);
    let make = |table: &str, some| CommandStatementIngest {
        table_definition_options: define(None_::Create, some),
        ..into(table)
    };
    // Everything may be null: which texts are the key?
    let loose = put(&mut admin, make("t", Some_::Fail), vec![rows.clone()]).await;
    refused(loose, "42P16");
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let schema = Schema::new(vec![
        Field::new("device", DataType::Utf8, false),
        Field::new("time", time, false),
        Field::new("x", DataType::Float64, true),
        Field::new("n", DataType::Int64, true),
    ]);
    let strict = RecordBatch::try_new(Arc::new(schema), rows.columns().to_vec()).unwrap();
    let name = "odd \"name";
    assert_eq!(put(&mut admin, make(name, Some_::Fail), vec![strict.clone()]).await.unwrap(), 5);
    refused(put(&mut admin, make(name, Some_::Fail), vec![strict.clone()]).await, "42P07");
    refused(put(&mut admin, make(name, Some_::Replace), vec![strict.clone()]).await, "0A000");
    assert_eq!(put(&mut admin, make(name, Some_::Append), vec![strict.clone()]).await.unwrap(), 5);
    let sql = "SELECT count(*), max(n) FROM \"odd \"\"name\"";
    assert_eq!(query(&mut admin, sql).await.unwrap(), ["5|4"]);
    server.user("writer", "WRITE").await;
    let mut writer = server.client("writer").await;
    refused(put(&mut writer, make("other", Some_::Fail), vec![strict]).await, "42501");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_transaction_rows_wait_for_its_end() {
    let server = Server::start().await;
    let mut admin = server.table().await;
    let id = admin.begin_transaction().await.unwrap();
    let within =
        |id: &Bytes| CommandStatementIngest { transaction_id: Some(id.clone()), ..into("m") };
    assert_eq!(put(&mut admin, within(&id), vec![rows(0, 1_000)]).await.unwrap(), 1_000);
    assert_eq!(query(&mut admin, SUMS).await.unwrap(), ["0|0|||0"]);
    let mut end = admin.clone();
    end.end_transaction(id, EndTransaction::Commit).await.unwrap();
    // The client does not wait for the answer.
    server.until("the commit", |house| house.transactions.len() == 0).await;
    let count = "SELECT count(*) FROM m WHERE device LIKE 'd%'";
    for _ in 0..100_000 {
        if query(&mut admin, count).await.unwrap() == ["1000"] {
            break;
        }
    }
    assert_eq!(query(&mut admin, count).await.unwrap(), ["1000"]);
    // An error takes all of it back.
    let id = admin.begin_transaction().await.unwrap();
    let null: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![None, None]));
    let bad = batch(vec![
        ("device", rows(0, 2).column(0).clone()),
        ("time", null),
        ("x", rows(0, 2).column(2).clone()),
        ("n", rows(0, 2).column(3).clone()),
    ]);
    let both = vec![rows(5_000, 1_000), bad];
    refused(put(&mut admin, within(&id), both).await, "23502");
    refused(put(&mut admin, within(&id), vec![rows(9_000, 1)]).await, "25P02");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_takes_its_block_with_it() {
    let server = Server::start().await;
    let mut admin = server.table().await;
    let id = admin.begin_transaction().await.unwrap();
    let command = CommandStatementIngest { transaction_id: Some(id.clone()), ..into("m") };
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let endless = futures::stream::iter(0..).map(move |n| {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok(rows(n * 100, 100))
    });
    let mut leaving = admin.clone();
    let task = tokio::spawn(async move {
        // It never ends by itself.
        let _never = leaving.execute_ingest(command, endless).await;
    });
    // More than fits between the two: rows were taken.
    server.until("the ingest", |_| sent.load(Ordering::SeqCst) > 5_000).await;
    task.abort();
    server.until("its end", |house| house.running.len() == 0).await;
    let insert = "INSERT INTO m (time, device) VALUES ('2026-01-01', 'z')".to_owned();
    refused(admin.execute_update(insert, Some(id)).await.map_err(status), "25P02");
    assert_eq!(query(&mut admin, SUMS).await.unwrap(), ["0|0|||0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn relational_tables_are_found_before_others_are_made() {
    let server = Server::start().await;
    let mut admin = server.admin().await;
    update(&mut admin, "CREATE TABLE part (id bigint PRIMARY KEY, name text)").await.unwrap();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(vec![1, 2]))),
        ("name", Arc::new(StringArray::from(vec!["gear", "belt"]))),
    ];
    let rows = batch(columns);
    let options = |some| define(TableNotExistOption::Create, some);
    let append = CommandStatementIngest {
        table_definition_options: options(TableExistsOption::Append),
        ..into("part")
    };
    assert_eq!(put(&mut admin, append, vec![rows.clone()]).await.unwrap(), 2);
    let fail = CommandStatementIngest {
        table_definition_options: options(TableExistsOption::Fail),
        ..into("part")
    };
    refused(put(&mut admin, fail, vec![rows]).await, "42P07");
    let all = query(&mut admin, "SELECT * FROM part ORDER BY id").await.unwrap();
    assert_eq!(all, ["1|gear", "2|belt"]);
}
