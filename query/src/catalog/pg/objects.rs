//! Tables, columns and keys in words: names, options, and definitions as `pg_get_…def` give them.

use tsdb::types::TableSchema;

use super::kinds::oid_of;
use crate::schema::bare;
use crate::view::View;

/// Settings of a table as `WITH (…)` says them.
pub(super) fn options(schema: &TableSchema) -> Vec<String> {
    let o = &schema.options;
    let seconds = |ns: i64| format!("{} seconds", ns / 1_000_000_000);
    let mut partition = format!("partition_by={}", seconds(o.partition_ns));
    for column in o.partition_columns.iter().filter_map(|id| schema.column_by_id(*id)) {
        partition.push_str(", ");
        partition.push_str(&quoted(&column.name));
    }
    let mut out = vec![partition, format!("merge={}", o.merge.name())];
    out.extend(o.retention_ns.map(|ns| format!("retention={}", seconds(ns))));
    out.extend(o.archive_after_ns.map(|ns| format!("archive_after={}", seconds(ns))));
    out.extend(o.archive.as_ref().map(|url| format!("archive={url}")));
    out
}

/// Name of the index behind the key.
pub(in crate::catalog) fn index_name(schema: &TableSchema) -> String {
    format!("{}_pkey", schema.name)
}

/// Columns of a table as (number, name, type's oid, not null); the first is the time.
pub(in crate::catalog) fn columns(schema: &TableSchema) -> Vec<(i64, String, i64, bool)> {
    let mut out = vec![(1, schema.time_name.clone(), 1184, true)];
    for (i, column) in schema.columns.iter().enumerate() {
        // Keys may miss a value, which SQL shows as NULL.
        let not_null = column.not_null && !column.key;
        out.push((i as i64 + 2, column.name.clone(), oid_of(column.kind), not_null));
    }
    out
}

/// Numbers of the key's columns: the keys, then the time.
pub(in crate::catalog) fn key_numbers(schema: &TableSchema) -> Vec<i64> {
    let keys = schema.columns.iter().enumerate().filter(|(_, c)| c.key);
    keys.map(|(i, _)| i as i64 + 2).chain([1]).collect()
}

/// Names of the key's columns: the keys, then the time.
pub(in crate::catalog) fn key_names(schema: &TableSchema) -> Vec<String> {
    schema.keys().map(|c| c.name.clone()).chain([schema.time_name.clone()]).collect()
}

/// What pg_get_viewdef gives.
pub(in crate::catalog) fn view_definition(view: &View) -> String {
    format!(" {};", view.text)
}

/// An identifier, quoted where it must be.
pub(in crate::catalog) fn quoted(name: &str) -> String {
    let plain = name.bytes().enumerate().all(|(i, b)| {
        b.is_ascii_lowercase() || b == b'_' || (i > 0 && (b.is_ascii_digit() || b == b'$'))
    });
    match plain && !name.is_empty() {
        true => name.to_string(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

fn key_list(schema: &TableSchema) -> String {
    let names: Vec<String> = key_names(schema).iter().map(|n| quoted(n)).collect();
    names.join(", ")
}

/// What pg_get_indexdef gives.
pub(in crate::catalog) fn index_definition(schema: &TableSchema) -> String {
    let unique = match schema.options.merge {
        tsdb::types::MergeMode::Append => "",
        _ => "UNIQUE ",
    };
    let (index, table) = (quoted(bare(&index_name(schema))), quoted(&schema.name));
    format!("CREATE {unique}INDEX {index} ON public.{table} USING btree ({})", key_list(schema))
}

/// What pg_get_constraintdef gives.
pub(in crate::catalog) fn constraint_definition(schema: &TableSchema) -> String {
    format!("PRIMARY KEY ({})", key_list(schema))
}
