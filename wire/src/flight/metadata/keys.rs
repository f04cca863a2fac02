//! Primary keys, and foreign keys where there are any.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray, UInt8Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::sql::{
    CommandGetCrossReference, CommandGetExportedKeys, CommandGetImportedKeys,
    CommandGetPrimaryKeys, UpdateDeleteRules,
};
use query::{QueryResult, Session};

use super::{CATALOG, equal, is_of_catalog, literal, texts};

static PRIMARY: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("catalog_name", DataType::Utf8, true),
        Field::new("db_schema_name", DataType::Utf8, true),
        Field::new("table_name", DataType::Utf8, false),
        Field::new("column_name", DataType::Utf8, false),
        Field::new("key_name", DataType::Utf8, true),
        Field::new("key_sequence", DataType::Int32, false),
    ]))
});

static FOREIGN: LazyLock<SchemaRef> = LazyLock::new(|| {
    let side = |side: &str| {
        [
            Field::new(format!("{side}_catalog_name"), DataType::Utf8, true),
            Field::new(format!("{side}_db_schema_name"), DataType::Utf8, true),
            Field::new(format!("{side}_table_name"), DataType::Utf8, false),
            Field::new(format!("{side}_column_name"), DataType::Utf8, false),
        ]
    };
    let mut fields: Vec<Field> = side("pk").into_iter().chain(side("fk")).collect();
    fields.extend([
        Field::new("key_sequence", DataType::Int32, false),
        Field::new("fk_key_name", DataType::Utf8, true),
        Field::new("pk_key_name", DataType::Utf8, true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ]);
    Arc::new(Schema::new(fields))
});

pub(super) fn primary_schema() -> SchemaRef {
    PRIMARY.clone()
}

pub(super) fn foreign_schema() -> SchemaRef {
    FOREIGN.clone()
}

pub(super) async fn primary(
    session: &Session,
    asked: &CommandGetPrimaryKeys,
) -> QueryResult<RecordBatch> {
    let sql = format!(
        "SELECT k.table_schema, k.table_name, k.column_name, k.constraint_name, k.ordinal_position \
         FROM information_schema.table_constraints c \
         JOIN information_schema.key_column_usage k ON k.constraint_schema = c.constraint_schema \
         AND k.constraint_name = c.constraint_name AND k.table_name = c.table_name \
         WHERE c.constraint_type = 'PRIMARY KEY' AND k.table_name = {}{} \
         ORDER BY k.table_schema, k.ordinal_position",
        literal(&asked.table),
        equal("k.table_schema", asked.db_schema.as_ref())
    );
    let rows = match is_of_catalog(asked.catalog.as_ref()) {
        true => texts::<5>(session, &sql).await?,
        false => Vec::new(),
    };
    let columns: Vec<ArrayRef> = vec![
        catalogs(rows.len()),
        column(&rows, 0),
        column(&rows, 1),
        column(&rows, 2),
        column(&rows, 3),
        numbers(&rows, 4),
    ];
    Ok(RecordBatch::try_new(primary_schema(), columns)?)
}

/// Keys of other tables that point to a table.
pub(super) async fn exported(
    session: &Session,
    asked: &CommandGetExportedKeys,
) -> QueryResult<RecordBatch> {
    let of = side("u", &asked.table, asked.db_schema.as_ref());
    foreign(session, is_of_catalog(asked.catalog.as_ref()), &of, FOREIGN_FIRST).await
}

/// Keys of a table that point to others.
pub(super) async fn imported(
    session: &Session,
    asked: &CommandGetImportedKeys,
) -> QueryResult<RecordBatch> {
    let of = side("k", &asked.table, asked.db_schema.as_ref());
    foreign(session, is_of_catalog(asked.catalog.as_ref()), &of, PRIMARY_FIRST).await
}

/// Keys of one table that point to another.
pub(super) async fn cross(
    session: &Session,
    asked: &CommandGetCrossReference,
) -> QueryResult<RecordBatch> {
    let primary = side("u", &asked.pk_table, asked.pk_db_schema.as_ref());
    let foreign_side = side("k", &asked.fk_table, asked.fk_db_schema.as_ref());
    let here = is_of_catalog(asked.pk_catalog.as_ref()) && is_of_catalog(asked.fk_catalog.as_ref());
    foreign(session, here, &format!("{primary} AND {foreign_side}"), FOREIGN_FIRST).await
}

/// Orders of the answers, by the table at the other end.
const FOREIGN_FIRST: &str = "k.table_schema, k.table_name, k.constraint_name, k.ordinal_position";
const PRIMARY_FIRST: &str = "u.table_schema, u.table_name, k.constraint_name, k.ordinal_position";

/// One end of a key: `u` is the table that is pointed to, `k` the one that points.
fn side(alias: &str, table: &str, schema: Option<&String>) -> String {
    let of_schema = equal(&format!("{alias}.table_schema"), schema);
    format!("{alias}.table_name = {}{of_schema}", literal(table))
}

async fn foreign(
    session: &Session,
    is_here: bool,
    filter: &str,
    order: &str,
) -> QueryResult<RecordBatch> {
    let sql = format!(
        "SELECT u.table_schema, u.table_name, u.column_name, k.table_schema, k.table_name, \
         k.column_name, k.ordinal_position, k.constraint_name, u.constraint_name, r.update_rule, \
         r.delete_rule FROM information_schema.referential_constraints r \
         JOIN information_schema.key_column_usage k ON k.constraint_schema = r.constraint_schema \
         AND k.constraint_name = r.constraint_name \
         JOIN information_schema.key_column_usage u \
         ON u.constraint_schema = r.unique_constraint_schema \
         AND u.constraint_name = r.unique_constraint_name \
         AND u.ordinal_position = k.position_in_unique_constraint \
         WHERE {filter} ORDER BY {order}"
    );
    let rows = match is_here {
        true => texts::<11>(session, &sql).await?,
        false => Vec::new(),
    };
    let columns: Vec<ArrayRef> = vec![
        catalogs(rows.len()),
        column(&rows, 0),
        column(&rows, 1),
        column(&rows, 2),
        catalogs(rows.len()),
        column(&rows, 3),
        column(&rows, 4),
        column(&rows, 5),
        numbers(&rows, 6),
        column(&rows, 7),
        column(&rows, 8),
        rules(&rows, 9),
        rules(&rows, 10),
    ];
    Ok(RecordBatch::try_new(foreign_schema(), columns)?)
}

fn catalogs(rows: usize) -> ArrayRef {
    Arc::new(StringArray::from(vec![CATALOG; rows]))
}

fn column<const N: usize>(rows: &[[Option<String>; N]], at: usize) -> ArrayRef {
    Arc::new(StringArray::from_iter(rows.iter().map(|row| row[at].as_deref())))
}

fn numbers<const N: usize>(rows: &[[Option<String>; N]], at: usize) -> ArrayRef {
    let number = |row: &[Option<String>; N]| row[at].as_ref()?.parse::<i32>().ok();
    Arc::new(Int32Array::from_iter(rows.iter().map(number)))
}

fn rules<const N: usize>(rows: &[[Option<String>; N]], at: usize) -> ArrayRef {
    let rules = rows.iter().map(|row| {
        let rule = match row[at].as_deref() {
            Some("CASCADE") => UpdateDeleteRules::Cascade,
            Some("RESTRICT") => UpdateDeleteRules::Restrict,
            Some("SET NULL") => UpdateDeleteRules::SetNull,
            Some("SET DEFAULT") => UpdateDeleteRules::SetDefault,
            _ => UpdateDeleteRules::NoAction,
        };
        rule as u8
    });
    Arc::new(UInt8Array::from_iter_values(rules))
}
