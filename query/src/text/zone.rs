//! The session's time zone: offsets of instants for results, instants of local times for
//! parameters.

use std::cell::Cell;

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset, TimeDelta, TimeZone};
use chrono_tz::Tz;

/// A time zone by rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Zone {
    #[default]
    Utc,
    /// Seconds east of Greenwich.
    Fixed(i32),
    Named(Tz),
}

impl Zone {
    /// Reads a `TimeZone` setting: a name of the tz database in any case, or an offset `+05:30`.
    pub fn from_setting(text: &str) -> Option<Zone> {
        let text = text.trim();
        let utc = ["UTC", "Etc/UTC", "GMT", "Z", "Zulu", "UCT", "Etc/UCT", "Etc/GMT"];
        if utc.iter().any(|name| name.eq_ignore_ascii_case(text)) {
            return Some(Zone::Utc);
        }
        if let Some(seconds) = offset_from_text(text) {
            return Some(if seconds == 0 { Zone::Utc } else { Zone::Fixed(seconds) });
        }
        let exact = text.parse::<Tz>().ok();
        exact
            .or_else(|| {
                let any_case = |zone: &&Tz| zone.name().eq_ignore_ascii_case(text);
                chrono_tz::TZ_VARIANTS.iter().find(any_case).copied()
            })
            .map(Zone::Named)
    }

    /// Seconds to add to UTC at an instant, given in seconds from 1970-01-01.
    pub fn offset_at(&self, seconds: i64) -> i32 {
        match self {
            Zone::Utc => 0,
            Zone::Fixed(offset) => *offset,
            // Instants beyond the calendar of chrono keep the zone's last known rule out of reach.
            Zone::Named(zone) => DateTime::from_timestamp(seconds, 0).map_or(0, |at| {
                zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc()
            }),
        }
    }

    /// Seconds to subtract from a local time, given in seconds as if it were UTC. A time that
    /// comes twice is the later one and a skipped one counts from before the jump, as in Postgres.
    pub fn offset_of_local(&self, local_seconds: i64) -> i32 {
        let Zone::Named(zone) = self else {
            return self.offset_at(local_seconds);
        };
        let Some(local) = DateTime::from_timestamp(local_seconds, 0) else {
            return 0;
        };
        let local: NaiveDateTime = local.naive_utc();
        let offset = match zone.offset_from_local_datetime(&local) {
            MappedLocalTime::Single(offset) => Some(offset),
            MappedLocalTime::Ambiguous(_, later) => Some(later),
            MappedLocalTime::None => local
                .checked_sub_signed(TimeDelta::hours(3))
                .and_then(|before| zone.offset_from_local_datetime(&before).latest()),
        };
        offset.map_or(0, |offset| offset.fix().local_minus_utc())
    }
}

/// Seconds east of Greenwich of `+02`, `-0530`, `+05:30` or `+05:30:10`.
pub fn offset_from_text(text: &str) -> Option<i32> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, text.get(1..)?),
        b'-' => (-1, text.get(1..)?),
        _ => return None,
    };
    let part = |text: &str| -> Option<i32> {
        let fits = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        if fits { text.parse().ok() } else { None }
    };
    let fields: Vec<&str> = if rest.contains(':') {
        rest.split(':').collect()
    } else if rest.len() > 2 && rest.is_ascii() {
        let (hours, minutes) = rest.split_at(rest.len() - 2);
        vec![hours, minutes]
    } else {
        vec![rest]
    };
    let mut values = [0i32; 3];
    if fields.len() > values.len() {
        return None;
    }
    for (value, field) in values.iter_mut().zip(&fields) {
        *value = part(field)?;
    }
    let [hours, minutes, seconds] = values;
    let fits = hours <= 15 && minutes < 60 && seconds < 60;
    fits.then_some(sign * (hours * 3600 + minutes * 60 + seconds))
}

/// Seconds in which no zone changes its offset twice.
const SLOT_SECONDS: i64 = 3600;

/// A zone with a memory of the last hour asked for, since results come sorted by time: the rule is
/// looked up once an hour of data, not once a cell.
#[derive(Debug)]
pub struct ZoneCursor<'a> {
    zone: &'a Zone,
    /// First second of the remembered hour, and its offset.
    slot: Cell<(i64, i32)>,
}

impl<'a> ZoneCursor<'a> {
    pub fn new(zone: &'a Zone) -> Self {
        ZoneCursor { zone, slot: Cell::new((i64::MIN, 0)) }
    }

    #[inline]
    pub fn offset_at(&self, seconds: i64) -> i32 {
        match self.zone {
            Zone::Utc => 0,
            Zone::Fixed(offset) => *offset,
            Zone::Named(_) => self.offset_named(seconds),
        }
    }

    /// Whether the offset is known not to change in the hour from `start` on.
    pub fn is_steady(&self, start: i64) -> bool {
        match self.zone {
            Zone::Utc | Zone::Fixed(_) => true,
            Zone::Named(_) => self.slot.get().0 == start,
        }
    }

    fn offset_named(&self, seconds: i64) -> i32 {
        let start = seconds - seconds.rem_euclid(SLOT_SECONDS);
        let (known, offset) = self.slot.get();
        if known == start {
            return offset;
        }
        let first = self.zone.offset_at(start);
        if first == self.zone.offset_at(start + SLOT_SECONDS - 1) {
            self.slot.set((start, first));
            return first;
        }
        self.zone.offset_at(seconds)
    }
}
