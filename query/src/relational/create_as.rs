//! CREATE TABLE … AS and SELECT … INTO: a relational table of what a query gives.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::sql::sqlparser::ast::{
    self, CreateTable, CreateTableOptions, ObjectName, OnCommit,
};
use futures::StreamExt;
use tsdb::Command;
use tsdb::rows::RowChange;

use super::arrays;
use super::def::{Column, Redefine, SPACE_ROWS, TableDef};
use super::define::{check_name, check_settings, exists, is_taken};
use super::insert::{too_large, too_many};
use super::kind::Kind;
use super::writer::{BYTES_MAX, ROWS_MAX, Row, Table, row_key};
use super::{COLUMNS_MAX, TABLES_MAX};
use crate::Outcome;
use crate::ddl::{apply, done};
use crate::error::{QueryError, QueryResult};
use crate::insert::table_name;
use crate::names::Names;
use crate::rights;
use crate::session::{Session, Tree};
use crate::statement::Kind as Statements;

/// A CREATE TABLE … AS, or a SELECT … INTO.
#[derive(Clone, Debug)]
pub(crate) struct CreateAs {
    name: ObjectName,
    /// Names for the columns, the first of them at least.
    columns: Vec<String>,
    if_not_exists: bool,
    /// Whether it is temporary, and what COMMIT does then.
    temporary: Option<Option<OnCommit>>,
    query: String,
}

impl CreateAs {
    /// Of a CREATE TABLE that has a query.
    pub(crate) fn of_create(create: &CreateTable) -> QueryResult<Option<CreateAs>> {
        let Some(query) = &create.query else { return Ok(None) };
        if create.or_replace || create.external || !create.constraints.is_empty() {
            return Err(QueryError::unsupported("this form of CREATE TABLE … AS"));
        }
        if !create.columns.is_empty() {
            return Err(QueryError::unsupported("types of columns in CREATE TABLE … AS")
                .with_hint("Cast them in the query."));
        }
        let name = create.name.clone();
        match &create.table_options {
            CreateTableOptions::None => {}
            CreateTableOptions::With(given) => check_settings(given, &name.to_string())?,
            _ => return Err(QueryError::unsupported("table options other than WITH (…)")),
        }
        Ok(Some(CreateAs {
            name,
            columns: Vec::new(),
            if_not_exists: create.if_not_exists,
            temporary: create.temporary.then_some(create.on_commit),
            query: query.to_string(),
        }))
    }

    pub(crate) fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }

    pub(crate) fn name(&self) -> &ObjectName {
        &self.name
    }

    pub(crate) fn name_mut(&mut self) -> &mut ObjectName {
        &mut self.name
    }

    /// With names for the columns.
    pub(crate) fn with_columns(self, columns: Vec<String>) -> CreateAs {
        CreateAs { columns, ..self }
    }

    /// Of a SELECT that says INTO.
    pub(crate) fn of_into(query: &ast::Query) -> QueryResult<CreateAs> {
        let mut query = query.clone();
        let into = match query.body.as_mut() {
            ast::SetExpr::Select(select) => select.into.take(),
            _ => None,
        };
        let into = into.ok_or_else(|| QueryError::unsupported("INTO in a part of a query"))?;
        if into.unlogged {
            return Err(QueryError::unsupported("SELECT INTO UNLOGGED"));
        }
        Ok(CreateAs {
            name: into.name,
            columns: Vec::new(),
            if_not_exists: false,
            temporary: into.temporary.then_some(None),
            query: query.to_string(),
        })
    }
}

/// Runs it.
pub(crate) async fn create_as(session: &Session, create: &CreateAs) -> QueryResult<Outcome> {
    let name = table_name(&create.name)?;
    let temporary = match &create.temporary {
        Some(on_commit) => Some(super::temporary::read(session, on_commit.as_ref())?),
        None => {
            rights::may_create(session, "CREATE TABLE AS", &name)?;
            None
        }
    };
    let taken = || match temporary {
        Some(_) => super::temporary::is_taken(session, &name),
        None => is_taken(session, &name),
    };
    if taken()? {
        return match create.if_not_exists {
            true => done("CREATE TABLE AS"),
            false => Err(exists(&name)),
        };
    }
    check_name(&name, "table")?;
    let (columns, rows) = read(session, create).await?;
    let engine = session.engine().clone();
    let _guard = engine.definitions().lock().await;
    if taken()? {
        return Err(exists(&name));
    }
    let relations = session.relations(&session.snapshot())?;
    if relations.list.len() >= TABLES_MAX {
        let message = format!("a database may have {TABLES_MAX} relational tables");
        return Err(QueryError::new("54000", message));
    }
    let mut redefine = Redefine::new(&relations);
    let (number, storage) = (redefine.number(), redefine.number());
    let mut def = TableDef::new(number, storage, name);
    def.temporary = temporary;
    def.next_column = columns.len() as u32 + 1;
    def.columns = columns;
    let (count, shared) = (rows.len(), Arc::new(def));
    let table = Table::new(&shared)?;
    let put = move || {
        (1u64..)
            .zip(&rows)
            .map(|(number, row)| {
                let key = row_key(&table.def, &number.to_be_bytes());
                Ok(RowChange::Put { space: SPACE_ROWS, key, value: table.encode(row)? })
            })
            .collect::<QueryResult<Vec<_>>>()
    };
    let changes = session.on_workers(async move { put() }).await?;
    changes.into_iter().for_each(|change| redefine.change(change));
    redefine.put(TableDef::clone(&shared));
    apply(session, vec![Command::Rows(redefine.command()?)]).await?;
    rights::own(session, &shared.name).await?;
    done(&format!("SELECT {count}"))
}

/// The columns and rows of the query.
async fn read(session: &Session, create: &CreateAs) -> QueryResult<(Vec<Column>, Vec<Row>)> {
    let statement = match session.parse(&create.query)?.pop() {
        Some(statement) => session.resolved(&statement)?,
        None => return Err(QueryError::internal("a query without a text")),
    };
    let Statements::Query(ast) = statement.kind() else {
        return Err(QueryError::new("42601", "CREATE TABLE AS takes one SELECT"));
    };
    let names = Names::of(ast);
    let (schema, mut stream) = session.start(Tree::of_kept(&statement), &[], names).await?;
    if create.columns.len() > schema.fields().len() {
        return Err(QueryError::new("42601", "too many column names were specified"));
    }
    if schema.fields().len() > COLUMNS_MAX {
        let message = format!("tables can have at most {COLUMNS_MAX} columns");
        return Err(QueryError::new("54011", message));
    }
    let mut columns: Vec<Column> = Vec::with_capacity(schema.fields().len());
    for (at, field) in schema.fields().iter().enumerate() {
        let name = create.columns.get(at).unwrap_or(field.name()).clone();
        check_name(&name, "column")?;
        if columns.iter().any(|column| column.name == name) {
            let message = format!("column \"{name}\" specified more than once");
            return Err(QueryError::new("42701", message));
        }
        let (id, kind) = (at as u32 + 1, kind_of(field, "CREATE TABLE … AS")?);
        let (not_null, default, missing, sequence) = (false, None, None, None);
        columns.push(Column { id, name, kind, not_null, default, missing, sequence });
    }
    let zone = session.settings().zone().to_string();
    let (mut rows, mut bytes): (Vec<Row>, usize) = (Vec::new(), 0);
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        let from = rows.len();
        rows.resize_with(from + batch.num_rows(), || Vec::with_capacity(columns.len()));
        for (array, column) in batch.columns().iter().zip(&columns) {
            let values = arrays::assign(array, (&column.name, column.kind), &zone)?;
            for (row, value) in rows[from..].iter_mut().zip(values) {
                bytes += value.bytes();
                row.push(value);
            }
        }
        if bytes > BYTES_MAX {
            return Err(too_large());
        }
        if rows.len() > ROWS_MAX {
            return Err(too_many());
        }
    }
    Ok((columns, rows))
}

/// The type of a column that takes what a query gives; `place`: the statement that asks.
pub(crate) fn kind_of(field: &Field, place: &str) -> QueryResult<Kind> {
    Ok(match field.data_type() {
        DataType::Boolean => Kind::Bool,
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => Kind::Int2,
        DataType::Int32 | DataType::UInt16 => Kind::Int4,
        DataType::Int64 | DataType::UInt32 => Kind::Int8,
        DataType::UInt64 => Kind::Numeric(20, 0),
        DataType::Float16 | DataType::Float32 => Kind::Float4,
        DataType::Float64 => Kind::Float8,
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s)
            if *s >= 0 && *s as u8 <= *p =>
        {
            Kind::Numeric(*p, *s)
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => Kind::Text,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Kind::Bytes,
        DataType::FixedSizeBinary(16) => Kind::Uuid,
        DataType::Date32 | DataType::Date64 => Kind::Date,
        DataType::Timestamp(_, None) => Kind::Timestamp,
        DataType::Timestamp(_, Some(_)) => Kind::Timestamptz,
        other => {
            let name = field.name();
            let message = format!("a column \"{name}\" of type {other} in {place}");
            return Err(QueryError::unsupported(message).with_hint("Cast it to text."));
        }
    })
}
