//! Row-level security.

use super::{denied, world};
use crate::tests::harness::{World, fails, rows, run, try_run};

/// Readers see the presses of their sites.
fn scoped() -> World {
    let world = world();
    world.run("CREATE TABLE user_sites (who text, site text, PRIMARY KEY (who, site))");
    world.run("INSERT INTO user_sites VALUES ('ann', 'north'), ('bob', 'south')");
    world.run("ALTER TABLE press ENABLE ROW LEVEL SECURITY");
    world.run("GRANT SELECT, INSERT, UPDATE, DELETE ON press TO ann, bob, eve");
    world.run(
        "CREATE POLICY scope ON press
         USING (site IN (SELECT site FROM user_sites WHERE who = current_user))",
    );
    world
}

#[test]
fn rows_are_those_of_the_policies() {
    let world = scoped();
    let (ann, bob) = (world.session_as("ann"), world.session_as("bob"));
    for (sql, of_ann, of_bob) in [
        ("SELECT count(*) FROM press", "5", "0"),
        ("SELECT count(*) FROM press WHERE device = 'p3'", "0", "0"),
        ("SELECT max(strokes) FROM press", "11", "∅"),
        (
            "SELECT count(*) FROM (SELECT DISTINCT ON (device) * FROM press ORDER BY device, time DESC) x",
            "2",
            "0",
        ),
        ("SELECT count(*) FROM press a JOIN press b ON a.time = b.time", "5", "0"),
        ("WITH a AS (SELECT * FROM press) SELECT count(*) FROM a", "5", "0"),
        (
            "SELECT sum(n) FROM (SELECT date_bin('1 hour', time) AS b, count(*) AS n FROM press GROUP BY b) x",
            "5",
            "∅",
        ),
        ("SELECT (SELECT count(*) FROM press)", "5", "0"),
        ("SELECT count(*) FROM press WHERE strokes / strokes = 1", "5", "0"),
    ] {
        assert_eq!(rows(&ann, sql, &[]), [of_ann], "{sql}");
        assert_eq!(rows(&bob, sql, &[]), [of_bob], "{sql}");
    }
    world.check("SELECT count(*) FROM press", &["6"]);
    // A view of the owner shows all: it reads in the owner's name.
    world.run("GRANT SELECT ON hot TO ann");
    assert_eq!(rows(&ann, "SELECT count(*) FROM hot", &[]), ["4"]);
    // What a policy reads is read in the name of the table's owner.
    denied(&ann, "SELECT * FROM user_sites", "table user_sites");
    world.run("INSERT INTO user_sites VALUES ('bob', 'north')");
    assert_eq!(rows(&bob, "SELECT count(*) FROM press", &[]), ["5"]);
    // The right to read everything is none to see all rows.
    world.run("ALTER ROLE eve READ");
    let eve = world.session_as("eve");
    assert_eq!(rows(&eve, "SELECT count(*) FROM press", &[]), ["0"]);
    assert_eq!(rows(&eve, "SELECT count(*) FROM user_sites", &[]), ["3"]);
    world.run("ALTER TABLE press DISABLE ROW LEVEL SECURITY");
    assert_eq!(rows(&eve, "SELECT count(*) FROM press", &[]), ["6"]);
    world.run("ALTER TABLE press ENABLE ROW LEVEL SECURITY; DROP POLICY scope ON press");
    assert_eq!(rows(&ann, "SELECT count(*) FROM press", &[]), ["0"]);
    world.check("SELECT relrowsecurity FROM pg_class WHERE relname = 'press'", &["true"]);
}

#[test]
fn policies_are_alternatives_of_roles_and_commands() {
    let world = scoped();
    world.run("CREATE POLICY mine ON press FOR SELECT TO bob, eve USING (device = 'p3')");
    let (ann, bob) = (world.session_as("ann"), world.session_as("bob"));
    assert_eq!(rows(&ann, "SELECT count(*) FROM press", &[]), ["5"]);
    assert_eq!(rows(&bob, "SELECT device FROM press", &[]), ["p3"]);
    // What may be read only is not found by changes.
    assert_eq!(run(&bob, "DELETE FROM press"), "DELETE 0");
    assert_eq!(run(&bob, "UPDATE press SET strokes = 7"), "UPDATE 0");
    assert_eq!(run(&ann, "UPDATE press SET strokes = 7 WHERE temperature > 25"), "UPDATE 1");
    assert_eq!(run(&ann, "DELETE FROM press WHERE device = 'p3'"), "DELETE 0");
    assert_eq!(run(&ann, "DELETE FROM press WHERE device = 'p2'"), "DELETE 2");
    assert_eq!(run(&ann, "DELETE FROM press"), "DELETE 3");
    world.check("SELECT device FROM press", &["p3"]);
    // Rows that do not pass are not written.
    let insert = "INSERT INTO press (time, device, site) VALUES ('2026-03-01', 'p1', 'south')";
    for sql in [insert, "UPDATE press SET site = 'south'"] {
        let error = fails(&ann, sql);
        assert_eq!(error.code, "42501", "{sql}");
        assert!(error.message.contains("row-level security policy for table \"press\""), "{sql}");
    }
    world.run("CREATE ROLE writer LOGIN WRITE");
    assert_eq!(run(&world.session_as("writer"), insert), "INSERT 0 1");
    world.check(
        "SELECT policyname, cmd, array_to_string(roles, ','), qual FROM pg_policies ORDER BY 1",
        &[
            "mine | SELECT | bob,eve | device = 'p3'",
            "scope | ALL | public | site IN (SELECT site FROM user_sites WHERE who = current_user)",
        ],
    );
}

#[test]
fn relational_tables_have_them_too() {
    let world = world();
    world.run("ALTER TABLE plants ENABLE ROW LEVEL SECURITY; GRANT ALL ON plants TO ann");
    world.run("CREATE POLICY p ON plants USING (name = 'north')");
    let ann = world.session_as("ann");
    assert_eq!(rows(&ann, "SELECT id FROM plants", &[]), ["1"]);
    assert_eq!(run(&ann, "SELECT id FROM plants WHERE id = 2"), "SELECT 0");
    assert_eq!(run(&ann, "UPDATE plants SET secret = 'z' WHERE id = 2"), "UPDATE 0");
    assert_eq!(run(&ann, "UPDATE plants SET secret = 'z' WHERE id = 1 RETURNING id"), "UPDATE 1");
    assert_eq!(fails(&ann, "UPDATE plants SET name = 'z' WHERE id = 1").code, "42501");
    assert_eq!(fails(&ann, "INSERT INTO plants VALUES (9, 'south')").code, "42501");
    assert_eq!(run(&ann, "DELETE FROM plants WHERE id = 2"), "DELETE 0");
    assert_eq!(run(&ann, "DELETE FROM plants"), "DELETE 1");
    world.check("SELECT id FROM plants", &["2"]);
}

/// No condition of a reader is told of rows that are hidden.
#[test]
fn hidden_rows_are_not_told_of() {
    let world = scoped();
    let ann = world.session_as("ann");
    // The hidden row has 100 strokes; a row that is seen has 10.
    for sql in [
        "SELECT count(*) FROM press WHERE 1 / (strokes - 100) < 1000",
        "SELECT count(*) FROM press WHERE note::float8 IS NULL OR strokes > 0",
        "SELECT count(*) FROM (SELECT 1 / (strokes - 100) AS x FROM press) t WHERE x < 1000",
        "SELECT count(*) FROM press a JOIN press b ON 1 / (a.strokes - 100) < 1000 AND a.time = b.time",
        "SELECT count(*) FROM press WHERE strokes IN (SELECT 1 / (strokes - 100) FROM press) OR true",
        "SELECT count(*) FROM press WHERE CASE WHEN 1 / (strokes - 100) = 1 THEN true ELSE true END",
    ] {
        let told = try_run(&ann, sql).err().map(|error| error.code);
        let of_own = sql.contains("note::float8");
        assert!(told.is_none() || of_own, "{sql}: {told:?}");
    }
    assert_eq!(fails(&ann, "SELECT 1 / (strokes - 10) FROM press").code, "22012");
    run(&ann, "LISTEN c");
    run(&ann, "SELECT device FROM press WHERE pg_notify('c', device) IS NOT NULL");
    let told: Vec<String> = ann.take_notifications().into_iter().map(|n| n.payload).collect();
    assert!(!told.iter().any(|payload| payload == "p3"), "{told:?}");
    // Conditions that tell nothing of rows still choose what is read.
    let plan = |sql: &str| rows(&ann, &format!("EXPLAIN {sql}"), &[]).join("\n");
    assert!(
        !plan("SELECT * FROM press WHERE time > '2026-01-01' AND strokes > 5").contains("Barrier")
    );
    // A plan tells its operators alone: figures of what is below would tell of hidden rows.
    for explain in ["EXPLAIN", "EXPLAIN ANALYZE", "EXPLAIN VERBOSE"] {
        let sql = "SELECT * FROM press WHERE 1 / strokes > 5 AND time < '2026-01-02'";
        let barred = rows(&ann, &format!("{explain} {sql}"), &[]).join("\n");
        assert!(barred.contains("Barrier") && barred.contains("SeriesScan"), "{barred}");
        assert!(!barred.contains("strokes") && !barred.contains('='), "{barred}");
    }
    // Nor does the detail of an error, and no column that a policy uses becomes another.
    assert_eq!(world.fails("ALTER TABLE press RENAME site TO other").code, "2BP01");
}

#[test]
fn what_a_policy_names_stays_what_it_was() {
    let world = scoped();
    world.run("ALTER ROLE ann WRITE");
    let ann = world.session_as("ann");
    // A temporary table does not stand for another.
    run(&ann, "CREATE TEMPORARY TABLE user_sites (who text, site text)");
    run(&ann, "INSERT INTO user_sites VALUES ('ann', 'south')");
    assert_eq!(rows(&ann, "SELECT count(*) FROM press", &[]), ["5"]);
    let sql = "WITH user_sites AS (SELECT 'ann' AS who, '' AS site) SELECT count(*) FROM press";
    assert_eq!(rows(&ann, sql, &[]), ["5"]);
    world
        .run("ALTER TABLE user_sites RENAME TO old; CREATE TABLE user_sites (who text, site text)");
    let error = fails(&ann, "SELECT count(*) FROM press");
    assert_eq!(error.code, "42501", "{error:?}");
    world.run("DROP TABLE user_sites");
    assert_eq!(fails(&ann, "SELECT count(*) FROM press").code, "42P01");
    world.run("ALTER TABLE old RENAME TO user_sites");
    assert_eq!(rows(&ann, "SELECT count(*) FROM press", &[]), ["5"]);
}

#[test]
fn policies_are_the_owner_s_and_are_checked() {
    let world = scoped();
    world.run("CREATE ROLE def LOGIN DEFINE READ");
    let def = world.session_as("def");
    for sql in [
        "ALTER TABLE press DISABLE ROW LEVEL SECURITY",
        "CREATE POLICY p ON press USING (true)",
        "DROP POLICY scope ON press",
        "GRANT SELECT ON press TO def",
        "ALTER TABLE press OWNER TO def",
    ] {
        assert_eq!(fails(&def, sql).code, "42501", "{sql}");
    }
    let error = fails(
        &def,
        "CREATE MATERIALIZED VIEW h WITH (continuous) AS
         SELECT time_bucket('1 hour', time) AS h, count(*) AS n FROM press GROUP BY h",
    );
    assert_eq!(error.code, "42501", "{error:?}");
    for (sql, code) in [
        ("CREATE POLICY scope ON press USING (true)", "42710"),
        ("CREATE POLICY p ON press USING (nothing = 1)", "42703"),
        ("CREATE POLICY p ON press USING (strokes)", "42804"),
        ("CREATE POLICY p ON press USING (strokes = $1)", "42P02"),
        (
            "CREATE POLICY p ON press USING (site NOT IN (SELECT site FROM user_sites) OR true)",
            "0A000",
        ),
        ("CREATE POLICY p ON hot USING (true)", "42809"),
        ("CREATE POLICY p ON nothing USING (true)", "42P01"),
        ("CREATE POLICY p ON press TO nobody USING (true)", "42704"),
        ("CREATE POLICY p ON press FOR INSERT USING (true)", "42601"),
        ("CREATE POLICY p ON press FOR SELECT USING (true) WITH CHECK (true)", "42601"),
        ("CREATE POLICY p ON press FOR DELETE WITH CHECK (true)", "42601"),
        ("CREATE POLICY p ON press WITH CHECK (nothing = 1)", "42703"),
        ("CREATE POLICY p ON press WITH CHECK (strokes)", "42804"),
        ("CREATE POLICY p ON press USING (site NOT IN (SELECT site FROM user_sites))", "0A000"),
        ("ALTER POLICY p ON press USING (true)", "42704"),
        ("ALTER POLICY scope ON press RENAME TO scope", "42710"),
        ("CREATE POLICY p ON press AS OTHER USING (true)", "42601"),
        ("CREATE POLICY p ON press USING true", "42601"),
        ("DROP POLICY p ON press", "42704"),
    ] {
        let error = world.fails(sql);
        assert_eq!(error.code, code, "{sql}: {error:?}");
    }
    assert_eq!(world.run("DROP POLICY IF EXISTS p ON press"), "DROP POLICY");
}
