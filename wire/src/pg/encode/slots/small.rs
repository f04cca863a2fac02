//! Small whole numbers as text, as most readings and states of machines are: the whole cell, length
//! and digits, is eight bytes of a table.

use std::ops::Range;

use arrow::array::{Array, ArrowPrimitiveType, AsArray};
use arrow::datatypes::{DataType, Int16Type, Int32Type, Int64Type};

use super::super::Format;
use super::{Cells, Filler, LENGTH, ROWS};

/// The end of the table. Numbers up to 9,999 would fit beside their length; below a power of two
/// all are whose bits together are.
const END: usize = 1 << 13;

/// Cells of the numbers below [`END`], and what is left of eight bytes.
static CELLS: [[u8; 8]; END] = {
    let mut cells = [[0; 8]; END];
    let mut number = 0;
    while number < END {
        let digits =
            1 + (number >= 10) as usize + (number >= 100) as usize + (number >= 1000) as usize;
        cells[number][LENGTH - 1] = digits as u8;
        let (mut at, mut rest) = (LENGTH + digits, number);
        while at > LENGTH {
            at -= 1;
            cells[number][at] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        number += 1;
    }
    cells
};

/// Small numbers of columns side by side, each its place in the table.
#[derive(Debug, Default)]
pub struct Small {
    columns: Vec<[u16; ROWS]>,
}

impl Small {
    /// Most bytes of a row.
    pub(super) fn bytes_max(&self) -> usize {
        self.columns.len() * 8
    }

    #[inline]
    pub(super) fn copy(&self, row: usize, out: &mut [u8], at: usize) -> usize {
        let mut at = at;
        for column in &self.columns {
            let cell = cell(column[row % ROWS]);
            out[at..at + 8].copy_from_slice(cell);
            at += size(cell);
        }
        at
    }
}

#[inline]
fn cell(number: u16) -> &'static [u8; 8] {
    &CELLS[usize::from(number) % END]
}

#[inline]
fn size(cell: &[u8; 8]) -> usize {
    LENGTH + usize::from(cell[LENGTH - 1])
}

/// A column of whole numbers.
enum Whole<'a> {
    Int16(&'a [i16]),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
}

impl<'a> Whole<'a> {
    /// The column, where all of `rows` are small and none is NULL.
    fn of(array: &'a dyn Array, format: Format, rows: &Range<usize>) -> Option<Whole<'a>> {
        fn small<'a, T: ArrowPrimitiveType>(
            array: &'a dyn Array,
            rows: &Range<usize>,
        ) -> Option<&'a [T::Native]>
        where
            T::Native: Into<i64>,
        {
            let values = &array.as_primitive_opt::<T>()?.values()[..];
            // No branch a value, so that several are looked at at once.
            let all = values.get(rows.clone())?.iter().fold(0, |all, value| {
                let value: i64 = (*value).into();
                all | value
            });
            (0..END as i64).contains(&all).then_some(values)
        }
        if format != Format::Text || array.null_count() > 0 {
            return None;
        }
        match array.data_type() {
            DataType::Int16 => small::<Int16Type>(array, rows).map(Whole::Int16),
            DataType::Int32 => small::<Int32Type>(array, rows).map(Whole::Int32),
            DataType::Int64 => small::<Int64Type>(array, rows).map(Whole::Int64),
            _ => None,
        }
    }

    fn put(&self, rows: Range<usize>, column: &mut [u16; ROWS]) {
        fn each<T: Copy + Into<i64>>(values: &[T], column: &mut [u16; ROWS]) {
            for (value, place) in values.iter().zip(column) {
                let value: i64 = (*value).into();
                *place = value as u16;
            }
        }
        match self {
            Whole::Int16(values) => each(&values[rows], column),
            Whole::Int32(values) => each(&values[rows], column),
            Whole::Int64(values) => each(&values[rows], column),
        }
    }
}

/// Columns from the first on whose `rows` are small whole numbers as text, as one, and their number.
pub fn small<'a>(
    columns: impl Iterator<Item = (&'a dyn Array, u32, Format)>,
    rows: &Range<usize>,
) -> Option<(Filler<'a>, usize)> {
    let columns: Vec<Whole<'a>> =
        columns.map_while(|(array, _, format)| Whole::of(array, format, rows)).collect();
    let count = columns.len();
    let filler = Filler::new(Cells::Small(Small::default()), move |start, rows, cells| {
        let Cells::Small(small) = cells else { return };
        small.columns.resize(columns.len(), [0; ROWS]);
        for (column, places) in columns.iter().zip(&mut small.columns) {
            column.put(start..start + rows, places);
        }
    });
    (count > 0).then_some((filler, count))
}
