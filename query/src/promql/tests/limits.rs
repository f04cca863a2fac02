//! Limits, and what they answer.

use std::time::Duration;

use super::*;
use crate::QueryOptions;

fn world(options: QueryOptions) -> World {
    let world = World::limited(options);
    for k in 0..50 {
        let samples: Vec<(i64, f64)> = (0..200).map(|n| (n * 15 * SECOND, n as f64)).collect();
        load(&world, "m", &[("k", &k.to_string())], &samples);
    }
    world
}

#[test]
fn samples_held_are_limited() {
    let world = world(QueryOptions { prom_samples_max: 5000, ..QueryOptions::default() });
    let error = run(&world, range("m", 0, 3000, 15)).err().expect("50 series of 201 steps");
    assert_eq!(error.code, "54000");
    assert!(error.message.contains("too many samples"), "{error}");
    // What passes by is not held.
    run(&world, range("sum(m)", 0, 3000, 15)).expect("series by series");
    run(&world, range("max(rate(m[5m]))", 0, 3000, 15)).expect("series by series");
    let error = run(&world, instant("sum_over_time(m[1h:1ms])", 3000)).err().expect("steps");
    assert_eq!(error.code, "54000");
    assert_eq!(run(&world, instant("m[1h]", 3000)).err().expect("raw samples").code, "54000");
}

#[test]
fn memory_is_that_of_the_query_and_given_back() {
    let options = QueryOptions { query_bytes_max: 64 << 10, ..QueryOptions::default() };
    let world = world(options);
    let error = run(&world, range("m + m", 0, 3000, 15)).err().expect("too large");
    assert_eq!(error.code, "53200", "{error}");
    let answer = run(&world, range("m{k=\"1\"}", 0, 3000, 15)).expect("small");
    let used = |world: &World| {
        let stats = world.engine.db().stats();
        let pools = world.engine.pools().usage(&stats);
        pools.iter().find(|pool| pool.name == "queries").expect("the pool").used
    };
    assert!(used(&world) > 0, "an answer holds its memory");
    drop(answer);
    assert_eq!(used(&world), 0);
}

#[test]
fn points_and_time_are_limited() {
    let world = world(QueryOptions {
        prom_points_max: 100,
        prom_timeout: Duration::from_nanos(1),
        ..QueryOptions::default()
    });
    let error = run(&world, range("m", 0, 99, 1)).err().expect("no time");
    assert_eq!(error.code, "57014", "{error}");
    assert!(error.message.contains("timeout"), "{error}");
    let world = World::limited(QueryOptions { prom_points_max: 100, ..QueryOptions::default() });
    let error = run(&world, range("m", 0, 100, 1)).err().expect("101 points");
    assert!(error.message.contains("maximum resolution of 100 points"), "{error}");
    run(&world, range("m", 0, 99, 1)).expect("100 points");
}

#[test]
fn look_back_is_a_setting_and_a_parameter() {
    let world =
        world(QueryOptions { prom_lookback: Duration::from_secs(60), ..QueryOptions::default() });
    let count = |query| series(&run(&world, query).expect("fine")).len();
    // The last sample is at 2985 s.
    assert_eq!(count(instant("m", 2985 + 59)), 50);
    assert_eq!(count(instant("m", 2985 + 60)), 0);
    let longer = |at| PromQuery { lookback: Some(600 * SECOND), ..instant("m", at) };
    assert_eq!(count(longer(2985 + 599)), 50);
    let none = PromQuery { lookback: Some(0), ..instant("m", 0) };
    assert_eq!(run(&world, none).err().expect("no look-back").code, "42601");
}

#[test]
fn results_are_cut_with_a_warning() {
    let world = world(QueryOptions::default());
    let answer = run(&world, PromQuery { limit: 7, ..instant("m", 60) }).expect("fine");
    assert_eq!(series(&answer).len(), 7);
    assert_eq!(answer.warnings, ["results truncated due to limit"]);
    let answer = run(&world, PromQuery { limit: 50, ..instant("m", 60) }).expect("fine");
    assert!(answer.warnings.is_empty());
}

#[test]
fn queries_show_while_their_answers_live() {
    let world = world(QueryOptions::default());
    let sql = "SELECT count(*) FROM sys.queries WHERE text LIKE 'sum(m)%'";
    let seen = || crate::tests::harness::rows(&world.session, sql, &[]);
    let before = seen();
    let answer = run(&world, instant("sum(m)", 60)).expect("fine");
    assert_ne!(seen(), before);
    drop(answer);
    assert_eq!(seen(), before);
}

#[test]
fn a_query_that_nobody_waits_for_ends() {
    use futures::FutureExt;

    let world = world(QueryOptions::default());
    let query = range("quantile(0.5, quantile_over_time(0.5, m[50m]))", 0, 3000, 1);
    let mut running = Box::pin(world.session.prom_query(query));
    assert!((&mut running).now_or_never().is_none());
    world.session.cancel();
    let error = block_on(running).err().expect("it was stopped");
    assert_eq!(error.code, "57014");
}

#[test]
fn deep_queries_are_evaluated() {
    let world = world(QueryOptions::default());
    let value = |text: &str| {
        let answer = run(&world, instant(text, 600)).unwrap_or_else(|error| panic!("{error}"));
        match &answer.value {
            PromValue::Scalar(point) => point.value,
            _ => series(&answer)[0].points().next().expect("a value").value,
        }
    };
    assert_eq!(value(&("1+".repeat(1000) + "1")), 1001.0);
    let one = "m{k=\"1\"}";
    assert_eq!(value(&(format!("{one}+").repeat(300) + one)), 301.0 * 40.0);
    let (open, close) = ("abs(-".repeat(60), ")".repeat(60));
    assert_eq!(value(&format!("{open}{one}{close}")), 40.0);
    let nested = format!("{}{one}{}", "max_over_time(".repeat(30), "[1m:1m])".repeat(30));
    assert_eq!(value(&nested), 40.0);
}
