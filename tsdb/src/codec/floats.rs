//! Float streams. Equality is that of bits throughout.

use std::cmp::Ordering::Less;
use std::ops::Range;

use super::bytes::{Reader, put_nested, put_varint};
use super::ints::{decode_ints, decode_ints_range, encode_ints, plain_len, spread_runs};
use super::{Level, corrupt, number, pcodec};
use crate::error::Result;

/// Most digits behind the point that are looked for.
const DIGITS_MAX: u8 = 12;
/// Bytes a value up to which decimals are taken without trying pco on the floats.
const DECIMAL_ENOUGH_BYTES: usize = 4;
/// Below this integers are exact floats.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// Powers of ten, all of them exact floats.
const POWERS: [f64; DIGITS_MAX as usize + 1] =
    [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12];

/// Appends a stream of floats; nothing for none.
pub fn encode_floats(values: &[f64], level: Level, out: &mut Vec<u8>) {
    encode(values, level, true, out);
}

fn same(a: &f64, b: &f64) -> bool {
    a.to_bits() == b.to_bits()
}

fn encode(values: &[f64], level: Level, may_run: bool, out: &mut Vec<u8>) {
    let Some(first) = values.first() else { return };
    let runs = 1 + values.windows(2).filter(|w| !same(&w[0], &w[1])).count();
    if runs == 1 {
        out.push(number::CONSTANT);
        out.extend_from_slice(&first.to_bits().to_le_bytes());
        return;
    }
    let mut best_len = 1 + values.len() * 8;
    let mut best: Option<Vec<u8>> = None;
    let decimal = to_decimal(values);
    if let Some((digits, ints)) = &decimal {
        let mut stream = vec![number::DECIMAL, *digits];
        encode_ints(ints, level, &mut stream);
        if stream.len() < best_len {
            best_len = stream.len();
            best = Some(stream);
        }
    }
    if may_run && runs <= values.len() / 4 {
        let stream = encode_runs(values, runs, level);
        if stream.len() < best_len {
            best_len = stream.len();
            best = Some(stream);
        }
    }
    // pco decodes slower than the plain and packed forms: it has to win by 3 %.
    // Where decimals halve the values, pco has met them as integers.
    if level == Level::Dense
        && best_len > 24
        && (decimal.is_none() || best_len > values.len() * DECIMAL_ENOUGH_BYTES)
        && let Some((codec, payload)) = pcodec::compress(values)
        && payload.len() + payload.len() / 32 + 1 < best_len
    {
        let mut stream = vec![codec];
        stream.extend_from_slice(&payload);
        best = Some(stream);
    }
    match best {
        Some(stream) => out.extend_from_slice(&stream),
        None => {
            out.push(number::PLAIN);
            out.extend(values.iter().flat_map(|v| v.to_bits().to_le_bytes()));
        }
    }
}

fn encode_runs(values: &[f64], runs: usize, level: Level) -> Vec<u8> {
    let mut heads = Vec::with_capacity(runs);
    let mut lengths = Vec::with_capacity(runs);
    for run in values.chunk_by(same) {
        heads.push(run[0]);
        lengths.push(run.len() as i64);
    }
    let mut out = vec![number::RUN_LENGTH];
    put_varint(&mut out, runs as u64);
    put_nested(&mut out, |nested| encode(&heads, level, false, nested));
    encode_ints(&lengths, level, &mut out);
    out
}

/// The integer that gives back `value` bit for bit when divided by `power`.
fn scaled(value: f64, power: f64) -> Option<i64> {
    let rounded = (value * power).round();
    (rounded.abs() < EXACT && same(&(rounded as i64 as f64 / power), &value))
        .then_some(rounded as i64)
}

/// As [`scaled`], for 10 to the power of `digits`.
pub(crate) fn decimal(value: f64, digits: u8) -> Option<i64> {
    scaled(value, *POWERS.get(usize::from(digits))?)
}

/// The integer nearest to `value * 10^digits`, where integers are exact floats.
pub(crate) fn nearest_decimal(value: f64, digits: u8) -> Option<i64> {
    let rounded = (value * POWERS.get(usize::from(digits))?).round();
    (rounded.abs() < EXACT).then_some(rounded as i64)
}

/// The fewest digits with which `value` is an integer.
pub(crate) fn digits_of(value: f64) -> Option<u8> {
    (0..=DIGITS_MAX).find(|digits| decimal(value, *digits).is_some())
}

/// The float nearest to `int / 10^digits`; `None` for more than 12 digits.
pub(crate) fn undo_decimal(int: i64, digits: u8) -> Option<f64> {
    Some(int as f64 / POWERS.get(usize::from(digits))?)
}

/// Added to a float below 2^51 it leaves the nearest integer in the low bits of the mantissa.
const MAGIC: f64 = 6_755_399_441_055_744.0;
/// Magnitude up to which [`MAGIC`] serves.
const MAGIC_REACH: f64 = 2_251_799_813_685_248.0;
/// Values looked at together: failure is asked for once a chunk, so that loops have no branches.
const CHUNK: usize = 64;

/// [`scaled`] for a chunk, without a branch; false, with `ints` of no use, if a value is not
/// such an integer or is too large for the trick.
fn scale_chunk(values: &[f64], power: f64, ints: &mut [i64]) -> bool {
    let mut wrong = 0u64;
    for (value, int) in values.iter().zip(ints) {
        let wide = value * power;
        let shifted = wide + MAGIC;
        let back = (shifted - MAGIC) / power;
        wrong |= back.to_bits() ^ value.to_bits();
        wrong |= u64::from(!matches!(wide.abs().partial_cmp(&MAGIC_REACH), Some(Less)));
        *int = (shifted.to_bits() as i64).wrapping_sub(MAGIC.to_bits() as i64);
    }
    wrong == 0
}

/// The fewest digits with which every value is an integer, and these integers. NaN, infinities
/// and `-0.0` have none.
pub(super) fn to_decimal(values: &[f64]) -> Option<(u8, Vec<i64>)> {
    let mut digits = digits_of(*values.first()?)?;
    let mut ints = vec![0i64; values.len()];
    'digits: loop {
        let power = POWERS[usize::from(digits)];
        for (chunk, ints) in values.chunks(CHUNK).zip(ints.chunks_mut(CHUNK)) {
            if scale_chunk(chunk, power, ints) {
                continue;
            }
            for (value, int) in chunk.iter().zip(ints) {
                let Some(exact) = scaled(*value, power) else {
                    digits = (digits + 1..=DIGITS_MAX).find(|d| decimal(*value, *d).is_some())?;
                    continue 'digits;
                };
                *int = exact;
            }
        }
        return Some((digits, ints));
    }
}

/// Divides integers by a power of ten.
pub(super) fn from_decimal(ints: Vec<i64>, power: f64) -> Vec<f64> {
    let reach = MAGIC_REACH as i64;
    let over = ints.iter().fold(0, |over, v| over | (v.wrapping_add(reach) as u64 >> 52));
    if over != 0 {
        return ints.into_iter().map(|v| v as f64 / power).collect();
    }
    // Turning an integer into a float by its bits takes vector instructions, a cast does not.
    let float = |v: i64| f64::from_bits(MAGIC.to_bits().wrapping_add(v as u64)) - MAGIC;
    ints.into_iter().map(|v| float(v) / power).collect()
}

/// Reads a stream of exactly `count` floats that fills `stream`.
///
/// # Errors
/// [`crate::Error::Corrupt`] if the bytes are not such a stream.
pub fn decode_floats(stream: &[u8], count: usize) -> Result<Vec<f64>> {
    decode(stream, count, 0..count, true)
}

/// Floats `rows` of a stream of `count`, as [`decode_floats`] would give them; the rest is not
/// looked at where that can be helped.
///
/// # Errors
/// As [`decode_floats`].
pub fn decode_floats_range(stream: &[u8], count: usize, rows: Range<usize>) -> Result<Vec<f64>> {
    decode(stream, count, rows, true)
}

fn decode(stream: &[u8], count: usize, rows: Range<usize>, may_run: bool) -> Result<Vec<f64>> {
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
            let value = f64::from_bits(reader.u64()?);
            reader.finish()?;
            Ok(vec![value; rows.len()])
        }
        number::RUN_LENGTH if may_run => {
            let runs = reader.varint_max(count)?;
            let heads = decode(reader.nested()?, runs, 0..runs, false)?;
            let lengths = decode_ints(reader.rest(), runs)?;
            spread_runs(heads.into_iter(), &lengths, count, rows)
        }
        number::DECIMAL => {
            let digits = reader.u8()?;
            let Some(power) = POWERS.get(usize::from(digits)) else {
                return Err(corrupt(format_args!("{digits} digits behind the point")));
            };
            let ints = decode_ints_range(reader.rest(), count, rows)?;
            Ok(from_decimal(ints, *power))
        }
        codec @ (number::PCO | number::PCO_PAGES) => {
            pcodec::Pages::read(codec, reader, count)?.decompress(rows)
        }
        number::PLAIN => {
            let bytes = reader.take(plain_len(count)?)?;
            reader.finish()?;
            let (words, _) = bytes.as_chunks::<8>();
            Ok(words[rows].iter().map(|w| f64::from_bits(u64::from_le_bytes(*w))).collect())
        }
        codec => Err(corrupt(format_args!("codec {codec} for floats"))),
    }
}
