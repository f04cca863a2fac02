//! Float streams. Equality is that of bits throughout.

use super::bytes::{Reader, put_nested, put_varint};
use super::ints::{decode_ints, encode_ints, plain_len, run_length};
use super::{Level, corrupt, number, pcodec};
use crate::error::Result;

/// Most digits behind the point that are looked for.
const DIGITS_MAX: u8 = 12;
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
    let runs = values.chunk_by(same).count();
    if runs == 1 {
        out.push(number::CONSTANT);
        out.extend_from_slice(&first.to_bits().to_le_bytes());
        return;
    }
    let mut best_len = 1 + values.len() * 8;
    let mut best: Option<Vec<u8>> = None;
    if let Some((digits, ints)) = to_decimal(values) {
        let mut stream = vec![number::DECIMAL, digits];
        encode_ints(&ints, level, &mut stream);
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
    if level == Level::Dense
        && best_len > 24
        && let Some(payload) = pcodec::compress(values)
        && payload.len() + payload.len() / 32 + 1 < best_len
    {
        let mut stream = vec![number::PCO];
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

/// The fewest digits with which every value is an integer, and these integers. NaN, infinities
/// and `-0.0` have none.
fn to_decimal(values: &[f64]) -> Option<(u8, Vec<i64>)> {
    let mut digits = 0u8;
    for value in values {
        while scaled(*value, POWERS[usize::from(digits)]).is_none() {
            if digits == DIGITS_MAX || !value.is_finite() {
                return None;
            }
            digits += 1;
        }
    }
    let power = POWERS[usize::from(digits)];
    let ints = values.iter().map(|v| scaled(*v, power)).collect::<Option<Vec<_>>>()?;
    Some((digits, ints))
}

/// Reads a stream of exactly `count` floats that fills `stream`.
///
/// # Errors
/// [`crate::Error::Corrupt`] if the bytes are not such a stream.
pub fn decode_floats(stream: &[u8], count: usize) -> Result<Vec<f64>> {
    decode(stream, count, true)
}

fn decode(stream: &[u8], count: usize, may_run: bool) -> Result<Vec<f64>> {
    let mut reader = Reader::new(stream);
    if count == 0 {
        reader.finish()?;
        return Ok(Vec::new());
    }
    match reader.u8()? {
        number::CONSTANT => {
            let value = f64::from_bits(reader.u64()?);
            reader.finish()?;
            Ok(vec![value; count])
        }
        number::RUN_LENGTH if may_run => decode_runs(reader, count),
        number::DECIMAL => {
            let digits = reader.u8()?;
            let Some(power) = POWERS.get(usize::from(digits)) else {
                return Err(corrupt(format_args!("{digits} digits behind the point")));
            };
            let ints = decode_ints(reader.rest(), count)?;
            Ok(ints.into_iter().map(|v| v as f64 / power).collect())
        }
        number::PCO => pcodec::decompress::<f64>(reader.rest(), count),
        number::PLAIN => {
            let bytes = reader.take(plain_len(count)?)?;
            reader.finish()?;
            let (words, _) = bytes.as_chunks::<8>();
            Ok(words.iter().map(|w| f64::from_bits(u64::from_le_bytes(*w))).collect())
        }
        codec => Err(corrupt(format_args!("codec {codec} for floats"))),
    }
}

fn decode_runs(mut reader: Reader<'_>, count: usize) -> Result<Vec<f64>> {
    let runs = reader.varint_max(count)?;
    let heads = decode(reader.nested()?, runs, false)?;
    let lengths = decode_ints(reader.rest(), runs)?;
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
