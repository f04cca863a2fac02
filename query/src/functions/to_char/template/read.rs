//! Times read by a template, as `to_timestamp` and `to_date` of PostgreSQL do: blanks do not count, a
//! separator stands for any, fields that the text is too short for keep their beginnings, and what
//! comes behind the last field is ignored.

use chrono::{Datelike, NaiveDate, NaiveDateTime, TimeDelta, Weekday};

use super::{DAYS, Field, JULIAN_BEFORE_FIRST, MONTHS, Piece, ROMAN, Template, What};
use crate::error::{QueryError, QueryResult};

/// A time that was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Read {
    pub(crate) local: NaiveDateTime,
    /// Seconds east of UTC, where the text says so.
    pub(crate) offset: Option<i32>,
}

/// Fields as they stand in the text.
#[derive(Default)]
struct Fields {
    year: Option<i64>,
    before_christ: bool,
    century: Option<i64>,
    iso_year: Option<i64>,
    iso_week: Option<i64>,
    weekday: Option<u32>,
    day_of_year: Option<i64>,
    week: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    julian: Option<i64>,
    hour: i64,
    is_half: bool,
    is_late: Option<bool>,
    minute: i64,
    second: i64,
    second_of_day: Option<i64>,
    /// Of `MS`, µs.
    millis: i64,
    micros: i64,
    /// Seconds.
    offset: Option<i64>,
    offset_minutes: i64,
}

impl Template {
    /// Reads a time.
    ///
    /// # Errors
    /// `22007` where a field is something else, `22008` where it is out of its range, `0A000` for
    /// fields that only write.
    pub(crate) fn read(&self, text: &str) -> QueryResult<Read> {
        let mut fields = Fields::default();
        let mut rest = text;
        for (at, piece) in self.0.iter().enumerate() {
            if rest.is_empty() {
                break;
            }
            match piece {
                Piece::Text(literal) => rest = behind(rest, literal),
                Piece::Field(field) => {
                    rest = rest.trim_start();
                    let is_joined =
                        matches!(self.0.get(at + 1), Some(Piece::Field(next)) if next.is_number());
                    rest = field.read(rest, is_joined, &mut fields)?;
                    if field.ordinal.is_some() {
                        rest = rest.get(2..).unwrap_or("");
                    }
                }
            }
        }
        fields.finish().ok_or_else(|| {
            let shown: String = text.chars().take(100).collect();
            let message = format!("date/time field value out of range: \"{shown}\"");
            QueryError::new("22008", message)
        })?
    }
}

fn is_separator(c: char) -> bool {
    c.is_ascii() && !c.is_ascii_alphanumeric()
}

/// What is left behind a piece of text: separators stand for any or none, other characters for one.
fn behind<'a>(mut rest: &'a str, literal: &str) -> &'a str {
    for expected in literal.chars() {
        let trimmed = rest.trim_start();
        match trimmed.chars().next() {
            Some(found) if is_separator(expected) => {
                // A sign that a number begins with is its own.
                let is_sign = matches!(found, '-' | '+') && expected != found;
                rest = match is_separator(found) && !is_sign {
                    true => &trimmed[found.len_utf8()..],
                    false => trimmed,
                };
            }
            Some(_) => {
                let mut left = rest.chars();
                left.next();
                rest = left.as_str();
            }
            None => return "",
        }
    }
    rest
}

fn invalid(text: &str, name: &str) -> QueryError {
    let shown: String = text.chars().take_while(|c| !c.is_whitespace()).take(20).collect();
    QueryError::new("22007", format!("invalid value \"{shown}\" for \"{name}\""))
}

/// The year of this century or the last that is nearest to 2020.
fn near_2020(year: i64, digits: usize) -> i64 {
    match digits {
        1 | 2 if year < 70 => year + 2000,
        1 | 2 if year < 100 => year + 1900,
        3 if year < 520 => year + 2000,
        3 => year + 1000,
        _ => year,
    }
}

impl Field {
    fn is_number(&self) -> bool {
        !matches!(
            self.what,
            What::HalfDay { .. }
                | What::Era { .. }
                | What::DayName
                | What::DayShort
                | What::MonthName
                | What::MonthShort
                | What::Roman
                | What::Exact
                | What::Zone
                | What::Offset
                | What::OffsetHours
        )
    }

    fn read<'a>(&self, text: &'a str, is_joined: bool, into: &mut Fields) -> QueryResult<&'a str> {
        // As many digits as the field has where another follows at once, else all there are.
        let number = |width: usize, name: &str| -> QueryResult<(i64, usize, &'a str)> {
            let sign = usize::from(text.starts_with(['-', '+']));
            let most = if is_joined { width } else { 18 };
            let digits = text[sign..].bytes().take(most).take_while(u8::is_ascii_digit).count();
            let (head, rest) = text.split_at(sign + digits);
            let value: i64 = head
                .parse()
                .map_err(|_| invalid(text, name).with_detail("Value must be an integer."))?;
            if i32::try_from(value).is_err() {
                let message = format!("value for \"{name}\" in source string is out of range");
                return Err(QueryError::new("22008", message));
            }
            Ok((value, digits, rest))
        };
        let name_of = |names: &[&str], width: Option<usize>, name: &str| {
            let found = names.iter().position(|known| {
                let known = width.map_or(*known, |width| &known[..width]);
                text.get(..known.len()).is_some_and(|head| head.eq_ignore_ascii_case(known))
            });
            match found {
                Some(at) => Ok((at as u32, &text[width.unwrap_or(names[at].len())..])),
                None => Err(invalid(text, name)),
            }
        };
        let rest;
        match self.what {
            What::Year(width) => {
                let (year, digits, left) = number(width, "YYYY")?;
                into.year = Some(if width < 4 { near_2020(year, digits) } else { year });
                rest = left;
            }
            What::YearWithComma => {
                let end = text.bytes().take_while(|b| b.is_ascii_digit() || *b == b',').count();
                let digits: String = text[..end].chars().filter(|c| *c != ',').collect();
                into.year = Some(digits.parse().map_err(|_| invalid(text, "Y,YYY"))?);
                rest = &text[end..];
            }
            What::IsoYear(width) => {
                let (year, digits, left) = number(width, "IYYY")?;
                into.iso_year = Some(if width < 4 { near_2020(year, digits) } else { year });
                rest = left;
            }
            What::Fraction(width) => {
                let (value, digits, left) = number(width, "US")?;
                if text.starts_with(['-', '+']) || digits > 6 {
                    return Err(invalid(text, "US"));
                }
                // Milliseconds and microseconds add up.
                match width {
                    3 => into.millis = value * 10i64.pow(6 - digits as u32),
                    _ => into.micros = value * 10i64.pow(6 - digits as u32),
                }
                rest = left;
            }
            What::MonthName => {
                let (at, left) = name_of(&MONTHS, None, "Month")?;
                (into.month, rest) = (Some(i64::from(at) + 1), left);
            }
            What::MonthShort => {
                let (at, left) = name_of(&MONTHS, Some(3), "Mon")?;
                (into.month, rest) = (Some(i64::from(at) + 1), left);
            }
            What::DayName => (_, rest) = name_of(&DAYS, None, "Day")?,
            What::DayShort => (_, rest) = name_of(&DAYS, Some(3), "Dy")?,
            What::Roman => {
                // The longest that fits: III, not I.
                let found = (0..ROMAN.len())
                    .filter(|at| {
                        let known = ROMAN[*at];
                        text.get(..known.len()).is_some_and(|head| head.eq_ignore_ascii_case(known))
                    })
                    .max_by_key(|at| ROMAN[*at].len())
                    .ok_or_else(|| invalid(text, "RM"))?;
                (into.month, rest) = (Some(found as i64 + 1), &text[ROMAN[found].len()..]);
            }
            What::HalfDay { dotted } => {
                let names = if dotted { ["A.M.", "P.M."] } else { ["AM", "PM"] };
                let (at, left) = name_of(&names, None, "AM")?;
                (into.is_late, into.is_half, rest) = (Some(at == 1), true, left);
            }
            What::Era { dotted } => {
                let names = if dotted { ["A.D.", "B.C."] } else { ["AD", "BC"] };
                let (at, left) = name_of(&names, None, "AD")?;
                (into.before_christ, rest) = (at == 1, left);
            }
            What::OffsetHours => {
                let (hours, _, left) = number(2, "TZH")?;
                into.offset = Some(hours * 3600);
                rest = left;
            }
            What::OffsetMinutes => {
                let (minutes, _, left) = number(2, "TZM")?;
                into.offset_minutes = minutes * 60;
                rest = left;
            }
            What::Zone | What::Offset => {
                let name = if self.what == What::Zone { "TZ" } else { "OF" };
                let message = format!("formatting field \"{name}\" is only supported in to_char");
                return Err(QueryError::new("0A000", message));
            }
            What::Exact => rest = text,
            What::Hour12 => {
                let (hour, _, left) = number(2, "HH12")?;
                if !(1..=12).contains(&hour) {
                    let message = format!("hour \"{hour}\" is invalid for the 12-hour clock");
                    return Err(QueryError::new("22007", message)
                        .with_hint("Use the 24-hour clock, or give an hour between 1 and 12."));
                }
                (into.hour, into.is_half, rest) = (hour, true, left);
            }
            _ => {
                let slot: &mut dyn FnMut(i64) = match self.what {
                    What::Century => &mut |v| into.century = Some(v),
                    What::DayOfYear | What::IsoDayOfYear => &mut |v| into.day_of_year = Some(v),
                    What::Day => &mut |v| into.day = Some(v),
                    // Sunday is the first day of its week, Monday that of ISO's.
                    What::Weekday => &mut |v| into.weekday = u32::try_from((v + 5) % 7 + 1).ok(),
                    What::IsoWeekday => &mut |v| into.weekday = u32::try_from(v).ok(),
                    What::IsoWeek => &mut |v| into.iso_week = Some(v),
                    What::Hour24 => &mut |v| into.hour = v,
                    What::Julian => &mut |v| into.julian = Some(v),
                    What::Minute => &mut |v| into.minute = v,
                    What::Month => &mut |v| into.month = Some(v),
                    What::Second => &mut |v| into.second = v,
                    What::SecondOfDay => &mut |v| into.second_of_day = Some(v),
                    What::Week => &mut |v| into.week = Some(v),
                    // Quarters and weeks of a month say nothing of their own.
                    _ => &mut |_| {},
                };
                let (width, name) = match self.what {
                    What::DayOfYear | What::IsoDayOfYear => (3, "DDD"),
                    What::Weekday | What::IsoWeekday => (1, "D"),
                    What::Quarter | What::WeekOfMonth => (1, "Q"),
                    What::Julian => (7, "J"),
                    What::SecondOfDay => (5, "SSSSS"),
                    What::Month => (2, "MM"),
                    What::Day => (2, "DD"),
                    What::Hour24 => (2, "HH24"),
                    What::Minute => (2, "MI"),
                    What::Second => (2, "SS"),
                    _ => (2, "WW"),
                };
                let (value, _, left) = number(width, name)?;
                slot(value);
                rest = left;
            }
        }
        Ok(rest)
    }
}

impl Fields {
    /// The time; `None` if a field is out of its range.
    fn finish(self) -> Option<QueryResult<Read>> {
        let date = self.date()?;
        if self.is_late.is_some() && !(1..=12).contains(&self.hour) && self.second_of_day.is_none()
        {
            let hour = self.hour;
            let message = format!("hour \"{hour}\" is invalid for the 12-hour clock");
            return Some(Err(QueryError::new("22007", message)
                .with_hint("Use the 24-hour clock, or give an hour between 1 and 12.")));
        }
        let hour = match (self.is_half, self.is_late) {
            (true, Some(true)) if self.hour < 12 => self.hour + 12,
            (true, late) if self.hour == 12 && late != Some(true) => 0,
            _ => self.hour,
        };
        let (mut hour, mut minute, mut second) = (hour, self.minute, self.second);
        if let Some(of_day) = self.second_of_day {
            (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        }
        let is_clock =
            (0..24).contains(&hour) && (0..60).contains(&minute) && (0..60).contains(&second);
        if !is_clock {
            return None;
        }
        let clock = TimeDelta::seconds(hour * 3600 + minute * 60 + second)
            + TimeDelta::microseconds(self.millis + self.micros);
        let local = date.and_hms_opt(0, 0, 0)?.checked_add_signed(clock)?;
        let offset = match self.offset {
            Some(hours) if hours < 0 => Some(hours - self.offset_minutes),
            Some(hours) => Some(hours + self.offset_minutes),
            None => None,
        };
        if offset.is_some_and(|offset| offset.abs() >= 16 * 3600) {
            return None;
        }
        let offset = offset.and_then(|offset| i32::try_from(offset).ok());
        Some(Ok(Read { local, offset }))
    }

    fn date(&self) -> Option<NaiveDate> {
        if let Some(day) = self.julian {
            let days = i32::try_from(day.checked_sub(JULIAN_BEFORE_FIRST)?).ok()?;
            return NaiveDate::from_num_days_from_ce_opt(days);
        }
        if let Some(year) = self.iso_year {
            let year = i32::try_from(year).ok()?;
            if let Some(day) = self.day_of_year {
                let first = NaiveDate::from_isoywd_opt(year, 1, Weekday::Mon)?;
                return first.checked_add_signed(TimeDelta::try_days(day.checked_sub(1)?)?);
            }
            let week = u32::try_from(self.iso_week.unwrap_or(1)).ok()?;
            // 0 is Sunday, too.
            let weekday = self.weekday.map_or(1, |day| if day == 0 { 7 } else { i64::from(day) });
            let monday = NaiveDate::from_isoywd_opt(year, week, Weekday::Mon)?;
            return monday.checked_add_signed(TimeDelta::try_days(weekday - 1)?);
        }
        let year = match (self.year, self.century) {
            (Some(year), Some(century)) if (0..100).contains(&year) => {
                (century - 1) * 100 + if year == 0 { 100 } else { year }
            }
            (Some(year), _) => year,
            (None, Some(century)) => (century - 1) * 100 + 1,
            // The year before 1 AD has the number 0.
            (None, None) => 0,
        };
        let year = match self.before_christ {
            true => 1 - year,
            false if year < 0 => year + 1,
            false => year,
        };
        let year = i32::try_from(year).ok().filter(|year| (-4_713..=262_000).contains(year))?;
        let month = self.month.filter(|month| *month != 0);
        if let Some(day) = self.day_of_year.filter(|day| *day != 0 && month.is_none()) {
            return NaiveDate::from_yo_opt(year, u32::try_from(day).ok()?);
        }
        if let Some(week) = self.week.filter(|_| month.is_none()) {
            let days = week.checked_sub(1).filter(|week| (0..53).contains(week))? * 7;
            let date =
                NaiveDate::from_yo_opt(year, 1)?.checked_add_signed(TimeDelta::days(days))?;
            return (date.year() == year).then_some(date);
        }
        let month = u32::try_from(month.unwrap_or(1)).ok()?;
        let day = self.day.filter(|day| *day != 0).unwrap_or(1);
        NaiveDate::from_ymd_opt(year, month, u32::try_from(day).ok()?)
    }
}

#[cfg(test)]
mod tests {
    //! What PostgreSQL 15 reads of the same texts.
    use super::*;

    fn read(text: &str, template: &str) -> Result<String, String> {
        match Template::parse(template).read(text) {
            Ok(Read { local, offset }) => Ok(match offset {
                Some(offset) => format!("{local} {offset:+}"),
                None => local.to_string(),
            }),
            Err(error) => Err(error.code.to_string()),
        }
    }

    #[test]
    fn texts_are_read_as_postgres_reads_them() {
        for (text, template, expected) in [
            ("05 Dec 2000", "DD Mon YYYY", "2000-12-05 00:00:00"),
            ("2026-1-5 3:4:5", "YYYY-MM-DD HH24:MI:SS", "2026-01-05 03:04:05"),
            ("20260105", "YYYYMMDD", "2026-01-05 00:00:00"),
            ("26/1/5", "YY/MM/DD", "2026-01-05 00:00:00"),
            ("97/1/5", "YY/MM/DD", "1997-01-05 00:00:00"),
            ("2026-01-05T10:11:12.5Z", "YYYY-MM-DD\"T\"HH24:MI:SS.MS", "2026-01-05 10:11:12.500"),
            ("2026 5", "YYYY DDD", "2026-01-05 00:00:00"),
            ("12", "MM", "0000-12-01 00:00:00"),
            ("", "MM", "0000-01-01 00:00:00"),
            ("10:30 pm", "HH12:MI am", "0000-01-01 22:30:00"),
            ("12:30 am", "HH12:MI am", "0000-01-01 00:30:00"),
            ("2026-01-05 10 +03", "YYYY-MM-DD HH24 TZH", "2026-01-05 10:00:00 +10800"),
            ("2026-01-05 10 -03:30", "YYYY-MM-DD HH24 TZH:TZM", "2026-01-05 10:00:00 -12600"),
            ("2026-W05-3", "IYYY-\"W\"IW-ID", "2026-01-28 00:00:00"),
            ("12.123456", "SS.US", "0000-01-01 00:00:12.123456"),
            ("Monday 5 January 2026", "Day DD Month YYYY", "2026-01-05 00:00:00"),
            ("2026   01", "YYYY-MM", "2026-01-01 00:00:00"),
            ("5th", "DDth", "0000-01-05 00:00:00"),
            ("2461105", "J", "2026-03-05 00:00:00"),
            ("86399", "SSSSS", "0000-01-01 23:59:59"),
            ("2026-01-05 99", "YYYY-MM-DD", "2026-01-05 00:00:00"),
            ("jun 2026", "mon yyyy", "2026-06-01 00:00:00"),
            ("44 BC", "YYYY BC", "-0043-01-01 00:00:00"),
            ("2026-Q2", "YYYY-\"Q\"Q", "2026-01-01 00:00:00"),
            ("1,999", "Y,YYY", "1999-01-01 00:00:00"),
            ("xii 2026", "RM YYYY", "2026-12-01 00:00:00"),
        ] {
            assert_eq!(read(text, template).as_deref(), Ok(expected), "{text} {template}");
        }
        for (text, template, code) in [
            ("13", "MM", "22008"),
            ("x", "MM", "22007"),
            ("22:30 pm", "HH12:MI am", "22007"),
            ("2026-01-05 UTC", "YYYY-MM-DD TZ", "0A000"),
            ("2026-02-30", "YYYY-MM-DD", "22008"),
            ("2026-13-01", "YYYY-MM-DD", "22008"),
            ("25:00", "HH24:MI", "22008"),
            ("2026 60", "YYYY MI", "22008"),
            ("Foo 2026", "Mon YYYY", "22007"),
        ] {
            assert_eq!(read(text, template), Err(code.to_string()), "{text} {template}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(seconds in -60_000_000_000i64..200_000_000_000, micros in 0u32..1_000_000) {
            let local = chrono::DateTime::from_timestamp(seconds, micros * 1_000).expect("in range").naive_utc();
            let moment = super::super::Moment { local, offset: 0, zone: String::new() };
            for template in ["YYYY-MM-DD HH24:MI:SS.US BC", "DD.Mon YYYY AD, HH12:MI:SS.US PM", "BC YYYY DDD SSSSS US"] {
                let template = Template::parse(template);
                let text = template.write(&moment);
                proptest::prop_assert_eq!(template.read(&text).expect("it reads").local, local, "{}", text);
            }
        }

        #[test]
        fn nothing_panics(text in ".{0,30}|[0-9A-Za-z:., +-]{0,30}|([+-]?[0-9]{1,18}[ :]?){1,5}", template in "(FM|[A-Za-z,.\"\\\\]|é| |TH|HH24|YYYY|MM|DD|TZH|IYYY|IW|J|CC|IDDD|ID|TZM|DDD|SSSSS|Q|D){0,20}") {
            let _ = Template::parse(&template).read(&text);
        }
    }
}
