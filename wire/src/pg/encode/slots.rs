//! The fast road of the row encoder: cells of common types are written a column at a time into
//! slots of fixed width, length first, and rows are then put together by copying whole slots, each
//! over the slack of the one before. A copy of fixed length is one or two instructions, where one
//! of the cell's own length is a call.
//!
//! What has no slots is written by the writers of `cell`, which write the same bytes.

use arrow::array::{Array, AsArray, StringViewArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::*;
use query::QueryResult;

use super::super::types::{is_register, oid};
use super::super::zone::{Zone, ZoneCursor};
use super::Format;
use super::cell;
use super::digits::{Decimals, put_signed};
use super::time::{DayCursor, POSTGRES_EPOCH_MICROS};

/// Bytes of a cell's length.
pub const LENGTH: usize = 4;
/// Rows written at once.
pub const ROWS: usize = 128;
/// A column of free cells ends a chunk when it holds this much, bytes: long texts must not pile up.
const FREE_BYTES: usize = 64 << 10;
/// Slots of numbers and short texts, and of times, bytes.
const NARROW: usize = 32;
const WIDE: usize = 64;

type Narrow = [u8; NARROW];
type Wide = [u8; WIDE];

/// The cells of one column, of some consecutive rows. A cell is its length, four bytes, -1 for
/// null, and its bytes.
#[derive(Debug)]
pub enum Cells {
    Narrow(Vec<Narrow>, Vec<u8>),
    Wide(Vec<Wide>, Vec<u8>),
    /// Bytes one after the other, and where each cell ends.
    Free(Vec<u8>, Vec<usize>),
}

impl Cells {
    /// Adds the sizes of the cells to those of their rows; of rows without cells none are left.
    pub fn add_sizes<'r>(&self, rows: &'r mut [usize]) -> &'r mut [usize] {
        match self {
            Cells::Narrow(_, sizes) | Cells::Wide(_, sizes) => {
                rows.iter_mut().zip(sizes).for_each(|(row, size)| *row += usize::from(*size));
                rows
            }
            Cells::Free(_, ends) => {
                let mut start = 0;
                for (row, end) in rows.iter_mut().zip(ends) {
                    *row += end - start;
                    start = *end;
                }
                let left = rows.len().min(ends.len());
                &mut rows[..left]
            }
        }
    }

    /// Copies a cell to `out` at `at` and returns where it ends. `out` has [`SLACK`] bytes more
    /// than its rows need.
    #[inline]
    pub fn copy(&self, row: usize, out: &mut [u8], at: usize) -> usize {
        match self {
            Cells::Narrow(slots, sizes) => {
                out[at..at + NARROW].copy_from_slice(&slots[row]);
                at + usize::from(sizes[row])
            }
            Cells::Wide(slots, sizes) => {
                out[at..at + WIDE].copy_from_slice(&slots[row]);
                at + usize::from(sizes[row])
            }
            Cells::Free(bytes, ends) => {
                let start = if row == 0 { 0 } else { ends[row - 1] };
                let cell = &bytes[start..ends[row]];
                out[at..at + cell.len()].copy_from_slice(cell);
                at + cell.len()
            }
        }
    }
}

/// What [`Cells::copy`] may write beyond the end of a cell, bytes.
pub const SLACK: usize = WIDE;

/// Writes consecutive rows of a column: from a row on, at most so many.
pub type Filler<'a> = Box<dyn FnMut(usize, usize) -> Cells + 'a>;

/// Chooses how a column is written.
///
/// # Errors
/// Those of [`cell::writer`].
pub fn filler<'a>(
    array: &'a dyn Array,
    pg_type: u32,
    format: Format,
    zone: &'a Zone,
) -> QueryResult<Filler<'a>> {
    if let Some(filler) = slotted(array, pg_type, format, zone) {
        return Ok(filler);
    }
    free(array, pg_type, format, zone)
}

/// The slow twin, for every type there is.
///
/// # Errors
/// Those of [`cell::writer`].
pub fn free<'a>(
    array: &'a dyn Array,
    pg_type: u32,
    format: Format,
    zone: &'a Zone,
) -> QueryResult<Filler<'a>> {
    let nulls = array.logical_nulls();
    let write = cell::writer(array, pg_type, format, zone)?;
    Ok(Box::new(move |start, rows| {
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(rows));
        for row in start..start + rows {
            if bytes.len() >= FREE_BYTES {
                break;
            }
            let at = bytes.len();
            bytes.extend_from_slice(&(-1i32).to_be_bytes());
            if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
                write(row, &mut bytes);
                let length = (bytes.len() - at - LENGTH) as u32;
                bytes[at..at + LENGTH].copy_from_slice(&length.to_be_bytes());
            }
            ends.push(bytes.len());
        }
        Cells::Free(bytes, ends)
    }))
}

/// A filler whose values fit into slots, where the type has one.
fn slotted<'a>(
    array: &'a dyn Array,
    pg_type: u32,
    format: Format,
    zone: &'a Zone,
) -> Option<Filler<'a>> {
    macro_rules! whole {
        ($type:ty) => {
            integers::<$type>(array, pg_type, format)
        };
    }
    match array.data_type() {
        DataType::Int16 => whole!(Int16Type),
        DataType::Int32 => whole!(Int32Type),
        DataType::Int64 => whole!(Int64Type),
        DataType::Float64 => Some(doubles(array, format)),
        DataType::Boolean => {
            let values = array.as_boolean_opt()?;
            let letters = if format == Format::Text { [b'f', b't'] } else { [0, 1] };
            Some(narrow(array.nulls(), move |row, slot| {
                slot[LENGTH] = letters[usize::from(values.value(row))];
                LENGTH + 1
            }))
        }
        DataType::Utf8View => texts(array.as_string_view_opt()?),
        DataType::Timestamp(TimeUnit::Microsecond, zoned) => {
            let values = array.as_primitive_opt::<TimestampMicrosecondType>()?;
            Some(times(array, move |row| values.value(row), zoned.is_some(), format, zone))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, zoned) => {
            let values = array.as_primitive_opt::<TimestampNanosecondType>()?;
            let micros = move |row: usize| values.value(row).div_euclid(1_000);
            Some(times(array, micros, zoned.is_some(), format, zone))
        }
        _ => None,
    }
}

/// Slots whose values `write` puts behind the length; it returns where they end.
fn narrow<'a>(
    nulls: Option<&'a NullBuffer>,
    mut write: impl FnMut(usize, &mut Narrow) -> usize + 'a,
) -> Filler<'a> {
    Box::new(move |start, rows| {
        let (mut slots, mut sizes) = (vec![[0; NARROW]; rows], vec![0; rows]);
        fill(nulls, start, &mut slots, &mut sizes, &mut write);
        Cells::Narrow(slots, sizes)
    })
}

#[inline]
fn fill<const WIDTH: usize>(
    nulls: Option<&NullBuffer>,
    start: usize,
    slots: &mut [[u8; WIDTH]],
    sizes: &mut [u8],
    write: &mut impl FnMut(usize, &mut [u8; WIDTH]) -> usize,
) {
    let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
    for (at, (slot, size)) in slots.iter_mut().zip(sizes).enumerate() {
        let row = start + at;
        if nulls.is_some_and(|nulls| nulls.is_null(row)) {
            slot[..LENGTH].copy_from_slice(&(-1i32).to_be_bytes());
            *size = LENGTH as u8;
            continue;
        }
        let end = write(row, slot);
        // No slot is longer than 255 bytes.
        slot[..LENGTH].copy_from_slice(&((end - LENGTH) as u32).to_be_bytes());
        *size = end as u8;
    }
}

fn integers<'a, T>(array: &'a dyn Array, pg_type: u32, format: Format) -> Option<Filler<'a>>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i64> + Copy,
{
    let values = array.as_primitive_opt::<T>()?.values();
    let value = move |row: usize| -> i64 { values[row].into() };
    let nulls = array.nulls();
    if format == Format::Text {
        return Some(narrow(nulls, move |row, slot| put_signed(slot, LENGTH, value(row))));
    }
    let pg_type = if is_register(pg_type) { oid::OID } else { pg_type };
    match pg_type {
        oid::INT2 => {
            Some(narrow(nulls, move |row, slot| put(slot, &(value(row) as i16).to_be_bytes())))
        }
        oid::INT4 | oid::OID | oid::XID | oid::CID => {
            Some(narrow(nulls, move |row, slot| put(slot, &(value(row) as i32).to_be_bytes())))
        }
        oid::INT8 => Some(narrow(nulls, move |row, slot| put(slot, &value(row).to_be_bytes()))),
        _ => None,
    }
}

/// Puts a value of fixed width behind the length.
#[inline]
fn put<const WIDTH: usize, const BYTES: usize>(
    slot: &mut [u8; WIDTH],
    bytes: &[u8; BYTES],
) -> usize {
    slot[LENGTH..LENGTH + BYTES].copy_from_slice(bytes);
    LENGTH + BYTES
}

fn doubles(array: &dyn Array, format: Format) -> Filler<'_> {
    let values = array.as_primitive::<Float64Type>().values();
    match format {
        Format::Text => {
            let mut decimals = Decimals::default();
            narrow(array.nulls(), move |row, slot| decimals.put(slot, LENGTH, values[row]))
        }
        Format::Binary => {
            narrow(array.nulls(), move |row, slot| put(slot, &values[row].to_be_bytes()))
        }
    }
}

/// Texts of views, which come in runs of the same key: a view like the one before is the slot
/// before. Text and binary are the same bytes. None where a text does not fit into a slot.
fn texts(values: &StringViewArray) -> Option<Filler<'_>> {
    let longest = values.views().iter().map(|view| *view as u32).max().unwrap_or(0) as usize;
    if longest > NARROW - LENGTH {
        return None;
    }
    let mut last: (Option<u128>, Narrow, usize) = (None, [0; NARROW], LENGTH);
    Some(narrow(values.nulls(), move |row, slot| {
        let view = values.views()[row];
        if last.0 != Some(view) {
            let text = values.value(row).as_bytes();
            last.1[LENGTH..LENGTH + text.len()].copy_from_slice(text);
            last.0 = Some(view);
            last.2 = LENGTH + text.len();
        }
        *slot = last.1;
        last.2
    }))
}

fn times<'a>(
    array: &'a dyn Array,
    micros: impl Fn(usize) -> i64 + 'a,
    zoned: bool,
    format: Format,
    zone: &'a Zone,
) -> Filler<'a> {
    if format == Format::Binary {
        return narrow(array.nulls(), move |row, slot| {
            let shifted = match micros(row) {
                infinite @ (i64::MAX | i64::MIN) => infinite,
                finite => finite.saturating_sub(POSTGRES_EPOCH_MICROS),
            };
            put(slot, &shifted.to_be_bytes())
        });
    }
    let nulls = array.nulls();
    let zone = zoned.then(|| ZoneCursor::new(zone));
    let mut day = DayCursor::default();
    Box::new(move |start, rows| {
        let (mut slots, mut sizes) = (vec![[0; WIDE]; rows], vec![0; rows]);
        fill(nulls, start, &mut slots, &mut sizes, &mut |row, slot: &mut Wide| {
            day.put(slot, LENGTH, micros(row), zone.as_ref())
        });
        Cells::Wide(slots, sizes)
    })
}

#[cfg(test)]
mod tests;
