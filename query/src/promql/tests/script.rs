//! Scripts in the format of Prometheus' own tests (promql/promqltest): `load`, `eval instant at`, `eval
//! range from … to … step`, `eval_ordered`, `eval_fail`, `clear`. The scripts are our own.

use super::*;
use crate::promql::elements::{NONE, STALE_BITS, is_none};
use crate::promql::lex::Token;
use crate::promql::lex::tokens;

macro_rules! scripts {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            check(include_str!(concat!("scripts/", stringify!($name), ".test")));
        })*
    };
}

scripts!(selectors, functions, aggregations, operators, ranges, histograms, labels, fields);

/// Runs a script.
fn check(script: &str) {
    // Evaluation has a large stack of its own; reading the script needs none.
    let mut world = World::new();
    let lines: Vec<(usize, &str)> = script
        .lines()
        .enumerate()
        .map(|(n, line)| (n + 1, line.split('#').next().unwrap_or_default().trim_end()))
        .collect();
    let mut at = 0;
    let mut evaluated = 0;
    while at < lines.len() {
        let (number, line) = lines[at];
        at += 1;
        let from = at;
        while at < lines.len() && lines[at].1.starts_with([' ', '\t']) {
            at += 1;
        }
        let block: Vec<&str> = lines[from..at].iter().map(|(_, line)| line.trim()).collect();
        match line.split_once(' ').unwrap_or((line, "")) {
            ("", _) => {}
            ("clear", _) => world = World::new(),
            ("load", step) => {
                let step = parse_span(step).expect("a step");
                block.iter().for_each(|line| load_line(&world, line, step));
            }
            ("sql", sql) => {
                let all = std::iter::once(sql).chain(block.iter().copied());
                world.run(&all.collect::<Vec<_>>().join(" "));
            }
            (command, rest) => {
                evaluated += 1;
                eval(&world, command, rest, &block, number);
            }
        }
    }
    assert!(evaluated > 0, "a script that asks nothing");
}

/// `metric{a="b"} 1 2+3x4 _ stale`
fn load_line(world: &World, line: &str, step: i64) {
    let (labels, rest) = labels_of(line);
    let metric = labels.get(METRIC_NAME).to_owned();
    let pairs: Vec<(&str, &str)> = labels.iter().filter(|(name, _)| *name != METRIC_NAME).collect();
    let samples: Vec<(i64, f64)> = values_of(rest)
        .into_iter()
        .enumerate()
        .filter_map(|(n, value)| Some((n as i64 * step, value?)))
        .collect();
    load(world, &metric, &pairs, &samples);
}

/// Reads the labels that a line begins with; gives the rest.
fn labels_of(line: &str) -> (Labels, &str) {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut name: Option<String> = None;
    let mut end = 0;
    let mut inside = false;
    let all = tokens(line.split_inclusive('}').next().unwrap_or(line)).expect(line);
    for (token, at) in &all {
        match token {
            Token::Word(word) if !inside && pairs.is_empty() && end == 0 => {
                pairs.push((METRIC_NAME.to_owned(), word.clone()));
                end = at + word.len();
                if !line[end..].starts_with('{') {
                    break;
                }
            }
            Token::Symbol("{") => inside = true,
            Token::Symbol("}") => {
                end = at + 1;
                break;
            }
            Token::Word(word) if inside => name = Some(word.clone()),
            Token::Text(text) if inside => match name.take() {
                Some(name) => pairs.push((name, text.clone())),
                None => name = Some(text.clone()),
            },
            Token::Symbol("=" | ",") => {}
            _ => break,
        }
    }
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    (Labels::of(&pairs), line[end..].trim())
}

/// `1`, `1+2x3` (four values), `_x3`, `stale`
fn values_of(text: &str) -> Vec<Option<f64>> {
    let mut all = Vec::new();
    let number = |text: &str| match text {
        "stale" => NONE,
        "NaN" => f64::NAN,
        "Inf" | "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        text => text.parse().unwrap_or_else(|_| panic!("no value: {text}")),
    };
    for word in text.split_whitespace() {
        let (values, times) = word.rsplit_once('x').unwrap_or((word, "0"));
        let times: usize = times.parse().expect("a count");
        if values == "_" {
            all.extend(vec![None; times.max(1)]);
            continue;
        }
        let step = values[1..].rfind(['+', '-']).map(|at| at + 1);
        let step = step.filter(|at| !values[..*at].ends_with('e') && word.contains('x'));
        let (first, step) = match step {
            Some(at) => (&values[..at], number(&values[at..])),
            None => (values, 0.0),
        };
        let first = number(first);
        all.extend((0..=times).map(|n| Some(if n == 0 { first } else { first + step * n as f64 })));
    }
    all
}

fn eval(world: &World, command: &str, rest: &str, block: &[&str], line: usize) {
    let (query, what) = match rest.strip_prefix("instant at ") {
        Some(rest) => {
            let (time, text) = rest.split_once(' ').expect("a time");
            (instant(text, parse_span(time).expect("a time") / SECOND), text)
        }
        None => {
            let rest = rest.strip_prefix("range from ").unwrap_or_else(|| panic!("{line}: {rest}"));
            let (start, rest) = rest.split_once(" to ").expect("to");
            let (end, rest) = rest.split_once(" step ").expect("step");
            let (step, text) = rest.split_once(' ').expect("a text");
            let [start, end, step] =
                [start, end, step].map(|span| parse_span(span).expect("a span") / SECOND);
            (range(text, start, end, step), text)
        }
    };
    let wide = query.step.is_some();
    let answer = run(world, query);
    if command == "eval_fail" {
        let error = answer.err().unwrap_or_else(|| panic!("line {line}: {what} is fine"));
        let words = block.join(" ");
        assert!(error.message.contains(&words), "line {line}: {what}: {error}");
        return;
    }
    let answer = answer.unwrap_or_else(|error| panic!("line {line}: {what}: {error}"));
    let expected: Vec<(Labels, Vec<Option<f64>>)> = block
        .iter()
        .map(|line| {
            let (labels, rest) = labels_of(line);
            (labels, values_of(rest))
        })
        .collect();
    let found: Vec<(Labels, Vec<Option<f64>>)> = match &answer.value {
        PromValue::Scalar(point) => vec![(Labels::default(), vec![Some(point.value)])],
        PromValue::Text(_, text) => panic!("line {line}: {what} is the text {text:?}"),
        PromValue::Vector(all) | PromValue::Matrix(all) => all
            .iter()
            .map(|series| {
                let values: Vec<Option<f64>> = match wide {
                    true => {
                        (0..series.places()).map(|n| series.point(n).map(|p| p.value)).collect()
                    }
                    false => series.points().map(|point| Some(point.value)).collect(),
                };
                (series.labels.clone(), values)
            })
            .collect(),
    };
    let mut found_of = found.clone();
    let mut expected_of = expected;
    if command != "eval_ordered" {
        found_of.sort_by(|a, b| a.0.cmp(&b.0));
        expected_of.sort_by(|a, b| a.0.cmp(&b.0));
    }
    let same = found_of.len() == expected_of.len()
        && found_of.iter().zip(&expected_of).all(|(a, b)| a.0 == b.0 && alike(&a.1, &b.1));
    assert!(same, "line {line}: {what}\nfound {found_of:#?}\nexpected {expected_of:#?}");
}

fn alike(a: &[Option<f64>], b: &[Option<f64>]) -> bool {
    // What is missing at the end need not be said.
    let longest = a.len().max(b.len());
    (0..longest).all(|n| match (a.get(n).copied().flatten(), b.get(n).copied().flatten()) {
        (None, None) => true,
        (Some(a), Some(b)) => {
            assert!(!is_none(a), "{STALE_BITS:x} as a value");
            a == b
                || (a.is_nan() && b.is_nan())
                || (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1e-3)
        }
        _ => false,
    })
}
