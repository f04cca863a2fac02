//! Streams of byte strings.

use std::ops::Range;

use hashbrown::HashMap;

use super::bytes::{Reader, put_nested, put_varint};
use super::ints::{decode_ints, decode_ints_range, encode_ints};
use super::{Level, TEXT_BYTES_MAX, TextsRef, corrupt, number};
use crate::error::Result;
use crate::types::BytesColumn;

/// zstd's level for texts.
const ZSTD_LEVEL: i32 = 3;
/// zstd is not tried on less than this.
const ZSTD_BYTES_MIN: usize = 64;

/// Appends a stream of byte strings; nothing for none.
pub fn encode_texts(values: TextsRef<'_>, level: Level, out: &mut Vec<u8>) {
    if values.is_empty() {
        return;
    }
    let dictionary = Dictionary::of(values);
    if let Some(dictionary) = &dictionary
        && dictionary.entries.len() == 1
    {
        out.push(number::CONSTANT);
        out.extend_from_slice(values.get(0));
        return;
    }
    let mut best = encode_whole(values, level);
    if let Some(dictionary) = dictionary {
        let stream = dictionary.encode(level);
        if stream.len() < best.len() {
            best = stream;
        }
    }
    out.extend_from_slice(&best);
}

/// Distinct values in order of first use.
struct Dictionary {
    entries: BytesColumn,
    codes: Vec<i64>,
}

impl Dictionary {
    /// `None` when more than half of the values are distinct.
    fn of(values: TextsRef<'_>) -> Option<Dictionary> {
        let limit = (values.len() / 2).max(1);
        let mut known: HashMap<&[u8], i64> = HashMap::new();
        let mut entries = BytesColumn::default();
        let mut codes = Vec::with_capacity(values.len());
        for value in values.iter() {
            let next = known.len() as i64;
            let code = *known.entry(value).or_insert(next);
            if code == next {
                if known.len() > limit {
                    return None;
                }
                entries.push(value);
            }
            codes.push(code);
        }
        Some(Dictionary { entries, codes })
    }

    fn encode(&self, level: Level) -> Vec<u8> {
        let mut out = vec![number::DICTIONARY];
        put_varint(&mut out, self.entries.len() as u64);
        let entries = TextsRef { offsets: &self.entries.offsets, data: &self.entries.data };
        put_nested(&mut out, |nested| nested.extend_from_slice(&encode_whole(entries, level)));
        encode_ints(&self.codes, level, &mut out);
        out
    }
}

/// Lengths, then the bytes, plain or as a zstd frame.
fn encode_whole(values: TextsRef<'_>, level: Level) -> Vec<u8> {
    let lengths: Vec<i64> = values.iter().map(|v| v.len() as i64).collect();
    let data = values.bytes();
    let mut out = vec![number::PLAIN];
    put_nested(&mut out, |nested| encode_ints(&lengths, level, nested));
    if level == Level::Dense
        && data.len() >= ZSTD_BYTES_MIN
        && let Ok(frame) = zstd::bulk::compress(data, ZSTD_LEVEL)
        && frame.len() + frame.len() / 16 < data.len()
    {
        out[0] = number::ZSTD;
        out.extend_from_slice(&frame);
        return out;
    }
    out.extend_from_slice(data);
    out
}

/// Reads a stream of exactly `count` byte strings that fills `stream`.
///
/// # Errors
/// [`crate::Error::Corrupt`] if the bytes are not such a stream, or over [`TEXT_BYTES_MAX`].
pub fn decode_texts(stream: &[u8], count: usize) -> Result<BytesColumn> {
    decode_texts_range(stream, count, 0..count)
}

/// Byte strings `rows` of a stream of `count`, as [`decode_texts`] would give them. A zstd frame is
/// undone whole.
///
/// # Errors
/// As [`decode_texts`].
pub fn decode_texts_range(stream: &[u8], count: usize, rows: Range<usize>) -> Result<BytesColumn> {
    assert!(rows.start <= rows.end && rows.end <= count, "rows {rows:?} of {count}");
    let mut reader = Reader::new(stream);
    if count == 0 {
        reader.finish()?;
        return Ok(BytesColumn::default());
    }
    match reader.u8()? {
        number::CONSTANT => {
            let value = reader.rest();
            check_bytes(value.len().saturating_mul(count))?;
            let offsets = (0..=rows.len()).map(|i| (i * value.len()) as u32).collect();
            Ok(BytesColumn { offsets, data: value.repeat(rows.len()) })
        }
        number::DICTIONARY => decode_dictionary(reader, count, rows),
        codec => decode_whole(codec, reader, count, rows),
    }
}

fn check_bytes(bytes: usize) -> Result<()> {
    if bytes > TEXT_BYTES_MAX {
        return Err(corrupt(format_args!("texts of {bytes} bytes together")));
    }
    Ok(())
}

fn decode_whole(
    codec: u8,
    mut reader: Reader<'_>,
    count: usize,
    rows: Range<usize>,
) -> Result<BytesColumn> {
    let lengths = decode_ints(reader.nested()?, count)?;
    let mut offsets = Vec::with_capacity(count + 1);
    offsets.push(0u32);
    let mut end = 0usize;
    for length in lengths {
        let length = usize::try_from(length).map_err(|_| corrupt("a text of negative length"))?;
        end = end.saturating_add(length);
        check_bytes(end)?;
        offsets.push(end as u32);
    }
    let wrong = |len: usize| corrupt(format_args!("{len} bytes of text for {end}"));
    let (from, to) = (offsets[rows.start], offsets[rows.end]);
    let wanted = from as usize..to as usize;
    let data = match codec {
        number::PLAIN if reader.rest().len() != end => return Err(wrong(reader.rest().len())),
        number::PLAIN => reader.rest()[wanted].to_vec(),
        number::ZSTD => {
            let mut data = zstd::bulk::decompress(reader.rest(), end)
                .map_err(|e| corrupt(format_args!("zstd: {e}")))?;
            if data.len() != end {
                return Err(wrong(data.len()));
            }
            data.truncate(wanted.end);
            data.drain(..wanted.start);
            data
        }
        codec => return Err(corrupt(format_args!("codec {codec} for texts"))),
    };
    if rows != (0..count) {
        offsets = offsets[rows.start..=rows.end].iter().map(|offset| offset - from).collect();
    }
    Ok(BytesColumn { offsets, data })
}

fn decode_dictionary(
    mut reader: Reader<'_>,
    count: usize,
    rows: Range<usize>,
) -> Result<BytesColumn> {
    let entries = reader.varint_max(count)?;
    let mut nested = Reader::new(reader.nested()?);
    let codec = nested.u8()?;
    let entries = decode_whole(codec, nested, entries, 0..entries)?;
    let codes = decode_ints_range(reader.rest(), count, rows)?;
    let mut bytes = 0usize;
    for code in &codes {
        match usize::try_from(*code) {
            Ok(code) if code < entries.len() => bytes += entries.get(code).len(),
            _ => {
                return Err(corrupt(format_args!("code {code} of {} entries", entries.len())));
            }
        }
        check_bytes(bytes)?;
    }
    let mut out = BytesColumn::default();
    out.offsets.reserve_exact(codes.len());
    out.data.reserve_exact(bytes);
    for code in codes {
        out.push(entries.get(code as usize));
    }
    Ok(out)
}
