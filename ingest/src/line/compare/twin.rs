//! A slow reader of line protocol, written from the rules alone, to test the fast one against.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tsdb::types::{ColumnType, OWNED_TABLE_PREFIX, SCHEMA_TABLE_PREFIX, TableSchema, Value};

use super::super::StoreLimits;

/// Table, tags, fields, time.
pub type Row = (String, BTreeMap<String, String>, BTreeMap<String, Value>, i64);

#[derive(Default)]
struct Table {
    schema: Option<Arc<TableSchema>>,
    tags: BTreeMap<String, ColumnType>,
    fields: BTreeMap<String, (ColumnType, bool)>,
}

pub struct Twin<'a> {
    limits: &'a StoreLimits,
    tables: BTreeMap<String, Table>,
    now: i64,
}

/// What is wrong, and where the search for the next newline starts.
type Bad = usize;

impl Twin<'_> {
    /// Rows in order of lines, and the refused lines.
    pub fn read(
        body: &[u8],
        schemas: &[Arc<TableSchema>],
        limits: &StoreLimits,
        now: i64,
    ) -> (Vec<Row>, Vec<u64>) {
        let mut tables = BTreeMap::new();
        for schema in schemas {
            let mut table = Table { schema: Some(schema.clone()), ..Table::default() };
            for column in &schema.columns {
                if column.key {
                    table.tags.insert(column.name.clone(), column.kind);
                } else {
                    table.fields.insert(column.name.clone(), (column.kind, false));
                }
            }
            tables.insert(schema.name.clone(), table);
        }
        let mut twin = Twin { limits, tables, now };
        let (mut rows, mut refused) = (Vec::new(), Vec::new());
        let mut at = 0;
        while at < body.len() {
            let number = 1 + body[..at].iter().filter(|b| **b == b'\n').count() as u64;
            while at < body.len() && (body[at] == b' ' || body[at] == b'\t') {
                at += 1;
            }
            let end = if ends(body, at) || body[at] == b'#' {
                at
            } else {
                match twin.line(body, at) {
                    Ok((row, end)) => {
                        rows.push(row);
                        end
                    }
                    Err(end) => {
                        refused.push(number);
                        end
                    }
                }
            };
            at = end;
            while at < body.len() && body[at] != b'\n' {
                at += 1;
            }
            at += 1;
        }
        twin.widen(&mut rows);
        (rows, refused)
    }

    /// Integers of columns that later lines made floats.
    fn widen(&self, rows: &mut [Row]) {
        for (table, _, fields, _) in rows {
            for (name, value) in fields {
                let (kind, _) = self.tables[table].fields[name];
                if let (ColumnType::Float64, Value::Int(v)) = (kind, &value) {
                    *value = Value::Float(*v as f64);
                }
            }
        }
    }

    fn line(&mut self, body: &[u8], start: usize) -> Result<(Row, usize), Bad> {
        // Measurement and tags: up to a space without backslash.
        let mut end = start;
        loop {
            match body.get(end) {
                None | Some(b'\n') => return Err(start),
                Some(b' ') if end == start || body[end - 1] != b'\\' => break,
                Some(_) => end += 1,
            }
        }
        let key = &body[start..end];
        if key.len() > 65_535 {
            return Err(end);
        }
        let mut parts = split(key, b',').into_iter();
        let table = name(&parts.next().unwrap_or_default(), ", ").ok_or(end)?;
        if table.starts_with(OWNED_TABLE_PREFIX) || table.starts_with(SCHEMA_TABLE_PREFIX) {
            return Err(end);
        }
        let mut tags = BTreeMap::new();
        for part in parts {
            let pair = split(&part, b'=');
            let [tag, value] = pair.as_slice() else {
                return Err(end);
            };
            let tag = name(tag, ",= ").ok_or(end)?;
            let value = String::from_utf8(unescape(value, ",= ")).map_err(|_| end)?;
            if value.is_empty() || tags.insert(tag, value).is_some() {
                return Err(end);
            }
        }
        self.check_tags(&table, &mut tags).ok_or(end)?;
        while matches!(body.get(end), Some(b' ' | b'\t')) {
            end += 1;
        }
        let (fields, end) = self.fields(body, end, &table)?;
        let (time, end) = self.time(body, end)?;
        self.settle(&table, &tags, &fields).ok_or(end)?;
        let fields = fields.into_iter().map(|(field, value)| {
            let value = match (self.tables[&table].fields[&field].0, value) {
                (ColumnType::Float32, Value::Int(v)) => Value::Float(f64::from(v as f64 as f32)),
                (ColumnType::Float32, Value::Float(v)) => Value::Float(f64::from(v as f32)),
                (_, value) => value,
            };
            (field, value)
        });
        let row = (table.clone(), tags, fields.collect(), time);
        Ok((row, end))
    }

    /// Tags against the schema; values of typed key columns in their one form.
    fn check_tags(&self, table: &str, tags: &mut BTreeMap<String, String>) -> Option<()> {
        let known = self.tables.get(table);
        let time = known.and_then(|t| t.schema.as_ref()).map_or("time", |s| &s.time_name);
        for (tag, value) in tags {
            if tag == time || tag == "time" || known.is_some_and(|t| t.fields.contains_key(tag)) {
                return None;
            }
            match known.and_then(|t| t.tags.get(tag)) {
                Some(ColumnType::Int16) => *value = value.parse::<i16>().ok()?.to_string(),
                Some(ColumnType::Bool) => *value = value.parse::<bool>().ok()?.to_string(),
                _ => {}
            }
        }
        Some(())
    }

    fn fields(
        &self,
        body: &[u8],
        mut at: usize,
        table: &str,
    ) -> Result<(BTreeMap<String, Value>, usize), Bad> {
        let known = self.tables.get(table);
        let time = known.and_then(|t| t.schema.as_ref()).map_or("time", |s| &s.time_name);
        let mut fields = BTreeMap::new();
        loop {
            let start = at;
            loop {
                match body.get(at) {
                    None | Some(b'\n') => return Err(start),
                    Some(b',' | b' ') if at == start || body[at - 1] != b'\\' => return Err(start),
                    Some(b'=') if at == start || body[at - 1] != b'\\' => break,
                    Some(_) => at += 1,
                }
            }
            let field = name(&body[start..at], ",= ").ok_or(start)?;
            if field == time || field == "time" {
                return Err(start);
            }
            if known.is_some_and(|t| t.tags.contains_key(&field)) {
                return Err(start);
            }
            let wide = known.map_or(0, |t| t.fields.len() + t.tags.len());
            let new = |name: &String| !known.is_some_and(|t| t.fields.contains_key(name));
            let more = fields.keys().filter(|name| new(name)).count();
            if new(&field) && !fields.contains_key(&field) && wide + more >= self.limits.columns_max
            {
                return Err(start);
            }
            let (value, end) = value(body, at + 1)?;
            fields.insert(field, value);
            match body.get(end) {
                Some(b',') => at = end + 1,
                Some(b' ') => return Ok((fields, end)),
                _ if ends(body, end) => return Ok((fields, end)),
                _ => return Err(end),
            }
        }
    }

    fn time(&self, body: &[u8], at: usize) -> Result<(i64, usize), Bad> {
        let mut end = at;
        while matches!(body.get(end), Some(b' ' | b'\t')) {
            end += 1;
        }
        let start = end;
        if ends(body, start) {
            return self.limits.times.contains(self.now).then_some((self.now, start)).ok_or(start);
        }
        while end < body.len() && body[end] != b'\n' {
            end += 1;
        }
        let text = std::str::from_utf8(&body[start..end]).map_err(|_| start)?;
        let text = text.strip_suffix('\r').unwrap_or(text).trim_end_matches([' ', '\t']);
        let time = text.parse::<i64>().map_err(|_| start)?;
        self.limits.times.contains(time).then_some((time, end)).ok_or(start)
    }

    /// Types and limits; changes the tables only if all is well.
    fn settle(
        &mut self,
        name: &str,
        tags: &BTreeMap<String, String>,
        fields: &BTreeMap<String, Value>,
    ) -> Option<()> {
        let limits = *self.limits;
        let empty = Table::default();
        let table = self.tables.get(name).unwrap_or(&empty);
        let mut kinds = BTreeMap::new();
        for (field, value) in fields {
            if let Value::Bytes(text) = value
                && text.len() > limits.value_bytes_max
            {
                return None;
            }
            kinds.insert(field.clone(), fit(table.fields.get(field).copied(), value)?);
        }
        let columns: BTreeSet<&String> = table
            .fields
            .keys()
            .chain(table.tags.keys())
            .chain(fields.keys())
            .chain(tags.keys())
            .collect();
        let both = tags.keys().any(|tag| fields.contains_key(tag));
        if both || columns.len() > limits.columns_max {
            return None;
        }
        let table = self.tables.entry(name.to_string()).or_default();
        table.fields.extend(kinds);
        for tag in tags.keys() {
            table.tags.entry(tag.clone()).or_insert(ColumnType::Text);
        }
        Some(())
    }
}

/// Type of the column after this value; the flag says that this request makes the column.
fn fit(known: Option<(ColumnType, bool)>, value: &Value) -> Option<(ColumnType, bool)> {
    use ColumnType as T;
    let own = match value {
        Value::Int(_) => T::Int64,
        Value::Float(_) => T::Float64,
        Value::Bool(_) => T::Bool,
        Value::Bytes(_) => T::Text,
    };
    let Some((kind, new)) = known else {
        return Some((own, true));
    };
    let fits = match (kind, value) {
        (T::Int64, Value::Float(_)) if new => return Some((T::Float64, true)),
        (T::Float64, Value::Int(_)) => true,
        (T::Float32, Value::Int(_)) => true,
        (T::Float32, Value::Float(v)) => (*v as f32).is_finite(),
        (T::Int16, Value::Int(v)) => i16::try_from(*v).is_ok(),
        (T::Int32, Value::Int(v)) => i32::try_from(*v).is_ok(),
        _ => kind == own,
    };
    fits.then_some((kind, new))
}

fn ends(body: &[u8], at: usize) -> bool {
    let rest = &body[at.min(body.len())..];
    rest.is_empty() || rest == b"\r" || rest.starts_with(b"\n") || rest.starts_with(b"\r\n")
}

/// Parts between separators that have no backslash before them.
fn split(bytes: &[u8], separator: u8) -> Vec<Vec<u8>> {
    let mut parts = vec![Vec::new()];
    for (at, byte) in bytes.iter().enumerate() {
        if *byte == separator && (at == 0 || bytes[at - 1] != b'\\') {
            parts.push(Vec::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(*byte);
        }
    }
    parts
}

fn unescape(bytes: &[u8], special: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, byte) in bytes.iter().enumerate() {
        let next = bytes.get(at + 1).copied().unwrap_or(b'x');
        if *byte != b'\\' || !special.bytes().any(|s| s == next) {
            out.push(*byte);
        }
    }
    out
}

fn name(bytes: &[u8], special: &str) -> Option<String> {
    let name = String::from_utf8(unescape(bytes, special)).ok()?;
    (!name.is_empty() && name.len() <= 255 && !name.contains('\0')).then_some(name)
}

fn value(body: &[u8], at: usize) -> Result<(Value, usize), Bad> {
    if body.get(at) == Some(&b'"') {
        let mut text = Vec::new();
        let mut end = at + 1;
        loop {
            match (body.get(end), body.get(end + 1)) {
                (None, _) => return Err(at),
                (Some(b'"'), _) => break,
                (Some(b'\\'), Some(next @ (b'"' | b'\\'))) => {
                    text.push(*next);
                    end += 2;
                }
                (Some(byte), _) => {
                    text.push(*byte);
                    end += 1;
                }
            }
        }
        let text = String::from_utf8(text).map_err(|_| end + 1)?;
        return Ok((Value::Bytes(text.into_bytes()), end + 1));
    }
    let mut end = at;
    while end < body.len() && !b", \n\r".contains(&body[end]) {
        end += 1;
    }
    let word = std::str::from_utf8(&body[at..end]).map_err(|_| at)?;
    let parsed = match word {
        "t" | "T" | "true" | "True" | "TRUE" => Value::Bool(true),
        "f" | "F" | "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(word).ok_or(at)?,
    };
    Ok((parsed, end))
}

fn number(word: &str) -> Option<Value> {
    if let Some(int) = word.strip_suffix('i') {
        return int.parse().ok().map(Value::Int);
    }
    if let Some(int) = word.strip_suffix('u') {
        let fits = !word.starts_with('-');
        return int.parse().ok().filter(|_| fits).map(Value::Int);
    }
    let plain = word.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    let value = word.parse::<f64>().ok()?;
    (plain && value.is_finite()).then_some(Value::Float(value))
}
