//! Implicit blocks and savepoints.

use futures::StreamExt;
use futures::executor::block_on;

use super::harness::*;
use crate::{Outcome, QueryResult, Session, TransactionStatus};

const INSERT_A: &str = "INSERT INTO press (time, device) VALUES ('2026-03-01', 'a')";
const INSERT_B: &str = "INSERT INTO press (time, device) VALUES ('2026-03-01', 'b')";
const COUNT: &str = "SELECT count(*) FROM press";

/// Runs a text as the wire does; the last count that a statement has shown.
fn text(session: &Session, sql: &str) -> QueryResult<String> {
    let mut shown = String::new();
    for statement in session.parse(sql)? {
        session.begin_implicit();
        let done = block_on(async {
            match session.execute(&statement, &[]).await? {
                Outcome::Rows { mut stream, .. } => {
                    while let Some(batch) = stream.next().await {
                        let batch = batch?;
                        let column = arrow::util::pretty::pretty_format_batches(&[batch])?;
                        shown = column.to_string().lines().nth(3).unwrap_or("").to_string();
                    }
                    Ok(())
                }
                _ => Ok(()),
            }
        });
        if let Err(error) = done {
            session.abort_implicit();
            return Err(error);
        }
    }
    block_on(session.end_implicit())?;
    let digits = shown.chars().filter(char::is_ascii_digit).collect();
    Ok(digits)
}

#[test]
fn a_text_commits_together() {
    let world = World::with_presses();
    let before = world.engine.db().snapshot().position();
    text(&world.session, &format!("{INSERT_A}; {INSERT_B}")).unwrap();
    assert_eq!(world.engine.db().snapshot().position(), before + 1);
    world.check(COUNT, &["8"]);
    assert_eq!(world.session.transaction(), TransactionStatus::Idle);
}

#[test]
fn an_error_takes_back_the_text() {
    let world = World::with_presses();
    for wrong in ["SELECT nothing", "SELECT 1/0", "INSERT INTO press (device) VALUES ('x')"] {
        text(&world.session, &format!("{INSERT_A}; SET application_name = 'x'; {wrong}"))
            .unwrap_err();
        world.check(COUNT, &["6"]);
        world.check("SHOW application_name", &[""]);
        assert_eq!(world.session.transaction(), TransactionStatus::Idle);
    }
}

#[test]
fn a_read_of_what_was_written_commits_before() {
    let world = World::with_presses();
    world.run("CREATE TABLE other (time timestamptz PRIMARY KEY, v int)");
    let shown = text(&world.session, &format!("{INSERT_A}; {COUNT}"));
    assert_eq!(shown.unwrap(), "7");
    let shown = text(&world.session, &format!("{INSERT_B}; WITH w AS ({COUNT}) SELECT * FROM w"));
    assert_eq!(shown.unwrap(), "8");
    // A read of another table leaves all in one piece.
    let sql = format!("{INSERT_A}; SELECT count(*) FROM other; SELECT nothing");
    let position = world.engine.db().snapshot().position();
    text(&world.session, &sql).unwrap_err();
    assert_eq!(world.engine.db().snapshot().position(), position);
    // What was committed for a read stays, as documented.
    let sql = "INSERT INTO press (time, device) VALUES ('2026-03-02', 'c');
        SELECT count(*) FROM press; SELECT nothing";
    text(&world.session, sql).unwrap_err();
    world.check(COUNT, &["9"]);
    let copied = "INSERT INTO other (time, v) VALUES ('2026-01-01', 1);
        INSERT INTO other SELECT time + interval '1 day', v + 1 FROM other;
        EXPLAIN ANALYZE SELECT * FROM other; SELECT sum(v) FROM public.other";
    assert_eq!(text(&world.session, copied).unwrap(), "3");
}

#[test]
fn definitions_run_by_themselves() {
    let world = World::with_presses();
    let sql = format!(
        "{INSERT_A}; CREATE TABLE made (time timestamptz PRIMARY KEY, v int);
         INSERT INTO made VALUES (now(), 1); VACUUM; SELECT count(*) FROM made"
    );
    assert_eq!(text(&world.session, &sql).unwrap(), "1");
    let sql = format!("{INSERT_B}; DROP TABLE made; {INSERT_B}; SELECT nothing");
    text(&world.session, &sql).unwrap_err();
    world.check(COUNT, &["8"]);
    assert_eq!(world.fails("SELECT * FROM made").code, "42P01");
    // After BEGIN the rules of blocks hold.
    let sql = "BEGIN; DROP TABLE press";
    assert_eq!(text(&world.session, sql).unwrap_err().code, "25001");
    assert_eq!(world.session.transaction(), TransactionStatus::Failed);
    world.run("ROLLBACK");
}

#[test]
fn begin_and_commit_within_a_text() {
    let world = World::with_presses();
    // BEGIN takes in what came before it.
    text(&world.session, &format!("{INSERT_A}; BEGIN; {INSERT_B}")).unwrap();
    assert_eq!(world.session.transaction(), TransactionStatus::InTransaction);
    world.run("ROLLBACK");
    world.check(COUNT, &["6"]);
    // COMMIT keeps what came before it, whatever follows.
    text(&world.session, &format!("{INSERT_A}; COMMIT; {INSERT_B}; SELECT nothing")).unwrap_err();
    world.check(COUNT, &["7"]);
    text(&world.session, &format!("BEGIN; {INSERT_B}; COMMIT; SELECT nothing")).unwrap_err();
    world.check(COUNT, &["8"]);
    text(&world.session, "INSERT INTO press (time) VALUES ('2026-04-01'); ROLLBACK; SELECT 1")
        .unwrap();
    world.check(COUNT, &["8"]);
    assert_eq!(world.session.transaction(), TransactionStatus::Idle);
}

#[test]
fn savepoints_mark_what_can_be_taken_back() {
    let world = World::with_presses();
    world.run("BEGIN");
    world.run(INSERT_A);
    world.run("SET application_name = 'one'; SAVEPOINT s");
    world.run(INSERT_B);
    world.run("SET application_name = 'two'");
    world.fails("SELECT nothing");
    assert_eq!(world.fails("SAVEPOINT other").code, "25P02");
    assert_eq!(world.fails("RELEASE s").code, "25P02");
    assert_eq!(world.run("ROLLBACK TO SAVEPOINT s"), "ROLLBACK");
    assert_eq!(world.session.transaction(), TransactionStatus::InTransaction);
    world.check("SHOW application_name", &["one"]);
    // Again from the same mark, and one within it.
    world.run(INSERT_B);
    world.run("SAVEPOINT inner_one; INSERT INTO press (time) VALUES ('2026-05-01')");
    world.run("ROLLBACK TO s");
    assert_eq!(world.fails("ROLLBACK TO inner_one").code, "3B001");
    world.run("ROLLBACK WORK TO SAVEPOINT s; RELEASE SAVEPOINT s; COMMIT");
    world.check(COUNT, &["7"]);
    world.check("SELECT count(*) FROM press WHERE device = 'a'", &["1"]);
}

#[test]
fn savepoints_need_a_block() {
    let world = World::with_presses();
    for sql in ["SAVEPOINT s", "RELEASE s", "ROLLBACK TO s"] {
        assert_eq!(world.fails(sql).code, "25P01", "{sql}");
        assert_eq!(text(&world.session, &format!("{INSERT_A}; {sql}")).unwrap_err().code, "25P01");
        world.check(COUNT, &["6"]);
    }
    world.run("BEGIN; SAVEPOINT a; SAVEPOINT a");
    world.run(INSERT_A);
    // A table written after the mark alone may be read again.
    assert_eq!(world.fails(COUNT).code, "0A000");
    world.run("ROLLBACK TO a");
    world.check(COUNT, &["6"]);
    world.run("RELEASE a; RELEASE a");
    assert_eq!(world.fails("RELEASE a").code, "3B001");
    world.run("ROLLBACK");
}
