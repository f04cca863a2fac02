//! InfluxDB line protocol, version 1 and 2: from bytes to columns.
//!
//! Nothing here knows the engine: what exists already is asked through [`Catalogue`], and what
//! comes out ([`request::Parsed`]) is turned into commands by the writer.

pub mod cache;
mod column;
#[cfg(any(test, fuzzing))]
pub(crate) mod compare;
pub(crate) mod key;
pub mod number;
pub mod request;
pub mod scan;
pub(crate) mod table;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use tsdb::types::{Key, TableId, TableSchema, TimeRange};

/// Why a line is refused, in words for the sender.
pub type Reason = Cow<'static, str>;

/// Bytes of a table, tag or field name; what the catalogue holds.
pub const NAME_BYTES_MAX: usize = 255;
/// Bytes of measurement and tags together; the limit that InfluxDB has for a series key.
pub const KEY_BYTES_MAX: usize = 65_535;
/// Name of the time column of tables made by line protocol.
pub const TIME_NAME: &str = "time";

/// Unit of the timestamps of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 1 ns, the default of the protocol.
    Nanos,
    /// 1,000 ns.
    Micros,
    /// 1,000,000 ns.
    Millis,
    /// 1 s.
    Seconds,
    /// 60 s (InfluxDB version 1 only).
    Minutes,
    /// 3,600 s (InfluxDB version 1 only).
    Hours,
}

impl Precision {
    /// InfluxDB v1 and v2 names: ns n, us u µ, ms, s, m, h.
    pub fn from_name(name: &str) -> Option<Precision> {
        // `µ` exists twice in Unicode: the micro sign and the Greek letter.
        match name {
            "ns" | "n" => Some(Precision::Nanos),
            "us" | "u" | "\u{b5}" | "\u{3bc}" | "\u{b5}s" | "\u{3bc}s" => Some(Precision::Micros),
            "ms" => Some(Precision::Millis),
            "s" => Some(Precision::Seconds),
            "m" => Some(Precision::Minutes),
            "h" => Some(Precision::Hours),
            _ => None,
        }
    }

    /// Nanoseconds in one unit.
    pub const fn nanos(self) -> i64 {
        match self {
            Precision::Nanos => 1,
            Precision::Micros => 1_000,
            Precision::Millis => 1_000_000,
            Precision::Seconds => 1_000_000_000,
            Precision::Minutes => 60_000_000_000,
            Precision::Hours => 3_600_000_000_000,
        }
    }
}

/// Limits of line protocol; each a setting.
#[derive(Clone, Debug)]
pub struct LineLimits {
    /// One line. Default 4 MiB.
    pub line_bytes_max: usize,
    /// Refused lines told one by one; the rest are only counted. Default 100.
    pub refused_told_max: usize,
    /// Keys of known series kept beside their numbers, bytes. Default 64 MiB.
    pub cache_bytes_max: usize,
}

impl Default for LineLimits {
    fn default() -> Self {
        LineLimits {
            line_bytes_max: 4 << 20,
            refused_told_max: 100,
            cache_bytes_max: cache::CACHE_BYTES_MAX,
        }
    }
}

/// Limits that the engine sets.
#[derive(Clone, Copy, Debug)]
pub struct StoreLimits {
    /// Columns of one table, time not counted.
    pub columns_max: usize,
    /// Bytes of one text value.
    pub value_bytes_max: usize,
    /// Times accepted, ns.
    pub times: TimeRange,
}

/// What exists already, as one snapshot shows it.
pub trait Catalogue {
    /// The table of this name.
    fn table(&self, name: &str) -> Option<Arc<TableSchema>>;
    /// Number of a series that the snapshot shows.
    fn series(&self, table: TableId, key: &Key) -> Option<u32>;
}
