//! Changes of rows as commands of the log. FORMAT.md, "Row commands".

use crate::error::{Error, Result};
use crate::series::bytes::{Reader, put_varint};

/// Bytes of a row's key without its space: it is searched for, so it is small.
pub const ROW_KEY_BYTES_MAX: usize = 16 << 10;
/// Bytes of a row's value: larger things belong to the object store.
pub const ROW_VALUE_BYTES_MAX: usize = 16 << 20;
/// Preconditions and changes of one command together.
pub const ROW_COMMAND_ITEMS_MAX: usize = 1 << 20;

const VERSION: u8 = 1;
/// The version of commands that delete by prefix.
const PREFIX_VERSION: u8 = 2;
const WITHOUT_VALUE: u8 = 0;
const WITH_VALUE: u8 = 1;
const PREFIX: u8 = 2;

/// One change of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowChange {
    /// The row has this value from now on.
    Put {
        /// Space the row lies in: what a table is to SQL.
        space: u16,
        /// Key in the space; rows are in the order of its bytes.
        key: Vec<u8>,
        /// Value.
        value: Vec<u8>,
    },
    /// The row is no more; fine if it never was.
    Delete {
        /// Space the row lies in.
        space: u16,
        /// Key in the space.
        key: Vec<u8>,
    },
    /// All rows whose keys begin so are no more.
    DeletePrefix {
        /// Space the rows lie in.
        space: u16,
        /// What their keys begin with; not empty.
        prefix: Vec<u8>,
    },
}

/// What a row must be for a command to be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowExpect {
    /// Space the row lies in.
    pub space: u16,
    /// Key in the space.
    pub key: Vec<u8>,
    /// The value the row must have; `None`: the row must not exist.
    pub value: Option<Vec<u8>>,
}

/// Changes that happen all or not at all: not at all when a precondition does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RowCommand {
    /// Preconditions, on the rows as they are before the first change.
    pub expects: Vec<RowExpect>,
    /// Changes, in order.
    pub changes: Vec<RowChange>,
}

impl RowCommand {
    /// Checks the limits of this module; to be called before a command enters the log.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the limit.
    pub fn check(&self) -> Result<()> {
        let items = self.expects.len() + self.changes.len();
        if items > ROW_COMMAND_ITEMS_MAX {
            return Err(Error::Invalid(format!(
                "a command of {items} rows; at most {ROW_COMMAND_ITEMS_MAX} are allowed"
            )));
        }
        for (form, _, key, value) in self.items() {
            if form == PREFIX && key.is_empty() {
                return Err(Error::Invalid("a space is not deleted as a whole".to_owned()));
            }
            if key.len() > ROW_KEY_BYTES_MAX {
                return Err(Error::Invalid(format!(
                    "a row key of {} bytes; at most {ROW_KEY_BYTES_MAX} are allowed",
                    key.len()
                )));
            }
            if value.is_some_and(|value| value.len() > ROW_VALUE_BYTES_MAX) {
                return Err(Error::Invalid(format!(
                    "a row value of over {ROW_VALUE_BYTES_MAX} bytes"
                )));
            }
        }
        Ok(())
    }

    /// Appends the command's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let prefixes = self.items().any(|(form, ..)| form == PREFIX);
        out.push(if prefixes { PREFIX_VERSION } else { VERSION });
        put_varint(out, self.expects.len() as u64);
        put_varint(out, self.changes.len() as u64);
        for (form, space, key, value) in self.items() {
            out.push(form);
            out.extend_from_slice(&space.to_le_bytes());
            put_varint(out, key.len() as u64);
            out.extend_from_slice(key);
            if let Some(value) = value {
                put_varint(out, value.len() as u64);
                out.extend_from_slice(value);
            }
        }
    }

    /// Reads what [`RowCommand::encode`] wrote; nothing may be left over. The bytes have no
    /// checksum of their own: the record of the log that holds them has.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for bytes that no command has, including one over the limits.
    pub fn decode(bytes: &[u8]) -> Result<RowCommand> {
        let mut reader = Reader::new("row command", bytes);
        let version = reader.u8()?;
        if !matches!(version, VERSION | PREFIX_VERSION) {
            return Err(reader.corrupt("version is not known"));
        }
        let expects = reader.varint(ROW_COMMAND_ITEMS_MAX as u64)?;
        let changes = reader.varint(ROW_COMMAND_ITEMS_MAX as u64 - expects)?;
        let mut command = RowCommand::default();
        for _ in 0..expects {
            let (form, space, key, value) = decode_item(&mut reader)?;
            if form == PREFIX {
                return Err(reader.corrupt("a precondition on a prefix"));
            }
            command.expects.push(RowExpect { space, key, value });
        }
        for _ in 0..changes {
            command.changes.push(match decode_item(&mut reader)? {
                (PREFIX, space, prefix, _) if version == PREFIX_VERSION && !prefix.is_empty() => {
                    RowChange::DeletePrefix { space, prefix }
                }
                (PREFIX, ..) => return Err(reader.corrupt("a prefix that cannot be")),
                (_, space, key, Some(value)) => RowChange::Put { space, key, value },
                (_, space, key, None) => RowChange::Delete { space, key },
            });
        }
        reader.end()?;
        Ok(command)
    }

    /// Preconditions and changes as `(form, space, key, value)`, in their order.
    fn items(&self) -> impl Iterator<Item = (u8, u16, &[u8], Option<&[u8]>)> {
        let form = |value: &Option<Vec<u8>>| match value {
            Some(_) => WITH_VALUE,
            None => WITHOUT_VALUE,
        };
        let expects = self
            .expects
            .iter()
            .map(move |item| (form(&item.value), item.space, &item.key[..], item.value.as_deref()));
        expects.chain(self.changes.iter().map(|change| match change {
            RowChange::Put { space, key, value } => {
                (WITH_VALUE, *space, &key[..], Some(&value[..]))
            }
            RowChange::Delete { space, key } => (WITHOUT_VALUE, *space, &key[..], None),
            RowChange::DeletePrefix { space, prefix } => (PREFIX, *space, &prefix[..], None),
        }))
    }
}

type Item = (u8, u16, Vec<u8>, Option<Vec<u8>>);

fn decode_item(reader: &mut Reader<'_>) -> Result<Item> {
    let form = reader.u8()?;
    let space = reader.u16()?;
    let len = reader.varint(ROW_KEY_BYTES_MAX as u64)? as usize;
    let key = reader.take(len)?.to_vec();
    let value = match form {
        WITHOUT_VALUE | PREFIX => None,
        WITH_VALUE => {
            let len = reader.varint(ROW_VALUE_BYTES_MAX as u64)? as usize;
            Some(reader.take(len)?.to_vec())
        }
        _ => return Err(reader.corrupt("form of a row is not known")),
    };
    Ok((form, space, key, value))
}
