//! The extended protocol: prepared statements, portals, and results taken in pieces.

use std::sync::Arc;
use std::time::Instant;

use arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;
use query::{Description, OfPrepared, Outcome, QueryResult};
use tokio::io::{AsyncRead, AsyncWrite};

use super::backend::{Backend, BackendSession, error};
use super::connection::{Connection, Failure, StatementOf};
use super::encode::{RowEncoder, formats};
use super::message::{Bind, Target};
use super::out::{self, Bare};
use super::params;
use super::rows::{self, Cursor};
use super::signals;
use super::types::{arrow_of, oid, oid_of};
use query::text::zone::Zone;

/// A parsed and described statement.
pub struct Prepared<T> {
    /// None: the text held no statement.
    pub(super) statement: Option<T>,
    pub(super) description: Description,
    /// Types of the parameters as the client knows them.
    param_oids: Vec<u32>,
}

impl<T> Prepared<T> {
    /// `types`: those that the client declared for its parameters, 0 where it left one open.
    pub(super) fn new(
        statement: Option<T>,
        description: Description,
        types: &[u32],
    ) -> Prepared<T> {
        let param_oids = description.params.iter().enumerate().map(|(at, data_type)| {
            let declared = types.get(at).copied().filter(|one| !matches!(*one, 0 | oid::UNKNOWN));
            declared.unwrap_or_else(|| oid_of(data_type))
        });
        let param_oids = param_oids.collect();
        Prepared { statement, description, param_oids }
    }

    /// How rows of this statement are written; None where it gives none.
    fn encoder(&self, formats: &[i16], zone: Zone) -> QueryResult<Option<RowEncoder>> {
        let fields = self.description.fields.as_ref();
        fields.map(|schema| RowEncoder::described(schema, formats, zone)).transpose()
    }
}

/// A statement with its parameters, about to run, running or done.
pub struct Portal<T> {
    prepared: Arc<Prepared<T>>,
    params: Vec<ScalarValue>,
    result_formats: Vec<i16>,
    progress: Progress,
}

enum Progress {
    Ready,
    /// Some rows were sent; the stream waits for the next Execute.
    Suspended(Cursor),
    /// All rows were sent; running again gives none.
    Exhausted(&'static str),
    /// Ran without rows, which cannot be repeated.
    Done,
}

impl<S, B> Connection<'_, S, B>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    B: Backend,
{
    /// Parse: checks the statement and finds out what it takes and gives.
    pub(super) async fn parse_message(
        &mut self,
        name: String,
        sql: &str,
        types: &[u32],
    ) -> Result<(), Failure> {
        if name.is_empty() {
            self.statements.remove("");
        }
        self.check_new_statement(&name)?;
        let given = types.iter().map(|oid| given_type(*oid)).collect::<QueryResult<Vec<_>>>()?;
        let mut statements = self.parse(sql).await?;
        statements.retain(|statement| !B::Session::is_empty(statement));
        if statements.len() > 1 {
            let words = "cannot insert multiple commands into a prepared statement";
            return Err(error("42601", words.to_owned()).into());
        }
        let statement = statements.pop();
        let description = match &statement {
            Some(statement) => match B::Session::of_prepared(statement) {
                // Its arguments stand in its text, its columns are those of what it names.
                Some(OfPrepared::Execute { name, .. }) => {
                    let fields = self.prepared(&name)?.description.fields.clone();
                    Description { params: Vec::new(), fields }
                }
                _ => self.socket.watch(self.session.describe(statement, &given)).await??,
            },
            None => Description { params: Vec::new(), fields: None },
        };
        let prepared = Prepared::new(statement, description, types);
        self.statements.insert(name, Arc::new(prepared));
        out::bare(&mut self.socket.out, Bare::ParseComplete);
        Ok(())
    }

    /// Whether one more statement may be kept under the name.
    pub(super) fn check_new_statement(&self, name: &str) -> QueryResult<()> {
        if self.statements.contains_key(name) {
            let words = format!("prepared statement \"{name}\" already exists");
            return Err(error("42P05", words));
        }
        let max = self.shared.options.limits.statements_max;
        if self.statements.len() >= max {
            let words = format!("a connection may hold {max} prepared statements");
            return Err(error("53400", words));
        }
        Ok(())
    }

    pub(super) fn prepared(&self, name: &str) -> QueryResult<Arc<Prepared<StatementOf<B>>>> {
        self.statements.get(name).cloned().ok_or_else(|| {
            let words = match name {
                "" => "unnamed prepared statement does not exist".to_owned(),
                name => format!("prepared statement \"{name}\" does not exist"),
            };
            error("26000", words)
        })
    }

    /// Bind: gives a statement its parameters.
    pub(super) fn bind(&mut self, bind: Bind) -> Result<(), Failure> {
        let prepared = self.prepared(&bind.statement)?;
        if bind.portal.is_empty() {
            self.portals.remove("");
        } else if self.portals.contains_key(&bind.portal) {
            let words = format!("cursor \"{}\" already exists", bind.portal);
            return Err(error("42P03", words).into());
        }
        let max = self.shared.options.limits.portals_max;
        if self.portals.len() >= max {
            return Err(error("53400", format!("a connection may hold {max} portals")).into());
        }
        let count = prepared.param_oids.len();
        if bind.params.len() != count {
            let (given, name) = (bind.params.len(), &bind.statement);
            let words = format!(
                "bind message supplies {given} parameters, \
                 but prepared statement \"{name}\" requires {count}"
            );
            return Err(error("08P01", words).into());
        }
        let zone = self.zone();
        // Refuses wrong result formats here, where the client expects the error.
        prepared.encoder(&bind.result_formats, zone)?;
        let formats = formats(&bind.param_formats, count, "parameter")?;
        let mut values = Vec::with_capacity(count);
        for (at, (value, format)) in bind.params.iter().zip(formats).enumerate() {
            let oid = prepared.param_oids.get(at).copied().unwrap_or(oid::TEXT);
            let target = prepared.description.params.get(at).unwrap_or(&DataType::Utf8);
            let decoded = params::decode(value.as_deref(), format, oid, target, &zone);
            values.push(decoded.map_err(|mut error| {
                error.detail.get_or_insert_with(|| format!("This is parameter ${}.", at + 1));
                error
            })?);
        }
        let (params, progress) = (values, Progress::Ready);
        let result_formats = bind.result_formats;
        self.portals.insert(bind.portal, Portal { prepared, params, result_formats, progress });
        out::bare(&mut self.socket.out, Bare::BindComplete);
        Ok(())
    }

    /// Describe: tells types before anything runs.
    pub(super) fn describe(&mut self, target: &Target) -> Result<(), Failure> {
        let zone = self.zone();
        let encoder = match target {
            Target::Statement(name) => {
                let prepared = self.prepared(name)?;
                let encoder = prepared.encoder(&[], zone)?;
                out::parameter_description(&mut self.socket.out, &prepared.param_oids);
                encoder
            }
            Target::Portal(name) => match self.portals.get(name) {
                Some(portal) => portal.prepared.encoder(&portal.result_formats, zone)?,
                None => match self.session.cursor_fields(name) {
                    Some(fields) => Some(RowEncoder::new(&fields, &[], zone)?),
                    None => return Err(no_portal(name)),
                },
            },
        };
        match encoder {
            Some(encoder) => encoder.describe(&mut self.socket.out),
            None => out::bare(&mut self.socket.out, Bare::NoData),
        }
        Ok(())
    }

    /// Close: forgets a statement or a portal; it is no error when there is none.
    pub(super) fn close(&mut self, target: &Target) {
        match target {
            Target::Statement(name) => drop(self.statements.remove(name)),
            Target::Portal(name) => drop(self.portals.remove(name)),
        }
        out::bare(&mut self.socket.out, Bare::CloseComplete);
    }

    /// Execute: runs a portal, or goes on with it. A portal that fails is gone.
    pub(super) async fn execute(&mut self, name: String, rows_max: i32) -> Result<(), Failure> {
        let Some(mut portal) = self.portals.remove(&name) else {
            return Err(no_portal(&name));
        };
        let rows_max = match u64::try_from(rows_max) {
            Ok(0) | Err(_) => u64::MAX,
            Ok(rows_max) => rows_max,
        };
        let started = Instant::now();
        let done = self.run_portal(&name, &mut portal, rows_max).await;
        signals::statement(started.elapsed());
        done?;
        self.portals.insert(name, portal);
        Ok(())
    }

    async fn run_portal(
        &mut self,
        name: &str,
        portal: &mut Portal<StatementOf<B>>,
        rows_max: u64,
    ) -> Result<(), Failure> {
        let mut cursor = match std::mem::replace(&mut portal.progress, Progress::Done) {
            Progress::Suspended(cursor) => cursor,
            Progress::Exhausted(verb) => {
                portal.progress = Progress::Exhausted(verb);
                out::command_complete(&mut self.socket.out, &rows::tag(verb, 0));
                return Ok(());
            }
            Progress::Done => {
                return Err(error("55000", format!("portal \"{name}\" cannot be run")).into());
            }
            Progress::Ready => match self.start_portal(portal).await? {
                Some(cursor) => cursor,
                None => return Ok(()),
            },
        };
        let sent = rows::send(self.socket, &mut cursor, rows_max).await?;
        if sent.finished {
            self.warn();
            out::command_complete(&mut self.socket.out, &cursor.tag(sent.rows));
            portal.progress = Progress::Exhausted(cursor.verb());
        } else {
            out::bare(&mut self.socket.out, Bare::PortalSuspended);
            portal.progress = Progress::Suspended(cursor);
        }
        Ok(())
    }

    /// Starts the statement. None: it gave no rows and is told already.
    async fn start_portal(
        &mut self,
        portal: &mut Portal<StatementOf<B>>,
    ) -> Result<Option<Cursor>, Failure> {
        let Some(statement) = &portal.prepared.statement else {
            out::bare(&mut self.socket.out, Bare::EmptyQuery);
            return Ok(None);
        };
        let before = self.session.transaction();
        let Some((statement, params)) = self.resolve(statement, &portal.params).await? else {
            return Ok(None);
        };
        let zone = self.zone();
        let described = portal.prepared.encoder(&portal.result_formats, zone)?;
        let numbered = described.as_ref().map(RowEncoder::numbered).unwrap_or_default();
        let running = self.session.execute_numbered(&statement, &params, &numbered);
        let outcome = self.socket.watch(running).await??;
        let Outcome::Rows { schema, stream, verb } = outcome else {
            let copied = self.copy(outcome).await?;
            self.warn();
            match copied {
                Ok(tag) => out::command_complete(&mut self.socket.out, &tag),
                Err(outcome) => self.finish(&outcome, before),
            }
            return Ok(None);
        };
        let zone = self.zone();
        let encoder = RowEncoder::new(&schema, &portal.result_formats, zone)?;
        // The client reads the rows by the description it holds; a table changed since then would
        // make it misread them.
        if !described.is_some_and(|described| described.oids().eq(encoder.oids())) {
            let words = "cached plan must not change result type".to_owned();
            return Err(error("0A000", words).into());
        }
        Ok(Some(Cursor::new(stream, encoder, verb)))
    }
}

fn no_portal(name: &str) -> Failure {
    error("34000", format!("portal \"{name}\" does not exist")).into()
}

/// The type of a declared parameter; None where the client left it open.
fn given_type(declared: u32) -> QueryResult<Option<DataType>> {
    match (declared, arrow_of(declared)) {
        (0 | oid::UNKNOWN, _) => Ok(None),
        (_, Some(data_type)) => Ok(Some(data_type)),
        (other, None) => {
            Err(error("0A000", format!("parameters of type {other} are not supported")))
        }
    }
}
