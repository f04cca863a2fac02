//! Queries over time-series tables: filters, aggregates, functions, EXPLAIN.

use datafusion::scalar::ScalarValue;
use futures::executor::block_on;

use super::harness::*;

#[test]
fn all_rows_and_columns() {
    let world = World::with_presses();
    world.check("SELECT count(*) FROM press", &["6"]);
    world.check(
        "SELECT * FROM press WHERE device = 'p1' ORDER BY time",
        &[
            "2026-01-01T00:00:00Z | p1 | north | 20.5 | 1 | true | a",
            "2026-01-01T00:01:00Z | p1 | north | 21.5 | 2 | true | ∅",
            "2026-01-01T00:02:00Z | p1 | north | 22.5 | 3 | false | c",
        ],
    );
    world.check("SELECT note FROM public.press WHERE device = 'p3'", &["f"]);
    world.check("SELECT note FROM millrace.public.press WHERE device = 'p3'", &["f"]);
}

#[test]
fn survives_flush_and_merge() {
    let world = World::with_presses();
    let sql = "SELECT device, site, count(*), max(temperature), min(time) FROM press
               GROUP BY device, site ORDER BY device";
    let expect = [
        "p1 | north | 3 | 22.5 | 2026-01-01T00:00:00Z",
        "p2 | north | 2 | 30.0 | 2026-01-01T00:00:30Z",
        "p3 | ∅ | 1 | 40.0 | 2026-01-01T00:00:00Z",
    ];
    world.check(sql, &expect);
    assert_eq!(world.run("CHECKPOINT"), "CHECKPOINT");
    world.check(sql, &expect);
    assert_eq!(world.run("VACUUM FULL press"), "VACUUM");
    world.check(sql, &expect);
    world.check("SELECT part_rows, head_rows FROM sys.tables", &["6 | 0"]);
}

/// Each filter on keys and times must select what the same filter selects when DataFusion
/// evaluates it row by row; adding 0 to a column hides it from pushdown.
#[test]
fn pushed_filters_equal_plain_ones() {
    let world = World::with_presses();
    world.run("CHECKPOINT");
    let filters = [
        ("device = 'p1'", "concat(device, '') = 'p1'"),
        ("device <> 'p1'", "concat(device, '') <> 'p1'"),
        ("'p2' = device", "'p2' = concat(device, '')"),
        ("device IN ('p1', 'p3')", "concat(device, '') IN ('p1', 'p3')"),
        ("device NOT IN ('p1')", "concat(device, '') NOT IN ('p1')"),
        ("device LIKE 'p%'", "concat(device, note) LIKE 'p%' OR note IS NULL"),
        ("device ILIKE 'P2'", "upper(device) = 'P2'"),
        ("device ~ '[12]$'", "device = 'p1' OR device = 'p2'"),
        ("upper(device) || 'x' = 'P1x'", "device = 'p1'"),
        ("site IS NULL", "device = 'p3'"),
        ("site IS NOT NULL", "device <> 'p3'"),
        ("site = ''", "false"),
        ("coalesce(site, 'none') = 'none'", "device = 'p3'"),
        ("device = 'p1' OR site IS NULL", "device IN ('p1', 'p3')"),
        ("device = 'p1' AND site = 'north'", "device = 'p1'"),
        ("NOT (device = 'p1')", "device <> 'p1'"),
        ("device = 'nobody'", "false"),
        ("device = 'p1' AND time > '2026-01-01 00:01:00+00'", "note = 'c'"),
        ("time >= '2026-01-01 00:01:00+00'", "strokes IN (2, 3, 11)"),
        ("time = '2026-01-01 00:01:00+00'", "strokes = 2"),
        ("time BETWEEN '2026-01-01 00:00:30+00' AND '2026-01-01 00:01:00Z'", "strokes IN (2, 10)"),
        ("time < '2026-01-01'::timestamptz + interval '30 seconds'", "strokes IN (1, 100)"),
        ("time IN ('2026-01-01 00:01:00+00', '2026-01-01 00:02:00+00')", "strokes IN (2, 3)"),
        ("time <> '2026-01-01 00:01:00+00'", "strokes <> 2"),
        ("time > now()", "false"),
        ("time < now() OR device = 'p1'", "true"),
        ("date_trunc('hour', time) = '2026-01-01 01:00:00+00'", "strokes = 11"),
        ("temperature > 21 AND device = 'p1'", "strokes IN (2, 3)"),
        ("strokes >= 10 AND strokes < 100", "strokes IN (10, 11)"),
        ("note >= 'd'", "strokes IN (10, 11, 100)"),
        ("device = note", "false"),
    ];
    for (pushed, plain) in filters {
        let of = |filter: &str| {
            rows(
                &world.session,
                &format!("SELECT strokes FROM press WHERE {filter} ORDER BY 1"),
                &[],
            )
        };
        assert_eq!(of(pushed), of(plain), "{pushed}");
    }
}

#[test]
fn keys_and_times_are_not_filtered_twice() {
    let world = World::with_presses();
    let plan = rows(
        &world.session,
        "EXPLAIN SELECT strokes FROM press WHERE device LIKE 'p%' AND site IS NOT NULL
         AND time >= '2026-01-01' AND time < '2026-01-02'",
        &[],
    );
    let text = plan.join("\n");
    assert!(!text.contains("FilterExec"), "{text}");
    assert!(text.contains("series=2 of 3"), "{text}");
    assert!(text.contains("time=2026-01-01 00:00:00Z to 2026-01-01 23:59:59.999999Z"), "{text}");
}

#[test]
fn explain_analyze_tells_what_was_read() {
    let world = World::with_presses();
    world.run("CHECKPOINT");
    let plan = rows(
        &world.session,
        "EXPLAIN ANALYZE SELECT strokes FROM press WHERE device = 'p1' AND time < '2026-01-03'",
        &[],
    );
    let text = plan.join("\n");
    for word in ["partitions=", "parts=", "row_groups=", "zones_pruned=", "rows_read=3", "Rows: 3"]
    {
        assert!(text.contains(word), "{word} in {text}");
    }
}

#[test]
fn time_in_buckets() {
    let world = World::with_presses();
    world.check(
        "SELECT time_bucket('1 minute', time) AS m, avg(temperature) FROM press
         WHERE device = 'p1' GROUP BY m ORDER BY m",
        &[
            "2026-01-01T00:00:00Z | 20.5",
            "2026-01-01T00:01:00Z | 21.5",
            "2026-01-01T00:02:00Z | 22.5",
        ],
    );
    world.check(
        "SELECT time_bucket(INTERVAL '1 week', time) FROM press LIMIT 1",
        &["2025-12-29T00:00:00Z"],
    );
    world.check(
        "SELECT time_bucket('1 month', '2026-02-17 10:00:00+00'::timestamptz)",
        &["2026-02-01T00:00:00Z"],
    );
    world.check(
        "SELECT date_bin('1 hour', time) h, count(*) FROM press GROUP BY 1 ORDER BY 1",
        &["2026-01-01T00:00:00Z | 5", "2026-01-01T01:00:00Z | 1"],
    );
    world.check(
        "SELECT date_bin(INTERVAL '1 minute', time, '2000-01-01') h FROM press
         WHERE strokes = 10",
        &["2026-01-01T00:00:00Z"],
    );
    world.check(
        "SELECT date_trunc('hour', time) h, sum(strokes) FROM press GROUP BY h ORDER BY h",
        &["2026-01-01T00:00:00Z | 116", "2026-01-01T01:00:00Z | 11"],
    );
    assert_eq!(world.fails("SELECT time_bucket(1, time) FROM press").code, "42883");
}

#[test]
fn first_and_last_by_time() {
    let world = World::with_presses();
    world.check(
        "SELECT device, first(temperature, time), last(temperature, time), last(note, time)
         FROM press GROUP BY device ORDER BY device",
        &["p1 | 20.5 | 22.5 | c", "p2 | 30.0 | 30.0 | e", "p3 | 40.0 | 40.0 | f"],
    );
    world.check("SELECT first(strokes, time), last(running, time) FROM press", &["1 | true"]);
    world.check("SELECT last(strokes, time) FROM press WHERE false", &["∅"]);
    world.check(
        "SELECT last(strokes, time) FILTER (WHERE strokes < 3) FROM press WHERE device = 'p1'",
        &["2"],
    );
    assert_eq!(world.fails("SELECT last(strokes) FROM press").code, "42883");
}

#[test]
fn order_and_limit() {
    let world = World::with_presses();
    world.check("SELECT strokes FROM press ORDER BY time DESC, device LIMIT 2", &["11", "3"]);
    world.check("SELECT count(*) FROM (SELECT * FROM press LIMIT 4) t", &["4"]);
    let plan = rows(
        &world.session,
        "EXPLAIN SELECT strokes, time FROM press WHERE device = 'p1' ORDER BY time LIMIT 2",
        &[],
    );
    let text = plan.join("\n");
    assert!(!text.contains("SortExec"), "one series comes ordered by time:\n{text}");
    world.check("SELECT strokes FROM press WHERE device = 'p1' ORDER BY time LIMIT 2", &["1", "2"]);
    world.check(
        "SELECT strokes FROM press WHERE device = 'p1' ORDER BY time LIMIT 1 OFFSET 1",
        &["2"],
    );
    world.check(
        "SELECT strokes * interval '1 hour' FROM press WHERE device = 'p1' AND strokes = 2",
        &["2 hours"],
    );
}

#[test]
fn statistics_answer_counts_and_extremes_of_time() {
    let world = World::with_presses();
    world.run("CHECKPOINT");
    for sql in ["EXPLAIN SELECT count(*) FROM press", "EXPLAIN SELECT max(time) FROM press"] {
        let text = rows(&world.session, sql, &[]).join("\n");
        assert!(text.contains("PlaceholderRowExec"), "{text}");
    }
    world.check(
        "SELECT max(time), min(time) FROM press",
        &["2026-01-01T01:00:30Z | 2026-01-01T00:00:00Z"],
    );
    // Two sources may hold the same (series, time): then rows are counted.
    world.run(
        "INSERT INTO press (time, device, site, strokes) VALUES
        ('2026-01-01 00:00:00+00', 'p1', 'north', 7)",
    );
    world.check("SELECT count(*) FROM press", &["6"]);
}

#[test]
fn quality_columns_on_request() {
    let world = World::with_presses();
    assert_eq!(columns(&world.session, "SELECT * FROM press").len(), 7);
    world.check(
        "SELECT temperature__quality, note__quality, running__quality FROM press
         WHERE device = 'p3'",
        &["good | good | good"],
    );
    world.check("SELECT count(*) FROM press WHERE temperature__quality = 'good'", &["6"]);
}

#[test]
fn absent_and_null_cells() {
    let world = World::with_presses();
    // What is not named stays as it was; an explicit NULL overwrites.
    world.run(
        "INSERT INTO press (time, device, site, strokes) VALUES
        ('2026-01-01 00:00:00+00', 'p1', 'north', 5)",
    );
    world.run(
        "INSERT INTO press (time, device, site, note) VALUES
        ('2026-01-01 00:00:00+00', 'p1', 'north', NULL)",
    );
    world.check(
        "SELECT temperature, strokes, note FROM press WHERE device = 'p1' ORDER BY time LIMIT 1",
        &["20.5 | 5 | ∅"],
    );
}

#[test]
fn zones_of_the_session_cut_days() {
    let world = World::with_presses();
    world.run("SET timezone = 'America/New_York'");
    world.check(
        "SELECT date_trunc('day', time) FROM press WHERE strokes = 1",
        &["2025-12-31T00:00:00-05:00"],
    );
    world.check("SELECT count(*) FROM press WHERE time >= '2025-12-31 19:01:00'", &["3"]);
    world.check("SELECT count(*) FROM press WHERE time < '2025-12-31 19:01:00'", &["3"]);
    world.run("SET timezone = '+02'");
    world.check("SELECT strokes FROM press WHERE time = '2026-01-01 03:00:30'", &["11"]);
    assert!(rows(&world.session, "SELECT now() > '2026-01-01'", &[]) == ["true"]);
}

#[test]
fn parameters_are_typed_and_plans_kept() {
    let world = World::with_presses();
    let sql = "SELECT strokes, $3 FROM press WHERE device = $1 AND time >= $2 ORDER BY 1 LIMIT $4";
    let statement = &world.session.parse(sql).unwrap()[0];
    let described = block_on(world.session.describe(statement, &[])).unwrap();
    let shown: Vec<String> = described.params.iter().map(ToString::to_string).collect();
    assert_eq!(shown[0], "Utf8View");
    assert!(shown[1].starts_with("Timestamp("), "{shown:?}");
    assert_eq!(shown[3], "Int64");
    for (device, expect) in [("p1", vec!["2 | x", "3 | x"]), ("p2", vec!["11 | x"])] {
        let params = [
            ScalarValue::Utf8(Some(device.into())),
            ScalarValue::TimestampMicrosecond(Some(1_767_225_660_000_000), Some("+00:00".into())),
            ScalarValue::Utf8(Some("x".into())),
            ScalarValue::Int64(Some(5)),
        ];
        assert_eq!(rows(&world.session, sql, &params), expect);
    }
    let error = try_rows(&world.session, sql, &[]).unwrap_err();
    assert_eq!(error.code, "08P01", "{error:?}");
}

#[test]
fn plans_do_not_outlive_the_schema() {
    let world = World::with_presses();
    let statement = world.session.parse("SELECT * FROM press WHERE device = 'p3'").unwrap();
    let width = || {
        let d = block_on(world.session.describe(&statement[0], &[])).unwrap();
        d.fields.unwrap().fields().len()
    };
    assert_eq!(width(), 7);
    world.run("ALTER TABLE press ADD COLUMN torque real");
    assert_eq!(width(), 8);
    world.run("ALTER TABLE press DROP COLUMN note");
    assert_eq!(width(), 7);
    world.run("DROP TABLE press");
    let gone = block_on(world.session.describe(&statement[0], &[])).unwrap_err();
    assert_eq!(gone.code, "42P01");
}

#[test]
fn a_kept_plan_sees_new_rows() {
    let world = World::with_presses();
    let statement = &world.session.parse("SELECT count(*) FROM press").unwrap()[0];
    block_on(world.session.describe(statement, &[])).unwrap();
    world.run("INSERT INTO press (time, device) VALUES ('2026-02-01', 'p9')");
    let crate::Outcome::Rows { stream, .. } =
        block_on(world.session.execute(statement, &[])).unwrap()
    else {
        panic!()
    };
    let batches = block_on(futures::StreamExt::collect::<Vec<_>>(stream));
    let batch = batches[0].as_ref().unwrap();
    let count = datafusion::scalar::ScalarValue::try_from_array(batch.column(0), 0).unwrap();
    assert_eq!(count, ScalarValue::Int64(Some(7)));
}

#[test]
fn names_of_results_are_those_of_postgres() {
    let world = World::with_presses();
    assert_eq!(
        columns(
            &world.session,
            "SELECT count(*), count(*), max(strokes), 1, 1, time FROM press
            GROUP BY time"
        ),
        ["count", "count", "max", "?column?", "?column?", "time"]
    );
    world.check("SELECT strokes, strokes FROM press WHERE device = 'p3'", &["100 | 100"]);
}

#[test]
fn joins_subqueries_and_windows() {
    let world = World::with_presses();
    world.check(
        "SELECT a.device, b.strokes FROM press a JOIN press b ON a.device = b.device
         WHERE a.strokes = 1 ORDER BY 2",
        &["p1 | 1", "p1 | 2", "p1 | 3"],
    );
    world.check(
        "WITH m AS (SELECT device, max(strokes) s FROM press GROUP BY device)
         SELECT sum(s) FROM m",
        &["114"],
    );
    world.check(
        "SELECT strokes - lag(strokes) OVER (PARTITION BY device ORDER BY time) FROM press
         WHERE device = 'p1' ORDER BY time",
        &["∅", "1", "1"],
    );
    world.check(
        "SELECT device FROM press WHERE strokes = (SELECT max(strokes) FROM press)",
        &["p3"],
    );
    world.check("SELECT * FROM generate_series(1, 3)", &["1", "2", "3"]);
}

#[test]
fn errors_mean_something() {
    let world = World::with_presses();
    for (sql, code) in [
        ("SELECT * FROM nowhere", "42P01"),
        ("SELECT * FROM other.press", "42P01"),
        ("SELECT nothing FROM press", "42703"),
        ("SELECT press.nothing FROM press", "42703"),
        ("SELECT no_such_function(1)", "42883"),
        ("SELECT 1/0", "22012"),
        ("SELECT 'abc'::int", "22P02"),
        ("SELECT '2026-13-01'::timestamptz", "22007"),
        ("SELECT 9223372036854775807 + 1", "22003"),
        ("SELECT -(-9223372036854775807 - 1)", "22003"),
        ("SELECT sum(n) FROM (VALUES (9223372036854775807), (1)) v(n)", "22003"),
        (
            "SELECT g, sum(n) FROM (VALUES (1, 9223372036854775807), (1, 1)) v(g, n) GROUP BY g",
            "22003",
        ),
        ("SELECT sum(n) OVER () FROM (VALUES (9223372036854775807), (1)) v(n)", "22003"),
        ("SELECT sum(DISTINCT n) FROM (VALUES (9223372036854775807), (1)) v(n)", "22003"),
        ("SELECT 99999::smallint", "22003"),
        ("SELECT device FROM press GROUP BY site", "42803"),
        ("SELECT a.device FROM press a, press b WHERE device = 'x'", "42702"),
        ("SELECT $1 + $2", "08P01"),
        ("SELECT 1 FROM press WHERE", "42601"),
    ] {
        let error = world.fails(sql);
        assert_eq!(error.code, code, "{sql}: {error:?}");
    }
    let error = world.fails("SELECT strokes,\n  nothing FROM press");
    assert_eq!((error.code, error.position), ("42703", Some(19)), "{error:?}");
}

#[test]
fn plans_are_told_as_json_too() {
    let world = World::with_presses();
    let told = |sql: &str| -> serde_json::Value {
        let lines = rows(&world.session, sql, &[]);
        serde_json::from_str(&lines.join("\n")).unwrap_or_else(|e| panic!("{sql}: {e}: {lines:?}"))
    };
    let join = "SELECT a.device FROM press a JOIN press b ON a.time = b.time WHERE a.strokes > 1";
    let plan = told(&format!("EXPLAIN (FORMAT JSON) {join}"));
    assert!(plan[0]["Plan"]["Node Type"].is_string() && plan[0]["Execution Time"].is_null());
    let whole = plan.to_string();
    assert!(whole.contains("SeriesScan") && whole.contains("Plans"), "{whole}");
    let ran = told(&format!("EXPLAIN (ANALYZE, VERBOSE, FORMAT JSON) {join}"));
    assert!(ran[0]["Execution Time"].is_f64() && ran[0]["Actual Rows"].is_u64(), "{ran}");
    assert!(ran.to_string().contains("Actual Total Time"), "{ran}");
    // Those that the engine answers itself.
    let native = told("EXPLAIN (ANALYZE true, FORMAT JSON) SELECT max(strokes) FROM press");
    assert!(native[0]["Plan"]["Details"].is_string(), "{native}");
    assert_eq!(world.fails("EXPLAIN (FORMAT YAML) SELECT 1").code, "0A000");
    assert_eq!(world.fails("EXPLAIN (ANALYZE maybe) SELECT 1").code, "22023");
}
