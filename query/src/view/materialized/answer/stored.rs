//! What the stored rows of an aggregate answer of an aggregation over its table: as they are, where
//! groups are theirs one by one, else rolled up.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, cast, lit, when,
};
use tsdb::types::TableSchema;

use super::super::super::{Open, View};
use super::super::standing::{Span, Standing};
use super::super::{check, read};
use super::asked::{Asked, by_name};
use super::place;
use crate::error::{QueryError, QueryResult};
use crate::native::leaf;
use crate::plan::PlanContext;
use crate::table::Extra;
use crate::table::predicate::{self, Meaning};

/// Where a measure comes from.
struct Measure {
    /// Name of the stored column.
    column: String,
    /// How stored values of one group become one; `None`: there is one.
    roll: Option<Roll>,
}

#[derive(Clone, Copy, PartialEq)]
enum Roll {
    /// Sum, of counts and integers.
    Sum,
    /// The function itself, of what it has given.
    Again,
}

/// How an aggregate answers.
pub(super) struct Stored {
    schema: Arc<TableSchema>,
    /// Keys by their names in the table, with those of the stored columns.
    keys: Vec<(String, String)>,
    measures: Vec<Measure>,
    /// Conditions on keys that are not the aggregate's own.
    conditions: Vec<Expr>,
    /// Whether groups are stored rows.
    same: bool,
}

/// The query of an aggregate, read.
struct Definition {
    /// Conditions of its WHERE.
    conditions: Vec<Expr>,
    /// Its measures with their places among its columns.
    measures: Vec<(Expr, usize)>,
    /// Its keys by their names in the table, with their places.
    keys: Vec<(usize, String)>,
}

impl Definition {
    fn of(
        asked: &Asked<'_>,
        context: &PlanContext,
        view: &Arc<View>,
    ) -> QueryResult<Option<Definition>> {
        let utc = context.in_utc()?;
        context.scope.open.lock().push(Open::of(view));
        let bound = utc.bind_query(&view.query, &view.text);
        context.scope.open.lock().pop();
        let plan = utc.analyzed(bound?)?;
        let keys = check::key_columns(&plan)?;
        // HAVING leaves groups out.
        let LogicalPlan::Projection(list) = &plan else { return Ok(None) };
        let LogicalPlan::Aggregate(aggregate) = list.input.as_ref() else { return Ok(None) };
        let mut measures = Vec::new();
        for (nth, expr) in aggregate.aggr_expr.iter().enumerate() {
            let at = aggregate.group_expr.len() + nth;
            let found = Expr::Column(aggregate.schema.qualified_field(at).into());
            let place = list.expr.iter().position(|shown| *check::bare(shown) == found);
            if let Some(place) = place {
                measures.push((by_name(expr)?, place));
            }
        }
        let Some((filters, _)) = leaf(&aggregate.input) else { return Ok(None) };
        let mut conditions = Vec::new();
        for (filter, schema) in filters {
            let filter = utc.simplify(filter, schema)?;
            if let Meaning::Times(_) | Meaning::TimesAtMost(_) =
                predicate::analyze(&filter, &asked.table)
            {
                return Ok(None);
            }
            conditions.push(by_name(&filter)?);
        }
        Ok(Some(Definition { conditions, measures, keys }))
    }
}

impl Stored {
    /// How an aggregate answers; `None`: it does not.
    pub(super) fn of(
        asked: &Asked<'_>,
        context: &PlanContext,
        view: &Arc<View>,
        standing: &Standing,
        same_buckets: bool,
    ) -> QueryResult<Option<Stored>> {
        let Some(definition) = Definition::of(asked, context, view)? else { return Ok(None) };
        let schema = standing.store.schema().clone();
        let shown = |place: usize| view.columns.get(place).map(|column| column.name.clone());
        let keys = definition.keys.iter().map(|(at, name)| Some((name.clone(), shown(*at)?)));
        let Some(keys) = keys.collect::<Option<Vec<_>>>() else { return Ok(None) };
        let has = |name: &str| keys.iter().any(|(own, _)| own == name);
        if !asked.keys.iter().all(|(_, name)| has(name)) {
            return Ok(None);
        }
        let grouped = |name: &str| asked.keys.iter().any(|(_, own)| own == name);
        let same = same_buckets && keys.iter().all(|(name, _)| grouped(name));
        let Some(conditions) = rest(asked, &definition, &has) else { return Ok(None) };
        let mut measures = Vec::new();
        for (nth, expr) in asked.aggregate.aggr_expr.iter().enumerate() {
            let field = asked.aggregate.schema.field(asked.aggregate.group_expr.len() + nth);
            let wanted = by_name(expr)?;
            let found = definition.measures.iter().find(|(own, _)| *own == wanted);
            let Some((_, at)) = found.filter(|_| asked.is_zoneless(&wanted)) else {
                return Ok(None);
            };
            let Some(column) = shown(*at) else { return Ok(None) };
            // A column of the table may have got another type.
            let kind = schema.column(&column).map(|column| column.kind);
            if kind.is_none() || check::stored_type(field.data_type()) != kind {
                return Ok(None);
            }
            let counts = *field.data_type() == DataType::Int64;
            if !field.is_nullable() && !counts {
                return Ok(None);
            }
            let roll = match same {
                true => None,
                false => match roll(&wanted, field.data_type()) {
                    Some(roll) => Some(roll),
                    None => return Ok(None),
                },
            };
            measures.push(Measure { column, roll });
        }
        Ok(Some(Stored { schema, keys, measures, conditions, same }))
    }

    /// The stored rows of a span as the aggregation gives its groups.
    pub(super) fn plan(
        &self,
        asked: &Asked<'_>,
        context: &PlanContext,
        (from, to): Span,
    ) -> QueryResult<LogicalPlan> {
        let zone = context.settings.zone();
        let provider = context.engine.tables().provider(&self.schema, zone, Extra::default());
        let table = TableReference::bare(self.schema.name.clone());
        let mut plan = LogicalPlanBuilder::scan(table.clone(), provider_as_source(provider), None)?;
        let time = Expr::Column(Column::new(Some(table.clone()), &self.schema.time_name));
        plan = plan.filter(time.clone().gt_eq(read::at(from, zone)))?;
        plan = plan.filter(time.clone().lt(read::at(to, zone)))?;
        for condition in &self.conditions {
            plan = plan.filter(self.of_stored(condition, asked, &table)?)?;
        }
        let (plan, list) = match self.same {
            true => (plan, self.as_they_are(asked, &table)?),
            false => self.rolled_up(plan, asked, &table)?,
        };
        let fields = asked.aggregate.schema.fields();
        let mut columns = Vec::with_capacity(list.len());
        for (at, (expr, field)) in list.into_iter().zip(fields).enumerate() {
            let expr = match expr.get_type(plan.schema())? == *field.data_type() {
                true => expr,
                false => cast(expr, field.data_type().clone()),
            };
            let measured = at >= asked.aggregate.group_expr.len();
            let expr = match measured && !field.is_nullable() {
                // A count is never missing.
                true => when(expr.clone().is_not_null(), expr).otherwise(lit(0i64))?,
                false => expr,
            };
            columns.push(expr.alias(place(at)));
        }
        Ok(plan.project(columns)?.build()?)
    }

    /// Stored rows as groups.
    fn as_they_are(&self, asked: &Asked<'_>, table: &TableReference) -> QueryResult<Vec<Expr>> {
        let mut list = Vec::new();
        for (nth, group) in asked.aggregate.group_expr.iter().enumerate() {
            list.push(match nth == asked.bucket {
                true => Expr::Column(Column::new(Some(table.clone()), &self.schema.time_name)),
                false => self.of_stored(check::bare(group), asked, table)?,
            });
        }
        for measure in &self.measures {
            list.push(Expr::Column(Column::new(Some(table.clone()), &measure.column)));
        }
        Ok(list)
    }

    /// Groups of stored rows, and what each column of the answer is of them.
    fn rolled_up(
        &self,
        plan: LogicalPlanBuilder,
        asked: &Asked<'_>,
        table: &TableReference,
    ) -> QueryResult<(LogicalPlanBuilder, Vec<Expr>)> {
        let groups = asked.aggregate.group_expr.iter().map(check::bare);
        let groups = groups.map(|group| self.of_stored(group, asked, table));
        let groups = groups.collect::<Result<Vec<_>>>()?;
        let mut measures = Vec::with_capacity(self.measures.len());
        for (nth, measure) in self.measures.iter().enumerate() {
            let column = Expr::Column(Column::new(Some(table.clone()), &measure.column));
            let func = match (measure.roll, check::bare(&asked.aggregate.aggr_expr[nth])) {
                (Some(Roll::Again), Expr::AggregateFunction(call)) => call.func.clone(),
                (Some(Roll::Sum), _) => sum_udaf(),
                _ => return Err(QueryError::internal("a measure that does not roll up")),
            };
            let call =
                AggregateFunction::new_udf(func, vec![column], false, None, Vec::new(), None);
            measures.push(Expr::AggregateFunction(call).alias(format!("m{nth}")));
        }
        let plan = plan.aggregate(groups, measures)?;
        let schema = plan.schema();
        let columns = (0..schema.fields().len()).map(|at| schema.qualified_field(at));
        let list = columns.map(|column| Expr::Column(column.into())).collect();
        Ok((plan, list))
    }

    /// An expression over the table as one over the stored rows.
    fn of_stored(&self, expr: &Expr, asked: &Asked<'_>, table: &TableReference) -> Result<Expr> {
        let renamed = expr.clone().transform(|expr| {
            let Expr::Column(column) = &expr else { return Ok(Transformed::no(expr)) };
            let key = self.keys.iter().find(|(name, _)| *name == column.name);
            let name = match key {
                Some((_, stored)) => stored,
                None if column.name == asked.time.name => &self.schema.time_name,
                None => {
                    let message = format!("no stored column is \"{}\"", column.name);
                    return Err(QueryError::internal(message).into_datafusion());
                }
            };
            Ok(Transformed::yes(Expr::Column(Column::new(Some(table.clone()), name))))
        })?;
        Ok(renamed.data)
    }
}

/// What is asked beyond the aggregate's own conditions; `None` where its rows cannot tell, or where
/// it leaves out rows that are asked for.
fn rest(
    asked: &Asked<'_>,
    definition: &Definition,
    has_key: &dyn Fn(&str) -> bool,
) -> Option<Vec<Expr>> {
    let mut own = definition.conditions.clone();
    let mut rest = Vec::new();
    for condition in &asked.conditions {
        if let Some(at) = own.iter().position(|own| *own == condition.expr) {
            if !asked.is_zoneless(&condition.expr) {
                return None;
            }
            own.remove(at);
            continue;
        }
        // A condition may be there twice.
        if definition.conditions.contains(&condition.expr) {
            continue;
        }
        let columns = condition.expr.column_refs();
        if !condition.keys || !columns.iter().all(|column| has_key(&column.name)) {
            return None;
        }
        rest.push(condition.expr.clone());
    }
    own.is_empty().then_some(rest)
}

/// How what a measure has given of parts of a group becomes what it gives of the whole; `None`
/// where that would not be the same to the last bit.
fn roll(measure: &Expr, kind: &DataType) -> Option<Roll> {
    let Expr::AggregateFunction(call) = measure else { return None };
    let params = &call.params;
    if params.distinct || !params.order_by.is_empty() || params.null_treatment.is_some() {
        return None;
    }
    match call.func.name() {
        "count" => Some(Roll::Sum),
        "sum" if *kind == DataType::Int64 => Some(Roll::Sum),
        "min" | "max" | "bool_and" | "bool_or" => Some(Roll::Again),
        _ => None,
    }
}
