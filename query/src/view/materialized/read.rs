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
use super::groups::{Changed, GroupKeys, Groups, Of};
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
            return self.bind_definition(view, materialized, wanted, None);
        }
        // Which buckets hold belongs to the snapshot.
        self.mark_fleeting();
        self.scope.note_stored();
        let standing = Standing::of(&self.snapshot, views, view)?;
        let keys = self.group_keys(view, materialized, &standing)?;
        let changes = standing.changes(keys.as_ref(), RANGES_MAX)?;
        let mut plans = Vec::new();
        if let Some(done) = standing.done {
            let holes = changes.iter().map(|change| change.span).collect();
            let holds = Holds { span: within((i64::MIN, done), wanted), holes, without: None };
            plans.extend(self.stored(view, materialized, &standing, &holds)?);
        }
        let newest = (standing.done.unwrap_or(i64::MIN), i64::MAX);
        let newest = Changed { span: newest, groups: Groups::All };
        for change in changes.iter().chain([&newest]) {
            let (from, to) = within(change.span, wanted);
            let from = standing.oldest.map_or(from, |oldest| from.max(oldest));
            if from >= to {
                continue;
            }
            let of = match (&keys, &change.groups) {
                (Some(keys), Groups::Some(groups)) => Some(Of { keys, groups }),
                _ => None,
            };
            if of.is_some() {
                let holds = Holds { span: (from, to), holes: Vec::new(), without: of };
                plans.extend(self.stored(view, materialized, &standing, &holds)?);
            }
            plans.push(self.bind_definition(view, materialized, Some((from, to)), of)?);
        }
        let mut plans = plans.into_iter();
        let Some(first) = plans.next() else {
            let plan = self.bind_definition(view, materialized, None, None)?;
            let schema: DFSchemaRef = plan.schema().clone();
            return Ok(LogicalPlan::EmptyRelation(EmptyRelation {
                produce_one_row: false,
                schema,
            }));
        };
        let union = plans.try_fold(LogicalPlanBuilder::from(first), LogicalPlanBuilder::union)?;
        Ok(union.build()?)
    }

    /// The keys by which changed groups are told apart, where single series have changed. The view
    /// is open.
    pub(super) fn group_keys(
        &self,
        view: &Arc<View>,
        materialized: &Materialized,
        standing: &Standing,
    ) -> QueryResult<Option<GroupKeys>> {
        let some = !standing.watch.changed_of_some().is_empty();
        // Of one over another, series of the table are not followed through what is in between.
        if !some || materialized.over.is_some() || materialized.keys.is_empty() {
            return Ok(None);
        }
        let plan = self.in_utc()?.bind_query(&view.query, &view.text)?;
        GroupKeys::of(&plan, view, &standing.root, &standing.store)
    }

    /// Stored buckets that hold.
    fn stored(
        &self,
        view: &View,
        materialized: &Materialized,
        standing: &Standing,
        holds: &Holds<'_>,
    ) -> QueryResult<Option<LogicalPlan>> {
        let span = holds.span;
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
        filters.extend((span.0 > i64::MIN).then(|| bucket.clone().gt_eq(at(span.0, zone))));
        filters.extend((span.1 < i64::MAX).then(|| bucket.clone().lt(at(span.1, zone))));
        for (from, to) in &holds.holes {
            let before = bucket.clone().lt(at(*from, zone));
            filters.push(before.or(bucket.clone().gt_eq(at(*to, zone))));
        }
        if let Some(of) = holds.without {
            let stored = |name: &str| Column::new(Some(table.clone()), name);
            // A missing key makes the condition unknown.
            filters.push(Expr::IsNotTrue(Box::new(of.of_stored(stored)?)));
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

    /// The plan of the view's query over the rows of some buckets, or of all; of some groups, or
    /// of all.
    pub(super) fn bind_definition(
        &self,
        view: &Arc<View>,
        materialized: &Materialized,
        span: Option<Span>,
        of: Option<Of<'_>>,
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
            Some(span) => restrict(plan, span, of)?,
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

/// Stored rows that hold.
struct Holds<'a> {
    span: Span,
    /// Spans in it that do not.
    holes: Vec<Span>,
    /// Groups whose rows do not.
    without: Option<Of<'a>>,
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

/// A time as a literal.
pub(super) fn at(micros: i64, zone: &str) -> Expr {
    lit(ScalarValue::TimestampMicrosecond(Some(micros), Some(zone.into())))
}

/// The plan with only the rows of some buckets, and groups, below its aggregation.
fn restrict(plan: LogicalPlan, span: Span, of: Option<Of<'_>>) -> QueryResult<LogicalPlan> {
    let restricted = plan.transform_down(|node| {
        let LogicalPlan::Aggregate(aggregate) = node else { return Ok(Transformed::no(node)) };
        let (_, time) =
            check::bucket_of(&aggregate.group_expr).map_err(QueryError::into_datafusion)?;
        let mut input = LogicalPlanBuilder::from(aggregate.input.as_ref().clone());
        if let Some(of) = of {
            let key = |name: &str| {
                let mut columns =
                    aggregate.group_expr.iter().filter_map(|expr| match check::bare(expr) {
                        Expr::Column(column) => Some(column),
                        _ => None,
                    });
                columns.find(|column| column.name == name).cloned()
            };
            input = input.filter(of.of_table(key).map_err(QueryError::into_datafusion)?)?;
        }
        let input = input.build()?;
        let node = limited(aggregate, input, &time, span, "+00:00")?;
        Ok(Transformed::new(node, true, TreeNodeRecursion::Stop))
    })?;
    match restricted.transformed {
        true => Ok(restricted.data),
        false => Err(QueryError::internal("a continuous aggregate that does not aggregate")),
    }
}

/// The aggregation over those rows of `input`, which has the same columns as its own, whose `time`
/// is in a span; `zone` is that of the column's type.
pub(super) fn limited(
    aggregate: Aggregate,
    input: LogicalPlan,
    time: &Column,
    (from, to): Span,
    zone: &str,
) -> datafusion::common::Result<LogicalPlan> {
    let mut input = LogicalPlanBuilder::from(input);
    let column = Expr::Column(time.clone());
    if from > i64::MIN {
        input = input.filter(column.clone().gt_eq(at(from, zone)))?;
    }
    if to < i64::MAX {
        input = input.filter(column.lt(at(to, zone)))?;
    }
    let Aggregate { group_expr, aggr_expr, schema, .. } = aggregate;
    let input = Arc::new(input.build()?);
    Ok(LogicalPlan::Aggregate(Aggregate::try_new_with_schema(
        input, group_expr, aggr_expr, schema,
    )?))
}
