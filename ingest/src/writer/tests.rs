//! The road from a request to rows, with other writers in between.

use std::sync::Arc;

use tsdb::types::{ColumnType, TableOptions, TimePrecision};
use tsdb::{Command, Error, NewColumn, NewTable};

use super::memory::MemoryStore;
use super::{LineLimits, LineWriter, Report};
use crate::line::Precision;

fn new() -> (Arc<MemoryStore>, Arc<LineWriter>) {
    let store = MemoryStore::new();
    (store.clone(), LineWriter::with_store(store, LineLimits::default()))
}

fn write(writer: &LineWriter, body: &str) -> Report {
    writer.write(body.as_bytes(), Precision::Nanos, 77).expect("the request is written")
}

fn lines(report: &Report) -> Vec<u64> {
    report.refused.iter().map(|refused| refused.line).collect()
}

fn column(name: &str, kind: ColumnType, key: bool) -> NewColumn {
    NewColumn { name: name.into(), kind, key, not_null: false }
}

fn create(name: &str, columns: Vec<NewColumn>) -> Command {
    Command::CreateTable(NewTable {
        name: name.into(),
        time_name: "time".into(),
        columns,
        options: TableOptions::default(),
        if_not_exists: true,
    })
}

#[test]
fn tables_and_columns_come_with_the_lines() {
    let (store, writer) = new();
    let report =
        write(&writer, "cpu,host=a user=1i,load=0.5 10\nmem,host=a free=7i\ncpu,host=b up=t 5");
    assert_eq!((report.rows, report.refused_count), (3, 0));
    assert_eq!(
        store.rows(),
        ["cpu{host=a} load=0.5,user=1i @10", "cpu{host=b} up=true @5", "mem{host=a} free=7i @77"]
    );
    // One record for the definitions, one for the rows of both tables.
    assert_eq!(store.commits(), [2, 2]);
    let schema = store.schema("cpu").unwrap();
    assert_eq!(schema.options.precision, TimePrecision::Nanos);
    assert_eq!(schema.keys().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["host"]);

    let report = write(&writer, "cpu,host=a,rack=3 user=2i,temp=1.5 11\ncpu,host=a user=9i 10");
    assert_eq!((report.rows, report.position), (2, 4));
    assert_eq!(store.commits(), [2, 2, 1, 1]);
    assert!(store.rows().contains(&"cpu{host=a} load=0.5,user=9i @10".to_string()));
    assert!(store.rows().contains(&"cpu{host=a,rack=3} temp=1.5,user=2i @11".to_string()));
    // Nothing new: no definitions.
    write(&writer, "cpu,host=a user=3i 12");
    assert_eq!(store.commits(), [2, 2, 1, 1, 1]);
}

#[test]
fn known_series_are_found_again_and_forgotten_with_their_table() {
    let (store, writer) = new();
    write(&writer, "m,a=1 x=1i 1\nm,a=2 x=2i 2");
    write(&writer, "m,a=2 x=3i 3\nm,a=1 x=4i 4");
    assert_eq!(writer.cache.len(), 2);
    write(&writer, "m,a=1 x=5i 5");
    let id = store.schema("m").unwrap().id;
    super::Store::commit(&*store, vec![Command::DropTable { table: id }]).unwrap();
    write(&writer, "m,a=3 x=1i 1\nm,a=2 x=2i 2");
    write(&writer, "m,a=3 x=6i 6\nm,a=2 x=7i 7");
    assert_eq!(
        store.rows(),
        ["m{a=2} x=2i @2", "m{a=2} x=7i @7", "m{a=3} x=1i @1", "m{a=3} x=6i @6"]
    );
}

#[test]
fn good_lines_are_kept_and_bad_ones_told() {
    let (store, writer) = new();
    let report = write(&writer, "m x=1i 1\nm x=\"no\" 2\nbad\nm x=2i 3\nonly,a=b bad=no 4");
    assert_eq!((report.rows, report.refused_count, lines(&report)), (2, 3, vec![2, 3, 5]));
    assert!(report.refused[0].reason.contains("bigint"));
    assert!(store.schema("only").is_none());
    let report = write(&writer, "bad\n\n# nothing\n");
    assert_eq!((report.rows, report.position, report.refused_count), (0, 0, 1));
    let report = write(&writer, "");
    assert_eq!(report, Report::default());
    // A float for an integer column, an integer for a float column.
    write(&writer, "m y=1.5 1");
    let report = write(&writer, "m x=1.5 5\nm y=2i 6\nm x=7i,y=8i 7");
    assert_eq!((report.rows, lines(&report)), (2, vec![1]));
    assert!(store.rows().contains(&"m{} y=2.0 @6".to_string()));
}

#[test]
fn only_the_first_refused_lines_are_told() {
    let store = MemoryStore::new();
    let limits = LineLimits { refused_told_max: 3, ..LineLimits::default() };
    let writer = LineWriter::with_store(store, limits);
    let report = write(&writer, &"bad\n".repeat(1000));
    assert_eq!((report.refused_count, lines(&report)), (1000, vec![1, 2, 3]));
}

#[test]
fn precisions_and_times_out_of_range() {
    let (store, writer) = new();
    let report = writer.write(b"m x=1i 2\nm x=1i -1\nm x=1i 9223372036855", Precision::Millis, 0);
    let report = report.unwrap();
    assert_eq!((report.rows, lines(&report)), (1, vec![2, 3]));
    assert_eq!(store.rows(), ["m{} x=1i @2000000"]);
    for (name, nanos) in
        [("ns", 1), ("u", 1_000), ("µ", 1_000), ("ms", 1_000_000), ("h", 3600 * 1_000_000_000)]
    {
        assert_eq!(Precision::from_name(name).unwrap().nanos(), nanos);
    }
    assert_eq!(Precision::from_name("d"), None);
}

#[test]
fn another_writer_makes_the_table_first() {
    let (store, writer) = new();
    let columns =
        vec![column("host", ColumnType::Text, true), column("x", ColumnType::Float64, false)];
    store.other(vec![create("m", columns)]);
    let report = write(&writer, "m,host=a x=1i,y=2i 1\nm,host=a x=1.5 2");
    assert_eq!((report.rows, report.refused_count), (2, 0));
    assert_eq!(store.rows(), ["m{host=a} x=1.0,y=2i @1", "m{host=a} x=1.5 @2"]);
}

#[test]
fn another_writer_takes_another_type() {
    let (store, writer) = new();
    write(&writer, "m z=1i 0");
    let table = store.schema("m").unwrap().id;
    let columns = vec![column("x", ColumnType::Text, false)];
    store.other(vec![Command::AddColumns { table, columns }]);
    let report = write(&writer, "m x=1i 1\nm z=2i 2\nm x=\"t\" 3");
    // The first look made `x` a bigint and refused line 3; the second knows better.
    assert_eq!((report.rows, lines(&report)), (2, vec![1]));
    assert_eq!(store.rows(), ["m{} x=\"t\" @3", "m{} z=1i @0", "m{} z=2i @2"]);

    // The same for a tag that became a field.
    let columns = vec![column("k", ColumnType::Int64, false)];
    store.other(vec![Command::AddColumns { table, columns }]);
    let report = write(&writer, "m,k=1 z=1i 9\nm z=3i 3");
    assert_eq!((report.rows, lines(&report)), (1, vec![1]));
}

#[test]
fn a_table_dropped_before_the_write_is_made_again() {
    let (store, writer) = new();
    write(&writer, "m x=1i 1\nn x=1i 1");
    let table = store.schema("m").unwrap().id;
    store.other(vec![Command::DropTable { table }]);
    let report = write(&writer, "m x=\"now text\" 2\nn x=2i 2\nbad\nm x=2i 3");
    // The part of the other table is not written twice, no line is counted twice.
    assert_eq!((report.rows, report.refused_count), (2, 2));
    assert_eq!(store.rows(), ["m{} x=2i @3", "n{} x=1i @1", "n{} x=2i @2"]);
    // Line 1 was refused by the first look, at the table that was there then.
    assert_eq!(lines(&report), [1, 3]);
}

#[test]
fn a_table_over_the_limit_costs_only_its_own_lines() {
    let (store, writer) = new();
    write(&writer, "a x=1i 1\nb x=1i 1\nc x=1i 1\nd x=1i 1");
    let report = write(&writer, "e x=1i 1\nf x=1i 1\na x=2i 2\nf x=2i 2");
    assert_eq!((report.rows, lines(&report)), (2, vec![2, 4]));
    assert!(report.refused[0].reason.contains("more than 5 tables"));
    assert_eq!(store.rows().len(), 6);
    store.fail(Error::Invalid("too many".into()));
    let report = write(&writer, "a y=1i 7\nb y=1i 7");
    assert_eq!((report.rows, report.refused_count), (2, 0));
}

#[test]
fn the_state_of_the_database_is_an_error_of_the_request() {
    let (store, writer) = new();
    store.fail(Error::Full("disk".into()));
    assert!(matches!(writer.write(b"m x=1i 1", Precision::Nanos, 0), Err(Error::Full(_))));
    write(&writer, "m x=1i 1");
    store.fail(Error::ReadOnly("sync failed".into()));
    assert!(matches!(writer.write(b"m x=1i 2", Precision::Nanos, 0), Err(Error::ReadOnly(_))));
    assert_eq!(store.rows().len(), 1);
}

#[test]
fn a_wide_sparse_request_is_written_whole() {
    let (store, writer) = new();
    let body: String = (0..3000).map(|n| format!("m,t={} f{}={n}i {n}\n", n % 5, n % 90)).collect();
    let report = write(&writer, &body);
    assert_eq!((report.rows, report.refused_count, store.rows().len()), (3000, 0, 3000));
}
