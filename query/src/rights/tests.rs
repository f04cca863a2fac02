//! What roles may do, see and are told.

mod members;
mod mixed;
mod policies;
mod random;
mod schemas;
mod written;

use crate::Session;
use crate::tests::harness::{World, fails, rows, run, try_run};

/// A world with tables of both kinds, a view, and roles without attributes.
fn world() -> World {
    let world = World::with_presses();
    world.run("CREATE TABLE plants (id int PRIMARY KEY, name text, secret text)");
    world.run("INSERT INTO plants VALUES (1, 'north', 'a'), (2, 'south', 'b')");
    world.run("CREATE VIEW hot AS SELECT device, temperature FROM press WHERE temperature > 21");
    for role in ["ann", "bob", "eve"] {
        world.run(&format!("CREATE ROLE {role} LOGIN"));
    }
    world
}

fn denied(session: &Session, sql: &str, of: &str) {
    let error = fails(session, sql);
    assert_eq!(error.code, "42501", "{sql}: {error:?}");
    assert_eq!(error.message, format!("permission denied for {of}"), "{sql}");
}

#[test]
fn nothing_is_read_without_a_right() {
    let world = world();
    let ann = world.session_as("ann");
    for sql in [
        "SELECT * FROM press",
        "SELECT device FROM press WHERE device = 'p1'",
        "SELECT count(*) FROM press",
        "SELECT avg(temperature) FROM press",
        "SELECT date_bin('1 hour', time) AS b, max(strokes) FROM press GROUP BY b",
        "SELECT DISTINCT ON (device) * FROM press ORDER BY device, time DESC",
        "SELECT 1 FROM press LIMIT 0",
        "SELECT * FROM plants p JOIN press ON true",
        "WITH a AS (SELECT * FROM press) SELECT count(*) FROM a",
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM press)",
        "SELECT (SELECT max(time) FROM press)",
        "SELECT 1 UNION ALL SELECT strokes FROM press",
        "EXPLAIN SELECT * FROM press",
        "EXPLAIN ANALYZE SELECT avg(temperature) FROM press",
        "COPY press TO STDOUT",
        "COPY (SELECT time FROM press) TO STDOUT",
    ] {
        let error = fails(&ann, sql);
        assert_eq!(error.code, "42501", "{sql}: {error:?}");
    }
    denied(&ann, "SELECT * FROM press", "table press");
    denied(&ann, "SELECT id FROM plants WHERE id = 1", "table plants");
    denied(&ann, "SELECT * FROM hot", "view hot");
    denied(&ann, "BEGIN; DECLARE c CURSOR FOR SELECT * FROM press", "table press");
    run(&ann, "ROLLBACK");
    // Names and types are no secret, and the catalogue is open.
    assert_eq!(fails(&ann, "SELECT nothing FROM press").code, "42703");
    assert_eq!(rows(&ann, "SELECT count(*) FROM pg_class WHERE relname = 'press'", &[]), ["1"]);
    assert_eq!(rows(&ann, "SELECT 1 + 1", &[]), ["2"]);
    for (what, of) in [("press", "TABLE press"), ("plants", "plants"), ("hot", "public.hot")] {
        world.run(&format!("GRANT SELECT ON {of} TO ann"));
        assert!(try_run(&ann, &format!("SELECT * FROM {what}")).is_ok(), "{what}");
        world.run(&format!("REVOKE SELECT ON {of} FROM ann"));
        assert_eq!(fails(&ann, &format!("SELECT * FROM {what}")).code, "42501", "{what}");
    }
    world.run("ALTER ROLE ann READ");
    let ann = world.session_as("ann");
    assert_eq!(run(&ann, "SELECT * FROM press, plants, hot"), "SELECT 48");
}

#[test]
fn columns_count_that_are_used() {
    let world = world();
    let ann = world.session_as("ann");
    world.run("GRANT SELECT (device, temperature) ON press TO ann");
    world.run("GRANT SELECT (id, name) ON plants TO PUBLIC");
    for sql in [
        "SELECT device, max(temperature) FROM press GROUP BY device",
        "SELECT count(*) FROM press",
        "SELECT p.device FROM press p WHERE p.temperature > 21 ORDER BY p.temperature",
        "SELECT name FROM plants WHERE id = 1",
        "SELECT (SELECT name FROM plants WHERE id = 1) FROM press",
        "SELECT a.device FROM press a JOIN plants b ON a.device = b.name",
        "SELECT device FROM press WHERE EXISTS (SELECT 1 FROM plants WHERE name = press.device)",
        "SELECT x.d FROM (SELECT device AS d FROM press) x",
    ] {
        assert!(try_run(&ann, sql).is_ok(), "{sql}: {:?}", try_run(&ann, sql));
    }
    for sql in [
        "SELECT * FROM press",
        "SELECT device FROM press WHERE strokes > 1",
        "SELECT device FROM press ORDER BY time",
        "SELECT device, temperature__quality FROM press WHERE site = 'north'",
        "SELECT x.device FROM (SELECT * FROM press) x",
        "SELECT secret FROM plants WHERE id = 1",
        "SELECT name FROM plants WHERE secret = 'a'",
        "SELECT device FROM press WHERE EXISTS (SELECT 1 FROM plants WHERE name = press.note)",
        "SELECT a.device FROM press a JOIN plants b ON a.note = b.name",
        "SELECT device FROM press GROUP BY device HAVING max(strokes) > 1",
        "SELECT last(temperature, time) FROM press",
    ] {
        assert_eq!(fails(&ann, sql).code, "42501", "{sql}");
    }
}

#[test]
fn views_read_in_the_name_of_their_owner() {
    let world = world();
    let ann = world.session_as("ann");
    world.run("GRANT SELECT ON hot TO ann");
    assert_eq!(run(&ann, "SELECT * FROM hot"), "SELECT 4");
    assert_eq!(run(&ann, "SELECT device FROM hot WHERE temperature > 30"), "SELECT 1");
    world.run("REVOKE ALL ON hot FROM ann; GRANT SELECT (device) ON hot TO ann");
    assert_eq!(run(&ann, "SELECT device FROM hot"), "SELECT 4");
    denied(&ann, "SELECT temperature FROM hot", "view hot");
    // What a view of somebody reads, its owner must be let read.
    world.run("GRANT CREATE ON SCHEMA public TO bob; GRANT SELECT (device) ON press TO bob");
    let bob = world.session_as("bob");
    run(&bob, "CREATE VIEW devices AS SELECT DISTINCT device FROM press");
    run(&bob, "CREATE VIEW notes AS SELECT note FROM press");
    assert_eq!(run(&bob, "SELECT * FROM devices"), "SELECT 3");
    denied(&bob, "SELECT * FROM notes", "table press");
    run(&bob, "GRANT SELECT ON devices, notes TO ann");
    assert_eq!(run(&ann, "SELECT * FROM devices"), "SELECT 3");
    denied(&ann, "SELECT * FROM notes", "table press");
    world.run("REVOKE SELECT (device) ON press FROM bob");
    denied(&ann, "SELECT * FROM devices", "table press");
    // Others may not put another text into it, and it is known by its number.
    world.run("CREATE ROLE def LOGIN DEFINE");
    let def = world.session_as("def");
    let error = fails(&def, "CREATE OR REPLACE VIEW hot AS SELECT device, temperature FROM press");
    assert_eq!((error.code, &error.message[..]), ("42501", "must be owner of view hot"));
    world.run("DROP VIEW hot; CREATE VIEW hot AS SELECT device FROM press");
    denied(&ann, "SELECT device FROM hot", "view hot");
}

#[test]
fn a_continuous_aggregate_is_what_it_stores() {
    let world = world();
    let cagg = "WITH (continuous, refresh_every = 'none') AS
        SELECT time_bucket('1 hour', time) AS hour, device, max(temperature) AS t
        FROM press GROUP BY hour, device";
    world.run("GRANT CREATE ON SCHEMA public TO bob");
    let (ann, bob) = (world.session_as("ann"), world.session_as("bob"));
    denied(&bob, &format!("CREATE MATERIALIZED VIEW hourly {cagg}"), "table press");
    world.run("GRANT SELECT ON press TO bob");
    run(&bob, &format!("CREATE MATERIALIZED VIEW hourly {cagg}"));
    run(&bob, "REFRESH MATERIALIZED VIEW hourly");
    denied(&ann, "SELECT * FROM hourly", "materialized view hourly");
    run(&bob, "GRANT SELECT ON hourly TO ann");
    assert_eq!(run(&ann, "SELECT * FROM hourly"), "SELECT 4");
    // It goes on to show what its owner may read, and no more.
    world.run("REVOKE SELECT ON press FROM bob");
    denied(&ann, "SELECT * FROM hourly", "materialized view hourly");
    denied(&bob, "SELECT * FROM hourly", "materialized view hourly");
    world.run("GRANT SELECT ON press TO bob");
    assert_eq!(run(&ann, "SELECT * FROM hourly"), "SELECT 4");
    world.run("ALTER TABLE press ENABLE ROW LEVEL SECURITY");
    denied(&ann, "SELECT * FROM hourly", "materialized view hourly");
}

#[test]
fn changes_take_their_own_rights() {
    let world = world();
    let ann = world.session_as("ann");
    let press = |what: &str| format!("{what} ('2026-02-01', 'p9', 'north', 1)");
    let insert = press("INSERT INTO press (time, device, site, strokes) VALUES");
    let all = [
        (insert.as_str(), "INSERT", "press"),
        ("INSERT INTO plants VALUES (3, 'west', 'c')", "INSERT", "plants"),
        ("UPDATE press SET strokes = 5", "UPDATE", "press"),
        ("UPDATE plants SET secret = 'x'", "UPDATE", "plants"),
        ("DELETE FROM press", "DELETE", "press"),
        ("DELETE FROM plants", "DELETE", "plants"),
        ("TRUNCATE press", "TRUNCATE", "press"),
        ("TRUNCATE plants", "TRUNCATE", "plants"),
    ];
    for (sql, right, table) in all {
        denied(&ann, sql, &format!("table {table}"));
        world.run(&format!("GRANT ALL ON {table} TO ann; REVOKE {right} ON {table} FROM ann"));
        denied(&ann, sql, &format!("table {table}"));
        world.run(&format!("REVOKE ALL ON {table} FROM ann; GRANT {right} ON {table} TO ann"));
        assert!(try_run(&ann, sql).is_ok(), "{sql}: {:?}", try_run(&ann, sql));
        world.run(&format!("REVOKE ALL ON {table} FROM ann"));
    }
}

#[test]
fn what_a_change_reads_takes_the_right_to_read() {
    let world = world();
    let ann = world.session_as("ann");
    world.run("GRANT UPDATE (temperature), DELETE ON press TO ann");
    world.run("GRANT INSERT, UPDATE (name), DELETE ON plants TO ann");
    for sql in [
        "UPDATE press SET temperature = 1 WHERE device = 'p1'",
        "UPDATE press SET temperature = strokes",
        "UPDATE press SET temperature = 1 RETURNING device",
        "UPDATE press SET strokes = 1",
        "DELETE FROM press WHERE device = 'p1'",
        "DELETE FROM press RETURNING *",
        "UPDATE plants SET name = 'x' WHERE id = 1",
        "UPDATE plants SET name = secret",
        "UPDATE plants SET name = 'x' RETURNING name",
        "UPDATE plants SET secret = 'x'",
        "DELETE FROM plants WHERE id = 1",
        "INSERT INTO plants VALUES (1, 'x') RETURNING id",
        "INSERT INTO plants VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = excluded.name",
        "INSERT INTO plants SELECT strokes, device FROM press",
    ] {
        assert_eq!(fails(&ann, sql).code, "42501", "{sql}");
    }
    world.run("GRANT SELECT (id, name) ON plants TO ann");
    world.run("GRANT SELECT (device, temperature) ON press TO ann");
    for (sql, tag) in [
        ("UPDATE press SET temperature = temperature + 1 WHERE device = 'p1'", "UPDATE 3"),
        ("UPDATE press SET temperature = 1 WHERE device = 'p2' RETURNING device", "UPDATE 2"),
        ("UPDATE plants SET name = 'x' WHERE id = 1 RETURNING name", "UPDATE 1"),
        (
            "INSERT INTO plants (id, name) VALUES (1, 'y')
             ON CONFLICT (id) DO UPDATE SET name = excluded.name",
            "INSERT 0 1",
        ),
        ("DELETE FROM plants WHERE id = 2", "DELETE 1"),
        ("DELETE FROM press WHERE device = 'p3'", "DELETE 1"),
        ("UPDATE press SET temperature = 0", "UPDATE 5"),
        ("DELETE FROM plants", "DELETE 1"),
    ] {
        assert_eq!(run(&ann, sql), tag, "{sql}");
    }
    // With WRITE all rows may be changed, but not read.
    world.run("CREATE ROLE writer LOGIN WRITE");
    let writer = world.session_as("writer");
    assert_eq!(fails(&writer, "DELETE FROM press WHERE device = 'p1'").code, "42501");
    assert_eq!(run(&writer, "DELETE FROM press"), "DELETE 5");
}

#[test]
fn rights_hang_on_numbers() {
    let world = world();
    let ann = world.session_as("ann");
    world.run("GRANT SELECT ON press, plants TO ann");
    world.run("ALTER TABLE plants RENAME TO sites; ALTER TABLE sites RENAME COLUMN name TO called");
    assert_eq!(run(&ann, "SELECT called FROM sites"), "SELECT 2");
    world.run("DROP TABLE sites; CREATE TABLE sites (id int PRIMARY KEY)");
    denied(&ann, "SELECT * FROM sites", "table sites");
    world.run("DROP VIEW hot; DROP TABLE press");
    world.run("CREATE TABLE press (time timestamptz, device text, PRIMARY KEY (device, time))");
    denied(&ann, "SELECT * FROM press", "table press");
    // A column that comes in the place of another has none of its rights.
    world.run("GRANT SELECT (device) ON press TO ann; ALTER TABLE press ADD COLUMN x int");
    world.run("GRANT SELECT (x) ON press TO ann; ALTER TABLE press DROP COLUMN x");
    world.run("ALTER TABLE press ADD COLUMN x int");
    denied(&ann, "SELECT x FROM press", "table press");
    // Nor has a role that comes later under the name of another.
    world.run("GRANT SELECT ON press TO eve; DROP ROLE eve; CREATE ROLE eve LOGIN");
    denied(&world.session_as("eve"), "SELECT * FROM press", "table press");
}

#[test]
fn kept_plans_and_open_blocks_are_asked_again() {
    let world = world();
    let ann = world.session_as("ann");
    world.run("GRANT SELECT ON press, hot TO ann");
    let read = "SELECT device, temperature FROM hot WHERE temperature < 1000";
    let statement = ann.parse(read).unwrap().pop().unwrap();
    let again = || {
        let outcome = futures::executor::block_on(ann.execute(&statement, &[]));
        outcome.map(drop).map_err(|error| error.code)
    };
    assert_eq!((again(), again()), (Ok(()), Ok(())));
    world.run("REVOKE SELECT ON hot FROM ann");
    assert_eq!(again(), Err("42501"));
    world.run("GRANT SELECT ON hot TO ann");
    assert_eq!(again(), Ok(()));
    run(&ann, "BEGIN; SELECT * FROM press");
    world.run("REVOKE SELECT ON press FROM ann");
    denied(&ann, "SELECT * FROM press", "table press");
    run(&ann, "ROLLBACK");
}

#[test]
fn owners_define_and_others_do_not() {
    let world = world();
    let (ann, bob) = (world.session_as("ann"), world.session_as("bob"));
    let create = "CREATE TABLE own (id int PRIMARY KEY, x text)";
    denied(&ann, create, "schema public");
    denied(&ann, "CREATE VIEW v AS SELECT 1 AS a", "schema public");
    denied(&ann, "CREATE TABLE own AS SELECT 1 AS a", "schema public");
    world.run("GRANT CREATE ON SCHEMA public TO ann");
    run(&ann, create);
    run(&ann, "CREATE TABLE mine (time timestamptz, d text, x int, PRIMARY KEY (d, time))");
    // What is there already stays whose it was.
    run(&ann, "CREATE TABLE IF NOT EXISTS press (time timestamptz, d text, PRIMARY KEY (d, time))");
    run(&ann, "CREATE TABLE IF NOT EXISTS plants (id int PRIMARY KEY)");
    denied(&ann, "SELECT * FROM press, plants", "table press");
    run(&ann, "INSERT INTO own VALUES (1, 'a'); INSERT INTO mine VALUES (now(), 'a', 1)");
    assert_eq!(run(&ann, "SELECT * FROM own, mine"), "SELECT 1");
    run(&ann, "ALTER TABLE own ADD COLUMN y int; ALTER TABLE mine ADD COLUMN y int");
    run(&ann, "CREATE INDEX own_x ON own (x); COMMENT ON TABLE own IS 'a'; DROP INDEX own_x");
    for sql in [
        "ALTER TABLE own ADD COLUMN z int",
        "ALTER TABLE mine SET (retention = '1 day')",
        "DROP TABLE own",
        "DROP TABLE mine",
        "CREATE INDEX i ON own (x)",
        "COMMENT ON TABLE own IS 'b'",
        "ALTER TABLE own ENABLE ROW LEVEL SECURITY",
    ] {
        let error = fails(&bob, sql);
        assert_eq!(error.code, "42501", "{sql}");
        assert!(error.message.starts_with("must be owner of table"), "{sql}: {error:?}");
    }
    let refers = "CREATE TABLE child (id int PRIMARY KEY, own int REFERENCES own)";
    world.run("GRANT CREATE ON SCHEMA public TO bob");
    denied(&bob, refers, "table own");
    run(&ann, "GRANT REFERENCES (id) ON own TO bob");
    run(&bob, refers);
    denied(&bob, "SELECT * FROM own", "table own");
    let error = world.fails("DROP ROLE ann");
    assert_eq!(error.code, "2BP01");
    assert_eq!(error.detail.unwrap(), "owner of table mine\nowner of table own");
    world.run("ALTER TABLE own OWNER TO bob; ALTER TABLE mine OWNER TO admin; DROP ROLE ann");
    run(&bob, "ALTER TABLE own ADD COLUMN z int");
    run(&bob, "DROP TABLE child; DROP TABLE own");
    // A schema that may not be looked into hides what is in it.
    world.run("GRANT SELECT ON press TO bob; REVOKE USAGE ON SCHEMA public FROM PUBLIC");
    denied(&bob, "SELECT * FROM press", "schema public");
    world.run("GRANT USAGE ON SCHEMA public TO bob");
    assert_eq!(run(&bob, "SELECT * FROM press"), "SELECT 6");
}

#[test]
fn grants_are_given_on_and_taken() {
    let world = world();
    let (ann, bob) = (world.session_as("ann"), world.session_as("bob"));
    denied(&ann, "GRANT SELECT ON press TO bob", "table press");
    world.run("GRANT SELECT ON press TO ann");
    denied(&ann, "GRANT SELECT ON press TO bob", "table press");
    world.run("GRANT SELECT ON press TO ann WITH GRANT OPTION");
    denied(&ann, "GRANT SELECT, INSERT ON press TO bob", "table press");
    run(&ann, "GRANT ALL ON press TO bob WITH GRANT OPTION");
    assert_eq!(run(&bob, "SELECT * FROM press"), "SELECT 6");
    let error = fails(&bob, "GRANT SELECT ON press TO ann WITH GRANT OPTION");
    assert_eq!(error.code, "0LP01");
    let error = world.fails("REVOKE SELECT ON press FROM ann");
    assert_eq!((error.code, &error.message[..]), ("2BP01", "dependent privileges exist"));
    world.run("REVOKE GRANT OPTION FOR SELECT ON press FROM ann CASCADE");
    denied(&bob, "SELECT * FROM press", "table press");
    assert_eq!(run(&ann, "SELECT * FROM press"), "SELECT 6");
    for (sql, code) in [
        ("GRANT SELECT ON nothing TO ann", "42P01"),
        ("GRANT SELECT ON press TO nobody", "42704"),
        ("GRANT SELECT (nothing) ON press TO ann", "42703"),
        ("GRANT DELETE (device) ON press TO ann", "0LP01"),
        ("GRANT USAGE ON press TO ann", "0LP01"),
        ("GRANT SELECT ON SCHEMA public TO ann", "0LP01"),
        ("GRANT SELECT ON press TO PUBLIC WITH GRANT OPTION", "0LP01"),
        ("GRANT USAGE ON SCHEMA nowhere TO ann", "3F000"),
        ("GRANT USAGE ON SCHEMA sys TO ann", "0A000"),
        ("GRANT SELECT ON pg_class TO ann", "0A000"),
        ("GRANT EXECUTE ON FUNCTION f TO bob", "0A000"),
        ("GRANT SELECT press TO ann", "42601"),
        ("BEGIN; GRANT SELECT ON press TO ann", "25001"),
        ("ROLLBACK; ALTER POLICY p ON press USING (true)", "42704"),
        ("ALTER TABLE press FORCE ROW LEVEL SECURITY", "0A000"),
    ] {
        assert_eq!(world.fails(sql).code, code, "{sql}");
    }
    world.run("GRANT SELECT ON ALL TABLES IN SCHEMA public TO bob");
    assert_eq!(run(&bob, "SELECT * FROM press, plants, hot"), "SELECT 48");
}

#[test]
fn temporary_tables_are_the_session_s() {
    let world = world();
    world.run("CREATE ROLE writer LOGIN WRITE");
    let writer = world.session_as("writer");
    run(&writer, "CREATE TEMPORARY TABLE mine (id int PRIMARY KEY, x int)");
    run(&writer, "INSERT INTO mine VALUES (1, 2)");
    assert_eq!(rows(&writer, "SELECT x FROM mine WHERE id = 1", &[]), ["2"]);
    assert_eq!(rows(&writer, "SELECT sum(x) FROM mine", &[]), ["2"]);
    assert_eq!(run(&writer, "UPDATE mine SET x = 3 WHERE id = 1 RETURNING x"), "UPDATE 1");
}

#[test]
fn the_catalogue_tells_the_truth() {
    let world = world();
    world.run(
        "GRANT SELECT, UPDATE ON press TO ann; GRANT INSERT ON press TO ann WITH GRANT OPTION",
    );
    world.run("GRANT SELECT (id, name) ON plants TO PUBLIC; GRANT CREATE ON SCHEMA public TO bob");
    world.check(
        "SELECT relname, array_to_string(relacl, ' ') FROM pg_class
         WHERE relname IN ('press', 'plants', 'hot') ORDER BY 1",
        &["hot | ∅", "plants | ∅", "press | admin=arwdDxt/admin ann=a*rw/admin"],
    );
    world.check(
        "SELECT attname, array_to_string(attacl, ' ') FROM pg_attribute a
         JOIN pg_class c ON c.oid = attrelid WHERE relname = 'plants' AND attnum > 0 ORDER BY attnum",
        &["id | =r/admin", "name | =r/admin", "secret | ∅"],
    );
    world.check(
        "SELECT array_to_string(nspacl, ' ') FROM pg_namespace WHERE nspname = 'public'",
        &["admin=UC/admin =U/admin bob=C/admin"],
    );
    for (call, may) in [
        ("has_table_privilege('ann', 'press', 'SELECT')", true),
        ("has_table_privilege('ann', 'press', 'DELETE')", false),
        ("has_table_privilege('ann', 'press', 'DELETE, INSERT')", true),
        ("has_table_privilege('ann', 'press', 'INSERT WITH GRANT OPTION')", true),
        ("has_table_privilege('ann', 'press', 'SELECT WITH GRANT OPTION')", false),
        ("has_table_privilege('bob', 'plants', 'SELECT')", false),
        ("has_column_privilege('bob', 'plants', 'name', 'SELECT')", true),
        ("has_column_privilege('bob', 'plants', 'secret', 'SELECT')", false),
        ("has_any_column_privilege('bob', 'plants', 'SELECT')", true),
        ("has_any_column_privilege('bob', 'press', 'SELECT')", false),
        ("has_schema_privilege('bob', 'public', 'CREATE')", true),
        ("has_schema_privilege('ann', 'public', 'CREATE')", false),
        ("has_schema_privilege('ann', 'public', 'USAGE')", true),
        ("has_table_privilege('ann', 'pg_class', 'SELECT')", true),
    ] {
        let shown = if may { "true" } else { "false" };
        world.check(&format!("SELECT {call}"), &[shown]);
    }
    world.check(
        "SELECT grantor, grantee, privilege_type, is_grantable
         FROM information_schema.table_privileges
         WHERE table_name = 'press' AND grantee <> 'admin' ORDER BY 3",
        &["admin | ann | INSERT | YES", "admin | ann | SELECT | NO", "admin | ann | UPDATE | NO"],
    );
    world.check(
        "SELECT grantee, column_name FROM information_schema.column_privileges
         WHERE table_name = 'plants' AND grantee <> 'admin' ORDER BY 2",
        &["PUBLIC | id", "PUBLIC | name"],
    );
}
