//! Boolean streams.

use std::ops::Range;

use super::bits;
use super::bytes::{Reader, put_varint};
use super::ints::{decode_ints, encode_ints, spread_runs};
use super::{Level, corrupt, number};
use crate::error::Result;

/// Appends a stream of booleans; nothing for none.
pub fn encode_bools(values: &[bool], level: Level, out: &mut Vec<u8>) {
    let Some(&first) = values.first() else { return };
    let lengths: Vec<i64> = values.chunk_by(|a, b| a == b).map(|run| run.len() as i64).collect();
    if lengths.len() == 1 {
        out.extend_from_slice(&[number::CONSTANT, u8::from(first)]);
        return;
    }
    if lengths.len() <= values.len() / 4 {
        let mut runs = vec![number::RUN_LENGTH, u8::from(first)];
        put_varint(&mut runs, lengths.len() as u64);
        encode_ints(&lengths, level, &mut runs);
        if runs.len() <= values.len() / 8 {
            out.extend_from_slice(&runs);
            return;
        }
    }
    out.push(number::BITMAP);
    bits::pack(values.iter().map(|v| u64::from(*v)), 1, out);
}

/// Reads a stream of exactly `count` booleans that fills `stream`.
///
/// # Errors
/// [`crate::Error::Corrupt`] if the bytes are not such a stream.
pub fn decode_bools(stream: &[u8], count: usize) -> Result<Vec<bool>> {
    decode_bools_range(stream, count, 0..count)
}

/// Booleans `rows` of a stream of `count`, as [`decode_bools`] would give them.
///
/// # Errors
/// As [`decode_bools`].
pub fn decode_bools_range(stream: &[u8], count: usize, rows: Range<usize>) -> Result<Vec<bool>> {
    assert!(rows.start <= rows.end && rows.end <= count, "rows {rows:?} of {count}");
    let mut reader = Reader::new(stream);
    if count == 0 {
        reader.finish()?;
        return Ok(Vec::new());
    }
    match reader.u8()? {
        number::CONSTANT => {
            let value = read_bool(&mut reader)?;
            reader.finish()?;
            Ok(vec![value; rows.len()])
        }
        number::RUN_LENGTH => {
            let first = read_bool(&mut reader)?;
            let runs = reader.varint_max(count)?;
            let lengths = decode_ints(reader.rest(), runs)?;
            let heads = (0..runs).map(|run| first ^ (run % 2 == 1));
            spread_runs(heads, &lengths, count, rows)
        }
        number::BITMAP => bits::unpack(reader.rest(), count, 1, rows, |bit| bit != 0),
        codec => Err(corrupt(format_args!("codec {codec} for booleans"))),
    }
}

fn read_bool(reader: &mut Reader<'_>) -> Result<bool> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        byte => Err(corrupt(format_args!("a boolean of {byte}"))),
    }
}
