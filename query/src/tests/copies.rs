//! COPY with files of the server, and how far a COPY is.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use futures::executor::block_on;

use super::harness::*;
use crate::{Outcome, QueryOptions, Session};

/// A world that may copy from and to a folder.
fn world(folder: &Path) -> World {
    World::limited(QueryOptions {
        copy_folder: Some(folder.to_path_buf()),
        ..QueryOptions::default()
    })
}

const TABLE: &str = "(time timestamptz NOT NULL, k text, b boolean, i smallint, j integer, x bigint, \
                     f real, d double precision, s text, at timestamptz, raw bytea, PRIMARY KEY (k, time))";

fn filled(folder: &Path) -> World {
    let world = world(folder);
    world.run(&format!("CREATE TABLE a {TABLE}; CREATE TABLE b {TABLE}"));
    world.run(
        "INSERT INTO a (time, k, b, i, j, x, f, d, s, at, raw) VALUES \
         ('2026-01-01 00:00:00.000001+00', 'a', true, -1, 2, 3, 1.5, -2.25, 'ä,\"x\"', '1999-12-31 23:59:59+00', '\\x00ff'), \
         ('2026-01-01 00:00:01+00', 'a', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), \
         ('2026-01-01 00:00:02+00', NULL, false, 32767, 2147483647, 9223372036854775807, 0, 'NaN', '', '2026-01-01', '')",
    );
    world
}

fn copied(session: &Session, sql: &str) -> crate::QueryResult<String> {
    let statements = session.parse(sql)?;
    match block_on(session.execute(&statements[0], &[]))? {
        Outcome::Done { tag } => Ok(tag),
        other => panic!("{sql}: {other:?}"),
    }
}

fn code(world: &World, sql: &str) -> &'static str {
    match copied(&world.session, sql) {
        Ok(tag) => panic!("{sql}: {tag}"),
        Err(error) => error.code,
    }
}

const ALL: &str = "SELECT * FROM a ORDER BY time";

#[test]
fn parquet_goes_out_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let world = filled(folder.path());
    for compression in ["zstd", "snappy", "none"] {
        let to = format!("COPY a TO 'a.parquet' WITH (FORMAT parquet, COMPRESSION {compression})");
        assert_eq!(copied(&world.session, &to).unwrap(), "COPY 3");
        assert_eq!(
            copied(&world.session, "COPY b FROM 'a.parquet' (FORMAT parquet)").unwrap(),
            "COPY 3"
        );
        let rows_of =
            |table: &str| rows(&world.session, &ALL.replace(" a ", &format!(" {table} ")), &[]);
        assert_eq!(rows_of("a"), rows_of("b"));
        world.run("TRUNCATE b");
    }
    // A query goes out under the names of its columns, and columns come by their names.
    copied(&world.session, "COPY (SELECT j AS x, time, k, 'more' AS other FROM a WHERE j = 2) TO 'q.parquet' (FORMAT parquet)").unwrap();
    assert_eq!(code(&world, "COPY b FROM 'q.parquet' (FORMAT parquet)"), "42703");
    assert_eq!(code(&world, "COPY b (k, time, s) FROM 'q.parquet' (FORMAT parquet)"), "42703");
    copied(&world.session, "COPY b (k, x, time) FROM 'q.parquet' (FORMAT parquet)").unwrap();
    world.check("SELECT k, x, j, s FROM b", &["a | 2 | ∅ | ∅"]);
    assert_eq!(
        code(&world, "COPY (SELECT interval '1 h' AS i) TO 'i.parquet' (FORMAT parquet)"),
        "0A000"
    );
    assert!(!folder.path().join("i.parquet").exists());
}

#[test]
fn files_are_private_and_appear_whole() {
    let folder = tempfile::tempdir().unwrap();
    let world = filled(folder.path());
    copied(&world.session, "COPY a TO 'a.parquet' (FORMAT parquet)").unwrap();
    let path = folder.path().join("a.parquet");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let before = std::fs::read(&path).unwrap();
    // One that fails leaves the old file, and nothing of its own.
    let failing = "COPY (SELECT 1 / (value - 90000) AS x FROM generate_series(1, 100000) AS value) TO 'a.parquet' (FORMAT parquet)";
    assert_eq!(code(&world, failing), "22012");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["a.parquet"]);
    world.run("SET millrace.max_result_rows = 2");
    assert_eq!(code(&world, "COPY a TO 'a.parquet' (FORMAT parquet)"), "53400");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn nothing_outside_of_the_folder_is_reached() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let world = filled(folder.path());
    std::fs::write(outside.path().join("secret.csv"), "2026-01-01,x\n").unwrap();
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    symlink(outside.path(), folder.path().join("way")).unwrap();
    symlink(outside.path().join("secret.csv"), folder.path().join("link.csv")).unwrap();
    let absolute = outside.path().join("secret.csv").display().to_string();
    for name in [
        "/etc/passwd",
        &absolute,
        "../secret.csv",
        "sub/../../secret.csv",
        "sub/../a.csv",
        "way/secret.csv",
        "link.csv",
        "",
        ".",
        "/",
        "..",
    ] {
        for sql in [
            format!("COPY b (time, k) FROM '{name}' (FORMAT csv)"),
            format!("COPY a TO '{name}' (FORMAT parquet)"),
        ] {
            // A link in the place of a new file is not followed, and not written over.
            let expected =
                if name == "link.csv" && sql.contains(" TO ") { "42809" } else { "42501" };
            assert_eq!(code(&world, &sql), expected, "{sql}");
        }
    }
    assert_eq!(code(&world, "COPY b FROM 'none.csv' (FORMAT csv)"), "58P01");
    assert_eq!(code(&world, "COPY b FROM 'sub' (FORMAT csv)"), "42809");
    assert_eq!(code(&world, "COPY a TO 'sub' (FORMAT parquet)"), "42809");
    assert_eq!(code(&world, "COPY a TO 'none/a.parquet' (FORMAT parquet)"), "58P01");
    // Names in the folder work both ways.
    std::fs::write(folder.path().join("sub/in.csv"), "2026-01-01,x\n").unwrap();
    let whole = folder.path().join("sub/in.csv").display().to_string();
    for name in ["sub/in.csv", "./sub/in.csv", &whole] {
        let sql = format!("COPY b (time, k) FROM '{name}' (FORMAT csv)");
        assert_eq!(copied(&world.session, &sql).unwrap(), "COPY 1");
    }
    // Others may not, whatever is there.
    let bob = world.session_of("bob");
    for sql in
        ["COPY b FROM 'sub/in.csv'", "COPY a TO 'x.parquet' (FORMAT parquet)", "COPY a TO 'x.csv'"]
    {
        assert_eq!(fails(&bob, sql).code, "42501", "{sql}");
    }
    let off = World::with_presses();
    let error = off.fails("COPY press FROM 'x.csv'");
    assert_eq!(error.code, "55000");
    assert!(error.hint.unwrap().contains("copy_folder"));
}

#[test]
fn errors_tell_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let world = filled(folder.path());
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let error = |sql: &str| copied(&world.session, sql).unwrap_err();
    write("bad.csv", "time,k,x\n2026-01-01,a,1\n2026-01-02,a,many\n");
    let failed = error("COPY b (time, k, x) FROM 'bad.csv' (FORMAT csv, HEADER match)");
    assert_eq!(failed.code, "22P02");
    assert_eq!(failed.detail.unwrap(), "COPY b, line 3, column x: \"many\"");
    world.check("SELECT count(*) FROM b", &["0"]);
    write("good.txt", "2026-01-01\ta\t1\n2026-01-02\ta\t\\N\n");
    assert_eq!(copied(&world.session, "COPY b (time, k, x) FROM 'good.txt'").unwrap(), "COPY 2");
    world.check("SELECT x FROM b ORDER BY time", &["1", "∅"]);
    // In a block the rows wait for COMMIT.
    world.run("TRUNCATE b");
    world.run("BEGIN");
    copied(&world.session, "COPY b (time, k, x) FROM 'good.txt'").unwrap();
    world.run("ROLLBACK");
    world.check("SELECT count(*) FROM b", &["0"]);
    copied(&world.session, "COPY (SELECT '2026-01-01'::timestamptz AS time, 'a' AS k, v::text AS x FROM (VALUES ('1'), ('two')) AS t(v)) TO 'bad.parquet' (FORMAT parquet)").unwrap();
    let failed = error("COPY b FROM 'bad.parquet' (FORMAT parquet)");
    assert!(failed.detail.clone().unwrap().contains("COPY b, line 2, column x"), "{failed:?}");
    copied(
        &world.session,
        "COPY (SELECT NULL::timestamptz AS time, 'a' AS k) TO 'null.parquet' (FORMAT parquet)",
    )
    .unwrap();
    let failed = error("COPY b FROM 'null.parquet' (FORMAT parquet)");
    assert_eq!(failed.code, "23502");
    copied(
        &world.session,
        "COPY (SELECT ARRAY[1] AS time, 'a' AS k) TO 'list.parquet' (FORMAT parquet)",
    )
    .unwrap();
    assert_eq!(error("COPY b FROM 'list.parquet' (FORMAT parquet)").code, "42804");
    for (sql, code) in [
        ("COPY a TO STDOUT (FORMAT parquet)", "0A000"),
        ("COPY a TO 'x' (FORMAT parquet, HEADER)", "42601"),
        ("COPY a TO 'x' (FORMAT parquet, DELIMITER ',')", "42601"),
        ("COPY a TO 'x' (FORMAT csv, COMPRESSION zstd)", "22023"),
        ("COPY a TO 'x' (FORMAT parquet, COMPRESSION lzo)", "22023"),
        ("COPY a FROM 'x' (FORMAT parquet, COMPRESSION zstd)", "22023"),
        ("COPY a FROM PROGRAM 'cat x'", "0A000"),
    ] {
        assert_eq!(fails(&world.session, sql).code, code, "{sql}");
    }
}

#[test]
fn many_rows_come_in_batches() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path());
    world.run("CREATE TABLE n (time timestamptz, k text, x bigint, PRIMARY KEY (k, time))");
    let query = "SELECT to_timestamp(value) AS time, 'k' || value % 7 AS k, value AS x FROM generate_series(1, 250000) AS value";
    copied(&world.session, &format!("COPY ({query}) TO 'n.parquet' (FORMAT parquet)")).unwrap();
    assert_eq!(
        copied(&world.session, "COPY n FROM 'n.parquet' (FORMAT parquet)").unwrap(),
        "COPY 250000"
    );
    world.check("SELECT count(*), sum(x), count(DISTINCT k) FROM n", &["250000 | 31250125000 | 7"]);
}

/// What a reading of damaged bytes comes to: rows, or an error that says so; never more.
fn check_damaged(world: &World, folder: &Path, bytes: &[u8]) {
    std::fs::write(folder.join("damaged.parquet"), bytes).unwrap();
    if let Err(error) = copied(&world.session, "COPY b FROM 'damaged.parquet' (FORMAT parquet)") {
        assert_ne!(error.code, "XX000", "{error:?}");
    }
    world.run("TRUNCATE b");
}

#[test]
fn damaged_parquet_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let world = filled(folder.path());
    copied(&world.session, "COPY a TO 'a.parquet' (FORMAT parquet)").unwrap();
    let whole = std::fs::read(folder.path().join("a.parquet")).unwrap();
    for length in (0..whole.len()).step_by(7) {
        check_damaged(&world, folder.path(), &whole[..length]);
    }
    let error = |bytes: &[u8]| {
        std::fs::write(folder.path().join("damaged.parquet"), bytes).unwrap();
        code(&world, "COPY b FROM 'damaged.parquet' (FORMAT parquet)")
    };
    assert_eq!(error(&whole[..whole.len() - 1]), "22P04");
    assert_eq!(error(b"time,k\n"), "22P04");
    assert_eq!(error(b""), "22P04");
    world.check("SELECT 1", &["1"]);
}

/// One bit in 149 is flipped; `MILLRACE_FLIP_STEP=1` has all of them flipped, one after the other.
#[test]
fn flipped_parquet_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let world = filled(folder.path());
    copied(&world.session, "COPY a TO 'a.parquet' (FORMAT parquet)").unwrap();
    let whole = std::fs::read(folder.path().join("a.parquet")).unwrap();
    let step = std::env::var("MILLRACE_FLIP_STEP").ok();
    let step = step.map_or(149, |step| step.parse().expect("a number"));
    for bit in (0..whole.len() * 8).step_by(step) {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        println!("bit {bit} of {}", whole.len() * 8);
        check_damaged(&world, folder.path(), &bytes);
    }
}

#[test]
fn progress_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let world = filled(folder.path());
    let watcher = world.engine.session(identity("admin", true), &[]);
    let shown = "SELECT datname, relid::regclass, command, type, bytes_processed, bytes_total, \
                 tuples_processed, tuples_excluded FROM pg_stat_progress_copy";
    let begun = |sql: &str| {
        let statements = world.session.parse(sql).unwrap();
        block_on(world.session.execute(&statements[0], &[])).unwrap()
    };
    let Outcome::CopyIn { .. } = begun("COPY b (time, k) FROM STDIN") else { panic!("no COPY") };
    block_on(world.session.copy_data(b"2026-01-01\ta\n2026-01-02\tb\n2026")).unwrap();
    assert_eq!(rows(&watcher, shown, &[]), ["millrace | b | COPY FROM | PIPE | 30 | 0 | 2 | 0"]);
    let bob = world.session_of("bob");
    assert_eq!(rows(&bob, shown, &[]), ["millrace | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ | ∅"]);
    block_on(world.session.copy_data(b"-01-03\tc\n")).unwrap();
    assert_eq!(block_on(world.session.copy_done()).unwrap(), "COPY 3");
    assert_eq!(rows(&watcher, shown, &[]).len(), 0);
    let Outcome::CopyOut { stream, progress, file: None, .. } = begun("COPY a TO STDOUT") else {
        panic!("no COPY")
    };
    progress.moved(7);
    progress.reached(1);
    assert_eq!(rows(&watcher, shown, &[]), ["millrace | a | COPY TO | PIPE | 7 | 0 | 1 | 0"]);
    drop(stream);
    let Outcome::CopyOut { stream, file: Some(file), .. } =
        begun("COPY (SELECT 1) TO 'x.csv' (FORMAT csv)")
    else {
        panic!("no COPY")
    };
    assert_eq!(rows(&watcher, shown, &[]), ["millrace | - | COPY TO | FILE | 0 | 0 | 0 | 0"]);
    drop((stream, file));
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
}
