//! Native statements against the same statements planned by DataFusion.

use std::fmt::Write as _;

use datafusion::scalar::ScalarValue;
use futures::executor::block_on;

use super::harness::{World, described, rows, text_of};
use crate::Outcome;

/// Splitmix64: the same numbers for ever.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len() as u64) as usize]
    }
}

/// A table with all kinds of fields, late rows, nulls, several parts and a head.
fn filled(seed: u64, merge: &str) -> World {
    let world = World::new();
    world.run(&format!(
        "CREATE TABLE m (time timestamptz NOT NULL, host text, rack text, f double precision, \
         i bigint, s smallint, b boolean, t text, at timestamptz, PRIMARY KEY (host, rack, time)) \
         WITH (merge = '{merge}', partition_by = '6 hours')"
    ));
    let mut random = Random(seed);
    for burst in 0..14 {
        let mut sql = String::from("INSERT INTO m (time, host, rack, f, i, s, b, t, at) VALUES ");
        let start = random.below(20) * 2400;
        let step = [10, 30, 60, 1800][random.below(4) as usize];
        let (host, rack) = (random.below(4), random.below(3));
        let count = 20 + random.below(300);
        let plain = random.below(2) == 0;
        for row in 0..count {
            let mut value = |text: String| match random.below(12) {
                0 if !plain => "NULL".to_string(),
                _ => text,
            };
            let second = start + row * step;
            let time = format!(
                "'2026-03-{:02} {:02}:{:02}:{:02}+00'",
                1 + second / 86_400,
                second / 3600 % 24,
                second / 60 % 60,
                second % 60
            );
            let f = value(format!("{}.5", row % 40));
            let i = value((row * 7 % 100).to_string());
            let s = value((row % 9).to_string());
            let b = value((row % 3 == 0).to_string());
            let t = value(format!("'x{}'", row % 5));
            let at = value(time.clone());
            let rack = if rack == 2 { "NULL".into() } else { format!("'r{rack}'") };
            let comma = if row == 0 { "" } else { ", " };
            let _ =
                write!(sql, "{comma}({time}, 'h{host}', {rack}, {f}, {i}, {s}, {b}, {t}, {at})");
        }
        world.run(&sql);
        match random.below(5) {
            0 => drop(world.run("CHECKPOINT")),
            1 => {
                world.run("CHECKPOINT");
                world.run("VACUUM FULL m");
            }
            _ => {}
        }
        assert!(burst < 14);
    }
    world
}

fn measures(random: &mut Random) -> Vec<String> {
    let all = [
        "count(*)",
        "count(f)",
        "count(b)",
        "count(t)",
        "sum(f)",
        "sum(i)",
        "sum(s)",
        "avg(f)",
        "avg(i)",
        "avg(s)",
        "min(f)",
        "max(f)",
        "min(i)",
        "max(s)",
        "min(at)",
        "max(at)",
        "max(i)",
        "min(s)",
        "count(at)",
    ];
    (0..random.below(4)).map(|_| random.one(&all).to_string()).collect()
}

fn condition(random: &mut Random) -> String {
    let numbers = ["0", "5", "12.5", "-1", "39.5", "50", "100.25"];
    match random.below(12) {
        0 => format!("host = 'h{}'", random.below(5)),
        1 => format!("host IN ('h{}', 'h2', '')", random.below(4)),
        2 => format!("(host = 'h1' OR host = 'h{}')", random.below(4)),
        3 => "rack IS NULL".into(),
        4 => "rack IS NOT NULL".into(),
        5 => format!("time >= '2026-03-01 {:02}:00:00+00'", random.below(16)),
        6 => format!("time < '2026-03-01 {:02}:17:30+00'", random.below(20)),
        7 => {
            let hour = random.below(12);
            let until = hour + random.below(9);
            format!(
                "time BETWEEN '2026-03-01 {hour:02}:00:00+00' AND '2026-03-01 {until:02}:30:00+00'"
            )
        }
        8 => {
            format!("f {} {}", random.one(&[">", ">=", "<", "<=", "=", "<>"]), random.one(&numbers))
        }
        9 => {
            format!("i {} {}", random.one(&[">", ">=", "<", "<=", "=", "<>"]), random.one(&numbers))
        }
        10 => {
            format!("{} IS {}NULL", random.one(&["f", "t", "b", "at"]), random.one(&["", "NOT "]))
        }
        _ => format!("{} < s", random.one(&["3", "7.5", "-2"])),
    }
}

/// A statement, and whether it orders its rows wholly.
fn statement(random: &mut Random) -> (String, bool) {
    let buckets = [
        "time_bucket('1 minute', time)",
        "time_bucket('1 hour', time)",
        "time_bucket(interval '90 seconds', time)",
        "date_bin('10 minutes', time)",
        "date_bin('1 hour', time, '2026-01-01 00:07:00+00')",
        "date_trunc('hour', time)",
        "date_trunc('day', time)",
    ];
    let mut groups: Vec<&str> = Vec::new();
    if random.below(3) > 0 {
        groups.push(random.one(&buckets));
    }
    for key in ["host", "rack"] {
        if random.below(3) == 0 {
            groups.push(key);
        }
    }
    if random.below(5) == 0 {
        groups.push(random.one(&["i", "s", "f"]));
    }
    let mut measures = measures(random);
    if groups.is_empty() {
        // A count alone is known from the index.
        measures.push("max(i)".into());
    }
    let mut items: Vec<String> =
        groups.iter().enumerate().map(|(i, g)| format!("{g} AS g{i}")).collect();
    items.extend(measures.iter().enumerate().map(|(i, m)| format!("{m} AS m{i}")));
    let mut sql = format!("SELECT {} FROM m", items.join(", "));
    let conditions: Vec<String> = (0..random.below(4)).map(|_| condition(random)).collect();
    if !conditions.is_empty() {
        let _ = write!(sql, " WHERE {}", conditions.join(" AND "));
    }
    if !groups.is_empty() {
        let by: Vec<String> = match random.below(3) {
            0 => groups.iter().map(ToString::to_string).collect(),
            1 => (0..groups.len()).map(|i| format!("g{i}")).collect(),
            _ => (1..=groups.len()).map(|i| i.to_string()).collect(),
        };
        let _ = write!(sql, " GROUP BY {}", by.join(", "));
    }
    if !groups.is_empty() && random.below(4) == 0 {
        let measure = random.one(&["count(*)", "avg(f)", "sum(i)", "max(f)", "count(t)"]);
        let op = random.one(&["<", "<=", ">", ">=", "=", "<>"]);
        let _ = write!(sql, " HAVING {measure} {op} {}", random.one(&["3", "10.5", "0", "60"]));
        if random.below(3) == 0 {
            let _ = write!(sql, " AND count(f) > 2");
        }
    }
    let mut ordered = groups.is_empty();
    if random.below(2) == 0 && !groups.is_empty() {
        ordered = true;
        let ends = ["", " DESC", " ASC NULLS FIRST", " DESC NULLS LAST"];
        let by: Vec<String> =
            (0..groups.len()).map(|i| format!("g{i}{}", random.one(&ends))).collect();
        let first = match measures.len() {
            0 => String::new(),
            _ if random.below(3) == 0 => format!("m0{}, ", random.one(&ends)),
            _ => String::new(),
        };
        let _ = write!(sql, " ORDER BY {first}{}", by.join(", "));
        if random.below(2) == 0 {
            let _ = write!(sql, " LIMIT {}", random.below(9));
        }
        if random.below(4) == 0 {
            let _ = write!(sql, " OFFSET {}", random.below(4));
        }
    }
    (sql, ordered)
}

fn check(world: &World, sql: &str, ordered: bool, params: &[ScalarValue]) {
    let plan = world.plan(sql, params);
    assert!(plan.starts_with("Aggregate:"), "not native: {sql}\n{plan}");
    let answer = || {
        let mut found = rows(&world.session, sql, params);
        if !ordered {
            found.sort();
        }
        found
    };
    // DataFusion's date_bin of a text gives ns; SQL has one timestamptz.
    let types = |w: &World| w.types(sql, params).join(", ").replace("(ns,", "(µs,");
    // A statement with parameters is described by planning it, whoever answers it.
    let told = || {
        let described = if params.is_empty() { described(&world.session, sql) } else { Vec::new() };
        format!("{described:?}").replace("Nanosecond", "Microsecond")
    };
    let (native, native_types, native_told) = (answer(), types(world), told());
    world.run("SET millrace.use_zones = off");
    let decoded = answer();
    world.run("SET millrace.use_native = off");
    let (planned, planned_types, planned_told) = (answer(), types(world), told());
    world.run("RESET millrace.use_native");
    world.run("RESET millrace.use_zones");
    assert_eq!(native, planned, "{sql}");
    assert_eq!(decoded, planned, "without zones: {sql}");
    assert_eq!(native_types, planned_types, "{sql}");
    assert_eq!(native_told, planned_told, "{sql}");
}

#[test]
fn native_answers_equal_planned_ones() {
    for (seed, merge) in (0u64..).zip(["last_non_null", "last_row", "append", "last_non_null"]) {
        let world = filled(seed, merge);
        let mut random = Random(seed + 1000);
        for _ in 0..60 {
            let (sql, ordered) = statement(&mut random);
            check(&world, &sql, ordered, &[]);
        }
    }
}

/// Compares the plan that has native aggregations inside with the one that has not.
fn check_inside(world: &World, sql: &str) {
    world.run("SET millrace.use_native = off");
    rows(&world.session, sql, &[]);
    world.run("RESET millrace.use_native");
    let plan = rows(&world.session, &format!("EXPLAIN {sql}"), &[]).join("\n");
    assert!(plan.contains("Aggregate: table=m"), "nothing native in: {sql}\n{plan}");
    let answer = || {
        let mut found = rows(&world.session, sql, &[]);
        found.sort();
        found
    };
    let native = answer();
    world.run("SET millrace.use_native = off");
    let plan = rows(&world.session, &format!("EXPLAIN {sql}"), &[]).join("\n");
    assert!(!plan.contains("Aggregate: table=m"), "still native: {sql}\n{plan}");
    let planned = answer();
    world.run("RESET millrace.use_native");
    assert_eq!(native, planned, "{sql}");
}

#[test]
fn aggregates_inside_of_plans_are_native() {
    for (seed, merge) in (20u64..).zip(["last_non_null", "append", "last_row"]) {
        let world = filled(seed, merge);
        for sql in [
            "SELECT host, avg(f) FROM m GROUP BY host HAVING avg(f) > 10 OR avg(f) < 1",
            "SELECT host, rack, avg(i) * 2 AS twice FROM m WHERE host <> 'h1' GROUP BY host, rack",
            "WITH s AS (SELECT time_bucket('10 minutes', time) AS ten, host, rack FROM m \
             GROUP BY ten, host, rack HAVING avg(f) > 5), d AS (SELECT time_bucket('24 hours', ten) \
             AS day, host, rack, count(*) / 6.0 AS hours FROM s GROUP BY day, host, rack) \
             SELECT host, rack, avg(hours) FROM d GROUP BY host, rack",
            "SELECT a.host, a.n, b.top FROM (SELECT host, count(*) AS n FROM m GROUP BY host) AS a \
             JOIN (SELECT host, max(i) AS top FROM m WHERE i < 50 GROUP BY host) AS b \
             ON a.host = b.host",
            "SELECT count(*), sum(n) FROM (SELECT time_bucket('1 hour', time) AS h, \
             time_bucket('5 minutes', time) AS five, count(i) AS n, min(at) FROM m AS q \
             WHERE q.f IS NOT NULL AND q.b = true GROUP BY h, five) AS x",
            "SELECT host, count(*) FILTER (WHERE f > 20), count(*) FILTER (WHERE b) AS on, \
             avg(CASE WHEN i = 7 THEN 1.0 ELSE 0.0 END) < 0.5, \
             sum(CASE WHEN s IS NULL THEN 2.5 ELSE -1.0 END) FROM m GROUP BY host",
            "SELECT time_bucket('1 hour', time) AS h, s, avg(f) + 0, avg(CASE WHEN NOT b THEN 1.0 \
             ELSE 0.0 END) FROM m WHERE f >= 2 GROUP BY h, s",
            "SELECT host FROM m GROUP BY host HAVING max(f) > (SELECT avg(f) FROM m)",
            "SELECT sum(i) + count(s) FROM m WHERE host LIKE 'h%' AND s >= 4",
            "SELECT avg(f) + 1 FROM m WHERE host = 'nobody'",
        ] {
            check_inside(&world, sql);
        }
    }
}

#[test]
fn tests_of_fields_equal_those_of_expressions() {
    for (seed, merge) in (40u64..).zip(["last_non_null", "append", "last_row"]) {
        let world = filled(seed, merge);
        let mut random = Random(seed);
        let numbers = ["0", "7", "12.5", "-1", "39.5", "50", "99"];
        for _ in 0..40 {
            let (op, number) =
                (random.one(&[">", ">=", "<", "<=", "=", "<>"]), random.one(&numbers));
            let (field, same) =
                [("f", "f + 0.0"), ("i", "i + 0"), ("s", "s + 0")][random.below(3) as usize];
            let and = random.one(&["", " AND host = 'h2'", " AND b IS NOT NULL", " AND t IS NULL"]);
            let list = random.one(&["*", "time, f", "host, i", "s", "time"]);
            let ask = |field: &str| {
                let order = "ORDER BY time, host, rack, f, i, s, t";
                let sql = format!("SELECT {list} FROM m WHERE {field} {op} {number}{and} {order}");
                (rows(&world.session, &sql, &[]), sql)
            };
            let ((tested, sql), (planned, _)) = (ask(field), ask(same));
            assert_eq!(tested, planned, "{sql}");
        }
        let plan = rows(&world.session, "EXPLAIN SELECT t FROM m WHERE f > 3 AND i <= 7.5", &[]);
        let plan = plan.join("\n");
        assert!(plan.contains("tests of=[f, i]") && !plan.contains("Filter"), "{plan}");
    }
}

#[test]
fn rows_as_they_are_equal_planned_ones() {
    for (seed, merge) in (60u64..).zip(["last_non_null", "append", "last_row"]) {
        let world = filled(seed, merge);
        let mut random = Random(seed);
        for _ in 0..60 {
            let list = random.one(&["*", "time, f", "host, m.i, time", "t, s", "at, time, time"]);
            let conditions: Vec<String> =
                (0..random.below(4)).map(|_| condition(&mut random)).collect();
            let mut sql = format!("SELECT {list} FROM m");
            if !conditions.is_empty() {
                let _ = write!(sql, " WHERE {}", conditions.join(" AND "));
            }
            let ordered = random.below(2) == 0 && list.contains("time") || list == "*";
            if ordered {
                let _ = write!(sql, " ORDER BY time{}", random.one(&["", " DESC"]));
            }
            let limit = match random.below(3) {
                0 => None,
                _ => Some([0, 1, 7, 100, 5000][random.below(5) as usize]),
            };
            if let Some(limit) = limit {
                let _ = write!(sql, " LIMIT {limit}");
            }
            check_rows(&world, &sql, ordered, limit);
        }
    }
}

/// Compares rows of which those at one time may come in any order.
fn check_rows(world: &World, sql: &str, ordered: bool, limit: Option<usize>) {
    let native = rows(&world.session, sql, &[]);
    let told = described(&world.session, sql);
    world.run("SET millrace.use_native = off");
    let planned = rows(&world.session, sql, &[]);
    assert_eq!(told, described(&world.session, sql), "{sql}");
    let all = sql.split(" LIMIT").next().unwrap_or_default();
    let mut all = rows(&world.session, all, &[]);
    world.run("RESET millrace.use_native");
    assert_eq!(native.len(), planned.len(), "{sql}");
    let time = |row: &String| {
        let shown = row.split(" | ").find(|v| v.starts_with("2026-")).unwrap_or_default();
        shown.to_string()
    };
    if ordered && !sql.contains("SELECT at") {
        let times = |rows: &[String]| rows.iter().map(time).collect::<Vec<_>>();
        assert_eq!(times(&native), times(&planned), "{sql}");
    }
    let (mut native, mut planned) = (native, planned);
    native.sort();
    planned.sort();
    all.sort();
    if limit.is_none() {
        assert_eq!(native, planned, "{sql}");
    }
    // Every row is one that is there, and none comes twice.
    let mut left = all.into_iter();
    for row in &native {
        assert!(left.any(|other| other == *row), "{row} of {sql}");
    }
}

#[test]
fn the_newest_rows_are_found_from_the_end() {
    let world = World::new();
    world.run("CREATE TABLE d (time timestamptz, k text, v bigint, PRIMARY KEY (k, time))");
    let engine = &world.engine;
    let table = engine.db().snapshot().table("d").unwrap().schema().id;
    let start = 1_767_225_600_000_000_000i64;
    let count = 500_000i64;
    let batch = tsdb::types::WriteBatch {
        table,
        series: (0..50)
            .map(|k| {
                let key = format!("k{k}");
                tsdb::types::SeriesRef::Key(tsdb::types::Key::new([(1, key.as_bytes())]))
            })
            .collect(),
        key_of_row: (0..count).map(|i| (i % 50) as u32).collect(),
        times: (0..count).map(|i| start + i * 1_000_000_000).collect(),
        columns: vec![(
            2,
            tsdb::types::Column::good(tsdb::types::Values::Int((0..count).collect())),
        )],
    };
    engine.db().execute(tsdb::Command::Write(batch)).unwrap();
    world.run("CHECKPOINT");
    world.check("SELECT v FROM d ORDER BY d.time DESC LIMIT 3", &["499999", "499998", "499997"]);
    for (sql, expect) in [
        ("SELECT time, v FROM d ORDER BY time DESC LIMIT 3", ["499999", "499998", "499997"]),
        ("SELECT v, time FROM d ORDER BY time LIMIT 3", ["0", "1", "2"]),
        (
            "SELECT time, v FROM d WHERE v < 1000 AND v <> 998 ORDER BY time DESC LIMIT 3",
            ["999", "997", "996"],
        ),
        (
            "SELECT k, v, time FROM d WHERE k = 'k7' ORDER BY time DESC LIMIT 3",
            ["499957", "499907", "499857"],
        ),
    ] {
        let found = rows(&world.session, sql, &[]);
        for (row, expect) in found.iter().zip(expect) {
            assert!(row.split(" | ").any(|v| v == expect), "{row} of {sql}");
        }
        assert_eq!(found.len(), 3, "{sql}");
    }
    let none = rows(&world.session, "SELECT * FROM d WHERE v < 0 ORDER BY time LIMIT 3", &[]);
    assert!(none.is_empty());
}

#[test]
fn first_and_last_are_native_too() {
    let world = filled(7, "last_non_null");
    for sql in [
        "SELECT host, rack, first(f, time), last(i, time) FROM m GROUP BY host, rack ORDER BY 1, 2",
        "SELECT time_bucket('1 hour', time) AS h, host, rack, last(at, time), first(s, time) FROM m \
         WHERE f > 3 GROUP BY h, host, rack ORDER BY h DESC, host, rack",
        "SELECT last(f, m.time) FROM m WHERE m.host = 'h1' AND m.rack = 'r0'",
    ] {
        check(&world, sql, true, &[]);
    }
}

#[test]
fn parameters_now_and_aliases_are_understood() {
    let world = filled(9, "last_non_null");
    let text = |t: &str| ScalarValue::Utf8View(Some(t.into()));
    check(
        &world,
        "SELECT date_bin('1 hour', x.time) AS h, max(x.f) AS top FROM public.m AS x \
         WHERE x.host = $1 AND x.time >= $2 AND x.i < $3 GROUP BY h ORDER BY top DESC, h LIMIT $4",
        true,
        &[
            text("h1"),
            text("2026-03-01 02:00:00+00"),
            ScalarValue::Int64(Some(60)),
            ScalarValue::Int64(Some(5)),
        ],
    );
    check(&world, "SELECT count(*) FROM m WHERE time > now() - interval '20000 days'", true, &[]);
    check(&world, "SELECT count(*) FROM m WHERE time > now() + interval '1 hour'", true, &[]);
    check(&world, "SELECT max(f), min(f) FROM m WHERE host = 'nobody'", true, &[]);
    check(&world, "SELECT host, max(f) FROM m WHERE host = 'nobody' GROUP BY host", true, &[]);
    check(
        &world,
        "SELECT date_trunc('day', time) AS d, date_trunc('hour', time) AS h, count(*) FROM m \
         GROUP BY d, h ORDER BY d, h",
        true,
        &[],
    );
}

#[test]
fn what_is_not_surely_understood_is_planned() {
    let world = filled(3, "last_non_null");
    for sql in [
        "SELECT avg(f) * 2 FROM m",
        "SELECT count(DISTINCT host) FROM m",
        "SELECT count(f) FILTER (WHERE f > 3) FROM m",
        "SELECT i, f, count(*) FROM m GROUP BY i, f",
        "SELECT host, count(*) FROM m GROUP BY host HAVING count(*) > 3 OR max(f) > 1",
        "SELECT t, count(*) FROM m GROUP BY t",
        "SELECT max(t) FROM m",
        "SELECT count(*) FROM m WHERE host LIKE 'h%'",
        "SELECT count(*) FROM m WHERE f > 3 OR host = 'h1'",
        "SELECT count(*) FROM m WHERE NOT host = 'h1'",
        "SELECT count(*) FROM m WHERE f > i",
        "SELECT count(*) FROM m JOIN m AS n ON m.host = n.host",
        "SELECT DISTINCT host FROM m",
        "SELECT time_bucket('1 month', time) AS x, count(*) FROM m GROUP BY x",
        "SELECT date_trunc('month', time) AS x, count(*) FROM m GROUP BY x",
        "SELECT host, count(*) FROM m GROUP BY ROLLUP (host)",
        "SELECT max(f) OVER () FROM m",
        "SELECT count(*) FROM m WHERE time IN ('2026-03-01 00:00:00+00')",
    ] {
        let plan = world.plan(sql, &[]);
        assert!(!plan.starts_with("Aggregate:"), "native: {sql}\n{plan}");
    }
    // A column of the table goes before a name in the list.
    let error =
        world.fails("SELECT time_bucket('1 hour', time) AS host, count(*) FROM m GROUP BY host");
    assert_eq!(error.code, "42803", "{error:?}");
}

#[test]
fn other_zones_than_utc_keep_their_days() {
    let world = filled(4, "last_non_null");
    world.run("SET timezone = 'Asia/Shanghai'");
    let sql = "SELECT date_trunc('day', time) AS d, count(*) FROM m GROUP BY d ORDER BY d";
    assert!(!world.plan(sql, &[]).starts_with("Aggregate:"));
    check(
        &world,
        "SELECT time_bucket('1 hour', time) AS h, count(*) FROM m \
         WHERE time >= '2026-03-01 10:00:00' GROUP BY h ORDER BY h",
        true,
        &[],
    );
}

#[test]
fn analyze_tells_what_statistics_answered() {
    let world = World::new();
    world.run("CREATE TABLE d (time timestamptz, k text, v bigint, PRIMARY KEY (k, time))");
    let values: Vec<String> = (0..2000)
        .map(|i| {
            format!(
                "('2026-01-01 {:02}:{:02}:{:02}+00', 'a', {i})",
                i / 360,
                i / 6 % 60,
                i % 6 * 10
            )
        })
        .collect();
    world.run(&format!("INSERT INTO d VALUES {}", values.join(", ")));
    world.run("CHECKPOINT");
    world.run("VACUUM FULL d");
    let told = rows(
        &world.session,
        "EXPLAIN ANALYZE SELECT time_bucket('1 hour', time) AS h, sum(v) FROM d GROUP BY h",
        &[],
    );
    assert!(told[0].contains("zones=6, zones_from_statistics=6"), "{told:?}");
    assert!(told[0].contains("row_groups_read=0"), "{told:?}");
}

#[test]
fn sums_that_leave_bigint_say_so() {
    let world = World::new();
    world.run("CREATE TABLE d (time timestamptz, k text, v bigint, PRIMARY KEY (k, time))");
    world.run(
        "INSERT INTO d VALUES ('2026-01-01', 'a', 9223372036854775807), ('2026-01-02', 'a', 1)",
    );
    assert_eq!(world.fails("SELECT sum(v) FROM d").code, "22003");
    world.check("SELECT avg(v) FROM d", &["4.611686018427388e18"]);
}

#[test]
fn constants_are_those_that_planning_gives() {
    let world = World::with_presses();
    world.run("SET application_name = 'it''s'");
    let shown = |sql: &str| {
        let statements = world.session.parse(sql).unwrap();
        let described = block_on(world.session.describe(&statements[0], &[])).unwrap();
        let outcome = block_on(world.session.execute(&statements[0], &[])).unwrap();
        let Outcome::Rows { schema, .. } = &outcome else { panic!("{sql} gives no rows") };
        let fields = |schema: &arrow::datatypes::SchemaRef| -> Vec<String> {
            let field = |f: &std::sync::Arc<arrow::datatypes::Field>| {
                format!("{} {:?} {:?}", f.name(), f.data_type(), f.metadata())
            };
            schema.fields().iter().map(field).collect()
        };
        let told = fields(schema);
        assert_eq!(fields(&described.fields.unwrap()), told, "{sql}");
        (told, text_of(outcome))
    };
    for sql in [
        "SELECT 1",
        "SELECT 1 AS one, -2, (3), 4.5, -0.0, 1e3, 9223372036854775807, -9223372036854775808",
        "SELECT 'it''s', '', true, FALSE AS \"No\"",
        "SELECT version(), pg_catalog.version() AS v, current_user, session_user, current_role, user",
        "SELECT current_database(), current_catalog, current_schema(), current_schema, pg_is_in_recovery()",
        "SELECT current_setting('application_name'), current_setting('no.such', true), current_setting('TimeZone') AS zone",
        "SELECT pg_backend_pid(), 1, 1, 'a'",
    ] {
        let fast = shown(sql);
        world.run("SET millrace.use_native = off");
        assert_eq!(fast, shown(sql), "{sql}");
        world.run("RESET millrace.use_native");
    }
    // Errors are those of planning, too.
    for (sql, code) in [
        ("SELECT current_setting('no.such')", "42704"),
        ("SELECT version(1, 2), nothing", "42703"),
        ("SELECT 1 WHERE nothing", "42703"),
        ("SELECT nothing()", "42883"),
    ] {
        assert_eq!(world.fails(sql).code, code, "{sql}");
    }
    world.check("SELECT 1 WHERE false", &[]);
    world.check("SELECT 1 LIMIT 0", &[]);
    world.check("SELECT 99999999999999999999 > 1", &["true"]);
}
