//! Rights of schemas that somebody made.

use super::{denied, world};
use crate::Session;
use crate::tests::harness::{World, fails, rows, run, try_run};

/// A schema `lab` with tables of both kinds and a view.
fn lab() -> World {
    let world = world();
    world.run("CREATE SCHEMA lab");
    world.run("CREATE TABLE lab.samples (id int PRIMARY KEY, x text)");
    world.run("INSERT INTO lab.samples VALUES (7, 'a')");
    world.run("CREATE TABLE lab.oven (time timestamptz, d text, v int, PRIMARY KEY (d, time))");
    world.run("INSERT INTO lab.oven VALUES ('2026-01-01', 'a', 1)");
    world.run("CREATE VIEW lab.seen AS SELECT x FROM lab.samples");
    world
}

fn refused(session: &Session, sql: &str, message: &str) {
    let error = fails(session, sql);
    assert_eq!((error.code, error.message.as_str()), ("42501", message), "{sql}");
}

#[test]
fn a_schema_is_used_by_those_who_may() {
    let world = lab();
    let ann = world.session_as("ann");
    world.run("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA lab TO ann");
    let all = [
        ("SELECT * FROM lab.samples", "SELECT 1"),
        ("SELECT x FROM lab.samples WHERE id = 7", "SELECT 1"),
        ("SELECT max(v) FROM lab.oven", "SELECT 1"),
        ("SELECT * FROM lab.oven WHERE d = 'a'", "SELECT 1"),
        ("SELECT DISTINCT ON (d) * FROM lab.oven ORDER BY d, time DESC", "SELECT 1"),
        ("SELECT * FROM lab.seen", "SELECT 1"),
        ("SELECT count(*) FROM lab.samples, plants WHERE false", "SELECT 1"),
        ("COPY lab.samples TO STDOUT", "COPY"),
        ("COPY lab.samples FROM STDIN", "COPY"),
        ("COPY lab.oven FROM STDIN", "COPY"),
        ("INSERT INTO lab.samples VALUES (8, 'b')", "INSERT 0 1"),
        ("INSERT INTO lab.oven VALUES ('2026-01-02', 'a', 1)", "INSERT 0 1"),
        ("UPDATE lab.samples SET x = 'c' WHERE id = 8", "UPDATE 1"),
        ("UPDATE lab.oven SET v = 4 WHERE time = '2026-01-02'", "UPDATE 1"),
        ("DELETE FROM lab.samples WHERE id = 8", "DELETE 1"),
        ("DELETE FROM lab.oven WHERE time = '2026-01-02'", "DELETE 1"),
    ];
    world.run("GRANT SELECT ON plants TO ann");
    for (sql, _) in all {
        denied(&ann, sql, "schema lab");
    }
    // What goes by its flat name is in its schema, too.
    denied(&ann, "SELECT * FROM \"_schema_0_samples\"", "schema lab");
    denied(&ann, "EXPLAIN SELECT * FROM lab.samples", "schema lab");
    world.run("GRANT USAGE ON SCHEMA lab TO ann");
    for (sql, tag) in all {
        let ann = world.session_as("ann");
        assert_eq!(try_run(&ann, sql).as_deref(), Ok(tag), "{sql}");
    }
    // Each time it is asked anew, of kept plans, too.
    let statement = ann.parse("SELECT x FROM lab.samples WHERE x <> 'q'").unwrap().pop().unwrap();
    let again = || {
        let outcome = futures::executor::block_on(ann.execute(&statement, &[]));
        outcome.map(drop).map_err(|error| error.message)
    };
    assert_eq!((again(), again()), (Ok(()), Ok(())));
    world.run("REVOKE USAGE ON SCHEMA lab FROM ann");
    assert_eq!(again(), Err("permission denied for schema lab".into()));
    // READ and WRITE are for all schemas.
    world.run("ALTER ROLE bob READ");
    assert_eq!(run(&world.session_as("bob"), "SELECT * FROM lab.samples"), "SELECT 1");
}

#[test]
fn a_path_leaves_out_what_may_not_be_used() {
    let world = lab();
    let ann = world.session_as("ann");
    world.run("CREATE TABLE samples (id int PRIMARY KEY)");
    world.run("GRANT SELECT ON samples, lab.samples TO ann");
    run(&ann, "SET search_path = lab, public");
    let statement = ann.parse("SELECT * FROM samples").unwrap().pop().unwrap();
    let count = || {
        use futures::StreamExt;
        match futures::executor::block_on(ann.execute(&statement, &[])).unwrap() {
            crate::Outcome::Rows { stream, .. } => {
                let batches = futures::executor::block_on(stream.collect::<Vec<_>>());
                batches.into_iter().map(|batch| batch.unwrap().num_rows()).sum::<usize>()
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(count(), 0);
    assert_eq!(rows(&ann, "SELECT current_schemas(false)", &[]), ["[public]"]);
    world.run("GRANT USAGE ON SCHEMA lab TO ann");
    assert_eq!(count(), 1);
    assert_eq!(rows(&ann, "SELECT current_schemas(false)", &[]), ["[lab, public]"]);
    // `public.` is meant where it is written.
    world.run("SET search_path = lab, public");
    world.run("REVOKE SELECT ON public.samples FROM ann");
    denied(&ann, "SELECT * FROM public.samples", "table samples");
    assert_eq!(count(), 1);
}

#[test]
fn things_are_made_where_one_may() {
    let world = lab();
    let (ann, bob) = (world.session_as("ann"), world.session_as("bob"));
    world.run("GRANT USAGE ON SCHEMA lab TO PUBLIC");
    let made = [
        "CREATE TABLE lab.own (id int PRIMARY KEY)",
        "CREATE TABLE lab.mine (time timestamptz, d text, PRIMARY KEY (d, time))",
        "CREATE VIEW lab.v AS SELECT 1 AS a",
        "CREATE TABLE lab.c AS SELECT 1 AS a",
        "CREATE MATERIALIZED VIEW lab.m AS SELECT 1 AS a",
    ];
    for sql in made {
        denied(&ann, sql, "schema lab");
    }
    world.run("GRANT CREATE ON SCHEMA lab TO ann");
    for sql in made {
        run(&ann, sql);
    }
    denied(&ann, "CREATE TABLE other (id int PRIMARY KEY)", "schema public");
    run(&ann, "GRANT SELECT ON lab.own, lab.v TO bob");
    assert_eq!(run(&bob, "SELECT * FROM lab.own, lab.v"), "SELECT 0");
    denied(&bob, "SELECT * FROM lab.mine", "table mine");
    refused(&bob, "DROP TABLE lab.own", "must be owner of table own");
    // Nothing moves where its owner may make nothing.
    world.run("CREATE SCHEMA attic; GRANT USAGE ON SCHEMA attic TO ann");
    denied(&ann, "ALTER TABLE lab.own SET SCHEMA attic", "schema attic");
    denied(&ann, "ALTER TABLE lab.own SET SCHEMA public", "schema public");
    for sql in [
        "ALTER TABLE lab.own RENAME TO \"_schema_1_own\"",
        "ALTER VIEW lab.v RENAME TO \"_schema_1_v\"",
        "CREATE TABLE \"_schema_1_t\" (id int PRIMARY KEY)",
    ] {
        assert_eq!(fails(&ann, sql).code, "42939", "{sql}");
    }
    world.run("GRANT CREATE ON SCHEMA attic TO ann");
    run(&ann, "ALTER TABLE lab.own SET SCHEMA attic");
    refused(&bob, "ALTER TABLE lab.samples SET SCHEMA attic", "must be owner of table samples");
    world.run("ALTER ROLE bob WRITE; GRANT CREATE ON SCHEMA attic TO bob");
    let writer = world.session_as("bob");
    run(&writer, "CREATE TEMPORARY TABLE passing (id int)");
    assert_eq!(fails(&writer, "ALTER TABLE passing SET SCHEMA attic").code, "0A000");
    // Without USAGE an owner does not reach what is his.
    world.run("REVOKE ALL ON SCHEMA attic FROM ann");
    denied(&ann, "DROP TABLE attic.own", "schema attic");
    denied(&ann, "GRANT SELECT ON attic.own TO bob", "schema attic");
    denied(&ann, "ALTER TABLE attic.own ENABLE ROW LEVEL SECURITY", "schema attic");
}

#[test]
fn schemas_have_owners() {
    let world = lab();
    let (ann, bob) = (world.session_as("ann"), world.session_as("bob"));
    world.run("CREATE SCHEMA hall AUTHORIZATION ann; CREATE SCHEMA AUTHORIZATION bob");
    run(&ann, "CREATE TABLE hall.t (id int PRIMARY KEY)");
    run(&bob, "CREATE TABLE bob.t (id int PRIMARY KEY)");
    run(&bob, "CREATE TABLE own (id int PRIMARY KEY)");
    denied(&bob, "SELECT * FROM hall.t", "schema hall");
    run(&ann, "GRANT USAGE ON SCHEMA hall TO bob WITH GRANT OPTION");
    run(&bob, "GRANT USAGE ON SCHEMA hall TO eve");
    denied(&bob, "GRANT CREATE ON SCHEMA hall TO eve", "schema hall");
    assert_eq!(fails(&ann, "REVOKE USAGE ON SCHEMA hall FROM bob").code, "2BP01");
    world.check(
        "SELECT nspname, pg_get_userbyid(nspowner), array_to_string(nspacl, ' ') FROM pg_namespace
         WHERE nspname IN ('hall', 'lab') ORDER BY 1",
        &["hall | ann | ann=UC/ann bob=U*/ann eve=U/bob", "lab | admin | ∅"],
    );
    world.check(
        "SELECT has_schema_privilege('eve', 'hall', 'USAGE'),
         has_schema_privilege('eve', 'hall', 'CREATE'), has_schema_privilege('ann', 'hall', 'CREATE'),
         has_schema_privilege('bob', 'hall', 'USAGE WITH GRANT OPTION'),
         has_schema_privilege('eve', 'lab', 'USAGE'),
         has_schema_privilege('public', 'public', 'USAGE')",
        &["true | false | true | true | false | true"],
    );
    run(&ann, "REVOKE USAGE ON SCHEMA hall FROM bob CASCADE");
    for sql in ["ALTER SCHEMA hall RENAME TO x", "DROP SCHEMA hall CASCADE"] {
        refused(&bob, sql, "must be owner of schema hall");
    }
    refused(
        &ann,
        "ALTER SCHEMA hall OWNER TO bob",
        "must be superuser to change the owner of schema hall",
    );
    assert_eq!(fails(&ann, "CREATE SCHEMA more").code, "42501");
    let error = world.fails("DROP ROLE ann");
    assert_eq!(error.code, "2BP01");
    assert!(error.detail.is_some_and(|detail| detail.contains("owner of schema hall")));
    run(&ann, "ALTER SCHEMA hall RENAME TO room");
    run(&ann, "DROP SCHEMA room CASCADE");
    world.run("ALTER SCHEMA lab OWNER TO ann");
    run(&ann, "CREATE TABLE lab.own (id int PRIMARY KEY)");
    world.run("ALTER SCHEMA lab OWNER TO CURRENT_USER");
    denied(&ann, "SELECT * FROM lab.own", "schema lab");
    // What is made by one with DEFINE is his.
    world.run("CREATE ROLE def LOGIN DEFINE");
    let def = world.session_as("def");
    run(&def, "CREATE SCHEMA of_def");
    refused(&def, "CREATE SCHEMA x AUTHORIZATION ann", "must be member of role \"ann\"");
    world.check(
        "SELECT schema_owner FROM information_schema.schemata WHERE schema_name = 'of_def'",
        &["def"],
    );
    // A schema that comes later has no rights of one that went.
    world.run("GRANT ALL ON SCHEMA of_def TO eve; DROP SCHEMA of_def; CREATE SCHEMA of_def");
    world.check("SELECT has_schema_privilege('eve', 'of_def', 'USAGE')", &["false"]);
}

#[test]
fn policies_lie_in_schemas_too() {
    let world = lab();
    let ann = world.session_as("ann");
    world.run("CREATE TABLE lab.who (who text PRIMARY KEY, x text)");
    world.run("INSERT INTO lab.who VALUES ('ann', 'a'); INSERT INTO lab.samples VALUES (8, 'b')");
    world.run("GRANT USAGE ON SCHEMA lab TO ann; GRANT SELECT ON lab.samples TO ann");
    world.run("ALTER TABLE lab.samples ENABLE ROW LEVEL SECURITY");
    world.run(
        "CREATE POLICY p ON lab.samples
         USING (samples.x IN (SELECT x FROM lab.who WHERE who = current_user))",
    );
    assert_eq!(rows(&ann, "SELECT id FROM lab.samples", &[]), ["7"]);
    denied(&ann, "SELECT * FROM lab.who", "table who");
    world.check(
        "SELECT schemaname, tablename, qual FROM pg_policies",
        &["lab | samples | samples.x IN (SELECT x FROM lab.who AS who WHERE who = current_user)"],
    );
    world.run("ALTER SCHEMA lab RENAME TO room");
    assert_eq!(rows(&ann, "SELECT id FROM room.samples", &[]), ["7"]);
    world.run("DROP POLICY p ON room.samples");
    assert_eq!(run(&ann, "SELECT id FROM room.samples"), "SELECT 0");
}

/// Names that only the planner gives are not heard of from users: they would go past policies.
#[test]
fn inner_names_are_refused() {
    let world = lab();
    world.run("GRANT SELECT ON plants TO ann");
    let ann = world.session_as("ann");
    for schema in ["\u{1}bare", "\u{1}rows", "\u{1}bare rows", "\u{1}new", "lab\u{1}samples"] {
        let sql = format!("SELECT * FROM \"{schema}\".plants");
        let error = ann.parse(&sql).err().unwrap();
        assert_eq!(error.code, "42602", "{schema:?}");
    }
}
