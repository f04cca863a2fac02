//! What the Postgres door needs from the rest of the house, as traits: the real thing is the query
//! engine and the users of the management crate; tests stand in a fake.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::scalar::ScalarValue;
use management::{LoginFailed, ScramExchange, Users};
use query::{
    Description, Engine, Identity, Notification, OfPrepared, Outcome, QueryError, QueryResult,
    Session, Statement, TransactionStatus,
};

/// An error without detail, hint and position.
pub fn error(code: &'static str, message: String) -> QueryError {
    QueryError { code, message, detail: None, hint: None, position: None }
}

/// Log-in and sessions.
pub trait Backend: Send + Sync + 'static {
    type Session: BackendSession;
    /// A SCRAM exchange for one log-in from an address, where there is one: failures count by
    /// user and source together. May block on disk.
    fn exchange(&self, user: &str, source: Option<IpAddr>) -> Box<dyn Exchange>;
    fn session(&self, identity: Identity, settings: &[(String, String)]) -> Self::Session;
}

/// The server's side of SCRAM-SHA-256.
pub trait Exchange: Send {
    fn first(&mut self, client_first: &[u8]) -> Result<Vec<u8>, LoginFailed>;
    fn last(&mut self, client_final: &[u8]) -> Result<(Vec<u8>, Identity), LoginFailed>;
}

/// A connection's session; see [`query::Session`], whose words these are.
pub trait BackendSession: Send + Sync + 'static {
    type Statement: Clone + Send + Sync + 'static;
    fn parse(&self, sql: &str) -> QueryResult<Vec<Self::Statement>>;
    fn is_empty(statement: &Self::Statement) -> bool;
    /// What it asks of the connection's prepared statements, if it is about those.
    fn of_prepared(statement: &Self::Statement) -> Option<OfPrepared<Self::Statement>>;
    fn describe(
        &self,
        statement: &Self::Statement,
        given: &[Option<DataType>],
    ) -> impl Future<Output = QueryResult<Description>> + Send;
    fn execute(
        &self,
        statement: &Self::Statement,
        params: &[ScalarValue],
    ) -> impl Future<Output = QueryResult<Outcome>> + Send {
        self.execute_numbered(statement, params, &[])
    }
    /// As `execute`; the objects of the marked columns come as numbers, not as names.
    fn execute_numbered(
        &self,
        statement: &Self::Statement,
        params: &[ScalarValue],
        numbered: &[bool],
    ) -> impl Future<Output = QueryResult<Outcome>> + Send;
    /// Takes bytes of a COPY FROM STDIN; waits while the log is behind.
    fn copy_data(&self, bytes: &[u8]) -> impl Future<Output = QueryResult<()>> + Send;
    /// Ends it; gives the tag.
    fn copy_done(&self) -> impl Future<Output = QueryResult<String>> + Send;
    /// Gives it up; gives the error that says so.
    fn copy_fail(&self, why: &str) -> QueryError;
    /// Resolves when it must end; ends it then. May be dropped and called again.
    fn copy_stopped(&self) -> impl Future<Output = QueryError> + Send;
    fn transaction(&self) -> TransactionStatus;
    /// Opens a block for a statement of a text of several, unless one is open.
    fn begin_implicit(&self);
    /// Commits such a block, if it is open.
    fn end_implicit(&self) -> impl Future<Output = QueryResult<()>> + Send;
    /// Forgets such a block, if it is open.
    fn abort_implicit(&self);
    /// Makes an open transaction block fail, after an error that the session did not see.
    fn fail(&self) -> impl Future<Output = ()> + Send;
    /// Columns of an open cursor of SQL, which is described like a portal.
    fn cursor_fields(&self, name: &str) -> Option<SchemaRef>;
    /// The number by which the client knows this connection.
    fn set_process(&self, process: i32);
    /// Resolves when somebody wants the connection to end. May be dropped and called again.
    fn terminated(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
    /// Resolves when a notification waits. May be dropped and called again.
    fn notified(&self) -> impl Future<Output = ()> + Send;
    /// Takes the notifications that wait.
    fn take_notifications(&self) -> Vec<Notification>;
    /// How long the client of an open transaction may stay silent.
    fn idle_timeout(&self) -> Option<Duration>;
    fn cancel(&self);
    fn setting(&self, name: &str) -> Option<String>;
    /// What the client is to be warned of at the end of a statement.
    fn take_warnings(&self) -> Vec<QueryError>;
    fn reported(&self) -> Vec<(String, String)>;
}

/// The engine and its users.
pub struct Server {
    pub engine: Arc<Engine>,
    pub users: Arc<Users>,
}

impl Backend for Server {
    type Session = Session;

    fn exchange(&self, user: &str, source: Option<IpAddr>) -> Box<dyn Exchange> {
        Box::new(self.users.scram_from(user, source))
    }

    fn session(&self, identity: Identity, settings: &[(String, String)]) -> Session {
        self.engine.session(identity, settings)
    }
}

impl Exchange for ScramExchange {
    fn first(&mut self, client_first: &[u8]) -> Result<Vec<u8>, LoginFailed> {
        ScramExchange::first(self, client_first)
    }

    fn last(&mut self, client_final: &[u8]) -> Result<(Vec<u8>, Identity), LoginFailed> {
        ScramExchange::last(self, client_final)
    }
}

impl BackendSession for Session {
    type Statement = Statement;

    fn parse(&self, sql: &str) -> QueryResult<Vec<Statement>> {
        Session::parse(self, sql)
    }

    fn is_empty(statement: &Statement) -> bool {
        statement.is_empty()
    }

    fn of_prepared(statement: &Statement) -> Option<OfPrepared> {
        statement.of_prepared().cloned()
    }

    async fn describe(
        &self,
        statement: &Statement,
        given: &[Option<DataType>],
    ) -> QueryResult<Description> {
        Session::describe(self, statement, given).await
    }

    async fn execute_numbered(
        &self,
        statement: &Statement,
        params: &[ScalarValue],
        numbered: &[bool],
    ) -> QueryResult<Outcome> {
        Session::execute_numbered(self, statement, params, numbered).await
    }

    fn transaction(&self) -> TransactionStatus {
        Session::transaction(self)
    }

    async fn copy_data(&self, bytes: &[u8]) -> QueryResult<()> {
        Session::copy_data(self, bytes).await
    }

    async fn copy_done(&self) -> QueryResult<String> {
        Session::copy_done(self).await
    }

    fn copy_fail(&self, why: &str) -> QueryError {
        Session::copy_fail(self, why)
    }

    async fn copy_stopped(&self) -> QueryError {
        Session::copy_stopped(self).await
    }

    fn begin_implicit(&self) {
        Session::begin_implicit(self);
    }

    async fn end_implicit(&self) -> QueryResult<()> {
        Session::end_implicit(self).await
    }

    fn abort_implicit(&self) {
        Session::abort_implicit(self);
    }

    /// A session has no word for this; a statement that cannot succeed does it.
    async fn fail(&self) {
        let Ok(statements) = Session::parse(self, "SHOW \"millrace.no_such_setting\"") else {
            return;
        };
        for statement in &statements {
            if let Ok(outcome) = Session::execute(self, statement, &[]).await {
                drop(outcome);
                tracing::error!("a statement meant to fail a transaction succeeded");
            }
        }
    }

    fn cursor_fields(&self, name: &str) -> Option<SchemaRef> {
        Session::cursor_fields(self, name)
    }

    fn set_process(&self, process: i32) {
        Session::set_process(self, process);
    }

    async fn terminated(&self) {
        Session::terminated(self).await;
    }

    async fn notified(&self) {
        Session::notified(self).await;
    }

    fn take_notifications(&self) -> Vec<Notification> {
        Session::take_notifications(self)
    }

    fn idle_timeout(&self) -> Option<Duration> {
        Session::idle_timeout(self)
    }

    fn cancel(&self) {
        Session::cancel(self);
    }

    fn setting(&self, name: &str) -> Option<String> {
        Session::setting(self, name)
    }

    fn take_warnings(&self) -> Vec<QueryError> {
        Session::take_warnings(self)
    }

    fn reported(&self) -> Vec<(String, String)> {
        Session::reported(self)
    }
}
