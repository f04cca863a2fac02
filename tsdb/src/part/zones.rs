//! Zones: where they are cut and what is known of each.

use super::{ColumnRange, TextRange, ZONE_HOUR_ROWS_MIN, ZONE_ROWS_MAX};
use crate::codec::ValuesRef;
use crate::types::{CellState, Quality, SeriesRows, TimeRange};

const HOUR_NS: i64 = 3_600_000_000_000;

/// A run of rows of a group with statistics of its own, the same run for every column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneRows {
    /// First row, counted in the group.
    pub start: u32,
    /// Rows, 1 to 512.
    pub rows: u32,
    /// Least and greatest time.
    pub times: TimeRange,
    /// Whether all rows are of one series; only then do first and last mean anything in time.
    pub single_series: bool,
}

/// What is known of one column in one zone. Cells that are counted nowhere are absent.
#[derive(Clone, Debug, PartialEq)]
pub struct ZoneStats {
    /// Values of good quality.
    pub good: u32,
    /// Values of another quality.
    pub not_good: u32,
    /// Nulls of any quality.
    pub nulls: u32,
    /// Figures over the values of every quality.
    pub values: ZoneValues,
}

/// Figures over the values of a zone, in the order of rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ZoneValues {
    /// No value, or a column of text or bytes.
    None,
    /// Integers; booleans as 0 and 1.
    Int {
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
        /// Sum; `None` where it leaves `i64`.
        sum: Option<i64>,
        /// First value.
        first: i64,
        /// Last value.
        last: i64,
    },
    /// Floats.
    Float {
        /// Least value that is not NaN; +∞ if all are.
        min: f64,
        /// Greatest value that is not NaN; -∞ if all are.
        max: f64,
        /// Sum from first to last, NaN included.
        sum: f64,
        /// First value.
        first: f64,
        /// Last value.
        last: f64,
        /// Whether a value is NaN: `min` and `max` pass over it, SQL sorts it last.
        nan: bool,
    },
}

impl ZoneStats {
    /// Values of every quality.
    pub fn count(&self) -> u32 {
        self.good + self.not_good
    }

    /// Range of the values; empty for text.
    pub(crate) fn range(&self) -> ColumnRange {
        match self.values {
            ZoneValues::None => ColumnRange::Empty,
            ZoneValues::Int { min, max, .. } => ColumnRange::Int { min, max },
            ZoneValues::Float { min, max, nan, .. } => ColumnRange::Float { min, max, nan },
        }
    }

    /// Equality in which a float equals itself bit for bit.
    pub(crate) fn same(&self, other: &ZoneStats) -> bool {
        let bits = |s: &ZoneStats| match s.values {
            ZoneValues::Float { min, max, sum, first, last, nan } => {
                Some(([min, max, sum, first, last].map(f64::to_bits), nan))
            }
            _ => None,
        };
        let counts = |s: &ZoneStats| (s.good, s.not_good, s.nulls);
        counts(self) == counts(other)
            && bits(self) == bits(other)
            && (bits(self).is_some() || self.values == other.values)
    }
}

/// Cuts a group into zones. Series of [`ZONE_HOUR_ROWS_MIN`] rows and more have zones of their
/// own; smaller ones share.
pub fn cut(series: &[SeriesRows], times: &[i64]) -> Vec<ZoneRows> {
    let mut zones = Vec::new();
    // Start and series of the shared zone being gathered.
    let (mut shared, mut shared_series) = (0usize, 0usize);
    let mut end = 0usize;
    for run in series {
        let (from, rows) = (run.start as usize, run.rows as usize);
        let own = rows >= ZONE_HOUR_ROWS_MIN;
        if shared_series > 0 && (own || from + rows - shared > ZONE_ROWS_MAX) {
            zones.push(zone(times, shared, from, shared_series == 1));
            shared_series = 0;
        }
        if own {
            cut_series(&times[from..from + rows], from, times, &mut zones);
        } else {
            if shared_series == 0 {
                shared = from;
            }
            shared_series += 1;
        }
        end = from + rows;
    }
    if shared_series > 0 {
        zones.push(zone(times, shared, end, shared_series == 1));
    }
    zones
}

fn zone(times: &[i64], start: usize, end: usize, single_series: bool) -> ZoneRows {
    let range = times[start..end]
        .iter()
        .fold(TimeRange::EMPTY, |r, t| TimeRange::new(r.min.min(*t), r.max.max(*t)));
    ZoneRows { start: start as u32, rows: (end - start) as u32, times: range, single_series }
}

/// Cuts at calendar hours, except between two that are thin; an hour that is too long is cut
/// evenly.
fn cut_series(run: &[i64], from: usize, times: &[i64], zones: &mut Vec<ZoneRows>) {
    let mut start = from;
    let mut end = from;
    for hour in run.chunk_by(|a, b| a.div_euclid(HOUR_NS) == b.div_euclid(HOUR_NS)) {
        let gathered = end - start;
        let thin = gathered < ZONE_HOUR_ROWS_MIN && hour.len() < ZONE_HOUR_ROWS_MIN;
        if gathered > 0 && !thin {
            push_even(times, start, end, zones);
            start = end;
        }
        end += hour.len();
    }
    push_even(times, start, end, zones);
}

fn push_even(times: &[i64], start: usize, end: usize, zones: &mut Vec<ZoneRows>) {
    let rows = end - start;
    let pieces = rows.div_ceil(ZONE_ROWS_MAX);
    for piece in 0..pieces {
        let (a, b) = (start + rows * piece / pieces, start + rows * (piece + 1) / pieces);
        zones.push(zone(times, a, b, true));
    }
}

/// Statistics of one zone from its cells.
pub fn zone_stats(values: ValuesRef<'_>, states: Option<&[u8]>) -> ZoneStats {
    let (mut good, mut not_good, mut nulls) = (0, 0, 0);
    match states {
        None => good = values.len() as u32,
        Some(states) => {
            for state in states.iter().map(|s| CellState(*s)) {
                let value = u32::from(state.is_value());
                let good_value = value & u32::from(state.quality() == Quality::Good);
                good += good_value;
                not_good += value - good_value;
                nulls += u32::from(state.is_null());
            }
        }
    }
    let stats = ZoneStats { good, not_good, nulls, values: ZoneValues::None };
    let has = |i: &usize| states.is_none_or(|s| CellState(s[*i]).is_value());
    let rows = (0..values.len()).filter(has);
    let figures = match values {
        _ if stats.count() == 0 => ZoneValues::None,
        ValuesRef::Int(v) if stats.count() as usize == v.len() => int_figures(v),
        ValuesRef::Float(v) if stats.count() as usize == v.len() => float_figures(v),
        ValuesRef::Int(v) => int_figures(&rows.map(|i| v[i]).collect::<Vec<_>>()),
        ValuesRef::Float(v) => float_figures(&rows.map(|i| v[i]).collect::<Vec<_>>()),
        ValuesRef::Bool(v) => int_figures(&rows.map(|i| i64::from(v[i])).collect::<Vec<_>>()),
        ValuesRef::Bytes(_) => ZoneValues::None,
    };
    ZoneStats { values: figures, ..stats }
}

/// Magnitude up to which the values of a zone cannot sum out of `i64`.
const SUM_SAFE: i64 = i64::MAX / ZONE_ROWS_MAX as i64;

fn int_figures(values: &[i64]) -> ZoneValues {
    let (Some(&first), Some(&last)) = (values.first(), values.last()) else {
        return ZoneValues::None;
    };
    let (mut min, mut max, mut wrapped) = (first, first, 0i64);
    for &value in values {
        min = min.min(value);
        max = max.max(value);
        wrapped = wrapped.wrapping_add(value);
    }
    let safe = values.len() <= ZONE_ROWS_MAX && min >= -SUM_SAFE && max <= SUM_SAFE;
    let sum = if safe {
        Some(wrapped)
    } else {
        i64::try_from(values.iter().map(|v| i128::from(*v)).sum::<i128>()).ok()
    };
    ZoneValues::Int { min, max, sum, first, last }
}

fn float_figures(values: &[f64]) -> ZoneValues {
    let (Some(&first), Some(&last)) = (values.first(), values.last()) else {
        return ZoneValues::None;
    };
    let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
    let (mut sum, mut nan) = (0.0f64, false);
    for &value in values {
        // Not `f64::min`: NaN is passed over, and of two zeros the first stays.
        min = if value < min { value } else { min };
        max = if value > max { value } else { max };
        nan |= value.is_nan();
        sum += value;
    }
    ZoneValues::Float { min, max, sum, first, last, nan }
}

/// Range of the texts of a block; `None` when it has no value.
pub fn text_range(values: ValuesRef<'_>, states: Option<&[u8]>) -> Option<TextRange> {
    let ValuesRef::Bytes(texts) = values else {
        return None;
    };
    let mut present = (0..texts.len())
        .filter(|i| states.is_none_or(|s| CellState(s[*i]).is_value()))
        .map(|i| texts.get(i));
    let first = present.next()?;
    let (min, max) = present.fold((first, first), |(a, b), v| (a.min(v), b.max(v)));
    let mut range = TextRange::of(min);
    range.cover(&TextRange::of(max));
    Some(range)
}
