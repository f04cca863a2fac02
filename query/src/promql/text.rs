//! Numbers, times and spans as Prometheus writes and reads them.

use crate::error::{QueryError, QueryResult};

const SECOND: i64 = 1_000_000_000;

/// Units of spans, largest first, each with its length in ns.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 86_400 * SECOND),
    ("w", 7 * 86_400 * SECOND),
    ("d", 86_400 * SECOND),
    ("h", 3_600 * SECOND),
    ("m", 60 * SECOND),
    ("s", SECOND),
    ("ms", SECOND / 1000),
];

/// Reads a span such as `1h30m`: units from large to small, each at most once; ns. `None` for what is
/// none, or does not fit.
pub fn parse_span(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut next = 0;
    let mut total = 0i64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: i64 = rest.get(..digits)?.parse().ok()?;
        let unit_len = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = &rest[digits..digits + unit_len];
        let at = UNITS.iter().position(|(name, _)| *name == unit).filter(|at| *at >= next)?;
        next = at + 1;
        total = total.checked_add(number.checked_mul(UNITS[at].1)?)?;
        rest = &rest[digits + unit_len..];
    }
    (!text.is_empty()).then_some(total)
}

/// Seconds as ns; an error where they do not fit.
///
/// # Errors
/// `42601`.
pub fn seconds_to_ns(seconds: f64) -> QueryResult<i64> {
    // To the ms, as Prometheus, where a double says no more than that.
    let ms = (seconds * 1e3).round();
    let ns = if (seconds * 1e3 - ms).abs() < 1e-4 { ms * 1e6 } else { (seconds * 1e9).round() };
    if ns.is_nan() || ns.abs() >= 9.2e18 {
        let message = format!("{} s are out of range", number(seconds));
        return Err(QueryError::new("42601", message));
    }
    Ok(if ns == ms * 1e6 { ms as i64 * 1_000_000 } else { ns as i64 })
}

/// ns as seconds, rounded once where they are whole ms.
pub(crate) fn ns_to_seconds(ns: i64) -> f64 {
    match ns % 1_000_000 {
        0 => (ns / 1_000_000) as f64 / 1e3,
        _ => ns as f64 / 1e9,
    }
}

/// A value as Prometheus' answers have it: shortest digits that read back, without an exponent from
/// 1e-6 up to 1e21.
pub fn number(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let size = value.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        return format!("{value}");
    }
    // Go writes exponents with a sign and at least two digits.
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(rest) => ('-', rest),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

/// A value without any exponent, as `count_values` labels it.
pub(crate) fn plain_number(value: f64) -> String {
    match value.is_finite() {
        true => format!("{value}"),
        false => number(value),
    }
}

/// ns as seconds with up to three digits behind the point, rounded down to ms.
pub fn timestamp(ns: i64) -> String {
    let ms = ns.div_euclid(1_000_000);
    let (sign, ms) = (if ms < 0 { "-" } else { "" }, ms.unsigned_abs());
    match ms % 1000 {
        0 => format!("{sign}{}", ms / 1000),
        rest => format!("{sign}{}.{rest:03}", ms / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_go_writes_them() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (1e-6, "0.000001"),
            (2.5e-7, "2.5e-07"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(plain_number(1e21), "1000000000000000000000");
    }

    #[test]
    fn spans_and_times() {
        assert_eq!(parse_span("1h30m"), Some(5_400 * SECOND));
        assert_eq!(parse_span("100ms"), Some(SECOND / 10));
        assert_eq!(parse_span("1m1ms"), Some(60 * SECOND + 1_000_000));
        assert_eq!(parse_span("2y"), Some(2 * 365 * 86_400 * SECOND));
        assert_eq!(parse_span("0s"), Some(0));
        for bad in ["", "1", "m", "1x", "30m1h", "1h1h", "1.5h", "-1s", "1000y"] {
            assert_eq!(parse_span(bad), None, "{bad}");
        }
        assert_eq!(timestamp(1_435_781_430_781_999_999), "1435781430.781");
        assert_eq!(timestamp(5_000_000), "0.005");
        assert_eq!(timestamp(-1_500_000_000), "-1.500");
        assert_eq!(timestamp(7 * SECOND), "7");
        assert_eq!(seconds_to_ns(1_435_781_430.781).unwrap(), 1_435_781_430_781_000_000);
        assert_eq!(seconds_to_ns(0.000_000_5).unwrap(), 500);
        assert!(seconds_to_ns(1e12).is_err() && seconds_to_ns(f64::NAN).is_err());
        assert_eq!(ns_to_seconds(1_435_781_430_781_000_000), 1_435_781_430.781);
    }
}
