//! What the query of a continuous aggregate may be: rows of one table, filtered one by one, grouped
//! by a bucket of time and keys. Then a bucket is made of the rows of its time alone, whoever asks
//! and whenever.

use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use datafusion::sql::sqlparser::ast::{
    self, GroupByExpr, ObjectName, SetExpr, TableFactor, Visit, Visitor,
};

use super::ladder::BucketSpec;
use crate::error::{QueryError, QueryResult};
use crate::functions;
use crate::plan::PlanContext;

const HINT: &str = "CREATE MATERIALIZED VIEW name WITH (continuous) AS SELECT \
                    time_bucket('1 hour', time) AS bucket, key, avg(field) FROM table \
                    [WHERE …] GROUP BY bucket, key [HAVING …]";

fn refuse<T>(what: &str) -> QueryResult<T> {
    Err(QueryError::unsupported(format!("a continuous aggregate with {what}")).with_hint(HINT))
}

/// The one table that the query reads.
pub(super) fn relation(query: &ast::Query) -> QueryResult<&ObjectName> {
    if query.with.is_some() || queries(query) != 1 {
        return refuse("WITH or subqueries");
    }
    if query.order_by.is_some() || query.limit_clause.is_some() || query.fetch.is_some() {
        return refuse("ORDER BY or LIMIT");
    }
    let SetExpr::Select(select) = query.body.as_ref() else {
        return refuse("anything but one SELECT");
    };
    if select.distinct.is_some() || select.qualify.is_some() || !select.named_window.is_empty() {
        return refuse("DISTINCT or windows");
    }
    if matches!(select.group_by, GroupByExpr::All(_)) {
        return refuse("GROUP BY ALL");
    }
    let [from] = &select.from[..] else { return refuse("other than one table") };
    match &from.relation {
        TableFactor::Table { name, args: None, sample: None, .. } if from.joins.is_empty() => {
            Ok(name)
        }
        _ => refuse("other than one table"),
    }
}

fn queries(query: &ast::Query) -> usize {
    struct Count(usize);
    impl Visitor for Count {
        type Break = ();

        fn pre_visit_query(&mut self, _: &ast::Query) -> ControlFlow<()> {
            self.0 += 1;
            ControlFlow::Continue(())
        }
    }
    let mut count = Count(0);
    let _ = query.visit(&mut count);
    count.0
}

/// What the columns of the query are.
pub(super) struct Shape {
    /// Place of the bucket.
    pub(super) bucket: usize,
    /// Places of the keys.
    pub(super) keys: Vec<usize>,
    pub(super) cut: BucketSpec,
}

/// Reads a bound plan; `time` and `keys` are columns of what it reads.
pub(super) fn shape(
    plan: &LogicalPlan,
    context: &PlanContext,
    time: &str,
    keys: &[String],
) -> QueryResult<Shape> {
    plain(plan, context)?;
    let LogicalPlan::Projection(list) = plan else { return refuse("this list of columns") };
    let mut node = list.input.as_ref();
    while let LogicalPlan::Filter(having) = node {
        node = having.input.as_ref();
    }
    let LogicalPlan::Aggregate(aggregate) = node else {
        return refuse("windows, or without GROUP BY");
    };
    let (spec, of) = bucket_of(&aggregate.group_expr)?;
    if of.name != time {
        return refuse("a time_bucket of anything but the table's time");
    }
    let mut shape = Shape { bucket: usize::MAX, keys: Vec::new(), cut: spec };
    for (nth, expr) in aggregate.group_expr.iter().enumerate() {
        let (relation, field) = aggregate.schema.qualified_field(nth);
        let of_group = Expr::Column(Column::new(relation.cloned(), field.name()));
        let place = list.expr.iter().position(|shown| *bare(shown) == of_group);
        let Some(place) = place else {
            return refuse("a group that is not among its columns");
        };
        match bare(expr) {
            Expr::Column(key) if keys.contains(&key.name) => shape.keys.push(place),
            expr if is_bucket(expr) => shape.bucket = place,
            _ => return refuse("groups other than one time_bucket and columns of the key"),
        }
    }
    Ok(shape)
}

/// Places of the keys among the columns of a bound query, with their names in the table.
pub(super) fn key_columns(plan: &LogicalPlan) -> QueryResult<Vec<(usize, String)>> {
    let LogicalPlan::Projection(list) = plan else { return refuse("this list of columns") };
    let mut node = list.input.as_ref();
    while let LogicalPlan::Filter(having) = node {
        node = having.input.as_ref();
    }
    let LogicalPlan::Aggregate(aggregate) = node else { return refuse("no GROUP BY") };
    let mut keys = Vec::new();
    for (nth, expr) in aggregate.group_expr.iter().enumerate() {
        let Expr::Column(key) = bare(expr) else { continue };
        let (relation, field) = aggregate.schema.qualified_field(nth);
        let of_group = Expr::Column(Column::new(relation.cloned(), field.name()));
        match list.expr.iter().position(|shown| *bare(shown) == of_group) {
            Some(place) => keys.push((place, key.name.clone())),
            None => return refuse("a group that is not among its columns"),
        }
    }
    Ok(keys)
}

pub(super) fn bare(mut expr: &Expr) -> &Expr {
    while let Expr::Alias(alias) = expr {
        expr = &alias.expr;
    }
    expr
}

fn is_bucket(expr: &Expr) -> bool {
    matches!(bare(expr), Expr::ScalarFunction(call) if call.func.name() == "time_bucket")
}

/// How the groups cut time, and the column that they cut.
pub(super) fn bucket_of(groups: &[Expr]) -> QueryResult<(BucketSpec, Column)> {
    let mut buckets = groups.iter().map(bare).filter(|expr| is_bucket(expr));
    let (Some(Expr::ScalarFunction(call)), None) = (buckets.next(), buckets.next()) else {
        return refuse("other than one time_bucket to group by");
    };
    let ScalarFunction { args, .. } = call;
    let mut values: Vec<ScalarValue> = Vec::new();
    for (at, arg) in args.iter().enumerate().filter(|(at, _)| *at != 1) {
        match constant(arg) {
            Some(value) => values.push(value),
            None if at == 0 => return refuse("a bucket whose width is no constant"),
            None => return refuse("a bucket whose zone, origin or offset is no constant"),
        }
    }
    let Some(Expr::Column(of)) = args.get(1).map(bare) else {
        return refuse("a time_bucket of anything but the table's time");
    };
    let Some((width, cut)) = functions::bucket_of(&values)? else {
        return refuse("a bucket without width");
    };
    Ok((BucketSpec::new(width, &cut), of.clone()))
}

/// A constant, also under casts that the binder made.
fn constant(expr: &Expr) -> Option<ScalarValue> {
    match bare(expr) {
        Expr::Literal(value, _) => Some(value.clone()),
        Expr::Cast(inner) => constant(&inner.expr)?.cast_to(inner.field.data_type()).ok(),
        _ => None,
    }
}

/// `0A000` where the answer depends on more than the rows.
fn plain(plan: &LogicalPlan, context: &PlanContext) -> QueryResult<()> {
    let mut bad = None;
    plan.apply(|node| {
        if let LogicalPlan::Window(_) = node {
            bad = Some("windows".to_string());
        }
        for expr in node.expressions() {
            expr.apply(|expr| {
                let (name, volatility) = match expr {
                    Expr::ScalarFunction(call) => {
                        (call.func.name(), call.func.signature().volatility)
                    }
                    Expr::AggregateFunction(call) => {
                        (call.func.name(), call.func.signature().volatility)
                    }
                    Expr::ScalarVariable(..) | Expr::Placeholder(_) => {
                        ("variables", Volatility::Volatile)
                    }
                    _ => return Ok(TreeNodeRecursion::Continue),
                };
                let fixed = volatility == Volatility::Immutable
                    && functions::of_session(name, context).is_none();
                if !fixed {
                    bad = Some(format!("{name}, which does not depend on its rows alone"));
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    match bad {
        None => Ok(()),
        Some(what) => refuse(&what),
    }
}

/// The type that a column is stored in.
pub(super) fn stored_type(kind: &DataType) -> Option<tsdb::types::ColumnType> {
    use tsdb::types::ColumnType as C;
    Some(match kind {
        DataType::Boolean => C::Bool,
        DataType::Int8 | DataType::Int16 => C::Int16,
        DataType::Int32 | DataType::UInt8 | DataType::UInt16 => C::Int32,
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => C::Int64,
        DataType::Float16 | DataType::Float32 => C::Float32,
        DataType::Float64 => C::Float64,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => C::Text,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => C::Bytes,
        DataType::Timestamp(..) => C::Timestamp,
        _ => return None,
    })
}
