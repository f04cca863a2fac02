//! Templates of `to_char`, `to_timestamp` and `to_date`: parsed once, used for every time.

mod read;

use chrono::{Datelike, NaiveDateTime, Timelike};

/// A time as clocks of its zone show it.
pub(super) struct Moment {
    pub(super) local: NaiveDateTime,
    /// Seconds east of UTC.
    pub(super) offset: i32,
    /// Abbreviation of the zone; empty for a time without one.
    pub(super) zone: String,
}

/// A template, in pieces.
#[derive(Debug, PartialEq)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Debug, PartialEq)]
enum Piece {
    Text(String),
    Field(Field),
}

/// A pattern with what stands before and behind it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Field {
    what: What,
    case: Case,
    /// `FM`, or `TM` for names: no zeros in front and no blanks behind.
    bare: bool,
    ordinal: Option<Case>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Case {
    Upper,
    Lower,
    Title,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    HalfDay {
        dotted: bool,
    },
    Era {
        dotted: bool,
    },
    Century,
    DayName,
    DayOfYear,
    Day,
    DayShort,
    Weekday,
    /// Digits of the fraction of the second.
    Fraction(usize),
    /// Changes nothing where texts are written.
    Exact,
    Hour24,
    Hour12,
    IsoDayOfYear,
    IsoWeekday,
    IsoWeek,
    /// Last digits of the ISO year; 4 for all of it.
    IsoYear(usize),
    Julian,
    Minute,
    Month,
    MonthName,
    MonthShort,
    Offset,
    Quarter,
    Roman,
    SecondOfDay,
    Second,
    OffsetHours,
    OffsetMinutes,
    Zone,
    Week,
    WeekOfMonth,
    YearWithComma,
    /// Last digits of the year; 4 for all of it.
    Year(usize),
}

/// Patterns in capitals; of those that begin alike the longest is first.
const PATTERNS: &[(&str, What)] = &[
    ("A.D.", What::Era { dotted: true }),
    ("A.M.", What::HalfDay { dotted: true }),
    ("AD", What::Era { dotted: false }),
    ("AM", What::HalfDay { dotted: false }),
    ("B.C.", What::Era { dotted: true }),
    ("BC", What::Era { dotted: false }),
    ("CC", What::Century),
    ("DAY", What::DayName),
    ("DDD", What::DayOfYear),
    ("DD", What::Day),
    ("DY", What::DayShort),
    ("D", What::Weekday),
    ("FF1", What::Fraction(1)),
    ("FF2", What::Fraction(2)),
    ("FF3", What::Fraction(3)),
    ("FF4", What::Fraction(4)),
    ("FF5", What::Fraction(5)),
    ("FF6", What::Fraction(6)),
    ("FX", What::Exact),
    ("HH24", What::Hour24),
    ("HH12", What::Hour12),
    ("HH", What::Hour12),
    ("IDDD", What::IsoDayOfYear),
    ("ID", What::IsoWeekday),
    ("IW", What::IsoWeek),
    ("IYYY", What::IsoYear(4)),
    ("IYY", What::IsoYear(3)),
    ("IY", What::IsoYear(2)),
    ("I", What::IsoYear(1)),
    ("J", What::Julian),
    ("MI", What::Minute),
    ("MM", What::Month),
    ("MONTH", What::MonthName),
    ("MON", What::MonthShort),
    ("MS", What::Fraction(3)),
    ("OF", What::Offset),
    ("P.M.", What::HalfDay { dotted: true }),
    ("PM", What::HalfDay { dotted: false }),
    ("Q", What::Quarter),
    ("RM", What::Roman),
    ("SSSSS", What::SecondOfDay),
    ("SSSS", What::SecondOfDay),
    ("SS", What::Second),
    ("TZH", What::OffsetHours),
    ("TZM", What::OffsetMinutes),
    ("TZ", What::Zone),
    ("US", What::Fraction(6)),
    ("WW", What::Week),
    ("W", What::WeekOfMonth),
    ("Y,YYY", What::YearWithComma),
    ("YYYY", What::Year(4)),
    ("YYY", What::Year(3)),
    ("YY", What::Year(2)),
    ("Y", What::Year(1)),
];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const ROMAN: [&str; 12] =
    ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];
/// Names of months and days are filled up to this.
const NAME_WIDTH: usize = 9;
/// The day before 0001-01-01 in Julian days.
const JULIAN_BEFORE_FIRST: i64 = 1_721_425;

/// The pattern that a text begins with: all in capitals or all in small letters, and those that
/// are names also as a name.
fn pattern(text: &str) -> Option<(What, Case, usize)> {
    PATTERNS.iter().find_map(|(name, what)| {
        let head = text.get(..name.len()).filter(|head| head.is_ascii())?;
        let named =
            matches!(what, What::DayName | What::DayShort | What::MonthName | What::MonthShort);
        let title = named && head[..1] == name[..1] && head[1..] == name[1..].to_ascii_lowercase();
        let case = match head {
            head if head == *name => Case::Upper,
            head if head == name.to_ascii_lowercase() => Case::Lower,
            _ if title => Case::Title,
            _ => return None,
        };
        Some((*what, case, name.len()))
    })
}

impl Template {
    /// Reads a template. Anything that is no pattern stands for itself.
    pub(crate) fn parse(text: &str) -> Template {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let prefix = ["FM", "fm", "TM", "tm"].iter().find(|p| rest.starts_with(**p));
            rest = &rest[prefix.map_or(0, |p| p.len())..];
            if let Some((what, case, length)) = pattern(rest) {
                rest = &rest[length..];
                let ordinal = match rest.get(..2) {
                    Some("TH") => Some(Case::Upper),
                    Some("th") => Some(Case::Lower),
                    _ => None,
                };
                rest = &rest[ordinal.map_or(0, |_| 2)..];
                let named = matches!(what, What::DayName | What::MonthName);
                let bare = prefix.is_some_and(|p| p.eq_ignore_ascii_case("FM") || named);
                pieces.push(Piece::Field(Field { what, case, bare, ordinal }));
                continue;
            }
            if prefix.is_some() {
                continue;
            }
            if first == '"' {
                let mut chars = rest[1..].char_indices();
                let mut quoted = String::new();
                let mut end = rest.len();
                while let Some((at, c)) = chars.next() {
                    match c {
                        '"' => {
                            end = at + 2;
                            break;
                        }
                        '\\' => quoted.extend(chars.next().map(|(_, c)| c)),
                        c => quoted.push(c),
                    }
                }
                rest = &rest[end..];
                pieces.push(Piece::Text(quoted));
                continue;
            }
            let taken = if rest.starts_with("\\\"") { "\"" } else { &rest[..first.len_utf8()] };
            rest = &rest[if rest.starts_with("\\\"") { 2 } else { first.len_utf8() }..];
            match pieces.last_mut() {
                Some(Piece::Text(text)) => text.push_str(taken),
                _ => pieces.push(Piece::Text(taken.to_string())),
            }
        }
        Template(pieces)
    }

    /// Writes a time.
    pub(super) fn write(&self, moment: &Moment) -> String {
        let mut text = String::with_capacity(32);
        for piece in &self.0 {
            match piece {
                Piece::Text(literal) => text.push_str(literal),
                Piece::Field(field) => field.write(moment, &mut text),
            }
        }
        text
    }
}

impl Field {
    fn write(&self, moment: &Moment, out: &mut String) {
        let local = &moment.local;
        let year = i64::from(local.year());
        let iso = local.iso_week();
        let weekday = local.weekday();
        let wide = |width: usize, number: i64| (width, number);
        let (width, number) = match self.what {
            What::HalfDay { dotted } => {
                let late = local.hour() >= 12;
                return self.text(
                    ["AM", "PM", "A.M.", "P.M."][usize::from(late) + 2 * usize::from(dotted)],
                    out,
                );
            }
            What::Era { dotted } => {
                let before = year <= 0;
                return self.text(
                    ["AD", "BC", "A.D.", "B.C."][usize::from(before) + 2 * usize::from(dotted)],
                    out,
                );
            }
            What::DayName => return self.name(DAYS[weekday.num_days_from_sunday() as usize], out),
            What::DayShort => {
                return self.text(&DAYS[weekday.num_days_from_sunday() as usize][..3], out);
            }
            What::MonthName => return self.name(MONTHS[local.month0() as usize], out),
            What::MonthShort => return self.text(&MONTHS[local.month0() as usize][..3], out),
            What::Roman => {
                let width = if self.bare { 0 } else { 4 };
                let roman = format!("{:width$}", ROMAN[local.month0() as usize]);
                return self.text(&roman, out);
            }
            What::Zone => return self.text(&moment.zone, out),
            What::Exact => return,
            What::Offset | What::OffsetHours | What::OffsetMinutes => {
                let (sign, offset) =
                    (if moment.offset < 0 { '-' } else { '+' }, moment.offset.unsigned_abs());
                let (hours, minutes) = (offset / 3600, offset / 60 % 60);
                let width = if self.bare && self.what == What::Offset { 0 } else { 2 };
                if self.what == What::OffsetMinutes {
                    out.push_str(&format!("{minutes:02}"));
                    return;
                }
                out.push_str(&format!("{sign}{hours:0width$}"));
                if self.what == What::Offset && minutes != 0 {
                    out.push_str(&format!(":{minutes:02}"));
                }
                return;
            }
            What::YearWithComma => {
                let shown = shown_year(year);
                let text = format!("{},{:03}", shown / 1000, shown % 1000);
                return self.digits(&text, out);
            }
            What::Fraction(digits) => {
                let micros = i64::from(local.nanosecond() / 1_000);
                let text = format!("{:0digits$}", micros / 10i64.pow(6 - digits as u32));
                return self.digits(&text, out);
            }
            What::Century => {
                let century = if year > 0 { (year - 1) / 100 + 1 } else { year / 100 - 1 };
                wide(if century < 0 { 3 } else { 2 }, century)
            }
            What::DayOfYear => wide(3, i64::from(local.ordinal())),
            What::Day => wide(2, i64::from(local.day())),
            What::Weekday => wide(1, i64::from(weekday.number_from_sunday())),
            What::Hour24 => wide(2, i64::from(local.hour())),
            What::Hour12 => wide(2, i64::from(local.hour12().1)),
            What::IsoDayOfYear => {
                wide(3, i64::from(iso.week0() * 7 + weekday.number_from_monday()))
            }
            What::IsoWeekday => wide(1, i64::from(weekday.number_from_monday())),
            What::IsoWeek => wide(2, i64::from(iso.week())),
            What::IsoYear(digits) => last(shown_year(i64::from(iso.year())), digits),
            What::Julian => wide(1, i64::from(local.num_days_from_ce()) + JULIAN_BEFORE_FIRST),
            What::Minute => wide(2, i64::from(local.minute())),
            What::Month => wide(2, i64::from(local.month())),
            What::Quarter => wide(1, i64::from(local.month0() / 3 + 1)),
            What::SecondOfDay => wide(1, i64::from(local.num_seconds_from_midnight())),
            What::Second => wide(2, i64::from(local.second())),
            What::Week => wide(2, i64::from(local.ordinal0() / 7 + 1)),
            What::WeekOfMonth => wide(1, i64::from(local.day0() / 7 + 1)),
            What::Year(digits) => last(shown_year(year), digits),
        };
        let width = if self.bare { 0 } else { width };
        self.digits(&format!("{number:0width$}"), out);
    }

    fn text(&self, text: &str, out: &mut String) {
        match self.case {
            Case::Upper => out.push_str(&text.to_ascii_uppercase()),
            Case::Lower => out.push_str(&text.to_ascii_lowercase()),
            Case::Title => out.push_str(text),
        }
    }

    /// A name, filled up unless it is to be bare.
    fn name(&self, name: &str, out: &mut String) {
        let width = if self.bare { 0 } else { NAME_WIDTH };
        self.text(&format!("{name:width$}"), out);
    }

    /// A number, with its ordinal ending where that is asked for.
    fn digits(&self, number: &str, out: &mut String) {
        out.push_str(number);
        let Some(case) = self.ordinal else { return };
        let ending = ordinal(number);
        match case {
            Case::Upper => out.push_str(&ending.to_ascii_uppercase()),
            _ => out.push_str(ending),
        }
    }
}

/// The ordinal ending of a number.
pub(super) fn ordinal(number: &str) -> &'static str {
    let digits = number.as_bytes();
    let teen = digits.len() > 1 && digits[digits.len() - 2] == b'1';
    match digits.last() {
        Some(b'1') if !teen => "st",
        Some(b'2') if !teen => "nd",
        Some(b'3') if !teen => "rd",
        _ => "th",
    }
}

/// Years before the first have no zero: the year before 1 AD is 1 BC.
fn shown_year(year: i64) -> i64 {
    if year > 0 { year } else { 1 - year }
}

/// The last digits of a year, filled up with zeros; 4 are all of it.
fn last(year: i64, digits: usize) -> (usize, i64) {
    let shown = if digits < 4 { year % 10i64.pow(digits as u32) } else { year };
    (digits, shown)
}

#[cfg(test)]
mod tests {
    //! What PostgreSQL 15 writes for the same templates.
    use super::*;

    fn written(local: &str, offset: i32, zone: &str, template: &str) -> String {
        let local = NaiveDateTime::parse_from_str(local, "%Y-%m-%d %H:%M:%S%.f").expect("a time");
        Template::parse(template).write(&Moment { local, offset, zone: zone.to_string() })
    }

    #[test]
    fn patterns_of_postgres() {
        for (template, expected) in [
            ("YYYY-MM-DD HH24:MI:SS", "2026-03-05 14:07:09"),
            ("YYYY-MM-DD\"T\"HH24:MI:SS.MSOF", "2026-03-05T14:07:09.045+01"),
            ("YYYY-MM-DD HH12:MI:SS.US AM", "2026-03-05 02:07:09.045678 PM"),
            ("Day, DD Month YYYY", "Thursday , 05 March     2026"),
            ("FMDay, FMDD FMMonth FMYYYY", "Thursday, 5 March 2026"),
            ("DY Dy dy MON Mon mon", "THU Thu thu MAR Mar mar"),
            ("DAY|day|MONTH|month|", "THURSDAY |thursday |MARCH    |march    |"),
            ("TMDay TMMonth", "Thursday March"),
            ("HH:MI a.m. P.M. pm", "02:07 p.m. P.M. pm"),
            (
                "DDD DDDth FMDDD D ID Q W WW IW IYYY IDDD J",
                "064 064th 64 5 4 1 1 10 10 2026 067 2461105",
            ),
            ("FMDDth FMMMTH FMHH12th", "5th 3RD 2nd"),
            ("Y,YYY YYY YY Y IYY IY I CC AD b.c.", "2,026 026 26 6 026 26 6 21 AD a.d."),
            ("RM rm FMRM|", "III  iii  III|"),
            ("SSSS SSSSS FF1 FF2 FF4 FF6", "50829 50829 0 04 0456 045678"),
            ("TZ tz TZH:TZM OF", "CET cet +01:00 +01"),
            ("hh24:mi:ss yyyy", "14:07:09 2026"),
            ("Hh Yyyy", "Hh 6026"),
            ("\"YYYY\" \\\"YY\\\" \"a\\\"b\" \"open", "YYYY \"26\" a\"b open"),
            ("Z: é FX", "Z: é "),
            ("FM-FMfoo", "-foo"),
            ("", ""),
        ] {
            let got = written("2026-03-05 14:07:09.045678", 3600, "CET", template);
            assert_eq!(got, expected, "{template}");
        }
    }

    #[test]
    fn edges_of_clocks_and_calendars() {
        for (local, offset, template, expected) in [
            ("2026-01-01 00:00:00", 0, "HH12 HH24 AM IYYY-IW-ID", "12 00 AM 2026-01-4"),
            ("2027-01-01 12:00:00", 0, "HH12 PM IYYY-IW-ID WW", "12 PM 2026-53-5 01"),
            ("2026-12-31 23:59:59", -12_600, "OF TZH TZM DDD WW", "-03:30 -03 30 365 53"),
            ("2000-12-11 01:02:03", 20_700, "CC FMDDth YY OF", "20 11th 00 +05:45"),
            ("0000-05-01 00:00:00", 0, "YYYY BC CC", "0001 BC -01"),
            ("2022-08-22 00:00:00", 0, "DDth DDTH FMHH24 FMMI", "22nd 22ND 0 0"),
        ] {
            assert_eq!(written(local, offset, "", template), expected, "{local} {template}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(template in "(FM|TM|[A-Za-z,.\"\\\\]|é| |TH|HH24|YYYY){0,20}", seconds in -60_000_000_000i64..200_000_000_000) {
            let local = chrono::DateTime::from_timestamp(seconds, 7_000).expect("in range").naive_utc();
            Template::parse(&template).write(&Moment { local, offset: 0, zone: "UTC".into() });
        }
    }
}
