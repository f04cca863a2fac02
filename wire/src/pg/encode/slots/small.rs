//! Small whole numbers as text, as most readings and states of machines are: the whole cell, length
//! and digits, is eight bytes of a table.

use std::ops::Range;

use arrow::array::{Array, ArrowPrimitiveType, AsArray};
use arrow::datatypes::{DataType, Int16Type, Int32Type, Int64Type};

use super::super::Format;
use super::{Cells, Filler, LENGTH};

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

/// Cells of small numbers of columns side by side.
#[derive(Debug, Default)]
pub struct Small {
    columns: usize,
    /// Row by row.
    cells: Vec<[u8; 8]>,
    /// Bytes of each row.
    sizes: Vec<u16>,
}

impl Small {
    pub(super) fn add_sizes(&self, rows: &mut [usize]) {
        rows.iter_mut().zip(&self.sizes).for_each(|(row, size)| *row += usize::from(*size));
    }

    #[inline]
    pub(super) fn copy(&self, row: usize, out: &mut [u8], at: usize) -> usize {
        let mut at = at;
        for cell in &self.cells[row * self.columns..(row + 1) * self.columns] {
            out[at..at + 8].copy_from_slice(cell);
            at += size(cell);
        }
        at
    }
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

    fn put(&self, rows: Range<usize>, small: &mut Small, column: usize) {
        fn each<T: Copy + Into<i64>>(values: &[T], small: &mut Small, column: usize) {
            let cells = small.cells[column..].iter_mut().step_by(small.columns);
            for ((value, cell), row) in values.iter().zip(cells).zip(&mut small.sizes) {
                let value: i64 = (*value).into();
                *cell = CELLS[value as usize];
                *row += size(cell) as u16;
            }
        }
        match self {
            Whole::Int16(values) => each(&values[rows], small, column),
            Whole::Int32(values) => each(&values[rows], small, column),
            Whole::Int64(values) => each(&values[rows], small, column),
        }
    }
}

/// Columns that are sent as one: their sizes together are counted in 16 bits.
const COLUMNS_MAX: usize = 1024;

/// Columns from the first on whose `rows` are small whole numbers as text, as one, and their number.
pub fn small<'a>(
    columns: impl Iterator<Item = (&'a dyn Array, u32, Format)>,
    rows: &Range<usize>,
) -> Option<(Filler<'a>, usize)> {
    let columns: Vec<Whole<'a>> = columns
        .take(COLUMNS_MAX)
        .map_while(|(array, _, format)| Whole::of(array, format, rows))
        .collect();
    let count = columns.len();
    let filler = Filler::new(Cells::Small(Small::default()), move |start, rows, cells| {
        let Cells::Small(small) = cells else { return };
        small.columns = columns.len();
        small.cells.resize(rows * columns.len(), [0; 8]);
        small.sizes.clear();
        small.sizes.resize(rows, 0);
        for (at, column) in columns.iter().enumerate() {
            column.put(start..start + rows, small, at);
        }
    });
    (count > 0).then_some((filler, count))
}
