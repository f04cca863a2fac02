//! Values of one column for many rows.

use super::cell::CellState;
use super::schema::PhysicalType;

/// One value, owned.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Integer or timestamp (ns).
    Int(i64),
    /// Float.
    Float(f64),
    /// Boolean.
    Bool(bool),
    /// Text (UTF-8) or bytes.
    Bytes(Vec<u8>),
}

/// One value, borrowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    /// Integer or timestamp (ns).
    Int(i64),
    /// Float.
    Float(f64),
    /// Boolean.
    Bool(bool),
    /// Text (UTF-8) or bytes.
    Bytes(&'a [u8]),
}

impl Value {
    /// Borrows the value.
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Value::Int(v) => ValueRef::Int(*v),
            Value::Float(v) => ValueRef::Float(*v),
            Value::Bool(v) => ValueRef::Bool(*v),
            Value::Bytes(v) => ValueRef::Bytes(v),
        }
    }
}

impl ValueRef<'_> {
    /// Copies the value.
    pub fn to_value(self) -> Value {
        match self {
            ValueRef::Int(v) => Value::Int(v),
            ValueRef::Float(v) => Value::Float(v),
            ValueRef::Bool(v) => Value::Bool(v),
            ValueRef::Bytes(v) => Value::Bytes(v.to_vec()),
        }
    }
}

/// Byte strings end to end: value `i` is `data[offsets[i]..offsets[i + 1]]`. There is always one
/// offset more than values; offsets never fall. Data stays below 4 GiB (and 2 GiB for Arrow).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BytesColumn {
    /// Ends of the values, with a leading 0.
    pub offsets: Vec<u32>,
    /// The bytes.
    pub data: Vec<u8>,
}

impl Default for BytesColumn {
    fn default() -> Self {
        BytesColumn { offsets: vec![0], data: Vec::new() }
    }
}

impl BytesColumn {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends a value.
    pub fn push(&mut self, value: &[u8]) {
        self.data.extend_from_slice(value);
        self.offsets.push(self.data.len() as u32);
    }

    /// The value at `index`.
    pub fn get(&self, index: usize) -> &[u8] {
        &self.data[self.offsets[index] as usize..self.offsets[index + 1] as usize]
    }

    /// The values in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.offsets.windows(2).map(|w| &self.data[w[0] as usize..w[1] as usize])
    }
}

/// Values of one physical type. Where the cell is null or absent the value is the default (0,
/// 0.0, false, empty).
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Integers and timestamps.
    Int(Vec<i64>),
    /// Floats.
    Float(Vec<f64>),
    /// Booleans.
    Bool(Vec<bool>),
    /// Text and bytes.
    Bytes(BytesColumn),
}

impl Values {
    /// No values of a type, with room for `capacity`.
    pub fn with_capacity(kind: PhysicalType, capacity: usize) -> Values {
        match kind {
            PhysicalType::Int => Values::Int(Vec::with_capacity(capacity)),
            PhysicalType::Float => Values::Float(Vec::with_capacity(capacity)),
            PhysicalType::Bool => Values::Bool(Vec::with_capacity(capacity)),
            PhysicalType::Bytes => Values::Bytes(BytesColumn::default()),
        }
    }

    /// `len` default values.
    pub fn defaults(kind: PhysicalType, len: usize) -> Values {
        match kind {
            PhysicalType::Int => Values::Int(vec![0; len]),
            PhysicalType::Float => Values::Float(vec![0.0; len]),
            PhysicalType::Bool => Values::Bool(vec![false; len]),
            PhysicalType::Bytes => {
                Values::Bytes(BytesColumn { offsets: vec![0; len + 1], data: Vec::new() })
            }
        }
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Values::Int(v) => v.len(),
            Values::Float(v) => v.len(),
            Values::Bool(v) => v.len(),
            Values::Bytes(v) => v.len(),
        }
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Physical type.
    pub fn physical(&self) -> PhysicalType {
        match self {
            Values::Int(_) => PhysicalType::Int,
            Values::Float(_) => PhysicalType::Float,
            Values::Bool(_) => PhysicalType::Bool,
            Values::Bytes(_) => PhysicalType::Bytes,
        }
    }

    /// The value at `index`.
    pub fn get(&self, index: usize) -> ValueRef<'_> {
        match self {
            Values::Int(v) => ValueRef::Int(v[index]),
            Values::Float(v) => ValueRef::Float(v[index]),
            Values::Bool(v) => ValueRef::Bool(v[index]),
            Values::Bytes(v) => ValueRef::Bytes(v.get(index)),
        }
    }

    /// Appends a value; an integer for a float column widens.
    ///
    /// # Panics
    /// If the value is of another type: writers check types before.
    pub fn push(&mut self, value: ValueRef<'_>) {
        match (self, value) {
            (Values::Int(v), ValueRef::Int(x)) => v.push(x),
            (Values::Float(v), ValueRef::Float(x)) => v.push(x),
            (Values::Float(v), ValueRef::Int(x)) => v.push(x as f64),
            (Values::Bool(v), ValueRef::Bool(x)) => v.push(x),
            (Values::Bytes(v), ValueRef::Bytes(x)) => v.push(x),
            (column, value) => panic!("a value {value:?} for a column of {:?}", column.physical()),
        }
    }

    /// Appends `count` default values.
    pub fn push_defaults(&mut self, count: usize) {
        match self {
            Values::Int(v) => v.resize(v.len() + count, 0),
            Values::Float(v) => v.resize(v.len() + count, 0.0),
            Values::Bool(v) => v.resize(v.len() + count, false),
            Values::Bytes(v) => {
                let end = v.data.len() as u32;
                v.offsets.resize(v.offsets.len() + count, end);
            }
        }
    }

    /// Appends `other[start..end]`; integers widen into a float column.
    ///
    /// # Panics
    /// If the types do not fit or the range is out of bounds.
    pub fn extend_range(&mut self, other: &Values, start: usize, end: usize) {
        match (self, other) {
            (Values::Int(a), Values::Int(b)) => a.extend_from_slice(&b[start..end]),
            (Values::Float(a), Values::Float(b)) => a.extend_from_slice(&b[start..end]),
            (Values::Float(a), Values::Int(b)) => {
                a.extend(b[start..end].iter().map(|v| *v as f64));
            }
            (Values::Bool(a), Values::Bool(b)) => a.extend_from_slice(&b[start..end]),
            (Values::Bytes(a), Values::Bytes(b)) => {
                let (from, to) = (b.offsets[start], b.offsets[end]);
                let base = a.data.len() as u32;
                a.data.extend_from_slice(&b.data[from as usize..to as usize]);
                a.offsets.extend(b.offsets[start + 1..=end].iter().map(|o| o - from + base));
            }
            (a, b) => panic!("a column of {:?} for one of {:?}", b.physical(), a.physical()),
        }
    }

    /// The values at `indexes`, in that order.
    pub fn gather(&self, indexes: &[u32]) -> Values {
        match self {
            Values::Int(v) => Values::Int(indexes.iter().map(|i| v[*i as usize]).collect()),
            Values::Float(v) => Values::Float(indexes.iter().map(|i| v[*i as usize]).collect()),
            Values::Bool(v) => Values::Bool(indexes.iter().map(|i| v[*i as usize]).collect()),
            Values::Bytes(v) => {
                let mut out = BytesColumn::default();
                out.offsets.reserve(indexes.len());
                for index in indexes {
                    out.push(v.get(*index as usize));
                }
                Values::Bytes(out)
            }
        }
    }

    /// Turns integers into floats where `kind` asks for it; other types stay.
    pub fn widen_to(self, kind: PhysicalType) -> Values {
        match (self, kind) {
            (Values::Int(v), PhysicalType::Float) => {
                Values::Float(v.into_iter().map(|x| x as f64).collect())
            }
            (values, _) => values,
        }
    }

    /// Bytes held in memory.
    pub fn memory(&self) -> usize {
        match self {
            Values::Int(v) => v.capacity() * 8,
            Values::Float(v) => v.capacity() * 8,
            Values::Bool(v) => v.capacity(),
            Values::Bytes(v) => v.offsets.capacity() * 4 + v.data.capacity(),
        }
    }
}

/// One column of some rows: values and cell states.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// The values, one a row.
    pub values: Values,
    /// State byte of each cell ([`CellState`]); `None` when every cell is a good value.
    pub states: Option<Vec<u8>>,
}

impl Column {
    /// A column in which every cell is a good value.
    pub fn good(values: Values) -> Column {
        Column { values, states: None }
    }

    /// `len` absent cells.
    pub fn absent(kind: PhysicalType, len: usize) -> Column {
        Column { values: Values::defaults(kind, len), states: Some(vec![0; len]) }
    }

    /// Number of cells.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no cell.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// State of the cell at `index`.
    pub fn state(&self, index: usize) -> CellState {
        match &self.states {
            None => CellState::GOOD,
            Some(states) => CellState(states[index]),
        }
    }

    /// Value and state of the cell at `index`.
    pub fn cell(&self, index: usize) -> (CellState, ValueRef<'_>) {
        (self.state(index), self.values.get(index))
    }

    /// The cells at `indexes`, in that order.
    pub fn gather(&self, indexes: &[u32]) -> Column {
        Column {
            values: self.values.gather(indexes),
            states: self.states.as_ref().map(|s| indexes.iter().map(|i| s[*i as usize]).collect()),
        }
    }

    /// Bytes held in memory.
    pub fn memory(&self) -> usize {
        self.values.memory() + self.states.as_ref().map_or(0, |s| s.capacity())
    }
}

/// Builds a [`Column`] cell by cell or range by range; states are kept only once one differs
/// from a good value.
#[derive(Clone, Debug)]
pub struct ColumnBuilder {
    values: Values,
    states: Option<Vec<u8>>,
}

impl ColumnBuilder {
    /// An empty builder for a type.
    pub fn new(kind: PhysicalType, capacity: usize) -> Self {
        ColumnBuilder { values: Values::with_capacity(kind, capacity), states: None }
    }

    /// Number of cells so far.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no cell yet.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    fn states_mut(&mut self) -> &mut Vec<u8> {
        let len = self.values.len();
        self.states.get_or_insert_with(|| vec![CellState::GOOD.0; len])
    }

    /// Appends a cell; `value` counts only where the state says there is one.
    pub fn push(&mut self, state: CellState, value: ValueRef<'_>) {
        if state != CellState::GOOD || self.states.is_some() {
            self.states_mut().push(state.0);
        }
        if state.is_value() { self.values.push(value) } else { self.values.push_defaults(1) }
    }

    /// Appends a good value.
    pub fn push_good(&mut self, value: ValueRef<'_>) {
        self.push(CellState::GOOD, value);
    }

    /// Appends `count` absent cells.
    pub fn push_absent(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        let states = self.states_mut();
        states.resize(states.len() + count, CellState::ABSENT.0);
        self.values.push_defaults(count);
    }

    /// Appends `column[start..end]`.
    pub fn extend_range(&mut self, column: &Column, start: usize, end: usize) {
        match &column.states {
            Some(states) => self.states_mut().extend_from_slice(&states[start..end]),
            None => {
                if let Some(states) = &mut self.states {
                    states.resize(states.len() + end - start, CellState::GOOD.0);
                }
            }
        }
        self.values.extend_range(&column.values, start, end);
    }

    /// Finishes the column; a states array in which all is good is left out.
    pub fn finish(self) -> Column {
        let states = self.states.filter(|s| s.iter().any(|b| *b != CellState::GOOD.0));
        Column { values: self.values, states }
    }
}
