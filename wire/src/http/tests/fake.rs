//! A house that remembers what it was asked.

pub mod prom;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Int64Array, RecordBatch};
use async_trait::async_trait;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{Stream, StreamExt};
use ingest::{Described, Precision, Refused, Report};
use management::LoginFailed;
use parking_lot::{Condvar, Mutex};
use query::{Identity, Outcome, QueryError, QueryResult, QueueFigures};
use serde_json::Value;
use tsdb::{DbStats, PoolUsage};

use crate::http::prom::PromSession;
use crate::http::state::{Backend, SqlSession};

/// A session that was begun: user and settings.
pub type Started = (String, Vec<(String, String)>);

#[derive(Default)]
pub struct House {
    /// Bodies written, with their precision.
    pub written: Mutex<Vec<(Vec<u8>, Precision)>>,
    /// What the next writes answer.
    pub write_error: Mutex<Option<tsdb::Error>>,
    pub read_only: Mutex<Option<String>>,
    pub full: Mutex<Option<String>>,
    pub alarm: Mutex<Option<String>>,
    /// Sessions: user and settings.
    pub sessions: Mutex<Vec<Started>>,
    pub cancelled: Arc<AtomicUsize>,
    /// Batches that streams have given.
    pub batches: Arc<AtomicUsize>,
    /// While true, writes stand still.
    pub held: Mutex<bool>,
    pub released: Condvar,
    pub entered: AtomicUsize,
}

impl House {
    /// Resolves when so many sessions have begun.
    pub async fn begun(&self, count: usize) {
        while self.sessions.lock().len() < count {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }
}

fn failed() -> LoginFailed {
    LoginFailed { reason_for_log: "played".to_owned() }
}

fn identity(user: &str) -> Identity {
    Identity {
        user: user.to_owned(),
        oid: 1,
        superuser: false,
        can_read: true,
        can_write: user == "ann",
        can_define: false,
        settings: query::RoleSettings::default(),
    }
}

impl House {
    pub fn release(&self) {
        *self.held.lock() = false;
        self.released.notify_all();
    }
}

impl Backend for House {
    fn log_in(&self, user: &str, pass: &str, _: Option<IpAddr>) -> Result<Identity, LoginFailed> {
        let known = ["ann", "eve"].contains(&user) && pass == "secret";
        known.then(|| identity(user)).ok_or_else(failed)
    }

    fn log_in_by_token(&self, token: &str) -> Result<Identity, LoginFailed> {
        if token == "mr_ann" { Ok(identity("ann")) } else { Err(failed()) }
    }

    /// Lines that begin with `bad` are refused.
    fn write_lines(
        &self,
        _: &Identity,
        body: &[u8],
        precision: Precision,
        _: i64,
    ) -> tsdb::Result<Report> {
        self.entered.fetch_add(1, Ordering::SeqCst);
        let mut held = self.held.lock();
        while *held {
            self.released.wait(&mut held);
        }
        if let Some(error) = self.write_error.lock().clone() {
            return Err(error);
        }
        self.written.lock().push((body.to_vec(), precision));
        let mut report = Report { position: 1, ..Report::default() };
        for (n, line) in body.split(|b| *b == b'\n').enumerate().filter(|(_, l)| !l.is_empty()) {
            if line.starts_with(b"bad") {
                report.refused_count += 1;
                let (line, reason) = (n as u64 + 1, "it is bad".to_owned());
                report.refused.push(Refused { line, reason });
            } else {
                report.rows += 1;
            }
        }
        Ok(report)
    }

    fn session(&self, identity: Identity, settings: &[(String, String)]) -> Arc<dyn SqlSession> {
        self.sessions.lock().push((identity.user, settings.to_vec()));
        Arc::new(Session { cancelled: self.cancelled.clone(), batches: self.batches.clone() })
    }

    fn write_series(&self, by: &Identity, body: &[u8]) -> tsdb::Result<Report> {
        self.write_lines(by, body, Precision::Nanos, 0)
    }

    fn may_write(&self, by: &Identity) -> bool {
        by.can_write
    }

    fn metadata(&self, metric: Option<&str>, limit: usize) -> Vec<(String, Described)> {
        let (help, unit) = ("whether it is up".to_owned(), String::new());
        let up = ("up".to_owned(), Described { kind: "gauge", help, unit });
        let wanted = metric.is_none_or(|metric| metric == "up");
        std::iter::once(up).filter(|_| wanted).take(limit).collect()
    }

    fn prom(&self, identity: Identity) -> Arc<dyn PromSession> {
        self.sessions.lock().push((identity.user, Vec::new()));
        Arc::new(prom::Session { cancelled: self.cancelled.clone() })
    }

    fn read_only(&self) -> Option<String> {
        self.read_only.lock().clone()
    }

    fn full(&self) -> Option<String> {
        self.full.lock().clone()
    }

    fn alarm(&self) -> Option<String> {
        self.alarm.lock().clone()
    }

    fn stats(&self) -> DbStats {
        DbStats { rows_written: 42, ..DbStats::default() }
    }

    fn queries_running(&self) -> usize {
        0
    }

    fn queue(&self) -> QueueFigures {
        let waited_us = 1_500_000;
        QueueFigures {
            places: 4,
            running: 3,
            waiting: 2,
            queued: 9,
            waited_us,
            refused: 1,
            timed_out: 0,
        }
    }

    fn pools(&self, _stats: &DbStats) -> Vec<PoolUsage> {
        vec![PoolUsage { name: "http bodies", used: 1, limit: 3, peak: 2 }]
    }
}

struct Session {
    cancelled: Arc<AtomicUsize>,
    batches: Arc<AtomicUsize>,
}

fn error(code: &'static str, message: &str) -> QueryError {
    let message = message.to_owned();
    QueryError { code, message, detail: None, hint: Some("Mend it.".to_owned()), position: Some(8) }
}

fn batch(values: Vec<i64>) -> RecordBatch {
    let column = Arc::new(Int64Array::from(values));
    RecordBatch::try_from_iter([("n", column as _)]).expect("one column")
}

fn rows(
    batches: impl Stream<Item = Result<RecordBatch, DataFusionError>> + Send + 'static,
) -> Outcome {
    let schema = batch(Vec::new()).schema();
    let stream = Box::pin(RecordBatchStreamAdapter::new(schema.clone(), batches));
    Outcome::Rows { schema, stream, verb: "SELECT" }
}

fn broken() -> DataFusionError {
    DataFusionError::External(Box::new(error("22012", "division by zero")))
}

#[async_trait]
impl SqlSession for Session {
    /// The text chooses what is played.
    async fn run(&self, sql: &str, params: &[Value]) -> QueryResult<Outcome> {
        let counter = self.batches.clone();
        let endless = futures::stream::iter(0_i64..).map(move |n| {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(batch((0..1000).map(|k| n * 1000 + k).collect()))
        });
        match sql.trim() {
            "" => Ok(Outcome::Empty),
            "rows" => Ok(rows(futures::stream::iter([Ok(batch(vec![1, 2])), Ok(batch(vec![3]))]))),
            "no rows" => Ok(rows(futures::stream::empty())),
            "params" => {
                let numbers = params.iter().filter_map(Value::as_i64).collect();
                Ok(rows(futures::stream::iter([Ok(batch(numbers))])))
            }
            "endless" => Ok(rows(endless)),
            "breaks at once" => Ok(rows(futures::stream::iter([Err(broken())]))),
            "breaks later" => {
                Ok(rows(endless.take(200).chain(futures::stream::iter([Err(broken())]))))
            }
            "insert" => Ok(Outcome::Done { tag: "INSERT 0 3".to_owned() }),
            "never" => {
                let () = futures::future::pending().await;
                Ok(Outcome::Empty)
            }
            code if code.starts_with("code ") => Err(error(
                match &code[5..] {
                    "42501" => "42501",
                    "42P07" => "42P07",
                    "25006" => "25006",
                    "57014" => "57014",
                    "53200" => "53200",
                    "0A000" => "0A000",
                    _ => "XX000",
                },
                "played",
            )),
            _ => Err(error("42601", "syntax error")),
        }
    }

    fn cancel(&self) {
        self.cancelled.fetch_add(1, Ordering::SeqCst);
    }
}
