//! Rows of COPY in every format, cut anywhere, and what is refused.

use arrow::array::timezone::Tz;
use futures::executor::block_on;
use proptest::prelude::*;
use tsdb::types::ColumnType;

use super::binary::SIGNATURE;
use super::cells;
use crate::tests::harness::*;
use crate::{Outcome, QueryError, QueryResult, TransactionStatus};

const ALL: &str = "SELECT * FROM t ORDER BY device, time";

fn world() -> World {
    let world = World::new();
    world.run(
        "CREATE TABLE t (time timestamptz NOT NULL, device text NOT NULL, v double precision,
         n bigint, b boolean, s text, PRIMARY KEY (device, time))",
    );
    world
}

/// Runs a COPY with the bytes in pieces.
fn copy(world: &World, sql: &str, bytes: &[u8], piece: usize) -> QueryResult<String> {
    let statements = world.session.parse(sql)?;
    block_on(async {
        let outcome = world.session.execute(&statements[0], &[]).await?;
        assert!(matches!(outcome, Outcome::CopyIn { .. }), "{outcome:?}");
        for piece in bytes.chunks(piece.max(1)) {
            world.session.copy_data(piece).await?;
        }
        world.session.copy_done().await
    })
}

/// Copies in pieces of several sizes, and compares the table.
fn check_copy(sql: &str, bytes: &[u8], expect: &[&str]) {
    for piece in [1, 2, 3, 7, 1000] {
        let world = world();
        let tag = copy(&world, sql, bytes, piece).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        assert_eq!(tag, format!("COPY {}", expect.len()), "{sql}");
        world.check(ALL, expect);
    }
}

/// Copies what must be refused; nothing of it is kept.
fn check_refused(sql: &str, bytes: &[u8], code: &str, place: &str) -> QueryError {
    let world = world();
    let error = copy(&world, sql, bytes, 5).expect_err(sql);
    assert_eq!(error.code, code, "{sql}: {error:?}");
    let told = error.detail.clone().unwrap_or_default();
    assert!(told.contains(place), "{sql}: {error:?}");
    world.check("SELECT count(*) FROM t", &["0"]);
    // The COPY is over, the session goes on.
    assert_eq!(block_on(world.session.copy_data(b"x")).unwrap_err().code, "08P01");
    error
}

#[test]
fn text_rows() {
    let expect = [
        "2026-01-01T00:00:00Z | a | 1.5 | -7 | true | plain",
        "2026-01-01T00:00:01Z | a | ∅ | ∅ | ∅ | tab\there\\ \nline",
        "2026-01-01T00:00:00Z | b | 1000.0 | 9 | false | AB\u{e4}",
    ];
    let bytes = "2026-01-01 00:00:00+00\ta\t1.5\t-7\tt\tplain\n\
        2026-01-01 01:00:01+01:00\ta\t\\N\t\\N\t\\N\ttab\\there\\\\ \\nline\n\
        2026-01-01T00:00:00Z\tb\t1e3\t9\tfalse\t\\101\\x42ä";
    check_copy("COPY t FROM STDIN", bytes.as_bytes(), &expect);
    check_copy("COPY public.t FROM STDIN", format!("{bytes}\n\\.\nnonsense").as_bytes(), &expect);
    let crlf = bytes.replace("\n2", "\r\n2");
    check_copy("COPY t FROM STDIN WITH (FORMAT text)", crlf.as_bytes(), &expect);
    let named = "first line\n1|x|2026-01-01|\n2|x|2026-01-02|-";
    let expect =
        ["2026-01-01T00:00:00Z | x | ∅ | 1 | ∅ | ", "2026-01-02T00:00:00Z | x | ∅ | 2 | ∅ | ∅"];
    check_copy(
        "COPY t (n, device, time, s) FROM STDIN (DELIMITER '|', NULL '-', HEADER)",
        named.as_bytes(),
        &expect,
    );
    check_copy(
        "COPY t (n, device, time, s) FROM STDIN WITH DELIMITER AS '|' NULL AS '-'",
        named.strip_prefix("first line\n").unwrap().as_bytes(),
        &expect,
    );
}

#[test]
fn csv_rows() {
    let expect = [
        "2026-01-01T00:00:00Z | a | 1.5 | ∅ | ∅ | say \"x\", twice\nor not",
        "2026-01-02T00:00:00Z | a | ∅ | ∅ | ∅ | ",
        "2026-01-03T00:00:00Z | a | ∅ | ∅ | ∅ | ∅",
    ];
    let bytes = "time,device,v,s\r\n\
        2026-01-01,a,1.5,\"say \"\"x\"\", twice\nor not\"\r\n\
        2026-01-02,\"a\",,\"\"\n2026-01-03,a,,";
    for options in [
        "(FORMAT csv, HEADER)",
        "(FORMAT 'CSV', HEADER true)",
        "(FORMAT csv, HEADER MATCH)",
        "CSV HEADER",
        "WITH CSV HEADER QUOTE AS '\"' ESCAPE '\"' DELIMITER ',' NULL ''",
    ] {
        let sql = format!("COPY t (time, device, v, s) FROM STDIN {options}");
        check_copy(&sql, bytes.as_bytes(), &expect);
    }
    let odd = "2026-01-01;a;1.5;'say \"x\", twice\nor not'\n2026-01-02;a;~;''\n\
        2026-01-03;a;~;~\n\\.\n";
    let sql = "COPY t (time, device, v, s) FROM STDIN
        (FORMAT csv, DELIMITER ';', QUOTE '''', ESCAPE E'\\\\', NULL '~')";
    check_copy(sql, odd.as_bytes(), &expect);
    let escaped = "2026-01-01;a;'1.5';'it\\'s \\\\ b'\n";
    let expect = ["2026-01-01T00:00:00Z | a | 1.5 | ∅ | ∅ | it's \\ b"];
    check_copy(sql, escaped.as_bytes(), &expect);
}

/// A file in the binary format.
fn binary(rows: &[&[Option<&[u8]>]]) -> Vec<u8> {
    let mut out = SIGNATURE.to_vec();
    out.extend([0; 8]);
    for row in rows {
        out.extend((row.len() as i16).to_be_bytes());
        for cell in *row {
            out.extend(cell.map_or(-1, |cell| cell.len() as i32).to_be_bytes());
            out.extend_from_slice(cell.unwrap_or_default());
        }
    }
    out.extend((-1i16).to_be_bytes());
    out
}

/// Two rows of all types.
fn binary_rows() -> Vec<u8> {
    let day = |n: i64| (n * 86_400_000_000).to_be_bytes();
    let first: [Option<&[u8]>; 6] = [
        Some(&day(0)),
        Some(b"a"),
        Some(&1.5f64.to_be_bytes()),
        Some(&(-7i64).to_be_bytes()),
        Some(&[1]),
        Some("ä".as_bytes()),
    ];
    let second: [Option<&[u8]>; 6] = [Some(&day(-1)), Some(b"b"), None, None, None, None];
    binary(&[&first, &second])
}

#[test]
fn binary_rows_are_read() {
    let expect = [
        "2000-01-01T00:00:00Z | a | 1.5 | -7 | true | ä",
        "1999-12-31T00:00:00Z | b | ∅ | ∅ | ∅ | ∅",
    ];
    let bytes = binary_rows();
    check_copy("COPY t FROM STDIN (FORMAT binary)", &bytes, &expect);
    check_copy("COPY BINARY t FROM STDIN", &bytes, &expect);
    check_copy("COPY t FROM STDIN WITH BINARY", &bytes[..bytes.len() - 2], &expect);
}

#[test]
fn errors_of_queries_that_go_out_have_their_place() {
    let world = world();
    let error = world.fails("COPY (SELECT nothing FROM t) TO STDOUT");
    assert_eq!((error.code, error.position), ("42703", Some(14)));
    let error = world.fails("COPY t (nothing) TO STDOUT");
    assert_eq!((error.code, error.position), ("42703", None));
    world.run("COPY (SELECT count(*) FROM (SELECT 1) AS s) TO STDOUT");
    world.run("COPY public.t (v, \"s\") TO STDOUT CSV HEADER");
}

#[test]
fn truncated_and_flipped_binary_rows_never_panic() {
    let bytes = binary_rows();
    let world = world();
    for end in 0..bytes.len() {
        let done = copy(&world, "COPY t FROM STDIN BINARY", &bytes[..end], 4096);
        // Whole rows, or a whole file without its trailer, are what may be taken.
        if let Err(error) = done {
            assert!(matches!(error.code, "22P04"), "{end}: {error:?}");
        }
    }
    for at in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        if let Err(error) = copy(&world, "COPY t FROM STDIN BINARY", &flipped, 4096) {
            let known = ["22P04", "22P03", "22021", "22008", "23502", "54000", "22023"];
            assert!(known.contains(&error.code), "{at}: {error:?}");
        }
    }
    assert_eq!(world.session.transaction(), TransactionStatus::Idle);
}

#[test]
fn bad_rows_are_told_with_their_place() {
    let sql = "COPY t (time, device, v, n) FROM STDIN";
    let good = "2026-01-01\ta\t1\t1\n";
    for (line, code, place) in [
        ("2026-01-01\ta\t1", "22P04", "line 2"),
        ("2026-01-01\ta\t1\t1\t1", "22P04", "line 2"),
        ("", "22007", "line 2, column time"),
        ("2026-13-01\ta\t1\t1", "22007", "line 2, column time: \"2026-13-01\""),
        ("\\N\ta\t1\t1", "23502", "line 2, column time"),
        ("2026-01-01\ta\tx\t1", "22P02", "line 2, column v: \"x\""),
        ("2026-01-01\ta\t1\t1.5", "22P02", "line 2, column n"),
        ("2026-01-01\ta\t1e999\t1", "22003", "line 2, column v"),
        ("2026-01-01\ta\t1\t99999999999999999999", "22003", "line 2, column n"),
        ("2026-01-01\ta\\000\t1\t1", "22021", "line 2, column device"),
    ] {
        check_refused(sql, format!("{good}{line}\n{good}").as_bytes(), code, place);
    }
    check_refused(sql, b"2026-01-01\t\xff\xfe\t1\t1\n", "22021", "line 1, column device");
    let csv = "COPY t (time, device, s) FROM STDIN (FORMAT csv)";
    check_refused(csv, b"2026-01-01,a,\"x\ny\"\nz", "22007", "line 3, column time");
    check_refused(csv, b"2026-01-01,a,\"x\ny", "22P04", "line 1");
    check_refused(csv, b"2026-01-01,a\n", "22P04", "line 1");
    let matched = "COPY t (time, device, s) FROM STDIN (FORMAT csv, HEADER match)";
    check_refused(matched, b"time,s,device\n", "22P04", "line 1");
    let binary = "COPY t FROM STDIN (FORMAT binary)";
    check_refused(binary, b"PGCOPY\n\xff\r\n\0\0\x01\0\0\0\0\0\0", "22P04", "");
    check_refused(binary, b"not a file of COPY at all", "22P04", "");
    let mut huge = SIGNATURE.to_vec();
    huge.extend([0; 8]);
    huge.extend([0, 6, 0x7f, 0xff, 0xff, 0xff]);
    check_refused(binary, &huge, "54000", "line 1");
}

#[test]
fn wrong_copies_are_refused() {
    let world = world();
    for (sql, code) in [
        ("COPY missing FROM STDIN", "42P01"),
        ("COPY pg_catalog.pg_class FROM STDIN", "42P01"),
        ("COPY t (time, nothing) FROM STDIN", "42703"),
        ("COPY t (time, time) FROM STDIN", "42701"),
        ("COPY t (v) FROM STDIN", "23502"),
        ("COPY t FROM STDIN (FORMAT xml)", "22023"),
        ("COPY t FROM STDIN (DELIMITER 'ab')", "22023"),
        ("COPY t FROM STDIN (DELIMITER 'a')", "22023"),
        ("COPY t FROM STDIN (FORMAT csv, DELIMITER '\"')", "22023"),
        ("COPY t FROM STDIN (QUOTE 'x')", "22023"),
        ("COPY t FROM STDIN (FORMAT binary, HEADER)", "42601"),
        ("COPY t FROM STDIN (FORMAT csv, FORMAT csv)", "42601"),
        ("COPY t FROM STDIN (FORCE_NULL (a))", "0A000"),
        ("COPY t FROM STDIN (NONSENSE)", "42601"),
        ("COPY t FROM STDIN (FORMAT csv", "42601"),
        ("COPY t FROM STDIN (ENCODING 'LATIN1')", "0A000"),
        ("COPY t FROM '/tmp/x'", "55000"),
        ("COPY t FROM STDOUT", "42601"),
        ("COPY (SELECT 1) FROM STDIN", "42601"),
        ("COPY (DROP TABLE t) TO STDOUT", "42601"),
        ("COPY t", "42601"),
        ("COPY missing TO STDOUT", "42P01"),
    ] {
        assert_eq!(world.fails(sql).code, code, "{sql}");
    }
    let reader = world.engine.session(identity("reader", false), &[]);
    assert_eq!(fails(&reader, "COPY t FROM STDIN").code, "42501");
    world.run("BEGIN READ ONLY");
    assert_eq!(world.fails("COPY t FROM STDIN").code, "25006");
    world.run("ROLLBACK");
}

/// Lines of `rows` rows, one a second, of ten devices.
fn lines(rows: std::ops::Range<u64>) -> Vec<u8> {
    let line = |n: u64| {
        let (day, hour, minute, second) = (n / 86_400, n / 3_600 % 24, n / 60 % 60, n % 60);
        let device = n % 10;
        format!("2026-01-{:02} {hour:02}:{minute:02}:{second:02}+00\td{device}\t{n}\n", day + 1)
    };
    rows.map(line).collect::<String>().into_bytes()
}

#[test]
fn batches_commit_by_themselves_outside_of_a_block() {
    let world = world();
    let sql = "COPY t (time, device, n) FROM STDIN";
    let before = world.engine.db().snapshot().position();
    assert_eq!(copy(&world, sql, &lines(0..250_000), 65_536).unwrap(), "COPY 250000");
    assert_eq!(world.engine.db().snapshot().position(), before + 3);
    world.check("SELECT count(*), sum(n) FROM t", &["250000 | 31249875000"]);
    // An error keeps the batches before it and nothing of its own.
    let world = self::world();
    let mut bytes = lines(0..150_000);
    bytes.extend(b"nonsense\n");
    assert_eq!(copy(&world, sql, &bytes, 65_536).unwrap_err().code, "22007");
    // The batch before it may still be on its way.
    for _ in 0..1_000 {
        if rows(&world.session, "SELECT count(*) FROM t", &[]) == ["100000"] {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    world.check("SELECT count(*) FROM t", &["100000"]);
}

#[test]
fn in_a_block_rows_wait_for_commit() {
    let world = world();
    let sql = "COPY t (time, device, n) FROM STDIN";
    world.run("BEGIN");
    copy(&world, sql, &lines(0..110_000), 65_536).unwrap();
    let other = world.engine.session(identity("admin", true), &[]);
    assert_eq!(rows(&other, "SELECT count(*) FROM t", &[]), ["0"]);
    world.run("SAVEPOINT s");
    copy(&world, sql, &lines(110_000..110_010), 65_536).unwrap();
    world.run("ROLLBACK TO s; COMMIT");
    world.check("SELECT count(*) FROM t", &["110000"]);
    world.run("BEGIN");
    copy(&world, sql, b"nonsense\n", 65_536).unwrap_err();
    assert_eq!(world.session.transaction(), TransactionStatus::Failed);
    world.run("ROLLBACK");
}

#[test]
fn a_copy_that_is_given_up_leaves_nothing() {
    let world = world();
    let statements = world.session.parse("COPY t (time, device, n) FROM STDIN").unwrap();
    block_on(async {
        world.session.execute(&statements[0], &[]).await.unwrap();
        world.session.copy_data(&lines(0..100)).await.unwrap();
        let error = world.session.copy_fail("enough");
        assert_eq!(error.code, "57014");
        assert!(error.message.contains("enough"));
        // One that is left for another statement is forgotten.
        world.session.execute(&statements[0], &[]).await.unwrap();
        world.session.copy_data(&lines(0..100)).await.unwrap();
    });
    world.check("SELECT count(*) FROM t", &["0"]);
    assert_eq!(block_on(world.session.copy_done()).unwrap_err().code, "08P01");
    block_on(async {
        world.session.execute(&statements[0], &[]).await.unwrap();
        world.session.cancel();
        assert_eq!(world.session.copy_stopped().await.code, "57014");
    });
}

#[test]
fn a_row_without_end_is_refused() {
    let world = world();
    let statements = world.session.parse("COPY t FROM STDIN").unwrap();
    block_on(async {
        world.session.execute(&statements[0], &[]).await.unwrap();
        let piece = vec![b'x'; 1 << 20];
        let error = loop {
            if let Err(error) = world.session.copy_data(&piece).await {
                break error;
            }
        };
        assert_eq!(error.code, "54000");
    });
}

proptest! {
    /// The fast ways to read a cell agree with the slow twin wherever they answer.
    #[test]
    fn cells_agree_with_their_twin(text in cell_text(), zone in zone()) {
        let tz: Tz = zone.parse().unwrap();
        for kind in [
            ColumnType::Int16, ColumnType::Int32, ColumnType::Int64, ColumnType::Float32,
            ColumnType::Float64, ColumnType::Bool, ColumnType::Timestamp,
        ] {
            let fast = cells::scalar(text.as_bytes(), kind, &tz, zone == "+00:00");
            let slow = cells::slow(text.as_bytes(), kind, &tz);
            // In words, where NaN is the same as NaN.
            let (fast, slow) = (format!("{fast:?}"), format!("{slow:?}"));
            prop_assert_eq!(fast, slow, "{} as {:?}", text, kind);
        }
    }

    /// Any bytes in any format end in rows or an error.
    #[test]
    fn any_bytes_end_in_rows_or_an_error(
        bytes in prop::collection::vec(hostile_byte(), 0..200),
        format in prop::sample::select(vec!["text", "csv", "binary"]),
        piece in 1usize..50,
    ) {
        let world = world();
        let sql = format!("COPY t (time, s, n) FROM STDIN (FORMAT {format})");
        // No device: it is a key, and may be missing.
        let whole = copy(&world, &sql, &bytes, usize::MAX);
        let pieces = copy(&world, &sql, &bytes, piece);
        prop_assert_eq!(whole, pieces);
    }
}

fn zone() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["+00:00", "Europe/Berlin", "-03:30"]).prop_map(str::to_string)
}

/// Bytes that mean something to a format more often than not.
fn hostile_byte() -> impl Strategy<Value = u8> {
    prop_oneof![prop::sample::select(b"\n\r\t,\"\\N.0126-: a\0".to_vec()), any::<u8>(),]
}

fn cell_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[-+]?[0-9]{1,22}",
        "[-+]?[0-9]{0,9}[.]?[0-9]{0,9}([eE][-+]?[0-9]{1,3})?",
        "(1[5-9]|2[0-3])[0-9]{2}-[01][0-9]-[0-3][0-9][ T]\
         [0-2][0-9]:[0-6][0-9]:[0-6][0-9]([.][0-9]{1,10})?\
         (Z|[-+][01][0-9](:[0-6][0-9])?)?",
        "t|f|true|false|yes|no|on|off|0|1|inf|-Infinity|NaN|epoch| 5 |2026-01-01|",
        ".{0,8}",
    ]
}
