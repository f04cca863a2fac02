//! `uuid` in texts, as PostgreSQL reads and writes them, and as Arrow carries them: sixteen bytes
//! of fixed size, which nothing else here is.

use arrow::datatypes::DataType;

use crate::error::QueryError;

/// Bytes of a value.
pub(crate) const UUID_BYTES: usize = 16;
/// The Arrow type of values.
pub const UUID_TYPE: DataType = DataType::FixedSizeBinary(UUID_BYTES as i32);
/// Bytes behind which a text has a hyphen.
const GROUPS: [usize; 4] = [4, 6, 8, 10];

/// Reads 32 hexadecimal digits, with a hyphen behind any group of four of them or none, in braces or
/// not; `None` for anything else (PostgreSQL 15, 8.12 "UUID Type").
pub fn parse_uuid(text: &str) -> Option<[u8; UUID_BYTES]> {
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}')?,
        None => text,
    };
    let mut rest = inner.bytes().peekable();
    let mut out = [0; UUID_BYTES];
    for (at, byte) in out.iter_mut().enumerate() {
        let mut digit = || char::from(rest.next()?).to_digit(16).map(|digit| digit as u8);
        *byte = digit()? << 4 | digit()?;
        if at % 2 == 1 && at + 1 < UUID_BYTES {
            rest.next_if_eq(&b'-');
        }
    }
    rest.next().is_none().then_some(out)
}

/// Appends the text of a value, which is shorter or longer than one only where it is none.
pub fn put_uuid(out: &mut Vec<u8>, value: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (at, byte) in value.iter().enumerate() {
        if GROUPS.contains(&at) {
            out.push(b'-');
        }
        out.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// The text of a value.
pub fn uuid_text(value: &[u8]) -> String {
    let mut out = Vec::with_capacity(36);
    put_uuid(&mut out, value);
    out.into_iter().map(char::from).collect()
}

/// `22P02`: a text that is no uuid.
pub(crate) fn invalid(text: &str) -> QueryError {
    let shown: String = text.chars().take(100).collect();
    QueryError::new("22P02", format!("invalid input syntax for type uuid: \"{shown}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms() {
        let plain = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
        let value = parse_uuid(plain).unwrap();
        assert_eq!(uuid_text(&value), plain);
        for same in [
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
            "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}",
        ] {
            assert_eq!(parse_uuid(same), Some(value), "{same}");
        }
        for bad in [
            "",
            "{",
            "{}",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a112",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11-",
            "a0-eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "a0eebc99--9c0b-4ef8-bb6d-6bb9bd380a11",
            "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
            " a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "g0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "ä0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        ] {
            assert_eq!(parse_uuid(bad), None, "{bad}");
        }
    }
}
