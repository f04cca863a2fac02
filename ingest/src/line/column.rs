//! One field of one table while a request is read.

use tsdb::types::{CellState, Column, ColumnId, ColumnType, Quality, Values};

use super::scan::{RawValue, unescape_text};
use super::{Reason, StoreLimits};

/// Text of one column in one batch; Arrow's offsets are 31 bits.
const TEXT_BYTES_MAX: usize = i32::MAX as usize;

/// A field and the cells collected for it. The column may be shorter than the batch: the cells
/// that are missing at its end are absent.
#[derive(Debug)]
pub struct FieldColumn {
    /// Name, escapes taken out.
    pub name: Box<str>,
    /// Name as it stood in a line; empty until it was seen.
    pub raw: Box<[u8]>,
    /// Number in the schema; `None` for a column that this request makes.
    pub id: Option<ColumnId>,
    /// Type; `None` until a good line settles it.
    pub kind: Option<ColumnType>,
    /// Last line that gave a value, and where that value is in the line's list.
    pub stamp: u64,
    pub value_at: u32,
    /// Whether the open batch has a cell.
    used: bool,
    data: Values,
    states: Option<Vec<u8>>,
}

impl FieldColumn {
    /// A column of the schema, or a new one whose type is open.
    pub fn new(name: &str, known: Option<(ColumnId, ColumnType)>) -> FieldColumn {
        let kind = known.map(|(_, kind)| kind);
        FieldColumn {
            name: name.into(),
            raw: Box::default(),
            id: known.map(|(id, _)| id),
            kind,
            stamp: 0,
            value_at: 0,
            used: false,
            data: empty(kind.unwrap_or(ColumnType::Int64)),
            states: None,
        }
    }

    /// Whether the value may go into this column.
    pub fn check(&self, value: &RawValue<'_>, limits: &StoreLimits) -> Result<(), Reason> {
        if let RawValue::Text { bytes, escaped } = value {
            if bytes.len() > limits.value_bytes_max
                && text_len(bytes, *escaped) > limits.value_bytes_max
            {
                let max = limits.value_bytes_max;
                return Err(format!("the text of field {:?} exceeds {max} bytes", self.name).into());
            }
            if let Values::Bytes(held) = &self.data
                && held.data.len() + bytes.len() > TEXT_BYTES_MAX
            {
                return Err("more than 2 GiB of text for one field: split the request".into());
            }
        }
        let Some(kind) = self.kind else { return Ok(()) };
        let fits = match (kind, value) {
            (ColumnType::Int64, RawValue::Int(_)) => true,
            // Only a column that this request makes can still become a float.
            (ColumnType::Int64, RawValue::Float(_)) => self.id.is_none(),
            (ColumnType::Float64, RawValue::Int(_) | RawValue::Float(_)) => true,
            (ColumnType::Bool, RawValue::Bool(_)) => true,
            (ColumnType::Text, RawValue::Text { .. }) => true,
            (_, RawValue::Missing) => true,
            (ColumnType::Int32, RawValue::Int(v)) if i32::try_from(*v).is_ok() => true,
            (ColumnType::Int16, RawValue::Int(v)) if i16::try_from(*v).is_ok() => true,
            (ColumnType::Int32 | ColumnType::Int16, RawValue::Int(v)) => {
                return Err(format!("{v} does not fit field {:?} of type {kind}", self.name).into());
            }
            (ColumnType::Float32, RawValue::Int(_)) => true,
            (ColumnType::Float32, RawValue::Float(v)) if (*v as f32).is_finite() => true,
            _ => false,
        };
        if fits {
            return Ok(());
        }
        let given = kind_of(value);
        Err(format!("field {:?} is {kind}, the value is {given}", self.name).into())
    }

    /// Appends a checked value as cell number `row`; true if it is the first of the open batch.
    #[inline]
    pub fn put(&mut self, row: usize, value: &RawValue<'_>) -> bool {
        match self.kind {
            None => {
                let kind = kind_of(value);
                self.kind = Some(kind);
                self.data = empty(kind);
            }
            Some(ColumnType::Int64) if matches!(value, RawValue::Float(_)) => {
                self.kind = Some(ColumnType::Float64);
                let ints = std::mem::replace(&mut self.data, empty(ColumnType::Float64));
                self.data = ints.widen_to(ColumnType::Float64.physical());
            }
            Some(_) => {}
        }
        self.pad(row);
        if *value == RawValue::Missing {
            let states = self.states.get_or_insert_with(|| vec![CellState::GOOD.0; row]);
            states.push(CellState::null(Quality::Bad).0);
            self.data.push_defaults(1);
            return !std::mem::replace(&mut self.used, true);
        }
        match (&mut self.data, value) {
            (Values::Int(cells), RawValue::Int(v)) => cells.push(*v),
            (Values::Float(cells), RawValue::Int(v)) => cells.push(*v as f64),
            (Values::Float(cells), RawValue::Float(v)) => cells.push(*v),
            (Values::Bool(cells), RawValue::Bool(v)) => cells.push(*v),
            (Values::Bytes(cells), RawValue::Text { bytes, escaped: false }) => cells.push(bytes),
            (Values::Bytes(cells), RawValue::Text { bytes, escaped: true }) => {
                unescape_text(bytes, &mut cells.data);
                cells.offsets.push(cells.data.len() as u32);
            }
            (_, value) => unreachable!("{value:?} was checked against {:?}", self.kind),
        }
        if self.kind == Some(ColumnType::Float32)
            && let Values::Float(cells) = &mut self.data
            && let Some(cell) = cells.last_mut()
        {
            *cell = f64::from(*cell as f32);
        }
        if let Some(states) = &mut self.states {
            states.push(CellState::GOOD.0);
        }
        !std::mem::replace(&mut self.used, true)
    }

    /// Absent cells up to `row`.
    fn pad(&mut self, row: usize) {
        let len = self.data.len();
        if len < row {
            let states = self.states.get_or_insert_with(|| vec![CellState::GOOD.0; len]);
            states.resize(row, CellState::ABSENT.0);
            self.data.push_defaults(row - len);
        }
    }

    /// Ends the open batch of `rows` rows and gives its cells, if any.
    pub fn seal(&mut self, rows: usize) -> Option<Column> {
        if !std::mem::take(&mut self.used) {
            return None;
        }
        self.pad(rows);
        let kind = self.kind.unwrap_or(ColumnType::Int64);
        let values = std::mem::replace(&mut self.data, empty(kind));
        Some(Column { values, states: self.states.take() })
    }
}

fn text_len(raw: &[u8], escaped: bool) -> usize {
    if !escaped {
        return raw.len();
    }
    let mut text = Vec::with_capacity(raw.len());
    unescape_text(raw, &mut text);
    text.len()
}

fn empty(kind: ColumnType) -> Values {
    Values::with_capacity(kind.physical(), 0)
}

/// Type of the column that a value makes when it is the first.
pub fn kind_of(value: &RawValue<'_>) -> ColumnType {
    match value {
        RawValue::Int(_) => ColumnType::Int64,
        RawValue::Float(_) | RawValue::Missing => ColumnType::Float64,
        RawValue::Bool(_) => ColumnType::Bool,
        RawValue::Text { .. } => ColumnType::Text,
    }
}
