//! A backend without an engine: statements whose first word says how they behave.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::scalar::ScalarValue;
use futures::Stream;
use management::LoginFailed;
use parking_lot::Mutex;
use query::{
    CopyFormat, CopyHeader, CopyOptions, Description, Identity, OfPrepared, Outcome, QueryError,
    QueryResult, TransactionStatus,
};
use tokio::sync::Notify;

use super::backend::{Backend, BackendSession, Exchange, error};

/// Rows of a batch.
const BATCH_ROWS: usize = 1000;

/// What the tests look at.
#[derive(Default)]
pub struct Fake {
    /// Told when a statement began to wait.
    pub sleeping: Arc<Notify>,
    /// Told when a hanging stream was dropped.
    pub dropped: Arc<Notify>,
    /// Batches made.
    pub batches: Arc<AtomicUsize>,
    /// Calls of cancel.
    pub cancelled: Arc<AtomicUsize>,
    /// Where log-ins came from.
    pub sources: Mutex<Vec<Option<IpAddr>>>,
}

pub struct FakeSession {
    sleeping: Arc<Notify>,
    dropped: Arc<Notify>,
    batches: Arc<AtomicUsize>,
    cancelled: Arc<AtomicUsize>,
    wake: Notify,
    asleep: AtomicBool,
    implicit: AtomicBool,
    /// Bytes of the COPY under way.
    copied: AtomicUsize,
    status: Mutex<TransactionStatus>,
    /// A setting that RESET changes without saying so.
    application: Mutex<String>,
}

/// Knows ann, whose proof is the word right.
struct FakeExchange {
    user: String,
}

impl Exchange for FakeExchange {
    fn first(&mut self, client_first: &[u8]) -> Result<Vec<u8>, LoginFailed> {
        if self.user == "broken" {
            return Err(LoginFailed { reason_for_log: "malformed".into() });
        }
        if client_first != b"hello" {
            return Err(LoginFailed { reason_for_log: "unheard of".into() });
        }
        Ok(b"challenge".to_vec())
    }

    fn last(&mut self, client_final: &[u8]) -> Result<(Vec<u8>, Identity), LoginFailed> {
        if self.user != "ann" || client_final != b"right" {
            return Err(LoginFailed { reason_for_log: "wrong".into() });
        }
        let user = self.user.clone();
        let settings = query::RoleSettings::default();
        let identity = Identity {
            user,
            oid: 10,
            superuser: true,
            can_read: true,
            can_write: true,
            can_define: true,
            settings,
        };
        Ok((b"proof".to_vec(), identity))
    }
}

impl Backend for Fake {
    type Session = FakeSession;

    fn exchange(&self, user: &str, source: Option<IpAddr>) -> Box<dyn Exchange> {
        self.sources.lock().push(source);
        Box::new(FakeExchange { user: user.to_owned() })
    }

    fn session(&self, _: Identity, _: &[(String, String)]) -> FakeSession {
        FakeSession {
            sleeping: Arc::clone(&self.sleeping),
            dropped: Arc::clone(&self.dropped),
            batches: Arc::clone(&self.batches),
            cancelled: Arc::clone(&self.cancelled),
            wake: Notify::new(),
            asleep: AtomicBool::new(false),
            implicit: AtomicBool::new(false),
            copied: AtomicUsize::new(0),
            status: Mutex::new(TransactionStatus::Idle),
            application: Mutex::default(),
        }
    }
}

fn copy_options(format: Option<&str>) -> CopyOptions {
    let format = match format {
        Some("binary") => CopyFormat::Binary,
        Some("csv") => CopyFormat::Csv,
        _ => CopyFormat::Text,
    };
    CopyOptions {
        format,
        delimiter: b',',
        null: "\\N".into(),
        header: CopyHeader::No,
        quote: b'"',
        escape: b'"',
        compression: Default::default(),
    }
}

fn schema(name: &str, data_type: DataType) -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(name, data_type, true)]))
}

fn rows(
    schema: SchemaRef,
    stream: impl Stream<Item = DfResult<RecordBatch>> + Send + 'static,
) -> Outcome {
    let adapter = RecordBatchStreamAdapter::new(Arc::clone(&schema), stream);
    let stream: SendableRecordBatchStream = Box::pin(adapter);
    Outcome::Rows { schema, stream, verb: "SELECT" }
}

/// Never gives anything; says when it is dropped.
struct Hanging(Arc<Notify>);

impl Stream for Hanging {
    type Item = DfResult<RecordBatch>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Pending
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl FakeSession {
    fn counted(&self, count: usize) -> Outcome {
        let schema = schema("n", DataType::Int64);
        let (made, of_batch) = (Arc::clone(&self.batches), Arc::clone(&schema));
        let starts = (0..count).step_by(BATCH_ROWS);
        let batches = starts.map(move |start| {
            made.fetch_add(1, Ordering::SeqCst);
            let values = start..count.min(start + BATCH_ROWS);
            let column: ArrayRef =
                Arc::new(Int64Array::from_iter_values(values.map(|value| value as i64)));
            Ok(RecordBatch::try_new(Arc::clone(&of_batch), vec![column])?)
        });
        rows(schema, futures::stream::iter(batches))
    }

    fn failing_midway(&self) -> Outcome {
        let schema = schema("n", DataType::Int64);
        let column: ArrayRef = Arc::new(Int64Array::from(vec![0]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column]);
        let failure = DataFusionError::External(Box::new(error("22012", "division".into())));
        let stream = futures::stream::iter(vec![batch.map_err(Into::into), Err(failure)]);
        rows(schema, stream)
    }

    fn transact(&self, verb: &str, status: TransactionStatus) -> Outcome {
        *self.status.lock() = status;
        Outcome::Done { tag: verb.to_owned() }
    }
}

impl BackendSession for FakeSession {
    type Statement = String;

    fn parse(&self, sql: &str) -> QueryResult<Vec<String>> {
        if sql.contains("SYNTAX") {
            return Err(error("42601", "syntax error".into()));
        }
        Ok(sql.split(';').map(|part| part.trim().to_owned()).collect())
    }

    fn is_empty(statement: &String) -> bool {
        statement.is_empty()
    }

    fn of_prepared(statement: &String) -> Option<OfPrepared<String>> {
        let mut words = statement.splitn(3, ' ');
        let (verb, name) = (words.next()?, words.next().unwrap_or_default().to_owned());
        Some(match (verb, words.next()) {
            ("PREPARE", Some(rest)) => {
                OfPrepared::Prepare { name, types: Vec::new(), statement: rest.to_owned() }
            }
            ("EXECUTE", rest) => OfPrepared::Execute { name, arguments: rest.map(str::to_owned) },
            ("DEALLOCATE", _) => OfPrepared::Deallocate(Some(name).filter(|name| name != "ALL")),
            _ => return None,
        })
    }

    async fn describe(
        &self,
        statement: &String,
        given: &[Option<DataType>],
    ) -> QueryResult<Description> {
        let given = given.first().cloned().flatten().unwrap_or(DataType::Int64);
        let (params, fields) = match statement.split(' ').next().unwrap_or_default() {
            "SELECT" | "MIDFAIL" | "HANG" | "CHANGING" => {
                (vec![], Some(schema("n", DataType::Int64)))
            }
            "ECHO" => (vec![given.clone()], Some(schema("x", given))),
            _ => (vec![], None),
        };
        Ok(Description { params, fields })
    }

    async fn execute_numbered(
        &self,
        statement: &String,
        params: &[ScalarValue],
        _: &[bool],
    ) -> QueryResult<Outcome> {
        let mut words = statement.split(' ');
        let verb = words.next().unwrap_or_default();
        Ok(match verb {
            "SELECT" => self.counted(words.next().and_then(|n| n.parse().ok()).unwrap_or(0)),
            "ECHO" => {
                let Some(param) = params.first() else {
                    return Err(error("42P02", "there is no parameter $1".into()));
                };
                let column = param.to_array().map_err(QueryError::from)?;
                let schema = schema("x", column.data_type().clone());
                let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column]);
                rows(schema, futures::stream::iter([batch.map_err(Into::into)]))
            }
            "MIDFAIL" => self.failing_midway(),
            "CHANGING" => {
                let schema = schema("n", DataType::Int32);
                let column: ArrayRef = Arc::new(Int32Array::from(vec![1]));
                let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column]);
                rows(schema, futures::stream::iter([batch.map_err(Into::into)]))
            }
            "SLEEP" => {
                self.asleep.store(true, Ordering::SeqCst);
                self.sleeping.notify_one();
                self.wake.notified().await;
                return Err(error("57014", "canceling statement due to user request".into()));
            }
            "HANG" => {
                self.sleeping.notify_one();
                rows(schema("n", DataType::Int64), Hanging(Arc::clone(&self.dropped)))
            }
            "COPYIN" => Outcome::CopyIn { format: CopyFormat::Text, columns: 2 },
            "COPYOUT" => {
                let Outcome::Rows { schema, stream, .. } = self.counted(2) else { unreachable!() };
                Outcome::CopyOut {
                    schema,
                    stream,
                    options: copy_options(words.next()),
                    file: None,
                    progress: Arc::default(),
                }
            }
            "BEGIN" => self.transact(verb, TransactionStatus::InTransaction),
            "COMMIT" | "ROLLBACK" => self.transact(verb, TransactionStatus::Idle),
            "SET" => Outcome::Set {
                tag: "SET".into(),
                name: words.next().unwrap_or_default().into(),
                value: words.next().unwrap_or_default().into(),
            },
            "DISCARD" => Outcome::Done { tag: "DISCARD ALL".into() },
            "RESET" => {
                *self.application.lock() = "reset".into();
                Outcome::Done { tag: "RESET".into() }
            }
            _ => {
                self.fail().await;
                return Err(error("42P01", "no such table".into()));
            }
        })
    }

    async fn copy_data(&self, bytes: &[u8]) -> QueryResult<()> {
        match bytes.contains(&b'!') {
            true => Err(error("22P02", "bad row".into())),
            false => {
                self.copied.fetch_add(bytes.len(), Ordering::SeqCst);
                Ok(())
            }
        }
    }

    async fn copy_done(&self) -> QueryResult<String> {
        Ok(format!("COPY {}", self.copied.swap(0, Ordering::SeqCst)))
    }

    fn copy_fail(&self, why: &str) -> QueryError {
        self.copied.store(0, Ordering::SeqCst);
        error("57014", format!("COPY from stdin failed: {why}"))
    }

    async fn copy_stopped(&self) -> QueryError {
        self.asleep.store(true, Ordering::SeqCst);
        self.sleeping.notify_one();
        self.wake.notified().await;
        error("57014", "canceling statement due to user request".into())
    }

    fn transaction(&self) -> TransactionStatus {
        *self.status.lock()
    }

    fn begin_implicit(&self) {
        self.implicit.store(true, Ordering::SeqCst);
    }

    async fn end_implicit(&self) -> QueryResult<()> {
        self.implicit.store(false, Ordering::SeqCst);
        Ok(())
    }

    fn abort_implicit(&self) {
        self.implicit.store(false, Ordering::SeqCst);
    }

    async fn fail(&self) {
        let mut status = self.status.lock();
        if *status == TransactionStatus::InTransaction {
            *status = TransactionStatus::Failed;
        }
    }

    fn cursor_fields(&self, _: &str) -> Option<SchemaRef> {
        None
    }

    fn set_process(&self, _: i32) {}

    async fn notified(&self) {
        std::future::pending().await
    }

    fn take_notifications(&self) -> Vec<query::Notification> {
        Vec::new()
    }

    fn idle_timeout(&self) -> Option<std::time::Duration> {
        None
    }

    fn cancel(&self) {
        // A cancel that finds nothing running does nothing, as in the engine.
        if self.asleep.swap(false, Ordering::SeqCst) {
            self.cancelled.fetch_add(1, Ordering::SeqCst);
            self.wake.notify_one();
        }
    }

    fn setting(&self, _: &str) -> Option<String> {
        None
    }

    fn take_warnings(&self) -> Vec<QueryError> {
        Vec::new()
    }

    fn reported(&self) -> Vec<(String, String)> {
        vec![
            ("server_version".into(), "15.0".into()),
            ("application_name".into(), self.application.lock().clone()),
        ]
    }
}
