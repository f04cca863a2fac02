//! Cursors of SQL: a query that runs as far as it is asked for its rows. A cursor belongs to the
//! transaction block that declares it, reads its snapshot, forward only, and holds no more rows
//! than any other result on its way to a slow reader.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use chrono::Utc;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::scalar::ScalarValue;
use futures::{StreamExt, stream};
use tokio::sync::{OwnedMutexGuard, watch};

use super::Session;
use super::query::Ending;
use crate::Outcome;
use crate::error::{QueryError, QueryResult};
use crate::run::Stop;
use crate::statement::cursor::{OfCursor, Way};
use crate::statement::{Kind, Statement};

/// Cursors that a block may have open; each holds a query that waits.
const CURSORS_MAX: usize = 100;

/// An open cursor.
pub(crate) struct Cursor {
    name: String,
    /// Counts the cursors of a block.
    serial: u64,
    text: String,
    created_us: i64,
    schema: SchemaRef,
    /// Locked by the FETCH that reads.
    reading: Arc<tokio::sync::Mutex<Reading>>,
}

/// How far a cursor was read.
struct Reading {
    stream: SendableRecordBatchStream,
    /// The batch in hand and its next row.
    batch: Option<(RecordBatch, usize)>,
    /// Rows that were read.
    rows: i64,
    ended: bool,
    /// An error has ended it.
    broken: bool,
    /// Ends the query when the cursor goes.
    _ends: Ends,
}

struct Ends(watch::Sender<bool>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

/// A cursor as pg_cursors shows it.
#[derive(Clone, Debug)]
pub(crate) struct CursorInfo {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) created_us: i64,
}

/// The cursors of a block.
#[derive(Default)]
pub(super) struct Cursors {
    open: Vec<Cursor>,
    next: u64,
}

impl Cursors {
    /// What comes from now on has this number or a later one.
    pub(super) fn mark(&self) -> u64 {
        self.next
    }

    /// Closes what came since.
    pub(super) fn back_to(&mut self, mark: u64) {
        self.open.retain(|cursor| cursor.serial < mark);
    }

    pub(super) fn shown(&self) -> Vec<CursorInfo> {
        let shown = |cursor: &Cursor| CursorInfo {
            name: cursor.name.clone(),
            text: cursor.text.clone(),
            created_us: cursor.created_us,
        };
        self.open.iter().map(shown).collect()
    }

    fn find(&self, name: &str) -> QueryResult<&Cursor> {
        self.open.iter().find(|cursor| cursor.name == name).ok_or_else(|| missing(name))
    }
}

fn missing(name: &str) -> QueryError {
    QueryError::new("34000", format!("cursor \"{name}\" does not exist"))
}

impl Session {
    pub(super) async fn of_cursor(
        &self,
        statement: &Statement,
        of: &OfCursor,
        params: &[ScalarValue],
    ) -> QueryResult<Outcome> {
        match of {
            OfCursor::Declare { name, statement: query } => {
                self.declare(name, statement, query, params).await
            }
            OfCursor::Fetch { name, way, rows } => self.fetch(name, *way, *rows).await,
            OfCursor::Close(name) => self.close_cursor(name.as_deref()),
        }
    }

    async fn declare(
        &self,
        name: &str,
        statement: &Statement,
        query: &Statement,
        params: &[ScalarValue],
    ) -> QueryResult<Outcome> {
        self.with_cursors(|cursors| -> QueryResult<()> {
            let cursors = cursors.ok_or_else(|| {
                let message = "DECLARE CURSOR can only be used in transaction blocks";
                QueryError::new("25P01", message)
            })?;
            if cursors.find(name).is_ok() {
                let message = format!("cursor \"{name}\" already exists");
                return Err(QueryError::new("42P03", message));
            }
            if cursors.open.len() >= CURSORS_MAX {
                let message = format!("a transaction may have {CURSORS_MAX} cursors open");
                return Err(QueryError::new("54000", message));
            }
            Ok(())
        })?;
        let Kind::Query(ast) = query.kind() else {
            return Err(QueryError::internal("a cursor of something else than a query"));
        };
        // The query outlives this statement: it ends with the cursor, and an error that it meets
        // ahead of its reader is none until it is read.
        let ends = Ends(watch::Sender::new(false));
        let stop = Stop::new(ends.0.subscribe(), None);
        let ending = Ending { stop, failed: None, ahead: false };
        let started = self.query_rows(query, ast, params, ending);
        let (schema, stream) = self.stop().guard(started).await?;
        let reading =
            Reading { stream, batch: None, rows: 0, ended: false, broken: false, _ends: ends };
        let text = statement.text().to_string();
        self.with_cursors(|cursors| -> QueryResult<()> {
            let Some(cursors) = cursors else {
                return Err(QueryError::internal("a block ended under its statement"));
            };
            cursors.open.push(Cursor {
                name: name.to_string(),
                serial: cursors.next,
                text,
                created_us: Utc::now().timestamp_micros(),
                schema,
                reading: Arc::new(tokio::sync::Mutex::new(reading)),
            });
            cursors.next += 1;
            Ok(())
        })?;
        Ok(Outcome::Done { tag: "DECLARE CURSOR".into() })
    }

    async fn fetch(&self, name: &str, way: Way, rows: bool) -> QueryResult<Outcome> {
        let (schema, reading) = self.with_cursors(|cursors| -> QueryResult<_> {
            let cursor = cursors.ok_or_else(|| missing(name))?.find(name)?;
            Ok((cursor.schema.clone(), cursor.reading.clone()))
        })?;
        let Ok(mut reading) = reading.try_lock_owned() else {
            let message = format!("cursor \"{name}\" is still being read by an earlier FETCH");
            return Err(QueryError::new("55006", message));
        };
        if reading.broken {
            return Err(QueryError::new("55000", format!("cursor \"{name}\" cannot be run")));
        }
        let mut stop = self.stop();
        let (skipped, count) = reading.steps(way)?;
        let skipping = async {
            let passed = reading.skip(skipped).await?;
            // Short of the row that was asked for there is none.
            let count = if passed < skipped { 0 } else { count };
            match rows {
                true => Ok((count, 0)),
                false => Ok((count, reading.skip(count).await?)),
            }
        };
        let (count, moved) = match stop.guard(skipping).await {
            Ok(done) => done,
            Err(error) => {
                reading.broken = true;
                return Err(error);
            }
        };
        if !rows {
            return Ok(Outcome::Done { tag: format!("MOVE {moved}") });
        }
        let failed = self.failure_flag();
        let fetch = Fetch { reading, left: count, stop, failed };
        let batches = stream::unfold(Some(fetch), |fetch| async {
            let mut fetch = fetch?;
            match fetch.next().await {
                Ok(batch) => batch.map(|batch| (Ok(batch), Some(fetch))),
                Err(error) => Some((Err(error.into_datafusion()), None)),
            }
        });
        let stream = Box::pin(RecordBatchStreamAdapter::new(schema.clone(), batches));
        Ok(Outcome::Rows { schema, stream, verb: "FETCH" })
    }

    fn close_cursor(&self, name: Option<&str>) -> QueryResult<Outcome> {
        self.with_cursors(|cursors| match (name, cursors) {
            (None, cursors) => {
                if let Some(cursors) = cursors {
                    cursors.open.clear();
                }
                Ok(Outcome::Done { tag: "CLOSE CURSOR ALL".into() })
            }
            (Some(name), cursors) => {
                let cursors = cursors.ok_or_else(|| missing(name))?;
                cursors.find(name)?;
                cursors.open.retain(|cursor| cursor.name != name);
                Ok(Outcome::Done { tag: "CLOSE CURSOR".into() })
            }
        })
    }

    /// Columns of an open cursor, which clients of the protocol may ask for as for a portal.
    pub fn cursor_fields(&self, name: &str) -> Option<SchemaRef> {
        self.with_cursors(|cursors| Some(cursors?.find(name).ok()?.schema.clone()))
    }

    pub(super) fn described_cursor(&self, of: &OfCursor) -> QueryResult<Option<SchemaRef>> {
        match of {
            OfCursor::Fetch { name, rows: true, .. } => {
                self.cursor_fields(name).map(Some).ok_or_else(|| missing(name))
            }
            _ => Ok(None),
        }
    }

    fn with_cursors<T>(&self, look: impl FnOnce(Option<&mut Cursors>) -> T) -> T {
        let mut state = self.state.lock();
        look(state.transaction.as_mut().map(|block| &mut block.cursors))
    }
}

impl Reading {
    /// Rows to pass over and rows to give then.
    fn steps(&self, way: Way) -> QueryResult<(i64, i64)> {
        let on_row = self.rows > 0 && !self.ended;
        match way {
            Way::All => Ok((0, i64::MAX)),
            Way::Forward(count @ 1..) => Ok((0, count)),
            Way::Absolute(row) if row > self.rows => Ok((row - 1 - self.rows, 1)),
            Way::Relative(by @ 1..) => Ok((by - 1, 1)),
            // The row that the cursor stands on, where it stands on none.
            Way::Forward(0) | Way::Relative(0) if !on_row => Ok((0, 0)),
            _ => Err(QueryError::new("55000", "cursor can only scan forward")),
        }
    }

    /// Passes over rows; how many there were.
    async fn skip(&mut self, rows: i64) -> QueryResult<i64> {
        let mut passed = 0;
        while passed < rows {
            match self.take(rows - passed).await? {
                Some(batch) => passed += batch.num_rows() as i64,
                None => break,
            }
        }
        Ok(passed)
    }

    /// The next rows, at most so many; `None` at the end.
    async fn take(&mut self, most: i64) -> QueryResult<Option<RecordBatch>> {
        loop {
            if let Some((batch, next)) = self.batch.take() {
                let there = batch.num_rows() - next;
                let count = usize::try_from(most).unwrap_or(usize::MAX).min(there);
                let given = batch.slice(next, count);
                if count < there {
                    self.batch = Some((batch, next + count));
                }
                self.rows += count as i64;
                return Ok(Some(given));
            }
            if self.ended {
                return Ok(None);
            }
            match self.stream.next().await {
                Some(Ok(batch)) if batch.num_rows() == 0 => {}
                Some(Ok(batch)) => self.batch = Some((batch, 0)),
                Some(Err(error)) => return Err(error.into()),
                None => self.ended = true,
            }
        }
    }
}

/// A FETCH under way.
struct Fetch {
    reading: OwnedMutexGuard<Reading>,
    left: i64,
    stop: Stop,
    failed: Option<Arc<std::sync::atomic::AtomicBool>>,
}

impl Fetch {
    async fn next(&mut self) -> QueryResult<Option<RecordBatch>> {
        if self.left <= 0 {
            return Ok(None);
        }
        let taken = self.stop.guard(self.reading.take(self.left)).await;
        match taken {
            Ok(batch) => {
                self.left -= batch.as_ref().map_or(0, |batch| batch.num_rows() as i64);
                Ok(batch)
            }
            Err(error) => {
                self.reading.broken = true;
                if let Some(failed) = &self.failed {
                    failed.store(true, std::sync::atomic::Ordering::Release);
                }
                Err(error)
            }
        }
    }
}
