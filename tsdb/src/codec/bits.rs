//! Bit-packing: values of one width end to end, low bits first, in whole bytes.

use std::ops::Range;

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

/// Reads values `rows` of `count` values of `width` bits, each given to `map`; the bytes must be
/// exactly as many as all of them need.
///
/// # Errors
/// [`crate::Error::Corrupt`] on a wrong length or a width over 64.
pub fn unpack<T: Copy + Default>(
    bytes: &[u8],
    count: usize,
    width: u32,
    rows: Range<usize>,
    map: impl Fn(u64) -> T,
) -> Result<Vec<T>> {
    check_len(bytes, count, width)?;
    debug_assert!(rows.start <= rows.end && rows.end <= count);
    // Eight values fill whole bytes: the values before the first one wanted are few.
    let from = rows.start / 8 * 8;
    let mut values = vec![T::default(); rows.end - from];
    unpack_into(stretch(bytes, width, from, rows.end), width, &mut values, &map);
    values.drain(..rows.start - from);
    Ok(values)
}

/// As [`unpack`] from the first value on, behind one that is given.
///
/// # Errors
/// As [`unpack`].
pub fn unpack_after<T: Copy + Default>(
    first: T,
    bytes: &[u8],
    count: usize,
    width: u32,
    end: usize,
    map: impl Fn(u64) -> T,
) -> Result<Vec<T>> {
    check_len(bytes, count, width)?;
    debug_assert!(end <= count);
    let mut values = vec![T::default(); end + 1];
    values[0] = first;
    unpack_into(stretch(bytes, width, 0, end), width, &mut values[1..], &map);
    Ok(values)
}

/// The sum of the first `end` of `count` values, wrapped to 64 bits.
///
/// # Errors
/// As [`unpack`].
pub fn sum(bytes: &[u8], count: usize, width: u32, end: usize) -> Result<u64> {
    check_len(bytes, count, width)?;
    debug_assert!(end <= count);
    let mut buffer = [0u64; SUM_VALUES];
    let mut sum = 0u64;
    for from in (0..end).step_by(SUM_VALUES) {
        let to = end.min(from + SUM_VALUES);
        let values = &mut buffer[..to - from];
        unpack_into(stretch(bytes, width, from, to), width, values, &|word| word);
        sum = values.iter().fold(sum, |sum, value| sum.wrapping_add(*value));
    }
    Ok(sum)
}

/// Values that are summed at once; a multiple of eight.
const SUM_VALUES: usize = 256;

/// The bytes of values `from..to`, of bytes that hold them; `from` is a multiple of eight.
fn stretch(bytes: &[u8], width: u32, from: usize, to: usize) -> &[u8] {
    debug_assert!(from.is_multiple_of(8) && from <= to);
    let start = from / 8 * width as usize;
    &bytes[start..start + packed_len(to - from, width)]
}

fn check_len(bytes: &[u8], count: usize, width: u32) -> Result<()> {
    if width > 64 {
        return Err(corrupt(format_args!("a width of {width} bits")));
    }
    if bytes.len() != packed_len(count, width) {
        return Err(corrupt(format_args!(
            "{} bytes for {count} values of {width} bits",
            bytes.len()
        )));
    }
    Ok(())
}

/// Eight values fill `width` bytes, so each chunk of eight starts on a byte. A value is read
/// with one word at its first byte; the last chunks go through a padded copy so that words never
/// reach past the end.
fn unpack_into<T: Copy>(bytes: &[u8], width: u32, values: &mut [T], map: &impl Fn(u64) -> T) {
    if width == 0 {
        return values.fill(map(0));
    }
    let stride = width as usize;
    let fast = (bytes.len().saturating_sub(8) / stride).min(values.len() / 8);
    let (head, tail) = values.split_at_mut(fast * 8);
    /// Widths known when compiling turn shifts and offsets into constants.
    macro_rules! of_width {
        ($($known:literal)*) => {
            match width {
                $($known => unpack_chunks(bytes, $known, head, map),)*
                _ => unpack_chunks(bytes, width, head, map),
            }
        };
    }
    of_width!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24);
    let rest = &bytes[fast * stride..];
    let mut padded = [0u8; 64 + 8 + 16];
    padded[..rest.len()].copy_from_slice(rest);
    for (index, chunk) in tail.chunks_mut(8).enumerate() {
        unpack_chunk(&padded[index * stride..], width, chunk, map);
    }
}

#[inline(always)]
fn unpack_chunks<T>(bytes: &[u8], width: u32, head: &mut [T], map: &impl Fn(u64) -> T) {
    let stride = width as usize;
    for (index, chunk) in head.chunks_exact_mut(8).enumerate() {
        let from = index * stride;
        unpack_chunk(&bytes[from..from + stride + 8], width, chunk, map);
    }
}

#[inline(always)]
fn unpack_chunk<T>(bytes: &[u8], width: u32, chunk: &mut [T], map: &impl Fn(u64) -> T) {
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
        *value = map(got & mask);
    }
}
