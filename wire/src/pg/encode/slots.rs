//! The fast road of the row encoder. Cells of common types are of bounded length, and are put where
//! they belong in the row with a store of fixed width, length first, each over the slack of the one
//! before: a store of fixed width is one or two instructions, where one of the cell's own length is
//! a call. Doubles, instants, columns of eight bytes and small numbers are read out of their columns
//! as the row is put together; others are written a column at a time into slots of fixed width, and
//! what stays the same for many rows once for all of them, and copied.
//!
//! What is of any length is written by the writers of `cell`, which write the same bytes.

mod small;

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::*;
use query::QueryResult;

use super::super::types::{is_register, oid};
use super::Format;
use super::cell;
use query::text::digits::{Decimals, put_signed};
use query::text::time::{DayCursor, POSTGRES_EPOCH_MICROS};
use query::text::zone::{Zone, ZoneCursor};

pub use small::{Small, small};

/// Bytes of a cell's length.
pub const LENGTH: usize = 4;
/// Rows written at once.
pub const ROWS: usize = 128;
/// A column of free cells ends a chunk when it holds this much, bytes: long texts must not pile up.
const FREE_BYTES: usize = 64 << 10;
/// Slots of numbers and short texts, and of times, bytes.
const NARROW: usize = 32;
const WIDE: usize = 64;
/// The longest text in a slot, bytes.
const TEXT_MAX: usize = NARROW - LENGTH;

type Narrow = [u8; NARROW];
type Wide = [u8; WIDE];

/// The cells of a column, or of columns side by side, of some consecutive rows. A cell is its
/// length, four bytes, -1 for null, and its bytes.
#[derive(Debug)]
pub enum Cells<'a> {
    Narrow(Vec<Narrow>, Vec<u8>),
    /// Bytes one after the other, and where each cell ends.
    Free(Vec<u8>, Vec<usize>),
    Runs(Runs),
    Eights(EightsOf<'a>),
    Doubles(Doubles<'a>),
    Times(Times<'a>),
    Small(Small),
}

/// Cells of columns side by side that stay the same for many rows, as keys do.
#[derive(Debug, Default)]
pub struct Runs {
    /// What the runs repeat, one after the other.
    bytes: Vec<u8>,
    /// Where each of them lies.
    places: Vec<Range<usize>>,
    /// The run of each row.
    of_row: Vec<u8>,
}

impl Cells<'_> {
    /// Of so many rows that were asked for, those that there are.
    pub fn rows(&self, asked: usize) -> usize {
        match self {
            Cells::Free(_, ends) => asked.min(ends.len()),
            _ => asked,
        }
    }

    /// Most bytes of a row, but for those that [`Cells::free_bytes`] tells.
    pub fn bytes_max(&self) -> usize {
        match self {
            Cells::Narrow(..) | Cells::Doubles(_) => NARROW,
            Cells::Times(_) => WIDE,
            Cells::Free(..) => 0,
            Cells::Runs(runs) => runs.places.iter().map(ExactSizeIterator::len).max().unwrap_or(0),
            Cells::Eights(eights) => eights.bytes(),
            Cells::Small(small) => small.bytes_max(),
        }
    }

    /// Bytes of all cells together where they are of any length.
    pub fn free_bytes(&self) -> usize {
        match self {
            Cells::Free(bytes, _) => bytes.len(),
            _ => 0,
        }
    }

    /// Copies a cell to `out` at `at` and returns where it ends. `out` has [`SLACK`] bytes more
    /// than its rows need.
    #[inline]
    pub fn copy(&mut self, row: usize, out: &mut [u8], at: usize) -> usize {
        match self {
            Cells::Narrow(slots, sizes) => {
                out[at..at + NARROW].copy_from_slice(&slots[row]);
                at + usize::from(sizes[row])
            }
            Cells::Free(bytes, ends) => {
                let start = if row == 0 { 0 } else { ends[row - 1] };
                let cell = &bytes[start..ends[row]];
                out[at..at + cell.len()].copy_from_slice(cell);
                at + cell.len()
            }
            Cells::Runs(runs) => {
                let cells = &runs.bytes[runs.places[usize::from(runs.of_row[row])].clone()];
                out[at..at + cells.len()].copy_from_slice(cells);
                at + cells.len()
            }
            Cells::Eights(eights) => eights.copy(row, out, at),
            Cells::Doubles(doubles) => {
                let Doubles { values, nulls, start, decimals } = doubles;
                let row = *start + row;
                put_cell(out, at, *nulls, row, |slot: &mut Narrow| {
                    decimals.put(slot, LENGTH, values[row])
                })
            }
            Cells::Times(times) => {
                let Times { values, nulls, start, zone, day } = times;
                let row = *start + row;
                put_cell(out, at, *nulls, row, |slot: &mut Wide| {
                    day.put(slot, LENGTH, values.micros(row), zone.as_ref())
                })
            }
            Cells::Small(small) => small.copy(row, out, at),
        }
    }
}

/// Doubles as text.
#[derive(Debug)]
pub struct Doubles<'a> {
    values: &'a [f64],
    nulls: Option<&'a NullBuffer>,
    /// The row of the column that is the first of the cells.
    start: usize,
    decimals: Decimals,
}

/// Instants as text.
#[derive(Debug)]
pub struct Times<'a> {
    values: Instants<'a>,
    nulls: Option<&'a NullBuffer>,
    /// The row of the column that is the first of the cells.
    start: usize,
    /// Where they have one.
    zone: Option<ZoneCursor<'a>>,
    day: DayCursor,
}

/// Instants in the units that there are.
#[derive(Clone, Copy, Debug)]
enum Instants<'a> {
    Micros(&'a [i64]),
    Nanos(&'a [i64]),
}

impl Instants<'_> {
    #[inline]
    fn micros(self, row: usize) -> i64 {
        match self {
            Instants::Micros(values) => values[row],
            Instants::Nanos(values) => values[row].div_euclid(1_000),
        }
    }
}

/// Puts a cell at `at` and returns where it ends.
#[inline]
fn put_cell<const WIDTH: usize>(
    out: &mut [u8],
    at: usize,
    nulls: Option<&NullBuffer>,
    row: usize,
    write: impl FnOnce(&mut [u8; WIDTH]) -> usize,
) -> usize {
    let slot = &mut out[at..at + WIDTH].as_chunks_mut::<WIDTH>().0[0];
    at + put_slot(slot, nulls, row, write)
}

/// Puts a cell into its slot and returns its bytes; `write` puts a value behind the length and
/// returns where it ends.
#[inline]
fn put_slot<const WIDTH: usize>(
    slot: &mut [u8; WIDTH],
    nulls: Option<&NullBuffer>,
    row: usize,
    write: impl FnOnce(&mut [u8; WIDTH]) -> usize,
) -> usize {
    if nulls.is_some_and(|nulls| nulls.is_null(row)) {
        slot[..LENGTH].copy_from_slice(&(-1i32).to_be_bytes());
        return LENGTH;
    }
    let end = write(slot);
    slot[..LENGTH].copy_from_slice(&((end - LENGTH) as u32).to_be_bytes());
    end
}

/// What [`Cells::copy`] may write beyond the end of a cell, bytes.
pub const SLACK: usize = WIDE;

/// Writes so many rows from one on.
type Write<'a> = dyn FnMut(usize, usize, &mut Cells<'a>) + 'a;

/// Writes consecutive rows of a column, or of some side by side.
pub struct Filler<'a> {
    /// What was written last; its memory serves again.
    pub cells: Cells<'a>,
    write: Box<Write<'a>>,
}

impl<'a> Filler<'a> {
    fn new(cells: Cells<'a>, write: impl FnMut(usize, usize, &mut Cells<'a>) + 'a) -> Filler<'a> {
        Filler { cells, write: Box::new(write) }
    }

    /// Writes the cells of rows from `start` on, at most `rows` of them.
    pub fn fill(&mut self, start: usize, rows: usize) {
        (self.write)(start, rows, &mut self.cells);
    }
}

/// Chooses how some rows of a column are written.
///
/// # Errors
/// Those of [`cell::writer`].
pub fn filler<'a>(
    array: &'a dyn Array,
    pg_type: u32,
    format: Format,
    zone: &'a Zone,
    rows: &Range<usize>,
) -> QueryResult<Filler<'a>> {
    if let Some(filler) = slotted(array, pg_type, format, zone, rows) {
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
    Ok(Filler::new(Cells::Free(Vec::new(), Vec::new()), move |start, rows, cells| {
        let Cells::Free(bytes, ends) = cells else { return };
        bytes.clear();
        bytes.shrink_to(FREE_BYTES);
        ends.clear();
        for row in start..start + rows {
            if bytes.len() >= FREE_BYTES {
                break;
            }
            let at = bytes.len();
            bytes.extend_from_slice(&(-1i32).to_be_bytes());
            if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
                write(row, bytes);
                let length = (bytes.len() - at - LENGTH) as u32;
                bytes[at..at + LENGTH].copy_from_slice(&length.to_be_bytes());
            }
            ends.push(bytes.len());
        }
    }))
}

/// A filler whose values fit into slots, where the type has one.
fn slotted<'a>(
    array: &'a dyn Array,
    pg_type: u32,
    format: Format,
    zone: &'a Zone,
    rows: &Range<usize>,
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
        DataType::Utf8View => texts(array.as_string_view_opt()?, rows),
        DataType::Timestamp(TimeUnit::Microsecond, zoned) => {
            let values = array.as_primitive_opt::<TimestampMicrosecondType>()?;
            let values = Instants::Micros(values.values());
            Some(times(array, values, zoned.is_some(), format, zone))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, zoned) => {
            let values = array.as_primitive_opt::<TimestampNanosecondType>()?;
            let values = Instants::Nanos(values.values());
            Some(times(array, values, zoned.is_some(), format, zone))
        }
        _ => None,
    }
}

/// Slots whose values `write` puts behind the length; it returns where they end.
fn narrow<'a>(
    nulls: Option<&'a NullBuffer>,
    mut write: impl FnMut(usize, &mut Narrow) -> usize + 'a,
) -> Filler<'a> {
    let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
    Filler::new(Cells::Narrow(Vec::new(), Vec::new()), move |start, rows, cells| {
        let Cells::Narrow(slots, sizes) = cells else { return };
        // What is left of other rows is written over, or cut off behind the last cell.
        slots.resize(rows, [0; NARROW]);
        sizes.resize(rows, 0);
        for (at, (slot, size)) in slots.iter_mut().zip(sizes).enumerate() {
            // No slot is longer than 255 bytes.
            *size = put_slot(slot, nulls, start + at, |slot| write(start + at, slot)) as u8;
        }
    })
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
    let values = &array.as_primitive::<Float64Type>().values()[..];
    if format == Format::Binary {
        return narrow(array.nulls(), move |row, slot| put(slot, &values[row].to_be_bytes()));
    }
    let (nulls, decimals) = (some_nulls(array), Decimals::default());
    let cells = Cells::Doubles(Doubles { values, nulls, start: 0, decimals });
    Filler::new(cells, |start, _, cells| {
        if let Cells::Doubles(doubles) = cells {
            doubles.start = start;
        }
    })
}

/// Which values are NULL, if any is.
fn some_nulls(array: &dyn Array) -> Option<&NullBuffer> {
    array.nulls().filter(|nulls| nulls.null_count() > 0)
}

/// Eight bytes in binary, with their length.
const EIGHT: usize = LENGTH + 8;

/// Values of eight bytes in binary.
#[derive(Debug)]
enum Eights<'a> {
    Whole(&'a [i64]),
    Doubles(&'a [f64]),
}

/// Columns of them side by side, which are written as they stand.
#[derive(Debug)]
pub struct EightsOf<'a> {
    columns: Vec<Eights<'a>>,
    /// The row of the columns that is the first of the cells.
    start: usize,
}

impl EightsOf<'_> {
    fn bytes(&self) -> usize {
        self.columns.len() * EIGHT
    }

    #[inline]
    fn copy(&self, row: usize, out: &mut [u8], at: usize) -> usize {
        let (row, end) = (self.start + row, at + self.bytes());
        let (cells, _) = out[at..end].as_chunks_mut::<EIGHT>();
        for (column, cell) in self.columns.iter().zip(cells) {
            let value = match column {
                Eights::Whole(values) => values[row].to_be_bytes(),
                Eights::Doubles(values) => values[row].to_be_bytes(),
            };
            cell[..LENGTH].copy_from_slice(&8u32.to_be_bytes());
            cell[LENGTH..].copy_from_slice(&value);
        }
        end
    }
}

impl<'a> Eights<'a> {
    /// The values of a column without NULL that is sent so.
    fn of(array: &'a dyn Array, pg_type: u32, format: Format) -> Option<Eights<'a>> {
        if format != Format::Binary || array.null_count() > 0 {
            return None;
        }
        match (array.data_type(), pg_type) {
            (DataType::Int64, oid::INT8) => {
                Some(Eights::Whole(array.as_primitive_opt::<Int64Type>()?.values()))
            }
            (DataType::Float64, oid::FLOAT8) => {
                Some(Eights::Doubles(array.as_primitive_opt::<Float64Type>()?.values()))
            }
            _ => None,
        }
    }
}

/// Columns from the first on that are eight bytes each in binary and have no NULL, as one, and
/// their number; of each its array, type and format are given. None for fewer than two.
pub fn fixed<'a>(
    columns: impl Iterator<Item = (&'a dyn Array, u32, Format)>,
) -> Option<(Filler<'a>, usize)> {
    let columns: Vec<Eights<'a>> =
        columns.map_while(|(array, pg_type, format)| Eights::of(array, pg_type, format)).collect();
    let count = columns.len();
    let cells = Cells::Eights(EightsOf { columns, start: 0 });
    let filler = Filler::new(cells, |start, _, cells| {
        let Cells::Eights(eights) = cells else { return };
        eights.start = start;
    });
    (count > 1).then_some((filler, count))
}

/// Columns from the first on whose cells are short texts, as one, and their number: where all of
/// them stay the same, their cells are copied at once. Text and binary are the same bytes. None
/// for fewer than two.
pub fn text_runs<'a>(arrays: &'a [ArrayRef], rows: &Range<usize>) -> Option<(Filler<'a>, usize)> {
    arrays.first()?.as_string_view_opt()?;
    let (mut columns, mut changes) = (Vec::new(), vec![false; rows.len()]);
    for column in arrays.iter().map_while(|array| array.as_string_view_opt()) {
        if !find_changes(column, rows, &mut changes) {
            break;
        }
        columns.push(column);
    }
    let (count, first) = (columns.len(), rows.start);
    let filler = Filler::new(Cells::Runs(Runs::default()), move |start, rows, cells| {
        let Cells::Runs(runs) = cells else { return };
        runs.bytes.clear();
        runs.places.clear();
        runs.of_row.clear();
        for (row, changed) in changes.iter().enumerate().skip(start - first).take(rows) {
            if *changed || runs.places.is_empty() {
                let from = runs.bytes.len();
                columns.iter().for_each(|column| put_text(column, first + row, &mut runs.bytes));
                runs.places.push(from..runs.bytes.len());
            }
            runs.of_row.push((runs.places.len() - 1) as u8);
        }
    });
    (count > 1).then_some((filler, count))
}

/// Rows that are compared with those before them at once.
const STRETCH: usize = 16;

/// Marks the rows in which a column is not surely what it was in the row before. False, and
/// nothing is marked, where a text does not fit into a slot.
fn find_changes(column: &StringViewArray, rows: &Range<usize>, changes: &mut [bool]) -> bool {
    let views = column.views().get(rows.clone()).unwrap_or_default();
    let mut found = vec![false; views.len()];
    found.iter_mut().take(1).for_each(|first| *first = true);
    for start in (1..views.len()).step_by(STRETCH) {
        let end = views.len().min(start + STRETCH);
        // As bytes, which is a few instructions.
        if views[start..end] == views[start - 1..end - 1] {
            continue;
        }
        for row in start..end {
            found[row] = views[row] != views[row - 1];
        }
    }
    // What has not changed is as short as what was before.
    let is_long = |(view, changed): (&u128, &bool)| *changed && (*view as u32) as usize > TEXT_MAX;
    if views.iter().zip(&found).any(is_long) {
        return false;
    }
    // Views of NULLs are anything.
    if let Some(nulls) = column.nulls().filter(|nulls| nulls.null_count() > 0) {
        for (row, change) in rows.clone().zip(&mut found).skip(1) {
            *change |= nulls.is_null(row) != nulls.is_null(row - 1);
        }
    }
    changes.iter_mut().zip(found).for_each(|(change, found)| *change |= found);
    true
}

fn put_text(column: &StringViewArray, row: usize, out: &mut Vec<u8>) {
    if column.is_null(row) {
        out.extend_from_slice(&(-1i32).to_be_bytes());
        return;
    }
    let text = column.value(row).as_bytes();
    out.extend_from_slice(&(text.len() as u32).to_be_bytes());
    out.extend_from_slice(text);
}

fn fit_slots(values: &StringViewArray, rows: &Range<usize>) -> bool {
    let views = values.views().get(rows.clone()).unwrap_or_default();
    let longest = views.iter().map(|view| *view as u32).max().unwrap_or(0);
    longest as usize <= TEXT_MAX
}

/// Texts of views, which come in runs of the same key: a view like the one before is the slot
/// before. Text and binary are the same bytes. None where a text does not fit into a slot.
fn texts<'a>(values: &'a StringViewArray, rows: &Range<usize>) -> Option<Filler<'a>> {
    if !fit_slots(values, rows) {
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
    values: Instants<'a>,
    zoned: bool,
    format: Format,
    zone: &'a Zone,
) -> Filler<'a> {
    if format == Format::Binary {
        return narrow(array.nulls(), move |row, slot| {
            let shifted = match values.micros(row) {
                infinite @ (i64::MAX | i64::MIN) => infinite,
                finite => finite.saturating_sub(POSTGRES_EPOCH_MICROS),
            };
            put(slot, &shifted.to_be_bytes())
        });
    }
    let (nulls, zone) = (some_nulls(array), zoned.then(|| ZoneCursor::new(zone)));
    let times = Times { values, nulls, start: 0, zone, day: DayCursor::default() };
    Filler::new(Cells::Times(times), |start, _, cells| {
        if let Cells::Times(times) = cells {
            times.start = start;
        }
    })
}

#[cfg(test)]
mod tests;
