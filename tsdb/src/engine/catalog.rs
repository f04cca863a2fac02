//! The catalogue: which tables and columns there are. Kept in memory by the state, and as rows of
//! space 0 in the row store (FORMAT.md, "Catalogue rows"). Changes come only from apply, so they
//! are pure functions of the catalogue before and the command.

use crate::error::{Error, Result};
use crate::rows::{RowChange, RowSnapshot};
use crate::types::{
    ColumnId, ColumnSpec, ColumnType, PARTITION_COLUMNS_MAX, TableId, TableOptions, TableSchema,
};

use super::bytes::{Reader, put_bytes};
use super::command::{Command, NewColumn, NewTable};
use super::options::Options;
use super::record;
use super::state::State;

/// Space of the row store that holds the catalogue.
pub const CATALOG_SPACE: u16 = 0;
const NEXT_TABLE_KEY: &[u8] = b"n";
const NAME_BYTES_MAX: usize = 255;
const URL_BYTES_MAX: usize = 4096;
const PARTITION_NS_MIN: i64 = 1_000_000_000;

/// Row key of a table.
pub fn table_key(table: TableId) -> Vec<u8> {
    let mut key = b"t".to_vec();
    key.extend_from_slice(&table.to_be_bytes());
    key
}

/// The row that stores a table.
pub fn table_row(schema: &TableSchema) -> RowChange {
    RowChange::Put { space: CATALOG_SPACE, key: table_key(schema.id), value: encode_schema(schema) }
}

/// The row that stores the next free table number.
pub fn next_table_row(next: TableId) -> RowChange {
    RowChange::Put {
        space: CATALOG_SPACE,
        key: NEXT_TABLE_KEY.to_vec(),
        value: next.to_le_bytes().to_vec(),
    }
}

/// Reads all tables and the next free number out of the row store.
///
/// # Errors
/// [`Error::Corrupt`] if a row does not decode.
pub fn load(rows: &RowSnapshot) -> Result<(Vec<TableSchema>, TableId)> {
    let mut tables = Vec::new();
    for (_, value) in rows.scan(CATALOG_SPACE, b"t")? {
        tables.push(decode_schema(&value)?);
    }
    let next = match rows.get(CATALOG_SPACE, NEXT_TABLE_KEY)? {
        Some(bytes) => Reader::new(&bytes, "next table number").u32()?,
        None => 1,
    };
    Ok((tables, next))
}

fn encode_schema(schema: &TableSchema) -> Vec<u8> {
    let mut out = vec![1u8];
    out.extend_from_slice(&schema.id.to_le_bytes());
    put_bytes(&mut out, schema.name.as_bytes());
    put_bytes(&mut out, schema.time_name.as_bytes());
    out.extend_from_slice(&schema.next_column.to_le_bytes());
    out.extend_from_slice(&schema.version.to_le_bytes());
    record::put_options(&mut out, &schema.options);
    out.extend_from_slice(&(schema.columns.len() as u32).to_le_bytes());
    for column in &schema.columns {
        out.extend_from_slice(&column.id.to_le_bytes());
        put_bytes(&mut out, column.name.as_bytes());
        out.push(column.kind as u8);
        out.push(u8::from(column.key) | u8::from(column.not_null) << 1);
    }
    out
}

fn decode_schema(bytes: &[u8]) -> Result<TableSchema> {
    let mut reader = Reader::new(bytes, "catalogue row of a table");
    let version = reader.u8()?;
    if version != 1 {
        return Err(reader.error(format_args!("version {version} is newer than this program")));
    }
    let id = reader.u32()?;
    let name = reader.text()?;
    let time_name = reader.text()?;
    let next_column = reader.u16()?;
    let version = reader.u32()?;
    let options = record::options(&mut reader)?;
    if let Err(error) = check_options(&options) {
        return Err(reader.error(error));
    }
    let count = reader.count(8)?;
    let mut columns = Vec::with_capacity(count);
    for _ in 0..count {
        let id = reader.u16()?;
        let name = reader.text()?;
        let kind = record::column_type(&mut reader)?;
        let flags = reader.u8()?;
        let (key, not_null) = (flags & 1 != 0, flags & 2 != 0);
        columns.push(ColumnSpec { id, name, kind, key, not_null });
    }
    reader.end()?;
    let schema = TableSchema { id, name, time_name, columns, next_column, options, version };
    if let Err(error) = check_partition_columns(&schema, &schema.options) {
        return Err(reader.error(error));
    }
    Ok(schema)
}

/// Checks a command against the limits of this process's settings. Only before it is logged: apply
/// must come to the same result whatever the settings are when the log is read again.
///
/// # Errors
/// [`Error::Invalid`] naming the limit.
pub fn check_limits(command: &Command, state: &State, options: &Options) -> Result<()> {
    if let Command::CreateTable(NewTable { options: settings, .. })
    | Command::SetOptions { options: settings, .. } = command
        && let Some(url) = &settings.archive
    {
        options.check_store(url)?;
    }
    let columns_max = usize::from(options.columns_max);
    let (name, columns) = match command {
        Command::CreateTable(new) => {
            let known = state.names.contains_key(&new.name);
            if !known && state.tables.len() >= options.tables_max as usize {
                let most = options.tables_max;
                return Err(Error::Invalid(format!("the database has its most tables ({most})")));
            }
            (&new.name, new.columns.len())
        }
        Command::AddColumns { table, columns } => {
            let Some(table) = state.tables.get(table) else { return Ok(()) };
            let schema = &table.schema;
            let new = columns.iter().filter(|c| schema.column(&c.name).is_none()).count();
            (&schema.name, if new > 0 { schema.columns.len() + new } else { 0 })
        }
        _ => return Ok(()),
    };
    if columns > columns_max {
        return Err(Error::Invalid(format!(
            "table \"{name}\" cannot have {columns} columns; at most {columns_max} are taken"
        )));
    }
    Ok(())
}

/// Checks a name that a user gave to a table or column.
///
/// # Errors
/// [`Error::Invalid`] saying what is wrong with it.
pub fn check_name(what: &str, name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::Invalid(format!("the name of a {what} is empty")));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(Error::Invalid(format!(
            "the name of a {what} has {} bytes; at most {NAME_BYTES_MAX} are taken",
            name.len()
        )));
    }
    if name.contains('\0') {
        return Err(Error::Invalid(format!("the name of a {what} contains a NUL")));
    }
    Ok(())
}

/// Checks the settings of a table.
///
/// # Errors
/// [`Error::Invalid`] naming the setting.
pub fn check_options(options: &TableOptions) -> Result<()> {
    if options.partition_ns < PARTITION_NS_MIN {
        return Err(Error::Invalid("partition_by must be at least one second".into()));
    }
    if options.archive.as_ref().is_some_and(|url| url.len() > URL_BYTES_MAX) {
        return Err(Error::Invalid(format!("archive must have at most {URL_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// Checks that the columns that partition a table are some of its key, each once.
///
/// # Errors
/// [`Error::Invalid`] naming the setting, [`Error::NotFound`] for a column that is not there.
pub fn check_partition_columns(schema: &TableSchema, options: &TableOptions) -> Result<()> {
    let columns = &options.partition_columns;
    if columns.len() > PARTITION_COLUMNS_MAX {
        let why = format!("partition_by takes at most {PARTITION_COLUMNS_MAX} key columns");
        return Err(Error::Invalid(why));
    }
    for (at, column) in columns.iter().enumerate() {
        let Some(spec) = schema.column_by_id(*column) else {
            let name = &schema.name;
            return Err(Error::NotFound(format!("table \"{name}\" has no column {column}")));
        };
        if !spec.key {
            return Err(Error::Invalid(format!(
                "partition_by takes columns of the key only; \"{}\" is a field",
                spec.name
            )));
        }
        if columns[..at].contains(column) {
            return Err(Error::Invalid(format!("partition_by names \"{}\" twice", spec.name)));
        }
    }
    Ok(())
}

/// A new table's schema.
///
/// # Errors
/// [`Error::Invalid`] for bad names or settings, [`Error::Exists`] for a name given twice.
pub fn create(new: &NewTable, id: TableId) -> Result<TableSchema> {
    check_name("table", &new.name)?;
    check_name("column", &new.time_name)?;
    check_options(&new.options)?;
    let mut schema = TableSchema {
        id,
        name: new.name.clone(),
        time_name: new.time_name.clone(),
        columns: Vec::new(),
        next_column: 1,
        options: new.options.clone(),
        version: 0,
    };
    for column in &new.columns {
        if schema.column(&column.name).is_some() {
            return Err(Error::Exists(format!("column \"{}\" is given twice", column.name)));
        }
        add_column(&mut schema, column)?;
    }
    check_partition_columns(&schema, &schema.options)?;
    schema.version = 1;
    Ok(schema)
}

/// Adds columns to a schema; returns their numbers in the order asked for, and the new schema if
/// anything changed.
///
/// # Errors
/// [`Error::TypeMismatch`] or [`Error::Exists`] where a name is taken otherwise.
pub fn add_columns(
    schema: &TableSchema,
    columns: &[NewColumn],
) -> Result<(Vec<ColumnId>, Option<TableSchema>)> {
    let mut wider = schema.clone();
    let mut ids = Vec::with_capacity(columns.len());
    for column in columns {
        ids.push(match wider.column(&column.name) {
            Some(found) => fit(schema, found, column)?,
            None => add_column(&mut wider, column)?,
        });
    }
    if wider.next_column == schema.next_column {
        return Ok((ids, None));
    }
    wider.version += 1;
    Ok((ids, Some(wider)))
}

fn fit(schema: &TableSchema, found: &ColumnSpec, wanted: &NewColumn) -> Result<ColumnId> {
    if found.key != wanted.key {
        let (is, asked) = if found.key { ("a tag", "a field") } else { ("a field", "a tag") };
        return Err(Error::TypeMismatch(format!(
            "\"{}\" is {is} of table \"{}\" and cannot be {asked} too",
            found.name, schema.name
        )));
    }
    let widens = found.kind == ColumnType::Float64 && wanted.kind == ColumnType::Int64;
    if found.kind != wanted.kind && !widens {
        return Err(Error::TypeMismatch(format!(
            "column \"{}\" of table \"{}\" is {}, not {}",
            found.name, schema.name, found.kind, wanted.kind
        )));
    }
    Ok(found.id)
}

fn add_column(schema: &mut TableSchema, column: &NewColumn) -> Result<ColumnId> {
    check_name("column", &column.name)?;
    if column.name == schema.time_name {
        return Err(Error::Exists(format!(
            "\"{}\" is the time column of table \"{}\"",
            column.name, schema.name
        )));
    }
    let Some(next) = schema.next_column.checked_add(1) else {
        return Err(Error::Invalid(format!(
            "table \"{}\" has used up its column numbers",
            schema.name
        )));
    };
    let id = schema.next_column;
    schema.next_column = next;
    schema.columns.push(ColumnSpec {
        id,
        name: column.name.clone(),
        kind: column.kind,
        key: column.key,
        not_null: column.not_null,
    });
    Ok(id)
}

/// Widens a field's type.
///
/// # Errors
/// [`Error::NotFound`], or [`Error::TypeMismatch`] where old values might not fit.
pub fn widen(schema: &TableSchema, column: ColumnId, kind: ColumnType) -> Result<TableSchema> {
    let mut wider = schema.clone();
    let Some(spec) = wider.columns.iter_mut().find(|c| c.id == column && !c.key) else {
        return Err(Error::NotFound(format!("table \"{}\" has no field {column}", schema.name)));
    };
    use ColumnType as T;
    let holds = matches!(
        (spec.kind, kind),
        (T::Int16, T::Int32 | T::Int64 | T::Float64)
            | (T::Int32, T::Int64 | T::Float64)
            | (T::Int64, T::Float64)
            | (T::Float32, T::Float64)
    );
    if !holds {
        return Err(Error::TypeMismatch(format!(
            "column \"{}\" is {}; {kind} does not hold every value of it",
            spec.name, spec.kind
        )));
    }
    spec.kind = kind;
    wider.version += 1;
    Ok(wider)
}

/// Drops a field.
///
/// # Errors
/// [`Error::NotFound`], or [`Error::Invalid`] for a key column.
pub fn drop_column(schema: &TableSchema, column: ColumnId) -> Result<TableSchema> {
    match schema.column_by_id(column) {
        None => {
            return Err(Error::NotFound(format!(
                "table \"{}\" has no column {column}",
                schema.name
            )));
        }
        Some(spec) if spec.key => {
            return Err(Error::Invalid(format!(
                "column \"{}\" belongs to the key of table \"{}\" and cannot be dropped",
                spec.name, schema.name
            )));
        }
        Some(_) => {}
    }
    let mut narrower = schema.clone();
    narrower.columns.retain(|c| c.id != column);
    narrower.version += 1;
    Ok(narrower)
}

/// Renames a column, or the time column for `None`.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Exists`] or [`Error::Invalid`].
pub fn rename_column(
    schema: &TableSchema,
    column: Option<ColumnId>,
    name: &str,
) -> Result<TableSchema> {
    check_name("column", name)?;
    if schema.column(name).is_some() || schema.time_name == name {
        return Err(Error::Exists(format!(
            "table \"{}\" has a column \"{name}\" already",
            schema.name
        )));
    }
    let mut renamed = schema.clone();
    match column {
        None => renamed.time_name = name.to_string(),
        Some(id) => match renamed.columns.iter_mut().find(|c| c.id == id) {
            Some(spec) => spec.name = name.to_string(),
            None => {
                return Err(Error::NotFound(format!(
                    "table \"{}\" has no column {id}",
                    schema.name
                )));
            }
        },
    }
    renamed.version += 1;
    Ok(renamed)
}

/// The names of tables for error texts.
pub fn no_table(table: TableId) -> Error {
    Error::NotFound(format!("there is no table {table}; it may have been dropped"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::TableOptions;

    fn column(name: &str, kind: ColumnType, key: bool) -> NewColumn {
        NewColumn { name: name.into(), kind, key, not_null: false }
    }

    fn table() -> TableSchema {
        let new = NewTable {
            name: "press".into(),
            time_name: "time".into(),
            columns: vec![
                column("device", ColumnType::Text, true),
                column("heat", ColumnType::Float64, false),
            ],
            options: TableOptions::default(),
            if_not_exists: false,
        };
        create(&new, 7).unwrap()
    }

    #[test]
    fn schemas_come_back() {
        let schema = table();
        let bytes = encode_schema(&schema);
        assert_eq!(decode_schema(&bytes).unwrap(), schema);
        for cut in 0..bytes.len() {
            assert!(decode_schema(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn numbers_of_dropped_columns_stay_unused() {
        let schema = drop_column(&table(), 2).unwrap();
        let (ids, wider) =
            add_columns(&schema, &[column("heat", ColumnType::Int64, false)]).unwrap();
        assert_eq!(ids, [3]);
        assert_eq!(wider.unwrap().column("heat").unwrap().kind, ColumnType::Int64);
    }

    #[test]
    fn an_integer_fits_a_float_but_not_the_reverse() {
        let asked = [column("heat", ColumnType::Int64, false)];
        assert_eq!(add_columns(&table(), &asked).unwrap().0, [2]);
        for wrong in [
            column("heat", ColumnType::Text, false),
            column("heat", ColumnType::Float64, true),
            column("device", ColumnType::Text, false),
            column("time", ColumnType::Text, false),
        ] {
            assert!(add_columns(&table(), &[wrong]).is_err());
        }
    }

    #[test]
    fn types_only_widen() {
        assert!(widen(&table(), 2, ColumnType::Int64).is_err());
        assert!(widen(&table(), 1, ColumnType::Float64).is_err());
    }
}
