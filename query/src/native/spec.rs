//! What a native aggregation reads, how it groups and what it measures; and its result as arrays.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::compute::take;
use arrow::datatypes::DataType;
use tsdb::scan::aggregate::{
    AggregateColumn, AggregateRequest, Aggregates, Buckets, ColumnAggregates, GroupOf, Wants,
};
use tsdb::series::{Bitmap, Groups};
use tsdb::types::{ColumnId, ColumnType, PhysicalType, TimeRange, Value};
use tsdb::{FieldFilter, Table};

use crate::error::{QueryError, QueryResult};
use crate::table::{SeriesTable, arrays, arrow_type};

/// One expression of GROUP BY.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum GroupBy {
    /// The start of a time bucket.
    Bucket(Buckets),
    /// A key column.
    Key(ColumnId, ColumnType),
    /// A field that holds numbers; at most one.
    Field(ColumnId, ColumnType),
}

/// An aggregate function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    Count,
    Sum,
    Avg,
    Min,
    Max,
    First,
    Last,
}

impl Function {
    /// The function of this name.
    pub(crate) fn named(name: &str) -> Option<Function> {
        Some(match name {
            "count" => Function::Count,
            "sum" => Function::Sum,
            "avg" => Function::Avg,
            "min" => Function::Min,
            "max" => Function::Max,
            "first" => Function::First,
            "last" => Function::Last,
            _ => return None,
        })
    }
}

/// Whether values of a type are numbers, of which there are sums and which rows are grouped by.
pub(crate) fn is_number(kind: ColumnType) -> bool {
    use ColumnType as T;
    matches!(kind, T::Int16 | T::Int32 | T::Int64 | T::Float32 | T::Float64)
}

/// An aggregate; `count(*)` has no column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Measure {
    pub(crate) function: Function,
    pub(crate) column: Option<(ColumnId, ColumnType)>,
    /// What is measured is not a column but a test of each row.
    pub(crate) case: Option<Case>,
}

/// `CASE WHEN test THEN yes ELSE no END`; for a count, how many rows pass.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Case {
    pub(crate) test: FieldFilter,
    pub(crate) yes: f64,
    pub(crate) no: f64,
}

impl Measure {
    /// The measure, if it is one that can be had from the engine.
    pub(crate) fn new(
        function: Function,
        column: Option<(ColumnId, ColumnType)>,
    ) -> Option<Measure> {
        use ColumnType as T;
        let fits = match (function, column.map(|c| c.1)) {
            (Function::Count, _) => true,
            (_, None) => false,
            (Function::Sum | Function::Avg, Some(kind)) => is_number(kind),
            (_, Some(kind)) => !matches!(kind, T::Bool | T::Text | T::Bytes),
        };
        fits.then_some(Measure { function, column, case: None })
    }

    /// How many rows pass a test, or the sum or mean of a number for those that do and one for
    /// those that do not.
    pub(crate) fn of_case(function: Function, case: Case) -> Option<Measure> {
        let fits = matches!(function, Function::Count | Function::Sum | Function::Avg);
        fits.then_some(Measure { function, column: None, case: Some(case) })
    }

    /// Type of the result in SQL.
    pub(crate) fn data_type(&self, zone: &str) -> DataType {
        match (self.function, self.column) {
            (Function::Count, _) => DataType::Int64,
            (Function::Avg, _) | (_, None) => DataType::Float64,
            (Function::Sum, Some((_, ColumnType::Float32 | ColumnType::Float64))) => {
                DataType::Float64
            }
            (Function::Sum, _) => DataType::Int64,
            (_, Some((_, kind))) => arrow_type(kind, zone),
        }
    }

    fn wants(&self) -> Wants {
        match self.function {
            Function::Count => Wants::COUNT,
            Function::Sum | Function::Avg => Wants::SUM,
            Function::Min | Function::Max => Wants::EXTREMES,
            Function::First | Function::Last => Wants::EDGES,
        }
    }
}

/// A native aggregation over one table.
#[derive(Clone, Debug)]
pub(crate) struct AggregateSpec {
    pub(crate) provider: SeriesTable,
    pub(crate) times: TimeRange,
    pub(crate) filters: Vec<FieldFilter>,
    pub(crate) groups: Vec<GroupBy>,
    pub(crate) measures: Vec<Measure>,
}

/// How group numbers become key values.
#[derive(Debug)]
pub(crate) enum Keys {
    /// Nothing but time is grouped by.
    None,
    /// A group is a series of the same number.
    Each,
    /// Groups of several series.
    Groups(Groups),
}

impl AggregateSpec {
    /// The finest bucket, in which all others must nest; `Err` where they do not.
    pub(crate) fn finest(&self) -> Result<Option<Buckets>, ()> {
        let buckets = self.groups.iter().filter_map(|group| match group {
            GroupBy::Bucket(buckets) => Some(*buckets),
            GroupBy::Key(..) | GroupBy::Field(..) => None,
        });
        let Some(finest) = buckets.clone().min_by_key(|b| b.width) else { return Ok(None) };
        let nests = |b: Buckets| {
            let shift = i128::from(b.origin) - i128::from(finest.origin);
            b.width % finest.width == 0 && shift % i128::from(finest.width) == 0
        };
        if buckets.clone().all(nests) { Ok(Some(finest)) } else { Err(()) }
    }

    /// The field that is grouped by; `Err` where there are several.
    pub(crate) fn split(&self) -> Result<Option<ColumnId>, ()> {
        let mut fields = self.groups.iter().filter_map(|group| match group {
            GroupBy::Field(id, _) => Some(*id),
            _ => None,
        });
        match (fields.next(), fields.next()) {
            (first, None) => Ok(first),
            _ => Err(()),
        }
    }

    /// The tests that are counted, each once.
    fn counted(&self) -> Vec<FieldFilter> {
        let mut tests: Vec<FieldFilter> = Vec::new();
        for case in self.measures.iter().filter_map(|m| m.case.as_ref()) {
            if !tests.contains(&case.test) {
                tests.push(case.test.clone());
            }
        }
        tests
    }

    /// Whether nothing is asked but the number of rows.
    pub(crate) fn counts_all(&self) -> bool {
        self.groups.is_empty()
            && self.measures.iter().all(|m| m.column.is_none() && m.case.is_none())
    }

    /// The columns measured, each once, with all that is wanted of it.
    fn columns(&self) -> Vec<AggregateColumn> {
        let mut columns: Vec<AggregateColumn> = Vec::new();
        for measure in &self.measures {
            let Some((column, _)) = measure.column else { continue };
            let wants = measure.wants();
            match columns.iter_mut().find(|c| c.column == column) {
                Some(found) => found.wants = found.wants.and(wants),
                None => columns.push(AggregateColumn { column, wants }),
            }
        }
        columns
    }

    /// The engine's request, and how its groups are to be read.
    pub(crate) fn request(
        &self,
        table: &Table,
        series: Option<Bitmap>,
        streams: usize,
        use_zones: bool,
    ) -> QueryResult<(AggregateRequest, Keys)> {
        let ids: Vec<ColumnId> = self
            .groups
            .iter()
            .filter_map(|group| match group {
                GroupBy::Key(id, _) => Some(*id),
                GroupBy::Bucket(_) | GroupBy::Field(..) => None,
            })
            .collect();
        let (groups, keys) = match ids.is_empty() {
            true => (GroupOf::One, Keys::None),
            false => {
                let set = match &series {
                    Some(set) => set.clone(),
                    None => table.series().all(table.series_count()),
                };
                let groups = table.series().groups(&ids, &set);
                if u64::from(groups.count) == set.cardinality() {
                    (GroupOf::Each, Keys::Each)
                } else {
                    let of = Arc::new(groups.of.clone());
                    (GroupOf::Listed { set: Arc::new(set), of }, Keys::Groups(groups))
                }
            }
        };
        let buckets = self.finest().map_err(|()| {
            QueryError::internal("time buckets that do not nest in a native aggregation")
        })?;
        let split = self.split().map_err(|()| {
            QueryError::internal("several fields grouped by in a native aggregation")
        })?;
        let request = AggregateRequest {
            split,
            counted: self.counted(),
            series,
            times: self.times,
            buckets,
            groups,
            columns: self.columns(),
            filters: self.filters.clone(),
            streams,
            use_zones,
        };
        Ok((request, keys))
    }

    fn zone(&self) -> &str {
        match self.provider.schema.field(0).data_type() {
            DataType::Timestamp(_, Some(zone)) => zone,
            _ => "+00:00",
        }
    }

    /// Types of groups, then of measures.
    pub(crate) fn types(&self) -> Vec<DataType> {
        let zone = self.zone();
        let groups = self.groups.iter().map(|group| match group {
            GroupBy::Bucket(_) => arrow_type(ColumnType::Timestamp, zone),
            GroupBy::Key(_, kind) | GroupBy::Field(_, kind) => arrow_type(*kind, zone),
        });
        groups.chain(self.measures.iter().map(|m| m.data_type(zone))).collect()
    }

    /// The result over no rows at all.
    pub(crate) fn nothing(&self, table: &Table) -> QueryResult<Aggregates> {
        let (request, _) = self.request(table, Some(Bitmap::new()), 1, false)?;
        Ok(table.aggregate_nothing(&request)?)
    }

    /// Whether one row is due where no row was read: an aggregate without GROUP BY.
    pub(crate) fn is_one_row(&self) -> bool {
        self.groups.is_empty()
    }

    /// The starts of the `nth` group's buckets, µs.
    pub(crate) fn bucket_micros(
        &self,
        buckets: Buckets,
        found: &Aggregates,
        picks: &[u32],
    ) -> Vec<i64> {
        // Checked when the request was made.
        let finest = self.finest().ok().flatten().unwrap_or(buckets);
        let start = |slot: &u32| {
            let start = finest.start(found.keys[*slot as usize].1);
            let start = if buckets == finest { start } else { buckets.start(buckets.index(start)) };
            arrays::micros(start)
        };
        picks.iter().map(start).collect()
    }

    /// Values of a key column: for each slot picked its code among the values, `u32::MAX` for none.
    pub(crate) fn key_codes(
        &self,
        column: ColumnId,
        keys: &Keys,
        table: &Table,
        found: &Aggregates,
        picks: &[u32],
    ) -> (Vec<u32>, Vec<Vec<u8>>) {
        let group = |slot: &u32| found.keys[*slot as usize].0;
        match keys {
            Keys::None => (vec![u32::MAX; picks.len()], Vec::new()),
            Keys::Each => {
                let series: Vec<u32> = picks.iter().map(group).collect();
                table.series().values_of(column, &series)
            }
            Keys::Groups(groups) => {
                let nth = self.key_place(column);
                let (codes, values) = groups.values(table.series(), nth);
                let of = |slot: &u32| codes.get(group(slot) as usize).copied().unwrap_or(u32::MAX);
                (picks.iter().map(of).collect(), values)
            }
        }
    }

    /// Place of a key column among those grouped by.
    fn key_place(&self, column: ColumnId) -> usize {
        let keys = self.groups.iter().filter(|group| matches!(group, GroupBy::Key(..)));
        keys.take_while(|group| !matches!(group, GroupBy::Key(id, _) if *id == column)).count()
    }

    /// One column of the result: a group, or behind the groups a measure.
    pub(crate) fn array(
        &self,
        nth: usize,
        found: &Aggregates,
        keys: &Keys,
        table: &Table,
        picks: &[u32],
    ) -> QueryResult<ArrayRef> {
        let zone = self.zone();
        match self.groups.get(nth) {
            Some(GroupBy::Bucket(buckets)) => {
                let micros = self.bucket_micros(*buckets, found, picks);
                Ok(Arc::new(TimestampMicrosecondArray::from(micros).with_timezone(zone)))
            }
            Some(GroupBy::Key(id, kind)) => {
                let (codes, values) = self.key_codes(*id, keys, table, found, picks);
                let values = arrays::key_values(*kind, &values, zone, true)?;
                let missing = values.len() as u32 - 1;
                let codes: Vec<u32> = codes.into_iter().map(|c| c.min(missing)).collect();
                Ok(take(&values, &UInt32Array::from(codes), None)?)
            }
            Some(GroupBy::Field(_, kind)) => split_values(found, picks, *kind, zone),
            None => {
                let measure = self.measures.get(nth - self.groups.len());
                let measure =
                    measure.ok_or_else(|| QueryError::internal("a measure that is not there"))?;
                self.measured(measure, found, picks)
            }
        }
    }

    fn measured(
        &self,
        measure: &Measure,
        found: &Aggregates,
        picks: &[u32],
    ) -> QueryResult<ArrayRef> {
        if let Some(case) = &measure.case {
            return self.cases(measure.function, case, found, picks);
        }
        let Some((id, kind)) = measure.column else {
            let rows = picks.iter().map(|slot| found.rows[*slot as usize] as i64);
            return Ok(Arc::new(Int64Array::from_iter_values(rows)));
        };
        let nth = self.columns().iter().position(|c| c.column == id);
        let column = nth.and_then(|nth| found.columns.get(nth));
        let column = column.ok_or_else(|| QueryError::internal("a column that was not read"))?;
        let counts = column.count();
        if measure.function == Function::Count {
            let counts = picks.iter().map(|slot| counts[*slot as usize] as i64);
            return Ok(Arc::new(Int64Array::from_iter_values(counts)));
        }
        let valid: Vec<bool> = picks.iter().map(|slot| counts[*slot as usize] > 0).collect();
        let nulls = valid.contains(&false).then(|| NullBuffer::from(valid));
        match column {
            ColumnAggregates::Int { of, .. } => {
                let at = |slot: &u32| *slot as usize;
                let values: Vec<i64> = match measure.function {
                    Function::Avg => {
                        let of = |s: &u32| of.sum[at(s)] as f64 / counts[at(s)] as f64;
                        return floats(picks.iter().map(of).collect(), nulls, ColumnType::Float64);
                    }
                    Function::Sum => {
                        let sum = |s: &u32| i64::try_from(of.sum[at(s)]);
                        let sums: Result<Vec<i64>, _> = picks.iter().map(sum).collect();
                        let sums = sums.map_err(|_| too_large())?;
                        return Ok(Arc::new(Int64Array::try_new(ScalarBuffer::from(sums), nulls)?));
                    }
                    Function::Min => picks.iter().map(|s| of.extremes.min[at(s)]).collect(),
                    Function::Max => picks.iter().map(|s| of.extremes.max[at(s)]).collect(),
                    Function::First => picks.iter().map(|s| of.first[at(s)].1).collect(),
                    Function::Last => picks.iter().map(|s| of.last[at(s)].1).collect(),
                    Function::Count => Vec::new(),
                };
                integers(values, nulls, kind, self.zone())
            }
            ColumnAggregates::Float { of, .. } => {
                let value = |slot: &u32| {
                    let at = *slot as usize;
                    match measure.function {
                        Function::Avg => of.sum[at] / counts[at] as f64,
                        Function::Sum => of.sum[at],
                        // NaN is above all numbers, and the least only where there is nothing else.
                        Function::Max if of.extremes.nan[at] => f64::NAN,
                        Function::Max => of.extremes.max[at],
                        Function::Min if of.extremes.min[at] > of.extremes.max[at] => f64::NAN,
                        Function::Min => of.extremes.min[at],
                        Function::First => of.first[at].1,
                        Function::Last => of.last[at].1,
                        Function::Count => 0.0,
                    }
                };
                let kind = match measure.function {
                    Function::Avg | Function::Sum => ColumnType::Float64,
                    _ => kind,
                };
                floats(picks.iter().map(value).collect(), nulls, kind)
            }
            ColumnAggregates::Other { .. } => {
                Err(QueryError::internal("a measure of a column that has none"))
            }
        }
    }
}

impl AggregateSpec {
    fn cases(
        &self,
        function: Function,
        case: &Case,
        found: &Aggregates,
        picks: &[u32],
    ) -> QueryResult<ArrayRef> {
        let nth = self.counted().iter().position(|test| *test == case.test);
        let passing = nth.and_then(|nth| found.passing.get(nth));
        let passing = passing.ok_or_else(|| QueryError::internal("a test that was not counted"))?;
        if function == Function::Count {
            let counts = picks.iter().map(|slot| passing[*slot as usize] as i64);
            return Ok(Arc::new(Int64Array::from_iter_values(counts)));
        }
        let value = |slot: &u32| {
            let (rows, yes) = (found.rows[*slot as usize], passing[*slot as usize]);
            let sum = case.yes * yes as f64 + case.no * (rows - yes) as f64;
            let value = if function == Function::Avg { sum / rows as f64 } else { sum };
            (rows > 0).then_some(value)
        };
        Ok(Arc::new(picks.iter().map(value).collect::<Float64Array>()))
    }
}

/// The values of the field that is grouped by.
fn split_values(
    found: &Aggregates,
    picks: &[u32],
    kind: ColumnType,
    zone: &str,
) -> QueryResult<ArrayRef> {
    let value = |slot: &u32| found.splits.get(found.keys[*slot as usize].2 as usize)?.as_ref();
    let valid: Vec<bool> = picks.iter().map(|slot| value(slot).is_some()).collect();
    let nulls = valid.contains(&false).then(|| NullBuffer::from(valid));
    if kind.physical() == PhysicalType::Float {
        let number = |slot: &u32| match value(slot) {
            Some(Value::Float(v)) => *v,
            _ => 0.0,
        };
        return floats(picks.iter().map(number).collect(), nulls, kind);
    }
    let number = |slot: &u32| match value(slot) {
        Some(Value::Int(v)) => *v,
        _ => 0,
    };
    integers(picks.iter().map(number).collect(), nulls, kind, zone)
}

fn too_large() -> QueryError {
    QueryError::new("22003", "bigint out of range")
        .with_hint("Sum as numbers with a fraction: sum(x::double precision).")
}

fn floats(values: Vec<f64>, nulls: Option<NullBuffer>, kind: ColumnType) -> QueryResult<ArrayRef> {
    Ok(match kind {
        ColumnType::Float32 => {
            let values: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
            Arc::new(Float32Array::try_new(ScalarBuffer::from(values), nulls)?)
        }
        _ => Arc::new(Float64Array::try_new(ScalarBuffer::from(values), nulls)?),
    })
}

fn integers(
    values: Vec<i64>,
    nulls: Option<NullBuffer>,
    kind: ColumnType,
    zone: &str,
) -> QueryResult<ArrayRef> {
    Ok(match kind {
        ColumnType::Int16 => {
            let values: Vec<i16> = values.into_iter().map(|v| v as i16).collect();
            Arc::new(Int16Array::try_new(ScalarBuffer::from(values), nulls)?)
        }
        ColumnType::Int32 => {
            let values: Vec<i32> = values.into_iter().map(|v| v as i32).collect();
            Arc::new(Int32Array::try_new(ScalarBuffer::from(values), nulls)?)
        }
        ColumnType::Timestamp => {
            let values: Vec<i64> = values.into_iter().map(arrays::micros).collect();
            let array = TimestampMicrosecondArray::try_new(ScalarBuffer::from(values), nulls)?;
            Arc::new(array.with_timezone(zone))
        }
        _ => Arc::new(Int64Array::try_new(ScalarBuffer::from(values), nulls)?),
    })
}
