//! Sequences: numbers that never come twice, names in schemas, who may take them.

use std::collections::BTreeSet;
use std::sync::Arc;

use tsdb::io::MemoryStorage;
use tsdb::{Db, Options};

use crate::tests::harness::*;

fn options() -> Options {
    Options { background: false, shards: 2, ..Options::default() }
}

#[test]
fn no_number_comes_twice_after_a_start() {
    let mut storage = Arc::new(MemoryStorage::new());
    let mut given = BTreeSet::new();
    for round in 0..6i64 {
        let world = World::over(Db::open(storage.clone(), options()).unwrap());
        if round == 0 {
            world.run("CREATE SEQUENCE s INCREMENT 3; CREATE TABLE t (id serial PRIMARY KEY)");
        }
        for _ in 0..(round * 20) {
            let number = rows(&world.session, "SELECT nextval('s')", &[]).remove(0);
            assert!(given.insert(number.clone()), "{number} comes twice");
        }
        world.run("INSERT INTO t SELECT FROM generate_series(1, 70)");
        // The power goes.
        storage = Arc::new(storage.crash(round as u64));
    }
    let world = World::over(Db::open(storage, options()).unwrap());
    world.check("SELECT count(*), count(DISTINCT id) FROM t", &["420 | 420"]);
    world.run("ALTER SEQUENCE s INCREMENT 1 RESTART 1000000");
    world.check("SELECT nextval('s'), nextval('s')", &["1000000 | 1000001"]);
}

#[test]
fn many_sessions_take_numbers_at_once() {
    let world = World::new();
    world.run("CREATE SEQUENCE s");
    let taken: Vec<Vec<String>> = std::thread::scope(|scope| {
        let take = || {
            let session = world.session_of("admin");
            let one = |_| rows(&session, "SELECT nextval('s') FROM generate_series(1, 7)", &[]);
            (0..30).flat_map(one).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let all: BTreeSet<&String> = taken.iter().flatten().collect();
    assert_eq!(all.len(), 4 * 30 * 7);
}

#[test]
fn sequences_follow_their_tables_into_schemas() {
    let world = World::new();
    world.run("CREATE SCHEMA plant; CREATE TABLE plant.part (id serial PRIMARY KEY, n int)");
    world.run("INSERT INTO plant.part (n) VALUES (1), (2)");
    world.check("SELECT nextval('plant.part_id_seq')", &["3"]);
    world.check("SELECT pg_get_serial_sequence('plant.part', 'id')", &["plant.part_id_seq"]);
    world.check(
        "SELECT schemaname, sequencename, last_value FROM pg_sequences",
        &["plant | part_id_seq | 3"],
    );
    world.run("CREATE TABLE plant.lot (id bigint DEFAULT nextval('plant.part_id_seq'))");
    world.run("ALTER SCHEMA plant RENAME TO works; INSERT INTO works.lot DEFAULT VALUES");
    world.check("SELECT id FROM works.lot", &["4"]);
    world.check(
        "SELECT column_default FROM information_schema.columns WHERE table_name = 'lot'",
        &["nextval('works.part_id_seq'::regclass)"],
    );
    world.run("ALTER TABLE works.part SET SCHEMA public");
    world.check("SELECT nextval('part_id_seq')", &["5"]);
    assert_eq!(world.fails("CREATE SEQUENCE works.s").code, "0A000");
    assert_eq!(world.fails("DROP TABLE part").code, "2BP01");
    world.run("SET search_path = works, public");
    world.check("SELECT nextval('part_id_seq')", &["6"]);
    assert_eq!(world.fails("CREATE SEQUENCE s").code, "0A000");
}

#[test]
fn who_may_take_numbers() {
    let world = World::new();
    world.run("CREATE ROLE clerk LOGIN NOREAD NOWRITE NODEFINE");
    world.run("CREATE SEQUENCE s; CREATE TABLE t (id serial PRIMARY KEY, n int)");
    let clerk = world.session_as("clerk");
    for sql in ["SELECT nextval('s')", "SELECT setval('s', 7)", "SELECT nextval('t_id_seq')"] {
        assert_eq!(fails(&clerk, sql).code, "42501", "{sql}");
    }
    assert_eq!(fails(&clerk, "SELECT last_value FROM s").code, "42501");
    assert_eq!(fails(&clerk, "CREATE SEQUENCE own").code, "42501");
    assert_eq!(fails(&clerk, "DROP SEQUENCE s").code, "42501");
    world.run("GRANT INSERT ON t TO clerk");
    assert_eq!(rows(&clerk, "SELECT nextval('t_id_seq')", &[]), ["1"]);
    run(&clerk, "INSERT INTO t (n) VALUES (1)");
    assert_eq!(rows(&clerk, "SELECT currval('t_id_seq')", &[]), ["2"]);
    assert_eq!(fails(&clerk, "SELECT nextval('s')").code, "42501");
}

#[test]
fn temporary_tables_have_sequences_of_their_own() {
    let world = World::new();
    world.run(
        "CREATE TABLE t (id serial); CREATE TEMP TABLE t (id serial); INSERT INTO t DEFAULT VALUES",
    );
    world.check("SELECT pg_get_serial_sequence('t', 'id')", &["public.t_id_seq1"]);
    world.check("SELECT currval('t_id_seq1')", &["1"]);
    let other = world.session_of("admin");
    assert_eq!(fails(&other, "SELECT nextval('t_id_seq1')").code, "42P01");
    world.run("DISCARD ALL");
    assert_eq!(world.fails("SELECT nextval('t_id_seq1')").code, "42P01");
    assert_eq!(world.fails("SELECT lastval()").code, "55000");
}

#[test]
fn rows_of_casts_and_numbers_are_of_one_type() {
    let world = World::new();
    world.run("CREATE SEQUENCE s; CREATE TABLE t (id uuid, n int, name text)");
    let one = "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid";
    world.run(&format!(
        "INSERT INTO t VALUES ({one}, nextval('s'), 'a'::varchar), ({one}, nextval('s'), 'b'::varchar)"
    ));
    world.check("SELECT n, name FROM t ORDER BY n", &["1 | a", "2 | b"]);
}

#[test]
fn a_statement_that_is_described_takes_no_number() {
    let world = World::new();
    world.run("CREATE SEQUENCE s; CREATE TABLE t (id int DEFAULT nextval('s'), n int)");
    world.check("SELECT nextval('s')", &["1"]);
    assert_eq!(described(&world.session, "SELECT nextval('s')").len(), 1);
    assert_eq!(described(&world.session, "INSERT INTO t (n) VALUES (1) RETURNING id").len(), 1);
    world.run("EXPLAIN SELECT nextval('s')");
    world.run("ALTER TABLE t ALTER n SET DEFAULT nextval('s')");
    world.check("SELECT nextval('s')", &["2"]);
}

#[test]
fn cascade_takes_defaults_along() {
    let world = World::new();
    let told = |world: &World| -> Vec<String> {
        world.session.take_warnings().into_iter().map(|notice| notice.message).collect()
    };
    world.run("CREATE TABLE a (id serial PRIMARY KEY, v int)");
    world.run("CREATE TABLE b (id int PRIMARY KEY DEFAULT nextval('a_id_seq'), v int)");
    world.run("INSERT INTO b (v) VALUES (1)");
    let error = world.fails("DROP TABLE a");
    assert_eq!(error.code, "2BP01");
    assert!(error.hint.is_some());
    world.run("DROP TABLE a CASCADE");
    assert_eq!(told(&world), ["drop cascades to default value for column id of table b"]);
    assert_eq!(world.fails("INSERT INTO b (v) VALUES (2)").code, "23502");
    world.check("SELECT id, v FROM b", &["1 | 1"]);

    world.run("CREATE SEQUENCE s");
    world.run("ALTER TABLE b ALTER id SET DEFAULT nextval('s'), ALTER v SET DEFAULT nextval('s')");
    assert_eq!(world.fails("DROP SEQUENCE s").code, "2BP01");
    world.run("DROP SEQUENCE s CASCADE");
    assert_eq!(told(&world), ["drop cascades to 2 other objects"]);

    world.run("CREATE TABLE a (id serial, v int)");
    world.run("ALTER TABLE b ALTER id SET DEFAULT nextval('a_id_seq')");
    world.run("ALTER TABLE a ALTER v SET DEFAULT nextval('a_id_seq')");
    assert_eq!(world.fails("ALTER TABLE a DROP COLUMN id").code, "2BP01");
    world.run("ALTER TABLE a DROP COLUMN id CASCADE");
    assert_eq!(told(&world), ["drop cascades to 2 other objects"]);
    world.run("INSERT INTO a DEFAULT VALUES");
    world.check("SELECT v FROM a", &["∅"]);
}
