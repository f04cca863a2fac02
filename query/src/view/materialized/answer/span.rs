//! Which buckets are answered by what is stored, and which by the table.

use tsdb::Table;
use tsdb::types::TimeRange;

use super::super::ladder::{BucketSpec, ceil, micros, nanos};
use super::super::standing::{Span, Standing};
use super::asked::Asked;
use crate::error::QueryResult;
use crate::functions::Buckets;
use crate::native::rows_about;

/// Changed spans that are told apart: each is an aggregation of its own.
const CHANGED_MAX: usize = 4;
/// Buckets without a fixed length whose starts are looked at one by one.
const LOOKED_AT_MAX: usize = 20_000;

/// Spans of whole buckets as they are asked for, but for the ends of what is asked, µs.
pub(super) struct Split {
    pub(super) stored: Vec<Span>,
    pub(super) table: Vec<Span>,
    /// Whether an asked bucket is a stored one.
    pub(super) same: bool,
}

impl Split {
    /// `None`: nothing stored is of use. `cut`: how the stored rows are cut.
    pub(super) fn of(
        asked: &Asked<'_>,
        standing: &Standing,
        cut: &BucketSpec,
    ) -> QueryResult<Option<Split>> {
        let times = standing.root.stats().times;
        let (Some(done), false) = (standing.done, times.is_empty()) else { return Ok(None) };
        let buckets = asked.cut.buckets()?;
        // No row is outside of these.
        let first = buckets.floor(micros(times.min))?;
        let end = buckets.next(buckets.floor(micros(times.max))?)?;
        let (from, to) = (asked.times.0.max(first), asked.times.1.min(end));
        if from >= to {
            return Ok(None);
        }
        // What retention has touched is not what the table has.
        let whole = standing.frozen.max(standing.oldest).unwrap_or(i64::MIN);
        let start = ceil(&buckets, from.max(whole))?;
        let stop = buckets.floor(to.min(done))?;
        if start >= stop {
            return Ok(None);
        }
        let same = cut.is_same(&asked.cut);
        if !same && !cut.divides(&asked.cut) && !nests(cut, &buckets, (start, stop))? {
            return Ok(None);
        }
        let mut stored = Vec::new();
        let mut at = start;
        for (changed, until) in standing.changed(CHANGED_MAX)? {
            if until <= start || changed >= stop {
                continue;
            }
            let changed = buckets.floor(changed.max(start))?;
            if changed > at {
                stored.push((at, changed));
            }
            at = at.max(ceil(&buckets, until.min(stop))?);
        }
        if at < stop {
            stored.push((at, stop));
        }
        let (Some(head), Some(tail)) = (stored.first(), stored.last()) else { return Ok(None) };
        let mut table = Vec::new();
        table.extend((head.0 > from).then_some((asked.times.0, head.0)));
        table.extend(stored.windows(2).map(|pair| (pair[0].1, pair[1].0)));
        table.extend((tail.1 < to).then_some((tail.1, asked.times.1)));
        Ok(Some(Split { stored, table, same }))
    }

    /// Rows of a table, or of the stored ones, in the spans that are answered by what is stored.
    pub(super) fn rows(&self, table: &Table) -> f64 {
        let range = |span: &Span| TimeRange::new(nanos(span.0), nanos(span.1).saturating_sub(1));
        self.stored.iter().map(|span| rows_about(table, None, &range(span))).sum()
    }

    /// From where to where stored rows answer.
    pub(super) fn bounds(&self) -> Span {
        let from = self.stored.first().map_or(0, |span| span.0);
        (from, self.stored.last().map_or(0, |span| span.1))
    }
}

/// Whether each bucket in a span is made of whole ones that are cut so.
fn nests(cut: &BucketSpec, buckets: &Buckets, (start, stop): Span) -> QueryResult<bool> {
    let finer = cut.buckets()?;
    let mut at = start;
    for _ in 0..LOOKED_AT_MAX {
        if finer.floor(at)? != at {
            return Ok(false);
        }
        if at >= stop {
            return Ok(true);
        }
        at = buckets.next(at)?;
    }
    Ok(false)
}
