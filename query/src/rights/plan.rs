//! Whether who asks may read what a bound plan reads: the columns that it uses, as Postgres has it.
//!
//! From the top down each node says which columns of its inputs it uses: those of its expressions,
//! and of those that it passes through the ones that are used above it. What is used of a view is
//! asked of who reads the view; what the view's query uses, of the view's owner. A node that is not
//! known uses all.

use std::cell::OnceCell;
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchemaRef, Result};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Distinct, Expr, JoinType, LogicalPlan, TableScan};

use super::acl::Mode;
use super::{Known, Object, Rights, Role, is_policy};
use crate::error::{QueryError, QueryResult};
use crate::plan::{PlanContext, origins};
use crate::relational::RelationTable;
use crate::schema::Schemas;
use crate::table::SeriesTable;
use crate::view::View;

/// `42501` where a plan reads what its reader may not.
pub(crate) fn check(context: &PlanContext, plan: &LogicalPlan) -> QueryResult<()> {
    let identity = &*context.identity;
    if identity.superuser || identity.can_read {
        return Ok(());
    }
    let rights = context.rights()?;
    let role = Role::from(identity);
    let schemas = context.schemas()?;
    let walker = Walker { context, rights, schemas, views: OnceCell::new() };
    walker.visit(plan, &all(plan), &role)
}

/// The same in the name of the owner of an object, whoever asks.
pub(super) fn check_as_owner(
    context: &PlanContext,
    plan: &LogicalPlan,
    object: Object,
) -> QueryResult<()> {
    let (rights, schemas) = (context.rights()?, context.schemas()?);
    let walker = Walker { context, rights, schemas, views: OnceCell::new() };
    walker.as_owner(plan, &all(plan), object)
}

fn all(plan: &LogicalPlan) -> Vec<bool> {
    vec![true; plan.schema().fields().len()]
}

struct Walker<'a> {
    context: &'a PlanContext,
    rights: Arc<Rights>,
    schemas: Arc<Schemas>,
    views: OnceCell<Arc<crate::view::Views>>,
}

impl Walker<'_> {
    /// Looks at a plan of which these columns are used, in the name of a role.
    fn visit(&self, plan: &LogicalPlan, used: &[bool], role: &Role) -> QueryResult<()> {
        match plan {
            LogicalPlan::TableScan(scan) => return self.scan(scan, plan.schema(), used, role),
            LogicalPlan::SubqueryAlias(alias) => {
                let name = alias.alias.table();
                if let Some(oid) = origins::view_of_alias(name) {
                    let view = self.view(oid)?;
                    // What a session makes for itself reads in its own name.
                    if view.temporary.is_some() {
                        return self.visit(&alias.input, used, role);
                    }
                    let known = Known::of_view(&view);
                    self.need(&known, &names(&known, used), role)?;
                    // What is stored of a query is what its view is; of a continuous aggregate
                    // also what is not stored yet.
                    if view.is_materialized() {
                        return self.kept_up(&view);
                    }
                    return self.as_owner(&alias.input, used, known.object);
                }
                if let Some(object) = is_policy(name) {
                    let known = self.known(object)?;
                    self.need_used(&known, plan.schema(), used, role)?;
                    return self.as_owner(&alias.input, used, object);
                }
            }
            _ => {}
        }
        self.below(plan, used, role)
    }

    /// Goes on in the name of an owner; a superuser may read all.
    fn as_owner(&self, plan: &LogicalPlan, used: &[bool], object: Object) -> QueryResult<()> {
        match self.context.owner_of(&self.rights, object)? {
            Some(owner) => self.visit(plan, used, &owner),
            None => Ok(()),
        }
    }

    /// `42501` for a continuous aggregate whose owner may not read all rows of its table any more:
    /// it goes on to show them.
    fn kept_up(&self, view: &View) -> QueryResult<()> {
        let Some(materialized) = &view.materialized else { return Ok(()) };
        let object = Known::of_view(view).object;
        let Some(owner) = self.context.owner_of(&self.rights, object)? else { return Ok(()) };
        let table = Object::Table(materialized.root);
        let reads = match materialized.over {
            // The owner of the other answers for the table.
            Some(over) => {
                let under = self.view(crate::catalog::view_number(over))?;
                self.kept_up(&under)?;
                self.rights.may_any(&owner, Known::of_view(&under).object, Mode::SELECT)
            }
            None => {
                self.rights.may_any(&owner, table, Mode::SELECT)
                    && !self.rights.is_secured(&owner, table)
            }
        };
        match reads {
            true => Ok(()),
            false => Err(QueryError::new(
                "42501",
                format!("permission denied for materialized view {}", view.name),
            )
            .with_detail("Its owner may not read all rows that it is made of any more.")),
        }
    }

    /// Looks at the inputs of a node, and at the queries in its expressions.
    fn below(&self, plan: &LogicalPlan, used: &[bool], role: &Role) -> QueryResult<()> {
        let inputs = plan.inputs();
        let mut masks = passed(plan, &inputs, used);
        let mut columns = Vec::new();
        let mut queries = Vec::new();
        plan.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::Column(column) = expr {
                    columns.push(column.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        plan.apply_subqueries(|query| {
            queries.push(query.clone());
            Ok(TreeNodeRecursion::Continue)
        })?;
        for column in &columns {
            if !mark(column, &inputs, &mut masks) {
                // Whatever it is, it is somewhere below.
                masks.iter_mut().for_each(|mask| mask.fill(true));
            }
        }
        let lateral = inputs.iter().filter(|input| matches!(input, LogicalPlan::Subquery(_)));
        for query in queries.iter().chain(lateral.copied()) {
            for column in outer_columns(query)? {
                // It may be a column further out.
                let _ = mark(&column, &inputs, &mut masks);
            }
        }
        for query in &queries {
            self.visit(query, &all(query), role)?;
        }
        for (input, mask) in inputs.iter().zip(&masks) {
            self.visit(input, mask, role)?;
        }
        Ok(())
    }

    fn scan(
        &self,
        scan: &TableScan,
        schema: &DFSchemaRef,
        used: &[bool],
        role: &Role,
    ) -> QueryResult<()> {
        let provider = source_as_provider(&scan.source)?;
        let known = if let Some(table) = provider.downcast_ref::<SeriesTable>() {
            Known::of_table(&table.table)
        } else if let Some(table) = provider.downcast_ref::<RelationTable>() {
            Known::of_relation(table.def())
        } else {
            // The catalogue, which has rules of its own, and rows that functions make.
            return Ok(());
        };
        self.need_used(&known, schema, used, role)
    }

    /// As [`Walker::need`], for columns of a table by their places.
    fn need_used(
        &self,
        known: &Known,
        schema: &DFSchemaRef,
        used: &[bool],
        role: &Role,
    ) -> QueryResult<()> {
        let names: Vec<&str> = shown(schema, used).collect();
        // A statement that changes rows finds out which those are: that it may is asked elsewhere.
        if names.is_empty() && used.contains(&true) {
            return self.need_schema(known, role);
        }
        self.need(known, &names, role)
    }

    fn need_schema(&self, known: &Known, role: &Role) -> QueryResult<()> {
        match known.temporary {
            true => Ok(()),
            false => self.rights.check_schema(role, &self.schemas, &known.name),
        }
    }

    /// `42501` unless a role may read these columns; if there are none, any one.
    fn need(&self, known: &Known, names: &[&str], role: &Role) -> QueryResult<()> {
        self.need_schema(known, role)?;
        let rights = &self.rights;
        if known.temporary || rights.may(role, known.object, Mode::SELECT, 0) {
            return Ok(());
        }
        let may = |name: &&str| {
            let number = known.number(name);
            number.is_some_and(|number| rights.may(role, known.object, Mode::SELECT, number))
        };
        let fine = match names.is_empty() {
            true => rights.may_any(role, known.object, Mode::SELECT),
            false => names.iter().all(may),
        };
        if fine { Ok(()) } else { Err(known.denied()) }
    }

    fn view(&self, oid: i64) -> QueryResult<Arc<View>> {
        let views = match self.views.get() {
            Some(views) => views,
            None => {
                let read = self.context.engine.views().of(&self.context.snapshot)?;
                self.views.get_or_init(|| read)
            }
        };
        let is_it = |view: &&Arc<View>| crate::catalog::view_number(view.number) == oid;
        let gone = || QueryError::internal("a view of a plan is not there");
        views.list.iter().find(is_it).cloned().ok_or_else(gone)
    }

    fn known(&self, object: Object) -> QueryResult<Known> {
        let found = match object {
            Object::Table(id) => {
                let table = self.context.snapshot.table_by_id(id);
                table.map(|table| Known::of_table(table.schema()))
            }
            Object::Relational(number) => {
                let relations = self.context.relations()?;
                relations.by_number(number).map(|table| Known::of_relation(table))
            }
            Object::View(_) | Object::Schema(_) => None,
        };
        found.ok_or_else(|| QueryError::internal("a table of a plan is not there"))
    }
}

/// Names of the columns of a view that are used.
fn names<'a>(known: &'a Known, used: &[bool]) -> Vec<&'a str> {
    let pairs = known.columns.iter().zip(used);
    pairs.filter(|(_, used)| **used).map(|((_, name), _)| name.as_str()).collect()
}

/// Names of the columns that are used; those that say which row a row is are nobody's secret.
fn shown<'a>(schema: &'a DFSchemaRef, used: &'a [bool]) -> impl Iterator<Item = &'a str> {
    let fields = schema.fields().iter().zip(used);
    fields
        .filter(|(field, used)| **used && !field.name().starts_with('\u{1}'))
        .map(|(field, _)| field.name().as_str())
}

/// What the inputs pass through to the columns of a node that are used.
fn passed(plan: &LogicalPlan, inputs: &[&LogicalPlan], used: &[bool]) -> Vec<Vec<bool>> {
    let width = |input: &LogicalPlan| input.schema().fields().len();
    let none = |input: &&LogicalPlan| vec![false; width(input)];
    let through = |input: &&LogicalPlan| {
        let mut mask = used.to_vec();
        mask.resize(width(input), false);
        mask
    };
    match plan {
        LogicalPlan::Projection(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::Distinct(Distinct::On(_)) => inputs.iter().map(none).collect(),
        LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::Distinct(Distinct::All(_)) => inputs.iter().map(through).collect(),
        LogicalPlan::Join(join)
            if matches!(
                join.join_type,
                JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full
            ) =>
        {
            let left = width(&join.left).min(used.len());
            let (of_left, of_right) = used.split_at(left);
            vec![of_left.to_vec(), of_right.to_vec()]
        }
        _ => inputs.iter().map(|input| vec![true; width(input)]).collect(),
    }
}

/// Notes the use of a column; whether it is one of an input.
fn mark(column: &Column, inputs: &[&LogicalPlan], masks: &mut [Vec<bool>]) -> bool {
    for (input, mask) in inputs.iter().zip(masks) {
        if let Some(at) = input.schema().maybe_index_of_column(column)
            && let Some(used) = mask.get_mut(at)
        {
            *used = true;
            return true;
        }
    }
    false
}

/// The columns of queries around a query that it uses.
fn outer_columns(query: &LogicalPlan) -> Result<Vec<Column>> {
    let mut found = Vec::new();
    query.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::OuterReferenceColumn(_, column) = expr {
                    found.push(column.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}
