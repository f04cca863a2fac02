//! Cursors of SQL: a query that runs as far as it is asked for its rows. A cursor belongs to the
//! transaction block that declares it and reads its snapshot; one WITH HOLD is read to its end at
//! COMMIT and lives on with its rows. What scrolls keeps the rows that were read (`kept`), any other
//! holds no more than a result on its way to a slow reader.

mod kept;
mod reading;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use chrono::Utc;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::scalar::ScalarValue;
use futures::stream;
use tokio::sync::{OwnedMutexGuard, watch};

use super::Session;
use super::query::Ending;
use crate::Outcome;
use crate::error::{QueryError, QueryResult};
use crate::run::Stop;
use crate::statement::cursor::{OfCursor, Options, Way};
use crate::statement::{Kind, Statement};
use kept::Kept;
use reading::{Course, Ends, Reading, Source};

/// Cursors that a session may have open; each holds a query that waits, or rows.
const CURSORS_MAX: usize = 100;

/// An open cursor.
pub(crate) struct Cursor {
    /// Counts the cursors of a block.
    serial: u64,
    info: Arc<CursorInfo>,
    schema: SchemaRef,
    /// Locked by the FETCH that reads.
    reading: Arc<tokio::sync::Mutex<Reading>>,
}

/// A cursor as pg_cursors and sys.cursors show it.
#[derive(Debug, Default)]
pub(crate) struct CursorInfo {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) created_us: i64,
    pub(crate) scrolls: bool,
    pub(crate) held: bool,
    /// Rows that it keeps.
    pub(crate) rows: AtomicU64,
    pub(crate) memory_bytes: AtomicU64,
    pub(crate) spilled_bytes: AtomicU64,
}

/// The cursors of a block, or those that have outlived theirs.
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

    pub(super) fn shown(&self) -> impl Iterator<Item = Arc<CursorInfo>> + '_ {
        self.open.iter().map(|cursor| cursor.info.clone())
    }

    /// Those that outlive their block.
    pub(super) fn held(self) -> Vec<Cursor> {
        self.open.into_iter().filter(|cursor| cursor.info.held).collect()
    }

    pub(super) fn add(&mut self, cursors: Vec<Cursor>) {
        self.open.extend(cursors);
    }

    fn find(&self, name: &str) -> Option<&Cursor> {
        self.open.iter().find(|cursor| cursor.info.name == name)
    }
}

fn missing(name: &str) -> QueryError {
    QueryError::new("34000", format!("cursor \"{name}\" does not exist"))
}

fn read_elsewhere(name: &str) -> QueryError {
    let message = format!("cursor \"{name}\" is still being read by an earlier FETCH");
    QueryError::new("55006", message)
}

impl Session {
    pub(super) async fn of_cursor(
        &self,
        statement: &Statement,
        of: &OfCursor,
        params: &[ScalarValue],
    ) -> QueryResult<Outcome> {
        match of {
            OfCursor::Declare { name, statement: query, options } => {
                self.declare(name, *options, statement, query, params).await
            }
            OfCursor::Fetch { name, way, rows } => self.fetch(name, *way, *rows).await,
            OfCursor::Close(name) => self.close_cursor(name.as_deref()),
        }
    }

    async fn declare(
        &self,
        name: &str,
        options: Options,
        statement: &Statement,
        query: &Statement,
        params: &[ScalarValue],
    ) -> QueryResult<Outcome> {
        self.check_declare(name, options)?;
        let Kind::Query(ast) = query.kind() else {
            return Err(QueryError::internal("a cursor of something else than a query"));
        };
        let Options { scrolls, held } = options;
        let info = Arc::new(CursorInfo {
            name: name.to_string(),
            text: statement.text().to_string(),
            created_us: Utc::now().timestamp_micros(),
            scrolls,
            held,
            ..CursorInfo::default()
        });
        // The query outlives this statement: it ends with the cursor, and an error that it meets
        // ahead of its reader is none until it is read.
        let ends = Ends(watch::Sender::new(false));
        let stop = Stop::new(ends.0.subscribe(), None);
        let ending = Ending { stop, failed: None, ahead: false };
        let started = self.query_rows(query, ast, params, ending);
        let (schema, stream) = self.stop().guard(started).await?;
        let source = Source { stream, _ends: ends };
        // It is taken from the share of the statement that declares the cursor.
        let query = self.query_now()?;
        let memory = MemoryConsumer::new("cursor").register(query.memory.pool());
        let memory = Arc::new(memory);
        let keeper = self.keeper(&schema, &memory, &info)?;
        let kept = scrolls.then(|| keeper(0));
        let reading = Reading::new(source, kept, scrolls, memory, info.clone());
        let reading = Arc::new(tokio::sync::Mutex::new(reading));
        let mut cursor = Cursor { serial: 0, info: info.clone(), schema, reading };
        self.client.show_cursor(&info);
        if !self.in_any_block() {
            // Its block ends with the statement.
            self.hold_one(&cursor).await?;
            self.state.lock().held.add(vec![cursor]);
            return Ok(Outcome::Done { tag: "DECLARE CURSOR".into() });
        }
        let mut state = self.state.lock();
        let Some(block) = &mut state.transaction else {
            return Err(QueryError::internal("a block ended under its statement"));
        };
        cursor.serial = block.cursors.next;
        block.cursors.next += 1;
        block.cursors.open.push(cursor);
        Ok(Outcome::Done { tag: "DECLARE CURSOR".into() })
    }

    /// Whether a cursor of that name may be made.
    fn check_declare(&self, name: &str, options: Options) -> QueryResult<()> {
        let state = self.state.lock();
        let of_block = state.transaction.as_ref().map(|block| &block.cursors);
        if of_block.is_none() && !options.held {
            let message = "DECLARE CURSOR can only be used in transaction blocks";
            return Err(QueryError::new("25P01", message));
        }
        let all = || [Some(&state.held), of_block].into_iter().flatten();
        if all().any(|cursors| cursors.find(name).is_some()) {
            let message = format!("cursor \"{name}\" already exists");
            return Err(QueryError::new("42P03", message));
        }
        if all().map(|cursors| cursors.open.len()).sum::<usize>() >= CURSORS_MAX {
            let message = format!("a session may have {CURSORS_MAX} cursors open");
            return Err(QueryError::new("54000", message));
        }
        Ok(())
    }

    /// Makes what keeps a cursor's rows behind that of a number.
    fn keeper(
        &self,
        schema: &SchemaRef,
        memory: &Arc<MemoryReservation>,
        info: &Arc<CursorInfo>,
    ) -> QueryResult<impl FnOnce(i64) -> Kept + use<>> {
        let (schema, info) = (schema.clone(), info.clone());
        let memory = (memory.clone(), self.settings().cursor_memory());
        let place = (self.engine.base().runtime_env().clone(), self.engine.runtime()?.clone());
        Ok(move |before| Kept::new(schema, before, memory, place, info))
    }

    /// Reads the cursors of a block that outlive it to their ends.
    pub(super) async fn hold(&self, cursors: &Cursors) -> QueryResult<()> {
        for cursor in cursors.open.iter().filter(|cursor| cursor.info.held) {
            self.hold_one(cursor).await?;
        }
        Ok(())
    }

    async fn hold_one(&self, cursor: &Cursor) -> QueryResult<()> {
        let reading = cursor.reading.clone().try_lock_owned();
        let mut reading = reading.map_err(|_| read_elsewhere(&cursor.info.name))?;
        if reading.broken {
            return Ok(());
        }
        let keeper = self.keeper(&cursor.schema, reading.memory(), &cursor.info)?;
        self.stop().guard(reading.hold(keeper)).await
    }

    async fn fetch(&self, name: &str, way: Way, rows: bool) -> QueryResult<Outcome> {
        let (schema, reading) = self.find_cursor(name).ok_or_else(|| missing(name))?;
        let mut reading = reading.try_lock_owned().map_err(|_| read_elsewhere(name))?;
        if reading.broken {
            return Err(QueryError::new("55000", format!("cursor \"{name}\" cannot be run")));
        }
        let mut stop = self.stop();
        let going = async {
            let course = reading.begin(way).await?;
            match rows {
                true => Ok((course, 0)),
                false => Ok((course, reading.skip(course).await?)),
            }
        };
        let (course, moved) = match stop.guard(going).await {
            Ok(done) => done,
            Err(error) => {
                // That a cursor cannot go back changes nothing.
                reading.broken = error.code != "55000";
                return Err(error);
            }
        };
        if !rows {
            return Ok(Outcome::Done { tag: format!("MOVE {moved}") });
        }
        let failed = self.failure_flag();
        let fetch = Fetch { reading, course, stop, failed };
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
        let mut state = self.state.lock();
        let state = &mut *state;
        let of_block = state.transaction.as_mut().map(|block| &mut block.cursors);
        let mut closed = 0;
        for cursors in [Some(&mut state.held), of_block].into_iter().flatten() {
            let before = cursors.open.len();
            cursors.open.retain(|cursor| name.is_some_and(|name| cursor.info.name != name));
            closed += before - cursors.open.len();
        }
        match name {
            None => Ok(Outcome::Done { tag: "CLOSE CURSOR ALL".into() }),
            Some(name) if closed == 0 => Err(missing(name)),
            Some(_) => Ok(Outcome::Done { tag: "CLOSE CURSOR".into() }),
        }
    }

    /// Closes all cursors.
    pub(super) fn close_cursors(&self) -> QueryResult<()> {
        self.close_cursor(None).map(drop)
    }

    /// Columns of an open cursor, which clients of the protocol may ask for as for a portal.
    pub fn cursor_fields(&self, name: &str) -> Option<SchemaRef> {
        self.find_cursor(name).map(|(schema, _)| schema)
    }

    pub(super) fn described_cursor(&self, of: &OfCursor) -> QueryResult<Option<SchemaRef>> {
        match of {
            OfCursor::Fetch { name, rows: true, .. } => {
                self.cursor_fields(name).map(Some).ok_or_else(|| missing(name))
            }
            _ => Ok(None),
        }
    }

    fn find_cursor(&self, name: &str) -> Option<(SchemaRef, Arc<tokio::sync::Mutex<Reading>>)> {
        let state = self.state.lock();
        let of_block = state.transaction.as_ref().map(|block| &block.cursors);
        let found = of_block.into_iter().chain([&state.held]).find_map(|all| all.find(name))?;
        Some((found.schema.clone(), found.reading.clone()))
    }
}

/// A FETCH under way.
struct Fetch {
    reading: OwnedMutexGuard<Reading>,
    course: Course,
    stop: Stop,
    failed: Option<Arc<std::sync::atomic::AtomicBool>>,
}

impl Fetch {
    async fn next(&mut self) -> QueryResult<Option<RecordBatch>> {
        match self.stop.guard(self.reading.next(&mut self.course)).await {
            Ok(batch) => Ok(batch),
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
