//! Streams of cell states. A column in which every cell is a good value stores none.

use std::ops::Range;

use super::bytes::Reader;
use super::ints::{decode_ints_range, encode_ints};
use super::{Level, corrupt, number};
use crate::error::Result;
use crate::types::CellState;

/// Appends a stream of state bytes; nothing for none.
pub fn encode_states(states: &[u8], level: Level, out: &mut Vec<u8>) {
    let Some(&first) = states.first() else { return };
    let mut code_of = [None; 256];
    let mut entries: Vec<u8> = Vec::new();
    let mut codes = Vec::with_capacity(states.len());
    for state in states {
        let code = code_of[usize::from(*state)].get_or_insert_with(|| {
            entries.push(*state);
            entries.len() as i64 - 1
        });
        codes.push(*code);
    }
    if entries.len() == 1 {
        out.extend_from_slice(&[number::CONSTANT, first]);
        return;
    }
    out.extend_from_slice(&[number::DICTIONARY, entries.len() as u8]);
    out.extend_from_slice(&entries);
    encode_ints(&codes, level, out);
}

/// Reads a stream of exactly `count` states that fills `stream`; only valid states pass.
///
/// # Errors
/// [`crate::Error::Corrupt`] if the bytes are not such a stream.
pub fn decode_states(stream: &[u8], count: usize) -> Result<Vec<u8>> {
    decode_states_range(stream, count, 0..count)
}

/// States `rows` of a stream of `count`, as [`decode_states`] would give them; the rest is not
/// looked at.
///
/// # Errors
/// As [`decode_states`].
pub fn decode_states_range(stream: &[u8], count: usize, rows: Range<usize>) -> Result<Vec<u8>> {
    assert!(rows.start <= rows.end && rows.end <= count, "rows {rows:?} of {count}");
    let mut reader = Reader::new(stream);
    if count == 0 {
        reader.finish()?;
        return Ok(Vec::new());
    }
    match reader.u8()? {
        number::CONSTANT => {
            let state = reader.u8()?;
            reader.finish()?;
            check(state)?;
            Ok(vec![state; rows.len()])
        }
        number::DICTIONARY => {
            let len = usize::from(reader.u8()?);
            let entries = reader.take(len)?;
            entries.iter().try_for_each(|state| check(*state))?;
            let codes = decode_ints_range(reader.rest(), count, rows)?;
            // One look-up a cell; codes beyond the table are found by their greatest.
            let beyond = codes.iter().fold(0u64, |most, code| most.max(*code as u64));
            if beyond >= len as u64 {
                return Err(corrupt("a state's code"));
            }
            let mut state_of = [0u8; 256];
            state_of[..len].copy_from_slice(entries);
            Ok(codes.iter().map(|code| state_of[usize::from(*code as u8)]).collect())
        }
        codec => Err(corrupt(format_args!("codec {codec} for states"))),
    }
}

fn check(state: u8) -> Result<()> {
    if CellState(state).is_valid() {
        return Ok(());
    }
    Err(corrupt(format_args!("a cell state of {state}")))
}
