//! What an aggregation over a table asks for: buckets, keys, conditions.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Aggregate, Expr};
use tsdb::types::{ColumnType, TimeRange};

use super::super::check;
use super::super::ladder::{BucketSpec, micros, micros_up};
use super::super::standing::Span;
use crate::functions;
use crate::native::{fixed_width, is_utc, leaf, truncated};
use crate::plan::PlanContext;
use crate::table::predicate::{self, Meaning};
use crate::table::{SeriesTable, Source};

/// A condition on rows of the table, with columns by their names alone.
pub(super) struct Condition {
    pub(super) expr: Expr,
    /// Whether it is one on keys, which the scan tells exactly.
    pub(super) keys: bool,
}

/// What is asked.
pub(super) struct Asked<'a> {
    pub(super) aggregate: &'a Aggregate,
    pub(super) table: SeriesTable,
    /// Place of the bucket among the groups.
    pub(super) bucket: usize,
    pub(super) cut: BucketSpec,
    /// The time that is cut, as the aggregation names it.
    pub(super) time: Column,
    /// Names of the keys that are grouped by, with their places among the groups.
    pub(super) keys: Vec<(usize, String)>,
    /// Times of the rows, µs.
    pub(super) times: Span,
    pub(super) conditions: Vec<Condition>,
    /// Whether times mean in the session what they mean in UTC.
    pub(super) utc: bool,
}

impl<'a> Asked<'a> {
    /// Reads an aggregation that the analyzer has seen; `None`: not one that aggregates answer.
    pub(super) fn of(aggregate: &'a Aggregate, context: &PlanContext) -> Result<Option<Asked<'a>>> {
        let Some((filters, scan)) = leaf(&aggregate.input) else { return Ok(None) };
        let provider = source_as_provider(&scan.source)?;
        let Some(table) = provider.downcast_ref::<SeriesTable>() else { return Ok(None) };
        if scan.projection.is_some() {
            return Ok(None);
        }
        let utc = is_utc(context.settings.zone());
        let (mut found, mut keys) = (None, Vec::new());
        for (place, expr) in aggregate.group_expr.iter().enumerate() {
            match check::bare(expr) {
                Expr::Column(column) => match table.source(&column.name) {
                    Some(Source::Key(..)) => keys.push((place, column.name.clone())),
                    _ => return Ok(None),
                },
                call => {
                    let simple = context.simplify(call.clone(), aggregate.input.schema())?;
                    let cut =
                        bucket(&simple, utc).filter(|(_, of)| of.name == table.table.time_name);
                    match cut {
                        Some(cut) if found.is_none() => found = Some((place, cut)),
                        _ => return Ok(None),
                    }
                }
            }
        }
        let Some((bucket, (cut, time))) = found else { return Ok(None) };
        let (mut times, mut conditions) = (TimeRange::ALL, Vec::new());
        for (filter, schema) in filters {
            let filter = context.simplify(filter, schema)?;
            if is_true(&filter) {
                continue;
            }
            let keys = match predicate::analyze(&filter, table) {
                Meaning::Times(range) => {
                    times = times.intersect(&range);
                    continue;
                }
                Meaning::Keys(_) => true,
                _ => false,
            };
            conditions.push(Condition { expr: by_name(&filter)?, keys });
        }
        if times.is_empty() {
            return Ok(None);
        }
        let from = if times.min == i64::MIN { i64::MIN } else { micros_up(times.min) };
        let to = if times.max == i64::MAX { i64::MAX } else { micros(times.max) + 1 };
        let (table, times) = (table.clone(), (from, to));
        Ok(Some(Asked { aggregate, table, bucket, cut, time, keys, times, conditions, utc }))
    }

    /// Whether an expression over the table means the same whatever the session's zone is.
    pub(super) fn is_zoneless(&self, expr: &Expr) -> bool {
        let is_time = |column: &&Column| match self.table.source(&column.name) {
            Some(Source::Time) => true,
            Some(Source::Key(_, kind) | Source::Field(_, kind)) => kind == ColumnType::Timestamp,
            _ => false,
        };
        // A time itself is the same everywhere; what is made of it may not be.
        let plain = |expr: &Expr| matches!(expr, Expr::Column(_));
        let fine = |expr: &Expr| plain(expr) || !expr.column_refs().iter().any(&is_time);
        self.utc
            || match expr {
                Expr::AggregateFunction(call) => {
                    let params = &call.params;
                    params.args.iter().all(fine)
                        && params.filter.iter().all(|filter| fine(filter.as_ref()))
                        && params.order_by.iter().all(|by| fine(&by.expr))
                }
                other => fine(other),
            }
    }
}

/// How a function cuts a column, if it cuts it as buckets of aggregates are cut.
fn bucket(expr: &Expr, utc: bool) -> Option<(BucketSpec, Column)> {
    let Expr::ScalarFunction(ScalarFunction { func, args }) = expr else { return None };
    let plain = |width: i64, origin: i64| BucketSpec::plain(width, origin);
    match (func.name(), &args[..]) {
        ("time_bucket", [_, _, more @ ..]) => {
            // A text that is no zone is a time of the session's clock.
            let fixed = |arg: &Expr| match arg {
                Expr::Literal(value, _) => match value.try_as_str() {
                    Some(text) => text.is_some_and(|text| functions::zone_of(text).is_ok()),
                    None => true,
                },
                _ => false,
            };
            (utc || more.iter().all(fixed))
                .then(|| check::bucket_of(std::slice::from_ref(expr)).ok())?
        }
        ("date_bin", [Expr::Literal(width, _), Expr::Column(of), more @ ..]) => {
            let ScalarValue::IntervalMonthDayNano(Some(width)) = width else { return None };
            let origin = match more {
                [] => 0,
                [Expr::Literal(ScalarValue::TimestampMicrosecond(Some(v), Some(_)), _)] => {
                    v.checked_mul(1_000)?
                }
                [Expr::Literal(ScalarValue::TimestampNanosecond(Some(v), Some(_)), _)] => *v,
                _ => return None,
            };
            let width = fixed_width(*width)?;
            (origin % 1_000 == 0).then(|| (plain(width, origin), of.clone()))
        }
        ("date_trunc", [Expr::Literal(unit, _), Expr::Column(of)]) if utc => {
            let buckets = truncated(unit.try_as_str()??)?;
            Some((plain(buckets.width, buckets.origin), of.clone()))
        }
        _ => None,
    }
}

/// Whether a condition leaves nothing out.
pub(super) fn is_true(condition: &Expr) -> bool {
    matches!(condition, Expr::Literal(ScalarValue::Boolean(Some(true)), _))
}

/// The expression without an alias, its columns by their names alone.
pub(super) fn by_name(expr: &Expr) -> Result<Expr> {
    let renamed = check::bare(expr).clone().transform(|expr| {
        Ok(match expr {
            Expr::Column(column) => {
                Transformed::yes(Expr::Column(Column::new_unqualified(column.name)))
            }
            other => Transformed::no(other),
        })
    })?;
    Ok(renamed.data)
}
