//! The last row of each series: what "the newest reading of everything" is answered from.

use crate::types::{
    CellState, Column, ColumnBuilder, ColumnId, MergeMode, PhysicalType, Rows, SeriesRows,
    ValueRef, Values,
};

use super::run::RunData;

const NO_ROW: i64 = i64::MIN;

/// Last rows of one table, columnar and indexed by series number. A series without a row yet has
/// no time. Derived memory: rebuilt from the last-row part and the log at start.
#[derive(Debug, Default)]
pub struct LastRows {
    times: Vec<i64>,
    columns: Vec<LastColumn>,
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
    /// Takes in sorted rows of a commit or part: only the last row of each series counts.
    pub fn update(&mut self, series: &[SeriesRows], data: &RunData, mode: MergeMode) {
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
        for rows in series {
            let row = (rows.start + rows.rows - 1) as usize;
            let (at, time) = (rows.series as usize, data.times[row]);
            if time < self.times[at] {
                continue;
            }
            let merges = time == self.times[at] && mode == MergeMode::LastNonNull;
            self.times[at] = time;
            self.take_row(at, row, data, merges);
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
