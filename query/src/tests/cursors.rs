//! Cursors: DECLARE, FETCH, MOVE, CLOSE.

use std::time::Duration;

use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use futures::executor::block_on;

use super::harness::*;
use crate::{Outcome, Session};

/// A world with a table of numbers in order, one row a second.
fn numbers(count: i64) -> World {
    let world = World::new();
    world.run("CREATE TABLE n (time timestamptz, k text, x bigint, PRIMARY KEY (k, time))");
    world.run(&format!(
        "INSERT INTO n (time, k, x) SELECT to_timestamp(value), 'a', value FROM generate_series(1, {count})"
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
        ("DECLARE c SCROLL CURSOR FOR SELECT 1", "0A000"),
        ("DECLARE c BINARY CURSOR FOR SELECT 1", "0A000"),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "0A000"),
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
