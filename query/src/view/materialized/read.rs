//! Reading a continuous aggregate: the stored buckets that hold, and all others computed out of
//! the table in the same snapshot, so that the answer is that of the plain query.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchemaRef, ScalarValue, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{
    Aggregate, EmptyRelation, Expr, LogicalPlan, LogicalPlanBuilder, cast, lit,
};
use tsdb::types::{ColumnType, TableSchema};

use super::super::{View, Views};
use super::ladder::Ladder;
use super::standing::{Span, Standing};
use super::{Materialized, check, store};
use crate::error::{QueryError, QueryResult};
use crate::plan::PlanContext;
use crate::table::{Extra, arrow_type};

/// Ranges that one statement computes out of the table beside the newest; beyond, near ones
/// become one.
const RANGES_MAX: usize = 8;

impl PlanContext {
    /// The plan of a continuous aggregate under the names of its columns. The view is open.
    pub(in crate::view) fn bind_materialized(
        &self,
        view: &Arc<View>,
        materialized: &Materialized,
        views: &Views,
        wanted: Option<Span>,
    ) -> QueryResult<LogicalPlan> {
        // What is wanted was said in the buckets of another, which need not be made of whole ones.
        let own = materialized.cut.buckets()?;
        let own = Ladder::new(vec![own]);
        let ceil = |at: i64| match at {
            i64::MIN | i64::MAX => Ok(at),
            at => own.ceil(at),
        };
        let wanted = match wanted {
            Some((from, to)) => Some((ceil(from)?, ceil(to)?)),
            None => None,
        };
        if self.scope.plain || !self.settings.is_on("millrace.use_materialized") {
            return self.bind_definition(view, materialized, wanted);
        }
        // Which buckets hold belongs to the snapshot.
        self.mark_fleeting();
        self.scope.note_stored();
        let standing = Standing::of(&self.snapshot, views, view)?;
        let changed = standing.changed(RANGES_MAX)?;
        let mut plans = Vec::new();
        if standing.done.is_some() {
            plans.extend(self.stored(view, materialized, &standing, &changed, wanted)?);
        }
        let newest = (standing.done.unwrap_or(i64::MIN), i64::MAX);
        for span in changed.into_iter().chain([newest]) {
            let (from, to) = within(span, wanted);
            let from = standing.oldest.map_or(from, |oldest| from.max(oldest));
            if from < to {
                plans.push(self.bind_definition(view, materialized, Some((from, to)))?);
            }
        }
        let mut plans = plans.into_iter();
        let Some(first) = plans.next() else {
            let plan = self.bind_definition(view, materialized, None)?;
            let schema: DFSchemaRef = plan.schema().clone();
            return Ok(LogicalPlan::EmptyRelation(EmptyRelation {
                produce_one_row: false,
                schema,
            }));
        };
        let union = plans.try_fold(LogicalPlanBuilder::from(first), LogicalPlanBuilder::union)?;
        Ok(union.build()?)
    }

    /// The stored buckets that hold.
    fn stored(
        &self,
        view: &View,
        materialized: &Materialized,
        standing: &Standing,
        changed: &[Span],
        wanted: Option<Span>,
    ) -> QueryResult<Option<LogicalPlan>> {
        let span = within((i64::MIN, standing.done.unwrap_or(i64::MIN)), wanted);
        if span.0 >= span.1 {
            return Ok(None);
        }
        let zone = self.settings.zone();
        let schema = standing.store.schema();
        let extra = Extra { quality: false, identity: false };
        let provider = self.engine.tables().provider(schema, zone, extra);
        let table = TableReference::bare(schema.name.clone());
        let column = |name: &str| Expr::Column(Column::new(Some(table.clone()), name));
        let source = provider_as_source(provider);
        let mut plan = LogicalPlanBuilder::scan(table.clone(), source, None)?;
        let bucket = column(&schema.time_name);
        let mut filters = Vec::new();
        filters.extend((span.0 > i64::MIN).then(|| bucket.clone().gt_eq(time(span.0, zone))));
        filters.extend((span.1 < i64::MAX).then(|| bucket.clone().lt(time(span.1, zone))));
        for (from, to) in changed {
            let before = bucket.clone().lt(time(*from, zone));
            filters.push(before.or(bucket.clone().gt_eq(time(*to, zone))));
        }
        for filter in filters {
            plan = plan.filter(filter)?;
        }
        let list = view.columns.iter().enumerate().map(|(at, shown)| {
            let stored = if at == materialized.bucket { &schema.time_name } else { &shown.name };
            column(stored).alias(&shown.name)
        });
        let list: Vec<Expr> = list.collect();
        Ok(Some(plan.project(list)?.build()?))
    }

    /// The plan of the view's query over the rows of some buckets, or of all.
    pub(super) fn bind_definition(
        &self,
        view: &Arc<View>,
        materialized: &Materialized,
        span: Option<Span>,
    ) -> QueryResult<LogicalPlan> {
        let store = store(&self.snapshot, view)?;
        self.scope.want(span);
        // Stored answers must not depend on who asks.
        let utc = self.in_utc()?;
        let bound = utc.bind_query(&view.query, &view.text);
        self.scope.want(None);
        let plan = bound?;
        if !utc.may_keep() {
            self.mark_fleeting();
        }
        let plan = match span {
            Some(span) => restrict(plan, span)?,
            None => plan,
        };
        let columns: Vec<(Option<TableReference>, Arc<arrow::datatypes::Field>)> =
            plan.schema().iter().map(|(table, field)| (table.cloned(), field.clone())).collect();
        if columns.len() != view.columns.len() {
            let message = format!("the query of \"{}\" has other columns now", view.name);
            return Err(QueryError::new("42P16", message));
        }
        let zone = self.settings.zone();
        let mut list = Vec::with_capacity(columns.len());
        for (at, (table, field)) in columns.into_iter().enumerate() {
            let shown = &view.columns[at].name;
            let kind = materialized.kind(at, shown, store.schema())?;
            let (expr, to) =
                (Expr::Column(Column::new(table, field.name())), arrow_type(kind, zone));
            if *field.data_type() == to {
                list.push(expr.alias(shown));
                continue;
            }
            // A column of the table may have got another type, by line protocol for example.
            let now = utc.result_schema(&plan)?;
            if check::stored_type(now.field(at).data_type()) != Some(kind) {
                let now = now.field(at).data_type();
                let message = format!("column \"{shown}\" is stored as {kind} and is {now} now");
                return Err(QueryError::new("42P16", message)
                    .with_hint("DROP MATERIALIZED VIEW, then create it again."));
            }
            list.push(cast(expr, to).alias(shown));
        }
        Ok(LogicalPlanBuilder::from(plan).project(list)?.build()?)
    }
}

impl Materialized {
    /// Type of the column at a place.
    pub(super) fn kind(
        &self,
        at: usize,
        name: &str,
        store: &TableSchema,
    ) -> QueryResult<ColumnType> {
        if at == self.bucket {
            return Ok(ColumnType::Timestamp);
        }
        store.column(name).map(|column| column.kind).ok_or_else(|| {
            QueryError::new("XX001", format!("stored rows have no column \"{name}\""))
        })
    }
}

fn within(span: Span, wanted: Option<Span>) -> Span {
    wanted.map_or(span, |wanted| (span.0.max(wanted.0), span.1.min(wanted.1)))
}

fn time(micros: i64, zone: &str) -> Expr {
    lit(ScalarValue::TimestampMicrosecond(Some(micros), Some(zone.into())))
}

/// The plan with only the rows of some buckets below its aggregation.
fn restrict(plan: LogicalPlan, (from, to): Span) -> QueryResult<LogicalPlan> {
    let restricted = plan.transform_down(|node| {
        let LogicalPlan::Aggregate(aggregate) = node else { return Ok(Transformed::no(node)) };
        let (_, of) =
            check::bucket_of(&aggregate.group_expr).map_err(QueryError::into_datafusion)?;
        let mut input = LogicalPlanBuilder::from(aggregate.input.as_ref().clone());
        let column = Expr::Column(of);
        if from > i64::MIN {
            input = input.filter(column.clone().gt_eq(time(from, "+00:00")))?;
        }
        if to < i64::MAX {
            input = input.filter(column.lt(time(to, "+00:00")))?;
        }
        let aggregate = Aggregate::try_new_with_schema(
            Arc::new(input.build()?),
            aggregate.group_expr,
            aggregate.aggr_expr,
            aggregate.schema,
        )?;
        let node = LogicalPlan::Aggregate(aggregate);
        Ok(Transformed::new(node, true, TreeNodeRecursion::Stop))
    })?;
    match restricted.transformed {
        true => Ok(restricted.data),
        false => Err(QueryError::internal("a continuous aggregate that does not aggregate")),
    }
}
