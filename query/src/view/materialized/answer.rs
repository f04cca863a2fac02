//! Aggregations over a table, answered out of its continuous aggregates.
//!
//! An aggregation by buckets of time becomes a union: of stored rows, taken as they are or rolled
//! up, for the buckets that an aggregate has stored and that have not changed since, and of the same
//! aggregation over the table for all other buckets. A bucket is answered by one side only, so
//! nothing is put together that was computed apart, but for what rolls up exactly.
//!
//! Invariants
//! - The answer is that of the plain statement in the same snapshot: buckets that retention has
//!   touched, here or there, come out of the table.
//! - Rolled up are counts, sums of integers, least and greatest values, `bool_and` and `bool_or`.
//!   Everything else, sums and means of floats above all, is taken as it is stored or not at all.
//! - What is not surely understood is left as it is; an error while looking for an aggregate too.

mod asked;
mod span;
mod stored;

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, LogicalPlanBuilder};
use tsdb::Table;

use super::super::{View, Views};
use super::ladder::BucketSpec;
use super::read::limited;
use super::standing::Standing;
use crate::error::{QueryError, QueryResult};
use crate::native::{GroupBy, NativeAggregate};
use crate::plan::PlanContext;
use crate::rights::Object;
use crate::table;
use asked::Asked;
use span::Split;
use stored::Stored;

/// Rows that an aggregate must spare for each one of its own that is read.
const GAIN: f64 = 8.0;

/// Whether what is stored may answer the statement where it asks for rows of this table, by one
/// look at the table.
///
/// Stored rows are made of all rows of the table: who may not read all of them must not be
/// answered out of stored ones. This is the one place to say so.
fn may_answer(context: &PlanContext, table: &Table) -> bool {
    // Watches are of aggregates alone, and mostly there are none.
    table.watch_count() > 0
        && is_on(context)
        && context.reads_plainly(Object::Table(table.schema().id), &table.schema().name)
}

fn is_on(context: &PlanContext) -> bool {
    let settings = &context.settings;
    settings.is_on("millrace.use_aggregates")
        && settings.is_on("millrace.use_materialized")
        && !settings.is_on("millrace.skip_quarantined")
        && !context.changes
        && !context.scope.plain
        && !context.scope.in_view()
}

/// Whether a native statement had better be planned: an aggregate of its table may answer it.
pub(crate) fn may_help(native: &NativeAggregate, context: &PlanContext) -> bool {
    if !may_answer(context, &native.table) || native.reads_top() {
        return false;
    }
    if native.rows_about() < context.settings.aggregate_rows_min() {
        return false;
    }
    let mut buckets = native.spec.groups.iter().filter_map(|group| match group {
        GroupBy::Bucket(buckets) => Some(*buckets),
        GroupBy::Key(..) | GroupBy::Field(..) => None,
    });
    let (Some(buckets), None) = (buckets.next(), buckets.next()) else { return false };
    let cut = BucketSpec::plain(buckets.width, buckets.origin);
    let Ok(views) = context.engine.views().of(&context.snapshot) else { return false };
    let root = native.table.schema().id;
    views.list.iter().filter_map(|view| view.materialized.as_ref()).any(|materialized| {
        materialized.root == root && materialized.over.is_none() && materialized.cut.divides(&cut)
    })
}

/// Puts stored rows into a plan that the analyzer has seen.
pub(crate) fn rewrite(plan: LogicalPlan, context: &PlanContext) -> QueryResult<LogicalPlan> {
    if !watched(&plan, context)? || !is_on(context) {
        return Ok(plan);
    }
    let views = context.engine.views().of(&context.snapshot)?;
    Ok(plan
        .transform_down_with_subqueries(|node| {
            let LogicalPlan::Aggregate(aggregate) = &node else { return Ok(Transformed::no(node)) };
            match answered(aggregate, context, &views) {
                Some(plan) => Ok(Transformed::new(plan, true, TreeNodeRecursion::Jump)),
                None => Ok(Transformed::no(node)),
            }
        })?
        .data)
}

/// Whether the plan reads a table that has aggregates.
fn watched(plan: &LogicalPlan, context: &PlanContext) -> QueryResult<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(table) = table::id_of(scan).and_then(|id| context.snapshot.table_by_id(id))
        {
            found |= table.watch_count() > 0;
        }
        Ok(match found {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    })?;
    Ok(found)
}

/// An aggregate that may answer.
struct Candidate<'a> {
    view: &'a Arc<View>,
    standing: Standing,
    split: Split,
    /// Its rows that are read.
    rows: f64,
}

fn answered(aggregate: &Aggregate, context: &PlanContext, views: &Views) -> Option<LogicalPlan> {
    let asked = Asked::of(aggregate, context).ok().flatten()?;
    let table = context.snapshot.table_by_id(asked.table.table.id)?;
    if !may_answer(context, &table) {
        return None;
    }
    let mut candidates = Vec::new();
    for view in &views.list {
        candidates.extend(candidate(&asked, context, views, view).ok().flatten());
    }
    // The fewest rows first.
    candidates.sort_by(|a, b| a.rows.total_cmp(&b.rows));
    candidates.iter().find_map(|candidate| {
        let plan = answer(&asked, context, candidate).ok().flatten()?;
        context.scope.note_stored();
        context.scope.note_answered(&candidate.view.name, candidate.split.bounds());
        Some(plan)
    })
}

/// The view, if its buckets fit, and so much of it is stored that reading it is surely cheaper.
fn candidate<'a>(
    asked: &Asked<'_>,
    context: &PlanContext,
    views: &Views,
    view: &'a Arc<View>,
) -> QueryResult<Option<Candidate<'a>>> {
    let Some(materialized) = &view.materialized else { return Ok(None) };
    if materialized.root != asked.table.table.id || materialized.over.is_some() {
        return Ok(None);
    }
    let standing = Standing::of(&context.snapshot, views, view)?;
    let Some(split) = Split::of(asked, &standing, &materialized.cut)? else { return Ok(None) };
    let (spared, rows) = (split.rows(&standing.root), split.rows(&standing.store));
    let least = context.settings.aggregate_rows_min();
    let cheap = least == 0 || (spared >= least as f64 && spared >= rows * GAIN);
    Ok(cheap.then_some(Candidate { view, standing, split, rows }))
}

/// The union of what is stored and what is not.
fn answer(
    asked: &Asked<'_>,
    context: &PlanContext,
    candidate: &Candidate<'_>,
) -> QueryResult<Option<LogicalPlan>> {
    let (view, standing, split) = (candidate.view, &candidate.standing, &candidate.split);
    let Some(stored) = Stored::of(asked, context, view, standing, split.same)? else {
        return Ok(None);
    };
    let mut parts = Vec::new();
    for span in &split.stored {
        parts.push((span.0, stored.plan(asked, context, *span)?));
    }
    let zone = context.settings.zone();
    for span in &split.table {
        let aggregate = asked.aggregate.clone();
        let input = aggregate.input.as_ref().clone();
        let plan = limited(aggregate, input, &asked.time, *span, zone)?;
        let schema = plan.schema().clone();
        let columns = (0..schema.fields().len())
            .map(|at| Expr::Column(schema.qualified_field(at).into()).alias(place(at)));
        let columns: Vec<Expr> = columns.collect();
        parts.push((span.0, LogicalPlanBuilder::from(plan).project(columns)?.build()?));
    }
    parts.sort_by_key(|(from, _)| *from);
    let mut parts = parts.into_iter().map(|(_, plan)| plan);
    let first = parts.next().ok_or_else(|| QueryError::internal("an answer of no parts"))?;
    let union = parts.try_fold(LogicalPlanBuilder::from(first), LogicalPlanBuilder::union)?;
    Ok(table::last::named_as(union.build()?, &asked.aggregate.schema)?)
}

/// Name of a column of all parts.
fn place(at: usize) -> String {
    format!("c{at}")
}
