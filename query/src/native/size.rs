//! How much a native statement reads, about: short ones run on the thread that asks.

use tsdb::Table;
use tsdb::series::Bitmap;
use tsdb::types::TimeRange;

use crate::table::predicate;

/// Cells that one thread reads before another would have taken over.
const CELLS_AT_ONCE: f64 = 400_000.0;
/// Rows of a block, about: less of a series cannot be read.
const BLOCK_ROWS: f64 = 4_096.0;

/// Whether an answer is there before another thread would have taken over.
pub(super) fn is_small(
    table: &Table,
    series: Option<&Bitmap>,
    times: &TimeRange,
    columns: usize,
) -> bool {
    let stats = table.stats();
    let all = f64::from(table.series_count()).max(1.0);
    let series = series.map_or(all, |s| s.cardinality() as f64);
    let Some(share) = predicate::time_share(times, &stats.times) else { return true };
    let each = stats.rows as f64 / all;
    let rows = series * (each * share).max(BLOCK_ROWS.min(each));
    rows * columns as f64 <= CELLS_AT_ONCE
}
