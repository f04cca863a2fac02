//! What a filter means to a scan: a range of times, a set of series, bounds of fields.
//!
//! Times and keys are exact: DataFusion does not look at those filters again. A filter over
//! several keys is exact where it is made of AND and OR over expressions of one key column each,
//! since "is true" goes through AND and OR; any expression of one key column is evaluated once a
//! distinct value. Fields only prune.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::catalog::Session;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{
    Between, BinaryExpr, Cast, Expr, Operator, TableProviderFilterPushDown,
};
use tsdb::series::{Bitmap, KeyTest};
use tsdb::types::{ColumnId, ColumnType, Key, PhysicalType, TimeRange, Value, ValueRef};
use tsdb::{Comparison, FieldBound, FieldFilter, FieldTest, Literal, Table};

use super::{SeriesTable, Source, arrays, arrow_type};
use crate::error::QueryError;

/// What one filter says.
pub(crate) enum Meaning {
    /// Exactly these times.
    Times(TimeRange),
    /// At most these times.
    TimesAtMost(TimeRange),
    /// Exactly the series for which this is true.
    Keys(KeySet),
    /// Rows of which a field is within bounds at most, and exactly those that pass the test.
    Field { bound: Option<FieldBound>, test: Option<FieldFilter> },
    /// Nothing that a scan could use.
    Nothing,
}

/// A filter over keys.
pub(crate) enum KeySet {
    One { column: ColumnId, kind: ColumnType, name: String, expr: Expr },
    And(Box<KeySet>, Box<KeySet>),
    Or(Box<KeySet>, Box<KeySet>),
}

impl Meaning {
    pub(super) fn pushdown(&self) -> TableProviderFilterPushDown {
        match self {
            Meaning::Times(_) | Meaning::Keys(_) | Meaning::Field { test: Some(_), .. } => {
                TableProviderFilterPushDown::Exact
            }
            Meaning::TimesAtMost(_) | Meaning::Field { .. } => TableProviderFilterPushDown::Inexact,
            Meaning::Nothing => TableProviderFilterPushDown::Unsupported,
        }
    }
}

/// What all filters of a scan leave.
pub(crate) struct Selection {
    pub(crate) series: Option<Bitmap>,
    pub(crate) times: TimeRange,
    pub(super) bounds: Vec<FieldBound>,
    pub(super) filters: Vec<FieldFilter>,
}

/// Applies filters to the series and times of a table.
pub(crate) fn select(
    filters: &[Expr],
    provider: &SeriesTable,
    table: &Table,
    state: &dyn Session,
) -> Result<Selection> {
    let mut out =
        Selection { series: None, times: TimeRange::ALL, bounds: Vec::new(), filters: Vec::new() };
    for filter in filters {
        match analyze(filter, provider) {
            Meaning::Times(range) | Meaning::TimesAtMost(range) => {
                out.times = out.times.intersect(&range);
            }
            Meaning::Keys(keys) => {
                let found = keys.series(table, state)?;
                out.series = Some(match out.series {
                    Some(before) => before.and(&found),
                    None => found,
                });
            }
            Meaning::Field { bound, test } => {
                out.bounds.extend(bound);
                out.filters.extend(test);
            }
            Meaning::Nothing => {
                // DataFusion keeps filters that were not accepted; one that comes all the same
                // would be lost here, so it must be one that it applies again.
                debug_assert!(false, "a filter was pushed down unasked: {filter}");
            }
        }
    }
    Ok(out)
}

/// Share (0 to 1) of a span that lies in a range of times; `None` if they do not meet.
pub(crate) fn time_share(range: &TimeRange, span: &TimeRange) -> Option<f64> {
    let cut = range.intersect(span);
    let length = |range: &TimeRange| range.max as f64 - range.min as f64;
    (!cut.is_empty()).then(|| (length(&cut) / length(span).max(1.0)).clamp(0.0, 1.0))
}

/// Share of the rows (0 to 1) that filters may leave, guessed from their form.
pub(crate) fn share(
    filters: &[Expr],
    provider: &SeriesTable,
    span: &TimeRange,
    series: u32,
) -> f64 {
    let mut share = 1.0;
    for filter in filters {
        match analyze(filter, provider) {
            Meaning::Times(range) | Meaning::TimesAtMost(range) => {
                let Some(part) = time_share(&range, span) else { return 0.0 };
                share *= part.max(1e-9);
            }
            Meaning::Keys(keys) => share *= keys.share(series),
            Meaning::Field { .. } | Meaning::Nothing => {}
        }
    }
    share
}

/// Says what a filter means.
pub(crate) fn analyze(expr: &Expr, provider: &SeriesTable) -> Meaning {
    if !is_plain(expr) {
        return Meaning::Nothing;
    }
    analyze_plain(expr, provider)
}

/// Whether the filter depends on nothing but the row.
fn is_plain(expr: &Expr) -> bool {
    let mut plain = !expr.is_volatile();
    let walked = expr.apply(|e| {
        let open = matches!(
            e,
            Expr::ScalarSubquery(_)
                | Expr::InSubquery(_)
                | Expr::Exists(_)
                | Expr::OuterReferenceColumn(..)
                | Expr::Placeholder(_)
                | Expr::AggregateFunction(_)
                | Expr::WindowFunction(_)
        );
        plain &= !open;
        Ok(if open { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    plain && walked.is_ok()
}

fn analyze_plain(expr: &Expr, provider: &SeriesTable) -> Meaning {
    if let Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) = expr {
        let and = matches!(expr, Expr::BinaryExpr(BinaryExpr { op: Operator::And, .. }));
        let pair = (analyze_plain(left, provider), analyze_plain(right, provider));
        match (pair, and) {
            ((Meaning::Keys(a), Meaning::Keys(b)), true) => {
                return Meaning::Keys(KeySet::And(a.into(), b.into()));
            }
            ((Meaning::Keys(a), Meaning::Keys(b)), false) => {
                return Meaning::Keys(KeySet::Or(a.into(), b.into()));
            }
            ((Meaning::Times(a), Meaning::Times(b)), true) => {
                return Meaning::Times(a.intersect(&b));
            }
            ((Meaning::Times(a), Meaning::Times(b)), false) => {
                return Meaning::TimesAtMost(a.cover(&b));
            }
            _ => {}
        }
    } else if let Some(meaning) = times(expr, provider) {
        return meaning;
    }
    let columns: HashSet<&str> = expr.column_refs().iter().map(|c| c.name.as_str()).collect();
    let mut columns = columns.into_iter();
    if let (Some(name), None) = (columns.next(), columns.next()) {
        match provider.source(name) {
            Some(Source::Key(column, kind)) => {
                let (name, expr) = (name.to_string(), expr.clone());
                return Meaning::Keys(KeySet::One { column, kind, name, expr });
            }
            Some(Source::Field(column, kind)) => {
                // An exact test rules out all that a bound would.
                let test = test(expr, column, kind);
                let bound = if test.is_none() { bound(expr, column, kind) } else { None };
                if bound.is_some() || test.is_some() {
                    return Meaning::Field { bound, test };
                }
            }
            _ => {}
        }
    }
    Meaning::Nothing
}

/// A comparison of the time column with literals.
fn times(expr: &Expr, provider: &SeriesTable) -> Option<Meaning> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            if is_time(left, provider) {
                return compare(*op, literal_ns(right)?).map(Meaning::Times);
            }
            if is_time(right, provider) {
                return compare(op.swap()?, literal_ns(left)?).map(Meaning::Times);
            }
            None
        }
        Expr::Between(Between { expr, negated: false, low, high }) if is_time(expr, provider) => {
            let low = compare(Operator::GtEq, literal_ns(low)?)?;
            let high = compare(Operator::LtEq, literal_ns(high)?)?;
            Some(Meaning::Times(low.intersect(&high)))
        }
        Expr::InList(InList { expr, list, negated: false }) if is_time(expr, provider) => {
            let mut cover = TimeRange::EMPTY;
            for item in list {
                cover = cover.cover(&compare(Operator::Eq, literal_ns(item)?)?);
            }
            Some(Meaning::TimesAtMost(cover))
        }
        _ => None,
    }
}

/// The time column itself, or a cast of it that keeps every µs and its zone.
fn is_time(expr: &Expr, provider: &SeriesTable) -> bool {
    match expr {
        Expr::Column(column) => column.name == provider.table.time_name,
        Expr::Cast(Cast { expr, field }) => {
            let fine = matches!(
                field.data_type(),
                DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, Some(_))
            );
            fine && is_time(expr, provider)
        }
        _ => false,
    }
}

/// A literal time with a zone, ns since 1970.
fn literal_ns(expr: &Expr) -> Option<i128> {
    let Expr::Literal(value, _) = expr else { return None };
    match value {
        ScalarValue::TimestampSecond(Some(v), Some(_)) => Some(i128::from(*v) * 1_000_000_000),
        ScalarValue::TimestampMillisecond(Some(v), Some(_)) => Some(i128::from(*v) * 1_000_000),
        ScalarValue::TimestampMicrosecond(Some(v), Some(_)) => Some(i128::from(*v) * 1_000),
        ScalarValue::TimestampNanosecond(Some(v), Some(_)) => Some(i128::from(*v)),
        _ => None,
    }
}

/// The stored times (ns) whose µs compares so with `literal` (ns). Bounds saturate.
pub(crate) fn compare(op: Operator, literal: i128) -> Option<TimeRange> {
    let floor = literal.div_euclid(1_000);
    let whole = literal.rem_euclid(1_000) == 0;
    let ceil = floor + i128::from(!whole);
    let (low, high) = match op {
        Operator::GtEq => (Some(ceil), None),
        Operator::Gt => (Some(floor + 1), None),
        Operator::LtEq => (None, Some(floor)),
        Operator::Lt => (None, Some(ceil - 1)),
        Operator::Eq if whole => (Some(floor), Some(floor)),
        Operator::Eq => return Some(TimeRange::EMPTY),
        _ => return None,
    };
    let (least, most) = (i128::from(i64::MIN), i128::from(i64::MAX));
    let low = low.map_or(least, |us| us * 1_000);
    let high = high.map_or(most, |us| us * 1_000 + 999);
    if low > most || high < least {
        return Some(TimeRange::EMPTY);
    }
    Some(TimeRange::new(low.max(least) as i64, high.min(most) as i64))
}

/// A bound of a field out of a comparison with a literal.
fn bound(expr: &Expr, column: ColumnId, kind: ColumnType) -> Option<FieldBound> {
    let (op, value) = match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (&**left, &**right) {
            (left, Expr::Literal(value, _)) if is_field(left, kind) => (*op, value),
            (Expr::Literal(value, _), right) if is_field(right, kind) => (op.swap()?, value),
            _ => return None,
        },
        Expr::Between(Between { expr, negated: false, low, high }) if is_field(expr, kind) => {
            let (Expr::Literal(low, _), Expr::Literal(high, _)) = (&**low, &**high) else {
                return None;
            };
            let (min, _) = limits(low, kind)?;
            let (_, max) = limits(high, kind)?;
            return Some(FieldBound { column, min: Some(min), max: Some(max) });
        }
        _ => return None,
    };
    let (low, high) = limits(value, kind)?;
    let (min, max) = match op {
        Operator::Eq => (Some(low), Some(high)),
        Operator::Gt | Operator::GtEq => (Some(low), None),
        Operator::Lt | Operator::LtEq => (None, Some(high)),
        _ => return None,
    };
    Some(FieldBound { column, min, max })
}

/// An exact test of a field, where SQL and the engine compare alike.
fn test(expr: &Expr, column: ColumnId, kind: ColumnType) -> Option<FieldFilter> {
    let plain = |expr: &Expr| matches!(expr, Expr::Column(_));
    let test = match expr {
        Expr::IsNull(inner) if plain(inner) => FieldTest::Missing,
        Expr::IsNotNull(inner) if plain(inner) => FieldTest::Present,
        // What `b = true` and `b = false` are simplified to.
        Expr::Column(_) if kind == ColumnType::Bool => {
            FieldTest::Compare(Comparison::Equal, Literal::Bool(true))
        }
        Expr::Not(inner) if plain(inner) && kind == ColumnType::Bool => {
            FieldTest::Compare(Comparison::Equal, Literal::Bool(false))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (field, op, value) = match (&**left, &**right) {
                (field, Expr::Literal(value, _)) => (field, *op, value),
                (Expr::Literal(value, _), field) => (field, op.swap()?, value),
                _ => return None,
            };
            let whole = matches!(kind, ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64);
            let literal = match (value, compared_as(field, kind)?) {
                (ScalarValue::Boolean(Some(v)), DataType::Boolean) => Literal::Bool(*v),
                (ScalarValue::Float64(Some(v)), DataType::Float64) if !v.is_nan() => {
                    Literal::Float(*v)
                }
                (value, DataType::Int16 | DataType::Int32 | DataType::Int64) if whole => {
                    Literal::Int(integer(value)?)
                }
                _ => return None,
            };
            let comparison = match op {
                Operator::Lt => Comparison::Less,
                Operator::LtEq => Comparison::LessEqual,
                Operator::Gt => Comparison::Greater,
                Operator::GtEq => Comparison::GreaterEqual,
                Operator::Eq => Comparison::Equal,
                Operator::NotEq => Comparison::NotEqual,
                _ => return None,
            };
            FieldTest::Compare(comparison, literal)
        }
        _ => return None,
    };
    Some(FieldFilter { column, test })
}

/// The type that a field is compared as: its own, or one that it is cast to without loss, or an
/// integer to a float, which the engine does likewise.
fn compared_as(expr: &Expr, kind: ColumnType) -> Option<DataType> {
    match expr {
        Expr::Column(_) => Some(arrow_type(kind, "+00:00")),
        Expr::Cast(Cast { expr, field }) if matches!(**expr, Expr::Column(_)) => {
            let to = field.data_type();
            let fits = match kind {
                ColumnType::Int16 => {
                    matches!(to, DataType::Int32 | DataType::Int64 | DataType::Float64)
                }
                ColumnType::Int32 => matches!(to, DataType::Int64 | DataType::Float64),
                ColumnType::Int64 => matches!(to, DataType::Float64),
                _ => false,
            };
            fits.then(|| to.clone())
        }
        _ => None,
    }
}

/// The field, or a cast of it that keeps the order of all its values.
fn is_field(expr: &Expr, kind: ColumnType) -> bool {
    match expr {
        Expr::Column(_) => true,
        Expr::Cast(Cast { expr, field }) if matches!(**expr, Expr::Column(_)) => {
            let to = field.data_type();
            match kind {
                ColumnType::Int16 => {
                    matches!(to, DataType::Int32 | DataType::Int64 | DataType::Float64)
                }
                ColumnType::Int32 => matches!(to, DataType::Int64 | DataType::Float64),
                ColumnType::Int64 | ColumnType::Float32 => matches!(to, DataType::Float64),
                ColumnType::Text => to.is_string(),
                _ => false,
            }
        }
        _ => false,
    }
}

/// A literal as the stored values around it: at most it, at least it.
fn limits(value: &ScalarValue, kind: ColumnType) -> Option<(Value, Value)> {
    match kind.physical() {
        PhysicalType::Int if kind == ColumnType::Timestamp => {
            let ns = literal_ns(&Expr::Literal(value.clone(), None))?;
            let clamp = |v: i128| v.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64;
            // A µs stands for all its ns.
            Some((Value::Int(clamp(ns - 999)), Value::Int(clamp(ns + 999))))
        }
        PhysicalType::Int => {
            if let Some(v) = integer(value) {
                return Some((Value::Int(v), Value::Int(v)));
            }
            let v = float(value).filter(|v| v.abs() < 9e15)?;
            Some((Value::Int(v.floor() as i64), Value::Int(v.ceil() as i64)))
        }
        PhysicalType::Float => {
            let v = float(value).filter(|v| v.is_finite())?;
            match kind {
                // Single precision compares after widening; leave room for the rounding.
                ColumnType::Float32 => {
                    let slack = v.abs() * 1e-6 + f64::from(f32::MIN_POSITIVE);
                    Some((Value::Float(v - slack), Value::Float(v + slack)))
                }
                _ => Some((Value::Float(v), Value::Float(v))),
            }
        }
        PhysicalType::Bool => None,
        PhysicalType::Bytes => {
            let v = text(value)?.as_bytes().to_vec();
            Some((Value::Bytes(v.clone()), Value::Bytes(v)))
        }
    }
}

fn integer(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::Int8(v) => v.map(i64::from),
        ScalarValue::Int16(v) => v.map(i64::from),
        ScalarValue::Int32(v) => v.map(i64::from),
        ScalarValue::Int64(v) => *v,
        _ => None,
    }
}

fn float(value: &ScalarValue) -> Option<f64> {
    match value {
        ScalarValue::Float32(v) => v.map(f64::from),
        ScalarValue::Float64(v) => *v,
        other => integer(other).filter(|v| v.abs() < 1 << 53).map(|v| v as f64),
    }
}

fn text(value: &ScalarValue) -> Option<&str> {
    match value {
        ScalarValue::Utf8(v) | ScalarValue::LargeUtf8(v) | ScalarValue::Utf8View(v) => v.as_deref(),
        _ => None,
    }
}

impl KeySet {
    /// The series for which this is true.
    fn series(&self, table: &Table, state: &dyn Session) -> Result<Bitmap> {
        match self {
            KeySet::And(a, b) => Ok(a.series(table, state)?.and(&b.series(table, state)?)),
            KeySet::Or(a, b) => Ok(a.series(table, state)?.or(&b.series(table, state)?)),
            KeySet::One { column, kind, name, expr } => {
                let limit = table.series_count();
                if let Some(test) = direct(expr, *kind) {
                    return Ok(table.series().select(*column, &test, limit));
                }
                evaluate(*column, *kind, name, expr, table, state)
            }
        }
    }

    fn share(&self, series: u32) -> f64 {
        let one = 1.0 / f64::from(series.max(1));
        match self {
            KeySet::And(a, b) => a.share(series).min(b.share(series)),
            KeySet::Or(a, b) => (a.share(series) + b.share(series)).min(1.0),
            KeySet::One { expr, kind, .. } => match direct(expr, *kind) {
                Some(KeyTest::Equals(_)) => one,
                Some(KeyTest::In(list)) => (one * list.len() as f64).min(1.0),
                _ => 0.5,
            },
        }
    }
}

/// Tests that the index answers without evaluating anything.
fn direct(expr: &Expr, kind: ColumnType) -> Option<KeyTest> {
    let none = || KeyTest::In(Vec::new());
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            let literal = match (is_key(left, kind), is_key(right, kind)) {
                (true, false) => right,
                (false, true) => left,
                _ => return None,
            };
            let bytes = key_bytes(literal, kind)?;
            // No series holds an empty value: it is the missing one, which equals nothing.
            Some(if bytes.is_empty() { none() } else { KeyTest::Equals(bytes) })
        }
        Expr::InList(InList { expr, list, negated: false }) if is_key(expr, kind) => {
            let mut values = Vec::with_capacity(list.len());
            for item in list {
                let bytes = key_bytes(item, kind)?;
                if !bytes.is_empty() {
                    values.push(bytes);
                }
            }
            Some(KeyTest::In(values))
        }
        Expr::IsNull(inner) if is_key(inner, kind) => Some(KeyTest::Missing),
        Expr::IsNotNull(inner) if is_key(inner, kind) => Some(KeyTest::Present),
        _ => None,
    }
}

/// The key column itself, or a cast of a text to a text.
fn is_key(expr: &Expr, kind: ColumnType) -> bool {
    match expr {
        Expr::Column(_) => true,
        Expr::Cast(Cast { expr, field }) if kind == ColumnType::Text => {
            field.data_type().is_string() && is_key(expr, kind)
        }
        _ => false,
    }
}

/// A literal of the key's own type as keys hold it.
fn key_bytes(expr: &Expr, kind: ColumnType) -> Option<Vec<u8>> {
    let Expr::Literal(value, _) = expr else { return None };
    match kind {
        ColumnType::Text => text(value).map(|t| t.as_bytes().to_vec()),
        ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64 => {
            integer(value).map(|v| Key::encode_value(ValueRef::Int(v)))
        }
        ColumnType::Bool => match value {
            ScalarValue::Boolean(Some(v)) => Some(Key::encode_value(ValueRef::Bool(*v))),
            _ => None,
        },
        _ => None,
    }
}

/// Evaluates an expression of one key column once a distinct value (and once for NULL).
fn evaluate(
    column: ColumnId,
    kind: ColumnType,
    name: &str,
    expr: &Expr,
    table: &Table,
    state: &dyn Session,
) -> Result<Bitmap> {
    let limit = table.series_count();
    let zone = super::context(state)?.settings.zone().to_string();
    let values = table.series().distinct(column, limit);
    let array = arrays::key_values(kind, &values, &zone, true)?;
    let field = Field::new(name, arrow_type(kind, &zone), true);
    let schema = Arc::new(Schema::new(vec![field]));
    let df_schema = DFSchema::try_from(schema.clone())?;
    let bare = unqualified(expr)?;
    let physical = state.create_physical_expr(bare, &df_schema)?;
    let batch = RecordBatch::try_new(schema, vec![array])?;
    let result: ArrayRef = physical.evaluate(&batch)?.into_array(batch.num_rows())?;
    let Some(result) = result.as_boolean_opt() else {
        let message = "a filter over a key is not a boolean";
        return Err(QueryError::new("42804", message).into_datafusion());
    };
    let is_true = |result: &BooleanArray, i: usize| result.is_valid(i) && result.value(i);
    let missing = is_true(result, values.len());
    let kept: Vec<Vec<u8>> = values
        .iter()
        .enumerate()
        .filter(|(i, _)| is_true(result, *i))
        .map(|(_, v)| v.clone())
        .collect();
    if kept.len() == values.len() && missing {
        return Ok(table.series().all(limit));
    }
    let index = table.series();
    let mut out = match kept.len() == values.len() {
        true => index.select(column, &KeyTest::Present, limit),
        false => index.select(column, &KeyTest::In(kept), limit),
    };
    if missing {
        out.or_inplace(&index.select(column, &KeyTest::Missing, limit));
    }
    Ok(out)
}

/// Columns without the name of their table: the expression runs on a batch of its own.
fn unqualified(expr: &Expr) -> Result<Expr> {
    use datafusion::common::Column;
    use datafusion::common::tree_node::Transformed;
    let out = expr.clone().transform(|e| {
        Ok(match e {
            Expr::Column(c) if c.relation.is_some() => {
                Transformed::yes(Expr::Column(Column::new_unqualified(c.name)))
            }
            other => Transformed::no(other),
        })
    })?;
    Ok(out.data)
}

#[cfg(test)]
mod tests;
