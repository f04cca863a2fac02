//! What is known of each slot: a group of series in one bucket.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::part::{ZoneRows, ZoneStats, ZoneValues};
use crate::types::{CellState, Column, ColumnId, PhysicalType, Value, ValueRef, Values};

use super::rows::Segment;

/// Figures of a column, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants(u8);

impl Wants {
    /// Number of values; always kept.
    pub const COUNT: Wants = Wants(0);
    /// Sum.
    pub const SUM: Wants = Wants(1);
    /// Least and greatest value.
    pub const EXTREMES: Wants = Wants(2);
    /// Values of the earliest and latest time.
    pub const EDGES: Wants = Wants(4);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Wants) -> Wants {
        Wants(self.0 | other.0)
    }

    /// Whether all of `other` are wanted.
    pub const fn has(self, other: Wants) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A number that columns hold.
pub trait Number: Copy + PartialOrd + Default {
    /// What sums are kept in.
    type Sum: Copy + Default + std::ops::AddAssign;
    /// Where a search for the least and for the greatest begins.
    const ENDS: (Self, Self);
    /// The value as a sum.
    fn widen(self) -> Self::Sum;
    /// Whether the value is no number.
    fn is_nan(self) -> bool;
}

impl Number for i64 {
    type Sum = i128;
    const ENDS: (i64, i64) = (i64::MAX, i64::MIN);
    fn widen(self) -> i128 {
        i128::from(self)
    }
    fn is_nan(self) -> bool {
        false
    }
}

impl Number for f64 {
    type Sum = f64;
    const ENDS: (f64, f64) = (f64::INFINITY, f64::NEG_INFINITY);
    fn widen(self) -> f64 {
        self
    }
    fn is_nan(self) -> bool {
        self.is_nan()
    }
}

/// Least and greatest value of each slot. NaN is passed over: where every value is NaN (or there
/// is none), `min` is above `max`.
#[derive(Clone, Debug, Default)]
pub struct Extremes<T> {
    /// Least values.
    pub min: Vec<T>,
    /// Greatest values.
    pub max: Vec<T>,
    /// Whether a value is NaN, which SQL sorts above all numbers.
    pub nan: Vec<bool>,
}

/// Figures of each slot; what is not wanted is empty.
#[derive(Clone, Debug, Default)]
pub struct Moments<T, S> {
    /// Sums.
    pub sum: Vec<S>,
    /// Least and greatest.
    pub extremes: Extremes<T>,
    /// Time (ns) and value of the earliest; means nothing where the count is 0.
    pub first: Vec<(i64, T)>,
    /// Time (ns) and value of the latest.
    pub last: Vec<(i64, T)>,
}

/// A column's figures, by slot.
#[derive(Clone, Debug)]
pub enum ColumnAggregates {
    /// Of integers and times.
    Int {
        /// Number of values.
        count: Vec<u64>,
        /// Figures.
        of: Moments<i64, i128>,
    },
    /// Of floats.
    Float {
        /// Number of values.
        count: Vec<u64>,
        /// Figures.
        of: Moments<f64, f64>,
    },
    /// Of booleans, texts and bytes: their number only.
    Other {
        /// Number of values.
        count: Vec<u64>,
    },
}

impl ColumnAggregates {
    fn new(kind: PhysicalType) -> ColumnAggregates {
        let count = Vec::new();
        match kind {
            PhysicalType::Int => ColumnAggregates::Int { count, of: Moments::default() },
            PhysicalType::Float => ColumnAggregates::Float { count, of: Moments::default() },
            PhysicalType::Bool | PhysicalType::Bytes => ColumnAggregates::Other { count },
        }
    }

    /// Number of values of each slot.
    pub fn count(&self) -> &[u64] {
        match self {
            ColumnAggregates::Int { count, .. }
            | ColumnAggregates::Float { count, .. }
            | ColumnAggregates::Other { count } => count,
        }
    }
}

impl<T: Number> Moments<T, T::Sum> {
    fn grow(&mut self, wants: Wants) {
        if wants.has(Wants::SUM) {
            self.sum.push(T::Sum::default());
        }
        if wants.has(Wants::EXTREMES) {
            self.extremes.min.push(T::ENDS.0);
            self.extremes.max.push(T::ENDS.1);
            self.extremes.nan.push(false);
        }
        if wants.has(Wants::EDGES) {
            self.first.push((i64::MAX, T::default()));
            self.last.push((i64::MIN, T::default()));
        }
    }

    fn extreme(&mut self, slot: usize, min: T, max: T, nan: bool) {
        let extremes = &mut self.extremes;
        if min < extremes.min[slot] {
            extremes.min[slot] = min;
        }
        if max > extremes.max[slot] {
            extremes.max[slot] = max;
        }
        extremes.nan[slot] |= nan;
    }

    /// `fresh`: the slot had no value before.
    fn edge(&mut self, slot: usize, first: (i64, T), last: (i64, T), fresh: bool) {
        if fresh || first.0 < self.first[slot].0 {
            self.first[slot] = first;
        }
        if fresh || last.0 >= self.last[slot].0 {
            self.last[slot] = last;
        }
    }

    /// Adds a run of values that all count.
    fn run(&mut self, slot: usize, values: &[T], times: &[i64], wants: Wants, fresh: bool) {
        if wants.has(Wants::SUM) {
            let mut sum = T::Sum::default();
            values.iter().for_each(|v| sum += v.widen());
            self.sum[slot] += sum;
        }
        if wants.has(Wants::EXTREMES) {
            let (mut min, mut max, mut nan) = (T::ENDS.0, T::ENDS.1, false);
            for v in values {
                min = if *v < min { *v } else { min };
                max = if *v > max { *v } else { max };
                nan |= v.is_nan();
            }
            self.extreme(slot, min, max, nan);
        }
        if wants.has(Wants::EDGES)
            && let (Some(first), Some(last)) = (values.first(), values.last())
        {
            self.edge(slot, (times[0], *first), (times[values.len() - 1], *last), fresh);
        }
    }

    /// Adds a run of cells of which some are values. Where there is none, a default (0) stands.
    fn cells(
        &mut self,
        slot: usize,
        (values, states): (&[T], &[u8]),
        times: &[i64],
        wants: Wants,
        fresh: bool,
    ) {
        let is_value = |state: &u8| CellState(*state).is_value();
        if wants.has(Wants::SUM) {
            let mut sum = T::Sum::default();
            for (v, state) in values.iter().zip(states) {
                sum += if is_value(state) { v.widen() } else { T::Sum::default() };
            }
            self.sum[slot] += sum;
        }
        if wants.has(Wants::EXTREMES) {
            let (mut min, mut max, mut nan) = (T::ENDS.0, T::ENDS.1, false);
            for (v, state) in values.iter().zip(states) {
                let counts = is_value(state);
                min = if counts && *v < min { *v } else { min };
                max = if counts && *v > max { *v } else { max };
                nan |= counts && v.is_nan();
            }
            self.extreme(slot, min, max, nan);
        }
        if wants.has(Wants::EDGES)
            && let Some(first) = states.iter().position(is_value)
            && let Some(last) = states.iter().rposition(is_value)
        {
            self.edge(slot, (times[first], values[first]), (times[last], values[last]), fresh);
        }
    }

    fn merge(&mut self, slot: usize, other: &Self, from: usize, wants: Wants, fresh: bool) {
        if wants.has(Wants::SUM) {
            self.sum[slot] += other.sum[from];
        }
        if wants.has(Wants::EXTREMES) {
            let e = &other.extremes;
            self.extreme(slot, e.min[from], e.max[from], e.nan[from]);
        }
        if wants.has(Wants::EDGES) {
            self.edge(slot, other.first[from], other.last[from], fresh);
        }
    }
}

/// Times of rows, where there are any.
fn part(times: &[i64], from: usize, to: usize) -> &[i64] {
    times.get(from..to).unwrap_or_default()
}

/// Adds the values of segments of a column; rows count from `start` in it.
fn segments<T: Number>(
    of: &mut Moments<T, T::Sum>,
    count: &mut [u64],
    (values, states): (&[T], Option<&[u8]>),
    (times, start): (&[i64], usize),
    runs: &[Segment],
    wants: Wants,
) {
    for run in runs {
        let slot = run.slot as usize;
        let (from, to) = (run.start as usize, run.end as usize);
        match states {
            None => {
                let fresh = count[slot] == 0;
                count[slot] += (to - from) as u64;
                let values = &values[start + from..start + to];
                of.run(slot, values, part(times, from, to), wants, fresh);
            }
            Some(states) => {
                let cells = start + from..start + to;
                let (values, states) = (&values[cells.clone()], &states[cells]);
                let found = states.iter().filter(|s| CellState(**s).is_value()).count();
                let (fresh, times) = (count[slot] == 0, part(times, from, to));
                count[slot] += found as u64;
                if found == values.len() {
                    of.run(slot, values, times, wants, fresh);
                } else if found > 0 {
                    of.cells(slot, (values, states), times, wants, fresh);
                }
            }
        }
    }
}

/// Slots by group and bucket.
#[derive(Clone, Debug)]
pub struct Aggregates {
    /// Group, bucket number and place in `splits` of each slot; 0 where nothing splits.
    pub keys: Vec<(u32, i64, u32)>,
    /// Values that rows were grouped by too; `None` for rows without one.
    pub splits: Vec<Option<Value>>,
    /// Of each test counted, how many rows of each slot pass.
    pub passing: Vec<Vec<u64>>,
    /// Rows of each slot.
    pub rows: Vec<u64>,
    /// The columns asked for, in their order.
    pub columns: Vec<ColumnAggregates>,
    wants: Vec<Wants>,
    index: HashMap<(u32, i64, u32), u32, RandomState>,
    split_index: HashMap<Option<u64>, u32, RandomState>,
}

impl Aggregates {
    pub(crate) fn new(
        columns: &[(ColumnId, PhysicalType)],
        wants: &[Wants],
        counted: usize,
    ) -> Aggregates {
        Aggregates {
            keys: Vec::new(),
            rows: Vec::new(),
            columns: columns.iter().map(|(_, kind)| ColumnAggregates::new(*kind)).collect(),
            wants: wants.to_vec(),
            splits: Vec::new(),
            passing: vec![Vec::new(); counted],
            index: HashMap::default(),
            split_index: HashMap::default(),
        }
    }

    /// Number of slots.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Adds a slot without rows, of group 0 and bucket 0.
    pub fn add_empty(&mut self) {
        self.slot(0, 0, 0);
    }

    /// Bytes held, about.
    pub fn memory(&self) -> usize {
        let column: usize = self
            .wants
            .iter()
            .map(|w| {
                let of = |flag, bytes| if w.has(flag) { bytes } else { 0 };
                8 + of(Wants::SUM, 16) + of(Wants::EXTREMES, 17) + of(Wants::EDGES, 32)
            })
            .sum();
        // Key, rows, and an entry of the index at its usual load.
        self.keys.capacity() * (16 + 8 + 48 + column + self.passing.len() * 8)
            + self.splits.capacity() * 80
    }

    /// The number of a value that rows are grouped by. Zeros are one value, and so are all NaN.
    pub(super) fn split(&mut self, value: Option<ValueRef<'_>>) -> u32 {
        let (bits, value) = match value {
            Some(ValueRef::Int(v)) => (Some(v as u64), Some(Value::Int(v))),
            Some(ValueRef::Float(v)) => {
                let v = if v == 0.0 { 0.0 } else { v };
                let v = if v.is_nan() { f64::NAN } else { v };
                (Some(v.to_bits()), Some(Value::Float(v)))
            }
            _ => (None, None),
        };
        *self.split_index.entry(bits).or_insert_with(|| {
            self.splits.push(value);
            self.splits.len() as u32 - 1
        })
    }

    /// The slot of a group, bucket and split, made if there is none.
    pub(super) fn slot(&mut self, group: u32, bucket: i64, split: u32) -> u32 {
        let key = (group, bucket, split);
        if let Some(slot) = self.index.get(&key) {
            return *slot;
        }
        let slot = self.keys.len() as u32;
        self.index.insert(key, slot);
        self.keys.push(key);
        self.rows.push(0);
        self.passing.iter_mut().for_each(|passing| passing.push(0));
        for (column, wants) in self.columns.iter_mut().zip(&self.wants) {
            match column {
                ColumnAggregates::Int { count, of } => {
                    count.push(0);
                    of.grow(*wants);
                }
                ColumnAggregates::Float { count, of } => {
                    count.push(0);
                    of.grow(*wants);
                }
                ColumnAggregates::Other { count } => count.push(0),
            }
        }
        slot
    }

    /// Adds rows of one column; `times` are those of the rows that segments count from, or none
    /// where no edges are wanted.
    pub(super) fn add(
        &mut self,
        nth: usize,
        column: &Column,
        start: usize,
        times: &[i64],
        runs: &[Segment],
    ) {
        let (wants, states) = (self.wants[nth], column.states.as_deref());
        match (&mut self.columns[nth], &column.values) {
            (ColumnAggregates::Int { count, of }, Values::Int(values)) => {
                segments(of, count, (values, states), (times, start), runs, wants);
            }
            (ColumnAggregates::Float { count, of }, Values::Float(values)) => {
                segments(of, count, (values, states), (times, start), runs, wants);
            }
            (ColumnAggregates::Float { count, of }, Values::Int(values)) => {
                // A run from before its column was widened.
                let values: Vec<f64> = values.iter().map(|v| *v as f64).collect();
                segments(of, count, (&values, states), (times, start), runs, wants);
            }
            (ColumnAggregates::Other { count }, _) => {
                for run in runs {
                    let rows = start + run.start as usize..start + run.end as usize;
                    let values = rows.filter(|row| column.state(*row).is_value()).count();
                    count[run.slot as usize] += values as u64;
                }
            }
            (_, other) => unreachable!("columns are read as asked for, not {:?}", other.physical()),
        }
    }

    /// Whether a zone's statistics have all that is wanted of a column.
    pub(super) fn suffices(&self, nth: usize, stats: &ZoneStats) -> bool {
        match stats.values {
            ZoneValues::Int { sum, .. } => sum.is_some() || !self.wants[nth].has(Wants::SUM),
            _ => true,
        }
    }

    /// Adds the statistics of one column over a zone, where [`Aggregates::suffices`] and
    /// [`Aggregates::edges_known`] hold.
    pub(super) fn add_zone(&mut self, nth: usize, slot: u32, stats: &ZoneStats, zone: &ZoneRows) {
        let (slot, wants, values) = (slot as usize, self.wants[nth], stats.count());
        if values == 0 {
            return;
        }
        let times = (zone.times.min, zone.times.max);
        match (&mut self.columns[nth], &stats.values) {
            (
                ColumnAggregates::Int { count, of },
                ZoneValues::Int { min, max, sum, first, last },
            ) => {
                let fresh = count[slot] == 0;
                count[slot] += u64::from(values);
                if wants.has(Wants::SUM) {
                    of.sum[slot] += i128::from(sum.unwrap_or(0));
                }
                if wants.has(Wants::EXTREMES) {
                    of.extreme(slot, *min, *max, false);
                }
                if wants.has(Wants::EDGES) {
                    of.edge(slot, (times.0, *first), (times.1, *last), fresh);
                }
            }
            (ColumnAggregates::Float { count, of }, figures) => {
                let fresh = count[slot] == 0;
                count[slot] += u64::from(values);
                let (min, max, sum, first, last, nan) = match *figures {
                    ZoneValues::Float { min, max, sum, first, last, nan } => {
                        (min, max, sum, first, last, nan)
                    }
                    ZoneValues::Int { min, max, sum, first, last } => {
                        let sum = sum.unwrap_or(0) as f64;
                        (min as f64, max as f64, sum, first as f64, last as f64, false)
                    }
                    ZoneValues::None => return,
                };
                if wants.has(Wants::SUM) {
                    of.sum[slot] += sum;
                }
                if wants.has(Wants::EXTREMES) {
                    of.extreme(slot, min, max, nan);
                }
                if wants.has(Wants::EDGES) {
                    of.edge(slot, (times.0, first), (times.1, last), fresh);
                }
            }
            (ColumnAggregates::Other { count }, _) => count[slot] += u64::from(values),
            (ColumnAggregates::Int { .. }, _) => {
                unreachable!("floats are never read as integers")
            }
        }
    }

    /// Whether first and last of a column can come from a zone's statistics: their times are the
    /// zone's ends only where every row has a value.
    pub(super) fn edges_known(&self, nth: usize, stats: &ZoneStats, zone: &ZoneRows) -> bool {
        !self.wants[nth].has(Wants::EDGES) || stats.count() == zone.rows || stats.count() == 0
    }

    /// Adds the slots of another stream of the same request.
    ///
    /// # Panics
    /// If the other is of another request.
    pub fn merge(&mut self, other: &Aggregates) {
        for (from, (group, bucket, split)) in other.keys.iter().enumerate() {
            let split = match other.splits.get(*split as usize) {
                None => 0,
                Some(value) => self.split(value.as_ref().map(Value::as_ref)),
            };
            let slot = self.slot(*group, *bucket, split) as usize;
            self.rows[slot] += other.rows[from];
            for (passing, other) in self.passing.iter_mut().zip(&other.passing) {
                passing[slot] += other[from];
            }
            let pairs = self.columns.iter_mut().zip(&other.columns).zip(&self.wants);
            for ((column, other), wants) in pairs {
                merge_column(column, other, slot, from, *wants);
            }
        }
    }
}

fn merge_column(
    column: &mut ColumnAggregates,
    other: &ColumnAggregates,
    slot: usize,
    from: usize,
    wants: Wants,
) {
    let values = other.count()[from];
    if values == 0 {
        return;
    }
    match (column, other) {
        (ColumnAggregates::Int { count, of }, ColumnAggregates::Int { of: other, .. }) => {
            of.merge(slot, other, from, wants, count[slot] == 0);
            count[slot] += values;
        }
        (ColumnAggregates::Float { count, of }, ColumnAggregates::Float { of: other, .. }) => {
            of.merge(slot, other, from, wants, count[slot] == 0);
            count[slot] += values;
        }
        (ColumnAggregates::Other { count }, ColumnAggregates::Other { .. }) => {
            count[slot] += values;
        }
        _ => unreachable!("streams of one request have the same columns"),
    }
}
