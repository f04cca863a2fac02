//! Which columns of which tables the columns of results are, and objects as numbers.

use arrow::datatypes::SchemaRef;
use futures::executor::block_on;

use super::harness::*;
use crate::catalog::functions::names::Register;
use crate::catalog::{BUILTINS, Builtin, sql_name};
use crate::{Outcome, PG_ORIGIN};

/// What PostgreSQL 15 says of the same statements over the same columns.
const AS_IN_POSTGRES: &[(&str, &str)] = &[
    ("SELECT * FROM press", "press.1 press.2 press.3 press.4 press.5 press.6 press.7"),
    (
        "SELECT note, time FROM press WHERE device = 'p1' ORDER BY time DESC LIMIT 2",
        "press.7 press.1",
    ),
    ("SELECT note AS n, p.device FROM press AS p", "press.7 press.2"),
    ("SELECT device, max(strokes), count(*) FROM press GROUP BY device", "press.2 - -"),
    (
        "SELECT device || 'x', temperature::real, (temperature), NULL, 1 FROM press",
        "- - press.4 - -",
    ),
    ("SELECT DISTINCT site FROM press", "press.3"),
    (
        "SELECT DISTINCT ON (device) device, time, note FROM press ORDER BY device, time DESC",
        "press.2 press.1 press.7",
    ),
    ("SELECT a.note, b.site FROM press a JOIN press b ON a.device = b.device", "press.7 press.3"),
    ("SELECT a.note, b.site FROM press a LEFT JOIN press b USING (device)", "press.7 press.3"),
    ("SELECT x.b, x.a FROM (SELECT device AS a, strokes + 1 AS b FROM press) AS x", "- press.2"),
    (
        "WITH x AS (SELECT device, strokes FROM press) SELECT strokes, device FROM x",
        "press.5 press.2",
    ),
    ("SELECT device FROM press UNION ALL SELECT note FROM press", "-"),
    ("SELECT * FROM v", "v.1 v.2 v.3"),
    ("SELECT twice, device FROM w WHERE time > now()", "w.2 w.1"),
    ("SELECT device, row_number() OVER (ORDER BY time) FROM press", "press.2 -"),
    ("SELECT (SELECT max(note) FROM press), device FROM press", "- press.2"),
    ("SELECT relname, oid FROM pg_class", "pg_class.2 pg_class.1"),
    ("SELECT indexrelid, indrelid::regclass FROM pg_index", "pg_index.1 -"),
    ("SELECT current_user, 1", "- -"),
    ("SELECT device FROM press WHERE device IN (SELECT note FROM press)", "press.2"),
    (
        "SELECT device, avg(temperature) FROM press GROUP BY device HAVING count(*) > 1 ORDER BY 2 LIMIT 1",
        "press.2 -",
    ),
    (
        "INSERT INTO press (time, device, strokes) VALUES (now(), 'p9', 1) RETURNING device, strokes",
        "press.2 press.5",
    ),
    (
        "UPDATE press SET strokes = 1 WHERE device = 'p1' RETURNING strokes, device, temperature + 1",
        "press.5 press.2 -",
    ),
    (
        "DELETE FROM press WHERE device = 'p9' RETURNING *",
        "press.1 press.2 press.3 press.4 press.5 press.6 press.7",
    ),
];

/// Origins as `table.number`, `-` where there is none.
fn origins(world: &World, schema: &SchemaRef) -> String {
    let shown = schema.fields().iter().map(|field| {
        let Some(origin) = field.metadata().get(PG_ORIGIN) else { return "-".to_string() };
        let (table, column) = origin.split_once('.').unwrap();
        let name = rows(&world.session, &format!("SELECT {table}::regclass::text"), &[]).remove(0);
        let number = format!(
            "SELECT attname FROM pg_attribute WHERE attrelid = {table} AND attnum = {column}"
        );
        assert_eq!(rows(&world.session, &number, &[]).len(), 1, "{origin}");
        format!("{name}.{column}")
    });
    shown.collect::<Vec<_>>().join(" ")
}

fn check_origins(world: &World, sql: &str, expect: &str) {
    let statements = world.session.parse(sql).unwrap();
    let described = block_on(world.session.describe(&statements[0], &[])).unwrap().fields.unwrap();
    assert_eq!(origins(world, &described), expect, "described: {sql}");
    let outcome = block_on(world.session.execute(&statements[0], &[])).unwrap();
    let Outcome::Rows { schema, stream, .. } = outcome else { panic!("{sql} gives no rows") };
    drop(stream);
    assert_eq!(origins(world, &schema), expect, "{sql}");
}

#[test]
fn origins_are_those_of_postgres() {
    let world = World::with_presses();
    world.run("CREATE VIEW v AS SELECT device, temperature * 2 AS twice, time FROM press");
    world.run("CREATE VIEW w AS SELECT * FROM v");
    for native in ["on", "off"] {
        world.run(&format!("SET millrace.use_native = {native}"));
        for (sql, expect) in AS_IN_POSTGRES {
            check_origins(&world, sql, expect);
        }
    }
}

#[test]
fn origins_of_what_postgres_does_not_have() {
    let world = World::with_presses();
    world.run(
        "CREATE MATERIALIZED VIEW hours WITH (continuous, refresh_every = 'none') AS SELECT \
         time_bucket('1 hour', time) AS hour, device, count(*) AS n FROM press GROUP BY hour, device",
    );
    check_origins(&world, "SELECT n, hour FROM hours", "hours.3 hours.1");
    check_origins(
        &world,
        "SELECT time, device, avg(strokes) FROM press SAMPLE BY 1h",
        "- press.2 -",
    );
    check_origins(&world, "SELECT device, temperature__quality FROM press", "press.2 -");
    check_origins(
        &world,
        "SELECT time_bucket_gapfill('1 hour', time) AS h, device, locf(max(strokes)) FROM press \
         WHERE time >= '2026-01-01' AND time < '2026-01-02' GROUP BY h, device",
        "- press.2 -",
    );
    world.run("BEGIN");
    world.run("DECLARE c CURSOR FOR SELECT note, strokes + 1 FROM press");
    check_origins(&world, "FETCH 1 FROM c", "press.7 -");
    world.run("COMMIT");
}

#[test]
fn objects_come_as_numbers_where_they_are_wanted() {
    let world = World::with_presses();
    let sql = "SELECT 'press'::regclass, attrelid::regclass, atttypid::regtype FROM pg_attribute \
               WHERE attrelid = 'press'::regclass AND attnum = 1";
    let statements = world.session.parse(sql).unwrap();
    let run = |numbered: &[bool]| {
        text_of(block_on(world.session.execute_numbered(&statements[0], &[], numbered)).unwrap())
    };
    let oid = rows(&world.session, "SELECT 'press'::regclass::oid", &[]).remove(0);
    assert_eq!(run(&[]), ["press | press | timestamp with time zone"]);
    assert_eq!(run(&[true, false, true]), [format!("{oid} | press | 1184")]);
    assert_eq!(run(&[false, true, false]), [format!("press | {oid} | timestamp with time zone")]);
    // The wish ends with its statement.
    assert_eq!(run(&[]), ["press | press | timestamp with time zone"]);
    for register in Register::ALL {
        let sql = format!("SELECT 0::oid::{}", register.name());
        let statements = world.session.parse(&sql).unwrap();
        let got = block_on(world.session.execute_numbered(&statements[0], &[], &[true])).unwrap();
        assert_eq!(text_of(got), ["0"], "{sql}");
    }
}

#[test]
fn functions_of_postgres_are_listed_and_can_be_called() {
    let world = World::with_presses();
    let session = &world.session;
    world.check(
        "SELECT oid, prokind, provolatile, prorettype::regtype, pronargs, pg_get_function_arguments(oid) \
         FROM pg_proc WHERE oid IN (870, 1299, 2803, 1217, 3133) ORDER BY oid",
        &[
            "870 | f | i | text | 1 | text",
            "1217 | f | s | timestamp with time zone | 2 | text, timestamp with time zone",
            "1299 | f | s | timestamp with time zone | 0 | ",
            "2803 | a | i | bigint | 0 | ",
        ],
    );
    world.check("SELECT 'now'::regproc, 'lower(text)'::regprocedure::oid", &["now | 870"]);
    world.check("SELECT to_regproc('abs'), to_regprocedure('abs(integer)')", &["∅ | abs(integer)"]);
    assert_eq!(world.fails("SELECT 'abs'::regproc").code, "42725");
    assert_eq!(world.fails("SELECT 'abs(text)'::regprocedure").code, "42883");
    // Those that are read as tables, and those of arguments in other forms, are called elsewhere.
    let elsewhere = |f: &&Builtin| f.set || f.variadic != 0 || f.text.contains("ORDER BY");
    let mut called = 0;
    for f in BUILTINS.iter().filter(|f| !elsewhere(f)) {
        let argument = |oid: &i64| match sql_name(*oid).as_str() {
            "anyarray" | "anycompatiblearray" => "NULL::integer[]".to_string(),
            any if any.contains("any") => "NULL::integer".to_string(),
            other => format!("NULL::{other}"),
        };
        let arguments: Vec<String> = f.arguments.iter().map(argument).collect();
        let arguments = match (f.name, f.kind) {
            ("current_user" | "session_user", _) => String::new(),
            ("count", "a") if arguments.is_empty() => "(*)".to_string(),
            _ => format!("({})", arguments.join(", ")),
        };
        let over = if f.kind == "w" { " OVER (ORDER BY time)" } else { "" };
        let sql = format!("SELECT {}{arguments}{over} FROM press", f.name);
        let statements = session.parse(&sql).unwrap_or_else(|e| panic!("{sql}\n{e:?}"));
        if let Err(error) = block_on(session.describe(&statements[0], &[])) {
            assert!(!error.message.contains("does not exist"), "{sql}\n{error:?}");
            assert!(!error.message.contains("Invalid function"), "{sql}\n{error:?}");
        }
        called += 1;
    }
    assert!(called > 400, "{called}");
}

#[test]
fn pgjdbc_finds_the_tables_of_columns() {
    let world = World::with_presses();
    let oid = rows(&world.session, "SELECT 'press'::regclass::oid", &[]).remove(0);
    world.check(
        &format!(
            "SELECT c.oid, a.attnum, a.attname, c.relname, n.nspname, \
             a.attnotnull OR (t.typtype = 'd' AND t.typnotnull), \
             a.attidentity != '' OR pg_catalog.pg_get_expr(d.adbin, d.adrelid) LIKE '%nextval(%' \
             FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON (c.relnamespace = n.oid) \
             JOIN pg_catalog.pg_attribute a ON (c.oid = a.attrelid) \
             JOIN pg_catalog.pg_type t ON (a.atttypid = t.oid) \
             LEFT JOIN pg_catalog.pg_attrdef d ON (d.adrelid = a.attrelid AND d.adnum = a.attnum) \
             JOIN (SELECT {oid} AS oid, 2 AS attnum UNION ALL SELECT {oid}, 1) vals \
             ON (c.oid = vals.oid AND a.attnum = vals.attnum) ORDER BY a.attnum"
        ),
        &[
            &format!("{oid} | 1 | time | press | public | true | ∅"),
            &format!("{oid} | 2 | device | press | public | false | ∅"),
        ],
    );
}
