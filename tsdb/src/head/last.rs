//! The last row of each series: what "the newest reading of everything" is answered from.

use std::collections::BTreeMap;

use crate::deletes::Selection;
use crate::series::Bitmap;
use crate::types::{
    CellState, Column, ColumnBuilder, ColumnId, MergeMode, PhysicalType, Rows, SeriesRows,
    TimeRange, ValueRef, Values,
};

use super::run::RunData;

const NO_ROW: i64 = i64::MIN;

/// Last rows of one table, columnar and indexed by series number. A series without a row yet has
/// no time. Derived memory: rebuilt from the last-row part and the log at start.
///
/// A series whose last row was deleted is *stale*: it has no time either, and what its newest
/// row is now has to be looked up in a state; [`LastRows::fill`] takes that in.
#[derive(Debug, Default)]
pub struct LastRows {
    times: Vec<i64>,
    columns: Vec<LastColumn>,
    stale: BTreeMap<u32, Stale>,
}

/// A series whose last row is not known.
#[derive(Clone, Copy, Debug)]
struct Stale {
    /// No row that is left is later, ns.
    bound: i64,
    /// Position of the last command that changed the series: an older state does not know.
    touched: u64,
}

#[derive(Debug)]
struct LastColumn {
    id: ColumnId,
    states: Vec<u8>,
    values: LastValues,
}

#[derive(Debug)]
enum LastValues {
    Int(Vec<i64>),
    Float(Vec<f64>),
    Bool(Vec<bool>),
    Bytes(Vec<Box<[u8]>>),
}

impl LastValues {
    fn new(kind: PhysicalType) -> LastValues {
        match kind {
            PhysicalType::Int => LastValues::Int(Vec::new()),
            PhysicalType::Float => LastValues::Float(Vec::new()),
            PhysicalType::Bool => LastValues::Bool(Vec::new()),
            PhysicalType::Bytes => LastValues::Bytes(Vec::new()),
        }
    }

    fn grow(&mut self, len: usize) {
        match self {
            LastValues::Int(v) => v.resize(len, 0),
            LastValues::Float(v) => v.resize(len, 0.0),
            LastValues::Bool(v) => v.resize(len, false),
            LastValues::Bytes(v) => v.resize(len, Box::default()),
        }
    }

    /// Integers become floats once the column was widened.
    fn widen(&mut self, kind: PhysicalType) {
        if let (LastValues::Int(v), PhysicalType::Float) = (&*self, kind) {
            *self = LastValues::Float(v.iter().map(|x| *x as f64).collect());
        }
    }

    fn set(&mut self, at: usize, value: ValueRef<'_>) {
        match (self, value) {
            (LastValues::Int(v), ValueRef::Int(x)) => v[at] = x,
            (LastValues::Float(v), ValueRef::Float(x)) => v[at] = x,
            (LastValues::Float(v), ValueRef::Int(x)) => v[at] = x as f64,
            (LastValues::Bool(v), ValueRef::Bool(x)) => v[at] = x,
            (LastValues::Bytes(v), ValueRef::Bytes(x)) => v[at] = x.into(),
            (values, value) => debug_assert!(false, "{value:?} for {values:?}"),
        }
    }

    fn get(&self, at: usize) -> ValueRef<'_> {
        match self {
            LastValues::Int(v) => ValueRef::Int(v[at]),
            LastValues::Float(v) => ValueRef::Float(v[at]),
            LastValues::Bool(v) => ValueRef::Bool(v[at]),
            LastValues::Bytes(v) => ValueRef::Bytes(&v[at]),
        }
    }
}

impl LastRows {
    /// Takes in sorted rows of the commit at `position`, or of a part: only the last row of each
    /// series counts.
    pub fn update(
        &mut self,
        series: &[SeriesRows],
        data: &RunData,
        mode: MergeMode,
        position: u64,
    ) {
        self.grow(series, data);
        for rows in series {
            let row = (rows.start + rows.rows - 1) as usize;
            let (at, time) = (rows.series as usize, data.times[row]);
            if time < self.times[at] || !self.settles(rows.series, time, position) {
                continue;
            }
            let merges = time == self.times[at] && mode == MergeMode::LastNonNull;
            self.times[at] = time;
            self.take_row(at, row, data, merges);
        }
    }

    /// Whether a row written at `position` is the last one of its series for sure.
    fn settles(&mut self, series: u32, time: i64, position: u64) -> bool {
        let Some(stale) = self.stale.get_mut(&series) else { return true };
        if time < stale.bound {
            stale.touched = position;
            return false;
        }
        self.stale.remove(&series);
        true
    }

    /// Makes room for rows and their columns.
    fn grow(&mut self, series: &[SeriesRows], data: &RunData) {
        let Some(most) = series.iter().map(|rows| rows.series).max() else { return };
        if self.times.len() <= most as usize {
            self.times.resize(most as usize + 1, NO_ROW);
        }
        let len = self.times.len();
        for (id, column) in &data.columns {
            let at = self.column_at(*id, column.values.physical());
            let last = &mut self.columns[at];
            last.values.widen(column.values.physical());
            last.values.grow(len);
            last.states.resize(len, CellState::ABSENT.0);
        }
    }

    /// Takes in a delete of the commit at `position`.
    pub fn delete(&mut self, selections: &[Selection], position: u64) {
        let count = self.times.len() as u32;
        for selection in selections {
            match selection {
                Selection::Range { series: None, times } => {
                    (0..count).for_each(|series| self.delete_range(series, *times, position));
                }
                Selection::Range { series: Some(set), times } => {
                    let known = set.iter().take_while(|series| *series < count);
                    known.for_each(|series| self.delete_range(series, *times, position));
                }
                Selection::Points { series, times } => {
                    for (series, time) in series.iter().zip(times) {
                        if *series < count {
                            self.delete_range(*series, TimeRange::new(*time, *time), position);
                        }
                    }
                }
            }
        }
    }

    fn delete_range(&mut self, series: u32, times: TimeRange, position: u64) {
        let last = self.times[series as usize];
        let bound = match self.stale.get_mut(&series) {
            Some(stale) => {
                stale.touched = position;
                stale.bound
            }
            None if times.contains(last) && last != NO_ROW => {
                self.times[series as usize] = NO_ROW;
                self.stale.insert(series, Stale { bound: last, touched: position });
                last
            }
            None => return,
        };
        // With nothing left there is nothing to look for.
        if times.min == i64::MIN && times.max >= bound {
            self.stale.remove(&series);
        }
    }

    /// Takes every series below `count` without a row as one whose last row is not known, none
    /// later than `bound`.
    pub fn doubt(&mut self, count: u32, bound: i64) {
        self.times.resize(self.times.len().max(count as usize), NO_ROW);
        let len = self.times.len();
        for last in &mut self.columns {
            last.values.grow(len);
            last.states.resize(len, CellState::ABSENT.0);
        }
        for series in 0..count {
            if self.times[series as usize] == NO_ROW {
                self.stale.entry(series).or_insert(Stale { bound, touched: 0 });
            }
        }
    }

    /// Leaves the series alone that [`LastRows::doubt`] took in and no command has touched since.
    pub fn leave_doubted(&mut self) {
        self.stale.retain(|_, stale| stale.touched > 0);
    }

    /// The stale series of a set, and a time that none of their rows is later than; `None`
    /// without any.
    pub fn stale(&self, set: &Bitmap) -> Option<(Bitmap, i64)> {
        if self.stale.is_empty() {
            return None;
        }
        let mut found = Bitmap::new();
        let mut bound = i64::MIN;
        let mut take = |series: u32, stale: &Stale| {
            found.add(series);
            bound = bound.max(stale.bound);
        };
        // Whichever is the shorter list.
        if set.cardinality() < self.stale.len() as u64 {
            for series in set.iter() {
                self.stale.get(&series).into_iter().for_each(|stale| take(series, stale));
            }
        } else {
            let inside = self.stale.iter().filter(|(series, _)| set.contains(**series));
            inside.for_each(|(series, stale)| take(*series, stale));
        }
        (!found.is_empty()).then_some((found, bound))
    }

    /// Takes in what stale series turned out to have, in a state that knows every change of the
    /// table up to position `applied`: `rows` has the newest row of each of `looked_up`, all
    /// columns in ascending number, and none for those that have no row.
    pub fn fill(&mut self, looked_up: &Bitmap, rows: &Rows, applied: u64) {
        let mut settled = Bitmap::new();
        for series in looked_up.iter() {
            if self.stale.get(&series).is_some_and(|stale| stale.touched <= applied) {
                self.stale.remove(&series);
                settled.add(series);
            }
        }
        let data = RunData { times: rows.times.clone(), columns: rows.columns.clone() };
        self.grow(&rows.series, &data);
        for rows in rows.series.iter().filter(|rows| settled.contains(rows.series)) {
            let (at, row) = (rows.series as usize, rows.start as usize);
            self.times[at] = data.times[row];
            self.take_row(at, row, &data, false);
        }
    }

    fn take_row(&mut self, at: usize, row: usize, data: &RunData, merges: bool) {
        for last in &mut self.columns {
            let cell = data.column(last.id).map(|column| column.cell(row));
            match cell {
                Some((state, value)) if !state.is_absent() => {
                    last.states[at] = state.0;
                    if state.is_value() {
                        last.values.set(at, value);
                    }
                }
                _ if merges => {}
                _ => {
                    if let Some(state) = last.states.get_mut(at) {
                        *state = CellState::ABSENT.0;
                    }
                }
            }
        }
    }

    fn column_at(&mut self, id: ColumnId, kind: PhysicalType) -> usize {
        match self.columns.iter().position(|column| column.id == id) {
            Some(at) => at,
            None => {
                let values = LastValues::new(kind);
                self.columns.push(LastColumn { id, states: Vec::new(), values });
                self.columns.len() - 1
            }
        }
    }

    /// The last rows of the series listed (ascending), those without a row left out. `columns`
    /// in the order asked for, each with the type that its schema has now.
    pub fn rows(
        &self,
        series: impl Iterator<Item = u32>,
        columns: &[(ColumnId, PhysicalType)],
    ) -> Rows {
        let mut rows = Rows::default();
        for series in series {
            let time = self.times.get(series as usize).copied().unwrap_or(NO_ROW);
            if time != NO_ROW {
                let start = rows.times.len() as u32;
                rows.series.push(SeriesRows { series, start, rows: 1 });
                rows.times.push(time);
            }
        }
        for (id, kind) in columns {
            rows.columns.push((*id, self.column(*id, *kind, &rows.series)));
        }
        rows
    }

    fn column(&self, id: ColumnId, kind: PhysicalType, series: &[SeriesRows]) -> Column {
        let Some(last) = self.columns.iter().find(|column| column.id == id) else {
            return Column::absent(kind, series.len());
        };
        let mut builder = ColumnBuilder::new(kind, series.len());
        for rows in series {
            let at = rows.series as usize;
            match last.states.get(at).copied().map(CellState) {
                Some(state) if state.is_value() => builder.push(state, last.values.get(at)),
                Some(state) => builder.push(state, ValueRef::Int(0)),
                None => builder.push_absent(1),
            }
        }
        let Column { values, states } = builder.finish();
        Column { values: Values::widen_to(values, kind), states }
    }

    /// Bytes held in memory.
    pub fn memory(&self) -> usize {
        let of = |column: &LastColumn| {
            column.states.capacity()
                + match &column.values {
                    LastValues::Int(v) => v.capacity() * 8,
                    LastValues::Float(v) => v.capacity() * 8,
                    LastValues::Bool(v) => v.capacity(),
                    LastValues::Bytes(v) => v.iter().map(|b| b.len() + 16).sum(),
                }
        };
        self.times.capacity() * 8 + self.columns.iter().map(of).sum::<usize>()
    }
}
