//! A slow twin: at each step the samples of the window are picked out of all of them anew and the
//! function is computed from its definition. The evaluator, which reads the engine's streams and moves
//! a window along, must give the same.

use proptest::prelude::*;

use super::*;
use crate::promql::elements::{NONE, is_none};

/// Samples of one series: ms and value, rising in time.
type Samples = Vec<(i64, f64)>;

fn samples() -> impl Strategy<Value = Samples> {
    let value = prop_oneof![
        8 => (0i64..1000).prop_map(|v| v as f64 / 4.0),
        1 => Just(f64::NAN),
        1 => Just(NONE),
    ];
    prop::collection::vec((prop_oneof![Just(15_000i64), 1i64..60_000], value), 0..60).prop_map(
        |steps| {
            let mut time = 0;
            let add = |(step, value)| {
                time += step;
                (time, value)
            };
            steps.into_iter().map(add).collect()
        },
    )
}

/// What a function gives of the samples of a window behind `start`, up to `end`, ms.
fn direct(function: &str, inside: &[(i64, f64)], start: i64, end: i64) -> Option<f64> {
    let values: Vec<f64> = inside.iter().map(|(_, value)| *value).collect();
    let numbers = values.iter().filter(|value| !value.is_nan());
    let (first, last) = (inside.first()?, inside.last()?);
    let several = inside.len() > 1;
    let sum: f64 = values.iter().sum();
    let mean = sum / values.len() as f64;
    let growth = |counter: bool| {
        // NaN is neither more nor less than what is beside it.
        let resets = values.windows(2).filter(|pair| counter && pair[1] < pair[0]);
        let grown = last.1 - first.1 + resets.map(|pair| pair[0]).sum::<f64>();
        // Extrapolated to the ends: all of the way, or by half a distance, and no counter below zero.
        let sampled = (last.0 - first.0) as f64 / 1e3;
        let apart = sampled / (inside.len() - 1) as f64;
        let reach = |gap: i64| {
            let gap = gap as f64 / 1e3;
            if gap < apart * 1.1 { gap } else { apart / 2.0 }
        };
        let mut before = reach(first.0 - start);
        if counter && grown > 0.0 && first.1 >= 0.0 {
            before = before.min(sampled * first.1 / grown);
        }
        grown * (sampled + before + reach(end - last.0)) / sampled
    };
    let seconds = (end - start) as f64 / 1e3;
    match function {
        "increase" => several.then(|| growth(true)),
        "rate" => several.then(|| growth(true) / seconds),
        "delta" => several.then(|| growth(false)),
        "sum_over_time" => Some(sum),
        "avg_over_time" => Some(mean),
        "count_over_time" => Some(values.len() as f64),
        "min_over_time" => Some(numbers.copied().reduce(f64::min).unwrap_or(f64::NAN)),
        "max_over_time" => Some(numbers.copied().reduce(f64::max).unwrap_or(f64::NAN)),
        "last_over_time" => Some(last.1),
        "changes" => Some(
            values.windows(2).filter(|p| p[0] != p[1] && !(p[0].is_nan() && p[1].is_nan())).count()
                as f64,
        ),
        "resets" => Some(values.windows(2).filter(|p| p[1] < p[0]).count() as f64),
        "stdvar_over_time" => {
            let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
            Some(squares / values.len() as f64)
        }
        "irate" => several.then(|| {
            let before = inside[inside.len() - 2];
            let grown = if last.1 < before.1 { last.1 } else { last.1 - before.1 };
            grown / ((last.0 - before.0) as f64 / 1e3)
        }),
        other => panic!("{other} has no twin"),
    }
}

const FUNCTIONS: [&str; 13] = [
    "increase",
    "rate",
    "delta",
    "sum_over_time",
    "avg_over_time",
    "count_over_time",
    "min_over_time",
    "max_over_time",
    "last_over_time",
    "changes",
    "resets",
    "stdvar_over_time",
    "irate",
];

fn alike(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => {
            (a.is_nan() && b.is_nan()) || a == b || (a - b).abs() <= 1e-7 * (1.0 + a.abs())
        }
        _ => false,
    }
}

/// Values of a query by series `k` and step.
fn found(world: &World, query: PromQuery) -> Vec<(String, Vec<Option<f64>>)> {
    let answer = run(world, query.clone()).unwrap_or_else(|e| panic!("{}: {e}", query.text));
    let values = |one: &PromSeries| {
        let all = (0..one.places()).map(|n| one.point(n).map(|point| point.value)).collect();
        (one.labels.get("k").to_owned(), all)
    };
    series(&answer).iter().map(values).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn windows_and_lookups_are_those_of_each_step(
        all in prop::collection::vec(samples(), 1..4),
        flushed in any::<bool>(),
        start in 0i64..1200,
        step in 1i64..200,
        steps in 1i64..40,
        window in prop_oneof![Just(60i64), 1i64..900],
        offset in -300i64..300,
    ) {
        let world = World::new();
        for (k, samples) in all.iter().enumerate() {
            // Late ones come last, so that streams have to merge.
            let ns: Vec<(i64, f64)> = samples.iter().map(|(t, v)| (t * 1_000_000, *v)).collect();
            let (late, early): (Vec<_>, Vec<_>) = ns.iter().partition(|(t, _)| t % 3 == 0);
            let k = k.to_string();
            load(&world, "m", &[("k", &k)], &early);
            if flushed {
                world.run("CHECKPOINT");
            }
            load(&world, "m", &[("k", &k)], &late);
        }
        let end = start + step * (steps - 1);
        let at = |i: i64| (start + step * i - offset) * 1000;
        let check = |query: PromQuery, twin: &dyn Fn(&Samples, i64) -> Option<f64>| {
            let text = query.text.clone();
            let found = found(&world, query);
            for (k, samples) in all.iter().enumerate() {
                let expected: Vec<Option<f64>> = (0..steps).map(|i| twin(samples, at(i))).collect();
                let nothing = vec![None; steps as usize];
                let mine = found.iter().find(|(name, _)| *name == k.to_string());
                let mine = mine.map_or(&nothing, |(_, values)| values);
                prop_assert!(
                    mine.iter().zip(&expected).all(|(a, b)| alike(*a, *b)),
                    "{text}\nfound {mine:?}\nexpected {expected:?}\nof {samples:?}"
                );
            }
            Ok(())
        };
        for function in FUNCTIONS {
            let text = format!("{function}(m[{window}s] offset {offset}s)");
            check(range(&text, start, end, step), &|samples, end| {
                let start = end - window * 1000;
                let inside: Samples = samples
                    .iter()
                    .filter(|(t, v)| *t > start && *t <= end && !is_none(*v))
                    .copied()
                    .collect();
                direct(function, &inside, start, end)
            })?;
        }
        let query = PromQuery {
            lookback: Some(window * SECOND),
            ..range(&format!("m offset {offset}s"), start, end, step)
        };
        check(query, &|samples, end| {
            let newest = samples.iter().rfind(|(t, _)| *t <= end && *t > end - window * 1000)?;
            (!is_none(newest.1)).then_some(newest.1)
        })?;
        // The same through an aggregation, which takes series one by one.
        let sum = found(&world, range(&format!("sum(m offset {offset}s)"), start, end, step));
        let sums: Vec<Option<f64>> = (0..steps)
            .map(|i| {
                let newest = |samples: &Samples| {
                    let end = at(i);
                    let found = samples.iter().rfind(|(t, _)| *t <= end && *t > end - 300_000)?;
                    (!is_none(found.1)).then_some(found.1)
                };
                all.iter().filter_map(newest).reduce(|a, b| a + b)
            })
            .collect();
        let nothing = vec![None; steps as usize];
        let sum = sum.first().map_or(&nothing, |(_, values)| values);
        prop_assert!(sum.iter().zip(&sums).all(|(a, b)| alike(*a, *b)), "{sum:?} {sums:?}");
    }
}
