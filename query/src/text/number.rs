//! Numbers as Postgres writes them: shortest floats, decimals in text and in base 10,000.

use arrow::datatypes::DECIMAL128_MAX_PRECISION;

/// Digits a decimal exponent of a double may have before Postgres turns to `1e+15`.
const FLOAT8_FIXED_MAX: i32 = 15;
const FLOAT4_FIXED_MAX: i32 = 6;

/// A whole number in decimal digits.
#[inline]
pub fn put_integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A double as `float8out` does with `extra_float_digits = 1`: the fewest digits that read back.
#[inline]
pub fn put_float8(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        let mut buffer = zmij::Buffer::new();
        put_shortest(out, buffer.format_finite(value), FLOAT8_FIXED_MAX);
    } else {
        put_not_finite(out, value.is_nan(), value.is_sign_negative());
    }
}

/// A single as `float4out` does.
#[inline]
pub fn put_float4(out: &mut Vec<u8>, value: f32) {
    if value.is_finite() {
        let mut buffer = zmij::Buffer::new();
        put_shortest(out, buffer.format_finite(value), FLOAT4_FIXED_MAX);
    } else {
        put_not_finite(out, value.is_nan(), value.is_sign_negative());
    }
}

fn put_not_finite(out: &mut Vec<u8>, nan: bool, negative: bool) {
    out.extend_from_slice(match (nan, negative) {
        (true, _) => b"NaN",
        (false, true) => b"-Infinity",
        (false, false) => b"Infinity",
    });
}

/// Rewrites the shortest digits of a number, in whatever notation they come, in Postgres' notation:
/// plain between 1e-4 and 10^`fixed_max`, scientific with a signed exponent of two digits outside.
fn put_shortest(out: &mut Vec<u8>, text: &str, fixed_max: i32) {
    let mut digits = [0u8; 32];
    let (mut count, mut exponent, mut point_seen) = (0usize, 0i32, false);
    let mut written_exponent = 0i32;
    let text = match text.strip_prefix('-') {
        Some(rest) => {
            out.push(b'-');
            rest
        }
        None => text,
    };
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'.' => point_seen = true,
            b'e' | b'E' => {
                let tail = text.get(at + 1..).unwrap_or_default();
                written_exponent = tail.parse().unwrap_or_default();
                break;
            }
            b'0' if count == 0 => exponent -= i32::from(point_seen),
            digit => {
                if let Some(place) = digits.get_mut(count) {
                    *place = digit;
                }
                count += 1;
                exponent += i32::from(!point_seen);
            }
        }
    }
    let digits = &digits[..count.min(32)];
    let kept = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
    let digits = &digits[..kept];
    if digits.is_empty() {
        out.push(b'0');
        return;
    }
    put_digits(out, digits, exponent + written_exponent - 1, fixed_max);
}

/// `exponent`: that of the first digit.
fn put_digits(out: &mut Vec<u8>, digits: &[u8], exponent: i32, fixed_max: i32) {
    if !(-4..fixed_max).contains(&exponent) {
        out.push(digits[0]);
        if digits.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        if exponent.unsigned_abs() < 10 {
            out.push(b'0');
        }
        put_integer(out, exponent.unsigned_abs());
    } else if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + (-exponent - 1) as usize, b'0');
        out.extend_from_slice(digits);
    } else {
        let whole = exponent as usize + 1;
        if digits.len() <= whole {
            out.extend_from_slice(digits);
            out.resize(out.len() + whole - digits.len(), b'0');
        } else {
            out.extend_from_slice(&digits[..whole]);
            out.push(b'.');
            out.extend_from_slice(&digits[whole..]);
        }
    }
}

/// Digits after the point that `numeric` without a scale is planned with; means and products of such
/// values have more.
pub const OPEN_SCALE: i8 = 10;

/// Whether decimals of that type have as many digits after the point as each needs, as those of
/// `numeric` do in PostgreSQL, rather than all that their type has.
#[must_use]
pub fn has_open_scale(precision: u8, scale: i8) -> bool {
    precision == DECIMAL128_MAX_PRECISION && scale >= OPEN_SCALE
}

/// A decimal without zeros at the end of its fraction, from its unscaled value in text.
pub fn put_open_decimal(out: &mut Vec<u8>, unscaled: &str, scale: i8) {
    let start = out.len();
    put_decimal(out, unscaled, scale);
    if scale > 0 {
        let needed = out[start..].iter().rposition(|byte| *byte != b'0').map_or(0, |last| last + 1);
        let point = needed > 0 && out[start + needed - 1] == b'.';
        out.truncate(start + needed - usize::from(point));
    }
}

/// A decimal of `scale` digits after the point, from its unscaled value in text.
pub fn put_decimal(out: &mut Vec<u8>, unscaled: &str, scale: i8) {
    let digits = match unscaled.strip_prefix('-') {
        Some(rest) => {
            out.push(b'-');
            rest
        }
        None => unscaled,
    };
    if scale <= 0 {
        out.extend_from_slice(digits.as_bytes());
        if digits != "0" {
            out.resize(out.len() + usize::from(scale.unsigned_abs()), b'0');
        }
        return;
    }
    let scale = usize::from(scale.unsigned_abs());
    match digits.len().checked_sub(scale).filter(|whole| *whole > 0) {
        Some(whole) => {
            out.extend_from_slice(&digits.as_bytes()[..whole]);
            out.push(b'.');
            out.extend_from_slice(&digits.as_bytes()[whole..]);
        }
        None => {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + scale - digits.len(), b'0');
            out.extend_from_slice(digits.as_bytes());
        }
    }
}

/// A decimal in text (`-12.50`) as `numeric_send` writes it: base 10,000, most significant first.
pub fn put_numeric_binary(out: &mut Vec<u8>, text: &[u8]) {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let point = text.iter().position(|byte| *byte == b'.').unwrap_or(text.len());
    let (whole, fraction) = (&text[..point], text.get(point + 1..).unwrap_or_default());
    // Groups of four digits count from the point in both directions.
    let mut groups: Vec<u16> = whole.rchunks(4).rev().map(|group| group_of(group, 0)).collect();
    let whole_groups = groups.len() as i16;
    groups.extend(fraction.chunks(4).map(|group| group_of(group, 4 - group.len())));
    let leading = groups.iter().take_while(|group| **group == 0).count();
    let kept = groups.iter().rposition(|group| *group != 0).map_or(0, |last| last + 1);
    let groups = groups.get(leading..kept).unwrap_or_default();
    let weight = if groups.is_empty() { 0 } else { whole_groups - 1 - leading as i16 };
    let sign: u16 = if negative && !groups.is_empty() { 0x4000 } else { 0 };
    out.extend_from_slice(&(groups.len() as u16).to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&(fraction.len() as u16).to_be_bytes());
    for group in groups {
        out.extend_from_slice(&group.to_be_bytes());
    }
}

fn group_of(digits: &[u8], zeros_after: usize) -> u16 {
    let value = digits.iter().fold(0u16, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    value * 10u16.pow(zeros_after as u32)
}
