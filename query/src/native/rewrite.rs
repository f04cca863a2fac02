//! Putting a native aggregation where a plan aggregates filters over one table.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{DFSchemaRef, Result, ScalarValue};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams, ScalarFunction};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    Aggregate, Cast, Expr, LogicalPlan, LogicalPlanBuilder, TableScan, TableType,
};
use datafusion::physical_plan::ExecutionPlan;
use tsdb::scan::aggregate::Buckets;
use tsdb::types::{ColumnId, ColumnType, TableId, TimeRange};
use tsdb::{FieldFilter, Snapshot};

use super::exec::AggregateExec;
use super::literal::{fixed_width, is_utc};
use super::spec::{AggregateSpec, Case, Function, GroupBy, Measure, is_number};
use super::syntax::{MONDAY, truncated};
use crate::error::QueryResult;
use crate::plan::PlanContext;
use crate::table::predicate::{self, Meaning};
use crate::table::{SeriesTable, Source, context, in_snapshot, last};

/// Puts native aggregations into a plan that the analyzer has seen.
pub(crate) fn rewrite(plan: LogicalPlan, context: &PlanContext) -> QueryResult<LogicalPlan> {
    Ok(plan
        .transform_down_with_subqueries(|node| match &node {
            LogicalPlan::Aggregate(aggregate) => match native(aggregate, context)? {
                Some(plan) => Ok(Transformed::new(plan, true, TreeNodeRecursion::Jump)),
                None => Ok(Transformed::no(node)),
            },
            _ => Ok(Transformed::no(node)),
        })?
        .data)
}

fn native(aggregate: &Aggregate, context: &PlanContext) -> Result<Option<LogicalPlan>> {
    let Some((filters, scan)) = leaf(&aggregate.input) else { return Ok(None) };
    let provider = source_as_provider(&scan.source)?;
    let Some(table) = provider.downcast_ref::<SeriesTable>() else { return Ok(None) };
    if scan.projection.is_some() {
        return Ok(None);
    }
    let reader = Reader { table, schema: aggregate.input.schema(), context };
    let (mut groups, mut measures) = (Vec::new(), Vec::new());
    for expr in &aggregate.group_expr {
        match reader.group(expr)? {
            Some(group) => groups.push(group),
            None => return Ok(None),
        }
    }
    for expr in &aggregate.aggr_expr {
        match reader.measure(expr)? {
            Some(measure) => measures.push(measure),
            None => return Ok(None),
        }
    }
    let (mut keys, mut times, mut tests) = (Vec::new(), TimeRange::ALL, Vec::new());
    for (filter, schema) in filters {
        // The optimiser has not run yet: a time is still a cast of its text.
        let filter = context.simplify(filter, schema)?;
        match predicate::analyze(&filter, table) {
            Meaning::Keys(_) => keys.push(filter),
            Meaning::Times(range) => times = times.intersect(&range),
            Meaning::Field { test: Some(test), .. } => tests.push(test),
            _ => return Ok(None),
        }
    }
    let spec = AggregateSpec { provider: table.clone(), times, filters: tests, groups, measures };
    let plain = keys.is_empty() && spec.filters.is_empty() && times == TimeRange::ALL;
    if spec.finest().is_err() || spec.split().is_err() || (plain && spec.counts_all()) {
        // A count of all rows is known without reading any.
        return Ok(None);
    }
    let types = spec.types();
    let fields = types.into_iter().zip(aggregate.schema.fields());
    let fields = fields.enumerate().map(|(i, (kind, field))| {
        (kind == *field.data_type()).then(|| Field::new(format!("c{i}"), kind, field.is_nullable()))
    });
    let Some(fields) = fields.collect::<Option<Vec<_>>>() else { return Ok(None) };
    let schema = Arc::new(Schema::new(fields));
    if schema.fields().len() != aggregate.schema.fields().len() {
        return Ok(None);
    }
    let source = provider_as_source(Arc::new(AggregatedRows { spec, keys, schema }));
    let plan = LogicalPlanBuilder::scan(scan.table_name.clone(), source, None)?.build()?;
    last::named_as(plan, &aggregate.schema)
}

/// Filters with the columns that they see, and the scan below them.
pub(crate) type Leaf<'a> = (Vec<(Expr, &'a DFSchemaRef)>, &'a TableScan);

/// The scan below filters, aliases, and lists of columns that keep their names, as views have.
pub(crate) fn leaf(plan: &LogicalPlan) -> Option<Leaf<'_>> {
    let mut filters = Vec::new();
    let mut node = plan;
    loop {
        node = match node {
            LogicalPlan::Filter(filter) => {
                let schema = filter.input.schema();
                let parts = split_conjunction(&filter.predicate);
                filters.extend(parts.into_iter().map(|part| (part.clone(), schema)));
                &filter.input
            }
            LogicalPlan::SubqueryAlias(inner) => &inner.input,
            LogicalPlan::Projection(inner) if inner.expr.iter().all(keeps_name) => &inner.input,
            LogicalPlan::TableScan(scan) if scan.filters.is_empty() && scan.fetch.is_none() => {
                return Some((filters, scan));
            }
            _ => return None,
        };
    }
}

/// Whether an expression is a column under its own name.
fn keeps_name(expr: &Expr) -> bool {
    match expr {
        Expr::Column(_) => true,
        Expr::Alias(alias) => match alias.expr.as_ref() {
            Expr::Column(column) => column.name == alias.name,
            _ => false,
        },
        _ => false,
    }
}

/// Reads expressions over one table.
struct Reader<'a> {
    table: &'a SeriesTable,
    schema: &'a DFSchemaRef,
    context: &'a PlanContext,
}

impl Reader<'_> {
    fn source(&self, expr: &Expr) -> Option<Source> {
        match expr {
            Expr::Column(column) => self.table.source(&column.name),
            _ => None,
        }
    }

    fn group(&self, expr: &Expr) -> Result<Option<GroupBy>> {
        if let Some(source) = self.source(expr) {
            return Ok(match source {
                Source::Key(id, kind) => Some(GroupBy::Key(id, kind)),
                Source::Field(id, kind) if is_number(kind) => Some(GroupBy::Field(id, kind)),
                _ => None,
            });
        }
        if !matches!(expr, Expr::ScalarFunction(_)) {
            return Ok(None);
        }
        let simple = self.context.simplify(expr.clone(), self.schema)?;
        let Expr::ScalarFunction(ScalarFunction { func, args }) = &simple else { return Ok(None) };
        Ok(self.bucket(func.name(), args).map(GroupBy::Bucket))
    }

    fn bucket(&self, name: &str, args: &[Expr]) -> Option<Buckets> {
        let is_time = |expr: &Expr| self.source(expr) == Some(Source::Time);
        match (name, args) {
            ("date_bin", [Expr::Literal(width, _), time]) if is_time(time) => {
                Some(Buckets { width: fixed(width)?, origin: 0 })
            }
            ("time_bucket", [Expr::Literal(width, _), time]) if is_time(time) => {
                Some(Buckets { width: fixed(width)?, origin: MONDAY })
            }
            (
                "date_bin" | "time_bucket",
                [Expr::Literal(width, _), time, Expr::Literal(origin, _)],
            ) if is_time(time) => {
                let origin = match origin {
                    ScalarValue::TimestampNanosecond(Some(v), Some(_)) => *v,
                    ScalarValue::TimestampMicrosecond(Some(v), Some(_)) => v.checked_mul(1_000)?,
                    _ => return None,
                };
                (origin % 1_000 == 0).then_some(Buckets { width: fixed(width)?, origin })
            }
            ("date_trunc", [Expr::Literal(unit, _), time])
                if is_time(time) && is_utc(self.context.settings.zone()) =>
            {
                truncated(unit.try_as_str()??)
            }
            _ => None,
        }
    }

    fn measure(&self, expr: &Expr) -> Result<Option<Measure>> {
        let expr = match expr {
            Expr::Alias(alias) => &alias.expr,
            other => other,
        };
        let Expr::AggregateFunction(AggregateFunction { func, params }) = expr else {
            return Ok(None);
        };
        let AggregateFunctionParams { args, distinct: false, filter, order_by, null_treatment } =
            params
        else {
            return Ok(None);
        };
        if !order_by.is_empty() || null_treatment.is_some() {
            return Ok(None);
        }
        Ok(match (filter, &args[..]) {
            (Some(test), [Expr::Literal(value, _)])
                if func.name() == "count" && !value.is_null() =>
            {
                let test = self.test(test)?;
                test.and_then(|test| {
                    Measure::of_case(Function::Count, Case { test, yes: 1.0, no: 0.0 })
                })
            }
            (Some(_), _) => None,
            (None, [case @ Expr::Case(_)]) => match func.name() {
                "avg" => self.case(Function::Avg, case)?,
                "sum" => self.case(Function::Sum, case)?,
                _ => None,
            },
            (None, args) => self.plain(func.name(), args),
        })
    }

    /// A condition as an exact test of one field.
    fn test(&self, condition: &Expr) -> Result<Option<FieldFilter>> {
        let condition = self.context.simplify(condition.clone(), self.schema)?;
        Ok(match predicate::analyze(&condition, self.table) {
            Meaning::Field { test, .. } => test,
            _ => None,
        })
    }

    /// `CASE WHEN test THEN number ELSE number END` of floats.
    fn case(&self, function: Function, case: &Expr) -> Result<Option<Measure>> {
        let number = |expr: &Expr| match expr {
            Expr::Literal(ScalarValue::Float64(Some(v)), _) if v.is_finite() => Some(*v),
            _ => None,
        };
        let Expr::Case(case) = case else { return Ok(None) };
        let (None, [(when, then)], Some(other)) =
            (&case.expr, &case.when_then_expr[..], &case.else_expr)
        else {
            return Ok(None);
        };
        let (Some(yes), Some(no)) = (number(then), number(other)) else { return Ok(None) };
        let test = self.test(when)?;
        Ok(test.and_then(|test| Measure::of_case(function, Case { test, yes, no })))
    }

    fn plain(&self, name: &str, args: &[Expr]) -> Option<Measure> {
        let function = Function::named(name)?;
        match (function, args) {
            (Function::Count, [Expr::Literal(value, _)]) if !value.is_null() => {
                Measure::new(function, None)
            }
            (Function::Count, [time]) if self.source(time) == Some(Source::Time) => {
                Measure::new(function, None)
            }
            (Function::First | Function::Last, [value, time])
                if self.source(time) == Some(Source::Time) =>
            {
                Measure::new(function, Some(self.field(value, function)?))
            }
            (Function::First | Function::Last, _) => None,
            (_, [value]) => Measure::new(function, Some(self.field(value, function)?)),
            _ => None,
        }
    }

    /// The field that is measured: itself, or cast as sums and means want it.
    fn field(&self, expr: &Expr, function: Function) -> Option<(ColumnId, ColumnType)> {
        match expr {
            Expr::Cast(Cast { expr, field }) => {
                let (id, kind) = self.field(expr, function)?;
                let whole =
                    matches!(kind, ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64);
                let fits = match (function, field.data_type()) {
                    (Function::Sum, DataType::Int64) => whole,
                    (Function::Sum, DataType::Float64) => kind == ColumnType::Float32,
                    (Function::Avg, DataType::Float64) => whole || kind == ColumnType::Float32,
                    _ => false,
                };
                fits.then_some((id, kind))
            }
            _ => match self.source(expr)? {
                Source::Field(id, kind) => Some((id, kind)),
                _ => None,
            },
        }
    }
}

/// The width of a bucket, ns.
fn fixed(width: &ScalarValue) -> Option<i64> {
    let ScalarValue::IntervalMonthDayNano(Some(width)) = width else { return None };
    fixed_width(*width)
}

/// A table of what an aggregation gives.
#[derive(Debug)]
pub(crate) struct AggregatedRows {
    spec: AggregateSpec,
    keys: Vec<Expr>,
    schema: SchemaRef,
}

impl AggregatedRows {
    /// The table that is aggregated.
    pub(crate) fn table_id(&self) -> TableId {
        self.spec.provider.table.id
    }

    /// Rows that are read, roughly.
    pub(crate) fn rows_read(&self, snapshot: &Snapshot) -> usize {
        let Some(table) = snapshot.table_by_id(self.table_id()) else { return 0 };
        let stats = table.stats();
        let series = table.series_count();
        let keys = predicate::share(&self.keys, &self.spec.provider, &stats.times, series);
        let times = predicate::time_share(&self.spec.times, &stats.times).unwrap_or(0.0);
        (stats.rows as f64 * keys * times) as usize
    }
}

#[async_trait]
impl TableProvider for AggregatedRows {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let context = context(state)?;
        let table = in_snapshot(&context.snapshot, &self.spec.provider.table)?;
        let selection = predicate::select(&self.keys, &self.spec.provider, &table, state)?;
        let all = || (0..self.schema.fields().len()).collect();
        let projection: Vec<usize> = projection.cloned().unwrap_or_else(all);
        let schema = Arc::new(self.schema.project(&projection)?);
        let streams = state.config().target_partitions();
        let zones = context.settings.is_on("millrace.use_zones");
        let exec = AggregateExec::new(
            self.spec.clone(),
            table,
            selection.series,
            (projection, schema),
            streams,
            zones,
        );
        Ok(Arc::new(exec.map_err(crate::error::QueryError::into_datafusion)?))
    }
}
