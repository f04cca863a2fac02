//! Transactions: a session is kept for each, with a block open, until it is ended or forgotten.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arrow_flight::sql::{
    ActionBeginSavepointRequest, ActionEndSavepointRequest, ActionEndTransactionRequest,
    EndTransaction,
};
use bytes::Bytes;
use parking_lot::Mutex;
use query::{Outcome, QueryError, QueryResult, Session, TransactionStatus};
use tonic::Status;

use super::house::House;
use super::login::{Caller, Login};
use super::refusal;
use super::running::{Place, Turn};

/// Savepoints of a transaction.
const SAVEPOINTS_MAX: usize = 1_000;
/// `EndSavepoint` of Flight SQL.
const RELEASE: i32 = 1;
const ROLLBACK: i32 = 2;

pub(super) struct Transaction {
    session: Arc<Session>,
    /// The log-in that began it.
    login: Option<Arc<Login>>,
    turn: Arc<tokio::sync::Mutex<()>>,
    used: Mutex<Instant>,
    savepoints: Mutex<HashMap<u64, String>>,
    next: AtomicU64,
}

impl Transaction {
    fn new(session: Arc<Session>, login: Option<Arc<Login>>) -> Transaction {
        Transaction {
            session,
            login,
            turn: Arc::default(),
            used: Mutex::new(Instant::now()),
            savepoints: Mutex::default(),
            next: AtomicU64::new(1),
        }
    }

    pub(super) fn touch(&self) {
        *self.used.lock() = Instant::now();
    }

    /// Whether it was left alone for too long.
    pub(super) fn is_over(&self, idle_max: Duration) -> bool {
        if self.turn.try_lock().is_err() {
            return false;
        }
        let idle_max = self.session.idle_timeout().map_or(idle_max, |own| own.min(idle_max));
        self.used.lock().elapsed() >= idle_max
    }
}

impl House {
    /// Where a statement of a caller runs: in the transaction that it names, or by itself.
    pub(super) async fn place(
        &self,
        caller: &Caller,
        transaction: Option<&Bytes>,
    ) -> Result<Place, Status> {
        match transaction.filter(|id| !id.is_empty()) {
            None => Ok(Place { session: caller.session(self), block: None }),
            Some(id) => {
                let found = self.transactions.get(caller.user(), id);
                self.turn(found.ok_or_else(|| refusal::unknown("transaction"))?).await
            }
        }
    }

    async fn turn(&self, transaction: Arc<Transaction>) -> Result<Place, Status> {
        let turn = Arc::clone(&transaction.turn).lock_owned();
        let Ok(guard) = tokio::time::timeout(self.options.queue_wait, turn).await else {
            let message = "another statement of the transaction is not done";
            let error = QueryError::new("55006", message);
            return Err(refusal::status(
                error.with_hint("Read its rows to their end, or cancel it."),
            ));
        };
        let session = Arc::clone(&transaction.session);
        Ok(Place { session, block: Some(Turn { transaction, _guard: guard }) })
    }

    /// The transaction that a prepared statement runs in: its own, or, where that has ended, the one
    /// that its log-in has open since. Drivers keep what they have prepared when they commit and
    /// begin anew; running it outside of any transaction is what nobody asked for.
    pub(super) fn transaction_now(&self, caller: &Caller, own: Option<&Bytes>) -> Option<Bytes> {
        let own = own.filter(|id| !id.is_empty())?;
        if self.transactions.get(caller.user(), own).is_some() {
            return Some(own.clone());
        }
        let login = caller.login.as_deref();
        let since = login.and_then(|login| {
            let is_of = |open: &Transaction| open.login.as_ref().is_some_and(|l| l.is_same(login));
            self.transactions.only(caller.user(), is_of)
        });
        Some(since.map_or_else(|| own.clone(), |key| Bytes::copy_from_slice(&key)))
    }

    pub(super) async fn begin(&self, caller: &Caller) -> Result<Bytes, Status> {
        let session = caller.session(self);
        run(&session, "BEGIN").await.map_err(refusal::status)?;
        let put =
            self.transactions.put(caller.user(), Transaction::new(session, caller.login.clone()));
        Ok(Bytes::copy_from_slice(&put.map_err(refusal::status)?))
    }

    pub(super) async fn end(
        &self,
        caller: &Caller,
        asked: &ActionEndTransactionRequest,
    ) -> Result<(), Status> {
        let sql = match EndTransaction::try_from(asked.action) {
            Ok(EndTransaction::Commit) => "COMMIT",
            Ok(EndTransaction::Rollback) => "ROLLBACK",
            _ => return Err(refusal::malformed("EndTransaction", "it says neither how")),
        };
        // Waited for first: a statement that still runs must not lose its block unasked.
        let place = self.place(caller, Some(&asked.transaction_id)).await?;
        if self.transactions.take(caller.user(), &asked.transaction_id).is_none() {
            return Err(refusal::unknown("transaction"));
        }
        let failed = place.session.transaction() == TransactionStatus::Failed;
        run(&place.session, sql).await.map_err(refusal::status)?;
        if failed && sql == "COMMIT" {
            let message = "the transaction had failed and was rolled back";
            return Err(refusal::status(QueryError::new("25P02", message)));
        }
        Ok(())
    }

    pub(super) async fn begin_savepoint(
        &self,
        caller: &Caller,
        asked: &ActionBeginSavepointRequest,
    ) -> Result<Bytes, Status> {
        let place = self.place(caller, Some(&asked.transaction_id)).await?;
        let Some(turn) = &place.block else { return Err(refusal::unknown("transaction")) };
        let transaction = &turn.transaction;
        if transaction.savepoints.lock().len() >= SAVEPOINTS_MAX {
            let message = format!("a transaction has {SAVEPOINTS_MAX} savepoints at most");
            return Err(refusal::status(QueryError::new("54000", message)));
        }
        let number = transaction.next.fetch_add(1, Ordering::Relaxed);
        // Names may come again, and hold anything; this one does neither.
        let name = format!("flight_{number}");
        let sql = format!("SAVEPOINT {name}");
        run(&place.session, &sql).await.map_err(refusal::status)?;
        transaction.savepoints.lock().insert(number, name);
        let mut id = asked.transaction_id.to_vec();
        id.extend_from_slice(&number.to_be_bytes());
        Ok(id.into())
    }

    pub(super) async fn end_savepoint(
        &self,
        caller: &Caller,
        asked: &ActionEndSavepointRequest,
    ) -> Result<(), Status> {
        let unknown = || refusal::unknown("savepoint");
        let (id, number) = asked.savepoint_id.split_last_chunk::<8>().ok_or_else(unknown)?;
        let number = u64::from_be_bytes(*number);
        let place = self.place(caller, Some(&Bytes::copy_from_slice(id))).await?;
        let Some(turn) = &place.block else { return Err(unknown()) };
        let savepoints = &turn.transaction.savepoints;
        let name = savepoints.lock().get(&number).cloned().ok_or_else(unknown)?;
        let sql = match asked.action {
            RELEASE => format!("RELEASE SAVEPOINT {name}"),
            ROLLBACK => format!("ROLLBACK TO SAVEPOINT {name}"),
            _ => return Err(refusal::malformed("EndSavepoint", "it says neither how")),
        };
        run(&place.session, &sql).await.map_err(refusal::status)?;
        if asked.action == RELEASE {
            savepoints.lock().remove(&number);
        }
        Ok(())
    }
}

/// Runs a statement of this door's own that gives no rows.
pub(super) async fn run(session: &Session, sql: &str) -> QueryResult<Outcome> {
    let statements = session.parse(sql)?;
    let [statement] = statements.as_slice() else {
        return Err(QueryError::new("XX000", "a statement of the door is none"));
    };
    session.execute(statement, &[]).await
}
