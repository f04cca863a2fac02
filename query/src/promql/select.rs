//! Which tables, fields and series a selector means.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use tsdb::series::{Bitmap, KeyTest};
use tsdb::types::{
    ColumnId, ColumnSpec, ColumnType, Key, OWNED_TABLE_PREFIX, SCHEMA_TABLE_PREFIX, TableSchema,
    Value,
};
use tsdb::{Snapshot, Table};

use super::labels::{Label, Labels, METRIC_NAME};
use super::matcher::{MatchOp, Matcher};

/// The field whose metric is named as its table.
pub const VALUE_FIELD: &str = "value";

/// Labels of these names, behind any number of `_`, are columns with one `_` more: tables have columns
/// of these names already.
const TAKEN: [&str; 2] = ["time", VALUE_FIELD];

/// The key column that holds a label.
pub fn column_of_label(label: &str) -> Cow<'_, str> {
    match TAKEN.contains(&label.trim_start_matches('_')) {
        true => format!("_{label}").into(),
        false => label.into(),
    }
}

/// The label that a key column holds.
pub(crate) fn label_of_column(column: &str) -> &str {
    match column.strip_prefix('_') {
        Some(rest) if TAKEN.contains(&rest.trim_start_matches('_')) => rest,
        _ => column,
    }
}

/// The metric of a field; `None` for what is no number.
pub(crate) fn metric_of(table: &TableSchema, field: &ColumnSpec) -> Option<String> {
    let number = !field.key
        && !matches!(field.kind, ColumnType::Text | ColumnType::Bytes | ColumnType::Timestamp);
    number.then(|| match field.name == VALUE_FIELD {
        true => table.name.clone(),
        false => format!("{}_{}", table.name, field.name),
    })
}

/// One field of one table, and the series of it that are meant.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) table: Table,
    pub(crate) field: ColumnId,
    /// The metric's name.
    pub(crate) name: Arc<str>,
    pub(crate) series: Bitmap,
}

/// All that a selector means, in order of name.
pub(crate) fn choose(snapshot: &Snapshot, matchers: &[Matcher]) -> Vec<Chosen> {
    let (names, others): (Vec<&Matcher>, Vec<&Matcher>) =
        matchers.iter().partition(|matcher| matcher.name == METRIC_NAME);
    let mut chosen = Vec::new();
    for (name, table, field) in candidates(snapshot, &names) {
        let series = series(&table, &others);
        if !series.is_empty() {
            chosen.push(Chosen { table, field, name: name.into(), series });
        }
    }
    chosen.sort_by(|a, b| a.name.cmp(&b.name));
    chosen
}

/// Metrics whose names pass.
fn candidates(snapshot: &Snapshot, names: &[&Matcher]) -> Vec<(String, Table, ColumnId)> {
    let passes = |name: &str| names.iter().all(|matcher| matcher.passes(name));
    let mut found = Vec::new();
    if let Some(exact) = names.iter().find(|matcher| matcher.op == MatchOp::Equal) {
        let name = exact.value.as_str();
        let splits = name.match_indices('_').map(|(at, _)| (&name[..at], &name[at + 1..]));
        for (table, field) in [(name, VALUE_FIELD)].into_iter().chain(splits) {
            let Some(table) = snapshot.table(table).filter(is_users) else { continue };
            let Some(spec) = table.schema().column(field) else { continue };
            let (id, metric) = (spec.id, metric_of(table.schema(), spec));
            if metric.is_some_and(|metric| metric == name) && passes(name) {
                found.push((name.to_owned(), table, id));
            }
        }
        return found;
    }
    for schema in snapshot.tables() {
        let metrics: Vec<(String, ColumnId)> = schema
            .fields()
            .filter_map(|field| Some((metric_of(&schema, field)?, field.id)))
            .filter(|(name, _)| passes(name))
            .collect();
        if metrics.is_empty() {
            continue;
        }
        let Some(table) = snapshot.table_by_id(schema.id).filter(is_users) else { continue };
        found.extend(metrics.into_iter().map(|(name, field)| (name, table.clone(), field)));
    }
    found
}

/// Whether PromQL knows the table: what belongs to a continuous aggregate is its own affair, and
/// tables in schemas have no names that a metric could have.
pub(crate) fn is_users(table: &Table) -> bool {
    let name = &table.schema().name;
    !name.starts_with(OWNED_TABLE_PREFIX) && !name.starts_with(SCHEMA_TABLE_PREFIX)
}

/// The series of a table that pass.
fn series(table: &Table, matchers: &[&Matcher]) -> Bitmap {
    let limit = table.series_count();
    let mut found = table.series().all(limit);
    for matcher in matchers {
        let column = column_of_label(&matcher.name);
        match table.schema().column(&column).filter(|spec| spec.key) {
            Some(spec) => {
                found.and_inplace(&table.series().select(
                    spec.id,
                    &test(matcher, spec.kind),
                    limit,
                ));
            }
            None if matcher.passes("") => {}
            None => return Bitmap::new(),
        }
        if found.is_empty() {
            break;
        }
    }
    found
}

/// A matcher as a test of what keys hold.
fn test(matcher: &Matcher, kind: ColumnType) -> KeyTest {
    if matcher.op == MatchOp::Equal && kind == ColumnType::Text {
        return match matcher.value.is_empty() {
            true => KeyTest::Missing,
            false => KeyTest::Equals(matcher.value.clone().into_bytes()),
        };
    }
    let matcher = matcher.clone();
    KeyTest::Matches(Box::new(move |bytes| match bytes {
        None => matcher.passes(""),
        Some(bytes) => matcher.passes(&key_text(kind, bytes)),
    }))
}

/// The text of a key's value.
pub(crate) fn key_text(kind: ColumnType, bytes: &[u8]) -> String {
    match Key::decode_value(kind, bytes) {
        Some(Value::Int(ns)) if kind == ColumnType::Timestamp => tsdb::types::time_text(ns),
        Some(Value::Int(value)) => value.to_string(),
        Some(Value::Float(value)) => super::text::number(value),
        Some(Value::Bool(value)) => value.to_string(),
        Some(Value::Bytes(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        None => String::new(),
    }
}

/// Labels of some series of a table, in their order, without the metric's name.
pub(crate) fn labels_of(table: &Table, series: &[u32]) -> Vec<Vec<Label>> {
    let mut all: Vec<Vec<Label>> = vec![Vec::new(); series.len()];
    for spec in table.schema().keys() {
        let (codes, dictionary) = table.series().values_of(spec.id, series);
        let name: Arc<str> = label_of_column(&spec.name).into();
        let values: Vec<Arc<str>> =
            dictionary.iter().map(|bytes| key_text(spec.kind, bytes).into()).collect();
        for (labels, code) in all.iter_mut().zip(codes) {
            if let Some(value) = values.get(code as usize) {
                labels.push((Arc::clone(&name), Arc::clone(value)));
            }
        }
    }
    all
}

/// Labels with the metric's name.
pub(crate) fn named(name: &Arc<str>, mut labels: Vec<Label>) -> Labels {
    labels.push(Labels::metric(name));
    Labels::new(labels)
}

/// All metrics with the tables that they are of, in order of name.
pub(crate) fn metrics(snapshot: &Snapshot) -> BTreeMap<String, Table> {
    let mut all = BTreeMap::new();
    for schema in snapshot.tables() {
        let Some(table) = snapshot.table_by_id(schema.id).filter(is_users) else { continue };
        if table.series_count() == 0 {
            continue;
        }
        let names = schema.fields().filter_map(|field| metric_of(&schema, field));
        all.extend(names.map(|name| (name, table.clone())));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_columns_stand_for_each_other() {
        for (label, column) in [
            ("job", "job"),
            ("time", "_time"),
            ("value", "_value"),
            ("_time", "__time"),
            ("__value", "___value"),
            ("times", "times"),
            ("_", "_"),
            ("", ""),
        ] {
            assert_eq!(column_of_label(label), column);
            assert_eq!(label_of_column(column), label);
        }
    }
}
