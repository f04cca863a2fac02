//! The newest row of each group of series: `SELECT DISTINCT ON (keys) columns FROM table WHERE …
//! ORDER BY keys, time DESC`, from the last-value cache.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{
    SortColumn, SortOptions, concat_batches, lexsort_to_indices, take_record_batch,
};
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::sql::sqlparser::ast::{Expr, OrderByExpr, SelectItem};

use super::syntax::{Scope, ordered_by};
use super::where_clause::Selection;
use crate::error::QueryResult;
use crate::plan::PlanContext;
use crate::plan::origins::{self, Origin};
use crate::table::{LastRows, Source};

/// Series whose newest rows one thread has before another would have taken over.
const SERIES_AT_ONCE: u64 = 2_000;
/// Series whose newest rows are sorted here; more are left to the operators that spill.
const SERIES_MAX: u64 = 100_000;

/// Newest rows, recognised.
pub(crate) struct NativeNewest {
    last: LastRows,
    /// Columns of the answer that it is sorted by.
    order: Vec<(usize, SortOptions)>,
}

impl NativeNewest {
    /// The newest rows, where they are what `on` and `order` ask for: no test of fields, no upper
    /// bound of time, groups of whole keys in an order of those keys and then the newest first.
    pub(super) fn new(
        scope: &Scope<'_>,
        selection: Selection,
        projection: Vec<usize>,
        on: &[Expr],
        order: &[OrderByExpr],
        list: &[SelectItem],
        context: &PlanContext,
    ) -> Option<NativeNewest> {
        let Selection { series, times, filters } = selection;
        if !filters.is_empty() || times.max != i64::MAX || !context.may_use_last_cache() {
            return None;
        }
        let mut keys = Vec::with_capacity(on.len());
        for expr in on {
            match scope.column(expr)? {
                Source::Key(id, _) if !keys.contains(&id) => keys.push(id),
                _ => return None,
            }
        }
        let (newest, by_keys) = order.split_last()?;
        let last = ordered_by(&newest.expr, list, scope)? == Source::Time;
        if !last || newest.options.asc != Some(false) || by_keys.len() != keys.len() {
            return None;
        }
        let mut sorted = Vec::with_capacity(keys.len());
        let mut seen = Vec::with_capacity(keys.len());
        for OrderByExpr { expr, options, with_fill } in by_keys {
            let source = ordered_by(expr, list, scope)?;
            let Source::Key(id, _) = source else { return None };
            if with_fill.is_some() || !keys.contains(&id) || seen.contains(&id) {
                return None;
            }
            seen.push(id);
            // Rows are sorted by columns of the answer.
            let at = projection.iter().position(|at| scope.provider.sources[*at] == source)?;
            let descending = options.asc == Some(false);
            let nulls_first = options.nulls_first.unwrap_or(descending);
            sorted.push((at, SortOptions { descending, nulls_first }));
        }
        let table = scope.table.clone();
        let series = series.unwrap_or_else(|| table.series().all(table.series_count()));
        if series.cardinality() > SERIES_MAX {
            return None;
        }
        let schema = Arc::new(scope.provider.schema.project(&projection).ok()?);
        let (provider, since) = (scope.provider.clone(), times);
        let last = LastRows { provider, table, series, on: keys, since, projection, schema };
        Some(NativeNewest { last, order: sorted })
    }

    /// Columns of the answer.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.last.schema
    }

    /// What the columns of the answer are.
    pub(super) fn origins(&self) -> Vec<Option<Origin>> {
        let provider = &self.last.provider;
        let origin = |at: &usize| origins::of_source(provider, provider.sources[*at]);
        self.last.projection.iter().map(origin).collect()
    }

    /// Whether the answer is there before another thread would have taken over.
    pub(crate) fn is_small(&self) -> bool {
        self.last.series.cardinality() <= SERIES_AT_ONCE
    }

    /// Series whose newest rows are read.
    pub(crate) fn series(&self) -> u64 {
        self.last.series.cardinality()
    }

    /// The reading in one line.
    pub(crate) fn described(&self) -> String {
        let table = &self.last.table.schema().name;
        format!("NewestRows: table={table}, series={}", self.series())
    }

    /// Reads and sorts all.
    pub(crate) fn read(&self) -> QueryResult<RecordBatch> {
        let batches = self.last.read()?.collect::<Result<Vec<_>>>()?;
        let rows = concat_batches(self.schema(), &batches)?;
        let by: Vec<SortColumn> = self
            .order
            .iter()
            .map(|(at, options)| SortColumn {
                values: rows.column(*at).clone(),
                options: Some(*options),
            })
            .collect();
        let picks = lexsort_to_indices(&by, None)?;
        Ok(take_record_batch(&rows, &picks)?)
    }
}
