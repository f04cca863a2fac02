//! The fast reader of line protocol held against its slow twin, for tests and fuzzers.

mod twin;

use std::collections::BTreeMap;
use std::sync::Arc;

use tsdb::types::{
    ColumnSpec, ColumnType, Key, TableId, TableOptions, TableSchema, TimeRange, Value, ValueRef,
};

use super::cache::SeriesCache;
use super::request::{Context, Parsed, parse};
use super::table::{SeriesName, TagColumn};
use super::{Catalogue, LineLimits, Precision, StoreLimits};
pub use twin::Row;
use twin::Twin;

pub const NOW: i64 = 1_700_000_000_000_000_000;
pub const LIMITS: StoreLimits = StoreLimits {
    columns_max: 24,
    value_bytes_max: 200,
    times: TimeRange::new(-1_000_000_000_000, 4_000_000_000_000_000_000),
};

/// A catalogue of fixed tables; series number 5 of `known` is `host=a`.
pub struct Tables(pub Vec<Arc<TableSchema>>);

impl Catalogue for Tables {
    fn table(&self, name: &str) -> Option<Arc<TableSchema>> {
        self.0.iter().find(|table| table.name == name).cloned()
    }

    fn series(&self, table: TableId, key: &Key) -> Option<u32> {
        (table == 7 && *key == Key::new([(1, b"a".as_slice())])).then_some(5)
    }
}

pub fn tables() -> Tables {
    let column = |id, name: &str, kind, key| ColumnSpec {
        id,
        name: name.into(),
        kind,
        key,
        not_null: false,
    };
    let columns = vec![
        column(1, "host", ColumnType::Text, true),
        column(2, "slot", ColumnType::Int16, true),
        column(3, "big", ColumnType::Int64, false),
        column(4, "double", ColumnType::Float64, false),
        column(5, "flag", ColumnType::Bool, false),
        column(6, "note", ColumnType::Text, false),
        column(7, "small", ColumnType::Int16, false),
        column(8, "int", ColumnType::Int32, false),
        column(9, "real", ColumnType::Float32, false),
        column(10, "raw", ColumnType::Bytes, false),
        column(11, "seen", ColumnType::Timestamp, false),
        column(12, "up", ColumnType::Bool, true),
    ];
    Tables(vec![Arc::new(TableSchema {
        id: 7,
        name: "known".into(),
        time_name: "at".into(),
        columns,
        next_column: 13,
        options: TableOptions::default(),
        version: 1,
    })])
}

pub fn parse_with(
    body: &[u8],
    tables: &Tables,
    cache: &SeriesCache,
    line_bytes_max: usize,
) -> Parsed {
    let line_limits =
        LineLimits { line_bytes_max, refused_told_max: 1000, ..LineLimits::default() };
    parse(
        body,
        &Context {
            catalogue: tables,
            cache,
            limits: LIMITS,
            line_limits: &line_limits,
            precision: Precision::Nanos,
            now_ns: NOW,
            only: None,
            denied: &BTreeMap::new(),
        },
    )
}

fn tag_text(kind: ColumnType, bytes: &[u8]) -> String {
    match Key::decode_value(kind, bytes).expect("a key value decodes") {
        Value::Int(v) => v.to_string(),
        Value::Bool(v) => v.to_string(),
        Value::Float(v) => v.to_string(),
        Value::Bytes(v) => String::from_utf8(v).expect("tags are UTF-8"),
    }
}

/// Rows of a parsed request in a plain form, and the lines refused.
pub fn plain(parsed: Parsed) -> (Vec<Row>, Vec<u64>) {
    let mut rows = Vec::new();
    for table in &parsed.tables {
        let spec = |id| table.schema.as_ref().unwrap().column_by_id(id).unwrap();
        for sealed in &table.sealed {
            assert_eq!(sealed.key_of_row.len(), sealed.times.len());
            let mut distinct = sealed.series.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(distinct.len(), sealed.series.len(), "a series is listed twice");
            for (row, time) in sealed.times.iter().enumerate() {
                let series = sealed.series[sealed.key_of_row[row] as usize];
                let mut tags = BTreeMap::new();
                match &table.series[series as usize].name {
                    SeriesName::Known(number) => {
                        assert_eq!(*number, 5);
                        tags.insert("host".to_string(), "a".to_string());
                    }
                    SeriesName::Key(key) => {
                        for (id, value) in key.pairs() {
                            let spec = spec(id);
                            tags.insert(spec.name.clone(), tag_text(spec.kind, value));
                        }
                    }
                    SeriesName::Open(parts) => {
                        for (column, value) in parts {
                            let (name, kind) = match column {
                                TagColumn::Known(id) => (spec(*id).name.clone(), spec(*id).kind),
                                TagColumn::New(name) => {
                                    assert!(table.new_tags.contains(name), "{name}");
                                    (name.to_string(), ColumnType::Text)
                                }
                            };
                            tags.insert(name, tag_text(kind, value));
                        }
                    }
                }
                let mut fields = BTreeMap::new();
                for (number, column) in &sealed.columns {
                    assert_eq!(column.len(), sealed.times.len());
                    let (state, value) = column.cell(row);
                    let field = &table.columns[*number as usize];
                    if state.is_absent() {
                        continue;
                    }
                    let kind = field.kind.expect("a written column has a type");
                    let value = match value {
                        ValueRef::Int(v) if kind == ColumnType::Float64 => Value::Float(v as f64),
                        value => value.to_value(),
                    };
                    fields.insert(field.name.to_string(), value);
                }
                rows.push((table.name.to_string(), tags, fields, *time));
            }
        }
    }
    assert_eq!(rows.len() as u64, parsed.rows);
    (rows, parsed.refusals.lines)
}

/// Compares with the twin and gives the fast parser's answer.
pub fn both(body: &[u8]) -> (Vec<Row>, Vec<u64>) {
    let tables = tables();
    let cache = SeriesCache::new(1 << 20);
    let fast = plain(parse_with(body, &tables, &cache, 1 << 20));
    let slow = Twin::read(body, &tables.0, &LIMITS, NOW);
    let text = String::from_utf8_lossy(body);
    assert_eq!(fast.1, slow.1, "refused lines of {text}");
    // The twin keeps the order of lines; the fast one has tables apart, in order of first line.
    let mut order: Vec<&str> = Vec::new();
    for row in &fast.0 {
        if !order.contains(&row.0.as_str()) {
            order.push(&row.0);
        }
    }
    let mut slow_rows = slow.0.clone();
    slow_rows.sort_by_key(|row| order.iter().position(|name| *name == row.0));
    // Bits, so that NaN and -0.0 count.
    assert_eq!(format!("{:?}", fast.0), format!("{slow_rows:?}"), "rows of {text}");
    // A second reading finds its series in the cache and must not differ.
    let again = plain(parse_with(body, &tables, &cache, 1 << 20));
    assert_eq!(format!("{fast:?}"), format!("{again:?}"));
    fast
}
