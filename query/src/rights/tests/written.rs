//! Policies of what is written.

use super::world;
use crate::Session;
use crate::tests::harness::{World, fails, rows, run, try_run};

/// `stock` of two sites; `ann` may do everything with it that policies let her.
fn stock() -> World {
    let world = world();
    world.run("CREATE TABLE stock (id int PRIMARY KEY, site text, n int)");
    world.run("INSERT INTO stock VALUES (1, 'north', 1), (2, 'north', 2), (3, 'south', 3)");
    world.run("CREATE TABLE user_sites (who text, site text, PRIMARY KEY (who, site))");
    world.run("INSERT INTO user_sites VALUES ('ann', 'north')");
    world.run("GRANT ALL ON stock TO ann; ALTER TABLE stock ENABLE ROW LEVEL SECURITY");
    world
}

const SCOPE: &str = "site IN (SELECT site FROM user_sites WHERE who = current_user)";

fn violates(session: &Session, sql: &str, table: &str) {
    let error = fails(session, sql);
    let message = format!("new row violates row-level security policy for table \"{table}\"");
    assert_eq!((error.code, error.message), ("42501", message), "{sql}");
}

/// COPY of one line.
fn copy(session: &Session, sql: &str, line: &str) -> Result<String, String> {
    let copied = || {
        try_run(session, sql)?;
        futures::executor::block_on(async {
            session.copy_data(line.as_bytes()).await?;
            session.copy_done().await
        })
    };
    copied().map_err(|error: crate::QueryError| error.message)
}

#[test]
fn rows_that_do_not_pass_are_not_written() {
    let world = stock();
    world.run(&format!("CREATE POLICY scope ON stock USING ({SCOPE})"));
    let ann = world.session_as("ann");
    run(&ann, "INSERT INTO stock VALUES (4, 'north', 4)");
    for sql in [
        "INSERT INTO stock VALUES (5, 'south', 4)",
        "INSERT INTO stock VALUES (5, 'north', 4), (6, 'south', 4)",
        "INSERT INTO stock VALUES (5, NULL, 4)",
        "INSERT INTO stock (id) VALUES (5)",
        "INSERT INTO stock SELECT 5, 'south', 1",
        "INSERT INTO stock VALUES (5, 'south', 4) ON CONFLICT DO NOTHING",
        "INSERT INTO stock VALUES (5, 'south', 4) RETURNING *",
        "UPDATE stock SET site = 'south' WHERE id = 1",
        "UPDATE stock SET site = NULL",
        "MERGE INTO stock s USING (SELECT 1 AS id) x ON s.id = x.id
         WHEN MATCHED THEN UPDATE SET site = 'south'",
        "MERGE INTO stock s USING (SELECT 9 AS id) x ON s.id = x.id
         WHEN NOT MATCHED THEN INSERT (id, site) VALUES (x.id, 'south')",
    ] {
        violates(&ann, sql, "stock");
    }
    let line = copy(&ann, "COPY stock FROM STDIN", "7\tsouth\t1\n");
    assert!(line.unwrap_err().contains("row-level security"));
    assert_eq!(copy(&ann, "COPY stock FROM STDIN", "7\tnorth\t1\n"), Ok("COPY 1".into()));
    assert_eq!(run(&ann, "UPDATE stock SET n = 9 RETURNING id"), "UPDATE 4");
    let merge = "MERGE INTO stock s USING (VALUES (1), (8)) x (id) ON s.id = x.id
                 WHEN MATCHED THEN UPDATE SET n = 5
                 WHEN NOT MATCHED THEN INSERT VALUES (x.id, 'north', 1)";
    assert_eq!(run(&ann, merge), "MERGE 2");
    let error = fails(
        &ann,
        "INSERT INTO stock VALUES (3, 'north', 4) ON CONFLICT (id) DO UPDATE SET site = 'north'",
    );
    assert_eq!(error.code, "0A000", "{error:?}");
    world.check(
        "SELECT string_agg(id || site || n, ' ' ORDER BY id) FROM stock",
        &["1north5 2north9 3south3 4north9 7north9 8north1"],
    );
    // A statement that is run again is asked again.
    let statement = ann.parse("INSERT INTO stock VALUES (20, 'north', 1)").unwrap().pop().unwrap();
    world.run("DELETE FROM user_sites");
    let again = futures::executor::block_on(ann.execute(&statement, &[]));
    assert_eq!(again.err().map(|error| error.code), Some("42501"));
    // Owners and superusers are not asked, and neither is who has WRITE.
    world.run("INSERT INTO stock VALUES (21, 'x', 1); ALTER ROLE ann WRITE");
    run(&world.session_as("ann"), "INSERT INTO stock VALUES (22, 'x', 1)");
}

#[test]
fn commands_have_policies_of_their_own() {
    let world = stock();
    let ann = world.session_as("ann");
    world.run("CREATE POLICY s ON stock FOR SELECT USING (true)");
    violates(&ann, "INSERT INTO stock VALUES (4, 'north', 4)", "stock");
    assert_eq!(run(&ann, "UPDATE stock SET n = 0"), "UPDATE 0");
    assert_eq!(run(&ann, "DELETE FROM stock"), "DELETE 0");
    world.run("CREATE POLICY i ON stock FOR INSERT TO ann WITH CHECK (site = 'east')");
    run(&ann, "INSERT INTO stock VALUES (4, 'east', 4)");
    violates(&ann, "INSERT INTO stock VALUES (5, 'north', 4)", "stock");
    world.run("CREATE POLICY u ON stock FOR UPDATE USING (n < 3) WITH CHECK (n < 10)");
    assert_eq!(run(&ann, "UPDATE stock SET n = 7 WHERE id = 1"), "UPDATE 1");
    assert_eq!(run(&ann, "UPDATE stock SET n = 7 WHERE id = 3"), "UPDATE 0");
    violates(&ann, "UPDATE stock SET n = 11 WHERE id = 2", "stock");
    world.run("CREATE POLICY d ON stock FOR DELETE USING (site = 'south')");
    assert_eq!(run(&ann, "DELETE FROM stock RETURNING id"), "DELETE 1");
    world.check("SELECT string_agg(id::text, ' ' ORDER BY id) FROM stock", &["1 2 4"]);
    // What is found to be changed must be seen, and seen when it is changed.
    world.run("ALTER POLICY s ON stock USING (n < 5)");
    assert_eq!(run(&ann, "UPDATE stock SET n = 1 WHERE id = 2"), "UPDATE 1");
    violates(&ann, "UPDATE stock SET n = 8 WHERE id = 2", "stock");
    violates(&ann, "INSERT INTO stock VALUES (6, 'east', 9) RETURNING id", "stock");
    run(&ann, "INSERT INTO stock VALUES (6, 'east', 9)");
    // Restrictive ones must all say yes, and let nothing pass by themselves.
    world.run("CREATE POLICY r ON stock AS RESTRICTIVE USING (id < 6) WITH CHECK (id < 100)");
    assert_eq!(rows(&ann, "SELECT id FROM stock ORDER BY 1", &[]), ["2", "4"]);
    violates(&ann, "INSERT INTO stock VALUES (100, 'east', 9)", "stock");
    run(&ann, "INSERT INTO stock VALUES (99, 'east', 9)");
    world.run("DROP POLICY s ON stock");
    assert_eq!(run(&ann, "SELECT * FROM stock"), "SELECT 0");
    world.check(
        "SELECT policyname, permissive, cmd, qual, with_check FROM pg_policies ORDER BY 1",
        &[
            "d | PERMISSIVE | DELETE | site = 'south' | ∅",
            "i | PERMISSIVE | INSERT | ∅ | site = 'east'",
            "r | RESTRICTIVE | ALL | id < 6 | id < 100",
            "u | PERMISSIVE | UPDATE | n < 3 | n < 10",
        ],
    );
}

#[test]
fn policies_are_altered() {
    let world = stock();
    let (ann, bob) = (world.session_as("ann"), world.session_as("bob"));
    world.run("GRANT SELECT ON stock TO bob; CREATE POLICY p ON stock USING (site = 'north')");
    assert_eq!(run(&bob, "SELECT * FROM stock"), "SELECT 2");
    world.run("ALTER POLICY p ON stock TO ann, eve");
    assert_eq!(run(&bob, "SELECT * FROM stock"), "SELECT 0");
    world.run("ALTER POLICY p ON stock RENAME TO q");
    world.run("ALTER POLICY q ON stock TO PUBLIC USING (site = 'south') WITH CHECK (true)");
    assert_eq!(run(&bob, "SELECT * FROM stock"), "SELECT 1");
    run(&ann, "INSERT INTO stock VALUES (9, 'west', 1)");
    assert_eq!(fails(&ann, "ALTER POLICY q ON stock USING (true)").code, "42501");
    // What it reads now is what it may read.
    world.run(&format!("ALTER POLICY q ON stock USING ({SCOPE})"));
    assert_eq!(run(&ann, "SELECT * FROM stock"), "SELECT 2");
    world
        .run("ALTER TABLE user_sites RENAME TO old; CREATE TABLE user_sites (who text, site text)");
    assert_eq!(fails(&ann, "SELECT * FROM stock").code, "42501");
    world.run("ALTER POLICY q ON stock WITH CHECK (site = 'x')");
    assert_eq!(run(&ann, "SELECT * FROM stock"), "SELECT 0");
}

#[test]
fn rows_of_time_series_are_looked_at_by_their_keys() {
    let world = stock();
    world.run("GRANT ALL ON press TO ann; ALTER TABLE press ENABLE ROW LEVEL SECURITY");
    world.run(&format!("CREATE POLICY scope ON press USING ({SCOPE}) WITH CHECK ({SCOPE})"));
    let ann = world.session_as("ann");
    let insert = |site: &str| {
        format!(
            "INSERT INTO press (time, device, site, strokes) VALUES ('2026-03-01', 'p1', {site}, 5)"
        )
    };
    run(&ann, &insert("'north'"));
    run(&ann, &format!("{} RETURNING device", insert("'north'")));
    for site in ["'south'", "NULL", "''"] {
        violates(&ann, &insert(site), "press");
    }
    for sql in [
        "INSERT INTO press (time, device) VALUES ('2026-03-01', 'p1')",
        "INSERT INTO press (time, device, site) SELECT now(), 'p1', 'south'",
        "INSERT INTO press (time, device, site) VALUES (now(), 'p3', NULL) ON CONFLICT DO NOTHING",
        "INSERT INTO press (time, device, site) VALUES (now(), 'a', 'north'), (now(), 'b', 'south')",
        "UPDATE press SET site = 'south'",
    ] {
        violates(&ann, sql, "press");
    }
    let copied = |site: &str| {
        let line = format!("2026-03-02\tp1\t{site}\n");
        copy(&world.session_as("ann"), "COPY press (time, device, site) FROM STDIN", &line)
    };
    assert!(copied("south").unwrap_err().contains("row-level security"));
    assert!(copied("\\N").unwrap_err().contains("row-level security"));
    assert_eq!(copied("north"), Ok("COPY 1".into()));
    assert_eq!(run(&ann, "UPDATE press SET strokes = 7 WHERE device = 'p2'"), "UPDATE 2");
    world.check("SELECT count(*), count(site) FROM press", &["8 | 7"]);
    run(&ann, "BEGIN");
    violates(&ann, &insert("'south'"), "press");
    run(&ann, "ROLLBACK");
    // Of a policy that uses a field a row tells too little: others of its key are there already.
    world.run("CREATE POLICY f ON press FOR INSERT WITH CHECK (strokes > 0)");
    violates(&ann, &insert("'north'"), "press");
    world.run("DROP POLICY f ON press; CREATE POLICY f ON press USING (note = 'a')");
    for sql in ["UPDATE press SET device = 'p9' WHERE strokes = 1", "UPDATE press SET note = 'a'"] {
        violates(&ann, sql, "press");
    }
    world.run("DROP POLICY f ON press; ALTER POLICY scope ON press WITH CHECK (site = 'x')");
    assert_eq!(fails(&ann, "UPDATE press SET strokes = 7").code, "0A000");
    // Line protocol asks no policies, so it writes nothing.
    let identity = ann.identity();
    let told = world.engine.refuses_insert(identity, "press", false).unwrap();
    assert!(told.contains("row-level security"), "{told}");
}

/// What a policy reads to look at new rows is read in the name of the table's owner.
#[test]
fn checks_read_as_the_owner_does() {
    let world = stock();
    world.run("ALTER TABLE stock OWNER TO bob; GRANT SELECT ON user_sites TO bob");
    let (ann, bob) = (world.session_as("ann"), world.session_as("bob"));
    run(&bob, &format!("CREATE POLICY p ON stock FOR INSERT WITH CHECK ({SCOPE})"));
    run(&ann, "INSERT INTO stock VALUES (4, 'north', 4)");
    violates(&ann, "INSERT INTO stock VALUES (5, 'south', 4)", "stock");
    world.run("REVOKE SELECT ON user_sites FROM bob");
    let error = fails(&ann, "INSERT INTO stock VALUES (6, 'north', 4)");
    assert_eq!(error.message, "permission denied for table user_sites");
    world.run("GRANT SELECT ON user_sites TO bob");
    world
        .run("ALTER TABLE user_sites RENAME TO old; CREATE TABLE user_sites (who text, site text)");
    world.run("GRANT SELECT ON user_sites TO bob; INSERT INTO user_sites VALUES ('ann', 'south')");
    let error = fails(&ann, "INSERT INTO stock VALUES (5, 'south', 4)");
    assert!(error.message.contains("reads other tables"), "{error:?}");
}
