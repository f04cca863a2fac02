//! Key groups of partitions as text: `site=a, line=NULL`, and `site: others` for values that share
//! partitions.

use tsdb::KeyGroup;
use tsdb::types::{ColumnId, ColumnType, Key, TableSchema, Value, time_text};

/// The key columns that partition a table, in their order; `None` if there are none.
pub(super) fn columns(schema: &TableSchema) -> Option<String> {
    let columns = &schema.options.partition_columns;
    (!columns.is_empty()).then(|| names(schema, columns).join(", "))
}

/// What the keys of a partition have in common.
pub(super) fn text(schema: &TableSchema, group: &KeyGroup) -> String {
    let names = names(schema, &group.columns);
    let Some(values) = &group.values else { return format!("{}: others", names.join(", ")) };
    let kind = |id: &ColumnId| schema.column_by_id(*id).map(|column| column.kind);
    let values = group.columns.iter().map(kind).zip(values);
    let pairs = names.iter().zip(values).map(|(name, (kind, value))| {
        format!("{name}={}", value_text(kind.unwrap_or(ColumnType::Bytes), value))
    });
    pairs.collect::<Vec<_>>().join(", ")
}

fn names(schema: &TableSchema, columns: &[ColumnId]) -> Vec<String> {
    let name = |id: &ColumnId| match schema.column_by_id(*id) {
        Some(column) => column.name.clone(),
        None => format!("#{id}"),
    };
    columns.iter().map(name).collect()
}

fn value_text(kind: ColumnType, value: &[u8]) -> String {
    if value.is_empty() {
        return "NULL".into();
    }
    match (kind, Key::decode_value(kind, value)) {
        (ColumnType::Text, _) => String::from_utf8_lossy(value).into_owned(),
        (ColumnType::Timestamp, Some(Value::Int(time))) => time_text(time),
        (_, Some(Value::Int(number))) => number.to_string(),
        (_, Some(Value::Float(number))) => number.to_string(),
        (_, Some(Value::Bool(truth))) => truth.to_string(),
        _ => {
            let digits: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("\\x{digits}")
        }
    }
}
