//! CREATE TABLE and ALTER TABLE as commands of the engine.

use datafusion::sql::sqlparser::ast::{
    AlterColumnOperation, AlterTable, AlterTableOperation, ColumnDef, ColumnOption, CreateTable,
    CreateTableOptions, DataType, ExactNumberInfo, Expr, IndexColumn, RenameTableNameKind,
    TableConstraint,
};
use tsdb::types::{ColumnId, ColumnType, TableOptions, TableSchema};
use tsdb::{Command, NewColumn, NewTable};

use super::options;
use crate::error::{QueryError, QueryResult};
use crate::insert::table_name;
use crate::names::folded;

/// A column as it is written.
struct Column {
    name: String,
    kind: ColumnType,
    not_null: bool,
    key: bool,
}

/// The table that a CREATE TABLE makes.
pub(super) fn new_table(create: &CreateTable) -> QueryResult<NewTable> {
    if create.query.is_some() {
        return Err(QueryError::internal("CREATE TABLE … AS has a way of its own"));
    }
    if create.like.is_some() || create.inherits.is_some() || create.partition_of.is_some() {
        return Err(QueryError::unsupported("LIKE, INHERITS and PARTITION OF"));
    }
    if create.temporary || create.or_replace || create.external {
        return Err(QueryError::unsupported("this form of CREATE TABLE"));
    }
    let name = table_name(&create.name)?;
    let mut columns = Vec::with_capacity(create.columns.len());
    for def in &create.columns {
        let column = column(def)?;
        if columns.iter().any(|c: &Column| c.name == column.name) {
            let message = format!("column \"{}\" specified more than once", column.name);
            return Err(QueryError::new("42701", message));
        }
        columns.push(column);
    }
    let mut keys: Vec<String> = columns.iter().filter(|c| c.key).map(|c| c.name.clone()).collect();
    for constraint in &create.constraints {
        match constraint {
            TableConstraint::PrimaryKey(primary) if keys.is_empty() => {
                keys = primary.columns.iter().map(key_name).collect::<QueryResult<_>>()?;
            }
            TableConstraint::PrimaryKey(_) => {
                let message = format!("multiple primary keys for table \"{name}\" are not allowed");
                return Err(QueryError::new("42P16", message));
            }
            other => return Err(QueryError::unsupported(format!("the constraint {other}"))),
        }
    }
    let time = time_of(&name, &keys, &columns)?;
    let columns: Vec<NewColumn> = columns
        .into_iter()
        .filter(|c| c.name != time)
        .map(|c| NewColumn {
            key: keys.contains(&c.name),
            not_null: c.not_null && !keys.contains(&c.name),
            name: c.name,
            kind: c.kind,
        })
        .collect();
    // A new table numbers its columns from 1.
    let numbered = (1..).zip(&columns).map(|(id, column)| (id, &*column.name, column.key));
    let key = |wanted: &str| key_number(wanted, &name, &time, numbered.clone());
    let options = match &create.table_options {
        CreateTableOptions::None => TableOptions::default(),
        CreateTableOptions::With(given) => options::read(given, TableOptions::default(), &key)?,
        _ => return Err(QueryError::unsupported("table options other than WITH (…)")),
    };
    Ok(NewTable { name, time_name: time, columns, options, if_not_exists: create.if_not_exists })
}

/// Number of the key column that a table is to be partitioned by, among its columns as (number, name,
/// whether it is of the key).
fn key_number<'a>(
    wanted: &str,
    table: &str,
    time: &str,
    mut columns: impl Iterator<Item = (ColumnId, &'a str, bool)>,
) -> QueryResult<ColumnId> {
    match columns.find(|(_, name, _)| *name == wanted) {
        Some((id, _, true)) => Ok(id),
        None if wanted != time => Err(QueryError::no_column(wanted, table)),
        _ => {
            let message = format!("partition_by: column \"{wanted}\" cannot partition a table");
            let hint = "Say a time span, then columns of the primary key other than its time.";
            Err(QueryError::new("22023", message).with_hint(hint))
        }
    }
}

fn key_name(column: &IndexColumn) -> QueryResult<String> {
    match &column.column.expr {
        Expr::Identifier(name) => Ok(folded(name)),
        other => Err(QueryError::new("42601", format!("bad column in PRIMARY KEY: {other}"))),
    }
}

/// The one time column of the key.
fn time_of(table: &str, keys: &[String], columns: &[Column]) -> QueryResult<String> {
    let hint = "Say PRIMARY KEY (device, time): the columns that name a series, and its time.";
    if keys.is_empty() {
        let message = format!("table \"{table}\" has no PRIMARY KEY");
        return Err(QueryError::new("42P16", message).with_hint(hint));
    }
    let mut time = None;
    for (i, key) in keys.iter().enumerate() {
        if keys[..i].contains(key) {
            let message = format!("column \"{key}\" appears twice in primary key constraint");
            return Err(QueryError::new("42701", message));
        }
        let Some(column) = columns.iter().find(|c| c.name == *key) else {
            let message = format!("column \"{key}\" named in key does not exist");
            return Err(QueryError::new("42703", message));
        };
        if column.kind == ColumnType::Timestamp && time.replace(key.clone()).is_some() {
            let message = "the primary key holds more than one time column";
            return Err(QueryError::new("42P16", message).with_hint(hint));
        }
    }
    time.ok_or_else(|| {
        let message = "the primary key holds no column of type timestamptz";
        QueryError::new("42P16", message).with_hint(hint)
    })
}

fn column(def: &ColumnDef) -> QueryResult<Column> {
    let name = folded(&def.name);
    let mut out = Column { kind: column_type(&def.data_type)?, name, not_null: false, key: false };
    for option in &def.options {
        match &option.option {
            ColumnOption::Null => {}
            ColumnOption::NotNull => out.not_null = true,
            ColumnOption::PrimaryKey(_) => out.key = true,
            other => {
                return Err(QueryError::unsupported(format!(
                    "\"{other}\" on column \"{}\"",
                    out.name
                )));
            }
        }
    }
    Ok(out)
}

/// The type behind an SQL name.
fn column_type(kind: &DataType) -> QueryResult<ColumnType> {
    let text = "Use text: it has no limit of length.";
    let refuse = |hint: &str| {
        Err(QueryError::unsupported(format!("type {}", kind.to_string().to_lowercase()))
            .with_hint(hint))
    };
    Ok(match kind {
        DataType::Boolean | DataType::Bool => ColumnType::Bool,
        DataType::SmallInt(None) | DataType::Int2(None) => ColumnType::Int16,
        DataType::Int(None) | DataType::Integer(None) | DataType::Int4(None) => ColumnType::Int32,
        DataType::BigInt(None) | DataType::Int8(None) => ColumnType::Int64,
        DataType::Real | DataType::Float4 => ColumnType::Float32,
        DataType::Float(ExactNumberInfo::Precision(p)) if *p <= 24 => ColumnType::Float32,
        DataType::Float(_)
        | DataType::Double(ExactNumberInfo::None)
        | DataType::DoublePrecision
        | DataType::Float8 => ColumnType::Float64,
        DataType::Text
        | DataType::String(None)
        | DataType::Varchar(None)
        | DataType::CharacterVarying(None)
        | DataType::CharVarying(None) => ColumnType::Text,
        DataType::Varchar(_)
        | DataType::CharacterVarying(_)
        | DataType::CharVarying(_)
        | DataType::Char(_)
        | DataType::Character(_) => return refuse(text),
        DataType::Bytea => ColumnType::Bytes,
        // Both are points in time here; one without a zone is in the session's.
        DataType::Timestamp(..) => ColumnType::Timestamp,
        DataType::Numeric(_) | DataType::Decimal(_) | DataType::Dec(_) => {
            return refuse("Use double precision, or bigint in the smallest unit.");
        }
        DataType::Custom(name, _) => {
            let name = name.to_string().to_lowercase();
            if ["serial", "bigserial", "smallserial"].contains(&name.as_str()) {
                return refuse("Rows are named by their key and time; there are no sequences.");
            }
            let message = format!("type \"{name}\" does not exist");
            return Err(QueryError::new("42704", message));
        }
        _ => {
            return refuse(
                "Columns are boolean, smallint, integer, bigint, real, double precision, text, \
                 bytea or timestamptz.",
            );
        }
    })
}

/// The commands that an ALTER TABLE stands for.
pub(super) fn alterations(alter: &AlterTable, table: &TableSchema) -> QueryResult<Vec<Command>> {
    let mut commands = Vec::new();
    for operation in &alter.operations {
        alteration(operation, table, &mut commands)?;
    }
    Ok(commands)
}

fn alteration(
    operation: &AlterTableOperation,
    table: &TableSchema,
    commands: &mut Vec<Command>,
) -> QueryResult<()> {
    let id = table.id;
    let exists = |name: &str| table.column(name).is_some() || table.time_name == name;
    match operation {
        AlterTableOperation::AddColumn { if_not_exists, column_def, .. } => {
            let column = column(column_def)?;
            if exists(&column.name) {
                if *if_not_exists {
                    return Ok(());
                }
                let (name, of) = (&column.name, &table.name);
                let message = format!("column \"{name}\" of relation \"{of}\" already exists");
                return Err(QueryError::new("42701", message));
            }
            if column.not_null {
                return Err(QueryError::unsupported("NOT NULL on a column that is added")
                    .with_hint("Rows that are there already have no value for it."));
            }
            let Column { name, kind, not_null, key } = column;
            let columns = vec![NewColumn { name, kind, key, not_null }];
            commands.push(Command::AddColumns { table: id, columns });
        }
        AlterTableOperation::DropColumn { column_names, if_exists, .. } => {
            for name in column_names.iter().map(folded) {
                match table.column(&name) {
                    Some(column) if column.key => return Err(key_stays(&name)),
                    Some(column) => {
                        commands.push(Command::DropColumn { table: id, column: column.id });
                    }
                    None if name == table.time_name => return Err(key_stays(&name)),
                    None if *if_exists => {}
                    None => return Err(QueryError::no_column(&name, &table.name)),
                }
            }
        }
        AlterTableOperation::RenameColumn { old_column_name, new_column_name } => {
            let (old, name) = (folded(old_column_name), folded(new_column_name));
            if exists(&name) {
                let message =
                    format!("column \"{name}\" of relation \"{}\" already exists", table.name);
                return Err(QueryError::new("42701", message));
            }
            let column = match table.column(&old) {
                Some(column) => Some(column.id),
                None if old == table.time_name => None,
                None => return Err(QueryError::no_column(&old, &table.name)),
            };
            commands.push(Command::RenameColumn { table: id, column, name });
        }
        AlterTableOperation::RenameTable { table_name: to } => {
            let (RenameTableNameKind::To(to) | RenameTableNameKind::As(to)) = to;
            commands.push(Command::RenameTable { table: id, name: table_name(to)? });
        }
        AlterTableOperation::SetOptionsParens { options: given } => {
            let numbered = table.columns.iter().map(|c| (c.id, &*c.name, c.key));
            let key =
                |wanted: &str| key_number(wanted, &table.name, &table.time_name, numbered.clone());
            let options = options::read(given, table.options.clone(), &key)?;
            commands.push(Command::SetOptions { table: id, options });
        }
        AlterTableOperation::AlterColumn {
            column_name,
            op: AlterColumnOperation::SetDataType { data_type, using: None, .. },
        } => {
            let name = folded(column_name);
            let column =
                table.column(&name).ok_or_else(|| QueryError::no_column(&name, &table.name))?;
            let kind = column_type(data_type)?;
            commands.push(Command::WidenColumn { table: id, column: column.id, kind });
        }
        other => return Err(QueryError::unsupported(format!("ALTER TABLE … {other}"))),
    }
    Ok(())
}

fn key_stays(name: &str) -> QueryError {
    QueryError::new("0A000", format!("column \"{name}\" is part of the primary key and stays"))
}
