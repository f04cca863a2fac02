//! Columns against INSERT, which is their slow twin.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, LargeStringArray,
    RecordBatch, StringArray, TimestampMicrosecondArray, TimestampMillisecondArray,
};
use futures::executor::block_on;
use proptest::prelude::*;

use crate::tests::harness::*;
use crate::{QueryResult, TransactionStatus};

const ALL: &str = "SELECT * FROM t ORDER BY device, time";

fn world() -> World {
    let world = World::new();
    world.run(
        "CREATE TABLE t (time timestamptz NOT NULL, device text NOT NULL, v double precision,
         n bigint, b boolean, s text, PRIMARY KEY (device, time))",
    );
    world
}

fn copy(world: &World, sql: &str, batches: &[RecordBatch]) -> QueryResult<String> {
    let statements = world.session.parse(sql)?;
    block_on(async {
        world.session.execute(&statements[0], &[]).await?;
        for batch in batches {
            world.session.copy_batch(batch).await?;
        }
        world.session.copy_done().await
    })
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

/// A row: second, device, and a cell of each field, which may be null.
type Row = (i64, u8, Option<f32>, Option<i32>, Option<bool>, Option<String>);

fn row() -> impl Strategy<Value = Row> {
    let text = prop::option::of("[a-z'ä ]{0,6}");
    (
        0..50_i64,
        0..4_u8,
        prop::option::of(-1e6_f32..1e6),
        any::<Option<i32>>(),
        any::<Option<bool>>(),
        text,
    )
}

fn device(number: u8) -> String {
    if number == 0 { String::new() } else { format!("d{number}") }
}

/// The rows as columns of types that are near those of the table.
fn columns(rows: &[Row]) -> RecordBatch {
    let times = rows.iter().map(|row| row.0 * 1_000);
    let devices = rows.iter().map(|row| (row.1 > 0).then(|| device(row.1)));
    batch(vec![
        ("b", Arc::new(rows.iter().map(|row| row.4).collect::<BooleanArray>())),
        ("time", Arc::new(TimestampMillisecondArray::from_iter_values(times).with_timezone("UTC"))),
        ("v", Arc::new(rows.iter().map(|row| row.2).collect::<Float32Array>())),
        ("device", Arc::new(devices.collect::<StringArray>())),
        ("n", Arc::new(rows.iter().map(|row| row.3).collect::<Int32Array>())),
        ("s", Arc::new(rows.iter().map(|row| row.5.clone()).collect::<LargeStringArray>())),
    ])
}

fn insert(row: &Row) -> String {
    fn or_null<T>(cell: &Option<T>, text: impl Fn(&T) -> String) -> String {
        cell.as_ref().map_or_else(|| "NULL".to_owned(), text)
    }
    format!(
        "INSERT INTO t (b, time, v, device, n, s) VALUES ({}, to_timestamp({}), {}, '{}', {}, {})",
        or_null(&row.4, bool::to_string),
        row.0,
        or_null(&row.2, |v| format!("{:?}", f64::from(*v))),
        device(row.1),
        or_null(&row.3, i32::to_string),
        or_null(&row.5, |s| format!("'{}'", s.replace('\'', "''"))),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn columns_make_the_rows_that_inserts_make(
        rows in prop::collection::vec(row(), 1..40),
        cut in 0..40_usize,
    ) {
        let (by_copy, by_insert) = (world(), world());
        let all = columns(&rows);
        let cut = cut.min(rows.len());
        let pieces = [all.slice(0, cut), all.slice(cut, rows.len() - cut)];
        let sql = "COPY t (b, time, v, device, n, s) FROM STDIN";
        prop_assert_eq!(copy(&by_copy, sql, &pieces).unwrap(), format!("COPY {}", rows.len()));
        rows.iter().for_each(|row| drop(by_insert.run(&insert(row))));
        let expected = crate::tests::harness::rows(&by_insert.session, ALL, &[]);
        prop_assert_eq!(crate::tests::harness::rows(&by_copy.session, ALL, &[]), expected);
    }
}

#[test]
fn many_rows_make_several_batches() {
    let world = world();
    let rows = 250_000_i64;
    let times = TimestampMicrosecondArray::from_iter_values((0..rows).map(|n| n * 1_000_000));
    let devices = StringArray::from_iter_values((0..rows).map(|n| format!("d{}", n % 3)));
    let all = batch(vec![
        ("time", Arc::new(times)),
        ("device", Arc::new(devices)),
        ("n", Arc::new(Int64Array::from_iter_values(0..rows))),
    ]);
    let tag = copy(&world, "COPY t (time, device, n) FROM STDIN", &[all]).unwrap();
    assert_eq!(tag, "COPY 250000");
    let sum: i64 = (0..rows).sum();
    world.check("SELECT count(*), sum(n), count(v) FROM t", &[&format!("250000 | {sum} | 0")]);
}

#[test]
fn what_does_not_fit_is_told_with_its_place() {
    let time = || Arc::new(TimestampMicrosecondArray::from(vec![1, 2])) as ArrayRef;
    let check = |name: &str, column: ArrayRef, code: &str, place: &str| {
        let world = world();
        let sql = format!("COPY t (time, {name}) FROM STDIN");
        let error = copy(&world, &sql, &[batch(vec![("time", time()), (name, column)])]);
        let error = error.expect_err(&sql);
        assert_eq!(error.code, code, "{sql}: {error:?}");
        let told = error.detail.clone().unwrap_or_default();
        assert!(told.contains(place), "{sql}: {error:?}");
        world.check("SELECT count(*) FROM t", &["0"]);
        assert_eq!(world.session.transaction(), TransactionStatus::Idle);
    };
    check("n", Arc::new(StringArray::from(vec!["1", "x"])), "22P02", "");
    check("b", Arc::new(Float64Array::from(vec![1.0, 0.0])), "42804", "");
    check("s", Arc::new(StringArray::from(vec!["a", "b\0"])), "22021", "COPY t, line 2, column s");
    let world = world();
    let null = Arc::new(TimestampMicrosecondArray::from(vec![Some(1), None])) as ArrayRef;
    let devices = || Arc::new(StringArray::from(vec!["a", "b"])) as ArrayRef;
    let sql = "COPY t (time, device) FROM STDIN";
    let error = copy(&world, sql, &[batch(vec![("time", null), ("device", devices())])]);
    let error = error.unwrap_err();
    assert_eq!(
        (error.code, error.detail.as_deref()),
        ("23502", Some("COPY t, line 2, column time"))
    );
    let error = copy(&world, sql, &[batch(vec![("time", time())])]).unwrap_err();
    assert_eq!(error.code, "22P04");
    let far = Arc::new(TimestampMillisecondArray::from(vec![i64::MAX, 0])) as ArrayRef;
    let error = copy(&world, sql, &[batch(vec![("time", far), ("device", devices())])]);
    assert!(error.unwrap_err().code.starts_with("22"));
    // In a block the rows wait, and an error makes it fail.
    world.run("BEGIN");
    copy(&world, sql, &[batch(vec![("time", time()), ("device", devices())])]).unwrap();
    world.run("ROLLBACK");
    world.check("SELECT count(*) FROM t", &["0"]);
}
