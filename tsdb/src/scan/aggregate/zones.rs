//! Adding zones by their statistics.

use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;
use crate::part::{PageStats, ZoneRows, ZoneStats, ZoneValues};
use crate::types::{TimeRange, ValueRef};

use super::super::ScanStats;
use super::super::filter::{FieldFilter, Verdict};
use super::super::group::Group;
use super::super::piece::{Piece, Place};
use super::AggregateStream;

/// Rows of a zone, about; buckets much shorter than that hold no zone.
const ZONE_ROWS_USUAL: f64 = 60.0;

impl AggregateStream {
    /// Whether zones may lie within buckets, or filters may rule some out.
    pub(super) fn zones_help(&self, piece: &Piece) -> bool {
        let Place::Group(group) = &piece.place else { return false };
        if !self.shared.use_zones {
            return false;
        }
        if !self.shared.filters.is_empty() {
            return true;
        }
        match self.shared.buckets {
            None => true,
            Some(buckets) => {
                let found = group.found();
                let span = found.times.max as f64 - found.times.min as f64;
                // Of a shared group each series has its own share of the rows.
                let series = match found.own_series {
                    true => 1.0,
                    false => f64::from(found.series_last - found.series_first) + 1.0,
                };
                let between = span / (f64::from(found.rows) / series).max(1.0);
                buckets.width as f64 >= between * ZONE_ROWS_USUAL
            }
        }
    }

    /// Adds a piece zone by zone: from statistics where they say all, else by its rows.
    pub(super) fn zoned(&mut self, piece: &Piece, range: TimeRange, group: u32) -> Result<()> {
        let Place::Group(place) = &piece.place else { return Ok(()) };
        let (page, at_page) = self.page(place)?;
        // Rows to decode, those of zones that follow one another together.
        let mut spans: Vec<Range<usize>> = Vec::new();
        let (first, last) = piece.bounds(place.found().rows);
        let (mut seen, mut used) = (0u64, 0u64);
        for (nth, zone) in page.zones(at_page).iter().enumerate() {
            let (start, end) = (zone.start as usize, (zone.start + zone.rows) as usize);
            if end <= first || start >= last || !zone.times.overlaps(&range) {
                continue;
            }
            seen += 1;
            let whole = first <= start && end <= last && range.encloses(&zone.times);
            match self.judge(&page, at_page, nth, zone) {
                Verdict::None => used += 1,
                Verdict::All if whole && self.add_stats(&page, at_page, nth, zone, group)? => {
                    used += 1;
                }
                _ => {
                    let (start, end) = (start.max(first), end.min(last));
                    match spans.last_mut() {
                        Some(span) if span.end == start => span.end = end,
                        _ => spans.push(start..end),
                    }
                }
            }
        }
        // Two spans, as at the ends of a range of times, are decoded each for itself.
        let hull = match &spans[..] {
            [start, _, .., end] if spans.len() > 2 => Some(start.start..end.end),
            _ => None,
        };
        for span in spans {
            let reach = hull.clone().unwrap_or_else(|| span.clone());
            self.rows_within(piece, span, &reach, range, group)?;
        }
        ScanStats::add(&self.stats.zones, seen);
        ScanStats::add(&self.stats.zones_pruned, used);
        Ok(())
    }

    /// Adds the rows of a span of zones that lie in the piece and the range; `reach` is what is
    /// decoded for them.
    fn rows_within(
        &mut self,
        piece: &Piece,
        span: Range<usize>,
        reach: &Range<usize>,
        range: TimeRange,
        group: u32,
    ) -> Result<()> {
        if range.encloses(&piece.span()) && piece.is_whole() {
            return self.decoded(piece, span, reach, group);
        }
        let first = span.start;
        let times = piece.place.times(reach.clone())?;
        let own = &times[span.start - reach.start..span.end - reach.start];
        let start = first + own.partition_point(|time| *time < range.min);
        let end = first + own.partition_point(|time| *time <= range.max);
        self.decoded(piece, start..end.max(start), reach, group)
    }

    /// What the statistics of a zone say of the filters together.
    fn judge(&self, page: &PageStats, at_page: usize, nth: usize, zone: &ZoneRows) -> Verdict {
        let mut all = true;
        for filter in &self.shared.filters {
            match verdict(filter, page, at_page, nth, zone) {
                Verdict::None => return Verdict::None,
                Verdict::Some => all = false,
                Verdict::All => {}
            }
        }
        if all { Verdict::All } else { Verdict::Some }
    }

    /// Adds a whole zone by its statistics; false where they do not say all that is wanted.
    fn add_stats(
        &mut self,
        page: &PageStats,
        at_page: usize,
        nth: usize,
        zone: &ZoneRows,
        group: u32,
    ) -> Result<bool> {
        let bucket = match self.shared.buckets {
            None => 0,
            Some(buckets) => {
                let bucket = buckets.index(zone.times.min);
                if zone.times.max > buckets.last(bucket) {
                    return Ok(false);
                }
                bucket
            }
        };
        if !zone.single_series {
            return Ok(false);
        }
        let wanted = self.shared.wants.len();
        let of = |column: usize| -> Option<&ZoneStats> { page.stats(at_page, column)?.get(nth) };
        let known = (0..wanted).all(|column| {
            of(column).is_none_or(|stats| {
                self.table.suffices(column, stats) && self.table.edges_known(column, stats, zone)
            })
        });
        if !known {
            return Ok(false);
        }
        let Some(passing) = self.counted(page, at_page, nth, zone) else { return Ok(false) };
        let split = match self.shared.split {
            None => 0,
            Some(at) => match only_value(of(at), zone) {
                None => return Ok(false),
                Some(value) => self.split_of(value),
            },
        };
        let slot = self.table.slot(group, bucket, split);
        for (counts, passing) in self.table.passing.iter_mut().zip(passing) {
            counts[slot as usize] += u64::from(passing);
        }
        self.table.rows[slot as usize] += u64::from(zone.rows);
        for column in 0..wanted {
            if let Some(stats) = of(column) {
                self.table.add_zone(column, slot, stats, zone);
            }
        }
        Ok(true)
    }

    /// How many rows of a zone pass each of the tests that are counted, where that is known.
    fn counted(
        &self,
        page: &PageStats,
        at_page: usize,
        nth: usize,
        zone: &ZoneRows,
    ) -> Option<Vec<u32>> {
        let counts = self.shared.counted.iter().map(|filter| {
            match verdict(filter, page, at_page, nth, zone) {
                Verdict::None => Some(0),
                Verdict::All => Some(zone.rows),
                Verdict::Some => None,
            }
        });
        counts.collect()
    }

    /// The statistics of the page that a group lies in, and its place there.
    fn page(&mut self, group: &Group) -> Result<(Arc<PageStats>, usize)> {
        let part = group.part();
        let (number, at_page) = part.locate(group.found())?;
        if let Some((held, page)) = self.pages.get(&part.meta().id)
            && *held == number
        {
            return Ok((Arc::clone(page), at_page));
        }
        let page = Arc::new(part.page_stats(number, &self.shared.columns)?);
        self.pages.insert(part.meta().id, (number, Arc::clone(&page)));
        Ok((page, at_page))
    }
}

/// What the statistics of a zone say of a test of the column at some place.
fn verdict(
    (at, filter): &(usize, FieldFilter),
    page: &PageStats,
    at_page: usize,
    nth: usize,
    zone: &ZoneRows,
) -> Verdict {
    let stats = page.stats(at_page, *at).and_then(|zones| zones.get(nth));
    filter.test.verdict(stats, zone.rows)
}

/// The value that every row of a zone has: none in any, or the same in all.
fn only_value(stats: Option<&ZoneStats>, zone: &ZoneRows) -> Option<Option<ValueRef<'static>>> {
    let Some(stats) = stats.filter(|stats| stats.count() > 0) else { return Some(None) };
    if stats.count() != zone.rows {
        return None;
    }
    match stats.values {
        ZoneValues::Int { min, max, .. } if min == max => Some(Some(ValueRef::Int(min))),
        ZoneValues::Float { min, max, nan: false, .. } if min == max => {
            Some(Some(ValueRef::Float(min)))
        }
        _ => None,
    }
}
