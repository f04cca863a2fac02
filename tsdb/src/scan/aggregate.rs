//! Aggregates by time bucket and group of series, without making rows.
//!
//! A stream walks its series as a scan does. Where only one source has rows, a zone that lies in
//! one bucket is answered from its statistics; other rows are added slice by slice from the
//! decoded blocks. Only where sources meet in time are rows merged first, by the scan's own
//! merger, so that both give the same rows.
//!
//! What holds:
//! - Every row of the request is added exactly once: a piece gives the times that it alone has,
//!   the merger those that several have.
//! - Counts, extremes, first and last are exact; sums of integers too, or an error; sums of floats
//!   differ from another order of adding by rounding only.

mod rows;
mod states;
#[cfg(test)]
mod tests;
mod zones;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::error::Result;
use crate::part::PageStats;
use crate::series::Bitmap;
use crate::types::{ColumnId, MergeMode, PhysicalType, TimeRange};

use super::filter::FieldFilter;
use super::piece::Piece;
use super::source::Source;
use super::walks::Walks;
use super::{ScanStats, ScanStream, StreamSpec};

pub use states::{Aggregates, ColumnAggregates, Extremes, Moments, Wants};

/// Time buckets of one width: bucket `k` holds the times from `origin + k * width` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buckets {
    /// Width, ns; above 0.
    pub width: i64,
    /// A time at which a bucket begins, ns.
    pub origin: i64,
}

impl Buckets {
    /// Number of the bucket of a time.
    pub fn index(&self, time: i64) -> i64 {
        match time.checked_sub(self.origin) {
            Some(offset) => offset.div_euclid(self.width),
            None => {
                let offset = i128::from(time) - i128::from(self.origin);
                offset.div_euclid(i128::from(self.width)) as i64
            }
        }
    }

    /// First time of a bucket, ns; saturates.
    pub fn start(&self, index: i64) -> i64 {
        let start = i128::from(self.origin) + i128::from(index) * i128::from(self.width);
        start.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }

    /// Last time of a bucket, ns; saturates.
    fn last(&self, index: i64) -> i64 {
        let end = i128::from(self.origin) + (i128::from(index) + 1) * i128::from(self.width) - 1;
        end.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }
}

/// The group of each series.
#[derive(Clone, Debug)]
pub enum GroupOf {
    /// All series are group 0.
    One,
    /// Each series is a group of its own number.
    Each,
    /// The group of each series of a set, in its ascending order.
    Listed {
        /// The series.
        set: Arc<Bitmap>,
        /// Their groups.
        of: Arc<Vec<u32>>,
    },
}

impl GroupOf {
    fn group(&self, series: u32) -> u32 {
        match self {
            GroupOf::One => 0,
            GroupOf::Each => series,
            GroupOf::Listed { set, of } => {
                let rank = set.rank(series) as usize;
                of.get(rank.saturating_sub(1)).copied().unwrap_or(0)
            }
        }
    }
}

/// A column and what is asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AggregateColumn {
    /// The field.
    pub column: ColumnId,
    /// Figures wanted; of text and booleans only the count can be had.
    pub wants: Wants,
}

/// What to aggregate.
#[derive(Clone, Debug)]
pub struct AggregateRequest {
    /// Series to read; `None` for all.
    pub series: Option<Bitmap>,
    /// Times to read; exact.
    pub times: TimeRange,
    /// Buckets; `None` for one over all times.
    pub buckets: Option<Buckets>,
    /// Groups of series.
    pub groups: GroupOf,
    /// A number by whose values rows are grouped too.
    pub split: Option<ColumnId>,
    /// Columns, each once.
    pub columns: Vec<AggregateColumn>,
    /// Tests of which is counted how many rows of a slot pass.
    pub counted: Vec<FieldFilter>,
    /// Rows must pass all of these; exact.
    pub filters: Vec<FieldFilter>,
    /// Streams at most.
    pub streams: usize,
    /// Whether statistics of zones may answer; the answer is the same without.
    pub use_zones: bool,
}

/// A planned aggregation.
#[derive(Debug)]
pub struct Aggregation {
    /// The streams, over disjoint ranges of series; what they give is to be merged.
    pub streams: Vec<AggregateStream>,
    /// What is read and skipped; grows while the streams run.
    pub stats: Arc<ScanStats>,
}

/// What the streams of one request share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub buckets: Option<Buckets>,
    pub groups: GroupOf,
    /// Columns wanted with their types, then those that only filters, tests and the split look at.
    pub columns: Vec<(ColumnId, PhysicalType)>,
    pub wants: Vec<Wants>,
    /// Place of the column that rows are grouped by too.
    pub split: Option<usize>,
    /// Tests that are counted, each with the place of its column.
    pub counted: Vec<(usize, FieldFilter)>,
    /// Filters, each with the place of its column in `columns`.
    pub filters: Vec<(usize, FieldFilter)>,
    pub use_zones: bool,
}

impl Shared {
    /// Whether what is added depends on the times of rows.
    fn needs_times(&self) -> bool {
        self.buckets.is_some() || self.wants.iter().any(|wants| wants.has(Wants::EDGES))
    }

    /// No slots yet.
    fn table(&self) -> Aggregates {
        Aggregates::new(&self.columns[..self.wants.len()], &self.wants, self.counted.len())
    }
}

/// Aggregates the series of one range. Reading blocks on CPU and disk.
#[derive(Debug)]
pub struct AggregateStream {
    shared: Arc<Shared>,
    mode: MergeMode,
    walks: Walks,
    /// Merges rows where sources meet.
    merger: ScanStream,
    /// Statistics of the page in hand of each part, by the part's number.
    pages: HashMap<u64, (usize, Arc<PageStats>)>,
    table: Aggregates,
    segments: Vec<rows::Segment>,
    stats: Arc<ScanStats>,
    /// A series of many pieces that is read in several steps.
    midway: Option<Midway>,
}

/// What is left of a series.
#[derive(Debug)]
struct Midway {
    series: u32,
    group: u32,
    pieces: Vec<Piece>,
    left: VecDeque<Left>,
    /// Whether the merger has rows of a meeting yet.
    merging: bool,
}

#[derive(Debug)]
enum Left {
    /// Times that only the piece of that place has.
    Alone(usize, TimeRange),
    /// Times that several pieces may have.
    Meeting(TimeRange),
}

/// Pieces that one step adds at most, so that others have their turn: some milliseconds.
const PIECES_AT_A_TIME: usize = if cfg!(test) { 2 } else { 16 };

impl AggregateStream {
    pub(crate) fn new(
        sources: &[Source],
        spec: StreamSpec,
        shared: Arc<Shared>,
        stats: Arc<ScanStats>,
    ) -> Result<AggregateStream> {
        let walks = Walks::new(sources, &spec, &stats)?;
        let mode = spec.mode;
        let merger = ScanStream::new(&[], spec, Arc::clone(&stats))?;
        let table = shared.table();
        Ok(AggregateStream {
            shared,
            mode,
            walks,
            merger,
            pages: HashMap::new(),
            table,
            segments: Vec::new(),
            stats,
            midway: None,
        })
    }

    /// Adds the rows of the next series, or of the next pieces of a long one; false at the end.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] or [`crate::Error::Io`] from reading parts.
    pub fn step(&mut self) -> Result<bool> {
        if let Some(midway) = self.midway.take() {
            self.midway = self.go_on(midway)?;
            return Ok(true);
        }
        let Some((series, pieces)) = self.walks.next()? else { return Ok(false) };
        match pieces.len() <= PIECES_AT_A_TIME {
            true => self.series(series, pieces)?,
            false => {
                let midway = self.begin(series, pieces);
                self.midway = self.go_on(midway)?;
            }
        }
        Ok(true)
    }

    /// Whether a series is added in part: what [`AggregateStream::take`] gives would miss the rest.
    pub fn is_midway(&self) -> bool {
        self.midway.is_some()
    }

    /// Divides a series into what is added step by step, as [`AggregateStream::series`] does at once.
    fn begin(&self, series: u32, pieces: Vec<Piece>) -> Midway {
        let group = self.shared.groups.group(series);
        let meeting = match self.mode {
            MergeMode::Append => Vec::new(),
            _ => meeting(&pieces),
        };
        let mut left = VecDeque::new();
        for (at, piece) in pieces.iter().enumerate() {
            left.extend(without(piece.span(), &meeting).into_iter().map(|r| Left::Alone(at, r)));
        }
        left.extend(meeting.into_iter().map(Left::Meeting));
        Midway { series, group, pieces, left, merging: false }
    }

    /// Adds some of what is left; gives back what is still left.
    fn go_on(&mut self, mut midway: Midway) -> Result<Option<Midway>> {
        for _ in 0..PIECES_AT_A_TIME {
            if midway.merging {
                midway.merging = self.add_merged(midway.group)?;
                continue;
            }
            match midway.left.pop_front() {
                None => return Ok(None),
                Some(Left::Alone(at, range)) => {
                    let piece = &midway.pieces[at];
                    self.alone(piece, range, midway.series, midway.group)?;
                }
                Some(Left::Meeting(range)) => {
                    self.meet(midway.series, &midway.pieces, range);
                    midway.merging = true;
                }
            }
        }
        Ok(Some(midway))
    }

    /// Has the merger read the times that several pieces may have.
    fn meet(&mut self, series: u32, pieces: &[Piece], range: TimeRange) {
        let touched = pieces.iter().filter(|p| p.span().overlaps(&range)).cloned().collect();
        self.merger.feed(series, touched, range);
    }

    /// Adds the next rows of the merger; false if there are none.
    fn add_merged(&mut self, group: u32) -> Result<bool> {
        let Some(rows) = self.merger.next_rows()? else { return Ok(false) };
        let columns: Vec<_> = rows.columns.iter().map(|(_, c)| Some(c)).collect();
        self.add(group, Some(&rows.times), &columns, (0, rows.times.len()));
        Ok(true)
    }

    /// Slots of groups and buckets so far.
    pub fn slots(&self) -> usize {
        self.table.len()
    }

    /// Bytes that the slots hold, about.
    pub fn memory(&self) -> usize {
        self.table.memory()
    }

    /// What was added so far; the stream goes on with nothing.
    pub fn take(&mut self) -> Aggregates {
        std::mem::replace(&mut self.table, self.shared.table())
    }

    fn series(&mut self, series: u32, pieces: Vec<Piece>) -> Result<()> {
        let group = self.shared.groups.group(series);
        let apart = pieces.windows(2).all(|pair| pair[0].latest < pair[1].earliest);
        if apart || self.mode == MergeMode::Append {
            return pieces.iter().try_for_each(|p| self.alone(p, p.span(), series, group));
        }
        let meeting = meeting(&pieces);
        for piece in &pieces {
            for range in without(piece.span(), &meeting) {
                self.alone(piece, range, series, group)?;
            }
        }
        for range in meeting {
            self.meet(series, &pieces, range);
            while self.add_merged(group)? {}
        }
        Ok(())
    }

    /// Adds the rows that a piece alone has in a range, and that no delete hides.
    fn alone(&mut self, piece: &Piece, range: TimeRange, series: u32, group: u32) -> Result<()> {
        let Some(hides) = &piece.hides else { return self.direct(piece, range, group) };
        let hidden = hides.hidden(series, range);
        without(range, &hidden).into_iter().try_for_each(|left| self.direct(piece, left, group))
    }
}

/// Times that several pieces may have, ascending and disjoint.
fn meeting(pieces: &[Piece]) -> Vec<TimeRange> {
    let mut events: Vec<(i128, i32)> = Vec::with_capacity(pieces.len() * 2);
    for piece in pieces {
        events.push((i128::from(piece.earliest), 1));
        events.push((i128::from(piece.latest) + 1, -1));
    }
    // At one time an end counts before a start: ranges that only touch do not meet.
    events.sort_unstable();
    let mut found: Vec<TimeRange> = Vec::new();
    let (mut depth, mut from) = (0, 0i128);
    for (time, change) in events {
        let before = depth;
        depth += change;
        if before < 2 && depth >= 2 {
            from = time;
        } else if before >= 2 && depth < 2 && from < time {
            found.push(TimeRange::new(from as i64, (time - 1) as i64));
        }
    }
    found
}

/// A span without some ascending ranges.
fn without(span: TimeRange, ranges: &[TimeRange]) -> Vec<TimeRange> {
    let mut found = Vec::new();
    let mut from = Some(span.min);
    for range in ranges.iter().filter(|range| range.overlaps(&span)) {
        if let Some(start) = from
            && start < range.min
        {
            found.push(TimeRange::new(start, range.min - 1));
        }
        from = range.max.checked_add(1);
    }
    if let Some(start) = from
        && start <= span.max
    {
        found.push(TimeRange::new(start, span.max));
    }
    found
}
