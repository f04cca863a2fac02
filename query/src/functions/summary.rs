//! Aggregates over numbers, most of them with times, as one small summary a group.
//!
//! A [`Summary`] takes points in any order and merges with others, so groups may be read by
//! several threads and spilled. It travels between operators as bytes (one `LargeBinary` column),
//! which live for one statement only.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, LargeBinaryBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use crate::error::QueryError;

/// What the arguments of one call say, beside rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Config {
    /// Place of the number among the arguments.
    pub(super) value: usize,
    /// Place of the time, if there is one, and its ticks of a second.
    pub(super) time: Option<(usize, i64)>,
    /// Whether values change in steps rather than along lines.
    pub(super) steps: bool,
    /// Bounds and number of the buckets of a histogram.
    pub(super) range: (f64, f64),
    pub(super) count: usize,
}

/// What is known of the points of one group.
pub(super) trait Summary: Clone + Debug + Default + Send + Sync + 'static {
    fn add(&mut self, config: &Config, tick: i64, value: f64);
    /// Takes in what [`Summary::encode`] wrote.
    fn merge(&mut self, bytes: &[u8]) -> Result<()>;
    fn encode(&self, out: &mut Vec<u8>);
    /// Bytes beside the summary itself.
    fn heap(&self) -> usize {
        0
    }
    /// Results of some groups.
    fn finish(config: &Config, groups: Vec<Self>) -> Result<ArrayRef>;
}

/// One group.
#[derive(Debug)]
pub(super) struct One<S> {
    config: Config,
    summary: S,
}

impl<S: Summary> One<S> {
    pub(super) fn new(config: Config) -> One<S> {
        One { config, summary: S::default() }
    }
}

/// Numbers and ticks of rows, both known.
fn points(
    config: &Config,
    arrays: &[ArrayRef],
    mut each: impl FnMut(usize, i64, f64),
) -> Result<()> {
    let lost = || QueryError::internal("an aggregate lost an argument").into_datafusion();
    let values = cast(arrays.get(config.value).ok_or_else(lost)?, &DataType::Float64)?;
    let values = values.as_primitive::<Float64Type>();
    let ticks = match config.time {
        Some((at, _)) => Some(cast(arrays.get(at).ok_or_else(lost)?, &DataType::Int64)?),
        None => None,
    };
    match &ticks {
        Some(ticks) => {
            let ticks = ticks.as_primitive::<Int64Type>();
            for row in 0..values.len() {
                if values.is_valid(row) && ticks.is_valid(row) {
                    each(row, ticks.value(row), values.value(row));
                }
            }
        }
        None => {
            for row in 0..values.len() {
                if values.is_valid(row) {
                    each(row, 0, values.value(row));
                }
            }
        }
    }
    Ok(())
}

fn states(states: &[ArrayRef]) -> Result<&arrow::array::LargeBinaryArray> {
    let found = states.first().and_then(|state| state.as_binary_opt::<i64>());
    found.ok_or_else(|| QueryError::internal("a summary is not bytes").into_datafusion())
}

impl<S: Summary> Accumulator for One<S> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let One { config, summary } = self;
        points(config, values, |_, tick, value| summary.add(config, tick, value))
    }

    fn merge_batch(&mut self, arrays: &[ArrayRef]) -> Result<()> {
        states(arrays)?.iter().flatten().try_for_each(|bytes| self.summary.merge(bytes))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let mut bytes = Vec::new();
        self.summary.encode(&mut bytes);
        Ok(vec![ScalarValue::LargeBinary(Some(bytes))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let result = S::finish(&self.config, vec![self.summary.clone()])?;
        ScalarValue::try_from_array(&result, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.summary.heap()
    }
}

/// One frame of a window that moves: its rows are held, since what leaves cannot be taken out of
/// a summary.
#[derive(Debug)]
pub(super) struct Sliding<S> {
    config: Config,
    /// Ticks and numbers, in the order of the rows; `None` where one is NULL.
    rows: VecDeque<Option<(i64, f64)>>,
    summary: PhantomData<S>,
}

impl<S: Summary> Sliding<S> {
    pub(super) fn new(config: Config) -> Sliding<S> {
        Sliding { config, rows: VecDeque::new(), summary: PhantomData }
    }
}

impl<S: Summary> Accumulator for Sliding<S> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let from = self.rows.len();
        self.rows.resize(from + values.first().map_or(0, |array| array.len()), None);
        let rows = &mut self.rows;
        points(&self.config, values, |row, tick, value| rows[from + row] = Some((tick, value)))
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let gone = values.first().map_or(0, |array| array.len());
        self.rows.drain(..gone.min(self.rows.len()));
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> Result<()> {
        Err(QueryError::internal("a moving frame is not merged").into_datafusion())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Err(QueryError::internal("a moving frame has no state").into_datafusion())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut summary = S::default();
        for (tick, value) in self.rows.iter().flatten() {
            summary.add(&self.config, *tick, *value);
        }
        ScalarValue::try_from_array(&S::finish(&self.config, vec![summary])?, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.rows.capacity() * size_of::<Option<(i64, f64)>>()
    }
}

/// Many groups.
pub(super) struct Many<S> {
    config: Config,
    groups: Vec<S>,
    heap: usize,
}

impl<S: Summary> Many<S> {
    pub(super) fn new(config: Config) -> Many<S> {
        Many { config, groups: Vec::new(), heap: 0 }
    }

    fn take(&mut self, emit: EmitTo) -> Vec<S> {
        let taken = emit.take_needed(&mut self.groups);
        let heap: usize = taken.iter().map(Summary::heap).sum();
        self.heap = self.heap.saturating_sub(heap);
        taken
    }
}

impl<S: Summary> GroupsAccumulator for Many<S> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.groups.resize(total, S::default());
        let Many { config, groups: all, heap } = self;
        points(config, values, |row, tick, value| {
            if filter.is_none_or(|f| f.is_valid(row) && f.value(row)) {
                let summary = &mut all[groups[row]];
                let before = summary.heap();
                summary.add(config, tick, value);
                *heap += summary.heap().saturating_sub(before);
            }
        })
    }

    fn merge_batch(&mut self, arrays: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.groups.resize(total, S::default());
        for (bytes, group) in states(arrays)?.iter().zip(groups) {
            let summary = &mut self.groups[*group];
            let before = summary.heap();
            summary.merge(bytes.unwrap_or_default())?;
            self.heap += summary.heap().saturating_sub(before);
        }
        Ok(())
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let taken = self.take(emit);
        S::finish(&self.config, taken)
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![encoded(&self.take(emit))])
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let rows = values.first().map_or(0, |array| array.len());
        let mut each = vec![S::default(); rows];
        points(&self.config, values, |row, tick, value| {
            if filter.is_none_or(|f| f.is_valid(row) && f.value(row)) {
                each[row].add(&self.config, tick, value);
            }
        })?;
        Ok(vec![encoded(&each)])
    }

    fn size(&self) -> usize {
        self.heap + self.groups.capacity() * size_of::<S>()
    }
}

fn encoded<S: Summary>(groups: &[S]) -> ArrayRef {
    let mut builder = LargeBinaryBuilder::new();
    let mut bytes = Vec::new();
    for summary in groups {
        bytes.clear();
        summary.encode(&mut bytes);
        builder.append_value(&bytes);
    }
    Arc::new(builder.finish())
}

/// Reads numbers out of a summary's bytes.
pub(super) struct Numbers<'a>(pub(super) &'a [u8]);

impl Numbers<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn i64(&mut self) -> Result<i64> {
        match self.0.split_first_chunk::<8>() {
            Some((head, rest)) => {
                self.0 = rest;
                Ok(i64::from_le_bytes(*head))
            }
            None => Err(QueryError::internal("a summary is cut short").into_datafusion()),
        }
    }

    pub(super) fn f64(&mut self) -> Result<f64> {
        Ok(f64::from_bits(self.i64()? as u64))
    }
}
