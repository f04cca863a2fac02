//! Functions of one number, and operators of two.

use chrono::{DateTime, Datelike, Timelike, Utc};

use super::ast::BinaryOp;

/// The NaN that says that a series has ended, and in vectors that there is no value. No computation
/// gives it: it is a signalling one.
pub const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

/// No value at a step.
pub(crate) const NONE: f64 = f64::from_bits(STALE_BITS);

/// Whether there is no value.
pub(crate) fn is_none(value: f64) -> bool {
    value.to_bits() == STALE_BITS
}

/// `sgn`
pub(crate) fn sgn(value: f64) -> f64 {
    if value < 0.0 {
        -1.0
    } else if value > 0.0 {
        1.0
    } else {
        value
    }
}

/// A time in s since 1970; what no calendar holds is NaN.
fn on(seconds: f64, field: impl Fn(DateTime<Utc>) -> u32) -> f64 {
    let time = DateTime::from_timestamp(seconds as i64, 0);
    match time.filter(|_| seconds.is_finite()) {
        Some(time) => f64::from(field(time)),
        None => f64::NAN,
    }
}

/// `minute`
pub(crate) fn minute(seconds: f64) -> f64 {
    on(seconds, |time| time.minute())
}

/// `hour`
pub(crate) fn hour(seconds: f64) -> f64 {
    on(seconds, |time| time.hour())
}

/// `day_of_week`, Sunday 0.
pub(crate) fn day_of_week(seconds: f64) -> f64 {
    on(seconds, |time| time.weekday().num_days_from_sunday())
}

/// `day_of_month`
pub(crate) fn day_of_month(seconds: f64) -> f64 {
    on(seconds, |time| time.day())
}

/// `day_of_year`
pub(crate) fn day_of_year(seconds: f64) -> f64 {
    on(seconds, |time| time.ordinal())
}

/// `days_in_month`
pub(crate) fn days_in_month(seconds: f64) -> f64 {
    on(seconds, |time| u32::from(time.num_days_in_month()))
}

/// `month`
pub(crate) fn month(seconds: f64) -> f64 {
    on(seconds, |time| time.month())
}

/// `year`
pub(crate) fn year(seconds: f64) -> f64 {
    match DateTime::from_timestamp(seconds as i64, 0).filter(|_| seconds.is_finite()) {
        Some(time) => f64::from(time.year()),
        None => f64::NAN,
    }
}

/// `clamp`: a NaN stays one, and bounds that are NaN make one.
pub(crate) fn clamp(value: f64, min: f64, max: f64) -> f64 {
    if value.is_nan() || min.is_nan() || max.is_nan() {
        return f64::NAN;
    }
    min.max(max.min(value))
}

/// `round` to multiples of `to`; halves go up.
pub(crate) fn round(value: f64, to: f64) -> f64 {
    let inverse = 1.0 / to;
    (value * inverse + 0.5).floor() / inverse
}

/// What an operator of arithmetic or comparison gives; comparisons 1 and 0.
pub(crate) fn operate(op: BinaryOp, a: f64, b: f64) -> f64 {
    let truth = |holds: bool| f64::from(u8::from(holds));
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Mod => a % b,
        BinaryOp::Atan2 => a.atan2(b),
        BinaryOp::Pow => a.powf(b),
        BinaryOp::Equal => truth(a == b),
        BinaryOp::NotEqual => truth(a != b),
        BinaryOp::Less => truth(a < b),
        BinaryOp::LessEqual => truth(a <= b),
        BinaryOp::Greater => truth(a > b),
        BinaryOp::GreaterEqual => truth(a >= b),
        BinaryOp::Or | BinaryOp::And | BinaryOp::Unless => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_times() {
        // 2024-02-29 13:05:09 UTC, a Thursday.
        let t = 1_709_211_909.0;
        let found = [minute(t), hour(t), day_of_week(t), day_of_month(t), day_of_year(t)];
        assert_eq!(found, [5.0, 13.0, 4.0, 29.0, 60.0]);
        assert_eq!([days_in_month(t), month(t), year(t)], [29.0, 2.0, 2024.0]);
        // 1969-12-31
        assert_eq!([year(-1.0), day_of_month(-1.0)], [1969.0, 31.0]);
        assert!(hour(f64::NAN).is_nan() && year(f64::INFINITY).is_nan() && month(1e300).is_nan());
    }

    #[test]
    fn numbers_at_their_edges() {
        assert_eq!([sgn(-3.0), sgn(0.0), sgn(7.0)], [-1.0, 0.0, 1.0]);
        assert!(sgn(f64::NAN).is_nan() && clamp(f64::NAN, 0.0, 1.0).is_nan());
        assert!(clamp(0.5, f64::NAN, 1.0).is_nan());
        assert_eq!(
            [clamp(5.0, 0.0, 1.0), clamp(-5.0, 0.0, 1.0), clamp(0.5, 0.0, 1.0)],
            [1.0, 0.0, 0.5]
        );
        assert_eq!([round(2.5, 1.0), round(-2.5, 1.0), round(7.3, 5.0)], [3.0, -2.0, 5.0]);
        assert_eq!(operate(BinaryOp::Mod, -7.0, 3.0), -1.0);
        assert_eq!(operate(BinaryOp::Div, 1.0, 0.0), f64::INFINITY);
        assert_eq!(operate(BinaryOp::Pow, 2.0, 10.0), 1024.0);
        assert_eq!(operate(BinaryOp::NotEqual, f64::NAN, f64::NAN), 1.0);
        assert!(is_none(NONE) && !is_none(f64::NAN) && !is_none(NONE + 1.0));
    }
}
