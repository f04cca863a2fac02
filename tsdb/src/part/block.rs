//! Blocks: one column of a row group, or its keys, in pages (FORMAT.md, "Blocks").
//!
//! A block begins with the number of its pages and, where there is more than one, a table of
//! where each starts. Writers make one page, since codecs have pages of their own where that pays;
//! readers take any number.

use std::ops::Range;

use crate::codec::bytes::{Reader, put_nested, put_varint};
use crate::codec::{
    Level, ValuesRef, corrupt, decode_ints, decode_ints_range, decode_states_range,
    decode_values_range, encode_ints, encode_states, encode_values,
};
use crate::error::Result;
use crate::types::{CellState, Column, ColumnBuilder, PhysicalType, SeriesRows, Values};

/// A page of a block: rows and bytes.
struct Page<'a> {
    rows: usize,
    bytes: &'a [u8],
}

/// Splits a block of `rows` rows into its pages.
fn pages(block: &[u8], rows: usize) -> Result<Vec<Page<'_>>> {
    let mut reader = Reader::new(block);
    let count = usize::from(reader.u8()?);
    if count == 0 {
        return Err(corrupt("a block without pages"));
    }
    let mut starts = vec![(0usize, 0usize)];
    for _ in 1..count {
        starts.push((reader.u32()? as usize, reader.u32()? as usize));
    }
    let bytes = reader.rest();
    starts.push((rows, bytes.len()));
    starts
        .windows(2)
        .map(|w| {
            let ((row, byte), (row_end, byte_end)) = (w[0], w[1]);
            match bytes.get(byte..byte_end) {
                Some(bytes) if row < row_end => Ok(Page { rows: row_end - row, bytes }),
                _ => Err(corrupt("a page table out of order")),
            }
        })
        .collect()
}

/// Encodes a column of a group. Cells without a value take no room among the values.
pub fn encode_column(
    values: ValuesRef<'_>,
    states: Option<&[u8]>,
    level: Level,
    out: &mut Vec<u8>,
) {
    out.push(1);
    match states.filter(|s| s.iter().any(|b| *b != CellState::GOOD.0)) {
        None => {
            put_varint(out, 0);
            encode_values(values, level, out);
        }
        Some(states) => {
            put_nested(out, |nested| encode_states(states, level, nested));
            if states.iter().all(|s| CellState(*s).is_value()) {
                encode_values(values, level, out);
            } else {
                let present = values.filter(|i| CellState(states[i]).is_value());
                encode_values(ValuesRef::all(&present), level, out);
            }
        }
    }
}

/// Decodes cells `range` of a column of `rows` cells, and little else.
///
/// # Panics
/// If the range ends past `rows`.
pub fn decode_column_range(
    block: &[u8],
    rows: usize,
    range: Range<usize>,
    kind: PhysicalType,
) -> Result<Column> {
    assert!(range.start <= range.end && range.end <= rows, "rows {range:?} of {rows}");
    let pages = pages(block, rows)?;
    if let [page] = &pages[..] {
        return decode_column_page(page, range, kind);
    }
    let mut builder = ColumnBuilder::new(kind, range.len());
    let mut start = 0;
    for page in pages {
        let cells = within(&range, start, page.rows);
        start += page.rows;
        if !cells.is_empty() {
            let column = decode_column_page(&page, cells.clone(), kind)?;
            builder.extend_range(&column, 0, cells.len());
        }
    }
    Ok(builder.finish())
}

/// The rows of `range` among `rows` rows from `start` on, counted from there.
fn within(range: &Range<usize>, start: usize, rows: usize) -> Range<usize> {
    let from = range.start.saturating_sub(start).min(rows);
    from..range.end.saturating_sub(start).clamp(from, rows)
}

fn decode_column_page(page: &Page<'_>, cells: Range<usize>, kind: PhysicalType) -> Result<Column> {
    let mut reader = Reader::new(page.bytes);
    let states = reader.nested()?;
    if states.is_empty() {
        return Ok(Column::good(decode_values_range(kind, reader.rest(), page.rows, cells)?));
    }
    // Which value is the first depends on the states before, how many there are on all of them.
    let mut states = decode_states_range(states, page.rows, 0..page.rows)?;
    let values_in = |states: &[u8]| states.iter().filter(|s| CellState(**s).is_value()).count();
    let before = values_in(&states[..cells.start]);
    let present = values_in(&states[cells.clone()]);
    let count = before + present + values_in(&states[cells.end..]);
    states.truncate(cells.end);
    states.drain(..cells.start);
    let values = decode_values_range(kind, reader.rest(), count, before..before + present)?;
    let values = if present == states.len() { values } else { scatter(values, &states) };
    Ok(Column { values, states: Some(states) })
}

/// Puts each value at its cell and the default elsewhere.
fn scatter(values: Values, states: &[u8]) -> Values {
    fn spread<T: Copy + Default>(values: &[T], states: &[u8]) -> Vec<T> {
        let mut next = 0usize;
        let mut one = |state: &u8| {
            // Looked up whether it counts or not: a branch a cell would be guessed wrong often.
            let value = values.get(next).copied().unwrap_or_default();
            let is_value = CellState(*state).is_value();
            next += usize::from(is_value);
            if is_value { value } else { T::default() }
        };
        states.iter().map(&mut one).collect()
    }
    match values {
        Values::Int(v) => Values::Int(spread(&v, states)),
        Values::Float(v) => Values::Float(spread(&v, states)),
        Values::Bool(v) => Values::Bool(spread(&v, states)),
        Values::Bytes(mut v) => {
            let mut ends = v.offsets.iter().skip(1);
            let mut end = 0;
            let mut offsets = Vec::with_capacity(states.len() + 1);
            offsets.push(0);
            for state in states {
                if CellState(*state).is_value() {
                    end = ends.next().copied().unwrap_or(end);
                }
                offsets.push(end);
            }
            v.offsets = offsets;
            Values::Bytes(v)
        }
    }
}

/// Encodes the series and times of a group. Series are `(number, rows)`.
pub fn encode_keys(series: &[(u32, u32)], times: &[i64], level: Level, out: &mut Vec<u8>) {
    out.push(1);
    put_varint(out, series.len() as u64);
    let numbers: Vec<i64> = series.iter().map(|(number, _)| i64::from(*number)).collect();
    let counts: Vec<i64> = series.iter().map(|(_, rows)| i64::from(*rows)).collect();
    put_nested(out, |nested| encode_ints(&numbers, level, nested));
    put_nested(out, |nested| encode_ints(&counts, level, nested));
    encode_ints(times, level, out);
}

/// Decodes the series and times of a group of `rows` rows, and checks their order.
pub fn decode_keys(block: &[u8], rows: usize) -> Result<(Vec<SeriesRows>, Vec<i64>)> {
    let mut series: Vec<SeriesRows> = Vec::new();
    let mut times = Vec::new();
    for page in pages(block, rows)? {
        let mut reader = Reader::new(page.bytes);
        let count = reader.varint_max(page.rows)?;
        let numbers = decode_ints(reader.nested()?, count)?;
        let counts = decode_ints(reader.nested()?, count)?;
        let page_times = decode_ints(reader.rest(), page.rows)?;
        let mut start = times.len();
        let end = start + page.rows;
        for (number, rows) in numbers.iter().zip(&counts) {
            let number = u32::try_from(*number).map_err(|_| corrupt("a series number"))?;
            let rows = usize::try_from(*rows).map_err(|_| corrupt("rows of a series"))?;
            if rows == 0 || rows > end - start {
                return Err(corrupt("rows of a series"));
            }
            match series.last_mut() {
                Some(last) if last.series == number => last.rows += rows as u32,
                Some(last) if last.series > number => return Err(corrupt("series fall")),
                _ => series.push(SeriesRows {
                    series: number,
                    start: start as u32,
                    rows: rows as u32,
                }),
            }
            start += rows;
        }
        if start != end {
            return Err(corrupt("series with too few rows"));
        }
        times.extend_from_slice(&page_times);
    }
    for run in &series {
        let run = &times[run.start as usize..(run.start + run.rows) as usize];
        if !run.is_sorted() {
            return Err(corrupt("times fall"));
        }
    }
    Ok((series, times))
}

/// Decodes the times of rows `range` of a group of `rows` rows, of one series, and checks their
/// order.
///
/// # Panics
/// If the range ends past `rows`.
pub fn decode_times_range(
    block: &[u8],
    rows: usize,
    series: u32,
    range: Range<usize>,
) -> Result<Vec<i64>> {
    assert!(range.start <= range.end && range.end <= rows, "rows {range:?} of {rows}");
    let mut times = Vec::new();
    let mut start = 0;
    for page in pages(block, rows)? {
        let mut reader = Reader::new(page.bytes);
        let count = reader.varint_max(page.rows)?;
        let numbers = decode_ints(reader.nested()?, count)?;
        let counts = decode_ints(reader.nested()?, count)?;
        if numbers != [i64::from(series)] || counts != [page.rows as i64] {
            return Err(corrupt("rows of another series"));
        }
        let wanted = within(&range, start, page.rows);
        start += page.rows;
        if !wanted.is_empty() {
            times.extend(decode_ints_range(reader.rest(), page.rows, wanted)?);
        }
    }
    if !times.is_sorted() {
        return Err(corrupt("times fall"));
    }
    Ok(times)
}
