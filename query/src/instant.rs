//! Times as texts, as PostgreSQL reads them ("Date/Time Input" of its manual, ISO order).
//!
//! A date as `2026-10-25`, `2026/10/25` or `20261025`; behind a `T` or a space a time as `2:30`,
//! `02:30:15.25` or `2:30 PM`, midnight where there is none; behind that a zone as `Z`, `+01`,
//! `+0530`, `-03:30` or `Europe/Berlin`, the session's where there is none. `24:00` is the next
//! day's midnight, second 60 the next minute. A local time that a change of clocks leaves out is
//! read with the offset before the change, one that comes twice is the second, as there.

use std::str::FromStr;

use arrow::array::timezone::Tz;
use arrow::compute::kernels::cast_utils::string_to_datetime;
use chrono::{DateTime, Duration, MappedLocalTime, NaiveDate, NaiveDateTime, Offset, TimeZone};

/// The instant that a text names; one without a zone is in `session`. `None` if it names none.
pub(crate) fn instant(text: &str, session: &Tz) -> Option<DateTime<Tz>> {
    // The commonest forms, quickly.
    string_to_datetime(session, text).ok().or_else(|| any_form(text, session))
}

/// As [`instant`], without the short way.
fn any_form(text: &str, session: &Tz) -> Option<DateTime<Tz>> {
    let mut rest = text.trim();
    let date = date(&mut rest)?;
    let (clock, zone) = match time(rest) {
        Some(found) => found,
        None => (Duration::zero(), rest),
    };
    let local = date.and_hms_opt(0, 0, 0)?.checked_add_signed(clock)?;
    match zone.trim() {
        "" => at(local, session),
        zone => at(local, &named(zone)?),
    }
}

/// Takes digits off the front: how many of them at least and at most.
fn digits<'a>(rest: &mut &'a str, least: usize, most: usize) -> Option<&'a str> {
    let count = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let (found, left) = rest.split_at(count);
    (count >= least).then(|| {
        *rest = left;
        found
    })
}

fn number<T: FromStr>(rest: &mut &str, least: usize, most: usize) -> Option<T> {
    digits(rest, least, most)?.parse().ok()
}

fn date(rest: &mut &str) -> Option<NaiveDate> {
    let mut left = *rest;
    let first = digits(&mut left, 4, 8)?;
    let parts = match (first.len(), left.as_bytes().first()) {
        (8, _) => (first[..4].parse().ok()?, first[4..6].parse().ok()?, first[6..].parse().ok()?),
        (4..=6, Some(mark @ (b'-' | b'/'))) => {
            let mark = char::from(*mark);
            left = &left[1..];
            let month = number(&mut left, 1, 2)?;
            left = left.strip_prefix(mark)?;
            (first.parse().ok()?, month, number(&mut left, 1, 2)?)
        }
        _ => return None,
    };
    if left.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    *rest = left;
    NaiveDate::from_ymd_opt(parts.0, parts.1, parts.2)
}

/// A time of day and what is behind it; `None` where there is none.
fn time(rest: &str) -> Option<(Duration, &str)> {
    let mut rest = match rest.strip_prefix(['T', 't']) {
        Some(behind) => behind,
        None if rest.starts_with(char::is_whitespace) => rest.trim_start(),
        None => return None,
    };
    let mut hour: i64 = number(&mut rest, 1, 2)?;
    rest = rest.strip_prefix(':')?;
    let minute: i64 = number(&mut rest, 2, 2)?;
    let (mut second, mut nanos) = (0i64, 0i64);
    if let Some(behind) = rest.strip_prefix(':') {
        rest = behind;
        second = number(&mut rest, 2, 2)?;
        if let Some(behind) = rest.strip_prefix('.') {
            rest = behind;
            let fraction = digits(&mut rest, 0, usize::MAX)?;
            let cut = &fraction[..fraction.len().min(9)];
            nanos = format!("{cut:0<9}").parse().ok()?;
        }
    }
    if rest.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let behind = rest.trim_start();
    let half = behind.get(..2).filter(|half| {
        let more = behind[2..].starts_with(|c: char| c.is_alphanumeric() || c == '/');
        !more && (half.eq_ignore_ascii_case("am") || half.eq_ignore_ascii_case("pm"))
    });
    if let Some(half) = half {
        rest = &behind[2..];
        if !(1..=12).contains(&hour) {
            return None;
        }
        hour = hour % 12 + if half.eq_ignore_ascii_case("pm") { 12 } else { 0 };
    }
    let whole = hour == 24 && minute == 0 && second == 0 && nanos == 0;
    if (hour > 23 && !whole) || minute > 59 || second > 60 || (second == 60 && nanos > 0) {
        return None;
    }
    let clock = Duration::seconds(hour * 3600 + minute * 60 + second);
    Some((clock + Duration::nanoseconds(nanos), rest))
}

/// The zone of this name, or at this offset.
fn named(text: &str) -> Option<Tz> {
    let Some(sign) = text.chars().next().filter(|c| matches!(c, '+' | '-')) else {
        let utc = ["z", "utc", "gmt", "zulu"].iter().any(|name| text.eq_ignore_ascii_case(name));
        return Tz::from_str(if utc { "+00:00" } else { text }).ok();
    };
    let mut rest = &text[1..];
    let hour: u32 = number(&mut rest, 1, 2)?;
    rest = rest.strip_prefix(':').unwrap_or(rest);
    let minute: u32 = if rest.is_empty() { 0 } else { number(&mut rest, 2, 2)? };
    if !rest.is_empty() || hour > 15 || minute > 59 {
        return None;
    }
    Tz::from_str(&format!("{sign}{hour:02}:{minute:02}")).ok()
}

/// The instant at which clocks of a zone show this.
fn at(local: NaiveDateTime, zone: &Tz) -> Option<DateTime<Tz>> {
    match zone.from_local_datetime(&local) {
        MappedLocalTime::Single(time) | MappedLocalTime::Ambiguous(_, time) => Some(time),
        MappedLocalTime::None => {
            // No zone changes its clocks twice in a day.
            let before = local.checked_sub_signed(Duration::days(1))?;
            let offset = zone.offset_from_utc_datetime(&before).fix();
            let utc = local.checked_sub_offset(offset)?;
            Some(zone.from_utc_datetime(&utc))
        }
    }
}

#[cfg(test)]
mod tests {
    //! Forms of times; what they are was asked of PostgreSQL 15.
    use super::*;

    fn utc(text: &str, session: &str) -> Option<String> {
        let session = Tz::from_str(session).expect("a zone");
        let found = instant(text, &session)?;
        let found = DateTime::from_timestamp_nanos(found.timestamp_nanos_opt()?);
        Some(found.format("%Y-%m-%d %H:%M:%S%.f").to_string())
    }

    #[test]
    fn forms_that_postgres_takes() {
        for (text, expected) in [
            ("2026-10-25", "2026-10-25 00:00:00"),
            ("2026-10-25 10:30", "2026-10-25 10:30:00"),
            ("2026-10-25T10:30", "2026-10-25 10:30:00"),
            ("2026-10-25t10:30Z", "2026-10-25 10:30:00"),
            ("  2026-10-25   1:05  ", "2026-10-25 01:05:00"),
            ("2026-1-5 10:30", "2026-01-05 10:30:00"),
            ("2026/10/25 10:30:15", "2026-10-25 10:30:15"),
            ("20261025", "2026-10-25 00:00:00"),
            ("20261025 10:30", "2026-10-25 10:30:00"),
            ("2026-10-25 10:30:15.", "2026-10-25 10:30:15"),
            ("2026-10-25 10:30:15.25+02", "2026-10-25 08:30:15.250"),
            ("2026-10-25 10:30+02", "2026-10-25 08:30:00"),
            ("2026-10-25 10:30 +0530", "2026-10-25 05:00:00"),
            ("2026-10-25 10:30-03:30", "2026-10-25 14:00:00"),
            ("2026-10-25 10:30 Europe/Berlin", "2026-10-25 09:30:00"),
            ("2026-10-25 10:30 utc", "2026-10-25 10:30:00"),
            ("2026-10-25 UTC", "2026-10-25 00:00:00"),
            ("2026-10-25+01", "2026-10-24 23:00:00"),
            ("2026-10-25Z", "2026-10-25 00:00:00"),
            ("2026-10-25 24:00", "2026-10-26 00:00:00"),
            ("2026-10-25 23:59:60", "2026-10-26 00:00:00"),
            ("2026-10-25 12:15 AM", "2026-10-25 00:15:00"),
            ("2026-10-25 12:15pm", "2026-10-25 12:15:00"),
            ("2026-10-25 02:30 PM Asia/Shanghai", "2026-10-25 06:30:00"),
            ("2026-10-25 10:30:15.1234567891", "2026-10-25 10:30:15.123456789"),
        ] {
            assert_eq!(utc(text, "+00:00").as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time() {
        for text in [
            "",
            " ",
            "soon",
            "2026",
            "2026-10",
            "2026-13-01",
            "2026-02-30",
            "2026-10-25 10",
            "2026-10-25 25:00",
            "2026-10-25 24:01",
            "2026-10-25 10:60",
            "2026-10-25 10:30:61",
            "2026-10-25 10:3",
            "2026-10-25 10:300",
            "2026-10-25 10:30 Nowhere/Land",
            "2026-10-25 10:30+16",
            "2026-10-25 10:30+01:60",
            "2026-10-25 13:00 PM",
            "2026-10-25 0:30 AM",
            "2026-10-25T",
            "2026-10/25",
            "2026-10-25x",
            "1:30 2026-10-25",
            "2026-10-251",
            "9999999-01-01",
            "2026-10-25 10:30 +",
            "2026-10-25 10:30 +é",
            "2026-10-25 10:30 é",
            "2026-10-25 10:30 \u{1F600}x",
        ] {
            assert_eq!(utc(text, "+00:00"), None, "{text}");
        }
    }

    #[test]
    fn clocks_that_change() {
        for (text, expected) in [
            // Left out: 02:00 to 03:00.
            ("2026-03-29 02:30", "2026-03-29 01:30:00"),
            ("2026-03-29 02:30:00", "2026-03-29 01:30:00"),
            ("2026-03-29 01:59", "2026-03-29 00:59:00"),
            ("2026-03-29 03:00", "2026-03-29 01:00:00"),
            // Twice: 02:00 to 03:00; the second.
            ("2026-10-25 02:30", "2026-10-25 01:30:00"),
            ("2026-10-25 02:30:00", "2026-10-25 01:30:00"),
            ("2026-10-25 02:30+02", "2026-10-25 00:30:00"),
            ("2026-10-25 24:00", "2026-10-25 23:00:00"),
        ] {
            assert_eq!(utc(text, "Europe/Berlin").as_deref(), Some(expected), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in ".{0,40}") {
            let _ = utc(&text, "Europe/Berlin");
        }

        #[test]
        fn both_ways_agree(seconds in -2_000_000_000i64..4_000_000_000, nanos in 0u32..1_000_000_000) {
            let time = DateTime::from_timestamp(seconds, nanos).expect("in range");
            let zone = Tz::from_str("+00:00").expect("a zone");
            for form in ["%Y-%m-%d %H:%M:%S%.9f", "%Y-%m-%dT%H:%M:%S%.9f+00:00", "%Y-%m-%d %H:%M:%S%.9fZ"] {
                let text = time.format(form).to_string();
                let quick = string_to_datetime(&zone, &text).expect("a time");
                proptest::prop_assert_eq!(quick, any_form(&text, &zone).expect("a time"));
            }
        }
    }
}
