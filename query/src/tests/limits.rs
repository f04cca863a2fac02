//! Memory, size and hostile statements: refused clearly, and the session lives on.

use std::sync::Arc;

use futures::executor::block_on;
use tsdb::io::MemoryStorage;
use tsdb::{Db, Options};

use super::harness::*;
use crate::{Engine, QueryOptions};

#[test]
fn memory_of_queries_is_limited() {
    let options = Options { background: false, ..Options::default() };
    let db = Db::open(Arc::new(MemoryStorage::new()), options).unwrap();
    let options = QueryOptions {
        memory_bytes_max: 4 << 20,
        spill_bytes_max: 0,
        threads: 1,
        ..QueryOptions::default()
    };
    let engine = Engine::new(db, Arc::new(Users::default()), options).unwrap();
    let session = engine.session(identity("admin", true), &[]);
    let hungry = "SELECT value, count(*) FROM generate_series(1, 3000000) AS value GROUP BY value
                  ORDER BY 2, 1 LIMIT 1 OFFSET 100000";
    let error = fails(&session, hungry);
    assert_eq!(error.code, "53200", "{error:?}");
    assert_eq!(run(&session, "SELECT 1"), "SELECT 1");
}

#[test]
fn long_and_deep_statements_are_refused_or_run() {
    let world = World::with_presses();
    let many_ors: Vec<String> = (0..300).map(|i| format!("strokes = {i}")).collect();
    world.check(&format!("SELECT count(*) FROM press WHERE {}", many_ors.join(" OR ")), &["6"]);
    let nested = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
    assert_eq!(world.fails(&nested).code, "54001");
    for word in ["+", "||", " AND ", "::int::", " UNION SELECT "] {
        let long = format!("SELECT {}", vec!["1"; 150_000].join(word));
        assert_eq!(world.fails(&long).code, "54001", "{word}");
    }
    let chain =
        format!("INSERT INTO press (time, strokes) VALUES (now(), {})", vec!["1"; 300].join("+"));
    assert_eq!(world.run(&chain), "INSERT 0 1");
    world.run("SELECT strokes FROM press WHERE strokes = 300");
    let in_list: Vec<String> = (0..5000).map(|i| format!("'d{i}'")).collect();
    world.check(
        &format!("SELECT count(*) FROM press WHERE device IN ({}, 'p1')", in_list.join(",")),
        &["3"],
    );
    assert_eq!(world.fails("SELECT $99999999").code, "42P02");
    world.run("SELECT 1");
}

#[test]
fn a_transaction_holds_only_so_much() {
    let world = World::new();
    world.run("CREATE TABLE t (time timestamptz PRIMARY KEY, s text)");
    world.run("BEGIN");
    let insert = "INSERT INTO t SELECT '2026-01-01'::timestamptz + value * interval '1 second',
        repeat('x', 1000) FROM generate_series(1, 40000) AS value";
    world.run(insert);
    assert_eq!(world.fails(insert).code, "54000");
    world.run("ROLLBACK");
    world.check("SELECT count(*) FROM t", &["0"]);
}

#[test]
fn futures_and_sessions_may_cross_threads() {
    fn crosses<T: Send>(value: T) -> T {
        value
    }
    fn shared<T: Send + Sync>(_: &T) {}
    let world = World::new();
    shared(&world.session);
    let statement = &world.session.parse("SELECT 1").unwrap()[0];
    shared(statement);
    block_on(crosses(world.session.describe(statement, &[]))).unwrap();
    block_on(crosses(world.session.execute(statement, &[]))).unwrap();
}
