//! Tables and views, with their columns where these are asked for.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow_flight::sql::CommandGetTables;
use futures::Stream;
use query::{QueryResult, Session};
use tonic::Status;

use super::{CATALOG, SCHEMA, is_of_catalog, literal, texts, unfiltered};
use crate::flight::ingest::quoted;
use crate::http::encode::type_name;
use crate::views::without_views;

/// Kinds of tables, in order of name.
const TYPES: [&str; 5] = ["MATERIALIZED VIEW", "SYSTEM TABLE", "SYSTEM VIEW", "TABLE", "VIEW"];
/// Tables of one message.
const BATCH_TABLES: usize = 256;

pub(super) fn types_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("table_type", DataType::Utf8, false)]))
}

pub(super) fn types() -> QueryResult<RecordBatch> {
    let names = Arc::new(StringArray::from(TYPES.to_vec()));
    Ok(RecordBatch::try_new(types_schema(), vec![names])?)
}

/// A table: schema, name, kind.
pub(super) type Found = (String, String, &'static str);

/// The tables that are asked for, in the order that Flight SQL wants.
pub(super) async fn find(session: &Session, asked: &CommandGetTables) -> QueryResult<Vec<Found>> {
    if !is_of_catalog(asked.catalog.as_ref()) {
        return Ok(Vec::new());
    }
    let like = |column: &str, pattern: Option<&String>| match pattern {
        Some(pattern) => format!(" AND {column} LIKE {}", literal(pattern)),
        None => String::new(),
    };
    let filters = |schema: &str, name: &str| {
        let of_schema = like(schema, asked.db_schema_filter_pattern.as_ref());
        format!("true{of_schema}{}", like(name, asked.table_name_filter_pattern.as_ref()))
    };
    let sql = format!(
        "SELECT table_schema, table_name, table_type FROM information_schema.tables WHERE {}",
        filters("table_schema", "table_name")
    );
    let mut found = texts::<3>(session, &sql).await?;
    let sql = format!(
        "SELECT schemaname, matviewname, 'MATERIALIZED VIEW' FROM pg_matviews WHERE {}",
        filters("schemaname", "matviewname")
    );
    found.extend(texts::<3>(session, &sql).await?);
    let found = found.into_iter().map(|[schema, name, kind]| {
        let schema = schema.unwrap_or_default();
        let kind = kind_of(&schema, kind.as_deref().unwrap_or_default());
        (schema, name.unwrap_or_default(), kind)
    });
    let wanted = |kind: &str| {
        asked.table_types.is_empty() || asked.table_types.iter().any(|wanted| wanted == kind)
    };
    let mut found: Vec<Found> = found.filter(|(_, _, kind)| wanted(kind)).collect();
    found.sort_unstable();
    Ok(found)
}

/// The kind as drivers know it.
fn kind_of(schema: &str, kind: &str) -> &'static str {
    match (schema == SCHEMA, kind) {
        (true, "VIEW") => "VIEW",
        (true, "MATERIALIZED VIEW") => "MATERIALIZED VIEW",
        (true, _) => "TABLE",
        (false, "VIEW") => "SYSTEM VIEW",
        (false, _) => "SYSTEM TABLE",
    }
}

/// The tables in messages of some hundred; columns are looked up when their message is asked for.
pub(super) fn batches(
    session: Arc<Session>,
    asked: CommandGetTables,
    found: Vec<Found>,
) -> impl Stream<Item = Result<RecordBatch, Status>> + Send + 'static {
    let state = Some((session, found.into_iter(), true));
    futures::stream::unfold(state, move |state| {
        let include = asked.include_schema;
        async move {
            let (session, mut left, first) = state?;
            let some: Vec<Found> = left.by_ref().take(BATCH_TABLES).collect();
            if some.is_empty() && !first {
                return None;
            }
            let batch = batch(&session, &some, include).await;
            let next = batch.is_ok().then_some((session, left, false));
            Some((batch, next))
        }
    })
}

async fn batch(session: &Session, some: &[Found], include: bool) -> Result<RecordBatch, Status> {
    let mut tables = unfiltered(include);
    for (schema, name, kind) in some {
        let columns = match include {
            true => columns(session, schema, name).await,
            false => Schema::empty(),
        };
        tables.append(CATALOG, schema, name, kind, &columns)?;
    }
    Ok(tables.build()?)
}

/// The columns of a table as a query of them gives them; none if it is gone by now.
async fn columns(session: &Session, schema: &str, name: &str) -> Schema {
    let sql = format!("SELECT * FROM {}.{}", quoted(schema), quoted(name));
    let described = match session.parse(&sql) {
        Ok(statements) => match statements.first() {
            Some(statement) => session.describe(statement, &[]).await,
            None => return Schema::empty(),
        },
        Err(error) => Err(error),
    };
    match described {
        Ok(described) => {
            let plain = without_views(&described.fields.unwrap_or_else(|| Schema::empty().into()));
            let told = plain.fields().iter().map(|field| described_field(field, schema, name));
            Schema::new(told.collect::<Vec<_>>())
        }
        Err(error) => {
            tracing::debug!(schema, name, %error, "a table cannot be described");
            Schema::empty()
        }
    }
}

/// A column with what drivers read of it beside its type.
fn described_field(field: &FieldRef, schema: &str, table: &str) -> Field {
    let mut told: HashMap<String, String> = field.metadata().clone();
    let kind = type_name(field.data_type());
    let pairs = [
        ("CATALOG_NAME", CATALOG),
        ("SCHEMA_NAME", schema),
        ("TABLE_NAME", table),
        ("TYPE_NAME", &kind),
        ("IS_AUTO_INCREMENT", "0"),
        ("IS_CASE_SENSITIVE", "1"),
        ("IS_SEARCHABLE", "1"),
    ];
    for (name, value) in pairs {
        told.insert(format!("ARROW:FLIGHT:SQL:{name}"), value.to_owned());
    }
    Field::clone(field).with_metadata(told)
}
