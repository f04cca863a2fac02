//! How far a cursor was read, and the ways to go on from there.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use futures::StreamExt;
use tokio::sync::watch;

use super::CursorInfo;
use super::kept::Kept;
use crate::error::{QueryError, QueryResult};
use crate::statement::cursor::Way;

/// Batches that a query makes ahead of its reader, and the one in hand.
const BATCHES_HELD: usize = 3;

/// How far a cursor was read.
pub(super) struct Reading {
    /// What is not read yet; `None` once all is.
    pub(super) source: Option<Source>,
    /// The batch in hand and its next row, of a cursor that keeps nothing.
    batch: Option<(RecordBatch, usize)>,
    /// A batch that is on its way to those that are kept.
    pending: Option<RecordBatch>,
    /// What was read, of a cursor that scrolls or is held.
    pub(super) kept: Option<Kept>,
    scrolls: bool,
    /// Number of the row that the cursor stands on; 0 before the first.
    row: i64,
    /// It stands behind the last row, as the row of the next number.
    past: bool,
    /// An error has ended it.
    pub(super) broken: bool,
    memory: Arc<MemoryReservation>,
    info: Arc<CursorInfo>,
}

/// A query under way.
pub(super) struct Source {
    pub(super) stream: SendableRecordBatchStream,
    /// Ends the query when the cursor goes.
    pub(super) _ends: Ends,
}

pub(super) struct Ends(pub(super) watch::Sender<bool>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

/// Which rows are to be given from where the cursor stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Course {
    backward: bool,
    left: i64,
}

const NOWHERE: Course = Course { backward: false, left: 0 };
const ONE: Course = Course { backward: false, left: 1 };

impl Reading {
    pub(super) fn new(
        source: Source,
        kept: Option<Kept>,
        scrolls: bool,
        memory: Arc<MemoryReservation>,
        info: Arc<CursorInfo>,
    ) -> Reading {
        let (batch, pending) = (None, None);
        let (source, row, past, broken) = (Some(source), 0, false, false);
        Reading { source, batch, pending, kept, scrolls, row, past, broken, memory, info }
    }

    /// Goes to where the rows that are asked for begin.
    pub(super) async fn begin(&mut self, way: Way) -> QueryResult<Course> {
        match way {
            Way::Forward(count @ 1..) => Ok(Course { backward: false, left: count }),
            Way::All => Ok(Course { backward: false, left: i64::MAX }),
            Way::Backward(count) if count < 0 => {
                Ok(Course { left: count.saturating_neg(), ..NOWHERE })
            }
            // The row that the cursor stands on, where it stands on one.
            Way::Forward(0) | Way::Backward(0) | Way::Relative(0) => {
                if self.row == 0 || self.past {
                    return Ok(NOWHERE);
                }
                self.may_scroll()?;
                self.row -= 1;
                Ok(ONE)
            }
            Way::Relative(by @ 1..) => {
                let passed = self.skip(Course { backward: false, left: by - 1 }).await?;
                Ok(if passed < by - 1 { NOWHERE } else { ONE })
            }
            Way::Absolute(row @ 1..) if row > self.row && !self.past => {
                let by = row - self.row;
                let passed = self.skip(Course { backward: false, left: by - 1 }).await?;
                if passed < by - 1 {
                    self.step_past();
                    return Ok(NOWHERE);
                }
                Ok(ONE)
            }
            // Rows that are not there are none, whichever way the cursor goes.
            Way::Absolute(row) if row > self.row => Ok(NOWHERE),
            Way::Absolute(0) if self.row == 0 => Ok(NOWHERE),
            Way::Absolute(row @ 0..) => {
                self.may_scroll()?;
                Ok(self.stand_before(row))
            }
            Way::Absolute(row) => {
                self.may_scroll()?;
                self.know(i64::MAX).await?;
                let last = self.kept.as_ref().map_or(0, Kept::last);
                Ok(self.stand_before(last + 1 + row))
            }
            Way::Relative(by) => {
                self.may_scroll()?;
                Ok(self.stand_before(self.row.saturating_add(by)))
            }
            Way::Forward(count) => {
                self.may_scroll()?;
                Ok(Course { backward: true, left: count.saturating_neg() })
            }
            Way::Backward(count) => {
                self.may_scroll()?;
                Ok(Course { backward: true, left: count })
            }
        }
    }

    /// What it holds of the session's memory.
    pub(super) fn memory(&self) -> &Arc<MemoryReservation> {
        &self.memory
    }

    fn may_scroll(&self) -> QueryResult<()> {
        match self.scrolls {
            true => Ok(()),
            false => Err(QueryError::new("55000", "cursor can only scan forward")
                .with_hint("Declare it with SCROLL option to enable backward scan.")),
        }
    }

    /// Stands before a row that was read, to give it; before the first, if it is none.
    fn stand_before(&mut self, row: i64) -> Course {
        self.past = false;
        self.row = (row - 1).max(0);
        if row >= 1 { ONE } else { NOWHERE }
    }

    fn step_past(&mut self) {
        if !self.past {
            self.past = true;
            self.row += 1;
        }
    }

    /// Passes over rows as if they were given; how many there were.
    pub(super) async fn skip(&mut self, course: Course) -> QueryResult<i64> {
        let mut left = course.left;
        if self.kept.is_some() && !course.backward {
            self.know(self.row.saturating_add(left)).await?;
            let last = self.kept.as_ref().map_or(0, Kept::last);
            let there = if self.past { 0 } else { left.min(last - self.row).max(0) };
            self.row += there;
            if there < left {
                self.step_past();
            }
            return Ok(there);
        }
        if course.backward {
            let there = left.min(self.row - 1).max(0);
            self.row = if there < left { 0 } else { self.row - there };
            self.past &= there == 0 && left == 0;
            return Ok(there);
        }
        while left > 0 {
            match self.next(&mut Course { backward: false, left }).await? {
                Some(batch) => left -= batch.num_rows() as i64,
                None => break,
            }
        }
        Ok(course.left - left)
    }

    /// The next rows of a course, which is shorter by them; `None` at its end.
    pub(super) async fn next(&mut self, course: &mut Course) -> QueryResult<Option<RecordBatch>> {
        if course.left <= 0 {
            return Ok(None);
        }
        let given = match (course.backward, self.kept.is_some()) {
            (true, _) => self.next_backward(course.left).await?,
            (false, true) => self.next_kept(course.left).await?,
            (false, false) => self.next_read(course.left).await?,
        };
        course.left -= given.as_ref().map_or(0, |batch| batch.num_rows() as i64);
        Ok(given)
    }

    async fn next_kept(&mut self, most: i64) -> QueryResult<Option<RecordBatch>> {
        self.know(self.row.saturating_add(1)).await?;
        let row = self.row + 1;
        let Some(kept) = self.kept.as_mut().filter(|kept| !self.past && row <= kept.last()) else {
            self.step_past();
            return Ok(None);
        };
        let (before, batch) = kept.piece(row).await?;
        let from = (self.row - before) as usize;
        let count = batch.num_rows().saturating_sub(from).min(usize_of(most));
        self.row += count as i64;
        Ok(Some(batch.slice(from, count)))
    }

    async fn next_backward(&mut self, most: i64) -> QueryResult<Option<RecordBatch>> {
        let row = self.row - 1;
        let kept = self.kept.as_mut().filter(|_| row >= 1);
        self.past = false;
        let Some(kept) = kept else {
            self.row = 0;
            return Ok(None);
        };
        let (before, batch) = kept.piece(row).await?;
        let there = (row - before) as usize;
        let count = there.min(usize_of(most));
        let places = ((there - count) as u32..there as u32).rev();
        let reversed = take_record_batch(&batch, &UInt32Array::from_iter_values(places))?;
        self.row -= count as i64;
        Ok(Some(reversed))
    }

    /// The next rows of a cursor that keeps none.
    async fn next_read(&mut self, most: i64) -> QueryResult<Option<RecordBatch>> {
        loop {
            if let Some((batch, next)) = self.batch.take() {
                let there = batch.num_rows() - next;
                let count = usize_of(most).min(there);
                let given = batch.slice(next, count);
                if count < there {
                    self.batch = Some((batch, next + count));
                }
                self.row += count as i64;
                return Ok(Some(given));
            }
            match self.read().await? {
                Some(batch) => {
                    // Those that wait unseen are about as large.
                    self.memory.try_resize(BATCHES_HELD * batch.get_array_memory_size())?;
                    self.tell_memory();
                    self.batch = Some((batch, 0));
                }
                None => {
                    self.step_past();
                    return Ok(None);
                }
            }
        }
    }

    fn tell_memory(&self) {
        self.info.memory_bytes.store(self.memory.size() as u64, Ordering::Relaxed);
    }

    /// The next batch of the query that has rows.
    async fn read(&mut self) -> QueryResult<Option<RecordBatch>> {
        loop {
            let Some(source) = &mut self.source else { return Ok(None) };
            match source.stream.next().await {
                Some(Ok(batch)) if batch.num_rows() == 0 => {}
                Some(Ok(batch)) => return Ok(Some(batch)),
                Some(Err(error)) => return Err(error.into()),
                None => {
                    self.source = None;
                    if self.kept.is_none() {
                        self.memory.free();
                        self.tell_memory();
                    }
                }
            }
        }
    }

    /// Reads until the row of that number is kept, or all are.
    async fn know(&mut self, row: i64) -> QueryResult<()> {
        loop {
            // Where this is given up in its midst, the batch is kept by who comes next.
            if let (Some(batch), Some(kept)) = (&self.pending, &mut self.kept) {
                kept.push(batch).await?;
                self.pending = None;
            }
            if self.kept.as_ref().is_none_or(|kept| kept.last() >= row) {
                return Ok(());
            }
            self.pending = self.read().await?;
            if self.pending.is_none() {
                return Ok(());
            }
        }
    }

    /// Reads all that is left, so that the cursor needs its query no more. `keep` makes what keeps
    /// the rows behind that of a number, where nothing does so yet.
    pub(super) async fn hold(&mut self, keep: impl FnOnce(i64) -> Kept) -> QueryResult<()> {
        if self.kept.is_none() {
            // Behind the last row there is nothing to keep.
            self.memory.free();
            self.kept = Some(keep(self.row));
            self.pending =
                self.batch.take().map(|(batch, next)| batch.slice(next, batch.num_rows() - next));
        }
        self.know(i64::MAX).await
    }
}

fn usize_of(rows: i64) -> usize {
    usize::try_from(rows).unwrap_or(usize::MAX)
}
