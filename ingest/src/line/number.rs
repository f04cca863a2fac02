//! Numbers from decimal text, eight digits at a time.
//!
//! Floats take an exact short cut where mantissa and power of ten are both exact doubles, so
//! that one multiplication or division rounds correctly; everything else goes to `str::parse`,
//! which is correctly rounded too. Both ways give the same bits.

use super::Reason;

/// A parsed number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// With the suffix `i` or `u`.
    Int(i64),
    /// Without suffix.
    Float(f64),
}

const TENS: [u64; 20] = {
    let mut tens = [1u64; 20];
    let mut at = 1;
    while at < 20 {
        tens[at] = tens[at - 1] * 10;
        at += 1;
    }
    tens
};

/// Powers of ten that are exact doubles.
const TENS_EXACT: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Digits that always fit into a `u64`.
const DIGITS_SAFE: usize = 19;

/// Reads the digits at the front of `bytes`: their value and how many there are. With more than
/// 19 digits the value has wrapped and means nothing.
#[inline]
pub fn digits(bytes: &[u8]) -> (u64, usize) {
    let mut value = 0u64;
    let mut at = 0;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk) ^ 0x3030_3030_3030_3030;
        // The lowest marked byte is the first that is not a digit; a carry can only mark bytes
        // behind it.
        let other = (word.wrapping_add(0x7676_7676_7676_7676) | word) & 0x8080_8080_8080_8080;
        let count = if other == 0 { 8 } else { (other.trailing_zeros() / 8) as usize };
        if count > 0 {
            let part = eight_digits(word << (64 - 8 * count));
            value = value.wrapping_mul(TENS[count]).wrapping_add(part);
            at += count;
        }
        if count < 8 {
            return (value, at);
        }
    }
    while let Some(digit) = bytes.get(at).map(|b| b.wrapping_sub(b'0')).filter(|d| *d <= 9) {
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    (value, at)
}

/// Value of eight digits 0-9, one a byte, the first in the lowest byte.
#[inline]
fn eight_digits(word: u64) -> u64 {
    const MASK: u64 = 0x0000_00ff_0000_00ff;
    let pairs = word.wrapping_mul(10).wrapping_add(word >> 8);
    let high = (pairs & MASK).wrapping_mul(100 + (1_000_000 << 32));
    let low = (pairs >> 16 & MASK).wrapping_mul(1 + (10_000 << 32));
    high.wrapping_add(low) >> 32
}

/// Reads a number at the front of `bytes` and how long it is.
///
/// # Errors
/// No digits, a number that does not fit, or a negative number with the suffix `u`.
#[inline]
pub fn number(bytes: &[u8]) -> Result<(Number, usize), Reason> {
    let (negative, start) = sign(bytes);
    let (value, count) = digits(bytes.get(start..).unwrap_or_default());
    let at = start + count;
    match bytes.get(at) {
        Some(b'i') if count > 0 => {
            Ok((Number::Int(integer(value, count, negative, &bytes[..at])?), at + 1))
        }
        Some(b'u') if count > 0 => {
            if negative {
                return Err("an unsigned integer cannot be negative".into());
            }
            Ok((Number::Int(integer(value, count, false, &bytes[..at])?), at + 1))
        }
        _ => float(bytes, at, value, count, negative),
    }
}

/// Reads a whole number with an optional sign and how long it is; used for timestamps.
///
/// # Errors
/// No digits, or a number outside `i64`.
#[inline]
pub fn whole(bytes: &[u8]) -> Result<(i64, usize), Reason> {
    let (negative, start) = sign(bytes);
    let (value, count) = digits(bytes.get(start..).unwrap_or_default());
    let at = start + count;
    if count == 0 {
        return Err("the timestamp is not a whole number".into());
    }
    Ok((integer(value, count, negative, &bytes[..at])?, at))
}

#[inline]
fn sign(bytes: &[u8]) -> (bool, usize) {
    match bytes.first() {
        Some(b'-') => (true, 1),
        Some(b'+') => (false, 1),
        _ => (false, 0),
    }
}

#[inline]
fn integer(value: u64, count: usize, negative: bool, text: &[u8]) -> Result<i64, Reason> {
    let fits = if count > DIGITS_SAFE {
        // Leading zeros may still make it fit.
        std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok())
    } else if negative {
        (value <= 1 << 63).then(|| (value as i64).wrapping_neg())
    } else {
        i64::try_from(value).ok()
    };
    fits.ok_or_else(|| {
        let text = super::scan::shown(text);
        format!("{text} does not fit into bigint (-2^63 to 2^63-1)").into()
    })
}

/// The rest of a number that is no integer: `count` digits before position `at` are read.
#[inline]
fn float(
    bytes: &[u8],
    mut at: usize,
    whole: u64,
    count: usize,
    negative: bool,
) -> Result<(Number, usize), Reason> {
    let mut mantissa = whole;
    let mut digits_seen = count;
    let mut exponent = 0i64;
    if bytes.get(at) == Some(&b'.') {
        let (fraction, fraction_count) = digits(&bytes[at + 1..]);
        at += 1 + fraction_count;
        digits_seen += fraction_count;
        if digits_seen <= DIGITS_SAFE {
            mantissa = mantissa * TENS[fraction_count] + fraction;
        }
        exponent = -(fraction_count as i64);
    }
    if digits_seen == 0 {
        return Err("a number without digits".into());
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        let (minus, sign_len) = sign(&bytes[at + 1..]);
        let from = at + 1 + sign_len;
        let (power, power_count) = digits(&bytes[from..]);
        if power_count == 0 {
            return Err("a number without digits in its exponent".into());
        }
        // Beyond any double; the exact size no longer matters to the short cut.
        let power = if power_count > 9 { 1_000_000_000 } else { power as i64 };
        exponent += if minus { -power } else { power };
        at = from + power_count;
    }
    let value = if digits_seen <= DIGITS_SAFE
        && mantissa <= 1 << 53
        && exponent.unsigned_abs() < TENS_EXACT.len() as u64
    {
        let power = TENS_EXACT[exponent.unsigned_abs() as usize];
        let size = if exponent < 0 { mantissa as f64 / power } else { mantissa as f64 * power };
        if negative { -size } else { size }
    } else {
        let text = std::str::from_utf8(&bytes[..at]).map_err(|_| "not a number")?;
        text.parse::<f64>().map_err(|_| "not a number")?
    };
    if value.is_infinite() {
        return Err("a number beyond the range of double precision".into());
    }
    Ok((Number::Float(value), at))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str) {
        let slow = text.parse::<f64>().unwrap();
        match number(text.as_bytes()) {
            Ok((Number::Float(fast), len)) => {
                assert_eq!(len, text.len(), "{text}");
                assert_eq!(fast.to_bits(), slow.to_bits(), "{text}");
            }
            other => assert!(slow.is_infinite(), "{text}: {other:?}"),
        }
    }

    #[test]
    fn floats_are_rounded_as_by_the_standard_library() {
        for text in [
            "0",
            "-0",
            "0.0",
            "-0.0",
            ".5",
            "5.",
            "+1.5",
            "1e22",
            "1e23",
            "9007199254740993",
            "9007199254740992e22",
            "1.7976931348623157e308",
            "4.9e-324",
            "2.2250738585072014e-308",
            "2.2250738585072011e-308",
            "123456789012345678901234567890",
            "0.1",
            "0.3",
            "1e-22",
            "1e-23",
            "00000000000000000000001.5",
            "1e00000000000000005",
            "1e-400",
            "1.e5",
            "0.000000000000000000000000000001",
            "8.5e400",
            "1e99999999999999999999",
        ] {
            check(text);
        }
    }

    #[test]
    fn integers_meet_their_bounds() {
        let int = |text: &str| match number(text.as_bytes()) {
            Ok((Number::Int(v), len)) if len == text.len() => Some(v),
            _ => None,
        };
        assert_eq!(int("9223372036854775807i"), Some(i64::MAX));
        assert_eq!(int("9223372036854775808i"), None);
        assert_eq!(int("-9223372036854775808i"), Some(i64::MIN));
        assert_eq!(int("-9223372036854775809i"), None);
        assert_eq!(int("9223372036854775807u"), Some(i64::MAX));
        assert_eq!(int("9223372036854775808u"), None);
        assert_eq!(int("18446744073709551615u"), None);
        assert_eq!(int("-1u"), None);
        assert_eq!(int("00000000000000000000000000007i"), Some(7));
        assert_eq!(int("99999999999999999999i"), None);
        assert_eq!(int("i"), None);
        assert_eq!(int("-i"), None);
        assert_eq!(int("1.0i"), None);
    }

    #[test]
    fn no_prefix_or_byte_panics() {
        for text in ["-1.5e-10", "+.e", "12345678901234567890.123", "1e+", "-", ""] {
            for end in 0..=text.len() {
                let _ = number(&text.as_bytes()[..end]);
                let _ = whole(&text.as_bytes()[..end]);
            }
        }
    }

    proptest! {
        #[test]
        fn digits_equal_the_slow_way(text in "[0-9]{0,19}", tail in "[^0-9].{0,12}|") {
            let all = format!("{text}{tail}");
            let (value, count) = digits(all.as_bytes());
            prop_assert_eq!(count, text.len());
            prop_assert_eq!(value, text.parse::<u64>().unwrap_or(0));
        }

        #[test]
        fn floats_equal_the_slow_way(
            text in "[+-]?[0-9]{1,25}(\\.[0-9]{0,25})?([eE][+-]?[0-9]{1,3})?",
        ) {
            check(&text);
        }

        #[test]
        fn shortest_text_of_any_double_comes_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            if value.is_finite() {
                check(&format!("{value}"));
                check(&format!("{value:e}"));
            }
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = number(&bytes);
            let _ = whole(&bytes);
            let _ = digits(&bytes);
        }
    }
}
