//! Bulk ingest: Arrow batches straight into write batches of a table, as COPY does.
//!
//! Outside of a transaction rows commit in batches of 100,000 rows or 16 MiB; the answer comes when
//! the last is durable, and an error keeps those before it. In a transaction they wait for its end,
//! and an error or a client that leaves makes the transaction fail.

use arrow::datatypes::{DataType, Field, Schema};
use arrow_flight::sql::{
    CommandStatementIngest, TableDefinitionOptions, TableExistsOption, TableNotExistOption,
};
use query::{Outcome, QueryError, QueryResult};
use tonic::Status;

use super::house::House;
use super::incoming::Incoming;
use super::login::Caller;
use super::metadata::{CATALOG, SCHEMA};
use super::running::Call;
use super::transaction::run;
use super::{refusal, signals};

impl House {
    pub(super) async fn ingest(
        &self,
        caller: &Caller,
        asked: CommandStatementIngest,
        mut incoming: Incoming,
    ) -> Result<i64, Status> {
        check_target(&asked).map_err(refusal::status)?;
        let Some(schema) = incoming.schema().await? else {
            return Err(refusal::malformed("the upload", "it has no schema"));
        };
        let place = self.place(caller, asked.transaction_id.as_ref()).await?;
        let mut call = self.running.enter(place, None);
        let done = self.fill(&mut call, &asked, &schema, &mut incoming).await;
        call.finish();
        done.inspect(|rows| signals::rows_ingested(*rows))
    }

    async fn fill(
        &self,
        call: &mut Call,
        asked: &CommandStatementIngest,
        schema: &Schema,
        incoming: &mut Incoming,
    ) -> Result<i64, Status> {
        self.define(call, asked, schema).await.map_err(|error| call.refuse(error))?;
        let columns: Vec<String> = schema.fields().iter().map(|f| quoted(f.name())).collect();
        let sql = format!("COPY {} ({}) FROM STDIN", quoted(&asked.table), columns.join(", "));
        let begun = run(call.session(), &sql).await.map_err(|error| call.refuse(error))?;
        if !matches!(begun, Outcome::CopyIn { .. }) {
            return Err(refusal::internal("ingesting", "COPY took no rows"));
        }
        call.copies();
        loop {
            let batch = tokio::select! {
                error = call.session().copy_stopped() => return Err(refusal::status(error)),
                batch = incoming.batch() => batch,
            };
            let batch = match batch {
                Ok(Some(batch)) => batch,
                Ok(None) => break,
                Err(status) => {
                    // The status says more than "failed".
                    let _error = call.session().copy_fail(status.message());
                    return Err(status);
                }
            };
            call.session().copy_batch(&batch).await.map_err(|error| call.refuse(error))?;
        }
        let tag = call.session().copy_done().await.map_err(|error| call.refuse(error))?;
        let rows = tag.rsplit_once(' ').and_then(|(_, rows)| rows.parse().ok());
        Ok(rows.unwrap_or(0))
    }

    /// Sees to it that the table is there, as far as the client asks for that.
    async fn define(
        &self,
        call: &Call,
        asked: &CommandStatementIngest,
        schema: &Schema,
    ) -> QueryResult<()> {
        let TableDefinitionOptions { if_not_exist, if_exists } =
            asked.table_definition_options.unwrap_or_default();
        if call.session().has_table(&asked.table)? {
            return match TableExistsOption::try_from(if_exists) {
                Ok(TableExistsOption::Append | TableExistsOption::Unspecified) => Ok(()),
                Ok(TableExistsOption::Fail) => {
                    let message = format!("relation \"{}\" already exists", asked.table);
                    Err(QueryError::new("42P07", message))
                }
                Ok(TableExistsOption::Replace) => {
                    let message = "replacing a table by an ingest is not supported";
                    Err(QueryError::new("0A000", message)
                        .with_hint("TRUNCATE or DROP it before, and append or create."))
                }
                Err(_) => Err(QueryError::new("08P01", "an unknown choice for tables that exist")),
            };
        }
        if TableNotExistOption::try_from(if_not_exist) != Ok(TableNotExistOption::Create) {
            // COPY says what is wrong: there may be a view of that name.
            return Ok(());
        }
        if call.in_block() {
            let message = "a table cannot be created by an ingest in a transaction";
            return Err(QueryError::new("25001", message).with_hint("Create it before."));
        }
        run(call.session(), &create_table(&asked.table, schema)?).await.map(drop)
    }
}

fn check_target(asked: &CommandStatementIngest) -> QueryResult<()> {
    if asked.temporary {
        return Err(QueryError::new("0A000", "temporary tables are not supported"));
    }
    let other = |given: &Option<String>, own: &str| {
        given.as_deref().is_some_and(|given| !given.is_empty() && given != own)
    };
    if other(&asked.catalog, CATALOG) {
        return Err(QueryError::new("3D000", format!("there is one catalog, {CATALOG}")));
    }
    if other(&asked.schema, SCHEMA) {
        let message = format!("an ingest writes to tables of schema {SCHEMA} alone");
        return Err(QueryError::new("3F000", message));
    }
    if asked.table.is_empty() {
        return Err(QueryError::new("42602", "the ingest names no table"));
    }
    Ok(())
}

/// CREATE TABLE for rows of a schema.
///
/// A table needs a time and a key. Columns that cannot be null say which they are: the one time
/// among them is the table's, texts among them are its key. Guessing more would make keys of notes.
fn create_table(table: &str, schema: &Schema) -> QueryResult<String> {
    let needed = |field: &&Field| !field.is_nullable();
    let fields = || schema.fields().iter().map(|field| field.as_ref());
    let times: Vec<&Field> = fields().filter(needed).filter(|f| is_time(f.data_type())).collect();
    let keys: Vec<&Field> = fields().filter(needed).filter(|f| is_text(f.data_type())).collect();
    let ([time], false) = (times.as_slice(), keys.is_empty()) else {
        let message = format!(
            "relation \"{table}\" does not exist, and its time and key cannot be told from the rows"
        );
        return Err(QueryError::new("42P16", message).with_hint(
            "Declare one timestamp and the text columns of the key as not nullable in the Arrow \
             schema, or CREATE TABLE first.",
        ));
    };
    let mut columns = Vec::new();
    for field in fields() {
        let kind = sql_type(field)?;
        let not_null = if field.is_nullable() { "" } else { " NOT NULL" };
        columns.push(format!("{} {kind}{not_null}", quoted(field.name())));
    }
    let key: Vec<String> = keys.iter().chain([time]).map(|field| quoted(field.name())).collect();
    Ok(format!(
        "CREATE TABLE {} ({}, PRIMARY KEY ({}))",
        quoted(table),
        columns.join(", "),
        key.join(", ")
    ))
}

fn is_time(kind: &DataType) -> bool {
    matches!(kind, DataType::Timestamp(..))
}

fn is_text(kind: &DataType) -> bool {
    match kind {
        DataType::Dictionary(_, value) => is_text(value),
        kind => kind.is_string(),
    }
}

fn sql_type(field: &Field) -> QueryResult<&'static str> {
    let kind = match field.data_type() {
        DataType::Dictionary(_, value) => value.as_ref(),
        kind => kind,
    };
    Ok(match kind {
        DataType::Boolean => "boolean",
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => "smallint",
        DataType::UInt16 | DataType::Int32 => "integer",
        DataType::UInt32 | DataType::Int64 => "bigint",
        DataType::Float16 | DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytea",
        DataType::Timestamp(..) => "timestamptz",
        other => {
            let message = format!("column \"{}\": no column holds {other}", field.name());
            return Err(QueryError::new("0A000", message)
                .with_hint("Cast it before, or CREATE TABLE with the type that it is to have."));
        }
    })
}

/// A name in double quotes.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::TimeUnit;

    fn field(name: &str, kind: DataType, nullable: bool) -> Field {
        Field::new(name, kind, nullable)
    }

    #[test]
    fn tables_are_made_of_what_cannot_be_null() {
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let schema = Schema::new(vec![
            field("at", time.clone(), false),
            field("seen", time.clone(), true),
            field("de\"vice", DataType::Utf8, false),
            field("note", DataType::Utf8, true),
            field("n", DataType::Int64, false),
        ]);
        let expected = "CREATE TABLE \"t\" (\"at\" timestamptz NOT NULL, \"seen\" timestamptz, \
                        \"de\"\"vice\" text NOT NULL, \"note\" text, \"n\" bigint NOT NULL, \
                        PRIMARY KEY (\"de\"\"vice\", \"at\"))";
        assert_eq!(create_table("t", &schema).unwrap(), expected);
    }

    #[test]
    fn what_cannot_be_told_is_refused() {
        let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
        let code = |fields: Vec<Field>| {
            create_table("t", &Schema::new(fields)).map_err(|error| error.code)
        };
        let key = || field("k", DataType::Utf8, false);
        assert_eq!(code(vec![field("time", time.clone(), true), key()]), Err("42P16"));
        assert_eq!(code(vec![field("time", time.clone(), false)]), Err("42P16"));
        let two = vec![field("a", time.clone(), false), field("b", time.clone(), false), key()];
        assert_eq!(code(two), Err("42P16"));
        let odd = field("x", DataType::Date32, true);
        assert_eq!(code(vec![field("a", time.clone(), false), key(), odd]), Err("0A000"));
        code(vec![field("a", time, false), key()]).unwrap();
    }
}
