//! Pieces: rows of one series in one source, cut to the times asked for.

use std::ops::Range;
use std::sync::Arc;

use crate::deletes::{Hides, kept};
use crate::error::Result;
use crate::head::{Run, RunData};
use crate::types::{SeriesRows, TimeRange};

use super::group::Group;

/// Where the rows of a piece lie.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Run(Arc<RunData>),
    Group(Arc<Group>),
}

impl Place {
    /// Times of some rows.
    pub fn times(&self, rows: Range<usize>) -> Result<&[i64]> {
        match self {
            Place::Run(data) => Ok(&data.times[rows]),
            Place::Group(group) => group.times(rows),
        }
    }

    /// Time of one row.
    pub fn time(&self, row: usize) -> Result<i64> {
        Ok(self.times(row..row + 1)?[0])
    }
}

/// Rows `start..end` of a place.
pub(super) type Span = (usize, usize);

/// Rows of one series in one source.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub place: Place,
    /// Last position of the source.
    pub age: u64,
    /// Place among pieces of one age, from old to new: one commit may write a series twice, and
    /// one part may hold it in several groups.
    pub order: u32,
    /// No row is earlier.
    pub earliest: i64,
    /// No row is later.
    pub latest: i64,
    /// What deletes hide of the source.
    pub hides: Option<Arc<Hides>>,
    /// Rows before they are cut to the times; `None` for a whole group not read yet.
    rows: Option<SeriesRows>,
}

impl Piece {
    pub fn of_run(run: &Arc<Run>, rows: SeriesRows, age: u64, times: TimeRange) -> Option<Piece> {
        let span = ends(&run.data.times, rows);
        Piece::new(Place::Run(Arc::clone(&run.data)), span, Some(rows), age, times)
    }

    /// The piece without what is hidden.
    pub fn hidden_by(self, hides: Option<&Arc<Hides>>) -> Piece {
        Piece { hides: hides.cloned(), ..self }
    }

    pub fn of_shared(group: &Arc<Group>, nth: usize, age: u64, times: TimeRange) -> Option<Piece> {
        let keys = group.known_keys()?;
        let rows = *keys.series.get(nth)?;
        let span = ends(&keys.times, rows);
        Piece::new(Place::Group(Arc::clone(group)), span, Some(rows), age, times)
    }

    pub fn of_own(group: &Arc<Group>, age: u64, times: TimeRange) -> Option<Piece> {
        Piece::new(Place::Group(Arc::clone(group)), group.found().times, None, age, times)
    }

    /// A piece whose rows have times in `span`; `None` if none of those is asked for.
    fn new(
        place: Place,
        span: TimeRange,
        rows: Option<SeriesRows>,
        age: u64,
        times: TimeRange,
    ) -> Option<Piece> {
        let TimeRange { min: earliest, max: latest } = span.intersect(&times);
        let meets = span.overlaps(&times);
        meets.then_some(Piece { place, age, order: 0, earliest, latest, hides: None, rows })
    }

    /// Times that its rows may have.
    pub fn span(&self) -> TimeRange {
        TimeRange::new(self.earliest, self.latest)
    }

    /// Whether the times asked for cut nothing of the rows: they lie within its span.
    pub fn is_whole(&self) -> bool {
        match &self.place {
            Place::Group(group) => self.span().encloses(&group.found().times),
            Place::Run(_) => false,
        }
    }

    /// First row and the row behind the last, before they are cut to the times; `rows`: of the
    /// whole group.
    pub fn bounds(&self, rows: u32) -> (usize, usize) {
        match self.rows {
            Some(rows) => (rows.start as usize, (rows.start + rows.rows) as usize),
            None => (0, rows as usize),
        }
    }

    /// Rows that may lie in the times asked for.
    fn scope(&self) -> Result<Range<usize>> {
        match (&self.rows, &self.place) {
            (Some(rows), _) => Ok(rows.start as usize..(rows.start + rows.rows) as usize),
            (None, Place::Group(group)) => group.scope(),
            (None, Place::Run(data)) => Ok(0..data.times.len()),
        }
    }

    /// Rows `start..end` of the place that lie in `times`, which lie in those asked for; may be
    /// empty.
    pub fn cut(&self, times: TimeRange) -> Result<(usize, usize)> {
        let scope = self.scope()?;
        let start = scope.start;
        let own = self.place.times(scope)?;
        let from = own.partition_point(|time| *time < times.min);
        let to = own.partition_point(|time| *time <= times.max);
        Ok((start + from, start + to.max(from)))
    }

    /// As [`Piece::cut`], without the rows of `series` that deletes hide: the first span, and the
    /// others from the last one on.
    pub fn spans(&self, series: u32, times: TimeRange) -> Result<Option<(Span, Vec<Span>)>> {
        let (start, end) = self.cut(times)?;
        let Some(hides) = self.hides.as_ref().filter(|_| start < end) else {
            return Ok((start < end).then_some(((start, end), Vec::new())));
        };
        let own = self.place.times(start..end)?;
        let hidden = hides.hidden(series, TimeRange::new(own[0], own[own.len() - 1]));
        let spans = kept(&hidden, own, 0, own.len()).into_iter();
        let mut rest: Vec<Span> = spans.map(|(from, to)| (start + from, start + to)).collect();
        rest.reverse();
        Ok(rest.pop().map(|first| (first, rest)))
    }
}

/// First and last time of the rows of a series.
fn ends(times: &[i64], rows: SeriesRows) -> TimeRange {
    TimeRange::new(times[rows.start as usize], times[(rows.start + rows.rows - 1) as usize])
}
