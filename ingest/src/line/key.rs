//! Measurement and tags: the part of a line before its first space.

use std::borrow::Cow;

use tsdb::types::{ColumnType, Key, ValueRef};

use super::scan::{comma, name_end, shown, unescape};
use super::{NAME_BYTES_MAX, Reason};

/// One tag, escapes taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag<'a> {
    pub name: Cow<'a, str>,
    pub value: Cow<'a, str>,
}

/// Where the measurement ends in `raw`.
pub fn measurement_end(raw: &[u8]) -> usize {
    comma(raw, 0).unwrap_or(raw.len())
}

/// Takes the escapes out of a measurement and checks it.
pub fn measurement(raw: &[u8]) -> Result<Cow<'_, str>, Reason> {
    name(unescape(raw, b", "), "measurement")
}

/// Takes the escapes out of the name of a field and checks it.
pub fn field_name(raw: &[u8]) -> Result<Cow<'_, str>, Reason> {
    name(unescape(raw, b",= "), "field")
}

/// Reads the tags behind the measurement; `raw` starts at the comma or is empty.
///
/// # Errors
/// A tag without name or value, given twice, or with a name or value that cannot be kept. An
/// empty value is refused, as InfluxDB does, rather than read as missing.
pub fn tags(raw: &[u8], columns_max: usize) -> Result<Vec<Tag<'_>>, Reason> {
    let mut tags: Vec<Tag<'_>> = Vec::new();
    let mut at = 0;
    while at < raw.len() {
        let start = at + 1;
        let equals = name_end(raw, start).filter(|end| raw[*end] == b'=');
        let Some(equals) = equals else {
            let rest = shown(&raw[start..]);
            return Err(format!("the tag at {rest} has no value").into());
        };
        let tag = name(unescape(&raw[start..equals], b",= "), "tag")?;
        let end = match name_end(raw, equals + 1) {
            None => raw.len(),
            Some(end) if raw[end] == b',' => end,
            Some(_) => {
                return Err(format!("the value of tag {tag:?} holds an = without \\").into());
            }
        };
        if end == equals + 1 {
            return Err(format!("tag {tag:?} has no value").into());
        }
        let value = utf8(unescape(&raw[equals + 1..end], b",= "))
            .ok_or_else(|| format!("the value of tag {tag:?} is not UTF-8"))?;
        tags.push(Tag { name: tag, value });
        if tags.len() > columns_max {
            return Err(format!("more than {columns_max} tags").into());
        }
        at = end;
    }
    match twice(&tags) {
        Some(tag) => Err(format!("tag {tag:?} is there twice").into()),
        None => Ok(tags),
    }
}

fn twice<'t>(tags: &'t [Tag<'_>]) -> Option<&'t str> {
    let mut names: Vec<&str> = tags.iter().map(|tag| tag.name.as_ref()).collect();
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

/// The bytes that a key holds for a tag's text in a key column of type `kind`.
pub fn key_value(kind: ColumnType, tag: &Tag<'_>) -> Result<Vec<u8>, Reason> {
    let wrong =
        || Reason::from(format!("tag {:?} of type {kind} cannot be {:?}", tag.name, tag.value));
    let int = |min: i64, max: i64| {
        let value = tag.value.parse::<i64>().ok().filter(|v| (min..=max).contains(v));
        value.map(|v| Key::encode_value(ValueRef::Int(v))).ok_or_else(wrong)
    };
    match kind {
        ColumnType::Text => Ok(tag.value.as_bytes().to_vec()),
        ColumnType::Int16 => int(i64::from(i16::MIN), i64::from(i16::MAX)),
        ColumnType::Int32 => int(i64::from(i32::MIN), i64::from(i32::MAX)),
        ColumnType::Int64 => int(i64::MIN, i64::MAX),
        ColumnType::Bool => match tag.value.as_ref() {
            "true" => Ok(Key::encode_value(ValueRef::Bool(true))),
            "false" => Ok(Key::encode_value(ValueRef::Bool(false))),
            _ => Err(wrong()),
        },
        ColumnType::Float32 | ColumnType::Float64 | ColumnType::Bytes | ColumnType::Timestamp => {
            Err(wrong())
        }
    }
}

fn name<'a>(bytes: Cow<'a, [u8]>, what: &str) -> Result<Cow<'a, str>, Reason> {
    if bytes.is_empty() {
        return Err(format!("a {what} without a name").into());
    }
    if bytes.len() > NAME_BYTES_MAX {
        return Err(format!("the name of a {what} is longer than {NAME_BYTES_MAX} bytes").into());
    }
    if bytes.contains(&0) {
        return Err(format!("the name of a {what} holds a NUL byte").into());
    }
    utf8(bytes).ok_or_else(|| format!("the name of a {what} is not UTF-8").into())
}

fn utf8(bytes: Cow<'_, [u8]>) -> Option<Cow<'_, str>> {
    match bytes {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    }
}
