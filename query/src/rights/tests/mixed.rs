//! Rights beside schemas, materialised and temporary views, and MERGE.

use super::{denied, world};
use crate::tests::harness::{fails, rows, run};

#[test]
fn temporary_views_read_in_the_name_of_their_session() {
    let world = world();
    world.run("ALTER ROLE ann WRITE");
    let ann = world.session_as("ann");
    // A view that hides a table is no way to it, and does not make the table one's own.
    run(&ann, "CREATE TEMP VIEW plants AS SELECT * FROM public.press");
    denied(&ann, "SELECT * FROM plants", "table press");
    let other = world.session_as("ann");
    denied(&other, "SELECT * FROM plants", "table plants");
    let error = fails(&other, "DROP TABLE plants");
    assert_eq!(error.code, "42501", "{error:?}");
    world.run("GRANT SELECT ON press TO ann");
    assert_eq!(rows(&ann, "SELECT count(*) FROM plants", &[]), ["6"]);
}

#[test]
fn materialised_views_are_filled_by_who_may_read() {
    let world = world();
    world.run("GRANT CREATE ON SCHEMA public TO ann");
    let ann = world.session_as("ann");
    let make = "CREATE MATERIALIZED VIEW m AS SELECT id, secret FROM plants";
    denied(&ann, make, "table plants");
    denied(&ann, &format!("{make} WITH NO DATA"), "table plants");
    world.run("GRANT SELECT ON plants TO ann");
    run(&ann, make);
    assert_eq!(rows(&ann, "SELECT count(*) FROM m", &[]), ["2"]);
    // Its rows are its owner's to show.
    let bob = world.session_as("bob");
    denied(&bob, "SELECT * FROM m", "materialized view m");
    assert_eq!(fails(&bob, "REFRESH MATERIALIZED VIEW m").code, "42501");
    assert_eq!(fails(&bob, "DROP MATERIALIZED VIEW m").code, "42501");
    run(&ann, "GRANT SELECT (id) ON m TO bob");
    assert_eq!(rows(&bob, "SELECT sum(id) FROM m", &[]), ["3"]);
    denied(&bob, "SELECT secret FROM m", "materialized view m");
    // Nobody stores rows in it that she may not read.
    let error = world.fails("REFRESH MATERIALIZED VIEW m");
    assert_eq!(error.code, "42501", "{error:?}");
    world.run("REVOKE SELECT ON plants FROM ann");
    assert_eq!(rows(&ann, "SELECT count(*) FROM m", &[]), ["2"]);
    denied(&ann, "REFRESH MATERIALIZED VIEW m", "table plants");
    run(&ann, "DROP MATERIALIZED VIEW m");
}

#[test]
fn policies_hold_while_a_materialised_view_is_filled() {
    let world = world();
    world.run("CREATE POLICY north ON plants USING (name = 'north')");
    world.run("ALTER TABLE plants ENABLE ROW LEVEL SECURITY");
    world.run("GRANT SELECT ON plants TO ann");
    world.run("GRANT CREATE ON SCHEMA public TO ann");
    let ann = world.session_as("ann");
    run(&ann, "CREATE MATERIALIZED VIEW m AS SELECT name FROM plants");
    assert_eq!(rows(&ann, "SELECT name FROM m", &[]), ["north"]);
    run(&ann, "REFRESH MATERIALIZED VIEW m");
    assert_eq!(rows(&ann, "SELECT name FROM m", &[]), ["north"]);
    world.run("ALTER ROLE ann WRITE");
    let ann = world.session_as("ann");
    run(&ann, "CREATE TEMP VIEW t AS SELECT name FROM plants");
    assert_eq!(rows(&ann, "SELECT name FROM t", &[]), ["north"]);
}

#[test]
fn rights_of_public_are_none_in_other_schemas() {
    let world = world();
    world.run("CREATE SCHEMA lab");
    world.run("CREATE TABLE lab.samples (id int PRIMARY KEY)");
    world.run("INSERT INTO lab.samples VALUES (7)");
    world.run("GRANT CREATE ON SCHEMA public TO ann");
    world.run("GRANT SELECT ON ALL TABLES IN SCHEMA public TO ann");
    let ann = world.session_as("ann");
    assert_eq!(rows(&ann, "SELECT count(*) FROM plants", &[]), ["2"]);
    denied(&ann, "SELECT * FROM lab.samples", "schema lab");
    for sql in [
        "CREATE TABLE lab.own (id int PRIMARY KEY)",
        "CREATE VIEW lab.v AS SELECT 1 AS a",
        "CREATE TABLE lab.c AS SELECT 1 AS a",
        "CREATE MATERIALIZED VIEW lab.m AS SELECT 1 AS a",
        "DROP TABLE lab.samples",
        "ALTER TABLE lab.samples ADD COLUMN x int",
        "DROP SCHEMA lab CASCADE",
        "CREATE SCHEMA own",
        "INSERT INTO lab.samples VALUES (8)",
        "DELETE FROM lab.samples",
    ] {
        let error = fails(&ann, sql);
        assert_eq!(error.code, "42501", "{sql}: {error:?}");
    }
    // What may not be used is not on the path.
    run(&ann, "SET search_path = lab, public");
    run(&ann, "CREATE TABLE own (id int PRIMARY KEY); DROP TABLE public.own");
    world.run("ALTER ROLE ann READ DEFINE");
    let ann = world.session_as("ann");
    run(&ann, "CREATE TABLE lab.own (id int PRIMARY KEY)");
    assert_eq!(rows(&ann, "SELECT id FROM lab.samples", &[]), ["7"]);
}

#[test]
fn a_merge_asks_for_what_it_does() {
    let world = world();
    let ann = world.session_as("ann");
    world.run("GRANT SELECT ON plants TO ann");
    let merge = |when: &str| {
        format!(
            "MERGE INTO plants p USING (SELECT 1 AS id, 'x' AS name) s ON p.id = s.id WHEN {when}"
        )
    };
    let update = merge("MATCHED THEN UPDATE SET name = s.name");
    let delete = merge("MATCHED THEN DELETE");
    let insert = merge("NOT MATCHED THEN INSERT (id, name) VALUES (s.id, s.name)");
    for sql in [&update, &delete, &insert] {
        denied(&ann, sql, "table plants");
    }
    run(&ann, &merge("MATCHED THEN DO NOTHING"));
    world.run("GRANT UPDATE (name) ON plants TO ann");
    assert_eq!(run(&ann, &update), "MERGE 1");
    denied(&ann, &merge("MATCHED THEN UPDATE SET secret = s.name"), "table plants");
    denied(&ann, &delete, "table plants");
    world.run("GRANT DELETE, INSERT ON plants TO ann");
    assert_eq!(run(&ann, &delete), "MERGE 1");
    assert_eq!(run(&ann, &insert), "MERGE 1");
}

/// Values of keys are shown to those who may read them.
#[test]
fn system_tables_keep_the_values_of_keys() {
    let world = world();
    world.run(
        "CREATE TABLE t (site text, time timestamptz, v float8, PRIMARY KEY (site, time))
         WITH (partition_by = '1 day, site')",
    );
    world.run("INSERT INTO t (site, time, v) VALUES ('a', now(), 1)");
    world.run("VACUUM FULL t");
    let ann = world.session_as("ann");
    let shown = || {
        ["sys.partitions", "sys.parts"].map(|table| {
            rows(&ann, &format!("SELECT keys FROM {table} WHERE keys IS NOT NULL"), &[]).len()
        })
    };
    assert_eq!(rows(&ann, "SELECT count(*) > 0 FROM sys.partitions", &[]), ["true"]);
    assert_eq!(shown(), [0, 0]);
    world.check("SELECT keys FROM sys.partitions WHERE keys IS NOT NULL", &["site=a"]);
    world.run("GRANT SELECT (v) ON t TO ann");
    assert_eq!(shown(), [0, 0]);
    world.run("GRANT SELECT (site) ON t TO ann");
    assert_eq!(shown(), [1, 1]);
    world.run("ALTER TABLE t ENABLE ROW LEVEL SECURITY");
    assert_eq!(shown(), [0, 0]);
    world
        .run("ALTER TABLE t DISABLE ROW LEVEL SECURITY; REVOKE USAGE ON SCHEMA public FROM PUBLIC");
    assert_eq!(shown(), [0, 0]);
}
