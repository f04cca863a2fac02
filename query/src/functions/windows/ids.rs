//! Ids of windows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, ScalarValue};

use super::{All, Step, id_array, tick};

macro_rules! gives_ids {
    () => {
        type Value = i64;

        fn scalar(value: Option<i64>) -> ScalarValue {
            ScalarValue::Int64(value)
        }

        fn array(values: Vec<Option<i64>>) -> ArrayRef {
            id_array(values)
        }
    };
}

/// A window ends where nothing comes for longer than the gap.
#[derive(Debug)]
pub(super) struct Session {
    gap: i64,
    last: Option<i64>,
    id: i64,
}

impl Session {
    pub(super) fn new(gap: i64) -> Session {
        Session { gap, last: None, id: 0 }
    }
}

impl Step for Session {
    gives_ids!();

    fn step(&mut self, values: &[ArrayRef], row: usize) -> Result<Option<i64>> {
        let Some(tick) = tick(&values[0], row) else { return Ok(None) };
        if self.last.is_none_or(|last| tick.abs_diff(last) > self.gap.unsigned_abs()) {
            self.id += 1;
        }
        self.last = Some(tick);
        Ok(Some(self.id))
    }
}

/// A window lasts as long as a value stays; rows without one belong to none and end none.
#[derive(Debug, Default)]
pub(super) struct State {
    last: Option<ScalarValue>,
    id: i64,
}

impl Step for State {
    gives_ids!();

    fn step(&mut self, values: &[ArrayRef], row: usize) -> Result<Option<i64>> {
        if values[0].is_null(row) {
            return Ok(None);
        }
        let value = ScalarValue::try_from_array(&values[0], row)?;
        if self.last.as_ref() != Some(&value) {
            self.id += 1;
            let mut value = value;
            value.compact();
            self.last = Some(value);
        }
        Ok(Some(self.id))
    }
}

fn is_true(values: &ArrayRef, row: usize) -> bool {
    let values = values.as_boolean();
    values.is_valid(row) && values.value(row)
}

/// A window opens with a row that starts it. With an end it closes with the first row, the same
/// one included, that ends it; without, before the first row that does not start it.
#[derive(Debug, Default)]
pub(super) struct Event {
    open: bool,
    id: i64,
}

impl Event {
    /// Whether the row is in a window, and whether the window goes on.
    fn next(&mut self, starts: bool, ends: Option<bool>) -> Option<i64> {
        let before = self.open;
        let inside = match ends {
            Some(_) => before || starts,
            None => starts,
        };
        if inside && !before {
            self.id += 1;
        }
        self.open = inside && ends != Some(true);
        inside.then_some(self.id)
    }
}

impl Step for Event {
    gives_ids!();

    fn step(&mut self, values: &[ArrayRef], row: usize) -> Result<Option<i64>> {
        let ends = values.get(1).map(|ends| is_true(ends, row));
        Ok(self.next(is_true(&values[0], row), ends))
    }
}

/// Events that last from their first row to their last at least so long; ids count those alone.
#[derive(Debug)]
pub(super) struct LongEvent {
    pub(super) least: i64,
    /// Place of the time among the arguments.
    pub(super) at: usize,
}

impl All for LongEvent {
    fn all(&self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let mut event = Event::default();
        let found: Vec<Option<i64>> = (0..rows)
            .map(|row| {
                let ends = (self.at == 2).then(|| is_true(&values[1], row));
                event.next(is_true(&values[0], row), ends)
            })
            .collect();
        let mut spans = vec![None::<(i64, i64)>; event.id as usize + 1];
        for (row, id) in found.iter().enumerate() {
            if let (Some(id), Some(tick)) = (id, tick(&values[self.at], row)) {
                let span = spans[*id as usize].get_or_insert((tick, tick));
                *span = (span.0.min(tick), span.1.max(tick));
            }
        }
        let mut next = 0;
        let ids: Vec<Option<i64>> = spans
            .iter()
            .map(|span| {
                let (from, to) = (*span)?;
                (to.saturating_sub(from) >= self.least).then(|| {
                    next += 1;
                    next
                })
            })
            .collect();
        Ok(id_array(found.into_iter().map(|id| ids[id? as usize]).collect()))
    }
}

/// Windows of so many rows, one behind the other.
#[derive(Debug)]
pub(super) struct Count {
    rows: i64,
    seen: i64,
}

impl Count {
    pub(super) fn new(rows: i64) -> Count {
        Count { rows, seen: 0 }
    }
}

impl Step for Count {
    gives_ids!();

    fn step(&mut self, _: &[ArrayRef], _: usize) -> Result<Option<i64>> {
        self.seen += 1;
        Ok(Some((self.seen - 1) / self.rows + 1))
    }
}

/// Windows of one row, at most.
pub(super) const OVERLAP_MAX: usize = 10_000;

/// Windows of so many rows, each some rows after the one before: lists of ids.
#[derive(Debug)]
pub(super) struct Sliding {
    pub(super) rows: usize,
    pub(super) slide: usize,
}

impl All for Sliding {
    fn all(&self, _: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let (mut ids, mut lengths) = (Vec::new(), Vec::with_capacity(rows));
        for row in 0..rows {
            let last = row / self.slide;
            // The first window that reaches this row.
            let first = (row + 1).saturating_sub(self.rows).div_ceil(self.slide);
            ids.extend((first..=last).map(|id| id as i64 + 1));
            lengths.push(last + 1 - first);
        }
        let field = Arc::new(Field::new_list_field(DataType::Int64, true));
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(Arc::new(ListArray::try_new(field, offsets, Arc::new(Int64Array::from(ids)), None)?))
    }
}
