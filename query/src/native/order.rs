//! Sorting the slots of an aggregation by groups and measures, as numbers.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};
use tsdb::Table;
use tsdb::scan::aggregate::Aggregates;
use tsdb::types::ColumnType;

use super::spec::{AggregateSpec, GroupBy, Keys};
use crate::error::{QueryError, QueryResult};

/// One expression of ORDER BY: a column of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// Place among groups and measures.
    pub(crate) column: usize,
    pub(crate) descending: bool,
    pub(crate) nulls_first: bool,
}

/// Slots in the order wanted.
pub(crate) fn sorted(
    spec: &AggregateSpec,
    order: &[Order],
    found: &Aggregates,
    keys: &Keys,
    table: &Table,
) -> QueryResult<Vec<u32>> {
    let mut picks: Vec<u32> = (0..found.len() as u32).collect();
    if order.is_empty() {
        return Ok(picks);
    }
    let mut ranks = Vec::with_capacity(order.len());
    for by in order {
        let values = match spec.groups.get(by.column) {
            Some(GroupBy::Bucket(buckets)) => {
                let starts = spec.bucket_micros(*buckets, found, &picks);
                starts.into_iter().map(|v| Some(signed(v))).collect()
            }
            Some(GroupBy::Key(id, ColumnType::Text | ColumnType::Bytes)) => {
                let (codes, values) = spec.key_codes(*id, keys, table, found, &picks);
                by_text(&codes, &values)
            }
            _ => numbers(&spec.array(by.column, found, keys, table, &picks)?)?,
        };
        let rank = |value: Option<u64>| match value {
            None => u128::from(!by.nulls_first) << 65,
            Some(v) => 1 << 64 | u128::from(if by.descending { !v } else { v }),
        };
        ranks.push(values.into_iter().map(rank).collect::<Vec<u128>>());
    }
    picks.sort_by(|a, b| {
        let unlike = |rank: &Vec<u128>| {
            let order = rank[*a as usize].cmp(&rank[*b as usize]);
            order.is_ne().then_some(order)
        };
        ranks.iter().find_map(unlike).unwrap_or(std::cmp::Ordering::Equal)
    });
    Ok(picks)
}

/// Place of each text among the sorted distinct ones.
fn by_text(codes: &[u32], values: &[Vec<u8>]) -> Vec<Option<u64>> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|a, b| values[*a].cmp(&values[*b]));
    let mut place = vec![0u64; values.len()];
    for (rank, code) in (0u64..).zip(&order) {
        place[*code] = rank;
    }
    codes.iter().map(|code| place.get(*code as usize).copied()).collect()
}

fn signed(value: i64) -> u64 {
    (value as u64) ^ (1 << 63)
}

/// IEEE 754 total order; NaN of either sign is above all numbers, zeros are equal.
fn float(value: f64) -> u64 {
    let value = if value == 0.0 { 0.0 } else { value };
    if value.is_nan() {
        return u64::MAX;
    }
    let bits = value.to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

fn numbers(array: &ArrayRef) -> QueryResult<Vec<Option<u64>>> {
    macro_rules! values {
        ($kind:ty, $to:expr) => {
            array.as_primitive::<$kind>().iter().map(|v| v.map($to)).collect()
        };
    }
    Ok(match array.data_type() {
        DataType::Int16 => values!(Int16Type, |v| signed(i64::from(v))),
        DataType::Int32 => values!(Int32Type, |v| signed(i64::from(v))),
        DataType::Int64 => values!(Int64Type, signed),
        DataType::Float32 => values!(Float32Type, |v| float(f64::from(v))),
        DataType::Float64 => values!(Float64Type, float),
        DataType::Timestamp(TimeUnit::Microsecond, _) => values!(TimestampMicrosecondType, signed),
        DataType::Boolean => array.as_boolean().iter().map(|v| v.map(u64::from)).collect(),
        other => return Err(QueryError::internal(format!("sorting a native column of {other}"))),
    })
}
