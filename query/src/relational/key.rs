//! Keys of rows and index entries: bytes that sort as the values do. README.md, "Relational
//! tables", is the text.

use super::kind::Datum;
#[cfg(test)]
use super::kind::Kind;
use crate::error::{QueryError, QueryResult};

/// Before a value; NULL sorts behind all.
const VALUE: u8 = 1;
const NULL: u8 = 2;
/// Behind a zero of a text or bytes; two zeros end them, so that no value's bytes begin another's.
const ESCAPE: u8 = 0xff;

/// Bytes of a key or index entry.
pub(crate) const KEY_BYTES_MAX: usize = 4 << 10;

/// Appends one value.
pub(crate) fn put(out: &mut Vec<u8>, value: &Datum) {
    if value.is_null() {
        out.push(NULL);
        return;
    }
    out.push(VALUE);
    match value {
        Datum::Null => {}
        Datum::Bool(v) => out.push(u8::from(*v)),
        Datum::Int(v) => out.extend_from_slice(&((*v as u64) ^ (1 << 63)).to_be_bytes()),
        Datum::Float(v) => out.extend_from_slice(&float_bits(*v).to_be_bytes()),
        Datum::Decimal(v) => out.extend_from_slice(&((*v as u128) ^ (1 << 127)).to_be_bytes()),
        Datum::Text(v) => put_bytes(out, v.as_bytes()),
        Datum::Bytes(v) => put_bytes(out, v),
        // Of one length: none begins another.
        Datum::Uuid(v) => out.extend_from_slice(v),
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        out.push(*byte);
        if *byte == 0 {
            out.push(ESCAPE);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

/// Bits that sort as Postgres sorts floats: zeros are one, NaN is above all.
fn float_bits(value: f64) -> u64 {
    let value = if value == 0.0 { 0.0 } else { value };
    let bits = if value.is_nan() { f64::NAN.to_bits() & !(1 << 63) } else { value.to_bits() };
    if bits >> 63 == 1 { !bits } else { bits | (1 << 63) }
}

/// The key of some values.
///
/// # Errors
/// `54000` where it is too long.
pub(crate) fn encode<'a>(values: impl IntoIterator<Item = &'a Datum>) -> QueryResult<Vec<u8>> {
    let mut out = Vec::new();
    values.into_iter().for_each(|value| put(&mut out, value));
    if out.len() > KEY_BYTES_MAX {
        let message = format!("a key of {} bytes; at most {KEY_BYTES_MAX} are taken", out.len());
        return Err(QueryError::new("54000", message));
    }
    Ok(out)
}

/// Takes the key of one value off the front: what [`put`] must not lose.
///
/// # Errors
/// `XX001` for bytes that [`encode`] does not write.
#[cfg(test)]
fn take(bytes: &mut &[u8], kind: Kind) -> QueryResult<Datum> {
    let damaged = || QueryError::new("XX001", "a key of a relational table cannot be read");
    let (first, rest) = bytes.split_first().ok_or_else(damaged)?;
    *bytes = rest;
    match *first {
        NULL => return Ok(Datum::Null),
        VALUE => {}
        _ => return Err(damaged()),
    }
    let mut number = || -> QueryResult<u64> {
        let (head, rest) = bytes.split_first_chunk::<8>().ok_or_else(damaged)?;
        *bytes = rest;
        Ok(u64::from_be_bytes(*head))
    };
    Ok(match kind {
        Kind::Bool => {
            let (first, rest) = bytes.split_first().ok_or_else(damaged)?;
            *bytes = rest;
            match *first {
                0 => Datum::Bool(false),
                1 => Datum::Bool(true),
                _ => return Err(damaged()),
            }
        }
        Kind::Float4 | Kind::Float8 => {
            let bits = number()?;
            Datum::Float(f64::from_bits(if bits >> 63 == 1 { bits & !(1 << 63) } else { !bits }))
        }
        Kind::Numeric(..) => {
            let (head, rest) = bytes.split_first_chunk::<16>().ok_or_else(damaged)?;
            *bytes = rest;
            Datum::Decimal((u128::from_be_bytes(*head) ^ (1 << 127)) as i128)
        }
        Kind::Text | Kind::Varchar(_) | Kind::Char(_) => Datum::Text(
            String::from_utf8(take_bytes(bytes).ok_or_else(damaged)?).map_err(|_| damaged())?,
        ),
        Kind::Bytes => Datum::Bytes(take_bytes(bytes).ok_or_else(damaged)?),
        Kind::Uuid => {
            let (head, rest) = bytes.split_first_chunk().ok_or_else(damaged)?;
            *bytes = rest;
            Datum::Uuid(*head)
        }
        _ => Datum::Int((number()? ^ (1 << 63)) as i64),
    })
}

#[cfg(test)]
fn take_bytes(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        if *first == 0 {
            match bytes.split_first() {
                Some((&ESCAPE, rest)) => *bytes = rest,
                Some((&0, rest)) => {
                    *bytes = rest;
                    return Some(out);
                }
                _ => return None,
            }
        }
        out.push(*first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn datum() -> impl Strategy<Value = (Kind, Datum)> {
        prop_oneof![
            any::<bool>().prop_map(|v| (Kind::Bool, Datum::Bool(v))),
            any::<i64>().prop_map(|v| (Kind::Int8, Datum::Int(v))),
            any::<f64>().prop_map(|v| (Kind::Float8, Datum::Float(v))),
            any::<i128>().prop_map(|v| (Kind::Numeric(38, 2), Datum::Decimal(v))),
            "[\\x01\\x02a-c]{0,5}".prop_map(|v| (Kind::Text, Datum::Text(v))),
            proptest::collection::vec(0u8..3, 0..5).prop_map(|v| (Kind::Bytes, Datum::Bytes(v))),
            any::<[u8; 16]>().prop_map(|v| (Kind::Uuid, Datum::Uuid(v))),
            Just((Kind::Text, Datum::Null)),
        ]
    }

    fn order(a: &Datum, b: &Datum) -> Option<std::cmp::Ordering> {
        Some(match (a, b) {
            (Datum::Bool(a), Datum::Bool(b)) => a.cmp(b),
            (Datum::Int(a), Datum::Int(b)) => a.cmp(b),
            (Datum::Float(a), Datum::Float(b)) => match (a.is_nan(), b.is_nan()) {
                (false, false) => a.partial_cmp(b)?,
                (a, b) => a.cmp(&b),
            },
            (Datum::Decimal(a), Datum::Decimal(b)) => a.cmp(b),
            (Datum::Text(a), Datum::Text(b)) => a.cmp(b),
            (Datum::Bytes(a), Datum::Bytes(b)) => a.cmp(b),
            (Datum::Uuid(a), Datum::Uuid(b)) => a.cmp(b),
            _ => return None,
        })
    }

    proptest! {
        #[test]
        fn keys_sort_as_values_and_read_back(a in datum(), b in datum(), c in datum()) {
            let key = encode([&a.1, &c.1]).unwrap();
            if let Some(order) = order(&a.1, &b.1) {
                prop_assert_eq!(order, encode([&a.1]).unwrap().cmp(&encode([&b.1]).unwrap()));
                if order.is_ne() {
                    // What follows does not matter.
                    prop_assert_eq!(order, key.cmp(&encode([&b.1, &a.1]).unwrap()));
                }
            }
            let mut rest = &key[..];
            for (kind, value) in [&a, &c] {
                let read = take(&mut rest, *kind).unwrap();
                prop_assert_eq!(encode([&read]).unwrap(), encode([value]).unwrap());
            }
            prop_assert!(rest.is_empty());
            for end in 0..key.len() {
                let mut cut = &key[..end];
                // A cut may read as a shorter value, never as the same.
                if let Ok(read) = take(&mut cut, a.0).and_then(|_| take(&mut cut, c.0)) {
                    prop_assert_ne!(encode([&read]).unwrap(), encode([&c.1]).unwrap());
                }
            }
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            for kind in [Kind::Bool, Kind::Int4, Kind::Float8, Kind::Numeric(9, 2), Kind::Text, Kind::Bytes, Kind::Uuid] {
                let _ = take(&mut &bytes[..], kind);
            }
        }
    }

    #[test]
    fn no_key_begins_another() {
        let values = [&b"a"[..], b"a\0", b"a\0\0", b"", b"\0", b"a\0\xff"];
        let keys: Vec<Vec<u8>> =
            values.iter().map(|v| encode([&Datum::Bytes(v.to_vec())]).unwrap()).collect();
        for (a, key) in keys.iter().enumerate() {
            let begun = |(b, other): (usize, &Vec<u8>)| a != b && other.starts_with(key);
            assert!(!keys.iter().enumerate().any(begun), "{:?}", values[a]);
        }
    }
}
