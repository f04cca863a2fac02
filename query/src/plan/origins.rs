//! Which column of which table or view a column of a result is, as RowDescription tells it.
//!
//! As in Postgres a column keeps its origin through subqueries, WITH, joins, grouping and sorting;
//! what is computed, cast or made by UNION has none. A view is an origin of its own: what its
//! query reads is not told.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, JoinType, TableReference};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, TableScan};
use tsdb::types::TableSchema;

use crate::catalog::{self, functions::names::Register};
use crate::relational::def::TableDef;
use crate::relational::provider::RelationTable;
use crate::table::{SeriesTable, Source};

/// A column of a table or view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// `pg_class.oid`.
    pub(crate) relation: i64,
    /// `pg_attribute.attnum`.
    pub(crate) column: i64,
}

impl Origin {
    /// The column of that name of a table.
    pub(crate) fn of_column(table: &TableSchema, name: &str) -> Option<Origin> {
        let column = match name == table.time_name {
            true => 1,
            false => table.columns.iter().position(|column| column.name == name)? as i64 + 2,
        };
        Some(Origin { relation: catalog::table_number(table.id), column })
    }
}

/// Alias of the plan that stands for a view: no user can write it.
const VIEW: &str = "\u{1}view ";

/// The alias that tells a view's plan from a subquery's.
pub(crate) fn alias_of_view(number: u32) -> String {
    format!("{VIEW}{}", catalog::view_number(number))
}

/// The `pg_class.oid` of the view that an alias tells of.
pub(crate) fn view_of_alias(alias: &str) -> Option<i64> {
    alias.strip_prefix(VIEW)?.parse().ok()
}

/// The origins of a bound plan's columns.
pub(crate) fn of_plan(plan: &LogicalPlan) -> Vec<Option<Origin>> {
    let mut found = match plan {
        LogicalPlan::TableScan(scan) => of_scan(scan),
        LogicalPlan::SubqueryAlias(alias) => match of_alias(&alias.alias) {
            Some(view) => {
                let count = alias.schema.fields().len() as i64;
                (1..=count).map(|column| Some(Origin { relation: view, column })).collect()
            }
            None => of_plan(&alias.input),
        },
        LogicalPlan::Filter(filter) => of_plan(&filter.input),
        LogicalPlan::Sort(sort) => of_plan(&sort.input),
        LogicalPlan::Limit(limit) => of_plan(&limit.input),
        LogicalPlan::Repartition(repartition) => of_plan(&repartition.input),
        LogicalPlan::Distinct(Distinct::All(input)) => of_plan(input),
        LogicalPlan::Subquery(subquery) => of_plan(&subquery.subquery),
        LogicalPlan::Projection(projection) => of_exprs(&projection.expr, &projection.input),
        LogicalPlan::Distinct(Distinct::On(distinct)) => {
            of_exprs(&distinct.select_expr, &distinct.input)
        }
        LogicalPlan::Aggregate(aggregate) => {
            match grouping_set_to_exprlist(&aggregate.group_expr) {
                Ok(keys) => of_exprs(keys, &aggregate.input),
                Err(_) => Vec::new(),
            }
        }
        // Computed columns stand behind those of the input.
        LogicalPlan::Window(window) => of_plan(&window.input),
        LogicalPlan::Join(join) => match join.join_type {
            JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => of_plan(&join.right),
            JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => of_plan(&join.left),
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
                let mut both = of_plan(&join.left);
                both.resize(join.left.schema().fields().len(), None);
                both.extend(of_plan(&join.right));
                both
            }
        },
        LogicalPlan::Extension(extension) => {
            let inputs = extension.node.inputs();
            let inputs: Vec<_> = inputs.iter().map(|plan| (plan.schema(), of_plan(plan))).collect();
            let columns = extension.node.schema().iter();
            let found = columns.map(|(table, field)| {
                inputs.iter().find_map(|(schema, origins)| {
                    let at = schema.index_of_column_by_name(table, field.name())?;
                    origins.get(at).copied().flatten()
                })
            });
            found.collect()
        }
        _ => Vec::new(),
    };
    found.resize(plan.schema().fields().len(), None);
    found
}

fn of_alias(alias: &TableReference) -> Option<i64> {
    view_of_alias(alias.table())
}

fn of_exprs<'a>(
    exprs: impl IntoIterator<Item = &'a Expr>,
    input: &LogicalPlan,
) -> Vec<Option<Origin>> {
    let (schema, origins) = (input.schema(), of_plan(input));
    if origins.iter().all(Option::is_none) {
        return Vec::new();
    }
    exprs.into_iter().map(|expr| of_expr(expr, schema, &origins)).collect()
}

fn of_expr(expr: &Expr, schema: &DFSchema, origins: &[Option<Origin>]) -> Option<Origin> {
    match expr {
        Expr::Column(column) => *origins.get(schema.maybe_index_of_column(column)?)?,
        Expr::Alias(alias) => of_expr(&alias.expr, schema, origins),
        // Numbers of objects, shown as names.
        Expr::ScalarFunction(call) => {
            Register::of_name(call.func.name().strip_prefix("__")?)?;
            of_expr(call.args.first()?, schema, origins)
        }
        _ => None,
    }
}

fn of_scan(scan: &TableScan) -> Vec<Option<Origin>> {
    let Ok(provider) = source_as_provider(&scan.source) else { return Vec::new() };
    let all: Vec<_> = match provider.downcast_ref::<SeriesTable>() {
        Some(table) => table.sources.iter().map(|source| of_source(table, *source)).collect(),
        None => match catalog::system_number(provider.as_ref()) {
            Some((relation, count)) => {
                (1..=count as i64).map(|column| Some(Origin { relation, column })).collect()
            }
            None => match provider.downcast_ref::<RelationTable>() {
                Some(table) => (0..table.table.def.columns.len())
                    .map(|at| of_relation(&table.table.def, at))
                    .collect(),
                None => Vec::new(),
            },
        },
    };
    match &scan.projection {
        Some(places) => places.iter().map(|at| all.get(*at).copied().flatten()).collect(),
        None => all,
    }
}

/// The origin of a column of a relational table, by its place.
pub(crate) fn of_relation(def: &TableDef, at: usize) -> Option<Origin> {
    let column = i64::from(def.columns.get(at)?.id);
    Some(Origin { relation: catalog::relation_number(def.number), column })
}

/// The origin of what a table gives.
pub(crate) fn of_source(table: &SeriesTable, source: Source) -> Option<Origin> {
    let column = match source {
        Source::Time => 1,
        // Columns that are hidden from a view count all the same.
        Source::Key(id, _) | Source::Field(id, _) => table.number_of(id)?,
        Source::Quality(_) | Source::Series | Source::Nanos | Source::Nth => return None,
    };
    Some(Origin { relation: catalog::table_number(table.table.id), column })
}

/// A result's columns with their origins, for whoever describes them to a client.
pub(crate) fn mark(schema: &SchemaRef, origins: &[Option<Origin>]) -> SchemaRef {
    if origins.iter().all(Option::is_none) {
        return schema.clone();
    }
    let fields = schema.fields().iter().enumerate().map(|(at, field)| {
        let Some(Origin { relation, column }) = origins.get(at).copied().flatten() else {
            return field.clone();
        };
        let mut metadata = field.metadata().clone();
        metadata.insert(crate::PG_ORIGIN.to_string(), format!("{relation}.{column}"));
        Arc::new(Field::clone(field).with_metadata(metadata))
    });
    let fields: Vec<_> = fields.collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}
