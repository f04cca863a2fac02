//! Running plans: on the query runtime, through a bounded channel, until the end, a cancel, a
//! time-out, or the reader's leaving.
//!
//! A statement that must end is ended on both sides of the channel. Its operators look whether
//! they must stop (`guard`), and its reader does not wait until they have: an operator may be in
//! the midst of seconds of work, and the client gets its answer at once all the same.

mod guard;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt};
use tokio::sync::{mpsc, watch};

use crate::activity::{Query, Work};
use crate::admission::Slot;
use crate::engine::Counted;
use crate::error::{QueryError, QueryResult};

pub(crate) use guard::guard;

/// Batches on their way to a reader. Two: one being sent while the next is made.
const BATCHES_AHEAD: usize = 2;

/// How long a heavy statement's reader may let it wait before others have its place.
const LENDS_AFTER: Duration = Duration::from_millis(200);

/// Ends what it is handed to when somebody asks or time is up. Clones belong to one statement.
#[derive(Clone)]
pub(crate) struct Stop {
    asked: watch::Receiver<bool>,
    /// When the statement must be over.
    until: Option<tokio::time::Instant>,
    /// Set once somebody has acted on it, or has left. The session may run its next statement
    /// then, and `asked` speaks of that one.
    over: Arc<AtomicBool>,
}

impl Stop {
    pub(crate) fn new(asked: watch::Receiver<bool>, timeout: Option<Duration>) -> Stop {
        // `Instant` of tokio is the clock's; no runtime is needed to read it.
        let until = timeout.map(|t| tokio::time::Instant::now() + t);
        Stop { asked, until, over: Arc::default() }
    }

    /// For one more part of the same statement, which is not over when another part is.
    pub(crate) fn again(&self) -> Stop {
        Stop { asked: self.asked.clone(), until: self.until, over: Arc::default() }
    }

    /// Resolves with the error that ends the statement. Where no Tokio runtime polls it, it does
    /// not know of time; another clone on the query runtime does.
    pub(crate) async fn stopped(&mut self) -> QueryError {
        let asked = async {
            // The sender lives as long as the session; when it goes, so does the reader.
            if self.asked.wait_for(|asked| *asked).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let error = match self.until {
            Some(until) if tokio::runtime::Handle::try_current().is_ok() => tokio::select! {
                () = asked => QueryError::cancelled(),
                () = tokio::time::sleep_until(until) => QueryError::timed_out(),
            },
            _ => {
                asked.await;
                QueryError::cancelled()
            }
        };
        self.end();
        error
    }

    /// Ends all that looks at this statement's [`Stop`].
    fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    /// The error that ends the statement, if it must end now.
    pub(crate) fn check(&self) -> QueryResult<()> {
        if self.over.load(Ordering::Acquire) || *self.asked.borrow() {
            return Err(QueryError::cancelled());
        }
        match self.until {
            Some(until) if until <= tokio::time::Instant::now() => Err(QueryError::timed_out()),
            _ => Ok(()),
        }
    }

    /// Runs a future unless it is stopped before.
    pub(crate) async fn guard<T>(
        &mut self,
        work: impl Future<Output = QueryResult<T>>,
    ) -> QueryResult<T> {
        tokio::select! {
            biased;
            error = self.stopped() => Err(error),
            done = work => done,
        }
    }
}

/// Batches out of the query runtime. Dropping it ends the query.
struct Reader {
    schema: SchemaRef,
    batches: mpsc::Receiver<Result<RecordBatch>>,
    stop: Stop,
    /// Resolves when the statement must end; made when there is something to wait for.
    stopped: Option<BoxFuture<'static, QueryError>>,
    /// The transaction block, which fails with the statement.
    failed: Option<Arc<AtomicBool>>,
    ended: bool,
}

impl Stream for Reader {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        // What is there already is given: a result that is complete is no longer stopped.
        if let Poll::Ready(batch) = this.batches.poll_recv(cx) {
            this.ended = batch.is_none();
            return Poll::Ready(batch);
        }
        let stopped = this.stopped.get_or_insert_with(|| {
            let mut stop = this.stop.clone();
            async move { stop.stopped().await }.boxed()
        });
        let error = std::task::ready!(stopped.poll_unpin(cx));
        if let Some(failed) = &this.failed {
            failed.store(true, Ordering::Release);
        }
        this.ended = true;
        this.batches.close();
        Poll::Ready(Some(Err(error.into_datafusion())))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.end();
    }
}

impl RecordBatchStream for Reader {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

/// Rows that are read before their reader is told of them, and their bytes.
const AHEAD_ROWS_MAX: usize = 8_192;
const AHEAD_BYTES_MAX: usize = 1 << 20;

/// How long a statement may take that is held for small.
const AHEAD_TIME_MAX: Duration = Duration::from_millis(50);

/// Where batches come from.
pub(crate) enum Source {
    /// Operators that have not begun.
    Plan(Arc<dyn ExecutionPlan>, Arc<TaskContext>),
    /// Operators that have, with the batches they gave.
    Begun(Vec<RecordBatch>, SendableRecordBatchStream),
}

/// What reading ahead has found.
pub(crate) enum Ahead {
    /// All there is.
    All(Vec<RecordBatch>),
    /// The beginning of more.
    More(Source),
    /// What is not small after all: it takes long.
    Late(Source),
}

impl Source {
    fn start(self, stop: &Stop, query: Option<&Query>) -> Result<SendableRecordBatchStream> {
        let (plan, task) = match self {
            Source::Plan(plan, task) => (plan, task),
            Source::Begun(batches, stream) => {
                let schema = stream.schema();
                let batches = futures::stream::iter(batches.into_iter().map(Ok)).chain(stream);
                return Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)));
            }
        };
        let plan = guard(plan, stop)?;
        if let Some(query) = query {
            query.works(Work::Plan(Arc::clone(&plan)));
            query.run();
        }
        execute_stream(plan, task)
    }

    /// Reads what is small to its end, of more its beginning.
    pub(crate) async fn read_ahead(
        self,
        stop: &Stop,
        query: &Query,
        schema: &SchemaRef,
    ) -> QueryResult<Ahead> {
        let mut stream = self.start(stop, Some(query))?;
        let (mut batches, mut rows, mut bytes) = (Vec::new(), 0, 0);
        let until = tokio::time::Instant::now() + AHEAD_TIME_MAX;
        loop {
            let batch = match tokio::time::timeout_at(until, stream.next()).await {
                Ok(Some(batch)) => batch,
                Ok(None) => return Ok(Ahead::All(batches)),
                Err(_) => return Ok(Ahead::Late(Source::Begun(batches, stream))),
            };
            let batch = relabel(batch?, schema)?;
            rows += batch.num_rows();
            bytes += batch.get_array_memory_size();
            batches.push(batch);
            if rows > AHEAD_ROWS_MAX || bytes > AHEAD_BYTES_MAX {
                return Ok(Ahead::More(Source::Begun(batches, stream)));
            }
        }
    }
}

/// What a [`Driver`] drives.
pub(crate) struct Running {
    pub(crate) source: Source,
    pub(crate) stop: Stop,
    /// The flag of the transaction block.
    pub(crate) failed: Option<Arc<AtomicBool>>,
    /// Counts it as running until its work is over.
    pub(crate) counted: Counted,
    /// Its place among the heavy statements.
    pub(crate) slot: Option<Slot>,
    /// Is told what works for it.
    pub(crate) query: Option<Arc<Query>>,
}

/// The sending side of a [`Reader`].
pub(crate) struct Driver {
    schema: SchemaRef,
    batches: mpsc::Sender<Result<RecordBatch>>,
}

/// A reader and the driver that feeds it. `failed`: the flag of the transaction block.
pub(crate) fn channel(
    schema: SchemaRef,
    stop: Stop,
    failed: Option<Arc<AtomicBool>>,
) -> (SendableRecordBatchStream, Driver) {
    let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
    let reader = Reader {
        schema: schema.clone(),
        batches: receiver,
        stop,
        stopped: None,
        failed,
        ended: false,
    };
    (Box::pin(reader), Driver { schema, batches: sender })
}

impl Driver {
    /// Gives an error instead of rows.
    pub(crate) async fn fail(self, error: QueryError, failed: Option<Arc<AtomicBool>>) {
        if let Some(failed) = failed {
            failed.store(true, Ordering::Release);
        }
        // A reader that has left needs no error.
        let _ = self.batches.send(Err(error.into_datafusion())).await;
    }

    /// Runs the plan to its end.
    pub(crate) async fn run(self, running: Running) {
        let Running { source, mut stop, failed, counted, mut slot, query } = running;
        let fail = || {
            if let Some(failed) = &failed {
                failed.store(true, Ordering::Release);
            }
        };
        let started = source.start(&stop, query.as_deref());
        drop(query);
        let stream = match started {
            Ok(stream) => stream,
            Err(error) => {
                fail();
                // A reader that has left needs no error.
                let _ = self.batches.send(Err(error)).await;
                return;
            }
        };
        let ended = tokio::select! {
            biased;
            error = stop.stopped() => Some(error),
            () = self.batches.closed() => None,
            worked = self.pump(stream, slot.as_mut()) => {
                if !worked {
                    fail();
                }
                None
            }
        };
        drop(slot);
        if let Some(error) = ended {
            fail();
            let _ = self.batches.send(Err(error.into_datafusion())).await;
        }
        drop(counted);
    }

    /// Whether the stream came to its end, or its reader left, without an error.
    async fn pump(
        &self,
        mut stream: SendableRecordBatchStream,
        mut slot: Option<&mut Slot>,
    ) -> bool {
        while let Some(batch) = stream.next().await {
            let batch = batch.and_then(|batch| relabel(batch, &self.schema));
            let failed = batch.is_err();
            if failed {
                // The reader may have left; then nobody needs the error.
                let _ = self.batches.send(batch).await;
                return false;
            }
            match self.room(slot.as_deref_mut()).await {
                Ok(Some(room)) => room.send(batch),
                Ok(None) => return true,
                Err(error) => {
                    let _ = self.batches.send(Err(error.into_datafusion())).await;
                    return false;
                }
            }
        }
        true
    }

    /// Waits until the reader takes one more batch; `None` if it has left. A heavy statement whose
    /// reader is slow lends its place to others meanwhile.
    async fn room(
        &self,
        slot: Option<&mut Slot>,
    ) -> QueryResult<Option<mpsc::Permit<'_, Result<RecordBatch>>>> {
        let Some(slot) = slot else { return Ok(self.batches.reserve().await.ok()) };
        match tokio::time::timeout(LENDS_AFTER, self.batches.reserve()).await {
            Ok(room) => Ok(room.ok()),
            Err(_) => {
                slot.pause();
                let Ok(room) = self.batches.reserve().await else { return Ok(None) };
                slot.resume().await?;
                Ok(Some(room))
            }
        }
    }
}

/// The batch under the names of the result.
pub(crate) fn relabel(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if batch.schema_ref() == schema {
        return Ok(batch);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), batch.columns().to_vec(), &options)?)
}

/// A stream of batches that are there already.
pub(crate) fn ready(schema: SchemaRef, batches: Vec<RecordBatch>) -> SendableRecordBatchStream {
    let batches = futures::stream::iter(batches.into_iter().map(Ok));
    Box::pin(RecordBatchStreamAdapter::new(schema, batches))
}
