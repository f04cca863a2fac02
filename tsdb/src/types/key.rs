//! Keys: the tag values that name a series.

use super::column::{Value, ValueRef};
use super::schema::{ColumnId, ColumnType};

/// A key in its one canonical form (FORMAT.md, "Keys"): for each key column with a value, in
/// ascending column id: id `u16` LE, length `u32` LE, bytes. A missing or empty value is left
/// out, so a table can gain key columns without any stored key changing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Key(Box<[u8]>);

impl Key {
    /// Builds a key from `(column, bytes)` pairs in any order; empty values are left out.
    ///
    /// The bytes of a text are its UTF-8; of an integer or timestamp its 8 bytes little-endian;
    /// of a boolean one byte.
    pub fn new<'a>(values: impl IntoIterator<Item = (ColumnId, &'a [u8])>) -> Key {
        let mut pairs: Vec<_> = values.into_iter().filter(|(_, v)| !v.is_empty()).collect();
        pairs.sort_by_key(|(id, _)| *id);
        let mut bytes = Vec::with_capacity(pairs.iter().map(|(_, v)| v.len() + 6).sum());
        for (id, value) in pairs {
            bytes.extend_from_slice(&id.to_le_bytes());
            bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
            bytes.extend_from_slice(value);
        }
        Key(bytes.into())
    }

    /// Takes bytes that are claimed to be canonical; `None` if they are not.
    pub fn from_bytes(bytes: &[u8]) -> Option<Key> {
        let mut rest = bytes;
        let mut previous: Option<u16> = None;
        while !rest.is_empty() {
            let (head, tail) = rest.split_first_chunk::<6>()?;
            let id = u16::from_le_bytes([head[0], head[1]]);
            let len = u32::from_le_bytes([head[2], head[3], head[4], head[5]]) as usize;
            if len == 0 || previous.is_some_and(|p| p >= id) {
                return None;
            }
            rest = tail.get(len..)?;
            previous = Some(id);
        }
        Some(Key(bytes.into()))
    }

    /// The canonical bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The `(column, bytes)` pairs in ascending column id.
    pub fn pairs(&self) -> impl Iterator<Item = (ColumnId, &[u8])> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let (head, tail) = rest.split_first_chunk::<6>()?;
            let len = u32::from_le_bytes([head[2], head[3], head[4], head[5]]) as usize;
            let (value, next) = tail.split_at_checked(len)?;
            rest = next;
            Some((u16::from_le_bytes([head[0], head[1]]), value))
        })
    }

    /// Bytes of one column's value; `None` when the key has none.
    pub fn get(&self, column: ColumnId) -> Option<&[u8]> {
        self.pairs().find(|(id, _)| *id == column).map(|(_, value)| value)
    }

    /// Encodes a typed value the way keys hold it; an empty result means "missing".
    pub fn encode_value(value: ValueRef<'_>) -> Vec<u8> {
        match value {
            ValueRef::Int(v) => v.to_le_bytes().to_vec(),
            ValueRef::Float(v) => v.to_bits().to_le_bytes().to_vec(),
            ValueRef::Bool(v) => vec![u8::from(v)],
            ValueRef::Bytes(v) => v.to_vec(),
        }
    }

    /// Reads back what [`Key::encode_value`] wrote for a column of type `kind`.
    pub fn decode_value(kind: ColumnType, bytes: &[u8]) -> Option<Value> {
        use super::schema::PhysicalType as P;
        Some(match kind.physical() {
            P::Int => Value::Int(i64::from_le_bytes(bytes.try_into().ok()?)),
            P::Float => Value::Float(f64::from_bits(u64::from_le_bytes(bytes.try_into().ok()?))),
            P::Bool => match bytes {
                [0] => Value::Bool(false),
                [1] => Value::Bool(true),
                _ => return None,
            },
            P::Bytes => Value::Bytes(bytes.to_vec()),
        })
    }
}

/// Shard of a key among `shards` (FORMAT.md, "Shards"): CRC-32/IEEE of the canonical bytes,
/// modulo the number of shards that the database was made with.
pub fn shard_of(key: &Key, shards: u16) -> u16 {
    (crc32fast::hash(key.as_bytes()) % u32::from(shards.max(1))) as u16
}
