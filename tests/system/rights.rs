//! Two roles with different rights, over psql, HTTP, line protocol and PromQL. What is said over
//! psql is skipped where it is missing.

use std::process::{Command, Output};

use crate::server::{TestServer, block_on};

const PASSWORD: &str = "long enough 1";

/// A server with readings of two sites, and who sees which.
fn server() -> TestServer {
    let server = TestServer::start();
    server.write(
        "press,site=north,device=a strokes=1i 1704067200000000000\n\
         press,site=north,device=b strokes=2i 1704067200000000000\n\
         press,site=south,device=c strokes=4i 1704067200000000000\n\
         furnace,site=north heat=900 1704067200000000000",
    );
    block_on(async {
        let admin = server.sql().await;
        let users = ["ann", "bob"].map(|user| format!("CREATE USER {user} PASSWORD '{PASSWORD}';"));
        admin.batch_execute(&users.concat()).await.unwrap();
        for sql in [
            "CREATE TABLE user_sites (who text, site text, PRIMARY KEY (who, site))",
            "INSERT INTO user_sites VALUES ('ann', 'north'), ('bob', 'south')",
            "GRANT SELECT ON press TO ann, bob",
            "GRANT INSERT ON furnace TO bob",
            "ALTER TABLE press ENABLE ROW LEVEL SECURITY",
            "CREATE POLICY scope ON press
             USING (site IN (SELECT site FROM user_sites WHERE who = current_user))",
            "GRANT SELECT (site) ON furnace TO ann",
        ] {
            admin.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
    });
    server
}

#[test]
fn roles_see_what_was_granted_over_http() {
    let mut server = server();
    let (mut ann, mut bob) = (server.http_as("ann", PASSWORD), server.http_as("bob", PASSWORD));
    let ask = |client: &mut tools::http::Client, sql: &str| {
        let answer = client.post("/sql?format=csv", "text/plain", sql.as_bytes()).unwrap();
        (answer.status, answer.text().replace('\r', ""))
    };
    let sum = "SELECT sum(strokes) AS sum FROM press";
    assert_eq!(ask(&mut ann, sum), (200, "sum\n3\n".to_string()));
    assert_eq!(ask(&mut bob, sum), (200, "sum\n4\n".to_string()));
    let (status, told) = ask(&mut ann, "SELECT heat FROM furnace");
    assert_eq!(status, 403, "{told}");
    assert!(told.contains("permission denied for table furnace"), "{told}");
    assert_eq!(ask(&mut ann, "SELECT site FROM furnace").0, 200);
    // Line protocol: into what may be written, and nothing else comes to be.
    let lines = "furnace,site=south heat=800 1704067260000000000";
    assert_eq!(ann.post("/write", "text/plain", lines.as_bytes()).unwrap().status, 403);
    assert_eq!(bob.post("/write", "text/plain", lines.as_bytes()).unwrap().status, 204);
    for (lines, why) in [
        ("press,site=south,device=c strokes=5i 1", "permission denied for table press"),
        ("other v=1 1", "does not exist"),
        ("furnace,site=south smoke=1 1704067320000000000", "must be owner"),
    ] {
        let answer = bob.post("/write", "text/plain", lines.as_bytes()).unwrap();
        assert_eq!(answer.status, 400, "{lines}");
        assert!(answer.text().contains(why), "{lines}: {}", answer.text());
    }
    assert_eq!(ask(&mut bob, "SELECT heat FROM furnace").0, 403);
    assert_eq!(block_on(server.one("SELECT count(*) FROM furnace")), "2");
    // PromQL: whole tables or none.
    let prom = |client: &mut tools::http::Client, query: &str| {
        let path = format!("/api/v1/query?time=1704067200&query={query}");
        let answer = client.get(&path).unwrap();
        (answer.status, answer.text())
    };
    for metric in ["furnace_heat", "press_strokes"] {
        let (status, told) = prom(&mut ann, metric);
        // As Prometheus answers what it cannot carry out.
        assert!(status == 422 && told.contains("permission denied"), "{status} {told}");
    }
    block_on(server.one("GRANT SELECT ON furnace TO ann"));
    let (status, told) = prom(&mut ann, "furnace_heat");
    assert!(status == 200 && told.contains("900"), "{status} {told}");
    // All of it is still so after a start.
    server.server.terminate(std::time::Duration::from_secs(60)).unwrap();
    server.restart();
    let (mut ann, mut bob) = (server.http_as("ann", PASSWORD), server.http_as("bob", PASSWORD));
    assert_eq!(ask(&mut ann, sum), (200, "sum\n3\n".to_string()));
    assert_eq!(ask(&mut bob, "SELECT heat FROM furnace").0, 403);
}

fn psql(server: &TestServer, user: &str, command: &str) -> Output {
    let pg = server.server.pg;
    let target = format!("host={} port={} user={user} dbname=millrace", pg.ip(), pg.port());
    let password = if user == "admin" { server.server.password.as_str() } else { PASSWORD };
    let mut psql = Command::new("psql");
    psql.args(["-X", "-At", "-v", "ON_ERROR_STOP=1", "-d", &target, "-c", command]);
    psql.env("PGPASSWORD", password).output().unwrap()
}

#[test]
fn roles_see_what_was_granted_over_psql() {
    if Command::new("psql").arg("--version").output().is_err() {
        println!("skipped: psql not found");
        return;
    }
    let server = server();
    let says = |user: &str, command: &str| {
        let output = psql(&server, user, command);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{command}: {told}");
        String::from_utf8(output.stdout).unwrap()
    };
    let denied = |user: &str, command: &str, why: &str| {
        let output = psql(&server, user, command);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(why), "{command}: {told}");
    };
    assert_eq!(says("ann", "SELECT device FROM press ORDER BY 1"), "a\nb\n");
    assert_eq!(says("bob", "SELECT device FROM press ORDER BY 1"), "c\n");
    assert_eq!(says("ann", "COPY press (device) TO STDOUT"), "a\nb\n");
    denied("ann", "SELECT * FROM furnace", "permission denied for table furnace");
    denied("bob", "DELETE FROM press", "permission denied for table press");
    denied("ann", "CREATE TABLE t (id int PRIMARY KEY)", "permission denied for schema public");
    let dp = says("admin", "\\dp");
    for line in [
        "public|press|table|admin=arwdDxt/admin",
        "ann=r/admin",
        "bob=a/admin",
        "site:\n  ann=r/admin",
        "scope:\n  (u): site IN (SELECT site FROM user_sites WHERE who = current_user)",
    ] {
        assert!(dp.contains(line), "`{line}` is not in\n{dp}");
    }
    says("admin", "CREATE POLICY one ON press FOR SELECT TO ann, bob USING (device = 'a')");
    let policies = says("admin", "SELECT policyname, cmd, qual FROM pg_policies ORDER BY 1");
    assert!(policies.contains("one|SELECT|") && policies.contains("device = 'a'"), "{policies}");
    says("admin", "GRANT USAGE ON SCHEMA public TO ann");
    assert!(says("admin", "\\dn+").contains("ann=U/admin"));
    says("admin", "DROP ROLE ann");
    assert!(!says("admin", "\\dp").contains("ann"));
}

#[test]
fn groups_schemas_and_checks_hold_over_psql_and_http() {
    if Command::new("psql").arg("--version").output().is_err() {
        println!("skipped: psql not found");
        return;
    }
    let mut server = server();
    let says = |server: &TestServer, user: &str, command: &str| {
        let output = psql(server, user, command);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{command}: {told}");
        String::from_utf8(output.stdout).unwrap()
    };
    let denied = |server: &TestServer, user: &str, command: &str, why: &str| {
        let output = psql(server, user, command);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(why), "{command}: {told}");
    };
    for sql in [
        "CREATE ROLE crew NOLOGIN",
        "GRANT crew TO ann",
        "CREATE SCHEMA lab AUTHORIZATION crew",
        "CREATE TABLE lab.samples (id int PRIMARY KEY, site text)",
        "ALTER TABLE lab.samples ENABLE ROW LEVEL SECURITY",
        "GRANT ALL ON lab.samples TO ann, bob",
        "GRANT INSERT ON press TO crew",
        "CREATE POLICY scope ON lab.samples
         USING (site IN (SELECT site FROM user_sites WHERE who = current_user))",
        "CREATE POLICY kept ON lab.samples AS RESTRICTIVE FOR INSERT WITH CHECK (id > 0)",
    ] {
        says(&server, "admin", sql);
    }
    says(&server, "ann", "INSERT INTO lab.samples VALUES (1, 'north')");
    says(&server, "ann", "CREATE TABLE lab.own (id int PRIMARY KEY)");
    denied(&server, "bob", "SELECT * FROM lab.samples", "permission denied for schema lab");
    says(&server, "ann", "GRANT USAGE ON SCHEMA lab TO bob");
    assert_eq!(says(&server, "bob", "SELECT * FROM lab.samples"), "");
    let violates = "new row violates row-level security policy for table";
    denied(&server, "bob", "INSERT INTO lab.samples VALUES (2, 'north')", violates);
    denied(&server, "ann", "INSERT INTO lab.samples VALUES (-1, 'north')", violates);
    denied(&server, "ann", "UPDATE lab.samples SET site = 'south'", violates);
    denied(
        &server,
        "ann",
        "INSERT INTO press (time, site, device) VALUES (now(), 'south', 'c')",
        violates,
    );
    says(&server, "ann", "INSERT INTO press (time, site, device) VALUES (now(), 'north', 'c')");
    denied(
        &server,
        "bob",
        "INSERT INTO press (time) VALUES (now())",
        "permission denied for table press",
    );
    let schemas = says(&server, "admin", "\\dn+");
    assert!(schemas.contains("lab|crew|crew=UC/crew\nbob=U/crew"), "{schemas}");
    let roles = says(&server, "admin", "\\du");
    assert!(roles.contains("ann||{crew}") && roles.contains("crew|Cannot login|{}"), "{roles}");
    let policies = "SELECT policyname, permissive, cmd, with_check FROM pg_policies
                    WHERE schemaname = 'lab' ORDER BY 1";
    let told = says(&server, "admin", policies);
    assert_eq!(told, "kept|RESTRICTIVE|INSERT|id > 0\nscope|PERMISSIVE|ALL|\n");
    // All of it is still so after a start, and over HTTP.
    server.server.terminate(std::time::Duration::from_secs(60)).unwrap();
    server.restart();
    let mut ann = server.http_as("ann", PASSWORD);
    let mut ask = |sql: &str| {
        let answer = ann.post("/sql?format=csv", "text/plain", sql.as_bytes()).unwrap();
        (answer.status, answer.text().replace('\r', ""))
    };
    assert_eq!(ask("SELECT id FROM lab.samples"), (200, "id\n1\n".to_string()));
    let (status, told) = ask("INSERT INTO lab.samples VALUES (3, 'south')");
    assert!(status == 403 && told.contains(violates), "{status} {told}");
    says(&server, "admin", "REVOKE crew FROM ann");
    let (status, told) = ask("SELECT id FROM lab.samples");
    assert!(status == 403 && told.contains("permission denied for schema lab"), "{status} {told}");
}
