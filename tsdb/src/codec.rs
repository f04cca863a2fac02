//! Column encodings: pure functions from values to bytes and back, no input or output.
//!
//! A stream is one codec byte and its payload; how many values it holds is known from outside,
//! so that no allocation follows an unchecked field. The bytes are described in `FORMAT.md`,
//! section "Codecs". Encoding is bit-exact: NaN payloads, `-0.0` and the ends of `i64` survive.
//!
//! Streams carry no checksum. Whoever stores one must keep a crc of it, because some damaged
//! streams decode without complaint to other values.

pub mod bits;
mod bools;
pub mod bytes;
mod floats;
mod ints;
mod pcodec;
mod states;
#[cfg(test)]
mod tests;
mod texts;

pub use bools::{decode_bools, decode_bools_range, encode_bools};
pub(crate) use floats::{decimal, digits_of, nearest_decimal, undo_decimal};
pub use floats::{decode_floats, decode_floats_range, encode_floats};
pub use ints::{decode_ints, decode_ints_range, encode_ints};
pub use states::{decode_states, decode_states_range, encode_states};
pub use texts::{decode_texts, decode_texts_range, encode_texts};

use std::ops::Range;

use crate::error::{Error, Result};
use crate::types::{BytesColumn, PhysicalType, Values};

/// Most bytes that the texts of one stream may hold together; row groups end near 4 MiB, so this
/// leaves room for one last huge value and still bounds what a decoder may allocate.
pub const TEXT_BYTES_MAX: usize = 64 << 20;

/// How much work an encoder puts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Level {
    /// Flush: constant, run-length, bit-packed, dictionary, plain.
    Light = 1,
    /// Merge: every codec by trial, with a handicap for slow ones.
    Dense = 2,
}

impl Level {
    /// The level with this frozen number.
    pub fn from_number(number: u8) -> Option<Level> {
        match number {
            1 => Some(Level::Light),
            2 => Some(Level::Dense),
            _ => None,
        }
    }
}

/// Codec numbers (FORMAT.md, "Codecs"); frozen.
pub mod number {
    /// One value for all.
    pub const CONSTANT: u8 = 1;
    /// Runs of equal values.
    pub const RUN_LENGTH: u8 = 2;
    /// Frame of reference, divided, bit-packed.
    pub const PACKED: u8 = 3;
    /// First value and bit-packed differences; width 0 is a constant step.
    pub const PACKED_DELTA: u8 = 4;
    /// pco, format 4.1, one chunk of one page.
    pub const PCO: u8 = 5;
    /// Values as they are.
    pub const PLAIN: u8 = 6;
    /// Floats that are integers divided by a power of ten.
    pub const DECIMAL: u8 = 7;
    /// One bit a value.
    pub const BITMAP: u8 = 8;
    /// Lengths, then the bytes as one zstd frame.
    pub const ZSTD: u8 = 9;
    /// Distinct values and codes.
    pub const DICTIONARY: u8 = 10;
    /// pco, format 4.1, one chunk of several pages that decode alone.
    pub const PCO_PAGES: u8 = 11;

    /// Name of a codec, for people.
    pub fn name(codec: u8) -> &'static str {
        match codec {
            CONSTANT => "constant",
            RUN_LENGTH => "run-length",
            PACKED => "packed",
            PACKED_DELTA => "packed-delta",
            PCO => "pco",
            PLAIN => "plain",
            DECIMAL => "decimal",
            BITMAP => "bitmap",
            ZSTD => "zstd",
            DICTIONARY => "dictionary",
            PCO_PAGES => "pco-pages",
            _ => "unknown",
        }
    }
}

/// A run of byte strings, borrowed: value `i` is `data[offsets[i]..offsets[i + 1]]`.
#[derive(Clone, Copy, Debug)]
pub struct TextsRef<'a> {
    /// Ends of the values, with the start of the first before them.
    pub offsets: &'a [u32],
    /// The bytes that offsets point into.
    pub data: &'a [u8],
}

impl<'a> TextsRef<'a> {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value at `index`.
    pub fn get(&self, index: usize) -> &'a [u8] {
        &self.data[self.offsets[index] as usize..self.offsets[index + 1] as usize]
    }

    /// The values in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let data = self.data;
        self.offsets.windows(2).map(move |w| &data[w[0] as usize..w[1] as usize])
    }

    /// All bytes, end to end.
    pub fn bytes(&self) -> &'a [u8] {
        match (self.offsets.first(), self.offsets.last()) {
            (Some(from), Some(to)) => &self.data[*from as usize..*to as usize],
            _ => &[],
        }
    }
}

/// Values of one physical type, borrowed, in slices.
#[derive(Clone, Copy, Debug)]
pub enum ValuesRef<'a> {
    /// Integers and timestamps.
    Int(&'a [i64]),
    /// Floats.
    Float(&'a [f64]),
    /// Booleans.
    Bool(&'a [bool]),
    /// Text and bytes.
    Bytes(TextsRef<'a>),
}

impl<'a> ValuesRef<'a> {
    /// The values `start..end`.
    ///
    /// # Panics
    /// If the range is out of bounds.
    pub fn slice(values: &'a Values, start: usize, end: usize) -> ValuesRef<'a> {
        match values {
            Values::Int(v) => ValuesRef::Int(&v[start..end]),
            Values::Float(v) => ValuesRef::Float(&v[start..end]),
            Values::Bool(v) => ValuesRef::Bool(&v[start..end]),
            Values::Bytes(v) => {
                ValuesRef::Bytes(TextsRef { offsets: &v.offsets[start..=end], data: &v.data })
            }
        }
    }

    /// All values.
    pub fn all(values: &'a Values) -> ValuesRef<'a> {
        ValuesRef::slice(values, 0, values.len())
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            ValuesRef::Int(v) => v.len(),
            ValuesRef::Float(v) => v.len(),
            ValuesRef::Bool(v) => v.len(),
            ValuesRef::Bytes(v) => v.len(),
        }
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values for which `keep` holds, in order. `keep` is asked once per index.
    pub fn filter(&self, keep: impl Fn(usize) -> bool) -> Values {
        let rows = (0..self.len()).filter(|i| keep(*i));
        match self {
            ValuesRef::Int(v) => Values::Int(rows.map(|i| v[i]).collect()),
            ValuesRef::Float(v) => Values::Float(rows.map(|i| v[i]).collect()),
            ValuesRef::Bool(v) => Values::Bool(rows.map(|i| v[i]).collect()),
            ValuesRef::Bytes(v) => {
                let mut out = BytesColumn::default();
                rows.for_each(|i| out.push(v.get(i)));
                Values::Bytes(out)
            }
        }
    }
}

/// Appends a stream of values; nothing for no values.
pub fn encode_values(values: ValuesRef<'_>, level: Level, out: &mut Vec<u8>) {
    match values {
        ValuesRef::Int(v) => encode_ints(v, level, out),
        ValuesRef::Float(v) => encode_floats(v, level, out),
        ValuesRef::Bool(v) => encode_bools(v, level, out),
        ValuesRef::Bytes(v) => encode_texts(v, level, out),
    }
}

/// Reads a stream of exactly `count` values that fills `stream`.
///
/// # Errors
/// [`Error::Corrupt`] if the bytes are not such a stream.
pub fn decode_values(kind: PhysicalType, stream: &[u8], count: usize) -> Result<Values> {
    decode_values_range(kind, stream, count, 0..count)
}

/// Values `rows` of a stream of `count`, as [`decode_values`] would give them. What lies outside is
/// not decoded where that can be helped, and damage there may go unseen.
///
/// # Errors
/// As [`decode_values`].
///
/// # Panics
/// If the rows end past `count`.
pub fn decode_values_range(
    kind: PhysicalType,
    stream: &[u8],
    count: usize,
    rows: Range<usize>,
) -> Result<Values> {
    Ok(match kind {
        PhysicalType::Int => Values::Int(decode_ints_range(stream, count, rows)?),
        PhysicalType::Float => Values::Float(decode_floats_range(stream, count, rows)?),
        PhysicalType::Bool => Values::Bool(decode_bools_range(stream, count, rows)?),
        PhysicalType::Bytes => Values::Bytes(decode_texts_range(stream, count, rows)?),
    })
}

/// A corrupt stream.
pub(crate) fn corrupt(why: impl std::fmt::Display) -> Error {
    Error::Corrupt(why.to_string())
}
