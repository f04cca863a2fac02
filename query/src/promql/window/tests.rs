//! Values worked out by hand from Prometheus' documentation and definitions.

use super::*;

/// Samples at whole seconds.
fn points(all: &[(i64, f64)]) -> Vec<Point> {
    all.iter().map(|(s, value)| Point { time: s * 1_000_000_000, value: *value }).collect()
}

/// A function over the window behind `start`, to `end`, s.
fn over(window: Window, start: i64, end: i64, all: &[(i64, f64)], args: &[f64]) -> Option<f64> {
    let (start, end) = (start * 1_000_000_000, end * 1_000_000_000);
    window.apply(&points(all), Span { start, end, now: end }, args).expect("fine")
}

#[track_caller]
fn check(window: Window, all: &[(i64, f64)], args: &[f64], expected: f64) {
    let found = over(window, 0, 60, all, args).expect("a value");
    let close = found == expected || (found - expected).abs() <= 1e-12 * expected.abs().max(1.0);
    assert!(close || (found.is_nan() && expected.is_nan()), "{window:?}: {found}, not {expected}");
}

const STEADY: [(i64, f64); 4] = [(15, 100.0), (30, 115.0), (45, 130.0), (60, 145.0)];

#[test]
fn rates_are_extrapolated() {
    // 45 in 45 s; 15 s to the start is less than 1.1 * 15 s: extrapolated to the whole 60 s.
    check(Window::Increase, &STEADY, &[], 60.0);
    check(Window::Rate, &STEADY, &[], 1.0);
    check(Window::Delta, &STEADY, &[], 60.0);
    // 25 s to the start are more than 1.1 * 10 s: half a distance, 5 s, instead. 20 in 20 s, 15 s to
    // the end: 5 s too, so 30 s.
    let short = [(25, 100.0), (35, 110.0), (45, 120.0)];
    check(Window::Increase, &short, &[], 30.0);
    check(Window::Rate, &short, &[], 0.5);
    // A counter does not begin below zero: 5 at 15 s grew by 1 a second, so it was 0 at 10 s.
    let young = [(15, 5.0), (30, 20.0), (45, 35.0), (60, 50.0)];
    check(Window::Increase, &young, &[], 50.0);
    check(Window::Delta, &young, &[], 60.0);
    // 130 to 10 is a reset: 15 + 15 + 10 + 15 = 55 in 60 s.
    let reset = [(0, 100.0), (15, 115.0), (30, 130.0), (45, 10.0), (60, 25.0)];
    check(Window::Increase, &reset, &[], 55.0);
    check(Window::Delta, &reset, &[], -75.0);
    for window in [Window::Rate, Window::Increase, Window::Delta, Window::Irate, Window::Idelta] {
        assert_eq!(over(window, 0, 60, &[(30, 1.0)], &[]), None, "one sample is not enough");
    }
}

#[test]
fn instant_rates_look_at_two_samples() {
    check(Window::Irate, &STEADY, &[], 1.0);
    check(Window::Idelta, &STEADY, &[], 15.0);
    check(Window::Irate, &[(45, 100.0), (60, 30.0)], &[], 2.0);
    check(Window::Idelta, &[(45, 100.0), (60, 30.0)], &[], -70.0);
    assert_eq!(over(Window::Irate, 0, 60, &[(60, 1.0), (60, 2.0)], &[]), None);
}

#[test]
fn lines_through_samples() {
    check(Window::Deriv, &STEADY, &[], 1.0);
    check(Window::Predict, &STEADY, &[60.0], 205.0);
    check(Window::Deriv, &[(0, 1.0), (10, 3.0), (20, 2.0)], &[], 0.05);
    check(Window::Deriv, &[(0, 7.0), (60, 7.0)], &[], 0.0);
    check(Window::Deriv, &[(0, f64::INFINITY), (60, f64::INFINITY)], &[], f64::NAN);
    assert_eq!(over(Window::Deriv, 0, 60, &[(1, 1.0)], &[]), None);
}

#[test]
fn counts_of_changes() {
    let nan = f64::NAN;
    check(Window::Changes, &[(1, 1.0), (2, 1.0), (3, 2.0), (4, nan), (5, nan), (6, 1.0)], &[], 3.0);
    check(Window::Resets, &[(1, 1.0), (2, 5.0), (3, 2.0), (4, nan), (5, 0.0), (6, -1.0)], &[], 2.0);
    check(Window::Count, &STEADY, &[], 4.0);
    check(Window::Present, &STEADY, &[], 1.0);
}

#[test]
fn figures_of_values() {
    let all = [(1, 2.0), (2, 4.0), (3, 4.0), (4, 4.0), (5, 5.0), (6, 5.0), (7, 7.0), (8, 9.0)];
    check(Window::Avg, &all, &[], 5.0);
    check(Window::Sum, &all, &[], 40.0);
    check(Window::Min, &all, &[], 2.0);
    check(Window::Max, &all, &[], 9.0);
    check(Window::Stdvar, &all, &[], 4.0);
    check(Window::Stddev, &all, &[], 2.0);
    check(Window::Quantile, &all, &[0.5], 4.5);
    check(Window::Quantile, &all, &[0.25], 4.0);
    check(Window::Quantile, &all, &[2.0], f64::INFINITY);
    check(Window::Mad, &all, &[], 0.5);
    check(Window::First, &all, &[], 2.0);
    check(Window::Last, &all, &[], 9.0);
    check(Window::TimeOfFirst, &all, &[], 1.0);
    check(Window::TimeOfLast, &all, &[], 8.0);
    // Of equal ones the last.
    check(Window::TimeOfMin, &[(1, 3.0), (2, 1.0), (3, 1.0), (4, 2.0)], &[], 3.0);
    check(Window::TimeOfMax, &[(1, 3.0), (2, 3.0), (3, 1.0)], &[], 2.0);
}

#[test]
fn nan_counts_only_where_there_is_nothing_else() {
    let nan = f64::NAN;
    check(Window::Max, &[(1, nan), (2, 1.0), (3, nan)], &[], 1.0);
    check(Window::Min, &[(1, 2.0), (2, nan), (3, 1.0)], &[], 1.0);
    check(Window::Max, &[(1, nan), (2, nan)], &[], nan);
    check(Window::Avg, &[(1, nan), (2, 1.0)], &[], nan);
}

#[test]
fn smoothing() {
    // Holt's linear method on a straight line stays on it.
    check(Window::Smooth, &[(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)], &[0.5, 0.5], 4.0);
    // Level 1, trend 2; at 5: 0.5 * 3 + 0.5 * (1 + 2) = 3; trend 0.5 * 2 + 0.5 * 2 = 2;
    // at 9: 0.5 * 9 + 0.5 * (3 + 2) = 7.
    check(Window::Smooth, &[(1, 1.0), (5, 3.0), (9, 9.0)], &[0.5, 0.5], 7.0);
    assert_eq!(over(Window::Smooth, 0, 60, &[(1, 1.0)], &[0.5, 0.5]), None);
    let error =
        Window::Smooth.apply(&points(&STEADY), Span { start: 0, end: 1, now: 1 }, &[0.0, 0.5]);
    assert_eq!(error.expect_err("no factor").code, "22023");
}
