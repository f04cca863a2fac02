//! Little pieces of encodings: variable-length numbers, packed bits, and a reader that checks
//! every step. FORMAT.md, "Varints" and "Packed codes".

use crate::error::{Error, Result};

/// Appends a number in 7-bit groups, lowest first; all groups but the last have bit 7 set.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends numbers of `width` bits (at most 32) each, lowest bit first, zero bits at the end.
pub(super) fn put_packed(out: &mut Vec<u8>, values: &[u32], width: u32) {
    let mut bits = 0u64;
    let mut held = 0;
    for value in values {
        bits |= u64::from(*value) << held;
        held += width;
        while held >= 8 {
            out.push(bits as u8);
            bits >>= 8;
            held -= 8;
        }
    }
    if held > 0 {
        out.push(bits as u8);
    }
}

/// Bytes that `count` numbers of `width` bits take.
pub(super) fn packed_len(count: usize, width: u32) -> usize {
    (count as u64 * u64::from(width)).div_ceil(8) as usize
}

/// Reads back what [`put_packed`] wrote from bytes of exactly [`packed_len`].
pub(super) fn unpack(bytes: &[u8], count: usize, width: u32) -> Vec<u32> {
    debug_assert_eq!(bytes.len(), packed_len(count, width));
    let mask = (1u64 << width) - 1;
    let mut values = Vec::with_capacity(count);
    let mut rest = bytes.iter();
    let mut bits = 0u64;
    let mut held = 0;
    for _ in 0..count {
        while held < width {
            bits |= u64::from(rest.next().copied().unwrap_or(0)) << held;
            held += 8;
        }
        values.push((bits & mask) as u32);
        bits >>= width;
        held -= width;
    }
    values
}

/// Reads bytes front to back. Errors are [`Error::Corrupt`] with the place.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    what: &'static str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`; `what` names them in errors.
    pub fn new(what: &'static str, bytes: &'a [u8]) -> Reader<'a> {
        Reader { what, bytes, at: 0 }
    }

    /// A corruption at the place reached.
    pub fn corrupt(&self, why: &str) -> Error {
        Error::corrupt(self.what, self.at as u64, why)
    }

    /// Bytes not read yet.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(len);
        let Some(taken) = end.and_then(|end| self.bytes.get(self.at..end)) else {
            return Err(self.corrupt("the bytes end too early"));
        };
        self.at += len;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| self.corrupt("the bytes end too early"))
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// What [`put_varint`] wrote, in its one shortest form and at most `max`.
    pub fn varint(&mut self, max: u64) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let group = u64::from(byte & 0x7f);
            if group << shift >> shift != group || (byte == 0 && shift > 0) {
                return Err(self.corrupt("a number is not in its shortest form"));
            }
            value |= group << shift;
            if byte & 0x80 == 0 {
                if value > max {
                    return Err(self.corrupt("a number is over its limit"));
                }
                return Ok(value);
            }
        }
        Err(self.corrupt("a number does not end"))
    }

    /// A length that the bytes left can hold.
    pub fn length(&mut self) -> Result<usize> {
        let len = self.varint(u64::MAX)?;
        match usize::try_from(len) {
            Ok(len) if len <= self.left() => Ok(len),
            _ => Err(self.corrupt("a length goes past the end")),
        }
    }

    /// Checks that nothing is left.
    pub fn end(&self) -> Result<()> {
        if self.left() == 0 { Ok(()) } else { Err(self.corrupt("bytes are left over")) }
    }
}
