//! One stream of a scan: series after series, pieces merged by time.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;
use crate::series::Bitmap;
use crate::types::{
    CellState, Column, ColumnBuilder, ColumnId, MergeMode, PhysicalType, Rows, SeriesRows,
    TimeRange, ValueRef,
};

use super::batch::{Batch, Cells};
use super::filter::FieldFilter;
use super::group::Group;
use super::piece::{Piece, Place, Span};
use super::source::Source;
use super::walks::{Walks, sort};
use super::{FieldBound, ScanStats};

/// What a stream reads.
#[derive(Clone, Debug)]
pub struct StreamSpec {
    /// First and last series.
    pub series: (u32, u32),
    /// Series inside that range; `None` for all.
    pub set: Option<Arc<Bitmap>>,
    /// Times; exact.
    pub times: TimeRange,
    /// Columns in the order wanted, with the types that come out; behind the first `shown` those
    /// that only filters look at.
    pub columns: Vec<(ColumnId, PhysicalType)>,
    /// How many of the columns come out.
    pub shown: usize,
    /// Tests that rows must pass, each with the place of its column.
    pub filters: Vec<(usize, FieldFilter)>,
    /// What may be skipped.
    pub bounds: Vec<FieldBound>,
    /// What rows of one (series, time) become.
    pub mode: MergeMode,
    /// Rows of a batch, about.
    pub batch_rows: usize,
}

impl StreamSpec {
    /// Whether values, not time alone, choose the rows.
    fn is_chosen(&self) -> bool {
        !(self.bounds.is_empty() && self.filters.is_empty())
    }
}

/// Batches of rows in ascending (series, time). Reading blocks on CPU and disk.
#[derive(Debug)]
pub struct ScanStream {
    spec: StreamSpec,
    walks: Walks,
    series: u32,
    /// Pieces of the series not begun, by their earliest time.
    waiting: VecDeque<Piece>,
    /// Pieces begun.
    active: Vec<Cursor>,
    out: Output,
    /// Rows that come behind those of `out`.
    held: Option<Batch>,
    stats: Arc<ScanStats>,
}

#[derive(Debug)]
struct Cursor {
    piece: Piece,
    at: usize,
    end: usize,
    next: i64,
    /// Spans behind this one where deletes have cut the piece, the last one first.
    rest: Vec<Span>,
}

impl ScanStream {
    /// Begins a stream over sources.
    ///
    /// # Errors
    /// Those of reading part indexes.
    pub fn new(sources: &[Source], spec: StreamSpec, stats: Arc<ScanStats>) -> Result<ScanStream> {
        let walks = Walks::new(sources, &spec, &stats)?;
        let out = Output::new(&spec.columns[..spec.shown], spec.batch_rows, 0);
        let (waiting, active) = (VecDeque::new(), Vec::new());
        Ok(ScanStream { spec, walks, series: 0, waiting, active, out, held: None, stats })
    }

    /// Columns that come out, in order.
    pub fn columns(&self) -> &[(ColumnId, PhysicalType)] {
        &self.spec.columns[..self.spec.shown]
    }

    /// The next batch; never empty.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] or [`crate::Error::Io`] from reading parts.
    pub fn next_rows(&mut self) -> Result<Option<Rows>> {
        if let Some(held) = self.held.take() {
            return Ok(Some(held.into()));
        }
        self.gather(false)?;
        Ok(self.gathered())
    }

    /// As [`ScanStream::next_rows`], but long stretches of one series are not copied out of where
    /// they are held decoded: they come as batches of their own, of a quarter to twice the rows of
    /// others.
    ///
    /// # Errors
    /// As [`ScanStream::next_rows`].
    pub fn next_batch(&mut self) -> Result<Option<Batch>> {
        if self.held.is_none() {
            self.gather(true)?;
        }
        match self.gathered() {
            Some(rows) => Ok(Some(rows.into())),
            None => Ok(self.held.take()),
        }
    }

    /// The batch under construction, if it has a row.
    fn gathered(&mut self) -> Option<Rows> {
        let rows = self.out.take();
        ScanStats::add(&self.stats.rows, rows.len() as u64);
        (!rows.is_empty()).then_some(rows)
    }

    /// Goes on until the batch is full, or with `hold` until there is one that is held.
    fn gather(&mut self, hold: bool) -> Result<()> {
        while self.out.rows() < self.spec.batch_rows && self.held.is_none() {
            if self.waiting.is_empty() && self.active.is_empty() {
                if !self.next_series()? {
                    break;
                }
                continue;
            }
            self.step(hold)?;
        }
        Ok(())
    }

    /// Takes up pieces of a series that were found elsewhere, cut to `times`; what was begun must
    /// be at its end.
    pub(super) fn feed(&mut self, series: u32, mut pieces: Vec<Piece>, times: TimeRange) {
        debug_assert!(self.waiting.is_empty() && self.active.is_empty());
        self.spec.times = times;
        for piece in &mut pieces {
            piece.earliest = piece.earliest.max(times.min);
        }
        sort(&mut pieces);
        self.series = series;
        self.waiting = pieces.into();
    }

    /// Gathers the pieces of the next series; false if there is none.
    fn next_series(&mut self) -> Result<bool> {
        let Some((series, pieces)) = self.walks.next()? else { return Ok(false) };
        self.series = series;
        self.waiting = pieces.into();
        Ok(true)
    }

    /// Begins every piece that may have the next row.
    fn activate(&mut self) -> Result<()> {
        loop {
            let next = self.active.iter().map(|cursor| cursor.next).min();
            match self.waiting.front() {
                Some(piece) if next.is_none_or(|next| piece.earliest <= next) => {}
                _ => return Ok(()),
            }
            let Some(piece) = self.waiting.pop_front() else { return Ok(()) };
            if let Some(((at, end), rest)) = piece.spans(self.series, self.spec.times)? {
                let next = piece.place.time(at)?;
                self.active.push(Cursor { piece, at, end, next, rest });
            }
        }
    }

    /// Gives the next slice of one piece, or the next row where pieces meet. With `hold`, long
    /// slices are not copied.
    fn step(&mut self, hold: bool) -> Result<()> {
        self.activate()?;
        let Some(first) = self.active.iter().map(|cursor| cursor.next).min() else {
            return Ok(());
        };
        let meeting = self.active.iter().filter(|cursor| cursor.next == first).count();
        if meeting > 1 {
            return self.merge_row(first);
        }
        let others = self.active.iter().map(|cursor| cursor.next).filter(|next| *next != first);
        let limit = others.chain(self.waiting.front().map(|piece| piece.earliest)).min();
        let room = self.spec.batch_rows - self.out.rows();
        let Some(which) = self.active.iter().position(|cursor| cursor.next == first) else {
            return Ok(());
        };
        let cursor = &mut self.active[which];
        let rest = cursor.piece.place.times(cursor.at..cursor.end)?;
        let mut len = limit.map_or(rest.len(), |limit| rest.partition_point(|t| *t < limit));
        if hold && len >= (self.spec.batch_rows / 4).max(1) {
            // Better twice the rows than a few of them alone.
            let most = self.spec.batch_rows;
            let end = cursor.at + if len <= most * 2 { len } else { most };
            self.held =
                held(&cursor.piece.place, cursor.at..end, self.series, &self.spec, &self.stats)?;
            if self.held.is_some() {
                return advance(&mut self.active, which, end);
            }
        }
        len = len.min(room).max(1);
        let (start, end) = (cursor.at, cursor.at + len);
        emit(&cursor.piece.place, start, end, self.series, &self.spec, &self.stats, &mut self.out)?;
        advance(&mut self.active, which, end)
    }

    /// Merges the rows of one time out of all pieces that have it.
    fn merge_row(&mut self, time: i64) -> Result<()> {
        let mut meeting: Vec<usize> =
            (0..self.active.len()).filter(|at| self.active[*at].next == time).collect();
        meeting.sort_by_key(|at| {
            let piece = &self.active[*at].piece;
            (piece.age, piece.order)
        });
        let mut rows: Vec<(&Place, usize, usize)> = Vec::with_capacity(meeting.len());
        for at in &meeting {
            let cursor = &self.active[*at];
            let times = cursor.piece.place.times(cursor.at..cursor.end)?;
            let same = times.partition_point(|t| *t <= time);
            rows.push((&cursor.piece.place, cursor.at, cursor.at + same));
        }
        let ends: Vec<usize> = rows.iter().map(|(_, _, end)| *end).collect();
        match self.spec.mode {
            MergeMode::Append => {
                for (place, start, end) in rows {
                    let (spec, stats) = (&self.spec, &self.stats);
                    passing(place, start, end, self.series, spec, stats, &mut self.out)?;
                }
            }
            MergeMode::LastRow => {
                let newest = &rows[rows.len() - 1..];
                merge_cells(newest, time, self.series, &self.spec, &self.stats, &mut self.out)?;
            }
            MergeMode::LastNonNull => {
                merge_cells(&rows, time, self.series, &self.spec, &self.stats, &mut self.out)?;
            }
        }
        // From the back, so that the places found stay valid while cursors leave.
        let mut order: Vec<(usize, usize)> = meeting.into_iter().zip(ends).collect();
        order.sort_unstable_by(|a, b| b.cmp(a));
        for (at, end) in order {
            advance(&mut self.active, at, end)?;
        }
        Ok(())
    }
}

/// Moves a cursor on, and takes it away at its end.
fn advance(active: &mut Vec<Cursor>, which: usize, to: usize) -> Result<()> {
    let cursor = &mut active[which];
    cursor.at = to;
    if to >= cursor.end {
        let Some((at, end)) = cursor.rest.pop() else {
            active.swap_remove(which);
            return Ok(());
        };
        (cursor.at, cursor.end) = (at, end);
    }
    cursor.next = cursor.piece.place.time(cursor.at)?;
    Ok(())
}

/// Rows that no other piece touches as a batch that shares what is decoded of them; `None` where
/// they are not held so, or some may be left out.
fn held(
    place: &Place,
    rows: Range<usize>,
    series: u32,
    spec: &StreamSpec,
    stats: &ScanStats,
) -> Result<Option<Batch>> {
    let Place::Group(group) = place else { return Ok(None) };
    if spec.is_chosen() {
        return Ok(None);
    }
    let count = rows.len();
    let times = place.times(rows.clone())?.to_vec();
    let reach = reach(group, rows.clone(), spec, stats)?;
    let window = group.columns(&reach, &spec.columns, false, stats)?;
    let at = window.at(&rows);
    let columns = spec.columns[..spec.shown].iter().zip(window.held());
    let columns = columns.map(|((id, kind), column)| {
        let cells = match column {
            Some(column) => Cells::Held(Arc::clone(column), at.clone()),
            None => Cells::Own(Column::absent(*kind, count)),
        };
        (*id, cells)
    });
    let columns = columns.collect();
    ScanStats::add(&stats.rows, count as u64);
    let series = vec![SeriesRows { series, start: 0, rows: count as u32 }];
    Ok(Some(Batch { series, times, columns }))
}

/// Gives rows that no other piece touches, without those that bounds rule out.
fn emit(
    place: &Place,
    start: usize,
    end: usize,
    series: u32,
    spec: &StreamSpec,
    stats: &ScanStats,
    out: &mut Output,
) -> Result<()> {
    let group = match place {
        Place::Group(group) if !(spec.bounds.is_empty() && spec.filters.is_empty()) => group,
        _ => return passing(place, start, end, series, spec, stats, out),
    };
    for (zone, skip) in group.zones(&spec.bounds, &spec.filters, stats)? {
        let from = start.max(zone.start as usize);
        let to = end.min((zone.start + zone.rows) as usize);
        if !skip && from < to {
            passing(place, from, to, series, spec, stats, out)?;
        }
    }
    Ok(())
}

/// Gives those rows of a span that pass the filters; other columns are decoded only then.
fn passing(
    place: &Place,
    start: usize,
    end: usize,
    series: u32,
    spec: &StreamSpec,
    stats: &ScanStats,
    out: &mut Output,
) -> Result<()> {
    if spec.filters.is_empty() {
        out.series(series, end - start);
        return append(place, std::slice::from_ref(&(start..end)), spec, stats, out);
    }
    let mut keep = vec![true; end - start];
    match place {
        Place::Run(data) => {
            for (at, filter) in &spec.filters {
                filter.test.apply(data.column(spec.columns[*at].0), start, &mut keep);
            }
        }
        Place::Group(group) => {
            let left = reach(group, start..end, spec, stats)?;
            let window = group.tested(&left, &spec.columns, &spec.filters, stats)?;
            let first = window.at(&(start..end)).start;
            for ((_, filter), (_, column)) in spec.filters.iter().zip(window.held()) {
                filter.test.apply(column.as_deref(), first, &mut keep);
            }
        }
    }
    let (mut runs, mut rows, mut row) = (Vec::new(), 0, start);
    for run in keep.chunk_by(|a, b| a == b) {
        let next = row + run.len();
        if run[0] {
            runs.push(row..next);
            rows += run.len();
        }
        row = next;
    }
    if runs.is_empty() {
        return Ok(());
    }
    out.series(series, rows);
    append(place, &runs, spec, stats, out)
}

/// Rows to decode where `rows` of a group are wanted: all that the stream may want of it, so that
/// it is decoded once. Rows that meet those of other pieces are read whatever zones say.
fn reach(
    group: &Group,
    rows: Range<usize>,
    spec: &StreamSpec,
    stats: &ScanStats,
) -> Result<Range<usize>> {
    let left = group.left(&spec.bounds, &spec.filters, stats)?;
    if left.start <= rows.start && rows.end <= left.end {
        return Ok(left);
    }
    group.scope()
}

/// Gives runs of rows, which are in order and not none.
fn append(
    place: &Place,
    runs: &[Range<usize>],
    spec: &StreamSpec,
    stats: &ScanStats,
    out: &mut Output,
) -> Result<()> {
    let (Some(first), Some(last)) = (runs.first(), runs.last()) else { return Ok(()) };
    let all = first.start..last.end;
    let rows = runs.iter().map(Range::len).sum();
    let times = place.times(all.clone())?;
    for run in runs {
        out.times.extend_from_slice(&times[run.start - all.start..run.end - all.start]);
    }
    let extend = |builder: &mut ColumnBuilder, column: Option<&Column>, start: usize| {
        let Some(column) = column else { return builder.push_absent(rows) };
        for run in runs {
            let from = start + run.start - all.start;
            builder.extend_range(column, from, from + run.len());
        }
    };
    match place {
        Place::Run(data) => {
            for ((id, _), builder) in spec.columns.iter().zip(&mut out.columns) {
                extend(builder, data.column(*id), all.start);
            }
        }
        Place::Group(group) => {
            let left = reach(group, all.clone(), spec, stats)?;
            let window = group.columns(&left, &spec.columns, spec.is_chosen(), stats)?;
            let at = window.at(&all);
            for (column, builder) in window.held().iter().zip(&mut out.columns) {
                extend(builder, column.as_deref(), at.start);
            }
        }
    }
    Ok(())
}

/// Gives one row: of each column the newest cell that is not absent. `rows` from old to new.
fn merge_cells(
    rows: &[(&Place, usize, usize)],
    time: i64,
    series: u32,
    spec: &StreamSpec,
    stats: &ScanStats,
    out: &mut Output,
) -> Result<()> {
    for (nth, filter) in &spec.filters {
        let (state, value) = newest_cell(rows, *nth, spec, stats)?;
        if !filter.test.passes(state, value) {
            return Ok(());
        }
    }
    out.series(series, 1);
    out.times.push(time);
    for (nth, builder) in out.columns.iter_mut().enumerate() {
        let (state, value) = newest_cell(rows, nth, spec, stats)?;
        builder.push(state, value);
    }
    Ok(())
}

/// The newest cell of a column that is not absent; `rows` from old to new.
fn newest_cell<'a>(
    rows: &[(&'a Place, usize, usize)],
    nth: usize,
    spec: &StreamSpec,
    stats: &ScanStats,
) -> Result<(CellState, ValueRef<'a>)> {
    for (place, start, end) in rows.iter().rev() {
        let (column, at) = match place {
            Place::Run(data) => (data.column(spec.columns[nth].0), *start..*end),
            Place::Group(group) => {
                let rows = *start..*end;
                let window = match group.held(&rows) {
                    Some(window) => window,
                    None => {
                        let scope = group.scope()?;
                        group.columns(&scope, &spec.columns, spec.is_chosen(), stats)?
                    }
                };
                (window.held()[nth].as_deref(), window.at(&rows))
            }
        };
        let Some(column) = column else { continue };
        if let Some(row) = at.rev().find(|row| !column.state(*row).is_absent()) {
            return Ok(column.cell(row));
        }
    }
    Ok((CellState::ABSENT, ValueRef::Int(0)))
}

/// The batch under construction.
#[derive(Debug)]
struct Output {
    kinds: Vec<(ColumnId, PhysicalType)>,
    capacity: usize,
    series: Vec<SeriesRows>,
    times: Vec<i64>,
    columns: Vec<ColumnBuilder>,
}

impl Output {
    /// With room for `expected` rows: small scans must not pay for a full batch, long ones not for
    /// columns that grow.
    fn new(kinds: &[(ColumnId, PhysicalType)], capacity: usize, expected: usize) -> Output {
        let columns = kinds.iter().map(|(_, kind)| ColumnBuilder::new(*kind, expected)).collect();
        let (kinds, times) = (kinds.to_vec(), Vec::with_capacity(expected));
        Output { kinds, capacity, series: Vec::new(), times, columns }
    }

    fn rows(&self) -> usize {
        self.times.len()
    }

    /// Notes that the next `rows` rows are of `series`.
    fn series(&mut self, series: u32, rows: usize) {
        if let Some(last) = self.series.last_mut()
            && last.series == series
        {
            last.rows += rows as u32;
            return;
        }
        let start = self.times.len() as u32;
        self.series.push(SeriesRows { series, start, rows: rows as u32 });
    }

    fn take(&mut self) -> Rows {
        if self.times.is_empty() {
            return Rows::default();
        }
        let fresh = Output::new(&self.kinds, self.capacity, self.times.len());
        let Output { series, times, columns, kinds, .. } = std::mem::replace(self, fresh);
        let finish =
            |((id, _), builder): ((ColumnId, PhysicalType), ColumnBuilder)| (id, builder.finish());
        let columns = kinds.into_iter().zip(columns).map(finish).collect();
        Rows { series, times, columns }
    }
}
