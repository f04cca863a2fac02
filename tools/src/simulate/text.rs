//! Writing numbers and times without formatting machinery.

/// Appends an integer.
#[inline]
pub fn integer(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends `scaled / 10^digits` as the shortest text of that number: `2452080`, 5 → `24.5208`.
pub fn decimal(out: &mut Vec<u8>, scaled: i64, digits: u32) {
    let unit = 10u64.pow(digits);
    let size = scaled.unsigned_abs();
    if scaled < 0 {
        out.push(b'-');
    }
    integer(out, (size / unit) as i64);
    let mut fraction = size % unit;
    if fraction == 0 {
        return;
    }
    out.push(b'.');
    let mut left = unit / 10;
    while fraction > 0 {
        out.push(b'0' + (fraction / left) as u8);
        fraction %= left;
        left = (left / 10).max(1);
    }
}

/// Appends a time (ns since 1970) as RFC 3339 in UTC, with a fraction only where there is one.
pub fn rfc3339(out: &mut Vec<u8>, time_ns: i64) {
    let seconds = time_ns.div_euclid(1_000_000_000);
    let nanos = time_ns.rem_euclid(1_000_000_000);
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let second = seconds.rem_euclid(86_400);
    padded(out, year, 4);
    out.push(b'-');
    padded(out, month, 2);
    out.push(b'-');
    padded(out, day, 2);
    out.push(b'T');
    padded(out, second / 3600, 2);
    out.push(b':');
    padded(out, second / 60 % 60, 2);
    out.push(b':');
    padded(out, second % 60, 2);
    if nanos > 0 {
        out.push(b'.');
        padded(out, nanos, 9);
    }
    out.push(b'Z');
}

fn padded(out: &mut Vec<u8>, value: i64, width: usize) {
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(value);
    out.resize(out.len() + width.saturating_sub(text.len()), b'0');
    out.extend_from_slice(text.as_bytes());
}

/// Year, month and day of a day number since 1970-01-01, in the Gregorian calendar, by counting
/// eras of 400 years that start on 1 March.
fn civil(day: i64) -> (i64, i64, i64) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn decimals_are_the_shortest_text() {
        for (scaled, digits) in [
            (0, 5),
            (2452080, 5),
            (18000000, 5),
            (5, 5),
            (-1, 5),
            (-123456, 5),
            (9, 1),
            (50, 1),
            (7, 0),
        ] {
            let value = scaled as f64 / 10f64.powi(digits as i32);
            assert_eq!(text(|out| decimal(out, scaled, digits)), format!("{value}"));
        }
    }

    #[test]
    fn times() {
        assert_eq!(text(|out| rfc3339(out, 0)), "1970-01-01T00:00:00Z");
        assert_eq!(text(|out| rfc3339(out, 1_704_067_200_000_000_000)), "2024-01-01T00:00:00Z");
        assert_eq!(
            text(|out| rfc3339(out, 1_709_210_096_000_000_007)),
            "2024-02-29T12:34:56.000000007Z"
        );
        assert_eq!(text(|out| rfc3339(out, -1)), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(text(|out| rfc3339(out, 4_107_542_399_000_000_000)), "2100-02-28T23:59:59Z");
    }
}
