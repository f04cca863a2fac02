//! Rows as bytes. README.md, "Relational tables", is the text.

use super::kind::{Datum, Kind};
use crate::error::{QueryError, QueryResult};
use crate::uuid::UUID_BYTES;

/// The version of a row.
const VERSION: u8 = 1;

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INT: u8 = 3;
const FLOAT4: u8 = 4;
const FLOAT8: u8 = 5;
const DECIMAL: u8 = 6;
const TEXT: u8 = 7;
const BYTES: u8 = 8;
const UUID: u8 = 9;

/// Bytes of a row.
pub(crate) const ROW_BYTES_MAX: usize = 8 << 20;

/// A value in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Decimal(i128),
    Text(&'a str),
    Bytes(&'a [u8]),
    Uuid(&'a [u8; UUID_BYTES]),
}

impl Value<'_> {
    pub(crate) fn to_datum(self) -> Datum {
        match self {
            Value::Null => Datum::Null,
            Value::Bool(v) => Datum::Bool(v),
            Value::Int(v) => Datum::Int(v),
            Value::Float(v) => Datum::Float(v),
            Value::Decimal(v) => Datum::Decimal(v),
            Value::Text(v) => Datum::Text(v.to_string()),
            Value::Bytes(v) => Datum::Bytes(v.to_vec()),
            Value::Uuid(v) => Datum::Uuid(*v),
        }
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u128> {
    let mut value = 0u128;
    for shift in (0..128).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u128::from(byte & 0x7f);
        if shift > 121 && part >> (128 - shift) != 0 {
            return None;
        }
        value |= part << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn zigzag(value: i128) -> u128 {
    ((value << 1) ^ (value >> 127)) as u128
}

fn unzigzag(value: u128) -> i128 {
    ((value >> 1) as i128) ^ -((value & 1) as i128)
}

/// The bytes of a row: (number of the column, its type, its value), in ascending number. NULL is
/// left out where the reader takes a missing value for it: `nulls` says where not.
///
/// # Errors
/// `54000` where it is too long.
pub(crate) fn encode<'a>(
    cells: impl IntoIterator<Item = (u32, Kind, &'a Datum, bool)>,
) -> QueryResult<Vec<u8>> {
    let mut out = vec![VERSION];
    for (number, kind, value, null) in cells {
        if value.is_null() && !null {
            continue;
        }
        put_varint(&mut out, number.into());
        match value {
            Datum::Null => out.push(NULL),
            Datum::Bool(v) => out.push(if *v { TRUE } else { FALSE }),
            Datum::Int(v) => {
                out.push(INT);
                put_varint(&mut out, zigzag((*v).into()));
            }
            Datum::Float(v) if kind == Kind::Float4 => {
                out.push(FLOAT4);
                out.extend_from_slice(&(*v as f32).to_le_bytes());
            }
            Datum::Float(v) => {
                out.push(FLOAT8);
                out.extend_from_slice(&v.to_le_bytes());
            }
            Datum::Decimal(v) => {
                out.push(DECIMAL);
                put_varint(&mut out, zigzag(*v));
            }
            Datum::Text(v) => {
                out.push(TEXT);
                put_varint(&mut out, v.len() as u128);
                out.extend_from_slice(v.as_bytes());
            }
            Datum::Bytes(v) => {
                out.push(BYTES);
                put_varint(&mut out, v.len() as u128);
                out.extend_from_slice(v);
            }
            Datum::Uuid(v) => {
                out.push(UUID);
                out.extend_from_slice(v);
            }
        }
    }
    if out.len() > ROW_BYTES_MAX {
        let message = format!("a row of {} bytes; at most {ROW_BYTES_MAX} are taken", out.len());
        return Err(QueryError::new("54000", message));
    }
    Ok(out)
}

/// Reads a row cell by cell, in ascending number of the columns.
pub(crate) fn decode<'a>(
    mut bytes: &'a [u8],
    mut take: impl FnMut(u32, Value<'a>) -> QueryResult<()>,
) -> QueryResult<()> {
    let damaged = || QueryError::new("XX001", "a row of a relational table cannot be read");
    let (version, rest) = bytes.split_first().ok_or_else(damaged)?;
    bytes = rest;
    if *version != VERSION {
        let message = format!("a row of a relational table cannot be read: version {version}");
        return Err(QueryError::new("XX001", message));
    }
    let mut before = None;
    while !bytes.is_empty() {
        let number = take_varint(&mut bytes).and_then(|n| u32::try_from(n).ok());
        let number = number.filter(|n| before.is_none_or(|before| before < *n));
        let number = number.ok_or_else(damaged)?;
        before = Some(number);
        let value = value(&mut bytes).ok_or_else(damaged)?;
        take(number, value)?;
    }
    Ok(())
}

fn value<'a>(bytes: &mut &'a [u8]) -> Option<Value<'a>> {
    let (tag, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(match *tag {
        NULL => Value::Null,
        FALSE => Value::Bool(false),
        TRUE => Value::Bool(true),
        INT => Value::Int(i64::try_from(unzigzag(take_varint(bytes)?)).ok()?),
        FLOAT4 => {
            let (head, rest) = bytes.split_first_chunk::<4>()?;
            *bytes = rest;
            Value::Float(f32::from_le_bytes(*head).into())
        }
        FLOAT8 => {
            let (head, rest) = bytes.split_first_chunk::<8>()?;
            *bytes = rest;
            Value::Float(f64::from_le_bytes(*head))
        }
        DECIMAL => Value::Decimal(unzigzag(take_varint(bytes)?)),
        TEXT => Value::Text(std::str::from_utf8(take_slice(bytes)?).ok()?),
        BYTES => Value::Bytes(take_slice(bytes)?),
        UUID => {
            let (head, rest) = bytes.split_first_chunk()?;
            *bytes = rest;
            Value::Uuid(head)
        }
        _ => return None,
    })
}

fn take_slice<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(take_varint(bytes)?).ok()?;
    let (head, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<(u32, Kind, Datum, bool)> {
        vec![
            (1, Kind::Int4, Datum::Int(-3), false),
            (2, Kind::Text, Datum::Text("ä".into()), false),
            (3, Kind::Text, Datum::Null, false),
            (4, Kind::Text, Datum::Null, true),
            (5, Kind::Float4, Datum::Float(1.5), false),
            (6, Kind::Float8, Datum::Float(-0.25), false),
            (7, Kind::Numeric(38, 2), Datum::Decimal(i128::MIN), false),
            (8, Kind::Bool, Datum::Bool(true), false),
            (300, Kind::Bytes, Datum::Bytes(vec![0, 255]), false),
            (301, Kind::Uuid, Datum::Uuid([7; 16]), false),
        ]
    }

    fn bytes() -> Vec<u8> {
        encode(sample().iter().map(|(n, kind, value, null)| (*n, *kind, value, *null))).unwrap()
    }

    fn read(bytes: &[u8]) -> QueryResult<Vec<(u32, Datum)>> {
        let mut out = Vec::new();
        decode(bytes, |number, value| {
            out.push((number, value.to_datum()));
            Ok(())
        })?;
        Ok(out)
    }

    #[test]
    fn rows_read_back_and_damage_is_told() {
        let bytes = bytes();
        let mut golden = "01 01 03 05 02 07 02 c3 a4 04 00 05 04 00 00 c0 3f 06 05 00 00 00 00 00 \
                          00 d0 bf 07 06 "
            .to_string();
        golden.push_str(&"ff ".repeat(18));
        golden.push_str("03 08 02 ac 02 08 02 00 ff ad 02 09");
        golden.push_str(&" 07".repeat(16));
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex.join(" "), golden);
        let expected: Vec<(u32, Datum)> = sample()
            .into_iter()
            .filter(|(_, _, value, null)| !value.is_null() || *null)
            .map(|(number, _, value, _)| (number, value))
            .collect();
        assert_eq!(read(&bytes).unwrap(), expected);
        for end in 0..bytes.len() {
            // A cut between two cells is a row of fewer; none panics.
            if let Ok(read) = read(&bytes[..end]) {
                assert_eq!(read[..], expected[..read.len()]);
            }
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                let _ = read(&flipped);
            }
        }
        assert_eq!(read(&[]).unwrap_err().code, "XX001");
        assert!(read(&[2]).unwrap_err().message.contains("version 2"));
    }
}
