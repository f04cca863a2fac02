//! `first(value, time)` and `last(value, time)`: the value at the least or greatest time.
//!
//! Rows whose value or time is NULL do not count, so `last` is the newest known value. Of several
//! rows at that time `first` is the one read first and `last` the one read last: rows of a series
//! are read in the order of their ns. The state of a group is the value and its time;
//! values are copied once a batch and group, not once a row.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, new_empty_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, TimeUnit};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};

use crate::error::QueryError;

/// Which end of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Edge {
    First,
    Last,
}

impl Edge {
    fn better(self, candidate: i64, than: i64) -> bool {
        match self {
            Edge::First => candidate < than,
            Edge::Last => candidate >= than,
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ByTime {
    edge: Edge,
    signature: Signature,
}

impl ByTime {
    pub(super) fn new(edge: Edge) -> ByTime {
        ByTime { edge, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for ByTime {
    fn name(&self) -> &str {
        match self.edge {
            Edge::First => "first",
            Edge::Last => "last",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let refuse = || {
            let shown: Vec<String> = types.iter().map(ToString::to_string).collect();
            let message = format!("function {}({}) does not exist", self.name(), shown.join(", "));
            QueryError::new("42883", message)
                .with_hint(format!("{}(value, time timestamptz)", self.name()))
                .into_datafusion()
        };
        let [value, time] = types else { return Err(refuse()) };
        let time = match time {
            DataType::Timestamp(..) | DataType::Int64 | DataType::Date64 => time.clone(),
            DataType::Int8 | DataType::Int16 | DataType::Int32 => DataType::Int64,
            DataType::Date32 => DataType::Timestamp(TimeUnit::Microsecond, None),
            _ => return Err(refuse()),
        };
        Ok(vec![value.clone(), time])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.first().cloned().ok_or_else(|| QueryError::internal("no value").into_datafusion())
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let kind = args.return_field.data_type().clone();
        Ok(vec![
            Arc::new(Field::new(format!("{}[value]", args.name), kind, true)),
            Arc::new(Field::new(format!("{}[time]", args.name), DataType::Int64, true)),
        ])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let null = ScalarValue::try_from(args.return_field.data_type())?;
        Ok(Box::new(One { edge: self.edge, best: None, null }))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        let kind = args.return_field.data_type().clone();
        let null = ScalarValue::try_from(&kind)?;
        Ok(Box::new(Many {
            edge: self.edge,
            kind,
            null,
            best: Vec::new(),
            scratch: Vec::new(),
            bytes: 0,
        }))
    }
}

/// Times as integers: all of one column have one unit, so their order is that of the times.
fn ticks(times: &ArrayRef) -> Result<Int64Array> {
    let ticks = cast(times, &DataType::Int64)?;
    Ok(ticks.as_primitive::<Int64Type>().clone())
}

/// Values are compared with others of the same batch by row, then by tick with the state.
fn best_row(
    edge: Edge,
    values: &ArrayRef,
    ticks: &Int64Array,
    rows: impl Iterator<Item = usize>,
) -> Option<(usize, i64)> {
    let mut best: Option<(usize, i64)> = None;
    for row in rows {
        if values.is_null(row) || ticks.is_null(row) {
            continue;
        }
        let tick = ticks.value(row);
        if best.is_none_or(|(_, than)| edge.better(tick, than)) {
            best = Some((row, tick));
        }
    }
    best
}

/// One group.
#[derive(Debug)]
struct One {
    edge: Edge,
    best: Option<(ScalarValue, i64)>,
    null: ScalarValue,
}

impl One {
    fn update(&mut self, values: &ArrayRef, ticks: &Int64Array) -> Result<()> {
        if let Some((row, tick)) = best_row(self.edge, values, ticks, 0..values.len())
            && self.best.as_ref().is_none_or(|(_, than)| self.edge.better(tick, *than))
        {
            self.best = Some((owned(values, row)?, tick));
        }
        Ok(())
    }
}

/// The value of a row, not holding on to the batch it came in.
fn owned(values: &ArrayRef, row: usize) -> Result<ScalarValue> {
    let mut value = ScalarValue::try_from_array(values, row)?;
    value.compact();
    Ok(value)
}

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.update(&values[0], &ticks(&values[1])?)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update(&states[0], &ticks(&states[1])?)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(match &self.best {
            Some((value, tick)) => vec![value.clone(), ScalarValue::Int64(Some(*tick))],
            None => vec![self.null.clone(), ScalarValue::Int64(None)],
        })
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.best.as_ref().map_or_else(|| self.null.clone(), |(value, _)| value.clone()))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.best.as_ref().map_or(0, |(value, _)| value.size())
    }
}

/// Many groups.
struct Many {
    edge: Edge,
    kind: DataType,
    null: ScalarValue,
    best: Vec<Option<(ScalarValue, i64)>>,
    /// Best row of the batch under way of each group, `u32::MAX` where there is none.
    scratch: Vec<(u32, i64)>,
    /// What the values hold beside themselves.
    bytes: usize,
}

impl Many {
    fn update(
        &mut self,
        values: &ArrayRef,
        ticks: &Int64Array,
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.best.resize(total, None);
        self.scratch.resize(total, (u32::MAX, 0));
        let mut touched = Vec::new();
        for (row, group) in groups.iter().enumerate() {
            let kept = filter.is_none_or(|f| f.is_valid(row) && f.value(row));
            if !kept || values.is_null(row) || ticks.is_null(row) {
                continue;
            }
            let tick = ticks.value(row);
            let slot = &mut self.scratch[*group];
            if slot.0 == u32::MAX {
                touched.push(*group);
                *slot = (row as u32, tick);
            } else if self.edge.better(tick, slot.1) {
                *slot = (row as u32, tick);
            }
        }
        for group in touched {
            let (row, tick) = std::mem::replace(&mut self.scratch[group], (u32::MAX, 0));
            if self.best[group].as_ref().is_none_or(|(_, than)| self.edge.better(tick, *than)) {
                let value = owned(values, row as usize)?;
                self.bytes += value.size();
                if let Some((old, _)) = self.best[group].replace((value, tick)) {
                    self.bytes = self.bytes.saturating_sub(old.size());
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, emit: EmitTo) -> Vec<Option<(ScalarValue, i64)>> {
        let taken = emit.take_needed(&mut self.best);
        let bytes: usize = taken.iter().flatten().map(|(v, _)| v.size()).sum();
        self.bytes = self.bytes.saturating_sub(bytes);
        self.scratch.truncate(self.best.len());
        taken
    }

    fn values(&self, taken: Vec<Option<(ScalarValue, i64)>>) -> Result<ArrayRef> {
        if taken.is_empty() {
            return Ok(new_empty_array(&self.kind));
        }
        let values = taken.into_iter().map(|b| b.map_or_else(|| self.null.clone(), |(v, _)| v));
        ScalarValue::iter_to_array(values)
    }
}

impl GroupsAccumulator for Many {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.update(&values[0], &ticks(&values[1])?, groups, filter, total)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.update(&values[0], &ticks(&values[1])?, groups, None, total)
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let taken = self.take(emit);
        self.values(taken)
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        let taken = self.take(emit);
        let ticks: Int64Array = taken.iter().map(|b| b.as_ref().map(|(_, t)| *t)).collect();
        Ok(vec![self.values(taken)?, Arc::new(ticks)])
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let ticks = ticks(&values[1])?;
        let ticks: Int64Array = (0..ticks.len())
            .map(|row| {
                let kept = filter.is_none_or(|f| f.is_valid(row) && f.value(row));
                (kept && values[0].is_valid(row) && ticks.is_valid(row)).then(|| ticks.value(row))
            })
            .collect();
        Ok(vec![values[0].clone(), Arc::new(ticks)])
    }

    fn size(&self) -> usize {
        self.bytes
            + self.best.capacity() * size_of::<Option<(ScalarValue, i64)>>()
            + self.scratch.capacity() * size_of::<(u32, i64)>()
    }
}
