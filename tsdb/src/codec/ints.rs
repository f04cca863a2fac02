//! Integer streams.

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
    let (width, payload) = match packing.width {
        0..=8 => (8u8, pcodec::compress(&narrow(values, base, divisor, |w| w as u8))?),
        9..=16 => (16, pcodec::compress(&narrow(values, base, divisor, |w| w as u16))?),
        17..=32 => (32, pcodec::compress(&narrow(values, base, divisor, |w| w as u32))?),
        _ => (64, pcodec::compress(&narrow(values, base, divisor, |w| w))?),
    };
    let mut out = vec![number::PCO];
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
    decode(stream, count, DEPTH_MAX)
}

fn decode(stream: &[u8], count: usize, depth: u32) -> Result<Vec<i64>> {
    let mut reader = Reader::new(stream);
    if count == 0 {
        reader.finish()?;
        return Ok(Vec::new());
    }
    match reader.u8()? {
        number::CONSTANT => {
            let value = reader.zigzag()?;
            reader.finish()?;
            Ok(vec![value; count])
        }
        number::RUN_LENGTH if depth > 0 => decode_runs(reader, count, depth),
        number::PACKED => decode_packed(reader, None, count),
        number::PACKED_DELTA => {
            let first = reader.zigzag()?;
            let mut values = decode_packed(reader, Some(first), count)?;
            prefix_sum(&mut values);
            Ok(values)
        }
        number::PCO => decode_pco(reader, count),
        number::PLAIN => decode_plain(reader, count),
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

/// Reads `count` packed values; `first` takes the place of the first of them.
fn decode_packed(mut reader: Reader<'_>, first: Option<i64>, count: usize) -> Result<Vec<i64>> {
    let base = reader.zigzag()?;
    let divisor = reader.varint()?;
    let width = u32::from(reader.u8()?);
    let bytes = reader.rest();
    let one = |w: u64| base.wrapping_add(w as i64);
    let many = |w: u64| base.wrapping_add(w.wrapping_mul(divisor) as i64);
    match (first, divisor) {
        (None, 1) => bits::unpack(bytes, count, width, one),
        (None, _) => bits::unpack(bytes, count, width, many),
        (Some(first), 1) => bits::unpack_after(first, bytes, count - 1, width, one),
        (Some(first), _) => bits::unpack_after(first, bytes, count - 1, width, many),
    }
}

fn scale<T: Copy + Into<u64>>(words: &[T], base: i64, divisor: u64) -> Vec<i64> {
    if divisor == 1 {
        return words.iter().map(|w| base.wrapping_add((*w).into() as i64)).collect();
    }
    let scaled = |w: &T| base.wrapping_add((*w).into().wrapping_mul(divisor) as i64);
    words.iter().map(scaled).collect()
}

fn decode_runs(mut reader: Reader<'_>, count: usize, depth: u32) -> Result<Vec<i64>> {
    let runs = reader.varint_max(count)?;
    let heads = decode(reader.nested()?, runs, depth - 1)?;
    let lengths = decode(reader.rest(), runs, depth - 1)?;
    let mut values = Vec::with_capacity(count);
    for (head, length) in heads.iter().zip(&lengths) {
        let length = run_length(*length, count - values.len())?;
        values.resize(values.len() + length, *head);
    }
    if values.len() != count {
        return Err(corrupt("runs that are too short"));
    }
    Ok(values)
}

/// Checks the length of a run against the values still missing.
pub(super) fn run_length(length: i64, left: usize) -> Result<usize> {
    match usize::try_from(length) {
        Ok(length) if length >= 1 && length <= left => Ok(length),
        _ => Err(corrupt(format_args!("a run of {length} where {left} values are left"))),
    }
}

fn decode_pco(mut reader: Reader<'_>, count: usize) -> Result<Vec<i64>> {
    let base = reader.zigzag()?;
    let divisor = reader.varint()?;
    let width = reader.u8()?;
    let bytes = reader.rest();
    Ok(match width {
        8 => scale(&pcodec::decompress::<u8>(bytes, count)?, base, divisor),
        16 => scale(&pcodec::decompress::<u16>(bytes, count)?, base, divisor),
        32 => scale(&pcodec::decompress::<u32>(bytes, count)?, base, divisor),
        64 => scale(&pcodec::decompress::<u64>(bytes, count)?, base, divisor),
        _ => return Err(corrupt(format_args!("pco of {width} bits"))),
    })
}

fn decode_plain(mut reader: Reader<'_>, count: usize) -> Result<Vec<i64>> {
    let bytes = reader.take(plain_len(count)?)?;
    reader.finish()?;
    let (words, _) = bytes.as_chunks::<8>();
    Ok(words.iter().map(|w| i64::from_le_bytes(*w)).collect())
}

/// Bytes of `count` plain words.
pub(super) fn plain_len(count: usize) -> Result<usize> {
    count.checked_mul(8).ok_or_else(|| corrupt("too many values"))
}
