//! Tests of splitting and of the statements read off the tokens.

use arrow::datatypes::DataType;

use super::*;

fn kinds(sql: &str) -> Vec<String> {
    let statements = parse(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    statements.iter().map(|s| format!("{:?}", s.kind())).collect()
}

#[test]
fn splits_and_keeps_texts() {
    let statements = parse(" select 1 ;; -- x\n select ';' as \"ä;\" /* ; */ ; ").unwrap();
    let texts: Vec<_> = statements.iter().map(|s| s.text()).collect();
    assert_eq!(texts, ["select 1", "select ';' as \"ä;\""]);
    assert!(parse(" ; -- nothing").unwrap()[0].is_empty());
    assert!(parse("").unwrap()[0].is_empty());
}

#[test]
fn reads_settings() {
    assert_eq!(
        kinds(
            "SET TimeZone TO 'Europe/Berlin'; SET LOCAL a.b = -3; SET x = DEFAULT; SET TIME ZONE UTC"
        ),
        [
            "Set { name: \"timezone\", value: Text(\"Europe/Berlin\"), local: false }",
            "Set { name: \"a.b\", value: Text(\"-3\"), local: true }",
            "Set { name: \"x\", value: Default, local: false }",
            "Set { name: \"timezone\", value: Text(\"UTC\"), local: false }",
        ]
    );
    assert_eq!(kinds("show transaction isolation level"), ["Show(\"transaction_isolation\")"]);
    assert_eq!(kinds("reset all"), ["Reset(None)"]);
}

#[test]
fn reads_transactions() {
    assert_eq!(
        kinds(
            "begin; start transaction isolation level serializable, read only; end; abort and chain"
        ),
        [
            "Begin { read_only: false }",
            "Begin { read_only: true }",
            "Commit { and_chain: false }",
            "Rollback { and_chain: true }",
        ]
    );
}

#[test]
fn reads_maintenance() {
    assert_eq!(
        kinds("checkpoint; vacuum full public.cpu; vacuum (full, verbose); vacuum"),
        [
            "Checkpoint",
            "Vacuum { full: true, table: Some(\"public\\u{1}cpu\") }",
            "Vacuum { full: true, table: None }",
            "Vacuum { full: false, table: None }",
        ]
    );
}

#[test]
fn reads_backups() {
    assert_eq!(
        kinds(
            "backup to 'file:///b'; BACKUP FULL TO 'it''s'; backup drilled from 'u' with 'rto=1'"
        ),
        [
            "Backup(Take { url: \"file:///b\", full: false })",
            "Backup(Take { url: \"it's\", full: true })",
            "Backup(Drilled { url: \"u\", figures: \"rto=1\", failed: None })",
        ]
    );
    for sql in ["backup", "backup to", "backup to x", "backup full 'x'", "backup to 'x' 'y'"] {
        assert_eq!(parse(sql).unwrap_err().code, "42601", "{sql}");
    }
}

#[test]
fn reads_roles_and_never_shows_their_passwords() {
    let statements = parse("CREATE USER bob WITH PASSWORD 's3cret!!' WRITE NOSUPERUSER").unwrap();
    let Kind::CreateRole { role, .. } = statements[0].kind() else { panic!() };
    assert_eq!(role.password.as_deref(), Some("s3cret!!"));
    assert_eq!(
        (role.can_write, role.can_login, role.superuser),
        (Some(true), Some(true), Some(false))
    );
    assert!(!format!("{:?}", statements[0].kind()).contains("s3cret"));
    assert!(matches!(parse("drop role if exists a, \"B\"").unwrap()[0].kind(),
        Kind::DropRole { names, if_exists: true } if names == &["a", "B"]));
}

#[test]
fn syntax_errors_have_a_position() {
    for (sql, position, near) in [
        ("SELEC 1", 1, "SELEC"),
        ("SELECT 1\nFROM t WHERE )", 23, ")"),
        ("SELECT 1; SELECT 'ä' 2 3", 22, "2"),
        ("SET x y", 7, "y"),
        ("SELECT (1", 10, "end of input"),
    ] {
        let error = parse(sql).unwrap_err();
        assert_eq!(error.code, "42601", "{sql}");
        assert_eq!(error.position, Some(position), "{sql}: {error:?}");
        assert!(error.message.contains(near), "{sql}: {error:?}");
    }
    assert_eq!(parse("SELECT 'abc").unwrap_err().code, "42601");
}

#[test]
fn deep_nesting_is_refused() {
    let sql = format!("SELECT {}1{}", "(".repeat(5000), ")".repeat(5000));
    assert_eq!(parse(&sql).unwrap_err().code, "54001");
}

#[test]
fn what_is_not_done_says_so() {
    for sql in [
        "COPY t TO PROGRAM 'cat'",
        "DECLARE c BINARY CURSOR FOR SELECT 1",
        "COMMENT ON DATABASE d IS 'x'",
        "LOCK TABLE t",
    ] {
        let statements = parse(sql).unwrap();
        let Kind::Unsupported(error) = statements[0].kind() else { panic!("{sql}") };
        assert_eq!(error.code, "0A000", "{sql}");
    }
}

#[test]
fn reserved_words_are_no_names() {
    for (sql, position) in [
        ("SELECT FROM WHERE", 13),
        ("SELECT * FROM select", 15),
        ("SELECT 1 FROM order", 15),
        ("SELECT a FROM t AS where", 20),
        ("INSERT INTO t (time, limit) VALUES (1, 2)", 22),
        ("CREATE TABLE t (time timestamptz PRIMARY KEY, user_name text, end text)", 63),
        ("WITH w AS (SELECT 1) SELECT * FROM w,\n having", 40),
    ] {
        let error = parse(sql).expect_err(sql);
        assert_eq!(error.code, "42601", "{sql}: {error:?}");
        assert_eq!(error.position, Some(position), "{sql}: {error:?}");
    }
    for sql in [
        "SELECT \"where\" FROM \"from\" AS \"select\"",
        "SELECT s.order FROM public.table AS s",
        "SELECT current_user, user, current_date, current_timestamp, localtime, true, null",
        "SELECT time, value, key, name, type, level, role FROM data AS row",
        "SELECT a AS from, b AS where FROM t",
        "INSERT INTO t (time, v) VALUES (DEFAULT, 1)",
        "SELECT left(a, 2), right(a, 2) FROM t LEFT JOIN u USING (a)",
        "SELECT * FROM generate_series(1, 2) AS g, LATERAL (SELECT 1) AS l",
        "SELECT ARRAY[1], ARRAY(SELECT 1), CAST(a AS int), count(DISTINCT a) FROM t",
        "SELECT a FROM t WHERE a = ANY (ARRAY[1]) AND b <> ALL (SELECT 1)",
    ] {
        parse(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
}

#[test]
fn reads_prepared_statements() {
    assert_eq!(
        kinds("DEALLOCATE ALL; DEALLOCATE PREPARE \"S\"; SAVEPOINT a; RELEASE a; ROLLBACK TO a"),
        [
            "OfPrepared(Deallocate(None))",
            "OfPrepared(Deallocate(Some(\"S\")))",
            "Savepoint(\"a\")",
            "Release(\"a\")",
            "RollbackTo(\"a\")",
        ]
    );
    let statements =
        parse("PREPARE s (int, double precision, unknown) AS SELECT $1, $2, $3; EXECUTE s(1, 'a')")
            .unwrap();
    let Some(OfPrepared::Prepare { name, types, statement }) = statements[0].of_prepared() else {
        panic!()
    };
    assert_eq!((name.as_str(), statement.text()), ("s", "SELECT $1, $2, $3"));
    assert_eq!(*types, [Some(DataType::Int32), Some(DataType::Float64), None]);
    let Some(OfPrepared::Execute { name, arguments: Some(list) }) = statements[1].of_prepared()
    else {
        panic!()
    };
    assert_eq!(name, "s");
    assert!(matches!(list.kind(), Kind::Query(_)));
    for (sql, position) in [
        ("PREPARE s", 10),
        ("PREPARE s AS", 13),
        ("PREPARE s AS VACUUM", 14),
        ("PREPARE s (int AS SELECT 1", 16),
        ("EXECUTE s (1) x", 11),
        ("EXECUTE s (1 FROM t)", 11),
        ("EXECUTE s (1", 11),
        ("DEALLOCATE", 11),
    ] {
        let error = parse(sql).expect_err(sql);
        assert_eq!((error.code, error.position), ("42601", Some(position)), "{sql}: {error:?}");
    }
    assert_eq!(parse("PREPARE s (nonsense) AS SELECT 1").unwrap_err().code, "42704");
}

#[test]
fn effects() {
    let check = |sql: &str, expected: Effect| {
        assert_eq!(parse(sql).unwrap()[0].effect(), expected, "{sql}");
    };
    for sql in ["", "SELECT 1", "EXPLAIN SELECT 1", "SHOW ALL", "SHOW x", "VALUES (1)"] {
        check(sql, Effect::Reads);
    }
    for sql in ["BEGIN", "START TRANSACTION", "COMMIT", "ROLLBACK", "END", "ABORT"] {
        check(sql, Effect::Transaction);
    }
    check("SET TimeZone = 'UTC'", Effect::Setting(Some("timezone".into())));
    check("RESET x", Effect::Setting(Some("x".into())));
    check("RESET ALL", Effect::Setting(None));
    check("DISCARD ALL", Effect::Setting(None));
    for sql in ["LISTEN a", "UNLISTEN *", "PREPARE p AS SELECT 1", "EXECUTE p", "DEALLOCATE p"] {
        check(sql, Effect::Session);
    }
    for sql in [
        "INSERT INTO t VALUES (1)",
        "DELETE FROM t",
        "CREATE TABLE t (time timestamptz, PRIMARY KEY (time))",
        "SET LOCAL x = 1",
        "NOTIFY a",
        "SAVEPOINT s",
        "COPY t FROM STDIN",
        "FETCH 1 FROM c",
    ] {
        check(sql, Effect::Changes);
    }
}
