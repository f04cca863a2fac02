//! psql and its backslash commands. Skipped where psql is missing.

use std::process::Command;

use crate::server::TestServer;

/// Whether psql is there; says so if not.
fn psql_found() -> bool {
    let found = Command::new("psql").arg("--version").output().is_ok();
    if !found {
        println!("skipped: psql not found");
    }
    found
}

/// Output of a command; it must succeed.
fn psql(server: &TestServer, settings: &str, command: &str) -> String {
    let output = psql_output(server, settings, command);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{command}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn psql_output(server: &TestServer, settings: &str, command: &str) -> std::process::Output {
    let pg = server.server.pg;
    let target =
        format!("host={} port={} user=admin dbname=millrace {settings}", pg.ip(), pg.port());
    let mut psql = Command::new("psql");
    psql.args(["-X", "-v", "ON_ERROR_STOP=1", "-d", &target, "-c", command]);
    psql.env("PGPASSWORD", &server.server.password).output().unwrap()
}

fn check(output: &str, words: &[&str]) {
    for word in words {
        assert!(output.contains(word), "`{word}` is not in\n{output}");
    }
}

#[test]
fn backslash_commands() {
    if !psql_found() {
        return;
    }
    let server = TestServer::start();
    server.write("weather,site=roof,sensor=a temperature=21.5,wet=true,n=3i 1704067200000000000");
    let plain = |command: &str| psql(&server, "sslmode=prefer", command);
    let create = "CREATE TABLE press (time timestamptz NOT NULL, device text NOT NULL, \
                  temperature double precision, PRIMARY KEY (device, time))";
    check(&plain(create), &["CREATE TABLE"]);
    for command in ["\\d", "\\dt"] {
        check(&plain(command), &["weather", "press", "table", "public"]);
    }
    check(
        &plain("\\d weather"),
        &[
            "Table \"public.weather\"",
            "time",
            "timestamp with time zone",
            "site",
            "text",
            "temperature",
            "double precision",
            "wet",
            "boolean",
            "bigint",
            "not null",
        ],
    );
    check(&plain("\\d press"), &["PRIMARY KEY", "(device, "]);
    check(&plain("\\l"), &["millrace", "UTF8"]);
    check(&plain("\\du"), &["admin", "Superuser"]);
    check(&plain("\\dn"), &["public"]);
}

#[test]
fn statements() {
    if !psql_found() {
        return;
    }
    let server = TestServer::start();
    let plain = |command: &str| psql(&server, "sslmode=prefer", command);
    server.write("weather,site=roof temperature=21.5 1704067200000000000");
    check(&plain("SELECT * FROM weather"), &["2024-01-01 00:00:00+00", "roof", "21.5", "(1 row)"]);
    check(&plain("SET TimeZone = 'Europe/Berlin'; SELECT time FROM weather"), &["01:00:00+01"]);
    let wrong = psql_output(&server, "", "SELECT * FROM nowhere");
    assert!(!wrong.status.success());
    check(&String::from_utf8_lossy(&wrong.stderr), &["ERROR", "nowhere"]);
    check(&plain("EXPLAIN ANALYZE SELECT avg(temperature) FROM weather"), &["weather"]);
}

#[test]
fn views_cursors_and_comments() {
    if !psql_found() {
        return;
    }
    let server = TestServer::start();
    let plain = |command: &str| psql(&server, "sslmode=prefer", command);
    plain(
        "CREATE TABLE press (time timestamptz, device text, x bigint, PRIMARY KEY (device, time))",
    );
    let fill = "INSERT INTO press (time, device, x) \
                SELECT to_timestamp(value), 'p' || value % 3, value FROM generate_series(1, 5000) AS value";
    check(&plain(fill), &["INSERT 0 5000"]);
    check(&plain("CREATE VIEW late AS SELECT * FROM press WHERE x > 4990"), &["CREATE VIEW"]);
    check(&plain("\\dv"), &["late", "view", "public"]);
    check(&plain("\\d late"), &["View \"public.late\"", "device", "bigint"]);
    let details = plain("\\d+ late");
    check(&details, &["View definition:", "SELECT time, device, x FROM press WHERE x > 4990;"]);
    check(&plain("SELECT count(*) FROM late"), &["10"]);
    let refused = psql_output(&server, "", "DROP TABLE press");
    check(&String::from_utf8_lossy(&refused.stderr), &["depend", "view late", "CASCADE"]);

    // The same rows in portions of a cursor.
    let sql = "SELECT x, device FROM press ORDER BY x";
    let pg = server.server.pg;
    let target = format!("host={} port={} user=admin dbname=millrace", pg.ip(), pg.port());
    let mut portions = Command::new("psql");
    portions.args(["-X", "-A", "-t", "-v", "FETCH_COUNT=999", "-d", &target, "-c", sql]);
    let portions = portions.env("PGPASSWORD", &server.server.password).output().unwrap();
    let rows = String::from_utf8(portions.stdout).unwrap();
    assert_eq!(String::from_utf8_lossy(&portions.stderr), "");
    let expect: Vec<String> = (1..=5000).map(|x| format!("{x}|p{}", x % 3)).collect();
    assert!(rows.lines().eq(expect.iter().map(String::as_str)), "{} rows", rows.lines().count());
    let tags = plain(
        "BEGIN; DECLARE c CURSOR FOR SELECT x FROM press ORDER BY x; MOVE 10 IN c; FETCH 1 FROM c; CLOSE c; COMMIT",
    );
    check(&tags, &["DECLARE CURSOR", "MOVE 10", "11", "CLOSE CURSOR", "COMMIT"]);

    check(&plain("COMMENT ON TABLE press IS 'Hall one'"), &["COMMENT"]);
    plain("COMMENT ON COLUMN press.x IS 'Strokes'");
    check(&plain("\\dt+"), &["Hall one"]);
    check(&plain("\\d+ press"), &["Strokes"]);
    check(&plain("DELETE FROM press WHERE x > 4998 RETURNING x"), &["4999", "5000", "DELETE 2"]);
    check(&plain("DROP TABLE press CASCADE"), &["DROP TABLE"]);
}

#[test]
fn encrypted() {
    if !psql_found() {
        return;
    }
    let server = TestServer::with(&["--tls=require"]);
    let output = psql(&server, "sslmode=require", "\\conninfo");
    check(&output, &["SSL connection", "TLSv1.3"]);
    let refused = psql_output(&server, "sslmode=disable", "SELECT 1");
    assert!(!refused.status.success());
    check(&String::from_utf8_lossy(&refused.stderr), &["FATAL", "TLS"]);
}

#[test]
fn relational_tables_are_described() {
    if !psql_found() {
        return;
    }
    let server = TestServer::start();
    let plain = |command: &str| psql(&server, "sslmode=prefer", command);
    plain("CREATE TABLE plants (id int PRIMARY KEY, name varchar(20) NOT NULL UNIQUE)");
    plain(
        "CREATE TABLE parts (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
         plant int REFERENCES plants ON DELETE CASCADE, price numeric(10,2) DEFAULT 1.5 CHECK (price >= 0))",
    );
    plain("CREATE INDEX parts_plant ON parts (plant)");
    check(
        &plain("\\d parts"),
        &[
            "Table \"public.parts\"",
            "generated always as identity",
            "numeric(10,2)",
            "1.5",
            "not null",
            "Indexes:",
            "\"parts_pkey\" PRIMARY KEY, btree (id)",
            "\"parts_plant\" btree (plant)",
            "Check constraints:",
            "\"parts_price_check\" CHECK ((price >= 0))",
            "Foreign-key constraints:",
            "\"parts_plant_fkey\" FOREIGN KEY (plant) REFERENCES plants(id) ON DELETE CASCADE",
        ],
    );
    check(
        &plain("\\d plants"),
        &[
            "character varying(20)",
            "\"plants_name_key\" UNIQUE CONSTRAINT, btree (name)",
            "Referenced by:",
            "TABLE \"parts\" CONSTRAINT \"parts_plant_fkey\" FOREIGN KEY (plant) REFERENCES plants(id)",
        ],
    );
    check(&plain("\\di"), &["parts_pkey", "parts_plant", "plants_name_key", "index"]);
    check(&plain("\\dt"), &["parts", "plants", "table"]);
    plain("COMMENT ON TABLE parts IS 'what is kept'");
    check(&plain("\\dt+ parts"), &["what is kept"]);
}

#[test]
fn the_life_of_a_continuous_aggregate() {
    if !psql_found() {
        return;
    }
    let mut server = TestServer::start();
    let ask = |server: &TestServer, command: &str| psql(server, "sslmode=prefer", command);
    let rows = |server: &TestServer, command: &str| {
        let copy = format!("COPY ({command}) TO STDOUT WITH (FORMAT csv)");
        ask(server, &copy).trim_end().to_string()
    };
    ask(
        &server,
        "CREATE TABLE m (time timestamptz NOT NULL, device text NOT NULL, x double precision, \
         PRIMARY KEY (device, time))",
    );
    ask(
        &server,
        "INSERT INTO m SELECT '2026-01-01'::timestamptz + value * interval '1 minute', \
         'd' || value % 3, value FROM generate_series(0, 599) AS value",
    );
    let create = "CREATE MATERIALIZED VIEW hours WITH (continuous, refresh_every = 'none') AS \
                  SELECT time_bucket('1 hour', time) AS hour, device, count(*) AS n, avg(x) AS mean \
                  FROM m GROUP BY hour, device";
    check(&ask(&server, create), &["CREATE MATERIALIZED VIEW"]);
    check(&ask(&server, "\\d+ hours"), &["Materialized view", "hour", "time_bucket"]);
    check(&ask(&server, "\\dm"), &["hours", "materialized view"]);
    let plain = "SELECT time_bucket('1 hour', time) AS hour, device, count(*) AS n, avg(x) AS mean \
                 FROM m GROUP BY hour, device ORDER BY hour, device";
    let stored = "SELECT * FROM hours ORDER BY hour, device";
    assert_eq!(rows(&server, stored), rows(&server, plain));
    check(&ask(&server, "REFRESH MATERIALIZED VIEW hours"), &["REFRESH MATERIALIZED VIEW"]);
    assert_eq!(rows(&server, stored), rows(&server, plain));
    // Late rows, changes and deletes count at once, whether they are stored or not.
    ask(&server, "INSERT INTO m VALUES ('2026-01-01 02:30:30+00', 'd9', 1000)");
    ask(&server, "UPDATE m SET x = -1 WHERE device = 'd0' AND time < '2026-01-01 01:00:00+00'");
    ask(&server, "DELETE FROM m WHERE device = 'd1' AND time >= '2026-01-01 09:00:00+00'");
    assert_eq!(rows(&server, stored), rows(&server, plain));
    let changed = "SELECT changed_ranges > 0 FROM sys.continuous_aggregates WHERE name = 'hours'";
    assert_eq!(rows(&server, changed), "t");
    ask(&server, "REFRESH MATERIALIZED VIEW hours");
    assert_eq!(rows(&server, changed), "f");
    server.server.terminate(std::time::Duration::from_secs(60)).expect("an orderly stop");
    server.restart();
    assert_eq!(rows(&server, stored), rows(&server, plain));
    let history = "SELECT job, name, result, rows > 0 FROM sys.job_history ORDER BY start";
    assert_eq!(rows(&server, history), "refresh,hours,success,t\nrefresh,hours,success,t");
    // It is refreshed by itself from now on.
    ask(&server, "ALTER MATERIALIZED VIEW hours SET (refresh_every = '1 second')");
    ask(&server, "INSERT INTO m VALUES ('2026-01-01 05:30:30+00', 'd9', 1)");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while rows(&server, "SELECT count(*) FROM sys.job_history WHERE rows > 0") != "3" {
        assert!(std::time::Instant::now() < until, "nothing is refreshed");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(rows(&server, stored), rows(&server, plain));
    let refused = psql_output(&server, "sslmode=prefer", "DROP TABLE m");
    check(&String::from_utf8_lossy(&refused.stderr), &["hours", "depend"]);
    check(&ask(&server, "DROP MATERIALIZED VIEW hours"), &["DROP MATERIALIZED VIEW"]);
    assert_eq!(rows(&server, "SELECT count(*) FROM sys.job_history"), "0");
    check(&ask(&server, "DROP TABLE m"), &["DROP TABLE"]);
}

#[test]
fn psql_through_the_file_system() {
    if !psql_found() {
        return;
    }
    let sockets = tempfile::tempdir().unwrap();
    let folder = sockets.path().to_str().unwrap();
    let argument = format!("--listen-pg-socket={folder}");
    let mut server = TestServer::with(&["--tls=require", &argument]);
    for round in 0..2 {
        let (port, password) = (server.server.pg.port(), server.server.password.clone());
        check(&server.server.welcome, &[&format!("socket    {folder} port {port}")]);
        let ask = |password: &str| {
            let target = format!("host={folder} port={port} user=admin dbname=millrace");
            let mut psql = Command::new("psql");
            psql.args([
                "-X",
                "-A",
                "-t",
                "-d",
                &target,
                "-c",
                "SELECT count(*) FROM generate_series(1, 100000)",
            ]);
            psql.env("PGPASSWORD", password).output().unwrap()
        };
        assert_eq!(String::from_utf8_lossy(&ask(&password).stdout), "100000\n", "round {round}");
        let refused = ask("wrong");
        assert!(!refused.status.success(), "the log-in is the same as elsewhere");
        check(&String::from_utf8_lossy(&refused.stderr), &["password authentication failed"]);
        // What a crash leaves is in nobody's way.
        server.server.kill().unwrap();
        assert!(sockets.path().join(format!(".s.PGSQL.{port}")).exists());
        server.restart();
    }
    let port = server.server.pg.port();
    server.server.terminate(std::time::Duration::from_secs(60)).unwrap();
    assert!(!sockets.path().join(format!(".s.PGSQL.{port}")).exists());
}

#[test]
fn schemas_and_materialised_views_are_described() {
    if !psql_found() {
        return;
    }
    let server = TestServer::start();
    let plain = |command: &str| psql(&server, "", command);
    plain("CREATE SCHEMA plant");
    plain("CREATE TABLE plant.site (id int PRIMARY KEY, name text UNIQUE)");
    plain("CREATE TABLE plant.press (id serial PRIMARY KEY, site int REFERENCES plant.site)");
    plain("CREATE TABLE other (id int PRIMARY KEY)");
    check(&plain("\\dn"), &["plant", "public"]);
    check(
        &plain("\\d plant.press"),
        &[
            "Table \"plant.press\"",
            "nextval('plant.press_id_seq'::regclass)",
            "\"press_pkey\" PRIMARY KEY, btree (id)",
            "FOREIGN KEY (site) REFERENCES plant.site(id)",
        ],
    );
    let referred = "TABLE \"plant.press\" CONSTRAINT \"press_site_fkey\" FOREIGN KEY (site) \
                    REFERENCES plant.site(id)";
    check(&plain("\\d plant.site"), &["\"site_name_key\" UNIQUE CONSTRAINT", referred]);
    check(&plain("\\dt plant.*"), &["plant", "site", "press"]);
    let visible = plain("\\dt");
    assert!(visible.contains("other") && !visible.contains("site"), "{visible}");
    plain("CREATE MATERIALIZED VIEW plant.names AS SELECT name FROM plant.site WITH NO DATA");
    check(&plain("\\d plant.names"), &["Materialized view \"plant.names\"", "name", "text"]);
    let details = plain("\\d+ plant.names");
    check(&details, &["View definition:", "FROM plant.site AS site", "Access method: heap"]);
    check(&plain("\\dm plant.*"), &["names", "materialized view"]);
    let refused = psql_output(&server, "", "SELECT * FROM plant.names");
    check(&String::from_utf8_lossy(&refused.stderr), &["ERROR", "has not been populated"]);
    let told =
        psql_output(&server, "", "CREATE TEMP TABLE t (a int); CREATE VIEW tv AS SELECT a FROM t");
    check(
        &String::from_utf8_lossy(&told.stderr),
        &["NOTICE:  view \"tv\" will be a temporary view"],
    );
}
