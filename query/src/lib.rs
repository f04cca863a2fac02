//! SQL over the storage engine: sessions, planning on DataFusion, table providers, operators of
//! our own, functions, and the catalogue that psql and BI tools look into. `README.md` has the
//! map of the rooms and what holds between them.

mod activity;
mod admission;
mod asof;
mod bytea;
mod catalog;
mod change;
mod comment;
mod copy;
mod counted;
mod ddl;
mod engine;
mod error;
mod explain;
mod functions;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod gapfill;
mod insert;
mod instant;
mod jobs;
mod memory;
mod names;
mod native;
mod notify;
mod plan;
pub mod promql;
mod relational;
mod returning;
mod rights;
mod run;
mod schema;
mod session;
mod settings;
mod spread;
mod statement;
mod sugar;
mod table;
pub mod text;
mod uuid;
mod view;
mod window_join;

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;

pub use admission::QueueFigures;
pub use bytea::parse_bytea;
pub use copy::{
    Compression as CopyCompression, CopyFile, CopyProgress, Format as CopyFormat,
    Header as CopyHeader, Options as CopyOptions,
};
pub use engine::{Engine, QueryOptions};
pub use error::{QueryError, QueryResult};
pub use memory::Pools;
pub use notify::Notification;
pub use session::{Session, TransactionStatus};
pub use settings::is_limit_setting;
pub use spread::write_out;
pub use statement::{Effect, OfPrepared, Statement};
pub use uuid::{UUID_TYPE, parse_uuid, put_uuid, uuid_text};

/// Key of a field's metadata that names the Postgres type where the Arrow type does not say it:
/// `name`, `oid`, `char`, `regclass`, `int2vector`, `_oid` …
pub const PG_TYPE: &str = "pg_type";

/// Key of a result field's metadata that tells which column of which table or view it is:
/// `pg_class.oid`, a point, `pg_attribute.attnum`.
pub const PG_ORIGIN: &str = "pg_origin";

/// Who asks.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Name of the user.
    pub user: String,
    /// Number of the role, by which rights are kept.
    pub oid: u32,
    /// May do everything, users included.
    pub superuser: bool,
    /// May read all tables and views; others what they were granted.
    pub can_read: bool,
    /// May change the rows of all tables.
    pub can_write: bool,
    /// May CREATE, ALTER and DROP all tables, CHECKPOINT and VACUUM.
    pub can_define: bool,
    /// Settings that the role's sessions begin with (ALTER ROLE … SET).
    pub settings: RoleSettings,
}

/// Settings of a role by name, in order of name.
pub type RoleSettings = Arc<Vec<(String, String)>>;

/// A role as \du and pg_roles show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleInfo {
    /// Number, never used again.
    pub oid: u32,
    /// Name.
    pub name: String,
    /// May do everything.
    pub superuser: bool,
    /// May log in.
    pub can_login: bool,
    /// May read everything.
    pub can_read: bool,
    /// May change all rows.
    pub can_write: bool,
    /// May define tables.
    pub can_define: bool,
    /// When it was made, ms since 1970.
    pub created_unix_ms: i64,
    /// Settings that its sessions begin with.
    pub settings: RoleSettings,
}

/// What ALTER ROLE … SET and RESET ask for. Names and values are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleChange {
    /// SET name TO value.
    Set {
        /// The setting as it is spelled.
        name: String,
        /// Its value.
        value: String,
    },
    /// RESET name.
    Reset(String),
    /// RESET ALL.
    ResetAll,
}

/// Users, kept by the management crate; reached from CREATE/ALTER/DROP USER|ROLE and pg_roles.
pub trait Directory: Send + Sync {
    /// All roles.
    ///
    /// # Errors
    /// What the store says.
    fn roles(&self) -> QueryResult<Arc<[RoleInfo]>>;
    /// Makes a role.
    ///
    /// # Errors
    /// `42710` if it exists, `42501` without the right, `22023` for a bad name or password.
    fn create(&self, by: &Identity, role: NewRole) -> QueryResult<()>;
    /// Changes a role.
    ///
    /// # Errors
    /// `42704` if it does not exist, `42501` without the right.
    fn alter(&self, by: &Identity, role: NewRole) -> QueryResult<()>;
    /// Changes what a role's sessions begin with, from the next log-in on. Superusers change all
    /// roles, others only themselves, and of that no setting that [`is_limit_setting`] names.
    ///
    /// # Errors
    /// `42704` if it does not exist, `42501` without the right.
    fn configure(&self, by: &Identity, role: &str, change: RoleChange) -> QueryResult<()>;
    /// Removes a role.
    ///
    /// # Errors
    /// `42704` if it does not exist (unless `if_exists`), `42501` without the right.
    fn drop(&self, by: &Identity, name: &str, if_exists: bool) -> QueryResult<()>;
}

/// What CREATE/ALTER USER says; `None` leaves as it is (or the default: no password, no rights
/// but those that are granted).
#[derive(Clone, Default)]
pub struct NewRole {
    /// Name.
    pub name: String,
    /// New password, in clear; never shown by `Debug`.
    pub password: Option<String>,
    /// SUPERUSER.
    pub superuser: Option<bool>,
    /// LOGIN.
    pub can_login: Option<bool>,
    /// READ.
    pub can_read: Option<bool>,
    /// WRITE.
    pub can_write: Option<bool>,
    /// DEFINE.
    pub can_define: Option<bool>,
}

impl fmt::Debug for NewRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewRole")
            .field("name", &self.name)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("superuser", &self.superuser)
            .field("can_login", &self.can_login)
            .field("can_read", &self.can_read)
            .field("can_write", &self.can_write)
            .field("can_define", &self.can_define)
            .finish()
    }
}

/// What a statement takes and gives, before it runs.
#[derive(Clone, Debug)]
pub struct Description {
    /// Types of $1, $2 …
    pub params: Vec<DataType>,
    /// Columns of the result; `None` if no rows come back.
    pub fields: Option<SchemaRef>,
}

/// What came of a statement.
pub enum Outcome {
    /// Rows, as a stream made on the query runtime; dropping it cancels. `verb` is for the tag:
    /// SELECT, SHOW, EXPLAIN …. An error in the stream becomes a [`QueryError`] by `from`.
    Rows {
        /// Columns.
        schema: SchemaRef,
        /// Batches of that schema.
        stream: SendableRecordBatchStream,
        /// First word of the tag.
        verb: &'static str,
    },
    /// No rows; the complete tag, e.g. "INSERT 0 3", "CREATE TABLE", "BEGIN".
    Done {
        /// The tag.
        tag: String,
    },
    /// A setting that the client must be told (ParameterStatus), with the tag.
    Set {
        /// The tag.
        tag: String,
        /// Name as Postgres writes it, e.g. `TimeZone`.
        name: String,
        /// Value now.
        value: String,
    },
    /// COPY FROM STDIN has begun: rows are handed to [`Session::copy_data`].
    CopyIn {
        /// Form of the rows.
        format: CopyFormat,
        /// Columns of each row.
        columns: usize,
    },
    /// Rows of COPY TO, as a stream like that of `Rows`.
    CopyOut {
        /// Columns.
        schema: SchemaRef,
        /// Batches of that schema.
        stream: SendableRecordBatchStream,
        /// How rows are to be written.
        options: CopyOptions,
        /// Where to; `None`: to the client.
        file: Option<CopyFile>,
        /// To be told what was written.
        progress: Arc<CopyProgress>,
    },
    /// An empty statement.
    Empty,
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Rows { schema, verb, .. } => {
                f.debug_struct("Rows").field("schema", schema).field("verb", verb).finish()
            }
            Outcome::Done { tag } => f.debug_tuple("Done").field(tag).finish(),
            Outcome::Set { tag, name, value } => {
                f.debug_tuple("Set").field(tag).field(name).field(value).finish()
            }
            Outcome::CopyIn { format, columns } => {
                f.debug_struct("CopyIn").field("format", format).field("columns", columns).finish()
            }
            Outcome::CopyOut { schema, options, .. } => {
                f.debug_struct("CopyOut").field("schema", schema).field("options", options).finish()
            }
            Outcome::Empty => f.write_str("Empty"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
