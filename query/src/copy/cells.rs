//! Values of cells, in text and in Postgres' binary form. What is common is read straight off the
//! bytes; everything else goes the way of literals, which is the slow twin.

use arrow::array::timezone::Tz;
use tsdb::types::{ColumnType, ValueRef};

use crate::error::{QueryError, QueryResult};
use crate::insert::literal;
use crate::insert::rows::Cell;

/// Seconds from 1970 to 2000, where Postgres counts from.
const EPOCH_2000_S: i64 = 946_684_800;

/// A value that may own its bytes.
#[derive(Debug, PartialEq)]
pub(crate) enum Scalar {
    Int(i64),
    Float(f64),
    Bool(bool),
    Bytes(Vec<u8>),
}

impl Scalar {
    /// As INSERT has it.
    pub(crate) fn into_cell(self) -> Cell {
        match self {
            Scalar::Int(v) => Cell::Int(v),
            Scalar::Float(v) => Cell::Float(v),
            Scalar::Bool(v) => Cell::Bool(v),
            Scalar::Bytes(v) => Cell::Bytes(v),
        }
    }

    pub(crate) fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Scalar::Int(v) => ValueRef::Int(*v),
            Scalar::Float(v) => ValueRef::Float(*v),
            Scalar::Bool(v) => ValueRef::Bool(*v),
            Scalar::Bytes(v) => ValueRef::Bytes(v),
        }
    }
}

/// `22021` for what no text may hold.
pub(crate) fn check_text(cell: &[u8]) -> QueryResult<()> {
    as_text(cell).map(drop)
}

pub(crate) fn as_text(cell: &[u8]) -> QueryResult<&str> {
    match std::str::from_utf8(cell) {
        Ok(text) if !text.as_bytes().contains(&0) => Ok(text),
        _ => Err(QueryError::new("22021", "invalid byte sequence for encoding \"UTF8\"")),
    }
}

/// A cell in text as a value; texts themselves need no call.
pub(crate) fn scalar(cell: &[u8], kind: ColumnType, tz: &Tz, utc: bool) -> QueryResult<Scalar> {
    let fast = match kind {
        ColumnType::Int64 => integer(cell).map(Scalar::Int),
        ColumnType::Int32 => integer(cell).filter(|v| i32::try_from(*v).is_ok()).map(Scalar::Int),
        ColumnType::Int16 => integer(cell).filter(|v| i16::try_from(*v).is_ok()).map(Scalar::Int),
        ColumnType::Float64 => float(cell).map(Scalar::Float),
        ColumnType::Bool => match cell {
            b"t" | b"true" => Some(Scalar::Bool(true)),
            b"f" | b"false" => Some(Scalar::Bool(false)),
            _ => None,
        },
        ColumnType::Timestamp => return time(cell, tz, utc).map(Scalar::Int),
        ColumnType::Float32 | ColumnType::Text | ColumnType::Bytes => None,
    };
    match fast {
        Some(value) => Ok(value),
        None => slow(cell, kind, tz),
    }
}

/// The twin of [`scalar`] that knows all forms.
pub(super) fn slow(cell: &[u8], kind: ColumnType, tz: &Tz) -> QueryResult<Scalar> {
    Ok(match literal::parse(as_text(cell)?, kind, tz)? {
        Cell::Int(v) => Scalar::Int(v),
        Cell::Float(v) => Scalar::Float(v),
        Cell::Bool(v) => Scalar::Bool(v),
        Cell::Bytes(v) => Scalar::Bytes(v),
        Cell::Null | Cell::Absent => return Err(QueryError::internal("a value became NULL")),
    })
}

/// A time, ns since 1970. `utc`: times without an offset are in UTC.
pub(super) fn time(cell: &[u8], tz: &Tz, utc: bool) -> QueryResult<i64> {
    if let Some(ns) = iso_time(cell, utc) {
        return Ok(ns);
    }
    match slow(cell, ColumnType::Timestamp, tz)? {
        Scalar::Int(ns) => Ok(ns),
        _ => Err(QueryError::internal("a time that is no number")),
    }
}

/// Up to 18 digits behind a sign.
fn integer(cell: &[u8]) -> Option<i64> {
    let (negative, digits) = match cell {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut value = 0i64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    Some(if negative { -value } else { value })
}

/// A float of digits, sign, point and exponent. What overflows is left to the twin.
fn float(cell: &[u8]) -> Option<f64> {
    let plain = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    if !cell.iter().all(plain) {
        return None;
    }
    let value: f64 = std::str::from_utf8(cell).ok()?.parse().ok()?;
    value.is_finite().then_some(value)
}

/// `2026-01-31 12:34:56[.123456789][Z|±hh[:mm]]`, the forms that Postgres writes and RFC 3339.
fn iso_time(cell: &[u8], utc: bool) -> Option<i64> {
    let (head, rest) = cell.split_first_chunk::<19>()?;
    let two = |at: usize| -> Option<i64> {
        let (a, b) = (head[at].wrapping_sub(b'0'), head[at + 1].wrapping_sub(b'0'));
        (a <= 9 && b <= 9).then(|| i64::from(a) * 10 + i64::from(b))
    };
    let marks = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if marks.iter().any(|(at, mark)| head[*at] != *mark) || !matches!(head[10], b' ' | b'T') {
        return None;
    }
    let (year, month, day) = (two(0)? * 100 + two(2)?, two(5)?, two(8)?);
    let (hour, minute, second) = (two(11)?, two(14)?, two(17)?);
    if !(1..=12).contains(&month) || day < 1 || day > days_of(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (fraction, rest) = fraction(rest)?;
    let offset = offset(rest, utc)?;
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    (seconds - offset).checked_mul(1_000_000_000)?.checked_add(fraction)
}

/// `.` and up to nine digits, as ns.
fn fraction(rest: &[u8]) -> Option<(i64, &[u8])> {
    let [b'.', digits @ ..] = rest else { return Some((0, rest)) };
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 || count > 9 {
        return None;
    }
    let (digits, rest) = digits.split_at(count);
    let value = digits.iter().fold(0i64, |sum, byte| sum * 10 + i64::from(byte - b'0'));
    Some((value * 10i64.pow(9 - count as u32), rest))
}

/// Seconds east of UTC.
fn offset(rest: &[u8], utc: bool) -> Option<i64> {
    let two = |a: u8, b: u8| -> Option<i64> {
        let (a, b) = (a.wrapping_sub(b'0'), b.wrapping_sub(b'0'));
        (a <= 9 && b <= 9).then(|| i64::from(a) * 10 + i64::from(b))
    };
    let (sign, hours, minutes) = match rest {
        [] => return utc.then_some(0),
        [b'Z'] => return Some(0),
        [sign, a, b] => (sign, two(*a, *b)?, 0),
        [sign, a, b, b':', c, d] => (sign, two(*a, *b)?, two(*c, *d)?),
        _ => return None,
    };
    if hours > 14 || minutes > 59 {
        return None;
    }
    let seconds = hours * 3600 + minutes * 60;
    match sign {
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the Gregorian calendar; years begin in March, so that the leap day is
/// the last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// A cell in Postgres' binary form; texts and bytes need no call.
pub(crate) fn binary(cell: &[u8], kind: ColumnType) -> QueryResult<Scalar> {
    let malformed = || QueryError::new("22P03", "incorrect binary data format");
    let value = match kind {
        ColumnType::Bool => match cell {
            [0] => Some(Scalar::Bool(false)),
            [1] => Some(Scalar::Bool(true)),
            _ => None,
        },
        ColumnType::Int16 => {
            cell.try_into().ok().map(|b| Scalar::Int(i16::from_be_bytes(b).into()))
        }
        ColumnType::Int32 => {
            cell.try_into().ok().map(|b| Scalar::Int(i32::from_be_bytes(b).into()))
        }
        ColumnType::Int64 => cell.try_into().ok().map(|b| Scalar::Int(i64::from_be_bytes(b))),
        ColumnType::Float32 => {
            cell.try_into().ok().map(|b| Scalar::Float(f32::from_be_bytes(b).into()))
        }
        ColumnType::Float64 => cell.try_into().ok().map(|b| Scalar::Float(f64::from_be_bytes(b))),
        ColumnType::Timestamp => {
            let micros = i64::from_be_bytes(cell.try_into().map_err(|_| malformed())?);
            let ns = micros
                .checked_add(EPOCH_2000_S * 1_000_000)
                .and_then(|micros| micros.checked_mul(1_000));
            return match ns {
                Some(ns) => Ok(Scalar::Int(ns)),
                None => Err(QueryError::new("22008", "timestamp out of range")),
            };
        }
        ColumnType::Text | ColumnType::Bytes => Some(Scalar::Bytes(cell.to_vec())),
    };
    value.ok_or_else(malformed)
}
