//! Types of columns of relational tables, and values of them.

use std::fmt;
use std::str::FromStr;

use arrow::array::timezone::Tz;
use arrow::datatypes::{DataType, Field, TimeUnit};
use chrono::{Datelike, NaiveDate, Timelike};
use datafusion::sql::sqlparser::ast;
use serde::{Deserialize, Serialize};
use tsdb::types::ColumnType;

use crate::error::{QueryError, QueryResult};
use crate::insert::literal;
use crate::insert::rows::Cell;
use crate::instant::instant;
use crate::uuid::{self, UUID_BYTES, UUID_TYPE};

/// Digits of a numeric.
const PRECISION_MAX: u8 = 38;
/// Characters that varchar(n) and char(n) may ask for, as in Postgres.
const LENGTH_MAX: u64 = 10_485_760;
/// Days from 0001-01-01 to 1970-01-01, as `chrono` counts.
const DAYS_TO_1970: i32 = 719_163;

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) enum Kind {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    /// Digits in all, and behind the point.
    Numeric(u8, i8),
    Text,
    /// At most so many characters.
    Varchar(u32),
    /// As varchar; blanks at the end mean nothing.
    Char(u32),
    Date,
    Timestamp,
    Timestamptz,
    Bytes,
    Uuid,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Bool => f.write_str("boolean"),
            Kind::Int2 => f.write_str("smallint"),
            Kind::Int4 => f.write_str("integer"),
            Kind::Int8 => f.write_str("bigint"),
            Kind::Float4 => f.write_str("real"),
            Kind::Float8 => f.write_str("double precision"),
            Kind::Numeric(p, s) => write!(f, "numeric({p},{s})"),
            Kind::Text => f.write_str("text"),
            Kind::Varchar(n) => write!(f, "character varying({n})"),
            Kind::Char(n) => write!(f, "character({n})"),
            Kind::Date => f.write_str("date"),
            Kind::Timestamp => f.write_str("timestamp without time zone"),
            Kind::Timestamptz => f.write_str("timestamp with time zone"),
            Kind::Bytes => f.write_str("bytea"),
            Kind::Uuid => f.write_str("uuid"),
        }
    }
}

impl From<Kind> for String {
    fn from(kind: Kind) -> String {
        kind.to_string()
    }
}

impl TryFrom<String> for Kind {
    type Error = String;

    fn try_from(text: String) -> Result<Kind, String> {
        let numbers = |rest: &str| -> Option<Vec<i64>> {
            let inner = rest.strip_prefix('(')?.strip_suffix(')')?;
            inner.split(',').map(|n| n.parse().ok()).collect()
        };
        let one = |rest: &str| match numbers(rest)?.as_slice() {
            [n] => u32::try_from(*n).ok().filter(|n| *n > 0 && u64::from(*n) <= LENGTH_MAX),
            _ => None,
        };
        let kind = match text.as_str() {
            "boolean" => Some(Kind::Bool),
            "smallint" => Some(Kind::Int2),
            "integer" => Some(Kind::Int4),
            "bigint" => Some(Kind::Int8),
            "real" => Some(Kind::Float4),
            "double precision" => Some(Kind::Float8),
            "text" => Some(Kind::Text),
            "date" => Some(Kind::Date),
            "timestamp without time zone" => Some(Kind::Timestamp),
            "timestamp with time zone" => Some(Kind::Timestamptz),
            "bytea" => Some(Kind::Bytes),
            "uuid" => Some(Kind::Uuid),
            other => {
                if let Some(rest) = other.strip_prefix("numeric") {
                    numbers(rest).and_then(|n| match n.as_slice() {
                        [p @ 1..=38, s @ 0..=38] if s <= p => {
                            Some(Kind::Numeric(*p as u8, *s as i8))
                        }
                        _ => None,
                    })
                } else if let Some(rest) = other.strip_prefix("character varying") {
                    one(rest).map(Kind::Varchar)
                } else if let Some(rest) = other.strip_prefix("character") {
                    one(rest).map(Kind::Char)
                } else {
                    None
                }
            }
        };
        kind.ok_or_else(|| format!("unknown type {text}"))
    }
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Datum {
    Null,
    Bool(bool),
    /// Integers; dates in days since 1970; times in µs since 1970.
    Int(i64),
    Float(f64),
    /// A numeric times ten to the power of its scale.
    Decimal(i128),
    Text(String),
    Bytes(Vec<u8>),
    Uuid([u8; UUID_BYTES]),
}

impl Datum {
    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Datum::Null)
    }

    /// About what it holds in memory.
    pub(crate) fn bytes(&self) -> usize {
        std::mem::size_of::<Datum>()
            + match self {
                Datum::Text(text) => text.len(),
                Datum::Bytes(bytes) => bytes.len(),
                _ => 0,
            }
    }
}

impl Kind {
    /// The type behind an SQL name.
    pub(crate) fn of_sql(kind: &ast::DataType) -> QueryResult<Kind> {
        use ast::DataType as D;
        let refuse = |hint: &str| {
            let name = kind.to_string().to_lowercase();
            Err(QueryError::unsupported(format!("type {name} in a relational table"))
                .with_hint(hint))
        };
        let length = |length: &Option<ast::CharacterLength>| -> QueryResult<Option<u32>> {
            match length {
                None => Ok(None),
                Some(ast::CharacterLength::IntegerLength { length, unit: None })
                    if (1..=LENGTH_MAX).contains(length) =>
                {
                    Ok(Some(*length as u32))
                }
                Some(length) => {
                    let name = if matches!(kind, D::Char(_) | D::Character(_)) {
                        "char"
                    } else {
                        "varchar"
                    };
                    let message = match length {
                        ast::CharacterLength::IntegerLength { length, .. }
                            if *length > LENGTH_MAX =>
                        {
                            format!("length for type {name} cannot exceed {LENGTH_MAX}")
                        }
                        _ => format!("length for type {name} must be at least 1"),
                    };
                    Err(QueryError::new("22023", message))
                }
            }
        };
        Ok(match kind {
            D::Boolean | D::Bool => Kind::Bool,
            D::SmallInt(None) | D::Int2(None) => Kind::Int2,
            D::Int(None) | D::Integer(None) | D::Int4(None) => Kind::Int4,
            D::BigInt(None) | D::Int8(None) => Kind::Int8,
            D::Real | D::Float4 => Kind::Float4,
            D::Float(ast::ExactNumberInfo::Precision(p)) if *p <= 24 => Kind::Float4,
            D::Float(_)
            | D::Double(ast::ExactNumberInfo::None)
            | D::DoublePrecision
            | D::Float8 => Kind::Float8,
            D::Text | D::String(None) => Kind::Text,
            D::Varchar(n) | D::CharacterVarying(n) | D::CharVarying(n) => match length(n)? {
                Some(n) => Kind::Varchar(n),
                None => Kind::Text,
            },
            D::Char(n) | D::Character(n) => Kind::Char(length(n)?.unwrap_or(1)),
            D::Date => Kind::Date,
            D::Bytea => Kind::Bytes,
            D::Uuid => Kind::Uuid,
            D::Timestamp(_, ast::TimezoneInfo::WithTimeZone | ast::TimezoneInfo::Tz) => {
                Kind::Timestamptz
            }
            D::Timestamp(..) => Kind::Timestamp,
            D::Numeric(info) | D::Decimal(info) | D::Dec(info) => {
                let (p, s) = match info {
                    ast::ExactNumberInfo::None => {
                        return refuse("Say how many digits: numeric(20,6), 38 at most.");
                    }
                    ast::ExactNumberInfo::Precision(p) => (*p, 0),
                    ast::ExactNumberInfo::PrecisionAndScale(p, s) => (*p, *s),
                };
                let fits = (1..=u64::from(PRECISION_MAX)).contains(&p);
                match i8::try_from(s) {
                    Ok(s) if fits && s >= 0 && s as u64 <= p => Kind::Numeric(p as u8, s),
                    _ => {
                        return refuse("A numeric has 1 to 38 digits, up to all behind the point.");
                    }
                }
            }
            _ => {
                return refuse(
                    "Columns are boolean, smallint, integer, bigint, real, double precision, \
                     numeric(p,s), text, varchar(n), char(n), date, timestamp, timestamptz, bytea or \
                     uuid.",
                );
            }
        })
    }

    /// The type as syntax, for casts.
    pub(crate) fn sql_type(self) -> ast::DataType {
        match self {
            Kind::Numeric(p, s) => {
                ast::DataType::Numeric(ast::ExactNumberInfo::PrecisionAndScale(p.into(), s.into()))
            }
            Kind::Date => ast::DataType::Date,
            Kind::Uuid => ast::DataType::Uuid,
            Kind::Timestamp => ast::DataType::Timestamp(None, ast::TimezoneInfo::None),
            other => crate::insert::sql_type(other.base().unwrap_or(ColumnType::Text)),
        }
    }

    /// The type of a time-series column that has the same values and texts.
    pub(crate) fn base(self) -> Option<ColumnType> {
        Some(match self {
            Kind::Bool => ColumnType::Bool,
            Kind::Int2 => ColumnType::Int16,
            Kind::Int4 => ColumnType::Int32,
            Kind::Int8 => ColumnType::Int64,
            Kind::Float4 => ColumnType::Float32,
            Kind::Float8 => ColumnType::Float64,
            Kind::Text | Kind::Varchar(_) | Kind::Char(_) => ColumnType::Text,
            Kind::Bytes => ColumnType::Bytes,
            Kind::Timestamptz => ColumnType::Timestamp,
            Kind::Numeric(..) | Kind::Date | Kind::Timestamp | Kind::Uuid => return None,
        })
    }

    pub(crate) fn is_integer(self) -> bool {
        matches!(self, Kind::Int2 | Kind::Int4 | Kind::Int8)
    }

    pub(crate) fn is_text(self) -> bool {
        matches!(self, Kind::Text | Kind::Varchar(_) | Kind::Char(_))
    }

    /// Whether values of both are one in keys: then one may refer to the other.
    pub(crate) fn same_keys(self, other: Kind) -> bool {
        let float = |kind| matches!(kind, Kind::Float4 | Kind::Float8);
        match (self, other) {
            (Kind::Numeric(_, a), Kind::Numeric(_, b)) => a == b,
            (a, b) => {
                a == b
                    || (a.is_integer() && b.is_integer())
                    || (a.is_text() && b.is_text())
                    || (float(a) && float(b))
            }
        }
    }

    /// Whether every stored value of this type is one of the other as it lies.
    pub(crate) fn widens_to(self, to: Kind) -> bool {
        match (self, to) {
            (a, b) if a == b => true,
            (Kind::Int2, Kind::Int4 | Kind::Int8) | (Kind::Int4, Kind::Int8) => true,
            (Kind::Float4, Kind::Float8) => true,
            (Kind::Varchar(a) | Kind::Char(a), Kind::Varchar(b)) => a <= b,
            (Kind::Char(a), Kind::Char(b)) => a <= b,
            (Kind::Varchar(_) | Kind::Char(_), Kind::Text) => true,
            (Kind::Numeric(p, s), Kind::Numeric(q, t)) => s == t && p <= q,
            _ => false,
        }
    }

    /// The Arrow type in a session of a zone.
    pub(crate) fn arrow(self, zone: &str) -> DataType {
        match self {
            Kind::Numeric(p, s) => DataType::Decimal128(p, s),
            Kind::Date => DataType::Date32,
            Kind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Kind::Uuid => UUID_TYPE,
            other => crate::table::arrow_type(other.base().unwrap_or(ColumnType::Text), zone),
        }
    }

    /// The column as Arrow's field; its metadata says what the Arrow type does not.
    pub(crate) fn field(self, name: &str, nullable: bool, zone: &str) -> Field {
        let field = Field::new(name, self.arrow(zone), nullable);
        let shown = match self {
            Kind::Varchar(_) => "varchar",
            Kind::Char(_) => "bpchar",
            _ => return field,
        };
        field.with_metadata([(crate::PG_TYPE.to_string(), shown.to_string())].into())
    }

    /// Number in pg_type.
    pub(crate) fn oid(self) -> i64 {
        match self {
            Kind::Bool => 16,
            Kind::Bytes => 17,
            Kind::Int8 => 20,
            Kind::Int2 => 21,
            Kind::Int4 => 23,
            Kind::Text => 25,
            Kind::Float4 => 700,
            Kind::Float8 => 701,
            Kind::Char(_) => 1042,
            Kind::Varchar(_) => 1043,
            Kind::Date => 1082,
            Kind::Timestamp => 1114,
            Kind::Timestamptz => 1184,
            Kind::Numeric(..) => 1700,
            Kind::Uuid => 2950,
        }
    }

    /// `atttypmod`.
    pub(crate) fn modifier(self) -> i64 {
        match self {
            Kind::Char(n) | Kind::Varchar(n) => i64::from(n) + 4,
            Kind::Numeric(p, s) => ((i64::from(p) << 16) | i64::from(s)) + 4,
            _ => -1,
        }
    }

    /// Reads a text as Postgres does.
    pub(crate) fn parse(self, text: &str, tz: &Tz) -> QueryResult<Datum> {
        let bad = || {
            let message = format!("invalid input syntax for type {self}: \"{text}\"");
            QueryError::new(
                if matches!(self, Kind::Numeric(..)) { "22P02" } else { "22007" },
                message,
            )
        };
        match self {
            Kind::Numeric(p, s) => decimal(text.trim(), p, s)?.map(Datum::Decimal).ok_or_else(bad),
            Kind::Date => {
                let text = text.trim();
                let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
                let date =
                    date.or_else(|| instant(text, tz).map(|t| t.with_timezone(tz).date_naive()));
                date.map(|date| Datum::Int(days(date))).ok_or_else(bad)
            }
            Kind::Uuid => {
                let found = uuid::parse_uuid(text).map(Datum::Uuid);
                found.ok_or_else(|| uuid::invalid(text))
            }
            Kind::Timestamp => {
                let utc = Tz::from_str("+00:00").map_err(QueryError::internal)?;
                let time = instant(text.trim(), &utc).ok_or_else(bad)?;
                Ok(Datum::Int(time.timestamp_micros()))
            }
            other => {
                let cell = literal::parse(text, other.base().unwrap_or(ColumnType::Text), tz)?;
                self.of_cell(cell)
            }
        }
    }

    /// A value that was read for [`Kind::base`].
    pub(crate) fn of_cell(self, cell: Cell) -> QueryResult<Datum> {
        Ok(match (cell, self) {
            (Cell::Null | Cell::Absent, _) => Datum::Null,
            (Cell::Int(ns), Kind::Timestamptz) => Datum::Int(ns.div_euclid(1_000)),
            (Cell::Int(v), _) => Datum::Int(v),
            (Cell::Float(v), _) => Datum::Float(v),
            (Cell::Bool(v), _) => Datum::Bool(v),
            (Cell::Bytes(bytes), kind) if kind.is_text() => {
                let text = String::from_utf8(bytes).map_err(|_| {
                    QueryError::new("22021", "invalid byte sequence for encoding \"UTF8\"")
                })?;
                self.fit_text(text)?
            }
            (Cell::Bytes(bytes), _) => Datum::Bytes(bytes),
        })
    }

    /// A text that goes into the column.
    pub(crate) fn fit_text(self, mut text: String) -> QueryResult<Datum> {
        if text.contains('\0') {
            let message = "invalid byte sequence for encoding \"UTF8\": 0x00";
            return Err(QueryError::new("22021", message));
        }
        let most = match self {
            Kind::Varchar(n) => n,
            Kind::Char(n) => {
                text.truncate(text.trim_end_matches(' ').len());
                n
            }
            _ => return Ok(Datum::Text(text)),
        };
        if let Some((cut, _)) = text.char_indices().nth(most as usize) {
            // Blanks beyond the length are cut, as the standard asks for.
            if !text[cut..].bytes().all(|byte| byte == b' ') {
                return Err(QueryError::new("22001", format!("value too long for type {self}")));
            }
            text.truncate(cut);
        }
        Ok(Datum::Text(text))
    }

    /// A value as text, as Postgres writes it.
    pub(crate) fn text(self, value: &Datum) -> String {
        match value {
            Datum::Null => "null".into(),
            Datum::Bool(v) => if *v { "t" } else { "f" }.into(),
            Datum::Int(v) => match self {
                Kind::Date => date_of(*v).map_or_else(|| v.to_string(), |date| date.to_string()),
                Kind::Timestamp | Kind::Timestamptz => time_text(*v, self == Kind::Timestamptz),
                _ => v.to_string(),
            },
            Datum::Float(v) if self == Kind::Float4 => (*v as f32).to_string(),
            Datum::Float(v) => v.to_string(),
            Datum::Decimal(v) => {
                let scale = if let Kind::Numeric(_, s) = self { s } else { 0 };
                decimal_text(*v, scale)
            }
            Datum::Text(v) => v.clone(),
            Datum::Bytes(v) => {
                format!("\\x{}", v.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
            }
            Datum::Uuid(v) => uuid::uuid_text(v),
        }
    }
}

/// Days since 1970.
pub(crate) fn days(date: NaiveDate) -> i64 {
    i64::from(date.num_days_from_ce() - DAYS_TO_1970)
}

fn date_of(days: i64) -> Option<NaiveDate> {
    let days = i32::try_from(days).ok()?.checked_add(DAYS_TO_1970)?;
    NaiveDate::from_num_days_from_ce_opt(days)
}

fn time_text(micros: i64, zoned: bool) -> String {
    let Some(time) = chrono::DateTime::from_timestamp_micros(micros) else {
        return micros.to_string();
    };
    let whole = time.nanosecond() == 0;
    let text = time.format(if whole { "%Y-%m-%d %H:%M:%S" } else { "%Y-%m-%d %H:%M:%S%.6f" });
    format!("{text}{}", if zoned { "+00" } else { "" })
}

fn decimal_text(value: i128, scale: i8) -> String {
    let scale = scale.max(0) as usize;
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, rest) = digits.split_at(digits.len() - scale);
    let sign = if value < 0 { "-" } else { "" };
    if rest.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{rest}") }
}

/// `22003`: more digits than the type has.
pub(crate) fn numeric_overflow(precision: u8, scale: i8) -> QueryError {
    QueryError::new("22003", "numeric field overflow").with_detail(format!(
        "A field with precision {precision}, scale {scale} must round to an absolute value less \
         than 10^{}.",
        i16::from(precision) - i16::from(scale)
    ))
}

/// A number in digits, rounded half away from zero; `None` for what is none.
fn decimal(text: &str, precision: u8, scale: i8) -> QueryResult<Option<i128>> {
    let (negative, rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        None => (rest, 0),
        Some(at) => match rest[at + 1..].parse::<i32>() {
            Ok(exponent) if exponent.abs() < 10_000 => (&rest[..at], exponent),
            _ => return Ok(None),
        },
    };
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && part.is_empty()) || !is_digits(whole) || !is_digits(part) {
        return Ok(None);
    }
    let overflow = || numeric_overflow(precision, scale);
    let digits = [whole.as_bytes(), part.as_bytes()].concat();
    // How many of the digits stand before the last place that is kept.
    let kept = whole.len() as i64 + i64::from(exponent) + i64::from(scale);
    let mut value: i128 = 0;
    for at in 0..kept.max(0) {
        let digit = digits.get(at as usize).map_or(0, |byte| i128::from(byte - b'0'));
        if value == 0 && digit == 0 {
            continue;
        }
        value = value.checked_mul(10).and_then(|v| v.checked_add(digit)).ok_or_else(overflow)?;
    }
    if kept >= 0 && digits.get(kept as usize).is_some_and(|byte| *byte >= b'5') {
        value = value.checked_add(1).ok_or_else(overflow)?;
    }
    if value >= 10i128.checked_pow(precision.into()).unwrap_or(i128::MAX) {
        return Err(overflow());
    }
    Ok(Some(if negative { -value } else { value }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: Kind, text: &str) -> Result<String, &'static str> {
        let tz = Tz::from_str("+00:00").unwrap();
        kind.parse(text, &tz).map(|value| kind.text(&value)).map_err(|error| error.code)
    }

    #[test]
    fn texts_are_read_as_postgres_reads_them() {
        let money = Kind::Numeric(6, 2);
        for (kind, text, expected) in [
            (money, "1.5", Ok("1.50")),
            (money, " -1.005 ", Ok("-1.01")),
            (money, ".5e1", Ok("5.00")),
            (money, "1e-9", Ok("0.00")),
            (money, "9999.994", Ok("9999.99")),
            (money, "9999.995", Err("22003")),
            (money, "1e40", Err("22003")),
            (money, "1.2.3", Err("22P02")),
            (money, "", Err("22P02")),
            (
                Kind::Numeric(38, 0),
                "99999999999999999999999999999999999999",
                Ok("99999999999999999999999999999999999999"),
            ),
            (Kind::Date, "2026-02-28", Ok("2026-02-28")),
            (Kind::Date, "1600-01-01", Ok("1600-01-01")),
            (Kind::Date, "2026-02-30", Err("22007")),
            (Kind::Timestamp, "2026-02-28 01:02:03.5", Ok("2026-02-28 01:02:03.500000")),
            (Kind::Timestamptz, "2026-02-28 01:02:03+01", Ok("2026-02-28 00:02:03+00")),
            (Kind::Varchar(3), "abc  ", Ok("abc")),
            (Kind::Varchar(3), "abcd", Err("22001")),
            (Kind::Char(3), "a  ", Ok("a")),
            (Kind::Char(2), "äöü", Err("22001")),
            (Kind::Int2, "40000", Err("22003")),
            (
                Kind::Uuid,
                "{A0EEBC999C0B4EF8BB6D6BB9BD380A11}",
                Ok("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
            ),
            (Kind::Uuid, "a0eebc99", Err("22P02")),
        ] {
            assert_eq!(parse(kind, text).as_deref(), expected.as_ref().copied(), "{kind} {text}");
        }
    }

    #[test]
    fn types_read_back_from_their_names() {
        for kind in [
            Kind::Bool,
            Kind::Int2,
            Kind::Int4,
            Kind::Int8,
            Kind::Float4,
            Kind::Float8,
            Kind::Text,
            Kind::Numeric(38, 0),
            Kind::Numeric(10, 2),
            Kind::Varchar(7),
            Kind::Char(84),
            Kind::Date,
            Kind::Timestamp,
            Kind::Timestamptz,
            Kind::Bytes,
            Kind::Uuid,
        ] {
            assert_eq!(Kind::try_from(kind.to_string()), Ok(kind));
        }
        for bad in
            ["", "numeric", "numeric(0,0)", "numeric(3,4)", "numeric(39,1)", "character(0)", "int"]
        {
            assert!(Kind::try_from(bad.to_string()).is_err(), "{bad}");
        }
    }
}
