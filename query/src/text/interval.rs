//! Intervals as PostgreSQL reads them: `1 year 2 mons -3 days 04:05:06`, `1-2 3 04:05`, ISO 8601 with
//! designators or with dashes and colons. `IntervalStyle` is `postgres`: a sign is of its own field.

use arrow::compute::kernels::cast_utils::parse_interval_month_day_nano;
use arrow::datatypes::IntervalMonthDayNano;

use super::time::{Interval, MICROS_PER_DAY, MICROS_PER_SECOND};
use crate::error::{QueryError, QueryResult};

const MICROS_PER_MINUTE: i64 = 60 * MICROS_PER_SECOND;
const MICROS_PER_HOUR: i64 = 60 * MICROS_PER_MINUTE;
/// Of the fraction of a month; whole months stay months.
const DAYS_PER_MONTH: i64 = 30;

/// Longer texts are no intervals.
const TEXT_BYTES_MAX: usize = 256;

/// Reads an interval; `None` if it is none, or does not fit.
#[must_use]
pub fn read_interval(text: &str) -> Option<Interval> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    verbose(text).or_else(|| iso(text.trim_ascii()))
}

/// Reads an interval as Arrow has it; `None` if it is none, or does not fit.
#[must_use]
pub(crate) fn nanos(text: &str) -> Option<IntervalMonthDayNano> {
    let Interval { months, days, micros } = read_interval(text)?;
    Some(IntervalMonthDayNano { months, days, nanoseconds: micros.checked_mul(1_000)? })
}

/// Reads an interval, also in units that only Arrow has (`10 nanoseconds`).
#[must_use]
pub(crate) fn any_interval(text: &str) -> Option<IntervalMonthDayNano> {
    nanos(text).or_else(|| parse_interval_month_day_nano(text).ok())
}

/// Reads an interval where there must be one.
///
/// # Errors
/// `22007` if the text is none.
pub fn required(text: &str) -> QueryResult<IntervalMonthDayNano> {
    any_interval(text).ok_or_else(|| {
        let shown: String = text.chars().take(100).collect();
        QueryError::new("22007", format!("invalid input syntax for type interval: \"{shown}\""))
    })
}

/// What is read so far.
#[derive(Default)]
struct Sum {
    months: i64,
    days: i64,
    micros: i64,
}

impl Sum {
    fn finish(self) -> Option<Interval> {
        let (months, days) = (i32::try_from(self.months).ok()?, i32::try_from(self.days).ok()?);
        Some(Interval { months, days, micros: self.micros })
    }

    fn add(&mut self, number: &Number, unit: Unit) -> Option<()> {
        let Number { whole, fraction } = *number;
        let plus = |sum: i64, per: i64| sum.checked_add(whole.checked_mul(per)?);
        match unit {
            Unit::Micros(per) => {
                self.micros = plus(self.micros, per)?;
                self.add_micros(fraction * per as f64)?;
            }
            Unit::Days(per) => {
                self.days = plus(self.days, per)?;
                self.add_days(fraction * per as f64)?;
            }
            Unit::Month => {
                self.months = plus(self.months, 1)?;
                self.add_days(fraction * DAYS_PER_MONTH as f64)?;
            }
            Unit::Years(per) => {
                let months = per.checked_mul(12)?;
                self.months = plus(self.months, months)?;
                let part = (fraction * months as f64).round_ties_even();
                self.months = self.months.checked_add(part as i64)?;
            }
        }
        Some(())
    }

    fn add_days(&mut self, days: f64) -> Option<()> {
        self.days = self.days.checked_add(days.trunc() as i64)?;
        self.add_micros(days.fract() * MICROS_PER_DAY as f64)
    }

    /// Half a µs is none.
    fn add_micros(&mut self, micros: f64) -> Option<()> {
        let (whole, part) = (micros.trunc() as i64, micros.fract());
        let more = i64::from(part > 0.5) - i64::from(part < -0.5);
        self.micros = self.micros.checked_add(whole)?.checked_add(more)?;
        Some(())
    }
}

/// A number, whose parts are both negative if it is.
#[derive(Clone, Copy)]
struct Number {
    whole: i64,
    fraction: f64,
}

/// What a number is of.
#[derive(Clone, Copy)]
enum Unit {
    /// So many µs.
    Micros(i64),
    /// So many days.
    Days(i64),
    Month,
    /// So many years.
    Years(i64),
}

/// What may be told once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
    Decade,
    Century,
    Millennium,
}

const SECOND: (Part, Unit) = (Part::Second, Unit::Micros(MICROS_PER_SECOND));
const DAY: (Part, Unit) = (Part::Day, Unit::Days(1));

fn unit(word: &str) -> Option<(Part, Unit)> {
    // PostgreSQL looks at so many letters of a word.
    const LETTERS: usize = 10;
    let word = word.to_ascii_lowercase();
    Some(match word.get(..LETTERS).unwrap_or(&word) {
        "us" | "usec" | "usecs" | "useconds" | "usecond" | "microsecon" => {
            (Part::Microsecond, Unit::Micros(1))
        }
        "ms" | "msec" | "msecs" | "mseconds" | "msecond" | "millisecon" => {
            (Part::Millisecond, Unit::Micros(1_000))
        }
        "s" | "sec" | "secs" | "second" | "seconds" => SECOND,
        "m" | "min" | "mins" | "minute" | "minutes" => {
            (Part::Minute, Unit::Micros(MICROS_PER_MINUTE))
        }
        "h" | "hr" | "hrs" | "hour" | "hours" => (Part::Hour, Unit::Micros(MICROS_PER_HOUR)),
        "d" | "day" | "days" => DAY,
        "w" | "week" | "weeks" => (Part::Week, Unit::Days(7)),
        "mon" | "mons" | "month" | "months" => (Part::Month, Unit::Month),
        "y" | "yr" | "yrs" | "year" | "years" => (Part::Year, Unit::Years(1)),
        "dec" | "decs" | "decade" | "decades" => (Part::Decade, Unit::Years(10)),
        "c" | "cent" | "century" | "centuries" => (Part::Century, Unit::Years(100)),
        "mil" | "mils" | "millennia" | "millennium" => (Part::Millennium, Unit::Years(1_000)),
        _ => return None,
    })
}

/// A piece of the text.
enum Token<'a> {
    /// Digits with what may stand among them, and whether it has a sign, which is minus.
    Digits(Option<bool>, &'a str),
    Word(&'a str),
}

fn tokens(text: &str) -> Option<Vec<Token<'_>>> {
    let bytes = text.as_bytes();
    let (mut found, mut at) = (Vec::new(), 0);
    let run = |from: usize, is: fn(u8) -> bool| {
        from + bytes[from..].iter().take_while(|byte| is(**byte)).count()
    };
    let in_number = |byte: u8| byte.is_ascii_digit() || matches!(byte, b':' | b'.' | b'-');
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'+' | b'-' => {
                let from = run(at + 1, |byte| byte.is_ascii_whitespace());
                let end = run(from, in_number);
                if !bytes.get(from)?.is_ascii_digit() {
                    return None;
                }
                found.push(Token::Digits(Some(*byte == b'-'), &text[from..end]));
                at = end;
            }
            b'.' | b'0'..=b'9' => {
                let end = run(at, in_number);
                found.push(Token::Digits(None, &text[at..end]));
                at = end;
            }
            byte if byte.is_ascii_alphabetic() => {
                let end = run(at, |byte| byte.is_ascii_alphabetic());
                found.push(Token::Word(&text[at..end]));
                at = end;
            }
            byte if byte.is_ascii_whitespace() || byte.is_ascii_punctuation() => at += 1,
            _ => return None,
        }
    }
    Some(found)
}

fn verbose(text: &str) -> Option<Interval> {
    let tokens = tokens(text)?;
    let (mut sum, mut told, mut ago) = (Sum::default(), Vec::new(), false);
    // From the end, since a number is of the unit behind it.
    let mut of = Some(SECOND);
    for (nth, token) in tokens.iter().enumerate().rev() {
        let parts = match token {
            Token::Word(word) if word.eq_ignore_ascii_case("ago") => {
                ago = true;
                of = None;
                continue;
            }
            Token::Word(word) => {
                of = Some(unit(word)?);
                // A unit that nothing is told of.
                if !matches!(nth.checked_sub(1).map(|at| &tokens[at]), Some(Token::Digits(..))) {
                    return None;
                }
                continue;
            }
            Token::Digits(sign, digits) => {
                let minus = *sign == Some(true);
                if digits.contains(':') {
                    let micros = clock(digits)?;
                    sum.micros = sum.micros.checked_add(if minus { -micros } else { micros })?;
                    of = Some(DAY);
                    vec![
                        Part::Hour,
                        Part::Minute,
                        Part::Second,
                        Part::Millisecond,
                        Part::Microsecond,
                    ]
                } else if let Some((years, months)) = digits.split_once('-') {
                    let (years, months) = (whole(years)?, whole(months)?);
                    if months > 11 {
                        return None;
                    }
                    let all = years.checked_mul(12)?.checked_add(months)?;
                    sum.months = sum.months.checked_add(if minus { -all } else { all })?;
                    of = Some((Part::Month, Unit::Month));
                    vec![Part::Month]
                } else {
                    let number = number(minus, digits)?;
                    let (part, unit) = of?;
                    sum.add(&number, unit)?;
                    match part {
                        Part::Second if number.fraction != 0.0 => {
                            vec![Part::Second, Part::Millisecond, Part::Microsecond]
                        }
                        Part::Hour => {
                            of = Some(DAY);
                            vec![Part::Hour]
                        }
                        part => vec![part],
                    }
                }
            }
        };
        if parts.iter().any(|part| told.contains(part)) {
            return None;
        }
        told.extend(parts);
    }
    if told.is_empty() {
        return None;
    }
    if ago {
        sum.months = -sum.months;
        sum.days = -sum.days;
        sum.micros = sum.micros.checked_neg()?;
    }
    sum.finish()
}

fn whole(digits: &str) -> Option<i64> {
    let all = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if all { digits.parse().ok() } else { None }
}

/// `12`, `12.5`, `.5`, `12.`.
fn number(minus: bool, digits: &str) -> Option<Number> {
    let (before, after) = digits.split_once('.').unwrap_or((digits, ""));
    if before.is_empty() && after.is_empty() {
        return None;
    }
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(before) || !all_digits(after) {
        return None;
    }
    let whole = if before.is_empty() { 0 } else { whole(before)? };
    let fraction: f64 = if after.is_empty() { 0.0 } else { format!("0.{after}").parse().ok()? };
    Some(match minus {
        true => Number { whole: -whole, fraction: -fraction },
        false => Number { whole, fraction },
    })
}

/// `04:05`, `04:05:06.7` and, as minutes and seconds, `05:06.7`, in µs; hours may be many.
fn clock(text: &str) -> Option<i64> {
    let (text, fraction) = text.split_once('.').map_or((text, None), |(t, f)| (t, Some(f)));
    let fields: Vec<&str> = text.split(':').collect();
    let (hours, minutes, seconds) = match (fields.as_slice(), fraction) {
        ([minutes, seconds], Some(_)) => ("0", *minutes, *seconds),
        ([hours, minutes], None) => (*hours, *minutes, "0"),
        ([hours, minutes, seconds], _) => (*hours, *minutes, *seconds),
        _ => return None,
    };
    let minutes = if minutes.is_empty() { 0 } else { whole(minutes)? };
    let (hours, seconds) = (whole(hours)?, whole(seconds)?);
    if minutes > 59 || seconds > 60 {
        return None;
    }
    let fraction = match fraction {
        Some(digits) if !digits.is_empty() => number(false, &format!(".{digits}"))?.fraction,
        _ => 0.0,
    };
    let micros = hours.checked_mul(MICROS_PER_HOUR)?;
    let micros = micros.checked_add(minutes * MICROS_PER_MINUTE + seconds * MICROS_PER_SECOND)?;
    micros.checked_add((fraction * MICROS_PER_SECOND as f64).round_ties_even() as i64)
}

/// ISO 8601: `P1Y2M3W4DT5H6M7.8S`, where each number may have a sign and a fraction, and
/// `P0001-02-03T04:05:06`.
fn iso(text: &str) -> Option<Interval> {
    let text = text.strip_prefix('P')?;
    let (date, time) = text.split_once('T').map_or((text, None), |(d, t)| (d, Some(t)));
    if date.is_empty() && time.is_none() {
        return None;
    }
    let mut sum = Sum::default();
    if date.bytes().any(|byte| byte.is_ascii_alphabetic()) || date.is_empty() {
        designated(date, &mut sum, |unit| match unit {
            'Y' => Some(Unit::Years(1)),
            'M' => Some(Unit::Month),
            'W' => Some(Unit::Days(7)),
            'D' => Some(Unit::Days(1)),
            _ => None,
        })?;
    } else {
        let units = [Unit::Years(1), Unit::Month, Unit::Days(1)];
        separated(date, '-', &units, &mut sum)?;
    }
    let time = time.unwrap_or_default();
    if time.bytes().any(|byte| byte.is_ascii_alphabetic()) || time.is_empty() {
        designated(time, &mut sum, |unit| match unit {
            'H' => Some(Unit::Micros(MICROS_PER_HOUR)),
            'M' => Some(Unit::Micros(MICROS_PER_MINUTE)),
            'S' => Some(Unit::Micros(MICROS_PER_SECOND)),
            _ => None,
        })?;
    } else {
        let units = [MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND].map(Unit::Micros);
        separated(time, ':', &units, &mut sum)?;
    }
    sum.finish()
}

/// Numbers, each with a letter behind it that tells what it is of.
fn designated(text: &str, sum: &mut Sum, unit: fn(char) -> Option<Unit>) -> Option<()> {
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|one: char| one.is_ascii_alphabetic())?;
        let (digits, behind) = rest.split_at(end);
        let designator = behind.chars().next()?;
        sum.add(&signed(digits)?, unit(designator)?)?;
        rest = &behind[designator.len_utf8()..];
    }
    Some(())
}

/// Numbers of one unit after the other.
fn separated(text: &str, by: char, units: &[Unit], sum: &mut Sum) -> Option<()> {
    let mut units = units.iter();
    let mut rest = Some(text);
    while let Some(text) = rest {
        // A sign may stand where the separator does.
        let end = text.char_indices().skip(1).find(|(_, one)| *one == by).map(|(at, _)| at);
        let (digits, behind) = end.map_or((text, None), |at| (&text[..at], Some(&text[at + 1..])));
        sum.add(&signed(digits)?, *units.next()?)?;
        rest = behind;
    }
    Some(())
}

fn signed(digits: &str) -> Option<Number> {
    match digits.strip_prefix('-') {
        Some(digits) => number(true, digits),
        None => number(false, digits.strip_prefix('+').unwrap_or(digits)),
    }
}

#[cfg(test)]
mod tests {
    //! Tests against PostgreSQL's answers.
    use proptest::prelude::*;

    use super::*;
    use crate::text::time::put_interval;

    fn shown(text: &str) -> String {
        let Some(interval) = read_interval(text) else { return "!".into() };
        let mut out = Vec::new();
        put_interval(&mut out, interval);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn texts_are_read_as_postgres_reads_them() {
        let cases = include_str!("intervals.txt").lines().filter(|line| !line.starts_with('#'));
        let mut count = 0;
        for (text, answer) in cases.filter_map(|line| line.split_once('\t')) {
            assert_eq!(shown(text), answer, "{text:?}");
            count += 1;
        }
        assert!(count > 300, "{count} cases");
    }

    #[test]
    fn what_does_not_fit_is_none() {
        for text in [
            "9223372036854775807 us 1 hour",
            "-9223372036854775808 us ago",
            "9223372036854775808 us",
            "9999999999999999 hours",
            "PT9223372036855S",
            "P99999999999Y",
            "1 day\u{a0}2 hours",
            "ä days",
        ] {
            assert_eq!(read_interval(text).and_then(|_| nanos(text)), None, "{text}");
        }
        assert_eq!(read_interval(&format!("1 day{}", " ".repeat(300))), None);
        // What a column of µs holds may not fit in ns.
        assert!(read_interval("3000000 hours").is_some());
        assert_eq!(nanos("3000000 hours"), None);
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(
            months in -40_000i32..40_000,
            days in any::<i32>(),
            micros in -1i64 << 60..1i64 << 60,
        ) {
            let interval = Interval { months, days, micros };
            let mut out = Vec::new();
            put_interval(&mut out, interval);
            prop_assert_eq!(read_interval(std::str::from_utf8(&out).unwrap()), Some(interval));
        }

        #[test]
        fn random_text_does_not_panic(text in "[-+0-9:.PTYMWDHSa-z ä]{0,40}") {
            let _ = (read_interval(&text), nanos(&text));
        }
    }
}
