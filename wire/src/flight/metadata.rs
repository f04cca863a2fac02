//! What clients ask about the database: catalogs, schemas, tables, keys, types, and the server.
//!
//! Answers come from `information_schema` and `pg_catalog`, by sessions of the caller: this door
//! knows nothing about tables that SQL does not tell. The ticket of such a question is the question.

mod info;
mod keys;
mod tables;
mod types;

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use arrow_flight::sql::Command;
use arrow_flight::sql::metadata::{GetCatalogsBuilder, GetDbSchemasBuilder, GetTablesBuilder};
use futures::StreamExt;
use query::{Outcome, QueryError, QueryResult, Session};
use tonic::Status;

use super::house::House;
use super::login::Caller;
use super::refusal;
use super::rows::{RowStream, of_batches};
use super::transaction::run;

/// Name of the one catalog.
pub(super) const CATALOG: &str = "millrace";
/// The schema of users' tables.
pub(super) const SCHEMA: &str = "public";

/// The schema of an answer; `None` if the command is no such question.
pub(super) fn schema(command: &Command) -> Option<SchemaRef> {
    Some(match command {
        Command::CommandGetCatalogs(_) => GetCatalogsBuilder::new().schema(),
        Command::CommandGetDbSchemas(asked) => asked.clone().into_builder().schema(),
        Command::CommandGetTables(asked) => asked.clone().into_builder().schema(),
        Command::CommandGetTableTypes(_) => tables::types_schema(),
        Command::CommandGetPrimaryKeys(_) => keys::primary_schema(),
        Command::CommandGetExportedKeys(_)
        | Command::CommandGetImportedKeys(_)
        | Command::CommandGetCrossReference(_) => keys::foreign_schema(),
        Command::CommandGetSqlInfo(_) => info::schema(),
        Command::CommandGetXdbcTypeInfo(_) => types::schema(),
        _ => return None,
    })
}

impl House {
    /// Answers a question about the database.
    pub(super) async fn metadata(
        self: &Arc<House>,
        caller: &Caller,
        command: Command,
    ) -> Result<RowStream, Status> {
        let Some(schema) = schema(&command) else {
            return Err(refusal::unsupported(command.type_url(), ""));
        };
        let session = caller.session(self);
        let batch = match command {
            Command::CommandGetTables(asked) => {
                let found = tables::find(&session, &asked).await.map_err(refusal::status)?;
                return Ok(of_batches(schema, tables::batches(session, asked, found)));
            }
            Command::CommandGetCatalogs(_) => {
                let mut catalogs = GetCatalogsBuilder::new();
                catalogs.append(CATALOG);
                catalogs.build().map_err(Status::from)
            }
            Command::CommandGetDbSchemas(asked) => {
                let mut schemas: GetDbSchemasBuilder = asked.into_builder();
                let sql = "SELECT schema_name FROM information_schema.schemata";
                for [name] in texts(&session, sql).await.map_err(refusal::status)? {
                    schemas.append(CATALOG, name.unwrap_or_default());
                }
                schemas.build().map_err(Status::from)
            }
            Command::CommandGetTableTypes(_) => tables::types().map_err(refusal::status),
            Command::CommandGetPrimaryKeys(asked) => {
                keys::primary(&session, &asked).await.map_err(refusal::status)
            }
            Command::CommandGetExportedKeys(asked) => {
                keys::exported(&session, &asked).await.map_err(refusal::status)
            }
            Command::CommandGetImportedKeys(asked) => {
                keys::imported(&session, &asked).await.map_err(refusal::status)
            }
            Command::CommandGetCrossReference(asked) => {
                keys::cross(&session, &asked).await.map_err(refusal::status)
            }
            Command::CommandGetSqlInfo(asked) => info::answer(self, &asked),
            Command::CommandGetXdbcTypeInfo(asked) => types::answer(&asked),
            _ => Err(refusal::internal("answering", "a question without an answer")),
        };
        let batch: RecordBatch = batch?;
        Ok(of_batches(schema, futures::stream::iter([Ok(batch)])))
    }
}

/// Rows of a query of this door's own, as texts.
async fn texts<const N: usize>(
    session: &Session,
    sql: &str,
) -> QueryResult<Vec<[Option<String>; N]>> {
    let Outcome::Rows { mut stream, .. } = run(session, sql).await? else {
        return Err(QueryError::new("XX000", "a question to the catalogue gave no rows"));
    };
    let mut rows = Vec::new();
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        let columns = batch.columns().iter().map(|column| cast(column, &DataType::Utf8));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            rows.push(std::array::from_fn(|at| {
                let column = columns.get(at)?.as_string_opt::<i32>()?;
                column.is_valid(row).then(|| column.value(row).to_owned())
            }));
        }
    }
    Ok(rows)
}

/// A text in quotes.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// `AND column = 'text'`, if there is one; an empty text asks for what has none, which is nothing.
fn equal(column: &str, text: Option<&String>) -> String {
    text.map_or_else(String::new, |text| format!(" AND {column} = {}", literal(text)))
}

/// Whether a filter by catalog leaves the one there is.
fn is_of_catalog(catalog: Option<&String>) -> bool {
    catalog.is_none_or(|catalog| catalog == CATALOG)
}

/// A builder of table lists without filters of its own.
fn unfiltered(include_schema: bool) -> GetTablesBuilder {
    let none = || None::<String>;
    GetTablesBuilder::new(none(), none(), none(), Vec::<String>::new(), include_schema)
}
