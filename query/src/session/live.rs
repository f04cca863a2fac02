//! The one place where a statement is entered into what runs, and left.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{Stream, StreamExt};

use super::Session;
use crate::Outcome;
use crate::activity::{Live, Start};
use crate::error::{QueryError, QueryResult};
use crate::run::Stop;
use crate::statement::Statement;

impl Session {
    /// A statement begins.
    pub(super) fn enter(&self, statement: &Statement) -> QueryResult<Live> {
        self.enter_text(statement.text(), None)
    }

    /// As [`Session::enter`], for what has a limit of time of its own beside that of the session.
    pub(super) fn enter_text(&self, text: &str, limit: Option<Duration>) -> QueryResult<Live> {
        // In this order: an end that comes in between cancels what is begun here.
        self.client.cancel.send_replace(false);
        if self.client.has_ended() {
            let message = "terminating connection due to administrator command";
            return Err(QueryError::new("57P01", message));
        }
        let settings = self.settings();
        let timeout = [limit, settings.statement_timeout()].into_iter().flatten().min();
        let start = Start {
            text,
            priority: settings.priority(),
            memory: self.engine.share(settings.query_memory()),
            stop: Stop::new(self.client.cancel.subscribe(), timeout),
            slow_after_us: settings.slow_query_after_us(),
        };
        let live = self.engine.activity().start(&self.client, start);
        let mut state = self.state.lock();
        state.query = Some(Arc::clone(live.query()));
        if state.transaction.is_none() {
            // Of a statement that has failed.
            self.client.asked.take();
        }
        // A COPY that was never ended is forgotten with what it has not committed.
        let copy = state.copy.take();
        drop(state);
        drop(copy);
        Ok(live)
    }

    /// A statement has come so far: what it still gives keeps it among those that run.
    pub(super) fn leave(&self, live: Live, done: QueryResult<Outcome>) -> QueryResult<Outcome> {
        self.note_block();
        if let Some(name) = self.settings().get("application_name") {
            self.client.set_application(name);
        }
        match done {
            Ok(Outcome::Rows { schema, stream, verb }) => {
                let stream = self.followed(live, stream);
                Ok(Outcome::Rows { schema, stream, verb })
            }
            Ok(Outcome::CopyOut { schema, stream, options, file, progress }) => {
                let stream = self.followed(live, stream);
                Ok(Outcome::CopyOut { schema, stream, options, file, progress })
            }
            Ok(Outcome::CopyIn { format, columns }) => {
                if let Some(copy) = &mut self.state.lock().copy {
                    copy.live = Some(live);
                }
                Ok(Outcome::CopyIn { format, columns })
            }
            Ok(other) => {
                self.notifier()().inspect_err(|error| live.query().fail(error.code))?;
                Ok(other)
            }
            Err(error) => {
                live.query().fail(error.code);
                Err(error)
            }
        }
    }

    /// Tells others whether a transaction block is open.
    fn note_block(&self) {
        let block = match &self.state.lock().transaction {
            Some(block) if !block.is_implicit() => Some(Arc::clone(&block.failed)),
            _ => None,
        };
        self.client.set_block(block);
    }

    /// Hands out what the functions of a statement have notified, unless a block waits for its COMMIT.
    fn notifier(&self) -> impl FnOnce() -> QueryResult<()> + Send + 'static {
        let (waits, client) = (self.in_any_block(), Arc::clone(&self.client));
        let engine = Arc::clone(&self.engine);
        move || {
            if waits {
                return Ok(());
            }
            let actions = client.asked.take();
            if !actions.is_empty() {
                engine.channels().check(&client.inbox, &actions)?;
                engine.channels().apply(client.process(), &client.inbox, actions);
            }
            Ok(())
        }
    }

    fn followed(&self, live: Live, stream: SendableRecordBatchStream) -> SendableRecordBatchStream {
        Box::pin(Followed {
            schema: stream.schema(),
            stop: live.query().stop(),
            stream,
            failed: self.failure_flag(),
            notify: Some(Box::new(self.notifier())),
            live: Some(live),
            idle: None,
        })
    }
}

/// The rows of a statement on their way to its reader.
struct Followed {
    schema: SchemaRef,
    stream: SendableRecordBatchStream,
    /// Rows that are there already would pass by without looking at it.
    stop: Stop,
    failed: Option<Arc<AtomicBool>>,
    /// To be called at the end.
    notify: Option<Box<dyn FnOnce() -> QueryResult<()> + Send>>,
    /// `None` at the end.
    live: Option<Live>,
    /// Since when the reader has asked for nothing.
    idle: Option<Instant>,
}

impl Followed {
    /// What the reader gets, and what that means for the statement.
    fn note(&mut self, batch: Option<Result<RecordBatch>>) -> Option<Result<RecordBatch>> {
        let Some(live) = &self.live else { return None };
        let (batch, code) = match batch {
            Some(Ok(batch)) => {
                live.query().give(batch.num_rows() as u64);
                self.idle = Some(Instant::now());
                return Some(Ok(batch));
            }
            Some(Err(error)) => {
                let error = QueryError::from(error);
                let code = error.code;
                (Some(Err(error.into_datafusion())), Some(code))
            }
            None => match self.notify.take().map_or(Ok(()), |notify| notify()) {
                Ok(()) => (None, None),
                Err(error) => {
                    let code = error.code;
                    (Some(Err(error.into_datafusion())), Some(code))
                }
            },
        };
        if let Some(code) = code {
            live.query().fail(code);
            if let Some(failed) = &self.failed {
                failed.store(true, Ordering::Release);
            }
        }
        self.live = None;
        batch
    }
}

impl Stream for Followed {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(live) = &this.live else { return Poll::Ready(None) };
        if let Some(since) = this.idle.take() {
            live.query().waits_for_reader(since);
        }
        if let Err(error) = this.stop.check() {
            return Poll::Ready(this.note(Some(Err(error.into_datafusion()))));
        }
        let batch = std::task::ready!(this.stream.poll_next_unpin(cx));
        Poll::Ready(this.note(batch))
    }
}

impl RecordBatchStream for Followed {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

/// Ends a result behind the last row that may be given, if there are more.
pub(crate) fn limit_rows(
    stream: SendableRecordBatchStream,
    rows_max: Option<u64>,
) -> SendableRecordBatchStream {
    let Some(rows_max) = rows_max else { return stream };
    let schema = stream.schema();
    let mut left = usize::try_from(rows_max).unwrap_or(usize::MAX);
    let batches = stream.flat_map(move |batch| {
        let (given, over) = match batch {
            Ok(batch) => {
                let count = batch.num_rows().min(left);
                left -= count;
                (Ok(batch.slice(0, count)), count < batch.num_rows())
            }
            error => (error, false),
        };
        futures::stream::iter([Some(given), over.then(|| Err(too_many(rows_max)))])
    });
    let batches = futures::stream::unfold(Some(batches), |batches| async {
        let mut batches = batches?;
        loop {
            if let Some(batch) = batches.next().await? {
                let more = batch.is_ok().then_some(batches);
                return Some((batch, more));
            }
        }
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, batches))
}

fn too_many(rows_max: u64) -> DataFusionError {
    QueryError::new("53400", format!("the result has more than {rows_max} rows"))
        .with_hint("Setting millrace.max_result_rows, which a role may limit.")
        .into_datafusion()
}
