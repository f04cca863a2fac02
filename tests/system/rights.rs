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
