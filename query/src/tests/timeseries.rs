//! Gap filling, aggregates over time and ASOF JOIN against naive models, over rows that come late,
//! twice, and without values.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::harness::{World, rows, run};

/// 2026-01-01T00:00:00Z, s.
const START: i64 = 1_767_225_600;
const WIDTH: i64 = 60;
const DEVICES: [&str; 3] = ["a", "b", "c"];

/// Device, second, value.
type Written = (usize, i64, Option<f64>);
type Model = BTreeMap<(usize, i64), Option<f64>>;

fn written() -> impl Strategy<Value = Vec<Written>> {
    let value = prop_oneof![1 => Just(None), 6 => (0i32..50).prop_map(|v| Some(f64::from(v)))];
    prop::collection::vec((0..DEVICES.len(), 0i64..900, value), 0..60)
}

fn text(second: i64) -> String {
    let at = chrono::DateTime::from_timestamp(START + second, 0).unwrap();
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Writes in three statements, the first of them flushed, and what must be there then.
fn world(table: &str, all: &[Written], world: &World) -> Model {
    world.run(&format!(
        "CREATE TABLE {table} (time timestamptz NOT NULL, device text NOT NULL, x double precision, \
         PRIMARY KEY (device, time))"
    ));
    let mut model = Model::new();
    for (i, part) in all.chunks(all.len().div_ceil(3).max(1)).enumerate() {
        // A statement writes a row once.
        let part: Model = part.iter().map(|(d, t, v)| ((*d, *t), *v)).collect();
        let values: Vec<String> = part
            .iter()
            .map(|((device, second), value)| {
                let value = value.map_or("NULL".into(), |v| v.to_string());
                format!("('{}', '{}', {value})", text(*second), DEVICES[*device])
            })
            .collect();
        run(
            &world.session,
            &format!("INSERT INTO {table} (time, device, x) VALUES {}", values.join(", ")),
        );
        model.extend(part);
        if i == 0 {
            world.run("CHECKPOINT");
        }
    }
    model
}

fn same(got: &[String], want: &[Vec<Option<f64>>], names: &[Vec<String>], what: &str) {
    let shown = || format!("{what}\n{got:#?}\n{names:?}\n{want:?}");
    assert_eq!(got.len(), want.len(), "{}", shown());
    for ((line, numbers), names) in got.iter().zip(want).zip(names) {
        let cells: Vec<&str> = line.split(" | ").collect();
        assert_eq!(cells.len(), names.len() + numbers.len(), "{}", shown());
        for (cell, name) in cells.iter().zip(names) {
            assert_eq!(cell, name, "{}", shown());
        }
        for (cell, number) in cells[names.len()..].iter().zip(numbers) {
            let close = match number {
                None => *cell == "∅",
                Some(number) => cell
                    .parse::<f64>()
                    .is_ok_and(|cell| (cell - number).abs() <= 1e-9 * (1.0 + number.abs())),
            };
            assert!(close, "{cell} is not {number:?} in {line}\n{}", shown());
        }
    }
}

/// The line through the known values around; NULL beside the outermost.
fn line(grid: &[Option<f64>], at: usize) -> Option<f64> {
    if grid[at].is_some() {
        return grid[at];
    }
    let before = (0..at).rev().find_map(|i| grid[i].map(|v| (i, v)))?;
    let after = (at + 1..grid.len()).find_map(|i| grid[i].map(|v| (i, v)))?;
    let share = (at - before.0) as f64 / (after.0 - before.0) as f64;
    Some(before.1 + (after.1 - before.1) * share)
}

fn check_gapfill(all: &[Written], from: i64, to: i64) {
    let world_of = World::new();
    let model = world("m", all, &world_of);
    let (mut want, mut names) = (Vec::new(), Vec::new());
    let buckets: Vec<i64> =
        (from.div_euclid(WIDTH)..).map(|b| b * WIDTH).take_while(|b| *b < to).collect();
    for (device, name) in DEVICES.iter().enumerate() {
        let within: Vec<(i64, Option<f64>)> = model
            .range((device, from)..(device, to))
            .map(|((_, second), value)| (*second, *value))
            .collect();
        if within.is_empty() {
            continue;
        }
        let of = |bucket: i64| {
            let inside = within.iter().filter(move |(s, _)| s.div_euclid(WIDTH) * WIDTH == bucket);
            inside.map(|(_, value)| *value).collect::<Vec<_>>()
        };
        let mean = |values: &[Option<f64>]| {
            let known: Vec<f64> = values.iter().flatten().copied().collect();
            (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
        };
        let grid: Vec<Option<f64>> = buckets.iter().map(|b| mean(&of(*b))).collect();
        let (mut strict, mut lenient) = (None, None);
        for (i, bucket) in buckets.iter().enumerate() {
            let rows = of(*bucket);
            if !rows.is_empty() {
                strict = grid[i];
            }
            lenient = grid[i].or(lenient);
            let count = (!rows.is_empty()).then_some(rows.len() as f64);
            names.push(vec![text(*bucket), (*name).to_string()]);
            want.push(vec![grid[i], count, strict, lenient, line(&grid, i)]);
        }
    }
    let sql = |table: &str| {
        format!(
            "SELECT time_bucket_gapfill('1 min', time) AS b, device, avg(x), count(*), locf(avg(x)), \
             locf(avg(x), treat_null_as_missing => true), interpolate(avg(x)) FROM {table} \
             WHERE time >= '{}' AND time < '{}' GROUP BY b, device ORDER BY device, b",
            text(from),
            text(to)
        )
    };
    for native in ["on", "off"] {
        world_of.run(&format!("SET millrace.use_native = {native}"));
        same(&rows(&world_of.session, &sql("m"), &[]), &want, &names, native);
    }
}

fn grown(from: f64, to: f64) -> f64 {
    if to < from { to } else { to - from }
}

fn check_aggregates(all: &[Written]) {
    let world_of = World::new();
    let model = world("m", all, &world_of);
    let (mut want, mut names) = (Vec::new(), Vec::new());
    for (device, name) in DEVICES.iter().enumerate() {
        let rows: Vec<_> = model.range((device, 0)..(device, 900)).collect();
        if rows.is_empty() {
            continue;
        }
        let p: Vec<(f64, f64)> =
            rows.iter().filter_map(|((_, s), v)| v.map(|v| (*s as f64, v))).collect();
        let span = |a: usize, b: usize| p[b].0 - p[a].0;
        let sum = |f: &dyn Fn(usize) -> f64| (1..p.len()).map(f).sum::<f64>();
        let n = p.len();
        let increase = sum(&|i| grown(p[i - 1].1, p[i].1));
        let linear = sum(&|i| (p[i - 1].1 + p[i].1) / 2.0 * span(i - 1, i));
        let steps = sum(&|i| p[i - 1].1 * span(i - 1, i));
        let some = (n > 0).then_some(());
        let many = (n > 1).then_some(());
        let slope = many.map(|()| {
            let mean = |f: &dyn Fn(&(f64, f64)) -> f64| p.iter().map(f).sum::<f64>() / n as f64;
            let (t, v) = (mean(&|p| p.0), mean(&|p| p.1));
            let tv: f64 = p.iter().map(|p| (p.0 - t) * (p.1 - v)).sum();
            tv / p.iter().map(|p| (p.0 - t).powi(2)).sum::<f64>()
        });
        names.push(vec![(*name).to_string()]);
        want.push(vec![
            some.map(|()| p[n - 1].1 - p[0].1),
            some.map(|()| increase),
            many.map(|()| increase / span(0, n - 1)),
            many.map(|()| grown(p[n - 2].1, p[n - 1].1) / span(n - 2, n - 1)),
            many.map(|()| (p[n - 1].1 - p[0].1) / span(0, n - 1)),
            slope,
            some.map(|()| if n > 1 { linear / span(0, n - 1) } else { p[0].1 }),
            some.map(|()| if n > 1 { steps / span(0, n - 1) } else { p[0].1 }),
            some.map(|()| linear),
        ]);
    }
    let list = "delta(x, time), increase(x, time), rate(x, time), irate(x, time), \
                derivative(x, time), slope(x, time), time_weight('linear', time, x), \
                time_weight('locf', time, x), integral(x, time)";
    let plain = format!("SELECT device, {list} FROM m GROUP BY device ORDER BY device");
    same(&rows(&world_of.session, &plain, &[]), &want, &names, "plain");
    // Rows in no order at all, and of several threads' worth of states.
    let shuffled = format!(
        "SELECT device, {list} FROM (SELECT * FROM m ORDER BY md5(time::text)) AS s \
         GROUP BY device ORDER BY device"
    );
    same(&rows(&world_of.session, &shuffled, &[]), &want, &names, "shuffled");
    // One group at a time: the accumulators without groups.
    for (names, want) in names.iter().zip(&want) {
        let one = format!("SELECT '{0}', {list} FROM m WHERE device = '{0}'", names[0]);
        same(
            &rows(&world_of.session, &one, &[]),
            std::slice::from_ref(want),
            std::slice::from_ref(names),
            "one",
        );
    }
}

fn check_asof(left: &[Written], right: &[Written], op: &str, tolerance: Option<i64>) {
    let world_of = World::new();
    let lefts = world("l", left, &world_of);
    let rights = world("r", right, &world_of);
    let (mut want, mut names) = (Vec::new(), Vec::new());
    for ((device, second), value) in &lefts {
        let near = rights.iter().filter(|((d, s), _)| {
            let fits = match op {
                ">=" => s <= second,
                ">" => s < second,
                "<=" => s >= second,
                _ => s > second,
            };
            d == device && fits && tolerance.is_none_or(|most| (s - second).abs() <= most)
        });
        let found = near.min_by_key(|((_, s), _)| (s - second).abs());
        let at = found.map_or("∅".into(), |((_, s), _)| text(*s));
        names.push(vec![DEVICES[*device].to_string(), text(*second), at]);
        want.push(vec![*value, found.and_then(|(_, v)| *v)]);
    }
    let within = match (tolerance, op.starts_with('>')) {
        (None, _) => String::new(),
        (Some(most), true) => format!("AND l.time - r.time <= INTERVAL '{most} s'"),
        (Some(most), false) => format!("AND r.time - l.time <= INTERVAL '{most} s'"),
    };
    let sql = format!(
        "SELECT l.device, l.time, r.time, l.x, r.x FROM l ASOF JOIN r \
         MATCH_CONDITION (l.time {op} r.time {within}) ON l.device = r.device \
         ORDER BY l.device, l.time"
    );
    same(&rows(&world_of.session, &sql, &[]), &want, &names, &sql);
}

fn check_window_join(left: &[Written], right: &[Written], from: i64, to: i64, prevailing: bool) {
    let world_of = World::new();
    let lefts = world("l", left, &world_of);
    let rights = world("r", right, &world_of);
    let (mut want, mut names) = (Vec::new(), Vec::new());
    for (device, second) in lefts.keys() {
        let of_device = || rights.iter().filter(|((d, _), _)| d == device);
        let (first, last) = (second + from, second + to);
        let mut found: Vec<(i64, Option<f64>)> = of_device()
            .filter(|((_, s), _)| (first..=last).contains(s))
            .map(|((_, s), v)| (*s, *v))
            .collect();
        let before = of_device().filter(|((_, s), _)| *s <= first).max_by_key(|((_, s), _)| *s);
        if let Some(((_, s), v)) = before.filter(|((_, s), _)| prevailing && *s < first) {
            found.insert(0, (*s, *v));
        }
        let values: Vec<f64> = found.iter().filter_map(|(_, v)| *v).collect();
        names.push(vec![
            DEVICES[*device].to_string(),
            text(*second),
            found.len().to_string(),
            values.len().to_string(),
        ]);
        let sum = values.iter().sum::<f64>();
        let some = (!values.is_empty()).then_some(());
        want.push(vec![
            some.map(|()| sum),
            some.map(|()| values.iter().copied().fold(f64::MAX, f64::min)),
            values.last().copied(),
            Some(values.iter().filter(|v| **v > 20.0).count() as f64),
            some.map(|()| 2.0 * sum / values.len() as f64),
        ]);
    }
    let bound = |at: i64| match at {
        0 => "CURRENT ROW".to_string(),
        at if at < 0 => format!("{} seconds PRECEDING", -at),
        at => format!("'{at} seconds' FOLLOWING"),
    };
    let word = if prevailing { "INCLUDE" } else { "EXCLUDE" };
    let sql = format!(
        "SELECT l.device, l.time, count(*), count(r.x), sum(r.x), min(r.x), last(r.x, r.time), \
         count(*) FILTER (WHERE r.x > 20)::double precision, avg(r.x * 2) \
         FROM l WINDOW JOIN r ON l.device = r.device RANGE BETWEEN {} AND {} {word} PREVAILING \
         ORDER BY l.device, l.time",
        bound(from),
        bound(to)
    );
    same(&rows(&world_of.session, &sql, &[]), &want, &names, &sql);
    if !prevailing {
        // The slow twin.
        let twin = format!(
            "SELECT l.device, l.time, count(r.time), count(r.x), sum(r.x), min(r.x), last(r.x, r.time), \
             count(*) FILTER (WHERE r.x > 20)::double precision, avg(r.x * 2) \
             FROM l LEFT JOIN r ON l.device = r.device AND r.time >= l.time + INTERVAL '{from} s' \
             AND r.time <= l.time + INTERVAL '{to} s' \
             GROUP BY l.device, l.time ORDER BY l.device, l.time"
        );
        same(&rows(&world_of.session, &twin, &[]), &want, &names, &twin);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn window_joins_equal_the_model(
        left in written(),
        right in written(),
        from in -200i64..100,
        span in 0i64..300,
        prevailing in any::<bool>(),
    ) {
        check_window_join(&left, &right, from, from + span, prevailing);
    }

    #[test]
    fn gaps_are_filled_as_the_model_does(all in written(), from in 0i64..400, span in 1i64..600) {
        check_gapfill(&all, from, from + span);
    }

    #[test]
    fn aggregates_equal_the_model(all in written()) {
        check_aggregates(&all);
    }

    #[test]
    fn asof_joins_equal_the_model(
        left in written(),
        right in written(),
        op in prop::sample::select(vec![">=", ">", "<=", "<"]),
        tolerance in prop::option::of(0i64..200),
    ) {
        check_asof(&left, &right, op, tolerance);
    }
}

#[test]
fn an_asof_join_crosses_batches() {
    let world = World::new();
    for table in ["l", "r"] {
        world.run(&format!(
            "CREATE TABLE {table} (time timestamptz NOT NULL, device text NOT NULL, n bigint, \
             PRIMARY KEY (device, time))"
        ));
    }
    let fill = |table: &str, step: i64, shift: i64| {
        let values: Vec<String> = (0..20_000i64)
            .map(|i| {
                let at = chrono::DateTime::from_timestamp(START + shift + i * step, 0).unwrap();
                format!("('{}', 'd{}', {i})", at.to_rfc3339(), i % 2)
            })
            .collect();
        for part in values.chunks(5_000) {
            world.run(&format!("INSERT INTO {table} (time, device, n) VALUES {}", part.join(",")));
        }
    };
    fill("l", 10, 5);
    fill("r", 10, 0);
    // Each left row has its twin of the right side five seconds before it.
    let sql = |op: &str| {
        format!(
            "SELECT count(*), sum(l.n - r.n), count(r.n) FROM l ASOF JOIN r \
             MATCH_CONDITION (l.time {op} r.time) ON l.device = r.device"
        )
    };
    world.check(&sql(">="), &["20000 | 0 | 20000"]);
    // After it there is the next of the same device, two numbers on, but for the last two.
    world.check(&sql("<="), &["20000 | -39996 | 19998"]);
    // Columns that nobody asks for are not read.
    let plan = rows(
        &world.session,
        "EXPLAIN SELECT l.n FROM l ASOF JOIN r MATCH_CONDITION (l.time >= r.time) \
         ON l.device = r.device WHERE l.device = 'd1'",
        &[],
    )
    .join("\n");
    assert!(plan.contains("AsOfJoin") && plan.matches("Scan").count() == 2, "{plan}");
}

#[test]
fn native_aggregates_carry_gap_filling() {
    let world = World::with_presses();
    let sql = "SELECT time_bucket_gapfill('1 min', time) AS m, device, avg(temperature) FROM press \
               WHERE time >= '2026-01-01' AND time < '2026-01-01 00:05:00' GROUP BY m, device";
    let plan = rows(&world.session, &format!("EXPLAIN {sql}"), &[]).join("\n");
    assert!(plan.contains("GapFill") && plan.contains("Aggregate: table=press"), "{plan}");
}

#[test]
fn window_joins_in_all_their_forms() {
    let world = World::with_presses();
    world.run(
        "CREATE TABLE other (time timestamptz, device text, v bigint, PRIMARY KEY (device, time))",
    );
    world.run(
        "INSERT INTO other (time, device, v) VALUES ('2026-01-01 00:00:00+00', 'p1', 1), \
         ('2026-01-01 00:00:30+00', 'p1', 2), ('2026-01-01 00:01:10+00', 'p1', 4), ('2025-12-31+00', 'p2', 100)",
    );
    let join = "FROM press AS a WINDOW JOIN other AS b ON a.device = b.device";
    world.check(
        &format!("SELECT a.device, a.strokes, sum(b.v), count(*) {join} RANGE BETWEEN 1 minute PRECEDING AND CURRENT ROW EXCLUDE PREVAILING WHERE a.site = 'north' ORDER BY a.time, 2"),
        &["p1 | 1 | 1 | 1", "p2 | 10 | ∅ | 0", "p1 | 2 | 3 | 2", "p1 | 3 | 4 | 1", "p2 | 11 | ∅ | 0"],
    );
    // What prevails is the default; no ON; expressions over both; HAVING; a subquery; several joins.
    world.check(
        &format!("SELECT a.strokes - sum(b.v) AS rest {join} RANGE BETWEEN 10 seconds PRECEDING AND 5 seconds FOLLOWING HAVING count(*) > 0 ORDER BY rest"),
        &["-90", "-89", "-1", "0", "0"],
    );
    world.check(
        "SELECT count(*) FROM (SELECT a.*, max(b.v) AS most FROM press AS a WINDOW JOIN other AS b RANGE BETWEEN 1 day PRECEDING AND CURRENT ROW) AS w WHERE most = 100",
        &["6"],
    );
    world.check(
        "SELECT a.strokes, sum(b.v), max(c.v) FROM press AS a \
         WINDOW JOIN other AS b ON a.device = b.device RANGE BETWEEN CURRENT ROW AND 1 hour FOLLOWING EXCLUDE PREVAILING \
         WINDOW JOIN other AS c ON c.device = a.device RANGE BETWEEN 2 days PRECEDING AND 1 day PRECEDING \
         WHERE a.device <> 'p3' ORDER BY 1",
        &["1 | 7 | ∅", "2 | 4 | ∅", "3 | ∅ | ∅", "10 | ∅ | 100", "11 | ∅ | 100"],
    );
    world.run(&format!("CREATE VIEW joined AS SELECT a.time, a.device, sum(b.v) AS total {join} RANGE BETWEEN 1 minute PRECEDING AND CURRENT ROW"));
    world.check("SELECT total FROM joined WHERE device = 'p1' ORDER BY time", &["1", "3", "6"]);
    let plan = rows(&world.session, &format!("EXPLAIN SELECT a.device, sum(b.v) {join} RANGE BETWEEN 1 minute PRECEDING AND CURRENT ROW"), &[]).join("\n");
    assert!(plan.contains("WindowJoin: keys=1"), "{plan}");
    let range = "RANGE BETWEEN 1 minute PRECEDING AND CURRENT ROW";
    for (sql, code) in [
        (format!("SELECT a.device, sum(b.v) {join}"), "42601"),
        (
            format!(
                "SELECT a.device, sum(b.v) {join} RANGE BETWEEN 1 parsec PRECEDING AND CURRENT ROW"
            ),
            "42601",
        ),
        (
            format!(
                "SELECT a.device, sum(b.v) {join} RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"
            ),
            "0A000",
        ),
        (
            format!(
                "SELECT a.device, sum(b.v) {join} RANGE BETWEEN CURRENT ROW AND 1 minute PRECEDING"
            ),
            "22013",
        ),
        (format!("SELECT *, sum(b.v) {join} {range}"), "42601"),
        (format!("SELECT b.*, sum(b.v) {join} {range}"), "42601"),
        (format!("SELECT a.device, b.v, sum(b.v) {join} {range}"), "42803"),
        (format!("SELECT a.device, sum(b.v * a.strokes) {join} {range}"), "0A000"),
        (format!("SELECT a.device, sum(b.v) {join} {range} WHERE b.v > 1"), "0A000"),
        (format!("SELECT a.device, sum(b.v) {join} {range} GROUP BY a.device"), "0A000"),
        (
            format!(
                "SELECT a.device, sum(b.v) FROM press AS a WINDOW JOIN other AS b ON a.strokes > b.v {range}"
            ),
            "42601",
        ),
        (format!("SELECT a.device, sum(b.nothing) {join} {range}"), "42703"),
    ] {
        let error = match world.session.parse(&sql) {
            Err(error) => error,
            Ok(_) => world.fails(&sql),
        };
        assert_eq!(error.code, code, "{sql}: {error}");
    }
    // A named window is another thing.
    world.check(
        "SELECT sum(strokes) OVER w FROM press WHERE device = 'p1' WINDOW w AS (ORDER BY time)",
        &["1", "3", "6"],
    );
}

#[test]
fn a_window_join_crosses_batches() {
    let world = World::new();
    for table in ["l", "r"] {
        world.run(&format!("CREATE TABLE {table} (time timestamptz, device text, n bigint, PRIMARY KEY (device, time))"));
        world.run(&format!(
            "INSERT INTO {table} SELECT to_timestamp(value * 10), 'd' || value % 2, value FROM generate_series(1, 30000) AS value"
        ));
    }
    // Each row with itself and its neighbours of the same device.
    world.check(
        "SELECT count(*), sum(many), sum(total) FROM (SELECT l.n, count(*) AS many, sum(r.n) AS total FROM l WINDOW JOIN r \
         ON l.device = r.device RANGE BETWEEN 20 seconds PRECEDING AND 20 seconds FOLLOWING EXCLUDE PREVAILING) AS w",
        &["30000 | 89996 | 1349984998"],
    );
}
