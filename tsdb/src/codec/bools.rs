//! Boolean streams.

use super::bits;
use super::bytes::{Reader, put_varint};
use super::ints::{decode_ints, encode_ints, run_length};
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
    let mut reader = Reader::new(stream);
    if count == 0 {
        reader.finish()?;
        return Ok(Vec::new());
    }
    match reader.u8()? {
        number::CONSTANT => {
            let value = read_bool(&mut reader)?;
            reader.finish()?;
            Ok(vec![value; count])
        }
        number::RUN_LENGTH => {
            let mut value = read_bool(&mut reader)?;
            let runs = reader.varint_max(count)?;
            let lengths = decode_ints(reader.rest(), runs)?;
            let mut values = Vec::with_capacity(count);
            for length in lengths {
                let length = run_length(length, count - values.len())?;
                values.resize(values.len() + length, value);
                value = !value;
            }
            if values.len() != count {
                return Err(corrupt("runs that are too short"));
            }
            Ok(values)
        }
        number::BITMAP => bits::unpack(reader.rest(), count, 1, |bit| bit != 0),
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
