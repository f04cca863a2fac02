//! Times in files: calendar texts and counts since 1970, without a date library in the loop.

use std::str::FromStr;

/// How a time column is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    /// Whatever the first value shows: a calendar text, or a count whose size tells its unit.
    Auto,
    /// `2020-03-09 10:14:33.5`, with `T` or a blank, and `Z` or an offset; UTC without one.
    Calendar,
    /// A count since 1970; ns in one unit.
    Unix(i64),
}

impl FromStr for TimeFormat {
    type Err = String;
    fn from_str(text: &str) -> Result<TimeFormat, String> {
        Ok(match text {
            "auto" => TimeFormat::Auto,
            "calendar" | "rfc3339" | "iso" => TimeFormat::Calendar,
            "s" => TimeFormat::Unix(1_000_000_000),
            "ms" => TimeFormat::Unix(1_000_000),
            "us" => TimeFormat::Unix(1_000),
            "ns" => TimeFormat::Unix(1),
            _ => return Err("it must be auto, calendar, s, ms, us or ns".into()),
        })
    }
}

impl TimeFormat {
    /// Settles `Auto` by one value. A count below 10^11 is seconds, and a thousand times more for
    /// each smaller unit: right for every time from 1973 to 5138.
    pub fn settle(self, sample: &str) -> TimeFormat {
        if self != TimeFormat::Auto {
            return self;
        }
        let Ok(count) = sample.trim().parse::<f64>() else { return TimeFormat::Calendar };
        TimeFormat::Unix(match count.abs() {
            c if c < 1e11 => 1_000_000_000,
            c if c < 1e14 => 1_000_000,
            c if c < 1e17 => 1_000,
            _ => 1,
        })
    }

    /// Reads a time, ns since 1970; `None` if it is not written so or does not fit.
    pub fn parse(self, text: &str) -> Option<i64> {
        let text = text.trim();
        match self.settle(text) {
            TimeFormat::Unix(unit) => parse_count(text, unit),
            _ => parse_calendar(text),
        }
    }
}

/// A count with up to nine decimals, without a way through floats.
fn parse_count(text: &str, unit: i64) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let negative = whole.starts_with('-');
    let whole: i64 = whole.parse().ok()?;
    let mut ns = i128::from(whole) * i128::from(unit);
    if !fraction.is_empty() {
        let part = i128::from(fraction_ns(fraction)?) * i128::from(unit) / 1_000_000_000;
        ns += if negative { -part } else { part };
    }
    i64::try_from(ns).ok()
}

/// Digits after the point as billionths; more than nine are cut.
fn fraction_ns(digits: &str) -> Option<i64> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut value = 0;
    for index in 0..9 {
        value = value * 10 + digits.as_bytes().get(index).map_or(0, |b| i64::from(b - b'0'));
    }
    Some(value)
}

fn parse_calendar(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let separator = bytes.get(4)?;
    if !matches!(separator, b'-' | b'/') || bytes.get(7)? != separator {
        return None;
    }
    let days = days_of(number(0, 4)?, number(5, 7)?, number(8, 10)?)?;
    let mut seconds = days.checked_mul(86_400)?;
    let mut fraction = 0;
    let mut rest = "";
    if bytes.len() > 10 {
        if !matches!(bytes.get(10)?, b' ' | b'T' | b't') || bytes.get(13)? != &b':' {
            return None;
        }
        let (hour, minute) = (number(11, 13)?, number(14, 16)?);
        rest = text.get(16..)?;
        let mut second = 0;
        if let Some(after) = rest.strip_prefix(':') {
            second = number(17, 19)?;
            rest = after.get(2..)?;
        }
        // A leap second counts as the first second after it, as it does in Unix time.
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        seconds += hour * 3600 + minute * 60 + second;
        if let Some(after) = rest.strip_prefix(['.', ',']) {
            let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
            fraction = fraction_ns(&after[..end])?;
            rest = &after[end..];
        }
    }
    seconds -= offset_seconds(rest.trim_start())?;
    i64::try_from(i128::from(seconds) * 1_000_000_000 + i128::from(fraction)).ok()
}

/// `Z`, nothing, `+02`, `+0200` or `+02:00`, s east of Greenwich.
fn offset_seconds(text: &str) -> Option<i64> {
    if text.is_empty() || text.eq_ignore_ascii_case("z") || text == "UTC" {
        return Some(0);
    }
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let digits = digits.replacen(':', "", 1);
    if !digits.bytes().all(|b| b.is_ascii_digit()) || !matches!(digits.len(), 2 | 4) {
        return None;
    }
    let hours: i64 = digits.get(..2)?.parse().ok()?;
    let minutes: i64 = digits.get(2..).filter(|m| !m.is_empty()).unwrap_or("0").parse().ok()?;
    (hours <= 15 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
}

/// Days from 1970-01-01 to a day of the Gregorian calendar; `None` if there is no such day.
pub fn days_of(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    // Years that begin in March put the leap day last, so that months before it have one formula.
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// A time as `2020-03-09 10:14:33` with as many decimals as it has, UTC.
pub fn format_ns(ns: i64) -> String {
    let (seconds, fraction) = (ns.div_euclid(1_000_000_000), ns.rem_euclid(1_000_000_000));
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
    if fraction != 0 {
        text.push_str(format!(".{fraction:09}").trim_end_matches('0'));
    }
    text
}

#[cfg(test)]
mod tests {
    //! Tests of reading and writing times.
    use super::*;
    use proptest::prelude::*;

    fn check(format: &str, text: &str, ns: Option<i64>) {
        assert_eq!(format.parse::<TimeFormat>().unwrap().parse(text), ns, "{format} {text}");
    }

    #[test]
    fn cases() {
        const S: i64 = 1_000_000_000;
        check("auto", "2020-03-09 10:14:33", Some(1_583_748_873 * S));
        check("auto", "2020-03-09T10:14:33Z", Some(1_583_748_873 * S));
        check("auto", "2020-03-09T12:14:33.25+02:00", Some(1_583_748_873 * S + S / 4));
        check("auto", "2020-03-09T12:14:33+0200", Some(1_583_748_873 * S));
        check("auto", "2020/03/09 10:14", Some((1_583_748_873 - 33) * S));
        check("auto", "2020-03-09", Some(1_583_712_000 * S));
        check("auto", "1583748873", Some(1_583_748_873 * S));
        check("auto", "1583748873.5", Some(1_583_748_873 * S + S / 2));
        check("auto", "1583748873500", Some(1_583_748_873 * S + S / 2));
        check("auto", "1583748873500000", Some(1_583_748_873 * S + S / 2));
        check("auto", "1583748873500000000", Some(1_583_748_873 * S + S / 2));
        check("s", "-1.5", Some(-S - S / 2));
        check("ms", "5", Some(5_000_000));
        check("auto", "1969-12-31 23:59:59.999999999", Some(-1));
        for wrong in [
            "",
            "x",
            "2020-13-01",
            "2020-02-30",
            "2020-03-09 25:00:00",
            "2020-03-09 10:61:00",
            "2020-03-09 10:14:33 maybe",
            "20200309",
            "2020-03-09 10:14:33+2",
            "9999999999999999999",
            "3000-01-01",
            "2020-03/09",
            "2020-03-09 10:14:3",
        ] {
            check("calendar", wrong, None);
        }
    }

    proptest! {
        #[test]
        fn written_times_read_back(ns: i64) {
            prop_assert_eq!(TimeFormat::Calendar.parse(&format_ns(ns)), Some(ns));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = TimeFormat::Auto.parse(&text);
            let _ = TimeFormat::Calendar.parse(&text);
        }
    }
}
