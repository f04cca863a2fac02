//! How much a native statement reads, about: short ones run on the thread that asks.

use tsdb::Table;
use tsdb::series::Bitmap;
use tsdb::types::TimeRange;

use crate::table::predicate;

/// Cells that one thread reads before another would have taken over.
const CELLS_AT_ONCE: f64 = 400_000.0;
/// Cells that are read within a second or so.
const CELLS_SHORT: f64 = 50_000_000.0;
/// Rows of a block, about: less of a series cannot be read.
const BLOCK_ROWS: f64 = 4_096.0;

/// Cells that are read, about.
fn cells(table: &Table, series: Option<&Bitmap>, times: &TimeRange, columns: usize) -> f64 {
    rows(table, series, times) * columns as f64
}

/// Rows that are read, about.
pub(crate) fn rows(table: &Table, series: Option<&Bitmap>, times: &TimeRange) -> f64 {
    let stats = table.stats();
    let all = f64::from(table.series_count()).max(1.0);
    let series = series.map_or(all, |s| s.cardinality() as f64);
    let Some(share) = predicate::time_share(times, &stats.times) else { return 0.0 };
    let each = stats.rows as f64 / all;
    series * (each * share).max(BLOCK_ROWS.min(each))
}

/// [`is_small`] for so many rows of one column.
pub(crate) fn is_small_of(rows: u64) -> bool {
    rows as f64 <= CELLS_AT_ONCE
}

/// [`is_short`] for so many rows of one column.
pub(crate) fn is_short_of(rows: u64) -> bool {
    rows as f64 <= CELLS_SHORT
}

/// Whether an answer is there before another thread would have taken over.
pub(super) fn is_small(
    table: &Table,
    series: Option<&Bitmap>,
    times: &TimeRange,
    columns: usize,
) -> bool {
    cells(table, series, times, columns) <= CELLS_AT_ONCE
}

/// Whether an answer is there soon, so that others need not be kept from a place for long.
pub(super) fn is_short(
    table: &Table,
    series: Option<&Bitmap>,
    times: &TimeRange,
    columns: usize,
) -> bool {
    cells(table, series, times, columns) <= CELLS_SHORT
}
