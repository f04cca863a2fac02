//! Cursors: DECLARE, FETCH, MOVE, CLOSE.

use std::time::Duration;

use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use futures::executor::block_on;

use super::harness::*;
use crate::statement::cursor::Way;
use crate::{Outcome, QueryOptions, Session};

/// A world with a table of numbers in order, one row a second.
fn numbers(count: i64) -> World {
    let world = World::new();
    world.run("CREATE TABLE n (time timestamptz, k text, x bigint, PRIMARY KEY (k, time))");
    world.run(&format!(
        "INSERT INTO n (time, k, x) SELECT to_timestamp(value), 'a', value FROM generate_series(1, {count}) AS value"
    ));
    world
}

fn tags(session: &Session, sql: &str, params: &[ScalarValue]) -> String {
    let statements = session.parse(sql).unwrap();
    match block_on(session.execute(&statements[0], params)).unwrap() {
        Outcome::Done { tag } => tag,
        other => panic!("{other:?}"),
    }
}

#[test]
fn rows_come_in_portions() {
    let world = numbers(10);
    for query in ["SELECT x FROM n ORDER BY time", "SELECT x + 0 AS x FROM n ORDER BY x"] {
        world.run("BEGIN");
        assert_eq!(
            world.run(&format!("DECLARE c NO SCROLL CURSOR WITHOUT HOLD FOR {query}")),
            "DECLARE CURSOR"
        );
        assert_eq!(columns(&world.session, "FETCH 1 FROM c"), ["x"]);
        world.check("FETCH c", &["1"]);
        world.check("FETCH FORWARD 2 IN c", &["2", "3"]);
        assert_eq!(world.run("MOVE 2 FROM c"), "MOVE 2");
        world.check("FETCH NEXT FROM c", &["6"]);
        world.check("FETCH ABSOLUTE 8 FROM c", &["8"]);
        assert_eq!(world.run("FETCH RELATIVE 1 FROM c"), "FETCH 1");
        world.check("FETCH ALL FROM c", &["10"]);
        world.check("FETCH 5 c", &[]);
        world.check("FETCH 0 FROM c", &[]);
        assert_eq!(world.run("MOVE ALL IN c"), "MOVE 0");
        assert_eq!(world.run("CLOSE c"), "CLOSE CURSOR");
        assert_eq!(world.fails("FETCH c").code, "34000");
        world.run("ROLLBACK");
    }
}

#[test]
fn cursors_belong_to_their_block() {
    let world = numbers(3);
    assert_eq!(world.fails("DECLARE c CURSOR FOR SELECT 1").code, "25P01");
    assert_eq!(world.fails("FETCH c").code, "34000");
    assert_eq!(world.fails("CLOSE c").code, "34000");
    assert_eq!(world.run("CLOSE ALL"), "CLOSE CURSOR ALL");
    world.run("BEGIN");
    world.run("DECLARE c CURSOR FOR SELECT x FROM n ORDER BY x");
    world.check(
        "SELECT name, is_scrollable, statement FROM pg_cursors",
        &["c | false | DECLARE c CURSOR FOR SELECT x FROM n ORDER BY x"],
    );
    world.run("SAVEPOINT s");
    assert_eq!(world.fails("DECLARE c CURSOR FOR SELECT 1").code, "42P03");
    world.run("ROLLBACK TO s");
    world.run("DECLARE later CURSOR FOR SELECT x FROM n");
    world.run("ROLLBACK TO s");
    assert_eq!(world.fails("FETCH later").code, "34000");
    world.run("ROLLBACK TO s");
    // Rows of others that come now are not in the snapshot.
    let other = world.engine.session(identity("o", true), &[]);
    run(&other, "INSERT INTO n (time, k, x) VALUES ('1970-01-01 00:00:00.5+00', 'a', 0)");
    world.check("FETCH 2 FROM c", &["1", "2"]);
    assert_eq!(world.fails("FETCH PRIOR FROM c").code, "55000");
    world.run("ROLLBACK TO s");
    world.check("FETCH ALL FROM c", &["3"]);
    world.run("COMMIT");
    assert_eq!(world.fails("FETCH c").code, "34000");
    world.check("SELECT count(*) FROM pg_cursors", &["0"]);
}

#[test]
fn what_is_not_there_is_refused() {
    let world = numbers(3);
    world.run("BEGIN");
    for (sql, code) in [
        ("DECLARE c BINARY CURSOR FOR SELECT 1", "0A000"),
        ("DECLARE c CURSOR FOR DELETE FROM n", "42601"),
        ("DECLARE c CURSOR SELECT 1", "42601"),
        ("DECLARE c CURSOR FOR SELECT nothing FROM n", "42703"),
        ("FETCH ABSOLUTE FROM c", "42601"),
        ("FETCH 1 FROM", "42601"),
        ("FETCH 99999999999999999999 FROM c", "42601"),
    ] {
        let error = match world.session.parse(sql) {
            Err(error) => error,
            Ok(_) => world.fails(sql),
        };
        assert_eq!(error.code, code, "{sql}: {error}");
        world.run("ROLLBACK");
        world.run("BEGIN");
    }
}

#[test]
fn directions_are_read_as_postgres_reads_them() {
    let world = numbers(5);
    world.run("BEGIN");
    // Called like a direction.
    world.run("DECLARE next CURSOR FOR SELECT x FROM n ORDER BY x");
    world.check("FETCH next", &["1"]);
    world.check("FETCH FROM next", &["2"]);
    world.check("FETCH FORWARD FROM next", &["3"]);
    for sql in
        ["FETCH -1 FROM next", "FETCH BACKWARD ALL FROM next", "FETCH LAST IN next", "FETCH 0 next"]
    {
        world.run("SAVEPOINT s");
        assert_eq!(world.fails(sql).code, "55000", "{sql}");
        world.run("ROLLBACK TO s");
    }
    world.check("FETCH +1 FROM next", &["4"]);
    world.check("FETCH ABSOLUTE 9 FROM next", &[]);
}

#[test]
fn parameters_and_several_statements_of_one_text() {
    let world = numbers(5);
    world.run("BEGIN");
    let sql = "DECLARE c CURSOR FOR SELECT x FROM n WHERE x > $1 ORDER BY x";
    let statements = world.session.parse(sql).unwrap();
    let described = block_on(world.session.describe(&statements[0], &[])).unwrap();
    assert_eq!((described.params.len(), described.fields.is_none()), (1, true));
    assert_eq!(tags(&world.session, sql, &[ScalarValue::from(3i64)]), "DECLARE CURSOR");
    world.check("FETCH ALL FROM c", &["4", "5"]);
    world.run("COMMIT");
    world.session.begin_implicit();
    world.run("INSERT INTO n (time, k, x) VALUES ('2026-01-01', 'a', 6)");
    world.run("DECLARE c CURSOR FOR SELECT x FROM n WHERE x > 5");
    world.check("FETCH ALL FROM c", &["6"]);
    block_on(world.session.end_implicit()).unwrap();
    assert_eq!(world.fails("FETCH c").code, "34000");
}

#[test]
fn an_error_ends_a_cursor_when_it_is_read() {
    let world = numbers(30_000);
    world.run("BEGIN");
    world.run("DECLARE c CURSOR FOR SELECT 1 / (x - 25000) FROM n ORDER BY time");
    world.run("DECLARE d CURSOR FOR SELECT x FROM n ORDER BY time");
    assert_eq!(world.run("FETCH 10 FROM c"), "FETCH 10");
    world.run("SAVEPOINT s");
    assert_eq!(world.fails("FETCH ALL FROM c").code, "22012");
    assert_eq!(world.fails("FETCH 1 FROM d").code, "25P02");
    world.run("ROLLBACK TO s");
    assert_eq!(world.fails("FETCH 1 FROM c").code, "55000");
    world.run("ROLLBACK TO s");
    world.check("FETCH 1 FROM d", &["1"]);
    world.run("ROLLBACK");
}

#[test]
fn a_cursor_outlives_cancels_and_time_limits_of_other_statements() {
    let world = numbers(100_000);
    world.run("SET statement_timeout = '60s'");
    world.run("BEGIN");
    world.run("DECLARE c CURSOR FOR SELECT x FROM n ORDER BY time");
    assert_eq!(world.run("FETCH 5 FROM c"), "FETCH 5");
    // Somebody cancels while nothing runs: it is too late for the statement before.
    world.session.cancel();
    assert_eq!(world.run("FETCH 50000 FROM c"), "FETCH 50000");
    assert_eq!(world.run("FETCH ALL FROM c"), "FETCH 49995");
    // A FETCH that is left half read lets go of the cursor.
    world.run("DECLARE d CURSOR FOR SELECT x FROM n ORDER BY time");
    let statements = world.session.parse("FETCH ALL FROM d").unwrap();
    let Outcome::Rows { mut stream, .. } =
        block_on(world.session.execute(&statements[0], &[])).unwrap()
    else {
        panic!("rows")
    };
    let first = block_on(stream.next()).unwrap().unwrap().num_rows();
    world.run("SAVEPOINT s");
    assert_eq!(world.fails("FETCH 1 FROM d").code, "55006");
    drop(stream);
    world.run("ROLLBACK TO s");
    world.check("FETCH 1 FROM d", &[&(first + 1).to_string()]);
    // Cancelled while it reads: the cursor is broken, and the block has failed.
    let Outcome::Rows { mut stream, .. } =
        block_on(world.session.execute(&statements[0], &[])).unwrap()
    else {
        panic!("rows")
    };
    world.session.cancel();
    let error = loop {
        match block_on(stream.next()) {
            Some(Ok(_)) => {}
            Some(Err(error)) => break crate::QueryError::from(error),
            None => panic!("not cancelled"),
        }
    };
    assert_eq!(error.code, "57014");
    assert_eq!(world.fails("FETCH 1 FROM d").code, "25P02");
    world.run("ROLLBACK");
}

#[test]
fn no_query_is_left_behind() {
    let world = numbers(100_000);
    world.run("BEGIN");
    world.run("DECLARE c CURSOR FOR SELECT a.x FROM n a, n b");
    assert_eq!(world.run("FETCH 5 FROM c"), "FETCH 5");
    assert_eq!(world.engine.queries_running(), 1);
    world.run("ROLLBACK");
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while world.engine.queries_running() > 0 {
        assert!(std::time::Instant::now() < until, "the query of a closed cursor goes on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_cursor_that_scrolls_goes_both_ways() {
    let world = numbers(10);
    world.run("BEGIN");
    world.run("DECLARE c SCROLL CURSOR FOR SELECT x FROM n ORDER BY x");
    world.check("SELECT name, is_scrollable, is_holdable FROM pg_cursors", &["c | true | false"]);
    for (way, rows) in [
        ("PRIOR", &[][..]),
        ("NEXT", &["1"]),
        ("0", &["1"]),
        ("LAST", &["10"]),
        ("NEXT", &[]),
        ("RELATIVE 0", &[]),
        ("PRIOR", &["10"]),
        ("BACKWARD 3", &["9", "8", "7"]),
        ("-2", &["6", "5"]),
        ("BACKWARD -1", &["6"]),
        ("ABSOLUTE -3", &["8"]),
        ("RELATIVE -2", &["6"]),
        ("RELATIVE 3", &["9"]),
        ("ABSOLUTE 4", &["4"]),
        ("BACKWARD ALL", &["3", "2", "1"]),
        ("BACKWARD", &[]),
        ("FORWARD 2", &["1", "2"]),
        ("ABSOLUTE 11", &[]),
        ("PRIOR", &["10"]),
        ("ABSOLUTE 0", &[]),
        ("FIRST", &["1"]),
        ("ABSOLUTE -11", &[]),
        ("ALL", &["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]),
        ("RELATIVE -1", &["10"]),
    ] {
        assert_eq!(rows_of(&world, &format!("FETCH {way} FROM c")), rows, "{way}");
    }
    world.run("COMMIT");
    assert_eq!(
        world.session.parse("DECLARE c SCROLL NO SCROLL CURSOR FOR SELECT 1").unwrap_err().code,
        "42P11"
    );
}

fn rows_of(world: &World, sql: &str) -> Vec<String> {
    rows(&world.session, sql, &[])
}

/// Where a cursor over so many rows goes, in the simplest words: the rows it gives, and where it
/// stands then (0 before the first row, count + 1 behind the last).
fn model(way: Way, at: &mut i64, count: i64) -> Vec<i64> {
    let one = |row: i64, at: &mut i64| {
        *at = row.clamp(0, count + 1);
        if (1..=count).contains(&row) { vec![row] } else { Vec::new() }
    };
    match way {
        Way::Forward(0) | Way::Backward(0) | Way::Relative(0) => one(*at, at),
        Way::All => model(Way::Forward(i64::MAX), at, count),
        Way::Forward(by) if by < 0 => model(Way::Backward(-by), at, count),
        Way::Backward(by) if by < 0 => model(Way::Forward(-by), at, count),
        Way::Forward(by) => {
            let to = at.saturating_add(by);
            let given = (*at + 1..=to.min(count)).collect();
            *at = to.min(count + 1);
            given
        }
        Way::Backward(by) => {
            let to = at.saturating_sub(by);
            let given = (to.max(1)..*at).rev().collect();
            *at = to.max(0);
            given
        }
        Way::Absolute(row) if row < 0 => one((count + 1 + row).max(0), at),
        Way::Absolute(row) => one(row, at),
        Way::Relative(by) => one(at.saturating_add(by), at),
    }
}

#[test]
fn cursors_go_where_the_model_goes() {
    let count = 20_000;
    let world = numbers(count);
    let mut random = Random(11);
    let query = "SELECT x, 'row ' || x AS text FROM n ORDER BY x";
    for (declare, memory) in [
        ("SCROLL CURSOR", "16MB"),
        ("SCROLL CURSOR", "0"),
        ("SCROLL CURSOR WITH HOLD", "100kB"),
        ("CURSOR", "16MB"),
        ("CURSOR WITH HOLD", "0"),
    ] {
        world.run(&format!("SET millrace.cursor_memory = '{memory}'"));
        world.run("BEGIN");
        world.run(&format!("DECLARE c {declare} FOR {query}"));
        let (scrolls, held) = (declare.contains("SCROLL"), declare.contains("HOLD"));
        let (mut at, mut steps) = (0, 0);
        while steps < 60 {
            steps += 1;
            if held && steps == 10 {
                world.run("COMMIT");
            }
            let by = match random.below(3) {
                0 => random.below(4) as i64,
                1 => random.below(300) as i64,
                _ => random.below(count as u64 + 10) as i64,
            };
            let by = if scrolls && random.below(2) == 0 { -by } else { by };
            let (way, words) = match random.below(if scrolls { 5 } else { 3 }) {
                0 => (Way::Forward(by), format!("FORWARD {by}")),
                1 => (Way::Relative(by), format!("RELATIVE {by}")),
                2 if scrolls => (Way::Absolute(by), format!("ABSOLUTE {by}")),
                2 => (Way::Absolute(at + by), format!("ABSOLUTE {}", at + by)),
                3 => (Way::Backward(by), format!("BACKWARD {by}")),
                _ => (Way::Backward(i64::MAX), "BACKWARD ALL".to_string()),
            };
            // What stands on a row and keeps none cannot give it again.
            let again =
                matches!(way, Way::Forward(0) | Way::Relative(0)) || way == Way::Absolute(at);
            if !scrolls && again {
                continue;
            }
            let expected = model(way, &mut at, count);
            if random.below(3) == 0 {
                let tag = world.run(&format!("MOVE {words} FROM c"));
                assert_eq!(tag, format!("MOVE {}", expected.len()), "{declare}: {words}");
                continue;
            }
            let given = rows_of(&world, &format!("FETCH {words} FROM c"));
            let expected: Vec<String> =
                expected.iter().map(|row| format!("{row} | row {row}")).collect();
            assert_eq!(given, expected, "{declare}: {words}");
        }
        let kept = "SELECT memory_bytes > 0, spilled_bytes > 0 FROM sys.cursors";
        match (scrolls || held, memory) {
            (true, "16MB") => world.check(kept, &["true | false"]),
            // What was read before COMMIT is not kept of a cursor that goes forward only.
            (true, _) if scrolls => assert!(rows_of(&world, kept)[0].ends_with("true")),
            _ => {}
        }
        world.run("CLOSE c");
        world.run("ROLLBACK");
        world.check("SELECT count(*) FROM sys.cursors", &["0"]);
        let until = std::time::Instant::now() + Duration::from_secs(60);
        while world
            .engine
            .pools()
            .usage(&world.engine.db().stats())
            .iter()
            .any(|pool| pool.name == "queries" && pool.used > 0)
        {
            assert!(std::time::Instant::now() < until, "memory of a closed cursor is still held");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn held_cursors_outlive_their_block() {
    let world = numbers(5);
    world.run("BEGIN");
    world.run("DECLARE c CURSOR WITH HOLD FOR SELECT x FROM n ORDER BY x");
    world.run("DECLARE gone CURSOR FOR SELECT x FROM n");
    world.check("FETCH 2 FROM c", &["1", "2"]);
    world.run("INSERT INTO n (time, k, x) VALUES ('2026-01-01', 'a', 6)");
    world.run("COMMIT");
    assert_eq!(world.engine.queries_running(), 0);
    world.check("SELECT name, is_holdable FROM pg_cursors", &["c | true"]);
    world.check("FETCH 1 FROM c", &["3"]);
    assert_eq!(world.fails("FETCH PRIOR FROM c").code, "55000");
    assert_eq!(columns(&world.session, "FETCH 1 FROM c"), ["x"]);
    world.run("BEGIN");
    assert_eq!(world.fails("DECLARE c CURSOR FOR SELECT 1").code, "42P03");
    world.run("ROLLBACK");
    world.check("FETCH ALL FROM c", &["4", "5"]);
    world.run("CLOSE c");
    assert_eq!(world.fails("FETCH c").code, "34000");
    // Outside of a block, and in the block of a text.
    world.run("DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT x FROM n ORDER BY x");
    world.check("FETCH LAST FROM c", &["6"]);
    world.session.begin_implicit();
    world.run("DECLARE d CURSOR WITH HOLD FOR SELECT x FROM n ORDER BY x");
    block_on(world.session.end_implicit()).unwrap();
    world.check("FETCH 1 FROM d", &["1"]);
    world.run("CLOSE ALL");
    // A block that is rolled back takes its cursors along, and no others.
    world.run("DECLARE c CURSOR WITH HOLD FOR SELECT x FROM n ORDER BY x");
    world.run("BEGIN");
    world.run("DECLARE d CURSOR WITH HOLD FOR SELECT x FROM n ORDER BY x");
    world.run("ROLLBACK");
    assert_eq!(world.fails("FETCH d").code, "34000");
    world.check("FETCH 1 FROM c", &["1"]);
    world.run("DISCARD ALL");
    assert_eq!(world.fails("FETCH c").code, "34000");
}

#[test]
fn what_a_held_cursor_meets_fails_the_commit() {
    let world = numbers(30_000);
    world.run("BEGIN");
    world.run(
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1 / (x - 25000) FROM n WHERE k = 'a' ORDER BY time",
    );
    world.run("INSERT INTO n (time, k, x) VALUES ('2026-01-01', 'b', 1)");
    assert_eq!(world.fails("COMMIT").code, "22012");
    world.run("ROLLBACK");
    world.check("SELECT count(*) FROM n WHERE k = 'b'", &["0"]);
    assert_eq!(
        world.fails("DECLARE c CURSOR WITH HOLD FOR SELECT 1 / (x - 25000) FROM n").code,
        "22012"
    );
    assert_eq!(world.fails("FETCH c").code, "34000");
}

#[test]
fn spilled_rows_have_a_cap() {
    let options = QueryOptions { spill_bytes_max: 100_000, ..QueryOptions::default() };
    let world = World::limited(options);
    world.run("SET millrace.cursor_memory = 0");
    let error = world.fails(
        "DECLARE c CURSOR WITH HOLD FOR SELECT value, repeat('x', 100) FROM generate_series(1, 20000) AS value",
    );
    assert_eq!(error.code, "53100", "{error:?}");
    world.run("DECLARE c CURSOR WITH HOLD FOR SELECT value FROM generate_series(1, 100) AS value");
    world.check("FETCH 1 FROM c", &["1"]);
}

#[test]
fn cursors_are_counted() {
    let world = numbers(3);
    for n in 0..100 {
        world.run(&format!("DECLARE c{n} CURSOR WITH HOLD FOR SELECT x FROM n"));
    }
    assert_eq!(world.fails("DECLARE more CURSOR WITH HOLD FOR SELECT x FROM n").code, "54000");
    world.run("BEGIN");
    assert_eq!(world.fails("DECLARE more CURSOR FOR SELECT x FROM n").code, "54000");
    world.run("ROLLBACK");
    world.check("SELECT count(*), sum(rows_kept) FROM sys.cursors", &["100 | 300"]);
    world.run("CLOSE ALL");
    world.check("SELECT count(*) FROM sys.cursors", &["0"]);
}
