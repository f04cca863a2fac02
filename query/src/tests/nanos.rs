//! Tables with nanosecond times, as line protocol makes them; keys that widen; wide scans.

use tsdb::types::{
    CellState, Column, ColumnBuilder, ColumnType, Key, PhysicalType, Quality, SeriesRef,
    TableOptions, TimePrecision, ValueRef, Values, WriteBatch,
};
use tsdb::{Command, NewColumn, NewTable, Outcome};

use super::harness::*;

const BASE: i64 = 1_767_225_600_000_000_000;

fn column(name: &str, kind: ColumnType, key: bool) -> NewColumn {
    NewColumn { name: name.into(), kind, key, not_null: false }
}

/// Table `ns` with one series and rows at these ns after 2026-01-01.
fn world(offsets: &[i64]) -> World {
    let world = World::new();
    let options = TableOptions { precision: TimePrecision::Nanos, ..TableOptions::default() };
    let table = NewTable {
        name: "ns".into(),
        time_name: "time".into(),
        columns: vec![
            column("host", ColumnType::Text, true),
            column("v", ColumnType::Float64, false),
        ],
        options,
        if_not_exists: false,
    };
    let db = world.engine.db();
    let Outcome::Table(id) = db.execute(Command::CreateTable(table)).unwrap() else { panic!() };
    let schema = db.snapshot().table("ns").unwrap().schema().clone();
    let [host, v] = ["host", "v"].map(|name| schema.column(name).unwrap().id);
    let values = Values::Float(offsets.iter().map(|o| *o as f64).collect());
    let batch = WriteBatch {
        table: id,
        series: vec![SeriesRef::Key(Key::new([(host, b"a".as_slice())]))],
        key_of_row: vec![0; offsets.len()],
        times: offsets.iter().map(|o| BASE + o).collect(),
        columns: vec![(v, Column::good(values))],
    };
    db.execute(Command::Write(batch)).unwrap();
    world
}

#[test]
fn a_micro_stands_for_all_its_nanos() {
    let world = world(&[0, 1, 999, 1_000, 1_500, 2_000]);
    let count = |filter: &str| {
        rows(&world.session, &format!("SELECT count(*) FROM ns WHERE {filter}"), &[]).remove(0)
    };
    for (filter, expect) in [
        ("time = '2026-01-01 00:00:00+00'", "3"),
        ("time = '2026-01-01 00:00:00.000001+00'", "2"),
        ("time > '2026-01-01 00:00:00+00'", "3"),
        ("time >= '2026-01-01 00:00:00.000001+00'", "3"),
        ("time <= '2026-01-01 00:00:00.000001+00'", "5"),
        ("time < '2026-01-01 00:00:00.000001+00'", "3"),
        ("time <> '2026-01-01 00:00:00.000001+00'", "4"),
    ] {
        assert_eq!(count(filter), expect, "{filter}");
    }
    world.check(
        "SELECT time, count(*) FROM ns GROUP BY time ORDER BY time",
        &[
            "2026-01-01T00:00:00Z | 3",
            "2026-01-01T00:00:00.000001Z | 2",
            "2026-01-01T00:00:00.000002Z | 1",
        ],
    );
    world.check(
        "SELECT last(v, time) FROM ns WHERE time < '2026-01-01 00:00:00.000002+00'",
        &["1500.0"],
    );
}

#[test]
fn qualities_show_on_request() {
    let world = world(&[0]);
    let db = world.engine.db();
    let schema = db.snapshot().table("ns").unwrap().schema().clone();
    let [host, v] = ["host", "v"].map(|name| schema.column(name).unwrap().id);
    let mut cells = ColumnBuilder::new(PhysicalType::Float, 3);
    cells.push(CellState::value(Quality::Uncertain), ValueRef::Float(5.0));
    cells.push(CellState::null(Quality::Bad), ValueRef::Float(0.0));
    cells.push_absent(1);
    let batch = WriteBatch {
        table: schema.id,
        series: vec![SeriesRef::Key(Key::new([(host, b"b".as_slice())]))],
        key_of_row: vec![0; 3],
        times: vec![BASE, BASE + 1_000_000, BASE + 2_000_000],
        columns: vec![(v, cells.finish())],
    };
    db.execute(Command::Write(batch)).unwrap();
    let sql = "SELECT v, v__quality FROM ns WHERE host = 'b' ORDER BY time";
    let expect = ["5.0 | uncertain", "∅ | bad", "∅ | ∅"];
    world.check(sql, &expect);
    world.run("CHECKPOINT");
    world.check(sql, &expect);
    world.check("SELECT count(*) FROM ns WHERE v__quality <> 'good'", &["2"]);
}

#[test]
fn a_new_tag_is_null_for_older_series() {
    let world = world(&[0]);
    let db = world.engine.db();
    let table = db.snapshot().table("ns").unwrap().schema().id;
    let columns = vec![column("rack", ColumnType::Text, true)];
    db.execute(Command::AddColumns { table, columns }).unwrap();
    world.run("INSERT INTO ns (time, host, rack, v) VALUES ('2026-01-01', 'a', 'r1', 7)");
    world.check("SELECT host, rack, v FROM ns ORDER BY v", &["a | ∅ | 0.0", "a | r1 | 7.0"]);
    world.check("SELECT v FROM ns WHERE rack IS NULL", &["0.0"]);
    world.check("SELECT v FROM ns WHERE rack <> 'r2'", &["7.0"]);
}

/// Many series and batches: each row keeps the key of its series.
#[test]
fn keys_stay_with_their_rows() {
    let world = World::new();
    world.run(
        "CREATE TABLE t (time timestamptz, k text, j bigint, v bigint, PRIMARY KEY (k, j, time))",
    );
    world.run(
        "INSERT INTO t SELECT '2026-01-01'::timestamptz + value * interval '1 second',
        CASE WHEN value % 11 = 0 THEN NULL ELSE 'key number ' || (value % 11)::text END,
        value % 7, value FROM generate_series(0, 59999) AS value",
    );
    let wrong = "SELECT count(*) FROM t WHERE j <> v % 7
        OR coalesce(k, 'key number 0') <> 'key number ' || (v % 11)::text";
    world.check(wrong, &["0"]);
    world.run("CHECKPOINT; VACUUM FULL");
    world.check(wrong, &["0"]);
    world.check("SELECT count(*), count(k), count(DISTINCT j) FROM t", &["60000 | 54545 | 7"]);
    world.check("SELECT sum(v) FROM t WHERE k = 'key number 3' AND j IN (1, 2)", &["46740000"]);
}

/// SQL shows one µs for all of these; a DELETE knows them apart.
#[test]
fn changes_tell_rows_of_one_microsecond_apart() {
    let world = world(&[1, 2, 3, 1_001]);
    assert_eq!(world.run("DELETE FROM ns WHERE v = 2"), "DELETE 1");
    world.check("SELECT v FROM ns ORDER BY v", &["1.0", "3.0", "1001.0"]);
    assert_eq!(world.run("UPDATE ns SET v = v * 2 WHERE v = 3"), "UPDATE 1");
    world.check("SELECT v FROM ns ORDER BY v", &["1.0", "6.0", "1001.0"]);
    assert_eq!(world.fails("UPDATE ns SET time = now()").code, "0A000");
    let sql = "DELETE FROM ns WHERE time = '2026-01-01 00:00:00.000000+00'";
    assert_eq!(world.run(sql), "DELETE 2");
    world.check("SELECT v FROM ns", &["1001.0"]);
}
