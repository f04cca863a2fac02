//! STUB of the query crate's face: signatures are the contract.
#![allow(unused_variables)]
use std::sync::Arc;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::scalar::ScalarValue;
use tsdb::Db;

/// An error with what Postgres clients expect of one.
#[derive(Clone, Debug)]
pub struct QueryError { pub code: &'static str /* SQLSTATE */, pub message: String, pub detail: Option<String>, pub hint: Option<String>, pub position: Option<u32> }
pub type QueryResult<T> = Result<T, QueryError>;

/// Who asks.
#[derive(Clone, Debug)]
pub struct Identity { pub user: String, pub superuser: bool, pub can_write: bool, pub can_define: bool }

/// A role as \du and pg_roles show it.
#[derive(Clone, Debug)]
pub struct RoleInfo { pub oid: u32, pub name: String, pub superuser: bool, pub can_login: bool, pub can_write: bool, pub can_define: bool, pub created_unix_ms: i64 }

/// Users, kept by the management crate; reached from CREATE/ALTER/DROP USER|ROLE and pg_roles.
pub trait Directory: Send + Sync {
    fn roles(&self) -> QueryResult<Vec<RoleInfo>>;
    fn create(&self, by: &Identity, role: NewRole) -> QueryResult<()>;
    fn alter(&self, by: &Identity, role: NewRole) -> QueryResult<()>;
    fn drop(&self, by: &Identity, name: &str, if_exists: bool) -> QueryResult<()>;
}
/// What CREATE/ALTER USER says; None leaves as it is (or the default: no password, no rights beyond reading).
#[derive(Clone, Default)]
pub struct NewRole { pub name: String, pub password: Option<String>, pub superuser: Option<bool>, pub can_login: Option<bool>, pub can_write: Option<bool>, pub can_define: Option<bool> }

#[derive(Clone, Debug)]
pub struct QueryOptions {
    /// Bytes all queries together may hold. Default 1 GiB.
    pub memory_bytes_max: usize,
    /// Bytes of spill files. Default 4 GiB.
    pub spill_bytes_max: u64,
    /// Folder for spill files (made when needed).
    pub spill_folder: std::path::PathBuf,
    /// Worker threads. Default: cores.
    pub threads: usize,
    /// What SHOW server_version says after "15.0": e.g. Millrace version.
    pub version: String,
}
impl Default for QueryOptions { fn default() -> Self { unimplemented!() } }

/// Shared by all sessions.
pub struct Engine { _p: () }
impl Engine {
    pub fn new(db: Arc<Db>, directory: Arc<dyn Directory>, options: QueryOptions) -> QueryResult<Arc<Engine>> { unimplemented!() }
    pub fn db(&self) -> &Arc<Db> { unimplemented!() }
    /// One per connection. `settings`: start-up parameters such as TimeZone, application_name, statement_timeout.
    pub fn session(self: &Arc<Self>, identity: Identity, settings: &[(String, String)]) -> Session { unimplemented!() }
    pub fn queries_running(&self) -> usize { unimplemented!() }
}

/// One parsed statement with its text.
#[derive(Clone, Debug)]
pub struct Statement { _p: () }
impl Statement {
    pub fn text(&self) -> &str { unimplemented!() }
    /// True for an empty statement (";" or only comments).
    pub fn is_empty(&self) -> bool { unimplemented!() }
}

/// What a statement takes and gives, before it runs.
#[derive(Clone, Debug)]
pub struct Description { pub params: Vec<DataType>, /* None: no rows come back */ pub fields: Option<SchemaRef> }

/// What came of a statement.
pub enum Outcome {
    /// Rows, as a stream made on the query runtime (dropping it cancels). `verb` for the tag: SELECT, SHOW, EXPLAIN …
    Rows { schema: SchemaRef, stream: SendableRecordBatchStream, verb: &'static str },
    /// No rows; the complete tag, e.g. "INSERT 0 3", "CREATE TABLE", "BEGIN".
    Done { tag: String },
    /// A setting that the client must be told (ParameterStatus), with the tag.
    Set { tag: String, name: String, value: String },
    Empty,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus { Idle, InTransaction, Failed }

/// State of one connection: user, settings, transaction. Statements of a session run one at a time.
pub struct Session { _p: () }
impl Session {
    pub fn identity(&self) -> &Identity { unimplemented!() }
    /// Splits and parses a text of one or more statements.
    pub fn parse(&self, sql: &str) -> QueryResult<Vec<Statement>> { unimplemented!() }
    /// `given`: parameter types the client declared, by number; None where it left them open.
    pub async fn describe(&self, statement: &Statement, given: &[Option<DataType>]) -> QueryResult<Description> { unimplemented!() }
    pub async fn execute(&self, statement: &Statement, params: &[ScalarValue]) -> QueryResult<Outcome> { unimplemented!() }
    pub fn transaction(&self) -> TransactionStatus { unimplemented!() }
    /// Ends the running statement with 57014; from any thread.
    pub fn cancel(&self) { unimplemented!() }
    /// Value of a setting as SHOW gives it.
    pub fn setting(&self, name: &str) -> Option<String> { unimplemented!() }
    /// Settings to report at start-up: (name, value), e.g. server_version, client_encoding, DateStyle, TimeZone, integer_datetimes, standard_conforming_strings.
    pub fn reported(&self) -> Vec<(String, String)> { unimplemented!() }
}
