//! Integer streams.

use std::ops::Range;

use super::bits::{self, packed_len, width_of};
use super::bytes::{Reader, put_nested, put_varint, put_zigzag, varint_len, zigzag};
use super::{Level, corrupt, number, pcodec};
use crate::error::Result;

/// Streams inside streams: values and lengths of runs never hold runs themselves.
const DEPTH_MAX: u32 = 1;
/// Below this many bytes no slower codec is tried.
const PACKED_ENOUGH_BYTES: usize = 24;

/// What one pass over the values tells.
struct Profile {
    min: i64,
    max: i64,
    delta_min: i64,
    delta_max: i64,
    runs: usize,
}

impl Profile {
    fn of(values: &[i64]) -> Profile {
        let first = values[0];
        let mut p =
            Profile { min: first, max: first, delta_min: i64::MAX, delta_max: i64::MIN, runs: 1 };
        let mut previous = first;
        for &value in &values[1..] {
            let delta = value.wrapping_sub(previous);
            p.min = p.min.min(value);
            p.max = p.max.max(value);
            p.delta_min = p.delta_min.min(delta);
            p.delta_max = p.delta_max.max(delta);
            p.runs += usize::from(value != previous);
            previous = value;
        }
        p
    }
}

/// Bit-packed integers `base + divisor * packed`.
struct Packing {
    base: i64,
    divisor: u64,
    width: u32,
}

impl Packing {
    fn of(values: impl Iterator<Item = i64>, min: i64, max: i64) -> Packing {
        let range = max.wrapping_sub(min) as u64;
        let divisor = common_divisor(values.map(|v| v.wrapping_sub(min) as u64));
        Packing { base: min, divisor, width: width_of(range / divisor) }
    }

    fn len(&self, count: usize) -> usize {
        varint_len(zigzag(self.base)) + varint_len(self.divisor) + 1 + packed_len(count, self.width)
    }

    fn put(&self, values: impl Iterator<Item = i64>, out: &mut Vec<u8>) {
        put_zigzag(out, self.base);
        put_varint(out, self.divisor);
        out.push(self.width as u8);
        let (base, divisor) = (self.base, self.divisor);
        if divisor == 1 {
            bits::pack(values.map(|v| v.wrapping_sub(base) as u64), self.width, out);
        } else {
            bits::pack(values.map(|v| v.wrapping_sub(base) as u64 / divisor), self.width, out);
        }
    }
}

/// The greatest number that divides all; 1 when all are 0.
fn common_divisor(values: impl Iterator<Item = u64>) -> u64 {
    let mut divisor = 0u64;
    for value in values {
        if divisor == 1 {
            break;
        }
        if divisor != 0 && value.is_multiple_of(divisor) {
            continue;
        }
        let (mut a, mut b) = (value, divisor);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        divisor = a;
    }
    divisor.max(1)
}

/// Appends a stream of integers; nothing for none.
pub fn encode_ints(values: &[i64], level: Level, out: &mut Vec<u8>) {
    encode(values, level, DEPTH_MAX, out);
}

fn deltas(values: &[i64]) -> impl Iterator<Item = i64> + '_ {
    values.windows(2).map(|w| w[1].wrapping_sub(w[0]))
}

fn encode(values: &[i64], level: Level, depth: u32, out: &mut Vec<u8>) {
    let Some(&first) = values.first() else { return };
    let profile = Profile::of(values);
    if profile.runs == 1 {
        out.push(number::CONSTANT);
        put_zigzag(out, first);
        return;
    }
    let packed = Packing::of(values.iter().copied(), profile.min, profile.max);
    let packed_delta = Packing::of(deltas(values), profile.delta_min, profile.delta_max);
    let packed_len = packed.len(values.len());
    let delta_len = varint_len(zigzag(first)) + packed_delta.len(values.len() - 1);
    let mut best_len = packed_len.min(delta_len).min(values.len() * 8);
    let mut tried: Option<Vec<u8>> = None;
    if depth > 0 && profile.runs <= values.len() / 4 && best_len > PACKED_ENOUGH_BYTES {
        let runs = encode_runs(values, profile.runs, level, depth);
        if runs.len() <= best_len {
            best_len = runs.len();
            tried = Some(runs);
        }
    }
    if level == Level::Dense && best_len > PACKED_ENOUGH_BYTES
        && let Some(pco) = encode_pco(values, &packed)
        // Bit-packing decodes several times faster: pco has to win by 3 %.
        && pco.len() + pco.len() / 32 < best_len
    {
        tried = Some(pco);
    }
    if let Some(stream) = tried {
        out.extend_from_slice(&stream);
    } else if values.len() * 8 <= packed_len.min(delta_len) {
        out.push(number::PLAIN);
        out.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    } else if packed_len <= delta_len {
        out.push(number::PACKED);
        packed.put(values.iter().copied(), out);
    } else {
        out.push(number::PACKED_DELTA);
        put_zigzag(out, first);
        packed_delta.put(deltas(values), out);
    }
}

fn encode_runs(values: &[i64], runs: usize, level: Level, depth: u32) -> Vec<u8> {
    let mut heads = Vec::with_capacity(runs);
    let mut lengths = Vec::with_capacity(runs);
    for run in values.chunk_by(|a, b| a == b) {
        heads.push(run[0]);
        lengths.push(run.len() as i64);
    }
    let mut out = vec![number::RUN_LENGTH];
    put_varint(&mut out, runs as u64);
    put_nested(&mut out, |nested| encode(&heads, level, depth - 1, nested));
    encode(&lengths, level, depth - 1, &mut out);
    out
}

/// Narrow words make pco's tables small and its loops fast, so values go in relative to their
/// least, divided, and as narrow as that allows.
fn encode_pco(values: &[i64], packing: &Packing) -> Option<Vec<u8>> {
    let (base, divisor) = (packing.base, packing.divisor);
    let (width, (codec, payload)) = match packing.width {
        0..=8 => (8u8, pcodec::compress(&narrow(values, base, divisor, |w| w as u8))?),
        9..=16 => (16, pcodec::compress(&narrow(values, base, divisor, |w| w as u16))?),
        17..=32 => (32, pcodec::compress(&narrow(values, base, divisor, |w| w as u32))?),
        _ => (64, pcodec::compress(&narrow(values, base, divisor, |w| w))?),
    };
    let mut out = vec![codec];
    put_zigzag(&mut out, base);
    put_varint(&mut out, divisor);
    out.push(width);
    out.extend_from_slice(&payload);
    Some(out)
}

fn narrow<T>(values: &[i64], base: i64, divisor: u64, cut: impl Fn(u64) -> T) -> Vec<T> {
    if divisor == 1 {
        return values.iter().map(|v| cut(v.wrapping_sub(base) as u64)).collect();
    }
    values.iter().map(|v| cut(v.wrapping_sub(base) as u64 / divisor)).collect()
}

/// Reads a stream of exactly `count` integers that fills `stream`.
///
/// # Errors
/// [`crate::Error::Corrupt`] if the bytes are not such a stream.
pub fn decode_ints(stream: &[u8], count: usize) -> Result<Vec<i64>> {
    decode(stream, count, 0..count, DEPTH_MAX)
}

/// Integers `rows` of a stream of `count`, as [`decode_ints`] would give them; the rest is not
/// looked at where that can be helped.
///
/// # Errors
/// As [`decode_ints`].
pub fn decode_ints_range(stream: &[u8], count: usize, rows: Range<usize>) -> Result<Vec<i64>> {
    decode(stream, count, rows, DEPTH_MAX)
}

fn decode(stream: &[u8], count: usize, rows: Range<usize>, depth: u32) -> Result<Vec<i64>> {
    assert!(rows.start <= rows.end && rows.end <= count, "rows {rows:?} of {count}");
    let mut reader = Reader::new(stream);
    if count == 0 {
        reader.finish()?;
        return Ok(Vec::new());
    }
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    match reader.u8()? {
        number::CONSTANT => {
            let value = reader.zigzag()?;
            reader.finish()?;
            Ok(vec![value; rows.len()])
        }
        number::RUN_LENGTH if depth > 0 => decode_runs(reader, count, rows, depth),
        number::PACKED => {
            let packed = Packed::read(reader)?;
            packed.decode(count, rows)
        }
        number::PACKED_DELTA => {
            let first = reader.zigzag()?;
            Packed::read(reader)?.decode_deltas(first, count, rows)
        }
        codec @ (number::PCO | number::PCO_PAGES) => decode_pco(codec, reader, count, rows),
        number::PLAIN => decode_plain(reader, count, rows),
        codec => Err(corrupt(format_args!("codec {codec} for integers"))),
    }
}

fn prefix_sum(values: &mut [i64]) {
    let mut sum = 0i64;
    for value in values {
        sum = sum.wrapping_add(*value);
        *value = sum;
    }
}

/// Packed values as they were read.
struct Packed<'a> {
    base: i64,
    divisor: u64,
    width: u32,
    bytes: &'a [u8],
}

impl<'a> Packed<'a> {
    fn read(mut reader: Reader<'a>) -> Result<Packed<'a>> {
        let base = reader.zigzag()?;
        let divisor = reader.varint()?;
        let width = u32::from(reader.u8()?);
        Ok(Packed { base, divisor, width, bytes: reader.rest() })
    }

    /// Values `rows` of `count`.
    fn decode(&self, count: usize, rows: Range<usize>) -> Result<Vec<i64>> {
        let &Packed { base, divisor, width, bytes } = self;
        let one = |w: u64| base.wrapping_add(w as i64);
        let many = |w: u64| base.wrapping_add(w.wrapping_mul(divisor) as i64);
        match divisor {
            1 => bits::unpack(bytes, count, width, rows, one),
            _ => bits::unpack(bytes, count, width, rows, many),
        }
    }

    /// Values `rows` of `count`, of which these are the differences behind `first`.
    fn decode_deltas(&self, first: i64, count: usize, rows: Range<usize>) -> Result<Vec<i64>> {
        let &Packed { base, divisor, width, bytes } = self;
        let mut values = if rows.start == 0 {
            let one = |w: u64| base.wrapping_add(w as i64);
            let many = |w: u64| base.wrapping_add(w.wrapping_mul(divisor) as i64);
            match divisor {
                1 => bits::unpack_after(first, bytes, count - 1, width, rows.end - 1, one)?,
                _ => bits::unpack_after(first, bytes, count - 1, width, rows.end - 1, many)?,
            }
        } else {
            // What lies before is summed without being kept; of a constant step that is nothing.
            let words = match width {
                0 => 0,
                _ => bits::sum(bytes, count - 1, width, rows.start - 1)?,
            };
            let steps = base.wrapping_mul((rows.start - 1) as i64);
            let before = first.wrapping_add(steps);
            let before = before.wrapping_add(words.wrapping_mul(divisor) as i64);
            let mut deltas = self.decode(count - 1, rows.start - 1..rows.end - 1)?;
            deltas[0] = deltas[0].wrapping_add(before);
            deltas
        };
        prefix_sum(&mut values);
        Ok(values)
    }
}

fn scale<T: Copy + Into<u64>>(words: &[T], base: i64, divisor: u64) -> Vec<i64> {
    if divisor == 1 {
        return words.iter().map(|w| base.wrapping_add((*w).into() as i64)).collect();
    }
    let scaled = |w: &T| base.wrapping_add((*w).into().wrapping_mul(divisor) as i64);
    words.iter().map(scaled).collect()
}

fn decode_runs(
    mut reader: Reader<'_>,
    count: usize,
    rows: Range<usize>,
    depth: u32,
) -> Result<Vec<i64>> {
    let runs = reader.varint_max(count)?;
    let heads = decode(reader.nested()?, runs, 0..runs, depth - 1)?;
    let lengths = decode(reader.rest(), runs, 0..runs, depth - 1)?;
    spread_runs(heads.into_iter(), &lengths, count, rows)
}

/// Values `rows` of `count` in runs.
pub(super) fn spread_runs<T: Copy>(
    heads: impl Iterator<Item = T>,
    lengths: &[i64],
    count: usize,
    rows: Range<usize>,
) -> Result<Vec<T>> {
    let mut values = Vec::with_capacity(rows.len());
    let mut end = 0;
    for (head, length) in heads.zip(lengths) {
        let from = end;
        end += run_length(*length, count - from)?;
        let (from, to) = (from.max(rows.start), end.min(rows.end));
        values.resize(values.len() + to.saturating_sub(from), head);
    }
    if end != count {
        return Err(corrupt("runs that are too short"));
    }
    Ok(values)
}

/// Checks the length of a run against the values still missing.
fn run_length(length: i64, left: usize) -> Result<usize> {
    match usize::try_from(length) {
        Ok(length) if length >= 1 && length <= left => Ok(length),
        _ => Err(corrupt(format_args!("a run of {length} where {left} values are left"))),
    }
}

fn decode_pco(
    codec: u8,
    mut reader: Reader<'_>,
    count: usize,
    rows: Range<usize>,
) -> Result<Vec<i64>> {
    let base = reader.zigzag()?;
    let divisor = reader.varint()?;
    let width = reader.u8()?;
    let pages = pcodec::Pages::read(codec, reader, count)?;
    Ok(match width {
        8 => scale(&pages.decompress::<u8>(rows)?, base, divisor),
        16 => scale(&pages.decompress::<u16>(rows)?, base, divisor),
        32 => scale(&pages.decompress::<u32>(rows)?, base, divisor),
        64 => scale(&pages.decompress::<u64>(rows)?, base, divisor),
        _ => return Err(corrupt(format_args!("pco of {width} bits"))),
    })
}

fn decode_plain(mut reader: Reader<'_>, count: usize, rows: Range<usize>) -> Result<Vec<i64>> {
    let bytes = reader.take(plain_len(count)?)?;
    reader.finish()?;
    let (words, _) = bytes.as_chunks::<8>();
    Ok(words[rows].iter().map(|w| i64::from_le_bytes(*w)).collect())
}

/// Bytes of `count` plain words.
pub(super) fn plain_len(count: usize) -> Result<usize> {
    count.checked_mul(8).ok_or_else(|| corrupt("too many values"))
}
