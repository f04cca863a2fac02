//! Expressions over rows at hand: defaults, CHECK, SET of ON CONFLICT, RETURNING. They are bound
//! and run without a plan, so subqueries and aggregates are none of theirs.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DFSchemaRef, TableReference};
use datafusion::logical_expr::{Expr, ExprSchemable};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{self, Visit, Visitor};

use crate::catalog;
use crate::error::{QueryError, QueryResult};
use crate::plan::PlanContext;
use crate::statement::{self, Kind as Statements};

/// Names that expressions may use: columns of a batch under the name of their table.
pub(crate) struct Names {
    schema: DFSchemaRef,
}

/// Expressions that are ready to run.
pub(crate) struct Bound {
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    fields: Vec<Field>,
}

impl Names {
    /// Columns under the name that their table goes by.
    pub(crate) fn of(called: &str, schema: &SchemaRef) -> QueryResult<Names> {
        let called = crate::schema::bare(called);
        let schema = DFSchema::try_from_qualified_schema(TableReference::bare(called), schema)?;
        Ok(Names { schema: Arc::new(schema) })
    }

    /// Of two tables, one beside the other.
    pub(crate) fn beside(self, called: &str, schema: &SchemaRef) -> QueryResult<Names> {
        let other = DFSchema::try_from_qualified_schema(TableReference::bare(called), schema)?;
        Ok(Names { schema: Arc::new(self.schema.join(&other)?) })
    }

    /// No names.
    pub(crate) fn none() -> Names {
        Names { schema: Arc::new(DFSchema::empty()) }
    }
}

struct Subqueries;

impl Visitor for Subqueries {
    type Break = ();

    fn pre_visit_query(&mut self, _: &ast::Query) -> ControlFlow<()> {
        ControlFlow::Break(())
    }
}

/// `0A000` for subqueries.
pub(crate) fn refuse_subqueries(expr: &ast::Expr, place: &str) -> QueryResult<()> {
    match expr.visit(&mut Subqueries) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(QueryError::unsupported(format!("a subquery in {place}"))),
    }
}

/// A text as one expression.
pub(crate) fn parse(text: &str) -> QueryResult<ast::Expr> {
    let statements = statement::parse(&format!("SELECT {text}"))?;
    let found = match statements.as_slice() {
        [one] => match one.kind() {
            Statements::Query(ast) => only_item(ast),
            _ => None,
        },
        _ => None,
    };
    found.ok_or_else(|| QueryError::new("42601", format!("not one expression: {text}")))
}

fn only_item(ast: &ast::Statement) -> Option<ast::Expr> {
    let ast::Statement::Query(query) = ast else { return None };
    let ast::SetExpr::Select(select) = query.body.as_ref() else { return None };
    match select.projection.as_slice() {
        [ast::SelectItem::UnnamedExpr(expr)] if select.from.is_empty() => Some(expr.clone()),
        _ => None,
    }
}

/// The expression after the rewrites that statements go through.
fn rewritten(expr: &ast::Expr, context: &PlanContext) -> QueryResult<ast::Expr> {
    let statements = statement::parse("SELECT 1")?;
    let mut template = match statements.first().map(statement::Statement::kind) {
        Some(Statements::Query(ast)) => (**ast).clone(),
        _ => return Err(QueryError::internal("the form of an expression")),
    };
    if let ast::Statement::Query(query) = &mut template
        && let ast::SetExpr::Select(select) = query.body.as_mut()
    {
        select.projection = vec![ast::SelectItem::UnnamedExpr(expr.clone())];
    }
    crate::sugar::rewrite(&mut template, context)?;
    catalog::rewrite(&mut template, context)?;
    only_item(&template).ok_or_else(|| QueryError::unsupported(format!("the expression {expr}")))
}

/// Binds expressions; `params` are the values of `$1` ….
pub(crate) fn bind(
    context: &PlanContext,
    exprs: &[ast::Expr],
    names: &Names,
    params: &[ScalarValue],
) -> QueryResult<Bound> {
    let types: Vec<Option<DataType>> = params.iter().map(|p| Some(p.data_type())).collect();
    let mut out = Bound { exprs: Vec::new(), fields: Vec::new() };
    for expr in exprs {
        let logical = logical(context, expr, names, &types)?;
        let logical = with_params(logical, params)?;
        let logical = context.coerce(logical, &names.schema)?;
        let (_, field) = logical.to_field(names.schema.as_ref())?;
        out.fields.push(field.as_ref().clone());
        out.exprs.push(context.physical_expr(&logical, &names.schema)?);
    }
    Ok(out)
}

/// The fields that expressions give, where parameters have no values yet.
pub(crate) fn fields(
    context: &PlanContext,
    exprs: &[ast::Expr],
    names: &Names,
    types: &[Option<DataType>],
) -> QueryResult<Vec<Field>> {
    let field = |expr: &ast::Expr| {
        let logical = logical(context, expr, names, types)?;
        let logical = context.coerce(logical, &names.schema)?;
        Ok(logical.to_field(names.schema.as_ref())?.1.as_ref().clone())
    };
    exprs.iter().map(field).collect()
}

fn logical(
    context: &PlanContext,
    expr: &ast::Expr,
    names: &Names,
    types: &[Option<DataType>],
) -> QueryResult<Expr> {
    let expr = rewritten(expr, context)?;
    let logical = context.bind_expr(expr, &names.schema, types)?;
    let aggregate = logical
        .exists(|node| Ok(matches!(node, Expr::AggregateFunction(_) | Expr::WindowFunction(_))))?;
    match aggregate {
        true => {
            Err(QueryError::new("42803", "aggregates and window functions are not allowed here"))
        }
        false => Ok(logical),
    }
}

fn with_params(expr: Expr, params: &[ScalarValue]) -> QueryResult<Expr> {
    let put = |node: Expr| {
        let Expr::Placeholder(placeholder) = &node else { return Ok(Transformed::no(node)) };
        let number = placeholder.id.strip_prefix('$').and_then(|n| n.parse::<usize>().ok());
        match number.and_then(|n| params.get(n.checked_sub(1)?)) {
            Some(value) => Ok(Transformed::yes(Expr::Literal(value.clone(), None))),
            None => {
                let message = format!("there is no parameter {}", placeholder.id);
                Err(QueryError::new("42P02", message).into_datafusion())
            }
        }
    };
    Ok(expr.transform(put)?.data)
}

impl Bound {
    /// The fields that they give.
    pub(crate) fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Their values for each row.
    pub(crate) fn run(&self, batch: &RecordBatch) -> QueryResult<Vec<ArrayRef>> {
        let run = |expr: &Arc<dyn PhysicalExpr>| {
            Ok(expr.evaluate(batch)?.into_array(batch.num_rows())?)
        };
        self.exprs.iter().map(run).collect()
    }
}
