//! Bit-packing: values of one width end to end, low bits first, in whole bytes.

use super::corrupt;
use crate::error::Result;

/// Bits that hold `value`.
pub fn width_of(value: u64) -> u32 {
    64 - value.leading_zeros()
}

/// Bytes that `count` values of `width` bits take.
pub fn packed_len(count: usize, width: u32) -> usize {
    (count * width as usize).div_ceil(8)
}

/// Appends the low `width` bits of each value. Values must fit, `width` is at most 64.
pub fn pack(values: impl IntoIterator<Item = u64>, width: u32, out: &mut Vec<u8>) {
    debug_assert!(width <= 64);
    if width == 0 {
        return;
    }
    let (mut word, mut filled) = (0u64, 0u32);
    for value in values {
        debug_assert!(width == 64 || value >> width == 0);
        word |= value << filled;
        let total = filled + width;
        if total < 64 {
            filled = total;
            continue;
        }
        out.extend_from_slice(&word.to_le_bytes());
        let used = 64 - filled;
        word = if used == 64 { 0 } else { value >> used };
        filled = total - 64;
        if filled == 0 {
            word = 0;
        }
    }
    out.extend_from_slice(&word.to_le_bytes()[..filled.div_ceil(8) as usize]);
}

/// Reads `count` values of `width` bits; the bytes must be exactly as many as needed.
///
/// # Errors
/// [`crate::Error::Corrupt`] on a wrong length or a width over 64.
pub fn unpack(bytes: &[u8], count: usize, width: u32) -> Result<Vec<u64>> {
    if width > 64 {
        return Err(corrupt(format_args!("a width of {width} bits")));
    }
    if bytes.len() != packed_len(count, width) {
        return Err(corrupt(format_args!(
            "{} bytes for {count} values of {width} bits",
            bytes.len()
        )));
    }
    let mut values = vec![0u64; count];
    if width > 0 {
        unpack_into(bytes, width, &mut values);
    }
    Ok(values)
}

/// Eight values fill `width` bytes, so each chunk of eight starts on a byte. A value is read
/// with one word at its first byte; the last chunks go through a padded copy so that words never
/// reach past the end.
fn unpack_into(bytes: &[u8], width: u32, values: &mut [u64]) {
    let stride = width as usize;
    let fast = (bytes.len().saturating_sub(8) / stride).min(values.len() / 8);
    let (head, tail) = values.split_at_mut(fast * 8);
    for (index, chunk) in head.chunks_exact_mut(8).enumerate() {
        let from = index * stride;
        unpack_chunk(&bytes[from..from + stride + 8], width, chunk);
    }
    let rest = &bytes[fast * stride..];
    let mut padded = [0u8; 64 + 8 + 16];
    padded[..rest.len()].copy_from_slice(rest);
    for (index, chunk) in tail.chunks_mut(8).enumerate() {
        unpack_chunk(&padded[index * stride..], width, chunk);
    }
}

#[inline]
fn unpack_chunk(bytes: &[u8], width: u32, chunk: &mut [u64]) {
    let mask = u64::MAX >> (64 - width);
    for (index, value) in chunk.iter_mut().enumerate() {
        let bit = index * width as usize;
        let (byte, shift) = (bit / 8, bit as u32 % 8);
        let mut word = [0u8; 8];
        word.copy_from_slice(&bytes[byte..byte + 8]);
        let mut got = u64::from_le_bytes(word) >> shift;
        if shift + width > 64 {
            got |= u64::from(bytes[byte + 8]) << (64 - shift);
        }
        *value = got & mask;
    }
}
