//! Values as Postgres writes them, for the doors and for casts to text alike: by arithmetic alone, into plain buffers.

pub mod digits;
pub mod interval;
pub mod number;
pub mod time;
pub mod zone;

/// Bytes as `byteaout` does with `bytea_output = hex`.
pub fn put_bytea(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\\x");
    out.extend(
        bytes
            .iter()
            .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]),
    );
}
