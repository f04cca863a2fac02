//! psycopg, as scripts use it. Skipped where no Python has it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::server::TestServer;

const SCRIPT: &str = r#"
import sys
import psycopg

with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    cursor = connection.execute("SELECT site, temperature, wet, n, time FROM weather ORDER BY site")
    rows = cursor.fetchall()
    assert [row[:4] for row in rows] == [("hall", -1.25, None, 4), ("roof", 21.5, True, 3)], rows
    assert rows[1][4].isoformat() == "2024-01-01T00:00:00+00:00", rows
    one = connection.execute(
        "SELECT count(*) FROM weather WHERE site = %s AND temperature > %s", ("roof", 20.0)
    ).fetchone()
    assert one == (1,), one
    with connection.cursor(binary=True) as binary:
        binary.execute("SELECT temperature, n FROM weather WHERE n = %b", (3,))
        assert binary.fetchall() == [(21.5, 3)]
    try:
        connection.execute("SELECT * FROM nowhere")
        raise SystemExit("no error")
    except psycopg.errors.UndefinedTable:
        pass
    assert connection.execute("SELECT 1").fetchone() == (1,)
print("fine")
"#;

const CHANGES: &str = r#"
import sys
import time
import psycopg

with psycopg.connect(sys.argv[1]) as connection:
    connection.autocommit = True
    connection.execute(
        "CREATE TABLE n (time timestamptz, k text, x bigint, PRIMARY KEY (k, time))"
    )
    connection.execute(
        "INSERT INTO n (time, k, x) SELECT to_timestamp(value), 'a', value "
        "FROM generate_series(1, 3000) AS value"
    )
    connection.autocommit = False
    with connection.cursor(name="readings") as cursor:
        cursor.itersize = 500
        cursor.execute("SELECT x, k FROM n WHERE x > %s ORDER BY x", (10,))
        assert [column.name for column in cursor.description] == ["x", "k"]
        assert cursor.fetchone() == (11, "a")
        assert [row[0] for row in cursor.fetchmany(3)] == [12, 13, 14]
        cursor.scroll(5)
        assert [row[0] for row in cursor] == list(range(20, 3001))
    connection.commit()
    try:
        connection.execute("FETCH 1 FROM readings")
        raise SystemExit("no error")
    except psycopg.errors.InvalidCursorName:
        connection.rollback()
    connection.autocommit = True
    insert = "INSERT INTO n (time, k, x) VALUES (to_timestamp(%s), %s, %s) "
    cursor = connection.execute(insert + "RETURNING k, x", (1, "b", 7))
    assert (cursor.fetchall(), cursor.rowcount) == ([("b", 7)], 1)
    assert connection.execute(insert + "ON CONFLICT DO NOTHING", (1, "b", 8)).rowcount == 0
    over = "ON CONFLICT (k, time) DO UPDATE SET x = excluded.x RETURNING x"
    assert connection.execute(insert + over, (1, "b", 9)).fetchall() == [(9,)]
    cursor = connection.execute("UPDATE n SET x = x + 1 WHERE k = 'b' RETURNING x, k")
    assert (cursor.fetchall(), cursor.rowcount) == ([(10, "b")], 1)
    cursor = connection.execute("DELETE FROM n WHERE x = %s RETURNING *", (10,))
    assert [row[1:] for row in cursor.fetchall()] == [("a", 10), ("b", 10)], cursor

with psycopg.connect(sys.argv[1], autocommit=True) as listener:
    listener.execute("LISTEN alarms")
    with psycopg.connect(sys.argv[1]) as connection:
        connection.execute("NOTIFY alarms, 'pump 3'")
        connection.execute("NOTIFY alarms")
        process = connection.info.backend_pid
    heard = []
    # The listener is idle: it is told without asking.
    for notification in listener.notifies(timeout=60):
        heard.append((notification.channel, notification.payload, notification.pid))
        if len(heard) == 2:
            break
    assert heard == [("alarms", "pump 3", process), ("alarms", "", process)], heard

with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    connection.execute("SET idle_in_transaction_session_timeout = '100ms'")
    time.sleep(0.3)
    assert connection.execute("SELECT 1").fetchone() == (1,)
    connection.execute("BEGIN")
    for _ in range(60):
        time.sleep(1)
        try:
            connection.execute("SELECT 1")
        except psycopg.errors.IdleInTransactionSessionTimeout:
            break
    else:
        raise SystemExit("a transaction stays open")
print("fine")
"#;

const ORIGINS: &str = r#"
import sys
import psycopg

with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    connection.execute("CREATE VIEW warm AS SELECT site, temperature FROM weather")
    number = lambda name: connection.execute("SELECT %s::regclass::oid", (name,)).fetchone()[0]
    place = lambda table, column: connection.execute(
        "SELECT attnum FROM pg_attribute WHERE attrelid = %s AND attname = %s", (table, column)
    ).fetchone()[0]
    weather, warm = number("weather"), number("warm")
    for binary in (0, 1):
        for sql, expected in [
            (
                "SELECT temperature AS t, w.site, 1 FROM weather AS w",
                [(weather, place(weather, "temperature")), (weather, place(weather, "site")), (0, 0)],
            ),
            ("SELECT * FROM warm", [(warm, 1), (warm, 2)]),
            ("SELECT site, max(n) FROM weather GROUP BY site", [(weather, place(weather, "site")), (0, 0)]),
        ]:
            result = connection.pgconn.exec_params(sql.encode(), [], result_format=binary)
            told = [(result.ftable(at), result.ftablecol(at)) for at in range(result.nfields)]
            assert told == expected, (sql, told, expected)
    result = connection.pgconn.exec_params(
        b"SELECT 'weather'::regclass, 'text'::regtype, attrelid::regclass FROM pg_attribute "
        b"WHERE attrelid = 'weather'::regclass LIMIT 1", [], result_format=1
    )
    told = [(result.ftype(at), int.from_bytes(result.get_value(0, at), "big")) for at in range(3)]
    assert told == [(2205, weather), (2206, 25), (2205, weather)], told

    listener = psycopg.connect(sys.argv[1], autocommit=True)
    listener.execute("LISTEN hall")
    connection.execute("SELECT pg_notify('hall', site) FROM weather")
    heard = sorted(n.payload for n in listener.notifies(timeout=60, stop_after=2))
    assert heard == ["hall", "roof"], heard
    listener.close()

with psycopg.connect(sys.argv[1]) as connection:
    with connection.cursor(name="rows", scrollable=True, withhold=True) as cursor:
        cursor.execute("SELECT n FROM weather ORDER BY n")
        assert cursor.fetchall() == [(3,), (4,)]
        connection.commit()
        cursor.scroll(0, mode="absolute")
        assert cursor.fetchone() == (3,)
        cursor.scroll(1)
        cursor.scroll(-1)
        assert cursor.fetchone() == (4,)
print("fine")
"#;

/// A Python that has psycopg: the one named by a variable, the one that `.ci/run` makes, or any.
pub fn python() -> Option<PathBuf> {
    let named = std::env::var_os("MILLRACE_TEST_PYTHON").map(PathBuf::from);
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let made = cache.map(|cache| cache.join("millrace/python/bin/python"));
    [named, made, Some("python3".into())].into_iter().flatten().find(|python| {
        let asked = Command::new(python).args(["-c", "import psycopg"]).output();
        asked.is_ok_and(|output| output.status.success())
    })
}

#[test]
fn psycopg() {
    let Some(python) = python() else {
        println!("skipped: psycopg not found");
        return;
    };
    let server = TestServer::start();
    server.write(
        "weather,site=roof temperature=21.5,wet=true,n=3i 1704067200000000000\n\
         weather,site=hall temperature=-1.25,n=4i 1704067200000000000",
    );
    run(&python, &server, SCRIPT);
}

#[test]
fn psycopg_origins_numbers_and_scrolling() {
    let Some(python) = python() else {
        println!("skipped: psycopg not found");
        return;
    };
    let server = TestServer::start();
    server.write(
        "weather,site=roof temperature=21.5,n=3i 1704067200000000000\n\
         weather,site=hall temperature=-1.25,n=4i 1704067200000000000",
    );
    run(&python, &server, ORIGINS);
}

#[test]
fn psycopg_cursors_and_changes() {
    let Some(python) = python() else {
        println!("skipped: psycopg not found");
        return;
    };
    run(&python, &TestServer::start(), CHANGES);
}

/// Runs a script with the address of the server; it must end with `fine`.
pub fn run(python: &Path, server: &TestServer, script: &str) {
    let pg = server.server.pg;
    let target = format!(
        "host={} port={} user=admin dbname=millrace password='{}'",
        pg.ip(),
        pg.port(),
        server.server.password
    );
    let output = Command::new(python).args(["-c", script, &target]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "fine");
}
